/* SPDX-License-Identifier: Apache-2.0 */
/* seats.h - the stage of seats_test.c: a saver that runs its loop, on a disk and a clock that the
 * test commands.
 *
 * The clock of the saver stands still until a test moves it, and a sync ends when the test says so:
 * a sync is late exactly when the test calls it late, however slow the machine is. The loop is the
 * saver's; the test's own thread gives it work with on_loop and waits for what it sees. What a
 * callback finds wrong is kept in `wrong`, because cmocka fails only on the test's own thread. */
#ifndef TESTS_NODE_SEATS_H
#define TESTS_NODE_SEATS_H

#include "node/stage.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "base/fault.h"
#include "node/saver.h"
#include "wire/entry.h"

#define LATE_S      15
#define LEND        (2 * MILLISECOND) /* as in saver.c: longer than that a loop does not wait */
#define QUIET       (5 * MILLISECOND)
#define QUICK       16u /* quick saves that make up for whatever was slow before, as in logwork.c */
#define ENTRIES_MAX 1024u
#define SEGMENT     (128 * 4096u)
#define TOLD_MAX    1024u

static char directory[64];
static uv_loop_t loop;
static uv_timer_t tick;
static uv_async_t ask;
static uv_prepare_t prepare;
static struct disk disk;
static struct file_ops held_ops;
static enum kelp_error (*good_write)(void *disk, struct file *file, uint64_t offset,
                                     const struct kelp_bytes *parts, size_t count,
                                     struct kelp_fault *fault);
static struct store *store;
static struct saver *saver;
static struct node_histograms measured;
static uint8_t entries[ENTRIES_MAX][128];

static atomic_uint_fast64_t clock_ns; /* what the saver takes for the time */
static atomic_int threads_left;       /* so many more can be started */
static atomic_bool slow_to_go_on;
static atomic_uint inside;          /* threads in the disk */
static _Atomic(const char *) wrong; /* the first thing that did not hold, wherever */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
struct seen {
    uint64_t given, saved, saved_calls, pledged, reads_given, reads, snapshots, faults, stopped;
    bool stopping;
    uint64_t syncs, held, ticks, turns, turns_at_sync, turns_at_saved, turns_at_pledged, zeros,
        zeros_by_looper;
    pthread_t syncer, looper, ticker;
    enum kelp_error read_error;
    struct kelp_fault fault;
    enum kelp_space space;
    char told[TOLD_MAX + 1]; /* a letter for each thing that was told */
};
static struct seen seen;                       /* below the lock, like what follows */
static bool gate, sync_fails, full, look_held; /* gate: a sync does not end */
static atomic_uint_fast64_t slow_ns;           /* a sync takes that long */
static unsigned give_count;
static const char *give_kinds;
static void (*asked)(void);
static bool joined;  /* the saver's threads have left the loop */
static bool unclean; /* a stage was made and could not be removed */

/* ---- in the place of what a test cannot command ---------------------------------------------- */

uint64_t uv_hrtime(void)
{
    return atomic_load(&clock_ns);
}

int uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *arg)
{
    uv_thread_options_t options = {.flags = UV_THREAD_NO_FLAGS};
    if (atomic_fetch_sub(&threads_left, 1) <= 0) return UV_EAGAIN;
    return uv_thread_create_ex(thread, &options, entry, arg);
}

/* ---- what any thread may do ------------------------------------------------------------------ */

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        const char *none = NULL;                                                                   \
        if (!(condition)) (void)atomic_compare_exchange_strong(&wrong, &none, #condition);         \
    } while (0)

static void locked(void)
{
    (void)pthread_mutex_lock(&lock);
}

