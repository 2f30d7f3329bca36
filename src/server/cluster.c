/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.c - ROLE, CLUSTER and RAFT: the cluster as Redis clients and people ask for it.
 *
 * To a cluster client Kelp is one shard with all slots, whose master is the leader. */
#include "server/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/decimal.h"
#include "proto/resp_reply.h"
#include "server/commands.h"
#include "server/endpoint.h"
#include "server/server.h"
#include "server/slot.h"
#include "server/text.h"

#define STATUS_BYTES (64u * 1024)
#define NODES_BYTES  (64u * 1024)

void cluster_id_text(struct kelp_cluster_id cluster, kelp_id node, char out[CLUSTER_ID_TEXT])
{
    (void)snprintf(out, CLUSTER_ID_TEXT, "%016" PRIx64 "%08" PRIx64 "%016" PRIx64, cluster.hi,
                   cluster.lo >> 32, node);
}

/* A member, with all that the replies need. */
struct row {
    kelp_id id;
    char name[CLUSTER_ID_TEXT];
    struct endpoint client, peer; /* host "" : not known */
    bool leads, self;
    kelp_index applied; /* 0: not known here */
};

struct table {
    size_t count;
    struct row rows[KELP_MEMBERS_MAX];
    kelp_id leader;
    kelp_term term;
    kelp_index applied;
};

static kelp_index applied_of(const struct driver_status *status, kelp_id id)
{
    if (id == status->view.self) return status->view.applied;
    for (uint32_t i = 0; i < status->view.peer_count; i++) {
        if (status->view.peers[i].id == id) return status->view.peers[i].applied;
    }
    return 0;
}

static void table_fill(const struct server *s, struct table *t)
{
    struct driver_status status;
    driver_status(node_driver(s->node), &status);
    *t = (struct table){0};
    if (status.state != DRIVER_RUNNING) return;
    t->leader = status.view.leader;
    t->term = status.view.term;
    t->applied = status.view.applied;
    const struct wire_config *config = &status.latest;
    for (size_t i = 0; i < config->config.count; i++) {
        struct row *row = &t->rows[t->count++];
        row->id = config->config.members[i].id;
        row->leads = row->id == t->leader;
        row->self = row->id == s->settings.id;
        row->applied = applied_of(&status, row->id);
        cluster_id_text(status.cluster, row->id, row->name);
        (void)endpoint_split(config->peer[i].text, &row->peer);
        (void)endpoint_split(server_client_address(s, row->id), &row->client);
    }
}

static const struct row *leader_of(const struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i].leads) return &t->rows[i];
    }
    return NULL;
}

/* ---- ROLE ------------------------------------------------------------------------------------ */

static void role_of_leader(struct buf *b, const struct table *t)
{
    char number[24];
    (void)resp_array(b, 3);
    (void)resp_bulk_text(b, "master");
    (void)resp_integer(b, (int64_t)t->applied);
    (void)resp_array(b, t->count - 1);
    for (size_t i = 0; i < t->count; i++) {
        const struct row *row = &t->rows[i];
        if (row->self) continue;
        (void)resp_array(b, 3);
        (void)resp_bulk_text(b, row->client.host);
        (void)snprintf(number, sizeof number, "%u", (unsigned)row->client.port);
        (void)resp_bulk_text(b, number);
        (void)snprintf(number, sizeof number, "%" PRIu64, row->applied);
        (void)resp_bulk_text(b, number);
    }
}

void run_role(const struct call *call)
{
    struct table t;
    table_fill(call->server, &t);
    const struct row *leader = leader_of(&t);
    if (leader != NULL && leader->self) {
        role_of_leader(call->reply, &t);
        return;
    }
    (void)resp_array(call->reply, 5);
    (void)resp_bulk_text(call->reply, "slave");
    (void)resp_bulk_text(call->reply, leader != NULL ? leader->client.host : "");
    (void)resp_integer(call->reply, leader != NULL ? leader->client.port : 0);
    (void)resp_bulk_text(call->reply, leader != NULL ? "connected" : "connect");
    (void)resp_integer(call->reply, (int64_t)t.applied);
}

/* ---- CLUSTER --------------------------------------------------------------------------------- */

static void slots_node(struct buf *b, const struct row *row)
{
    (void)resp_array(b, 4);
    (void)resp_bulk_text(b, row->client.host);
    (void)resp_integer(b, row->client.port);
    (void)resp_bulk_text(b, row->name);
    (void)resp_array(b, 0);
}

/* The leader first, then those who follow; nobody while nobody leads: the slots are not served
 * then. */
void run_cluster_slots(const struct call *call)
{
    struct table t;
    table_fill(call->server, &t);
    const struct row *leader = leader_of(&t);
    (void)resp_array(call->reply, leader != NULL ? 1 : 0);
    if (leader == NULL) return;
    size_t known = 0;
    for (size_t i = 0; i < t.count; i++)
        known += t.rows[i].client.port != 0 || t.rows[i].leads;
    (void)resp_array(call->reply, 2 + known);
    (void)resp_integer(call->reply, 0);
    (void)resp_integer(call->reply, SLOTS - 1);
    slots_node(call->reply, leader);
    for (size_t i = 0; i < t.count; i++) {
        if (!t.rows[i].leads && t.rows[i].client.port != 0) slots_node(call->reply, &t.rows[i]);
    }
}

