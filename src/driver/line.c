/* SPDX-License-Identifier: Apache-2.0 */
/* line.c - a client connection as a sequence of requests, and where they go.
 *
 *   requests   [closed] [open] [open] | [queued] [queued]
 *              delivered in order        started in order, when the open ones allow it
 *
 * A request may start when nothing of its line is open; or when what is open went the same way
 * (the same leader, term and connection) and is of the same kind: writes follow each other into
 * one log, reads are served side by side, but a read waits for earlier writes to be applied and a
 * write for earlier reads to be served. A request that was refused for want of leadership was
 * never executed: it is queued again in its old place, and since the way it went is closed for
 * good, it goes on only when everything else of its line is closed.
 * Invariants: the open requests of a line are of one kind and one route; outcomes leave in the
 * order of submission; line->next is the first queued request. */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "driver/room.h"
#include "wire/forward.h"

/* ---- where requests go ---- */

bool route_equal(struct route a, struct route b)
{
    return a.node == b.node && a.term == b.term && a.connection == b.connection;
}

static struct route route_now(struct driver *d)
{
    struct route none = {0, 0, 0};
    d->leader_hint = 0;
    if (d->state != DRIVER_RUNNING || d->fault_due || d->closing) return none;
    const struct kelp_view *view = driver_look(d);
    struct route route = {.node = view->leader, .term = view->term.v};
    d->leader_hint = view->leader;
    if (view->leader != 0 && view->leader != view->self) d->followed = view->leader;
    bool refused = d->refused.node == route.node && d->refused.term == route.term;
    if (route.node == 0 || refused) return none;
    if (view->role == KELP_LEADER) return view->term.v == d->led_term ? route : none;
    if (route.node == view->self) return none;
    const struct peer *p = peer_find(d, route.node);
    if (p != NULL) route.connection = p->forward_connection;
    if (route.connection == 0)
        route.connection =
            d->ports.peers->connection(d->ports.peers_ctx, route.node, KELP_LANE_ENTRIES);
    return route.connection != 0 ? route : none;
}

/* Is there no way to a leader, and none to come? While one is open it is used: who was removed may
 * still be served by who removed it. */
static bool removed_now(struct driver *d, struct route route)
{
    if (d->core == NULL || d->state != DRIVER_RUNNING || d->fault_due || d->closing) return false;
    return route.node == 0 && driver_look(d)->removed;
}

static void removed_settle(struct driver *d)
{
    for (size_t i = 0; i < d->requests.chunk_count * REQUESTS_A_CHUNK; i++) {
        struct request *r = &d->requests.chunks[i / REQUESTS_A_CHUNK][i % REQUESTS_A_CHUNK];
        bool waits = r->state == REQUEST_AWAITING && read_hopeless(d, r, r->pos.index);
        if (waits) request_removed(d, r);
    }
}

void route_refresh(struct driver *d)
{
    if (!d->route_stale) return;
    d->route_stale = false;
    handover_refresh(d);
    lead_refresh(d);
    kelp_id hint = d->leader_hint;
    bool removed = d->removed;
    struct route route = route_now(d);
    d->removed = removed_now(d, route);
    if (route_equal(route, d->route) && hint == d->leader_hint && removed == d->removed) return;
    if (route.node == 0 && d->route.node != 0) {
        d->leaderless_since = d->now;
        d->expire_at = 0;
    }
    d->route = route;
    if (d->removed && !removed) removed_settle(d);
    struct driver_line *line;
    TAILQ_FOREACH(line, &d->lines, all_link)
    {
        if (line->next != NULL) line_ready(d, line);
    }
}

/* ---- lines ---- */

struct driver_line *driver_line_open(struct driver *d, driver_done_fn done, void *ctx)
{
    struct driver_line *line = calloc(1, sizeof *line);
    if (line == NULL) return NULL;
    TAILQ_INIT(&line->requests);
    asker_init(&line->asker, line, NULL);
    line->answer_bytes = ANSWER_EXPECTED;
    line->done = done;
    line->ctx = ctx;
    TAILQ_INSERT_TAIL(&d->lines, line, all_link);
    return line;
}

