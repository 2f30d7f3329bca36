/* SPDX-License-Identifier: Apache-2.0 */
/* read_test.c - a read is served only when nobody can have written past it. [§6.4, §6.4.1] */
#include "fixture.h"

/* A leader whose empty entry is committed and applied: reads are possible. */
static struct fixture *ready(const struct spec *spec)
{
    struct fixture *f = fixture_leader(spec);
    for (uint32_t slot = 1; slot < f->view.peer_count; slot++)
        receive(f, answer_of(f, slot + 1, f->view.last));
    save_all(f);
    assert_true(f->view.committed_own_term);
    applied(f, f->view.commit);
    fixture_forget(f);
    return f;
}
#define ready_leader(...) ready(&(struct spec){.dull = 0, __VA_ARGS__})

/* A peer answers the newest round it was sent. */
static void answer_round(struct fixture *f, kelp_id from)
{
    struct kelp_message m = answer_of(f, from, 0);
    m.round = sent(f, KELP_MSG_HEARTBEAT, from)->round;
    receive(f, m);
}

/* HC TestRaft_VerifyLeader, HC TestRaft_VerifyLeader_PartialConnect, DG TestBasicReadOnly */
static void a_read_is_served_after_a_quorum_answered_its_round(void **state)
{
    (void)state;
    struct fixture *f = ready_leader(.voters = 5);
    client_reads(f, 7, KELP_NEVER);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_HEARTBEAT, 0),
                     4); /* in the same take, to all at once */
    assert_int_equal(answers_to(f, 7), 0);
    answer_round(f, 2);
    take(f);
    assert_int_equal(answers_to(f, 7), 0);
    answer_round(f, 2); /* again: still two of five */
    take(f);
    assert_int_equal(answers_to(f, 7), 0);
    answer_round(f, 4);
    take(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_DONE);
    assert_int_equal(answer_to(f, 7).pos.index, f->view.commit);
    fixture_close(f);
}

/* HC TestRaft_VerifyLeader_Single, DG TestSingleServerReadOnly */
static void a_single_node_serves_reads_at_once(void **state)
{
    (void)state;
    struct fixture *f = ready_leader(.voters = 1);
    client_reads(f, 7, KELP_NEVER);
    take(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_DONE);
    fixture_close(f);
}

/* DG TestMarkAsVerified */
static void reads_of_one_take_share_a_round(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    for (uint64_t token = 1; token <= 5; token++)
        client_reads(f, token, KELP_NEVER);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_HEARTBEAT, 2), 1);
    answer_round(f, 2);
    take(f);
    for (uint64_t token = 1; token <= 5; token++)
        assert_int_equal(answer_to(f, token).outcome, KELP_DONE);
    fixture_close(f);
}

/* [§6.4] */
static void an_answer_to_an_older_round_serves_no_newer_read(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    client_reads(f, 1, KELP_NEVER);
    take(f);
    struct kelp_message old = answer_of(f, 2, 0);
    old.round = sent(f, KELP_MSG_HEARTBEAT, 2)->round;
    client_reads(f, 2, KELP_NEVER);
    take(f);
    receive(f, old);
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_DONE);
    assert_int_equal(answers_to(f, 2), 0);
    answer_round(f, 3);
    take(f);
    assert_int_equal(answer_to(f, 2).outcome, KELP_DONE);
    fixture_close(f);
}

static void an_answer_to_a_newer_round_serves_older_reads_too(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    client_reads(f, 1, KELP_NEVER);
    take(f);
    client_reads(f, 2, KELP_NEVER);
    take(f);
    answer_round(f, 2);
    take(f);
    assert_int_equal(answers_to(f, 1), 1);
    assert_int_equal(answers_to(f, 2), 1);
    fixture_close(f);
}

static void a_round_that_was_never_asked_counts_for_nothing(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    struct kelp_message m = answer_of(f, 2, 0);
    m.round = UINT64_MAX;
    receive(f, m);
    m.round = 5;
    receive(f, m);
    client_reads(f, 1, KELP_NEVER);
    take(f);
    assert_int_equal(answers_to(f, 1), 0);
    fixture_close(f);
}

/* [§6.4 step 1] */
static void a_read_waits_for_the_first_commit_of_the_term(void **state)
{
    (void)state;
    struct fixture *f = leader();
    client_reads(f, 1, KELP_NEVER);
    take(f);
    MARK_HIT(f, READ_WAITS_OWN_TERM);
    for (kelp_id id = 2; id <= 3; id++) { /* contact alone does not help */
        struct kelp_message m = answer_of(f, id, 0);
        m.round = f->messages[0].round;
        receive(f, m);
    }
    take(f);
    assert_int_equal(answers_to(f, 1), 0);
    receive(f, answer_of(f, 2, f->view.last));
    take(f);
    answer_round(f, 2);
    take(f);
    assert_int_equal(answers_to(f, 1), 0); /* not applied yet */
    applied(f, f->view.commit);
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_DONE);
    fixture_close(f);
}

/* DG TestAppliableReadOnlyOperations */
static void a_read_waits_until_its_index_is_applied(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    assert_true(client_writes(f, 50, 100, KELP_NEVER));
    save_all(f);
    receive(f, answer_of(f, 2, f->view.last));
    client_reads(f, 1, KELP_NEVER);
    take(f);
    answer_round(f, 2);
    take(f);
    assert_int_equal(answers_to(f, 1), 0);
    applied(f, f->view.commit);
    take(f);
    assert_int_equal(answer_to(f, 1).pos.index, f->view.commit);
    fixture_close(f);
}

