/* SPDX-License-Identifier: Apache-2.0 */
/* transfer.c - a leader hands over, both sides. [§3.10]
 *
 *            asked for,              the target has
 *            own disk stalled,       everything, durably
 *            another is preferred
 *      NONE -----------------> LEVEL -------------------> TOLD
 *       ^                        |                          |
 *       |                        |  too late, cancelled,    |  too late, cancelled,
 *       |                        |  cannot be               |  a later leader is heard
 *       `-- the next take ----- OVER <----------------------'
 *           tells the outcome
 *
 * The leader. From the first moment to the take that tells the outcome it takes no entry, so that
 * its log stands still: a voter whose match is the end of it has everything that was ever promised.
 * That voter is told to stand, again each heartbeat, until a leader of a later term is heard (DONE)
 * or one election timeout has passed (aborted: it goes on leading as if nothing had been). The take
 * in between keeps clients in order: of requests given between two takes, those behind a refused
 * one are refused too.
 *
 * The target. An order to stand counts if it comes from the leader of this term and the log ends
 * just where it says, verified against that leader and durable. Whatever is behind it says that the
 * leader has gone on since: a late order, or a copy of one, is ignored. The election skips the
 * pre-vote, and its requests carry a flag that voters who hear the leader look at. Nothing else of
 * an election changes: one vote a term, and only for a log that is not behind.
 *
 * A node that is drained does not stand and does not obey, says so in its answers, and is not
 * chosen; if it leads it hands over to whoever has what is committed, and tries again. It is not
 * saved: a node that starts is drained no more. Undrained while it hands over, it keeps what it
 * leads, unless somebody was told to stand already. Where nobody else leads for four longest
 * election timeouts, it stands all the same: its log may be the only one that can win. So it is
 * with one whose state is apart from the others' (driver/quarantine.c), until that ends: its log
 * is checked by itself, and what it leads then is a log, not answers.
 *
 * Whose priority is highest leads in the end: a leader looks each heartbeat which voters with a
 * higher one are healthy and were less than a heartbeat behind at every look for three longest
 * election timeouts, and hands over to the highest of them, once no change of members goes on. Not
 * within ten longest election timeouts of having tried, or of having taken over from somebody with
 * a higher one: who answers well may yet not hold a majority, and who asked for a transfer wants
 * it. A disk that stalled lately is not preferred, and neither is who is drained. Who leads with
 * priority 0 hands over to whoever could lead, as soon as there is one.
 *
 * A leader that faults has one last word: the order, to the best voter, to stand with what it has.
 * So has one whose vote a committed configuration took, see change.c.
 *
 * Invariants: one outcome for each token; told_term is the last term in which an order left, and
 * there are no leases in it any more, since the new leader may be there before they end. */
#include "core/core.h"
#include "core/look.h"

#define PREFER_WAIT  3u /* longest election timeouts */
#define PREFER_AGAIN 10u

static bool begun(const struct kelp_core *r)
{
    return r->transfer.state == TRANSFER_LEVEL || r->transfer.state == TRANSFER_TOLD;
}

bool transfer_open(const struct kelp_core *r)
{
    return r->role == KELP_LEADER && r->transfer.state != TRANSFER_NONE;
}

/* ---- who ---- */

/* Its disk works: it has everything, or wrote something lately. */
static bool disk_works(const struct kelp_core *r, const struct peer *peer)
{
    if (peer->progress.match == r->log.last) return true;
    return peer->saved_at != 0 && r->now - peer->saved_at <= r->options.stall_limit;
}

static uint8_t priority_at(const struct kelp_core *r, uint32_t slot)
{
    return kelp_priority_of(&r->config.members[slot]);
}

bool transfer_well(const struct kelp_core *r, uint32_t slot)
{
    const struct peer *peer = &r->peers[slot];
    if (slot == r->self_slot) return false;
    if (peer->silent || peer->progress.flow == KELP_NEEDS_SNAPSHOT) return false;
    if (peer->leaving || peer->drained) return false;
    return peer->space == KELP_SPACE_OK && !peer->stalled;
}

