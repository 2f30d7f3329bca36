/* SPDX-License-Identifier: Apache-2.0 */
/* spares_test.c - what goes and what stays: compaction, recycled segments, spares, snapshots, and
 * the configurations that are found again. */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/store/fakedisk.h"
#include "tests/store/storekit.h"
#include "wire/config.h"
#include "wire/entry.h"

static int setup(void **state)
{
    *state = fakedisk_new(1);
    return 0;
}

static int teardown(void **state)
{
    fakedisk_free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- snapshots and segments ------------------------------------------------------------------ */

static void compacted_segments_are_recycled_from_the_oldest(void **state)
{
    struct store *s = kit_start(*state);
    for (uint64_t i = 1; i <= 40; i++)
        kit_append(s, i, i, i, 1);
    struct store_stats stats;
    store_stats(s, &stats);
    assert_int_equal(stats.segments, 8); /* five writes a segment */
    kit_snapshot(s, kelp_pos_of(38, 1));
    kit_compact(s, 41, 38);
    kit_idle(s);
    store_stats(s, &stats);
    assert_int_equal(stats.segments, 1);
    assert_int_equal(stats.spares, 2);
    assert_int_equal(stats.spares_ready, 2);
    uint8_t *out = NULL;
    size_t size = 0, len;
    struct kelp_pos before;
    kelp_index last;
    assert_int_equal(store_read(s, 37, 1, 0, &out, &size, &len, &before, &last, NULL), KELP_E_GONE);
    assert_int_equal(kit_read(s, 38, 100), 1);
    for (uint64_t i = 41; i <= 80; i++)
        kit_append(s, i + 1, i, i, 1); /* into recycled bytes */
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->base.index, 35);
    assert_int_equal(store_found(s)->commit, 38);
    kit_expect(s, 80, 1);
    store_close(s);
    free(out);
}

static void compaction_never_goes_above_the_newest_snapshot(void **state)
{
    struct store *s = kit_start(*state);
    for (uint64_t i = 1; i <= 20; i++)
        kit_append(s, i, i, i, 1);
    kit_snapshot(s, kelp_pos_of(7, 1));
    kit_compact(s, 21, 18);
    kit_idle(s);
    assert_int_equal(kit_read(s, 8, 100), 1);
    store_close(s);
    s = kit_open(*state);
    kit_expect(s, 20, 1);
    store_close(s);
}

static void entries_cut_before_compaction_do_not_come_back(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 5, 0);
    for (uint64_t i = 1; i <= 12; i++)
        kit_append(s, 1 + i, i, i, 1);
    kit_truncate(s, 14, kelp_pos_of(3, 1));
    for (uint64_t i = 4; i <= 9; i++)
        kit_append(s, 11 + i, i, i, 5);
    kit_snapshot(s, kelp_pos_of(6, 5));
    kit_compact(s, 21, 6); /* the segments of 1..12@1 go; the truncation lies behind them */
    kit_idle(s);
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->last, 9);
    assert_true(store_found(s)->base.index <= 5);
    assert_true(store_found(s)->base.index >= 3);
    for (kelp_index i = 6; i <= 9; i++)
        assert_int_equal(kit_read(s, i, 100), 5);
    store_close(s);
}

static void idle_work_zeroes_the_first_segment_in_pieces_and_makes_spares(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 1, 1);
    bool more;
    uint64_t calls = fakedisk_calls(*state);
    assert_int_equal(store_idle_work(s, &more, NULL), KELP_OK);
    assert_true(more);
    assert_int_equal(fakedisk_calls(*state) - calls, 2); /* one write, one sync */
    kit_append(s, 2, 2, 2, 1);
    kit_idle(s);
    size_t size;
    (void)fakedisk_bytes(*state, "log/00000000000000000001.seg", &size);
    assert_int_equal(size, KIT_SEGMENT);
    (void)fakedisk_bytes(*state, "log/spare-1.seg", &size);
    assert_int_equal(size, KIT_SEGMENT);
    (void)fakedisk_bytes(*state, "log/spare-2.seg", &size);
    assert_int_equal(size, KIT_SEGMENT);
    store_close(s);
    s = kit_open(*state);
    kit_expect(s, 2, 1);
    store_close(s);
}

