/* SPDX-License-Identifier: Apache-2.0 */
/* reads_test.c - a read level in words: what is not understood is named, nothing is guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/reads.h"

static struct kelp_read_how accepted(const char *text)
{
    char wrong[READS_WRONG_MAX] = "";
    struct kelp_read_how how;
    if (!reads_parse_text(text, &how, wrong)) fail_msg("%s: %s", text, wrong);
    return how;
}

static void refused(const char *text, const char *words)
{
    char wrong[READS_WRONG_MAX] = "";
    struct kelp_read_how how;
    assert_false(reads_parse_text(text, &how, wrong));
    assert_non_null(strstr(wrong, words));
}

static void each_level_has_its_words(void **state)
{
    (void)state;
    assert_int_equal(accepted("linearizable").level, KELP_READ_LINEARIZABLE);
    assert_int_equal(accepted("LEASE").level, KELP_READ_LEASE);
    assert_false(accepted("lease").may_round);
    assert_true(accepted("lease round").may_round);
    assert_int_equal(accepted(" stale  250 ").level, KELP_READ_STALE);
    assert_int_equal(accepted("stale 250").stale_max, 250000000);
    assert_int_equal(accepted("any").level, KELP_READ_ANY);
    assert_int_equal(accepted("log").level, KELP_READ_LOG);
    assert_int_equal(accepted("log").at_least, 0);
}

static void each_level_may_name_an_index(void **state)
{
    (void)state;
    assert_int_equal(accepted("any after 17").at_least, 17);
    assert_int_equal(accepted("stale 5 AFTER 4611686018427387904").at_least, UINT64_C(1) << 62);
    assert_int_equal(accepted("lease round after 3").at_least, 3);
    assert_true(accepted("lease round after 3").may_round);
}

static void what_is_not_understood_is_refused(void **state)
{
    (void)state;
    refused("", "a read level is");
    refused("fresh", "a read level is");
    refused("stale", "stale takes");
    refused("stale 0", "stale takes");
    refused("stale -1", "stale takes");
    refused("stale 1.5", "stale takes");
    refused("stale 1099511627777", "stale takes");
    refused("any after", "after takes");
    refused("any after 0", "after takes");
    refused("any after 4611686018427387905", "after takes");
    refused("any 5", "one level");
    refused("linearizable round", "one level");
    refused("lease round after 3 4", "one level");
}

static void words_behind_the_level_are_left(void **state)
{
    (void)state;
    const struct kelp_bytes words[] = {
        {(const uint8_t *)"any", 3}, {(const uint8_t *)"GET", 3}, {(const uint8_t *)"k", 1}};
    char wrong[READS_WRONG_MAX];
    struct kelp_read_how how;
    size_t used = 0;
    assert_true(reads_parse(words, 3, &used, &how, wrong));
    assert_int_equal(used, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_level_has_its_words),
        cmocka_unit_test(each_level_may_name_an_index),
        cmocka_unit_test(what_is_not_understood_is_refused),
        cmocka_unit_test(words_behind_the_level_are_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
