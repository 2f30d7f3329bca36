/* SPDX-License-Identifier: Apache-2.0 */
/* saver.c - the owner of the log, and how it shares two threads with the loop.
 *
 *   loop: save, read, snapshot, pledge, idle --> queue --> the store's owner takes all of it
 *   loop <-- called, or list and uv_async <-- what came of it, in the order it was given
 *
 * A hand-over between threads on two cores costs half a sync. So the thread that owns the loop
 * saves by itself, between two turns of the loop, and lends the loop meanwhile: a second thread
 * takes it over if the sync outlasts LEND_NS, and the late one is the log's thread from then on. So
 * a hung disk never holds the loop.
 *
 *                 saves are due                      LEND_NS have passed
 *     TOGETHER ------------------> TOGETHER, lent ------------------------> APART
 *     the loop's owner   <------   it is in the       the other owns the loop, the late one the
 *     owns the store too  in time  store              store; back once nothing is left and the
 *        |    ^                                       last syncs were quick
 *        v    | done
 *      APART: other jobs, housekeeping, saves while the disk is slow or has no room
 *
 * Until saver_run both stay where they are: the caller runs the loop, the second thread is the
 * log's. Housekeeping (zeros ahead of the log, recycling) is done in small pieces by the thread
 * beside the loop while nothing waits: after a moment of quiet, and under load between two batches,
 * as fast as the log is consumed, so that it cannot starve.
 *
 * Invariants: one thread owns the loop and one the store, both as the lock says; driver and
 * sockets are touched by the loop's owner only, outside of the store. */
#include "node/saver.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/hist.h"

#define QUIET_NS (5 * MILLISECOND)
#define LEND_NS  (2 * MILLISECOND) /* longer than that a loop does not wait for its owner */
#define WORK_BYTES                                                                                 \
    (1024u * 1024) /* under load a piece of housekeeping for as much that was written */
#define RETRY_NS (250 * MILLISECOND) /* between two tries of what found no room */

