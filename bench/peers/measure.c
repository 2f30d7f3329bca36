/* SPDX-License-Identifier: Apache-2.0 */
/* measure.c - arguments, histogram, costs and the JSON line of the drivers; see measure.h.
 *
 * Costs are read from outside the processes they belong to: the CPU clock of a process by its id,
 * its context switches from /proc, the flushes of the disk from /sys. So the library in a node, a
 * server we did not write and a follower are all measured in one way, at one moment. */
#define _GNU_SOURCE
#include "measure.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND 1000000000ULL
#define SECONDS_MAX   86400.0

static const char usage_text[] =
    "usage: %s --in-flight K --value BYTES --seconds S --dir DIR [--nodes 3] [--warm-up 0]\n"
    "          [--snapshot-threshold ENTRIES]\n"
    "Starts the nodes as processes on 127.0.0.1 with their data in DIR/node-N (none may be there\n"
    "yet), keeps K operations open in the leader, checks on every node that what it counted was\n"
    "applied, and prints one JSON line. Exit status: 0 verified, 1 not, 2 wrong usage.\n";

/* ---- arguments --------------------------------------------------------------------------- */

static bool parse_count(const char *name, const char *text, uint64_t min, uint64_t max,
                        uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && value >= min &&
        value <= max) {
        *out = value;
        return true;
    }
    fprintf(stderr, "--%s is %s; it must be %" PRIu64 "..%" PRIu64 "\n", name, text, min, max);
    return false;
}

static bool parse_seconds(const char *name, const char *text, double min, uint64_t *out_ns)
{
    char *end;
    double value = strtod(text, &end);
    if (end != text && *end == '\0' && value >= min && value <= SECONDS_MAX) {
        *out_ns = (uint64_t)(value * (double)NS_PER_SECOND);
        return true;
    }
    fprintf(stderr, "--%s is %s; it must be %g..%g seconds\n", name, text, min, SECONDS_MAX);
    return false;
}

static bool option_take(int option, const char *name, const char *text, struct measure_options *o)
{
    uint64_t value = 0;
    bool good = false;
    switch (option) {
    case 'n':
        good = parse_count(name, text, 1, NODES_MAX, &value);
        o->nodes = (unsigned)value;
        return good;
    case 'k':
        good = parse_count(name, text, 1, IN_FLIGHT_MAX, &value);
        o->in_flight = (unsigned)value;
        return good;
    case 'v':
        good = parse_count(name, text, VALUE_BYTES_MIN, VALUE_BYTES_MAX, &value);
        o->value_bytes = (size_t)value;
        return good;
    case 't':
        good = parse_count(name, text, 1, UINT32_MAX, &value);
        o->snapshot_threshold = (unsigned)value;
        return good;
    case 's': return parse_seconds(name, text, 0.001, &o->measured_ns);
    case 'w': return parse_seconds(name, text, 0, &o->warm_up_ns);
    case 'd': o->dir = text; return true;
    default: return false;
    }
}

bool options_parse(int argc, char **argv, struct measure_options *options, int *status)
{
    static const struct option known[] = {
        {"nodes", required_argument, NULL, 'n'},
        {"in-flight", required_argument, NULL, 'k'},
        {"value", required_argument, NULL, 'v'},
        {"snapshot-threshold", required_argument, NULL, 't'},
        {"seconds", required_argument, NULL, 's'},
        {"warm-up", required_argument, NULL, 'w'},
        {"dir", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct measure_options){.nodes = 3};
    *status = 2;
    int position = 0;
    for (int option; (option = getopt_long(argc, argv, "", known, &position)) != -1;) {
        if (option == 'h') {
            printf(usage_text, argv[0]);
            *status = 0;
            return false;
        }
        if (option == '?' || !option_take(option, known[position].name, optarg, options)) {
            return false;
        }
    }
    if (optind == argc && options->in_flight != 0 && options->value_bytes != 0 &&
        options->measured_ns != 0 && options->dir != NULL) {
        return true;
    }
    fprintf(stderr, usage_text, argv[0]);
    return false;
}

/* ---- histogram --------------------------------------------------------------------------- */

static size_t bucket_of(uint64_t ns)
{
    const uint64_t exact = 1U << HISTOGRAM_SUB_BITS;
    if (ns < exact) return (size_t)ns;
    unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
    return (size_t)(((uint64_t)shift << HISTOGRAM_SUB_BITS) + (ns >> shift));
}

static uint64_t bucket_top(size_t bucket)
{
    const size_t exact = 1U << HISTOGRAM_SUB_BITS;
    if (bucket < 2 * exact) return bucket;
    unsigned shift = (unsigned)(bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t head = bucket - ((size_t)shift << HISTOGRAM_SUB_BITS);
    return (head << shift) + ((UINT64_C(1) << shift) - 1);
}

void histogram_record(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    if (ns > histogram->max_ns) histogram->max_ns = ns;
    histogram->buckets[bucket_of(ns)]++;
}

double histogram_us(const struct histogram *histogram, double share)
{
    uint64_t below = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += histogram->buckets[i];
        if (below != 0 && (double)below >= share * (double)histogram->count) {
            uint64_t top = bucket_top(i);
            return (double)(top < histogram->max_ns ? top : histogram->max_ns) / 1e3;
        }
    }
    return 0; /* nothing was recorded */
}

/* ---- costs ------------------------------------------------------------------------------- */

uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* Both kinds of context switches of one thread; false if it has ended meanwhile. */
static bool thread_switches(const char *path, uint64_t *switches)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t count;
        if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &count) == 1 ||
            sscanf(line, "nonvoluntary_ctxt_switches: %" SCNu64, &count) == 1) {
            *switches += count;
        }
    }
    fclose(file);
    return true;
}

