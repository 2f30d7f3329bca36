/* SPDX-License-Identifier: Apache-2.0 */
/* measure.h - what every driver of a peer does alike: arguments, histogram, costs, the JSON line.
 *
 * The Go drivers have the same in measure/measure.go: same options, same buckets, same names in the
 * result, so that a line of one can stand beside a line of the other. Nothing here knows which
 * system is measured. */
#ifndef PEERS_MEASURE_H
#define PEERS_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NODES_MAX       9
#define IN_FLIGHT_MAX   100000
#define VALUE_BYTES_MIN 8 /* room for the number of the operation */
#define VALUE_BYTES_MAX (8U << 20)

struct measure_options {
    unsigned nodes;
    unsigned in_flight;
    size_t value_bytes;
    uint64_t measured_ns;
    uint64_t warm_up_ns;
    unsigned snapshot_threshold; /* entries between two snapshots; 0 leaves the library's default */
    const char *dir;             /* borrowed from argv */
};

/* 128 buckets for each power of two: a percentile is at most 0.8 % too high, never too low. */
#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* What a set of processes has used since they started, and the disk since the machine did. */
struct usage {
    uint64_t cpu_ns;           /* user and system, all threads */
    uint64_t context_switches; /* voluntary and not, of the threads alive now */
    uint64_t device_flushes;   /* of the whole disk under the directory, whoever asked for them */
    bool flushes_known;        /* false: no block device under the directory */
};

struct measured {
    uint64_t operations; /* that completed inside the window */
    uint64_t elapsed_ns; /* of the window */
    double p50_us, p90_us, p99_us, p999_us, max_us;
    struct usage used; /* inside the window */
};

/* options_parse - the common arguments; prints what is wrong, with its value, to stderr.
 * returns  false when the program must end with `*status` (0 after --help, 2 after a mistake) */
bool options_parse(int argc, char **argv, struct measure_options *options, int *status);

void histogram_record(struct histogram *histogram, uint64_t ns);

/* histogram_us - the latency that `share` (0..1] of all operations did not exceed. */
double histogram_us(const struct histogram *histogram, double share);

/* usage_read - one sample over all `pids`.
 * returns  false, with errno, when a process or the disk's counters cannot be read */
bool usage_read(const pid_t pids[], unsigned count, const char *dir, struct usage *usage);

/* usage_between - `end` less `begin`. */
struct usage usage_between(const struct usage *begin, const struct usage *end);

/* measured_fill - percentiles of the histogram into the result. */
void measured_fill(struct measured *measured, const struct histogram *histogram);

/* measured_print - the one line on stdout. `verified` is what the driver found, nothing else. */
void measured_print(const char *system, const char *version, const char *sync,
                    const struct measure_options *options, const struct measured *measured,
                    bool verified);

uint64_t monotonic_ns(void);

#endif
