/* SPDX-License-Identifier: Apache-2.0 */
/* frame_test.c - frames are cut from a stream whole, and nothing is believed before its hash. */
#include "golden.h"

#include "base/hash.h"
#include "wire/frame.h"

static uint8_t frame[WIRE_FRAME_HEAD + 4096];

static size_t build(enum wire_kind kind, uint32_t group, struct kelp_bytes body)
{
    wire_frame_head(frame, kind, group, &body, 1);
    if (body.len > 0) memcpy(frame + WIRE_FRAME_HEAD, body.data, body.len);
    return WIRE_FRAME_HEAD + body.len;
}

static size_t build_sample(void)
{
    return build(WIRE_MESSAGE, 7, BYTES_LITERAL("twelve bytes"));
}

static enum kelp_error decode(size_t len, size_t body_max, size_t *used)
{
    struct wire_frame out;
    return wire_frame_decode(bytes_of(frame, len), body_max, &out, used, NULL);
}

/* The sample with one byte of its head changed under a good hash. */
static enum kelp_error decode_changed(size_t at, uint8_t value)
{
    size_t len = build_sample(), used;
    frame[at] = value;
    put_u64(frame + 32, hash_bytes(bytes_of(frame, 32), 0));
    return decode(len, WIRE_FRAME_BODY_MAX, &used);
}

static void a_frame_has_its_golden_bytes(void **state)
{
    (void)state;
    golden_check(frame, build_sample(),
                 "4b454c5057495245 0100 03 00 07000000 0c00000000000000 4213917081e7a223 "
                 "6bc9395534b302c7 7477656c7665206279746573");
}

static void an_empty_frame_has_its_golden_bytes(void **state)
{
    (void)state;
    golden_check(frame, build(WIRE_ADDRESSES, 0, bytes_of(NULL, 0)),
                 "4b454c5057495245 0100 07 00 00000000 0000000000000000 c294d3380580062d "
                 "b9cca83f64387f01");
}

static void parts_make_the_same_frame_as_one_piece(void **state)
{
    (void)state;
    struct prng p = {.state = 5};
    uint8_t body[3000], head[WIRE_FRAME_HEAD];
    for (int i = 0; i < 500; i++) {
        size_t len = prng_below(&p, sizeof body);
        random_fill(&p, body, len);
        size_t a = prng_below(&p, len + 1), b = a + prng_below(&p, len - a + 1);
        const struct kelp_bytes parts[] = {bytes_of(body, a), bytes_of(NULL, 0),
                                           bytes_of(body + a, b - a), bytes_of(body + b, len - b)};
        build(WIRE_FORWARD, 3, bytes_of(body, len));
        wire_frame_head(head, WIRE_FORWARD, 3, parts, 4);
        assert_memory_equal(head, frame, WIRE_FRAME_HEAD);
    }
}

static void frames_are_cut_from_a_stream(void **state)
{
    (void)state;
    struct prng p = {.state = 6};
    for (int i = 0; i < 1000; i++) {
        uint8_t body[1000];
        size_t len = prng_below(&p, sizeof body), used;
        random_fill(&p, body, len);
        enum wire_kind kind = (enum wire_kind)prng_between(&p, WIRE_HELLO, WIRE_ADDRESSES);
        uint32_t group = (uint32_t)prng_next(&p);
        size_t size = build(kind, group, bytes_of(body, len));
        struct wire_frame out;
        assert_int_equal(
            wire_frame_decode(bytes_of(frame, size + prng_below(&p, 50)), len, &out, &used, NULL),
            KELP_OK);
        assert_int_equal(used, size);
        assert_int_equal(out.kind, kind);
        assert_int_equal(out.group, group);
        assert_true(bytes_equal(out.body, bytes_of(body, len)));
    }
}

