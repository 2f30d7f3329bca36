/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - the leader's side of a change of the membership. [§4.1, §4.2.1, §4.2.2, §4.3]
 *
 *   asked --gate--> WAITING --> STAGED --caught up--> one step, or joint --> committed: DONE
 *              |                   `--given up--> BEHIND: REFUSED, or UNKNOWN if somebody came
 *              `--refused, or nothing new: answered without an entry
 *
 * The gate: an entry of the own term is committed, the newest configuration is, and it is neither
 * joint nor has it members that are staging; and leadership is not being handed over. So no two
 * changes are ever under way, the one step back of member.c is always enough, and what made single
 * steps unsafe in 2015 (a change before the first commit of the term) cannot be. What goes on after
 * the gate is driven by the configuration
 * in force alone, whoever leads: a committed joint one is left, who is staging and caught up gets
 * the vote. The request is only who is told of it; whoever led before answers by what is committed.
 *
 * Catching up: a round is to replicate what is there at its start, and to answer something sent
 * since. Who needed less than an election timeout for one is ready; ten slow rounds, or long
 * without progress, and all who are staging are learners. Who was one before is back where it was,
 * and the change never happened; who is new stays, so that much of it did.
 *
 * A change that takes the leader's own vote is carried out by its successor: it hands over first,
 * to a voter that stays one, and answers "does not lead", so whoever asked goes there. If nobody
 * could take over it goes on here: it does not count itself, appends nothing behind the
 * entry that takes its vote, and steps down when that is committed, so it leaves no proposal behind
 * whose outcome it could not learn.
 *
 * Invariants: of the changes here at most one is past the gate and not decided; only a leader has
 * changes that wait. */
#include <string.h>

#include "core/core.h"
#include "core/edit.h"
#include "core/plan.h"

#define CATCH_UP_ROUNDS 10u
#define VOTERS_MIN      3u /* that stay when one is removed for not being seen */

static bool own_term_committed(const struct kelp_core *r)
{
    return r->own_first != 0 && r->commit >= r->own_first;
}

enum kelp_reason change_gate(const struct kelp_core *r)
{
    if (r->role != KELP_LEADER) return KELP_R_NOT_LEADER;
    if (!own_term_committed(r)) return KELP_R_NO_COMMIT_YET;
    if (transfer_open(r)) return KELP_R_TRANSFERRING;
    bool settled = r->config.index <= r->commit && !r->config.joint && !r->staging;
    return settled ? KELP_R_NONE : KELP_R_PENDING;
}

static struct kelp_change asked_of(const struct change *change)
{
    return (struct kelp_change){.flags = change->flags,
                                .count = change->count,
                                .if_index = change->if_index,
                                .edits = change->edits};
}

/* ---- outcomes ---- */

static void resolve(struct kelp_core *r, struct change *change, enum kelp_outcome outcome,
                    enum kelp_reason reason)
{
    ASSERT(change->outcome == 0);
    change->outcome = (uint8_t)outcome;
    change->reason = (uint8_t)reason;
    if (outcome == KELP_REFUSED) EVENT(r, CHANGE_REFUSED, .peer = change->member, .value = reason);
    if (outcome == KELP_UNKNOWN) EVENT(r, CHANGE_UNKNOWN, .pos = change->pos, .value = reason);
}

/* Nobody knows how it will end: it has not begun, and never will; or it may happen or not. */
static void end(struct kelp_core *r, struct change *change, enum kelp_reason reason)
{
    resolve(r, change, change->stage == CHANGE_WAITING ? KELP_REFUSED : KELP_UNKNOWN, reason);
}

void change_end_all(struct kelp_core *r, enum kelp_reason reason)
{
    for (uint32_t i = 0; i < r->change_count; i++) {
        if (r->changes[i].outcome == 0) end(r, &r->changes[i], reason);
    }
}

void change_lead_end(struct kelp_core *r)
{
    for (uint32_t i = 0; i < r->change_count; i++) {
        struct change *change = &r->changes[i];
        if (change->stage == CHANGE_DECIDED) continue;
        if (change->outcome == 0)
            end(r, change,
                change->stage == CHANGE_WAITING ? KELP_R_NOT_LEADER : KELP_R_LEADERSHIP_LOST);
        change->stage = CHANGE_DECIDED; /* not by us any more */
    }
}

