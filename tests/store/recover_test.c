/* SPDX-License-Identifier: Apache-2.0 */
/* recover_test.c - damaged logs: what is cut, what is refused, and with which words.
 *
 * The rule under test: a valid head of write w+1 proves write w. Damage in a proved write is
 * refused with file, offset and index; damage in the last, unproved write is cut; nothing else is
 * lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "store/room.h"
#include "tests/store/fakedisk.h"
#include "tests/store/storekit.h"

#define SEG_1       "log/00000000000000000001.seg"
#define SEG_2       "log/00000000000000000002.seg"
#define SEG_3       "log/00000000000000000003.seg"
#define BLOCK(n)    ((size_t)(n)*STORE_BLOCK) /* block 2 is the first of a write */
#define ENTRY_BYTES 144u                      /* of 100 bytes of payload */
#define WRITE_BYTES (WRITE_HEAD_BYTES + RECORD_BYTES + ENTRY_BYTES)

/* Writes 1..count of one entry each, entry number = write number; closed, at rest. */
static struct fakedisk *log_of(uint64_t count, bool marked)
{
    struct fakedisk *d = fakedisk_new(3);
    struct store *s = kit_start(d);
    for (uint64_t i = 1; i <= count; i++)
        kit_append(s, i, i, i, 1);
    if (marked) assert_int_equal(store_mark_idle(s, NULL), KELP_OK);
    store_close(s);
    fakedisk_cut(d, CUT_KEEPS_ALL);
    return d;
}

static uint8_t *segment(struct fakedisk *d, const char *name, size_t *size)
{
    uint8_t *bytes = fakedisk_bytes(d, name, size);
    assert_non_null(bytes);
    return bytes;
}

static void refused(struct fakedisk *d, const char *file, uint64_t offset, kelp_index index)
{
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_string_equal(fault.where, file);
    assert_int_equal(fault.offset, offset);
    assert_int_equal(fault.index, index);
}

static kelp_index opens_with(struct fakedisk *d)
{
    struct store *s = kit_open(d);
    kelp_index last = store_found(s)->last;
    kit_expect(s, last, 1);
    kit_append(s, 1, last + 1, last + 1, 1); /* and life goes on */
    store_close(s);
    s = kit_open(d);
    kit_expect(s, last + 1, 1);
    store_close(s);
    return last;
}

/* ---- every byte of the last two writes ------------------------------------------------------- */

static void spoil_flip(uint8_t *at, size_t i)
{
    *at ^= (uint8_t)(1u << (i % 8));
}

static void spoil_zero(uint8_t *at, size_t i)
{
    (void)i;
    *at = 0;
}

/* Spoil one byte of write 4 or 5 of five; what must happen follows from where it lies. */
static void each_byte(bool marked, void (*spoil)(uint8_t *, size_t))
{
    struct fakedisk *d = log_of(5, marked);
    for (size_t i = BLOCK(5); i < BLOCK(7); i++) {
        size_t in_write = i % STORE_BLOCK;
        if (in_write >= WRITE_BYTES + 8 && in_write % 64 != 0)
            continue; /* padding: a sample will do */
        struct fakedisk *c = fakedisk_copy(d);
        uint8_t *bytes = segment(c, SEG_1, NULL), before = bytes[i];
        spoil(bytes + i, i);
        bool harmless = in_write >= WRITE_BYTES || bytes[i] == before;
        kelp_index write = i < BLOCK(6) ? 4 : 5;
        struct kelp_fault fault;
        if (harmless) {
            assert_int_equal(opens_with(c), 5);
        } else if (write == 4 || marked) {
            assert_int_equal(kit_try(c, &fault), KELP_E_CORRUPT);
            assert_string_equal(fault.where, SEG_1);
            assert_int_equal(fault.index, write);
            assert_in_range(fault.offset, write == 4 ? BLOCK(5) : BLOCK(6), i);
        } else {
            assert_int_equal(opens_with(c), 4);
        }
        fakedisk_free(c);
    }
    fakedisk_free(d);
}

static void a_flipped_bit_in_a_proved_write_is_refused_in_the_last_one_cut(void **state)
{
    (void)state;
    each_byte(false, spoil_flip);
}

