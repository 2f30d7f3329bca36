/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - what clients of the built-in machine asked and were told, as a history that knows
 * nothing of commits, judged when the run is over.                            [kelp/history.h]
 *
 * A place in a client's pipeline is a process: what stands in one place never overlaps. After an
 * outcome that nobody knows the place goes on under a new name. Reads without an answer say nothing
 * and are left out; what was refused stays, since it must never be seen.
 *
 * A register that is lent is empty more than once, and nobody is told when. To the history each
 * read that finds it so finds a value of its own, which nobody knows to have been written: it may
 * have come at any time, but not while another value stood that was read before and after it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/min.h"
#include "sim/world.h"

#define STATES_MAX (1u << 18) /* of one search; 4 MiB */

static bool record_reserve(struct record *r)
{
    if (r->count + 2 > r->room) { /* one operation, or two: see empty_add */
        size_t room = max_u64(2 * r->room, 2048);
        struct kelp_sim_operation *operations = realloc(r->operations, room * sizeof *operations);
        if (operations != NULL) r->operations = operations;
        size_t *items_at = realloc(r->items_at, room * sizeof *items_at);
        if (items_at != NULL) r->items_at = items_at;
        if (operations == NULL || items_at == NULL) return false;
        r->room = room;
    }
    if (r->item_count + MACHINE_LIST_MAX > r->item_room) {
        size_t room = max_u64(2 * r->item_room, 4096);
        struct kelp_sim_item *items = realloc(r->items, room * sizeof *items);
        if (items == NULL) return false;
        r->items = items;
        r->item_room = room;
    }
    return true;
}

static uint64_t record_value(uint64_t value)
{
    return value != 0 ? value : KELP_SIM_NOTHING;
}

static enum kelp_sim_action action_of(const struct request *q)
{
    switch ((enum machine_kind)q->more.kind) {
    case MACHINE_SET: return q->read ? KELP_SIM_READ : KELP_SIM_WRITE;
    case MACHINE_SWAP: return q->read ? KELP_SIM_READ : KELP_SIM_CAS;
    case MACHINE_COUNT: return q->read ? KELP_SIM_READ : KELP_SIM_INCR;
    case MACHINE_APPEND: return q->read ? KELP_SIM_LIST : KELP_SIM_APPEND;
    case MACHINE_SEVERAL: return q->read ? KELP_SIM_MGET : KELP_SIM_MSET;
    case MACHINE_LEND: return q->read ? KELP_SIM_READ : KELP_SIM_WRITE;
    case MACHINE_KINDS: break;
    }
    return KELP_SIM_READ;
}

/* The items of an operation on several names, or of a list; false: the answer is none. */
static bool items_add(struct record *r, const struct request *q, struct kelp_bytes result,
                      struct kelp_sim_operation *o)
{
    size_t names = 1u + q->more.others;
    if (o->action == KELP_SIM_LIST) {
        uint64_t length = result.len >= 8 ? load_u64(result.data) : MACHINE_GONE;
        if (length > MACHINE_LIST_MAX || result.len != 8 + 8 * length) return false;
        for (o->item_count = 0; o->item_count < length; o->item_count++)
            r->items[r->item_count++] =
                (struct kelp_sim_item){0, load_u64(result.data + 8 + 8 * o->item_count)};
        return true;
    }
    if (o->action != KELP_SIM_MSET && o->action != KELP_SIM_MGET) return true;
    if (o->action == KELP_SIM_MGET && result.len != 8 * names) return false;
    for (size_t i = 0; i < names; i++) {
        uint64_t value = q->read ? load_u64(result.data + 8 * i) : q->value;
        r->items[r->item_count++] =
            (struct kelp_sim_item){i == 0 ? q->name : q->more.names[i - 1], record_value(value)};
    }
    o->item_count = names;
    return true;
}

/* What was answered, in 8 bytes; a read needs it, and so does what tells of the state. */
static bool answer_add(struct kelp_bytes result, struct kelp_sim_operation *o)
{
    uint64_t answer = result.len >= 8 ? load_u64(result.data) : 0;
    bool needed = o->action == KELP_SIM_READ || o->action == KELP_SIM_CAS ||
                  o->action == KELP_SIM_INCR || o->action == KELP_SIM_APPEND;
    if (needed && result.len < 8) return false;
    if (o->action == KELP_SIM_READ) o->value = record_value(answer); /* a counter too starts so */
    if (o->action == KELP_SIM_CAS) {
        o->seen = record_value(answer);
        o->swapped = o->seen == o->expected;
    }
    if (o->action == KELP_SIM_INCR || o->action == KELP_SIM_APPEND) o->number = answer;
    /* A list that is full or gone takes nothing. */
    if (o->action == KELP_SIM_APPEND && answer == 0) o->said = KELP_SIM_REFUSED;
    return true;
}

