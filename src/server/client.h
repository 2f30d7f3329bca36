/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - connections of Redis clients: bytes in, requests to the driver, answers out in order.
 *
 * What was asked is answered in the order of asking. Requests that go to the driver come back in
 * that order; what the server answers itself while some are open is held behind the newest of them:
 *
 *     open    [SET] [GET] [SET] ...         each knows how many held bytes follow its own answer
 *     held    PONG.......  OK.......
 *
 * A connection with too much open, held or unsent is not read until that is less (paused), and the
 * driver is told how much is unsent and makes no more answers until that is less (driver.h), so
 * memory is bounded and nobody is refused for being fast. Whoever takes nothing for
 * client-stall-ms is disconnected. How connections end when the server does is farewell.c's. */
#ifndef SERVER_CLIENT_H
#define SERVER_CLIENT_H

#include <sys/queue.h>
#include <uv.h>

#include "driver/driver.h"
#include "kv/codec.h"
#include "proto/resp.h"

#define CLIENT_ADDRESS_MAX 64u

struct server;
struct server_command;

struct open_request {
    uint64_t bytes;
    uint32_t after; /* bytes of held answers that follow this one's */
    uint16_t slot;
    bool change;                   /* of the membership: done with a status line */
    bool plan;                     /* of a change: done with a plan */
    bool transfer;                 /* its answer is made here, not by the machine */
    bool found;                    /* likewise */
    bool copy;                     /* a piece of a snapshot, behind the size of its file */
    enum driver_once_kind session; /* likewise, one that begins or ends; NOT: neither */
};

/* A command that looks at the node, copied: it runs when every earlier request of its connection is
 * answered. */
struct parked {
    const struct server_command *command;
    size_t argc;
    struct kelp_bytes argv[]; /* into bytes behind the array */
};

struct client {
    TAILQ_ENTRY(client) link, dirty_link, paused_link;
    struct server *server;
    struct driver_line *line;
    uint64_t id;
    char *name; /* CLIENT SETNAME; NULL: none */
    const char *last_command;
    char remote[CLIENT_ADDRESS_MAX], local[CLIENT_ADDRESS_MAX];
    uint64_t since_ms, active_ms; /* of the loop's clock */
    struct kelp_read_how read;    /* of reads from now on */
    struct driver_once once;      /* of the one write that is looked at */
    kelp_index seen;              /* no answer showed anything above it */

    struct resp_parser parser;
    struct buf in;             /* bytes not parsed yet */
    size_t in_counted;         /* of its room, in kept_bytes */
    struct buf held;           /* answers that wait for the driver's .. */
    size_t held_sent;          /* .. of which so many went to out */
    struct buf out;            /* answers not given to the socket yet */
    struct buf sending;        /* what an unfinished write borrows */
    struct open_request *open; /* a ring */
    uint32_t open_room, open_head, open_count;
    uint64_t open_bytes, token_last;
    uint64_t
        window; /* requests it may have open: grows with small answers, shrinks with large ones */
    struct parked *parked;
    uint64_t handed;      /* answer bytes given to the socket, in all .. */
    uint64_t taken;       /* .. and what the kernel had taken of them .. */
    uint64_t progress_ms; /* .. when that last grew, or there was nothing to take */

    uint64_t refused_ms;   /* when it was first refused because the server ends, 0: not yet */
    uint64_t heard;        /* bytes read, in all .. */
    uint64_t heard_before; /* .. and at the last look at who is dismissed */
    uint64_t wasted;       /* bytes thrown away since it is parting */

    bool reading, paused, dirty;
    bool quitting; /* close when everything is answered and sent */
    bool parting;  /* everything is said and our side is shut: until it closes too */
    bool closing;
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shut;
};

TAILQ_HEAD(client_list, client);

/* SERVED --signal--> HELD --the node has stopped--> DISMISSED; farewell.c writes it */
enum clients_stage {
    CLIENTS_SERVED = 0,
    CLIENTS_HELD,      /* nobody is accepted or read: what was read is answered */
    CLIENTS_DISMISSED, /* what is read is refused */
};

