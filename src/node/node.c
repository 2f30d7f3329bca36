/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - the life of a node on a loop: open, the loop's turns, stop.
 *
 *   prepare  before the poll: driver_run until nothing is due, a few times at most
 *   poll     sockets, completions of a log with a thread of its own: noted in the driver
 *   check    after the poll: driver_run again
 *   save     between two turns, out of the loop: what the driver wants durable
 *   timer    the driver's next deadline
 *
 * Whatever is submitted during a turn is looked at before the loop sleeps, all of it together.
 * Stopping: a moment for what is open to end well, then the driver answers the rest, the log
 * finishes its queue, and the handles close. Memory that the log thread may still read lives until
 * it has ended. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/fault.h"
#include "node/room.h"

#define RUNS_A_TURN   4u
#define TURN_NS       MILLISECOND /* then the sockets have theirs, whatever is due */
#define DRAIN_NS      (300 * MILLISECOND)
#define LINE_REQUESTS 16384u
#define SPARES_MAX    4u
#define PIECE_BYTES   (1024u * 1024)

#define SNAPSHOT_ENTRIES 4096u /* of a disposable machine, unless the user says otherwise */

kelp_ns node_now(struct node *n)
{
    struct timespec t;
    (void)n;
    (void)clock_gettime(CLOCK_BOOTTIME, &t); /* exists since Linux 2.6.39 */
    return (kelp_ns)t.tv_sec * SECOND + (kelp_ns)t.tv_nsec;
}

uint64_t node_random(void *ctx)
{
    uint64_t bits = 0;
    (void)ctx;
    if (uv_random(NULL, NULL, &bits, sizeof bits, 0, NULL) == 0) return bits;
    /* Without the system's randomness ids must still differ between nodes and between starts. */
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return ((uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec ^ (uint64_t)uv_os_getpid() << 40) +
           uv_hrtime();
}

/* ---- completions of the log ------------------------------------------------------------------ */

/* The data went its other way, and the sync judges it; but who looks after the disk must know. */
static void detours_look(struct node *n)
{
    int number = 0;
    if (n->detour_told || posix_disk_detours(&n->disk, &number) == 0) return;
    n->detour_told = true;
    node_log(n, KELP_WARN, "a write of the log past the page cache failed and went through it: %s",
             uv_strerror(uv_translate_sys_error(number)));
}

static void log_saved(void *ctx, uint32_t group, uint64_t number)
{
    struct node *n = ctx;
    (void)group;
    detours_look(n);
    driver_saved(n->driver, number);
}

static void log_read(void *ctx, uint32_t group, uint64_t tag, enum kelp_error error,
                     struct kelp_pos before, kelp_index first, kelp_index last,
                     struct kelp_bytes entries)
{
    struct node *n = ctx;
    (void)group;
    driver_read_done(n->driver, tag, error, before, first, last, entries);
}

static void log_snapshot(void *ctx, uint32_t group, kelp_index index, enum kelp_error error)
{
    struct node *n = ctx;
    (void)group;
    n->look_due = true;
    driver_snapshot_done(n->driver, index, error);
}

static void log_piece(void *ctx, uint32_t group, enum kelp_error error)
{
    struct node *n = ctx;
    (void)group;
    driver_piece_done(n->driver, error);
}

static void log_fetched(void *ctx, uint32_t group, enum kelp_error error, uint64_t size,
                        struct kelp_bytes bytes)
{
    struct node *n = ctx;
    (void)group;
    driver_fetched(n->driver, error, size, bytes);
}

static void log_pledged(void *ctx, uint32_t group)
{
    struct node *n = ctx;
    (void)group;
    driver_pledged(n->driver);
}

static void log_space(void *ctx, uint32_t group, uint32_t room_mib, enum kelp_space space)
{
    struct node *n = ctx;
    (void)group;
    driver_space(n->driver, room_mib, space);
}

static void log_fault(void *ctx, uint32_t group, const struct kelp_fault *fault)
{
    struct node *n = ctx;
    (void)group;
    node_log(n, KELP_ERROR, "the log failed: %s: %s", fault->where, fault->what);
    driver_store_fault(n->driver, fault);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void node_shutdown(struct node *n);

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* it is there so that the loop does not sleep */
}

static void on_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    n->timer_at = KELP_NEVER; /* prepare follows */
}

