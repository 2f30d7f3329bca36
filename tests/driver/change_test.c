/* SPDX-License-Identifier: Apache-2.0 */
/* change_test.c - changes of the membership through drivers: addresses, incarnations, forwarding,
 * joining. [§4.1, §4.2.1] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "driver/room.h"
#include "wire/plan.h"

/* Nodes 1..founders are a cluster with a leader; the others are up and wait. */
static struct lab *cluster(size_t founders, size_t all, uint64_t seed)
{
    struct lab *lab = lab_new(all, seed);
    lab->founders = founders;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    return lab;
}

static struct wire_change change_of(enum kelp_edit_verb verb, kelp_id id, const char *address)
{
    struct wire_change c = {.count = 1};
    c.edits[0] = (struct wire_edit){.id = id, .verb = (uint8_t)verb};
    if (verb == KELP_EDIT_ADD || verb == KELP_EDIT_SET) c.edits[0].role = KELP_VOTER;
    if (address != NULL) (void)snprintf(c.edits[0].address.text, WIRE_ADDRESS_MAX, "%s", address);
    return c;
}

static struct wire_change add(kelp_id id)
{
    char address[WIRE_ADDRESS_MAX];
    (void)snprintf(address, sizeof address, "node%d:7101", (int)id);
    return change_of(KELP_EDIT_ADD, id, address);
}

/* Asked of a node, awaited; what it was told. */
static struct lab_told asked(struct lab *lab, kelp_id node, const struct wire_change *change)
{
    struct lab_client *c = lab_client(lab, node);
    (void)lab_change(c, change, 20000);
    lab_await(c, 1);
    struct lab_told told = c->told[0];
    lab_client_free(c);
    return told;
}

static const struct wire_config *config_of(struct lab *lab, kelp_id node)
{
    return &lab_status(lab, node)->committed;
}

static void assert_outcome(struct lab_told told, enum kelp_outcome outcome, enum kelp_reason reason)
{
    assert_int_equal(told.reason, reason);
    assert_int_equal(told.outcome, outcome);
}

static void a_waiting_node_is_added_and_votes(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 1);
    assert_int_equal(lab_status(lab, 4)->state, DRIVER_WAITING);
    struct wire_change change = add(4);
    struct lab_told told = asked(lab, lab_leader(lab), &change);
    assert_outcome(told, KELP_DONE, KELP_R_NONE);
    lab_run(lab, 500);
    const struct wire_config *c = config_of(lab, 4);
    assert_int_equal(lab_status(lab, 4)->state, DRIVER_RUNNING);
    assert_int_equal(c->config.count, 4);
    assert_int_equal(c->config.index, told.pos.index);
    assert_int_equal(c->config.members[3].role, KELP_VOTER);
    assert_int_equal(c->config.members[3].incarnation, lab_node(lab, 4)->incarnation);
    assert_string_equal(c->peer[3].text, "node4:7101");
    assert_string_equal(c->peer[0].text, "node1:7101");
    struct lab_client *client = lab_client(lab, 4); /* it serves, like any other */
    (void)lab_write(client, 7, 5000);
    lab_await(client, 1);
    assert_int_equal(client->told[0].outcome, KELP_DONE);
    lab_client_free(client);
    lab_free(lab);
}

static void a_change_is_forwarded_like_a_command(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 2);
    kelp_id follower = lab_leader(lab) % 3 + 1;
    struct wire_change change = add(4), bad = change_of(KELP_EDIT_PROMOTE, 9, NULL);
    assert_outcome(asked(lab, follower, &change), KELP_DONE, KELP_R_NONE);
    struct lab_told told = asked(lab, follower, &bad);
    assert_outcome(told, KELP_REFUSED, KELP_R_UNKNOWN_MEMBER);
    assert_int_equal(told.member, 9); /* and who it was about */
    lab_free(lab);
}

static void whoever_does_not_show_itself_is_not_added(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 3);
    lab_crash(lab, 4);
    lab_run(lab, 100);
    struct wire_change change = add(4);
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    (void)lab_change(c, &change, 20000);
    lab_run(lab, 100);
    struct driver_status *status = lab_status(lab, c->node);
    assert_int_equal(status->candidate_count, 1); /* but it is dialled */
    assert_int_equal(status->candidates[0].id, 4);
    assert_string_equal(status->candidates[0].peer.text, "node4:7101");
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_REFUSED, KELP_R_NOT_REACHED);
    assert_int_equal(c->told[0].member, 4);
    assert_int_equal(config_of(lab, c->node)->config.index, 1);
    assert_int_equal(lab_status(lab, c->node)->candidate_count, 0);
    lab_client_free(c);
    lab_free(lab);
}

