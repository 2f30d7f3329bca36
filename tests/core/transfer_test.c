/* SPDX-License-Identifier: Apache-2.0 */
/* transfer_test.c - handing leadership over: whom, when, and how it ends. [§3.10]
 *
 * The conversations between nodes are in tests/scenario/transfer; here are the numbers of one
 * node: moments, messages, what is chosen. */
#include "fixture.h"

static void transfer(struct fixture *f, uint64_t token, kelp_id target, kelp_ns deadline)
{
    struct kelp_input in = {.type = KELP_IN_TRANSFER};
    in.transfer.token = token;
    in.transfer.target = target;
    in.transfer.deadline = deadline;
    step(f, &in);
}

static struct kelp_message order_of(struct fixture *f, kelp_id from, kelp_index required)
{
    struct kelp_message m = heartbeat_of(f, from, f->view.term.v);
    m.type = KELP_MSG_TIMEOUT_NOW;
    m.timeout_now.required = required;
    return m;
}

/* Everybody has everything of this leader. */
static struct fixture *level_leader(uint32_t voters)
{
    struct fixture *f = leader(.log = "1@1", .voters = voters);
    for (kelp_id id = 2; id <= voters; id++)
        ack(f, id, 2);
    save_all(f);
    applied(f, 2);
    take(f);
    fixture_forget(f);
    return f;
}

static void the_order_names_the_end_of_the_log(void **state)
{
    (void)state;
    struct fixture *f = level_leader(3);
    transfer(f, 9, 3, KELP_NEVER);
    assert_true(f->view.transferring);
    assert_int_equal(f->view.transfer_to, 3);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_TIMEOUT_NOW, 0), 1);
    const struct kelp_message *m = sent(f, KELP_MSG_TIMEOUT_NOW, 3);
    assert_int_equal(m->term.v, f->view.term.v);
    assert_int_equal(m->timeout_now.required, 2);
    assert_int_equal(m->flags, 0);
    fixture_close(f);
}

static void the_order_goes_out_once_a_heartbeat(void **state)
{
    (void)state;
    struct fixture *f = level_leader(3);
    transfer(f, 9, 3, KELP_NEVER);
    for (int i = 0; i < 4; i++) {
        take(f);
        assert_true(f->deadline <= f->now + 100 * MS);
        pass(f, 50 * MS);
    }
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_TIMEOUT_NOW, 3), 3); /* at 0, 100 and 200 ms */
    fixture_close(f);
}

static void nobody_is_told_before_it_has_everything_on_disk(void **state)
{
    (void)state;
    struct fixture *f = level_leader(3);
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    save_all(f);
    transfer(f, 9, 3, KELP_NEVER);
    ack(f, 2, 3); /* another */
    ack(f, 3, 2);
    take(f);
    MARK_MISS(f, TRANSFER_TOLD);
    ack(f, 3, 3);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_TIMEOUT_NOW, 3)->timeout_now.required, 3);
    fixture_close(f);
}

static void a_transfer_ends_after_one_election_timeout(void **state)
{
    (void)state;
    struct fixture *f = level_leader(5);
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    save_all(f);
    transfer(f, 9, 3, KELP_NEVER);
    for (int i = 0; i < 10; i++) {
        for (kelp_id id = 2; id <= 5; id++)
            receive(f, answer_of(f, id, id == 3 ? 2 : 3));
        assert_true(f->view.transferring);
        take(f);
        assert_int_equal(answers_to(f, 9), 0);
        pass(f, i < 9 ? 100 * MS : 100 * MS - 1);
    }
    take(f);
    assert_int_equal(answers_to(f, 9), 0);
    assert_int_equal(f->deadline, f->now + 1);
    pass(f, 1);
    assert_true(f->view.transferring); /* until it is told */
    take(f);
    assert_int_equal(answer_to(f, 9).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 9).reason, KELP_R_BEHIND);
    assert_false(f->view.transferring);
    assert_true(client_writes(f, 2, 100, KELP_NEVER));
    fixture_close(f);
}

