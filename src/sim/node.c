/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - one simulated node: starting from its disk, running its driver, dying.
 *
 * This is what src/node does with threads, sockets and files: open the store, give what it found to
 * a driver and a state machine, and call the driver when something happened or is due. All else
 * that could lose data is the same code as there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/min.h"
#include "base/unset.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS           ((kelp_ns)1000000)
#define WALL_JUMP_MS ((uint64_t)20 * 366 * 86400 * 1000)
#define RUNS_MAX     256u /* of a driver at one moment, before others have their turn */

/* ---- time ---- */

kelp_ns node_clock(const struct node *n)
{
    return n->clock_offset + (n->world->now - n->clock_from) * n->clock_rate / 1000;
}

/* The first moment of the world at which the node's clock shows at least local. */
kelp_ns node_world_time(const struct node *n, kelp_ns local)
{
    if (local == KELP_NEVER) return KELP_NEVER;
    if (local <= n->clock_offset) return n->world->now;
    if (n->clock_rate == 0) return KELP_NEVER;
    kelp_ns span = local - n->clock_offset;
    kelp_ns at = n->clock_from + (span * 1000 + n->clock_rate - 1) / n->clock_rate;
    return max_u64(at, n->world->now);
}

void node_clock_set(struct node *n, kelp_ns ahead, uint64_t rate)
{
    n->clock_offset = node_clock(n) + ahead;
    n->clock_from = n->world->now;
    n->clock_rate = rate;
    n->wake = n->world->now; /* what it waits for may be due, or never come: it looks again */
}

/* ---- the state machine port ---- */

struct reply_to {
    struct node *node;
    kelp_index first;
};

static void reply_of_command(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_to *to = sink;
    enum kelp_reason reason = rsm_refused(to->node->rsm);
    if (reason != KELP_R_NONE)
        driver_result_refused(to->node->driver, to->first + i, reason);
    else
        driver_result(to->node->driver, to->first + i, bytes);
}

static void apply_now(struct node *n, kelp_index first, const struct kelp_bytes *entries,
                      size_t count)
{
    struct reply_to to = {n, first};
    UNSET struct kelp_fault fault;
    fault_none(&fault);
    if (rsm_apply(n->rsm, first, entries, count, reply_of_command, &to, &fault) == KELP_OK)
        driver_applied(n->driver, first + count - 1);
    else
        driver_machine_fault(n->driver, &fault);
}

static bool batch_keep(struct batch *b, kelp_index first, const struct kelp_bytes *entries,
                       size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += entries[i].len;
    if (count > b->room) {
        struct kelp_bytes *more = realloc(b->entries, count * sizeof *more);
        if (more == NULL) return false;
        b->entries = more;
        b->room = count;
    }
    if (bytes > b->bytes_room) {
        uint8_t *more = realloc(b->bytes, bytes);
        if (more == NULL) return false;
        b->bytes = more;
        b->bytes_room = bytes;
    }
    uint8_t *at = b->bytes;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, entries[i].data, entries[i].len);
        b->entries[i] = (struct kelp_bytes){at, entries[i].len};
        at += entries[i].len;
    }
    b->first = first;
    b->count = count;
    return true;
}

static void machine_port_apply(void *machine, kelp_index first, const struct kelp_bytes *entries,
                               size_t count)
{
    struct node *n = machine;
    struct world *w = n->world;
    ASSERT(n->apply_end == KELP_NEVER); /* one batch at a time */
    if (w->swarm.apply_range == 0) {
        apply_now(n, first, entries, count);
    } else if (batch_keep(&n->batch, first, entries, count)) {
        n->apply_end = w->now + draw_below(stream(w, STREAM_NODE), w->swarm.apply_range);
    } else {
        checker_fail(w->checker, RULE_W02, "no memory for a batch");
    }
}

void node_apply_ends(struct node *n)
{
    n->apply_end = KELP_NEVER;
    apply_now(n, n->batch.first, n->batch.entries, n->batch.count);
    node_run(n);
}

struct query_to {
    struct node *node;
    uint64_t token;
    bool answered;
};

static void reply_of_query(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct query_to *to = sink;
    ASSERT(i == 0);
    to->answered = true;
    driver_query_result(to->node->driver, to->token, bytes);
}