static void a_change_waits_for_a_new_member_to_show_itself(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 4);
    lab_crash(lab, 4);
    lab_run(lab, 100);
    struct wire_change change = add(4);
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    (void)lab_change(c, &change, 20000);
    lab_run(lab, 500);
    assert_int_equal(c->told_count, 0);
    lab_start(lab, 4);
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    lab_client_free(c);
    lab_free(lab);
}

static void addresses_are_of_one_member_each(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 5, 5);
    kelp_id leader = lab_leader(lab);
    struct wire_change taken = change_of(KELP_EDIT_ADD, 4, "node2:7101");
    struct lab_told told = asked(lab, leader, &taken);
    assert_outcome(told, KELP_REFUSED, KELP_R_ADDRESS_USED);
    assert_int_equal(told.member, 4);
    struct wire_change twice = {.count = 2};
    twice.edits[0] = add(4).edits[0];
    twice.edits[1] = add(5).edits[0];
    twice.edits[1].address = twice.edits[0].address;
    assert_outcome(asked(lab, leader, &twice), KELP_REFUSED, KELP_R_ADDRESS_USED);
    struct wire_change move = change_of(KELP_EDIT_MOVE, 2, "elsewhere:9");
    assert_outcome(asked(lab, leader, &move), KELP_DONE, KELP_R_NONE);
    assert_string_equal(config_of(lab, leader)->peer[1].text, "elsewhere:9");
    assert_outcome(asked(lab, leader, &move), KELP_DONE, KELP_R_NOTHING_NEW);
    struct wire_change again = change_of(KELP_EDIT_ADD, 2, "node2:7101");
    assert_outcome(asked(lab, leader, &again), KELP_REFUSED, KELP_R_IS_ELSEWHERE);
    again = change_of(KELP_EDIT_ADD, 2, "elsewhere:9");
    told = asked(lab, leader, &again);
    assert_outcome(told, KELP_DONE, KELP_R_NOTHING_NEW);
    assert_int_equal(told.pos.index, config_of(lab, leader)->config.index);
    lab_free(lab);
}

static void a_replaced_node_is_gone_and_the_new_one_votes(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 6);
    kelp_id leader = lab_leader(lab), old = leader % 3 + 1;
    struct wire_change replace = {.count = 2};
    replace.edits[0] = change_of(KELP_EDIT_REMOVE, old, NULL).edits[0];
    replace.edits[1] = add(4).edits[0];
    assert_outcome(asked(lab, leader, &replace), KELP_DONE, KELP_R_NONE);
    lab_run(lab, 200);
    const struct wire_config *c = config_of(lab, leader);
    assert_int_equal(c->config.count, 3);
    assert_int_equal(c->config.joint, 0);
    assert_int_equal(c->config.members[2].id, 4);
    assert_string_equal(c->peer[2].text, "node4:7101");
    lab_run(lab, 4000);
    assert_true(lab_status(lab, old)->view.removed);
    assert_int_equal(lab_leader(lab), leader); /* undisturbed */
    lab_free(lab);
}

static void changes_asked_together_happen_one_after_the_other(void **state)
{
    (void)state;
    struct lab *lab = cluster(1, 5, 7);
    struct lab_client *c = lab_client(lab, 1);
    for (kelp_id id = 2; id <= 5; id++) {
        struct wire_change change = add(id);
        (void)lab_change(c, &change, 30000);
        (void)lab_write(c, id, 30000); /* in their order: a line is a sequence */
    }
    lab_await(c, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(c->told[i].outcome, KELP_DONE);
        assert_int_equal(c->told[i].token, i + 1);
    }
    assert_int_equal(config_of(lab, 1)->config.count, 5);
    for (kelp_id id = 5; id >= 2; id--) {
        struct wire_change change = change_of(KELP_EDIT_REMOVE, id, NULL);
        assert_outcome(asked(lab, 1, &change), KELP_DONE, KELP_R_NONE);
    }
    assert_int_equal(config_of(lab, 1)->config.count, 1);
    lab_client_free(c);
    lab_free(lab);
}

