/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - `kelp server`: one node, its Redis clients and its HTTP clients on one loop.
 *
 * A wake-up of the loop: sockets are read and requests submitted; the node's driver runs; answers
 * are flushed, one write a connection. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "kv/kv.h"
#include "node/node.h"
#include "server/client.h"
#include "server/config.h"
#include "server/options.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_REFUSED = 3,
    EXIT_FAULTED = 4
};

enum server_stage { SERVER_STARTING, SERVER_RUNNING, SERVER_STOPPING };

struct http;

struct server {
    struct settings settings; /* in force */
    struct options options;   /* what a reload reads again */
    enum server_stage stage;
    int exit_status;
    uv_loop_t loop;
    uv_prepare_t flush;     /* before the loop sleeps: answers go out */
    uv_check_t flush_early; /* and before it saves */
    uv_idle_t wake;         /* active while something is due: the loop does not sleep then */
    bool go_on;             /* paused connections or HTTP may go on */
    uv_timer_t tick, patience;
    uv_signal_t terminate, interrupt, report, hangup;
    bool handles;  /* the eight above are open */
    struct kv *kv; /* owned by the node */
    struct node *node;
    struct clients clients;
    struct http *http;
    uint64_t started_ms, tick_count;
    bool faulted; /* and said so */
    bool freeing; /* the machine has flushed keys to free */
};

/* server_main - the verb `server`; argv[0] is the verb. Returns the exit status. */
int server_main(int argc, char **argv);

/* server_wake - something may go on: run paused connections and HTTP before the loop sleeps
 * again. */
void server_wake(struct server *s);

/* server_node_options - what the settings ask of the node; its texts are the settings'. */
struct kelp_node_options server_node_options(const struct settings *t);

/* server_flush_soon - there are answers to write before the loop sleeps. */
void server_flush_soon(struct server *s);

/* server_client_address, server_http_address - what a member advertises; NULL: not known. */
const char *server_client_address(const struct server *s, kelp_id id);
const char *server_http_address(const struct server *s, kelp_id id);

/* server_listen_address - resolve HOST:PORT for listening, waiting for it. 0 or a libuv error. */
int server_listen_address(uv_loop_t *loop, const char *text, struct sockaddr_storage *out);
/* server_address_text - as HOST:PORT, the host of version 6 in brackets. */
void server_address_text(const struct sockaddr_storage *from, char *out, size_t size);

#endif
