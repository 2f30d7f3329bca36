/* SPDX-License-Identifier: Apache-2.0 */
/* sim.c - the public door: build a world from a seed, run it, report, take it down.     [sim.h] */
#include "kelp/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"
#include "sim/run.h"
#include "sim/trace.h"
#include "sim/world.h"

_Static_assert(KELP_SIM_MIX_COUNT == MACHINE_KINDS + 1, "a mix is a kind, or the seed's");
_Static_assert(FAULT_COUNT <= KELP_SIM_FAULTS_MAX, "every fault is counted");
_Static_assert(KELP_EVENT_COUNT <= KELP_SIM_MARKS_MAX, "every event has its mark");

#define SECOND       ((kelp_ns)1000000000)
#define WALL_UNIX_MS 1700000000000u

struct kelp_sim_options kelp_sim_options_default(void)
{
    return (struct kelp_sim_options){
        .size = sizeof(struct kelp_sim_options),
        .hurt = 60 * SECOND,
        .heal = 60 * SECOND,
        .wall_unix_ms = WALL_UNIX_MS,
    };
}

/* ---- an assertion inside a node tells the seed before it traps ---- */

static const struct world *running;

static void assertion_failed(const char *expression, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    if (running == NULL) return;
    (void)fprintf(stderr, "seed %llu events %llu hash %016llx FAIL assertion\n",
                  (unsigned long long)running->seed, (unsigned long long)running->report->events,
                  (unsigned long long)running->hash);
    bool by_seed = running->options.machine == NULL && running->options.choices.data == NULL;
    if (by_seed && running->report->events > 1) /* else only its own program, or its case, can */
        (void)fprintf(stderr, "up to the event before: kelp sim run --seed %llu --until %llu\n",
                      (unsigned long long)running->seed,
                      (unsigned long long)running->report->events - 1);
}

/* ---- a world ---- */

/* Without a case the seed expands every stream without end. */
static void streams_make(struct world *w, const struct sim_play *play)
{
    struct prng seeds = {hash_mix(0x6b656c70, w->seed)};
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        struct draw *d = stream(w, (enum stream)i);
        d->expand.state = prng_next(&seeds);
        if (play->choices != NULL) {
            d->finite = true;
            d->bytes = play->choices->streams[i].data;
            d->len = play->choices->streams[i].len;
        }
        if (play->keep != NULL) d->kept = &play->keep->streams[i];
    }
}

static bool world_make(struct world *w)
{
    swarm_draw(&w->swarm, stream(w, STREAM_SWARM), w->options.nodes);
    if (w->options.broken == KELP_SIM_BREAK_DRIFT) swarm_drift(&w->swarm);
    if (w->options.together) swarm_together(&w->swarm);
    if (w->options.kills > 0) heir_swarm(w);
    for (unsigned kind = 0; w->options.mix != KELP_SIM_MIX_SEED && kind < MACHINE_KINDS; kind++)
        w->swarm.shares[kind] = kind + 1 == (unsigned)w->options.mix ? 100 : 0;
    if (w->options.mix != KELP_SIM_MIX_SEED) w->swarm.lent_share = 0;
    w->node_count = w->report->nodes = w->swarm.nodes;
    w->checker = checker_new(w->node_count);
    if (w->checker == NULL) return false;
    w->wrong_node = w->options.broken == KELP_SIM_BREAK_APPLY ? 1 : 0;
    w->machine = (struct kelp_sim_machine){.size = sizeof w->machine,
                                           .ctx = &w->wrong_node,
                                           .ops = w->swarm.snapshot_objects ? &machine_objects_ops
                                                                            : &machine_ops,
                                           .make = machine_make};
    if (w->options.machine != NULL) w->machine = *w->options.machine;
    if (w->options.model != NULL) {
        w->model = model_new(w->options.model, &w->machine, w->checker);
        if (w->model == NULL) return false;
    }
    net_make(w);
    trace_began(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        w->members[i].id = i + 1;
        (void)snprintf(w->members[i].peer.text, sizeof w->members[i].peer.text, "node-%u:7101",
                       i + 1);
        if (!node_make(w, i)) return false;
        world_push(w, draw_below(stream(w, STREAM_NODE), SECOND), EVENT_START, i, 0, NULL);
    }
    nemesis_start(w);
    return clients_make(w) && !world_failed(w);
}

