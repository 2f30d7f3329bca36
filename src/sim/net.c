/* SPDX-License-Identifier: Apache-2.0 */
/* net.c - connections between nodes and the frames on them.
 *
 * Each node dials every other one on the lanes it uses, and sends on the connection it dialled;
 * while that is not open it sends on the one it accepted, as it does when it must answer on the
 * connection that a request came from. A frame may be lost, late, repeated, overtaken, come again
 * long after, or be damaged; what is cut arrives nowhere. In some runs paths are slow, and pieces
 * of snapshots wait on them behind each other. A damaged frame must be refused by its checksums,
 * those of its entries included, and the connection is closed, as a real one would be.
 *
 * In half of the runs a frame may come in two pieces, cut at any byte, and with the first bytes of
 * another behind it: the decoder must wait for the rest, whoever dies meanwhile, and take no byte
 * too many. The buffer that pieces are gathered in is the transport's own: tests/net.
 *
 *   dialler                               acceptor
 *   IDLE --hello--> HELLO  . . . . . . .  judges it: accepted, hello back; or refused, reason back
 *   HELLO --hello back, judged--> OPEN
 *   HELLO --nothing in time--> IDLE, dials again      either end --closed--> IDLE, dials again */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/min.h"
#include "base/unset.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS           ((kelp_ns)1000000)
#define PACKET_SMALL 512u
#define MUTE_AFTER   (20000 * MS)
#define LANES_USED   KELP_LANES
#define LINK_BITS    8u
#define REPLAYS_LONG 32u

_Static_assert(LINKS_MAX <= 1u << LINK_BITS, "a connection's number names its link");

/* ---- packets ---- */

struct packet *net_packet(struct world *w, size_t len)
{
    struct packet **spare = len <= PACKET_SMALL ? &w->net.spare : &w->net.spare_large;
    struct packet *p = *spare;
    if (p != NULL && p->room >= len) {
        *spare = p->next;
    } else {
        size_t room = max_u64(len, PACKET_SMALL);
        if (room > PACKET_SMALL) room = max_u64(room, 16 * 1024);
        p = malloc(sizeof *p + room + WIRE_FRAME_HEAD); /* for what may come behind it */
        if (p == NULL) {
            checker_fail(w->checker, RULE_W02, "no memory for a frame");
            return NULL;
        }
        p->room = (uint32_t)room;
    }
    p->references = 1;
    p->len = (uint32_t)len;
    p->damaged = p->replayed = false;
    p->number = ++w->net.packets;
    p->sent_at = w->now;
    return p;
}

void net_packet_drop(struct world *w, struct packet *p)
{
    if (p == NULL || --p->references > 0) return;
    struct packet **spare = p->room <= PACKET_SMALL ? &w->net.spare : &w->net.spare_large;
    p->next = *spare;
    *spare = p;
}

static void packets_free(struct packet *p)
{
    while (p != NULL) {
        struct packet *next = p->next;
        free(p);
        p = next;
    }
}

void net_make(struct world *w)
{
    struct net *net = &w->net;
    for (unsigned from = 0; from < NODES_MAX; from++) {
        for (unsigned to = 0; to < NODES_MAX; to++) {
            for (unsigned lane = 0; lane < LANES_USED; lane++) {
                struct link *l = &net->links[(from * NODES_MAX + to) * LANES_USED + lane];
                *l = (struct link){
                    .dialler = (uint8_t)from, .acceptor = (uint8_t)to, .lane = (uint8_t)lane};
            }
        }
    }
}

void net_unmake(struct world *w)
{
    struct net *net = &w->net;
    for (size_t i = 0; i < w->heap.count; i++)
        net_packet_drop(w, w->heap.events[i].item);
    for (unsigned i = 0; i < REPLAYS_MAX; i++)
        net_packet_drop(w, net->replays[i]);
    packets_free(net->spare);
    packets_free(net->spare_large);
}

/* ---- links ---- */

static struct link *link_of(struct world *w, unsigned dialler, unsigned acceptor, unsigned lane)
{
    return &w->net.links[(dialler * NODES_MAX + acceptor) * LANES_USED + lane];
}

struct link *net_link(struct world *w, uint64_t connection)
{
    uint64_t number = connection & ((1u << LINK_BITS) - 1);
    return connection != 0 && number < LINKS_MAX ? &w->net.links[number] : NULL;
}

/* Is this connection open as far as this end knows? */
static bool end_open(const struct link *l, unsigned end, uint64_t connection)
{
    if (connection == 0) return false;
    if (end == l->dialler) return l->state == LINK_OPEN && l->connection == connection;
    return l->acceptor == end && l->accepted == connection;
}

