/* SPDX-License-Identifier: Apache-2.0 */
/* exhaust.h - what the files of the exhaustive explorer share: worlds made of cells and packets.
 *
 *   world = a cell for each node + the packets on their way + what the rules remember + budgets
 *   cell  = one node: its core in normal form, its disk, the saves the disk still works on
 *   move  = what one cell does at one action: the cell it becomes and the packets it sends
 *
 * Cells, packets and moves are kept once each and numbered, so a world is a few dozen bytes, and
 * the real core runs once for every move; all interleavings of moves are arithmetic on numbers.
 * Everything is compared whole: no two worlds are taken for one because their hashes agree.
 *
 * exhaust.c explores, exhaust_cell.c plays a node, exhaust_packet.c turns messages into packets,
 * exhaust_rules.c judges worlds, exhaust_tell.c says a path in words, hoard.c keeps. */
#ifndef SIM_EXHAUST_H
#define SIM_EXHAUST_H

#include "kelp/core.h"
#include "kelp/sim.h"
#include "sim/hoard.h"

#define NODES_MAX   KELP_SIM_SCOPE_NODES_MAX
#define TERMS_MAX   KELP_SIM_SCOPE_TERMS_MAX
#define PACKETS_MAX KELP_SIM_SCOPE_MESSAGES_MAX
#define LOG_MAX     (KELP_SIM_SCOPE_ENTRIES_MAX + TERMS_MAX)
#define SAVES_MAX   4u  /* saves that a disk works on at once */
#define SENT_MAX    24u /* packets that one move sends */
#define ENTRY_BYTES 64u /* of every entry; the core's empty ones have as many */

/* ---- packets: messages as plain bytes, entries as their terms ---------------------------- */

struct packet {
    uint8_t type, flags, from, to;
    uint8_t term, id, attempt;
    uint8_t vote_term;
    uint8_t at_index, at_term; /* VOTE: the log's end; APPEND: prev; ANSWER: hint */
    uint8_t refused_index, refused_term;
    uint8_t last, commit, match;
    uint8_t terms[LOG_MAX + 1]; /* APPEND: of the entries carried, from slot 0 on */
};

struct log_terms { /* terms[i]: of entry i; slot 0 and slots above last are 0 */
    uint8_t last;
    uint8_t terms[LOG_MAX + 1];
};

struct packet packet_of(const struct kelp_message *m, const struct log_terms *log);
/* The message again; entries has room for LOG_MAX and is borrowed by the message. */
struct kelp_message packet_message(const struct packet *p, struct kelp_entry_info *entries);

/* ---- actions ------------------------------------------------------------------------------ */

enum act {
    ACT_START = 0,
    ACT_DELIVER = 1, /* argument: packet */
    ACT_REPEAT = 2,  /* the same, and it stays in the network */
    ACT_DROP = 3,    /* the packet is lost; concerns no cell */
    ACT_TIMEOUT = 4, /* a follower or candidate stands; a leader calls its windows lost */
    ACT_BEAT = 5,    /* the short timer: heartbeats and probes again, votes asked for again */
    ACT_LAPSE = 6,   /* the leader was heard long ago, but the node does not stand yet */
    ACT_PROPOSE = 7,
    ACT_SAVED = 8, /* argument: how many saves are done and reported */
    ACT_CRASH = 9, /* argument: how many parts of open saves reached the disk; then it restarts */
};

struct action {
    enum act act;
    uint32_t node; /* from 0 */
    uint32_t argument;
};

static inline uint32_t action_pack(struct action a)
{
    return (uint32_t)a.act << 28 | a.node << 24 | a.argument;
}

static inline struct action action_unpack(uint32_t v)
{
    return (struct action){
        .act = (enum act)(v >> 28), .node = v >> 24 & 15u, .argument = v & 0xffffffu};
}

/* ---- cells and moves ---------------------------------------------------------------------- */

