/* SPDX-License-Identifier: Apache-2.0 */
/* append_test.c - a follower and what a leader sends it: accept, refuse, cut, follow the commit
 * index. [§3.5, §3.6, §10.2.1] */
#include "fixture.h"

/* The answer the core gave to its leader last, saves done. */
static const struct kelp_message *answered(struct fixture *f, kelp_id to)
{
    save_all(f);
    const struct kelp_message *m = sent(f, KELP_MSG_ANSWER, to);
    assert_non_null(m);
    return m;
}

static void assert_accepted(struct fixture *f, kelp_index match)
{
    const struct kelp_message *m = answered(f, 2);
    assert_int_equal(m->flags, 0);
    assert_int_equal(m->answer.match, match);
}

static void assert_refused(struct fixture *f, const char *prev, const char *hint)
{
    const struct kelp_message *m = answered(f, 2);
    assert_int_equal(m->flags, KELP_MF_REJECT);
    assert_pos(m->answer.refused, prev);
    assert_pos(m->answer.hint, hint);
}

/* ---- what is accepted ---- */

/* DG TestAppendEntriesSuccess, HC TestRaft_AppendEntry, HM AppendEntries request */
static void entries_after_the_end_are_appended(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1 2@1", .commit = 1);
    assert_log(f, "1@1 2@1");
    assert_int_equal(f->view.commit, 1);
    assert_accepted(f, 2);
    MARK_HIT(f, APPEND_ACCEPTED);
    fixture_close(f);
}

/* HC unwritten: exact duplicates */
static void exact_duplicates_change_nothing(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1");
    append(f, .entries = "1@1 2@1");
    assert_int_equal(f->taken.first, 0);
    assert_log(f, "1@1 2@1");
    assert_int_equal(f->view.revision, 1);
    assert_accepted(f, 2);
    MARK_HIT(f, APPEND_KNOWN);
    fixture_close(f);
}

/* HC unwritten: mix of duplicate and new */
static void known_and_new_entries_together_append_only_the_new(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1");
    append(f, .prev = "1@1", .entries = "2@1 3@1 4@1");
    assert_int_equal(f->taken.first, 3);
    assert_int_equal(f->taken.last, 4);
    assert_log(f, "1@1 2@1 3@1 4@1");
    assert_accepted(f, 4);
    fixture_close(f);
}

/* the classic: truncate only on a conflict [§3.5] */
static void an_old_append_does_not_cut_what_came_after_it(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1 2@1 3@1");
    save_all(f);
    append(f, .entries = "1@1"); /* delayed */
    assert_log(f, "1@1 2@1 3@1");
    assert_int_equal(f->view.revision, 1);
    append(f, .prev = "0@0"); /* an empty one, even older */
    assert_log(f, "1@1 2@1 3@1");
    fixture_close(f);
}

/* DG TestAppendEntriesConflictSuccess, HM AppendEntries request */
static void a_conflicting_tail_is_cut_and_replaced(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1", .term = 2);
    append(f, .term = 2, .entries = "1@1 2@2");
    assert_log(f, "1@1 2@2");
    assert_true(f->view.revision > 1);
    MARK_HIT(f, LOG_TRUNCATED);
    assert_accepted(f, 2);
    fixture_close(f);
}

/* HC unwritten: mix of conflict and new */
static void conflict_and_new_entries_come_together(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1", .term = 3);
    append(f, .prev = "1@1", .entries = "2@2 3@2 4@3");
    assert_log(f, "1@1 2@2 3@2 4@3");
    take(f);
    assert_int_equal(f->saves[0].flags, KELP_SAVE_TRUNCATE | KELP_SAVE_APPEND);
    assert_pos(f->saves[0].end, "1@1");
    assert_int_equal(f->saves[0].first, 2);
    assert_int_equal(f->saves[0].last, 4);
    fixture_close(f);
}

