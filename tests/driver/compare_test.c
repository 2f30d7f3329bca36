/* SPDX-License-Identifier: Apache-2.0 */
/* compare_test.c - who finds itself apart from the others, and who must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "driver/compare.h"

#define AT(n) ((kelp_index)(n)*WIRE_MARK_EVERY)

static struct kelp_config config; /* members 1.. */
static struct compare c;

static struct kelp_config voters(size_t count)
{
    struct kelp_config made = {.count = (uint8_t)count};
    for (size_t i = 0; i < count; i++)
        made.members[i] = (struct kelp_member){.id = i + 1, .role = KELP_VOTER};
    return made;
}

static void begin(size_t members, kelp_id self)
{
    config = voters(members);
    compare_init(&c, self);
}

static bool says(kelp_id id, kelp_index index, uint64_t state)
{
    return compare_said(&c, &config, id,
                        (struct wire_mark){.index = index, .chain = index, .state = state});
}

static struct compare_result judged(void)
{
    struct compare_result r;
    compare_judge(&c, &config, &r);
    return r;
}

static void equal_states_are_agreed_once_a_majority_spoke(void **state)
{
    (void)state;
    begin(3, 1);
    assert_int_equal(judged().verdict, COMPARE_NOTHING);
    assert_true(says(1, AT(1), 7));
    assert_int_equal(judged().verdict, COMPARE_NOTHING);
    assert_true(says(2, AT(1), 7));
    struct compare_result r = judged();
    assert_int_equal(r.verdict, COMPARE_AGREED);
    assert_int_equal(r.index, AT(1));
    assert_int_equal(r.with_most, 2);
    assert_int_equal(r.silent, 1);
}

static void one_of_three_is_apart_and_the_other_two_are_not(void **state)
{
    (void)state;
    for (kelp_id self = 1; self <= 3; self++) {
        begin(3, self);
        for (kelp_id id = 1; id <= 3; id++) {
            assert_true(says(id, AT(1), 7));
            assert_true(says(id, AT(2), id == 2 ? 8 : 9));
        }
        struct compare_result r = judged();
        assert_int_equal(r.verdict, self == 2 ? COMPARE_APART : COMPARE_AGREED);
        assert_int_equal(r.index, AT(2));
        assert_int_equal(r.members, 3);
        assert_int_equal(r.with_most, 2);
        assert_false(r.log_differs);
    }
}

static void other_entries_are_told_from_another_outcome_of_the_same(void **state)
{
    (void)state;
    begin(3, 1);
    assert_true(says(2, AT(1), 7) && says(3, AT(1), 7));
    struct wire_mark mine = {.index = AT(1), .chain = 99, .state = 7};
    assert_true(compare_said(&c, &config, 1, mine));
    struct compare_result r = judged();
    assert_int_equal(r.verdict, COMPARE_APART);
    assert_true(r.log_differs);
}

/* A majority of those that happened to speak is none. */
static void silent_members_are_counted(void **state)
{
    (void)state;
    begin(5, 1);
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 8) && says(3, AT(1), 8));
    struct compare_result r = judged();
    assert_int_equal(r.verdict, COMPARE_SPLIT);
    assert_int_equal(r.silent, 2);
    assert_int_equal(r.with_most, 2);
    assert_true(says(4, AT(1), 8));
    assert_int_equal(judged().verdict, COMPARE_APART);
}

static void two_of_five_are_apart_and_two_pairs_are_not(void **state)
{
    (void)state;
    begin(5, 1);
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 7));
    assert_true(says(3, AT(1), 8) && says(4, AT(1), 8) && says(5, AT(1), 8));
    assert_int_equal(judged().verdict, COMPARE_APART);
    begin(5, 1);
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 7));
    assert_true(says(3, AT(1), 8) && says(4, AT(1), 8) && says(5, AT(1), 9));
    assert_int_equal(judged().verdict, COMPARE_SPLIT);
}

static void of_two_members_nobody_is_judged_and_both_say_so(void **state)
{
    (void)state;
    for (kelp_id self = 1; self <= 2; self++) {
        begin(2, self);
        assert_true(says(1, AT(3), 7) && says(2, AT(3), 8));
        struct compare_result r = judged();
        assert_int_equal(r.verdict, COMPARE_SPLIT);
        assert_int_equal(r.index, AT(3));
        assert_int_equal(r.silent, 0);
    }
}

