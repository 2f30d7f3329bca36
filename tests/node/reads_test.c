/* SPDX-License-Identifier: Apache-2.0 */
/* reads_test.c - reads of every level, barriers and the leader's proof through the public API. */
#include "node/party.h"

#include <pthread.h>
#include <stdatomic.h>

static void three_open(void)
{
    for (unsigned id = 1; id <= NODES; id++)
        member_open(id);
    (void)add_surely(1, 1);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void on_gate(void *ctx, uint64_t token, const struct kelp_result *result)
{
    (void)pthread_mutex_lock(&gate); /* keeps the node's thread until the burst is complete */
    (void)pthread_mutex_unlock(&gate);
    on_done(ctx, token, result);
}

static void a_burst_of_reads_through_a_follower_is_served(void **state)
{
    (void)state;
    three_open();
    WAIT(leader_of(1) != 0);
    unsigned follower = leader_of(1) % NODES + 1;
    WAIT(ask(follower) == added);
    tally.ended = tally.done = 0;
    (void)pthread_mutex_lock(&gate);
    kelp_read(members[follower].node, bytes_of("?", 1), 1, on_gate, &tally);
    for (uint64_t i = 2; i <= 2000; i++)
        kelp_read(members[follower].node, bytes_of("?", 1), i, on_done, &tally);
    (void)pthread_mutex_unlock(&gate);
    WAIT(tally.ended == 2000);
    assert_int_equal(tally.done, 2000);
}

/* DONE here, or the reason why not. */
static enum kelp_reason ask_at(unsigned id, struct kelp_read_how how, uint64_t *sum,
                               struct kelp_result *result)
{
    uint8_t reply[8] = {0};
    if (kelp_ask_at(members[id].node, bytes_of("?", 1), &how, reply, sizeof reply, result) ==
        KELP_OK) {
        *sum = load_u64(reply);
        return KELP_R_NONE;
    }
    return result->reason;
}

static void on_reason(void *ctx, uint64_t token, const struct kelp_result *result)
{
    (void)token;
    atomic_store((atomic_int *)ctx, result->outcome == KELP_DONE ? 0 : (int)result->reason);
}

static void reads_of_every_level_see_what_they_name_on_every_node(void **state)
{
    (void)state;
    three_open();
    struct kelp_result wrote, read;
    uint64_t sum = 0;
    WAIT(add(1, 5, &wrote, &sum) == KELP_OK);
    const struct kelp_read_how levels[] = {
        {.level = KELP_READ_LINEARIZABLE},
        {.level = KELP_READ_LEASE, .may_round = true},
        {.level = KELP_READ_LOG},
        {.level = KELP_READ_STALE, .stale_max = UINT64_C(60000000000)},
        {.level = KELP_READ_ANY},
    };
    for (unsigned id = 1; id <= NODES; id++) {
        for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
            struct kelp_read_how how = levels[i];
            uint64_t seen = 0;
            how.at_least = wrote.pos.index;
            WAIT(ask_at(id, how, &seen, &read) == KELP_R_NONE);
            assert_true(seen >= sum);
            assert_true(read.pos.index >= wrote.pos.index);
        }
    }
}

static void who_leads_is_verified_and_a_barrier_ends_on_every_node(void **state)
{
    (void)state;
    three_open();
    WAIT(leader_of(1) != 0);
    unsigned leader = leader_of(1), follower = leader % NODES + 1;
    WAIT(leader_of(follower) == leader);
    atomic_int told = -1;
    kelp_verify_leader(members[leader].node, 1, on_reason, &told);
    WAIT(told != -1);
    assert_int_equal(told, 0);
    told = -1;
    kelp_verify_leader(members[follower].node, 1, on_reason, &told);
    WAIT(told != -1);
    assert_int_equal(told, KELP_R_NOT_LEADER);
    told = -1;
    uint64_t before = status_number(follower, "applied_index");
    kelp_barrier(members[follower].node, 1, on_reason, &told);
    WAIT(told != -1);
    assert_int_equal(told, 0);
    assert_true(status_number(follower, "applied_index") > before);
}

static _Atomic unsigned ended_before;

static void on_passed(void *ctx, uint64_t token, const struct kelp_result *result)
{
    (void)token;
    ended_before = tally.ended;
    atomic_store((atomic_int *)ctx, result->outcome == KELP_DONE ? 0 : (int)result->reason);
}

/* Proposals that are long under way are not overtaken, and those behind it wait. */
static void a_barrier_stands_in_line_with_proposals(void **state)
{
    (void)state;
    enum { LARGE = 1024 * 1024, BEFORE = 8 };
    three_open();
    WAIT(leader_of(1) != 0);
    unsigned follower = leader_of(1) % NODES + 1;
    (void)add_surely(follower, 1);
    uint8_t *command = calloc(1, LARGE);
    assert_non_null(command);
    for (unsigned round = 0; round < 3; round++) {
        atomic_int told = -1;
        tally.ended = tally.done = 0;
        for (uint64_t i = 1; i <= BEFORE; i++)
            kelp_propose(members[follower].node, bytes_of(command, LARGE), i, on_done, &tally);
        kelp_barrier(members[follower].node, 1, on_passed, &told);
        kelp_propose(members[follower].node, bytes_of(command, 8), BEFORE + 1, on_done, &tally);
        WAIT(told != -1);
        assert_int_equal(told, 0);
        assert_int_equal(ended_before, BEFORE);
        WAIT(tally.ended == BEFORE + 1);
    }
    free(command);
}

static void a_level_that_does_not_exist_is_refused(void **state)
{
    (void)state;
    struct kelp_result result;
    uint64_t sum;
    member_open(1);
    const int wrong[] = {5, 77, -1, 1 << 30};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct kelp_read_how how = {.level = (enum kelp_read_level)wrong[i]};
        assert_int_equal(ask_at(1, how, &sum, &result), KELP_R_BAD_LEVEL);
        assert_int_equal(result.outcome, KELP_REFUSED);
        how.at_least = 1; /* on a line of its own */
        assert_int_equal(ask_at(1, how, &sum, &result), KELP_R_BAD_LEVEL);
    }
    assert_int_equal(add_surely(1, 1), 1);
}

#define ONE(name)   cmocka_unit_test_setup_teardown(name, stage_one, stage_unmake)
#define THREE(name) cmocka_unit_test_setup_teardown(name, stage_three, stage_unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(a_burst_of_reads_through_a_follower_is_served),
        THREE(reads_of_every_level_see_what_they_name_on_every_node),
        THREE(who_leads_is_verified_and_a_barrier_ends_on_every_node),
        THREE(a_barrier_stands_in_line_with_proposals),
        ONE(a_level_that_does_not_exist_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