static void learners_confirm_no_read(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3, .learners = 2);
    receive(f, answer_of(f, 2, 1));
    take(f);
    applied(f, 1);
    client_reads(f, 1, KELP_NEVER);
    take(f);
    struct kelp_message m = answer_of(f, 4, 1);
    m.round = sent(f, KELP_MSG_HEARTBEAT, 3)->round;
    receive(f, m);
    m.from = 5;
    receive(f, m);
    take(f);
    assert_int_equal(answers_to(f, 1), 0);
    fixture_close(f);
}

static void a_follower_refuses_a_read_and_names_the_leader(void **state)
{
    (void)state;
    struct fixture *f = node();
    receive(f, heartbeat_of(f, 3, 1));
    client_reads(f, 1, KELP_NEVER);
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 1).reason, KELP_R_NOT_LEADER);
    assert_int_equal(answer_to(f, 1).leader, 3);
    MARK_HIT(f, READ_REFUSED);
    fixture_close(f);
}

/* HC TestRaft_VerifyLeader_Fail, DG TestReadOnlyFail */
static void a_deposed_leader_refuses_its_open_reads(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    client_reads(f, 1, KELP_NEVER);
    take(f);
    client_reads(f, 2, KELP_NEVER); /* not even stamped */
    struct kelp_message late = answer_of(f, 2, 0);
    late.round = sent(f, KELP_MSG_HEARTBEAT, 2)->round;
    receive(f, heartbeat_of(f, 3, 9));
    receive(f, late);
    save_all(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 2).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 2).reason, KELP_R_NOT_LEADER);
    fixture_close(f);
}

static void a_read_ends_at_its_deadline(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    client_reads(f, 1, f->now + 30 * MS);
    take(f);
    assert_true(f->deadline <= f->now + 30 * MS);
    pass(f, 30 * MS);
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 1).reason, KELP_R_TIMEOUT);
    fixture_close(f);
}

/* neither its place nor the answers of others are touched by the next round */
static void a_read_that_ended_before_its_round_leaves_no_trace(void **state)
{
    (void)state;
    struct fixture *f = leader();
    client_reads(f, 1, f->now + 10 * MS);
    take(f);
    pass(f, 20 * MS);
    take(f);
    assert_int_equal(answers_to(f, 1), 1);
    client_reads(f, 2, KELP_NEVER);
    client_reads(f, 3, KELP_NEVER);
    step(f, &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 3});
    receive(f, answer_of(f, 2, 1));
    take(f);
    applied(f, 1);
    take(f);
    answer_round(f, 2);
    take(f);
    assert_int_equal(answer_to(f, 2).outcome, KELP_DONE);
    assert_int_equal(answer_to(f, 3).outcome, KELP_REFUSED);
    assert_int_equal(answers_to(f, 1), 1);
    fixture_close(f);
}

static void open_reads_are_limited(void **state)
{
    (void)state;
    struct fixture *f = ready_leader(.reads = 3);
    for (uint64_t token = 1; token <= 4; token++)
        client_reads(f, token, KELP_NEVER);
    take(f);
    assert_int_equal(answer_to(f, 4).reason, KELP_R_BUSY);
    answer_round(f, 2);
    take(f);
    client_reads(f, 5, KELP_NEVER);
    take(f);
    answer_round(f, 2);
    take(f);
    assert_int_equal(answer_to(f, 5).outcome, KELP_DONE);
    fixture_close(f);
}

static void a_lost_round_is_carried_again_by_a_heartbeat(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    client_reads(f, 1, KELP_NEVER);
    take(f);
    uint64_t round = sent(f, KELP_MSG_HEARTBEAT, 2)->round;
    fixture_forget(f);
    pass(f, 100 * MS);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_HEARTBEAT, 2)->round, round);
    answer_round(f, 2);
    take(f);
    assert_int_equal(answer_to(f, 1).outcome, KELP_DONE);
    fixture_close(f);
}

static void a_follower_repeats_the_highest_round_of_its_leader(void **state)
{
    (void)state;
    struct fixture *f = node();
    struct kelp_message m = heartbeat_of(f, 2, 1);
    m.round = 9;
    receive(f, m);
    m.round = 4; /* late */
    receive(f, m);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->round, 9);
    m.term.v = 2; /* another leadership counts anew */
    m.round = 1;
    receive(f, m);
    save_all(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->round, 1);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_is_served_after_a_quorum_answered_its_round),
        cmocka_unit_test(a_single_node_serves_reads_at_once),
        cmocka_unit_test(reads_of_one_take_share_a_round),
        cmocka_unit_test(an_answer_to_an_older_round_serves_no_newer_read),
        cmocka_unit_test(an_answer_to_a_newer_round_serves_older_reads_too),
        cmocka_unit_test(a_round_that_was_never_asked_counts_for_nothing),
        cmocka_unit_test(a_read_waits_for_the_first_commit_of_the_term),
        cmocka_unit_test(a_read_waits_until_its_index_is_applied),
        cmocka_unit_test(learners_confirm_no_read),
        cmocka_unit_test(a_follower_refuses_a_read_and_names_the_leader),
        cmocka_unit_test(a_deposed_leader_refuses_its_open_reads),
        cmocka_unit_test(a_read_ends_at_its_deadline),
        cmocka_unit_test(a_read_that_ended_before_its_round_leaves_no_trace),
        cmocka_unit_test(open_reads_are_limited),
        cmocka_unit_test(a_lost_round_is_carried_again_by_a_heartbeat),
        cmocka_unit_test(a_follower_repeats_the_highest_round_of_its_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
