/* SPDX-License-Identifier: Apache-2.0 */
/* rejoin_test.c - a node in quarantine gives up its state for that of a healthy member, and loses
 * nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"
#include "wire/fetch.h"

#define ROT (1u << 20)

struct seen {
    kelp_id silent; /* it answers nothing on the snapshot lane, 0: all do */
    bool no_pieces; /* bytes of snapshots are lost */
    size_t asked[LAB_NODES + 1];
    size_t pieces[LAB_NODES + 1]; /* by who sent them */
};

static bool watch(struct lab *lab, const struct lab_packet *packet, void *ctx)
{
    struct seen *seen = ctx;
    struct wire_frame frame;
    struct wire_fetch ask;
    struct wire_piece piece;
    size_t used;
    (void)lab;
    struct kelp_bytes in = bytes_of(packet->data, packet->len);
    if (wire_frame_decode(in, UINT32_MAX, &frame, &used, NULL) != KELP_OK) return true;
    if (frame.kind == WIRE_FETCH && wire_fetch_decode(frame.body, &ask, NULL) == KELP_OK)
        seen->asked[packet->to] += ask.ask == WIRE_FETCH_NEWER;
    if (frame.kind != WIRE_PIECE) return true;
    assert_int_equal(wire_piece_decode(frame.body, &piece, NULL), KELP_OK);
    bool bytes = piece.state == WIRE_PIECE_BYTES;
    seen->pieces[packet->from] += bytes;
    return packet->from != seen->silent && !(bytes && seen->no_pieces);
}

static struct lab *made(size_t count, uint64_t seed, struct seen *seen)
{
    struct lab *lab = lab_new(count, seed);
    lab->watch = watch;
    lab->watch_ctx = seen;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    return lab;
}

static void written(struct lab *lab, kelp_id at, size_t count)
{
    struct lab_client *c = lab_client(lab, at);
    for (uint64_t i = 1; i <= count; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 50 == 0) lab_run(lab, 5);
    }
    lab_await(c, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(c->told[i].outcome, KELP_DONE);
    lab_client_free(c);
    lab_run(lab, 1000);
}

static enum compare_verdict verdict(struct lab *lab, kelp_id id)
{
    return lab_status(lab, id)->compared.verdict;
}

static kelp_id follower(struct lab *lab)
{
    return lab_leader(lab) == 1 ? 2 : 1;
}

static void rots(struct lab *lab, kelp_id id)
{
    lab_node(lab, id)->machine->count ^= ROT;
}

static enum kelp_reason rejoin(struct lab *lab, kelp_id id, kelp_id from, bool force)
{
    return driver_rejoin(lab_node(lab, id)->driver, lab->now, from, force);
}

/* Three nodes, and one that follows is in quarantine. */
static kelp_id wrong_one(struct lab *lab)
{
    kelp_id wrong = follower(lab);
    rots(lab, wrong);
    written(lab, lab_leader(lab), 300);
    assert_int_equal(verdict(lab, wrong), COMPARE_APART);
    return wrong;
}

static void is_right(struct lab *lab, kelp_id id, uint64_t count)
{
    struct lab_client *c = lab_client(lab, id);
    struct kelp_read_how any = {.level = KELP_READ_ANY};
    (void)lab_read(c, 5000);
    lab_await(c, 1);
    (void)lab_read_how(c, any, 5000);
    lab_await(c, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(c->told[i].outcome, KELP_DONE);
        assert_int_equal(c->told[i].result[0], count);
    }
    lab_client_free(c);
}

static void a_node_in_quarantine_rejoins_in_a_cluster_at_rest(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 91, &seen);
    kelp_id wrong = wrong_one(lab), leader = lab_leader(lab);
    struct kelp_view before = lab_status(lab, wrong)->view;
    assert_null(lab_status(lab, wrong)->rejoin);
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NONE);
    assert_non_null(lab_status(lab, wrong)->rejoin);
    lab_run(lab, 5000);
    struct driver_status *s = lab_status(lab, wrong);
    assert_int_equal(s->rejoined, 1);
    assert_null(s->rejoin);
    assert_int_not_equal(s->compared.verdict, COMPARE_APART);
    assert_int_equal(lab_node(lab, wrong)->machine->restores, 1);
    assert_int_equal(lab_node(lab, wrong)->machine->count, 300);
    /* no start falls back on what it had */
    assert_true(lab_node(lab, wrong)->forgotten.index > before.applied);
    assert_true(kelp_pos_equal(lab_node(lab, wrong)->forgotten, s->snapshot.last));
    is_right(lab, wrong, 300);
    /* vote, term and log are what they were */
    assert_int_equal(s->view.term.v, before.term.v);
    assert_int_equal(s->view.vote, before.vote);
    assert_int_equal(s->view.first, before.first);
    assert_true(s->view.last > before.last && s->view.last <= before.last + 3);
    assert_int_equal(lab_leader(lab), leader);
    /* and it is compared again */
    written(lab, leader, 300);
    assert_int_equal(verdict(lab, wrong), COMPARE_AGREED);
    assert_int_equal(lab_status(lab, wrong)->compared.with_most, 3);
    is_right(lab, wrong, 600);
    lab_crash(lab, wrong);
    lab_start(lab, wrong);
    lab_run(lab, 2000);
    is_right(lab, wrong, 600);
    lab_free(lab);
}

