/* SPDX-License-Identifier: Apache-2.0 */
/* handover_test.c - leadership goes to another node while clients write, and none of them notices.
 * [§3.10] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"

#define VALUES 60u

static kelp_id other_than(kelp_id a, kelp_id b)
{
    kelp_id id = 1;
    while (id == a || id == b)
        id++;
    return id;
}

/* Everything was done, and told in the order in which it was asked. */
static void all_done_in_order(struct lab_client *c, size_t from)
{
    for (size_t i = from; i < c->told_count; i++) {
        if (c->told[i].outcome != KELP_DONE)
            fail_msg("request %zu: %s %s", i, kelp_outcome_name(c->told[i].outcome),
                     kelp_reason_name(c->told[i].reason));
        assert_int_equal(c->told[i].token, i + 1);
    }
}

static void values_ascend(const struct lab_machine *m, uint64_t first, uint64_t count)
{
    uint64_t next = first;
    for (uint64_t i = 0; i < m->count; i++) {
        if (m->values[i] < first || m->values[i] >= first + count) continue;
        assert_int_equal(m->values[i], next);
        next++;
    }
    assert_int_equal(next, first + count);
}

static void a_transfer_is_asked_for_anywhere(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 11);
    lab_start_all(lab);
    for (unsigned round = 0; round < 6; round++) {
        kelp_id leader = lab_await_leader(lab);
        kelp_id target = other_than(leader, round % 2 == 0 ? leader : 1);
        if (target == leader) continue;
        struct lab_client *c = lab_client(lab, 1 + round % 3);
        (void)lab_transfer(c, target, 5000);
        lab_await(c, 1);
        assert_int_equal(c->told[0].outcome, KELP_DONE);
        assert_int_equal(c->told[0].leader, target);
        lab_run(lab, 20);
        assert_int_equal(lab_leader(lab), target);
        lab_client_free(c);
    }
    lab_free(lab);
}

static void clients_everywhere_see_no_error_and_keep_their_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct lab *lab = lab_new(3, seed);
        struct lab_client *clients[3];
        lab_start_all(lab);
        (void)lab_await_leader(lab);
        for (kelp_id id = 1; id <= 3; id++)
            clients[id - 1] = lab_client(lab, id);
        struct lab_client *admin = lab_client(lab, 1 + seed % 3);
        for (uint64_t i = 0; i < VALUES; i++) {
            for (kelp_id id = 1; id <= 3; id++) {
                (void)lab_write(clients[id - 1], id * 1000 + i, 5000);
                if (i % 7 == seed % 7) (void)lab_read(clients[id - 1], 5000);
            }
            if (i % 10 == 5) (void)lab_transfer(admin, 0, 5000);
            lab_run(lab, i % 4);
        }
        lab_run(lab, 3000);
        for (kelp_id id = 1; id <= 3; id++) {
            struct lab_client *c = clients[id - 1];
            assert_int_equal(c->told_count, c->tokens);
            all_done_in_order(c, 0);
            values_ascend(lab_node(lab, 1)->machine, id * 1000, VALUES);
            lab_client_free(c);
        }
        assert_int_equal(admin->told_count, 6);
        all_done_in_order(admin, 0);
        lab_client_free(admin);
        lab_free(lab);
    }
}

/* the target never has everything: what waited goes on at the old leader */
static void writes_wait_for_a_transfer_that_fails_and_go_on_in_order(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 5);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), target = other_than(leader, leader);
    kelp_id third = other_than(leader, target);
    uint64_t term = lab_status(lab, leader)->view.term.v;
    struct lab_client *here = lab_client(lab, leader), *there = lab_client(lab, third);
    struct lab_client *admin = lab_client(lab, third);
    lab_node(lab, target)->hold_disk = true;
    (void)lab_write(here, 500, 5000);
    lab_run(lab, 20);
    (void)lab_transfer(admin, target, 5000);
    lab_run(lab, 10);
    assert_true(lab_status(lab, leader)->view.transferring);
    for (uint64_t i = 0; i < 20; i++) {
        (void)lab_write(here, 1000 + i, 5000);
        (void)lab_write(there, 2000 + i, 5000);
        (void)lab_read(there, 5000);
        lab_run(lab, 1);
    }
    assert_int_equal(here->told_count, 1);
    assert_int_equal(there->told_count, 0);
    lab_await(admin, 1);
    assert_int_equal(admin->told[0].outcome, KELP_REFUSED);
    assert_int_equal(admin->told[0].reason, KELP_R_BEHIND);
    lab_await(here, 21);
    lab_await(there, 40);
    all_done_in_order(here, 0);
    all_done_in_order(there, 0);
    values_ascend(lab_node(lab, leader)->machine, 1000, 20);
    values_ascend(lab_node(lab, leader)->machine, 2000, 20);
    assert_int_equal(lab_status(lab, leader)->view.term.v, term);
    lab_client_free(here);
    lab_client_free(there);
    lab_client_free(admin);
    lab_free(lab);
}

