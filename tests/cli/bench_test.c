/* SPDX-License-Identifier: Apache-2.0 */
/* bench_test.c - the load's requests and answers, byte by byte, and how it counts errors. */
#include "cli/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/min.h"

static struct kelp_bytes text(const char *s)
{
    return bytes_of(s, strlen(s));
}

static void answers_are_read_at_every_split(void **state)
{
    static const char all[] = "+OK\r\n-ERR no\r\n:42\r\n$3\r\na\nb\r\n$0\r\n\r\n$-1\r\n";
    static const enum bench_reply_kind kinds[] = {BENCH_STATUS, BENCH_ERROR, BENCH_NUMBER,
                                                  BENCH_BULK,   BENCH_BULK,  BENCH_NIL};
    static const char *const bytes[] = {"OK", "ERR no", "42", "a\nb", "", NULL};
    (void)state;
    for (size_t cut = 0; cut < sizeof all; cut++) {
        size_t at = 0, found = 0;
        struct bench_reply r;
        while (found < COUNT_OF(kinds)) {
            size_t end = cut > at ? cut : sizeof all - 1;
            enum kelp_error error = bench_reply_read(bytes_of(all + at, end - at), 100, &r);
            if (error == KELP_E_MORE && end == cut) {
                error = bench_reply_read(bytes_of(all + at, sizeof all - 1 - at), 100, &r);
            }
            assert_int_equal(error, KELP_OK);
            assert_int_equal(r.kind, kinds[found]);
            if (bytes[found] != NULL) assert_true(bytes_equal(r.bytes, text(bytes[found])));
            at += r.used;
            found++;
        }
        assert_int_equal(at, sizeof all - 1);
    }
}

static void what_is_no_answer_is_refused(void **state)
{
    static const char *const bad[] = {"*1\r\n",         "OK\r\n",   "+OK\n",
                                      "\r\n",           "\n",       "$x\r\n",
                                      "$-2\r\n",        "$101\r\n", "$\r\n",
                                      "$3\r\nabcd\r\n", "$+3\r\na", "$9999999999999999999999\r\n"};
    struct bench_reply r;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(bench_reply_read(text(bad[i]), 100, &r), KELP_E_MALFORMED);
    uint8_t *endless = malloc(65536);
    assert_non_null(endless);
    memset(endless, '+', 65536);
    assert_int_equal(bench_reply_read(bytes_of(endless, 65535), 100, &r), KELP_E_MORE);
    assert_int_equal(bench_reply_read(bytes_of(endless, 65536), 100, &r), KELP_E_MALFORMED);
    free(endless);
}

static void a_request_is_what_redis_expects(void **state)
{
    struct bench_request set, fetch;
    (void)state;
    assert_true(bench_request_set(&set, 18) && bench_request_get(&fetch));
    bench_digits(7, set.bytes + set.key_at, BENCH_DIGITS);
    bench_digits(12345, set.bytes + set.value_at, BENCH_DIGITS);
    assert_true(bytes_equal(bytes_of(set.bytes, set.len),
                            text("*3\r\n$3\r\nSET\r\n$22\r\nbench:0000000000000007\r\n"
                                 "$18\r\n0000000000012345vv\r\n")));
    assert_true(bytes_equal(bytes_of(fetch.bytes, fetch.len),
                            text("*2\r\n$3\r\nGET\r\n$22\r\nbench:0000000000000000\r\n")));
    bench_request_close(&set);
    bench_request_close(&fetch);
}

static void a_value_of_another_number_or_size_is_noticed(void **state)
{
    struct bench_request set;
    (void)state;
    assert_true(bench_request_set(&set, 18));
    assert_true(bench_value_is(&set, text("0000000000012345vv"), 12345));
    assert_false(bench_value_is(&set, text("0000000000012345vv"), 12346));
    assert_false(bench_value_is(&set, text("0000000000012345vw"), 12345));
    assert_false(bench_value_is(&set, text("0000000000012345v"), 12345));
    bench_request_close(&set);
    assert_true(bench_request_set(&set, 3)); /* short values hold the last digits */
    assert_true(bench_value_is(&set, text("345"), 12345));
    assert_false(bench_value_is(&set, text("344"), 12345));
    bench_request_close(&set);
}

static void errors_are_counted_by_their_first_word(void **state)
{
    static struct bench_report r;
    (void)state;
    bench_error_add(&r, text("UNCERTAIN leadership was lost"));
    bench_error_add(&r, text("UNCERTAIN deadline"));
    bench_error_add(&r, text("CLUSTERDOWN"));
    bench_error_add(&r, text(""));
    assert_int_equal(r.errors, 4);
    assert_int_equal(r.class_count, 3);
    assert_string_equal(r.classes[0].name, "UNCERTAIN");
    assert_int_equal(r.classes[0].count, 2);
    for (char word[] = "A long first word, longer than there is room\x01"; word[0] <= 'Z';
         word[0]++)
        bench_error_add(&r, text(word));
    uint64_t sum = 0;
    for (size_t i = 0; i < r.class_count; i++)
        sum += r.classes[i].count;
    assert_int_equal(r.errors, 30);
    assert_int_equal(sum, 30);
    for (char word[] = "A"; word[0] <= 'Z'; word[0]++)
        bench_error_add(&r, text(word));
    assert_int_equal(r.class_count, BENCH_CLASSES_MAX);
    assert_string_equal(r.classes[BENCH_CLASSES_MAX - 1].name, "other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read_at_every_split),
        cmocka_unit_test(what_is_no_answer_is_refused),
        cmocka_unit_test(a_request_is_what_redis_expects),
        cmocka_unit_test(a_value_of_another_number_or_size_is_noticed),
        cmocka_unit_test(errors_are_counted_by_their_first_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