void driver_line_close(struct driver *d, struct driver_line *line)
{
    (void)driver_line_backlog(d, line, 0);
    line->closed = true;
    line_ready(d, line); /* freed when its last request has ended */
}

void line_ready(struct driver *d, struct driver_line *line)
{
    if (line->ready) return;
    line->ready = true;
    TAILQ_INSERT_TAIL(&d->ready, line, ready_link);
}

bool line_may_start(const struct driver *d, const struct driver_line *line, const struct request *r)
{
    if (line->full) return false;
    bool proposes =
        r->kind == REQUEST_WRITE || (r->kind == REQUEST_READ && r->how.level == KELP_READ_LOG);
    if (d->holds && proposes && d->route.node == d->options.core.self) return false;
    if (line->open_writes + line->open_reads == 0) return true;
    if (!route_equal(line->route, read_local(d, r) ? read_route(d) : d->route)) return false;
    if (r->order < line->order_started) return false; /* was refused; a later one is still open */
    if (r->kind == REQUEST_TRANSFER) return false;
    return r->kind == REQUEST_WRITE ? line->open_reads == 0 : read_beside(d, line, r);
}

void line_opened(struct driver *d, struct request *r)
{
    struct driver_line *line = r->line;
    if (line == NULL) return;
    line->route = read_local(d, r) ? read_route(d) : d->route;
    if (r->kind == REQUEST_READ) read_opened(d, line, r);
    line->order_started = max_u64(line->order_started, r->order);
    if (r->kind != REQUEST_READ) line->open_writes++; /* beside a transfer neither starts */
    if (r->kind != REQUEST_WRITE) line->open_reads++;
}

static struct request *queued_from(struct request *r)
{
    while (r != NULL && r->state != REQUEST_QUEUED)
        r = TAILQ_NEXT(r, link);
    return r;
}

/* ---- the states of a request ---- */

static void request_queue(struct driver *d, struct request *r)
{
    struct driver_line *line = r->line;
    r->state = REQUEST_QUEUED;
    line->queued++;
    d->queued_count++;
    if (line->next == NULL || r->order < line->next->order) line->next = r;
    d->expire_at = 0;
    timer_add(d, r);
    line_ready(d, line);
}

/* Out of whatever its state put it in. */
static void request_leave(struct driver *d, struct request *r)
{
    struct driver_line *line = r->line;
    timer_remove(d, r);
    switch (r->state) {
    case REQUEST_FREE:
    case REQUEST_CLOSED: UNREACHABLE();
    case REQUEST_QUEUED:
        line->queued--;
        d->queued_count--;
        if (line->next == r) line->next = queued_from(TAILQ_NEXT(r, link));
        return;
    case REQUEST_APPLYING: index_remove(d, r); break;
    case REQUEST_FORWARDED:
        number_remove(d, r);
        d->forwarded_count--;
        break;
    case REQUEST_QUERYING: query_remove(d, r); break;
    case REQUEST_AWAITING: awaiting_remove(d, r); break;
    case REQUEST_CHANGING: change_leave(d, r); break;
    case REQUEST_HELD: TAILQ_REMOVE(&d->guests, r, link); break;
    case REQUEST_READING: clock_let_go(d, r); break;
    case REQUEST_COPYING: copy_leave(d, r); break;
    case REQUEST_PROPOSED:
    case REQUEST_HANDING: break;
    }
    if (line == NULL) return;
    if (r->kind != REQUEST_READ) {
        ASSERT(line->open_writes > 0);
        line->open_writes--;
    }
    if (r->kind != REQUEST_WRITE) {
        ASSERT(line->open_reads > 0);
        line->open_reads--;
    }
}

void request_close(struct driver *d, struct request *r, enum kelp_outcome outcome,
                   enum kelp_reason reason)
{
    /* without an effect there is nothing that may happen */
    if (r->kind == REQUEST_READ && outcome != KELP_DONE) outcome = KELP_REFUSED;
    if (r->founds && outcome == KELP_REFUSED) { /* it began before, and may be over */
        outcome = d->core != NULL ? KELP_DONE : KELP_UNKNOWN;
        if (outcome == KELP_DONE) reason = KELP_R_NONE;
    }
    if (outcome == KELP_DONE &&
        r->result_lost) { /* it happened, but nobody can say with what result */
        outcome = r->kind == REQUEST_WRITE ? KELP_UNKNOWN : KELP_REFUSED;
        reason = KELP_R_BUSY;
    }
    request_leave(d, r);
    request_let_go(d, r);
    r->state = REQUEST_CLOSED;
    r->outcome = outcome;
    r->reason = reason;
    if (r->line != NULL) {
        line_ready(d, r->line);
    } else {
        d->guest_count--;
        TAILQ_INSERT_TAIL(&d->answers, r, link);
    }
}

