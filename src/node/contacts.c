/* SPDX-License-Identifier: Apache-2.0 */
/* contacts.c - the other nodes: whom to dial where, what we say in a hello, and the table of
 * addresses.
 *
 * Whom: the members of the newest configuration, or the bootstrap list before there is one; whoever
 * is about to be added; and a leader that is no member of what this node holds yet. Where:
 * as the configuration says, unless --peer-at says otherwise; who cannot be reached there is tried
 * where it says itself that it is. A node that joins dials the addresses it was given, whoever is
 * there, until it holds a configuration. The table: each node tells its
 * neighbours its own row, with its start count as version, so the row of its newest start wins
 * everywhere; the leader passes the whole table on, so that a node can name the client address of
 * one it has no connection to. A hello is the node's own word: it replaces what the row says, as a
 * version after it, since a directory that was emptied counts its starts from one again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "node/room.h"
#include "wire/wire.h"

#define ROWS_A_FRAME 8u /* a frame on the control lane stays below its 4 KiB */
#define GONE_NS      (1000 * MILLISECOND)
/* Whoever dials and is refused comes again after a second; it is logged once a minute. */
#define CLAIM_NS       (10 * SECOND)
#define CLAIM_QUIET_NS (60 * SECOND)

/* ---- the peers port -------------------------------------------------------------------------- */

/* The transport is opened after the driver that uses it; the port goes through the node. */
static enum kelp_error contacts_send(void *peers, uint32_t group, kelp_id to, enum kelp_lane lane,
                                     uint64_t connection, const struct kelp_bytes *parts,
                                     size_t part_count)
{
    struct node *n = peers;
    return net_peers_ops.send(n->net, group, to, lane, connection, parts, part_count);
}

static void contacts_flush(void *peers)
{
    struct node *n = peers;
    net_peers_ops.flush(n->net);
}

static uint64_t contacts_connection(void *peers, kelp_id to, enum kelp_lane lane)
{
    struct node *n = peers;
    return net_peers_ops.connection(n->net, to, lane);
}

const struct kelp_peers_ops node_peers_ops = {
    .size = sizeof(struct kelp_peers_ops),
    .send = contacts_send,
    .flush = contacts_flush,
    .connection = contacts_connection,
};

/* ---- dialling -------------------------------------------------------------------------------- */

static const struct wire_address *address_override(const struct node *n, kelp_id id,
                                                   const struct wire_address *configured)
{
    for (size_t i = 0; i < n->peer_at_count; i++) {
        if (n->peer_at[i].id == id) return &n->peer_at[i].peer;
    }
    return configured;
}

static bool contact_among(const struct contact *contacts, size_t count, kelp_id id)
{
    for (size_t i = 0; i < count; i++) {
        if (contacts[i].id == id) return true;
    }
    return false;
}

static size_t contacts_wanted(const struct node *n, struct contact out[KELP_MEMBERS_MAX])
{
    const struct wire_config *c = &n->status.latest;
    bool listed = c->config.count == 0; /* no configuration yet */
    size_t all = listed ? n->bootstrap_count : c->config.count, count = 0;
    for (size_t i = 0; i < all; i++) {
        kelp_id id = listed ? n->bootstrap[i].id : c->config.members[i].id;
        const struct wire_address *address = listed ? &n->bootstrap[i].peer : &c->peer[i];
        const struct wire_address *told = address_override(n, id, address);
        if (id == n->options.id || told->text[0] == '\0') continue;
        out[count] = (struct contact){.id = id, .address = *told};
        const struct wire_member_addresses *row = told == address ? node_addresses(n, id) : NULL;
        if (row != NULL) out[count].other = row->peer;
        count++;
    }
    /* a removal is not certain before it is committed */
    const struct wire_config *committed = &n->status.committed;
    for (size_t i = 0; i < committed->config.count && count < KELP_MEMBERS_MAX; i++) {
        kelp_id id = committed->config.members[i].id;
        const struct wire_address *address = address_override(n, id, &committed->peer[i]);
        if (id == n->options.id || contact_among(out, count, id) || address->text[0] == '\0')
            continue;
        out[count++] = (struct contact){.id = id, .address = *address};
    }
    /* whoever a change would add, and a leader that this node's log does not know yet */
    for (size_t i = 0; i < n->status.candidate_count && count < KELP_MEMBERS_MAX; i++)
        out[count++] = (struct contact){.id = n->status.candidates[i].id,
                                        .address = n->status.candidates[i].peer};
    kelp_id leader = n->status.state == DRIVER_RUNNING ? n->status.view.leader : 0;
    const struct wire_member_addresses *row = leader != 0 ? node_addresses(n, leader) : NULL;
    bool known = leader == n->options.id || contact_among(out, count, leader);
    if (row != NULL && !known && row->peer.text[0] != '\0' && count < KELP_MEMBERS_MAX)
        out[count++] = (struct contact){.id = leader, .address = row->peer};
    return count;
}

