/* SPDX-License-Identifier: Apache-2.0 */
/* snapfile.c - snapshot files: snap/INDEX-TERM.snap, both numbers with 20 digits.
 *
 *   offset  size  field
 *        0     n  head     one checksum over all of it: wire/snaphead.c has its bytes
 *        n        objects  in chunks, each with its checksum: wire/snapchunk.c; none if the
 *                          machine's whole state is in the head
 *
 * A snapshot is written under a temporary name, synced, renamed, and the directory synced; only
 * then are the oldest removed. So a name that is there promises whole content, and a damaged file
 * is rot: it is noted and left alone, and an older snapshot serves instead, if there is one and the
 * log goes on from it to where the damaged one ended. A start reads the newest one whole before it
 * believes it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/room.h"
#include "wire/wire.h"

void snapfile_name(char out[FILE_NAME_MAX], struct kelp_pos pos)
{
    (void)snprintf(out, FILE_NAME_MAX, "snap/%020" PRIu64 "-%020" PRIu64 ".snap", pos.index,
                   pos.term.v);
}

static bool number_parse(const char *text, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 20; i++) {
        if (text[i] < '0' || text[i] > '9' || *out > STORE_INDEX_MAX) return false;
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return *out <= STORE_INDEX_MAX;
}

bool snapfile_parse(const char *name, struct kelp_pos *pos)
{
    if (strlen(name) != 46 || name[20] != '-' || strcmp(name + 41, ".snap") != 0) return false;
    return number_parse(name, &pos->index) && number_parse(name + 21, &pos->term.v);
}

/* pos NULL: whatever it is. */
static enum kelp_error head_load(struct disk disk, const char *name, const struct kelp_pos *pos,
                                 struct snapfile *out, struct kelp_fault *fault)
{
    struct file *file = NULL;
    uint8_t *bytes = malloc(WIRE_SNAPHEAD_BYTES_MAX);
    if (bytes == NULL) return fault_set(fault, KELP_E_NO_MEMORY, name, "out of memory");
    size_t got = 0, used = 0;
    enum kelp_error error = disk.ops->open(disk.state, name, FILE_READ, &file, fault);
    if (error == KELP_OK) {
        error = disk.ops->read(disk.state, file, 0, bytes, WIRE_SNAPHEAD_BYTES_MAX, &got, fault);
    }
    disk.ops->close(disk.state, file);
    struct wire_snaphead head;
    if (error == KELP_OK) {
        struct kelp_fault cause = {0};
        error = wire_snaphead_decode(bytes_of(bytes, got), &head, &used, &cause);
        if (error != KELP_OK && error != KELP_E_VERSION) error = KELP_E_CORRUPT;
        if (error == KELP_OK && pos != NULL && !kelp_pos_equal(head.pos, *pos))
            error = KELP_E_CORRUPT;
        if (error != KELP_OK) {
            (void)fault_set(fault, error, name, "%s",
                            cause.what[0] != '\0' ? cause.what : "it is cut or misnamed");
        }
    }
    if (error != KELP_OK) {
        free(bytes);
        return error;
    }
    snapfile_free(out);
    out->head = head;
    out->bytes = bytes;
    out->len = used;
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    return KELP_OK;
}

static enum kelp_error cluster_judge(const struct store_identity *identity,
                                     const struct snapfile *s, struct kelp_fault *fault)
{
    struct kelp_cluster_id its = s->head.cluster, own = identity->cluster;
    if (wire_cluster_zero(its) || wire_cluster_equal(its, own)) return KELP_OK;
    return fault_set(fault, KELP_E_FOREIGN, s->name,
                     "it belongs to cluster %016" PRIx64 "%016" PRIx64
                     ", this is cluster %016" PRIx64 "%016" PRIx64,
                     its.hi, its.lo, own.hi, own.lo);
}