bool transfer_able(const struct kelp_core *r, uint32_t slot)
{
    if (r->config.members[slot].role != KELP_VOTER) return false;
    if (priority_at(r, slot) == 0) return false;
    return transfer_well(r, slot);
}

/* A transfer to the best waits for the preferred one, for a quarter of its time. */
static kelp_ns choosy_until(const struct kelp_core *r)
{
    kelp_ns begun_at = r->transfer.again_at - 2 * r->options.election_min;
    return begun_at + r->options.election_min / 4;
}

static bool choosy(const struct kelp_core *r)
{
    return r->transfer.choosy && r->now < choosy_until(r);
}

/* While there is time for it the preferred one is better, later whoever has more. */
static bool better(const struct kelp_core *r, uint32_t slot, uint32_t than)
{
    kelp_index match = r->peers[slot].progress.match, other = r->peers[than].progress.match;
    uint8_t priority = priority_at(r, slot), other_priority = priority_at(r, than);
    bool preferred = priority > other_priority;
    bool unsteady = r->peers[slot].unsteady;
    if (choosy(r) && unsteady != r->peers[than].unsteady) return !unsteady;
    if (choosy(r) && priority != other_priority) return preferred;
    return match != other ? match > other : preferred;
}

/* The voter to hand over to, 0: none could lead. */
static kelp_id best(struct kelp_core *r)
{
    uint32_t found = CONFIG_NO_SLOT;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        const struct peer *peer = &r->peers[slot];
        if (!transfer_able(r, slot)) continue;
        if (r->transfer.stall && !disk_works(r, peer)) continue;
        if (r->transfer.leave && !change_keeps_vote(r, peer->id)) continue;
        if (found == CONFIG_NO_SLOT || better(r, slot, found)) found = slot;
    }
    return found != CONFIG_NO_SLOT ? r->peers[found].id : 0;
}

/* Why a member that was named cannot be the one; KELP_R_NONE: it can. */
static enum kelp_reason unfit(const struct kelp_core *r, kelp_id target)
{
    uint32_t slot = config_slot(&r->config, target);
    if (target == r->options.self) return KELP_R_SELF;
    if (slot == CONFIG_NO_SLOT) return KELP_R_UNKNOWN_MEMBER;
    if (r->config.members[slot].role != KELP_VOTER) return KELP_R_NOT_VOTER;
    if (r->peers[slot].apart) return KELP_R_QUARANTINED;
    if (r->peers[slot].drained) return KELP_R_DRAINED;
    if (priority_at(r, slot) == 0) return KELP_R_NEVER_LEADS;
    if (r->peers[slot].progress.flow == KELP_NEEDS_SNAPSHOT) return KELP_R_BEHIND;
    if (r->peers[slot].leaving) return KELP_R_SHUTDOWN;
    return r->peers[slot].space == KELP_SPACE_NONE ? KELP_R_NO_SPACE : KELP_R_NONE;
}

/* ---- beginning and ending ---- */

static void begin(struct kelp_core *r, uint64_t token, kelp_id wanted, kelp_ns deadline)
{
    struct transfer *t = &r->transfer;
    ASSERT(r->role == KELP_LEADER);
    ASSERT(t->state == TRANSFER_NONE);
    kelp_ns longest = r->now + r->options.election_min;
    kelp_ns again_at = longest + r->options.election_min;
    t->choosy = wanted == 0 && !t->stall && config_tiers_above(&r->config, 0) > 1;
    t->again_at = again_at;
    *t = (struct transfer){.state = TRANSFER_LEVEL,
                           .stall = t->stall,
                           .leave = t->leave,
                           .choosy = t->choosy,
                           .token = token,
                           .wanted = wanted,
                           .target = wanted != 0 ? wanted : best(r),
                           .term = r->term,
                           .until = min_u64(deadline, longest),
                           .again_at = again_at};
    r->dirty |= DIRTY_TRANSFER;
    EVENT(r, TRANSFER_BEGUN, .peer = t->target, .value = token);
}

/* Nobody was told to stand: it leads and is drained as little as before, unless it lost leadership
 * meanwhile, which is all that was wanted. */
