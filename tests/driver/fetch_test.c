/* SPDX-License-Identifier: Apache-2.0 */
/* fetch_test.c - snapshots that travel between drivers: fetched, restored, installed, and what
 * becomes of it when connections, sources, disks and receivers fail on the way. [§5.1.3] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/room.h"
#include "driver/scene.h"

/* ---- the way it should be ---- */

static void who_lacks_what_was_compacted_gets_the_snapshot_and_goes_on(void **state)
{
    (void)state;
    for (uint64_t objects = 0; objects <= MANY; objects += MANY / 3) {
        struct scene s;
        scene_begin(&s, 401 + objects, objects, 0);
        lab_start(s.lab, s.behind);
        scene_await_level(&s, 10000);
        assert_int_equal(scene_fetch(&s).fetched, 1);
        assert_int_equal(scene_fetch(&s).failed, 0);
        assert_int_equal(scene_fetch(&s).pos.index, 0); /* it is over */
        assert_int_equal(lab_node(s.lab, s.behind)->machine->restores, 1);
        assert_true(lab_status(s.lab, s.behind)->view.first > 100);
        assert_true(lab_status(s.lab, s.leader)->fetch.served_bytes > 0);
        assert_int_equal(lab_status(s.lab, s.leader)->fetch.serving, 0);
        if (objects > 0) assert_true(s.pieces > objects / 3); /* one object in a chunk here */
        scene_write(&s, 30);
        scene_await_level(&s, 1000);
        scene_assert_same(&s, s.leader, s.behind);
        scene_all_done(&s);
        lab_crash(s.lab, s.behind);
        lab_start(s.lab, s.behind);
        scene_await_level(&s, 10000); /* and it starts again from what it has */
        assert_int_equal(scene_fetch(&s).fetched, 0);
        scene_assert_same(&s, s.leader, s.behind);
        scene_free(&s);
    }
}

/* However many are in a chunk. */
static void one_object_is_restored_in_a_run(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 419, MANY, 0);
    for (size_t i = 0; i < s.lab->count; i++) {
        if (s.lab->nodes[i].up)
            s.lab->nodes[i].driver->options.snapshots.chunk_bytes = WIRE_SNAPCHUNK_BYTES_MAX;
    }
    scene_write(&s, 120); /* another one is taken */
    lab_start(s.lab, s.behind);
    scene_await_level(&s, 10000);
    const struct lab_machine *m = lab_node(s.lab, s.behind)->machine;
    assert_int_equal(scene_fetch(&s).fetched, 1);
    assert_true(s.pieces < MANY / 2);
    assert_int_equal(m->restores, 1);
    assert_true(m->objects_restored > MANY / 2);
    assert_int_equal(m->objects_run_most, 1);
    scene_assert_same(&s, s.leader, s.behind);
    scene_free(&s);
}

static void frames_that_are_lost_or_come_twice_are_asked_for_again(void **state)
{
    (void)state;
    for (uint64_t seed = 420; seed < 430; seed++) {
        struct scene s;
        scene_begin(&s, seed, MANY / 3, 0);
        s.lab->loss = 100;
        s.lab->twice = 100;
        lab_start(s.lab, s.behind);
        scene_await_level(&s, 60000);
        s.lab->loss = s.lab->twice = 0;
        assert_int_equal(scene_fetch(&s).fetched, 1);
        scene_free(&s);
    }
}

