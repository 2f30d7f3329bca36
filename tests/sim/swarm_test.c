/* SPDX-License-Identifier: Apache-2.0 */
/* swarm_test.c - every world that a seed can draw is one that nodes accept, and they differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/swarm.h"

#define SEEDS 3000u

static struct swarm drawn(uint64_t seed, uint32_t nodes)
{
    struct draw draw = {.expand = {seed}};
    struct swarm s;
    swarm_draw(&s, &draw, nodes);
    return s;
}

static void every_draw_makes_options_that_a_core_accepts(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct swarm s = drawn(seed, 0);
        struct kelp_options o = kelp_options_default(1, seed);
        struct kelp_fault fault = {0};
        o.heartbeat = s.heartbeat;
        o.election_min = s.election_min;
        o.election_max = s.election_max;
        o.limits = s.limits;
        o.trailing_entries = s.trailing_entries;
        o.off = s.off;
        if (kelp_options_check(&o, &fault) != KELP_OK) print_message("%s\n", fault.what);
        assert_int_equal(fault.error, KELP_OK);
        assert_true(s.nodes >= 1 && s.nodes <= KELP_SIM_NODES_MAX);
        assert_true(s.segment_bytes % 4096 == 0 && s.segment_bytes >= 4 * 4096);
        assert_true(s.weight_sum > 0 && s.registers <= 32 && s.pipeline <= 16);
    }
}

static void clients_ask_at_least_twenty_times_a_second(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct swarm s = drawn(seed, 5);
        uint64_t twice_burst = s.pipeline + 1;
        assert_true(s.clients * twice_burst * 1000000000u / (2 * s.think) >= 20);
        assert_true(s.mild || s.fault_every <= 1000000000u);
    }
}

static void every_fault_is_on_in_some_runs_and_off_in_others(void **state)
{
    (void)state;
    unsigned on[FAULT_COUNT] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct swarm s = drawn(seed, 0);
        for (unsigned i = 0; i < FAULT_COUNT; i++)
            on[i] += s.weights[i] > 0;
    }
    for (unsigned i = FAULT_NONE + 1; i < FAULT_COUNT; i++)
        assert_true(on[i] > SEEDS / 20 && on[i] < SEEDS - SEEDS / 20);
}

static void frail_disks_are_a_minority_and_some_runs_have_no_atlas(void **state)
{
    (void)state;
    unsigned without = 0, mild = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct swarm s = drawn(seed, 0);
        unsigned frail = (unsigned)__builtin_popcount(s.frail);
        assert_int_equal(frail, (s.nodes - 1) / 2);
        assert_true(s.frail >> s.nodes == 0);
        without += !s.atlas;
        mild += s.mild;
        if (!s.mild) continue;
        unsigned kinds = 0;
        for (unsigned i = 0; i < FAULT_COUNT; i++)
            kinds += s.weights[i] > 0;
        assert_true(kinds == 1 && s.atlas && s.off == 0 && s.nodes >= 3);
        unsigned network =
            (unsigned)((s.lost > 0) + (s.repeated > 0) + (s.replayed > 0) + (s.late > 0));
        assert_true(network == 0 || (network == 1 && s.weights[FAULT_NONE] > 0));
    }
    assert_true(without > SEEDS / 50 && without < SEEDS / 10);
    assert_true(mild > SEEDS / 30 && mild < SEEDS / 6);
}

/* Zero bytes are the mildest world: no fault at all, and no harm that no quorum survives. */
static void a_world_of_zero_bytes_has_its_atlas(void **state)
{
    (void)state;
    struct draw draw = {.finite = true};
    struct swarm s;
    swarm_draw(&s, &draw, 0);
    assert_true(s.atlas && s.lost == 0 && s.slow_start_max == 0 && !s.garbled && !s.names_loose);
    for (unsigned i = FAULT_SYNC_FAILS; i < FAULT_COUNT; i++)
        assert_int_equal(s.weights[i], 0);
}

static void most_clusters_have_five_nodes(void **state)
{
    (void)state;
    unsigned five = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        five += drawn(seed, 0).nodes == 5;
    assert_true(five > SEEDS / 2 && five < SEEDS);
    assert_int_equal(drawn(1, 3).nodes, 3);
}

static void a_calm_world_has_no_faults(void **state)
{
    (void)state;
    struct swarm s = drawn(9, 5);
    swarm_calm(&s);
    assert_true(s.lost + s.repeated + s.replayed + s.damaged + s.late == 0);
    assert_int_equal(s.weight_sum, 0);
}

static void every_fault_has_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        assert_string_not_equal(sim_fault_name((enum sim_fault)i), "?");
    assert_string_equal(sim_fault_name(FAULT_COUNT), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_draw_makes_options_that_a_core_accepts),
        cmocka_unit_test(clients_ask_at_least_twenty_times_a_second),
        cmocka_unit_test(every_fault_is_on_in_some_runs_and_off_in_others),
        cmocka_unit_test(frail_disks_are_a_minority_and_some_runs_have_no_atlas),
        cmocka_unit_test(a_world_of_zero_bytes_has_its_atlas),
        cmocka_unit_test(most_clusters_have_five_nodes),
        cmocka_unit_test(a_calm_world_has_no_faults),
        cmocka_unit_test(every_fault_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
