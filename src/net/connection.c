/* SPDX-License-Identifier: Apache-2.0 */
/* connection.c - one connection between two nodes: its socket, the hello each way, frames in.
 *
 *   dialler                                acceptor
 *   hello (to, lane, number) ------------> judged: a hello back and open, or the refusal and closed
 *   judged: open, or the refusal <-------- hello (answer)
 *
 * Nothing of the other side is believed before its hello was judged: no frame above 1 KiB is taken,
 * and five seconds are all it gets. The receive buffer grows as bytes arrive, up to what the
 * verified head of the frame announces, never ahead of them. Frames are handed up where they
 * lie. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/min.h"
#include "net/room.h"

#define GREETING_BODY_MAX 1024u
#define CONTROL_BODY_MAX  (256u * 1024)
#define GREETING_ROOM     2048u
#define OPEN_ROOM         (64u * 1024)
#define IDLE_ROOM         (2u * 1024 * 1024) /* a larger buffer is given back when it is empty */

_Static_assert(GREETING_BODY_MAX >= WIRE_HELLO_MAX && GREETING_BODY_MAX >= WIRE_REFUSE_MAX,
               "a handshake fits");

/* ---- life ------------------------------------------------------------------------------------ */

static struct connection *connection_new(struct net *n)
{
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->net = n;
    buf_init(&c->queue, SIZE_MAX);
    buf_init(&c->flight, SIZE_MAX); /* bounded where frames are queued */
    return c;
}

/* The socket's handle is there: from here on the connection ends by connection_close only. */
static void connection_enter(struct connection *c)
{
    struct net *n = c->net;
    c->tcp.data = c;
    (void)uv_timer_init(n->options.loop, &c->timer); /* always 0 */
    c->timer.data = c;
    c->handles = 2;
    n->handles += 2;
    TAILQ_INSERT_TAIL(&n->connections, c, link);
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct net *n = c->net;
    if (--c->handles == 0) {
        output_close(c);
        free(c->in);
        free(c);
    }
    net_handle_closed(n);
}

void connection_close(struct connection *c)
{
    if (c->state == CONNECTION_CLOSED) return;
    struct net *n = c->net;
    bool was_open = c->state == CONNECTION_OPEN;
    c->state = CONNECTION_CLOSED;
    TAILQ_REMOVE(&n->connections, c, link);
    if (c->dirty) TAILQ_REMOVE(&n->dirty, c, dirty_link);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
    if (c->dial != NULL) {
        c->dial->connection = NULL;
        if (was_open) {
            kelp_ns least = n->options.dial_min;
            dial_after(c->dial, n->owner.random(n->owner.ctx) % (least + 1));
        }
    }
    if (!c->dialled) {
        n->accepted--;
        net_accept_again(n);
    }
    if (was_open && !n->closing)
        n->owner.down(n->owner.ctx, c->peer, c->lane, c->number, c->dialled);
}

/* Before it was open: a dialled one counts as a failed attempt. */
void connection_fail(struct connection *c, const char *words)
{
    struct net_lane *lane = c->state == CONNECTION_OPEN ? NULL : c->dial;
    connection_close(c);
    if (lane != NULL) dial_failed(lane, words);
}

/* What it sent is wrong: said, counted, closed. */
static void connection_bad(struct connection *c, const struct kelp_fault *fault)
{
    char who[96];
    c->net->stats.bad_frames++;
    if (c->peer != 0)
        (void)snprintf(who, sizeof who, "node %llu at %s", (unsigned long long)c->peer, c->remote);
    else
        (void)snprintf(who, sizeof who, "%s", c->remote);
    complain(c->net, c->host, "closed a connection with %s: %s", who,
             fault->what[0] != '\0' ? fault->what : kelp_strerror(fault->error));
    connection_fail(c, "it does not speak Kelp's peer protocol as we do");
}

