/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - when a snapshot of the state machine is taken, and how it gets to the disk while
 * commands go on being applied. [§5.1.1, §5.1.2]
 *
 *   NONE --due: machine's begin--> READS --last object: head, machine's end--> WRITES --durable-+
 *    ^                               |  one object a run, into chunks,                          |
 *    |                               |  one chunk at the disk, the next being filled            |
 *    |                               +--error, fault: machine's end--> DROPS --answered---------+
 *    +------------------------------------------------------------------------------------------+
 *
 * A run takes one object at most, so that nobody waits for more than that. The machine's end is
 * called as soon as the last object is read: what it keeps beside its state is let go before the
 * disk is done. Invariants: taken at `applied`, nothing of which this node's log could still lose,
 * never above an uncommitted configuration; end follows every begin, once. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "driver/room.h"
#include "wire/snapchunk.h"

#define RETRY_AFTER (1000 * MILLISECOND) /* a failed one is tried again */
#define SCALE       65536u

/* ---- when ---- */

void snapshot_init(struct driver *d, const struct driver_boot *boot)
{
    struct taking *t = &d->taking;
    t->last = boot->snapshot;
    t->last_bytes = boot->snapshot_bytes;
    t->boot_last = boot->core.last;
    t->last_at = d->now;
    t->first_scale = SCALE + (uint32_t)(hash_mix(d->options.core.seed, SCALE) % (SCALE / 2));
}

void snapshot_counts(struct driver *d, uint64_t log_bytes)
{
    d->taking.grown += log_bytes;
}

/* The first of this process comes later. */
static uint64_t stretched(const struct taking *t, uint64_t value)
{
    if (t->taken > 0) return value;
    return value / SCALE * t->first_scale + value % SCALE * t->first_scale / SCALE;
}

static bool log_is_long(const struct driver *d)
{
    const struct driver_snapshots *when = &d->options.snapshots;
    const struct taking *t = &d->taking;
    if (when->log_bytes == 0) return false;
    uint64_t limit = max_u64(when->log_bytes, when->ratio * t->last_bytes);
    return t->grown - t->grown_last >= stretched(t, limit);
}

static bool wanted(const struct driver *d)
{
    const struct driver_snapshots *when = &d->options.snapshots;
    const struct driver_machine_ops *machine = d->ports.machine;
    const struct taking *t = &d->taking;
    if (t->asked || log_is_long(d)) return true;
    if (when->entries != 0 && d->applied - t->last.index >= stretched(t, when->entries))
        return true;
    if (when->interval != 0 && d->now - t->last_at >= stretched(t, when->interval)) return true;
    return machine->wants_snapshot != NULL && machine->wants_snapshot(d->ports.machine_ctx);
}

/* The machine stands at `applied`: no batch is open. Not above what is durable here: a snapshot
 * must never hold what this node's log could still lose. */
static bool due(struct driver *d)
{
    const struct taking *t = &d->taking;
    if (d->ports.machine->snapshot_begin == NULL || d->state != DRIVER_RUNNING) return false;
    if (d->closing || d->fault_due || d->apply_open != 0 || d->now < t->after) return false;
    if (d->applied <= t->last.index || !d->config_committed || !wanted(d)) return false;
    return d->configs[0].config.index <= d->applied && driver_look(d)->durable >= d->applied;
}

enum kelp_error driver_snapshot_now(struct driver *d, struct kelp_pos *pos)
{
    struct taking *t = &d->taking;
    *pos = t->last;
    if (d->state != DRIVER_RUNNING || d->closing) return KELP_E_BUSY;
    if (d->ports.machine->snapshot_begin == NULL || t->after == KELP_NEVER)
        return KELP_E_NOT_SUPPORTED;
    if (d->applied <= t->last.index) return KELP_E_NOT_FOUND;
    *pos = t->pos;
    if (t->pos.index >= d->applied) return KELP_OK; /* it is under way */
    *pos = kelp_pos_of(d->applied, kelp_log_term(d->core, d->applied).v);
    t->asked = true;
    t->after = 0;
    return KELP_OK;
}