static void every_cut_asks_for_more_and_says_how_much(void **state)
{
    (void)state;
    size_t len = build_sample(), used;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = test_malloc(cut + 1);
        memcpy(exact, frame, cut);
        struct wire_frame out;
        struct kelp_fault fault = {.error = KELP_OK};
        assert_int_equal(wire_frame_decode(bytes_of(exact, cut), 100, &out, &used, &fault),
                         KELP_E_MORE);
        assert_int_equal(used, cut < WIRE_FRAME_HEAD ? 0 : len);
        assert_int_equal(fault.error, KELP_OK);
        test_free(exact);
    }
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    size_t len = build_sample(), used;
    for (size_t bit = 0; bit < len * 8; bit++) {
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(decode(len, WIRE_FRAME_BODY_MAX, &used),
                         bit < 64 ? KELP_E_MALFORMED : KELP_E_CORRUPT);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_stranger_is_seen_at_his_first_byte(void **state)
{
    (void)state;
    struct wire_frame out;
    size_t used;
    const char *const strangers[] = {"GET / HTTP/1.1\r\n", "*1\r\n", "\x16\x03\x01", "KELPwire"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        struct kelp_bytes in = bytes_of(strangers[i], strlen(strangers[i]));
        assert_int_equal(wire_frame_decode(in, 100, &out, &used, NULL), KELP_E_MALFORMED);
    }
    assert_int_equal(wire_frame_decode(BYTES_LITERAL("G"), 100, &out, &used, NULL),
                     KELP_E_MALFORMED);
}

static void a_newer_version_kind_or_flag_is_refused_as_such(void **state)
{
    (void)state;
    assert_int_equal(decode_changed(8, 1), KELP_OK);
    assert_int_equal(decode_changed(8, 2), KELP_E_VERSION);
    assert_int_equal(decode_changed(9, 1), KELP_E_VERSION);
    assert_int_equal(decode_changed(10, 0), KELP_E_VERSION);
    assert_int_equal(decode_changed(10, 8), KELP_E_VERSION);
    assert_int_equal(decode_changed(11, 1), KELP_E_VERSION);
}

static void a_body_above_the_limit_is_refused_before_it_arrives(void **state)
{
    (void)state;
    size_t used;
    build_sample();
    assert_int_equal(decode(WIRE_FRAME_HEAD, 12, &used), KELP_E_MORE);
    assert_int_equal(decode(WIRE_FRAME_HEAD, 11, &used), KELP_E_LIMIT);
    assert_int_equal(used, 0);
    assert_int_equal(decode_changed(23, 0xff), KELP_E_LIMIT); /* a length near 2^64 */
}

static void only_messages_and_forwards_may_be_large(void **state)
{
    (void)state;
    const struct {
        uint8_t kind;
        uint64_t max;
    } kinds[] = {
        {WIRE_HELLO, 256 * 1024},
        {WIRE_REFUSE, 256 * 1024},
        {WIRE_MESSAGE, WIRE_FRAME_BODY_MAX},
        {WIRE_FORWARD, WIRE_FRAME_BODY_MAX},
        {WIRE_FORWARD_ANSWER, WIRE_FRAME_BODY_MAX},
        {WIRE_FOUND, 256 * 1024},
        {WIRE_ADDRESSES, 256 * 1024},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (uint64_t more = 0; more < 2; more++) {
            size_t used;
            build_sample();
            frame[10] = kinds[i].kind;
            put_u64(frame + 16, kinds[i].max + more);
            put_u64(frame + 32, hash_bytes(bytes_of(frame, 32), 0));
            assert_int_equal(decode(WIRE_FRAME_HEAD, SIZE_MAX, &used),
                             more == 0 ? KELP_E_MORE : KELP_E_LIMIT);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_has_its_golden_bytes),
        cmocka_unit_test(an_empty_frame_has_its_golden_bytes),
        cmocka_unit_test(parts_make_the_same_frame_as_one_piece),
        cmocka_unit_test(frames_are_cut_from_a_stream),
        cmocka_unit_test(every_cut_asks_for_more_and_says_how_much),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(a_stranger_is_seen_at_his_first_byte),
        cmocka_unit_test(a_newer_version_kind_or_flag_is_refused_as_such),
        cmocka_unit_test(a_body_above_the_limit_is_refused_before_it_arrives),
        cmocka_unit_test(only_messages_and_forwards_may_be_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