static void unlocked(void)
{
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static bool is_self(pthread_t thread)
{
    return pthread_equal(thread, pthread_self()) != 0;
}

static void pass(uint64_t ns)
{
    atomic_fetch_add(&clock_ns, ns);
}

/* With the lock: the log is where it should be, nothing is under way, nothing waits. */
static bool home(void)
{
    uv_mutex_lock(&saver->lock);
    bool is = saver->runs && !saver->apart && !saver->lent && STAILQ_EMPTY(&saver->queue);
    uv_mutex_unlock(&saver->lock);
    return is;
}

static bool apart(void)
{
    uv_mutex_lock(&saver->lock);
    bool is = saver->apart;
    uv_mutex_unlock(&saver->lock);
    return is;
}

static bool dozes(void)
{
    uv_mutex_lock(&saver->lock);
    bool is = saver->dozes && !saver->apart && !saver->work_due;
    uv_mutex_unlock(&saver->lock);
    return is;
}

static struct saver_figures figures(void)
{
    struct saver_figures out;
    saver_figures(saver, &out);
    return out;
}

/* A thread that is slow to go on after it has looked: the other one comes in between. */
void uv_mutex_unlock(uv_mutex_t *mutex)
{
    (void)pthread_mutex_unlock(mutex);
    if (!atomic_exchange(&slow_to_go_on, false)) return;
    pass(QUIET);
    while (!apart())
        (void)sched_yield();
}

/* ---- a disk ---------------------------------------------------------------------------------- */

static enum kelp_error sync_held(void *state, struct file *file, struct kelp_fault *fault)
{
    (void)state, (void)file;
    HOLDS(atomic_fetch_add(&inside, 1) == 0);
    locked();
    seen.syncs++;
    seen.syncer = pthread_self();
    seen.turns_at_sync = seen.turns;
    if (gate) {
        seen.held++;
        (void)pthread_cond_broadcast(&changed);
        while (gate)
            (void)pthread_cond_wait(&changed, &lock);
    }
    pass(slow_ns);
    bool fails = sync_fails;
    unlocked();
    HOLDS(atomic_fetch_sub(&inside, 1) == 1);
    return fails ? fault_set(fault, KELP_E_IO, "log", "this sync fails") : KELP_OK;
}

static enum kelp_error write_seen(void *state, struct file *file, uint64_t offset,
                                  const struct kelp_bytes *parts, size_t count,
                                  struct kelp_fault *fault)
{
    bool claims = parts[0].len >= 4 && memcmp(parts[0].data, "\0\0\0", 4) == 0;
    HOLDS(atomic_fetch_add(&inside, 1) == 0);
    locked();
    bool refused = full && claims;
    seen.zeros += claims;
    seen.zeros_by_looper += claims && seen.turns > 0 && is_self(seen.looper);
    unlocked();
    enum kelp_error error = refused ? fault_set(fault, KELP_E_NO_SPACE, "log", "this disk is full")
                                    : good_write(state, file, offset, parts, count, fault);
    HOLDS(atomic_fetch_sub(&inside, 1) == 1);
    return error;
}

static enum kelp_error space_told(void *state, uint64_t *free_bytes, struct kelp_fault *fault)
{
    (void)state, (void)fault;
    locked();
    bool waits = look_held;
    look_held = false; /* until the loop has told the pledge, looked for work, and sleeps */
    while (waits && (seen.pledged == 0 || seen.turns <= seen.turns_at_pledged))
        (void)pthread_cond_wait(&changed, &lock);
    *free_bytes = full ? 0 : (uint64_t)1 << 40;
    unlocked();
    return KELP_OK;
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void tell(char letter)
{
    HOLDS(is_self(seen.looper)); /* the loop's owner, and no other */
    HOLDS(atomic_load(&inside) == 0 || apart());
    size_t len = strlen(seen.told);
    if (len < TOLD_MAX) seen.told[len] = letter;
}

static void on_saved(void *ctx, uint32_t group, uint64_t number)
{
    (void)ctx, (void)group;
    locked();
    tell('s');
    HOLDS(number == seen.saved + 1); /* in order, each once */
    seen.saved = number;
    seen.saved_calls++;
    seen.turns_at_saved = seen.turns;
    unlocked();
}

static void on_read(void *ctx, uint32_t group, uint64_t tag, enum kelp_error error,
                    struct kelp_pos before, kelp_index first, kelp_index last,
                    struct kelp_bytes bytes)
{
    (void)ctx, (void)group, (void)before, (void)first, (void)last, (void)bytes;
    locked();
    tell('r');
    HOLDS(tag == seen.reads + 1);
    seen.reads = tag;
    seen.read_error = error;
    unlocked();
}

static void on_snapshot(void *ctx, uint32_t group, kelp_index index, enum kelp_error error)
{
    (void)ctx, (void)group, (void)index, (void)error;
    locked();
    tell('n');
    seen.snapshots++;
    unlocked();
}

static void on_pledged(void *ctx, uint32_t group)
{
    (void)ctx, (void)group;
    locked();
    tell('p');
    seen.pledged++;
    seen.turns_at_pledged = seen.turns;
    unlocked();
}

static void on_fault(void *ctx, uint32_t group, const struct kelp_fault *fault)
{
    (void)ctx, (void)group;
    locked();
    tell('f');
    seen.faults++;
    seen.fault = *fault;
    unlocked();
}

static void on_space(void *ctx, uint32_t group, uint32_t mib, enum kelp_space level)
{
    (void)ctx, (void)group, (void)mib;
    locked();
    seen.space = level;
    unlocked();
}

static void on_stopped(void *ctx)
{
    (void)ctx;
    uv_close((uv_handle_t *)&tick, NULL);
    uv_close((uv_handle_t *)&ask, NULL);
    uv_close((uv_handle_t *)&prepare, NULL);
    locked();
    seen.stopped++;
    unlocked();
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    locked();
    seen.ticks++;
    seen.ticker = pthread_self();
    unlocked();
}

static void on_prepare(uv_prepare_t *handle) /* as node.c does it */
{
    (void)handle;
    locked();
    seen.looper = pthread_self();
    unlocked();
    if (saver_due(saver)) uv_stop(&loop);
    locked();
    seen.turns++;
    unlocked();
}

static void on_ask(uv_async_t *async)
{
    (void)async;
    locked();
    void (*what)(void) = asked;
    unlocked();
    if (what == NULL) return;
    what();
    locked();
    asked = NULL;
    unlocked();
}

/* ---- from the test's thread ------------------------------------------------------------------ */

static struct seen look(void)
{
    locked();
    struct seen copy = seen;
    unlocked();
    return copy;
}

static bool overdue(const struct timespec *since)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec - since->tv_sec > LATE_S;
}

/* What a saver knows is looked at again now and then; what the callbacks see wakes at once. */
static void wait_a_moment(void)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 2000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&changed, &lock, &until);
}

