/* SPDX-License-Identifier: Apache-2.0 */
/* driver.h - one group on one node: performs the takes of a core against three ports, founds the
 * cluster, keeps the
 * bytes of the log's tail, and carries clients' requests to the leader and their outcomes back.
 *
 * The driver knows no thread, file, socket or clock. Its owner calls it from one place: with
 * frames, requests and
 * completions as they come, each with the time, and then driver_run() until nothing is due.
 * Completions may be
 * reported from inside a port's call; the driver queues them. The node plugs in files and sockets,
 * the simulator a
 * virtual disk and network; what could lose data lives here or below, never in either of them.
 *
 * frames, requests, completions --> kelp_step --> kelp_take --> made, save, messages, applies,
 * lookups, answers
 *                                                     in this order: made entries into the cache;
 *                                                     messages; save;
 *                                                     lookups; answers; applies; flush
 */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H

#include "driver/compare.h"
#include "kelp/core.h"
#include "kelp/fsm.h"
#include "kelp/lead.h"
#include "kelp/restore.h"
#include "kelp/session.h"
#include "kelp/store.h"
#include "kelp/transport.h"
#include "wire/change.h"
#include "wire/config.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/snapchunk.h"
#include "wire/snaphead.h"

struct driver;

/* ---- the third port: whatever applies ------------------------------------------------------ */

struct driver_machine_ops {
    size_t size;
    /* Apply entries first..first+count-1, each encoded and verified, borrowed during the call. The
     * machine reports
     * driver_result() for each entry that has a reply, in order, and driver_applied(last) when it
     * is done with all:
     * during the call or later. At most one call is open at a time. */
    void (*apply)(void *machine, kelp_index first, const struct kelp_bytes *entries, size_t count);
    /* Answer a question at the state as it is now; reply through driver_query_result(token), during
     * the call or later: DONE. What comes later is not heard if the read was asked again meanwhile,
     * under another token. MORE: it goes on at the next call with the same token, and nothing is
     * applied until it is DONE or query_end says that nobody wants it any more. One at a time:
     * where may_begin is 0 a long one is BUSY, and asked again. */
    enum kelp_query (*query)(void *machine, uint64_t token, struct kelp_bytes question,
                             int may_begin);
    void (*query_end)(void *machine, uint64_t token);
    /* A snapshot of the state at the last applied position, one at a time; as rsm_snapshot_begin
     * and those behind it, which serve all of them. read may be called while an apply is open. end
     * is called once after each begin that succeeded. */
    enum kelp_error (*snapshot_begin)(void *machine, const struct wire_config *config,
                                      struct kelp_pos *pos, size_t *head_len);
    enum kelp_error (*snapshot_read)(void *machine, uint8_t *out, size_t *len, bool *last);
    size_t (*snapshot_head)(void *machine, uint64_t objects, uint64_t bytes, uint8_t *out);
    void (*snapshot_end)(void *machine);
    /* Has it any? May be NULL: if there is a begin. */
    bool (*has_snapshots)(void *machine);
    /* Does the machine ask for one? May be NULL: never. */
    bool (*wants_snapshot)(void *machine);
    /* What its state was at the newest marked indexes behind after, ascending; how many. May be
     * NULL: it is not compared. */
    size_t (*marks)(void *machine, kelp_index after, struct wire_mark out[WIRE_MARK_KEPT]);
    /* A snapshot takes the place of the whole state, as rsm_restore_begin and those behind it:
     * after a begin that succeeded objects, then either commit, which aborts if it fails, or abort.
     * NULL: this node takes none. */
    enum kelp_error (*restore_begin)(void *machine, const struct wire_snaphead *head,
                                     struct kelp_fault *fault);
    enum kelp_error (*restore_object)(void *machine, const struct wire_object *object,
                                      struct kelp_fault *fault);
    enum kelp_error (*restore_commit)(void *machine, const struct wire_snaphead *head,
                                      struct kelp_fault *fault);
    void (*restore_abort)(void *machine);
    /* Can the command only make the state smaller? Asked while disk room is short, as the only one
     * of these also from driver_write and driver_frame; may be NULL: none can. */
    bool (*frees)(void *machine, struct kelp_bytes command);
    /* As rsm_deadline and those behind it; all four may be NULL. extend is, as frees, also asked
     * from driver_write and driver_frame. */
    uint64_t (*deadline)(void *machine);
    bool (*lapses)(void *machine, struct kelp_bytes question, uint64_t time_ns);
    void (*tell_time)(void *machine, uint64_t time_ns);
    size_t (*extend)(void *machine, struct kelp_bytes command, uint64_t wall_unix_ms, uint8_t *out);
    /* As rsm_staged; may be NULL: nothing ever is. No snapshot is begun while something is. */
    bool (*staged)(void *machine, struct kelp_restore_status *out);
};

