/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - clients: each has one line on one node and pipelines reads and writes of registers.
 *
 * Values are unique: the number of the request. Names of registers rotate, so that no history gets
 * long. An outcome is told inside a driver's run; it is judged after the checker has seen the node,
 * whose commit may be news of the same run. When its node dies a client moves on: what was open is
 * of unknown outcome, and its values may still appear. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/min.h"
#include "sim/linear.h"
#include "sim/world.h"

#define MS             ((kelp_ns)1000000)
#define USES_OF_A_NAME 250u
#define LATE_MAX       (250 * MS) /* an outcome may come so long after its deadline */

/* ---- making ---- */

bool clients_make(struct world *w)
{
    struct clients *all = &w->clients;
    all->names_used = w->swarm.registers;
    for (uint32_t i = 0; i < w->swarm.registers; i++)
        all->register_names[i] = i;
    for (uint32_t i = 0; i < w->swarm.clients; i++) {
        all->clients[i] = (struct client){.number = i};
        world_push(w, draw_below(stream(w, STREAM_CLIENT), 1000 * MS), EVENT_CLIENT, 0, i, NULL);
    }
    return true;
}

void clients_unmake(struct world *w)
{
    free(w->clients.outcomes);
    free(w->clients.history);
    free(w->clients.history_names);
}

/* ---- history ---- */

static void history_add(struct world *w, const struct request *q, kelp_ns back, uint64_t value)
{
    struct clients *all = &w->clients;
    if (all->history_count == all->history_room) {
        size_t room = max_u64(2 * all->history_room, 2048);
        struct linear_operation *history = realloc(all->history, room * sizeof *history);
        if (history != NULL) all->history = history;
        uint32_t *names = realloc(all->history_names, room * sizeof *names);
        if (names != NULL) all->history_names = names;
        if (history == NULL || names == NULL) {
            checker_fail(w->checker, RULE_W02, "no memory for a history");
            return;
        }
        all->history_room = room;
    }
    all->history[all->history_count] =
        (struct linear_operation){.call = q->call, .back = back, .value = value, .read = q->read};
    all->history_names[all->history_count++] = q->name;
}

/* Every register by itself: one pass sorts the operations into runs of one name. */
bool clients_history_check(struct world *w)
{
    struct clients *all = &w->clients;
    uint32_t names = all->names_used;
    size_t *begin = calloc(names + 2, sizeof *begin);
    struct linear_operation *sorted = calloc(all->history_count + 1, sizeof *sorted);
    bool good = begin != NULL && sorted != NULL;
    if (!good) checker_fail(w->checker, RULE_W02, "no memory for a history");
    for (size_t i = 0; good && i < all->history_count; i++)
        begin[all->history_names[i] + 1]++;
    for (uint32_t name = 0; good && name < names; name++)
        begin[name + 1] += begin[name];
    for (size_t i = 0; good && i < all->history_count; i++)
        sorted[begin[all->history_names[i]]++] = all->history[i];
    for (uint32_t name = 0; good && name < names; name++) {
        size_t from = name > 0 ? begin[name - 1] : 0;
        uint64_t values[2];
        enum linear_verdict verdict = linear_check(sorted + from, begin[name] - from, values);
        if (verdict == LINEAR_GOOD) continue;
        checker_fail(w->checker, RULE_S02, "register %u: %s: values %llx and %llx", name,
                     linear_words(verdict), (unsigned long long)values[0],
                     (unsigned long long)values[1]);
        good = false;
    }
    free(begin);
    free(sorted);
    return good;
}

/* ---- outcomes ---- */

