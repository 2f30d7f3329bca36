/* SPDX-License-Identifier: Apache-2.0 */
/* cycle.h - is there a cycle in a graph of dependencies, and which is the shortest?
 *
 * Nodes are numbers; those below `counted` stand for something, the others only pass edges on (a
 * line of time, a meeting point), and are not counted in the length of a cycle. No recursion: a
 * history may be long. Source: Tarjan, "Depth-first search and linear graph algorithms", 1972. */
#ifndef SIM_CYCLE_H
#define SIM_CYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cycle_edge {
    uint32_t from, to;
};

struct cycle_graph {
    uint32_t nodes, counted;
    struct cycle_edge *edges; /* sorted by cycle_find */
    size_t edge_count;
};

/* cycle_find - the counted nodes of a cycle in its order into out, at most room of them. It is the
 * shortest one through any of the first nodes that lie on cycles. Returns its length, 0: there is
 * none; -1: no memory. */
long cycle_find(struct cycle_graph *g, uint32_t *out, size_t room);

#endif