static void a_leader_that_removes_itself_answers_first(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 8);
    kelp_id leader = lab_leader(lab);
    struct wire_change change = change_of(KELP_EDIT_REMOVE, leader, NULL);
    assert_outcome(asked(lab, leader, &change), KELP_DONE, KELP_R_NONE);
    assert_true(lab_status(lab, leader)->view.removed);
    lab_crash(lab, leader);
    kelp_id next = lab_await_leader(lab);
    assert_true(next != leader);
    assert_int_equal(config_of(lab, next)->config.count, 2);
    lab_free(lab);
}

enum successor { SUCCESSOR_READY, SUCCESSOR_NONE };

/* Clients of every node write while the leader takes its own vote, asked of some node. What they
 * are told is definite: done, or at a node that is removed, that nothing happened. */
static void the_leader_goes(enum kelp_edit_verb verb, enum successor successor, uint64_t seed)
{
    struct lab *lab = cluster(3, 3, seed);
    kelp_id leader = lab_leader(lab);
    struct lab_client *clients[3], *admin = lab_client(lab, 1 + seed % 3);
    for (kelp_id id = 1; id <= 3; id++) {
        clients[id - 1] = lab_client(lab, id);
        if (id != leader && successor == SUCCESSOR_NONE)
            driver_retire(lab_node(lab, id)->driver, lab->now); /* said, and not done */
    }
    lab_run(lab, 20);
    struct wire_change change = change_of(verb, leader, NULL);
    kelp_ns silent_since = lab->now, silent_longest = 0;
    size_t heard = 0;
    for (uint64_t i = 0; i < 150; i++) {
        if (i == 30) (void)lab_change(admin, &change, 20000);
        for (kelp_id id = 1; id <= 3; id++)
            (void)lab_write(clients[id - 1], id * 1000 + i, 20000);
        lab_run(lab, 2);
        size_t told = clients[leader % 3]->told_count; /* of a node that stays */
        if (told > heard) silent_since = lab->now;
        heard = told;
        if (lab->now - silent_since > silent_longest) silent_longest = lab->now - silent_since;
    }
    lab_await(admin, 1);
    assert_outcome(admin->told[0], KELP_DONE, KELP_R_NONE);
    lab_run(lab, 25000);
    for (kelp_id id = 1; id <= 3; id++) {
        struct lab_client *c = clients[id - 1];
        assert_int_equal(c->told_count, c->tokens);
        for (size_t i = 0; i < c->told_count; i++) {
            bool gone = id == leader && verb == KELP_EDIT_REMOVE &&
                        c->told[i].outcome == KELP_REFUSED && c->told[i].reason == KELP_R_REMOVED;
            if (c->told[i].outcome != KELP_DONE && !gone)
                fail_msg("node %d, request %zu: %s %s", (int)id, i,
                         kelp_outcome_name(c->told[i].outcome),
                         kelp_reason_name(c->told[i].reason));
        }
        lab_client_free(c);
    }
    if (successor == SUCCESSOR_READY) /* nobody waited for an election timeout */
        assert_true(silent_longest < 100 * LAB_MS);
    lab_client_free(admin);
    lab_free(lab);
}

static void a_leader_that_takes_its_own_vote_leaves_nothing_uncertain(void **state)
{
    (void)state;
    for (uint64_t seed = 30; seed < 36; seed++) {
        the_leader_goes(KELP_EDIT_REMOVE, SUCCESSOR_READY, seed);
        the_leader_goes(KELP_EDIT_DEMOTE, SUCCESSOR_READY, seed);
        the_leader_goes(KELP_EDIT_REMOVE, SUCCESSOR_NONE, seed);
        the_leader_goes(KELP_EDIT_DEMOTE, SUCCESSOR_NONE, seed);
    }
}

/* What the leader and the members before say to each other is lost. */
static bool apart(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    const kelp_id *leader = ctx;
    (void)lab;
    return p->from > 3 || p->to > 3 || (p->from != *leader && p->to != *leader);
}

/* The leader adds 4 as a witness, and loses touch with everybody but 4 before that is committed.
 * The next one knows nothing of it and adds 4 as a voter: 4 must have the data it votes with. */
