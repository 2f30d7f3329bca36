/* SPDX-License-Identifier: Apache-2.0 */
/* library.c - libkelp as a user embeds it: three processes, the load inside the leader's.
 *
 * Nothing but <kelp/node.h>, with its default options. The state machine counts commands and keeps
 * a hash of them, in order. A proposal is made from the completion of the one before it, so the
 * load is a closed loop in which in_flight proposals are open all the time. */
#include <kelp/node.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"
#include "bench/bench.h"

#define LOOK_MS      10
#define STATUS_BYTES 8192u
#define REOPEN_NS    30000000000u

struct slot {
    uint64_t began_ns, number;
};

struct member {
    struct bench_run *run;
    struct kelp_node *node;
    uint64_t applied, state; /* the state machine's, on the node's thread */
    /* the load's, on the node's thread once it has begun */
    struct slot *slots;
    uint8_t *value;
    struct bench_clock clock;
    uint64_t proposed, open;
};

/* ---- the state machine -------------------------------------------------------------------- */

static void machine_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                          size_t count, kelp_reply_fn reply, void *sink)
{
    struct member *m = fsm;
    (void)group;
    for (size_t i = 0; i < count; i++) {
        uint8_t answer[8];
        m->state = bench_state(m->state, commands[i].payload);
        put_u64(answer, ++m->applied);
        reply(sink, i, (struct kelp_bytes){answer, sizeof answer});
    }
    struct bench_node *out = &m->run->shared->nodes[m->run->id];
    atomic_store_explicit(&out->applied, m->applied, memory_order_relaxed);
    atomic_store_explicit(&out->state, m->state, memory_order_relaxed);
}

static void machine_query(void *fsm, uint32_t group, struct kelp_bytes question,
                          kelp_reply_fn reply, void *sink)
{
    struct member *m = fsm;
    uint8_t answer[8];
    (void)group, (void)question;
    put_u64(answer, m->applied);
    reply(sink, 0, (struct kelp_bytes){answer, sizeof answer});
}

static uint64_t machine_hash(void *fsm, uint32_t group)
{
    return (void)group, ((struct member *)fsm)->state;
}

/* ---- the load ----------------------------------------------------------------------------- */

static void done(void *ctx, uint64_t token, const struct kelp_result *result);

static void propose(struct member *m, uint64_t token, uint64_t now)
{
    const struct bench_options *o = m->run->options;
    m->slots[token] = (struct slot){.began_ns = now, .number = ++m->proposed};
    put_u64(m->value, m->proposed);
    m->open++;
    kelp_propose(m->node, (struct kelp_bytes){m->value, o->value_bytes}, token, done, m);
}

static void done(void *ctx, uint64_t token, const struct kelp_result *result)
{
    struct member *m = ctx;
    struct bench_shared *s = m->run->shared;
    uint64_t now = bench_now_ns();
    m->open--;
    if (result->outcome != KELP_DONE) {
        if (!atomic_exchange(&s->failed, true))
            (void)fprintf(stderr, "bench-kelp: operation %llu: %s, %s\n",
                          (unsigned long long)m->slots[token].number,
                          kelp_outcome_name(result->outcome), kelp_reason_words(result->reason));
    } else {
        atomic_fetch_add_explicit(&s->acknowledged, 1, memory_order_relaxed);
    }
    if (m->clock.phase == BENCH_WINDOW && result->outcome == KELP_DONE) {
        atomic_fetch_add_explicit(&s->operations, 1, memory_order_relaxed);
        hist_add(&s->latency, now - m->slots[token].began_ns);
    }
    bool over = bench_clock_tick(&m->clock, m->run, now) == BENCH_OVER;
    if (!over && !atomic_load(&s->failed))
        propose(m, token, now);
    else if (m->open == 0)
        bench_mark(m->run, 'D');
}

/* On the node's own thread: the load's fields have one owner from here on. */
static void begin(void *ctx, uint64_t token, const struct kelp_result *result)
{
    struct member *m = ctx;
    (void)token;
    if (result->outcome != KELP_DONE) { /* the leader of a moment ago; somebody else begins */
        atomic_store(&m->run->shared->leader, 0);
        return;
    }
    uint64_t now = bench_now_ns();
    (void)bench_clock_tick(&m->clock, m->run, now);
    for (uint64_t i = 0; i < m->run->options->in_flight; i++)
        propose(m, i, now);
}

