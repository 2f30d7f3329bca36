/* SPDX-License-Identifier: Apache-2.0 */
/* room.h - what the files of node share: its state, and which file does what.
 *
 *   node.c      life: open, the loop's turns, stop      saver.c    who owns the loop and the log
 *   options.c   what the user asked for, checked        machine.c  the state machine's port
 *   contacts.c  peers: hellos, dialling, addresses      watch.c    events as lines and counters
 *   status.c    RAFT STATUS as lines and as JSON        metrics.c  a page for Prometheus
 *   crash.c     what an assertion leaves behind         inbox.c    requests from any thread
 *   found.c     a cluster of one, offline
 *   lead.c      who leads, for any thread
 *   logwork.c   what is done to the store               keeper.c   objects of snapshots
 *   kelp_node.c the public API: the node on a thread of its own
 *
 *   owner of the loop: sockets, driver, state machine; it saves by itself between two turns, or
 *       <-- completions, uv_async -- owner of the log: files <-- jobs, mutex and cond --
 * Everything but the inbox's list, the saver's two lists and what stands below its lock belongs to
 * the owner of the loop. */
#ifndef NODE_ROOM_H
#define NODE_ROOM_H

#include "base/bytes.h"
#include "base/min.h"
#include "node/node.h"
#include "store/store.h"
#include "sys/file.h"

#define MILLISECOND UINT64_C(1000000)
#define SECOND      (UINT64_C(1000) * MILLISECOND)

/* ---- saver.c --------------------------------------------------------------------------------- */

struct saver;

struct saver_figures { /* the log's owner's, as of its last job */
    struct store_stats store;
    uint64_t disk_free_bytes;
    uint64_t queued_jobs, queued_bytes; /* given and not yet reported */
};

/* A log owner for an open store; it does nothing before saver_start. Completions come on the loop's
 * thread, and what they took is added to sync_ns and append_ns. */
struct saver *saver_new(uv_loop_t *loop, struct store *store, struct disk disk,
                        const struct kelp_store_done *done, struct node_histograms *measured);
enum kelp_error saver_start(struct saver *s,
                            struct kelp_fault *fault); /* on error s is freed, on the loop */

/* From here on the loop is run by the saver: on a new thread and on the log's, whichever is free.
 * saver_join waits until nothing is left open on the loop. On error the caller runs it, as before.
 */
enum kelp_error saver_run(struct saver *s, struct kelp_fault *fault);
void saver_join(struct saver *s);
bool saver_on_thread(const struct saver *s); /* the caller is on one of its two threads */
bool saver_due(
    struct saver *s); /* on the loop: it has work between two turns, and must not sleep */

/* Finish what is queued, close the handle; then stopped, on the loop. */
void saver_stop(struct saver *s, void (*stopped)(void *ctx), void *ctx);
/* not started, or stopped and the loop has run dry; NULL is fine */
void saver_free(struct saver *s);

void saver_figures(struct saver *s, struct saver_figures *out);
extern const struct kelp_store_ops saver_store_ops; /* store = struct saver * */

/* ---- keeper.c -------------------------------------------------------------------------------- */

struct keeper;

/* Pieces of snapshots for a data directory; nobody is called before keeper_piece. NULL: fault. */
struct keeper *keeper_new(uv_loop_t *loop, const char *data, const struct kelp_store_done *done,
                          void (*note)(void *ctx, int level, const char *line),
                          struct kelp_fault *fault);
void keeper_piece(struct keeper *k, uint32_t group, uint64_t offset, struct kelp_bytes bytes,
                  bool last);
void keeper_drop(struct keeper *k, uint32_t group);
void keeper_fetch(struct keeper *k, uint32_t group, struct kelp_pos pos, uint64_t offset);
/* Once what is under way has ended, perhaps at once; nothing is reported any more. */
void keeper_stop(struct keeper *k, void (*stopped)(void *ctx), void *ctx);
void keeper_free(struct keeper *k);                   /* stopped, or never used; NULL is fine */
void saver_keeper(struct saver *s, struct keeper *k); /* the saver's port passes pieces on to it */

/* A thread that takes no signals: those are the program's own business. */
int thread_start(uv_thread_t *thread, void (*entry)(void *arg), void *arg);

/* ---- the node -------------------------------------------------------------------------------- */

#define COMMITS_WATCHED 4096u

struct commit_watch { /* a proposal under way, to measure it */
    uint64_t token;
    kelp_ns at;
};

struct event_said { /* the last line about an event of a type */
    kelp_id peer;
    uint64_t term;
    kelp_ns at;
    bool said;
};

struct contact { /* a node we keep a connection to */
    kelp_id id;
    struct wire_address address;
    kelp_ns until; /* it was removed, and may still be owed an answer; 0: it is wanted */
    struct wire_address other; /* as it says itself; "": the same, or not known */
};

/* By the word of somebody's hello this address is a member of another cluster. */
struct claim {
    struct kelp_cluster_id cluster;
    kelp_id by, as;   /* who said so; which member */
    kelp_ns at, said; /* when it was heard last, and logged last; 0: never */
};

enum node_phase {
    NODE_OPEN = 0, /* before its first turn */
    NODE_RUNS,
    NODE_DRAINS, /* stops: what is open may still end well, for a moment */
    NODE_CLOSES, /* the driver is shut down, handles are closing */
    NODE_CLOSED,
};

struct node {
    uv_loop_t *loop;
    struct kelp_node_options options; /* without the pointers to the caller's texts */
    struct driver_member bootstrap[KELP_MEMBERS_MAX], peer_at[KELP_MEMBERS_MAX];
    struct wire_address join[KELP_MEMBERS_MAX]; /* where to knock; not the own address */
    size_t bootstrap_count, peer_at_count, join_count;
    struct wire_address listen, peer, client, http; /* the last three: advertised */
    char source[WIRE_ADDRESS_MAX];                  /* own host, for outgoing connections */
    bool in_memory;
    bool disposable;  /* its machine; a rule about snapshots depends on it */
    bool detour_told; /* of writes past the page cache that failed */

