/* SPDX-License-Identifier: Apache-2.0 */
/* decimal_test.c - numbers have one spelling, both ways. */
#include "base/decimal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/min.h"
#include "base/prng.h"

static void written_numbers_read_back(void **state)
{
    (void)state;
    struct prng random = {7};
    int64_t edges[] = {0, 1, -1, 9, 10, -10, INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_MIN + 1};
    for (size_t i = 0; i < 10000; i++) {
        int64_t number = i < COUNT_OF(edges) ? edges[i] : (int64_t)(prng_next(&random) >> (i % 64));
        uint8_t text[DECIMAL_BYTES_MAX];
        size_t len = decimal_write(number, text);
        int64_t back = number + 1 > number ? 0 : 1;
        assert_true(len <= DECIMAL_BYTES_MAX);
        assert_true(decimal_parse(bytes_of(text, len), &back));
        assert_true(back == number);
    }
}

static void other_spellings_are_no_numbers(void **state)
{
    (void)state;
    const char *wrong[] = {"",
                           "-",
                           "+1",
                           " 1",
                           "1 ",
                           "01",
                           "-0",
                           "-01",
                           "1.0",
                           "1e3",
                           "0x1",
                           "a",
                           "9223372036854775808",
                           "-9223372036854775809",
                           "99999999999999999999",
                           "18446744073709551616",
                           "--1",
                           "000"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        int64_t out = 42;
        assert_false(decimal_parse(bytes_of(wrong[i], strlen(wrong[i])), &out));
        assert_int_equal(out, 42);
    }
    int64_t out = 42;
    assert_false(decimal_parse(bytes_of("1\0", 2), &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_numbers_read_back),
        cmocka_unit_test(other_spellings_are_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
