/* SPDX-License-Identifier: Apache-2.0 */
/* frame_test.c - frames are cut from a stream whole, and nothing is believed before its hash. */
#include "golden.h"

#include "base/hash.h"
#include "wire/entry.h"
#include "wire/fetch.h"
#include "wire/frame.h"
#include "wire/message.h"

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

static size_t add_entry(size_t at, const struct wire_entry *e)
{
    wire_entry_encode(e, frame + at);
    return at + wire_entry_size(e);
}

/* An append of a command in a session, a configuration and a no-op, 7@4 to 9@4. */
static size_t build_append(void)
{
    struct kelp_message m;
    memset(&m, 0, sizeof m);
    m.type = KELP_MSG_APPEND;
    m.from = 1;
    m.to = 3;
    m.term = kelp_term_of(4);
    m.id = 17;
    m.append.prev = kelp_pos_of(6, 4);
    m.append.last = 9;
    size_t fixed = wire_message_encode(&m, frame + WIRE_FRAME_HEAD);
    struct wire_config config;
    uint8_t payload[WIRE_CONFIG_BYTES_MAX];
    sample_config(&config);
    const struct wire_entry entries[] = {
        {.pos = kelp_pos_of(7, 4),
         .type = KELP_ENTRY_COMMAND,
         .flags = WIRE_ENTRY_IN_SESSION | WIRE_ENTRY_EXTENDED,
         .session = 5,
         .extension = BYTES_LITERAL("beside"),
         .payload = BYTES_LITERAL("three")},
        {.pos = kelp_pos_of(8, 4),
         .type = KELP_ENTRY_CONFIG,
         .payload = bytes_of(payload, wire_config_encode(&config, payload))},
        {.pos = kelp_pos_of(9, 4), .type = KELP_ENTRY_NOOP}};
    size_t begin = WIRE_FRAME_HEAD + fixed, end = begin;
    for (size_t i = 0; i < 3; i++)
        end = add_entry(end, &entries[i]);
    wire_frame_head_entries(frame, 7, bytes_of(frame + WIRE_FRAME_HEAD, fixed), end - begin);
    return end;
}

/* Believed by the frame's hash, then by the message's decoder. */
static enum kelp_error decode_append(size_t len, enum kelp_error *by_frame)
{
    struct wire_frame f;
    struct kelp_message m;
    struct kelp_entry_info infos[4];
    struct kelp_bytes entries;
    static struct wire_config configs[2];
    size_t used;
    *by_frame = wire_frame_decode(bytes_of(frame, len), WIRE_FRAME_BODY_MAX, &f, &used, NULL);
    if (*by_frame != KELP_OK) return *by_frame;
    return wire_message_decode(f.body, f.hashed, &m, infos, 4, &entries, configs, NULL);
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
                 "4b454c5057495245 0100 03 00 07000000 0c000000 0c000000 4213917081e7a223 "
                 "aafde7bc283c160e 7477656c7665206279746573");
}

static void an_empty_frame_has_its_golden_bytes(void **state)
{
    (void)state;
    golden_check(frame, build(WIRE_ADDRESSES, 0, bytes_of(NULL, 0)),
                 "4b454c5057495245 0100 07 00 00000000 00000000 00000000 c294d3380580062d "
                 "b9cca83f64387f01");
}

