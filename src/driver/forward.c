/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - requests of a follower's clients to the leader and back: one hop, one outcome.
 *
 *   follower                                      leader
 *   number n, term t --entries, connection c----> judged once: above the last one of this start?
 *                                                   no: dropped without an answer
 *                                                   leads in exactly t: executed; else refused
 *   counts only on c <--connection c, once------- answer n
 *
 * A copy of a forward is dropped in silence, because a refusal of the copy could overtake the
 * answer of the one that was executed. Nothing is resent: when the connection is lost a write's
 * outcome is UNKNOWN, a read is asked anew. A forward that was answered with "I do not lead" was
 * never executed and goes to the next leader, under a new number. A deposed leader answers
 * forwards as its own proposals. */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "driver/room.h"
#include "wire/forward.h"

/* Head, fixed part and what follows, as one frame. An error: it did not go. */
static enum kelp_error frame_send(struct driver *d, enum wire_kind kind, kelp_id to,
                                  uint64_t connection, struct kelp_bytes fixed,
                                  struct kelp_bytes first, struct kelp_bytes second)
{
    struct kelp_bytes *parts = scratch_take(d, 4 * sizeof *parts);
    uint8_t *head = scratch_take(d, WIRE_FRAME_HEAD);
    if (parts == NULL || head == NULL) return KELP_E_NO_MEMORY;
    size_t count = 0;
    parts[count++] = bytes_of(head, WIRE_FRAME_HEAD);
    parts[count++] = fixed;
    if (first.len > 0) parts[count++] = first;
    if (second.len > 0) parts[count++] = second;
    wire_frame_head(head, kind, d->options.group, parts + 1, count - 1);
    return d->ports.peers->send(d->ports.peers_ctx, d->options.group, to, KELP_LANE_ENTRIES,
                                connection, parts, count);
}

/* ---- the follower ---- */

static uint8_t kind_of(const struct request *r)
{
    if (r->change) return WIRE_FORWARD_CHANGE;
    if (r->plan) return WIRE_FORWARD_PLAN;
    if (r->restores) return WIRE_FORWARD_RESTORE;
    if (r->once.kind != DRIVER_ONCE_NOT) return WIRE_FORWARD_ONCE;
    switch (r->kind) {
    case REQUEST_WRITE: return WIRE_FORWARD_WRITE;
    case REQUEST_READ: return WIRE_FORWARD_READ;
    case REQUEST_TRANSFER: return WIRE_FORWARD_TRANSFER;
    }
    UNREACHABLE();
}

/* What of a read the leader is told. One that our machine would answer is not less for a leader. */
static void forward_level(struct wire_forward *f, const struct request *r)
{
    bool here = r->how.level == KELP_READ_STALE || r->how.level == KELP_READ_ANY;
    f->level = (uint8_t)(here ? KELP_READ_LINEARIZABLE : r->how.level);
    f->may_round = r->how.level == KELP_READ_LEASE && r->how.may_round;
    if (r->whole) return;
    f->kind = WIRE_FORWARD_INDEX;
    f->command = bytes_of(NULL, 0); /* it stays here */
}

bool forward_send(struct driver *d, struct request *r)
{
    ASSERT(d->route.connection != 0 && r->bytes != NULL);
    uint8_t *fixed = scratch_take(d, WIRE_FORWARD_HEAD_MAX);
    if (fixed == NULL) return false;
    struct wire_forward f = {
        .kind = kind_of(r),
        .term = kelp_term_of(d->route.term),
        .incarnation = d->options.incarnation,
        .start_count = d->options.start_count,
        .number = ++d->forward_number, /* never used again, even if this one does not go */
        .timeout_ns = r->deadline == KELP_NEVER ? KELP_NEVER : r->deadline - d->now,
        .user = bytes_of(r->bytes, r->user_len),
        .command = bytes_of(r->bytes + r->user_len, r->len),
        .once = (uint8_t)r->once.kind,
        .session = r->once.once.session,
        .sequence = r->once.once.sequence,
        .acknowledged = r->once.once.acknowledged,
    };
    if (r->kind == REQUEST_READ) forward_level(&f, r);
    size_t len = wire_forward_encode(&f, fixed);
    struct peer *p = peer_find(d, d->route.node);
    enum kelp_error error = frame_send(d, WIRE_FORWARD, d->route.node, d->route.connection,
                                       bytes_of(fixed, len), f.user, f.command);
    if (error == KELP_E_CLOSED && p != NULL) p->forward_connection = 0;
    if (error != KELP_OK) {
        d->retry_at = d->now + RETRY_NS;
        return false;
    }
    if (p != NULL) p->forward_connection = d->route.connection;
    r->number = f.number;
    r->route = d->route;
    return true;
}

