/* SPDX-License-Identifier: Apache-2.0 */
/* node.h - what the server sees of a node: the same node as kelp/node.h, on a loop of the caller's.
 *
 * The thread that owns the loop owns sockets, driver and state machine; another one is the log's
 * when a sync takes long (node/saver.c). The server opens a node on its own loop, adds its
 * listeners there, lets the node run the loop, and submits requests from its callbacks through
 * lines, without any lock. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <uv.h>

#include "base/hist.h"
#include "driver/driver.h"
#include "kelp/node.h"
#include "net/net.h"
#include "rsm/rsm.h"

struct node;

/* node_open - as kelp_node_open, on this loop; returns with everything recovered and listening,
 * replay begins with the
 * loop. The loop is the caller's. */
enum kelp_error node_open(uv_loop_t *loop, const struct kelp_node_options *options,
                          const struct kelp_fsm_ops *ops, void *fsm, struct node **out,
                          struct kelp_fault *fault);

/* node_loop_start - the loop and everything on it belong to the node's two threads from here on;
 * once in a node's life. On error they are the caller's as before.
 * node_loop_join - wait until nothing is left open on the loop; not from a callback. */
enum kelp_error node_loop_start(struct node *n, struct kelp_fault *fault);
void node_loop_join(struct node *n);

/* node_stop - begin to end: answer open requests, let the log finish, close handles; stopped is
 * called on the loop
 * when nothing of the node is left on it. Bounded: two seconds, unless the disk hangs. */
void node_stop(struct node *n, void (*stopped)(void *ctx), void *ctx);
void node_free(struct node *n); /* after stopped, and after node_loop_join; NULL is fine */

/* submit requests: driver_line_open, driver_reserve, driver_write .. */
struct driver *node_driver(struct node *n);
kelp_ns node_now(struct node *n); /* CLOCK_BOOTTIME, read now */
/* something was submitted: the driver runs before the loop sleeps */
void node_poke(struct node *n);
struct rsm *node_rsm(struct node *n);
kelp_id node_id(const struct node *n); /* from KELP_ID_WAITING on: it waits to be given one */

/* The addresses a member advertised, by whatever way this node learnt them; NULL: not known. */
const struct wire_member_addresses *node_addresses(const struct node *n, kelp_id id);

/* node_exit_status - 0 while fine; 3: refused (foreign, wiped); 4: faulted. With words for people.
 * */
int node_exit_status(const struct node *n, const char **words);

/* node_removed - a committed configuration removed it; node_leaves - and stop_when_removed was set:
 * it takes nothing new, answers what is open, and then does nothing but wait to be stopped. */
bool node_removed(const struct node *n);
bool node_leaves(const struct node *n);

struct node_status {
    struct driver_status driver;
    struct net_stats net;
    struct rsm_position {
        struct kelp_pos applied;
        uint64_t chain_hash, state_hash;
    } rsm;
    const char *role;   /* follower pre-candidate candidate leader passive removed shutdown */
    const char *member; /* voter learner witness staging leaving none: its configuration says so */
    const char *health; /* ok loading recovering quarantined faulted */
    char reason[256];   /* why health is not ok, what it waits for, or what people must look at */
    uint64_t disk_free_bytes, uptime_ms;
    kelp_id id;
    uint64_t incarnation;
    uint8_t priority; /* 0 also where it is no member */
};
void node_status(struct node *n, struct node_status *out);

/* node_status_lines - RAFT STATUS: "name:value\n" lines by INTERFACE; node_status_json - the same
 * names as JSON, *out
 * is malloc'd, the caller owns it. Both return the length. */
size_t node_status_lines(struct node *n, char *out, size_t size);
char *node_status_json(struct node *n);

/* node_metrics - Prometheus text, appended to a growing buffer the caller owns. */
struct buf;
enum kelp_error node_metrics(struct node *n, struct buf *out);

/* Counters the server adds to the same page. */
#define NODE_SNAPSHOTS_MAX 16u

struct node_snapshot {
    struct kelp_pos pos;
    uint64_t bytes;
    const char *state; /* "whole", "unread", "damaged" */
};

/* node_snapshots - the snapshots on disk, newest first, as the log's owner saw them last. */
size_t node_snapshots(struct node *n, struct node_snapshot out[NODE_SNAPSHOTS_MAX]);
/* node_snapshot_now - driver_snapshot_now, and the loop is woken. */
enum kelp_error node_snapshot_now(struct node *n, struct kelp_pos *pos);

/* node_rejoin - driver_rejoin, and the loop is woken. */
enum kelp_reason node_rejoin(struct node *n, kelp_id from, bool force);

struct node_histograms {
    /* one fdatasync; one save, queue included; one batch; propose to done; one object of a
     * snapshot, read on the loop */
    struct hist sync_ns, append_ns, apply_ns, commit_ns, object_ns;
};
/* node_snapshots_change - driver_snapshots_change with what these options say of when to take
 * snapshots and how fast to send them; nothing else of them counts. On the loop. */
void node_snapshots_change(struct node *n, const struct kelp_node_options *to);
const struct node_histograms *node_histograms(const struct node *n);

#endif
