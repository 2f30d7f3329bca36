/* SPDX-License-Identifier: Apache-2.0 */
/* once_test.c - commands that are asked for again: runs in which they are, and lies about them that
 * the checker must see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/endian.h"
#include "sim/checker.h"

static struct checker *c;
static kelp_index last;

/* One node that commits whatever it saves. */
static int set_up(void **state)
{
    (void)state;
    last = 0;
    c = checker_new(1);
    if (c == NULL) return -1;
    struct kelp_save vote = {.flags = KELP_SAVE_VOTE, .number = 1, .term = {1}, .vote = 1};
    checker_saves(c, 0, &vote, NULL);
    checker_saved(c, 0, 1);
    checker_own_vote(c, 0, 1);
    checker_leads(c, 0, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    checker_free(c);
    return 0;
}

#define FIRES(id) assert_string_equal(checker_invariant(c), id)
#define SILENT()  assert_string_equal(checker_message(c), "")

static kelp_index commits(struct checker_entry entry)
{
    kelp_index index = ++last;
    entry.term = 1;
    entry.checksum = index * 77;
    struct kelp_save save = {
        .flags = KELP_SAVE_APPEND, .number = index + 1, .first = index, .last = index};
    checker_saves(c, 0, &save, &entry);
    checker_saved(c, 0, index + 1);
    struct kelp_view view = {.self = 1,
                             .role = KELP_LEADER,
                             .term = {1},
                             .term_saved = {1},
                             .first = 1,
                             .last = index,
                             .last_pos = kelp_pos_of(index, 1),
                             .commit = index};
    checker_views(c, 0, &view);
    return index;
}

static kelp_index begins(void)
{
    return commits((struct checker_entry){.session = true});
}

/* Register 0 is to be value; in a session, or under a key. */
static kelp_index sets(uint64_t value, struct kelp_once once)
{
    return commits((struct checker_entry){.value = value, .once = {true, once}});
}

static void told(uint64_t value, struct kelp_once once, enum kelp_outcome outcome,
                 enum kelp_reason reason, kelp_index at, uint64_t before)
{
    uint8_t bytes[8];
    kelp_index floor = 0;
    put_u64(bytes, before);
    struct checker_request q = {
        .value = value, .floor = &floor, .once = {true, once}, .reason = reason};
    checker_answered(c, &q, outcome, kelp_pos_of(at, 1), (struct kelp_bytes){bytes, 8});
}

static void every_attempt_is_told_the_one_result(void **state) /* [§6.3] */
{
    (void)state;
    kelp_index id = begins();
    struct kelp_once one = {id, 1, 0}, two = {id, 2, 0}, key = {0, 8, 9};
    kelp_index first = sets(101, one);
    (void)sets(102, two);
    kelp_index again = sets(101, one);
    kelp_index keyed = sets(103, key);
    told(101, one, KELP_DONE, KELP_R_NONE, first, 0);
    told(101, one, KELP_DONE, KELP_R_NONE, again, 0);
    told(103, key, KELP_DONE, KELP_R_NONE, keyed, 102);
    SILENT();
    told(101, one, KELP_DONE, KELP_R_NONE, again, 102); /* as if it had been executed again */
    FIRES("I25 OKHonest");
}

static void done_in_a_session_that_never_was_fires_S05(void **state)
{
    (void)state;
    struct kelp_once one = {77, 1, 0};
    kelp_index at = sets(101, one);
    told(101, one, KELP_REFUSED, KELP_R_UNKNOWN_SESSION, at, 0);
    SILENT();
    told(101, one, KELP_DONE, KELP_R_NONE, at, 0);
    FIRES("S05 ExactlyOnce");
}

static void a_session_that_is_forgotten_fires_S05(void **state)
{
    (void)state;
    struct kelp_once one = {begins(), 1, 0};
    told(101, one, KELP_REFUSED, KELP_R_UNKNOWN_SESSION, sets(101, one), 0);
    FIRES("S05 ExactlyOnce");
}

static void a_number_called_over_that_is_not_fires_S05(void **state)
{
    (void)state;
    kelp_index id = begins();
    struct kelp_once one = {id, 1, 0}, three = {id, 3, 2};
    (void)sets(101, one);
    (void)sets(103, three);
    told(101, one, KELP_REFUSED, KELP_R_SEQUENCE_OVER, 0, 0);
    SILENT();
    told(103, three, KELP_REFUSED, KELP_R_SEQUENCE_OVER, 0, 0);
    FIRES("S05 ExactlyOnce");
}

static void what_was_always_refused_and_is_executed_fires(void **state)
{
    (void)state;
    struct kelp_once one = {begins(), 1, 0};
    told(101, one, KELP_REFUSED, KELP_R_BUSY, 0, 0);
    checker_never(c, 101);
    SILENT();
    (void)sets(101, one);
    FIRES("I25 OKHonest");
}

static void given_up_numbers_are_of_no_effect(void **state)
{
    (void)state;
    kelp_index id = begins();
    struct kelp_once one = {id, 1, 0}, two = {id, 2, 1};
    checker_never(c, 101);
    (void)sets(102, two);
    (void)sets(101, one); /* a late copy: acknowledged before, so never executed */
    SILENT();
}

static void clients_ask_again_in_runs_that_pass(void **state)
{
    (void)state;
    uint64_t retried = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct kelp_sim_report report;
        if (!kelp_sim_run(seed, NULL, &report))
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, report.invariant,
                     report.message);
        retried += report.retried;
    }
    assert_true(retried > 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_attempt_is_told_the_one_result),
        TEST(done_in_a_session_that_never_was_fires_S05),
        TEST(a_session_that_is_forgotten_fires_S05),
        TEST(a_number_called_over_that_is_not_fires_S05),
        TEST(what_was_always_refused_and_is_executed_fires),
        TEST(given_up_numbers_are_of_no_effect),
        cmocka_unit_test(clients_ask_again_in_runs_that_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
