/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c - records of what happens in a run, for one reader.                            [sim.h]
 *
 * A record names the event it belongs to, the node, the node's state at that moment, and what
 * happened as fields and in words. It looks at the world and changes nothing in it: a run that is
 * traced is the same run. */
#include "sim/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/endian.h"
#include "base/min.h"
#include "wire/message.h"

#define WORDS_MAX 640u
#define INFOS_MAX 4096u /* entries of one message */
#define MS        1000000u

typedef unsigned long long ull;

struct told { /* of a node, when last looked at */
    enum kelp_sim_life life;
    uint64_t starts;
    kelp_ns paused_until, stall;
};

struct tracer {
    struct kelp_sim_event event; /* the record that is being made */
    char words[WORDS_MAX];
    uint64_t records;
    struct told told[NODES_MAX];
    uint8_t cut[NODES_MAX]; /* as in the record */
    bool stormy;
    struct kelp_message message;
    struct wire_config configs[2];
    struct kelp_entry_info infos[INFOS_MAX];
};

bool trace_make(struct world *w)
{
    if (w->options.trace == NULL) return true;
    w->tracer = calloc(1, sizeof *w->tracer);
    return w->tracer != NULL;
}

void trace_unmake(struct world *w)
{
    free(w->tracer);
    w->tracer = NULL;
}

/* ---- a record ---- */

static enum kelp_sim_life life_of(const struct node *n)
{
    switch (n->state) {
    case NODE_DOWN: return KELP_SIM_LIFE_DOWN;
    case NODE_UP: return node_paused(n) ? KELP_SIM_LIFE_PAUSED : KELP_SIM_LIFE_UP;
    case NODE_FAULTED: return KELP_SIM_LIFE_FAULTED;
    case NODE_GONE: return KELP_SIM_LIFE_GONE;
    }
    return KELP_SIM_LIFE_GONE;
}

static void state_fill(const struct node *n, struct kelp_sim_state *state)
{
    state->life = life_of(n);
    const struct kelp_core *core = n->driver != NULL ? driver_core(n->driver) : NULL;
    if (core == NULL) return;
    struct kelp_view view;
    kelp_view(core, &view);
    state->raft = true;
    state->role = view.role;
    state->term = view.term;
    state->vote = view.vote;
    state->leader = view.leader;
    state->first = view.first;
    state->commit = view.commit;
    state->applied = view.applied;
    state->durable = view.durable;
    state->last = view.last_pos;
}

static struct kelp_sim_event *record_begin(struct world *w, enum kelp_sim_kind kind, unsigned node)
{
    struct tracer *t = w->tracer;
    t->event = (struct kelp_sim_event){
        .number = w->report->events,
        .record = ++t->records,
        .at = w->now,
        .kind = kind,
        .nodes = w->node_count,
        .words = t->words,
    };
    t->words[0] = '\0';
    if (node < w->node_count) {
        t->event.node = node + 1;
        state_fill(&w->nodes[node], &t->event.state);
    }
    return &t->event;
}

static void record_end(struct world *w)
{
    w->options.trace(w->options.trace_ctx, &w->tracer->event);
}

void trace_words_told(struct world *w, enum kelp_sim_kind kind, unsigned node, const char *words)
{
    (void)record_begin(w, kind, node);
    (void)snprintf(w->tracer->words, WORDS_MAX, "%s", words);
    record_end(w);
}

void trace_client_told(struct world *w, enum kelp_sim_kind kind, unsigned node, uint32_t client,
                       uint64_t token, const char *words)
{
    struct kelp_sim_event *e = record_begin(w, kind, node);
    e->client = client;
    e->token = token;
    (void)snprintf(w->tracer->words, WORDS_MAX, "%s", words);
    record_end(w);
}

static void event_words(const struct kelp_event *event, char *out, size_t size)
{
    char peer[32] = "", what[48] = "";
    enum kelp_event_type type = (enum kelp_event_type)event->type;
    bool index = type == KELP_EV_APPLIED || type == KELP_EV_COMMIT_CAPPED_UNVERIFIED;
    if (event->peer != 0) (void)snprintf(peer, sizeof peer, ", node %llu", (ull)event->peer);
    if (event->pos.index != 0 && event->pos.term.v != 0)
        (void)snprintf(what, sizeof what, " %llu@%llu", (ull)event->pos.index,
                       (ull)event->pos.term.v);
    else if (event->pos.index != 0 || (index && event->value != 0))
        (void)snprintf(what, sizeof what, " %llu",
                       (ull)(event->pos.index != 0 ? event->pos.index : event->value));
    else if (event->pos.term.v != 0)
        (void)snprintf(what, sizeof what, " t%llu", (ull)event->pos.term.v);
    (void)snprintf(out, size, "%s%s%s", kelp_event_words(type), what, peer);
}