static bool process_usage(pid_t pid, struct usage *usage)
{
    clockid_t clock;
    struct timespec cpu;
    int error = clock_getcpuclockid(pid, &clock);
    if (error != 0) {
        errno = error;
        return false;
    }
    if (clock_gettime(clock, &cpu) != 0) return false;
    usage->cpu_ns += (uint64_t)cpu.tv_sec * NS_PER_SECOND + (uint64_t)cpu.tv_nsec;

    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) return false;
    for (const struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char status[384];
        if (task->d_name[0] == '.') continue;
        snprintf(status, sizeof status, "%s/%s/status", path, task->d_name);
        (void)thread_switches(status,
                              &usage->context_switches); /* an ended thread counts no more */
    }
    closedir(tasks);
    return true;
}

/* The 16th number of a disk's `stat` counts its flushes; only the whole disk has it, so a partition
 * asks its parent. A file system without a disk (tmpfs, overlay) has none. */
static bool disk_flushes(const char *dir, struct usage *usage)
{
    struct stat at;
    if (stat(dir, &at) != 0) return false;
    char path[128];
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/partition", major(at.st_dev),
             minor(at.st_dev));
    const char *up = access(path, F_OK) == 0 ? "/.." : "";
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u%s/stat", major(at.st_dev), minor(at.st_dev),
             up);
    FILE *file = fopen(path, "re");
    if (file == NULL) return errno == ENOENT;
    uint64_t number = 0;
    unsigned read = 0;
    while (read < 16 && fscanf(file, "%" SCNu64, &number) == 1)
        read++;
    fclose(file);
    usage->flushes_known = read == 16;
    usage->device_flushes = read == 16 ? number : 0;
    return true;
}

bool usage_read(const pid_t pids[], unsigned count, const char *dir, struct usage *usage)
{
    *usage = (struct usage){0};
    for (unsigned i = 0; i < count; i++) {
        if (!process_usage(pids[i], usage)) return false;
    }
    return disk_flushes(dir, usage);
}

struct usage usage_between(const struct usage *begin, const struct usage *end)
{
    return (struct usage){
        .cpu_ns = end->cpu_ns - begin->cpu_ns,
        .context_switches = end->context_switches - begin->context_switches,
        .device_flushes = end->device_flushes - begin->device_flushes,
        .flushes_known = begin->flushes_known && end->flushes_known,
    };
}

/* ---- the result -------------------------------------------------------------------------- */

void measured_fill(struct measured *measured, const struct histogram *histogram)
{
    measured->operations = histogram->count;
    measured->p50_us = histogram_us(histogram, 0.5);
    measured->p90_us = histogram_us(histogram, 0.9);
    measured->p99_us = histogram_us(histogram, 0.99);
    measured->p999_us = histogram_us(histogram, 0.999);
    measured->max_us = (double)histogram->max_ns / 1e3;
}

void measured_print(const char *system, const char *version, const char *sync,
                    const struct measure_options *options, const struct measured *measured,
                    bool verified)
{
    double operations = measured->operations == 0 ? 1 : (double)measured->operations;
    printf("{\"system\":\"%s\",\"version\":\"%s\",\"nodes\":%u,\"in_flight\":%u,\"value\":%zu",
           system, version, options->nodes, options->in_flight, options->value_bytes);
    printf(",\"seconds\":%.6f,\"operations\":%" PRIu64, (double)measured->elapsed_ns / 1e9,
           measured->operations);
    printf(",\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f",
           measured->p50_us, measured->p90_us, measured->p99_us, measured->p999_us,
           measured->max_us);
    printf(",\"cpu_us_per_operation\":%.3f,\"context_switches_per_operation\":%.3f",
           (double)measured->used.cpu_ns / 1e3 / operations,
           (double)measured->used.context_switches / operations);
    if (measured->used.flushes_known) {
        printf(",\"device_flushes_per_operation\":%.3f",
               (double)measured->used.device_flushes / operations);
    }
    if (options->snapshot_threshold != 0) {
        printf(",\"snapshot_threshold\":%u", options->snapshot_threshold);
    }
    printf(",\"sync\":\"%s\",\"verified\":%s}\n", sync, verified ? "true" : "false");
}
