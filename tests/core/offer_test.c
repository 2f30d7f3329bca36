/* SPDX-License-Identifier: Apache-2.0 */
/* offer_test.c - what a leader does for whoever needs what is compacted: a snapshot is offered
 * until it is there, and the log behind it is kept. [§5] */
#include "fixture.h"

static struct kelp_pos at(const char *text)
{
    return log_text(text, "").base;
}

#define BEAT (100 * MS)

/* Node 2 says that it has nothing; what it needs is compacted here. */
static void falls_behind(struct fixture *f)
{
    fixture_forget(f);
    pass(f, BEAT);
    take(f);
    if (sent(f, KELP_MSG_APPEND, 2) == NULL) {
        link_new(f, 2);
        take(f);
    }
    const struct kelp_message *append = sent(f, KELP_MSG_APPEND, 2);
    struct kelp_message m = answer_of(f, 2, 0);
    assert_non_null(append);
    m.flags = KELP_MF_REJECT;
    m.attempt = append->attempt;
    m.answer.refused = append->append.prev;
    receive(f, m);
    fixture_forget(f);
    take(f);
    assert_int_equal(peer_view(f, 2)->flow, KELP_NEEDS_SNAPSHOT);
}

static void level(struct fixture *f, kelp_id id)
{
    receive(f, answer_of(f, id, f->view.last));
    save_all(f);
    if (f->view.applied < f->view.commit) applied(f, f->view.commit);
}

static struct fixture *compacted_leader(void)
{
    struct fixture *f = leader(.base = "8@1", .log = "9@1 10@1", .commit = 10, .applied = 10,
                               .snapshot = 8, .trailing_none = true);
    level(f, 3);
    falls_behind(f);
    return f;
}

static void own_snapshot(struct fixture *f, const char *pos)
{
    step(f, &(struct kelp_input){.type = KELP_IN_SNAPSHOT, .pos = at(pos)});
}

static void who_needs_what_is_compacted_is_offered_one_each_heartbeat(void **state)
{
    (void)state;
    struct fixture *f = compacted_leader();
    MARK_HIT(f, SNAPSHOT_OFFERED);
    assert_int_equal(sent_count(f, KELP_MSG_SNAPSHOT, 0), 1);
    assert_pos(sent(f, KELP_MSG_SNAPSHOT, 2)->snapshot.pos, "8@1");
    assert_pos(peer_view(f, 2)->snapshot, "8@1");
    for (size_t count = 2; count < 6; count++) {
        pass(f, BEAT - 1);
        take(f);
        assert_int_equal(sent_count(f, KELP_MSG_SNAPSHOT, 2), count - 1);
        pass(f, 1);
        take(f);
        assert_int_equal(sent_count(f, KELP_MSG_SNAPSHOT, 2), count);
        receive(f, answer_of(f, 3, f->view.last));
        receive(f, answer_of(f, 2, 0));
    }
    assert_int_equal(hits(f, KELP_EV_SNAPSHOT_OFFERED), 1);
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), 0);
    fixture_close(f);
}

static void without_a_snapshot_there_is_nothing_to_offer(void **state)
{
    (void)state;
    struct fixture *f = leader(.base = "8@1", .log = "9@1", .commit = 9, .applied = 9);
    level(f, 3);
    falls_behind(f);
    pass(f, BEAT);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_SNAPSHOT, 0), 0);
    assert_true(f->deadline > f->now); /* and nothing is due for it */
    fixture_close(f);
}

static void the_first_one_offered_stands_and_the_log_behind_it_is_kept(void **state)
{
    (void)state;
    struct fixture *f = compacted_leader();
    own_snapshot(f, "10@1");
    assert_pos(f->view.snapshot, "10@1");
    pass(f, BEAT);
    save_all(f);
    assert_pos(sent(f, KELP_MSG_SNAPSHOT, 2)->snapshot.pos, "8@1");
    assert_int_equal(f->view.first, 9);
    fixture_close(f);
}

static void another_one_is_offered_once_the_log_begins_beyond_the_first(void **state)
{
    (void)state;
    struct fixture *f = leader(.base = "8@1", .log = "9@1 10@1", .commit = 10, .applied = 10,
                               .snapshot = 8, .trailing_none = true, .hold_none = true);
    level(f, 3);
    falls_behind(f);
    assert_pos(sent(f, KELP_MSG_SNAPSHOT, 2)->snapshot.pos, "8@1");
    own_snapshot(f, "10@1");
    save_all(f);
    assert_int_equal(f->view.first, 11);
    pass(f, BEAT);
    take(f);
    assert_pos(sent(f, KELP_MSG_SNAPSHOT, 2)->snapshot.pos, "10@1");
    assert_int_equal(hits(f, KELP_EV_SNAPSHOT_OFFERED), 2);
    fixture_close(f);
}