static enum kelp_outcome drain_in_vain(struct kelp_core *r, enum kelp_reason *reason)
{
    ASSERT(!r->shutdown); /* which ends a transfer first */
    if (r->role != KELP_LEADER && !r->faulted) {
        *reason = KELP_R_NONE;
        return KELP_DONE;
    }
    EVENT(r, DRAIN_REFUSED, .value = (uint64_t)*reason);
    r->drained = false;
    return KELP_REFUSED;
}

static void end(struct kelp_core *r, enum kelp_outcome outcome, enum kelp_reason reason)
{
    struct transfer *t = &r->transfer;
    ASSERT(begun(r));
    if (outcome == KELP_DONE)
        EVENT(r, TRANSFER_DONE, .peer = r->leader, .value = t->token);
    else
        EVENT(r, TRANSFER_ABORTED, .peer = t->target, .value = (uint64_t)reason);
    if (t->begins_drain && outcome == KELP_REFUSED) outcome = drain_in_vain(r, &reason);
    t->answer = (struct kelp_answer){
        .token = t->token, .outcome = outcome, .reason = reason, .leader = r->leader};
    t->state = TRANSFER_OVER;
}

/* An order that left may still be obeyed. */
static void give_up(struct kelp_core *r, enum kelp_reason reason)
{
    bool left = r->transfer.state == TRANSFER_TOLD && r->transfer.told_at != 0;
    end(r, left ? KELP_UNKNOWN : KELP_REFUSED, reason);
}

static enum kelp_reason refusal(struct kelp_core *r, kelp_id target)
{
    if (r->faulted) return KELP_R_FAULTED;
    if (r->shutdown) return KELP_R_SHUTDOWN;
    if (r->transfer.state != TRANSFER_NONE) return KELP_R_TRANSFERRING;
    if (r->role != KELP_LEADER) return KELP_R_NOT_LEADER;
    if (target != 0) return unfit(r, target);
    return best(r) != 0 ? KELP_R_NONE : KELP_R_NO_CANDIDATE;
}

void transfer_asked(struct kelp_core *r, const struct kelp_input *input)
{
    uint64_t token = input->transfer.token;
    kelp_id target = input->transfer.target;
    ASSERT(token != 0);
    if (r->transfer.state == TRANSFER_NONE) r->transfer.stall = r->transfer.leave = false;
    enum kelp_reason reason = refusal(r, target);
    if (reason != KELP_R_NONE) {
        EVENT(r, TRANSFER_REFUSED, .peer = target, .value = (uint64_t)reason);
        refuse(r, token, reason);
        return;
    }
    begin(r, token, target, input->transfer.deadline);
}

static void drain_set(struct kelp_core *r, bool on)
{
    if (r->drained == on) return;
    r->drained = on;
    r->drained_at = r->now;
    if (on)
        EVENT(r, DRAIN_BEGUN, .peer = r->leader);
    else
        EVENT(r, DRAIN_ENDED, .peer = r->leader);
}

void drain_asked(struct kelp_core *r, const struct kelp_input *input)
{
    uint64_t token = input->drain.token;
    bool hands_over = input->drain.on && r->role == KELP_LEADER;
    ASSERT(token != 0);
    enum kelp_reason reason = hands_over ? refusal(r, 0) : KELP_R_NONE;
    if (r->shutdown) reason = KELP_R_SHUTDOWN;
    if (r->faulted) reason = KELP_R_FAULTED;
    if (reason != KELP_R_NONE) {
        EVENT(r, DRAIN_REFUSED, .value = (uint64_t)reason);
        refuse(r, token, reason);
        return;
    }
    bool begins = input->drain.on && !r->drained;
    if (!input->drain.on && begun(r) && r->transfer.drain) give_up(r, KELP_R_CANCELLED);
    drain_set(r, input->drain.on);
    if (hands_over) {
        r->transfer.stall = false;
        begin(r, token, 0, input->drain.deadline);
        r->transfer.drain = true;
        r->transfer.begins_drain = begins;
        return;
    }
    refuse(r, token, KELP_R_NONE); /* told at once, like a refusal */
    r->refusals[r->refusal_count - 1].outcome = KELP_DONE;
}

void transfer_cancel(struct kelp_core *r, uint64_t token)
{
    if (begun(r) && r->transfer.token == token) give_up(r, KELP_R_CANCELLED);
}

