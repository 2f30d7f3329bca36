/* SPDX-License-Identifier: Apache-2.0 */
/* core.h - Raft as a value machine: inputs in, things to do out.
 *
 * kelp_step(core, now, &input) any number of times, then kelp_take(core, now, &work) until it
 * returns false.
 * The core does no I/O, reads no clock, starts no thread, calls nothing back and allocates nothing
 * after
 * kelp_core_init: the caller gives it kelp_core_memory(&limits) bytes. It never sees an entry's
 * payload; entries
 * are positions, types and sizes, and a message says "entries 7..31 to node 3".
 *
 * Four promises:
 * 1. Emitted means allowed. What a take returns may be done at once and in any order, except saves,
 * which are
 *     done in the order of their numbers. Whatever must wait for a save is held back until
 *     kelp_step(SAVED n).
 *  2. Everything answered. Each token given to PROPOSE, READ or CHANGE comes back in exactly one
 *     answer.
 * 3. Time comes in with the input; a now below the last one counts as the last one. work.deadline
 * says when to
 *     call again if nothing else happens.
 *  4. The same options, boot values and inputs give the same outputs, on every machine. */
#ifndef KELP_CORE_H
#define KELP_CORE_H

#include "kelp/change.h"
#include "kelp/event.h"
#include "kelp/plan.h"
#include "kelp/types.h"

struct kelp_core; /* opaque; lives in the caller's memory */

/* ---- options ---------------------------------------------------------------------------- */

/* How much of everything. All are fixed at init; kelp_core_memory() says what they cost. */
struct kelp_limits {
    uint32_t members_max;   /* 1..KELP_MEMBERS_MAX */
    uint32_t proposals_max; /* open proposals, 1..1 Mi; beyond: REFUSED BUSY */
    uint32_t reads_max;     /* open reads, 1..1 Mi; beyond: REFUSED BUSY */
    /* entries whose sizes are kept, 8..16 Mi; older ones are looked up */
    uint32_t tail_entries_max;
    /* runs of one term that are kept, 4..64 Ki; older ones are looked up */
    uint32_t runs_max;
    uint32_t window_messages_max; /* unanswered appends a peer, 1..4096 */
    uint32_t strangers_max;       /* answers to nodes outside the configuration, 1..64 */
    /* answers in one take, 1..64 Ki; also requests that may be refused between takes */
    uint32_t answers_max;
    uint32_t events_max;          /* the flight recorder, 16..64 Ki events */
    uint32_t message_entries_max; /* entries in one append, 1..64 Ki */
    /* entry bytes in one append; one entry always goes, however large */
    uint64_t message_bytes_max;
    uint64_t window_bytes_max;      /* unanswered entry bytes a peer; one message always goes */
    uint64_t uncommitted_bytes_max; /* appended here, not committed; beyond: REFUSED BUSY */
    uint64_t unapplied_bytes_max;   /* committed, not applied; beyond: REFUSED BUSY */
    uint64_t entry_bytes_max;       /* one entry, envelope included; beyond: REFUSED TOO_LARGE */
};

/* bits for kelp_options.off; each is announced by the event PROTECTION_OFF */
enum kelp_protection {
    KELP_PRE_VOTE = 1,     /* elections start with a pre-vote [§9.6] */
    KELP_CHECK_QUORUM = 2, /* a leader that hears no quorum steps down [§6.2] */
    KELP_STICKINESS = 4,   /* no vote while a leader is heard [§4.2.3] */
};

