/* SPDX-License-Identifier: Apache-2.0 */
/* quarantine_test.c - a state machine that is not deterministic is found out by the others, through
 * the public API. */
#include "node/party.h"

#define WRITES 600u

struct drifter { /* adds, and one more when it is told to */
    struct adder adder;
    atomic_bool drifts;
};

static void drifter_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                          size_t count, kelp_reply_fn reply, void *sink)
{
    struct drifter *d = fsm;
    d->adder.sum += atomic_exchange(&d->drifts, false) ? 1 : 0;
    adder_apply(&d->adder, group, commands, count, reply, sink);
}

static const struct kelp_fsm_ops drifter_ops = {
    .size = sizeof(struct kelp_fsm_ops),
    .flags = KELP_FSM_IN_MEMORY | KELP_FSM_DISPOSABLE,
    .apply = drifter_apply,
    .query = adder_query,
    .snapshot_begin = adder_begin,
    .snapshot_end = adder_end,
    .restore_begin = adder_restore,
    .restore_commit = adder_commit,
    .restore_abort = adder_end,
    .hash = adder_hash,
    .close = free,
};

static struct drifter *drifters[NODES + 1];

static void drifter_open(unsigned id)
{
    struct kelp_node_options o = options_of(id);
    struct kelp_fault fault = {.error = KELP_OK};
    drifters[id] = calloc(1, sizeof *drifters[id]);
    assert_non_null(drifters[id]);
    if (kelp_node_open(&o, &drifter_ops, drifters[id], &members[id].node, &fault) != KELP_OK)
        fail_msg("%s: %s", fault.where, fault.what);
}

static void written(unsigned id)
{
    for (unsigned i = 0; i < WRITES; i++)
        (void)add_surely(id, 1);
}

static enum kelp_reason read_any(unsigned id)
{
    struct kelp_read_how how = {.level = KELP_READ_ANY};
    struct kelp_result result;
    uint8_t reply[8];
    enum kelp_error error =
        kelp_ask_at(members[id].node, bytes_of("?", 1), &how, reply, sizeof reply, &result);
    return error == KELP_OK ? KELP_R_NONE : result.reason;
}

static void a_machine_that_drifts_is_quarantined_and_a_restart_heals_it(void **state)
{
    (void)state, (void)tally;
    for (unsigned id = 1; id <= NODES; id++)
        drifter_open(id);
    (void)add_surely(1, 1);
    WAIT(leader_of(1) >= 1 && leader_of(1) <= NODES);
    unsigned leader = leader_of(1), wrong = leader % NODES + 1;
    assert_int_equal(read_any(wrong), KELP_R_NONE);
    atomic_store(&drifters[wrong]->drifts, true);
    written(leader);
    WAIT(status_says(wrong, "health:quarantined"));
    assert_true(status_says(wrong, "divergence:quarantined"));
    assert_true(status_says(wrong, "its state is not that of 2 of 3 members"));
    uint64_t index = status_number(wrong, "compared_index");
    assert_true(index > 0 && index % 256 == 0);
    assert_int_equal(read_any(wrong), KELP_R_QUARANTINED);
    for (unsigned id = 1; id <= NODES; id++) {
        if (id == wrong) continue;
        WAIT(status_says(id, "divergence:none"));
        assert_true(status_says(id, "health:ok"));
        assert_int_equal(read_any(id), KELP_R_NONE);
    }
    (void)add_surely(wrong, 1); /* answered by the leader */
    member_close(wrong);
    drifter_open(wrong);
    WAIT(status_says(wrong, "divergence:none") && status_says(wrong, "health:ok"));
    WAIT(ledger_holds(ask(wrong)));
}

static void it_rejoins_without_a_restart(void **state)
{
    (void)state;
    struct kelp_result result;
    for (unsigned id = 1; id <= NODES; id++)
        drifter_open(id);
    (void)add_surely(1, 1);
    WAIT(leader_of(1) >= 1 && leader_of(1) <= NODES);
    unsigned leader = leader_of(1), wrong = leader % NODES + 1;
    assert_int_equal(kelp_node_rejoin(members[wrong].node, 0, false, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_NOTHING_NEW);
    assert_int_equal(kelp_node_rejoin(members[wrong].node, wrong, true, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_SELF);
    assert_true(status_says(wrong, "rejoin:no"));
    atomic_store(&drifters[wrong]->drifts, true);
    written(leader);
    WAIT(status_says(wrong, "health:quarantined"));
    assert_int_equal(read_any(wrong), KELP_R_QUARANTINED);
    assert_int_equal(kelp_node_rejoin(members[wrong].node, 0, false, &result), KELP_OK);
    WAIT(status_number(wrong, "rejoined") == 1 && status_says(wrong, "health:ok"));
    assert_true(status_says(wrong, "rejoin:no"));
    assert_int_equal(read_any(wrong), KELP_R_NONE);
    WAIT(ledger_holds(ask(wrong)));
    written(leader);
    for (unsigned id = 1; id <= NODES; id++)
        WAIT(status_says(id, "divergence:none") && ledger_holds(ask(id)));
    member_close(wrong); /* and it is what a start finds */
    drifter_open(wrong);
    WAIT(status_says(wrong, "divergence:none") && status_says(wrong, "health:ok"));
    WAIT(ledger_holds(ask(wrong)));
}

static void a_leader_that_drifts_hands_over(void **state)
{
    (void)state;
    for (unsigned id = 1; id <= NODES; id++)
        drifter_open(id);
    (void)add_surely(1, 1);
    WAIT(leader_of(1) >= 1 && leader_of(1) <= NODES);
    unsigned wrong = leader_of(1), other = wrong % NODES + 1;
    atomic_store(&drifters[wrong]->drifts, true);
    written(other); /* forwarded: nobody sees more than an uncertain one */
    WAIT(status_says(wrong, "health:quarantined"));
    WAIT(leader_of(other) != wrong && leader_of(other) != 0);
    assert_int_equal(read_any(wrong), KELP_R_QUARANTINED);
    assert_true(ledger_holds(ask(other)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(a_machine_that_drifts_is_quarantined_and_a_restart_heals_it),
        THREE(it_rejoins_without_a_restart),
        THREE(a_leader_that_drifts_hands_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
