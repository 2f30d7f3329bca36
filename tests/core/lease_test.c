/* SPDX-License-Identifier: Apache-2.0 */
/* lease_test.c - until when nobody else can lead, and what a node must not do meanwhile. [§6.4.1]
 *
 * The fixture's timers: heartbeat 100 ms, election after 1 to 2 s, drift up to 1000 parts in a
 * million; so a lease may be 999 ms long. */
#include <string.h>

#include "fixture.h"

#define LEASE (900 * MS)

static void shows(struct fixture *f, kelp_id peer, kelp_ns election_min, uint32_t drift_ppm)
{
    struct kelp_input in = {.type = KELP_IN_SHOWN};
    in.shown.peer = peer;
    in.shown.election_min = election_min;
    in.shown.drift_ppm = drift_ppm;
    step(f, &in);
}

static void all_show_alike(struct fixture *f)
{
    for (uint32_t slot = 0; slot < f->view.peer_count; slot++)
        shows(f, f->view.peers[slot].id, f->options.election_min, f->options.drift_ppm);
}

/* The next heartbeats leave. */
static void beat(struct fixture *f)
{
    pass(f, 100 * MS);
    take(f);
}

/* A peer answers the newest heartbeat it was sent, and holds the log up to match. */
static void answers_up_to(struct fixture *f, kelp_id peer, kelp_index match)
{
    struct kelp_message m = answer_of(f, peer, match);
    assert_non_null(sent(f, KELP_MSG_HEARTBEAT, peer));
    m.id = sent(f, KELP_MSG_HEARTBEAT, peer)->id;
    receive(f, m);
}

/* A leader whose peers hold everything, show its own settings, and answered what left 100 ms ago;
 * the next heartbeats are due. */
static struct fixture *ready(const struct spec *spec)
{
    struct fixture *f = fixture_leader(spec);
    all_show_alike(f);
    beat(f);
    for (uint32_t slot = 1; slot < f->view.peer_count; slot++)
        answers_up_to(f, slot + 1, f->view.last);
    save_all(f);
    assert_true(f->view.committed_own_term);
    applied(f, f->view.commit);
    take(f);
    pass(f, 100 * MS);
    fixture_forget(f);
    return f;
}
#define ready_leader(...) ready(&(struct spec){.lease = LEASE, __VA_ARGS__})

/* A peer answers one message, whenever that is. */
static void answers(struct fixture *f, const struct kelp_message *message)
{
    struct kelp_message m = answer_of(f, message->to, f->view.last);
    m.id = message->id;
    receive(f, m);
}

static void heartbeat_answered(struct fixture *f, kelp_id peer)
{
    const struct kelp_message *m = sent(f, KELP_MSG_HEARTBEAT, peer);
    assert_non_null(m);
    answers(f, m);
}

static void reads(struct fixture *f, uint64_t token, enum kelp_proof proof)
{
    struct kelp_input in = {.type = KELP_IN_READ};
    in.read.token = token;
    in.read.deadline = KELP_NEVER;
    in.read.proof = proof;
    step(f, &in);
}

static void assert_lease(const struct fixture *f, enum kelp_lease lease)
{
    assert_string_equal(kelp_lease_name(f->view.lease), kelp_lease_name(lease));
    if (lease != KELP_LEASE_HELD && lease != KELP_LEASE_LAPSED)
        assert_int_equal(f->view.lease_until, 0);
}

/* ---- the leader ---- */

