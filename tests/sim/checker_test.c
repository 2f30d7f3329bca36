/* SPDX-License-Identifier: Apache-2.0 */
/* checker_test.c - each invariant, fed with a history that breaks it, must fire; and not otherwise.
 *
 * Three nodes. A node that "holds" entries saved them, had the save reported and shows them in its
 * state; checksums are made from position and value, so equal entries are equal everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/hash.h"
#include "sim/checker.h"

static struct checker *c;
static uint64_t save_number, answers_before; /* that had left when a read is asked */

static int set_up(void **state)
{
    (void)state;
    save_number = 0;
    answers_before = 0;
    c = checker_new(3);
    return c != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    checker_free(c);
    return 0;
}

#define FIRES(id) assert_string_equal(checker_invariant(c), id)
#define SILENT()  assert_string_equal(checker_message(c), "")

static struct checker_entry entry(kelp_index index, uint64_t term, uint64_t value)
{
    return (struct checker_entry){
        .term = term, .checksum = hash_mix(index, term) ^ value, .value = value, .name = 1};
}

static uint64_t saves(unsigned node, struct kelp_save save, const struct checker_entry *entries)
{
    save.number = ++save_number;
    checker_saves(c, node, &save, entries);
    return save.number;
}

static uint64_t appends(unsigned node, kelp_index index, uint64_t term, uint64_t value)
{
    struct checker_entry e = entry(index, term, value);
    struct kelp_save save = {.flags = KELP_SAVE_APPEND, .first = index, .last = index};
    return saves(node, save, &e);
}

static void votes(unsigned node, uint64_t term, kelp_id vote)
{
    struct kelp_save save = {.flags = KELP_SAVE_VOTE, .term = {term}, .vote = vote};
    checker_saved(c, node, saves(node, save, NULL));
}

static void holds(unsigned node, kelp_index index, uint64_t term, uint64_t value)
{
    checker_saved(c, node, appends(node, index, term, value));
}

static void shows(unsigned node, enum kelp_role role, uint64_t term, struct kelp_pos last,
                  kelp_index commit)
{
    struct kelp_view v = {.self = node + 1,
                          .role = role,
                          .term = {term},
                          .term_saved = {term},
                          .first = 1,
                          .last = last.index,
                          .last_pos = last,
                          .durable = 0,
                          .commit = commit};
    checker_views(c, node, &v);
}

static void grants(unsigned node, unsigned to, uint64_t term)
{
    struct checker_sent sent = {.type = KELP_MSG_VOTE_ANSWER,
                                .flags = KELP_MF_GRANTED,
                                .to = to,
                                .term = term,
                                .vote_term = term};
    checker_sends(c, node, &sent);
}

/* Two nodes save and send their votes for the first one. */
static void promised(unsigned node, unsigned other, uint64_t term)
{
    votes(node, term, node + 1);
    grants(node, node, term);
    votes(other, term, node + 1);
    grants(other, node, term);
}

static void elected(unsigned node, unsigned other, uint64_t term)
{
    promised(node, other, term);
    checker_leads(c, node, term);
}

static void acknowledges(unsigned node, unsigned to, uint64_t term, kelp_index match)
{
    struct checker_sent sent = {.type = KELP_MSG_ANSWER, .to = to, .term = term, .match = match};
    checker_sends(c, node, &sent);
}

/* Node 0 leads term 1; entries 1..last are on nodes 0 and 1, durably, and committed. */
static void committed(kelp_index last)
{
    votes(2, 1, 1);
    elected(0, 1, 1);
    for (kelp_index i = 1; i <= last; i++) {
        holds(0, i, 1, 100 + i);
        holds(1, i, 1, 100 + i);
    }
    shows(0, KELP_LEADER, 1, kelp_pos_of(last, 1), last);
}