void change_cancel(struct kelp_core *r, uint64_t token)
{
    for (uint32_t i = 0; i < r->change_count; i++) {
        struct change *change = &r->changes[i];
        if (change->token == token && change->outcome == 0) end(r, change, KELP_R_TIMEOUT);
    }
}

void change_expire(struct kelp_core *r)
{
    for (uint32_t i = 0; i < r->change_count; i++) {
        struct change *change = &r->changes[i];
        if (change->outcome != 0 || r->now < change->deadline) continue;
        enum kelp_reason gate = change_gate(r);
        bool waits = change->stage == CHANGE_WAITING && gate != KELP_R_NONE;
        end(r, change, waits ? gate : KELP_R_TIMEOUT);
    }
}

/* Of one that has an outcome: what is staged is still to be decided. */
static bool goes_on(const struct change *change)
{
    if (change->stage != CHANGE_STAGED) return false;
    ASSERT(change->outcome == KELP_UNKNOWN); /* whatever else comes of it is said once decided */
    return true;
}

static struct change *change_at(struct kelp_core *r, enum change_stage stage)
{
    for (uint32_t i = 0; i < r->change_count; i++) {
        struct change *change = &r->changes[i];
        if (change->stage != (uint8_t)stage) continue;
        if (change->outcome == 0 || goes_on(change)) return change;
    }
    return NULL;
}

static void forget(struct kelp_core *r, uint32_t number)
{
    struct change gone = r->changes[number];
    r->change_count--;
    memmove(&r->changes[number], &r->changes[number + 1], (r->change_count - number) * sizeof gone);
    memset(&r->changes[r->change_count], 0, sizeof gone);
    r->changes[r->change_count].edits = gone.edits; /* the room stays with the table */
}

uint32_t change_take(struct kelp_core *r, struct kelp_answer *out, uint32_t max)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < r->change_count && taken < max;) {
        struct change *change = &r->changes[i];
        if (change->outcome != 0 && change->token != 0) {
            out[taken++] = (struct kelp_answer){.token = change->token,
                                                .outcome = (enum kelp_outcome)change->outcome,
                                                .reason = (enum kelp_reason)change->reason,
                                                .pos = change->pos,
                                                .member = change->member};
            change->token = 0;
        }
        if (change->outcome == 0 || goes_on(change)) /* who had asked knows by now */
            i++;
        else
            forget(r, i);
    }
    return taken;
}

/* ---- asking ---- */

void change_asked(struct kelp_core *r, const struct kelp_input *input)
{
    const struct kelp_change *what = input->change.what;
    uint64_t token = input->change.token;
    ASSERT(token != 0);
    enum kelp_reason gate = change_gate(r), reason = KELP_R_NONE;
    if (gate == KELP_R_NONE && change_at(r, CHANGE_WAITING) != NULL)
        gate = KELP_R_PENDING; /* that one came first */
    if (r->faulted)
        reason = KELP_R_FAULTED;
    else if (r->shutdown)
        reason = KELP_R_SHUTDOWN;
    else if (gate == KELP_R_NOT_LEADER)
        reason = gate;
    else if (what->count > r->options.limits.members_max)
        reason = KELP_R_BAD_CHANGE;
    else if (gate != KELP_R_NONE && (what->flags & KELP_CHANGE_NOWAIT) != 0)
        reason = gate;
    else if (r->change_count == CHANGES_MAX)
        reason = KELP_R_BUSY;
    if (reason != KELP_R_NONE) {
        EVENT(r, CHANGE_REFUSED, .value = reason);
        refuse(r, token, reason);
        if (reason == KELP_R_PENDING) r->refusals[r->refusal_count - 1].pos.index = r->config.index;
        return;
    }
    struct change *change = &r->changes[r->change_count++];
    struct kelp_edit *edits = change->edits;
    *change = (struct change){.token = token,
                              .deadline = input->change.deadline,
                              .flags = what->flags,
                              .count = what->count,
                              .if_index = what->if_index,
                              .edits = edits};
    if (what->count > 0) memcpy(edits, what->edits, what->count * sizeof *edits);
    if (gate != KELP_R_NONE) EVENT(r, CHANGE_WAITS, .value = gate);
}