void trace_event_told(struct node *n, const struct kelp_event *event)
{
    struct world *w = n->world;
    struct kelp_sim_event *e = record_begin(w, KELP_SIM_EVENT, n->slot);
    e->event = event;
    e->state.role = (enum kelp_role)event->role;
    e->state.term = event->term;
    event_words(event, w->tracer->words, WORDS_MAX);
    record_end(w);
}

static const char *job_words(uint64_t doing)
{
    switch ((enum job_kind)doing) {
    case JOB_SAVE: return "saved to disk";
    case JOB_READ: return "read its disk";
    case JOB_SNAPSHOT: return "saved a snapshot";
    case JOB_PIECE: return "saved a piece of a snapshot";
    case JOB_DROP: return "dropped a snapshot";
    case JOB_FETCH: return "read a piece of a snapshot";
    case JOB_PLEDGE: return "saved its pledge";
    case JOB_FORGET: return "forgot older snapshots";
    case JOB_APART: return "noted whether its state is known to be wrong";
    case JOB_IDLE: return "marked its log idle";
    }
    return "kept its disk in order";
}

static const struct link *link_named(const struct world *w, uint64_t what)
{
    uint64_t number = what & 0xffu; /* a connection's number names its link in its last byte */
    return number < LINKS_MAX ? &w->net.links[number] : NULL;
}

void trace_turn_told(struct world *w, enum event_kind kind, unsigned node, uint64_t what)
{
    char text[64] = "";
    const struct link *link = link_named(w, what);
    unsigned other =
        link == NULL ? 0 : (link->dialler == node ? link->acceptor : link->dialler) + 1u;
    switch (kind) {
    case EVENT_DIAL:
        (void)snprintf(text, sizeof text, "dials node %u", other);
        trace_words_told(w, KELP_SIM_DIALS, node, text);
        return;
    case EVENT_DIAL_LATE:
        (void)snprintf(text, sizeof text, "node %u does not answer", other);
        trace_words_told(w, KELP_SIM_UNANSWERED, node, text);
        return;
    case EVENT_CLOSED:
        (void)snprintf(text, sizeof text, "lost a connection with node %u", other);
        trace_words_told(w, KELP_SIM_CLOSED, node, text);
        return;
    case EVENT_START: trace_words_told(w, KELP_SIM_STARTS, node, "starts"); return;
    case EVENT_WAKE: trace_words_told(w, KELP_SIM_WOKE, node, "is due"); return;
    case EVENT_SAVED: trace_words_told(w, KELP_SIM_DISK, node, job_words(what >> 32)); return;
    case EVENT_APPLIED: trace_words_told(w, KELP_SIM_APPLIED, node, "applied a batch"); return;
    case EVENT_CLIENT:
        trace_client_told(w, KELP_SIM_CLIENT, node, (uint32_t)what, 0, "has its turn");
        return;
    case EVENT_HEAL:
        trace_words_told(w, KELP_SIM_HEALED, NODES_MAX, "no more faults; the cluster must recover");
        return;
    case EVENT_LOOK:
        trace_words_told(w, KELP_SIM_DISK, node, "looks whether there is room");
        return;
    case EVENT_FRAME: /* a record of its own, with the frame */
    case EVENT_FAULT: /* told by name */
    case EVENT_MEND:  /* told as the links that changed */
    case EVENT_FLAP: return;
    }
}

/* ---- frames ---- */

static const char *frame_type(uint8_t kind)
{
    switch ((enum wire_kind)kind) {
    case WIRE_HELLO: return "hello";
    case WIRE_REFUSE: return "refuse";
    case WIRE_MESSAGE: return "message";
    case WIRE_FORWARD: return "forward";
    case WIRE_FORWARD_ANSWER: return "forward-answer";
    case WIRE_FOUND: return "found";
    case WIRE_ADDRESSES: return "addresses";
    case WIRE_FETCH: return "fetch";
    case WIRE_PIECE: return "piece";
    case WIRE_MARKS: return "marks";
    }
    return "frame";
}

