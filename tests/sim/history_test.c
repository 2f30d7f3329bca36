/* SPDX-License-Identifier: Apache-2.0 */
/* history_test.c - histories known to be good and bad, and recorders that cannot be believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/min.h"
#include "sim/cycle.h"
#include "sim/history.h"

/* Every operation of these tests is of a process of its own unless a test is about processes. */
#define OPERATION(from, to, ...)                                                                   \
    (struct kelp_sim_operation)                                                                    \
    {                                                                                              \
        .call = (from), .back = (to), .said = (to) == KELP_NEVER ? KELP_SIM_UNKNOWN : KELP_SIM_OK, \
        .seen = KELP_SIM_UNTOLD, __VA_ARGS__                                                       \
    }
#define WRITE(v, from, to)  OPERATION(from, to, .action = KELP_SIM_WRITE, .value = (v))
#define READ(v, from, to)   OPERATION(from, to, .action = KELP_SIM_READ, .value = (v))
#define INCR(n, from, to)   OPERATION(from, to, .action = KELP_SIM_INCR, .number = (n))
#define APPEND(v, from, to) OPERATION(from, to, .action = KELP_SIM_APPEND, .value = (v))
#define CAS(e, v, swaps, from, to)                                                                 \
    OPERATION(from, to, .action = KELP_SIM_CAS, .expected = (e), .value = (v), .swapped = (swaps))
#define ITEMS(...) ((const struct kelp_sim_item[]){__VA_ARGS__})
#define LIST(from, to, count, ...)                                                                 \
    OPERATION(from, to, .action = KELP_SIM_LIST, .items = ITEMS(__VA_ARGS__), .item_count = (count))
#define TWO(act, a, b, from, to)                                                                   \
    OPERATION(from, to, .action = (act), .items = ITEMS({0, a}, {1, b}), .item_count = 2)

static struct kelp_sim_verdict verdict;

static enum kelp_sim_judgement judge(struct kelp_sim_operation *operations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (operations[i].process == 0) operations[i].process = 1000 + i;
    }
    return kelp_sim_check_history(operations, count, 0, &verdict);
}

#define JUDGE(...)                                                                                 \
    judge((struct kelp_sim_operation[]){__VA_ARGS__},                                              \
          COUNT_OF(((struct kelp_sim_operation[]){__VA_ARGS__})))

static void bad(const char *checker, const char *reason, size_t shown)
{
    assert_int_equal(verdict.judgement, KELP_SIM_NOT_LINEARIZABLE);
    assert_string_equal(verdict.checker, checker);
    assert_string_equal(verdict.reason, reason);
    assert_int_equal(verdict.window_count, shown);
}

static void broken(const char *reason)
{
    assert_int_equal(verdict.judgement, KELP_SIM_BAD_HISTORY);
    assert_string_equal(verdict.reason, reason);
    assert_true(verdict.window_count > 0);
}

/* ---- registers ---- */

static void a_register_is_judged_by_intervals(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(WRITE(1, 1, 2), WRITE(2, 3, 9), READ(1, 4, 5), READ(2, 6, 7)),
                     KELP_SIM_LINEARIZABLE);
    (void)JUDGE(WRITE(1, 1, 2), WRITE(2, 3, 4), READ(1, 5, 6), READ(2, 7, 8));
    bad("interval", "two values were each seen before and after the other", 4);
}

static void the_start_counts_even_at_time_zero(void **state)
{
    (void)state;
    (void)JUDGE(WRITE(1, 0, 3), READ(KELP_SIM_NOTHING, 5, 6));
    assert_int_equal(verdict.judgement, KELP_SIM_NOT_LINEARIZABLE);
    assert_int_equal(JUDGE(WRITE(1, 0, 3), READ(KELP_SIM_NOTHING, 3, 6)), KELP_SIM_LINEARIZABLE);
}

static void the_window_shows_only_what_matters_by_time(void **state)
{
    (void)state;
    (void)JUDGE(READ(2, 30, 31), WRITE(1, 1, 2), WRITE(2, 3, 4), READ(2, 5, 6), READ(2, 7, 8),
                READ(1, 20, 21), READ(2, 25, 26));
    assert_int_equal(verdict.judgement, KELP_SIM_NOT_LINEARIZABLE);
    assert_int_equal(verdict.window_count, 4);
    static const size_t window[] = {1, 2, 5, 0};
    assert_memory_equal(verdict.window, window, sizeof window);
}

