/* SPDX-License-Identifier: Apache-2.0 */
/* node.h - a ready-made member of a cluster: log on disk, peers over TCP, your state machine.
 *
 * kelp_node_open starts two threads. One owns sockets, consensus and the state machine, the other
 * the log while a sync takes long; when the disk hangs they change places. So the state machine and
 * done are called by one thread at a time, everything before visible to it, but not always by the
 * same one: keep nothing in thread-local storage. Both block all signals. Requests may be made from
 * any thread; each gets exactly one outcome.
 *
 * Called by the node (state machine, done, log) never call what waits for it: kelp_node_close,
 * kelp_call, kelp_ask, kelp_node_snapshot, kelp_node_rejoin, kelp_node_status; such a call stops
 * the process and says why. After fork the child has no such threads: it may only exec or _exit. */
#ifndef KELP_NODE_H
#define KELP_NODE_H

#include "kelp/core.h"
#include "kelp/fsm.h"
#include "kelp/lead.h"
#include "kelp/plan.h"
#include "kelp/types.h"

struct kelp_node;

struct kelp_node_options {
    size_t size; /* sizeof(struct kelp_node_options), so that it may grow */
    kelp_id id;  /* this node; never used again once removed. 0: the one in data, or the next free
                 * one, given when it is added */
    const char *data; /* directory; made with its parents, 0700 */
    const char *peer; /* HOST:PORT to listen on for other members; default 127.0.0.1:7101 */
    /* what others dial; default: peer. Needed when peer is 0.0.0.0 or [::] */
    const char *advertise_peer;
    /* told to other members, shown in status and redirects; may be NULL */
    const char *advertise_client;
    const char *advertise_http;
    /* "1=HOST:PORT,2=HOST:PORT,...": everybody who founds together; may stay for ever */
    const char *bootstrap;
    /* "HOST:PORT,...": where an empty node announces itself and waits, passive, to be added */
    const char *join;
    /* "ID=HOST:PORT,...": dial these members there, whatever the configuration says; a node that
     * is given this asks for a MOVE where the configuration has another address for it */
    const char *peer_at;
    /* as kelp_options_default; raft.self is set from id, raft.seed if it is 0 */
    struct kelp_options raft;
    kelp_ns request_timeout;    /* 5 s: the whole deadline of a request */
    uint64_t segment_bytes;     /* 64 MiB; of one log file */
    uint64_t cache_bytes_max;   /* 64 MiB of entries kept in memory */
    uint64_t forward_bytes_max; /* 64 MiB of requests waiting or forwarded */
    /* a snapshot after so many entries; 0: 4096 for a disposable machine, no such rule for others;
     * KELP_SNAPSHOT_NEVER: no such rule */
    uint64_t snapshot_every_entries;
    /* true: a follower passes requests on to its leader; false: refuses with NOT_LEADER and a hint
     */
    bool forward;
    enum kelp_level log_level; /* KELP_INFO; louder lines are not made */
    /* one log line without newline; from the node's threads; NULL: warnings and errors go to stderr
     * */
    void (*log)(void *ctx, enum kelp_level level, const char *line);
    void *log_ctx;
    uint64_t answer_bytes_max; /* 256 MiB of answers to reads that are made and not taken */
    kelp_lead_fn lead;         /* each event of lead.h, once; NULL: nobody listens */
    void *lead_ctx;
    /* once a committed configuration has removed this node it answers SHUTDOWN (at first perhaps
     * REMOVED) and takes no more part; false: it says so in its status, refuses with REMOVED what
     * only a member can do, and goes on with reads of the levels ANY and, as long as their bound
     * allows, STALE */
    bool stop_when_removed;
    /* a snapshot once the log has grown by so much (64 MiB) and by snapshot_log_ratio (4) times the
     * last snapshot; KELP_SNAPSHOT_NEVER: no such rule. The first one of a process comes up to half
     * as much later. */
    uint64_t snapshot_log_bytes;
    uint32_t snapshot_log_ratio;
    uint32_t snapshots_kept;   /* 2: so many of the newest stay on disk */
    kelp_ns snapshot_interval; /* 0: a snapshot after so long, if anything was applied; 0: never */
    uint64_t snapshot_send_rate; /* 0: bytes a second of snapshots to all members; 0: no limit */
};

#define KELP_SNAPSHOT_NEVER UINT64_MAX

