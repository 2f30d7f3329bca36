/* SPDX-License-Identifier: Apache-2.0 */
/* commit_test.c - when is an entry committed, who is told, what follows, what may be forgotten.
 * [§3.6.2, §5.1] */
#include "fixture.h"

static void write_some(struct fixture *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        assert_true(client_writes(f, 1000 + f->view.last, 100, KELP_NEVER));
    save_all(f);
}

/* HC TestCommitment_recalculate_startIndex [§3.6.2 fig 3.7] */
static void commit_waits_for_an_entry_of_its_own_term(void **state)
{
    (void)state;
    struct fixture *f = leader(.term = 3, .log = "1@1 2@2 3@3", .commit = 1, .voters = 5);
    receive(f, answer_of(f, 2, 3));
    receive(f, answer_of(f, 3, 3)); /* three of five hold 2@2 and 3@3 */
    assert_int_equal(f->view.commit, 1);
    MARK_HIT(f, COMMIT_HELD_BACK_OLD_TERM);
    receive(f, answer_of(f, 2, 4));
    receive(f, answer_of(f, 3, 4)); /* and the empty entry of term 4 */
    assert_int_equal(f->view.commit, 4);
    MARK_HIT(f, COMMIT_ADVANCED);
    fixture_close(f);
}

/* HM entry on a minority */
static void an_entry_on_a_minority_is_not_committed(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 5);
    receive(f, answer_of(f, 2, 1));
    take(f);
    assert_int_equal(f->view.commit, 0);
    assert_int_equal(f->apply_last, 0);
    receive(f, answer_of(f, 3, 1));
    take(f);
    assert_int_equal(f->view.commit, 1);
    assert_int_equal(f->apply_last, 1);
    fixture_close(f);
}

/* [§10.2.1] */
static void the_leader_counts_itself_only_when_its_disk_has_it(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    receive(f, answer_of(f, 2, 1));
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    take(f);
    receive(f, answer_of(f, 2, 2));
    assert_int_equal(f->view.commit, 1); /* on 2 only */
    save_all(f);
    assert_int_equal(f->view.commit, 2);
    fixture_close(f);
}

/* [§10.2.1] */
static void a_quorum_of_others_commits_before_the_leaders_own_disk(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    receive(f, answer_of(f, 2, 1));
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    take(f);
    receive(f, answer_of(f, 2, 2));
    receive(f, answer_of(f, 3, 2));
    assert_int_equal(f->view.commit, 2);
    assert_int_equal(f->view.durable, 1);
    fixture_close(f);
}

/* HC TestCommitment_singleVoter */
static void a_single_voter_commits_what_it_saved(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 1);
    assert_int_equal(f->view.commit, 1);
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    take(f);
    assert_int_equal(f->view.commit, 1);
    save_all(f);
    assert_int_equal(f->view.commit, 2);
    fixture_close(f);
}

/* HC TestCommitment_match_max */
static void an_older_match_takes_nothing_back(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    write_some(f, 3);
    receive(f, answer_of(f, 2, 4));
    assert_int_equal(f->view.commit, 4);
    receive(f, answer_of(f, 2, 1)); /* late */
    assert_int_equal(f->view.commit, 4);
    assert_int_equal(peer_view(f, 2)->match, 4);
    MARK_HIT(f, MATCH_STALE);
    fixture_close(f);
}

/* HC TestCommitment_match_nonVoting */
static void learners_and_strangers_commit_nothing(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3, .learners = 2);
    receive(f, answer_of(f, 4, 1));
    receive(f, answer_of(f, 5, 1));
    receive(f, answer_of(f, 77, 1));
    assert_int_equal(f->view.commit, 0);
    fixture_close(f);
}

/* HC TestCommitment_recalculate */
static void each_further_voter_moves_the_commit_index_to_the_majority(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 5, .proposals = 32);
    write_some(f, 29); /* the leader itself: 30 */
    receive(f, answer_of(f, 2, 20));
    assert_int_equal(f->view.commit, 0);
    receive(f, answer_of(f, 3, 10));
    assert_int_equal(f->view.commit, 10);
    receive(f, answer_of(f, 4, 15));
    assert_int_equal(f->view.commit, 15);
    receive(f, answer_of(f, 5, 30));
    assert_int_equal(f->view.commit, 20);
    fixture_close(f);
}

