/* SPDX-License-Identifier: Apache-2.0 */
/* cycle.c - strongly connected parts first, in linear time; then, inside the first part that has
 * more than one node, the shortest way from a node back to itself: first only a few steps far from
 * every node, then twice as far. Every cycle of our graphs passes a counted node, and each round
 * has a budget of edges: a cycle is always found, the very shortest nearly always. */
#include "sim/cycle.h"

#include <stdlib.h>

#define EDGES_WALKED_MAX 2000000u

struct work {
    const struct cycle_graph *g;
    size_t *begin;   /* by node: its edges */
    size_t *next;    /* the walk's next edge of a node */
    uint32_t *low;   /* Tarjan's low link */
    uint32_t *seen;  /* order of the first visit, 0: none */
    uint32_t *part;  /* number of its part, 0: none yet */
    uint32_t *stack; /* nodes without a part */
    uint32_t *path;  /* of the walk */
    uint32_t *queue; /* of the search: room at both ends */
    uint32_t *from;  /* the search came from there */
    uint32_t *far;   /* counted nodes on the way, UINT32_MAX: not reached */
    uint32_t *reached;
};

static int by_from(const void *a, const void *b)
{
    const struct cycle_edge *x = a, *y = b;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

static bool work_make(struct work *w, struct cycle_graph *g)
{
    size_t n = (size_t)g->nodes + 2;
    *w = (struct work){.g = g,
                       .begin = calloc(n, sizeof *w->begin),
                       .next = calloc(n, sizeof *w->next),
                       .low = calloc(n, sizeof *w->low),
                       .seen = calloc(n, sizeof *w->seen),
                       .part = calloc(n, sizeof *w->part),
                       .stack = calloc(n, sizeof *w->stack),
                       .path = calloc(n, sizeof *w->path),
                       .queue = calloc(2 * (g->edge_count + n), sizeof *w->queue),
                       .from = calloc(n, sizeof *w->from),
                       .far = calloc(n, sizeof *w->far),
                       .reached = calloc(n, sizeof *w->reached)};
    if (w->begin == NULL || w->next == NULL || w->low == NULL || w->seen == NULL ||
        w->part == NULL || w->stack == NULL || w->path == NULL || w->queue == NULL ||
        w->from == NULL || w->far == NULL || w->reached == NULL)
        return false;
    qsort(g->edges, g->edge_count, sizeof *g->edges, by_from);
    for (size_t i = 0; i < g->edge_count; i++)
        w->begin[g->edges[i].from + 1]++;
    for (uint32_t i = 0; i < g->nodes; i++) {
        w->begin[i + 1] += w->begin[i];
        w->far[i] = UINT32_MAX;
    }
    return true;
}

static void work_free(struct work *w)
{
    free(w->begin);
    free(w->next);
    free(w->low);
    free(w->seen);
    free(w->part);
    free(w->stack);
    free(w->path);
    free(w->queue);
    free(w->from);
    free(w->far);
    free(w->reached);
}

/* Walk from root; the number of the first part with more than one node, 0: none. */
static uint32_t walk(struct work *w, uint32_t root, uint32_t *visits, size_t *waiting,
                     uint32_t *parts)
{
    size_t depth = 0;
    w->path[depth++] = root;
    w->seen[root] = w->low[root] = ++*visits;
    w->next[root] = w->begin[root];
    w->stack[(*waiting)++] = root;
    while (depth > 0) {
        uint32_t node = w->path[depth - 1];
        if (w->next[node] < w->begin[node + 1]) {
            uint32_t to = w->g->edges[w->next[node]++].to;
            if (w->seen[to] == 0) {
                w->seen[to] = w->low[to] = ++*visits;
                w->next[to] = w->begin[to];
                w->stack[(*waiting)++] = to;
                w->path[depth++] = to;
            } else if (w->part[to] == 0 && w->seen[to] < w->low[node]) {
                w->low[node] = w->seen[to];
            }
            continue;
        }
        depth--;
        if (depth > 0 && w->low[node] < w->low[w->path[depth - 1]])
            w->low[w->path[depth - 1]] = w->low[node];
        if (w->low[node] != w->seen[node]) continue;
        uint32_t part = ++*parts, size = 0;
        do
            w->part[w->stack[--*waiting]] = part, size++;
        while (w->stack[*waiting] != node);
        if (size > 1) return part;
    }
    return 0;
}

/* The shortest way from start back to itself within its part, 0: it is not below best. Edges to
 * counted nodes count one, the others nothing, so the queue takes those in front. */
static uint32_t around(struct work *w, uint32_t start, uint32_t best, size_t *walked)
{
    const struct cycle_graph *g = w->g;
    size_t front = g->edge_count + g->nodes, back = front, reached = 0;
    uint32_t length = 0;
    w->queue[back++] = start;
    w->far[start] = 0;
    w->reached[reached++] = start;
    while (front < back && length == 0) {
        uint32_t node = w->queue[front++];
        if (w->far[node] + 1 >= best) continue;
        for (size_t e = w->begin[node]; e < w->begin[node + 1]; e++, ++*walked) {
            uint32_t to = g->edges[e].to, cost = to < g->counted, far = w->far[node] + cost;
            if (w->part[to] != w->part[start]) continue;
            if (to == start) {
                w->from[g->nodes] = node;
                length = far;
                break;
            }
            if (far >= w->far[to]) continue;
            if (w->far[to] == UINT32_MAX) w->reached[reached++] = to;
            w->far[to] = far;
            w->from[to] = node;
            if (cost == 0)
                w->queue[--front] = to;
            else
                w->queue[back++] = to;
        }
    }
    while (reached > 0)
        w->far[w->reached[--reached]] = UINT32_MAX;
    return length;
}

static void cycle_tell(const struct work *w, uint32_t start, uint32_t length, uint32_t *out,
                       size_t room)
{
    uint32_t at = length;
    for (uint32_t node = w->from[w->g->nodes]; node != start; node = w->from[node]) {
        if (node >= w->g->counted) continue;
        if (--at < room) out[at] = node;
    }
    if (room > 0) out[0] = start;
}

long cycle_find(struct cycle_graph *g, uint32_t *out, size_t room)
{
    struct work w;
    if (!work_make(&w, g)) {
        work_free(&w);
        return -1;
    }
    uint32_t visits = 0, parts = 0, found = 0, best = UINT32_MAX;
    size_t waiting = 0;
    for (uint32_t node = 0; node < g->nodes && found == 0; node++) {
        if (w.seen[node] == 0) found = walk(&w, node, &visits, &waiting, &parts);
    }
    for (uint32_t limit = 4; found != 0 && best == UINT32_MAX; limit *= 2) {
        bool last = limit > g->counted;
        best = last ? UINT32_MAX : limit;
        size_t walked = 0;
        bool any = false;
        for (uint32_t node = 0; node < g->counted; node++) {
            if (w.part[node] != found) continue;
            uint32_t length = around(&w, node, best, &walked);
            if (length != 0) {
                any = true;
                best = length;
                cycle_tell(&w, node, length, out, room);
            }
            if (walked > EDGES_WALKED_MAX && (any || !last)) break;
        }
        if (!any) best = UINT32_MAX;
    }
    work_free(&w);
    return found != 0 ? (long)best : 0;
}