struct connection *connection_find(const struct net *n, kelp_id peer, enum kelp_lane lane,
                                   uint64_t number)
{
    struct connection *c;
    TAILQ_FOREACH(c, &n->connections, link)
    {
        if (c->state == CONNECTION_OPEN && c->peer == peer && c->lane == lane &&
            (number == 0 ? !c->dialled : c->number == number))
            return c;
    }
    return NULL;
}

/* ---- hello ----------------------------------------------------------------------------------- */

static void hello_send(struct connection *c)
{
    struct net *n = c->net;
    struct wire_hello hello = {.version_min = 0};
    n->owner.hello(n->owner.ctx, &hello);
    hello.lane = (uint8_t)c->lane;
    hello.connection = c->number;
    hello.to = c->peer;
    hello.answer = !c->dialled;
    uint8_t body[WIRE_HELLO_MAX];
    output_frame(c, WIRE_HELLO, bytes_of(body, wire_hello_encode(&hello, body)));
}

static void refuse(struct connection *c, const struct wire_hello *hello,
                   const struct wire_refuse *why)
{
    uint8_t body[WIRE_REFUSE_MAX];
    output_frame(c, WIRE_REFUSE, bytes_of(body, wire_refuse_encode(why, body)));
    c->net->stats.refused_hellos++;
    complain(c->net, c->host, "refused node %llu at %s: %s", (unsigned long long)hello->node,
             c->remote, why->words);
    connection_fail(c, why->words);
}

static void connection_open(struct connection *c, const struct wire_hello *hello)
{
    struct net *n = c->net;
    c->state = CONNECTION_OPEN;
    (void)uv_timer_stop(&c->timer);
    if (c->dial != NULL) dial_opened(c->dial);
    n->owner.up(n->owner.ctx, c->peer, c->lane, c->number, c->dialled, hello);
}

static void greeted_by_dialler(struct connection *c, const struct wire_hello *hello,
                               struct kelp_fault *fault)
{
    struct net *n = c->net;
    struct wire_refuse why;
    enum kelp_lane lane = (enum kelp_lane)hello->lane;
    if (hello->answer || hello->connection == 0 ||
        connection_find(n, hello->node, lane, hello->connection) != NULL) {
        (void)fault_set(fault, KELP_E_MALFORMED, NULL, "a hello with a number it may not have");
        connection_bad(c, fault);
        return;
    }
    if (n->owner.judge(n->owner.ctx, hello, 0, &why) != 0) {
        refuse(c, hello, &why);
        return;
    }
    struct connection *older = connection_find(n, hello->node, lane, 0);
    if (older != NULL) connection_close(older); /* its dialler has given it up */
    c->peer = hello->node;
    c->lane = lane;
    c->number = hello->connection;
    hello_send(c);
    connection_open(c, hello);
}

static void greeted_by_acceptor(struct connection *c, const struct wire_hello *hello,
                                struct kelp_fault *fault)
{
    struct net *n = c->net;
    struct wire_refuse why;
    if (!hello->answer || hello->lane != c->lane || hello->connection != c->number) {
        (void)fault_set(fault, KELP_E_MALFORMED, NULL, "a hello that answers another one");
        connection_bad(c, fault);
    } else if (n->owner.judge(n->owner.ctx, hello, c->peer, &why) != 0) {
        refuse(c, hello, &why);
    } else if (c->dial == NULL || dial_known(c->dial, hello->node)) {
        c->peer = hello->node;
        connection_open(c, hello);
    }
}

static void refused(struct connection *c, const struct wire_frame *frame, struct kelp_fault *fault)
{
    struct net *n = c->net;
    struct wire_refuse why;
    if (c->peer == 0 && c->dial == NULL)
        (void)fault_set(fault, KELP_E_MALFORMED, NULL, "a refusal before any hello");
    else
        (void)wire_refuse_decode(frame->body, &why, fault);
    if (fault->error != KELP_OK) {
        connection_bad(c, fault);
        return;
    }
    kelp_id peer = c->peer != 0 ? c->peer : why.node;
    complain(n, c->host, "node %llu at %s refuses us: %s", (unsigned long long)peer, c->remote,
             why.words);
    if (c->dial != NULL) {
        c->dial->back_off = n->options.dial_max; /* asking faster changes nothing */
        c->dial->peer->said = true;
    }
    connection_fail(c, why.words);
    n->owner.refused(n->owner.ctx, peer, &why);
}

