/* SPDX-License-Identifier: Apache-2.0 */
/* fetch_test.c - what asks for a snapshot and its pieces survive their bytes; what cannot be a
 * question or a piece is refused. */
#include "golden.h"

#include "base/min.h"
#include "wire/fetch.h"

static uint8_t body[WIRE_PIECE_MAX + 64];
static uint8_t again[WIRE_PIECE_HEAD_MAX];

static struct wire_fetch question(void)
{
    return (struct wire_fetch){
        .pos = kelp_pos_of(9, 4), .offset = 0x1234, .ask = 7, .window = 1024 * 1024};
}

static size_t encode_question(void)
{
    struct wire_fetch f = question();
    return wire_fetch_encode(&f, body);
}

static struct wire_piece piece(enum wire_piece_state state)
{
    struct wire_piece p = {.state = (uint8_t)state,
                           .pos = kelp_pos_of(9, 4),
                           .offset = 0x1234,
                           .ask = 7,
                           .size = 0x5678,
                           .term = {6}};
    if (state == WIRE_PIECE_BYTES) p.bytes = BYTES_LITERAL("bytes of it");
    if (state == WIRE_PIECE_GONE) p.newest = kelp_pos_of(11, 5);
    return p;
}

static size_t encode_piece(enum wire_piece_state state)
{
    struct wire_piece p = piece(state);
    size_t len = wire_piece_encode(&p, body);
    if (p.bytes.len > 0) memcpy(body + len, p.bytes.data, p.bytes.len);
    return len + p.bytes.len;
}

static enum kelp_error asked(size_t len)
{
    struct wire_fetch out;
    return wire_fetch_decode(bytes_of(body, len), &out, NULL);
}

static enum kelp_error given(size_t len)
{
    struct wire_piece out;
    return wire_piece_decode(bytes_of(body, len), &out, NULL);
}

static void both_have_their_golden_bytes(void **state)
{
    (void)state;
    golden_check(body, encode_question(),
                 "2a00 0900000000000000 0400000000000000 3412000000000000 0700000000000000 "
                 "0000100000000000");
    golden_check(body, encode_piece(WIRE_PIECE_BYTES),
                 "4300 01 0900000000000000 0400000000000000 3412000000000000 0700000000000000 "
                 "7856000000000000 0000000000000000 0000000000000000 0600000000000000 "
                 "6279746573206f66206974");
    golden_check(body, encode_piece(WIRE_PIECE_GONE),
                 "4300 02 0900000000000000 0400000000000000 3412000000000000 0700000000000000 "
                 "7856000000000000 0b00000000000000 0500000000000000 0600000000000000");
    golden_check(body, encode_piece(WIRE_PIECE_WAITS),
                 "4300 03 0900000000000000 0400000000000000 3412000000000000 0700000000000000 "
                 "7856000000000000 0000000000000000 0000000000000000 0600000000000000");
}

static void random_questions_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 31};
    for (int i = 0; i < 2000; i++) {
        struct wire_fetch f, out;
        memset(&f, 0, sizeof f);
        f.pos = kelp_pos_of(random_number(&p), random_number(&p));
        f.offset = random_number(&p) - 1;
        f.ask = 1 + random_u64(&p) / 2;
        f.window = 1 + random_u64(&p) / 2;
        size_t len = wire_fetch_encode(&f, body);
        assert_true(len <= WIRE_FETCH_MAX);
        assert_int_equal(wire_fetch_decode(bytes_of(body, len), &out, NULL), KELP_OK);
        assert_memory_equal(&f, &out, sizeof f);
    }
}

static void random_pieces_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 32};
    static uint8_t bytes[WIRE_SNAPCHUNK_BYTES_MAX];
    for (int i = 0; i < 2000; i++) {
        struct wire_piece m, out;
        memset(&m, 0, sizeof m);
        m.state = (uint8_t)prng_between(&p, WIRE_PIECE_BYTES, WIRE_PIECE_WAITS);
        m.pos = kelp_pos_of(random_number(&p), random_number(&p));
        if (prng_chance(&p, 1, 2)) m.newest = kelp_pos_of(random_number(&p), random_number(&p));
        m.ask = 1 + random_u64(&p) / 2;
        m.offset = random_number(&p) / 2;
        m.term.v = max_u64(m.pos.term.v, random_number(&p));
        if (m.state == WIRE_PIECE_BYTES) {
            uint64_t most = prng_chance(&p, 1, 20) ? sizeof bytes : 200;
            m.bytes = bytes_of(bytes, 1 + prng_below(&p, most));
            random_fill(&p, bytes, m.bytes.len);
            m.size = m.offset + m.bytes.len + prng_below(&p, 2) * prng_below(&p, 1000);
        }
        size_t len = wire_piece_encode(&m, body);
        assert_true(len <= WIRE_PIECE_HEAD_MAX);
        if (m.bytes.len > 0) memcpy(body + len, bytes, m.bytes.len);
        assert_int_equal(wire_piece_decode(bytes_of(body, len + m.bytes.len), &out, NULL), KELP_OK);
        assert_true(bytes_equal(out.bytes, m.bytes));
        assert_int_equal(wire_piece_encode(&out, again), len);
        assert_memory_equal(body, again, len);
        out.bytes = m.bytes;
        assert_int_equal(out.state, m.state);
        assert_true(kelp_pos_equal(out.pos, m.pos) && kelp_pos_equal(out.newest, m.newest));
        assert_true(out.offset == m.offset && out.ask == m.ask && out.size == m.size);
        assert_true(out.term.v == m.term.v);
    }
}