static void a_mark_proves_the_last_write(void **state)
{
    (void)state;
    each_byte(true, spoil_flip);
}

static void a_zeroed_byte_is_damage_like_any_other(void **state)
{
    (void)state;
    each_byte(false, spoil_zero);
    each_byte(true, spoil_zero);
}

/* As it was made before a segment had its full size from its first use on: it grows. */
static void made_growing(struct fakedisk *d, const char *name)
{
    struct segment_head head;
    uint8_t *bytes = segment(d, name, NULL);
    for (unsigned copy = 0; copy < 2; copy++) {
        uint8_t *at = bytes + copy * STORE_BLOCK;
        assert_int_equal(segment_decode(bytes_of(at, STORE_BLOCK), copy, &head), KELP_OK);
        head.flags = 0;
        segment_encode(at, &head, copy);
    }
}

static void a_young_first_segment_is_refused_wherever_it_was_cut(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(5, false);
    for (size_t size = 0; size < KIT_SEGMENT; size += size < BLOCK(2) ? 512 : 64) {
        struct fakedisk *c = fakedisk_copy(d);
        struct kelp_fault fault;
        fakedisk_resize(c, SEG_1, size);
        assert_int_equal(kit_try(c, &fault), KELP_E_CORRUPT);
        assert_string_equal(fault.where, SEG_1);
        fakedisk_free(c);
    }
    fakedisk_free(d);
}

/* Its zeroed tail complete, its head says so, one copy after the other. */
static void a_growing_segment_is_refused_when_cut_once_it_was_filled_with_zeros(void **state)
{
    (void)state;
    for (unsigned damaged = 0; damaged < 3; damaged++) {
        struct fakedisk *d = log_of(2, true);
        made_growing(d, SEG_1);
        fakedisk_resize(d, SEG_1, BLOCK(5));
        if (damaged > 0) segment(d, SEG_1, NULL)[(damaged - 1) * STORE_BLOCK] ^= 1;
        struct store *s = kit_open(d);
        kit_idle(s);
        store_close(s);
        fakedisk_cut(d, CUT_LOSES_ALL);
        struct segment_head head;
        for (unsigned copy = 0; copy < 2; copy++) {
            const uint8_t *at = segment(d, SEG_1, NULL) + copy * STORE_BLOCK;
            assert_int_equal(segment_decode(bytes_of(at, STORE_BLOCK), copy, &head), KELP_OK);
            assert_int_equal(head.flags, SEGMENT_WHOLE);
        }
        assert_int_equal(opens_with(d), 2);
        fakedisk_resize(d, SEG_1, KIT_SEGMENT - 1);
        struct kelp_fault fault;
        assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
        fakedisk_free(d);
    }
}

/* A file that is still growing may be cut anywhere; what lies whole before the cut is there.
 * [T57] */
static void every_length_of_the_last_two_writes_opens_or_is_refused(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(5, false);
    made_growing(d, SEG_1);
    for (size_t size = BLOCK(5); size <= BLOCK(7); size++) {
        size_t in_write = size % STORE_BLOCK;
        if (in_write > WRITE_BYTES + 8 && in_write % 64 != 0) continue;
        struct fakedisk *c = fakedisk_copy(d);
        fakedisk_resize(c, SEG_1, size);
        kelp_index whole = 3;
        if (size >= BLOCK(5) + WRITE_BYTES) whole = 4;
        if (size >= BLOCK(6) + WRITE_BYTES) whole = 5;
        assert_int_equal(opens_with(c), whole);
        fakedisk_free(c);
    }
    fakedisk_free(d);
}

static void a_segment_that_had_its_full_size_is_refused_when_it_was_cut(void **state)
{
    (void)state;
    struct fakedisk *d = fakedisk_new(3);
    struct store *s = kit_start(d);
    bool more = true;
    while (more)
        assert_int_equal(store_idle_work(s, &more, NULL), KELP_OK);
    for (uint64_t i = 1; i <= 7; i++)
        kit_append(s, i, i, i, 1);
    store_close(s);
    fakedisk_cut(d, CUT_KEEPS_ALL);
    for (size_t size = BLOCK(3); size < KIT_SEGMENT; size += 100) { /* write 7 ends at block 4 */
        struct fakedisk *c = fakedisk_copy(d);
        fakedisk_resize(c, SEG_2, size);
        struct kelp_fault fault;
        assert_int_equal(kit_try(c, &fault), KELP_E_CORRUPT);
        assert_string_equal(fault.where, SEG_2);
        fakedisk_free(c);
    }
    fakedisk_free(d);
}