kelp_ns snapshot_next(const struct driver *d)
{
    const struct driver_snapshots *when = &d->options.snapshots;
    const struct taking *t = &d->taking;
    if (t->phase != TAKING_NONE || d->core == NULL) return KELP_NEVER;
    kelp_ns next = t->after > d->now ? t->after : KELP_NEVER;
    if (when->interval == 0 || d->applied <= t->last.index) return next;
    kelp_ns at = t->last_at + stretched(t, when->interval);
    return at > d->now ? min_u64(next, at) : next;
}

/* ---- ends ---- */

static void machine_end(struct driver *d)
{
    struct taking *t = &d->taking;
    if (!t->machine_open) return;
    t->machine_open = false;
    d->ports.machine->snapshot_end(d->ports.machine_ctx);
}

static void buffers_free(struct taking *t)
{
    for (unsigned i = 0; i < 2; i++) {
        free(t->rooms[i]);
        t->rooms[i] = NULL;
    }
    free(t->head);
    t->head = NULL;
}

static void over(struct driver *d)
{
    struct taking *t = &d->taking;
    ASSERT(!t->machine_open && t->answers_open == 0);
    buffers_free(t);
    t->phase = TAKING_NONE;
    t->pos = kelp_pos_of(0, 0);
}

static void give_up(struct driver *d, enum kelp_error error)
{
    struct taking *t = &d->taking;
    machine_end(d);
    t->failed++;
    t->after = d->now + RETRY_AFTER;
    driver_note(d, KELP_WARN, "the snapshot at %" PRIu64 " was given up: %s", t->pos.index,
                kelp_strerror(error));
    if (!t->pieces) {
        over(d);
        return;
    }
    t->phase = TAKING_DROPS;
    t->answers_open++;
    d->ports.store->drop(d->ports.store_ctx, d->options.group);
}

/* ---- taking ---- */

static void begin(struct driver *d)
{
    struct taking *t = &d->taking;
    struct kelp_pos pos = {.index = 0};
    size_t head_len = 0;
    t->rooms[0] = malloc(WIRE_SNAPCHUNK_BYTES_MAX);
    t->rooms[1] = malloc(WIRE_SNAPCHUNK_BYTES_MAX);
    t->head = malloc(WIRE_SNAPHEAD_BYTES_MAX);
    enum kelp_error error = KELP_E_NO_MEMORY;
    if (t->rooms[0] != NULL && t->rooms[1] != NULL && t->head != NULL)
        error =
            d->ports.machine->snapshot_begin(d->ports.machine_ctx, &d->configs[0], &pos, &head_len);
    if (error != KELP_OK) {
        buffers_free(t);
        t->asked = false;
        t->after = error == KELP_E_NOT_SUPPORTED ? KELP_NEVER : d->now + RETRY_AFTER;
        return;
    }
    ASSERT(pos.index == d->applied);
    t->phase = TAKING_READS;
    t->machine_open = true;
    t->asked = t->pieces = t->sealed = t->all_read = t->last_given = false;
    t->pos = pos;
    t->head_len = head_len;
    t->offset = t->objects = 0;
    t->filled = WIRE_SNAPCHUNK_HEAD;
    t->in_chunk = 0;
    t->began = d->now;
    t->grown_begin = t->grown;
}

static void piece_give(struct driver *d)
{
    struct taking *t = &d->taking;
    size_t len = t->in_chunk > 0 ? t->filled : 0;
    uint8_t *chunk = t->rooms[t->at];
    if (len > 0) {
        struct wire_snapplace place = {.pos = t->pos, .offset = t->offset};
        wire_snapchunk_seal(chunk, len, t->in_chunk, place);
    }
    t->pieces = true;
    t->sealed = false;
    t->last_given = t->all_read;
    t->answers_open++;
    uint64_t offset = t->head_len + t->offset;
    t->offset += len;
    t->objects += t->in_chunk;
    t->at = 1 - t->at;
    t->filled = WIRE_SNAPCHUNK_HEAD;
    t->in_chunk = 0;
    d->ports.store->piece(d->ports.store_ctx, d->options.group, offset, bytes_of(chunk, len),
                          t->last_given);
}