static uint64_t open_connection(struct world *w, unsigned from, unsigned to, enum kelp_lane lane)
{
    if (lane >= LANES_USED || from == to || to >= w->node_count) return 0;
    const struct link *dialled = link_of(w, from, to, lane);
    if (dialled->state == LINK_OPEN) return dialled->connection;
    return link_of(w, to, from, lane)->accepted;
}

static void dial_later(struct world *w, struct link *l, kelp_ns after)
{
    world_push(w, w->now + after, EVENT_DIAL, l->dialler, (uint64_t)(l - w->net.links), NULL);
}

static kelp_ns back_off(struct world *w)
{
    return draw_between(stream(w, STREAM_NET), 5, 120) * MS;
}

void sim_net_dial(struct world *w, struct link *l)
{
    struct node *n = &w->nodes[l->dialler];
    if (n->state != NODE_UP || l->state != LINK_IDLE) return;
    world_trace(w, EVENT_DIAL, l->dialler, (uint64_t)(l - w->net.links));
    if (w->nodes[l->acceptor].state == NODE_GONE) return;
    l->connection = ++w->net.connections << LINK_BITS | (uint64_t)(l - w->net.links);
    l->state = LINK_HELLO;
    l->last_arrival[0] = l->last_arrival[1] = 0;
    l->busy[0] = l->busy[1] = 0;
    knock_hello(w, l);
    world_push(w, w->now + draw_between(stream(w, STREAM_NET), 100, 400) * MS, EVENT_DIAL_LATE,
               l->dialler, l->connection, NULL);
}

void net_dial_late(struct world *w, uint64_t connection)
{
    struct link *l = net_link(w, connection);
    if (l->connection != connection || l->state != LINK_HELLO) return;
    world_trace(w, EVENT_DIAL_LATE, l->dialler, connection);
    l->state = LINK_IDLE;
    dial_later(w, l, back_off(w));
}

/* One end learns that the connection is gone. */
void net_closed(struct node *n, uint64_t connection)
{
    struct world *w = n->world;
    struct link *l = net_link(w, connection);
    bool dialler = l->dialler == n->slot;
    if (n->state != NODE_UP && n->state != NODE_FAULTED) return;
    if (dialler && l->state == LINK_HELLO && l->connection == connection) {
        l->state = LINK_IDLE;
        dial_later(w, l, back_off(w));
        return;
    }
    if (!end_open(l, n->slot, connection)) return;
    world_trace(w, EVENT_CLOSED, n->slot, connection);
    unsigned peer = dialler ? l->acceptor : l->dialler;
    if (dialler) {
        l->state = LINK_IDLE;
        dial_later(w, l, back_off(w));
    } else {
        l->accepted = 0;
    }
    driver_disconnected(n->driver, node_clock(n), peer + 1, (enum kelp_lane)l->lane, connection);
    node_run(n);
}

/* The other end of a connection learns of its end: soon, or, when nobody tells it, much later. */
static void tell_closed(struct world *w, struct link *l, unsigned end, uint64_t connection)
{
    struct draw *draw = stream(w, STREAM_NET);
    unsigned other = end == l->dialler ? l->acceptor : l->dialler;
    bool silent = w->net.cut[other][end] || (!w->healing && draw_chance(draw, 1, 8));
    kelp_ns after = silent ? draw_between(draw, 200, NET_SILENT_MS) * MS : w->swarm.delay_min;
    world_push(w, w->now + after, EVENT_CLOSED, end, connection, NULL);
}

static void close_both(struct world *w, struct link *l, uint64_t connection)
{
    tell_closed(w, l, l->dialler, connection);
    tell_closed(w, l, l->acceptor, connection);
}

void net_node_starts(struct node *n)
{
    struct world *w = n->world;
    for (unsigned to = 0; to < w->node_count; to++) {
        for (unsigned lane = 0; lane < LANES_USED && to != n->slot; lane++) {
            struct link *l = link_of(w, n->slot, to, lane);
            l->state = LINK_IDLE;
            dial_later(w, l, draw_below(stream(w, STREAM_NET), 20 * MS));
        }
    }
}

void net_node_dies(struct node *n)
{
    struct world *w = n->world;
    for (unsigned i = 0; i < LINKS_MAX; i++) {
        struct link *l = &w->net.links[i];
        if (l->dialler == n->slot && l->state != LINK_IDLE) {
            if (l->accepted == l->connection) tell_closed(w, l, l->acceptor, l->connection);
            l->state = LINK_IDLE;
        }
        if (l->acceptor == n->slot && l->accepted != 0) {
            tell_closed(w, l, l->dialler, l->accepted);
            l->accepted = 0;
        }
    }
}

