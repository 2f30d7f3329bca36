/* SPDX-License-Identifier: Apache-2.0 */
/* mix_test.c - the built-in clients with one kind of request only: runs pass, and what is broken on
 * purpose is caught whatever they ask for, by the order of commits and by histories alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "kelp/sim.h"

#define SECOND          ((kelp_ns)1000000000)
#define SEEDS_MAX       30
#define DRIFT_SEEDS_MAX 150 /* a lease in the wrong moment: in one seed of ten */

static struct kelp_sim_report report;

static struct kelp_sim_options options_of(unsigned mix, enum kelp_sim_break broken)
{
    struct kelp_sim_options o = kelp_sim_options_default();
    o.hurt = 30 * SECOND;
    o.mix = (enum kelp_sim_mix)mix;
    o.broken = broken;
    return o;
}

static void caught(unsigned mix, enum kelp_sim_break broken, const char *invariants,
                   uint64_t seeds_max)
{
    struct kelp_sim_options o = options_of(mix, broken);
    for (uint64_t seed = 1; seed <= seeds_max; seed++) {
        if (kelp_sim_run(seed, &o, &report)) continue;
        char id[4] = "";
        memcpy(id, report.invariant, 3);
        if (strstr(invariants, id) == NULL)
            fail_msg("mix %u, seed %llu: %s: %s", mix, (unsigned long long)seed, report.invariant,
                     report.message);
        return;
    }
    fail_msg("mix %u: not caught within %d seeds", mix, (int)seeds_max);
}

static void caught_in_every_mix(enum kelp_sim_break broken, const char *invariants)
{
    for (unsigned mix = KELP_SIM_MIX_REGISTERS; mix < KELP_SIM_MIX_COUNT; mix++)
        caught(mix, broken, invariants, SEEDS_MAX);
}

static void every_mix_passes_and_is_answered(void **state)
{
    (void)state;
    for (unsigned mix = KELP_SIM_MIX_SEED; mix < KELP_SIM_MIX_COUNT; mix++) {
        uint64_t done = 0; /* one seed alone may be a hard time for its cluster */
        for (uint64_t seed = 100; seed < 103; seed++) {
            struct kelp_sim_options o = options_of(mix, KELP_SIM_BREAK_NOTHING);
            if (!kelp_sim_run(seed, &o, &report))
                fail_msg("mix %u, seed %llu: %s: %s", mix, (unsigned long long)seed,
                         report.invariant, report.message);
            done += report.done;
        }
        assert_true(done > 300);
    }
}

static void stale_reads_are_caught_whatever_is_asked(void **state)
{
    (void)state;
    caught_in_every_mix(KELP_SIM_BREAK_STALE_READ, "I22 I24 S01");
}

static void stale_reads_are_caught_by_histories_alone(void **state)
{
    (void)state;
    caught_in_every_mix(KELP_SIM_BREAK_BLIND_READ, "S02");
}

static void a_false_ok_is_caught_whatever_is_asked(void **state)
{
    (void)state;
    caught_in_every_mix(KELP_SIM_BREAK_FALSE_DONE, "I25");
}

static void a_false_refusal_is_caught_whatever_is_asked(void **state)
{
    (void)state;
    caught_in_every_mix(KELP_SIM_BREAK_FALSE_REFUSED, "I25");
}

static void saves_reported_too_early_are_caught_whatever_is_asked(void **state)
{
    (void)state;
    caught_in_every_mix(KELP_SIM_BREAK_EARLY_SAVED, "I04 I15 I31");
}

static void a_machine_that_differs_is_caught_whatever_is_asked(void **state)
{
    (void)state;
    caught_in_every_mix(KELP_SIM_BREAK_APPLY, "I24 I25 I28");
}

/* Clocks that keep the bound are in every other seed of all runs that must pass. */
static void leases_under_clocks_beyond_the_bound_are_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_MIX_SEED, KELP_SIM_BREAK_DRIFT, "N10 I22", DRIFT_SEEDS_MAX);
}

static void a_mix_that_there_is_not_is_refused(void **state)
{
    (void)state;
    struct kelp_sim_options o = options_of(KELP_SIM_MIX_COUNT, KELP_SIM_BREAK_NOTHING);
    assert_false(kelp_sim_run(1, &o, &report));
    assert_string_equal(report.invariant, "options");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mix_passes_and_is_answered),
        cmocka_unit_test(stale_reads_are_caught_whatever_is_asked),
        cmocka_unit_test(stale_reads_are_caught_by_histories_alone),
        cmocka_unit_test(a_false_ok_is_caught_whatever_is_asked),
        cmocka_unit_test(a_false_refusal_is_caught_whatever_is_asked),
        cmocka_unit_test(saves_reported_too_early_are_caught_whatever_is_asked),
        cmocka_unit_test(a_machine_that_differs_is_caught_whatever_is_asked),
        cmocka_unit_test(leases_under_clocks_beyond_the_bound_are_caught),
        cmocka_unit_test(a_mix_that_there_is_not_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
