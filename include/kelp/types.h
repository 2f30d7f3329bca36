/* SPDX-License-Identifier: Apache-2.0 */
/* types.h - the values every part of Kelp speaks about: positions, members, outcomes, errors.
 *
 * Nothing here does I/O or allocates. A position is written 3@4 wherever a person reads it: index
 * 3,
 * term 4. A term is wrapped so that it cannot be passed where an index is meant. */
#ifndef KELP_TYPES_H
#define KELP_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define KELP_API __attribute__((visibility("default")))
#else
#define KELP_API
#endif

#define KELP_MEMBERS_MAX 32u /* members of one cluster, all roles together */
/* From here on a number is the name of a node that waits to be given an id; never a member's. */
#define KELP_ID_WAITING (UINT64_C(1) << 63)

typedef uint64_t kelp_index; /* 1 is the first entry, 0 is "before the log" */
typedef uint64_t kelp_id;    /* a node; 0 is nobody; an id is never reused */
typedef uint64_t kelp_ns;    /* a moment or a span of one node's running clock, ns */
typedef struct {
    uint64_t v;
} kelp_term; /* compared and bumped, never added to an index */

#define KELP_NEVER UINT64_MAX /* a kelp_ns that does not come */

struct kelp_pos {
    kelp_term term;
    kelp_index index;
};

struct kelp_bytes {
    const uint8_t *data; /* NULL only when len is 0 */
    size_t len;
};

struct kelp_cluster_id { /* 128 random bits, made once when a cluster is founded; zero: not yet */
    uint64_t hi, lo;
};

/* ---- members ---------------------------------------------------------------------------- */

enum kelp_member_role {
    KELP_NONE = 0,    /* in a joint configuration: leaving, or not there before */
    KELP_VOTER = 1,   /* counted for elections and commit */
    KELP_LEARNER = 2, /* receives the log, never counted */
    KELP_WITNESS = 3, /* votes and keeps positions and configurations only; never leads */
    KELP_STAGING = 4, /* a learner that gets the vote by itself once it has caught up */
};

/* What a leader of a cluster with a witness notes in the configuration. */
enum kelp_member_mark {
    KELP_MARK_IN = 1,     /* a witness: counted for commit, since a voter is absent */
    KELP_MARK_ABSENT = 2, /* a voter: was silent for an election timeout, has not caught up yet */
};

struct kelp_member {
    kelp_id id;
    uint64_t incarnation; /* 64 random bits made with the data directory; 0: not known */
    uint8_t role;         /* enum kelp_member_role, in the configuration itself */
    uint8_t role_old;     /* KELP_VOTER, KELP_WITNESS: counts in the outgoing half of a joint one */
    uint8_t marks;        /* enum kelp_member_mark */
    /* its priority less one, so that 0 is the usual one; KELP_PREFERENCE_NEVER: priority 0. Of a
     * witness it means nothing */
    uint8_t preference;
};

/* Who leads, of those that could: the member with the highest priority. 0 never leads. */
#define KELP_PRIORITY_USUAL   1u
#define KELP_PRIORITY_MAX     255u
#define KELP_PREFERENCE_NEVER 255u

/* A configuration as a value. In a joint configuration (joint != 0) a decision needs a majority of
 * the members whose role is KELP_VOTER or KELP_WITNESS and a majority of those whose role_old is.
 * [§4.3] In each half there are fewer witnesses than voters. */
struct kelp_config {
    kelp_index index;   /* where it stands in the log; 0: given at boot from a snapshot */
    kelp_id id_highest; /* the highest id ever given out; ids only grow */
    uint8_t count;      /* members in use */
    uint8_t joint;
    /* cluster settings: the bound on the drift between two members' clocks, parts in a million, and
     * the minimum election timeout, 0: not told. What a lease is worth follows from them */
    uint32_t drift_ppm;
    kelp_ns election_min;
    struct kelp_member members[KELP_MEMBERS_MAX]; /* ascending by id */
};

/* ---- entries ---------------------------------------------------------------------------- */

enum kelp_entry_type {
    KELP_ENTRY_COMMAND = 1,
    KELP_ENTRY_NOOP = 2,
    KELP_ENTRY_CONFIG = 3,
    KELP_ENTRY_BARRIER = 4,
    KELP_ENTRY_SESSION = 5,
    KELP_ENTRY_CLOCK = 6,
    KELP_ENTRY_RESTORE = 7,
    KELP_ENTRY_VERSION = 8,
    KELP_ENTRY_POSITION = 9, /* only its index, term and time: what a witness keeps of an entry */
};

