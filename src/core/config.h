/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - reading a configuration: who is in it, and what does that mean for one node. [§4] */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "kelp/types.h"

#define CONFIG_NO_SLOT UINT32_MAX

/* config_slot - the slot of a member, CONFIG_NO_SLOT if it is none. */
uint32_t config_slot(const struct kelp_config *config, kelp_id id);

/* config_votes - counted in at least one half, with its data or as a witness. */
bool config_votes(const struct kelp_config *config, uint32_t slot);

/* config_leads - votes and has the data: may stand for election. */
bool config_leads(const struct kelp_config *config, uint32_t slot);

/* config_witness - is sent positions only. */
bool config_witness(const struct kelp_config *config, uint32_t slot);

/* config_removed - by this configuration the id was given out and is no member any more. Ids only
 * grow. */
bool config_removed(const struct kelp_config *config, kelp_id id);

/* config_voter_count - members counted in at least one half. */
uint32_t config_voter_count(const struct kelp_config *config);

/* config_somebody_leads - some voter of its own half has a priority above 0. */
bool config_somebody_leads(const struct kelp_config *config);

/* config_tiers_above - how many different priorities above this one those have who may lead by
 * their role; 0 leaves out who never leads. */
uint32_t config_tiers_above(const struct kelp_config *config, uint8_t priority);

/* config_valid - ids ascending and not 0, at most max members, in every half a voter and fewer
 * witnesses than voters, one of a priority above 0, the highest id not below any, marks only where
 * they mean something. */
bool config_valid(const struct kelp_config *config, uint32_t max);

#endif
