/* SPDX-License-Identifier: Apache-2.0 */
/* save_test.c - durability as a number: what is to be saved, what a report proves, disks that
 * stall. [§3.8, §10.2.1] */
#include "fixture.h"

static const struct kelp_save *last_save(const struct fixture *f)
{
    assert_true(f->save_count > 0);
    return &f->saves[f->save_count - 1];
}

static void term_vote_and_entries_travel_in_one_save(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .term = 4, .entries = "1@3 2@4");
    take(f);
    const struct kelp_save *save = last_save(f);
    assert_int_equal(f->save_count, 1);
    assert_int_equal(save->flags, KELP_SAVE_VOTE | KELP_SAVE_APPEND);
    assert_int_equal(save->term.v, 4);
    assert_int_equal(save->vote, 0);
    assert_int_equal(save->first, 1);
    assert_int_equal(save->last, 2);
    fixture_close(f);
}

static void what_is_saved_is_not_saved_again(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1");
    take(f);
    append(f, .prev = "1@1", .entries = "2@1");
    take(f); /* the first one is not reported yet */
    assert_int_equal(last_save(f)->first, 2);
    assert_int_equal(last_save(f)->flags, KELP_SAVE_APPEND);
    pass(f, 1);
    take(f);
    assert_int_equal(f->save_count, 2);
    fixture_close(f);
}

/* save 1 holds 3..5@1; the tail is cut to 2; save 2 holds 3@2 */
static void the_report_of_a_save_that_was_cut_proves_nothing_about_what_took_its_place(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1");
    append(f, .prev = "2@1", .entries = "3@1 4@1 5@1");
    take(f);
    append(f, .from = 3, .term = 2, .prev = "2@1", .entries = "3@2");
    take(f);
    assert_int_equal(last_save(f)->flags, KELP_SAVE_VOTE | KELP_SAVE_TRUNCATE | KELP_SAVE_APPEND);
    assert_pos(last_save(f)->end, "2@1");
    MARK_HIT(f, SAVE_LOWERED);
    saved_up_to(f, 1);
    take(f);
    assert_int_equal(f->view.durable, 2);
    assert_null(sent(f, KELP_MSG_ANSWER, 3)); /* its term is not even saved */
    saved_up_to(f, 2);
    take(f);
    assert_int_equal(f->view.durable, 3);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 3)->answer.match, 3);
    fixture_close(f);
}

/* 3@1 is on disk since long, its place is taken by 3@2 */
static void what_takes_the_place_of_a_durable_entry_waits_for_its_own_save(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 2, .log = "1@1 2@1 3@1");
    append(f, .from = 2, .term = 2, .prev = "2@1", .entries = "3@2");
    take(f);
    assert_int_equal(f->view.durable, 2);
    assert_null(sent(f, KELP_MSG_ANSWER, 2));
    saved_up_to(f, last_save(f)->number);
    take(f);
    assert_int_equal(f->view.durable, 3);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 3);
    fixture_close(f);
}

static void a_tail_the_disk_never_heard_of_is_cut_in_silence(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    append(f, .prev = "1@1", .entries = "2@1 3@1");
    append(f, .from = 3, .term = 2, .prev = "1@1", .entries = "2@2");
    take(f);
    assert_int_equal(f->save_count, 1);
    assert_int_equal(last_save(f)->flags, KELP_SAVE_VOTE | KELP_SAVE_APPEND);
    assert_int_equal(last_save(f)->first, 2);
    assert_int_equal(last_save(f)->last, 2);
    fixture_close(f);
}

static void several_cuts_become_one_to_the_lowest(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1 4@1");
    append(f, .term = 2, .prev = "3@1", .entries = "4@2");
    append(f, .term = 3, .prev = "1@1", .entries = "2@3 3@3");
    append(f, .term = 4, .prev = "2@3", .entries = "3@4");
    take(f);
    assert_int_equal(f->save_count, 1);
    assert_pos(last_save(f)->end, "1@1");
    assert_int_equal(last_save(f)->first, 2);
    assert_int_equal(last_save(f)->last, 3);
    assert_log(f, "1@1 2@3 3@4");
    fixture_close(f);
}

static void saves_that_wait_for_a_slow_disk_merge(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3, .proposals = 128, .tail = 128);
    size_t before = f->save_count;
    for (uint64_t i = 1; i <= 100; i++) {
        assert_true(client_writes(f, i, 10, KELP_NEVER));
        take(f);
    }
    size_t open = f->save_count - before;
    assert_true(open < 100);
    saved_up_to(f, last_save(f)->number);
    take(f);
    assert_int_equal(f->save_count - before, open + 1); /* all that waited, in one */
    assert_int_equal(last_save(f)->last, f->view.last);
    save_all(f);
    assert_int_equal(f->view.durable, f->view.last);
    fixture_close(f);
}

