/* SPDX-License-Identifier: Apache-2.0 */
/* lane_test.c - snapshots that travel on a lane that is slow, stalls, or carries what nobody asked
 * for: a fetch ends, and what is sent for it has a bound. [§5.1.3] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Its connections stay, and whoever leads next offers another one. */
static void a_source_that_falls_silent_is_left_soon_if_its_pieces_came_quickly(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 625, MANY, SLOW);
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 3);
    assert_int_equal(scene_fetch(&s).from, s.leader);
    lab_node(s.lab, s.leader)->cut = true;
    for (int ms = 0; ms < 8000 && scene_fetch(&s).from != s.other; ms++)
        lab_run(s.lab, 1);
    assert_int_equal(scene_fetch(&s).from, s.other);
    lab_node(s.lab, s.leader)->cut = false;
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

/* Answers that tell whoever is behind that something is gone are counted; the leader's first offer
 * is kept, to come once more. */
struct offers {
    struct scene s;
    unsigned gone;
    struct lab_packet last;
};

static bool watch_offers(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    struct offers *o = ctx;
    struct wire_piece m = {.state = 0};
    (void)lab;
    if (p->to != o->s.behind) return true;
    bool piece = p->lane == KELP_LANE_SNAPSHOT && !piece_of(p, &m) && m.state == WIRE_PIECE_GONE;
    o->gone += piece;
    bool offer = p->lane == KELP_LANE_CONTROL && p->data[WIRE_FRAME_HEAD + 2] == KELP_MSG_SNAPSHOT;
    if (offer && o->last.data == NULL) {
        o->last = *p;
        o->last.data = memcpy(malloc(p->len), p->data, p->len);
    }
    return true;
}

/* With a part of it at the disk, and with nothing of it. */
static void an_offer_of_what_is_gone_changes_nothing(void **state)
{
    (void)state;
    for (int given = 0; given < 2; given++) {
        struct offers o = {.gone = 0};
        struct scene *s = &o.s;
        scene_begin(s, 650, MANY, SLOW);
        s->lab->watch = watch_offers;
        s->lab->watch_ctx = &o;
        struct lab_node *source = lab_node(s->lab, s->leader);
        source->hold_fetch = given == 0;
        lab_start(s->lab, s->behind);
        const struct fetching *f = &lab_node(s->lab, s->behind)->driver->fetching;
        if (given == 1)
            scene_await_bytes(s, 1, 4);
        else
            lab_run(s->lab, 1000);
        source->hold_fetch = true;
        lab_run(s->lab, 100);
        assert_true(f->given == (given == 1));
        assert_int_equal(f->phase, FETCH_ASKS);
        struct kelp_pos first = f->pos;
        scene_write(s, 120); /* another snapshot takes its place */
        assert_int_equal(o.gone, 0);
        source->hold_fetch = false;
        for (int ms = 0; ms < 10000 && o.gone == 0; ms++)
            lab_run(s->lab, 1);
        assert_int_equal(o.gone, 1);
        assert_non_null(o.last.data);
        assert_true(kelp_pos_equal(f->pos, first));
        lab_inject(s->lab, &o.last);
        lab_run(s->lab, given == 1 ? 2 : 1); /* what was begun is removed first */
        assert_int_equal(f->phase, FETCH_ASKS);
        assert_true(f->pos.index > first.index);
        scene_await_level(s, 60000);
        assert_int_equal(o.gone, 1);
        assert_int_equal(scene_fetch(s).fetched, 1);
        free(o.last.data);
        scene_free(s);
    }
}

/* The leader goes on offering what is gone there; every piece of what it has instead is late. */
static void what_took_the_place_of_an_offer_comes_on_a_slow_lane_too(void **state)
{
    (void)state;
    struct offers o = {.gone = 0};
    struct scene *s = &o.s;
    scene_begin(s, 655, 10, 0);
    s->lab->watch = watch_offers;
    s->lab->watch_ctx = &o;
    s->lab->snapshot_rate = 25;
    struct lab_node *source = lab_node(s->lab, s->leader);
    source->hold_fetch = true;
    lab_start(s->lab, s->behind);
    lab_run(s->lab, 1000);
    assert_true(scene_fetch(s).pos.index > 0);
    assert_non_null(o.last.data);
    scene_write(s, 120); /* another snapshot takes its place */
    source->hold_fetch = false;
    for (int ms = 0; ms < 300000 && scene_fetch(s).fetched == 0; ms += 10) {
        lab_inject(s->lab, &o.last);
        lab_run(s->lab, 10);
    }
    assert_int_equal(scene_fetch(s).fetched, 1);
    assert_true(scene_fetch(s).failed <= 1);
    scene_await_level(s, 20000);
    free(o.last.data);
    scene_free(s);
}