struct driver_ports {
    const struct kelp_store_ops *store;
    void *store_ctx;
    const struct kelp_peers_ops *peers;
    void *peers_ctx;
    const struct driver_machine_ops *machine;
    void *machine_ctx;
};

/* ---- options and boot ----------------------------------------------------------------------- */

struct driver_member { /* one line of --bootstrap */
    kelp_id id;
    struct wire_address peer;
};

/* When a snapshot is taken: whatever comes first, besides the machine's own wish and an operator's.
 * The first one of a process comes later, by a drawn part of up to a half, so that members that
 * started together do not do it together. */
struct driver_snapshots {
    uint64_t entries;   /* after so many applied; 0: never */
    uint64_t log_bytes; /* after so many of the log on disk; 0: never .. */
    uint32_t ratio;     /* .. and not before it is so many times the last snapshot; 0: at once */
    kelp_ns interval;   /* after so long, if anything was applied; 0: never */
    size_t chunk_bytes; /* objects are written once there are so many; 0: about 256 KiB */
    uint64_t send_rate; /* bytes a second of snapshots to all peers together; 0: no limit */
};

struct driver_options {
    struct kelp_options core;       /* core.self is the node */
    uint32_t group;                 /* 0 today */
    struct kelp_cluster_id cluster; /* from the identity; zero: not pledged */
    uint64_t epoch, incarnation, start_count;
    /* everybody who founds together; copied. count 0: wait to be added */
    const struct driver_member *bootstrap;
    size_t bootstrap_count;
    struct wire_address peer; /* what this node advertises; "": not known here */
    bool joins;               /* it has somewhere to knock, and founds nothing by itself */
    bool moves; /* all addresses may have changed: where the committed configuration has another one
                 * for this node it asks for a MOVE */
    /* 64 MiB: entries kept in memory after they are saved, sent and applied */
    uint64_t cache_bytes_max;
    /* 64 MiB: requests of this node's clients waiting or forwarded, all together */
    uint64_t forward_bytes_max;
    uint64_t line_requests_max; /* 16384 open requests of one line */
    /* this node's machine answers no reads: they go to the leader with their questions */
    bool reads_elsewhere;
    /* 256 MiB (0): answers of all lines that are made and not taken; beyond it only lines that
     * have none are served, and beyond twice of it no read is */
    uint64_t answer_bytes_max;
    struct driver_snapshots snapshots; /* when one is taken */
    uint64_t wall_unix_ms;             /* only for "created" in entry 1 */
    /* 64 random bits: cluster id, connection numbers; simulated in the simulator */
    uint64_t (*random)(void *ctx);
    void *random_ctx;
    /* the time of day, in ms since 1970, for machines that are told of it (kelp_fsm_ops.extend);
     * with random_ctx; NULL: they are told nothing */
    uint64_t (*wall)(void *ctx);
    /* one event of core or driver for logs and tests; may be NULL */
    void (*event)(void *ctx, const struct kelp_event *event);
    /* one line about founding, refusals, faults; level is enum kelp_level; may be NULL */
    void (*note)(void *ctx, int level, const char *line);
    /* one change of who leads, after the number has grown; must not call the driver; may be NULL */
    void (*lead)(void *ctx, enum kelp_lead_event event, const struct kelp_leadership *now);
    void *watch_ctx;
};

