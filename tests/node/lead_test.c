/* SPDX-License-Identifier: Apache-2.0 */
/* lead_test.c - who leads, transfers and changes of the membership through the public API. */
#include <pthread.h>

#include "node/party.h"

#define TOLD_MAX 64u

struct told_lead {
    atomic_uint count;
    enum kelp_lead_event events[TOLD_MAX];
    struct kelp_leadership states[TOLD_MAX];
};

static struct told_lead told_lead[NODES + 1]; /* by id */

static void on_lead(void *ctx, enum kelp_lead_event event, const struct kelp_leadership *now)
{
    struct told_lead *t = ctx;
    unsigned at = t->count;
    assert_true(at < TOLD_MAX);
    t->events[at] = event;
    t->states[at] = *now;
    t->count = at + 1;
}

static void three_listen(void)
{
    for (unsigned id = 1; id <= NODES; id++) {
        struct kelp_fault fault;
        struct kelp_node_options o = options_of(id);
        told_lead[id].count = 0;
        o.lead = on_lead;
        o.lead_ctx = &told_lead[id];
        assert_int_equal(open_with(&members[id], &o, &fault), KELP_OK);
    }
}

#define PATIENCE (LATE_S * UINT64_C(1000000000))

static struct kelp_leadership awaited(unsigned id, enum kelp_await what, uint64_t sequence)
{
    struct kelp_leadership now;
    if (kelp_await_call(members[id].node, what, sequence, PATIENCE, &now) != KELP_OK)
        fail_msg("node %u never had it", id);
    return now;
}

/* Every number once and in order; ELECTED, READY and OVER as the picture in lead.h says. */
static void lead_events_hold(unsigned id, bool closed)
{
    const struct told_lead *t = &told_lead[id];
    bool leads = false, ready = false;
    for (unsigned i = 0; i < t->count; i++) {
        assert_int_equal(t->states[i].sequence, i + 1);
        switch (t->events[i]) {
        case KELP_LEAD_ELECTED:
            assert_false(leads);
            leads = true;
            ready = false;
            assert_int_equal(t->states[i].leader, id);
            break;
        case KELP_LEAD_READY:
            assert_true(leads && !ready);
            ready = true;
            break;
        case KELP_LEAD_OVER:
            assert_true(leads);
            leads = ready = false;
            break;
        case KELP_LEAD_OTHER:
            assert_false(leads);
            assert_int_not_equal(t->states[i].leader, id);
            break;
        }
        assert_int_equal(t->states[i].leads, leads);
        assert_int_equal(t->states[i].ready, ready);
    }
    if (closed) assert_false(leads);
}

static unsigned leader_awaited(void)
{
    return (unsigned)awaited(1, KELP_AWAIT_LEADER, 0).leader;
}

static void who_leads_is_told_once_and_can_be_read(void **state)
{
    (void)state;
    three_listen();
    unsigned leader = leader_awaited();
    struct kelp_leadership led = awaited(leader, KELP_AWAIT_READY, 0), now;
    assert_true(led.leads && led.ready && led.leader == leader);
    for (unsigned id = 1; id <= NODES; id++)
        assert_int_equal(awaited(id, KELP_AWAIT_LEADER, 0).leader, leader);
    struct kelp_result result;
    assert_int_equal(kelp_transfer_call(members[leader].node, 0, &result), KELP_OK);
    unsigned next = (unsigned)result.leader;
    assert_true(next != leader && next != 0);
    now = awaited(leader, KELP_AWAIT_NEWS, led.sequence);
    assert_false(now.leads);
    assert_true(now.sequence > led.sequence);
    assert_true(awaited(next, KELP_AWAIT_READY, 0).term.v > led.term.v);
    for (unsigned id = 1; id <= NODES; id++) {
        kelp_leadership(members[id].node, &now);
        member_close(id);
        lead_events_hold(id, true);
        assert_true(told_lead[id].count >= now.sequence);
    }
}

