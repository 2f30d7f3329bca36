/* SPDX-License-Identifier: Apache-2.0 */
/* keeper.c - writes the objects of a snapshot beside the log, and reads those of finished ones:
 * pieces go to libuv's threads, one to be written and one that is read at a time, with a disk of
 * their own for the same directory.
 *
 * So neither the loop nor the owner of the log waits for them. What makes the snapshot count, its
 * head and its name, is the log owner's work: see saver.c. An error but for want of room or memory
 * ends the log like any other failed write of this disk; one of reading is told to who asked. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "node/room.h"
#include "wire/snapchunk.h"

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
    /* reading: another work beside that one */
    struct snapreader reader;
    uv_work_t reading;
    bool reads;
    uint32_t read_group;
    struct kelp_pos pos;
    uint64_t read_offset, size;
    uint8_t *room; /* WIRE_SNAPCHUNK_BYTES_MAX, once something was read */
    size_t len;
    enum kelp_error read_error;
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
    k->reader.disk = k->writer.disk;
    k->loop = loop;
    k->done = *done;
    k->note = note;
    return k;
}

void keeper_free(struct keeper *k)
{
    if (k == NULL) return;
    ASSERT(!k->busy && !k->reads);
    snapwriter_close(&k->writer);
    snapreader_close(&k->reader);
    free(k->room);
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

static void stopped_tell(struct keeper *k)
{
    if (!k->busy && !k->reads) k->stopped(k->stopped_ctx);
}

static void on_worked(uv_work_t *work, int status)
{
    struct keeper *k = work->data;
    ASSERT(status == 0); /* nobody cancels it */
    k->busy = false;
    enum kelp_error error = k->error;
    bool final =
        error != KELP_OK && error != KELP_E_NO_SPACE && error != KELP_E_NO_MEMORY && !k->drops;
    if (k->stopped != NULL) {
        stopped_tell(k);
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

/* ---- reading ---- */

static void on_read(uv_work_t *work)
{
    struct keeper *k = work->data;
    struct kelp_fault fault = {.error = KELP_OK};
    k->read_error =
        snapreader_read(&k->reader, k->pos, k->read_offset, k->room, &k->len, &k->size, &fault);
}

static void on_was_read(uv_work_t *work, int status)
{
    struct keeper *k = work->data;
    ASSERT(status == 0); /* nobody cancels it */
    k->reads = false;
    if (k->stopped != NULL) {
        stopped_tell(k);
        return;
    }
    k->done.fetched(k->done.ctx, k->read_group, k->read_error, k->size,
                    bytes_of(k->room, k->read_error == KELP_OK ? k->len : 0));
}

void keeper_fetch(struct keeper *k, uint32_t group, struct kelp_pos pos, uint64_t offset)
{
    ASSERT(!k->reads); /* one at a time */
    if (k->room == NULL) k->room = malloc(WIRE_SNAPCHUNK_BYTES_MAX);
    if (k->room == NULL) {
        k->done.fetched(k->done.ctx, group, KELP_E_NO_MEMORY, 0, bytes_of(NULL, 0));
        return;
    }
    k->reads = true;
    k->read_group = group;
    k->pos = pos;
    k->read_offset = offset;
    k->reading.data = k;
    (void)uv_queue_work(k->loop, &k->reading, on_read, on_was_read);
}

void keeper_stop(struct keeper *k, void (*stopped)(void *ctx), void *ctx)
{
    k->stopped = stopped;
    k->stopped_ctx = ctx;
    stopped_tell(k);
}
