/* SPDX-License-Identifier: Apache-2.0 */
/* saver_test.c - the log's owner with a real store in a directory of its own. */
#include "node/stage.h"

#include <stdatomic.h>

#include "base/fault.h"
#include "node/room.h"
#include "wire/entry.h"

#define LATE_NS     (20 * SECOND)
#define ENTRIES_MAX 600u

struct ended_read {
    uint64_t tag;
    enum kelp_error error;
    struct kelp_pos before;
    kelp_index first, last;
    size_t len;
    uint8_t bytes[4096];
};

static char directory[64];
static uv_loop_t loop;
static uv_timer_t tick;
static struct disk disk;
static struct file_ops failing_ops;
static enum kelp_error (*good_sync)(void *disk, struct file *file, struct kelp_fault *fault);
static enum kelp_error (*good_write)(void *disk, struct file *file, uint64_t offset,
                                     const struct kelp_bytes *parts, size_t count,
                                     struct kelp_fault *fault);
static atomic_bool sync_fails, full;
static struct store *store;
static struct saver *saver;
static struct node_histograms measured;
static uint8_t entries[ENTRIES_MAX][128];
static size_t entry_bytes;
static uint64_t next_number;

/* what was reported */
static uint64_t saved, saved_calls, pledged, faults, stopped;
static kelp_index snapshot_index;
static enum kelp_error snapshot_error;
static struct ended_read last_read;
static struct kelp_fault last_fault;
static enum kelp_space space;
static uint32_t room_mib;

static void on_saved(void *ctx, uint32_t group, uint64_t number)
{
    (void)ctx, (void)group;
    assert_true(number > saved); /* in order */
    saved = number;
    saved_calls++;
}

static void on_read(void *ctx, uint32_t group, uint64_t tag, enum kelp_error error,
                    struct kelp_pos before, kelp_index first, kelp_index last,
                    struct kelp_bytes bytes)
{
    (void)ctx, (void)group;
    last_read = (struct ended_read){tag, error, before, first, last, bytes.len, {0}};
    assert_true(bytes.len <= sizeof last_read.bytes);
    if (bytes.len > 0) memcpy(last_read.bytes, bytes.data, bytes.len);
}

static void on_snapshot(void *ctx, uint32_t group, kelp_index index, enum kelp_error error)
{
    (void)ctx, (void)group;
    snapshot_index = index;
    snapshot_error = error;
}

static void on_pledged(void *ctx, uint32_t group)
{
    (void)ctx, (void)group;
    pledged++;
}

static void on_fault(void *ctx, uint32_t group, const struct kelp_fault *fault)
{
    (void)ctx, (void)group;
    faults++;
    last_fault = *fault;
}

