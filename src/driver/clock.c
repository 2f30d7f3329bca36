/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - what passes by itself: entries that carry the cluster clock, and reads that wait for
 * one.
 *
 * The machine decides by the stamp of the last applied entry, so what is due must be followed by an
 * entry. The leader appends one when its running clock has passed the earliest deadline: one for
 * all that is due, none while one is open, ten a second at most; and one every ten seconds while
 * there is a deadline and nothing else is appended, so that a new leader, which goes on from the
 * last stamp in its log, is not far behind. Without a deadline nothing is appended.
 *
 * A read whose answer would be another one by the running clock waits for that entry: on the leader
 * among `waits`; a follower is told the leader's clock with the read index, and sends such a
 * question on as it is. It has been proved to be the newest state, so when the entry comes to
 * nothing (no disk room at all, leadership lost) it is answered as things stand. Refused for any
 * other reason, it is proposed again, and the read waits on, until its deadline. */
#include <string.h>

#include "base/endian.h"
#include "driver/room.h"

#define TICK_TOKEN  (UINT64_MAX - 1)      /* no request has this handle */
#define TICK_PAUSE  (100u * 1000000u)     /* between two entries, ns */
#define CARRY_AFTER (10000u * 1000000ull) /* ns without any entry */

void clock_init(struct driver *d)
{
    d->ticking.due = KELP_FSM_NO_DEADLINE;
    d->ticking.due_at = UINT64_MAX;
    TAILQ_INIT(&d->ticking.waits);
}

static bool leads(struct driver *d)
{
    if (d->core == NULL || d->state != DRIVER_RUNNING || d->fault_due || d->closing) return false;
    const struct kelp_view *view = driver_look(d);
    return view->role == KELP_LEADER && view->term.v == d->led_term;
}

static bool fresh(const struct driver *d)
{
    return d->ticking.due_at == d->applied;
}

/* While an apply is open the machine is not asked; it is when that is done. */
static uint64_t earliest(struct driver *d)
{
    struct ticking *t = &d->ticking;
    if (fresh(d) || d->apply_open != 0 || read_hollow(d) || fetch_holds_apply(d)) return t->due;
    if (d->ports.machine->deadline != NULL)
        t->due = d->ports.machine->deadline(d->ports.machine_ctx);
    t->due_at = d->applied;
    return t->due;
}

static void waits_release(struct driver *d, bool settled)
{
    struct request *r;
    while ((r = TAILQ_FIRST(&d->ticking.waits)) != NULL) {
        clock_let_go(d, r);
        if (!settled) r->clock = 0;
        timer_remove(d, r);
        read_told(d, r); /* it sees more than those behind it did */
        r->state = REQUEST_QUERYING;
        query_add(d, r);
    }
}

/* frees: something is due, so that the entry makes room. */
static bool propose(struct driver *d, bool frees)
{
    struct ticking *t = &d->ticking;
    struct wire_entry e = {.type = KELP_ENTRY_CLOCK};
    size_t size = wire_entry_size(&e);
    uint8_t *room = cache_reserve(d->cache, size);
    t->after = d->now + TICK_PAUSE;
    if (room == NULL) return false;
    d->reserved = NULL;
    struct kelp_input input = {.type = KELP_IN_PROPOSE};
    input.propose.token = TICK_TOKEN;
    input.propose.deadline = KELP_NEVER;
    input.propose.bytes = (uint32_t)size;
    input.propose.flags = frees ? KELP_PROPOSE_FREES : 0;
    t->open = true; /* until it is answered */
    t->index = 0;
    struct kelp_taken taken = driver_step(d, &input);
    if (taken.first != 0) {
        e.pos = (struct kelp_pos){.term = taken.term, .index = taken.first};
        e.time_ns = clock_stamp(d);
        wire_entry_encode(&e, room);
        cache_commit(d->cache, taken.first, size);
        t->index = taken.first;
        t->told++;
    }
    cache_abandon(d->cache);
    return true;
}

bool clock_answered(struct driver *d, const struct kelp_answer *answer)
{
    struct ticking *t = &d->ticking;
    if (answer->token != TICK_TOKEN) return false;
    if (answer->outcome == KELP_DONE && t->open && answer->pos.index > d->applied) return true;
    t->open = false; /* refused, lost, or a snapshot brought it */
    bool again = answer->outcome == KELP_REFUSED && answer->reason != KELP_R_NO_SPACE;
    if (!again) waits_release(d, false);
    return true;
}