static void a_witness_has_no_state_to_compare(void **state)
{
    (void)state;
    begin(3, 1);
    config.members[2].role = KELP_WITNESS;
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 8));
    assert_false(says(3, AT(1), 8));
    struct compare_result r = judged();
    assert_int_equal(r.verdict, COMPARE_SPLIT);
    assert_int_equal(r.members, 2);
    begin(3, 3);
    config.members[2].role = KELP_WITNESS;
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 7));
    assert_int_equal(judged().verdict, COMPARE_NOTHING);
}

static void a_learner_keeps_the_state_like_a_voter(void **state)
{
    (void)state;
    begin(3, 2);
    config.members[2].role = KELP_LEARNER;
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 8) && says(3, AT(1), 7));
    assert_int_equal(judged().verdict, COMPARE_APART);
}

static void who_joins_late_says_nothing_about_what_was_before(void **state)
{
    (void)state;
    begin(3, 3);
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 8));
    assert_int_equal(judged().verdict, COMPARE_NOTHING); /* it was not there */
    assert_true(says(1, AT(2), 9) && says(2, AT(2), 9) && says(3, AT(2), 9));
    assert_int_equal(judged().verdict, COMPARE_AGREED);
}

static void apart_stays_until_the_state_is_replaced(void **state)
{
    (void)state;
    begin(3, 1);
    for (kelp_id id = 1; id <= 3; id++)
        assert_true(says(id, AT(2), id == 1 ? 8 : 9));
    assert_int_equal(judged().verdict, COMPARE_APART);
    for (unsigned n = 3; n < 3 + 2 * WIRE_MARK_KEPT; n++) {
        for (kelp_id id = 1; id <= 3; id++)
            assert_true(says(id, AT(n), 7));
        struct compare_result r = judged();
        assert_int_equal(r.verdict, COMPARE_APART);
        assert_int_equal(r.index, AT(2)); /* where it was seen first */
    }
    compare_restored(&c);
    assert_int_equal(judged().verdict, COMPARE_NOTHING);
    assert_true(says(1, AT(35), 7) && says(2, AT(35), 7));
    assert_int_equal(judged().verdict, COMPARE_AGREED);
}

/* The others' marks are still there: what was found by them is not found again without own ones. */
static void who_is_removed_stays_apart(void **state)
{
    (void)state;
    begin(3, 3);
    for (kelp_id id = 1; id <= 3; id++)
        assert_true(says(id, AT(1), id == 3 ? 8 : 7));
    assert_int_equal(judged().verdict, COMPARE_APART);
    config.count = 2;
    struct compare_result r = judged();
    assert_int_equal(r.verdict, COMPARE_APART);
    assert_int_equal(r.index, AT(1));
}

static void a_replaced_state_is_compared_again(void **state)
{
    (void)state;
    begin(3, 1);
    for (kelp_id id = 1; id <= 3; id++)
        assert_true(says(id, AT(1), id == 1 ? 8 : 9));
    assert_int_equal(judged().verdict, COMPARE_APART);
    compare_restored(&c);
    for (kelp_id id = 1; id <= 3; id++)
        assert_true(says(id, AT(2), id == 1 ? 5 : 6));
    struct compare_result r = judged();
    assert_int_equal(r.verdict, COMPARE_APART);
    assert_int_equal(r.index, AT(2));
}

static void a_split_names_the_first_index_and_ends_where_states_are_equal_again(void **state)
{
    (void)state;
    begin(2, 1);
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 7));
    for (unsigned n = 2; n <= 4; n++)
        assert_true(says(1, AT(n), 7) && says(2, AT(n), 8));
    struct compare_result r = judged();
    assert_int_equal(r.verdict, COMPARE_SPLIT);
    assert_int_equal(r.index, AT(2));
    assert_true(says(1, AT(5), 7) && says(2, AT(5), 7));
    r = judged();
    assert_int_equal(r.verdict, COMPARE_AGREED);
    assert_int_equal(r.index, AT(5));
}

