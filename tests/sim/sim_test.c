/* SPDX-License-Identifier: Apache-2.0 */
/* sim_test.c - whole runs: the same seed twice, another wall clock, rules broken on purpose, one's
 * own state machine. Runs are short here; thousands of long ones are run elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "kelp/sim.h"

#define SECOND ((kelp_ns)1000000000)

static struct kelp_sim_report report, again;

static struct kelp_sim_options brief(kelp_ns hurt)
{
    struct kelp_sim_options o = kelp_sim_options_default();
    o.hurt = hurt;
    return o;
}

static void demand(bool passed, const struct kelp_sim_report *r)
{
    if (!passed) print_message("%s", r->story);
    assert_true(passed);
}

static void a_healthy_cluster_passes_and_does_something(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(20 * SECOND);
    uint64_t crashes = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        demand(kelp_sim_run(seed, &o, &report), &report);
        assert_int_equal(report.seed, seed);
        assert_true(report.simulated >= o.hurt);
        assert_true(report.commits > 2 && report.done > 0 && report.elections > 0);
        assert_true(report.requests ==
                    report.done + report.refused + report.lost + report.unknown + report.abandoned);
        crashes += report.crashes;
    }
    assert_true(crashes > 10);
}

static void the_same_seed_has_the_same_hash(void **state) /* I40 */
{
    (void)state;
    struct kelp_sim_options o = brief(20 * SECOND);
    for (uint64_t seed = 100; seed < 106; seed++) {
        demand(kelp_sim_run(seed, &o, &report), &report);
        demand(kelp_sim_run(seed, &o, &again), &again);
        assert_int_equal(report.hash, again.hash);
        assert_memory_equal(&report, &again, sizeof report);
    }
}

static void another_seed_has_another_hash(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(5 * SECOND);
    demand(kelp_sim_run(1, &o, &report), &report);
    demand(kelp_sim_run(2, &o, &again), &again);
    assert_int_not_equal(report.hash, again.hash);
}

static void another_wall_clock_changes_nothing(void **state) /* I39 */
{
    (void)state;
    static const uint64_t clocks[] = {0, 1, 2147483647999u, 4102444800000u};
    struct kelp_sim_options o = brief(20 * SECOND);
    for (uint64_t seed = 200; seed < 203; seed++) {
        demand(kelp_sim_run(seed, &o, &report), &report);
        for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
            struct kelp_sim_options other = o;
            other.wall_unix_ms = clocks[i];
            demand(kelp_sim_run(seed, &other, &again), &again);
            assert_int_equal(report.hash, again.hash);
            assert_int_equal(report.events, again.events);
        }
    }
}

static void every_size_of_cluster_passes(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(10 * SECOND);
    for (o.nodes = 1; o.nodes <= KELP_SIM_NODES_MAX; o.nodes++) {
        demand(kelp_sim_run(300 + o.nodes, &o, &report), &report);
        assert_int_equal(report.nodes, o.nodes);
    }
}

static void count_record(void *ctx, const struct kelp_sim_event *event)
{
    uint64_t *records = ctx;
    assert_true(strlen(event->words) > 0);
    *records += 1;
}

static void a_trace_does_not_change_the_run(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(5 * SECOND);
    uint64_t records = 0;
    demand(kelp_sim_run(7, &o, &report), &report);
    o.trace = count_record;
    o.trace_ctx = &records;
    demand(kelp_sim_run(7, &o, &again), &again);
    assert_int_equal(report.hash, again.hash);
    assert_true(records > again.events / 2);
}

/* ---- canaries: what is broken on purpose is caught, and by the right invariant ---- */

static void caught(enum kelp_sim_break broken, const char *invariants, uint64_t seeds)
{
    struct kelp_sim_options o = brief(60 * SECOND);
    o.broken = broken;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        if (kelp_sim_run(seed, &o, &report)) continue;
        char id[4] = "";
        memcpy(id, report.invariant, 3);
        if (strstr(invariants, id) == NULL) print_message("%s", report.story);
        assert_non_null(strstr(invariants, id));
        assert_true(strlen(report.message) > 0);
        assert_non_null(strstr(report.story, "node 1 "));
        return;
    }
    fail_msg("not caught within %llu seeds", (unsigned long long)seeds);
}

static void a_vote_file_that_is_not_synced_is_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_VOTE_SYNC, "I02 I03 I04 I31", 30);
}

static void a_log_that_is_not_synced_is_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_LOG_SYNC, "I15 I31", 30);
}