struct kelp_result {
    enum kelp_outcome outcome;
    enum kelp_reason reason;
    /* where the command stands, when known; a read: its answer shows nothing above this index, so
     * that another one which names it as at_least never shows less */
    struct kelp_pos pos;
    struct kelp_read_ages ages; /* a STALE read's, also when it is refused for them */
    kelp_id leader; /* a hint, 0 if not known; REMOVED: a member that this node knew, to be asked */
    struct kelp_bytes bytes; /* DONE: the state machine's reply; borrowed during the call */
    kelp_id member;          /* a change refused because of a member: which; 0: of none */
};

/* kelp_node_options_default - options for a node with default timers and limits.
 * takes    id      0: see kelp_node_options
 *          data    its directory, borrowed until kelp_node_open has returned
 * returns  options by value
 * thread   any   cost  O(1)   source  - */
KELP_API struct kelp_node_options kelp_node_options_default(kelp_id id, const char *data);

/* kelp_node_open - recover from the data directory, listen, and take part.
 * takes    options  borrowed
 *          ops, fsm the state machine, empty; owned by the node from now on and closed by it, also
 *          on error; *ops is not copied and must outlive the node
 *          out      set on KELP_OK; the caller owns it until kelp_node_close
 *          fault    filled on error; may be NULL
 * errors   KELP_E_ARGUMENT, KELP_E_IO, KELP_E_NO_MEMORY, and those that a restart will not help:
 *          KELP_E_CORRUPT,
 *          KELP_E_FOREIGN, KELP_E_LOCKED, KELP_E_WIPED, KELP_E_VERSION
 * thread   any   cost  reads the newest snapshot and the log   source  [§3.8] */
KELP_API enum kelp_error kelp_node_open(const struct kelp_node_options *options,
                                        const struct kelp_fsm_ops *ops, void *fsm,
                                        struct kelp_node **out, struct kelp_fault *fault);

/* kelp_node_close - answer what is open (SHUTDOWN or better), sync, stop the threads, free
 * everything.
 * takes    node    NULL is fine; unusable afterwards
 * thread   any but the node's own: from its callbacks it stops the process with a message, since it
 *          would wait for itself; after it no other call is made, and
 *          while it lasts only from done: answered SHUTDOWN too, so who always asks again never
 *          lets it return
 *          cost  bounded: at most two seconds unless the disk hangs, then until it answers
 *          source  - */
KELP_API void kelp_node_close(struct kelp_node *node);

/* kelp_propose - submit one command.
 * takes    node    not NULL
 *          command bytes, copied; 1 .. 8 MiB
 *          token   the caller's name for it, handed to done
 *          done    called once with the outcome: DONE with the machine's reply, REFUSED (never
 *                  happened), LOST (never
 *                  will), UNKNOWN (may happen)
 * thread   any   cost  O(bytes)   source  [§3.5, §6.3] */
KELP_API void kelp_propose(struct kelp_node *node, struct kelp_bytes command, uint64_t token,
                           kelp_done_fn done, void *ctx);

/* kelp_read - ask the state machine; linearizable: sees every write that was answered before this
 * call.
 * takes    node     not NULL
 *          question bytes, copied
 *          token, done, ctx   as kelp_propose; DONE or REFUSED
 * thread   any   cost  O(bytes)   source  [§6.4] */
KELP_API void kelp_read(struct kelp_node *node, struct kelp_bytes question, uint64_t token,
                        kelp_done_fn done, void *ctx);

/* One member of a change: what it shall become. */
struct kelp_member_edit {
    kelp_id id;
    enum kelp_edit_verb verb;
    /* ADD, SET: KELP_VOTER, KELP_LEARNER or KELP_WITNESS; else KELP_NONE */
    enum kelp_member_role role;
    const char *address; /* ADD, SET, MOVE: HOST:PORT of its peer side; else NULL */
    uint8_t priority;    /* PRIORITY: 0 never leads, the highest is preferred; usually 1 */
};

/* A change of the membership, as a whole or not at all; see change.h. */
struct kelp_member_change {
    uint32_t flags;      /* enum kelp_change_flag */
    uint32_t count;      /* edits, 1..KELP_MEMBERS_MAX, each id once */
    kelp_index if_index; /* refused unless the configuration stands there; 0: wherever it stands */
    const struct kelp_member_edit *edits;
    kelp_ns timeout; /* 0: the request timeout. A new voter has to catch up within it */
};

/* kelp_node_change - change who is a member, whoever leads. A leader that is to go hands over
 * first, and its successor carries the change out.
 * takes    node    not NULL; asks the leader if it does not lead
 *          change  copied
 *          token, done, ctx   as kelp_propose
 * outcome  once: DONE, the configuration at pos says so; REFUSED, with member if it is about one;
 *          LOST; UNKNOWN, the configuration says what became of it
 * thread   any   cost  O(edits)   source  [§4.1, §4.2.1, §4.3] */
