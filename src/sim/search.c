/* SPDX-License-Identifier: Apache-2.0 */
/* search.c - looks for an order that explains a history of one small object of up to 16 keys:
 * reads, writes, compare-and-set, INCR, several keys at once.
 *
 * Depth first: of the operations called before the first return that is still open, try one that
 * fits the state; at a dead end take back the last one. A pair (set of done operations, state) that
 * was seen before led nowhere, so it is not entered again; pairs are kept as 128 bits of hash, and
 * two that collide would cut off a branch (1 in 10^25 at the bound). What makes it quick on real
 * histories, and is exact:
 *
 *   looks   what only looks and fits is done at once and never taken back: it changes nothing
 *   needs   a value that somebody still has to see, and that was written once, is not overwritten
 *   dead    values that nobody will look for are all alike, and one may take another's place at
 *           once, like a look
 *   order   what returned first is tried first: most often it also happened first
 *   open    operations of unknown outcome, which may wait for ever, are tried last, those whose
 *           values nobody ever saw not at all
 *
 * Source: Wing, Gong, "Testing and verifying concurrent
 * objects", 1993; Lowe, "Testing for linearizability", 2017. */
#include "sim/search.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"

#define NO_EVENT UINT32_MAX

struct candidate {
    const struct kelp_sim_operation *o;
    kelp_ns back; /* KELP_NEVER: open */
    bool looks;
};

/* Calls and returns of what is not open, by time, in a list that operations leave and rejoin. */
struct event {
    uint32_t candidate, before, after, partner;
    kelp_ns at;
    bool call;
};

struct state {
    uint64_t values[KELP_SIM_TOGETHER_MAX];
};

struct step {
    uint32_t candidate; /* which one was done */
    uint32_t from;      /* its event, or its place among the open ones */
    bool open, forced;
    struct state before;
};

/* One value of one key: how many write it, how many that are not done have to see it. */
struct value {
    uint64_t value;
    uint32_t slot, writers, need;
    bool watched; /* somebody asks whether it is there, whatever it finds */
};

struct seen {
    uint64_t a, b;
};

struct search {
    const struct history_part *p;
    uint32_t keys[KELP_SIM_TOGETHER_MAX];
    size_t key_count;
    struct candidate *candidates; /* those with a return, then the open ones by call */
    size_t count, closed;
    struct event *events; /* 0 is the head */
    bool *open_done;
    struct step *steps;
    size_t depth;
    struct seen *seen; /* a power of two; 0,0: free */
    size_t seen_room, seen_count;
    struct value *values; /* sorted; those of no operation are not there */
    size_t value_count;
    bool counts;        /* there are INCRs: what a value will be is not written anywhere */
    bool hides;         /* somebody found anything but a value, so to write over it may be of use */
    uint64_t *observed; /* values that somebody saw, sorted */
    size_t observed_count;
    struct state state;
    struct seen done; /* hash of the set of done operations */
    uint64_t states, states_max;
    bool no_memory;
};

/* ---- the object ---- */

static size_t key_slot(const struct search *s, uint32_t key)
{
    size_t slot = 0;
    while (s->keys[slot] != key)
        slot++; /* it is there: keys were collected from the same operations */
    return slot;
}

static bool cas_fits(const struct kelp_sim_operation *o, bool open, uint64_t *value)
{
    bool equal = *value == o->expected;
    if (!open && (equal != o->swapped || (o->seen != KELP_SIM_UNTOLD && o->seen != *value)))
        return false;
    if (equal) *value = o->value;
    return true;
}

static bool items_fit(const struct search *s, const struct kelp_sim_operation *o)
{
    for (size_t i = 0; i < o->item_count; i++) {
        if (s->state.values[key_slot(s, o->items[i].key)] != o->items[i].value) return false;
    }
    return true;
}

