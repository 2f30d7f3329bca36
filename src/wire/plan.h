/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - a plan <-> bytes: what a leader answers to a follower that asked for one. */
#ifndef WIRE_PLAN_H
#define WIRE_PLAN_H

#include "kelp/plan.h"

#define WIRE_PLAN_BYTES_MAX (64u + KELP_MEMBERS_MAX * 11u)

/* wire_plan_encode - write at most WIRE_PLAN_BYTES_MAX bytes; returns how many. */
size_t wire_plan_encode(const struct kelp_plan *plan, uint8_t *out);

/* wire_plan_decode - read and check: rows ascend by id, roles and ways are known. A reason, a flag
 * or a warning that this version does not know is kept: it only has no words. */
enum kelp_error wire_plan_decode(struct kelp_bytes in, struct kelp_plan *out,
                                 struct kelp_fault *fault);

#endif
