/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c - from the segments back to the log: what is durable, what is torn, what is rotten.
 *
 * Damage is judged by proof, never by position. A write starts only after the sync of the one
 * before it returned, so a valid head of write w+1, wherever it stands and even if the rest of it
 * is torn, proves all of w; so does a segment's head that says its first write is w+1. Then:
 *
 *   damage in a write that something proves   rot: the start is refused with file, offset and index
 *   damage that nothing proves                a torn tail: nobody was told of it; cut, bytes noted
 *   an intact last write that nothing proves  perhaps only in the page cache: written again behind
 *                                             itself under its own number, synced, then believed
 *   a write without records (a mark)          proves the write before; the next one replaces it
 *   two writes of one number                  the later in the stream counts
 *
 * Before damage is called a tail, every block from there to the end of the last segment is looked
 * at for a head of the same or a later number. The tail then stands at the *last* damage, so that
 * no valid head lies behind it, ever. The last good write is held back (`pending`) until the next
 * head says that it counts: a copy of the same number takes its place instead.
 *
 *   look at block --good write w--> hold it, go on behind it
 *        |  `------copy of w-1----> holds instead of the first
 *        |-----mark, damage, nothing--> search --head of w or w-1--> go on there
 *                                          |-----head above w-----> rot
 *                                          `-----none-------------> tail */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "base/unset.h"
#include "store/room.h"
#include "wire/entry.h"
#include "wire/epoch.h"
#include "wire/wire.h"

#define SEARCH_BYTES (64u * STORE_BLOCK)

struct held {
    bool present;
    struct write_head head;
    size_t at; /* segment slot */
    uint64_t offset;
    uint8_t *body;
    size_t room;
};

struct scan {
    struct wal *w;
    struct segment_head *heads; /* by slot, as w->segments */
    size_t at;                  /* the slot looked at */
    uint64_t offset, limit;     /* the block looked at, the end of what can be read */
    uint64_t next;              /* the number expected behind the pending write */
    struct file *file;
    struct held pending, fresh;
    bool proved;              /* a mark behind it says that the pending write is durable */
    struct kelp_fault damage; /* what is wrong at offset, error KELP_OK: nothing that is known */
    uint64_t torn_bytes;
    bool written; /* the block looked at holds something: a mark, or what was torn */
};

static void name_of(const struct scan *s, size_t at, char out[FILE_NAME_MAX])
{
    segment_name(out, s->w->segments[at].number);
}

static enum kelp_error corrupt(const struct scan *s, size_t at, uint64_t offset,
                               struct kelp_fault *fault, const char *words, uint64_t number)
{
    char name[FILE_NAME_MAX];
    name_of(s, at, name);
    return room_fault(fault, KELP_E_CORRUPT, name, offset, s->w->places.last.index + 1,
                      "write %" PRIu64 ": %s", number, words);
}

/* ---- one write ------------------------------------------------------------------------------- */

static enum kelp_error verify_append(const struct record *record, struct kelp_bytes body,
                                     uint64_t *at, uint64_t *content, struct kelp_fault *fault)
{
    uint64_t end = *at + record->bytes;
    for (kelp_index index = record->first;; index++) {
        struct wire_entry entry;
        size_t used = 0;
        struct kelp_fault cause = {0};
        enum kelp_error error = KELP_E_CORRUPT;
        struct kelp_bytes in = bytes_of(body.data + *at, (size_t)(end - *at));
        if (*at < end) error = wire_entry_decode(in, &entry, &used, &cause);
        if (error == KELP_OK && entry.pos.index != index) error = KELP_E_CORRUPT;
        if (error == KELP_E_VERSION)
            return room_fault(fault, error, "", *at, index, "%s", cause.what);
        if (error != KELP_OK) {
            return room_fault(fault, KELP_E_CORRUPT, "", *at, index, "entry %" PRIu64 " is damaged",
                              index);
        }
        *content = content_add(*content, wire_entry_checksum(bytes_of(in.data, used)));
        *at += used;
        if (index == record->last.index) break;
    }
    if (*at == end) return KELP_OK;
    return room_fault(fault, KELP_E_CORRUPT, "", *at, record->last.index, "bytes are left over");
}

