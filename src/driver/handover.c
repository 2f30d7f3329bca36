/* SPDX-License-Identifier: Apache-2.0 */
/* handover.c - leadership goes to another node, and no client notices. [§3.10]
 *
 * While the core hands over it takes no proposals. Those of this node's clients stay queued in
 * their lines; those that peers forward are HELD here, in the order in which they came. If another
 * leads afterwards, both go to it: the own ones by the new route, the held ones are answered "does
 * not lead", so that their senders forward them anew. If nobody does, they are proposed, still in
 * order. Refusing them at once would not do: a forward refused in a term that goes on could be
 * overtaken by a later one of the same client.
 *
 * A drain is a transfer whose node stays drained (core/transfer.c): it is its own core's and goes
 * to no other node.
 *
 * A node that will stop hands over first:
 *
 *      DUE --it leads--> ASKED --outcome--> ENDED     DUE --it does not lead--> ENDED
 *       ^                                                                         |
 *       `--- it stands after all, by an order that left before it was heard ------'
 *
 * says in its answers that it is leaving, so that leadership is not handed to it,
 * and stays until nobody needs it: peers that have not heard of the new leader still forward to it,
 * and on a connection that is gone they could not know what became of that.
 * Invariants: HELD requests are a peer's writes and reads through the log, ascending by order, and
 * were never proposed. */
#include <string.h>

#include "base/endian.h"
#include "driver/room.h"
#include "wire/forward.h"

/* ---- holding ---- */

void handover_refresh(struct driver *d)
{
    bool holds = d->state == DRIVER_RUNNING && writes_wait(d, driver_look(d));
    if (holds == d->holds) return;
    d->holds = holds;
    struct driver_line *line;
    TAILQ_FOREACH(line, &d->lines, all_link)
    {
        if (line->next != NULL && !holds) line_ready(d, line);
    }
}

void handover_hold(struct driver *d, struct request *r)
{
    ASSERT(r->line == NULL && r->kind != REQUEST_TRANSFER && r->bytes != NULL);
    struct request *after = TAILQ_LAST(&d->guests, request_list);
    while (after != NULL && after->order > r->order)
        after = TAILQ_PREV(after, request_list, link);
    r->state = REQUEST_HELD;
    if (after != NULL)
        TAILQ_INSERT_AFTER(&d->guests, after, r, link);
    else
        TAILQ_INSERT_HEAD(&d->guests, r, link);
    timer_add(d, r);
}

/* Never executed, and its sender will ask whoever leads. */
static void held_declined(struct driver *d, struct request *r)
{
    r->leader = d->core != NULL ? driver_look(d)->leader : 0;
    request_close(d, r, KELP_REFUSED, KELP_R_NOT_LEADER);
}

static void held_proposed(struct driver *d, struct request *r)
{
    if (r->kind == REQUEST_READ) {
        TAILQ_REMOVE(&d->guests, r, link);
        timer_remove(d, r);
        read_propose(d, r);
        return;
    }
    enum kelp_reason reason = KELP_R_NONE;
    if (r->restores) reason = restore_gate(d, bytes_of(r->bytes + r->user_len, r->len), &r->member);
    if (reason != KELP_R_NONE) {
        request_close(d, r, KELP_REFUSED, reason);
        return;
    }
    struct wire_entry e = once_entry(r, r->len);
    e.extension = bytes_of(r->bytes, r->user_len);
    if (r->user_len > 0) e.flags |= WIRE_ENTRY_EXTENDED;
    uint8_t *room = clock_room(d, &e);
    if (room == NULL) {
        request_close(d, r, KELP_REFUSED, KELP_R_BUSY);
        return;
    }
    if (r->len > 0) memcpy(wire_entry_payload(&e, room), r->bytes + r->user_len, r->len);
    TAILQ_REMOVE(&d->guests, r, link);
    timer_remove(d, r);
    request_propose(d, r, &e, room);
}

/* ---- transfers that were asked for ---- */

static void ask_core(struct driver *d, uint64_t token, kelp_id target, kelp_ns deadline)
{
    struct kelp_input input = {.type = KELP_IN_TRANSFER};
    input.transfer.token = token;
    input.transfer.target = target;
    input.transfer.deadline = deadline;
    (void)driver_step(d, &input);
    d->unanswered++;
}

void handover_start(struct driver *d, struct request *r)
{
    ASSERT(r->len == WIRE_FORWARD_TRANSFER_BYTES);
    ask_core(d, r->handle, load_u64(r->bytes + r->user_len), r->deadline);
    r->state = REQUEST_HANDING;
}

