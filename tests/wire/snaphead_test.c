/* SPDX-License-Identifier: Apache-2.0 */
/* snaphead_test.c - a snapshot's head survives its bytes, and any damage to it is seen. */
#include "golden.h"

#include "base/hash.h"
#include "wire/snaphead.h"

static uint8_t encoded[WIRE_SNAPHEAD_BYTES_MAX];
static uint8_t again[WIRE_SNAPHEAD_BYTES_MAX];
static uint8_t own[KELP_FSM_OWN_BYTES_MAX + 1];

static void sample(struct wire_snaphead *h)
{
    memset(h, 0, sizeof *h);
    h->cluster = (struct kelp_cluster_id){.hi = 0x0102030405060708, .lo = 0x090a0b0c0d0e0f10};
    h->epoch = 2;
    h->pos = kelp_pos_of(9, 4);
    h->time_ns = 0x55;
    h->object_count = 3;
    h->object_bytes = 300;
    h->state_hash = 0xaabb;
    h->chain_hash = 0xccdd;
    sample_config(&h->config);
    h->own = BYTES_LITERAL("own");
}

static size_t encode_sample(void)
{
    struct wire_snaphead h;
    sample(&h);
    size_t len = wire_snaphead_encode(&h, encoded, sizeof encoded);
    assert_true(len > 0);
    return len;
}

static enum kelp_error decode(size_t len)
{
    static struct wire_snaphead out;
    size_t used;
    return wire_snaphead_decode(bytes_of(encoded, len), &out, &used, NULL);
}

static enum kelp_error decode_changed(size_t at, uint64_t value, size_t size)
{
    size_t len = encode_sample();
    for (size_t i = 0; i < size; i++)
        encoded[at + i] = (uint8_t)(value >> (8 * i));
    put_u64(encoded + len - 8, hash_bytes(bytes_of(encoded, len - 8), 0));
    return decode(len);
}

static void a_head_has_its_golden_bytes(void **state)
{
    (void)state;
    size_t len = encode_sample();
    golden_check(encoded, len,
                 "4b454c50534e4150 f8000000 01000000 0807060504030201100f0e0d0c0b0a09 "
                 "0200000000000000 0900000000000000 0400000000000000 5500000000000000 "
                 "0300000000000000 2c01000000000000 bbaa000000000000 ddcc000000000000 "
                 "0100000000000000 7b000000 03000000 0100 00 03 f4010000 0300000000000000 "
                 "0807060504030201100f0e0d0c0b0a09 0068e5cf8b010000 00ca9a3b00000000 "
                 "0100000000000000 1100000000000000 01 00 06 613a37313031 0200000000000000 "
                 "2200000000000000 01 00 06 623a37313032 0300000000000000 3300000000000000 01 "
                 "00 06 633a37313033 6f776e 0000 8f18be6957cbbb63");
}

static void random_heads_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 4};
    for (int i = 0; i < 500; i++) {
        static struct wire_snaphead h, out;
        size_t used;
        memset(&h, 0, sizeof h);
        random_config(&p, &h.config);
        h.cluster = random_cluster(&p);
        h.epoch = random_u64(&p);
        h.pos = kelp_pos_of(random_number(&p), random_number(&p));
        h.config.config.index = prng_below(&p, h.pos.index + 1);
        h.time_ns = random_u64(&p) >> 1;
        h.object_count = prng_below(&p, 2) * random_u64(&p);
        h.object_bytes = h.object_count > 0 ? random_u64(&p) : 0;
        h.state_hash = prng_next(&p);
        h.chain_hash = prng_next(&p);
        h.own = bytes_of(own, prng_below(&p, prng_chance(&p, 1, 8) ? sizeof own : 64));
        h.hollow = prng_chance(&p, 1, 4);
        if (h.hollow) {
            h.object_count = h.object_bytes = 0;
            h.own.len = 0;
        }
        random_fill(&p, own, h.own.len);
        size_t len = wire_snaphead_encode(&h, encoded, sizeof encoded);
        assert_true(len > 0 && len % 8 == 0);
        assert_int_equal(wire_snaphead_decode(bytes_of(encoded, len), &out, &used, NULL), KELP_OK);
        assert_int_equal(used, len);
        assert_memory_equal(&h.config, &out.config, sizeof h.config);
        assert_true(bytes_equal(h.own, out.own));
        assert_true(kelp_pos_equal(h.pos, out.pos));
        assert_int_equal(wire_snaphead_encode(&out, again, sizeof again), len);
        assert_memory_equal(encoded, again, len);
        out.own = h.own;
        assert_memory_equal(&h, &out, sizeof h);
    }
}