static void what_is_said_last_counts(void **state)
{
    (void)state;
    begin(3, 1);
    assert_true(says(1, AT(1), 7) && says(2, AT(1), 8));
    assert_int_equal(judged().verdict, COMPARE_SPLIT);
    assert_true(says(2, AT(1), 7)); /* it started anew */
    assert_int_equal(judged().verdict, COMPARE_AGREED);
}

static void only_indexes_of_the_log_s_own_choice_are_kept(void **state)
{
    (void)state;
    begin(3, 1);
    assert_false(says(2, 0, 7));
    assert_false(says(2, AT(1) + 1, 7));
    assert_false(says(9, AT(1), 7)); /* no member */
    assert_true(says(2, UINT64_MAX - UINT64_MAX % WIRE_MARK_EVERY, 7));
    assert_true(says(1, AT(1), 7));
    assert_int_equal(judged().verdict, COMPARE_NOTHING);
}

static void rows_of_members_that_left_are_used_again(void **state)
{
    (void)state;
    begin(KELP_MEMBERS_MAX, 1);
    for (kelp_id id = 1; id <= KELP_MEMBERS_MAX; id++)
        assert_true(says(id, AT(1), 7));
    assert_int_equal(judged().with_most, KELP_MEMBERS_MAX);
    for (size_t i = 1; i < KELP_MEMBERS_MAX; i++)
        config.members[i].id += 100;
    assert_int_equal(judged().verdict, COMPARE_NOTHING); /* the others' words are of no member */
    for (size_t i = 1; i < KELP_MEMBERS_MAX; i++)
        assert_true(says(config.members[i].id, AT(1), 8));
    assert_int_equal(judged().verdict, COMPARE_APART);
}

static void who_has_the_state_of_a_majority_and_never_another_agrees(void **state)
{
    (void)state;
    begin(5, 1);
    for (kelp_id id = 1; id <= 5; id++)
        assert_false(compare_agrees(&c, &config, id)); /* nobody said anything */
    assert_true(says(3, AT(1), 7) && says(4, AT(1), 7));
    assert_false(compare_agrees(&c, &config, 3)); /* two of five */
    assert_true(says(5, AT(1), 7));
    assert_true(compare_agrees(&c, &config, 3));
    assert_false(compare_agrees(&c, &config, 2)); /* it is silent */
    assert_true(says(2, AT(1), 8));
    assert_false(compare_agrees(&c, &config, 2));
    for (kelp_id id = 2; id <= 5; id++)
        assert_true(says(id, AT(2), 9));
    assert_false(compare_agrees(&c, &config, 2)); /* equal again, but it was another */
    assert_true(compare_agrees(&c, &config, 5));
    config.members[4].role = KELP_WITNESS;
    assert_false(compare_agrees(&c, &config, 5)); /* it keeps none */
    assert_false(compare_agrees(&c, &config, 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_states_are_agreed_once_a_majority_spoke),
        cmocka_unit_test(one_of_three_is_apart_and_the_other_two_are_not),
        cmocka_unit_test(other_entries_are_told_from_another_outcome_of_the_same),
        cmocka_unit_test(silent_members_are_counted),
        cmocka_unit_test(two_of_five_are_apart_and_two_pairs_are_not),
        cmocka_unit_test(of_two_members_nobody_is_judged_and_both_say_so),
        cmocka_unit_test(a_witness_has_no_state_to_compare),
        cmocka_unit_test(a_learner_keeps_the_state_like_a_voter),
        cmocka_unit_test(who_joins_late_says_nothing_about_what_was_before),
        cmocka_unit_test(apart_stays_until_the_state_is_replaced),
        cmocka_unit_test(who_is_removed_stays_apart),
        cmocka_unit_test(a_replaced_state_is_compared_again),
        cmocka_unit_test(a_split_names_the_first_index_and_ends_where_states_are_equal_again),
        cmocka_unit_test(what_is_said_last_counts),
        cmocka_unit_test(only_indexes_of_the_log_s_own_choice_are_kept),
        cmocka_unit_test(rows_of_members_that_left_are_used_again),
        cmocka_unit_test(who_has_the_state_of_a_majority_and_never_another_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