static void awaiting_ends_at_its_deadline_and_with_the_node(void **state)
{
    (void)state;
    struct kelp_leadership now;
    member_open(1); /* one of three: nobody will ever lead */
    assert_int_equal(kelp_await_call(members[1].node, KELP_AWAIT_LEADER, 0, 20000000, &now),
                     KELP_E_BUSY);
    assert_int_equal(now.leader, 0);
    assert_int_equal(kelp_await_call(members[1].node, KELP_AWAIT_NEWS, 0, 0, &now), KELP_E_BUSY);
    tally.ended = tally.done = 0;
    for (uint64_t i = 1; i <= 3; i++)
        kelp_await(members[1].node, KELP_AWAIT_READY, 0, PATIENCE, i, on_done, &tally);
    member_close(1);
    assert_int_equal(tally.ended, 3);
    assert_int_equal(tally.done, 0);
}

static struct kelp_result ended;
static _Atomic unsigned ended_count;

static void on_result(void *ctx, uint64_t token, const struct kelp_result *result)
{
    (void)ctx, (void)token;
    ended = *result;
    ended_count++;
}

struct awaiting_transfer {
    struct kelp_node *node;
    kelp_id target;
    struct kelp_result result;
    atomic_bool ended;
};

static void *transfer_and_wait(void *arg)
{
    struct awaiting_transfer *t = arg;
    (void)kelp_transfer_call(t->node, t->target, &t->result);
    t->ended = true;
    return NULL;
}

static pthread_mutex_t stop_sign = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool stands;

static void on_stop_sign(void *ctx, uint64_t token, const struct kelp_result *result)
{
    (void)ctx, (void)token, (void)result;
    stands = true;
    (void)pthread_mutex_lock(&stop_sign); /* the node stands here */
    (void)pthread_mutex_unlock(&stop_sign);
}

/* A node that neither answers nor says that it leaves: it never has everything. */
static void stand_still(unsigned id)
{
    struct kelp_read_how any = {.level = KELP_READ_ANY};
    stands = false;
    (void)pthread_mutex_lock(&stop_sign);
    kelp_read_at(members[id].node, bytes_of("?", 1), &any, 1, on_stop_sign, NULL);
    WAIT(stands);
}

