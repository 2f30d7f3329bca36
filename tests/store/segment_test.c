/* SPDX-License-Identifier: Apache-2.0 */
/* segment_test.c - golden bytes of every struct the store puts on disk, and what their decoders
 * refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/room.h"

#define SALT UINT64_C(0x4142434445464748)

static void golden(const uint8_t *bytes, size_t len, const char *hex)
{
    char text[1024];
    assert_true(len * 2 < sizeof text);
    for (size_t i = 0; i < len; i++)
        (void)snprintf(text + i * 2, 3, "%02x", bytes[i]);
    assert_string_equal(text, hex);
}

static struct segment_head segment_head_sample(void)
{
    return (struct segment_head){
        .identity = {.cluster = {UINT64_C(0x1112131415161718), UINT64_C(0x2122232425262728)},
                     .node = 3,
                     .incarnation = UINT64_C(0x3132333435363738),
                     .epoch = 4},
        .number = 7,
        .salt = SALT,
        .bytes = 67108864,
        .flags = SEGMENT_WHOLE,
        .first_write = 900,
        .prev_content = UINT64_C(0x5152535455565758),
        .save_number = 1200,
        .start = {{5}, 1000},
        .commit = 990,
        .everyone = 800,
    };
}

static struct write_head write_head_sample(void)
{
    return (struct write_head){
        .number = 901,
        .save_first = 1201,
        .save_last = 1203,
        .bytes = 5000,
        .record_count = 2,
        .flags = WRITE_CONTINUES,
        .records = UINT64_C(0x6162636465666768),
        .content = UINT64_C(0x7172737475767778),
        .prev_number = 900,
        .prev_content = UINT64_C(0x5152535455565758),
        .commit = 995,
        .everyone = 801,
        .prev_first = 998,
        .prev_last = {{5}, 1000},
    };
}

static void the_bytes_of_a_segments_head_are_these(void **state)
{
    (void)state;
    uint8_t block[STORE_BLOCK];
    struct segment_head h = segment_head_sample();
    segment_encode(block, &h, 1);
    golden(block, SEGMENT_HEAD_BYTES,
           "4b4c534701000100181716151413121128272625242322210300000000000000"
           "3837363534333231040000000000000007000000000000004847464544434241"
           "0000000400000000010000000100000084030000000000005857565554535251"
           "b0040000000000000000000000000000e8030000000000000500000000000000"
           "de030000000000002003000000000000fa2b8bb126feab52");
    for (size_t i = SEGMENT_HEAD_BYTES; i < STORE_BLOCK; i++)
        assert_int_equal(block[i], 0);
}

static void the_bytes_of_a_writes_head_are_these(void **state)
{
    (void)state;
    uint8_t bytes[WRITE_HEAD_BYTES];
    struct write_head h = write_head_sample();
    write_head_encode(bytes, &h, write_seed(7, SALT, 8192));
    golden(bytes, sizeof bytes,
           "4b4c5752880001008503000000000000b104000000000000b304000000000000"
           "8813000000000000020000000100000078777675747372718403000000000000"
           "58575655545352510000000000000000e3030000000000002103000000000000"
           "e603000000000000e80300000000000005000000000000006867666564636261"
           "257c586eb8f7421a");
}

static void the_bytes_of_records_are_these(void **state)
{
    (void)state;
    uint8_t bytes[RECORD_BYTES];
    struct record append = {.type = RECORD_APPEND, .first = 1001, .last.index = 1003, .bytes = 432};
    record_encode(bytes, &append);
    golden(bytes, sizeof bytes,
           "0100000000000000e903000000000000eb030000000000000000000000000000b001000000000000");
    struct record truncate = {.type = RECORD_TRUNCATE, .last = {{4}, 999}};
    record_encode(bytes, &truncate);
    golden(bytes, sizeof bytes,
           "02000000000000000000000000000000e70300000000000004000000000000000000000000000000");
    struct record reset = {.type = RECORD_RESET, .last = {{4}, 999}};
    record_encode(bytes, &reset);
    golden(bytes, sizeof bytes,
           "03000000000000000000000000000000e70300000000000004000000000000000000000000000000");
}

static void the_bytes_of_vote_and_identity_are_these(void **state)
{
    (void)state;
    uint8_t block[STORE_BLOCK], vote_bytes[VOTE_BYTES], identity_bytes[IDENTITY_BYTES];
    struct store_identity identity = segment_head_sample().identity;
    struct vote vote = {
        .node = 3, .incarnation = identity.incarnation, .start_count = 9, .term = {5}, .vote = 2};
    twin_encode(block, VOTE_MAGIC, 1, 77, vote_encode(&vote, vote_bytes));
    golden(block, 24 + VOTE_BYTES + 8,
           "4b4c5654010001004d0000000000000038000000000000000300000000000000"
           "3837363534333231090000000000000001000000000000000000000000000000"
           "05000000000000000200000000000000894110977b3c8be7");
    twin_encode(block, IDENTITY_MAGIC, 0, 78, identity_encode(&identity, identity_bytes));
    golden(block, 24 + 40 + 8,
           "4b4c4944010000004e0000000000000028000000000000001817161514131211"
           "2827262524232221030000000000000038373635343332310400000000000000"
           "fed8cbe02ba16c64");
}

/* A directory that was recovered says so behind that, and one that makes no sense is refused. */
static void a_recovery_stands_behind_the_identity(void **state)
{
    (void)state;
    uint8_t bytes[IDENTITY_BYTES];
    struct kelp_fault fault = {.error = KELP_OK};
    struct store_identity identity = segment_head_sample().identity, got;
    identity.recovery = (struct store_recovery){.parent = 4,
                                                .kept = kelp_pos_of(17, 3),
                                                .term = {5},
                                                .digest = UINT64_C(0x5152535455565758),
                                                .unfinished = true};
    struct kelp_bytes encoded = identity_encode(&identity, bytes);
    golden(encoded.data, encoded.len,
           "1817161514131211282726252423222103000000000000003837363534333231"
           "0400000000000000040000000000000011000000000000000300000000000000"
           "050000000000000058575655545352510100000000000000");
    assert_int_equal(identity_decode(encoded, &got, &fault), KELP_OK);
    assert_memory_equal(&got, &identity, sizeof got);
    bytes[80] = 2; /* a flag that nobody knows */
    assert_int_equal(identity_decode(encoded, &got, &fault), KELP_E_CORRUPT);
    bytes[80] = 0;
    bytes[64] = 3; /* the entry is not of a later term */
    assert_int_equal(identity_decode(encoded, &got, &fault), KELP_E_CORRUPT);
    encoded.len -= 8;
    assert_int_equal(identity_decode(encoded, &got, &fault), KELP_E_CORRUPT);
}