static void an_earlier_deadline_holds(void **state)
{
    (void)state;
    struct fixture *f = level_leader(3);
    transfer(f, 9, 3, f->now + 5 * MS);
    take(f);
    assert_int_equal(f->deadline, f->now + 5 * MS);
    pass(f, 5 * MS);
    take(f);
    assert_int_equal(answer_to(f, 9).outcome, KELP_UNKNOWN);
    assert_int_equal(answer_to(f, 9).reason, KELP_R_TIMEOUT);
    fixture_close(f);
}

static void the_outcome_names_the_new_leader(void **state)
{
    (void)state;
    struct fixture *f = level_leader(3);
    transfer(f, 9, 3, KELP_NEVER);
    take(f);
    uint64_t term = f->view.term.v + 1;
    struct kelp_message m = vote_of(f, 3, term, "2@2");
    m.flags = KELP_MF_TRANSFER;
    receive(f, m);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_false(f->view.transferring);
    save_all(f);
    assert_int_equal(answers_to(f, 9), 0); /* nobody leads yet */
    receive(f, heartbeat_of(f, 3, term));
    save_all(f);
    assert_int_equal(answer_to(f, 9).outcome, KELP_DONE);
    assert_int_equal(answer_to(f, 9).leader, 3);
    fixture_close(f);
}

static void an_election_without_a_winner_is_not_done(void **state)
{
    (void)state;
    struct fixture *f = level_leader(3);
    transfer(f, 9, 3, KELP_NEVER);
    take(f);
    struct kelp_message m = vote_of(f, 3, f->view.term.v + 1, "2@2");
    m.flags = KELP_MF_TRANSFER;
    receive(f, m);
    save_all(f);
    pass(f, 999 * MS);
    save_all(f);
    assert_int_equal(answers_to(f, 9), 0);
    pass(f, 1 * MS);
    save_all(f);
    assert_int_equal(answer_to(f, 9).outcome, KELP_UNKNOWN);
    fixture_close(f);
}

static void the_answer_finds_room_in_a_later_take(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1", .answers = 2);
    transfer(f, 9, 3, KELP_NEVER);
    assert_false(client_writes(f, 1, 100, KELP_NEVER));
    step(f, &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 9});
    assert_false(client_writes(f, 2, 100, KELP_NEVER));
    struct kelp_work work;
    assert_true(kelp_take(f->core, f->now, &work));
    assert_int_equal(work.answer_count, 2);
    assert_int_equal(work.answers[0].token, 1);
    assert_int_equal(work.answers[0].reason, KELP_R_TRANSFERRING);
    assert_int_equal(work.answers[1].token, 2);
    assert_true(kelp_take(f->core, f->now, &work));
    assert_int_equal(work.answer_count, 1);
    assert_int_equal(work.answers[0].token, 9);
    assert_int_equal(work.answers[0].reason, KELP_R_CANCELLED);
    fixture_close(f);
}

/* 3 has most; 4 has as much and is short of room, 5's disk hangs */
static void the_best_has_most_and_a_disk_that_works(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1", .voters = 6, .learners = 1);
    ack(f, 2, 1);
    struct kelp_message m = answer_of(f, 4, 2);
    m.answer.health = KELP_SPACE_LOW;
    receive(f, m);
    m = answer_of(f, 5, 2);
    m.answer.health = KELP_HEALTH_STALL;
    receive(f, m);
    ack(f, 7, 2); /* the learner */
    transfer(f, 9, 0, KELP_NEVER);
    assert_int_equal(f->view.transfer_to, 2);
    ack(f, 3, 2);
    assert_int_equal(f->view.transfer_to, 3);
    take(f);
    assert_non_null(sent(f, KELP_MSG_TIMEOUT_NOW, 3));
    fixture_close(f);
}

static void answers_say_that_a_save_hangs(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .stall_limit = 2000 * MS);
    append(f, .prev = "1@1", .entries = "2@1");
    take(f);
    receive(f, heartbeat_of(f, 2, 1));
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.health, 0);
    for (int i = 0; i < 21; i++) {
        pass(f, 100 * MS);
        receive(f, heartbeat_of(f, 2, 1));
    }
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.health, KELP_HEALTH_STALL);
    fixture_close(f);
}

