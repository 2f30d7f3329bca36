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
    struct lab_client *c; /* of the leader */
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
    struct lab_client *other = lab_client(t.lab, t.leader); /* on its own line nothing waits */
    (void)lab_read(other, 5000);
    lab_run(t.lab, 1000);
    assert_int_equal(t.c->told_count, told);
    assert_int_equal(other->told_count, 0);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(t.lab, id)->hold_disk = false;
    lab_await(t.c, 13);
    lab_await(other, 1);
    assert_int_equal(other->told[0].outcome, KELP_DONE);
    assert_int_equal(machine_of(t, t.leader)->due, 0);
    lab_client_free(other);
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

/* Its machine is the same, and its clock says nothing. */
static void a_follower_answers_of_what_is_due_only_who_may_miss_it(void **state)
{
    (void)state;
    static const struct kelp_read_how hows[] = {
        {.level = KELP_READ_LINEARIZABLE}, {.level = KELP_READ_LEASE, .may_round = true},
        {.level = KELP_READ_LOG},          {.level = KELP_READ_STALE, .stale_max = KELP_NEVER},
        {.level = KELP_READ_ANY},
    };
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
        struct timed t = lasts(31 + i, 100);
        kelp_id follower = t.leader % 3 + 1;
        struct lab_client *c = lab_client(t.lab, follower);
        for (kelp_id id = 1; id <= 3; id++)
            lab_node(t.lab, id)->hold_disk = id != t.leader;
        lab_run(t.lab, 150);
        assert_true(machine_of(t, follower)->due != 0);
        (void)lab_read_how(c, hows[i], 5000);
        lab_run(t.lab, 500);
        bool may_miss = hows[i].level == KELP_READ_STALE || hows[i].level == KELP_READ_ANY;
        assert_int_equal(c->told_count, may_miss);
        assert_true(machine_of(t, follower)->due != 0);
        for (kelp_id id = 1; id <= 3; id++)
            lab_node(t.lab, id)->hold_disk = false;
        lab_await(c, 1);
        assert_int_equal(c->told[0].outcome, KELP_DONE);
        if (!may_miss) assert_int_equal(machine_of(t, t.leader)->due, 0);
        lab_client_free(c);
        end(t);
    }
}

/* It was committed, and its deadline passed before the machine had it. */
static void what_passes_before_it_is_applied_is_not_told_either(void **state)
{
    (void)state;
    struct timed t = lasts(37, 0);
    lab_run(t.lab, 300); /* nothing has a deadline as far as anybody knows */
    assert_int_equal(machine_of(t, t.leader)->ticks, 1);
    struct lab_node *n = lab_node(t.lab, t.leader);
    n->hold_apply = true;
    (void)lab_write(t.c, 1, 1000);
    lab_run(t.lab, 50);
    (void)lab_write(t.c, LAB_LASTS + 100, 1000);
    lab_run(t.lab, 50);
    assert_int_equal(n->held_first + n->held_count - 1, last_of(t) - 1); /* not with it yet */
    lab_run(t.lab, 100);
    struct lab_client *c = lab_client(t.lab, t.leader);
    (void)lab_read(c, 5000);
    lab_run(t.lab, 300); /* its index is known */
    lab_release_apply(n);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    assert_int_equal(machine_of(t, t.leader)->due_when_asked, 0);
    assert_int_equal(machine_of(t, t.leader)->due, 0);
    assert_int_equal(machine_of(t, t.leader)->ticks, 2);
    lab_client_free(c);
    end(t);
}

/* What a follower was told to see lies before what ended on the leader meanwhile: it would show
 * what is gone. The read comes at every moment around the one at which the entry is committed. */
static void a_follower_behind_what_ended_does_not_show_it(void **state)
{
    (void)state;
    for (uint64_t early = 0; early < 8; early++) {
        struct timed t = lasts(61, 100);
        kelp_id follower = t.leader % 3 + 1;
        struct lab_client *c = lab_client(t.lab, follower);
        lab_run(t.lab, 50);
        for (kelp_id id = 1; id <= 3; id++)
            lab_node(t.lab, id)->hold_disk = id != t.leader;
        lab_run(t.lab, 150);
        kelp_index last = last_of(t);
        assert_true(machine_of(t, follower)->due != 0); /* and its deadline has passed */
        for (uint64_t ms = 0; ms < 8; ms++) {
            if (ms == early)
                (void)lab_read_how(c, (struct kelp_read_how){.level = KELP_READ_LINEARIZABLE},
                                   5000);
            if (ms == 4) {
                for (kelp_id id = 1; id <= 3; id++)
                    lab_node(t.lab, id)->hold_disk = false;
            }
            lab_run(t.lab, 1);
        }
        lab_await(c, 1);
        assert_int_equal(c->told[0].outcome, KELP_DONE);
        assert_int_equal(last_of(t), last); /* the entry was there before */
        assert_int_equal(machine_of(t, follower)->due_when_asked, 0);
        lab_client_free(c);
        end(t);
    }
}

