/* SPDX-License-Identifier: Apache-2.0 */
/* requests_test.c - every open request gets one outcome, once, whatever the order things happen
 * in. */
#include "core/requests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

#define MAX    6u
#define PAUSE  1000000u /* ns; deadlines are looked at no more often than this */
#define TOKENS 20000u

static void push(struct requests *q, uint64_t token, kelp_index index, kelp_ns deadline)
{
    requests_push(
        q, (struct request){.token = token, .deadline = deadline, .pos = kelp_pos_of(index, 1)});
}

static void requests_leave_in_order_of_arrival(void **state)
{
    (void)state;
    struct request slots[MAX];
    struct requests q;
    struct kelp_answer out[MAX];
    requests_init(&q, slots, MAX);
    for (uint64_t token = 1; token <= 3; token++)
        push(&q, token, token, KELP_NEVER);
    requests_resolve(&q, requests_find(&q, 3), KELP_DONE, KELP_R_NONE);
    requests_resolve(&q, requests_find(&q, 1), KELP_LOST, KELP_R_OVERWRITTEN);
    assert_int_equal(requests_take(&q, out, MAX), 2);
    assert_int_equal(out[0].token, 1);
    assert_int_equal(out[0].outcome, KELP_LOST);
    assert_int_equal(out[0].reason, KELP_R_OVERWRITTEN);
    assert_int_equal(out[1].token, 3);
    assert_int_equal(out[1].outcome, KELP_DONE);
    assert_int_equal(requests_take(&q, out, MAX), 0); /* once */
    assert_int_equal(q.open, 1);
    assert_non_null(requests_find(&q, 2));
}

static void an_answered_request_is_found_no_more(void **state)
{
    (void)state;
    struct request slots[MAX];
    struct requests q;
    requests_init(&q, slots, MAX);
    push(&q, 9, 1, KELP_NEVER);
    requests_resolve(&q, requests_find(&q, 9), KELP_DONE, KELP_R_NONE);
    assert_null(requests_find(&q, 9));
    assert_null(requests_find(&q, 0));
}

/* DG TestAwaitError (future) */
static void a_request_ends_at_its_deadline_and_not_before(void **state)
{
    (void)state;
    struct request slots[MAX];
    struct requests q;
    struct kelp_answer out[MAX];
    requests_init(&q, slots, MAX);
    push(&q, 1, 1, 5 * PAUSE);
    push(&q, 2, 2, 3 * PAUSE);
    push(&q, 3, 3, KELP_NEVER);
    assert_int_equal(q.deadline, 3 * PAUSE);
    requests_expire(&q, 3 * PAUSE - 1, KELP_UNKNOWN, KELP_R_TIMEOUT);
    assert_int_equal(q.resolved, 0);
    requests_expire(&q, 3 * PAUSE, KELP_UNKNOWN, KELP_R_TIMEOUT);
    assert_int_equal(requests_take(&q, out, MAX), 1);
    assert_int_equal(out[0].token, 2);
    assert_int_equal(q.deadline, 5 * PAUSE);
    requests_expire(&q, 5 * PAUSE, KELP_UNKNOWN, KELP_R_TIMEOUT);
    assert_int_equal(requests_take(&q, out, MAX), 1);
    assert_int_equal(q.deadline, KELP_NEVER); /* the last one has none */
    assert_int_equal(q.open, 1);
}

static void a_full_ring_has_room_again_when_its_oldest_is_answered(void **state)
{
    (void)state;
    struct request slots[MAX];
    struct requests q;
    struct kelp_answer out[MAX];
    requests_init(&q, slots, MAX);
    for (uint64_t token = 1; token <= MAX; token++)
        push(&q, token, token, KELP_NEVER);
    assert_true(requests_full(&q));
    requests_resolve(&q, requests_find(&q, 1), KELP_DONE, KELP_R_NONE);
    assert_true(requests_full(&q)); /* until its answer is taken */
    assert_int_equal(requests_take(&q, out, MAX), 1);
    assert_false(requests_full(&q));
    push(&q, MAX + 1, MAX + 1, KELP_NEVER);
    assert_int_equal(requests_at(&q, MAX - 1)->token, MAX + 1);
}

