/* SPDX-License-Identifier: Apache-2.0 */
/* resp_reply_test.c - replies byte by byte. */
#include "proto/resp_reply.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SAYS(b, wanted) assert_true(bytes_equal(buf_bytes(b), BYTES_LITERAL(wanted)))

static void every_shape_has_its_bytes(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    (void)resp_array(&b, 6);
    (void)resp_simple(&b, "OK");
    (void)resp_integer(&b, -7);
    (void)resp_bulk(&b, BYTES_LITERAL("a\r\nb"));
    (void)resp_bulk_text(&b, "");
    (void)resp_nil(&b);
    assert_int_equal(resp_nil_array(&b), KELP_OK);
    SAYS(&b, "*6\r\n+OK\r\n:-7\r\n$4\r\na\r\nb\r\n$0\r\n\r\n$-1\r\n*-1\r\n");
    buf_close(&b);
}

static void an_error_is_one_line_whatever_is_put_into_it(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    (void)resp_error(&b, "ERR unknown command '%s'", "a\r\nb");
    (void)resp_error(&b, "ERR end\r\n");
    SAYS(&b, "-ERR unknown command 'a  b'\r\n-ERR end\r\n");
    buf_close(&b);
}

static void a_reply_that_does_not_fit_leaves_nothing_behind(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 40);
    assert_int_equal(resp_simple(&b, "OK"), KELP_OK);
    assert_int_equal(resp_bulk(&b, BYTES_LITERAL("0123456789012345678901234567890123456789")),
                     KELP_E_LIMIT);
    assert_int_equal(resp_simple(&b, "OK"), KELP_E_LIMIT);
    SAYS(&b, "+OK\r\n");
    buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_has_its_bytes),
        cmocka_unit_test(an_error_is_one_line_whatever_is_put_into_it),
        cmocka_unit_test(a_reply_that_does_not_fit_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
