/* SPDX-License-Identifier: Apache-2.0 */
/* knock.c - handshakes: two nodes introduce themselves, and strangers try to.
 *
 * Every connection starts with a hello each way, judged by what the other end has committed. A
 * stranger's hello claims another cluster, another directory, or means another node; it must be
 * refused, and its reason must be the right one, or anybody could put words into a member's
 * mouth. */
#include <string.h>

#include "sim/world.h"

#define MS ((kelp_ns)1000000)

static void handshake_send(struct world *w, struct link *l, uint64_t connection, unsigned from,
                           enum wire_kind kind, const uint8_t *body, size_t len)
{
    struct packet *p = net_packet(w, WIRE_FRAME_HEAD + len);
    if (p == NULL) return;
    struct kelp_bytes part = {body, len};
    wire_frame_head(p->data, kind, 0, &part, 1);
    memcpy(p->data + WIRE_FRAME_HEAD, body, len);
    p->from = (uint8_t)from;
    p->to = from == l->dialler ? l->acceptor : l->dialler;
    p->lane = l->lane;
    p->kind = (uint8_t)kind;
    p->connection = connection;
    net_send(w, l, p);
}

static void hello_send(struct world *w, struct link *l, uint64_t connection, unsigned from)
{
    struct node *n = &w->nodes[from];
    struct wire_hello hello = {0};
    uint8_t body[WIRE_HELLO_MAX];
    driver_hello(n->driver, &hello);
    hello.to = (from == l->dialler ? l->acceptor : l->dialler) + 1u;
    hello.lane = l->lane;
    hello.connection = connection;
    hello.answer = from != l->dialler;
    hello.peer = w->members[from].peer;
    size_t len = wire_hello_encode(&hello, body);
    handshake_send(w, l, connection, from, WIRE_HELLO, body, len);
}

void knock_hello(struct world *w, struct link *l)
{
    hello_send(w, l, l->connection, l->dialler);
}

static void refuse_send(struct world *w, struct link *l, uint64_t connection, unsigned from,
                        const struct wire_refuse *refuse)
{
    uint8_t body[WIRE_REFUSE_MAX];
    size_t len = wire_refuse_encode(refuse, body);
    handshake_send(w, l, connection, from, WIRE_REFUSE, body, len);
}

static enum wire_refusal hello_judge(struct node *n, const struct wire_hello *hello,
                                     kelp_id expected, struct wire_refuse *refuse)
{
    struct wire_judge judge;
    driver_judge(n->driver, &judge);
    judge.expected = expected;
    return wire_hello_judge(&judge, hello, refuse);
}

/* ---- a hello from the dialler ---- */

static void knock_heard(struct world *w, struct link *l, const struct wire_hello *hello)
{
    struct node *n = &w->nodes[l->acceptor];
    struct wire_refuse refuse;
    if (n->state != NODE_UP || l->accepted == hello->connection) return;
    if ((hello->connection >> 8) <= (l->accepted >> 8)) return; /* an older one, overtaken */
    if (hello_judge(n, hello, 0, &refuse) != 0) {
        refuse_send(w, l, hello->connection, l->acceptor, &refuse);
        return;
    }
    kelp_ns now = node_clock(n);
    if (l->accepted != 0)
        driver_disconnected(n->driver, now, hello->node, (enum kelp_lane)l->lane, l->accepted);
    l->accepted = hello->connection;
    hello_send(w, l, hello->connection, l->acceptor);
    driver_connected(n->driver, now, hello->node, (enum kelp_lane)l->lane, hello->connection,
                     hello);
    node_run(n);
}

/* ---- the acceptor's answer ---- */

static void knock_answered(struct world *w, struct link *l, const struct wire_hello *hello)
{
    struct node *n = &w->nodes[l->dialler];
    struct wire_refuse refuse;
    if (l->state != LINK_HELLO || l->connection != hello->connection) return;
    if (hello_judge(n, hello, l->acceptor + 1u, &refuse) != 0) {
        refuse_send(w, l, hello->connection, l->dialler, &refuse);
        world_push(w, w->now, EVENT_CLOSED, l->dialler, hello->connection, NULL);
        return;
    }
    l->state = LINK_OPEN;
    driver_connected(n->driver, node_clock(n), l->acceptor + 1u, (enum kelp_lane)l->lane,
                     hello->connection, hello);
    node_run(n);
}

