/* SPDX-License-Identifier: Apache-2.0 */
/* status.h - what nodes say about themselves, asked over RESP and shown in one table. */
#ifndef CLI_STATUS_H
#define CLI_STATUS_H

#include "cli/room.h"

#define STATUS_NODES_MAX  32u
#define STATUS_TIMEOUT_MS 1000u

struct status_node {
    char client[CLI_ADDRESS_MAX];
    char error[1000]; /* why it does not answer; empty: fields is set */
    json_t *fields;   /* RAFT STATUS, name to text */
    uint64_t id;      /* as others know who is at that address; 0: not known */
};

/* status_ask - ask one node; false: node->error. The fields are owned until status_forget. */
bool status_ask(const char *address, unsigned timeout_ms, struct status_node *node);
void status_forget(struct status_node *node);

/* status_parse - the lines of RAFT STATUS as an object of texts; lines of peers are collected in a
 * list "peers" of such objects. The caller owns it; NULL: no memory. */
json_t *status_parse(struct kelp_bytes lines);

const char *status_text(const struct status_node *node,
                        const char *name); /* "" if it is not there */
uint64_t status_number(const struct status_node *node, const char *name); /* 0 the same */

/* status_id_json - a node's id: a number where it is exact, else text. */
json_t *status_id_json(uint64_t id);

/* status_print - a table of nodes, with a line about the whole above it. */
void status_print(FILE *out, const struct status_node *nodes, size_t count);

/* status_json - the same as an object: the first node that answers, and all in its list "nodes".
 * The caller owns it. */
json_t *status_json(const struct status_node *nodes, size_t count);

#endif