/* ---- proof ----------------------------------------------------------------------------------- */

static void rot_in_a_proved_write_names_file_offset_and_index(void **state)
{
    (void)state;
    for (uint64_t write = 1; write <= 7; write++) {
        struct fakedisk *d = log_of(8, false); /* five in the first segment, three in the second */
        const char *name = write <= 5 ? SEG_1 : SEG_2;
        size_t block = BLOCK(write <= 5 ? write + 1 : write - 4);
        size_t entry = block + WRITE_HEAD_BYTES + RECORD_BYTES;
        segment(d, name, NULL)[entry + 50] ^= 0x10;
        refused(d, name, entry, write);
        segment(d, name, NULL)[entry + 50] ^= 0x10;
        memset(segment(d, name, NULL) + block, 0, STORE_BLOCK); /* its whole head is gone */
        refused(d, name, block, write);
        fakedisk_free(d);
    }
}

/* Write 3 has four blocks and is torn, but its head stands: write 2 was durable before it began. */
static void the_head_of_a_torn_write_still_proves_the_write_before(void **state)
{
    (void)state;
    for (int rotten = 0; rotten < 2; rotten++) {
        struct fakedisk *d = fakedisk_new(3);
        struct store *s = kit_start(d);
        kit_append(s, 1, 1, 1, 1);
        kit_append(s, 2, 2, 2, 1);
        kit_append_sized(s, 3, kelp_pos_of(3, 1), 8000);
        store_close(s);
        segment(d, SEG_1, NULL)[BLOCK(5) + 10] ^= 1;
        if (rotten != 0) {
            segment(d, SEG_1, NULL)[BLOCK(3) + WRITE_HEAD_BYTES + RECORD_BYTES] ^= 1;
            refused(d, SEG_1, BLOCK(3) + WRITE_HEAD_BYTES + RECORD_BYTES, 2);
        } else {
            s = kit_open(d);
            assert_int_equal(store_found(s)->torn_bytes, WRITE_HEAD_BYTES + RECORD_BYTES + 8040);
            assert_int_equal(store_found(s)->rewritten_bytes, 0); /* it needs no second copy */
            kit_expect(s, 2, 1);
            store_close(s);
            assert_int_equal(opens_with(d), 2);
        }
        fakedisk_free(d);
    }
}

static void an_intact_unproved_write_is_written_again_behind_itself(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(3, false);
    struct store *s = kit_open(d);
    assert_int_equal(store_found(s)->rewritten_bytes, WRITE_BYTES);
    kit_expect(s, 3, 1);
    store_close(s);
    struct write_head first, second;
    struct segment_head head;
    uint8_t *bytes = segment(d, SEG_1, NULL);
    assert_int_equal(segment_decode(bytes_of(bytes, BLOCK(1)), 0, &head), KELP_OK);
    assert_true(write_head_decode(bytes_of(bytes + BLOCK(4), BLOCK(1)),
                                  write_seed(1, head.salt, BLOCK(4)), &first));
    assert_true(write_head_decode(bytes_of(bytes + BLOCK(5), BLOCK(1)),
                                  write_seed(1, head.salt, BLOCK(5)), &second));
    assert_int_equal(first.number, 3);
    assert_int_equal(second.number, 3);
    assert_int_equal(second.content, first.content);
    /* Now either copy may rot: the mark behind them proves number 3, the later copy counts. */
    bytes[BLOCK(4) + 3] ^= 1;
    assert_int_equal(opens_with(d), 3);
    fakedisk_free(d);
}

static void restarts_without_writes_do_not_fill_the_log(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(2, false);
    for (int i = 0; i < 50; i++) {
        struct store *s = kit_open(d);
        struct store_stats stats;
        store_stats(s, &stats);
        assert_int_equal(stats.segments, 1);
        assert_int_equal(store_found(s)->rewritten_bytes, i == 0 ? WRITE_BYTES : 0);
        kit_expect(s, 2, 1);
        store_close(s);
    }
    fakedisk_free(d);
}

