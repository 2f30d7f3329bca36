/* SPDX-License-Identifier: Apache-2.0 */
/* resp_test.c - the request parser: what it takes, what it refuses in which words, and that the way
 * the bytes are cut into pieces never matters. Every piece is parsed in a block of its exact size,
 * so that the address sanitizer sees a byte too far. */
#include "proto/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/min.h"
#include "base/prng.h"

#define ARGS_MAX 16u

static const struct resp_limits small = {
    .args_max = ARGS_MAX, .bulk_bytes_max = 64, .inline_bytes_max = 48, .request_bytes_max = 128};

/* All requests of the input as text, the input arriving up to each cut in turn (the last is its
 * length). */
static void transcript(const char *input, const size_t *cuts, size_t cut_count, struct buf *out)
{
    struct resp_parser p = {0};
    struct kelp_bytes argv[ARGS_MAX];
    struct resp_request request;
    uint8_t *held = malloc(1); /* the unfinished bytes, moved at every cut */
    size_t held_len = 0, arrived = 0;
    buf_clear(out);
    for (size_t i = 0; i < cut_count; i++) {
        uint8_t *moved = malloc(held_len + cuts[i] - arrived + (cuts[i] == arrived));
        memcpy(moved, held, held_len);
        memcpy(moved + held_len, input + arrived, cuts[i] - arrived);
        free(held);
        held = moved;
        held_len += cuts[i] - arrived;
        arrived = cuts[i];
        for (;;) {
            enum resp_result result = resp_parse(&p, &small, held, held_len, argv, &request);
            if (result == RESP_MORE) {
                assert_true(request.need > 0);
                break;
            }
            if (result == RESP_ERROR) {
                (void)buf_append_text(out, request.error);
                free(held);
                return;
            }
            for (size_t a = 0; a < request.argc; a++) {
                (void)buf_append_text(out, "<");
                (void)buf_append(out, argv[a]);
                (void)buf_append_text(out, ">");
            }
            (void)buf_append_text(out, ";");
            assert_true(request.used > 0 && request.used <= held_len);
            held_len -= request.used;
            uint8_t *rest = malloc(held_len + 1);
            memcpy(rest, held + request.used, held_len);
            free(held);
            held = realloc(rest, held_len + (held_len == 0));
        }
    }
    if (held_len > 0) (void)buf_append_text(out, "...");
    free(held);
}

static void expect_len(const char *input, size_t len, const char *wanted)
{
    struct buf got;
    buf_init(&got, 65536);
    transcript(input, &len, 1, &got);
    (void)buf_append(&got, bytes_of("", 1));
    assert_string_equal((const char *)got.data, wanted);
    for (size_t cut = 0; cut <= len; cut++) { /* every split into two */
        size_t cuts[] = {cut, len};
        transcript(input, cuts, 2, &got);
        (void)buf_append(&got, bytes_of("", 1));
        assert_string_equal((const char *)got.data, wanted);
    }
    size_t *every = malloc(len * sizeof(*every)); /* byte by byte */
    for (size_t i = 0; i < len; i++)
        every[i] = i + 1;
    transcript(input, every, len, &got);
    (void)buf_append(&got, bytes_of("", 1));
    assert_string_equal((const char *)got.data, wanted);
    free(every);
    buf_close(&got);
}

#define EXPECT(input, wanted) expect_len(input, sizeof(input) - 1, wanted)