static enum kelp_query machine_port_query(void *machine, uint64_t token, struct kelp_bytes question,
                                          int may_begin)
{
    struct node *n = machine;
    struct query_to to = {n, token, false};
    enum kelp_query state = rsm_query_part(n->rsm, token, question, may_begin, reply_of_query, &to);
    if (state == KELP_QUERY_DONE && !to.answered)
        driver_query_result(n->driver, token, (struct kelp_bytes){0});
    return state;
}

static void machine_port_query_end(void *machine, uint64_t token)
{
    struct node *n = machine;
    rsm_query_end(n->rsm, token);
}

static enum kelp_error machine_port_snapshot_begin(void *machine, const struct wire_config *config,
                                                   struct kelp_pos *pos, size_t *head_len)
{
    struct node *n = machine;
    const struct store_identity *identity = &store_found(n->store)->identity;
    struct wire_judge judge; /* the driver knows the cluster id that was pledged meanwhile */
    driver_judge(n->driver, &judge);
    enum kelp_error error =
        rsm_snapshot_begin(n->rsm, config, judge.cluster, identity->epoch, pos, head_len);
    if (error == KELP_OK) n->world->report->snapshots++;
    return error;
}

static enum kelp_error machine_port_snapshot_read(void *machine, uint8_t *out, size_t *len,
                                                  bool *last)
{
    struct node *n = machine;
    return rsm_snapshot_read(n->rsm, out, len, last);
}

static size_t machine_port_snapshot_head(void *machine, uint64_t objects, uint64_t bytes,
                                         uint8_t *out)
{
    struct node *n = machine;
    return rsm_snapshot_head(n->rsm, objects, bytes, out);
}

static void machine_port_snapshot_end(void *machine)
{
    struct node *n = machine;
    rsm_snapshot_end(n->rsm);
}

static enum kelp_error machine_port_restore_begin(void *machine, const struct wire_snaphead *head,
                                                  struct kelp_fault *fault)
{
    struct node *n = machine;
    return rsm_restore_begin(n->rsm, head, fault);
}

static enum kelp_error machine_port_restore_object(void *machine, const struct wire_object *object,
                                                   struct kelp_fault *fault)
{
    struct node *n = machine;
    return rsm_restore_object(n->rsm, object, fault);
}

static enum kelp_error machine_port_restore_commit(void *machine, const struct wire_snaphead *head,
                                                   struct kelp_fault *fault)
{
    struct node *n = machine;
    enum kelp_error error = rsm_restore_commit(n->rsm, head, fault);
    n->world->report->snapshots_installed += error == KELP_OK;
    bool told = error == KELP_OK && !n->world->renewal.on;
    if (told && head->hollow) checker_hollow(n->world->checker, n->slot);
    return error;
}

static void machine_port_restore_abort(void *machine)
{
    struct node *n = machine;
    rsm_restore_abort(n->rsm);
}

static bool machine_port_frees(void *machine, struct kelp_bytes command)
{
    const struct node *n = machine;
    return rsm_frees(n->rsm, command);
}

static uint64_t machine_port_deadline(void *machine)
{
    const struct node *n = machine;
    return rsm_deadline(n->rsm);
}

static bool machine_port_lapses(void *machine, struct kelp_bytes question, uint64_t time_ns)
{
    const struct node *n = machine;
    return rsm_lapses(n->rsm, question, time_ns);
}

static void machine_port_tell_time(void *machine, uint64_t time_ns)
{
    const struct node *n = machine;
    rsm_tell_time(n->rsm, time_ns);
}

static size_t machine_port_extend(void *machine, struct kelp_bytes command, uint64_t wall_unix_ms,
                                  uint8_t *out)
{
    const struct node *n = machine;
    return rsm_extend(n->rsm, command, wall_unix_ms, out);
}

static bool machine_port_has_snapshots(void *machine)
{
    const struct node *n = machine;
    return rsm_has_snapshots(n->rsm);
}

static bool machine_port_wants_snapshot(void *machine)
{
    const struct node *n = machine;
    bool none = n->world->swarm.snapshot_every == 0; /* in this run, because logs have to be kept */
    return !none && rsm_wants_snapshot(n->rsm);
}

