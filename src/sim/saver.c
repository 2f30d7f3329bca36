/* SPDX-License-Identifier: Apache-2.0 */
/* saver.c - the owner of one node's log: a queue of work for its store, done after a drawn time.
 *
 * Like the log thread of a real node it takes all saves that wait when it starts as one write. The
 * store is called when the job ends, so nothing is durable before its time. A node that dies in the
 * middle of a job has done some of its file operations: the store is called with a disk that dies
 * after so many. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/min.h"
#include "base/unset.h"
#include "sim/world.h"

#define BATCH_MAX           64u
#define OPERATIONS_OF_A_JOB 12u                 /* about; a crash falls somewhere in them */
#define SYNCS_OF_A_VOTE     2u                  /* one of each copy */
#define ROOM_RETRY          UINT64_C(250000000) /* ns until saves that found no room come again */

static struct job *job_at(struct node *n, size_t i)
{
    return &n->jobs[(n->job_first + i) % n->job_room];
}

static struct job *job_push(struct node *n, enum job_kind kind)
{
    if (n->job_count == n->job_room) {
        size_t room = n->job_room > 0 ? n->job_room * 2 : 16;
        struct job *jobs = malloc(room * sizeof *jobs);
        if (jobs == NULL) {
            checker_fail(n->world->checker, RULE_W02, "no memory for disk jobs");
            return NULL;
        }
        for (size_t i = 0; i < n->job_count; i++)
            jobs[i] = *job_at(n, i);
        free(n->jobs);
        n->jobs = jobs;
        n->job_room = room;
        n->job_first = 0;
    }
    struct job *job = job_at(n, n->job_count++);
    memset(job, 0, sizeof *job);
    job->kind = (uint8_t)kind;
    return job;
}

static void jobs_drop(struct node *n, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct job *job = job_at(n, i);
        free(job->more_parts);
        free(job->head);
    }
    n->job_first = (n->job_first + count) % n->job_room;
    n->job_count -= count;
}

/* Start the next job if the owner is free: every save that waits at the head, or one other
 * thing. */
static void batch_choose(struct node *n)
{
    n->job_batch = n->job_work ? 0 : 1;
    if (n->job_count == 0 || job_at(n, 0)->kind != JOB_SAVE) return;
    while (n->job_batch < min_u64(n->job_count, BATCH_MAX) &&
           job_at(n, n->job_batch)->kind == JOB_SAVE)
        n->job_batch++;
}

static void job_begin(struct node *n)
{
    struct world *w = n->world;
    if (n->job_end != KELP_NEVER) return;
    n->job_work = n->job_count == 0 && n->work_due;
    if (n->job_count == 0 && !n->job_work) return;
    batch_choose(n);
    struct draw *draw = stream(w, STREAM_DISK);
    kelp_ns takes = w->swarm.save_min + draw_below(draw, w->swarm.save_range) + n->stall;
    if (n->slow_until > w->now) takes += n->slow_by;
    n->stall = 0;
    n->job_end = w->now + takes;
}

/* ---- the log port ---- */

static void saver_save(void *store, uint32_t group, const struct kelp_save *save,
                       const struct kelp_bytes *parts, size_t part_count)
{
    struct node *n = store;
    (void)group;
    watch_save(n, save, parts, part_count);
    struct job *job = job_push(n, JOB_SAVE);
    if (job == NULL) return;
    job->save = *save;
    job->part_count = part_count;
    struct kelp_bytes *to = job->parts;
    if (part_count > JOB_PARTS) {
        to = job->more_parts = malloc(part_count * sizeof *to);
        if (to == NULL) {
            checker_fail(n->world->checker, RULE_W02, "no memory for disk jobs");
            job->part_count = 0;
            return;
        }
    }
    if (part_count > 0) memcpy(to, parts, part_count * sizeof *to);
    if (n->world->options.broken == KELP_SIM_BREAK_EARLY_SAVED) {
        checker_saved(n->world->checker, n->slot, save->number);
        driver_saved(n->driver, save->number);
    }
    job_begin(n);
}

static void saver_read(void *store, uint32_t group, uint64_t tag, kelp_index first,
                       uint32_t entries_max, uint64_t bytes_max)
{
    struct node *n = store;
    (void)group;
    struct job *job = job_push(n, JOB_READ);
    if (job == NULL) return;
    job->tag = tag;
    job->first = first;
    job->entries_max = entries_max;
    job->bytes_max = bytes_max;
    job_begin(n);
}