static void leader_look(struct node *n)
{
    kelp_id leader = n->status.state == DRIVER_RUNNING ? n->status.view.leader : 0;
    if (leader == n->leader) return;
    n->leader = leader;
    n->leader_since = node_now(n);
    if (leader == n->options.id) n->addresses_due = true;
}

/* From here on nothing new is taken: what is open may still end well, for a moment. */
static void drain_begin(struct node *n)
{
    kelp_ns now = node_now(n);
    /* time to hand over, if it leads, and for what is open */
    n->stop_at = now + n->options.raft.election_min + DRAIN_NS;
    driver_retire(n->driver, now);
}

/* A removed node ends here, if that was asked for, as it does when it is stopped; but whoever runs
 * it closes it. The news that it is gone overtakes answers that others owe it: it waits for them.
 */
static void removed_look(struct node *n)
{
    if (!n->options.stop_when_removed || n->leaves || n->phase != NODE_RUNS) return;
    if (n->status.state != DRIVER_RUNNING || !n->status.view.removed) return;
    n->leaves = true;
    node_log(n, KELP_WARN, "was removed from the cluster, and shuts down as it was told to");
    drain_begin(n);
}

bool node_removed(const struct node *n)
{
    return n->status.state == DRIVER_RUNNING && n->status.view.removed;
}

bool node_leaves(const struct node *n)
{
    return n->leaves;
}

static void node_look(struct node *n)
{
    n->look_due = false;
    driver_status(n->driver, &n->status);
    contacts_refresh(n);
    leader_look(n);
    removed_look(n);
    switch (n->status.state) {
    case DRIVER_WAITING:
    case DRIVER_RUNNING: break;
    case DRIVER_FAULTED: n->exit_status = 4; break;
    case DRIVER_FOREIGN: n->exit_status = 3; break;
    }
}

static bool node_drained(struct node *n, kelp_ns now)
{
    if (now >= n->stop_at || n->ended) return true;
    if (!driver_retired(n->driver)) return false;
    driver_status(n->driver, &n->status);
    const struct driver_status *s = &n->status;
    /* a removed node follows nobody: what waits there for a leader would wait in vain */
    bool stranded = s->view.removed && s->view.leader == 0;
    bool open = s->view.proposals_open > 0 || s->view.reads_open > 0 || s->apply_queue > 0 ||
                (s->waiting_requests > 0 && !stranded) || s->forwarded_requests > 0;
    return s->state != DRIVER_RUNNING || !open;
}

/* A removed node that is told to end, and is not being stopped; returns when to look again. */
static kelp_ns leaving_look(struct node *n, kelp_ns now)
{
    if (!n->leaves || n->ended || n->phase != NODE_RUNS) return KELP_NEVER;
    if (!node_drained(n, now)) return n->stop_at;
    n->ended = true;
    driver_shutdown(n->driver, now);
    return now;
}

static void sleep_until(struct node *n, kelp_ns due, kelp_ns now)
{
    if (due <= now) {
        (void)uv_idle_start(&n->idle, on_idle); /* always 0 */
        return;
    }
    (void)uv_idle_stop(&n->idle);
    if (due == n->timer_at) return;
    n->timer_at = due;
    if (due == KELP_NEVER) {
        (void)uv_timer_stop(&n->timer);
        return;
    }
    uv_update_time(n->loop); /* what ran in this turn took its time */
    uint64_t ms = (due - now + MILLISECOND - 1) / MILLISECOND;
    (void)uv_timer_start(&n->timer, on_timer, ms, 0); /* the handle is open */
}