static void reads_are_served_while_leadership_is_handed_over(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 6);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), target = other_than(leader, leader);
    struct lab_client *c = lab_client(lab, leader), *admin = lab_client(lab, leader);
    lab_node(lab, target)->hold_disk = true;
    (void)lab_write(c, 1, 5000);
    lab_await(c, 1);
    (void)lab_transfer(admin, target, 5000);
    lab_run(lab, 10);
    (void)lab_read(c, 5000);
    lab_run(lab, 10);
    assert_true(lab_status(lab, leader)->view.transferring);
    assert_int_equal(c->told_count, 2);
    assert_int_equal(c->told[1].outcome, KELP_DONE);
    lab_client_free(c);
    lab_client_free(admin);
    lab_free(lab);
}

static void who_asks_in_vain_is_told_why(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 7);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), follower = other_than(leader, leader);
    struct lab_client *c = lab_client(lab, follower);
    (void)lab_transfer(c, leader, 5000);
    (void)lab_transfer(c, 9, 5000);
    (void)lab_write(c, 1, 5000);
    lab_await(c, 3);
    assert_int_equal(c->told[0].outcome, KELP_REFUSED);
    assert_int_equal(c->told[0].reason, KELP_R_SELF);
    assert_int_equal(c->told[1].reason, KELP_R_UNKNOWN_MEMBER);
    assert_int_equal(c->told[2].outcome, KELP_DONE);
    lab_client_free(c);
    lab_free(lab);
}

static void a_leader_that_stops_hands_over_first(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 30; seed++) {
        struct lab *lab = lab_new(3, seed);
        lab_start_all(lab);
        kelp_id leader = lab_await_leader(lab);
        struct lab_client *c = lab_client(lab, other_than(leader, leader));
        struct driver *d = lab_node(lab, leader)->driver;
        assert_true(driver_retired(d)); /* nobody asked */
        for (uint64_t i = 0; i < 10; i++)
            (void)lab_write(c, 1000 + i, 5000);
        driver_retire(d, lab->now);
        kelp_ns begun = lab->now;
        while (!driver_retired(d) && lab->now < begun + 5000 * LAB_MS) {
            (void)lab_write(c, 1000 + c->tokens, 5000);
            lab_run(lab, 1);
        }
        assert_true(driver_retired(d));
        assert_true(lab->now - begun < 1000 * LAB_MS); /* no election timeout passed */
        assert_int_not_equal(lab_leader(lab), leader);
        uint64_t count = c->tokens;
        lab_crash(lab, leader);
        lab_run(lab, 3000);
        assert_int_equal(c->told_count, count);
        all_done_in_order(c, 0);
        lab_client_free(c);
        lab_free(lab);
    }
}

struct deafness {
    kelp_id node;
    kelp_ns until;
};

/* No Raft message reaches the node, forwards and their answers do. */
static bool deaf(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    const struct deafness *deafness = ctx;
    struct wire_frame frame;
    size_t used;
    assert_int_equal(
        wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &frame, &used, NULL),
        KELP_OK);
    bool hears = p->to != deafness->node || lab->now >= deafness->until;
    return hears || frame.kind != WIRE_MESSAGE;
}

static void who_has_not_heard_of_the_new_leader_is_still_answered(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 31);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), best = other_than(leader, leader);
    kelp_id third = other_than(leader, best); /* of equals the first is chosen */
    struct lab_client *c = lab_client(lab, third);
    struct driver *d = lab_node(lab, leader)->driver;
    struct deafness deafness = {.node = third, .until = lab->now + 60 * LAB_MS};
    lab->watch = deaf;
    lab->watch_ctx = &deafness;
    driver_retire(d, lab->now);
    while (!driver_retired(d)) {
        (void)lab_write(c, c->tokens, 5000);
        lab_run(lab, 1);
    }
    assert_true(lab->now >= deafness.until); /* a heartbeat is longer */
    lab_crash(lab, leader);
    lab_run(lab, 3000);
    assert_int_equal(c->told_count, c->tokens);
    all_done_in_order(c, 0);
    lab_client_free(c);
    lab_free(lab);
}

