/* SPDX-License-Identifier: Apache-2.0 */
/* window.c - the shortest piece of a history that shows why no order explains it.
 *
 * First the earliest moment at which it was already impossible, by halves: what had not returned by
 * then is open, what was not called yet is left out. Then looks are left out and returns forgotten,
 * in ever smaller chunks from the end, as long as what remains is still impossible. All of it stops
 * at a budget, and what was reached by then is shown: it is always a proof, only perhaps not the
 * smallest. Source: Zeller, Hildebrandt, "Simplifying and isolating failure-inducing input",
 * 2002. */
#include <stdlib.h>
#include <string.h>

#include "base/min.h"
#include "sim/search.h"

#define WORK_MAX 40000000u /* operations set up and states visited */

struct window {
    struct history_part part;
    size_t *which;
    uint8_t *weights, *trial;
    kelp_ns *times;
    uint64_t work, states;
};

static int by_time(const void *a, const void *b)
{
    kelp_ns x = *(const kelp_ns *)a, y = *(const kelp_ns *)b;
    return x < y ? -1 : x > y;
}

static bool impossible(struct window *w, const uint8_t *weights)
{
    uint64_t states = 0;
    if (w->work > WORK_MAX) return false;
    enum kelp_sim_judgement judgement = search_run(&w->part, weights, &states);
    w->states += states;
    w->work += 4 * w->part.count + states;
    return judgement == KELP_SIM_NOT_LINEARIZABLE;
}

/* ---- when ---- */

static void weights_until(struct window *w, uint8_t *weights, kelp_ns moment)
{
    for (size_t i = 0; i < w->part.count; i++) {
        const struct kelp_sim_operation *o = part_at(&w->part, i);
        weights[i] = WEIGHT_FULL;
        if (o->call > moment)
            weights[i] = WEIGHT_NONE;
        else if (operation_back(o) > moment)
            weights[i] = operation_looks(o) ? WEIGHT_NONE : WEIGHT_OPEN;
    }
}

static void cut_time(struct window *w)
{
    size_t count = 0;
    for (size_t i = 0; i < w->part.count; i++) {
        if (part_at(&w->part, i)->said == KELP_SIM_OK)
            w->times[count++] = part_at(&w->part, i)->back;
    }
    qsort(w->times, count, sizeof *w->times, by_time);
    size_t low = 0, high = count - 1; /* at the last return it is impossible */
    while (low < high) {
        size_t middle = (low + high) / 2;
        weights_until(w, w->trial, w->times[middle]);
        if (impossible(w, w->trial))
            high = middle;
        else
            low = middle + 1;
    }
    weights_until(w, w->weights, w->times[high]);
    size_t kept = 0;
    for (size_t i = 0; i < w->part.count; i++) {
        if (w->weights[i] == WEIGHT_NONE) continue;
        w->which[kept] = w->which[i];
        w->weights[kept++] = w->weights[i];
    }
    w->part.count = kept;
}

/* ---- what ---- */

static void lighten(const struct window *w, uint8_t *weights, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        if (weights[i] == WEIGHT_FULL)
            weights[i] = operation_looks(part_at(&w->part, i)) ? WEIGHT_NONE : WEIGHT_OPEN;
    }
}

static void cut_operations(struct window *w)
{
    size_t count = w->part.count;
    for (size_t chunk = count / 2 + 1;; chunk = (chunk + 1) / 2) {
        for (size_t end = count; end > 0; end = (size_t)sub_sat(end, chunk)) {
            size_t begin = (size_t)sub_sat(end, chunk);
            memcpy(w->trial, w->weights, count);
            lighten(w, w->trial, begin, end);
            if (memcmp(w->trial, w->weights, count) != 0 && impossible(w, w->trial))
                memcpy(w->weights, w->trial, count);
        }
        if (chunk == 1) return;
    }
}

/* ---- showing ---- */

static bool shows(const struct kelp_sim_operation *o, uint64_t value)
{
    if (o->action == KELP_SIM_INCR) return true;
    if (o->action == KELP_SIM_READ && o->value == value) return true;
    if (o->action == KELP_SIM_CAS && (o->expected == value || o->seen == value)) return true;
    for (size_t i = 0; o->action == KELP_SIM_MGET && i < o->item_count; i++) {
        if (o->items[i].value == value) return true;
    }
    return false;
}