enum kelp_error write_verify(const struct write_head *h, struct kelp_bytes body,
                             struct kelp_fault *fault)
{
    ASSERT(body.len + WRITE_HEAD_BYTES == h->bytes);
    size_t records = (size_t)h->record_count * RECORD_BYTES;
    ASSERT(records <= body.len);
    uint64_t content = content_start(bytes_of(body.data, records), h->number), at = records;
    if (content != h->records) {
        return room_fault(fault, KELP_E_CORRUPT, "", 0, 0, "its records are damaged");
    }
    for (size_t i = 0; i < records; i += RECORD_BYTES) {
        struct record record;
        if (!record_decode(body.data + i, &record) ||
            (record.type == RECORD_APPEND && record.bytes > body.len - at)) {
            return room_fault(fault, KELP_E_CORRUPT, "", i, 0, "a record makes no sense");
        }
        if (record.type != RECORD_APPEND) continue;
        enum kelp_error error = verify_append(&record, body, &at, &content, fault);
        if (error != KELP_OK) return error;
    }
    if (content != h->content || at != body.len) {
        return room_fault(fault, KELP_E_CORRUPT, "", 0, 0, "its content is not what was written");
    }
    return KELP_OK;
}

/* Load and verify the body behind a good head into `fresh`. Damage goes to s->damage, not to
 * fault. */
static enum kelp_error load(struct scan *s, const struct write_head *h, bool *good,
                            struct kelp_fault *fault)
{
    const struct segment_head *segment = &s->heads[s->at];
    char name[FILE_NAME_MAX];
    name_of(s, s->at, name);
    *good = false;
    uint64_t body = s->offset + WRITE_HEAD_BYTES;
    if (room_blocks(h->bytes) + STORE_BLOCK > segment->bytes - s->offset ||
        h->bytes > s->limit - s->offset) {
        (void)room_fault(&s->damage, KELP_E_CORRUPT, name, s->limit, 0, "it is cut off");
        return KELP_OK;
    }
    size_t len = (size_t)(h->bytes - WRITE_HEAD_BYTES), got = 0;
    void *grown = s->fresh.body;
    bool reserved = room_grow(&grown, &s->fresh.room, len + 1, 1);
    s->fresh.body = grown;
    if (!reserved) return fault_set(fault, KELP_E_NO_MEMORY, name, "out of memory");
    struct disk disk = s->w->disk;
    enum kelp_error error =
        disk.ops->read(disk.state, s->file, body, s->fresh.body, len, &got, fault);
    if (error != KELP_OK) return error;
    struct kelp_fault cause = {0};
    error = got < len ? KELP_E_CORRUPT : write_verify(h, bytes_of(s->fresh.body, len), &cause);
    if (error == KELP_E_NO_MEMORY || error == KELP_E_VERSION) {
        return room_fault(fault, error, name, body + cause.offset, cause.index, "%s", cause.what);
    }
    if (error != KELP_OK) {
        (void)room_fault(&s->damage, error, name, body + cause.offset, cause.index, "%s",
                         cause.what);
        return KELP_OK;
    }
    s->fresh.present = true;
    s->fresh.head = *h;
    s->fresh.at = s->at;
    s->fresh.offset = s->offset;
    *good = true;
    return KELP_OK;
}

static enum kelp_error fault_in(const struct scan *s, size_t at, struct kelp_fault *fault,
                                enum kelp_error error)
{
    char name[FILE_NAME_MAX];
    name_of(s, at, name);
    if (fault->where[0] == '\0') (void)snprintf(fault->where, sizeof fault->where, "%s", name);
    return error;
}