static const char *message_type(const struct kelp_message *m)
{
    bool pre = (m->flags & KELP_MF_PRE_VOTE) != 0;
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE: return pre ? "pre-vote" : "vote";
    case KELP_MSG_VOTE_ANSWER: return pre ? "pre-vote-answer" : "vote-answer";
    case KELP_MSG_APPEND: return "append";
    case KELP_MSG_HEARTBEAT: return "heartbeat";
    case KELP_MSG_ANSWER: return "answer";
    case KELP_MSG_TIMEOUT_NOW: return "timeout-now";
    case KELP_MSG_SNAPSHOT: return "snapshot";
    }
    return "message";
}

static int append_words(const struct kelp_message *m, kelp_term entry_term, char *out, size_t size)
{
    kelp_index prev = m->append.prev.index;
    if (m->append.last == prev)
        return snprintf(out, size, "append nothing after %llu@%llu t%llu commit %llu", (ull)prev,
                        (ull)m->append.prev.term.v, (ull)m->term.v, (ull)m->append.commit);
    char range[48];
    if (m->append.last == prev + 1)
        (void)snprintf(range, sizeof range, "%llu", (ull)m->append.last);
    else
        (void)snprintf(range, sizeof range, "%llu..%llu", (ull)prev + 1, (ull)m->append.last);
    return snprintf(out, size, "append %s@%llu after %llu@%llu t%llu commit %llu", range,
                    (ull)entry_term.v, (ull)prev, (ull)m->append.prev.term.v, (ull)m->term.v,
                    (ull)m->append.commit);
}

static int message_words(const struct kelp_message *m, kelp_term entry_term, char *out, size_t size)
{
    const char *pre = (m->flags & KELP_MF_PRE_VOTE) != 0 ? "pre-" : "";
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE:
        return snprintf(out, size, "%svote for t%llu? log ends at %llu@%llu", pre,
                        (ull)m->vote.term.v, (ull)m->vote.last.index, (ull)m->vote.last.term.v);
    case KELP_MSG_VOTE_ANSWER:
        return snprintf(out, size, "%svote for t%llu: %s", pre, (ull)m->vote.term.v,
                        (m->flags & KELP_MF_GRANTED) != 0 ? "yes" : "no");
    case KELP_MSG_APPEND: return append_words(m, entry_term, out, size);
    case KELP_MSG_HEARTBEAT:
        return snprintf(out, size, "heartbeat t%llu commit %llu", (ull)m->term.v,
                        (ull)m->append.commit);
    case KELP_MSG_ANSWER:
        if ((m->flags & KELP_MF_REJECT) != 0)
            return snprintf(out, size, "refuses what follows %llu@%llu t%llu, try %llu@%llu",
                            (ull)m->answer.refused.index, (ull)m->answer.refused.term.v,
                            (ull)m->term.v, (ull)m->answer.hint.index, (ull)m->answer.hint.term.v);
        return snprintf(out, size, "holds up to %llu t%llu", (ull)m->answer.match, (ull)m->term.v);
    case KELP_MSG_TIMEOUT_NOW:
        return snprintf(out, size, "stand now, with a log up to %llu t%llu",
                        (ull)m->timeout_now.required, (ull)m->term.v);
    case KELP_MSG_SNAPSHOT:
        return snprintf(out, size, "offers a snapshot at %llu@%llu t%llu",
                        (ull)m->snapshot.pos.index, (ull)m->snapshot.pos.term.v, (ull)m->term.v);
    }
    return 0;
}

/* A message whole, if it is one and can be read. */
static void message_read(struct tracer *t, const struct packet *p)
{
    struct kelp_fault fault = {0};
    struct kelp_bytes entries;
    if (p->kind != WIRE_MESSAGE || p->len < WIRE_FRAME_HEAD) return;
    struct kelp_bytes body = {p->data + WIRE_FRAME_HEAD, p->len - WIRE_FRAME_HEAD};
    size_t hashed = body.len < 2 ? 0 : load_u16(body.data); /* a damaged head spoils no line here */
    if (wire_message_decode(body, hashed, &t->message, t->infos, INFOS_MAX, &entries, t->configs,
                            &fault) != KELP_OK)
        return;
    t->event.message = &t->message;
    t->event.type = message_type(&t->message);
    if (t->message.type == KELP_MSG_APPEND && t->message.append.last > t->message.append.prev.index)
        t->event.entry_term =
            t->infos[t->message.append.last - t->message.append.prev.index - 1].term;
}