static void who_was_nearly_a_witness_has_the_data_it_votes_with(void **state)
{
    (void)state;
    struct lab *lab = lab_new(4, 41);
    lab->founders = 3;
    lab->trailing = 8;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), next;
    struct lab_client *c = lab_client(lab, leader);
    for (uint64_t i = 0; i < 40; i++)
        (void)lab_write(c, i, 20000);
    lab_await(c, 40);
    struct wire_change witness = add(4), voter = add(4);
    witness.edits[0].role = KELP_WITNESS;
    lab_run(lab, 200);
    lab->watch = apart;
    lab->watch_ctx = &leader;
    (void)lab_change(c, &witness, 20000);
    lab_run(lab, 500);
    assert_true(lab_status(lab, 4)->view.last > 30); /* sent for the next configuration's sake */
    lab_client_free(c);
    lab_crash(lab, leader);
    lab->watch = NULL;
    next = lab_await_leader(lab);
    assert_outcome(asked(lab, next, &voter), KELP_DONE, KELP_R_NONE);
    lab_run(lab, 500);
    assert_int_equal(config_of(lab, next)->config.members[3].role, KELP_VOTER);
    assert_int_equal(lab_node(lab, 4)->machine->count, 40);
    c = lab_client(lab, 4);
    (void)lab_read(c, 5000);
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    assert_int_equal(c->told[0].result[0], 40);
    lab_client_free(c);
    lab_free(lab);
}

/* scylladb#10010, scylladb#9981. The one who is asked forwards it, and is no member, or no voter,
 * any more when it is done; in the last case the leader goes as well. */
static void who_asks_for_its_own_removal_is_told_how_it_ended(void **state)
{
    (void)state;
    for (uint64_t seed = 60; seed < 64; seed++) {
        for (int which = 0; which < 3; which++) {
            struct lab *lab = cluster(5, 5, seed);
            kelp_id leader = lab_leader(lab), asker = leader % 5 + 1;
            enum kelp_edit_verb verb = which == 1 ? KELP_EDIT_DEMOTE : KELP_EDIT_REMOVE;
            struct wire_change change = change_of(verb, asker, NULL);
            if (which == 2) change.edits[change.count++] = change_of(verb, leader, NULL).edits[0];
            assert_outcome(asked(lab, asker, &change), KELP_DONE, KELP_R_NONE);
            lab_run(lab, 3000);
            kelp_id leads = lab_leader(lab);
            assert_true(leads != 0 && leads != asker && (which != 2 || leads != leader));
            assert_int_equal(config_of(lab, leads)->config.count, 5 - (which != 1) - (which == 2));
            lab_free(lab);
        }
    }
}

/* etcd-raft@92bfec1. The only voter confirms its rounds alone, and yet somebody else is waiting. */
static void a_learner_reads_through_the_only_voter(void **state)
{
    (void)state;
    struct lab *lab = cluster(1, 2, 70);
    struct wire_change change = add(2);
    change.edits[0].role = KELP_LEARNER;
    assert_outcome(asked(lab, 1, &change), KELP_DONE, KELP_R_NONE);
    struct lab_client *writer = lab_client(lab, 1), *reader = lab_client(lab, 2);
    for (uint64_t i = 1; i <= 3; i++)
        (void)lab_write(writer, i, 5000);
    lab_await(writer, 3);
    (void)lab_read(reader, 5000);
    lab_await(reader, 1);
    assert_outcome(reader->told[0], KELP_DONE, KELP_R_NONE);
    assert_int_equal(reader->told[0].result[0], 3);
    lab_client_free(reader);
    lab_client_free(writer);
    lab_free(lab);
}

/* Frames are lost and doubled; each change has one outcome, and what it says is so. */
static void changes_through_a_bad_network_have_one_outcome_each(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 24; seed++) {
        struct lab *lab = cluster(3, 5, seed);
        lab->loss = 30;
        lab->twice = 30;
        struct lab_client *c = lab_client(lab, 2);
        struct wire_change four = add(4), five = add(5);
        (void)lab_change(c, &four, 25000);
        (void)lab_change(c, &five, 25000);
        lab_await(c, 2);
        lab_run(lab, 2000);
        assert_int_equal(c->told_count, 2);
        for (size_t i = 0; i < 2; i++) {
            struct kelp_config config = config_of(lab, c->node)->config;
            bool there = false;
            for (size_t slot = 0; slot < config.count; slot++)
                there = there || (config.members[slot].id == 4 + i &&
                                  config.members[slot].role == KELP_VOTER);
            if (c->told[i].outcome == KELP_DONE) assert_true(there);
            if (c->told[i].outcome == KELP_LOST) assert_false(there);
        }
        lab_client_free(c);
        lab_free(lab);
    }
}

