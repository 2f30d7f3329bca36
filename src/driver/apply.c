/* SPDX-License-Identifier: Apache-2.0 */
/* apply.c - committed entries to the state machine, its replies back.
 *
 *   applied .. apply_open .. apply_next .. apply_to
 *   told the core | with the machine | to be given | committed
 *
 * One batch is open at a time and one is given in a run, so that a long replay leaves the sockets
 * their turns. Entries come from the cache, older ones from the store in slices. */
#include <stdlib.h>

#include "driver/room.h"

/* Positions without commands are given to a witness only, and it need not know yet that it is one:
 * what its machine would answer is not what was committed. */
static void look_for_holes(struct driver *d, size_t count)
{
    struct kelp_pos pos;
    uint8_t type = 0;
    size_t bytes;
    for (size_t i = 0; i < count && !d->hollow; i++) {
        enum kelp_error error = wire_entry_peek(d->batch[i], &pos, &type, &bytes);
        ASSERT(error == KELP_OK); /* verified before it came here */
        d->hollow = type == KELP_ENTRY_POSITION;
    }
}

static void apply_give(struct driver *d, size_t count)
{
    kelp_index first = d->apply_next;
    if (!d->hollow) look_for_holes(d, count);
    if (first <= d->taking.boot_last) { /* it was in the log when this process began */
        for (size_t i = 0; i < count; i++)
            snapshot_counts(d, d->batch[i].len);
    }
    d->apply_open = first + count - 1;
    d->apply_next += count;
    d->ports.machine->apply(d->ports.machine_ctx, first, d->batch, count);
    if (d->applied_reported < d->apply_open) applying_timers(d); /* it takes its time */
}

/* By a clock entry alone the machine may remove a thousand keys, and by a step of a restore put as
 * many aside: it is the last of its batch, so that others have their turn between two of them. */
static bool ends_batch(unsigned type)
{
    return type == KELP_ENTRY_CLOCK || type == KELP_ENTRY_RESTORE;
}

static size_t batch_from_cache(struct driver *d)
{
    size_t count = 0;
    uint64_t bytes = 0;
    bool ended = false;
    while (!ended && count < APPLY_ENTRIES_MAX && d->apply_next + count <= d->apply_to) {
        struct kelp_bytes entry = cache_entry(d->cache, d->apply_next + count);
        if (entry.len == 0 || (count > 0 && bytes + entry.len > APPLY_BYTES_MAX)) break;
        bytes += entry.len;
        ended = ends_batch(wire_entry_type(entry));
        d->batch[count++] = entry;
    }
    return count;
}

bool apply_held(const struct driver *d)
{
    return fetch_holds_apply(d) || rejoin_holds_apply(d);
}

bool apply_run(struct driver *d)
{
    if (d->state != DRIVER_RUNNING || d->fault_due || d->closing) return false;
    if (apply_held(d)) return false; /* a snapshot takes the place of what is here */
    /* it must see one state from beginning to end */
    if (d->walk != NULL || d->walk_ended != 0) return false;
    if (d->untaken) return false; /* outcomes leave the core before what they speak of is applied */
    if (d->apply_open != 0 || d->apply_reading || d->apply_next > d->apply_to) return false;
    size_t count = batch_from_cache(d);
    if (count > 0) {
        apply_give(d, count);
        return true;
    }
    struct log_read *read = read_new(d, READ_APPLY);
    if (read == NULL) {
        d->retry_at = d->now + RETRY_NS;
        return false;
    }
    d->apply_reading = true;
    applying_timers(d); /* the disk may take longer than clients wait */
    uint64_t entries = min_u64(d->apply_to - d->apply_next + 1, APPLY_ENTRIES_MAX);
    read_ask(d, read, d->apply_next, entries, APPLY_BYTES_MAX);
    return true;
}

static size_t batch_from_read(struct driver *d, const struct log_read *read)
{
    size_t count = 0, at = 0;
    bool ended = false;
    while (!ended && at < read->len && count < APPLY_ENTRIES_MAX &&
           d->apply_next + count <= d->apply_to) {
        struct kelp_pos pos;
        uint8_t type;
        size_t bytes;
        struct kelp_bytes left = bytes_of(read->data + at, read->len - at);
        if (wire_entry_peek(left, &pos, &type, &bytes) != KELP_OK ||
            pos.index != d->apply_next + count)
            break;
        d->batch[count++] = bytes_of(left.data, bytes);
        at += bytes;
        ended = ends_batch(type);
    }
    return count;
}

void apply_read_ended(struct driver *d, struct log_read *read)
{
    d->apply_reading = false;
    if (read->error == KELP_E_NO_MEMORY || d->state != DRIVER_RUNNING) return; /* asked again */
    size_t count = read->error == KELP_OK ? batch_from_read(d, read) : 0;
    if (count > 0) {
        apply_give(d, count);
        return;
    }
    struct kelp_fault fault = {.error = read->error != KELP_OK ? read->error : KELP_E_CORRUPT,
                               .index = d->apply_next,
                               .what = "committed entries could not be read from the log"};
    driver_fail(d, &fault);
}

void apply_settle(struct driver *d)
{
    if (d->applied_reported <= d->applied) return;
    ASSERT(d->applied_reported < d->apply_next);
    quarantine_applied(d, d->applied_reported);
    if (d->quarantine.judge_due)
        quarantine_judge(d); /* before what came of these entries is told */
    for (kelp_index i = d->applied + 1; i <= d->applied_reported && d->requests.index_count > 0;
         i++) {
        struct request *r = index_find(d, i);
        if (r != NULL && d->quarantine.apart && !r->change)
            request_close(d, r, KELP_UNKNOWN, KELP_R_QUARANTINED);
        else if (r != NULL) /* refused: committed, but of no effect */
            request_close(d, r, r->reason == KELP_R_NONE ? KELP_DONE : KELP_REFUSED, r->reason);
    }
    d->applied = d->applied_reported;
    if (d->applied >= d->apply_open) d->apply_open = 0;
    struct kelp_input input = {.type = KELP_IN_APPLIED, .index = d->applied};
    (void)driver_step(d, &input);
    replay_applied(d);
    level_note(d);
}
