/* SPDX-License-Identifier: Apache-2.0 */
/* edit.c - what a change makes of a configuration. [§4.1, §4.2.1, §4.3]
 *
 *    now --edit_stage--> staged --edit_target--> target             at most one voter changes
 *                                                 ^
 *                          `---edit_join--> joint --edit_leave--'   more than one does
 *
 * Values only; when a step may be taken is change.c's. A change is judged once, against the simple
 * configuration in force when it begins; nothing else can change that one before the change is
 * through, so the later steps need no judgement. Invariants: ids ascend; id_highest only grows. */
#include "core/edit.h"

#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "core/config.h"

static bool comes(const struct kelp_edit *edit)
{
    return edit->verb == KELP_EDIT_ADD || edit->verb == KELP_EDIT_SET;
}

/* Of an edit that gives one. */
static uint8_t role_wanted(const struct kelp_edit *edit)
{
    if (comes(edit)) return edit->role;
    ASSERT(edit->verb == KELP_EDIT_PROMOTE || edit->verb == KELP_EDIT_DEMOTE);
    return edit->verb == KELP_EDIT_PROMOTE ? KELP_VOTER : KELP_LEARNER;
}

static bool edit_sound(const struct kelp_edit *edit)
{
    if (edit->id == 0 || edit->verb < KELP_EDIT_ADD || edit->verb > KELP_EDIT_PRIORITY)
        return false;
    if (edit->verb == KELP_EDIT_STOP) return false; /* in a plan only */
    if (!comes(edit)) return true;
    return edit->role == KELP_VOTER || edit->role == KELP_LEARNER || edit->role == KELP_WITNESS;
}

/* Each edit makes sense by itself, and no two are about one member. */
static bool change_sound(const struct kelp_change *change, uint32_t members_max, kelp_id *member)
{
    if (change->count == 0 || change->count > members_max) return false;
    for (uint32_t i = 0; i < change->count; i++) {
        *member = change->edits[i].id;
        if (!edit_sound(&change->edits[i])) return false;
        for (uint32_t before = 0; before < i; before++) {
            if (change->edits[before].id == *member) return false;
        }
    }
    *member = 0;
    return true;
}

static enum kelp_reason newcomer_refusal(const struct kelp_config *now,
                                         const struct kelp_edit *edit)
{
    bool given = edit->id <= now->id_highest; /* and taken back since */
    if (edit->verb == KELP_EDIT_REMOVE) return given ? KELP_R_NONE : KELP_R_UNKNOWN_MEMBER;
    if (!comes(edit)) return KELP_R_UNKNOWN_MEMBER;
    return given ? KELP_R_ID_USED : KELP_R_NONE;
}

/* A witness has no data to become anything else, and what has data would have to lose it. */
static bool crosses(const struct kelp_member *member, const struct kelp_edit *edit)
{
    if (edit->verb == KELP_EDIT_REMOVE || edit->verb == KELP_EDIT_MOVE) return false;
    if (edit->verb == KELP_EDIT_PRIORITY) return false; /* of a witness it means nothing */
    return (member->role == KELP_WITNESS) != (role_wanted(edit) == KELP_WITNESS);
}

static enum kelp_reason member_refusal(const struct kelp_member *member,
                                       const struct kelp_edit *edit)
{
    bool other = edit->incarnation != 0 && member->incarnation != 0 &&
                 edit->incarnation != member->incarnation; /* its directory was emptied since */
    if (crosses(member, edit)) return KELP_R_WITNESS_STAYS;
    if (other) return KELP_R_MEMBER_DIFFERS;
    if (edit->verb != KELP_EDIT_ADD) return KELP_R_NONE;
    if (edit->moved) return KELP_R_IS_ELSEWHERE;
    if (member->role == edit->role) return KELP_R_NONE;
    return member->role == KELP_LEARNER ? KELP_R_IS_LEARNER : KELP_R_IS_VOTER;
}

static uint32_t with_role(const struct kelp_config *config, enum kelp_member_role role)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < config->count; slot++)
        count += config->members[slot].role == (uint8_t)role;
    return count;
}