static void knock_refused(struct world *w, struct packet *p, struct link *l,
                          const struct wire_refuse *refuse)
{
    struct node *n = &w->nodes[p->to];
    bool current =
        n->slot == l->dialler ? l->connection == p->connection : l->accepted == p->connection;
    if (!current) return;
    driver_refused(n->driver, p->from + 1u, refuse);
    world_push(w, w->now, EVENT_CLOSED, n->slot, p->connection, NULL);
    node_run(n);
    node_watch_status(n);
}

void knock_arrives(struct world *w, struct packet *p, const struct wire_frame *frame)
{
    struct link *l = net_link(w, p->connection);
    struct kelp_fault fault = {0};
    enum kelp_error error;
    if (frame->kind == WIRE_HELLO) {
        struct wire_hello hello;
        error = wire_hello_decode(frame->body, &hello, &fault);
        if (error == KELP_OK && !hello.answer) knock_heard(w, l, &hello);
        if (error == KELP_OK && hello.answer) knock_answered(w, l, &hello);
    } else {
        struct wire_refuse refuse;
        error = wire_refuse_decode(frame->body, &refuse, &fault);
        if (error == KELP_OK) knock_refused(w, p, l, &refuse);
    }
    if (error != KELP_OK)
        checker_fail(w->checker, RULE_N03, "a handshake of node %u is refused: %s", p->from + 1u,
                     fault.what);
}

/* ---- strangers ---- */

static bool id_zero(struct kelp_cluster_id id)
{
    return id.hi == 0 && id.lo == 0;
}

static const struct kelp_member *member_of(const struct wire_config *c, kelp_id id)
{
    for (unsigned i = 0; c != NULL && i < c->config.count; i++) {
        if (c->config.members[i].id == id) return &c->config.members[i];
    }
    return NULL;
}

/* A stranger claims to be `self`, told apart from it by one thing; what refusal must meet it? */
static enum wire_refusal stranger_draw(struct world *w, const struct wire_judge *judge,
                                       struct wire_hello *hello)
{
    struct draw *draw = &w->fault;
    const struct kelp_member *member = member_of(judge->committed, hello->node);
    switch (draw_below(draw, 5)) {
    case 0:
        if (id_zero(hello->cluster) || id_zero(judge->cluster)) return 0;
        hello->cluster.lo ^= 1u;
        return WIRE_REFUSE_CLUSTER;
    case 1:
        if (member == NULL || member->incarnation == 0) return 0;
        hello->incarnation ^= 1u;
        hello->empty = false;
        return WIRE_REFUSE_INCARNATION;
    case 2:
        if (member == NULL || member->incarnation == 0) return 0;
        hello->incarnation ^= 1u;
        hello->empty = true;
        return WIRE_REFUSE_WIPED;
    case 3:
        if (id_zero(hello->cluster) || id_zero(judge->cluster)) return 0;
        hello->epoch ^= 1u;
        return WIRE_REFUSE_EPOCH;
    }
    hello->node = judge->self;
    return WIRE_REFUSE_SELF;
}

void knock_stranger(struct world *w)
{
    struct draw *draw = &w->fault;
    struct node *claimed = &w->nodes[draw_below(draw, w->node_count)];
    struct node *knocked = &w->nodes[draw_below(draw, w->node_count)];
    if (claimed == knocked || claimed->state != NODE_UP || knocked->state != NODE_UP) return;
    struct wire_hello hello = {0};
    struct wire_judge judge;
    driver_hello(claimed->driver, &hello);
    hello.to = knocked->id;
    hello.lane = KELP_LANE_CONTROL;
    hello.connection = UINT64_MAX;
    hello.peer = w->members[claimed->slot].peer;
    driver_judge(knocked->driver, &judge);
    enum wire_refusal expected = stranger_draw(w, &judge, &hello);
    if (expected == 0) return;
    uint8_t body[WIRE_HELLO_MAX];
    struct wire_hello heard;
    struct wire_refuse refuse = {0};
    struct kelp_fault fault = {0};
    size_t len = wire_hello_encode(&hello, body);
    if (wire_hello_decode((struct kelp_bytes){body, len}, &heard, &fault) != KELP_OK) {
        checker_fail(w->checker, RULE_N03, "a stranger's hello is malformed: %s", fault.what);
        return;
    }
    enum wire_refusal refusal = hello_judge(knocked, &heard, 0, &refuse);
    w->report->strangers_refused++;
    if (refusal != expected)
        checker_fail(w->checker, RULE_I33,
                     "node %u meets a stranger who says it is node %u: answer %d, expected %d",
                     knocked->slot + 1u, claimed->slot + 1u, (int)refusal, (int)expected);
}