static void what_was_refused_must_never_appear(void **state)
{
    (void)state;
    struct kelp_sim_operation refused[] = {WRITE(1, 1, 2), WRITE(2, 3, 4), READ(2, 5, 6)};
    refused[1].said = KELP_SIM_REFUSED;
    (void)judge(refused, 3);
    bad("interval", "a read returned what nobody wrote", 2);
    struct kelp_sim_operation swap[] = {CAS(KELP_SIM_NOTHING, 1, true, 1, 2),
                                        CAS(1, 2, false, 3, 4), READ(2, 5, 6)};
    swap[1].said = KELP_SIM_REFUSED;
    (void)judge(swap, 3);
    bad("search", "#3 saw what was refused: #2", 2);
    struct kelp_sim_operation list[] = {APPEND(1, 1, 2), APPEND(2, 3, 4),
                                        LIST(5, 6, 2, {0, 1}, {0, 2})};
    list[1].said = KELP_SIM_REFUSED;
    (void)judge(list, 3);
    bad("cycles", "#3 shows what was refused: #2", 2);
}

static void what_nobody_knows_may_or_may_not_have_happened(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(WRITE(1, 1, KELP_NEVER), READ(KELP_SIM_NOTHING, 5, 6), READ(1, 7, 8)),
                     KELP_SIM_LINEARIZABLE);
    assert_int_equal(JUDGE(INCR(0, 1, KELP_NEVER), INCR(2, 5, 6)), KELP_SIM_LINEARIZABLE);
    assert_int_equal(JUDGE(INCR(0, 1, KELP_NEVER), INCR(1, 5, 6)), KELP_SIM_LINEARIZABLE);
    assert_int_equal(JUDGE(APPEND(1, 1, KELP_NEVER), LIST(5, 6, 1, {0, 1})), KELP_SIM_LINEARIZABLE);
    assert_int_equal(JUDGE(CAS(KELP_SIM_NOTHING, 1, false, 1, KELP_NEVER), READ(1, 5, 6)),
                     KELP_SIM_LINEARIZABLE);
}

/* ---- counters ---- */

static void a_counter_is_judged_by_its_ledger(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(INCR(1, 1, 5), INCR(2, 2, 6), READ(2, 7, 8)), KELP_SIM_LINEARIZABLE);
    (void)JUDGE(INCR(1, 1, 5), INCR(1, 2, 6));
    bad("ledger", "#1 and #2 both made 1", 2);
    (void)JUDGE(INCR(2, 1, 2), INCR(1, 3, 4));
    bad("ledger", "#2 counts less than #1, which returned before it was called", 2);
    (void)JUDGE(INCR(1, 1, 2), READ(KELP_SIM_NOTHING, 3, 4));
    bad("ledger", "#2 counts less than #1, which returned before it was called", 2);
    (void)JUDGE(INCR(1, 1, 2), INCR(0, 3, KELP_NEVER), READ(4, 5, 6));
    bad("ledger", "#3 counts 4; 1 INCRs were done and 1 may have been", 1);
}

static void a_missing_number_needs_somebody_who_made_it_in_time(void **state)
{
    (void)state;
    (void)JUDGE(INCR(2, 1, 2), INCR(0, 5, KELP_NEVER));
    bad("ledger",
        "#1 comes after number 1, which nobody made: of 1 missing below it, 0 can be of unknown "
        "outcome",
        1);
}

/* ---- lists ---- */

static void a_lost_append_is_a_cycle(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(APPEND(1, 1, 2), APPEND(2, 1, 9), LIST(3, 4, 1, {0, 1}),
                           LIST(5, 6, 2, {0, 1}, {0, 2})),
                     KELP_SIM_LINEARIZABLE);
    (void)JUDGE(APPEND(1, 1, 2), APPEND(2, 3, 4), LIST(5, 6, 1, {0, 1}), APPEND(3, 5, 6));
    bad("cycles", "cycle of 2: #2 returned before the call of #3 does not see #2", 2);
}

static void a_stale_list_is_a_cycle(void **state)
{
    (void)state;
    (void)JUDGE(APPEND(1, 1, 2), APPEND(2, 3, 4), LIST(5, 6, 2, {0, 1}, {0, 2}),
                LIST(7, 8, 1, {0, 1}));
    assert_int_equal(verdict.judgement, KELP_SIM_NOT_LINEARIZABLE);
    assert_int_equal(verdict.window_count, 2);
}

static void a_list_from_the_future_is_a_cycle(void **state)
{
    (void)state;
    (void)JUDGE(LIST(1, 2, 1, {0, 1}), APPEND(1, 3, 4));
    bad("cycles", "cycle of 2: #1 returned before the call of #2 is seen by #1", 2);
}

