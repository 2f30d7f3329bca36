/* SPDX-License-Identifier: Apache-2.0 */
/* brute.h - is a tiny history linearizable? Every order is tried; nothing clever, so that it can
 * judge the judges. One key or several, each a register, a counter and a list at once. */
#ifndef TESTS_SIM_BRUTE_H
#define TESTS_SIM_BRUTE_H

#include <string.h>

#include "kelp/history.h"

#define BRUTE_KEYS 4
#define BRUTE_LIST 16

struct brute_state {
    uint64_t value[BRUTE_KEYS];
    uint64_t list[BRUTE_KEYS][BRUTE_LIST];
    size_t length[BRUTE_KEYS];
};

static inline struct brute_state brute_start(void)
{
    struct brute_state s;
    memset(&s, 0, sizeof s);
    for (size_t i = 0; i < BRUTE_KEYS; i++)
        s.value[i] = KELP_SIM_NOTHING;
    return s;
}

static inline bool brute_list_equal(const struct brute_state *s, const struct kelp_sim_operation *o)
{
    if (s->length[o->key] != o->item_count) return false;
    for (size_t i = 0; i < o->item_count; i++) {
        if (s->list[o->key][i] != o->items[i].value) return false;
    }
    return true;
}

/* Perform o; false: its answer is not the one that this state gives. */
static inline bool brute_perform(struct brute_state *s, const struct kelp_sim_operation *o)
{
    bool told = o->said == KELP_SIM_OK;
    uint64_t before = s->value[o->key];
    switch (o->action) {
    case KELP_SIM_READ:
        return !told || before == o->value || (before == KELP_SIM_NOTHING && o->value == 0);
    case KELP_SIM_WRITE: s->value[o->key] = o->value; return true;
    case KELP_SIM_CAS:
        if (before == o->expected) s->value[o->key] = o->value;
        return !told || ((before == o->expected) == o->swapped &&
                         (o->seen == KELP_SIM_UNTOLD || o->seen == before));
    case KELP_SIM_INCR:
        s->value[o->key] = before == KELP_SIM_NOTHING ? 1 : before + 1;
        return !told || s->value[o->key] == o->number;
    case KELP_SIM_APPEND:
        s->list[o->key][s->length[o->key]++] = o->value;
        return !told || o->number == 0 || o->number == s->length[o->key];
    case KELP_SIM_LIST: return !told || brute_list_equal(s, o);
    case KELP_SIM_MSET:
        for (size_t i = 0; i < o->item_count; i++)
            s->value[o->items[i].key] = o->items[i].value;
        return true;
    case KELP_SIM_MGET:
        for (size_t i = 0; told && i < o->item_count; i++) {
            if (s->value[o->items[i].key] != o->items[i].value) return false;
        }
        return true;
    }
    return false;
}

static inline bool brute_try(const struct kelp_sim_operation *o, size_t count, unsigned done,
                             const struct brute_state *state)
{
    kelp_ns until = KELP_NEVER; /* whatever is called later must wait for a return */
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        if ((done >> i & 1) != 0 || o[i].said != KELP_SIM_OK) continue;
        all = false;
        if (o[i].back < until) until = o[i].back;
    }
    if (all) return true;
    for (size_t i = 0; i < count; i++) {
        struct brute_state next = *state;
        if ((done >> i & 1) != 0 || o[i].said == KELP_SIM_REFUSED || o[i].call > until) continue;
        if (brute_perform(&next, &o[i]) && brute_try(o, count, done | 1u << i, &next)) return true;
    }
    return false;
}

static inline bool brute_linearizable(const struct kelp_sim_operation *o, size_t count)
{
    struct brute_state start = brute_start();
    return brute_try(o, count, 0, &start);
}

#endif