/* Whom a client of a removed node may ask: who led last, or else some voter. 0: nobody is known. */
static kelp_id member_to_ask(const struct driver *d)
{
    const struct kelp_config *c = &d->configs[d->config_count - 1].config;
    kelp_id some = 0;
    for (size_t slot = 0; slot < c->count; slot++) {
        kelp_id id = c->members[slot].id;
        if (id == d->options.core.self) continue;
        if (id == d->followed) return id;
        if (some == 0 && c->members[slot].role == KELP_VOTER) some = id;
    }
    return some;
}

/* It was not begun, or was a read. */
void request_removed(struct driver *d, struct request *r)
{
    r->leader = member_to_ask(d);
    request_close(d, r, KELP_REFUSED, KELP_R_REMOVED);
}

/* A read that is asked again, or was told late, will see a later state than reads behind it that
 * were told already; answered in order, time would run backwards for their client. A read has no
 * effect, so these are asked again too. Afterwards nobody behind it is told, so that the next walk
 * ends here: however many are asked again at once, a line is walked once. */
void reads_behind_again(struct driver *d, struct request *first)
{
    uint64_t last = first->line->order_told;
    if (first->order >= last) return;
    first->line->order_told = first->order;
    struct request *r = TAILQ_NEXT(first, link);
    for (; r != NULL && r->order <= last; r = TAILQ_NEXT(r, link)) {
        d->behind_steps++;
        /* a write in between was refused, or this read would not have been started */
        if (r->kind != REQUEST_READ) continue;
        if (r->state == REQUEST_AWAITING || r->state == REQUEST_QUERYING) {
            request_leave(d, r); /* it knows an index that may be too old */
            request_rename(r);
            request_queue(d, r);
            continue;
        }
        if (r->state != REQUEST_CLOSED || r->outcome != KELP_DONE) continue;
        request_result_drop(d, r);
        request_hold_again(d, r);
        request_queue(d, r);
    }
}

void request_requeue(struct driver *d, struct request *r)
{
    ASSERT(r->line != NULL && r->bytes != NULL);
    request_leave(d, r);
    request_queue(d, r);
    if (r->kind == REQUEST_READ) reads_behind_again(d, r);
}

void request_propose(struct driver *d, struct request *r, struct wire_entry *e, uint8_t *room)
{
    uint8_t extension[KELP_FSM_EXTEND_MAX];
    if (r->kind == REQUEST_WRITE) clock_extend(d, e, room, extension);
    size_t size = wire_entry_size(e);
    struct kelp_input input = {.type = KELP_IN_PROPOSE};
    input.propose.token = r->handle;
    input.propose.deadline = r->deadline;
    input.propose.bytes = (uint32_t)size;
    e->payload.data = wire_entry_payload(e, room);
    bool asks = r->kind == REQUEST_WRITE && d->ports.machine->frees != NULL &&
                driver_look(d)->space != KELP_SPACE_OK;
    if (asks && d->ports.machine->frees(d->ports.machine_ctx, e->payload))
        input.propose.flags = KELP_PROPOSE_FREES;
    struct kelp_taken taken = driver_step(d, &input);
    if (taken.first != 0) {
        e->pos = (struct kelp_pos){.term = taken.term, .index = taken.first};
        e->time_ns = clock_stamp(d);
        wire_entry_encode(e, room);
        cache_commit(d->cache, taken.first, size);
        if (r->kind == REQUEST_WRITE) {
            request_let_go(d, r);
            request_drop_bytes(r); /* never refused from here on */
        }
    } else if (r->bytes == NULL) {
        /* The core will say why. Was it leadership, then the command goes elsewhere or waits;
         * without memory it is refused. A peer's keeps its extension in the user's place. */
        (void)request_keep(d, r, r->line != NULL ? bytes_of(NULL, 0) : e->extension, e->payload);
    }
    cache_abandon(d->cache);
    r->state = REQUEST_PROPOSED;
    line_opened(d, r);
}