struct kelp_options {
    size_t size;          /* sizeof(struct kelp_options), so that it may grow */
    kelp_id self;         /* this node, not 0 */
    uint64_t seed;        /* for election timeouts; two nodes never share one */
    kelp_ns heartbeat;    /* leader to peers when there is nothing else; 100 ms */
    kelp_ns election_min; /* 1000 ms; at least 2 x heartbeat */
    kelp_ns election_max; /* 2000 ms; above election_min */
    /* a save unreported for longer stalls: max(election_min, 1 s); 0: that rule */
    kelp_ns stall_limit;
    /* a leader serves reads by lease for so long after a quorum heard of it; 0: never. At most
     * kelp_lease_max(election_min, drift_ppm) */
    kelp_ns lease;
    uint32_t drift_ppm; /* no two members' clocks drift further apart, parts in a million; 1000 */
    uint32_t off;       /* enum kelp_protection bits switched off; 0 in production */
    uint64_t trailing_entries; /* kept below the own snapshot when compacting; 4096 */
    /* bytes of entries that are kept besides for members that are heard and behind; 1 GiB. Beyond
     * it they get a snapshot; 0: nothing is kept for anybody */
    uint64_t hold_bytes;
    /* a new voter is given up after so many rounds that each took an election timeout; 0: 10 */
    uint32_t catch_up_rounds;
    kelp_ns catch_up_idle; /* or after so long without progress; 0: 10 x election_max */
    /* a voter that was not heard for so long is removed by the leader, one at a time, if as many
     * voters stay as below and a quorum of those answers; 0: never. Hours, if it is to be used;
     * at least 2 x election_max */
    kelp_ns remove_unseen;
    uint32_t remove_voters_min; /* 0: 3 */
    /* a new voter that has caught up must answer and be well for so long before its vote; 0: none
     */
    kelp_ns join_healthy;
    /* the state machine keeps its own data: apply only what is durable here */
    bool apply_durable_only;
    struct kelp_limits limits;
};

/* What the store found. Pointers are borrowed during kelp_core_init only. */
struct kelp_run {
    kelp_index last; /* the run is the entries up to here, from the end of the run before */
    kelp_term term;
};

struct kelp_boot {
    kelp_term term; /* saved term */
    kelp_id vote;   /* saved vote in it, 0: none */
    /* the position before the first entry held: snapshot or compaction point, 0@0 if none */
    struct kelp_pos base;
    /* last entry held, all of it durable; base.index if the log is empty */
    kelp_index last;
    kelp_index commit;        /* known committed, base.index..last */
    kelp_index applied;       /* what the state machine holds already, base.index..commit */
    struct kelp_pos snapshot; /* where the newest own snapshot ends, 0@0: none */
    /* known to be on every member that was heard lately, 0: nothing known */
    kelp_index everyone;
    /* the terms of base.index+1..last, ascending; older runs may be missing */
    const struct kelp_run *runs;
    size_t run_count;
    kelp_index runs_from; /* the first index that runs[] covers */
    /* the newest configuration in the log or snapshot; required */
    const struct kelp_config *config;
    /* the one before it if config is above commit, else NULL */
    const struct kelp_config *config_before;
    /* it ran before: what it told a leader then still holds, so it gives no vote for one minimum
     * election timeout */
    bool ran_before;
};

/* ---- messages --------------------------------------------------------------------------- */

enum kelp_message_type {
    KELP_MSG_VOTE = 1,        /* asks for a vote or a pre-vote: vote.* */
    KELP_MSG_VOTE_ANSWER = 2, /* vote.* */
    KELP_MSG_APPEND = 3,      /* entries, or none (probe): append.* */
    KELP_MSG_HEARTBEAT = 4,   /* no entries, no log check: append.commit, append.everyone, round */
    KELP_MSG_ANSWER = 5,      /* to append and heartbeat: answer.* */
    KELP_MSG_TIMEOUT_NOW = 6, /* a leader hands over: the receiver stands now; timeout_now.* */
    /* the receiver needs entries that the leader has no more: there is a snapshot; snapshot.* */
    KELP_MSG_SNAPSHOT = 7,
};

enum kelp_message_flag {
    KELP_MF_PRE_VOTE = 1, /* VOTE, VOTE_ANSWER: about a pre-vote */
    KELP_MF_TRANSFER = 2, /* VOTE: the old leader asked for this election */
    KELP_MF_GRANTED = 4,  /* VOTE_ANSWER */
    KELP_MF_REJECT = 8,   /* ANSWER: the entry before did not match; hint says where to look */
    KELP_MF_FINAL = 16, /* TIMEOUT_NOW: the leader faulted, this is the last that is heard of it */
    KELP_MF_REMOVED = 32, /* VOTE_ANSWER: a committed configuration removed the receiver */
};