static void world_unmake(struct world *w)
{
    clients_unmake(w);
    restorer_free(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        struct sim_disk_stats stats;
        if (w->nodes[i].disk != NULL) {
            sim_disk_stats(w->nodes[i].disk, &stats);
            w->report->torn_sectors += stats.sectors_torn;
        }
        node_unmake(&w->nodes[i]);
    }
    model_free(w->model); /* after the machines it watched */
    free(w->renewal.sums);
    net_unmake(w);
    heap_free(&w->heap);
    checker_free(w->checker);
}

static void workload_judge(struct world *w)
{
    const struct kelp_sim_workload *workload = w->options.workload;
    if (workload == NULL || workload->judge == NULL) return;
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        /* What was left outside may be behind: only whoever has everything is judged. */
        if (n->state != NODE_UP || rsm_applied(n->rsm).index != checker_commit(w->checker))
            continue;
        const char *wrong = workload->judge(workload->ctx, i + 1, n->machine);
        if (wrong != NULL) checker_fail(w->checker, RULE_W01, "node %u: %s", i + 1, wrong);
    }
}

static const char *options_wrong(const struct kelp_sim_options *o)
{
    if (o->size != sizeof *o) return "size is not sizeof(struct kelp_sim_options)";
    if (o->nodes > KELP_SIM_NODES_MAX) return "nodes is above KELP_SIM_NODES_MAX";
    if (o->kills > KELP_SIM_KILLS_MAX) return "kills is above KELP_SIM_KILLS_MAX";
    if (o->hurt == 0 || o->heal == 0) return "hurt and heal must be above 0";
    if ((unsigned)o->broken >= KELP_SIM_BREAK_COUNT)
        return "broken is not a rule that can be broken";
    if ((unsigned)o->mix >= KELP_SIM_MIX_COUNT) return "mix is not one of enum kelp_sim_mix";
    if ((o->machine == NULL) != (o->workload == NULL)) return "machine and workload come together";
    if (o->workload != NULL && o->workload->next == NULL) return "workload lacks next";
    if (o->machine != NULL && (o->machine->ops == NULL || o->machine->make == NULL))
        return "machine lacks ops or make";
    if (o->model != NULL && o->machine == NULL) return "a model needs a machine";
    if (o->model != NULL && o->restores) return "a model does not know what was restored";
    if (o->model != NULL && (o->model->ops == NULL || o->model->make == NULL))
        return "model lacks ops or make";
    return NULL;
}

static bool run_refused(struct kelp_sim_report *report, const char *invariant, const char *why)
{
    (void)snprintf(report->invariant, sizeof report->invariant, "%s", invariant);
    (void)snprintf(report->message, sizeof report->message, "%s", why);
    return false;
}

static void end_trace(struct world *w)
{
    char words[600];
    const struct kelp_sim_report *r = w->report;
    trace_settle(w);
    if (r->stopped) {
        trace_words(w, KELP_SIM_STOPPED, NODES_MAX, "stopped here");
    } else if (r->passed) {
        trace_words(w, KELP_SIM_PASSED, NODES_MAX, "everything demanded was there");
    } else {
        (void)snprintf(words, sizeof words, "%s: %s", r->invariant, r->message);
        trace_words(w, KELP_SIM_FAILED, NODES_MAX, words);
    }
}

bool sim_run(uint64_t seed, const struct kelp_sim_options *options, const struct sim_play *play,
             struct kelp_sim_report *report)
{
    memset(report, 0, sizeof *report);
    report->seed = seed;
    const char *wrong = options_wrong(options);
    if (wrong != NULL) return run_refused(report, "options", wrong);
    struct world *w = calloc(1, sizeof *w);
    if (w == NULL) return run_refused(report, "memory", "out of memory");
    w->options = *options;
    w->report = report;
    w->seed = seed;
    running = w;
    assert_hook_set(assertion_failed);
    streams_make(w, play);
    if (w->options.workload != NULL && w->options.workload->begin != NULL)
        w->options.workload->begin(w->options.workload->ctx);
    bool made = trace_make(w) && world_make(w);
    if (made && world_run(w) && !report->stopped) workload_judge(w);
    report->passed = made && !world_failed(w);
    report->hash = w->hash;
    if (w->checker != NULL) report->commits = checker_commit(w->checker);
    if (w->checker != NULL) report->lapsed = checker_lapsed(w->checker);
    if (w->checker != NULL && (!report->passed || report->stopped)) story_tell(w);
    if (made) end_trace(w);
    for (unsigned i = 0; play->used != NULL && i < STREAM_COUNT; i++)
        play->used[i] = stream(w, (enum stream)i)->at;
    trace_unmake(w);
    world_unmake(w);
    assert_hook_set(NULL);
    running = NULL;
    free(w);
    return report->passed;
}