static void on_space(void *ctx, uint32_t group, uint32_t mib, enum kelp_space level)
{
    (void)ctx, (void)group;
    room_mib = mib;
    space = level;
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

static uint64_t bits(void *ctx)
{
    static uint64_t state = 1;
    (void)ctx;
    return state = state * 0x9e3779b97f4a7c15u + 12345;
}

static enum kelp_error sync_or_fail(void *state, struct file *file, struct kelp_fault *fault)
{
    if (!atomic_load(&sync_fails)) return good_sync(state, file, fault);
    return fault_set(fault, KELP_E_IO, "log", "this sync fails");
}

/* A full disk: what claims new blocks fails, and that is what begins with zeros. */
static enum kelp_error write_or_refuse(void *state, struct file *file, uint64_t offset,
                                       const struct kelp_bytes *parts, size_t count,
                                       struct kelp_fault *fault)
{
    bool claims =
        atomic_load(&full) && parts[0].len >= 4 && memcmp(parts[0].data, "\0\0\0", 4) == 0;
    if (!claims) return good_write(state, file, offset, parts, count, fault);
    return fault_set(fault, KELP_E_NO_SPACE, "log", "this disk is full");
}

static enum kelp_error space_or_none(void *state, uint64_t *free_bytes, struct kelp_fault *fault)
{
    (void)state, (void)fault;
    *free_bytes = atomic_load(&full) ? 0 : (uint64_t)1 << 40;
    return KELP_OK;
}

static void store_begin(void)
{
    struct kelp_fault fault = {.error = KELP_OK};
    struct store_options options = {.node = 1,
                                    .segment_bytes = 64 * 4096,
                                    .spares_max = 2,
                                    .zero_piece_bytes = 64 * 1024,
                                    .random = bits};
    assert_int_equal(posix_disk(directory, &disk, &fault), KELP_OK);
    failing_ops = *disk.ops;
    good_sync = disk.ops->sync;
    failing_ops.sync = sync_or_fail;
    good_write = disk.ops->write;
    failing_ops.write = write_or_refuse;
    failing_ops.space = space_or_none;
    disk.ops = &failing_ops;
    if (store_open(disk, &options, &store, &fault) != KELP_OK) fail_msg("%s", fault.what);
}

static int stage_make(void **state)
{
    (void)state;
    stage_directory(directory);
    saved = saved_calls = pledged = faults = stopped = next_number = 0;
    sync_fails = full = false;
    space = KELP_SPACE_OK;
    memset(&measured, 0, sizeof measured);
    memset(&last_read, 0, sizeof last_read);
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 20, 20);
    store_begin();
    struct kelp_store_done done = {sizeof done, NULL,     on_saved, on_read, on_snapshot,
                                   on_pledged,  on_fault, on_space, NULL,    NULL};
    saver = saver_new(&loop, store, disk, &done, &measured);
    assert_non_null(saver);
    return 0;
}

static void start(void)
{
    struct kelp_fault fault = {.error = KELP_OK};
    assert_int_equal(saver_start(saver, &fault), KELP_OK);
}

static void stop(void)
{
    saver_stop(saver, on_stopped, NULL);
    WAIT(stopped == 1);
}