/* dragonboat@175f332. Whoever asks is a term behind, and so is the leader it knows; what it asked
 * for is done all the same, by the one who leads now. */
static void a_transfer_asked_a_term_behind_is_done(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 32);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), best = other_than(leader, leader);
    kelp_id third = other_than(leader, best);
    struct lab_client *mover = lab_client(lab, leader), *late = lab_client(lab, third);
    struct deafness deafness = {.node = third, .until = lab->now + 300 * LAB_MS};
    lab->watch = deaf;
    lab->watch_ctx = &deafness;
    (void)lab_transfer(mover, best, 5000);
    lab_await(mover, 1);
    assert_int_equal(mover->told[0].outcome, KELP_DONE);
    uint64_t term = lab_status(lab, best)->view.term.v;
    assert_true(lab_status(lab, third)->view.term.v < term);
    (void)lab_transfer(late, leader, 5000); /* and back again */
    lab_await(late, 1);
    assert_int_equal(late->told[0].outcome, KELP_DONE);
    assert_int_equal(late->told[0].leader, leader);
    assert_int_equal(lab_await_leader(lab), leader);
    lab_client_free(late);
    lab_client_free(mover);
    lab_free(lab);
}

static void who_cannot_hand_over_stops_all_the_same(void **state)
{
    (void)state;
    struct lab *lab = lab_new(1, 8);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    struct driver *d = lab_node(lab, leader)->driver;
    driver_retire(d, lab->now);
    assert_false(driver_retired(d));
    lab_run(lab, 5);
    assert_true(driver_retired(d));
    lab_free(lab);
    lab = lab_new(3, 9);
    lab_start(lab, 2); /* alone, and empty */
    lab_run(lab, 5);
    d = lab_node(lab, 2)->driver;
    driver_retire(d, lab->now);
    lab_run(lab, 5);
    assert_true(driver_retired(d));
    lab_free(lab);
}

/* 2 has said so before 1 looks for somebody; then 3 is left */
static void leadership_does_not_go_to_who_is_stopping(void **state)
{
    (void)state;
    for (uint64_t gap = 0; gap < 8; gap++) {
        struct lab *lab = lab_new(3, 40 + gap);
        lab_start_all(lab);
        kelp_id leader = lab_await_leader(lab), first = other_than(leader, leader);
        kelp_id third = other_than(leader, first);
        struct lab_client *c = lab_client(lab, third);
        struct driver *old = lab_node(lab, leader)->driver, *next = lab_node(lab, first)->driver;
        driver_retire(next, lab->now);
        lab_run(lab, gap); /* from "not heard of yet" to "known" */
        driver_retire(old, lab->now);
        kelp_ns begun = lab->now;
        while ((!driver_retired(old) || !driver_retired(next)) &&
               lab->now < begun + 5000 * LAB_MS) {
            (void)lab_write(c, 1000 + c->tokens, 5000);
            lab_run(lab, 1);
        }
        assert_true(driver_retired(old) && driver_retired(next));
        assert_true(lab->now - begun < 1000 * LAB_MS); /* no election timeout passed */
        assert_int_equal(lab_leader(lab), third);
        lab_run(lab, 50);
        assert_int_equal(c->told_count, c->tokens);
        all_done_in_order(c, 0);
        lab_client_free(c);
        lab_free(lab);
    }
}

static void who_is_stopping_is_not_told_to_lead(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 51);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), target = other_than(leader, leader);
    struct lab_client *c = lab_client(lab, leader);
    struct lab_client *third = lab_client(lab, other_than(leader, target));
    driver_retire(lab_node(lab, target)->driver, lab->now);
    lab_run(lab, 10);
    (void)lab_transfer(c, target, 5000);
    (void)lab_transfer(third, target, 5000); /* and the word is not about who answers */
    lab_await(c, 1);
    lab_await(third, 1);
    assert_int_equal(c->told[0].outcome, KELP_REFUSED);
    assert_int_equal(c->told[0].reason, KELP_R_SHUTDOWN);
    assert_int_equal(third->told[0].outcome, KELP_REFUSED);
    assert_int_equal(third->told[0].reason, KELP_R_SHUTDOWN);
    assert_int_equal(lab_leader(lab), leader);
    lab_client_free(third);
    lab_client_free(c);
    lab_free(lab);
}

