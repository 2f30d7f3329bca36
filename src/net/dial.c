/* SPDX-License-Identifier: Apache-2.0 */
/* dial.c - whom we keep connections to.
 *
 *   wait --timer--> resolve --addresses--> connect, hello --good--> open
 *     ^----- back-off with jitter, doubling -----'                    | lost
 *     '---------------------- shortest back-off ----------------------'
 *
 * A name is resolved at each attempt, off the loop: addresses change. When it has several, attempts
 * take turns. What fails is said once and not again until it has worked, since a peer that is down
 * stays down for long.
 *
 * Whoever is to be joined is known by its address only: one lane asks who is there, the others
 * follow once that is known. */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/min.h"
#include "net/room.h"

struct net_peer *net_peer_find(const struct net *n, kelp_id id)
{
    struct net_peer *p;
    TAILQ_FOREACH(p, &n->peers, link)
    {
        if (p->id == id) return p;
    }
    return NULL;
}

static void peer_unref(struct net_peer *p)
{
    struct net *n = p->net;
    if (--p->handles == 0) free(p);
    net_handle_closed(n);
}

static const char *lane_address(const struct net_lane *lane)
{
    const struct net_peer *p = lane->peer;
    return p->other[0] != '\0' && lane->attempt % 2 == 1 ? p->other : p->address;
}

/* ---- one attempt ----------------------------------------------------------------------------- */

static bool peer_open(const struct net_peer *p)
{
    for (unsigned i = 0; i < KELP_LANES; i++) {
        const struct connection *c = p->lanes[i].connection;
        if (c != NULL && c->state == CONNECTION_OPEN) return true;
    }
    return false;
}

void dial_failed(struct net_lane *lane, const char *words)
{
    struct net_peer *p = lane->peer;
    struct net *n = p->net;
    const char *at = lane_address(lane);
    lane->attempt++;
    if (!p->said && p->join)
        net_note(n, KELP_INFO, "cannot join at %s: %s; dialling until it answers", at, words);
    else if (!p->said)
        net_note(n, KELP_INFO, "cannot reach node %llu at %s: %s; dialling until it answers",
                 (unsigned long long)p->id, at, words);
    p->said = true;
    if (p->join && !peer_open(p)) p->id = 0; /* somebody else may be there by now */
    kelp_ns half = lane->back_off / 2 + 1;
    kelp_ns delay = half + n->owner.random(n->owner.ctx) % half;
    lane->back_off = min_u64(lane->back_off * 2, n->options.dial_max);
    dial_after(lane, delay);
}

void dial_opened(struct net_lane *lane)
{
    lane->back_off = lane->peer->net->options.dial_min;
    lane->peer->said = false;
}

static void dial_connect(struct net_lane *lane, const struct sockaddr *to)
{
    int error = connection_dial(lane, to);
    if (error < 0) dial_failed(lane, uv_strerror(error));
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct net_lane *lane = request->data;
    lane->resolving = false;
    if (!lane->peer->forgotten) {
        if (lane->stale)
            dial_after(lane, 0);
        else if (status < 0)
            dial_failed(lane, uv_strerror(status));
        else if (found == NULL)
            dial_failed(lane, "the name has no address");
        else {
            unsigned count = 0;
            for (struct addrinfo *a = found; a != NULL; a = a->ai_next)
                count++;
            struct addrinfo *chosen = found;
            unsigned turn = lane->peer->other[0] != '\0' ? lane->attempt / 2 : lane->attempt;
            for (unsigned i = turn % count; i > 0; i--)
                chosen = chosen->ai_next;
            dial_connect(lane, chosen->ai_addr);
        }
    }
    lane->stale = false;
    uv_freeaddrinfo(found);
    peer_unref(lane->peer);
}

static void on_dial(uv_timer_t *timer)
{
    struct net_lane *lane = timer->data;
    struct net *n = lane->peer->net;
    if (lane->connection != NULL || lane->resolving) return;
    if (lane->peer->id == 0 && lane->lane != KELP_LANE_CONTROL) return; /* who is it? */
    char host[NET_HOST_MAX], port[NET_PORT_MAX];
    struct sockaddr_storage to;
    n->stats.dials++;
    if (!address_split(lane_address(lane), host, port)) {
        dial_failed(lane, "this is not HOST:PORT");
    } else if (address_numeric(host, port, &to)) {
        dial_connect(lane, (const struct sockaddr *)&to);
    } else {
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        lane->resolve.data = lane;
        int error =
            uv_getaddrinfo(n->options.loop, &lane->resolve, on_resolved, host, port, &hints);
        if (error < 0) {
            dial_failed(lane, uv_strerror(error));
            return;
        }
        lane->resolving = true;
        lane->peer->handles++;
        n->handles++;
    }
}