static enum kelp_reason target_refusal(const struct kelp_config *now,
                                       const struct kelp_config *target, kelp_id *member)
{
    uint32_t voters = with_role(target, KELP_VOTER);
    *member = 0;
    if (voters == 0) return KELP_R_LAST_VOTER;
    if (with_role(target, KELP_WITNESS) >= voters) return KELP_R_WITNESSES_MANY;
    if (!config_somebody_leads(target)) return KELP_R_NOBODY_LEADS;
    /* It is in no configuration while a new voter catches up, and who asked may be gone by then. */
    struct kelp_config staged;
    bool late = edit_stage(now, target, &staged) > 0;
    for (uint32_t slot = 0; late && slot < target->count; slot++) {
        if (target->members[slot].role != KELP_WITNESS) continue;
        *member = target->members[slot].id;
        if (config_slot(now, *member) == CONFIG_NO_SLOT) return KELP_R_WITNESS_ALONE;
    }
    *member = 0;
    return KELP_R_NONE;
}

/* Members while the change goes on: those that come are there before those that go have left. */
static uint32_t members_at_once(const struct kelp_config *now, const struct kelp_change *change)
{
    uint32_t count = now->count;
    for (uint32_t i = 0; i < change->count; i++)
        count +=
            comes(&change->edits[i]) && config_slot(now, change->edits[i].id) == CONFIG_NO_SLOT;
    return count;
}

enum kelp_reason edit_refusal(const struct kelp_config *now, const struct kelp_change *change,
                              uint32_t members_max, kelp_id *member)
{
    ASSERT(!now->joint);
    ASSERT(members_max <= KELP_MEMBERS_MAX);
    *member = 0;
    if (!change_sound(change, members_max, member)) return KELP_R_BAD_CHANGE;
    for (uint32_t i = 0; i < change->count; i++) {
        const struct kelp_edit *edit = &change->edits[i];
        uint32_t slot = config_slot(now, edit->id);
        enum kelp_reason reason = slot == CONFIG_NO_SLOT
                                      ? newcomer_refusal(now, edit)
                                      : member_refusal(&now->members[slot], edit);
        *member = edit->id;
        if (reason != KELP_R_NONE) return reason;
    }
    *member = 0;
    if (members_at_once(now, change) > members_max) return KELP_R_TOO_MANY_MEMBERS;
    struct kelp_config target;
    edit_target(now, change, &target);
    return target_refusal(now, &target, member);
}

/* ---- steps ---- */

static void drop(struct kelp_config *config, uint32_t slot)
{
    config->count--;
    memmove(&config->members[slot], &config->members[slot + 1],
            (config->count - slot) * sizeof config->members[0]);
}

/* The member with this id, put in its place if it is not there. */
static struct kelp_member *insert(struct kelp_config *config, kelp_id id, uint64_t incarnation)
{
    uint32_t slot = 0;
    while (slot < config->count && config->members[slot].id < id)
        slot++;
    if (slot < config->count && config->members[slot].id == id) return &config->members[slot];
    ASSERT(config->count < KELP_MEMBERS_MAX);
    memmove(&config->members[slot + 1], &config->members[slot],
            (config->count - slot) * sizeof config->members[0]);
    config->count++;
    config->id_highest = max_u64(config->id_highest, id);
    config->members[slot] = (struct kelp_member){.id = id, .incarnation = incarnation};
    return &config->members[slot];
}

static bool named(const struct kelp_change *change, kelp_id id)
{
    for (uint32_t i = 0; i < change->count; i++) {
        if (change->edits[i].id == id) return true;
    }
    return false;
}

void edit_target(const struct kelp_config *now, const struct kelp_change *change,
                 struct kelp_config *target)
{
    *target = *now;
    for (uint32_t slot = 0; slot < target->count; slot++) {
        if (target->members[slot].role == KELP_STAGING) target->members[slot].role = KELP_VOTER;
    }
    if (change == NULL) return;
    if ((change->flags & KELP_CHANGE_WHOLE) != 0) {
        for (uint32_t slot = target->count; slot > 0; slot--) {
            if (!named(change, target->members[slot - 1].id)) drop(target, slot - 1);
        }
    }
    for (uint32_t i = 0; i < change->count; i++) {
        const struct kelp_edit *edit = &change->edits[i];
        uint32_t slot = config_slot(target, edit->id);
        if (edit->verb == KELP_EDIT_MOVE) continue;
        if (edit->verb == KELP_EDIT_PRIORITY) {
            ASSERT(slot != CONFIG_NO_SLOT); /* judged: a member, and nothing else goes on since */
            target->members[slot].preference = kelp_preference_of(edit->priority);
        } else if (edit->verb != KELP_EDIT_REMOVE) {
            struct kelp_member *member = insert(target, edit->id, edit->incarnation);
            if (member->role != role_wanted(edit)) member->marks = 0;
            member->role = role_wanted(edit);
        } else if (slot != CONFIG_NO_SLOT) {
            drop(target, slot);
        }
    }
}

