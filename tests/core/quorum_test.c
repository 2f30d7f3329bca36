/* SPDX-License-Identifier: Apache-2.0 */
/* quorum_test.c - majorities against a second implementation that counts heads the slow way.
 * [§3.4, §4.3]
 *
 * Every configuration of up to four members, each with every role in both halves, joint or not, is
 * tried with every set and with every small value; larger ones at random. */
#include "core/quorum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "core/config.h"

/* ---- the slow way: list the members of a half, then count ---- */

static uint32_t naive_half(const struct kelp_config *c, bool old, uint32_t out[KELP_MEMBERS_MAX])
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < c->count; slot++) {
        uint8_t role = old ? c->members[slot].role_old : c->members[slot].role;
        if (role == KELP_VOTER || role == KELP_WITNESS) out[count++] = slot;
    }
    return count;
}

static bool naive_half_has(const struct kelp_config *c, bool old, slot_set set)
{
    uint32_t members[KELP_MEMBERS_MAX], yes = 0;
    uint32_t count = naive_half(c, old, members);
    for (uint32_t i = 0; i < count; i++)
        yes += set >> members[i] & 1u;
    return 2 * yes > count;
}

static bool naive_has(const struct kelp_config *c, slot_set set)
{
    return naive_half_has(c, false, set) && (!c->joint || naive_half_has(c, true, set));
}

/* The largest of the values (or 0) that a quorum reaches. */
static uint64_t naive_value(const struct kelp_config *c, const uint64_t values[KELP_MEMBERS_MAX])
{
    uint64_t best = 0;
    for (uint32_t slot = 0; slot < c->count; slot++) {
        slot_set reach = 0;
        for (uint32_t at = 0; at < c->count; at++) {
            if (values[at] >= values[slot]) reach |= 1u << at;
        }
        if (values[slot] > best && naive_has(c, reach)) best = values[slot];
    }
    return best;
}

/* ---- every small configuration ---- */

static struct kelp_config numbered(uint32_t count, uint32_t number, bool joint)
{
    struct kelp_config c = {.count = (uint8_t)count, .joint = joint, .id_highest = count};
    static const uint8_t old[] = {KELP_NONE, KELP_VOTER, KELP_WITNESS};
    for (uint32_t slot = 0; slot < count; slot++, number /= 12) {
        c.members[slot].id = slot + 1;
        c.members[slot].role = (uint8_t)(number % 4); /* none, voter, learner, witness */
        c.members[slot].role_old = old[number / 4 % 3];
    }
    return c;
}

typedef void (*config_fn)(const struct kelp_config *config);

static void each_config(uint32_t members_max, config_fn check)
{
    uint32_t numbers = 1;
    for (uint32_t count = 0; count <= members_max; count++, numbers *= 12) {
        for (uint32_t number = 0; number < numbers; number++) {
            for (int joint = 0; joint < 2; joint++) {
                struct kelp_config c = numbered(count, number, joint != 0);
                check(&c);
            }
        }
    }
}

static void check_sets(const struct kelp_config *c)
{
    slot_set all = (1u << c->count) - 1;
    for (slot_set set = 0; set <= all; set++) {
        assert_int_equal(quorum_has(c, set), naive_has(c, set));
        assert_int_equal(quorum_cannot(c, set), !naive_has(c, all & ~set));
    }
}

/* [§4.3] */
static void a_set_is_a_quorum_exactly_when_it_is_a_majority_of_every_half(void **state)
{
    (void)state;
    each_config(4, check_sets);
}

static void check_values(const struct kelp_config *c)
{
    uint32_t combinations = 1;
    for (uint32_t slot = 0; slot < c->count; slot++)
        combinations *= 3;
    for (uint32_t number = 0; number < combinations; number++) {
        uint64_t values[KELP_MEMBERS_MAX] = {0};
        uint32_t rest = number;
        for (uint32_t slot = 0; slot < c->count; slot++, rest /= 3)
            values[slot] = rest % 3;
        assert_int_equal(quorum_value(c, values), naive_value(c, values));
    }
}

/* [§3.6.2] */
static void a_value_is_the_largest_that_a_quorum_reaches(void **state)
{
    (void)state;
    each_config(3, check_values);
}

static void large_configurations_agree_with_the_slow_way(void **state)
{
    (void)state;
    struct prng prng = {.state = 42};
    for (int round = 0; round < 20000; round++) {
        uint32_t count = (uint32_t)prng_between(&prng, 5, KELP_MEMBERS_MAX);
        struct kelp_config c = numbered(count, 0, prng_chance(&prng, 1, 2));
        uint64_t values[KELP_MEMBERS_MAX] = {0};
        for (uint32_t slot = 0; slot < count; slot++) {
            c.members[slot].role = (uint8_t)prng_below(&prng, 4);
            c.members[slot].role_old = prng_chance(&prng, 1, 2) ? KELP_VOTER : KELP_NONE;
            values[slot] = prng_chance(&prng, 1, 8) ? UINT64_MAX : prng_below(&prng, 20);
        }
        slot_set set = (slot_set)prng_next(&prng);
        assert_int_equal(quorum_has(&c, set), naive_has(&c, set));
        assert_int_equal(quorum_cannot(&c, set), !naive_has(&c, ~set));
        assert_int_equal(quorum_value(&c, values), naive_value(&c, values));
    }
}

