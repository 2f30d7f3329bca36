/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h - what every measured program of ours shares: one command line, one JSON line.
 *
 * A program starts the whole cluster itself, a process a node, on 127.0.0.1. The coordinator (the
 * process that was started) forks them, reads their processor time and context switches when the
 * measured window begins and ends, and judges at the end whether what was counted really happened.
 * It does nothing in between, and is not counted. What the processes tell each other about the
 * measurement lies in memory they share; what they do for the operations goes through sockets.
 *
 *   coordinator --fork--> node 1 .. N
 *   the node that leads: 'B' window begins, 'E' window ends, 'D' nothing is in flight any more
 *   coordinator: waits until every node has applied what was acknowledged, closes the stop pipe
 *   every node: looks at what it has on disk, says whether it is intact, ends */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdatomic.h>
#include <stdio.h>

#include "base/hist.h"
#include "kelp/types.h"

#define BENCH_NODES_MAX 9u
#define BENCH_VALUE_MIN 16u /* an operation's number and some filler */
#define BENCH_VALUE_MAX (1u << 20)
#define BENCH_PATH_MAX  512u

struct bench_options {
    uint64_t nodes, in_flight, value_bytes;
    uint64_t warm_up_ns, seconds_ns;
    uint64_t front; /* a RESP port instead of a load of our own; 0: none */
    bool alone;     /* every node by itself: nothing is replicated */
    const char *dir;
};

struct bench_node {
    _Atomic uint64_t applied; /* operations */
    _Atomic uint64_t state;   /* a hash of all of them, in order */
    _Atomic uint64_t counted; /* operations in the window, where every node has its own */
    atomic_bool intact;       /* what is on disk reads back; set before the process ends */
};

/* Shared by all processes of a run. Operations are counted in the window only; what is
 * acknowledged is counted from the first one to the last. */
struct bench_shared {
    struct bench_node nodes[BENCH_NODES_MAX + 1]; /* by id; place 0 is empty */
    _Atomic uint64_t leader;                      /* 0: nobody yet */
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t operations;
    _Atomic uint64_t window_ns; /* how long it really was */
    atomic_bool failed;         /* an operation had another outcome than done */
    atomic_bool counting;       /* alone: node 1 is in its window, so all are */
    uint16_t ports[BENCH_NODES_MAX + 1];
    struct hist latency; /* ns; written by the leader only */
};

/* A node's view of the run. */
struct bench_run {
    const struct bench_options *options;
    struct bench_shared *shared;
    uint32_t id;
    int marks;                /* the leader's marks go in here */
    int stopped;              /* readable once the run is over */
    char dir[BENCH_PATH_MAX]; /* this node's own, empty */
};

struct bench_program {
    const char *system, *version;
    bool has_front;                     /* and can be alone */
    int (*node)(struct bench_run *run); /* a node's whole life; 0 when all went well */
};

/* bench_main - the whole program; returns its exit status: 0 verified, 1 not, 2 wrong usage. */
int bench_main(const struct bench_program *program, int argc, char **argv);

/* bench_mark - tell the coordinator; a node's threads may call it. */
void bench_mark(const struct bench_run *run, char mark);

uint64_t bench_now_ns(void); /* a clock that only grows */

/* bench_value - the bytes of operation number n; out has the value's size. */
void bench_value(uint64_t n, uint8_t *out, size_t bytes);

/* bench_state - what applying bytes to a state gives. */
uint64_t bench_state(uint64_t state, struct kelp_bytes bytes);

/* The closed loop's clock: begins the window when the warm-up is over, ends it in time. */
enum bench_phase { BENCH_WARM_UP, BENCH_WINDOW, BENCH_OVER };

struct bench_clock {
    enum bench_phase phase;
    uint64_t began_ns, window_ns; /* when the phase began */
};

/* bench_clock_tick - the phase at now; marks its changes. */
enum bench_phase bench_clock_tick(struct bench_clock *clock, const struct bench_run *run,
                                  uint64_t now);

#endif