void net_cut_connections(struct world *w, unsigned node)
{
    for (unsigned i = 0; i < LINKS_MAX; i++) {
        struct link *l = &w->net.links[i];
        if ((l->dialler == node || l->acceptor == node) && l->state == LINK_OPEN &&
            draw_chance(stream(w, STREAM_NET), 2, 3))
            close_both(w, l, l->connection);
    }
}

/* ---- sending ---- */

static void packet_damage(struct world *w, struct packet *p)
{
    struct draw *draw = stream(w, STREAM_NET);
    size_t bit = (size_t)draw_below(draw, (uint64_t)p->len * 8);
    p->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    p->damaged = true;
    w->report->frames_damaged++;
    w->report->faults++;
}

/* Where a frame is cut in two; 0: it comes whole. Three of four do. */
static uint64_t piece_draw(const struct world *w, const struct packet *p, uint64_t bits)
{
    if (!w->swarm.pieces || bits % 4 != 3 || p->len < 2) return 0;
    return 1 + bits / 4 * (p->len - 1) / (65536 / 4);
}

/* A path carries so many bytes a second, and what is more waits its turn: how long. */
static kelp_ns lane_waits(struct world *w, struct link *l, unsigned way, const struct packet *p)
{
    uint64_t rate = w->swarm.lane_rate;
    if (rate == 0 || p->kind != WIRE_PIECE) return 0;
    l->busy[way] = max_u64(l->busy[way], w->now) + p->len * (1000 * MS) / rate;
    return l->busy[way] - w->now;
}

static void packet_goes(struct world *w, struct link *l, struct packet *p, kelp_ns delay,
                        uint64_t piece)
{
    unsigned way = p->from == l->dialler ? 0 : 1;
    delay += lane_waits(w, l, way, p);
    kelp_ns begin = w->now, at = begin + delay; /* a first piece comes between them */
    const struct clog *c = &w->net.clogs[p->from][p->to];
    if (w->now >= c->from && w->now < c->until) {
        begin = c->until;
        at = begin + delay;
    }
    if (w->swarm.ordered) {
        begin = max_u64(begin, l->last_arrival[way]);
        at = max_u64(at, l->last_arrival[way] + 1);
        l->last_arrival[way] = at;
    }
    p->references++;
    l->on_the_way[way]++;
    trace_frame(w, KELP_SIM_SENT, p, at, "");
    if (piece != 0) {
        p->references++;
        w->report->frames_cut++;
        world_push(w, at - (at - begin) / 2, EVENT_FRAME, p->to, piece, p);
    }
    world_push(w, at, EVENT_FRAME, p->to, 0, p);
}

/* KELP_SIM_BREAK_MUTE: what carries entries is lost for ever. */
static bool muted(const struct world *w, const struct packet *p)
{
    return w->options.broken == KELP_SIM_BREAK_MUTE && w->now > MUTE_AFTER &&
           p->kind == WIRE_MESSAGE && p->data[WIRE_FRAME_HEAD + 2] == KELP_MSG_APPEND;
}

/* Hand the packet to the network, which may lose, repeat, delay or damage it. Takes the
 * reference. */
