/* SPDX-License-Identifier: Apache-2.0 */
/* found.h - how a cluster is born, as a machine without I/O: messages, ticks and completions in,
 * things to do out.
 *
 * A node without entry 1 runs it until it holds one; afterwards it answers for the cluster it
 * belongs to: hands entry 1 to members that are still empty, and tells wiped and foreign
 * directories that the cluster exists. */
#ifndef DRIVER_FOUND_H
#define DRIVER_FOUND_H

#include "base/prng.h"
#include "driver/driver.h"
#include "wire/found.h"

enum found_phase {
    FOUND_WAIT = 0,    /* another node founds, or nobody: waits for entry 1 */
    FOUND_SHOW,        /* founder: asks everybody until all are empty in one round */
    FOUND_PLEDGE_SELF, /* founder: its own identity is being written */
    FOUND_PLEDGE,      /* founder: has the others pledge */
    FOUND_SAVE,        /* entry 1 is being saved here */
    FOUND_FETCH,       /* a snapshot is being fetched in its place */
    FOUND_HOLDS,       /* holds entry 1 or a snapshot */
    FOUND_FOREIGN,     /* the cluster exists without this directory: final */
};

/* What the founder, or a waiting node, knows of another listed node. */
struct found_peer {
    kelp_id id;
    uint64_t round;       /* the last round it answered, 0: none */
    uint64_t incarnation; /* as pledged */
    bool shown;           /* empty, and lists the same nodes, in this round */
    bool pledged, started;
    char words[96]; /* why it is waited for; "" : no answer yet */
};

enum found_kind {
    FOUND_NOTHING = 0,
    FOUND_DO_SEND,
    FOUND_DO_PLEDGE,
    FOUND_DO_NAME,
    FOUND_DO_SAVE,
    FOUND_DO_FETCH,
};

struct found_todo {
    enum found_kind kind;
    struct wire_found message;      /* SEND */
    struct kelp_cluster_id cluster; /* PLEDGE, NAME: into the identity, then found_pledged */
    uint64_t epoch;                 /* likewise */
    kelp_id node;             /* NAME: the id that this node was given, likewise; FETCH: of whom */
    struct kelp_pos snapshot; /* FETCH: then found_fetched or found_not_fetched */
    struct kelp_bytes entry;  /* SAVE: term 1 and entry 1, then found_saved */
};

#define FOUND_TODO_MAX   64u
#define FOUND_KNOCKS_MAX 16u /* nodes at which one that joins knocks at once */

struct found_setup {
    kelp_id self; /* from KELP_ID_WAITING on: it waits to be given an id */
    uint64_t incarnation, seed;
    struct kelp_cluster_id cluster;     /* from the identity; zero: not pledged */
    uint64_t epoch;                     /* of that cluster: wire/epoch.h */
    const struct driver_member *listed; /* borrowed for the machine's life */
    size_t listed_count;                /* 0: waits to be added */
    uint64_t election_min_ns, created_unix_ms;
    uint32_t drift_ppm;
    uint64_t (*random)(void *ctx); /* for the cluster id */
    void *random_ctx;
    const struct wire_config *config; /* what this node holds, or NULL; copied */
    struct kelp_bytes entry1;         /* copied; may be empty */
};

struct found {
    struct found_setup setup;
    enum found_phase phase;
    struct prng prng;
    uint64_t round; /* starts anywhere, so that an answer to a former life does not count */
    kelp_ns next, interval;
    struct found_peer peers[KELP_MEMBERS_MAX]; /* by slot of the list */
    struct kelp_cluster_id pledging; /* being written into the identity; zero: nothing is */
    uint64_t pledging_epoch;         /* likewise */
    kelp_id naming;                  /* likewise: the id that this node was given; 0: none */
    kelp_id pledge_to;               /* who asked for it, 0: ourselves */
    uint64_t pledge_round;
    kelp_id entry_from;        /* who handed entry 1 over, 0: we founded */
    bool founded;              /* by this node, in this life */
    bool founds_alone;         /* it was told to, while it ran */
    struct wire_config config; /* count 0: none */
    /* knock.c */
    kelp_id knocks[FOUND_KNOCKS_MAX]; /* whom we have a connection to while we hold nothing */
    size_t knock_count;
    kelp_id host; /* who answered last that it holds a cluster, 0: nobody */
    struct kelp_cluster_id host_cluster;
    struct driver_member leader;  /* whom the host, or this node, takes for the leader */
    struct wire_config committed; /* the newest known to be, where this node holds one */
    uint8_t *entry1;
    size_t entry1_len;
    char words[320]; /* FOREIGN: why */
    struct wire_found out
        /* messages to send, oldest first; a full ring drops: it is a lost message */
        [FOUND_TODO_MAX];
    struct wire_found dropped; /* what found no room in out: written to and never read */
    size_t out_first, out_count;
    bool pledge_due, name_due, save_due, fetch_due;
    struct kelp_pos snapshot; /* that this node has, or (FETCH) fetches; 0@0: none */
};