/* What the store found; pointers borrowed during driver_new. */
struct driver_boot {
    struct kelp_boot core; /* config pointers are ignored: taken from the two below */
    /* newest; NULL: no entry and no snapshot, wait to be founded or added */
    const struct wire_config *config;
    const struct wire_config *config_before;
    /* encoded entry 1 if the log still holds it, to hand it on; else empty */
    struct kelp_bytes entry1;
    /* cluster clock of the newest snapshot, 0: none; the log's is read from it */
    uint64_t time_ns;
    struct kelp_pos snapshot; /* the newest one, 0@0: none, and how large its file is */
    uint64_t snapshot_bytes;
    /* as its head shows it; NULL: there is no snapshot */
    const struct wire_config *snapshot_config;
    bool apart; /* what stands here was found to be another state than the others': quarantine.c */
};

/* ---- requests ------------------------------------------------------------------------------- */

/* A line is one client connection: its requests take effect, and are answered, in the order given;
 * a read sees every write before it (STALE and ANY: what of it is applied here) and none after it.
 * Writes that follow each other are proposed together. */
struct driver_line;

struct driver_outcome {
    enum kelp_outcome outcome;
    enum kelp_reason reason;
    struct kelp_pos pos;        /* a read: nothing above its index was seen, term 0 */
    struct kelp_read_ages ages; /* a STALE read's */
    kelp_id leader;             /* a hint, 0 if not known; REMOVED: a member that this node knew */
    kelp_id member; /* a change: whom it was refused for, or who was given an id; 0: nobody */
    struct kelp_bytes result; /* DONE: the machine's reply, borrowed during the call */
};

typedef void (*driver_done_fn)(void *ctx, uint64_t token, const struct driver_outcome *outcome);

/* ---- functions ------------------------------------------------------------------------------- */

/* driver_new - make a driver; with boot->config it starts Raft at once, without it waits to be
 * founded.
 * NULL with fault: KELP_E_NO_MEMORY, KELP_E_ARGUMENT, KELP_E_CORRUPT. */
struct driver *driver_new(const struct driver_options *options, const struct driver_ports *ports,
                          const struct driver_boot *boot, kelp_ns now, struct kelp_fault *fault);

/* driver_free - free everything; open requests are not answered (driver_shutdown does that). NULL
 * is fine. */
void driver_free(struct driver *d);

/* driver_line_open - a client connection. done is called once per token, in the order of
 * submission, from inside
 * driver_run or driver_shutdown only. */
struct driver_line *driver_line_open(struct driver *d, driver_done_fn done, void *ctx);

/* driver_line_close - the client is gone: nothing is reported any more, what is open runs to its
 * end unheard. */
void driver_line_close(struct driver *d, struct driver_line *line);

/* driver_line_backlog - how many bytes of the line's answers its client has not taken, to be told
 * whenever that changes; 0 at first. A line with more than a mebibyte of them stands still until
 * half of that is taken: no read of it is served or forwarded, nothing queued is started, and the
 * time does not count for their deadlines. True: it may go on, and driver_run is due. */
bool driver_line_backlog(struct driver *d, struct driver_line *line, uint64_t bytes);

/* driver_reserve - room for a command of len bytes, in the log cache: build it there, then
 * driver_write. Valid until
 * the next call on the driver. NULL: too large, or a limit is reached (*reason says which). */
uint8_t *driver_reserve(struct driver *d, size_t len, enum kelp_reason *reason);

/* driver_write - submit the reserved command. token: not 0, unique among this line's open requests.
 * The outcome comes
 * through the line's done function. forward: false = answer NOT_LEADER at once when this node does
 * not lead. */
