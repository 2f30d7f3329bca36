/* SPDX-License-Identifier: Apache-2.0 */
/* log_test.c - runs and running totals against a plain array of entries that forgets nothing.
 * [§3.5]
 *
 * Tiny rings make forgetting the common case. What the real log still knows must be what the array
 * says; what it does not know must be below what it promises to know. */
#include "core/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

#define NAIVE_MAX 4096u

struct naive {
    kelp_index base, last;
    kelp_index known_from;                       /* the terms from here on may not be forgotten */
    uint64_t terms[NAIVE_MAX], bytes[NAIVE_MAX]; /* by index; [base] has a term */
};

struct pair {
    struct log log;
    struct naive naive;
    struct kelp_run runs[16];
    uint64_t totals[64];
};

static void pair_init(struct pair *p, uint32_t runs_max, uint64_t totals_max)
{
    memset(p, 0, sizeof *p);
    log_init(&p->log, p->runs, runs_max, p->totals, totals_max);
    p->naive.known_from = 1;
}

static void pair_append(struct pair *p, uint64_t term, uint64_t bytes)
{
    struct naive *n = &p->naive;
    log_append(&p->log, kelp_term_of(term), bytes);
    n->last++;
    n->terms[n->last] = term;
    n->bytes[n->last] = bytes;
    uint32_t runs = 1;
    for (kelp_index index = n->known_from; index < n->last; index++)
        runs += n->terms[index] != n->terms[index + 1];
    if (runs <= p->log.runs_max) return;
    uint64_t oldest = n->terms[n->known_from]; /* no room: the oldest run may be forgotten */
    while (n->terms[n->known_from] == oldest)
        n->known_from++;
}

static void pair_truncate(struct pair *p, kelp_index last)
{
    struct naive *n = &p->naive;
    log_truncate(&p->log, kelp_pos_of(last, n->terms[last]));
    n->last = last;
    if (n->known_from > last) n->known_from = last > n->base ? last : last + 1;
}

static void pair_compact(struct pair *p, kelp_index keep)
{
    log_compact(&p->log, keep);
    p->naive.base = keep - 1;
    if (p->naive.known_from < keep) p->naive.known_from = keep;
}

static uint64_t naive_bytes(const struct naive *n, kelp_index first, kelp_index last)
{
    uint64_t sum = 0;
    for (kelp_index index = first; index <= last; index++)
        sum += n->bytes[index];
    return sum;
}

static kelp_index naive_fit(const struct naive *n, kelp_index first, uint32_t entries_max,
                            uint64_t bytes_max)
{
    kelp_index last = first;
    while (last < n->last && last + 1 - first < entries_max &&
           naive_bytes(n, first, last + 1) <= bytes_max)
        last++;
    return last;
}

static void compare_terms(const struct pair *p)
{
    const struct log *log = &p->log;
    const struct naive *n = &p->naive;
    assert_int_equal(log->base.index, n->base);
    assert_int_equal(log->last, n->last);
    assert_int_equal(log_tail(log).index, n->last);
    assert_int_equal(log_tail(log).term.v, n->terms[n->last]); /* always known */
    assert_int_equal(log->runs_from, n->known_from);
    for (kelp_index index = n->base + 1; index <= n->last; index++) {
        uint64_t known = index >= n->known_from ? n->terms[index] : 0;
        assert_int_equal(log_term(log, index).v, known);
    }
    assert_int_equal(log_term(log, n->last + 1).v, 0);
    if (n->base > 0) assert_int_equal(log_term(log, n->base - 1).v, 0);
}

static void compare_bytes(const struct pair *p)
{
    const struct log *log = &p->log;
    const struct naive *n = &p->naive;
    for (kelp_index first = n->base + 1; first <= n->last; first++) {
        if (!log_sized(log, first)) {
            assert_true(log_bytes(log, first, n->last) <= naive_bytes(n, first, n->last));
            continue;
        }
        for (kelp_index last = first; last <= n->last; last++)
            assert_int_equal(log_bytes(log, first, last), naive_bytes(n, first, last));
        for (uint32_t entries_max = 1; entries_max < 6; entries_max++) {
            for (uint64_t bytes_max = 0; bytes_max < 12; bytes_max += 3)
                assert_int_equal(log_fit(log, first, entries_max, bytes_max),
                                 naive_fit(n, first, entries_max, bytes_max));
        }
    }
    assert_int_equal(log_bytes(log, n->last + 1, n->last), 0);
}

/* The last position of ours at or below limit in both index and term, at least floor. What lies
 * below the runs is answered as "look there", and must not lie above the true answer's place. */