static void a_torn_head_is_noted_with_its_bytes(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(4, false);
    segment(d, SEG_1, NULL)[BLOCK(5) + 100] ^= 1;
    struct store *s = kit_open(d);
    assert_int_equal(store_found(s)->torn_bytes, WRITE_BYTES);
    assert_int_equal(store_found(s)->last, 3);
    store_close(s);
    fakedisk_free(d);
}

/* The disk kept an earlier write 4 and lost the one that counts: the next write knows better. */
static void a_lost_write_is_noticed_by_the_one_behind_it(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(3, true);
    struct fakedisk *other = fakedisk_copy(d);
    struct store *s = kit_open(d);
    kit_append(s, 4, 4, 4, 1);
    kit_append(s, 5, 5, 5, 1);
    store_close(s);
    s = kit_open(other);
    kit_append_sized(s, 4, kelp_pos_of(4, 1), 50);
    store_close(s);
    memcpy(segment(d, SEG_1, NULL) + BLOCK(5), segment(other, SEG_1, NULL) + BLOCK(5), STORE_BLOCK);
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "follows another write"));
    fakedisk_free(other);
    fakedisk_free(d);
}

/* ---- blocks in the wrong place --------------------------------------------------------------- */

static void a_valid_block_in_another_place_never_counts(void **state)
{
    (void)state;
    for (size_t from = 2; from < 7; from++) {
        for (size_t to = 2; to < 8; to++) {
            if (from == to) continue;
            struct fakedisk *d = log_of(5, true);
            uint8_t *bytes = segment(d, SEG_1, NULL);
            memcpy(bytes + BLOCK(to), bytes + BLOCK(from), STORE_BLOCK);
            if (to < 7)
                refused(d, SEG_1, BLOCK(to), to - 1);
            else
                assert_int_equal(opens_with(d),
                                 5); /* over the mark: the last write is just unproved */
            fakedisk_free(d);
        }
    }
}

static void a_valid_block_of_another_segment_never_counts(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(8, false);
    memcpy(segment(d, SEG_2, NULL) + BLOCK(2), segment(d, SEG_1, NULL) + BLOCK(2), STORE_BLOCK);
    refused(d, SEG_2, BLOCK(2), 6);
    fakedisk_free(d);
}

static void bytes_of_an_earlier_use_never_pass(void **state)
{
    (void)state;
    struct fakedisk *d = fakedisk_new(3);
    struct store *s = kit_start(d);
    for (uint64_t i = 1; i <= 12; i++)
        kit_append(s, i, i, i, 1);
    kit_snapshot(s, kelp_pos_of(11, 1));
    kit_compact(s, 13, 11);
    bool more = true;
    while (more)
        assert_int_equal(store_idle_work(s, &more, NULL), KELP_OK);
    for (uint64_t i = 13; i <= 16; i++)
        kit_append(s, i + 1, i, i, 1); /* 16 is the first in old bytes */
    store_close(s);
    fakedisk_cut(d, CUT_KEEPS_ALL);
    struct segment_head head;
    size_t size;
    uint8_t *bytes = segment(d, "log/00000000000000000004.seg", &size);
    assert_int_equal(segment_decode(bytes_of(bytes, BLOCK(1)), 0, &head), KELP_OK);
    assert_int_equal(load_u32(bytes + BLOCK(3)),
                     load_u32(bytes + BLOCK(2))); /* an old head is there */
    struct write_head old;
    assert_false(write_head_decode(bytes_of(bytes + BLOCK(3), BLOCK(1)),
                                   write_seed(4, head.salt, BLOCK(3)), &old));
    assert_int_equal(opens_with(d), 16);
    fakedisk_free(d);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void a_missing_segment_is_refused_naming_the_gap(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(12, false);
    fakedisk_drop(d, SEG_2);
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "segments 2 to 2 are missing"));
    fakedisk_free(d);
}

static void a_missing_last_segment_is_noticed_by_the_mark_in_front_of_it(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(12, false);
    fakedisk_drop(d, SEG_3);
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "segment 3 is missing"));
    assert_int_equal(fault.index, 11); /* the mark's segment ends with 10 */
    fakedisk_free(d);
}