void transfer_stop(struct kelp_core *r, enum kelp_reason reason)
{
    if (begun(r)) give_up(r, reason);
}

uint32_t transfer_take(struct kelp_core *r, struct kelp_answer *out, uint32_t max)
{
    struct transfer *t = &r->transfer;
    if (t->state != TRANSFER_OVER || (t->token != 0 && max == 0)) return 0;
    t->state = TRANSFER_NONE;
    if (t->token == 0) return 0;
    out[0] = t->answer;
    return 1;
}

/* ---- going on ---- */

/* Nobody was told yet. */
static void bring_level(struct kelp_core *r)
{
    struct transfer *t = &r->transfer;
    enum kelp_reason reason = t->wanted != 0 ? unfit(r, t->wanted) : KELP_R_NONE;
    if (r->role != KELP_LEADER) reason = KELP_R_NOT_LEADER;
    if (reason != KELP_R_NONE) {
        give_up(r, reason);
        return;
    }
    if (t->wanted == 0) t->target = best(r); /* whoever is level first */
    const struct peer *peer = t->target != 0 ? peer_of(r, t->target) : NULL;
    if (peer == NULL || r->noop_due || peer->progress.match != r->log.last) return;
    t->state = TRANSFER_TOLD;
    t->required = r->log.last;
    r->told_term = r->term;
}

void transfer_settle(struct kelp_core *r)
{
    struct transfer *t = &r->transfer;
    if (t->state == TRANSFER_LEVEL) bring_level(r);
    if (t->state != TRANSFER_TOLD) return;
    bool leads = r->role == KELP_LEADER;
    if (t->told_at == 0 && !leads) give_up(r, KELP_R_NOT_LEADER); /* before the order left */
    if (!begun(r) || r->term.v == t->term.v) return;
    if (leads)
        give_up(r, KELP_R_LEADERSHIP_LOST); /* and came back */
    else if (r->leader != 0)
        end(r, KELP_DONE, KELP_R_NONE);
}

static void out_of_time(struct kelp_core *r)
{
    const struct peer *peer = peer_of(r, r->transfer.target);
    bool behind = r->transfer.state == TRANSFER_LEVEL && peer != NULL && !peer->silent &&
                  peer->progress.match > 0;
    if (r->transfer.target == 0)
        give_up(r, KELP_R_NO_CANDIDATE);
    else
        give_up(r, behind ? KELP_R_BEHIND : KELP_R_TIMEOUT);
}

/* A drained leader hands over to somebody who has nearly everything: writes wait meanwhile. */
static bool drain_due(struct kelp_core *r)
{
    if ((!r->drained && !r->apart) || core_led_term(r, true) == 0) return false;
    r->transfer.stall = r->transfer.leave = r->transfer.choosy = false;
    kelp_id id = best(r);
    const struct peer *peer = id != 0 ? peer_of(r, id) : NULL;
    return peer != NULL && peer->progress.match >= r->commit;
}

/* ---- whom it should belong to ---- */

void transfer_lead(struct kelp_core *r)
{
    struct preferred *p = &r->preferred;
    uint32_t slot = config_slot(&r->config, p->followed);
    bool choice = r->role == KELP_LEADER && config_tiers_above(&r->config, 0) > 1;
    bool never = r->role == KELP_LEADER && member_priority(r) == 0;
    p->look_at = choice || never ? r->now : KELP_NEVER;
    for (uint32_t at = 0; at < r->config.count && p->look_at == KELP_NEVER; at++)
        r->peers[at].level_at = 0;
    if (r->role != KELP_LEADER) return;
    if (slot != CONFIG_NO_SLOT && priority_at(r, slot) > member_priority(r))
        p->again_at = max_u64(p->again_at, r->now + PREFER_AGAIN * r->options.election_max);
    p->followed = 0;
}

/* Healthy and level, with a priority above our own. */
static bool could_take_over(const struct kelp_core *r, uint32_t slot)
{
    const struct peer *peer = &r->peers[slot];
    uint8_t own = member_priority(r);
    if (priority_at(r, slot) <= own || !transfer_able(r, slot)) return false;
    if (peer->unsteady && own > 0) return false;
    if (peer->progress.match == 0) return false; /* it has not answered in this term */
    return peer->progress.match >= r->preferred.end;
}