/* ---- entries ---- */

/* The newest configuration from now on; change: who asked for it, NULL: nobody who is still here.
 */
static void append(struct kelp_core *r, struct kelp_config *next, struct change *change)
{
    ASSERT(r->role == KELP_LEADER && own_term_committed(r));
    ASSERT(r->config.index <= r->commit); /* one step back is always enough */
    log_append(&r->log, r->term, CONFIG_BYTES(next->count));
    next->index = r->log.last;
    member_appended(r, next);
    r->made = (struct kelp_made){.pos = log_tail(&r->log),
                                 .type = KELP_ENTRY_CONFIG,
                                 .config = &r->config,
                                 .change = change != NULL ? change->token : 0};
}

static void decide(struct kelp_core *r, struct kelp_config *next, struct change *change)
{
    append(r, next, change);
    if (change == NULL) return;
    change->pos = r->made.pos;
    change->stage = CHANGE_DECIDED;
    change_adopted(r);
}

static void take_step(struct kelp_core *r, struct kelp_config *target, struct change *change)
{
    struct kelp_config joint;
    if (edit_voters_changed(&r->config, target) <= 1) {
        decide(r, target, change);
        EVENT(r, CHANGE_SIMPLE, .pos = r->made.pos);
        return;
    }
    edit_join(&r->config, target, &joint);
    decide(r, &joint, change);
    EVENT(r, CHANGE_JOINT, .pos = r->made.pos);
}

/* What decides is the joint configuration, and it is committed: if this entry is overwritten,
 * whoever leads next writes it again. So the change stays where it was decided. */
static void leave_joint(struct kelp_core *r)
{
    struct kelp_config target;
    struct change *change = NULL;
    for (uint32_t i = 0; i < r->change_count; i++) {
        if (r->changes[i].stage == CHANGE_DECIDED && r->changes[i].outcome == 0)
            change = &r->changes[i];
    }
    edit_leave(&r->config, &target);
    append(r, &target, change);
    EVENT(r, CHANGE_LEFT_JOINT, .pos = r->made.pos);
}

/* ---- catching up ---- */

static void round_begin(struct kelp_core *r, struct peer *peer)
{
    struct catch_up *c = &peer->catch_up;
    c->target = r->log.last;
    c->asked = r->message_id;
    c->began = r->now;
    peer->heartbeat_at = r->now; /* something to answer, even where nothing is to replicate */
}

static kelp_ns idle_limit(const struct kelp_core *r)
{
    return r->options.catch_up_idle != 0 ? r->options.catch_up_idle : 10 * r->options.election_max;
}

static uint32_t rounds_max(const struct kelp_core *r)
{
    return r->options.catch_up_rounds != 0 ? r->options.catch_up_rounds : CATCH_UP_ROUNDS;
}

/* It has caught up: is it well, too, and for how long? */
static void watch_health(struct kelp_core *r, struct peer *peer)
{
    struct catch_up *c = &peer->catch_up;
    bool well = peer->space == KELP_SPACE_OK && !peer->stalled && !peer->leaving;
    if (well || r->options.join_healthy == 0) return;
    if (c->began < r->now) EVENT(r, CATCH_UP_UNWELL, .peer = peer->id);
    c->began = r->now;
}

static bool may_vote(const struct kelp_core *r, const struct catch_up *c)
{
    return c->ready && r->now >= add_sat(c->began, r->options.join_healthy);
}

