/* SPDX-License-Identifier: Apache-2.0 */
/* snapobjects_test.c - snapshots with objects: written in pieces, whole or not there, read back
 * verified; what damage to them does to a start. */
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
#include "wire/snapchunk.h"

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

#define CHUNKS       5u
#define OBJECT_BYTES 3000u

/* The head of kit_head, but for objects that follow it. */
static size_t head_make(struct kelp_pos pos, uint64_t bytes, uint8_t *out)
{
    struct kelp_bytes plain = kit_head(pos);
    struct wire_snaphead *head = malloc(sizeof *head);
    size_t used;
    assert_non_null(head);
    assert_int_equal(wire_snaphead_decode(plain, head, &used, NULL), KELP_OK);
    head->object_count = bytes > 0 ? CHUNKS : 0;
    head->object_bytes = bytes;
    size_t len = wire_snaphead_encode(head, out, WIRE_SNAPHEAD_BYTES_MAX);
    free(head);
    free((void *)(uintptr_t)plain.data);
    return len;
}

static size_t chunk_make(struct kelp_pos pos, uint64_t offset, unsigned number, uint8_t *out)
{
    size_t len = WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD + OBJECT_BYTES;
    wire_object_head(out + WIRE_SNAPCHUNK_HEAD, WIRE_OBJECT_MACHINE, OBJECT_BYTES);
    memset(out + WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD, (int)(number + pos.index), OBJECT_BYTES);
    wire_snapchunk_seal(out, len, 1, (struct wire_snapplace){.pos = pos, .offset = offset});
    return len;
}

/* Everything up to the first error; *offset: bytes behind the head. */
static enum kelp_error pieces_write(struct snapwriter *w, struct kelp_pos pos, size_t head_len,
                                    uint64_t *offset)
{
    static uint8_t chunk[WIRE_SNAPCHUNK_BYTES_MAX];
    struct kelp_fault fault = {0};
    *offset = 0;
    for (unsigned i = 0; i < CHUNKS; i++) {
        size_t len = chunk_make(pos, *offset, i, chunk);
        enum kelp_error error =
            snapwriter_write(w, head_len + *offset, bytes_of(chunk, len), i == CHUNKS - 1, &fault);
        if (error != KELP_OK) return error;
        *offset += len;
    }
    return KELP_OK;
}

static enum kelp_error snapshot_try(struct fakedisk *d, struct store *s, struct kelp_pos pos)
{
    static uint8_t head[WIRE_SNAPHEAD_BYTES_MAX];
    struct snapwriter w = {.disk = fakedisk_port(d)};
    struct kelp_fault fault = {0};
    uint64_t bytes = 0;
    size_t len = head_make(pos, 0, head);
    enum kelp_error error = pieces_write(&w, pos, len, &bytes);
    snapwriter_close(&w);
    if (error != KELP_OK) return error;
    len = head_make(pos, bytes, head);
    return store_snapshot(s, pos, bytes_of(head, len), &fault);
}

struct seen {
    unsigned count;
    kelp_index index;
};

static enum kelp_error object_see(void *ctx, const struct wire_object *given,
                                  struct kelp_fault *fault)
{
    struct seen *seen = ctx;
    struct kelp_bytes object = given->bytes;
    (void)fault;
    assert_int_equal(object.len, OBJECT_BYTES);
    for (size_t i = 0; i < object.len; i++)
        assert_int_equal(object.data[i], (uint8_t)(seen->count + seen->index));
    seen->count++;
    return KELP_OK;
}

static void expect_objects(struct store *s)
{
    struct seen seen = {.index = store_found(s)->snapshot.pos.index};
    struct kelp_fault fault = {0};
    if (store_snapshot_objects(s, object_see, &seen, &fault) != KELP_OK)
        fail_msg("%s: %s", fault.where, fault.what);
    assert_int_equal(seen.count, CHUNKS);
}

static uint8_t *snap_bytes(struct fakedisk *d, kelp_index index, size_t *size)
{
    char name[FILE_NAME_MAX];
    (void)snprintf(name, sizeof name, "snap/%020u-%020u.snap", (unsigned)index, 1u);
    return fakedisk_bytes(d, name, size);
}

static void objects_are_read_back_in_order(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 9, 1);
    assert_int_equal(snapshot_try(*state, s, kelp_pos_of(7, 1)), KELP_OK);
    expect_objects(s);
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->snapshot.pos.index, 7);
    size_t size = 0;
    assert_non_null(snap_bytes(*state, 7, &size));
    assert_int_equal(store_found(s)->snapshot_bytes, size);
    expect_objects(s);
    store_close(s);
}