static void a_full_disk_makes_no_spare_and_harms_nothing(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 1, 1);
    fakedisk_capacity(*state, 3 * 4096);
    bool more = true;
    assert_int_equal(store_idle_work(s, &more, NULL), KELP_OK);
    assert_false(more);
    fakedisk_capacity(*state, 0);
    kit_idle(s);
    struct store_stats stats;
    store_stats(s, &stats);
    assert_int_equal(stats.spares_ready, 2);
    kit_append(s, 2, 2, 2, 1);
    store_close(s);
}

/* Both where a hole of the tail has to be filled and where the next segment has to be made. */
static void a_full_disk_refuses_a_save_unharmed_and_takes_it_when_there_is_room(void **state)
{
    struct store *s = kit_start(*state);
    size_t payload = 3000, large = 3 * KIT_SEGMENT, refused = 0, accepted = 0;
    for (uint64_t i = 1; i <= 40; i++) {
        struct kelp_bytes part = kit_entry(kelp_pos_of(i, 1), i % 8 == 0 ? large : payload);
        struct store_save_item item = {
            .save = {.number = i, .flags = KELP_SAVE_APPEND}, .parts = &part, .part_count = 1};
        item.save.first = item.save.last = i;
        struct kelp_fault fault = {0};
        fakedisk_capacity(*state, 1); /* nothing can grow */
        enum kelp_error error = store_save(s, &item, 1, &fault);
        if (error != KELP_OK) {
            assert_int_equal(error, KELP_E_NO_SPACE);
            assert_false(store_failed(s));
            if (i > 1) assert_int_equal(kit_read(s, i - 1, i % 8 == 1 ? large : payload), 1);
            fakedisk_capacity(*state, 0);
            assert_int_equal(store_save(s, &item, 1, NULL), KELP_OK);
            refused++;
        } else {
            accepted++; /* into what is claimed already */
        }
        free((void *)(uintptr_t)part.data);
    }
    assert_in_range(refused, 15, 30);
    assert_in_range(accepted, 10, 25);
    fakedisk_capacity(*state, 0);
    store_close(s);
    fakedisk_cut(*state, CUT_LOSES_ALL);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->last, 40);
    for (uint64_t i = 1; i <= 40; i++)
        assert_int_equal(kit_read(s, i, i % 8 == 0 ? large : payload), 1);
    store_close(s);
}

/* The votes are in their file before the entries are found to have no room. */
static void votes_of_a_batch_that_found_no_room_come_again(void **state)
{
    struct store *s = kit_start(*state);
    struct kelp_bytes part = kit_entry(kelp_pos_of(1, 1), 3 * KIT_SEGMENT);
    struct store_save_item items[2] = {
        {.save = {.number = 1, .flags = KELP_SAVE_VOTE | KELP_SAVE_APPEND, .term = {1}, .vote = 1},
         .parts = &part,
         .part_count = 1},
        {.save = {.number = 2, .flags = KELP_SAVE_VOTE, .term = {3}, .vote = 2}}};
    items[0].save.first = items[0].save.last = 1;
    fakedisk_capacity(*state, 1);
    assert_int_equal(store_save(s, items, 2, NULL), KELP_E_NO_SPACE);
    assert_int_equal(store_save(s, items, 2, NULL), KELP_E_NO_SPACE);
    fakedisk_capacity(*state, 0);
    assert_int_equal(store_save(s, items, 2, NULL), KELP_OK);
    free((void *)(uintptr_t)part.data);
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->term.v, 3);
    assert_int_equal(store_found(s)->vote, 2);
    assert_int_equal(store_found(s)->last, 1);
    store_close(s);
}

static enum kelp_space level_of(struct store *s)
{
    struct store_space space;
    store_space(s, &space);
    return space.level;
}

/* Each level is met with files in hand for what may still be written, and goes when room comes. */
static void room_goes_step_by_step_and_comes_back(void **state)
{
    struct store *s = kit_start(*state);
    kit_idle(s);
    assert_int_equal(level_of(s), KELP_SPACE_OK);
    fakedisk_capacity(*state, 1);
    assert_int_equal(level_of(s), KELP_SPACE_LOW); /* two spares, and no third can be made */
    enum kelp_space level = KELP_SPACE_LOW;
    uint64_t number = 1, at_level[4] = {0};
    while (level != KELP_SPACE_NONE) {
        kit_append(s, number, number, number, 1); /* never refused, never a fault */
        number++;
        kit_idle(s);
        assert_true(level_of(s) >= level);
        level = level_of(s);
        at_level[level]++;
    }
    assert_in_range(at_level[KELP_SPACE_LOW], 6, 14); /* the tail and the first spare at least */
    assert_in_range(at_level[KELP_SPACE_LAST], 1, 5); /* most of the last */
    struct store_stats stats;
    store_stats(s, &stats);
    assert_int_equal(stats.spares_ready, 0);
    assert_true(stats.short_of_room);
    assert_true(stats.no_room > 0);
    fakedisk_capacity(*state, 0);
    kit_idle(s);
    assert_int_equal(level_of(s), KELP_SPACE_OK);
    store_stats(s, &stats);
    assert_false(stats.short_of_room);
    assert_int_equal(stats.spares_ready, 2);
    store_close(s);
    s = kit_open(*state);
    kit_expect(s, number - 1, 1);
    store_close(s);
}

