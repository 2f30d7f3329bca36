/* SPDX-License-Identifier: Apache-2.0 */
/* requests.h - open proposals or open reads: a ring of slots, each of which gets exactly one
 * outcome. */
#ifndef CORE_REQUESTS_H
#define CORE_REQUESTS_H

#include "kelp/core.h"

struct request {
    uint64_t token; /* 0: answered already, the slot goes when it reaches the head */
    kelp_ns deadline;
    uint64_t round; /* reads: the round that must be answered, 0: not stamped */
    /* proposals: where the entry stands; reads: the index that must be applied */
    struct kelp_pos pos;
    uint8_t outcome; /* enum kelp_outcome, 0: open */
    uint8_t reason;
    bool leased; /* reads: no round is needed */
};

struct requests {
    struct request *slots; /* ring of max, in order of arrival */
    uint32_t max, head, count;
    uint32_t open;     /* slots without an outcome */
    uint32_t resolved; /* slots with an outcome that was not taken yet */
    kelp_ns deadline;  /* no open slot is due before it */
    bool sorted;       /* slots ascend by pos.index; a truncation may have broken that */
};

void requests_init(struct requests *q, struct request *slots, uint32_t max);
bool requests_full(const struct requests *q);
void requests_push(struct requests *q, struct request request);

/* requests_at - the slot at a distance from the head. */
struct request *requests_at(const struct requests *q, uint32_t number);

/* requests_resolve - give an open slot its outcome. */
void requests_resolve(struct requests *q, struct request *request, enum kelp_outcome outcome,
                      enum kelp_reason reason);
void requests_resolve_all(struct requests *q, enum kelp_outcome outcome, enum kelp_reason reason);

/* requests_expire - every open slot that is due gets this outcome. */
void requests_expire(struct requests *q, kelp_ns now, enum kelp_outcome outcome,
                     enum kelp_reason reason);

/* requests_find - the open slot with this token, NULL if there is none. */
struct request *requests_find(const struct requests *q, uint64_t token);

/* requests_take - move resolved slots out as answers, in order of arrival; returns how many. */
uint32_t requests_take(struct requests *q, struct kelp_answer *out, uint32_t max);

#endif
