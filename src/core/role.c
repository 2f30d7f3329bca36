/* SPDX-License-Identifier: Apache-2.0 */
/* role.c - the only writer of role, term, vote and leader. [§3.3, §3.4, §9.6]
 *
 *                 timeout [role_pre_candidate]        quorum would [role_candidate]       quorum
 * did [role_leader] FOLLOWER ------------------------------> PRE_CANDIDATE -------------->
 * CANDIDATE ---------------------> LEADER ^                                         |   ^ | | | |
 * `------- timeout --------+                               |
 *        `--- a leader of this term [role_follow], a higher term [role_adopt], a quorum refused or
 * is out of reach, a stalled disk [role_step_down]
 * ------------------------------------------------------------------'
 *
 * Invariants: the term only grows; a vote is given at most once in a term and is only cleared by a
 * higher one; every attempt at an election starts with empty ballots and, unless switched off, as a
 * pre-vote; nobody but a follower knows a leader other than itself. */
#include "core/core.h"

void role_timer_reset(struct kelp_core *r)
{
    kelp_ns span = r->options.election_max - r->options.election_min;
    r->election_at = r->now + lease_election_min(r) + prng_below(&r->prng, span + 1);
}

static void ballots_clear(struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        r->peers[slot].ballot = BALLOT_NONE;
        r->peers[slot].asked_at = 0;
    }
    r->own_ballot = BALLOT_NONE;
}

static void leader_known(struct kelp_core *r, kelp_id leader)
{
    if (r->leader == leader) return;
    r->leader = leader;
    if (leader != 0 && leader != r->options.self) r->preferred.followed = leader;
    r->dirty |= DIRTY_TRANSFER;
    if (leader == 0)
        EVENT(r, LEADER_UNKNOWN);
    else
        EVENT(r, LEADER_KNOWN, .peer = leader);
}

static void role_set(struct kelp_core *r, enum kelp_role role)
{
    static const uint16_t events[] = {[KELP_FOLLOWER] = KELP_EV_ROLE_FOLLOWER,
                                      [KELP_PRE_CANDIDATE] = KELP_EV_ROLE_PRE_CANDIDATE,
                                      [KELP_CANDIDATE] = KELP_EV_ROLE_CANDIDATE,
                                      [KELP_LEADER] = KELP_EV_ROLE_LEADER};
    bool led = r->role == KELP_LEADER;
    ballots_clear(r);
    r->by_transfer = false; /* for one attempt only */
    r->enquires = ENQUIRE_NOBODY;
    if (r->role != role) {
        r->role = role;
        r->role_since = r->now;
        r->dirty |= DIRTY_ROLE;
        event_emit(r, (struct kelp_event){.type = events[role], .pos = log_tail(&r->log)});
    }
    if (!led) return;
    ASSERT(role != KELP_LEADER);
    r->noop_due = false;
    r->own_first = 0;
    r->led_at = r->now;
    read_end(r);
    change_lead_end(r);
}

static void follower(struct kelp_core *r, kelp_id leader)
{
    bool was_follower = r->role == KELP_FOLLOWER;
    role_set(r, KELP_FOLLOWER);
    leader_known(r, leader);
    /* a higher term alone does not buy a follower's patience: somebody who cannot win could keep it
     * waiting */
    if (!was_follower) role_timer_reset(r);
}

void role_adopt(struct kelp_core *r, kelp_term term)
{
    ASSERT(term.v > r->term.v);
    r->term = term;
    r->vote = 0;
    r->verified = 0; /* of the leader of another term */
    r->round_seen = 0;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        r->peers[slot].debt.rejected = false;
        r->peers[slot].debt.attempt = 0;
    }
    EVENT(r, TERM_ADOPTED);
    follower(r, 0);
}

void role_follow(struct kelp_core *r, kelp_id leader)
{
    ASSERT(leader != 0 && leader != r->options.self);
    ASSERT(r->role != KELP_LEADER);
    if (r->role != KELP_FOLLOWER || r->leader != leader) follower(r, leader);
    lease_stick(r);
    r->timeouts = 0;
    r->behind = false;
    r->needed_at = 0;
    role_timer_reset(r);
}

void role_step_down(struct kelp_core *r)
{
    follower(r, 0);
}

void role_pre_candidate(struct kelp_core *r)
{
    ASSERT(r->role != KELP_LEADER);
    leader_known(r, 0);
    role_set(r, KELP_PRE_CANDIDATE);
    r->own_ballot = BALLOT_GRANTED; /* asking costs nothing, so nothing need be saved */
    r->dirty |= DIRTY_TALLY;
    role_timer_reset(r);
}

void role_candidate(struct kelp_core *r, enum candidacy why)
{
    ASSERT(r->role != KELP_LEADER);
    ASSERT(r->term.v < UINT64_MAX);
    leader_known(r, 0);
    r->term.v++;
    r->sticks_from = 0; /* it stands because nobody counts on it, or its leader gave that up */
    r->vote = r->options.self; /* counted when its save is reported */
    role_set(r, KELP_CANDIDATE);
    r->by_transfer = why == CANDIDACY_TRANSFER;
    r->verified = 0;
    r->round_seen = 0;
    role_timer_reset(r);
}

void role_leader(struct kelp_core *r)
{
    ASSERT(r->role == KELP_CANDIDATE);
    ASSERT(term_saved(r) && r->saved_vote == r->options.self);
    role_set(r, KELP_LEADER);
    r->timeouts = 0;
    r->behind = false;
    r->needed_at = 0;
    leader_known(r, r->options.self);
    r->elected = r->term;
    r->election_at = KELP_NEVER;
}

void role_vote(struct kelp_core *r, kelp_id candidate)
{
    ASSERT(r->vote == 0);
    ASSERT(candidate != 0);
    if (r->role != KELP_FOLLOWER) role_step_down(r); /* who would vote for another need not ask */
    r->vote = candidate;
    role_timer_reset(r); /* only a granted vote does; refusing one must not keep us from standing */
}
