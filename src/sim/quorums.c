/* SPDX-License-Identifier: Apache-2.0 */
/* quorums.c - do two configurations share a node in every decision? [§4.1, §4.3]
 *
 * Whoever made a change says so by a rule about how many voters differ. Here the claim itself is
 * looked at, in the plainest way: of all sets of voters, does one decide by the first configuration
 * while the others together decide by the second? Only a handful of nodes are simulated, so all
 * sets can be tried; beyond VOTERS_MAX nothing is claimed. */
#include "sim/quorums.h"

#include "base/assert.h"
#include "core/quorum.h"

#define VOTERS_MAX 14u

/* The voters of either half of either configuration, ascending as they are met. */
static uint32_t voters_of(const struct kelp_config *config, kelp_id ids[], uint32_t count)
{
    for (uint32_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        if (member->role != KELP_VOTER && member->role_old != KELP_VOTER) continue;
        uint32_t at = 0;
        while (at < count && ids[at] != member->id)
            at++;
        ids[at] = member->id;
        count += at == count;
    }
    return count;
}

static bool decides(const struct kelp_config *config, const kelp_id ids[], uint32_t count,
                    uint32_t chosen)
{
    slot_set set = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t slot = 0; (chosen >> i & 1u) != 0 && slot < config->count; slot++) {
            if (config->members[slot].id == ids[i]) set |= 1u << slot;
        }
    }
    return quorum_has(config, set);
}

bool quorums_meet(const struct kelp_config *a, const struct kelp_config *b)
{
    kelp_id ids[2 * KELP_MEMBERS_MAX];
    uint32_t count = voters_of(b, ids, voters_of(a, ids, 0));
    ASSERT(count <= VOTERS_MAX);
    for (uint32_t chosen = 0; chosen < 1u << count; chosen++) {
        uint32_t others = ((1u << count) - 1) & ~chosen;
        if (decides(a, ids, count, chosen) && decides(b, ids, count, others)) return false;
    }
    return true;
}