uint32_t edit_stage(const struct kelp_config *now, const struct kelp_config *target,
                    struct kelp_config *staged)
{
    uint32_t count = 0;
    *staged = *now;
    for (uint32_t slot = 0; slot < target->count; slot++) {
        const struct kelp_member *wanted = &target->members[slot];
        if (wanted->role == KELP_WITNESS) continue; /* its vote comes with those of the target */
        struct kelp_member *member = insert(staged, wanted->id, wanted->incarnation);
        if (wanted->role == KELP_VOTER && member->role != KELP_VOTER) {
            member->role = KELP_STAGING;
            count++;
        } else if (member->role == KELP_NONE) {
            member->role = wanted->role; /* a new learner */
        }
    }
    return count;
}

void edit_unstage(struct kelp_config *config)
{
    for (uint32_t slot = 0; slot < config->count; slot++) {
        if (config->members[slot].role == KELP_STAGING) config->members[slot].role = KELP_LEARNER;
    }
}

static bool votes_in(const struct kelp_config *config, kelp_id id)
{
    uint32_t slot = config_slot(config, id);
    uint8_t role = slot == CONFIG_NO_SLOT ? (uint8_t)KELP_NONE : config->members[slot].role;
    return role == KELP_VOTER || role == KELP_WITNESS;
}

static struct kelp_member member_in(const struct kelp_config *config, kelp_id id)
{
    uint32_t slot = config_slot(config, id);
    return slot == CONFIG_NO_SLOT ? (struct kelp_member){.role = KELP_NONE} : config->members[slot];
}

uint32_t edit_voters_changed(const struct kelp_config *now, const struct kelp_config *target)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < now->count; slot++) {
        kelp_id id = now->members[slot].id;
        count += votes_in(now, id) && !votes_in(target, id);
    }
    for (uint32_t slot = 0; slot < target->count; slot++) {
        kelp_id id = target->members[slot].id;
        count += votes_in(target, id) && !votes_in(now, id);
    }
    return count;
}

bool edit_same(const struct kelp_config *now, const struct kelp_config *target)
{
    if (now->count != target->count) return false;
    for (uint32_t slot = 0; slot < now->count; slot++) {
        struct kelp_member then = member_in(target, now->members[slot].id);
        if (then.role != now->members[slot].role) return false;
        if (then.preference != now->members[slot].preference) return false;
    }
    return true;
}

bool edit_moves(const struct kelp_change *change)
{
    for (uint32_t i = 0; i < change->count; i++) {
        uint8_t verb = change->edits[i].verb;
        if (change->edits[i].moved && (verb == KELP_EDIT_MOVE || verb == KELP_EDIT_SET))
            return true;
    }
    return false;
}

void edit_join(const struct kelp_config *now, const struct kelp_config *target,
               struct kelp_config *joint)
{
    ASSERT(!now->joint && !target->joint);
    *joint = *target;
    joint->joint = 1;
    for (uint32_t slot = 0; slot < now->count; slot++) {
        const struct kelp_member *member = &now->members[slot];
        struct kelp_member *both = insert(joint, member->id, member->incarnation);
        both->role_old = votes_in(now, member->id) ? member->role : (uint8_t)KELP_NONE;
        if (both->role == KELP_NONE) both->preference = member->preference; /* until it leaves */
        if (config_votes(joint, config_slot(joint, member->id))) both->marks = member->marks;
    }
}

void edit_leave(const struct kelp_config *joint, struct kelp_config *target)
{
    ASSERT(joint->joint);
    *target = *joint;
    target->joint = 0;
    for (uint32_t slot = target->count; slot > 0; slot--) {
        struct kelp_member *member = &target->members[slot - 1];
        member->role_old = KELP_NONE;
        if (!config_votes(target, slot - 1)) member->marks = 0; /* they are about votes */
        if (member->role == KELP_NONE) drop(target, slot - 1);
    }
}

bool edit_staging(const struct kelp_config *config)
{
    for (uint32_t slot = 0; slot < config->count; slot++) {
        if (config->members[slot].role == KELP_STAGING) return true;
    }
    return false;
}