static void arrays_of_bulk_strings_are_requests(void **state)
{
    (void)state;
    EXPECT("*1\r\n$4\r\nPING\r\n", "<PING>;");
    EXPECT("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "<SET><k><>;");
    EXPECT("*2\r\n$3\r\nGET\r\n$6\r\n\r\n*$\r\n\r\n", "<GET><\r\n*$\r\n>;");
}

static void pipelined_requests_come_one_by_one(void **state)
{
    (void)state;
    EXPECT(
        "*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n*1\r\n$4\r\nPING\r\n\r\n*0\r\necho  hi \n*2\r\n$1",
        "<GET><a>;<PING>;<PING>;;;<echo><hi>;...");
}

static void empty_requests_have_no_arguments(void **state)
{
    (void)state;
    EXPECT("\r\n", ";");
    EXPECT("\n", ";");
    EXPECT("   \t \r\n", ";");
    EXPECT("*0\r\n", ";");
    EXPECT("*-1\r\n*-9223372036854775808\r\n", ";;");
}

static void inline_words_are_unquoted_as_redis_does(void **state)
{
    (void)state;
    EXPECT("set k v\r\n", "<set><k><v>;");
    EXPECT("set \"a b\" 'c d'\n", "<set><a b><c d>;");
    EXPECT("x \"\\x41\\x7a\\n\\t\\\"\\\\\\q\"\n", "<x><Az\n\t\"\\q>;");
    EXPECT("x '\\'\\n\\x41'\n", "<x><'\\n\\x41>;");
    EXPECT("x \"\" ''\n", "<x><><>;");
    EXPECT("x a\"b c\" d\n", "<x><ab c><d>;");
    EXPECT("x \"\\x4\"\n", "<x><x4>;");
    EXPECT("\\x41 a\\ b\n", "<\\x41><a\\><b>;");
    EXPECT("a\vb \f c\n", "<a\vb><c>;");
}

static void unbalanced_quotes_are_refused(void **state)
{
    (void)state;
    static const char wanted[] = "Protocol error: unbalanced quotes in request";
    EXPECT("x \"a\n", wanted);
    EXPECT("x 'a\r\n", wanted);
    EXPECT("x \"a\"b\n", wanted);
    EXPECT("x 'a''b'\n", wanted);
    EXPECT("x \"a\\\"\n", wanted);
}

static void wrong_heads_are_refused_in_redis_words(void **state)
{
    (void)state;
    EXPECT("*x\r\n", "Protocol error: invalid multibulk length");
    EXPECT("*\r\n", "Protocol error: invalid multibulk length");
    EXPECT("*01\r\n", "Protocol error: invalid multibulk length");
    EXPECT("*99999999999999999999\r\n", "Protocol error: invalid multibulk length");
    EXPECT("*1\r\n$x\r\n", "Protocol error: invalid bulk length");
    EXPECT("*1\r\n$\r\n", "Protocol error: invalid bulk length");
    EXPECT("*1\r\n$-1\r\n", "Protocol error: invalid bulk length");
    EXPECT("*1\r\nPING\r\n", "Protocol error: expected '$', got 'P'");
    EXPECT("*1\r\n\r\n", "Protocol error: expected '$', got ' '");
    EXPECT("*2\r\n$1\r\na\r\n:1\r\n", "Protocol error: expected '$', got ':'");
}

static void limits_are_judged_from_the_head_alone(void **state)
{
    (void)state;
    EXPECT("*16\r\n", "...");
    EXPECT("*17\r\n", "Protocol error: invalid multibulk length");
    EXPECT("*1\r\n$64\r\n", "...");
    EXPECT("*1\r\n$65\r\n", "Protocol error: invalid bulk length");
    EXPECT(
        "*3\r\n$1\r\na\r\n$64\r\n0123456789012345678901234567890123456789012345678901234567890123"
        "\r\n$63\r\n",
        "...");
    EXPECT(
        "*3\r\n$1\r\na\r\n$64\r\n0123456789012345678901234567890123456789012345678901234567890123"
        "\r\n$64\r\n",
        "Protocol error: too big request");
}

static void lines_are_limited_whether_or_not_they_end(void **state)
{
    (void)state;
    char line[64];
    memset(line, 'a', sizeof(line));
    line[48] = '\n'; /* 48 bytes: just allowed */
    char wanted[64] = "<";
    memset(wanted + 1, 'a', 48);
    memcpy(wanted + 49, ">;", 3);
    expect_len(line, 49, wanted);
    line[48] = 'a';
    expect_len(line, 48, "...");
    expect_len(line, 49, "Protocol error: too big inline request");
    line[49] = '\n';
    expect_len(line, 50, "Protocol error: too big inline request");
    line[0] = '*';
    expect_len(line, 49, "Protocol error: too big mbulk count string");
    memcpy(line, "*1\r\n$", 5);
    expect_len(line, 49, "...");
    expect_len(line, 64, "Protocol error: too big bulk count string");
}

static void too_many_inline_words_are_refused(void **state)
{
    (void)state;
    EXPECT("1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6\n",
           "<1><2><3><4><5><6><7><8><9><0><1><2><3><4><5><6>;");
    EXPECT("1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7\n", "Protocol error: too big inline request");
}

static void an_unfinished_body_says_how_much_is_missing(void **state)
{
    (void)state;
    struct resp_limits limits = small;
    limits.bulk_bytes_max = limits.request_bytes_max = 1 << 20;
    struct resp_parser p = {0};
    struct kelp_bytes argv[ARGS_MAX];
    struct resp_request request;
    uint8_t data[] = "*2\r\n$3\r\nGET\r\n$100000\r\nabc";
    size_t len = sizeof(data) - 1;
    assert_int_equal(resp_parse(&p, &limits, data, len, argv, &request), RESP_MORE);
    assert_int_equal(request.need, 100000 + 2 - 3);
    assert_int_equal(p.at, len - 3); /* settled: the next call starts at the body */
}

static void any_random_cutting_gives_the_same_transcript(void **state)
{
    (void)state;
    static const char alphabet[] = "*$\r\n\"'\\x 012a";
    struct prng random = {42};
    struct buf whole, cut;
    buf_init(&whole, 65536);
    buf_init(&cut, 65536);
    for (int round = 0; round < 20000; round++) {
        char input[96];
        size_t len = 0, pieces = prng_between(&random, 1, 5);
        while (pieces-- > 0) {
            uint64_t kind = prng_below(&random, 4);
            if (kind == 0) {
                memcpy(input + len, "*1\r\n$2\r\nab\r\n", 12);
                len += 12;
            } else if (kind == 1) {
                memcpy(input + len, "*2\r\n$1\r\n", 8);
                len += 8;
            } else {
                for (uint64_t n = prng_below(&random, 12); n > 0; n--)
                    input[len++] = alphabet[prng_below(&random, sizeof(alphabet) - 1)];
            }
        }
        size_t cuts[8], count = prng_between(&random, 1, 7);
        for (size_t i = 0, at = 0; i < count; i++)
            cuts[i] = at += prng_below(&random, len + 1 - at);
        cuts[count++] = len;
        transcript(input, &len, 1, &whole);
        transcript(input, cuts, count, &cut);
        assert_true(bytes_equal(buf_bytes(&whole), buf_bytes(&cut)));
    }
    buf_close(&whole);
    buf_close(&cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_bulk_strings_are_requests),
        cmocka_unit_test(pipelined_requests_come_one_by_one),
        cmocka_unit_test(empty_requests_have_no_arguments),
        cmocka_unit_test(inline_words_are_unquoted_as_redis_does),
        cmocka_unit_test(unbalanced_quotes_are_refused),
        cmocka_unit_test(wrong_heads_are_refused_in_redis_words),
        cmocka_unit_test(limits_are_judged_from_the_head_alone),
        cmocka_unit_test(lines_are_limited_whether_or_not_they_end),
        cmocka_unit_test(too_many_inline_words_are_refused),
        cmocka_unit_test(an_unfinished_body_says_how_much_is_missing),
        cmocka_unit_test(any_random_cutting_gives_the_same_transcript),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
