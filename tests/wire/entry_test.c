/* SPDX-License-Identifier: Apache-2.0 */
/* entry_test.c - an entry survives its bytes; damage, cuts and newer versions are told apart. */
#include "golden.h"

#include "base/hash.h"
#include "wire/entry.h"

static uint8_t encoded[WIRE_ENTRY_MAX];
static uint8_t again[WIRE_ENTRY_MAX];
static uint8_t large[WIRE_ENTRY_PAYLOAD_MAX + WIRE_EXTENSION_MAX];

static struct wire_entry sample(void)
{
    return (struct wire_entry){
        .pos = kelp_pos_of(7, 3),
        .type = KELP_ENTRY_COMMAND,
        .flags = WIRE_ENTRY_IN_SESSION | WIRE_ENTRY_EXTENDED,
        .time_ns = 0x1122334455,
        .session = 5,
        .sequence = 6,
        .acknowledged = 4,
        .extension = BYTES_LITERAL("ext"),
        .payload = BYTES_LITERAL("SET k v"),
    };
}

static void random_entry(struct prng *p, struct wire_entry *e, size_t payload_max)
{
    *e = (struct wire_entry){
        .pos = kelp_pos_of(random_number(p), random_number(p)),
        .type = (uint8_t)prng_between(p, KELP_ENTRY_COMMAND, KELP_ENTRY_POSITION),
        .flags = (uint32_t)prng_below(p, 4),
        .time_ns = random_u64(p) >> 1,
    };
    if ((e->flags & WIRE_ENTRY_IN_SESSION) != 0) {
        e->session = random_u64(p);
        e->sequence = random_u64(p);
        e->acknowledged = random_u64(p);
    }
    size_t payload = prng_below(p, payload_max + 1);
    size_t extension = (e->flags & WIRE_ENTRY_EXTENDED) != 0 ? prng_below(p, 100) : 0;
    random_fill(p, large, payload + extension);
    e->payload = bytes_of(large, payload);
    e->extension = bytes_of(large + payload, extension);
}

static void assert_entry_equal(const struct wire_entry *a, const struct wire_entry *b)
{
    assert_true(kelp_pos_equal(a->pos, b->pos));
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->time_ns, b->time_ns);
    assert_int_equal(a->session, b->session);
    assert_int_equal(a->sequence, b->sequence);
    assert_int_equal(a->acknowledged, b->acknowledged);
    assert_true(bytes_equal(a->extension, b->extension));
    assert_true(bytes_equal(a->payload, b->payload));
}

static enum kelp_error decode(const uint8_t *bytes, size_t len)
{
    struct wire_entry out;
    size_t used;
    return wire_entry_decode(bytes_of(bytes, len), &out, &used, NULL);
}

/* Put the right checksum behind bytes that were changed by hand. */
static void reseal(uint8_t *bytes, size_t len)
{
    put_u64(bytes + len - 8, hash_bytes(bytes_of(bytes, len - 8), 0));
}

static size_t encode_sample(void)
{
    struct wire_entry e = sample();
    wire_entry_encode(&e, encoded);
    return wire_entry_size(&e);
}

static void a_full_entry_has_its_golden_bytes(void **state)
{
    (void)state;
    size_t len = encode_sample();
    golden_check(encoded, len,
                 "46000000 0100 0300 0700000000000000 0300000000000000 5544332211000000 "
                 "0500000000000000 0600000000000000 0400000000000000 03000000 657874 "
                 "534554206b2076 0000 d8889dc1fef90e27");
}

static void an_empty_entry_has_its_golden_bytes(void **state)
{
    (void)state;
    struct wire_entry e = {.pos = kelp_pos_of(1, 1), .type = KELP_ENTRY_NOOP};
    wire_entry_encode(&e, encoded);
    assert_int_equal(wire_entry_size(&e), 40);
    golden_check(encoded, 40,
                 "20000000 0200 0000 0100000000000000 0100000000000000 0000000000000000 "
                 "cd1d64f5cc751b9c");
}

/* A clock that took it over could hardly go on. */
static void a_stamp_beyond_any_clock_is_malformed(void **state)
{
    (void)state;
    size_t len = encode_sample();
    put_u64(encoded + 24, UINT64_C(1) << 63);
    reseal(encoded, len);
    assert_int_equal(decode(encoded, len), KELP_OK);
    put_u64(encoded + 24, (UINT64_C(1) << 63) + 1);
    reseal(encoded, len);
    assert_int_equal(decode(encoded, len), KELP_E_MALFORMED);
}

static void random_entries_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 1};
    for (int i = 0; i < 3000; i++) {
        struct wire_entry e, out;
        struct kelp_fault fault = {.error = KELP_OK};
        random_entry(&p, &e, 300);
        size_t size = wire_entry_size(&e), used;
        assert_int_equal(size % 8, 0);
        memset(encoded, 0xee, size + 16);
        wire_entry_encode(&e, encoded);
        for (size_t k = 0; k < 16; k++)
            assert_int_equal(encoded[size + k], 0xee);
        assert_int_equal(
            wire_entry_decode(bytes_of(encoded, size + prng_below(&p, 17)), &out, &used, &fault),
            KELP_OK);
        assert_int_equal(used, size);
        assert_entry_equal(&e, &out);
        wire_entry_encode(&out, again);
        assert_memory_equal(encoded, again, size);
    }
}

