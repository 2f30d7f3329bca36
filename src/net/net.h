/* SPDX-License-Identifier: Apache-2.0 */
/* net.h - frames between nodes over TCP on a libuv loop. Moves bytes and decides nothing.
 *
 * Each node dials every peer once per lane and sends on the connections it dialled; what the other
 * side sends back on
 * them (answers to forwards) is received too. The first frame each way is a hello; the owner judges
 * it. Until then a
 * connection accepts no frame above 1 KiB. A connection's number is chosen by the dialler and known
 * to both sides.
 * All on the loop's thread. */
#ifndef NET_NET_H
#define NET_NET_H

#include <uv.h>

#include "kelp/event.h"
#include "kelp/transport.h"
#include "wire/frame.h"
#include "wire/handshake.h"

struct net;

struct net_owner {
    void *ctx;
    /* what we say on a new connection: everything but lane, connection, to, answer, which net fills
     * */
    void (*hello)(void *ctx, struct wire_hello *out);
    /* may this connection be used? 0, or the refusal, in out */
    enum wire_refusal (*judge)(void *ctx, const struct wire_hello *theirs, kelp_id expected,
                               struct wire_refuse *out);
    void (*refused)(void *ctx, kelp_id peer, const struct wire_refuse *refuse);
    void (*up)(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection, bool dialled,
               const struct wire_hello *hello);
    void (*down)(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection, bool dialled);
    /* any error closes the connection; net says so once, rate-limited, with the fault's words */
    enum kelp_error (*frame)(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection,
                             const struct wire_frame *frame, struct kelp_fault *fault);
    void (*note)(void *ctx, enum kelp_level level, const char *line);
    uint64_t (*random)(void *ctx);
};

struct net_options {
    uv_loop_t *loop;
    const char *listen; /* HOST:PORT */
    /* own host for outgoing connections when numeric and not a wildcard; may be NULL */
    const char *source;
    kelp_ns dial_min, dial_max; /* back-off between dials: 50 ms doubling to 1 s, with jitter */
    kelp_ns user_timeout;       /* TCP_USER_TIMEOUT and keepalive: two election timeouts */
    /* queued per connection; more is refused: 1 MiB, 32 MiB, 32 MiB */
    uint64_t lane_bytes_max[KELP_LANES];
    uint32_t accepted_max; /* connections accepted at once: 256 */
};

/* net_open - listen. Errors name the address. */
enum kelp_error net_open(const struct net_options *options, const struct net_owner *owner,
                         struct net **out, struct kelp_fault *fault);

/* net_close - close every handle; the loop must run until done is called. */
void net_close(struct net *n, void (*done)(void *ctx), void *ctx);

/* net_dial - keep a connection per lane to this peer at this address (name or number); replaces an
 * older address.
 * net_forget - stop. */
void net_dial(struct net *n, kelp_id peer, const char *address);
void net_forget(struct net *n, kelp_id peer);
/* net_dial_also - where else to try while it cannot be reached there; "": nowhere. */
void net_dial_also(struct net *n, kelp_id peer, const char *address);

/* net_join - keep a connection to whoever is at this address; who it is, its hello says. One that
 * is dialled already is not dialled twice.
 * net_joined - somebody dialled so is connected. net_join_end - none of them is dialled any more.
 */
void net_join(struct net *n, const char *address);
bool net_joined(const struct net *n);
void net_join_end(struct net *n);

/* net_reset - this node says something else about itself from now on: every connection begins
 * anew. */
void net_reset(struct net *n);

extern const struct kelp_peers_ops net_peers_ops; /* peers = struct net * */

struct net_stats {
    uint64_t bytes_in, bytes_out, frames_in, frames_out, dropped_full, dropped_closed,
        refused_hellos, bad_frames, dials, accepts;
    uint64_t queued[KELP_LANES];
};
void net_stats(const struct net *n, struct net_stats *out);
uint64_t net_queued(const struct net *n, kelp_id peer, enum kelp_lane lane); /* bytes */
bool net_connected(const struct net *n, kelp_id peer, enum kelp_lane lane);

#endif
