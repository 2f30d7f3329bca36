/* SPDX-License-Identifier: Apache-2.0 */
/* shrink.h - a run told in sentences: what the smallest schedule says of itself. */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "kelp/sim.h"

struct retell;
struct retell *retell_new(void); /* NULL: out of memory */
void retell_free(struct retell *r);
/* For kelp_sim_options.trace: gathers faults and what they did to nodes and links. */
void retell_record(void *ctx, const struct kelp_sim_event *event);
uint64_t retell_faults(const struct retell *r);
/* A sentence a line; owned by the caller. NULL: out of memory. */
char *retell_words(const struct retell *r);

#endif
