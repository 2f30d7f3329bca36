/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_test.c - snapshots as the driver takes them: when, beside what, and their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"

static void a_snapshot_waits_until_the_own_disk_holds_what_it_shows(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 17);
    lab->snapshot_every = 50;
    lab_start_all(lab);
    struct lab_node *n = lab_node(lab, lab_await_leader(lab));
    lab_run(lab, 300);
    struct lab_client *c = lab_client(lab, n->id);
    n->hold_disk = true; /* the two others commit */
    for (uint64_t i = 1; i <= 100; i++)
        (void)lab_write(c, i, 20000);
    lab_run(lab, 300);
    assert_int_equal(n->machine->count, 100);
    assert_true(lab_status(lab, n->id)->view.durable < lab_status(lab, n->id)->view.applied);
    assert_int_equal(n->head_new_len, 0);
    n->hold_disk = false;
    lab_run(lab, 300);
    assert_true(n->head_len > 0);
    lab_client_free(c);
    lab_free(lab);
}

static void a_disposable_machine_is_compacted_and_starts_from_its_snapshot(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 16);
    lab->snapshot_every = 50;
    lab_start_all(lab);
    struct lab_client *c = lab_client(lab, lab_await_leader(lab));
    for (uint64_t i = 1; i <= 1000; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 10 == 0) lab_run(lab, 2);
    }
    lab_await(c, 1000);
    lab_run(lab, 1000);
    lab_client_free(c);
    for (kelp_id id = 1; id <= 3; id++)
        assert_true(lab_status(lab, id)->view.first > 500);
    uint64_t chain = rsm_chain_hash(lab_node(lab, 1)->rsm);
    struct kelp_pos applied = rsm_applied(lab_node(lab, 1)->rsm);
    for (kelp_id id = 1; id <= 3; id++)
        lab_crash(lab, id);
    for (kelp_id id = 1; id <= 3; id++)
        lab_start(lab, id);
    /* from the snapshot, before any replay */
    assert_true(rsm_applied(lab_node(lab, 1)->rsm).index > 900);
    (void)lab_await_leader(lab);
    lab_run(lab, 1000);
    assert_int_equal(lab_node(lab, 1)->machine->count, 1000);
    assert_int_equal(lab_node(lab, 1)->machine->last, 1000);
    /* the new term's first entry */
    assert_true(rsm_applied(lab_node(lab, 1)->rsm).index > applied.index);
    assert_int_equal(rsm_chain_hash(lab_node(lab, 1)->rsm), rsm_chain_hash(lab_node(lab, 2)->rsm));
    assert_true(rsm_chain_hash(lab_node(lab, 1)->rsm) != chain);
    lab_free(lab);
}

static struct lab *lab_of_objects(struct lab_client **c, struct lab_node **n)
{
    struct lab *lab = lab_new(1, 31);
    lab->snapshot_every = 50;
    lab->snapshot_objects = 7;
    lab_start_all(lab);
    *n = lab_node(lab, lab_await_leader(lab));
    *c = lab_client(lab, (*n)->id);
    return lab;
}

static void write_many(struct lab *lab, struct lab_client *c, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        (void)lab_write(c, i, 20000);
        lab_run(lab, 2);
    }
    lab_await(c, to);
}

static void a_snapshot_of_objects_is_taken_while_commands_are_applied(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_of_objects(&c, &n);
    write_many(lab, c, 1, 400);
    lab_run(lab, 300);
    struct driver_snapshot_status s = lab_status(lab, n->id)->snapshot;
    assert_true(s.taken > 3 && s.failed == 0);
    assert_true(s.last.index > 300);
    assert_true(lab_status(lab, n->id)->view.first > 200);
    assert_int_equal(n->machine->snapshots_begun, s.taken);
    uint64_t count = n->machine->count;
    lab_client_free(c);
    lab_crash(lab, 1);
    lab_start(lab, 1);
    assert_true(n->machine->count > 200); /* before any replay */
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    assert_int_equal(n->machine->count, count);
    lab_free(lab);
}

