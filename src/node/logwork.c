/* SPDX-License-Identifier: Apache-2.0 */
/* logwork.c - what the owner of the store does for a job, on whatever thread it is.
 *
 * Consecutive saves are one store_save: one write and one sync. A save that finds no room is no
 * failure: it stays at the head of everything and is tried again, and the core sees a disk that
 * stalls. Only what makes room goes past it: a snapshot, which holds nothing but what was reported
 * durable, the compaction of the saves themselves, and a save that resets the log, which makes
 * those before it void and is written with them. Long before that the store's judgement of
 * its room goes to the loop, whenever it changes.
 * Invariant: after the first failure nothing is saved any more and nothing is reported as saved. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/fault.h"
#include "node/saver.h"

#define MEBIBYTE    (1024u * 1024)
#define BLOCK_BYTES 4096u                /* a write begins on a block of its own */
#define SPACE_NS    (1000 * MILLISECOND) /* between two looks at the room */
#define SLOW_NS     (2 * MILLISECOND) /* a sync that takes longer is not waited for on the loop */
#define SLOW_WEIGHT 4u                /* so many quick ones make up for it */

/* The first failure ends the log; one job carries it to the loop. */
static void job_failed(struct saver *s, struct job *job, const struct kelp_fault *fault)
{
    if (s->failed) return;
    s->failed = true;
    s->fault = *fault;
    job->ends_log = true;
}

/* False: the disk has no room for them now. */
static bool saves_perform(struct saver *s, struct job *first, size_t count)
{
    struct store_save_item *items = s->items;
    struct kelp_fault fault = {.error = KELP_OK};
    struct job *job = first;
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++, job = STAILQ_NEXT(job, link)) {
        items[i].save = job->save;
        items[i].parts = job->parts;
        items[i].part_count = job->part_count;
        bytes += job->bytes;
        if (s->failed) job->dropped = true;
    }
    if (s->failed) return true;
    uint64_t begun = uv_hrtime();
    enum kelp_error error = store_save(s->store, items, count, &fault);
    if (error == KELP_E_NO_SPACE && !store_failed(s->store)) return false;
    first->sync_ns = uv_hrtime() - begun;
    if (first->sync_ns >= SLOW_NS)
        s->slow = (unsigned)min_u64(s->slow + SLOW_WEIGHT, 2 * SAVER_SLOW);
    else if (s->slow > 0)
        s->slow--;
    s->work_bytes += bytes / BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES;
    s->work_due = true; /* it may have used up a spare, or let a segment go */
    if (error == KELP_OK) return true;
    job = first;
    for (size_t i = 0; i < count; i++, job = STAILQ_NEXT(job, link))
        job->error = error;
    job_failed(s, first, &fault);
    return true;
}

static void job_perform(struct saver *s, struct job *job)
{
    struct kelp_fault fault = {.error = KELP_OK};
    size_t room = 0;
    bool final = false;
    switch (job->kind) {
    case JOB_SAVE:
    case JOB_SPACE: UNREACHABLE();
    case JOB_READ:
        job->error =
            store_read(s->store, job->read.first, job->read.entries_max, job->read.bytes_max,
                       &job->out, &room, &job->out_len, &job->before, &job->last, &fault);
        final = job->error != KELP_E_GONE && job->error != KELP_E_NOT_FOUND &&
                job->error != KELP_E_NO_MEMORY;
        break;
    case JOB_SNAPSHOT:
        job->error =
            store_snapshot(s->store, job->pos, bytes_of(job->parts, job->head_len), &fault);
        s->work_due = true;
        final = job->error != KELP_E_ARGUMENT && job->error != KELP_E_NO_SPACE &&
                job->error != KELP_E_NO_MEMORY; /* the snapshot before it still stands */
        break;
    case JOB_FORGET:
        store_forget(s->store, job->pos);
        s->work_due = true;
        break;
    case JOB_APART:
        job->error = store_apart(s->store, job->apart, &fault);
        final = true;
        break;
    case JOB_PLEDGE:
        job->error = job->pledge.node != 0
                         ? store_name(s->store, job->pledge.node, job->pledge.cluster,
                                      job->pledge.epoch, &fault)
                         : store_pledge(s->store, job->pledge.cluster, job->pledge.epoch, &fault);
        final = true;
        break;
    case JOB_IDLE:
        /* A mark behind the last write is of use only if nothing follows it. */
        if (STAILQ_NEXT(job, link) == NULL) job->error = store_mark_idle(s->store, &fault);
        final = true;
        break;
    }
    if (job->error != KELP_OK && final) job_failed(s, job, &fault);
}