/* ---- roles ------------------------------------------------------------------------------ */

enum kelp_role {
    KELP_FOLLOWER = 0,
    KELP_PRE_CANDIDATE = 1,
    KELP_CANDIDATE = 2,
    KELP_LEADER = 3,
};

/* ---- room for the log ------------------------------------------------------------------- */

/* What a node may still write, as its store judges it. A node tells it in its answers, in the two
 * lowest bits of health. */
enum kelp_space {
    KELP_SPACE_OK = 0,
    KELP_SPACE_LOW =
        1, /* no new spare file can be made, at most two are left: writes are refused */
    KELP_SPACE_LAST = 2, /* no spare file is left: nothing but what the cluster itself needs */
    KELP_SPACE_NONE = 3, /* the last file is nearly full: takes no entry from a leader */
};

/* ---- outcomes: each tagged request gets exactly one, with its reason --------------------- */

enum kelp_outcome {
    KELP_DONE = 1,    /* committed at its position; the result is the state machine's */
    KELP_REFUSED = 2, /* of no effect, now or ever: definite */
    KELP_LOST = 3,    /* another was committed at its index, or of a later term below: definite */
    KELP_UNKNOWN = 4, /* it may or may not happen */
};

/* number, name, words for people, what to do about it */
#define KELP_REASONS(X)                                                                            \
    X(0, NONE, "no reason", "nothing to do")                                                       \
    X(1, NOT_LEADER, "this node does not lead", "ask the leader it names")                         \
    X(2, NO_LEADER, "no leader is known", "try again once a quorum is up")                         \
    X(3, BUSY, "a limit on open work is reached", "try again soon")                                \
    X(4, TOO_LARGE, "the command is larger than the limit", "send less at once")                   \
    X(5, PENDING, "another change is still pending", "wait for it")                                \
    X(6, NO_COMMIT_YET, "the new leader has not committed, or heard everybody, in its term yet",   \
      "try again soon")                                                                            \
    X(7, TRANSFERRING, "leadership is being handed over", "try again soon")                        \
    X(8, TIMEOUT, "the deadline passed", "look whether it happened before repeating it")           \
    X(9, SHUTDOWN, "the node is shutting down", "ask another node")                                \
    X(10, NO_LEASE, "the leader holds no lease", "read linearizably")                              \
    X(11, TOO_OLD, "the log no longer holds that index", "start from a snapshot")                  \
    X(12, STALE_BEYOND, "this replica is staler than was asked for", "ask the leader")             \
    X(13, SELF, "the target is this node itself", "name another node")                             \
    X(14, UNKNOWN_MEMBER, "no such member", "list the members")                                    \
    X(15, NO_CANDIDATE, "no member could take over", "wait until one has caught up")               \
    X(16, NOT_VOTER, "that member does not vote", "promote it first")                              \
    X(17, BEHIND, "that member has not caught up", "wait until it has")                            \
    X(18, NO_SPACE, "the disk is nearly full", "delete something or add room")                     \
    X(19, FAULTED, "the node is faulted", "read its log, then restart or replace it")              \
    X(20, NOTHING_NEW, "nothing would change", "nothing to do")                                    \
    X(21, LEADERSHIP_LOST, "leadership was lost before the outcome was known",                     \
      "look whether it happened before repeating it")                                              \
    X(22, OVERWRITTEN, "another entry was committed in its place", "repeat it")                    \
    X(23, CONNECTION_LOST, "the connection to the leader was lost",                                \
      "look whether it happened before repeating it")                                              \
    X(24, SNAPSHOT_PASSED, "a snapshot passed over its index",                                     \
      "look whether it happened before repeating it")                                              \
    X(25, NOT_STARTED, "this node holds no entry and waits to be founded or added",                \
      "see its status")                                                                            \
    X(26, LOADING, "the node is replaying its log", "try again later")                             \
    X(27, DUPLICATE, "this number was judged before", "nothing to do")                             \
    X(28, CANCELLED, "it was cancelled", "nothing to do")                                          \
    X(29, CONFIG_CHANGED, "the configuration is no longer the one that was named",                 \
      "list the members and decide anew")                                                          \
    X(30, MEMBER_DIFFERS, "that member exists with another data directory",                        \
      "remove it and add the new directory with a new id")                                         \
    X(31, ID_USED, "that id was given to an earlier member",                                       \
      "take an id above the highest ever given")                                                   \
    X(32, LAST_VOTER, "no voter would be left", "add another one first")                           \
    X(33, TOO_MANY_MEMBERS, "the cluster has as many members as it may have", "remove one first")  \
    X(34, QUORUM_AT_RISK, "fewer voters would answer than a quorum",                               \
      "bring nodes back first, or use FORCE")                                                      \
    X(35, ADDRESS_USED, "another member has that address", "give each member its own")             \
    X(36, NOT_REACHED, "the new node has not shown itself to this one",                            \
      "start it so that it reaches this cluster")                                                  \
    X(37, BAD_CHANGE, "the change names nobody, or a member twice", "name each member once")       \
    X(38, VOTER_SILENT, "a voter to be does not answer, and two or three voters cannot spare one", \
      "start it first, or use FORCE")                                                              \
    X(39, WITNESS_STAYS, "a witness stays one, and nobody becomes one",                            \
      "remove it and add a new node with a new id")                                                \
    X(40, WITNESSES_MANY, "there would be as many witnesses as voters", "add a voter first")       \
    X(41, WITNESS_ALONE, "a new witness does not come with a new voter", "add the voters first")   \
    X(42, NEVER_LEADS, "that member's priority is 0: it never leads",                              \
      "give it a priority above 0")                                                                \
    X(43, NOBODY_LEADS, "no voter that may lead would be left, or answers",                        \
      "give another voter a priority above 0 first")                                               \
    X(44, NOT_KNOCKING, "no such node knocks here, or more than one does",                         \
      "start it with --join, or name its id and its address")                                      \
    X(45, IS_LEARNER, "it is a member already, as a learner", "PROMOTE gives it its vote")         \
    X(46, IS_VOTER, "it is a member already, with a vote", "DEMOTE takes its vote")                \
    X(47, IS_ELSEWHERE, "it is a member already, at another address", "MOVE changes its address")  \
    X(48, HAS_CLUSTER, "this node belongs to a cluster already, or waits for one",                 \
      "found with an empty directory, without --join and --bootstrap")                             \
    X(49, REMOVED, "this node was removed from the cluster", "ask a member")                       \
    X(50, DRAINED, "that node is drained", "undrain it first, or name another")                    \
    X(51, BAD_LEVEL, "there is no such read level", "name one of enum kelp_read_level")            \
    X(52, UNKNOWN_SESSION,                                                                         \
      "no such session, or it has ended; not executed now, earlier attempts "                      \
      "may have been",                                                                             \
      "look at what became of them, then open another session")                                    \
    X(53, SEQUENCE_OVER, "executed before or given up, and its result is not kept",                \
      "read what it has done; give new commands higher numbers")                                   \
    X(54, ONCE_MISUSED, "another command had this number or key",                                  \
      "give each command a number or key of its own")                                              \
    X(55, QUARANTINED, "the state of that node is not that of the others",                         \
      "ask another node; see its status")                                                          \
    X(56, NO_HEALTHY, "nobody is connected who is known to be healthy and could give its state",   \
      "bring such a member back; or name one with FROM and FORCE")                                 \
    X(57, LEADS, "that node leads, and is not in quarantine", "transfer leadership first")         \
    X(61, SNAPSHOT_GONE, "that snapshot is not here, or not any more", "begin with the newest")    \
    X(62, NO_PIECE, "no piece of that snapshot begins there", "go on behind the piece before")