static void a_sound_history_is_silent(void **state)
{
    (void)state;
    committed(3);
    shows(1, KELP_FOLLOWER, 1, kelp_pos_of(3, 1), 3);
    checker_applied(c, 0, 3, 7, 8);
    checker_applied(c, 1, 3, 7, 8);
    SILENT();
    assert_false(checker_failed(c));
    assert_int_equal(checker_commit(c), 3);
}

static void two_leaders_of_one_term_fire_I01(void **state)
{
    (void)state;
    elected(0, 2, 5);
    checker_leads(c, 1, 5);
    FIRES("I01 ElectionSafety");
}

static void a_leader_with_half_of_the_votes_fires_N06(void **state) /* [§3.4] */
{
    (void)state;
    votes(0, 3, 1);
    grants(0, 0, 3);
    votes(1, 2, 1);
    grants(1, 0, 2); /* of another election */
    votes(2, 3, 2);
    grants(2, 1, 3); /* to somebody else */
    checker_leads(c, 0, 3);
    FIRES("N06 ElectedByQuorum");
}

static void two_votes_in_one_term_fire_I02(void **state)
{
    (void)state;
    votes(0, 3, 2);
    grants(0, 1, 3);
    SILENT();
    votes(0, 3, 3);
    grants(0, 2, 3);
    FIRES("I02 OneVote");
}

static void a_vote_that_leaves_before_it_is_durable_fires_I03(void **state)
{
    (void)state;
    votes(0, 3, 0);
    struct kelp_save save = {.flags = KELP_SAVE_VOTE, .term = {3}, .vote = 2};
    (void)saves(0, save, NULL);
    grants(0, 1, 3);
    FIRES("I03 VoteDurable");
}

static void a_pre_vote_may_leave_without_a_save(void **state)
{
    (void)state;
    struct checker_sent sent = {.type = KELP_MSG_VOTE_ANSWER,
                                .flags = KELP_MF_GRANTED | KELP_MF_PRE_VOTE,
                                .to = 1,
                                .vote_term = 9};
    checker_sends(c, 0, &sent);
    SILENT();
}

static void a_message_of_a_term_that_is_not_durable_fires_I04(void **state)
{
    (void)state;
    votes(0, 3, 0);
    struct checker_sent sent = {.type = KELP_MSG_HEARTBEAT, .to = 1, .term = 4};
    checker_sends(c, 0, &sent);
    FIRES("I04 TermMonotonic");
}

static void a_saved_term_that_falls_fires_I04(void **state)
{
    (void)state;
    votes(0, 3, 0);
    votes(0, 2, 0);
    FIRES("I04 TermMonotonic");
}

static void an_entry_durable_before_its_term_fires_I05(void **state)
{
    (void)state;
    votes(0, 2, 0);
    holds(0, 1, 3, 0);
    FIRES("I05 TermBeforeLog");
}

static void a_leader_that_cuts_its_log_fires_I06(void **state)
{
    (void)state;
    elected(0, 1, 1);
    holds(0, 1, 1, 0);
    holds(0, 2, 1, 0);
    shows(0, KELP_LEADER, 1, kelp_pos_of(2, 1), 0);
    struct kelp_save cut = {.flags = KELP_SAVE_TRUNCATE, .end = kelp_pos_of(1, 1)};
    checker_saved(c, 0, saves(0, cut, NULL));
    shows(0, KELP_LEADER, 1, kelp_pos_of(1, 1), 0);
    FIRES("I06 LeaderAppendOnly");
}

static void one_position_with_two_contents_fires_I07(void **state)
{
    (void)state;
    votes(0, 1, 1);
    votes(1, 1, 1);
    holds(0, 1, 1, 11);
    holds(1, 1, 1, 12);
    FIRES("I07 LogMatching");
}

static void one_position_after_two_histories_fires_I07(void **state)
{
    (void)state;
    for (unsigned node = 0; node < 2; node++)
        votes(node, 2, 0);
    holds(0, 1, 1, 11);
    holds(1, 1, 2, 12);
    holds(0, 2, 2, 13);
    holds(1, 2, 2, 13);
    FIRES("I07 LogMatching");
}

