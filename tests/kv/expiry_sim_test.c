/* SPDX-License-Identifier: Apache-2.0 */
/* expiry_sim_test.c - keys that go by themselves, in whole simulated clusters under faults, with
 * tiny snapshots and wall clocks that are years apart: every member has the same state at every
 * index, or the run fails (I28, quarantine, L03). What is counted shows that keys came and went. */
#include "kelp/sim.h"

#include "kv/state.h"
#include "machine.h"

#define KEYS  12u
#define SEEDS 60u
#define FEW   12u /* with a model, which answers everything once more */

struct counts {
    uint64_t told_alive, told_gone, with_deadline, judged;
};

/* verb key words..: V the value, T a time in ms; what else stands there is a word. */
static const char *const requests[][5] = {
    {"SET", "V", "PX", "T"},
    {"SET", "V", "KEEPTTL"},
    {"SETEX", "1", "V"},
    {"SET", "V"},
    {"APPEND", "V"},
    {"SET", "V", "NX", "PX", "T"},
    {"SET", "V", "PX", "T"},
    {"PSETEX", "700", "V"},
    {"PEXPIRE", "T"},
    {"EXPIRE", "1", "GT"},
    {"PEXPIRE", "T", "LT"},
    {"PERSIST"},
    {"GETEX", "PX", "T"},
    {"DEL"},
    {"EXPIREAT", "1900000000"},
    {"PEXPIRE", "T", "NX"},
    {"SET", "V", "XX"},
    {"GET"},
    {"PTTL"},
    {"EXISTS"},
    {"EXPIRETIME"},
    {"GET"},
};
#define REQUESTS  (sizeof requests / sizeof requests[0])
#define QUESTIONS 5u /* the last ones */

static size_t next(void *ctx, uint32_t client, uint64_t token, uint64_t random, bool *read,
                   uint8_t *out)
{
    (void)ctx;
    (void)client;
    size_t which = (random >> 32) % REQUESTS, at = 0;
    *read = which >= REQUESTS - QUESTIONS;
    char line[96];
    at = (size_t)snprintf(line, sizeof line, "%s k%u", requests[which][0],
                          (unsigned)(random >> 8) % KEYS);
    for (size_t i = 1; i < 5 && requests[which][i] != NULL; i++) {
        const char *word = requests[which][i];
        char number[24];
        bool value = word[0] == 'V', span = word[0] == 'T';
        (void)snprintf(number, sizeof number, "%llu",
                       (unsigned long long)(value ? token : 1 + (random >> 16) % 3000));
        at += (size_t)snprintf(line + at, sizeof line - at, " %s", value || span ? number : word);
    }
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
    struct counts *n = ctx;
    (void)client;
    (void)token;
    (void)reason;
    (void)pos;
    if (what != KELP_DONE || result.len == 0) return;
    assert_memory_not_equal(result.data, "-", 1); /* no command of these is in error */
    n->told_gone += result.len == 5 && memcmp(result.data, "$-1\r\n", 5) == 0;
    n->told_alive += result.data[0] == '$' && result.data[1] != '-';
}

static const char *judge(void *ctx, kelp_id node, void *machine)
{
    struct counts *n = ctx;
    const struct kv *kv = machine;
    (void)node;
    n->judged++;
    n->with_deadline += kv->table->due.first != NULL;
    if (kv_failed(kv) != KELP_OK) return "it has failed";
    return kv_key_count(kv) <= 2 * KEYS ? NULL : "more keys than there are names";
}

static void *make(void *ctx, kelp_id node)
{
    (void)ctx;
    (void)node;
    return kv_new();
}

static void members_agree_on_what_has_passed(void **state)
{
    (void)state;
    struct counts counts = {0};
    struct kelp_sim_machine machine = {.size = sizeof machine, .ops = &kv_fsm_ops, .make = make};
    struct kelp_sim_workload workload = {
        .size = sizeof workload, .ctx = &counts, .next = next, .outcome = outcome, .judge = judge};
    struct kelp_sim_options options = kelp_sim_options_default();
    options.machine = &machine;
    options.workload = &workload;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct kelp_sim_report report;
        if (!kelp_sim_run(seed, &options, &report))
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, report.invariant,
                     report.message);
    }
    assert_true(counts.told_alive > 1000 && counts.told_gone > 1000);
    assert_true(counts.judged > SEEDS && counts.with_deadline < counts.judged);
}

static bool agrees_with(const struct kelp_sim_machine *model, uint64_t seed,
                        struct kelp_sim_report *report)
{
    struct counts counts = {0};
    struct kelp_sim_machine machine = {.size = sizeof machine, .ops = &kv_fsm_ops, .make = make};
    struct kelp_sim_workload workload = {.size = sizeof workload, .ctx = &counts, .next = next};
    struct kelp_sim_options options = kelp_sim_options_default();
    options.machine = &machine;
    options.workload = &workload;
    options.model = model;
    return kelp_sim_run(seed, &options, report);
}

/* One that hears of commands alone lets nothing pass in between, and is found out. */
static void a_model_is_told_of_time_as_the_machines_are(void **state)
{
    (void)state;
    struct kelp_fsm_ops deaf = kv_fsm_ops;
    deaf.pass = NULL;
    struct kelp_sim_machine model = {.size = sizeof model, .ops = &kv_fsm_ops, .make = make};
    struct kelp_sim_machine wrong = {.size = sizeof wrong, .ops = &deaf, .make = make};
    unsigned found = 0;
    for (uint64_t seed = 1; seed <= FEW; seed++) {
        struct kelp_sim_report report;
        if (!agrees_with(&model, seed, &report))
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, report.invariant,
                     report.message);
        found += !agrees_with(&wrong, seed, &report) && strcmp(report.invariant, "W03 Model") == 0;
    }
    assert_true(found > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_agree_on_what_has_passed),
        cmocka_unit_test(a_model_is_told_of_time_as_the_machines_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
