/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - when a snapshot of the state machine is taken, and how it gets to the disk while
 * commands go on being applied. [§5.1.1, §5.1.2]
 *
 *   NONE --due: machine's begin--> READS --last object: machine's end--> WAITS --> WRITES --done--+
 *    ^                              |  one object a run, into chunks,     |  until the own log    |
 *    |                              |  one chunk at the disk, the next    |  holds what it shows  |
 *    |                              |  being filled                       |                       |
 *    |                              +--error, fault: machine's end--------+--> DROPS --answered---+
 *    +--------------------------------------------------------------------------------------------+
 *
 * A run takes one object at most, so that nobody waits for more than that. The machine's end is
 * called as soon as the last object is read: what it keeps beside its state is let go before the
 * disk is done. A machine may be ahead of its own disk at every moment, where others commit faster:
 * so one begins all the same, and only the head, without which the objects are nothing, waits until
 * the log holds what they show. Not for ever: the log may wait for the very room that they take.
 *
 * The newest one may turn out unreadable when somebody asks for it. Then another one is owed; and
 * where nothing was applied since, so that it would be the same one under the same name, a barrier
 * goes through the log first. Each that is lost makes the next one wait longer.
 *
 * What an operator was promised is owed until one that holds it is durable: one that fails is tried
 * again, less and less often. Invariants: taken at `applied`, durable when nothing of it could
 * still be lost by this node's log, never above an uncommitted configuration; of a machine that was
 * given positions only while the configuration shows a witness; end follows every begin, once. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "driver/room.h"
#include "wire/snapchunk.h"

#define RETRY_AFTER (1000 * MILLISECOND)  /* a failed one is tried again, twice as late each time */
#define RETRY_TWICE 6u                    /* .. so often at most */
#define WAITS_MAX   (10000 * MILLISECOND) /* a head, for the log */
#define SCALE       65536u

/* ---- when ---- */

static bool shows_witness(const struct wire_config *c, kelp_id id)
{
    for (size_t slot = 0; c != NULL && slot < c->config.count; slot++) {
        const struct kelp_member *member = &c->config.members[slot];
        if (member->id == id)
            return member->role == KELP_WITNESS || member->role_old == KELP_WITNESS;
    }
    return false;
}