/* Once there is a configuration its members are dialled, and nobody else. */
static void contacts_join(struct node *n)
{
    bool holds = n->status.latest.config.count > 0;
    if (n->joining && holds) {
        net_join_end(n->net);
        n->joining = false;
    }
    if (holds || n->join_count == 0 || net_joined(n->net)) return;
    n->joining = true;
    for (size_t i = 0; i < n->join_count; i++)
        net_join(n->net, n->join[i].text);
}

/* The node was given its id: everybody hears of it by a new hello. */
static void contacts_named(struct node *n)
{
    for (size_t i = 0; i < n->address_count; i++) {
        if (n->addresses[i].id == n->options.id) n->addresses[i].id = n->status.self;
    }
    n->options.id = n->options.raft.self = n->status.self;
    net_reset(n->net);
}

/* Whoever is not wanted any more is kept for a moment: the change that removed it may have come
 * from there, and a connection that is closed at once takes the answer along. */
void contacts_refresh(struct node *n)
{
    struct contact wanted[KELP_MEMBERS_MAX];
    if (n->status.self != n->options.id) contacts_named(n);
    size_t count = contacts_wanted(n, wanted);
    contacts_join(n);
    kelp_ns now = node_now(n);
    n->contacts_at = KELP_NEVER;
    for (size_t i = 0; i < n->contact_count; i++) {
        struct contact old = n->contacts[i];
        if (contact_among(wanted, count, old.id)) continue;
        if (old.until == 0) old.until = now + GONE_NS;
        if (now >= old.until || count == KELP_MEMBERS_MAX) {
            net_forget(n->net, old.id);
            continue;
        }
        wanted[count++] = old;
        n->contacts_at = min_u64(n->contacts_at, old.until);
    }
    memcpy(n->contacts, wanted, count * sizeof *wanted);
    n->contact_count = count;
    for (size_t i = 0; i < count; i++) { /* the same address: nothing happens */
        if (wanted[i].until != 0) continue;
        net_dial(n->net, wanted[i].id, wanted[i].address.text);
        net_dial_also(n->net, wanted[i].id, wanted[i].other.text);
    }
}

/* ---- the table of addresses ------------------------------------------------------------------ */

static struct wire_member_addresses *row_find(struct node *n, kelp_id id)
{
    for (size_t i = 0; i < n->address_count; i++) {
        if (n->addresses[i].id == id) return &n->addresses[i];
    }
    return NULL;
}

const struct wire_member_addresses *node_addresses(const struct node *n, kelp_id id)
{
    for (size_t i = 0; i < n->address_count; i++) {
        if (n->addresses[i].id == id) return &n->addresses[i];
    }
    return NULL;
}

/* Is it worth a row? Only members are, and who was listed before there were any. */
static bool row_welcome(const struct node *n, kelp_id id)
{
    const struct kelp_config *c = &n->status.latest.config;
    if (id >= KELP_ID_WAITING) return id == n->options.id;
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id == id) return true;
    }
    for (size_t i = 0; c->count == 0 && i < n->bootstrap_count; i++) {
        if (n->bootstrap[i].id == id) return true;
    }
    /* an id above all that are known may be of a leader whose configuration is not here yet */
    return id == n->options.id || id > c->id_highest;
}