/* Asked of a node, awaited, read back. */
static struct kelp_plan planned(struct lab *lab, kelp_id node, const struct wire_change *change)
{
    struct lab_client *c = lab_client(lab, node);
    struct kelp_plan plan;
    (void)lab_plan(c, change, 20000);
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    assert_int_equal(wire_plan_decode(bytes_of(c->last, c->last_len), &plan, NULL), KELP_OK);
    assert_int_equal(plan.index, c->told[0].pos.index);
    lab_client_free(c);
    return plan;
}

static void a_plan_changes_nothing_and_then_the_change_does_what_it_said(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 30);
    kelp_id leader = lab_leader(lab), follower = leader % 3 + 1;
    struct wire_change change = add(4);
    struct kelp_plan plan = planned(lab, follower, &change); /* forwarded like a read */
    assert_false(plan.refused);
    assert_int_equal(plan.leader, leader);
    assert_int_equal(plan.before.voters, 3);
    assert_int_equal(plan.after.voters, 4);
    assert_int_equal(plan.way, KELP_PLAN_STEP);
    assert_int_equal(plan.warnings, KELP_PLAN_W_EVEN);
    lab_run(lab, 1000);
    assert_int_equal(config_of(lab, leader)->config.index, 1);
    change.if_index = plan.index;
    assert_outcome(asked(lab, follower, &change), KELP_DONE, KELP_R_NONE);
    assert_int_equal(config_of(lab, lab_leader(lab))->config.count, plan.count);
    lab_free(lab);
}

static void a_plan_is_refused_for_what_the_change_would_be(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 31);
    kelp_id leader = lab_leader(lab), gone = leader % 3 + 1, other = gone % 3 + 1;
    struct wire_change taken = change_of(KELP_EDIT_ADD, 4, "node2:7101"), four = add(4);
    struct kelp_plan plan = planned(lab, leader, &taken);
    assert_int_equal(plan.reason, KELP_R_ADDRESS_USED);
    assert_true(plan.refused);
    lab_crash(lab, 4);
    lab_crash(lab, gone);
    lab_run(lab, 3000);
    plan = planned(lab, leader, &four); /* dialled, and waited for, as the change would */
    assert_int_equal(plan.reason, KELP_R_NOT_REACHED);
    assert_int_equal(plan.member, 4);
    struct wire_change remove = change_of(KELP_EDIT_REMOVE, other, NULL);
    plan = planned(lab, leader, &remove);
    assert_int_equal(plan.reason, KELP_R_QUORUM_AT_RISK);
    assert_true(plan.refused && plan.forcible);
    assert_outcome(asked(lab, leader, &remove), KELP_REFUSED, KELP_R_QUORUM_AT_RISK);
    lab_free(lab);
}

static void whether_a_node_may_stop_is_told_while_another_change_waits(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 32);
    kelp_id leader = lab_leader(lab);
    lab_crash(lab, 4);
    lab_run(lab, 100);
    struct wire_change four = add(4), stop = change_of(KELP_EDIT_STOP, leader, NULL);
    struct wire_change remove = change_of(KELP_EDIT_REMOVE, leader, NULL);
    struct lab_client *c = lab_client(lab, leader), *second = lab_client(lab, leader);
    (void)lab_change(c, &four, 20000); /* waits for 4 */
    lab_run(lab, 100);
    (void)lab_plan(second, &remove, 20000);
    lab_await(second, 1);
    assert_outcome(second->told[0], KELP_REFUSED, KELP_R_PENDING);
    struct kelp_plan plan = planned(lab, leader % 3 + 1, &stop);
    assert_int_equal(c->told_count, 0);
    assert_int_equal(plan.way, KELP_PLAN_STOP);
    assert_false(plan.refused);
    assert_int_not_equal(plan.leader_next, leader);
    assert_int_not_equal(plan.leader_next, 0);
    lab_client_free(second);
    lab_client_free(c);
    lab_free(lab);
}

static void a_change_does_not_wait_behind_a_plan(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 33);
    kelp_id leader = lab_leader(lab), other = leader % 3 + 1;
    lab_crash(lab, 4);
    lab_run(lab, 100);
    struct wire_change four = add(4), demote = change_of(KELP_EDIT_DEMOTE, other, NULL);
    struct lab_client *asker = lab_client(lab, other), *c = lab_client(lab, leader);
    (void)lab_plan(asker, &four, 20000); /* waits for 4 to show itself */
    lab_run(lab, 50);
    assert_int_equal(asker->told_count, 0);
    demote.flags = KELP_CHANGE_NOWAIT;
    (void)lab_change(c, &demote, 20000);
    lab_run(lab, 50);
    assert_int_equal(c->told_count, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    assert_int_equal(asker->told_count, 1);
    assert_outcome(asker->told[0], KELP_REFUSED, KELP_R_PENDING);
    lab_client_free(asker);
    lab_client_free(c);
    lab_free(lab);
}

