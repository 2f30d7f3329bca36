/* SPDX-License-Identifier: Apache-2.0 */
/* history.c - takes a history apart and has every object judged.                      [history.h]
 *
 * The recorder comes first: if what it wrote cannot have been, no judgement means anything. Then
 * keys that some operation names together become one object (union of sets), and each object goes
 * to the judge that fits what was done to it. */
#include "sim/history.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- verdicts ---- */

void verdict_show(struct kelp_sim_verdict *v, size_t operation)
{
    for (size_t i = 0; i < v->window_count; i++) {
        if (v->window[i] == operation) return;
    }
    if (v->window_count < KELP_SIM_WINDOW_MAX) v->window[v->window_count++] = operation;
}

enum kelp_sim_judgement verdict_give(struct kelp_sim_verdict *v, enum kelp_sim_judgement judgement,
                                     const size_t shown[4], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(v->reason, sizeof v->reason, format, arguments);
    va_end(arguments);
    v->judgement = judgement;
    for (size_t i = 0; i < 4; i++) {
        if (shown[i] != SHOWN_NOBODY) verdict_show(v, shown[i]);
    }
    return judgement;
}

static void window_sort(const struct kelp_sim_operation *operations, struct kelp_sim_verdict *v)
{
    for (size_t i = 1; i < v->window_count; i++) {
        for (size_t k = i; k > 0; k--) {
            size_t a = v->window[k - 1], b = v->window[k];
            if (operations[a].call < operations[b].call ||
                (operations[a].call == operations[b].call && a < b))
                break;
            v->window[k - 1] = b;
            v->window[k] = a;
        }
    }
}

const char *kelp_sim_action_name(enum kelp_sim_action action)
{
    switch (action) {
    case KELP_SIM_READ:
    case KELP_SIM_LIST: return "read";
    case KELP_SIM_WRITE: return "write";
    case KELP_SIM_CAS: return "cas";
    case KELP_SIM_INCR: return "incr";
    case KELP_SIM_APPEND: return "append";
    case KELP_SIM_MSET: return "mset";
    case KELP_SIM_MGET: return "mget";
    }
    return "?";
}

/* ---- sorting operations ---- */

struct place { /* qsort takes no context, so what it compares travels along */
    uint64_t by, then;
    size_t operation;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->by != y->by) return x->by < y->by ? -1 : 1;
    if (x->then != y->then) return x->then < y->then ? -1 : 1;
    return x->operation < y->operation ? -1 : x->operation > y->operation;
}

struct judge {
    const struct kelp_sim_operation *operations;
    size_t count;
    uint64_t states_max;
    struct kelp_sim_verdict *v;
    struct place *places;
    size_t *which;
    uint32_t *keys; /* sorted, each once */
    uint32_t *root; /* by key's slot: the slot that stands for its object */
    uint32_t *size; /* by that slot: how many keys the object has */
    size_t key_count;
};

/* ---- the recorder ---- */

static enum kelp_sim_judgement recorder_wrong(struct judge *j, size_t a, size_t b,
                                              const char *words)
{
    j->v->checker = "recorder";
    if (b == SHOWN_NOBODY)
        return verdict_give(j->v, KELP_SIM_BAD_HISTORY,
                            SHOWN(a, SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY), "#%zu %s", a + 1,
                            words);
    return verdict_give(j->v, KELP_SIM_BAD_HISTORY, SHOWN(a, b, SHOWN_NOBODY, SHOWN_NOBODY),
                        "#%zu %s #%zu", a + 1, words, b + 1);
}

static const char *items_wrong(const struct kelp_sim_operation *o)
{
    bool together = o->action == KELP_SIM_MSET || o->action == KELP_SIM_MGET;
    if (!together && o->action != KELP_SIM_LIST)
        return o->item_count != 0 ? "has items, which its action does not take" : NULL;
    if (o->item_count > 0 && o->items == NULL) return "says it has items and has none";
    if (together && o->item_count == 0) return "names no key";
    if (together && o->item_count > KELP_SIM_TOGETHER_MAX) return "names too many keys";
    for (size_t i = 0; i < o->item_count; i++) {
        if (o->items[i].value >= KELP_SIM_UNTOLD && o->action != KELP_SIM_MGET)
            return "has a value that stands for none";
        for (size_t k = 0; together && k < i; k++) {
            if (o->items[i].key == o->items[k].key) return "names a key twice";
        }
    }
    return NULL;
}

static const char *operation_wrong(const struct kelp_sim_operation *o)
{
    if ((unsigned)o->action >= KELP_SIM_ACTION_COUNT) return "is of no known action";
    if ((unsigned)o->said >= KELP_SIM_SAID_COUNT) return "is of no known outcome";
    if (o->call > INT64_MAX) return "was never called";
    if (o->said == KELP_SIM_OK && o->back > INT64_MAX) return "is done and never returned";
    if (o->back < o->call) return "returned before it was called";
    if ((o->action == KELP_SIM_WRITE || o->action == KELP_SIM_CAS ||
         o->action == KELP_SIM_APPEND) &&
        o->value >= KELP_SIM_UNTOLD)
        return "writes a value that stands for none";
    if (o->action == KELP_SIM_INCR && o->said == KELP_SIM_OK &&
        (o->number == 0 || o->number > INT64_MAX))
        return "was told a number that no INCR makes";
    return items_wrong(o);
}