static void saver_snapshot(void *store, uint32_t group, struct kelp_pos pos, struct kelp_bytes head)
{
    struct node *n = store;
    (void)group;
    struct job *job = job_push(n, JOB_SNAPSHOT);
    if (job == NULL) return;
    job->pos = pos;
    job->fetched = driver_fetches(n->driver);
    job->head = malloc(max_u64(head.len, 1));
    if (job->head == NULL) {
        checker_fail(n->world->checker, RULE_W02, "no memory for disk jobs");
        return;
    }
    memcpy(job->head, head.data, head.len);
    job->head_len = head.len;
    job_begin(n);
}

static void saver_pledge(void *store, uint32_t group, struct kelp_cluster_id cluster,
                         uint64_t epoch)
{
    struct node *n = store;
    (void)group;
    struct job *job = job_push(n, JOB_PLEDGE);
    if (job == NULL) return;
    job->cluster = cluster;
    job->epoch = epoch;
    job_begin(n);
}

static void saver_name(void *store, uint32_t group, kelp_id node, struct kelp_cluster_id cluster,
                       uint64_t epoch)
{
    struct node *n = store;
    (void)group;
    struct job *job = job_push(n, JOB_PLEDGE);
    if (job == NULL) return;
    job->cluster = cluster;
    job->epoch = epoch;
    job->name = node;
    job_begin(n);
}

static void saver_idle(void *store, uint32_t group)
{
    struct node *n = store;
    (void)group;
    if (job_push(n, JOB_IDLE) != NULL) job_begin(n);
}

static void saver_forget(void *store, uint32_t group, struct kelp_pos pos)
{
    struct node *n = store;
    (void)group;
    struct job *job = job_push(n, JOB_FORGET);
    if (job == NULL) return;
    job->pos = pos;
    job_begin(n);
}

static void saver_apart(void *store, uint32_t group, bool apart)
{
    struct node *n = store;
    (void)group;
    struct job *job = job_push(n, JOB_APART);
    if (job == NULL) return;
    job->tag = apart;
    job_begin(n);
}

static void saver_piece(void *store, uint32_t group, uint64_t offset, struct kelp_bytes bytes,
                        bool last)
{
    struct node *n = store;
    (void)group;
    struct job *job = job_push(n, JOB_PIECE);
    if (job == NULL) return;
    job->tag = offset;
    job->piece = bytes;
    job->last_piece = last;
    n->world->report->snapshot_pieces++;
    job_begin(n);
}

static void saver_drop(void *store, uint32_t group)
{
    struct node *n = store;
    (void)group;
    n->world->report->snapshots_dropped++;
    if (job_push(n, JOB_DROP) != NULL) job_begin(n);
}

static void saver_fetch(void *store, uint32_t group, struct kelp_pos pos, uint64_t offset)
{
    struct node *n = store;
    (void)group;
    struct job *job = job_push(n, JOB_FETCH);
    if (job == NULL) return;
    job->pos = pos;
    job->tag = offset;
    job_begin(n);
}

const struct kelp_store_ops saver_ops = {
    .size = sizeof(struct kelp_store_ops),
    .save = saver_save,
    .read = saver_read,
    .snapshot = saver_snapshot,
    .pledge = saver_pledge,
    .idle = saver_idle,
    .name = saver_name,
    .piece = saver_piece,
    .drop = saver_drop,
    .fetch = saver_fetch,
    .forget = saver_forget,
    .apart = saver_apart,
};

/* ---- doing it ---- */

static enum kelp_error store_saves(struct node *n, struct kelp_fault *fault)
{
    UNSET struct store_save_item items[BATCH_MAX]; /* as many as are in the batch */
    for (size_t i = 0; i < n->job_batch; i++) {
        const struct job *job = job_at(n, i);
        items[i] = (struct store_save_item){
            .save = job->save,
            .parts = job->more_parts != NULL ? job->more_parts : job->parts,
            .part_count = job->part_count,
        };
    }
    return store_save(n->store, items, n->job_batch, fault);
}

struct read_result {
    size_t len;
    struct kelp_pos before;
    kelp_index last;
    uint64_t size; /* of a snapshot's file */
};

static enum kelp_error job_perform(struct node *n, const struct job *job, struct read_result *read,
                                   struct kelp_fault *fault)
{
    switch ((enum job_kind)job->kind) {
    case JOB_SAVE: return store_saves(n, fault);
    case JOB_READ:
        return store_read(n->store, job->first, job->entries_max, job->bytes_max, &n->read_buffer,
                          &n->read_room, &read->len, &read->before, &read->last, fault);
    case JOB_SNAPSHOT:
        return store_snapshot(n->store, job->pos, (struct kelp_bytes){job->head, job->head_len},
                              fault);
    case JOB_PLEDGE:
        if (job->name != 0) return store_name(n->store, job->name, job->cluster, job->epoch, fault);
        return store_pledge(n->store, job->cluster, job->epoch, fault);
    case JOB_FORGET: store_forget(n->store, job->pos); return KELP_OK;
    case JOB_APART: return store_apart(n->store, job->tag != 0, fault);
    case JOB_IDLE: return store_mark_idle(n->store, fault);
    case JOB_PIECE:
        return snapwriter_write(&n->writer, job->tag, job->piece, job->last_piece, fault);
    case JOB_DROP: return snapwriter_drop(&n->writer, fault);
    case JOB_FETCH:
        return snapreader_read(&n->reader, job->pos, job->tag, n->piece, &read->len, &read->size,
                               fault);
    }
    UNREACHABLE();
}

