/* SPDX-License-Identifier: Apache-2.0 */
/* sessions_test.c - what is executed, what is answered from memory, who goes, and what a snapshot
 * shows of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "kelp/session.h"
#include "rsm/sessions.h"

#define HOUR SESSIONS_AGE_NS

struct lab { /* a table, and the entry that comes next */
    struct sessions *s;
    kelp_index index;
    uint64_t time_ns;
    struct kelp_bytes result; /* of the last one that was asked for */
};

static struct lab lab_new(void)
{
    struct lab lab = {.s = sessions_new()};
    assert_non_null(lab.s);
    return lab;
}

static uint64_t begin(struct lab *l)
{
    assert_int_equal(sessions_begin(l->s, ++l->index, l->time_ns), SESSIONS_EXECUTE);
    return l->index;
}

/* One entry; what it executes is answered with len bytes of the entry's index. */
static enum sessions_verdict asks(struct lab *l, struct kelp_once once, uint8_t command, size_t len)
{
    static uint8_t room[SESSIONS_RESULT_MAX + 1];
    struct wire_entry e = {.pos = kelp_pos_of(++l->index, 1),
                           .type = KELP_ENTRY_COMMAND,
                           .flags = WIRE_ENTRY_IN_SESSION,
                           .session = once.session,
                           .sequence = once.sequence,
                           .acknowledged = once.acknowledged,
                           .payload = bytes_of(&command, 1)};
    enum sessions_verdict verdict = sessions_ask(l->s, &e, l->time_ns, &l->result);
    if (verdict != SESSIONS_EXECUTE) return verdict;
    memset(room, (int)(l->index & 0xff), len);
    assert_true(sessions_keep(l->s, bytes_of(room, len)));
    return verdict;
}

#define ASKS(lab, command, ...) asks(lab, (struct kelp_once){__VA_ARGS__}, command, 8)

static void a_sequence_is_executed_once_and_answered_again(void **state) /* [§6.3] */
{
    (void)state;
    struct lab l = lab_new();
    uint64_t id = begin(&l);
    assert_int_equal(ASKS(&l, 'a', id, 1, 0), SESSIONS_EXECUTE);
    kelp_index first = l.index;
    assert_int_equal(ASKS(&l, 'c', id, 3, 0), SESSIONS_EXECUTE); /* gaps, and any order */
    assert_int_equal(ASKS(&l, 'b', id, 2, 0), SESSIONS_EXECUTE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ASKS(&l, 'a', id, 1, 0), SESSIONS_REPEATED);
        assert_int_equal(l.result.len, 8);
        assert_int_equal(l.result.data[0], first);
    }
    assert_int_equal(sessions_count(l.s).answers, 3);
    sessions_free(l.s);
}

static void an_unknown_session_is_never_executed(void **state) /* [§6.3] */
{
    (void)state;
    struct lab l = lab_new();
    assert_int_equal(ASKS(&l, 'a', 77, 1, 0), SESSIONS_UNKNOWN);
    uint64_t id = begin(&l);
    assert_int_equal(ASKS(&l, 'a', id + 1, 1, 0), SESSIONS_UNKNOWN);
    assert_int_equal(ASKS(&l, 'a', id, 1, 0), SESSIONS_EXECUTE);
    sessions_end(l.s, id);
    sessions_end(l.s, id); /* of no effect */
    assert_int_equal(ASKS(&l, 'a', id, 1, 0), SESSIONS_UNKNOWN);
    assert_int_equal(sessions_hash(l.s), 0); /* nothing is left */
    sessions_free(l.s);
}

static void what_is_acknowledged_is_over(void **state)
{
    (void)state;
    struct lab l = lab_new();
    uint64_t id = begin(&l);
    for (uint64_t n = 1; n <= 5; n++)
        assert_int_equal(ASKS(&l, 'a', id, n, 0), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'a', id, 9, 3), SESSIONS_EXECUTE);
    assert_int_equal(sessions_count(l.s).answers, 3);
    for (uint64_t n = 1; n <= 3; n++)
        assert_int_equal(ASKS(&l, 'a', id, n, 0), SESSIONS_OVER);
    assert_int_equal(ASKS(&l, 'a', id, 4, 1),
                     SESSIONS_REPEATED); /* an earlier one takes nothing back */
    assert_int_equal(ASKS(&l, 'a', id, 3, 0), SESSIONS_OVER);
    assert_int_equal(ASKS(&l, 'a', id, 8, 7), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'a', id, 6, 0), SESSIONS_OVER); /* given up: never executed */
    assert_int_equal(ASKS(&l, 'a', id, 0, 0), SESSIONS_OVER);
    sessions_free(l.s);
}

