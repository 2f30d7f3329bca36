/* SPDX-License-Identifier: Apache-2.0 */
/* trace_json.c - a record of the trace as one line of JSON; docs/traces.md names the fields.
 *
 * Written by hand, since the library has no JSON library below it. What is unknown or zero by
 * nature is left out, so that a line is short. */
#include <stdarg.h>
#include <stdio.h>

#include "base/min.h"
#include "kelp/sim.h"

typedef unsigned long long ull;

struct line {
    char *out;
    size_t size, len;
};

static void put(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t left = l->len < l->size ? l->size - l->len : 0;
    int wrote = vsnprintf(left > 0 ? l->out + l->len : NULL, left, format, args);
    va_end(args);
    if (wrote > 0) l->len += (size_t)wrote;
}

static void put_text(struct line *l, const char *name, const char *text)
{
    put(l, ",\"%s\":\"", name);
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '"' || c == '\\')
            put(l, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f) /* words are ASCII; anything else came from outside */
            put(l, "\\u%04x", c);
        else
            put(l, "%c", c);
    }
    put(l, "\"");
}

static void put_number(struct line *l, const char *name, uint64_t number)
{
    put(l, ",\"%s\":%llu", name, (ull)number);
}

static void put_some(struct line *l, const char *name, uint64_t number)
{
    if (number != 0) put_number(l, name, number);
}

static void put_pos(struct line *l, const char *name, struct kelp_pos pos)
{
    put(l, ",\"%s\":\"%llu@%llu\"", name, (ull)pos.index, (ull)pos.term.v);
}

static const char *life_name(enum kelp_sim_life life)
{
    switch (life) {
    case KELP_SIM_LIFE_DOWN: return "down";
    case KELP_SIM_LIFE_UP: return "up";
    case KELP_SIM_LIFE_FAULTED: return "faulted";
    case KELP_SIM_LIFE_GONE: return "gone";
    case KELP_SIM_LIFE_PAUSED: return "paused";
    }
    return "?";
}

static void put_state(struct line *l, const struct kelp_sim_state *s)
{
    put_text(l, "life", life_name(s->life));
    if (!s->raft) return;
    put_text(l, "role", kelp_role_name(s->role));
    put_number(l, "term", s->term.v);
    put_some(l, "vote", s->vote);
    put_some(l, "leader", s->leader);
    put_some(l, "first", s->first);
    put_number(l, "commit", s->commit);
    put_number(l, "applied", s->applied);
    put_number(l, "durable", s->durable);
    put_pos(l, "last", s->last);
}

static void put_message(struct line *l, const struct kelp_message *m, kelp_term entry_term)
{
    put_number(l, "message_term", m->term.v);
    put_some(l, "message_id", m->id);
    put_some(l, "round", m->round);
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE: put_pos(l, "log_end", m->vote.last); /* fall through */
    case KELP_MSG_VOTE_ANSWER:
        put_number(l, "vote_term", m->vote.term.v);
        if (m->type == KELP_MSG_VOTE_ANSWER)
            put(l, ",\"granted\":%s", (m->flags & KELP_MF_GRANTED) != 0 ? "true" : "false");
        return;
    case KELP_MSG_APPEND:
        put_pos(l, "prev", m->append.prev);
        if (m->append.last > m->append.prev.index) {
            put_number(l, "entries_first", m->append.prev.index + 1);
            put_number(l, "entries_last", m->append.last);
            put_number(l, "entries_term", entry_term.v);
        }
        put_number(l, "message_commit", m->append.commit);
        return;
    case KELP_MSG_HEARTBEAT: put_number(l, "message_commit", m->append.commit); return;
    case KELP_MSG_TIMEOUT_NOW: put_number(l, "required", m->timeout_now.required); return;
    case KELP_MSG_SNAPSHOT: put_pos(l, "snapshot", m->snapshot.pos); return;
    case KELP_MSG_ANSWER:
        put_number(l, "match", m->answer.match);
        if ((m->flags & KELP_MF_REJECT) == 0) return;
        put_pos(l, "refused", m->answer.refused);
        put_pos(l, "hint", m->answer.hint);
        return;
    }
}

