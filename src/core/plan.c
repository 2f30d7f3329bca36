/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - what would a change do, and may it? [§4.1, §4.2.1, §4.3]
 *
 *   configuration, who answers --> what would be, what speaks against it, who leads then
 *
 * The one place where a change is judged: change.c refuses what is refused here, and whoever asks
 * for a plan is told the same. Values only: who answers is the caller's to know.
 *
 * Refused unless forced: what would leave fewer voters that answer than a quorum; and a new voter
 * that does not answer, where there are one or two, since the first failure after it would stop
 * the cluster. A voter to be counts as one that answers, because it gets its vote only once it has
 * caught up. What makes no configuration is refused even if it is forced: one without a voter is
 * none.
 *
 * Who leads then is where it ends: a voter that is preferred to the leader gets the leadership once
 * it was level for a while, see transfer.c.
 *
 * Invariants: rows ascend by id; spare <= tolerates; a plan that changes nothing is never refused
 * for what it would do. */
#include "core/plan.h"

#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "core/config.h"
#include "core/edit.h"

#define VOTERS_FEW 2u /* so many cannot spare one */

static bool has(slot_set set, uint32_t slot)
{
    return slot != CONFIG_NO_SLOT && (set >> slot & 1u) != 0;
}

/* A member of either half that has a vote in it. */
static bool votes(uint8_t role)
{
    return role == KELP_VOTER || role == KELP_WITNESS;
}

/* A voter that may lead. */
static bool leads(uint8_t role)
{
    return role == KELP_VOTER;
}

/* ---- one side ---- */

struct half {
    uint32_t voters, live;
};

/* live: members by slot of config that answer, or will. */
static struct half half_of(const struct kelp_config *config, slot_set live, bool old)
{
    struct half half = {0, 0};
    for (uint32_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        if (!votes(old ? member->role_old : member->role)) continue;
        half.voters++;
        half.live += has(live, slot);
    }
    return half;
}

static struct kelp_plan_side side_of(const struct kelp_config *config, slot_set live)
{
    struct half fresh = half_of(config, live, false);
    struct half old = config->joint ? half_of(config, live, true) : fresh;
    uint32_t quorum_fresh = fresh.voters / 2 + 1, quorum_old = old.voters / 2 + 1, live_voters = 0;
    for (uint32_t slot = 0; slot < config->count; slot++)
        live_voters += config_votes(config, slot) && has(live, slot);
    bool works = fresh.live >= quorum_fresh && old.live >= quorum_old;
    uint64_t spare = works ? min_u64(fresh.live - quorum_fresh, old.live - quorum_old) : 0;
    uint64_t tolerates = min_u64(fresh.voters - quorum_fresh, old.voters - quorum_old);
    return (struct kelp_plan_side){.voters = (uint8_t)config_voter_count(config),
                                   .quorum = (uint8_t)max_u64(quorum_fresh, quorum_old),
                                   .live = (uint8_t)live_voters,
                                   .spare = (uint8_t)spare,
                                   .tolerates = (uint8_t)tolerates,
                                   .works = works};
}

uint32_t plan_spare(const struct kelp_config *config, slot_set answers)
{
    return side_of(config, answers).spare;
}

/* Who of another configuration answers: who did so far, and new voters, who must before they are
 * any. */
static slot_set live_in(const struct plan_facts *facts, const struct kelp_config *config)
{
    slot_set live = 0;
    for (uint32_t slot = 0; slot < config->count; slot++) {
        uint32_t now = config_slot(facts->now, config->members[slot].id);
        bool votes_now = now != CONFIG_NO_SLOT && config_votes(facts->now, now);
        if (has(facts->answers, now) || !votes_now) live |= 1u << slot;
    }
    return live;
}

/* ---- rows ---- */

static uint8_t role_in(const struct kelp_config *config, kelp_id id)
{
    uint32_t slot = config_slot(config, id);
    return slot == CONFIG_NO_SLOT ? (uint8_t)KELP_NONE : config->members[slot].role;
}

static void row_add(struct kelp_plan *plan, const struct plan_facts *facts,
                    const struct kelp_config *after, kelp_id id)
{
    struct kelp_plan_member *row = &plan->members[plan->count++];
    ASSERT(plan->count <= KELP_MEMBERS_MAX);
    *row = (struct kelp_plan_member){.id = id};
    row->before = role_in(facts->now, id);
    row->after = role_in(after, id);
    if (has(facts->answers, config_slot(facts->now, id))) row->flags |= KELP_PLAN_ANSWERS;
    if (votes(row->after) && !votes(row->before)) row->flags |= KELP_PLAN_CATCHES_UP;
    if (id == plan->leader) row->flags |= KELP_PLAN_LEADS;
    if (id == plan->leader_next) row->flags |= KELP_PLAN_WILL_LEAD;
}