static void two_are_served_at_once_within_the_rate(void **state)
{
    (void)state;
    struct scene s;
    scene_start(&s, 5, 440, 3 * MANY, SLOW);
    kelp_id fourth = 0;
    for (kelp_id id = 1; id <= 5 && fourth == 0; id++)
        if (id != s.leader && id != s.behind && id != s.other) fourth = id;
    lab_crash(s.lab, s.behind);
    lab_crash(s.lab, fourth);
    scene_write(&s, 300);
    lab_run(s.lab, 500);
    lab_start(s.lab, s.behind);
    lab_start(s.lab, fourth);
    kelp_ns began = s.lab->now;
    scene_await_bytes(&s, 1, 2);
    uint64_t size = scene_fetch(&s).size;
    assert_int_equal(lab_status(s.lab, s.leader)->fetch.serving, 2);
    struct driver_fetch_status f = lab_status(s.lab, fourth)->fetch;
    assert_true(f.bytes > f.size / 4); /* they take turns */
    scene_await_level(&s, 60000);
    lab_run(s.lab, 3000);
    assert_int_equal(lab_node(s.lab, fourth)->machine->count, s.written);
    kelp_ns took = s.lab->now - began;
    uint64_t served = lab_status(s.lab, s.leader)->fetch.served_bytes;
    assert_true(served >= 2 * size);
    /* a second's worth may have gathered */
    assert_true(served <= SLOW * (took / (1000 * LAB_MS) + 2));
    assert_true(took > (served / SLOW - 2) * 1000 * LAB_MS);
    scene_free(&s);
}

static void a_wait_at_the_old_rate_ends_with_it(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 445, MANY, 10); /* hours */
    lab_start(s.lab, s.behind);
    lab_run(s.lab, 3000);
    struct driver *leader = lab_node(s.lab, s.leader)->driver;
    assert_true(scene_fetch(&s).bytes < scene_fetch(&s).size);
    assert_true(leader->serve_at > s.lab->now + 10000 * LAB_MS);
    struct driver_snapshots to = leader->options.snapshots;
    to.send_rate = 0;
    driver_snapshots_change(leader, &to);
    (void)driver_run(leader, s.lab->now);
    scene_await_level(&s, 3000);
    scene_free(&s);
}

/* ---- what fails on the way ---- */

static void a_connection_that_is_lost_costs_what_was_on_its_way(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 450, MANY, SLOW);
    lab_start(s.lab, s.behind);
    for (uint64_t part = 1; part <= 3; part++) {
        scene_await_bytes(&s, part, 4);
        uint64_t had = scene_fetch(&s).bytes;
        lab_disconnect(s.lab, s.leader, s.behind);
        lab_run(s.lab, 50);
        assert_true(scene_fetch(&s).bytes >= had); /* it goes on where it was */
    }
    uint64_t size = scene_fetch(&s).size;
    scene_await_level(&s, 60000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    assert_int_equal(scene_fetch(&s).failed, 0);
    uint64_t served = lab_status(s.lab, s.leader)->fetch.served_bytes;
    assert_true(served < size + size / 10);
    scene_free(&s);
}

static void a_source_that_dies_is_left_for_another_one(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 460, MANY, SLOW);
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 3);
    assert_int_equal(scene_fetch(&s).from, s.leader);
    lab_client_free(s.c);
    s.c = NULL;
    lab_crash(s.lab, s.leader);
    scene_await_level(&s, 60000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    assert_int_equal(scene_fetch(&s).failed, 1);
    assert_int_equal(lab_await_leader(s.lab), s.other);
    scene_assert_same(&s, s.other, s.behind);
    scene_free(&s);
}

/* Its source is gone for good, and who leads next has all of the log: nobody offers another one. */
static void a_fetch_that_the_log_overtook_ends_although_nobody_offers(void **state)
{
    (void)state;
    struct scene s;
    scene_start(&s, 3, 470, MANY, SLOW);
    lab_node(s.lab, s.other)->machine->no_snapshots = true;
    lab_crash(s.lab, s.behind);
    scene_write(&s, 300);
    lab_run(s.lab, 500);
    assert_int_equal(lab_status(s.lab, s.other)->view.first, 1);
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 3);
    lab_client_free(s.c);
    s.c = NULL;
    lab_crash(s.lab, s.leader);
    scene_await_level(&s, 60000);
    for (int i = 0; i < 20000 && scene_fetch(&s).pos.index > 0; i++)
        lab_run(s.lab, 1);
    assert_int_equal(scene_fetch(&s).pos.index, 0);
    assert_int_equal(scene_fetch(&s).fetched, 0);
    lab_run(s.lab, 3000);
    assert_true(lab_status(s.lab, s.behind)->snapshot.taken > 0); /* its own are not held up */
    scene_free(&s);
}

