/* SPDX-License-Identifier: Apache-2.0 */
/* simulator.c - how fast the simulator is, as an embedder sees it: libkelp.a and <kelp/sim.h>.
 *
 *   bench-simulator [--nodes 5] [--seconds 5] [--seed 1]      one line of JSON
 *
 * Seeds are played one after the other in one thread until the time is over. A figure counts only
 * if every seed passed; how eventful the runs were stands beside it, since doing little is fast. Of
 * the processor time of this thread, not of the clock on the wall: it is a figure for one core, and
 * nothing in a run waits. Exit status: 0 verified, 1 not, 2 wrong usage. */
#include <kelp/sim.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_NS 1000000000u
#define SEEDS_MAX 1000000u

static uint64_t clock_ns(clockid_t which)
{
    struct timespec now;
    (void)clock_gettime(which, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static bool number_of(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 9) return false;
    *out = strtoull(text, &end, 10);
    return *end == '\0' && *out >= low && *out <= high;
}

static bool options_parse(int argc, char **argv, uint64_t *nodes, uint64_t *seconds, uint64_t *seed)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        bool good = false;
        if (strcmp(name, "--nodes") == 0) good = number_of(value, 1, KELP_SIM_NODES_MAX, nodes);
        if (strcmp(name, "--seconds") == 0) good = number_of(value, 1, 3600, seconds);
        if (strcmp(name, "--seed") == 0) good = number_of(value, 0, 999999999, seed);
        if (good) continue;
        (void)fprintf(stderr, "bench-simulator: %s %s: no such option, or a value out of range\n",
                      name, value);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct kelp_sim_report report; /* large */
    static struct kelp_sim_total total;
    uint64_t nodes = 5, seconds = 5, seed = 1;
    if (!options_parse(argc, argv, &nodes, &seconds, &seed)) {
        (void)fprintf(stderr, "usage: bench-simulator [--nodes 5] [--seconds 5] [--seed 1]\n");
        return 2;
    }
    struct kelp_sim_options options = kelp_sim_options_default();
    options.nodes = (uint32_t)nodes;
    uint64_t began = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), wall = 0;
    while (total.seeds < SEEDS_MAX && wall < seconds * SECOND_NS) {
        if (!kelp_sim_run(seed + total.seeds, &options, &report))
            (void)fprintf(stderr, "bench-simulator: seed %llu: %s: %s\n",
                          (unsigned long long)(seed + total.seeds), report.invariant,
                          report.message);
        kelp_sim_add(&total, &report);
        wall = clock_ns(CLOCK_MONOTONIC) - began;
    }
    cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    double simulated = (double)total.simulated / SECOND_NS, busy = (double)cpu / SECOND_NS;
    bool verified = total.failed == 0 && cpu > 0;
    (void)printf("{\"system\":\"kelp\",\"version\":\"%s\",\"nodes\":%llu,\"seeds\":%llu,"
                 "\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"simulated_seconds\":%.1f,"
                 "\"operations\":%llu,\"per_second\":%.1f,\"times_real_time\":%.1f,"
                 "\"requests_per_simulated_second\":%.2f,\"faults_per_simulated_second\":%.2f,"
                 "\"verified\":%s}\n",
                 KELP_VERSION, (unsigned long long)nodes, (unsigned long long)total.seeds,
                 (double)wall / SECOND_NS, busy, simulated, (unsigned long long)total.events,
                 (double)total.events / busy, simulated / busy, (double)total.requests / simulated,
                 (double)total.faults / simulated, verified ? "true" : "false");
    return verified ? 0 : 1;
}
