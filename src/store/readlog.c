/* SPDX-License-Identifier: Apache-2.0 */
/* readlog.c - entries back from the segments, for followers that are behind and for replay.
 *
 * A read finds the extent that holds its first entry, reads extents whole (about 64 KiB at most,
 * unless one entry is larger) and verifies every entry it walks over: checksum, index, and the term
 * that the log has there. What does not hold is never handed out. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/room.h"
#include "wire/entry.h"

static enum kelp_error segment_file(struct wal *w, uint64_t number, struct file **out,
                                    struct kelp_fault *fault)
{
    if (w->segments[w->segment_count - 1].number == number) {
        *out = w->tail;
        return KELP_OK;
    }
    if (w->read_file == NULL || w->read_number != number) {
        w->disk.ops->close(w->disk.state, w->read_file);
        w->read_file = NULL;
        char name[FILE_NAME_MAX];
        segment_name(name, number);
        enum kelp_error error =
            w->disk.ops->open(w->disk.state, name, FILE_READ, &w->read_file, fault);
        if (error != KELP_OK) return error == KELP_E_NOT_FOUND ? KELP_E_IO : error;
        w->read_number = number;
    }
    *out = w->read_file;
    return KELP_OK;
}

static enum kelp_error extent_load(struct wal *w, const struct extent *e, struct kelp_fault *fault)
{
    struct file *file = NULL;
    enum kelp_error error = segment_file(w, e->segment, &file, fault);
    if (error != KELP_OK) return error;
    void *grown = w->extent;
    bool reserved = room_grow(&grown, &w->extent_room, (size_t)e->bytes, 1);
    w->extent = grown;
    if (!reserved) return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    size_t got = 0;
    error =
        w->disk.ops->read(w->disk.state, file, e->offset, w->extent, (size_t)e->bytes, &got, fault);
    if (error != KELP_OK || got == e->bytes) return error;
    char name[FILE_NAME_MAX];
    segment_name(name, e->segment);
    return room_fault(fault, KELP_E_CORRUPT, name, e->offset + got, e->first,
                      "the file ends before its entries do");
}

/* The entry at offset `at` of the loaded extent must be index. */
static enum kelp_error extent_entry(const struct wal *w, const struct extent *e, uint64_t at,
                                    kelp_index index, size_t *used, struct kelp_fault *fault)
{
    struct wire_entry entry;
    struct kelp_fault cause = {0};
    struct kelp_bytes in = bytes_of(w->extent + at, (size_t)(e->bytes - at));
    enum kelp_error error = wire_entry_decode(in, &entry, used, &cause);
    const char *words = cause.what[0] != '\0' ? cause.what : "an entry is cut off";
    struct kelp_pos wanted = {.index = index, .term = places_term(&w->places, index)};
    if (error == KELP_OK) {
        if (kelp_pos_equal(entry.pos, wanted)) return KELP_OK;
        words = "another entry lies in its place";
    }
    char name[FILE_NAME_MAX];
    segment_name(name, e->segment);
    error = error == KELP_E_VERSION ? error : KELP_E_CORRUPT;
    return room_fault(fault, error, name, e->offset + at, index, "entry %" PRIu64 ": %s", index,
                      words);
}

/* What a read has collected and may still collect. */
struct collect {
    kelp_index first, next; /* wanted from first on; next is the one to come */
    uint32_t entries_max;
    uint64_t bytes_max;
    uint8_t **out;
    size_t *size, *len;
    bool full;
};

static enum kelp_error collect_entry(struct collect *c, struct kelp_bytes encoded,
                                     struct kelp_fault *fault)
{
    bool any = c->next > c->first;
    c->full = any && (*c->len >= c->bytes_max || encoded.len > c->bytes_max - *c->len);
    if (c->full) return KELP_OK;
    void *grown = *c->out;
    bool reserved = room_grow(&grown, c->size, *c->len + encoded.len, 1);
    *c->out = grown;
    if (!reserved) return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    memcpy(*c->out + *c->len, encoded.data, encoded.len);
    *c->len += encoded.len;
    c->next++;
    c->full = c->next - c->first >= c->entries_max;
    return KELP_OK;
}

static enum kelp_error collect_extent(struct wal *w, const struct extent *e, struct collect *c,
                                      struct kelp_fault *fault)
{
    const struct extent *end = w->places.extents + w->places.extent_count;
    kelp_index last = e + 1 < end ? e[1].first - 1 : w->places.last.index;
    enum kelp_error error = extent_load(w, e, fault);
    uint64_t at = 0;
    size_t used = 0;
    for (kelp_index index = e->first; error == KELP_OK && index <= last && !c->full; index++) {
        if (index <= w->places.base.index) { /* compacted, but in front of what is not */
            struct kelp_pos pos;
            uint8_t type;
            struct kelp_bytes in = bytes_of(w->extent + at, (size_t)(e->bytes - at));
            if (wire_entry_peek(in, &pos, &type, &used) != KELP_OK) {
                char name[FILE_NAME_MAX];
                segment_name(name, e->segment);
                return room_fault(fault, KELP_E_CORRUPT, name, e->offset + at, index,
                                  "entry %" PRIu64 " is damaged", index);
            }
            at += used;
            continue;
        }
        error = extent_entry(w, e, at, index, &used, fault);
        if (error == KELP_OK && index >= c->first) {
            error = collect_entry(c, bytes_of(w->extent + at, used), fault);
        }
        at += used;
    }
    return error;
}

enum kelp_error wal_read(struct wal *w, kelp_index first, uint32_t entries_max, uint64_t bytes_max,
                         uint8_t **out, size_t *out_size, size_t *out_len, struct kelp_pos *before,
                         kelp_index *last, struct kelp_fault *fault)
{
    const struct places *p = &w->places;
    *out_len = 0;
    if (first <= p->base.index) {
        return room_fault(fault, KELP_E_GONE, "log", 0, first, "the log starts after %" PRIu64,
                          p->base.index);
    }
    if (first > p->last.index + (entries_max == 0 ? 1 : 0)) {
        return room_fault(fault, KELP_E_NOT_FOUND, "log", 0, first, "the log ends at %" PRIu64,
                          p->last.index);
    }
    *before = (struct kelp_pos){.index = first - 1, .term = places_term(p, first - 1)};
    *last = first - 1;
    if (entries_max == 0) return KELP_OK;
    struct collect c = {.first = first,
                        .next = first,
                        .entries_max = entries_max,
                        .bytes_max = bytes_max,
                        .out = out,
                        .size = out_size,
                        .len = out_len};
    while (!c.full && c.next <= p->last.index) {
        enum kelp_error error = collect_extent(w, places_find(p, c.next), &c, fault);
        if (error != KELP_OK) return error;
    }
    *last = c.next - 1;
    ASSERT(*last >= first);
    return KELP_OK;
}