static void one_that_ends_behind_it_is_not_enough(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = lab_new(3, 102);
    lab->watch = watch;
    lab->watch_ctx = &seen;
    lab->snapshot_every = 128;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    kelp_id wrong = wrong_one(lab), leader = lab_leader(lab);
    written(lab, leader, 20); /* too few for another one */
    kelp_index last = lab_status(lab, leader)->snapshot.last.index;
    assert_true(last > 0 && last < lab_node(lab, wrong)->driver->applied);
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NONE);
    lab_run(lab, 5000);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 1);
    is_right(lab, wrong, 320);
    lab_free(lab);
}

/* Every snapshot has many pieces, and clients go on. */
static void it_rejoins_while_clients_write(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = lab_new(3, 92);
    lab->watch = watch;
    lab->watch_ctx = &seen;
    lab->snapshot_every = 200;
    lab->snapshot_objects = 40;
    lab->snapshots.chunk_bytes = 64;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    kelp_id wrong = wrong_one(lab);
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NONE);
    for (uint64_t i = 1; i <= 1000; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 2 == 0) lab_run(lab, 1);
    }
    lab_await(c, 1000);
    lab_client_free(c);
    lab_run(lab, 3000);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 1);
    assert_int_equal(verdict(lab, wrong), COMPARE_AGREED);
    for (kelp_id id = 1; id <= 3; id++)
        is_right(lab, id, 1300);
    lab_free(lab);
}

static void nothing_is_applied_meanwhile_and_the_log_goes_on(void **state)
{
    (void)state;
    struct seen seen = {.no_pieces = true};
    struct lab *lab = made(3, 93, &seen);
    kelp_id wrong = wrong_one(lab), down = 6 - wrong - lab_leader(lab);
    assert_int_equal(rejoin(lab, wrong, lab_leader(lab), false), KELP_R_NONE);
    lab_run(lab, 1000);
    assert_string_equal(lab_status(lab, wrong)->rejoin, "fetches a snapshot");
    assert_int_equal(lab_status(lab, wrong)->rejoin_from, lab_leader(lab));
    kelp_index applied = lab_node(lab, wrong)->driver->applied;
    lab_crash(lab, down); /* the wrong one is half of the quorum */
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    for (uint64_t i = 1; i <= 100; i++)
        (void)lab_write(c, i, 5000);
    lab_run(lab, 100);
    assert_int_equal(c->told_count, 100);
    lab_client_free(c);
    assert_int_equal(lab_node(lab, wrong)->driver->applied, applied);
    assert_true(lab_status(lab, wrong)->view.commit > applied + 90);
    seen.no_pieces = false;
    lab_run(lab, 8000);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 1);
    is_right(lab, wrong, 400);
    lab_free(lab);
}

static void who_is_silent_is_left_for_another_one(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 94, &seen);
    kelp_id wrong = wrong_one(lab);
    seen.silent = lab_node(lab, wrong)->driver->peers[0]->id; /* it is asked first */
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NONE);
    lab_run(lab, 10000);
    assert_true(seen.asked[seen.silent] > 0);
    assert_int_equal(seen.pieces[seen.silent], 0);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 1);
    is_right(lab, wrong, 300);
    lab_free(lab);
}

static void after_a_round_in_vain_what_waits_is_applied(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 95, &seen);
    kelp_id wrong = wrong_one(lab), only = lab_leader(lab);
    seen.silent = only;
    assert_int_equal(rejoin(lab, wrong, only, false), KELP_R_NONE);
    kelp_index applied = lab_node(lab, wrong)->driver->applied;
    bool waited = false;
    struct lab_client *c = lab_client(lab, only);
    for (uint64_t i = 1; i <= 100; i++) {
        (void)lab_write(c, i, 5000);
        lab_run(lab, 100);
        const char *words = lab_status(lab, wrong)->rejoin;
        assert_non_null(words);
        waited = waited || strcmp(words, "waits, since nobody gave one") == 0;
    }
    lab_client_free(c);
    assert_true(waited);
    assert_true(lab_node(lab, wrong)->driver->applied > applied + 20);
    assert_int_equal(verdict(lab, wrong), COMPARE_APART);
    seen.silent = 0;
    lab_run(lab, 8000);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 1);
    is_right(lab, wrong, 400);
    lab_free(lab);
}

