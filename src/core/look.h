/* SPDX-License-Identifier: Apache-2.0 */
/* look.h - reading a core in place, for who judges it after every event.
 *
 * The same as kelp_view and kelp_core_config say, without the copy. What a pointer names holds
 * until the core is stepped or taken from. */
#ifndef CORE_LOOK_H
#define CORE_LOOK_H

#include "kelp/core.h"

struct core_configs {
    const struct kelp_config *latest, *committed;
};

/* core_configs - the newest configuration of its log, and the newest committed one. */
struct core_configs core_configs(const struct kelp_core *r);

/* core_look - kelp_glance, and the peers. */
void core_look(const struct kelp_core *r, struct kelp_view *view);

/* core_led_term - the term that it leads, 0: none; committed: only if it has committed there. */
uint64_t core_led_term(const struct kelp_core *r, bool committed);

/* core_reset_waits - a snapshot took the log's place here and no save that says so was emitted yet,
 * because too many are open; where it ends. index 0: no. */
struct kelp_pos core_reset_waits(const struct kelp_core *r);

#endif