enum kelp_reason {
#define KELP_REASON_ENUM(number, name, words, advice) KELP_R_##name = number,
    KELP_REASONS(KELP_REASON_ENUM)
#undef KELP_REASON_ENUM
};

/* ---- reads: what an answer is allowed to miss ------------------------------------------- */

enum kelp_read_level {
    /* sees every write that was answered before it was asked, on any node [§6.4] */
    KELP_READ_LINEARIZABLE = 0,
    KELP_READ_LEASE = 1, /* the same, without asking anybody while the leader holds a lease */
    KELP_READ_STALE = 2, /* what is applied here, unless it is older than stale_max */
    KELP_READ_ANY = 3,   /* whatever is applied here */
    KELP_READ_LOG = 4,   /* linearizable through an entry in the log: no clock, no round */
};

/* How one read is to be answered; all zero: linearizable. */
struct kelp_read_how {
    enum kelp_read_level level;
    bool may_round;      /* LEASE: without a lease ask a quorum; else it is refused NO_LEASE */
    kelp_ns stale_max;   /* STALE: neither age below may exceed it, or it is refused STALE_BEYOND */
    kelp_index at_least; /* wait until so much is applied where it is answered; 0: no matter */
};

/* How old the state is that a STALE read saw, or was refused for. KELP_NEVER: not known. */
struct kelp_read_ages {
    kelp_ns contact; /* since this node heard of the leader; a leader: since it heard of a quorum */
    kelp_ns applied; /* since the leader made the first entry known to be missing here; 0: none */
};