void snapshot_init(struct driver *d, const struct driver_boot *boot)
{
    struct taking *t = &d->taking;
    kelp_id self = d->options.core.self;
    /* What was restored is empty if it is a witness's, also of one that was removed since. A
     * configuration that is not known to be committed may be taken back: positions behind it are
     * still to be applied, and tell. */
    bool counts = boot->config != NULL && boot->config->config.index <= boot->core.commit;
    d->hollow = (counts && shows_witness(boot->config, self)) ||
                shows_witness(boot->config_before, self) ||
                shows_witness(boot->snapshot_config, self);
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

static bool has_snapshots(const struct driver *d)
{
    const struct driver_machine_ops *machine = d->ports.machine;
    if (machine->snapshot_begin == NULL || d->taking.after == KELP_NEVER) return false;
    return machine->has_snapshots == NULL || machine->has_snapshots(d->ports.machine_ctx);
}

/* A start takes a snapshot for whole unless its head shows a witness. */
static bool misleads(const struct driver *d)
{
    return d->hollow && !shows_witness(&d->configs[0], d->options.core.self);
}

/* The machine stands at `applied`: no batch is open. */
static bool due(const struct driver *d)
{
    const struct taking *t = &d->taking;
    if (d->state != DRIVER_RUNNING || !has_snapshots(d) || misleads(d)) return false;
    if (d->closing || d->fault_due || d->apply_open != 0 || d->now < t->after) return false;
    if (d->fetching.phase != FETCH_NONE || d->quarantine.apart) return false;
    if (d->applied <= t->last.index || !d->config_committed || !wanted(d)) return false;
    if (restore_staged(d)) return false; /* it would not show that, and the log must */
    return d->configs[0].config.index <= d->applied;
}

/* ---- one that is lost ---- */

bool snapshot_lost(const struct driver *d)
{
    const struct taking *t = &d->taking;
    return t->lost.index != 0 && kelp_pos_equal(t->lost, t->last);
}

void snapshot_unreadable(struct driver *d)
{
    struct taking *t = &d->taking;
    ASSERT(!snapshot_lost(d));
    t->lost = t->last;
    t->asked = true;
    if (t->lost_count > 0) /* a disk that reads nothing back */
        t->after = max_u64(t->after, d->now + (RETRY_AFTER << (t->lost_count - 1)));
    if (t->lost_count <= RETRY_TWICE) t->lost_count++;
}

/* The next one would be the lost one again: nothing was applied since. */
static bool stands_still(const struct driver *d)
{
    return snapshot_lost(d) && d->applied <= d->taking.last.index && !d->taking.renew_open;
}

static void renew_told(void *ctx, uint64_t token, const struct driver_outcome *outcome)
{
    struct driver *d = ctx;
    (void)token;
    (void)outcome; /* applied, or asked again */
    d->taking.renew_open = false;
}

void snapshot_renew(struct driver *d)
{
    struct taking *t = &d->taking;
    if (!stands_still(d) || d->now < max_u64(t->after, t->renew_at)) return;
    if (d->state != DRIVER_RUNNING || d->closing || d->fault_due || d->removed) return;
    if (!has_snapshots(d) || misleads(d) || d->route.node == 0) return;
    const struct driver_question barrier = {.bare = true,
                                            .how = {.level = KELP_READ_LOG},
                                            .deadline =
                                                add_sat(d->now, 4 * d->options.core.election_max),
                                            .forward = true};
    t->renew_at = add_sat(d->now, d->options.core.election_max); /* refused, no memory: later */
    if (t->renew_line == NULL) t->renew_line = driver_line_open(d, renew_told, d);
    if (t->renew_line == NULL) return;
    t->renew_open = driver_read(d, d->now, t->renew_line, 1, &barrier);
}

/* ---- asked for, and when to look again ---- */

enum kelp_error driver_snapshot_now(struct driver *d, struct kelp_pos *pos)
{
    struct taking *t = &d->taking;
    *pos = t->last;
    if (!has_snapshots(d)) return KELP_E_NOT_SUPPORTED;
    if (d->state != DRIVER_RUNNING || d->closing || d->fault_due) return KELP_E_BUSY;
    if (misleads(d) || d->fetching.phase != FETCH_NONE || d->quarantine.apart) return KELP_E_BUSY;
    if (restore_staged(d)) return KELP_E_BUSY; /* it would not show that, and the log must */
    if (d->applied <= t->last.index && !snapshot_lost(d)) return KELP_E_NOT_FOUND;
    *pos = t->pos;
    if (t->phase != TAKING_DROPS && t->pos.index >= d->applied) { /* it is under way */
        t->promised = true;
        return KELP_OK;
    }
    *pos = kelp_pos_of(d->applied, kelp_log_term(d->core, d->applied).v);
    t->asked = true;
    t->after = 0;
    return KELP_OK;
}

void driver_snapshots_change(struct driver *d, const struct driver_snapshots *to)
{
    size_t chunk_bytes = d->options.snapshots.chunk_bytes;
    if (to->send_rate != d->options.snapshots.send_rate) d->serve_at = 0; /* by the old one */
    d->options.snapshots = *to;
    d->options.snapshots.chunk_bytes = chunk_bytes;
}

kelp_ns snapshot_next(const struct driver *d)
{
    const struct driver_snapshots *when = &d->options.snapshots;
    const struct taking *t = &d->taking;
    if (t->phase == TAKING_WAITS) return t->waits_since + WAITS_MAX;
    if (t->phase != TAKING_NONE || d->core == NULL) return KELP_NEVER;
    kelp_ns next = t->after > d->now ? t->after : KELP_NEVER;
    if (stands_still(d) && t->renew_at > d->now) next = min_u64(next, t->renew_at);
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

/* What was promised is owed; an operator who asks again does not wait for the time named. */
static void failed(struct driver *d, kelp_index index, const char *why)
{
    struct taking *t = &d->taking;
    t->failed++;
    t->asked = t->asked || t->promised;
    t->promised = false;
    kelp_ns wait = RETRY_AFTER << t->failed_in_a_row;
    if (t->failed_in_a_row < RETRY_TWICE) t->failed_in_a_row++;
    t->after = d->now + wait;
    driver_note(d, KELP_WARN, "the snapshot at %" PRIu64 " was given up, for %" PRIu64 " s: %s",
                index, wait / (1000 * MILLISECOND), why);
}

static void drop(struct driver *d)
{
    struct taking *t = &d->taking;
    machine_end(d);
    if (!t->pieces) {
        over(d);
        return;
    }
    t->phase = TAKING_DROPS;
    t->answers_open++;
    d->ports.store->drop(d->ports.store_ctx, d->options.group);
}

static void give_up(struct driver *d, const char *why)
{
    failed(d, d->taking.pos.index, why);
    drop(d);
}

bool snapshot_gives_way(struct driver *d)
{
    struct taking *t = &d->taking;
    bool open = t->phase == TAKING_READS || t->phase == TAKING_WAITS;
    if (open) {
        t->asked = t->asked || t->promised;
        t->promised = false;
        drop(d);
    }
    return t->phase == TAKING_NONE;
}

/* ---- taking ---- */

static void begin_failed(struct driver *d, enum kelp_error error)
{
    struct taking *t = &d->taking;
    if (error != KELP_E_NOT_SUPPORTED) {
        failed(d, d->applied, kelp_strerror(error));
        return;
    }
    t->asked = false; /* for good: there will be none */
    t->after = KELP_NEVER;
    t->failed++;
    driver_note(d, KELP_WARN, "no snapshot is taken: the state machine says that it has none");
}

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
        begin_failed(d, error);
        return;
    }
    ASSERT(pos.index == d->applied);
    t->phase = TAKING_READS;
    t->machine_open = true;
    t->promised = t->asked;
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
        give_up(d, kelp_strerror(error));
        return;
    }
    t->filled += len;
    t->in_chunk += len > 0;
    bool full = t->filled + WIRE_OBJECT_HEAD + WIRE_OBJECT_BYTES_MAX > WIRE_SNAPCHUNK_BYTES_MAX ||
                (most != 0 && t->filled >= most);
    t->sealed = t->all_read ? t->pieces || t->in_chunk > 0 : full;
}

