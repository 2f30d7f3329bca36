/* SPDX-License-Identifier: Apache-2.0 */
/* keeper_test.c - pieces of snapshots on libuv's threads: written beside the log, and read back for
 * peers and machines, with a real directory. */
#include "node/stage.h"

#include <fcntl.h>

#include "base/bytes.h"
#include "node/room.h"
#include "wire/snapchunk.h"
#include "wire/snaphead.h"

#define LATE_NS (20 * SECOND)
#define OBJECT  2000u
#define CHUNK   (WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD + OBJECT)

static char directory[64];
static uv_loop_t loop;
static uv_timer_t tick;
static struct keeper *keeper;
static unsigned written, came, faults, stopped;
static enum kelp_error write_error, read_error;
static uint64_t size_said;
static uint8_t bytes_read[8192];
static size_t len_read;

static void on_piece(void *ctx, uint32_t group, enum kelp_error error)
{
    (void)ctx;
    assert_int_equal(group, 7);
    written++;
    write_error = error;
}

static void on_fetched(void *ctx, uint32_t group, enum kelp_error error, uint64_t size,
                       struct kelp_bytes bytes)
{
    (void)ctx;
    assert_int_equal(group, 7);
    assert_int_equal(stopped, 0);
    came++;
    read_error = error;
    size_said = size;
    len_read = bytes.len;
    assert_true(bytes.len <= sizeof bytes_read);
    if (bytes.len > 0) memcpy(bytes_read, bytes.data, bytes.len);
}

static void on_fault(void *ctx, uint32_t group, const struct kelp_fault *fault)
{
    (void)ctx, (void)group, (void)fault;
    faults++;
}

static void on_note(void *ctx, int level, const char *line)
{
    (void)ctx, (void)level, (void)line;
}

