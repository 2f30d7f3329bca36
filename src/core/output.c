/* SPDX-License-Identifier: Apache-2.0 */
/* output.c - what do we owe each peer? Asked once per peer and take, answered from state alone.
 *
 * So ten proposals become one append, answers coalesce, and nothing is ever sent "from inside" a
 * step. No message leaves before a save of its term is reported; a granted vote waits for the save
 * of the vote, which is the same save or a later one. Answers about contact wait for the term only,
 * so that a slow disk alone does not end a leadership. */
#include "core/core.h"

static struct kelp_message *message_new(struct kelp_core *r, uint32_t *count, kelp_id to,
                                        const struct kelp_message *body)
{
    struct kelp_message *m = &r->messages[(*count)++];
    *m = *body;
    m->from = r->options.self;
    m->to = to;
    m->term = r->term;
    if (m->id == 0) m->id = ++r->message_id;
    return m;
}

static void vote_answers(struct kelp_core *r, kelp_id to, struct debt *debt, uint32_t *count)
{
    for (int kind = 0; kind < 2; kind++) {
        if (!debt->vote[kind]) continue;
        bool vote_given = kind == 1 && debt->granted[kind];
        bool stands = r->vote == to && debt->vote_term[kind].v == r->term.v;
        if (vote_given && stands && r->saved_vote != to) continue; /* not durable yet */
        debt->vote[kind] = false;
        if (vote_given && !stands) continue; /* given in a term that has passed since */
        struct kelp_message m = {.type = KELP_MSG_VOTE_ANSWER, .id = debt->vote_id[kind]};
        if (kind == 0) m.flags |= KELP_MF_PRE_VOTE;
        if (debt->granted[kind])
            m.flags |= KELP_MF_GRANTED;
        else if (config_removed(member_committed(r), to))
            m.flags |= KELP_MF_REMOVED;
        m.vote.term = debt->vote_term[kind];
        (void)message_new(r, count, to, &m);
    }
}

static void answer(struct kelp_core *r, kelp_id to, struct debt *debt, uint32_t *count)
{
    if (!debt->answer) return;
    struct kelp_message m = {.type = KELP_MSG_ANSWER, .id = debt->id, .attempt = debt->attempt};
    bool follows = r->role == KELP_FOLLOWER && r->leader == to;
    m.answer.durable = r->durable;
    m.answer.applied = r->applied;
    m.answer.room = r->room;
    m.answer.health = r->health | (r->stalled ? KELP_HEALTH_STALL : 0) |
                      (r->now < r->steady_at ? KELP_HEALTH_UNSTEADY : 0);
    if (r->drained || r->apart) m.answer.health |= KELP_HEALTH_DRAINED;
    if (follows) {
        m.round = r->round_seen;
        m.answer.match = min_u64(r->verified, r->durable);
        if (debt->rejected) {
            m.flags |= KELP_MF_REJECT;
            m.answer.hint = debt->hint;
            m.answer.refused = debt->refused;
        }
    } else {
        m.attempt = 0; /* a lower term's leader only learns our term */
    }
    debt->answer = false;
    debt->rejected = false;
    debt->attempt = 0;
    (void)message_new(r, count, to, &m);
}

static void vote_request(struct kelp_core *r, kelp_id to, uint32_t *count)
{
    bool pre = r->role != KELP_CANDIDATE;
    struct kelp_message m = {.type = KELP_MSG_VOTE};
    if (pre) m.flags |= KELP_MF_PRE_VOTE;
    if (r->by_transfer) m.flags |= KELP_MF_TRANSFER;
    m.vote.term = kelp_term_of(r->term.v + (pre ? 1 : 0));
    m.vote.last = log_tail(&r->log);
    (void)message_new(r, count, to, &m);
}

/* Its vote counts, and it has not answered yet. */
static void ask(struct kelp_core *r, struct peer *peer, uint32_t *count)
{
    if (peer->ballot != BALLOT_NONE) return;
    if (peer->asked_at != 0 && r->now < peer->asked_at + 2 * r->options.heartbeat) return;
    peer->asked_at = max_u64(1, r->now);
    vote_request(r, peer->id, count);
}