void trace_frame_told(struct world *w, enum kelp_sim_kind kind, const struct packet *p,
                      kelp_ns arrives, const char *why)
{
    struct tracer *t = w->tracer;
    bool leaves = kind == KELP_SIM_SENT || kind == KELP_SIM_LOST;
    struct kelp_sim_event *e = record_begin(w, kind, leaves ? p->from : p->to);
    e->frame = p->number;
    e->from = p->from + 1u;
    e->to = p->to + 1u;
    e->lane = (enum kelp_lane)p->lane;
    e->bytes = p->len;
    e->sent_at = p->sent_at;
    e->arrives_at = arrives;
    e->damaged = p->damaged;
    e->again = p->replayed;
    e->type = frame_type(p->kind);
    message_read(t, p);
    char what[256];
    if (e->message == NULL || message_words(e->message, e->entry_term, what, sizeof what) <= 0)
        (void)snprintf(what, sizeof what, "%s", e->type);
    (void)snprintf(t->words, WORDS_MAX, "%s%s%s%s", what, e->damaged ? ", damaged" : "",
                   why[0] != '\0' ? ", " : "", why);
    record_end(w);
}

/* ---- what changes slowly ---- */

static void life_settle(struct world *w, unsigned slot)
{
    static const enum kelp_sim_kind kinds[] = {
        [KELP_SIM_LIFE_DOWN] = KELP_SIM_DOWN,       [KELP_SIM_LIFE_UP] = KELP_SIM_UP,
        [KELP_SIM_LIFE_FAULTED] = KELP_SIM_FAULTED, [KELP_SIM_LIFE_GONE] = KELP_SIM_GONE,
        [KELP_SIM_LIFE_PAUSED] = KELP_SIM_PAUSED,
    };
    struct node *n = &w->nodes[slot];
    struct told *told = &w->tracer->told[slot];
    enum kelp_sim_life life = life_of(n);
    bool again = life == KELP_SIM_LIFE_PAUSED && n->paused_until != told->paused_until;
    if (life == told->life && n->life == told->starts && !again) return;
    enum kelp_sim_kind kind = kinds[life];
    if (life == KELP_SIM_LIFE_UP && told->life == KELP_SIM_LIFE_PAUSED && n->life == told->starts)
        kind = KELP_SIM_RESUMED;
    struct kelp_sim_event *e = record_begin(w, kind, slot);
    char *words = w->tracer->words;
    switch (life) {
    case KELP_SIM_LIFE_DOWN: (void)snprintf(words, WORDS_MAX, "is down"); break;
    case KELP_SIM_LIFE_UP:
        if (kind == KELP_SIM_RESUMED)
            (void)snprintf(words, WORDS_MAX, "goes on");
        else
            (void)snprintf(words, WORDS_MAX, "runs, start %llu", (ull)n->life);
        break;
    case KELP_SIM_LIFE_FAULTED: (void)snprintf(words, WORDS_MAX, "is faulted"); break;
    case KELP_SIM_LIFE_GONE: (void)snprintf(words, WORDS_MAX, "is gone for good"); break;
    case KELP_SIM_LIFE_PAUSED:
        e->until = n->paused_until;
        (void)snprintf(words, WORDS_MAX, "stands still for %llu ms",
                       (ull)((n->paused_until - w->now) / MS));
        break;
    }
    *told = (struct told){life, n->life, n->paused_until, told->stall};
    record_end(w);
}

static void stall_settle(struct world *w, unsigned slot)
{
    struct told *told = &w->tracer->told[slot];
    kelp_ns stall = w->nodes[slot].stall;
    if (stall == told->stall) return;
    told->stall = stall;
    if (stall == 0) return; /* its next job has begun */
    struct kelp_sim_event *e = record_begin(w, KELP_SIM_STALLED, slot);
    e->until = w->now + stall;
    (void)snprintf(w->tracer->words, WORDS_MAX, "its next disk job takes %llu ms longer",
                   (ull)(stall / MS));
    record_end(w);
}