static void a_head_without_its_objects_is_refused(void **state)
{
    static uint8_t head[WIRE_SNAPHEAD_BYTES_MAX];
    struct store *s = kit_start(*state);
    struct snapwriter w = {.disk = fakedisk_port(*state)};
    struct kelp_pos pos = kelp_pos_of(7, 1);
    struct kelp_fault fault = {0};
    uint64_t bytes = 0;
    kit_append(s, 1, 1, 9, 1);
    size_t len = head_make(pos, 100, head);
    assert_int_equal(store_snapshot(s, pos, bytes_of(head, len), NULL), KELP_E_ARGUMENT);
    assert_int_equal(pieces_write(&w, pos, len, &bytes), KELP_OK);
    assert_int_equal(store_snapshot(s, pos, bytes_of(head, len), NULL), KELP_E_ARGUMENT);
    assert_int_equal(snapwriter_drop(&w, &fault), KELP_OK);
    assert_null(fakedisk_bytes(*state, "snap/new.tmp", NULL));
    assert_int_equal(store_found(s)->snapshot.pos.index, 0);
    assert_int_equal(snapshot_try(*state, s, pos), KELP_OK);
    store_close(s);
}

/* The power goes at every call, and every time all, nothing or a part of what was not synced stays:
 * the start finds the snapshot before or the new one, whole, and no leftover. */
static void a_cut_anywhere_leaves_the_one_before_or_the_new_one(void **state)
{
    bool ended = false;
    unsigned before = 0, after = 0;
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 9, 1);
    assert_int_equal(snapshot_try(*state, s, kelp_pos_of(3, 1)), KELP_OK);
    store_close(s);
    fakedisk_cut(*state, CUT_KEEPS_ALL);
    for (uint64_t call = 1; !ended; call++) {
        for (int how = CUT_LOSES_ALL; how <= CUT_RANDOM; how++) {
            struct fakedisk *d = fakedisk_copy(*state);
            s = kit_open(d);
            fakedisk_die_at(d, fakedisk_calls(d) + call);
            ended = snapshot_try(d, s, kelp_pos_of(7, 1)) == KELP_OK;
            store_close(s);
            fakedisk_cut(d, (enum fakedisk_cut)how);
            s = kit_open(d);
            kelp_index found = store_found(s)->snapshot.pos.index;
            assert_true(found == 7 || (found == 3 && !ended));
            before += found == 3;
            after += found == 7;
            expect_objects(s);
            assert_null(fakedisk_bytes(d, "snap/new.tmp", NULL));
            kit_expect(s, 9, 1);
            store_close(s);
            fakedisk_free(d);
        }
    }
    assert_true(before > 10 && after > 3);
}

static void a_flipped_bit_anywhere_falls_back_on_the_one_before(void **state)
{
    struct fakedisk *d = *state;
    struct store *s = kit_start(d);
    kit_append(s, 1, 1, 9, 1);
    struct kelp_pos first = kelp_pos_of(3, 1), second = kelp_pos_of(7, 1);
    assert_int_equal(snapshot_try(d, s, first), KELP_OK);
    assert_int_equal(snapshot_try(d, s, second), KELP_OK);
    store_close(s);
    fakedisk_cut(d, CUT_KEEPS_ALL);
    size_t size = 0;
    assert_null(snap_bytes(d, 3, &size)); /* one is kept by default */
    assert_non_null(snap_bytes(d, 7, &size));
    for (size_t at = 0; at < size; at += 97) {
        struct fakedisk *copy = fakedisk_copy(d);
        snap_bytes(copy, 7, NULL)[at] ^= 16;
        s = kit_open(copy);
        assert_int_equal(store_found(s)->snapshot.pos.index, 0);
        kit_expect(s, 9, 1);
        store_close(s);
        fakedisk_free(copy);
    }
    fakedisk_resize(d, "snap/00000000000000000007-00000000000000000001.snap", size - 1);
    s = kit_open(d);
    assert_int_equal(store_found(s)->snapshot.pos.index, 0);
    store_close(s);
}

static struct store *open_keeping(struct fakedisk *d, uint32_t kept, struct kelp_fault *fault)
{
    struct store_options options = kit_options();
    struct store *s = NULL;
    options.snapshots_kept = kept;
    return store_open(fakedisk_port(d), &options, &s, fault) == KELP_OK ? s : NULL;
}

static void as_many_snapshots_stay_as_are_to_be_kept(void **state)
{
    struct fakedisk *d = *state;
    struct kelp_fault fault = {0};
    struct store *s = kit_start(d);
    kit_append(s, 1, 1, 9, 1);
    store_close(s);
    s = open_keeping(d, 2, &fault);
    assert_non_null(s);
    for (kelp_index i = 3; i <= 6; i++)
        assert_int_equal(snapshot_try(d, s, kelp_pos_of(i, 1)), KELP_OK);
    assert_null(snap_bytes(d, 4, NULL));
    assert_non_null(snap_bytes(d, 5, NULL));
    assert_non_null(snap_bytes(d, 6, NULL));
    store_close(s);
}