/* the bits of health that are an enum kelp_space: only a node knows the size of its log files */
#define KELP_HEALTH_SPACE    3u
#define KELP_HEALTH_STALL    4u  /* its disk has not reported a save for the stall limit */
#define KELP_HEALTH_LEAVING  8u  /* it is about to stop: leadership does not go there */
#define KELP_HEALTH_DRAINED  16u /* leadership is not to go there */
#define KELP_HEALTH_UNSTEADY 32u /* a save hung less than ten stall limits ago */
#define KELP_HEALTH_APART    64u /* its state is not that of the others: it is not to lead */

/* What the core knows of one entry of a received append. */
struct kelp_entry_info {
    kelp_term term;
    uint32_t bytes; /* encoded, envelope and checksum included */
    uint8_t type;   /* enum kelp_entry_type */
};

struct kelp_message {
    uint8_t type;  /* enum kelp_message_type */
    uint8_t flags; /* enum kelp_message_flag */
    kelp_id from, to;
    kelp_term term; /* the sender's saved term */
    uint64_t id;    /* per sender, never 0; echoed in the answer's id */
    /* APPEND: the replication attempt, echoed; a superseded one's refusal is ignored */
    uint64_t attempt;
    /* APPEND, HEARTBEAT: read round; ANSWER: the highest round seen of this leader */
    uint64_t round;
    union {
        struct {
            kelp_term term;       /* the term the candidate would lead */
            struct kelp_pos last; /* VOTE: the end of the candidate's log */
        } vote;
        struct {
            struct kelp_pos prev; /* APPEND: the entry before the first one */
            kelp_index last;      /* APPEND: the last entry carried; prev.index if none */
            kelp_index commit;    /* the leader's commit index */
            kelp_index everyone;  /* durable on every member that was heard lately */
            /* emitted APPEND: the log revision that first..last is named in */
            uint64_t revision;
            uint64_t bytes; /* emitted APPEND: entry bytes named */
            /* received APPEND: last - prev.index of them, borrowed during kelp_step */
            const struct kelp_entry_info *entries;
            /* received APPEND: the newest configuration entry carried and the one before it, or
             * NULL */
            const struct kelp_config *config, *config_before;
        } append;
        struct {
            kelp_index match;     /* verified against this leader in this term, and durable */
            struct kelp_pos hint; /* with REJECT: the best place to probe next; term 0: not known */
            struct kelp_pos refused; /* with REJECT: the prev that was refused */
            kelp_index durable;      /* for people and flow control */
            kelp_index applied;      /* for people */
            uint32_t room;           /* disk room, MiB; for people. 0: not told */
            uint32_t health;         /* 0: ok; KELP_HEALTH_SPACE and the others */
        } answer;
        struct {
            /* the receiver stands only if its log ends here: verified against this leader, durable,
             * and (but for FINAL) nothing behind it, since a leader that hands over appends nothing
             */
            kelp_index required;
        } timeout_now;
        struct {
            struct kelp_pos pos; /* where it ends: everything up to there is committed */
        } snapshot;
    };
};

/* How a read makes sure that nobody else leads. [§6.4] */
enum kelp_proof {
    KELP_PROOF_ROUND = 0,  /* a quorum answers once more */
    KELP_PROOF_LEASE = 1,  /* a quorum answered lately enough; else REFUSED NO_LEASE */
    KELP_PROOF_EITHER = 2, /* the lease if there is one, else a round */
};

enum kelp_propose_flag {
    KELP_PROPOSE_FREES = 1, /* a deletion: goes on while writes are refused for want of room */
};

/* ---- inputs ----------------------------------------------------------------------------- */