static void the_largest_entry_survives_its_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 2};
    struct wire_entry e = sample(), out;
    random_fill(&p, large, sizeof large);
    e.payload = bytes_of(large, WIRE_ENTRY_PAYLOAD_MAX);
    e.extension = bytes_of(large + WIRE_ENTRY_PAYLOAD_MAX, WIRE_EXTENSION_MAX);
    size_t size = wire_entry_size(&e), used;
    assert_true(size <= WIRE_ENTRY_MAX);
    wire_entry_encode(&e, encoded);
    assert_int_equal(wire_entry_decode(bytes_of(encoded, size), &out, &used, NULL), KELP_OK);
    assert_entry_equal(&e, &out);
}

static void a_payload_built_in_place_stays_where_it_is(void **state)
{
    (void)state;
    struct wire_entry e = sample();
    size_t len = encode_sample();
    memset(again, 0xee, len);
    uint8_t *payload = wire_entry_payload(&e, again);
    memcpy(payload, e.payload.data, e.payload.len);
    e.payload.data = payload;
    wire_entry_encode(&e, again);
    assert_memory_equal(encoded, again, len);
    struct wire_entry out;
    size_t used;
    assert_int_equal(wire_entry_decode(bytes_of(again, len), &out, &used, NULL), KELP_OK);
    assert_ptr_equal(out.payload.data, payload);
}