/* Does it fit the state? If so the state moves on. */
static bool fits(struct search *s, const struct candidate *c)
{
    const struct kelp_sim_operation *o = c->o;
    bool open = c->back == KELP_NEVER;
    if (o->action == KELP_SIM_MGET) return items_fit(s, o);
    if (o->action == KELP_SIM_MSET) {
        for (size_t i = 0; i < o->item_count; i++)
            s->state.values[key_slot(s, o->items[i].key)] = o->items[i].value;
        return true;
    }
    uint64_t *value = &s->state.values[key_slot(s, o->key)];
    uint64_t number = *value == KELP_SIM_NOTHING ? 1 : *value + 1;
    switch (o->action) {
    case KELP_SIM_READ: return *value == o->value;
    case KELP_SIM_WRITE: *value = o->value; return true;
    case KELP_SIM_CAS: return cas_fits(o, open, value);
    case KELP_SIM_INCR:
        if (!open && o->number != number) return false;
        *value = number;
        return true;
    case KELP_SIM_APPEND:
    case KELP_SIM_LIST:
    case KELP_SIM_MSET:
    case KELP_SIM_MGET: break;
    }
    return false; /* lists have their own judge */
}

/* ---- who has to see what ---- */

static int by_slot_and_value(const void *a, const void *b)
{
    const struct value *x = a, *y = b;
    if (x->slot != y->slot) return x->slot < y->slot ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

static struct value *value_of(struct search *s, size_t slot, uint64_t value)
{
    struct value wanted = {.slot = (uint32_t)slot, .value = value};
    return bsearch(&wanted, s->values, s->value_count, sizeof wanted, by_slot_and_value);
}

/* The i-th key that an operation names and what it has to see there; false: there is none. */
static bool needs(const struct search *s, const struct candidate *c, size_t i, size_t *slot,
                  uint64_t *value)
{
    const struct kelp_sim_operation *o = c->o;
    if (c->back == KELP_NEVER) return false;
    if (o->action == KELP_SIM_MGET) {
        if (i >= o->item_count) return false;
        *slot = key_slot(s, o->items[i].key);
        *value = o->items[i].value;
        return true;
    }
    if (i > 0 || (o->action != KELP_SIM_READ && o->action != KELP_SIM_CAS)) return false;
    if (o->action == KELP_SIM_CAS && !o->swapped && o->seen == KELP_SIM_UNTOLD) return false;
    *slot = key_slot(s, o->key);
    *value = o->action == KELP_SIM_READ ? o->value : o->swapped ? o->expected : o->seen;
    return true;
}

/* The i-th key that an operation writes and what. */
static bool writes(const struct search *s, const struct candidate *c, size_t i, size_t *slot,
                   uint64_t *value)
{
    const struct kelp_sim_operation *o = c->o;
    if (o->action == KELP_SIM_MSET) {
        if (i >= o->item_count) return false;
        *slot = key_slot(s, o->items[i].key);
        *value = o->items[i].value;
        return true;
    }
    if (i > 0 || c->looks || (o->action != KELP_SIM_WRITE && o->action != KELP_SIM_CAS))
        return false;
    *slot = key_slot(s, o->key);
    *value = o->value;
    return true;
}

static void needs_change(struct search *s, const struct candidate *c, uint32_t by)
{
    size_t slot;
    uint64_t value;
    for (size_t i = 0; needs(s, c, i, &slot, &value); i++)
        value_of(s, slot, value)->need += by; /* it was collected; by may be -1 */
}

/* Nobody will look for what stands there. */
static bool dead(struct search *s, size_t slot, uint64_t value)
{
    if (s->counts) return false;
    const struct value *v = value_of(s, slot, value);
    return v == NULL || (v->need == 0 && !v->watched);
}

enum worth { WORTH_NOTHING, WORTH_TRYING, WORTH_DOING };

/* Is it worth trying to write now? NOTHING: somebody must see first what stands there. DOING:
 * nobody will look for what it writes or replaces. Asked before the state moves. */
static enum worth write_worth(struct search *s, const struct candidate *c)
{
    size_t slot;
    uint64_t value;
    enum worth worth = WORTH_DOING;
    if (s->counts) return WORTH_TRYING;
    for (size_t i = 0; writes(s, c, i, &slot, &value); i++) {
        uint64_t stands = s->state.values[slot];
        const struct value *v = value_of(s, slot, stands);
        bool own = c->o->action == KELP_SIM_CAS;
        if (own && stands != c->o->expected) return WORTH_TRYING; /* it will not write */
        uint32_t others = v == NULL ? 0 : v->need - (own && c->back != KELP_NEVER && v->need > 0);
        if (others > 0 && v->writers <= 1) return WORTH_NOTHING;
        if (own || !dead(s, slot, value) || !dead(s, slot, stands)) worth = WORTH_TRYING;
    }
    return c->back != KELP_NEVER && !s->hides ? worth : WORTH_TRYING;
}

static bool value_add(struct search *s, size_t room, size_t slot, uint64_t value)
{
    if (s->value_count == room) return false;
    s->values[s->value_count++] = (struct value){.slot = (uint32_t)slot, .value = value};
    return true;
}

static size_t values_merge(struct search *s)
{
    size_t kept = 0;
    qsort(s->values, s->value_count, sizeof *s->values, by_slot_and_value);
    for (size_t i = 0; i < s->value_count; i++) {
        if (kept == 0 || by_slot_and_value(&s->values[kept - 1], &s->values[i]) != 0)
            s->values[kept++] = s->values[i];
    }
    return kept;
}

static bool values_collect(struct search *s)
{
    size_t room = 1, slot;
    uint64_t value;
    bool fits = true;
    for (size_t c = 0; c < s->count; c++)
        room += 3 + 2 * s->candidates[c].o->item_count;
    s->values = calloc(room, sizeof *s->values);
    if (s->values == NULL) return false;
    for (size_t c = 0; c < s->count; c++) {
        const struct candidate *candidate = &s->candidates[c];
        const struct kelp_sim_operation *o = candidate->o;
        s->counts = s->counts || o->action == KELP_SIM_INCR;
        for (size_t i = 0; needs(s, candidate, i, &slot, &value); i++)
            fits = fits && value_add(s, room, slot, value);
        for (size_t i = 0; writes(s, candidate, i, &slot, &value); i++)
            fits = fits && value_add(s, room, slot, value);
        if (o->action == KELP_SIM_CAS)
            fits = fits && value_add(s, room, key_slot(s, o->key), o->expected);
    }
    ASSERT(fits); /* the room above counts the same */
    s->value_count = values_merge(s);
    for (size_t c = 0; c < s->count; c++) {
        const struct candidate *candidate = &s->candidates[c];
        const struct kelp_sim_operation *o = candidate->o;
        for (size_t i = 0; writes(s, candidate, i, &slot, &value); i++)
            value_of(s, slot, value)->writers++;
        needs_change(s, candidate, 1);
        bool asks = candidate->back == KELP_NEVER || !o->swapped;
        if (o->action == KELP_SIM_CAS && asks)
            value_of(s, key_slot(s, o->key), o->expected)->watched = true;
        s->hides = s->hides ||
                   (o->action == KELP_SIM_CAS && candidate->looks && o->seen == KELP_SIM_UNTOLD);
    }
    return true;
}

/* ---- what was seen before ---- */

static bool seen_grow(struct search *s)
{
    size_t room = s->seen_room == 0 ? 1024 : 2 * s->seen_room;
    struct seen *bigger = calloc(room, sizeof *bigger);
    if (bigger == NULL) return false;
    for (size_t i = 0; i < s->seen_room; i++) {
        if (s->seen[i].a == 0 && s->seen[i].b == 0) continue;
        size_t at = s->seen[i].a & (room - 1);
        while (bigger[at].a != 0 || bigger[at].b != 0)
            at = (at + 1) & (room - 1);
        bigger[at] = s->seen[i];
    }
    free(s->seen);
    s->seen = bigger;
    s->seen_room = room;
    return true;
}

/* true: it is new. */
static bool seen_add(struct search *s)
{
    if (2 * (s->seen_count + 1) > s->seen_room && !seen_grow(s)) {
        s->no_memory = true;
        return false;
    }
    struct seen now = s->done;
    for (size_t i = 0; i < s->key_count; i++) {
        uint64_t value = s->state.values[i];
        if (dead(s, i, value)) value = KELP_SIM_UNTOLD; /* which no operation names */
        now.a = hash_mix(now.a + i, value);
        now.b = hash_mix(now.b ^ 0x5bd1e995u, value + i + 1);
    }
    if (now.a == 0 && now.b == 0) now.b = 1;
    size_t at = now.a & (s->seen_room - 1);
    for (; s->seen[at].a != 0 || s->seen[at].b != 0; at = (at + 1) & (s->seen_room - 1)) {
        if (s->seen[at].a == now.a && s->seen[at].b == now.b) return false;
    }
    s->seen[at] = now;
    s->seen_count++;
    s->states++;
    return true;
}

static void done_flip(struct search *s, uint32_t candidate)
{
    s->done.a ^= hash_mix(0x6b656c70u, candidate + 1);
    s->done.b ^= hash_mix(0x736561726368u, candidate + 1);
}

/* ---- the list of events ---- */

static void event_leave(struct search *s, uint32_t e)
{
    s->events[s->events[e].before].after = s->events[e].after;
    if (s->events[e].after != NO_EVENT) s->events[s->events[e].after].before = s->events[e].before;
}

static void event_rejoin(struct search *s, uint32_t e)
{
    s->events[s->events[e].before].after = e;
    if (s->events[e].after != NO_EVENT) s->events[s->events[e].after].before = e;
}

/* The first return that is still open, NO_EVENT: all are done. */
static uint32_t first_return(const struct search *s)
{
    uint32_t e = s->events[0].after;
    while (e != NO_EVENT && s->events[e].call)
        e = s->events[e].after;
    return e;
}

/* Do candidate c, found at `from`; false: it does not fit or leads where the search has been. */
static bool step_try(struct search *s, uint32_t c, uint32_t from, bool open)
{
    struct step *step = &s->steps[s->depth];
    const struct candidate *candidate = &s->candidates[c];
    enum worth worth = candidate->looks ? WORTH_DOING : write_worth(s, candidate);
    if (worth == WORTH_NOTHING) return false;
    *step = (struct step){c, from, open, worth == WORTH_DOING, s->state};
    if (!fits(s, candidate)) return false;
    done_flip(s, c);
    needs_change(s, candidate, UINT32_MAX);
    if (!step->forced && !seen_add(s)) {
        done_flip(s, c);
        needs_change(s, candidate, 1);
        s->state = step->before;
        return false;
    }
    if (open) {
        s->open_done[from] = true;
    } else {
        event_leave(s, s->events[from].partner);
        event_leave(s, from);
    }
    s->depth++;
    return true;
}

static struct step step_back(struct search *s)
{
    struct step step = s->steps[--s->depth];
    done_flip(s, step.candidate);
    needs_change(s, &s->candidates[step.candidate], 1);
    s->state = step.before;
    if (step.open) {
        s->open_done[step.from] = false;
    } else {
        event_rejoin(s, step.from);
        event_rejoin(s, s->events[step.from].partner);
    }
    return step;
}

/* ---- the search ---- */

/* What changes nothing that matters: done at once. */
static bool step_free(struct search *s)
{
    for (uint32_t e = s->events[0].after; e != NO_EVENT && s->events[e].call;
         e = s->events[e].after) {
        uint32_t c = s->events[e].candidate;
        const struct candidate *candidate = &s->candidates[c];
        bool is_free = candidate->looks || write_worth(s, candidate) == WORTH_DOING;
        if (is_free && step_try(s, c, e, false)) return true;
    }
    return false;
}

/* Something that changes the state, in the order of returns from event e on: whatever was called
 * before the first return of all. Then something open, from place `open` on. */
static bool step_change(struct search *s, uint32_t e, size_t open)
{
    uint32_t first = first_return(s);
    size_t left = 0;
    for (uint32_t call = s->events[0].after; call != first; call = s->events[call].after)
        left++;
    for (; e != NO_EVENT && left > 0; e = s->events[e].after) {
        uint32_t c = s->events[e].candidate, call = s->events[e].partner;
        if (s->events[e].call || call > first) continue; /* events are numbered by time */
        left--;
        if (!s->candidates[c].looks && step_try(s, c, call, false)) return true;
    }
    kelp_ns until = s->events[first].at;
    for (; open < s->count - s->closed; open++) {
        uint32_t c = (uint32_t)(s->closed + open);
        if (s->candidates[c].o->call > until) break;
        if (!s->open_done[open] && step_try(s, c, (uint32_t)open, true)) return true;
    }
    return false;
}

static bool step_other(struct search *s)
{
    while (s->depth > 0) {
        struct step step = step_back(s);
        if (step.forced) continue; /* doing it was no choice */
        bool found = step.open ? step_change(s, NO_EVENT, step.from + 1)
                               : step_change(s, s->events[s->events[step.from].partner].after, 0);
        if (found) return true;
    }
    return false;
}

static enum kelp_sim_judgement search_go(struct search *s)
{
    while (first_return(s) != NO_EVENT) {
        if (step_free(s) || step_change(s, first_return(s), 0) || step_other(s)) {
            if (s->states > s->states_max) return KELP_SIM_UNDECIDED;
            continue;
        }
        return s->no_memory ? KELP_SIM_NO_MEMORY : KELP_SIM_NOT_LINEARIZABLE;
    }
    return KELP_SIM_LINEARIZABLE;
}

/* ---- setting up ---- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int by_at(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    if (x->call != y->call) return x->call ? -1 : 1; /* at one moment calls first: they overlap */
    return x->candidate < y->candidate ? -1 : x->candidate > y->candidate;
}