/* Who has been level for so long and has the highest priority; 0: nobody. */
static kelp_id preferred_peer(struct kelp_core *r, kelp_ns wait)
{
    kelp_id found = 0;
    uint8_t highest = 0;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        struct peer *peer = &r->peers[slot];
        if (!could_take_over(r, slot)) {
            peer->level_at = 0;
            continue;
        }
        if (peer->level_at == 0) peer->level_at = max_u64(1, r->now);
        if (r->now < peer->level_at + wait || priority_at(r, slot) <= highest) continue;
        highest = priority_at(r, slot);
        found = peer->id;
    }
    return found;
}

/* Once each heartbeat. */
static void preferred_look(struct kelp_core *r)
{
    struct preferred *p = &r->preferred;
    bool never = member_priority(r) == 0;
    kelp_ns again_at = never ? r->transfer.again_at : p->again_at;
    kelp_id id =
        preferred_peer(r, never ? r->options.heartbeat : PREFER_WAIT * r->options.election_max);
    p->end = r->log.last;
    p->look_at = r->now + r->options.heartbeat;
    if (id == 0 || r->now < again_at || r->transfer.state != TRANSFER_NONE) return;
    if (core_led_term(r, true) == 0) return;
    if (!never && change_gate(r) != KELP_R_NONE) return; /* it would not know its outcome */
    p->again_at = r->now + PREFER_AGAIN * r->options.election_max;
    r->transfer.stall = r->transfer.leave = false;
    EVENT(r, TRANSFER_PREFERRED, .peer = id);
    begin(r, 0, id, KELP_NEVER);
}

void transfer_timers(struct kelp_core *r)
{
    struct transfer *t = &r->transfer;
    if (begun(r) && r->now >= t->until) out_of_time(r);
    if (t->state == TRANSFER_LEVEL && t->choosy && !choosy(r)) {
        t->choosy = false;
        r->dirty |= DIRTY_TRANSFER; /* whoever is level will do */
    }
    if (r->role == KELP_LEADER && r->now >= r->preferred.look_at) preferred_look(r);
    bool idle = r->role == KELP_LEADER && t->state == TRANSFER_NONE && r->now >= t->again_at;
    if (!idle || (!r->stalled && !drain_due(r))) return;
    t->stall = r->stalled;
    t->leave = false;
    t->choosy = false;
    if (best(r) == 0) return; /* asked again whenever something comes in */
    if (r->stalled)
        EVENT(r, TRANSFER_FOR_STALL);
    else
        EVENT(r, TRANSFER_FOR_DRAIN);
    begin(r, 0, 0, KELP_NEVER);
    t->drain = !r->stalled;
}

kelp_ns transfer_deadline(const struct kelp_core *r)
{
    const struct transfer *t = &r->transfer;
    kelp_ns look_at = r->role == KELP_LEADER ? r->preferred.look_at : KELP_NEVER;
    if (!begun(r)) return look_at;
    kelp_ns due = min_u64(t->until, look_at);
    if (t->state == TRANSFER_LEVEL && t->choosy) due = min_u64(due, choosy_until(r));
    if (t->told_at == 0 || r->role != KELP_LEADER) return due;
    return min_u64(due, t->told_at + r->options.heartbeat);
}

bool transfer_owed(struct kelp_core *r, const struct peer *peer, struct kelp_message *out)
{
    struct transfer *t = &r->transfer;
    if (t->state != TRANSFER_TOLD || peer->id != t->target) return false;
    ASSERT(r->term.v == t->term.v); /* to lead in another one ends it, see transfer_settle */
    if (t->told_at != 0 && r->now < t->told_at + r->options.heartbeat) return false;
    *out = (struct kelp_message){.type = KELP_MSG_TIMEOUT_NOW};
    out->timeout_now.required = t->required;
    t->told_at = max_u64(1, r->now);
    EVENT(r, TRANSFER_TOLD, .peer = peer->id, .pos = log_tail(&r->log));
    return true;
}

/* ---- a leader that faults ---- */

