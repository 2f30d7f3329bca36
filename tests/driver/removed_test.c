/* SPDX-License-Identifier: Apache-2.0 */
/* removed_test.c - what clients of a removed node are told: at once, and whom to ask instead; and
 * which reads go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"

#define AT_ONCE 2u /* milliseconds */

struct scene {
    struct lab *lab;
    kelp_id leader, gone;
};

static void write_some(struct scene *s, uint64_t count)
{
    struct lab_client *c = lab_client(s->lab, s->leader);
    for (uint64_t i = 1; i <= count; i++)
        (void)lab_write(c, i, 20000);
    lab_await(c, count);
    lab_client_free(c);
    lab_run(s->lab, 100); /* until all have applied it */
}

static struct scene scene_of(uint64_t seed)
{
    struct scene s = {.lab = lab_new(3, seed)};
    lab_start_all(s.lab);
    s.leader = lab_await_leader(s.lab);
    s.gone = s.leader % 3 + 1;
    write_some(&s, 4);
    return s;
}

static void take_out(struct scene *s)
{
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = s->gone, .verb = KELP_EDIT_REMOVE};
    struct lab_client *c = lab_client(s->lab, s->leader);
    (void)lab_change(c, &change, 20000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    lab_client_free(c);
}

/* Its node knows it, and nobody leads it any more. */
static struct scene removed_of(uint64_t seed)
{
    struct scene s = scene_of(seed);
    take_out(&s);
    lab_run(s.lab, 100);
    assert_true(lab_status(s.lab, s.gone)->view.removed);
    assert_int_equal(lab_status(s.lab, s.gone)->view.leader, 0);
    return s;
}

static struct kelp_read_how how_of(enum kelp_read_level level)
{
    return (struct kelp_read_how){.level = level};
}

static void assert_removed(const struct scene *s, const struct lab_told *told)
{
    assert_int_equal(told->reason, KELP_R_REMOVED);
    assert_int_equal(told->outcome, KELP_REFUSED);
    assert_int_equal(told->leader, s->leader);
}

static void every_request_is_refused_at_once_with_whom_to_ask(void **state)
{
    (void)state;
    struct scene s = removed_of(1);
    struct lab_client *c = lab_client(s.lab, s.gone);
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = s.leader, .verb = KELP_EDIT_DEMOTE};
    (void)lab_write(c, 9, 20000);
    (void)lab_write_here(c, 10, 20000);
    (void)lab_read(c, 20000);
    (void)lab_read_how(c, how_of(KELP_READ_LEASE), 20000);
    (void)lab_read_how(c, how_of(KELP_READ_LOG), 20000);
    (void)lab_ask_bare(c, how_of(KELP_READ_LINEARIZABLE), false, 20000);
    (void)lab_change(c, &change, 20000);
    (void)lab_plan(c, &change, 20000);
    (void)lab_transfer(c, 0, 20000);
    lab_run(s.lab, AT_ONCE);
    assert_int_equal(c->told_count, 9);
    for (size_t i = 0; i < c->told_count; i++)
        assert_removed(&s, &c->told[i]);
    lab_client_free(c);
    c = lab_client(s.lab, s.leader); /* nothing of it happened */
    (void)lab_read(c, 20000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].result[0], 4);
    lab_client_free(c);
    lab_free(s.lab);
}

/* It was down when it was removed, and its log does not say so. */
static void what_waits_for_a_leader_is_refused_when_the_removal_is_heard_of(void **state)
{
    (void)state;
    struct scene s = scene_of(2);
    lab_crash(s.lab, s.gone);
    take_out(&s);
    lab_start(s.lab, s.gone);
    struct lab_client *c = lab_client(s.lab, s.gone);
    kelp_ns asked = s.lab->now;
    (void)lab_write(c, 9, 20000);
    (void)lab_read(c, 20000);
    lab_await(c, 2);
    kelp_ns patience = 2 * lab_node(s.lab, s.gone)->driver->options.core.election_max;
    assert_true(s.lab->now - asked < patience);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(c->told[i].reason, KELP_R_REMOVED);
        assert_int_not_equal(c->told[i].leader, s.gone); /* somebody of the configuration it has */
        assert_int_not_equal(c->told[i].leader, 0);
    }
    lab_client_free(c);
    lab_free(s.lab);
}