/* The job at the head, or housekeeping. */
static enum kelp_error turn_perform(struct node *n, struct read_result *read,
                                    struct kelp_fault *fault)
{
    if (n->job_work) return store_idle_work(n->store, &n->work_due, fault);
    return job_perform(n, job_at(n, 0), read, fault);
}

static void job_report(struct node *n, const struct job *job, enum kelp_error error,
                       const struct read_result *read, const struct kelp_fault *fault)
{
    struct checker *checker = n->world->checker;
    if (job->kind == JOB_READ && (error == KELP_E_GONE || error == KELP_OK)) {
        driver_read_done(n->driver, job->tag, error, read->before, job->first, read->last,
                         (struct kelp_bytes){n->read_buffer, error == KELP_OK ? read->len : 0});
        return;
    }
    if (job->kind == JOB_SNAPSHOT && error == KELP_E_NO_SPACE && !store_failed(n->store)) {
        driver_snapshot_done(n->driver, job->pos.index, error); /* the one before still stands */
        return;
    }
    if (job->kind == JOB_PIECE && error == KELP_E_NO_SPACE) {
        driver_piece_done(n->driver, error); /* it is given up */
        return;
    }
    if (job->kind == JOB_FETCH) {
        size_t len = error == KELP_OK ? read->len : 0;
        driver_fetched(n->driver, error, read->size, (struct kelp_bytes){n->piece, len});
        return;
    }
    if (error != KELP_OK) {
        node_fault(n, fault);
        driver_store_fault(n->driver, fault);
        return;
    }
    switch ((enum job_kind)job->kind) {
    case JOB_SAVE: {
        uint64_t number = job_at(n, n->job_batch - 1)->save.number;
        if (!n->world->renewal.on) checker_saved(checker, n->slot, number);
        if (n->world->options.broken != KELP_SIM_BREAK_EARLY_SAVED) driver_saved(n->driver, number);
        break;
    }
    case JOB_SNAPSHOT:
        if (!n->world->renewal.on) checker_snapshot(checker, n->slot, job->pos, job->fetched);
        driver_snapshot_done(n->driver, job->pos.index, KELP_OK);
        break;
    case JOB_PLEDGE: driver_pledged(n->driver); break;
    case JOB_PIECE:
    case JOB_DROP: driver_piece_done(n->driver, KELP_OK); break;
    case JOB_READ:
    case JOB_FETCH:
    case JOB_FORGET:
    case JOB_APART:
    case JOB_IDLE: break;
    }
}

/* The kind of the job that runs, 0: housekeeping; for the trace. */
uint64_t saver_doing(const struct node *n)
{
    return n->job_work ? 0 : n->jobs[n->job_first].kind;
}

/* A save may use up a spare, and let segments go. */
static bool save_made_work(struct node *n)
{
    for (size_t i = 0; i < n->job_batch; i++) {
        /* these let go of entries, whether or not a file was begun or ended for it */
        if ((job_at(n, i)->save.flags & (KELP_SAVE_COMPACT | KELP_SAVE_RESET)) != 0) return true;
    }
    struct store_files files = store_files(n->store);
    bool changed =
        files.segments != n->segments || files.spares != n->spares || files.short_of_room;
    n->segments = files.segments;
    n->spares = files.spares;
    return changed;
}

/* How much room there is; while it is short, it is looked at again and again. */
static void space_tell(struct node *n)
{
    struct store_space space;
    store_space(n->store, &space);
    uint64_t mib = max_u64(space.bytes / (UINT64_C(1024) * 1024), 1);
    driver_space(n->driver, (uint32_t)min_u64(mib, UINT32_MAX), space.level);
    if (n->looks || (space.level == KELP_SPACE_OK && !store_files(n->store).short_of_room)) return;
    n->looks = true;
    world_push(n->world, n->world->now + ROOM_RETRY, EVENT_LOOK, n->slot, n->life, NULL);
}

void saver_work(struct node *n)
{
    n->work_due = true;
    n->looks = false;
    space_tell(n);
    job_begin(n);
}