/* HC unwritten: previous entry present */
static void a_known_prefix_from_a_new_leader_is_not_stored_again(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1");
    append(f, .term = 2, .prev = "2@1", .entries = "3@2");
    assert_int_equal(f->taken.first, 3);
    assert_log(f, "1@1 2@1 3@2");
    fixture_close(f);
}

/* ---- what is refused, and the hint ---- */

/* DG TestAppendEntriesPrevLogIndexFailure, HC unwritten: previous entry missing */
static void a_gap_is_refused_with_the_end_of_the_log(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1");
    append(f, .prev = "4@1", .entries = "5@1");
    assert_log(f, "1@1 2@1");
    MARK_HIT(f, APPEND_REFUSED_GAP);
    assert_refused(f, "4@1", "2@1");
    fixture_close(f);
}

/* DG TestAppendEntriesPrevLogIndexFailure, HM AppendEntries request */
static void another_term_before_it_is_refused(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@2 4@2 5@4");
    append(f, .prev = "5@5", .term = 5, .entries = "6@5");
    MARK_HIT(f, APPEND_REFUSED_CONFLICT);
    assert_refused(f, "5@5", "4@2"); /* one entry back; 4 is not above 5 */
    assert_log(f, "1@1 2@1 3@2 4@2 5@4");
    fixture_close(f);
}

/* [§3.5] */
static void the_hint_skips_every_entry_of_a_term_above_the_refused_one(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@2 3@4 4@4 5@4 6@4");
    append(f, .prev = "6@3", .term = 5);
    assert_refused(f, "6@3", "2@2");
    fixture_close(f);
}

static void the_hint_is_never_below_what_is_committed(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@4 3@4 4@4", .commit = 2);
    append(f, .prev = "4@3", .term = 5);
    assert_refused(f, "4@3", "2@4");
    fixture_close(f);
}

static void a_refusal_repeats_the_attempt_it_answers(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    append(f, .prev = "5@1", .attempt = 17, .round = 3);
    const struct kelp_message *m = answered(f, 2);
    assert_int_equal(m->attempt, 17);
    assert_int_equal(m->round, 3);
    assert_int_equal(m->answer.match, 0);
    fixture_close(f);
}

/* ---- terms ---- */

/* DG TestAppendEntriesOutOfDateTermFailure, HM AppendEntries request, HC unwritten */
static void a_lower_term_is_not_listened_to_and_learns_ours(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .term = 5);
    append(f, .term = 4, .entries = "1@4", .commit = 1);
    assert_log(f, "1@1");
    assert_int_equal(f->view.leader, 0);
    assert_int_equal(f->view.commit, 0);
    const struct kelp_message *m = answered(f, 2);
    assert_int_equal(m->term.v, 5);
    assert_int_equal(m->answer.match, 0);
    MARK_HIT(f, MESSAGE_LOWER_TERM);
    fixture_close(f);
}

/* DG TestAppendEntriesLeaderStepDownSuccess, PB TestFollowerAllegiance, HC unwritten */
static void a_higher_term_is_adopted_and_its_sender_followed(void **state)
{
    (void)state;
    struct fixture *f = leader(.term = 1);
    append(f, .from = 3, .term = 9, .entries = "1@9");
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.term.v, 9);
    assert_int_equal(f->view.vote, 0);
    assert_int_equal(f->view.leader, 3);
    assert_log(f, "1@9");
    fixture_close(f);
}

/* HC unwritten: from a candidate state */
static void a_candidate_follows_the_leader_of_its_term(void **state)
{
    (void)state;
    struct fixture *f = node(.off = KELP_PRE_VOTE);
    campaign(f);
    append(f, .term = 2, .entries = "1@2");
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_log(f, "1@2");
    fixture_close(f);
}

/* [§3.8] */
static void no_answer_leaves_before_the_term_is_durable(void **state)
{
    (void)state;
    struct fixture *f = node();
    receive(f, heartbeat_of(f, 2, 7));
    take(f);
    assert_int_equal(f->message_count, 0);
    assert_int_equal(f->saves[0].term.v, 7);
    saved_up_to(f, 1);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_ANSWER, 2), 1);
    fixture_close(f);
}