void transfer_part(struct kelp_core *r)
{
    ASSERT(r->role == KELP_LEADER && !r->faulted);
    r->transfer.stall = r->transfer.leave = r->transfer.choosy = false;
    kelp_id id = r->shutdown ? 0 : best(r);
    const struct peer *peer = id != 0 ? peer_of(r, id) : NULL;
    if (peer == NULL || peer->progress.match == 0) return;
    r->parting = id;
    r->parting_index = peer->progress.match;
    r->told_term = r->term;
    EVENT(r, TRANSFER_PARTING, .peer = r->parting, .pos = kelp_pos_of(r->parting_index, 0));
}

bool transfer_parting(struct kelp_core *r, struct kelp_message *out, kelp_id *to)
{
    if (r->parting == 0 || r->shutdown) return false;
    *out = (struct kelp_message){.type = KELP_MSG_TIMEOUT_NOW};
    if (r->faulted) out->flags |= KELP_MF_FINAL;
    out->timeout_now.required = r->parting_index;
    *to = r->parting;
    r->parting = 0;
    if (r->term.v != r->told_term.v) return false; /* somebody stands already */
    ASSERT(term_saved(r));                         /* we led it */
    return true;
}

/* ---- a leader whose vote goes ---- */

bool transfer_leave(struct kelp_core *r)
{
    struct transfer *t = &r->transfer;
    ASSERT(r->role == KELP_LEADER && t->state == TRANSFER_NONE);
    r->leave_due = false;
    t->stall = false;
    t->leave = true;
    if (best(r) == 0) return false;
    EVENT(r, TRANSFER_FOR_CHANGE);
    begin(r, 0, 0, KELP_NEVER);
    return true;
}

/* Nothing stands behind the entry that took our vote, and a quorum has it: one of them goes on. */
void transfer_left(struct kelp_core *r)
{
    ASSERT(r->role == KELP_LEADER && !r->faulted);
    transfer_stop(r, KELP_R_NOT_LEADER);
    r->transfer.stall = r->transfer.leave = false;
    kelp_id id = best(r);
    if (id == 0 || peer_of(r, id)->progress.match != r->log.last) return;
    r->parting = id;
    r->parting_index = r->log.last;
    r->told_term = r->term;
    EVENT(r, TRANSFER_LEFT, .peer = id, .pos = log_tail(&r->log));
}

/* ---- the target ---- */

void transfer_told(struct kelp_core *r, const struct kelp_message *m)
{
    kelp_index required = m->timeout_now.required;
    bool final = (m->flags & KELP_MF_FINAL) != 0;
    struct kelp_pos pos = kelp_pos_of(required, 0);
    if (r->role != KELP_FOLLOWER || r->leader != m->from) {
        EVENT(r, TIMEOUT_NOW_NOT_LEADER, .peer = m->from, .pos = pos);
    } else if (min_u64(r->verified, r->durable) < required) {
        EVENT(r, TIMEOUT_NOW_BEHIND, .peer = m->from, .pos = pos);
    } else if (r->log.last > required && !final) {
        EVENT(r, TIMEOUT_NOW_LATE, .peer = m->from, .pos = pos);
    } else {
        r->dirty |= DIRTY_STAND;
    }
}

/* Who is about to stop tells its leader at once and not with the next answer: a leader that stops
 * too must not hand over to it. It repeats the last answer, which promises nothing new. */
void transfer_leaves(struct kelp_core *r, uint32_t health)
{
    bool begins = (health & ~r->health & KELP_HEALTH_LEAVING) != 0;
    if (!begins || r->role != KELP_FOLLOWER || r->leader == 0) return;
    struct debt *debt = debt_of(r, r->leader);
    if (debt == NULL || debt->id == 0) return; /* it has asked nothing yet */
    debt->answer = true;
    EVENT(r, LEAVING_TOLD, .peer = r->leader);
}

void transfer_apart(struct kelp_core *r, uint32_t health)
{
    bool apart = (health & KELP_HEALTH_APART) != 0;
    if (r->apart == apart) return;
    r->apart = apart;
    r->drained_at = r->now;
    if (apart)
        EVENT(r, APART_BEGUN, .peer = r->leader);
    else
        EVENT(r, APART_ENDED, .peer = r->leader);
}