/* The group of a node: the lowest node that it and its neighbours reach both ways. */
static unsigned group_of(const struct world *w, unsigned node)
{
    bool in[NODES_MAX] = {false};
    in[node] = true;
    for (unsigned round = 0; round < w->node_count; round++) {
        for (unsigned a = 0; a < w->node_count; a++) {
            for (unsigned b = 0; b < w->node_count; b++) {
                if (in[a] && !w->net.cut[a][b] && !w->net.cut[b][a]) in[b] = true;
            }
        }
    }
    unsigned lowest = 0;
    while (!in[lowest])
        lowest++;
    return lowest;
}

/* True: the cut links are just those between groups, written "1 2 | 3 4 5". */
static bool groups_words(const struct world *w, char *out, size_t size)
{
    unsigned group[NODES_MAX];
    for (unsigned a = 0; a < w->node_count; a++)
        group[a] = group_of(w, a);
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < w->node_count; b++) {
            if (a != b && w->net.cut[a][b] != (group[a] != group[b])) return false;
        }
    }
    size_t len = 0;
    for (unsigned g = 0; g < w->node_count; g++) {
        for (unsigned a = 0; a < w->node_count; a++) {
            if (group[a] != g || len >= size) continue;
            const char *before = len == 0 ? "" : a == g ? " | " : " ";
            len += (size_t)snprintf(out + len, size - len, "%s%u", before, a + 1);
        }
    }
    return true;
}

static void links_words(const struct world *w, char *out, size_t size)
{
    size_t len = 0;
    for (unsigned a = 0; a < w->node_count && len < size; a++) {
        for (unsigned b = 0; b < w->node_count && len < size; b++) {
            bool both = w->net.cut[a][b] && w->net.cut[b][a];
            if (a == b || !w->net.cut[a][b] || (both && b < a)) continue;
            len += (size_t)snprintf(out + len, size - len, "%s%u %s %u", len == 0 ? "" : ", ",
                                    a + 1, both ? "<->" : "->", b + 1);
        }
    }
}

static void links_settle(struct world *w)
{
    struct tracer *t = w->tracer;
    uint8_t cut[NODES_MAX] = {0};
    bool any = false;
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < w->node_count; b++) {
            if (a == b || !w->net.cut[a][b]) continue;
            cut[a] |= (uint8_t)(1u << b);
            any = true;
        }
    }
    if (memcmp(t->cut, cut, sizeof cut) == 0) return;
    memcpy(t->cut, cut, sizeof cut);
    struct kelp_sim_event *e = record_begin(w, KELP_SIM_LINKS, NODES_MAX);
    memcpy(e->cut, cut, sizeof cut);
    char text[256] = "";
    if (!any)
        (void)snprintf(t->words, WORDS_MAX, "all links are whole");
    else if (groups_words(w, text, sizeof text))
        (void)snprintf(t->words, WORDS_MAX, "the network is split: %s", text);
    else {
        links_words(w, text, sizeof text);
        (void)snprintf(t->words, WORDS_MAX, "links are cut: %s", text);
    }
    record_end(w);
}

void trace_settle_told(struct world *w)
{
    struct tracer *t = w->tracer;
    links_settle(w);
    if (w->net.stormy != t->stormy) {
        t->stormy = w->net.stormy;
        if (t->stormy)
            trace_words_told(w, KELP_SIM_STORM, NODES_MAX, "a storm: many frames lost and late");
        else
            trace_words_told(w, KELP_SIM_CALM, NODES_MAX, "the storm is over");
    }
    for (unsigned i = 0; i < w->node_count; i++) {
        life_settle(w, i);
        stall_settle(w, i);
    }
}

void trace_began(struct world *w)
{
    if (w->tracer == NULL) return;
    const struct swarm *s = &w->swarm;
    (void)record_begin(w, KELP_SIM_BEGAN, NODES_MAX);
    (void)snprintf(w->tracer->words, WORDS_MAX,
                   "seed %llu: %u nodes, heartbeat %llu ms, election %llu..%llu ms, "
                   "links %llu..%llu us, lost %u.%02u %%, %u clients",
                   (ull)w->seed, w->node_count, (ull)(s->heartbeat / MS),
                   (ull)(s->election_min / MS), (ull)(s->election_max / MS),
                   (ull)(s->delay_min / 1000), (ull)((s->delay_min + s->delay_range) / 1000),
                   s->lost * 100 / 65536, s->lost * 10000 / 65536 % 100, s->clients);
    record_end(w);
}