enum kelp_input_type {
    KELP_IN_TICK = 0,      /* nothing but time */
    KELP_IN_MESSAGE = 1,   /* message: from a peer, authenticated and decoded */
    KELP_IN_PROPOSE = 2,   /* propose */
    KELP_IN_READ = 3,      /* read: answered DONE when the state machine may be asked */
    KELP_IN_SAVED = 4,     /* number: saves up to it are durable */
    KELP_IN_APPLIED = 5,   /* index: applied up to it */
    KELP_IN_FOUND = 6,     /* found: answer to a lookup */
    KELP_IN_GONE = 7,      /* found.index/revision: compacted */
    KELP_IN_FAILED = 8,    /* found.index/revision: the read failed */
    KELP_IN_LINK = 9,      /* peer: its connection is new; what was in flight may be lost */
    KELP_IN_SNAPSHOT = 10, /* pos: an own snapshot that ends there is durable */
    KELP_IN_HEALTH = 11,   /* health: for the answers this node gives */
    KELP_IN_FAULT = 12,    /* the disk failed: no message leaves any more, open requests end */
    KELP_IN_CANCEL = 13,   /* token: it ends now; UNKNOWN, or REFUSED if it can have no effect */
    KELP_IN_SHUTDOWN = 14, /* every open request ends; nothing more is sent */
    KELP_IN_CAMPAIGN = 15, /* a follower stands for election now; who stands already goes on */
    /* transfer: leadership goes to another voter. DONE: a leader of a later term was heard, the
     * answer names it; REFUSED: nobody was told to stand; UNKNOWN: who was told may still win */
    KELP_IN_TRANSFER = 17,
    /* drain: on: leadership goes to another voter and does not come back, off: it may. DONE: this
     * node does not lead, or may again; REFUSED: nothing is changed, nobody could take over;
     * UNKNOWN: drained, and who was told may still win. off ends an on that is not answered:
     * CANCELLED. A drain ends with the core: it is not saved */
    KELP_IN_DRAIN = 30,
    /* change: of the membership; answered when the roles it asks for are committed */
    KELP_IN_CHANGE = 18,
    /* peer: a member refuses this node, which a committed configuration removed */
    KELP_IN_REMOVED = 19,
    /* shown: the cluster settings in a peer's handshake; told again when the members change */
    KELP_IN_SHOWN = 27,
    /* installed: a snapshot that was fetched is durable under its name, and the state machine
     * stands where it ends, above what was applied. Done when the view's `applied` is there; until
     * then it is told again after every take, since an entry's term may have to be looked up */
    KELP_IN_INSTALLED = 31,
    /* peer: it got further with a snapshot, from here or from elsewhere: it does not stand still */
    KELP_IN_SENDING = 32,
};

struct kelp_input {
    enum kelp_input_type type;
    union {
        const struct kelp_message *message; /* borrowed during the call */
        struct {
            uint64_t token;   /* the caller's name for it, not 0, unique among open requests */
            kelp_ns deadline; /* UNKNOWN from here on; KELP_NEVER allowed */
            uint32_t bytes;   /* of the whole encoded entry */
            uint32_t flags;   /* enum kelp_propose_flag */
        } propose;
        struct {
            uint64_t token;
            kelp_ns deadline;
            enum kelp_proof proof; /* the call's `now` was read after the request had come in */
        } read;
        struct {
            kelp_id peer;
            kelp_ns election_min;
            uint32_t drift_ppm;
        } shown;
        struct {
            uint64_t token;
            kelp_ns deadline;               /* REFUSED if it has not begun by then, else UNKNOWN */
            const struct kelp_change *what; /* borrowed during the call */
        } change;
        struct {
            uint64_t token;   /* as of a proposal */
            kelp_id target;   /* 0: the best voter, of the highest priority if it is level soon */
            kelp_ns deadline; /* it ends after one minimum election timeout at the latest */
        } transfer;
        struct {
            uint64_t token;   /* as of a proposal */
            kelp_ns deadline; /* as of a transfer */
            bool on;
        } drain;
        struct {
            uint64_t revision;
            struct kelp_pos pos; /* the position looked up */
            /* the last entry after it that fits the asked limits; pos if none */
            struct kelp_pos last;
            uint64_t bytes; /* of pos.index+1..last.index */
        } found;
        struct {
            uint32_t room, health;
        } health;
        struct {
            struct kelp_pos pos;
            /* a term in which it is known to be committed up to there: that of whoever offered or
             * sent it. 0, or below that of pos: that of pos */
            kelp_term term;
            const struct kelp_config *config; /* its head's; borrowed during the call */
        } installed;
        struct kelp_pos pos;
        uint64_t number;
        kelp_index index;
        kelp_id peer;
        uint64_t token;
    };
};

