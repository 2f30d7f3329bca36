/* SPDX-License-Identifier: Apache-2.0 */
/* append.c - lists to which everybody appends something else: cycles of dependencies.
 *
 * A read shows a list from its beginning, so the longest read gives the order of what it shows, and
 * all other reads must be beginnings of it. That order and the clock make the edges:
 *
 *   ww  append of n -> append of n+1            wr  append of n -> a read that ends with it
 *   rw  a read that ends with n -> append of n+1     time  A -> B if A returned before B was called
 *
 * Appends that were done and are in no read come after the longest one; appends of unknown outcome
 * that are in no read did not happen as far as anybody can tell. There is an order that explains
 * everything if, and only if, there is no cycle: every topological order is one. Where appends
 * answer with the new length, those lengths are places too, and places that nobody was told of must
 * fit appends of unknown outcome. Time is one chain of moments, so the edges are linear in number.
 * Source of the idea: Kingsbury, Alvaro, "Elle", VLDB 2020. */
#include <stdio.h>
#include <stdlib.h>

#include "base/min.h"
#include "sim/cycle.h"
#include "sim/history.h"

struct element {
    uint64_t value;
    uint32_t by;    /* which append, a position in the part */
    uint64_t place; /* 0: not known */
};

struct moment {
    kelp_ns at;
    uint32_t by;
};

struct lists {
    const struct history_part *p;
    struct kelp_sim_verdict *v;
    struct element *elements;  /* of appends that were not refused, by value */
    struct element **in_order; /* those with a place */
    struct moment *returns;
    struct ledger_gap *gaps;
    kelp_ns *open_calls;
    size_t element_count, placed_count, return_count, lengths, done;
    size_t longest; /* position of the longest read, SIZE_MAX: none */
    struct cycle_graph graph;
    size_t edge_room;
};

static int by_value(const void *a, const void *b)
{
    const struct element *x = a, *y = b;
    return x->value < y->value ? -1 : x->value > y->value;
}

static int by_place(const void *a, const void *b)
{
    const struct element *x = *(struct element *const *)a, *y = *(struct element *const *)b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return x->by < y->by ? -1 : x->by > y->by;
}