static void compare_below(const struct pair *p)
{
    const struct log *log = &p->log;
    const struct naive *n = &p->naive;
    for (kelp_index floor = n->base; floor <= n->last; floor++) {
        for (kelp_index index = floor; index <= n->last + 1; index++) {
            for (uint64_t term = 0; term < 6; term++) {
                kelp_index want = index < n->last ? index : n->last;
                while (want > floor && n->terms[want] > term)
                    want--;
                struct kelp_pos got = log_below(log, kelp_pos_of(index, term), floor);
                if (got.term.v != 0) assert_int_equal(got.term.v, n->terms[got.index]);
                if (want >= log->runs_from || log->runs_from <= floor + 1) {
                    assert_int_equal(got.index, want);
                } else { /* not known: the highest place it may be at */
                    assert_true(got.index >= want);
                    assert_true(got.index < log->runs_from && got.index <= index);
                }
            }
        }
    }
}

static void compare(const struct pair *p)
{
    compare_terms(p);
    compare_bytes(p);
    compare_below(p);
}

/* ---- every log of up to four entries of three terms, and everything that may happen to it
 * ---- */

struct small {
    uint32_t count;
    uint64_t terms[5]; /* [1..count], ascending from 1..3 */
};

static uint32_t small_logs(struct small out[64])
{
    uint32_t count = 0;
    for (uint32_t length = 0; length <= 4; length++) {
        uint32_t numbers = 1;
        for (uint32_t i = 0; i < length; i++)
            numbers *= 3;
        for (uint32_t number = 0; number < numbers; number++) {
            struct small s = {.count = length};
            uint32_t rest = number;
            bool ascends = true;
            for (uint32_t i = 1; i <= length; i++, rest /= 3) {
                s.terms[i] = 1 + rest % 3;
                ascends = ascends && s.terms[i] >= s.terms[i - 1];
            }
            if (ascends) out[count++] = s;
        }
    }
    return count;
}

static void fill(struct pair *p, const struct small *s, uint32_t runs_max, uint64_t totals_max)
{
    pair_init(p, runs_max, totals_max);
    for (uint32_t i = 1; i <= s->count; i++)
        pair_append(p, s->terms[i], i);
    compare(p);
}

/* DG TestAppendEntries (log) */
static void every_small_log_knows_its_terms_and_sizes(void **state)
{
    (void)state;
    struct small all[64];
    uint32_t count = small_logs(all);
    assert_int_equal(count, 35); /* 1 + 3 + 6 + 10 + 15 */
    struct pair p;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t runs_max = 2; runs_max <= 4; runs_max++) {
            fill(&p, &all[i], runs_max, 2);
            fill(&p, &all[i], runs_max, 4);
        }
    }
}

/* DG TestTruncate (log), PB TestLogTruncation */
static void every_small_log_can_be_cut_anywhere_and_go_on(void **state)
{
    (void)state;
    struct small all[64];
    uint32_t count = small_logs(all);
    struct pair p;
    for (uint32_t i = 0; i < count; i++) {
        for (kelp_index last = 0; last < all[i].count; last++) {
            for (uint64_t term = all[i].terms[last]; term <= 4; term++) {
                fill(&p, &all[i], 2, 2);
                uint64_t revision = p.log.revision;
                pair_truncate(&p, last);
                assert_true(p.log.revision > revision);
                compare(&p);
                pair_append(&p, term > 0 ? term : 1, 7);
                compare(&p);
            }
        }
    }
}

/* DG TestCompact (log), DG TestDiscard (log) */
static void every_small_log_can_forget_its_head_and_go_on(void **state)
{
    (void)state;
    struct small all[64];
    uint32_t count = small_logs(all);
    struct pair p;
    for (uint32_t i = 0; i < count; i++) {
        for (kelp_index keep = 1; keep <= all[i].count + 1; keep++) {
            if (keep == 1) continue; /* nothing to forget */
            fill(&p, &all[i], 4, 4);
            uint64_t revision = p.log.revision;
            pair_compact(&p, keep);
            assert_int_equal(p.log.revision, revision); /* what is held did not change */
            assert_int_equal(p.log.base.term.v, p.naive.terms[keep - 1]);
            compare(&p);
            pair_append(&p, 4, 5);
            compare(&p);
            pair_truncate(&p, p.naive.base); /* back to the base, as if empty */
            compare(&p);
        }
    }
}

