/* SPDX-License-Identifier: Apache-2.0 */
/* wal.c - the append path of the log: what one batch of saves becomes on disk.
 *
 * One batch is one write: one gathered write call and one sync. It starts on a block of its own and
 * lies in one segment; when the rest of the tail segment is too small the next one is taken into
 * use: head written, synced, renamed to its number, directory synced, and only then written to. A
 * write that is larger than a segment gets a segment of its own size. The last block of a segment
 * is never used for data: it has room for the mark that proves the last write and says that the
 * next segment exists, so that a lost segment is noticed.
 *
 * A segment has its full size, durably, before it has its number, and its head says so: when a file
 * system or a hand shortens it later, that is seen. A spare that was not all written yet gets its
 * last block only; what lies before it is written with zeros later, by the housekeeping, and then
 * the head is written again without SEGMENT_HOLES. A write into a hole first claims its blocks with
 * zeros, one more write call but no sync: so a full disk is met before anything has changed, the
 * batch is refused, and may come again.
 *
 * Invariants: the bytes at tail_offset hold nothing that was ever reported durable; a write starts
 * only after the sync of the one before it returned (the store is poisoned otherwise), so a valid
 * head of write w+1 proves all of w. segment.c has the bytes. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/min.h"
#include "base/unset.h"
#include "store/room.h"
#include "wire/entry.h"

#define ZEROS_BYTES (256u * STORE_BLOCK) /* in one write call */
#define CLAIM_BYTES (16u * STORE_BLOCK)  /* at least so much of a hole at once */

static const _Alignas(STORE_BLOCK) uint8_t zeros[STORE_BLOCK]; /* aligned: written uncopied */

static struct wal_segment *tail_segment(struct wal *w)
{
    ASSERT(w->segment_count > 0);
    return &w->segments[w->segment_count - 1];
}

static void tail_advance(struct wal *w, uint64_t end)
{
    struct wal_segment *segment = tail_segment(w);
    segment->written = max_u64(segment->written, end);
}

/* No room, and nothing was changed for it. */
static enum kelp_error refused(struct wal *w, enum kelp_error error)
{
    if (error != KELP_E_NO_SPACE) return error;
    w->refused = true;
    wal_no_room(w, "the next write");
    return error;
}

/* ---- zeros ----------------------------------------------------------------------------------- */

enum kelp_error wal_zeros(struct wal *w, struct file *file, uint64_t from, uint64_t to,
                          struct kelp_fault *fault)
{
    ASSERT(from <= to);
    void *parts = w->parts;
    size_t most = (size_t)(room_blocks(min_u64(to - from, ZEROS_BYTES)) / STORE_BLOCK);
    bool reserved = room_grow(&parts, &w->parts_room, most, sizeof *w->parts);
    w->parts = parts;
    if (!reserved) return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    while (from < to) {
        uint64_t len = min_u64(to - from, ZEROS_BYTES);
        size_t count = (size_t)(room_blocks(len) / STORE_BLOCK);
        for (size_t i = 0; i < count; i++) {
            size_t part = (size_t)min_u64(STORE_BLOCK, len - (uint64_t)i * STORE_BLOCK);
            w->parts[i] = bytes_of(zeros, part);
        }
        enum kelp_error error =
            w->disk.ops->write(w->disk.state, file, from, w->parts, count, fault);
        if (error != KELP_OK) return error;
        w->stats.bytes_written += len;
        from += len;
    }
    return KELP_OK;
}

/* The tail's blocks up to end are its own: from here on no write below it can lack room. */
static enum kelp_error claim(struct wal *w, uint64_t end, struct kelp_fault *fault)
{
    struct wal_segment *tail = tail_segment(w);
    ASSERT(end <= tail->bytes);
    if (end <= tail->written) return KELP_OK;
    uint64_t more = min_u64(CLAIM_BYTES, w->options->zero_piece_bytes);
    uint64_t to = min_u64(tail->bytes, max_u64(end, tail->written + more));
    struct kelp_fault cause = {0};
    enum kelp_error error = wal_zeros(w, w->tail, tail->written, to, &cause);
    if (error == KELP_E_NO_SPACE && to > end) { /* perhaps there is room for what is needed */
        to = end;
        cause = (struct kelp_fault){0};
        error = wal_zeros(w, w->tail, tail->written, to, &cause);
    }
    if (error == KELP_OK)
        tail->written = to;
    else
        *fault = cause;
    return refused(w, error);
}

