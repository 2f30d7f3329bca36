/* SPDX-License-Identifier: Apache-2.0 */
/* session_test.c - sessions and keys through the public API. */
#include "kelp/session.h"
#include "node/party.h"

static uint64_t opened(unsigned id)
{
    struct kelp_result result;
    uint64_t session = 0;
    time_t since = time(NULL);
    while (kelp_session_open_call(members[id].node, &session, &result) != KELP_OK) {
        if (late(since)) fail_msg("never opened: %s", kelp_reason_name(result.reason));
    }
    assert_int_equal(session, result.pos.index);
    return session;
}

static enum kelp_error add_once(unsigned id, uint64_t number, const struct kelp_once *once,
                                struct kelp_result *result, uint64_t *sum)
{
    uint8_t command[8], reply[8] = {0};
    put_u64(command, number);
    enum kelp_error error = kelp_call_once(members[id].node, bytes_of(command, sizeof command),
                                           once, reply, sizeof reply, result);
    *sum = load_u64(reply);
    return error;
}

static void a_command_is_added_once_through_whatever_node(void **state) /* [§6.3] */
{
    (void)state;
    struct kelp_result result;
    uint64_t sum = 0, again = 0;
    for (unsigned id = 1; id <= NODES; id++)
        member_open(id);
    uint64_t session = opened(1);
    for (uint64_t number = 1; number <= 10; number++) {
        struct kelp_once once = {session, number, number - 1};
        for (unsigned id = 1; id <= NODES; id++) { /* whatever becomes of an attempt */
            time_t since = time(NULL);
            while (add_once(id, number, &once, &result, &again) != KELP_OK)
                assert_false(late(since));
            if (id == 1) sum = again;
            assert_int_equal(again, sum);
        }
    }
    assert_int_equal(sum, 55);
    struct kelp_once old = {session, 3, 0}, key = kelp_once_key(bytes_of("order 17", 8));
    assert_int_equal(add_once(2, 3, &old, &result, &sum), KELP_E_BUSY);
    assert_int_equal(result.outcome, KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_SEQUENCE_OVER);
    assert_int_equal(add_once(2, 45, &key, &result, &sum), KELP_OK);
    assert_int_equal(add_once(3, 45, &key, &result, &again), KELP_OK);
    assert_int_equal(sum, 100);
    assert_int_equal(again, 100);
    assert_int_equal(add_once(3, 46, &key, &result, &again), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_ONCE_MISUSED);
    assert_int_equal(ask(1), 100);
}

static void an_ended_session_is_unknown(void **state)
{
    (void)state;
    struct kelp_result result;
    uint64_t sum;
    member_open(1);
    uint64_t session = opened(1);
    struct kelp_once once = {session, 1, 0};
    assert_int_equal(add_once(1, 5, &once, &result, &sum), KELP_OK);
    tally.ended = tally.done = 0;
    kelp_session_end(members[1].node, session, 1, on_done, &tally);
    WAIT(tally.ended == 1);
    assert_int_equal(tally.done, 1);
    assert_int_equal(add_once(1, 5, &once, &result, &sum), KELP_E_BUSY);
    assert_int_equal(result.outcome, KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_UNKNOWN_SESSION);
    uint8_t five[8];
    put_u64(five, 5);
    kelp_session_open(members[1].node, 2, on_done, &tally);
    kelp_propose_once(members[1].node, bytes_of(five, 8), &once, 3, on_done, &tally);
    kelp_propose_once(members[1].node, bytes_of(NULL, 0), &once, 4, on_done, &tally);
    WAIT(tally.ended == 4);
    assert_int_equal(tally.done, 2); /* the session that was opened */
    assert_int_equal(ask(1), 5);
}

/* Wherever it is asked: a leader takes it itself, another sends it on. */
static void no_session_is_not_ended(void **state)
{
    (void)state;
    for (unsigned id = 1; id <= NODES; id++)
        member_open(id);
    (void)opened(1);
    tally.ended = tally.done = 0;
    for (unsigned id = 1; id <= NODES; id++)
        kelp_session_end(members[id].node, 0, id, on_done, &tally);
    WAIT(tally.ended == NODES);
    assert_int_equal(tally.done, 0);
}

/* The node starts from its log: what was executed is known again. */
static void a_restart_knows_what_was_executed(void **state)
{
    (void)state;
    struct kelp_result result;
    uint64_t sum;
    member_open(1);
    struct kelp_once once = {opened(1), 1, 0};
    assert_int_equal(add_once(1, 5, &once, &result, &sum), KELP_OK);
    member_close(1);
    member_open(1);
    time_t since = time(NULL);
    while (add_once(1, 5, &once, &result, &sum) != KELP_OK)
        assert_false(late(since));
    assert_int_equal(sum, 5);
    assert_int_equal(ask(1), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(a_command_is_added_once_through_whatever_node),
        THREE(no_session_is_not_ended),
        ONE(an_ended_session_is_unknown),
        ONE(a_restart_knows_what_was_executed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