void driver_write(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                  size_t len, struct kelp_bytes user, kelp_ns deadline, bool forward);

/* What is executed once however often it is asked for; see kelp/session.h. */
enum driver_once_kind {
    DRIVER_ONCE_NOT = 0,
    DRIVER_ONCE_COMMAND, /* in a session, or under a key */
    DRIVER_ONCE_SESSION, /* no command: one begins; its id is the index of the outcome */
    DRIVER_ONCE_END,     /* no command: the session that is named ends */
};
struct driver_once {
    enum driver_once_kind kind;
    struct kelp_once once; /* SESSION: all 0 */
};

/* driver_once - submit such a command; copied. As driver_write otherwise: the entry and so the
 * forward carry what is named. REFUSED: not executed now, see kelp/session.h for what that says.
 * false: out of memory, nothing was submitted and no outcome follows. */
bool driver_once(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                 const struct driver_once *once, struct kelp_bytes command, struct kelp_bytes user,
                 kelp_ns deadline, bool forward);

/* driver_restore_sound - has it what its kind has, and no more?
 * driver_restore - submit such a step of a restore through the log; copied. As driver_write
 * otherwise: one entry, in the order of its line. DONE: it is applied; REFUSED: of no effect, see
 * kelp/restore.h for why. false: out of memory, nothing was submitted and no outcome follows. */
bool driver_restore_sound(const struct kelp_restore_step *step);
bool driver_restore(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                    const struct kelp_restore_step *step, struct kelp_bytes user, kelp_ns deadline,
                    bool forward);
/* driver_staged - what is staged here, as far as this node has applied. */
void driver_staged(const struct driver *d, struct kelp_restore_status *out);

struct driver_question {
    struct kelp_bytes bytes; /* for the machine */
    bool bare; /* none: DONE says that it could be answered, by which index and in which order */
    struct kelp_bytes user;
    struct kelp_read_how how;
    kelp_ns deadline;
    bool forward; /* may the leader be asked? else NOT_LEADER where it does not lead */
};

/* driver_read - submit a question; copied. Answered by this node's own machine, whatever the level,
 * unless it is far behind. DONE or REFUSED. false: out of memory, nothing was submitted and no
 * outcome follows. A bare one that is not forwarded asks whether this node leads; a bare one
 * through the log is a barrier. */
bool driver_read(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                 const struct driver_question *question);

/* driver_change - submit a change of the membership; copied. Ordered like a write. DONE: the
 * configuration that says so stands at pos. false: out of memory, nothing was submitted and no
 * outcome follows. */
bool driver_change(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                   const struct wire_change *change, struct kelp_bytes user, kelp_ns deadline,
                   bool forward);
/* driver_plan - what that change would do; or, of KELP_EDIT_STOP alone, what stopping a member
 * would. Ordered like a read. DONE: result is a wire_plan. */
bool driver_plan(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                 const struct wire_change *change, struct kelp_bytes user, kelp_ns deadline,
                 bool forward);
/* driver_plan_read - that result as a plan. false: it is none that this version can read. */
bool driver_plan_read(struct kelp_bytes result, struct kelp_plan *out);
/* driver_copy - read a piece of a snapshot that this node holds: the head at offset 0, then the
 * piece behind the one before. Of this node, whoever leads. DONE: result is for driver_copy_read.
 * false: out of memory, nothing was submitted and no outcome follows. */
bool driver_copy(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                 struct kelp_pos pos, uint64_t offset, kelp_ns deadline);
/* driver_copy_read - the size of the snapshot's file, and the piece, which borrows. */
bool driver_copy_read(struct kelp_bytes result, uint64_t *size, struct kelp_bytes *piece);
/* driver_transfer - hand leadership over to a member, 0: to the best voter. DONE: a leader of a
 * later term was heard, outcome->leader; it takes its place in the line like any request. false:
 * out of memory, nothing was submitted and no outcome follows. */
