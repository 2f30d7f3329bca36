/* SPDX-License-Identifier: Apache-2.0 */
/* plan_test.c - what a plan says is what counting by hand says: every configuration of up to four
 * members, everybody who may answer, every change of up to two members, and every stop, judged once
 * more by a second implementation that knows nothing of slots, sets or sorting. [§4.1, §4.3] */
#include "core/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define IDS 5u /* 1..4 may be members, 5 is new */

/* ---- the second implementation: roles by id, 0 unused ---- */

struct naive {
    uint8_t before[IDS + 1], after[IDS + 1];
    bool answers[IDS + 1], able[IDS + 1];
    kelp_id leader, stops;
    bool force;
    /* what comes out */
    enum kelp_reason reason;
    kelp_id member;
    uint32_t voters, live, changed;
};

static uint32_t majority(uint32_t voters)
{
    return voters / 2 + 1;
}

static void naive_count(struct naive *n)
{
    n->voters = n->live = n->changed = 0;
    for (kelp_id id = 1; id <= IDS; id++) {
        bool was = n->before[id] == KELP_VOTER, is = n->after[id] == KELP_VOTER;
        n->changed += was != is;
        if (!is) continue;
        n->voters++;
        /* one that is a voter already counts if it answers, and does not stop */
        n->live += was ? n->answers[id] && id != n->stops : 1;
    }
}

static bool naive_lead(const struct naive *n)
{
    if (n->after[n->leader] == KELP_VOTER && n->leader != n->stops) return true;
    for (kelp_id id = 1; id <= IDS; id++) {
        if (id == n->leader || id == n->stops || !n->able[id]) continue;
        if (n->before[id] != KELP_NONE && n->after[id] == KELP_VOTER) return true;
    }
    return false;
}

static void naive_judge(struct naive *n)
{
    uint32_t before = 0;
    n->reason = KELP_R_NONE;
    n->member = 0;
    naive_count(n);
    for (kelp_id id = 1; id <= IDS; id++)
        before += n->before[id] == KELP_VOTER;
    if (n->stops != 0) {
        bool there = n->before[n->stops] != KELP_NONE;
        n->member = n->stops;
        if (!there)
            n->reason = KELP_R_UNKNOWN_MEMBER;
        else if (!n->answers[n->stops])
            n->member = 0;
        else if (n->before[n->stops] == KELP_VOTER && n->live < majority(n->voters))
            n->reason = KELP_R_QUORUM_AT_RISK;
        else if (!naive_lead(n))
            n->reason = KELP_R_NO_CANDIDATE;
        else
            n->member = 0;
        return;
    }
    if (memcmp(n->before, n->after, sizeof n->before) == 0) return;
    if (n->live < majority(n->voters)) {
        n->reason = KELP_R_QUORUM_AT_RISK;
        return;
    }
    for (kelp_id id = 1; id <= IDS && before <= 2; id++) {
        bool becomes = n->after[id] == KELP_VOTER && n->before[id] == KELP_LEARNER;
        if (!becomes || n->answers[id]) continue;
        n->reason = KELP_R_VOTER_SILENT;
        n->member = id;
        return;
    }
}

/* ---- from there to what is judged ---- */

struct scene {
    struct kelp_config config;
    struct plan_facts facts;
    kelp_index match[KELP_MEMBERS_MAX];
};

static void scene_make(struct scene *s, const struct naive *n)
{
    memset(s, 0, sizeof *s);
    s->config.index = 7;
    s->facts = (struct plan_facts){
        .now = &s->config, .members_max = KELP_MEMBERS_MAX, .leader = n->leader, .match = s->match};
    for (kelp_id id = 1; id < IDS; id++) {
        if (n->before[id] == KELP_NONE) continue;
        uint32_t slot = s->config.count++;
        s->config.members[slot] = (struct kelp_member){.id = id, .role = n->before[id]};
        s->config.id_highest = id;
        if (n->answers[id]) s->facts.answers |= 1u << slot;
        if (n->able[id]) s->facts.able |= 1u << slot;
    }
}

static void same(const struct naive *n, const struct kelp_plan *plan)
{
    bool forced = n->force && plan->forcible;
    assert_int_equal(plan->reason, n->reason);
    assert_int_equal(plan->member, n->member);
    assert_int_equal(plan->refused, n->reason != KELP_R_NONE && !forced);
    assert_int_equal(plan->after.voters, n->voters);
    assert_int_equal(plan->after.live, n->live);
    assert_int_equal(plan->after.quorum, majority(n->voters));
    assert_int_equal(plan->after.works, n->live >= majority(n->voters));
    assert_int_equal(plan->after.tolerates, n->voters - majority(n->voters));
    if (plan->after.works)
        assert_int_equal(plan->after.spare, n->live - majority(n->voters));
    else
        assert_int_equal(plan->after.spare, 0);
    assert_int_equal(plan->leader_next != 0, naive_lead(n));
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct kelp_plan_member *row = &plan->members[i];
        assert_true(i == 0 || row->id > plan->members[i - 1].id);
        assert_int_equal(row->before, n->before[row->id]);
        assert_int_equal(row->after, n->after[row->id]);
        assert_int_equal((row->flags & KELP_PLAN_ANSWERS) != 0, n->answers[row->id]);
    }
}