/* ---- marks ----------------------------------------------------------------------------------- */

static enum kelp_error mark_write(struct wal *w, uint32_t flags, struct kelp_fault *fault)
{
    const struct wal_segment *segment = tail_segment(w);
    ASSERT(w->tail_offset + STORE_BLOCK <= segment->bytes);
    struct write_head head = {
        .number = w->last.number + 1,
        .save_first = w->save_number + 1,
        .save_last = w->save_number,
        .bytes = WRITE_HEAD_BYTES,
        .flags = flags,
        .records = content_start(bytes_of(NULL, 0), w->last.number + 1),
        .content = content_start(bytes_of(NULL, 0), w->last.number + 1),
        .prev_number = w->last.number,
        .prev_content = w->last.content,
        .commit = w->commit,
        .everyone = w->everyone,
        .prev_first = w->last.first,
        .prev_last = w->last.last,
    };
    uint8_t block[STORE_BLOCK] = {0};
    write_head_encode(block, &head, write_seed(segment->number, segment->salt, w->tail_offset));
    struct kelp_bytes part = bytes_of(block, sizeof block);
    enum kelp_error error =
        w->disk.ops->write(w->disk.state, w->tail, w->tail_offset, &part, 1, fault);
    if (error != KELP_OK) return error;
    tail_advance(w, w->tail_offset + STORE_BLOCK);
    w->stats.bytes_written += STORE_BLOCK;
    return KELP_OK;
}

enum kelp_error wal_mark(struct wal *w, struct kelp_fault *fault)
{
    if (!w->unproved) return KELP_OK;
    enum kelp_error error = mark_write(w, 0, fault);
    if (error == KELP_OK) w->unproved = false;
    return error;
}

/* ---- taking a segment into use --------------------------------------------------------------- */

static enum kelp_error head_write(struct wal *w, struct file *file, const struct segment_head *head,
                                  struct kelp_fault *fault)
{
    UNSET uint8_t blocks[SEGMENT_DATA]; /* each is encoded whole */
    segment_encode(blocks, head, 0);
    segment_encode(blocks + STORE_BLOCK, head, 1);
    struct kelp_bytes part = bytes_of(blocks, sizeof blocks);
    enum kelp_error error = w->disk.ops->write(w->disk.state, file, 0, &part, 1, fault);
    if (error != KELP_OK) return error;
    w->stats.bytes_written += sizeof blocks;
    w->stats.syncs++;
    return w->disk.ops->sync(w->disk.state, file, fault);
}

/* What is known of the file that becomes the next segment. */
struct taking {
    char name[FILE_NAME_MAX]; /* a spare's */
    struct file *file;
    uint64_t written;
};

/* A spare if there is one of the right size, else a new file under a spare's name. */
static enum kelp_error spare_open(struct wal *w, uint64_t bytes, struct taking *t,
                                  struct kelp_fault *fault)
{
    struct spare spare = {.number = spare_number_free(w)};
    bool taken = bytes == w->options->segment_bytes && spare_take(w, &spare);
    spare_name(t->name, spare.number);
    t->written = spare.written;
    enum file_mode mode = taken ? FILE_WRITE : FILE_CREATE_ANY;
    return w->disk.ops->open(w->disk.state, t->name, mode, &t->file, fault);
}

/* The file's full size, before anything in it is believed. A segment of a size of its own is filled
 * by the write it is made for: that one is written whole, so that this write cannot lack room. */