static void one_that_a_newer_took_the_place_of_is_begun_anew_with_that(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 480, MANY, SLOW);
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 4);
    struct kelp_pos first = scene_fetch(&s).pos;
    scene_write(&s, 120); /* the store keeps one */
    lab_run(s.lab, 1000);
    assert_true(scene_fetch(&s).pos.index > first.index);
    scene_await_level(&s, 60000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    scene_all_done(&s);
    scene_assert_same(&s, s.leader, s.behind);
    scene_free(&s);
}

static void a_source_whose_snapshot_is_damaged_takes_another_one(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 490, MANY, 0);
    struct lab_node *source = lab_node(s.lab, s.leader);
    uint64_t taken = lab_status(s.lab, s.leader)->snapshot.taken;
    source->fetch_error = KELP_E_CORRUPT;
    lab_start(s.lab, s.behind);
    for (int i = 0; i < 10000 && scene_fetch(&s).failed == 0; i++)
        lab_run(s.lab, 1);
    assert_int_equal(scene_fetch(&s).failed, 1);
    source->fetch_error = KELP_OK;
    scene_write(&s, 2);
    lab_run(s.lab, 200);
    assert_int_equal(lab_status(s.lab, s.leader)->snapshot.taken, taken + 1);
    scene_await_level(&s, 10000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    scene_free(&s);
}

static void without_room_it_is_given_up_and_tried_again(void **state)
{
    (void)state;
    for (int head = 0; head < 2; head++) {
        struct scene s;
        scene_begin(&s, 500, MANY, 0);
        lab_start(s.lab, s.behind);
        struct lab_node *n = lab_node(s.lab, s.behind);
        if (head == 1)
            n->head_error = KELP_E_NO_SPACE;
        else
            n->piece_error = KELP_E_NO_SPACE;
        lab_run(s.lab, 8000);
        assert_true(scene_fetch(&s).failed >= 2 &&
                    scene_fetch(&s).failed <= 6); /* less and less often */
        assert_int_equal(scene_fetch(&s).fetched, 0);
        assert_int_equal(n->machine->restores, 0);
        assert_int_equal(memstore_pieces(n->store).len, 0); /* its room is given back */
        n->piece_error = n->head_error = KELP_OK;
        scene_await_level(&s, 20000);
        assert_int_equal(scene_fetch(&s).fetched, 1);
        scene_free(&s);
    }
}

/* Until the file has its name, with nothing restored yet. */
static struct lab_node *scene_at_restore(struct scene *s)
{
    lab_start(s->lab, s->behind);
    struct lab_node *n = lab_node(s->lab, s->behind);
    n->hold_fetch = true;
    for (int i = 0; i < 30000 && scene_fetch(s).fetched == 0; i++)
        lab_run(s->lab, 1);
    lab_run(s->lab, 20);
    assert_int_equal(scene_fetch(s).fetched, 1);
    assert_true(scene_fetch(s).pos.index > 0);
    assert_int_equal(n->machine->restores, 0);
    return n;
}

static void a_crash_between_name_and_reset_begins_behind_the_snapshot(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 510, MANY, 0);
    struct lab_node *n = scene_at_restore(&s);
    kelp_index end = scene_fetch(&s).pos.index;
    assert_true(lab_status(s.lab, s.behind)->view.last < end);
    lab_crash(s.lab, s.behind);
    n->cut = true;
    lab_start(s.lab, s.behind);
    assert_true(n->machine->count > 200); /* before any replay */
    lab_run(s.lab, 10);
    assert_int_equal(lab_status(s.lab, s.behind)->view.first, end + 1);
    n->cut = false;
    scene_await_level(&s, 10000);
    assert_int_equal(scene_fetch(&s).fetched, 0);
    scene_assert_same(&s, s.leader, s.behind);
    scene_free(&s);
}