static void another_command_under_the_same_number_is_misuse(void **state)
{
    (void)state;
    struct lab l = lab_new();
    uint64_t id = begin(&l);
    assert_int_equal(ASKS(&l, 'a', id, 1, 0), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'b', id, 1, 0), SESSIONS_MISUSED);
    assert_int_equal(ASKS(&l, 'a', id, 1, 0), SESSIONS_REPEATED);
    assert_int_equal(ASKS(&l, 'a', 0, 5, 6), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'b', 0, 5, 6), SESSIONS_MISUSED);
    assert_int_equal(ASKS(&l, 'b', 0, 5, 7), SESSIONS_EXECUTE); /* another key */
    assert_int_equal(ASKS(&l, 'a', 0, 5, 6), SESSIONS_REPEATED);
    sessions_free(l.s);
}

static void age_is_cluster_time_without_use(void **state)
{
    (void)state;
    struct lab l = lab_new();
    uint64_t used = begin(&l), idle = begin(&l);
    assert_int_equal(ASKS(&l, 'k', 0, 1, 1), SESSIONS_EXECUTE);
    l.time_ns = HOUR - 1;
    assert_int_equal(ASKS(&l, 'a', used, 1, 0), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'k', 0, 1, 1), SESSIONS_REPEATED);
    l.time_ns = HOUR;
    assert_int_equal(ASKS(&l, 'a', idle, 1, 0), SESSIONS_UNKNOWN);
    assert_int_equal(ASKS(&l, 'a', used, 1, 0), SESSIONS_REPEATED);
    assert_int_equal(ASKS(&l, 'k', 0, 1, 1), SESSIONS_EXECUTE); /* a key that is forgotten is new */
    l.time_ns = 3 * HOUR;
    (void)begin(&l);
    assert_int_equal(sessions_count(l.s).sessions, 1);
    assert_int_equal(sessions_count(l.s).keys, 0);
    sessions_free(l.s);
}

static void the_session_used_longest_ago_goes_for_a_new_one(void **state)
{
    (void)state;
    struct lab l = lab_new();
    uint64_t first = begin(&l), second = begin(&l);
    assert_int_equal(ASKS(&l, 'a', second, 1, 0), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'a', first, 1, 0), SESSIONS_EXECUTE); /* now second is the oldest */
    for (unsigned i = 2; i < SESSIONS_MAX; i++)
        (void)begin(&l);
    assert_int_equal(sessions_count(l.s).sessions, SESSIONS_MAX);
    (void)begin(&l);
    assert_int_equal(sessions_count(l.s).sessions, SESSIONS_MAX);
    assert_int_equal(ASKS(&l, 'a', second, 1, 0), SESSIONS_UNKNOWN);
    assert_int_equal(ASKS(&l, 'a', first, 1, 0), SESSIONS_REPEATED);
    sessions_free(l.s);
}

static void a_full_session_lets_its_oldest_answer_go(void **state)
{
    (void)state;
    struct lab l = lab_new();
    uint64_t id = begin(&l);
    for (uint64_t n = 1; n <= SESSIONS_ANSWERS_A_SESSION; n++)
        assert_int_equal(ASKS(&l, 'a', id, 2 * n, 0), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'a', id, 2, 0), SESSIONS_REPEATED);
    assert_int_equal(ASKS(&l, 'a', id, 10000, 0), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'a', id, 2, 0), SESSIONS_OVER);
    assert_int_equal(ASKS(&l, 'a', id, 1, 0), SESSIONS_OVER); /* nobody can tell any more */
    assert_int_equal(ASKS(&l, 'a', id, 3, 0), SESSIONS_EXECUTE);
    assert_int_equal(ASKS(&l, 'a', id, 4, 0), SESSIONS_OVER);
    assert_int_equal(sessions_count(l.s).answers, SESSIONS_ANSWERS_A_SESSION);
    sessions_free(l.s);
}