static size_t machine_port_marks(void *machine, kelp_index after,
                                 struct wire_mark out[WIRE_MARK_KEPT])
{
    const struct node *n = machine;
    return rsm_marks(n->rsm, after, out);
}

static bool machine_port_staged(void *machine, struct kelp_restore_status *out)
{
    const struct node *n = machine;
    return rsm_staged(n->rsm, out);
}

static const struct driver_machine_ops machine_port = {
    .size = sizeof(struct driver_machine_ops),
    .apply = machine_port_apply,
    .query = machine_port_query,
    .query_end = machine_port_query_end,
    .snapshot_begin = machine_port_snapshot_begin,
    .snapshot_read = machine_port_snapshot_read,
    .snapshot_head = machine_port_snapshot_head,
    .snapshot_end = machine_port_snapshot_end,
    .has_snapshots = machine_port_has_snapshots,
    .wants_snapshot = machine_port_wants_snapshot,
    .marks = machine_port_marks,
    .restore_begin = machine_port_restore_begin,
    .restore_object = machine_port_restore_object,
    .restore_commit = machine_port_restore_commit,
    .restore_abort = machine_port_restore_abort,
    .frees = machine_port_frees,
    .deadline = machine_port_deadline,
    .lapses = machine_port_lapses,
    .tell_time = machine_port_tell_time,
    .extend = machine_port_extend,
    .staged = machine_port_staged,
};

/* ---- callbacks ---- */

/* Set to anything, and running like the node's own clock. */
static uint64_t node_wall(void *ctx)
{
    const struct node *n = ctx;
    return n->wall_ms + node_clock(n) / MS;
}

static uint64_t node_random(void *ctx)
{
    struct node *n = ctx;
    return prng_next(&n->random);
}

static void node_event(void *ctx, const struct kelp_event *event)
{
    sim_watch_event(ctx, event);
}

static void node_note(void *ctx, int level, const char *line)
{
    struct node *n = ctx;
    (void)level;
    (void)snprintf(n->note, sizeof n->note, "%s", line);
    trace_words(n->world, KELP_SIM_NOTE, n->slot, line);
}

/* ---- making, once a run ---- */

bool node_make(struct world *w, unsigned slot)
{
    struct node *n = &w->nodes[slot];
    struct draw *draw = stream(w, STREAM_NODE);
    *n = (struct node){.world = w, .slot = (uint8_t)slot, .id = slot + 1};
    n->wake = n->job_end = n->apply_end = KELP_NEVER;
    n->random.state = hash_mix(draw_bytes(draw, 8), n->id); /* never two nodes alike */
    n->clock_rate = n->clock_goes =
        1000 - w->swarm.clock_drift + draw_below(draw, 2 * w->swarm.clock_drift + 1);
    if (w->swarm.clock_split)
        n->clock_rate = n->clock_goes =
            slot == 0 ? 1000 - w->swarm.clock_drift : 1000 + w->swarm.clock_drift;
    n->disk =
        sim_disk_new(draw_bytes(stream(w, STREAM_DISK), 8), NODE_DISK_BYTES, w->swarm.tear_bytes);
    if (n->disk == NULL) return false;
    n->writer.disk = n->reader.disk = sim_disk_port(n->disk);
    n->piece = malloc(WIRE_SNAPCHUNK_BYTES_MAX);
    if (n->piece == NULL) return false;
    sim_disk_habits(n->disk, w->swarm.garbled, w->swarm.names_loose);
    if (w->options.broken == KELP_SIM_BREAK_LOG_SYNC) sim_disk_lie(n->disk, "log/");
    return true;
}

static void node_parts_free(struct node *n)
{
    driver_free(n->driver);
    rsm_free(n->rsm);
    store_close(n->store);
    n->driver = NULL;
    n->rsm = NULL;
    n->store = NULL;
    n->machine = NULL;
}

void node_unmake(struct node *n)
{
    node_parts_free(n);
    for (size_t i = 0; i < n->job_count; i++) {
        struct job *job = &n->jobs[(n->job_first + i) % n->job_room];
        free(job->more_parts);
        free(job->head);
    }
    free(n->jobs);
    snapreader_close(&n->reader);
    free(n->piece);
    free(n->read_buffer);
    free(n->batch.entries);
    free(n->batch.bytes);
    sim_disk_free(n->disk);
    *n = (struct node){0};
}

