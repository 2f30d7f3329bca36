/* SPDX-License-Identifier: Apache-2.0 */
/* retry.c - clients that do not give up: what they write is in a session, or under a key, and asked
 * again wherever they find a node until its outcome is known.                         [§6.3]
 *
 *   drawn --> open --DONE--> judged with the time of the first attempt
 *               |
 *               `--UNKNOWN, refused, node gone--> waits --> open, the same bytes, another node
 *
 * Now and then one gives a number up, and what comes of it afterwards is nothing; now and then one
 * names a session that never was. What was only ever refused may be given up as refused. To the
 * history an operation is one, however many attempts it took. */
#include "base/min.h"
#include "sim/world.h"

#define UNKNOWN_SESSION ((uint64_t)1 << 50) /* more than any index of a run */

static bool retries(const struct world *w, const struct client *c)
{
    return c->number >= w->swarm.clients - w->swarm.once && w->options.workload == NULL;
}

/* Who asks again after an hour with a key asks for something new. */
static bool clocks_jump(const struct world *w)
{
    return w->swarm.weights[FAULT_SUSPEND] + w->swarm.weights[FAULT_CLOCK_JUMP] > 0;
}

/* Everything below what is open or waits is over for it. */
static uint64_t acknowledged(const struct client *c)
{
    uint64_t least = c->once.sequence + 1;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct request *q = &c->open[(c->first + i) % PIPELINE_MAX];
        if (q->once.kind == DRIVER_ONCE_COMMAND && q->once.once.session == c->once.session)
            least = min_u64(least, q->once.once.sequence);
    }
    for (uint32_t i = 0; i < c->once.count; i++) {
        const struct request *q = &c->once.waits[i];
        if (q->once.once.session == c->once.session) least = min_u64(least, q->once.once.sequence);
    }
    return least - 1;
}

bool retry_next(struct world *w, struct client *c, struct request *q)
{
    if (c->once.count == 0) return false;
    uint64_t token = q->token;
    *q = c->once.waits[0];
    q->token = token;
    for (uint32_t i = 1; i < c->once.count; i++)
        c->once.waits[i - 1] = c->once.waits[i];
    c->once.count--;
    w->report->retried++;
    return true;
}

void retry_draw(struct world *w, struct client *c, struct request *q)
{
    struct draw *draw = stream(w, STREAM_CLIENT);
    if (!retries(w, c) || q->read) return;
    q->once.kind = DRIVER_ONCE_COMMAND;
    q->process = ++w->clients.processes; /* it may be open longer than its place is its own */
    bool key = draw_chance(draw, 1, 4) && !clocks_jump(w);
    if (c->once.session == 0 && !c->once.opening && !key) {
        q->once.kind = DRIVER_ONCE_SESSION;
        q->value = 0;
        c->once.opening = true;
    } else if (c->once.session == 0 || key) {
        q->once.once.sequence = draw_bytes(draw, 8);
        q->once.once.acknowledged = q->value; /* no two alike */
    } else if (draw_chance(draw, 1, 64)) {
        q->once.once = (struct kelp_once){.session = UNKNOWN_SESSION + q->value, .sequence = 1};
    } else {
        q->once.once.session = c->once.session;
        q->once.once.acknowledged = acknowledged(c);
        q->once.once.sequence = ++c->once.sequence;
    }
}

/* The history is told what became of it. */
static void given_up(struct world *w, const struct request *q, enum kelp_outcome outcome)
{
    record_answer(w, q, outcome, (struct kelp_bytes){NULL, 0});
}

bool retry_waits(struct world *w, struct client *c, struct request *q, enum kelp_outcome outcome,
                 enum kelp_reason reason)
{
    struct draw *draw = stream(w, STREAM_CLIENT);
    if (q->once.kind == DRIVER_ONCE_NOT || outcome == KELP_DONE) return false;
    if (q->once.kind == DRIVER_ONCE_SESSION) { /* another one, and this one ends by itself */
        c->once.opening = false;
        return true;
    }
    q->uncertain = q->uncertain || outcome == KELP_UNKNOWN;
    bool definite = reason == KELP_R_UNKNOWN_SESSION || reason == KELP_R_SEQUENCE_OVER;
    if (reason == KELP_R_UNKNOWN_SESSION && q->once.once.session == c->once.session)
        c->once.session = 0; /* another one */
    bool ends = q->uncertain ? draw_chance(draw, 1, 16) : draw_chance(draw, 1, 2);
    if (definite || ends || c->once.count == COUNT_OF(c->once.waits)) {
        given_up(w, q, q->uncertain ? KELP_UNKNOWN : KELP_REFUSED);
        if (!q->uncertain) checker_never(w->checker, q->value);
        return true;
    }
    c->once.waits[c->once.count++] = *q;
    return true;
}

void retry_done(struct client *c, const struct request *q, struct kelp_pos pos)
{
    if (q->once.kind != DRIVER_ONCE_SESSION) return;
    c->once.session = pos.index;
    c->once.sequence = 0;
    c->once.opening = false;
}

void retry_end(struct world *w, struct client *c)
{
    for (uint32_t i = 0; i < c->once.count; i++)
        given_up(w, &c->once.waits[i], c->once.waits[i].uncertain ? KELP_UNKNOWN : KELP_REFUSED);
    c->once.count = 0;
}
