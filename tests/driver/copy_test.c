/* SPDX-License-Identifier: Apache-2.0 */
/* copy_test.c - clients read the snapshots of a node, piece by piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/room.h"
#include "driver/scene.h"

/* Remembers what it was told last, and all pieces behind each other. */
struct copier {
    struct lab *lab;
    struct driver *driver;
    struct driver_line *line;
    uint64_t tokens, told, size, len;
    enum kelp_outcome outcome;
    enum kelp_reason reason;
    uint8_t *bytes;
};

static void copier_told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct copier *r = ctx;
    struct kelp_bytes piece;
    r->told = token;
    r->outcome = o->outcome;
    r->reason = o->reason;
    if (o->outcome != KELP_DONE) return;
    assert_true(driver_copy_read(o->result, &r->size, &piece));
    r->bytes = realloc(r->bytes, r->len + piece.len);
    assert_non_null(r->bytes);
    memcpy(r->bytes + r->len, piece.data, piece.len);
    r->len += piece.len;
}

static void copier_begin(struct copier *r, struct lab *lab, kelp_id node)
{
    *r = (struct copier){.lab = lab, .driver = lab_node(lab, node)->driver};
    r->line = driver_line_open(r->driver, copier_told, r);
    assert_non_null(r->line);
}

static void copier_end(struct copier *r)
{
    driver_line_close(r->driver, r->line);
    lab_run(r->lab, 1);
    free(r->bytes);
}

static uint64_t copier_ask(struct copier *r, struct kelp_pos pos, uint64_t offset, uint64_t ms)
{
    assert_true(driver_copy(r->driver, r->lab->now, r->line, ++r->tokens, pos, offset,
                            r->lab->now + ms * LAB_MS));
    return r->tokens;
}

static void copier_await(struct copier *r)
{
    for (int i = 0; i < 10000 && r->told < r->tokens; i++)
        lab_run(r->lab, 1);
    assert_int_equal(r->told, r->tokens);
}

static void read_whole(struct copier *r, struct kelp_pos pos)
{
    r->len = 0;
    do {
        (void)copier_ask(r, pos, r->len, 1000);
        copier_await(r);
        assert_int_equal(r->outcome, KELP_DONE);
    } while (r->len < r->size);
}

/* As a start would look at the file. */
static void expect_whole(const struct copier *r, struct kelp_pos pos)
{
    struct wire_snaphead *head = malloc(sizeof *head);
    assert_non_null(head);
    size_t used = 0;
    struct kelp_bytes in = bytes_of(r->bytes, (size_t)min_u64(r->len, WIRE_SNAPHEAD_BYTES_MAX));
    assert_int_equal(wire_snaphead_decode(in, head, &used, NULL), KELP_OK);
    assert_true(kelp_pos_equal(head->pos, pos));
    uint64_t objects = 0, at = used;
    while (at < r->len) {
        struct wire_snapchunk chunk;
        size_t len = 0;
        struct wire_snapplace place = {.pos = pos, .offset = at - used};
        struct kelp_bytes rest = bytes_of(r->bytes + at, (size_t)(r->len - at));
        assert_int_equal(wire_snapchunk_open(rest, place, &chunk, &len, NULL), KELP_OK);
        objects += chunk.objects;
        at += len;
    }
    assert_int_equal(at, r->size);
    assert_int_equal(objects, head->object_count);
    free(head);
}

static struct kelp_pos newest(struct scene *s, kelp_id node)
{
    return lab_status(s->lab, node)->snapshot.last;
}

static void a_snapshot_is_read_whole_from_any_node_and_without_a_leader(void **state)
{
    (void)state;
    struct scene s;
    struct copier r;
    scene_begin(&s, 701, MANY / 3, 0);
    copier_begin(&r, s.lab, s.other);
    struct kelp_pos pos = newest(&s, s.other);
    assert_true(pos.index > 0);
    read_whole(&r, pos);
    expect_whole(&r, pos);
    lab_crash(s.lab, s.leader);
    lab_run(s.lab, 20000);
    assert_int_equal(lab_leader(s.lab), 0);
    read_whole(&r, pos);
    expect_whole(&r, pos);
    copier_end(&r);
    scene_free(&s);
}

