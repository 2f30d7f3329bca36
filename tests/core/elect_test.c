/* SPDX-License-Identifier: Apache-2.0 */
/* elect_test.c - asking for votes, giving them, counting them. [§3.4, §3.6.1, §4.2.3, §9.6] */
#include "fixture.h"

/* The vote answer the core gave last; fails if there is none. */
static bool granted(struct fixture *f, kelp_id to)
{
    save_all(f);
    const struct kelp_message *m = sent(f, KELP_MSG_VOTE_ANSWER, to);
    assert_non_null(m);
    return (m->flags & KELP_MF_GRANTED) != 0;
}

/* ---- the voter ---- */

/* DG TestRequestVoteSuccess, HM RequestVote request */
static void a_free_vote_goes_to_a_log_that_is_as_good(void **state)
{
    (void)state;
    static const char *const good[] = {"2@2", "3@2", "1@3", "2@3"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct fixture *f = node(.log = "1@1 2@2", .term = 3);
        receive(f, vote_of(f, 2, 4, good[i]));
        assert_true(granted(f, 2));
        assert_int_equal(f->view.vote, 2);
        assert_int_equal(f->view.term.v, 4);
        MARK_HIT(f, VOTE_GRANTED);
        fixture_close(f);
    }
}

/* DG TestRequestVoteOutOfDateLogFailure, HM RequestVote request [§3.6.1] */
static void a_log_that_is_behind_gets_no_vote(void **state)
{
    (void)state;
    static const char *const behind[] = {"0@0", "1@2", "1@1", "9@1"};
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++) {
        struct fixture *f = node(.log = "1@1 2@2", .term = 3);
        receive(f, vote_of(f, 2, 4, behind[i]));
        assert_false(granted(f, 2));
        assert_int_equal(f->view.vote, 0);
        assert_int_equal(f->view.term.v, 4); /* the higher term is adopted all the same */
        MARK_HIT(f, VOTE_REFUSED_STALE_LOG);
        fixture_close(f);
    }
}

/* DG TestRequestVoteAlreadyVotedFailure, HM RequestVote request */
static void a_vote_is_given_once_in_a_term(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, vote_of(f, 2, 3, "0@0"));
    receive(f, vote_of(f, 3, 3, "9@3")); /* however good its log */
    assert_true(granted(f, 2));
    assert_false(granted(f, 3));
    assert_int_equal(f->view.vote, 2);
    MARK_HIT(f, VOTE_REFUSED_VOTED);
    fixture_close(f);
}

/* DG TestRequestVoteAlreadyVotedSuccess, HM RequestVote request */
static void a_vote_given_before_is_repeated(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3, .vote = 2);
    receive(f, vote_of(f, 2, 3, "0@0"));
    assert_true(granted(f, 2));
    MARK_HIT(f, VOTE_REPEATED);
    fixture_close(f);
}

/* DG TestSetGet (state_storage) [§3.8] */
static void a_vote_survives_a_restart(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3, .vote = 2);
    receive(f, vote_of(f, 3, 3, "0@0"));
    assert_false(granted(f, 3));
    fixture_close(f);
}

/* DG TestRequestVoteOutOfDateTermFailure, HM RequestVote request */
static void a_lower_term_gets_no_vote_and_learns_the_term(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 5);
    receive(f, vote_of(f, 2, 4, "9@4"));
    assert_false(granted(f, 2));
    assert_int_equal(sent(f, KELP_MSG_VOTE_ANSWER, 2)->term.v, 5);
    assert_int_equal(f->view.vote, 0);
    MARK_HIT(f, VOTE_REFUSED_LOWER_TERM);
    fixture_close(f);
}

/* DG TestRequestVoteLeaderStepDownSuccess; voted for another: the term is adopted, HM */
static void a_vote_request_of_a_higher_term_frees_the_vote(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3, .vote = 3);
    receive(f, vote_of(f, 2, 4, "0@0"));
    assert_true(granted(f, 2));
    fixture_close(f);
}