/* Answers to the node's life before the last start may come late: ids do not begin anew. */
static void an_answer_to_a_former_life_is_not_one_to_this(void **state)
{
    (void)state;
    struct fixture *f = ready_leader(.seed = 77);
    for (int i = 0; i < 9; i++) { /* it does not count as contact either */
        fixture_forget(f);
        beat(f);
        for (uint64_t id = 1; id <= 60; id++) {
            struct kelp_message m = answer_of(f, 2 + id % 2, f->view.last);
            m.id = id;
            receive(f, m);
        }
    }
    assert_lease(f, KELP_LEASE_LAPSED);
    heartbeat_answered(f, 2);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

static void a_read_by_lease_asks_nobody(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    take(f);
    heartbeat_answered(f, 2);
    fixture_forget(f);
    reads(f, 7, KELP_PROOF_LEASE);
    take(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_DONE);
    assert_int_equal(answer_to(f, 7).pos.index, f->view.commit);
    assert_int_equal(sent_count(f, KELP_MSG_HEARTBEAT, 0), 0);
    assert_int_equal(f->view.lease_reads, 1);
    MARK_HIT(f, READ_LEASED);
    MARK_MISS(f, READ_ROUND);
    fixture_close(f);
}

static void a_lease_counts_from_when_the_answered_message_left(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    take(f);
    kelp_ns left = f->now;
    pass(f, 400 * MS);
    heartbeat_answered(f, 2); /* the first heartbeat, though others have left since */
    assert_lease(f, KELP_LEASE_HELD);
    assert_int_equal(f->view.lease_until, left + LEASE);
    pass(f, 500 * MS - 1);
    assert_lease(f, KELP_LEASE_HELD);
    pass(f, 1);
    assert_lease(f, KELP_LEASE_LAPSED);
    fixture_close(f);
}

static void an_older_answer_proves_no_more_than_what_it_names(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    take(f);
    kelp_ns first = f->now;
    struct kelp_message old = *sent(f, KELP_MSG_HEARTBEAT, 2);
    pass(f, 300 * MS);
    take(f);
    kelp_ns second = f->now;
    struct kelp_message fresh = *sent(f, KELP_MSG_HEARTBEAT, 2);
    assert_true(fresh.id > old.id);
    answers(f, &old);
    assert_int_equal(f->view.lease_until, first + LEASE);
    answers(f, &fresh);
    assert_int_equal(f->view.lease_until, second + LEASE);
    answers(f, &old); /* once more, late */
    assert_int_equal(f->view.lease_until, second + LEASE);
    fixture_close(f);
}

static void an_answer_to_what_was_never_sent_proves_nothing(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    kelp_ns until = f->view.lease_until;
    take(f);
    struct kelp_message forged = *sent(f, KELP_MSG_HEARTBEAT, 2);
    forged.id = 1u << 30;
    answers(f, &forged);
    assert_int_equal(f->view.lease_until, until);
    fixture_close(f);
}

/* What left long ago is forgotten: less is known then, never more. */
static void a_very_late_answer_proves_nothing(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    take(f);
    struct kelp_message old = *sent(f, KELP_MSG_HEARTBEAT, 2);
    kelp_ns until = f->view.lease_until;
    for (int i = 0; i < 9; i++) {
        pass(f, 100 * MS);
        take(f);
        fixture_forget(f);
    }
    answers(f, &old);
    assert_int_equal(f->view.lease_until, until);
    fixture_close(f);
}

static void a_lease_needs_a_quorum(void **state)
{
    (void)state;
    struct fixture *f = ready_leader(.voters = 5);
    pass(f, LEASE);
    assert_lease(f, KELP_LEASE_LAPSED);
    take(f);
    heartbeat_answered(f, 2);
    assert_lease(f, KELP_LEASE_LAPSED); /* two of five */
    heartbeat_answered(f, 5);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

static void learners_count_for_no_lease(void **state)
{
    (void)state;
    struct fixture *f = ready_leader(.voters = 3, .learners = 2);
    pass(f, LEASE);
    take(f);
    heartbeat_answered(f, 4);
    heartbeat_answered(f, 5);
    assert_lease(f, KELP_LEASE_LAPSED);
    heartbeat_answered(f, 3);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

/* [§4.3] */
static void a_joint_configuration_needs_both_halves(void **state)
{
    (void)state;
    struct fixture *f = ready_leader(.voters = 5);
    struct kelp_edit edits[2] = {{.id = 4, .verb = KELP_EDIT_DEMOTE},
                                 {.id = 5, .verb = KELP_EDIT_DEMOTE}};
    struct kelp_change what = {.count = 2, .edits = edits};
    struct kelp_input in = {.type = KELP_IN_CHANGE};
    in.change.token = 50;
    in.change.deadline = KELP_NEVER;
    in.change.what = &what;
    step(f, &in);
    take(f);
    MARK_HIT(f, CHANGE_JOINT);
    assert_lease(f, KELP_LEASE_HELD); /* what all answered before */
    pass(f, LEASE - 200 * MS);
    take(f);
    pass(f, 100 * MS);
    assert_lease(f, KELP_LEASE_LAPSED);
    answers_up_to(f, 4, 1);
    answers_up_to(f, 5, 1); /* with the leader a majority of the old half */
    assert_lease(f, KELP_LEASE_LAPSED);
    answers_up_to(f, 2, 1);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

static void there_is_no_lease_before_the_first_commit_of_the_term(void **state)
{
    (void)state;
    struct fixture *f = leader(.lease = LEASE, .log = "1@1");
    all_show_alike(f);
    for (kelp_id id = 2; id <= 3; id++) {
        struct kelp_message m = answer_of(f, id, 0);
        m.id = sent(f, KELP_MSG_HEARTBEAT, id) != NULL ? sent(f, KELP_MSG_HEARTBEAT, id)->id : 1;
        receive(f, m);
    }
    assert_lease(f, KELP_LEASE_NO_COMMIT);
    reads(f, 7, KELP_PROOF_LEASE);
    take(f);
    assert_int_equal(answer_to(f, 7).reason, KELP_R_NO_LEASE);
    reads(f, 8, KELP_PROOF_EITHER);
    take(f);
    assert_int_equal(answers_to(f, 8), 0); /* waits like any read */
    fixture_close(f);
}

static void leases_are_off_unless_asked_for(void **state)
{
    (void)state;
    struct kelp_options usual = kelp_options_default(1, 0);
    assert_int_equal(usual.lease, 0);
    struct fixture *f = ready(&(struct spec){.dull = 0});
    take(f);
    assert_lease(f, KELP_LEASE_OFF);
    reads(f, 7, KELP_PROOF_LEASE);
    take(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 7).reason, KELP_R_NO_LEASE);
    fixture_close(f);
}

static void without_a_lease_a_read_is_refused_or_takes_a_round(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    pass(f, LEASE);
    fixture_forget(f);
    reads(f, 7, KELP_PROOF_LEASE);
    reads(f, 8, KELP_PROOF_EITHER);
    take(f);
    assert_int_equal(answer_to(f, 7).reason, KELP_R_NO_LEASE);
    assert_int_equal(answers_to(f, 8), 0);
    assert_int_equal(f->view.lease_refused, 2);
    MARK_HIT(f, READ_NO_LEASE);
    MARK_HIT(f, READ_LEASE_TO_ROUND);
    struct kelp_message m = answer_of(f, 2, 0);
    m.round = sent(f, KELP_MSG_HEARTBEAT, 2)->round;
    receive(f, m);
    take(f);
    assert_int_equal(answer_to(f, 8).outcome, KELP_DONE);
    fixture_close(f);
}

static void a_follower_refuses_a_read_by_lease_for_what_it_is(void **state)
{
    (void)state;
    struct fixture *f = node(.lease = LEASE);
    receive(f, heartbeat_of(f, 2, 1));
    reads(f, 7, KELP_PROOF_LEASE);
    take(f);
    assert_int_equal(answer_to(f, 7).reason, KELP_R_NOT_LEADER);
    assert_lease(f, KELP_LEASE_NOT_LEADER);
    fixture_close(f);
}

static void the_only_voter_always_has_a_lease(void **state)
{
    (void)state;
    struct fixture *f = ready_leader(.voters = 1);
    pass(f, 60 * LEASE);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

/* What was committed when it was asked must be there; leadership may be over by then. */
static void a_read_by_lease_waits_until_its_index_is_applied(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    assert_true(client_writes(f, 1, 100, KELP_NEVER));
    save_all(f);
    ack(f, 2, f->view.last);
    assert_int_equal(f->view.commit, f->view.last);
    reads(f, 7, KELP_PROOF_LEASE);
    take(f);
    assert_int_equal(answers_to(f, 7), 0);
    applied(f, f->view.commit);
    take(f);
    assert_int_equal(answer_to(f, 7).pos.index, f->view.commit);
    fixture_close(f);
}

static void a_read_by_lease_passes_reads_that_wait_for_a_round(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    assert_lease(f, KELP_LEASE_HELD);
    reads(f, 6, KELP_PROOF_ROUND);
    take(f);
    reads(f, 7, KELP_PROOF_LEASE);
    reads(f, 8, KELP_PROOF_ROUND); /* is stamped although a lease stands before it */
    take(f);
    assert_int_equal(answers_to(f, 6), 0);
    assert_int_equal(answer_to(f, 7).outcome, KELP_DONE);
    struct kelp_message m = answer_of(f, 2, 0);
    m.round = sent(f, KELP_MSG_HEARTBEAT, 2)->round;
    receive(f, m);
    take(f);
    assert_int_equal(answer_to(f, 6).outcome, KELP_DONE);
    assert_int_equal(answer_to(f, 8).outcome, KELP_DONE);
    fixture_close(f);
}

/* ---- handing over ---- */

static void transfer(struct fixture *f, kelp_id target)
{
    struct kelp_input in = {.type = KELP_IN_TRANSFER};
    in.transfer.token = 99;
    in.transfer.target = target;
    in.transfer.deadline = KELP_NEVER;
    step(f, &in);
}

static void there_is_no_lease_while_leadership_is_handed_over(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    assert_true(client_writes(f, 1, 100, KELP_NEVER)); /* so that nobody is level yet */
    assert_lease(f, KELP_LEASE_HELD);
    transfer(f, 2);
    assert_lease(f, KELP_LEASE_HANDED);
    step(f, &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 99});
    take(f); /* it is over, and nobody was told to stand */
    assert_int_equal(answer_to(f, 99).outcome, KELP_REFUSED);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

static void there_is_no_lease_in_a_term_in_which_somebody_was_told_to_stand(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    transfer(f, 2);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_TIMEOUT_NOW, 2), 1);
    step(f, &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 99});
    take(f);
    assert_false(f->view.transferring);
    assert_lease(f, KELP_LEASE_HANDED); /* the order is still on its way */
    pass(f, 100 * MS);
    take(f);
    heartbeat_answered(f, 2);
    assert_lease(f, KELP_LEASE_HANDED);
    reads(f, 7, KELP_PROOF_LEASE);
    take(f);
    assert_int_equal(answer_to(f, 7).reason, KELP_R_NO_LEASE);
    fixture_close(f);
}

static void a_leader_that_steps_down_has_no_lease(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    assert_lease(f, KELP_LEASE_HELD);
    receive(f, heartbeat_of(f, 2, f->view.term.v + 1));
    assert_lease(f, KELP_LEASE_NOT_LEADER);
    fixture_close(f);
}

/* ---- settings ---- */

static void no_lease_goes_through_a_voter_with_other_settings(void **state)
{
    (void)state;
    struct fixture *f = ready_leader();
    fixture_forget(f);
    shows(f, 2, f->options.election_min / 2, f->options.drift_ppm);
    MARK_HIT(f, SETTINGS_DIFFER);
    assert_false(peer_view(f, 2)->alike);
    shows(f, 3, f->options.election_min, 2 * f->options.drift_ppm);
    assert_lease(f, KELP_LEASE_LAPSED);
    all_show_alike(f);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

static void a_voter_that_has_shown_nothing_counts_for_no_lease(void **state)
{
    (void)state;
    struct fixture *f = leader(.lease = LEASE, .log = "1@1");
    beat(f);
    answers_up_to(f, 2, 2);
    answers_up_to(f, 3, 2);
    assert_lease(f, KELP_LEASE_LAPSED);
    shows(f, 3, f->options.election_min, f->options.drift_ppm);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

static void a_leader_with_other_settings_than_the_configuration_has_no_lease(void **state)
{
    (void)state;
    struct kelp_config c = voters(3);
    c.election_min = 500 * MS;
    struct fixture *f = leader(.lease = LEASE, .config = &c);
    beat(f);
    answers_up_to(f, 2, 1);
    save_all(f);
    assert_true(f->view.committed_own_term);
    assert_lease(f, KELP_LEASE_DIFFERS);
    fixture_close(f);
}

/* It may not know yet what it must keep. */
static void a_voter_that_does_not_hold_the_configuration_counts_for_no_lease(void **state)
{
    (void)state;
    struct kelp_config c = voters(3), before = voters(3);
    c.index = 2;
    before.election_min = 500 * MS;
    struct fixture *f =
        leader(.lease = LEASE, .log = "1@1 2@1", .config = &c, .config_before = &before);
    all_show_alike(f);
    beat(f);
    answers_up_to(f, 2, 3);
    answers_up_to(f, 3, 1);
    save_all(f);
    assert_true(f->view.committed_own_term);
    assert_lease(f, KELP_LEASE_HELD);
    shows(f, 2, 1, 1);
    assert_lease(f, KELP_LEASE_LAPSED); /* 3 answers, and holds entry 1 only */
    fixture_forget(f);
    beat(f);
    answers_up_to(f, 3, 3);
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

static void settings_that_every_voter_shows_become_the_clusters(void **state)
{
    (void)state;
    struct kelp_config c = voters(4);
    c.members[3].role = KELP_LEARNER;
    struct fixture *f = leader(.lease = 400 * MS, .election_min = 500 * MS, .config = &c);
    beat(f);
    answers_up_to(f, 2, 1);
    save_all(f);
    shows(f, 2, 500 * MS, f->options.drift_ppm);
    save_all(f);
    assert_lease(f, KELP_LEASE_DIFFERS);
    shows(f, 3, 500 * MS, f->options.drift_ppm);
    fixture_forget(f);
    save_all(f);
    MARK_HIT(f, SETTINGS_WRITTEN);
    assert_int_equal(f->view.last, 2);
    struct kelp_config latest, committed;
    kelp_core_config(f->core, &latest, &committed);
    assert_int_equal(latest.election_min, 500 * MS);
    assert_int_equal(committed.election_min, 1000 * MS);
    assert_int_equal(latest.count, 4);
    assert_int_equal(latest.members[3].role, KELP_LEARNER);
    beat(f);
    answers_up_to(f, 2, 2);
    save_all(f);
    assert_int_equal(f->view.last, 2); /* once is enough */
    assert_lease(f, KELP_LEASE_HELD);
    fixture_close(f);
}

/* ---- the voter ---- */

static bool votes(struct fixture *f, const struct kelp_message *asked)
{
    fixture_forget(f);
    receive(f, *asked);
    save_all(f);
    const struct kelp_message *m = sent(f, KELP_MSG_VOTE_ANSWER, asked->from);
    return m != NULL && (m->flags & KELP_MF_GRANTED) != 0;
}

static void a_restarted_voter_withholds_its_vote_for_one_election_timeout(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3, .ran_before = true);
    struct kelp_message m = vote_of(f, 2, 4, "0@0"), pre = pre_vote_of(f, 2, 3, "0@0");
    assert_false(votes(f, &m));
    MARK_HIT(f, VOTE_WITHHELD);
    assert_int_equal(sent_count(f, KELP_MSG_VOTE_ANSWER, 2), 0); /* so it is asked again */
    assert_int_equal(f->view.term.v, 3);
    assert_false(votes(f, &pre));
    pass(f, 1000 * MS - 1);
    assert_false(votes(f, &m));
    pass(f, 1);
    assert_true(votes(f, &m));
    fixture_close(f);
}

static void a_first_start_promises_nothing(void **state)
{
    (void)state;
    struct fixture *f = node();
    struct kelp_message m = vote_of(f, 2, 4, "0@0");
    assert_true(votes(f, &m));
    fixture_close(f);
}

static void a_restarted_voter_votes_for_whom_its_leader_told_to_stand(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3, .ran_before = true);
    struct kelp_message m = vote_of(f, 2, 4, "0@0");
    m.flags |= KELP_MF_TRANSFER;
    assert_true(votes(f, &m));
    fixture_close(f);
}

static void a_restarted_node_that_votes_alone_need_not_wait(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 1, .ran_before = true);
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    fixture_close(f);
}

/* The leader that removed the others may still be there, and it does not count itself. */
static void a_restarted_node_that_may_not_be_alone_waits(void **state)
{
    (void)state;
    struct kelp_config c = voters(1), before = voters(2);
    c.index = c.id_highest = 2;
    struct fixture *f = node(.log = "1@1 2@1", .commit = 1, .config = &c, .config_before = &before,
                             .ran_before = true);
    save_all(f);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_true(f->deadline >= f->now + 1000 * MS);
    fixture_close(f);
}

/* Somebody who never led brings a higher term; the leader of the lower one still counts on us. */
static void a_higher_term_does_not_end_the_promise(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, heartbeat_of(f, 2, 3));
    struct kelp_message late = answer_of(f, 3, 0);
    late.type = KELP_MSG_VOTE_ANSWER;
    late.term.v = 5;
    receive(f, late);
    assert_int_equal(f->view.term.v, 5);
    struct kelp_message m = vote_of(f, 3, 6, "0@0");
    assert_false(votes(f, &m));
    MARK_HIT(f, VOTE_REFUSED_STICKY);
    pass(f, 1000 * MS);
    assert_true(votes(f, &m));
    fixture_close(f);
}

