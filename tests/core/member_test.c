/* SPDX-License-Identifier: Apache-2.0 */
/* member_test.c - a configuration counts from the moment it is in the log, until it is cut.
 * [§4.1, §4.3] */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include "wire/config.h"
#include "wire/entry.h"

static struct kelp_config at(uint32_t count, kelp_index index)
{
    struct kelp_config c = voters(count);
    c.index = index;
    return c;
}

static uint32_t members_latest(const struct fixture *f)
{
    struct kelp_config latest;
    kelp_core_config(f->core, &latest, NULL);
    return latest.count;
}

static uint32_t members_committed(const struct fixture *f)
{
    struct kelp_config committed;
    kelp_core_config(f->core, NULL, &committed);
    return committed.count;
}

/* PB TestConfigurationReceipt */
static void a_configuration_counts_as_soon_as_it_is_appended(void **state)
{
    (void)state;
    struct fixture *f = node(.self = 2);
    struct kelp_config four = at(4, 2);
    append(f, .from = 1, .entries = "1@1 2@1", .commit = 1, .config = &four);
    assert_int_equal(members_latest(f), 4);
    assert_int_equal(members_committed(f), 3);
    MARK_HIT(f, CONFIG_ADOPTED);
    append(f, .from = 1, .prev = "2@1", .commit = 2);
    assert_int_equal(members_committed(f), 4);
    MARK_HIT(f, CONFIG_COMMITTED);
    fixture_close(f);
}

/* DG TestAppendEntriesConflictSuccess: the live configuration falls back */
static void a_truncated_configuration_gives_way_to_the_one_before(void **state)
{
    (void)state;
    struct fixture *f = node(.self = 2);
    struct kelp_config four = at(4, 2);
    append(f, .from = 1, .entries = "1@1 2@1 3@1", .config = &four);
    append(f, .from = 3, .term = 2, .prev = "1@1", .entries = "2@2");
    assert_int_equal(members_latest(f), 3);
    assert_int_equal(members_committed(f), 3);
    MARK_HIT(f, CONFIG_REVERTED);
    fixture_close(f);
}

static void a_cut_above_a_configuration_leaves_it(void **state)
{
    (void)state;
    struct fixture *f = node(.self = 2);
    struct kelp_config four = at(4, 2);
    append(f, .from = 1, .entries = "1@1 2@1 3@1", .config = &four);
    append(f, .from = 3, .term = 2, .prev = "2@1", .entries = "3@2");
    assert_int_equal(members_latest(f), 4);
    fixture_close(f);
}

static void two_configurations_in_one_append_leave_the_newer_and_one_step_back(void **state)
{
    (void)state;
    struct fixture *f = node(.self = 2);
    struct kelp_config four = at(4, 1), five = at(5, 3);
    append(f, .from = 1, .entries = "1@1 2@1 3@1", .config = &five, .config_before = &four);
    assert_int_equal(members_latest(f), 5);
    assert_int_equal(members_committed(f),
                     4); /* a second one is only appended when the first is committed */
    append(f, .from = 3, .term = 2, .prev = "2@1", .entries = "3@2");
    assert_int_equal(members_latest(f), 4);
    fixture_close(f);
}

static void a_configuration_known_already_is_not_adopted_twice(void **state)
{
    (void)state;
    struct fixture *f = node(.self = 2);
    struct kelp_config four = at(4, 2);
    append(f, .from = 1, .entries = "1@1 2@1", .config = &four);
    append(f, .from = 1, .entries = "1@1 2@1", .config = &four); /* a duplicate */
    assert_int_equal(hits(f, KELP_EV_CONFIG_ADOPTED), 1);
    append(f, .from = 3, .term = 2, .prev = "1@1", .entries = "2@2");
    assert_int_equal(members_latest(f), 3);
    fixture_close(f);
}

static void what_is_owed_survives_a_change_of_members(void **state)
{
    (void)state;
    struct kelp_config before = at(3, 0), now = at(4, 2);
    now.members[2].id = 4; /* 3 leaves, 4 and 5 come */
    now.members[3].id = 5;
    now.id_highest = 5;
    struct fixture *f = node(.self = 2, .log = "1@1", .commit = 1, .config = &before);
    struct kelp_message vote = vote_of(f, 4, 1, "1@1");
    receive(f, vote); /* a stranger's vote waits for the disk while it becomes a member */
    append(f, .from = 1, .prev = "1@1", .entries = "2@1", .config = &now);
    save_all(f);
    assert_int_equal(f->view.peer_count, 4);
    assert_int_equal(f->view.peers[2].id, 4);
    assert_non_null(sent(f, KELP_MSG_VOTE_ANSWER, 4));
    assert_non_null(sent(f, KELP_MSG_ANSWER, 1));
    fixture_close(f);
}

/* never skipped: the others count by it */
static void a_configuration_this_node_cannot_use_stops_it(void **state)
{
    (void)state;
    struct kelp_config bad[4] = {at(4, 1), at(10, 1), at(4, 1), at(4, 1)};
    bad[0].members[1].role = KELP_STAGING + 1; /* of a later version */
    bad[1].id_highest = 10;                    /* more members than fit here */
    for (uint32_t slot = 0; slot < 4; slot++)
        bad[2].members[slot].role = KELP_LEARNER;
    bad[3].members[2].id = 1;
    for (size_t i = 0; i < 4; i++) {
        struct fixture *f = node();
        append(f, .entries = "1@1", .config = &bad[i]);
        assert_true(f->faulted);
        save_all(f);
        assert_int_equal(f->message_count, 0);
        fixture_close(f);
    }
}

