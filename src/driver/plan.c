/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - a plan is made where the change would be: by whoever leads.
 *
 *      asked --stop--> answered               the core and the addresses judge as they would the
 *        `--change--> CHANGING --> answered   change itself; nothing is handed to the core
 *
 * A plan is ordered and asked again like a read. What would be new is dialled and waited for just
 * as the change would; whoever asks while another change is open is told so at once, and so is who
 * still waits when a change comes. */
#include <string.h>

#include "driver/room.h"
#include "wire/plan.h"

static struct kelp_change change_with(const struct wire_change *named,
                                      const struct kelp_edit *edits)
{
    return (struct kelp_change){
        .flags = named->flags, .count = named->count, .if_index = named->if_index, .edits = edits};
}

/* The host of an address, as bytes: all before the last colon. */
static struct kelp_bytes host_of(const struct wire_address *address)
{
    const char *colon = strrchr(address->text, ':');
    return bytes_of(address->text, colon != NULL ? (size_t)(colon - address->text) : 0);
}

/* Do all who would vote have addresses of one host? */
static bool one_host(const struct driver *d, const struct wire_change *named,
                     const struct kelp_plan *plan)
{
    struct kelp_bytes first = {0};
    uint32_t voters = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        uint8_t role = plan->members[i].after;
        if (role != KELP_VOTER && role != KELP_WITNESS) continue;
        const struct wire_address *address = address_after(d, named, plan->members[i].id);
        if (address == NULL) return false;
        struct kelp_bytes host = host_of(address);
        if (voters++ == 0) first = host;
        if (host.len != first.len || memcmp(host.data, first.data, host.len) != 0) return false;
    }
    return voters > 1;
}

static void answer(struct driver *d, struct request *r, struct kelp_plan *plan,
                   const struct wire_change *named)
{
    uint8_t bytes[WIRE_PLAN_BYTES_MAX];
    if (one_host(d, named, plan)) plan->warnings |= KELP_PLAN_W_ONE_HOST;
    r->pos.index = plan->index;
    read_told(d, r);
    request_result(d, r, bytes_of(bytes, wire_plan_encode(plan, bytes)));
    request_close(d, r, KELP_DONE, KELP_R_NONE);
}

void plan_answer(struct driver *d, struct request *r, const struct wire_change *named,
                 const struct kelp_edit *edits, enum kelp_reason reason, kelp_id member)
{
    struct kelp_plan plan;
    struct kelp_change change = change_with(named, edits);
    enum kelp_reason gate = kelp_core_plan(d->core, &change, &plan);
    if (gate == KELP_R_NOT_LEADER) {
        d->route_stale = true; /* else it would come back at once */
        change_elsewhere(d, r);
        return;
    }
    if (gate != KELP_R_NONE) {
        change_refuse(d, r, gate, 0);
        return;
    }
    if (reason != KELP_R_NONE) { /* what the core cannot know comes first, as for the change */
        plan.reason = reason;
        plan.member = member;
        plan.forcible = false;
        plan.refused = true;
    }
    answer(d, r, &plan, named);
}

static bool is_stop(const struct wire_change *named)
{
    return named->count == 1 && named->edits[0].verb == KELP_EDIT_STOP;
}

void plan_start(struct driver *d, struct request *r, const struct wire_change *named)
{
    struct kelp_edit stop = {.id = named->edits[0].id, .verb = KELP_EDIT_STOP};
    bool waits = d->change_open != 0 || !TAILQ_EMPTY(&d->changes);
    r->state = REQUEST_READING; /* the state that owns nothing */
    if (is_stop(named))
        plan_answer(d, r, named, &stop, KELP_R_NONE, 0);
    else if (waits)
        change_refuse(d, r, KELP_R_PENDING, 0);
    else
        change_wait(d, r);
}

bool driver_plan(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                 const struct wire_change *change, struct kelp_bytes user, kelp_ns deadline,
                 bool forward)
{
    uint8_t bytes[WIRE_CHANGE_BYTES_MAX];
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    if (!request_reserve(d)) return false;
    struct request *r = line_append(d, line, REQUEST_READ, token, deadline);
    r->forward = forward;
    r->plan = true;
    request_hold(d, r, user, bytes_of(bytes, wire_change_encode(change, bytes)));
    return true;
}

bool driver_plan_read(struct kelp_bytes result, struct kelp_plan *out)
{
    return wire_plan_decode(result, out, NULL) == KELP_OK;
}
