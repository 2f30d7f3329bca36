/* SPDX-License-Identifier: Apache-2.0 */
/* progress_test.c - a peer's flow, match, next and window, against lists that are walked.
 * [§3.5, §10.2.1] */
#include "core/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

#define WINDOW 4u

struct fixture_progress {
    struct progress p;
    struct inflight window[WINDOW];
};

static void fresh(struct fixture_progress *f, kelp_index next)
{
    progress_init(&f->p, f->window, WINDOW);
    progress_reset(&f->p, next);
}

static void streaming(struct fixture_progress *f, kelp_index next)
{
    fresh(f, next);
    progress_sent(&f->p, next - 1, 0); /* an empty probe */
    progress_accepted(&f->p);
    assert_int_equal(f->p.flow, KELP_STREAM);
    assert_int_equal(f->p.next, next);
}

/* HM RequestVote response */
static void a_new_leadership_probes_with_nothing_matched(void **state)
{
    (void)state;
    struct fixture_progress f;
    streaming(&f, 5);
    assert_true(progress_matched(&f.p, 7));
    progress_reset(&f.p, 10);
    assert_int_equal(f.p.flow, KELP_PROBE);
    assert_int_equal(f.p.match, 0);
    assert_int_equal(f.p.next, 10);
    assert_int_equal(f.p.window_count, 0);
}

static void a_probe_moves_nothing_until_it_is_accepted(void **state)
{
    (void)state;
    struct fixture_progress f;
    fresh(&f, 5);
    progress_sent(&f.p, 6, 20);
    progress_sent(&f.p, 6, 20); /* repeated */
    assert_int_equal(f.p.next, 5);
    assert_int_equal(f.p.window_count, 0);
    assert_true(f.p.probe_out);
    progress_accepted(&f.p);
    assert_int_equal(f.p.flow, KELP_STREAM);
    assert_false(f.p.probe_out);
}

/* HM AppendEntries response */
static void a_match_lifts_next_and_frees_the_window_up_to_it(void **state)
{
    (void)state;
    struct fixture_progress f;
    streaming(&f, 5);
    progress_sent(&f.p, 6, 20);
    progress_sent(&f.p, 8, 30);
    progress_sent(&f.p, 9, 40);
    assert_int_equal(f.p.next, 10);
    assert_int_equal(f.p.window_bytes, 90);
    assert_true(progress_matched(&f.p, 8));
    assert_int_equal(f.p.window_count, 1);
    assert_int_equal(f.p.window_bytes, 40);
    assert_int_equal(f.p.next, 10);
    assert_true(progress_matched(&f.p, 12)); /* it has more than was sent in this window */
    assert_int_equal(f.p.next, 13);
    assert_int_equal(f.p.window_count, 0);
}

/* HC TestCommitment_match_max */
static void an_older_match_is_no_news(void **state)
{
    (void)state;
    struct fixture_progress f;
    streaming(&f, 5);
    assert_true(progress_matched(&f.p, 8));
    assert_false(progress_matched(&f.p, 8));
    assert_false(progress_matched(&f.p, 3));
    assert_int_equal(f.p.match, 8);
}

static void a_new_attempt_empties_the_window_and_never_goes_below_match(void **state)
{
    (void)state;
    struct fixture_progress f;
    streaming(&f, 5);
    assert_true(progress_matched(&f.p, 6));
    progress_sent(&f.p, 9, 10);
    uint64_t attempt = f.p.attempt;
    progress_probe(&f.p, 3);
    assert_true(f.p.attempt > attempt);
    assert_int_equal(f.p.next, 7);
    assert_int_equal(f.p.window_count, 0);
    assert_int_equal(f.p.window_bytes, 0);
    assert_false(f.p.probe_out);
}