/* ---- frames in ------------------------------------------------------------------------------- */

static void frame_arrived(struct connection *c, const struct wire_frame *frame)
{
    struct net *n = c->net;
    struct kelp_fault fault = {.error = KELP_OK};
    struct wire_hello hello;
    n->stats.frames_in++;
    if (frame->kind == WIRE_REFUSE) {
        refused(c, frame, &fault);
    } else if (c->state == CONNECTION_OPEN) {
        if (n->owner.frame(n->owner.ctx, c->peer, c->lane, c->number, frame, &fault) != KELP_OK)
            connection_bad(c, &fault);
    } else if (frame->kind != WIRE_HELLO) {
        (void)fault_set(&fault, KELP_E_MALFORMED, NULL, "a frame of kind %u before the hello",
                        frame->kind);
        connection_bad(c, &fault);
    } else if (wire_hello_decode(frame->body, &hello, &fault) != KELP_OK) {
        connection_bad(c, &fault);
    } else if (c->dialled) {
        greeted_by_acceptor(c, &hello, &fault);
    } else {
        greeted_by_dialler(c, &hello, &fault);
    }
}

static size_t body_max(const struct connection *c)
{
    if (c->state != CONNECTION_OPEN) return GREETING_BODY_MAX;
    return c->lane == KELP_LANE_CONTROL ? CONTROL_BODY_MAX : WIRE_FRAME_BODY_MAX;
}

