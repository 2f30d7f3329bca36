/* SPDX-License-Identifier: Apache-2.0 */
/* given.c - what an empty node is given to begin with: entry 1, or a snapshot in its place.
 *
 *   WAIT ... PLEDGE  --entry 1, for us-----> SAVE   --durable--> HOLDS
 *   WAIT             --snapshot offered----> FETCH  --restored, saved--> HOLDS
 *
 * The identity comes first: an entry or a snapshot in a directory without the cluster's id would be
 * foreign to its own node. Whether a snapshot is for us is known once its head is there; entry 1
 * says so itself. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "driver/found.h"
#include "wire/entry.h"

static bool entry_keep(struct found *f, const struct wire_found *m,
                       const struct wire_config *config)
{
    uint8_t *copy = malloc(m->entry.len);
    if (copy == NULL) return false; /* it will be asked for again */
    memcpy(copy, m->entry.data, m->entry.len);
    free(f->entry1);
    f->entry1 = copy;
    f->entry1_len = m->entry.len;
    f->config = *config;
    return true;
}

/* Entry 1 for us: into f->config and f->entry1. False: not for us, or it makes no sense. */
static bool entry_accept(struct found *f, const struct wire_found *m)
{
    struct wire_entry e;
    size_t used;
    struct wire_config config;
    if (wire_entry_decode(m->entry, &e, &used, NULL) != KELP_OK || used != m->entry.len)
        return false;
    if (e.type != KELP_ENTRY_CONFIG || !kelp_pos_equal(e.pos, kelp_pos_of(1, 1))) return false;
    if (wire_config_decode(e.payload, 1, &config, NULL) != KELP_OK) return false;
    if (cluster_zero(config.cluster)) return false;
    if (!cluster_zero(f->setup.cluster) && !cluster_equal(config.cluster, f->setup.cluster))
        return false;
    if (!cluster_zero(f->pledging) && !cluster_equal(config.cluster, f->pledging)) return false;
    const struct kelp_member *self = NULL;
    for (size_t i = 0; i < config.config.count; i++) {
        if (config.config.members[i].id == f->setup.self) self = &config.config.members[i];
    }
    /* whom a later configuration added was never listed: it takes the cluster that has it as a
     * member, if its id is one that the founders did not give */
    if (self == NULL) {
        bool added = f->setup.listed_count == 0 && f->setup.self > config.config.id_highest;
        return added && entry_keep(f, m, &config);
    }
    if (self->incarnation != f->setup.incarnation) {
        found_refused(f, config.created_unix_ms, config.config.id_highest + 1, "");
        return false;
    }
    return entry_keep(f, m, &config);
}

void found_entry_given(struct found *f, const struct wire_found *m)
{
    if (f->phase == FOUND_HOLDS) {
        (void)found_say(f, WIRE_FOUND_STARTED, m->from, m->round);
        return;
    }
    if (f->phase == FOUND_SAVE || f->phase == FOUND_FETCH || id_waits(f->setup.self)) return;
    if (!entry_accept(f, m)) return;
    f->phase = FOUND_SAVE;
    f->entry_from = m->from;
    if (!cluster_zero(f->setup.cluster)) {
        f->save_due = true;
    } else if (
        cluster_zero(
            f->pledging)) { /* identity first: an entry without it would be foreign to itself */
        f->pledging = f->config.cluster;
        f->pledging_epoch = m->epoch;
        f->pledge_to = 0;
        f->pledge_due = true;
    }
}

/* A snapshot is offered in entry 1's place. Whether it is ours is known once its head is there. */
void found_snapshot_offered(struct found *f, const struct wire_found *m)
{
    if (f->phase == FOUND_HOLDS) {
        (void)found_say(f, WIRE_FOUND_STARTED, m->from, m->round);
        return;
    }
    bool free_to = f->phase == FOUND_WAIT && !id_waits(f->setup.self) && !cluster_zero(m->cluster);
    if (!free_to) return;
    if (!cluster_zero(f->setup.cluster) && !cluster_equal(m->cluster, f->setup.cluster)) return;
    if (!cluster_zero(f->pledging)) return;
    f->phase = FOUND_FETCH;
    f->entry_from = m->from;
    f->snapshot = m->snapshot;
    f->fetch_due = !cluster_zero(f->setup.cluster);
    if (f->fetch_due) return;
    f->pledging = m->cluster;
    f->pledging_epoch = m->epoch;
    f->pledge_to = 0;
    f->pledge_due = true;
}

void found_fetched(struct found *f, const struct wire_config *config)
{
    ASSERT(f->phase == FOUND_FETCH);
    f->phase = FOUND_HOLDS;
    f->config = f->committed = *config;
    f->founded = false;
    (void)found_say(f, WIRE_FOUND_STARTED, f->entry_from, 0);
}

void found_not_fetched(struct found *f)
{
    if (f->phase != FOUND_FETCH) return; /* it was refused meanwhile */
    f->phase = FOUND_WAIT;
    f->snapshot = kelp_pos_of(0, 0);
    f->fetch_due = false;
}

void found_snapshot(struct found *f, struct kelp_pos pos)
{
    if (f->phase == FOUND_HOLDS) f->snapshot = pos;
}
