/* SPDX-License-Identifier: Apache-2.0 */
/* restore_sim_test.c - restores through the log in whole simulated clusters under faults: leaders
 * that die in each phase, members that come back, snapshots between. Every member has the same
 * state, and has staged the same, at every index, or the run fails (I28, quarantine). */
#include "kelp/sim.h"

#include "kv/state.h"
#include "machine.h"

#define KEYS       200u
#define SEEDS      40u
#define SEEDS_BARE 60u

struct counts {
    uint64_t judged, keys;
};

static const char *const verbs[] = {"SET", "SET", "APPEND", "DEL", "PSETEX", "INCR", "GET", "PTTL"};

static size_t next(void *ctx, uint32_t client, uint64_t token, uint64_t random, bool *read,
                   uint8_t *out)
{
    (void)ctx;
    (void)client;
    unsigned which = (unsigned)((random >> 32) % COUNT_OF(verbs));
    *read = which >= COUNT_OF(verbs) - 2;
    char line[96], end[48] = "";
    if (which < 3) (void)snprintf(end, sizeof end, " %llu", (unsigned long long)token);
    if (which == 4)
        (void)snprintf(end, sizeof end, " %llu v", (unsigned long long)(1 + (random >> 16) % 9000));
    (void)snprintf(line, sizeof line, "%s k%u%s", verbs[which], (unsigned)(random >> 8) % KEYS,
                   end);
    struct kelp_bytes argv[WORDS_MAX];
    struct buf payload = payload_of(argv, words_cut(line, argv));
    size_t len = payload.len;
    memcpy(out, payload.data, len);
    buf_close(&payload);
    return len;
}

static void outcome(void *ctx, uint32_t client, uint64_t token, enum kelp_outcome what,
                    enum kelp_reason reason, struct kelp_pos pos, struct kelp_bytes result)
{
    (void)ctx;
    (void)client;
    (void)token;
    (void)what;
    (void)reason;
    (void)pos;
    (void)result;
}

static const char *judge(void *ctx, kelp_id node, void *machine)
{
    struct counts *n = ctx;
    const struct kv *kv = machine;
    (void)node;
    n->judged++;
    n->keys += kv_key_count(kv);
    if (kv_failed(kv) != KELP_OK) return "it has failed";
    return kv_key_count(kv) <= KEYS ? NULL : "more keys than there are names";
}

static void *make(void *ctx, kelp_id node)
{
    (void)ctx;
    (void)node;
    return kv_new();
}

static void members_restore_alike_or_not_at_all(void **state)
{
    (void)state;
    struct counts counts = {0};
    struct kelp_sim_machine machine = {.size = sizeof machine, .ops = &kv_fsm_ops, .make = make};
    struct kelp_sim_workload workload = {
        .size = sizeof workload, .ctx = &counts, .next = next, .outcome = outcome, .judge = judge};
    struct kelp_sim_options options = kelp_sim_options_default();
    options.machine = &machine;
    options.workload = &workload;
    options.restores = true;
    uint64_t restored = 0, steps = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct kelp_sim_report report;
        if (!kelp_sim_run(seed, &options, &report))
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, report.invariant,
                     report.message);
        restored += report.restored;
        steps += report.restore_steps;
    }
    assert_true(restored > 10 * SEEDS && steps > 5 * restored);
    assert_true(counts.judged > SEEDS && counts.keys > counts.judged);
}

/* Beside clients whose every answer is judged: what is staged and given up was never seen. */
static void what_is_staged_is_never_seen(void **state)
{
    (void)state;
    struct kelp_sim_options options = kelp_sim_options_default();
    options.restores = true;
    uint64_t steps = 0;
    for (uint64_t seed = 1; seed <= SEEDS_BARE; seed++) {
        struct kelp_sim_report report;
        if (!kelp_sim_run(seed, &options, &report))
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, report.invariant,
                     report.message);
        assert_int_equal(report.restored, 0);
        steps += report.restore_steps;
    }
    assert_true(steps > 20 * SEEDS_BARE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_restore_alike_or_not_at_all),
        cmocka_unit_test(what_is_staged_is_never_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