static void shards_node(struct buf *b, const struct row *row)
{
    (void)resp_array(b, 14);
    (void)resp_bulk_text(b, "id");
    (void)resp_bulk_text(b, row->name);
    (void)resp_bulk_text(b, "port");
    (void)resp_integer(b, row->client.port);
    (void)resp_bulk_text(b, "ip");
    (void)resp_bulk_text(b, row->client.host);
    (void)resp_bulk_text(b, "endpoint");
    (void)resp_bulk_text(b, row->client.host);
    (void)resp_bulk_text(b, "role");
    (void)resp_bulk_text(b, row->leads ? "master" : "replica");
    (void)resp_bulk_text(b, "replication-offset");
    (void)resp_integer(b, (int64_t)row->applied);
    (void)resp_bulk_text(b, "health");
    (void)resp_bulk_text(b, row->client.port != 0 ? "online" : "fail");
}

void run_cluster_shards(const struct call *call)
{
    struct table t;
    table_fill(call->server, &t);
    (void)resp_array(call->reply, 1);
    (void)resp_array(call->reply, 4);
    (void)resp_bulk_text(call->reply, "slots");
    (void)resp_array(call->reply, 2);
    (void)resp_integer(call->reply, 0);
    (void)resp_integer(call->reply, SLOTS - 1);
    (void)resp_bulk_text(call->reply, "nodes");
    (void)resp_array(call->reply, t.count);
    for (size_t i = 0; i < t.count; i++)
        shards_node(call->reply, &t.rows[i]);
}

void run_cluster_nodes(const struct call *call)
{
    struct table t;
    struct buf text;
    table_fill(call->server, &t);
    buf_init(&text, NODES_BYTES);
    const struct row *leader = leader_of(&t);
    for (size_t i = 0; i < t.count; i++) {
        const struct row *row = &t.rows[i];
        text_add(&text, "%s %s:%u@%u %s%s %s 0 0 %" PRIu64 " %s%s\n", row->name, row->client.host,
                 (unsigned)row->client.port, (unsigned)row->peer.port, row->self ? "myself," : "",
                 row->leads ? "master" : "slave",
                 !row->leads && leader != NULL ? leader->name : "-", t.term.v,
                 row->client.port != 0 ? "connected" : "disconnected",
                 row->leads ? " 0-16383" : "");
    }
    (void)resp_bulk(call->reply, buf_bytes(&text));
    buf_close(&text);
}

void run_cluster_info(const struct call *call)
{
    struct table t;
    struct buf text;
    table_fill(call->server, &t);
    buf_init(&text, NODES_BYTES);
    unsigned served = t.leader != 0 ? SLOTS : 0;
    text_add(&text,
             "cluster_state:%s\r\ncluster_slots_assigned:%u\r\ncluster_slots_ok:%u\r\n"
             "cluster_slots_pfail:0\r\ncluster_slots_fail:%u\r\ncluster_known_nodes:%zu\r\n"
             "cluster_size:1\r\ncluster_current_epoch:%" PRIu64 "\r\ncluster_my_epoch:%" PRIu64
             "\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n"
             "total_cluster_links_buffer_limit_exceeded:0\r\n",
             t.leader != 0 ? "ok" : "fail", SLOTS, served, SLOTS - served, t.count, t.term.v,
             t.term.v);
    (void)resp_bulk(call->reply, buf_bytes(&text));
    buf_close(&text);
}

void run_cluster_myid(const struct call *call)
{
    struct driver_status status;
    char name[CLUSTER_ID_TEXT];
    driver_status(node_driver(call->server->node), &status);
    cluster_id_text(status.cluster, call->server->settings.id, name);
    (void)resp_bulk_text(call->reply, name);
}

void run_cluster_keyslot(const struct call *call)
{
    (void)resp_integer(call->reply, slot_of(call->argv[2]));
}

/* ---- RAFT ------------------------------------------------------------------------------------ */

void run_raft_status(const struct call *call)
{
    char *text = malloc(STATUS_BYTES);
    if (text == NULL) {
        (void)resp_error(call->reply, "ERR out of memory");
        return;
    }
    size_t len = node_status_lines(call->server->node, text, STATUS_BYTES);
    (void)resp_bulk(call->reply, bytes_of(text, len < STATUS_BYTES ? len : STATUS_BYTES - 1));
    free(text);
}

void run_raft_hash(const struct call *call)
{
    char text[48];
    const struct rsm *rsm = node_rsm(call->server->node);
    (void)snprintf(text, sizeof text, "%" PRIu64 " %016" PRIx64, rsm_applied(rsm).index,
                   rsm_state_hash(rsm));
    (void)resp_bulk_text(call->reply, text);
}

void run_raft_transfer(const struct call *call)
{
    int64_t target = 0;
    if (call->argc > 3) {
        (void)resp_error(call->reply, "ERR wrong number of arguments for 'raft|transfer' command");
        return;
    }
    if (call->argc == 3 && (!decimal_parse(call->argv[2], &target) || target <= 0)) {
        (void)resp_error(call->reply, "ERR BAD_REQUEST: the id of a node is a number above 0");
        return;
    }
    client_transfer(call->client, (kelp_id)target, call->reply);
}