static void a_crash_in_the_middle_begins_with_the_old_state(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 515, MANY, SLOW);
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 1, 2);
    lab_crash(s.lab, s.behind);
    lab_start(s.lab, s.behind);
    assert_true(lab_node(s.lab, s.behind)->machine->count <= 20);
    scene_await_level(&s, 60000);
    scene_assert_same(&s, s.leader, s.behind);
    scene_free(&s);
}

/* ---- beside what else a driver does ---- */

static void an_own_snapshot_gives_way(void **state)
{
    (void)state;
    struct scene s;
    scene_start(&s, 3, 520, MANY, 0);
    struct lab_node *n = lab_node(s.lab, s.behind);
    n->cut = true;
    scene_write(&s, 300);
    lab_run(s.lab, 500);
    struct kelp_pos pos;
    n->machine->objects = 1000000; /* it takes long */
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
    lab_run(s.lab, 20);
    assert_true(lab_status(s.lab, s.behind)->snapshot.open.index > 0);
    n->cut = false;
    for (kelp_id id = 1; id <= 3; id++) /* what was sent meanwhile is lost */
        if (id != s.behind) lab_disconnect(s.lab, id, s.behind);
    for (int i = 0; i < 20000 && scene_fetch(&s).fetched == 0; i++) {
        lab_run(s.lab, 1);
        struct kelp_pos unused;
        if (scene_fetch(&s).pos.index > 0)
            assert_int_equal(driver_snapshot_now(n->driver, &unused), KELP_E_BUSY);
    }
    assert_int_equal(n->machine->snapshots_begun, 1);
    assert_int_equal(n->machine->snapshots_ended, 1);
    n->machine->objects = MANY;
    scene_await_level(&s, 10000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    lab_run(s.lab, 2000);
    scene_write(&s, 5);
    lab_run(s.lab, 2000);
    /* what an operator was promised is still taken */
    assert_true(lab_status(s.lab, s.behind)->snapshot.taken >= 1);
    scene_free(&s);
}

static void reads_see_the_state_before_or_after_and_no_other(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 530, MANY, 0);
    struct lab_node *n = scene_at_restore(&s);
    struct lab_client *reader = lab_client(s.lab, s.behind);
    uint64_t old = n->machine->count;
    assert_true(old <= 20);
    (void)lab_read_how(reader, (struct kelp_read_how){.level = KELP_READ_ANY}, 20000);
    lab_await(reader, 1);
    assert_int_equal(reader->told[0].outcome, KELP_DONE);
    assert_int_equal(reader->told[0].result[0], old);
    /* one in pieces, of what is here: not before it is over, or it would see both */
    struct driver_question q = {.how = {.level = KELP_READ_ANY},
                                .deadline = s.lab->now + 20000 * LAB_MS};
    uint8_t pieces[16] = {9};
    q.bytes = bytes_of(pieces, sizeof pieces);
    assert_true(driver_read(n->driver, s.lab->now, reader->line, ++reader->tokens, &q));
    /* and one that may not be older than when it was asked */
    struct lab_client *strict = lab_client(s.lab, s.behind);
    (void)lab_read(strict, 20000);
    lab_run(s.lab, 100);
    assert_int_equal(reader->told_count, 1);
    assert_int_equal(strict->told_count, 0);
    assert_int_equal(n->machine->count, old);
    n->hold_fetch = false;
    lab_await(reader, 2);
    lab_await(strict, 1);
    assert_int_equal(reader->told[1].outcome, KELP_DONE);
    assert_true(reader->told[1].result[0] > 200);
    assert_int_equal(strict->told[0].outcome, KELP_DONE);
    assert_int_equal(strict->told[0].result[0], s.written);
    assert_int_equal(n->machine->restores, 1);
    lab_client_free(reader);
    lab_client_free(strict);
    scene_free(&s);
}

