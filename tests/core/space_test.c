/* SPDX-License-Identifier: Apache-2.0 */
/* space_test.c - who may still write while disks fill up, level by level. [low disk] */
#include "fixture.h"

static void own_room(struct fixture *f, enum kelp_space level)
{
    struct kelp_input input = {.type = KELP_IN_HEALTH};
    input.health.room = 100;
    input.health.health = (uint32_t)level;
    step(f, &input);
}

static void room_of(struct fixture *f, kelp_id from, enum kelp_space level)
{
    struct kelp_message m = answer_of(f, from, 1);
    m.answer.health = (uint32_t)level;
    receive(f, m);
}

static bool asks(struct fixture *f, uint64_t token, uint32_t flags)
{
    struct kelp_input input = {.type = KELP_IN_PROPOSE};
    input.propose.token = token;
    input.propose.bytes = 100;
    input.propose.deadline = KELP_NEVER;
    input.propose.flags = flags;
    step(f, &input);
    return f->taken.first != 0;
}

/* Everything a level may have to say, asked of a leader. */
static void expect_level(struct fixture *f, enum kelp_space level, uint64_t token)
{
    assert_int_equal(f->view.space, level);
    assert_int_equal(asks(f, token, 0), level == KELP_SPACE_OK);
    assert_int_equal(asks(f, token + 1, KELP_PROPOSE_FREES), level <= KELP_SPACE_LOW);
    take(f);
    if (level != KELP_SPACE_OK) {
        assert_int_equal(answer_to(f, token).outcome, KELP_REFUSED);
        assert_int_equal(answer_to(f, token).reason, KELP_R_NO_SPACE);
        MARK_HIT(f, PROPOSE_NO_SPACE);
    }
    if (level > KELP_SPACE_LOW) assert_int_equal(answer_to(f, token + 1).reason, KELP_R_NO_SPACE);
    fixture_forget(f);
}

static void the_leaders_own_level_counts(void **state)
{
    (void)state;
    struct fixture *f = leader();
    for (enum kelp_space level = KELP_SPACE_OK; level <= KELP_SPACE_NONE; level++) {
        own_room(f, level);
        expect_level(f, level, 10 + 2 * (uint64_t)level);
    }
    own_room(f, KELP_SPACE_OK);
    MARK_HIT(f, SPACE_BACK);
    expect_level(f, KELP_SPACE_OK, 90);
    fixture_close(f);
}

/* Of five, three must have room: the level is the best that three have. */
static void a_quorum_has_the_level_of_its_worst_member(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 5);
    room_of(f, 2, KELP_SPACE_LAST);
    expect_level(f, KELP_SPACE_OK, 10);
    room_of(f, 3, KELP_SPACE_LOW);
    expect_level(f, KELP_SPACE_OK, 20);
    room_of(f, 4, KELP_SPACE_LAST);
    MARK_HIT(f, SPACE_SHORT);
    expect_level(f, KELP_SPACE_LOW, 30); /* 1, 5 and 3 */
    room_of(f, 5, KELP_SPACE_NONE);
    expect_level(f, KELP_SPACE_LAST, 40); /* 1, 3 and 2 or 4 */
    room_of(f, 2, KELP_SPACE_OK);
    expect_level(f, KELP_SPACE_LOW, 50);
    room_of(f, 3, KELP_SPACE_OK);
    expect_level(f, KELP_SPACE_OK, 60);
    fixture_close(f);
}

static void a_learners_disk_does_not_count(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3, .learners = 2);
    room_of(f, 4, KELP_SPACE_NONE);
    room_of(f, 5, KELP_SPACE_NONE);
    room_of(f, 2, KELP_SPACE_LOW);
    expect_level(f, KELP_SPACE_OK, 10);
    assert_int_equal(peer_view(f, 4)->space, KELP_SPACE_NONE);
    fixture_close(f);
}

/* Bits of health that a later version may use say nothing about room. */
static void other_bits_of_health_are_not_room(void **state)
{
    (void)state;
    struct fixture *f = leader();
    for (kelp_id id = 2; id <= 3; id++) {
        struct kelp_message m = answer_of(f, id, 1);
        m.answer.health = ~(uint32_t)KELP_HEALTH_SPACE;
        receive(f, m);
    }
    expect_level(f, KELP_SPACE_OK, 10);
    fixture_close(f);
}

static void a_leader_forgets_what_others_told_an_earlier_term(void **state)
{
    (void)state;
    struct fixture *f = leader();
    room_of(f, 2, KELP_SPACE_LAST);
    room_of(f, 3, KELP_SPACE_LAST);
    assert_int_equal(f->view.space, KELP_SPACE_LAST);
    receive(f, heartbeat_of(f, 2, f->view.term.v + 1));
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.space, KELP_SPACE_OK);
    pass(f, 2 * f->options.election_max); /* the leader it heard is forgotten */
    campaign(f);
    for (int round = 0; round < 2; round++) {
        save_all(f);
        receive(f, granted_of(f, 2));
        receive(f, granted_of(f, 3));
    }
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    assert_int_equal(f->view.space, KELP_SPACE_OK);
    assert_int_equal(peer_view(f, 2)->space, KELP_SPACE_OK);
    fixture_close(f);
}

/* The empty entry of a leader is no client's: only a node without any room would not stand. */
static void a_node_stands_and_leads_with_its_last_file(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 1);
    own_room(f, KELP_SPACE_LAST);
    campaign(f);
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    assert_int_equal(f->view.commit, 1);
    fixture_close(f);
}

static void a_node_without_room_does_not_stand(void **state)
{
    (void)state;
    struct fixture *f = node();
    own_room(f, KELP_SPACE_NONE);
    campaign(f);
    save_all(f);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    MARK_HIT(f, CAMPAIGN_HELD_NO_SPACE);
    own_room(f, KELP_SPACE_LAST);
    campaign(f);
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    own_room(f, KELP_SPACE_NONE);
    pass(f, 3000 * MS); /* the attempt had no winner; there is no next one */
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    fixture_close(f);
}

static void a_follower_without_room_takes_nothing_and_cuts_nothing(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1");
    own_room(f, KELP_SPACE_NONE);
    append(f, .term = 2, .prev = "1@1", .entries = "2@2 3@2");
    assert_log(f, "1@1 2@1");
    MARK_HIT(f, APPEND_REFUSED_NO_SPACE);
    MARK_MISS(f, LOG_TRUNCATED);
    append(f, .term = 2, .prev = "1@1"); /* what it holds is verified, that costs nothing */
    save_all(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 1);
    own_room(f, KELP_SPACE_LOW);
    append(f, .term = 2, .prev = "1@1", .entries = "2@2 3@2");
    assert_log(f, "1@1 2@2 3@2");
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_leaders_own_level_counts),
        cmocka_unit_test(a_quorum_has_the_level_of_its_worst_member),
        cmocka_unit_test(a_learners_disk_does_not_count),
        cmocka_unit_test(other_bits_of_health_are_not_room),
        cmocka_unit_test(a_leader_forgets_what_others_told_an_earlier_term),
        cmocka_unit_test(a_node_stands_and_leads_with_its_last_file),
        cmocka_unit_test(a_node_without_room_does_not_stand),
        cmocka_unit_test(a_follower_without_room_takes_nothing_and_cuts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
