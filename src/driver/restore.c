/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - steps of a restore through the log: how they get there.
 *
 * A step is a write whose entry has a type of its own. It is ordered, queued, forwarded and
 * answered like one; what it does is decided where the entry is applied (rsm/stage.c), alike on
 * every member. What only a leader can know is asked here, when it proposes: whether every member
 * knows such entries, since one that does not would stop at the first, whether the members are
 * about to change, and whether its disk has room for a log that is not shortened meanwhile.
 *
 * While something is staged no member takes a snapshot, and the log only grows. So the leader ends
 * it by itself while its disk, or a quorum's, is nearly full: an ABORT passes then, as what frees
 * room does, and nothing that clients see has changed.
 *
 * A member counts as knowing by its hello, to this process. One that was not seen yet may be of an
 * older version: BEGIN is refused then, unless it says FORCE. The steps behind a BEGIN that was
 * applied here are let through, since a member that stops has stopped at that one. One that has
 * shown that it does not know them refuses all. */
#include "driver/restore.h"

#include <stdlib.h>

#include "driver/room.h"
#include "wire/handshake.h"
#include "wire/restore.h"

#define MEBIBYTE (UINT64_C(1) << 20)

bool restore_staged(const struct driver *d)
{
    struct kelp_restore_status status;
    return d->ports.machine->staged != NULL &&
           d->ports.machine->staged(d->ports.machine_ctx, &status);
}

void driver_staged(const struct driver *d, struct kelp_restore_status *out)
{
    *out = (struct kelp_restore_status){.id = 0};
    if (d->ports.machine->staged != NULL) (void)d->ports.machine->staged(d->ports.machine_ctx, out);
}

bool restore_frees(struct kelp_bytes command)
{
    struct kelp_restore_step step;
    return wire_restore_decode(command, &step, NULL) == KELP_OK &&
           (step.kind == KELP_RESTORE_ABORT || step.kind == KELP_RESTORE_COMMIT);
}

enum knows { KNOWS_NOT, KNOWS_PERHAPS, KNOWS };

static enum knows knows(struct driver *d, kelp_id id)
{
    if (id == d->options.core.self) return KNOWS;
    const struct peer *p = peer_find(d, id);
    if (p == NULL || p->incarnation == 0) return KNOWS_PERHAPS;
    return (p->features & WIRE_FEATURE_RESTORE) != 0 ? KNOWS : KNOWS_NOT;
}

bool restore_known(struct driver *d, kelp_id id)
{
    return knows(d, id) != KNOWS_NOT;
}

/* Of all members that are configured, committed or not, the one that knows least. */
static enum knows all_know(struct driver *d, kelp_id *member)
{
    enum knows least = KNOWS;
    *member = 0;
    for (size_t i = 0; i < d->config_count; i++) {
        const struct kelp_config *c = &d->configs[i].config;
        for (size_t slot = 0; slot < c->count; slot++) {
            enum knows this = knows(d, c->members[slot].id);
            if (this >= least) continue;
            least = this;
            *member = c->members[slot].id;
        }
    }
    return least;
}

/* The file goes into the log, and into the next snapshot before the log can be shortened. */
static bool has_room(const struct driver *d, const struct kelp_restore_step *step)
{
    uint64_t mib = step->object_bytes / MEBIBYTE;
    return d->room_mib == 0 || (mib <= UINT32_MAX && mib + mib <= d->room_mib);
}

static bool members_change(struct driver *d)
{
    return d->change_count > 0 || d->change_open != 0 || !d->config_committed ||
           d->config_count > 1 || driver_look(d)->change_gate == KELP_R_PENDING;
}

enum kelp_reason restore_gate(struct driver *d, struct kelp_bytes command, kelp_id *member)
{
    struct kelp_restore_step step;
    struct kelp_restore_status staged;
    kelp_id who;
    *member = 0;
    if (wire_restore_decode(command, &step, NULL) != KELP_OK) return KELP_R_NOT_TAKEN;
    driver_staged(d, &staged);
    enum knows known = all_know(d, &who);
    bool sure = (step.flags & KELP_RESTORE_FORCE) != 0 || staged.id == step.id;
    if (known == KNOWS_NOT || (known == KNOWS_PERHAPS && !sure)) {
        *member = who;
        return KELP_R_NOT_KNOWN_YET;
    }
    bool begins = step.kind == KELP_RESTORE_BEGIN;
    if ((begins || step.kind == KELP_RESTORE_COMMIT) && members_change(d)) return KELP_R_PENDING;
    if (begins && staged.id != step.id && !has_room(d, &step)) return KELP_R_NO_SPACE;
    return KELP_R_NONE;
}

static void abort_told(void *ctx, uint64_t token, const struct driver_outcome *outcome)
{
    struct driver *d = ctx;
    (void)token;
    (void)outcome; /* applied, or asked again */
    d->restoring.open = false;
}

void restoring_run(struct driver *d)
{
    struct restoring *r = &d->restoring;
    struct kelp_restore_status staged;
    if (d->view.space == KELP_SPACE_OK) return; /* as of the last look: soon is soon enough */
    if (r->open || d->now < r->at || d->state != DRIVER_RUNNING || d->closing || d->fault_due)
        return;
    driver_staged(d, &staged);
    if (staged.id == 0) return;
    const struct kelp_view *view = driver_look(d);
    if (view->role != KELP_LEADER || view->space == KELP_SPACE_OK) return;
    const struct kelp_restore_step step = {.kind = KELP_RESTORE_ABORT, .id = staged.id};
    r->at = add_sat(d->now, d->options.core.election_max);
    if (r->line == NULL) r->line = driver_line_open(d, abort_told, d);
    if (r->line == NULL) return;
    r->open = driver_restore(d, d->now, r->line, 1, &step, bytes_of(NULL, 0),
                             add_sat(d->now, 4 * d->options.core.election_max), false);
    if (r->open) driver_note(d, KELP_WARN, "the disk is nearly full: what is staged is given up");
}

bool driver_restore_sound(const struct kelp_restore_step *step)
{
    return wire_restore_size(step) != 0;
}

bool driver_restore(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                    const struct kelp_restore_step *step, struct kelp_bytes user, kelp_ns deadline,
                    bool forward)
{
    size_t size = wire_restore_size(step);
    ASSERT(size != 0);
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    uint8_t *command = malloc(size);
    if (command == NULL || !request_reserve(d)) {
        free(command);
        return false;
    }
    wire_restore_encode(step, command);
    struct request *r = line_append(d, line, REQUEST_WRITE, token, deadline);
    r->forward = forward;
    r->restores = true;
    request_hold(d, r, user, bytes_of(command, size));
    free(command);
    return true;
}
