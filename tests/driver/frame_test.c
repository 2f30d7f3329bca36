/* SPDX-License-Identifier: Apache-2.0 */
/* frame_test.c - what a driver believes of a frame whose hash leaves the entries out. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_damaged_on_the_way_are_refused_and_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