static void the_checksums_chain_as_they_did(void **state)
{
    (void)state;
    uint64_t start = content_start(BYTES_LITERAL("abc"), 5);
    assert_int_equal(start, UINT64_C(0x5599169c9856140b));
    assert_int_equal(content_add(start, 77), UINT64_C(0x1994ff11a3dcb9a9));
    assert_int_equal(write_seed(7, 8, 4096), UINT64_C(0x66ec3d7224f2d1b2));
}

static void heads_come_back_as_they_were(void **state)
{
    (void)state;
    uint8_t block[STORE_BLOCK], again[STORE_BLOCK];
    struct segment_head h = segment_head_sample(), got;
    segment_encode(block, &h, 0);
    assert_int_equal(segment_decode(bytes_of(block, sizeof block), 0, &got), KELP_OK);
    segment_encode(again, &got, 0);
    assert_memory_equal(block, again, sizeof block);
    uint8_t bytes[WRITE_HEAD_BYTES], bytes_again[WRITE_HEAD_BYTES];
    struct write_head w = write_head_sample(), found;
    write_head_encode(bytes, &w, 1);
    assert_true(write_head_decode(bytes_of(bytes, sizeof bytes), 1, &found));
    write_head_encode(bytes_again, &found, 1);
    assert_memory_equal(bytes, bytes_again, sizeof bytes);
    assert_false(write_head_decode(bytes_of(bytes, sizeof bytes), 2, &found)); /* another place */
}