bool driver_transfer(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                     kelp_id target, struct kelp_bytes user, kelp_ns deadline, bool forward);

/* driver_transfer_cancel - end an open transfer of this line: REFUSED or UNKNOWN CANCELLED, through
 * its outcome. One that a leader elsewhere has goes on there, and nobody hears of it. */
void driver_transfer_cancel(struct driver *d, kelp_ns now, struct driver_line *line,
                            uint64_t token);

/* driver_drain - this node is to have no leadership until it is undrained or starts again: if it
 * leads it hands over first. Of this node only, never forwarded. DONE: it does not lead and does
 * not stand, outcome->leader; or, undrained, it may again. REFUSED: nothing has changed. UNKNOWN:
 * drained, and it may lead a little longer. false: out of memory, nothing was submitted and no
 * outcome follows. */
enum driver_drain_wish { DRIVER_DRAIN, DRIVER_UNDRAIN };
bool driver_drain(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                  enum driver_drain_wish wish, kelp_ns deadline);

/* driver_retire - this node will stop: if it leads it hands over, from the next driver_run on, and
 * goes on answering meanwhile.
 * driver_retired - nobody needs it any more: another leads, all members had a heartbeat's time to
 * hear of it, and what peers asked for is answered; or nobody could take over. Takes an election
 * timeout and a heartbeat at most while driver_run is called; the caller has a limit of its own. */
void driver_retire(struct driver *d, kelp_ns now);
bool driver_retired(const struct driver *d);

/* driver_found - a node that waits founds a cluster of itself alone; one that waits for an id
 * becomes node 1. DONE: it holds the cluster's first entry, durably, or (if_empty) has held a
 * cluster before. UNKNOWN: it has begun to. false: nothing was begun and no outcome follows; *why
 * says why it may not, valid until the next call, or is NULL: out of memory. */
bool driver_found(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                  bool if_empty, kelp_ns deadline, const char **why);

/* driver_frame - a frame from a peer whose handshake was accepted: of kind MESSAGE, FORWARD,
 * FORWARD_ANSWER, FOUND, FETCH, PIECE or MARKS.
 * Any error: the frame was malformed, or entries in it are damaged; close the connection and say
 * why. */
enum kelp_error driver_frame(struct driver *d, kelp_ns now, kelp_id from, enum kelp_lane lane,
                             uint64_t connection, const struct wire_frame *frame,
                             struct kelp_fault *fault);

/* driver_connected, driver_disconnected - a peer's lane is up with this connection number, or down.
 * */
void driver_connected(struct driver *d, kelp_ns now, kelp_id peer, enum kelp_lane lane,
                      uint64_t connection, const struct wire_hello *hello);
void driver_disconnected(struct driver *d, kelp_ns now, kelp_id peer, enum kelp_lane lane,
                         uint64_t connection);

/* driver_refused - a peer refused our hello; WIPED and INCARNATION end an unfounded node (see
 * driver_status). */
void driver_refused(struct driver *d, kelp_id peer, const struct wire_refuse *refuse);

/* completions of the ports; allowed inside a port's call */
void driver_saved(struct driver *d, uint64_t number);
void driver_read_done(struct driver *d, uint64_t tag, enum kelp_error error, struct kelp_pos before,
                      kelp_index first, kelp_index last, struct kelp_bytes entries);
void driver_snapshot_done(struct driver *d, kelp_index index, enum kelp_error error);
void driver_piece_done(struct driver *d, enum kelp_error error); /* a piece, or it was dropped */
/* a piece that was asked for: the head, or a whole chunk; size: of the file */
void driver_fetched(struct driver *d, enum kelp_error error, uint64_t size,
                    struct kelp_bytes bytes);
