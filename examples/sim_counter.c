/* SPDX-License-Identifier: Apache-2.0 */
/* sim_counter.c - a state machine, its model, and a simulator that finds the bug in it.
 *
 * The machine keeps at most eight counters by name; a ninth name pushes the smallest one out. It is
 * a hash table, and like many it seeds its hash anew at every start, so that nobody can choose
 * names that collide. With "bug" it pushes out the first counter that it finds in table order:
 * harmless in one process, but every replica has another order. docs/simulating.md explains.
 *
 *     sim_counter [bug] [SEED [SEEDS]] */
#include <kelp/sim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 8, SLOTS = 16 };

struct counter {
    char name; /* 'a'..'z', 0: no counter */
    uint64_t value;
};

struct table {
    uint64_t seed; /* of the hash: this process's own, not part of the state */
    struct counter slots[SLOTS];
};

static bool with_bug;

/* ---- the state machine -------------------------------------------------------------------- */

static struct counter *slot_of(struct table *t, char name) /* its slot, or the one to put it in */
{
    uint64_t hash = ((uint64_t)name ^ t->seed) * 0x9e3779b97f4a7c15u;
    size_t i = hash >> 60;
    while (t->slots[i].name != 0 && t->slots[i].name != name)
        i = (i + 1) % SLOTS;
    return &t->slots[i];
}

static bool smaller(const struct counter *a, const struct counter *b)
{
    return a->value < b->value || (a->value == b->value && a->name < b->name);
}

static void push_one_out(struct table *t)
{
    struct counter kept[SLOTS], *out = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        struct counter *c = &t->slots[i];
        if (c->name == 0) continue;
        if (out == NULL || (!with_bug && smaller(c, out))) out = c;
    }
    out->name = 0;
    memcpy(kept, t->slots, sizeof kept);
    memset(t->slots, 0, sizeof t->slots);
    for (size_t i = 0; i < SLOTS; i++) /* a hole would hide what lies behind it: put all in anew */
        if (kept[i].name != 0) *slot_of(t, kept[i].name) = kept[i];
}

static uint64_t table_add(struct table *t, char name)
{
    size_t used = 0;
    for (size_t i = 0; i < SLOTS; i++)
        used += t->slots[i].name != 0;
    if (slot_of(t, name)->name == 0 && used == NAMES_MAX) push_one_out(t);
    struct counter *c = slot_of(t, name);
    if (c->name == 0) *c = (struct counter){.name = name};
    return ++c->value;
}

static void answer(kelp_reply_fn reply, void *sink, size_t i, uint64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    reply(sink, i, (struct kelp_bytes){(const uint8_t *)text, (size_t)len});
}

static void table_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                        size_t count, kelp_reply_fn reply, void *sink)
{
    (void)group;
    for (size_t i = 0; i < count; i++)
        answer(reply, sink, i, table_add(fsm, (char)commands[i].payload.data[0]));
}

static void table_query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                        void *sink)
{
    (void)group;
    struct counter *c = slot_of(fsm, (char)question.data[0]);
    answer(reply, sink, 0, c->name != 0 ? c->value : 0);
}

static uint64_t table_hash(void *fsm, uint32_t group) /* of the counters, wherever they lie */
{
    const struct table *t = fsm;
    uint64_t sum = 0;
    for (size_t i = 0; i < SLOTS; i++)
        sum += ((uint64_t)t->slots[i].name << 56 ^ t->slots[i].value) * 0x9e3779b97f4a7c15u;
    return (void)group, sum;
}

static void *table_make(void *ctx, kelp_id node)
{
    uint64_t *starts = ctx; /* in a real process the seed would come from the system */
    struct table *t = calloc(1, sizeof *t);
    if (t != NULL) t->seed = (++*starts * 64 + node) * 0xd6e8feb86659fd93u;
    return t;
}

/* ---- the model: the same promise, as plainly as it can be said ---------------------------- */

struct model {
    uint64_t values[26]; /* by letter; 0: no such counter */
};

static void model_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                        size_t count, kelp_reply_fn reply, void *sink)
{
    (void)group, (void)count; /* commands come to a model one at a time */
    uint64_t *values = ((struct model *)fsm)->values;
    size_t name = commands->payload.data[0] - 'a', used = 0, least = 26;
    for (size_t i = 0; i < 26; i++) {
        used += values[i] > 0;
        if (values[i] > 0 && (least == 26 || values[i] < values[least])) least = i;
    }
    if (values[name] == 0 && used == NAMES_MAX) values[least] = 0;
    answer(reply, sink, 0, ++values[name]);
}

static void model_query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                        void *sink)
{
    (void)group;
    answer(reply, sink, 0, ((struct model *)fsm)->values[question.data[0] - 'a']);
}

static void *model_make(void *ctx, kelp_id node)
{
    return (void)ctx, (void)node, calloc(1, sizeof(struct model));
}

/* ---- the workload: what clients ask, every choice from `random` --------------------------- */

static size_t workload_next(void *ctx, uint32_t client, uint64_t token, uint64_t random, bool *read,
                            uint8_t *out)
{
    (void)ctx, (void)client, (void)token;
    *read = random % 4 == 0;
    out[0] = (uint8_t)('a' + random / 4 % 12); /* twelve names for eight places */
    return 1;
}

static void workload_begin(void *ctx)
{
    *(uint64_t *)ctx = 0; /* the same seed must see the same starts */
}

int main(int argc, char **argv)
{
    static const struct kelp_fsm_ops table_ops = {.size = sizeof table_ops,
                                                  .flags = KELP_FSM_IN_MEMORY,
                                                  .apply = table_apply,
                                                  .query = table_query,
                                                  .hash = table_hash,
                                                  .close = free};
    static const struct kelp_fsm_ops model_ops = {
        .size = sizeof model_ops, .apply = model_apply, .query = model_query, .close = free};
    static struct kelp_sim_report report;
    uint64_t starts = 0;
    const struct kelp_sim_machine machine = {sizeof machine, &starts, &table_ops, table_make};
    const struct kelp_sim_machine model = {sizeof model, NULL, &model_ops, model_make};
    const struct kelp_sim_workload workload = {
        .size = sizeof workload, .ctx = &starts, .next = workload_next, .begin = workload_begin};
    struct kelp_sim_options options = kelp_sim_options_default();
    options.machine = &machine, options.model = &model, options.workload = &workload;

    if (argc > 1 && strcmp(argv[1], "bug") == 0) with_bug = true, argc--, argv++;
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : argc > 1 ? 1 : 20;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (kelp_sim_run(seed, &options, &report)) continue;
        printf("%s", report.story);
        printf("seed %llu fails; again: %s%s %llu\n", (unsigned long long)seed,
               "build/example_sim_counter", with_bug ? " bug" : "", (unsigned long long)seed);
        return 1;
    }
    return printf("%llu seeds pass\n", (unsigned long long)count), 0;
}
