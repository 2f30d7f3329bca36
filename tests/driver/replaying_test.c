/* SPDX-License-Identifier: Apache-2.0 */
/* replaying_test.c - what a started node says of its replay: how far, how fast, how long yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"

#define BEFORE 200u  /* commands while snapshots are taken */
#define ALL    4000u /* and more than one batch behind the last of them */

struct scene {
    struct lab *lab;
    struct lab_node *n;
};

static void write_until(struct lab *lab, struct lab_client *c, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 10 == 0) lab_run(lab, 2);
    }
    lab_await(c, to - from + 1);
    lab_run(lab, 1000); /* what is committed is on its disk, too */
}

/* One node, which has a snapshot and much log behind it, is started and its machine is slow. */
static struct scene scene_of(uint64_t seed)
{
    struct scene s = {.lab = lab_new(1, seed)};
    s.lab->snapshot_every = 50;
    lab_start_all(s.lab);
    struct lab_client *c = lab_client(s.lab, lab_await_leader(s.lab));
    write_until(s.lab, c, 1, BEFORE);
    lab_client_free(c);
    lab_crash(s.lab, 1);
    s.lab->snapshot_every = 0;
    lab_start(s.lab, 1);
    c = lab_client(s.lab, lab_await_leader(s.lab));
    write_until(s.lab, c, BEFORE + 1, ALL);
    lab_client_free(c);
    lab_crash(s.lab, 1);
    s.n = lab_node(s.lab, 1);
    s.n->hold_apply = true;
    lab_start(s.lab, 1);
    lab_run(s.lab, 10);
    return s;
}

static void a_replay_counts_from_the_snapshot_it_began_with(void **state)
{
    (void)state;
    struct scene s = scene_of(900);
    struct driver_status *now = lab_status(s.lab, 1);
    assert_true(now->replaying);
    kelp_index from = now->replay.from, to = now->replay.to;
    assert_in_range(from, BEFORE / 2, BEFORE + 10);
    assert_true(to > ALL - 100);
    assert_int_equal(now->view.applied, from);
    assert_int_equal(now->replay.percent, 0); /* although so much is in the snapshot */
    assert_int_equal(now->replay.entries_per_s, 0);
    assert_int_equal(now->replay.left_ms, 0); /* nothing is known of its pace */
    lab_release_apply(s.n);
    s.n->hold_apply = true; /* for the next batch */
    lab_run(s.lab, 1);
    now = lab_status(s.lab, 1);
    kelp_index applied = now->view.applied;
    assert_true(applied > from && applied < to);
    assert_int_equal(now->replay.percent, (applied - from) * 100 / (to - from));
    assert_int_equal(now->replay.from, from);
    lab_release_apply(s.n);
    lab_run(s.lab, 100);
    now = lab_status(s.lab, 1);
    assert_false(now->replaying);
    assert_int_equal(now->replay.percent, 100);
    assert_int_equal(now->replay.to, 0);
    assert_int_equal(s.n->machine->count, ALL);
    lab_free(s.lab);
}

static void a_replay_tells_its_pace_and_what_is_left_at_that(void **state)
{
    (void)state;
    struct scene s = scene_of(901);
    lab_run(s.lab, 990); /* a second since its start */
    lab_release_apply(s.n);
    s.n->hold_apply = true;
    lab_run(s.lab, 1);
    struct driver_replay r = lab_status(s.lab, 1)->replay;
    kelp_index applied = lab_status(s.lab, 1)->view.applied;
    uint64_t done = applied - r.from, left = r.to - applied;
    assert_in_range(r.entries_per_s, done * 9 / 10, done * 11 / 10);
    assert_in_range(r.left_ms, left * 900 / done, left * 1100 / done);
    lab_run(s.lab, 9000); /* nothing moves: it does not go on telling the pace it had */
    struct driver_replay slow = lab_status(s.lab, 1)->replay;
    assert_in_range(slow.entries_per_s, done * 9 / 100, done * 11 / 100);
    assert_true(slow.left_ms > 9 * r.left_ms);
    /* the next batch after a long pause, then quick ones: only the last seconds count */
    for (int i = 0; i < 2; i++) {
        lab_release_apply(s.n);
        s.n->hold_apply = true;
        lab_run(s.lab, 10);
    }
    assert_non_null(strstr(s.n->note, "replaying the log from "));
    assert_true(lab_status(s.lab, 1)->replaying);
    assert_true(lab_status(s.lab, 1)->replay.entries_per_s > slow.entries_per_s);
    lab_release_apply(s.n);
    lab_run(s.lab, 100);
    assert_non_null(strstr(s.n->note, "replayed the log to "));
    assert_false(lab_status(s.lab, 1)->replaying);
    lab_free(s.lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_counts_from_the_snapshot_it_began_with),
        cmocka_unit_test(a_replay_tells_its_pace_and_what_is_left_at_that),
    };
    return cmocka_run_group_tests_name("driver/replaying", tests, NULL, NULL);
}
