/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h - the simulator: a whole cluster in one thread, under faults, from one seed.
 *
 * Real drivers, cores, stores, handshakes and state machines run on a virtual clock, network and
 * disk. A seed decides everything: the shape of the cluster, its limits and timers, which faults
 * happen and when, and what the clients ask. The same seed gives the same events and the same hash
 * on every machine, under every compiler. A run hurts the cluster for a while, then heals a core of
 * it, a quorum or more, and demands a leader, a write, and one equal state there within stated
 * times. The invariants are checked after every event, from outside the nodes; each has an id
 * (I01 ...) and a name.
 *
 * To simulate your own state machine, give kelp_sim_options.machine; to ask it your own questions,
 * kelp_sim_options.workload; to say what it should answer, kelp_sim_options.model. Without them the
 * built-in machine is used: registers, compare-and-set, counters, lists, several registers at once
 * and registers with deadlines, whose histories are judged (history.h). docs/simulating.md is the
 * tutorial, examples/sim_counter.c the example. */
#ifndef KELP_SIM_H
#define KELP_SIM_H

#include "kelp/core.h"
#include "kelp/event.h"
#include "kelp/fsm.h"
#include "kelp/history.h"
#include "kelp/transport.h"
#include "kelp/types.h"

#define KELP_SIM_NODES_MAX  7u
#define KELP_SIM_MARKS_MAX  256u
#define KELP_SIM_LINE_MAX   256u
#define KELP_SIM_FAULTS_MAX 64u
#define KELP_SIM_KILLS_MAX  1000u

/* Rules that a run may break on purpose. Each must be caught within a few seeds: this is how the
 * checkers themselves are tested. */
enum kelp_sim_break {
    KELP_SIM_BREAK_NOTHING = 0,
    KELP_SIM_BREAK_VOTE_SYNC = 1,     /* the vote file says it is synced and is not */
    KELP_SIM_BREAK_LOG_SYNC = 2,      /* log files say they are synced and are not */
    KELP_SIM_BREAK_EARLY_SAVED = 3,   /* saves are reported before they are performed */
    KELP_SIM_BREAK_STALE_READ = 4,    /* reads are answered from the node's own state at once */
    KELP_SIM_BREAK_FALSE_DONE = 5,    /* a client is told OK when the outcome is unknown */
    KELP_SIM_BREAK_FALSE_REFUSED = 6, /* a client is told "refused" when the outcome is unknown */
    KELP_SIM_BREAK_APPLY = 7,         /* one node's state machine differs */
    KELP_SIM_BREAK_FRAME = 8,         /* flipped bits are delivered as if the checksum were good */
    KELP_SIM_BREAK_ROT = 9,           /* a log that rotted is cut there and used */
    KELP_SIM_BREAK_HEAL = 10,         /* the faults of the network outlast healing */
    KELP_SIM_BREAK_MUTE = 11,         /* after 20 s nothing is ever replicated */
    KELP_SIM_BREAK_CHURN = 12,        /* after healing a node stands still now and then */
    KELP_SIM_BREAK_BLIND_READ = 13,   /* as STALE_READ, but only histories are looked at */
    KELP_SIM_BREAK_DRIFT = 14,        /* clocks drift further apart than leases allow for */
};
#define KELP_SIM_BREAK_COUNT 15u

/* One state machine for one node. make is called at each start of a node; the machine is closed
 * through ops->close when the node stops or crashes. */
struct kelp_sim_machine {
    size_t size; /* sizeof(struct kelp_sim_machine) */
    void *ctx;
    const struct kelp_fsm_ops *ops;
    void *(*make)(void *ctx, kelp_id node); /* NULL: out of memory */
};

#define KELP_SIM_REQUEST_MAX 4096u