static enum kelp_error spare_complete(struct wal *w, struct taking *t, struct segment_head *head,
                                      struct kelp_fault *fault)
{
    uint64_t size = 0;
    enum kelp_error error = w->disk.ops->size(w->disk.state, t->file, &size, fault);
    if (error != KELP_OK) return error;
    t->written = min_u64(min_u64(t->written, size), head->bytes);
    head->flags = SEGMENT_WHOLE;
    if (t->written == head->bytes) return KELP_OK;
    if (head->bytes != w->options->segment_bytes) {
        error = wal_zeros(w, t->file, t->written, head->bytes, fault);
        if (error == KELP_OK) t->written = head->bytes;
        return error;
    }
    head->flags |= SEGMENT_HOLES;
    t->written = max_u64(t->written, SEGMENT_DATA); /* where the heads go */
    return wal_zeros(w, t->file, head->bytes - STORE_BLOCK, head->bytes, fault);
}

/* A file that did not become a segment is no spare either: nobody knows what is in it. */
static enum kelp_error spare_give_up(struct wal *w, struct taking *t, enum kelp_error error)
{
    w->disk.ops->close(w->disk.state, t->file);
    t->file = NULL;
    if (error != KELP_E_NO_SPACE) return error;
    struct kelp_fault other = {0};
    enum kelp_error removed = room_remove(w->disk, t->name, &other);
    return removed == KELP_OK ? refused(w, error) : error;
}

static enum kelp_error segment_start(struct wal *w, struct taking *t,
                                     const struct segment_head *head, struct wal_segment *out,
                                     struct kelp_fault *fault)
{
    *out = (struct wal_segment){.number = head->number,
                                .salt = head->salt,
                                .bytes = head->bytes,
                                .written = t->written,
                                .flags = head->flags};
    enum kelp_error error = head_write(w, t->file, head, fault);
    if (error != KELP_OK) return error;
    char name[FILE_NAME_MAX];
    segment_name(name, head->number);
    error = w->disk.ops->rename(w->disk.state, t->name, name, fault);
    if (error != KELP_OK) return error;
    return w->disk.ops->sync_dir(w->disk.state, "log", fault);
}

/* The mark in the old tail proves the last write that was synced, which is the one before the write
 * that needs the room, whether that one is new or repeated by recovery. */
static enum kelp_error take(struct wal *w, uint64_t need, struct kelp_fault *fault)
{
    void *grown = w->segments;
    bool reserved = room_grow(&grown, &w->segment_room, w->segment_count + 1, sizeof *w->segments);
    w->segments = grown;
    if (!reserved) return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    uint64_t bytes = SEGMENT_DATA + room_blocks(need) + STORE_BLOCK;
    struct segment_head head = {
        .identity = *w->identity,
        .number = w->segment_count == 0 ? 1 : tail_segment(w)->number + 1,
        .salt = w->options->random(w->options->random_ctx),
        .bytes = max_u64(w->options->segment_bytes, bytes),
        .first_write = w->last.number + 1,
        .prev_content = w->last.content,
        .save_number = w->save_number,
        .start = w->places.last,
        .commit = w->commit,
        .everyone = w->everyone,
    };
    struct taking t = {.file = NULL};
    struct wal_segment segment;
    enum kelp_error error = spare_open(w, head.bytes, &t, fault);
    if (error == KELP_OK) error = spare_complete(w, &t, &head, fault);
    if (error != KELP_OK) return spare_give_up(w, &t, error);
    error = segment_start(w, &t, &head, &segment, fault);
    if (error == KELP_OK && w->tail != NULL) error = mark_write(w, WRITE_CONTINUES, fault);
    if (error != KELP_OK) {
        w->disk.ops->close(w->disk.state, t.file);
        return error;
    }
    w->disk.ops->close(w->disk.state, w->read_file);
    w->read_file = w->tail; /* likely to be read next, by followers that are a little behind */
    w->read_number = w->tail != NULL ? tail_segment(w)->number : 0;
    w->segments[w->segment_count++] = segment;
    w->tail = t.file;
    w->tail_offset = SEGMENT_DATA;
    return KELP_OK;
}