static void what_may_show_a_wrong_state_is_forgotten(void **state)
{
    struct fakedisk *d = *state;
    struct kelp_fault fault = {0};
    struct store *s = kit_start(d);
    kit_append(s, 1, 1, 9, 1);
    store_close(s);
    s = open_keeping(d, 3, &fault);
    assert_non_null(s);
    for (kelp_index i = 3; i <= 5; i++)
        assert_int_equal(snapshot_try(d, s, kelp_pos_of(i, 1)), KELP_OK);
    store_forget(s, kelp_pos_of(9, 1)); /* that one is not there: nothing takes their place */
    assert_non_null(snap_bytes(d, 3, NULL));
    assert_non_null(snap_bytes(d, 4, NULL));
    store_forget(s, kelp_pos_of(5, 1));
    assert_null(snap_bytes(d, 3, NULL));
    assert_null(snap_bytes(d, 4, NULL));
    assert_non_null(snap_bytes(d, 5, NULL));
    struct store_stats stats;
    store_stats(s, &stats);
    assert_int_equal(stats.snapshot_count, 1);
    store_close(s);
    s = open_keeping(d, 3, &fault);
    assert_non_null(s);
    assert_int_equal(store_found(s)->snapshot.pos.index, 5);
    expect_objects(s);
    store_close(s);
}

static void an_older_snapshot_serves_only_if_the_log_reaches_it(void **state)
{
    struct fakedisk *d = *state;
    struct kelp_fault fault = {0};
    struct store *s = kit_start(d);
    for (uint64_t i = 1; i <= 9; i++)
        kit_append(s, i, i, i, 1); /* five writes a segment */
    store_close(s);
    s = open_keeping(d, 2, &fault);
    assert_int_equal(snapshot_try(d, s, kelp_pos_of(3, 1)), KELP_OK);
    assert_int_equal(snapshot_try(d, s, kelp_pos_of(7, 1)), KELP_OK);
    store_close(s);
    fakedisk_cut(d, CUT_KEEPS_ALL);
    snap_bytes(d, 7, NULL)[5000] ^= 1;
    struct fakedisk *reaches = fakedisk_copy(d);
    s = open_keeping(reaches, 2, &fault);
    assert_non_null(s);
    assert_int_equal(store_found(s)->snapshot.pos.index, 3);
    expect_objects(s);
    kit_expect(s, 9, 1);
    /* with the next one the damaged one goes, and the good one stays */
    assert_int_equal(snapshot_try(reaches, s, kelp_pos_of(8, 1)), KELP_OK);
    store_close(s);
    assert_non_null(snap_bytes(reaches, 3, NULL));
    assert_null(snap_bytes(reaches, 7, NULL));
    s = open_keeping(reaches, 2, &fault);
    assert_int_equal(store_found(s)->snapshot.pos.index, 8);
    store_close(s);
    fakedisk_free(reaches);

    snap_bytes(d, 7, NULL)[5000] ^= 1;
    s = open_keeping(d, 1, &fault); /* the one before is not to be kept */
    kit_compact(s, 1, 7);
    kit_idle(s);
    store_close(s);
    snap_bytes(d, 7, NULL)[5000] ^= 1;
    s = open_keeping(d, 2, &fault);
    assert_null(s);
    assert_int_equal(fault.error, KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "newest good snapshot ends at 3@1"));
    assert_non_null(strstr(fault.what, "add it again, empty"));
}

/* A snapshot from a peer is durable, the power goes before the log is reset to it, and it rots:
 * seed 56524 of the simulator. */
