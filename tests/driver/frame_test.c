/* SPDX-License-Identifier: Apache-2.0 */
/* frame_test.c - what a driver believes of a frame whose hash leaves the entries out, and where its
 * answers go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "driver/room.h"

/* The first frame with entries for a node; it does not arrive. */
struct caught {
    kelp_id to;
    struct lab_packet packet;
};

static bool catch_entries(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    struct caught *c = ctx;
    struct wire_frame f;
    size_t used;
    (void)lab;
    assert_int_equal(
        wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &f, &used, NULL),
        KELP_OK);
    if (c->packet.data != NULL || p->to != c->to || f.hashed == f.body.len) return true;
    c->packet = *p;
    c->packet.data = malloc(p->len);
    assert_non_null(c->packet.data);
    memcpy(c->packet.data, p->data, p->len);
    return false;
}

/* The caught frame, given to the node as it would come from its connection. */
static enum kelp_error give(struct lab *lab, const struct lab_packet *p)
{
    struct wire_frame f;
    struct kelp_fault fault = {.error = KELP_OK};
    size_t used;
    enum kelp_error error =
        wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &f, &used, NULL);
    if (error != KELP_OK) return error;
    error = driver_frame(lab_node(lab, p->to)->driver, lab->now, p->from, (enum kelp_lane)p->lane,
                         p->connection, &f, &fault);
    assert_int_equal(fault.error, error);
    return error;
}

static void assert_every_damaged_byte_is_refused(struct lab *lab, const struct lab_packet *p)
{
    for (size_t i = 0; i < p->len; i++) {
        p->data[i] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(give(lab, p), KELP_OK);
        p->data[i] ^= (uint8_t)(1u << i % 8);
    }
}

static void entries_damaged_on_the_way_are_refused_and_not_kept(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 12);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 300);
    struct caught c = {.to = leader == 1 ? 2 : 1};
    lab->watch = catch_entries;
    lab->watch_ctx = &c;
    struct lab_client *client = lab_client(lab, leader);
    (void)lab_write(client, 1, 5000);
    kelp_index last = lab_status(lab, c.to)->view.last;
    lab_await(client, 1); /* by the other follower */
    assert_non_null(c.packet.data);
    assert_int_equal(lab_status(lab, c.to)->view.last, last);
    assert_every_damaged_byte_is_refused(lab, &c.packet);
    assert_int_equal(lab_status(lab, c.to)->view.last, last);
    assert_int_equal(give(lab, &c.packet), KELP_OK);
    assert_int_equal(lab_status(lab, c.to)->view.last, last + 1);
    /* one that ends takes nothing in any more, but knows a bad connection when it sees one */
    driver_shutdown(lab_node(lab, c.to)->driver, lab->now);
    assert_int_equal(give(lab, &c.packet), KELP_OK);
    assert_every_damaged_byte_is_refused(lab, &c.packet);
    free(c.packet.data);
    lab_client_free(client);
    lab_free(lab);
}

/* ---- where answers go ---- */

/* What a follower was asked last, and where its last answer went. */
struct exchange {
    kelp_id follower;
    struct lab_packet asked, answered;
    enum kelp_message_type question; /* which that answer followed */
    size_t answers;
};

static bool note_exchange(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    struct exchange *e = ctx;
    static struct wire_config configs[2]; /* large */
    struct kelp_entry_info infos[8];
    struct kelp_message m;
    struct kelp_bytes entries;
    struct wire_frame f;
    size_t used;
    (void)lab;
    if (p->from != e->follower && p->to != e->follower) return true;
    assert_int_equal(
        wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &f, &used, NULL),
        KELP_OK);
    if (f.kind != WIRE_MESSAGE) return true;
    assert_int_equal(wire_message_decode(f.body, f.hashed, &m, infos, 8, &entries, configs, NULL),
                     KELP_OK);
    if (m.type == KELP_MSG_APPEND || m.type == KELP_MSG_HEARTBEAT) {
        e->asked = *p;
        e->question = (enum kelp_message_type)m.type;
    } else if (m.type == KELP_MSG_ANSWER) {
        e->answered = *p;
        e->answers++;
    }
    return true;
}

static void answers_go_back_on_the_connection_they_were_asked_on(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 13);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 300);
    struct exchange e = {.follower = leader == 1 ? 2 : 1};
    struct lab_node *follower = lab_node(lab, e.follower);
    lab->watch = note_exchange;
    lab->watch_ctx = &e;
    lab_run(lab, 200);
    assert_true(e.answers > 0 && e.question == KELP_MSG_HEARTBEAT);
    assert_int_equal(e.answered.lane, KELP_LANE_CONTROL);
    assert_int_equal(e.answered.connection, e.asked.connection);

    struct lab_client *client = lab_client(lab, leader);
    follower->hold_disk = true; /* the answer waits until the entry is durable */
    size_t before = e.answers;
    (void)lab_write(client, 1, 100);
    while (e.question != KELP_MSG_APPEND)
        lab_run(lab, 1);
    assert_int_equal(e.asked.lane, KELP_LANE_ENTRIES);
    uint64_t asked_on = e.asked.connection;
    lab_run(lab, 1);
    assert_int_equal(e.answers, before);
    follower->hold_disk = false;
    lab_run(lab, 2);
    assert_int_equal(e.answers, before + 1);
    assert_int_equal(e.answered.lane, KELP_LANE_ENTRIES);
    assert_int_equal(e.answered.connection, asked_on);

    follower->hold_disk = true;
    e.question = KELP_MSG_HEARTBEAT;
    (void)lab_write(client, 1, 100);
    while (e.question != KELP_MSG_APPEND)
        lab_run(lab, 1);
    lab_connect_newer(lab, e.follower, leader, KELP_LANE_ENTRIES);
    lab_disconnect_older(lab, e.follower, leader, KELP_LANE_ENTRIES);
    before = e.answers;
    follower->hold_disk = false;
    lab_run(lab, 2); /* the connection it was asked on is gone: the answer is not */
    assert_true(e.answers > before);

    follower->hold_disk = true;
    follower->no_room = true;
    e.question = KELP_MSG_HEARTBEAT;
    (void)lab_write(client, 1, 100);
    while (e.question != KELP_MSG_APPEND)
        lab_run(lab, 1);
    before = e.answers;
    follower->hold_disk = false;
    lab_run(lab, 2); /* the connection it was asked on is full: the answer finds another way */
    assert_true(e.answers > before);
    assert_int_equal(e.answered.lane, KELP_LANE_CONTROL);
    lab_client_free(client);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_damaged_on_the_way_are_refused_and_not_kept),
        cmocka_unit_test(answers_go_back_on_the_connection_they_were_asked_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