/* .. and what it answers from may lie behind what it was told to see. */
static void a_follower_taken_further_does_not_show_what_was_due_then(void **state)
{
    (void)state;
    struct timed t = lasts(63, 0);
    lab_run(t.lab, 300);
    kelp_id follower = t.leader % 3 + 1;
    struct lab_client *c = lab_client(t.lab, follower);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(t.lab, id)->hold_disk = id != t.leader;
    (void)lab_write(t.c, LAB_LASTS + 100, 5000);
    lab_run(t.lab, 300);
    struct lab_node *n = lab_node(t.lab, follower);
    (void)lab_read_how(c, (struct kelp_read_how){.level = KELP_READ_LINEARIZABLE}, 5000);
    lab_run(t.lab, 1);
    (void)driver_line_backlog(n->driver, c->line, UINT64_C(1) << 30); /* nobody takes an answer */
    lab_run(t.lab, 300);                                              /* its index is known */
    assert_int_equal(c->told_count, 0);
    assert_int_equal(machine_of(t, follower)->due, 0);
    lab_node(t.lab, t.leader)->hold_apply = true; /* so that it is not ended at once */
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(t.lab, id)->hold_disk = false;
    lab_run(t.lab, 300);
    assert_true(machine_of(t, follower)->due != 0);
    (void)driver_line_backlog(n->driver, c->line, 0);
    lab_run(t.lab, 300);
    assert_int_equal(machine_of(t, follower)->due_when_asked, 0);
    lab_release_apply(lab_node(t.lab, t.leader));
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    lab_client_free(c);
    end(t);
}

/* It makes room, as a deletion does; with the last of it nothing goes on. */
static void what_is_due_goes_although_the_disk_is_nearly_full(void **state)
{
    (void)state;
    struct timed t = lasts(38, 100);
    struct driver *leader = lab_node(t.lab, t.leader)->driver;
    driver_space(leader, 100, KELP_SPACE_LOW);
    lab_run(t.lab, 400);
    assert_int_equal(machine_of(t, t.leader)->due, 0);
    (void)lab_write(t.c, LAB_LASTS + 30000, 1000);
    lab_await(t.c, 2);
    assert_int_equal(t.c->told[1].reason, KELP_R_NO_SPACE);
    end(t);
}

static void without_any_room_a_read_is_answered_as_things_stand(void **state)
{
    (void)state;
    struct timed t = lasts(39, 100);
    driver_space(lab_node(t.lab, t.leader)->driver, 100, KELP_SPACE_LAST);
    lab_run(t.lab, 150);
    (void)lab_read(t.c, 5000);
    lab_run(t.lab, 500);
    assert_int_equal(t.c->told_count, 2);
    assert_int_equal(t.c->told[1].outcome, KELP_DONE);
    assert_true(machine_of(t, t.leader)->due != 0);
    end(t);
}

/* What only carries the time frees nothing. */
static void a_nearly_full_disk_does_not_carry_the_time(void **state)
{
    (void)state;
    struct timed t = lasts(40, 60000);
    driver_space(lab_node(t.lab, t.leader)->driver, 100, KELP_SPACE_LOW);
    kelp_index last = last_of(t);
    lab_run(t.lab, 25000);
    assert_int_equal(last_of(t), last);
    driver_space(lab_node(t.lab, t.leader)->driver, 1000, KELP_SPACE_OK);
    lab_run(t.lab, 1000);
    assert_int_equal(last_of(t), last + 1);
    end(t);
}

static void led_by(struct timed *t, kelp_id id)
{
    (void)lab_transfer(t->c, id, 3000);
    for (int i = 0; i < 50 && lab_leader(t->lab) != id; i++)
        lab_run(t->lab, 100);
    lab_client_free(t->c);
    t->leader = lab_await_leader(t->lab);
    assert_int_equal(t->leader, id);
    t->c = lab_client(t->lab, id);
    lab_run(t->lab, 300);
}

/* Its node was suspended, its clock was looked at, nothing was stamped, and another one led. */
static void a_term_begins_at_the_last_stamp_and_not_at_what_was_looked_at(void **state)
{
    (void)state;
    struct timed t = lasts(41, 400000);
    kelp_id first = t.leader;
    struct driver *d = lab_node(t.lab, first)->driver;
    uint64_t stamp = d->clock_logged, jump = 100000 * MILLISECOND;
    d->clock_base += jump;
    assert_true(clock_running(d) >= stamp + jump);
    assert_true(d->clock_logged == stamp);
    led_by(&t, first % 3 + 1);
    led_by(&t, first);
    assert_true(d->clock_base >= stamp && d->clock_base < stamp + jump / 2);
    assert_true(d->clock_logged >= d->clock_base);
    end(t);
}

/* By whoever stamps it, whoever was asked: their times of day are hours apart. */
static void the_time_of_day_is_put_beside_a_command_once(void **state)
{
    (void)state;
    struct timed t = lasts(42, 0);
    struct lab_client *c = lab_client(t.lab, t.leader % 3 + 1);
    (void)lab_write(c, LAB_LASTS + 5000, 1000);
    lab_await(c, 1);
    lab_run(t.lab, 200);
    for (kelp_id id = 1; id <= 3; id++) {
        assert_int_equal(machine_of(t, id)->beside_len, 8);
        assert_int_equal(machine_of(t, id)->beside / LAB_WALL_HOURS, t.leader);
    }
    lab_client_free(c);
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
        cmocka_unit_test(a_follower_answers_of_what_is_due_only_who_may_miss_it),
        cmocka_unit_test(what_passes_before_it_is_applied_is_not_told_either),
        cmocka_unit_test(a_follower_behind_what_ended_does_not_show_it),
        cmocka_unit_test(a_follower_taken_further_does_not_show_what_was_due_then),
        cmocka_unit_test(what_is_due_goes_although_the_disk_is_nearly_full),
        cmocka_unit_test(without_any_room_a_read_is_answered_as_things_stand),
        cmocka_unit_test(a_nearly_full_disk_does_not_carry_the_time),
        cmocka_unit_test(a_term_begins_at_the_last_stamp_and_not_at_what_was_looked_at),
        cmocka_unit_test(the_time_of_day_is_put_beside_a_command_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
