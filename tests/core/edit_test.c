/* SPDX-License-Identifier: Apache-2.0 */
/* edit_test.c - what a change makes of a configuration, and that no step of it parts the quorums.
 * [§4.1, §4.3] */
#include "core/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "core/config.h"
#include "sim/quorums.h"

/* 1, 2, 3 vote, 4 learns; 5 was given out and taken back. */
static struct kelp_config sample(void)
{
    struct kelp_config c = {.count = 4, .id_highest = 5};
    for (uint8_t slot = 0; slot < 4; slot++)
        c.members[slot] = (struct kelp_member){.id = slot + 1u,
                                               .incarnation = 100u + slot,
                                               .role = slot < 3 ? KELP_VOTER : KELP_LEARNER};
    return c;
}

static struct kelp_change of(const struct kelp_edit *edits, uint32_t count)
{
    return (struct kelp_change){.edits = edits, .count = count};
}

static enum kelp_reason judged(struct kelp_edit edit)
{
    struct kelp_config now = sample();
    struct kelp_change change = of(&edit, 1);
    kelp_id member = 99;
    enum kelp_reason reason = edit_refusal(&now, &change, 5, &member);
    bool whole = reason == KELP_R_NONE || reason == KELP_R_TOO_MANY_MEMBERS;
    assert_int_equal(member, whole ? 0 : edit.id);
    return reason;
}

