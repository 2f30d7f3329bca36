/* SPDX-License-Identifier: Apache-2.0 */
/* elect.c - asking for votes and giving them, both sides. [§3.4, §3.6.1, §4.2.3, §9.6]
 *
 * A voter's checks, in this order: the candidate was removed by a committed configuration - it
 * hears a leader - lower term - (adopt a higher one) - its own vote - the log. The first two refuse
 * without adopting the term, so that a node that cannot win cannot disturb either. Being unknown to
 * the voter, or a learner in its configuration, is never a reason: the voter's configuration may be
 * older than the candidate's. Whether a node may stand is its own question: if it votes by its
 * newest configuration, or by the one before while the newest may still be taken back. It may be
 * the only one that holds an entry which takes its own vote away; then it is needed, without its
 * vote, until that entry is committed. [§4.2.2 fig 4.6] A witness never stands.
 *
 * Who was removed is told so once, and then whenever it asks for a vote. If that one message was
 * lost it has to ask somebody who is still a member. So who may not stand and hears no leader
 * enquires: it asks everybody for pre-votes and counts no answer. Who stands and does not win
 * enquires of those without a vote: all the voters it knows may have been removed as well.
 *
 * Who is preferred stands first. A node lets one election timeout pass for every different priority
 * above its own among the voters, three at most, counted since it last heard a leader; so the tiers
 * above it may all be dead and a leader is there after four longest timeouts and an election. No
 * voter looks at priorities: they delay, and never decide. Priority 0 does not stand, with one
 * exception: its log kept somebody from leading who may, within the last two timeouts. Such a log
 * may be the only one with what is committed (a leader's entries may commit before its own disk has
 * them), and the cluster would be without a leader for ever; so it leads, and hands over at once
 * (transfer.c).
 *
 * Who knows that its log is behind lets one timeout more pass: the leader had committed more, or
 * somebody else asked for votes who has more. Who has entries that are not on its disk when its
 * timer fires does not stand at all; a disk that takes so long is none to lead with.
 *
 * A pre-vote travels under the sender's own saved term; the term it would lead is a field of its
 * own and is repeated in the answer, which is counted by that field alone, since the voter's own
 * term may be lower. */
#include "core/core.h"

#define LAST_RESORT        4u /* longest election timeouts without a leader */
#define CAMPAIGN_WAITS_MAX 3u

enum { PRE = 0, REAL = 1 };

static bool off(const struct kelp_core *r, enum kelp_protection protection)
{
    return (r->options.off & (uint32_t)protection) != 0;
}

/* Is it not to lead, and may somebody else still be elected? */
static bool drained(struct kelp_core *r)
{
    kelp_ns since = max_u64(r->leader_contact, max_u64(r->led_at, r->drained_at));
    if (!r->drained && !r->apart) return false;
    if (r->now < since + LAST_RESORT * r->options.election_max) {
        EVENT(r, CAMPAIGN_HELD_DRAINED);
        return true;
    }
    EVENT(r, CAMPAIGN_LAST_RESORT, .value = r->now - since);
    return false;
}

/* Its disk could not bear a leadership now, or it is to have none. */
static bool held_back(struct kelp_core *r)
{
    bool full = r->own_space == KELP_SPACE_NONE; /* its empty entry would find no room */
    bool stalled = r->stall_long || r->now < r->campaign_after;
    if (full)
        EVENT(r, CAMPAIGN_HELD_NO_SPACE);
    else if (stalled)
        EVENT(r, CAMPAIGN_HELD_STALLED);
    return full || stalled || drained(r);
}

/* Its log keeps somebody from leading who may. */
static bool needed(const struct kelp_core *r)
{
    return r->needed_at != 0 && r->now <= r->needed_at + 2 * r->options.election_max;
}

/* How many election timeouts it lets pass for those who are preferred. */
static uint32_t waits(const struct kelp_core *r)
{
    uint32_t tiers = config_tiers_above(&r->config, member_priority(r));
    bool others = config_tiers_above(&r->config, 0) > 1;
    if (others && tiers == 0 && r->now < r->steady_at) tiers = 1; /* its disk stalled lately */
    return (tiers < CAMPAIGN_WAITS_MAX ? tiers : CAMPAIGN_WAITS_MAX) + r->behind;
}

static void stay(struct kelp_core *r)
{
    role_step_down(r);
    role_timer_reset(r);
}

/* Its own vote is a vote too: only who was told to stand early gets here. */
static void hold(struct kelp_core *r)
{
    EVENT(r, CAMPAIGN_HELD_HEARD);
    stay(r);
}