/* The time for which a new member is waited for ends while no change may begin: its driver waits
 * for that then, and is not due all the while. */
static void nobody_is_woken_by_a_wait_that_ended_while_leadership_moves(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 4, 34);
    kelp_id leader = lab_leader(lab), other = leader % 3 + 1;
    lab_crash(lab, 4);
    lab_run(lab, 100);
    struct wire_change four = add(4);
    struct lab_client *c = lab_client(lab, leader), *mover = lab_client(lab, leader);
    (void)lab_change(c, &four, 20000);
    lab_run(lab, 1);
    struct driver *d = lab_node(lab, leader)->driver;
    kelp_ns until = d->reach_at;
    assert_true(until > lab->now && until != KELP_NEVER);
    while (lab->now + 20 * LAB_MS < until)
        lab_run(lab, 1);
    lab_node(lab, other)->cut = true; /* it is not brought level, or does not stand */
    (void)lab_transfer(mover, other, 20000);
    while (lab->now < until + 20 * LAB_MS) {
        lab_run(lab, 1);
        assert_true(driver_run(d, lab->now) > lab->now);
    }
    assert_true(lab_status(lab, leader)->view.transferring);
    assert_int_equal(c->told_count, 0);
    lab_node(lab, other)->cut = false;
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_REFUSED, KELP_R_NOT_REACHED);
    lab_client_free(mover);
    lab_client_free(c);
    lab_free(lab);
}

static struct wire_change learner(kelp_id id, const char *address)
{
    struct wire_change c = change_of(KELP_EDIT_ADD, id, address);
    c.edits[0].role = KELP_LEARNER;
    return c;
}

static void who_knocks_is_listed_for_a_while(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 21);
    kelp_id leader = lab_leader(lab);
    lab_knock(lab, leader, KELP_ID_WAITING | 5, 55, "there:1");
    lab_knock(lab, leader, 9, 56, "there:2");
    const struct driver_status *status = lab_status(lab, leader);
    assert_int_equal(status->knock_count, 2);
    assert_int_equal(status->knocks[0].id, KELP_ID_WAITING | 5);
    assert_int_equal(status->knocks[0].incarnation, 55);
    assert_string_equal(status->knocks[1].peer.text, "there:2");
    lab_run(lab, 3500); /* it has not said so again */
    assert_int_equal(lab_status(lab, leader)->knock_count, 0);
    lab_free(lab);
}

static void who_was_removed_is_not_listed_as_one_that_could_be_added(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 32);
    kelp_id leader = lab_leader(lab);
    struct wire_change add = learner(9, NULL), gone = change_of(KELP_EDIT_REMOVE, 9, NULL);
    lab_knock(lab, leader, 9, 56, "there:2");
    assert_outcome(asked(lab, leader, &add), KELP_DONE, KELP_R_NONE);
    lab_knock(lab, leader, 9, 56, "there:2");
    assert_int_equal(lab_status(lab, leader)->knock_count, 0); /* it is a member */
    assert_outcome(asked(lab, leader, &gone), KELP_DONE, KELP_R_NONE);
    lab_knock(lab, leader, 9, 56, "there:2");
    assert_int_equal(lab_status(lab, leader)->knock_count, 0); /* and never will be again */
    lab_free(lab);
}

