/* SPDX-License-Identifier: Apache-2.0 */
/* demo.h - what the demo's two halves share: the run (demo.c) and the reckoning (reckon.c). */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H

#include "cli/load.h"

#define DEMO_KEYS  10000u
#define DEMO_NODES 3u

/* What reading everything back through every node showed. */
struct reckoning {
    unsigned found[DEMO_NODES + 1]; /* acknowledged keys with their value, by node */
    unsigned lost;     /* acknowledged and not there, or with another value, anywhere */
    unsigned happened; /* uncertain keys that are there */
    unsigned split;    /* uncertain keys that not every node answers the same */
    uint64_t index;    /* where all hashes were taken */
    char hash[DEMO_NODES + 1][32];
    bool equal;
    char error[1000]; /* why it could not be done; empty: it was */
};

/* reckon - read every key back through every node and compare the nodes' state hashes at one index;
 * deadline_ms by print_now_ms. */
void reckon(const struct load *l, uint64_t deadline_ms, struct reckoning *out);

#endif