static int stage_unmake(void **state)
{
    (void)state;
    if (stopped == 0) stop();
    saver_free(saver);
    store_close(store);
    posix_disk_close(&disk);
    uv_close((uv_handle_t *)&tick, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    stage_remove(directory);
    return 0;
}

static void save(kelp_index index)
{
    struct wire_entry e = {.pos = kelp_pos_of(index, 1), .type = KELP_ENTRY_COMMAND};
    e.payload = bytes_of("sixteen bytes...", 16);
    entry_bytes = wire_entry_size(&e);
    assert_true(entry_bytes <= sizeof entries[0]);
    wire_entry_encode(&e, entries[index]);
    struct kelp_save s = {.number = ++next_number, .flags = KELP_SAVE_APPEND, .term = {1}};
    if (next_number == 1) s.flags |= KELP_SAVE_VOTE;
    s.first = s.last = index;
    struct kelp_bytes part = bytes_of(entries[index], entry_bytes);
    saver_store_ops.save(saver, 0, &s, &part, 1);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void saves_that_wait_together_are_one_write(void **state)
{
    (void)state;
    struct saver_figures figures;
    struct store_stats before;
    store_stats(store, &before);
    for (kelp_index i = 1; i <= 100; i++)
        save(i); /* nobody works yet */
    saver_figures(saver, &figures);
    assert_int_equal(figures.queued_jobs, 100);
    start();
    WAIT(saved == 100);
    stop();
    saver_figures(saver, &figures);
    assert_int_equal(figures.store.writes - before.writes, 1);
    assert_int_equal(figures.queued_jobs, 0);
    assert_int_equal(figures.queued_bytes, 0);
    assert_int_equal(measured.sync_ns.count, 1);
    assert_int_equal(measured.append_ns.count, 100);
}

static void a_read_sees_every_save_given_before_it(void **state)
{
    (void)state;
    start();
    for (kelp_index i = 1; i <= 10; i++)
        save(i);
    saver_store_ops.read(saver, 0, 77, 4, 3, 100000);
    WAIT(last_read.tag == 77);
    assert_int_equal(last_read.error, KELP_OK);
    assert_int_equal(last_read.last, 6);
    assert_int_equal(last_read.before.index, 3);
    assert_int_equal(last_read.len, 3 * entry_bytes);
    assert_memory_equal(last_read.bytes, entries[4], entry_bytes);
    assert_int_equal(saved, 10); /* reported in the order given */
    saver_store_ops.read(saver, 0, 78, 40, 3, 100000);
    WAIT(last_read.tag == 78);
    assert_int_equal(last_read.error, KELP_E_NOT_FOUND);
    assert_int_equal(faults, 0); /* that is an answer, not a broken disk */
}

static void a_pledge_is_reported_when_it_is_durable(void **state)
{
    (void)state;
    start();
    saver_store_ops.pledge(saver, 0, (struct kelp_cluster_id){7, 8}, 0);
    WAIT(pledged == 1);
    assert_int_equal(store_found(store)->identity.cluster.hi, 7);
}

static void stopping_finishes_what_is_queued(void **state)
{
    (void)state;
    start();
    for (kelp_index i = 1; i <= 500; i++)
        save(i);
    stop();
    assert_int_equal(saved, 500);
}

static void a_failed_sync_faults_once_and_nothing_is_saved_after_it(void **state)
{
    (void)state;
    start();
    save(1);
    WAIT(saved == 1);
    sync_fails = true;
    save(2);
    WAIT(faults == 1);
    assert_non_null(strstr(last_fault.what, "this sync fails"));
    sync_fails = false; /* a later success clears nothing */
    save(3);
    saver_store_ops.read(saver, 0, 5, 1, 1, 1000);
    saver_store_ops.snapshot(saver, 0, kelp_pos_of(1, 1), bytes_of("x", 1));
    WAIT(snapshot_index == 1);
    assert_int_equal(last_read.tag, 5);
    assert_int_equal(last_read.error, KELP_E_IO);
    assert_int_not_equal(snapshot_error, KELP_OK);
    stop();
    assert_int_equal(saved, 1);
    assert_int_equal(faults, 1);
}

static void spares_are_made_while_nothing_waits(void **state)
{
    (void)state;
    struct saver_figures figures = {.disk_free_bytes = 0};
    start();
    WAIT((saver_figures(saver, &figures), figures.store.spares_ready == 2));
    assert_true(figures.disk_free_bytes > 0);
}

static void a_full_disk_is_told_and_holds_saves_until_there_is_room(void **state)
{
    (void)state;
    full = true;
    save(1);
    saver_store_ops.read(saver, 0, 9, 1, 1, 100000); /* stays behind the save */
    start();
    WAIT(space == KELP_SPACE_NONE);
    assert_int_equal(room_mib, 1);
    struct saver_figures figures = {.disk_free_bytes = 0};
    WAIT((saver_figures(saver, &figures), figures.store.no_room >= 3)); /* tried again */
    assert_int_equal(saved, 0);
    assert_int_equal(last_read.tag, 0);
    assert_int_equal(faults, 0);
    full = false;
    WAIT(saved == 1 && last_read.tag == 9);
    assert_int_equal(last_read.error, KELP_OK);
    WAIT(space == KELP_SPACE_OK);
    assert_true(room_mib > 1000);
    assert_int_equal(faults, 0);
}

/* One entry that fills the better part of a segment, or more than one. */
static void save_large(kelp_index index, size_t payload)
{
    static uint8_t large[4][400 * 1024];
    assert_true(index < 4 + 1 && payload < sizeof large[0] - 256);
    uint8_t *room = large[index - 1];
    struct wire_entry e = {.pos = kelp_pos_of(index, 1), .type = KELP_ENTRY_COMMAND};
    e.payload = bytes_of(room + 128, payload); /* zeros, and where they are encoded to */
    size_t len = wire_entry_size(&e);
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    wire_entry_encode(&e, bytes);
    memcpy(room, bytes, len);
    free(bytes);
    struct kelp_save s = {.number = ++next_number, .flags = KELP_SAVE_APPEND, .term = {1}};
    if (next_number == 1) s.flags |= KELP_SAVE_VOTE;
    s.first = s.last = index;
    struct kelp_bytes part = bytes_of(room, len);
    saver_store_ops.save(saver, 0, &s, &part, 1);
}

static void give_snapshot(kelp_index index)
{
    static uint8_t bytes[WIRE_SNAPHEAD_BYTES_MAX];
    struct wire_snaphead *head = calloc(1, sizeof *head);
    assert_non_null(head);
    head->pos = kelp_pos_of(index, 1);
    head->config.config = (struct kelp_config){.index = 1, .id_highest = 1, .count = 1};
    head->config.config.members[0] = (struct kelp_member){.id = 1, .role = KELP_VOTER};
    (void)snprintf(head->config.peer[0].text, WIRE_ADDRESS_MAX, "127.0.0.1:7101");
    size_t len = wire_snaphead_encode(head, bytes, sizeof bytes);
    assert_true(len > 0);
    free(head);
    saver_store_ops.snapshot(saver, 0, kelp_pos_of(index, 1), bytes_of(bytes, len));
}

/* A snapshot's bytes lie on the disk already; what ends it, and what it lets go, must not wait
 * behind the save that they keep out. */
static void what_makes_room_goes_past_saves_that_found_none(void **state)
{
    (void)state;
    struct saver_figures figures = {.disk_free_bytes = 0};
    start();
    for (kelp_index i = 1; i <= 3; i++) {
        save_large(i, 200 * 1024);
        WAIT(saved == i);
    }
    full = true;
    save_large(4, 300 * 1024); /* no spare is large enough */
    saver_store_ops.read(saver, 0, 9, 1, 1, 100000);
    give_snapshot(3);
    WAIT(snapshot_index == 3);
    assert_int_equal(snapshot_error, KELP_OK);
    struct kelp_save compact = {
        .number = ++next_number, .flags = KELP_SAVE_COMPACT, .term = {1}, .keep = 4};
    saver_store_ops.save(saver, 0, &compact, NULL, 0);
    WAIT((saver_figures(saver, &figures), figures.store.segments == 1));
    assert_int_equal(saved, 3);
    assert_int_equal(last_read.tag, 0);
    full = false;
    WAIT(saved == 5);
    assert_int_equal(faults, 0);
}

/* The few bytes that free the whole log do not wait behind entries that they make void. */
static void a_reset_goes_past_saves_that_found_no_room(void **state)
{
    (void)state;
    struct saver_figures figures = {.disk_free_bytes = 0};
    start();
    save_large(1, 200 * 1024);
    WAIT(saved == 1);
    save(2);
    WAIT(saved == 2);
    full = true;
    save_large(3, 300 * 1024); /* no spare is large enough */
    WAIT((saver_figures(saver, &figures), figures.store.no_room >= 1));
    saver_store_ops.read(saver, 0, 9, 3, 1, 100000);
    give_snapshot(40);
    WAIT(snapshot_index == 40);
    assert_int_equal(snapshot_error, KELP_OK);
    assert_int_equal(saved, 2);
    struct kelp_save reset = {.number = ++next_number,
                              .flags = KELP_SAVE_RESET,
                              .term = {1},
                              .end = kelp_pos_of(40, 1),
                              .commit = 40};
    saver_store_ops.save(saver, 0, &reset, NULL, 0);
    WAIT(saved == 4 && last_read.tag == 9);
    assert_int_equal(last_read.error, KELP_E_GONE);
    assert_true(full);
    assert_int_equal(faults, 0);
    full = false;
}

static void stopping_gives_up_saves_that_found_no_room(void **state)
{
    (void)state;
    full = true;
    save(1);
    start();
    WAIT(space == KELP_SPACE_NONE);
    stop();
    assert_int_equal(saved, 0);
    assert_int_equal(faults, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_make, stage_unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(saves_that_wait_together_are_one_write),
        TEST(a_read_sees_every_save_given_before_it),
        TEST(a_pledge_is_reported_when_it_is_durable),
        TEST(stopping_finishes_what_is_queued),
        TEST(a_failed_sync_faults_once_and_nothing_is_saved_after_it),
        TEST(a_full_disk_is_told_and_holds_saves_until_there_is_room),
        TEST(what_makes_room_goes_past_saves_that_found_none),
        TEST(a_reset_goes_past_saves_that_found_no_room),
        TEST(stopping_gives_up_saves_that_found_no_room),
        TEST(spares_are_made_while_nothing_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
