/* SPDX-License-Identifier: Apache-2.0 */
/* memstore.c - the log port in memory: a queue of what was asked, and what running it made durable.
 *
 * Nothing happens until memstore_run: so a test decides how long a disk takes, and memstore_crash
 * between two runs is a power cut. Running performs what was queued when it began, in order; what
 * the reports ask for in turn waits for the next run. */
#include "store/memstore.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/min.h"
#include "wire/entry.h"

enum job_type { JOB_SAVE, JOB_READ, JOB_SNAPSHOT, JOB_PIECE, JOB_DROP, JOB_FETCH };

struct job {
    struct job *next;
    enum job_type type;
    uint32_t group;
    struct kelp_save save;
    struct kelp_bytes *parts;
    size_t part_count;
    uint64_t tag, bytes_max;
    kelp_index first;
    uint32_t entries_max;
    struct kelp_pos pos;
    uint8_t *head;
    size_t head_len;
    struct kelp_bytes borrowed; /* a piece; tag is its offset */
};

struct entry {
    kelp_term term;
    uint8_t *bytes;
    size_t len;
};

struct memstore {
    struct kelp_store_done done;
    struct job *first, **end; /* end points at the last next */
    size_t queued;
    bool failed; /* out of memory, reported once; nothing is done any more */
    kelp_term term;
    kelp_id vote;
    struct kelp_pos base, snapshot;
    struct entry *entries; /* base.index + 1 .. */
    size_t count, room;
    struct kelp_run *runs; /* made by memstore_boot */
    kelp_index commit, everyone;
    uint8_t *head;
    size_t head_len;
    uint8_t *pieces; /* of the snapshot that is being taken, then behind the head of the newest */
    size_t pieces_len;
    uint8_t *file; /* the newest snapshot, head and pieces */
    size_t file_len;
};

static void fail(struct memstore *m, uint32_t group)
{
    if (m->failed) return;
    m->failed = true;
    struct kelp_fault fault = {0};
    (void)fault_set(&fault, KELP_E_NO_MEMORY, "memstore", "out of memory");
    m->done.fault(m->done.ctx, group, &fault);
}

static void job_free(struct job *job)
{
    if (job == NULL) return;
    free(job->parts);
    free(job->head);
    free(job);
}

static void queue_push(struct memstore *m, struct job *job)
{
    *m->end = job;
    m->end = &job->next;
    m->queued++;
}

static struct job *queue_pop(struct memstore *m)
{
    struct job *job = m->first;
    m->first = job->next;
    if (m->first == NULL) m->end = &m->first;
    m->queued--;
    return job;
}

static struct job *job_new(struct memstore *m, enum job_type type, uint32_t group)
{
    struct job *job = m->failed ? NULL : calloc(1, sizeof *job);
    if (job == NULL) {
        fail(m, group);
        return NULL;
    }
    job->type = type;
    job->group = group;
    return job;
}

/* ---- the port -------------------------------------------------------------------------------- */

static void port_save(void *store, uint32_t group, const struct kelp_save *save,
                      const struct kelp_bytes *parts, size_t part_count)
{
    struct memstore *m = store;
    struct job *job = job_new(m, JOB_SAVE, group);
    if (job == NULL) return;
    job->save = *save;
    job->parts = calloc(part_count + 1, sizeof *job->parts);
    if (job->parts == NULL) {
        job_free(job);
        fail(m, group);
        return;
    }
    if (part_count > 0) memcpy(job->parts, parts, part_count * sizeof *parts);
    job->part_count = part_count;
    queue_push(m, job);
}

static void port_read(void *store, uint32_t group, uint64_t tag, kelp_index first,
                      uint32_t entries_max, uint64_t bytes_max)
{
    struct memstore *m = store;
    struct job *job = job_new(m, JOB_READ, group);
    if (job == NULL) return;
    job->tag = tag;
    job->first = first;
    job->entries_max = entries_max;
    job->bytes_max = bytes_max;
    queue_push(m, job);
}