/* An open write belongs to the picture if its value was seen in it. */
static bool in_picture(const struct window *w, size_t i)
{
    const struct kelp_sim_operation *o = part_at(&w->part, i);
    if (o->said == KELP_SIM_REFUSED || w->weights[i] == WEIGHT_NONE) return false;
    if (w->weights[i] == WEIGHT_FULL && o->said == KELP_SIM_OK) return true;
    for (size_t k = 0; k < w->part.count; k++) {
        const struct kelp_sim_operation *by = part_at(&w->part, k);
        if (w->weights[k] != WEIGHT_FULL || by->said != KELP_SIM_OK) continue;
        if (o->action != KELP_SIM_MSET && shows(by, o->value)) return true;
        for (size_t item = 0; o->action == KELP_SIM_MSET && item < o->item_count; item++) {
            if (shows(by, o->items[item].value)) return true;
        }
    }
    return false;
}

/* A lone operation saw what nobody can have written; perhaps somebody was refused. */
static enum kelp_sim_judgement tell_lone(const struct window *w, const struct history_part *whole,
                                         size_t lone, struct kelp_sim_verdict *v)
{
    const struct kelp_sim_operation *o = part_at(&w->part, lone);
    size_t shown = w->which[lone];
    for (size_t i = 0; i < whole->count; i++) {
        const struct kelp_sim_operation *r = part_at(whole, i);
        if (r->said != KELP_SIM_REFUSED || o->action == KELP_SIM_INCR) continue;
        bool saw = r->action != KELP_SIM_MSET && !operation_looks(r) && shows(o, r->value);
        for (size_t k = 0; r->action == KELP_SIM_MSET && k < r->item_count; k++)
            saw = saw || shows(o, r->items[k].value);
        if (saw)
            return verdict_give(v, KELP_SIM_NOT_LINEARIZABLE,
                                SHOWN(shown, whole->which[i], SHOWN_NOBODY, SHOWN_NOBODY),
                                "#%zu saw what was refused: #%zu", shown + 1, whole->which[i] + 1);
    }
    return verdict_give(v, KELP_SIM_NOT_LINEARIZABLE,
                        SHOWN(shown, SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY),
                        "nothing that anybody asked for explains the answer of #%zu", shown + 1);
}

static enum kelp_sim_judgement window_tell(const struct window *w, const struct history_part *whole,
                                           struct kelp_sim_verdict *v)
{
    size_t count = 0, last = 0;
    const size_t nobody[4] = {SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY};
    for (size_t i = 0; i < w->part.count; i++) {
        if (!in_picture(w, i)) continue;
        count++;
        last = i;
    }
    if (count == 1) return tell_lone(w, whole, last, v);
    enum kelp_sim_judgement judgement =
        verdict_give(v, KELP_SIM_NOT_LINEARIZABLE, nobody,
                     "no order of these %zu operations explains their answers", count);
    for (size_t i = 0; i < w->part.count; i++) {
        if (in_picture(w, i)) verdict_show(v, w->which[i]);
    }
    return judgement;
}

enum kelp_sim_judgement window_find(const struct history_part *p, struct kelp_sim_verdict *v)
{
    size_t n = p->count;
    struct window w = {.part = *p,
                       .which = calloc(n, sizeof *w.which),
                       .weights = calloc(n, 1),
                       .trial = calloc(n, 1),
                       .times = calloc(n, sizeof *w.times)};
    enum kelp_sim_judgement judgement = KELP_SIM_NO_MEMORY;
    if (w.which != NULL && w.weights != NULL && w.trial != NULL && w.times != NULL) {
        memcpy(w.which, p->which, n * sizeof *w.which);
        w.part.which = w.which;
        cut_time(&w);
        cut_operations(&w);
        judgement = window_tell(&w, p, v);
        v->states += w.states;
    }
    free(w.which);
    free(w.weights);
    free(w.trial);
    free(w.times);
    return judgement;
}