enum kelp_error wal_create(struct wal *w, struct kelp_fault *fault)
{
    ASSERT(w->segment_count == 0 && w->tail == NULL);
    enum kelp_error error = w->disk.ops->make_dir(w->disk.state, "log", fault);
    if (error == KELP_OK) error = w->disk.ops->sync_dir(w->disk.state, "", fault);
    return error == KELP_OK ? take(w, STORE_BLOCK, fault) : error;
}

/* ---- one write ------------------------------------------------------------------------------- */

static enum kelp_error room_for(struct wal *w, uint64_t bytes, struct kelp_fault *fault)
{
    uint64_t end = w->tail_offset + room_blocks(bytes) + STORE_BLOCK;
    if (end > tail_segment(w)->bytes) {
        enum kelp_error error = claim(w, w->tail_offset + STORE_BLOCK, fault); /* the mark's */
        if (error == KELP_OK) error = take(w, bytes, fault);
        if (error != KELP_OK) return error;
        end = w->tail_offset + room_blocks(bytes) + STORE_BLOCK;
    }
    return claim(w, end, fault);
}

enum kelp_error wal_whole(struct wal *w, struct kelp_fault *fault)
{
    struct wal_segment *tail = tail_segment(w);
    ASSERT(tail->written == tail->bytes);
    char name[FILE_NAME_MAX];
    segment_name(name, tail->number);
    struct segment_head head;
    unsigned copies = 0;
    /* the size is durable before a head claims it */
    enum kelp_error error = w->disk.ops->sync(w->disk.state, w->tail, fault);
    if (error == KELP_OK) {
        error = segment_read_head(w->disk, w->tail, name, tail->number, &head, &copies, fault);
    }
    head.flags = SEGMENT_WHOLE;
    unsigned first = copies == 1 ? 1 : 0; /* a damaged copy first: the good one stays until then */
    for (unsigned i = 0; i < 2 && error == KELP_OK; i++) {
        unsigned copy = i ^ first;
        uint8_t block[STORE_BLOCK];
        segment_encode(block, &head, copy);
        struct kelp_bytes part = bytes_of(block, sizeof block);
        uint64_t offset = (uint64_t)copy * STORE_BLOCK;
        error = w->disk.ops->write(w->disk.state, w->tail, offset, &part, 1, fault);
        if (error == KELP_OK) error = w->disk.ops->sync(w->disk.state, w->tail, fault);
        w->stats.bytes_written += sizeof block;
    }
    w->stats.syncs += 3;
    if (error == KELP_OK) tail->flags = SEGMENT_WHOLE;
    return error;
}

/* parts[0] is left for the head, parts[count + 1] for the padding. */
static enum kelp_error write_sync(struct wal *w, struct write_head *head, size_t head_bytes,
                                  size_t count, struct kelp_fault *fault)
{
    const struct wal_segment *segment = tail_segment(w);
    uint64_t whole = room_blocks(head->bytes);
    ASSERT(w->tail_offset % STORE_BLOCK == 0);
    ASSERT(w->tail_offset + whole + STORE_BLOCK <= segment->bytes);
    write_head_encode(w->head, head, write_seed(segment->number, segment->salt, w->tail_offset));
    w->parts[0] = bytes_of(w->head, head_bytes);
    w->parts[count + 1] = bytes_of(zeros, (size_t)(whole - head->bytes));
    enum kelp_error error =
        w->disk.ops->write(w->disk.state, w->tail, w->tail_offset, w->parts, count + 2, fault);
    if (error != KELP_OK) return error;
    error = w->disk.ops->sync(w->disk.state, w->tail, fault);
    if (error != KELP_OK) return error;
    w->tail_offset += whole;
    tail_advance(w, w->tail_offset);
    w->stats.writes++;
    w->stats.syncs++;
    w->stats.bytes_written += whole;
    return KELP_OK;
}

