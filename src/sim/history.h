/* SPDX-License-Identifier: Apache-2.0 */
/* history.h - what the judges of client histories share: one object's part of a history, and how a
 * verdict is given.
 *
 * history.c checks the recorder, takes a history apart into objects and gives each to the judge
 * that fits: linear.c (registers), ledger.c (counters), append.c (lists), search.c (anything).
 * A before B always means that A returned strictly before B was called. */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "kelp/history.h"

/* The operations of one object, by call; refused ones are among them. */
struct history_part {
    const struct kelp_sim_operation *operations;
    const size_t *which;
    size_t count;
    uint64_t states_max;
};

static inline const struct kelp_sim_operation *part_at(const struct history_part *p, size_t i)
{
    return &p->operations[p->which[i]];
}

/* When it must have happened at the latest. */
static inline kelp_ns operation_back(const struct kelp_sim_operation *o)
{
    return o->said == KELP_SIM_OK ? o->back : KELP_NEVER;
}

/* It only looks. A compare-and-set that found something else looks too. */
static inline bool operation_looks(const struct kelp_sim_operation *o)
{
    switch (o->action) {
    case KELP_SIM_READ:
    case KELP_SIM_LIST:
    case KELP_SIM_MGET: return true;
    case KELP_SIM_CAS: return o->said == KELP_SIM_OK && !o->swapped;
    case KELP_SIM_WRITE:
    case KELP_SIM_INCR:
    case KELP_SIM_APPEND:
    case KELP_SIM_MSET: break;
    }
    return false;
}

/* verdict_give - the judgement, its reason, and up to 4 operations that show it. */
enum kelp_sim_judgement verdict_give(struct kelp_sim_verdict *v, enum kelp_sim_judgement judgement,
                                     const size_t shown[4], const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void verdict_show(struct kelp_sim_verdict *v, size_t operation);

#define SHOWN(...)   ((const size_t[4]){__VA_ARGS__})
#define SHOWN_NOBODY SIZE_MAX /* in a place that is not needed */

/* The judges. */
enum kelp_sim_judgement register_judge(const struct history_part *p, struct kelp_sim_verdict *v);
enum kelp_sim_judgement ledger_judge(const struct history_part *p, struct kelp_sim_verdict *v);
enum kelp_sim_judgement append_judge(const struct history_part *p, struct kelp_sim_verdict *v);
enum kelp_sim_judgement search_judge(const struct history_part *p, struct kelp_sim_verdict *v);

/* ledger.c, for lists too: numbers that are missing below the largest one told, each of which must
 * have been given to somebody who was not told it. */
struct ledger_line {
    uint64_t rank; /* its place in the only possible order */
    kelp_ns call, back;
    size_t operation;
};
struct ledger_gap {
    uint64_t number;
    kelp_ns deadline; /* the first return of what comes after it */
    size_t after;     /* whose return that is */
};

/* ledger_ordered - nothing that came later in the order returned before something earlier was
 * called. Sorts the lines by rank. */
enum kelp_sim_judgement ledger_ordered(struct ledger_line *lines, size_t count,
                                       struct kelp_sim_verdict *v, const char *words);
/* ledger_filled - every gap, by number, has its own open call that came in time; calls sorted. */
enum kelp_sim_judgement ledger_filled(const struct ledger_gap *gaps, size_t gap_count,
                                      const kelp_ns *calls, size_t call_count,
                                      struct kelp_sim_verdict *v, const char *words);

#endif
