/* SPDX-License-Identifier: Apache-2.0 */
/* clock_test.c - what passes by itself is followed by an entry, and nothing else is appended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"

struct timed {
    struct lab *lab;
    kelp_id leader;
    struct lab_client *c;
};

/* Three nodes, and something that lasts so long; window: bytes uncommitted at most, 0: as usual. */
static struct timed lasts_within(uint64_t seed, uint64_t ms, uint64_t window)
{
    struct timed t = {.lab = lab_new(3, seed)};
    if (window > 0) t.lab->limits.uncommitted_bytes_max = window;
    lab_start_all(t.lab);
    t.leader = lab_await_leader(t.lab);
    lab_run(t.lab, 300);
    t.c = lab_client(t.lab, t.leader);
    (void)lab_write(t.c, LAB_LASTS + ms, 1000);
    lab_await(t.c, 1);
    assert_int_equal(t.c->told[0].outcome, KELP_DONE);
    return t;
}

static struct timed lasts(uint64_t seed, uint64_t ms)
{
    return lasts_within(seed, ms, 0);
}

static void end(struct timed t)
{
    lab_client_free(t.c);
    lab_free(t.lab);
}

static kelp_index last_of(struct timed t)
{
    return lab_status(t.lab, t.leader)->view.last;
}

static struct lab_machine *machine_of(struct timed t, kelp_id id)
{
    return lab_node(t.lab, id)->machine;
}

static void what_is_due_is_followed_by_one_entry_and_then_nothing(void **state)
{
    (void)state;
    struct timed t = lasts(21, 200);
    kelp_index last = last_of(t);
    lab_run(t.lab, 150);
    assert_int_equal(last_of(t), last);
    lab_run(t.lab, 250);
    assert_int_equal(last_of(t), last + 1);
    lab_run(t.lab, 60000);
    assert_int_equal(last_of(t), last + 1);
    for (kelp_id id = 1; id <= 3; id++) {
        assert_int_equal(machine_of(t, id)->due, 0);
        assert_int_equal(machine_of(t, id)->ticks, 1);
    }
    end(t);
}

static void without_a_deadline_nothing_is_appended(void **state)
{
    (void)state;
    struct timed t = lasts(22, 0);
    lab_run(t.lab, 1000);
    (void)lab_write(t.c, 7, 1000);
    lab_await(t.c, 2);
    kelp_index last = last_of(t);
    lab_run(t.lab, 120000);
    assert_int_equal(last_of(t), last);
    end(t);
}

/* Whoever leads next goes on from the last stamp in its log. */
static void the_time_is_carried_while_something_lasts(void **state)
{
    (void)state;
    struct timed t = lasts(23, 45000);
    kelp_index last = last_of(t);
    uint64_t began = machine_of(t, t.leader)->now;
    lab_run(t.lab, 35000);
    assert_int_equal(last_of(t), last + 3);
    uint64_t carried = machine_of(t, t.leader)->now - began;
    assert_true(carried >= 29000 * MILLISECOND && carried <= 35000 * MILLISECOND);
    lab_run(t.lab, 11000);
    assert_int_equal(last_of(t), last + 5); /* one more, and the one that was due */
    assert_int_equal(machine_of(t, t.leader)->due, 0);
    end(t);
}

static void the_next_leader_goes_on_from_the_last_stamp(void **state)
{
    (void)state;
    struct timed t = lasts(24, 4000);
    lab_run(t.lab, 2000);
    (void)lab_write(t.c, 7, 1000); /* the stamp of this one */
    lab_await(t.c, 2);
    uint64_t stamp = machine_of(t, t.leader)->now;
    kelp_id first = t.leader;
    lab_client_free(t.c);
    lab_crash(t.lab, first);
    t.leader = lab_await_leader(t.lab);
    t.c = lab_client(t.lab, t.leader);
    (void)lab_write(t.c, 8, 1000);
    lab_await(t.c, 1);
    assert_true(machine_of(t, t.leader)->now >= stamp);
    assert_true(machine_of(t, t.leader)->due != 0);
    lab_run(t.lab, 2300);
    assert_int_equal(machine_of(t, t.leader)->due, 0);
    end(t);
}

