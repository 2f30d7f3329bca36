/* SPDX-License-Identifier: Apache-2.0 */
/* snapobjects.c - what stands behind a snapshot's head: written in pieces while the snapshot is
 * taken, read and verified from beginning to end.
 *
 * The objects are written first, behind the room that the head will take, and are synced before
 * the head is put in front of them: so the owner of the log, who does that, never waits for more
 * than a head. On the way they are synced every SYNC_BYTES, so that a sync of the log beside it
 * does not have to wait for all of them at once.
 *
 * They are read whole at a start and while a machine restores, and piece by piece for peers, each
 * piece verified by itself. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "store/room.h"

#define SYNC_BYTES (1024u * 1024)

/* ---- writing --------------------------------------------------------------------------------- */

enum kelp_error snapwriter_write(struct snapwriter *w, uint64_t offset, struct kelp_bytes bytes,
                                 bool last, struct kelp_fault *fault)
{
    const struct file_ops *ops = w->disk.ops;
    enum kelp_error error = KELP_OK;
    if (w->file == NULL) {
        error = room_remove(w->disk, SNAP_TEMPORARY, fault);
        if (error == KELP_OK)
            error = ops->open(w->disk.state, SNAP_TEMPORARY, FILE_CREATE, &w->file, fault);
        if (error != KELP_OK) return error;
        w->unsynced = 0;
    }
    if (bytes.len > 0) error = ops->write(w->disk.state, w->file, offset, &bytes, 1, fault);
    w->unsynced += bytes.len;
    if (error == KELP_OK && (last || w->unsynced >= SYNC_BYTES)) {
        error = ops->sync(w->disk.state, w->file, fault);
        w->unsynced = 0;
    }
    if (last || error != KELP_OK) snapwriter_close(w);
    return error;
}

enum kelp_error snapwriter_drop(struct snapwriter *w, struct kelp_fault *fault)
{
    snapwriter_close(w);
    return room_remove(w->disk, SNAP_TEMPORARY, fault);
}