/* A process asks one thing at a time. */
static enum kelp_sim_judgement recorder_judge(struct judge *j)
{
    for (size_t i = 0; i < j->count; i++) {
        const char *wrong = operation_wrong(&j->operations[i]);
        if (wrong != NULL) return recorder_wrong(j, i, SHOWN_NOBODY, wrong);
        j->places[i] = (struct place){j->operations[i].process, j->operations[i].call, i};
    }
    qsort(j->places, j->count, sizeof *j->places, by_place);
    for (size_t i = 1; i < j->count; i++) {
        const struct place *x = &j->places[i - 1], *y = &j->places[i];
        if (x->by != y->by || j->operations[x->operation].back <= y->then) continue;
        return recorder_wrong(j, y->operation, x->operation, "is of the same process and overlaps");
    }
    return KELP_SIM_LINEARIZABLE;
}

/* ---- objects ---- */

static int by_key(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t slot_of(const struct judge *j, uint32_t key)
{
    const uint32_t *found = bsearch(&key, j->keys, j->key_count, sizeof key, by_key);
    return (uint32_t)(found - j->keys);
}

static uint32_t root_of(struct judge *j, uint32_t slot)
{
    while (j->root[slot] != slot) {
        j->root[slot] = j->root[j->root[slot]];
        slot = j->root[slot];
    }
    return slot;
}

static bool together(const struct kelp_sim_operation *o)
{
    return o->action == KELP_SIM_MSET || o->action == KELP_SIM_MGET;
}

static uint32_t first_key(const struct kelp_sim_operation *o)
{
    return together(o) ? o->items[0].key : o->key;
}

static bool objects_make(struct judge *j)
{
    size_t room = 1;
    for (size_t i = 0; i < j->count; i++)
        room += together(&j->operations[i]) ? j->operations[i].item_count : 1;
    j->keys = calloc(room, sizeof *j->keys);
    j->root = calloc(room, sizeof *j->root);
    j->size = calloc(room, sizeof *j->size);
    if (j->keys == NULL || j->root == NULL || j->size == NULL) return false;
    size_t named = 0;
    for (size_t i = 0; i < j->count; i++) {
        const struct kelp_sim_operation *o = &j->operations[i];
        if (!together(o)) j->keys[named++] = o->key;
        for (size_t k = 0; together(o) && k < o->item_count; k++)
            j->keys[named++] = o->items[k].key;
    }
    qsort(j->keys, named, sizeof *j->keys, by_key);
    for (size_t i = 0; i < named; i++) {
        if (j->key_count > 0 && j->keys[j->key_count - 1] == j->keys[i]) continue;
        j->root[j->key_count] = (uint32_t)j->key_count;
        j->size[j->key_count] = 1;
        j->keys[j->key_count++] = j->keys[i];
    }
    for (size_t i = 0; i < j->count; i++) {
        const struct kelp_sim_operation *o = &j->operations[i];
        for (size_t k = 1; together(o) && k < o->item_count; k++) {
            uint32_t a = root_of(j, slot_of(j, o->items[0].key));
            uint32_t b = root_of(j, slot_of(j, o->items[k].key));
            if (a == b) continue;
            j->root[b] = a;
            j->size[a] += j->size[b];
        }
    }
    return true;
}

/* ---- which judge ---- */

struct kinds {
    size_t seen[KELP_SIM_ACTION_COUNT]; /* refused ones too */
    size_t last[KELP_SIM_ACTION_COUNT];
    size_t items_nowhere; /* a plain read of something */
};

static struct kinds kinds_of(const struct history_part *p)
{
    struct kinds kinds = {0};
    for (size_t i = 0; i < p->count; i++) {
        const struct kelp_sim_operation *o = part_at(p, i);
        kinds.seen[o->action]++;
        kinds.last[o->action] = p->which[i];
        kinds.items_nowhere +=
            o->action == KELP_SIM_READ && o->said == KELP_SIM_OK && o->value != KELP_SIM_NOTHING;
    }
    return kinds;
}

/* Values written more than once, or appended more than once: *twice is one of the operations. */
static bool written_twice(struct judge *j, const struct history_part *p,
                          enum kelp_sim_action action, size_t *twice)
{
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct kelp_sim_operation *o = part_at(p, i);
        if (o->action == action) j->places[count++] = (struct place){o->value, 0, p->which[i]};
    }
    qsort(j->places, count, sizeof *j->places, by_place);
    for (size_t i = 1; i < count; i++) {
        if (j->places[i].by != j->places[i - 1].by) continue;
        twice[0] = j->places[i].operation;
        twice[1] = j->places[i - 1].operation;
        return true;
    }
    return false;
}