static void a_transfer_is_cancelled_wherever_it_is(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 52);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), target = other_than(leader, leader);
    kelp_id third = other_than(leader, target);
    struct lab_client *here = lab_client(lab, leader), *there = lab_client(lab, third);
    lab_node(lab, target)->hold_disk = true; /* it never has everything */
    (void)lab_write(here, 1, 5000);
    lab_await(here, 1);
    (void)lab_transfer(there, target, 5000);
    (void)lab_transfer(there, target, 5000); /* waits behind it */
    lab_run(lab, 10);
    struct driver *d = lab_node(lab, third)->driver;
    driver_transfer_cancel(d, lab->now, there->line, 9); /* nobody asked */
    driver_transfer_cancel(d, lab->now, there->line, 2);
    driver_transfer_cancel(d, lab->now, there->line, 1);
    lab_await(there, 2);
    assert_int_equal(there->told[0].outcome, KELP_UNKNOWN); /* the leader goes on with it */
    assert_int_equal(there->told[0].reason, KELP_R_CANCELLED);
    assert_int_equal(there->told[1].outcome, KELP_REFUSED);
    assert_int_equal(there->told[1].reason, KELP_R_CANCELLED);
    lab_run(lab, 3000);
    (void)lab_transfer(here, target, 5000);
    lab_run(lab, 10);
    d = lab_node(lab, leader)->driver;
    driver_transfer_cancel(d, lab->now, here->line, 2);
    lab_await(here, 2);
    assert_int_equal(here->told[1].outcome, KELP_REFUSED); /* nobody was told */
    assert_int_equal(here->told[1].reason, KELP_R_CANCELLED);
    lab_run(lab, 3000);
    assert_int_equal(there->told_count, 2);
    assert_int_equal(here->told_count, 2);
    lab_client_free(here);
    lab_client_free(there);
    lab_free(lab);
}

/* What a drain is for: the node is stopped, and no client anywhere sees it. */
static void a_drained_node_leads_no_more_and_its_clients_write_on(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct lab *lab = lab_new(3, seed);
        struct lab_client *clients[3];
        lab_start_all(lab);
        kelp_id leader = lab_await_leader(lab);
        for (kelp_id id = 1; id <= 3; id++)
            clients[id - 1] = lab_client(lab, id);
        struct lab_client *admin = lab_client(lab, leader);
        for (uint64_t i = 0; i < VALUES; i++) {
            for (kelp_id id = 1; id <= 3; id++)
                (void)lab_write(clients[id - 1], id * 1000 + i, 5000);
            if (i == VALUES / 3) (void)lab_drain(admin, DRIVER_DRAIN, 5000);
            lab_run(lab, 1);
        }
        lab_await(admin, 1);
        assert_int_equal(admin->told[0].outcome, KELP_DONE);
        assert_int_not_equal(admin->told[0].leader, leader);
        for (kelp_id id = 1; id <= 3; id++) {
            lab_await(clients[id - 1], VALUES);
            all_done_in_order(clients[id - 1], 0);
        }
        kelp_id next = lab_leader(lab);
        assert_int_not_equal(next, leader);
        assert_true(lab_status(lab, leader)->view.drained);
        struct lab_client *c = lab_client(lab, next);
        (void)lab_transfer(c, leader, 5000); /* by name it is not led there */
        lab_await(c, 1);
        assert_int_equal(c->told[0].reason, KELP_R_DRAINED);
        (void)lab_drain(admin, DRIVER_UNDRAIN, 5000);
        lab_await(admin, 2);
        assert_int_equal(admin->told[1].outcome, KELP_DONE);
        lab_run(lab, 300); /* its next answer says so */
        (void)lab_transfer(c, leader, 5000);
        lab_await(c, 2);
        assert_int_equal(c->told[1].outcome, KELP_DONE);
        assert_int_equal(c->told[1].leader, leader);
        lab_client_free(c);
        lab_client_free(admin);
        for (kelp_id id = 1; id <= 3; id++)
            lab_client_free(clients[id - 1]);
        lab_free(lab);
    }
}