static void a_head_without_room_is_not_written(void **state)
{
    (void)state;
    struct wire_snaphead h;
    sample(&h);
    size_t len = encode_sample();
    for (size_t size = 0; size < len; size++) {
        memset(again, 0xee, len);
        assert_int_equal(wire_snaphead_encode(&h, again, size), 0);
        for (size_t i = size; i < len; i++)
            assert_int_equal(again[i], 0xee);
    }
    assert_int_equal(wire_snaphead_encode(&h, again, len), len);
    h.own = bytes_of(own, sizeof own); /* one byte more than a machine may have */
    assert_int_equal(wire_snaphead_encode(&h, again, sizeof again), 0);
}

static void every_cut_asks_for_more(void **state)
{
    (void)state;
    size_t len = encode_sample();
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(decode(cut), KELP_E_MORE);
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    size_t len = encode_sample();
    for (size_t bit = 0; bit < len * 8; bit++) {
        encoded[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum kelp_error error = decode(len);
        if (bit < 64)
            assert_int_equal(error, KELP_E_MALFORMED); /* magic */
        else if (bit < 96)
            assert_int_not_equal(error, KELP_OK); /* length */
        else
            assert_int_equal(error, KELP_E_CORRUPT);
        encoded[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void another_version_with_a_good_checksum_is_not_read(void **state)
{
    (void)state;
    assert_int_equal(decode_changed(12, 2, 4), KELP_E_VERSION);
    assert_int_equal(decode_changed(12, 0, 4), KELP_E_VERSION);
}

static void fields_that_contradict_each_other_are_malformed(void **state)
{
    (void)state;
    assert_int_equal(decode_changed(40, 9, 8), KELP_OK);
    assert_int_equal(decode_changed(40, 0, 8), KELP_E_MALFORMED);          /* index */
    assert_int_equal(decode_changed(48, UINT64_MAX, 8), KELP_E_MALFORMED); /* term */
    assert_int_equal(decode_changed(56, UINT64_MAX, 8), KELP_E_MALFORMED); /* time */
    assert_int_equal(decode_changed(64, 0, 8), KELP_E_MALFORMED);    /* bytes without objects */
    assert_int_equal(decode_changed(96, 10, 8), KELP_E_MALFORMED);   /* configuration above pos */
    assert_int_equal(decode_changed(104, 124, 4), KELP_E_MALFORMED); /* one byte of it is own */
    assert_int_equal(decode_changed(104, UINT32_MAX, 4), KELP_E_MALFORMED);
    assert_int_equal(decode_changed(108, 32769, 4), KELP_E_MALFORMED);
    assert_int_equal(decode_changed(108, 2, 4), KELP_E_MALFORMED); /* padding not zero */
}

/* A witness's: of what a snapshot is only where it ends. */
static void a_hollow_head_says_so(void **state)
{
    (void)state;
    static struct wire_snaphead h, out;
    size_t used;
    sample(&h);
    h.hollow = true;
    h.object_count = h.object_bytes = 0;
    h.own = bytes_of(NULL, 0);
    size_t len = wire_snaphead_encode(&h, encoded, sizeof encoded);
    golden_check(encoded, 16, "4b454c50534e4150 f8000000 0100 0100");
    assert_int_equal(wire_snaphead_decode(bytes_of(encoded, len), &out, &used, NULL), KELP_OK);
    assert_true(out.hollow);
    assert_true(kelp_pos_equal(out.pos, h.pos));
}

static void a_hollow_head_with_a_state_is_malformed(void **state)
{
    (void)state;
    assert_int_equal(decode_changed(14, 1, 2), KELP_E_MALFORMED); /* the sample has objects */
    struct wire_snaphead h;
    sample(&h);
    h.object_count = h.object_bytes = 0;
    size_t len = wire_snaphead_encode(&h, encoded, sizeof encoded);
    encoded[14] = 1;
    put_u64(encoded + len - 8, hash_bytes(bytes_of(encoded, len - 8), 0));
    assert_int_equal(decode(len), KELP_E_MALFORMED); /* own bytes */
}

static void another_flag_is_a_newer_version(void **state)
{
    (void)state;
    for (unsigned bit = 1; bit < 16; bit++)
        assert_int_equal(decode_changed(14, 1u << bit, 2), KELP_E_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_its_golden_bytes),
        cmocka_unit_test(random_heads_survive_their_bytes),
        cmocka_unit_test(a_head_without_room_is_not_written),
        cmocka_unit_test(every_cut_asks_for_more),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(another_version_with_a_good_checksum_is_not_read),
        cmocka_unit_test(fields_that_contradict_each_other_are_malformed),
        cmocka_unit_test(a_hollow_head_says_so),
        cmocka_unit_test(a_hollow_head_with_a_state_is_malformed),
        cmocka_unit_test(another_flag_is_a_newer_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
