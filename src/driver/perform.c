/* SPDX-License-Identifier: Apache-2.0 */
/* perform.c - one take of the core, performed in a fixed order, and the cluster clock that stamps
 * entries.
 *
 *   events, made entries into the cache, messages, the save, lookups, answers, what may be applied
 *
 * Saves: the core counts its own from 1; the one that founding made before the core was there
 * shifts them. The cluster clock runs only on a leader: from the last stamp in its log, at the
 * speed of its own clock. [§6.3] Nothing here steps the core, since a take is valid only until the
 * next step. */
#include <stdlib.h>

#include "driver/room.h"
#include "wire/wire.h"

#define LOG_BLOCK 4096u /* a write of the log begins on a block of its own */

static void clock_grown(struct driver *d, uint64_t time_ns)
{
    if (time_ns <= d->clock_last) return;
    d->clock_last = time_ns;
    d->clock_heard = d->now;
}

/* Of an entry that is here, or of what a snapshot took its place with. */
void clock_at_least(struct driver *d, uint64_t time_ns)
{
    d->clock_logged = max_u64(d->clock_logged, time_ns);
    clock_grown(d, time_ns);
}

static uint64_t running(const struct driver *d, kelp_ns now)
{
    return min_u64(add_sat(d->clock_base, sub_sat(now, d->clock_from)), WIRE_TIME_MAX);
}

uint64_t clock_running(struct driver *d)
{
    clock_grown(d, running(d, d->now));
    return d->clock_last;
}

uint64_t clock_stamp(struct driver *d)
{
    d->clock_logged = clock_running(d);
    return d->clock_logged;
}

uint64_t driver_cluster_clock(const struct driver *d, kelp_ns now)
{
    struct kelp_view view;
    if (d->core == NULL || d->led_term == 0) return 0;
    kelp_glance(d->core, &view);
    bool leads = view.role == KELP_LEADER && view.term.v == d->led_term;
    return leads ? max_u64(d->clock_last, running(d, now)) : 0;
}

/* An entry that came from elsewhere and was verified: the clock is at least there. */
void clock_adopt(struct driver *d, struct kelp_bytes encoded)
{
    struct wire_entry e;
    size_t used;
    if (wire_entry_open(encoded, &e, &used, NULL) == KELP_OK) clock_at_least(d, e.time_ns);
}

/* From what stands in the log, and not from what was only looked at meanwhile: a leader that stood
 * still and lost its office may have seen its clock far ahead. */
static void clock_begins(struct driver *d)
{
    d->clock_base = d->clock_last = d->clock_logged;
    d->clock_from = d->clock_heard = d->now;
}

static void perform_made(struct driver *d, const struct kelp_made *made)
{
    if (kelp_log_term(d->core, made->pos.index).v != made->pos.term.v)
        return; /* overwritten since */
    if (made->type == KELP_ENTRY_CONFIG) {
        config_made(d, made);
        return;
    }
    clock_begins(d);
    struct wire_entry e = {.pos = made->pos, .type = made->type, .time_ns = clock_stamp(d)};
    size_t size = wire_entry_size(&e);
    uint8_t *room = cache_reserve(d->cache, size);
    ASSERT(room != NULL); /* ensured before the take */
    wire_entry_encode(&e, room);
    cache_commit(d->cache, made->pos.index, size);
    d->led_term = made->pos.term.v;
    d->led_first = made->pos.index;
    d->route_stale = true;
}

/* The parts of entries that are all in the cache; 0: out of memory. */
static size_t save_parts(struct driver *d, kelp_index first, kelp_index last)
{
    ASSERT(cache_first(d->cache) != 0 && cache_first(d->cache) <= first &&
           last <= cache_last(d->cache));
    for (;;) {
        size_t count =
            d->part_room > 0 ? cache_parts(d->cache, first, last, d->parts, d->part_room) : 0;
        if (count > 0) return count;
        size_t room = d->part_room > 0 ? d->part_room * 2 : 64;
        struct kelp_bytes *parts = realloc(d->parts, room * sizeof *parts);
        if (parts == NULL) return 0;
        d->parts = parts;
        d->part_room = room;
    }
}