/* One look at a member that is staging: did it finish a round, and is it to be given up? */
static void catch_up(struct kelp_core *r, struct peer *peer)
{
    struct catch_up *c = &peer->catch_up;
    if (c->target == 0) {
        c->moved = r->now;
        round_begin(r, peer);
    }
    if (peer->progress.match > c->match) {
        c->match = peer->progress.match;
        c->moved = r->now;
    }
    if (c->ready && r->now > peer->contact + r->options.election_min) {
        EVENT(r, CATCH_UP_SILENT, .peer = peer->id);
        c->ready = false;
        c->moved = r->now;
        round_begin(r, peer);
    }
    if (c->ready) {
        watch_health(r, peer);
        return;
    }
    if (peer->progress.match >= c->target && peer->answered_id > c->asked) {
        c->rounds++;
        c->ready = r->now - c->began < r->options.election_min;
        if (c->ready) {
            EVENT(r, CATCH_UP_DONE, .peer = peer->id, .value = c->rounds);
            c->began = r->now;
            if (r->options.join_healthy != 0) EVENT(r, CATCH_UP_WATCHED, .peer = peer->id);
            return;
        }
        EVENT(r, CATCH_UP_ROUND, .peer = peer->id, .value = c->rounds);
        c->failed = c->rounds >= rounds_max(r);
        c->moved = r->now;
        round_begin(r, peer);
    }
    c->failed = c->failed || r->now >= c->moved + idle_limit(r);
}

static bool staging(const struct kelp_core *r, uint32_t slot)
{
    return slot != r->self_slot && r->config.members[slot].role == KELP_STAGING;
}

/* Everybody who is staging is looked at; ready: all are. Returns who is given up, NULL: nobody. */
static const struct peer *catch_up_all(struct kelp_core *r, bool *ready)
{
    const struct peer *slow = NULL;
    *ready = true;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        struct peer *peer = &r->peers[slot];
        if (!staging(r, slot)) continue;
        catch_up(r, peer);
        if (!may_vote(r, &peer->catch_up)) *ready = false;
        if (peer->catch_up.failed && slow == NULL) slow = peer;
    }
    return slow;
}

static void staging_forget(struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        r->peers[slot].catch_up = (struct catch_up){.target = 0};
}

static void give_up(struct kelp_core *r, struct change *change, const struct peer *slow)
{
    struct kelp_config target = r->config;
    EVENT(r, CATCH_UP_GIVEN_UP, .peer = slow->id, .value = slow->catch_up.rounds);
    if (change != NULL) {
        change->member = slow->id;
        change->verdict = KELP_R_BEHIND;
    }
    edit_unstage(&target);
    decide(r, &target, change);
}

/* ---- the gate is open ---- */

/* Did it not answer this leader yet, and may only be late? What waits for that is looked at again
 * whenever something comes or goes, at the next heartbeat that is. */
static bool late(const struct kelp_core *r, uint32_t slot)
{
    const struct peer *peer = &r->peers[slot];
    if (slot == r->self_slot || peer->heard) return false;
    return r->now <= peer->contact + r->options.election_min;
}

/* Who answered this leader, and lately; itself among them. */
static slot_set answering(const struct kelp_core *r)
{
    slot_set found = 0;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        const struct peer *peer = &r->peers[slot];
        bool recent = peer->heard && r->now <= peer->contact + r->options.election_min;
        if (slot == r->self_slot || recent) found |= 1u << slot;
    }
    return found;
}

uint32_t change_spare(const struct kelp_core *r)
{
    return plan_spare(&r->config, r->role == KELP_LEADER ? answering(r) : ~(slot_set)0);
}

/* What plan.c judges by. match: room for every member. */
static struct plan_facts facts_of(const struct kelp_core *r, kelp_index *match)
{
    struct plan_facts facts = {.now = &r->config,
                               .members_max = r->options.limits.members_max,
                               .leader = r->options.self,
                               .answers = answering(r),
                               .match = match};
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        bool self = slot == r->self_slot;
        if (late(r, slot)) facts.late |= 1u << slot;
        if (transfer_well(r, slot)) facts.able |= 1u << slot;
        match[slot] = self ? r->durable : r->peers[slot].progress.match;
    }
    return facts;
}

typedef void plan_made(const struct plan_facts *facts, const struct kelp_change *change,
                       struct kelp_plan *plan);

