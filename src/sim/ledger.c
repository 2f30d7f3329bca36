/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.c - counters: INCR answers with the new number, reads with the present one.
 *
 * The answers leave only one order: the INCR that made n, then the reads of n, then the INCR that
 * made n+1. So it is enough that nothing later in that order returned before something earlier was
 * called, that no number was made twice, and that every number nobody was told of can belong to an
 * INCR of unknown outcome which was called before anything later returned. Both the gaps and the
 * open calls are sorted, so the k-th gap takes the k-th call: if that does not work, nothing
 * does. O(n log n), exact. */
#include <stdlib.h>

#include "base/min.h"
#include "sim/history.h"

static int by_rank(const void *a, const void *b)
{
    const struct ledger_line *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->call < y->call ? -1 : x->call > y->call;
}

static int by_time(const void *a, const void *b)
{
    kelp_ns x = *(const kelp_ns *)a, y = *(const kelp_ns *)b;
    return x < y ? -1 : x > y;
}

/* From the last one backwards: the earliest return of a higher rank must not lie before a call. */
enum kelp_sim_judgement ledger_ordered(struct ledger_line *lines, size_t count,
                                       struct kelp_sim_verdict *v, const char *words)
{
    qsort(lines, count, sizeof *lines, by_rank);
    size_t first = SIZE_MAX; /* of what comes after: returned first */
    for (size_t end = count; end > 0;) {
        size_t begin = end;
        while (begin > 0 && lines[begin - 1].rank == lines[end - 1].rank)
            begin--;
        for (size_t i = begin; first != SIZE_MAX && i < end; i++) {
            if (lines[first].back >= lines[i].call) continue;
            return verdict_give(
                v, KELP_SIM_NOT_LINEARIZABLE,
                SHOWN(lines[i].operation, lines[first].operation, SHOWN_NOBODY, SHOWN_NOBODY),
                "#%zu %s #%zu, which returned before it was called", lines[i].operation + 1, words,
                lines[first].operation + 1);
        }
        for (size_t i = begin; i < end; i++) {
            if (first == SIZE_MAX || lines[i].back < lines[first].back) first = i;
        }
        end = begin;
    }
    return KELP_SIM_LINEARIZABLE;
}

enum kelp_sim_judgement ledger_filled(const struct ledger_gap *gaps, size_t gap_count,
                                      const kelp_ns *calls, size_t call_count,
                                      struct kelp_sim_verdict *v, const char *words)
{
    for (size_t i = 0; i < gap_count; i++) {
        if (i < call_count && calls[i] <= gaps[i].deadline) continue;
        return verdict_give(v, KELP_SIM_NOT_LINEARIZABLE,
                            SHOWN(gaps[i].after, SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY),
                            "#%zu comes after %s %llu, which nobody made: of %zu missing below it, "
                            "%zu can be of unknown outcome",
                            gaps[i].after + 1, words, (unsigned long long)gaps[i].number, i + 1, i);
    }
    return KELP_SIM_LINEARIZABLE;
}

/* ---- one counter ---- */

struct ledger {
    struct ledger_line *lines;
    struct ledger_gap *gaps;
    kelp_ns *calls; /* of INCRs of unknown outcome */
    size_t line_count, gap_count, call_count, told;
    uint64_t highest;
    size_t highest_by;
};

static bool ledger_line_of(const struct kelp_sim_operation *o, uint64_t *number)
{
    if (o->said != KELP_SIM_OK) return false;
    *number = o->action == KELP_SIM_INCR ? o->number : o->value;
    if (o->action == KELP_SIM_READ && o->value == KELP_SIM_NOTHING) *number = 0;
    return true;
}

static void ledger_collect(const struct history_part *p, struct ledger *l)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct kelp_sim_operation *o = part_at(p, i);
        uint64_t number;
        if (o->action == KELP_SIM_INCR && o->said == KELP_SIM_UNKNOWN)
            l->calls[l->call_count++] = o->call;
        if (!ledger_line_of(o, &number)) continue;
        l->told += o->action == KELP_SIM_INCR;
        if (number > l->highest) {
            l->highest = number;
            l->highest_by = p->which[i];
        }
        /* history.c lets no number through that this could wrap. */
        l->lines[l->line_count++] = (struct ledger_line){2 * number + (o->action == KELP_SIM_READ),
                                                         o->call, o->back, p->which[i]};
    }
    qsort(l->calls, l->call_count, sizeof *l->calls, by_time);
}

static enum kelp_sim_judgement ledger_numbers(const struct ledger *l, struct kelp_sim_verdict *v)
{
    for (size_t i = 1; i < l->line_count; i++) {
        const struct ledger_line *x = &l->lines[i - 1], *y = &l->lines[i];
        if (x->rank != y->rank || x->rank % 2 != 0) continue;
        return verdict_give(v, KELP_SIM_NOT_LINEARIZABLE,
                            SHOWN(x->operation, y->operation, SHOWN_NOBODY, SHOWN_NOBODY),
                            "#%zu and #%zu both made %llu", x->operation + 1, y->operation + 1,
                            (unsigned long long)(x->rank / 2));
    }
    if (l->highest <= l->told + l->call_count) return KELP_SIM_LINEARIZABLE;
    return verdict_give(v, KELP_SIM_NOT_LINEARIZABLE,
                        SHOWN(l->highest_by, SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY),
                        "#%zu counts %llu; %zu INCRs were done and %zu may have been",
                        l->highest_by + 1, (unsigned long long)l->highest, l->told, l->call_count);
}

/* From the highest number down; at most as many as there are operations. */
static void ledger_gaps(struct ledger *l)
{
    size_t first = SIZE_MAX, next = l->line_count;
    size_t room = (size_t)l->highest - l->told;
    l->gap_count = room;
    for (uint64_t number = l->highest; number > 0; number--) {
        bool made = false;
        while (next > 0 && l->lines[next - 1].rank >= 2 * number) {
            next--;
            made = made || l->lines[next].rank == 2 * number;
            if (first == SIZE_MAX || l->lines[next].back < l->lines[first].back) first = next;
        }
        if (made) continue;
        l->gaps[--room] =
            (struct ledger_gap){number, l->lines[first].back, l->lines[first].operation};
    }
}

enum kelp_sim_judgement ledger_judge(const struct history_part *p, struct kelp_sim_verdict *v)
{
    struct ledger l = {.lines = calloc(p->count + 1, sizeof *l.lines),
                       .gaps = calloc(p->count + 1, sizeof *l.gaps),
                       .calls = calloc(p->count + 1, sizeof *l.calls)};
    enum kelp_sim_judgement judgement = KELP_SIM_NO_MEMORY;
    v->checker = "ledger";
    if (l.lines != NULL && l.gaps != NULL && l.calls != NULL) {
        ledger_collect(p, &l);
        judgement = ledger_ordered(l.lines, l.line_count, v, "counts less than");
        if (judgement == KELP_SIM_LINEARIZABLE) judgement = ledger_numbers(&l, v);
        if (judgement == KELP_SIM_LINEARIZABLE) {
            ledger_gaps(&l);
            judgement = ledger_filled(l.gaps, l.gap_count, l.calls, l.call_count, v, "number");
        }
    }
    free(l.lines);
    free(l.gaps);
    free(l.calls);
    return judgement;
}