/* DG TestRequestVoteShutdownFailure */
static void a_shut_down_node_answers_no_vote_request(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    step(f, &(struct kelp_input){.type = KELP_IN_SHUTDOWN});
    receive(f, vote_of(f, 2, 4, "0@0"));
    save_all(f);
    assert_int_equal(f->message_count, 0);
    assert_int_equal(f->view.term.v, 3);
    fixture_close(f);
}

/* [§3.8] */
static void a_vote_is_sent_only_when_it_is_durable(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, vote_of(f, 2, 3, "0@0"));
    take(f);
    assert_int_equal(f->save_count, 1);
    assert_int_equal(f->saves[0].flags, KELP_SAVE_VOTE);
    assert_int_equal(f->saves[0].vote, 2);
    assert_null(sent(f, KELP_MSG_VOTE_ANSWER, 2));
    saved_up_to(f, 1);
    take(f);
    assert_non_null(sent(f, KELP_MSG_VOTE_ANSWER, 2));
    fixture_close(f);
}

static void a_vote_of_a_term_that_passed_is_never_sent(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, vote_of(f, 2, 3, "0@0"));
    receive(f, heartbeat_of(f, 3, 4)); /* before the vote's save was even emitted */
    save_all(f);
    assert_null(sent(f, KELP_MSG_VOTE_ANSWER, 2));
    fixture_close(f);
}

/* [§3.4] */
static void a_granted_vote_restarts_the_timer_and_a_refused_one_does_not(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .term = 3);
    take(f);
    kelp_ns due = f->deadline;
    pass(f, 500 * MS);
    receive(f, vote_of(f, 2, 4, "0@0"));
    save_all(f);
    assert_int_equal(f->deadline, due);
    receive(f, vote_of(f, 3, 4, "1@1"));
    save_all(f);
    assert_true(f->deadline >= f->now + 1000 * MS);
    fixture_close(f);
}

/* ---- stickiness ---- */

/* DG TestRequestVoteLeaderContactFailure, HC TestRaft_VotingGrant_WhenLeaderAvailable, PB
 * TestStrongLeader [§4.2.3] */
static void a_follower_that_hears_its_leader_refuses_others_and_keeps_its_term(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, heartbeat_of(f, 2, 3));
    pass(f, 999 * MS);
    receive(f, vote_of(f, 3, 9, "9@9"));
    assert_false(granted(f, 3));
    assert_int_equal(f->view.term.v, 3);
    assert_int_equal(f->view.leader, 2);
    MARK_HIT(f, VOTE_REFUSED_STICKY);
    pass(f, 1 * MS); /* the minimum election timeout has passed now */
    receive(f, vote_of(f, 3, 9, "9@9"));
    assert_true(granted(f, 3));
    fixture_close(f);
}

/* HC TestRaft_VotingGrant_WhenLeaderAvailable, HC TestRaft_PreVote_ShouldNotRejectLeader */
static void a_transfer_overrules_stickiness(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, heartbeat_of(f, 2, 3));
    struct kelp_message m = vote_of(f, 3, 4, "0@0");
    m.flags |= KELP_MF_TRANSFER;
    receive(f, m);
    assert_true(granted(f, 3));
    fixture_close(f);
}

/* PB TestStrongLeader */
static void a_leader_is_not_unseated_by_a_vote_request(void **state)
{
    (void)state;
    struct fixture *f = leader(.term = 3);
    receive(f, vote_of(f, 2, 4, "9@4"));
    receive(f, vote_of(f, 3, 99, "9@9"));
    assert_false(granted(f, 2));
    assert_false(granted(f, 3));
    assert_int_equal(f->view.role, KELP_LEADER);
    assert_int_equal(f->view.term.v, 4);
    fixture_close(f);
}

