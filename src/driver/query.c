/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - reads that may be served, in turns, and how many answers may wait for their clients.
 *
 *   circle   [line 3] [line 8] [peer 2]      each with a queue of reads; the first one is next,
 *               |                            gives one read to the machine and goes to the end
 *
 * A client that asks for much must not delay the others by more than one of its answers, so turns
 * go around by lines, and by peers for what they forward: which of its lines a forward comes from
 * is not told. A run makes at most a mebibyte of answers, then the sockets have their turn.
 * A line whose client does not take its answers is full: it leaves the circle and starts nothing,
 * so answers are made as they are taken. All lines together are bounded as well, by
 * answer_bytes_max; a line with nothing waiting may go beyond it, up to twice as much, so that
 * those who take nothing do not keep out those who do. A peer whose connection has no room is
 * passed over. The answers to reads that were forwarded come as they come: what does not fit is
 * dropped and its read, which has no effect, asked for anew with everything behind it.
 * A read that takes long (KEYS) goes on in pieces, one a run, beside the others; nothing is applied
 * until it is done, so that it sees one state, and before another one begins what was committed
 * meanwhile is applied.
 * Invariants: an asker stands in the circle exactly while its queue is not empty and its line is
 * not full; a request with an asker is QUERYING. */
#include "driver/room.h"

static uint64_t answers_max(const struct driver *d)
{
    return d->options.answer_bytes_max != 0 ? d->options.answer_bytes_max : ANSWERS_STANDARD;
}

bool answers_fit(const struct driver *d, const struct driver_line *line)
{
    uint64_t max = answers_max(d);
    return d->made_bytes < (line->made + line->backlog > 0 ? max : 2 * max);
}

bool answer_may_come(const struct driver *d, const struct driver_line *line)
{
    if (!answers_fit(d, line)) return false;
    if (line->made + line->backlog == 0) return true;
    return d->made_bytes + line->answer_bytes <= answers_max(d);
}

bool answer_fits(const struct driver *d, const struct request *r, size_t len)
{
    const struct driver_line *line = r->line;
    /* An earlier one of the line is asked anew: told behind its answer, this one would be older. */
    if (line->next != NULL && line->next->order < r->order) return false;
    if (line->made + line->backlog == 0) return d->made_bytes < 2 * answers_max(d);
    return line->made + line->backlog + len <= LINE_ANSWERS_MAX &&
           d->made_bytes + len <= answers_max(d);
}

void asker_init(struct asker *a, struct driver_line *line, struct peer *peer)
{
    *a = (struct asker){.line = line, .peer = peer};
    TAILQ_INIT(&a->queue);
}

static void asker_update(struct driver *d, struct asker *a)
{
    bool stands = !TAILQ_EMPTY(&a->queue) && (a->line == NULL || !a->line->full);
    if (stands == a->stands) return;
    a->stands = stands;
    if (stands) {
        TAILQ_INSERT_TAIL(&d->askers, a, link);
        d->asker_count++;
        d->query_more = true;
    } else {
        TAILQ_REMOVE(&d->askers, a, link);
        d->asker_count--;
    }
}

void query_add(struct driver *d, struct request *r)
{
    struct peer *p = r->line == NULL ? peer_find(d, r->origin) : NULL;
    if (r->line == NULL && p == NULL) { /* its connection is gone, and nobody hears the answer */
        request_close(d, r, KELP_REFUSED, KELP_R_CONNECTION_LOST);
        return;
    }
    r->asker = r->line != NULL ? &r->line->asker : &p->asker;
    TAILQ_INSERT_TAIL(&r->asker->queue, r, asker_link);
    asker_update(d, r->asker);
    timer_add(d, r);
}

/* What was committed meanwhile is applied before another one holds it up. */
static void walk_over(struct driver *d)
{
    d->walk = NULL;
    d->walk_after = d->apply_to;
    if (d->asker_count > 0) d->query_more = true;
}

/* The machine hears of it in queries_run: this may be a frame that came in. */
static void walk_end(struct driver *d, struct request *r)
{
    walk_over(d);
    ASSERT(d->walk_ended == 0); /* none begins before it was told */
    d->walk_ended = r->handle;
    d->query_more = true;
}

void walk_end_tell(struct driver *d)
{
    uint64_t token = d->walk_ended;
    d->walk_ended = 0;
    if (token != 0) d->ports.machine->query_end(d->ports.machine_ctx, token);
}

void query_remove(struct driver *d, struct request *r)
{
    struct asker *a = r->asker;
    if (r == d->walk) walk_end(d, r);
    if (a == NULL) return; /* the machine has it */
    TAILQ_REMOVE(&a->queue, r, asker_link);
    r->asker = NULL;
    asker_update(d, a);
}

static enum kelp_query machine_ask(struct driver *d, struct request *r, int may_begin)
{
    return d->ports.machine->query(d->ports.machine_ctx, r->handle,
                                   bytes_of(r->bytes + r->user_len, r->len), may_begin);
}