/* [fig 3.2: election safety] */
static void two_leaders_in_one_term_fault_the_node(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, heartbeat_of(f, 2, 3));
    receive(f, heartbeat_of(f, 3, 3));
    assert_true(f->faulted);
    MARK_HIT(f, TWO_LEADERS);
    take(f);
    assert_int_equal(f->message_count, 0);
    fixture_close(f);
}

/* DG TestAppendEntriesShutdownFailure */
static void a_shut_down_node_takes_no_append(void **state)
{
    (void)state;
    struct fixture *f = node();
    step(f, &(struct kelp_input){.type = KELP_IN_SHUTDOWN});
    append(f, .term = 2, .entries = "1@2");
    save_all(f);
    assert_int_equal(f->view.last, 0);
    assert_int_equal(f->message_count, 0);
    fixture_close(f);
}

/* ---- durability ---- */

/* [§10.2.1] */
static void new_entries_are_acknowledged_when_they_are_durable(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1 2@1");
    take(f);
    assert_null(sent(f, KELP_MSG_ANSWER, 2));
    saved_up_to(f, 1);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 2);
    fixture_close(f);
}

static void a_heartbeat_is_answered_while_the_disk_is_busy(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1");
    receive(f, heartbeat_of(f, 2, 1));
    take(f);
    const struct kelp_message *m = sent(f, KELP_MSG_ANSWER, 2);
    assert_non_null(m);
    assert_int_equal(m->answer.match, 0); /* contact, but no promise */
    fixture_close(f);
}

/* a tail of an old term is durable here, and the leader may not have it */
static void what_is_durable_but_not_verified_is_not_acknowledged(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1", .term = 2);
    receive(f, heartbeat_of(f, 2, 2));
    assert_accepted(f, 0);
    append(f, .term = 2, .prev = "2@1");
    assert_accepted(f, 2);
    fixture_close(f);
}

static void a_higher_term_forgets_what_was_verified_against_the_last_leader(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1 2@1");
    save_all(f);
    receive(f, heartbeat_of(f, 3, 2));
    const struct kelp_message *m = answered(f, 3);
    assert_int_equal(m->answer.match, 0);
    fixture_close(f);
}

/* ---- the commit index of a follower ---- */

/* HM AppendEntries request; DG TestAppendEntriesSuccess */
static void commit_follows_to_the_least_of_the_leaders_and_the_verified(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1");
    append(f, .term = 2, .prev = "2@1", .commit = 9); /* 3@1 may be no entry of this leader */
    assert_int_equal(f->view.commit, 2);
    fixture_close(f);
}

static void a_heartbeat_commits_nothing_that_was_not_verified(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1");
    struct kelp_message m = heartbeat_of(f, 2, 2);
    m.append.commit = 2;
    receive(f, m);
    assert_int_equal(f->view.commit, 0);
    append(f, .term = 2, .prev = "2@1");
    m = heartbeat_of(f, 2, 2);
    m.append.commit = 2;
    receive(f, m);
    assert_int_equal(f->view.commit, 2);
    MARK_HIT(f, COMMIT_FOLLOWED);
    fixture_close(f);
}

/* PB TestLenientCommit, HM AppendEntries request, HC unwritten: commit lower/equal */
static void a_lower_or_equal_commit_index_lowers_nothing(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1 2@1 3@1", .commit = 2);
    append(f, .prev = "3@1", .commit = 1);
    assert_int_equal(f->view.commit, 2);
    append(f, .prev = "3@1", .commit = 2);
    assert_int_equal(f->view.commit, 2);
    assert_accepted(f, 3);
    fixture_close(f);
}