struct stranger {
    kelp_id id;
    unsigned gone;
    struct kelp_pos newest;
};

static bool watch_stranger(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    struct stranger *s = ctx;
    struct wire_piece m = {.state = 0};
    (void)lab;
    if (p->to != s->id || p->lane != KELP_LANE_SNAPSHOT) return true;
    assert_false(piece_of(p, &m));
    assert_int_equal(m.state, WIRE_PIECE_GONE);
    s->gone++;
    s->newest = m.newest;
    return true;
}

static void ask_as(struct scene *s, kelp_id from, struct kelp_pos pos, uint64_t number,
                   uint64_t window)
{
    uint8_t data[WIRE_FRAME_HEAD + WIRE_FETCH_MAX];
    struct wire_fetch ask = {.pos = pos, .ask = number, .window = window};
    struct kelp_bytes body =
        bytes_of(data + WIRE_FRAME_HEAD, wire_fetch_encode(&ask, data + WIRE_FRAME_HEAD));
    wire_frame_head(data, WIRE_FETCH, 0, &body, 1);
    struct lab_packet p = {.from = from,
                           .to = s->leader,
                           .lane = KELP_LANE_SNAPSHOT,
                           .data = data,
                           .len = WIRE_FRAME_HEAD + body.len};
    p.connection = lab_node(s->lab, from)->links[s->leader - 1][KELP_LANE_SNAPSHOT].connection;
    lab_inject(s->lab, &p);
    lab_run(s->lab, 100);
}

/* Anybody may shake hands who knows where to. */
static void who_is_no_member_fetches_nothing_and_learns_nothing(void **state)
{
    (void)state;
    struct scene s;
    scene_without_entry1(&s, 4, 661, 0);
    struct stranger stranger = {.id = 4};
    s.lab->watch = watch_stranger;
    s.lab->watch_ctx = &stranger;
    lab_start(s.lab, 4);
    lab_run(s.lab, 500);
    assert_int_equal(lab_status(s.lab, 4)->state, DRIVER_WAITING);
    struct kelp_pos newest = lab_status(s.lab, s.leader)->snapshot.last;
    ask_as(&s, 4, kelp_pos_of(1, 1), 1, WINDOW);
    assert_int_equal(stranger.gone, 1);
    assert_int_equal(stranger.newest.index, 0);
    ask_as(&s, 4, newest, 2, WINDOW);
    assert_int_equal(stranger.gone, 2);
    ask_as(&s, 4, kelp_pos_of(1, 1), WIRE_FETCH_NEWER, 0);
    assert_int_equal(stranger.gone, 3);
    assert_int_equal(stranger.newest.index, 0);
    assert_int_equal(served(&s), 0);
    /* as a member it is served, and not another directory in its place */
    s.lab->watch = NULL;
    scene_add(&s, 4, KELP_LEARNER);
    scene_await_level(&s, 20000);
    assert_true(served(&s) > 0);
    lab_run(s.lab, 1000);
    s.lab->watch = watch_stranger;
    peer_find(lab_node(s.lab, s.leader)->driver, 4)->incarnation ^= 2;
    ask_as(&s, 4, newest, UINT64_MAX / 2, WINDOW);
    assert_int_equal(stranger.gone, 4);
    scene_free(&s);
}