static void a_snapshot_that_fails_is_ended_once_dropped_and_tried_again(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_of_objects(&c, &n);
    n->piece_error = KELP_E_NO_SPACE;
    write_many(lab, c, 1, 120);
    lab_run(lab, 100);
    struct driver_snapshot_status s = lab_status(lab, n->id)->snapshot;
    assert_int_equal(s.taken, 0);
    assert_true(s.failed >= 1);
    assert_int_equal(s.open.index, 0);
    assert_int_equal(n->machine->snapshots_begun, n->machine->snapshots_ended);
    n->piece_error = KELP_OK;
    n->machine->read_error = KELP_E_NO_MEMORY; /* before the first piece */
    lab_run(lab, 1500);
    uint64_t failed = lab_status(lab, n->id)->snapshot.failed;
    assert_true(failed > s.failed);
    assert_int_equal(n->machine->snapshots_begun, n->machine->snapshots_ended);
    n->machine->read_error = KELP_OK;
    lab_run(lab, 2500); /* twice as late as before */
    s = lab_status(lab, n->id)->snapshot;
    assert_int_equal(s.taken, 1);
    assert_int_equal(s.failed, failed);
    assert_int_equal(n->machine->snapshots_begun, n->machine->snapshots_ended);
    lab_client_free(c);
    lab_free(lab);
}

static void an_open_snapshot_is_ended_when_the_driver_goes(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_of_objects(&c, &n);
    write_many(lab, c, 1, 30);
    lab_run(lab, 100);
    struct kelp_pos pos;
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
    n->hold_disk = true;
    lab_run(lab, 20);
    assert_int_equal(n->machine->snapshots_begun, 1);
    assert_int_equal(n->machine->snapshots_ended, 0);
    assert_true(lab_status(lab, n->id)->snapshot.open.index > 0);
    lab_client_free(c);
    driver_free(n->driver);
    n->driver = NULL;
    assert_int_equal(n->machine->snapshots_ended, 1);
    lab_free(lab);
}

static void an_operator_gets_a_snapshot_unless_there_is_nothing_new(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_of_objects(&c, &n);
    write_many(lab, c, 1, 10);
    lab_run(lab, 100);
    struct kelp_pos pos;
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
    lab_run(lab, 300);
    kelp_index applied = lab_status(lab, n->id)->view.applied;
    assert_int_equal(lab_status(lab, n->id)->snapshot.last.index, applied);
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_E_NOT_FOUND);
    assert_int_equal(pos.index, applied);
    lab_run(lab, 300);
    assert_int_equal(lab_status(lab, n->id)->snapshot.taken, 1);
    lab_client_free(c);
    lab_free(lab);
}

static struct lab *lab_with(struct driver_snapshots when, struct lab_client **c,
                            struct lab_node **n)
{
    struct lab *lab = lab_new(1, 32);
    lab->snapshot_every = when.entries;
    lab->snapshots = when;
    lab->snapshot_objects = 2;
    lab_start_all(lab);
    *n = lab_node(lab, lab_await_leader(lab));
    *c = lab_client(lab, (*n)->id);
    return lab;
}

static uint64_t taken(struct lab *lab, const struct lab_node *n)
{
    return lab_status(lab, n->id)->snapshot.taken;
}

/* ---- what an operator was told ---- */

static uint64_t failures(struct lab *lab, const struct lab_node *n)
{
    return lab_status(lab, n->id)->snapshot.failed;
}

/* No rule asks for one: what is taken was promised. */
static struct lab *lab_asked(struct lab_client **c, struct lab_node **n)
{
    struct lab *lab = lab_new(1, 33);
    lab->snapshot_objects = 7;
    lab_start_all(lab);
    *n = lab_node(lab, lab_await_leader(lab));
    *c = lab_client(lab, (*n)->id);
    write_many(lab, *c, 1, 10);
    lab_run(lab, 100);
    return lab;
}

