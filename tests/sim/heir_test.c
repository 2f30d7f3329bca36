/* SPDX-License-Identifier: Apache-2.0 */
/* heir_test.c - two nodes and a witness: their leader is killed, and soon there is another one. A
 * thousand kills are `kelp sim run --seeds 50 --kills 20`. [§11.7.2] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "kelp/sim.h"

#define KILLS 20u

static struct kelp_sim_report report;

static void every_killed_leader_has_an_heir_in_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct kelp_sim_options o = kelp_sim_options_default();
        o.kills = KILLS;
        if (!kelp_sim_run(seed, &o, &report))
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, report.invariant,
                     report.message);
        assert_int_equal(report.kills, KILLS);
        assert_int_equal(report.nodes, 3);
        assert_true(report.crashes >= KILLS);
        assert_true(report.heir_worst > 0);
        assert_true(report.done > 50); /* under load */
        /* each time the witness came in, and went out before the next one was killed */
        assert_true(report.marks[KELP_EV_WITNESS_IN] >= KILLS / 2);
        assert_true(report.marks[KELP_EV_WITNESS_OUT] >= KILLS / 2);
    }
}

static void the_same_seed_kills_alike(void **state)
{
    (void)state;
    struct kelp_sim_options o = kelp_sim_options_default();
    o.kills = 5;
    assert_true(kelp_sim_run(7, &o, &report));
    uint64_t hash = report.hash;
    assert_true(kelp_sim_run(7, &o, &report));
    assert_int_equal(report.hash, hash);
}

static void too_many_kills_are_refused(void **state)
{
    (void)state;
    struct kelp_sim_options o = kelp_sim_options_default();
    o.kills = KELP_SIM_KILLS_MAX + 1;
    assert_false(kelp_sim_run(1, &o, &report));
    assert_string_equal(report.invariant, "options");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_killed_leader_has_an_heir_in_time),
        cmocka_unit_test(the_same_seed_kills_alike),
        cmocka_unit_test(too_many_kills_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
