/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - from a configuration, and who answers, to a verdict: values only. */
#ifndef CORE_PLAN_H
#define CORE_PLAN_H

#include "core/quorum.h"
#include "kelp/plan.h"

struct plan_facts {
    const struct kelp_config *now; /* a change is only judged if it is simple */
    uint32_t members_max;
    kelp_id leader;          /* who leads now */
    slot_set answers;        /* members that are heard, the leader among them */
    slot_set late;           /* others that a new leader waits for; no plan counts them */
    slot_set able;           /* who could take over, as far as role and priority allow */
    const kelp_index *match; /* by slot: how much of the leader's log it has */
};

/* plan_spare - how many voters more may go away before nothing can be written, if these answer. */
uint32_t plan_spare(const struct kelp_config *config, slot_set answers);

/* plan_change - everything about a change, and whether it is refused. */
void plan_change(const struct plan_facts *facts, const struct kelp_change *change,
                 struct kelp_plan *plan);

/* plan_stop - the same about stopping a member's process. flags: enum kelp_change_flag. */
void plan_stop(const struct plan_facts *facts, kelp_id id, uint32_t flags, struct kelp_plan *plan);

#endif