static void a_long_read_that_began_before_is_answered_first(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 535, MANY, SLOW);
    lab_start(s.lab, s.behind);
    scene_await_bytes(&s, 3, 4);
    struct lab_node *n = lab_node(s.lab, s.behind);
    struct lab_client *reader = lab_client(s.lab, s.behind);
    uint64_t old = n->machine->count;
    struct driver_question q = {.how = {.level = KELP_READ_ANY},
                                .deadline = s.lab->now + 90000 * LAB_MS};
    uint8_t pieces[16] = {0, 0, 0, 64}; /* far more than the rest of the fetch takes */
    q.bytes = bytes_of(pieces, sizeof pieces);
    assert_true(driver_read(n->driver, s.lab->now, reader->line, ++reader->tokens, &q));
    for (int i = 0; i < 30000 && scene_fetch(&s).fetched == 0; i++)
        lab_run(s.lab, 1);
    lab_run(s.lab, 300);
    assert_true(n->machine->walk_token != 0);
    assert_int_equal(n->machine->restores, 0);
    n->machine->walk_pieces = 2;
    lab_await(reader, 1);
    assert_int_equal(reader->told[0].outcome, KELP_DONE);
    assert_int_equal(reader->told[0].result[0], old);
    scene_await_level(&s, 10000);
    lab_client_free(reader);
    scene_free(&s);
}

static void a_write_of_a_deposed_leader_that_a_snapshot_passed_is_unknown(void **state)
{
    (void)state;
    struct scene s;
    scene_start(&s, 3, 540, MANY, 0);
    struct lab_node *old = lab_node(s.lab, s.leader);
    struct lab_client *there = lab_client(s.lab, s.leader);
    old->cut = true;
    (void)lab_write_here(there, 4711, 600000);
    lab_client_free(s.c);
    s.behind = s.leader;
    s.leader = 0;
    for (int i = 0; i < 30000 && s.leader == 0; i++) {
        lab_run(s.lab, 1);
        kelp_id id = lab_leader(s.lab);
        if (id != s.behind) s.leader = id;
    }
    assert_true(s.leader != 0);
    s.c = lab_client(s.lab, s.leader);
    scene_write(&s, 300);
    lab_run(s.lab, 500);
    assert_int_equal(there->told_count, 0);
    old->cut = false;
    for (kelp_id id = 1; id <= 3; id++)
        if (id != s.behind) lab_disconnect(s.lab, id, s.behind);
    scene_await_level(&s, 20000);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    lab_await(there, 1);
    assert_int_equal(there->told[0].outcome, KELP_UNKNOWN);
    assert_int_equal(there->told[0].reason, KELP_R_SNAPSHOT_PASSED);
    scene_assert_same(&s, s.leader, s.behind);
    lab_client_free(there);
    scene_free(&s);
}

static void a_driver_that_goes_or_faults_meanwhile_ends_what_is_open(void **state)
{
    (void)state;
    for (int faults = 0; faults < 2; faults++) {
        struct scene s;
        scene_begin(&s, 550, MANY, 0);
        struct lab_node *n = scene_at_restore(&s);
        assert_true(n->machine->restoring);
        if (faults == 1) {
            struct kelp_fault fault = {.error = KELP_E_IO, .what = "the disk is gone"};
            driver_store_fault(n->driver, &fault);
            lab_run(s.lab, 10);
        } else {
            driver_shutdown(n->driver, s.lab->now);
        }
        n->hold_fetch = false;
        lab_run(s.lab, 10);
        /* what comes from the disk now is for nobody, and nothing is left to do at once */
        assert_true(driver_run(n->driver, s.lab->now) > s.lab->now);
        assert_int_equal(n->machine->restores, 0);
        scene_free(&s);
    }
}

/* ---- nodes without a log ---- */