/* What clients ask. Every choice must come from random, which is drawn from the seed. */
struct kelp_sim_workload {
    size_t size; /* sizeof(struct kelp_sim_workload) */
    void *ctx;
    /* The next request of a client: writes at most KELP_SIM_REQUEST_MAX bytes to out and returns
     * how many (at least one); *read true: a question, else a command. token names it later. */
    size_t (*next)(void *ctx, uint32_t client, uint64_t token, uint64_t random, bool *read,
                   uint8_t *out);
    /* The outcome of a request; never called for one that was open when its node crashed. NULL:
     * nobody wants to know. */
    void (*outcome)(void *ctx, uint32_t client, uint64_t token, enum kelp_outcome outcome,
                    enum kelp_reason reason, struct kelp_pos pos, struct kelp_bytes result);
    /* After healing, once per node that has applied all that is committed, with its machine: NULL
     * if all is well, else what is wrong. NULL: the other checks are enough. */
    const char *(*judge)(void *ctx, kelp_id node, void *machine);
    /* Before every run: forget the one before, so that the same seed asks the same. NULL: nothing
     * is kept between runs. */
    void (*begin)(void *ctx);
};

/* What the built-in clients ask for, if not what the seed says. */
enum kelp_sim_mix {
    KELP_SIM_MIX_SEED = 0,
    KELP_SIM_MIX_REGISTERS = 1, /* reads and writes */
    KELP_SIM_MIX_SWAPS = 2,     /* compare-and-set too */
    KELP_SIM_MIX_COUNTERS = 3,
    KELP_SIM_MIX_LISTS = 4,
    KELP_SIM_MIX_SEVERAL = 5, /* several registers at once */
    KELP_SIM_MIX_LENT = 6, /* registers written for a while, which then are empty by themselves */
};
#define KELP_SIM_MIX_COUNT 7u

/* ---- the trace: what happens in a run, as records; text, JSON and pictures are readers ------- */

/* name, one clause for people. What the nodes do: */
#define KELP_SIM_KINDS(X)                                                                          \
    X(BEGAN, "began", "the shape of the world")                                                    \
    X(STARTS, "starts", "a node is started")                                                       \
    X(WOKE, "woke", "a node was due")                                                              \
    X(DISK, "disk", "a disk job ended")                                                            \
    X(APPLIED, "applied", "a batch was applied")                                                   \
    X(DIALS, "dials", "a node dials another")                                                      \
    X(UNANSWERED, "unanswered", "nobody answered the dial")                                        \
    X(CLOSED, "closed", "a node learns that a connection is gone")                                 \
    X(CLIENT, "client", "a client has its turn")                                                   \
    X(SENT, "sent", "a frame leaves, and will arrive")                                             \
    X(LOST, "lost", "a frame leaves, and never arrives")                                           \
    X(RECEIVED, "received", "a frame arrives")                                                     \
    X(DROPPED, "dropped", "a frame arrives where nobody is")                                       \
    X(EVENT, "event", "a node's core did something worth a name")                                  \
    X(NOTE, "note", "a line that a node would log")                                                \
    X(ASKED, "asked", "a client asks")                                                             \
    X(ANSWERED, "answered", "a client is answered")                                                \
    X(UP, "up", "a node runs")                                                                     \
    X(DOWN, "down", "a node runs no more; it will be started again")                               \
    X(PAUSED, "paused", "a process stands still")                                                  \
    X(RESUMED, "resumed", "it goes on")                                                            \
    X(FAULTED, "faulted", "a node gave up")                                                        \
    X(GONE, "gone", "a node will never run again")                                                 \
    X(STALLED, "stalled", "a disk takes long for its next job")                                    \
    X(FAULT, "fault", "a fault is made")                                                           \
    X(LINKS, "links", "which links are cut has changed")                                           \
    X(STORM, "storm", "many frames are lost and late")                                             \
    X(CALM, "calm", "the storm is over")                                                           \
    X(HEALED, "healed", "no more faults; the cluster must recover")                                \
    X(STOPPED, "stopped", "the run was stopped here")                                              \
    X(PASSED, "passed", "everything demanded was there")                                           \
    X(FAILED, "failed", "an invariant is broken")

