/* SPDX-License-Identifier: Apache-2.0 */
/* keeper.c - writes the objects of a snapshot beside the log: pieces go to libuv's threads, one at
 * a time, with a disk of their own for the same directory.
 *
 * So neither the loop nor the owner of the log waits for them. What makes the snapshot count, its
 * head and its name, is the log owner's work: see saver.c. An error but for want of room or memory
 * ends the log like any other failed write of this disk. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/fault.h"
#include "node/room.h"

struct keeper {
    uv_loop_t *loop;
    struct snapwriter writer;
    struct kelp_store_done done;
    void (*note)(void *ctx, int level, const char *line); /* with the ctx of done */
    uv_work_t work;
    uint32_t group;
    bool busy, drops; /* the work is at a thread; it is a drop */
    bool drop_waits;  /* until then */
    /* the work */
    uint64_t offset;
    struct kelp_bytes bytes;
    bool last;
    enum kelp_error error;
    struct kelp_fault fault;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

struct keeper *keeper_new(uv_loop_t *loop, const char *data, const struct kelp_store_done *done,
                          void (*note)(void *ctx, int level, const char *line),
                          struct kelp_fault *fault)
{
    struct keeper *k = calloc(1, sizeof *k);
    if (k == NULL) {
        (void)fault_set(fault, KELP_E_NO_MEMORY, "snap", "out of memory");
        return NULL;
    }
    if (posix_disk(data, &k->writer.disk, fault) != KELP_OK) {
        free(k);
        return NULL;
    }
    k->loop = loop;
    k->done = *done;
    k->note = note;
    return k;
}

void keeper_free(struct keeper *k)
{
    if (k == NULL) return;
    ASSERT(!k->busy);
    snapwriter_close(&k->writer);
    posix_disk_close(&k->writer.disk);
    free(k);
}

static void on_work(uv_work_t *work)
{
    struct keeper *k = work->data;
    k->fault = (struct kelp_fault){.error = KELP_OK};
    k->error = k->drops ? snapwriter_drop(&k->writer, &k->fault)
                        : snapwriter_write(&k->writer, k->offset, k->bytes, k->last, &k->fault);
}

/* What was given up still takes its room: the next snapshot overwrites it, or the next start
 * removes it. */
static void drop_failed(const struct keeper *k)
{
    char line[300];
    (void)snprintf(line, sizeof line, "the rest of a snapshot was not removed: %s: %s",
                   k->fault.where, k->fault.what);
    k->note(k->done.ctx, KELP_WARN, line);
}

static void work_start(struct keeper *k);

static void on_worked(uv_work_t *work, int status)
{
    struct keeper *k = work->data;
    ASSERT(status == 0); /* nobody cancels it */
    k->busy = false;
    enum kelp_error error = k->error;
    bool final =
        error != KELP_OK && error != KELP_E_NO_SPACE && error != KELP_E_NO_MEMORY && !k->drops;
    if (k->stopped != NULL) {
        k->stopped(k->stopped_ctx);
        return;
    }
    if (final) {
        k->fault.error = error;
        k->done.fault(k->done.ctx, k->group, &k->fault);
    }
    bool dropped = k->drops;
    if (dropped && error != KELP_OK) drop_failed(k);
    k->drops = k->drop_waits;
    k->drop_waits = false;
    if (k->drops) work_start(k);
    k->done.piece(k->done.ctx, k->group, dropped ? KELP_OK : error);
}

static void work_start(struct keeper *k)
{
    k->busy = true;
    k->work.data = k;
    (void)uv_queue_work(k->loop, &k->work, on_work, on_worked); /* fails only without a callback */
}

void keeper_piece(struct keeper *k, uint32_t group, uint64_t offset, struct kelp_bytes bytes,
                  bool last)
{
    ASSERT(!k->busy); /* one at a time */
    k->group = group;
    k->offset = offset;
    k->bytes = bytes;
    k->last = last;
    k->drops = false;
    work_start(k);
}

void keeper_drop(struct keeper *k, uint32_t group)
{
    ASSERT(!k->drops || !k->busy);
    k->group = group;
    if (k->busy) {
        k->drop_waits = true;
        return;
    }
    k->drops = true;
    work_start(k);
}

void keeper_stop(struct keeper *k, void (*stopped)(void *ctx), void *ctx)
{
    k->stopped = stopped;
    k->stopped_ctx = ctx;
    if (!k->busy) stopped(ctx);
}