static void no_flipped_bit_passes(void **state)
{
    (void)state;
    uint8_t block[STORE_BLOCK];
    struct segment_head h = segment_head_sample(), got;
    segment_encode(block, &h, 0);
    for (size_t i = 0; i < SEGMENT_HEAD_BYTES * 8; i++) {
        block[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_int_not_equal(segment_decode(bytes_of(block, sizeof block), 0, &got), KELP_OK);
        block[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    uint8_t bytes[WRITE_HEAD_BYTES];
    struct write_head w = write_head_sample(), found;
    write_head_encode(bytes, &w, 9);
    for (size_t i = 0; i < WRITE_HEAD_BYTES * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_false(write_head_decode(bytes_of(bytes, sizeof bytes), 9, &found));
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    assert_true(write_head_decode(bytes_of(bytes, sizeof bytes), 9, &found));
}

static void a_head_that_is_cut_off_is_no_head(void **state)
{
    (void)state;
    uint8_t block[STORE_BLOCK];
    struct segment_head h = segment_head_sample(), got;
    segment_encode(block, &h, 0);
    for (size_t len = 0; len < SEGMENT_HEAD_BYTES; len++) {
        assert_int_not_equal(segment_decode(bytes_of(block, len), 0, &got), KELP_OK);
    }
    uint8_t bytes[WRITE_HEAD_BYTES];
    struct write_head w = write_head_sample(), found;
    write_head_encode(bytes, &w, 9);
    for (size_t len = 0; len < WRITE_HEAD_BYTES; len++) {
        assert_false(write_head_decode(bytes_of(bytes, len), 9, &found));
    }
}

/* A good checksum over fields that make no sense is refused too. */
static void records_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct record bad[] = {
        {.type = 0, .last = {{1}, 1}},
        {.type = 4, .last = {{1}, 1}},
        {.type = RECORD_APPEND, .first = 0, .last.index = 1, .bytes = 8},
        {.type = RECORD_APPEND, .first = 5, .last.index = 4, .bytes = 8},
        {.type = RECORD_APPEND, .first = 5, .last.index = 5, .bytes = 0},
        {.type = RECORD_APPEND, .first = 5, .last.index = UINT64_MAX, .bytes = 8},
        {.type = RECORD_TRUNCATE, .last = {{1}, 1}, .bytes = 8},
        {.type = RECORD_RESET, .last = {{UINT64_MAX}, 1}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[RECORD_BYTES];
        struct record got;
        record_encode(bytes, &bad[i]);
        assert_false(record_decode(bytes, &got));
    }
}

static void names_are_parsed_as_they_are_made(void **state)
{
    (void)state;
    char name[FILE_NAME_MAX];
    uint64_t number;
    unsigned spare;
    segment_name(name, 42);
    assert_string_equal(name, "log/00000000000000000042.seg");
    assert_true(segment_parse(name + 4, &number));
    assert_int_equal(number, 42);
    assert_false(segment_parse("00000000000000000000.seg", &number));
    assert_false(segment_parse("99999999999999999999.seg", &number));
    assert_false(segment_parse("0000000000000000004x.seg", &number));
    assert_false(segment_parse("42.seg", &number));
    spare_name(name, 3);
    assert_true(spare_parse(name + 4, &spare));
    assert_int_equal(spare, 3);
    assert_false(spare_parse("spare-.seg", &spare));
    assert_false(spare_parse("spare-03.seg", &spare));
    struct kelp_pos pos;
    assert_true(snapfile_parse("00000000000000000080-00000000000000000003.snap", &pos));
    assert_int_equal(pos.index, 80);
    assert_int_equal(pos.term.v, 3);
    assert_false(snapfile_parse("00000000000000000080-0000000000000000003x.snap", &pos));
    assert_false(snapfile_parse("new.tmp", &pos));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_of_a_segments_head_are_these),
        cmocka_unit_test(the_bytes_of_a_writes_head_are_these),
        cmocka_unit_test(the_bytes_of_records_are_these),
        cmocka_unit_test(the_bytes_of_vote_and_identity_are_these),
        cmocka_unit_test(a_recovery_stands_behind_the_identity),
        cmocka_unit_test(the_checksums_chain_as_they_did),
        cmocka_unit_test(heads_come_back_as_they_were),
        cmocka_unit_test(no_flipped_bit_passes),
        cmocka_unit_test(a_head_that_is_cut_off_is_no_head),
        cmocka_unit_test(records_that_make_no_sense_are_refused),
        cmocka_unit_test(names_are_parsed_as_they_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