enum kelp_error snapfile_open(struct disk disk, const struct store_options *options,
                              const struct store_identity *identity, struct snapfile *out,
                              struct kelp_pos *damaged, struct kelp_fault *fault)
{
    *out = (struct snapfile){0};
    *damaged = (struct kelp_pos){0};
    struct file_entry *rows;
    size_t count;
    enum kelp_error error = disk.ops->make_dir(disk.state, "snap", fault);
    /* A name may be in the cache only, left by a process that was killed. */
    if (error == KELP_OK) error = disk.ops->sync_dir(disk.state, "snap", fault);
    if (error != KELP_OK) return error;
    error = room_list(disk, "snap", &rows, &count, fault);
    for (size_t i = count; i > 0 && error == KELP_OK && out->len == 0; i--) { /* newest first */
        struct kelp_pos pos;
        char name[FILE_NAME_MAX];
        if (!snapfile_parse(rows[i - 1].name, &pos)) continue;
        snapfile_name(name, pos);
        struct kelp_fault cause = {0};
        error = head_load(disk, name, &pos, out, &cause);
        if (error == KELP_OK && out->head.object_bytes > 0)
            error = snapobjects_walk(disk, out, NULL, NULL, &cause);
        if (error != KELP_OK) snapfile_free(out);
        if (error == KELP_E_CORRUPT) {
            room_note(options, KELP_ERROR, "%s is damaged: %s", name, cause.what);
            if (damaged->index == 0) *damaged = pos;
            error = KELP_OK;
        }
        if (error != KELP_OK) *fault = cause;
    }
    free(rows);
    if (error == KELP_OK && out->len > 0) error = cluster_judge(identity, out, fault);
    if (error == KELP_OK) error = room_remove(disk, SNAP_TEMPORARY, fault);
    if (error != KELP_OK) snapfile_free(out);
    return error;
}

/* The head alone, or in front of the objects that are there. */
static enum kelp_error temporary_write(struct disk disk, struct kelp_bytes head,
                                       uint64_t object_bytes, struct kelp_fault *fault)
{
    enum file_mode mode = object_bytes > 0 ? FILE_WRITE : FILE_CREATE;
    struct file *file = NULL;
    uint64_t size = 0;
    enum kelp_error error = KELP_OK;
    if (mode == FILE_CREATE) error = room_remove(disk, SNAP_TEMPORARY, fault);
    if (error == KELP_OK) error = disk.ops->open(disk.state, SNAP_TEMPORARY, mode, &file, fault);
    if (error == KELP_E_NOT_FOUND) {
        error = fault_set(fault, KELP_E_ARGUMENT, SNAP_TEMPORARY,
                          "the objects of the snapshot are not there");
    }
    if (error != KELP_OK) return error;
    if (mode == FILE_WRITE) error = disk.ops->size(disk.state, file, &size, fault);
    if (mode == FILE_WRITE && error == KELP_OK && size != head.len + object_bytes) {
        error = fault_set(fault, KELP_E_ARGUMENT, SNAP_TEMPORARY,
                          "%" PRIu64 " bytes are there, the head says %" PRIu64, size,
                          head.len + object_bytes);
    }
    if (error == KELP_OK) error = disk.ops->write(disk.state, file, 0, &head, 1, fault);
    if (error == KELP_OK) error = disk.ops->sync(disk.state, file, fault);
    disk.ops->close(disk.state, file);
    return error;
}

/* A newer one is durable at pos. Of those below it the newest kept - 1 stay, from the one that was
 * the newest good one until now; what lies between the two is damaged and goes. */
static enum kelp_error older_remove(struct disk disk, struct kelp_pos pos, kelp_index good,
                                    uint32_t kept, struct kelp_fault *fault)
{
    struct file_entry *rows;
    size_t count;
    enum kelp_error error = room_list(disk, "snap", &rows, &count, fault);
    for (size_t i = count; i > 0 && error == KELP_OK; i--) { /* newest first */
        struct kelp_pos found;
        char name[FILE_NAME_MAX];
        if (!snapfile_parse(rows[i - 1].name, &found) || found.index >= pos.index) continue;
        if (kept > 1 && found.index <= good) {
            kept--;
            continue;
        }
        snapfile_name(name, found);
        error = room_remove(disk, name, fault);
    }
    free(rows);
    return error;
}

enum kelp_error snapfile_remove_below(struct disk disk, struct kelp_pos pos,
                                      struct kelp_fault *fault)
{
    return older_remove(disk, pos, pos.index, 1, fault);
}

