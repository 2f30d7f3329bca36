/* SPDX-License-Identifier: Apache-2.0 */
/* quorums.h - do two configurations share a node in every decision? [§4.1] */
#ifndef SIM_QUORUMS_H
#define SIM_QUORUMS_H

#include "kelp/types.h"

/* quorums_meet - no quorum of one is without a member in every quorum of the other. */
bool quorums_meet(const struct kelp_config *a, const struct kelp_config *b);

#endif