static void without_stickiness_a_better_log_unseats_a_leader(void **state)
{
    (void)state;
    struct fixture *f = leader(.term = 3, .off = KELP_STICKINESS);
    receive(f, vote_of(f, 2, 5, "9@4"));
    assert_true(granted(f, 2));
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    fixture_close(f);
}

/* ---- membership is no reason, except removal ---- */

/* [§4.1] */
static void a_candidate_unknown_to_the_voter_gets_its_vote(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3, .voters = 2); /* 3 is in an entry that is not here yet */
    receive(f, vote_of(f, 3, 4, "9@3"));
    assert_true(granted(f, 3));
    fixture_close(f);
}

/* [§4.1] */
static void a_learner_in_the_voters_configuration_gets_its_vote(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3, .voters = 2, .learners = 1);
    receive(f, vote_of(f, 3, 4, "9@3"));
    assert_true(granted(f, 3));
    fixture_close(f);
}

static struct kelp_config without_3(kelp_index index)
{
    struct kelp_config c = voters(2);
    c.id_highest = 3;
    c.index = index;
    return c;
}

/* HC TestRaft_VoteNotGranted_WhenNodeNotInCluster */
static void a_removed_candidate_is_refused_and_its_term_is_not_adopted(void **state)
{
    (void)state;
    struct kelp_config c = without_3(1);
    struct fixture *f = node(.log = "1@3", .commit = 1, .config = &c);
    receive(f, vote_of(f, 3, 9, "9@9"));
    assert_false(granted(f, 3));
    assert_int_equal(f->view.term.v, 3);
    MARK_HIT(f, VOTE_REFUSED_REMOVED);
    fixture_close(f);
}

static void an_uncommitted_removal_refuses_nobody(void **state)
{
    (void)state;
    struct kelp_config c = without_3(1), before = voters(3);
    struct fixture *f = node(.log = "1@3", .config = &c, .config_before = &before);
    receive(f, vote_of(f, 3, 9, "9@9"));
    assert_true(granted(f, 3));
    fixture_close(f);
}

/* ---- pre-vote, the voter's side ---- */

/* DG TestPrevoteNoVote [§9.6] */
static void a_granted_pre_vote_changes_neither_term_nor_vote(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .term = 3);
    take(f);
    kelp_ns due = f->deadline;
    pass(f, 100 * MS);
    receive(f, pre_vote_of(f, 2, 3, "1@1"));
    save_all(f);
    const struct kelp_message *m = sent(f, KELP_MSG_VOTE_ANSWER, 2);
    assert_int_equal(m->flags, KELP_MF_PRE_VOTE | KELP_MF_GRANTED);
    assert_int_equal(m->vote.term.v, 4);
    assert_int_equal(m->term.v, 3);
    assert_int_equal(f->view.term.v, 3);
    assert_int_equal(f->view.vote, 0);
    assert_int_equal(f->save_count, 0);
    assert_int_equal(f->deadline, due);
    MARK_HIT(f, PRE_VOTE_GRANTED);
    fixture_close(f);
}

/* HC TestRaft_PreVote_LeaderSpam */
static void a_flood_of_pre_votes_keeps_nobody_from_standing(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    for (int i = 0; i < 42 && f->view.role == KELP_FOLLOWER; i++) {
        pass(f, 50 * MS);
        receive(f, pre_vote_of(f, 2, 3, "0@0"));
        take(f);
    }
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    fixture_close(f);
}

/* HC TestRaft_PreVote_ShouldRejectNonLeader */
static void a_pre_vote_while_a_leader_is_heard_is_refused(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, heartbeat_of(f, 2, 3));
    receive(f, pre_vote_of(f, 3, 7, "9@7"));
    assert_false(granted(f, 3));
    assert_int_equal(f->view.term.v, 3); /* a disturber's term is not adopted either */
    fixture_close(f);
}

