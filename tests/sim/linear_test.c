/* SPDX-License-Identifier: Apache-2.0 */
/* linear_test.c - histories of one register that are and are not linearizable.  [Gibbons,
 * Korach] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/min.h"
#include "base/prng.h"
#include "sim/linear.h"

#define WRITE(v, from, to)                                                                         \
    (struct linear_operation)                                                                      \
    {                                                                                              \
        .call = (from), .back = (to), .value = (v), .read = false                                  \
    }
#define READ(v, from, to)                                                                          \
    (struct linear_operation)                                                                      \
    {                                                                                              \
        .call = (from), .back = (to), .value = (v), .read = true                                   \
    }
#define VERDICT(expected, ...)                                                                     \
    do {                                                                                           \
        struct linear_operation history_[] = {__VA_ARGS__};                                        \
        uint64_t values_[2];                                                                       \
        assert_int_equal(linear_check(history_, COUNT_OF(history_), values_), expected);           \
    } while (0)

static void a_sequential_history_is_good(void **state)
{
    (void)state;
    VERDICT(LINEAR_GOOD, READ(0, 1, 2), WRITE(1, 3, 4), READ(1, 5, 6), WRITE(2, 7, 8),
            READ(2, 9, 10));
}

static void a_read_beside_a_write_may_see_either_value(void **state)
{
    (void)state;
    VERDICT(LINEAR_GOOD, WRITE(1, 1, 2), WRITE(2, 3, 10), READ(1, 4, 5));
    VERDICT(LINEAR_GOOD, WRITE(1, 1, 2), WRITE(2, 3, 10), READ(2, 4, 5));
}

static void a_stale_read_is_found(void **state)
{
    (void)state;
    VERDICT(LINEAR_ZONE_INSIDE, WRITE(1, 1, 2), WRITE(2, 3, 4), READ(1, 5, 6));
    VERDICT(LINEAR_ZONE_INSIDE, WRITE(1, 1, 2), READ(0, 3, 4));
}

static void values_that_alternate_are_found(void **state)
{
    (void)state;
    VERDICT(LINEAR_ZONES_OVERLAP, WRITE(1, 1, 2), WRITE(2, 1, 2), READ(1, 3, 4), READ(2, 5, 6),
            READ(1, 7, 8));
}

static void a_read_that_goes_back_is_found(void **state)
{
    (void)state;
    /* Both writes are open; once 2 was seen after 1, 1 is gone. */
    VERDICT(LINEAR_ZONES_OVERLAP, WRITE(1, 1, 20), WRITE(2, 1, 20), READ(1, 2, 3), READ(2, 4, 5),
            READ(1, 6, 7), READ(2, 8, 9));
}

static void a_read_of_what_nobody_wrote_is_found(void **state)
{
    (void)state;
    VERDICT(LINEAR_READ_OF_NOTHING, WRITE(1, 1, 2), READ(7, 3, 4));
}

static void a_read_before_its_write_is_found(void **state)
{
    (void)state;
    VERDICT(LINEAR_READ_BEFORE_WRITE, READ(1, 1, 2), WRITE(1, 3, 4));
}

static void a_write_of_unknown_outcome_may_or_may_not_have_happened(void **state)
{
    (void)state;
    VERDICT(LINEAR_GOOD, WRITE(1, 1, 2), WRITE(2, 3, KELP_NEVER), READ(1, 100, 101));
    VERDICT(LINEAR_GOOD, WRITE(1, 1, 2), WRITE(2, 3, KELP_NEVER), READ(2, 100, 101));
    VERDICT(LINEAR_ZONE_INSIDE, WRITE(1, 1, 2), WRITE(2, 3, KELP_NEVER), READ(2, 50, 51),
            READ(1, 100, 101));
}

static void a_broken_recorder_is_found(void **state)
{
    (void)state;
    VERDICT(LINEAR_WRITTEN_TWICE, WRITE(1, 1, 2), WRITE(1, 3, 4));
    VERDICT(LINEAR_BACKWARDS, WRITE(1, 5, 2));
}

/* ---- against every order: is there one that explains it? ---- */

static bool explained(const struct linear_operation *ops, unsigned count, unsigned done,
                      uint64_t value)
{
    if (done == (1u << count) - 1) return true;
    kelp_ns first_back = KELP_NEVER;
    for (unsigned i = 0; i < count; i++) {
        if ((done >> i & 1) == 0) first_back = min_u64(first_back, ops[i].back);
    }
    for (unsigned i = 0; i < count; i++) {
        if ((done >> i & 1) != 0 || ops[i].call > first_back) continue;
        if (ops[i].read && ops[i].value != value) continue;
        if (explained(ops, count, done | 1u << i, ops[i].read ? value : ops[i].value)) return true;
    }
    return false;
}

static void the_interval_test_agrees_with_trying_every_order(void **state)
{
    (void)state;
    struct prng prng = {20221};
    unsigned good = 0, bad = 0;
    for (unsigned round = 0; round < 20000; round++) {
        struct linear_operation ops[7];
        unsigned count = (unsigned)prng_between(&prng, 2, 7), writes = 0;
        for (unsigned i = 0; i < count; i++) {
            bool read = prng_chance(&prng, 1, 2);
            /* All moments differ: the test calls equal ones neither before nor after. */
            kelp_ns call = 1 + prng_below(&prng, 20) * 32 + i * 2;
            kelp_ns back = call + 1 + prng_below(&prng, 8) * 32;
            uint64_t value = read ? prng_below(&prng, 4) : ++writes;
            ops[i] = (struct linear_operation){call, back, value, read};
        }
        bool fine = explained(ops, count, 0, 0);
        uint64_t values[2];
        bool judged = linear_check(ops, count, values) == LINEAR_GOOD;
        assert_int_equal(judged, fine);
        good += fine;
        bad += !fine;
    }
    assert_true(good > 1000 && bad > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequential_history_is_good),
        cmocka_unit_test(a_read_beside_a_write_may_see_either_value),
        cmocka_unit_test(a_stale_read_is_found),
        cmocka_unit_test(values_that_alternate_are_found),
        cmocka_unit_test(a_read_that_goes_back_is_found),
        cmocka_unit_test(a_read_of_what_nobody_wrote_is_found),
        cmocka_unit_test(a_read_before_its_write_is_found),
        cmocka_unit_test(a_write_of_unknown_outcome_may_or_may_not_have_happened),
        cmocka_unit_test(a_broken_recorder_is_found),
        cmocka_unit_test(the_interval_test_agrees_with_trying_every_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