/* The log reaches below it: of that nothing is kept for node 2, which gets the snapshot instead. */
static void what_the_offer_shows_is_not_kept_for_whoever_gets_it(void **state)
{
    (void)state;
    struct fixture *f = leader(.base = "4@1", .log = "5@1 6@1 7@1 8@1 9@1 10@1", .commit = 10,
                               .applied = 10, .snapshot = 8, .trailing = 4);
    level(f, 3);
    falls_behind(f);
    assert_pos(sent(f, KELP_MSG_SNAPSHOT, 2)->snapshot.pos, "8@1");
    for (uint64_t token = 1; token <= 4; token++)
        assert_true(client_writes(f, token, 10, KELP_NEVER));
    level(f, 3);
    save_all(f);
    assert_int_equal(f->view.applied, 15);
    assert_int_equal(f->view.first, 9);
    own_snapshot(f, "15@2");
    save_all(f);
    assert_int_equal(f->view.first, 9);
    fixture_close(f);
}

static void who_has_it_is_sent_what_follows(void **state)
{
    (void)state;
    struct fixture *f = compacted_leader();
    fixture_forget(f);
    receive(f, answer_of(f, 2, 8));
    assert_int_equal(peer_view(f, 2)->flow, KELP_PROBE);
    assert_int_equal(peer_view(f, 2)->snapshot.index, 0);
    take(f);
    assert_pos(sent(f, KELP_MSG_APPEND, 2)->append.prev, "8@1");
    pass(f, 10 * BEAT);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_SNAPSHOT, 2), 0);
    fixture_close(f);
}

/* It has an older one from elsewhere, and the log here reaches it: nobody waits until it has what
 * was offered. One entry less, and it does. */
static void who_has_less_where_the_log_reaches_it_is_sent_what_follows(void **state)
{
    (void)state;
    for (kelp_index has = 4; has < 8; has++) {
        struct fixture *f = leader(.base = "4@1", .log = "5@1 6@1 7@1 8@1 9@1 10@1", .commit = 10,
                                   .applied = 10, .snapshot = 8, .trailing = 100);
        level(f, 3);
        falls_behind(f);
        assert_pos(sent(f, KELP_MSG_SNAPSHOT, 2)->snapshot.pos, "8@1");
        receive(f, answer_of(f, 2, 3));
        fixture_forget(f);
        pass(f, BEAT);
        take(f);
        assert_int_equal(peer_view(f, 2)->flow, KELP_NEEDS_SNAPSHOT);
        assert_pos(sent(f, KELP_MSG_SNAPSHOT, 2)->snapshot.pos, "8@1");
        fixture_forget(f);
        receive(f, answer_of(f, 2, has));
        take(f);
        assert_int_equal(peer_view(f, 2)->flow, KELP_PROBE);
        assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.prev.index, has);
        pass(f, 10 * BEAT);
        take(f);
        assert_int_equal(sent_count(f, KELP_MSG_SNAPSHOT, 2), 0);
        fixture_close(f);
    }
}

static void a_new_leader_offers_anew(void **state)
{
    (void)state;
    struct fixture *f = compacted_leader();
    receive(f, heartbeat_of(f, 3, f->view.term.v + 1));
    save_all(f);
    fixture_forget(f);
    pass(f, 3 * BEAT);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_SNAPSHOT, 0), 0);
    pass(f, 3 * f->options.election_max);
    for (int round = 0; round < 2; round++) {
        save_all(f);
        if (f->view.role != KELP_LEADER) receive(f, granted_of(f, 3));
    }
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    assert_int_equal(peer_view(f, 2)->snapshot.index, 0);
    level(f, 3);
    falls_behind(f);
    assert_pos(sent(f, KELP_MSG_SNAPSHOT, 2)->snapshot.pos, "8@1");
    fixture_close(f);
}

static void a_snapshot_never_gives_way_to_an_older_one(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1", .commit = 3, .applied = 3, .snapshot = 2);
    own_snapshot(f, "1@1");
    assert_pos(f->view.snapshot, "2@1");
    own_snapshot(f, "3@1");
    assert_pos(f->view.snapshot, "3@1");
    fixture_close(f);
}