bool kelp_sim_run(uint64_t seed, const struct kelp_sim_options *options,
                  struct kelp_sim_report *report)
{
    struct kelp_sim_options defaults = kelp_sim_options_default();
    if (options == NULL) options = &defaults;
    if (options->choices.data == NULL) return sim_run(seed, options, &(struct sim_play){0}, report);
    struct draw_case choices;
    if (!draw_case_read(&choices, options->choices.data, options->choices.len)) {
        memset(report, 0, sizeof *report);
        return run_refused(report, "options", "choices unpack to too many bytes");
    }
    bool passed = sim_run(seed, options, &(struct sim_play){.choices = &choices}, report);
    draw_case_free(&choices);
    return passed;
}

/* ---- lines ---- */

size_t kelp_sim_line(const struct kelp_sim_report *report, char *out, size_t size)
{
    int len = snprintf(out, size, "seed %llu events %llu hash %016llx %s%s",
                       (unsigned long long)report->seed, (unsigned long long)report->events,
                       (unsigned long long)report->hash,
                       report->stopped  ? "STOPPED"
                       : report->passed ? "PASS"
                                        : "FAIL ",
                       report->passed ? "" : report->invariant);
    return len > 0 ? (size_t)len : 0;
}

void kelp_sim_add(struct kelp_sim_total *total, const struct kelp_sim_report *report)
{
    total->seeds++;
    total->failed += !report->passed;
    total->events += report->events;
    total->faults += report->faults;
    total->requests += report->requests;
    total->done += report->done;
    total->crashes += report->crashes;
    total->simulated += report->simulated;
    total->disk_harms += report->disk_harms;
    total->halts += report->halts;
    total->kills += report->kills;
    total->heir_worst = max_u64(total->heir_worst, report->heir_worst);
    total->changes += report->changes;
    total->changes_done += report->changes_done;
    total->rotted += report->rotted;
    total->rejoined += report->rejoined;
    total->retried += report->retried;
    total->lapsed += report->lapsed;
    total->snapshots += report->snapshots;
    total->snapshots_installed += report->snapshots_installed;
    total->together += report->retried > 0 && report->lapsed > 0 && report->snapshots > 0;
    total->renewals += report->renewals;
    total->outdated += report->outdated;
    total->cores += report->core > 0;
    total->leaders_soon += report->core > 0 && report->leader_soon;
    for (unsigned i = 0; i < KELP_SIM_FAULTS_MAX; i++)
        total->fault_kinds[i] += report->fault_kinds[i];
    for (unsigned i = 0; i < KELP_SIM_MARKS_MAX; i++)
        total->marks[i] += report->marks[i];
}

size_t kelp_sim_total_line(const struct kelp_sim_total *total, uint64_t wall_ns, char *out,
                           size_t size)
{
    char verdict[32] = "PASS";
    if (total->failed > 0)
        (void)snprintf(verdict, sizeof verdict, "FAIL %llu", (unsigned long long)total->failed);
    int len = snprintf(out, size, "%llu seeds, %llu events, %llu faults, %s, %llu x real time",
                       (unsigned long long)total->seeds, (unsigned long long)total->events,
                       (unsigned long long)total->faults, verdict,
                       (unsigned long long)(total->simulated / max_u64(wall_ns, 1)));
    return len > 0 ? (size_t)len : 0;
}

size_t kelp_sim_unmarked(const struct kelp_sim_total *total,
                         void (*print)(void *ctx, const char *name), void *ctx)
{
    size_t count = 0;
    for (unsigned i = KELP_EV_NONE + 1; i < KELP_EVENT_COUNT; i++) {
        if (total->marks[i] > 0) continue;
        print(ctx, kelp_event_name((enum kelp_event_type)i));
        count++;
    }
    return count;
}
