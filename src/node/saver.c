/* SPDX-License-Identifier: Apache-2.0 */
/* saver.c - the owner of the log: one thread that does every file operation of a running node.
 *
 *   loop: save, read, snapshot, pledge, idle --> queue --> thread takes all of it
 *         consecutive saves: one store_save, that is one write and one sync
 *   loop <-- uv_async <-- done list, in the order the jobs were given
 *
 * Housekeeping (zeros ahead of the log, recycling) is done in small pieces while nothing waits:
 * after a moment of quiet, and under load between two batches, as fast as the log is consumed, so
 * that it cannot starve.
 *
 * A save that finds no room is no failure: it waits at the head of everything, is tried again a few
 * times a second, and the core sees a disk that stalls. Long before that the store's judgement of
 * its room goes to the loop, whenever it changes.
 * Invariant: after the first failure nothing is saved any more and nothing is reported as saved. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/hist.h"
#include "node/room.h"

#define SAVES_MAX 256u /* in one store_save */
#define QUIET_NS  (5 * MILLISECOND)
#define WORK_BYTES                                                                                 \
    (1024u * 1024) /* under load a piece of housekeeping for as much that was written */
#define MEBIBYTE    (1024u * 1024)
#define BLOCK_BYTES 4096u                /* a write begins on a block of its own */
#define SPACE_NS    (1000 * MILLISECOND) /* between two looks at the room */
#define RETRY_NS    (250 * MILLISECOND)  /* between two tries of what found no room */

enum job_kind { JOB_SAVE, JOB_READ, JOB_SNAPSHOT, JOB_PLEDGE, JOB_IDLE, JOB_SPACE };

struct job {
    STAILQ_ENTRY(job) link;
    enum job_kind kind;
    uint32_t group;
    uint64_t given_at; /* uv_hrtime */
    uint64_t bytes;
    union {
        struct kelp_save save;
        struct {
            uint64_t tag, bytes_max;
            kelp_index first;
            uint32_t entries_max;
        } read;
        struct kelp_pos pos;
        struct kelp_cluster_id cluster;
        struct {
            enum kelp_space level;
            uint32_t mib;
        } space;
    };
    /* what came of it */
    enum kelp_error error;
    bool ends_log;    /* the saver's fault says why */
    bool dropped;     /* it came after the failure */
    uint64_t sync_ns; /* on the first save of a batch: the whole store_save */
    struct kelp_pos before;
    kelp_index last;
    uint8_t *out;
    size_t out_len;
    size_t part_count, head_len;
    struct kelp_bytes parts[]; /* SAVE; a snapshot's head lies behind */
};

STAILQ_HEAD(job_list, job);

struct saver {
    struct store *store;
    struct disk disk;
    struct kelp_store_done done;
    uv_loop_t *loop;
    uv_thread_t thread;
    uv_async_t async;
    bool started, broken; /* broken: a job could not even be queued */
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    struct node_histograms *measured; /* the loop's */

    uv_mutex_t lock;
    uv_cond_t wake;
    struct job_list queue, ended; /* below the lock, like what follows */
    bool stop, finished;
    struct saver_figures figures;

    /* the thread's own */
    bool failed, work_due;
    struct kelp_fault fault; /* written once, before the job that ends the log is handed over */
    uint64_t work_bytes;     /* written since the last piece of housekeeping */
    uint64_t space_at;
    enum kelp_space space; /* as it was told last */
    uint32_t space_mib;
    bool short_of_room; /* some work found no room and is to be tried again */
    bool stuck;         /* the saves at the head found none */
};