static void it_is_refused_with_the_reason(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 96, &seen);
    kelp_id leader = lab_leader(lab), other = follower(lab);
    written(lab, leader, 300);
    assert_int_equal(rejoin(lab, other, 0, false), KELP_R_NOTHING_NEW);
    assert_int_equal(rejoin(lab, leader, 0, true), KELP_R_LEADS);
    assert_int_equal(rejoin(lab, other, other, true), KELP_R_SELF);
    assert_int_equal(rejoin(lab, other, 9, true), KELP_R_UNKNOWN_MEMBER);
    kelp_id wrong = wrong_one(lab);
    for (kelp_id id = 1; id <= 3; id++)
        if (id != wrong) lab_crash(lab, id);
    lab_run(lab, 1000);
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NO_HEALTHY);
    assert_int_equal(rejoin(lab, wrong, 0, true), KELP_R_NO_HEALTHY);
    lab_run(lab, 1000);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 0);
    assert_int_equal(verdict(lab, wrong), COMPARE_APART);
    lab_free(lab);

    lab = made(1, 97, &seen);
    assert_int_equal(rejoin(lab, 1, 0, false), KELP_R_NOTHING_NEW);
    assert_int_equal(rejoin(lab, 1, 0, true), KELP_R_LEADS);
    lab_free(lab);
}

/* Whoever is in quarantine gives nothing, also to who is told to ask it. */
static void one_that_is_wrong_as_well_gives_nothing(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(5, 98, &seen);
    kelp_id leader = lab_leader(lab), wrong = leader % 5 + 1, too = wrong % 5 + 1;
    rots(lab, wrong);
    lab_node(lab, too)->machine->count ^= ROT << 1;
    written(lab, leader, 300);
    assert_int_equal(verdict(lab, wrong), COMPARE_APART);
    assert_int_equal(verdict(lab, too), COMPARE_APART);
    assert_int_equal(rejoin(lab, wrong, too, false), KELP_R_NO_HEALTHY); /* its marks say it */
    assert_int_equal(rejoin(lab, wrong, too, true), KELP_R_NONE);        /* and so it does itself */
    bool told = false; /* at once, and not only that it gives nothing for long */
    for (unsigned i = 0; i < 60; i++) {
        lab_run(lab, 100);
        const char *words = lab_status(lab, wrong)->rejoin;
        told = told || (words != NULL && strcmp(words, "waits, since nobody gave one") == 0);
    }
    assert_true(told);
    assert_true(seen.asked[too] > 0);
    assert_int_equal(seen.pieces[too], 0);
    assert_int_equal(verdict(lab, wrong), COMPARE_APART);
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NONE);
    assert_int_equal(rejoin(lab, too, 0, false), KELP_R_NONE);
    lab_run(lab, 8000);
    is_right(lab, wrong, 300);
    is_right(lab, too, 300);
    assert_int_equal(seen.pieces[wrong] + seen.pieces[too], 0);
    written(lab, leader, 300);
    for (kelp_id id = 1; id <= 5; id++) {
        assert_int_equal(verdict(lab, id), COMPARE_AGREED);
        assert_int_equal(lab_status(lab, id)->compared.with_most, 5);
    }
    lab_free(lab);
}

/* Nobody can tell which of two is right but people. */
static void of_two_that_differ_the_one_that_is_forced_takes_the_others(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(2, 99, &seen);
    kelp_id leader = lab_leader(lab), wrong = follower(lab);
    rots(lab, wrong);
    written(lab, leader, 300);
    assert_int_equal(verdict(lab, wrong), COMPARE_SPLIT);
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NOTHING_NEW);
    assert_int_equal(rejoin(lab, wrong, leader, true), KELP_R_NONE);
    lab_run(lab, 5000);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 1);
    is_right(lab, wrong, 300);
    written(lab, leader, 300);
    assert_int_equal(verdict(lab, 1), COMPARE_AGREED);
    assert_int_equal(verdict(lab, 2), COMPARE_AGREED);
    lab_free(lab);
}