static void bytes_and_answers_are_bounded_in_all_sessions_together(void **state)
{
    (void)state;
    struct lab l = lab_new();
    uint64_t first = begin(&l), id = first;
    unsigned executed = 0;
    for (; executed < 3000; executed++) {
        if (executed % 100 == 99) id = begin(&l);
        assert_int_equal(asks(&l, (struct kelp_once){id, executed + 1, 0}, 'a', 32768),
                         SESSIONS_EXECUTE);
        assert_true(sessions_count(l.s).bytes <= SESSIONS_BYTES_MAX);
    }
    assert_int_equal(ASKS(&l, 'a', first, 1, 0), SESSIONS_OVER);
    assert_int_equal(ASKS(&l, 'a', id, executed, 0), SESSIONS_REPEATED);
    sessions_free(l.s);
}

static void keys_are_bounded_and_the_oldest_goes(void **state)
{
    (void)state;
    struct lab l = lab_new();
    for (uint64_t n = 0; n <= SESSIONS_ANSWERS_MAX; n++)
        assert_int_equal(ASKS(&l, 'a', 0, n, 1), SESSIONS_EXECUTE);
    assert_int_equal(sessions_count(l.s).keys, SESSIONS_ANSWERS_MAX);
    assert_int_equal(ASKS(&l, 'a', 0, 1, 1), SESSIONS_REPEATED);
    assert_int_equal(ASKS(&l, 'a', 0, 0, 1), SESSIONS_EXECUTE);
    sessions_free(l.s);
}

static void a_long_result_is_not_kept_and_the_command_not_repeated(void **state)
{
    (void)state;
    struct lab l = lab_new();
    uint64_t id = begin(&l);
    struct kelp_once longest = {id, 1, 0}, longer = {id, 2, 0};
    assert_int_equal(asks(&l, longest, 'a', SESSIONS_RESULT_MAX), SESSIONS_EXECUTE);
    assert_int_equal(asks(&l, longer, 'a', SESSIONS_RESULT_MAX + 1), SESSIONS_EXECUTE);
    assert_int_equal(asks(&l, longest, 'a', 0), SESSIONS_REPEATED);
    assert_int_equal(l.result.len, SESSIONS_RESULT_MAX);
    assert_int_equal(asks(&l, longer, 'a', 0), SESSIONS_OVER);
    sessions_free(l.s);
}

/* ---- snapshots ---- */

/* Random work on few sessions, so that every rule is met often. */
static void works(struct lab *l, struct prng *random)
{
    static uint64_t ids[8];
    uint64_t pick = prng_next(random), id = ids[pick % 8], n = (pick >> 8) % 40;
    l->time_ns += (pick >> 16) % 2 == 0 ? 0 : (pick >> 20) % (HOUR / 50);
    size_t len =
        (pick >> 24) % 64 == 0 ? SESSIONS_RESULT_MAX - (pick >> 32) % 3 : (pick >> 32) % 99;
    switch ((pick >> 4) % 16) {
    case 0: ids[pick % 8] = begin(l); return;
    case 1: sessions_end(l->s, (l->index++, id)); return;
    case 2:
    case 3: (void)asks(l, (struct kelp_once){0, n, 0}, 'k', len); return;
    case 4: (void)asks(l, (struct kelp_once){id, n, n > 3 ? n - 3 : 0}, 'a', len); return;
    default: (void)asks(l, (struct kelp_once){id, n, 0}, (uint8_t)n, len); return;
    }
}

struct image {
    uint8_t *bytes[4096];
    size_t len[4096], count;
};

static void image_add(struct image *i, const uint8_t *bytes, size_t len)
{
    if (len == 0) return;
    assert_true(i->count < 4096);
    i->bytes[i->count] = malloc(len);
    memcpy(i->bytes[i->count], bytes, len);
    i->len[i->count++] = len;
}

static struct sessions *image_restored(struct image *i)
{
    struct sessions *s = sessions_new();
    for (size_t k = 0; k < i->count; k++) {
        assert_int_equal(sessions_restore(s, bytes_of(i->bytes[k], i->len[k])), KELP_OK);
        free(i->bytes[k]);
    }
    i->count = 0;
    return s;
}