static void who_joins_where_the_first_entry_is_gone_begins_with_a_snapshot(void **state)
{
    (void)state;
    struct scene s;
    scene_without_entry1(&s, 4, 560, 0);
    lab_start(s.lab, 4);
    lab_run(s.lab, 500);
    assert_int_equal(lab_status(s.lab, 4)->state, DRIVER_WAITING);
    scene_add(&s, 4, KELP_VOTER);
    scene_await_level(&s, 20000);
    assert_int_equal(lab_status(s.lab, 4)->state, DRIVER_RUNNING);
    scene_write(&s, 30);
    scene_await_level(&s, 1000);
    scene_assert_same(&s, s.leader, 4);
    scene_all_done(&s);
    lab_crash(s.lab, 4);
    lab_start(s.lab, 4);
    scene_await_level(&s, 10000);
    scene_assert_same(&s, s.leader, 4);
    scene_free(&s);
}

/* Each time later, until it has all of it. */
static void a_joiner_that_crashes_at_any_time_gets_there(void **state)
{
    (void)state;
    struct scene s;
    scene_without_entry1(&s, 4, 570, SLOW);
    lab_start(s.lab, 4);
    lab_run(s.lab, 500);
    struct lab_client *c = lab_client(s.lab, s.leader);
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER};
    (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node4:7101");
    (void)lab_change(c, &change, 600000);
    for (uint64_t ms = 100; ms < 12000; ms += 700) {
        lab_run(s.lab, ms);
        lab_crash(s.lab, 4);
        lab_start(s.lab, 4);
    }
    scene_await_level(&s, 60000);
    scene_assert_same(&s, s.leader, 4);
    lab_client_free(c);
    scene_free(&s);
}

static void a_joiner_whose_source_dies_takes_the_snapshot_of_another(void **state)
{
    (void)state;
    struct scene s;
    scene_without_entry1(&s, 4, 580, SLOW);
    lab_start(s.lab, 4);
    lab_run(s.lab, 500);
    struct lab_client *c = lab_client(s.lab, s.leader);
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER};
    (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node4:7101");
    (void)lab_change(c, &change, 600000);
    scene_await_bytes(&s, 1, 4);
    kelp_id source = scene_fetch(&s).from;
    lab_client_free(c);
    lab_client_free(s.c);
    s.c = NULL;
    lab_crash(s.lab, source); /* for good */
    scene_await_level(&s, 90000);
    s.leader = lab_await_leader(s.lab);
    scene_assert_same(&s, s.leader, 4);
    scene_free(&s);
}

/* Its cluster removed it, or added another directory as it, while its first save is under way. */
static void a_joiner_that_is_refused_before_its_first_save_is_done_does_not_start(void **state)
{
    (void)state;
    static const enum wire_refusal reasons[] = {WIRE_REFUSE_REMOVED, WIRE_REFUSE_INCARNATION};
    for (size_t i = 0; i < 2; i++) {
        struct scene s;
        scene_without_entry1(&s, 4, 605, 0);
        lab_start(s.lab, 4);
        struct lab_node *n = lab_node(s.lab, 4);
        lab_run(s.lab, 500);
        struct lab_client *c = lab_client(s.lab, s.leader);
        struct wire_change change = {.count = 1};
        change.edits[0] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER};
        (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node4:7101");
        (void)lab_change(c, &change, 600000);
        n->save_ms = 100;
        for (int ms = 0; ms < 20000 && n->driver->fetching.phase != FETCH_STARTS; ms++)
            lab_run(s.lab, 1);
        assert_int_equal(n->driver->fetching.phase, FETCH_STARTS);
        struct wire_refuse refuse = {.reason = (uint8_t)reasons[i], .node = s.leader};
        (void)snprintf(refuse.words, sizeof refuse.words, "node 4 was removed");
        driver_refused(n->driver, s.leader, &refuse);
        lab_run(s.lab, 1000);
        assert_int_equal(lab_status(s.lab, 4)->state, DRIVER_FOREIGN);
        assert_int_equal(n->late_count, 0); /* the save was reported */
        lab_client_free(c);
        scene_free(&s);
    }
}