static void who_has_no_id_is_given_the_next_free_one_once(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 22);
    kelp_id leader = lab_leader(lab);
    lab_knock(lab, leader, KELP_ID_WAITING | 5, 55, "there:1");
    struct wire_change change = learner(0, "there:1");
    struct lab_told told = asked(lab, leader % 3 + 1, &change); /* through a follower, too */
    assert_outcome(told, KELP_DONE, KELP_R_NONE);
    assert_int_equal(told.member, 4);
    const struct wire_config *c = config_of(lab, leader);
    assert_int_equal(c->config.members[3].id, 4);
    assert_int_equal(c->config.members[3].incarnation, 55);
    assert_string_equal(c->peer[3].text, "there:1");
    assert_int_equal(lab_status(lab, leader)->knock_count, 0);
    told = asked(lab, leader, &change); /* asked once more: it is so */
    assert_outcome(told, KELP_DONE, KELP_R_NOTHING_NEW);
    assert_int_equal(told.member, 4);
    lab_knock(lab, leader, KELP_ID_WAITING | 6, 77,
              "there:1"); /* emptied, started again: another one */
    told = asked(lab, leader, &change);
    assert_outcome(told, KELP_REFUSED, KELP_R_MEMBER_DIFFERS);
    assert_int_equal(told.member, 4);
    lab_knock(lab, leader, KELP_ID_WAITING | 7, 78, "there:1"); /* nor are two of them the member */
    assert_outcome(asked(lab, leader, &change), KELP_REFUSED, KELP_R_MEMBER_DIFFERS);
    lab_free(lab);
}

static void no_id_is_given_above_the_highest_there_may_be(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 30);
    kelp_id leader = lab_leader(lab), highest = UINT64_C(1) << 62;
    struct wire_change last = learner(highest, NULL), any = learner(0, NULL);
    lab_knock(lab, leader, highest, 57, "there:3");
    assert_outcome(asked(lab, leader, &last), KELP_DONE, KELP_R_NONE);
    lab_knock(lab, leader, KELP_ID_WAITING | 5, 55, "there:1");
    assert_outcome(asked(lab, leader, &any), KELP_REFUSED, KELP_R_ID_USED);
    assert_int_equal(config_of(lab, leader)->config.count, 4);
    lab_free(lab);
}

static void of_two_directories_with_one_id_the_address_says_which_is_added(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 31);
    kelp_id leader = lab_leader(lab);
    struct wire_change here = learner(9, "here:1");
    struct lab_client *c = lab_client(lab, leader);
    lab_knock(lab, leader, 9, 61, "here:1");
    lab_knock(lab, leader, 9, 62, "there:1");
    (void)lab_change(c, &here, 20000);
    lab_run(lab, 1000);
    assert_int_equal(c->told_count, 0);
    lab_knock(lab, leader, 9, 61,
              "here:1"); /* each comes back as soon as the other takes its place */
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    assert_int_equal(config_of(lab, leader)->config.members[3].incarnation, 61);
    lab_client_free(c);
    lab_free(lab);
}

static void an_address_left_out_is_the_one_of_who_knocks(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 23);
    kelp_id leader = lab_leader(lab);
    struct wire_change change = learner(9, NULL), any = learner(0, NULL);
    lab_knock(lab, leader, 9, 56, "there:2");
    assert_outcome(asked(lab, leader, &change), KELP_DONE, KELP_R_NONE);
    assert_string_equal(config_of(lab, leader)->peer[3].text, "there:2");
    assert_int_equal(config_of(lab, leader)->config.members[3].incarnation, 56);
    assert_outcome(asked(lab, leader, &change), KELP_DONE, KELP_R_NOTHING_NEW);
    change.edits[0].role = KELP_VOTER;
    struct lab_told told =
        asked(lab, leader, &change); /* what to do instead stands in the reason */
    assert_outcome(told, KELP_REFUSED, KELP_R_IS_LEARNER);
    assert_int_equal(told.member, 9);
    lab_knock(lab, leader, KELP_ID_WAITING | 5, 55, "there:1");
    told = asked(lab, leader, &any); /* the only one without an id; 9 was the highest */
    assert_outcome(told, KELP_DONE, KELP_R_NONE);
    assert_int_equal(told.member, 10);
    lab_free(lab);
}

static void nobody_is_added_who_does_not_knock_or_is_not_meant_alone(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 24);
    kelp_id leader = lab_leader(lab);
    struct wire_change any = learner(0, NULL), there = learner(0, "there:3"),
                       nine = learner(9, NULL);
    assert_outcome(asked(lab, leader, &any), KELP_REFUSED, KELP_R_NOT_KNOCKING);
    assert_outcome(asked(lab, leader, &nine), KELP_REFUSED, KELP_R_NOT_KNOCKING);
    lab_knock(lab, leader, 9, 57, ""); /* nobody could dial it */
    assert_int_equal(lab_status(lab, leader)->knock_count, 0);
    assert_outcome(asked(lab, leader, &nine), KELP_REFUSED, KELP_R_NOT_KNOCKING);
    lab_knock(lab, leader, KELP_ID_WAITING | 5, 55, "there:1");
    lab_knock(lab, leader, KELP_ID_WAITING | 6, 56, "there:2");
    assert_outcome(asked(lab, leader, &any), KELP_REFUSED, KELP_R_NOT_KNOCKING);
    assert_outcome(asked(lab, leader, &there), KELP_REFUSED, KELP_R_NOT_KNOCKING);
    assert_int_equal(config_of(lab, leader)->config.count, 3);
    lab_free(lab);
}

