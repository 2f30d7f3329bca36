/* SPDX-License-Identifier: Apache-2.0 */
/* normal.c - what of a core's bytes says nothing about its future is set to one fixed value.
 *
 * An explorer of all interleavings meets the same situation by many ways, and must see that it is
 * the same. It compares whole cores byte for byte, so a field that nobody thought of keeps two
 * states apart and costs time; only what is written here can make two into one. Each rule below
 * therefore says why the value cannot matter:
 *
 * - Clocks. Timers fire whenever the explorer wants, by a tick in their future; so every moment in
 *   the past is now, every moment to come is a full period away. Only "a leader was heard within
 *   the election timeout" is a fact of its own. The generator only draws those periods.
 * - Numbers that only grow. Open saves are 1..n. The revision is compared with itself, and nothing
 *   waits for a lookup: the caller answers each at once, and has room for every term. A leader's
 *   attempts count within its term: an answer of another term is dropped for its term, and a
 *   restarted node begins at 1 too.
 * - Message ids. Votes and appends have id 1, heartbeats 2 (the explorer writes them into the
 *   messages), and the last append sent has 1. So the answer to a heartbeat always counts as newer
 *   than the last append, and may make a leader probe: no more than a new connection does.
 * - What only feeds compaction (known everywhere), people (events, durable, applied, rtt, silence)
 *   or promptness (a commit index due before the next heartbeat).
 * - A follower's knowledge of its peers' logs, which the next leadership starts anew.
 * - Rings begin at slot 0, and slots, tables and padding that are not in use are zero. */
#include <string.h>

#include "core/core.h"
#include "core/normal.h"

/* Copying field by field into zeroed room leaves the padding zero, which assignment of a whole
 * struct need not. */

static void save_copy(struct open_save *to, const struct open_save *from, uint64_t number)
{
    to->number = number;
    to->emitted_at = NORMAL_NOW;
    to->vouches = from->vouches;
    to->has_vote = from->has_vote;
    to->term = from->term;
    to->vote = from->vote;
}

static void saves_normalise(struct kelp_core *r)
{
    struct open_save kept[SAVES_OPEN_MAX];
    memset(kept, 0, sizeof kept);
    for (uint32_t i = 0; i < r->saves_count; i++)
        save_copy(&kept[i], &r->saves[(r->saves_head + i) % SAVES_OPEN_MAX], i + 1);
    memcpy(r->saves, kept, sizeof kept);
    r->saves_head = 0;
    r->save_number = r->saves_count;
}

static void totals_normalise(struct log *log)
{
    uint64_t before = log->totals[log->totals_from & log->totals_mask];
    uint64_t count = log->last - log->totals_from + 1;
    for (uint64_t i = 0; i <= log->totals_mask; i++) {
        uint64_t *total = &log->totals[(log->totals_from + i) & log->totals_mask];
        *total = i < count ? *total - before : 0;
    }
}

static void log_normalise(struct log *log)
{
    struct log was = *log;
    ASSERT(was.runs_head == 0 && was.found_revision == 0); /* no term was ever forgotten */
    memset(log, 0, sizeof *log);
    log->base = was.base;
    log->last = was.last;
    log->runs = was.runs;
    log->runs_max = was.runs_max;
    log->runs_count = was.runs_count;
    log->runs_from = was.runs_from;
    log->totals = was.totals;
    log->totals_mask = was.totals_mask;
    log->totals_from = was.totals_from;
    log->mark_step = was.mark_step;
    log->revision = 1;
    memset(log->runs + log->runs_count, 0, (log->runs_max - log->runs_count) * sizeof *log->runs);
    totals_normalise(log);
}

static void requests_normalise(struct requests *q)
{
    ASSERT(q->resolved == 0);
    struct requests was = *q;
    memset(q, 0, sizeof *q);
    q->slots = was.slots;
    q->max = was.max;
    q->count = was.count;
    q->open = was.open;
    q->deadline = KELP_NEVER;
    q->sorted = was.count == 0 || was.sorted; /* an empty ring is sorted by the next push */
    for (; was.head > 0; was.head--) {
        struct request first = q->slots[0];
        memmove(q->slots, q->slots + 1, (q->max - 1) * sizeof first);
        q->slots[q->max - 1] = first;
    }
    for (uint32_t i = 0; i < q->max; i++) {
        struct request request = q->slots[i];
        memset(&q->slots[i], 0, sizeof request);
        if (i >= q->count || request.token == 0) continue;
        q->slots[i].token = request.token;
        q->slots[i].deadline = KELP_NEVER;
        q->slots[i].round = request.round;
        q->slots[i].pos = request.pos;
    }
}

static void debt_normalise(struct debt *debt)
{
    struct debt was = *debt;
    memset(debt, 0, sizeof *debt);
    debt->answer = was.answer;
    debt->rejected = was.rejected;
    debt->id = was.id;
    debt->attempt = was.attempt;
    if (was.rejected) {
        debt->hint = was.hint;
        debt->refused = was.refused;
    }
    for (int kind = 0; kind < 2; kind++) {
        if (!was.vote[kind]) continue;
        debt->vote[kind] = true;
        debt->granted[kind] = was.granted[kind];
        debt->vote_term[kind] = was.vote_term[kind];
        debt->vote_id[kind] = 1;
    }
}