static void a_witness_gets_a_head_alone_and_starts_from_it(void **state)
{
    (void)state;
    struct scene s;
    scene_without_entry1(&s, 4, 590, 0);
    lab_start(s.lab, 4);
    lab_run(s.lab, 500);
    scene_add(&s, 4, KELP_WITNESS);
    lab_run(s.lab, 3000);
    const struct lab_node *w = lab_node(s.lab, 4);
    lab_crash(s.lab, 4);
    scene_write(&s, 300); /* it is behind once more, as a member */
    lab_run(s.lab, 500);
    lab_start(s.lab, 4);
    s.pieces = s.piece_bytes = 0;
    for (int i = 0; i < 20000 && scene_fetch(&s).fetched == 0; i++)
        lab_run(s.lab, 1);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    lab_run(s.lab, 1000);
    struct driver_status *status = lab_status(s.lab, 4);
    assert_true(status->view.first > 300);
    assert_int_equal(status->view.commit, lab_status(s.lab, s.leader)->view.commit);
    size_t head_len = 0;
    struct wire_snaphead head;
    size_t used = 0;
    struct kelp_bytes file = memstore_file(w->store, &head_len);
    assert_int_equal(wire_snaphead_decode(bytes_of(file.data, head_len), &head, &used, NULL), 0);
    assert_true(head.hollow);
    assert_int_equal(file.len, head_len);
    lab_crash(s.lab, 4);
    lab_start(s.lab, 4);
    scene_write(&s, 20);
    lab_run(s.lab, 1000);
    assert_int_equal(lab_status(s.lab, 4)->state, DRIVER_RUNNING);
    assert_int_equal(lab_status(s.lab, 4)->view.commit, lab_status(s.lab, s.leader)->view.commit);
    struct lab_client *reader = lab_client(s.lab, 4);
    (void)lab_read_how(reader, (struct kelp_read_how){.level = KELP_READ_ANY}, 2000);
    lab_await(reader, 1);
    assert_int_equal(reader->told[0].outcome, KELP_DONE); /* by the leader: it has no state */
    assert_int_equal(reader->told[0].result[0], s.written);
    lab_client_free(reader);
    scene_free(&s);
}

/* It was handed entry 1, and the entry that made it a witness is compacted. */
static void a_witness_that_does_not_know_it_yet_gets_a_head_alone(void **state)
{
    (void)state;
    struct scene s;
    memset(&s, 0, sizeof s);
    s.lab = lab_new(4, 595);
    s.lab->founders = 3;
    s.lab->snapshot_every = 50;
    s.lab->snapshot_objects = MANY;
    s.lab->forgets = true;
    s.behind = 4;
    for (kelp_id id = 1; id <= 3; id++)
        lab_start(s.lab, id);
    s.leader = lab_await_leader(s.lab);
    s.c = lab_client(s.lab, s.leader);
    scene_write(&s, 300);
    lab_run(s.lab, 500);
    assert_true(lab_status(s.lab, s.leader)->view.first > 2);
    lab_start(s.lab, 4);
    struct lab_node *w = lab_node(s.lab, 4);
    w->hold_disk = true; /* until the entry is compacted that makes it one */
    lab_run(s.lab, 500);
    scene_add(&s, 4, KELP_WITNESS);
    kelp_index added = lab_status(s.lab, s.leader)->view.commit;
    for (int i = 0; i < 200 && lab_status(s.lab, s.leader)->view.first <= added; i++)
        scene_write(&s, 5);
    assert_true(lab_status(s.lab, s.leader)->view.first > added);
    w->hold_disk = false;
    for (int i = 0; i < 20000 && scene_fetch(&s).fetched == 0; i++)
        lab_run(s.lab, 1);
    assert_int_equal(scene_fetch(&s).fetched, 1);
    assert_true(w->entry1_len > 0);
    size_t used = 0;
    struct wire_snaphead head;
    struct kelp_bytes file = memstore_file(w->store, &w->head_len);
    assert_int_equal(wire_snaphead_decode(bytes_of(file.data, w->head_len), &head, &used, NULL), 0);
    assert_true(head.hollow);
    assert_int_equal(file.len, w->head_len);
    lab_run(s.lab, 500);
    assert_true(w->driver->hollow);
    assert_int_equal(w->driver->found->snapshot.index, 0); /* it has none for those who join */
    scene_free(&s);
}

