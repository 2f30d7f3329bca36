/* SPDX-License-Identifier: Apache-2.0 */
/* normal.h - a core without its past: two that will act alike become equal, byte for byte. */
#ifndef CORE_NORMAL_H
#define CORE_NORMAL_H

#include "kelp/core.h"

#define NORMAL_NOW 1000000000000u /* ns; what a normal core's clock shows */

/* core_normalise - bring a core that was just taken empty into its normal form. Its future stays
 * the same where a timer may fire at any moment, nothing is compacted, no disk is called stalled,
 * the revision is not looked at from outside, and message ids are those that normal.c names. */
void core_normalise(struct kelp_core *r);

#endif
