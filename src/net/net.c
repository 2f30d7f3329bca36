/* SPDX-License-Identifier: Apache-2.0 */
/* net.c - the transport as a whole: its life, the listening socket, the peers port, counters.
 *
 * The listening socket is made by hand and given to libuv when it listens already, so that an
 * address in use is an error at once and leaves no half-made handle behind. When all places for
 * accepted connections are taken, the next one stays in the backlog and is taken after a pause:
 * strangers have five seconds each, so a place comes free. Out of file descriptors, libuv's own
 * reserve drops the knocker instead of spinning. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fault.h"
#include "net/room.h"

#define BACKLOG         128
#define ACCEPT_PAUSE_MS 100u

void net_note(struct net *n, enum kelp_level level, const char *format, ...)
{
    if (n->owner.note == NULL) return;
    char line[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    n->owner.note(n->owner.ctx, level, line);
}

/* ---- listening ------------------------------------------------------------------------------- */

static int listen_at(const struct addrinfo *at)
{
    int on = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static int listener_make(const char *address, struct kelp_fault *fault)
{
    char host[NET_HOST_MAX], port[NET_PORT_MAX];
    if (!address_split(address, host, port)) {
        (void)fault_set(fault, KELP_E_ARGUMENT, address, "the peer address %s is not HOST:PORT",
                        address);
        return -1;
    }
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, port, &hints, &found); /* nothing runs yet: it may block */
    if (error != 0) {
        (void)fault_set(fault, KELP_E_IO, address, "cannot resolve the peer address %s: %s",
                        address, gai_strerror(error));
        return -1;
    }
    int fd = listen_at(found);
    if (fd < 0) {
        if (fault != NULL) fault->os_error = errno;
        (void)fault_set(fault, KELP_E_IO, address, "cannot listen for peers at %s: %s", address,
                        strerror(errno));
    }
    freeaddrinfo(found);
    return fd;
}

static void accept_hold(struct net *n);

static void on_accept_timer(uv_timer_t *timer)
{
    struct net *n = timer->data;
    if (!n->accept_held) return;
    if (n->accepted >= n->options.accepted_max) {
        (void)uv_timer_start(timer, on_accept_timer, ACCEPT_PAUSE_MS, 0);
        return;
    }
    n->accept_held = false;
    if (!connection_accept(n)) accept_hold(n);
}

/* libuv takes no further connection before this one is accepted. */
static void accept_hold(struct net *n)
{
    uint64_t pause = ACCEPT_PAUSE_MS / 2 + n->owner.random(n->owner.ctx) % ACCEPT_PAUSE_MS;
    n->accept_held = true;
    (void)uv_timer_start(&n->accept_timer, on_accept_timer, pause, 0);
}

void net_accept_again(struct net *n)
{
    if (!n->accept_held || n->closing) return;
    (void)uv_timer_start(&n->accept_timer, on_accept_timer, 0, 0);
}

/* A member says hello at once: of those who have not, the one that is silent for longest gives way,
 * so that strangers cannot keep members out. */
