/* SPDX-License-Identifier: Apache-2.0 */
/* room.h - what the files of net share: its state, and which file does what.
 *
 *   net.c        life, listening, the peers port, counters
 *   dial.c       whom we keep connections to: resolving, back-off, one connection a lane
 *   connection.c one connection: sockets, hello and judgement, frames in
 *   output.c     frames out: gathered, and what the socket did not take
 *   address.c    "host:port" apart, and complaints about addresses, rate-limited
 *
 * A send or a flush comes from inside the driver, which must not be called back then: a connection
 * that fails there is only marked broken, and closed when its timer fires on the loop.
 * Invariant: net->handles counts every handle and lookup whose callback is still to come. */
#ifndef NET_ROOM_H
#define NET_ROOM_H

#include <sys/queue.h>

#include "base/buf.h"
#include "net/net.h"

#define NET_HOST_MAX 120u /* a host name, final NUL included */
#define NET_PORT_MAX 6u
#define NET_TEXT_MAX 64u /* a numeric address with port */

#define HELLO_TIMEOUT_MS 5000u
#define MILLISECOND      UINT64_C(1000000)

struct net_lane;

/* CONNECTING --TCP is up--> GREETING --hello, judged--> OPEN
 *      `--------- any: error, end, timeout, refusal ------+--> CLOSED --handles gone--> freed
 * An accepted connection begins in GREETING. */
enum connection_state {
    CONNECTION_CONNECTING = 0,
    CONNECTION_GREETING,
    CONNECTION_OPEN,
    CONNECTION_CLOSED,
};

struct connection {
    TAILQ_ENTRY(connection) link, dirty_link;
    struct net *net;
    uv_tcp_t tcp;
    uv_timer_t timer; /* the deadline of the hello; at once when broken */
    uv_connect_t connecting;
    uv_write_t writing;
    struct net_lane *dial; /* NULL: accepted, or its peer was forgotten */
    enum connection_state state;
    enum kelp_lane lane;
    kelp_id peer;    /* 0: not known yet */
    uint64_t number; /* the dialler's name for it, 0: not known yet */
    bool dialled, broken, dirty, in_flight;
    unsigned handles;          /* of this connection, still to be closed */
    char host[NET_TEXT_MAX];   /* the other end, numeric: who is complained about */
    char remote[NET_TEXT_MAX]; /* the same with its port */

    uint8_t *in; /* received, not yet a whole frame */
    size_t in_len, in_room;
    size_t in_wanted; /* bytes of the frame that has begun, once its head is verified; else 0 */

    struct kelp_bytes *parts; /* borrowed until flush */
    size_t part_count, part_room;
    uint64_t part_bytes;
    struct buf queue;  /* copied: the socket was full */
    struct buf flight; /* being written by libuv */
};

TAILQ_HEAD(connection_list, connection);

/* One lane to one peer: at most one connection, or the next attempt at one. */
struct net_lane {
    struct net_peer *peer;
    enum kelp_lane lane;
    uv_timer_t timer;
    uv_getaddrinfo_t resolve;
    bool resolving, stale; /* stale: the address changed during the lookup */
    struct connection *connection;
    kelp_ns back_off;
    unsigned attempt; /* which of a name's addresses */
};

struct net_peer {
    TAILQ_ENTRY(net_peer) link;
    struct net *net;
    kelp_id id;
    char address[WIRE_ADDRESS_MAX], other[WIRE_ADDRESS_MAX]; /* other: to try in turns; "": none */
    struct net_lane lanes[KELP_LANES];
    unsigned handles; /* timers and lookups whose callback is still to come */
    bool forgotten;
    bool join; /* by its address: id is 0 until its hello named it, and again once it is gone */
    bool said; /* that it cannot be reached; silent until it was */
};

TAILQ_HEAD(net_peer_list, net_peer);

#define COMPLAINTS_MAX 64u

struct complaint {
    char host[NET_TEXT_MAX];
    uint64_t at; /* uv_hrtime of the last line, 0: free */
    uint64_t held_back;
};

struct net {
    struct net_options options;
    struct net_owner owner;
    struct sockaddr_storage source; /* ss_family 0: none */
    uv_tcp_t listener;
    uv_timer_t accept_timer; /* while accepted_max is reached */
    bool accept_held;
    uint32_t accepted;
    struct connection_list connections, dirty;
    struct net_peer_list peers;
    struct net_stats stats;
    struct complaint complaints[COMPLAINTS_MAX];
    size_t handles;
    bool closing;
    void (*done)(void *ctx);
    void *done_ctx;
};

/* net.c */
void net_note(struct net *n, enum kelp_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void net_handle_closed(struct net *n); /* one callback less to come; may free n */
void net_accept_again(struct net *n);  /* a place is free */

/* dial.c */
struct net_peer *net_peer_find(const struct net *n, kelp_id id);
void dial_after(struct net_lane *lane, kelp_ns delay);
void dial_failed(struct net_lane *lane, const char *words); /* say so once, try later */
void dial_opened(struct net_lane *lane);
bool dial_known(struct net_lane *lane, kelp_id id); /* false: there is another one to it */
void net_peers_close(struct net *n);

/* connection.c */
int connection_dial(struct net_lane *lane, const struct sockaddr *to); /* or a libuv error */
bool connection_accept(struct net *n); /* false: no memory, it still waits */
void connection_close(struct connection *c);
void connection_fail(struct connection *c, const char *words); /* close; not open yet: dial later */
struct connection *connection_find(const struct net *n, kelp_id peer, enum kelp_lane lane,
                                   uint64_t number);

/* output.c */
enum kelp_error output_queue(struct connection *c, const struct kelp_bytes *parts, size_t count);
void output_flush(struct connection *c);
void output_frame(struct connection *c, enum wire_kind kind, struct kelp_bytes body); /* at once */
uint64_t output_bytes(const struct connection *c);
void output_close(struct connection *c);

/* address.c */
bool address_split(const char *text, char host[NET_HOST_MAX], char port[NET_PORT_MAX]);
bool address_numeric(const char *host, const char *port, struct sockaddr_storage *out);
bool address_wildcard(const struct sockaddr_storage *address);
void address_text(const struct sockaddr *address, char host[NET_TEXT_MAX], char both[NET_TEXT_MAX]);
void complain(struct net *n, const char *host, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
