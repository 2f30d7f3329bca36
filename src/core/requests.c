/* SPDX-License-Identifier: Apache-2.0 */
/* requests.c - everything answered, once: a slot is opened by a push, resolved once, taken once.
 *
 *      push -> OPEN --resolve--> RESOLVED --take--> gone
 *
 * Invariants: open + resolved <= count <= max; an outcome is never replaced. Deadlines are looked
 * at in one sweep when the earliest may be due, at most once a millisecond, so that a thousand
 * different deadlines cost little. */
#include "core/requests.h"

#include "base/assert.h"
#include "base/min.h"

#define SWEEP_PAUSE 1000000u /* ns between two sweeps for deadlines */

void requests_init(struct requests *q, struct request *slots, uint32_t max)
{
    ASSERT(max >= 1);
    *q = (struct requests){.slots = slots, .max = max, .deadline = KELP_NEVER, .sorted = true};
}

bool requests_full(const struct requests *q)
{
    return q->count == q->max;
}

struct request *requests_at(const struct requests *q, uint32_t number)
{
    ASSERT(number < q->count);
    uint32_t at = q->head + number;
    return &q->slots[at >= q->max ? at - q->max : at];
}

void requests_push(struct requests *q, struct request request)
{
    ASSERT(!requests_full(q));
    ASSERT(request.token != 0 && request.outcome == 0);
    if (q->count == 0)
        q->sorted = true;
    else if (requests_at(q, q->count - 1)->pos.index >= request.pos.index)
        q->sorted = false;
    q->count++;
    q->open++;
    *requests_at(q, q->count - 1) = request;
    q->deadline = min_u64(q->deadline, request.deadline);
}

void requests_resolve(struct requests *q, struct request *request, enum kelp_outcome outcome,
                      enum kelp_reason reason)
{
    ASSERT(request->token != 0);
    ASSERT(request->outcome == 0);
    request->outcome = (uint8_t)outcome;
    request->reason = (uint8_t)reason;
    q->open--;
    q->resolved++;
}

void requests_resolve_all(struct requests *q, enum kelp_outcome outcome, enum kelp_reason reason)
{
    for (uint32_t number = 0; q->open > 0; number++) {
        struct request *request = requests_at(q, number);
        if (request->outcome == 0) requests_resolve(q, request, outcome, reason);
    }
    q->deadline = KELP_NEVER;
    ASSERT(q->open == 0);
}

void requests_expire(struct requests *q, kelp_ns now, enum kelp_outcome outcome,
                     enum kelp_reason reason)
{
    if (now < q->deadline) return;
    kelp_ns next = KELP_NEVER;
    for (uint32_t number = 0; number < q->count; number++) {
        struct request *request = requests_at(q, number);
        if (request->outcome != 0) continue;
        if (request->deadline <= now)
            requests_resolve(q, request, outcome, reason);
        else
            next = min_u64(next, request->deadline);
    }
    q->deadline = next == KELP_NEVER ? next : max_u64(next, add_sat(now, SWEEP_PAUSE));
}

struct request *requests_find(const struct requests *q, uint64_t token)
{
    for (uint32_t number = 0; number < q->count; number++) {
        struct request *request = requests_at(q, number);
        if (request->token == token && request->outcome == 0) return request;
    }
    return NULL;
}

static struct kelp_answer answer_of(const struct request *request)
{
    return (struct kelp_answer){.token = request->token,
                                .outcome = (enum kelp_outcome)request->outcome,
                                .reason = (enum kelp_reason)request->reason,
                                .pos = request->pos};
}

uint32_t requests_take(struct requests *q, struct kelp_answer *out, uint32_t max)
{
    uint32_t taken = 0;
    for (uint32_t number = 0; q->resolved > 0 && taken < max; number++) {
        struct request *request = requests_at(q, number);
        if (request->token == 0 || request->outcome == 0) continue;
        out[taken++] = answer_of(request);
        request->token = 0;
        q->resolved--;
    }
    while (q->count > 0 && q->slots[q->head].token == 0) {
        q->head = q->head + 1 == q->max ? 0 : q->head + 1;
        q->count--;
    }
    return taken;
}
