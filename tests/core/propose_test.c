/* SPDX-License-Identifier: Apache-2.0 */
/* propose_test.c - a proposal's life and its four ends: DONE, REFUSED, LOST, UNKNOWN. [§3.5,
 * §6.3] */
#include "fixture.h"

/* HC TestRaft_SingleNode, DG TestSubmit */
static void a_proposal_is_done_when_its_entry_commits(void **state)
{
    (void)state;
    struct fixture *f = leader();
    assert_true(client_writes(f, 7, 100, KELP_NEVER));
    assert_int_equal(f->taken.first, 2);
    assert_int_equal(f->taken.last, 2);
    assert_int_equal(f->taken.term.v, 2);
    save_all(f);
    assert_int_equal(answers_to(f, 7), 0);
    receive(f, answer_of(f, 2, 2));
    take(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_DONE);
    assert_pos(answer_to(f, 7).pos, "2@2");
    MARK_HIT(f, PROPOSAL_DONE);
    fixture_close(f);
}

/* PB TestOrdering */
static void proposals_are_answered_in_order(void **state)
{
    (void)state;
    struct fixture *f = leader();
    for (uint64_t token = 1; token <= 10; token++)
        assert_true(client_writes(f, token, 10, KELP_NEVER));
    save_all(f);
    receive(f, answer_of(f, 2, 6));
    take(f);
    assert_int_equal(f->answer_count, 5); /* those that are committed, and no other */
    receive(f, answer_of(f, 2, 11));
    take(f);
    assert_int_equal(f->answer_count, 10);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(f->answers[i].token, i + 1);
    fixture_close(f);
}

/* HC TestRaft_ApplyNonLeader */
static void a_follower_refuses_and_names_the_leader(void **state)
{
    (void)state;
    struct fixture *f = node();
    assert_false(client_writes(f, 1, 100, KELP_NEVER));
    receive(f, heartbeat_of(f, 2, 1));
    assert_false(client_writes(f, 2, 100, KELP_NEVER));
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 1).reason, KELP_R_NOT_LEADER);
    assert_int_equal(answer_to(f, 1).leader, 0);
    assert_int_equal(answer_to(f, 2).leader, 2);
    assert_int_equal(f->view.last, 0);
    MARK_HIT(f, PROPOSE_NOT_LEADER);
    fixture_close(f);
}

static void too_large_is_refused_and_the_limit_itself_is_not(void **state)
{
    (void)state;
    struct fixture *f = leader(.entry_bytes = 500);
    assert_true(client_writes(f, 1, 500, KELP_NEVER));
    assert_false(client_writes(f, 2, 501, KELP_NEVER));
    assert_false(client_writes(f, 3, UINT32_MAX, KELP_NEVER));
    take(f);
    assert_int_equal(answer_to(f, 2).reason, KELP_R_TOO_LARGE);
    assert_int_equal(answer_to(f, 3).reason, KELP_R_TOO_LARGE);
    MARK_HIT(f, PROPOSE_TOO_LARGE);
    fixture_close(f);
}

/* HC TestRaft_ApplyConcurrent_Timeout */
static void open_proposals_are_limited_in_number(void **state)
{
    (void)state;
    struct fixture *f = leader(.proposals = 3);
    for (uint64_t token = 1; token <= 3; token++)
        assert_true(client_writes(f, token, 10, KELP_NEVER));
    assert_false(client_writes(f, 4, 10, KELP_NEVER));
    save_all(f);
    assert_int_equal(answer_to(f, 4).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 4).reason, KELP_R_BUSY);
    receive(f, answer_of(f, 2, 2));
    take(f);
    assert_true(client_writes(f, 5, 10, KELP_NEVER));
    fixture_close(f);
}

static void uncommitted_bytes_are_limited_but_one_entry_always_fits(void **state)
{
    (void)state;
    struct fixture *f = leader(.uncommitted_bytes = 200);
    receive(f, answer_of(f, 2, 1));
    assert_true(client_writes(f, 1, 1000, KELP_NEVER)); /* nothing else is open */
    assert_false(client_writes(f, 2, 1, KELP_NEVER));
    save_all(f);
    receive(f, answer_of(f, 2, 2));
    assert_true(client_writes(f, 3, 150, KELP_NEVER));
    assert_true(client_writes(f, 4, 50, KELP_NEVER));
    assert_false(client_writes(f, 5, 1, KELP_NEVER));
    MARK_HIT(f, PROPOSE_BUSY);
    fixture_close(f);
}