static void a_pre_vote_for_a_log_that_is_behind_is_refused(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@2", .term = 3);
    receive(f, pre_vote_of(f, 2, 3, "5@1"));
    assert_false(granted(f, 2));
    fixture_close(f);
}

static void a_pre_vote_may_be_granted_to_many(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, pre_vote_of(f, 2, 3, "0@0"));
    receive(f, pre_vote_of(f, 3, 3, "0@0"));
    assert_true(granted(f, 2));
    assert_true(granted(f, 3));
    fixture_close(f);
}

/* ---- the candidate ---- */

/* HM election timeout */
static void nothing_happens_before_the_election_timeout(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 50; seed++) {
        struct fixture *f = node(.seed = seed);
        take(f);
        assert_true(f->deadline >= f->now + 1000 * MS && f->deadline <= f->now + 2000 * MS);
        pass(f, f->deadline - f->now - 1);
        take(f);
        assert_int_equal(f->view.role, KELP_FOLLOWER);
        assert_int_equal(f->message_count, 0);
        pass(f, 1);
        take(f);
        assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
        fixture_close(f);
    }
}

/* HC RandomTimeout (util) */
static void timeouts_differ_between_seeds_and_between_attempts(void **state)
{
    (void)state;
    kelp_ns seen[40];
    uint32_t equal = 0;
    for (uint64_t i = 0; i < 40; i++) {
        struct fixture *f = node(.seed = i + 1);
        take(f);
        seen[i] = f->deadline - f->now;
        assert_in_range(seen[i], 1000 * MS, 2000 * MS);
        for (uint64_t j = 0; j < i; j++)
            equal += seen[j] == seen[i];
        fixture_close(f);
    }
    assert_true(equal < 2);
    struct fixture *f = node(.self = 3, .voters = 2, .learners = 1); /* nothing else is due to it */
    equal = 0;
    take(f);
    for (uint64_t i = 0; i < 40; i++) {
        seen[i] = f->deadline - f->now;
        assert_in_range(seen[i], 1000 * MS, 2000 * MS);
        for (uint64_t j = 0; j < i; j++)
            equal += seen[j] == seen[i];
        pass(f, seen[i]);
        take(f);
    }
    assert_true(equal < 2);
    fixture_close(f);
}

/* PB TestFollowerToCandidate, HM election timeout [§9.6] */
static void a_candidate_asks_every_voter_with_the_end_of_its_log(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@3", .voters = 3, .learners = 1);
    campaign(f);
    save_all(f);
    assert_int_equal(sent_count(f, KELP_MSG_VOTE, 0), 2); /* no learner */
    const struct kelp_message *m = sent(f, KELP_MSG_VOTE, 3);
    assert_int_equal(m->flags, KELP_MF_PRE_VOTE);
    assert_int_equal(m->term.v, 3); /* under its own saved term */
    assert_int_equal(m->vote.term.v, 4);
    assert_pos(m->vote.last, "2@3");
    assert_int_equal(f->view.term.v, 3);
    receive(f, granted_of(f, 3));
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    assert_int_equal(f->view.term.v, 4);
    assert_int_equal(f->view.vote, 1);
    save_all(f);
    m = sent(f, KELP_MSG_VOTE, 2);
    assert_int_equal(m->flags, 0);
    assert_int_equal(m->term.v, 4);
    assert_int_equal(m->vote.term.v, 4);
    fixture_close(f);
}

/* [§3.8] */
static void a_candidate_asks_nobody_before_its_term_is_durable(void **state)
{
    (void)state;
    struct fixture *f = node(.off = KELP_PRE_VOTE);
    campaign(f);
    take(f);
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    assert_int_equal(f->message_count, 0);
    saved_up_to(f, 1);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_VOTE, 0), 2);
    fixture_close(f);
}