static void lists_that_disagree_are_named(void **state)
{
    (void)state;
    (void)JUDGE(APPEND(1, 1, 9), APPEND(2, 1, 9), LIST(1, 9, 2, {0, 1}, {0, 2}),
                LIST(1, 9, 1, {0, 2}));
    bad("cycles", "#4 shows another order than #3", 2);
    (void)JUDGE(APPEND(1, 1, 9), LIST(1, 9, 2, {0, 1}, {0, 1}));
    bad("cycles", "#2 shows twice what was appended by #1", 2);
    (void)JUDGE(LIST(1, 9, 1, {0, 7}));
    bad("cycles", "#1 shows what nobody appended", 1);
}

static void a_cycle_through_a_hundred_thousand_nodes_is_found(void **state)
{
    (void)state;
    uint32_t count = 100000, out[4];
    struct cycle_edge *edges = calloc(count + 1, sizeof *edges);
    assert_non_null(edges);
    for (uint32_t i = 0; i < count; i++)
        edges[i] = (struct cycle_edge){i, (i + 1) % count};
    struct cycle_graph g = {count, count, edges, count - 1};
    assert_int_equal(cycle_find(&g, out, 4), 0);
    g.edge_count = count;
    edges[count - 1] = (struct cycle_edge){count - 1, 0};
    assert_int_equal(cycle_find(&g, out, 4), count);
    edges[count] = (struct cycle_edge){count - 1, count - 3};
    g.edge_count = count + 1;
    assert_int_equal(cycle_find(&g, out, 4), 3);
    free(edges);
}

/* ---- the search ---- */

static void compare_and_set_is_searched(void **state)
{
    (void)state;
    assert_int_equal(
        JUDGE(WRITE(1, 1, 2), CAS(1, 2, true, 3, 9), CAS(1, 3, false, 4, 8), READ(2, 10, 11)),
        KELP_SIM_LINEARIZABLE);
    (void)JUDGE(WRITE(1, 1, 2), CAS(1, 2, true, 3, 9), CAS(1, 3, true, 4, 8), READ(2, 10, 11),
                READ(2, 12, 13));
    assert_int_equal(verdict.judgement, KELP_SIM_NOT_LINEARIZABLE);
    assert_string_equal(verdict.checker, "search");
    assert_in_range(verdict.window_count, 2,
                    3); /* both swaps; the reads have nothing to do with it */
}

static void keys_named_together_are_one_object(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(TWO(KELP_SIM_MSET, 1, 1, 1, 2), TWO(KELP_SIM_MSET, 2, 2, 3, 9),
                           TWO(KELP_SIM_MGET, 2, 2, 4, 5)),
                     KELP_SIM_LINEARIZABLE);
    (void)JUDGE(TWO(KELP_SIM_MSET, 1, 1, 1, 2), TWO(KELP_SIM_MSET, 2, 2, 3, 9),
                TWO(KELP_SIM_MGET, 1, 2, 4, 5));
    assert_int_equal(verdict.judgement, KELP_SIM_NOT_LINEARIZABLE);
    assert_string_equal(verdict.checker, "search");
}

static void a_search_that_comes_to_its_bound_is_no_pass(void **state)
{
    (void)state;
    struct kelp_sim_operation many[41];
    for (uint64_t i = 0; i < 20; i++) { /* all at once, each asked about later, and no way out */
        many[i] = WRITE(i + 1, 1, 50);
        many[20 + i] = CAS(i + 1, 100 + i, false, 60 + 2 * i, 61 + 2 * i);
    }
    many[40] = READ(99, 200, 201);
    for (uint64_t i = 0; i < 41; i++)
        many[i].process = i + 1;
    assert_int_equal(kelp_sim_check_history(many, 41, 1000, &verdict), KELP_SIM_UNDECIDED);
    assert_true(verdict.states > 0);
    assert_non_null(strstr(verdict.reason, "the bound"));
}

static void too_many_keys_together_are_undecided(void **state)
{
    (void)state;
    struct kelp_sim_operation chain[KELP_SIM_TOGETHER_MAX + 1];
    struct kelp_sim_item items[KELP_SIM_TOGETHER_MAX + 1][2];
    for (uint64_t i = 0; i < COUNT_OF(chain); i++) {
        items[i][0] = (struct kelp_sim_item){(uint32_t)i, 1};
        items[i][1] = (struct kelp_sim_item){(uint32_t)i + 1, 1};
        chain[i] = OPERATION(i, i + 1, .action = KELP_SIM_MSET, .items = items[i], .item_count = 2);
    }
    assert_int_equal(judge(chain, COUNT_OF(chain) - 2), KELP_SIM_LINEARIZABLE);
    assert_int_equal(judge(chain, COUNT_OF(chain)), KELP_SIM_UNDECIDED);
}