void saver_looks(struct node *n, uint64_t life)
{
    if (n->state != NODE_UP || n->life != life) return;
    world_trace(n->world, EVENT_LOOK, n->slot, life);
    n->looks = false;
    n->work_due = true;
    space_tell(n);
    job_begin(n);
    node_run(n);
}

/* Does the job that runs save a term or a vote? */
static bool job_votes(struct node *n)
{
    for (size_t i = 0; i < n->job_batch; i++) {
        const struct job *job = job_at(n, i);
        if (job->kind == JOB_SAVE && (job->save.flags & KELP_SAVE_VOTE) != 0) return true;
    }
    return false;
}

static bool dies_inside(struct node *n)
{
    if (!n->death.wanted || n->world->healing || n->state != NODE_UP || n->job_work) return false;
    return job_at(n, 0)->kind == JOB_SAVE && (!n->death.voting || job_votes(n));
}

/* What makes room goes past the saves that wait for some, as in a node: what belongs to a snapshot,
 * and what the saves themselves let go. */
static void room_perform(struct node *n)
{
    struct kelp_fault fault = {0};
    struct read_result read = {0};
    for (size_t i = 0; i < n->job_count && !store_failed(n->store);) {
        struct job job = *job_at(n, i);
        if (job.kind == JOB_SAVE && (job.save.flags & KELP_SAVE_COMPACT) != 0)
            store_compact(n->store, job.save.keep);
        bool passes = job.kind == JOB_SNAPSHOT || job.kind == JOB_PIECE || job.kind == JOB_DROP ||
                      job.kind == JOB_FETCH;
        if (!passes) {
            i++;
            continue;
        }
        n->job_count--;
        for (size_t after = i; after < n->job_count; after++)
            *job_at(n, after) = *job_at(n, after + 1);
        enum kelp_error error = job_perform(n, &job, &read, &fault);
        job_report(n, &job, error, &read, &fault);
        free(job.head);
        n->world->report->snapshots_past++;
    }
    enum kelp_error error = store_idle_work(n->store, &n->work_due, &fault);
    if (error == KELP_OK) return;
    n->work_due = false;
    node_fault(n, &fault);
    driver_store_fault(n->driver, &fault);
}

void saver_job_ends(struct node *n)
{
    if (dies_inside(n)) {
        nemesis_dies_inside(n);
        return;
    }
    UNSET struct kelp_fault fault;
    fault_none(&fault);
    struct read_result read = {0};
    bool work = n->job_work;
    enum kelp_error error = turn_perform(n, &read, &fault);
    n->job_end = KELP_NEVER;
    bool saves = !work && job_at(n, 0)->kind == JOB_SAVE;
    if (saves && error == KELP_E_NO_SPACE && !store_failed(n->store)) {
        room_perform(n);
        space_tell(n);
        batch_choose(n); /* a reset may make void what waits, and goes with it */
        n->job_end = n->world->now + ROOM_RETRY; /* a disk that stalls, until there is room */
        node_run(n);
        return;
    }
    if (work) {
        if (error != KELP_OK) {
            n->work_due = false;
            node_fault(n, &fault);
            driver_store_fault(n->driver, &fault);
        }
    } else {
        bool changed = saves && save_made_work(n);
        if (changed && error == KELP_OK) space_tell(n);
        bool snapshot = job_at(n, 0)->kind == JOB_SNAPSHOT; /* lets a part of the log go */
        n->work_due = n->work_due || changed || snapshot;
        job_report(n, job_at(n, 0), error, &read, &fault);
        jobs_drop(n, n->job_batch);
    }
    job_begin(n);
    if (!work || error != KELP_OK) node_run(n);
}

void saver_die(struct node *n, enum sim_disk_crash crash)
{
    struct draw *draw = stream(n->world, STREAM_DISK);
    if (n->job_end != KELP_NEVER && n->state == NODE_UP) {
        uint64_t operations = draw_below(draw, OPERATIONS_OF_A_JOB);
        struct kelp_fault fault = {0};
        struct read_result read = {0};
        if (job_votes(n) && draw_chance(draw, 3, 4)) {
            operations = OPERATIONS_OF_A_JOB;
            sim_disk_dies_at_sync(n->disk, draw_between(draw, 1, SYNCS_OF_A_VOTE));
        }
        sim_disk_budget(n->disk, operations);
        /* Nobody hears how it went: the node is dead. */
        if (operations > 0) (void)turn_perform(n, &read, &fault);
    }
    sim_disk_budget(n->disk, 0);
    snapwriter_close(&n->writer);
    snapreader_close(&n->reader);
    store_close(n->store);
    n->store = NULL;
    if (n->job_count > 0) jobs_drop(n, n->job_count);
    n->work_due = false;
    sim_disk_crash(n->disk, crash);
}
