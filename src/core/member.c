/* SPDX-License-Identifier: Apache-2.0 */
/* member.c - which configuration counts. [§4.1, §4.3]
 *
 * The newest configuration in the log counts from the moment it is appended, committed or not; a
 * truncation of it goes back to the one before. One step back is always enough: a leader appends a
 * configuration only when the one before it is committed, so of all configurations in a log only
 * the newest can be cut. Here it travels through the log, is adopted, committed and reverted; who
 * makes it is change.c. A snapshot's is a committed one.
 *
 * Who was removed by a committed configuration is told so: by the leader when it commits the
 * removal, and by every voter it asks. An id is never given again, so that is final. */
#include "core/core.h"

void member_appended(struct kelp_core *r, const struct kelp_config *config)
{
    if (!config_valid(config, r->options.limits.members_max)) {
        core_fault(r, KELP_E_NOT_SUPPORTED, "a configuration this node cannot use",
                   kelp_pos_of(config->index, 0), kelp_pos_of(0, 0));
        return;
    }
    r->config_before = r->config;
    r->config_has_before = true;
    r->config = *config;
    peers_rebuild(r); /* at once: what is owed next is owed by slot */
    r->dirty |= DIRTY_CONFIG;
    change_adopted(r);
    EVENT(r, CONFIG_ADOPTED, .pos = kelp_pos_of(config->index, 0), .value = config->count);
}

bool member_outlasts(struct kelp_core *r, kelp_index last)
{
    if (r->config.index <= last) return true;
    if (r->config_has_before && r->config_before.index <= last) return true;
    core_fault(r, KELP_E_CONFLICT, "the configuration before a truncated one is not known",
               kelp_pos_of(r->config.index, 0), kelp_pos_of(last, 0));
    return false;
}

void member_truncated(struct kelp_core *r, kelp_index last)
{
    if (r->config.index <= last) return;
    change_truncated(r, last);
    ASSERT(r->config_has_before && r->config_before.index <= last); /* member_outlasts was asked */
    r->config = r->config_before;
    r->config_has_before = false;
    peers_rebuild(r);
    r->dirty |= DIRTY_CONFIG;
    EVENT(r, CONFIG_REVERTED, .pos = kelp_pos_of(r->config.index, 0));
}

void member_restored(struct kelp_core *r, const struct kelp_config *config)
{
    r->config = *config;
    r->config_has_before = false;
    peers_rebuild(r);
    r->dirty |= DIRTY_CONFIG;
    EVENT(r, CONFIG_ADOPTED, .pos = kelp_pos_of(config->index, 0), .value = config->count);
}

const struct kelp_config *member_committed(const struct kelp_core *r)
{
    return r->config_has_before && r->config.index > r->commit ? &r->config_before : &r->config;
}

void member_goodbye(struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config_before.count; slot++) {
        kelp_id id = r->config_before.members[slot].id;
        if (id == r->options.self || config_slot(&r->config, id) != CONFIG_NO_SLOT) continue;
        struct debt *debt = debt_of(r, id);
        if (debt == NULL) continue; /* it learns it when it asks for votes, or enquires */
        EVENT(r, REMOVED_TOLD, .peer = id, .pos = kelp_pos_of(r->config.index, 0));
        debt->vote[0] = true; /* as if it had asked; output.c says why it is refused */
        debt->granted[0] = false;
        debt->vote_term[0] = r->term;
        debt->vote_id[0] = ++r->message_id;
    }
}

void member_told_removed(struct kelp_core *r, kelp_id from)
{
    if (r->told_removed || peer_of(r, from) == NULL) return;
    r->told_removed = true;
    EVENT(r, REMOVED, .peer = from);
    role_step_down(r); /* and there is nobody to follow any more */
}

bool member_removed(const struct kelp_core *r)
{
    return r->told_removed || config_removed(member_committed(r), r->options.self);
}

uint8_t member_priority(const struct kelp_core *r)
{
    if (config_votes(&r->config, r->self_slot))
        return kelp_priority_of(&r->config.members[r->self_slot]);
    const struct kelp_config *before = member_committed(r);
    uint32_t slot = config_slot(before, r->options.self);
    return slot == CONFIG_NO_SLOT ? 0 : kelp_priority_of(&before->members[slot]);
}

bool member_may_stand(const struct kelp_core *r)
{
    if (config_leads(&r->config, r->self_slot)) return true;
    const struct kelp_config *before = member_committed(r);
    return before != &r->config && config_leads(before, config_slot(before, r->options.self));
}
