/* SPDX-License-Identifier: Apache-2.0 */
/* config_test.c - reading a configuration: who is in it, who votes, who was removed, what is
 * valid. [§4.1] */
#include "core/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

/* 1 votes, 2 learns, 4 voted in the outgoing half; 3 is gone. */
static struct kelp_config mixed(void)
{
    struct kelp_config c = {.count = 3, .joint = 1, .id_highest = 4};
    c.members[0] = (struct kelp_member){.id = 1, .role = KELP_VOTER, .role_old = KELP_VOTER};
    c.members[1] = (struct kelp_member){.id = 2, .role = KELP_LEARNER};
    c.members[2] = (struct kelp_member){.id = 4, .role = KELP_NONE, .role_old = KELP_VOTER};
    return c;
}

static void a_member_has_a_slot_and_a_stranger_has_none(void **state)
{
    (void)state;
    struct kelp_config c = mixed();
    assert_int_equal(config_slot(&c, 1), 0);
    assert_int_equal(config_slot(&c, 4), 2);
    assert_int_equal(config_slot(&c, 3), CONFIG_NO_SLOT);
    assert_int_equal(config_slot(&c, 0), CONFIG_NO_SLOT);
}

/* HC Configuration_hasVote */
static void a_voter_of_either_half_votes_and_nobody_else(void **state)
{
    (void)state;
    struct kelp_config c = mixed();
    assert_true(config_votes(&c, 0));
    assert_false(config_votes(&c, 1));
    assert_true(config_votes(&c, 2));
    assert_false(config_votes(&c, 3));
    assert_false(config_votes(&c, CONFIG_NO_SLOT));
    assert_int_equal(config_voter_count(&c), 2);
    c.joint = 0; /* the old half counts only while both do */
    assert_false(config_votes(&c, 2));
    assert_int_equal(config_voter_count(&c), 1);
}

/* [§4.2.3] */
static void an_id_that_was_given_out_and_is_no_member_was_removed(void **state)
{
    (void)state;
    struct kelp_config c = mixed();
    assert_true(config_removed(&c, 3));
    assert_false(config_removed(&c, 2));
    assert_false(config_removed(&c, 5)); /* not yet given out: perhaps its entry is not here yet */
    assert_false(config_removed(&c, UINT64_MAX));
}

struct row {
    const char *words;
    void (*spoil)(struct kelp_config *c);
    bool valid;
};

static void spoil_nothing(struct kelp_config *c)
{
    (void)c;
}
static void spoil_count(struct kelp_config *c)
{
    c->count = 0;
}
static void spoil_many(struct kelp_config *c)
{
    c->count = KELP_MEMBERS_MAX + 1;
}
static void spoil_zero(struct kelp_config *c)
{
    c->members[0].id = 0;
}
static void spoil_twice(struct kelp_config *c)
{
    c->members[1].id = 1;
}
static void spoil_order(struct kelp_config *c)
{
    c->members[1].id = 5;
}
static void spoil_highest(struct kelp_config *c)
{
    c->id_highest = 3;
}
static void spoil_role(struct kelp_config *c)
{
    c->members[1].role = 200;
}
static void spoil_witness(struct kelp_config *c)
{
    c->members[1].role = KELP_WITNESS; /* as many as voters */
}
static void spoil_mark(struct kelp_config *c)
{
    c->members[1].marks = KELP_MARK_ABSENT; /* of a learner */
}
static void spoil_mark_in(struct kelp_config *c)
{
    c->members[0].marks = KELP_MARK_IN; /* of a voter */
}
static void spoil_old_role(struct kelp_config *c)
{
    c->members[1].role_old = KELP_LEARNER;
}
static void spoil_no_voter(struct kelp_config *c)
{
    c->members[0].role = KELP_LEARNER;
}
static void spoil_no_old_voter(struct kelp_config *c)
{
    c->members[0].role_old = c->members[2].role_old = KELP_NONE;
}
static void spoil_old_half_alone(struct kelp_config *c)
{
    c->joint = 0;
}

/* HC Configuration_checkConfiguration */
static void a_configuration_that_makes_no_sense_is_invalid(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"as it is", spoil_nothing, true},
        {"nobody", spoil_count, false},
        {"more than fit", spoil_many, false},
        {"id 0", spoil_zero, false},
        {"an id twice", spoil_twice, false},
        {"ids out of order", spoil_order, false},
        {"an id above the highest", spoil_highest, false},
        {"an unknown role", spoil_role, false},
        {"as many witnesses as voters", spoil_witness, false},
        {"a learner that is absent", spoil_mark, false},
        {"a voter that is in", spoil_mark_in, false},
        {"an old role that is none", spoil_old_role, false},
        {"no voter", spoil_no_voter, false},
        {"no voter in the old half", spoil_no_old_voter, false},
        {"old voters without a joint configuration", spoil_old_half_alone, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kelp_config c = mixed();
        rows[i].spoil(&c);
        if (config_valid(&c, 3) != rows[i].valid) fail_msg("%s", rows[i].words);
    }
    struct kelp_config c = mixed();
    assert_false(config_valid(&c, 2));                    /* more than this node has room for */
    assert_false(config_valid(&c, KELP_MEMBERS_MAX + 1)); /* nobody may ask for that */
}

/* Whatever a valid configuration holds, every slot is found by its id and none is removed. */
static void random_bytes_are_judged_without_harm(void **state)
{
    (void)state;
    struct prng prng = {.state = 3};
    uint32_t valid = 0;
    for (int round = 0; round < 200000; round++) {
        struct kelp_config c = {.count = (uint8_t)prng_below(&prng, 5),
                                .joint = (uint8_t)prng_below(&prng, 2),
                                .id_highest = prng_below(&prng, 8)};
        for (uint32_t slot = 0; slot < 4; slot++) {
            c.members[slot].id = prng_below(&prng, 8);
            c.members[slot].role = (uint8_t)prng_below(&prng, 4);
            c.members[slot].role_old = (uint8_t)prng_below(&prng, 3);
        }
        if (!config_valid(&c, 4)) continue;
        valid++;
        assert_true(config_voter_count(&c) >= 1);
        for (uint32_t slot = 0; slot < c.count; slot++) {
            assert_int_equal(config_slot(&c, c.members[slot].id), slot);
            assert_false(config_removed(&c, c.members[slot].id));
        }
    }
    assert_true(valid > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_has_a_slot_and_a_stranger_has_none),
        cmocka_unit_test(a_voter_of_either_half_votes_and_nobody_else),
        cmocka_unit_test(an_id_that_was_given_out_and_is_no_member_was_removed),
        cmocka_unit_test(a_configuration_that_makes_no_sense_is_invalid),
        cmocka_unit_test(random_bytes_are_judged_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