/* The pending write counts: something behind it proves it. */
static enum kelp_error pending_apply(struct scan *s, struct kelp_fault *fault)
{
    struct held *p = &s->pending;
    if (!p->present) return KELP_OK;
    p->present = false;
    size_t records = (size_t)p->head.record_count * RECORD_BYTES;
    size_t len = (size_t)(p->head.bytes - WRITE_HEAD_BYTES);
    struct kelp_bytes entries = bytes_of(p->body + records, len - records);
    struct written written;
    enum kelp_error error = wal_apply(s->w, p->head.number, bytes_of(p->body, records), &entries, 1,
                                      p->offset + WRITE_HEAD_BYTES + records,
                                      s->w->segments[p->at].number, &written, fault);
    if (error != KELP_OK) return fault_in(s, p->at, fault, error);
    s->w->last = written;
    s->w->save_number = p->head.save_last;
    s->w->commit = min_u64(p->head.commit, written.last.index);
    s->w->everyone = min_u64(p->head.everyone, written.last.index);
    return KELP_OK;
}

/* ---- rot ------------------------------------------------------------------------------------- */

/* `next` is damaged or missing, and something of a later number exists. */
static enum kelp_error rot(struct scan *s, uint64_t proof, struct kelp_fault *fault)
{
    struct kelp_fault ignored = {0};
    (void)pending_apply(
        s, &ignored); /* so that the index below is right; the start is refused anyway */
    char name[FILE_NAME_MAX];
    name_of(s, s->at, name);
    const struct kelp_fault *d = &s->damage;
    bool known = d->error != KELP_OK;
    kelp_index index = known && d->index != 0 ? d->index : s->w->places.last.index + 1;
    return room_fault(
        fault, KELP_E_CORRUPT, known ? d->where : name, known ? d->offset : s->offset, index,
        "write %" PRIu64 " is damaged but was durable, as write %" PRIu64 " proves%s%.60s", s->next,
        proof, known ? ": " : "", d->what);
}

/* ---- from segment to segment ----------------------------------------------------------------- */

/* All of the writes in a segment are known. If it may have holes, that is as much as was surely
 * written, with the mark behind them: zeros must never take its place. */
static void segment_leave(struct scan *s)
{
    struct wal_segment *segment = &s->w->segments[s->at];
    uint64_t end = s->offset + (s->written ? STORE_BLOCK : 0);
    bool holes = (segment->flags & SEGMENT_HOLES) != 0;
    segment->written = holes ? end : max_u64(segment->written, s->offset);
}

static enum kelp_error segment_open(struct scan *s, size_t at, struct kelp_fault *fault)
{
    struct disk disk = s->w->disk;
    if (s->file != NULL) segment_leave(s);
    disk.ops->close(disk.state, s->file);
    s->file = NULL;
    char name[FILE_NAME_MAX];
    name_of(s, at, name);
    enum kelp_error error = disk.ops->open(disk.state, name, FILE_WRITE, &s->file, fault);
    uint64_t size = 0;
    if (error == KELP_OK) error = disk.ops->size(disk.state, s->file, &size, fault);
    if (error != KELP_OK) return error;
    const struct segment_head *h = &s->heads[at];
    if ((h->flags & SEGMENT_WHOLE) != 0 && size < h->bytes) {
        return room_fault(fault, KELP_E_CORRUPT, name, size, s->w->places.last.index + 1,
                          "the file was cut: it had %" PRIu64 " bytes", h->bytes);
    }
    s->limit = min_u64(size, h->bytes);
    s->at = at;
    s->offset = SEGMENT_DATA;
    s->w->segments[at].written = s->limit;
    return KELP_OK;
}