void net_send(struct world *w, struct link *l, struct packet *p)
{
    struct draw *draw = stream(w, STREAM_NET);
    const struct swarm *s = &w->swarm;
    uint64_t bits = draw_bytes(draw, 8), piece = piece_draw(w, p, bits >> 48);
    uint32_t fate = bits & 0xffff, late = bits >> 16 & 0xffff, again = bits >> 32 & 0xffff;
    kelp_ns delay = s->delay_min + draw_below(draw, s->delay_range);
    bool handshake = p->kind == WIRE_HELLO || p->kind == WIRE_REFUSE;
    uint32_t lost = 65536 - (w->net.stormy ? s->lost + 13000 : s->lost);
    w->report->frames++;
    if (w->net.cut[p->from][p->to] || fate >= lost || muted(w, p)) {
        w->report->frames_lost++;
        w->report->faults += fate >= lost;
        trace_frame(w, KELP_SIM_LOST, p, KELP_NEVER, fate >= lost ? "lost" : "cut");
        net_packet_drop(w, p);
        return;
    }
    if (late >= 65536 - (w->net.stormy ? s->late + 6500 : s->late))
        delay += draw_below(draw, s->delay_late);
    if (fate >= lost - s->damaged) packet_damage(w, p);
    packet_goes(w, l, p, delay, piece);
    if (handshake || p->damaged) {
        net_packet_drop(w, p);
        return;
    }
    if (again >= 65536 - s->repeated) {
        w->report->frames_repeated++;
        w->report->faults++;
        packet_goes(w, l, p, s->delay_min + draw_below(draw, s->delay_range + s->delay_late / 4),
                    0);
    }
    uint32_t place = w->net.replay_next++ % REPLAYS_MAX;
    struct packet **old = &w->net.replays[place];
    if (again < 65536 - s->repeated && again >= 65536 - s->repeated - s->replayed && *old != NULL &&
        !w->net.cut[(*old)->from][(*old)->to]) {
        /* It comes again on whatever connection its ends have now. */
        w->report->frames_repeated++;
        w->report->faults++;
        (*old)->replayed = true;
        packet_goes(w, net_link(w, (*old)->connection), *old, delay, 0);
        net_packet_drop(w, p);
        return;
    }
    /* Every second place remembers for seconds, long enough for a node to start again. */
    if (*old != NULL && place % 2 != 0 && again % REPLAYS_LONG != 0) {
        net_packet_drop(w, p);
        return;
    }
    net_packet_drop(w, *old);
    *old = p;
}

static enum kelp_error peers_send(void *peers, uint32_t group, kelp_id to, enum kelp_lane lane,
                                  uint64_t connection, const struct kelp_bytes *parts,
                                  size_t part_count)
{
    struct node *n = peers;
    struct world *w = n->world;
    (void)group;
    ASSERT(to >= 1 && to <= w->node_count && to != n->id);
    if (connection == 0) connection = open_connection(w, n->slot, (unsigned)(to - 1), lane);
    struct link *l = net_link(w, connection);
    if (l == NULL || !end_open(l, n->slot, connection)) return KELP_E_CLOSED;
    unsigned way = n->slot == l->dialler ? 0 : 1;
    if (l->on_the_way[way] >= w->swarm.capacity) return KELP_E_LIMIT;
    size_t len = 0;
    for (size_t i = 0; i < part_count; i++)
        len += parts[i].len;
    if (lane == KELP_LANE_CONTROL && len > KELP_CONTROL_FRAME_MAX)
        checker_fail(w->checker, RULE_I37, "node %u sends %zu bytes on the control lane",
                     n->slot + 1u, len);
    struct packet *p = net_packet(w, len);
    if (p == NULL) return KELP_E_CLOSED;
    uint8_t *at = p->data;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0) memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    p->from = n->slot;
    p->to = (uint8_t)(to - 1);
    p->lane = (uint8_t)lane;
    p->kind = p->data[10]; /* wire/frame.c: the kind's place in a frame's head */
    p->connection = connection;
    watch_frame(n, p->to, p);
    net_send(w, l, p);
    return KELP_OK;
}

static void peers_flush(void *peers)
{
    (void)peers; /* frames leave one by one here; a real transport gathers them */
}

static uint64_t peers_connection(void *peers, kelp_id to, enum kelp_lane lane)
{
    struct node *n = peers;
    return open_connection(n->world, n->slot, (unsigned)(to - 1), lane);
}

const struct kelp_peers_ops sim_net_peers_ops = {
    .size = sizeof(struct kelp_peers_ops),
    .send = peers_send,
    .flush = peers_flush,
    .connection = peers_connection,
};

/* ---- arriving ---- */

static void frame_refused(struct world *w, struct packet *p, enum kelp_error error,
                          const char *words)
{
    struct link *l = net_link(w, p->connection);
    if (!p->damaged) {
        checker_fail(w->checker, RULE_N03, "node %u refuses a frame of node %u: %s: %s", p->to + 1u,
                     p->from + 1u, kelp_strerror(error), words);
        return;
    }
    close_both(w, l, p->connection);
}

static void damage_believed(struct world *w, const struct packet *p)
{
    checker_fail(w->checker, RULE_N04, "node %u believes a damaged frame of node %u", p->to + 1u,
                 p->from + 1u);
}

static void frame_to_driver(struct world *w, struct packet *p, const struct wire_frame *frame)
{
    struct node *n = &w->nodes[p->to];
    UNSET struct kelp_fault fault;
    fault_none(&fault);
    enum kelp_error error = driver_frame(n->driver, node_clock(n), p->from + 1u,
                                         (enum kelp_lane)p->lane, p->connection, frame, &fault);
    if (error == KELP_OK) renewal_passed(w, p->from, p->to, frame->kind);
    if (error != KELP_OK)
        frame_refused(w, p, error, fault.what);
    else if (p->damaged && driver_core(n->driver) != NULL) /* without one it is dropped unread */
        damage_believed(w, p);
    node_run(n);
}