static void who_asks_for_what_is_not_there_is_told_so_and_harms_nothing(void **state)
{
    (void)state;
    struct scene s;
    struct copier r;
    scene_begin(&s, 702, MANY / 3, 0);
    copier_begin(&r, s.lab, s.leader);
    struct kelp_pos pos = newest(&s, s.leader), gone = kelp_pos_of(pos.index + 1, pos.term.v);
    (void)copier_ask(&r, gone, 0, 1000);
    copier_await(&r);
    assert_int_equal(r.outcome, KELP_REFUSED);
    assert_int_equal(r.reason, KELP_R_SNAPSHOT_GONE);
    (void)copier_ask(&r, pos, 0, 1000);
    copier_await(&r);
    uint64_t head = r.len;
    uint64_t wrong[] = {1, head - 1, head + 7, r.size, r.size + 1, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        /* within the chunks whatever lies there looks like a damaged one */
        lab_node(s.lab, s.leader)->fetch_error = i == 2 ? KELP_E_CORRUPT : KELP_OK;
        (void)copier_ask(&r, pos, wrong[i], 1000);
        copier_await(&r);
        assert_int_equal(r.outcome, KELP_REFUSED);
        assert_int_equal(r.reason, KELP_R_NO_PIECE);
        assert_false(snapshot_lost(r.driver));
    }
    read_whole(&r, pos);
    expect_whole(&r, pos);
    assert_int_equal(newest(&s, s.leader).index, pos.index);
    copier_end(&r);
    scene_free(&s);
}

static void a_damaged_piece_that_follows_another_gives_the_snapshot_up(void **state)
{
    (void)state;
    for (int head = 0; head <= 1; head++) {
        struct scene s;
        struct copier r;
        scene_begin(&s, 703, MANY / 3, 0);
        copier_begin(&r, s.lab, s.leader);
        struct kelp_pos pos = newest(&s, s.leader);
        if (head == 0) {
            (void)copier_ask(&r, pos, 0, 1000);
            copier_await(&r);
        }
        lab_node(s.lab, s.leader)->fetch_error = KELP_E_CORRUPT;
        (void)copier_ask(&r, pos, r.len, 1000);
        copier_await(&r);
        assert_int_equal(r.reason, KELP_R_SNAPSHOT_GONE);
        lab_node(s.lab, s.leader)->fetch_error = KELP_OK;
        scene_write(&s, 5);
        lab_run(s.lab, 2000);
        struct kelp_pos next = newest(&s, s.leader); /* another one was taken */
        assert_true(next.index > pos.index);
        read_whole(&r, next);
        expect_whole(&r, next);
        copier_end(&r);
        scene_free(&s);
    }
}

static void who_waits_too_long_is_told_so_and_what_comes_late_is_nobodys(void **state)
{
    (void)state;
    struct scene s;
    struct copier r;
    scene_begin(&s, 704, MANY / 3, 0);
    copier_begin(&r, s.lab, s.leader);
    struct kelp_pos pos = newest(&s, s.leader);
    struct lab_node *n = lab_node(s.lab, s.leader);
    n->hold_fetch = true;
    (void)copier_ask(&r, pos, 0, 100);
    (void)copier_ask(&r, pos, 0, 60000); /* behind it in its line */
    lab_run(s.lab, 50);
    assert_int_equal(r.told, 0);
    lab_run(s.lab, 100);
    assert_int_equal(r.told, 1);
    assert_int_equal(r.outcome, KELP_REFUSED);
    assert_int_equal(r.reason, KELP_R_TIMEOUT);
    n->hold_fetch = false;
    copier_await(&r); /* the second one has its own */
    assert_int_equal(r.outcome, KELP_DONE);
    n->hold_fetch = true;
    r.len = 0;
    (void)copier_ask(&r, pos, 0, 60000);
    lab_run(s.lab, 50);
    driver_shutdown(r.driver, s.lab->now);
    assert_int_equal(r.told, 3);
    assert_int_equal(r.outcome, KELP_REFUSED);
    assert_int_equal(r.reason, KELP_R_SHUTDOWN);
    copier_end(&r);
    scene_free(&s);
}

static void what_comes_late_is_of_its_own_question(void **state)
{
    (void)state;
    struct scene s;
    struct copier a, b;
    scene_begin(&s, 708, MANY / 3, 0);
    copier_begin(&a, s.lab, s.leader);
    copier_begin(&b, s.lab, s.leader);
    struct kelp_pos pos = newest(&s, s.leader);
    struct lab_node *n = lab_node(s.lab, s.leader);
    (void)copier_ask(&b, pos, 0, 1000);
    copier_await(&b);
    uint64_t head = b.len;
    n->hold_fetch = true;
    (void)copier_ask(&a, pos, 0, 100);
    lab_run(s.lab, 50);
    (void)copier_ask(&b, pos, head, 60000);
    lab_run(s.lab, 100);
    assert_int_equal(a.reason, KELP_R_TIMEOUT);
    assert_int_equal(b.told, 1);
    n->hold_fetch = false; /* the head comes, which nobody waits for any more */
    copier_await(&b);
    assert_int_equal(b.outcome, KELP_DONE);
    while (b.len < b.size) {
        (void)copier_ask(&b, pos, b.len, 1000);
        copier_await(&b);
        assert_int_equal(b.outcome, KELP_DONE);
    }
    expect_whole(&b, pos);
    copier_end(&a);
    copier_end(&b);
    scene_free(&s);
}