/* [§4.3] HC TestCommitment_setVoters: old and new voters counted by what each holds */
static void a_joint_configuration_commits_with_both_halves(void **state)
{
    (void)state;
    struct kelp_config c = {.count = 5, .joint = 1, .id_highest = 5};
    for (uint8_t slot = 0; slot < 5; slot++) {
        c.members[slot].id = slot + 1u;
        c.members[slot].role = slot == 0 || slot > 2 ? KELP_VOTER : KELP_NONE; /* 1 4 5 */
        c.members[slot].role_old = slot < 3 ? KELP_VOTER : KELP_NONE;          /* 1 2 3 */
    }
    struct fixture *f = leader(.config = &c);
    receive(f, answer_of(f, 4, 1));
    receive(f, answer_of(f, 5, 1));
    assert_int_equal(f->view.commit, 0);
    receive(f, answer_of(f, 2, 1));
    assert_int_equal(f->view.commit, 1);
    fixture_close(f);
}

static void a_deposed_leader_commits_nothing_by_counting(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    struct kelp_message late = answer_of(f, 2, 1);
    receive(f, heartbeat_of(f, 3, 9));
    receive(f, late);
    assert_int_equal(f->view.commit, 0);
    fixture_close(f);
}

/* HC TestRaft_RestoreCommittedLogs */
static void a_restart_does_not_forget_the_commit_index_it_was_given(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1", .commit = 2, .applied = 1);
    take(f);
    assert_int_equal(f->apply_last, 2); /* entry 2 is given to be applied, entry 3 is not */
    fixture_close(f);
}

/* ---- the commit index travels ---- */

static void a_new_commit_index_is_told_soon_even_without_new_entries(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    take(f);
    fixture_forget(f);
    receive(f, answer_of(f, 2, 1));
    take(f);
    kelp_ns wait = f->deadline - f->now;
    assert_true(wait < 20 * MS); /* not a whole heartbeat */
    pass(f, wait);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_HEARTBEAT, 3)->append.commit, 1);
    fixture_forget(f);
    pass(f, 20 * MS);
    take(f);
    assert_null(sent(f, KELP_MSG_HEARTBEAT, 3)); /* once */
    fixture_close(f);
}

/* ---- what everybody holds, and compaction ---- */

/* [§5.1] */
static void what_every_member_holds_is_told_and_compacted(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3, .trailing_none = true);
    write_some(f, 9); /* 2..10 */
    receive(f, answer_of(f, 2, 10));
    receive(f, answer_of(f, 3, 6));
    assert_int_equal(f->view.commit, 10);
    assert_int_equal(f->view.everyone, 6); /* the slowest member */
    take(f);
    applied(f, 10);
    step(f, &(struct kelp_input){.type = KELP_IN_SNAPSHOT, .pos = kelp_pos_of(8, 1)});
    take(f);
    const struct kelp_save *save = &f->saves[f->save_count - 1];
    assert_int_equal(save->flags, KELP_SAVE_COMPACT);
    assert_int_equal(save->keep, 7);
    assert_int_equal(f->view.first, 7);
    MARK_HIT(f, LOG_COMPACTED);
    fixture_close(f);
}

static void snapshot_here(struct fixture *f, kelp_index index)
{
    struct kelp_input input = {.type = KELP_IN_SNAPSHOT};
    input.pos = (struct kelp_pos){.term = kelp_log_term(f->core, index), .index = index};
    step(f, &input);
}

/* All but the learner, 4, have 2..10. */
static struct fixture *a_learner_is_behind(void)
{
    struct fixture *f = leader(.voters = 3, .learners = 1, .trailing_none = true);
    write_some(f, 9);
    receive(f, answer_of(f, 2, 10));
    receive(f, answer_of(f, 3, 10));
    receive(f, answer_of(f, 4, 4));
    take(f);
    applied(f, 10);
    return f;
}

static void voters_answer(struct fixture *f)
{
    for (kelp_id id = 2; id <= 3; id++)
        receive(f, answer_of(f, id, 10));
}

static void a_member_that_is_heard_keeps_what_it_needs(void **state)
{
    (void)state;
    struct fixture *f = a_learner_is_behind();
    for (int i = 0; i < 600; i++) { /* a minute */
        pass(f, 100 * MS);
        voters_answer(f);
        receive(f, answer_of(f, 4, 4));
        fixture_forget(f);
        take(f);
    }
    snapshot_here(f, 10);
    save_all(f);
    assert_int_equal(f->view.everyone, 4);
    assert_int_equal(f->view.first, 5);
    fixture_close(f);
}