static void saves_reported_too_early_are_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_EARLY_SAVED, "I04 I15 I31", 30);
}

static void stale_reads_are_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_STALE_READ, "I22 I24 S01", 30);
}

static void a_false_ok_is_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_FALSE_DONE, "I25", 30);
}

static void a_false_refusal_is_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_FALSE_REFUSED, "I25", 30);
}

static void a_state_machine_that_differs_is_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_APPLY, "I28 I25", 30);
}

static void damage_that_is_believed_is_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_FRAME, "N04", 30);
}

static void rot_that_is_cut_off_and_used_is_caught(void **state) /* I32 */
{
    (void)state;
    caught(KELP_SIM_BREAK_ROT, "I32 I31", 400);
}

static void a_network_that_is_not_healed_is_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_HEAL, "L01 L02 L03 L05", 30);
}

static void a_cluster_that_stops_committing_is_caught(void **state)
{
    (void)state;
    caught(KELP_SIM_BREAK_MUTE, "L01 L02 L11", 30);
}

/* L11: only a mild run can tell before the faults end. */
static void a_cluster_that_starves_is_caught(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(60 * SECOND);
    o.broken = KELP_SIM_BREAK_MUTE;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        if (kelp_sim_run(seed, &o, &report) || strncmp(report.invariant, "L11", 3) != 0) continue;
        assert_true(report.simulated < 60 * SECOND);
        return;
    }
    fail_msg("no run starved");
}

static void leaders_that_come_and_go_are_caught(void **state) /* L05 */
{
    (void)state;
    /* L04: requests are open with the one that stands still when the time is over */
    caught(KELP_SIM_BREAK_CHURN, "L05 L03 L04", 30);
}

/* ---- healing ---- */

static void the_core_is_sometimes_a_part_and_always_lives(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(10 * SECOND);
    unsigned parts = 0, thinned = 0, soon = 0;
    for (uint64_t seed = 400; seed < 460; seed++) {
        demand(kelp_sim_run(seed, &o, &report), &report);
        /* where members change, whoever was removed and has ended is not in it */
        bool churns = report.changes > 0;
        assert_true(churns || report.core == 0 || report.core > report.nodes / 2);
        parts += report.core > 0 && report.core < report.nodes;
        thinned += report.thinned;
        soon += report.core == 0 || report.leader_soon;
    }
    assert_true(parts > 5 && thinned > 1 && soon >= 57);
}

static void disks_are_harmed_and_nodes_stop_for_it(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(60 * SECOND);
    uint64_t harms = 0, halts = 0;
    for (uint64_t seed = 500; seed < 560; seed++) {
        demand(kelp_sim_run(seed, &o, &report), &report);
        harms += report.disk_harms;
        halts += report.halts;
    }
    assert_true(harms > 60 && halts > 3);
}

static void nodes_die_in_the_middle_of_saves(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(30 * SECOND);
    uint64_t inside = 0;
    for (uint64_t seed = 600; seed < 620; seed++) {
        demand(kelp_sim_run(seed, &o, &report), &report);
        assert_true(report.save_crashes <= report.crashes);
        inside += report.save_crashes;
    }
    assert_true(inside > 20);
}

static void frames_come_in_pieces(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(10 * SECOND);
    unsigned whole = 0, cut = 0;
    for (uint64_t seed = 620; seed < 640; seed++) {
        demand(kelp_sim_run(seed, &o, &report), &report);
        whole += report.frames_cut == 0;
        cut += report.frames_cut > report.frames / 16;
    }
    assert_true(whole > 2 && cut > 2);
}

static void snapshots_are_taken_in_pieces_and_asked_for_by_hand(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(30 * SECOND);
    uint64_t snapshots = 0, pieces = 0, asked = 0;
    for (uint64_t seed = 640; seed < 660; seed++) {
        demand(kelp_sim_run(seed, &o, &report), &report);
        snapshots += report.snapshots;
        pieces += report.snapshot_pieces;
        asked += report.snapshots_asked;
    }
    assert_true(snapshots > 100 && pieces > 100 && asked > 0);
}

/* ---- one's own machine and workload: a counter ---- */

struct counter {
    uint64_t sum, count;
};

static void counter_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                          size_t count, kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct counter *counter = fsm;
    for (size_t i = 0; i < count; i++) {
        uint8_t out[8];
        counter->count++;
        counter->sum += load_u64(commands[i].payload.data);
        put_u64(out, counter->count);
        reply(sink, i, (struct kelp_bytes){out, sizeof out});
    }
}

