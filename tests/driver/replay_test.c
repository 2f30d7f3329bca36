/* SPDX-License-Identifier: Apache-2.0 */
/* replay_test.c - what a start has to apply again, and what has gathered before a machine that was
 * slow: a part in each run; and nobody is told of what was applied before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"

#define WRITTEN 6000u

/* One node of one, which has to apply all of its log again. */
static struct lab *lab_to_replay(void)
{
    struct lab *lab = lab_new(1, 810);
    lab_start_all(lab);
    struct lab_client *c = lab_client(lab, lab_await_leader(lab));
    for (uint64_t i = 1; i <= WRITTEN; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 100 == 0) lab_run(lab, 2);
    }
    lab_await(c, WRITTEN);
    lab_run(lab, 300);
    lab_client_free(c);
    lab_crash(lab, 1);
    return lab;
}

/* Sockets and the disk have their turn between two runs, and clients are told what is. */
static void a_long_replay_leaves_others_their_turn(void **state)
{
    (void)state;
    struct lab *lab = lab_to_replay();
    lab_start(lab, 1);
    struct lab_node *n = lab_node(lab, 1);
    struct lab_client *c = lab_client(lab, 1);
    kelp_index before = rsm_applied(n->rsm).index;
    kelp_index known = lab_status(lab, 1)->view.commit; /* to be committed, by its disk */
    unsigned runs = 0, told = 0;
    assert_true(before < WRITTEN / 4 && known > WRITTEN / 2);
    for (int turn = 0; turn < 10000 && n->machine->count < WRITTEN; turn++) {
        (void)lab_read_how(c, (struct kelp_read_how){.level = KELP_READ_ANY}, 20000);
        (void)memstore_run(n->store);
        (void)driver_run(n->driver, lab->now);
        kelp_index after = rsm_applied(n->rsm).index;
        assert_true(after - before <= APPLY_ENTRIES_MAX);
        runs += after > before;
        for (; after < known && told < c->told_count; told++) {
            assert_int_equal(c->told[told].outcome, KELP_REFUSED);
            assert_int_equal(c->told[told].reason, KELP_R_LOADING);
        }
        before = after;
    }
    assert_int_equal(n->machine->count, WRITTEN);
    assert_true(runs >= WRITTEN / APPLY_ENTRIES_MAX);
    assert_true(told >= known / APPLY_ENTRIES_MAX - 1);
    lab_client_free(c);
    lab_free(lab);
}

/* It is all in memory: nothing but the rule ends a run. */
static void a_long_backlog_leaves_others_their_turn(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 811);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    struct lab_client *c = lab_client(lab, leader);
    struct lab_node *n = lab_node(lab, leader % 3 + 1);
    lab_run(lab, 300);
    n->hold_apply = true;
    for (uint64_t i = 1; i <= WRITTEN; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 100 == 0) lab_run(lab, 2);
    }
    lab_await(c, WRITTEN);
    lab_run(lab, 300);
    assert_int_equal(lab_status(lab, n->id)->view.commit, lab_status(lab, leader)->view.commit);
    lab_release_apply(n);
    kelp_index before = rsm_applied(n->rsm).index;
    unsigned runs = 0;
    for (; runs < 1000 && n->machine->count < WRITTEN; runs++) {
        (void)memstore_run(n->store);
        (void)driver_run(n->driver, lab->now);
        kelp_index after = rsm_applied(n->rsm).index;
        assert_true(after - before <= APPLY_ENTRIES_MAX);
        before = after;
    }
    assert_int_equal(n->machine->count, WRITTEN);
    assert_in_range(runs, (WRITTEN - APPLY_ENTRIES_MAX) / APPLY_ENTRIES_MAX, 50);
    lab_client_free(c);
    lab_free(lab);
}

/* The numbers that clients of this process give their requests are those of an earlier one's. */
static void what_is_applied_again_is_told_to_nobody(void **state)
{
    (void)state;
    struct lab *lab = lab_to_replay();
    lab_start(lab, 1);
    struct lab_node *n = lab_node(lab, 1);
    struct lab_client *c = lab_client(lab, 1);
    uint64_t token = lab_write(c, WRITTEN + 1, 60000); /* it waits for the leadership */
    for (int ms = 0; ms < 30000 && n->machine->count < WRITTEN; ms++) {
        assert_int_equal(c->told_count, 0);
        (void)memstore_run(n->store);
        (void)driver_run(n->driver, lab->now);
    }
    lab_await(c, 1);
    lab_run(lab, 1000);
    assert_int_equal(c->told_count, 1);
    assert_int_equal(c->told[0].token, token);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    assert_int_equal(c->told[0].result[0], WRITTEN + 1);
    lab_client_free(c);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_replay_leaves_others_their_turn),
        cmocka_unit_test(a_long_backlog_leaves_others_their_turn),
        cmocka_unit_test(what_is_applied_again_is_told_to_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