static void stop_made(const struct plan_facts *facts, const struct kelp_change *change,
                      struct kelp_plan *plan)
{
    plan_stop(facts, change->edits[0].id, change->flags, plan);
}

/* A leader that is new has not heard everybody yet: what is refused only for the want of those that
 * may be late is not judged before they answered or are late. false: not now. */
static bool judge(plan_made *made, const struct plan_facts *facts, const struct kelp_change *change,
                  struct kelp_plan *plan)
{
    struct kelp_plan hoped;
    struct plan_facts all = *facts;
    made(facts, change, plan);
    if (!plan->refused || facts->late == 0) return true;
    all.answers |= facts->late;
    made(&all, change, &hoped);
    return hoped.refused;
}

enum kelp_reason kelp_core_plan(const struct kelp_core *r, const struct kelp_change *change,
                                struct kelp_plan *plan)
{
    kelp_index match[KELP_MEMBERS_MAX];
    bool stop = change->count == 1 && change->edits[0].verb == KELP_EDIT_STOP;
    enum kelp_reason gate = r->shutdown ? KELP_R_SHUTDOWN : change_gate(r);
    if (r->faulted) gate = KELP_R_FAULTED;
    if (stop && gate == KELP_R_PENDING) gate = KELP_R_NONE; /* both majorities are looked at */
    if (gate != KELP_R_NONE) return gate;
    struct plan_facts facts = facts_of(r, match);
    return judge(stop ? stop_made : plan_change, &facts, change, plan) ? KELP_R_NONE
                                                                       : KELP_R_NO_COMMIT_YET;
}

static bool votes_in(const struct kelp_config *config, kelp_id id)
{
    uint32_t slot = config_slot(config, id);
    return slot != CONFIG_NO_SLOT && config->members[slot].role == KELP_VOTER;
}

bool change_leaves(const struct kelp_core *r)
{
    return r->role == KELP_LEADER && !votes_in(&r->config, r->options.self);
}

bool change_keeps_vote(struct kelp_core *r, kelp_id id)
{
    struct kelp_config target;
    const struct change *change = change_at(r, CHANGE_WAITING);
    if (change == NULL || !change->handed) return true; /* not the one handed over for */
    struct kelp_change asked = asked_of(change);
    edit_target(&r->config, &asked, &target);
    return votes_in(&target, id);
}

/* The oldest change that waits begins, or is answered; false: it goes on waiting. What is so
 * already is told like a read: once a quorum has answered that nobody leads who may have changed it
 * since. [§6.4] */
static bool begin(struct kelp_core *r, struct change *change)
{
    struct kelp_config target, staged;
    struct kelp_change asked = asked_of(change);
    struct kelp_plan plan;
    kelp_index match[KELP_MEMBERS_MAX];
    change->pos = kelp_pos_of(r->config.index, log_term(&r->log, r->config.index).v);
    struct plan_facts facts = facts_of(r, match);
    if (!judge(plan_change, &facts, &asked, &plan)) {
        if ((change->flags & KELP_CHANGE_NOWAIT) == 0) return false;
        resolve(r, change, KELP_REFUSED, KELP_R_NO_COMMIT_YET);
        return true;
    }
    change->member = plan.member;
    if (plan.refused) {
        resolve(r, change, KELP_REFUSED, plan.reason);
        return true;
    }
    if (plan.way == KELP_PLAN_NOTHING) { /* asked once more */
        change->round = ++r->round;
        r->dirty |= DIRTY_READ;
        return true;
    }
    edit_target(&r->config, &asked, &target);
    if (!change->handed && !votes_in(&target, r->options.self)) {
        change->handed = true; /* once: if nobody takes over, it goes on here */
        r->leave_due = true;
        return true;
    }
    if (edit_stage(&r->config, &target, &staged) == 0) {
        take_step(r, &target, change);
        return true;
    }
    change->came = staged.count > r->config.count;
    append(r, &staged, change);
    staging_forget(r);
    change->pos = r->made.pos;
    change->stage = CHANGE_STAGED;
    change->staged = true;
    EVENT(r, CHANGE_STAGED, .pos = r->made.pos);
    return true;
}