static void counter_query(void *fsm, uint32_t group, struct kelp_bytes question,
                          kelp_reply_fn reply, void *sink)
{
    (void)group;
    (void)question;
    const struct counter *counter = fsm;
    uint8_t out[8];
    put_u64(out, counter->count);
    reply(sink, 0, (struct kelp_bytes){out, sizeof out});
}

static enum kelp_error counter_snapshot(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                        void **snapshot)
{
    (void)group;
    const struct counter *counter = fsm;
    put_u64(own, counter->sum);
    put_u64(own + 8, counter->count);
    *own_len = 16;
    *snapshot = fsm;
    return KELP_OK;
}

static enum kelp_error counter_no_objects(void *fsm, void *snapshot, uint8_t *out, size_t *len,
                                          bool *last)
{
    (void)fsm;
    (void)snapshot;
    (void)out;
    *len = 0;
    *last = true;
    return KELP_OK;
}

static void counter_nothing(void *fsm, void *snapshot)
{
    (void)fsm;
    (void)snapshot;
}

static enum kelp_error counter_restore(void *fsm, uint32_t group, struct kelp_pos pos,
                                       uint64_t time_ns, struct kelp_bytes own, void **restore)
{
    (void)group;
    (void)pos;
    (void)time_ns;
    struct counter *counter = fsm;
    if (own.len != 16) return KELP_E_MALFORMED;
    counter->sum = load_u64(own.data);
    counter->count = load_u64(own.data + 8);
    *restore = fsm;
    return KELP_OK;
}

static enum kelp_error counter_object(void *fsm, void *restore, struct kelp_bytes object)
{
    (void)fsm;
    (void)restore;
    (void)object;
    return KELP_E_MALFORMED;
}

static enum kelp_error counter_commit(void *fsm, void *restore)
{
    (void)fsm;
    (void)restore;
    return KELP_OK;
}

static uint64_t counter_hash(void *fsm, uint32_t group)
{
    (void)group;
    const struct counter *counter = fsm;
    return counter->sum * 31 + counter->count;
}

static const struct kelp_fsm_ops counter_ops = {
    .size = sizeof(struct kelp_fsm_ops),
    .flags = KELP_FSM_IN_MEMORY | KELP_FSM_DISPOSABLE,
    .apply = counter_apply,
    .query = counter_query,
    .snapshot_begin = counter_snapshot,
    .snapshot_read = counter_no_objects,
    .snapshot_end = counter_nothing,
    .restore_begin = counter_restore,
    .restore_object = counter_object,
    .restore_commit = counter_commit,
    .restore_abort = counter_nothing,
    .hash = counter_hash,
    .close = free,
};

static void *counter_make(void *ctx, kelp_id node)
{
    (void)ctx;
    (void)node;
    return calloc(1, sizeof(struct counter));
}

struct ledger {
    uint64_t done, maybe, judged;
    bool lie;
};

static size_t ledger_next(void *ctx, uint32_t client, uint64_t token, uint64_t random, bool *read,
                          uint8_t *out)
{
    (void)ctx;
    (void)client;
    *read = random % 4 == 0;
    put_u64(out, token);
    return 8;
}

static void ledger_outcome(void *ctx, uint32_t client, uint64_t token, enum kelp_outcome outcome,
                           enum kelp_reason reason, struct kelp_pos pos, struct kelp_bytes result)
{
    (void)client;
    (void)token;
    (void)reason;
    (void)pos;
    struct ledger *ledger = ctx;
    if (outcome == KELP_DONE) {
        assert_int_equal(result.len, 8);
        ledger->done++;
    }
    if (outcome == KELP_UNKNOWN) ledger->maybe++;
}

static const char *ledger_judge(void *ctx, kelp_id node, void *machine)
{
    (void)node;
    struct ledger *ledger = ctx;
    const struct counter *counter = machine;
    ledger->judged++;
    if (ledger->lie) return "a judge that is never content";
    return counter->count > 0 ? NULL : "nothing was counted";
}

static void ledger_begins(void *ctx)
{
    struct ledger *ledger = ctx;
    *ledger = (struct ledger){.lie = ledger->lie};
}

static struct kelp_sim_workload ledger_workload(struct ledger *ledger)
{
    return (struct kelp_sim_workload){.size = sizeof(struct kelp_sim_workload),
                                      .ctx = ledger,
                                      .next = ledger_next,
                                      .outcome = ledger_outcome,
                                      .judge = ledger_judge,
                                      .begin = ledger_begins};
}