static void a_stalled_leader_tries_again_until_it_lets_go(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1", .voters = 3, .stall_limit = 5000 * MS);
    ack(f, 2, 2);
    ack(f, 3, 2);
    take(f);
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    take(f); /* its save is never reported */
    fixture_forget(f);
    for (int i = 0; i < 100; i++) {
        pass(f, 100 * MS);
        receive(f, answer_of(f, 2, 3));
        receive(f, answer_of(f, 3, 2));
        take(f);
    }
    assert_int_equal(f->view.role, KELP_LEADER);              /* at 10 s, two limits */
    assert_int_equal(hits(f, KELP_EV_TRANSFER_FOR_STALL), 3); /* at 5, 7 and 9 s */
    assert_non_null(sent(f, KELP_MSG_TIMEOUT_NOW, 2));
    assert_null(sent(f, KELP_MSG_TIMEOUT_NOW, 3)); /* its disk has done nothing */
    pass(f, 1 * MS);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    MARK_HIT(f, DISK_STEP_DOWN);
    fixture_close(f);
}

static void a_faulted_leader_speaks_once(void **state)
{
    (void)state;
    struct fixture *f = level_leader(3);
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    save_all(f);
    ack(f, 3, 3);
    take(f);
    fixture_forget(f);
    step(f, &(struct kelp_input){.type = KELP_IN_FAULT});
    take(f);
    assert_int_equal(f->message_count, 1);
    const struct kelp_message *m = sent(f, KELP_MSG_TIMEOUT_NOW, 3);
    assert_int_equal(m->timeout_now.required, 3);
    assert_int_equal(m->flags, KELP_MF_FINAL);
    for (int i = 0; i < 20; i++) {
        pass(f, 100 * MS);
        take(f);
    }
    assert_int_equal(f->message_count, 1);
    fixture_close(f);
}

static void a_faulted_follower_says_nothing(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    step(f, &(struct kelp_input){.type = KELP_IN_FAULT});
    take(f);
    assert_int_equal(f->message_count, 0);
    MARK_MISS(f, TRANSFER_PARTING);
    fixture_close(f);
}

/* the last word of a leader does not know what is still on its way */
static void a_final_order_counts_with_entries_behind_it(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    append(f, .prev = "1@1", .entries = "2@1 3@1");
    save_all(f);
    struct kelp_message m = order_of(f, 2, 2);
    receive(f, m);
    MARK_HIT(f, TIMEOUT_NOW_LATE);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    m.flags = KELP_MF_FINAL;
    receive(f, m);
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    fixture_close(f);
}

static void only_the_attempt_that_was_asked_for_carries_the_flag(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    append(f, .prev = "1@1", .entries = "2@1");
    save_all(f);
    receive(f, order_of(f, 2, 2));
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    assert_int_equal(f->view.term.v, 2);
    save_all(f);
    assert_int_equal(sent(f, KELP_MSG_VOTE, 3)->flags, KELP_MF_TRANSFER);
    pass(f, 2001 * MS);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_VOTE, 3)->flags, KELP_MF_PRE_VOTE);
    receive(f, granted_of(f, 3));
    save_all(f);
    assert_int_equal(f->view.term.v, 3);
    assert_int_equal(sent(f, KELP_MSG_VOTE, 3)->flags, 0);
    fixture_close(f);
}

static void an_order_of_a_later_term_is_of_no_known_leader(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    receive(f, heartbeat_of(f, 2, 1));
    struct kelp_message m = order_of(f, 2, 0);
    m.term.v = 4;
    receive(f, m);
    assert_int_equal(f->view.term.v, 4);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    MARK_HIT(f, TIMEOUT_NOW_NOT_LEADER);
    fixture_close(f);
}