/* A mark is written without a sync. A power cut loses it, the start that finds the last write
 * unproved puts a copy into the next segment, and a second cut brings the mark's block back. */
static void a_mark_that_comes_back_behind_a_copied_write_contradicts_nothing(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(5, true);
    uint8_t mark[STORE_BLOCK];
    memcpy(mark, segment(d, SEG_1, NULL) + BLOCK(7), sizeof mark);
    memset(segment(d, SEG_1, NULL) + BLOCK(7), 0, sizeof mark);
    store_close(kit_open(d));
    fakedisk_cut(d, CUT_KEEPS_ALL);
    struct write_head copy;
    struct segment_head head;
    const uint8_t *second = segment(d, SEG_2, NULL);
    assert_int_equal(segment_decode(bytes_of(second, BLOCK(1)), 0, &head), KELP_OK);
    assert_true(write_head_decode(bytes_of(second + BLOCK(2), BLOCK(1)),
                                  write_seed(2, head.salt, BLOCK(2)), &copy));
    assert_int_equal(copy.number, 5);
    memcpy(segment(d, SEG_1, NULL) + BLOCK(7), mark, sizeof mark);
    assert_int_equal(opens_with(d), 5);
    fakedisk_free(d);
}

static void a_missing_first_segment_is_refused(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(12, false);
    fakedisk_drop(d, SEG_1);
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "the log starts after 5@1"));
    fakedisk_free(d);
}

static void a_numbered_segment_without_a_good_head_is_refused(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, KIT_SEGMENT};
    uint8_t *garbage = malloc(KIT_SEGMENT);
    assert_non_null(garbage);
    for (size_t i = 0; i < KIT_SEGMENT; i++)
        garbage[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < 8; i++) {
        struct fakedisk *d = log_of(7, false);
        if (i >= 4) memset(garbage, 0, KIT_SEGMENT);
        fakedisk_put(d, i % 2 == 0 ? SEG_2 : SEG_3, garbage, sizes[i % 4]);
        struct kelp_fault fault;
        assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
        assert_string_equal(fault.where, i % 2 == 0 ? SEG_2 : SEG_3);
        fakedisk_free(d);
    }
    free(garbage);
}

static void one_good_copy_of_a_segments_head_is_enough(void **state)
{
    (void)state;
    for (size_t copy = 0; copy < 2; copy++) {
        struct fakedisk *d = log_of(7, false);
        memset(segment(d, SEG_1, NULL) + BLOCK(copy), 0xa5, STORE_BLOCK);
        memset(segment(d, SEG_2, NULL) + BLOCK(copy), 0, STORE_BLOCK);
        assert_int_equal(opens_with(d), 7);
        fakedisk_free(d);
    }
}

static void swapped_or_duplicated_segments_are_refused(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(12, false);
    fakedisk_move(d, SEG_1, "log/x");
    fakedisk_move(d, SEG_2, SEG_1);
    fakedisk_move(d, "log/x", SEG_2);
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "its head says segment 2"));
    fakedisk_free(d);
    d = log_of(12, false);
    size_t size;
    uint8_t *bytes = segment(d, SEG_3, &size);
    fakedisk_put(d, "log/00000000000000000004.seg", bytes, size);
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "its head says segment 3"));
    fakedisk_free(d);
}

static void files_that_are_not_ours_are_left_alone(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(3, false);
    static const char *const names[] = {"log/7.seg",
                                        "log/spare-01.seg",
                                        "log/spare-x.seg",
                                        "log/notes",
                                        "log/00000000000000000000.seg",
                                        "snap/readme"};
    for (size_t i = 0; i < 6; i++)
        fakedisk_put(d, names[i], "mine", 4);
    assert_int_equal(opens_with(d), 3);
    for (size_t i = 0; i < 6; i++)
        assert_memory_equal(segment(d, names[i], NULL), "mine", 4);
    fakedisk_free(d);
}

static void garbage_behind_the_end_of_a_segment_is_ignored(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(7, false);
    fakedisk_resize(d, SEG_1, KIT_SEGMENT + 5000);
    memset(segment(d, SEG_1, NULL) + KIT_SEGMENT, 0x5a, 5000);
    assert_int_equal(opens_with(d), 7);
    fakedisk_free(d);
}

