/* SPDX-License-Identifier: Apache-2.0 */
/* farewell.c - how the connections of Redis clients end when the server does; see client.h.
 *
 *   SERVED --signal--> HELD --the node has stopped--> DISMISSED --nobody is left--> gone
 *
 * HELD: nobody is accepted or read any more; what was read is answered, while the node hands
 * leadership over. DISMISSED: everything is answered that ever will be. What came meanwhile is read
 * now, and each request of it refused, which is true: it never was looked at. A client goes once
 * all that was said to it is on its way and nothing more came since the last look: REFUSE_MS after
 * it was first refused something, and if it asks nothing after ASK_MS. It gets the end of the
 * stream, and what it still sends is thrown away until it closes.
 *
 * A socket that is closed with bytes unread, or that gets bytes later, answers with a reset; and a
 * reset destroys what the other side's system has not handed out yet, answers among it. Whoever
 * does not close in time, or sends on and on, is closed all the same: the server ends LINGER_MS
 * after the node. */
#include <stdlib.h>

#include "base/assert.h"
#include "server/outcome.h"
#include "server/server.h"

#define TICK_MS   10u
#define ASK_MS    300u
#define REFUSE_MS 50u  /* the rest of a pipeline may still be on its way */
#define TALK_MS   600u /* whoever talks on is not listened to for longer */
#define LINGER_MS 1000u
#define WASTE_MAX (16u * 1024 * 1024) /* bytes of one client that are thrown away */

void clients_hold(struct server *s)
{
    struct clients *all = &s->clients;
    if (all->stage != CLIENTS_SERVED) return;
    all->stage = CLIENTS_HELD;
    uv_close((uv_handle_t *)&all->listener, NULL);
    struct client *c, *next;
    for (c = TAILQ_FIRST(&all->all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        client_reading(c);
    }
}

/* Whoever is owed answers that will not come any more is told nothing else. */
bool client_heard(const struct client *c)
{
    switch (c->server->clients.stage) {
    case CLIENTS_SERVED: return true;
    case CLIENTS_HELD: return false;
    case CLIENTS_DISMISSED: return c->open_count == 0;
    }
    UNREACHABLE();
}

void client_refuse(struct client *c, struct buf *reply)
{
    struct outcome_place nowhere = {0};
    if (c->refused_ms == 0) c->refused_ms = uv_now(&c->server->loop);
    outcome_reply(reply, KELP_REFUSED, KELP_R_SHUTDOWN, &nowhere);
}

/* ---- the end of one ------------------------------------------------------------------------ */

static void on_shut(uv_shutdown_t *shut, int status)
{
    if (status < 0) client_end(shut->data); /* nothing, if that is why */
}

static void part(struct client *c)
{
    c->parting = true;
    buf_clear(&c->in); /* half a request: it never was one */
    c->shut.data = c;
    if (uv_shutdown(&c->shut, (uv_stream_t *)&c->tcp, on_shut) != 0)
        client_end(c);
    else
        client_reading(c);
}

bool client_wasted(struct client *c, ssize_t count)
{
    if (!c->parting) return false;
    if (count > 0) c->wasted += (uint64_t)count;
    if (count < 0 || c->wasted > WASTE_MAX) client_end(c);
    return true;
}

static void look(struct client *c, uint64_t now)
{
    bool told = c->out.len == 0 && c->sending.len == 0;
    bool refused = c->refused_ms != 0 && now >= c->refused_ms + REFUSE_MS;
    bool silent = now >= c->server->clients.dismissed_ms + ASK_MS;
    /* the loop reads between two ticks, however late they are: what lay there was seen */
    bool quiet = c->heard == c->heard_before || now >= c->server->clients.dismissed_ms + TALK_MS;
    c->heard_before = c->heard;
    if (!c->parting && told && quiet && (refused || silent)) part(c);
}

/* ---- all of them --------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *tick)
{
    struct server *s = tick->data;
    uint64_t now = uv_now(&s->loop);
    if (now >= s->clients.dismissed_ms + LINGER_MS) {
        clients_close(s);
        return;
    }
    struct client *c, *next;
    for (c = TAILQ_FIRST(&s->clients.all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        look(c, now);
    }
}

void clients_left(struct server *s)
{
    struct clients *all = &s->clients;
    void (*gone)(struct server * s) = all->gone;
    if (all->stage != CLIENTS_DISMISSED || !TAILQ_EMPTY(&all->all) || gone == NULL) return;
    all->gone = NULL;
    gone(s);
}

static void dismiss(struct client *c)
{
    if (c->parked != NULL && c->open_count == 0) {
        client_refuse(c, &c->out); /* it was to look at a node that runs */
        free(c->parked);
        c->parked = NULL;
        client_dirty(c);
    }
    c->heard_before = UINT64_MAX;
    client_go_on(c);
}

void clients_dismiss(struct server *s, void (*gone)(struct server *s))
{
    struct clients *all = &s->clients;
    ASSERT(all->stage == CLIENTS_HELD);
    all->stage = CLIENTS_DISMISSED;
    all->dismissed_ms = uv_now(&s->loop);
    all->gone = gone;
    struct client *c, *next;
    for (c = TAILQ_FIRST(&all->all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        dismiss(c);
    }
    (void)uv_timer_start(&s->patience, on_tick, TICK_MS, TICK_MS); /* the handle is open */
    clients_left(s);
}