static void key_collect(struct search *s, uint32_t key)
{
    for (size_t i = 0; i < s->key_count; i++) {
        if (s->keys[i] == key) return;
    }
    s->keys[s->key_count++] = key; /* history.c lets no more through than there is room for */
}

static void keys_collect(struct search *s)
{
    for (size_t i = 0; i < s->p->count; i++) {
        const struct kelp_sim_operation *o = part_at(s->p, i);
        if (o->action != KELP_SIM_MSET && o->action != KELP_SIM_MGET) key_collect(s, o->key);
        for (size_t k = 0; k < o->item_count; k++)
            key_collect(s, o->items[k].key);
    }
    for (size_t i = 0; i < KELP_SIM_TOGETHER_MAX; i++)
        s->state.values[i] = KELP_SIM_NOTHING;
}

static enum search_weight weight_of(const uint8_t *weights, size_t i)
{
    return weights == NULL ? WEIGHT_FULL : (enum search_weight)weights[i];
}

/* Every value that an answer shows. SIZE_MAX: answers may show more than they say (a compare-and-
 * set that failed and does not tell why, an INCR), or there is no memory. */
static size_t observed_collect(struct search *s, const uint8_t *weights)
{
    size_t room = 1, count = 0; /* never 0: calloc may answer that with NULL */
    for (size_t i = 0; i < s->p->count; i++)
        room += 2 + part_at(s->p, i)->item_count;
    s->observed = calloc(room, sizeof *s->observed);
    if (s->observed == NULL) return SIZE_MAX;
    for (size_t i = 0; i < s->p->count; i++) {
        const struct kelp_sim_operation *o = part_at(s->p, i);
        if (o->said == KELP_SIM_REFUSED || weight_of(weights, i) == WEIGHT_NONE) continue;
        bool told = o->said == KELP_SIM_OK && weight_of(weights, i) == WEIGHT_FULL;
        if (o->action == KELP_SIM_INCR) return SIZE_MAX;
        if (o->action == KELP_SIM_READ && told) s->observed[count++] = o->value;
        for (size_t k = 0; o->action == KELP_SIM_MGET && told && k < o->item_count; k++)
            s->observed[count++] = o->items[k].value;
        if (o->action != KELP_SIM_CAS) continue;
        if (told && !o->swapped && o->seen == KELP_SIM_UNTOLD) return SIZE_MAX;
        if (told && !o->swapped) s->observed[count++] = o->seen;
        /* One of unknown outcome that itself is seen by nobody asks for nothing. */
        if (!told || o->swapped) s->observed[count++] = o->expected;
    }
    qsort(s->observed, count, sizeof *s->observed, by_number);
    return count;
}