/* PB TestCandidateToLeader, HM RequestVote response */
static void a_majority_makes_a_leader(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 5, .off = KELP_PRE_VOTE);
    campaign(f);
    save_all(f);
    receive(f, granted_of(f, 2));
    assert_int_equal(f->view.role, KELP_CANDIDATE); /* two of five */
    receive(f, granted_of(f, 2));
    MARK_HIT(f, VOTE_ANSWER_TWICE);
    assert_int_equal(f->view.role, KELP_CANDIDATE); /* still two */
    receive(f, refused_of(f, 3));
    receive(f, granted_of(f, 4));
    assert_int_equal(f->view.role, KELP_LEADER);
    save_all(f);
    assert_pos(f->made, "1@2"); /* the empty entry of its term */
    assert_int_equal(sent_count(f, KELP_MSG_HEARTBEAT, 0), 4);
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 0), 4);
    assert_int_equal(peer_view(f, 2)->match, 0);
    fixture_close(f);
}

/* However long it is, and however little of it is remembered. */
static void who_wins_reads_nothing_of_its_log(void **state)
{
    (void)state;
    struct fixture *f =
        node(.log = "1@1 2@2 3@3 4@4 5@5 6@6 7@7 8@8", .runs = 4, .tail = 8, .off = KELP_PRE_VOTE);
    campaign(f);
    save_all(f);
    receive(f, granted_of(f, 2));
    assert_int_equal(f->view.role, KELP_LEADER);
    save_all(f);
    assert_pos(f->made, "9@9");
    assert_int_equal(sent_count(f, KELP_MSG_HEARTBEAT, 0), 2);
    assert_int_equal(f->lookup_count, 0);
    fixture_close(f);
}

/* HM RequestVote response */
static void a_candidate_counts_its_own_vote_when_it_is_durable(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 1, .off = KELP_PRE_VOTE);
    campaign(f);
    take(f);
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    MARK_MISS(f, VOTE_OWN_COUNTED);
    saved_up_to(f, 1);
    assert_int_equal(f->view.role, KELP_LEADER);
    MARK_HIT(f, VOTE_OWN_COUNTED);
    fixture_close(f);
}

/* HC TestRaft_SingleNode, DG TestSingleServerElection, HM single-node election */
static void a_single_node_elects_itself_at_once(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 1);
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    assert_int_equal(f->view.commit, 1); /* its empty entry */
    fixture_close(f);
}

static void a_node_that_stands_already_starts_no_second_attempt(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 1);
    campaign(f); /* its own timer was due as well */
    campaign(f);
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    assert_int_equal(f->view.term.v, 2);
    MARK_MISS(f, ELECTION_REPEAT);
    fixture_close(f);
}

/* PB TestFailedElection */
static void a_quorum_of_refusals_ends_the_attempt(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 5);
    campaign(f);
    save_all(f);
    receive(f, refused_of(f, 2));
    receive(f, refused_of(f, 3));
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    receive(f, refused_of(f, 4));
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.term.v, 1);
    MARK_HIT(f, ELECTION_LOST);
    fixture_close(f);
}

/* PB TestFailedElection */
static void silence_leads_to_another_attempt_that_starts_with_a_pre_vote(void **state)
{
    (void)state;
    struct fixture *f = node();
    campaign(f);
    save_all(f);
    receive(f, granted_of(f, 2));
    save_all(f);
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    pass(f, 2000 * MS);
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    assert_int_equal(f->view.term.v, 2); /* a pre-vote raises nothing */
    MARK_HIT(f, ELECTION_REPEAT);
    fixture_close(f);
}

static void unanswered_requests_are_repeated_until_the_election_ends(void **state)
{
    (void)state;
    struct fixture *f = node();
    campaign(f);
    save_all(f);
    receive(f, refused_of(f, 2));
    for (int i = 0; i < 4; i++) {
        pass(f, f->deadline - f->now);
        save_all(f);
    }
    assert_true(sent_count(f, KELP_MSG_VOTE, 3) >= 4);
    assert_int_equal(sent_count(f, KELP_MSG_VOTE, 2), 1);
    fixture_close(f);
}