static void a_drain_waits_for_no_leader_and_is_refused_where_nothing_runs(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 3);
    lab->founders = 2;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    struct lab_client *waiting = lab_client(lab, 3);
    (void)lab_drain(waiting, DRIVER_DRAIN, 5000);
    lab_await(waiting, 1);
    assert_int_equal(waiting->told[0].outcome, KELP_REFUSED);
    assert_int_equal(waiting->told[0].reason, KELP_R_NOT_STARTED);
    lab_crash(lab, leader);
    lab_run(lab, 5000);
    struct lab_client *c = lab_client(lab, 3 - leader);
    (void)lab_drain(c, DRIVER_DRAIN, 5000);
    lab_run(lab, 10);
    assert_int_equal(c->told_count, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    assert_int_equal(c->told[0].leader, 0);
    lab_client_free(c);
    lab_client_free(waiting);
    lab_free(lab);
}

/* what a leader that ends has of a peer's is told, and not left to the peer's deadline */
static void who_ends_tells_peers_what_became_of_theirs(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 52);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), follower = other_than(leader, leader);
    struct lab_client *c = lab_client(lab, follower);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(lab, id)->hold_disk = id != leader; /* proposed, and committed by nobody */
    (void)lab_write(c, 1, 20000);
    lab_run(lab, 20);
    assert_int_equal(lab_status(lab, leader)->view.proposals_open, 1);
    assert_int_equal(c->told_count, 0);
    driver_shutdown(lab_node(lab, leader)->driver, lab->now);
    assert_true(driver_retired(lab_node(lab, leader)->driver));
    lab_run(lab, 20);
    assert_int_equal(c->told_count, 1);
    assert_int_equal(c->told[0].outcome, KELP_UNKNOWN);
    assert_int_equal(c->told[0].reason, KELP_R_SHUTDOWN);
    lab_client_free(c);
    lab_free(lab);
}

/* held by a leader that was handing over: it never happened, and whoever leads next does it */
static void what_who_ends_has_not_begun_is_asked_of_the_next_leader(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 53);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), target = other_than(leader, leader);
    kelp_id third = other_than(leader, target);
    struct lab_client *c = lab_client(lab, third), *admin = lab_client(lab, leader);
    lab_node(lab, target)->hold_disk = true; /* it never has everything */
    (void)lab_write(admin, 1, 5000);
    lab_run(lab, 20);
    (void)lab_transfer(admin, target, 20000);
    lab_run(lab, 10);
    assert_true(lab_status(lab, leader)->view.transferring);
    for (uint64_t i = 0; i < 5; i++)
        (void)lab_write(c, 700 + i, 20000);
    lab_run(lab, 20);
    assert_int_equal(c->told_count, 0);
    driver_shutdown(lab_node(lab, leader)->driver, lab->now);
    lab_node(lab, target)->hold_disk = false;
    lab_await(c, 5);
    all_done_in_order(c, 0);
    lab_run(lab, 100);
    values_ascend(lab_node(lab, third)->machine, 700, 5);
    lab_client_free(c);
    lab_client_free(admin);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transfer_is_asked_for_anywhere),
        cmocka_unit_test(clients_everywhere_see_no_error_and_keep_their_order),
        cmocka_unit_test(writes_wait_for_a_transfer_that_fails_and_go_on_in_order),
        cmocka_unit_test(reads_are_served_while_leadership_is_handed_over),
        cmocka_unit_test(who_asks_in_vain_is_told_why),
        cmocka_unit_test(a_leader_that_stops_hands_over_first),
        cmocka_unit_test(who_has_not_heard_of_the_new_leader_is_still_answered),
        cmocka_unit_test(a_transfer_asked_a_term_behind_is_done),
        cmocka_unit_test(who_cannot_hand_over_stops_all_the_same),
        cmocka_unit_test(leadership_does_not_go_to_who_is_stopping),
        cmocka_unit_test(who_is_stopping_is_not_told_to_lead),
        cmocka_unit_test(a_transfer_is_cancelled_wherever_it_is),
        cmocka_unit_test(a_drained_node_leads_no_more_and_its_clients_write_on),
        cmocka_unit_test(a_drain_waits_for_no_leader_and_is_refused_where_nothing_runs),
        cmocka_unit_test(who_ends_tells_peers_what_became_of_theirs),
        cmocka_unit_test(what_who_ends_has_not_begun_is_asked_of_the_next_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