static int by_at(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int by_time(const void *a, const void *b)
{
    kelp_ns x = *(const kelp_ns *)a, y = *(const kelp_ns *)b;
    return x < y ? -1 : x > y;
}

static bool reads(const struct kelp_sim_operation *o)
{
    return o->action != KELP_SIM_APPEND && o->said == KELP_SIM_OK;
}

static size_t length_of(const struct kelp_sim_operation *o)
{
    return o->action == KELP_SIM_LIST ? o->item_count : 0; /* a read of nothing is an empty list */
}

static struct element *element_of(const struct lists *l, uint64_t value)
{
    struct element wanted = {.value = value};
    return l->element_count == 0
               ? NULL
               : bsearch(&wanted, l->elements, l->element_count, sizeof *l->elements, by_value);
}

/* ---- the order of versions ---- */

static void collect(struct lists *l)
{
    l->longest = SIZE_MAX;
    for (size_t i = 0; i < l->p->count; i++) {
        const struct kelp_sim_operation *o = part_at(l->p, i);
        if (o->said == KELP_SIM_OK)
            l->returns[l->return_count++] = (struct moment){o->back, (uint32_t)i};
        if (reads(o) &&
            (l->longest == SIZE_MAX || length_of(o) > length_of(part_at(l->p, l->longest))))
            l->longest = i;
        if (o->action != KELP_SIM_APPEND || o->said == KELP_SIM_REFUSED) continue;
        l->elements[l->element_count++] = (struct element){o->value, (uint32_t)i, 0};
        l->done += o->said == KELP_SIM_OK;
        l->lengths += o->said == KELP_SIM_OK && o->number != 0;
    }
    qsort(l->elements, l->element_count, sizeof *l->elements, by_value);
    qsort(l->returns, l->return_count, sizeof *l->returns, by_at);
}

static enum kelp_sim_judgement wrong(struct lists *l, size_t a, size_t b, const char *words)
{
    size_t first = l->p->which[a], second = b != SIZE_MAX ? l->p->which[b] : SHOWN_NOBODY;
    if (b == SIZE_MAX)
        return verdict_give(l->v, KELP_SIM_NOT_LINEARIZABLE,
                            SHOWN(first, SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY), "#%zu %s",
                            first + 1, words);
    return verdict_give(l->v, KELP_SIM_NOT_LINEARIZABLE,
                        SHOWN(first, second, SHOWN_NOBODY, SHOWN_NOBODY), "#%zu %s #%zu", first + 1,
                        words, second + 1);
}

static size_t refused_append(const struct lists *l, uint64_t value)
{
    for (size_t i = 0; i < l->p->count; i++) {
        const struct kelp_sim_operation *o = part_at(l->p, i);
        if (o->action == KELP_SIM_APPEND && o->said == KELP_SIM_REFUSED && o->value == value)
            return i;
    }
    return SIZE_MAX;
}

/* The longest read gives every element in it its place. */
static enum kelp_sim_judgement longest_places(struct lists *l)
{
    if (l->longest == SIZE_MAX) return KELP_SIM_LINEARIZABLE;
    const struct kelp_sim_operation *longest = part_at(l->p, l->longest);
    for (size_t i = 0; i < length_of(longest); i++) {
        struct element *e = element_of(l, longest->items[i].value);
        if (e == NULL) {
            size_t refused = refused_append(l, longest->items[i].value);
            return refused == SIZE_MAX
                       ? wrong(l, l->longest, SIZE_MAX, "shows what nobody appended")
                       : wrong(l, l->longest, refused, "shows what was refused:");
        }
        if (e->place != 0) return wrong(l, l->longest, e->by, "shows twice what was appended by");
        e->place = i + 1;
    }
    return KELP_SIM_LINEARIZABLE;
}

static enum kelp_sim_judgement reads_agree(struct lists *l)
{
    for (size_t i = 0; i < l->p->count; i++) {
        const struct kelp_sim_operation *o = part_at(l->p, i);
        if (!reads(o)) continue;
        const struct kelp_sim_item *longest = part_at(l->p, l->longest)->items;
        for (size_t k = 0; k < length_of(o); k++) {
            if (o->items[k].value != longest[k].value)
                return wrong(l, i, l->longest, "shows another order than");
        }
    }
    return KELP_SIM_LINEARIZABLE;
}

/* Lengths that appends were told are places too. */
static enum kelp_sim_judgement lengths_agree(struct lists *l)
{
    size_t shown = l->longest == SIZE_MAX ? 0 : length_of(part_at(l->p, l->longest));
    for (size_t i = 0; i < l->element_count; i++) {
        struct element *e = &l->elements[i];
        const struct kelp_sim_operation *o = part_at(l->p, e->by);
        if (o->said == KELP_SIM_OK && o->number != 0) {
            if (e->place != 0 ? e->place != o->number : o->number <= shown)
                return wrong(l, e->by, l->longest, "was told another length than its place in");
            e->place = o->number;
        }
        if (e->place != 0) l->in_order[l->placed_count++] = e;
    }
    qsort(l->in_order, l->placed_count, sizeof *l->in_order, by_place);
    for (size_t i = 1; i < l->placed_count; i++) {
        if (l->in_order[i]->place == l->in_order[i - 1]->place)
            return wrong(l, l->in_order[i]->by, l->in_order[i - 1]->by,
                         "was told the same length as");
    }
    return KELP_SIM_LINEARIZABLE;
}

/* Places between those that are known, from the last one down: at most one an open append. */
static enum kelp_sim_judgement gaps_filled(struct lists *l)
{
    size_t open = 0;
    for (size_t i = 0; i < l->element_count; i++) {
        if (l->elements[i].place == 0 && part_at(l->p, l->elements[i].by)->said == KELP_SIM_UNKNOWN)
            l->open_calls[open++] = part_at(l->p, l->elements[i].by)->call;
    }
    if (l->placed_count == 0) return KELP_SIM_LINEARIZABLE;
    qsort(l->open_calls, open, sizeof *l->open_calls, by_time);
    const struct element *last = l->in_order[l->placed_count - 1];
    if (last->place - l->placed_count > open)
        return wrong(l, last->by, SIZE_MAX, "was told a length above the number of appends");
    size_t room = (size_t)last->place - l->placed_count, count = room;
    const struct kelp_sim_operation *first = NULL;
    size_t first_by = 0;
    uint64_t place = last->place;
    for (size_t i = l->placed_count; i > 0; i--) {
        const struct element *e = l->in_order[i - 1];
        for (; place > e->place; place--)
            l->gaps[--room] = (struct ledger_gap){place, operation_back(first), first_by};
        const struct kelp_sim_operation *o = part_at(l->p, e->by);
        if (first == NULL || operation_back(o) < operation_back(first)) {
            first = o;
            first_by = l->p->which[e->by];
        }
        place--;
    }
    for (; place > 0; place--)
        l->gaps[--room] = (struct ledger_gap){place, operation_back(first), first_by};
    return ledger_filled(l->gaps, count, l->open_calls, open, l->v, "place");
}

/* ---- edges ---- */

static void edge(struct lists *l, size_t from, size_t to)
{
    if (from == to) return;
    l->graph.edges[l->graph.edge_count++] = (struct cycle_edge){(uint32_t)from, (uint32_t)to};
}

/* The first element placed behind `place`. */
static const struct element *element_behind(const struct lists *l, uint64_t place)
{
    size_t low = 0, high = l->placed_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (l->in_order[middle]->place <= place)
            low = middle + 1;
        else
            high = middle;
    }
    return low < l->placed_count ? l->in_order[low] : NULL;
}