/* A place for a new row; one of a node that is no member any more is given up for it. */
static struct wire_member_addresses *row_make(struct node *n)
{
    if (n->address_count < KELP_MEMBERS_MAX) return &n->addresses[n->address_count++];
    for (size_t i = 0; i < n->address_count; i++) {
        if (!row_welcome(n, n->addresses[i].id)) return &n->addresses[i];
    }
    return NULL;
}

static void row_take(struct node *n, const struct wire_member_addresses *row)
{
    struct wire_member_addresses *held = row_find(n, row->id);
    if (held != NULL && held->version >= row->version) return;
    if (!row_welcome(n, row->id)) return;
    if (held == NULL) held = row_make(n);
    if (held == NULL) return;
    if (strcmp(held->peer.text, row->peer.text) != 0) n->look_due = true; /* dialled there, too */
    *held = *row;
    n->addresses_due = true;
}

/* By the node itself, in its hello: it has no version. */
static void row_said(struct node *n, struct wire_member_addresses *held,
                     const struct wire_member_addresses *said)
{
    bool fresh = held->id != said->id || held->version == 0; /* until its own row comes */
    bool moved = strcmp(held->peer.text, said->peer.text) != 0;
    bool serves_elsewhere = strcmp(held->client.text, said->client.text) != 0 ||
                            strcmp(held->http.text, said->http.text) != 0;
    uint64_t version = fresh ? 0 : held->version + (moved || serves_elsewhere);
    *held = *said;
    held->version = version;
    if (moved) n->look_due = true;
    if (serves_elsewhere) n->addresses_due = true;
}

static void rows_send(struct node *n, kelp_id to, const struct wire_member_addresses *rows,
                      size_t count)
{
    uint8_t body[WIRE_ADDRESSES_MAX], head[WIRE_FRAME_HEAD];
    for (size_t at = 0; at < count; at += ROWS_A_FRAME) {
        size_t some = (size_t)min_u64(count - at, ROWS_A_FRAME);
        struct kelp_bytes parts[2] = {bytes_of(head, sizeof head),
                                      bytes_of(body, wire_addresses_encode(rows + at, some, body))};
        wire_frame_head(head, WIRE_ADDRESSES, 0, parts + 1, 1);
        /* Lost with its connection, it comes again with the next one. */
        (void)net_peers_ops.send(n->net, 0, to, KELP_LANE_CONTROL, 0, parts, 2);
        net_peers_ops.flush(n->net);
    }
}

void contacts_pass_on(struct node *n)
{
    n->addresses_due = false;
    for (size_t i = 0; i < n->contact_count; i++)
        rows_send(n, n->contacts[i].id, n->addresses, n->address_count);
}

static enum kelp_error addresses_arrived(struct node *n, const struct wire_frame *frame,
                                         struct kelp_fault *fault)
{
    struct wire_member_addresses rows[KELP_MEMBERS_MAX];
    size_t count;
    enum kelp_error error =
        wire_addresses_decode(frame->body, rows, KELP_MEMBERS_MAX, &count, fault);
    for (size_t i = 0; error == KELP_OK && i < count; i++) {
        if (rows[i].id != n->options.id) row_take(n, &rows[i]);
    }
    return error;
}

/* ---- what the transport asks and tells ------------------------------------------------------- */

static void own_hello(void *ctx, struct wire_hello *out)
{
    struct node *n = ctx;
    driver_hello(n->driver, out);
    out->peer = n->peer;
    out->client = n->client;
    out->http = n->http;
}

/* Whoever dials knows which member it dials. Where it is of another cluster this directory was
 * probably emptied and founded a second one beside the first, which cannot be known alone. Anybody
 * who reaches this port can say such a thing, and nothing proves it: so it is said to people, and
 * nothing is refused for it. */