static void a_second_transfer_waits_for_the_first(void **state)
{
    (void)state;
    struct fixture *f = level_leader(3);
    transfer(f, 9, 3, KELP_NEVER);
    transfer(f, 10, 3, KELP_NEVER);
    step(f, &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 9});
    transfer(f, 11, 2, KELP_NEVER); /* the first one's outcome is not told yet */
    take(f);
    assert_int_equal(answer_to(f, 9).reason, KELP_R_CANCELLED);
    assert_int_equal(answer_to(f, 10).reason, KELP_R_TRANSFERRING);
    assert_int_equal(answer_to(f, 11).reason, KELP_R_TRANSFERRING);
    transfer(f, 12, 2, KELP_NEVER);
    take(f);
    assert_int_equal(answers_to(f, 12), 0);
    assert_non_null(sent(f, KELP_MSG_TIMEOUT_NOW, 2));
    fixture_close(f);
}

/* What has to be decided about it needs an entry, which has to wait: so must the time for it. */
static void a_member_that_is_given_up_meanwhile_wakes_nobody(void **state)
{
    (void)state;
    struct kelp_config c = voters(3);
    c.members[3] = (struct kelp_member){.id = 4, .role = KELP_STAGING, .incarnation = 44};
    c.count = 4;
    c.id_highest = 4;
    c.index = 1;
    struct fixture *f = leader(.log = "1@1", .commit = 1, .config = &c);
    for (kelp_id id = 2; id <= 3; id++)
        ack(f, id, 2);
    save_all(f);
    take(f);
    kelp_ns idle = f->now + 10 * f->options.election_max;
    while (f->now < idle - 50 * MS) {
        fixture_forget(f);
        pass(f, 50 * MS);
        for (kelp_id id = 2; id <= 3; id++)
            receive(f, answer_of(f, id, 2));
        save_all(f);
        assert_int_equal(hits(f, KELP_EV_CATCH_UP_GIVEN_UP), 0);
    }
    transfer(f, 9, 3, KELP_NEVER);
    for (unsigned i = 0; i < 4; i++) {
        pass(f, 50 * MS);
        for (kelp_id id = 2; id <= 3; id++)
            receive(f, answer_of(f, id, 2));
        take(f);
        assert_true(f->view.transferring);
        assert_int_equal(hits(f, KELP_EV_CATCH_UP_GIVEN_UP), 0);
        assert_true(f->deadline > f->now);
    }
    while (f->view.transferring) {
        pass(f, 50 * MS);
        for (kelp_id id = 2; id <= 3; id++)
            receive(f, answer_of(f, id, 2));
        take(f);
    }
    take(f);
    assert_int_equal(hits(f, KELP_EV_CATCH_UP_GIVEN_UP), 1);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_names_the_end_of_the_log),
        cmocka_unit_test(the_order_goes_out_once_a_heartbeat),
        cmocka_unit_test(nobody_is_told_before_it_has_everything_on_disk),
        cmocka_unit_test(a_transfer_ends_after_one_election_timeout),
        cmocka_unit_test(an_earlier_deadline_holds),
        cmocka_unit_test(the_outcome_names_the_new_leader),
        cmocka_unit_test(an_election_without_a_winner_is_not_done),
        cmocka_unit_test(the_answer_finds_room_in_a_later_take),
        cmocka_unit_test(the_best_has_most_and_a_disk_that_works),
        cmocka_unit_test(answers_say_that_a_save_hangs),
        cmocka_unit_test(a_stalled_leader_tries_again_until_it_lets_go),
        cmocka_unit_test(a_faulted_leader_speaks_once),
        cmocka_unit_test(a_faulted_follower_says_nothing),
        cmocka_unit_test(a_final_order_counts_with_entries_behind_it),
        cmocka_unit_test(only_the_attempt_that_was_asked_for_carries_the_flag),
        cmocka_unit_test(an_order_of_a_later_term_is_of_no_known_leader),
        cmocka_unit_test(a_member_that_is_given_up_meanwhile_wakes_nobody),
        cmocka_unit_test(a_second_transfer_waits_for_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