static void port_snapshot(void *store, uint32_t group, struct kelp_pos pos, struct kelp_bytes head)
{
    struct memstore *m = store;
    struct job *job = job_new(m, JOB_SNAPSHOT, group);
    if (job == NULL) return;
    job->pos = pos;
    job->head = malloc(head.len + 1);
    if (job->head == NULL) {
        job_free(job);
        fail(m, group);
        return;
    }
    if (head.len > 0) memcpy(job->head, head.data, head.len);
    job->head_len = head.len;
    queue_push(m, job);
}

static void port_piece(void *store, uint32_t group, uint64_t offset, struct kelp_bytes bytes,
                       bool last)
{
    struct memstore *m = store;
    (void)last;
    struct job *job = job_new(m, JOB_PIECE, group);
    if (job == NULL) return;
    job->tag = offset;
    job->borrowed = bytes;
    queue_push(m, job);
}

static void port_drop(void *store, uint32_t group)
{
    struct memstore *m = store;
    struct job *job = job_new(m, JOB_DROP, group);
    if (job != NULL) queue_push(m, job);
}

static void port_fetch(void *store, uint32_t group, struct kelp_pos pos, uint64_t offset)
{
    struct memstore *m = store;
    struct job *job = job_new(m, JOB_FETCH, group);
    if (job == NULL) return;
    job->pos = pos;
    job->tag = offset;
    queue_push(m, job);
}

static void port_idle(void *store, uint32_t group)
{
    (void)store; /* memory needs no mark behind its last write */
    (void)group;
}

const struct kelp_store_ops memstore_ops = {
    .size = sizeof(struct kelp_store_ops),
    .save = port_save,
    .read = port_read,
    .snapshot = port_snapshot,
    .idle = port_idle,
    .piece = port_piece,
    .drop = port_drop,
    .fetch = port_fetch,
};

/* ---- the log --------------------------------------------------------------------------------- */

static kelp_index log_last(const struct memstore *m)
{
    return m->base.index + m->count;
}

static kelp_term log_term(const struct memstore *m, kelp_index index)
{
    ASSERT(index >= m->base.index && index <= log_last(m));
    return index == m->base.index ? m->base.term : m->entries[index - m->base.index - 1].term;
}

static void log_truncate(struct memstore *m, kelp_index last)
{
    ASSERT(last >= m->base.index && last <= log_last(m));
    while (log_last(m) > last)
        free(m->entries[--m->count].bytes);
}

static void log_compact(struct memstore *m, kelp_index keep)
{
    if (keep <= m->base.index + 1) return;
    ASSERT(keep <= log_last(m) + 1);
    struct kelp_pos base = {.index = keep - 1, .term = log_term(m, keep - 1)};
    size_t gone = (size_t)(base.index - m->base.index);
    for (size_t i = 0; i < gone; i++)
        free(m->entries[i].bytes);
    m->count -= gone;
    memmove(m->entries, m->entries + gone, m->count * sizeof *m->entries);
    m->base = base;
}

static bool log_append(struct memstore *m, struct kelp_bytes encoded, struct kelp_pos pos)
{
    ASSERT(pos.index == log_last(m) + 1);
    if (m->count == m->room) {
        size_t room = m->room == 0 ? 64 : m->room * 2;
        struct entry *grown = realloc(m->entries, room * sizeof *grown);
        if (grown == NULL) return false;
        m->entries = grown;
        m->room = room;
    }
    uint8_t *bytes = malloc(encoded.len);
    if (bytes == NULL) return false;
    memcpy(bytes, encoded.data, encoded.len);
    m->entries[m->count++] = (struct entry){.term = pos.term, .bytes = bytes, .len = encoded.len};
    return true;
}

/* ---- running --------------------------------------------------------------------------------- */

static bool append_parts(struct memstore *m, const struct job *job)
{
    for (size_t i = 0; i < job->part_count; i++) {
        struct kelp_bytes in = job->parts[i];
        while (in.len > 0) {
            struct wire_entry entry;
            size_t used;
            enum kelp_error error = wire_entry_decode(in, &entry, &used, NULL);
            ASSERT(error == KELP_OK); /* made by this process, and its memory is all there is */
            if (!log_append(m, bytes_of(in.data, used), entry.pos)) return false;
            in = bytes_of(in.data + used, in.len - used);
        }
    }
    ASSERT(log_last(m) == job->save.last);
    return true;
}