struct clients {
    struct client_list all, dirty, paused;
    uv_tcp_t listener;
    struct kelp_bytes *argv; /* for one request while it is looked at */
    struct buf question;     /* an encoded read */
    uint64_t count, id_last;
    uint64_t open_count, open_bytes; /* requests in the driver */
    uint64_t kept_bytes;             /* room of all clients' unparsed bytes */
    kelp_ns now;                     /* of the bytes being looked at */
    bool submitted;                  /* the driver is to be poked */
    bool opened;
    enum clients_stage stage;
    uint64_t dismissed_ms;          /* when, by the loop's clock */
    void (*gone)(struct server *s); /* called when the last one is */
    uint64_t accepted, rejected, closed_slow, protocol_errors, commands, bytes_in, bytes_out;
    uint64_t commands_before, commands_a_second;
    uint8_t scratch[64 * 1024]; /* what is read when nothing is kept from before */
};

/* clients_open - listen. false: error says why. */
bool clients_open(struct server *s, char *error, size_t size);

void clients_hold(struct server *s); /* stop accepting and reading */
/* clients_dismiss - after the node has stopped: refuse what was not looked at, and end every
 * connection so that no answer is lost with it. gone is called, at once if nobody is there, and in
 * a second at the latest. Uses s->patience. */
void clients_dismiss(struct server *s, void (*gone)(struct server *s));
void clients_left(struct server *s);   /* a connection is closed: was it the last? */
void clients_flush(struct server *s);  /* write out what was answered in this wake-up */
void clients_resume(struct server *s); /* go on with paused connections */
void clients_watch(struct server *s);  /* once a second: who takes no answers is disconnected */
void clients_close(struct server *s);  /* close every connection and the listener, at once */
void clients_free(struct server *s);   /* after the loop has ended */

/* client_open_last - the newest request in the ring; client_open_pop - the oldest leaves. */
struct open_request *client_open_last(struct client *c);
struct open_request client_open_pop(struct client *c);

/* client_submit - hand a command of the machine to the driver, a write by c->once. Refusals go to
 * reply at once. */
void client_submit(struct client *c, const struct kv_command *command,
                   const struct kelp_bytes *argv, size_t argc, struct buf *reply);

/* client_change - the same with a change of the membership, or with the question what it would
 * do. */
enum change_wish { CHANGE_MAKE, CHANGE_PLAN };
void client_change(struct client *c, const struct wire_change *change, enum change_wish wish,
                   struct buf *reply);
/* client_transfer - ask the driver to hand leadership over, to 0: the best voter. Refusals go to
 * reply at once. */
void client_transfer(struct client *c, kelp_id target, struct buf *reply);
/* client_drain - the same about this node alone; see driver_drain. */
void client_drain(struct client *c, enum driver_drain_wish wish, struct buf *reply);
/* client_copy - read a piece of this node's snapshot at pos. */
void client_copy(struct client *c, struct kelp_pos pos, uint64_t offset, struct buf *reply);
/* client_session - have one begin or end. */
void client_session(struct client *c, const struct driver_once *once, struct buf *reply);
/* client_found - have this node found a cluster of itself alone; answered when it holds one. */
void client_found(struct client *c, bool if_empty, struct buf *reply);

/* What client.c does for farewell.c. client_reading - begin or stop to read, as it stands with it.
 * client_go_on - the same, after a look at what was read before. client_dirty - there is something
 * to be written. */
void client_end(struct client *c);
void client_reading(struct client *c);
void client_go_on(struct client *c);
void client_dirty(struct client *c);
/* And farewell.c for client.c. client_heard - are its requests looked at? client_refuse - one of
 * them. client_wasted - is it parting? Then what was read, or the end, is of no matter. */
bool client_heard(const struct client *c);
void client_refuse(struct client *c, struct buf *reply);
bool client_wasted(struct client *c, ssize_t count);

/* client_is_browser - what came is HTTP: a web page may make a browser send it here, with commands
 * of the page's choice in the body. Closes, without an answer, before the body is looked at. */
void client_is_browser(struct client *c);

/* client_park - keep a command until nothing of this client is open. false: no memory. */
bool client_park(struct client *c, const struct server_command *command,
                 const struct kelp_bytes *argv, size_t argc);

#endif