/* found_check_list - ids not 0 and none twice, addresses good and none twice, self among them,
 * at most 32. */
enum kelp_error found_check_list(const struct driver_member *listed, size_t count, kelp_id self,
                                 struct kelp_fault *fault);

/* found_init - false: out of memory. */
bool found_init(struct found *f, const struct found_setup *setup, kelp_ns now);
void found_free(struct found *f);

void found_message(struct found *f, kelp_ns now, const struct wire_found *m);
/* given.c: a message that gives it entry 1, or offers a snapshot in its place */
void found_entry_given(struct found *f, const struct wire_found *m);
void found_snapshot_offered(struct found *f, const struct wire_found *m);
/* found_connected - a peer's lane is up; its hello says whether it is empty and which
 * incarnation it shows. */
void found_connected(struct found *f, kelp_ns now, kelp_id peer, bool empty, uint64_t incarnation);
/* found_hand_on - entry 1, or a snapshot in its place, goes to an empty peer, if it is a member
 * under this incarnation. */
bool found_hand_on(struct found *f, kelp_id peer, uint64_t incarnation);
void found_pledged(struct found *f, kelp_ns now); /* the cluster id is durable in the identity */
void found_saved(struct found *f, kelp_ns now);   /* entry 1 is durable: Raft may start */
/* found_fetched, found_not_fetched - the snapshot is durable and Raft starts from it; or not. */
void found_fetched(struct found *f, const struct wire_config *config);
void found_not_fetched(struct found *f);
/* found_snapshot - this node has one, for members whose log begins there. */
void found_snapshot(struct found *f, struct kelp_pos pos);
/* found_refused - a handshake said that the cluster exists without this directory. words may be
 * "". */
void found_refused(struct found *f, uint64_t since_unix_ms, kelp_id next_id, const char *words);
/* found_disconnected - the last lane to a peer is down. */
void found_disconnected(struct found *f, kelp_id peer);
/* found_alone_refused - why this node may not found a cluster of itself; NULL: it may. A founding
 * alone that was cut short between its pledge and entry 1 may be gone on with.
 * found_alone - a node that waits, listed by nobody and with nothing behind it, does so; one that
 * waits for an id becomes node 1. NULL: it goes on; else the same words. */
const char *found_alone_refused(const struct found *f);
const char *found_alone(struct found *f, kelp_ns now, const struct driver_member *self);

/* found_committed - a configuration was committed: whoever knocks is judged by it alone.
 * found_leads - who leads, for whoever knocks. */
void found_committed(struct found *f, const struct wire_config *config);
void found_leads(struct found *f, kelp_id leader, const struct wire_address *address);

/* found_adopt - the configuration changed; NULL leaves it. */
void found_adopt(struct found *f, const struct wire_config *config);

/* found_tick - do what is due; returns when to call again, KELP_NEVER if nothing is. */
kelp_ns found_tick(struct found *f, kelp_ns now);
/* found_next - the next thing to do; *out is valid until the next call on f. */
bool found_next(struct found *f, struct found_todo *out);

/* found_quorum_started - this node founded, and enough others hold entry 1 to elect a leader. */
bool found_quorum_started(const struct found *f);
/* found_words - whom an unfounded node waits for and why, or why it is foreign. */
void found_words(const struct found *f, char *out, size_t size);

/* ---- between found.c and knock.c ---- */

/* found_cut - what it is pledged to it began to found alone, and holds nothing of it: nobody else
 * ever heard of that cluster. */
bool found_cut(const struct found *f);
bool found_alone_made(struct kelp_cluster_id cluster, uint64_t incarnation);
struct wire_found *found_say(struct found *f, enum wire_found_type type, kelp_id to,
                             uint64_t round);
bool knock_heard(struct found *f, const struct wire_found *m); /* false: it is not one */
void knock_answered(struct found *f, const struct wire_found *m);
void knock_round(struct found *f);
void knock_words(const struct found *f, char *out, size_t size);

static inline bool id_waits(kelp_id id)
{
    return id >= KELP_ID_WAITING;
}

static inline bool cluster_zero(struct kelp_cluster_id id)
{
    return id.hi == 0 && id.lo == 0;
}

static inline bool cluster_equal(struct kelp_cluster_id a, struct kelp_cluster_id b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

#endif