static void written_done(struct wal *w, const struct write_head *head,
                         const struct written *written)
{
    w->last = *written;
    w->save_number = head->save_last;
    w->commit = head->commit;
    w->everyone = head->everyone;
    w->unproved = true;
    ASSERT(w->commit <= w->places.last.index);
}

static bool parts_reserve(struct wal *w, size_t count, size_t head_bytes)
{
    void *parts = w->parts, *head = w->head;
    bool ok = room_grow(&parts, &w->parts_room, count, sizeof *w->parts);
    w->parts = parts;
    ok = ok && room_grow(&head, &w->head_room, head_bytes, 1);
    w->head = head;
    return ok;
}

/* ---- a batch of saves ------------------------------------------------------------------------ */

static bool record_add(struct wal *w, const struct record *record)
{
    struct record *top = w->record_count > 0 ? &w->records[w->record_count - 1] : NULL;
    if (top != NULL && record->type == RECORD_APPEND && top->type == RECORD_APPEND) {
        ASSERT(top->last.index + 1 == record->first);
        top->last = record->last;
        top->bytes += record->bytes;
        return true;
    }
    void *grown = w->records;
    bool ok = room_grow(&grown, &w->records_room, w->record_count + 1, sizeof *w->records);
    w->records = grown;
    if (ok) w->records[w->record_count++] = *record;
    return ok;
}

/* The first save that counts: nothing of the log before a reset is left. So the few bytes that let
 * the whole log go do not wait for the room of what goes with it. */
static size_t first_left(const struct store_save_item *items, size_t count)
{
    for (size_t i = count; i > 0; i--)
        if ((items[i - 1].save.flags & KELP_SAVE_RESET) != 0) return i - 1;
    return 0;
}

static bool appends(const struct kelp_save *save)
{
    return (save->flags & (KELP_SAVE_APPEND | KELP_SAVE_RESET)) == KELP_SAVE_APPEND;
}

/* What the batch becomes: records, in the order of the saves and, within one, of its flags. */
static bool plan(struct wal *w, const struct store_save_item *items, size_t count, uint64_t offset,
                 struct write_head *head)
{
    kelp_index end = w->places.last.index;
    *head = (struct write_head){.save_first = offset + items[0].save.number,
                                .save_last = offset + items[count - 1].save.number,
                                .commit = w->commit,
                                .everyone = w->everyone,
                                .bytes = WRITE_HEAD_BYTES};
    w->record_count = 0;
    for (size_t i = first_left(items, count); i < count; i++) {
        const struct kelp_save *save = &items[i].save;
        struct record record = {.last = save->end};
        bool resets = (save->flags & KELP_SAVE_RESET) != 0;
        if (!resets && (save->flags & KELP_SAVE_TRUNCATE) != 0) {
            ASSERT(save->end.index <= end);
            record.type = RECORD_TRUNCATE;
            end = save->end.index;
            if (!record_add(w, &record)) return false;
        }
        if (appends(save)) {
            ASSERT(save->first == end + 1 && save->last >= save->first);
            end = save->last;
            struct record append = {.type = RECORD_APPEND, .first = save->first, .last.index = end};
            for (size_t k = 0; k < items[i].part_count; k++)
                append.bytes += items[i].parts[k].len;
            head->bytes += append.bytes;
            if (!record_add(w, &append)) return false;
        }
        if (resets) {
            record.type = RECORD_RESET;
            end = save->end.index;
            if (!record_add(w, &record)) return false;
        }
        head->commit = min_u64(end, max_u64(head->commit, save->commit));
        head->everyone = min_u64(end, save->everyone); /* falls: a member came, or is behind */
    }
    head->record_count = (uint32_t)w->record_count;
    head->bytes += (uint64_t)w->record_count * RECORD_BYTES;
    return true;
}

/* The entries' parts stand in w->parts[1..*part_count] afterwards, the records behind the head's
 * room. */