static enum kelp_sim_said said_of(enum kelp_outcome outcome)
{
    switch (outcome) {
    case KELP_DONE: return KELP_SIM_OK;
    case KELP_REFUSED:
    case KELP_LOST: return KELP_SIM_REFUSED;
    case KELP_UNKNOWN: break;
    }
    return KELP_SIM_UNKNOWN;
}

/* Its write, which has begun before all others. */
static void empty_add(struct world *w, struct kelp_sim_operation *read, uint64_t value)
{
    struct record *r = &w->clients.record;
    read->value = value;
    r->items_at[r->count] = r->item_count;
    r->operations[r->count++] = (struct kelp_sim_operation){.process = ++w->clients.processes,
                                                            .action = KELP_SIM_WRITE,
                                                            .said = KELP_SIM_UNKNOWN,
                                                            .back = KELP_NEVER,
                                                            .key = read->key,
                                                            .value = value,
                                                            .expected = KELP_SIM_NOTHING,
                                                            .seen = KELP_SIM_UNTOLD};
}

void record_answer(struct world *w, const struct request *q, enum kelp_outcome outcome,
                   struct kelp_bytes result)
{
    struct record *r = &w->clients.record;
    enum kelp_sim_said said = said_of(outcome);
    if (q->read && said != KELP_SIM_OK) return;
    if (!record_reserve(r)) {
        checker_fail(w->checker, RULE_W02, "no memory for a history");
        return;
    }
    struct kelp_sim_operation o = {.process = q->process,
                                   .action = action_of(q),
                                   .said = said,
                                   .call = q->call,
                                   .back = said == KELP_SIM_UNKNOWN ? KELP_NEVER : w->now,
                                   .key = q->name,
                                   .value = q->value,
                                   .expected = record_value(q->more.expected),
                                   .seen = KELP_SIM_UNTOLD};
    size_t items_at = r->item_count;
    if ((said == KELP_SIM_OK && !answer_add(result, &o)) || !items_add(r, q, result, &o)) return;
    if (q->more.kind == MACHINE_LEND && q->read && o.value == KELP_SIM_NOTHING)
        empty_add(w, &o, q->token);
    r->items_at[r->count] = items_at;
    r->operations[r->count++] = o;
}

/* ---- judging ---- */

static void operation_tell(const struct kelp_sim_operation *o, size_t number, char *out,
                           size_t size)
{
    uint64_t shown = o->action == KELP_SIM_INCR ? o->number : o->value;
    uint32_t key = o->item_count > 0 && o->action != KELP_SIM_LIST ? o->items[0].key : o->key;
    if (o->item_count > 0) shown = o->items[o->item_count - 1].value;
    (void)snprintf(out, size, "; #%zu %s %u: %llx, %llu..%llu us", number + 1,
                   kelp_sim_action_name(o->action), key, (unsigned long long)shown,
                   (unsigned long long)o->call / 1000,
                   (unsigned long long)(o->back == KELP_NEVER ? 0 : o->back / 1000));
}

bool record_judge(struct world *w)
{
    struct record *r = &w->clients.record;
    struct kelp_sim_verdict v;
    for (size_t i = 0; i < r->count; i++) /* they move no more */
        r->operations[i].items = r->operations[i].item_count > 0 ? r->items + r->items_at[i] : NULL;
    if (kelp_sim_check_history(r->operations, r->count, STATES_MAX, &v) == KELP_SIM_LINEARIZABLE)
        return true;
    char words[400] = "", *at = words;
    for (size_t i = 0; i < v.window_count && at < words + sizeof words - 100; i++) {
        operation_tell(&r->operations[v.window[i]], v.window[i], at, 100);
        while (*at != '\0')
            at++;
    }
    checker_fail(w->checker, RULE_S02, "%s: %.200s%s", v.checker, v.reason, words);
    return false;
}

void record_free(struct record *r)
{
    free(r->operations);
    free(r->items_at);
    free(r->items);
}