/* A peer that closes while we write must not end the process. */
static void signal_mask(struct node *n)
{
    sigset_t pipe;
    n->masked = true;
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, NULL);
}

static void node_run_due(struct node *n)
{
    if (!n->masked) signal_mask(n);
    kelp_ns begin = node_now(n), now = begin, due = now;
    for (unsigned i = 0; i < RUNS_A_TURN && due <= now && now - begin < TURN_NS; i++) {
        struct kelp_fault fault = {.error = KELP_OK};
        due = driver_run(n->driver, now);
        CHECK_SLOW(driver_check(n->driver, &fault) == KELP_OK);
        now = node_now(n);
    }
    bool left = n->leaves;
    if (n->look_due || now >= n->contacts_at) node_look(n);
    if (n->leaves && !left) due = now; /* the driver begins to retire */
    due = min_u64(due, n->contacts_at);
    if (n->addresses_due && n->leader == n->options.id) contacts_pass_on(n);
    due = min_u64(due, leaving_look(n, now));
    if (n->turned != NULL) due = min_u64(due, n->turned(n->turned_ctx, now));
    if (n->phase == NODE_DRAINS) {
        due = min_u64(due, n->stop_at);
        if (node_drained(n, now)) {
            node_shutdown(n);
            return;
        }
    }
    sleep_until(n, due, now);
    if (saver_due(n->saver)) uv_stop(n->loop); /* it looks at the sockets, and then it saves */
}

static void on_prepare(uv_prepare_t *prepare)
{
    node_run_due(prepare->data);
}

/* What the sockets brought is looked at before the loop's turn ends, so that a save of it need not
 * wait for another look at them. */
static void on_check(uv_check_t *check)
{
    struct node *n = check->data;
    if (n->phase < NODE_CLOSES) node_run_due(n);
}