static void stand(struct kelp_core *r)
{
    bool repeats = r->role != KELP_FOLLOWER;
    if (member_priority(r) == 0) EVENT(r, CAMPAIGN_NEEDED);
    if (repeats)
        EVENT(r, ELECTION_REPEAT);
    else
        EVENT(r, ELECTION_TIMEOUT, .peer = r->leader);
    if (off(r, KELP_PRE_VOTE) && lease_sticks(r))
        hold(r);
    else if (off(r, KELP_PRE_VOTE))
        role_candidate(r, CANDIDACY_OWN);
    else
        role_pre_candidate(r);
    if (repeats && r->role == KELP_PRE_CANDIDATE) r->enquires = ENQUIRE_OTHERS;
}

/* May it stand at all? Says why not, and waits for the next timeout. */
static bool may_stand(struct kelp_core *r)
{
    if (member_removed(r)) {
        EVENT(r, CAMPAIGN_REMOVED);
        role_timer_reset(r);
        return false;
    }
    if (!member_may_stand(r)) {
        if (config_witness(&r->config, r->self_slot))
            EVENT(r, CAMPAIGN_WITNESS);
        else
            EVENT(r, CAMPAIGN_NOT_VOTER);
        stay(r);
        r->enquires = ENQUIRE_EVERYBODY;
        return false;
    }
    if (member_priority(r) == 0 && !needed(r)) {
        EVENT(r, CAMPAIGN_NEVER);
        stay(r);
        r->enquires = ENQUIRE_EVERYBODY;
        return false;
    }
    if (held_back(r)) {
        if (r->role != KELP_FOLLOWER)
            role_step_down(r);
        else
            role_timer_reset(r);
        return false;
    }
    if (r->term.v >= TERM_MAX) { /* no term is left; only a forged message gets here */
        role_timer_reset(r);
        return false;
    }
    return true;
}

void elect_ordered(struct kelp_core *r)
{
    ASSERT(r->role == KELP_FOLLOWER);
    if (may_stand(r)) stand(r);
}

void elect_timeout(struct kelp_core *r)
{
    ASSERT(r->role != KELP_LEADER);
    uint32_t elapsed = r->timeouts;
    if (elapsed <= CAMPAIGN_WAITS_MAX) r->timeouts++;
    if (!may_stand(r)) return;
    if (elapsed < waits(r)) {
        EVENT(r, CAMPAIGN_WAITS, .value = waits(r) - elapsed);
        stay(r);
        return;
    }
    if (r->durable < r->log.last) {
        EVENT(r, CAMPAIGN_HELD_UNSAVED, .pos = log_tail(&r->log), .value = r->durable);
        stay(r);
        return;
    }
    stand(r);
}

/* A pre-vote would be refused by all who hear the leader. An order that cannot be followed changes
 * nothing: the leader is still there. */
void elect_stand(struct kelp_core *r)
{
    ASSERT(r->role == KELP_FOLLOWER); /* transfer_told has just found it so */
    if (!config_leads(&r->config, r->self_slot)) {
        EVENT(r, CAMPAIGN_NOT_VOTER);
        return;
    }
    if (member_priority(r) == 0) {
        EVENT(r, CAMPAIGN_NEVER);
        return;
    }
    if (held_back(r) || r->term.v >= TERM_MAX) return;
    EVENT(r, TIMEOUT_NOW_OBEYED, .peer = r->leader);
    role_candidate(r, CANDIDACY_TRANSFER);
}

/* ---- the voter ---- */

static void owe_vote(struct kelp_core *r, const struct kelp_message *m, bool granted)
{
    struct debt *debt = debt_of(r, m->from);
    if (debt == NULL) return;
    int kind = (m->flags & KELP_MF_PRE_VOTE) != 0 ? PRE : REAL;
    debt->vote[kind] = true;
    debt->granted[kind] = granted;
    debt->vote_term[kind] = m->vote.term;
    debt->vote_id[kind] = m->id;
}

/* Does this node hear a leader it should stay with? A higher term does not end that: whoever
 * brought it need not be a leader, and the one that was heard may count on us. (lease.c) */
static bool sticks(const struct kelp_core *r)
{
    if (off(r, KELP_STICKINESS)) return false;
    return r->role == KELP_LEADER || lease_sticks(r);
}

/* It would be a new promise, not the repetition of what was decided before a restart. */
static bool fresh(const struct kelp_core *r, const struct kelp_message *m)
{
    return m->vote.term.v > r->term.v || (m->vote.term.v == r->term.v && r->vote == 0);
}

static bool may_lead(const struct kelp_core *r, kelp_id id)
{
    uint32_t slot = config_slot(&r->config, id);
    return config_leads(&r->config, slot) && kelp_priority_of(&r->config.members[slot]) > 0;
}