void driver_transfer_cancel(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token)
{
    struct request *r = TAILQ_FIRST(&line->requests);
    d->now = max_u64(d->now, now);
    while (r != NULL && (r->token != token || r->kind != REQUEST_TRANSFER))
        r = TAILQ_NEXT(r, link);
    if (r == NULL) return;
    if (r->state == REQUEST_HANDING) { /* the core knows whether somebody was told */
        struct kelp_input input = {.type = KELP_IN_CANCEL};
        input.token = r->handle;
        (void)driver_step(d, &input);
    } else if (r->state == REQUEST_QUEUED || r->state == REQUEST_FORWARDED) {
        bool elsewhere = r->state == REQUEST_FORWARDED;
        request_close(d, r, elsewhere ? KELP_UNKNOWN : KELP_REFUSED, KELP_R_CANCELLED);
    }
}

/* ---- drains ---- */

bool driver_drain(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                  enum driver_drain_wish wish, kelp_ns deadline)
{
    uint8_t on = wish == DRIVER_DRAIN ? 1 : 0;
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    if (!request_reserve(d)) return false;
    struct request *r = line_append(d, line, REQUEST_TRANSFER, token, deadline);
    r->drain = true;
    request_hold(d, r, bytes_of(NULL, 0), bytes_of(&on, sizeof on));
    return true;
}

bool drain_start(struct driver *d, struct request *r)
{
    ASSERT(r->len == 1);
    if (d->core == NULL) {
        request_close(d, r, KELP_REFUSED, KELP_R_NOT_STARTED);
        return true;
    }
    if (r->line->open_writes + r->line->open_reads > 0 || !core_has_room(d)) return false;
    struct kelp_input input = {.type = KELP_IN_DRAIN};
    input.drain.token = r->handle;
    input.drain.deadline = r->deadline;
    input.drain.on = r->bytes[r->user_len] != 0;
    request_start_here(d, r);
    (void)driver_step(d, &input);
    d->unanswered++;
    r->state = REQUEST_HANDING;
    return true;
}

/* ---- the own stop ---- */

void driver_retire(struct driver *d, kelp_ns now)
{
    d->now = max_u64(d->now, now);
    if (d->retiring != RETIRING_NO) return;
    d->retiring = RETIRING_DUE; /* begun by the next run */
    d->space_due = true;        /* and told by the answers of this node */
}

bool handover_answered(struct driver *d, const struct kelp_answer *answer)
{
    if (answer->token != RETIRE_TOKEN) return false;
    bool waits = answer->reason == KELP_R_TRANSFERRING; /* somebody else asked before */
    d->retiring = waits ? RETIRING_DUE : RETIRING_ENDED;
    return true;
}

static bool retire(struct driver *d)
{
    if (d->retiring == RETIRING_NO || d->retiring == RETIRING_ASKED) return false;
    bool running = d->state == DRIVER_RUNNING && d->core != NULL && !d->closing;
    const struct kelp_view *view = running ? driver_look(d) : NULL;
    bool leads = running && view->role == KELP_LEADER;
    bool stands = running && view->role == KELP_CANDIDATE;
    bool follows = running && !leads && view->leader != 0;
    if (follows && d->followed_since == 0) d->followed_since = max_u64(1, d->now);
    if (d->retiring == RETIRING_ENDED && (leads || stands) && !d->retire_asked) {
        d->retiring = RETIRING_DUE; /* the order to stand was on its way */
        d->followed_since = 0;
    }
    if (d->retiring == RETIRING_ENDED || stands) return false;
    if (!leads) {
        d->retiring = RETIRING_ENDED;
        return true;
    }
    if (view->transferring || view->leaving || !core_has_room(d)) return false;
    d->retiring = RETIRING_ASKED;
    d->retire_asked = true;
    ask_core(d, RETIRE_TOKEN, 0, KELP_NEVER);
    return true;
}

bool driver_retired(const struct driver *d)
{
    if (d->closing) return true;
    if (d->retiring != RETIRING_ENDED) return d->retiring == RETIRING_NO;
    if (d->state != DRIVER_RUNNING) return true;
    if (d->followed_since == 0) return true; /* nobody took over, or nobody leads */
    return d->now >= d->followed_since + d->options.core.heartbeat && d->guest_count == 0;
}

kelp_ns handover_next(const struct driver *d)
{
    kelp_ns heard = d->followed_since + d->options.core.heartbeat;
    return d->followed_since != 0 && d->now < heard ? heard : KELP_NEVER;
}

bool handover_pump(struct driver *d)
{
    bool any = retire(d);
    struct request *r;
    while ((r = TAILQ_FIRST(&d->guests)) != NULL) {
        bool leads = forward_term_led(d, r->route.term);
        if (leads && (writes_wait(d, driver_look(d)) || !core_has_room(d))) break;
        any = true;
        if (leads)
            held_proposed(d, r);
        else
            held_declined(d, r);
    }
    return any;
}