int thread_start(uv_thread_t *thread, void (*entry)(void *arg), void *arg)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
    int error = uv_thread_create(thread, entry, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* ---- what came of it ------------------------------------------------------------------------- */

static void job_free(struct job *job)
{
    free(job->out);
    free(job);
}

static void job_done(struct saver *s, const struct job *job)
{
    const struct kelp_store_done *d = &s->done;
    enum kelp_error error = job->error;
    switch (job->kind) {
    case JOB_SAVE:
        if (job->sync_ns > 0) hist_add(&s->measured->sync_ns, job->sync_ns);
        if (job->dropped || error != KELP_OK) break;
        hist_add(&s->measured->append_ns, uv_hrtime() - job->given_at);
        d->saved(d->ctx, job->group, job->save.number);
        break;
    case JOB_READ:
        d->read(d->ctx, job->group, job->read.tag, error, job->before, job->read.first, job->last,
                bytes_of(job->out, error == KELP_OK ? job->out_len : 0));
        break;
    case JOB_SNAPSHOT: d->snapshot(d->ctx, job->group, job->pos.index, error); break;
    case JOB_PLEDGE:
        if (error == KELP_OK) d->pledged(d->ctx, job->group);
        break;
    case JOB_FORGET:
    case JOB_APART:
    case JOB_IDLE: break;
    case JOB_SPACE:
        if (d->space != NULL) d->space(d->ctx, job->group, job->space.mib, job->space.level);
        break;
    }
    if (job->ends_log) d->fault(d->ctx, job->group, &s->fault);
}

/* On the loop. The figures count what was given by the loop and is not done. */
static void jobs_done(struct saver *s, struct job_list *ended)
{
    struct job *job;
    uint64_t bytes = 0, count = 0;
    if (STAILQ_EMPTY(ended)) return;
    while ((job = STAILQ_FIRST(ended)) != NULL) {
        STAILQ_REMOVE_HEAD(ended, link);
        job_done(s, job);
        bytes += job->bytes;
        count += job->given_at != 0;
        job_free(job);
    }
    uv_mutex_lock(&s->lock);
    s->figures.queued_jobs -= count;
    s->figures.queued_bytes -= bytes;
    uv_mutex_unlock(&s->lock);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct saver *s = handle->data;
    if (s->stopped != NULL) s->stopped(s->stopped_ctx);
}

static void on_async(uv_async_t *async)
{
    struct saver *s = async->data;
    struct job_list ended = STAILQ_HEAD_INITIALIZER(ended);
    uv_mutex_lock(&s->lock);
    STAILQ_CONCAT(&ended, &s->ended);
    bool finished = s->finished;
    uv_mutex_unlock(&s->lock);
    jobs_done(s, &ended);
    if (finished && !uv_is_closing((uv_handle_t *)async))
        uv_close((uv_handle_t *)async, on_async_closed);
}

static void jobs_report(struct saver *s, struct job_list *jobs)
{
    if (STAILQ_EMPTY(jobs)) return;
    uv_mutex_lock(&s->lock);
    STAILQ_CONCAT(&s->ended, jobs);
    uv_mutex_unlock(&s->lock);
    (void)uv_async_send(
        &s->async); /* fails only on a closed handle; ours closes after the thread */
}

/* ---- beside the loop ------------------------------------------------------------------------- */

/* Nothing to do but to look again whether there is room, at a bounded pace. */
static bool patient(const struct saver *s)
{
    return s->stuck || (!s->work_due && (s->short_of_room || s->space != KELP_SPACE_OK));
}

static bool nothing_to_take(const struct saver *s)
{
    return s->stuck || STAILQ_EMPTY(&s->queue);
}

/* The loop's owner may have the store: its syncs are likely to be quick. */
static bool may_return(const struct saver *s)
{
    return s->runs && !s->stop && !s->stuck && !s->failed && s->slow < SAVER_SLOW;
}

/* Wait for jobs, with the lock. True: it was quiet for a moment, time for housekeeping. */
static bool jobs_wait(struct saver *s)
{
    bool waits = patient(s);
    uint64_t until = uv_hrtime() + (waits ? RETRY_NS : QUIET_NS);
    while (nothing_to_take(s) && !s->stop && !may_return(s)) {
        uint64_t now = uv_hrtime();
        if (s->failed || (!s->work_due && !waits))
            uv_cond_wait(&s->wake, &s->lock);
        else if (now >= until || uv_cond_timedwait(&s->wake, &s->lock, until - now) == UV_ETIMEDOUT)
            return true;
    }
    return false;
}

/* The store is this thread's: take what is queued, or do a piece of housekeeping. With the lock. */
static void store_turn(struct saver *s)
{
    struct job_list ended = STAILQ_HEAD_INITIALIZER(ended);
    bool upkeep = s->upkeep;
    s->upkeep = false;
    if (!upkeep) upkeep = jobs_wait(s);
    if (!upkeep && nothing_to_take(s) && !s->stop) {
        s->apart = false; /* may_return: the loop's owner sees to what comes */
        return;
    }
    STAILQ_CONCAT(&s->jobs, &s->queue);
    bool stop = s->stop;
    uv_mutex_unlock(&s->lock);
    if (stop && s->stuck) s->failed = true; /* what waits for room will never be durable here */
    bool last = stop && STAILQ_EMPTY(&s->jobs);
    if (!last) {
        jobs_perform(s, &ended);
        jobs_report(s, &ended);
        bool late = s->work_due && s->work_bytes >= WORK_BYTES;
        if ((upkeep || late || s->stuck) && !s->failed) work_perform(s, &ended);
        figures_take(s, &ended);
        jobs_report(s, &ended);
    }
    uv_mutex_lock(&s->lock);
    s->busy_at = uv_hrtime();
    s->finished = last;
    s->apart = last || !may_return(s);
    if (last || (!s->apart && !STAILQ_EMPTY(&s->queue))) (void)uv_async_send(&s->async);
}

static bool upkeep_is_due(const struct saver *s, uint64_t now)
{
    if (s->lent || s->apart) return false;
    return (s->work_due && now - s->busy_at >= QUIET_NS) ||
           (patient(s) && now - s->busy_at >= RETRY_NS);
}

/* Nothing to do but to see that the loop's owner is not late; with the lock. */
static void owner_watch(struct saver *s, uint64_t now)
{
    uint64_t since = now - s->busy_at;
    if (s->lent || since < LEND_NS) { /* or it will soon be lent again */
        uint64_t rest = s->lent ? LEND_NS - since : LEND_NS;
        (void)uv_cond_timedwait(&s->wake, &s->lock, rest);
        return;
    }
    s->dozes = true;
    if (s->finished || !(s->work_due || patient(s)))
        uv_cond_wait(&s->wake, &s->lock);
    else
        (void)uv_cond_timedwait(&s->wake, &s->lock, s->work_due ? QUIET_NS : RETRY_NS);
    s->dozes = false;
}

/* The thread beside the loop. True: it owns the loop now. False: nothing is left to do. */
static bool aside(struct saver *s, enum seat me)
{
    uv_mutex_lock(&s->lock);
    while (s->looper != me && !s->over && (s->runs || !s->finished)) {
        uint64_t now = uv_hrtime();
        if (s->apart && !s->finished) {
            store_turn(s);
        } else if (s->lent && now - s->busy_at >= LEND_NS) {
            s->looper = me;
            s->lent = false;
            s->apart = true; /* the late one's, who finds out when its sync returns */
        } else if (!s->finished && upkeep_is_due(s, now)) {
            s->apart = s->upkeep = true;
        } else {
            owner_watch(s, now);
        }
    }
    bool mine = s->looper == me && !s->over;
    uv_mutex_unlock(&s->lock);
    return mine;
}

/* ---- on the loop ----------------------------------------------------------------------------- */

/* There is work, and the store is the loop's owner's; with the lock. */
static bool due(const struct saver *s)
{
    return s->runs && !s->apart && !STAILQ_EMPTY(&s->queue);
}

bool saver_due(struct saver *s)
{
    uv_mutex_lock(&s->lock);
    bool is = due(s);
    uv_mutex_unlock(&s->lock);
    return is;
}

/* Save what is queued, between two turns of the loop. False: the loop has another owner now. */
static bool save_here(struct saver *s, enum seat me)
{
    struct job_list ended = STAILQ_HEAD_INITIALIZER(ended);
    uv_mutex_lock(&s->lock);
    if (!due(s)) { /* looked at and taken at once: the other may be about to tidy up there */
        uv_mutex_unlock(&s->lock);
        return true;
    }
    STAILQ_CONCAT(&s->jobs, &s->queue);
    s->lent = true;
    s->busy_at = uv_hrtime();
    if (s->dozes) uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
    jobs_perform(s, &ended);
    figures_take(s, &ended);
    uv_mutex_lock(&s->lock);
    bool mine = s->looper == me;
    if (mine) {
        s->lent = false;
        s->upkeep = s->work_due && s->work_bytes >= WORK_BYTES;
        s->apart = s->upkeep || !may_return(s);
        if (s->apart) uv_cond_signal(&s->wake);
    }
    STAILQ_CONCAT(&s->ended, &ended);
    if (mine) STAILQ_CONCAT(&ended, &s->ended); /* what the other did before it is told first */
    uv_mutex_unlock(&s->lock);
    if (mine)
        jobs_done(s, &ended);
    else
        (void)uv_async_send(&s->async); /* it closes only after this thread has said so */
    return mine;
}

/* One turn of the loop. False: it is not this thread's any more. */
static bool loop_turn(struct saver *s, enum seat me)
{
    if (uv_run(s->loop, UV_RUN_ONCE) != 0) return save_here(s, me);
    uv_mutex_lock(&s->lock);
    s->over = true; /* nothing is left open on it */
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
    return false;
}

static void seat_take(struct saver *s, enum seat me)
{
    while (aside(s, me)) {
        while (loop_turn(s, me))
            continue;
    }
}

/* Whose thread this is, NULL: no saver's. */
static _Thread_local const struct saver *works_for;

static void first_run(void *arg)
{
    works_for = arg;
    seat_take(arg, SEAT_FIRST);
}

static void second_run(void *arg)
{
    works_for = arg;
    seat_take(arg, SEAT_SECOND);
}

bool saver_on_thread(const struct saver *s)
{
    return works_for == s;
}

/* ---- given by the loop ----------------------------------------------------------------------- */

static struct job *job_new(struct saver *s, enum job_kind kind, uint32_t group, size_t bytes_behind)
{
    if (s->broken) return NULL;
    struct job *job = malloc(sizeof *job + bytes_behind);
    if (job == NULL) {
        struct kelp_fault fault = {.error = KELP_OK};
        s->broken = true; /* a job left out would change the order of the others */
        (void)fault_set(&fault, KELP_E_NO_MEMORY, "log", "no memory to queue work for the log");
        s->done.fault(s->done.ctx, group, &fault);
        return NULL;
    }
    memset(job, 0, sizeof *job);
    job->kind = kind;
    job->group = group;
    job->given_at = uv_hrtime();
    return job;
}

static void job_give(struct saver *s, struct job *job)
{
    uv_mutex_lock(&s->lock);
    STAILQ_INSERT_TAIL(&s->queue, job, link);
    s->figures.queued_jobs++;
    s->figures.queued_bytes += job->bytes;
    if (!s->apart && (job->kind != JOB_SAVE || !may_return(s))) s->apart = true;
    if (s->apart) uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
}

static void saver_save(void *store, uint32_t group, const struct kelp_save *save,
                       const struct kelp_bytes *parts, size_t part_count)
{
    struct saver *s = store;
    struct job *job = job_new(s, JOB_SAVE, group, part_count * sizeof *parts);
    if (job == NULL) return;
    job->save = *save;
    job->part_count = part_count;
    for (size_t i = 0; i < part_count; i++) {
        job->parts[i] = parts[i];
        job->bytes += parts[i].len;
    }
    job_give(s, job);
}

static void saver_read(void *store, uint32_t group, uint64_t tag, kelp_index first,
                       uint32_t entries_max, uint64_t bytes_max)
{
    struct job *job = job_new(store, JOB_READ, group, 0);
    if (job == NULL) return;
    job->read.tag = tag;
    job->read.first = first;
    job->read.entries_max = entries_max;
    job->read.bytes_max = bytes_max;
    job_give(store, job);
}

static void saver_snapshot(void *store, uint32_t group, struct kelp_pos pos, struct kelp_bytes head)
{
    struct job *job = job_new(store, JOB_SNAPSHOT, group, head.len);
    if (job == NULL) return;
    job->pos = pos;
    job->head_len = job->bytes = head.len;
    if (head.len > 0) memcpy(job->parts, head.data, head.len);
    job_give(store, job);
}

static void saver_pledge(void *store, uint32_t group, struct kelp_cluster_id cluster,
                         uint64_t epoch)
{
    struct job *job = job_new(store, JOB_PLEDGE, group, 0);
    if (job == NULL) return;
    job->pledge.cluster = cluster;
    job->pledge.epoch = epoch;
    job->pledge.node = 0;
    job_give(store, job);
}

static void saver_name(void *store, uint32_t group, kelp_id node, struct kelp_cluster_id cluster,
                       uint64_t epoch)
{
    struct job *job = job_new(store, JOB_PLEDGE, group, 0);
    if (job == NULL) return;
    job->pledge.cluster = cluster;
    job->pledge.epoch = epoch;
    job->pledge.node = node;
    job_give(store, job);
}

static void saver_idle(void *store, uint32_t group)
{
    struct job *job = job_new(store, JOB_IDLE, group, 0);
    if (job != NULL) job_give(store, job);
}

static void saver_forget(void *store, uint32_t group, struct kelp_pos pos)
{
    struct job *job = job_new(store, JOB_FORGET, group, 0);
    if (job == NULL) return;
    job->pos = pos;
    job_give(store, job);
}

static void saver_apart(void *store, uint32_t group, bool apart)
{
    struct job *job = job_new(store, JOB_APART, group, 0);
    if (job == NULL) return;
    job->apart = apart;
    job_give(store, job);
}

static void saver_piece(void *store, uint32_t group, uint64_t offset, struct kelp_bytes bytes,
                        bool last)
{
    const struct saver *s = store;
    ASSERT(s->keeper != NULL);
    keeper_piece(s->keeper, group, offset, bytes, last);
}

static void saver_drop(void *store, uint32_t group)
{
    const struct saver *s = store;
    ASSERT(s->keeper != NULL);
    keeper_drop(s->keeper, group);
}

static void saver_fetch(void *store, uint32_t group, struct kelp_pos pos, uint64_t offset)
{
    const struct saver *s = store;
    ASSERT(s->keeper != NULL);
    keeper_fetch(s->keeper, group, pos, offset);
}

void saver_keeper(struct saver *s, struct keeper *k)
{
    s->keeper = k;
}

const struct kelp_store_ops saver_store_ops = {
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

/* ---- life ------------------------------------------------------------------------------------ */

struct saver *saver_new(uv_loop_t *loop, struct store *store, struct disk disk,
                        const struct kelp_store_done *done, struct node_histograms *measured)
{
    struct saver *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->loop = loop;
    s->store = store;
    s->disk = disk;
    s->done = *done;
    s->measured = measured;
    s->work_due = true;
    s->apart = true;
    STAILQ_INIT(&s->queue);
    STAILQ_INIT(&s->ended);
    STAILQ_INIT(&s->jobs);
    if (uv_mutex_init(&s->lock) != 0) {
        free(s);
        return NULL;
    }
    if (uv_cond_init(&s->wake) != 0) {
        uv_mutex_destroy(&s->lock);
        free(s);
        return NULL;
    }
    return s;
}

static void on_unstarted_closed(uv_handle_t *handle)
{
    saver_free(handle->data);
}

enum kelp_error saver_start(struct saver *s, struct kelp_fault *fault)
{
    figures_take(s, &s->ended); /* for the loop's first turn */
    int error = uv_async_init(s->loop, &s->async, on_async);
    if (error < 0) {
        saver_free(s);
        return fault_set(fault, KELP_E_IO, "log", "no handle for the log: %s", uv_strerror(error));
    }
    s->async.data = s;
    error = thread_start(&s->second, second_run, s);
    if (error == 0) {
        s->started = true;
        (void)uv_async_send(&s->async); /* how much room there is, is known already */
        return KELP_OK;
    }
    uv_close((uv_handle_t *)&s->async, on_unstarted_closed);
    return fault_set(fault, KELP_E_IO, "log", "no thread for the log: %s", uv_strerror(error));
}

enum kelp_error saver_run(struct saver *s, struct kelp_fault *fault)
{
    ASSERT(s->started && !s->runs);
    uv_mutex_lock(&s->lock);
    s->runs = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
    int error = thread_start(&s->first, first_run, s);
    if (error == 0) return KELP_OK;
    uv_mutex_lock(&s->lock);
    s->runs = false;
    s->apart = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
    return fault_set(fault, KELP_E_NO_MEMORY, "node", "no thread: %s", uv_strerror(error));
}

void saver_join(struct saver *s)
{
    (void)uv_thread_join(&s->first); /* it ends with the loop */
}

void saver_stop(struct saver *s, void (*stopped)(void *ctx), void *ctx)
{
    ASSERT(s->started);
    s->stopped = stopped;
    s->stopped_ctx = ctx;
    uv_mutex_lock(&s->lock);
    s->stop = s->apart = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
}

void saver_free(struct saver *s)
{
    if (s == NULL) return;
    if (s->started) (void)uv_thread_join(&s->second); /* it has said that it ends */
    struct job *job;
    STAILQ_CONCAT(&s->queue, &s->ended);
    while ((job = STAILQ_FIRST(&s->queue)) != NULL) { /* given before it was started */
        STAILQ_REMOVE_HEAD(&s->queue, link);
        job_free(job);
    }
    uv_cond_destroy(&s->wake);
    uv_mutex_destroy(&s->lock);
    free(s);
}

void saver_figures(struct saver *s, struct saver_figures *out)
{
    uv_mutex_lock(&s->lock);
    *out = s->figures;
    uv_mutex_unlock(&s->lock);
}