/* Node 4 is staging and needs a snapshot that takes longer than a member may stand still. */
static uint32_t given_up(bool fetches)
{
    struct kelp_config c = voters(3);
    c.members[3] = (struct kelp_member){.id = 4, .role = KELP_STAGING, .incarnation = 44};
    c.count = 4;
    c.id_highest = 4;
    c.index = 1;
    struct fixture *f =
        leader(.base = "8@1", .log = "9@1", .commit = 9, .applied = 9, .snapshot = 8, .config = &c);
    uint32_t count = 0;
    kelp_ns end = f->now + 12 * f->options.election_max;
    while (f->now < end && count == 0) {
        fixture_forget(f);
        pass(f, 100 * MS);
        for (kelp_id id = 2; id <= 4; id++)
            receive(f, answer_of(f, id, id == 4 ? 0 : f->view.last));
        if (fetches) step(f, &(struct kelp_input){.type = KELP_IN_SENDING, .peer = 4});
        save_all(f);
        count += hits(f, KELP_EV_CATCH_UP_GIVEN_UP);
    }
    fixture_close(f);
    return count;
}

static void who_fetches_makes_progress(void **state)
{
    (void)state;
    assert_int_equal(given_up(false), 1);
    assert_int_equal(given_up(true), 0);
}

/* What its answers say may be wrong, so it is probed now and then; who fetches is not. */
static void who_fetches_is_not_probed(void **state)
{
    (void)state;
    for (int fetches = 0; fetches < 2; fetches++) {
        struct fixture *f = compacted_leader();
        fixture_forget(f);
        for (int i = 0; i < 50; i++) {
            pass(f, BEAT);
            receive(f, answer_of(f, 3, f->view.last));
            receive(f, answer_of(f, 2, 0));
            if (fetches) step(f, &(struct kelp_input){.type = KELP_IN_SENDING, .peer = 2});
            take(f);
        }
        assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2) == 0, fetches);
        fixture_close(f);
    }
}

/* It fetches what was overtaken, and the probe that would show it was lost. */
static void a_lost_probe_is_repeated_while_the_other_fetches(void **state)
{
    (void)state;
    struct fixture *f = compacted_leader();
    receive(f, answer_of(f, 2, 8));
    take(f);
    assert_int_equal(peer_view(f, 2)->flow, KELP_PROBE);
    fixture_forget(f);
    for (int i = 0; i < 10; i++) {
        pass(f, BEAT / 4);
        step(f, &(struct kelp_input){.type = KELP_IN_SENDING, .peer = 2});
        take(f);
    }
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), 2);
    MARK_HIT(f, PROBE_REPEATED);
    fixture_close(f);
}

static void a_stranger_that_fetches_is_nobody(void **state)
{
    (void)state;
    struct fixture *f = compacted_leader();
    step(f, &(struct kelp_input){.type = KELP_IN_SENDING, .peer = 77});
    assert_false(f->faulted);
    fixture_close(f);
    f = node(.log = "1@1");
    step(f, &(struct kelp_input){.type = KELP_IN_SENDING, .peer = 2}); /* does not lead */
    assert_false(f->faulted);
    fixture_close(f);
}

static void leadership_does_not_go_to_who_needs_a_snapshot(void **state)
{
    (void)state;
    struct fixture *f = compacted_leader();
    struct kelp_input input = {.type = KELP_IN_TRANSFER};
    input.transfer.token = 9;
    input.transfer.target = 2;
    input.transfer.deadline = KELP_NEVER;
    step(f, &input);
    take(f);
    assert_int_equal(answer_to(f, 9).outcome, KELP_REFUSED);
    assert_int_equal(answer_to(f, 9).reason, KELP_R_BEHIND);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_needs_what_is_compacted_is_offered_one_each_heartbeat),
        cmocka_unit_test(without_a_snapshot_there_is_nothing_to_offer),
        cmocka_unit_test(the_first_one_offered_stands_and_the_log_behind_it_is_kept),
        cmocka_unit_test(another_one_is_offered_once_the_log_begins_beyond_the_first),
        cmocka_unit_test(what_the_offer_shows_is_not_kept_for_whoever_gets_it),
        cmocka_unit_test(who_has_it_is_sent_what_follows),
        cmocka_unit_test(who_has_less_where_the_log_reaches_it_is_sent_what_follows),
        cmocka_unit_test(a_new_leader_offers_anew),
        cmocka_unit_test(a_snapshot_never_gives_way_to_an_older_one),
        cmocka_unit_test(who_fetches_makes_progress),
        cmocka_unit_test(who_fetches_is_not_probed),
        cmocka_unit_test(a_lost_probe_is_repeated_while_the_other_fetches),
        cmocka_unit_test(a_stranger_that_fetches_is_nobody),
        cmocka_unit_test(leadership_does_not_go_to_who_needs_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