void driver_pledged(struct driver *d);
/* how much room the log has, as its store judges it: told to the others, and judged by */
void driver_space(struct driver *d, uint32_t room_mib, enum kelp_space space);
void driver_store_fault(struct driver *d, const struct kelp_fault *fault);
void driver_result(struct driver *d, kelp_index index, struct kelp_bytes result);
/* what stands there was not executed, and this is why */
void driver_result_refused(struct driver *d, kelp_index index, enum kelp_reason reason);
void driver_applied(struct driver *d, kelp_index last);
void driver_query_result(struct driver *d, uint64_t token, struct kelp_bytes result);
/* the machine met what it cannot apply (unknown entry type, divergence): final */
void driver_machine_fault(struct driver *d, const struct kelp_fault *fault);

/* driver_run - do what is due. Returns when to call again if nothing else happens: now if there is
 * more to do at
 * once (give sockets a turn first), KELP_NEVER if nothing is. Bounded work: about one apply batch.
 * */
kelp_ns driver_run(struct driver *d, kelp_ns now);

/* driver_snapshot_now - take a snapshot of what is applied now, or of more, as soon as may be,
 * whatever else is due. KELP_OK: one is taken or will be, at or above *pos; one that fails is tried
 * again. KELP_E_NOT_FOUND: nothing is new since the newest one, at *pos. KELP_E_NOT_SUPPORTED: the
 * machine has none. KELP_E_BUSY: nothing is taken now, Raft does not run here, the machine lacks
 * data and the configuration shows no witness, or a restore is staged. */
enum kelp_error driver_snapshot_now(struct driver *d, struct kelp_pos *pos);

/* driver_rejoin - give up the state of this node, which is in quarantine, for a snapshot of a
 * healthy member; see rejoin.c. from: of this member alone; 0: of any. force: also if this node is
 * not in quarantine, and whatever the others' states are known to be. NONE: it has begun, or goes
 * on as asked for now; status says how far it is. Then call driver_run. NOTHING_NEW: it is not in
 * quarantine. LEADS: neither, and it leads. NO_HEALTHY: nobody is connected who may give one, or
 * this node takes none. SELF, UNKNOWN_MEMBER: from is this node, or none that keeps the state.
 * NOT_STARTED, FAULTED, SHUTDOWN: this node does not run. */
enum kelp_reason driver_rejoin(struct driver *d, kelp_ns now, kelp_id from, bool force);

/* driver_snapshots_change - other rules and another limit from now on; call driver_run after it,
 * since a snapshot may be due or bytes may go. The size of pieces stays as it was. */
void driver_snapshots_change(struct driver *d, const struct driver_snapshots *to);

/* driver_shutdown - every open request is answered SHUTDOWN or better; those of peers too, as far
 * as their connections take it, and after that nothing is sent any more. */
void driver_shutdown(struct driver *d, kelp_ns now);

/* ---- looking at it ----------------------------------------------------------------------------
 * */

enum driver_state {
    DRIVER_WAITING = 0, /* holds no entry: waits to be founded or added; words say for whom */
    DRIVER_RUNNING = 1,
    DRIVER_FAULTED = 2, /* fault says why; answers status only */
    /* the cluster exists without this directory (wiped) or refuses it: exit status 3 */
    DRIVER_FOREIGN = 3,
};

/* Who waits to be added here, and said so within the last seconds. */
struct driver_knock {
    kelp_id id; /* from KELP_ID_WAITING on: it waits for an id, too */
    uint64_t incarnation;
    struct wire_address peer; /* as it advertises */
    kelp_ns heard;
};

struct driver_snapshot_status {
    struct kelp_pos last, open; /* the newest durable one; that is being taken, 0@0: none is */
    uint64_t last_bytes;        /* of its file */
    uint64_t open_bytes;        /* given to the disk so far */
    uint64_t taken, failed;     /* by this process */
    kelp_ns last_took;          /* from begin to durable */
};

/* A snapshot that this node fetches, 0@0: none; and what others fetch here. */
struct driver_fetch_status {
    struct kelp_pos pos;
    kelp_id from;
    uint64_t bytes, size; /* at the disk, of so many; 0: not known yet */
    uint64_t restored;    /* into the machine */
    uint64_t fetched, failed;
    size_t serving; /* peers */
    uint64_t served_bytes;
};

