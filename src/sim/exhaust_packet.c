/* SPDX-License-Identifier: Apache-2.0 */
/* exhaust_packet.c - messages as a few plain bytes, and back.
 *
 * Small scopes have small numbers; that they fit a byte is asserted, since they are all our own.
 * An entry is its term: the scope has one kind of command, and that two entries of one position
 * and term are one entry is what I01 and I07 are judged for. Fields for people only (durable,
 * applied, room) and for compaction are left out, since core_normalise leaves them out as well. */
#include <string.h>

#include "base/assert.h"
#include "sim/exhaust.h"

static uint8_t small(uint64_t v)
{
    ASSERT(v <= UINT8_MAX);
    return (uint8_t)v;
}

static void append_of(struct packet *p, const struct kelp_message *m, const struct log_terms *log)
{
    p->at_index = small(m->append.prev.index);
    p->at_term = small(m->append.prev.term.v);
    p->last = small(m->append.last);
    p->commit = small(m->append.commit);
    if (m->type == KELP_MSG_HEARTBEAT) return;
    ASSERT(p->at_index <= p->last && p->last <= log->last);
    memcpy(p->terms, &log->terms[p->at_index + 1], (size_t)p->last - p->at_index);
}

struct packet packet_of(const struct kelp_message *m, const struct log_terms *log)
{
    struct packet p = {.type = m->type,
                       .flags = m->flags,
                       .from = small(m->from),
                       .to = small(m->to),
                       .term = small(m->term.v),
                       .id = 1,
                       .attempt = small(m->attempt)};
    ASSERT(m->round == 0); /* there are no reads */
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE:
    case KELP_MSG_VOTE_ANSWER:
        p.vote_term = small(m->vote.term.v);
        p.at_index = small(m->vote.last.index);
        p.at_term = small(m->vote.last.term.v);
        break;
    case KELP_MSG_APPEND:
    case KELP_MSG_HEARTBEAT:
        if (m->type == KELP_MSG_HEARTBEAT) p.id = 2;
        append_of(&p, m, log);
        break;
    case KELP_MSG_ANSWER:
        if (m->id == 2) p.id = 2;
        p.match = small(m->answer.match);
        p.at_index = small(m->answer.hint.index);
        p.at_term = small(m->answer.hint.term.v);
        p.refused_index = small(m->answer.refused.index);
        p.refused_term = small(m->answer.refused.term.v);
        break;
    case KELP_MSG_TIMEOUT_NOW:
    case KELP_MSG_SNAPSHOT: UNREACHABLE(); /* nobody hands over in a scope, or compacts */
    }
    return p;
}

struct kelp_message packet_message(const struct packet *p, struct kelp_entry_info *entries)
{
    struct kelp_message m = {.type = p->type,
                             .flags = p->flags,
                             .from = p->from,
                             .to = p->to,
                             .term = kelp_term_of(p->term),
                             .id = p->id,
                             .attempt = p->attempt};
    struct kelp_pos at = kelp_pos_of(p->at_index, p->at_term);
    switch ((enum kelp_message_type)p->type) {
    case KELP_MSG_VOTE:
    case KELP_MSG_VOTE_ANSWER:
        m.vote.term = kelp_term_of(p->vote_term);
        m.vote.last = at;
        break;
    case KELP_MSG_APPEND:
    case KELP_MSG_HEARTBEAT:
        m.append.prev = at;
        m.append.last = p->last;
        m.append.commit = p->commit;
        m.append.entries = entries;
        for (unsigned i = 0; i + p->at_index < p->last; i++)
            entries[i] = (struct kelp_entry_info){.term = kelp_term_of(p->terms[i]),
                                                  .bytes = ENTRY_BYTES,
                                                  .type = KELP_ENTRY_COMMAND};
        break;
    case KELP_MSG_ANSWER:
        m.answer.match = p->match;
        m.answer.hint = at;
        m.answer.refused = kelp_pos_of(p->refused_index, p->refused_term);
        break;
    case KELP_MSG_TIMEOUT_NOW:
    case KELP_MSG_SNAPSHOT: UNREACHABLE();
    }
    return m;
}