void node_poke(struct node *n)
{
    if (n->phase < NODE_CLOSES) (void)uv_idle_start(&n->idle, on_idle);
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum kelp_error store_begin(struct node *n, const char *data, struct kelp_fault *fault)
{
    enum kelp_error error = posix_disk(data, &n->disk, fault);
    if (error != KELP_OK) return error;
    struct store_options options = {
        .node = n->options.id,
        .waits = n->options.id == 0,
        .segment_bytes = n->options.segment_bytes,
        .spares_max = SPARES_MAX,
        .zero_piece_bytes = PIECE_BYTES,
        .snapshots_kept = n->options.snapshots_kept,
        .random = node_random,
        .note = watch_store_note,
        .note_ctx = n,
    };
    error = store_open(n->disk, &options, &n->store, fault);
    if (error != KELP_OK) return error;
    unsigned mode = posix_disk_mode(&n->disk);
    if ((mode & 077u) != 0)
        node_log(n, KELP_WARN, "directory %s is open to other users (mode %04o): chmod 700 it",
                 data, mode);
    const struct store_found *found = store_found(n->store);
    n->options.id = n->options.raft.self = found->identity.node;
    n->incarnation = found->identity.incarnation;
    n->epoch = found->identity.epoch;
    n->start_count = found->start_count;
    struct kelp_store_done done = {sizeof done, n,         log_saved, log_read,  log_snapshot,
                                   log_pledged, log_fault, log_space, log_piece, log_fetched};
    n->saver = saver_new(n->loop, n->store, n->disk, &done, &n->histograms);
    if (n->saver == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    n->keeper = keeper_new(n->loop, data, &done, watch_store_note, fault);
    if (n->keeper == NULL) return fault->error;
    saver_keeper(n->saver, n->keeper);
    node_log(n, KELP_INFO,
             "%s directory %s: start %" PRIu64 ", term %" PRIu64 ", entries %" PRIu64 "..%" PRIu64
             ", commit %" PRIu64 ", snapshot %" PRIu64 "; %" PRIu64 " torn bytes cut, %" PRIu64
             " written again",
             found->created ? "new" : "recovered", data, found->start_count, found->term.v,
             found->base.index + 1, found->last, found->commit, found->snapshot.pos.index,
             found->torn_bytes, found->rewritten_bytes);
    return KELP_OK;
}

static void snapshot_options_fill(const struct kelp_node_options *from, bool disposable,
                                  struct driver_snapshots *o)
{
    uint64_t entries = from->snapshot_every_entries;
    if (entries == 0 && disposable) entries = SNAPSHOT_ENTRIES;
    if (entries == KELP_SNAPSHOT_NEVER) entries = 0;
    *o = (struct driver_snapshots){.entries = entries,
                                   .log_bytes = from->snapshot_log_bytes,
                                   .ratio = from->snapshot_log_ratio,
                                   .interval = from->snapshot_interval,
                                   .send_rate = from->snapshot_send_rate};
    if (o->log_bytes == KELP_SNAPSHOT_NEVER) o->log_bytes = 0;
}

void node_snapshots_change(struct node *n, const struct kelp_node_options *to)
{
    struct driver_snapshots o;
    snapshot_options_fill(to, n->disposable, &o);
    driver_snapshots_change(n->driver, &o);
    node_poke(n);
}

static uint64_t node_wall(void *ctx)
{
    struct timespec wall;
    (void)ctx;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    return (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / MILLISECOND;
}

static void driver_options_fill(struct node *n, const struct kelp_fsm_ops *ops,
                                const struct store_found *found, struct driver_options *o)
{
    struct timespec wall;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    o->core = n->options.raft;
    o->core.apply_durable_only = (ops->flags & KELP_FSM_IN_MEMORY) == 0;
    o->cluster = found->identity.cluster;
    o->epoch = n->epoch;
    o->incarnation = n->incarnation;
    o->start_count = n->start_count;
    o->bootstrap = n->bootstrap;
    o->bootstrap_count = n->bootstrap_count;
    o->peer = n->peer;
    o->joins = n->join_count > 0;
    o->moves = n->peer_at_count > 0;
    o->cache_bytes_max = n->options.cache_bytes_max;
    o->forward_bytes_max = n->options.forward_bytes_max;
    o->answer_bytes_max = n->options.answer_bytes_max;
    o->line_requests_max = LINE_REQUESTS;
    n->disposable = (ops->flags & KELP_FSM_DISPOSABLE) != 0;
    snapshot_options_fill(&n->options, n->disposable, &o->snapshots);
    o->wall_unix_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / MILLISECOND;
    o->random = node_random;
    o->wall = node_wall;
    o->random_ctx = n;
    o->event = watch_event;
    o->note = watch_note;
    o->lead = lead_told;
    o->watch_ctx = n;
}

static void driver_boot_fill(const struct store_found *found, struct driver_boot *boot)
{
    boot->core = (struct kelp_boot){
        .term = found->term,
        .vote = found->vote,
        .base = found->base,
        .last = found->last,
        .commit = found->commit,
        .applied = found->snapshot.pos.index,
        .snapshot = found->snapshot.pos,
        .everyone = found->everyone,
        .runs = found->runs,
        .run_count = found->run_count,
        .runs_from = found->base.index + 1,
        .ran_before = true, /* if there is a configuration to start from */
    };
    boot->apart = found->apart;
    if (found->config.config.count > 0) boot->config = &found->config;
    if (found->config_before.config.count > 0) boot->config_before = &found->config_before;
    boot->time_ns = found->snapshot.time_ns;
    boot->snapshot = found->snapshot.pos;
    boot->snapshot_bytes = found->snapshot_bytes;
    if (found->snapshot.config.config.count > 0) boot->snapshot_config = &found->snapshot.config;
}

static enum kelp_error driver_begin(struct node *n, const struct kelp_fsm_ops *ops,
                                    struct kelp_fault *fault)
{
    const struct store_found *found = store_found(n->store);
    struct driver_options options = {.group = 0};
    struct driver_boot boot = {.time_ns = 0};
    driver_options_fill(n, ops, found, &options);
    driver_boot_fill(found, &boot);
    uint8_t *entry1 = NULL; /* to be handed to members that are still empty */
    if (found->base.index == 0 && found->last > 0) {
        size_t room = 0, len = 0;
        struct kelp_pos before;
        kelp_index last;
        enum kelp_error error =
            store_read(n->store, 1, 1, 1, &entry1, &room, &len, &before, &last, fault);
        if (error != KELP_OK) {
            free(entry1);
            return error;
        }
        boot.entry1 = bytes_of(entry1, len);
    }
    struct driver_ports ports = {&saver_store_ops,  n->saver, &node_peers_ops, n,
                                 &node_machine_ops, n};
    struct kelp_fault cause = {.error = KELP_OK};
    n->driver = driver_new(&options, &ports, &boot, node_now(n), &cause);
    free(entry1);
    if (n->driver != NULL) return KELP_OK;
    if (fault != NULL) *fault = cause;
    return cause.error != KELP_OK ? cause.error : KELP_E_ARGUMENT;
}

static enum kelp_error net_begin(struct node *n, struct kelp_fault *fault)
{
    kelp_ns patience = 2 * n->options.raft.election_max;
    struct net_options options = {
        .loop = n->loop,
        .listen = n->listen.text,
        .source = n->source,
        .dial_min = 50 * MILLISECOND,
        .dial_max = SECOND,
        .user_timeout = patience,
        .lane_bytes_max = {1024u * 1024, 32u * 1024 * 1024, 32u * 1024 * 1024},
        .accepted_max = 256,
    };
    struct net_owner owner = contacts_owner(n);
    n->addresses[0] = (struct wire_member_addresses){.id = n->options.id,
                                                     .version = n->start_count,
                                                     .peer = n->peer,
                                                     .client = n->client,
                                                     .http = n->http};
    n->address_count = 1;
    return net_open(&options, &owner, &n->net, fault);
}

static void handles_begin(struct node *n)
{
    (void)uv_prepare_init(n->loop, &n->prepare); /* these six are always 0 */
    (void)uv_check_init(n->loop, &n->check);
    (void)uv_idle_init(n->loop, &n->idle);
    (void)uv_timer_init(n->loop, &n->timer);
    n->prepare.data = n->check.data = n->idle.data = n->timer.data = n;
    (void)uv_prepare_start(&n->prepare, on_prepare);
    (void)uv_check_start(&n->check, on_check);
    n->timer_at = KELP_NEVER;
    n->handles = 7; /* four of its own, the transport, the log, its snapshots */
    n->phase = NODE_RUNS;
    n->look_due = true;
    n->contacts_at = KELP_NEVER;
}

static enum kelp_error parts_begin(struct node *n, const struct kelp_node_options *options,
                                   const struct kelp_fsm_ops *ops, struct kelp_fault *fault)
{
    enum kelp_error error = store_begin(n, options->data, fault);
    if (error == KELP_OK) error = machine_restore(n, fault);
    if (error == KELP_OK) error = driver_begin(n, ops, fault);
    if (error == KELP_OK) error = net_begin(n, fault);
    if (error != KELP_OK) return error;
    error = saver_start(n->saver, fault);
    if (error == KELP_OK) return KELP_OK;
    n->saver = NULL;
    net_close(n->net, NULL, NULL); /* ends with the loop's next turns */
    return error;
}

static void files_close(struct node *n)
{
    saver_free(n->saver);
    keeper_free(n->keeper);
    n->keeper = NULL;
    store_close(n->store);
    if (n->disk.ops != NULL) posix_disk_close(&n->disk);
    n->saver = NULL;
    n->store = NULL;
    n->disk.ops = NULL;
}

static enum kelp_error machine_check(const struct kelp_fsm_ops *ops, struct kelp_fault *fault)
{
    bool disposable = (ops->flags & KELP_FSM_DISPOSABLE) != 0;
    bool whole = ops->apply != NULL && ops->query != NULL && ops->hash != NULL;
    if (disposable)
        whole = whole && ops->snapshot_begin != NULL && ops->restore_begin != NULL &&
                ops->restore_commit != NULL;
    if (whole) return KELP_OK;
    return fault_set(fault, KELP_E_ARGUMENT, "state machine",
                     "it needs apply, query and hash; a disposable one snapshot_begin, "
                     "restore_begin and restore_commit too");
}

enum kelp_error node_open(uv_loop_t *loop, const struct kelp_node_options *options,
                          const struct kelp_fsm_ops *ops, void *fsm, struct node **out,
                          struct kelp_fault *fault)
{
    struct node *n = calloc(1, sizeof *n);
    bool locked = n != NULL && uv_mutex_init(&n->lead_lock) == 0;
    if (locked) n->rsm = rsm_new(ops, fsm, 0);
    if (!locked || n->rsm == NULL) {
        if (ops->close != NULL) ops->close(fsm);
        if (locked) uv_mutex_destroy(&n->lead_lock);
        free(n);
        return fault_set(fault, KELP_E_NO_MEMORY, "node", "out of memory");
    }
    n->loop = loop;
    n->started_at = node_now(n);
    enum kelp_error error = machine_check(ops, fault);
    if (error == KELP_OK) error = options_take(n, options, fault);
    if (error == KELP_OK) error = parts_begin(n, options, ops, fault);
    if (error != KELP_OK) {
        node_free(n);
        return error;
    }
    handles_begin(n);
    crash_register(n);
    *out = n;
    return KELP_OK;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void part_closed(struct node *n)
{
    ASSERT(n->handles > 0);
    if (--n->handles > 0) return;
    n->phase = NODE_CLOSED;
    crash_forget(n);
    if (n->stopped != NULL) n->stopped(n->stopped_ctx);
}

static void on_part_closed(void *ctx)
{
    part_closed(ctx);
}

static void on_net_closed(void *ctx)
{
    struct node *n = ctx;
    n->net = NULL;
    part_closed(n);
}

static void on_handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

static void node_shutdown(struct node *n)
{
    kelp_ns now = node_now(n);
    driver_shutdown(n->driver, now);
    driver_status(n->driver, &n->status);
    n->phase = NODE_CLOSES;
    uv_close((uv_handle_t *)&n->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&n->check, on_handle_closed);
    uv_close((uv_handle_t *)&n->idle, on_handle_closed);
    uv_close((uv_handle_t *)&n->timer, on_handle_closed);
    net_close(n->net, on_net_closed, n);
    keeper_stop(n->keeper, on_part_closed, n);
    saver_stop(n->saver, on_part_closed, n);
}

enum kelp_error node_loop_start(struct node *n, struct kelp_fault *fault)
{
    return saver_run(n->saver, fault);
}

void node_loop_join(struct node *n)
{
    saver_join(n->saver);
}

void node_stop(struct node *n, void (*stopped)(void *ctx), void *ctx)
{
    ASSERT(n->phase == NODE_RUNS);
    n->phase = NODE_DRAINS;
    n->stopped = stopped;
    n->stopped_ctx = ctx;
    drain_begin(n);
    node_poke(n); /* the next turn looks whether anything is open */
}

void node_free(struct node *n)
{
    if (n == NULL) return;
    ASSERT(n->phase == NODE_OPEN || n->phase == NODE_CLOSED);
    files_close(n);
    driver_free(n->driver);
    rsm_free(n->rsm); /* and the user's machine */
    uv_mutex_destroy(&n->lead_lock);
    free(n);
}

struct driver *node_driver(struct node *n)
{
    return n->driver;
}

struct rsm *node_rsm(struct node *n)
{
    return n->rsm;
}

kelp_id node_id(const struct node *n)
{
    return n->options.id;
}