static void a_report_covers_every_save_before_it(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1");
    take(f);
    append(f, .prev = "1@1", .entries = "2@1");
    take(f);
    saved_up_to(f, 2);
    assert_int_equal(f->view.durable, 2);
    saved_up_to(f, 1); /* late and repeated: no harm */
    saved_up_to(f, 2);
    assert_int_equal(f->view.durable, 2);
    fixture_close(f);
}

static void every_save_carries_the_commit_index_of_its_moment(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1 2@1", .commit = 1);
    take(f);
    assert_int_equal(last_save(f)->commit, 1);
    assert_true(last_save(f)->commit <= last_save(f)->last);
    fixture_close(f);
}

/* ---- disks that stall ---- */

static void contact(struct fixture *f)
{
    receive(f, answer_of(f, 2, 0));
    receive(f, answer_of(f, 3, 0));
}

static void a_leader_whose_save_stalls_for_two_limits_steps_down(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    assert_true(client_writes(f, 1, 10, KELP_NEVER));
    take(f);
    for (int i = 0; i < 10; i++) {
        pass(f, 100 * MS);
        contact(f);
        take(f);
    }
    assert_false(f->view.stalled);
    pass(f, 1);
    assert_true(f->view.stalled);
    MARK_HIT(f, DISK_STALLED);
    assert_int_equal(f->view.role, KELP_LEADER);
    for (int i = 0; i < 10; i++) {
        contact(f);
        pass(f, 100 * MS);
        take(f);
    }
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    MARK_HIT(f, DISK_STEP_DOWN);
    fixture_close(f);
}

static void a_node_whose_disk_stalled_stands_again_one_limit_after_it_came_back(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1");
    take(f);
    for (int i = 0; i < 60; i++) {
        pass(f, 100 * MS);
        take(f);
    }
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    MARK_HIT(f, CAMPAIGN_HELD_STALLED);
    saved_up_to(f, 1);
    MARK_HIT(f, DISK_RECOVERED);
    kelp_ns back = f->now;
    while (f->view.role == KELP_FOLLOWER && f->now < back + 10000 * MS)
        pass(f, 10 * MS);
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    assert_true(f->now >= back + 1000 * MS);
    fixture_close(f);
}

static void the_only_voter_never_retreats(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 1, .learners = 1);
    assert_true(client_writes(f, 1, 10, KELP_NEVER));
    take(f);
    for (int i = 0; i < 100; i++) {
        pass(f, 100 * MS);
        take(f);
        assert_true(f->deadline > f->now);
    }
    assert_int_equal(f->view.role, KELP_LEADER);
    assert_true(f->view.stalled);
    save_all(f);
    assert_false(f->view.stalled);
    fixture_close(f);
}

/* the follower's side: contact is answered while entries wait */
static void a_slow_disk_alone_does_not_end_a_leadership(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1");
    take(f);
    for (int i = 0; i < 30; i++) {
        pass(f, 100 * MS);
        receive(f, heartbeat_of(f, 2, 1));
        take(f);
    }
    assert_int_equal(sent_count(f, KELP_MSG_ANSWER, 2), 30);
    assert_int_equal(f->view.leader, 2);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(term_vote_and_entries_travel_in_one_save),
        cmocka_unit_test(what_is_saved_is_not_saved_again),
        cmocka_unit_test(
            the_report_of_a_save_that_was_cut_proves_nothing_about_what_took_its_place),
        cmocka_unit_test(what_takes_the_place_of_a_durable_entry_waits_for_its_own_save),
        cmocka_unit_test(a_tail_the_disk_never_heard_of_is_cut_in_silence),
        cmocka_unit_test(several_cuts_become_one_to_the_lowest),
        cmocka_unit_test(saves_that_wait_for_a_slow_disk_merge),
        cmocka_unit_test(a_report_covers_every_save_before_it),
        cmocka_unit_test(every_save_carries_the_commit_index_of_its_moment),
        cmocka_unit_test(a_leader_whose_save_stalls_for_two_limits_steps_down),
        cmocka_unit_test(a_node_whose_disk_stalled_stands_again_one_limit_after_it_came_back),
        cmocka_unit_test(the_only_voter_never_retreats),
        cmocka_unit_test(a_slow_disk_alone_does_not_end_a_leadership),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