/* ---- starting ---- */

static enum kelp_error object_restore(void *ctx, const struct wire_object *object,
                                      struct kelp_fault *fault)
{
    return rsm_restore_object(ctx, object, fault);
}

static bool machine_restore(struct node *n, const struct wire_snaphead *head,
                            struct kelp_fault *fault)
{
    if (rsm_restore_begin(n->rsm, head, fault) != KELP_OK) return false;
    enum kelp_error error = KELP_OK;
    if (head->object_count > 0)
        error = store_snapshot_objects(n->store, object_restore, n->rsm, fault);
    if (error == KELP_OK) return rsm_restore_commit(n->rsm, head, fault) == KELP_OK;
    rsm_restore_abort(n->rsm);
    return false;
}

static bool machine_start(struct node *n, const struct store_found *found, struct kelp_fault *fault)
{
    const struct kelp_sim_machine *m = &n->world->machine;
    struct model *model = n->world->model;
    const struct kelp_fsm_ops *ops = m->ops;
    void *fsm = n->machine = m->make(m->ctx, n->id);
    if (model != NULL && fsm != NULL) {
        fsm = model_watch(model, n->id, fsm);
        ops = model_ops(model);
    }
    n->rsm = fsm != NULL ? rsm_new(ops, fsm, 0) : NULL;
    if (n->rsm == NULL) {
        if (fsm != NULL && ops->close != NULL) ops->close(fsm);
        checker_fail(n->world->checker, RULE_W02, "no memory for a state machine");
        return false;
    }
    if (found->snapshot.pos.index == 0) return true;
    if (found->snapshot.hollow && !n->world->renewal.on) checker_hollow(n->world->checker, n->slot);
    return machine_restore(n, &found->snapshot, fault);
}

static void driver_options_fill(struct node *n, const struct store_found *found,
                                struct driver_options *o)
{
    const struct world *w = n->world;
    o->core = kelp_options_default(n->id, prng_next(&n->random));
    o->core.heartbeat = w->swarm.heartbeat;
    o->core.election_min = w->swarm.election_min;
    o->core.election_max = w->swarm.election_max;
    o->core.limits = w->swarm.limits;
    o->core.off = w->swarm.off;
    o->core.lease = w->swarm.lease;
    o->core.drift_ppm = w->swarm.drift_ppm;
    o->core.apply_durable_only = w->swarm.apply_durable_only;
    o->core.trailing_entries = w->swarm.trailing_entries;
    o->core.hold_bytes = w->swarm.hold_bytes;
    o->core.remove_unseen = w->swarm.remove_unseen;
    o->core.remove_voters_min = w->swarm.remove_voters_min;
    o->core.join_healthy = w->swarm.join_healthy;
    o->cluster = found->identity.cluster;
    o->epoch = found->identity.epoch;
    o->incarnation = found->identity.incarnation;
    o->start_count = found->start_count;
    o->bootstrap = w->members;
    o->bootstrap_count = n->slot < w->swarm.founders ? w->swarm.founders : 0;
    o->joins = o->bootstrap_count == 0;
    o->peer = w->members[n->slot].peer;
    o->moves = w->swarm.weights[FAULT_CHANGE] > 0 && n->life % 2 == 0;
    o->cache_bytes_max = 64 * 1024;
    o->forward_bytes_max = 1024 * 1024;
    o->line_requests_max = 64;
    o->reads_elsewhere = (w->swarm.elsewhere >> n->slot & 1u) != 0;
    o->snapshots = (struct driver_snapshots){.entries = w->swarm.snapshot_every,
                                             .log_bytes = w->swarm.snapshot_log_bytes,
                                             .ratio = w->swarm.snapshot_ratio,
                                             .interval = w->swarm.snapshot_interval,
                                             .send_rate = w->swarm.send_rate,
                                             .chunk_bytes = w->swarm.snapshot_chunk};
    /* Its wall clock was set while it was down: to any moment of twenty years. */
    uint64_t set = hash_mix(w->options.wall_unix_ms, n->id << 32 | n->life);
    o->wall_unix_ms = n->wall_ms = w->options.wall_unix_ms + set % WALL_JUMP_MS;
    o->random = node_random;
    o->wall = node_wall;
    o->random_ctx = n;
    o->event = node_event;
    o->note = node_note;
    o->lead = herald_told;
    o->watch_ctx = n;
}