static void a_promised_snapshot_outlives_the_one_that_fails(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_asked(&c, &n);
    enum kelp_error *where[] = {&n->machine->begin_error, &n->machine->read_error, &n->piece_error,
                                &n->head_error};
    for (size_t i = 0; i < 4; i++) {
        struct kelp_pos pos;
        uint64_t before = taken(lab, n), failed = failures(lab, n);
        *where[i] = KELP_E_NO_MEMORY;
        assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
        lab_run(lab, 100);
        assert_int_equal(failures(lab, n), failed + 1); /* counted, and told */
        assert_non_null(strstr(n->note, "out of memory"));
        *where[i] = KELP_OK;
        lab_run(lab, 5000);
        assert_int_equal(taken(lab, n), before + 1);
        assert_true(lab_status(lab, n->id)->snapshot.last.index >= pos.index);
        lab_run(lab, 5000);
        assert_int_equal(taken(lab, n), before + 1); /* once */
        write_many(lab, c, c->told_count + 1, c->told_count + 1);
    }
    lab_client_free(c);
    lab_free(lab);
}

static void a_snapshot_that_goes_on_failing_is_tried_less_and_less_often(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_asked(&c, &n);
    struct kelp_pos pos;
    n->piece_error = KELP_E_NO_SPACE;
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
    lab_run(lab, 127 * 1000);
    assert_in_range(failures(lab, n), 6, 7); /* after 1, 2, 4, 8, 16, 32 seconds */
    lab_run(lab, 200 * 1000);
    assert_in_range(failures(lab, n), 9, 11); /* after 64 each time */
    uint64_t failed = failures(lab, n);
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
    lab_run(lab, 100);
    assert_int_equal(failures(lab, n), failed + 1); /* who asks does not wait */
    lab_client_free(c);
    lab_free(lab);
}

static void a_machine_without_snapshots_says_so_at_once(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_asked(&c, &n);
    struct kelp_pos pos;
    n->machine->no_snapshots = true;
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_E_NOT_SUPPORTED);
    n->machine->no_snapshots = false;
    n->machine->begin_error = KELP_E_NOT_SUPPORTED; /* which it could not know before */
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
    lab_run(lab, 100);
    assert_int_equal(failures(lab, n), 1);
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_E_NOT_SUPPORTED);
    n->machine->begin_error = KELP_OK;
    lab_run(lab, 10000);
    assert_int_equal(taken(lab, n), 0);
    lab_client_free(c);
    lab_free(lab);
}

static void one_that_is_being_dropped_is_none_that_is_under_way(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_asked(&c, &n);
    struct kelp_pos pos;
    n->machine->wants = true;
    n->piece_error = KELP_E_NO_SPACE;
    for (int i = 0; i < 1000 && n->driver->taking.phase != TAKING_DROPS; i++) {
        (void)memstore_run(n->store);
        (void)driver_run(n->driver, lab->now);
    }
    assert_int_equal(n->driver->taking.phase, TAKING_DROPS);
    n->machine->wants = false;
    n->piece_error = KELP_OK;
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
    lab_run(lab, 100); /* and not after a second */
    assert_int_equal(taken(lab, n), 1);
    lab_client_free(c);
    lab_free(lab);
}

/* It would show less than what was promised. Whoever asks meanwhile is promised one. */
static void what_is_asked_for_while_one_is_taken_is_taken_behind_it(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_asked(&c, &n);
    struct kelp_pos first, second, third;
    n->machine->objects = 1000000; /* until it is told otherwise */
    assert_int_equal(driver_snapshot_now(n->driver, &first), KELP_OK);
    lab_run(lab, 20);
    assert_int_equal(n->machine->snapshots_begun, 1);
    assert_int_equal(driver_snapshot_now(n->driver, &second), KELP_OK); /* it is under way */
    assert_int_equal(second.index, first.index);
    write_many(lab, c, c->told_count + 1, c->told_count + 5);
    assert_int_equal(driver_snapshot_now(n->driver, &second), KELP_OK);
    assert_int_equal(second.index, first.index + 5);
    assert_int_equal(driver_snapshot_now(n->driver, &third), KELP_OK);
    assert_int_equal(third.index, second.index);
    assert_int_equal(lab_status(lab, n->id)->snapshot.open.index, first.index);
    n->machine->objects = 7;
    n->machine->reads_left = 3;
    lab_run(lab, 5000);
    assert_int_equal(taken(lab, n), 2);
    assert_int_equal(failures(lab, n), 0);
    assert_int_equal(lab_status(lab, n->id)->snapshot.last.index, second.index);
    lab_client_free(c);
    lab_free(lab);
}

