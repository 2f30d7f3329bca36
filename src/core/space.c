/* SPDX-License-Identifier: Apache-2.0 */
/* space.c - a full disk is met before it is full: who may still write? [DESIGN: low disk]
 *
 * Every node judges its own disk and says so in its answers. A leader goes by its own level or the
 * best level that a quorum has, whichever is worse: an entry must fit on both. By that it refuses
 * what makes the log longer, then everything that a client asks for, while empty entries and
 * configurations still go. A node with no room at all takes no entry and does not stand for
 * election; it goes on voting, answering and serving, and nobody faults. What was not heard yet
 * counts as room.
 *
 * Only this file writes r->space, r->own_space and a peer's space. */
#include "core/core.h"

_Static_assert(KELP_SPACE_NONE == KELP_HEALTH_SPACE, "a level is two bits of health");

static enum kelp_space level_of(uint32_t health)
{
    return (enum kelp_space)(health & KELP_HEALTH_SPACE);
}

void space_own(struct kelp_core *r, uint32_t room, uint32_t health)
{
    r->room = room;
    r->health = health;
    if (r->own_space == level_of(health)) return;
    r->own_space = level_of(health);
    r->dirty |= DIRTY_SPACE;
}

void space_answered(struct kelp_core *r, struct peer *peer, const struct kelp_message *m)
{
    if (peer->space == level_of(m->answer.health)) return;
    peer->space = level_of(m->answer.health);
    r->dirty |= DIRTY_SPACE;
    if (r->witnessed) r->dirty |= DIRTY_MATCH; /* who counts now? */
}

void space_forget(struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        r->peers[slot].space = KELP_SPACE_OK;
    r->dirty |= DIRTY_SPACE;
}

void space_settle(struct kelp_core *r)
{
    enum kelp_space before = r->space;
    r->space = r->own_space;
    if (r->role == KELP_LEADER) {
        uint64_t values[KELP_MEMBERS_MAX] = {0};
        bool witness = witness_counts(r);
        for (uint32_t slot = 0; slot < r->config.count; slot++) {
            if (!witness && config_witness(&r->config, slot)) continue; /* as if it had none */
            bool self = slot == r->self_slot;
            values[slot] =
                (uint64_t)(KELP_SPACE_NONE - (self ? r->own_space : r->peers[slot].space));
        }
        uint64_t quorum = quorum_value(&r->config, values);
        uint64_t of_quorum = (uint64_t)KELP_SPACE_NONE - min_u64(quorum, KELP_SPACE_NONE);
        r->space = (enum kelp_space)max_u64((uint64_t)r->own_space, of_quorum);
    }
    if (r->space == before) return;
    if (r->space == KELP_SPACE_OK)
        EVENT(r, SPACE_BACK);
    else
        EVENT(r, SPACE_SHORT, .value = (uint64_t)r->space);
}

bool space_refuses(const struct kelp_core *r, uint32_t flags)
{
    if (r->space >= KELP_SPACE_LAST) return true;
    return r->space == KELP_SPACE_LOW && (flags & KELP_PROPOSE_FREES) == 0;
}