    struct disk disk;
    struct store *store;
    struct saver *saver;
    struct keeper *keeper;
    struct rsm *rsm;
    struct driver *driver;
    struct net *net;
    uint64_t incarnation, start_count, epoch;

    enum node_phase phase;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active: the loop must not sleep */
    uv_timer_t timer;
    kelp_ns timer_at, started_at, stop_at;
    unsigned handles; /* callbacks of closing still to come: own handles, net, saver */
    bool masked;
    void (*stopped)(void *ctx);
    void *stopped_ctx;

    struct driver_status status; /* as of the last look */
    bool look_due;               /* something rare happened: look again */
    int exit_status;
    bool leaves; /* it was removed, and takes nothing new */
    bool ended;  /* .. and has shut down; whoever runs it may close it */
    kelp_id leader;
    kelp_ns leader_since;

    struct contact contacts[KELP_MEMBERS_MAX];
    size_t contact_count;
    kelp_ns contacts_at; /* when one of them is given up; KELP_NEVER: no one */
    struct wire_member_addresses addresses[KELP_MEMBERS_MAX];
    size_t address_count;
    bool addresses_due; /* the leader passes the table on */
    bool joining;       /* somebody is dialled by an address of --join */
    struct claim claim;

    uv_mutex_t lead_lock; /* for what follows: anybody may read it */
    struct kelp_leadership lead;
    /* after each run of the driver, on the loop; returns when to be called again. NULL: nobody */
    kelp_ns (*turned)(void *ctx, kelp_ns now);
    void *turned_ctx;

    struct node_histograms histograms;
    uint64_t events[KELP_EVENT_COUNT];
    struct event_said said[KELP_EVENT_COUNT];
    struct commit_watch commits[COMMITS_WATCHED];
};

/* node.c */
uint64_t node_random(void *ctx);
void node_log(struct node *n, enum kelp_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define DRIFT_PPM 1000u /* generous for a crystal; no leases rely on it yet */

/* options.c */
enum kelp_error options_take(struct node *n, const struct kelp_node_options *options,
                             struct kelp_fault *fault);

/* machine.c */
extern const struct driver_machine_ops node_machine_ops; /* machine = struct node * */
enum kelp_error machine_restore(struct node *n, struct kelp_fault *fault); /* from the store's */

/* contacts.c */
extern const struct kelp_peers_ops node_peers_ops; /* peers = struct node * */
struct net_owner contacts_owner(struct node *n);
void contacts_refresh(struct node *n); /* after n->status: whom the configuration wants dialled */
void contacts_pass_on(struct node *n); /* the leader's table to everybody */
/* contacts_claim - words about a claim that was heard lately; false: there is none */
bool contacts_claim(struct node *n, char *out, size_t size);

/* watch.c */
void watch_event(void *ctx, const struct kelp_event *event);
void watch_note(void *ctx, int level, const char *line); /* on the loop */
void watch_store_note(void *ctx, int level,
                      const char *line); /* from whatever thread the log is on */

/* lead.c */
void lead_told(void *ctx, enum kelp_lead_event event, const struct kelp_leadership *now);
void lead_now(struct node *n, struct kelp_leadership *out); /* any thread */

/* crash.c */
void crash_register(struct node *n);
void crash_forget(struct node *n);

/* ---- inbox.c --------------------------------------------------------------------------------- */

struct inbox;

enum inbox_kind {
    INBOX_PROPOSE = 1,
    INBOX_READ = 2,
    INBOX_STATUS = 3,
    INBOX_CHANGE = 4,   /* a wire_change, encoded; empty: it was malformed */
    INBOX_TRANSFER = 5, /* to target */
    INBOX_CANCEL = 6,   /* transfers with this token; done is not called */
    INBOX_AWAIT = 7,    /* until what is so */
    INBOX_VERIFY = 8,   /* does this node lead? */
    INBOX_BARRIER = 9,
    INBOX_PLAN = 10, /* as CHANGE */
    INBOX_DRAIN = 11,
    INBOX_UNDRAIN = 12,
    INBOX_FOUND = 13, /* one byte: is a cluster that is there fine? */
    INBOX_SNAPSHOT = 14,
    INBOX_ONCE = 15,    /* as PROPOSE, or about a session */
    INBOX_RESTORE = 16, /* a step of one, encoded; empty: it has no form */
    INBOX_STAGED = 17,
    INBOX_REJOIN = 18, /* one byte: forced? target: from whom */
};

struct inbox_request {
    enum inbox_kind kind;
    struct kelp_bytes bytes; /* copied */
    uint64_t token;          /* the caller's name for it; 0: it has none */
    kelp_done_fn done;
    void *ctx;
    kelp_ns timeout;          /* CHANGE, AWAIT: from now on */
    kelp_id target;           /* TRANSFER */
    enum kelp_await what;     /* AWAIT */
    uint64_t sequence;        /* AWAIT */
    struct kelp_read_how how; /* READ, BARRIER */
    struct driver_once once;  /* ONCE */
};

struct inbox *inbox_new(struct node *n, uint64_t bytes_max);
/* done is called once, on the loop's thread. */
void inbox_put(struct inbox *i, const struct inbox_request *request);
void inbox_stop(
    struct inbox *i); /* any thread: the node stops, then on_stop was called on the loop */
void inbox_free(struct inbox *i); /* the loop has ended */
/* The caller is in a callback of this node: whoever waits for the node there waits for itself. */
bool inbox_called_back(const struct inbox *i);

#endif