/* The log grew by more than it may while one was taken; then nobody writes any more. */
static void a_reason_that_comes_while_one_is_taken_counts_when_it_is_over(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_of_objects(&c, &n);
    n->machine->objects = 1000000;
    write_many(lab, c, 1, 100);
    assert_int_equal(n->machine->snapshots_begun, 1);
    kelp_index first = lab_status(lab, n->id)->snapshot.open.index;
    write_many(lab, c, 101, 200);
    assert_int_equal(n->machine->snapshots_begun, 1);
    n->machine->objects = 7;
    n->machine->reads_left = 3;
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 2);
    assert_true(lab_status(lab, n->id)->snapshot.last.index >= first + 100);
    lab_run(lab, 5000);
    assert_int_equal(taken(lab, n), 2);
    lab_client_free(c);
    lab_free(lab);
}

/* ---- a log that is behind ---- */

static void a_node_whose_disk_is_always_behind_takes_snapshots_under_load(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 18);
    lab->snapshot_every = 50;
    lab->snapshot_objects = 7;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    struct lab_node *n = lab_node(lab, leader % 3 + 1);
    struct lab_client *c = lab_client(lab, leader);
    n->save_ms = 30; /* ten entries of the others */
    for (uint64_t i = 1; i <= 1000; i++) {
        (void)lab_write(c, i, 20000);
        lab_run(lab, 3);
        const struct kelp_view *view = &lab_status(lab, n->id)->view;
        if (i > 100) assert_true(view->durable < view->applied);
    }
    assert_true(taken(lab, n) > 5);
    assert_int_equal(failures(lab, n), 0);
    lab_client_free(c);
    lab_free(lab);
}

static void a_head_does_not_wait_for_ever_for_the_log(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 19);
    lab->snapshot_objects = 7;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    struct lab_node *n = lab_node(lab, leader % 3 + 1);
    struct lab_client *c = lab_client(lab, leader);
    lab_run(lab, 300);
    n->save_ms = 14000;
    for (uint64_t i = 1; i <= 10; i++)
        (void)lab_write(c, i, 20000);
    lab_run(lab, 100);
    struct kelp_pos pos;
    assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_OK);
    lab_run(lab, 9800);
    assert_int_equal(n->machine->snapshots_begun, 1);
    assert_int_equal(n->machine->snapshots_ended, 1); /* what it kept is let go meanwhile */
    assert_int_equal(failures(lab, n), 0);
    assert_true(memstore_pieces(n->store).len > 0);
    lab_run(lab, 400);
    assert_int_equal(failures(lab, n), 1);
    assert_int_equal(memstore_pieces(n->store).len, 0); /* the log may need their room */
    lab_run(lab, 6000);
    assert_int_equal(taken(lab, n), 1);
    assert_true(lab_status(lab, n->id)->snapshot.last.index >= pos.index);
    lab_client_free(c);
    lab_free(lab);
}

/* ---- witnesses ---- */

static void witness_add(struct lab *lab, kelp_id at, kelp_id id)
{
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = id, .verb = KELP_EDIT_ADD, .role = KELP_WITNESS};
    (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node%d:7101", (int)id);
    struct lab_client *c = lab_client(lab, at);
    (void)lab_change(c, &change, 20000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    lab_client_free(c);
}

/* Is told nothing that its machine would say. */
static void assert_read_refused(struct lab *lab, kelp_id id)
{
    struct lab_client *c = lab_client(lab, id);
    (void)lab_read_how(c, (struct kelp_read_how){.level = KELP_READ_ANY}, 2000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_REFUSED);
    lab_client_free(c);
}

/* As if its log had brought it the configuration that removes it. */
static void removal_written(struct lab_node *n, kelp_index index)
{
    struct wire_config *config = &n->configs[n->config_count];
    *config = n->configs[n->config_count - 1];
    n->config_count++;
    config->config.index = index;
    config->config.count = 2;
}

/* An empty machine is shown neither by a snapshot that was taken while the configuration said so,
 * nor by one that would be taken now. */
static void a_removed_witness_answers_no_reads_after_a_start(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) {
        struct lab *lab = lab_new(3, 34);
        lab->founders = 2;
        lab->snapshot_objects = 2;
        lab_start_all(lab);
        kelp_id leader = lab_await_leader(lab);
        struct lab_client *c = lab_client(lab, leader);
        struct kelp_pos pos;
        witness_add(lab, leader, 3);
        write_many(lab, c, 1, 20);
        lab_run(lab, 1000);
        struct lab_node *w = lab_node(lab, 3);
        assert_int_equal(w->machine->count, 0);
        if (early == 1) assert_int_equal(driver_snapshot_now(w->driver, &pos), KELP_OK);
        lab_run(lab, 100);
        assert_int_equal(taken(lab, w), early);
        kelp_index last = lab_status(lab, 3)->view.last;
        lab_crash(lab, 3);
        w->cut = true;
        removal_written(w, last - 2);
        removal_written(w, last - 1); /* and what came after it */
        lab_start(lab, 3);
        lab_run(lab, 100);
        assert_int_equal(lab_status(lab, 3)->committed.config.count, 2);
        assert_read_refused(lab, 3);
        assert_int_equal(driver_snapshot_now(w->driver, &pos), KELP_E_BUSY);
        lab_client_free(c);
        lab_free(lab);
    }
}