static void run_save(struct memstore *m, const struct job *job)
{
    const struct kelp_save *save = &job->save;
    if ((save->flags & KELP_SAVE_VOTE) != 0) {
        ASSERT(save->term.v >= m->term.v);
        m->term = save->term;
        m->vote = save->vote;
    }
    if ((save->flags & KELP_SAVE_TRUNCATE) != 0) {
        ASSERT(log_term(m, save->end.index).v == save->end.term.v);
        log_truncate(m, save->end.index);
    }
    if ((save->flags & KELP_SAVE_APPEND) != 0 && !append_parts(m, job)) {
        fail(m, job->group);
        return;
    }
    if ((save->flags & KELP_SAVE_COMPACT) != 0) log_compact(m, save->keep);
    if ((save->flags & KELP_SAVE_RESET) != 0) {
        log_truncate(m, m->base.index);
        m->base = save->end;
    }
    m->commit = max_u64(m->commit, save->commit);
    m->everyone = save->everyone; /* falls: a member came, or is behind */
    m->done.saved(m->done.ctx, job->group, save->number);
}

static void run_read(struct memstore *m, const struct job *job)
{
    struct kelp_pos none = {.index = 0};
    kelp_index first = job->first, last = first - 1;
    enum kelp_error error = KELP_OK;
    if (first <= m->base.index)
        error = KELP_E_GONE;
    else if (first > log_last(m) + (job->entries_max == 0 ? 1 : 0))
        error = KELP_E_NOT_FOUND;
    if (error != KELP_OK) {
        m->done.read(m->done.ctx, job->group, job->tag, error, none, first, last,
                     bytes_of(NULL, 0));
        return;
    }
    size_t bytes = 0;
    while (last < log_last(m) && last + 1 - first < job->entries_max) {
        size_t len = m->entries[last - m->base.index].len;
        if (last >= first && (bytes >= job->bytes_max || len > job->bytes_max - bytes)) break;
        bytes += len;
        last++;
    }
    uint8_t *out = malloc(bytes + 1), *at = out;
    if (out == NULL) {
        fail(m, job->group);
        return;
    }
    for (kelp_index i = first; i <= last; i++) {
        const struct entry *entry = &m->entries[i - m->base.index - 1];
        memcpy(at, entry->bytes, entry->len);
        at += entry->len;
    }
    struct kelp_pos before = {.index = first - 1, .term = log_term(m, first - 1)};
    m->done.read(m->done.ctx, job->group, job->tag, KELP_OK, before, first, last,
                 bytes_of(out, bytes));
    free(out);
}

/* The file as it would lie on a disk. false: no memory. */
static bool file_keep(struct memstore *m, const struct job *job)
{
    size_t len = max_u64(job->head_len, m->pieces_len);
    uint8_t *file = malloc(len + 1);
    if (file == NULL) return false;
    if (m->pieces_len > 0) memcpy(file, m->pieces, m->pieces_len);
    if (job->head_len > 0) memcpy(file, job->head, job->head_len);
    free(m->file);
    m->file = file;
    m->file_len = len;
    return true;
}

static void run_snapshot(struct memstore *m, struct job *job)
{
    if (job->pos.index >= m->snapshot.index) {
        if (!file_keep(m, job)) {
            fail(m, job->group);
            return;
        }
        free(m->head);
        m->head = job->head;
        m->head_len = job->head_len;
        m->snapshot = job->pos;
        m->pieces_len = 0; /* they are in the file */
        job->head = NULL;
    }
    m->done.snapshot(m->done.ctx, job->group, job->pos.index, KELP_OK);
}

static void run_piece(struct memstore *m, struct job *job)
{
    size_t end = (size_t)job->tag + job->borrowed.len;
    uint8_t *grown = realloc(m->pieces, end + 1);
    if (grown == NULL) {
        m->done.piece(m->done.ctx, job->group, KELP_E_NO_MEMORY);
        return;
    }
    m->pieces = grown;
    m->pieces_len = end;
    if (job->borrowed.len > 0) memcpy(grown + job->tag, job->borrowed.data, job->borrowed.len);
    m->done.piece(m->done.ctx, job->group, KELP_OK);
}