static void driver_boot_fill(struct node *n, const struct store_found *found,
                             struct driver_boot *boot, size_t entry1_len)
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
    boot->snapshot = found->snapshot.pos;
    boot->snapshot_bytes = found->snapshot_bytes;
    if (found->snapshot.config.config.count > 0) boot->snapshot_config = &found->snapshot.config;
    boot->entry1 = (struct kelp_bytes){n->read_buffer, entry1_len};
}

static bool driver_start(struct node *n, const struct store_found *found, struct kelp_fault *fault)
{
    struct driver_options *options = calloc(1, sizeof *options);
    if (options == NULL) return false;
    driver_options_fill(n, found, options);
    struct driver_boot boot = {0};
    size_t entry1_len = 0;
    if (found->base.index == 0 && found->last > 0) {
        struct kelp_pos before;
        kelp_index last;
        if (store_read(n->store, 1, 1, 1, &n->read_buffer, &n->read_room, &entry1_len, &before,
                       &last, fault) != KELP_OK) {
            free(options);
            return false;
        }
    }
    driver_boot_fill(n, found, &boot, entry1_len);
    herald_begins(n);
    struct driver_ports ports = {&saver_ops, n, &sim_net_peers_ops, n, &machine_port, n};
    n->driver = driver_new(options, &ports, &boot, node_clock(n), fault);
    free(options);
    return n->driver != NULL;
}

static enum kelp_error node_open(struct node *n, struct kelp_fault *fault)
{
    const struct world *w = n->world;
    struct store_options options = {
        .node = n->id,
        .segment_bytes = w->swarm.segment_bytes,
        .spares_max = w->swarm.spares,
        .zero_piece_bytes = w->swarm.zero_piece_bytes,
        .snapshots_kept = w->swarm.snapshots_kept,
        .random = node_random,
        .random_ctx = n,
        .note = node_note,
        .note_ctx = n,
    };
    if (w->options.broken == KELP_SIM_BREAK_VOTE_SYNC) sim_disk_lie(n->disk, NULL);
    struct draw *draw = stream(n->world, STREAM_DISK);
    if (w->swarm.crash_in_recovery && draw_chance(draw, 1, 8))
        sim_disk_budget(n->disk, draw_between(draw, 1, 30));
    if (!n->death.wanted && !w->healing) sim_disk_dies_at_sync(n->disk, n->death.again);
    enum kelp_error error = store_open(sim_disk_port(n->disk), &options, &n->store, fault);
    /* A call that fails while dying may be one whose failure the store is free to overlook. */
    if (error == KELP_OK && sim_disk_dead(n->disk)) {
        store_close(n->store);
        n->store = NULL;
        error = KELP_E_IO;
    }
    sim_disk_dies_at_sync(n->disk, 0);
    if (error == KELP_OK) sim_disk_budget(n->disk, UINT64_MAX);
    if (w->options.broken == KELP_SIM_BREAK_VOTE_SYNC) sim_disk_lie(n->disk, "vote");
    return error;
}