/* What a started node still has to apply of what its disk knew to be committed. */
struct driver_replay {
    kelp_index from, to; /* behind the snapshot that was restored at the start; 0, 0: it is done */
    unsigned percent;    /* of what stands between the two; 100: done */
    uint64_t entries_per_s; /* in the last seconds; 0: not known */
    uint64_t left_ms;       /* at that pace; 0: not known */
};

struct driver_status {
    kelp_id self; /* may change while it waits: it is given an id then */
    enum driver_state state;
    struct kelp_fault fault;
    struct kelp_view view; /* RUNNING */
    struct kelp_cluster_id cluster;
    uint64_t epoch;                       /* of the cluster: wire/epoch.h */
    struct wire_config latest, committed; /* count 0: none */
    struct kelp_bytes entry1;
    bool empty;     /* holds no entry and no snapshot */
    bool replaying; /* applied has not reached what was committed at boot */
    kelp_index replay_to;
    struct driver_replay replay;
    uint64_t cache_bytes, waiting_requests, forwarded_requests, forward_bytes;
    uint64_t apply_queue; /* committed, not yet given to the machine */
    struct driver_snapshot_status snapshot;
    struct driver_fetch_status fetch;
    struct compare_result compared; /* verdict APART: it is in quarantine */
    const char *rejoin;             /* how far driver_rejoin is, for people; NULL: it is not */
    kelp_id rejoin_from;            /* .. and whom it asks, 0: nobody */
    uint64_t rejoined;              /* so often, by this process */
    uint64_t done, refused, lost, unknown; /* outcomes given to this node's clients, counted */
    uint64_t by_reason[80];
    /* judged before, of an older start, or from somebody unknown: never answered */
    uint64_t forwards_dropped;
    /* not sent: no memory, their bytes are gone, or a peer's read queue is full */
    uint64_t messages_dropped;
    /* forwarded reads whose answers found no room and were asked for anew */
    uint64_t reads_again;
    uint64_t answer_bytes; /* of all lines: made and not taken */
    /* whom to dial although they are no members yet: new ones that a change waits for, and where
     * this node, which waits, should knock */
    struct driver_member candidates[KELP_MEMBERS_MAX];
    size_t candidate_count;
    struct driver_knock knocks[KELP_MEMBERS_MAX];
    size_t knock_count;
    /* WAITING, FAULTED, FOREIGN: what it waits for or why, for people */
    char words[256];
};

void driver_status(const struct driver *d, struct driver_status *out);

/* driver_state - the state alone, for who looks often. */
enum driver_state driver_state(const struct driver *d);

/* driver_leadership - who leads, as told last. */
void driver_leadership(const struct driver *d, struct kelp_leadership *out);

/* driver_fetches - a snapshot of another node is written here, or is being installed. */
bool driver_fetches(const struct driver *d);

/* driver_cluster_clock - what the cluster clock is at now, on a node that leads; 0: it does not.
 * Changes nothing; for checkers. */
uint64_t driver_cluster_clock(const struct driver *d, kelp_ns now);

/* driver_core - the core, NULL before Raft starts; for checkers and status. */
const struct kelp_core *driver_core(const struct driver *d);

/* driver_check - the core's invariants; debug and simulator builds. */
enum kelp_error driver_check(struct driver *d, struct kelp_fault *fault);

/* driver_hello - fill what this node says about itself on a new connection (addresses are left to
 * the caller). */
void driver_hello(const struct driver *d, struct wire_hello *out);

/* driver_judge - what a hello is judged by; committed points into the driver, valid until the next
 * call. */
void driver_judge(const struct driver *d, struct wire_judge *out);

/* driver_entry - the encoded bytes of an entry that is in the cache; empty if it is not. For
 * checkers. */
struct kelp_bytes driver_entry(const struct driver *d, kelp_index index);

#endif
