/* SPDX-License-Identifier: Apache-2.0 */
/* prefer_test.c - priorities: the numbers of one node. [after NuRaft priorities]
 *
 * The stories between nodes are in tests/scenario/priority. */
#include "core/config.h"
#include "fixture.h"

/* 1, 2, 3 with these priorities. */
static struct kelp_config preferring(uint8_t one, uint8_t two, uint8_t three)
{
    struct kelp_config config = voters(3);
    config.members[0].preference = kelp_preference_of(one);
    config.members[1].preference = kelp_preference_of(two);
    config.members[2].preference = kelp_preference_of(three);
    return config;
}

/* Both others answer for so long, a heartbeat at a time, holding everything; 2 with this health. */
static void level_for(struct fixture *f, kelp_ns span, uint32_t health)
{
    for (kelp_ns until = f->now + span; f->now < until;) {
        pass(f, 100 * MS);
        for (kelp_id id = 2; id <= 3; id++) {
            const struct kelp_message *asked = sent(f, KELP_MSG_HEARTBEAT, id);
            struct kelp_message m = answer_of(f, id, 2);
            if (asked != NULL) m.id = asked->id;
            if (id == 2) m.answer.health = health;
            receive(f, m);
        }
        take(f);
    }
}

static struct fixture *level_leader(const struct kelp_config *config)
{
    struct fixture *f = leader(.log = "1@1", .config = config);
    ack(f, 2, 2);
    ack(f, 3, 2);
    save_all(f);
    applied(f, 2);
    take(f);
    fixture_forget(f);
    return f;
}

static void the_usual_priority_is_1(void **state)
{
    (void)state;
    struct kelp_member member = {.id = 1, .role = KELP_VOTER};
    assert_int_equal(kelp_priority_of(&member), KELP_PRIORITY_USUAL);
    for (unsigned priority = 0; priority <= KELP_PRIORITY_MAX; priority++) {
        member.preference = kelp_preference_of((uint8_t)priority);
        assert_int_equal(kelp_priority_of(&member), priority);
    }
    member.preference = KELP_PREFERENCE_NEVER;
    assert_int_equal(kelp_priority_of(&member), 0);
}

static void tiers_are_different_priorities_of_voters(void **state)
{
    (void)state;
    struct kelp_config config = preferring(9, 5, 9);
    assert_int_equal(config_tiers_above(&config, 9), 0);
    assert_int_equal(config_tiers_above(&config, 5), 1);
    assert_int_equal(config_tiers_above(&config, 1), 2);
    assert_int_equal(config_tiers_above(&config, 0), 2);
    config.members[1].role = KELP_LEARNER;
    assert_int_equal(config_tiers_above(&config, 0), 1);
    config = preferring(0, 0, 255);
    assert_int_equal(config_tiers_above(&config, 254), 1);
    assert_int_equal(config_tiers_above(&config, 255), 0);
    assert_true(config_somebody_leads(&config));
    config.members[2].role = KELP_LEARNER;
    assert_false(config_somebody_leads(&config));
}

static void nothing_moves_where_all_are_equal(void **state)
{
    (void)state;
    struct kelp_config config = preferring(7, 7, 7);
    struct fixture *f = level_leader(&config);
    for (int i = 0; i < 10; i++) {
        level_for(f, 4000 * MS, 0);
        assert_int_equal(hits(f, KELP_EV_TRANSFER_BEGUN), 0);
        fixture_forget(f);
    }
    fixture_close(f);
}

static void the_preferred_is_told_after_three_longest_timeouts(void **state)
{
    (void)state;
    struct kelp_config config = preferring(1, 9, 5);
    struct fixture *f = level_leader(&config);
    level_for(f, 5800 * MS, 0);
    assert_int_equal(sent_count(f, KELP_MSG_TIMEOUT_NOW, 0), 0);
    level_for(f, 700 * MS, 0);
    assert_int_equal(hits(f, KELP_EV_TRANSFER_PREFERRED), 1);
    assert_non_null(sent(f, KELP_MSG_TIMEOUT_NOW, 2));
    assert_null(sent(f, KELP_MSG_TIMEOUT_NOW, 3));
    fixture_close(f);
}

/* It does not take over: nobody hears its election. */
static void it_is_tried_once_in_ten_longest_timeouts(void **state)
{
    (void)state;
    struct kelp_config config = preferring(1, 9, 1);
    struct fixture *f = level_leader(&config);
    level_for(f, 6400 * MS, 0);
    assert_int_equal(hits(f, KELP_EV_TRANSFER_PREFERRED), 1);
    for (int i = 0; i < 6; i++) {
        fixture_forget(f);
        level_for(f, 3200 * MS, 0);
        assert_int_equal(hits(f, KELP_EV_TRANSFER_PREFERRED), 0);
    }
    assert_false(f->view.transferring);
    level_for(f, 1000 * MS, 0);
    assert_int_equal(hits(f, KELP_EV_TRANSFER_PREFERRED), 1);
    fixture_close(f);
}

static void whoever_falls_behind_begins_anew(void **state)
{
    (void)state;
    struct kelp_config config = preferring(1, 9, 1);
    struct fixture *f = level_leader(&config);
    level_for(f, 5000 * MS, 0);
    assert_true(client_writes(f, 7, 100, KELP_NEVER));
    for (int i = 0; i < 3; i++) { /* it answers, and does not have it */
        take(f);
        pass(f, 100 * MS);
        receive(f, answer_of(f, 2, 2));
    }
    save_all(f);
    ack(f, 2, 3);
    ack(f, 3, 3);
    for (kelp_ns until = f->now + 5500 * MS; f->now < until;) {
        pass(f, 100 * MS);
        receive(f, answer_of(f, 2, 3));
        receive(f, answer_of(f, 3, 3));
        take(f);
    }
    assert_int_equal(hits(f, KELP_EV_TRANSFER_PREFERRED), 0);
    fixture_close(f);
}