void forward_opened(struct driver *d, struct request *r)
{
    request_dequeue(d, r);
    r->state = REQUEST_FORWARDED;
    d->forwarded_count++;
    number_add(d, r);
    timer_add(d, r);
    line_opened(d, r);
}

/* Not sent before this one came, and by the same rules: its answer is an answer for this one. */
bool forward_join(struct driver *d, struct request *r)
{
    if (d->gather_number == 0 || d->gather_level != (uint8_t)r->how.level ||
        d->gather_may_round != r->how.may_round)
        return false;
    r->number = d->gather_number;
    r->route = d->route;
    forward_opened(d, r);
    return true;
}

/* Whoever asked for a large value will ask for more of them; small ones are believed slowly. */
static void expect_answers(struct driver_line *line, size_t len)
{
    uint64_t now = line->answer_bytes;
    line->answer_bytes = len >= now ? len : now - (now - len) / 8;
}

/* One of those that the answer is for. */
static void request_told(struct driver *d, struct request *r, const struct wire_forward_answer *a)
{
    enum kelp_outcome outcome = (enum kelp_outcome)a->outcome;
    enum kelp_reason reason = (enum kelp_reason)a->reason;
    r->pos = a->pos;
    r->leader = a->leader;
    r->member = a->member;
    if (outcome == KELP_REFUSED && (reason == KELP_R_NOT_LEADER || reason == KELP_R_NO_LEADER)) {
        d->refused = r->route; /* and it never leads in that term again */
        d->route_stale = true;
        request_requeue(d, r);
        return;
    }
    bool index = r->kind == REQUEST_READ && !r->whole;
    if (index && outcome == KELP_DONE) {
        number_remove(d, r);
        d->forwarded_count--;
        r->clock = a->result.len == 8 ? load_u64(a->result.data) : 0; /* the leader's, just then */
        read_indexed(d, r, a->pos.index);
        return;
    }
    /* another's deadline, which asked for it */
    if (index && reason == KELP_R_TIMEOUT && r->deadline > d->now) {
        request_requeue(d, r);
        return;
    }
    if (outcome == KELP_DONE && r->kind == REQUEST_READ && r->pos.index < r->how.at_least) {
        request_close(d, r, KELP_REFUSED, KELP_R_BEHIND); /* it was heard to have that: never */
        return;
    }
    if (outcome == KELP_DONE && r->kind == REQUEST_READ && r->line != NULL) {
        expect_answers(r->line, a->result.len);
        /* On a way that keeps no order it may come behind one that was given later, to a read in
         * front of it: that waited where it was asked. */
        bool less = !r->plan && a->pos.index < r->line->index_told;
        if (less || !answer_fits(d, r, a->result.len)) {
            d->reads_again++;
            request_requeue(d, r);
            return;
        }
        read_told(d, r);
        r->line->index_told = max_u64(r->line->index_told, a->pos.index);
    }
    if (r->kind == REQUEST_READ && r->how.level == KELP_READ_STALE) r->aged_at = d->now;
    if (outcome == KELP_DONE) request_result(d, r, a->result);
    request_close(d, r, outcome, reason);
}

enum kelp_error forward_answered(struct driver *d, kelp_id from, uint64_t connection,
                                 struct kelp_bytes body, struct kelp_fault *fault)
{
    struct wire_forward_answer a;
    enum kelp_error error = wire_forward_answer_decode(body, &a, fault);
    if (error != KELP_OK) return error;
    struct request *r;
    while ((r = number_find(d, a.number)) != NULL && r->route.node == from &&
           r->route.connection == connection)
        request_told(d, r, &a); /* and then it has the number no more */
    return KELP_OK;
}
void forward_lost(struct driver *d, kelp_id peer, uint64_t connection)
{
    uint64_t stay = 0;
    for (size_t i = 1; i <= d->requests.buckets && d->forwarded_count > stay; i++) {
        /* about the oldest one first */
        size_t bucket = (d->forward_number + i) & (d->requests.buckets - 1);
        struct request *next;
        for (struct request *r = d->requests.numbers[bucket]; r != NULL; r = next) {
            next = r->bucket_next;
            if (r->route.node != peer || r->route.connection != connection) {
                stay++;
                continue;
            }
            if (r->kind == REQUEST_READ)
                request_requeue(d, r);
            else
                request_close(d, r, KELP_UNKNOWN, KELP_R_CONNECTION_LOST);
        }
    }
}

/* ---- the leader ---- */

/* True once for every number of a start, the newest start only. */
static bool forward_judge(struct driver *d, kelp_id from, const struct wire_forward *f)
{
    struct peer *p = peer_find(d, from);
    if (p == NULL || p->incarnation != f->incarnation) return false;
    if (p->judged_incarnation == f->incarnation) {
        if (f->start_count < p->judged_start) return false;
        if (f->start_count == p->judged_start && f->number <= p->judged_number) return false;
    }
    p->judged_incarnation = f->incarnation;
    p->judged_start = f->start_count;
    p->judged_number = f->number;
    return true;
}

