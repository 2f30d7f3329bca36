/* SPDX-License-Identifier: Apache-2.0 */
/* spares.c - housekeeping of the log's files, one small piece at a time, while nothing else waits.
 *
 * In this order: a segment whose entries are all compacted, superseded or cut is recycled, strictly
 * from the oldest on (renamed to a spare or removed, directory synced, and only then touched), so
 * that a crash never leaves a gap in the numbers; then the rest of the tail segment is written with
 * zeros, ahead of its first use, and its head says that no hole is left; then a spare is made
 * ready. A sync into a file that was written before is about twice as fast as one that grows it,
 * which is what the zeros are for.
 *
 * A spare's bytes mean nothing: they are zeros or an earlier use, which no checksum of the next use
 * accepts. A lack of room here is no failure of the log: it is counted, told once, and tried again
 * by the next call. Long before the log itself lacks room, wal_space says that it will. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/min.h"
#include "store/room.h"

#define SPARES_MADE                                                                                \
    2u /* that many are kept ready; up to spares_max are kept when segments come free */

void spare_name(char out[FILE_NAME_MAX], unsigned number)
{
    (void)snprintf(out, FILE_NAME_MAX, "log/spare-%u.seg", number);
}

static bool digits(const char *text, size_t len, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (*out > (STORE_INDEX_MAX - 9) / 10) return false;
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return len > 0;
}

bool spare_parse(const char *name, unsigned *number)
{
    size_t len = strlen(name);
    uint64_t value;
    if (len < 11 || len > 14 || strncmp(name, "spare-", 6) != 0) return false;
    if (strcmp(name + len - 4, ".seg") != 0 || !digits(name + 6, len - 10, &value)) return false;
    *number = (unsigned)value;
    char own[FILE_NAME_MAX]; /* spare-01.seg is not one of ours */
    spare_name(own, *number);
    return strcmp(own + strlen("log/"), name) == 0;
}

bool segment_parse(const char *name, uint64_t *number)
{
    if (strlen(name) != 24 || strcmp(name + 20, ".seg") != 0) return false;
    return digits(name, 20, number) && *number > 0;
}

unsigned spare_number_free(const struct wal *w)
{
    for (unsigned number = 1;; number++) {
        bool taken = false;
        for (size_t i = 0; i < w->spare_count; i++)
            taken |= w->spares[i].number == number;
        if (!taken) return number;
    }
}

bool spare_take(struct wal *w, struct spare *out)
{
    if (w->spare_count == 0) return false;
    size_t best = 0;
    for (size_t i = 1; i < w->spare_count; i++) {
        if (w->spares[i].written > w->spares[best].written) best = i;
    }
    *out = w->spares[best];
    w->spares[best] = w->spares[--w->spare_count];
    return true;
}

static size_t spares_max(const struct wal *w)
{
    return (size_t)min_u64(w->options->spares_max, SPARES_ROOM);
}

/* No entry that is still part of the log lies in the oldest segment. */
static bool oldest_is_free(const struct wal *w)
{
    if (w->segment_count < 2) return false; /* the tail stays */
    return w->places.extent_count == 0 || w->places.extents[0].segment > w->segments[0].number;
}

static enum kelp_error oldest_release(struct wal *w, struct kelp_fault *fault)
{
    struct wal_segment segment = w->segments[0];
    if (w->read_number == segment.number) {
        w->disk.ops->close(w->disk.state, w->read_file);
        w->read_file = NULL;
        w->read_number = 0;
    }
    char name[FILE_NAME_MAX];
    segment_name(name, segment.number);
    enum kelp_error error;
    /* With holes it would pass for a spare that was written whole: only sizes tell, after a
     * start. */
    bool filled = segment.written == segment.bytes;
    if (filled && segment.bytes == w->options->segment_bytes && w->spare_count < spares_max(w)) {
        struct spare spare = {.number = spare_number_free(w), .written = segment.written};
        char to[FILE_NAME_MAX];
        spare_name(to, spare.number);
        error = w->disk.ops->rename(w->disk.state, name, to, fault);
        w->spares[w->spare_count++] = spare;
    } else {
        error = w->disk.ops->remove(w->disk.state, name, fault);
    }
    if (error == KELP_OK) error = w->disk.ops->sync_dir(w->disk.state, "log", fault);
    if (error != KELP_OK) return error;
    w->segment_count--;
    memmove(w->segments, w->segments + 1, w->segment_count * sizeof *w->segments);
    return KELP_OK;
}

enum kelp_error wal_let_go(struct wal *w, struct kelp_fault *fault)
{
    enum kelp_error error = KELP_OK;
    while (error == KELP_OK && oldest_is_free(w))
        error = oldest_release(w, fault);
    struct spare spare;
    while (error == KELP_OK && spare_take(w, &spare)) {
        char name[FILE_NAME_MAX];
        spare_name(name, spare.number);
        error = room_remove(w->disk, name, fault);
    }
    return error;
}

/* ---- room ------------------------------------------------------------------------------------ */

void wal_no_room(struct wal *w, const char *what)
{
    if (!w->no_room) room_note(w->options, KELP_WARN, "the disk is full: no room for %s", what);
    w->no_room = true;
    w->stats.no_room++;
}

void wal_has_room(struct wal *w)
{
    if (w->no_room) room_note(w->options, KELP_INFO, "the disk has room for the log again");
    w->no_room = false;
}

struct room_left {
    bool known;
    uint64_t free_bytes;
};

