/* SPDX-License-Identifier: Apache-2.0 */
/* piece_test.c - pieces of a snapshot that come once more when it is over, and pieces with which
 * something is wrong although their frames are whole. [§5.1.3] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/room.h"
#include "driver/scene.h"
#include "wire/fetch.h"
#include "wire/snaphead.h"

/* A piece of a snapshot with bytes for whoever is behind? */
static bool piece_of(const struct scene *s, const struct lab_packet *p, struct wire_piece *out)
{
    struct wire_frame frame;
    size_t used;
    if (p->to != s->behind || p->lane != KELP_LANE_SNAPSHOT) return false;
    struct kelp_bytes bytes = bytes_of(p->data, p->len);
    assert_int_equal(wire_frame_decode(bytes, WIRE_FRAME_BODY_MAX, &frame, &used, NULL), KELP_OK);
    if (frame.kind != WIRE_PIECE) return false;
    assert_int_equal(wire_piece_decode(frame.body, out, NULL), KELP_OK);
    return out->state == WIRE_PIECE_BYTES;
}

/* ---- once more ---- */

#define KEPT_MAX 4096u

struct kept {
    struct scene s;
    struct lab_packet pieces[KEPT_MAX]; /* all of them, the last one ends the file */
    size_t count;
    bool whole;
};

static bool keep_pieces(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    struct kept *k = ctx;
    struct wire_piece m;
    (void)lab;
    if (k->whole || !piece_of(&k->s, p, &m)) return true;
    assert_true(k->count < KEPT_MAX);
    k->pieces[k->count] = *p;
    k->pieces[k->count].data = malloc(p->len);
    assert_non_null(k->pieces[k->count].data);
    memcpy(k->pieces[k->count].data, p->data, p->len);
    k->count++;
    k->whole = m.offset + m.bytes.len == m.size;
    return true;
}

static void send_again(struct kept *k)
{
    for (size_t i = k->count; i > 0; i--) /* the last one first */
        lab_inject(k->s.lab, &k->pieces[i - 1]);
    lab_run(k->s.lab, 100);
}

static void assert_at_rest(struct kept *k)
{
    const struct lab_node *n = lab_node(k->s.lab, k->s.behind);
    assert_int_equal(scene_fetch(&k->s).pos.index, 0);
    assert_int_equal(scene_fetch(&k->s).fetched, 1);
    assert_int_equal(scene_fetch(&k->s).failed, 0);
    assert_int_equal(n->machine->restores, 1);
    assert_int_equal(memstore_pieces(n->store).len, 0);
}

/* While its machine reads what has come, when that is over, and when the log has gone on. */
static void what_comes_once_more_when_all_is_there_begins_nothing(void **state)
{
    (void)state;
    struct kept k = {.count = 0};
    scene_begin(&k.s, 710, MANY, 0);
    k.s.lab->watch = keep_pieces;
    k.s.lab->watch_ctx = &k;
    struct lab_node *n = lab_node(k.s.lab, k.s.behind);
    lab_start(k.s.lab, k.s.behind);
    n->hold_fetch = true;
    for (int ms = 0; ms < 10000 && scene_fetch(&k.s).fetched == 0; ms++)
        lab_run(k.s.lab, 1);
    assert_true(k.whole && k.count > 10);
    assert_int_equal(n->machine->restores, 0);
    struct kelp_pos pos = scene_fetch(&k.s).pos;
    assert_true(pos.index > 0);
    send_again(&k);
    assert_true(kelp_pos_equal(scene_fetch(&k.s).pos, pos));
    n->hold_fetch = false;
    scene_await_level(&k.s, 10000);
    assert_at_rest(&k);
    send_again(&k);
    assert_at_rest(&k);
    scene_write(&k.s, 20);
    send_again(&k);
    scene_await_level(&k.s, 1000);
    assert_at_rest(&k);
    scene_assert_same(&k.s, k.s.leader, k.s.behind);
    for (size_t i = 0; i < k.count; i++)
        free(k.pieces[i].data);
    scene_free(&k.s);
}

/* ---- wrong ---- */

enum wrong {
    A_BIT_OF_THE_HEAD,
    ANOTHER_END,
    ANOTHER_CLUSTER,
    ANOTHER_SIZE,
    WITHOUT_A_STATE,
    A_BIT_OF_A_CHUNK,
    ANOTHER_CHUNK,
    CHUNK_OF_ANOTHER_SIZE,
    WRONGS
};

struct spoiled {
    struct scene s;
    enum wrong how;
    uint8_t chunk[WIRE_SNAPCHUNK_BYTES_MAX]; /* the first one that came */
    size_t chunk_len;
    unsigned count;
};

