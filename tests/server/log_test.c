/* SPDX-License-Identifier: Apache-2.0 */
/* log_test.c - the two shapes of a log line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/log.h"

#define UNIX_MS UINT64_C(1740823200123) /* 2025-03-01 10:00:00.123 UTC */

static void a_text_line_has_time_level_and_message(void **state)
{
    (void)state;
    char line[256];
    size_t len = log_format_line(LOG_TEXT, KELP_WARN, 3, UNIX_MS, "hello", line, sizeof line);
    assert_string_equal(line, "2025-03-01T10:00:00.123Z warn  hello\n");
    assert_int_equal(len, strlen(line));
}

static void a_json_line_escapes_its_message(void **state)
{
    (void)state;
    char line[256];
    (void)log_format_line(LOG_JSON, KELP_ERROR, 3, UNIX_MS, "a \"b\" \\ \n\xff", line, sizeof line);
    assert_string_equal(line,
                        "{\"time\":\"2025-03-01T10:00:00.123Z\",\"level\":\"error\",\"node\":3,"
                        "\"message\":\"a \\\"b\\\" \\\\ \\u000a\\u00ff\"}\n");
}

static void a_long_line_is_cut_and_still_a_line(void **state)
{
    (void)state;
    char line[48];
    size_t len = log_format_line(LOG_TEXT, KELP_INFO, 3, UNIX_MS,
                                 "0123456789012345678901234567890123456789", line, sizeof line);
    assert_int_equal(len, sizeof line - 1);
    assert_int_equal(line[len - 1], '\n');
    assert_int_equal(line[len], '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_line_has_time_level_and_message),
        cmocka_unit_test(a_json_line_escapes_its_message),
        cmocka_unit_test(a_long_line_is_cut_and_still_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