/* While it is read the table goes on, in all ways there are; sometimes it is given up. */
static void a_snapshot_shows_the_state_at_its_beginning(void **state)
{
    (void)state;
    static struct image image;
    static uint8_t out[65536];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct prng random = {.state = seed};
        struct lab l = lab_new();
        for (unsigned round = 0; round < 30; round++) {
            for (unsigned i = 0; i < 200; i++)
                works(&l, &random);
            uint64_t hash = sessions_hash(l.s);
            struct sessions_count count = sessions_count(l.s);
            bool last = false, whole = prng_next(&random) % 4 != 0;
            sessions_snapshot_begin(l.s, l.index);
            for (unsigned reads = 0; !last && (whole || reads < 2); reads++) {
                size_t len = SESSIONS_OBJECT_MIN + prng_next(&random) % 1000;
                for (uint64_t i = prng_next(&random) % 30; i > 0; i--)
                    works(&l, &random);
                assert_int_equal(sessions_snapshot_read(l.s, out, &len, &last), KELP_OK);
                image_add(&image, out, len);
            }
            sessions_snapshot_end(l.s);
            struct sessions *restored = image_restored(&image);
            if (whole || last) {
                assert_int_equal(sessions_hash(restored), hash);
                struct sessions_count shown = sessions_count(restored);
                assert_memory_equal(&shown, &count, sizeof count);
            }
            sessions_free(restored);
        }
        sessions_free(l.s);
    }
}

/* A read may stop behind the last that a snapshot shows: what stands there goes like any other. */
static void what_is_younger_than_a_snapshot_goes_while_it_is_read(void **state)
{
    (void)state;
    static uint8_t out[65536];
    struct lab l = lab_new();
    bool last = false;
    size_t len = sizeof out, first;
    uint64_t id = begin(&l);
    for (uint64_t n = 1; n <= 256; n++) /* as many as a read takes */
        assert_int_equal(ASKS(&l, 'a', id, n, 0), SESSIONS_EXECUTE);
    uint64_t hash = sessions_hash(l.s);
    struct image image = {.count = 0};
    sessions_snapshot_begin(l.s, l.index);
    uint64_t other = begin(&l);
    assert_int_equal(ASKS(&l, 'b', other, 1, 0), SESSIONS_EXECUTE);
    assert_int_equal(sessions_snapshot_read(l.s, out, &len, &last), KELP_OK); /* the session */
    image_add(&image, out, len);
    first = len = sizeof out;
    assert_int_equal(sessions_snapshot_read(l.s, out, &len, &last), KELP_OK); /* the answers */
    assert_true(len > 256 * 52 && len < first && !last);
    image_add(&image, out, len);
    sessions_end(l.s, other);
    void *reused[64]; /* whoever still looks there finds the answer to entry 0 */
    for (size_t i = 0; i < 64; i++) {
        reused[i] = malloc(128);
        assert_non_null(reused[i]);
        memset(reused[i], 0, 128);
    }
    while (!last) {
        len = sizeof out;
        assert_int_equal(sessions_snapshot_read(l.s, out, &len, &last), KELP_OK);
        assert_int_equal(len, 0);
    }
    for (size_t i = 0; i < 64; i++)
        free(reused[i]);
    sessions_snapshot_end(l.s);
    struct sessions *restored = image_restored(&image);
    assert_int_equal(sessions_hash(restored), hash);
    sessions_free(restored);
    sessions_free(l.s);
}

/* A disk without room gives up each of them at once. */
static void snapshots_given_up_leave_nothing_behind(void **state)
{
    (void)state;
    struct lab l = lab_new();
    uint64_t id = begin(&l), n = 0, most = 0;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 100; i++)
            assert_int_equal(ASKS(&l, 'a', id, ++n, 0), SESSIONS_EXECUTE);
        sessions_snapshot_begin(l.s, l.index);
        for (unsigned i = 0; i < 100; i++, n++) /* all that were there go */
            assert_int_equal(ASKS(&l, 'a', id, n + 1, n), SESSIONS_EXECUTE);
        assert_true(sessions_ghosts(l.s) > 0);
        sessions_snapshot_end(l.s);
        most = sessions_ghosts(l.s) > most ? sessions_ghosts(l.s) : most;
    }
    assert_true(most <= 256 + 8); /* what one of them was to show */
    for (unsigned i = 0; i < 100; i++, n++)
        assert_int_equal(ASKS(&l, 'a', id, n + 1, n), SESSIONS_EXECUTE);
    assert_int_equal(sessions_ghosts(l.s), 0);
    sessions_free(l.s);
}