/* What a step took into the log: the caller stores these bytes under these positions before the
 * next step.
 * first == 0: nothing. PROPOSE: one entry, first == last, at term. MESSAGE: entries first..last of
 * the append. */
struct kelp_taken {
    kelp_index first, last;
    kelp_term term;
    uint64_t revision; /* the log revision these indexes are named in */
};

/* ---- things to do ----------------------------------------------------------------------- */

enum kelp_save_flag {
    KELP_SAVE_VOTE = 1,     /* term and vote */
    KELP_SAVE_TRUNCATE = 2, /* the log ends at end */
    KELP_SAVE_APPEND = 4,   /* entries first..last follow */
    KELP_SAVE_COMPACT = 8,  /* entries below keep may go */
    KELP_SAVE_RESET = 16,   /* the log is empty and starts after end (a snapshot was installed) */
};

/* One save; its parts happen in the order of the flags. Numbers ascend by one. */
struct kelp_save {
    uint64_t number; /* 0: no save */
    uint32_t flags;
    kelp_term term;
    kelp_id vote;
    struct kelp_pos end;
    kelp_index first, last;
    uint64_t revision;
    kelp_index keep;     /* the first entry to keep */
    kelp_index everyone; /* known to be on every member that was heard lately */
    kelp_index commit;   /* the commit index at this moment; a floor for recovery */
};

/* An entry the core made itself; the caller builds its bytes before it performs the save. */
struct kelp_made {
    struct kelp_pos pos;
    uint8_t type; /* KELP_ENTRY_NOOP, KELP_ENTRY_CONFIG */
    /* CONFIG: what the entry says of ids and roles; addresses are the caller's. Valid until the
     * next step or take */
    const struct kelp_config *config;
    uint64_t change; /* CONFIG: the token of the change it belongs to, 0: nobody asks any more */
};

struct kelp_answer {
    uint64_t token;
    enum kelp_outcome outcome;
    enum kelp_reason reason;
    /* DONE, LOST, UNKNOWN proposals: where it stood; reads: the index to be applied; changes: the
     * configuration that says so, REFUSED ones the one in force */
    struct kelp_pos pos;
    kelp_id leader; /* NOT_LEADER, and transfers: the leader known, 0 if none */
    kelp_id member; /* a change REFUSED for a member: which; 0: for none */
};

/* Which term has entry index, and how many entries behind it fit? Answered with FOUND, GONE or
 * FAILED. */
struct kelp_lookup {
    kelp_index index;
    uint64_t revision;
    uint32_t entries_max;
    uint64_t bytes_max;
};

struct kelp_work {
    const struct kelp_made *made; /* build these first */
    uint32_t made_count;
    uint32_t message_count;
    uint32_t answer_count;
    uint32_t lookup_count;
    uint32_t event_count;
    const struct kelp_message *messages;
    const struct kelp_answer *answers;
    const struct kelp_lookup *lookups;
    const struct kelp_event *events;
    struct kelp_save save;
    /* 0,0: nothing new to apply; answers to its proposals came before */
    kelp_index apply_first, apply_last;
    /* a snapshot that this node needs: fetch it from that node, or from any that has it. Told again
     * as long as it is needed and offered; pos 0@0: none */
    kelp_id fetch_from;
    struct kelp_pos fetch;
    /* step with TICK then, if nothing else happens; set by every take */
    kelp_ns deadline;
    bool more;    /* another take at once might find something; false: it would not */
    bool faulted; /* fault says why; else it is not set */
    struct kelp_fault fault;
};

/* ---- what a core looks like from outside -------------------------------------------------- */

/* Whether this node could serve a read by lease, or why not. */
enum kelp_lease {
    KELP_LEASE_HELD = 0,
    KELP_LEASE_OFF = 1,        /* options.lease is 0 */
    KELP_LEASE_NOT_LEADER = 2, /* or a leader that falls silent */
    KELP_LEASE_NO_COMMIT = 3,  /* no entry of its own term is committed */
    KELP_LEASE_HANDED = 4,     /* leadership is being handed over, or somebody was told to stand */
    KELP_LEASE_DIFFERS = 5,    /* its own settings are not those of the configuration */
    KELP_LEASE_LAPSED = 6,     /* no quorum of voters with those settings answered lately */
};