/* The head, or the chunk that begins there. */
static void run_fetch(struct memstore *m, const struct job *job)
{
    bool there = m->file != NULL && kelp_pos_equal(job->pos, m->snapshot);
    enum kelp_error error = there ? KELP_OK : KELP_E_NOT_FOUND;
    size_t len = m->head_len, at = (size_t)job->tag;
    if (there && at > 0) {
        bool begins = at >= m->head_len && at < m->file_len && m->file_len - at > 4;
        len = begins ? load_u32(m->file + at) : 0;
        if (!begins || len > m->file_len - at) error = KELP_E_ARGUMENT;
    }
    struct kelp_bytes bytes = bytes_of(NULL, 0);
    if (error == KELP_OK) bytes = bytes_of(m->file + at, len);
    m->done.fetched(m->done.ctx, job->group, error, m->file_len, bytes);
}

static void run_drop(struct memstore *m, struct job *job)
{
    m->pieces_len = 0;
    m->done.piece(m->done.ctx, job->group, KELP_OK);
}

struct kelp_bytes memstore_pieces(const struct memstore *m)
{
    return bytes_of(m->pieces, m->pieces_len);
}

struct kelp_bytes memstore_file(const struct memstore *m, size_t *head_len)
{
    *head_len = m->head_len;
    return bytes_of(m->file, m->file != NULL ? m->file_len : 0);
}

size_t memstore_run(struct memstore *m)
{
    size_t reported = 0;
    for (size_t left = m->queued; left > 0 && !m->failed; left--) {
        struct job *job = queue_pop(m);
        switch (job->type) {
        case JOB_SAVE: run_save(m, job); break;
        case JOB_READ: run_read(m, job); break;
        case JOB_SNAPSHOT: run_snapshot(m, job); break;
        case JOB_PIECE: run_piece(m, job); break;
        case JOB_DROP: run_drop(m, job); break;
        case JOB_FETCH: run_fetch(m, job); break;
        }
        job_free(job);
        reported++;
    }
    return reported;
}

void memstore_crash(struct memstore *m)
{
    while (m->first != NULL)
        job_free(queue_pop(m));
}

/* ---- life ------------------------------------------------------------------------------------ */

struct memstore *memstore_new(const struct kelp_store_done *done)
{
    struct memstore *m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    m->done = *done;
    m->end = &m->first;
    return m;
}

void memstore_free(struct memstore *m)
{
    if (m == NULL) return;
    memstore_crash(m);
    log_truncate(m, m->base.index);
    free(m->entries);
    free(m->runs);
    free(m->head);
    free(m->pieces);
    free(m->file);
    free(m);
}

/* A snapshot that was installed just before the log could be reset to it: do that now. */
static void log_fit(struct memstore *m)
{
    struct kelp_pos end = m->snapshot;
    bool inside = end.index <= log_last(m);
    if (end.index <= m->base.index || (inside && log_term(m, end.index).v == end.term.v)) return;
    log_truncate(m, m->base.index);
    m->base = end;
    if (m->term.v < end.term.v) {
        m->term = end.term;
        m->vote = 0;
    }
}

void memstore_boot(struct memstore *m, struct kelp_boot *out)
{
    log_fit(m);
    *out = (struct kelp_boot){
        .term = m->term,
        .vote = m->vote,
        .base = m->base,
        .last = log_last(m),
        .commit = min_u64(log_last(m), max_u64(m->commit, m->base.index)),
        .applied = m->base.index,
        .snapshot = m->snapshot,
        .everyone = min_u64(log_last(m), m->everyone),
        .runs_from = m->base.index + 1,
    };
    free(m->runs);
    m->runs = calloc(m->count + 1, sizeof *m->runs);
    if (m->runs == NULL) {
        out->runs_from = out->last + 1; /* the core looks them up instead */
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        bool same =
            out->run_count > 0 && m->runs[out->run_count - 1].term.v == m->entries[i].term.v;
        if (!same) m->runs[out->run_count++].term = m->entries[i].term;
        m->runs[out->run_count - 1].last = m->base.index + 1 + i;
    }
    out->runs = m->runs;
}
