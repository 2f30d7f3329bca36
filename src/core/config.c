/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - configurations as values. A configuration counts from the moment it stands in the log,
 * committed or not; only removal and incarnation are judged by the committed one. [§4.1] */
#include "core/config.h"

#include "base/assert.h"

uint32_t config_slot(const struct kelp_config *config, kelp_id id)
{
    for (uint32_t slot = 0; slot < config->count; slot++) {
        if (config->members[slot].id == id) return slot;
    }
    return CONFIG_NO_SLOT;
}

bool config_votes(const struct kelp_config *config, uint32_t slot)
{
    if (slot >= config->count) return false;
    const struct kelp_member *member = &config->members[slot];
    return member->role == KELP_VOTER || (config->joint && member->role_old == KELP_VOTER);
}

bool config_removed(const struct kelp_config *config, kelp_id id)
{
    return id <= config->id_highest && config_slot(config, id) == CONFIG_NO_SLOT;
}

uint32_t config_voter_count(const struct kelp_config *config)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < config->count; slot++) {
        if (config_votes(config, slot)) count++;
    }
    return count;
}

bool config_valid(const struct kelp_config *config, uint32_t max)
{
    uint32_t voters = 0, voters_old = 0;
    kelp_id before = 0;
    if (config->count == 0 || config->count > max || max > KELP_MEMBERS_MAX) return false;
    for (uint32_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        if (member->id <= before || member->id > config->id_highest) return false;
        before = member->id;
        if (member->role > KELP_LEARNER && member->role != KELP_STAGING) return false;
        if (member->role_old > KELP_VOTER) return false;
        if (member->role == KELP_VOTER) voters++;
        if (member->role_old == KELP_VOTER) voters_old++;
    }
    return voters > 0 && (config->joint ? voters_old > 0 : voters_old == 0);
}
