/* SPDX-License-Identifier: Apache-2.0 */
/* moving_test.c - nodes whose addresses changed ask to be moved, alone and all at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"

static struct lab *three(uint64_t seed)
{
    struct lab *lab = lab_new(3, seed);
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    return lab;
}

static const struct wire_config *config_of(struct lab *lab, kelp_id node)
{
    return &lab_status(lab, node)->committed;
}

static void a_node_whose_address_changed_asks_to_be_moved_once(void **state)
{
    (void)state;
    struct lab *lab = three(26);
    kelp_id moved = lab_leader(lab) % 3 + 1;
    struct lab_node *n = lab_node(lab, moved);
    lab_crash(lab, moved);
    n->moves = true;
    (void)snprintf(n->address.text, WIRE_ADDRESS_MAX, "new:1");
    lab_start(lab, moved);
    lab_run(lab, 5000);
    kelp_id leader = lab_await_leader(lab);
    assert_string_equal(config_of(lab, leader)->peer[moved - 1].text, "new:1");
    struct wire_change elsewhere = {.count = 1};
    elsewhere.edits[0] =
        (struct wire_edit){.id = moved, .verb = KELP_EDIT_MOVE, .address = {"else:2"}};
    struct lab_client *c = lab_client(lab, leader);
    (void)lab_change(c, &elsewhere, 20000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    lab_client_free(c);
    kelp_index index = config_of(lab, leader)->config.index;
    lab_run(lab, 10000); /* what somebody moves while it runs stays there */
    assert_int_equal(config_of(lab, leader)->config.index, index);
    lab_free(lab);
}

static void a_node_that_was_not_told_to_stays_where_it_is(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 27);
    for (kelp_id id = 1; id <= 3; id++)
        (void)snprintf(lab_node(lab, id)->address.text, WIRE_ADDRESS_MAX, "other%d:1", (int)id);
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 5000);
    assert_int_equal(config_of(lab, leader)->config.index, 1);
    lab_free(lab);
}

static void all_move_at_once(void **state)
{
    (void)state;
    struct lab *lab = three(28);
    for (kelp_id id = 1; id <= 3; id++) {
        struct lab_node *n = lab_node(lab, id);
        lab_crash(lab, id);
        n->moves = true;
        (void)snprintf(n->address.text, WIRE_ADDRESS_MAX, "new%d:1", (int)id);
    }
    lab->loss = 100; /* frames are lost, too */
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 60000);
    leader = lab_await_leader(lab);
    assert_string_equal(config_of(lab, leader)->peer[0].text, "new1:1");
    assert_string_equal(config_of(lab, leader)->peer[1].text, "new2:1");
    assert_string_equal(config_of(lab, leader)->peer[2].text, "new3:1");
    lab_free(lab);
}

static void members_that_change_places_move_together(void **state)
{
    (void)state;
    struct lab *lab = three(34);
    struct wire_config before = *config_of(lab, lab_leader(lab));
    for (kelp_id id = 1; id <= 3; id++) {
        lab_crash(lab, id);
        lab_node(lab, id)->moves = true;
        lab_node(lab, id)->address = before.peer[id % 3];
    }
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 10000);
    for (kelp_id id = 1; id <= 3; id++)
        assert_string_equal(config_of(lab, leader)->peer[id - 1].text, before.peer[id % 3].text);
    lab_free(lab);
}

static void who_stays_at_an_address_is_not_moved_from_it(void **state)
{
    (void)state;
    struct lab *lab = three(35);
    struct wire_config before = *config_of(lab, lab_leader(lab));
    for (kelp_id id = 1; id <= 3; id++) {
        lab_crash(lab, id);
        lab_node(lab, id)->moves = true;
        lab_node(lab, id)->address = before.peer[id == 1 ? 1 : id - 1]; /* 1 and 2 say the same */
    }
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 10000);
    assert_int_equal(config_of(lab, leader)->config.index, 1);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_whose_address_changed_asks_to_be_moved_once),
        cmocka_unit_test(a_node_that_was_not_told_to_stays_where_it_is),
        cmocka_unit_test(all_move_at_once),
        cmocka_unit_test(members_that_change_places_move_together),
        cmocka_unit_test(who_stays_at_an_address_is_not_moved_from_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
