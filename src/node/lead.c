/* SPDX-License-Identifier: Apache-2.0 */
/* lead.c - who leads, where any thread can read it, and to whoever listens.
 *
 * The driver tells each event on the loop; the state is put behind a lock before the listener hears
 * of it, so that what is read in the callback, and by anybody who was woken by it, is not older
 * than the event. */
#include "node/room.h"

void lead_told(void *ctx, enum kelp_lead_event event, const struct kelp_leadership *now)
{
    struct node *n = ctx;
    uv_mutex_lock(&n->lead_lock);
    n->lead = *now;
    uv_mutex_unlock(&n->lead_lock);
    if (n->options.lead != NULL) n->options.lead(n->options.lead_ctx, event, now);
}

void lead_now(struct node *n, struct kelp_leadership *out)
{
    uv_mutex_lock(&n->lead_lock);
    *out = n->lead;
    uv_mutex_unlock(&n->lead_lock);
}