/* PB TestLogCommitNoDuplicate, PB TestLogCommitTwice */
static void each_committed_entry_is_given_to_be_applied_once(void **state)
{
    (void)state;
    struct fixture *f = node();
    append(f, .entries = "1@1 2@1 3@1", .commit = 2);
    take(f); /* checks that ranges follow each other */
    assert_int_equal(f->apply_last, 2);
    append(f, .prev = "3@1", .commit = 2);
    take(f);
    assert_int_equal(f->apply_last, 2);
    append(f, .prev = "3@1", .commit = 3);
    take(f);
    assert_int_equal(f->apply_last, 3);
    fixture_close(f);
}

static void a_machine_with_its_own_data_is_fed_what_is_durable_here(void **state)
{
    (void)state;
    struct fixture *f = node(.apply_durable_only = true);
    append(f, .entries = "1@1 2@1", .commit = 2);
    take(f);
    assert_int_equal(f->apply_last, 0);
    save_all(f);
    assert_int_equal(f->apply_last, 2);
    fixture_close(f);
}

/* ---- at and below the base: what was compacted ---- */

/* HC unwritten: previous inside, exactly at, before the snapshot */
static void an_append_around_the_base_is_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *prev, *entries;
    } rows[] = {
        {"9@2", "10@2 11@3"},          /* before */
        {"10@2", "11@3"},              /* at */
        {"11@3", "12@3"},              /* after */
        {"2@1", "3@1 4@1"},            /* far below, ends below */
        {"8@2", "9@2 10@2 11@3 12@3"}, /* across */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture *f = node(.base = "10@2", .log = "11@3");
        append(f, .prev = rows[i].prev, .entries = rows[i].entries);
        assert_false(f->faulted);
        assert_true(f->view.last >= 11);
        assert_int_equal(kelp_log_term(f->core, 11).v, 3);
        assert_int_equal(answered(f, 2)->flags, 0);
        fixture_close(f);
    }
}

static void an_append_that_ends_below_commit_is_known(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1", .commit = 3);
    append(f, .entries = "1@1");
    assert_false(f->faulted);
    MARK_HIT(f, APPEND_BELOW_COMMIT);
    fixture_close(f);
}

/* ---- what cannot be ---- */