static void an_older_snapshot_serves_only_with_what_the_damaged_one_held(void **state)
{
    static const struct kelp_pos fetched[] = {{.index = 12, .term = {1}}, /* beyond the log */
                                              {.index = 7, .term = {2}}}; /* it contradicts it */
    struct kelp_fault fault = {0};
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 9, 1);
    store_close(s);
    s = open_keeping(*state, 2, &fault);
    assert_int_equal(snapshot_try(*state, s, kelp_pos_of(3, 1)), KELP_OK);
    store_close(s);
    fakedisk_cut(*state, CUT_KEEPS_ALL);
    for (size_t i = 0; i < sizeof fetched / sizeof *fetched; i++) {
        struct fakedisk *d = fakedisk_copy(*state);
        fault = (struct kelp_fault){0};
        s = open_keeping(d, 2, &fault);
        assert_int_equal(snapshot_try(d, s, fetched[i]), KELP_OK);
        store_close(s);
        fakedisk_cut(d, CUT_KEEPS_ALL);
        char name[64];
        (void)snprintf(name, sizeof name, "snap/%020u-%020u.snap", (unsigned)fetched[i].index,
                       (unsigned)fetched[i].term.v);
        struct fakedisk *whole = fakedisk_copy(d);
        fakedisk_bytes(d, name, NULL)[5000] ^= 1;
        s = open_keeping(d, 2, &fault);
        assert_null(s);
        assert_int_equal(fault.error, KELP_E_CORRUPT);
        assert_int_equal(fault.index, fetched[i].index);
        assert_non_null(strstr(fault.what, "add it again, empty"));
        s = open_keeping(d, 2, &fault); /* and it stays so */
        assert_null(s);
        s = open_keeping(whole, 2, &fault); /* the damaged one was put back from a copy */
        assert_non_null(s);
        assert_int_equal(store_found(s)->snapshot.pos.index, fetched[i].index);
        store_close(s);
        fakedisk_free(whole);
        fakedisk_free(d);
    }
}

/* Five entries a segment: the segments between the two must stay, those below the older one go. */
static void the_log_stays_for_the_oldest_snapshot_that_is_kept(void **state)
{
    struct fakedisk *d = *state;
    struct kelp_fault fault = {0};
    struct store_stats stats;
    struct store *s = kit_start(d);
    for (uint64_t i = 1; i <= 32; i++)
        kit_append(s, i, i, i, 1);
    store_close(s);
    s = open_keeping(d, 3, &fault);
    for (kelp_index i = 7; i <= 27; i += 10) {
        assert_int_equal(snapshot_try(d, s, kelp_pos_of(i, 1)), KELP_OK);
        kit_compact(s, i, i + 1);
    }
    kit_idle(s);
    store_stats(s, &stats);
    assert_int_equal(stats.segments, 6); /* with 6..10 the first; the tail is the seventh */
    store_close(s);
    fakedisk_cut(d, CUT_KEEPS_ALL);
    for (kelp_index i = 27; i > 7; i -= 10) {
        snap_bytes(d, i, NULL)[5000] ^= 1;
        s = open_keeping(d, 3, &fault);
        if (s == NULL) fail_msg("%s", fault.what);
        assert_int_equal(store_found(s)->snapshot.pos.index, i - 10);
        expect_objects(s);
        store_stats(s, &stats);
        assert_int_equal(stats.snapshot_count, 3);
        for (unsigned row = 0; row < 3; row++) { /* one above it was read, and nothing below it */
            assert_int_equal(stats.snapshots[row].damaged, stats.snapshots[row].pos.index >= i);
            assert_int_equal(stats.snapshots[row].unread, stats.snapshots[row].pos.index < i - 10);
        }
        assert_int_equal(store_found(s)->last, 32);
        assert_int_equal(kit_read(s, 32, 100), 1);
        store_close(s);
    }
    s = open_keeping(d, 3, &fault);
    kit_compact(s, 100, 28); /* what is damaged is not counted */
    kit_idle(s);
    store_close(s);
    s = open_keeping(d, 3, &fault);
    assert_non_null(s);
    store_close(s);
}

static void no_room_for_a_piece_leaves_all_as_it_was(void **state)
{
    struct fakedisk *d = *state;
    struct store *s = kit_start(d);
    kit_append(s, 1, 1, 9, 1);
    assert_int_equal(snapshot_try(d, s, kelp_pos_of(3, 1)), KELP_OK);
    fakedisk_capacity(d, 1);
    assert_int_equal(snapshot_try(d, s, kelp_pos_of(7, 1)), KELP_E_NO_SPACE);
    fakedisk_capacity(d, 0);
    assert_false(store_failed(s));
    expect_objects(s);
    assert_int_equal(snapshot_try(d, s, kelp_pos_of(7, 1)), KELP_OK);
    expect_objects(s);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(objects_are_read_back_in_order),
        TEST(a_head_without_its_objects_is_refused),
        TEST(a_cut_anywhere_leaves_the_one_before_or_the_new_one),
        TEST(a_flipped_bit_anywhere_falls_back_on_the_one_before),
        TEST(as_many_snapshots_stay_as_are_to_be_kept),
        TEST(what_may_show_a_wrong_state_is_forgotten),
        TEST(an_older_snapshot_serves_only_if_the_log_reaches_it),
        TEST(an_older_snapshot_serves_only_with_what_the_damaged_one_held),
        TEST(the_log_stays_for_the_oldest_snapshot_that_is_kept),
        TEST(no_room_for_a_piece_leaves_all_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