static struct room_left room_left(struct wal *w)
{
    struct room_left left = {.known = false};
    struct kelp_fault ignored = {0}; /* not to know is no failure: a write will tell */
    left.known = w->disk.ops->space(w->disk.state, &left.free_bytes, &ignored) == KELP_OK;
    return left;
}

/* No spare takes the very last of a disk: what it needs to get room again, a snapshot, is left. */
static uint64_t room_kept(const struct wal *w)
{
    return w->options->segment_bytes / 4;
}

void wal_space(struct wal *w, struct store_space *out)
{
    const struct wal_segment *tail = &w->segments[w->segment_count - 1];
    struct room_left left = room_left(w);
    uint64_t free_bytes = left.known ? min_u64(left.free_bytes, STORE_INDEX_MAX) : 0;
    uint64_t rest = sub_sat(tail->written, w->tail_offset), ready = 0;
    for (size_t i = 0; i < w->spare_count; i++)
        ready += w->spares[i].written >= w->options->segment_bytes;
    bool another = !w->no_room;
    if (left.known) another = free_bytes >= w->options->segment_bytes + room_kept(w);
    out->bytes = rest + ready * w->options->segment_bytes + free_bytes;
    out->level = KELP_SPACE_OK;
    if (another || ready > 2) return;
    out->level = ready > 0 ? KELP_SPACE_LOW : KELP_SPACE_LAST;
    if (ready == 0 && rest + free_bytes < w->options->segment_bytes / 4)
        out->level = KELP_SPACE_NONE;
}

/* ---- zeros and spares ------------------------------------------------------------------------ */

/* One piece of zeros; *written says from where, and afterwards how far. */
static enum kelp_error zero_piece(struct wal *w, struct file *file, uint64_t bytes,
                                  uint64_t *written, bool *synced, struct kelp_fault *fault)
{
    uint64_t len = min_u64(bytes - *written, max_u64(w->options->zero_piece_bytes, STORE_BLOCK));
    *synced = false;
    enum kelp_error error = wal_zeros(w, file, *written, *written + len, fault);
    if (error != KELP_OK) return error;
    *written += len;
    *synced = true;
    w->stats.syncs++;
    return w->disk.ops->sync(w->disk.state, file, fault);
}

static enum kelp_error tail_work(struct wal *w, struct kelp_fault *fault)
{
    struct wal_segment *tail = &w->segments[w->segment_count - 1];
    ASSERT(tail->written >= w->tail_offset); /* never over what may be data */
    if (tail->written == tail->bytes) return wal_whole(w, fault);
    bool synced;
    struct kelp_fault cause = {0};
    enum kelp_error error = zero_piece(w, w->tail, tail->bytes, &tail->written, &synced, &cause);
    if (error == KELP_E_NO_SPACE && !synced) {
        wal_no_room(w, "the rest of the last log file");
        return KELP_OK;
    }
    if (error != KELP_OK)
        *fault = cause; /* after a failed sync of this file nothing about it is certain */
    else
        wal_has_room(w);
    return error;
}

static struct spare *spare_unready(struct wal *w)
{
    for (size_t i = 0; i < w->spare_count; i++) {
        if (w->spares[i].written < w->options->segment_bytes) return &w->spares[i];
    }
    return NULL;
}

static enum kelp_error spare_make(struct wal *w, struct kelp_fault *fault)
{
    struct spare *spare = spare_unready(w);
    struct room_left left = room_left(w);
    uint64_t missing = w->options->segment_bytes - (spare != NULL ? spare->written : 0);
    if (left.known && left.free_bytes < missing + room_kept(w)) {
        wal_no_room(w, "a spare log file");
        return KELP_OK;
    }
    if (spare == NULL) {
        unsigned number = spare_number_free(w);
        spare = &w->spares[w->spare_count++];
        *spare = (struct spare){.number = number};
    }
    char name[FILE_NAME_MAX];
    spare_name(name, spare->number);
    struct file *file = NULL;
    struct kelp_fault cause = {0};
    bool synced;
    enum kelp_error error = w->disk.ops->open(w->disk.state, name, FILE_CREATE_ANY, &file, &cause);
    if (error == KELP_OK) {
        error = zero_piece(w, file, w->options->segment_bytes, &spare->written, &synced, &cause);
    }
    w->disk.ops->close(w->disk.state, file);
    if (error == KELP_E_NO_SPACE) {
        wal_no_room(w, "a spare log file");
        return KELP_OK;
    }
    if (error != KELP_OK)
        *fault = cause;
    else
        wal_has_room(w);
    return error;
}

static bool spare_wanted(struct wal *w)
{
    size_t made = (size_t)min_u64(spares_max(w), SPARES_MADE);
    return w->spare_count < made || (spares_max(w) > 0 && spare_unready(w) != NULL);
}

static bool tail_wanted(const struct wal *w)
{
    const struct wal_segment *tail = &w->segments[w->segment_count - 1];
    return tail->written < tail->bytes || tail->flags != SEGMENT_WHOLE;
}

enum kelp_error spare_work(struct wal *w, bool *more, struct kelp_fault *fault)
{
    enum kelp_error error = KELP_OK;
    bool released = oldest_is_free(w);
    if (released)
        error = oldest_release(w, fault);
    else if (tail_wanted(w))
        error = tail_work(w, fault);
    else if (spare_wanted(w))
        error = spare_make(w, fault);
    else
        wal_has_room(w); /* nothing is missing */
    *more = oldest_is_free(w) || (!w->no_room && (tail_wanted(w) || spare_wanted(w)));
    return error;
}
