/* SPDX-License-Identifier: Apache-2.0 */
/* search.h - the search for an order of operations on one object, as search.c runs it and
 * window.c asks it again and again for less and less. */
#ifndef SIM_SEARCH_H
#define SIM_SEARCH_H

#include "sim/history.h"

enum search_weight {
    WEIGHT_FULL = 0, /* as it was recorded */
    WEIGHT_OPEN,     /* its return is forgotten: a write may happen later or never */
    WEIGHT_NONE,     /* it is left out, which is fair for what only looks */
};

/* search_run - weights: one for each operation of the part, NULL: all are full. Adds to *states;
 * gives up as KELP_SIM_UNDECIDED when it has visited p->states_max of its own. */
enum kelp_sim_judgement search_run(const struct history_part *p, const uint8_t *weights,
                                   uint64_t *states);

/* window.c: of a part that is not linearizable the smallest piece found that still is not, into the
 * verdict. Dropping a look and forgetting a return can only make a history easier, so what is still
 * impossible is a proof by itself. */
enum kelp_sim_judgement window_find(const struct history_part *p, struct kelp_sim_verdict *v);

#endif