static void client_told(void *ctx, uint64_t token, const struct driver_outcome *told)
{
    struct world *w = ctx;
    struct clients *all = &w->clients;
    uint32_t number = (uint32_t)(token & 0xff);
    struct client *c = &all->clients[number % CLIENTS_MAX];
    if (c->count == 0 || c->open[c->first].token != token) {
        checker_fail(w->checker, RULE_S01, "client %u is answered %llx; it waits for %llx", number,
                     (unsigned long long)token,
                     (unsigned long long)(c->count > 0 ? c->open[c->first].token : 0));
        return;
    }
    if (all->outcome_count == all->outcome_room) {
        size_t room = max_u64(2 * all->outcome_room, 64);
        struct outcome *outcomes = realloc(all->outcomes, room * sizeof *outcomes);
        if (outcomes == NULL) {
            checker_fail(w->checker, RULE_W02, "no memory for outcomes");
            return;
        }
        all->outcomes = outcomes;
        all->outcome_room = room;
    }
    struct outcome *o = &all->outcomes[all->outcome_count++];
    *o = (struct outcome){.client = number,
                          .request = c->open[c->first],
                          .outcome = told->outcome,
                          .reason = told->reason,
                          .pos = told->pos,
                          .result_len = told->result.len};
    if (told->result.len > 0)
        memcpy(o->result, told->result.data, min_u64(told->result.len, sizeof o->result));
    c->first = (c->first + 1) % PIPELINE_MAX;
    c->count--;
}

static void outcome_breaks(struct world *w, struct outcome *o)
{
    if (o->outcome != KELP_UNKNOWN || o->request.read) return;
    if (w->options.broken == KELP_SIM_BREAK_FALSE_DONE) o->outcome = KELP_DONE;
    if (w->options.broken == KELP_SIM_BREAK_FALSE_REFUSED) o->outcome = KELP_REFUSED;
}

static void request_trace(struct world *w, const struct client *c, const struct request *q,
                          const char *what, kelp_index at, uint64_t value)
{
    char line[160];
    if (w->options.trace == NULL) return;
    (void)snprintf(line, sizeof line,
                   "client %u on node %u: %s %llx of register %u: %s at %llu, %llx", c->number,
                   c->node + 1u, q->read ? "read" : "write", (unsigned long long)q->token, q->name,
                   what, (unsigned long long)at, (unsigned long long)value);
    w->options.trace(w->options.trace_ctx, line);
}

static void outcome_judge(struct world *w, struct outcome *o)
{
    struct clients *all = &w->clients;
    struct client *c = &all->clients[o->client];
    struct kelp_bytes result = {o->result, min_u64(o->result_len, sizeof o->result)};
    const struct request *q = &o->request;
    const struct kelp_sim_workload *own = w->options.workload;
    if (own != NULL && own->outcome != NULL)
        own->outcome(own->ctx, o->client, q->token, o->outcome, o->reason, o->pos, result);
    if (own != NULL) return;
    request_trace(w, c, q, kelp_reason_name(o->reason), o->pos.index,
                  result.len == 8 ? load_u64(result.data) : 0);
    request_trace(w, c, q, kelp_outcome_name(o->outcome), o->pos.index, q->value);
    struct checker_request asked = {q->name, q->value, q->read, q->commit_at_call, &c->floor};
    checker_answered(w->checker, &asked, o->outcome, o->pos, result);
    if (o->outcome == KELP_DONE && result.len == 8)
        history_add(w, q, w->now, q->read ? load_u64(result.data) : q->value);
    if (o->outcome == KELP_UNKNOWN && !q->read) history_add(w, q, KELP_NEVER, q->value);
}

static void outcome_count(struct world *w, const struct outcome *o)
{
    switch (o->outcome) {
    case KELP_DONE:
        w->report->done++;
        if (w->healing && !o->request.read) w->clients.done_after_heal++;
        return;
    case KELP_REFUSED: w->report->refused++; return;
    case KELP_LOST: w->report->lost++; return;
    case KELP_UNKNOWN: w->report->unknown++; return;
    }
}