/* Ten of the longest election timeouts: it may only be starting again. */
static void a_silent_member_keeps_what_it_needs_for_a_while(void **state)
{
    (void)state;
    struct fixture *f = a_learner_is_behind();
    kelp_ns end = f->now + 10 * f->options.election_max;
    while (f->now < end) {
        pass(f, 100 * MS);
        voters_answer(f);
        fixture_forget(f);
        take(f);
    }
    snapshot_here(f, 10);
    save_all(f);
    assert_int_equal(f->view.everyone, 4);
    assert_int_equal(f->view.first, 5);
    pass(f, 1);
    receive(f, answer_of(f, 2, 10));
    assert_true(client_writes(f, 99, 10, KELP_NEVER)); /* a match, so that it is looked at */
    receive(f, answer_of(f, 2, 11));
    save_all(f);
    assert_int_equal(f->view.everyone, 10); /* of those who are heard */
    assert_int_equal(f->view.first, 11);
    receive(f, answer_of(f, 4, 4)); /* it is back, and gets a snapshot */
    assert_true(f->view.first > 5);
    fixture_close(f);
}

static void who_is_heard_again_is_waited_for_again(void **state)
{
    (void)state;
    struct fixture *f = a_learner_is_behind();
    for (int i = 0; i < 400; i++) {
        pass(f, 100 * MS);
        voters_answer(f);
        if (i % 150 == 0) receive(f, answer_of(f, 4, 4)); /* 15 s apart */
        fixture_forget(f);
        take(f);
    }
    snapshot_here(f, 10);
    save_all(f);
    assert_int_equal(f->view.first, 5);
    fixture_close(f);
}

/* A mark is set every 16th of the limit, so up to a sixteenth more is kept. */
static void no_more_than_so_many_bytes_are_kept_for_a_member(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3, .learners = 1, .trailing_none = true, .hold = 1600);
    for (kelp_index last = 2; last <= 100; last++) {
        assert_true(client_writes(f, last, 100, KELP_NEVER));
        receive(f, answer_of(f, 2, last));
        receive(f, answer_of(f, 3, last));
        receive(f, answer_of(f, 4, 1));
        save_all(f);
        applied(f, f->view.commit);
        snapshot_here(f, f->view.commit);
        save_all(f);
        fixture_forget(f);
        if (last <= 8) assert_int_equal(f->view.first, 2);
        if (last < 40) continue;
        kelp_index kept = f->view.last + 1 - f->view.first;
        assert_true(kept * 100 >= 1600 && kept * 100 < 1800);
    }
    assert_int_equal(f->view.everyone, 1);
    fixture_close(f);
}

/* 4 is being removed by an entry that is not committed: another leader may cut it. */
static void who_may_be_a_member_again_keeps_what_it_needs(void **state)
{
    (void)state;
    struct fixture *f = a_learner_is_behind();
    struct kelp_edit edit = {.verb = KELP_EDIT_REMOVE, .id = 4};
    struct kelp_change what = {.count = 1, .edits = &edit};
    struct kelp_input input = {.type = KELP_IN_CHANGE};
    input.change.token = 77;
    input.change.deadline = KELP_NEVER;
    input.change.what = &what;
    step(f, &input);
    save_all(f);
    assert_int_equal(f->view.last, 11);
    assert_int_equal(f->view.peer_count, 3);
    receive(f, answer_of(f, 2, 9)); /* an old answer: it is looked at again */
    receive(f, answer_of(f, 3, 10));
    snapshot_here(f, 10);
    save_all(f);
    assert_int_equal(f->view.commit, 10);
    assert_int_equal(f->view.first, 5);
    receive(f, answer_of(f, 2, 11));
    save_all(f);
    assert_int_equal(f->view.commit, 11);
    assert_int_equal(f->view.first, 11);
    fixture_close(f);
}

static void without_such_a_limit_nothing_is_kept_for_anybody(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3, .trailing_none = true, .hold_none = true);
    write_some(f, 9);
    receive(f, answer_of(f, 2, 10));
    receive(f, answer_of(f, 3, 4));
    take(f);
    applied(f, 10);
    snapshot_here(f, 10);
    save_all(f);
    assert_int_equal(f->view.everyone, 4);
    assert_int_equal(f->view.first, 11);
    fixture_close(f);
}

static void nothing_is_compacted_above_the_own_snapshot(void **state)
{
    (void)state;
    struct fixture *f = node(.trailing_none = true, .log = "1@1 2@1 3@1 4@1", .commit = 4,
                             .applied = 4, .everyone = 4, .snapshot = 2);
    take(f);
    assert_int_equal(f->view.first, 3);
    fixture_close(f);
}