static void a_transfer_has_one_outcome_and_can_be_cancelled(void **state)
{
    (void)state;
    three_listen();
    unsigned leader = leader_awaited(), target = leader % NODES + 1;
    struct kelp_result result;
    assert_int_equal(kelp_transfer_call(members[leader].node, leader, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_SELF);
    assert_int_equal(kelp_transfer_call(members[target].node, 9, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_UNKNOWN_MEMBER);
    stand_still(target);
    (void)add_surely(leader, 1);
    ended_count = 0;
    kelp_transfer(members[leader].node, target, 7, on_result, NULL);
    kelp_transfer_cancel(members[leader].node, 8); /* another one */
    kelp_transfer_cancel(members[leader].node, 7);
    kelp_transfer_cancel(members[leader].node, 7);
    WAIT(ended_count > 0);
    assert_int_equal(ended.outcome, KELP_REFUSED);
    assert_int_equal(ended.reason, KELP_R_CANCELLED);
    assert_int_equal(kelp_transfer_call(members[leader].node, 0, &result), KELP_OK);
    (void)pthread_mutex_unlock(&stop_sign);
    assert_int_equal(ended_count, 1);
    kelp_transfer_cancel(members[leader].node, 7); /* it is over: nothing happens */
    assert_true(ledger_holds(add_surely(leader, 1)));
    assert_int_equal(ended_count, 1);
}

/* A call that waits has no token: whoever cancels the 1 of his own means no other. */
static void a_transfer_that_is_waited_for_is_nobodys_to_cancel(void **state)
{
    (void)state;
    three_listen();
    unsigned leader = leader_awaited(), target = leader % NODES + 1;
    struct awaiting_transfer t = {.node = members[leader].node, .target = target};
    pthread_t thread;
    stand_still(target);
    (void)add_surely(leader, 1);
    assert_int_equal(pthread_create(&thread, NULL, transfer_and_wait, &t), 0);
    while (!t.ended) {
        for (uint64_t token = 0; token < 3; token++)
            kelp_transfer_cancel(members[leader].node, token);
        breathe();
    }
    (void)pthread_mutex_unlock(&stop_sign);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_not_equal(t.result.outcome, KELP_DONE);
    assert_int_not_equal(t.result.reason, KELP_R_CANCELLED);
}

static void members_are_changed_through_any_node(void **state)
{
    (void)state;
    three_listen();
    unsigned leader = leader_awaited(), other = leader % NODES + 1;
    struct kelp_result result;
    struct kelp_member_edit edit = {.id = leader, .verb = KELP_EDIT_DEMOTE};
    struct kelp_member_change change = {.count = 1, .edits = &edit, .timeout = PATIENCE};
    if (kelp_node_change_call(members[leader].node, &change, &result) != KELP_OK)
        fail_msg("not done: %s", kelp_reason_name(result.reason));
    assert_true(result.pos.index > 1);
    assert_false(awaited(leader, KELP_AWAIT_LEADER, 0).leads);
    assert_true(ledger_holds(add_surely(leader, 3))); /* forwarded */
    edit.verb = KELP_EDIT_PROMOTE;
    if (kelp_node_change_call(members[other].node, &change, &result) != KELP_OK)
        fail_msg("not done: %s", kelp_reason_name(result.reason));
    kelp_index index = result.pos.index;
    change.if_index = index + 1;
    edit.verb = KELP_EDIT_DEMOTE;
    assert_int_equal(kelp_node_change_call(members[other].node, &change, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_CONFIG_CHANGED);
    change.if_index = 0;
    edit = (struct kelp_member_edit){.id = 9, .verb = KELP_EDIT_PROMOTE};
    assert_int_equal(kelp_node_change_call(members[1].node, &change, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_UNKNOWN_MEMBER);
    assert_int_equal(result.member, 9);
    edit = (struct kelp_member_edit){.id = 9, .verb = KELP_EDIT_ADD, .role = KELP_VOTER};
    edit.address = "nowhere";
    assert_int_equal(kelp_node_change_call(members[1].node, &change, &result), KELP_E_BUSY);
    assert_int_equal(result.outcome, KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_BAD_CHANGE);
    change.count = 0;
    assert_int_equal(kelp_node_change_call(members[1].node, &change, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_BAD_CHANGE);
}

static void priorities_are_given_and_what_is_no_verb_is_no_other(void **state)
{
    (void)state;
    three_listen();
    unsigned leader = leader_awaited(), other = leader % NODES + 1;
    struct kelp_result result;
    struct kelp_member_edit edit = {.id = other, .verb = KELP_EDIT_PRIORITY, .priority = 7};
    struct kelp_member_change change = {.count = 1, .edits = &edit, .timeout = PATIENCE};
    if (kelp_node_change_call(members[leader].node, &change, &result) != KELP_OK)
        fail_msg("not done: %s", kelp_reason_name(result.reason));
    WAIT(leader_of(1) == other); /* it is preferred, so it leads */
    edit.verb = (enum kelp_edit_verb)(256 + KELP_EDIT_REMOVE);
    assert_int_equal(kelp_node_change_call(members[leader].node, &change, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_BAD_CHANGE);
}

static void a_removed_node_shuts_down_if_it_is_told_to(void **state)
{
    (void)state;
    struct kelp_result result;
    struct kelp_fault fault;
    uint64_t sum;
    for (unsigned id = 1; id <= NODES; id++) {
        struct kelp_node_options o = options_of(id);
        o.stop_when_removed = id == 3;
        assert_int_equal(open_with(&members[id], &o, &fault), KELP_OK);
    }
    (void)add_surely(3, 2);
    WAIT(leader_of(1) != 0);
    struct kelp_member_edit edit = {.id = 3, .verb = KELP_EDIT_REMOVE};
    ended_count = 0;
    kelp_await(members[3].node, KELP_AWAIT_NEWS, 1000, UINT64_MAX, 1, on_result, NULL);
    struct kelp_member_change change = {.count = 1, .edits = &edit, .timeout = PATIENCE};
    if (kelp_node_change_call(members[1].node, &change, &result) != KELP_OK)
        fail_msg("not done: %s", kelp_reason_name(result.reason));
    WAIT(status_says(3, "\nrole:shutdown\n"));
    WAIT(ended_count > 0); /* who awaited is told, and so is who does now */
    assert_int_equal(ended.outcome, KELP_REFUSED);
    assert_int_equal(ended.reason, KELP_R_SHUTDOWN);
    kelp_await(members[3].node, KELP_AWAIT_READY, 0, UINT64_MAX, 2, on_result, NULL);
    WAIT(ended_count > 1);
    assert_int_equal(ended.reason, KELP_R_SHUTDOWN);
    assert_int_equal(add(3, 1, &result, &sum), KELP_E_BUSY);
    assert_int_equal(result.outcome, KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_SHUTDOWN);
    edit.id = 2;
    if (kelp_node_change_call(members[1].node, &change, &result) != KELP_OK)
        fail_msg("not done: %s", kelp_reason_name(result.reason));
    WAIT(status_says(2, "\nrole:removed\n")); /* it was not told to */
    WAIT(leader_of(2) == 0);
    assert_int_equal(add(2, 1, &result, &sum), KELP_E_BUSY);
    assert_int_equal(result.outcome, KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_REMOVED);
    assert_in_range(result.leader, 1, 3); /* whom to ask */
    assert_int_not_equal(result.leader, 2);
    kelp_await(members[2].node, KELP_AWAIT_LEADER, 0, UINT64_MAX, 3, on_result, NULL);
    WAIT(ended_count > 2);
    assert_int_equal(ended.reason, KELP_R_REMOVED);
    assert_true(ledger_holds(add_surely(1, 2)));
}

/* The answer of the next leader is on its way while the news of the removal is there already. */
static void a_leader_that_ends_when_it_is_removed_is_told_that_it_was_done(void **state)
{
    struct kelp_fault fault;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned id = 1; id <= NODES; id++) {
            struct kelp_node_options o = options_of(id);
            o.stop_when_removed = true;
            assert_int_equal(open_with(&members[id], &o, &fault), KELP_OK);
        }
        unsigned leader = leader_awaited(), other = leader % NODES + 1;
        (void)add_surely(leader, 2);
        struct kelp_member_edit edit = {.id = leader, .verb = KELP_EDIT_REMOVE};
        struct kelp_member_change change = {.count = 1, .edits = &edit, .timeout = PATIENCE};
        struct kelp_result result;
        if (kelp_node_change_call(members[leader].node, &change, &result) != KELP_OK)
            fail_msg("round %u: %s %s", round, kelp_outcome_name(result.outcome),
                     kelp_reason_name(result.reason));
        WAIT(status_says(leader, "\nrole:shutdown\n"));
        assert_true(ledger_holds(add_surely(other, 2)));
        (void)stage_unmake(state);
        (void)stage_three(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(who_leads_is_told_once_and_can_be_read),
        THREE(awaiting_ends_at_its_deadline_and_with_the_node),
        THREE(a_transfer_has_one_outcome_and_can_be_cancelled),
        THREE(a_transfer_that_is_waited_for_is_nobodys_to_cancel),
        THREE(members_are_changed_through_any_node),
        THREE(priorities_are_given_and_what_is_no_verb_is_no_other),
        THREE(a_removed_node_shuts_down_if_it_is_told_to),
        THREE(a_leader_that_ends_when_it_is_removed_is_told_that_it_was_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