static void a_leader_gives_up_nothing_until_another_leads(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 100, &seen);
    kelp_id wrong = lab_leader(lab);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id == wrong) continue;
        struct lab_client *c = lab_client(lab, id);
        (void)lab_drain(c, DRIVER_DRAIN, 5000);
        lab_await(c, 1);
        lab_client_free(c);
    }
    rots(lab, wrong);
    written(lab, wrong, 255); /* the term's first entry is one, too */
    lab_run(lab, 1000);
    struct lab_client *w = lab_client(lab, wrong);
    for (uint64_t i = 1; i <= 20; i++)
        (void)lab_write(w, i, 500);
    lab_run(lab, 1000);
    lab_client_free(w);
    assert_int_equal(verdict(lab, wrong), COMPARE_APART);
    assert_int_equal(lab_leader(lab), wrong);
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NONE);
    lab_run(lab, 3000);
    assert_string_equal(lab_status(lab, wrong)->rejoin, "waits while it leads");
    assert_int_equal(lab_node(lab, wrong)->machine->restores, 0);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id == wrong) continue;
        struct lab_client *c = lab_client(lab, id);
        (void)lab_drain(c, DRIVER_UNDRAIN, 5000);
        lab_await(c, 1);
        lab_client_free(c);
    }
    lab_run(lab, 8000);
    assert_int_not_equal(lab_leader(lab), wrong);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 1);
    kelp_id right = lab_leader(lab);
    is_right(lab, wrong, lab_node(lab, right)->machine->count);
    lab_free(lab);
}

/* A crash at any moment leaves the old state or the new one, and vote, term and log. */
static void a_crash_on_the_way_loses_nothing(void **state)
{
    (void)state;
    unsigned before = 0, after = 0, waiting = 0;
    for (unsigned step = 0; step < 40; step++) {
        struct seen seen = {0};
        struct lab *lab = lab_new(3, 101);
        lab->watch = watch;
        lab->watch_ctx = &seen;
        lab->snapshot_objects = 30;
        lab->snapshots.chunk_bytes = 64;
        lab->snapshot_rate = 20000;
        lab_start_all(lab);
        (void)lab_await_leader(lab);
        lab_run(lab, 300);
        kelp_id wrong = wrong_one(lab);
        struct kelp_view held = lab_status(lab, wrong)->view;
        assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NONE);
        lab_run(lab, step * 10);
        bool replaced = lab_node(lab, wrong)->machine->restores > 0;
        before += !replaced;
        after += replaced;
        lab_crash(lab, wrong);
        lab_start(lab, wrong);
        struct driver_status *s = lab_status(lab, wrong);
        assert_true(s->view.term.v >= held.term.v && s->view.last >= held.last);
        assert_int_equal(s->view.vote, held.vote);
        lab_run(lab, 2000);
        /* what it fetched may be above all that can be compared yet */
        bool waits = verdict(lab, wrong) == COMPARE_APART;
        waiting += waits;
        if (!waits) is_right(lab, wrong, 300);
        written(lab, lab_leader(lab), 300);
        assert_int_equal(verdict(lab, wrong), COMPARE_AGREED);
        is_right(lab, wrong, 600);
        lab_free(lab);
    }
    assert_true(before > 0 && after > 0 && waiting < 40);
}

/* Nothing of a piece is seen before all of it is there, and it takes longer than any silence is
 * borne at first; what came before was small and came soon. The log goes on without it, so that
 * each fetch could be taken for one that is not needed. */
static void a_lane_on_which_one_piece_takes_longer_than_a_silence_is_no_end(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 107);
    lab->snapshot_objects = 3;
    lab->snapshots.chunk_bytes = 4096;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(lab, id)->machine->object_bytes = 4096;
    lab_run(lab, 300);
    kelp_id wrong = wrong_one(lab);
    lab->snapshot_rate = 300;
    assert_int_equal(rejoin(lab, wrong, 0, false), KELP_R_NONE);
    unsigned seconds = 0, given_up = 0;
    kelp_id from = 0;
    for (; lab_status(lab, wrong)->rejoined == 0 && seconds < 300; seconds++) {
        lab_run(lab, 1000);
        kelp_id of = lab_status(lab, wrong)->fetch.from;
        given_up += from != 0 && of != from;
        if (of != 0) from = of;
    }
    assert_true(given_up > 0);
    assert_int_equal(lab_status(lab, wrong)->rejoined, 1);
    is_right(lab, wrong, 300);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_in_quarantine_rejoins_in_a_cluster_at_rest),
        cmocka_unit_test(one_that_ends_behind_it_is_not_enough),
        cmocka_unit_test(it_rejoins_while_clients_write),
        cmocka_unit_test(nothing_is_applied_meanwhile_and_the_log_goes_on),
        cmocka_unit_test(who_is_silent_is_left_for_another_one),
        cmocka_unit_test(after_a_round_in_vain_what_waits_is_applied),
        cmocka_unit_test(it_is_refused_with_the_reason),
        cmocka_unit_test(one_that_is_wrong_as_well_gives_nothing),
        cmocka_unit_test(of_two_that_differ_the_one_that_is_forced_takes_the_others),
        cmocka_unit_test(a_leader_gives_up_nothing_until_another_leads),
        cmocka_unit_test(a_crash_on_the_way_loses_nothing),
        cmocka_unit_test(a_lane_on_which_one_piece_takes_longer_than_a_silence_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