/* The snapshot that a witness takes of its empty machine is no state to begin with. */
static void a_joiner_takes_no_snapshot_of_a_witness(void **state)
{
    (void)state;
    struct scene s;
    scene_without_entry1(&s, 5, 601, 0);
    s.behind = 5;
    s.only = 4;
    lab_start(s.lab, 4);
    lab_run(s.lab, 500);
    scene_add(&s, 4, KELP_WITNESS);
    scene_write(&s, 20);
    lab_run(s.lab, 1000);
    struct kelp_pos pos;
    assert_int_equal(driver_snapshot_now(lab_node(s.lab, 4)->driver, &pos), KELP_OK);
    lab_run(s.lab, 1000);
    assert_true(lab_status(s.lab, 4)->snapshot.taken > 0);
    lab_crash(s.lab, 4);
    lab_start(s.lab, 4);
    lab_run(s.lab, 500);
    lab_start(s.lab, 5);
    lab_run(s.lab, 500);
    struct lab_client *c = lab_client(s.lab, s.leader);
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = 5, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER};
    (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node5:7101");
    (void)lab_change(c, &change, 600000);
    for (int i = 0; i < 20000 && lab_status(s.lab, 4)->latest.config.count < 5; i++)
        lab_run(s.lab, 1);
    assert_int_equal(lab_status(s.lab, 4)->latest.config.count, 5);
    for (int i = 0; i < 5000; i++) {
        assert_true(scene_fetch(&s).from != 4);
        lab_run(s.lab, 1);
    }
    assert_int_equal(lab_status(s.lab, 5)->state, DRIVER_WAITING);
    s.only = 0;
    scene_await_level(&s, 20000);
    lab_client_free(c);
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_lacks_what_was_compacted_gets_the_snapshot_and_goes_on),
        cmocka_unit_test(one_object_is_restored_in_a_run),
        cmocka_unit_test(frames_that_are_lost_or_come_twice_are_asked_for_again),
        cmocka_unit_test(two_are_served_at_once_within_the_rate),
        cmocka_unit_test(a_wait_at_the_old_rate_ends_with_it),
        cmocka_unit_test(a_connection_that_is_lost_costs_what_was_on_its_way),
        cmocka_unit_test(a_source_that_dies_is_left_for_another_one),
        cmocka_unit_test(a_fetch_that_the_log_overtook_ends_although_nobody_offers),
        cmocka_unit_test(one_that_a_newer_took_the_place_of_is_begun_anew_with_that),
        cmocka_unit_test(a_source_whose_snapshot_is_damaged_takes_another_one),
        cmocka_unit_test(without_room_it_is_given_up_and_tried_again),
        cmocka_unit_test(a_crash_between_name_and_reset_begins_behind_the_snapshot),
        cmocka_unit_test(a_crash_in_the_middle_begins_with_the_old_state),
        cmocka_unit_test(an_own_snapshot_gives_way),
        cmocka_unit_test(reads_see_the_state_before_or_after_and_no_other),
        cmocka_unit_test(a_long_read_that_began_before_is_answered_first),
        cmocka_unit_test(a_write_of_a_deposed_leader_that_a_snapshot_passed_is_unknown),
        cmocka_unit_test(a_driver_that_goes_or_faults_meanwhile_ends_what_is_open),
        cmocka_unit_test(who_joins_where_the_first_entry_is_gone_begins_with_a_snapshot),
        cmocka_unit_test(a_joiner_that_crashes_at_any_time_gets_there),
        cmocka_unit_test(a_joiner_whose_source_dies_takes_the_snapshot_of_another),
        cmocka_unit_test(a_joiner_that_is_refused_before_its_first_save_is_done_does_not_start),
        cmocka_unit_test(a_witness_gets_a_head_alone_and_starts_from_it),
        cmocka_unit_test(a_witness_that_does_not_know_it_yet_gets_a_head_alone),
        cmocka_unit_test(a_joiner_takes_no_snapshot_of_a_witness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