/* Its own vote is a vote. */
static void who_heard_a_leader_does_not_vote_for_itself(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3);
    receive(f, heartbeat_of(f, 2, 3));
    campaign(f);
    save_all(f);
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    receive(f, granted_of(f, 3));
    MARK_HIT(f, CAMPAIGN_HELD_HEARD);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.term.v, 3);
    fixture_close(f);
    f = node(.term = 3, .off = KELP_PRE_VOTE);
    receive(f, heartbeat_of(f, 2, 3));
    campaign(f);
    MARK_HIT(f, CAMPAIGN_HELD_HEARD);
    assert_int_equal(f->view.term.v, 3);
    fixture_close(f);
}

/* Shortening takes two steps: the first is to start every node with less. */
static void a_voter_keeps_the_longer_timeout_of_the_configuration(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 3, .election_min = 500 * MS);
    receive(f, heartbeat_of(f, 2, 3));
    struct kelp_message m = vote_of(f, 3, 4, "0@0");
    pass(f, 1000 * MS - 1);
    assert_int_equal(f->view.role, KELP_FOLLOWER); /* nor does it stand */
    assert_false(votes(f, &m));
    pass(f, 1);
    assert_true(votes(f, &m));
    fixture_close(f);
}

/* The second one, the entry, may still be taken back by a leader that knows the longer one only. */
static void a_shorter_timeout_counts_once_it_is_committed(void **state)
{
    (void)state;
    struct kelp_config c = voters(3), before = voters(3);
    c.index = 2;
    c.election_min = 500 * MS;
    struct fixture *f = node(.log = "1@1 2@1", .commit = 1, .term = 3, .election_min = 500 * MS,
                             .config = &c, .config_before = &before);
    receive(f, heartbeat_of(f, 2, 3));
    struct kelp_message m = vote_of(f, 3, 4, "2@1");
    pass(f, 600 * MS);
    assert_false(votes(f, &m));
    struct append_text text = {.term = 3, .prev = "2@1", .entries = "", .commit = 2, .from = 2};
    fixture_append(f, &text);
    assert_int_equal(f->view.commit, 2);
    pass(f, 500 * MS - 1);
    assert_false(votes(f, &m));
    pass(f, 1);
    assert_true(votes(f, &m));
    fixture_close(f);
}