static bool gather(struct wal *w, const struct store_save_item *items, size_t count,
                   size_t head_bytes, size_t *part_count)
{
    size_t first = first_left(items, count);
    *part_count = 0;
    for (size_t i = first; i < count; i++) {
        if (appends(&items[i].save)) *part_count += items[i].part_count;
    }
    if (!parts_reserve(w, *part_count + 2, head_bytes)) return false;
    struct kelp_bytes *at = w->parts + 1;
    for (size_t i = first; i < count; i++) {
        if (!appends(&items[i].save) || items[i].part_count == 0) continue;
        memcpy(at, items[i].parts, items[i].part_count * sizeof *at);
        at += items[i].part_count;
    }
    for (size_t i = 0; i < w->record_count; i++) {
        record_encode(w->head + WRITE_HEAD_BYTES + i * RECORD_BYTES, &w->records[i]);
    }
    return true;
}

enum kelp_error wal_save(struct wal *w, const struct store_save_item *items, size_t count,
                         uint64_t offset, struct kelp_fault *fault)
{
    ASSERT(count > 0);
    w->refused = false;
    struct write_head head;
    if (!plan(w, items, count, offset, &head)) {
        return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    }
    if (w->record_count == 0) return KELP_OK; /* votes and compaction need no write */
    enum kelp_error error = room_for(w, head.bytes, fault);
    if (error != KELP_OK) return error;
    size_t record_bytes = w->record_count * RECORD_BYTES, part_count;
    if (!gather(w, items, count, WRITE_HEAD_BYTES + record_bytes, &part_count)) {
        return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    }
    struct written written;
    error = wal_apply(w, w->last.number + 1, bytes_of(w->head + WRITE_HEAD_BYTES, record_bytes),
                      w->parts + 1, part_count, w->tail_offset + WRITE_HEAD_BYTES + record_bytes,
                      tail_segment(w)->number, &written, fault);
    if (error != KELP_OK) return error;
    head.number = written.number;
    head.records = written.records;
    head.content = written.content;
    head.prev_number = w->last.number;
    head.prev_content = w->last.content;
    head.prev_first = w->last.first;
    head.prev_last = w->last.last;
    error = write_sync(w, &head, WRITE_HEAD_BYTES + record_bytes, part_count, fault);
    if (error != KELP_OK) return error;
    written_done(w, &head, &written);
    w->stats.entry_bytes += head.bytes - WRITE_HEAD_BYTES - record_bytes;
    return KELP_OK;
}

enum kelp_error wal_repeat(struct wal *w, const struct write_head *h, struct kelp_bytes body,
                           struct kelp_fault *fault)
{
    ASSERT(h->number == w->last.number + 1);
    ASSERT(body.len + WRITE_HEAD_BYTES == h->bytes);
    enum kelp_error error = room_for(w, h->bytes, fault);
    if (error != KELP_OK) return error;
    if (!parts_reserve(w, 3, WRITE_HEAD_BYTES)) {
        return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    }
    w->parts[1] = body;
    size_t record_bytes = h->record_count * RECORD_BYTES;
    struct kelp_bytes entries = bytes_of(body.data + record_bytes, body.len - record_bytes);
    struct write_head head = *h;
    struct written written;
    error = wal_apply(w, h->number, bytes_of(body.data, record_bytes), &entries, 1,
                      w->tail_offset + WRITE_HEAD_BYTES + record_bytes, tail_segment(w)->number,
                      &written, fault);
    if (error != KELP_OK) return error;
    ASSERT(written.content == h->content);
    head.commit = min_u64(head.commit, written.last.index);
    head.everyone = min_u64(head.everyone, written.last.index);
    error = write_sync(w, &head, WRITE_HEAD_BYTES, 1, fault);
    if (error == KELP_OK) written_done(w, &head, &written);
    return error;
}

/* ---- from records to places ------------------------------------------------------------------ */

struct cursor {
    const struct kelp_bytes *parts;
    size_t count;
    size_t at;       /* in parts[0] */
    uint64_t offset; /* in the segment */
};

