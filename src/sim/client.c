/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - clients: each has one line on one node and pipelines what the seed's mix says: reads
 * and writes of registers, compare-and-set, counters, lists, several registers at once.
 *
 * Values are unique: the number of the request. Names rotate, so that no history gets long; those
 * of one kind of request are of no other kind, so that each history has the fastest judge. An
 * outcome is told inside a driver's run; it is judged after the checker has seen the node, whose
 * commit may be news of the same run. When its node dies a client moves on: what was open is of
 * unknown outcome, and its values may still appear. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/min.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS       ((kelp_ns)1000000)
#define LATE_MAX (250 * MS) /* an outcome may come so long after its deadline */

/* ---- names ---- */

struct names { /* of one kind: how many at once, each for how many uses, each how many registers */
    uint32_t slots, uses, width;
};

static struct names names_of(const struct world *w, unsigned kind)
{
    switch ((enum machine_kind)kind) {
    case MACHINE_SET: return (struct names){w->swarm.registers, 250, 1};
    case MACHINE_SWAP: return (struct names){4, 200, 1};
    case MACHINE_COUNT: return (struct names){2, 250, 1};
    case MACHINE_APPEND: return (struct names){4, 50, 0}; /* appends only; below MACHINE_LIST_MAX */
    case MACHINE_SEVERAL: return (struct names){1, 140, 3};
    case MACHINE_LEND: return (struct names){w->swarm.shares[MACHINE_LEND] > 0 ? 8 : 0, 120, 1};
    case MACHINE_KINDS: break;
    }
    return (struct names){0};
}

/* Give a slot a new name; without any left it keeps the one it has. */
static void name_next(struct world *w, unsigned kind, struct name_slot *slot)
{
    struct clients *all = &w->clients;
    uint32_t width = names_of(w, kind).width;
    uint32_t room = kind == MACHINE_APPEND ? MACHINE_NAMES - MACHINE_REGISTERS - all->lists_used
                                           : MACHINE_REGISTERS - all->registers_used;
    if (room <= width) return;
    *slot = (struct name_slot){.name = all->registers_used};
    if (kind == MACHINE_APPEND)
        slot->name = MACHINE_REGISTERS + ++all->lists_used;
    else
        all->registers_used += width;
}

/* A name for a request of this kind; a list ages only by what is appended. */
static struct name_slot *name_pick(struct world *w, unsigned kind, bool read)
{
    struct names names = names_of(w, kind);
    struct name_slot *slot =
        &w->clients.names[kind][draw_below(stream(w, STREAM_CLIENT), names.slots)];
    slot->uses += kind != MACHINE_APPEND || !read;
    if (slot->uses > names.uses) name_next(w, kind, slot);
    return slot;
}

/* ---- making ---- */

bool clients_make(struct world *w)
{
    struct clients *all = &w->clients;
    for (unsigned kind = 0; kind < MACHINE_KINDS; kind++) {
        for (uint32_t i = 0; i < names_of(w, kind).slots; i++)
            name_next(w, kind, &all->names[kind][i]);
    }
    for (uint32_t i = 0; i < w->swarm.clients; i++) {
        all->clients[i] = (struct client){.number = i};
        for (uint32_t k = 0; k < PIPELINE_MAX; k++)
            all->clients[i].processes[k] = ++all->processes;
        world_push(w, draw_below(stream(w, STREAM_CLIENT), 1000 * MS), EVENT_CLIENT, 0, i, NULL);
    }
    return true;
}