static bool observed(const struct search *s, uint64_t value)
{
    return bsearch(&value, s->observed, s->observed_count, sizeof value, by_number) != NULL;
}

/* Is there anybody for whom an open operation could matter? */
static bool matters(const struct search *s, const struct kelp_sim_operation *o)
{
    if (s->observed_count == SIZE_MAX) return true;
    bool seen = o->action != KELP_SIM_MSET && observed(s, o->value);
    for (size_t i = 0; o->action == KELP_SIM_MSET && i < o->item_count; i++)
        seen = seen || observed(s, o->items[i].value);
    return seen;
}

static void candidates_collect(struct search *s, const uint8_t *weights)
{
    for (int open = 0; open < 2; open++) { /* those with a return first; by call, as the part is */
        for (size_t i = 0; i < s->p->count; i++) {
            const struct kelp_sim_operation *o = part_at(s->p, i);
            enum search_weight weight = weight_of(weights, i);
            if (o->said == KELP_SIM_REFUSED || weight == WEIGHT_NONE) continue;
            struct candidate c = {o, weight == WEIGHT_OPEN ? KELP_NEVER : operation_back(o),
                                  operation_looks(o)};
            if ((c.back == KELP_NEVER) != (open == 1)) continue;
            if (open == 1 && (c.looks || !matters(s, o))) continue;
            s->candidates[s->count++] = c;
        }
        if (open == 0) s->closed = s->count;
    }
}

