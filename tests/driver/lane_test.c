/* SPDX-License-Identifier: Apache-2.0 */
/* lane_test.c - snapshots that travel on a lane that is slow, stalls, or carries what nobody asked
 * for: a fetch ends, and what is sent for it has a bound. [§5.1.3] */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "driver/room.h"
#include "driver/scene.h"
#include "wire/fetch.h"

#define WINDOW (4u * WIRE_SNAPCHUNK_BYTES_MAX)

static uint64_t served(struct scene *s)
{
    return lab_status(s->lab, s->leader)->fetch.served_bytes;
}

/* A piece of a snapshot, and not an answer without bytes? */
static bool piece_of(const struct lab_packet *p, struct wire_piece *out)
{
    struct wire_frame frame;
    size_t used;
    struct kelp_bytes bytes = bytes_of(p->data, p->len);
    assert_int_equal(wire_frame_decode(bytes, WIRE_FRAME_BODY_MAX, &frame, &used, NULL), KELP_OK);
    if (frame.kind != WIRE_PIECE) return false;
    assert_int_equal(wire_piece_decode(frame.body, out, NULL), KELP_OK);
    return out->state == WIRE_PIECE_BYTES;
}

/* All of it fits the window and waits in the lane's queue; nothing comes for far longer than one
 * waits for an answer. */
static void what_comes_late_is_not_sent_again_behind_itself(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 610, MANY, 0);
    s.lab->snapshot_rate = SLOW;
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 4);
    uint64_t size = scene_fetch(&s).size;
    assert_true(size > 2 * SLOW); /* frames not counted: far more than comes in one patience */
    lab_stall(s.lab, s.leader, s.behind, 7000);
    scene_await_level(&s, 60000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    assert_int_equal(scene_fetch(&s).failed, 0);
    assert_int_equal(served(&s), size);
    scene_assert_same(&s, s.leader, s.behind);
    scene_free(&s);
}

/* One piece alone takes longer than one waits for an answer. */
static void a_lane_on_which_every_piece_is_late_brings_all_of_them(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 620, MANY / 10, 0);
    s.lab->snapshot_rate = 30;
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 10);
    uint64_t size = scene_fetch(&s).size;
    scene_await_level(&s, 300000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    assert_int_equal(scene_fetch(&s).failed, 0);
    assert_int_equal(served(&s), size);
    scene_free(&s);
}

static bool lose_the_end_once(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    uint64_t *lost = ctx;
    struct wire_piece m;
    (void)lab;
    bool end = piece_of(p, &m) && m.offset + m.bytes.len == m.size;
    if (!end || *lost > 0) return true;
    *lost = m.bytes.len;
    return false;
}

/* Nothing follows it that would show the gap. */
static void a_last_piece_that_is_lost_is_sent_again_alone(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 630, MANY, 0);
    uint64_t lost = 0;
    s.lab->watch = lose_the_end_once;
    s.lab->watch_ctx = &lost;
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 4);
    uint64_t size = scene_fetch(&s).size;
    scene_await_level(&s, 10000);
    assert_true(lost > 0);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    assert_int_equal(scene_fetch(&s).failed, 0);
    assert_int_equal(served(&s), size + lost);
    scene_free(&s);
}

/* A source that goes on although nobody asked it to, while nothing goes to the disk. */
static void what_comes_beyond_the_window_is_not_kept(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 640, 60, 0);
    struct lab_node *n = lab_node(s.lab, s.behind), *source = lab_node(s.lab, s.leader);
    source->machine->object_bytes = 60000;
    struct kelp_pos pos;
    scene_write(&s, 1);
    assert_int_equal(driver_snapshot_now(source->driver, &pos), KELP_OK);
    lab_run(s.lab, 500);
    lab_start(s.lab, s.behind);
    n->machine->object_bytes = 60000;
    scene_await_bytes(&s, 1, 40);
    const struct fetching *f = &n->driver->fetching;
    assert_true(f->size > 2 * WINDOW);
    n->hold_disk = true;
    for (int ms = 0; ms < 500; ms++) {
        peer_find(source->driver, s.behind)->serving.limit = UINT64_MAX;
        lab_run(s.lab, 1);
        assert_true(f->next - f->at < WINDOW + WIRE_SNAPCHUNK_BYTES_MAX);
    }
    assert_true(served(&s) > 2 * WINDOW);
    n->hold_disk = false;
    scene_await_level(&s, 20000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    assert_int_equal(scene_fetch(&s).failed, 0);
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_late_is_not_sent_again_behind_itself),
        cmocka_unit_test(a_last_piece_that_is_lost_is_sent_again_alone),
        cmocka_unit_test(a_lane_on_which_every_piece_is_late_brings_all_of_them),
        cmocka_unit_test(what_comes_beyond_the_window_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
