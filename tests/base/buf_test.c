/* SPDX-License-Identifier: Apache-2.0 */
/* buf_test.c - the growable buffer: ceiling, sticking errors, moving, giving back. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void appended_bytes_are_there_in_order(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1024);
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_append_text(&b, "abc"), KELP_OK);
    assert_int_equal(b.len, 300);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(b.data[i], "abc"[i % 3]);
    buf_close(&b);
}

static void the_ceiling_is_exact_and_its_error_sticks(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    assert_int_equal(buf_append_text(&b, "12345"), KELP_OK);
    assert_int_equal(buf_append_text(&b, "6"), KELP_E_LIMIT);
    assert_int_equal(buf_append_text(&b, ""), KELP_E_LIMIT);
    assert_int_equal(b.len, 5);
    buf_clear(&b);
    assert_int_equal(buf_append_text(&b, "6"), KELP_OK);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), KELP_E_LIMIT);
    buf_close(&b);
}

static void dropped_bytes_leave_the_rest_in_front(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 64);
    (void)buf_append_text(&b, "head tail");
    buf_drop(&b, 5);
    assert_true(bytes_equal(buf_bytes(&b), BYTES_LITERAL("tail")));
    buf_drop(&b, 4);
    assert_int_equal(b.len, 0);
    buf_close(&b);
}

static void trimming_keeps_content_and_gives_room_back(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_reserve(&b, 1 << 20), KELP_OK);
    (void)buf_append_text(&b, "kept");
    buf_trim(&b, 1024);
    assert_int_equal(b.room, 1024);
    assert_true(bytes_equal(buf_bytes(&b), BYTES_LITERAL("kept")));
    buf_clear(&b);
    buf_trim(&b, 16);
    assert_null(b.data);
    assert_int_equal(buf_append_text(&b, "again"), KELP_OK);
    buf_close(&b);
}

static void a_line_is_mark_number_and_line_end(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 64);
    (void)buf_append_line(&b, ':', INT64_MIN);
    assert_true(bytes_equal(buf_bytes(&b), BYTES_LITERAL(":-9223372036854775808\r\n")));
    buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_bytes_are_there_in_order),
        cmocka_unit_test(the_ceiling_is_exact_and_its_error_sticks),
        cmocka_unit_test(dropped_bytes_leave_the_rest_in_front),
        cmocka_unit_test(trimming_keeps_content_and_gives_room_back),
        cmocka_unit_test(a_line_is_mark_number_and_line_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