static void a_frame_with_entries_is_hashed_up_to_the_first_of_them(void **state)
{
    (void)state;
    const uint8_t body[] = "twelve bytes, entries behind";
    memcpy(frame + WIRE_FRAME_HEAD, body, sizeof body);
    wire_frame_head_entries(frame, 7, bytes_of(frame + WIRE_FRAME_HEAD, 12), sizeof body - 12);
    golden_check(frame, WIRE_FRAME_HEAD + 12,
                 "4b454c5057495245 0100 03 00 07000000 1d000000 0c000000 4213917081e7a223 "
                 "89921e6df5b14362 7477656c7665206279746573");
    struct wire_frame out;
    size_t used;
    struct kelp_bytes in = bytes_of(frame, WIRE_FRAME_HEAD + sizeof body);
    assert_int_equal(wire_frame_decode(in, 100, &out, &used, NULL), KELP_OK);
    assert_int_equal(used, in.len);
    assert_int_equal(out.hashed, 12);
    assert_true(bytes_equal(out.body, bytes_of(body, sizeof body)));
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
        enum wire_kind kind = (enum wire_kind)prng_between(&p, WIRE_HELLO, WIRE_MARKS);
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
        assert_int_equal(out.hashed, len);
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

static void every_flipped_bit_of_an_append_is_found_by_the_frame_or_by_its_entry(void **state)
{
    (void)state;
    size_t len = build_append(), entries = WIRE_FRAME_HEAD + load_u32(frame + 20);
    enum kelp_error by_frame;
    assert_true(entries < len);
    assert_int_equal(decode_append(len, &by_frame), KELP_OK);
    for (size_t bit = 0; bit < len * 8; bit++) {
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum kelp_error error = decode_append(len, &by_frame);
        assert_int_not_equal(error, KELP_OK);
        assert_int_not_equal(error, KELP_E_MORE);
        assert_int_equal(by_frame != KELP_OK, bit / 8 < entries);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* No kind but the message has parts that carry checksums of their own. */
static void a_hash_that_leaves_bytes_out_is_refused_but_in_a_message(void **state)
{
    (void)state;
    for (unsigned kind = WIRE_HELLO; kind <= WIRE_MARKS; kind++) {
        for (uint32_t hashed = 0; hashed <= 14; hashed++) {
            size_t len = build((enum wire_kind)kind, 7, BYTES_LITERAL("twelve bytes")), used;
            put_u32(frame + 20, hashed);
            put_u64(frame + 24, hash_bytes(bytes_of(frame + WIRE_FRAME_HEAD, hashed), 0));
            put_u64(frame + 32, hash_bytes(bytes_of(frame, 32), 0));
            bool good = hashed == 12 || (hashed < 12 && kind == WIRE_MESSAGE);
            assert_int_equal(decode(len, 100, &used), good ? KELP_OK : KELP_E_MALFORMED);
            /* known by the head alone, before anything is waited for */
            assert_int_equal(decode(WIRE_FRAME_HEAD, 100, &used),
                             good ? KELP_E_MORE : KELP_E_MALFORMED);
        }
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
    assert_int_equal(decode_changed(10, WIRE_MARKS + 1), KELP_E_VERSION);
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
    assert_int_equal(decode_changed(19, 0xff), KELP_E_LIMIT); /* a length near 2^32 */
    assert_int_equal(decode_changed(23, 0xff), KELP_E_MALFORMED);
}

static void only_messages_and_forwards_may_be_large(void **state)
{
    (void)state;
    const struct {
        uint8_t kind;
        uint32_t max;
    } kinds[] = {
        {WIRE_HELLO, 256 * 1024},
        {WIRE_REFUSE, 256 * 1024},
        {WIRE_MESSAGE, WIRE_FRAME_BODY_MAX},
        {WIRE_FORWARD, WIRE_FRAME_BODY_MAX},
        {WIRE_FORWARD_ANSWER, WIRE_FRAME_BODY_MAX},
        {WIRE_FOUND, 256 * 1024},
        {WIRE_ADDRESSES, 256 * 1024},
        {WIRE_FETCH, 256 * 1024},
        {WIRE_PIECE, WIRE_PIECE_MAX},
        {WIRE_MARKS, 256 * 1024},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (uint32_t more = 0; more < 2; more++) {
            size_t used;
            build_sample();
            frame[10] = kinds[i].kind;
            put_u32(frame + 16, kinds[i].max + more);
            put_u32(frame + 20, kinds[i].max + more);
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
        cmocka_unit_test(a_frame_with_entries_is_hashed_up_to_the_first_of_them),
        cmocka_unit_test(parts_make_the_same_frame_as_one_piece),
        cmocka_unit_test(frames_are_cut_from_a_stream),
        cmocka_unit_test(every_cut_asks_for_more_and_says_how_much),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(every_flipped_bit_of_an_append_is_found_by_the_frame_or_by_its_entry),
        cmocka_unit_test(a_hash_that_leaves_bytes_out_is_refused_but_in_a_message),
        cmocka_unit_test(a_stranger_is_seen_at_his_first_byte),
        cmocka_unit_test(a_newer_version_kind_or_flag_is_refused_as_such),
        cmocka_unit_test(a_body_above_the_limit_is_refused_before_it_arrives),
        cmocka_unit_test(only_messages_and_forwards_may_be_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