static bool place_free(struct net *n)
{
    struct connection *c;
    if (n->accepted < n->options.accepted_max) return true;
    TAILQ_FOREACH(c, &n->connections, link)
    {
        if (c->dialled || c->state != CONNECTION_GREETING) continue;
        n->stats.bad_frames++;
        complain(n, "crowd", "closed a connection with %s: no hello, and all %u places are taken",
                 c->remote, n->options.accepted_max);
        connection_close(c);
        return true;
    }
    return false;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct net *n = stream->data;
    if (status < 0) {
        complain(n, "accept", "cannot accept connections: %s", uv_strerror(status));
        return;
    }
    if (place_free(n)) {
        if (!connection_accept(n)) accept_hold(n);
        return;
    }
    complain(n, "accept", "all %u places for connections of peers are taken",
             n->options.accepted_max);
    accept_hold(n);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void source_find(struct net *n)
{
    struct sockaddr_storage source;
    const char *text = n->options.source;
    if (text == NULL || !address_numeric(text, "0", &source)) return;
    if (!address_wildcard(&source)) n->source = source;
}

static int handles_start(struct net *n, int fd)
{
    uv_loop_t *loop = n->options.loop;
    (void)uv_timer_init(loop, &n->accept_timer); /* always 0 */
    n->accept_timer.data = n;
    n->handles = 1;
    int error = uv_tcp_init(loop, &n->listener);
    if (error < 0) {
        (void)close(fd);
        return error;
    }
    n->listener.data = n;
    n->handles = 2;
    error = uv_tcp_open(&n->listener, fd);
    if (error == 0) return uv_listen((uv_stream_t *)&n->listener, BACKLOG, on_connection);
    (void)close(fd); /* else it is the handle's */
    return error;
}

enum kelp_error net_open(const struct net_options *options, const struct net_owner *owner,
                         struct net **out, struct kelp_fault *fault)
{
    struct net *n = calloc(1, sizeof *n);
    if (n == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "net", "out of memory");
    n->options = *options;
    n->owner = *owner;
    TAILQ_INIT(&n->connections);
    TAILQ_INIT(&n->dirty);
    TAILQ_INIT(&n->peers);
    source_find(n);
    int fd = listener_make(options->listen, fault);
    if (fd < 0) {
        free(n);
        return fault != NULL && fault->error != KELP_OK ? fault->error : KELP_E_IO;
    }
    int error = handles_start(n, fd);
    if (error == 0) {
        *out = n;
        return KELP_OK;
    }
    net_close(n, NULL, NULL); /* the loop's next turn frees it */
    return fault_set(fault, KELP_E_IO, options->listen, "cannot listen for peers: %s",
                     uv_strerror(error));
}

void net_handle_closed(struct net *n)
{
    ASSERT(n->handles > 0);
    if (--n->handles > 0) return;
    if (n->done != NULL) n->done(n->done_ctx);
    free(n);
}

static void on_own_handle_closed(uv_handle_t *handle)
{
    net_handle_closed(handle->data);
}

void net_close(struct net *n, void (*done)(void *ctx), void *ctx)
{
    ASSERT(!n->closing);
    n->closing = true;
    n->done = done;
    n->done_ctx = ctx;
    net_peers_close(n);
    struct connection *c;
    while ((c = TAILQ_FIRST(&n->connections)) != NULL)
        connection_close(c);
    bool listening = n->handles > 1 && n->listener.data != NULL;
    uv_close((uv_handle_t *)&n->accept_timer, on_own_handle_closed);
    if (listening) uv_close((uv_handle_t *)&n->listener, on_own_handle_closed);
}

/* ---- the peers port -------------------------------------------------------------------------- */

/* The connection a send on this lane uses: the one we dialled, else the one they did. */
static struct connection *lane_connection(const struct net *n, kelp_id to, enum kelp_lane lane)
{
    const struct net_peer *p = net_peer_find(n, to);
    struct connection *c = p != NULL ? p->lanes[lane].connection : NULL;
    if (c != NULL && c->state == CONNECTION_OPEN) return c;
    return connection_find(n, to, lane, 0);
}

static enum kelp_error peers_send(void *peers, uint32_t group, kelp_id to, enum kelp_lane lane,
                                  uint64_t connection, const struct kelp_bytes *parts,
                                  size_t part_count)
{
    struct net *n = peers;
    (void)group; /* it stands in the frame's head */
    ASSERT(lane < KELP_LANES);
    struct connection *c =
        connection == 0 ? lane_connection(n, to, lane) : connection_find(n, to, lane, connection);
    enum kelp_error error = c != NULL ? output_queue(c, parts, part_count) : KELP_E_CLOSED;
    if (error != KELP_OK) {
        if (error == KELP_E_LIMIT)
            n->stats.dropped_full++;
        else
            n->stats.dropped_closed++;
        return error;
    }
    n->stats.frames_out++;
    if (!c->dirty) TAILQ_INSERT_TAIL(&n->dirty, c, dirty_link);
    c->dirty = true;
    return KELP_OK;
}

static void peers_flush(void *peers)
{
    struct net *n = peers;
    struct connection *c;
    while ((c = TAILQ_FIRST(&n->dirty)) != NULL) {
        TAILQ_REMOVE(&n->dirty, c, dirty_link);
        c->dirty = false;
        output_flush(c);
    }
}

static uint64_t peers_connection(void *peers, kelp_id to, enum kelp_lane lane)
{
    const struct connection *c = lane_connection(peers, to, lane);
    return c != NULL && !c->broken ? c->number : 0;
}

const struct kelp_peers_ops net_peers_ops = {
    .size = sizeof(struct kelp_peers_ops),
    .send = peers_send,
    .flush = peers_flush,
    .connection = peers_connection,
};

/* ---- counters -------------------------------------------------------------------------------- */

void net_stats(const struct net *n, struct net_stats *out)
{
    *out = n->stats;
    const struct connection *c;
    TAILQ_FOREACH(c, &n->connections, link) out->queued[c->lane] += output_bytes(c);
}

uint64_t net_queued(const struct net *n, kelp_id peer, enum kelp_lane lane)
{
    const struct connection *c = lane_connection(n, peer, lane);
    return c != NULL ? output_bytes(c) : 0;
}

bool net_connected(const struct net *n, kelp_id peer, enum kelp_lane lane)
{
    return lane_connection(n, peer, lane) != NULL;
}