static const char *lane_name(enum kelp_lane lane)
{
    switch (lane) {
    case KELP_LANE_CONTROL: return "control";
    case KELP_LANE_ENTRIES: return "entries";
    case KELP_LANE_SNAPSHOT: return "snapshot";
    }
    return "?";
}

static void put_frame(struct line *l, const struct kelp_sim_event *e)
{
    put_number(l, "frame", e->frame);
    put_text(l, "type", e->type != NULL ? e->type : "frame");
    put_number(l, "from", e->from);
    put_number(l, "to", e->to);
    put_text(l, "lane", lane_name(e->lane));
    put_number(l, "bytes", e->bytes);
    put_number(l, "sent_at", e->sent_at);
    if (e->arrives_at == KELP_NEVER)
        put(l, ",\"lost\":true");
    else
        put_number(l, "arrives_at", e->arrives_at);
    if (e->again) put(l, ",\"again\":true");
    if (e->damaged) put(l, ",\"damaged\":true");
    if (e->message != NULL) put_message(l, e->message, e->entry_term);
}

static const char *level_name(enum kelp_level level)
{
    switch (level) {
    case KELP_ERROR: return "error";
    case KELP_WARN: return "warn";
    case KELP_INFO: return "info";
    case KELP_DEBUG: return "debug";
    }
    return "?";
}

static void put_event(struct line *l, const struct kelp_event *event)
{
    put_text(l, "event", kelp_event_name((enum kelp_event_type)event->type));
    put_text(l, "level", level_name(kelp_event_level((enum kelp_event_type)event->type)));
    put_some(l, "peer", event->peer);
    if (event->pos.index != 0 || event->pos.term.v != 0) put_pos(l, "pos", event->pos);
    put_some(l, "value", event->value);
}

static void put_cut(struct line *l, const struct kelp_sim_event *e)
{
    bool any = false;
    put(l, ",\"cut\":[");
    for (unsigned a = 0; a < min_u64(e->nodes, KELP_SIM_NODES_MAX); a++) {
        for (unsigned b = 0; b < e->nodes; b++) {
            if ((e->cut[a] >> b & 1) == 0) continue;
            put(l, "%s[%u,%u]", any ? "," : "", a + 1, b + 1);
            any = true;
        }
    }
    put(l, "]");
}

size_t kelp_sim_event_json(const struct kelp_sim_event *e, char *out, size_t size)
{
    struct line l = {.out = out, .size = size};
    if (size > 0) out[0] = '\0';
    put(&l, "{\"n\":%llu,\"record\":%llu,\"t_ns\":%llu", (ull)e->number, (ull)e->record,
        (ull)e->at);
    put_text(&l, "kind", kelp_sim_kind_name(e->kind));
    put_some(&l, "node", e->node);
    put_text(&l, "words", e->words);
    if (e->kind == KELP_SIM_BEGAN) put_number(&l, "nodes", e->nodes);
    if (e->frame != 0) put_frame(&l, e);
    if (e->event != NULL) put_event(&l, e->event);
    if (e->kind == KELP_SIM_CLIENT || e->kind == KELP_SIM_ASKED || e->kind == KELP_SIM_ANSWERED) {
        put_number(&l, "client", e->client);
        put_some(&l, "token", e->token);
    }
    put_some(&l, "until_ns", e->until);
    if (e->kind == KELP_SIM_LINKS) put_cut(&l, e);
    if (e->node != 0) put_state(&l, &e->state);
    put(&l, "}");
    return l.len;
}

const char *kelp_sim_kind_name(enum kelp_sim_kind kind)
{
    static const char *const names[] = {
#define KIND_NAME(kind, name, words) name,
        KELP_SIM_KINDS(KIND_NAME)
#undef KIND_NAME
    };
    return (unsigned)kind < KELP_SIM_KIND_COUNT ? names[kind] : "?";
}