enum kelp_flow { KELP_PROBE = 0, KELP_STREAM = 1, KELP_NEEDS_SNAPSHOT = 2 };

struct kelp_peer_view {
    kelp_id id;
    uint8_t role, flow, priority;
    kelp_index match, next, applied, durable;
    enum kelp_space space; /* as it last told this leader */
    uint32_t inflight_messages;
    uint64_t inflight_bytes;
    kelp_ns contact;          /* when it last answered, 0: not since this node leads */
    kelp_ns rtt;              /* last measured, 0: not yet */
    uint32_t rounds;          /* staging: rounds it has finished */
    bool alike;               /* its handshake showed this node's own election_min and drift_ppm */
    bool drained, apart;      /* as it last told this leader */
    struct kelp_pos snapshot; /* that it was offered and has not got yet, 0@0: none */
};

struct kelp_view {
    kelp_id self, leader, vote;
    enum kelp_role role;
    kelp_term term, term_saved;
    kelp_index first, last, durable, commit, applied, everyone;
    struct kelp_pos last_pos;
    struct kelp_pos snapshot; /* where the newest own one ends, 0@0: none */
    uint64_t revision;
    kelp_ns role_since, leader_contact;
    uint32_t proposals_open, reads_open;
    uint64_t uncommitted_bytes, unapplied_bytes;
    enum kelp_space space; /* what is refused by: its own room; a leader's: a quorum's too */
    enum kelp_space own_space;
    bool drained;                    /* does not stand, and hands over what it leads */
    bool faulted, stalled, may_lead; /* may_lead: a voter of its own configuration */
    bool committed_own_term;         /* leader: reads and changes are possible */
    kelp_term elected;               /* the last term it was elected in since its start; 0: none */
    bool removed;                    /* a committed configuration removed this node */
    enum kelp_reason change_gate;    /* why a change could not begin now; NONE: it could */
    uint32_t changes_open;
    bool leaving;      /* leader: its newest configuration takes its vote; it takes no proposals */
    bool transferring; /* leader: takes no proposals, until this is over */
    kelp_id transfer_to;    /* .. to whom, 0: not known yet */
    kelp_ns transfer_until; /* .. and when it is given up */
    enum kelp_lease lease;
    kelp_ns lease_until;                 /* exclusive, on this node's clock; 0: there is none */
    uint64_t lease_reads, lease_refused; /* served by lease; asked for it and did not get it */
    uint32_t spare; /* so many voters more may go away before nothing can be written: of those that
                     * answer a leader; anybody else counts all that there are. 0 at a glance */
    uint32_t peer_count;
    struct kelp_peer_view peers[KELP_MEMBERS_MAX]; /* the first peer_count; the rest is not set */
};

/* ---- functions --------------------------------------------------------------------------- */

/* kelp_options_default - sensible options for a node: 100 ms heartbeat, 1 to 2 s election timeout.
 * takes    self    this node, not 0
 *          seed    any number; two nodes should not share one
 * returns  options by value; every field may be changed before kelp_core_init
 * thread   any   cost  O(1)   source  [§9.1] */
KELP_API struct kelp_options kelp_options_default(kelp_id self, uint64_t seed);

/* kelp_limits_small - limits for thousands of groups in one process: at most 20 KiB a core.
 * returns  limits by value
 * thread   any   cost  O(1)   source  - */
KELP_API struct kelp_limits kelp_limits_small(void);

/* kelp_options_check - one place for every rule about options.
 * takes    options borrowed
 *          fault   filled with the field and the rule when it fails; may be NULL
 * errors   KELP_E_ARGUMENT
 * thread   any   cost  O(1)   source  - */
KELP_API enum kelp_error kelp_options_check(const struct kelp_options *options,
                                            struct kelp_fault *fault);