static void claim_note(struct node *n, const struct wire_judge *judge, const struct wire_hello *h)
{
    struct claim *c = &n->claim;
    bool known = !wire_cluster_zero(h->cluster) && !wire_cluster_zero(judge->cluster);
    if (!known || wire_cluster_equal(h->cluster, judge->cluster) || h->answer || h->to == 0) return;
    kelp_ns now = max_u64(1, node_now(n));
    *c = (struct claim){
        .cluster = h->cluster, .by = h->node, .as = h->to, .at = now, .said = c->said};
    if (c->said != 0 && now < c->said + CLAIM_QUIET_NS) return;
    c->said = now;
    char words[256];
    if (contacts_claim(n, words, sizeof words)) node_log(n, KELP_ERROR, "%s", words);
}

bool contacts_claim(struct node *n, char *out, size_t size)
{
    const struct claim *c = &n->claim;
    unsigned long long by = c->by, as = c->as;
    if (c->at == 0 || node_now(n) >= c->at + CLAIM_NS) return false;
    (void)snprintf(out, size,
                   "this address is node %llu of cluster %016" PRIx64 "%016" PRIx64
                   ", says its node %llu, but this node is of another: if it was emptied, stop it, "
                   "empty it again, start it with --id auto --join, then kelp members replace %llu "
                   "auto there",
                   as, c->cluster.hi, c->cluster.lo, by, as);
    return true;
}

static enum wire_refusal own_judge(void *ctx, const struct wire_hello *theirs, kelp_id expected,
                                   struct wire_refuse *out)
{
    struct node *n = ctx;
    struct wire_judge judge;
    driver_judge(n->driver, &judge);
    judge.expected = expected;
    enum wire_refusal refusal = wire_hello_judge(&judge, theirs, out);
    if (refusal != 0) claim_note(n, &judge, theirs);
    return refusal;
}

static void own_refused(void *ctx, kelp_id peer, const struct wire_refuse *refuse)
{
    struct node *n = ctx;
    if (n->phase < NODE_CLOSES) driver_refused(n->driver, peer, refuse);
}

static void own_up(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection, bool dialled,
                   const struct wire_hello *hello)
{
    struct node *n = ctx;
    if (n->phase >= NODE_CLOSES) return;
    struct wire_member_addresses row = {
        .id = peer, .peer = hello->peer, .client = hello->client, .http = hello->http};
    struct wire_member_addresses *held = row_find(n, peer);
    if (held == NULL && row_welcome(n, peer)) held = row_make(n);
    if (held != NULL) row_said(n, held, &row);
    driver_connected(n->driver, node_now(n), peer, lane, connection, hello);
    if (lane != KELP_LANE_CONTROL || !dialled) return;
    const struct wire_member_addresses *own = node_addresses(n, n->options.id);
    ASSERT(own != NULL);
    if (n->leader == n->options.id)
        rows_send(n, peer, n->addresses, n->address_count);
    else
        rows_send(n, peer, own, 1);
}

static void own_down(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection,
                     bool dialled)
{
    struct node *n = ctx;
    (void)dialled;
    if (n->phase >= NODE_CLOSES) return;
    if (n->joining) n->look_due = true; /* perhaps nobody is left */
    driver_disconnected(n->driver, node_now(n), peer, lane, connection);
}

static enum kelp_error own_frame(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection,
                                 const struct wire_frame *frame, struct kelp_fault *fault)
{
    struct node *n = ctx;
    if (n->phase >= NODE_CLOSES) return KELP_OK;
    if (frame->kind == WIRE_ADDRESSES) return addresses_arrived(n, frame, fault);
    return driver_frame(n->driver, node_now(n), peer, lane, connection, frame, fault);
}

static void own_note(void *ctx, enum kelp_level level, const char *line)
{
    node_log(ctx, level, "%s", line);
}

struct net_owner contacts_owner(struct node *n)
{
    return (struct net_owner){
        .ctx = n,
        .hello = own_hello,
        .judge = own_judge,
        .refused = own_refused,
        .up = own_up,
        .down = own_down,
        .frame = own_frame,
        .note = own_note,
        .random = node_random,
    };
}