void request_ask(struct driver *d, struct request *r)
{
    struct kelp_input input = {.type = KELP_IN_READ};
    input.read.token = r->handle;
    input.read.deadline = r->deadline;
    if (r->how.level == KELP_READ_LEASE) /* d->now was read after the request had come in */
        input.read.proof = r->how.may_round ? KELP_PROOF_EITHER : KELP_PROOF_LEASE;
    (void)driver_step(d, &input);
    r->state = REQUEST_READING;
    line_opened(d, r);
}

/* Was it refused only because this node does not lead (any more)? A read never took effect. */
static bool leadership_missing(const struct request *r, enum kelp_outcome outcome,
                               enum kelp_reason reason)
{
    if (r->kind == REQUEST_READ &&
        (reason == KELP_R_LEADERSHIP_LOST || reason == KELP_R_OVERWRITTEN ||
         reason == KELP_R_SNAPSHOT_PASSED))
        return true;
    return outcome == KELP_REFUSED && (reason == KELP_R_NOT_LEADER || reason == KELP_R_NO_LEADER);
}

void request_answered(struct driver *d, const struct kelp_answer *answer)
{
    if (handover_answered(d, answer) || clock_answered(d, answer)) return;
    struct request *r = request_of(d, answer->token);
    change_answered(d, answer);
    if (r == NULL || (r->state != REQUEST_PROPOSED && r->state != REQUEST_READING &&
                      r->state != REQUEST_HANDING))
        return; /* ended by a fault */
    r->pos = answer->pos;
    r->leader = answer->leader;
    if (!r->change || answer->member != 0) r->member = answer->member; /* else: who was given one */
    if (leadership_missing(r, answer->outcome, answer->reason)) {
        /* the term it was asked in: by now this node may stand in a later one, and win it */
        if (r->line != NULL) d->refused = r->line->route;
        d->route_stale = true;
        if (r->line == NULL || r->bytes == NULL)
            request_close(d, r, KELP_REFUSED, KELP_R_NOT_LEADER);
        else
            request_requeue(d, r);
        return;
    }
    bool handing_over =
        answer->reason == KELP_R_TRANSFERRING && !r->change && r->kind != REQUEST_TRANSFER;
    if (handing_over && r->bytes != NULL && r->line != NULL) {
        request_requeue(d, r);
    } else if (handing_over && r->bytes != NULL) {
        handover_hold(d, r);
    } else if (answer->outcome != KELP_DONE || r->change || r->kind == REQUEST_TRANSFER) {
        request_close(d, r, answer->outcome, answer->reason);
    } else if (r->kind == REQUEST_WRITE && answer->pos.index <= d->applied) {
        /* a snapshot brought it: committed, and its result is nowhere */
        request_close(d, r, KELP_UNKNOWN, KELP_R_SNAPSHOT_PASSED);
    } else if (r->kind == REQUEST_WRITE) {
        ASSERT(answer->pos.index >
               d->applied); /* answers leave the core before what they commit is applied */
        r->state = REQUEST_APPLYING;
        index_add(d, r);
        /* it may wait for the disk longer than its client does */
        if (d->apply_reading || d->apply_open != 0 || d->options.core.apply_durable_only)
            timer_add(d, r);
    } else {
        read_answered(d, r, answer);
    }
}

/* ---- submission ---- */

uint8_t *driver_reserve(struct driver *d, size_t len, enum kelp_reason *reason)
{
    d->reserved = NULL;
    *reason = KELP_R_TOO_LARGE;
    if (len == 0 || len > WIRE_ENTRY_PAYLOAD_MAX) return NULL;
    struct wire_entry e = {.type = KELP_ENTRY_COMMAND, .payload = {NULL, len}};
    size_t size = wire_entry_size(&e);
    if (size > d->options.core.limits.entry_bytes_max) return NULL;
    *reason = KELP_R_BUSY;
    if (!request_reserve(d)) return NULL;
    d->reserved = clock_room(d, &e);
    d->reserved_len = len;
    if (d->reserved == NULL) return NULL;
    *reason = KELP_R_NONE;
    return wire_entry_payload(&e, d->reserved);
}