/* ---- options ---- */

static void the_longest_lease_is_the_timeout_over_one_and_the_drift(void **state)
{
    (void)state;
    assert_int_equal(kelp_lease_max(1000 * MS, 0), 1000 * MS);
    assert_int_equal(kelp_lease_max(1000 * MS, 1000000), 500 * MS);
    assert_int_equal(kelp_lease_max(1001, 1000), 1000);
    assert_int_equal(kelp_lease_max(1000, 1000), 999); /* rounded down */
    assert_int_equal(kelp_lease_max(UINT64_MAX / 64, 1000000), UINT64_MAX / 128);
    assert_int_equal(kelp_lease_max(0, 5), 0);
}

static void a_lease_that_is_too_long_is_refused_with_the_arithmetic(void **state)
{
    (void)state;
    struct kelp_options o = kelp_options_default(1, 1);
    struct kelp_fault fault = {0};
    o.lease = kelp_lease_max(o.election_min, o.drift_ppm);
    assert_int_equal(kelp_options_check(&o, &fault), KELP_OK);
    o.lease++;
    assert_int_equal(kelp_options_check(&o, &fault), KELP_E_ARGUMENT);
    assert_non_null(strstr(fault.what, "1000000000 / (1 + 1000/1000000) = 999000999 ns"));
    o.lease = MS;
    o.off = KELP_STICKINESS;
    assert_int_equal(kelp_options_check(&o, &fault), KELP_E_ARGUMENT);
    o.off = 0;
    o.drift_ppm = 1000001;
    assert_int_equal(kelp_options_check(&o, &fault), KELP_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_to_a_former_life_is_not_one_to_this),
        cmocka_unit_test(a_read_by_lease_asks_nobody),
        cmocka_unit_test(a_lease_counts_from_when_the_answered_message_left),
        cmocka_unit_test(an_older_answer_proves_no_more_than_what_it_names),
        cmocka_unit_test(an_answer_to_what_was_never_sent_proves_nothing),
        cmocka_unit_test(a_very_late_answer_proves_nothing),
        cmocka_unit_test(a_lease_needs_a_quorum),
        cmocka_unit_test(learners_count_for_no_lease),
        cmocka_unit_test(a_joint_configuration_needs_both_halves),
        cmocka_unit_test(there_is_no_lease_before_the_first_commit_of_the_term),
        cmocka_unit_test(leases_are_off_unless_asked_for),
        cmocka_unit_test(without_a_lease_a_read_is_refused_or_takes_a_round),
        cmocka_unit_test(a_follower_refuses_a_read_by_lease_for_what_it_is),
        cmocka_unit_test(the_only_voter_always_has_a_lease),
        cmocka_unit_test(a_read_by_lease_waits_until_its_index_is_applied),
        cmocka_unit_test(a_read_by_lease_passes_reads_that_wait_for_a_round),
        cmocka_unit_test(there_is_no_lease_while_leadership_is_handed_over),
        cmocka_unit_test(there_is_no_lease_in_a_term_in_which_somebody_was_told_to_stand),
        cmocka_unit_test(a_leader_that_steps_down_has_no_lease),
        cmocka_unit_test(no_lease_goes_through_a_voter_with_other_settings),
        cmocka_unit_test(a_voter_that_has_shown_nothing_counts_for_no_lease),
        cmocka_unit_test(a_leader_with_other_settings_than_the_configuration_has_no_lease),
        cmocka_unit_test(a_voter_that_does_not_hold_the_configuration_counts_for_no_lease),
        cmocka_unit_test(settings_that_every_voter_shows_become_the_clusters),
        cmocka_unit_test(a_restarted_voter_withholds_its_vote_for_one_election_timeout),
        cmocka_unit_test(a_first_start_promises_nothing),
        cmocka_unit_test(a_restarted_voter_votes_for_whom_its_leader_told_to_stand),
        cmocka_unit_test(a_restarted_node_that_votes_alone_need_not_wait),
        cmocka_unit_test(a_restarted_node_that_may_not_be_alone_waits),
        cmocka_unit_test(a_higher_term_does_not_end_the_promise),
        cmocka_unit_test(who_heard_a_leader_does_not_vote_for_itself),
        cmocka_unit_test(a_voter_keeps_the_longer_timeout_of_the_configuration),
        cmocka_unit_test(a_shorter_timeout_counts_once_it_is_committed),
        cmocka_unit_test(the_longest_lease_is_the_timeout_over_one_and_the_drift),
        cmocka_unit_test(a_lease_that_is_too_long_is_refused_with_the_arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