struct open_write { /* a save the disk has not finished */
    uint8_t flags, term, vote, end, first, last, commit;
    uint8_t terms[LOG_MAX + 1]; /* of entries first..last, by index */
};

struct disk {
    uint8_t term, vote, commit;
    struct log_terms log;
    uint8_t open_count;
    struct open_write open[SAVES_MAX];
};

struct cell {
    /* the key */
    uint64_t image_hash;
    uint32_t image_bytes;
    uint8_t node;
    uint8_t acked_term, acked_match; /* the last acknowledgement that left */
    struct disk disk;
    /* what follows from it */
    uint8_t role, term, commit;
    bool contact; /* a leader was heard lately, and that matters */
    struct log_terms log;
    const uint8_t *image; /* where the core differs from its node's first image */
};

enum move_flag {
    MOVE_LED = 1,      /* became leader */
    MOVE_COMMIT = 2,   /* commit_from + 1..the new cell's commit is newly known committed */
    MOVE_CUT = 4,      /* entries above cut_to went out of its log, or out of its disk */
    MOVE_GREW = 8,     /* its log has other entries than before */
    MOVE_OUTSIDE = 16, /* leaves the scope: a term, an entry or an open save too many */
    MOVE_BROKEN = 32,  /* a rule was broken inside: verdict says which */
};

struct move {
    uint32_t cell, action; /* the key */
    uint32_t next;
    uint8_t flags, sent_count, commit_from, cut_to;
    uint32_t sent[SENT_MAX];
};

struct verdict { /* of the rules: the first that broke */
    unsigned rule;
    char words[256];
};

struct cells;

/* cells_open - NULL: no memory. scope is borrowed until cells_close. */
struct cells *cells_open(const struct kelp_sim_scope *scope);
void cells_close(struct cells *s);
uint32_t cells_first(struct cells *s, uint32_t node); /* the cell a node begins with */
const struct cell *cells_at(const struct cells *s, uint32_t cell);
const struct packet *cells_packet(const struct cells *s, uint32_t packet);
uint32_t cells_parts(const struct cell *cell); /* of its open saves, that a crash may cut between */

/* cells_move - what a cell does at an action; the node and the act of it count, and its argument.
 * NULL: no memory. */
const struct move *cells_move(struct cells *s, uint32_t cell, struct action action);
const struct verdict *cells_verdict(const struct cells *s); /* of the last broken move */
uint64_t cells_bytes(const struct cells *s);
uint32_t cells_count(const struct cells *s);
uint32_t cells_moves(const struct cells *s);
void cells_describe(struct cells *s, uint32_t cell, char *out, size_t size);

/* ---- worlds ------------------------------------------------------------------------------- */

struct world_state {
    uint32_t cells[NODES_MAX];
    uint32_t packets[PACKETS_MAX]; /* ascending, then 0 */
    uint8_t led[TERMS_MAX + 1];    /* who became leader of a term, 0: nobody yet */
    /* at an index: the term of the entry that was committed, and above it, by COMMITTED_IN, the
     * term of the leader it was first committed by; 0: none yet */
    uint8_t committed[LOG_MAX + 1];
    uint8_t drops, crashes, beats, repeats; /* left */
};

#define COMMITTED_IN 4u /* bits */

static inline uint8_t committed_term(const struct world_state *w, uint8_t index)
{
    return w->committed[index] & ((1u << COMMITTED_IN) - 1u);
}

/* rules_judge - does the move from one world to the next keep every rule? Writes what the rules
 * remember into next. false: verdict says which rule broke. */
bool rules_judge(const struct cells *s, const struct kelp_sim_scope *scope, struct action action,
                 const struct move *move, const struct world_state *was, struct world_state *next,
                 struct verdict *verdict);
bool rules_apply(const struct kelp_sim_scope *scope, unsigned rule);
const char *rules_name(unsigned rule);

/* tell_action - "deliver 1 -> 2 vote? t1 for t1 last 0@0". */
void tell_action(const struct cells *s, struct action action, char *out, size_t size);

#endif