static void frames_cut(struct connection *c)
{
    size_t at = 0;
    while (c->state != CONNECTION_CLOSED) {
        struct wire_frame frame;
        struct kelp_fault fault = {.error = KELP_OK};
        size_t used;
        struct kelp_bytes rest = bytes_of(c->in + at, c->in_len - at);
        enum kelp_error error = wire_frame_decode(rest, body_max(c), &frame, &used, &fault);
        if (error == KELP_E_MORE) {
            c->in_wanted = used;
            break;
        }
        if (error != KELP_OK) {
            connection_bad(c, &fault);
            return;
        }
        at += used;
        frame_arrived(c, &frame);
    }
    if (c->state == CONNECTION_CLOSED) return;
    c->in_len -= at;
    if (at > 0 && c->in_len > 0) memmove(c->in, c->in + at, c->in_len);
    if (c->in_len == 0 && c->in_room > IDLE_ROOM) {
        free(c->in);
        c->in = NULL;
        c->in_room = 0;
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct connection *c = handle->data;
    (void)suggested;
    size_t least = c->state == CONNECTION_OPEN ? OPEN_ROOM : GREETING_ROOM, room = c->in_room;
    if (room < least)
        room = least;
    else if (c->in_len == room)
        room = (size_t)min_u64(room * 2, max_u64(c->in_wanted, least));
    if (room != c->in_room) {
        uint8_t *in = realloc(c->in, room);
        if (in != NULL) {
            c->in = in;
            c->in_room = room;
        }
    }
    /* No room at all reaches on_read as UV_ENOBUFS. */
    *out = uv_buf_init((char *)c->in + c->in_len, (unsigned)(c->in_room - c->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct connection *c = stream->data;
    (void)buffer;
    if (c->state == CONNECTION_CLOSED || got == 0) return;
    if (got < 0) {
        connection_fail(c, uv_strerror((int)got));
        return;
    }
    c->net->stats.bytes_in += (uint64_t)got;
    c->in_len += (size_t)got;
    ASSERT(c->in_len <= c->in_room);
    frames_cut(c);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static void on_timeout(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    struct net *n = c->net;
    if (!c->dialled) {
        n->stats.bad_frames++;
        complain(n, c->host, "closed a connection with %s: no hello within %u s", c->remote,
                 HELLO_TIMEOUT_MS / 1000);
    }
    connection_fail(c, "no answer in time");
}

/* Options that speed things up or notice a dead peer; a system without one of them still works. */
static void socket_tune(struct connection *c)
{
    kelp_ns timeout = c->net->options.user_timeout;
    unsigned ms = (unsigned)min_u64(timeout / MILLISECOND, INT32_MAX);
    unsigned idle_s = (unsigned)max_u64(1, ms / 2000);
    int fd;
    (void)uv_tcp_nodelay(&c->tcp, 1);
    (void)uv_tcp_keepalive(&c->tcp, 1, idle_s);
    if (ms > 0 && uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

static void greeting_begin(struct connection *c)
{
    c->state = CONNECTION_GREETING;
    socket_tune(c);
    if (c->dialled) hello_send(c);
    int error = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (error < 0) connection_fail(c, uv_strerror(error));
}

static void on_connected(uv_connect_t *request, int status)
{
    struct connection *c = request->data;
    if (c->state == CONNECTION_CLOSED) return;
    if (status < 0)
        connection_fail(c, uv_strerror(status));
    else
        greeting_begin(c);
}

/* Leave from our own address, so that the peer's firewall and its operator see who it is. */
static void source_bind(struct connection *c, int family)
{
    struct net *n = c->net;
    if (n->source.ss_family != family) return;
#ifdef IP_BIND_ADDRESS_NO_PORT
    int fd, on = 1;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0)
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
#endif
    int error = uv_tcp_bind(&c->tcp, (const struct sockaddr *)&n->source, 0);
    if (error < 0)
        complain(n, "source", "cannot dial from %s: %s", n->options.source, uv_strerror(error));
}

int connection_dial(struct net_lane *lane, const struct sockaddr *to)
{
    struct net *n = lane->peer->net;
    struct connection *c = connection_new(n);
    if (c == NULL) return UV_ENOMEM;
    int error = uv_tcp_init_ex(n->options.loop, &c->tcp, to->sa_family);
    if (error < 0) {
        free(c);
        return error;
    }
    c->dialled = true;
    c->dial = lane;
    c->lane = lane->lane;
    c->peer = lane->peer->id;
    do
        c->number = n->owner.random(n->owner.ctx);
    while (c->number == 0);
    address_text(to, c->host, c->remote);
    connection_enter(c);
    source_bind(c, to->sa_family);
    c->connecting.data = c;
    error = uv_tcp_connect(&c->connecting, &c->tcp, to, on_connected);
    if (error < 0) {
        connection_close(c);
        return error;
    }
    lane->connection = c;
    (void)uv_timer_start(&c->timer, on_timeout, HELLO_TIMEOUT_MS, 0); /* the handle is open */
    return 0;
}

bool connection_accept(struct net *n)
{
    struct connection *c = connection_new(n);
    int error = c != NULL ? uv_tcp_init(n->options.loop, &c->tcp) : UV_ENOMEM;
    if (error < 0) {
        free(c);
        complain(n, "accept", "cannot accept connections: %s", uv_strerror(error));
        return false;
    }
    connection_enter(c);
    n->accepted++;
    n->stats.accepts++;
    error = uv_accept((uv_stream_t *)&n->listener, (uv_stream_t *)&c->tcp);
    struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
    int len = sizeof from;
    if (error == 0) error = uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&from, &len);
    if (error < 0) {
        connection_close(c); /* it went while it waited */
        return true;
    }
    address_text((const struct sockaddr *)&from, c->host, c->remote);
    (void)uv_timer_start(&c->timer, on_timeout, HELLO_TIMEOUT_MS, 0);
    greeting_begin(c);
    return true;
}