static void head_make(struct driver *d)
{
    struct taking *t = &d->taking;
    size_t len =
        d->ports.machine->snapshot_head(d->ports.machine_ctx, t->objects, t->offset, t->head);
    ASSERT(len == t->head_len);
    machine_end(d);
    t->phase = TAKING_WAITS;
    t->waits_since = d->now;
}

static void head_give(struct driver *d)
{
    struct taking *t = &d->taking;
    if (d->state != DRIVER_RUNNING || d->fault_due) {
        give_up(d, "this node is faulted");
    } else if (driver_look(d)->durable >= t->pos.index) {
        t->phase = TAKING_WRITES;
        d->ports.store->snapshot(d->ports.store_ctx, d->options.group, t->pos,
                                 bytes_of(t->head, t->head_len));
    } else if (d->now - t->waits_since >= WAITS_MAX) {
        give_up(d, "the log waits for room, or for its disk");
    }
}

static void go_on(struct driver *d)
{
    struct taking *t = &d->taking;
    bool broken = d->state != DRIVER_RUNNING || d->fault_due;
    if (broken) {
        give_up(d, "this node is faulted");
        return;
    }
    if (!t->sealed && !t->all_read) object_read(d);
    if (t->phase != TAKING_READS) return;
    if (t->sealed && t->answers_open == 0) piece_give(d);
    if (t->phase == TAKING_READS && t->all_read && !t->sealed && t->answers_open == 0) head_make(d);
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
        give_up(d, kelp_strerror(t->done_error));
        return;
    }
    t->taken++;
    t->failed_in_a_row = 0;
    t->promised = false;
    t->last = t->pos;
    if (!read_hollow(d)) found_snapshot(d->found, t->last);
    t->last_at = d->now;
    t->last_took = d->now - t->began;
    t->last_bytes = t->head_len + t->offset;
    t->grown_last = t->grown_begin;
    over(d);
    struct kelp_input input = {.type = KELP_IN_SNAPSHOT, .pos = t->last};
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
    if (t->phase == TAKING_READS && error != KELP_OK) give_up(d, kelp_strerror(error));
    if (t->phase == TAKING_DROPS && t->answers_open == 0) over(d);
}

/* ---- the driver's part ---- */

void snapshot_run(struct driver *d)
{
    struct taking *t = &d->taking;
    if (fetch_owns_disk(d)) return;
    if (t->answered > 0) pieces_settle(d);
    if (t->done) head_settle(d);
    if (t->phase == TAKING_NONE && due(d)) begin(d);
    if (t->phase == TAKING_READS && !d->closing) go_on(d);
    if (t->phase == TAKING_WAITS && !d->closing) head_give(d);
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
