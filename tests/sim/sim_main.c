/* SPDX-License-Identifier: Apache-2.0 */
/* sim_main.c - runs seeds from a shell, for those who work on the simulator itself.
 *
 * sim_main FIRST [COUNT] [trace] [broken=N] [mix=N] [nodes=N] [wall=MS]. Prints a line for a single
 * seed, every failure whole, and the total with the events that were never hit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kelp/sim.h"

static void print_record(void *ctx, const struct kelp_sim_event *event)
{
    char line[KELP_SIM_JSON_MAX];
    (void)ctx;
    (void)kelp_sim_event_json(event, line, sizeof line);
    (void)puts(line);
}

static void print_mark(void *ctx, const char *name)
{
    (void)ctx;
    (void)printf("never hit: %s\n", name);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void print_counts(const struct kelp_sim_report *r)
{
    (void)printf("nodes %u, %llu requests: %llu done, %llu refused, %llu lost, %llu unknown, %llu "
                 "abandoned; %llu commits, %llu elections, %llu restarts, %llu snapshots "
                 "in %llu pieces, %llu dropped, %llu past saves, "
                 "%llu torn sectors, %llu crashes in recovery, %llu frames, %llu lost, %llu again, "
                 "%llu damaged, %llu faults\n",
                 r->nodes, (unsigned long long)r->requests, (unsigned long long)r->done,
                 (unsigned long long)r->refused, (unsigned long long)r->lost,
                 (unsigned long long)r->unknown, (unsigned long long)r->abandoned,
                 (unsigned long long)r->commits, (unsigned long long)r->elections,
                 (unsigned long long)r->restarts, (unsigned long long)r->snapshots,
                 (unsigned long long)r->snapshot_pieces, (unsigned long long)r->snapshots_dropped,
                 (unsigned long long)r->snapshots_past, (unsigned long long)r->torn_sectors,
                 (unsigned long long)r->recovery_crashes, (unsigned long long)r->frames,
                 (unsigned long long)r->frames_lost, (unsigned long long)r->frames_repeated,
                 (unsigned long long)r->frames_damaged, (unsigned long long)r->faults);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr,
                      "usage: sim_main FIRST [COUNT] [trace] [broken=N] [mix=N] [nodes=N]\n");
        return 2;
    }
    struct kelp_sim_options options = kelp_sim_options_default();
    uint64_t first = strtoull(argv[1], NULL, 0), count = 1;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "trace") == 0)
            options.trace = print_record;
        else if (strncmp(argv[i], "broken=", 7) == 0)
            options.broken = (enum kelp_sim_break)strtoul(argv[i] + 7, NULL, 10);
        else if (strncmp(argv[i], "mix=", 4) == 0)
            options.mix = (enum kelp_sim_mix)strtoul(argv[i] + 4, NULL, 10);
        else if (strncmp(argv[i], "nodes=", 6) == 0)
            options.nodes = (uint32_t)strtoul(argv[i] + 6, NULL, 10);
        else if (strncmp(argv[i], "wall=", 5) == 0)
            options.wall_unix_ms = strtoull(argv[i] + 5, NULL, 10);
        else
            count = strtoull(argv[i], NULL, 0);
    }
    static struct kelp_sim_report report;
    static struct kelp_sim_total total;
    char line[KELP_SIM_LINE_MAX];
    uint64_t began = now_ns();
    for (uint64_t seed = first; seed < first + count; seed++) {
        bool passed = kelp_sim_run(seed, &options, &report);
        kelp_sim_add(&total, &report);
        (void)kelp_sim_line(&report, line, sizeof line);
        if (count == 1 || !passed) (void)puts(line);
        if (!passed) (void)puts(report.story);
        if (count == 1) print_counts(&report);
        (void)fflush(stdout);
    }
    (void)kelp_sim_total_line(&total, now_ns() - began, line, sizeof line);
    (void)puts(line);
    if (count >= 100) (void)kelp_sim_unmarked(&total, print_mark, NULL);
    return total.failed == 0 ? 0 : 1;
}