void change_confirm(struct kelp_core *r)
{
    struct change *change = change_at(r, CHANGE_WAITING);
    if (r->role != KELP_LEADER || change == NULL || change->round == 0) return;
    if (change->round > read_confirmed(r)) return;
    EVENT(r, CHANGE_NOTHING_NEW, .pos = change->pos, .value = change->token);
    resolve(r, change, KELP_DONE, KELP_R_NOTHING_NEW);
}

static void staged_on(struct kelp_core *r)
{
    bool ready = false;
    struct change *change = change_at(r, CHANGE_STAGED);
    const struct peer *slow = catch_up_all(r, &ready);
    if (r->config.index > r->commit) return; /* rounds go on, the next entry waits */
    if (slow != NULL) {
        give_up(r, change, slow);
    } else if (ready) {
        struct kelp_config target;
        struct kelp_change asked = {.count = 0};
        if (change != NULL) asked = asked_of(change);
        edit_target(&r->config, change != NULL ? &asked : NULL, &target);
        take_step(r, &target, change);
    }
}

/* ---- what nobody asked for ---- */

/* The voter that was not heard for the longest time, if that is too long; CONFIG_NO_SLOT: none. */
static uint32_t unseen(const struct kelp_core *r)
{
    uint32_t found = CONFIG_NO_SLOT;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        const struct peer *peer = &r->peers[slot];
        if (slot == r->self_slot || r->config.members[slot].role != KELP_VOTER) continue;
        kelp_ns heard = max_u64(peer->contact, r->role_since);
        if (r->now <= add_sat(heard, r->options.remove_unseen)) continue;
        if (found == CONFIG_NO_SLOT || peer->contact < r->peers[found].contact) found = slot;
    }
    return found;
}

/* One at a time, through the gate like any change, and only while that leaves a cluster that works:
 * enough voters, of whom a quorum answers. */
static void remove_unseen(struct kelp_core *r)
{
    if (r->options.remove_unseen == 0 || change_gate(r) != KELP_R_NONE) return;
    if (change_at(r, CHANGE_WAITING) != NULL) return; /* somebody has another idea */
    uint32_t slot = unseen(r);
    if (slot == CONFIG_NO_SLOT) return;
    uint32_t least = r->options.remove_voters_min != 0 ? r->options.remove_voters_min : VOTERS_MIN;
    const struct kelp_edit gone = {.id = r->config.members[slot].id, .verb = KELP_EDIT_REMOVE};
    const struct kelp_change change = {.count = 1, .edits = &gone};
    kelp_index match[KELP_MEMBERS_MAX];
    struct plan_facts facts = facts_of(r, match);
    struct kelp_plan plan;
    struct kelp_config target;
    plan_change(&facts, &change, &plan);
    edit_target(&r->config, &change, &target);
    if (plan.refused || config_voter_count(&target) < least) return;
    EVENT(r, UNSEEN_REMOVED, .peer = gone.id, .value = r->now - r->peers[slot].contact);
    take_step(r, &target, NULL);
}

/* Everybody who votes was started with other settings than the configuration has. */
static void settings_write(struct kelp_core *r)
{
    struct kelp_config target = r->config;
    target.election_min = r->options.election_min;
    target.drift_ppm = r->options.drift_ppm;
    append(r, &target, NULL);
    EVENT(r, SETTINGS_WRITTEN, .pos = r->made.pos, .value = target.election_min);
}

/* Nobody asked for it: a voter is lost or there again, and the witnesses come in or go out. */
static void mark(struct kelp_core *r)
{
    struct kelp_config target;
    if (!r->witnessed || change_gate(r) != KELP_R_NONE || !witness_marks(r, &target)) return;
    append(r, &target, NULL);
    witness_told(r);
}