static void a_disk_that_stalled_lately_is_not_preferred(void **state)
{
    (void)state;
    struct kelp_config config = preferring(1, 9, 5);
    struct fixture *f = level_leader(&config);
    level_for(f, 6700 * MS, KELP_HEALTH_UNSTEADY);
    assert_non_null(sent(f, KELP_MSG_TIMEOUT_NOW, 3)); /* the next best */
    assert_null(sent(f, KELP_MSG_TIMEOUT_NOW, 2));
    fixture_close(f);
}

/* 2 answers and never has all of it; 3 does. */
static void one_that_stays_behind_does_not_hide_the_next(void **state)
{
    (void)state;
    struct kelp_config config = preferring(1, 9, 5);
    struct fixture *f = leader(.log = "1@1", .config = &config);
    ack(f, 2, 1);
    ack(f, 3, 2);
    save_all(f);
    applied(f, 2);
    for (kelp_ns until = f->now + 6700 * MS; f->now < until;) {
        pass(f, 100 * MS);
        receive(f, answer_of(f, 2, 1));
        receive(f, answer_of(f, 3, 2));
        take(f);
    }
    assert_non_null(sent(f, KELP_MSG_TIMEOUT_NOW, 3));
    assert_null(sent(f, KELP_MSG_TIMEOUT_NOW, 2));
    fixture_close(f);
}

/* 2 is preferred and stalled lately, 3 is as good as this leader: whoever is level and steady. */
static void nobody_by_name_is_not_a_disk_that_stalled_lately(void **state)
{
    (void)state;
    struct kelp_config config = preferring(1, 9, 1);
    struct fixture *f = level_leader(&config);
    level_for(f, 300 * MS, KELP_HEALTH_UNSTEADY);
    struct kelp_input in = {.type = KELP_IN_TRANSFER};
    in.transfer.token = 7;
    in.transfer.deadline = KELP_NEVER;
    step(f, &in);
    take(f);
    assert_non_null(sent(f, KELP_MSG_TIMEOUT_NOW, 3));
    assert_null(sent(f, KELP_MSG_TIMEOUT_NOW, 2));
    fixture_close(f);
}

/* It followed 2, which is preferred and could not keep the leadership: not at once back to it. */
static void who_took_over_from_the_preferred_keeps_it_for_ten_longest_timeouts(void **state)
{
    (void)state;
    struct kelp_config config = preferring(1, 9, 1);
    struct fixture *f = node(.log = "1@1", .config = &config);
    receive(f, heartbeat_of(f, 2, 1));
    take(f);
    for (int i = 0; i < 60 && f->view.role != KELP_LEADER; i++) {
        pass(f, 500 * MS);
        take(f);
        if (f->view.role == KELP_PRE_CANDIDATE || f->view.role == KELP_CANDIDATE)
            receive(f, granted_of(f, 3));
        save_all(f);
    }
    assert_int_equal(f->view.role, KELP_LEADER);
    ack(f, 2, 2);
    ack(f, 3, 2);
    save_all(f);
    applied(f, 2);
    take(f);
    level_for(f, 19500 * MS, 0);
    assert_int_equal(hits(f, KELP_EV_TRANSFER_PREFERRED), 0);
    level_for(f, 1000 * MS, 0);
    assert_int_equal(hits(f, KELP_EV_TRANSFER_PREFERRED), 1);
    fixture_close(f);
}

static void answers_say_for_ten_limits_that_a_disk_stalled(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .stall_limit = 1000 * MS);
    append(f, .prev = "1@1", .entries = "2@1");
    take(f);
    pass(f, 1100 * MS);
    saved_up_to(f, 1);
    fixture_forget(f);
    receive(f, heartbeat_of(f, 2, 1));
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.health, KELP_HEALTH_UNSTEADY);
    pass(f, 9999 * MS);
    fixture_forget(f);
    receive(f, heartbeat_of(f, 2, f->view.term.v));
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.health, KELP_HEALTH_UNSTEADY);
    pass(f, 1 * MS);
    fixture_forget(f);
    receive(f, heartbeat_of(f, 2, f->view.term.v));
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.health, 0);
    fixture_close(f);
}

static void a_leader_hears_every_look_in_time(void **state)
{
    (void)state;
    struct kelp_config config = preferring(1, 9, 1);
    struct fixture *f = level_leader(&config);
    for (int i = 0; i < 20; i++) {
        assert_true(f->deadline <= f->now + 100 * MS);
        level_for(f, 100 * MS, 0);
    }
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_priority_is_1),
        cmocka_unit_test(tiers_are_different_priorities_of_voters),
        cmocka_unit_test(nothing_moves_where_all_are_equal),
        cmocka_unit_test(the_preferred_is_told_after_three_longest_timeouts),
        cmocka_unit_test(it_is_tried_once_in_ten_longest_timeouts),
        cmocka_unit_test(whoever_falls_behind_begins_anew),
        cmocka_unit_test(a_disk_that_stalled_lately_is_not_preferred),
        cmocka_unit_test(one_that_stays_behind_does_not_hide_the_next),
        cmocka_unit_test(nobody_by_name_is_not_a_disk_that_stalled_lately),
        cmocka_unit_test(who_took_over_from_the_preferred_keeps_it_for_ten_longest_timeouts),
        cmocka_unit_test(answers_say_for_ten_limits_that_a_disk_stalled),
        cmocka_unit_test(a_leader_hears_every_look_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