/* STALE and ANY promise no more than they can keep: the bound goes on to be judged by what was
 * heard, and ANY has none. */
static void reads_that_need_nobody_go_on(void **state)
{
    (void)state;
    struct scene s = removed_of(3);
    struct lab_client *c = lab_client(s.lab, s.gone);
    struct kelp_read_how stale = {.level = KELP_READ_STALE, .stale_max = 1000 * LAB_MS};
    struct kelp_read_how seen = {.level = KELP_READ_ANY, .at_least = 2};
    (void)lab_read_how(c, how_of(KELP_READ_ANY), 20000);
    (void)lab_read_how(c, stale, 20000);
    (void)lab_read_how(c, seen, 20000);
    lab_run(s.lab, AT_ONCE);
    assert_int_equal(c->told_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(c->told[i].outcome, KELP_DONE);
        assert_int_equal(c->told[i].result[0], 4);
    }
    lab_run(s.lab, 1000);
    (void)lab_read_how(c, stale, 20000);
    (void)lab_read_how(c, how_of(KELP_READ_ANY), 20000);
    lab_run(s.lab, AT_ONCE);
    assert_int_equal(c->told_count, 5);
    assert_int_equal(c->told[3].reason, KELP_R_STALE_BEYOND);
    assert_int_equal(c->told[4].outcome, KELP_DONE);
    lab_client_free(c);
    lab_free(s.lab);
}

static void a_read_of_what_never_comes_here_is_refused(void **state)
{
    (void)state;
    struct scene s = scene_of(4);
    struct kelp_read_how later = {.level = KELP_READ_ANY, .at_least = 1000};
    struct lab_client *c = lab_client(s.lab, s.gone), *other = lab_client(s.lab, s.gone);
    (void)lab_read_how(c, later, 20000);
    lab_run(s.lab, 50);
    assert_int_equal(c->told_count, 0); /* it may come */
    take_out(&s);
    lab_run(s.lab, 100);
    assert_int_equal(c->told_count, 1);
    assert_removed(&s, &c->told[0]);
    (void)lab_read_how(other, later, 20000);
    (void)lab_read_how(other, how_of(KELP_READ_ANY), 20000); /* nor does it keep others waiting */
    lab_run(s.lab, AT_ONCE);
    assert_int_equal(other->told_count, 2);
    assert_removed(&s, &other->told[0]);
    assert_int_equal(other->told[1].outcome, KELP_DONE);
    lab_client_free(c);
    lab_client_free(other);
    lab_free(s.lab);
}

/* Whatever is open when a node is removed ends, and what was refused never happened. */
static void under_load_every_answer_is_one_and_true(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 16; seed++) {
        struct scene s = scene_of(seed);
        struct lab_client *c = lab_client(s.lab, s.gone);
        for (uint64_t i = 0; i < 200; i++) {
            if (i == 60) {
                struct wire_change change = {.count = 1};
                change.edits[0] = (struct wire_edit){.id = s.gone, .verb = KELP_EDIT_REMOVE};
                (void)lab_change(c, &change, 20000);
            }
            (void)lab_write(c, 100 + i, 20000);
            if (i % 5 == 0) (void)lab_read(c, 20000);
            lab_run(s.lab, 1);
        }
        lab_run(s.lab, 2000);
        assert_int_equal(c->told_count, c->tokens);
        size_t refused = 0;
        for (size_t i = 0; i < c->told_count; i++) {
            bool removed = c->told[i].outcome == KELP_REFUSED;
            if (removed) assert_int_equal(c->told[i].reason, KELP_R_REMOVED);
            refused += removed;
        }
        assert_true(refused > 0);
        const struct lab_machine *m = lab_node(s.lab, s.leader)->machine;
        size_t done = 0;
        for (uint64_t i = 0; i < m->count; i++)
            done += m->values[i] >= 100;
        assert_true(done + refused <= c->tokens);
        lab_client_free(c);
        lab_free(s.lab);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_refused_at_once_with_whom_to_ask),
        cmocka_unit_test(what_waits_for_a_leader_is_refused_when_the_removal_is_heard_of),
        cmocka_unit_test(reads_that_need_nobody_go_on),
        cmocka_unit_test(a_read_of_what_never_comes_here_is_refused),
        cmocka_unit_test(under_load_every_answer_is_one_and_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
