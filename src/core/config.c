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

static bool has_role(const struct kelp_config *config, uint32_t slot, enum kelp_member_role role)
{
    if (slot >= config->count) return false;
    const struct kelp_member *member = &config->members[slot];
    return member->role == (uint8_t)role || (config->joint && member->role_old == (uint8_t)role);
}

bool config_leads(const struct kelp_config *config, uint32_t slot)
{
    return has_role(config, slot, KELP_VOTER);
}

bool config_witness(const struct kelp_config *config, uint32_t slot)
{
    return has_role(config, slot, KELP_WITNESS);
}

bool config_votes(const struct kelp_config *config, uint32_t slot)
{
    if (slot >= config->count) return false; /* in one look: it is asked for every peer and take */
    const struct kelp_member *member = &config->members[slot];
    if (member->role == KELP_VOTER || member->role == KELP_WITNESS) return true;
    return config->joint && (member->role_old == KELP_VOTER || member->role_old == KELP_WITNESS);
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

bool config_somebody_leads(const struct kelp_config *config)
{
    for (uint32_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        if (member->role == KELP_VOTER && kelp_priority_of(member) > 0) return true;
    }
    return false;
}

uint32_t config_tiers_above(const struct kelp_config *config, uint8_t priority)
{
    uint32_t tiers = 0;
    for (uint8_t below = priority;;) {
        uint8_t next = 0; /* the lowest above it */
        for (uint32_t slot = 0; slot < config->count; slot++) {
            uint8_t other = kelp_priority_of(&config->members[slot]);
            if (!config_leads(config, slot) || other <= below) continue;
            if (next == 0 || other < next) next = other;
        }
        if (next == 0) return tiers;
        below = next;
        tiers++;
    }
}

static bool marks_sound(const struct kelp_config *config, uint32_t slot)
{
    uint8_t marks = config->members[slot].marks;
    if (config_witness(config, slot)) return (marks & ~(unsigned)KELP_MARK_IN) == 0;
    if (config_leads(config, slot)) return (marks & ~(unsigned)KELP_MARK_ABSENT) == 0;
    return marks == 0;
}

bool config_valid(const struct kelp_config *config, uint32_t max)
{
    uint32_t voters = 0, voters_old = 0, witnesses = 0, witnesses_old = 0;
    kelp_id before = 0;
    if (config->count == 0 || config->count > max || max > KELP_MEMBERS_MAX) return false;
    for (uint32_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        if (member->id <= before || member->id > config->id_highest) return false;
        before = member->id;
        if (member->role > KELP_STAGING) return false;
        if (member->role_old == KELP_LEARNER || member->role_old > KELP_WITNESS) return false;
        if (config_witness(config, slot) && config_leads(config, slot)) return false;
        if (!marks_sound(config, slot)) return false;
        if (member->role == KELP_VOTER) voters++;
        if (member->role == KELP_WITNESS) witnesses++;
        if (member->role_old == KELP_VOTER) voters_old++;
        if (member->role_old == KELP_WITNESS) witnesses_old++;
    }
    if (config->joint ? witnesses_old >= voters_old : voters_old + witnesses_old > 0) return false;
    return witnesses < voters && config_somebody_leads(config);
}
