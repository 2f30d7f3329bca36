/* SPDX-License-Identifier: Apache-2.0 */
/* snapreader_test.c - snapshots read piece by piece, as peers are sent them: each piece verified,
 * damage told from absence, and what is open stays readable; and starts that find a snapshot which
 * was installed just before the log was reset to it. */
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

#define CHUNKS       4u
#define OBJECT_BYTES 900u
#define CHUNK_BYTES  (WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD + OBJECT_BYTES)

static uint8_t piece[WIRE_SNAPCHUNK_BYTES_MAX];
static size_t piece_len;
static uint64_t file_size;

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

static size_t head_make(struct kelp_pos pos, uint8_t *out)
{
    struct kelp_bytes plain = kit_head(pos);
    struct wire_snaphead *head = malloc(sizeof *head);
    size_t used;
    assert_non_null(head);
    assert_int_equal(wire_snaphead_decode(plain, head, &used, NULL), KELP_OK);
    head->object_count = CHUNKS;
    head->object_bytes = CHUNKS * CHUNK_BYTES;
    size_t len = wire_snaphead_encode(head, out, WIRE_SNAPHEAD_BYTES_MAX);
    free(head);
    free((void *)(uintptr_t)plain.data);
    return len;
}

/* A snapshot of CHUNKS chunks at pos, durable. Returns the length of its head. */
static size_t snapshot_make(struct fakedisk *d, struct store *s, struct kelp_pos pos)
{
    static uint8_t head[WIRE_SNAPHEAD_BYTES_MAX], chunk[CHUNK_BYTES];
    struct snapwriter w = {.disk = fakedisk_port(d)};
    struct kelp_fault fault = {0};
    size_t len = head_make(pos, head);
    for (unsigned i = 0; i < CHUNKS; i++) {
        uint64_t offset = (uint64_t)i * CHUNK_BYTES;
        wire_object_head(chunk + WIRE_SNAPCHUNK_HEAD, WIRE_OBJECT_MACHINE, OBJECT_BYTES);
        memset(chunk + WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD, (int)(i + pos.index), OBJECT_BYTES);
        wire_snapchunk_seal(chunk, sizeof chunk, 1,
                            (struct wire_snapplace){.pos = pos, .offset = offset});
        assert_int_equal(snapwriter_write(&w, len + offset, bytes_of(chunk, sizeof chunk),
                                          i == CHUNKS - 1, &fault),
                         KELP_OK);
    }
    snapwriter_close(&w);
    if (store_snapshot(s, pos, bytes_of(head, len), &fault) != KELP_OK)
        fail_msg("%s: %s", fault.where, fault.what);
    return len;
}

static void name_of(struct kelp_pos pos, char out[FILE_NAME_MAX])
{
    (void)snprintf(out, FILE_NAME_MAX, "snap/%020u-%020u.snap", (unsigned)pos.index,
                   (unsigned)pos.term.v);
}

static uint8_t *snap_bytes(struct fakedisk *d, struct kelp_pos pos, size_t *size)
{
    char name[FILE_NAME_MAX];
    name_of(pos, name);
    return fakedisk_bytes(d, name, size);
}

static enum kelp_error read_at(struct snapreader *r, struct kelp_pos pos, uint64_t offset)
{
    struct kelp_fault fault = {0};
    piece_len = 0;
    file_size = 0;
    return snapreader_read(r, pos, offset, piece, &piece_len, &file_size, &fault);
}

/* Everything there is, as a peer would ask for it: the file, byte for byte. */
static void expect_file(struct snapreader *r, struct kelp_pos pos, const uint8_t *file, size_t size)
{
    uint64_t offset = 0;
    unsigned pieces = 0;
    do {
        assert_int_equal(read_at(r, pos, offset), KELP_OK);
        assert_int_equal(file_size, size);
        assert_true(piece_len > 0 && offset + piece_len <= size);
        assert_memory_equal(piece, file + offset, piece_len);
        offset += piece_len;
        pieces++;
    } while (offset < size);
    assert_int_equal(pieces, 1 + CHUNKS);
}

static struct store *start_with(struct fakedisk *d, struct kelp_pos pos, size_t *head_len)
{
    struct store *s = kit_start(d);
    kit_append(s, 1, 1, 9, 1);
    *head_len = snapshot_make(d, s, pos);
    return s;
}