enum kelp_sim_kind {
#define KELP_SIM_KIND_ENUM(kind, name, words) KELP_SIM_##kind,
    KELP_SIM_KINDS(KELP_SIM_KIND_ENUM)
#undef KELP_SIM_KIND_ENUM
        KELP_SIM_KIND_COUNT
};

enum kelp_sim_life {
    KELP_SIM_LIFE_DOWN = 0,
    KELP_SIM_LIFE_UP = 1,
    KELP_SIM_LIFE_FAULTED = 2, /* runs and refuses to go on */
    KELP_SIM_LIFE_GONE = 3,
    KELP_SIM_LIFE_PAUSED = 4,
};

/* A node when a record was made. */
struct kelp_sim_state {
    enum kelp_sim_life life;
    bool raft; /* it runs and belongs to a cluster: what follows is known */
    enum kelp_role role;
    kelp_term term;
    kelp_id vote, leader; /* 0: none */
    kelp_index first, commit, applied, durable;
    struct kelp_pos last;
};

struct kelp_sim_event {
    uint64_t number; /* of the event; what follows from one event has its number */
    uint64_t record; /* 1, 2, ...: the order of the records */
    kelp_ns at;      /* in the world */
    enum kelp_sim_kind kind;
    kelp_id node;                /* 0: the world */
    struct kelp_sim_state state; /* of node */
    uint32_t nodes;              /* how many there are */
    const char *words;           /* what happened, as a clause; never NULL */
    /* SENT LOST RECEIVED DROPPED; frame 0: no frame */
    uint64_t frame; /* its name; copies of one share it */
    kelp_id from, to;
    enum kelp_lane lane;
    uint32_t bytes;
    kelp_ns sent_at, arrives_at; /* arrives_at of a lost one: KELP_NEVER */
    bool again, damaged;         /* a copy of an earlier one; with flipped bits */
    const char *type;            /* "append", "vote", "hello" ...; NULL: no frame */
    /* a Raft message whole, NULL: another frame, or too damaged; entries of it: the last one's
     * term, 0: none */
    const struct kelp_message *message;
    kelp_term entry_term;
    const struct kelp_event *event; /* EVENT; else NULL */
    /* ASKED ANSWERED CLIENT */
    uint32_t client;
    uint64_t token; /* names the request, 0: none */
    kelp_ns until;  /* PAUSED STALLED: how long; else 0 */
    /* LINKS: bit b of cut[a] says that nothing passes from node a + 1 to node b + 1 */
    uint8_t cut[KELP_SIM_NODES_MAX];
};

/* kelp_sim_kind_name - the stable lower-case name of a kind.
 * takes    kind   any value; an unknown one gets "?"
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_sim_kind_name(enum kelp_sim_kind kind);

#define KELP_SIM_JSON_MAX 2048u

/* kelp_sim_event_json - a record as one JSON object on one line, without the line's end; its fields
 * are those of docs/traces.md.
 * takes    event  not NULL
 *          out    room for size bytes, final NUL included; KELP_SIM_JSON_MAX is enough
 * returns  the length it would have needed, as snprintf does
 * thread   any   cost  O(length)   source  - */
KELP_API size_t kelp_sim_event_json(const struct kelp_sim_event *event, char *out, size_t size);

/* ---- runs ---------------------------------------------------------------------------------- */

