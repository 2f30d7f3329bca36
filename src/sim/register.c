/* SPDX-License-Identifier: Apache-2.0 */
/* register.c - one register with unique values: hands it to the interval test of linear.c and shows
 * of the values it names the operations that make their zones. */
#include <stdlib.h>

#include "base/min.h"
#include "sim/history.h"
#include "sim/linear.h"

/* linear.c calls the value before any write 0. */
static uint64_t linear_value(uint64_t value)
{
    return value == KELP_SIM_NOTHING ? 0 : value + 1;
}

static size_t operations_copy(const struct history_part *p, struct linear_operation *out)
{
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct kelp_sim_operation *o = part_at(p, i);
        bool read = o->action == KELP_SIM_READ;
        if (o->said == KELP_SIM_REFUSED || (read && o->said != KELP_SIM_OK)) continue;
        /* The value before any write was written at 0, so everything else begins later. */
        out[count++] = (struct linear_operation){o->call + 1, add_sat(operation_back(o), 1),
                                                 linear_value(o->value), read};
    }
    return count;
}

/* Of one value: who wrote it (a refused write too), who returned first, who was called last. */
static void value_show(const struct history_part *p, uint64_t value, struct kelp_sim_verdict *v)
{
    size_t first = SIZE_MAX, last = SIZE_MAX;
    for (size_t i = 0; i < p->count; i++) {
        const struct kelp_sim_operation *o = part_at(p, i);
        bool read = o->action == KELP_SIM_READ;
        if (linear_value(o->value) != value || (read && o->said != KELP_SIM_OK)) continue;
        if (!read) verdict_show(v, p->which[i]);
        if (o->said == KELP_SIM_REFUSED) continue;
        if (first == SIZE_MAX || operation_back(o) < operation_back(part_at(p, first))) first = i;
        if (last == SIZE_MAX || o->call > part_at(p, last)->call) last = i;
    }
    if (first != SIZE_MAX) verdict_show(v, p->which[first]);
    if (last != SIZE_MAX) verdict_show(v, p->which[last]);
}

enum kelp_sim_judgement register_judge(const struct history_part *p, struct kelp_sim_verdict *v)
{
    v->checker = "interval";
    struct linear_operation *operations = calloc(p->count + 1, sizeof *operations);
    if (operations == NULL) return KELP_SIM_NO_MEMORY;
    uint64_t values[2];
    enum linear_verdict verdict = linear_check(operations, operations_copy(p, operations), values);
    free(operations);
    if (verdict == LINEAR_GOOD) return KELP_SIM_LINEARIZABLE;
    if (verdict == LINEAR_NO_MEMORY) return KELP_SIM_NO_MEMORY;
    const size_t nobody[4] = {SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY};
    (void)verdict_give(v, KELP_SIM_NOT_LINEARIZABLE, nobody, "%s", linear_words(verdict));
    value_show(p, values[0], v);
    bool two = verdict == LINEAR_ZONES_OVERLAP || verdict == LINEAR_ZONE_INSIDE;
    if (two) value_show(p, values[1], v);
    return KELP_SIM_NOT_LINEARIZABLE;
}