/* It has the head, and its window ends there; then it goes on with something else. */
static void who_asks_no_more_is_served_no_more_and_files_are_closed(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 680, MANY, 0);
    struct lab_node *n = lab_node(s.lab, s.behind), *source = lab_node(s.lab, s.leader);
    lab_start(s.lab, s.behind);
    scene_await_level(&s, 10000);
    lab_run(s.lab, 100);
    assert_int_equal(n->fetches_closed, 1); /* as soon as its machine was restored */
    assert_int_equal(source->fetches_closed, 0);
    struct kelp_pos newest = lab_status(s.lab, s.leader)->snapshot.last;
    ask_as(&s, s.behind, newest, UINT64_MAX / 2, 1);
    assert_int_equal(lab_status(s.lab, s.leader)->fetch.serving, 1);
    lab_run(s.lab, 29000);
    assert_int_equal(lab_status(s.lab, s.leader)->fetch.serving, 1);
    assert_int_equal(source->fetches_closed, 0);
    lab_run(s.lab, 1000);
    assert_int_equal(lab_status(s.lab, s.leader)->fetch.serving, 0);
    assert_int_equal(source->fetches_closed, 1);
    /* and again when it is asked again */
    uint64_t before = served(&s);
    ask_as(&s, s.behind, newest, UINT64_MAX / 2 + 1, WINDOW);
    assert_true(served(&s) > before);
    lab_run(s.lab, 31000);
    assert_int_equal(source->fetches_closed, 2);
    assert_int_equal(n->fetches_closed, 1);
    scene_free(&s);
}

struct quiet {
    kelp_id id;
    bool control; /* frames of other lanes go to it, too */
};

static bool pieces_alone(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    const struct quiet *q = ctx;
    (void)lab;
    return p->to != q->id || p->lane == KELP_LANE_SNAPSHOT || q->control;
}

/* It hears of nobody who leads since then, only pieces: they say in which term it is committed. */
static void who_installs_is_in_the_term_of_who_sent_it(void **state)
{
    (void)state;
    for (int joins = 0; joins < 2; joins++) {
        struct scene s;
        if (joins == 1)
            scene_without_entry1(&s, 4, 670, SLOW);
        else
            scene_begin(&s, 670, MANY, SLOW);
        lab_start(s.lab, s.behind);
        struct lab_client *c = lab_client(s.lab, s.leader);
        struct wire_change change = {.count = 1};
        change.edits[0] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER};
        (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node4:7101");
        if (joins == 1) {
            lab_run(s.lab, 500);
            (void)lab_change(c, &change, 600000);
        }
        scene_await_bytes(&s, 1, 4);
        struct quiet quiet = {.id = s.behind};
        s.lab->watch = pieces_alone;
        s.lab->watch_ctx = &quiet;
        kelp_id source = scene_fetch(&s).from; /* for who joins: any member, led or leading */
        assert_in_range(source, 1, 3);
        kelp_id heir = s.leader % 3 + 1 == s.behind ? s.behind % 3 + 1 : s.leader % 3 + 1;
        uint64_t before = lab_status(s.lab, s.leader)->view.term.v;
        (void)lab_transfer(c, heir, 20000);
        for (int ms = 0; ms < 60000 && lab_status(s.lab, s.behind)->view.first < 100; ms++)
            lab_run(s.lab, 1);
        uint64_t term = lab_status(s.lab, source)->view.term.v;
        assert_true(term > before);
        assert_int_equal(lab_status(s.lab, s.behind)->view.term.v, term);
        quiet.control = true;
        lab_client_free(s.c);
        s.leader = lab_await_leader(s.lab);
        s.c = lab_client(s.lab, s.leader);
        scene_await_level(&s, 20000);
        lab_client_free(c);
        scene_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_late_is_not_sent_again_behind_itself),
        cmocka_unit_test(a_source_that_falls_silent_is_left_soon_if_its_pieces_came_quickly),
        cmocka_unit_test(a_last_piece_that_is_lost_is_sent_again_alone),
        cmocka_unit_test(a_lane_on_which_every_piece_is_late_brings_all_of_them),
        cmocka_unit_test(what_comes_beyond_the_window_is_not_kept),
        cmocka_unit_test(an_offer_of_what_is_gone_changes_nothing),
        cmocka_unit_test(what_took_the_place_of_an_offer_comes_on_a_slow_lane_too),
        cmocka_unit_test(who_is_no_member_fetches_nothing_and_learns_nothing),
        cmocka_unit_test(who_asks_no_more_is_served_no_more_and_files_are_closed),
        cmocka_unit_test(who_installs_is_in_the_term_of_who_sent_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