static void a_leader_without_a_committed_entry_fires_I08(void **state)
{
    (void)state;
    committed(3);
    elected(2, 1, 2);
    FIRES("I08 LeaderCompleteness");
}

static void a_leader_of_an_older_term_may_lack_what_a_later_one_committed(void **state)
{
    (void)state;
    promised(2, 1, 4);
    elected(0, 1, 5);
    holds(0, 1, 5, 1);
    holds(1, 1, 5, 1);
    shows(0, KELP_LEADER, 5, kelp_pos_of(1, 5), 1);
    checker_leads(c, 2, 4);
    SILENT();
}

static void another_entry_committed_at_an_index_fires_I09(void **state)
{
    (void)state;
    committed(2);
    votes(2, 2, 0);
    holds(2, 1, 1, 101);
    holds(2, 2, 2, 7);
    shows(2, KELP_FOLLOWER, 2, kelp_pos_of(2, 2), 2);
    FIRES("I09 StateMachineSafety");
}

static void a_commit_index_that_falls_fires_I10(void **state)
{
    (void)state;
    committed(3);
    shows(0, KELP_LEADER, 1, kelp_pos_of(3, 1), 2);
    FIRES("I10 CommitMonotonic");
}

static void positions_out_of_order_fire_I11(void **state)
{
    (void)state;
    struct kelp_view v = {.first = 1, .applied = 2, .commit = 1, .last = 0};
    checker_views(c, 0, &v);
    FIRES("I11 Order");
}

static void a_gap_in_the_log_fires_I11(void **state)
{
    (void)state;
    votes(0, 1, 0);
    holds(0, 1, 1, 0);
    (void)appends(0, 3, 1, 0);
    FIRES("I11 Order");
}

static void applying_what_is_not_committed_fires_I11(void **state)
{
    (void)state;
    committed(2);
    checker_applied(c, 0, 3, 0, 0);
    FIRES("I11 Order");
}

static void a_commit_without_a_durable_quorum_fires_I12(void **state)
{
    (void)state;
    elected(0, 1, 1);
    holds(0, 1, 1, 1);
    holds(0, 2, 1, 2);
    holds(1, 1, 1, 1);
    (void)appends(1, 2, 1, 2); /* given to the disk, not reported */
    shows(0, KELP_LEADER, 1, kelp_pos_of(2, 1), 2);
    FIRES("I12 CommitRule");
}

static void a_commit_of_an_older_terms_entry_by_counting_fires_I13(void **state) /* [fig 3.7] */
{
    (void)state;
    elected(1, 0, 2);
    elected(0, 1, 4);
    for (unsigned node = 0; node < 2; node++) {
        holds(node, 1, 1, 1);
        holds(node, 2, 2, 2);
    }
    shows(0, KELP_LEADER, 4, kelp_pos_of(2, 2), 2);
    FIRES("I13 FollowerCommit");
}

static void a_follower_that_commits_first_fires_I13(void **state)
{
    (void)state;
    committed(2);
    holds(0, 3, 1, 103);
    holds(1, 3, 1, 103);
    shows(1, KELP_FOLLOWER, 1, kelp_pos_of(3, 1), 3);
    FIRES("I13 FollowerCommit");
}

static void an_acknowledgement_before_the_disk_fires_I14(void **state)
{
    (void)state;
    committed(2);
    (void)appends(1, 3, 1, 103);
    acknowledges(1, 0, 1, 2);
    SILENT();
    acknowledges(1, 0, 1, 3);
    FIRES("I14 AckDurable");
}

static void an_acknowledgement_of_another_log_fires_I14(void **state)
{
    (void)state;
    committed(2);
    votes(2, 1, 1);
    holds(2, 1, 1, 101);
    holds(2, 2, 1, 102);
    elected(0, 1, 3);
    holds(0, 3, 3, 5);
    shows(0, KELP_LEADER, 3, kelp_pos_of(3, 3), 2);
    votes(2, 3, 1);
    holds(2, 3, 2, 9);
    acknowledges(2, 0, 3, 3);
    FIRES("I14 AckDurable");
}