#define WAIT(condition)                                                                            \
    do {                                                                                           \
        struct timespec since;                                                                     \
        (void)clock_gettime(CLOCK_MONOTONIC, &since);                                              \
        locked();                                                                                  \
        bool in_time = true;                                                                       \
        while (!(condition) && (in_time = !overdue(&since)))                                       \
            wait_a_moment();                                                                       \
        unlocked();                                                                                \
        if (!in_time) fail_msg("never: %s", #condition);                                           \
    } while (0)

static void on_loop(void (*what)(void))
{
    locked();
    asked = what;
    unlocked();
    (void)uv_async_send(&ask);
    WAIT(asked == NULL);
}

static void save_one(void)
{
    locked();
    kelp_index index = ++seen.given;
    unlocked();
    HOLDS(index < ENTRIES_MAX);
    struct wire_entry e = {.pos = kelp_pos_of(index, 1), .type = KELP_ENTRY_COMMAND};
    e.payload = bytes_of("sixteen bytes...", 16);
    size_t len = wire_entry_size(&e);
    wire_entry_encode(&e, entries[index]);
    struct kelp_save s = {.number = index, .flags = KELP_SAVE_APPEND, .term = {1}};
    if (index == 1) s.flags |= KELP_SAVE_VOTE;
    s.first = s.last = index;
    struct kelp_bytes part = bytes_of(entries[index], len);
    saver_store_ops.save(saver, 0, &s, &part, 1);
}

static void give_saves(void)
{
    for (unsigned i = 0; i < give_count; i++)
        save_one();
}

static void give(unsigned count)
{
    give_count = count;
    on_loop(give_saves);
}

/* One save, seen through to its end. */
static void save_and_wait(void)
{
    give(1);
    WAIT(seen.saved == seen.given || seen.faults > 0);
}

static void read_one(void)
{
    locked();
    uint64_t tag = ++seen.reads_given;
    unlocked();
    saver_store_ops.read(saver, 0, tag, 1, 3, 100000);
}

static void give_listed(void)
{
    for (const char *kind = give_kinds; *kind != '\0'; kind++) {
        switch (*kind) {
        case 's': save_one(); break;
        case 'r': read_one(); break;
        case 'p': saver_store_ops.pledge(saver, 0, (struct kelp_cluster_id){7, 8}, 0); break;
        case 'n': saver_store_ops.snapshot(saver, 0, kelp_pos_of(1, 1), bytes_of("x", 1)); break;
        }
    }
}

static void give_kind(const char *kinds)
{
    give_kinds = kinds;
    on_loop(give_listed);
}

static void set(bool *what, bool to)
{
    locked();
    *what = to;
    unlocked();
}

static void stop_it(void)
{
    locked();
    bool again = seen.stopping;
    seen.stopping = true;
    unlocked();
    if (!again) saver_stop(saver, on_stopped, NULL);
}

/* ---- a stage --------------------------------------------------------------------------------- */

static uint64_t bits(void *ctx)
{
    static uint64_t state = 1;
    (void)ctx;
    return state = state * 0x9e3779b97f4a7c15u + 12345;
}

static void store_begin(void)
{
    struct kelp_fault fault = {.error = KELP_OK};
    struct store_options options = {.node = 1,
                                    .segment_bytes = SEGMENT,
                                    .spares_max = 2,
                                    .zero_piece_bytes = SEGMENT / 4,
                                    .random = bits};
    assert_int_equal(posix_disk(directory, &disk, &fault), KELP_OK);
    held_ops = *disk.ops;
    good_write = disk.ops->write;
    held_ops.write = write_seen;
    held_ops.sync = sync_held;
    held_ops.space = space_told;
    disk.ops = &held_ops;
    if (store_open(disk, &options, &store, &fault) != KELP_OK) fail_msg("%s", fault.what);
}

static int stage_make(void **state)
{
    (void)state;
    if (unclean) return -1; /* threads of the test before are still there */
    unclean = true;
    joined = false;
    wrong = NULL;
    stage_directory(directory);
    memset(&seen, 0, sizeof seen);
    memset(&measured, 0, sizeof measured);
    gate = sync_fails = full = look_held = false;
    slow_ns = 0;
    clock_ns = 1000 * SECOND;
    threads_left = 100;
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    uv_prepare_init(&loop, &prepare);
    uv_prepare_start(&prepare, on_prepare);
    store_begin();
    struct kelp_store_done done = {sizeof done, NULL,     on_saved, on_read, on_snapshot,
                                   on_pledged,  on_fault, on_space, NULL,    NULL};
    saver = saver_new(&loop, store, disk, &done, &measured);
    assert_non_null(saver);
    return 0;
}

static void begin(void)
{
    struct kelp_fault fault = {.error = KELP_OK};
    assert_int_equal(saver_start(saver, &fault), KELP_OK);
    assert_int_equal(uv_async_init(&loop, &ask, on_ask), 0); /* libuv calls it after the saver's */
}

static void start(void)
{
    struct kelp_fault fault = {.error = KELP_OK};
    begin();
    assert_int_equal(saver_run(saver, &fault), KELP_OK);
}

/* It runs, and the loop's owner has the log. */
static void start_at_home(void)
{
    start();
    WAIT(home());
}

static void end(void)
{
    if (joined) return;
    set(&gate, false);
    if (!look().stopping) on_loop(stop_it);
    WAIT(seen.stopped == 1);
    saver_join(saver);
    joined = true;
}

static int stage_unmake(void **state)
{
    (void)state;
    if (saver->runs)
        end();
    else
        stop_it();
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* nothing is left if it was run */
    saver_free(saver);
    store_close(store);
    posix_disk_close(&disk);
    assert_int_equal(uv_loop_close(&loop), 0);
    stage_remove(directory);
    unclean = false;
    const char *what = wrong;
    if (what != NULL) print_error("it did not hold: %s\n", what);
    return what == NULL ? 0 : -1;
}

/* A save of the loop's owner whose sync does not end; returns that thread. The loop stands. */
static pthread_t hang(void)
{
    WAIT(home());
    uint64_t held = look().held;
    set(&gate, true);
    give(1);
    WAIT(seen.held > held);
    assert_true(pthread_equal(look().syncer, look().looper));
    return look().syncer;
}

/* It is late now: another thread goes on with the loop. */
static void relieve(pthread_t late)
{
    uint64_t ticks = look().ticks;
    pass(LEND);
    WAIT(seen.ticks >= ticks + 3 && !pthread_equal(seen.ticker, late) &&
         !pthread_equal(seen.looper, late));
}

#endif