struct kelp_sim_options {
    size_t size;           /* sizeof(struct kelp_sim_options), so that it may grow */
    uint32_t nodes;        /* 1..KELP_SIM_NODES_MAX; 0: the seed decides, mostly 5 */
    kelp_ns hurt;          /* simulated time under faults; 60 s */
    kelp_ns heal;          /* simulated time in which a healed cluster must have recovered; 60 s */
    uint64_t wall_unix_ms; /* what the nodes are told the wall clock says; must not matter */
    enum kelp_sim_break broken;
    const struct kelp_sim_machine *machine;   /* borrowed; NULL: the built-in one */
    const struct kelp_sim_workload *workload; /* borrowed; NULL: what mix says; required
                                               * with machine */
    /* Called for each record of what happens; NULL: none, and then they cost nothing. The record
     * and what it points to are valid during the call. It must not change the run. */
    void (*trace)(void *ctx, const struct kelp_sim_event *event);
    void *trace_ctx;
    /* Borrowed; data NULL: every choice comes from the seed. Else the choices of the run, as bytes:
     * any bytes are a run, a prefix is a smaller one, zeros are mild (a fuzzer's input; a case that
     * kelp_sim_shrink found). Their form stands in src/sim/draw.h. */
    struct kelp_bytes choices;
    /* Borrowed; NULL: none. A second state machine, written to be plain: each committed command is
     * applied to it once, in the order of the log, and every answer of every node's machine must be
     * the same bytes (W03 Model); so must answers to questions, where the node has applied as much.
     * Made once a run, for node 0; of its ops apply and query are called, and pass and close if it
     * has them. A question that tells how the clock runs on (tell_time) has no answer to compare;
     * the machine that is tested is not told. Needs machine. */
    const struct kelp_sim_machine *model;
    enum kelp_sim_mix mix; /* what the built-in clients ask for */
    /* 0..KELP_SIM_KILLS_MAX; above 0 another run: two nodes and a witness, nothing goes wrong but
     * that the leader is killed so often, whenever the cluster is whole, and within three election
     * timeouts somebody must lead (L13). nodes and hurt are not used. */
    uint32_t kills;
    uint64_t until; /* stop after so many events, with the story told; 0: play to the end */
    bool together;  /* sessions, deadlines and tiny snapshots in every run, not in some */
    /* somebody restores the cluster through its log again and again, from what machines were some
     * time ago (kelp/restore.h). Without a workload never to the end, since the built-in clients
     * judge every answer by what was written. Needs a machine with stage_begin */
    bool restores;
};

struct kelp_sim_report {
    uint64_t seed, events, hash;
    uint64_t faults;   /* crashes, pauses, cuts, stalls, lost, repeated and damaged frames ... */
    kelp_ns simulated; /* how much time passed in the world */
    uint32_t nodes;
    bool passed;
    bool stopped; /* at options.until: nothing broke up to there, the end was not judged */
    uint64_t requests, done, refused, lost, unknown, abandoned; /* clients' requests and outcomes */
    uint64_t retried; /* attempts at commands in sessions after the first one */
    uint64_t frames, frames_lost, frames_repeated, frames_damaged, crashes, power_cuts, pauses,
        cuts, stalls, restarts, elections, commits, snapshots, snapshot_pieces, snapshots_asked,
        snapshots_dropped, snapshots_installed,
        snapshots_past, /* jobs of theirs done while saves wait for room */
        torn_sectors, recovery_crashes, frames_cut, /* that came in two pieces */
        save_crashes, /* nodes that died in the middle of a save, as they were told to */
        strangers_refused, clogs, clock_faults;
    uint64_t disk_harms; /* rot, lost and stray writes and reads, failed calls, full disks */
    uint64_t halts;      /* nodes that stopped or refused to start because of them */
    uint64_t fault_kinds[KELP_SIM_FAULTS_MAX]; /* how often each kind of fault was drawn */
    uint64_t changes, changes_done;            /* of the membership: asked for, done */
    uint64_t drains, plans;                    /* nodes drained; plans told */
    uint64_t rotted;                           /* states that were made another: see sim/apart.c */
    uint64_t rejoined;                         /* of them: took the state of another */
    uint64_t lapsed;                  /* values that ended by themselves, at their deadlines */
    uint64_t restore_steps, restored; /* steps of restores that were done; of them COMMITs */
    uint64_t renewals, outdated; /* disks recovered by hand; nodes of before that were told so */
    uint32_t kills;              /* of the leader, and somebody led afterwards; see options */
    kelp_ns heir_worst;          /* the longest time until then */
    uint32_t core; /* nodes that had to live on after healing; 0: no quorum was left whole */
    uint32_t terms_after_heal;
    kelp_ns leader_after;  /* healing; KELP_NEVER: no leader */
    bool leader_soon;      /* within three election timeouts */
    bool thinned;          /* only the links to one node of the core were healed */
    uint64_t entries_kept; /* in the longest log at the end, if all nodes were in the core */
    uint64_t marks[KELP_SIM_MARKS_MAX]; /* how often each enum kelp_event_type happened */
    char invariant[64];                 /* FAIL: "I09 StateMachineSafety" */
    char message[512];                  /* FAIL: what was expected and what was there */
    char story[8192];                   /* FAIL, stopped: every node in a line, its last events */
};