static void each_verb_is_judged_by_what_is_there(void **state)
{
    (void)state;
    const struct {
        struct kelp_edit edit;
        enum kelp_reason reason;
    } rows[] = {
        {{.id = 6, .verb = KELP_EDIT_ADD, .role = KELP_VOTER}, KELP_R_NONE},
        {{.id = 6, .verb = KELP_EDIT_SET, .role = KELP_LEARNER}, KELP_R_NONE},
        {{.id = 5, .verb = KELP_EDIT_ADD, .role = KELP_VOTER}, KELP_R_ID_USED},
        {{.id = 5, .verb = KELP_EDIT_SET, .role = KELP_VOTER}, KELP_R_ID_USED},
        {{.id = 5, .verb = KELP_EDIT_REMOVE}, KELP_R_NONE}, /* is gone already */
        {{.id = 6, .verb = KELP_EDIT_REMOVE}, KELP_R_UNKNOWN_MEMBER},
        {{.id = 5, .verb = KELP_EDIT_PROMOTE}, KELP_R_UNKNOWN_MEMBER},
        {{.id = 6, .verb = KELP_EDIT_DEMOTE}, KELP_R_UNKNOWN_MEMBER},
        {{.id = 6, .verb = KELP_EDIT_MOVE}, KELP_R_UNKNOWN_MEMBER},
        {{.id = 3, .verb = KELP_EDIT_ADD, .role = KELP_VOTER}, KELP_R_NONE},
        {{.id = 3, .verb = KELP_EDIT_ADD, .role = KELP_VOTER, .moved = true}, KELP_R_IS_ELSEWHERE},
        {{.id = 3, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER}, KELP_R_IS_VOTER},
        {{.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_VOTER}, KELP_R_IS_LEARNER},
        {{.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_VOTER, .incarnation = 7},
         KELP_R_MEMBER_DIFFERS},
        {{.id = 3, .verb = KELP_EDIT_SET, .role = KELP_LEARNER, .moved = true}, KELP_R_NONE},
        {{.id = 3, .verb = KELP_EDIT_ADD, .role = KELP_VOTER, .incarnation = 7},
         KELP_R_MEMBER_DIFFERS}, /* another directory under its name */
        {{.id = 3, .verb = KELP_EDIT_SET, .role = KELP_VOTER, .incarnation = 7},
         KELP_R_MEMBER_DIFFERS},
        {{.id = 3, .verb = KELP_EDIT_ADD, .role = KELP_VOTER, .incarnation = 102}, KELP_R_NONE},
        {{.id = 3, .verb = KELP_EDIT_MOVE, .moved = true}, KELP_R_NONE},
        {{.id = 0, .verb = KELP_EDIT_REMOVE}, KELP_R_BAD_CHANGE},
        {{.id = 3, .verb = 0}, KELP_R_BAD_CHANGE},
        {{.id = 3, .verb = KELP_EDIT_PRIORITY + 1}, KELP_R_BAD_CHANGE},
        {{.id = 3, .verb = KELP_EDIT_PRIORITY, .priority = 9}, KELP_R_NONE},
        {{.id = 4, .verb = KELP_EDIT_PRIORITY, .priority = 0}, KELP_R_NONE},
        {{.id = 6, .verb = KELP_EDIT_PRIORITY, .priority = 9}, KELP_R_UNKNOWN_MEMBER},
        {{.id = 6, .verb = KELP_EDIT_ADD, .role = KELP_NONE}, KELP_R_BAD_CHANGE},
        {{.id = 6, .verb = KELP_EDIT_ADD, .role = KELP_WITNESS}, KELP_R_NONE},
        {{.id = 3, .verb = KELP_EDIT_SET, .role = KELP_WITNESS}, KELP_R_WITNESS_STAYS},
        {{.id = 6, .verb = KELP_EDIT_SET, .role = KELP_STAGING}, KELP_R_BAD_CHANGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(judged(rows[i].edit), rows[i].reason);
}

static void a_change_as_a_whole_is_judged_too(void **state)
{
    (void)state;
    struct kelp_config now = sample();
    kelp_id member = 0;
    struct kelp_edit twice[2] = {{.id = 2, .verb = KELP_EDIT_DEMOTE},
                                 {.id = 2, .verb = KELP_EDIT_REMOVE}};
    struct kelp_change change = of(twice, 2);
    assert_int_equal(edit_refusal(&now, &change, 5, &member), KELP_R_BAD_CHANGE);
    assert_int_equal(member, 2);
    change.count = 0;
    assert_int_equal(edit_refusal(&now, &change, 5, &member), KELP_R_BAD_CHANGE);

    struct kelp_edit three[3] = {{.id = 1, .verb = KELP_EDIT_REMOVE},
                                 {.id = 2, .verb = KELP_EDIT_DEMOTE},
                                 {.id = 3, .verb = KELP_EDIT_REMOVE}};
    change = of(three, 3);
    assert_int_equal(edit_refusal(&now, &change, 5, &member), KELP_R_LAST_VOTER);
    change.count = 2;
    assert_int_equal(edit_refusal(&now, &change, 5, &member), KELP_R_NONE);

    /* who comes is there before who goes has left */
    struct kelp_edit replace[2] = {{.id = 1, .verb = KELP_EDIT_REMOVE},
                                   {.id = 6, .verb = KELP_EDIT_ADD, .role = KELP_VOTER}};
    struct kelp_edit both[2] = {{.id = 6, .verb = KELP_EDIT_ADD, .role = KELP_VOTER},
                                {.id = 7, .verb = KELP_EDIT_ADD, .role = KELP_WITNESS}};
    change = of(both, 2);
    assert_int_equal(edit_refusal(&now, &change, 8, &member), KELP_R_WITNESS_ALONE);
    assert_int_equal(member, 7);
    change = of(replace, 2);
    assert_int_equal(edit_refusal(&now, &change, 4, &member), KELP_R_TOO_MANY_MEMBERS);
    assert_int_equal(edit_refusal(&now, &change, 5, &member), KELP_R_NONE);
}

static void a_priority_is_a_change_of_its_own_and_stays_with_the_member(void **state)
{
    (void)state;
    struct kelp_config now = sample(), target, staged, joint, left;
    kelp_id member = 0;
    struct kelp_edit edits[3] = {{.id = 2, .verb = KELP_EDIT_PRIORITY, .priority = 9},
                                 {.id = 1, .verb = KELP_EDIT_REMOVE},
                                 {.id = 6, .verb = KELP_EDIT_ADD, .role = KELP_VOTER}};
    struct kelp_change change = of(edits, 1);
    edit_target(&now, &change, &target);
    assert_int_equal(kelp_priority_of(&target.members[1]), 9);
    assert_int_equal(kelp_priority_of(&target.members[0]), KELP_PRIORITY_USUAL);
    assert_false(edit_same(&now, &target));
    assert_true(edit_same(&target, &target));
    assert_int_equal(edit_voters_changed(&now, &target), 0);

    change = of(edits, 3);
    edit_target(&now, &change, &target);
    (void)edit_stage(&now, &target, &staged);
    assert_int_equal(kelp_priority_of(&staged.members[1]), KELP_PRIORITY_USUAL);
    edit_join(&staged, &target, &joint);
    assert_int_equal(kelp_priority_of(&joint.members[1]), 9);
    edit_leave(&joint, &left);
    assert_int_equal(kelp_priority_of(&left.members[0]), 9);

    struct kelp_edit never[3] = {{.id = 1, .verb = KELP_EDIT_PRIORITY},
                                 {.id = 2, .verb = KELP_EDIT_PRIORITY},
                                 {.id = 3, .verb = KELP_EDIT_PRIORITY}};
    change = of(never, 3);
    change.flags = KELP_CHANGE_FORCE;
    assert_int_equal(edit_refusal(&now, &change, 5, &member), KELP_R_NOBODY_LEADS);
    never[2] = (struct kelp_edit){.id = 3, .verb = KELP_EDIT_REMOVE};
    assert_int_equal(edit_refusal(&now, &change, 5, &member), KELP_R_NOBODY_LEADS);
    change.count = 2;
    assert_int_equal(edit_refusal(&now, &change, 5, &member), KELP_R_NONE);
}

static void who_leaves_through_a_joint_configuration_keeps_its_priority(void **state)
{
    (void)state;
    struct kelp_config now = sample(), target, joint;
    struct kelp_edit edits[2] = {{.id = 1, .verb = KELP_EDIT_REMOVE},
                                 {.id = 2, .verb = KELP_EDIT_DEMOTE}};
    struct kelp_change change = of(edits, 2);
    now.members[0].preference = KELP_PREFERENCE_NEVER;
    now.members[1].preference = kelp_preference_of(7);
    edit_target(&now, &change, &target);
    edit_join(&now, &target, &joint);
    assert_int_equal(joint.members[0].role, KELP_NONE);
    assert_int_equal(kelp_priority_of(&joint.members[0]), 0);
    assert_int_equal(kelp_priority_of(&joint.members[1]), 7);
}

static void a_replacement_is_staged_joined_and_left(void **state)
{
    (void)state;
    struct kelp_config now = sample(), target, staged, joint, left;
    struct kelp_edit edits[2] = {
        {.id = 1, .verb = KELP_EDIT_REMOVE},
        {.id = 6, .incarnation = 66, .verb = KELP_EDIT_ADD, .role = KELP_VOTER}};
    struct kelp_change change = of(edits, 2);
    edit_target(&now, &change, &target);
    assert_int_equal(edit_stage(&now, &target, &staged), 1);
    assert_int_equal(staged.count, 5); /* 1 is still there */
    assert_int_equal(staged.id_highest, 6);
    assert_int_equal(staged.members[4].role, KELP_STAGING);
    assert_int_equal(staged.members[4].incarnation, 66);
    assert_int_equal(edit_voters_changed(&now, &staged), 0);
    assert_true(edit_staging(&staged));
    edit_target(&staged, &change, &target);
    assert_int_equal(edit_voters_changed(&staged, &target), 2);
    edit_join(&staged, &target, &joint);
    assert_int_equal(joint.members[0].role, KELP_NONE);
    assert_int_equal(joint.members[0].role_old, KELP_VOTER);
    assert_int_equal(joint.members[4].role_old, KELP_NONE); /* it did not vote */
    edit_leave(&joint, &left);
    assert_true(edit_same(&left, &target));
    assert_int_equal(left.joint, 0);
    for (uint32_t slot = 0; slot < left.count; slot++)
        assert_int_equal(left.members[slot].role_old, KELP_NONE);
}

static void whoever_is_not_named_in_the_whole_leaves(void **state)
{
    (void)state;
    struct kelp_config now = sample(), target;
    struct kelp_edit one = {.id = 2, .verb = KELP_EDIT_SET, .role = KELP_VOTER};
    struct kelp_change change = {.edits = &one, .count = 1, .flags = KELP_CHANGE_WHOLE};
    edit_target(&now, &change, &target);
    assert_int_equal(target.count, 1);
    assert_int_equal(target.members[0].id, 2);
    assert_int_equal(target.members[0].incarnation, 101);
    assert_int_equal(target.id_highest, 5);
}

static void who_is_given_up_is_a_learner(void **state)
{
    (void)state;
    struct kelp_config c = sample();
    c.members[3].role = KELP_STAGING;
    edit_unstage(&c);
    assert_int_equal(c.members[3].role, KELP_LEARNER);
    assert_int_equal(c.members[0].role, KELP_VOTER);
    assert_false(edit_staging(&c));
}

/* ---- any change of any configuration ---- */

static struct kelp_config any_config(struct prng *prng)
{
    struct kelp_config c = {.id_highest = 9};
    for (kelp_id id = 1; id <= 7; id++) {
        static const uint8_t roles[] = {KELP_NONE,  KELP_VOTER,   KELP_VOTER, KELP_LEARNER,
                                        KELP_VOTER, KELP_WITNESS, KELP_VOTER, KELP_NONE};
        uint8_t role = roles[prng_below(prng, 8)];
        if (role == KELP_NONE) continue;
        uint8_t marks = role == KELP_VOTER     ? KELP_MARK_ABSENT
                        : role == KELP_WITNESS ? KELP_MARK_IN
                                               : 0;
        if (prng_below(prng, 2) == 0) marks = 0;
        c.members[c.count++] = (struct kelp_member){.id = id, .role = role, .marks = marks};
    }
    return c;
}

static uint32_t any_edits(struct prng *prng, struct kelp_edit edits[4])
{
    uint32_t count = 1 + (uint32_t)prng_below(prng, 4);
    for (uint32_t i = 0; i < count; i++)
        edits[i] = (struct kelp_edit){.id = 1 + prng_below(prng, 11),
                                      .verb = (uint8_t)(1 + prng_below(prng, 6)),
                                      .role = (uint8_t)(1 + prng_below(prng, 3))};
    return count;
}

static void step(const struct kelp_config *from, const struct kelp_config *to)
{
    assert_true(config_valid(to, KELP_MEMBERS_MAX));
    assert_true(to->id_highest >= from->id_highest);
    assert_true(quorums_meet(from, to));
}

/* One more voter or one less: a single step. Anything else: joint, and out of it. */
static void every_step_of_every_change_shares_a_node_with_the_one_before(void **state)
{
    (void)state;
    struct prng prng = {.state = 5};
    uint32_t made = 0, joints = 0, refused = 0;
    for (int round = 0; round < 4000; round++) {
        struct kelp_config now = any_config(&prng), target, staged, joint, left;
        struct kelp_edit edits[4];
        struct kelp_change change = of(edits, any_edits(&prng, edits));
        kelp_id member;
        if (prng_below(&prng, 4) == 0) change.flags = KELP_CHANGE_WHOLE;
        if (!config_valid(&now, KELP_MEMBERS_MAX)) continue;
        if (edit_refusal(&now, &change, KELP_MEMBERS_MAX, &member) != KELP_R_NONE) {
            refused++;
            continue;
        }
        made++;
        edit_target(&now, &change, &target);
        (void)edit_stage(&now, &target, &staged);
        step(&now, &staged);
        edit_target(&staged, &change, &target);
        if (edit_voters_changed(&staged, &target) <= 1) {
            step(&staged, &target);
            continue;
        }
        joints++;
        edit_join(&staged, &target, &joint);
        step(&staged, &joint);
        edit_leave(&joint, &left);
        step(&joint, &left);
        assert_true(edit_same(&left, &target));
    }
    assert_true(made > 300 && joints > 100 && refused > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_verb_is_judged_by_what_is_there),
        cmocka_unit_test(a_change_as_a_whole_is_judged_too),
        cmocka_unit_test(a_priority_is_a_change_of_its_own_and_stays_with_the_member),
        cmocka_unit_test(who_leaves_through_a_joint_configuration_keeps_its_priority),
        cmocka_unit_test(a_replacement_is_staged_joined_and_left),
        cmocka_unit_test(whoever_is_not_named_in_the_whole_leaves),
        cmocka_unit_test(who_is_given_up_is_a_learner),
        cmocka_unit_test(every_step_of_every_change_shares_a_node_with_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
