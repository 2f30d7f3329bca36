/* SPDX-License-Identifier: Apache-2.0 */
/* scene.c - see scene.h. */
#include "driver/scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "wire/frame.h"

static bool count_pieces(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    struct scene *s = ctx;
    struct wire_frame frame;
    size_t used;
    (void)lab;
    if (s->only != 0 && p->to == s->behind && p->from != s->only) {
        struct kelp_bytes bytes = bytes_of(p->data, p->len);
        assert_int_equal(wire_frame_decode(bytes, WIRE_FRAME_BODY_MAX, &frame, &used, NULL), 0);
        if (frame.kind == WIRE_FOUND) return false;
    }
    if (p->to != s->behind || p->lane != KELP_LANE_SNAPSHOT) return true;
    s->pieces++;
    s->piece_bytes += p->len;
    return true;
}

void scene_write(struct scene *s, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)lab_write(s->c, ++s->written, 20000);
        lab_run(s->lab, 2);
    }
    lab_await(s->c, s->c->told_count + (s->c->tokens - s->c->told_count));
}

void scene_free(struct scene *s)
{
    if (s->c != NULL) lab_client_free(s->c);
    lab_free(s->lab);
}

void scene_all_done(const struct scene *s)
{
    for (size_t i = 0; i < s->c->told_count; i++)
        assert_int_equal(s->c->told[i].outcome, KELP_DONE);
}

void scene_start(struct scene *s, size_t nodes, uint64_t seed, uint64_t objects, uint64_t rate)
{
    memset(s, 0, sizeof *s);
    s->lab = lab_new(nodes, seed);
    s->lab->snapshot_every = 50;
    s->lab->snapshot_objects = objects;
    s->lab->snapshots.send_rate = rate;
    s->lab->forgets = true;
    s->lab->watch = count_pieces;
    s->lab->watch_ctx = s;
    lab_start_all(s->lab);
    s->leader = lab_await_leader(s->lab);
    s->behind = s->leader % 3 + 1;
    s->other = s->behind % 3 + 1;
    s->c = lab_client(s->lab, s->leader);
    scene_write(s, 20);
    lab_run(s->lab, 300);
}

void scene_begin(struct scene *s, uint64_t seed, uint64_t objects, uint64_t rate)
{
    scene_start(s, 3, seed, objects, rate);
    kelp_index had = lab_status(s->lab, s->behind)->view.last;
    lab_crash(s->lab, s->behind);
    scene_write(s, 300);
    lab_run(s->lab, 500);
    assert_true(lab_status(s->lab, s->leader)->view.first > had + 1);
}

struct driver_fetch_status scene_fetch(struct scene *s)
{
    return lab_status(s->lab, s->behind)->fetch;
}

void scene_await_level(struct scene *s, uint64_t ms)
{
    const struct lab_node *n = lab_node(s->lab, s->behind);
    for (uint64_t i = 0; i < ms && n->machine->count < s->written; i++)
        lab_run(s->lab, 1);
    assert_int_equal(n->machine->count, s->written);
    assert_int_equal(n->machine->last, s->written);
}

void scene_await_bytes(struct scene *s, uint64_t part, uint64_t of)
{
    for (int i = 0; i < 30000; i++) {
        struct driver_fetch_status f = scene_fetch(s);
        if (f.size > 0 && f.bytes * of >= f.size * part) return;
        lab_run(s->lab, 1);
    }
    fail_msg("not so much was fetched within 30 s");
}

void scene_assert_same(struct scene *s, kelp_id a, kelp_id b)
{
    lab_run(s->lab, 500);
    assert_int_equal(rsm_applied(lab_node(s->lab, a)->rsm).index,
                     rsm_applied(lab_node(s->lab, b)->rsm).index);
    assert_int_equal(rsm_chain_hash(lab_node(s->lab, a)->rsm),
                     rsm_chain_hash(lab_node(s->lab, b)->rsm));
}

void scene_add(struct scene *s, kelp_id id, uint8_t role)
{
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = id, .verb = KELP_EDIT_ADD, .role = role};
    (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node%d:7101", (int)id);
    struct lab_client *c = lab_client(s->lab, s->leader);
    (void)lab_change(c, &change, 60000);
    for (int i = 0; i < 60000 && c->told_count == 0; i++)
        lab_run(s->lab, 1);
    assert_int_equal(c->told_count, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    lab_client_free(c);
}

void scene_without_entry1(struct scene *s, size_t nodes, uint64_t seed, uint64_t rate)
{
    memset(s, 0, sizeof *s);
    s->lab = lab_new(nodes, seed);
    s->lab->founders = 3;
    s->lab->snapshot_every = 50;
    s->lab->snapshot_objects = MANY;
    s->lab->snapshots.send_rate = rate;
    s->lab->forgets = true;
    s->lab->watch = count_pieces;
    s->lab->watch_ctx = s;
    s->behind = 4;
    for (kelp_id id = 1; id <= 3; id++)
        lab_start(s->lab, id);
    s->leader = lab_await_leader(s->lab);
    s->c = lab_client(s->lab, s->leader);
    scene_write(s, 300);
    lab_run(s->lab, 500);
    lab_client_free(s->c);
    for (kelp_id id = 1; id <= 3; id++) {
        assert_true(lab_status(s->lab, id)->view.first > 1);
        lab_crash(s->lab, id);
        lab_start(s->lab, id);
    }
    s->leader = lab_await_leader(s->lab);
    s->c = lab_client(s->lab, s->leader);
    for (kelp_id id = 1; id <= 3; id++)
        assert_int_equal(lab_status(s->lab, id)->entry1.len, 0);
}