static kelp_id deaf_to; /* nobody but node 4 gets entries from it; 0: all do */

static bool only_to_4(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    (void)lab;
    (void)ctx;
    return deaf_to == 0 || p->from != deaf_to || p->to == 4 || p->lane != KELP_LANE_ENTRIES;
}

static void add_4(struct lab_client *c, uint8_t role)
{
    struct wire_change change = {.count = 1, .flags = KELP_CHANGE_FORCE};
    change.edits[0] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = role};
    (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node4:7101");
    (void)lab_change(c, &change, 20000);
}

/* The configuration that makes 4 a witness reaches only 4, which starts again; nobody else ever
 * hears of it, and 4 becomes a voter with all the data. */
static void what_was_not_committed_makes_no_machine_empty(void **state)
{
    (void)state;
    struct lab *lab = lab_new(4, 7);
    lab->founders = 3;
    lab->watch = only_to_4;
    deaf_to = 0;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), third = leader == 3 ? 2 : 3;
    struct lab_client *c = lab_client(lab, leader);
    write_many(lab, c, 1, 5);
    lab_crash(lab, third);
    lab_run(lab, 3000);
    assert_int_equal(lab_leader(lab), leader);
    deaf_to = leader;
    add_4(c, KELP_WITNESS);
    for (int i = 0; i < 4000 && lab_status(lab, 4)->latest.config.count < 4; i++)
        lab_run(lab, 1);
    assert_int_equal(lab_status(lab, 4)->latest.config.count, 4);
    lab_run(lab, 20);
    lab_client_free(c);
    lab_crash(lab, leader);
    lab_crash(lab, 4);
    lab_start(lab, third);
    lab_start(lab, 4);
    assert_false(lab_node(lab, 4)->driver->hollow);
    deaf_to = 0;
    lab_run(lab, 8000);
    c = lab_client(lab, lab_await_leader(lab));
    add_4(c, KELP_VOTER);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    lab_client_free(c);
    c = lab_client(lab, 4);
    (void)lab_read(c, 5000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    assert_int_equal(c->told[0].result[0], 5);
    lab_client_free(c);
    lab_free(lab);
}

/* ---- when ---- */

static void the_first_snapshot_of_a_process_comes_later(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_with((struct driver_snapshots){.entries = 1000}, &c, &n);
    write_many(lab, c, 1, 1000);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 0); /* of this seed; a quarter on average */
    write_many(lab, c, 1001, 1500);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 1);
    kelp_index first = lab_status(lab, n->id)->snapshot.last.index;
    write_many(lab, c, 1501, 2600);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 2);
    assert_in_range(lab_status(lab, n->id)->snapshot.last.index, first + 1000, first + 1010);
    lab_client_free(c);
    lab_free(lab);
}

static void a_long_log_is_a_reason(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct driver_snapshots when = {.log_bytes = 100u * 4096, .ratio = 3000};
    struct lab *lab = lab_with(when, &c, &n);
    write_many(lab, c, 1, 95); /* a block each */
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 0);
    write_many(lab, c, 96, 160);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 1); /* the ratio is of one that is not there */
    uint64_t least = 3000 * lab_status(lab, n->id)->snapshot.last_bytes / 4096;
    kelp_index first = lab_status(lab, n->id)->snapshot.last.index;
    assert_in_range(least, 150, 600);
    write_many(lab, c, 161, 161 + least + 20);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 2);
    assert_true(lab_status(lab, n->id)->snapshot.last.index - first >= least);
    lab_client_free(c);
    lab_free(lab);
}