static void on_stopped(void *ctx)
{
    (void)ctx;
    stopped++;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

#define WAIT(condition)                                                                            \
    do {                                                                                           \
        uint64_t since = uv_hrtime();                                                              \
        while (!(condition)) {                                                                     \
            (void)uv_run(&loop, UV_RUN_ONCE);                                                      \
            if (uv_hrtime() - since > LATE_NS) fail_msg("never: %s", #condition);                  \
        }                                                                                          \
    } while (0)

static int stage_make(void **state)
{
    (void)state;
    char path[80];
    stage_directory(directory);
    (void)snprintf(path, sizeof path, "%s/snap", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    written = came = faults = stopped = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 20, 20);
    struct kelp_store_done done = {
        .size = sizeof done, .fault = on_fault, .piece = on_piece, .fetched = on_fetched};
    struct kelp_fault fault = {.error = KELP_OK};
    keeper = keeper_new(&loop, directory, &done, on_note, &fault);
    assert_non_null(keeper);
    return 0;
}

static int stage_unmake(void **state)
{
    (void)state;
    if (stopped == 0) keeper_stop(keeper, on_stopped, NULL);
    WAIT(stopped == 1);
    keeper_free(keeper);
    uv_close((uv_handle_t *)&tick, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    stage_remove(directory);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_make, stage_unmake)

static void chunk_make(uint8_t out[CHUNK], struct kelp_pos pos, unsigned number)
{
    wire_object_head(out + WIRE_SNAPCHUNK_HEAD, WIRE_OBJECT_MACHINE, OBJECT);
    memset(out + CHUNK - OBJECT, (int)(number + 1), OBJECT);
    struct wire_snapplace place = {.pos = pos, .offset = number * (uint64_t)CHUNK};
    wire_snapchunk_seal(out, CHUNK, 1, place);
}

static size_t head_make(uint8_t *out, struct kelp_pos pos, unsigned chunks)
{
    struct wire_snaphead *head = calloc(1, sizeof *head);
    assert_non_null(head);
    head->pos = pos;
    head->object_count = chunks;
    head->object_bytes = chunks * (uint64_t)CHUNK;
    head->config.config = (struct kelp_config){.index = 1, .id_highest = 1, .count = 1};
    head->config.config.members[0] = (struct kelp_member){.id = 1, .role = KELP_VOTER};
    (void)snprintf(head->config.peer[0].text, WIRE_ADDRESS_MAX, "127.0.0.1:7101");
    size_t len = wire_snaphead_encode(head, out, WIRE_SNAPHEAD_BYTES_MAX);
    free(head);
    assert_true(len > 0);
    return len;
}

static void path_of(char out[160], struct kelp_pos pos)
{
    (void)snprintf(out, 160, "%s/snap/%020llu-%020llu.snap", directory,
                   (unsigned long long)pos.index, (unsigned long long)pos.term.v);
}

/* The pieces by the keeper; head and name, which are the log owner's, by hand. */
static size_t snapshot_make(struct kelp_pos pos, unsigned chunks)
{
    static uint8_t head[WIRE_SNAPHEAD_BYTES_MAX], chunk[CHUNK];
    size_t head_len = head_make(head, pos, chunks);
    for (unsigned i = 0; i < chunks; i++) {
        unsigned before = written;
        chunk_make(chunk, pos, i);
        keeper_piece(keeper, 7, head_len + i * (uint64_t)CHUNK, bytes_of(chunk, CHUNK),
                     i + 1 == chunks);
        WAIT(written > before);
        assert_int_equal(write_error, KELP_OK);
    }
    char path[160], temporary[160];
    (void)snprintf(temporary, sizeof temporary, "%s/snap/new.tmp", directory);
    int fd = open(temporary, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, head, head_len, 0), (ssize_t)head_len);
    assert_int_equal(close(fd), 0);
    path_of(path, pos);
    assert_int_equal(rename(temporary, path), 0);
    return head_len;
}

static enum kelp_error fetch(struct kelp_pos pos, uint64_t offset)
{
    unsigned before = came;
    keeper_fetch(keeper, 7, pos, offset);
    assert_int_equal(came, before); /* never from inside the call, if there is memory */
    WAIT(came > before);
    return read_error;
}

static void a_snapshot_is_read_piece_by_piece(void **state)
{
    (void)state;
    struct kelp_pos pos = kelp_pos_of(40, 3);
    uint8_t expected[CHUNK];
    size_t head_len = snapshot_make(pos, 3);
    assert_int_equal(fetch(pos, 0), KELP_OK);
    assert_int_equal(len_read, head_len);
    assert_int_equal(size_said, head_len + 3 * CHUNK);
    for (unsigned i = 3; i > 0; i--) { /* in any order */
        assert_int_equal(fetch(pos, head_len + (i - 1) * (uint64_t)CHUNK), KELP_OK);
        assert_int_equal(len_read, CHUNK);
        assert_int_equal(size_said, head_len + 3 * CHUNK);
        memset(expected, 0, sizeof expected);
        chunk_make(expected, pos, i - 1);
        assert_memory_equal(bytes_read, expected, CHUNK);
    }
    assert_int_equal(faults, 0);
}

static void what_is_not_there_is_said_and_nothing_faults(void **state)
{
    (void)state;
    struct kelp_pos pos = kelp_pos_of(40, 3);
    assert_int_equal(fetch(pos, 0), KELP_E_NOT_FOUND);
    assert_int_equal(len_read, 0);
    size_t head_len = snapshot_make(pos, 2);
    assert_int_equal(fetch(kelp_pos_of(40, 4), 0), KELP_E_NOT_FOUND);
    assert_int_equal(fetch(pos, head_len + 2 * CHUNK), KELP_E_ARGUMENT);
    assert_int_equal(fetch(pos, 1), KELP_E_ARGUMENT);
    assert_int_equal(fetch(pos, UINT64_MAX), KELP_E_ARGUMENT);
    assert_int_equal(fetch(pos, head_len + 1), KELP_E_CORRUPT); /* nothing whole begins there */
    assert_int_equal(fetch(pos, head_len), KELP_OK);
    assert_int_equal(faults, 0);
}

static void a_damaged_piece_is_never_given(void **state)
{
    (void)state;
    struct kelp_pos pos = kelp_pos_of(40, 3);
    char path[160];
    size_t head_len = snapshot_make(pos, 2);
    path_of(path, pos);
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;
    off_t at = (off_t)(head_len + CHUNK + CHUNK / 2);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(fetch(pos, head_len), KELP_OK);
    assert_int_equal(fetch(pos, head_len + CHUNK), KELP_E_CORRUPT);
    assert_int_equal(len_read, 0);
    assert_int_equal(ftruncate(fd, (off_t)(head_len + CHUNK + 5)), 0);
    assert_int_equal(fetch(pos, head_len + CHUNK), KELP_E_CORRUPT);
    assert_int_equal(close(fd), 0);
    assert_int_equal(faults, 0); /* the log is as good as before */
}

static void one_that_was_removed_is_read_to_its_end(void **state)
{
    (void)state;
    struct kelp_pos old = kelp_pos_of(40, 3), young = kelp_pos_of(90, 3);
    char path[160];
    size_t head_len = snapshot_make(old, 2);
    assert_int_equal(fetch(old, 0), KELP_OK);
    size_t young_len = snapshot_make(young, 1);
    path_of(path, old);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fetch(young, 0), KELP_OK); /* two stay open */
    assert_int_equal(fetch(young, young_len), KELP_OK);
    assert_int_equal(fetch(old, head_len), KELP_OK);
    assert_int_equal(fetch(old, head_len + CHUNK), KELP_OK);
    struct kelp_pos third = kelp_pos_of(95, 3);
    (void)snapshot_make(third, 1);
    assert_int_equal(fetch(young, 0), KELP_OK);
    assert_int_equal(fetch(third, 0), KELP_OK); /* in the place of what was read longest ago */
    assert_int_equal(fetch(old, 0), KELP_E_NOT_FOUND);
}

static void pieces_are_read_and_written_at_the_same_time(void **state)
{
    (void)state;
    struct kelp_pos pos = kelp_pos_of(40, 3);
    static uint8_t chunk[CHUNK];
    size_t head_len = snapshot_make(pos, 2);
    unsigned before = came, piece = written;
    chunk_make(chunk, kelp_pos_of(90, 3), 0);
    keeper_piece(keeper, 7, head_len, bytes_of(chunk, CHUNK), true);
    keeper_fetch(keeper, 7, pos, head_len);
    WAIT(came > before && written > piece);
    assert_int_equal(read_error, KELP_OK);
    assert_int_equal(write_error, KELP_OK);
    keeper_drop(keeper, 7);
    keeper_fetch(keeper, 7, pos, 0);
    WAIT(came > before + 1 && written > piece + 1);
    assert_int_equal(read_error, KELP_OK);
}

static void a_keeper_stops_once_both_of_its_works_have_ended(void **state)
{
    (void)state;
    struct kelp_pos pos = kelp_pos_of(40, 3);
    static uint8_t chunk[CHUNK];
    size_t head_len = snapshot_make(pos, 2);
    unsigned before = came, piece = written;
    chunk_make(chunk, kelp_pos_of(90, 3), 0);
    keeper_piece(keeper, 7, head_len, bytes_of(chunk, CHUNK), false);
    keeper_fetch(keeper, 7, pos, head_len);
    keeper_stop(keeper, on_stopped, NULL);
    assert_int_equal(stopped, 0);
    WAIT(stopped == 1);
    assert_int_equal(came, before); /* nothing is reported any more */
    assert_int_equal(written, piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_snapshot_is_read_piece_by_piece),
        TEST(what_is_not_there_is_said_and_nothing_faults),
        TEST(a_damaged_piece_is_never_given),
        TEST(one_that_was_removed_is_read_to_its_end),
        TEST(pieces_are_read_and_written_at_the_same_time),
        TEST(a_keeper_stops_once_both_of_its_works_have_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