void clients_judge(struct world *w)
{
    struct clients *all = &w->clients;
    for (size_t i = 0; i < all->outcome_count && !world_failed(w); i++) {
        outcome_breaks(w, &all->outcomes[i]);
        outcome_judge(w, &all->outcomes[i]);
        outcome_count(w, &all->outcomes[i]);
    }
    all->outcome_count = 0;
}

/* Requests whose deadline passed long ago on a node that runs. */
void clients_judge_late(struct world *w)
{
    for (uint32_t i = 0; i < w->swarm.clients; i++) {
        const struct client *c = &w->clients.clients[i];
        const struct node *n = &w->nodes[c->node];
        if (c->count == 0 || n->state != NODE_UP) continue;
        if (node_paused(n) || min_u64(n->wake, n->apply_end) <= w->now) continue; /* no turn yet */
        const struct request *q = &c->open[c->first];
        if (node_clock(n) > q->deadline + LATE_MAX)
            checker_fail(w->checker, RULE_L04,
                         "node %u has not answered client %u, %llu ms after the deadline",
                         c->node + 1u, i, (unsigned long long)((node_clock(n) - q->deadline) / MS));
    }
}

bool clients_idle(const struct world *w)
{
    for (uint32_t i = 0; i < w->swarm.clients; i++) {
        const struct client *c = &w->clients.clients[i];
        enum node_state state = w->nodes[c->node].state;
        if (c->count > 0 && (state == NODE_UP || state == NODE_FAULTED)) return false;
    }
    return true;
}

/* ---- asking ---- */

static void client_abandon(struct world *w, struct client *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const struct request *q = &c->open[(c->first + i) % PIPELINE_MAX];
        if (!q->read && w->options.workload == NULL) history_add(w, q, KELP_NEVER, q->value);
        w->report->abandoned++;
    }
    c->count = 0;
    c->line = NULL;
}

void clients_node_dies(struct node *n)
{
    struct world *w = n->world;
    clients_judge(w); /* what was told before it died counts */
    for (uint32_t i = 0; i < w->swarm.clients; i++) {
        struct client *c = &w->clients.clients[i];
        if (c->line != NULL && c->node == n->slot) client_abandon(w, c);
    }
}

/* A line on a node that runs; sometimes another one than before. */
static bool client_line(struct world *w, struct client *c)
{
    struct draw *draw = stream(w, STREAM_CLIENT);
    bool move = c->count == 0 && draw_chance(draw, 1, 16);
    if (c->line != NULL && w->nodes[c->node].state == NODE_UP && !move) return true;
    if (c->line != NULL) {
        if (c->count > 0) return false; /* its node is faulted: wait for what it still answers */
        driver_line_close(w->nodes[c->node].driver, c->line);
        c->line = NULL;
    }
    uint64_t slot = c->number + c->tries++ + draw_below(draw, w->node_count);
    struct node *n = &w->nodes[slot % w->node_count];
    if (n->state != NODE_UP) return false;
    c->node = n->slot;
    c->life = n->life;
    c->floor = 0;
    c->line = driver_line_open(n->driver, client_told, w);
    return c->line != NULL;
}

static uint32_t register_pick(struct world *w)
{
    struct clients *all = &w->clients;
    uint32_t slot = (uint32_t)draw_below(stream(w, STREAM_CLIENT), w->swarm.registers);
    if (++all->register_uses[slot] > USES_OF_A_NAME && all->names_used < MACHINE_REGISTERS) {
        all->register_uses[slot] = 0;
        all->register_names[slot] = all->names_used++;
    }
    return all->register_names[slot];
}

