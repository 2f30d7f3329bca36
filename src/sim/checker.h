/* SPDX-License-Identifier: Apache-2.0 */
/* checker.h - what must be true of a cluster, judged from outside its nodes after every event.
 *
 * The checker keeps its own idea of the world: who led which term, what is committed at every
 * index, what each node has in its log and what of that it was told is durable, every vote it saw
 * leave. It is fed with plain values (what a node saves, sends, reports, answers) and knows no
 * driver, disk or clock, so that its own tests can feed it lies. Logs are compared by chain hash:
 * equal at one index means equal up to there, so every check is O(1) per entry.
 *
 * The first violation stays; failed, id, name and message say what it was. */
#ifndef SIM_CHECKER_H
#define SIM_CHECKER_H

#include "kelp/core.h"
#include "kelp/session.h"
#include "kelp/sim.h"
#include "sim/machine.h"

#define CHECKER_NODES_MAX KELP_SIM_NODES_MAX

enum checker_rule {
    RULE_NONE = 0,
#define CHECKER_RULES(X)                                                                           \
    X(I01, ElectionSafety)                                                                         \
    X(I02, OneVote)                                                                                \
    X(I03, VoteDurable)                                                                            \
    X(I04, TermMonotonic)                                                                          \
    X(I05, TermBeforeLog)                                                                          \
    X(I06, LeaderAppendOnly)                                                                       \
    X(I07, LogMatching)                                                                            \
    X(I08, LeaderCompleteness)                                                                     \
    X(I09, StateMachineSafety)                                                                     \
    X(I10, CommitMonotonic)                                                                        \
    X(I11, Order)                                                                                  \
    X(I12, CommitRule)                                                                             \
    X(I13, FollowerCommit)                                                                         \
    X(I14, AckDurable)                                                                             \
    X(I15, AckKept)                                                                                \
    X(I16, NoTruncCommitted)                                                                       \
    X(I17, MatchSound)                                                                             \
    X(I22, ReadFresh)                                                                              \
    X(I23, StaleBounded)                                                                           \
    X(I24, NoDirtyRead)                                                                            \
    X(I25, OKHonest)                                                                               \
    X(I28, StateDeterminism)                                                                       \
    X(I31, RecoveryHonest)                                                                         \
    X(I32, RotNotTorn)                                                                             \
    X(I33, Identity)                                                                               \
    X(I35, TransferSafe)                                                                           \
    X(I37, Bounded)                                                                                \
    X(I38, NoSpin)                                                                                 \
    X(L01, LeaderAfterHeal)                                                                        \
    X(L02, WriteAfterHeal)                                                                         \
    X(L03, EqualAfterHeal)                                                                         \
    X(L04, EveryRequestAnswered)                                                                   \
    X(L05, NoChurnAfterHeal)                                                                       \
    X(L07, TransferEnds)                                                                           \
    X(L09, LogKeptSmall)                                                                           \
    X(L10, UnliveOnlyWithCause)                                                                    \
    X(L11, NoStarvation)                                                                           \
    X(L12, ChangesSettle)                                                                          \
    X(L13, HeirInTime)                                                                             \
    X(L14, PreferredLeads)                                                                         \
    X(L15, DivergenceFound)                                                                        \
    X(L16, Rejoins)                                                                                \
    X(L17, DueIsGone)                                                                              \
    X(M01, QuorumsMeet)                                                                            \
    X(M02, ChangeHonest)                                                                           \
    X(M03, WitnessKeepsLittle)                                                                     \
    X(M04, EpochsApart)                                                                            \
    X(M05, RenewalKept)                                                                            \
    X(N01, NodeCheck)                                                                              \
    X(N02, NoFaultWithoutCause)                                                                    \
    X(N03, FramesWellFormed)                                                                       \
    X(N04, DamageRefused)                                                                          \
    X(N05, StopNamesThePlace)                                                                      \
    X(N06, ElectedByQuorum)                                                                        \
    X(N07, ReadConfirmed)                                                                          \
    X(N08, AppliedDurable)                                                                         \
    X(N09, LeadershipTold)                                                                         \
    X(N10, LeaseSafe)                                                                              \
    X(N11, NeverLeads)                                                                             \
    X(N12, LapsedUnread)                                                                           \
    X(S01, LineOrder)                                                                              \
    X(S02, Linearizable)                                                                           \
    X(S03, OneFounding)                                                                            \
    X(S04, TokenSeen)                                                                              \
    X(S05, ExactlyOnce)                                                                            \
    X(W01, Workload)                                                                               \
    X(W02, Memory)                                                                                 \
    X(W03, Model)
#define X(id, name) RULE_##id,
    CHECKER_RULES(X)
#undef X
};

struct checker;

/* What the checker wants to know of one log entry. */
struct checker_once { /* of a command that is executed once, whatever the log holds */
    bool is;
    struct kelp_once fields;
};

struct checker_entry {
    uint64_t term, checksum, time_ns;
    bool position;  /* all that a witness keeps: the checksum is of no entry */
    bool config;    /* which a witness keeps whole */
    uint64_t value; /* of a client's command: unique; 0: something else */
    uint32_t name;  /* the register, or one of them, or the list */
    struct machine_more more;
    struct checker_once once;
    bool session; /* one begins */
};

struct checker_sent {
    uint8_t type, flags;
    unsigned to;        /* slot */
    uint64_t term;      /* of the message */
    uint64_t round;     /* of reads: asked by a leader, repeated by an answer */
    uint64_t vote_term; /* VOTE, VOTE_ANSWER */
    kelp_index match;   /* ANSWER; TIMEOUT_NOW: the required index */
};

