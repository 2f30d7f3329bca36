/* SPDX-License-Identifier: Apache-2.0 */
/* model.h - a second state machine that says what every answer must be (kelp_sim_options.model).
 *
 * It is fed each committed command once, in the order of the log, by whichever node applies it
 * first. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "kelp/sim.h"

struct checker;
struct model;

/* model_new - NULL: out of memory, or the model could not be made. */
struct model *model_new(const struct kelp_sim_machine *model, const struct kelp_sim_machine *tested,
                        struct checker *checker);
void model_free(struct model *m); /* after all machines that it watches were closed */

/* model_watch - a machine that does what the given one of a node does, whose answers are compared;
 * NULL: out of memory. Closed through its ops, which closes the given one. */
void *model_watch(struct model *m, kelp_id node, void *machine);
const struct kelp_fsm_ops *model_ops(const struct model *m); /* of what model_watch returns */

#endif