static void a_slow_state_machine_stops_proposals(void **state)
{
    (void)state;
    struct fixture *f = leader(.unapplied_bytes = 150);
    receive(f, answer_of(f, 2, 1));
    take(f);
    applied(f, 1);
    assert_true(client_writes(f, 1, 200, KELP_NEVER));
    save_all(f);
    receive(f, answer_of(f, 2, 2));
    take(f);
    assert_false(client_writes(f, 2, 10, KELP_NEVER));
    applied(f, 2);
    assert_true(client_writes(f, 3, 10, KELP_NEVER));
    fixture_close(f);
}

/* ---- after leadership is lost ---- */

/* A leader of term 2 with 2@2 proposed as token 7 and committed nowhere, deposed by node 3 in
 * term 3. */
static struct fixture *deposed(void)
{
    struct fixture *f = leader(.voters = 5);
    assert_true(client_writes(f, 7, 100, KELP_NEVER));
    save_all(f);
    receive(f, heartbeat_of(f, 3, 3));
    save_all(f);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(answers_to(f, 7), 0); /* nobody knows yet */
    return f;
}

/* HC TestRaft_LeaderFail; the new leader had the entry */
static void a_deposed_leaders_proposal_is_done_if_it_commits_after_all(void **state)
{
    (void)state;
    struct fixture *f = deposed();
    append(f, .from = 3, .prev = "2@2", .entries = "3@3", .commit = 3);
    take(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_DONE);
    assert_pos(answer_to(f, 7).pos, "2@2");
    MARK_HIT(f, PROPOSAL_DONE_AFTER_DEPOSED);
    fixture_close(f);
}

/* PB TestLimitedClientPatience: whoever else holds it may still win and commit it */
static void a_truncation_alone_answers_nothing(void **state)
{
    (void)state;
    struct fixture *f = deposed();
    append(f, .from = 3, .prev = "1@2", .entries = "2@3");
    save_all(f);
    assert_log(f, "1@2 2@3");
    assert_int_equal(answers_to(f, 7), 0);
    append(f, .from = 4, .term = 4, .prev = "1@2", .entries = "2@2 3@4", .commit = 3);
    save_all(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_DONE);
    fixture_close(f);
}

/* HC TestRaft_LeaderFail */
static void a_proposal_is_lost_once_another_entry_is_committed_in_its_place(void **state)
{
    (void)state;
    struct fixture *f = deposed();
    append(f, .from = 3, .prev = "1@2", .entries = "2@3", .commit = 2);
    take(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_LOST);
    assert_int_equal(answer_to(f, 7).reason, KELP_R_OVERWRITTEN);
    MARK_HIT(f, PROPOSAL_LOST);
    fixture_close(f);
}

/* 2..3@2 are cut, this node leads again and puts another proposal at 3 */
static void an_earlier_proposal_does_not_hide_a_later_one_of_a_lower_index(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    assert_true(client_writes(f, 7, 100, KELP_NEVER));
    assert_true(client_writes(f, 8, 100, KELP_NEVER));
    assert_true(client_writes(f, 9, 100, KELP_NEVER)); /* 4@2 */
    save_all(f);
    append(f, .from = 3, .term = 3, .prev = "1@2", .entries = "2@3");
    save_all(f);
    pass(f, 5000 * MS); /* stands in term 4 */
    save_all(f);
    receive(f, granted_of(f, 2));
    save_all(f);
    receive(f, granted_of(f, 2));
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    assert_log(f, "1@2 2@3 3@4");
    assert_true(client_writes(f, 10, 100, KELP_NEVER)); /* 4@4 */
    save_all(f);
    receive(f, answer_of(f, 2, 4));
    take(f);
    for (uint64_t token = 7; token <= 9; token++)
        assert_int_equal(answer_to(f, token).outcome, KELP_LOST);
    assert_int_equal(answer_to(f, 10).outcome, KELP_DONE);
    fixture_close(f);
}

/* ---- the ends that say: not known ---- */