enum kelp_error snapfile_write(struct disk disk, const struct store_options *options,
                               struct snapfile *current, struct kelp_pos pos,
                               struct kelp_bytes head, struct kelp_fault *fault)
{
    uint8_t *bytes = malloc(head.len > 0 ? head.len : 1);
    if (bytes == NULL) return fault_set(fault, KELP_E_NO_MEMORY, SNAP_TEMPORARY, "out of memory");
    if (head.len > 0) memcpy(bytes, head.data, head.len);
    struct snapfile next = {.bytes = bytes, .len = head.len};
    struct kelp_fault cause = {0};
    size_t used = 0;
    enum kelp_error error =
        wire_snaphead_decode(bytes_of(bytes, head.len), &next.head, &used, &cause);
    bool sound = error == KELP_OK && used == head.len && kelp_pos_equal(next.head.pos, pos) &&
                 pos.index > current->head.pos.index;
    if (!sound) {
        free(bytes);
        return fault_set(fault, KELP_E_ARGUMENT, "snap",
                         "not the head of a snapshot at %" PRIu64 "@%" PRIu64 " above %" PRIu64
                         ": %.60s",
                         pos.index, pos.term.v, current->head.pos.index, cause.what);
    }
    snapfile_name(next.name, pos);
    error = temporary_write(disk, head, next.head.object_bytes, fault);
    if (error == KELP_OK) {
        error = disk.ops->rename(disk.state, SNAP_TEMPORARY, next.name, fault);
        bool renamed = error == KELP_OK; /* else nothing has changed */
        if (renamed) error = disk.ops->sync_dir(disk.state, "snap", fault);
        if (renamed && error == KELP_E_NO_SPACE)
            error = KELP_E_IO; /* which name is durable is not known: final */
    }
    if (error != KELP_OK) {
        free(bytes);
        return error;
    }
    kelp_index good = current->head.pos.index;
    snapfile_free(current);
    *current = next;
    struct kelp_fault left = {0};
    error = older_remove(disk, pos, good, options->snapshots_kept, &left);
    if (error != KELP_OK) { /* the new one stands; they are tried again with the next */
        room_note(options, KELP_WARN, "older snapshots were not removed: %s: %s", left.where,
                  left.what);
    }
    return KELP_OK;
}

enum kelp_error snapfile_read(struct disk disk, const char *name, uint8_t **out, size_t *out_size,
                              size_t *out_len, struct kelp_fault *fault)
{
    struct kelp_pos pos;
    ASSERT(snapfile_parse(name + strlen("snap/"), &pos));
    struct snapfile read = {0};
    enum kelp_error error = head_load(disk, name, &pos, &read, fault);
    if (error != KELP_OK) return error;
    void *grown = *out;
    bool reserved = room_grow(&grown, out_size, read.len, 1);
    *out = grown;
    if (reserved) memcpy(*out, read.bytes, read.len);
    *out_len = reserved ? read.len : 0;
    snapfile_free(&read);
    return reserved ? KELP_OK : fault_set(fault, KELP_E_NO_MEMORY, name, "out of memory");
}

enum kelp_error store_snapshot_check(struct disk disk, const char *name, bool whole,
                                     struct wire_snaphead *head, uint8_t **bytes,
                                     struct kelp_fault *fault)
{
    struct snapfile s = {0};
    enum kelp_error error = head_load(disk, name, NULL, &s, fault);
    if (error == KELP_OK && whole) error = snapobjects_walk(disk, &s, NULL, NULL, fault);
    if (error != KELP_OK) {
        snapfile_free(&s);
        return error;
    }
    *head = s.head;
    *bytes = s.bytes;
    return KELP_OK;
}

enum kelp_error store_snapshot_each(struct disk disk, const char *name, store_object_fn give,
                                    void *ctx, struct kelp_fault *fault)
{
    struct snapfile s = {0};
    enum kelp_error error = head_load(disk, name, NULL, &s, fault);
    if (error == KELP_OK) error = snapobjects_walk(disk, &s, give, ctx, fault);
    snapfile_free(&s);
    return error;
}

void snapfile_list(struct disk disk, struct kelp_pos newest, kelp_index opened,
                   struct store_stats *out)
{
    struct file_entry *rows = NULL;
    size_t count = 0;
    struct kelp_fault ignored = {0}; /* they are told again with the next */
    out->snapshot_count = 0;
    if (room_list(disk, "snap", &rows, &count, &ignored) != KELP_OK) count = 0;
    for (size_t i = count; i > 0 && out->snapshot_count < STORE_SNAPSHOTS_MAX; i--) {
        struct store_snapshot_row *row = &out->snapshots[out->snapshot_count];
        if (!snapfile_parse(rows[i - 1].name, &row->pos)) continue;
        row->bytes = rows[i - 1].size;
        row->damaged = row->pos.index > newest.index; /* or it would be the newest */
        row->unread = row->pos.index < opened;
        out->snapshot_count++;
    }
    free(rows);
}

void snapfile_free(struct snapfile *s)
{
    free(s->bytes);
    memset(s, 0, sizeof *s);
}