static void progress_normalise(struct progress *p, bool leads)
{
    struct progress was = *p;
    memset(p, 0, sizeof *p);
    p->window = was.window;
    p->window_max = was.window_max;
    p->flow = leads ? was.flow : KELP_PROBE;
    p->match = leads ? was.match : 0;
    p->next = leads ? was.next : 1;
    p->attempt = leads ? was.attempt : 1;
    p->probe_out = leads && was.probe_out;
    p->window_count = leads ? was.window_count : 0;
    p->window_bytes = leads ? was.window_bytes : 0;
    for (uint32_t head = was.window_head; head > 0; head--) {
        struct inflight first = p->window[0];
        memmove(p->window, p->window + 1, (p->window_max - 1) * sizeof first);
        p->window[p->window_max - 1] = first;
    }
    memset(p->window + p->window_count, 0, (p->window_max - p->window_count) * sizeof *p->window);
}

static void peer_normalise(const struct kelp_core *r, struct peer *peer)
{
    struct peer was = *peer;
    bool leads = r->role == KELP_LEADER;
    memset(peer, 0, sizeof *peer);
    peer->id = was.id;
    peer->debt = was.debt;
    peer->progress = was.progress;
    peer->ballot = was.ballot;
    peer->asked_at = was.asked_at != 0 ? NORMAL_NOW : 0;
    peer->commit_at = KELP_NEVER;
    if (leads) {
        ASSERT(was.look.state == LOOK_NONE); /* what was found has been sent */
        peer->contact = NORMAL_NOW;
        peer->probe_at = was.progress.probe_out ? NORMAL_NOW : 0;
        peer->progress_at = NORMAL_NOW;
        peer->resend_after = r->options.election_min;
        peer->heartbeat_at = NORMAL_NOW + r->options.heartbeat;
        peer->append_id = 1;
        peer->round_sent = was.round_sent;
        peer->round_answered = was.round_answered;
    }
    debt_normalise(&peer->debt);
    progress_normalise(&peer->progress, leads);
}

static void clock_normalise(struct kelp_core *r)
{
    r->sticks_from = lease_sticks(r) ? NORMAL_NOW : 0;
    r->leader_contact = r->sticks_from;
    r->led_at = 0; /* looked at where a node is drained only, which is not in the scope */
    memset(&r->near, 0, sizeof r->near); /* of contacts, which are now; to be found again */
    r->now = NORMAL_NOW;
    r->role_since = NORMAL_NOW;
    r->prng.state = r->options.seed;
    if (r->role != KELP_LEADER) r->election_at = NORMAL_NOW + r->options.election_max;
}

/* The last take's tables; the caller has read them. */
static void scratch_clear(struct kelp_core *r)
{
    const struct kelp_limits *l = &r->options.limits;
    size_t messages = (size_t)l->members_max * MESSAGES_PER_PEER + l->strangers_max * 3u + 1u;
    ASSERT(r->refusal_count == 0);
    memset(r->events, 0, l->events_max * sizeof *r->events);
    memset(r->messages, 0, messages * sizeof *r->messages);
    memset(r->answers, 0, l->answers_max * sizeof *r->answers);
    memset(r->refusals, 0, l->answers_max * sizeof *r->refusals);
    memset(r->lookups, 0, (l->members_max + 1u) * sizeof *r->lookups);
    memset(&r->made, 0, sizeof r->made);
    r->event_count = r->events_taken = 0;
    r->message_id = 0;
    r->heard_term.v = r->heard_id = 0;
}

static void shadow_normalise(struct shadow *shadow)
{
    struct shadow was = *shadow;
    memset(shadow, 0, sizeof *shadow);
    shadow->valid = was.valid;
    shadow->term = was.term;
    shadow->saved_term = was.saved_term;
    shadow->vote = was.vote;
    shadow->commit = was.commit;
    shadow->applied = was.applied;
    shadow->last = was.last;
    shadow->base = was.base;
    shadow->durable = was.durable;
    shadow->revision = 1;
    shadow->role = was.role;
}

void core_normalise(struct kelp_core *r)
{
    ASSERT(r->dirty == 0);
    ASSERT(!r->truncate_due); /* a take has saved it */
    ASSERT(!r->stalled && r->snapshot.index == 0 && r->stranger_count == 0);
    ASSERT(r->change_count == 0 && !r->told_removed); /* members stay as they are */
    ASSERT(config_tiers_above(&r->config, 0) == 1 && r->needed_at == 0 && r->steady_at == 0);
    if (r->timeouts > 0) { /* nobody is preferred: whoever is behind has waited long enough */
        r->timeouts = 1;
        r->behind = false;
    }
    clock_normalise(r);
    saves_normalise(r);
    ASSERT(r->own_look.state == LOOK_NONE);
    memset(&r->own_look, 0, sizeof r->own_look);
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        peer_normalise(r, &r->peers[slot]);
    log_normalise(&r->log);
    requests_normalise(&r->proposals);
    requests_normalise(&r->reads);
    scratch_clear(r);
    shadow_normalise(&r->shadow);
    r->everyone = 0;
    r->held_back = 0;
    if (r->role != KELP_LEADER) r->elected = kelp_term_of(0);      /* told already */
    ASSERT(r->transfer.state == TRANSFER_NONE && r->parting == 0); /* not in the scope */
    memset(&r->transfer, 0, sizeof r->transfer);
    r->truncate_to = kelp_pos_of(0, 0);
}