int thread_start(uv_thread_t *thread, void (*entry)(void *arg), void *arg)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
    int error = uv_thread_create(thread, entry, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* ---- the thread ------------------------------------------------------------------------------ */

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
    struct store_save_item items[SAVES_MAX];
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
    case JOB_PLEDGE:
        job->error = store_pledge(s->store, job->cluster, &fault);
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

/* Move the jobs that are done to `ended`; what found no room stays at the head. */
static void jobs_perform(struct saver *s, struct job_list *jobs, struct job_list *ended)
{
    struct job *job;
    s->stuck = false;
    while ((job = STAILQ_FIRST(jobs)) != NULL) {
        size_t count = 0;
        if (job->kind == JOB_SAVE) {
            for (struct job *next = job; next != NULL && next->kind == JOB_SAVE; count++) {
                if (count == SAVES_MAX) break;
                next = STAILQ_NEXT(next, link);
            }
            s->stuck = !saves_perform(s, job, count);
            if (s->stuck) return;
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
static void work_perform(struct saver *s, struct job_list *ended)
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

static void figures_take(struct saver *s, struct job_list *ended)
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

static void jobs_report(struct saver *s, struct job_list *jobs)
{
    if (STAILQ_EMPTY(jobs)) return;
    uv_mutex_lock(&s->lock);
    STAILQ_CONCAT(&s->ended, jobs);
    uv_mutex_unlock(&s->lock);
    (void)uv_async_send(
        &s->async); /* fails only on a closed handle; ours closes after the thread */
}

/* Nothing to do but to look again whether there is room, at a bounded pace. */
static bool patient(const struct saver *s)
{
    return s->stuck || (!s->work_due && (s->short_of_room || s->space != KELP_SPACE_OK));
}

/* Wait for jobs. True: take them, or (stop) there are none. False: do a piece of housekeeping. */
static bool jobs_wait(struct saver *s, struct job_list *jobs)
{
    bool quiet = false, waits = patient(s);
    uint64_t until = uv_hrtime() + (waits ? RETRY_NS : QUIET_NS);
    uv_mutex_lock(&s->lock);
    while ((s->stuck || STAILQ_EMPTY(&s->queue)) && !s->stop && !quiet) {
        uint64_t now = uv_hrtime();
        if (s->failed || (!s->work_due && !waits))
            uv_cond_wait(&s->wake, &s->lock);
        else if (now >= until || uv_cond_timedwait(&s->wake, &s->lock, until - now) == UV_ETIMEDOUT)
            quiet = true;
    }
    STAILQ_CONCAT(jobs, &s->queue);
    bool stop = s->stop;
    uv_mutex_unlock(&s->lock);
    if (stop && s->stuck) s->failed = true; /* what waits for room will never be durable here */
    return !STAILQ_EMPTY(jobs) || !quiet;
}

static void saver_run(void *arg)
{
    struct saver *s = arg;
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    for (;;) {
        struct job_list ended = STAILQ_HEAD_INITIALIZER(ended);
        bool work = !jobs_wait(s, &jobs);
        bool last = !work && STAILQ_EMPTY(&jobs);
        if (last) break;
        jobs_perform(s, &jobs, &ended);
        jobs_report(s, &ended);
        bool late = s->work_due && s->work_bytes >= WORK_BYTES;
        if ((work || late || s->stuck) && !s->failed) work_perform(s, &ended);
        figures_take(s, &ended);
        jobs_report(s, &ended);
    }
    uv_mutex_lock(&s->lock);
    s->finished = true;
    uv_mutex_unlock(&s->lock);
    (void)uv_async_send(&s->async);
}

/* ---- the loop's side ------------------------------------------------------------------------- */

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
    case JOB_IDLE: break;
    case JOB_SPACE:
        if (d->space != NULL) d->space(d->ctx, job->group, job->space.mib, job->space.level);
        break;
    }
    if (job->ends_log) d->fault(d->ctx, job->group, &s->fault);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct saver *s = handle->data;
    s->started = false;
    if (s->stopped != NULL) s->stopped(s->stopped_ctx);
}

static void on_async(uv_async_t *async)
{
    struct saver *s = async->data;
    struct job_list ended = STAILQ_HEAD_INITIALIZER(ended);
    struct job *job;
    uint64_t bytes = 0, count = 0;
    uv_mutex_lock(&s->lock);
    STAILQ_CONCAT(&ended, &s->ended);
    bool finished = s->finished;
    uv_mutex_unlock(&s->lock);
    while ((job = STAILQ_FIRST(&ended)) != NULL) {
        STAILQ_REMOVE_HEAD(&ended, link);
        job_done(s, job);
        bytes += job->bytes;
        count += job->given_at != 0;
        job_free(job);
    }
    uv_mutex_lock(&s->lock);
    s->figures.queued_jobs -= count;
    s->figures.queued_bytes -= bytes;
    uv_mutex_unlock(&s->lock);
    if (!finished || uv_is_closing((uv_handle_t *)async)) return;
    (void)uv_thread_join(&s->thread); /* it has said that it ends */
    uv_close((uv_handle_t *)async, on_async_closed);
}

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
    uv_cond_signal(&s->wake);
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

static void saver_pledge(void *store, uint32_t group, struct kelp_cluster_id cluster)
{
    struct job *job = job_new(store, JOB_PLEDGE, group, 0);
    if (job == NULL) return;
    job->cluster = cluster;
    job_give(store, job);
}

static void saver_idle(void *store, uint32_t group)
{
    struct job *job = job_new(store, JOB_IDLE, group, 0);
    if (job != NULL) job_give(store, job);
}

const struct kelp_store_ops saver_store_ops = {
    .size = sizeof(struct kelp_store_ops),
    .save = saver_save,
    .read = saver_read,
    .snapshot = saver_snapshot,
    .pledge = saver_pledge,
    .idle = saver_idle,
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
    STAILQ_INIT(&s->queue);
    STAILQ_INIT(&s->ended);
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
    error = thread_start(&s->thread, saver_run, s);
    if (error == 0) {
        s->started = true;
        (void)uv_async_send(&s->async); /* how much room there is, is known already */
        return KELP_OK;
    }
    uv_close((uv_handle_t *)&s->async, on_unstarted_closed);
    return fault_set(fault, KELP_E_IO, "log", "no thread for the log: %s", uv_strerror(error));
}

void saver_stop(struct saver *s, void (*stopped)(void *ctx), void *ctx)
{
    ASSERT(s->started);
    s->stopped = stopped;
    s->stopped_ctx = ctx;
    uv_mutex_lock(&s->lock);
    s->stop = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
}

void saver_free(struct saver *s)
{
    if (s == NULL) return;
    ASSERT(!s->started);
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
