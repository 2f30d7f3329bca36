/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - a blocking Redis client that knows a cluster: it tries the addresses it was given in
 * turn and follows the leader.
 *
 * A request that was written and not answered has an unknown outcome, so it is never sent again
 * here, unless it carries a key under which it is executed once. What is tried again otherwise was
 * never written, or was answered with a refusal that says that this node cannot serve: "moved", and
 * of several addresses those of client_ask. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "cli/room.h"

#define CLIENT_ERROR_MAX 1000u
#define CLIENT_TIMEOUT_MS                                                                          \
    8000u /* above the server's own deadline, so that its answer comes first */

struct client {
    int fd; /* -1: not connected */
    unsigned timeout_ms;
    bool harmless;  /* nothing that is asked changes anything, so no answer leaves nothing open */
    bool once;      /* what is asked is executed once however often it is sent: RAFT ONCE */
    bool written;   /* the last request was, in part at least */
    bool uncertain; /* an attempt of client_ask was, and nobody knows what became of it */
    redisReader *reader;
    char at[CLI_ADDRESS_MAX];     /* the node it is connected to */
    char error[CLIENT_ERROR_MAX]; /* why the last call failed, one clause */
};

/* client_flag - `--at`, for a verb's table of flags; list is set to the flag's value or the
 * default: KELP_AT, else 127.0.0.1:7001. */
struct flag client_flag(const char **list);

/* client_check - is the list of addresses one? false: *status is what to exit with, and it was said
 * why. */
bool client_check(const struct verb *verb, const char *list, int *status);

void client_init(struct client *c, unsigned timeout_ms);
void client_close(struct client *c);

bool client_connect(struct client *c, const char *address);  /* to one HOST:PORT */
bool client_connect_any(struct client *c, const char *list); /* to the first that answers */

/* client_call - one request, one answer; the caller frees it. NULL: no answer, c->error says why,
 * and the connection is closed. An error reply is an answer. */
redisReply *client_call(struct client *c, size_t count, const struct kelp_bytes *words);

/* client_send, client_receive - the two halves of client_call, for several requests at once
 * (client_encode): as many answers come as were sent, in their order. false, NULL: as there. */
bool client_send(struct client *c, struct kelp_bytes requests);
redisReply *client_receive(struct client *c);

/* client_follow - the same, going where -MOVED points. */
redisReply *client_follow(struct client *c, size_t count, const struct kelp_bytes *words);

/* client_ask - client_follow of a list's addresses in turn: the next one if none is reached, or if
 * the node refuses because of what it is: removed, waiting to be founded, without a leader,
 * faulted, loading, stopping. NULL: no answer, c->error says why, of all that were skipped if all
 * were. The refusal of a single address is an answer. A command that is executed once is sent to
 * the next one, up to three times around, for as long as an attempt's outcome is unknown. */
redisReply *client_ask(struct client *c, const char *list, size_t count,
                       const struct kelp_bytes *words);

/* client_next - take the next address off a list; false: there is none. */
bool client_next(const char **list, char address[CLI_ADDRESS_MAX]);

/* client_failure - what to exit with for an error that a node answered: wrong usage, if it is the
 * request that makes no sense, whoever is asked and whatever is stored there. */
enum cli_status client_failure(const char *error);

/* client_line - client_call with words separated by blanks. */
redisReply *client_line(struct client *c, const char *line);

/* client_encode - append a request in RESP. */
void client_encode(struct buf *out, size_t count, const struct kelp_bytes *words);

/* client_dial - begin a connection without waiting for it; returns the socket or -1 with errno. The
 * host must be numeric. */
int client_dial(const char *address);

#endif