KELP_API void kelp_node_change(struct kelp_node *node, const struct kelp_member_change *change,
                               uint64_t token, kelp_done_fn done, void *ctx);

/* kelp_node_change_call - kelp_node_change that waits.
 * takes    node, change   as kelp_node_change
 *          result  filled
 * errors   KELP_OK exactly when the outcome is DONE; KELP_E_BUSY otherwise
 * thread   any but the node's own   cost  waits up to the timeout   source  [§4.3] */
KELP_API enum kelp_error kelp_node_change_call(struct kelp_node *node,
                                               const struct kelp_member_change *change,
                                               struct kelp_result *result);

/* kelp_read_at - kelp_read at a level: what the answer may miss is said by how.
 * takes    node     not NULL
 *          question bytes, copied
 *          how      borrowed; see types.h. at_least makes a read of any level see a write: name the
 *                   index of its result
 *          token, done, ctx   as kelp_propose; DONE or REFUSED: NO_LEASE, STALE_BEYOND
 *                   (result->ages says by how much), LOADING (STALE, ANY while the log is
 *                   replayed), TIMEOUT, BAD_LEVEL
 * thread   any   cost  O(bytes)   source  [§6.4, §6.4.1] */
KELP_API void kelp_read_at(struct kelp_node *node, struct kelp_bytes question,
                           const struct kelp_read_how *how, uint64_t token, kelp_done_fn done,
                           void *ctx);

/* kelp_verify_leader - does this node lead, after all that was answered before this call?
 * takes    node     not NULL
 *          token, done, ctx   as kelp_propose; DONE: a quorum confirmed it since; REFUSED:
 *                   NOT_LEADER (result->leader is a hint), NO_LEADER, REMOVED, TIMEOUT
 * thread   any   cost  one round, shared with reads   source  [§6.4] */
KELP_API void kelp_verify_leader(struct kelp_node *node, uint64_t token, kelp_done_fn done,
                                 void *ctx);

/* kelp_barrier - wait until everything that was proposed before is applied on this node. It stands
 * in line with kelp_propose: what is proposed after it waits for it. Of a write whose outcome was
 * UNKNOWN nothing is promised: it may still come.
 * takes    node     not NULL
 *          token, done, ctx   as kelp_propose; DONE: an entry that was appended after this call is
 *                   applied here; REFUSED: it has no effect, whether it was appended or not
 * thread   any   cost  one entry in the log   source  [§6.4] */
KELP_API void kelp_barrier(struct kelp_node *node, uint64_t token, kelp_done_fn done, void *ctx);

/* kelp_call - kelp_propose that waits.
 * takes    node, command  as kelp_propose
 *          out     room for the reply, cut to out_size
 *          result  filled; result->bytes points into out
 * errors   KELP_OK exactly when the outcome is DONE; KELP_E_BUSY otherwise, see result->outcome and
 *          reason
 * thread   any but the node's own   cost  waits up to the request timeout   source  - */
KELP_API enum kelp_error kelp_call(struct kelp_node *node, struct kelp_bytes command, uint8_t *out,
                                   size_t out_size, struct kelp_result *result);

/* kelp_ask - kelp_read that waits; as kelp_call. thread any but the node's own  cost waits  source
 * [§6.4] */
KELP_API enum kelp_error kelp_ask(struct kelp_node *node, struct kelp_bytes question, uint8_t *out,
                                  size_t out_size, struct kelp_result *result);

/* kelp_ask_at - kelp_read_at that waits; as kelp_call. thread any but the node's own  cost waits
 * source [§6.4] */
KELP_API enum kelp_error kelp_ask_at(struct kelp_node *node, struct kelp_bytes question,
                                     const struct kelp_read_how *how, uint8_t *out, size_t out_size,
                                     struct kelp_result *result);

/* kelp_node_plan - what a change would do, or stopping a member (KELP_EDIT_STOP, the only edit),
 * asked of the leader; waits.
 * takes    node      not NULL
 *          change    borrowed
 *          plan      filled on KELP_OK, also where the change would be refused: plan->refused
 *          result    filled; its bytes are empty
 * errors   KELP_OK exactly when the outcome is DONE; KELP_E_BUSY otherwise, see result->reason
 * thread   any but the node's own   cost  waits up to the request timeout   source  [§4.1] */
KELP_API enum kelp_error kelp_node_plan(struct kelp_node *node,
                                        const struct kelp_member_change *change,
                                        struct kelp_plan *plan, struct kelp_result *result);