static enum kelp_error segment_enter(struct scan *s, size_t at, struct kelp_fault *fault)
{
    const struct segment_head *h = &s->heads[at];
    struct wal *w = s->w;
    bool repeats = s->pending.present && h->first_write == s->pending.head.number;
    if (h->first_write > s->next) return rot(s, h->first_write, fault);
    if (h->first_write < s->next && !repeats) {
        return corrupt(s, at, 0, fault, "the segment does not continue the one before it", s->next);
    }
    if (!repeats) {
        enum kelp_error error = pending_apply(s, fault);
        if (error != KELP_OK) return error;
    }
    if (h->prev_content != w->last.content || !kelp_pos_equal(h->start, w->places.last)) {
        return corrupt(s, at, 0, fault, "the segment follows another write than the one found",
                       s->next);
    }
    s->damage =
        (struct kelp_fault){0}; /* what was damaged there stands again here, or was never durable */
    s->torn_bytes = 0;
    return segment_open(s, at, fault);
}

static uint64_t lowest(const struct scan *s)
{
    return s->pending.present ? s->pending.head.number : s->next;
}

static bool head_at(const struct scan *s, struct kelp_bytes block, uint64_t offset,
                    struct write_head *out)
{
    const struct wal_segment *segment = &s->w->segments[s->at];
    return write_head_decode(block, write_seed(segment->number, segment->salt, offset), out);
}

enum found { FOUND_NOTHING, FOUND_PLACE };

