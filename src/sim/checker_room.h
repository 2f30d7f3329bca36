/* SPDX-License-Identifier: Apache-2.0 */
/* checker_room.h - the checker's own idea of the world; shared by checker.c, promise.c,
 * answer.c. */
#ifndef SIM_CHECKER_ROOM_H
#define SIM_CHECKER_ROOM_H

#include "sim/checker.h"

/* One entry of one log: its term, and the hash of everything up to and including it. */
struct held {
    uint64_t chain, term;
};

/* A log by index from 1 on; what is compacted stays here, so that it can still be compared. */
struct held_log {
    struct held *held; /* [0] is "before the log" */
    size_t room;
    kelp_index last;
};

struct pending_save {
    struct kelp_save save;
    size_t entries_begin; /* in pending_entries, counted from the first one ever */
};

/* The last round of reads that a leader asked a node for, and in which term. */
struct asked {
    uint64_t term, round;
};

struct checked_node {
    struct held_log memory; /* as its core has given it to be saved */
    struct held_log ahead;  /* entries it has beyond that, from ahead_first on; see checker_ahead */
    kelp_index ahead_first; /* 0: none */
    struct kelp_pos reset_to;   /* its log begins there, and no save has said so yet; 0@0: none */
    struct held_log durable;    /* as it was told */
    uint64_t term;              /* durable */
    kelp_id vote;               /* durable */
    kelp_index commit_floor;    /* of the last durable save */
    kelp_index base;            /* compacted up to here, as told to the log's owner */
    kelp_index snapshot;        /* durable snapshot, taken here or fetched */
    struct pending_save *saves; /* given and not reported, oldest first */
    size_t save_count, save_room;
    struct held *entries; /* of the pending saves, in order */
    size_t entry_count, entry_room;
    kelp_id *votes; /* by term: to whom a vote left this node, 0: nobody */
    size_t vote_room;
    /* By slot: the last answer to that node as the leader of its term; it was followed then. */
    uint64_t followed[CHECKER_NODES_MAX];
    struct asked asked[CHECKER_NODES_MAX]; /* by slot of the one asked */
    uint64_t start_count;
    struct kelp_config latest, committed; /* count 0: not told */
    uint64_t members_at;      /* how many answers had been sent when they changed last */
    bool positions;           /* its log holds, or held, entries without their data */
    uint64_t stripped, whole; /* entries that were saved while it knew itself for a witness */
    bool refused; /* since its start it did not vote for somebody of a priority above 0 */
    bool running; /* the view below is of this life of the node */
    struct kelp_view view;
};

struct committed {
    uint64_t chain, term;
    uint64_t by;                   /* the term of the leader that committed it */
    uint64_t applied_chain, state; /* hashes of the machine that stood here first */
    bool applied;
    uint64_t value;
};

struct register_state { /* or a list, whose value is its length */
    uint64_t value;     /* after the last committed command */
    kelp_index first;   /* index of the first one that changed it, 0: none */
    uint32_t absent;    /* its newest absence, counted from 1; 0: none */
};

struct checked_lent { /* lent.c: a register whose value ends by itself */
    uint32_t name;
    uint64_t due; /* cluster clock */
};

struct absence { /* of a register whose value has ended: from..to, to 0: it still is */
    kelp_index from, to;
    uint32_t before; /* the one before of the same register, counted from 1 */
};

struct span { /* at..next: where what was read stood; next 0: it still does */
    kelp_index at, next;
};

/* Every command that anybody asked for or any log held, by its unique value; and every value that a
 * register or list had, by a hash of name and value with the highest bit set (answer.c). */
struct write_record {
    uint64_t value;      /* 0: free slot */
    uint64_t before;     /* a command: its answer; a list's length: the last element */
    kelp_index at, next; /* where it was committed; a value: where the next one was */
    uint64_t due;        /* a value that was lent: when it ends; 0: never */
    bool refused;        /* a client was told it will never happen */
};

struct known_entry { /* every entry ever seen, by index and term: LogMatching */
    uint64_t key;    /* 0: free slot */
    uint64_t chain;  /* 0: not known yet */
    uint64_t checksum, time_ns;
    bool config;
    uint64_t value;
    uint32_t name;
    struct machine_more more;
    struct checker_once once;
    bool session;
};

struct checked_session {
    uint64_t id, acknowledged;
    uint64_t used_ns; /* cluster time at the entry that named it last */
};