static void ones_own_machine_is_run_and_judged(void **state)
{
    (void)state;
    struct ledger ledger = {0};
    struct kelp_sim_machine machine = {sizeof machine, NULL, &counter_ops, counter_make};
    struct kelp_sim_workload workload = ledger_workload(&ledger);
    struct kelp_sim_options o = brief(10 * SECOND);
    o.nodes = 3;
    o.machine = &machine;
    o.workload = &workload;
    demand(kelp_sim_run(3, &o, &report), &report);
    assert_true(ledger.judged >= 2);
    assert_int_equal(ledger.done, report.done);
    assert_int_equal(ledger.maybe, report.unknown);
    ledger.lie = true;
    assert_false(kelp_sim_run(3, &o, &report));
    assert_string_equal(report.invariant, "W01 Workload");
    assert_null(strstr(report.story, "kelp sim run")); /* that is not what runs this machine */
    assert_non_null(strstr(report.story, "again: kelp_sim_run with seed 3"));
}

/* ---- a model: the counter once more, wrong where a test wants it to be ---- */

static const struct model_error {
    uint64_t apply_from, query_from; /* counts from which it answers one more; 0: never */
    bool silent;
} * model_error;

static void model_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                        size_t count, kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct counter *counter = fsm;
    assert_int_equal(count, 1);
    uint64_t told = ++counter->count, from = model_error->apply_from;
    counter->sum = commands->pos.index;
    if (model_error->silent) return;
    if (from > 0 && told >= from) told++;
    uint8_t out[8];
    put_u64(out, told);
    reply(sink, 0, (struct kelp_bytes){out, sizeof out});
}

static void model_query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                        void *sink)
{
    (void)group;
    (void)question;
    const struct counter *counter = fsm;
    uint64_t told = counter->count, from = model_error->query_from;
    uint8_t out[8];
    if (from > 0 && told >= from) told++;
    put_u64(out, told);
    reply(sink, 0, (struct kelp_bytes){out, sizeof out});
}

static bool run_with_model(uint64_t seed, const struct model_error *error)
{
    static const struct kelp_fsm_ops ops = {
        .size = sizeof ops, .apply = model_apply, .query = model_query, .close = free};
    struct ledger ledger = {0};
    struct kelp_sim_machine machine = {sizeof machine, NULL, &counter_ops, counter_make};
    struct kelp_sim_machine model = {sizeof model, NULL, &ops, counter_make};
    struct kelp_sim_workload workload = ledger_workload(&ledger);
    struct kelp_sim_options o = brief(20 * SECOND);
    o.machine = &machine;
    o.workload = &workload;
    o.model = &model;
    model_error = error;
    return kelp_sim_run(seed, &o, &report);
}

static void a_machine_that_answers_like_its_model_passes(void **state)
{
    (void)state;
    uint64_t done = 0, restarts = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        demand(run_with_model(seed, &(struct model_error){0}), &report);
        done += report.done;
        restarts += report.restarts;
    }
    assert_true(done > 100 && restarts > 10); /* so that answers were given, and given again */
}

static void a_machine_that_answers_unlike_its_model_fails(void **state)
{
    (void)state;
    assert_false(run_with_model(1, &(struct model_error){.apply_from = 7}));
    assert_string_equal(report.invariant, "W03 Model");
    assert_non_null(
        strstr(report.message, "with 0700000000000000, the model with 0800000000000000"));
    assert_false(run_with_model(1, &(struct model_error){.silent = true}));
    assert_string_equal(report.invariant, "W03 Model");
    assert_non_null(strstr(report.message, "with 0100000000000000, the model with \"\""));
    assert_false(run_with_model(1, &(struct model_error){.query_from = 1}));
    assert_string_equal(report.invariant, "W03 Model");
    assert_non_null(strstr(report.message, "a question after"));
}

/* ---- options and lines ---- */

static void options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(SECOND);
    o.nodes = KELP_SIM_NODES_MAX + 1;
    assert_false(kelp_sim_run(1, &o, &report));
    assert_string_equal(report.invariant, "options");
    o = brief(0);
    assert_false(kelp_sim_run(1, &o, &report));
    o = brief(SECOND);
    o.size = 1;
    assert_false(kelp_sim_run(1, &o, &report));
    struct kelp_sim_machine machine = {sizeof machine, NULL, &counter_ops, counter_make};
    o = brief(SECOND);
    o.machine = &machine;
    assert_false(kelp_sim_run(1, &o, &report));
    o = brief(SECOND);
    o.model = &machine;
    assert_false(kelp_sim_run(1, &o, &report));
    assert_string_equal(report.message, "a model needs a machine");
    struct kelp_sim_workload workload = {.size = sizeof workload};
    o = brief(SECOND);
    o.machine = &machine;
    o.workload = &workload;
    assert_false(kelp_sim_run(1, &o, &report));
    assert_string_equal(report.message, "workload lacks next");
    workload.next = ledger_next; /* and nothing else */
    demand(kelp_sim_run(1, &o, &report), &report);
}