static void the_newest_configuration_survives_a_restart_with_the_one_before(void **state)
{
    (void)state;
    struct kelp_config before = at(3, 0), four = at(4, 2);
    struct fixture *f =
        node(.log = "1@1 2@1", .commit = 1, .config = &four, .config_before = &before);
    assert_int_equal(members_latest(f), 4);
    assert_int_equal(members_committed(f), 3);
    append(f, .from = 3, .term = 2, .prev = "1@1", .entries = "2@2");
    assert_int_equal(members_latest(f), 3);
    fixture_close(f);
}

/* HC Configuration_Clone */
static void what_is_told_about_a_configuration_is_a_copy(void **state)
{
    (void)state;
    struct fixture *f = node();
    struct kelp_config latest;
    kelp_core_config(f->core, &latest, NULL);
    latest.count = 0;
    latest.members[0].id = 77;
    assert_int_equal(members_latest(f), 3);
    kelp_core_config(f->core, &latest, NULL);
    assert_int_equal(latest.members[0].id, 1);
    fixture_close(f);
}

/* DG TestNewMemberSubmit */
static void a_learner_takes_the_log_like_anybody_else(void **state)
{
    (void)state;
    struct fixture *f = node(.self = 3, .voters = 2, .learners = 1);
    append(f, .from = 1, .entries = "1@1 2@1", .commit = 2);
    save_all(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 1)->answer.match, 2);
    assert_int_equal(f->apply_last, 2);
    assert_false(f->view.may_lead);
    fixture_close(f);
}

static void change_asked(struct fixture *f, uint64_t token, const struct kelp_edit *edit)
{
    struct kelp_change what = {.count = 1, .edits = edit};
    struct kelp_input input = {.type = KELP_IN_CHANGE};
    input.change.token = token;
    input.change.deadline = KELP_NEVER;
    input.change.what = &what;
    step(f, &input);
    save_all(f);
}

/* Whoever reads the entries of an append from the disk reads as many bytes as the append says. */
static void a_configuration_has_no_more_bytes_than_the_leader_counts_for_it(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 8);
    struct kelp_edit add = {.id = 9, .incarnation = 1, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER};
    struct wire_config largest = {.config = voters(9)};
    pass(f, 100 * MS); /* every peer is probed again */
    take(f);
    for (kelp_id id = 2; id <= 5; id++)
        ack(f, id, f->view.last);
    save_all(f);
    change_asked(f, 7, &add);
    MARK_HIT(f, CHANGE_SIMPLE);
    for (size_t slot = 0; slot < 9; slot++) {
        memset(largest.peer[slot].text, 'a', 118); /* the longest host */
        memcpy(largest.peer[slot].text + 118, ":65535", 7);
    }
    uint8_t *payload = malloc(WIRE_CONFIG_BYTES_MAX);
    assert_non_null(payload);
    struct wire_entry entry = {.pos = kelp_pos_of(f->view.last, f->view.term.v),
                               .type = KELP_ENTRY_CONFIG};
    entry.payload = (struct kelp_bytes){payload, wire_config_encode(&largest, payload)};
    const struct kelp_message *m = sent(f, KELP_MSG_APPEND, 2);
    assert_int_equal(m->append.last - m->append.prev.index, 1);
    assert_true(wire_entry_size(&entry) <= m->append.bytes);
    free(payload);
    fixture_close(f);
}

/* 3 is lost, so 4, a witness, is to come in, and 1 wants to go. 2 is about to stop: there is nobody
 * to hand over to. All of that is due in one take, which appends one configuration and hands it on.
 */
static void what_is_due_at_once_is_one_entry_and_is_handed_on(void **state)
{
    (void)state;
    struct kelp_config config = voters(4);
    config.members[3].role = KELP_WITNESS;
    struct fixture *f = leader(.config = &config);
    kelp_index last = f->view.last;
    struct kelp_edit gone = {.id = 1, .verb = KELP_EDIT_REMOVE};
    struct kelp_message leaving = answer_of(f, 2, last);
    leaving.answer.health = KELP_HEALTH_LEAVING;
    change_asked(f, 7, &gone); /* it waits: nothing of this term is committed */
    for (int i = 0; i < 11; i++) {
        pass(f, 100 * MS);
        take(f);
        receive(f, leaving);
        receive(f, answer_of(f, 4, 0));
    }
    MARK_HIT(f, WITNESS_NEEDED);
    assert_int_equal(f->view.commit, 0);
    receive(f, answer_of(f, 4, last));
    take(f);
    assert_int_equal(f->view.commit, last);
    assert_int_equal(f->view.last, last + 1);
    assert_int_equal(f->made.index, last + 1);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_counts_as_soon_as_it_is_appended),
        cmocka_unit_test(a_truncated_configuration_gives_way_to_the_one_before),
        cmocka_unit_test(a_cut_above_a_configuration_leaves_it),
        cmocka_unit_test(two_configurations_in_one_append_leave_the_newer_and_one_step_back),
        cmocka_unit_test(a_configuration_known_already_is_not_adopted_twice),
        cmocka_unit_test(what_is_owed_survives_a_change_of_members),
        cmocka_unit_test(a_configuration_this_node_cannot_use_stops_it),
        cmocka_unit_test(the_newest_configuration_survives_a_restart_with_the_one_before),
        cmocka_unit_test(what_is_told_about_a_configuration_is_a_copy),
        cmocka_unit_test(a_learner_takes_the_log_like_anybody_else),
        cmocka_unit_test(a_configuration_has_no_more_bytes_than_the_leader_counts_for_it),
        cmocka_unit_test(what_is_due_at_once_is_one_entry_and_is_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
