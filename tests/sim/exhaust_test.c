/* SPDX-License-Identifier: Apache-2.0 */
/* exhaust_test.c - small scopes explored whole or to a depth; and disks that break their promises,
 * which must be found out by what follows from it, on the shortest way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kelp/sim.h"

static struct kelp_sim_scope_report report;

#define RULE(number) (1u << (number))

static void passes(const struct kelp_sim_scope *scope)
{
    bool passed = kelp_sim_explore(scope, &report);
    if (!passed) print_error("%s: %s\n%s", report.invariant, report.message, report.path);
    assert_true(passed);
    assert_true(report.passed);
    assert_false(report.full);
    assert_string_equal(report.invariant, "");
    uint64_t states = 0;
    for (uint32_t depth = 0; depth <= KELP_SIM_SCOPE_DEPTH_MAX; depth++)
        states += report.fresh[depth];
    assert_int_equal(states, report.states);
}

static void three_nodes_keep_every_rule_for_ten_actions(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.depth = 10;
    passes(&scope);
    assert_int_equal(report.depth, 10);
    assert_false(report.whole);
    assert_true(report.states > 100 * 1000);
    assert_true(report.steps > report.states); /* the same states were met by many ways */
}

static void protections_keep_every_rule_too(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.protections = true;
    scope.depth = 9;
    passes(&scope);
}

/* Deep enough for a second leader that overwrites the first one's tail while saves of it are still
 * open, or that counts the first one's entry, and too little of everything else to take long. */
static void a_second_leader_keeps_every_rule(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.entries = 1;
    scope.messages = 3;
    scope.drops = scope.crashes = scope.beats = 0;
    scope.depth = 14;
    passes(&scope);
    scope.instant = true;
    scope.messages = 4;
    scope.depth = 13;
    passes(&scope);
}

static void messages_that_come_twice_change_nothing(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.repeats = 1;
    scope.drops = 0;
    scope.depth = 9;
    passes(&scope);
}

/* Elections, an overwritten tail and commits need some twenty actions; a scope that is small enough
 * is explored to its end. */
static void a_small_scope_is_explored_whole(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.entries = 1;
    scope.messages = 3;
    scope.drops = scope.crashes = scope.beats = 0;
    scope.instant = true;
    scope.depth = KELP_SIM_SCOPE_DEPTH_MAX;
    passes(&scope);
    assert_true(report.whole);
    assert_true(report.depth > 20);
    uint64_t states = report.states;
    passes(&scope);
    assert_int_equal(report.states, states);
}

/* Counted by hand, with room for one message, so that of an append and a heartbeat the append goes:
 * the beginning; 1 stands; 2 has voted; 1 leads; 2 holds its entry; it is committed. Or 2 stands
 * too, before it heard of 1; it has refused; 1 has lost. */
static void two_nodes_and_one_message_have_nine_states(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.nodes = 2;
    scope.terms = scope.entries = scope.messages = 1;
    scope.drops = scope.crashes = scope.beats = 0;
    scope.instant = true;
    passes(&scope);
    assert_true(report.whole);
    assert_int_equal(report.states, 9);
    assert_true(report.outside > 0); /* a second attempt would be in term 2 */
}

/* The first rule of those judged that this disk breaks, and how many actions it takes. */
static void finds(struct kelp_sim_scope scope, const char *invariant, uint32_t actions)
{
    scope.depth = 12;
    assert_false(kelp_sim_explore(&scope, &report));
    assert_false(report.passed);
    assert_string_equal(report.invariant, invariant);
    assert_int_equal(report.path_count, actions);
    assert_non_null(strstr(report.path, "timeout 1"));
}

/* 1 stands and 2 votes for it before its vote is durable, crashes, and votes for 3: two leaders.
 * The own promise is broken long before anything comes of it, so those rules are not asked. */
static void a_save_reported_too_early_makes_two_leaders(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.broken = KELP_SIM_SCOPE_EARLY_SAVED;
    scope.rules = RULE(1) | RULE(8) | RULE(9);
    finds(scope, "I01 ElectionSafety", 7);
    scope.rules = UINT32_MAX;
    scope.depth = 12;
    assert_false(kelp_sim_explore(&scope, &report));
    assert_true(report.path_count < 7);
}

static void a_forgotten_vote_makes_two_leaders(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.broken = KELP_SIM_SCOPE_FORGET_VOTE;
    finds(scope, "I01 ElectionSafety", 11);
    assert_non_null(strstr(report.path, "crash and restart"));
}

static void a_lost_tail_loses_what_was_committed(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.broken = KELP_SIM_SCOPE_LOSE_TAIL;
    finds(scope, "I15 AckKept", 8);
    scope.rules = RULE(16);
    finds(scope, "I16 NoTruncCommitted", 10);
}

/* The other end of the same loss: a leader without the entry, and another one committed there. */
static void a_lost_tail_is_seen_by_the_next_leader(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.broken = KELP_SIM_SCOPE_LOSE_TAIL;
    scope.instant = true;
    scope.drops = scope.beats = 0;
    scope.rules = RULE(8);
    finds(scope, "I08 LeaderCompleteness", 9);
}

static void it_stops_at_the_states_it_may_keep(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.states_max = 1000;
    assert_true(kelp_sim_explore(&scope, &report));
    assert_true(report.full);
    assert_int_equal(report.states, 1000);
    assert_true(report.depth >= 4 && report.depth < scope.depth);
    uint64_t whole = 0;
    for (uint32_t depth = 0; depth <= report.depth; depth++)
        whole += report.fresh[depth];
    assert_true(whole < 1000); /* the depth it names is the last that was seen whole */
    assert_int_equal(whole + report.fresh[report.depth + 1], 1000);
}

static void wrong_scopes_are_refused(void **state)
{
    (void)state;
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    scope.nodes = KELP_SIM_SCOPE_NODES_MAX + 1;
    assert_false(kelp_sim_explore(&scope, &report));
    assert_string_equal(report.invariant, "options");
    assert_string_equal(report.message, "nodes is not in 2..5");
    scope = kelp_sim_scope_default();
    scope.size = 1;
    assert_false(kelp_sim_explore(&scope, &report));
    assert_string_equal(report.invariant, "options");
    assert_int_equal(report.states, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_nodes_keep_every_rule_for_ten_actions),
        cmocka_unit_test(protections_keep_every_rule_too),
        cmocka_unit_test(a_second_leader_keeps_every_rule),
        cmocka_unit_test(messages_that_come_twice_change_nothing),
        cmocka_unit_test(a_small_scope_is_explored_whole),
        cmocka_unit_test(two_nodes_and_one_message_have_nine_states),
        cmocka_unit_test(a_save_reported_too_early_makes_two_leaders),
        cmocka_unit_test(a_forgotten_vote_makes_two_leaders),
        cmocka_unit_test(a_lost_tail_loses_what_was_committed),
        cmocka_unit_test(a_lost_tail_is_seen_by_the_next_leader),
        cmocka_unit_test(it_stops_at_the_states_it_may_keep),
        cmocka_unit_test(wrong_scopes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