static void a_lower_index_after_a_higher_one_is_noticed(void **state)
{
    (void)state;
    struct request slots[MAX];
    struct requests q;
    requests_init(&q, slots, MAX);
    push(&q, 1, 5, KELP_NEVER);
    push(&q, 2, 7, KELP_NEVER);
    assert_true(q.sorted);
    push(&q, 3, 6, KELP_NEVER); /* 6..7 were cut, this node leads again */
    assert_false(q.sorted);
}

/* PB TestLimitedClientPatience */
static void all_open_requests_end_together(void **state)
{
    (void)state;
    struct request slots[MAX];
    struct requests q;
    struct kelp_answer out[MAX];
    requests_init(&q, slots, MAX);
    for (uint64_t token = 1; token <= 4; token++)
        push(&q, token, token, KELP_NEVER);
    requests_resolve(&q, requests_find(&q, 2), KELP_DONE, KELP_R_NONE);
    requests_resolve_all(&q, KELP_UNKNOWN, KELP_R_SHUTDOWN);
    assert_int_equal(requests_take(&q, out, MAX), 4);
    assert_int_equal(out[1].outcome, KELP_DONE); /* an outcome is never replaced */
    assert_int_equal(out[3].outcome, KELP_UNKNOWN);
    assert_int_equal(q.count, 0);
}

/* ---- a random life: a flag per token instead of a ring ---- */

enum fate { UNBORN, OPEN, ENDED, ANSWERED };

static void a_random_life_answers_every_token_exactly_once(void **state)
{
    (void)state;
    static enum fate fates[TOKENS + 1];
    static kelp_ns deadlines[TOKENS + 1];
    struct prng prng = {.state = 11};
    struct request slots[MAX];
    struct requests q;
    struct kelp_answer out[MAX];
    requests_init(&q, slots, MAX);
    kelp_ns now = 0;
    uint64_t born = 0, answered = 0;
    while (born < TOKENS) {
        now += prng_below(&prng, PAUSE);
        uint64_t what = prng_below(&prng, 10), token = 1 + prng_below(&prng, TOKENS);
        if (born > MAX) token = born - prng_below(&prng, MAX);
        if (what < 5 && !requests_full(&q)) {
            born++;
            fates[born] = OPEN;
            deadlines[born] =
                prng_chance(&prng, 1, 3) ? KELP_NEVER : now + prng_below(&prng, 10 * PAUSE);
            push(&q, born, born, deadlines[born]);
        } else if (what < 7) {
            struct request *request = requests_find(&q, token);
            assert_int_equal(request != NULL, fates[token] == OPEN);
            if (request == NULL) continue;
            requests_resolve(&q, request, KELP_DONE, KELP_R_NONE);
            fates[token] = ENDED;
        } else if (what < 8) {
            bool sweeps = now >= q.deadline;
            requests_expire(&q, now, KELP_UNKNOWN, KELP_R_TIMEOUT);
            for (uint64_t i = 1; i <= born; i++) {
                bool late = fates[i] == OPEN && deadlines[i] <= now;
                if (late) assert_true(sweeps || now < deadlines[i] + PAUSE);
                if (late && sweeps) fates[i] = ENDED;
            }
        } else {
            uint32_t count = requests_take(&q, out, (uint32_t)prng_between(&prng, 1, MAX));
            for (uint32_t i = 0; i < count; i++) {
                assert_int_equal(fates[out[i].token], ENDED);
                fates[out[i].token] = ANSWERED;
                answered++;
            }
        }
        assert_true(q.open + q.resolved <= q.count && q.count <= MAX);
    }
    requests_resolve_all(&q, KELP_UNKNOWN, KELP_R_SHUTDOWN);
    answered += requests_take(&q, out, MAX);
    assert_int_equal(answered, TOKENS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_leave_in_order_of_arrival),
        cmocka_unit_test(an_answered_request_is_found_no_more),
        cmocka_unit_test(a_request_ends_at_its_deadline_and_not_before),
        cmocka_unit_test(a_full_ring_has_room_again_when_its_oldest_is_answered),
        cmocka_unit_test(a_lower_index_after_a_higher_one_is_noticed),
        cmocka_unit_test(all_open_requests_end_together),
        cmocka_unit_test(a_random_life_answers_every_token_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