void dial_after(struct net_lane *lane, kelp_ns delay)
{
    if (lane->peer->forgotten) return;
    uint64_t ms = (delay + MILLISECOND - 1) / MILLISECOND;
    (void)uv_timer_start(&lane->timer, on_dial, ms, 0); /* the handle is open: it cannot fail */
}

/* ---- peers ----------------------------------------------------------------------------------- */

static struct net_peer *peer_make(struct net *n, kelp_id id)
{
    struct net_peer *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->net = n;
    p->id = id;
    TAILQ_INSERT_TAIL(&n->peers, p, link);
    for (unsigned i = 0; i < KELP_LANES; i++) {
        struct net_lane *lane = &p->lanes[i];
        lane->peer = p;
        lane->lane = (enum kelp_lane)i;
        lane->back_off = n->options.dial_min;
        (void)uv_timer_init(n->options.loop, &lane->timer); /* always 0 */
        lane->timer.data = lane;
        p->handles++;
        n->handles++;
    }
    return p;
}

void net_dial(struct net *n, kelp_id peer, const char *address)
{
    if (n->closing || strlen(address) >= WIRE_ADDRESS_MAX) return;
    struct net_peer *p = net_peer_find(n, peer);
    if (p != NULL && (p->join || strcmp(p->address, address) == 0)) return;
    if (p == NULL) p = peer_make(n, peer);
    if (p == NULL) {
        net_note(n, KELP_ERROR, "out of memory: node %llu is not dialled",
                 (unsigned long long)peer);
        return;
    }
    memcpy(p->address, address, strlen(address) + 1);
    p->said = false;
    for (unsigned i = 0; i < KELP_LANES; i++) {
        struct net_lane *lane = &p->lanes[i];
        lane->stale = lane->resolving;
        lane->back_off = n->options.dial_min;
        if (lane->connection != NULL)
            connection_close(lane->connection); /* dials again by itself */
        if (!lane->resolving) dial_after(lane, 0);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct net_lane *lane = handle->data;
    peer_unref(lane->peer);
}

static void peer_close(struct net_peer *p)
{
    p->forgotten = true;
    TAILQ_REMOVE(&p->net->peers, p, link);
    for (unsigned i = 0; i < KELP_LANES; i++) {
        struct net_lane *lane = &p->lanes[i];
        if (lane->connection != NULL) connection_close(lane->connection);
        if (lane->resolving)
            (void)uv_cancel((uv_req_t *)&lane->resolve); /* else it ends by itself */
        uv_close((uv_handle_t *)&lane->timer, on_timer_closed);
    }
}

void net_forget(struct net *n, kelp_id peer)
{
    struct net_peer *p = net_peer_find(n, peer);
    if (p != NULL) peer_close(p);
}

void net_dial_also(struct net *n, kelp_id peer, const char *address)
{
    struct net_peer *p = net_peer_find(n, peer);
    if (p == NULL || p->join || strlen(address) >= sizeof p->other) return;
    memcpy(p->other, address, strlen(address) + 1);
    if (strcmp(p->other, p->address) == 0) p->other[0] = '\0';
}

/* ---- joining --------------------------------------------------------------------------------- */

void net_join(struct net *n, const char *address)
{
    struct net_peer *p;
    if (n->closing || strlen(address) >= WIRE_ADDRESS_MAX) return;
    TAILQ_FOREACH(p, &n->peers, link)
    {
        if (p->join && strcmp(p->address, address) == 0) return;
    }
    p = peer_make(n, 0);
    if (p == NULL) return; /* tried again when the node looks next */
    p->join = true;
    memcpy(p->address, address, strlen(address) + 1);
    dial_after(&p->lanes[KELP_LANE_CONTROL], 0);
}

bool net_joined(const struct net *n)
{
    const struct net_peer *p;
    TAILQ_FOREACH(p, &n->peers, link)
    {
        if (p->join && peer_open(p)) return true;
    }
    return false;
}

void net_join_end(struct net *n)
{
    struct net_peer *p, *next;
    for (p = TAILQ_FIRST(&n->peers); p != NULL; p = next) {
        next = TAILQ_NEXT(p, link);
        if (p->join) peer_close(p);
    }
}

bool dial_known(struct net_lane *lane, kelp_id id)
{
    struct net_peer *p = lane->peer;
    if (p->id == id) return true;
    if (net_peer_find(p->net, id) != NULL) { /* by another name, or by its id */
        peer_close(p);
        return false;
    }
    p->id = id;
    for (unsigned i = 0; i < KELP_LANES; i++) {
        if (i != KELP_LANE_CONTROL) dial_after(&p->lanes[i], 0);
    }
    return true;
}

void net_reset(struct net *n)
{
    struct connection *c, *next;
    for (c = TAILQ_FIRST(&n->connections); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        connection_fail(c, "this node was given its id");
    }
}

void net_peers_close(struct net *n)
{
    struct net_peer *p;
    while ((p = TAILQ_FIRST(&n->peers)) != NULL)
        peer_close(p);
}