/* Look for a later head: in the rest of this segment, then in the head of the next one. */
static enum kelp_error search(struct scan *s, enum found *found, struct kelp_fault *fault)
{
    struct disk disk = s->w->disk;
    uint64_t left = sub_sat(s->limit, s->offset + STORE_BLOCK);
    uint8_t *chunk = malloc((size_t)max_u64(min_u64(SEARCH_BYTES, left), 1));
    if (chunk == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    *found = FOUND_NOTHING;
    enum kelp_error error = KELP_OK;
    size_t got = 0;
    for (uint64_t from = s->offset + STORE_BLOCK; from < s->limit; from += SEARCH_BYTES) {
        error = disk.ops->read(disk.state, s->file, from, chunk,
                               (size_t)min_u64(SEARCH_BYTES, s->limit - from), &got, fault);
        if (error != KELP_OK) break;
        for (size_t i = 0; i < got && *found == FOUND_NOTHING; i += STORE_BLOCK) {
            struct write_head head;
            if (!head_at(s, bytes_of(chunk + i, got - i), from + i, &head)) continue;
            if (head.number < lowest(s)) continue;
            if (head.number > s->next) {
                error = rot(s, head.number, fault);
            } else {
                s->offset = from + i;
                s->damage = (struct kelp_fault){0};
                s->torn_bytes = 0;
            }
            *found = FOUND_PLACE;
        }
        if (*found == FOUND_PLACE) break;
    }
    free(chunk);
    if (error != KELP_OK || *found == FOUND_PLACE || s->at + 1 == s->w->segment_count) return error;
    *found = FOUND_PLACE;
    return segment_enter(s, s->at + 1, fault);
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* A torn head still says its number; it is only used to tell people how much was cut. */
static void torn_head(struct scan *s, struct kelp_bytes block)
{
    if (block.len < 40 || load_u64(block.data + 8) != s->next) return;
    s->torn_bytes = min_u64(load_u64(block.data + 32), s->limit - s->offset);
}

/* Does the write say of the one before it what we found? */
static bool follows(const struct scan *s, const struct write_head *h)
{
    uint64_t content = s->w->last.content;
    if (h->number == s->next && s->pending.present) content = s->pending.head.content;
    return h->prev_number + 1 == h->number && h->prev_content == content;
}

enum step { STEP_ON, STEP_SEARCH };

static enum kelp_error step_write(struct scan *s, const struct write_head *h, enum step *step,
                                  struct kelp_fault *fault)
{
    if (h->number > s->next) return rot(s, h->number, fault);
    if (!follows(s, h)) {
        return corrupt(s, s->at, s->offset, fault,
                       "it follows another write than the one found before it", h->number);
    }
    bool copy = h->number < s->next, mark = h->record_count == 0;
    /* A mark was not synced: a start that did not find it has put a copy of the write behind it,
     * perhaps into the next segment. */
    if (mark) s->proved = s->proved || !copy;
    enum kelp_error error = copy || mark ? KELP_OK : pending_apply(s, fault);
    if (error != KELP_OK) return error;
    *step = STEP_SEARCH;
    if (mark) {
        if ((h->flags & WRITE_CONTINUES) == 0 || s->at + 1 < s->w->segment_count) return KELP_OK;
        (void)pending_apply(s, fault); /* so that the index named is the first one lost */
        return room_fault(fault, KELP_E_CORRUPT, "log", 0, s->w->places.last.index + 1,
                          "segment %" PRIu64 " is missing: the one before it says that it exists",
                          s->w->segments[s->at].number + 1);
    }
    bool good;
    error = load(s, h, &good, fault);
    if (error != KELP_OK) return error;
    if (!good) {
        s->torn_bytes = h->bytes;
        return KELP_OK;
    }
    struct held held = s->pending;
    s->pending = s->fresh;
    s->proved = false;
    s->fresh = held; /* its buffer is used again */
    if (!copy) s->next++;
    s->offset += room_blocks(h->bytes);
    *step = STEP_ON;
    return KELP_OK;
}

static bool block_zero(const uint8_t *block, size_t len)
{
    static const uint8_t zeros[STORE_BLOCK];
    return len == 0 || memcmp(block, zeros, len) == 0;
}

static enum kelp_error walk(struct scan *s, struct kelp_fault *fault)
{
    struct disk disk = s->w->disk;
    for (;;) {
        UNSET uint8_t block[STORE_BLOCK]; /* `got` of it */
        size_t got = 0;
        enum kelp_error error = KELP_OK;
        if (s->offset < s->limit) {
            error =
                disk.ops->read(disk.state, s->file, s->offset, block,
                               (size_t)min_u64(sizeof block, s->limit - s->offset), &got, fault);
        }
        if (error != KELP_OK) return error;
        s->written = !block_zero(block, got);
        struct write_head head;
        enum step step = STEP_SEARCH;
        s->damage = (struct kelp_fault){0};
        s->torn_bytes = 0;
        if (head_at(s, bytes_of(block, got), s->offset, &head) && head.number >= lowest(s)) {
            error = step_write(s, &head, &step, fault);
            if (error != KELP_OK) return error;
        } else {
            torn_head(s, bytes_of(block, got));
        }
        if (step == STEP_ON) continue;
        enum found found = FOUND_NOTHING;
        error = search(s, &found, fault);
        if (error != KELP_OK || found == FOUND_NOTHING) return error;
    }
}

/* ---- the segments ---------------------------------------------------------------------------- */

static enum kelp_error head_judge(const struct wal *w, const struct segment_head *h,
                                  const char *name, struct kelp_fault *fault)
{
    const struct store_identity *own = w->identity, *its = &h->identity;
    if (its->node != own->node && its->node < KELP_ID_WAITING) { /* else: before it had an id */
        return fault_set(fault, KELP_E_FOREIGN, name,
                         "it belongs to node %" PRIu64 ", this is node %" PRIu64, its->node,
                         own->node);
    }
    if (its->incarnation != own->incarnation) {
        return fault_set(fault, KELP_E_FOREIGN, name,
                         "it belongs to another data directory: incarnation %016" PRIx64
                         ", here %016" PRIx64,
                         its->incarnation, own->incarnation);
    }
    if (epoch_number(its->epoch) > epoch_number(own->epoch)) {
        return fault_set(fault, KELP_E_FOREIGN, name,
                         "it was begun after recovery %" PRIu64 ", the identity is of before it: "
                         "it was put back from a copy",
                         epoch_number(its->epoch));
    }
    if (!wire_cluster_zero(its->cluster) && !wire_cluster_equal(its->cluster, own->cluster)) {
        return fault_set(fault, KELP_E_FOREIGN, name,
                         "it belongs to cluster %016" PRIx64 "%016" PRIx64
                         ", this is cluster %016" PRIx64 "%016" PRIx64,
                         its->cluster.hi, its->cluster.lo, own->cluster.hi, own->cluster.lo);
    }
    return KELP_OK;
}

static enum kelp_error head_read(struct scan *s, const char *entry, uint64_t number,
                                 struct kelp_fault *fault)
{
    struct wal *w = s->w;
    if (w->segment_count > 0 && w->segments[w->segment_count - 1].number + 1 != number) {
        return fault_set(fault, KELP_E_CORRUPT, "log",
                         "segments %" PRIu64 " to %" PRIu64 " are missing, %s exists",
                         w->segments[w->segment_count - 1].number + 1, number - 1, entry);
    }
    char name[FILE_NAME_MAX];
    segment_name(name, number);
    struct file *file = NULL;
    unsigned copies = 0;
    struct segment_head head;
    enum kelp_error error = w->disk.ops->open(w->disk.state, name, FILE_READ, &file, fault);
    if (error == KELP_OK) {
        error = segment_read_head(w->disk, file, name, number, &head, &copies, fault);
    }
    w->disk.ops->close(w->disk.state, file);
    if (error == KELP_OK) error = head_judge(w, &head, name, fault);
    if (error != KELP_OK) return error;
    if (copies != 3) {
        room_note(w->options, KELP_WARN, "%s: one of the two copies of its head is damaged", name);
    }
    void *segments = w->segments;
    bool ok = room_grow(&segments, &w->segment_room, w->segment_count + 1, sizeof *w->segments);
    w->segments = segments;
    if (!ok) return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    s->heads[w->segment_count] = head;
    w->segments[w->segment_count++] = (struct wal_segment){
        .number = number, .salt = head.salt, .bytes = head.bytes, .flags = head.flags};
    return KELP_OK;
}

/* A spare that fits is kept, as far as it is written; another size or too many: removed. */
static enum kelp_error spare_found(struct wal *w, const struct file_entry *row, unsigned number,
                                   struct kelp_fault *fault)
{
    if (row->size <= w->options->segment_bytes &&
        w->spare_count < min_u64(SPARES_ROOM, w->options->spares_max)) {
        w->spares[w->spare_count++] = (struct spare){.number = number, .written = row->size};
        return KELP_OK;
    }
    char name[FILE_NAME_MAX];
    spare_name(name, number);
    return room_remove(w->disk, name, fault);
}

static enum kelp_error heads_read(struct scan *s, struct kelp_fault *fault)
{
    struct file_entry *rows;
    size_t count;
    struct disk disk = s->w->disk;
    /* A killed process leaves names in the cache only; what is written below them must not be
     * lost. */
    enum kelp_error error = disk.ops->sync_dir(disk.state, "log", fault);
    if (error == KELP_OK) error = room_list(disk, "log", &rows, &count, fault);
    if (error != KELP_OK) return error;
    s->heads = calloc(count + 1, sizeof *s->heads);
    if (s->heads == NULL) error = fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    for (size_t i = 0; i < count && error == KELP_OK; i++) {
        uint64_t number;
        unsigned spare;
        if (segment_parse(rows[i].name, &number)) {
            error = head_read(s, rows[i].name, number, fault);
        } else if (spare_parse(rows[i].name, &spare)) {
            error = spare_found(s->w, &rows[i], spare, fault);
        } else {
            room_note(s->w->options, KELP_WARN, "log/%s is not ours, it is left alone",
                      rows[i].name);
        }
    }
    free(rows);
    if (error == KELP_OK && s->w->segment_count == 0) {
        error = fault_set(fault, KELP_E_WIPED, "log", "the directory has an identity but no log");
    }
    return error;
}

/* ---- the end --------------------------------------------------------------------------------- */

static enum kelp_error finish(struct scan *s, struct recovered *out, struct kelp_fault *fault)
{
    struct wal *w = s->w;
    ASSERT(s->at + 1 == w->segment_count);
    w->tail = s->file;
    s->file = NULL;
    w->tail_offset = s->offset;
    segment_leave(s);
    *out = (struct recovered){.torn_bytes = s->torn_bytes};
    if (s->torn_bytes > 0) {
        room_note(w->options, KELP_WARN,
                  "log: cut %" PRIu64 " bytes of write %" PRIu64
                  ", which was never reported durable",
                  s->torn_bytes, s->next);
        w->unproved = true; /* so that a mark covers what is left of its head */
    }
    if (s->proved) {
        enum kelp_error error = pending_apply(s, fault);
        if (error != KELP_OK) return error;
    }
    if (s->pending.present) {
        s->pending.present = false;
        struct kelp_bytes body =
            bytes_of(s->pending.body, (size_t)(s->pending.head.bytes - WRITE_HEAD_BYTES));
        enum kelp_error error = wal_repeat(w, &s->pending.head, body, fault);
        if (error != KELP_OK) return fault_in(s, s->pending.at, fault, error);
        out->rewritten_bytes = s->pending.head.bytes;
    }
    return wal_mark(w, fault);
}

enum kelp_error wal_recover(struct wal *w, struct recovered *out, struct kelp_fault *fault)
{
    struct scan s = {.w = w};
    enum kelp_error error = heads_read(&s, fault);
    if (error == KELP_OK) {
        const struct segment_head *h = &s.heads[0];
        w->last = (struct written){.number = h->first_write - 1,
                                   .content = h->prev_content,
                                   .first = h->start.index + 1,
                                   .last = h->start};
        w->save_number = h->save_number;
        w->commit = min_u64(h->commit, h->start.index);
        w->everyone = min_u64(h->everyone, h->start.index);
        places_reset(&w->places, h->start);
        s.next = h->first_write;
        error = segment_open(&s, 0, fault);
    }
    if (error == KELP_OK) error = walk(&s, fault);
    if (error == KELP_OK) error = finish(&s, out, fault);
    w->disk.ops->close(w->disk.state, s.file);
    free(s.heads);
    free(s.pending.body);
    free(s.fresh.body);
    return error;
}

/* ---- a directory without an identity --------------------------------------------------------- */

static enum kelp_error segment_holds_write(struct disk disk, uint64_t number, bool *holds,
                                           struct kelp_fault *fault)
{
    char name[FILE_NAME_MAX];
    segment_name(name, number);
    struct file *file = NULL;
    enum kelp_error error = disk.ops->open(disk.state, name, FILE_READ, &file, fault);
    struct segment_head head;
    unsigned copies;
    if (error == KELP_OK) {
        error = segment_read_head(disk, file, name, number, &head, &copies, fault);
    }
    if (error == KELP_OK && (head.first_write != 1 || head.start.index != 0)) *holds = true;
    UNSET uint8_t block[STORE_BLOCK]; /* `got` of it */
    size_t got = sizeof block;
    for (uint64_t at = SEGMENT_DATA; error == KELP_OK && got == sizeof block && !*holds;
         at += STORE_BLOCK) {
        struct write_head write;
        error = disk.ops->read(disk.state, file, at, block, sizeof block, &got, fault);
        if (error != KELP_OK) break;
        uint64_t seed = write_seed(number, head.salt, at);
        *holds = write_head_decode(bytes_of(block, got), seed, &write) && write.record_count > 0;
    }
    disk.ops->close(disk.state, file);
    return error;
}

enum kelp_error log_holds_write(struct disk disk, bool *holds, struct kelp_fault *fault)
{
    struct file_entry *rows;
    size_t count;
    *holds = false;
    enum kelp_error error = room_list(disk, "log", &rows, &count, fault);
    for (size_t i = 0; i < count && error == KELP_OK && !*holds; i++) {
        uint64_t number;
        if (!segment_parse(rows[i].name, &number)) continue;
        error = segment_holds_write(disk, number, holds, fault);
    }
    free(rows);
    return error;
}