/* kelp_sim_options_default - five nodes mostly, 60 s of faults, 60 s to heal, built-in workload.
 * returns  options by value; every field may be changed before kelp_sim_run
 * thread   any   cost  O(1)   source  - */
KELP_API struct kelp_sim_options kelp_sim_options_default(void);

/* kelp_sim_run - run one seed to its end.
 * takes    seed     any number
 *          options  borrowed; NULL: the defaults
 *          report   filled whole
 * returns  true: passed, or stopped at options->until; false: report->invariant, message and story
 *          say what broke
 * errors   a failed assertion inside a node prints the seed and aborts, as it does in production;
 *          too little memory or bad options end the run as failed with "options" or "memory"
 * thread   any, one run at a time per process (the assertion hook is set during the run)
 * cost     about 40 ms for 60 simulated seconds of five nodes   source  - */
KELP_API bool kelp_sim_run(uint64_t seed, const struct kelp_sim_options *options,
                           struct kelp_sim_report *report);

/* kelp_sim_line - the one line a single seed ends with: "seed S events N hash HEX PASS",
 * "... FAIL invariant", or "... STOPPED".
 * takes    report   filled by kelp_sim_run
 *          out      room for size bytes, final NUL included; KELP_SIM_LINE_MAX is enough
 * returns  the length it would have needed, as snprintf does
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_sim_line(const struct kelp_sim_report *report, char *out, size_t size);

/* What several seeds add up to. Zero it before the first kelp_sim_add. */
struct kelp_sim_total {
    uint64_t seeds, failed, events, faults, requests, done, crashes, disk_harms, halts;
    uint64_t changes, changes_done; /* of the membership */
    uint64_t rotted;                /* states that were made another, and found out */
    uint64_t rejoined;              /* of them: took the state of another */
    uint64_t retried, lapsed;       /* attempts in sessions; values that ended by themselves */
    uint64_t snapshots, snapshots_installed;
    uint64_t together;           /* runs in which there were retries, ended values and snapshots */
    uint64_t renewals, outdated; /* disks recovered by hand; nodes of before that were told */
    uint64_t kills;
    kelp_ns heir_worst;
    uint64_t cores, leaders_soon; /* runs that had to live after healing; how many soon led */
    uint64_t fault_kinds[KELP_SIM_FAULTS_MAX];
    kelp_ns simulated;
    uint64_t marks[KELP_SIM_MARKS_MAX];
};

/* kelp_sim_add - count one report into a total.
 * takes    total, report   not NULL
 * thread   one at a time per total   cost  O(marks)   source  - */
KELP_API void kelp_sim_add(struct kelp_sim_total *total, const struct kelp_sim_report *report);

/* kelp_sim_total_line - "N seeds, E events, F faults, PASS, R x real time"; with failures "FAIL n"
 * stands in place of PASS.
 * takes    total    not NULL
 *          wall_ns  real time that all jobs together took
 *          out      room for size bytes, final NUL included; KELP_SIM_LINE_MAX is enough
 * returns  the length it would have needed, as snprintf does
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_sim_total_line(const struct kelp_sim_total *total, uint64_t wall_ns, char *out,
                                    size_t size);

/* kelp_sim_unmarked - the events that no seed of a total ever hit, by name.
 * takes    total    not NULL
 *          print    called once per name
 * returns  how many there were
 * thread   any   cost  O(marks)   source  - */