static void object_read(struct driver *d)
{
    struct taking *t = &d->taking;
    size_t len = 0, most = d->options.snapshots.chunk_bytes;
    enum kelp_error error = d->ports.machine->snapshot_read(
        d->ports.machine_ctx, t->rooms[t->at] + t->filled, &len, &t->all_read);
    if (error != KELP_OK) {
        give_up(d, error);
        return;
    }
    t->filled += len;
    t->in_chunk += len > 0;
    bool full = t->filled + WIRE_OBJECT_HEAD + WIRE_OBJECT_BYTES_MAX > WIRE_SNAPCHUNK_BYTES_MAX ||
                (most != 0 && t->filled >= most);
    t->sealed = t->all_read ? t->pieces || t->in_chunk > 0 : full;
}

static void head_give(struct driver *d)
{
    struct taking *t = &d->taking;
    size_t len =
        d->ports.machine->snapshot_head(d->ports.machine_ctx, t->objects, t->offset, t->head);
    ASSERT(len == t->head_len);
    machine_end(d);
    t->phase = TAKING_WRITES;
    d->ports.store->snapshot(d->ports.store_ctx, d->options.group, t->pos, bytes_of(t->head, len));
}

static void go_on(struct driver *d)
{
    struct taking *t = &d->taking;
    bool broken = d->state != DRIVER_RUNNING || d->fault_due;
    if (broken) {
        give_up(d, KELP_E_IO);
        return;
    }
    if (!t->sealed && !t->all_read) object_read(d);
    if (t->phase != TAKING_READS) return;
    if (t->sealed && t->answers_open == 0) piece_give(d);
    if (t->phase == TAKING_READS && t->all_read && !t->sealed && t->answers_open == 0) head_give(d);
}

/* ---- what the store says ---- */

void driver_snapshot_done(struct driver *d, kelp_index index, enum kelp_error error)
{
    d->taking.done = true;
    d->taking.done_index = index;
    d->taking.done_error = error;
}

void driver_piece_done(struct driver *d, enum kelp_error error)
{
    struct taking *t = &d->taking;
    t->answered++;
    if (t->piece_error == KELP_OK) t->piece_error = error;
}

static void head_settle(struct driver *d)
{
    struct taking *t = &d->taking;
    t->done = false;
    if (t->phase != TAKING_WRITES) return;
    if (t->done_error != KELP_OK) {
        give_up(d, t->done_error);
        return;
    }
    t->taken++;
    t->last = t->pos;
    t->last_at = d->now;
    t->last_took = d->now - t->began;
    t->last_bytes = t->head_len + t->offset;
    t->grown_last = t->grown_begin;
    over(d);
    struct kelp_input input = {.type = KELP_IN_SNAPSHOT, .index = t->done_index};
    (void)driver_step(d, &input);
}

static void pieces_settle(struct driver *d)
{
    struct taking *t = &d->taking;
    enum kelp_error error = t->piece_error;
    ASSERT(t->answered <= t->answers_open);
    t->answers_open -= t->answered;
    t->answered = 0;
    t->piece_error = KELP_OK;
    if (t->phase == TAKING_READS && error != KELP_OK) give_up(d, error);
    if (t->phase == TAKING_DROPS && t->answers_open == 0) over(d);
}

/* ---- the driver's part ---- */

void snapshot_run(struct driver *d)
{
    struct taking *t = &d->taking;
    if (t->answered > 0) pieces_settle(d);
    if (t->done) head_settle(d);
    if (t->phase == TAKING_NONE && due(d)) begin(d);
    if (t->phase == TAKING_READS && !d->closing) go_on(d);
}

bool snapshot_at_once(const struct driver *d)
{
    const struct taking *t = &d->taking;
    if (t->done || t->answered > 0) return true;
    if (t->phase != TAKING_READS) return false;
    return t->answers_open == 0 || (!t->sealed && !t->all_read);
}

void snapshot_free(struct driver *d)
{
    machine_end(d);
    buffers_free(&d->taking);
}

void snapshot_status(const struct driver *d, struct driver_snapshot_status *out)
{
    const struct taking *t = &d->taking;
    *out = (struct driver_snapshot_status){.last = t->last,
                                           .open = t->pos,
                                           .last_bytes = t->last_bytes,
                                           .open_bytes = t->phase != TAKING_NONE ? t->offset : 0,
                                           .taken = t->taken,
                                           .failed = t->failed,
                                           .last_took = t->last_took};
}