static size_t head_spoiled(enum wrong how, struct kelp_bytes from, uint8_t *out)
{
    static uint8_t bytes[WIRE_SNAPHEAD_BYTES_MAX];
    struct wire_snaphead head;
    size_t used = 0;
    memcpy(bytes, from.data, from.len);
    assert_int_equal(wire_snaphead_decode(bytes_of(bytes, from.len), &head, &used, NULL), KELP_OK);
    if (how == ANOTHER_END) head.pos.index++;
    if (how == ANOTHER_CLUSTER) head.cluster.lo ^= 1;
    if (how == ANOTHER_SIZE) head.object_bytes++;
    if (how == WITHOUT_A_STATE) {
        head.hollow = true;
        head.object_count = head.object_bytes = 0;
        head.own = bytes_of(NULL, 0);
    }
    return wire_snaphead_encode(&head, out, WIRE_SNAPHEAD_BYTES_MAX);
}

/* What the piece holds is changed; its frame is made anew, as by a source that is wrong itself. */
static void spoil(struct spoiled *x, struct wire_piece *m, uint8_t *data)
{
    if (x->how == A_BIT_OF_THE_HEAD || x->how == A_BIT_OF_A_CHUNK) {
        memcpy(data, m->bytes.data, m->bytes.len);
        data[m->bytes.len / 2] ^= 4;
    } else if (x->how == ANOTHER_CHUNK) {
        memcpy(data, x->chunk, x->chunk_len);
        m->bytes.len = x->chunk_len;
    } else if (x->how == CHUNK_OF_ANOTHER_SIZE) {
        memcpy(data, m->bytes.data, m->bytes.len);
        m->size++;
    } else {
        m->bytes.len = head_spoiled(x->how, m->bytes, data);
        assert_true(m->bytes.len > 0);
    }
}

static bool spoil_one(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    static uint8_t data[WIRE_FRAME_HEAD + WIRE_PIECE_MAX], bytes[WIRE_SNAPCHUNK_BYTES_MAX];
    struct spoiled *x = ctx;
    struct wire_piece m;
    if (x->count > 0 || !piece_of(&x->s, p, &m)) return true;
    bool head = m.offset == 0, first = !head && x->chunk_len == 0;
    if (first) {
        memcpy(x->chunk, m.bytes.data, m.bytes.len);
        x->chunk_len = m.bytes.len;
    }
    if (head != (x->how <= WITHOUT_A_STATE) || first) return true;
    x->count++;
    spoil(x, &m, bytes);
    m.bytes.data = bytes;
    size_t len = wire_piece_encode(&m, data + WIRE_FRAME_HEAD);
    memcpy(data + WIRE_FRAME_HEAD + len, bytes, m.bytes.len);
    struct kelp_bytes body = bytes_of(data + WIRE_FRAME_HEAD, len + m.bytes.len);
    wire_frame_head(data, WIRE_PIECE, 0, &body, 1);
    struct lab_packet other = *p;
    other.data = data;
    other.len = WIRE_FRAME_HEAD + body.len;
    lab_inject(lab, &other);
    return false;
}

/* Nothing of it gets to the machine, and it is begun anew after a while. HC
 * TestRaft_InstallSnapshot_InvalidPeers, of a head that cannot be read at all. */
static void what_is_wrong_with_a_piece_ends_the_fetch_and_another_one_begins(void **state)
{
    (void)state;
    struct spoiled *x = calloc(1, sizeof *x);
    assert_non_null(x);
    for (unsigned how = 0; how < WRONGS; how++) {
        *x = (struct spoiled){.how = (enum wrong)how};
        scene_begin(&x->s, 720 + how, MANY, 0);
        x->s.lab->watch = spoil_one;
        x->s.lab->watch_ctx = x;
        lab_start(x->s.lab, x->s.behind);
        const struct lab_node *n = lab_node(x->s.lab, x->s.behind);
        for (int ms = 0; ms < 5000 && scene_fetch(&x->s).failed == 0; ms++)
            lab_run(x->s.lab, 1);
        assert_int_equal(x->count, 1);
        assert_int_equal(scene_fetch(&x->s).failed, 1);
        lab_run(x->s.lab, 10);
        assert_int_equal(scene_fetch(&x->s).fetched, 0);
        assert_int_equal(n->machine->restores, 0);
        assert_true(n->machine->count <= 20); /* what its own log holds */
        assert_int_equal(memstore_pieces(n->store).len, 0);
        scene_await_level(&x->s, 20000);
        assert_int_equal(scene_fetch(&x->s).fetched, 1);
        assert_int_equal(scene_fetch(&x->s).failed, 1);
        assert_int_equal(lab_status(x->s.lab, x->s.behind)->state, DRIVER_RUNNING);
        scene_assert_same(&x->s, x->s.leader, x->s.behind);
        scene_free(&x->s);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_once_more_when_all_is_there_begins_nothing),
        cmocka_unit_test(what_is_wrong_with_a_piece_ends_the_fetch_and_another_one_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