/* What the saves at the head wait for. */
static void room_perform(struct saver *s, struct job_list *ended)
{
    struct job *job = STAILQ_FIRST(&s->jobs), *next;
    for (; job != NULL; job = next) {
        next = STAILQ_NEXT(job, link);
        if (job->kind == JOB_SAVE && (job->save.flags & KELP_SAVE_COMPACT) != 0)
            store_compact(s->store, job->save.keep);
        if (job->kind != JOB_SNAPSHOT) continue;
        STAILQ_REMOVE(&s->jobs, job, job, link);
        job_perform(s, job);
        STAILQ_INSERT_TAIL(ended, job, link);
    }
}

/* A reset of the log and the saves before it become one batch: what else stands between them waits,
 * and finds a log that begins later. */
static void reset_joins(struct saver *s)
{
    struct job *job, *next, *reset = NULL, *at;
    STAILQ_FOREACH(job, &s->jobs, link)
    {
        if (job->kind == JOB_SAVE && (job->save.flags & KELP_SAVE_RESET) != 0) reset = job;
    }
    if (reset == NULL) return;
    at = reset;
    for (job = STAILQ_FIRST(&s->jobs); job != reset; job = next) {
        next = STAILQ_NEXT(job, link);
        if (job->kind == JOB_SAVE) continue;
        STAILQ_REMOVE(&s->jobs, job, job, link);
        STAILQ_INSERT_AFTER(&s->jobs, at, job, link);
        at = job;
    }
}

/* Move the jobs that are done to `ended`; what found no room stays at the head. */
void jobs_perform(struct saver *s, struct job_list *ended)
{
    struct job_list *jobs = &s->jobs;
    struct job *job;
    s->stuck = false;
    while ((job = STAILQ_FIRST(jobs)) != NULL) {
        size_t count = 0;
        if (job->kind == JOB_SAVE) {
            for (struct job *next = job; next != NULL && next->kind == JOB_SAVE; count++) {
                if (count == SAVER_BATCH) break;
                next = STAILQ_NEXT(next, link);
            }
            s->stuck = !saves_perform(s, job, count);
            if (s->stuck) {
                room_perform(s, ended);
                reset_joins(s); /* with the next look */
                return;
            }
        } else {
            job_perform(s, job);
            count = 1;
        }
        for (; count > 0; count--) {
            job = STAILQ_FIRST(jobs);
            STAILQ_REMOVE_HEAD(jobs, link);
            STAILQ_INSERT_TAIL(ended, job, link);
        }
    }
}

/* A failed piece of housekeeping ends the log like a failed save: a job is made to say so. */
void work_perform(struct saver *s, struct job_list *ended)
{
    struct kelp_fault fault = {.error = KELP_OK};
    enum kelp_error error = store_idle_work(s->store, &s->work_due, &fault);
    s->work_bytes = 0;
    if (error == KELP_OK) return;
    s->work_due = false;
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) return; /* the next save meets the same failure */
    job->kind = JOB_IDLE;
    job_failed(s, job, &fault);
    STAILQ_INSERT_TAIL(ended, job, link);
}

/* How much room is left, to the loop: when the judgement changes, and now and then the figure. */
static void space_tell(struct saver *s, struct job_list *ended)
{
    struct store_space space;
    store_space(s->store, &space);
    uint32_t mib = (uint32_t)min_u64(max_u64(space.bytes / MEBIBYTE, 1), UINT32_MAX);
    if (space.level == s->space && mib == s->space_mib) return;
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) return; /* the next look tells it */
    job->kind = JOB_SPACE;
    job->space.level = s->space = space.level;
    job->space.mib = s->space_mib = mib;
    STAILQ_INSERT_TAIL(ended, job, link);
}

void figures_take(struct saver *s, struct job_list *ended)
{
    struct store_stats stats;
    uint64_t free_bytes = 0, now = uv_hrtime();
    struct kelp_fault fault = {.error = KELP_OK};
    store_stats(s->store, &stats);
    bool files = stats.segments != s->figures.store.segments ||
                 stats.spares_ready != s->figures.store.spares_ready ||
                 stats.no_room != s->figures.store.no_room;
    s->short_of_room = stats.short_of_room;
    if (files || s->space_at == 0 || now - s->space_at > SPACE_NS) space_tell(s, ended);
    bool look = s->space_at == 0 || now - s->space_at > SPACE_NS;
    if (look && s->disk.ops->space(s->disk.state, &free_bytes, &fault) != KELP_OK) look = false;
    if (look) s->space_at = now;
    uv_mutex_lock(&s->lock);
    s->figures.store = stats;
    if (look) s->figures.disk_free_bytes = free_bytes;
    uv_mutex_unlock(&s->lock);
}