/* Only whether we are a member still. */
static bool enquires(const struct kelp_core *r, uint32_t slot)
{
    if (r->enquires == ENQUIRE_OTHERS) return !config_votes(&r->config, slot);
    return r->enquires == ENQUIRE_EVERYBODY;
}

static void heartbeat(struct kelp_core *r, struct peer *peer, uint32_t *count)
{
    uint32_t slot = (uint32_t)(peer - r->peers);
    bool round_due = r->round > peer->round_sent && config_votes(&r->config, slot);
    bool commit_due = r->now >= peer->commit_at;
    if (r->now < peer->heartbeat_at && !round_due && !commit_due) return;
    struct kelp_message m = {.type = KELP_MSG_HEARTBEAT, .round = r->round};
    m.append.commit = r->commit;
    m.append.everyone = r->everyone;
    const struct kelp_message *sent = message_new(r, count, peer->id, &m);
    peer->heartbeat_id = sent->id;
    peer->heartbeat_sent = max_u64(1, r->now);
    peer->heartbeat_at = r->now + r->options.heartbeat;
    peer->round_sent = r->round;
    peer->commit_at = KELP_NEVER;
}

/* The last word of a leader that faulted. */
static uint32_t parting(struct kelp_core *r)
{
    struct kelp_message m;
    uint32_t count = 0;
    kelp_id to;
    if (transfer_parting(r, &m, &to)) (void)message_new(r, &count, to, &m);
    return count;
}

uint32_t output_messages(struct kelp_core *r)
{
    uint32_t count = 0;
    if (r->faulted) return parting(r);
    if (core_silent(r) || !term_saved(r)) return 0;
    lease_sending(r);
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        struct peer *peer = &r->peers[slot];
        if (slot == r->self_slot) continue;
        if (peer->debt.vote[0] || peer->debt.vote[1])
            vote_answers(r, peer->id, &peer->debt, &count);
        answer(r, peer->id, &peer->debt, &count);
        if (r->role == KELP_LEADER) {
            UNSET struct kelp_message append, order; /* set if owed */
            if (replicate_owed(r, peer, &append))
                peer->append_id = message_new(r, &count, peer->id, &append)->id;
            heartbeat(r, peer, &count);
            if (transfer_owed(r, peer, &order)) (void)message_new(r, &count, peer->id, &order);
        } else if (enquires(r, slot)) {
            vote_request(r, peer->id, &count);
        } else if (r->role != KELP_FOLLOWER && config_votes(&r->config, slot)) {
            ask(r, peer, &count);
        }
    }
    UNSET struct kelp_message last_word; /* set if owed */
    kelp_id to;
    if (transfer_parting(r, &last_word, &to)) (void)message_new(r, &count, to, &last_word);
    r->enquires = ENQUIRE_NOBODY;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->stranger_count; i++) {
        struct stranger *stranger = &r->strangers[i];
        vote_answers(r, stranger->id, &stranger->debt, &count);
        answer(r, stranger->id, &stranger->debt, &count);
        if (stranger->debt.vote[1])
            r->strangers[kept++] = *stranger; /* its grant waits for a save */
    }
    r->stranger_count = kept;
    return count;
}

static void lookup(struct kelp_core *r, struct look *look, uint32_t *count, bool *given_up)
{
    if (look->state != LOOK_WANTED) return;
    if (look->revision != r->log.revision) {
        look->state = LOOK_NONE;
        *given_up = true;
        return;
    }
    look->state = LOOK_ASKED;
    r->lookups[(*count)++] =
        (struct kelp_lookup){.index = look->pos.index,
                             .revision = look->revision,
                             .entries_max = r->options.limits.message_entries_max,
                             .bytes_max = r->options.limits.message_bytes_max};
}

uint32_t output_lookups(struct kelp_core *r, bool *given_up)
{
    uint32_t count = 0;
    if (core_silent(r)) return 0;
    lookup(r, &r->own_look, &count, given_up);
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        lookup(r, &r->peers[slot].look, &count, given_up);
    return count;
}