KELP_API size_t kelp_sim_unmarked(const struct kelp_sim_total *total,
                                  void (*print)(void *ctx, const char *name), void *ctx);

/* ---- exhaustive small scopes ------------------------------------------------------------ */

#define KELP_SIM_SCOPE_NODES_MAX    5u
#define KELP_SIM_SCOPE_TERMS_MAX    7u
#define KELP_SIM_SCOPE_ENTRIES_MAX  7u
#define KELP_SIM_SCOPE_MESSAGES_MAX 12u
#define KELP_SIM_SCOPE_DEPTH_MAX    127u

/* Rules a disk may break on purpose, to see that the rules of Raft then break and are seen to. */
enum kelp_sim_scope_break {
    KELP_SIM_SCOPE_SOUND = 0,
    KELP_SIM_SCOPE_EARLY_SAVED =
        1, /* saves are reported at once, and a crash may still lose them */
    KELP_SIM_SCOPE_FORGET_VOTE = 2, /* a crash loses the vote, not the term */
    KELP_SIM_SCOPE_LOSE_TAIL = 3,   /* a crash loses the last entry */
};
#define KELP_SIM_SCOPE_BREAK_COUNT 4u

/* How much is explored: every order of every action that these numbers allow. The cores begin with
 * an empty log in term 0, each a voter. An action is one of
 * - a message is delivered; any that is on its way, so the network reorders at will
 * - a message is dropped, or delivered and kept to be delivered again
 * - a node's election timer fires, or a leader finds its unanswered messages lost
 * - a beat: a leader's heartbeats and repeated probes, a candidate's repeated requests
 * - a leader is given a command
 * - the disk has done the oldest open save, or all, and says so
 * - a node crashes with any prefix of its open saves done, and starts again
 * Applying and looking entries up take no time. A message that finds the network full, or its
 * equal already on the way, is lost. */
struct kelp_sim_scope {
    size_t size;       /* sizeof(struct kelp_sim_scope), so that it may grow */
    uint32_t nodes;    /* 2..5; 3 */
    uint32_t terms;    /* 1..7: nobody stands for a term above it; 2 */
    uint32_t entries;  /* 1..7: no command is given to a leader whose log is that long; 3. The empty
                        * entries of later leaders may make it longer */
    uint32_t depth;    /* 1..127: actions one after the other; 12 */
    uint32_t drops;    /* messages lost along one path; 1 */
    uint32_t repeats;  /* messages delivered twice along one path; 0 */
    uint32_t crashes;  /* crashes along one path; 1 */
    uint32_t beats;    /* beats, and a leader's timeouts, along one path; 1 */
    uint32_t messages; /* 1..12 on their way at once; 6 */
    uint32_t batch;    /* 1..7 entries in one append; 1 */
    bool instant;      /* every save is done and reported at once: fewer states, so deeper */
    bool protections;  /* pre-vote, check-quorum and stickiness on; off, more can happen */
    uint64_t states_max; /* stop there, about 70 bytes each; 20 million */
    /* which rules are judged: bit 7 for I07 and so on, bit 0 for the core's own; all */
    uint32_t rules;
    enum kelp_sim_scope_break broken;
    /* once a depth, with what is known by then; NULL: none */
    void (*progress)(void *ctx, uint32_t depth, uint64_t fresh, uint64_t steps);
    void *progress_ctx;
};

struct kelp_sim_scope_report {
    bool passed;            /* no rule broke */
    bool whole;             /* there was nothing left to explore before the depth was reached */
    bool full;              /* it stopped at states_max */
    uint32_t depth;         /* all states that can be reached with so many actions were seen */
    uint64_t states, steps; /* distinct states; actions that led to one, new or not */
    uint64_t fresh[KELP_SIM_SCOPE_DEPTH_MAX + 1]; /* distinct states by the least actions to them */
    uint64_t outside;      /* actions not taken since they leave the scope (term, open saves) */
    uint64_t lost;         /* messages that found the network full or their equal in it */
    uint64_t cells, moves; /* distinct single nodes, and inputs that the core was really given */
    uint64_t bytes;        /* memory used */
    char invariant[64];    /* "I01 ElectionSafety"; "options" or "memory" if it could not run */
    char message[512];
    uint32_t path_count; /* the shortest way there, and a line for each action */
    char path[32768];
};