static struct sessions *copied(struct lab *l)
{
    static struct image image;
    static uint8_t out[65536];
    bool last = false;
    sessions_snapshot_begin(l->s, l->index);
    while (!last) {
        size_t len = sizeof out;
        assert_int_equal(sessions_snapshot_read(l->s, out, &len, &last), KELP_OK);
        image_add(&image, out, len);
    }
    sessions_snapshot_end(l->s);
    return image_restored(&image);
}

static void a_restored_table_goes_on_as_the_other(void **state)
{
    (void)state;
    struct prng random = {.state = 7};
    struct lab one = lab_new();
    for (unsigned i = 0; i < 3000; i++)
        works(&one, &random);
    struct lab other = {.s = copied(&one), .index = one.index, .time_ns = one.time_ns};
    struct prng same = random;
    for (unsigned i = 0; i < 3000; i++) {
        works(&one, &random);
        works(&other, &same);
        assert_int_equal(sessions_hash(one.s), sessions_hash(other.s));
    }
    sessions_free(one.s);
    sessions_free(other.s);
}

static void what_makes_no_sense_is_not_restored(void **state)
{
    (void)state;
    static uint8_t out[65536];
    struct lab l = lab_new();
    uint64_t id = begin(&l);
    assert_int_equal(ASKS(&l, 'a', id, 1, 0), SESSIONS_EXECUTE);
    bool last = false;
    sessions_snapshot_begin(l.s, l.index);
    size_t of_sessions = sizeof out, of_answers = sizeof out - 1000;
    assert_int_equal(sessions_snapshot_read(l.s, out, &of_sessions, &last), KELP_OK);
    uint8_t *answers = out + 1000;
    assert_int_equal(sessions_snapshot_read(l.s, answers, &of_answers, &last), KELP_OK);
    sessions_snapshot_end(l.s);
    struct sessions *s = sessions_new();
    assert_int_equal(sessions_restore(s, bytes_of(out, 0)), KELP_E_MALFORMED);
    /* of a session that is not there */
    assert_int_equal(sessions_restore(s, bytes_of(answers, of_answers)), KELP_E_MALFORMED);
    assert_int_equal(sessions_restore(s, bytes_of(out, of_sessions - 1)), KELP_E_MALFORMED);
    sessions_free(s);
    s = sessions_new();
    assert_int_equal(sessions_restore(s, bytes_of(out, of_sessions)), KELP_OK);
    assert_int_equal(sessions_restore(s, bytes_of(out, of_sessions)), KELP_E_MALFORMED); /* twice */
    for (size_t len = 1; len < of_answers; len++) {
        enum kelp_error error = sessions_restore(s, bytes_of(answers, len));
        assert_int_equal(error, len == 1 ? KELP_OK : KELP_E_MALFORMED);
    }
    assert_int_equal(sessions_restore(s, bytes_of(answers, of_answers)), KELP_OK);
    assert_int_equal(sessions_restore(s, bytes_of(answers, of_answers)), KELP_E_MALFORMED);
    answers[0] = 3; /* no such records */
    assert_int_equal(sessions_restore(s, bytes_of(answers, of_answers)), KELP_E_MALFORMED);
    assert_int_equal(sessions_hash(s), sessions_hash(l.s));
    sessions_free(s);
    sessions_free(l.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_is_executed_once_and_answered_again),
        cmocka_unit_test(an_unknown_session_is_never_executed),
        cmocka_unit_test(what_is_acknowledged_is_over),
        cmocka_unit_test(another_command_under_the_same_number_is_misuse),
        cmocka_unit_test(age_is_cluster_time_without_use),
        cmocka_unit_test(the_session_used_longest_ago_goes_for_a_new_one),
        cmocka_unit_test(a_full_session_lets_its_oldest_answer_go),
        cmocka_unit_test(bytes_and_answers_are_bounded_in_all_sessions_together),
        cmocka_unit_test(keys_are_bounded_and_the_oldest_goes),
        cmocka_unit_test(a_long_result_is_not_kept_and_the_command_not_repeated),
        cmocka_unit_test(a_snapshot_shows_the_state_at_its_beginning),
        cmocka_unit_test(what_is_younger_than_a_snapshot_goes_while_it_is_read),
        cmocka_unit_test(snapshots_given_up_leave_nothing_behind),
        cmocka_unit_test(a_restored_table_goes_on_as_the_other),
        cmocka_unit_test(what_makes_no_sense_is_not_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