/* The bytes of the next request into out. */
static size_t request_make(struct world *w, struct client *c, struct request *q, uint8_t *out)
{
    struct draw *draw = stream(w, STREAM_CLIENT);
    q->token = ++w->clients.tokens << 8 | c->number;
    if (w->options.workload != NULL)
        return w->options.workload->next(w->options.workload->ctx, c->number, q->token,
                                         draw_bytes(draw, 8), &q->read, out);
    q->read = draw_below(draw, 100) >= 100 - w->swarm.read_percent; /* zeros write */
    q->name = register_pick(w);
    q->value = q->read ? 0 : q->token;
    machine_encode(&(struct machine_request){q->name, q->value}, out);
    if (q->read || w->swarm.filling == 0) return MACHINE_REQUEST_BYTES;
    size_t filling = (size_t)draw_below(draw, w->swarm.filling + 1);
    memset(out + MACHINE_REQUEST_BYTES, (int)(q->token & 0xff), filling);
    return MACHINE_REQUEST_BYTES + filling;
}

static void stale_reply(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct outcome *o = sink;
    (void)i;
    memcpy(o->result, bytes.data, min_u64(bytes.len, sizeof o->result));
    o->result_len = bytes.len;
}

/* KELP_SIM_BREAK_STALE_READ: what a read would be without asking anybody. */
static void stale_read(struct world *w, struct client *c, const struct request *q,
                       struct kelp_bytes question)
{
    struct outcome o = {.client = c->number, .request = *q, .outcome = KELP_DONE};
    rsm_query(w->nodes[c->node].rsm, question, stale_reply, &o);
    outcome_judge(w, &o);
}

/* false: it was refused at once. */
static bool request_submit(struct world *w, struct client *c, struct request *q,
                           struct kelp_bytes bytes)
{
    struct node *n = &w->nodes[c->node];
    kelp_ns now = node_clock(n);
    bool forward = draw_below(stream(w, STREAM_CLIENT), 100) < 100 - w->swarm.local_percent;
    struct kelp_bytes user = BYTES_LITERAL("client");
    q->call = w->now;
    q->deadline = now + w->swarm.deadline;
    q->commit_at_call = checker_commit(w->checker);
    w->report->requests++;
    request_trace(w, c, q, "asked", q->commit_at_call, q->value);
    if (q->read && w->options.broken == KELP_SIM_BREAK_STALE_READ) {
        stale_read(w, c, q, bytes);
        return false;
    }
    uint8_t *room = NULL;
    enum kelp_reason reason;
    if (!q->read) {
        room = driver_reserve(n->driver, bytes.len, &reason);
        if (room == NULL) {
            w->report->refused++;
            return false;
        }
        memcpy(room, bytes.data, bytes.len);
    }
    c->open[(c->first + c->count++) % PIPELINE_MAX] = *q;
    if (q->read)
        driver_read(n->driver, now, c->line, q->token, bytes, user, q->deadline, forward);
    else
        driver_write(n->driver, now, c->line, q->token, bytes.len, user, q->deadline, forward);
    return true;
}

static void client_burst(struct world *w, struct client *c)
{
    uint8_t bytes[KELP_SIM_REQUEST_MAX];
    uint64_t wanted = draw_between(stream(w, STREAM_CLIENT), 1, w->swarm.pipeline);
    for (uint64_t i = 0; i < wanted && c->count < w->swarm.pipeline && !world_failed(w); i++) {
        struct request q = {0};
        size_t len = request_make(w, c, &q, bytes);
        (void)request_submit(w, c, &q, (struct kelp_bytes){bytes, len});
    }
}

struct node *client_node(struct world *w, uint32_t number)
{
    const struct client *c = &w->clients.clients[number];
    return c->line != NULL ? &w->nodes[c->node] : NULL;
}

void client_wakes(struct world *w, uint32_t number)
{
    struct client *c = &w->clients.clients[number];
    if (w->clients.stopped) return;
    world_trace(w, EVENT_CLIENT, c->node, number);
    if (client_line(w, c) && !node_paused(&w->nodes[c->node])) {
        client_burst(w, c);
        node_run(&w->nodes[c->node]);
    }
    kelp_ns after = 2 * w->swarm.think - draw_below(stream(w, STREAM_CLIENT), 2 * w->swarm.think);
    world_push(w, w->now + after, EVENT_CLIENT, 0, number, NULL);
}
