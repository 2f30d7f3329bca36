/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_test.c - snapshots as the driver takes them: when, beside what, and their end. */
#include <setjmp.h>
#include <stdarg.h>
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
    lab_run(lab, 1500);
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
        cmocka_unit_test(the_first_snapshot_of_a_process_comes_later),
        cmocka_unit_test(a_long_log_is_a_reason),
        cmocka_unit_test(time_alone_is_a_reason_if_anything_is_new),
        cmocka_unit_test(the_machines_own_word_is_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