static void events_link(struct search *s)
{
    size_t count = 1;
    for (uint32_t c = 0; c < s->closed; c++) {
        s->events[count++] =
            (struct event){.candidate = c, .at = s->candidates[c].o->call, .call = true};
        s->events[count++] = (struct event){.candidate = c, .at = s->candidates[c].back};
    }
    qsort(s->events + 1, count - 1, sizeof *s->events, by_at);
    for (uint32_t e = 0; e < count; e++) {
        s->events[e].before = e - 1;
        s->events[e].after = e + 1 < count ? e + 1 : NO_EVENT;
        if (e == 0) continue;
        /* The steps are not in use yet: they hold where a call stands until its return is met. */
        if (s->events[e].call) {
            s->steps[s->events[e].candidate].from = e;
        } else {
            s->events[e].partner = s->steps[s->events[e].candidate].from;
            s->events[s->events[e].partner].partner = e;
        }
    }
}

static void search_free(struct search *s)
{
    free(s->candidates);
    free(s->events);
    free(s->open_done);
    free(s->steps);
    free(s->seen);
    free(s->observed);
    free(s->values);
}

enum kelp_sim_judgement search_run(const struct history_part *p, const uint8_t *weights,
                                   uint64_t *states)
{
    struct search s = {.p = p,
                       .candidates = calloc(p->count + 1, sizeof *s.candidates),
                       .events = calloc(2 * p->count + 1, sizeof *s.events),
                       .open_done = calloc(p->count + 1, sizeof *s.open_done),
                       .steps = calloc(p->count + 1, sizeof *s.steps),
                       .states_max = p->states_max};
    enum kelp_sim_judgement judgement = KELP_SIM_NO_MEMORY;
    if (s.candidates != NULL && s.events != NULL && s.open_done != NULL && s.steps != NULL) {
        keys_collect(&s);
        s.observed_count = observed_collect(&s, weights);
        candidates_collect(&s, weights);
        events_link(&s);
        if (values_collect(&s)) judgement = search_go(&s);
    }
    *states += s.states;
    search_free(&s);
    return judgement;
}

enum kelp_sim_judgement search_judge(const struct history_part *p, struct kelp_sim_verdict *v)
{
    v->checker = "search";
    if (p->count > KELP_SIM_SEARCH_MAX)
        return verdict_give(v, KELP_SIM_UNDECIDED,
                            SHOWN(p->which[0], SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY),
                            "an object of %zu operations is too large to search; at most %u",
                            p->count, KELP_SIM_SEARCH_MAX);
    enum kelp_sim_judgement judgement = search_run(p, NULL, &v->states);
    if (judgement == KELP_SIM_NOT_LINEARIZABLE) return window_find(p, v);
    if (judgement == KELP_SIM_UNDECIDED)
        return verdict_give(v, judgement,
                            SHOWN(p->which[0], SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY),
                            "no order found among %llu states, the bound; the object has %zu "
                            "operations",
                            (unsigned long long)p->states_max, p->count);
    return judgement;
}
