/* SPDX-License-Identifier: Apache-2.0 */
/* checker_transfer_test.c - the checker on leadership that is handed over, I35, or leased, N10.
 * [§3.10, §6.4.1]
 *
 * Three nodes. A node that "holds" entries saved them, had the save reported and shows them in its
 * state; checksums are made from position and value, so equal entries are equal everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/hash.h"
#include "sim/checker.h"

static struct checker *c;
static uint64_t save_number;

static int set_up(void **state)
{
    (void)state;
    save_number = 0;
    c = checker_new(3);
    return c != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    checker_free(c);
    return 0;
}

#define FIRES(id) assert_string_equal(checker_invariant(c), id)
#define SILENT()  assert_string_equal(checker_message(c), "")

static struct checker_entry entry(kelp_index index, uint64_t term, uint64_t value)
{
    return (struct checker_entry){
        .term = term, .checksum = hash_mix(index, term) ^ value, .value = value, .name = 1};
}

static uint64_t saves(unsigned node, struct kelp_save save, const struct checker_entry *entries)
{
    save.number = ++save_number;
    checker_saves(c, node, &save, entries);
    return save.number;
}

static uint64_t appends(unsigned node, kelp_index index, uint64_t term, uint64_t value)
{
    struct checker_entry e = entry(index, term, value);
    struct kelp_save save = {.flags = KELP_SAVE_APPEND, .first = index, .last = index};
    return saves(node, save, &e);
}

static void votes(unsigned node, uint64_t term, kelp_id vote)
{
    struct kelp_save save = {.flags = KELP_SAVE_VOTE, .term = {term}, .vote = vote};
    checker_saved(c, node, saves(node, save, NULL));
}

static void holds(unsigned node, kelp_index index, uint64_t term, uint64_t value)
{
    checker_saved(c, node, appends(node, index, term, value));
}

static void shows(unsigned node, enum kelp_role role, uint64_t term, struct kelp_pos last,
                  kelp_index commit)
{
    struct kelp_view v = {.self = node + 1,
                          .role = role,
                          .term = {term},
                          .term_saved = {term},
                          .first = 1,
                          .last = last.index,
                          .last_pos = last,
                          .durable = 0,
                          .commit = commit};
    checker_views(c, node, &v);
}

static void grants(unsigned node, unsigned to, uint64_t term)
{
    struct checker_sent sent = {.type = KELP_MSG_VOTE_ANSWER,
                                .flags = KELP_MF_GRANTED,
                                .to = to,
                                .term = term,
                                .vote_term = term};
    checker_sends(c, node, &sent);
}

static void promised(unsigned node, unsigned other, uint64_t term)
{
    votes(node, term, node + 1);
    grants(node, node, term);
    votes(other, term, node + 1);
    grants(other, node, term);
}

static void elected(unsigned node, unsigned other, uint64_t term)
{
    promised(node, other, term);
    checker_leads(c, node, term);
}

/* Node 0 leads term 1; entries 1..last are on nodes 0 and 1, durably, and committed. */
static void committed(kelp_index last)
{
    votes(2, 1, 1);
    elected(0, 1, 1);
    for (kelp_index i = 1; i <= last; i++) {
        holds(0, i, 1, 100 + i);
        holds(1, i, 1, 100 + i);
    }
    shows(0, KELP_LEADER, 1, kelp_pos_of(last, 1), last);
}

static void orders(unsigned node, unsigned to, kelp_index required, uint8_t flags)
{
    struct checker_sent sent = {
        .type = KELP_MSG_TIMEOUT_NOW, .flags = flags, .to = to, .term = 1, .match = required};
    checker_sends(c, node, &sent);
}

static void an_order_to_stand_for_a_log_that_is_not_durable_fires_I35(void **state)
{
    (void)state;
    committed(1);
    orders(0, 1, 1, 0);
    SILENT();
    holds(0, 2, 1, 7);
    (void)appends(1, 2, 1, 7); /* not reported */
    orders(0, 1, 2, 0);
    FIRES("I35 TransferSafe");
}

static void an_order_repeated_to_who_went_on_in_a_later_term_is_silent(void **state)
{
    (void)state;
    committed(1);
    holds(0, 2, 1, 7);
    holds(1, 2, 1, 7);
    orders(0, 1, 2, 0);
    votes(1, 2, 3);
    struct kelp_save cut = {.flags = KELP_SAVE_TRUNCATE, .end = kelp_pos_of(1, 1)};
    checker_saved(c, 1, saves(1, cut, NULL));
    orders(0, 1, 2, 0); /* who sends it has not heard of that yet */
    SILENT();
}

static void an_order_to_stand_below_the_end_of_the_log_fires_I35(void **state)
{
    (void)state;
    committed(1);
    holds(0, 2, 1, 7);
    orders(0, 1, 1, KELP_MF_FINAL); /* the last word of a faulted leader */
    SILENT();
    orders(0, 1, 1, 0);
    FIRES("I35 TransferSafe");
}

static void an_entry_taken_while_handing_over_fires_I35(void **state)
{
    (void)state;
    committed(1);
    struct kelp_view view = {.self = 1,
                             .role = KELP_LEADER,
                             .term = {1},
                             .term_saved = {1},
                             .first = 1,
                             .last = 1,
                             .last_pos = kelp_pos_of(1, 1),
                             .commit = 1,
                             .transferring = true};
    checker_views(c, 0, &view);
    SILENT();
    holds(0, 2, 1, 7);
    view.last_pos.index = view.last = 2;
    view.transferring = false;
    checker_views(c, 0, &view);
    SILENT();
    view.transferring = true;
    checker_views(c, 0, &view);
    holds(0, 3, 1, 8);
    view.last_pos.index = view.last = 3;
    checker_views(c, 0, &view);
    FIRES("I35 TransferSafe");
}

static void a_lease_while_a_later_term_is_led_fires_N10(void **state)
{
    (void)state;
    committed(1);
    checker_leased(c, 0, 1, 1);
    SILENT();
    elected(1, 2, 2);
    checker_leased(c, 0, 1, 1);
    FIRES("N10 LeaseSafe");
}

static void a_lease_below_what_is_committed_fires_N10(void **state)
{
    (void)state;
    committed(2);
    checker_leased(c, 0, 1, 2);
    SILENT();
    checker_leased(c, 0, 1, 1);
    FIRES("N10 LeaseSafe");
}

#define RULE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE_TEST(an_order_to_stand_for_a_log_that_is_not_durable_fires_I35),
        RULE_TEST(an_order_repeated_to_who_went_on_in_a_later_term_is_silent),
        RULE_TEST(an_order_to_stand_below_the_end_of_the_log_fires_I35),
        RULE_TEST(an_entry_taken_while_handing_over_fires_I35),
        RULE_TEST(a_lease_while_a_later_term_is_led_fires_N10),
        RULE_TEST(a_lease_below_what_is_committed_fires_N10),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