static void every_cut_asks_for_more(void **state)
{
    (void)state;
    size_t len = encode_sample();
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = test_malloc(cut + 1); /* a read past the cut is seen by the sanitizer */
        memcpy(exact, encoded, cut);
        struct kelp_fault fault = {.error = KELP_OK};
        struct wire_entry out;
        size_t used;
        assert_int_equal(wire_entry_decode(bytes_of(exact, cut), &out, &used, &fault), KELP_E_MORE);
        assert_int_equal(used, cut < 8 ? 0 : len);
        assert_int_equal(fault.error, KELP_OK);
        test_free(exact);
    }
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    size_t len = encode_sample();
    for (size_t bit = 0; bit < len * 8; bit++) {
        encoded[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum kelp_error error = decode(encoded, len);
        /* The length is read before the checksum is found, everything else after it. */
        if (bit < 32)
            assert_true(error == KELP_E_MORE || error == KELP_E_CORRUPT ||
                        error == KELP_E_MALFORMED);
        else
            assert_int_equal(error, KELP_E_CORRUPT);
        encoded[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(decode(encoded, len), KELP_OK);
}

static void an_unknown_type_with_a_good_checksum_is_a_newer_version(void **state)
{
    (void)state;
    size_t len = encode_sample();
    const unsigned types[] = {0, KELP_ENTRY_POSITION + 1, 255, 257, 65535};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        put_u16(encoded + 4, (uint16_t)types[i]);
        assert_int_equal(decode(encoded, len), KELP_E_CORRUPT);
        reseal(encoded, len);
        assert_int_equal(decode(encoded, len), KELP_E_VERSION);
    }
}

static void every_unknown_flag_with_a_good_checksum_is_a_newer_version(void **state)
{
    (void)state;
    for (unsigned bit = 2; bit < 16; bit++) {
        size_t len = encode_sample();
        put_u16(encoded + 6, (uint16_t)(3u | 1u << bit));
        assert_int_equal(decode(encoded, len), KELP_E_CORRUPT);
        reseal(encoded, len);
        assert_int_equal(decode(encoded, len), KELP_E_VERSION);
    }
}

static void lengths_that_make_no_sense_are_malformed(void **state)
{
    (void)state;
    const uint32_t lengths[] = {0, 31, WIRE_ENTRY_MAX - 7, UINT32_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t len = encode_sample();
        put_u32(encoded, lengths[i]);
        assert_int_equal(decode(encoded, len), KELP_E_MALFORMED);
    }
}

static void a_field_out_of_range_under_a_good_checksum_is_malformed(void **state)
{
    (void)state;
    const struct {
        size_t at;
        uint64_t value;
    } bad[] = {
        {8, 0},                       /* index */
        {8, (UINT64_C(1) << 62) + 1}, /* so that index + 1 never wraps */
        {16, 0},                      /* term */
        {16, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = encode_sample();
        put_u64(encoded + bad[i].at, bad[i].value);
        reseal(encoded, len);
        assert_int_equal(decode(encoded, len), KELP_E_MALFORMED);
    }
}

static void an_extension_beyond_the_entry_is_malformed(void **state)
{
    (void)state;
    const uint32_t lengths[] = {11, WIRE_EXTENSION_MAX, WIRE_EXTENSION_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t len =
            encode_sample(); /* 3 bytes of extension and 7 of payload: 11 is one too many */
        put_u32(encoded + 56, lengths[i]);
        reseal(encoded, len);
        assert_int_equal(decode(encoded, len), KELP_E_MALFORMED);
    }
}

static void a_payload_above_its_limit_is_malformed(void **state)
{
    (void)state;
    struct wire_entry e = {.pos = kelp_pos_of(1, 1), .type = KELP_ENTRY_COMMAND};
    wire_entry_encode(&e, encoded);
    for (size_t more = 0; more < 2; more++) {
        size_t content = 32 + WIRE_ENTRY_PAYLOAD_MAX + more;
        memset(encoded + 32, 0, sizeof encoded - 32);
        put_u32(encoded, (uint32_t)content);
        size_t len = (content + 7) / 8 * 8 + 8;
        reseal(encoded, len);
        assert_int_equal(decode(encoded, len), more == 0 ? KELP_OK : KELP_E_MALFORMED);
    }
}

static void padding_that_is_not_zero_is_malformed(void **state)
{
    (void)state;
    size_t len = encode_sample();
    encoded[len - 9] = 1;
    reseal(encoded, len);
    assert_int_equal(decode(encoded, len), KELP_E_MALFORMED);
}

static void peek_sees_what_decode_sees_without_the_checksum(void **state)
{
    (void)state;
    size_t len = encode_sample(), bytes;
    struct kelp_pos pos;
    uint8_t type;
    encoded[len - 1] ^= 1;
    assert_int_equal(wire_entry_peek(bytes_of(encoded, len), &pos, &type, &bytes), KELP_OK);
    assert_true(kelp_pos_equal(pos, kelp_pos_of(7, 3)));
    assert_int_equal(type, KELP_ENTRY_COMMAND);
    assert_int_equal(bytes, len);
    assert_int_equal(wire_entry_peek(bytes_of(encoded, len - 1), &pos, &type, &bytes), KELP_E_MORE);
    put_u16(encoded + 4, 99);
    assert_int_equal(wire_entry_peek(bytes_of(encoded, len), &pos, &type, &bytes), KELP_E_VERSION);
    put_u32(encoded, 3);
    assert_int_equal(wire_entry_peek(bytes_of(encoded, len), &pos, &type, &bytes),
                     KELP_E_MALFORMED);
}

/* What open sees of every flipped bit is what decode sees once the checksum is put right. */
static void open_makes_every_check_but_the_checksum(void **state)
{
    (void)state;
    struct wire_entry plain = {
        .pos = kelp_pos_of(7, 3), .type = KELP_ENTRY_NOOP, .payload = BYTES_LITERAL("x")};
    for (int flagged = 0; flagged < 2; flagged++) {
        struct wire_entry e = flagged ? sample() : plain, opened, decoded;
        size_t len = wire_entry_size(&e), used, bytes, refused = 0;
        wire_entry_encode(&e, encoded);
        for (size_t bit = 0; bit < (len - 8) * 8; bit++) {
            struct kelp_bytes in = bytes_of(encoded, len);
            encoded[bit / 8] ^= (uint8_t)(1u << bit % 8);
            enum kelp_error seen = wire_entry_open(in, &opened, &bytes, NULL);
            if (seen != KELP_E_MORE && bytes >= 8 && bytes <= len) reseal(encoded, bytes);
            assert_int_equal(seen, wire_entry_decode(in, &decoded, &used, NULL));
            assert_int_equal(bytes, used);
            if (seen == KELP_OK) assert_entry_equal(&opened, &decoded);
            refused += seen != KELP_OK;
            wire_entry_encode(&e, encoded);
        }
        assert_true(refused > 70); /* length, type, flags, the upper bits of index and term */
    }
}

static void the_checksum_is_the_last_field(void **state)
{
    (void)state;
    size_t len = encode_sample();
    assert_int_equal(wire_entry_checksum(bytes_of(encoded, len)),
                     hash_bytes(bytes_of(encoded, len - 8), 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_entry_has_its_golden_bytes),
        cmocka_unit_test(an_empty_entry_has_its_golden_bytes),
        cmocka_unit_test(random_entries_survive_their_bytes),
        cmocka_unit_test(a_stamp_beyond_any_clock_is_malformed),
        cmocka_unit_test(the_largest_entry_survives_its_bytes),
        cmocka_unit_test(a_payload_built_in_place_stays_where_it_is),
        cmocka_unit_test(every_cut_asks_for_more),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(an_unknown_type_with_a_good_checksum_is_a_newer_version),
        cmocka_unit_test(every_unknown_flag_with_a_good_checksum_is_a_newer_version),
        cmocka_unit_test(lengths_that_make_no_sense_are_malformed),
        cmocka_unit_test(a_field_out_of_range_under_a_good_checksum_is_malformed),
        cmocka_unit_test(an_extension_beyond_the_entry_is_malformed),
        cmocka_unit_test(a_payload_above_its_limit_is_malformed),
        cmocka_unit_test(padding_that_is_not_zero_is_malformed),
        cmocka_unit_test(peek_sees_what_decode_sees_without_the_checksum),
        cmocka_unit_test(open_makes_every_check_but_the_checksum),
        cmocka_unit_test(the_checksum_is_the_last_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