/* What makes after out of before, as edits. */
static uint32_t edits_between(const struct naive *n, struct kelp_edit edits[IDS])
{
    uint32_t count = 0;
    for (kelp_id id = 1; id <= IDS; id++) {
        uint8_t was = n->before[id], is = n->after[id];
        if (was == is) continue;
        struct kelp_edit *edit = &edits[count++];
        *edit = (struct kelp_edit){.id = id, .role = is};
        if (was == KELP_NONE)
            edit->verb = KELP_EDIT_ADD;
        else if (is == KELP_NONE)
            *edit = (struct kelp_edit){.id = id, .verb = KELP_EDIT_REMOVE};
        else
            *edit = (struct kelp_edit){
                .id = id, .verb = is == KELP_VOTER ? KELP_EDIT_PROMOTE : KELP_EDIT_DEMOTE};
    }
    return count;
}

/* Somebody comes under an id that was given before: a lower one than the highest there is. */
static bool comes_again(const struct naive *n)
{
    bool higher = false;
    for (kelp_id id = IDS; id > 0; id--) {
        if (higher && n->before[id] == KELP_NONE && n->after[id] != KELP_NONE) return true;
        higher = higher || n->before[id] != KELP_NONE;
    }
    return false;
}

static uint64_t judged, refused, joints;

static void change_judged(struct naive *n)
{
    struct scene s;
    struct kelp_edit edits[IDS];
    struct kelp_change change = {.edits = edits};
    struct kelp_plan plan;
    scene_make(&s, n);
    change.count = edits_between(n, edits);
    if (n->force) change.flags = KELP_CHANGE_FORCE;
    naive_judge(n);
    if (change.count == 0) return; /* see the test of what is so already */
    plan_change(&s.facts, &change, &plan);
    if (comes_again(n)) {
        assert_int_equal(plan.reason, KELP_R_ID_USED);
        assert_true(plan.refused && !plan.forcible);
        return;
    }
    if (n->voters == 0) {
        assert_int_equal(plan.reason, KELP_R_LAST_VOTER);
        assert_true(plan.refused && !plan.forcible);
        return;
    }
    same(n, &plan);
    assert_int_equal(plan.way, n->changed > 1 ? KELP_PLAN_JOINT : KELP_PLAN_STEP);
    judged++;
    refused += plan.refused;
    joints += plan.way == KELP_PLAN_JOINT;
}

static void stop_judged(struct naive *n, kelp_id id)
{
    struct scene s;
    struct kelp_plan plan;
    memcpy(n->after, n->before, sizeof n->after);
    n->stops = id;
    scene_make(&s, n);
    naive_judge(n);
    plan_stop(&s.facts, id, n->force ? KELP_CHANGE_FORCE : 0, &plan);
    same(n, &plan);
    assert_int_equal(plan.way, KELP_PLAN_STOP);
    n->stops = 0;
}

static void roles_of(uint32_t number, uint8_t roles[IDS + 1], uint32_t ids)
{
    static const uint8_t kinds[] = {KELP_NONE, KELP_VOTER, KELP_LEARNER};
    for (kelp_id id = 1; id <= ids; id++) {
        roles[id] = kinds[number % 3];
        number /= 3;
    }
}

/* Everything for one configuration and one leader. */
static void all_of(struct naive *n)
{
    for (uint32_t heard = 0; heard < 16; heard++) {
        for (kelp_id id = 1; id < IDS; id++) {
            bool there = n->before[id] != KELP_NONE;
            n->answers[id] = there && (id == n->leader || (heard >> (id - 1) & 1u) != 0);
            n->able[id] = n->answers[id] && id != n->leader && n->before[id] == KELP_VOTER &&
                          (heard & 1u) != 0;
        }
        for (uint32_t target = 0; target < 243; target++) {
            roles_of(target, n->after, IDS);
            n->force = target % 2 == 1;
            change_judged(n);
        }
        for (kelp_id id = 1; id <= IDS; id++) {
            n->force = (heard & 2u) != 0;
            stop_judged(n, id);
        }
    }
}