struct request *line_append(struct driver *d, struct driver_line *line, enum request_kind kind,
                            uint64_t token, kelp_ns deadline)
{
    ASSERT(token != 0 && !line->closed);
    struct request *r = request_take(d, line, kind);
    r->token = token;
    r->order = ++line->order;
    r->deadline = deadline;
    line->count++;
    TAILQ_INSERT_TAIL(&line->requests, r, link);
    return r;
}

/* Close a request that has not even been queued. */
static void request_decline(struct driver *d, struct request *r, enum kelp_reason reason)
{
    r->state = REQUEST_CLOSED;
    r->outcome = KELP_REFUSED;
    r->reason = reason;
    line_ready(d, r->line);
}

static bool leads_here(struct driver *d)
{
    if (d->state != DRIVER_RUNNING || d->closing || d->route.node != d->options.core.self)
        return false;
    if (!core_has_room(d) || d->fault_due) return false;
    const struct kelp_view *view = driver_look(d);
    if (writes_wait(d, view)) return false;
    return view->role == KELP_LEADER && view->term.v == d->route.term;
}

/* Copy what cannot start now, and queue it. */
void request_hold(struct driver *d, struct request *r, struct kelp_bytes user,
                  struct kelp_bytes command)
{
    bool full = r->line->count > d->options.line_requests_max ||
                user.len + command.len > sub_sat(d->options.forward_bytes_max, d->held_bytes);
    if (command.len > WIRE_ENTRY_PAYLOAD_MAX)
        request_decline(d, r, KELP_R_TOO_LARGE);
    else if (full || !request_keep(d, r, user, command))
        request_decline(d, r, KELP_R_BUSY);
    else
        request_queue(d, r);
}

void driver_write(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                  size_t len, struct kelp_bytes user, kelp_ns deadline, bool forward)
{
    ASSERT(d->reserved != NULL && len > 0 && len <= d->reserved_len);
    d->now = max_u64(d->now, now);
    struct wire_entry e = {.type = KELP_ENTRY_COMMAND, .payload = {NULL, len}};
    uint8_t *room = d->reserved;
    d->reserved = NULL;
    struct request *r = line_append(d, line, REQUEST_WRITE, token, deadline);
    r->forward = forward;
    bool full = line->count > d->options.line_requests_max;
    if (!full && line->queued == 0 && deadline > d->now && leads_here(d) &&
        line_may_start(d, line, r)) {
        request_propose(d, r, &e, room);
        return;
    }
    request_hold(d, r, user, bytes_of(wire_entry_payload(&e, room), len));
    cache_abandon(d->cache);
}

bool driver_transfer(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                     kelp_id target, struct kelp_bytes user, kelp_ns deadline, bool forward)
{
    uint8_t command[WIRE_FORWARD_TRANSFER_BYTES];
    put_u64(command, target);
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    if (!request_reserve(d)) return false;
    struct request *r = line_append(d, line, REQUEST_TRANSFER, token, deadline);
    r->forward = forward;
    request_hold(d, r, user, bytes_of(command, sizeof command));
    return true;
}

/* ---- starting ---- */

/* Why nothing is started on this node any more; KELP_R_NONE: it is. */
static enum kelp_reason standstill(const struct driver *d)
{
    if (d->closing) return KELP_R_SHUTDOWN;
    switch (d->state) {
    case DRIVER_FAULTED: return KELP_R_FAULTED;
    case DRIVER_FOREIGN: return KELP_R_NOT_STARTED;
    case DRIVER_WAITING:
    case DRIVER_RUNNING: break;
    }
    return KELP_R_NONE;
}

/* Out of the queue; its next state says where it went. */
void request_dequeue(struct driver *d, struct request *r)
{
    ASSERT(r->state == REQUEST_QUEUED);
    request_leave(d, r);
}

void request_start_here(struct driver *d, struct request *r)
{
    request_dequeue(d, r);
    line_opened(d, r);
}

