/* SPDX-License-Identifier: Apache-2.0 */
/* restore_test.c - steps of a restore through the public API; the machine of these tests takes
 * none, which is what they are told. */
#include "kelp/restore.h"

#include "node/party.h"

static void a_step_has_one_outcome_and_its_reason(void **state)
{
    (void)state;
    struct kelp_result result;
    struct kelp_restore_status status = {.id = 7};
    struct kelp_restore_step step = {.kind = KELP_RESTORE_BEGIN, .id = 5};
    member_open(1);
    time_t begun = time(NULL);
    do { /* until it leads */
        assert_int_equal(kelp_restore_call(members[1].node, &step, &result), KELP_E_BUSY);
        assert_int_equal(result.outcome, KELP_REFUSED);
        assert_false(late(begun));
    } while (result.reason != KELP_R_NOT_TAKEN);
    assert_true(result.pos.index > 0); /* committed, and of no effect */
    step.kind = KELP_RESTORE_COMMIT;
    assert_int_equal(kelp_restore_call(members[1].node, &step, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_NOT_STAGED);
    step.id = 0; /* it has no form */
    assert_int_equal(kelp_restore_call(members[1].node, &step, &result), KELP_E_BUSY);
    assert_int_equal(result.outcome, KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_NOT_TAKEN);
    assert_int_equal(result.pos.index, 0);
    tally.ended = tally.done = 0;
    kelp_restore(members[1].node, &step, 1, on_done, &tally);
    WAIT(tally.ended == 1);
    assert_int_equal(tally.done, 0);
    assert_int_equal(kelp_restore_look(members[1].node, &status), KELP_OK);
    assert_int_equal(status.id, 0);
    assert_int_equal(status.end, KELP_RESTORE_NONE);
    assert_string_equal(kelp_restore_end_name(status.end), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(a_step_has_one_outcome_and_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
