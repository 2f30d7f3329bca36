/* SPDX-License-Identifier: Apache-2.0 */
/* dump.c - a data directory as text, however damaged; it never writes and takes no lock.
 *
 * Where recovery refuses, this goes on: every block of every segment is looked at, what has a good
 * checksum is printed, what has not is named with its place. It judges nothing by proof; it only
 * shows, so a torn tail is called damage here. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/min.h"
#include "store/room.h"
#include "wire/entry.h"
#include "wire/epoch.h"

struct dump {
    struct disk disk;
    void (*print)(void *ctx, const char *line);
    void *ctx;
    uint64_t damaged;      /* things */
    enum kelp_error error; /* memory or directory: the dump cannot go on */
    struct kelp_fault *fault;
};

static void line(struct dump *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(struct dump *d, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    d->print(d->ctx, text);
}

/* A whole small file, at most max bytes; false: it cannot be read, and that was printed. */
static bool slurp(struct dump *d, const char *name, uint8_t *out, size_t max, size_t *got)
{
    struct file *file = NULL;
    struct kelp_fault cause = {0};
    enum kelp_error error = d->disk.ops->open(d->disk.state, name, FILE_READ, &file, &cause);
    if (error == KELP_OK) {
        error = d->disk.ops->read(d->disk.state, file, 0, out, max, got, &cause);
    }
    d->disk.ops->close(d->disk.state, file);
    if (error == KELP_OK) return true;
    line(d, "%s: cannot be read: %s", name, cause.what);
    d->damaged++;
    return false;
}

/* ---- identity and vote ----------------------------------------------------------------------- */

static void dump_identity(struct dump *d, unsigned copy, const struct twin_copy *twin)
{
    struct store_identity i;
    if (identity_decode(bytes_of(twin->payload, twin->len), &i, NULL) != KELP_OK) {
        line(d, "identity copy %u: its fields make no sense", copy);
        d->damaged++;
        return;
    }
    char epoch[EPOCH_TEXT_MAX], parent[EPOCH_TEXT_MAX];
    const struct store_recovery *r = &i.recovery;
    line(d,
         "identity copy %u: generation %" PRIu64 ", cluster %016" PRIx64 "%016" PRIx64
         ", node %" PRIu64 ", incarnation %016" PRIx64 ", epoch %s",
         copy, twin->generation, i.cluster.hi, i.cluster.lo, i.node, i.incarnation,
         epoch_text(i.epoch, epoch));
    if (r->kept.index == 0) return;
    line(d, "  recovered%s behind %" PRIu64 "@%" PRIu64 " in term %" PRIu64 ", from epoch %s",
         r->unfinished ? ", unfinished," : "", r->kept.index, r->kept.term.v, r->term.v,
         epoch_text(r->parent, parent));
}

static void dump_vote(struct dump *d, unsigned copy, const struct twin_copy *twin)
{
    struct vote v;
    if (vote_decode(bytes_of(twin->payload, twin->len), &v, NULL) != KELP_OK) {
        line(d, "vote copy %u: its fields make no sense", copy);
        d->damaged++;
        return;
    }
    line(d,
         "vote copy %u: generation %" PRIu64 ", term %" PRIu64 ", vote %" PRIu64 ", start %" PRIu64
         ", node %" PRIu64 ", incarnation %016" PRIx64 "%s",
         copy, twin->generation, v.term.v, v.vote, v.start_count, v.node, v.incarnation,
         v.apart ? ", in quarantine" : "");
}

static void dump_twin(struct dump *d, const char *name, uint32_t magic,
                      void (*show)(struct dump *, unsigned, const struct twin_copy *))
{
    uint8_t bytes[TWIN_FILE_BYTES];
    size_t got = 0;
    if (!slurp(d, name, bytes, sizeof bytes, &got)) return;
    for (unsigned i = 0; i < 2; i++) {
        struct twin_copy copy;
        size_t from = (size_t)min_u64(got, (uint64_t)i * STORE_BLOCK);
        size_t len = (size_t)min_u64(got - from, STORE_BLOCK);
        enum kelp_error error = twin_decode(bytes_of(bytes + from, len), magic, i, &copy);
        if (error == KELP_OK) {
            show(d, i, &copy);
        } else {
            line(d, "%s copy %u: %s", name, i,
                 error == KELP_E_VERSION ? "another version, or damaged" : "damaged");
            d->damaged++;
        }
    }
}

/* ---- segments -------------------------------------------------------------------------------- */

static const char *type_name(uint8_t type)
{
    switch ((enum kelp_entry_type)type) {
    case KELP_ENTRY_COMMAND: return "command";
    case KELP_ENTRY_NOOP: return "no-op";
    case KELP_ENTRY_CONFIG: return "configuration";
    case KELP_ENTRY_BARRIER: return "barrier";
    case KELP_ENTRY_SESSION: return "session";
    case KELP_ENTRY_CLOCK: return "clock";
    case KELP_ENTRY_RESTORE: return "restore";
    case KELP_ENTRY_VERSION: return "version";
    case KELP_ENTRY_POSITION: return "position";
    }
    return "unknown";
}

static void dump_entries(struct dump *d, const struct record *record, struct kelp_bytes body,
                         uint64_t *at, uint64_t offset)
{
    uint64_t end = *at + min_u64(record->bytes, body.len - *at);
    while (*at < end) {
        struct wire_entry entry;
        size_t used = 0;
        struct kelp_fault cause = {0};
        struct kelp_bytes in = bytes_of(body.data + *at, (size_t)(end - *at));
        enum kelp_error error = wire_entry_decode(in, &entry, &used, &cause);
        if (error != KELP_OK) {
            line(d, "      damaged entry at %" PRIu64 ": %s", offset + *at,
                 cause.what[0] != '\0' ? cause.what : "it is cut off");
            d->damaged++;
            *at = end;
            return;
        }
        line(d, "      %" PRIu64 "@%" PRIu64 " %s, %zu bytes, time %" PRIu64, entry.pos.index,
             entry.pos.term.v, type_name(entry.type), entry.payload.len, entry.time_ns);
        *at += used;
    }
}

static void dump_body(struct dump *d, const struct write_head *h, struct kelp_bytes body,
                      uint64_t offset)
{
    uint64_t at = (uint64_t)h->record_count * RECORD_BYTES;
    if (at > body.len) return;
    for (uint32_t i = 0; i < h->record_count; i++) {
        struct record record;
        if (!record_decode(body.data + (size_t)i * RECORD_BYTES, &record)) {
            line(d, "    a damaged record");
            d->damaged++;
            return;
        }
        if (record.type == RECORD_APPEND) {
            line(d, "    append %" PRIu64 "..%" PRIu64 ", %" PRIu64 " bytes", record.first,
                 record.last.index, record.bytes);
            dump_entries(d, &record, body, &at, offset);
        } else {
            line(d, "    %s at %" PRIu64 "@%" PRIu64,
                 record.type == RECORD_TRUNCATE ? "ends" : "reset: starts after", record.last.index,
                 record.last.term.v);
        }
    }
}

/* Returns how many bytes the write takes, at least one block. */
static uint64_t dump_write(struct dump *d, struct file *file, const struct write_head *h,
                           uint64_t offset, uint64_t limit)
{
    if (h->record_count == 0) {
        line(d, "  mark %" PRIu64 " at %" PRIu64 ": write %" PRIu64 " is durable%s", h->number,
             offset, h->prev_number,
             (h->flags & WRITE_CONTINUES) != 0 ? ", the next segment exists" : "");
        return STORE_BLOCK;
    }
    line(d,
         "  write %" PRIu64 " at %" PRIu64 ": %" PRIu64 " bytes, saves %" PRIu64 "..%" PRIu64
         ", commit %" PRIu64 ", everyone %" PRIu64 ", the log ended at %" PRIu64 "@%" PRIu64
         " before it",
         h->number, offset, h->bytes, h->save_first, h->save_last, h->commit, h->everyone,
         h->prev_last.index, h->prev_last.term.v);
    size_t len = (size_t)(min_u64(h->bytes, limit - offset) - WRITE_HEAD_BYTES), got = 0;
    uint8_t *body = malloc(len + 1);
    if (body == NULL) {
        d->error = fault_set(d->fault, KELP_E_NO_MEMORY, "dump", "out of memory");
        return STORE_BLOCK;
    }
    struct kelp_fault cause = {0};
    enum kelp_error error =
        d->disk.ops->read(d->disk.state, file, offset + WRITE_HEAD_BYTES, body, len, &got, &cause);
    if (error == KELP_OK) dump_body(d, h, bytes_of(body, got), offset + WRITE_HEAD_BYTES);
    bool whole = error == KELP_OK && got + WRITE_HEAD_BYTES == h->bytes;
    bool good = whole && write_verify(h, bytes_of(body, got), &cause) == KELP_OK;
    free(body);
    if (good) return room_blocks(h->bytes);
    line(d, "    damaged: %s", cause.what[0] != '\0' ? cause.what : "it is cut off");
    d->damaged++;
    return STORE_BLOCK;
}

static void dump_gap(struct dump *d, uint64_t from, uint64_t to)
{
    if (from == to) return;
    line(d, "  nothing valid from %" PRIu64 " to %" PRIu64 ", and writes behind it", from, to);
    d->damaged++;
}

static void dump_writes(struct dump *d, struct file *file, const struct segment_head *head,
                        uint64_t limit)
{
    uint64_t offset = SEGMENT_DATA, good = SEGMENT_DATA; /* up to good everything made sense */
    while (offset < limit && d->error == KELP_OK) {
        uint8_t block[WRITE_HEAD_BYTES];
        size_t got = 0;
        struct kelp_fault cause = {0};
        if (d->disk.ops->read(d->disk.state, file, offset, block, sizeof block, &got, &cause) !=
            KELP_OK) {
            line(d, "  cannot be read at %" PRIu64 ": %s", offset, cause.what);
            d->damaged++;
            return;
        }
        struct write_head h;
        uint64_t seed = write_seed(head->number, head->salt, offset);
        if (!write_head_decode(bytes_of(block, got), seed, &h)) {
            offset += STORE_BLOCK;
            continue;
        }
        dump_gap(d, good, offset);
        uint64_t step = dump_write(d, file, &h, offset, limit);
        offset += step;
        good = offset;
        if (step == STORE_BLOCK && h.bytes > STORE_BLOCK) good += room_blocks(h.bytes) - step;
        if (good > offset) good = min_u64(good, limit);
    }
    if (good < limit) line(d, "  free from %" PRIu64 " to %" PRIu64, good, limit);
}

static void dump_segment(struct dump *d, uint64_t number, uint64_t size)
{
    char name[FILE_NAME_MAX];
    segment_name(name, number);
    struct file *file = NULL;
    struct segment_head h;
    unsigned copies = 0;
    struct kelp_fault cause = {0};
    enum kelp_error error = d->disk.ops->open(d->disk.state, name, FILE_READ, &file, &cause);
    if (error == KELP_OK) {
        error = segment_read_head(d->disk, file, name, number, &h, &copies, &cause);
    }
    if (copies == 0) {
        line(d, "%s: %" PRIu64 " bytes, %s", name, size, cause.what);
        d->damaged++;
    } else {
        line(d,
             "%s: segment %" PRIu64 ", %" PRIu64 " of %" PRIu64 " bytes, salt %016" PRIx64
             ", first write %" PRIu64 ", starts after %" PRIu64 "@%" PRIu64 ", commit %" PRIu64,
             name, h.number, size, h.bytes, h.salt, h.first_write, h.start.index, h.start.term.v,
             h.commit);
        line(d,
             "  of cluster %016" PRIx64 "%016" PRIx64 ", node %" PRIu64 ", incarnation %016" PRIx64
             ", epoch %s",
             h.identity.cluster.hi, h.identity.cluster.lo, h.identity.node, h.identity.incarnation,
             epoch_text(h.identity.epoch, (char[EPOCH_TEXT_MAX]){0}));
        if (error != KELP_OK) line(d, "  %s", cause.what);
        if (copies != 3) line(d, "  one copy of this head is damaged");
        if (copies != 3 || error != KELP_OK) d->damaged++;
        if (size < h.bytes && (h.flags & SEGMENT_WHOLE) != 0) {
            line(d, "  the file was cut");
            d->damaged++;
        }
        dump_writes(d, file, &h, min_u64(size, h.bytes));
    }
    d->disk.ops->close(d->disk.state, file);
}

static void dump_log(struct dump *d)
{
    struct file_entry *rows;
    size_t count;
    if (d->error == KELP_OK) d->error = room_list(d->disk, "log", &rows, &count, d->fault);
    if (d->error != KELP_OK) return;
    uint64_t before = 0;
    for (size_t i = 0; i < count && d->error == KELP_OK; i++) {
        uint64_t number;
        unsigned spare;
        if (segment_parse(rows[i].name, &number)) {
            if (before != 0 && before + 1 != number) {
                line(d, "log: segments %" PRIu64 " to %" PRIu64 " are missing", before + 1,
                     number - 1);
                d->damaged++;
            }
            before = number;
            dump_segment(d, number, rows[i].size);
        } else if (spare_parse(rows[i].name, &spare)) {
            line(d, "log/%s: spare, %" PRIu64 " bytes", rows[i].name, rows[i].size);
        } else {
            line(d, "log/%s: not ours, %" PRIu64 " bytes", rows[i].name, rows[i].size);
        }
    }
    free(rows);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void dump_objects(struct dump *d, const char *name, const struct wire_snaphead *head,
                         size_t head_len)
{
    struct snapfile file = {.head = *head, .len = head_len};
    struct kelp_fault cause = {0};
    (void)snprintf(file.name, sizeof file.name, "%.*s", (int)sizeof file.name - 1, name);
    if (snapobjects_walk(d->disk, &file, NULL, NULL, &cause) == KELP_OK) return;
    line(d, "%s: damaged at byte %" PRIu64 ": %s", name, cause.offset, cause.what);
    d->damaged++;
}

static void dump_snapshot(struct dump *d, const char *entry)
{
    char name[FILE_NAME_MAX + 8];
    (void)snprintf(name, sizeof name, "snap/%s", entry);
    uint8_t *bytes = malloc(WIRE_SNAPHEAD_BYTES_MAX);
    struct wire_snaphead *head = malloc(sizeof *head);
    size_t got = 0, used = 0;
    struct kelp_fault cause = {0};
    if (bytes == NULL || head == NULL) {
        d->error = fault_set(d->fault, KELP_E_NO_MEMORY, name, "out of memory");
    } else if (slurp(d, name, bytes, WIRE_SNAPHEAD_BYTES_MAX, &got)) {
        if (wire_snaphead_decode(bytes_of(bytes, got), head, &used, &cause) == KELP_OK) {
            line(d,
                 "%s: snapshot at %" PRIu64 "@%" PRIu64 ", %u members, state hash %016" PRIx64
                 ", %zu own bytes, %" PRIu64 " objects",
                 name, head->pos.index, head->pos.term.v, head->config.config.count,
                 head->state_hash, head->own.len, head->object_count);
            dump_objects(d, name, head, used);
        } else {
            line(d, "%s: damaged: %s", name, cause.what[0] != '\0' ? cause.what : "it is cut off");
            d->damaged++;
        }
    }
    free(head);
    free(bytes);
}

enum kelp_error store_dump(struct disk disk, void (*print)(void *ctx, const char *line), void *ctx,
                           struct kelp_fault *fault)
{
    struct kelp_fault local = {0};
    struct dump d = {.disk = disk, .print = print, .ctx = ctx, .fault = fault};
    if (fault == NULL) d.fault = &local;
    dump_twin(&d, IDENTITY_NAME, IDENTITY_MAGIC, dump_identity);
    dump_twin(&d, VOTE_NAME, VOTE_MAGIC, dump_vote);
    dump_log(&d);
    struct file_entry *rows = NULL;
    size_t count = 0;
    if (d.error == KELP_OK) d.error = room_list(disk, "snap", &rows, &count, d.fault);
    for (size_t i = 0; i < count && d.error == KELP_OK; i++)
        dump_snapshot(&d, rows[i].name);
    free(rows);
    if (d.error != KELP_OK) return d.error;
    if (d.damaged == 0) return KELP_OK;
    return fault_set(d.fault, KELP_E_CORRUPT, "dump", "%" PRIu64 " things are damaged", d.damaged);
}