/* PB TestLogContains, DG TestContains (log) */
static void an_entry_is_in_the_log_only_with_its_own_term(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, 4, 8);
    pair_append(&p, 1, 1);
    pair_append(&p, 1, 1);
    pair_append(&p, 2, 1);
    static const struct {
        kelp_index index;
        uint64_t term;
        bool held;
    } rows[] = {{0, 1, false}, {0, 2, false}, {1, 1, true},          {1, 2, false}, {1, 3, false},
                {2, 1, true},  {2, 2, false}, {3, 1, false},         {3, 2, true},  {3, 3, false},
                {4, 2, false}, {5, 2, false}, {UINT64_MAX, 2, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(log_term(&p.log, rows[i].index).v == rows[i].term, rows[i].held);
}

/* PB TestLogEntriesAfter */
static void the_entries_after_a_position_begin_with_its_term(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, 4, 8);
    assert_int_equal(log_tail(&p.log).index, 0);
    assert_int_equal(log_tail(&p.log).term.v, 0);
    for (uint64_t term = 1; term <= 3; term++)
        pair_append(&p, term, 10);
    for (kelp_index after = 0; after <= 3; after++) {
        assert_int_equal(log_term(&p.log, after).v, after); /* entry i is of term i here */
        if (after < 3) assert_int_equal(log_fit(&p.log, after + 1, 100, 1000), 3);
    }
    assert_int_equal(log_term(&p.log, 4).v, 0);
}

/* ---- long random lives ---- */

static void a_long_random_life_agrees_with_the_plain_array(void **state)
{
    (void)state;
    static struct pair p;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct prng prng = {.state = seed};
        pair_init(&p, (uint32_t)prng_between(&prng, 2, 6), 1ull << prng_between(&prng, 1, 4));
        uint64_t term = 1;
        for (int round = 0; round < 120; round++) {
            uint64_t what = prng_below(&prng, 10);
            kelp_index base = p.naive.base, last = p.naive.last;
            if (what < 6) {
                if (prng_chance(&prng, 1, 3)) term++;
                pair_append(&p, term, prng_below(&prng, 6));
            } else if (what < 9 && last > base) {
                kelp_index cut = last - 1 - prng_below(&prng, last - base < 4 ? last - base : 4);
                pair_truncate(&p, cut);
            } else if (last > base && prng_chance(&prng, 1, 3)) {
                kelp_index keep = base + 2 + prng_below(&prng, last - base);
                bool known = log_term(&p.log, keep - 1).v != 0;
                if (known) pair_compact(&p, keep);
            }
            compare_terms(&p);
            compare_bytes(&p);
        }
        compare_below(&p);
    }
}

static void a_boot_keeps_the_newest_runs_that_fit(void **state)
{
    (void)state;
    static struct kelp_run given[12];
    for (uint64_t i = 0; i < 12; i++)
        given[i] = (struct kelp_run){.last = 3 * (i + 1), .term = {i + 1}};
    for (uint32_t runs_max = 2; runs_max <= 12; runs_max++) {
        struct kelp_run runs[12];
        uint64_t totals[8];
        struct log log;
        log_init(&log, runs, runs_max, totals, 8);
        log_boot(&log, kelp_pos_of(0, 0), 36, given, 12, 1);
        for (kelp_index index = 1; index <= 36; index++) {
            bool kept = index > 36 - 3ull * runs_max;
            assert_int_equal(log_term(&log, index).v, kept ? (index + 2) / 3 : 0);
        }
        assert_false(log_sized(&log, 36)); /* sizes are not told at boot */
        log_append(&log, kelp_term_of(12), 9);
        assert_true(log_sized(&log, 37));
        assert_int_equal(log_bytes(&log, 37, 37), 9);
        assert_int_equal(log_bytes(&log, 1, 37), 9);
    }
}

static void a_looked_up_stretch_answers_until_the_log_is_cut(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, 2, 4);
    for (uint64_t term = 1; term <= 5; term++)
        pair_append(&p, term, 1);
    assert_int_equal(log_term(&p.log, 2).v, 0);
    p.log.found_first = 2;
    p.log.found = kelp_pos_of(2, 2);
    p.log.found_revision = p.log.revision;
    assert_int_equal(log_term(&p.log, 2).v, 2);
    assert_int_equal(log_term(&p.log, 1).v, 0);
    pair_truncate(&p, 4);
    assert_int_equal(log_term(&p.log, 2).v, 0); /* of another revision now */
}

/* ---- reset ---- */

static void a_reset_log_is_empty_and_goes_on_behind_the_place(void **state)
{
    (void)state;
    static const kelp_index places[] = {2, 5, 900}; /* inside, at the end, far beyond */
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct pair p;
        pair_init(&p, 3, 4);
        for (uint64_t term = 1; term <= 5; term++)
            pair_append(&p, term, term);
        p.log.found_first = 1;
        p.log.found = kelp_pos_of(1, 1);
        p.log.found_revision = p.log.revision;
        uint64_t revision = p.log.revision;
        kelp_index place = places[i];
        log_reset(&p.log, kelp_pos_of(place, 7));
        assert_true(p.log.revision > revision); /* lookups under way are of another log */
        p.naive.base = p.naive.last = place;
        p.naive.known_from = place + 1;
        p.naive.terms[place] = 7;
        compare(&p);
        assert_int_equal(log_term(&p.log, place).v, 7);
        assert_int_equal(log_term(&p.log, 1).v, 0);
        for (uint64_t term = 7; term <= 9; term++) {
            pair_append(&p, term, term);
            compare(&p);
        }
        pair_truncate(&p, place + 1);
        compare(&p);
        pair_truncate(&p, place);
        compare(&p);
    }
}