/* Both lists ascend. */
static void rows_make(struct kelp_plan *plan, const struct plan_facts *facts,
                      const struct kelp_config *after)
{
    uint32_t a = 0, b = 0;
    while (a < facts->now->count || b < after->count) {
        kelp_id one = a < facts->now->count ? facts->now->members[a].id : UINT64_MAX;
        kelp_id other = b < after->count ? after->members[b].id : UINT64_MAX;
        row_add(plan, facts, after, min_u64(one, other));
        a += one <= other;
        b += other <= one;
    }
}

/* ---- who leads ---- */

static uint8_t priority_in(const struct kelp_config *config, kelp_id id)
{
    uint32_t slot = config_slot(config, id);
    ASSERT(slot != CONFIG_NO_SLOT); /* only of those that have a role there */
    return kelp_priority_of(&config->members[slot]);
}

static bool may_lead(const struct kelp_config *config, kelp_id id)
{
    return leads(role_in(config, id)) && priority_in(config, id) > 0;
}

/* As a leader that hands over chooses while it has time. */
static bool better(const struct plan_facts *facts, const struct kelp_config *after, uint32_t slot,
                   uint32_t than)
{
    uint8_t priority = priority_in(after, facts->now->members[slot].id);
    uint8_t other = priority_in(after, facts->now->members[than].id);
    if (priority != other) return priority > other;
    return facts->match[slot] > facts->match[than];
}

/* Whoever leads goes on where it may and nobody is preferred to it; else the preferred voter, of
 * those the one with most. */
static kelp_id leader_after(const struct plan_facts *facts, const struct kelp_config *after,
                            kelp_id stops)
{
    uint32_t found = CONFIG_NO_SLOT;
    bool stays = facts->leader != stops && leads(role_in(after, facts->leader));
    uint8_t own = stays ? priority_in(after, facts->leader) : 0;
    for (uint32_t slot = 0; slot < facts->now->count; slot++) {
        kelp_id id = facts->now->members[slot].id;
        if (id == stops || id == facts->leader || !has(facts->able, slot)) continue;
        if (!leads(role_in(after, id)) || priority_in(after, id) <= own) continue;
        if (found == CONFIG_NO_SLOT || better(facts, after, slot, found)) found = slot;
    }
    if (found == CONFIG_NO_SLOT) return stays ? facts->leader : 0;
    return facts->now->members[found].id;
}

/* ---- warnings ---- */

static uint32_t leaders_of(const struct kelp_config *config)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < config->count; slot++)
        count += may_lead(config, config->members[slot].id);
    return count;
}

static bool voter_silent(const struct plan_facts *facts, const struct kelp_config *after,
                         kelp_id stops)
{
    slot_set live = live_in(facts, after);
    for (uint32_t slot = 0; slot < after->count; slot++) {
        if (after->members[slot].id == stops || !config_votes(after, slot)) continue;
        if (!has(live, slot)) return true;
    }
    return false;
}

static void warn(struct kelp_plan *plan, bool is_so, enum kelp_plan_warning warning)
{
    if (is_so) plan->warnings |= (uint32_t)warning;
}

static void warnings_make(struct kelp_plan *plan, const struct plan_facts *facts,
                          const struct kelp_config *after, kelp_id stops)
{
    uint32_t leaders = leaders_of(after);
    bool changes = plan->way != KELP_PLAN_NOTHING;
    bool moves = plan->leader_next != plan->leader;
    bool stays = plan->leader != stops && may_lead(after, plan->leader);
    warn(plan, plan->after.works && plan->after.spare == 0, KELP_PLAN_W_NO_SPARE);
    warn(plan, plan->after.spare < plan->before.spare, KELP_PLAN_W_LESS_SPARE);
    warn(plan, plan->after.voters % 2 == 0 && plan->way != KELP_PLAN_STOP, KELP_PLAN_W_EVEN);
    warn(plan, leaders < plan->after.voters && leaders <= plan->after.tolerates,
         KELP_PLAN_W_FEW_LEADERS);
    warn(plan, moves && changes && !stays, KELP_PLAN_W_LEADER_GOES);
    warn(plan, voter_silent(facts, after, stops), KELP_PLAN_W_SILENT);
    warn(plan, moves && stays, KELP_PLAN_W_PREFERRED);
}

/* ---- what speaks against it ---- */

/* Who would be a new voter and does not answer; 0: nobody. Whoever is no member yet is not here to
 * be heard: it must show itself before the change begins at all. */
static kelp_id newcomer_silent(const struct plan_facts *facts, const struct kelp_config *after)
{
    for (uint32_t slot = 0; slot < after->count; slot++) {
        kelp_id id = after->members[slot].id;
        uint32_t now = config_slot(facts->now, id);
        bool gets_vote = votes(after->members[slot].role) && !votes(role_in(facts->now, id));
        if (gets_vote && now != CONFIG_NO_SLOT && !has(facts->answers, now)) return id;
    }
    return 0;
}

static void object(struct kelp_plan *plan, enum kelp_reason reason, kelp_id member)
{
    plan->reason = reason;
    plan->member = member;
    plan->forcible = true;
}