/* A frame that is meant to be believed in spite of its damage: the canary of the checksums. */
static enum kelp_error frame_decode(struct world *w, struct packet *p, struct wire_frame *frame,
                                    struct kelp_fault *fault)
{
    size_t used, behind = 0;
    if (w->swarm.pieces && p->len >= WIRE_FRAME_HEAD) {
        behind = p->number % (WIRE_FRAME_HEAD + 1);
        memcpy(p->data + p->len, p->data, behind);
    }
    enum kelp_error error = wire_frame_decode((struct kelp_bytes){p->data, p->len + behind},
                                              WIRE_FRAME_BODY_MAX, frame, &used, fault);
    if (error == KELP_OK && used != p->len)
        checker_fail(w->checker, RULE_N03, "a frame of %u bytes ends at %zu", p->len, used);
    bool believed = w->options.broken == KELP_SIM_BREAK_FRAME && p->damaged &&
                    error == KELP_E_CORRUPT && p->len > WIRE_FRAME_HEAD;
    if (!believed) return error;
    *frame = (struct wire_frame){
        .kind = p->kind,
        .body = {p->data + WIRE_FRAME_HEAD, p->len - WIRE_FRAME_HEAD},
        .hashed = p->len - WIRE_FRAME_HEAD,
    };
    return KELP_OK;
}

/* The first bytes of a frame: nothing may be believed yet, but what is wrong may be refused. */
static void piece_arrives(struct world *w, struct packet *p, size_t len)
{
    struct wire_frame frame;
    size_t used;
    struct kelp_fault fault = {0};
    enum kelp_error error = wire_frame_decode((struct kelp_bytes){p->data, len},
                                              WIRE_FRAME_BODY_MAX, &frame, &used, &fault);
    if (error == KELP_OK || (error == KELP_E_MORE && used != 0 && used != p->len))
        checker_fail(w->checker, RULE_N03, "node %u takes %zu of %u bytes for a frame of %zu",
                     p->to + 1u, len, p->len, used);
    else if (error != KELP_E_MORE)
        frame_refused(w, p, error, fault.what);
}

static void packet_arrives(struct world *w, struct packet *p)
{
    struct node *n = &w->nodes[p->to];
    struct link *l = net_link(w, p->connection);
    if (p->replayed && !end_open(l, n->slot, p->connection)) {
        uint64_t now_open = end_open(l, l->dialler, l->connection) ? l->connection : l->accepted;
        /* A forward's answer is told apart from others by its connection alone. */
        if (!end_open(l, n->slot, now_open) || p->kind == WIRE_FORWARD_ANSWER) return;
        p->connection = now_open;
    }
    struct wire_frame frame;
    UNSET struct kelp_fault fault;
    fault_none(&fault);
    enum kelp_error error = frame_decode(w, p, &frame, &fault);
    if (error != KELP_OK) {
        frame_refused(w, p, error, fault.what);
        return;
    }
    if (p->damaged && frame.hashed == frame.body.len) {
        damage_believed(w, p);
        return;
    }
    if (frame.kind == WIRE_HELLO || frame.kind == WIRE_REFUSE) {
        knock_arrives(w, p, &frame);
        return;
    }
    if (!end_open(l, n->slot, p->connection)) return;
    if (!p->damaged) watch_heard(n, p);
    frame_to_driver(w, p, &frame);
}

void net_frame_arrives(struct world *w, struct packet *p, uint64_t piece)
{
    struct node *n = &w->nodes[p->to];
    struct link *l = net_link(w, p->connection);
    unsigned way = p->from == l->dialler ? 0 : 1;
    if (piece == 0) l->on_the_way[way] -= l->on_the_way[way] > 0;
    bool lost = w->report->thinned && w->net.cut[p->from][p->to];
    if (n->driver == NULL || lost) {
        if (piece == 0) trace_frame(w, KELP_SIM_DROPPED, p, w->now, "nobody is there");
    } else if (piece != 0) {
        piece_arrives(w, p, piece);
    } else {
        world_trace(w, EVENT_FRAME, p->to, watch_frame_hash(p));
        trace_frame(w, KELP_SIM_RECEIVED, p, w->now, "");
        packet_arrives(w, p);
    }
    net_packet_drop(w, p);
}