bool change_drive(struct kelp_core *r)
{
    if (r->role != KELP_LEADER || core_silent(r) || !own_term_committed(r)) return false;
    if (transfer_open(r)) return false; /* whoever is to lead must be level: nothing is appended */
    kelp_index last = r->log.last;
    if (r->config.joint) {
        if (r->config.index <= r->commit) leave_joint(r);
    } else if (r->staging) {
        staged_on(r);
    } else {
        struct change *change = NULL;
        while ((change = change_at(r, CHANGE_WAITING)) != NULL && change->round == 0 &&
               !r->leave_due && change_gate(r) == KELP_R_NONE && begin(r, change)) {
        }
        if (r->leave_due) return false; /* first: is there somebody to hand over to? */
        remove_unseen(r);
        if (lease_settings_new(r) && change_gate(r) == KELP_R_NONE) settings_write(r);
        mark(r);
    }
    return r->log.last > last;
}

/* ---- what is committed ---- */

/* What the answer names is the configuration that says what was asked. When it is committed here,
 * a later one may be too. */
void change_adopted(struct kelp_core *r)
{
    if (r->config.joint) return;
    for (uint32_t i = 0; i < r->change_count; i++) {
        struct change *change = &r->changes[i];
        if (change->stage != CHANGE_DECIDED || change->end != 0) continue;
        if (r->config.index >= change->pos.index) change->end = r->config.index;
    }
}

void change_truncated(struct kelp_core *r, kelp_index last)
{
    for (uint32_t i = 0; i < r->change_count; i++)
        if (r->changes[i].end > last) r->changes[i].end = 0;
}

static void settle_one(struct kelp_core *r, struct change *change)
{
    bool passed = change->pos.index > r->commit;
    kelp_term term = log_term(&r->log, change->pos.index);
    if (!passed && term.v == 0) { /* no longer known what stood there */
        end(r, change, KELP_R_SNAPSHOT_PASSED);
    } else if (passed || term.v != change->pos.term.v) {
        if (change->staged) { /* that is committed, and goes on under whoever leads */
            end(r, change, KELP_R_LEADERSHIP_LOST);
            return;
        }
        EVENT(r, CHANGE_LOST, .pos = change->pos, .value = change->token);
        resolve(r, change, KELP_LOST, KELP_R_OVERWRITTEN);
    } else if (change->end != 0 && change->end <= r->commit) { /* else certain, and not finished */
        change->pos = kelp_pos_of(change->end, log_term(&r->log, change->end).v);
        if (change->verdict != KELP_R_NONE) {
            resolve(r, change, change->came ? KELP_UNKNOWN : KELP_REFUSED,
                    (enum kelp_reason)change->verdict);
            return;
        }
        EVENT(r, CHANGE_DONE, .pos = change->pos, .value = change->token);
        resolve(r, change, KELP_DONE, KELP_R_NONE);
    }
}

bool change_settle(struct kelp_core *r)
{
    for (uint32_t i = 0; i < r->change_count; i++) {
        struct change *change = &r->changes[i];
        if (change->stage != CHANGE_DECIDED || change->outcome != 0) continue;
        bool known = change->pos.index <= r->commit || commit_passes(r, change->pos);
        if (known) settle_one(r, change);
    }
    if (!change_leaves(r) || r->config.joint || r->config.index > r->commit) return false;
    EVENT(r, STEP_DOWN_NOT_VOTER, .pos = kelp_pos_of(r->config.index, 0));
    return true;
}

void change_lead(struct kelp_core *r)
{
    staging_forget(r);
    witness_lead(r);
}

kelp_ns change_deadline(const struct kelp_core *r)
{
    kelp_ns due = KELP_NEVER;
    for (uint32_t i = 0; i < r->change_count; i++) {
        if (r->changes[i].outcome == 0) due = min_u64(due, r->changes[i].deadline);
    }
    if (r->role != KELP_LEADER || core_silent(r) || !own_term_committed(r)) return due;
    if (!r->staging || transfer_open(r)) return due; /* nothing is decided before that is over */
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        const struct catch_up *c = &r->peers[slot].catch_up;
        if (!staging(r, slot) || c->target == 0 || c->failed) continue;
        if (!c->ready) due = min_u64(due, c->moved + idle_limit(r));
        if (c->ready && !may_vote(r, c))
            due = min_u64(due, add_sat(c->began, r->options.join_healthy));
    }
    return due;
}