static void a_directory_on_a_full_disk_opens_and_its_files_in_hand_are_used(void **state)
{
    struct store *s = kit_start(*state);
    kit_idle(s);
    kit_append(s, 1, 1, 1, 1);
    store_close(s);
    fakedisk_capacity(*state, 1);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->last, 1);
    kit_vote(s, 1, 2, 1);
    for (uint64_t i = 2; i <= 12; i++)
        kit_append(s, i, i, i, 1);
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->term.v, 2);
    kit_expect(s, 12, 1);
    store_close(s);
}

static void a_full_disk_refuses_a_snapshot_and_keeps_the_store(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 5, 1);
    kit_snapshot(s, kelp_pos_of(2, 1));
    struct kelp_bytes head = kit_head(kelp_pos_of(4, 1));
    fakedisk_capacity(*state, 1);
    assert_int_equal(store_snapshot(s, kelp_pos_of(4, 1), head, NULL), KELP_E_NO_SPACE);
    fakedisk_capacity(*state, 0);
    assert_int_equal(store_found(s)->snapshot.pos.index, 2);
    assert_int_equal(store_snapshot(s, kelp_pos_of(4, 1), head, NULL), KELP_OK);
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->snapshot.pos.index, 4);
    store_close(s);
    free((void *)(uintptr_t)head.data);
}

static void a_snapshot_is_read_back_and_older_ones_go(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 9, 1);
    kit_snapshot(s, kelp_pos_of(3, 1));
    kit_snapshot(s, kelp_pos_of(7, 1));
    assert_null(
        fakedisk_bytes(*state, "snap/00000000000000000003-00000000000000000001.snap", NULL));
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->snapshot.pos.index, 7);
    assert_int_equal(store_found(s)->commit, 7);
    assert_int_equal(store_found(s)->config.config.count, 1);
    uint8_t *out = NULL;
    size_t size = 0, len;
    assert_int_equal(store_snapshot_read(s, &out, &size, &len, NULL), KELP_OK);
    struct kelp_bytes expected = kit_head(kelp_pos_of(7, 1));
    assert_int_equal(len, expected.len);
    assert_memory_equal(out, expected.data, len);
    free(out);
    free((void *)(uintptr_t)expected.data);
    store_close(s);
}

static void a_head_for_another_position_is_refused(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 9, 1);
    struct kelp_bytes head = kit_head(kelp_pos_of(3, 1));
    assert_int_equal(store_snapshot(s, kelp_pos_of(4, 1), head, NULL), KELP_E_ARGUMENT);
    uint8_t *out = NULL;
    size_t size = 0, len;
    assert_int_equal(store_snapshot_read(s, &out, &size, &len, NULL), KELP_E_NOT_FOUND);
    free((void *)(uintptr_t)head.data);
    store_close(s);
}

static void a_damaged_snapshot_falls_back_on_the_whole_log(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 9, 1);
    kit_snapshot(s, kelp_pos_of(3, 1));
    store_close(s);
    fakedisk_bytes(*state, "snap/00000000000000000003-00000000000000000001.snap", NULL)[30] ^= 4;
    s = kit_open(*state);
    assert_int_equal(store_found(s)->snapshot.pos.index, 0);
    kit_expect(s, 9, 1);
    assert_non_null(
        fakedisk_bytes(*state, "snap/00000000000000000003-00000000000000000001.snap", NULL));
    store_close(s);
}

static void a_log_whose_beginning_only_a_damaged_snapshot_held_is_refused(void **state)
{
    struct store *s = kit_start(*state);
    for (uint64_t i = 1; i <= 20; i++)
        kit_append(s, i, i, i, 1);
    kit_snapshot(s, kelp_pos_of(18, 1));
    kit_compact(s, 21, 18);
    kit_idle(s);
    store_close(s);
    fakedisk_bytes(*state, "snap/00000000000000000018-00000000000000000001.snap", NULL)[30] ^= 4;
    struct kelp_fault fault;
    assert_int_equal(kit_try(*state, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "starts after 15@1"));
}