/* HC TestRaft_SnapshotRestore: trailing */
static void trailing_entries_are_kept_behind_the_applied_index(void **state)
{
    (void)state;
    struct fixture *f = node(.trailing = 3, .log = "1@1 2@1 3@1 4@1 5@1 6@1", .commit = 6,
                             .applied = 6, .everyone = 6, .snapshot = 6);
    take(f);
    assert_int_equal(f->view.first, 4);
    fixture_close(f);
}

static void a_snapshot_above_the_applied_index_is_not_believed(void **state)
{
    (void)state;
    struct fixture *f = node(.trailing_none = true, .log = "1@1 2@1 3@1 4@1", .commit = 4,
                             .applied = 1, .everyone = 4);
    step(f, &(struct kelp_input){.type = KELP_IN_SNAPSHOT, .pos = kelp_pos_of(4, 1)});
    take(f);
    assert_true(f->view.first <= 2);
    fixture_close(f);
}

static void a_follower_compacts_to_what_its_leader_says_everybody_holds(void **state)
{
    (void)state;
    struct fixture *f = node(.trailing_none = true, .log = "1@1 2@1 3@1 4@1");
    append(f, .prev = "4@1", .commit = 4, .everyone = 3);
    take(f);
    applied(f, 4);
    step(f, &(struct kelp_input){.type = KELP_IN_SNAPSHOT, .pos = kelp_pos_of(4, 1)});
    take(f);
    assert_int_equal(f->view.everyone, 3);
    assert_int_equal(f->view.first, 4);
    fixture_close(f);
}

static void a_single_node_compacts_everything_and_goes_on(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 1, .trailing_none = true, .runs = 4, .tail = 8);
    for (kelp_index last = 2; last < 100; last++) {
        write_some(f, 1);
        if (f->view.applied < f->view.commit) applied(f, f->view.commit);
        step(f, &(struct kelp_input){.type = KELP_IN_SNAPSHOT,
                                     .pos = kelp_pos_of(f->view.applied, 1)});
        save_all(f);
        fixture_forget(f);
        assert_int_equal(f->view.first, f->view.last + 1);
        assert_int_equal(f->view.last_pos.index, last);
        assert_int_equal(f->view.last_pos.term.v,
                         f->view.term.v); /* the last entry's term outlives it */
    }
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_waits_for_an_entry_of_its_own_term),
        cmocka_unit_test(an_entry_on_a_minority_is_not_committed),
        cmocka_unit_test(the_leader_counts_itself_only_when_its_disk_has_it),
        cmocka_unit_test(a_quorum_of_others_commits_before_the_leaders_own_disk),
        cmocka_unit_test(a_single_voter_commits_what_it_saved),
        cmocka_unit_test(an_older_match_takes_nothing_back),
        cmocka_unit_test(learners_and_strangers_commit_nothing),
        cmocka_unit_test(each_further_voter_moves_the_commit_index_to_the_majority),
        cmocka_unit_test(a_joint_configuration_commits_with_both_halves),
        cmocka_unit_test(a_deposed_leader_commits_nothing_by_counting),
        cmocka_unit_test(a_restart_does_not_forget_the_commit_index_it_was_given),
        cmocka_unit_test(a_new_commit_index_is_told_soon_even_without_new_entries),
        cmocka_unit_test(what_every_member_holds_is_told_and_compacted),
        cmocka_unit_test(a_member_that_is_heard_keeps_what_it_needs),
        cmocka_unit_test(a_silent_member_keeps_what_it_needs_for_a_while),
        cmocka_unit_test(who_is_heard_again_is_waited_for_again),
        cmocka_unit_test(no_more_than_so_many_bytes_are_kept_for_a_member),
        cmocka_unit_test(who_may_be_a_member_again_keeps_what_it_needs),
        cmocka_unit_test(without_such_a_limit_nothing_is_kept_for_anybody),
        cmocka_unit_test(nothing_is_compacted_above_the_own_snapshot),
        cmocka_unit_test(trailing_entries_are_kept_behind_the_applied_index),
        cmocka_unit_test(a_snapshot_above_the_applied_index_is_not_believed),
        cmocka_unit_test(a_follower_compacts_to_what_its_leader_says_everybody_holds),
        cmocka_unit_test(a_single_node_compacts_everything_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