/* Two quorums of one configuration always meet; that is all that makes Raft safe. */
static void check_meeting(const struct kelp_config *c)
{
    slot_set all = (1u << c->count) - 1;
    for (slot_set a = 0; a <= all; a++) {
        for (slot_set b = 0; quorum_has(c, a) && b <= all; b++) {
            if (quorum_has(c, b)) assert_int_not_equal(a & b, 0);
        }
    }
}

/* [§3.6.3] */
static void two_quorums_share_a_member(void **state)
{
    (void)state;
    each_config(3, check_meeting);
}

/* [§4.3, §11.7.2] */
static void a_witness_counts_in_both_halves(void **state)
{
    (void)state;
    struct kelp_config c = {.count = 3, .joint = 1, .id_highest = 3};
    c.members[0] = (struct kelp_member){.id = 1, .role = KELP_VOTER, .role_old = KELP_VOTER};
    c.members[1] = (struct kelp_member){.id = 2, .role = KELP_VOTER, .role_old = KELP_VOTER};
    c.members[2] = (struct kelp_member){.id = 3, .role = KELP_WITNESS, .role_old = KELP_WITNESS};
    assert_true(quorum_has(&c, 5)); /* 1 and 3 */
    assert_false(quorum_has(&c, 4));
    c.members[2].role_old = KELP_NONE;
    assert_false(quorum_has(&c, 5)); /* of the old half there is 1 only */
}

static struct kelp_config plain(uint32_t count)
{
    struct kelp_config c = {.count = (uint8_t)count, .id_highest = count};
    for (uint32_t slot = 0; slot < count; slot++)
        c.members[slot] = (struct kelp_member){.id = slot + 1, .role = KELP_VOTER};
    return c;
}

/* PB TestQuorum */
static void a_majority_of_n_voters_is_half_of_them_and_one(void **state)
{
    (void)state;
    static const uint32_t needed[] = {0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6};
    for (uint32_t count = 1; count < sizeof needed / sizeof *needed; count++) {
        struct kelp_config c = plain(count);
        assert_true(quorum_has(&c, (1u << needed[count]) - 1));
        assert_false(quorum_has(&c, (1u << (needed[count] - 1)) - 1));
    }
}

/* HC TestCommitment_noVoterSanity */
static void no_voters_decide_nothing(void **state)
{
    (void)state;
    struct kelp_config c = {.count = 1, .id_highest = 1};
    c.members[0] = (struct kelp_member){.id = 1, .role = KELP_LEARNER};
    const uint64_t values[KELP_MEMBERS_MAX] = {10};
    assert_int_equal(quorum_value(&c, values), 0);
    assert_false(quorum_has(&c, 1));
    c.count = 0;
    assert_int_equal(quorum_value(&c, values), 0);
}

/* HC TestCommitment_recalculate */
static void the_fourth_and_fifth_of_five_voters_move_the_value(void **state)
{
    (void)state;
    struct kelp_config c = plain(5);
    uint64_t values[KELP_MEMBERS_MAX] = {30, 20};
    assert_int_equal(quorum_value(&c, values), 0);
    values[2] = 10;
    assert_int_equal(quorum_value(&c, values), 10);
    values[3] = 15;
    assert_int_equal(quorum_value(&c, values), 15);
    struct kelp_config three = plain(3); /* 30, 20, 10 are left */
    assert_int_equal(quorum_value(&three, values), 20);
    struct kelp_config four = plain(4);
    values[3] = 0;
    assert_int_equal(quorum_value(&four, values), 10);
    values[1] = 25;
    values[3] = 23;
    assert_int_equal(quorum_value(&four, values), 23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_is_a_quorum_exactly_when_it_is_a_majority_of_every_half),
        cmocka_unit_test(a_value_is_the_largest_that_a_quorum_reaches),
        cmocka_unit_test(large_configurations_agree_with_the_slow_way),
        cmocka_unit_test(two_quorums_share_a_member),
        cmocka_unit_test(a_witness_counts_in_both_halves),
        cmocka_unit_test(a_majority_of_n_voters_is_half_of_them_and_one),
        cmocka_unit_test(no_voters_decide_nothing),
        cmocka_unit_test(the_fourth_and_fifth_of_five_voters_move_the_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
