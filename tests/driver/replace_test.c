/* SPDX-License-Identifier: Apache-2.0 */
/* replace_test.c - who replaces a member may stand where that one stood: the machine with an empty
 * directory comes back under a new id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"

/* Nodes 1..3 are a cluster with a leader, any others are up and wait. */
static struct lab *cluster(size_t all, uint64_t seed)
{
    struct lab *lab = lab_new(all, seed);
    lab->founders = 3;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    return lab;
}

static const struct wire_config *config_of(struct lab *lab, kelp_id node)
{
    return &lab_status(lab, node)->committed;
}

static struct wire_change replace(kelp_id old, kelp_id new, uint8_t role, const char *address)
{
    struct wire_change c = {.count = 2};
    c.edits[0] = (struct wire_edit){.id = old, .verb = KELP_EDIT_REMOVE};
    c.edits[1] = (struct wire_edit){.id = new, .verb = KELP_EDIT_ADD, .role = role};
    if (address != NULL) (void)snprintf(c.edits[1].address.text, WIRE_ADDRESS_MAX, "%s", address);
    return c;
}

static struct lab_told asked(struct lab *lab, const struct wire_change *change)
{
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    (void)lab_change(c, change, 20000);
    lab_await(c, 1);
    struct lab_told told = c->told[0];
    lab_client_free(c);
    return told;
}

static void assert_done(struct lab_told told)
{
    assert_int_equal(told.reason, KELP_R_NONE);
    assert_int_equal(told.outcome, KELP_DONE);
}

static struct kelp_plan planned(struct lab *lab, const struct wire_change *change)
{
    struct kelp_plan plan;
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    (void)lab_plan(c, change, 5000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    assert_true(driver_plan_read(bytes_of(c->last, c->last_len), &plan));
    lab_client_free(c);
    return plan;
}

static void a_voter_takes_the_address_of_whom_it_replaces(void **state)
{
    (void)state;
    struct lab *lab = cluster(4, 41);
    kelp_id leader = lab_leader(lab), old = leader % 3 + 1, other = old % 3 + 1;
    const char *address = config_of(lab, leader)->peer[old - 1].text;
    char there[WIRE_ADDRESS_MAX];
    (void)snprintf(there, sizeof there, "%s", address);
    lab_crash(lab, old);
    struct wire_change change = replace(old, 4, KELP_VOTER, there);
    assert_false(planned(lab, &change).refused);
    assert_done(asked(lab, &change));
    lab_run(lab, 200);
    const struct wire_config *now = config_of(lab, leader);
    assert_int_equal(now->config.count, 3);
    assert_int_equal(now->config.joint, 0);
    assert_int_equal(now->config.members[2].id, 4);
    assert_string_equal(now->peer[2].text, there);
    change = replace(other == leader ? leader : other, 5, KELP_LEARNER, there);
    assert_true(planned(lab, &change).refused); /* it is somebody else's now */
    assert_int_equal(asked(lab, &change).reason, KELP_R_ADDRESS_USED);
    lab_free(lab);
}

/* One of three is dead, and at its address somebody without an id knocks. */
static struct lab *with_one_for_the_dead(kelp_id *leader, kelp_id *old,
                                         char there[WIRE_ADDRESS_MAX], uint64_t seed)
{
    struct lab *lab = cluster(3, seed);
    *leader = lab_leader(lab);
    *old = *leader % 3 + 1;
    (void)snprintf(there, WIRE_ADDRESS_MAX, "%s", config_of(lab, *leader)->peer[*old - 1].text);
    lab_crash(lab, *old);
    lab_knock(lab, *leader, KELP_ID_WAITING | 5, 55, there);
    return lab;
}

static void who_has_no_id_is_meant_by_the_address_of_whom_it_replaces(void **state)
{
    (void)state;
    kelp_id leader, old;
    char there[WIRE_ADDRESS_MAX];
    struct lab *lab = with_one_for_the_dead(&leader, &old, there, 42);
    struct wire_change change = replace(old, 0, KELP_LEARNER, there);
    struct lab_told told = asked(lab, &change);
    assert_done(told);
    assert_int_equal(told.member, 4);
    assert_int_equal(config_of(lab, leader)->config.count, 3);
    assert_int_equal(config_of(lab, leader)->config.members[2].incarnation, 55);
    assert_string_equal(config_of(lab, leader)->peer[2].text, there);
    told = asked(lab, &change); /* asked once more: it is so */
    assert_int_equal(told.outcome, KELP_DONE);
    assert_int_equal(told.reason, KELP_R_NOTHING_NEW);
    assert_int_equal(told.member, 4);
    lab_free(lab);
}

static void an_address_left_out_may_be_that_of_whom_it_replaces(void **state)
{
    (void)state;
    kelp_id leader, old;
    char there[WIRE_ADDRESS_MAX];
    struct lab *lab = with_one_for_the_dead(&leader, &old, there, 43);
    struct wire_change change = replace(old, 0, KELP_LEARNER, NULL);
    assert_done(asked(lab, &change));
    assert_string_equal(config_of(lab, leader)->peer[2].text, there);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_voter_takes_the_address_of_whom_it_replaces),
        cmocka_unit_test(who_has_no_id_is_meant_by_the_address_of_whom_it_replaces),
        cmocka_unit_test(an_address_left_out_may_be_that_of_whom_it_replaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
