/* SPDX-License-Identifier: Apache-2.0 */
/* shrink_test.c - broken rules on purpose, and how little is left of the run that shows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kelp/sim.h"

static struct kelp_sim_shrunk shrunk, again;
static struct kelp_sim_report report;

/* Runs instead of seconds, so that every machine finds the same. */
static bool so_many_runs(void *ctx, const struct kelp_sim_shrunk *so_far)
{
    const uint64_t *most = ctx;
    return so_far->runs < *most;
}

static struct kelp_sim_options broken(enum kelp_sim_break which)
{
    struct kelp_sim_options o = kelp_sim_options_default();
    o.broken = which;
    return o;
}

/* The first seed that fails with an invariant whose name begins so; "": any. */
static uint64_t first_failure(const struct kelp_sim_options *o, const char *invariant)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        if (!kelp_sim_run(seed, o, &report) &&
            strncmp(report.invariant, invariant, strlen(invariant)) == 0)
            return seed;
    }
    fail_msg("no failure within 40 seeds");
    return 0;
}

static void shrinks_to(enum kelp_sim_break which, const char *invariant, uint64_t runs,
                       uint64_t faults_most)
{
    struct kelp_sim_options o = broken(which);
    uint64_t seed = first_failure(&o, invariant);
    assert_true(kelp_sim_shrink(seed, &o, so_many_runs, &runs, &shrunk));
    assert_string_equal(shrunk.report.invariant, report.invariant);
    assert_int_equal(shrunk.before.events, report.events);
    assert_true(shrunk.after.faults <= faults_most);
    assert_true(shrunk.after.faults <= shrunk.before.faults);
    assert_true(shrunk.after.events <= shrunk.before.events);
    assert_true(shrunk.after.choices < shrunk.before.choices);
    assert_non_null(strstr(shrunk.words, report.invariant));
    /* What it gives back is a case that fails alike. */
    o.choices = shrunk.choices;
    o.hurt = shrunk.hurt;
    assert_false(kelp_sim_run(seed, &o, &report));
    assert_string_equal(shrunk.report.invariant, report.invariant);
    assert_int_equal(shrunk.report.hash, report.hash);
    assert_int_equal(shrunk.report.events, report.events);
    kelp_sim_shrunk_free(&shrunk);
    assert_null(shrunk.words);
}

static void a_log_that_is_not_synced_needs_few_faults(void **state)
{
    (void)state;
    shrinks_to(KELP_SIM_BREAK_LOG_SYNC, "", 220, 4);
}

static void a_vote_file_that_is_not_synced_needs_few_faults(void **state)
{
    (void)state;
    shrinks_to(KELP_SIM_BREAK_VOTE_SYNC, "I31", 100, 6);
}

static void saves_reported_too_early_need_few_faults(void **state)
{
    (void)state;
    shrinks_to(KELP_SIM_BREAK_EARLY_SAVED, "I15", 100, 4);
}

/* Its case has no bytes at all: the world of zeros, which is not the seed's. */
static void a_state_machine_that_differs_needs_no_fault(void **state)
{
    (void)state;
    shrinks_to(KELP_SIM_BREAK_APPLY, "", 60, 0);
}

static void damage_that_is_believed_needs_one_frame(void **state)
{
    (void)state;
    shrinks_to(KELP_SIM_BREAK_FRAME, "", 100, 2);
    assert_int_equal(report.frames_damaged, 1);
}

static void the_same_search_finds_the_same_case(void **state)
{
    (void)state;
    struct kelp_sim_options o = broken(KELP_SIM_BREAK_STALE_READ);
    uint64_t seed = first_failure(&o, ""), runs = 60;
    assert_true(kelp_sim_shrink(seed, &o, so_many_runs, &runs, &shrunk));
    assert_true(kelp_sim_shrink(seed, &o, so_many_runs, &runs, &again));
    assert_int_equal(shrunk.runs, again.runs);
    assert_int_equal(shrunk.choices.len, again.choices.len);
    assert_memory_equal(shrunk.choices.data, again.choices.data, again.choices.len);
    assert_string_equal(shrunk.words, again.words);
    kelp_sim_shrunk_free(&shrunk);
    kelp_sim_shrunk_free(&again);
}

static void a_case_can_be_shrunk_further(void **state)
{
    (void)state;
    struct kelp_sim_options o = broken(KELP_SIM_BREAK_LOG_SYNC);
    uint64_t seed = first_failure(&o, ""), few = 20, more = 120;
    assert_true(kelp_sim_shrink(seed, &o, so_many_runs, &few, &shrunk));
    assert_false(shrunk.whole);
    o.choices = shrunk.choices;
    o.hurt = shrunk.hurt;
    assert_true(kelp_sim_shrink(seed, &o, so_many_runs, &more, &again));
    assert_string_equal(shrunk.report.invariant, again.report.invariant);
    assert_true(again.after.choices <= shrunk.after.choices);
    kelp_sim_shrunk_free(&shrunk);
    kelp_sim_shrunk_free(&again);
}

static void a_run_that_passes_cannot_be_shrunk(void **state)
{
    (void)state;
    struct kelp_sim_options o = kelp_sim_options_default();
    o.hurt = 5 * (kelp_ns)1000000000;
    assert_false(kelp_sim_shrink(1, &o, NULL, NULL, &shrunk));
    assert_true(shrunk.report.passed);
    assert_null(shrunk.words);
    assert_null(shrunk.choices.data);
    kelp_sim_shrunk_free(&shrunk);
}

static void wrong_options_are_said(void **state)
{
    (void)state;
    struct kelp_sim_options o = kelp_sim_options_default();
    o.hurt = 0;
    assert_false(kelp_sim_shrink(1, &o, NULL, NULL, &shrunk));
    assert_string_equal(shrunk.report.invariant, "options");
    kelp_sim_shrunk_free(&shrunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_that_is_not_synced_needs_few_faults),
        cmocka_unit_test(a_vote_file_that_is_not_synced_needs_few_faults),
        cmocka_unit_test(saves_reported_too_early_need_few_faults),
        cmocka_unit_test(a_state_machine_that_differs_needs_no_fault),
        cmocka_unit_test(damage_that_is_believed_needs_one_frame),
        cmocka_unit_test(the_same_search_finds_the_same_case),
        cmocka_unit_test(a_case_can_be_shrunk_further),
        cmocka_unit_test(a_run_that_passes_cannot_be_shrunk),
        cmocka_unit_test(wrong_options_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