static void the_lines_have_the_promised_form(void **state)
{
    (void)state;
    char line[KELP_SIM_LINE_MAX];
    report = (struct kelp_sim_report){.seed = 7, .events = 12, .hash = 0xabc, .passed = true};
    (void)kelp_sim_line(&report, line, sizeof line);
    assert_string_equal(line, "seed 7 events 12 hash 0000000000000abc PASS");
    report.passed = false;
    (void)snprintf(report.invariant, sizeof report.invariant, "I09 StateMachineSafety");
    (void)kelp_sim_line(&report, line, sizeof line);
    assert_string_equal(line, "seed 7 events 12 hash 0000000000000abc FAIL I09 StateMachineSafety");
    struct kelp_sim_total total = {
        .seeds = 3, .events = 40, .faults = 5, .simulated = 200 * SECOND};
    (void)kelp_sim_total_line(&total, SECOND / 10, line, sizeof line);
    assert_string_equal(line, "3 seeds, 40 events, 5 faults, PASS, 2000 x real time");
    total.failed = 2;
    (void)kelp_sim_total_line(&total, SECOND / 10, line, sizeof line);
    assert_string_equal(line, "3 seeds, 40 events, 5 faults, FAIL 2, 2000 x real time");
}

static void count_name(void *ctx, const char *name)
{
    size_t *names = ctx;
    assert_string_not_equal(name, "ROLE_LEADER");
    *names += 1;
}

static void events_that_were_never_hit_are_named(void **state)
{
    (void)state;
    static struct kelp_sim_total total;
    report = (struct kelp_sim_report){.passed = true};
    report.marks[KELP_EV_ROLE_LEADER] = 3;
    kelp_sim_add(&total, &report);
    size_t names = 0;
    size_t count = kelp_sim_unmarked(&total, count_name, &names);
    assert_int_equal(count, names);
    assert_int_equal(count, KELP_EVENT_COUNT - 2); /* all but NONE and this one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_cluster_passes_and_does_something),
        cmocka_unit_test(the_same_seed_has_the_same_hash),
        cmocka_unit_test(another_seed_has_another_hash),
        cmocka_unit_test(another_wall_clock_changes_nothing),
        cmocka_unit_test(every_size_of_cluster_passes),
        cmocka_unit_test(a_trace_does_not_change_the_run),
        cmocka_unit_test(a_vote_file_that_is_not_synced_is_caught),
        cmocka_unit_test(a_log_that_is_not_synced_is_caught),
        cmocka_unit_test(saves_reported_too_early_are_caught),
        cmocka_unit_test(stale_reads_are_caught),
        cmocka_unit_test(a_false_ok_is_caught),
        cmocka_unit_test(a_false_refusal_is_caught),
        cmocka_unit_test(a_state_machine_that_differs_is_caught),
        cmocka_unit_test(damage_that_is_believed_is_caught),
        cmocka_unit_test(rot_that_is_cut_off_and_used_is_caught),
        cmocka_unit_test(a_network_that_is_not_healed_is_caught),
        cmocka_unit_test(a_cluster_that_stops_committing_is_caught),
        cmocka_unit_test(a_cluster_that_starves_is_caught),
        cmocka_unit_test(leaders_that_come_and_go_are_caught),
        cmocka_unit_test(the_core_is_sometimes_a_part_and_always_lives),
        cmocka_unit_test(disks_are_harmed_and_nodes_stop_for_it),
        cmocka_unit_test(nodes_die_in_the_middle_of_saves),
        cmocka_unit_test(frames_come_in_pieces),
        cmocka_unit_test(snapshots_are_taken_in_pieces_and_asked_for_by_hand),
        cmocka_unit_test(ones_own_machine_is_run_and_judged),
        cmocka_unit_test(a_machine_that_answers_like_its_model_passes),
        cmocka_unit_test(a_machine_that_answers_unlike_its_model_fails),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(the_lines_have_the_promised_form),
        cmocka_unit_test(events_that_were_never_hit_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