void snapwriter_close(struct snapwriter *w)
{
    if (w->file != NULL) w->disk.ops->close(w->disk.state, w->file);
    w->file = NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct walk {
    const struct wire_snaphead *head;
    uint64_t offset, objects; /* behind the head; so far */
    store_object_fn give;     /* NULL: verify only */
    void *ctx;
};

static enum kelp_error chunk_walk(struct walk *w, struct kelp_bytes in, size_t *used,
                                  struct kelp_fault *fault)
{
    struct wire_snapchunk chunk;
    struct wire_snapplace place = {.pos = w->head->pos, .offset = w->offset};
    enum kelp_error error = wire_snapchunk_open(in, place, &chunk, used, fault);
    if (error == KELP_E_MORE) return fault_set(fault, KELP_E_CORRUPT, NULL, "it is cut off");
    while (error == KELP_OK) {
        struct wire_object object;
        error = wire_object_next(&chunk, &object, fault);
        if (error != KELP_OK) break;
        w->objects++;
        if (w->give != NULL) error = w->give(w->ctx, &object, fault);
    }
    if (error == KELP_E_MALFORMED && w->give == NULL) error = KELP_E_CORRUPT;
    return error == KELP_E_NOT_FOUND ? KELP_OK : error;
}

static enum kelp_error walk_file(struct disk disk, struct file *file, uint64_t head_len,
                                 struct walk *w, uint8_t *room, struct kelp_fault *fault)
{
    uint64_t size = 0;
    enum kelp_error error = disk.ops->size(disk.state, file, &size, fault);
    if (error == KELP_OK && size != head_len + w->head->object_bytes) {
        return fault_set(fault, KELP_E_CORRUPT, NULL,
                         "it has %" PRIu64 " bytes, its head says %" PRIu64, size,
                         head_len + w->head->object_bytes);
    }
    while (error == KELP_OK && w->offset < w->head->object_bytes) {
        uint64_t left = w->head->object_bytes - w->offset;
        size_t got = 0, used = 0, want = (size_t)min_u64(left, WIRE_SNAPCHUNK_BYTES_MAX);
        error = disk.ops->read(disk.state, file, head_len + w->offset, room, want, &got, fault);
        if (error == KELP_OK) error = chunk_walk(w, bytes_of(room, got), &used, fault);
        if (error != KELP_OK) fault->offset = head_len + w->offset;
        w->offset += used;
    }
    if (error == KELP_OK && w->objects != w->head->object_count) {
        error = fault_set(fault, KELP_E_CORRUPT, NULL,
                          "it has %" PRIu64 " objects, its head says %" PRIu64, w->objects,
                          w->head->object_count);
    }
    return error;
}

enum kelp_error snapobjects_walk(struct disk disk, const struct snapfile *s, store_object_fn give,
                                 void *ctx, struct kelp_fault *fault)
{
    struct walk w = {.head = &s->head, .give = give, .ctx = ctx};
    struct file *file = NULL;
    struct kelp_fault cause = {0};
    uint8_t *room = malloc(WIRE_SNAPCHUNK_BYTES_MAX);
    if (room == NULL) return fault_set(fault, KELP_E_NO_MEMORY, s->name, "out of memory");
    enum kelp_error error = disk.ops->open(disk.state, s->name, FILE_READ, &file, &cause);
    if (error == KELP_OK) error = walk_file(disk, file, s->len, &w, room, &cause);
    disk.ops->close(disk.state, file);
    free(room);
    if (error == KELP_OK) return KELP_OK;
    (void)room_fault(fault, error, s->name, cause.offset, s->head.pos.index, "%s", cause.what);
    fault->os_error = cause.os_error;
    return error;
}

/* ---- piece by piece -------------------------------------------------------------------------- */

static void entry_close(struct snapreader *r, unsigned at)
{
    if (r->files[at].file != NULL) r->disk.ops->close(r->disk.state, r->files[at].file);
    memset(&r->files[at], 0, sizeof r->files[at]);
}

void snapreader_close(struct snapreader *r)
{
    for (unsigned at = 0; at < SNAPREADER_FILES; at++)
        entry_close(r, at);
}

/* The head at the beginning of an open file. */
static enum kelp_error head_piece(struct snapreader *r, struct file *file, struct kelp_pos pos,
                                  uint8_t *out, size_t *len, uint64_t *size,
                                  struct kelp_fault *fault)
{
    struct wire_snaphead *head = malloc(sizeof *head);
    if (head == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "snap", "out of memory");
    size_t got = 0;
    enum kelp_error error =
        r->disk.ops->read(r->disk.state, file, 0, out, WIRE_SNAPHEAD_BYTES_MAX, &got, fault);
    if (error == KELP_OK) {
        error = wire_snaphead_decode(bytes_of(out, got), head, len, fault);
        bool fits = error == KELP_OK && kelp_pos_equal(head->pos, pos);
        if (!fits && error != KELP_E_VERSION) error = KELP_E_CORRUPT;
    }
    if (error == KELP_OK) *size = *len + head->object_bytes;
    free(head);
    return error;
}

/* The place of pos among the open files; the one used longest ago goes. */
static enum kelp_error entry_open(struct snapreader *r, struct kelp_pos pos, uint8_t *room,
                                  unsigned *at, struct kelp_fault *fault)
{
    char name[FILE_NAME_MAX];
    *at = 0;
    for (unsigned i = 0; i < SNAPREADER_FILES; i++) {
        bool there = r->files[i].file != NULL && kelp_pos_equal(r->files[i].pos, pos);
        if (there || (r->files[i].used < r->files[*at].used)) *at = i;
        if (there) return KELP_OK;
    }
    struct file *file = NULL;
    size_t len = 0;
    uint64_t size = 0;
    snapfile_name(name, pos);
    enum kelp_error error = r->disk.ops->open(r->disk.state, name, FILE_READ, &file, fault);
    if (error != KELP_OK) return error;
    error = head_piece(r, file, pos, room, &len, &size, fault);
    if (error != KELP_OK) {
        r->disk.ops->close(r->disk.state, file);
        return error;
    }
    entry_close(r, *at);
    r->files[*at].pos = pos;
    r->files[*at].file = file;
    r->files[*at].head_len = len;
    r->files[*at].size = size;
    return KELP_OK;
}

enum kelp_error snapreader_read(struct snapreader *r, struct kelp_pos pos, uint64_t offset,
                                uint8_t *out, size_t *len, uint64_t *size, struct kelp_fault *fault)
{
    unsigned at;
    if (pos.index == 0) {
        snapreader_close(r);
        return fault_set(fault, KELP_E_NOT_FOUND, "snap", "no snapshot ends at 0@0");
    }
    enum kelp_error error = entry_open(r, pos, out, &at, fault);
    if (error != KELP_OK) return error;
    r->files[at].used = ++r->uses;
    struct file *file = r->files[at].file;
    uint64_t head_len = r->files[at].head_len;
    *size = r->files[at].size;
    if (offset == 0) return head_piece(r, file, pos, out, len, size, fault);
    if (offset < head_len || offset >= *size)
        return fault_set(fault, KELP_E_ARGUMENT, "snap", "no piece begins at %" PRIu64, offset);
    size_t got = 0, want = (size_t)min_u64(*size - offset, WIRE_SNAPCHUNK_BYTES_MAX);
    struct wire_snapchunk chunk;
    struct wire_snapplace place = {.pos = pos, .offset = offset - head_len};
    error = r->disk.ops->read(r->disk.state, file, offset, out, want, &got, fault);
    if (error == KELP_OK)
        error = wire_snapchunk_open(bytes_of(out, got), place, &chunk, len, fault);
    if (error == KELP_E_MORE || error == KELP_E_MALFORMED) error = KELP_E_CORRUPT;
    return error;
}