/* kelp_lease_max - the longest lease that is safe: it must be over on a slow leader's clock before
 * the fastest voter may give its vote again.
 * takes    election_min  the cluster's minimum election timeout
 *          drift_ppm     the bound on the drift between two clocks, parts in a million
 * returns  election_min / (1 + drift), rounded down
 * thread   any   cost  O(1)   source  [§6.4.1] */
KELP_API kelp_ns kelp_lease_max(kelp_ns election_min, uint32_t drift_ppm);

/* kelp_lease_name - held, off, not-leading, no-commit, handed-over, differs or lapsed.
 * takes    lease   any value; an unknown one gets "unknown"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_lease_name(enum kelp_lease lease);

/* kelp_core_memory - how many bytes a core with these limits needs.
 * takes    limits  borrowed, within the ranges at struct kelp_limits
 * returns  bytes; the default limits need at most 1 MiB, the small ones at most 20 KiB
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_core_memory(const struct kelp_limits *limits);

/* kelp_core_init - make a core in the caller's memory.
 * takes    memory  kelp_core_memory(&options->limits) bytes, aligned to 16, kept by the caller
 *                  until it stops
 *                  using the core; there is no close
 *          options borrowed; kelp_options_check must accept them
 *          boot    borrowed; what the store recovered
 *          now     the node's clock
 *          fault   filled on error; may be NULL
 * returns  the core, inside memory
 * errors   NULL with fault: KELP_E_ARGUMENT (options), KELP_E_CORRUPT (boot values contradict each
 *          other)
 * thread   one at a time per core   cost  O(limits)   source  [§3.8] */
KELP_API struct kelp_core *kelp_core_init(void *memory, const struct kelp_options *options,
                                          const struct kelp_boot *boot, kelp_ns now,
                                          struct kelp_fault *fault);

/* kelp_step - give the core one input.
 * takes    core    not NULL
 *          now     the node's clock; below the last one counts as the last one
 *          input   borrowed during the call; take at least once every limits.answers_max PROPOSE,
 *                  READ, TRANSFER, DRAIN and CHANGE inputs
 * returns  what was taken into the log; the caller keeps those bytes before the next step
 * outcome  everything else comes out of kelp_take
 * errors   none: what the world sends is refused, counted and answered
 * thread   one at a time per core   cost  O(entries in the message + members)   source  [§3] */
KELP_API struct kelp_taken kelp_step(struct kelp_core *core, kelp_ns now,
                                     const struct kelp_input *input);

/* kelp_take - what is to be done now.
 * takes    core, now   as kelp_step
 *          work    filled; its pointers belong to the core and are valid until the next step or
 *                  take
 * returns  true if there was something to do: do it, then take again if work->more; false:
 *          work->deadline alone is set
 * thread   one at a time per core   cost  O(members + answers)   source  [§10.2] */
KELP_API bool kelp_take(struct kelp_core *core, kelp_ns now, struct kelp_work *work);

/* kelp_view - the state of a core, for status, tests and tools.
 * takes    core    not NULL
 *          view    filled
 * thread   one at a time per core   cost  O(members)   source  - */
KELP_API void kelp_view(const struct kelp_core *core, struct kelp_view *view);

/* kelp_glance - as kelp_view, but for what takes a look at the log or at every member: no peers are
 *          set and peer_count is 0, as are uncommitted_bytes, unapplied_bytes, may_lead and the
 *          lease. For who looks at every step.
 * takes    core    not NULL
 *          view    filled, but for its peers
 * thread   one at a time per core   cost  O(1)   source  - */
KELP_API void kelp_glance(const struct kelp_core *core, struct kelp_view *view);

/* kelp_contact - since when what this node knows may be out of date, for reads with a stated bound.
 * takes    core    not NULL
 * returns  when a leader last heard from a quorum, itself included, or another node from a leader;
 *          what comes again, or behind something newer, does not count; 0: never
 * thread   one at a time per core   cost  O(members)   source  [§6.2] */
KELP_API kelp_ns kelp_contact(const struct kelp_core *core);

/* kelp_log_term - the term of an entry the core still knows.
 * takes    core    not NULL
 *          index   any
 * returns  the term, or term 0 when the index is below the kept runs or beyond the log
 * thread   one at a time per core   cost  O(log runs)   source  [§3.5] */
