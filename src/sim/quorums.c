/* SPDX-License-Identifier: Apache-2.0 */
/* quorums.c - what a configuration decides, counted once more, not as the core does. [§4.1, §4.3]
 *
 * Whoever made a change says so by a rule about how many voters differ. Here the claim itself is
 * looked at, in the plainest way: of all sets of voters, does one decide by the first configuration
 * while the others together decide by the second? Only a handful of nodes are simulated, so all
 * sets can be tried. */
#include "sim/quorums.h"

#include "base/assert.h"

#define VOTERS_MAX 14u

static bool counts(uint8_t role)
{
    return role == KELP_VOTER || role == KELP_WITNESS;
}

bool quorums_decide(const struct kelp_config *config, const kelp_id ids[], uint32_t count)
{
    uint32_t all[2] = {0, 0}, there[2] = {0, 0};
    for (uint32_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        bool among = false;
        for (uint32_t i = 0; i < count; i++)
            among = among || ids[i] == member->id;
        all[0] += counts(member->role);
        all[1] += counts(member->role_old);
        there[0] += among && counts(member->role);
        there[1] += among && counts(member->role_old);
    }
    return 2 * there[0] > all[0] && (!config->joint || 2 * there[1] > all[1]);
}

/* The voters of either half, added to those that are there. */
static uint32_t voters_add(const struct kelp_config *config, kelp_id ids[], uint32_t count)
{
    for (uint32_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        if (!counts(member->role) && !counts(member->role_old)) continue;
        uint32_t at = 0;
        while (at < count && ids[at] != member->id)
            at++;
        ids[at] = member->id;
        count += at == count;
    }
    return count;
}

bool quorums_meet(const struct kelp_config *a, const struct kelp_config *b)
{
    kelp_id ids[2 * KELP_MEMBERS_MAX];
    uint32_t count = voters_add(b, ids, voters_add(a, ids, 0));
    ASSERT(count <= VOTERS_MAX);
    for (uint32_t chosen = 0; chosen < 1u << count; chosen++) {
        kelp_id set[VOTERS_MAX], others[VOTERS_MAX];
        uint32_t set_count = 0, other_count = 0;
        for (uint32_t i = 0; i < count; i++) {
            if ((chosen >> i & 1u) != 0)
                set[set_count++] = ids[i];
            else
                others[other_count++] = ids[i];
        }
        if (quorums_decide(a, set, set_count) && quorums_decide(b, others, other_count))
            return false;
    }
    return true;
}