static void spares_of_another_size_are_removed(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(3, false);
    uint8_t *bytes = calloc(1, KIT_SEGMENT * 2);
    assert_non_null(bytes);
    fakedisk_put(d, "log/spare-1.seg", bytes, KIT_SEGMENT * 2);
    fakedisk_put(d, "log/spare-2.seg", bytes, KIT_SEGMENT);
    free(bytes);
    struct store *s = kit_open(d);
    struct store_stats stats;
    store_stats(s, &stats);
    assert_int_equal(stats.spares, 1);
    assert_int_equal(stats.spares_ready, 1);
    assert_null(fakedisk_bytes(d, "log/spare-1.seg", NULL));
    store_close(s);
    fakedisk_free(d);
}

static void a_segment_of_a_newer_version_is_not_called_damaged(void **state)
{
    (void)state;
    struct fakedisk *d = log_of(3, false);
    segment(d, SEG_1, NULL)[4] = 2;
    segment(d, SEG_1, NULL)[BLOCK(1) + 4] = 2;
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_VERSION);
    assert_string_equal(fault.where, SEG_1);
    fakedisk_free(d);
}

/* A vote file put back from an old copy: the log knows a later term. */
static void a_log_in_a_later_term_than_the_vote_file_is_refused(void **state)
{
    (void)state;
    struct fakedisk *d = fakedisk_new(3);
    struct store *s = kit_start(d);
    size_t size;
    uint8_t *bytes = fakedisk_bytes(d, "vote", &size), *old = malloc(size);
    assert_non_null(old);
    memcpy(old, bytes, size);
    kit_vote(s, 1, 5, 1);
    kit_append(s, 2, 1, 1, 5);
    store_close(s);
    fakedisk_put(d, "vote", old, size);
    free(old);
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_string_equal(fault.where, "vote");
    fakedisk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_in_a_proved_write_is_refused_in_the_last_one_cut),
        cmocka_unit_test(a_mark_proves_the_last_write),
        cmocka_unit_test(a_zeroed_byte_is_damage_like_any_other),
        cmocka_unit_test(a_young_first_segment_is_refused_wherever_it_was_cut),
        cmocka_unit_test(a_growing_segment_is_refused_when_cut_once_it_was_filled_with_zeros),
        cmocka_unit_test(every_length_of_the_last_two_writes_opens_or_is_refused),
        cmocka_unit_test(a_segment_that_had_its_full_size_is_refused_when_it_was_cut),
        cmocka_unit_test(rot_in_a_proved_write_names_file_offset_and_index),
        cmocka_unit_test(the_head_of_a_torn_write_still_proves_the_write_before),
        cmocka_unit_test(an_intact_unproved_write_is_written_again_behind_itself),
        cmocka_unit_test(restarts_without_writes_do_not_fill_the_log),
        cmocka_unit_test(a_torn_head_is_noted_with_its_bytes),
        cmocka_unit_test(a_lost_write_is_noticed_by_the_one_behind_it),
        cmocka_unit_test(a_valid_block_in_another_place_never_counts),
        cmocka_unit_test(a_valid_block_of_another_segment_never_counts),
        cmocka_unit_test(bytes_of_an_earlier_use_never_pass),
        cmocka_unit_test(a_missing_segment_is_refused_naming_the_gap),
        cmocka_unit_test(a_missing_last_segment_is_noticed_by_the_mark_in_front_of_it),
        cmocka_unit_test(a_mark_that_comes_back_behind_a_copied_write_contradicts_nothing),
        cmocka_unit_test(a_missing_first_segment_is_refused),
        cmocka_unit_test(a_numbered_segment_without_a_good_head_is_refused),
        cmocka_unit_test(one_good_copy_of_a_segments_head_is_enough),
        cmocka_unit_test(swapped_or_duplicated_segments_are_refused),
        cmocka_unit_test(files_that_are_not_ours_are_left_alone),
        cmocka_unit_test(garbage_behind_the_end_of_a_segment_is_ignored),
        cmocka_unit_test(spares_of_another_size_are_removed),
        cmocka_unit_test(a_segment_of_a_newer_version_is_not_called_damaged),
        cmocka_unit_test(a_log_in_a_later_term_than_the_vote_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