void clients_unmake(struct world *w)
{
    free(w->clients.outcomes);
    free(w->clients.marks);
    record_free(&w->clients.record);
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

static const char *request_verb(const struct request *q)
{
    if (q->read) return "reads";
    switch ((enum machine_kind)q->more.kind) {
    case MACHINE_SET: return "writes";
    case MACHINE_SWAP: return "swaps";
    case MACHINE_COUNT: return "counts";
    case MACHINE_APPEND: return "appends to";
    case MACHINE_SEVERAL: return "writes several,";
    case MACHINE_LEND: return "lends";
    case MACHINE_KINDS: break;
    }
    return "asks";
}

static void asked_trace(struct world *w, const struct client *c, const struct request *q)
{
    char words[96], value[40] = "";
    if (w->tracer == NULL) return;
    if (!q->read && q->more.kind != MACHINE_COUNT)
        (void)snprintf(value, sizeof value, " = %llx", (unsigned long long)q->value);
    (void)snprintf(words, sizeof words, "%s r%u%s", request_verb(q), q->name, value);
    trace_client_told(w, KELP_SIM_ASKED, c->node, c->number, q->token, words);
}

static void answered_trace(struct world *w, const struct outcome *o)
{
    char words[160];
    if (w->tracer == NULL) return;
    const struct client *c = &w->clients.clients[o->client];
    const struct request *q = &o->request;
    if (o->outcome != KELP_DONE)
        (void)snprintf(words, sizeof words, "%s r%u: %s %s", request_verb(q), q->name,
                       kelp_outcome_name(o->outcome), kelp_reason_name(o->reason));
    else if (q->read && o->result_len >= 8)
        (void)snprintf(words, sizeof words, "r%u is %llx", q->name,
                       (unsigned long long)load_u64(o->result));
    else
        (void)snprintf(words, sizeof words, "%s r%u: DONE %llu@%llu", request_verb(q), q->name,
                       (unsigned long long)o->pos.index, (unsigned long long)o->pos.term.v);
    trace_client_told(w, KELP_SIM_ANSWERED, c->node, o->client, q->token, words);
}

/* What stands at a name that is swapped, so that swaps find what they expect. */
static void outcome_learn(struct clients *all, const struct request *q, uint64_t answer)
{
    for (uint32_t i = 0; i < NAME_SLOTS_MAX; i++) {
        struct name_slot *slot = &all->names[MACHINE_SWAP][i];
        if (slot->name != q->name) continue;
        bool wrote = !q->read && (q->more.kind == MACHINE_SET || answer == q->more.expected);
        slot->last = wrote ? q->value : answer;
        return;
    }
}

/* ---- what a stale read must see ---- */

static void commit_mark(struct world *w)
{
    struct clients *all = &w->clients;
    kelp_index commit = checker_commit(w->checker);
    if (all->mark_count > 0 && all->marks[all->mark_count - 1].commit == commit) return;
    if (all->mark_count == all->mark_room) {
        size_t room = max_u64(2 * all->mark_room, 1024);
        struct commit_mark *marks = realloc(all->marks, room * sizeof *marks);
        if (marks == NULL) {
            checker_fail(w->checker, RULE_W02, "no memory for commits");
            return;
        }
        all->marks = marks;
        all->mark_room = room;
    }
    all->marks[all->mark_count++] = (struct commit_mark){w->now, commit};
}

static kelp_index committed_at(const struct clients *all, kelp_ns at)
{
    size_t low = 0, high = all->mark_count; /* the first one later than that */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all->marks[middle].at <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? all->marks[low - 1].commit : 0;
}

/* A message may have been on its way, or with a node that stood still, for the longest time there
 * is, and a leader that was deposed learns it an election timeout later. Neither does a node know:
 * the bound is on what it heard. A clock that stood still knows nothing. A message that comes long
 * after it left is not believed by who heard it before, or a newer one; but who did not hear one
 * since its start cannot know. */
static kelp_index must_see(const struct world *w, const struct client *c, const struct request *q)
{
    const struct swarm *s = &w->swarm;
    const struct node *n = &w->nodes[c->node];
    if (q->how.level != KELP_READ_STALE || (s->off & KELP_CHECK_QUORUM) != 0) return 0;
    kelp_ns bound = q->how.stale_max * 1000 / (1000 - s->clock_drift);
    kelp_ns longest = bound + 2 * s->election_max +
                      max_u64(s->fault_long, w->clients.still_longest) + s->delay_min +
                      s->delay_range + s->delay_late + s->apply_range;
    if (n->frozen_until != 0 || (n->frozen_last != 0 && n->frozen_last + longest > w->now))
        return 0;
    if (n->misled_last != 0 && n->misled_last + longest > w->now) return 0;
    return committed_at(&w->clients, sub_sat(w->now, longest));
}

static bool may_miss(const struct request *q)
{
    return q->how.level == KELP_READ_STALE || q->how.level == KELP_READ_ANY;
}

/* Nobody needs to have been asked for it. */
static bool leased(const struct world *w, const struct request *q)
{
    return w->swarm.lease != 0 && q->how.level == KELP_READ_LEASE;
}

static void outcome_judge(struct world *w, struct outcome *o)
{
    struct clients *all = &w->clients;
    struct client *c = &all->clients[o->client];
    struct kelp_bytes result = {o->result, min_u64(o->result_len, sizeof o->result)};
    const struct request *q = &o->request;
    const struct kelp_sim_workload *own = w->options.workload;
    answered_trace(w, o);
    if (own != NULL && own->outcome != NULL)
        own->outcome(own->ctx, o->client, q->token, o->outcome, o->reason, o->pos, result);
    if (own != NULL) return;
    struct checker_request asked = {.name = q->name,
                                    .more = q->more,
                                    .value = q->value,
                                    .read = q->read,
                                    .commit_at_call = q->commit_at_call,
                                    .answers_at_call = q->answers_at_call,
                                    .unled = w->options.broken == KELP_SIM_BREAK_STALE_READ ||
                                             leased(w, q),
                                    .floor = &c->floor,
                                    .stale = q->read && may_miss(q),
                                    .must_see = must_see(w, c, q),
                                    .stale_floor = &c->stale_floor,
                                    .at_least = q->how.at_least,
                                    .cluster_clock = may_miss(q) ? 0 : lapse_known(w, q),
                                    .once = {q->once.kind != DRIVER_ONCE_NOT, q->once.once},
                                    .reason = o->reason};
    if (q->once.kind == DRIVER_ONCE_SESSION) {
        if (!retry_waits(w, c, &o->request, o->outcome, o->reason)) retry_done(c, q, o->pos);
        return;
    }
    if (w->options.broken != KELP_SIM_BREAK_BLIND_READ)
        checker_answered(w->checker, &asked, o->outcome, o->pos, result);
    if (retry_waits(w, c, &o->request, o->outcome, o->reason)) return;
    if (!asked.stale) record_answer(w, q, o->outcome, result); /* those need not be linearizable */
    if (o->outcome == KELP_DONE) c->token = max_u64(c->token, o->pos.index);
    if (o->outcome == KELP_UNKNOWN) c->processes[q->place] = ++all->processes;
    if (o->outcome == KELP_DONE && result.len >= 8) outcome_learn(all, q, load_u64(result.data));
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
    commit_mark(w);
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

/* What is open may have happened. */
static void client_record_open(struct world *w, const struct client *c)
{
    for (uint32_t i = 0; i < c->count && w->options.workload == NULL; i++) {
        const struct request *q = &c->open[(c->first + i) % PIPELINE_MAX];
        if (q->once.kind != DRIVER_ONCE_SESSION)
            record_answer(w, q, KELP_UNKNOWN, (struct kelp_bytes){NULL, 0});
    }
}

void clients_end(struct world *w)
{
    for (uint32_t i = 0; i < w->swarm.clients; i++) {
        client_record_open(w, &w->clients.clients[i]);
        retry_end(w, &w->clients.clients[i]);
    }
}

static void client_abandon(struct world *w, struct client *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct request *q = &c->open[(c->first + i) % PIPELINE_MAX];
        if (!retry_waits(w, c, q, KELP_UNKNOWN, KELP_R_CONNECTION_LOST) &&
            w->options.workload == NULL)
            record_answer(w, q, KELP_UNKNOWN, (struct kelp_bytes){NULL, 0});
        c->processes[q->place] = ++w->clients.processes;
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

/* Every client of a node closes its line: what was open is of unknown outcome. */
void clients_leave(struct node *n)
{
    struct world *w = n->world;
    clients_judge(w);
    for (uint32_t i = 0; i < w->swarm.clients; i++) {
        struct client *c = &w->clients.clients[i];
        if (c->line == NULL || c->node != n->slot) continue;
        driver_line_close(n->driver, c->line);
        client_abandon(w, c);
    }
    n->closed = true;
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
    struct node *n = NULL; /* of seven one may be left that is open to clients */
    for (unsigned i = 0; i < w->node_count && (n == NULL || n->closed); i++)
        n = &w->nodes[(slot + i) % w->node_count];
    if (n == NULL || n->state != NODE_UP || n->closed) return false;
    c->node = n->slot;
    c->life = n->life;
    c->floor = c->stale_floor = 0;
    c->line = driver_line_open(n->driver, client_told, w);
    return c->line != NULL;
}

static unsigned kind_pick(struct world *w)
{
    uint64_t at = draw_below(stream(w, STREAM_CLIENT), 100 + w->swarm.lent_share);
    for (unsigned kind = 0; kind < MACHINE_KINDS; kind++) {
        if (at < w->swarm.shares[kind]) return kind;
        at -= w->swarm.shares[kind];
    }
    return MACHINE_SET;
}

static void request_draw(struct world *w, const struct client *c, struct request *q)
{
    struct draw *draw = stream(w, STREAM_CLIENT);
    unsigned kind = kind_pick(w);
    q->read = draw_below(draw, 100) >= 100 - w->swarm.read_percent; /* zeros write */
    if (c->number < w->swarm.readers) q->read = true;
    const struct name_slot *slot = name_pick(w, kind, q->read);
    q->name = slot->name;
    q->value = q->read ? 0 : q->token;
    q->more.kind = (uint8_t)kind;
    if (kind == MACHINE_SWAP && !q->read) {
        if (draw_chance(draw, 1, 5))
            q->more.kind = MACHINE_SET;
        else
            q->more.expected = draw_chance(draw, 1, 4) ? 0 : slot->last;
    }
    if (kind == MACHINE_LEND && !q->read) {
        if (draw_chance(draw, 1, 6))
            q->more.kind = MACHINE_SET; /* to stay */
        else
            q->more.lasts_ms =
                (uint32_t)draw_between(draw, 1, draw_chance(draw, 1, 2) ? 3000 : 300);
    }
    if (kind != MACHINE_SEVERAL) return;
    uint32_t width = names_of(w, kind).width, first = (uint32_t)draw_below(draw, width);
    q->more.others = (uint8_t)draw_below(draw, width);
    q->name += first;
    for (uint32_t i = 0; i < q->more.others; i++)
        q->more.names[i] = slot->name + (first + i + 1) % width;
    if (q->more.others == 0) q->more.kind = MACHINE_SET;
}

static void level_draw(struct world *w, const struct client *c, struct request *q)
{
    struct draw *draw = stream(w, STREAM_CLIENT);
    if (c->number < w->swarm.readers) {
        q->how.level = KELP_READ_LEASE;
        q->how.may_round = draw_chance(draw, 3, 4);
        return;
    }
    if (!q->read || draw_below(draw, 100) >= w->swarm.level_percent) return;
    static const enum kelp_read_level levels[8] = {
        KELP_READ_LINEARIZABLE, KELP_READ_LEASE, KELP_READ_LEASE, KELP_READ_STALE,
        KELP_READ_STALE,        KELP_READ_ANY,   KELP_READ_ANY,   KELP_READ_LOG};
    q->how.level = levels[draw_below(draw, 8)];
    q->how.may_round = q->how.level == KELP_READ_LEASE && draw_chance(draw, 3, 4);
    if (q->how.level == KELP_READ_STALE) q->how.stale_max = draw_between(draw, 20, 3000) * MS;
    if (draw_chance(draw, 1, 3)) q->how.at_least = c->token;
}

/* The bytes of the next request into out. */
static size_t request_make(struct world *w, struct client *c, struct request *q, uint8_t *out)
{
    struct draw *draw = stream(w, STREAM_CLIENT);
    q->token = ++w->clients.tokens << 8 | c->number;
    if (w->options.workload != NULL)
        return w->options.workload->next(w->options.workload->ctx, c->number, q->token,
                                         draw_bytes(draw, 8), &q->read, out);
    bool again = retry_next(w, c, q);
    if (!again) {
        request_draw(w, c, q);
        level_draw(w, c, q);
    }
    struct machine_request request = {q->name, q->value, q->more};
    size_t len = machine_encode(&request, out);
    if (!again && !q->read && w->swarm.filling > 0)
        q->filling = (size_t)draw_below(draw, w->swarm.filling + 1);
    if (!again) retry_draw(w, c, q);
    if (q->once.kind == DRIVER_ONCE_SESSION) return 0;
    memset(out + len, (int)(q->value & 0xff), q->filling);
    return len + q->filling;
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
    o.request.how = (struct kelp_read_how){.level = KELP_READ_LINEARIZABLE}; /* it says it is */
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
    if (q->call == 0) q->call = w->now; /* of the first attempt */
    q->deadline = now + w->swarm.deadline;
    q->commit_at_call = checker_commit(w->checker);
    q->answers_at_call = checker_answers(w->checker);
    w->report->requests++;
    lapse_asked(w, q);
    asked_trace(w, c, q);
    q->place = (uint8_t)((c->first + c->count) % PIPELINE_MAX);
    if (q->once.kind == DRIVER_ONCE_NOT) q->process = c->processes[q->place];
    bool stale = w->options.broken == KELP_SIM_BREAK_STALE_READ ||
                 w->options.broken == KELP_SIM_BREAK_BLIND_READ;
    if (q->read && stale) {
        stale_read(w, c, q, bytes);
        return false;
    }
    uint8_t *room = NULL;
    enum kelp_reason reason;
    if (q->once.kind != DRIVER_ONCE_NOT) {
        c->open[q->place] = *q;
        c->count++;
        if (driver_once(n->driver, now, c->line, q->token, &q->once, bytes, user, q->deadline,
                        forward))
            return true;
        c->count--;
        w->report->refused++;
        (void)retry_waits(w, c, q, KELP_REFUSED, KELP_R_BUSY);
        return false;
    }
    if (!q->read) {
        room = driver_reserve(n->driver, bytes.len, &reason);
        if (room == NULL) {
            w->report->refused++;
            if (w->options.workload == NULL)
                record_answer(w, q, KELP_REFUSED, (struct kelp_bytes){NULL, 0});
            return false;
        }
        memcpy(room, bytes.data, bytes.len);
    }
    c->open[q->place] = *q;
    c->count++;
    struct driver_question question = {
        .bytes = bytes, .user = user, .how = q->how, .deadline = q->deadline, .forward = forward};
    if (q->read)
        driver_read(n->driver, now, c->line, q->token, &question);
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
    restorer_acts(w); /* last: what clients are told by its run is judged behind this event */
    kelp_ns after = 2 * w->swarm.think - draw_below(stream(w, STREAM_CLIENT), 2 * w->swarm.think);
    world_push(w, w->now + after, EVENT_CLIENT, 0, number, NULL);
}