struct checker {
    unsigned node_count;
    struct checked_node nodes[CHECKER_NODES_MAX];
    unsigned *leader_of; /* by term: slot + 1, 0: nobody */
    size_t leader_room;
    uint64_t leader_count, leader_highest;
    uint64_t answers;          /* sent so far; each has its number */
    struct committed *commits; /* by index */
    size_t commit_room;
    kelp_index commit_max;
    uint64_t commit_time; /* cluster time there */
    uint64_t client_commits;
    struct known_entry *known;
    size_t known_room, known_count; /* a power of two */
    struct write_record *writes;
    size_t write_room, write_count; /* a power of two */
    struct register_state *registers;
    size_t register_room;
    uint32_t list_names[MACHINE_LISTS]; /* the newest list in each place */
    uint32_t lent_count;
    struct checked_lent lent[MACHINE_LENT_MAX];
    struct absence *absences;
    size_t absence_count, absence_room;
    uint64_t lapsed; /* values that ended by themselves */
    struct checked_session *sessions;
    size_t session_count, session_room;
    enum checker_rule rule;
    char invariant[64], message[512];
};

/* The log as a start would find it: a durable snapshot beyond it, or with another entry at its end,
 * takes its place. What a snapshot holds is committed. */
static inline bool checker_fitted(const struct checker *c, const struct checked_node *n)
{
    if (n->snapshot == 0 || n->snapshot > c->commit_max) return false;
    if (n->snapshot > n->durable.last) return true;
    return n->durable.held[n->snapshot].chain != c->commits[n->snapshot].chain;
}

static inline kelp_index checker_durable_last(const struct checker *c, const struct checked_node *n)
{
    return checker_fitted(c, n) ? n->snapshot : n->durable.last;
}

/* index: at most the last. */
static inline struct held checker_durable(const struct checker *c, const struct checked_node *n,
                                          kelp_index index)
{
    if (!checker_fitted(c, n)) return n->durable.held[index];
    return (struct held){c->commits[index].chain, c->commits[index].term};
}

/* members.c */
bool checker_knows_witness(const struct checker *c, unsigned node); /* itself: to be one */
bool checker_confirmed(const struct checker *c, unsigned leader, uint64_t answers);
void checker_elected(struct checker *c, unsigned node, uint64_t term);
void checker_refuses(struct checker *c, unsigned node, unsigned to); /* its vote */
bool checker_quorum_holds(const struct checker *c, unsigned node, kelp_index index, uint64_t chain);

/* room.c: growing tables; each fails the run as W02 when there is no memory and returns false. */
bool checker_log_reserve(struct checker *c, struct held_log *log, kelp_index last);
bool checker_term_reserve(struct checker *c, uint64_t term);
bool checker_vote_reserve(struct checker *c, struct checked_node *n, uint64_t term);
bool checker_commit_reserve(struct checker *c, kelp_index index);
bool checker_register_reserve(struct checker *c, uint32_t name);
bool checker_pending_reserve(struct checker *c, struct checked_node *n, size_t entries);
struct known_entry *checker_known(struct checker *c, kelp_index index, uint64_t term); /* or NULL */
struct known_entry *checker_know(struct checker *c, kelp_index index, uint64_t term);
struct write_record *checker_write(struct checker *c, uint64_t value); /* made if needed */

/* A node's log as its core has it: what was given, and what is ahead of that. */
static inline kelp_index node_last(const struct checked_node *n)
{
    return n->ahead_first != 0 ? n->ahead.last : n->memory.last;
}

static inline struct held node_held(const struct checked_node *n, kelp_index index)
{
    bool ahead = n->ahead_first != 0 && index >= n->ahead_first;
    return ahead ? n->ahead.held[index] : n->memory.held[index];
}

/* promise.c */
void checker_log_truncate(struct held_log *log, kelp_index last);

/* exactly.c: a session begins; does a command take effect that was executed before at that index,
 * 0: never; and may it be refused for that? */
void checker_session_committed(struct checker *c, kelp_index index);
bool checker_once_executes(struct checker *c, const struct checker_once *once, kelp_index before);
void checker_once_refused(struct checker *c, const struct checker_once *once, uint64_t value,
                          enum kelp_reason reason);

/* answer.c: a client's command was committed; from where to where a name had a value. */
struct write_record *checker_version(struct checker *c, uint32_t name, uint64_t value);
void checker_write_committed(struct checker *c, kelp_index index, const struct known_entry *entry);

/* lent.c: an entry is committed, what is due at commit_time ends in front of it; a register is
 * written by it, for good or for so long; where 0 stood there for who must have seen up to seen. */
void checker_time_passes(struct checker *c, kelp_index index);
void checker_lent_ends(struct checker *c, uint32_t name, kelp_index index);
void checker_lend(struct checker *c, uint32_t name, uint32_t lasts_ms);
struct span checker_absence(const struct checker *c, uint32_t name, kelp_index seen);

#endif
