/* SPDX-License-Identifier: Apache-2.0 */
/* quorums.h - what a configuration decides, counted once more and not as the core does. [§4.1] */
#ifndef SIM_QUORUMS_H
#define SIM_QUORUMS_H

#include "kelp/types.h"

/* quorums_decide - these nodes together are enough. */
bool quorums_decide(const struct kelp_config *config, const kelp_id ids[], uint32_t count);

/* quorums_meet - no quorum of one is without a member in every quorum of the other. */
bool quorums_meet(const struct kelp_config *a, const struct kelp_config *b);

#endif