static void every_small_configuration_is_judged_as_by_hand(void **state)
{
    (void)state;
    judged = refused = joints = 0;
    for (uint32_t number = 0; number < 81; number++) {
        for (kelp_id leader = 1; leader < IDS; leader++) {
            struct naive n = {.leader = leader};
            roles_of(number, n.before, IDS - 1);
            if (n.before[leader] == KELP_VOTER) all_of(&n);
        }
    }
    assert_true(judged > 200000 && refused > 20000 && joints > 100000);
}

/* ---- single questions ---- */

/* 1 leads 2 and 3; 4 learns. Who of them answers, by bits from 1 on. */
static void sample(struct scene *s, slot_set answers)
{
    memset(s, 0, sizeof *s);
    s->config = (struct kelp_config){.index = 7, .count = 4, .id_highest = 4};
    for (uint8_t slot = 0; slot < 4; slot++)
        s->config.members[slot] =
            (struct kelp_member){.id = slot + 1u, .role = slot < 3 ? KELP_VOTER : KELP_LEARNER};
    s->facts = (struct plan_facts){.now = &s->config,
                                   .members_max = KELP_MEMBERS_MAX,
                                   .leader = 1,
                                   .answers = answers,
                                   .able = answers & 6u,
                                   .match = s->match};
}

static struct kelp_plan planned(const struct scene *s, struct kelp_edit edit)
{
    struct kelp_plan plan;
    struct kelp_change change = {.count = 1, .edits = &edit};
    plan_change(&s->facts, &change, &plan);
    return plan;
}

static void what_is_so_already_changes_nothing(void **state)
{
    struct scene s;
    struct kelp_plan plan;
    (void)state;
    sample(&s, 1); /* even where nobody answers */
    plan = planned(&s, (struct kelp_edit){.id = 2, .verb = KELP_EDIT_ADD, .role = KELP_VOTER});
    assert_int_equal(plan.way, KELP_PLAN_NOTHING);
    assert_int_equal(plan.entries, 0);
    assert_false(plan.refused);
    plan = planned(&s, (struct kelp_edit){.id = 3, .verb = KELP_EDIT_MOVE, .moved = true});
    assert_int_equal(plan.way, KELP_PLAN_STEP);
    assert_int_equal(plan.entries, 1);
}

static void another_index_is_refused_and_cannot_be_forced(void **state)
{
    struct scene s;
    struct kelp_plan plan;
    struct kelp_edit edit = {.id = 3, .verb = KELP_EDIT_REMOVE};
    struct kelp_change change = {
        .count = 1, .edits = &edit, .if_index = 6, .flags = KELP_CHANGE_FORCE};
    (void)state;
    sample(&s, 15);
    plan_change(&s.facts, &change, &plan);
    assert_int_equal(plan.reason, KELP_R_CONFIG_CHANGED);
    assert_true(plan.refused && !plan.forcible);
    change.if_index = 7;
    plan_change(&s.facts, &change, &plan);
    assert_false(plan.refused);
}

static void entries_are_counted_by_what_is_staged_and_joint(void **state)
{
    struct scene s;
    (void)state;
    sample(&s, 15);
    const struct kelp_edit promote = {.id = 4, .verb = KELP_EDIT_PROMOTE};
    const struct kelp_edit remove = {.id = 3, .verb = KELP_EDIT_REMOVE};
    struct kelp_edit both[] = {remove, {.id = 5, .verb = KELP_EDIT_ADD, .role = KELP_VOTER}};
    struct kelp_change change = {.count = 2, .edits = both};
    struct kelp_plan plan = planned(&s, promote);
    assert_int_equal(plan.entries, 2);
    assert_int_equal(plan.members[3].flags, KELP_PLAN_ANSWERS | KELP_PLAN_CATCHES_UP);
    assert_int_equal(planned(&s, remove).entries, 1);
    plan_change(&s.facts, &change, &plan);
    assert_int_equal(plan.entries, 3);
    assert_int_equal(plan.count, 5);
}

