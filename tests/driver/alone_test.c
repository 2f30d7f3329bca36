/* SPDX-License-Identifier: Apache-2.0 */
/* alone_test.c - a node that runs founds a cluster of itself: who may, and when it is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"

static const struct wire_config *config_of(struct lab *lab, kelp_id node)
{
    return &lab_status(lab, node)->committed;
}

static void assert_outcome(struct lab_told told, enum kelp_outcome outcome, enum kelp_reason reason)
{
    assert_int_equal(told.reason, reason);
    assert_int_equal(told.outcome, outcome);
}

/* Why a node does not found a cluster of itself; "": it does, or did. */
static const char *not_founding(struct lab_client *c, bool if_empty)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    const char *why = NULL;
    kelp_ns until = c->lab->now + UINT64_C(5000000000);
    bool asked = driver_found(d, c->lab->now, c->line, c->tokens + 1, if_empty, until, &why);
    if (asked) c->tokens++;
    assert_true(asked == (why == NULL));
    return asked ? "" : why;
}

/* A write goes to a leader that is cut off; another one leads. What is written behind it goes there
 * only once it is known what became of the first, whatever is asked in between. */
static void a_founding_that_is_there_already_changes_no_order(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 7);
    lab_start_all(lab);
    kelp_id old = lab_await_leader(lab), follower = old == 1 ? 2 : 1;
    struct lab_client *c = lab_client(lab, follower);
    (void)lab_write(c, 1, 20000);
    lab_await(c, 1);
    lab_node(lab, old)->cut = true;
    (void)lab_write(c, 11, 20000);
    kelp_id now = old;
    for (int i = 0; i < 200 && (now == old || now == 0); i++) {
        lab_run(lab, 100);
        now = lab_status(lab, follower)->view.leader;
    }
    assert_true(now != old && now != 0);
    assert_string_equal(not_founding(c, true), "");
    (void)lab_write(c, 22, 20000);
    lab_run(lab, 1000);
    assert_int_equal(c->told_count, 1); /* both wait */
    assert_int_equal(lab_node(lab, now)->machine->count, 1);
    lab_await(c, 4);
    assert_outcome(c->told[2], KELP_DONE, KELP_R_NONE);
    lab_client_free(c);
    lab_free(lab);
}

static void a_running_empty_node_founds_alone_and_nobody_else_does(void **state)
{
    (void)state;
    struct lab *lab = lab_new(2, 29);
    lab->founders = 0;
    struct lab_node *first = lab_node(lab, 1), *second = lab_node(lab, 2);
    second->joins = true;
    (void)snprintf(second->address.text, WIRE_ADDRESS_MAX, "node2:7101");
    lab_start_all(lab);
    lab_run(lab, 1000);
    struct lab_client *c = lab_client(lab, 1), *other = lab_client(lab, 2);
    assert_non_null(strstr(not_founding(c, false), "no address"));
    lab_client_free(c);
    lab_crash(lab, 1);
    (void)snprintf(first->address.text, WIRE_ADDRESS_MAX, "node1:7101");
    lab_start(lab, 1);
    assert_non_null(strstr(not_founding(other, false), "--join"));
    lab_client_free(other);
    c = lab_client(lab, 1);
    assert_string_equal(not_founding(c, false), "");
    assert_non_null(strstr(not_founding(c, false), "just now"));
    assert_string_equal(not_founding(c, true), ""); /* it is at it */
    assert_int_equal(lab_await_leader(lab), 1);
    lab_await(c, 2);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    assert_outcome(c->told[1], KELP_DONE, KELP_R_NONE);
    assert_string_equal(config_of(lab, 1)->peer[0].text, "node1:7101");
    assert_string_equal(not_founding(c, true), "");
    assert_non_null(strstr(not_founding(c, false), "as node 1"));
    lab_await(c, 3);
    assert_outcome(c->told[2], KELP_DONE, KELP_R_NONE);
    lab_client_free(c);
    lab_run(lab, 2000);
    assert_int_equal(lab_status(lab, 1)->knock_count, 1); /* the other one, meanwhile */
    struct wire_change change = {.count = 1};
    change.edits[0] = (struct wire_edit){.id = 2, .verb = KELP_EDIT_ADD, .role = KELP_VOTER};
    c = lab_client(lab, 1);
    (void)lab_change(c, &change, 20000);
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    lab_client_free(c);
    lab_run(lab, 500);
    assert_int_equal(config_of(lab, 2)->config.count, 2);
    lab_free(lab);
}

static struct lab *one_that_waits(uint64_t seed)
{
    struct lab *lab = lab_new(1, seed);
    lab->founders = 0;
    (void)snprintf(lab_node(lab, 1)->address.text, WIRE_ADDRESS_MAX, "node1:7101");
    lab_start(lab, 1);
    lab_run(lab, 100);
    return lab;
}

static void who_founds_alone_is_told_so_when_entry_1_is_durable(void **state)
{
    (void)state;
    struct lab *lab = one_that_waits(32);
    struct lab_client *c = lab_client(lab, 1);
    lab_node(lab, 1)->hold_disk = true;
    assert_string_equal(not_founding(c, false), "");
    lab_run(lab, 1000);
    assert_int_equal(c->told_count, 0);
    lab_node(lab, 1)->hold_disk = false;
    while (c->told_count == 0)
        lab_run(lab, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    lab_client_free(c);
    lab_crash(lab, 1); /* at once */
    lab_start(lab, 1);
    assert_int_equal(lab_await_leader(lab), 1);
    lab_free(lab);
}

static void a_founding_that_lasts_too_long_is_uncertain_and_goes_on(void **state)
{
    (void)state;
    struct lab *lab = one_that_waits(33);
    struct lab_client *c = lab_client(lab, 1);
    lab_node(lab, 1)->hold_disk = true;
    assert_string_equal(not_founding(c, false), "");
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_UNKNOWN, KELP_R_TIMEOUT);
    assert_string_equal(not_founding(c, true), "");
    lab_client_free(c);
    lab_crash(lab, 1); /* pledged, or not even that */
    lab_start(lab, 1);
    c = lab_client(lab, 1);
    assert_string_equal(not_founding(c, true), "");
    lab_await(c, 1);
    assert_outcome(c->told[0], KELP_DONE, KELP_R_NONE);
    lab_client_free(c);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_founding_that_is_there_already_changes_no_order),
        cmocka_unit_test(a_running_empty_node_founds_alone_and_nobody_else_does),
        cmocka_unit_test(who_founds_alone_is_told_so_when_entry_1_is_durable),
        cmocka_unit_test(a_founding_that_lasts_too_long_is_uncertain_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