static void edges_of_values(struct lists *l)
{
    size_t shown = l->longest == SIZE_MAX ? 0 : length_of(part_at(l->p, l->longest));
    size_t meeting = l->p->count; /* from every longest read to what none of them shows */
    for (size_t i = 1; i < l->placed_count; i++)
        edge(l, l->in_order[i - 1]->by, l->in_order[i]->by);
    for (size_t i = 0; i < l->p->count; i++) {
        const struct kelp_sim_operation *o = part_at(l->p, i);
        if (!reads(o)) continue;
        size_t length = length_of(o);
        const struct element *behind = element_behind(l, length);
        if (length > 0) edge(l, l->in_order[length - 1]->by, i);
        if (behind != NULL) edge(l, i, behind->by);
        if (length == shown) edge(l, i, meeting);
    }
    for (size_t i = 0; i < l->element_count; i++) {
        const struct element *e = &l->elements[i];
        if (e->place == 0 && part_at(l->p, e->by)->said == KELP_SIM_OK) edge(l, meeting, e->by);
    }
}

/* Returns in their order are a chain; who returns enters it, who is called later hangs on it. */
static void edges_of_time(struct lists *l)
{
    size_t chain = l->p->count + 1;
    for (size_t i = 0; i < l->return_count; i++) {
        edge(l, l->returns[i].by, chain + i);
        if (i > 0) edge(l, chain + i - 1, chain + i);
    }
    size_t before = 0; /* returned before the call; operations are sorted by call */
    for (size_t i = 0; i < l->p->count; i++) {
        const struct kelp_sim_operation *o = part_at(l->p, i);
        while (before < l->return_count && l->returns[before].at < o->call)
            before++;
        if (before > 0 && o->said != KELP_SIM_REFUSED) edge(l, chain + before - 1, i);
    }
}

/* ---- the cycle in words ---- */