static bool rotten; /* the disk of the node that recovers was harmed */
static uint64_t starts;

static void recovers(unsigned node, uint64_t term, kelp_id vote, kelp_index last, kelp_index commit)
{
    struct checker_entry entries[8];
    for (kelp_index i = 1; i <= last; i++)
        entries[i - 1] = entry(i, 1, 100 + i);
    struct checker_recovered found = {.term = term,
                                      .vote = vote,
                                      .last = last,
                                      .commit = commit,
                                      .start_count = ++starts,
                                      .entries = entries,
                                      .rotten = rotten};
    checker_crashed(c, node);
    checker_recovers(c, node, &found);
}

static void a_restart_that_lost_a_durable_entry_fires_I15(void **state)
{
    (void)state;
    committed(3);
    recovers(1, 1, 1, 2, 0);
    FIRES("I15 AckKept");
}

static void a_restart_may_find_a_first_part_of_the_open_saves(void **state)
{
    (void)state;
    for (kelp_index found = 3; found <= 5; found++) {
        checker_free(c);
        c = checker_new(3);
        committed(3);
        (void)appends(1, 4, 1, 104);
        (void)appends(1, 5, 1, 105);
        recovers(1, 1, 1, found, 0);
        SILENT();
    }
}

static void a_rotten_disk_that_starts_with_less_fires_I32(void **state)
{
    (void)state;
    votes(0, 1, 1);
    holds(0, 1, 1, 101);
    holds(0, 2, 1, 102);
    rotten = true;
    recovers(0, 1, 1, 1, 0);
    rotten = false;
    FIRES("I32 RotNotTorn");
}

static void a_rotten_disk_that_forgot_its_term_fires_I31(void **state)
{
    (void)state;
    votes(0, 3, 1);
    rotten = true;
    recovers(0, 2, 0, 0, 0);
    rotten = false;
    FIRES("I31 RecoveryHonest");
}

static void a_founder_may_write_entry_1_anew_if_nobody_holds_the_first(void **state)
{
    (void)state;
    (void)appends(0, 1, 1, 11); /* given to be saved, and never was */
    recovers(0, 0, 0, 0, 0);
    votes(0, 1, 0);
    holds(0, 1, 1, 12);
    SILENT();
}

static void a_founder_that_writes_entry_1_anew_although_another_holds_it_fires_I07(void **state)
{
    (void)state;
    votes(1, 1, 0);
    (void)appends(0, 1, 1, 11);
    holds(1, 1, 1, 11);
    recovers(0, 0, 0, 0, 0);
    votes(0, 1, 0);
    holds(0, 1, 1, 12);
    FIRES("I07 LogMatching");
}

static void a_restart_that_invents_an_entry_fires_I15(void **state)
{
    (void)state;
    committed(3);
    recovers(1, 1, 1, 4, 0);
    FIRES("I15 AckKept");
}

static void a_restart_that_forgot_its_vote_fires_I31(void **state)
{
    (void)state;
    committed(3);
    recovers(1, 1, 0, 3, 0);
    FIRES("I31 RecoveryHonest");
}

static void a_restart_with_an_older_term_fires_I04(void **state)
{
    (void)state;
    committed(3);
    votes(1, 2, 0);
    recovers(1, 1, 1, 3, 0);
    FIRES("I04 TermMonotonic");
}

static void a_restart_that_believes_too_much_committed_fires_I10(void **state)
{
    (void)state;
    committed(2);
    holds(1, 3, 1, 103);
    recovers(1, 1, 1, 3, 3);
    FIRES("I10 CommitMonotonic");
}

static void cutting_a_committed_entry_fires_I16(void **state)
{
    (void)state;
    committed(3);
    struct kelp_save cut = {.flags = KELP_SAVE_TRUNCATE, .term = {1}, .end = {{1}, 2}};
    (void)saves(1, cut, NULL);
    FIRES("I16 NoTruncCommitted");
}