static void other_keys_do_not_matter(void **state)
{
    (void)state;
    struct kelp_sim_operation o[] = {WRITE(1, 1, 2), READ(KELP_SIM_NOTHING, 3, 4)};
    assert_int_equal(judge(o, 2), KELP_SIM_NOT_LINEARIZABLE);
    o[1].key = 7;
    assert_int_equal(judge(o, 2), KELP_SIM_LINEARIZABLE);
}

/* ---- recorders ---- */

static void a_recorder_that_cannot_be_believed_is_named(void **state)
{
    (void)state;
    (void)JUDGE(WRITE(1, 5, 4));
    broken("#1 returned before it was called");
    struct kelp_sim_operation two[] = {WRITE(1, 1, 5), WRITE(2, 4, 6)};
    two[0].process = two[1].process = 3;
    (void)judge(two, 2);
    broken("#2 is of the same process and overlaps #1");
    two[0] = WRITE(1, 1, KELP_NEVER); /* one that was never answered asks nothing more */
    two[0].process = 3;
    (void)judge(two, 2);
    broken("#2 is of the same process and overlaps #1");
    two[0].back = 3; /* unless it gave up */
    assert_int_equal(judge(two, 2), KELP_SIM_LINEARIZABLE);
    (void)JUDGE(APPEND(1, 1, 2), APPEND(1, 3, 4));
    broken("#2 appends the same as #1");
    (void)JUDGE(APPEND(1, 1, 2), WRITE(2, 3, 4));
    broken("#2 is of a key that is also a list");
    (void)JUDGE(APPEND(1, 1, 2), READ(2, 3, 4));
    broken("#2 reads a value of a key that is a list");
    (void)JUDGE(INCR(0, 1, 2));
    broken("#1 was told a number that no INCR makes");
    (void)JUDGE(WRITE(KELP_SIM_NOTHING, 1, 2));
    broken("#1 writes a value that stands for none");
    (void)JUDGE(OPERATION(1, 2, .action = KELP_SIM_MSET));
    broken("#1 names no key");
    (void)JUDGE(
        OPERATION(1, 2, .action = KELP_SIM_MSET, .items = ITEMS({0, 1}, {0, 2}), .item_count = 2));
    broken("#1 names a key twice");
    (void)JUDGE(OPERATION(1, 2, .action = (enum kelp_sim_action)99));
    broken("#1 is of no known action");
    struct kelp_sim_operation lengths[] = {APPEND(1, 1, 2), APPEND(2, 3, 4)};
    lengths[1].number = 2;
    (void)judge(lengths, 2);
    broken("some appends of a key tell the new length and others do not");
}

static void an_empty_history_is_linearizable(void **state)
{
    (void)state;
    assert_int_equal(kelp_sim_check_history(NULL, 0, 0, &verdict), KELP_SIM_LINEARIZABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_register_is_judged_by_intervals),
        cmocka_unit_test(the_start_counts_even_at_time_zero),
        cmocka_unit_test(the_window_shows_only_what_matters_by_time),
        cmocka_unit_test(what_was_refused_must_never_appear),
        cmocka_unit_test(what_nobody_knows_may_or_may_not_have_happened),
        cmocka_unit_test(a_counter_is_judged_by_its_ledger),
        cmocka_unit_test(a_missing_number_needs_somebody_who_made_it_in_time),
        cmocka_unit_test(a_lost_append_is_a_cycle),
        cmocka_unit_test(a_stale_list_is_a_cycle),
        cmocka_unit_test(a_list_from_the_future_is_a_cycle),
        cmocka_unit_test(lists_that_disagree_are_named),
        cmocka_unit_test(a_cycle_through_a_hundred_thousand_nodes_is_found),
        cmocka_unit_test(compare_and_set_is_searched),
        cmocka_unit_test(keys_named_together_are_one_object),
        cmocka_unit_test(a_search_that_comes_to_its_bound_is_no_pass),
        cmocka_unit_test(too_many_keys_together_are_undecided),
        cmocka_unit_test(other_keys_do_not_matter),
        cmocka_unit_test(a_recorder_that_cannot_be_believed_is_named),
        cmocka_unit_test(an_empty_history_is_linearizable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