static bool grants(struct kelp_core *r, const struct kelp_message *m)
{
    bool pre = (m->flags & KELP_MF_PRE_VOTE) != 0;
    struct kelp_pos tail = log_tail(&r->log);
    if (m->vote.term.v < r->term.v || (pre && m->vote.term.v == r->term.v)) {
        EVENT(r, VOTE_REFUSED_LOWER_TERM, .peer = m->from, .value = m->vote.term.v);
        return false;
    }
    if (!pre && r->vote != 0 && r->vote != m->from) {
        EVENT(r, VOTE_REFUSED_VOTED, .peer = m->from, .value = r->vote);
        return false;
    }
    if (kelp_pos_less(m->vote.last, tail)) {
        EVENT(r, VOTE_REFUSED_STALE_LOG, .peer = m->from, .pos = m->vote.last);
        if (member_priority(r) == 0 && may_lead(r, m->from)) r->needed_at = max_u64(1, r->now);
        return false;
    }
    if (pre) {
        EVENT(r, PRE_VOTE_GRANTED, .peer = m->from, .pos = m->vote.last);
    } else if (r->vote == m->from) {
        EVENT(r, VOTE_REPEATED, .peer = m->from);
    } else {
        role_vote(r, m->from);
        EVENT(r, VOTE_GRANTED, .peer = m->from, .pos = m->vote.last);
    }
    return true;
}

void elect_asked(struct kelp_core *r, const struct kelp_message *m)
{
    bool pre = (m->flags & KELP_MF_PRE_VOTE) != 0;
    if (pre ? m->vote.term.v <= m->term.v : m->vote.term.v != m->term.v) {
        EVENT(r, MESSAGE_MALFORMED, .peer = m->from);
        return;
    }
    if (config_removed(member_committed(r), m->from)) {
        EVENT(r, VOTE_REFUSED_REMOVED, .peer = m->from);
        owe_vote(r, m, false);
        return;
    }
    bool waits = (m->flags & KELP_MF_TRANSFER) == 0 && sticks(r);
    bool heard = r->leader_contact != 0 || r->role == KELP_LEADER;
    if (waits && !heard && fresh(r, m)) {
        EVENT(r, VOTE_WITHHELD, .peer = m->from);
        return; /* it asks again, and may have the vote a little later */
    }
    if (waits && heard) {
        EVENT(r, VOTE_REFUSED_STICKY, .peer = m->from, .value = r->leader);
        owe_vote(r, m, false);
        return;
    }
    if (m->term.v > r->term.v) role_adopt(r, m->term);
    if (kelp_pos_less(log_tail(&r->log), m->vote.last) && peer_of(r, m->from) != NULL)
        r->behind = true;
    owe_vote(r, m, grants(r, m));
}

/* ---- the candidate ---- */

void elect_answered(struct kelp_core *r, const struct kelp_message *m)
{
    bool pre = (m->flags & KELP_MF_PRE_VOTE) != 0;
    uint64_t wanted = pre ? r->term.v + 1 : r->term.v;
    bool asked = r->role == (pre ? KELP_PRE_CANDIDATE : KELP_CANDIDATE) && term_saved(r);
    if (!asked || m->vote.term.v != wanted) {
        EVENT(r, VOTE_ANSWER_STALE, .peer = m->from, .value = m->vote.term.v);
        return;
    }
    uint32_t slot = config_slot(&r->config, m->from);
    if (!config_votes(&r->config, slot)) {
        EVENT(r, VOTE_ANSWER_NOT_VOTER, .peer = m->from);
        return;
    }
    struct peer *peer = &r->peers[slot];
    if (peer->ballot != BALLOT_NONE) {
        EVENT(r, VOTE_ANSWER_TWICE, .peer = m->from);
        return;
    }
    peer->ballot = (m->flags & KELP_MF_GRANTED) != 0 ? BALLOT_GRANTED : BALLOT_REFUSED;
    r->dirty |= DIRTY_TALLY;
}

void elect_tally(struct kelp_core *r)
{
    if (r->role != KELP_PRE_CANDIDATE && r->role != KELP_CANDIDATE) return;
    slot_set granted = 0, refused = 0;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        enum ballot ballot = slot == r->self_slot ? r->own_ballot : r->peers[slot].ballot;
        if (ballot == BALLOT_GRANTED) granted |= 1u << slot;
        if (ballot == BALLOT_REFUSED) refused |= 1u << slot;
    }
    if (quorum_has(&r->config, granted)) {
        if (r->role == KELP_PRE_CANDIDATE && lease_sticks(r))
            hold(r);
        else if (r->role == KELP_PRE_CANDIDATE)
            role_candidate(r, CANDIDACY_OWN);
        else
            role_leader(r);
    } else if (quorum_cannot(&r->config, refused)) {
        EVENT(r, ELECTION_LOST);
        role_step_down(r);
        r->enquires = ENQUIRE_OTHERS;
    }
}
