/* SPDX-License-Identifier: Apache-2.0 */
/* headway_test.c - a new voter whose snapshot takes longer than a member may stand still: it gets
 * its vote if it gets further, and is given up if it does not. [§4.2.1, §5.1.3] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"

#define NEW  4u     /* the one that joins */
#define IDLE 20000u /* ms that a new voter may stand still, as the lab's nodes are set up */

struct scene {
    struct lab *lab;
    struct lab_client *c; /* at the leader */
    kelp_id leader, other;
    uint64_t written;
    kelp_id only; /* nobody else says anything about founding to the new one; 0: all may */
};

static bool from_one_only(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    const struct scene *s = ctx;
    struct wire_frame frame;
    size_t used;
    (void)lab;
    if (s->only == 0 || p->to != NEW || p->from == s->only) return true;
    struct kelp_bytes bytes = bytes_of(p->data, p->len);
    assert_int_equal(wire_frame_decode(bytes, WIRE_FRAME_BODY_MAX, &frame, &used, NULL), 0);
    return frame.kind != WIRE_FOUND;
}

static void write_more(struct scene *s, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)lab_write(s->c, ++s->written, 20000);
        lab_run(s->lab, 2);
    }
    lab_await(s->c, s->c->tokens);
}

/* Nodes 1 to 3 have compacted, and were started since: node 4 needs a snapshot to begin with. */
static void scene_begin(struct scene *s, uint64_t seed, uint64_t rate)
{
    memset(s, 0, sizeof *s);
    s->lab = lab_new(NEW, seed);
    s->lab->founders = 3;
    s->lab->snapshot_every = 50;
    s->lab->snapshot_objects = 300;
    s->lab->snapshots.send_rate = rate;
    s->lab->forgets = true;
    s->lab->watch = from_one_only;
    s->lab->watch_ctx = s;
    for (kelp_id id = 1; id <= 3; id++)
        lab_start(s->lab, id);
    s->leader = lab_await_leader(s->lab);
    s->c = lab_client(s->lab, s->leader);
    write_more(s, 300);
    lab_run(s->lab, 500);
    lab_client_free(s->c);
    for (kelp_id id = 1; id <= 3; id++) {
        lab_crash(s->lab, id);
        lab_start(s->lab, id);
    }
    s->leader = lab_await_leader(s->lab);
    s->other = s->leader % 3 + 1;
    s->c = lab_client(s->lab, s->leader);
    for (kelp_id id = 1; id <= 3; id++)
        assert_int_equal(lab_status(s->lab, id)->entry1.len, 0);
    lab_start(s->lab, NEW);
    lab_run(s->lab, 500);
}

static void scene_free(struct scene *s)
{
    lab_client_free(s->c);
    lab_free(s->lab);
}

static void add(struct scene *s)
{
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = NEW, .verb = KELP_EDIT_ADD, .role = KELP_VOTER};
    (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node4:7101");
    (void)lab_change(s->c, &change, 3600000);
}

/* How the change ended, as it has to within so much time. */
static struct lab_told ends(struct scene *s, uint64_t ms)
{
    size_t before = s->c->told_count;
    for (uint64_t i = 0; i < ms && s->c->told_count == before; i++)
        lab_run(s->lab, 1);
    assert_int_equal(s->c->told_count, before + 1);
    return s->c->told[before];
}

static void it_may_take_long_to_restore(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 701, 0);
    lab_node(s.lab, NEW)->hold_fetch = true; /* its own file is not read back yet */
    add(&s);
    for (int i = 0; i < 20000 && lab_status(s.lab, NEW)->fetch.fetched == 0; i++)
        lab_run(s.lab, 1);
    assert_int_equal(lab_status(s.lab, NEW)->fetch.fetched, 1);
    lab_run(s.lab, 3 * IDLE);
    assert_int_equal(lab_node(s.lab, NEW)->machine->restores, 0);
    lab_node(s.lab, NEW)->hold_fetch = false;
    assert_int_equal(ends(&s, 20000).outcome, KELP_DONE);
    scene_free(&s);
}

static void it_may_take_long_to_fetch_from_who_does_not_lead(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 702, 120);
    s.only = s.other;
    add(&s);
    kelp_ns began = s.lab->now;
    for (int i = 0; i < 20000 && lab_status(s.lab, NEW)->fetch.from == 0; i++)
        lab_run(s.lab, 1);
    assert_int_equal(lab_status(s.lab, NEW)->fetch.from, s.other);
    s.only = 0;
    assert_int_equal(ends(&s, 600000).outcome, KELP_DONE);
    assert_int_equal(lab_leader(s.lab), s.leader);
    assert_true(s.lab->now - began > 2 * IDLE * LAB_MS);
    scene_free(&s);
}

static void who_never_gets_further_is_given_up(void **state)
{
    (void)state;
    for (int fits = 0; fits < 2; fits++) {
        struct scene s;
        scene_begin(&s, 703 + (uint64_t)fits, 0);
        struct lab_node *n = lab_node(s.lab, NEW);
        if (fits)
            n->hold_fetch = true; /* never read back */
        else
            n->head_error = KELP_E_NO_SPACE; /* it is fetched again and again */
        add(&s);
        struct lab_told told = ends(&s, 12 * IDLE);
        assert_int_equal(told.reason, KELP_R_BEHIND);
        assert_int_equal(told.member, NEW);
        scene_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_may_take_long_to_restore),
        cmocka_unit_test(it_may_take_long_to_fetch_from_who_does_not_lead),
        cmocka_unit_test(who_never_gets_further_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