/* ---- a process ---------------------------------------------------------------------------- */

static bool leads(struct member *m)
{
    char text[STATUS_BYTES];
    (void)kelp_node_status(m->node, text, sizeof text);
    return strstr(text, "\nrole:leader\n") != NULL;
}

/* Whoever is elected begins, once; then waits, as the others do, for the end. */
static void wait_for_the_end(struct member *m)
{
    struct pollfd over = {.fd = m->run->stopped, .events = POLLIN};
    for (;;) {
        bool waiting = atomic_load(&m->run->shared->leader) == 0;
        int count = poll(&over, 1, waiting ? LOOK_MS : -1);
        if (count > 0) return;
        uint64_t nobody = 0;
        if (waiting && leads(m) &&
            atomic_compare_exchange_strong(&m->run->shared->leader, &nobody, m->run->id))
            kelp_read(m->node, (struct kelp_bytes){(const uint8_t *)"?", 1}, 0, begin, m);
    }
}

static bool open_node(struct member *m)
{
    static const struct kelp_fsm_ops machine = {.size = sizeof machine,
                                                .flags = KELP_FSM_IN_MEMORY,
                                                .apply = machine_apply,
                                                .query = machine_query,
                                                .hash = machine_hash};
    const struct bench_run *run = m->run;
    char all[BENCH_NODES_MAX * 32] = "", self[32];
    for (uint32_t id = 1, len = 0; id <= run->options->nodes; id++)
        len += (uint32_t)snprintf(all + len, sizeof all - len, "%s%u=127.0.0.1:%u",
                                  id > 1 ? "," : "", id, run->shared->ports[id]);
    (void)snprintf(self, sizeof self, "127.0.0.1:%u", run->shared->ports[run->id]);
    struct kelp_node_options options = kelp_node_options_default(run->id, run->dir);
    options.peer = self;
    options.bootstrap = all;
    struct kelp_fault fault = {.error = KELP_OK};
    if (kelp_node_open(&options, &machine, m, &m->node, &fault) == KELP_OK) return true;
    (void)fprintf(stderr, "bench-kelp: node %u: %s: %s\n", run->id, fault.where, fault.what);
    return false;
}

/* The disk is judged as a user would: open the node again, with the others, and see that all
 * that was acknowledged is there. It needs a majority, so all stay until all have seen it. */
static bool reopened(struct member *m)
{
    const struct bench_run *run = m->run;
    uint64_t state = m->state, since = bench_now_ns();
    struct bench_node *own = &run->shared->nodes[run->id];
    m->applied = m->state = 0;
    atomic_store(&own->applied, 0); /* what is seen from here on was replayed */
    atomic_store(&own->state, 0);
    if (!open_node(m)) return false;
    bool good = false, all = false;
    while (!all && bench_now_ns() - since < REOPEN_NS) {
        good = atomic_load(&own->applied) == atomic_load(&run->shared->acknowledged) &&
               atomic_load(&own->state) == state;
        atomic_store(&own->intact, good);
        all = true;
        for (uint64_t id = 1; id <= run->options->nodes; id++)
            all = all && atomic_load(&run->shared->nodes[id].intact);
        (void)poll(NULL, 0, LOOK_MS);
    }
    kelp_node_close(m->node);
    return good;
}

static int node_run(struct bench_run *run)
{
    struct member m = {.run = run};
    m.slots = calloc(run->options->in_flight, sizeof *m.slots);
    m.value = malloc(run->options->value_bytes);
    bool good = m.slots != NULL && m.value != NULL;
    if (good) bench_value(0, m.value, run->options->value_bytes);
    if (good) good = open_node(&m);
    if (good) wait_for_the_end(&m);
    kelp_node_close(m.node);
    m.node = NULL;
    if (good) good = reopened(&m);
    atomic_store(&run->shared->nodes[run->id].intact, good);
    free(m.slots);
    free(m.value);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct bench_program program = {
        .system = "kelp", .version = KELP_VERSION, .node = node_run};
    return bench_main(&program, argc, argv);
}