static void a_reset_starts_the_log_anew_behind_a_snapshot(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 7, 0);
    kit_append(s, 2, 1, 9, 1);
    kit_snapshot(s, kelp_pos_of(50, 7));
    struct store_save_item item = {
        .save = {.number = 3, .flags = KELP_SAVE_RESET, .end = kelp_pos_of(50, 7), .commit = 50}};
    assert_int_equal(store_save(s, &item, 1, NULL), KELP_OK);
    kit_append(s, 4, 51, 53, 7);
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->base.index, 50);
    assert_int_equal(store_found(s)->commit, 50);
    kit_expect(s, 53, 7);
    store_close(s);
}

static void a_reset_without_its_snapshot_is_refused_before_a_byte_is_written(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 7, 0);
    kit_append(s, 2, 1, 9, 1);
    kit_snapshot(s, kelp_pos_of(5, 1));
    struct store_save_item item = {
        .save = {.number = 3, .flags = KELP_SAVE_RESET, .end = kelp_pos_of(50, 7), .commit = 50}};
    assert_int_equal(store_save(s, &item, 1, NULL), KELP_E_ARGUMENT);
    store_close(s);
    s = kit_open(*state);
    kit_expect(s, 9, 1);
    store_close(s);
}

/* The crash between an installed snapshot and the record that resets the log to it. */
static void a_snapshot_beyond_the_log_resets_it_at_the_next_start(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 7, 0);
    kit_append(s, 2, 1, 9, 1);
    kit_snapshot(s, kelp_pos_of(50, 7));
    store_close(s);
    for (int round = 0; round < 2; round++) {
        s = kit_open(*state);
        assert_int_equal(store_found(s)->base.index, 50);
        assert_int_equal(store_found(s)->last, 50);
        store_close(s);
    }
}

static void disk_is_full(struct fakedisk *d)
{
    const uint64_t large = (uint64_t)1 << 40;
    uint64_t free_bytes = 0;
    struct disk port = fakedisk_port(d);
    fakedisk_capacity(d, large);
    struct kelp_fault fault = {0};
    assert_int_equal(port.ops->space(port.state, &free_bytes, &fault), KELP_OK);
    fakedisk_capacity(d, large - free_bytes);
}

/* A log of so many entries and an old snapshot, and the one that filled the disk. */
static void snapshot_fills_the_disk(struct fakedisk *d, uint64_t entries, bool older)
{
    struct store *s = kit_start(d);
    kit_vote(s, 1, 7, 0);
    for (uint64_t i = 1; i <= entries; i++)
        kit_append(s, i + 1, i, i, 1);
    if (older) kit_snapshot(s, kelp_pos_of(2, 1));
    kit_snapshot(s, kelp_pos_of(50, 7));
    assert_int_equal(store_mark_idle(s, NULL), KELP_OK); /* nothing has to be written again */
    store_close(s);
    disk_is_full(d);
}

/* Without the crash it would have waited for room; a start cannot wait. */
static void a_start_makes_the_room_that_the_reset_needs(void **state)
{
    for (uint64_t entries = 6; entries <= 11; entries++) { /* five a segment */
        for (int older = 0; older < 2; older++) {
            struct fakedisk *d = fakedisk_copy(*state);
            snapshot_fills_the_disk(d, entries, older);
            for (int round = 0; round < 2; round++) {
                struct store *s = kit_open(d);
                assert_int_equal(store_found(s)->base.index, 50);
                assert_int_equal(store_found(s)->last, 50);
                assert_int_equal(store_found(s)->term.v, 7);
                store_close(s);
            }
            fakedisk_free(d);
        }
    }
}

static void a_start_that_is_killed_while_it_makes_room_harms_nothing(void **state)
{
    for (uint64_t at = 1; at < 400; at++) {
        struct fakedisk *d = fakedisk_copy(*state);
        struct store_options options = kit_options();
        struct store *s = NULL;
        snapshot_fills_the_disk(d, 10, true);
        fakedisk_die_at(d, fakedisk_calls(d) + at);
        bool died = store_open(fakedisk_port(d), &options, &s, NULL) != KELP_OK;
        if (!died) store_close(s);
        fakedisk_cut(d, CUT_RANDOM);
        fakedisk_capacity(d, 0); /* what was being written may have to be written again */
        s = kit_open(d);
        assert_int_equal(store_found(s)->base.index, 50);
        store_close(s);
        fakedisk_free(d);
        if (!died) return;
    }
    fail_msg("it never opened");
}