static void propose_kept(struct driver *d, struct request *r)
{
    struct wire_entry e = once_entry(r, r->len);
    uint8_t *room = clock_room(d, &e);
    if (room == NULL) {
        request_close(d, r, KELP_REFUSED, KELP_R_BUSY);
        return;
    }
    request_dequeue(d, r);
    if (r->len > 0) memcpy(wire_entry_payload(&e, room), r->bytes + r->user_len, r->len);
    request_propose(d, r, &e, room);
}

/* One queued request of a line; false: it has to wait. */
static bool request_start(struct driver *d, struct driver_line *line, struct request *r)
{
    enum kelp_reason standing = standstill(d);
    if (standing != KELP_R_NONE) {
        request_close(d, r, KELP_REFUSED, standing);
        return true;
    }
    if (r->drain) return drain_start(d, r);
    if (r->copies) return copy_start(d, r);
    if (r->founds) return founding_start(d, r);
    if (read_local(d, r)) return read_start(d, line, r);
    kelp_id self = d->options.core.self;
    if (!r->forward && d->leader_hint != 0 && d->leader_hint != self) {
        r->leader = d->leader_hint;
        request_close(d, r, KELP_REFUSED, KELP_R_NOT_LEADER);
        return true;
    }
    if (d->removed && !d->route_stale) {
        request_removed(d, r);
        return true;
    }
    if (d->route.node == 0 || d->route_stale || !line_may_start(d, line, r)) return false;
    bool planned_here = r->plan && d->route.node == self;
    if (r->kind == REQUEST_READ && !planned_here) return read_start(d, line, r);
    if (d->route.node != self) {
        if (!forward_send(d, r)) return false;
        forward_opened(d, r);
    } else if (!core_has_room(d)) {
        return false; /* takes come first, then the line is pumped again */
    } else if (r->change || r->plan) {
        request_dequeue(d, r);
        line_opened(d, r);
        change_start(d, r);
    } else if (r->kind == REQUEST_WRITE) {
        propose_kept(d, r);
    } else {
        request_dequeue(d, r);
        handover_start(d, r);
        line_opened(d, r);
    }
    return true;
}

bool lines_pump(struct driver *d)
{
    bool any = false;
    struct driver_line *line;
    d->gather_number = 0; /* those that are started now came before what is sent now */
    TAILQ_FOREACH(line, &d->ready, ready_link)
    {
        while (line->next != NULL && d->pump_left > 0 && request_start(d, line, line->next)) {
            d->pump_left--;
            any = true;
        }
    }
    return any;
}

/* ---- ending ---- */

static void outcome_count(struct driver *d, const struct request *r)
{
    switch (r->outcome) {
    case KELP_DONE: d->done++; break;
    case KELP_REFUSED: d->refused_count++; break;
    case KELP_LOST: d->lost++; break;
    case KELP_UNKNOWN: d->unknown++; break;
    }
    d->by_reason[min_u64(r->reason, COUNT_OF(d->by_reason) - 1)]++;
}

/* What a callback submits may be refused on the spot, and heard of only in the next round: who
 * answers that with the next one would never let go of the loop. */
static void line_deliver(struct driver *d, struct driver_line *line)
{
    struct request *r;
    uint64_t newest = line->order;
    while ((r = TAILQ_FIRST(&line->requests)) != NULL && r->state == REQUEST_CLOSED) {
        if (r->order > newest) break;
        TAILQ_REMOVE(&line->requests, r, link);
        line->count--;
        read_held(d, r);
        outcome_count(d, r);
        struct driver_outcome outcome = {
            .outcome = r->outcome, .reason = r->reason, .pos = r->pos, .leader = r->leader};
        outcome.ages = r->ages;
        outcome.member = r->member;
        if (r->outcome == KELP_DONE) outcome.result = bytes_of(r->result, r->result_len);
        ASSERT(line->made >= r->result_len && d->made_bytes >= r->result_len);
        line->made -= r->result_len;
        d->made_bytes -= r->result_len;
        if (!line->closed) line->done(line->ctx, r->token, &outcome);
        request_recycle(d, r);
    }
}