static void what_to_think_of_is_said(void **state)
{
    struct scene s;
    (void)state;
    sample(&s, 15);
    struct kelp_plan plan = planned(&s, (struct kelp_edit){.id = 4, .verb = KELP_EDIT_PROMOTE});
    assert_int_equal(plan.warnings, KELP_PLAN_W_EVEN);
    plan = planned(&s, (struct kelp_edit){.id = 3, .verb = KELP_EDIT_REMOVE});
    assert_int_equal(plan.warnings,
                     KELP_PLAN_W_EVEN | KELP_PLAN_W_NO_SPARE | KELP_PLAN_W_LESS_SPARE);
    plan = planned(&s, (struct kelp_edit){.id = 1, .verb = KELP_EDIT_REMOVE});
    assert_true((plan.warnings & KELP_PLAN_W_LEADER_GOES) != 0);
    assert_int_equal(plan.leader_next, 2);
    s.match[2] = 9; /* 3 has more of the log */
    plan = planned(&s, (struct kelp_edit){.id = 1, .verb = KELP_EDIT_DEMOTE});
    assert_int_equal(plan.leader_next, 3);
    sample(&s, 11); /* 3 does not answer */
    plan = planned(&s, (struct kelp_edit){.id = 4, .verb = KELP_EDIT_REMOVE});
    assert_int_equal(plan.warnings, KELP_PLAN_W_NO_SPARE | KELP_PLAN_W_SILENT);
}

static struct kelp_edit priority_of(kelp_id id, uint8_t priority)
{
    return (struct kelp_edit){.id = id, .verb = KELP_EDIT_PRIORITY, .priority = priority};
}

static void who_is_preferred_leads_in_the_end(void **state)
{
    struct scene s;
    (void)state;
    sample(&s, 15);
    struct kelp_plan plan = planned(&s, priority_of(2, 9));
    assert_int_equal(plan.leader_next, 2);
    assert_int_equal(plan.warnings, KELP_PLAN_W_PREFERRED);
    assert_int_equal(plan.members[1].flags, KELP_PLAN_ANSWERS | KELP_PLAN_WILL_LEAD);
    plan = planned(&s, priority_of(1, 9)); /* who leads is preferred */
    assert_int_equal(plan.leader_next, 1);
    assert_int_equal(plan.warnings, 0);
    plan = planned(&s, priority_of(1, 0)); /* it may not stay */
    assert_int_equal(plan.leader_next, 2);
    assert_true((plan.warnings & KELP_PLAN_W_LEADER_GOES) != 0);
    assert_true((plan.warnings & KELP_PLAN_W_PREFERRED) == 0);
    s.config.members[2].preference = kelp_preference_of(5);
    assert_int_equal(planned(&s, priority_of(2, 4)).leader_next, 3); /* the highest of them */
    s.facts.able &= ~4u;                                             /* 3 is drained, say */
    assert_int_equal(planned(&s, priority_of(2, 4)).leader_next, 2);
    plan = planned(&s, priority_of(4, 9)); /* a learner never leads .. */
    assert_int_equal(plan.leader_next, 1);
    s.facts.able |= 8u;
    s.config.members[3].preference = kelp_preference_of(9);
    plan = planned(&s, (struct kelp_edit){.id = 4, .verb = KELP_EDIT_PROMOTE}); /* .. until then */
    assert_int_equal(plan.leader_next, 4);
    plan_stop(&s.facts, 3, 0, &plan);
    assert_int_equal(plan.leader_next, 1);
}

static void a_stop_in_a_joint_configuration_looks_at_both_majorities(void **state)
{
    struct scene s;
    struct kelp_plan plan;
    (void)state;
    sample(&s, 15);
    s.config.joint = 1; /* 1, 2, 3 before; 1, 4 after */
    for (int slot = 0; slot < 3; slot++)
        s.config.members[slot].role_old = KELP_VOTER;
    s.config.members[1].role = s.config.members[2].role = KELP_NONE;
    s.config.members[3].role = KELP_VOTER;
    plan_stop(&s.facts, 4, 0, &plan);
    assert_int_equal(plan.reason, KELP_R_QUORUM_AT_RISK);
    plan_stop(&s.facts, 4, KELP_CHANGE_FORCE, &plan);
    assert_int_equal(plan.reason, KELP_R_QUORUM_AT_RISK);
    assert_false(plan.refused);
    plan_stop(&s.facts, 3, 0, &plan);
    assert_int_equal(plan.reason, KELP_R_NONE);
    assert_int_equal(plan.before.voters, 4);
    assert_int_equal(plan.before.tolerates, 0);
    s.facts.answers = 13; /* without 2 the older majority needs 3, the newer one does not */
    plan_stop(&s.facts, 3, 0, &plan);
    assert_int_equal(plan.reason, KELP_R_QUORUM_AT_RISK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_small_configuration_is_judged_as_by_hand),
        cmocka_unit_test(what_is_so_already_changes_nothing),
        cmocka_unit_test(another_index_is_refused_and_cannot_be_forced),
        cmocka_unit_test(entries_are_counted_by_what_is_staged_and_joint),
        cmocka_unit_test(what_to_think_of_is_said),
        cmocka_unit_test(who_is_preferred_leads_in_the_end),
        cmocka_unit_test(a_stop_in_a_joint_configuration_looks_at_both_majorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
