/* SPDX-License-Identifier: Apache-2.0 */
/* once.c - commands that are executed once however often they are asked for.         [§6.3]
 *
 * The driver only carries what a client names, its session, sequence and what it acknowledged, or
 * its key: into the entry where this node leads, into a forward elsewhere, and again when a request
 * starts anew. What was executed before is known by the state machine's surroundings alone
 * (rsm/sessions.c), which look at it where the entry is applied. So an entry that is committed may
 * have no effect, and its request is refused then. */
#include <string.h>

#include "driver/room.h"
#include "wire/forward.h"

_Static_assert((int)DRIVER_ONCE_COMMAND == (int)WIRE_ONCE_COMMAND &&
                   (int)DRIVER_ONCE_SESSION == (int)WIRE_ONCE_SESSION &&
                   (int)DRIVER_ONCE_END == (int)WIRE_ONCE_END,
               "a forward carries the number itself");

struct wire_entry once_entry(const struct request *r, size_t len)
{
    struct wire_entry e = {.type = KELP_ENTRY_COMMAND, .payload = {NULL, len}};
    if (r->restores) e.type = KELP_ENTRY_RESTORE;
    if (r->once.kind == DRIVER_ONCE_NOT) return e;
    if (r->once.kind != DRIVER_ONCE_COMMAND) e.type = KELP_ENTRY_SESSION;
    if (r->once.kind == DRIVER_ONCE_SESSION) return e;
    e.flags = WIRE_ENTRY_IN_SESSION;
    e.session = r->once.once.session;
    e.sequence = r->once.once.sequence;
    e.acknowledged = r->once.once.acknowledged;
    return e;
}

bool driver_once(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                 const struct driver_once *once, struct kelp_bytes command, struct kelp_bytes user,
                 kelp_ns deadline, bool forward)
{
    ASSERT(once->kind != DRIVER_ONCE_NOT);
    ASSERT((once->kind == DRIVER_ONCE_COMMAND) == (command.len > 0));
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    if (!request_reserve(d)) return false;
    struct request *r = line_append(d, line, REQUEST_WRITE, token, deadline);
    r->forward = forward;
    r->once = *once;
    request_hold(d, r, user, command); /* started by the next run, like what is queued */
    return true;
}

void driver_result_refused(struct driver *d, kelp_index index, enum kelp_reason reason)
{
    ASSERT(reason != KELP_R_NONE);
    struct request *r = index_find(d, index);
    if (r != NULL) r->reason = reason;
}