static void cutting_an_entry_that_is_not_the_committed_one_is_silent(void **state)
{
    (void)state;
    committed(3);
    votes(2, 1, 0);
    holds(2, 1, 1, 101);
    votes(2, 2, 0);
    holds(2, 2, 2, 9);
    struct kelp_save cut = {.flags = KELP_SAVE_TRUNCATE, .end = kelp_pos_of(1, 1)};
    (void)saves(2, cut, NULL);
    (void)saves(1, cut, NULL); /* of term 0: a later one committed it */
    SILENT();
}

static void compacting_beyond_the_own_snapshot_fires_I16(void **state)
{
    (void)state;
    committed(3);
    checker_snapshot(c, 0, kelp_pos_of(2, 1), false);
    struct kelp_save compact = {.flags = KELP_SAVE_COMPACT, .keep = 3};
    (void)saves(0, compact, NULL);
    SILENT(); /* whoever lacks it is given the snapshot */
    compact.keep = 4;
    (void)saves(0, compact, NULL);
    FIRES("I16 NoTruncCommitted");
}

static void a_match_that_the_peer_does_not_have_fires_I17(void **state)
{
    (void)state;
    committed(3);
    struct kelp_view v = {.self = 1,
                          .role = KELP_LEADER,
                          .term = {1},
                          .term_saved = {1},
                          .first = 1,
                          .last = 3,
                          .last_pos = kelp_pos_of(3, 1),
                          .commit = 3,
                          .peer_count = 3};
    v.peers[2] = (struct kelp_peer_view){.id = 3, .match = 1, .next = 2};
    checker_views(c, 0, &v);
    FIRES("I17 MatchSound");
}

static void a_machine_that_is_ahead_of_its_disk_fires_N08(void **state)
{
    (void)state;
    committed(3);
    holds(2, 1, 1, 101);
    checker_keeps(c, 0, 3);
    checker_keeps(c, 2, 1);
    SILENT();
    checker_keeps(c, 2, 2);
    FIRES("N08 AppliedDurable");
}

/* ---- clients ---- */

static kelp_index line_floor;

static void answered(bool read, uint64_t value, kelp_index at_call, enum kelp_outcome outcome,
                     kelp_index index, uint64_t result)
{
    uint8_t bytes[8];
    put_u64(bytes, result);
    struct checker_request q = {.name = 1,
                                .value = value,
                                .read = read,
                                .commit_at_call = at_call,
                                .answers_at_call = answers_before,
                                .floor = &line_floor};
    checker_answered(c, &q, outcome, kelp_pos_of(index, 1), (struct kelp_bytes){bytes, 8});
}

static void honest_answers_are_silent(void **state)
{
    (void)state;
    committed(3);
    line_floor = 0;
    acknowledges(1, 0, 1, 3);
    answered(false, 101, 0, KELP_DONE, 1, 0);
    answered(false, 102, 0, KELP_DONE, 2, 101);
    answered(true, 0, 2, KELP_DONE, 3, 102);
    answered(true, 0, 3, KELP_DONE, 3, 103);
    answered(false, 999, 3, KELP_REFUSED, 0, 0);
    answered(false, 998, 3, KELP_LOST, 2, 0);
    answered(false, 997, 3, KELP_UNKNOWN, 0, 0);
    SILENT();
}

static void a_read_that_only_older_answers_confirm_fires_N07(void **state) /* [§6.4] */
{
    (void)state;
    committed(3);
    line_floor = 0;
    acknowledges(1, 0, 1, 3);
    answers_before = checker_answers(c);
    acknowledges(1, 2, 1, 3); /* to somebody who does not lead */
    answered(true, 0, 3, KELP_DONE, 3, 103);
    FIRES("N07 ReadConfirmed");
}