/* The entry cannot commit, the round that proves the read can. */
static void a_read_of_what_is_due_waits_for_the_entry(void **state)
{
    (void)state;
    struct timed t = lasts(25, 100);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(t.lab, id)->hold_disk = id != t.leader;
    lab_run(t.lab, 150);
    assert_true(machine_of(t, t.leader)->due != 0);
    (void)lab_read(t.c, 5000);
    lab_run(t.lab, 500);
    assert_int_equal(t.c->told_count, 1);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(t.lab, id)->hold_disk = false;
    lab_await(t.c, 2);
    assert_int_equal(t.c->told[1].outcome, KELP_DONE);
    assert_int_equal(machine_of(t, t.leader)->due, 0);
    end(t);
}

/* The core has no room for one more entry: that says nothing of what has passed. */
static void a_read_waits_on_where_the_entry_finds_no_room(void **state)
{
    (void)state;
    struct timed t = lasts_within(28, 100, 400);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(t.lab, id)->hold_disk = id != t.leader;
    for (uint64_t i = 0; i < 12; i++)
        (void)lab_write(t.c, i, 5000);
    lab_run(t.lab, 200);
    size_t told = t.c->told_count;
    assert_int_equal(lab_node(t.lab, t.leader)->driver->ticking.told, 0); /* the window is full */
    (void)lab_read(t.c, 5000);
    lab_run(t.lab, 1000);
    assert_int_equal(t.c->told_count, told);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(t.lab, id)->hold_disk = false;
    lab_await(t.c, 14);
    assert_int_equal(t.c->told[13].outcome, KELP_DONE);
    assert_int_equal(machine_of(t, t.leader)->due, 0);
    end(t);
}

static void a_read_that_waits_ends_at_its_deadline(void **state)
{
    (void)state;
    struct timed t = lasts(26, 100);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(t.lab, id)->hold_disk = id != t.leader;
    lab_run(t.lab, 150);
    (void)lab_read(t.c, 400);
    lab_run(t.lab, 600);
    assert_int_equal(t.c->told_count, 2);
    assert_int_equal(t.c->told[1].outcome, KELP_REFUSED);
    assert_int_equal(t.c->told[1].reason, KELP_R_TIMEOUT);
    end(t);
}

/* By a clock entry alone much may be cleared away. */
static void a_clock_entry_is_the_last_of_its_batch(void **state)
{
    (void)state;
    struct timed t = lasts(27, 100);
    struct lab_node *n = lab_node(t.lab, t.leader % 3 + 1);
    n->hold_apply = true;
    (void)lab_write(t.c, 1, 1000);
    lab_await(t.c, 2);
    lab_run(t.lab, 50); /* its batch is open: the next one holds what comes now */
    size_t held = n->held_count;
    assert_int_equal(held, 1);
    lab_run(t.lab, 300);
    (void)lab_write(t.c, 2, 1000);
    (void)lab_write(t.c, 3, 1000);
    lab_await(t.c, 4);
    lab_run(t.lab, 100);
    lab_release_apply(n);
    n->hold_apply = true;
    for (int i = 0; i < 1000 && n->held_count == 0; i++)
        lab_run(t.lab, 1);
    held = n->held_count; /* the clock entry, and not the two writes behind it */
    assert_true(held > 0);
    assert_int_equal(wire_entry_type(bytes_of(n->held[held - 1], n->held_len[held - 1])),
                     KELP_ENTRY_CLOCK);
    lab_release_apply(n);
    lab_run(t.lab, 200);
    assert_int_equal(n->machine->last, 3);
    end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_due_is_followed_by_one_entry_and_then_nothing),
        cmocka_unit_test(without_a_deadline_nothing_is_appended),
        cmocka_unit_test(the_time_is_carried_while_something_lasts),
        cmocka_unit_test(the_next_leader_goes_on_from_the_last_stamp),
        cmocka_unit_test(a_read_of_what_is_due_waits_for_the_entry),
        cmocka_unit_test(a_read_waits_on_where_the_entry_finds_no_room),
        cmocka_unit_test(a_read_that_waits_ends_at_its_deadline),
        cmocka_unit_test(a_clock_entry_is_the_last_of_its_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
