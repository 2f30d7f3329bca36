/* SPDX-License-Identifier: Apache-2.0 */
/* renewal_test.c - what comes after the end of some runs: a disk is recovered by hand, and nodes of
 * before that come back. That its rules can be broken is shown by mutants (M04, M05). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kelp/sim.h"

#define SECOND ((kelp_ns)1000000000)
#define SEEDS  60

static struct kelp_sim_report report;

static bool runs(uint64_t seed, uint64_t until)
{
    struct kelp_sim_options o = kelp_sim_options_default();
    o.hurt = 10 * SECOND;
    o.until = until;
    return kelp_sim_run(seed, &o, &report);
}

static void who_is_recovered_goes_on_and_the_past_is_told(void **state)
{
    (void)state;
    uint64_t renewals = 0, outdated = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        if (!runs(seed, 0))
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, report.invariant,
                     report.message);
        assert_true(report.renewals <= 1);
        assert_true(report.renewals == 1 || report.outdated == 0);
        renewals += report.renewals;
        outdated += report.outdated;
    }
    assert_true(renewals >= 3 && renewals < SEEDS / 3);
    assert_true(outdated >= 3);
}

/* Also what comes afterwards is played again to the bit, and up to any event. */
static void it_is_played_again(void **state)
{
    (void)state;
    uint64_t seed = 1;
    while (runs(seed, 0) && report.outdated == 0)
        assert_true(++seed <= SEEDS);
    uint64_t hash = report.hash, events = report.events;
    assert_true(runs(seed, 0));
    assert_true(report.hash == hash && report.events == events);
    assert_true(runs(seed, events - 10));
    assert_true(report.stopped && report.renewals == 1);
    assert_int_equal(report.events, events - 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_recovered_goes_on_and_the_past_is_told),
        cmocka_unit_test(it_is_played_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