static void time_alone_is_a_reason_if_anything_is_new(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct driver_snapshots when = {.interval = 2000 * LAB_MS};
    struct lab *lab = lab_with(when, &c, &n);
    write_many(lab, c, 1, 3);
    lab_run(lab, 4000);
    assert_int_equal(taken(lab, n), 1);
    lab_run(lab, 8000);
    assert_int_equal(taken(lab, n), 1); /* nothing is new */
    write_many(lab, c, 4, 4);
    lab_run(lab, 100);
    assert_int_equal(taken(lab, n), 2);
    lab_client_free(c);
    lab_free(lab);
}

/* HC TestRaft_ReloadConfig */
static void other_rules_count_for_what_has_passed_already(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_with((struct driver_snapshots){.entries = 1000}, &c, &n);
    write_many(lab, c, 1, 200);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 0);
    driver_snapshots_change(n->driver, &(struct driver_snapshots){.entries = 50});
    write_many(lab, c, 201, 201); /* wakes it */
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 1);
    driver_snapshots_change(n->driver, &(struct driver_snapshots){.interval = 3600000 * LAB_MS});
    write_many(lab, c, 202, 400);
    lab_run(lab, 4000);
    assert_int_equal(taken(lab, n), 1);
    driver_snapshots_change(n->driver, &(struct driver_snapshots){.interval = 1000 * LAB_MS});
    (void)driver_run(n->driver, lab->now);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 2);
    lab_client_free(c);
    lab_free(lab);
}

static void the_machines_own_word_is_a_reason(void **state)
{
    (void)state;
    struct lab_client *c;
    struct lab_node *n;
    struct lab *lab = lab_with((struct driver_snapshots){.entries = 0}, &c, &n);
    write_many(lab, c, 1, 100);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 0);
    n->machine->wants = true;
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 1);
    lab_run(lab, 300);
    assert_int_equal(taken(lab, n), 1); /* it may go on wanting: nothing is new */
    lab_client_free(c);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_waits_until_the_own_disk_holds_what_it_shows),
        cmocka_unit_test(a_disposable_machine_is_compacted_and_starts_from_its_snapshot),
        cmocka_unit_test(a_snapshot_of_objects_is_taken_while_commands_are_applied),
        cmocka_unit_test(a_snapshot_that_fails_is_ended_once_dropped_and_tried_again),
        cmocka_unit_test(an_open_snapshot_is_ended_when_the_driver_goes),
        cmocka_unit_test(an_operator_gets_a_snapshot_unless_there_is_nothing_new),
        cmocka_unit_test(a_promised_snapshot_outlives_the_one_that_fails),
        cmocka_unit_test(a_snapshot_that_goes_on_failing_is_tried_less_and_less_often),
        cmocka_unit_test(a_machine_without_snapshots_says_so_at_once),
        cmocka_unit_test(one_that_is_being_dropped_is_none_that_is_under_way),
        cmocka_unit_test(what_is_asked_for_while_one_is_taken_is_taken_behind_it),
        cmocka_unit_test(a_reason_that_comes_while_one_is_taken_counts_when_it_is_over),
        cmocka_unit_test(a_node_whose_disk_is_always_behind_takes_snapshots_under_load),
        cmocka_unit_test(a_head_does_not_wait_for_ever_for_the_log),
        cmocka_unit_test(a_removed_witness_answers_no_reads_after_a_start),
        cmocka_unit_test(what_was_not_committed_makes_no_machine_empty),
        cmocka_unit_test(the_first_snapshot_of_a_process_comes_later),
        cmocka_unit_test(a_long_log_is_a_reason),
        cmocka_unit_test(time_alone_is_a_reason_if_anything_is_new),
        cmocka_unit_test(other_rules_count_for_what_has_passed_already),
        cmocka_unit_test(the_machines_own_word_is_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
