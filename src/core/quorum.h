/* SPDX-License-Identifier: Apache-2.0 */
/* quorum.h - majorities over the voters of a configuration, both halves of a joint one. [§3.4,
 * §4.3] */
#ifndef CORE_QUORUM_H
#define CORE_QUORUM_H

#include "kelp/types.h"

/* By slot of config->members. */
typedef uint32_t slot_set; /* bit s: member s; KELP_MEMBERS_MAX bits */

/* quorum_has - the set holds a majority of every half. An empty half never decides anything. */
bool quorum_has(const struct kelp_config *config, slot_set set);

/* quorum_cannot - with these members refusing, no majority can form any more. */
bool quorum_cannot(const struct kelp_config *config, slot_set refused);

/* quorum_value - the largest v such that members with value >= v are a quorum: the k-th largest of
 * each half,
 * the smaller of the two. values by slot. */
uint64_t quorum_value(const struct kelp_config *config, const uint64_t values[KELP_MEMBERS_MAX]);

#endif