static void a_read_that_a_quorum_confirmed_since_is_silent(void **state) /* [§6.4] */
{
    (void)state;
    committed(3);
    line_floor = 0;
    answers_before = checker_answers(c);
    acknowledges(1, 0, 1, 3);
    votes(1, 2, 0);
    acknowledges(1, 0, 2, 0); /* a late message is told of a newer term */
    answered(true, 0, 3, KELP_DONE, 3, 103);
    SILENT();
}

static void a_read_of_a_replaced_value_fires_I22(void **state)
{
    (void)state;
    committed(3);
    line_floor = 0;
    answered(true, 0, 3, KELP_DONE, 3, 102);
    FIRES("I22 ReadFresh");
}

static void a_read_of_nothing_after_a_write_fires_I22(void **state)
{
    (void)state;
    committed(3);
    line_floor = 0;
    answered(true, 0, 1, KELP_DONE, 3, 0);
    FIRES("I22 ReadFresh");
}

static void a_read_of_an_uncommitted_value_fires_I24(void **state)
{
    (void)state;
    committed(3);
    holds(0, 4, 1, 104);
    line_floor = 0;
    answered(true, 0, 3, KELP_DONE, 3, 104);
    FIRES("I24 NoDirtyRead");
}

static void done_without_a_commit_fires_I25(void **state)
{
    (void)state;
    committed(3);
    holds(0, 4, 1, 104);
    line_floor = 0;
    answered(false, 104, 3, KELP_DONE, 4, 103);
    FIRES("I25 OKHonest");
}

static void done_with_a_wrong_result_fires_I25(void **state)
{
    (void)state;
    committed(3);
    line_floor = 0;
    answered(false, 102, 0, KELP_DONE, 2, 77);
    FIRES("I25 OKHonest");
}

static void refused_but_committed_fires_I25(void **state)
{
    (void)state;
    committed(3);
    line_floor = 0;
    answered(false, 102, 0, KELP_REFUSED, 0, 0);
    FIRES("I25 OKHonest");
}

static void refused_and_committed_later_fires_I25(void **state)
{
    (void)state;
    committed(3);
    line_floor = 0;
    answered(false, 104, 0, KELP_REFUSED, 0, 0);
    holds(0, 4, 1, 104);
    holds(1, 4, 1, 104);
    shows(0, KELP_LEADER, 1, kelp_pos_of(4, 1), 4);
    FIRES("I25 OKHonest");
}

static void lost_where_nothing_is_committed_fires_I25(void **state)
{
    (void)state;
    committed(3);
    line_floor = 0;
    answered(false, 200, 0, KELP_LOST, 9, 0);
    FIRES("I25 OKHonest");
}

static void one_command_committed_twice_fires_I25(void **state)
{
    (void)state;
    committed(3);
    holds(0, 4, 1, 102);
    holds(1, 4, 1, 102);
    shows(0, KELP_LEADER, 1, kelp_pos_of(4, 1), 4);
    FIRES("I25 OKHonest");
}

static void a_line_that_goes_back_fires_S01(void **state)
{
    (void)state;
    committed(3);
    acknowledges(1, 0, 1, 3);
    line_floor = 0;
    answered(true, 0, 0, KELP_DONE, 3, 103);
    answered(true, 0, 0, KELP_DONE, 2, 102);
    FIRES("S01 LineOrder");
}

static void two_states_at_one_index_fire_I28(void **state)
{
    (void)state;
    committed(3);
    checker_applied(c, 0, 3, 7, 8);
    checker_applied(c, 1, 3, 7, 9);
    FIRES("I28 StateDeterminism");
}

static void the_first_violation_stays(void **state)
{
    (void)state;
    elected(0, 2, 5);
    checker_leads(c, 1, 5);
    checker_applied(c, 0, 9, 0, 0);
    FIRES("I01 ElectionSafety");
}