/* ---- marks ---- */

static struct log marked_log(struct kelp_run *runs, uint64_t *totals, uint64_t step)
{
    struct log log;
    log_init(&log, runs, 8, totals, 8);
    log_boot(&log, kelp_pos_of(0, 0), 0, NULL, 0, 1);
    log_marks(&log, step);
    return log;
}

/* Who keeps the log from the floor on keeps at least so many bytes, and less than a step more. */
static void the_floor_has_as_many_bytes_behind_it_as_asked_for(void **state)
{
    (void)state;
    struct kelp_run runs[8];
    uint64_t totals[8];
    struct log log = marked_log(runs, totals, 100);
    assert_int_equal(log_floor(&log, 1), 0);
    for (kelp_index index = 1; index <= 500; index++) { /* 10 bytes each: as if all were sized */
        log_append(&log, kelp_term_of(1), 10);
        kelp_index floor = log_floor(&log, 1600); /* 16 of the 32 marks, and so always there */
        if (index < 160) assert_int_equal(floor, 0);
        if (index < 170) continue;
        assert_true((index - floor) * 10 >= 1600);
        assert_true((index - floor) * 10 < 1700);
    }
    assert_int_equal(log_floor(&log, 0), 500);
    assert_int_equal(log_floor(&log, 10), 490);
    assert_int_equal(log_floor(&log, 5000), 0); /* forgotten: nothing is known of so long ago */
}

static void what_is_cut_away_is_no_floor(void **state)
{
    (void)state;
    struct kelp_run runs[8];
    uint64_t totals[8];
    struct log log = marked_log(runs, totals, 1);
    for (kelp_index index = 1; index <= 6; index++)
        log_append(&log, kelp_term_of(1), 10);
    log_truncate(&log, kelp_pos_of(4, 1));
    assert_int_equal(log_floor(&log, 0), 4);
    assert_int_equal(log_floor(&log, 20), 2);
    log_append(&log, kelp_term_of(2), 30);
    assert_int_equal(log_floor(&log, 30), 4);
    assert_int_equal(log_floor(&log, 31), 3);
}

/* The totals begin anew where the sizes are not known any more; a mark from before would lie. */
static void a_cut_below_what_is_sized_forgets_the_marks(void **state)
{
    (void)state;
    struct kelp_run runs[8];
    uint64_t totals[8];
    struct log log = marked_log(runs, totals, 1);
    for (kelp_index index = 1; index <= 40; index++)
        log_append(&log, kelp_term_of(1), 10);
    log_truncate(&log, kelp_pos_of(20, 1)); /* eight sizes are kept */
    assert_int_equal(log_floor(&log, 1), 0);
    for (kelp_index index = 21; index <= 25; index++)
        log_append(&log, kelp_term_of(2), 10);
    assert_int_equal(log_floor(&log, 30), 22);
    assert_int_equal(log_floor(&log, 1000), 0);
}

static void a_reset_forgets_the_marks(void **state)
{
    (void)state;
    struct kelp_run runs[8];
    uint64_t totals[8];
    struct log log = marked_log(runs, totals, 1);
    for (kelp_index index = 1; index <= 6; index++)
        log_append(&log, kelp_term_of(1), 10);
    log_reset(&log, kelp_pos_of(90, 2));
    assert_int_equal(log_floor(&log, 0), 0);
    for (kelp_index index = 91; index <= 93; index++)
        log_append(&log, kelp_term_of(2), 10);
    assert_int_equal(log_floor(&log, 10), 92);
    assert_int_equal(log_floor(&log, 60), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_small_log_knows_its_terms_and_sizes),
        cmocka_unit_test(every_small_log_can_be_cut_anywhere_and_go_on),
        cmocka_unit_test(every_small_log_can_forget_its_head_and_go_on),
        cmocka_unit_test(an_entry_is_in_the_log_only_with_its_own_term),
        cmocka_unit_test(the_entries_after_a_position_begin_with_its_term),
        cmocka_unit_test(a_long_random_life_agrees_with_the_plain_array),
        cmocka_unit_test(a_boot_keeps_the_newest_runs_that_fit),
        cmocka_unit_test(a_looked_up_stretch_answers_until_the_log_is_cut),
        cmocka_unit_test(a_reset_log_is_empty_and_goes_on_behind_the_place),
        cmocka_unit_test(the_floor_has_as_many_bytes_behind_it_as_asked_for),
        cmocka_unit_test(what_is_cut_away_is_no_floor),
        cmocka_unit_test(a_cut_below_what_is_sized_forgets_the_marks),
        cmocka_unit_test(a_reset_forgets_the_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