/* ---- configurations -------------------------------------------------------------------------- */

static struct kelp_bytes config_entry(struct kelp_pos pos, uint64_t members)
{
    struct wire_config *c = calloc(1, sizeof *c);
    uint8_t *payload = malloc(WIRE_CONFIG_BYTES_MAX);
    assert_non_null(c);
    c->config = (struct kelp_config){.id_highest = members, .count = (uint8_t)members};
    for (uint64_t i = 0; i < members; i++) {
        c->config.members[i] = (struct kelp_member){.id = i + 1, .role = KELP_VOTER};
        (void)snprintf(c->peer[i].text, WIRE_ADDRESS_MAX, "127.0.0.1:710%d", (int)i);
    }
    size_t len = wire_config_encode(c, payload);
    struct wire_entry entry = {
        .pos = pos, .type = KELP_ENTRY_CONFIG, .payload = bytes_of(payload, len)};
    uint8_t *out = malloc(wire_entry_size(&entry));
    assert_non_null(out);
    wire_entry_encode(&entry, out);
    size_t size = wire_entry_size(&entry);
    free(payload);
    free(c);
    return bytes_of(out, size);
}

static void append_config(struct store *s, uint64_t number, kelp_index index, uint64_t members)
{
    struct kelp_bytes part = config_entry(kelp_pos_of(index, 1), members);
    struct store_save_item item = {
        .save = {.number = number, .flags = KELP_SAVE_APPEND, .first = index, .last = index},
        .parts = &part,
        .part_count = 1};
    assert_int_equal(store_save(s, &item, 1, NULL), KELP_OK);
    free((void *)(uintptr_t)part.data);
}

static void the_newest_configuration_and_the_one_before_are_found(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 1, 0);
    append_config(s, 2, 1, 1);
    kit_append(s, 3, 2, 3, 1);
    append_config(s, 4, 4, 2);
    append_config(s, 5, 5, 3);
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->config.config.index, 5);
    assert_int_equal(store_found(s)->config.config.count, 3);
    assert_int_equal(store_found(s)->config_before.config.index, 4);
    assert_int_equal(store_found(s)->config_before.config.count, 2);
    kit_truncate(s, 1, kelp_pos_of(4, 1));
    store_close(s);
    s = kit_open(*state); /* a cut configuration is none */
    assert_int_equal(store_found(s)->config.config.index, 4);
    assert_int_equal(store_found(s)->config_before.config.index, 1);
    kit_truncate(s, 1, kelp_pos_of(3, 1));
    kit_snapshot(s, kelp_pos_of(3, 1)); /* its head names the configuration at 1 */
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->config.config.index, 1);
    assert_int_equal(store_found(s)->config_before.config.count, 0);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(compacted_segments_are_recycled_from_the_oldest),
        TEST(compaction_never_goes_above_the_newest_snapshot),
        TEST(entries_cut_before_compaction_do_not_come_back),
        TEST(idle_work_zeroes_the_first_segment_in_pieces_and_makes_spares),
        TEST(a_full_disk_makes_no_spare_and_harms_nothing),
        TEST(a_full_disk_refuses_a_save_unharmed_and_takes_it_when_there_is_room),
        TEST(votes_of_a_batch_that_found_no_room_come_again),
        TEST(room_goes_step_by_step_and_comes_back),
        TEST(a_directory_on_a_full_disk_opens_and_its_files_in_hand_are_used),
        TEST(a_full_disk_refuses_a_snapshot_and_keeps_the_store),
        TEST(a_snapshot_is_read_back_and_older_ones_go),
        TEST(a_head_for_another_position_is_refused),
        TEST(a_damaged_snapshot_falls_back_on_the_whole_log),
        TEST(a_log_whose_beginning_only_a_damaged_snapshot_held_is_refused),
        TEST(a_reset_starts_the_log_anew_behind_a_snapshot),
        TEST(a_reset_without_its_snapshot_is_refused_before_a_byte_is_written),
        TEST(a_snapshot_beyond_the_log_resets_it_at_the_next_start),
        TEST(a_start_makes_the_room_that_the_reset_needs),
        TEST(a_start_that_is_killed_while_it_makes_room_harms_nothing),
        TEST(the_newest_configuration_and_the_one_before_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