static void go_on(struct copier *c, struct kelp_pos pos)
{
    if (c->told < c->tokens) return;
    if (c->told > 0) assert_int_equal(c->outcome, KELP_DONE);
    if (c->len > 0 && c->len == c->size) c->len = 0; /* once more */
    (void)copier_ask(c, pos, c->len, 60000);
}

/* Two read all the time, so that one of them always waits. */
static void who_copies_and_who_fetches_take_turns(void **state)
{
    (void)state;
    struct scene s;
    struct copier a, b;
    scene_begin(&s, 705, MANY, 2 * SLOW);
    copier_begin(&a, s.lab, s.leader);
    copier_begin(&b, s.lab, s.leader);
    struct kelp_pos pos = newest(&s, s.leader);
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 8);
    uint64_t had = scene_fetch(&s).bytes, size = scene_fetch(&s).size, asked = 0;
    while (asked < 20000 && scene_fetch(&s).fetched == 0 && scene_fetch(&s).bytes < size / 2) {
        go_on(&a, pos);
        go_on(&b, pos);
        lab_run(s.lab, 1);
        asked++;
    }
    uint64_t peers = scene_fetch(&s).bytes - had, clients = a.len + b.len;
    assert_true(clients > peers / 4 && peers > clients / 4);
    assert_true(a.len > b.len / 2 && b.len > a.len / 2);
    copier_await(&a);
    copier_await(&b);
    scene_await_level(&s, 60000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    copier_end(&a);
    copier_end(&b);
    scene_free(&s);
}

static void files_stay_open_for_who_reads_on_and_not_for_ever(void **state)
{
    (void)state;
    struct scene s;
    struct copier r;
    scene_begin(&s, 706, MANY / 3, 0);
    copier_begin(&r, s.lab, s.leader);
    struct lab_node *n = lab_node(s.lab, s.leader);
    struct kelp_pos pos = newest(&s, s.leader);
    for (int i = 0; i < 3; i++) {
        (void)copier_ask(&r, pos, r.len, 1000);
        copier_await(&r);
        lab_run(s.lab, 9000);
        assert_int_equal(n->fetches_closed, 0);
    }
    lab_run(s.lab, 1500);
    assert_int_equal(n->fetches_closed, 1);
    copier_end(&r);
    scene_free(&s);
}

static void a_state_that_is_not_the_others_is_not_given_away(void **state)
{
    (void)state;
    struct scene s;
    struct copier r;
    scene_begin(&s, 707, MANY / 3, 0);
    copier_begin(&r, s.lab, s.leader);
    struct kelp_pos pos = newest(&s, s.leader);
    (void)copier_ask(&r, pos, 0, 1000);
    copier_await(&r);
    assert_int_equal(r.outcome, KELP_DONE);
    struct lab_node *n = lab_node(s.lab, s.leader);
    for (unsigned known = 0; known < 2; known++) { /* when it is asked, and while it is read */
        n->hold_fetch = true;
        r.driver->quarantine.apart = known == 0;
        (void)copier_ask(&r, pos, r.len, 1000);
        lab_run(s.lab, 5);
        assert_int_equal(n->fetch_pos.index, known == 0 ? 0 : pos.index);
        r.driver->quarantine.apart = true;
        n->hold_fetch = false;
        copier_await(&r);
        assert_int_equal(r.outcome, KELP_REFUSED);
        assert_int_equal(r.reason, KELP_R_QUARANTINED);
    }
    r.driver->quarantine.apart = false;
    copier_end(&r);
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_is_read_whole_from_any_node_and_without_a_leader),
        cmocka_unit_test(who_asks_for_what_is_not_there_is_told_so_and_harms_nothing),
        cmocka_unit_test(a_damaged_piece_that_follows_another_gives_the_snapshot_up),
        cmocka_unit_test(who_waits_too_long_is_told_so_and_what_comes_late_is_nobodys),
        cmocka_unit_test(what_comes_late_is_of_its_own_question),
        cmocka_unit_test(who_copies_and_who_fetches_take_turns),
        cmocka_unit_test(files_stay_open_for_who_reads_on_and_not_for_ever),
        cmocka_unit_test(a_state_that_is_not_the_others_is_not_given_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