static void a_change_waits_for_a_knock(void **state)
{
    (void)state;
    struct lab *lab = cluster(3, 3, 25);
    struct wire_change any = learner(0, NULL);
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    (void)lab_change(c, &any, 20000);
    lab_run(lab, 100);
    assert_int_equal(c->told_count, 0);
    lab_knock(lab, c->node, KELP_ID_WAITING | 5, 55, "there:1");
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    assert_int_equal(c->told[0].member, 4);
    lab_client_free(c);
    lab_free(lab);
}

static void plans_through_a_bad_network_are_told_once_and_are_never_uncertain(void **state)
{
    (void)state;
    for (uint64_t seed = 40; seed < 44; seed++) {
        struct lab *lab = cluster(3, 3, seed);
        struct lab_client *c = lab_client(lab, 2);
        lab->loss = 30;
        lab->twice = 30;
        for (kelp_id id = 1; id <= 8; id++) {
            struct wire_change stop = change_of(KELP_EDIT_STOP, id % 3 + 1, NULL);
            if (id == 4) lab_crash(lab, lab_leader(lab) != 2 ? lab_leader(lab) : 1);
            (void)lab_plan(c, &stop, 25000);
            lab_run(lab, 200);
        }
        lab_await(c, 8);
        for (size_t i = 0; i < c->told_count; i++)
            assert_true(c->told[i].outcome == KELP_DONE || c->told[i].outcome == KELP_REFUSED);
        assert_int_equal(c->told_count, 8);
        assert_int_equal(config_of(lab, 2)->config.index, 1);
        lab_client_free(c);
        lab_free(lab);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_waiting_node_is_added_and_votes),
        cmocka_unit_test(a_change_is_forwarded_like_a_command),
        cmocka_unit_test(whoever_does_not_show_itself_is_not_added),
        cmocka_unit_test(a_change_waits_for_a_new_member_to_show_itself),
        cmocka_unit_test(addresses_are_of_one_member_each),
        cmocka_unit_test(a_replaced_node_is_gone_and_the_new_one_votes),
        cmocka_unit_test(changes_asked_together_happen_one_after_the_other),
        cmocka_unit_test(a_leader_that_removes_itself_answers_first),
        cmocka_unit_test(a_leader_that_takes_its_own_vote_leaves_nothing_uncertain),
        cmocka_unit_test(who_was_nearly_a_witness_has_the_data_it_votes_with),
        cmocka_unit_test(who_asks_for_its_own_removal_is_told_how_it_ended),
        cmocka_unit_test(a_learner_reads_through_the_only_voter),
        cmocka_unit_test(changes_through_a_bad_network_have_one_outcome_each),
        cmocka_unit_test(a_plan_changes_nothing_and_then_the_change_does_what_it_said),
        cmocka_unit_test(a_plan_is_refused_for_what_the_change_would_be),
        cmocka_unit_test(whether_a_node_may_stop_is_told_while_another_change_waits),
        cmocka_unit_test(a_change_does_not_wait_behind_a_plan),
        cmocka_unit_test(nobody_is_woken_by_a_wait_that_ended_while_leadership_moves),
        cmocka_unit_test(plans_through_a_bad_network_are_told_once_and_are_never_uncertain),
        cmocka_unit_test(who_knocks_is_listed_for_a_while),
        cmocka_unit_test(who_was_removed_is_not_listed_as_one_that_could_be_added),
        cmocka_unit_test(who_has_no_id_is_given_the_next_free_one_once),
        cmocka_unit_test(no_id_is_given_above_the_highest_there_may_be),
        cmocka_unit_test(of_two_directories_with_one_id_the_address_says_which_is_added),
        cmocka_unit_test(an_address_left_out_is_the_one_of_who_knocks),
        cmocka_unit_test(nobody_is_added_who_does_not_knock_or_is_not_meant_alone),
        cmocka_unit_test(a_change_waits_for_a_knock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