#define RULE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE_TEST(a_sound_history_is_silent),
        RULE_TEST(two_leaders_of_one_term_fire_I01),
        RULE_TEST(a_leader_with_half_of_the_votes_fires_N06),
        RULE_TEST(two_votes_in_one_term_fire_I02),
        RULE_TEST(a_vote_that_leaves_before_it_is_durable_fires_I03),
        RULE_TEST(a_pre_vote_may_leave_without_a_save),
        RULE_TEST(a_message_of_a_term_that_is_not_durable_fires_I04),
        RULE_TEST(a_saved_term_that_falls_fires_I04),
        RULE_TEST(an_entry_durable_before_its_term_fires_I05),
        RULE_TEST(a_leader_that_cuts_its_log_fires_I06),
        RULE_TEST(one_position_with_two_contents_fires_I07),
        RULE_TEST(one_position_after_two_histories_fires_I07),
        RULE_TEST(a_leader_without_a_committed_entry_fires_I08),
        RULE_TEST(a_leader_of_an_older_term_may_lack_what_a_later_one_committed),
        RULE_TEST(another_entry_committed_at_an_index_fires_I09),
        RULE_TEST(a_commit_index_that_falls_fires_I10),
        RULE_TEST(positions_out_of_order_fire_I11),
        RULE_TEST(a_gap_in_the_log_fires_I11),
        RULE_TEST(applying_what_is_not_committed_fires_I11),
        RULE_TEST(a_commit_without_a_durable_quorum_fires_I12),
        RULE_TEST(a_commit_of_an_older_terms_entry_by_counting_fires_I13),
        RULE_TEST(a_follower_that_commits_first_fires_I13),
        RULE_TEST(an_acknowledgement_before_the_disk_fires_I14),
        RULE_TEST(an_acknowledgement_of_another_log_fires_I14),
        RULE_TEST(a_restart_that_lost_a_durable_entry_fires_I15),
        RULE_TEST(a_restart_may_find_a_first_part_of_the_open_saves),
        RULE_TEST(a_rotten_disk_that_starts_with_less_fires_I32),
        RULE_TEST(a_rotten_disk_that_forgot_its_term_fires_I31),
        RULE_TEST(a_founder_may_write_entry_1_anew_if_nobody_holds_the_first),
        RULE_TEST(a_founder_that_writes_entry_1_anew_although_another_holds_it_fires_I07),
        RULE_TEST(a_restart_that_invents_an_entry_fires_I15),
        RULE_TEST(a_restart_that_forgot_its_vote_fires_I31),
        RULE_TEST(a_restart_with_an_older_term_fires_I04),
        RULE_TEST(a_restart_that_believes_too_much_committed_fires_I10),
        RULE_TEST(cutting_a_committed_entry_fires_I16),
        RULE_TEST(cutting_an_entry_that_is_not_the_committed_one_is_silent),
        RULE_TEST(compacting_beyond_the_own_snapshot_fires_I16),
        RULE_TEST(a_match_that_the_peer_does_not_have_fires_I17),
        RULE_TEST(honest_answers_are_silent),
        RULE_TEST(a_machine_that_is_ahead_of_its_disk_fires_N08),
        RULE_TEST(a_read_that_only_older_answers_confirm_fires_N07),
        RULE_TEST(a_read_that_a_quorum_confirmed_since_is_silent),
        RULE_TEST(a_read_of_a_replaced_value_fires_I22),
        RULE_TEST(a_read_of_nothing_after_a_write_fires_I22),
        RULE_TEST(a_read_of_an_uncommitted_value_fires_I24),
        RULE_TEST(done_without_a_commit_fires_I25),
        RULE_TEST(done_with_a_wrong_result_fires_I25),
        RULE_TEST(refused_but_committed_fires_I25),
        RULE_TEST(refused_and_committed_later_fires_I25),
        RULE_TEST(lost_where_nothing_is_committed_fires_I25),
        RULE_TEST(one_command_committed_twice_fires_I25),
        RULE_TEST(a_line_that_goes_back_fires_S01),
        RULE_TEST(two_states_at_one_index_fire_I28),
        RULE_TEST(the_first_violation_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