static void every_cut_is_malformed(void **state)
{
    (void)state;
    size_t len = encode_question();
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = test_malloc(cut + 1);
        struct wire_fetch out;
        memcpy(exact, body, cut);
        assert_int_equal(wire_fetch_decode(bytes_of(exact, cut), &out, NULL), KELP_E_MALFORMED);
        test_free(exact);
    }
    len = encode_piece(WIRE_PIECE_BYTES) - 10; /* one byte of the snapshot is enough */
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = test_malloc(cut + 1);
        struct wire_piece out;
        memcpy(exact, body, cut);
        assert_int_equal(wire_piece_decode(bytes_of(exact, cut), &out, NULL), KELP_E_MALFORMED);
        test_free(exact);
    }
    assert_int_equal(given(len), KELP_OK);
}

static void fields_of_a_newer_node_are_skipped_within_the_limit(void **state)
{
    (void)state;
    size_t len = encode_question();
    memset(body + len, 0xab, 8);
    put_u16(body, (uint16_t)(len + 8));
    assert_int_equal(asked(len + 8), KELP_OK);
    assert_int_equal(asked(len + 9), KELP_E_MALFORMED); /* a question has nothing behind it */
    len = encode_piece(WIRE_PIECE_WAITS);
    memset(body + len, 0xab, 100);
    put_u16(body, WIRE_PIECE_HEAD_MAX);
    assert_int_equal(given(WIRE_PIECE_HEAD_MAX), KELP_OK);
    put_u16(body, WIRE_PIECE_HEAD_MAX + 1);
    assert_int_equal(given(WIRE_PIECE_HEAD_MAX + 1), KELP_E_MALFORMED);
}

static void a_question_out_of_range_is_malformed(void **state)
{
    (void)state;
    const uint64_t huge = (UINT64_C(1) << 62) + 1;
    const struct {
        size_t at;
        uint64_t value;
    } bad[] = {
        {2, 0},     /* index */
        {2, huge},  /* .. */
        {10, 0},    /* term */
        {10, huge}, /* .. */
        {18, huge}, /* offset */
        {26, 0},    /* no number */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = encode_question();
        assert_int_equal(asked(len), KELP_OK);
        put_u64(body + bad[i].at, bad[i].value);
        assert_int_equal(asked(len), KELP_E_MALFORMED);
    }
}

static void a_piece_out_of_range_is_malformed(void **state)
{
    (void)state;
    const uint64_t huge = (UINT64_C(1) << 62) + 1;
    const struct {
        size_t at;
        uint64_t value;
    } bad[] = {
        {3, 0},            /* index */
        {3, huge},         /* .. */
        {11, 0},           /* term */
        {11, huge},        /* .. */
        {19, 0x5678 - 10}, /* reaches a byte beyond the end */
        {19, 0x5679},      /* begins there */
        {19, UINT64_MAX},  /* .. */
        {27, 0},           /* no question */
        {35, huge},        /* size */
        {35, 0x1234},      /* ends before it */
        {43, 5},           /* the newest one has an index alone */
        {51, 5},           /* .. or a term */
        {59, 0},           /* the sender's term */
        {59, huge},        /* .. */
        {59, 3},           /* .. is before that of the last entry */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = encode_piece(WIRE_PIECE_BYTES);
        assert_int_equal(given(len), KELP_OK);
        put_u64(body + bad[i].at, bad[i].value);
        assert_int_equal(given(len), KELP_E_MALFORMED);
    }
    size_t len = encode_piece(WIRE_PIECE_BYTES);
    put_u64(body + 19, 0x5678 - 11); /* the last one ends where the file does */
    assert_int_equal(given(len), KELP_OK);
}

static void only_bytes_have_bytes(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 256; kind++) {
        size_t len = encode_piece(WIRE_PIECE_BYTES);
        body[2] = (uint8_t)kind;
        bool bytes = kind == WIRE_PIECE_BYTES;
        bool none = kind == WIRE_PIECE_GONE || kind == WIRE_PIECE_WAITS;
        assert_int_equal(given(len), bytes ? KELP_OK : KELP_E_MALFORMED);
        assert_int_equal(given(len - 11), none ? KELP_OK : KELP_E_MALFORMED);
    }
}

static void a_piece_is_at_most_a_chunk(void **state)
{
    (void)state;
    size_t head = encode_piece(WIRE_PIECE_BYTES) - 11;
    put_u64(body + 19, 0);
    put_u64(body + 35, 1u << 30);
    assert_int_equal(given(head + WIRE_SNAPCHUNK_BYTES_MAX), KELP_OK);
    assert_int_equal(given(head + WIRE_SNAPCHUNK_BYTES_MAX + 1), KELP_E_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_have_their_golden_bytes),
        cmocka_unit_test(random_questions_survive_their_bytes),
        cmocka_unit_test(random_pieces_survive_their_bytes),
        cmocka_unit_test(every_cut_is_malformed),
        cmocka_unit_test(fields_of_a_newer_node_are_skipped_within_the_limit),
        cmocka_unit_test(a_question_out_of_range_is_malformed),
        cmocka_unit_test(a_piece_out_of_range_is_malformed),
        cmocka_unit_test(only_bytes_have_bytes),
        cmocka_unit_test(a_piece_is_at_most_a_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