void lines_deliver(struct driver *d)
{
    struct line_list ready = TAILQ_HEAD_INITIALIZER(ready);
    TAILQ_CONCAT(&ready, &d->ready, ready_link); /* what a callback submits is for the next round */
    struct driver_line *line;
    while ((line = TAILQ_FIRST(&ready)) != NULL) {
        TAILQ_REMOVE(&ready, line, ready_link);
        line->ready = false;
        line_deliver(d, line);
        if (line->closed && line->count == 0) {
            if (line->ready)
                TAILQ_REMOVE(&d->ready, line, ready_link); /* its own callback closed it */
            TAILQ_REMOVE(&d->lines, line, all_link);
            free(line);
        } else if (line->next != NULL && d->pump_left == 0) {
            line_ready(d, line); /* its turn goes on after the sockets' */
        }
    }
}

/* Its client does not take what it has; that time is not ours. */
static bool stands_still(const struct request *r)
{
    return r->line != NULL && r->line->full && (r->state == REQUEST_QUEUED || r->asker != NULL);
}

static void timers_expire(struct driver *d)
{
    struct request *r;
    while ((r = timer_first(d)) != NULL && r->deadline <= d->now) {
        /* one that is committed and waits to be applied happened, but with what result? */
        if (stands_still(r)) {
            timer_remove(d, r); /* line_weigh starts it again, with as much time as it had */
            continue;
        }
        bool may_happen = r->state == REQUEST_FORWARDED || r->state == REQUEST_APPLYING;
        bool unknown = may_happen && r->kind != REQUEST_READ;
        bool waits = r->state == REQUEST_CHANGING;
        request_close(d, r, unknown ? KELP_UNKNOWN : KELP_REFUSED,
                      waits ? change_waits_for(d, r) : KELP_R_TIMEOUT);
    }
}

/* Without a way to a leader a request waits two election timeouts; where this node was removed it
 * does not wait. */
kelp_ns lines_expire(struct driver *d)
{
    timers_expire(d);
    struct request *first = timer_first(d);
    kelp_ns next = first != NULL ? first->deadline : KELP_NEVER;
    if (d->route.node != 0 || d->removed || d->queued_count == 0) return next;
    if (d->now < d->expire_at) return min_u64(next, d->expire_at);
    kelp_ns patience = add_sat(d->options.core.election_max, d->options.core.election_max);
    enum kelp_reason reason = d->state == DRIVER_WAITING ? KELP_R_NOT_STARTED : KELP_R_NO_LEADER;
    d->expire_at = KELP_NEVER;
    struct driver_line *line;
    TAILQ_FOREACH(line, &d->lines, all_link)
    {
        struct request *r = line->next;
        for (; r != NULL; r = line->next) {
            if (read_local(d, r)) { /* it needs no leader, only that what is before it ends */
                d->expire_at = min_u64(d->expire_at, add_sat(d->now, patience));
                break;
            }
            kelp_ns end = add_sat(max_u64(r->since, d->leaderless_since), patience);
            d->expire_at = min_u64(d->expire_at, end > d->now ? end : d->expire_at);
            if (end > d->now) break;
            request_close(d, r, KELP_REFUSED, reason);
        }
    }
    return min_u64(next, d->expire_at);
}

void lines_end(struct driver *d, enum kelp_reason reason)
{
    for (size_t i = 0; i < d->requests.chunk_count * REQUESTS_A_CHUNK; i++) {
        struct request *r = &d->requests.chunks[i / REQUESTS_A_CHUNK][i % REQUESTS_A_CHUNK];
        switch (r->state) {
        case REQUEST_FREE:
        case REQUEST_CLOSED: break;
        case REQUEST_QUEUED:
        case REQUEST_CHANGING:
        case REQUEST_HELD:
        case REQUEST_READING:
        case REQUEST_AWAITING:
        case REQUEST_COPYING:
        case REQUEST_QUERYING: request_close(d, r, KELP_REFUSED, reason); break;
        case REQUEST_PROPOSED:
        case REQUEST_HANDING:
        case REQUEST_APPLYING: request_close(d, r, KELP_UNKNOWN, reason); break;
        case REQUEST_FORWARDED:
            request_close(d, r, KELP_UNKNOWN, reason); /* a read: refused */
            break;
        }
    }
}