/* kelp_node_drain - leadership leaves this node and does not come back until kelp_node_undrain, or
 * the node is opened again; waits. It goes on voting and serving. Where nobody leads for four
 * longest election timeouts it stands all the same, and hands over as soon as it can.
 * takes    node      not NULL
 *          result    filled; DONE: leader says who leads now, 0: nobody. REFUSED: nothing has
 *                    changed, for example NO_CANDIDATE, or CANCELLED by an undrain. UNKNOWN:
 *                    drained, and it may lead a little longer
 * errors   KELP_OK exactly when the outcome is DONE; KELP_E_BUSY otherwise
 * thread   any but the node's own   cost  waits up to an election timeout   source  [§3.10] */
KELP_API enum kelp_error kelp_node_drain(struct kelp_node *node, struct kelp_result *result);

/* kelp_node_undrain - the node may lead again; as kelp_node_drain.
 * thread   any but the node's own   cost  one visit to the node's thread   source  - */
KELP_API enum kelp_error kelp_node_undrain(struct kelp_node *node, struct kelp_result *result);

/* kelp_node_snapshot - take a snapshot of what this node has applied, whatever its rules say.
 * takes    node    not NULL
 *          pos     filled: the least that it will hold; KELP_E_NOT_FOUND: where the newest stands
 * errors   KELP_OK: it is being taken, status says snapshot_index once it is durable;
 *          KELP_E_NOT_FOUND: nothing is new since the newest one; KELP_E_BUSY: not now, since
 *          another member's is being fetched for example, or the state machine has none
 * thread   any but the node's own   cost  one visit to the node's thread   source  [§5.1] */
KELP_API enum kelp_error kelp_node_snapshot(struct kelp_node *node, struct kelp_pos *pos);

/* kelp_node_rejoin - have a node in quarantine give up its state for that of a healthy member: its
 * machine stands still, takes a newer snapshot of that one, and goes on. Its vote and its log stay.
 * takes    node    not NULL
 *          from    this member's; 0: of any that is known to be healthy
 *          force   also if this node is not in quarantine, and whatever is known of from
 *          result  filled; on KELP_E_BUSY its reason says why nothing was begun
 * errors   KELP_OK: it has begun; status says rejoin, and rejoined counts those that ended.
 *          KELP_E_BUSY: NOTHING_NEW: it is not in quarantine; LEADS: nor that, and it leads;
 *          NO_HEALTHY: nobody is connected who may give his state; SELF, UNKNOWN_MEMBER: from;
 *          NOT_STARTED, FAULTED, SHUTDOWN
 * thread   any but the node's own   cost  one visit to the node's thread   source  - */
KELP_API enum kelp_error kelp_node_rejoin(struct kelp_node *node, kelp_id from, bool force,
                                          struct kelp_result *result);

/* kelp_node_status - the lines of RAFT STATUS: "name:value", one a line.
 * takes    node    not NULL
 *          out     room for size bytes; cut to fit, always NUL-terminated
 * returns  the length it would have needed
 * thread   any but the node's own   cost  one visit to the node's thread   source  - */
KELP_API size_t kelp_node_status(struct kelp_node *node, char *out, size_t size);

/* kelp_node_found - have an empty running node found a cluster of itself alone.
 * takes    node      not NULL
 *          if_empty  true: a node that holds a cluster already, or founds one, is fine
 *          fault     filled on error; may be NULL
 * returns  KELP_OK: it holds the first entry, durably; kelp_node_status says when it leads
 * errors   KELP_E_FOREIGN: it holds a cluster, waits for one, or was started with join or
 *          bootstrap; the fault says which
 *          KELP_E_BUSY: out of memory; or it has begun to and is not done after request_timeout:
 *          ask again with if_empty
 * thread   any but the node's own   cost  five syncs   source  [§4.4] */
KELP_API enum kelp_error kelp_node_found(struct kelp_node *node, bool if_empty,
                                         struct kelp_fault *fault);

/* kelp_found - write a cluster of one node into an empty data directory, offline: its id, its first
 * entry. A node opened there later leads at once.
 * takes    options   id (0: 1), data and peer or advertise_peer; join and bootstrap must be NULL
 *          if_empty  true: a directory that holds a cluster already is left alone
 *          cluster   set on KELP_OK: the cluster that the directory holds; may be NULL
 *          fault     filled on error; may be NULL
 * errors   KELP_E_FOREIGN: it holds a cluster, is pledged to one, or is another node's;
 *          KELP_E_ARGUMENT and those of kelp_node_open
 * thread   any   cost  a few syncs   source  [§4.4] */
KELP_API enum kelp_error kelp_found(const struct kelp_node_options *options, bool if_empty,
                                    struct kelp_cluster_id *cluster, struct kelp_fault *fault);

#endif