static void perform_save(struct driver *d, const struct kelp_save *from_core)
{
    struct kelp_save save = *from_core;
    save.number += d->save_offset;
    ASSERT(save.number == d->save_given + 1);
    size_t count = 0;
    if ((save.flags & (KELP_SAVE_TRUNCATE | KELP_SAVE_RESET)) != 0) d->save_last = save.end.index;
    if ((save.flags & KELP_SAVE_APPEND) != 0) {
        count = save_parts(d, save.first, save.last);
        if (count == 0) {
            struct kelp_fault fault = {.error = KELP_E_NO_MEMORY,
                                       .what = "no memory to save entries"};
            driver_fail(d, &fault); /* a save cannot be left out */
            return;
        }
        cache_pin(d->cache, save.number, save.first, save.last);
        uint64_t bytes = 0;
        for (size_t i = 0; i < count; i++)
            bytes += d->parts[i].len;
        snapshot_counts(d, bytes / LOG_BLOCK * LOG_BLOCK + LOG_BLOCK);
        d->save_last = save.last;
    }
    d->save_given = save.number;
    d->idle_at = KELP_NEVER;
    d->ports.store->save(d->ports.store_ctx, d->options.group, &save, d->parts, count);
}

static void perform(struct driver *d, const struct kelp_work *work)
{
    for (uint32_t i = 0; i < work->event_count && d->options.event != NULL; i++)
        d->options.event(d->options.watch_ctx, &work->events[i]);
    for (uint32_t i = 0; i < work->made_count; i++)
        perform_made(d, &work->made[i]);
    for (uint32_t i = 0; i < work->message_count && !d->closing; i++)
        peer_send(d, &work->messages[i]);
    if (work->save.number != 0 && d->state == DRIVER_RUNNING && !d->fault_due)
        perform_save(d, &work->save);
    for (uint32_t i = 0; i < work->lookup_count && !d->closing; i++)
        lookup_start(d, &work->lookups[i]);
    for (uint32_t i = 0; i < work->answer_count; i++)
        request_answered(d, &work->answers[i]);
    if (work->apply_last != 0) {
        ASSERT(work->apply_first == d->apply_to + 1);
        d->apply_to = work->apply_last;
    }
    if (work->fetch.index != 0) fetch_offered(d, work->fetch_from, work->fetch);
    if (d->config_count > 1 || !d->config_committed) config_sync(d);
}

/* Is another take as empty as the last one said, and due at the same time? */
__attribute__((unused)) static bool nothing_follows(struct driver *d)
{
    struct kelp_work work;
    bool any = kelp_take(d->core, d->now, &work);
    return !any && work.deadline == d->core_deadline;
}

bool perform_takes(struct driver *d)
{
    if (d->core == NULL || d->tail_due || d->tail_open) return false;
    if (!d->untaken && d->now < d->core_deadline) return false; /* nothing changed since the last */
    bool any = false;
    UNSET struct kelp_work work; /* kelp_take clears it */
    for (;;) {
        if (!cache_ensure(d->cache, 8, MADE_BYTES)) { /* room for entries the core makes */
            d->core_deadline = d->now + RETRY_NS;
            return any;
        }
        bool more = kelp_take(d->core, d->now, &work);
        d->unanswered = 0;
        d->core_deadline = work.deadline;
        d->view_stale = true;
        if (work.faulted) driver_fail(d, &work.fault);
        if (!more) break;
        d->route_stale = true;
        perform(d, &work);
        any = true;
        if (work.more) continue;
        CHECK_SLOW(nothing_follows(d));
        break;
    }
    d->untaken = false;
    return any;
}
