/* SPDX-License-Identifier: Apache-2.0 */
/* edit.h - what a change makes of a configuration: values only. [§4.1, §4.3] */
#ifndef CORE_EDIT_H
#define CORE_EDIT_H

#include "kelp/change.h"

/* edit_refusal - may this change be made of a simple configuration? KELP_R_NONE, or why not and
 * *member, whom it is about (0: nobody). */
enum kelp_reason edit_refusal(const struct kelp_config *now, const struct kelp_change *change,
                              uint32_t members_max, kelp_id *member);

/* edit_target - the configuration that is asked for: every edit made, and whoever is staging has
 * the vote. change NULL: no edit; otherwise one that edit_refusal let pass. */
void edit_target(const struct kelp_config *now, const struct kelp_change *change,
                 struct kelp_config *target);

/* edit_stage - the first step towards a target: new members are there, new voters are staging,
 * everything else is as now. Returns how many are staging. */
uint32_t edit_stage(const struct kelp_config *now, const struct kelp_config *target,
                    struct kelp_config *staged);

/* edit_unstage - whoever is staging is a learner. */
void edit_unstage(struct kelp_config *config);

/* edit_voters_changed - how many members vote in one of the two and not in the other. */
uint32_t edit_voters_changed(const struct kelp_config *now, const struct kelp_config *target);

/* edit_same - nobody comes, leaves or has another role or priority. */
bool edit_same(const struct kelp_config *now, const struct kelp_config *target);

/* edit_moves - a member gets another address. */
bool edit_moves(const struct kelp_change *change);

/* edit_join - the joint configuration of two simple ones. */
void edit_join(const struct kelp_config *now, const struct kelp_config *target,
               struct kelp_config *joint);

/* edit_leave - the simple configuration that a joint one leads to. */
void edit_leave(const struct kelp_config *joint, struct kelp_config *target);

/* edit_staging - somebody is staging. */
bool edit_staging(const struct kelp_config *config);

#endif