/* PB TestLogTruncation: below commit [fig 3.2: state machine safety] */
static void a_leader_that_contradicts_what_is_committed_faults_the_node(void **state)
{
    (void)state;
    static const struct {
        const char *prev, *entries;
    } rows[] = {{"1@1", "2@2"}, {"2@2", ""}, {"0@0", "1@2"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture *f = node(.log = "1@1 2@1 3@1", .commit = 2);
        append(f, .term = 2, .prev = rows[i].prev, .entries = rows[i].entries);
        assert_true(f->faulted);
        MARK_HIT(f, COMMIT_CONFLICT);
        assert_log(f, "1@1 2@1 3@1"); /* and nothing is cut */
        take(f);
        assert_int_equal(f->message_count, 0);
        fixture_close(f);
    }
}

static void a_contradiction_at_the_base_faults_instead_of_asserting(void **state)
{
    (void)state;
    struct fixture *f = node(.base = "10@5");
    append(f, .prev = "9@1", .entries = "10@1 11@1");
    assert_true(f->faulted);
    fixture_close(f);
}

static void a_leader_that_contradicts_itself_faults_instead_of_asserting(void **state)
{
    (void)state;
    static const struct {
        const char *prev, *entries;
    } rows[] = {{"2@1", "3@1"}, {"3@1", "4@1"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture *f = node(.log = "1@1 2@3 3@3");
        append(f, .prev = "3@3");
        append(f, .prev = rows[i].prev, .entries = rows[i].entries);
        assert_true(f->faulted);
        assert_log(f, "1@1 2@3 3@3");
        fixture_close(f);
    }
}

/* PB TestLogAppend: a lower term, a term of 0, a term above the sender's */
static void an_append_whose_terms_make_no_sense_is_ignored(void **state)
{
    (void)state;
    static const struct {
        const char *prev, *entries;
    } rows[] = {{"1@2", "2@1"}, {"1@2", "2@3 3@2"}, {"1@2", "2@0"},
                {"1@2", "2@9"}, {"1@9", ""},        {"0@2", "1@2"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture *f = node(.log = "1@2", .term = 3);
        append(f, .prev = rows[i].prev, .entries = rows[i].entries);
        assert_log(f, "1@2");
        MARK_HIT(f, MESSAGE_MALFORMED);
        assert_false(f->faulted);
        fixture_close(f);
    }
}

/* ---- a term that is no longer remembered ---- */

static void an_unknown_term_is_looked_up_and_the_next_probe_finds_it(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@2 3@3 4@4 5@5 6@6 7@7", .runs = 4);
    append(f, .term = 8, .prev = "2@2", .entries = "3@3");
    save_all(f);
    assert_null(sent(f, KELP_MSG_ANSWER, 2)); /* dropped: the leader repeats it */
    assert_int_equal(f->lookup_count, 1);
    assert_int_equal(f->lookups[0].index, 2);
    look_up(f);
    append(f, .term = 8, .prev = "2@2");
    assert_accepted(f, 2);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_after_the_end_are_appended),
        cmocka_unit_test(exact_duplicates_change_nothing),
        cmocka_unit_test(known_and_new_entries_together_append_only_the_new),
        cmocka_unit_test(an_old_append_does_not_cut_what_came_after_it),
        cmocka_unit_test(a_conflicting_tail_is_cut_and_replaced),
        cmocka_unit_test(conflict_and_new_entries_come_together),
        cmocka_unit_test(a_known_prefix_from_a_new_leader_is_not_stored_again),
        cmocka_unit_test(a_gap_is_refused_with_the_end_of_the_log),
        cmocka_unit_test(another_term_before_it_is_refused),
        cmocka_unit_test(the_hint_skips_every_entry_of_a_term_above_the_refused_one),
        cmocka_unit_test(the_hint_is_never_below_what_is_committed),
        cmocka_unit_test(a_refusal_repeats_the_attempt_it_answers),
        cmocka_unit_test(a_lower_term_is_not_listened_to_and_learns_ours),
        cmocka_unit_test(a_higher_term_is_adopted_and_its_sender_followed),
        cmocka_unit_test(a_candidate_follows_the_leader_of_its_term),
        cmocka_unit_test(no_answer_leaves_before_the_term_is_durable),
        cmocka_unit_test(two_leaders_in_one_term_fault_the_node),
        cmocka_unit_test(a_shut_down_node_takes_no_append),
        cmocka_unit_test(new_entries_are_acknowledged_when_they_are_durable),
        cmocka_unit_test(a_heartbeat_is_answered_while_the_disk_is_busy),
        cmocka_unit_test(what_is_durable_but_not_verified_is_not_acknowledged),
        cmocka_unit_test(a_higher_term_forgets_what_was_verified_against_the_last_leader),
        cmocka_unit_test(commit_follows_to_the_least_of_the_leaders_and_the_verified),
        cmocka_unit_test(a_heartbeat_commits_nothing_that_was_not_verified),
        cmocka_unit_test(a_lower_or_equal_commit_index_lowers_nothing),
        cmocka_unit_test(each_committed_entry_is_given_to_be_applied_once),
        cmocka_unit_test(a_machine_with_its_own_data_is_fed_what_is_durable_here),
        cmocka_unit_test(an_append_around_the_base_is_accepted),
        cmocka_unit_test(an_append_that_ends_below_commit_is_known),
        cmocka_unit_test(a_leader_that_contradicts_what_is_committed_faults_the_node),
        cmocka_unit_test(a_contradiction_at_the_base_faults_instead_of_asserting),
        cmocka_unit_test(a_leader_that_contradicts_itself_faults_instead_of_asserting),
        cmocka_unit_test(an_append_whose_terms_make_no_sense_is_ignored),
        cmocka_unit_test(an_unknown_term_is_looked_up_and_the_next_probe_finds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