/* kelp_sim_scope_default - 3 nodes, 2 terms, 3 entries, 12 actions; saves take time.
 * returns  scope by value; every field may be changed before kelp_sim_explore
 * thread   any   cost  O(1)   source  - */
KELP_API struct kelp_sim_scope kelp_sim_scope_default(void);

/* kelp_sim_explore - every interleaving in a small scope, breadth first, each state once.
 * takes    scope   borrowed; NULL: the default
 *          report  filled whole
 * returns  true: every rule holds in every state seen; false: report->invariant, message and path
 *          say what broke and the shortest way there
 * errors   a failed assertion inside a core prints the way there and aborts, as in production; too
 *          little memory or bad options end it as failed with "options" or "memory"
 * thread   any, one at a time per process, and no kelp_sim_run beside it
 * cost     about two microseconds and 70 bytes a state, exponential in depth   source  [§8.1] */
KELP_API bool kelp_sim_explore(const struct kelp_sim_scope *scope,
                               struct kelp_sim_scope_report *report);

/* ---- the smallest schedule that fails ------------------------------------------------------- */

/* How large a failing run is. */
struct kelp_sim_size {
    uint64_t faults;   /* made on purpose: crashes, pauses, partitions ... */
    uint64_t frames;   /* lost, repeated and damaged ones */
    uint64_t requests; /* of clients */
    uint64_t events;
    uint64_t choices; /* bytes that are not zero */
    uint32_t nodes;
    kelp_ns simulated;
};

/* A smaller run that breaks the same invariant. choices and words are owned: give them back with
 * kelp_sim_shrunk_free. */
struct kelp_sim_shrunk {
    uint64_t runs, kept;       /* tried; and how many of them were smaller and failed alike */
    bool whole;                /* nothing smaller was found in a whole round; else it was stopped */
    kelp_ns hurt;              /* for kelp_sim_options.hurt, with choices */
    struct kelp_bytes choices; /* for kelp_sim_options.choices: a case */
    struct kelp_sim_size before, after;
    char *words;                   /* what is left: a sentence a line, with times and nodes */
    struct kelp_sim_report report; /* of the smallest run */
};

/* kelp_sim_shrink - look for the smallest run that breaks the invariant that this one breaks.
 * takes    seed      of a run that fails
 *          options   borrowed, as for kelp_sim_run; NULL: the defaults; its choices are where to
 *                    start from; trace and until are not used
 *          go_on     asked before each run with what was found so far (choices and words are not
 *                    there yet); false: stop and take the smallest. NULL: until it is whole
 *          ctx       for go_on
 *          out       filled; to be freed if true was returned
 * returns  true: out is a run that fails alike, the same each time if never stopped; false: the
 *          run passes (out->report.passed), or there was no memory (out->report.invariant says so)
 * errors   a run that ends in a failed assertion ends the process, as in kelp_sim_run
 * thread   as kelp_sim_run   cost  hundreds to thousands of runs   source  delta debugging: Zeller,
 *          Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 2002 */
KELP_API bool kelp_sim_shrink(uint64_t seed, const struct kelp_sim_options *options,
                              bool (*go_on)(void *ctx, const struct kelp_sim_shrunk *so_far),
                              void *ctx, struct kelp_sim_shrunk *out);

/* kelp_sim_shrunk_free - give back what a result owns; a zeroed one is fine.
 * takes    shrunk   not NULL
 * thread   any   cost  O(1)   source  - */
KELP_API void kelp_sim_shrunk_free(struct kelp_sim_shrunk *shrunk);

#endif
