/* SPDX-License-Identifier: Apache-2.0 */
/* quorum.c - who is enough. [§3.4, §4.3]
 *
 * A half is the members whose role (or role_old) is KELP_VOTER or KELP_WITNESS; learners and
 * members that leave are in neither. Whether a witness counts for commit is witness.c's. Only a
 * joint configuration has a second half, and then both must agree. Members are at most 32, so an
 * insertion sort of one half's values is the fastest way to its median. */
#include "core/quorum.h"

#include "base/assert.h"
#include "base/unset.h"

enum half { HALF_NEW, HALF_OLD };

static bool in_half(const struct kelp_config *config, uint32_t slot, enum half half)
{
    const struct kelp_member *member = &config->members[slot];
    uint8_t role = half == HALF_NEW ? member->role : member->role_old;
    return role == KELP_VOTER || role == KELP_WITNESS;
}

static uint32_t half_count(const struct kelp_config *config, enum half half, slot_set set)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < config->count; slot++) {
        if ((set >> slot & 1u) != 0 && in_half(config, slot, half)) count++;
    }
    return count;
}

static uint32_t half_majority(const struct kelp_config *config, enum half half)
{
    return half_count(config, half, UINT32_MAX) / 2 + 1;
}

bool quorum_has(const struct kelp_config *config, slot_set set)
{
    ASSERT(config->count <= KELP_MEMBERS_MAX);
    if (half_count(config, HALF_NEW, set) < half_majority(config, HALF_NEW)) return false;
    return !config->joint || half_count(config, HALF_OLD, set) >= half_majority(config, HALF_OLD);
}

bool quorum_cannot(const struct kelp_config *config, slot_set refused)
{
    return !quorum_has(config, ~refused);
}

static uint64_t half_value(const struct kelp_config *config, enum half half,
                           const uint64_t values[KELP_MEMBERS_MAX])
{
    UNSET uint64_t sorted[KELP_MEMBERS_MAX]; /* descending */
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < config->count; slot++) {
        if (!in_half(config, slot, half)) continue;
        uint32_t at = count++;
        while (at > 0 && sorted[at - 1] < values[slot]) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = values[slot];
    }
    return count > 0 ? sorted[count / 2] : 0;
}

uint64_t quorum_value(const struct kelp_config *config, const uint64_t values[KELP_MEMBERS_MAX])
{
    ASSERT(config->count <= KELP_MEMBERS_MAX);
    uint64_t value = half_value(config, HALF_NEW, values);
    if (!config->joint) return value;
    uint64_t old = half_value(config, HALF_OLD, values);
    return old < value ? old : value;
}