bool clock_run(struct driver *d)
{
    struct ticking *t = &d->ticking;
    bool any = !TAILQ_EMPTY(&t->waits);
    uint64_t due = earliest(d);
    if (t->open && t->index != 0 && t->index <= d->applied) {
        t->open = false;
        waits_release(d, true);
        return any;
    }
    if (!leads(d)) {
        waits_release(d, false);
        return any;
    }
    if (due == KELP_FSM_NO_DEADLINE && fresh(d)) {
        waits_release(d, true);
        return any;
    }
    const struct kelp_view *view = driver_look(d);
    if (view->last != t->last) {
        t->last = view->last;
        t->quiet = d->now;
    }
    bool frees = fresh(d) && due <= clock_running(d); /* else it may be gone already */
    bool wanted = !TAILQ_EMPTY(&t->waits) || frees || sub_sat(d->now, t->quiet) >= CARRY_AFTER;
    if (t->open || !wanted || d->now < t->after || writes_wait(d, view) || !core_has_room(d))
        return false;
    return propose(d, frees);
}

kelp_ns clock_next(struct driver *d)
{
    const struct ticking *t = &d->ticking;
    if (t->open || !leads(d)) return KELP_NEVER;
    if (writes_wait(d, driver_look(d)) || !core_has_room(d))
        return KELP_NEVER; /* an event ends it */
    uint64_t running = clock_running(d);
    kelp_ns at = t->due > running ? add_sat(d->now, t->due - running) : d->now;
    if (!fresh(d)) at = KELP_NEVER; /* what is applied meanwhile says it anew */
    if (!TAILQ_EMPTY(&t->waits)) at = d->now;
    at = min_u64(at, t->quiet + CARRY_AFTER);
    return max_u64(at, max_u64(t->after, d->now + 1));
}

/* ---- reads ---- */

/* A read may be answered from a later state than it is to see, most of all by a follower that a
 * snapshot takes further: what is in the log behind it counts too, since it may bring a value whose
 * deadline has passed by now. And a follower may answer from an earlier state than this one: what
 * ended here behind `index` is still there. */
void clock_mark(struct driver *d, struct request *r, kelp_index index)
{
    if (r->how.level == KELP_READ_LOG || d->ports.machine->lapses == NULL || !leads(d)) return;
    bool theirs = r->line == NULL && r->bare;
    bool all = driver_look(d)->last <= (theirs ? index : d->applied);
    if (all && (ticking_idle(&d->ticking, d->applied) ||
                (earliest(d) == KELP_FSM_NO_DEADLINE && fresh(d))))
        return;
    r->clock = clock_running(d);
    if (!theirs) return;
    uint8_t told[8];
    put_u64(told, r->clock);
    request_result(d, r, bytes_of(told, sizeof told));
}

bool clock_holds(struct driver *d, struct request *r)
{
    if (r->clock == 0 || d->ports.machine->lapses == NULL || r->plan) return false;
    struct kelp_bytes question = bytes_of(r->bytes + r->user_len, r->len);
    if (!d->ports.machine->lapses(d->ports.machine_ctx, question, r->clock)) return false;
    if (!leads(d) && r->line != NULL) {
        r->ask_whole = true;
        request_requeue(d, r);
        return true;
    }
    if (!leads(d)) return false; /* a peer's: it was proved before */
    query_remove(d, r);
    r->state = REQUEST_READING; /* nothing of the core's */
    r->clock_waits = true;
    TAILQ_INSERT_TAIL(&d->ticking.waits, r, asker_link);
    return true;
}

void clock_let_go(struct driver *d, struct request *r)
{
    if (!r->clock_waits) return;
    r->clock_waits = false;
    TAILQ_REMOVE(&d->ticking.waits, r, asker_link);
}

void clock_show(struct driver *d)
{
    if (d->ports.machine->tell_time == NULL || ticking_idle(&d->ticking, d->applied)) return;
    if (earliest(d) == KELP_FSM_NO_DEADLINE) return;
    uint64_t about =
        leads(d) ? clock_running(d) : add_sat(d->clock_last, sub_sat(d->now, d->clock_heard));
    d->ports.machine->tell_time(d->ports.machine_ctx, about);
}

/* ---- what stands beside a command ---- */

uint8_t *clock_room(struct driver *d, const struct wire_entry *e)
{
    struct wire_entry most = *e;
    if (d->ports.machine->extend != NULL && most.extension.len < KELP_FSM_EXTEND_MAX) {
        most.flags |= WIRE_ENTRY_EXTENDED;
        most.extension.len = KELP_FSM_EXTEND_MAX;
    }
    return cache_reserve(d->cache, wire_entry_size(&most));
}

/* Here and nowhere else, so that a command that was forwarded or waited has the time of day at
 * which it is stamped. */
void clock_extend(struct driver *d, struct wire_entry *e, uint8_t *room, uint8_t *extension)
{
    if (e->type != KELP_ENTRY_COMMAND || d->ports.machine->extend == NULL ||
        d->options.wall == NULL)
        return;
    struct kelp_bytes before = bytes_of(wire_entry_payload(e, room), e->payload.len);
    size_t len = d->ports.machine->extend(d->ports.machine_ctx, before,
                                          d->options.wall(d->options.random_ctx), extension);
    if (len == 0) return;
    e->flags |= WIRE_ENTRY_EXTENDED;
    e->extension = bytes_of(extension, len);
    memmove(wire_entry_payload(e, room), before.data, before.len);
}
