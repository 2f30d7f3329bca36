/* SPDX-License-Identifier: Apache-2.0 */
/* promise_test.c - what the checker says of rounds of reads and of start counts. The other promises
 * of nodes, and whole histories: checker_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/min.h"
#include "sim/checker.h"

static struct checker *c;

static int set_up(void **state)
{
    (void)state;
    c = checker_new(3);
    return c != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    checker_free(c);
    return 0;
}

#define FIRES(id) assert_string_equal(checker_invariant(c), id)
#define SILENT()  assert_string_equal(checker_message(c), "")

static void votes(unsigned node, uint64_t term, kelp_id vote)
{
    static uint64_t number;
    struct kelp_save save = {
        .number = ++number, .flags = KELP_SAVE_VOTE, .term = {term}, .vote = vote};
    checker_saves(c, node, &save, NULL);
    checker_saved(c, node, number);
    if (vote == 0) return;
    struct checker_sent sent = {.type = KELP_MSG_VOTE_ANSWER,
                                .flags = KELP_MF_GRANTED,
                                .to = (unsigned)vote - 1,
                                .term = term,
                                .vote_term = term};
    checker_sends(c, node, &sent);
}

/* Node 0 leads the term by its own vote and the one of node 1. */
static void leads(uint64_t term)
{
    votes(0, term, 1);
    votes(1, term, 1);
    checker_leads(c, 0, term);
    SILENT();
}

static void asks(uint64_t term, uint64_t round)
{
    struct checker_sent sent = {.type = KELP_MSG_HEARTBEAT, .to = 1, .term = term, .round = round};
    checker_sends(c, 0, &sent);
}

static void repeats(uint64_t term, uint64_t round)
{
    struct checker_sent sent = {.type = KELP_MSG_ANSWER, .to = 0, .term = term, .round = round};
    checker_sends(c, 1, &sent);
}

static void rounds_that_were_asked_for_are_silent(void **state) /* [§6.4] */
{
    (void)state;
    leads(1);
    repeats(1, 0);
    asks(1, 4);
    asks(1, 3); /* overtaken */
    repeats(1, 4);
    leads(2);
    asks(2, 1);
    repeats(2, 1);
    SILENT();
}

static void an_answer_to_a_leader_that_has_gone_on_is_silent(void **state)
{
    (void)state;
    leads(1);
    asks(1, 4);
    votes(0, 2, 1); /* the other one does not know */
    votes(2, 2, 1);
    checker_leads(c, 0, 2);
    asks(2, 1);
    repeats(1, 4);
    SILENT();
}

static void a_round_of_an_earlier_leadership_fires_N07(void **state) /* [§6.4] */
{
    (void)state;
    leads(1);
    asks(1, 4);
    repeats(1, 4);
    leads(2);
    asks(2, 1);
    repeats(2, 4);
    FIRES("N07 ReadConfirmed");
}

static void a_round_that_nobody_asked_for_fires_N07(void **state)
{
    (void)state;
    leads(1);
    repeats(1, 1);
    FIRES("N07 ReadConfirmed");
}

static void starts(uint64_t count, bool rotten)
{
    struct checker_recovered found = {.start_count = count, .rotten = rotten};
    checker_crashed(c, 2);
    checker_recovers(c, 2, &found);
}

static void start_counts_that_rise_are_silent(void **state)
{
    (void)state;
    starts(1, false);
    starts(2, false);
    starts(4, false); /* it died in a start */
    SILENT();
}

static void a_start_count_that_stays_fires_I33(void **state)
{
    (void)state;
    starts(3, false);
    starts(3, true); /* of a copy that was older */
    SILENT();
    starts(3, false);
    FIRES("I33 Identity");
}

#define RULE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE_TEST(rounds_that_were_asked_for_are_silent),
        RULE_TEST(an_answer_to_a_leader_that_has_gone_on_is_silent),
        RULE_TEST(a_round_of_an_earlier_leadership_fires_N07),
        RULE_TEST(a_round_that_nobody_asked_for_fires_N07),
        RULE_TEST(start_counts_that_rise_are_silent),
        RULE_TEST(a_start_count_that_stays_fires_I33),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