static void an_answer_of_another_election_counts_for_nothing(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 3);
    campaign(f);
    save_all(f);
    struct kelp_message pre = granted_of(f, 2);
    receive(f, granted_of(f, 3));
    save_all(f);
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    pre.id++;
    receive(f, pre); /* a pre-vote is no vote */
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    struct kelp_message other = granted_of(f, 2);
    other.vote.term.v--;
    receive(f, other);
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    MARK_HIT(f, VOTE_ANSWER_STALE);
    fixture_close(f);
}

/* HC TestCommitment_match_nonVoting, of elections; DG TestNonVoterElectionFailure */
static void a_learners_vote_is_not_counted(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 2, .learners = 2, .off = KELP_PRE_VOTE);
    campaign(f);
    save_all(f);
    receive(f, granted_of(f, 3));
    receive(f, granted_of(f, 4));
    receive(f, granted_of(f, 9)); /* nobody */
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    MARK_HIT(f, VOTE_ANSWER_NOT_VOTER);
    receive(f, granted_of(f, 2));
    assert_int_equal(f->view.role, KELP_LEADER);
    fixture_close(f);
}

/* HC TestRaft_runFollower_State_Transition */
static void a_learner_never_stands(void **state)
{
    (void)state;
    struct fixture *f = node(.self = 3, .voters = 2, .learners = 1);
    for (int i = 0; i < 5; i++)
        pass(f, 2000 * MS);
    campaign(f);
    take(f);
    assert_int_equal(f->message_count, 2); /* only to be told if it was removed */
    for (int i = 0; i < 2; i++)
        assert_int_equal(f->messages[i].flags, KELP_MF_PRE_VOTE);
    struct kelp_message yes = granted_of(f, 1);
    yes.flags |= KELP_MF_PRE_VOTE;
    yes.vote.term = kelp_term_of(2);
    receive(f, yes);
    take(f);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.term.v, 1);
    MARK_HIT(f, CAMPAIGN_NOT_VOTER);
    MARK_HIT(f, VOTE_ANSWER_STALE);
    take(f);
    assert_int_equal(f->message_count, 2); /* once a timeout */
    fixture_close(f);
}

/* HC TestRaft_runFollower_State_Transition */
static void a_node_outside_its_configuration_never_stands(void **state)
{
    (void)state;
    struct fixture *f = node(.self = 9);
    pass(f, 2000 * MS);
    take(f);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    fixture_close(f);
}

/* [§3.4] */
static void a_leader_of_this_term_ends_a_candidacy(void **state)
{
    (void)state;
    struct fixture *f = node(.off = KELP_PRE_VOTE);
    campaign(f);
    save_all(f);
    receive(f, heartbeat_of(f, 2, 2));
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.leader, 2);
    assert_int_equal(f->view.vote, 1);
    fixture_close(f);
}

/* HC TestRaft_VerifyLeader_Fail, PB TestFollowerAllegiance */
static void a_higher_term_in_any_answer_ends_a_leadership(void **state)
{
    (void)state;
    struct fixture *f = leader(.term = 1);
    struct kelp_message m = answer_of(f, 2, 0);
    m.term.v = 9;
    receive(f, m);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.term.v, 9);
    assert_int_equal(f->view.leader, 0);
    assert_int_equal(f->view.vote, 0);
    fixture_close(f);
}