static void the_head_and_each_chunk_are_read_in_pieces(void **state)
{
    struct kelp_pos pos = kelp_pos_of(7, 1);
    size_t head_len, size = 0;
    struct store *s = start_with(*state, pos, &head_len);
    struct snapreader r = {.disk = fakedisk_port(*state)};
    const uint8_t *file = snap_bytes(*state, pos, &size);
    assert_int_equal(size, head_len + CHUNKS * CHUNK_BYTES);
    expect_file(&r, pos, file, size);
    assert_int_equal(read_at(&r, pos, 0), KELP_OK);
    assert_int_equal(piece_len, head_len);
    assert_int_equal(read_at(&r, pos, head_len + 2 * CHUNK_BYTES), KELP_OK); /* in any order */
    assert_int_equal(piece_len, CHUNK_BYTES);
    snapreader_close(&r);
    expect_file(&r, pos, file, size); /* closed is as good as new */
    snapreader_close(&r);
    store_close(s);
}

static void nothing_begins_elsewhere(void **state)
{
    struct kelp_pos pos = kelp_pos_of(7, 1);
    size_t head_len;
    struct store *s = start_with(*state, pos, &head_len);
    struct snapreader r = {.disk = fakedisk_port(*state)};
    uint64_t size = head_len + CHUNKS * CHUNK_BYTES;
    assert_int_equal(read_at(&r, pos, 1), KELP_E_ARGUMENT);
    assert_int_equal(read_at(&r, pos, head_len - 1), KELP_E_ARGUMENT);
    assert_int_equal(read_at(&r, pos, size), KELP_E_ARGUMENT);
    assert_int_equal(read_at(&r, pos, size + 1), KELP_E_ARGUMENT);
    assert_int_equal(read_at(&r, pos, UINT64_MAX), KELP_E_ARGUMENT);
    for (uint64_t at = head_len + 1; at < size; at++) {
        if ((at - head_len) % CHUNK_BYTES == 0) continue;
        assert_int_not_equal(read_at(&r, pos, at), KELP_OK);
    }
    assert_int_equal(read_at(&r, pos, head_len), KELP_OK); /* and it was no harm */
    snapreader_close(&r);
    store_close(s);
}

static void what_is_not_there_is_told_so(void **state)
{
    size_t head_len;
    struct store *s = start_with(*state, kelp_pos_of(7, 1), &head_len);
    struct snapreader r = {.disk = fakedisk_port(*state)};
    assert_int_equal(read_at(&r, kelp_pos_of(6, 1), 0), KELP_E_NOT_FOUND);
    assert_int_equal(read_at(&r, kelp_pos_of(7, 2), 0), KELP_E_NOT_FOUND); /* of another term */
    assert_int_equal(read_at(&r, kelp_pos_of(8, 1), head_len), KELP_E_NOT_FOUND);
    snapreader_close(&r);
    store_close(s);
}

/* Each flipped bit spoils the piece it is in, and no other. */
static void a_damaged_piece_is_not_given(void **state)
{
    struct kelp_pos pos = kelp_pos_of(7, 1);
    size_t head_len, size = 0;
    struct store *s = start_with(*state, pos, &head_len);
    uint8_t *file = snap_bytes(*state, pos, &size);
    for (size_t at = 0; at < size; at += 61) {
        struct snapreader r = {.disk = fakedisk_port(*state)};
        file[at] ^= 4;
        enum kelp_error head = read_at(&r, pos, 0);
        assert_int_equal(head == KELP_OK, at >= head_len);
        for (unsigned i = 0; i < CHUNKS && head == KELP_OK; i++) {
            uint64_t begin = head_len + (uint64_t)i * CHUNK_BYTES;
            bool spoilt = at >= begin && at < begin + CHUNK_BYTES;
            enum kelp_error error = read_at(&r, pos, begin);
            assert_int_equal(error == KELP_OK, !spoilt);
            if (spoilt) assert_true(error == KELP_E_CORRUPT || error == KELP_E_VERSION);
        }
        if (head != KELP_OK) assert_int_equal(head, KELP_E_CORRUPT);
        snapreader_close(&r);
        file[at] ^= 4;
    }
    store_close(s);
}

/* It is looked at each time: a head that was good when it was opened may be damaged now. */
static void damage_that_comes_later_is_seen(void **state)
{
    struct kelp_pos pos = kelp_pos_of(7, 1);
    size_t head_len, size = 0;
    struct store *s = start_with(*state, pos, &head_len);
    struct snapreader r = {.disk = fakedisk_port(*state)};
    uint8_t *file = snap_bytes(*state, pos, &size);
    assert_int_equal(read_at(&r, pos, 0), KELP_OK);
    file[50] ^= 1;
    assert_int_equal(read_at(&r, pos, 0), KELP_E_CORRUPT);
    file[50] ^= 1;
    file[head_len + 100] ^= 1;
    assert_int_equal(read_at(&r, pos, head_len), KELP_E_CORRUPT);
    snapreader_close(&r);
    store_close(s);
}