static const char *edge_words(const struct lists *l, uint32_t from, uint32_t to)
{
    const struct kelp_sim_operation *a = part_at(l->p, from), *b = part_at(l->p, to);
    if (operation_back(a) < b->call) return "returned before the call of";
    if (reads(b)) return "is seen by";
    if (reads(a)) return "does not see";
    return "stands before";
}

static enum kelp_sim_judgement cycle_judge(struct lists *l)
{
    uint32_t cycle[KELP_SIM_WINDOW_MAX];
    long found = cycle_find(&l->graph, cycle, KELP_SIM_WINDOW_MAX);
    if (found < 0) return KELP_SIM_NO_MEMORY;
    if (found == 0) return KELP_SIM_LINEARIZABLE;
    size_t length = (size_t)found, told = min_u64(length, KELP_SIM_WINDOW_MAX);
    char words[sizeof l->v->reason];
    int used =
        snprintf(words, sizeof words, "cycle of %zu: #%zu", length, l->p->which[cycle[0]] + 1);
    for (size_t i = 0; i < told && (size_t)used < sizeof words; i++) {
        uint32_t next = cycle[(i + 1) % told];
        used += snprintf(words + used, sizeof words - (size_t)used, " %s #%zu",
                         i + 1 == told && told < length ? "... leads to"
                                                        : edge_words(l, cycle[i], next),
                         l->p->which[next] + 1);
    }
    const size_t nobody[4] = {SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY};
    (void)verdict_give(l->v, KELP_SIM_NOT_LINEARIZABLE, nobody, "%s", words);
    for (size_t i = 0; i < told; i++)
        verdict_show(l->v, l->p->which[cycle[i]]);
    return KELP_SIM_NOT_LINEARIZABLE;
}

static bool lists_make(struct lists *l)
{
    size_t n = l->p->count + 1;
    l->graph.nodes = (uint32_t)(2 * n); /* operations, the meeting point, the chain */
    l->graph.counted = (uint32_t)l->p->count;
    l->elements = calloc(n, sizeof *l->elements);
    l->in_order = calloc(n, sizeof *l->in_order);
    l->returns = calloc(n, sizeof *l->returns);
    l->gaps = calloc(n, sizeof *l->gaps);
    l->open_calls = calloc(n, sizeof *l->open_calls);
    l->graph.edges =
        calloc(8 * n, sizeof *l->graph.edges); /* at most 3 of values, 3 of time each */
    return l->elements != NULL && l->in_order != NULL && l->returns != NULL && l->gaps != NULL &&
           l->open_calls != NULL && l->graph.edges != NULL;
}

enum kelp_sim_judgement append_judge(const struct history_part *p, struct kelp_sim_verdict *v)
{
    struct lists l = {.p = p, .v = v};
    enum kelp_sim_judgement judgement = KELP_SIM_NO_MEMORY;
    v->checker = "cycles";
    if (lists_make(&l)) {
        collect(&l);
        judgement = KELP_SIM_LINEARIZABLE;
        if (l.lengths > 0 && l.lengths < l.done)
            judgement = verdict_give(v, KELP_SIM_BAD_HISTORY,
                                     SHOWN(p->which[0], SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY),
                                     "some appends of a key tell the new length and others do not");
        if (judgement == KELP_SIM_LINEARIZABLE) judgement = longest_places(&l);
        if (judgement == KELP_SIM_LINEARIZABLE) judgement = reads_agree(&l);
        if (judgement == KELP_SIM_LINEARIZABLE) judgement = lengths_agree(&l);
        if (judgement == KELP_SIM_LINEARIZABLE) judgement = gaps_filled(&l);
        if (judgement == KELP_SIM_LINEARIZABLE) {
            edges_of_values(&l);
            edges_of_time(&l);
            judgement = cycle_judge(&l);
        }
    }
    free(l.elements);
    free(l.in_order);
    free(l.returns);
    free(l.gaps);
    free(l.open_calls);
    free(l.graph.edges);
    return judgement;
}