static void one_message_always_fits_an_empty_window(void **state)
{
    (void)state;
    struct fixture_progress f;
    streaming(&f, 1);
    assert_true(progress_room(&f.p, 10));
    progress_sent(&f.p, 1, 1000000);
    assert_false(progress_room(&f.p, 10)); /* full by bytes */
    assert_true(progress_matched(&f.p, 1));
    for (kelp_index last = 2; last < 2 + WINDOW; last++) {
        assert_true(progress_room(&f.p, 10));
        progress_sent(&f.p, last, 1);
    }
    assert_false(progress_room(&f.p, 10)); /* full by messages */
}

static void a_window_of_one_message_is_legal(void **state)
{
    (void)state;
    struct progress p;
    struct inflight one;
    progress_init(&p, &one, 1);
    progress_reset(&p, 1);
    progress_sent(&p, 0, 0);
    progress_accepted(&p);
    for (kelp_index last = 1; last <= 5; last++) {
        assert_true(progress_room(&p, 100));
        progress_sent(&p, last, 50);
        assert_false(progress_room(&p, 100));
        assert_true(progress_matched(&p, last));
    }
}

static void a_peer_that_needs_what_is_gone_gets_nothing(void **state)
{
    (void)state;
    struct fixture_progress f;
    streaming(&f, 5);
    progress_sent(&f.p, 6, 20);
    progress_gone(&f.p);
    assert_int_equal(f.p.flow, KELP_NEEDS_SNAPSHOT);
    assert_int_equal(f.p.window_count, 0);
    progress_probe(&f.p, 9);
    assert_int_equal(f.p.flow, KELP_PROBE);
}

/* ---- a long random life against a plain list of what is in flight ---- */

struct list {
    struct inflight at[4096];
    size_t first, end;
};

static uint64_t list_bytes(const struct list *l)
{
    uint64_t sum = 0;
    for (size_t i = l->first; i < l->end; i++)
        sum += l->at[i].bytes;
    return sum;
}

static void a_random_life_agrees_with_a_plain_list(void **state)
{
    (void)state;
    static struct list l;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct prng prng = {.state = seed};
        struct fixture_progress f;
        kelp_index match = 0, last_sent = 0;
        streaming(&f, 1);
        l.first = l.end = 0;
        for (int round = 0; round < 1000; round++) {
            uint64_t bytes_max = prng_between(&prng, 1, 100);
            if (prng_chance(&prng, 1, 2)) {
                bool room =
                    l.end == l.first || (l.end - l.first < WINDOW && list_bytes(&l) < bytes_max);
                assert_int_equal(progress_room(&f.p, bytes_max), room);
                if (!room) continue;
                last_sent += prng_between(&prng, 1, 3);
                l.at[l.end++] = (struct inflight){last_sent, prng_below(&prng, 60)};
                progress_sent(&f.p, last_sent, l.at[l.end - 1].bytes);
            } else if (prng_chance(&prng, 9, 10)) {
                kelp_index to = prng_below(&prng, last_sent + 1);
                assert_int_equal(progress_matched(&f.p, to), to > match);
                if (to > match) match = to;
                while (l.first < l.end && l.at[l.first].last <= match)
                    l.first++;
            } else {
                progress_probe(&f.p, match + 1);
                progress_sent(&f.p, match, 0);
                progress_accepted(&f.p);
                l.first = l.end;
                last_sent = match;
            }
            assert_int_equal(f.p.match, match);
            assert_int_equal(f.p.next, last_sent + 1);
            assert_int_equal(f.p.window_count, l.end - l.first);
            assert_int_equal(f.p.window_bytes, list_bytes(&l));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_leadership_probes_with_nothing_matched),
        cmocka_unit_test(a_probe_moves_nothing_until_it_is_accepted),
        cmocka_unit_test(a_match_lifts_next_and_frees_the_window_up_to_it),
        cmocka_unit_test(an_older_match_is_no_news),
        cmocka_unit_test(a_new_attempt_empties_the_window_and_never_goes_below_match),
        cmocka_unit_test(one_message_always_fits_an_empty_window),
        cmocka_unit_test(a_window_of_one_message_is_legal),
        cmocka_unit_test(a_peer_that_needs_what_is_gone_gets_nothing),
        cmocka_unit_test(a_random_life_agrees_with_a_plain_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