/* Would somebody who may lead answer? What nobody could take over is not taken from who leads. */
static bool leader_answers(const struct plan_facts *facts, const struct kelp_config *after)
{
    for (uint32_t slot = 0; slot < after->count; slot++) {
        const struct kelp_member *member = &after->members[slot];
        if (member->role != KELP_VOTER || kelp_priority_of(member) == 0) continue;
        uint32_t now = config_slot(facts->now, member->id);
        if (now == CONFIG_NO_SLOT || facts->now->members[now].role != KELP_VOTER) return true;
        if (has(facts->answers, now)) return true;
    }
    return false;
}

static void judge_change(const struct plan_facts *facts, const struct kelp_change *change,
                         const struct kelp_config *after, struct kelp_plan *plan)
{
    kelp_id silent = newcomer_silent(facts, after);
    struct kelp_config staged;
    bool joint = edit_voters_changed(facts->now, after) > 1;
    if (edit_same(facts->now, after) && !edit_moves(change)) return; /* asked once more */
    plan->way = joint ? KELP_PLAN_JOINT : KELP_PLAN_STEP;
    plan->entries = (uint8_t)((edit_stage(facts->now, after, &staged) > 0) + (joint ? 2 : 1));
    if (!plan->after.works)
        object(plan, KELP_R_QUORUM_AT_RISK, 0);
    else if (silent != 0 && plan->before.voters <= VOTERS_FEW)
        object(plan, KELP_R_VOTER_SILENT, silent);
    else if (leader_answers(facts, facts->now) && !leader_answers(facts, after))
        object(plan, KELP_R_NOBODY_LEADS, 0);
}

/* A refusal that nobody can force. */
static void forbid(struct kelp_plan *plan, enum kelp_reason reason, kelp_id member)
{
    plan->reason = reason;
    plan->member = member;
    plan->forcible = false;
}

static void judge(const struct plan_facts *facts, const struct kelp_change *change,
                  struct kelp_plan *plan)
{
    struct kelp_config after = *facts->now;
    kelp_id member = 0;
    ASSERT(!facts->now->joint);
    enum kelp_reason reason = edit_refusal(facts->now, change, facts->members_max, &member);
    if (reason == KELP_R_NONE) edit_target(facts->now, change, &after);
    plan->after = side_of(&after, live_in(facts, &after));
    plan->leader_next = leader_after(facts, &after, 0);
    if (reason == KELP_R_NONE) judge_change(facts, change, &after, plan);
    if (reason != KELP_R_NONE) forbid(plan, reason, member);
    bool begins = reason != KELP_R_NONE || plan->way != KELP_PLAN_NOTHING;
    if (begins && change->if_index != 0 && change->if_index != facts->now->index)
        forbid(plan, KELP_R_CONFIG_CHANGED, 0);
    rows_make(plan, facts, &after);
    warnings_make(plan, facts, &after, 0);
}

/* ---- a stop ---- */

static void judge_stop(const struct plan_facts *facts, kelp_id id, struct kelp_plan *plan)
{
    uint32_t slot = config_slot(facts->now, id);
    slot_set left = facts->answers;
    plan->way = KELP_PLAN_STOP;
    if (slot == CONFIG_NO_SLOT)
        forbid(plan, KELP_R_UNKNOWN_MEMBER, id);
    else
        left &= ~(1u << slot);
    plan->after = side_of(facts->now, left);
    plan->leader_next = leader_after(facts, facts->now, id);
    rows_make(plan, facts, facts->now);
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->members[i].id == id) plan->members[i].flags |= KELP_PLAN_STOPS;
    }
    warnings_make(plan, facts, facts->now, id);
    if (slot == CONFIG_NO_SLOT || left == facts->answers) return; /* it does not answer as it is */
    if (config_votes(facts->now, slot) && !plan->after.works)
        object(plan, KELP_R_QUORUM_AT_RISK, id);
    else if (plan->leader_next == 0)
        object(plan, KELP_R_NO_CANDIDATE, id);
}

static void begin(const struct plan_facts *facts, struct kelp_plan *plan)
{
    memset(plan, 0, sizeof *plan); /* padding too: plans are compared */
    plan->index = facts->now->index;
    plan->leader = facts->leader;
    plan->before = side_of(facts->now, facts->answers);
    plan->reason = KELP_R_NONE;
}

static void end(struct kelp_plan *plan, uint32_t flags)
{
    bool forced = plan->forcible && (flags & KELP_CHANGE_FORCE) != 0;
    plan->refused = plan->reason != KELP_R_NONE && !forced;
    ASSERT(plan->after.spare <= plan->after.tolerates);
}

void plan_change(const struct plan_facts *facts, const struct kelp_change *change,
                 struct kelp_plan *plan)
{
    begin(facts, plan);
    judge(facts, change, plan);
    end(plan, change->flags);
}

void plan_stop(const struct plan_facts *facts, kelp_id id, uint32_t flags, struct kelp_plan *plan)
{
    begin(facts, plan);
    judge_stop(facts, id, plan);
    end(plan, flags);
}