/* A request of a peer that ends before it began. */
static void guest_decline(struct driver *d, struct request *r, enum kelp_reason reason)
{
    r->state = REQUEST_READING; /* the state that owns nothing */
    request_close(d, r, KELP_REFUSED, reason);
}

static void guest_write(struct driver *d, struct request *r, const struct wire_forward *f)
{
    enum kelp_reason reason = KELP_R_NONE;
    if (r->restores) reason = restore_gate(d, f->command, &r->member);
    if (reason != KELP_R_NONE) {
        guest_decline(d, r, reason);
        return;
    }
    struct wire_entry e = once_entry(r, f->command.len);
    e.extension = f->extension;
    if (f->extension.len > 0) e.flags |= WIRE_ENTRY_EXTENDED;
    uint8_t *room = clock_room(d, &e);
    if (room == NULL) {
        guest_decline(d, r, KELP_R_BUSY);
        return;
    }
    if (f->command.len > 0) memcpy(wire_entry_payload(&e, room), f->command.data, f->command.len);
    request_propose(d, r, &e, room);
}

static void guest_change(struct driver *d, struct request *r, const struct wire_forward *f)
{
    struct wire_change change;
    if (wire_change_decode(f->command, &change, NULL) != KELP_OK)
        guest_decline(d, r, KELP_R_BAD_CHANGE);
    else if (!request_keep(d, r, f->user, f->command))
        guest_decline(d, r, KELP_R_BUSY);
    else
        change_start(d, r);
}

bool forward_term_led(struct driver *d, uint64_t term)
{
    if (d->state != DRIVER_RUNNING || d->fault_due || d->closing) return false;
    const struct kelp_view *view = driver_look(d);
    return view->role == KELP_LEADER && view->term.v == term && d->led_term == term;
}

/* A peer's write that must wait: behind others, or until it is known who leads. */
static void guest_hold(struct driver *d, struct request *r, const struct wire_forward *f)
{
    if (request_keep(d, r, f->extension, f->command))
        handover_hold(d, r);
    else
        guest_decline(d, r, KELP_R_BUSY);
}

static void guest_begin(struct driver *d, struct request *r, const struct wire_forward *f)
{
    if (r->change || r->plan) {
        guest_change(d, r, f);
    } else if (r->kind == REQUEST_WRITE) {
        if (writes_wait(d, driver_look(d)) || !TAILQ_EMPTY(&d->guests))
            guest_hold(d, r, f);
        else
            guest_write(d, r, f);
    } else if (!request_keep(d, r, f->user, f->command)) {
        guest_decline(d, r, KELP_R_BUSY);
    } else if (r->kind == REQUEST_READ) {
        bool log = r->how.level == KELP_READ_LOG;
        if (log && (writes_wait(d, driver_look(d)) || !TAILQ_EMPTY(&d->guests)))
            handover_hold(d, r);
        else
            read_begin(d, r);
    } else {
        handover_start(d, r);
    }
}

static enum request_kind kind_asked(const struct wire_forward *f)
{
    switch ((enum wire_forward_kind)f->kind) {
    case WIRE_FORWARD_ONCE:
    case WIRE_FORWARD_RESTORE:
    case WIRE_FORWARD_CHANGE: /* ordered like a write */
    case WIRE_FORWARD_WRITE: return REQUEST_WRITE;
    case WIRE_FORWARD_PLAN: /* and this like a read */
    case WIRE_FORWARD_INDEX:
    case WIRE_FORWARD_READ: return REQUEST_READ;
    case WIRE_FORWARD_TRANSFER: return REQUEST_TRANSFER;
    }
    UNREACHABLE();
}