static void a_file_that_was_cut_short_is_damaged(void **state)
{
    struct kelp_pos pos = kelp_pos_of(7, 1);
    size_t head_len;
    struct store *s = start_with(*state, pos, &head_len);
    struct snapreader r = {.disk = fakedisk_port(*state)};
    char name[FILE_NAME_MAX];
    name_of(pos, name);
    fakedisk_resize(*state, name, head_len + 3 * CHUNK_BYTES + 10);
    assert_int_equal(read_at(&r, pos, head_len + 2 * CHUNK_BYTES), KELP_OK);
    assert_int_equal(read_at(&r, pos, head_len + 3 * CHUNK_BYTES), KELP_E_CORRUPT);
    fakedisk_resize(*state, name, head_len - 8);
    snapreader_close(&r);
    assert_int_equal(read_at(&r, pos, 0), KELP_E_CORRUPT);
    snapreader_close(&r);
    store_close(s);
}

/* Under the name of another snapshot, as an operator's copy might be. */
static void a_file_under_another_name_is_damaged(void **state)
{
    struct kelp_pos pos = kelp_pos_of(7, 1), other = kelp_pos_of(8, 1);
    struct kelp_fault fault = {0};
    size_t head_len;
    char from[FILE_NAME_MAX], to[FILE_NAME_MAX];
    struct store *s = start_with(*state, pos, &head_len);
    struct disk disk = fakedisk_port(*state);
    name_of(pos, from);
    name_of(other, to);
    assert_int_equal(disk.ops->rename(disk.state, from, to, &fault), KELP_OK);
    struct snapreader r = {.disk = disk};
    assert_int_equal(read_at(&r, other, 0), KELP_E_CORRUPT);
    assert_int_equal(read_at(&r, other, head_len), KELP_E_CORRUPT);
    snapreader_close(&r);
    store_close(s);
}

/* A newer one takes its place, and the file goes: whoever is in the middle of it gets the rest. */
static void one_that_was_removed_is_readable_as_long_as_it_is_open(void **state)
{
    struct kelp_pos first = kelp_pos_of(3, 1), second = kelp_pos_of(7, 1);
    size_t head_len, size = 0;
    struct store *s = start_with(*state, first, &head_len);
    struct snapreader r = {.disk = fakedisk_port(*state)};
    const uint8_t *file = snap_bytes(*state, first, &size);
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, file, size);
    assert_int_equal(read_at(&r, first, 0), KELP_OK);
    (void)snapshot_make(*state, s, second);
    assert_null(snap_bytes(*state, first, NULL));
    expect_file(&r, first, copy, size);
    assert_int_equal(read_at(&r, kelp_pos_of(0, 0), 0), KELP_E_NOT_FOUND); /* nobody reads on */
    assert_int_equal(read_at(&r, first, 0), KELP_E_NOT_FOUND);
    assert_int_equal(read_at(&r, second, 0), KELP_OK);
    snapreader_close(&r);
    free(copy);
    store_close(s);
}

static void two_files_are_open_and_the_one_used_last_stays(void **state)
{
    struct fakedisk *d = *state;
    struct kelp_pos at[3] = {kelp_pos_of(3, 1), kelp_pos_of(5, 1), kelp_pos_of(7, 1)};
    struct kelp_fault fault = {0};
    struct store_options options = kit_options();
    struct store *s = kit_start(d);
    struct snapreader r = {.disk = fakedisk_port(d)};
    char name[FILE_NAME_MAX];
    kit_append(s, 1, 1, 9, 1);
    store_close(s);
    options.snapshots_kept = 3;
    assert_int_equal(store_open(fakedisk_port(d), &options, &s, &fault), KELP_OK);
    for (unsigned i = 0; i < 3; i++)
        (void)snapshot_make(d, s, at[i]);
    for (unsigned turn = 0; turn < CHUNKS; turn++) { /* two peers, piece by piece */
        for (unsigned i = 0; i < 2; i++) {
            size_t size = 0;
            const uint8_t *file = snap_bytes(d, at[i], &size);
            uint64_t offset = size - (CHUNKS - turn) * (uint64_t)CHUNK_BYTES;
            assert_int_equal(read_at(&r, at[i], offset), KELP_OK);
            assert_memory_equal(piece, file + offset, CHUNK_BYTES);
        }
    }
    assert_int_equal(read_at(&r, at[2], 0), KELP_OK); /* in the place of the first */
    for (unsigned i = 0; i < 2; i++) {
        name_of(at[i], name);
        assert_int_equal(r.disk.ops->remove(r.disk.state, name, &fault), KELP_OK);
    }
    assert_int_equal(read_at(&r, at[0], 0), KELP_E_NOT_FOUND);
    assert_int_equal(read_at(&r, at[1], 0), KELP_OK);
    assert_int_equal(read_at(&r, at[2], 0), KELP_OK);
    snapreader_close(&r);
    store_close(s);
}