struct checker_recovered {
    uint64_t term;
    kelp_id vote;
    struct kelp_pos base;
    kelp_index last, commit, everyone, snapshot;
    uint64_t start_count;                /* raised by this start */
    const struct checker_entry *entries; /* base.index+1..last */
    bool rotten; /* its disk was harmed: it must not have started with less */
};

struct checker *checker_new(unsigned nodes); /* NULL: out of memory */
void checker_free(struct checker *c);

/* checker_fail - record a violation, unless there is one already. */
void checker_fail(struct checker *c, enum checker_rule rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool checker_failed(const struct checker *c);
/* "I09 StateMachineSafety", and what was seen. */
const char *checker_invariant(const struct checker *c);
const char *checker_message(const struct checker *c);

/* ---- what nodes do; node is a slot, its id is slot + 1 ---- */

/* A leader serves a read by its lease, with its commit index: nobody may lead a later term by then,
 * and nothing else be committed. */
void checker_leased(struct checker *c, unsigned node, uint64_t term, kelp_index index);
void checker_leads(struct checker *c, unsigned node, uint64_t term);
void checker_own_vote(struct checker *c, unsigned node, uint64_t term);
void checker_sends(struct checker *c, unsigned node, const struct checker_sent *sent);
/* A save was given to the log's owner; entries of save->first..save->last. */
void checker_saves(struct checker *c, unsigned node, const struct kelp_save *save,
                   const struct checker_entry *entries);
/* A snapshot took the log's place, and the save that says so comes later; pos.index 0: none. */
void checker_resets(struct checker *c, unsigned node, struct kelp_pos pos);
/* Saves up to number are about to be reported durable. */
void checker_saved(struct checker *c, unsigned node, uint64_t number);
/* A snapshot without state took the place of its log. */
void checker_hollow(struct checker *c, unsigned node);
void checker_snapshot(struct checker *c, unsigned node, struct kelp_pos pos,
                      bool fetched); /* durable */
void checker_crashed(struct checker *c, unsigned node);
void checker_recovers(struct checker *c, unsigned node, const struct checker_recovered *found);
/* Where the log of a node ends as far as the checker was told. */
struct kelp_pos checker_log_end(const struct checker *c, unsigned node);
/* The term of a saved entry, 0: none there. */
uint64_t checker_saved_term(const struct checker *c, unsigned node, kelp_index index);
/* The core has entries from first on that it did not give to be saved yet (many saves are open);
 * they replace what stood there. count 0: it has none. */
void checker_ahead(struct checker *c, unsigned node, kelp_index first,
                   const struct checker_entry *entries, size_t count);
/* The configurations of a node after an event, before its state. */
void checker_members(struct checker *c, unsigned node, const struct kelp_config *latest,
                     const struct kelp_config *committed);
/* The state of a node after an event. */
void checker_views(struct checker *c, unsigned node, const struct kelp_view *view);
/* A node whose state machine keeps its own data applied entries up to index: a crash must not leave
 * it ahead of its log. */
void checker_keeps(struct checker *c, unsigned node, kelp_index index);
/* Has it entries without their data? */
bool checker_witness(const struct checker *c, unsigned node);
/* A node stands at index with these hashes. */
void checker_applied(struct checker *c, unsigned node, kelp_index index, uint64_t chain,
                     uint64_t state);

/* ---- what the cluster has ---- */

kelp_index checker_commit(const struct checker *c);
uint64_t checker_commits_by_clients(const struct checker *c);        /* committed register writes */
bool checker_led(const struct checker *c, unsigned node);            /* some term */
uint64_t checker_leaders(const struct checker *c);                   /* terms that had a leader */
uint64_t checker_highest_term(const struct checker *c);              /* that had a leader */
uint64_t checker_known_term(const struct checker *c, unsigned node); /* at most this one */
uint64_t checker_answers(const struct checker *c); /* to appends and heartbeats, sent so far */
uint64_t checker_lapsed(const struct checker *c);  /* values that ended by themselves */

/* ---- clients of the built-in machine: unique values ---- */

struct checker_request {
    uint32_t name;
    struct machine_more more;
    uint64_t value; /* of a command */
    bool read;
    kelp_index commit_at_call; /* checker_commit() then */
    uint64_t answers_at_call;  /* checker_answers() then */
    bool unled;                /* a read that was served without a leader, on purpose */
    kelp_index *floor;         /* of the line: what its earlier requests saw; moved on */
    bool stale;                /* a read that may miss what is newer than the next, and moves .. */
    kelp_index must_see;       /* .. what was committed so long ago that it is to be seen */
    kelp_index *stale_floor;   /* .. this instead: what earlier ones of its kind saw */
    kelp_index at_least;       /* a read that names an index sees all up to it; 0: none */
    uint64_t cluster_clock;    /* a read sees nothing that was due by then; 0: that is not known */
    struct checker_once once;  /* a command's; a definite error speaks of this attempt only */
    enum kelp_reason reason;   /* .. and this is why */
};

/* checker_never - a command of which every attempt was refused, and that nobody asks for again. */
void checker_never(struct checker *c, uint64_t value);

void checker_answered(struct checker *c, const struct checker_request *q, enum kelp_outcome outcome,
                      struct kelp_pos pos, struct kelp_bytes result);

#endif