/* ---- errors: what the world did --------------------------------------------------------- */

#define KELP_ERRORS(X)                                                                             \
    X(0, OK, "no error")                                                                           \
    X(1, E_IO, "the operating system reported an input or output error")                           \
    X(2, E_NO_SPACE, "no space left on the device")                                                \
    X(3, E_NO_MEMORY, "out of memory")                                                             \
    X(4, E_LIMIT, "a limit is reached")                                                            \
    X(5, E_CORRUPT, "stored bytes are damaged")                                                    \
    X(6, E_FOREIGN, "the data belongs to another cluster, node or file")                           \
    X(7, E_LOCKED, "another process uses the data directory")                                      \
    X(8, E_WIPED, "the data directory lost what it must hold")                                     \
    X(9, E_VERSION, "the version is not supported")                                                \
    X(10, E_MALFORMED, "the bytes are malformed")                                                  \
    X(11, E_MORE, "more bytes are needed")                                                         \
    X(12, E_NOT_FOUND, "not found")                                                                \
    X(13, E_GONE, "compacted away")                                                                \
    X(14, E_ARGUMENT, "an argument is out of range")                                               \
    X(15, E_CONFLICT, "what was received contradicts what is committed")                           \
    X(16, E_CLOSED, "closed")                                                                      \
    X(17, E_BUSY, "busy")                                                                          \
    X(18, E_NOT_SUPPORTED, "not in this version")

enum kelp_error {
#define KELP_ERROR_ENUM(number, name, words) KELP_##name = number,
    KELP_ERRORS(KELP_ERROR_ENUM)
#undef KELP_ERROR_ENUM
};

/* Where a failure was seen, in words; filled once, at the place that saw it. */
struct kelp_fault {
    enum kelp_error error;
    int os_error;     /* errno at that moment, 0 if none */
    uint64_t offset;  /* in the file, when a file is concerned */
    kelp_index index; /* in the log, when an entry is concerned */
    char where[96];   /* file or peer */
    char what[160];   /* one sentence */
};

/* kelp_strerror - the words for an error code.
 * takes    error   any value; an unknown one gets "unknown error"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_strerror(enum kelp_error error);

/* kelp_reason_name - the stable upper-case name of a reason, as in logs, metrics and JSON.
 * takes    reason  any value; an unknown one gets "UNKNOWN_REASON"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_reason_name(enum kelp_reason reason);

/* kelp_reason_words - one clause for people: what the reason means.
 * takes    reason  any value
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_reason_words(enum kelp_reason reason);

/* kelp_reason_advice - one clause for people: what to do about it.
 * takes    reason  any value
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_reason_advice(enum kelp_reason reason);

/* kelp_role_name - follower, pre-candidate, candidate or leader.
 * takes    role    any value; an unknown one gets "unknown"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  [§3.3] */
KELP_API const char *kelp_role_name(enum kelp_role role);

/* kelp_space_name - ok, low, last or none.
 * takes    space   any value; an unknown one gets "unknown"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_space_name(enum kelp_space space);

/* kelp_read_level_name - linearizable, lease, stale, any or log, as RAFT READ takes it.
 * takes    level   any value; an unknown one gets "unknown"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_read_level_name(enum kelp_read_level level);

/* kelp_outcome_name - DONE, REFUSED, LOST or UNKNOWN.
 * takes    outcome any value
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_outcome_name(enum kelp_outcome outcome);

/* ---- small helpers on values ------------------------------------------------------------ */

static inline kelp_term kelp_term_of(uint64_t v)
{
    return (kelp_term){v};
}

static inline struct kelp_pos kelp_pos_of(uint64_t index, uint64_t term)
{
    return (struct kelp_pos){.term = {term}, .index = index};
}

/* 0..255; 1 unless it was changed */
static inline uint8_t kelp_priority_of(const struct kelp_member *member)
{
    return (uint8_t)(member->preference + 1u);
}

static inline uint8_t kelp_preference_of(uint8_t priority)
{
    return (uint8_t)(priority - 1u);
}

/* The order of "at least as up-to-date": by term, then by index. [§3.6.1] */
static inline bool kelp_pos_less(struct kelp_pos a, struct kelp_pos b)
{
    return a.term.v != b.term.v ? a.term.v < b.term.v : a.index < b.index;
}

static inline bool kelp_pos_equal(struct kelp_pos a, struct kelp_pos b)
{
    return a.term.v == b.term.v && a.index == b.index;
}

#endif