/* [§4.3] */
static void a_joint_configuration_elects_with_both_halves(void **state)
{
    (void)state;
    struct kelp_config c = {.count = 5, .joint = 1, .id_highest = 5};
    for (uint8_t slot = 0; slot < 5; slot++) {
        c.members[slot].id = slot + 1u;
        c.members[slot].role = slot < 1 || slot > 2 ? KELP_VOTER : KELP_NONE; /* 1 4 5 */
        c.members[slot].role_old = slot < 3 ? KELP_VOTER : KELP_NONE;         /* 1 2 3 */
    }
    struct fixture *f = node(.config = &c, .off = KELP_PRE_VOTE);
    campaign(f);
    save_all(f);
    receive(f, granted_of(f, 4));
    receive(f, granted_of(f, 5));
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    receive(f, granted_of(f, 3));
    assert_int_equal(f->view.role, KELP_LEADER);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_free_vote_goes_to_a_log_that_is_as_good),
        cmocka_unit_test(a_log_that_is_behind_gets_no_vote),
        cmocka_unit_test(a_vote_is_given_once_in_a_term),
        cmocka_unit_test(a_vote_given_before_is_repeated),
        cmocka_unit_test(a_vote_survives_a_restart),
        cmocka_unit_test(a_lower_term_gets_no_vote_and_learns_the_term),
        cmocka_unit_test(a_vote_request_of_a_higher_term_frees_the_vote),
        cmocka_unit_test(a_shut_down_node_answers_no_vote_request),
        cmocka_unit_test(a_vote_is_sent_only_when_it_is_durable),
        cmocka_unit_test(a_vote_of_a_term_that_passed_is_never_sent),
        cmocka_unit_test(a_granted_vote_restarts_the_timer_and_a_refused_one_does_not),
        cmocka_unit_test(a_follower_that_hears_its_leader_refuses_others_and_keeps_its_term),
        cmocka_unit_test(a_transfer_overrules_stickiness),
        cmocka_unit_test(a_leader_is_not_unseated_by_a_vote_request),
        cmocka_unit_test(without_stickiness_a_better_log_unseats_a_leader),
        cmocka_unit_test(a_candidate_unknown_to_the_voter_gets_its_vote),
        cmocka_unit_test(a_learner_in_the_voters_configuration_gets_its_vote),
        cmocka_unit_test(a_removed_candidate_is_refused_and_its_term_is_not_adopted),
        cmocka_unit_test(an_uncommitted_removal_refuses_nobody),
        cmocka_unit_test(a_granted_pre_vote_changes_neither_term_nor_vote),
        cmocka_unit_test(a_flood_of_pre_votes_keeps_nobody_from_standing),
        cmocka_unit_test(a_pre_vote_while_a_leader_is_heard_is_refused),
        cmocka_unit_test(a_pre_vote_for_a_log_that_is_behind_is_refused),
        cmocka_unit_test(a_pre_vote_may_be_granted_to_many),
        cmocka_unit_test(nothing_happens_before_the_election_timeout),
        cmocka_unit_test(timeouts_differ_between_seeds_and_between_attempts),
        cmocka_unit_test(a_candidate_asks_every_voter_with_the_end_of_its_log),
        cmocka_unit_test(a_candidate_asks_nobody_before_its_term_is_durable),
        cmocka_unit_test(a_majority_makes_a_leader),
        cmocka_unit_test(who_wins_reads_nothing_of_its_log),
        cmocka_unit_test(a_candidate_counts_its_own_vote_when_it_is_durable),
        cmocka_unit_test(a_single_node_elects_itself_at_once),
        cmocka_unit_test(a_node_that_stands_already_starts_no_second_attempt),
        cmocka_unit_test(a_quorum_of_refusals_ends_the_attempt),
        cmocka_unit_test(silence_leads_to_another_attempt_that_starts_with_a_pre_vote),
        cmocka_unit_test(unanswered_requests_are_repeated_until_the_election_ends),
        cmocka_unit_test(an_answer_of_another_election_counts_for_nothing),
        cmocka_unit_test(a_learners_vote_is_not_counted),
        cmocka_unit_test(a_learner_never_stands),
        cmocka_unit_test(a_node_outside_its_configuration_never_stands),
        cmocka_unit_test(a_leader_of_this_term_ends_a_candidacy),
        cmocka_unit_test(a_higher_term_in_any_answer_ends_a_leadership),
        cmocka_unit_test(a_joint_configuration_elects_with_both_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