/* May a long one begin? Not before what is with the machine, or on its way there, is applied, and
 * not while a snapshot is about to take the place of what it would walk over. */
static bool walk_may_begin(const struct driver *d)
{
    return d->walk == NULL && d->applied >= d->walk_after && d->apply_open == 0 &&
           !d->apply_reading && !fetch_holds_apply(d);
}

/* False: it is a long one and has to wait. */
static bool query_serve(struct driver *d, struct request *r)
{
    ASSERT(r->state == REQUEST_QUERYING);
    struct asker *a = r->asker;
    query_remove(d, r);
    if (r->line != NULL && r->line->closed) { /* nobody is listening */
        request_close(d, r, KELP_REFUSED, KELP_R_SHUTDOWN);
        return true;
    }
    if (read_hollow(d)) { /* which was not known when it was asked */
        request_close(d, r, KELP_REFUSED, KELP_R_LOADING);
        return true;
    }
    if (!read_fresh(d, r)) {
        request_close(d, r, KELP_REFUSED, KELP_R_STALE_BEYOND);
        return true;
    }
    switch (machine_ask(d, r, walk_may_begin(d))) {
    case KELP_QUERY_DONE:
        d->query_left = sub_sat(d->query_left, QUERY_COST + r->result_len);
        return true;
    case KELP_QUERY_MORE:
        ASSERT(d->walk == NULL);
        d->walk = r;
        d->walk_stepped = d->query_more = true;
        d->query_left = sub_sat(d->query_left, WALK_COST);
        return true;
    case KELP_QUERY_BUSY:
        r->asker = a;
        TAILQ_INSERT_HEAD(&a->queue, r, asker_link);
        asker_update(d, a);
        return false;
    }
    UNREACHABLE();
}

/* One piece a run; in between everybody else has its turn. Its line may be full meanwhile: what is
 * held up by it is held up for all. */
static bool walk_step(struct driver *d)
{
    struct request *r = d->walk;
    if (r == NULL || d->walk_stepped) return false;
    d->walk_stepped = true;
    if (r->line != NULL && r->line->closed) {
        request_close(d, r, KELP_REFUSED, KELP_R_SHUTDOWN);
        return true;
    }
    d->query_left = sub_sat(d->query_left, WALK_COST);
    d->walk = NULL; /* its answer closes it */
    enum kelp_query state = machine_ask(d, r, 0);
    ASSERT(state != KELP_QUERY_BUSY);
    if (state == KELP_QUERY_DONE)
        walk_over(d);
    else
        d->walk = r;
    return true;
}

bool queries_run(struct driver *d)
{
    d->query_more = false;
    walk_end_tell(d);
    if (fetch_stands_apart(d)) return false;
    bool any = walk_step(d);
    walk_end_tell(d);  /* before another one begins */
    size_t passed = 0; /* in a row: when everybody was, nobody can be served */
    struct asker *a;
    while ((a = TAILQ_FIRST(&d->askers)) != NULL && passed < d->asker_count) {
        if (d->query_left == 0) {
            d->query_more = true; /* in the next run */
            break;
        }
        TAILQ_REMOVE(&d->askers, a, link); /* whoever had its turn waits for those behind it */
        TAILQ_INSERT_TAIL(&d->askers, a, link);
        bool may = a->line != NULL ? answers_fit(d, a->line) : a->peer->reply_bytes == 0;
        may = may && query_serve(d, TAILQ_FIRST(&a->queue));
        passed = may ? 0 : passed + 1;
        any = any || may;
    }
    if (d->walk != NULL) d->query_more = true;
    return any;
}

/* ---- full lines ---- */

/* What stood still with its line gets the time back. */
static void deadlines_shift(struct driver *d, struct driver_line *line)
{
    struct request *r;
    TAILQ_FOREACH(r, &line->requests, link)
    {
        if ((r->state != REQUEST_QUEUED && r->asker == NULL) || r->deadline == KELP_NEVER) continue;
        timer_remove(d, r);
        r->deadline = add_sat(r->deadline, sub_sat(d->now, max_u64(line->full_since, r->since)));
        timer_add(d, r);
    }
}

static void line_weigh(struct driver *d, struct driver_line *line)
{
    bool full = line->backlog > (line->full ? LINE_ANSWERS / 2 : LINE_ANSWERS);
    if (full == line->full) return;
    line->full = full;
    if (full) {
        line->full_since = d->now;
    } else {
        deadlines_shift(d, line);
        line_ready(d, line);
    }
    asker_update(d, &line->asker);
}

bool driver_line_backlog(struct driver *d, struct driver_line *line, uint64_t bytes)
{
    bool was_full = line->full, was_many = d->made_bytes >= answers_max(d);
    d->made_bytes = d->made_bytes - line->backlog + bytes;
    line->backlog = bytes;
    line_weigh(d, line);
    bool relief = was_many && d->made_bytes < answers_max(d) && d->asker_count > 0;
    if (relief) d->query_more = true;
    return relief || (was_full && !line->full);
}
