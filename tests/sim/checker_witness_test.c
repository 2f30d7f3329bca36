/* SPDX-License-Identifier: Apache-2.0 */
/* checker_witness_test.c - the rules about nodes that keep positions, fed with lies. [§11.7.2] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

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

/* Node saves entries of term 1 from this index on, and its save is reported. */
static void keeps_from(unsigned node, kelp_index first, const struct checker_entry *entries,
                       uint32_t count)
{
    struct kelp_save save = {.flags = KELP_SAVE_APPEND, .first = first, .last = first + count - 1};
    save.number = ++save_number;
    checker_saves(c, node, &save, entries);
    checker_saved(c, node, save_number);
}

/* Node saves entry 1@1, and its save is reported. */
static void keeps(unsigned node, struct checker_entry entry)
{
    struct kelp_save vote = {.flags = KELP_SAVE_VOTE, .term = {1}, .vote = 1};
    vote.number = ++save_number;
    checker_saves(c, node, &vote, NULL);
    entry.term = 1;
    keeps_from(node, 1, &entry, 1);
}

static struct checker_entry command(void)
{
    return (struct checker_entry){.checksum = 7, .value = 1, .name = 1};
}

static void the_position_of_an_entry_is_that_entry(void **state)
{
    (void)state;
    keeps(0, command());
    keeps(2, (struct checker_entry){.position = true, .checksum = 99});
    SILENT();
    assert_true(checker_witness(c, 2));
    assert_false(checker_witness(c, 0));
}

static void a_position_that_nobody_wrote_fires_I07(void **state)
{
    (void)state;
    keeps(2, (struct checker_entry){.position = true, .checksum = 99});
    FIRES("I07 LogMatching");
}

static void a_configuration_kept_as_its_position_fires_M03(void **state)
{
    (void)state;
    keeps(0, (struct checker_entry){.checksum = 7, .config = true});
    keeps(2, (struct checker_entry){.position = true, .checksum = 99});
    FIRES("M03 WitnessKeepsLittle");
}

static void a_leader_without_data_fires_M03(void **state)
{
    (void)state;
    keeps(0, command());
    keeps(2, (struct checker_entry){.position = true, .checksum = 99});
    checker_leads(c, 2, 2);
    FIRES("M03 WitnessKeepsLittle");
}

static void a_witness_with_data_fires_M03(void **state)
{
    (void)state;
    struct kelp_config config = {.count = 3, .id_highest = 3};
    for (uint32_t slot = 0; slot < 3; slot++)
        config.members[slot] = (struct kelp_member){.id = slot + 1, .role = KELP_VOTER};
    config.members[2].role = KELP_WITNESS;
    for (unsigned node = 0; node < 3; node++)
        checker_members(c, node, &config, &config);
    struct checker_entry entries[128];
    for (uint32_t i = 0; i < 128; i++)
        entries[i] =
            (struct checker_entry){.checksum = 8 + i, .value = 2 + i, .name = 1, .term = 1};
    for (unsigned node = 0; node < 3; node++) {
        keeps(node, command());
        keeps_from(node, 2, entries, 127); /* sent before it was known for a witness */
    }
    SILENT();
    keeps_from(2, 129, &entries[127], 1);
    FIRES("M03 WitnessKeepsLittle");
}

static void a_voter_without_data_fires_M03(void **state)
{
    (void)state;
    struct kelp_config config = {.count = 3, .id_highest = 3};
    for (uint32_t slot = 0; slot < 3; slot++)
        config.members[slot] = (struct kelp_member){.id = slot + 1, .role = KELP_VOTER};
    keeps(0, command());
    keeps(2, (struct checker_entry){.position = true, .checksum = 99});
    SILENT();
    checker_members(c, 2, &config, &config);
    FIRES("M03 WitnessKeepsLittle");
}

#define RULE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE_TEST(the_position_of_an_entry_is_that_entry),
        RULE_TEST(a_position_that_nobody_wrote_fires_I07),
        RULE_TEST(a_configuration_kept_as_its_position_fires_M03),
        RULE_TEST(a_leader_without_data_fires_M03),
        RULE_TEST(a_witness_with_data_fires_M03),
        RULE_TEST(a_voter_without_data_fires_M03),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