/* It died while it recovered: what it did so far is subject to the crash like anything else. */
static void node_dies_again(struct node *n)
{
    struct world *w = n->world;
    struct draw *draw = stream(w, STREAM_DISK);
    bool power = draw_chance(draw, 1, 2) || n->death.again != 0;
    n->death.again = 0;
    sim_disk_crash(n->disk, power ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
    w->report->recovery_crashes++;
    w->report->faults++;
    world_push(w, w->now + draw_between(draw, 1, 500) * MS, EVENT_START, n->slot, 0, NULL);
}

static void node_clock_start(struct node *n)
{
    n->clock_from = n->world->now;
    n->clock_rate = n->clock_goes;
    n->frozen_until = 0;
    n->clock_offset = prng_between(&n->random, 1, 1000000) * MS; /* a reboot: any moment, even 0 */
    n->started = n->world->now;
}

/* A store that calls damage a torn tail, cuts it and goes on: the canary of I32. */
static bool rot_is_cut(struct node *n, const struct kelp_fault *fault)
{
    if (n->world->options.broken != KELP_SIM_BREAK_ROT || fault->error != KELP_E_CORRUPT)
        return false;
    sim_disk_cut_off(n->disk, fault->where, fault->offset);
    return true;
}

/* Open the store; false: it does not start now. */
static bool node_opens(struct node *n)
{
    struct kelp_fault fault = {0};
    enum kelp_error error = node_open(n, &fault);
    if (error != KELP_OK && sim_disk_dead(n->disk)) {
        node_dies_again(n);
        return false;
    }
    if (error != KELP_OK && rot_is_cut(n, &fault)) {
        fault = (struct kelp_fault){0};
        error = node_open(n, &fault);
    }
    if (error == KELP_OK && watch_recovery(n, &fault)) {
        n->harm.failing = false;
        return true;
    }
    store_close(n->store);
    n->store = NULL;
    sim_disk_crash(n->disk, SIM_CRASH_PROCESS);
    if (!atlas_refuses(n, &fault))
        checker_fail(n->world->checker, RULE_I31, "node %u does not start: %s: %s (%s)",
                     n->slot + 1u, kelp_strerror(fault.error), fault.what, fault.where);
    return false;
}

/* A start may take its time: the store is open and the node is not there yet. */
static bool opens_slowly(struct node *n)
{
    struct world *w = n->world;
    if (n->opening) return w->now < n->opens_at;
    if (!node_opens(n)) return true;
    if (w->swarm.slow_start_max == 0) return false;
    kelp_ns takes = draw_below(stream(w, STREAM_NODE), w->swarm.slow_start_max);
    if (takes == 0) return false;
    n->opening = true;
    n->opens_at = w->now + takes;
    world_push(w, n->opens_at, EVENT_START, n->slot, 0, NULL);
    return true;
}

void node_start(struct node *n)
{
    struct world *w = n->world;
    if (n->state != NODE_DOWN || opens_slowly(n)) return;
    struct kelp_fault fault = {0};
    n->opening = false;
    node_clock_start(n);
    if (!machine_start(n, store_found(n->store), &fault) ||
        !driver_start(n, store_found(n->store), &fault)) {
        node_parts_free(n);
        sim_disk_crash(n->disk, SIM_CRASH_PROCESS);
        if (!atlas_refuses(n, &fault))
            checker_fail(w->checker, RULE_I31, "node %u does not start: %s: %s (%s)", n->slot + 1u,
                         kelp_strerror(fault.error), fault.what, fault.where);
        return;
    }
    n->state = NODE_UP;
    n->life++;
    n->paused_until = n->pause_inside = n->misled_last = 0;
    memset(n->heard, 0, sizeof n->heard);
    w->report->restarts += n->life > 1;
    n->stall = 0;
    driver_hello(n->driver, &n->hello);
    net_node_starts(n);
    nemesis_node_started(n);
    saver_work(n);
    node_run(n);
}

/* ---- running ---- */

/* In some runs somebody asks nodes for snapshots by hand: one is taken, at or above an index that
 * is applied, or nothing is new. */
static void operator_comes(struct node *n)
{
    struct kelp_pos pos;
    if (n->world->swarm.snapshot_asked == 0 || n->state != NODE_UP) return;
    if (prng_next(&n->random) % n->world->swarm.snapshot_asked != 0) return;
    kelp_index applied = rsm_applied(n->rsm).index;
    enum kelp_error error = driver_snapshot_now(n->driver, &pos);
    n->world->report->snapshots_asked += error == KELP_OK;
    bool known = error == KELP_OK || error == KELP_E_NOT_FOUND || error == KELP_E_BUSY;
    known = known || (error == KELP_E_NOT_SUPPORTED && !rsm_has_snapshots(n->rsm));
    known = known || (error == KELP_E_BUSY && driver_fetches(n->driver));
    bool told = error == KELP_OK || error == KELP_E_NOT_FOUND;
    if (!known || (told && pos.index > applied))
        checker_fail(n->world->checker, RULE_W01, "node %u: a snapshot by hand: %s at %llu",
                     n->slot + 1u, kelp_strerror(error), (unsigned long long)pos.index);
}

void node_pause(struct node *n, kelp_ns span)
{
    struct clients *all = &n->world->clients;
    if (!node_paused(n)) n->paused_from = n->world->now;
    n->paused_until = n->world->now + span;
    all->still_longest = max_u64(all->still_longest, n->paused_until - n->paused_from);
}

void node_run(struct node *n)
{
    if (n->driver == NULL) return;
    kelp_ns now = node_clock(n), due = now;
    operator_comes(n);
    for (unsigned runs = 0; due <= now && runs < RUNS_MAX; runs++) {
        due = driver_run(n->driver, now);
        if (n->pause_inside == 0 || due > now) continue;
        node_pause(n, n->pause_inside); /* the rest comes when it goes on */
        n->pause_inside = 0;
        break;
    }
    n->wake = node_world_time(n, due);
    watch_node(n);
}

void node_fault(struct node *n, const struct kelp_fault *fault)
{
    if (n->state != NODE_UP) return;
    if (n->world->renewal.on)
        renewal_faults(n, fault);
    else
        atlas_faults(n, fault);
    n->state = NODE_FAULTED;
    n->world->report->halts++;
}

static void gave_up(struct node *n)
{
    struct driver_status status;
    driver_status(n->driver, &status);
    if (status.state == DRIVER_FAULTED)
        node_fault(n, &status.fault);
    else if (n->world->renewal
                 .on) /* it had no log yet, and learned of the recovery while it asked */
        node_fault(n, &(struct kelp_fault){.error = KELP_E_FOREIGN});
    else if (!n->wiped && !churn_removed(n))
        checker_fail(n->world->checker, RULE_N02, "node %u takes itself for foreign: %s",
                     n->slot + 1u, status.words);
    else
        node_crash(n, SIM_CRASH_PROCESS, KELP_NEVER); /* it exits with status 3 */
}

void node_watch_status(struct node *n)
{
    if (n->state != NODE_UP) return;
    enum driver_state state = driver_state(n->driver);
    if (state == DRIVER_FAULTED || state == DRIVER_FOREIGN) gave_up(n);
}

/* ---- dying ---- */

static void node_goes_down(struct node *n, kelp_ns back_after)
{
    struct world *w = n->world;
    if (!w->renewal.on) checker_crashed(w->checker, n->slot);
    n->handing_since = 0;
    clients_node_dies(n);
    churn_node_dies(n);
    net_node_dies(n);
    node_parts_free(n);
    n->wake = n->job_end = n->apply_end = KELP_NEVER;
    n->paused_until = 0;
    n->opening = false;
    n->harm.failing = false; /* what its page cache holds now is no longer what the disk has */
    bool back = back_after != KELP_NEVER;
    n->state = back ? NODE_DOWN : NODE_GONE;
    if (back) world_push(w, w->now + back_after, EVENT_START, n->slot, 0, NULL);
}

void node_crash(struct node *n, enum sim_disk_crash crash, kelp_ns back_after)
{
    if (n->state != NODE_UP && n->state != NODE_FAULTED && !n->opening) return;
    saver_die(n, crash);
    node_goes_down(n, back_after);
}

void sim_node_stop(struct node *n, kelp_ns back_after)
{
    if (n->state != NODE_UP) return;
    driver_shutdown(n->driver, node_clock(n));
    clients_judge(n->world);
    /* What is still on its way to the disk at the end of a process is like a kill. */
    node_crash(n, SIM_CRASH_PROCESS, back_after);
}

/* The directory is emptied while the node is down; it must never vote again. */
void node_lose(struct node *n)
{
    struct world *w = n->world;
    if (n->state != NODE_UP) return;
    node_crash(n, SIM_CRASH_POWER, 500 * MS);
    struct sim_disk *empty =
        sim_disk_new(draw_bytes(stream(w, STREAM_DISK), 8), NODE_DISK_BYTES, w->swarm.tear_bytes);
    if (empty == NULL) {
        checker_fail(w->checker, RULE_W02, "no memory for a disk");
        return;
    }
    sim_disk_free(n->disk);
    sim_disk_habits(empty, w->swarm.garbled, w->swarm.names_loose);
    n->disk = empty;
    n->writer = (struct snapwriter){.disk = sim_disk_port(empty)};
    n->wiped = true;
}
