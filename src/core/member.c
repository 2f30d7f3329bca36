/* SPDX-License-Identifier: Apache-2.0 */
/* member.c - which configuration counts. [§4.1, §4.3]
 *
 * The newest configuration in the log counts from the moment it is appended, committed or not; a
 * truncation of it goes back to the one before. One step back is always enough: a leader appends a
 * configuration only when the one before it is committed, so of all configurations in a log only
 * the newest can be cut. Changing it comes later; here it travels through the log, is adopted,
 * committed and reverted. */
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
    ASSERT(r->config_has_before && r->config_before.index <= last); /* member_outlasts was asked */
    r->config = r->config_before;
    r->config_has_before = false;
    peers_rebuild(r);
    r->dirty |= DIRTY_CONFIG;
    EVENT(r, CONFIG_REVERTED, .pos = kelp_pos_of(r->config.index, 0));
}

const struct kelp_config *member_committed(const struct kelp_core *r)
{
    return r->config_has_before && r->config.index > r->commit ? &r->config_before : &r->config;
}