/* ---- a start whose snapshot lies beyond the log ---- */

/* Durable under its name, and then the power went: the reset of the log and the term come after. */
static void a_start_begins_behind_what_was_installed(void **state)
{
    struct fakedisk *d = *state;
    struct kelp_pos pos = kelp_pos_of(50, 6);
    struct store *s = kit_start(d);
    kit_append(s, 1, 1, 9, 1);
    kit_vote(s, 2, 3, 2);
    (void)snapshot_make(d, s, pos);
    store_close(s);
    fakedisk_cut(d, CUT_LOSES_ALL);
    for (unsigned start = 0; start < 2; start++) {
        s = kit_open(d);
        const struct store_found *found = store_found(s);
        assert_int_equal(found->snapshot.pos.index, 50);
        assert_true(kelp_pos_equal(found->base, pos));
        assert_int_equal(found->last, 50);
        assert_int_equal(found->term.v, 6); /* no entry is of a later term than its log's */
        assert_int_equal(found->vote, 0);   /* the one of term 3 is worth nothing in term 6 */
        store_close(s);
    }
    s = kit_open(d);
    kit_append(s, 1, 51, 53, 6);
    store_close(s);
    s = kit_open(d);
    assert_int_equal(store_found(s)->last, 53);
    assert_int_equal(store_found(s)->term.v, 6);
    store_close(s);
}

static void a_vote_of_the_snapshot_s_term_or_a_later_one_stays(void **state)
{
    for (uint64_t term = 6; term <= 7; term++) {
        struct fakedisk *d = fakedisk_copy(*state);
        struct store *s = kit_start(d);
        kit_append(s, 1, 1, 9, 1);
        kit_vote(s, 2, term, 2);
        (void)snapshot_make(d, s, kelp_pos_of(50, 6));
        store_close(s);
        s = kit_open(d);
        assert_int_equal(store_found(s)->last, 50);
        assert_int_equal(store_found(s)->term.v, term);
        assert_int_equal(store_found(s)->vote, 2);
        store_close(s);
        fakedisk_free(d);
    }
}

/* Its last entry stands in the log: what follows was acknowledged, and stays. */
static void a_snapshot_inside_the_log_resets_nothing(void **state)
{
    size_t head_len;
    struct store *s = start_with(*state, kelp_pos_of(7, 1), &head_len);
    store_close(s);
    s = kit_open(*state);
    kit_expect(s, 9, 1);
    store_close(s);
}

/* The same index in another term: what is in the log there was never committed. */
static void a_log_with_another_entry_where_a_snapshot_ends_is_reset(void **state)
{
    struct fakedisk *d = *state;
    struct store *s = kit_start(d);
    kit_append(s, 1, 1, 9, 1);
    (void)snapshot_make(d, s, kelp_pos_of(7, 3));
    store_close(s);
    s = kit_open(d);
    assert_int_equal(store_found(s)->base.index, 7);
    assert_int_equal(store_found(s)->base.term.v, 3);
    assert_int_equal(store_found(s)->last, 7);
    assert_int_equal(store_found(s)->term.v, 3);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_head_and_each_chunk_are_read_in_pieces),
        TEST(nothing_begins_elsewhere),
        TEST(what_is_not_there_is_told_so),
        TEST(a_damaged_piece_is_not_given),
        TEST(damage_that_comes_later_is_seen),
        TEST(a_file_that_was_cut_short_is_damaged),
        TEST(a_file_under_another_name_is_damaged),
        TEST(one_that_was_removed_is_readable_as_long_as_it_is_open),
        TEST(two_files_are_open_and_the_one_used_last_stays),
        TEST(a_start_begins_behind_what_was_installed),
        TEST(a_vote_of_the_snapshot_s_term_or_a_later_one_stays),
        TEST(a_snapshot_inside_the_log_resets_nothing),
        TEST(a_log_with_another_entry_where_a_snapshot_ends_is_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