/* DG TestAwaitError */
static void a_proposal_is_unknown_at_its_deadline(void **state)
{
    (void)state;
    struct fixture *f = leader();
    assert_true(client_writes(f, 1, 100, f->now + 50 * MS));
    assert_true(client_writes(f, 2, 100, KELP_NEVER));
    save_all(f);
    pass(f, 50 * MS);
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_UNKNOWN);
    assert_int_equal(answer_to(f, 1).reason, KELP_R_TIMEOUT);
    receive(f, answer_of(f, 2, 3)); /* it commits later: no second answer */
    take(f);
    assert_int_equal(answers_to(f, 1), 1);
    assert_int_equal(answer_to(f, 2).outcome, KELP_DONE);
    fixture_close(f);
}

static void a_cancelled_proposal_is_unknown(void **state)
{
    (void)state;
    struct fixture *f = leader();
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    step(f, &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 1});
    step(f, &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 1});
    step(f, &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 99});
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_UNKNOWN);
    fixture_close(f);
}

/* HC TestRaft_AfterShutdown */
static void shutdown_answers_everything_and_refuses_what_comes_after(void **state)
{
    (void)state;
    struct fixture *f = leader();
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    client_reads(f, 2, KELP_NEVER);
    step(f, &(struct kelp_input){.type = KELP_IN_SHUTDOWN});
    step(f, &(struct kelp_input){.type = KELP_IN_SHUTDOWN}); /* harmless */
    assert_false(client_writes(f, 3, 100, KELP_NEVER));
    client_reads(f, 4, KELP_NEVER);
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_UNKNOWN);
    for (uint64_t token = 1; token <= 4; token++)
        assert_int_equal(answer_to(f, token).reason, KELP_R_SHUTDOWN);
    assert_int_equal(answer_to(f, 3).outcome, KELP_REFUSED);
    assert_int_equal(f->message_count, 0);
    fixture_close(f);
}

/* HC TestRaft_CacheLogWithStoreError, of the core */
static void a_fault_answers_everything_and_refuses_what_comes_after(void **state)
{
    (void)state;
    struct fixture *f = leader();
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    client_reads(f, 2, KELP_NEVER);
    step(f, &(struct kelp_input){.type = KELP_IN_FAULT});
    assert_false(client_writes(f, 3, 100, KELP_NEVER));
    pass(f, 10000 * MS);
    take(f);
    assert_true(f->faulted);
    assert_int_equal(answer_to(f, 1).outcome, KELP_UNKNOWN);
    assert_int_equal(answer_to(f, 1).reason, KELP_R_FAULTED);
    assert_int_equal(answer_to(f, 2).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 3).reason, KELP_R_FAULTED);
    assert_int_equal(f->message_count, 0);
    assert_int_equal(f->deadline, KELP_NEVER);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    fixture_close(f);
}

/* the commit index jumps over more terms than are remembered */
static void a_term_no_longer_known_makes_the_outcome_unknown(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 5, .runs = 4);
    assert_true(client_writes(f, 7, 100, KELP_NEVER));
    save_all(f);
    append(f, .from = 3, .term = 9, .prev = "2@2", .entries = "3@3 4@4 5@5 6@6 7@7", .commit = 7);
    take(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_UNKNOWN);
    assert_int_equal(answer_to(f, 7).reason, KELP_R_SNAPSHOT_PASSED);
    MARK_HIT(f, PROPOSAL_UNKNOWN);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proposal_is_done_when_its_entry_commits),
        cmocka_unit_test(proposals_are_answered_in_order),
        cmocka_unit_test(a_follower_refuses_and_names_the_leader),
        cmocka_unit_test(too_large_is_refused_and_the_limit_itself_is_not),
        cmocka_unit_test(open_proposals_are_limited_in_number),
        cmocka_unit_test(uncommitted_bytes_are_limited_but_one_entry_always_fits),
        cmocka_unit_test(a_slow_state_machine_stops_proposals),
        cmocka_unit_test(a_deposed_leaders_proposal_is_done_if_it_commits_after_all),
        cmocka_unit_test(a_truncation_alone_answers_nothing),
        cmocka_unit_test(a_proposal_is_lost_once_another_entry_is_committed_in_its_place),
        cmocka_unit_test(an_earlier_proposal_does_not_hide_a_later_one_of_a_lower_index),
        cmocka_unit_test(a_proposal_is_unknown_at_its_deadline),
        cmocka_unit_test(a_cancelled_proposal_is_unknown),
        cmocka_unit_test(shutdown_answers_everything_and_refuses_what_comes_after),
        cmocka_unit_test(a_fault_answers_everything_and_refuses_what_comes_after),
        cmocka_unit_test(a_term_no_longer_known_makes_the_outcome_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