static enum kelp_error cursor_next(struct cursor *c, struct wire_entry *entry,
                                   struct kelp_bytes *encoded, struct kelp_fault *fault)
{
    while (c->count > 0 && c->at == c->parts[0].len) {
        c->parts++, c->count--;
        c->at = 0;
    }
    if (c->count == 0) return fault_set(fault, KELP_E_CORRUPT, "", "an entry is missing");
    struct kelp_bytes in = bytes_of(c->parts[0].data + c->at, c->parts[0].len - c->at);
    size_t used = 0;
    enum kelp_error error = wire_entry_decode(in, entry, &used, fault);
    if (error == KELP_E_VERSION) return error;
    if (error != KELP_OK) return fault_set(fault, KELP_E_CORRUPT, "", "an entry is damaged");
    *encoded = bytes_of(in.data, used);
    c->at += used;
    c->offset += used;
    return KELP_OK;
}

static enum kelp_error append_apply(struct wal *w, const struct record *record, struct cursor *c,
                                    uint64_t segment, uint64_t *content, struct kelp_fault *fault)
{
    struct wire_entry entry; /* outside: it is cleared where it is declared */
    for (kelp_index index = record->first;; index++) {
        uint64_t offset = c->offset;
        struct kelp_bytes encoded;
        enum kelp_error error = cursor_next(c, &entry, &encoded, fault);
        if (error == KELP_OK && entry.pos.index != index) error = KELP_E_CORRUPT;
        if (error == KELP_OK) {
            error = places_append(&w->places, entry.pos, entry.type, segment, offset, encoded.len);
        }
        if (error != KELP_OK) {
            (void)fault_set(fault, error, "",
                            "entry %" PRIu64 " does not follow %" PRIu64 "@%" PRIu64, index,
                            w->places.last.index, w->places.last.term.v);
            if (fault->offset == 0) fault->offset = offset;
            if (fault->index == 0) fault->index = index;
            return fault->error == KELP_E_MALFORMED ? KELP_E_CORRUPT : error;
        }
        *content = content_add(*content, wire_entry_checksum(encoded));
        if (index == record->last.index) return KELP_OK;
    }
}

enum kelp_error wal_apply(struct wal *w, uint64_t number, struct kelp_bytes records,
                          const struct kelp_bytes *parts, size_t part_count, uint64_t offset,
                          uint64_t segment, struct written *out, struct kelp_fault *fault)
{
    struct cursor cursor = {.parts = parts, .count = part_count, .offset = offset};
    *out = (struct written){.number = number,
                            .records = content_start(records, number),
                            .first = w->places.last.index + 1};
    out->content = out->records;
    ASSERT(records.len % RECORD_BYTES == 0);
    for (size_t at = 0; at < records.len; at += RECORD_BYTES) {
        struct record record;
        enum kelp_error error = KELP_OK;
        if (!record_decode(records.data + at, &record)) {
            return fault_set(fault, KELP_E_CORRUPT, "", "a record makes no sense");
        }
        if (record.type == RECORD_APPEND) {
            error = append_apply(w, &record, &cursor, segment, &out->content, fault);
        } else if (record.type == RECORD_RESET) {
            places_reset(&w->places, record.last);
        } else {
            error = places_truncate(&w->places, record.last);
        }
        if (error != KELP_OK) {
            return room_fault(fault, error, "", offset, record.last.index,
                              "the log cannot end at %" PRIu64 "@%" PRIu64, record.last.index,
                              record.last.term.v);
        }
        kelp_index lowest = record.type == RECORD_APPEND ? record.first : record.last.index + 1;
        out->first = min_u64(out->first, lowest);
    }
    out->last = w->places.last;
    return KELP_OK;
}

void wal_close(struct wal *w)
{
    if (w->disk.ops != NULL) {
        w->disk.ops->close(w->disk.state, w->tail);
        w->disk.ops->close(w->disk.state, w->read_file);
    }
    places_free(&w->places);
    free(w->segments);
    free(w->parts);
    free(w->records);
    free(w->head);
    free(w->extent);
    *w = (struct wal){0};
}