KELP_API kelp_term kelp_log_term(const struct kelp_core *core, kelp_index index);

/* kelp_core_config - the configurations a core uses.
 * takes    core       not NULL
 *          latest     filled with the newest in its log; may be NULL
 *          committed  filled with the newest committed one; may be NULL
 * thread   one at a time per core   cost  O(members)   source  [§4.1] */
KELP_API void kelp_core_config(const struct kelp_core *core, struct kelp_config *latest,
                               struct kelp_config *committed);

/* kelp_core_plan - what a change would do if this leader were asked for it now, or what it would do
 * to stop a member (KELP_EDIT_STOP, the only edit). Nothing is changed.
 * takes    core    not NULL
 *          change  borrowed; a member that would be new counts as one that answers
 *          plan    filled where KELP_R_NONE is returned, also where the change would be refused
 * returns  KELP_R_NONE, or why nothing can be said: NOT_LEADER, NO_COMMIT_YET, TRANSFERRING,
 *          PENDING, FAULTED, SHUTDOWN
 * thread   one at a time per core   cost  O(members squared)   source  [§4.1, §4.3] */
KELP_API enum kelp_reason kelp_core_plan(const struct kelp_core *core,
                                         const struct kelp_change *change, struct kelp_plan *plan);

/* kelp_check - every invariant of one core, and what may have changed since the last call.
 * takes    core    not NULL
 *          fault   filled with the broken rule
 * errors   KELP_E_CORRUPT; debug, simulator and fuzz builds call it after every step and abort
 * thread   one at a time per core   cost  O(members + runs)   source  [fig 3.2] */
KELP_API enum kelp_error kelp_check(struct kelp_core *core, struct kelp_fault *fault);

/* kelp_recent - the flight recorder: the last events of this core, oldest first.
 * takes    core    not NULL
 *          out     room for max events
 *          max     at most limits.events_max are held
 * returns  how many were written
 * thread   one at a time per core   cost  O(max)   source  - */
KELP_API size_t kelp_recent(const struct kelp_core *core, struct kelp_event *out, size_t max);

/* ---- one line of text for every struct; each writes at most size bytes with a final NUL and
 * returns the length
 * it would have needed, as snprintf does ------------------------------------------------------ */

/* kelp_describe - a core: "3 LEADER t4 commit 7 applied 7 last 9@4 durable 8".
 * takes    core, out, size
 * thread   one at a time per core   cost  O(1)   source  - */
KELP_API size_t kelp_describe(const struct kelp_core *core, char *out, size_t size);

/* kelp_describe_message - a message: "1 -> 3 append t4 id 17 prev 6@4 entries 7..9 commit 6".
 * takes    message, out, size
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_describe_message(const struct kelp_message *message, char *out, size_t size);

/* kelp_describe_input - an input: "saved 41".
 * takes    input, out, size
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_describe_input(const struct kelp_input *input, char *out, size_t size);

/* kelp_describe_save - a save: "save 41: vote 3 in t4, ends at 6@4, append 7..9".
 * takes    save, out, size
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_describe_save(const struct kelp_save *save, char *out, size_t size);

/* kelp_describe_answer - an answer: "token 9 DONE 7@4".
 * takes    answer, out, size
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_describe_answer(const struct kelp_answer *answer, char *out, size_t size);

/* kelp_describe_config - a configuration: "1v 2v 3L @5".
 * takes    config, out, size
 * thread   any   cost  O(members)   source  - */
KELP_API size_t kelp_describe_config(const struct kelp_config *config, char *out, size_t size);

/* kelp_describe_plan - a plan: "step @5 voters 3 live 3 spare 1 -> 2 live 2 spare 0, 1 leads, then
 * 1 EVEN".
 * takes    plan, out, size
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_describe_plan(const struct kelp_plan *plan, char *out, size_t size);

/* kelp_describe_event - an event: "ROLE_LEADER 2@2".
 * takes    event, out, size
 * thread   any   cost  O(1)   source  - */
KELP_API size_t kelp_describe_event(const struct kelp_event *event, char *out, size_t size);

#endif