static enum kelp_sim_judgement list_judge(struct judge *j, const struct history_part *p,
                                          const struct kinds *kinds)
{
    size_t twice[2];
    for (unsigned action = 0; action < KELP_SIM_ACTION_COUNT; action++) {
        bool fits = action == KELP_SIM_APPEND || action == KELP_SIM_LIST || action == KELP_SIM_READ;
        if (kinds->seen[action] == 0 || fits) continue;
        return recorder_wrong(j, kinds->last[action], SHOWN_NOBODY,
                              "is of a key that is also a list");
    }
    if (kinds->items_nowhere > 0)
        return recorder_wrong(j, kinds->last[KELP_SIM_READ], SHOWN_NOBODY,
                              "reads a value of a key that is a list");
    if (written_twice(j, p, KELP_SIM_APPEND, twice))
        return recorder_wrong(j, twice[0], twice[1], "appends the same as");
    return append_judge(p, j->v);
}

static enum kelp_sim_judgement object_judge(struct judge *j, const struct history_part *p,
                                            size_t keys)
{
    struct kinds kinds = kinds_of(p);
    size_t twice[2];
    if (kinds.seen[KELP_SIM_APPEND] + kinds.seen[KELP_SIM_LIST] > 0)
        return list_judge(j, p, &kinds);
    size_t plain = kinds.seen[KELP_SIM_READ] + kinds.seen[KELP_SIM_WRITE];
    size_t counted = kinds.seen[KELP_SIM_READ] + kinds.seen[KELP_SIM_INCR];
    for (size_t i = 0; kinds.seen[KELP_SIM_INCR] > 0 && i < p->count; i++) {
        const struct kelp_sim_operation *o = part_at(p, i);
        if (o->action == KELP_SIM_READ && o->said == KELP_SIM_OK && o->value > INT64_MAX &&
            o->value != KELP_SIM_NOTHING)
            return recorder_wrong(j, p->which[i], SHOWN_NOBODY, "reads no number of a counter");
    }
    if (keys == 1 && counted == p->count && kinds.seen[KELP_SIM_INCR] > 0)
        return ledger_judge(p, j->v);
    if (keys == 1 && plain == p->count && !written_twice(j, p, KELP_SIM_WRITE, twice))
        return register_judge(p, j->v);
    j->v->checker = "search";
    if (keys > KELP_SIM_TOGETHER_MAX)
        return verdict_give(
            j->v, KELP_SIM_UNDECIDED, SHOWN(p->which[0], SHOWN_NOBODY, SHOWN_NOBODY, SHOWN_NOBODY),
            "%zu keys are named together; at most %u can be searched", keys, KELP_SIM_TOGETHER_MAX);
    return search_judge(p, j->v);
}

/* Operations sorted by object, then by call: every object is one run of them. */
static enum kelp_sim_judgement objects_judge(struct judge *j)
{
    for (size_t i = 0; i < j->count; i++) {
        const struct kelp_sim_operation *o = &j->operations[i];
        j->places[i] = (struct place){root_of(j, slot_of(j, first_key(o))), o->call, i};
    }
    qsort(j->places, j->count, sizeof *j->places, by_place);
    for (size_t i = 0; i < j->count; i++)
        j->which[i] = j->places[i].operation;
    for (size_t begin = 0, end; begin < j->count; begin = end) {
        uint32_t object = root_of(j, slot_of(j, first_key(&j->operations[j->which[begin]])));
        for (end = begin; end < j->count; end++) {
            const struct kelp_sim_operation *o = &j->operations[j->which[end]];
            if (root_of(j, slot_of(j, first_key(o))) != object) break;
        }
        struct history_part part = {j->operations, j->which + begin, end - begin, j->states_max};
        enum kelp_sim_judgement judgement = object_judge(j, &part, j->size[object]);
        if (judgement != KELP_SIM_LINEARIZABLE) return judgement;
    }
    return KELP_SIM_LINEARIZABLE;
}

enum kelp_sim_judgement kelp_sim_check_history(const struct kelp_sim_operation *operations,
                                               size_t count, uint64_t states_max,
                                               struct kelp_sim_verdict *verdict)
{
    *verdict = (struct kelp_sim_verdict){.checker = ""};
    struct judge j = {.operations = operations,
                      .count = count,
                      .states_max = states_max != 0 ? states_max : KELP_SIM_STATES_MAX,
                      .v = verdict,
                      .places = calloc(count + 1, sizeof *j.places),
                      .which = calloc(count + 1, sizeof *j.which)};
    enum kelp_sim_judgement judgement = KELP_SIM_NO_MEMORY;
    if (j.places != NULL && j.which != NULL && count < UINT32_MAX / 4) {
        judgement = recorder_judge(&j);
        if (judgement == KELP_SIM_LINEARIZABLE)
            judgement = objects_make(&j) ? objects_judge(&j) : KELP_SIM_NO_MEMORY;
    }
    if (judgement == KELP_SIM_NO_MEMORY)
        (void)snprintf(verdict->reason, sizeof verdict->reason, "out of memory");
    verdict->judgement = judgement;
    if (judgement != KELP_SIM_BAD_HISTORY) window_sort(operations, verdict);
    free(j.places);
    free(j.which);
    free(j.keys);
    free(j.root);
    free(j.size);
    return judgement;
}
