/* SPDX-License-Identifier: Apache-2.0 */
/* timer.c - what time alone causes: elections, a leader without a quorum, lost windows, deadlines.
 * [§3.4, §6.2]
 *
 * There are no ticks: timer_deadline() says when the next thing is due, timer_expire() does all
 * that is. */
#include "core/core.h"

/* Since when has a quorum been silent? A leader is in contact with itself. */
static kelp_ns quorum_contact(const struct kelp_core *r)
{
    UNSET uint64_t values[KELP_MEMBERS_MAX]; /* by slot, below config.count */
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        values[slot] = slot == r->self_slot ? r->now : r->peers[slot].contact;
    return quorum_value(&r->config, values);
}

kelp_ns kelp_contact(const struct kelp_core *core)
{
    return core->role == KELP_LEADER ? quorum_contact(core) : core->leader_contact;
}

static bool checks_quorum(const struct kelp_core *r)
{
    return (r->options.off & KELP_CHECK_QUORUM) == 0;
}

/* Contact only grows while a term is led with one configuration, so what was found is enough until
 * then. */
static bool quorum_near(const struct kelp_core *r)
{
    return r->near.term.v == r->term.v && r->near.config_index == r->config.index &&
           r->now <= r->near.until;
}

static void leader_timers(struct kelp_core *r)
{
    replicate_timers(r);
    if (!checks_quorum(r) || quorum_near(r)) return;
    kelp_ns since = quorum_contact(r);
    r->near = (struct near){r->term, r->config.index, since + r->options.election_min};
    if (r->now <= r->near.until) return;
    EVENT(r, QUORUM_LOST, .value = r->now - since);
    role_step_down(r);
}

/* Nothing that is asked for is due: nearly always so. */
static bool deadlines_ahead(const struct kelp_core *r)
{
    return r->now < r->proposals.deadline && r->now < r->reads.deadline && r->change_count == 0;
}

static void deadlines(struct kelp_core *r)
{
    uint32_t open = r->proposals.open;
    requests_expire(&r->proposals, r->now, KELP_UNKNOWN, KELP_R_TIMEOUT);
    if (r->proposals.open < open) EVENT(r, PROPOSAL_UNKNOWN, .value = open - r->proposals.open);
    requests_expire(&r->reads, r->now, KELP_REFUSED, KELP_R_TIMEOUT);
    change_expire(r);
}

void timer_expire(struct kelp_core *r)
{
    if (!deadlines_ahead(r)) deadlines(r);
    if (core_silent(r)) return;
    if (r->saves_count > 0) save_stall_check(r);
    transfer_timers(r); /* also of who led when it was asked for */
    if (r->role == KELP_LEADER)
        leader_timers(r);
    else if (r->now >= r->election_at)
        elect_timeout(r);
}

static kelp_ns peer_deadline(const struct kelp_core *r, const struct peer *peer)
{
    const struct progress *p = &peer->progress;
    kelp_ns due = min_u64(peer->heartbeat_at, peer->commit_at);
    bool looking = peer->look.state == LOOK_ASKED; /* what is wanted was asked in this take */
    if (p->flow == KELP_PROBE && p->probe_out && !looking) /* the lookup's answer wakes us */
        due = min_u64(due, peer->probe_at + r->options.heartbeat);
    if (p->flow == KELP_NEEDS_SNAPSHOT)
        due = min_u64(due, add_sat(peer->probe_at, r->options.election_max));
    if (p->flow == KELP_NEEDS_SNAPSHOT && r->snapshot.index != 0)
        due = min_u64(due, peer->offer_at);
    if (p->window_count > 0) due = min_u64(due, peer->progress_at + peer->resend_after);
    if (!peer->silent) due = min_u64(due, peer->contact + r->options.election_min + 1);
    return due;
}

kelp_ns timer_deadline(const struct kelp_core *r)
{
    kelp_ns due = min_u64(r->proposals.deadline, r->reads.deadline);
    due = min_u64(due, change_deadline(r));
    if (core_silent(r)) return due;
    due = min_u64(min_u64(due, save_deadline(r)), transfer_deadline(r));
    if (r->role != KELP_LEADER) due = min_u64(due, r->election_at);
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        const struct peer *peer = &r->peers[slot];
        if (slot == r->self_slot) continue;
        if (r->role == KELP_LEADER) due = min_u64(due, peer_deadline(r, peer));
        bool asks = r->role == KELP_CANDIDATE || r->role == KELP_PRE_CANDIDATE;
        if (asks && peer->ballot == BALLOT_NONE && peer->asked_at != 0)
            due = min_u64(due, peer->asked_at + 2 * r->options.heartbeat);
    }
    if (r->role == KELP_LEADER && checks_quorum(r))
        due = min_u64(due, quorum_contact(r) + r->options.election_min + 1);
    return due;
}
