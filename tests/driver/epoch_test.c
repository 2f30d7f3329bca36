/* SPDX-License-Identifier: Apache-2.0 */
/* epoch_test.c - after a recovery by hand: whoever was not part of it is heard by nobody, and who
 * joins afterwards is of its epoch. [DESIGN §4] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "driver/room.h"
#include "wire/epoch.h"
#include "wire/frame.h"
#include "wire/message.h"

#define EPOCH epoch_after(0, 0xabc)

/* A cluster of three that all went through recovery 1. */
static struct lab *recovered(size_t all, uint64_t seed)
{
    struct lab *lab = lab_new(all, seed);
    lab->founders = 3;
    for (kelp_id id = 1; id <= 3; id++)
        lab_start(lab, id);
    (void)lab_await_leader(lab);
    lab_run(lab, 500);
    for (kelp_id id = 1; id <= 3; id++) {
        lab_crash(lab, id);
        lab_node(lab, id)->epoch = EPOCH;
    }
    return lab;
}

static void who_is_of_before_a_recovery_is_told_and_serves_no_more(void **state)
{
    (void)state;
    struct lab *lab = recovered(3, 1);
    lab_node(lab, 3)->epoch = 0;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 3000);
    assert_true(leader != 3 && lab_leader(lab) != 3);
    assert_true(lab_node(lab, 3)->refused);
    const struct driver_status *s = lab_status(lab, 3);
    assert_int_equal(s->state, DRIVER_FAULTED);
    assert_int_equal(s->fault.error, KELP_E_FOREIGN);
    assert_non_null(strstr(s->fault.what, "recovery 1"));
    assert_int_equal(lab_status(lab, leader)->state, DRIVER_RUNNING);
    lab_free(lab);
}

/* The later epoch is refused as well, but it is in the right. */
static void who_is_refused_by_the_past_goes_on(void **state)
{
    (void)state;
    struct lab *lab = recovered(3, 2);
    lab_node(lab, 1)->epoch = lab_node(lab, 2)->epoch = 0;
    lab_start(lab, 3);
    lab_start(lab, 1);
    lab_start(lab, 2);
    lab_run(lab, 3000);
    assert_true(lab_node(lab, 3)->refused);
    assert_int_equal(lab_status(lab, 3)->state, DRIVER_RUNNING);
    assert_true(lab_leader(lab) != 3); /* one of three leads nobody */
    lab_free(lab);
}

/* Nobody knows which of the two is right, so neither gives way. */
static void recoveries_apart_refuse_each_other_and_neither_ends(void **state)
{
    (void)state;
    struct lab *lab = recovered(3, 3);
    lab_node(lab, 3)->epoch = epoch_after(0, 0xdef);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 3000);
    assert_true(leader != 3 && lab_leader(lab) == leader);
    assert_true(lab_node(lab, 3)->refused);
    assert_int_equal(lab_status(lab, 3)->state, DRIVER_RUNNING);
    lab_free(lab);
}

/* A vote request of a far term, as node 4 would send it. */
static enum kelp_error vote_asked(struct lab *lab, kelp_id at, uint64_t term)
{
    uint8_t bytes[WIRE_FRAME_HEAD + WIRE_MESSAGE_MAX];
    struct kelp_message m = {.type = KELP_MSG_VOTE, .from = 4, .to = at, .id = 1};
    m.flags = KELP_MF_TRANSFER;
    m.term = kelp_term_of(term);
    m.vote.term = kelp_term_of(term);
    m.vote.last = kelp_pos_of(1000, term - 1);
    struct kelp_bytes body =
        bytes_of(bytes + WIRE_FRAME_HEAD, wire_message_encode(&m, bytes + WIRE_FRAME_HEAD));
    wire_frame_head_entries(bytes, 0, body, 0);
    struct wire_frame frame;
    size_t used;
    struct kelp_fault fault = {.error = KELP_OK};
    assert_int_equal(wire_frame_decode(bytes_of(bytes, WIRE_FRAME_HEAD + body.len),
                                       WIRE_FRAME_BODY_MAX, &frame, &used, &fault),
                     KELP_OK);
    struct driver *d = lab_node(lab, at)->driver;
    enum kelp_error error = driver_frame(d, lab->now, 4, KELP_LANE_CONTROL, 4000, &frame, &fault);
    driver_run(d, lab->now);
    return error;
}

/* Its hello was of before it had a cluster, and what it has been pledged to since nobody knows: it
 * may be the past. Its connection ends, and it shakes hands anew. */
static void a_connection_from_before_the_pledge_carries_nothing(void **state)
{
    (void)state;
    struct lab *lab = recovered(3, 4);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    struct driver *d = lab_node(lab, leader)->driver;
    uint64_t term = lab_status(lab, leader)->view.term.v;
    struct wire_hello hello = {.node = 4, .incarnation = 44};
    driver_connected(d, lab->now, 4, KELP_LANE_CONTROL, 4000, &hello);
    assert_int_equal(vote_asked(lab, leader, term + 100), KELP_E_FOREIGN);
    hello.cluster = lab_node(lab, leader)->cluster;
    driver_connected(d, lab->now, 4, KELP_LANE_CONTROL, 4000, &hello); /* of epoch 0 */
    assert_int_equal(vote_asked(lab, leader, term + 100), KELP_E_FOREIGN);
    assert_int_equal(lab_status(lab, leader)->view.term.v, term);
    hello.epoch = EPOCH;
    driver_connected(d, lab->now, 4, KELP_LANE_CONTROL, 4000, &hello);
    assert_int_equal(vote_asked(lab, leader, term + 100), KELP_OK);
    assert_true(lab_status(lab, leader)->view.term.v > term);
    lab_free(lab);
}

static void who_joins_a_recovered_cluster_is_of_its_epoch(void **state)
{
    (void)state;
    struct lab *lab = recovered(4, 5);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    struct wire_change add = {.count = 1};
    add.edits[0] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_VOTER};
    (void)snprintf(add.edits[0].address.text, WIRE_ADDRESS_MAX, "node4:7101");
    struct lab_client *c = lab_client(lab, leader);
    (void)lab_change(c, &add, 20000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    lab_client_free(c);
    lab_run(lab, 500);
    assert_true(lab_node(lab, 4)->epoch == EPOCH); /* in its directory */
    struct wire_hello hello;
    driver_hello(lab_node(lab, 4)->driver, &hello);
    assert_true(hello.epoch == EPOCH); /* and in what it says of itself */
    lab_crash(lab, 4);
    lab_start(lab, 4);
    lab_run(lab, 500);
    assert_int_equal(lab_status(lab, 4)->committed.config.count, 4);
    assert_true(lab_status(lab, 4)->view.applied >= lab_status(lab, leader)->view.applied);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_of_before_a_recovery_is_told_and_serves_no_more),
        cmocka_unit_test(who_is_refused_by_the_past_goes_on),
        cmocka_unit_test(recoveries_apart_refuse_each_other_and_neither_ends),
        cmocka_unit_test(a_connection_from_before_the_pledge_carries_nothing),
        cmocka_unit_test(who_joins_a_recovered_cluster_is_of_its_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