enum kelp_error forward_arrived(struct driver *d, kelp_id from, uint64_t connection,
                                struct kelp_bytes body, struct kelp_fault *fault)
{
    struct wire_forward f;
    enum kelp_error error = wire_forward_decode(body, &f, fault);
    if (error != KELP_OK) return error;
    if (!request_reserve(d) || !forward_judge(d, from, &f)) {
        d->forwards_dropped++;
        return KELP_OK;
    }
    struct request *r = request_take(d, NULL, kind_asked(&f));
    r->token = f.number;
    r->change = f.kind == WIRE_FORWARD_CHANGE;
    r->plan = f.kind == WIRE_FORWARD_PLAN;
    r->restores = f.kind == WIRE_FORWARD_RESTORE;
    r->bare = f.kind == WIRE_FORWARD_INDEX;
    r->once = (struct driver_once){.kind = (enum driver_once_kind)f.once,
                                   .once = {f.session, f.sequence, f.acknowledged}};
    r->how.level = (enum kelp_read_level)f.level;
    r->how.may_round = f.may_round;
    r->order = ++d->guest_order;
    r->route.term = f.term.v;
    r->origin = from;
    r->origin_connection = connection;
    r->deadline = add_sat(d->now, f.timeout_ns);
    d->guest_count++;
    const struct kelp_limits *limits = &d->options.core.limits;
    bool full = !core_has_room(d) ||
                d->guest_count > (uint64_t)limits->proposals_max + limits->reads_max ||
                f.user.len + f.extension.len + f.command.len >
                    sub_sat(d->options.forward_bytes_max, d->guest_bytes);
    if (!forward_term_led(d, f.term.v)) {
        r->leader = d->core != NULL ? driver_look(d)->leader : 0;
        guest_decline(d, r, KELP_R_NOT_LEADER);
    } else if (full) {
        guest_decline(d, r, KELP_R_BUSY);
    } else {
        guest_begin(d, r, &f);
    }
    return KELP_OK;
}

/* What of a closed request its sender is told. */
static struct wire_forward_answer answer_of(const struct request *r)
{
    struct wire_forward_answer a = {.number = r->token,
                                    .leader = r->leader,
                                    .pos = r->pos,
                                    .member = r->member,
                                    .outcome = (uint8_t)r->outcome,
                                    .reason = (uint16_t)r->reason};
    if (r->outcome == KELP_DONE) a.result = bytes_of(r->result, r->result_len);
    if (a.result.len > WIRE_FRAME_BODY_MAX - WIRE_FORWARD_HEAD_MAX) {
        /* What cannot be told must not be told as done with another result. */
        a.outcome = (uint8_t)(r->kind == REQUEST_READ ? KELP_REFUSED : KELP_UNKNOWN);
        a.reason = KELP_R_TOO_LARGE;
        a.result = bytes_of(NULL, 0);
    }
    return a;
}

/* KELP_E_LIMIT: the connection has no room for it now. */
static enum kelp_error forward_reply(struct driver *d, const struct request *r)
{
    struct wire_forward_answer a = answer_of(r);
    if (d->closing && r->outcome == KELP_REFUSED) { /* its sender asks whoever leads next */
        a.reason = KELP_R_NOT_LEADER;
        a.leader = 0;
    }
    uint8_t *fixed = scratch_take(d, WIRE_FORWARD_HEAD_MAX);
    if (fixed == NULL) return KELP_E_NO_MEMORY;
    size_t len = wire_forward_answer_encode(&a, fixed);
    return frame_send(d, WIRE_FORWARD_ANSWER, r->origin, r->origin_connection, bytes_of(fixed, len),
                      a.result, bytes_of(NULL, 0));
}

/* Wait with it until its connection has room, in bounds: beyond them it goes without its result. */
static void reply_wait(struct driver *d, struct request *r, struct request_list *waiting)
{
    if (r->result_len > sub_sat(d->options.forward_bytes_max, d->answer_bytes)) {
        request_result_drop(d, r);
        r->outcome = r->kind == REQUEST_READ ? KELP_REFUSED : KELP_UNKNOWN;
        r->reason = KELP_R_BUSY;
    }
    d->answer_bytes += r->result_len;
    struct peer *p = peer_find(d, r->origin);
    if (p != NULL) p->reply_bytes += r->result_len;
    TAILQ_INSERT_TAIL(waiting, r, link);
    d->retry_at = min_u64(d->retry_at, d->now + RETRY_NS);
}

static void replies_begin(struct driver *d)
{
    d->answer_bytes = 0;
    for (size_t i = 0; i < d->peer_count; i++) {
        d->peers[i]->replies_waited = d->peers[i]->reply_bytes > 0;
        d->peers[i]->reply_bytes = 0;
    }
}

void forward_reply_all(struct driver *d)
{
    struct request_list waiting = TAILQ_HEAD_INITIALIZER(waiting);
    struct request *r;
    replies_begin(d);
    while ((r = TAILQ_FIRST(&d->answers)) != NULL) {
        TAILQ_REMOVE(&d->answers, r, link);
        /* On a connection that is gone it is lost, and so it is without memory: the sender's
         * deadline ends it. */
        if (forward_reply(d, r) == KELP_E_LIMIT)
            reply_wait(d, r, &waiting);
        else
            request_recycle(d, r);
    }
    TAILQ_CONCAT(&d->answers, &waiting, link);
    for (size_t i = 0; i < d->peer_count; i++) {
        struct peer *p = d->peers[i];
        if (p->replies_waited && p->reply_bytes == 0 && p->asker.stands) d->query_more = true;
    }
}
