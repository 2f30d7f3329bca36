/* SPDX-License-Identifier: Apache-2.0 */
/* room.h - what the files of the driver share: its state, and which file does what.
 *
 *   driver.c   life and the run loop       perform.c  one take, in order; saves; the clock
 *   port.c     what comes in               peer.c     messages out, reads of the log for them
 *   request.c  pool, timers, maps          apply.c    entries to the machine
 *   snapshot.c when one is taken, and how  fetch.c    one that this node needs
 *   serve.c    .. and that others need     headway.c  and who gets one says how far it is
 *   read.c     levels of reads             query.c    reads to the machine in turns
 *   line.c     sequences and routing       forward.c  both sides of forwarding
 *   change.c   changes of the membership   plan.c     what one would do
 *   handover.c leadership goes to another  birth.c    founding, starting Raft
 *   found.c    founding: the rules, pure   given.c    what an empty node is given to begin with
 *   knock.c    joining: the rules, pure    moving.c   a node whose address changed
 *   lead.c     who leads, level and events strip.c    what a witness is sent
 *   copy.c     snapshots for clients
 *   compare.c  is its state the others'?   quarantine.c  and what follows if it is not
 *   rejoin.c   .. until it has another's
 *   cache.c    the log's tail as bytes     status.c   looking at it; once.c  exactly once
 *   restore.c  steps of a restore
 *   replay.c   how far a start is
 *
 * Ports are called from driver_run and driver_shutdown only, but for `frees`, where a command is
 * proposed. Whatever a send borrowed stays until flush: buffers go to the scratch arena, and
 * requests that end before it are recycled behind it. */
#ifndef DRIVER_ROOM_H
#define DRIVER_ROOM_H

#include <sys/queue.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/min.h"
#include "base/unset.h"
#include "driver/cache.h"
#include "driver/clock.h"
#include "driver/driver.h"
#include "driver/found.h"
#include "driver/quarantine.h"
#include "driver/rejoin.h"
#include "driver/replay.h"
#include "driver/restore.h"
#include "driver/snapstate.h"
#include "wire/change.h"
#include "wire/entry.h"
#include "wire/message.h"

#define MILLISECOND UINT64_C(1000000)
#define PEERS_MAX   256u
/* appends behind one read of the log, a peer; more are dropped: lost messages */
#define APPENDS_WAITING_MAX 16u
#define APPLY_ENTRIES_MAX   1024u
#define APPLY_BYTES_MAX     (1024u * 1024)
#define CONFIGS_MAX         8u
#define RESULT_INLINE       64u
#define BYTES_INLINE        64u /* most questions: a GET of a short key */
/* requests started in one run; the rest take turns with the sockets */
#define PUMP_MAX   1024u
#define RETRY_NS   (5 * MILLISECOND)
#define KNOCK_NS   (3000 * MILLISECOND) /* so long after it was heard, a knock counts */
#define HAND_ON_NS (200 * MILLISECOND)  /* between two offers of entry 1 to an empty member */
#define MADE_BYTES (8u * 1024)          /* of the entries that the core makes in one take */

/* ---- requests ---- */

/* led here:  QUEUED --core takes it--> PROPOSED --DONE--> APPLYING --applied--> CLOSED   a write
 *            QUEUED --core--> READING --DONE--> QUERYING --reply--> CLOSED               a read
 *            QUEUED --core--> PROPOSED --DONE--> AWAITING --applied--> QUERYING --> ..  by the log
 *            QUEUED --> CHANGING --handed to the core--> PROPOSED --answer--> CLOSED    a change
 * elsewhere: QUEUED --sent--> FORWARDED --answer, deadline, connection lost--> CLOSED
 *            QUEUED --sent--> FORWARDED --index--> AWAITING --> QUERYING --> CLOSED      a read
 * anywhere:  QUEUED --> AWAITING --> QUERYING --> CLOSED              a read of what is here
 * refused:   PROPOSED, READING, FORWARDED --for want of leadership--> QUEUED             anew
 * a transfer of leadership: QUEUED --core--> HANDING --outcome--> CLOSED, or FORWARDED
 * a piece of a snapshot: QUEUED --> COPYING --read--> CLOSED
 * a peer's write while leadership is handed over: HELD --over--> PROPOSED, or CLOSED
 * any:       --limits, deadline, fault, shutdown--> CLOSED --delivered in order--> FREE */
enum request_state {
    REQUEST_FREE = 0,
    REQUEST_QUEUED,
    REQUEST_PROPOSED,
    REQUEST_APPLYING,
    REQUEST_READING,
    REQUEST_QUERYING,
    REQUEST_FORWARDED,
    REQUEST_CHANGING, /* a change: waits for its turn, or for a new member to show itself */
    REQUEST_HANDING,
    REQUEST_HELD,
    REQUEST_AWAITING, /* a read: until so much is applied here */
    REQUEST_COPYING,  /* a piece of a snapshot: until it is read from the disk */
    REQUEST_CLOSED,
};

/* by deadline; AWAITING by the index that must be applied, those of one line in their order */
enum heap_of { HEAP_TIMERS = 0, HEAP_AWAITING = 1 };
#define HEAPS 2u

enum request_kind { REQUEST_WRITE = 1, REQUEST_READ = 2, REQUEST_TRANSFER = 3 };

/* Before a node stops it hands over. */
enum retiring { RETIRING_NO = 0, RETIRING_DUE, RETIRING_ASKED, RETIRING_ENDED };
#define RETIRE_TOKEN UINT64_MAX /* towards the core; of no request */

/* Where a line's open requests are: with ourselves as leader of a term, or with another on one
 * connection. */
struct route {
    kelp_id node; /* 0: nowhere */
    uint64_t term;
    uint64_t connection; /* 0: here */
};

struct request {
    TAILQ_ENTRY(request) link; /* in its line; or among the answers, the free or the dead */
    TAILQ_ENTRY(request) asker_link;
    TAILQ_ENTRY(request) change_link; /* CHANGING; or COPYING */
    struct asker *asker;         /* QUERYING: in whose queue it stands; NULL: the machine has it */
    struct request *bucket_next; /* in the map of indexes (APPLYING) or of numbers (FORWARDED) */
    struct driver_line *line;    /* NULL: a peer's */
    uint64_t handle;             /* its name towards the core and the machine */
    uint64_t token;              /* the client's name for it; a peer's number */
    uint64_t order;              /* place in its line */
    uint64_t number;             /* of the forward that carries it */
    kelp_ns since, deadline, aged_at; /* aged_at: when a STALE read's ages were true */
    size_t places[HEAPS];             /* in each heap, 0: in none */
    enum request_kind kind;
    enum request_state state;
    bool forward;
    bool change;         /* of the membership: ordered like a write, carried out by the core */
    bool drain;          /* of this node: a transfer that goes nowhere else; see handover.c */
    bool copies;         /* of this node: a piece of a snapshot; see copy.c */
    bool founds;         /* of this node: it founds alone, and has begun to; see birth.c */
    bool plan;           /* of a change: ordered like a read, answered by plan.c */
    bool restores;       /* a write: its entry is a step of a restore; see restore.c */
    kelp_ns reach_until; /* CHANGING: a new member has until then to show itself; 0: not asked */
    bool bare;           /* a read without a question: answered with the index alone */
    struct driver_once once; /* a write: in which session, and so on */
    bool whole;              /* a read that is, or was last, forwarded with its question */
    struct kelp_read_how how;
    struct kelp_read_ages ages;
    struct route route; /* FORWARDED: which connection carries it; HELD: in which term */
    kelp_id origin;     /* a peer's: who asked, and on which connection */
    uint64_t origin_connection;
    /* bytes_inline or owned: user, then command or question; NULL: a write built in the cache */
    uint8_t *bytes;
    size_t user_len, len; /* len: command or question alone */
    enum kelp_outcome outcome;
    enum kelp_reason reason;
    struct kelp_pos pos;
    kelp_id leader;
    kelp_id member;  /* a change refused for a member: which */
    uint8_t *result; /* result_inline or owned */
    size_t result_len;
    bool held;        /* bytes are counted in held_bytes or guest_bytes */
    bool result_lost; /* no memory for the reply */
    uint64_t clock;   /* a read's: what was due by then must be gone; 0: as the machine says */
    bool clock_waits; /* .. and it is among those that wait for that */
    bool ask_whole;   /* a read that this machine cannot answer as it should: the leader can */
    uint8_t result_inline[RESULT_INLINE], bytes_inline[BYTES_INLINE];
};

/* One in the circle of those whose reads may be served: a line, or a peer with its forwarded
 * reads. */
struct asker {
    TAILQ_ENTRY(asker) link;
    struct request_list queue; /* QUERYING, by asker_link */
    struct driver_line *line;  /* one of the two */
    struct peer *peer;
    bool stands; /* in the circle: its queue is not empty and its line is not full */
};

TAILQ_HEAD(asker_list, asker);

struct driver_line {
    TAILQ_ENTRY(driver_line) all_link, ready_link;
    struct request_list requests; /* in the order given */
    struct request *next;         /* the first QUEUED one */
    uint64_t order, order_started;
    uint64_t count, queued, open_writes, open_reads;
    struct route route;              /* of the open ones */
    enum kelp_read_level read_level; /* of the open reads .. */
    bool read_whole;                 /* .. are they forwarded with their questions? */
    bool read_alone;                 /* .. waits for an index that it named: nothing beside it */
    uint64_t order_told;             /* no read behind this place knows what it may see */
    kelp_index index_told;           /* the highest that an answer from elsewhere has shown */
    kelp_index index_awaited;        /* those that are told from now on wait for no less */
    driver_done_fn done;
    void *ctx;
    struct asker asker;
    uint64_t made;    /* bytes of its answers that are here and not delivered */
    uint64_t backlog; /* bytes of its answers that were delivered and not taken: see driver.h */
    uint64_t answer_bytes; /* what the next forwarded read is expected to bring */
    kelp_ns full_since;
    bool full; /* its backlog is too large: nothing is started or served until it is less */
    bool ready, closed, delivering;
};

TAILQ_HEAD(line_list, driver_line);

#define REQUESTS_A_CHUNK 64u
#define BUCKETS_MIN      512u /* of a map; both are powers of two */
#define BUCKETS_MAX      8192u
#define QUERY_BYTES_RUN  (1024u * 1024) /* of answers to reads in one run, about a millisecond */
#define QUERY_COST       4096u /* what a read costs beside its bytes, so at most 256 a run */
#define WALK_COST        (QUERY_BYTES_RUN / 2) /* of a piece of a long read, half a millisecond */
#define LINE_ANSWERS     (1024u * 1024)        /* of one line, not taken, above which it is full */
#define LINE_READS       (1024u * 1024)        /* that a line's open forwarded reads should bring */
#define LINE_ANSWERS_MAX (16u * 1024 * 1024)   /* above which what they bring is asked for anew */
#define ANSWER_EXPECTED  (LINE_READS / 8)      /* before there was one */
#define ANSWERS_STANDARD (256u * 1024 * 1024)

struct request_heap { /* binary, from 1 */
    struct request **at;
    size_t count, room;
};

struct request_pool {
    struct request **chunks;
    size_t chunk_count, chunk_room;
    struct request_list free;
    struct request_list dead; /* closed, but a send may still borrow their bytes: until flush */
    struct request_heap heaps[HEAPS];
    struct request **indexes, **numbers; /* that many buckets each */
    size_t buckets;
    uint64_t index_count;
};

/* ---- peers ---- */

/* A snapshot that a peer fetches from here. */
struct serving {
    struct kelp_pos pos;
    uint64_t next, limit;     /* what is sent next, and how far it may go on */
    uint64_t ask, connection; /* 0: none */
    kelp_ns asked_at;
    bool wanted, gone, waits; /* the last two: to be told */
};

struct peer {
    kelp_id id;
    uint64_t connection[KELP_LANES]; /* 0: down */
    uint64_t incarnation, epoch;     /* as its last hello showed */
    uint64_t election_min_ns;        /* the same; 0: none has come yet */
    uint32_t drift_ppm;
    uint64_t features;
    bool pledged, empty; /* the same; empty until it says something that who holds a log says */
    /* Where it last sent as a leader: answers go back on the same connection, so that TCP need not
     * send acknowledgements by themselves, which cost as much as a message. */
    uint64_t asks_on;
    enum kelp_lane asks_lane;
    uint64_t judged_incarnation, judged_start, judged_number; /* the highest forward judged */
    /* carries our forwards to it while it is open: on another one they could overtake each other,
     * and what is overtaken is dropped */
    uint64_t forward_connection;
    struct kelp_message *waiting; /* APPENDS_WAITING_MAX behind a read of the log, a ring */
    size_t waiting_first, waiting_count;
    bool reading;
    struct asker asker;          /* its forwarded reads */
    struct serving serving;      /* serve.c */
    uint64_t reply_bytes;        /* of answers that wait for room on its connection */
    bool replies_waited;         /* .. before this run */
    uint64_t used;               /* when it was last wanted, in peer_uses */
    struct wire_address address; /* as its last hello showed */
    kelp_ns knocked;             /* when it last said that it waits to be added; 0: never */
    kelp_ns swapped;             /* when another directory last showed itself as it; 0: never */
    struct told_marks marks;     /* quarantine.c */
    struct rejoin_ask newer;     /* rejoin.c */
};

/* ---- reads of the log ---- */

enum read_purpose { READ_TAIL, READ_APPLY, READ_LOOKUP, READ_APPEND };

struct log_read {
    TAILQ_ENTRY(log_read) link;
    uint64_t tag;
    enum read_purpose purpose;
    kelp_id peer;              /* APPEND */
    struct kelp_lookup lookup; /* LOOKUP */
    bool done;
    enum kelp_error error;
    struct kelp_pos before;
    kelp_index first, last;
    uint8_t *data; /* owned */
    size_t len;
    bool from_cache; /* LOOKUP: answered without the store, by the two below */
    struct kelp_pos last_pos;
    uint64_t bytes;
};

TAILQ_HEAD(read_list, log_read);

struct scratch { /* bytes that sends borrow, until flush */
    struct scratch *next;
    size_t size, used;
    _Alignas(16) uint8_t data[];
};

/* ---- the driver ---- */

struct driver {
    struct driver_options options;
    struct driver_member listed[KELP_MEMBERS_MAX];
    struct driver_ports ports;
    kelp_ns now;

    enum driver_state state;
    struct kelp_fault fault;
    bool fault_due; /* a port reported it; acted on in the next run */
    bool closing;   /* driver_shutdown was called */

    struct kelp_core *core; /* NULL: waits to be founded */
    void *core_memory;
    struct kelp_view view; /* see driver_look; without peers */
    bool view_stale, untaken;
    bool hollow; /* its machine was given positions without commands */
    uint32_t
        /* reads, and proposals not taken, since the last take: the core holds answers_max */
        unanswered;
    kelp_ns core_deadline;
    uint64_t led_term;           /* the term whose first entry, made by the core, is in the cache */
    kelp_index led_first;        /* .. and where it stands */
    struct kelp_leadership lead; /* as last told */
    kelp_term lead_elected;      /* the last election that was told */
    struct found *found;
    bool campaigned;

    struct cache *cache;
    uint8_t *reserved; /* driver_reserve: the entry's room */
    size_t reserved_len;
    uint64_t clock_last,
        clock_logged,    /* cluster clock: as last seen; the last stamp of an entry here .. */
        clock_base;      /* .. and when we began to lead */
    kelp_ns clock_from;  /* ... at this moment */
    kelp_ns clock_heard; /* when clock_last last grew */
    struct ticking ticking;
    bool tail_due, tail_open; /* the log's last stamp must be read before the core runs */

    struct wire_config
        configs[CONFIGS_MAX]; /* ascending by index; the first is committed if config_committed */
    size_t config_count;
    bool config_committed;
    struct wire_config decoded[2];
    struct kelp_entry_info *infos;
    size_t info_room;

    uint64_t save_offset, save_given, save_done,
        save_reported;    /* numbers of the store; reported: by the store */
    kelp_index save_last; /* last index handed to a save */
    kelp_ns idle_at;

    kelp_index apply_next, apply_to;      /* to be given to the machine */
    kelp_index apply_open;                /* last index of the open call, 0: none is open */
    kelp_index applied, applied_reported; /* told the core; reported by the machine */
    kelp_index replay_to;
    struct replay replay;
    bool apply_reading, pledged_reported, space_due;
    bool shown_due;       /* a peer showed its settings, or the members changed */
    struct taking taking; /* snapshots */
    struct restoring restoring;
    struct fetching fetching;
    struct headway headway;
    struct quarantine quarantine;
    struct rejoin rejoin;
    struct piece_read piece;
    struct copying copying;
    int64_t tokens; /* bytes of snapshots that may be sent now */
    kelp_ns tokens_at, serve_at;
    size_t serve_turn;
    bool serve_told, snapshots_open; /* asked since the last run; the store has files open */
    uint64_t served_bytes;
    uint32_t room_mib;
    enum kelp_space space; /* as the store reported it last */
    struct kelp_bytes batch[APPLY_ENTRIES_MAX];

    struct request_pool requests;
    struct line_list lines, ready;
    struct request_list answers; /* closed requests of peers, to be told */
    struct request_list changes; /* CHANGING, in order; the first is next */
    uint64_t change_count;
    uint64_t change_open;       /* the handle of the one that the core has, 0: none */
    struct wire_change named;   /* its addresses; count 0: an entry carries them */
    kelp_id given;              /* the id that it gives, 0: none */
    kelp_id missing;            /* a new member that the first one waits for, 0: none */
    kelp_ns reach_at;           /* it waits until then */
    kelp_ns hand_on_at;         /* when empty members are handed entry 1 (again) */
    uint8_t *config_bytes;      /* room to encode a configuration */
    struct request_list guests; /* HELD, in the order in which they came */
    uint64_t guest_order;
    bool holds; /* we hand over: no write is proposed */
    enum retiring retiring;
    bool retire_asked;      /* the core was asked to hand over: once */
    kelp_ns followed_since; /* retiring: another leads since then; 0: not yet */
    struct route route,
        refused; /* where requests go now; who said that it does not lead in that term */
    struct driver_line *move_line; /* moving.c; NULL: none yet */
    bool move_open;
    kelp_ns move_at;              /* not before */
    enum kelp_reason move_reason; /* why it was not moved when it last asked */
    kelp_id leader_hint;
    kelp_id followed;  /* who led last, but for this node; 0: nobody yet */
    bool removed;      /* by a committed configuration, and there is no way to a leader any more */
    char refusal[160]; /* driver_found: why not */
    bool route_stale;
    kelp_ns leaderless_since, expire_at, retry_at;
    uint64_t forward_number;
    uint64_t gather_number;      /* the question for an index that reads may still join, 0: none */
    struct request *gather_last; /* of those that were added to such a question; NULL: none */
    uint8_t gather_level;
    bool gather_may_round;
    uint64_t heard_term, heard_id; /* of the newest message of a leader */
    kelp_ns heard_at;              /* when that came .. */
    kelp_ns level_at;              /* .. and all that it told was applied; 0: never */
    kelp_index heard_commit;       /* the highest that a leader told, whatever this node holds */
    uint32_t pump_left;
    struct asker_list askers; /* the first is next */
    size_t asker_count;
    uint64_t query_left;   /* bytes of answers this run may still make */
    bool query_more;       /* reads may be served at once */
    uint64_t made_bytes;   /* of all lines: made and backlog */
    struct request *walk;  /* the read that goes on in pieces; NULL: none does */
    kelp_index walk_after; /* what must be applied before another one may begin */
    uint64_t walk_ended;   /* the name of one that nobody wants any more, to be told; 0: none */
    bool walk_stepped;     /* in this run */
    uint64_t held_bytes;   /* of clients' requests, waiting or forwarded */
    uint64_t queued_count, forwarded_count;
    uint64_t guest_bytes, guest_count; /* of peers' requests, open here */
    uint64_t answer_bytes;             /* of answers to peers whose connection has no room now */

    struct peer **peers;
    size_t peer_count;
    uint64_t peer_uses;
    struct read_list reads;
    uint64_t read_tag;
    struct kelp_lookup
        lookups_waiting[KELP_MEMBERS_MAX + 1]; /* there was no memory: the core asks only once */
    size_t lookup_waiting_count;
    struct scratch *scratch;
    struct kelp_bytes *parts; /* for saves */
    size_t part_room;

    uint64_t done, refused_count, lost, unknown, by_reason[80];
    uint64_t forwards_dropped, messages_dropped, reads_again;
    uint64_t behind_steps; /* of reads_behind_again, all together; for tests */
};

/* A leader that proposes nothing now: what is asked for waits until it is known who leads. */
static inline bool writes_wait(const struct driver *d, const struct kelp_view *view)
{
    return view->transferring || view->leaving ||
           (d->quarantine.apart && view->role == KELP_LEADER);
}

/* driver.c */
void driver_note(struct driver *d, enum kelp_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const struct kelp_view *
driver_look(struct driver *d);              /* the core's view, fresh; the core must be there */
bool core_has_room(const struct driver *d); /* for one more request */
struct kelp_taken driver_step(struct driver *d, const struct kelp_input *input);
void driver_fail(struct driver *d, const struct kelp_fault *fault); /* FAULTED, for good */
void *scratch_take(struct driver *d, size_t size); /* until flush; NULL: out of memory */
void driver_flush(struct driver *d);

/* port.c */
void ports_settle(struct driver *d);    /* what the ports reported */
bool ports_due(const struct driver *d); /* .. and did since then */
void config_push(struct driver *d, const struct wire_config *config);
void config_sync(struct driver *d); /* with what the core says is newest and committed */

/* perform.c */
bool perform_takes(struct driver *d); /* true: something was done */

/* peer.c */
struct peer *peer_find(struct driver *d, kelp_id id);
/* A member always finds a row, a stranger perhaps. NULL: out of memory, or too many. */
struct peer *peer_make(struct driver *d, kelp_id id);
void peer_free(struct peer *p);
void peer_send(struct driver *d, const struct kelp_message *m);

/* strip.c */
bool strip_witness(const struct driver *d, kelp_id id); /* is it one, committed or not? */
bool strip_wanted(const struct driver *d, kelp_id to);  /* is it one for good: positions will do */
bool strip_witness_in(const struct kelp_config *config, kelp_id id, bool *is);
/* strip_entries - positions and configurations, in scratch; false: no memory */
bool strip_entries(struct driver *d, const struct kelp_bytes *parts, size_t count,
                   struct kelp_bytes *out);
void peer_read_ended(struct driver *d, struct log_read *read);
void peer_forget_waiting(struct peer *peer);
void lookup_start(struct driver *d, const struct kelp_lookup *lookup);
void lookups_again(struct driver *d);
void lookup_ended(struct driver *d, struct log_read *read);
struct log_read *read_new(struct driver *d,
                          enum read_purpose purpose); /* then read_ask; NULL: out of memory */
void read_ask(struct driver *d, struct log_read *read, kelp_index first, uint64_t entries_max,
              uint64_t bytes_max);
void read_free(struct driver *d, struct log_read *read);

/* apply.c */
bool apply_run(struct driver *d);        /* one batch; true: something was done */
bool apply_held(const struct driver *d); /* another state comes */
void apply_read_ended(struct driver *d, struct log_read *read);
void apply_settle(struct driver *d); /* what the machine reported */

/* snapshot.c */
void snapshot_init(struct driver *d, const struct driver_boot *boot);
void snapshot_run(struct driver *d);                        /* settle, begin, one object */
bool snapshot_at_once(const struct driver *d);              /* there is more to do now */
kelp_ns snapshot_next(const struct driver *d);              /* when it is due for time alone */
void snapshot_counts(struct driver *d, uint64_t log_bytes); /* the log grew */
void snapshot_free(struct driver *d);
void snapshot_status(const struct driver *d, struct driver_snapshot_status *out);
bool snapshot_lost(const struct driver *d); /* the newest one cannot be read */
void snapshot_unreadable(struct driver *d); /* so it turned out */
void snapshot_renew(struct driver *d);      /* a barrier, where another one needs one */
bool snapshot_gives_way(struct driver *d);  /* what is taken is given up; true: nothing is */

/* fetch.c */
void fetch_init(struct driver *d);
void fetch_offered(struct driver *d, kelp_id from, struct kelp_pos pos);
void fetch_birth(struct driver *d, kelp_id from, struct kelp_pos pos); /* without a log */
enum kelp_error fetch_arrived(struct driver *d, kelp_id from, uint64_t connection,
                              struct kelp_bytes body, struct kelp_fault *fault);
void fetch_run(struct driver *d);
void fetch_saved(struct driver *d);
kelp_ns fetch_next(const struct driver *d);
bool fetch_at_once(const struct driver *d);
bool fetch_owns_disk(const struct driver *d);    /* what is said of pieces is said to it */
bool fetch_holds_apply(const struct driver *d);  /* the machine is being restored */
bool fetch_stands_apart(const struct driver *d); /* it is, and the core does not know yet */
void fetch_free(struct driver *d);
/* fetch_take - that one of that node, above what is applied, which stands; false: not now. */
bool fetch_take(struct driver *d, kelp_id from, struct kelp_pos pos);

/* copy.c */
bool copy_start(struct driver *d, struct request *r);
void copy_leave(struct driver *d, struct request *r);
bool copy_waits(const struct driver *d);          /* somebody does, for a piece */
void copy_read(struct driver *d);                 /* .. the first one is asked for */
void copy_came(struct driver *d);                 /* .. and has come; then piece_over */
kelp_ns copy_files_until(const struct driver *d); /* so long files stay open for readers */

/* headway.c */
void headway_run(struct driver *d); /* behind fetch_run */
kelp_ns headway_next(const struct driver *d);

/* serve.c */
/* piece_read - ask for a piece; false: one is open. piece_over - it was looked at. piece_object -
 * give the machine the next object of a chunk that is restored from; all: there was none left. */
bool piece_read(struct driver *d, enum piece_purpose purpose, kelp_id peer, struct kelp_pos pos,
                uint64_t offset);
void piece_over(struct driver *d);
/* piece_unreadable - that is no mistake of who asked: is the snapshot lost? */
void piece_unreadable(struct driver *d, struct kelp_pos pos, enum kelp_error error);
enum kelp_error piece_object(struct driver *d, bool *all, struct kelp_fault *fault);
enum kelp_error serve_arrived(struct driver *d, kelp_id from, uint64_t connection,
                              struct kelp_bytes body, struct kelp_fault *fault);
void serve_lost(struct peer *p);
bool serve_member(const struct driver *d, const struct peer *p); /* it may have the state */
enum kelp_error serve_send(struct driver *d, const struct peer *p, uint64_t connection,
                           const struct wire_piece *piece);
void serve_run(struct driver *d);
kelp_ns serve_next(const struct driver *d);
size_t serve_count(const struct driver *d); /* peers that fetch one */

/* request.c */
bool pool_init(struct request_pool *pool, uint32_t proposals_max);
void pool_free(struct request_pool *pool);
bool request_reserve(
    struct driver *d); /* the next request_take cannot fail; false: out of memory */
struct request *request_take(struct driver *d, struct driver_line *line, enum request_kind kind);
void request_recycle(struct driver *d, struct request *r);
void requests_bury(struct driver *d);                          /* after flush */
struct request *request_of(struct driver *d, uint64_t handle); /* NULL: long gone */
/* request_rename - what was reported to it, or will be, under its name finds nobody: the machine
 * may answer a question late that is asked anew. */
void request_rename(struct request *r);
bool request_keep(struct driver *d, struct request *r, struct kelp_bytes user,
                  struct kelp_bytes command);             /* copies them; false: out of memory */
void request_let_go(struct driver *d, struct request *r); /* what was kept */
void request_drop_bytes(struct request *r);               /* nothing borrows them any more */
void request_hold_again(struct driver *d, struct request *r); /* its bytes are still there */
void request_result(struct driver *d, struct request *r, struct kelp_bytes result);
void request_result_drop(struct driver *d, struct request *r);
void timer_add(struct driver *d, struct request *r);
void timer_remove(struct driver *d, struct request *r);
struct request *timer_first(struct driver *d);
void awaiting_add(struct driver *d, struct request *r); /* until pos.index is applied */
void awaiting_remove(struct driver *d, struct request *r);
struct request *awaiting_first(const struct driver *d);
void index_add(struct driver *d, struct request *r);
void index_remove(struct driver *d, struct request *r);
void applying_timers(struct driver *d); /* whatever waits to be applied ends at its deadline */
struct request *index_find(struct driver *d, kelp_index index);
void number_add(struct driver *d, struct request *r);
void number_remove(struct driver *d, struct request *r);
struct request *number_find(struct driver *d, uint64_t number);

/* handover.c */
void handover_refresh(struct driver *d);                  /* do we hand over just now? */
void handover_hold(struct driver *d, struct request *r);  /* a peer's write, kept before */
bool handover_pump(struct driver *d);                     /* what was held; the own stop */
kelp_ns handover_next(const struct driver *d);            /* when driver_retired may change */
void handover_start(struct driver *d, struct request *r); /* a transfer, of our own core */
bool drain_start(struct driver *d, struct request *r);    /* false: it has to wait */
bool handover_answered(struct driver *d, const struct kelp_answer *answer); /* of the own stop */

/* once.c: what the entry of a write says beside its command of len bytes, which is not set */
struct wire_entry once_entry(const struct request *r, size_t len);
/* line.c */
bool route_equal(struct route a, struct route b);
void route_refresh(struct driver *d);
void line_ready(struct driver *d, struct driver_line *line);
void request_close(struct driver *d, struct request *r, enum kelp_outcome outcome,
                   enum kelp_reason reason);
void request_removed(struct driver *d, struct request *r); /* with whom to ask instead */
void request_requeue(struct driver *d, struct request *r);
/* A read that is asked again, or was told late: those behind it that were told are asked again. */
void reads_behind_again(struct driver *d, struct request *first);
void line_opened(struct driver *d, struct request *r);
void request_dequeue(struct driver *d, struct request *r); /* its next state says where it went */
bool line_may_start(const struct driver *d, const struct driver_line *line,
                    const struct request *r);
/* The command of e stands in room, reserved in the log cache; e has its lengths. */
void request_propose(struct driver *d, struct request *r, struct wire_entry *e, uint8_t *room);
void request_ask(struct driver *d, struct request *r); /* a read, of our own core */
void request_answered(struct driver *d, const struct kelp_answer *answer);
bool lines_pump(struct driver *d);
void lines_deliver(struct driver *d);
kelp_ns lines_expire(struct driver *d);
void request_start_here(struct driver *d, struct request *r); /* out of its line's queue */
void lines_end(struct driver *d, enum kelp_reason reason);    /* close what is still open */

/* What cannot start now is copied and queued. */
struct request *line_append(struct driver *d, struct driver_line *line, enum request_kind kind,
                            uint64_t token, kelp_ns deadline);
void request_hold(struct driver *d, struct request *r, struct kelp_bytes user,
                  struct kelp_bytes command);

/* change.c */
void config_made(struct driver *d, const struct kelp_made *made); /* its bytes, into the cache */
void change_start(struct driver *d, struct request *r); /* out of the queue; or a plan of one */
void change_wait(struct driver *d, struct request *r);  /* CHANGING */
void change_refuse(struct driver *d, struct request *r, enum kelp_reason reason, kelp_id member);
void change_elsewhere(struct driver *d, struct request *r); /* to whoever leads now */
/* address_after - the address of a member once a change is made; NULL: it has none. */
const struct wire_address *address_after(const struct driver *d, const struct wire_change *named,
                                         kelp_id id);
void change_leave(struct driver *d, struct request *r);
bool changes_run(struct driver *d); /* true: something was done */
void change_answered(struct driver *d, const struct kelp_answer *answer);
enum kelp_reason change_waits_for(struct driver *d, struct request *r);
/* knocks - those who wait to be added here. */
size_t change_knocks(const struct driver *d, struct driver_knock out[KELP_MEMBERS_MAX]);
/* change_candidates - whom to dial although they are no members yet. */
size_t change_candidates(const struct driver *d, struct driver_member out[KELP_MEMBERS_MAX]);

/* lead.c */
void lead_refresh(struct driver *d); /* the view may be another: tell what is new */
/* plan.c */
void plan_start(struct driver *d, struct request *r, const struct wire_change *named);
/* plan_answer - judged, and told. reason: what the core cannot know against it, about member. */
void plan_answer(struct driver *d, struct request *r, const struct wire_change *named,
                 const struct kelp_edit *edits, enum kelp_reason reason, kelp_id member);
/* moving.c */
void moving_run(struct driver *d);
kelp_ns moving_next(const struct driver *d);

/* read.c */
bool read_hollow(const struct driver *d); /* what its machine would answer was never committed */
bool read_local(const struct driver *d, const struct request *r); /* answered by what is here */
struct route read_route(const struct driver *d);                  /* .. of those */
bool read_beside(const struct driver *d, const struct driver_line *line, const struct request *r);
/* read_hopeless - would it wait for an index that never comes here? */
bool read_hopeless(struct driver *d, const struct request *r, kelp_index index);
void read_opened(const struct driver *d, struct driver_line *line, const struct request *r);
bool read_start(struct driver *d, struct driver_line *line, struct request *r); /* false: waits */
void read_begin(struct driver *d, struct request *r);   /* of our own core: out of the queue */
void read_propose(struct driver *d, struct request *r); /* through the log */
void read_answered(struct driver *d, struct request *r, const struct kelp_answer *answer);
void read_indexed(struct driver *d, struct request *r, kelp_index index); /* by the leader */
/* read_told - it knows from here on what it may see: an index, or its whole answer. */
void read_told(struct driver *d, struct request *r);
bool reads_release(struct driver *d); /* what is applied far enough; true: something was done */
bool read_fresh(struct driver *d, struct request *r); /* is what is here? Fills r->ages */
void read_held(struct driver *d, struct request *r);  /* .. and still when it is answered? */
kelp_index read_seen(const struct driver *d);         /* no answer made now shows more than this */
void level_note(struct driver *d);
void heard_leader(struct driver *d, const struct kelp_message *m); /* what it committed */

/* query.c */
void asker_init(struct asker *a, struct driver_line *line, struct peer *peer);
void query_add(struct driver *d, struct request *r);    /* QUERYING, for its turn */
void query_remove(struct driver *d, struct request *r); /* whether it waits or goes on */
void walk_end_tell(struct driver *d);                   /* the machine, of one that was ended */
bool queries_run(struct driver *d);                     /* true: something was done */
bool answers_fit(const struct driver *d, const struct driver_line *line); /* one more read */
/* May a read be forwarded, as far as its answer's room is known? Else it would be asked again at
 * once, again and again. */
bool answer_may_come(const struct driver *d, const struct driver_line *line);
/* May the answer to a forwarded read be kept? If not the read is asked anew. */
bool answer_fits(const struct driver *d, const struct request *r, size_t len);

/* forward.c */
bool forward_send(struct driver *d, struct request *r);   /* false: not sent, try later */
bool forward_join(struct driver *d, struct request *r);   /* a question that goes already */
void forward_opened(struct driver *d, struct request *r); /* QUEUED before: FORWARDED */
enum kelp_error forward_arrived(struct driver *d, kelp_id from, uint64_t connection,
                                struct kelp_bytes body, struct kelp_fault *fault);
enum kelp_error forward_answered(struct driver *d, kelp_id from, uint64_t connection,
                                 struct kelp_bytes body, struct kelp_fault *fault);
void forward_lost(struct driver *d, kelp_id peer, uint64_t connection);
void forward_reply_all(struct driver *d);
bool forward_term_led(struct driver *d, uint64_t term); /* here and now */

/* birth.c */
enum kelp_error raft_start(struct driver *d, const struct kelp_boot *boot,
                           struct kelp_fault *fault);
bool birth_run(struct driver *d);
bool founding_start(struct driver *d, struct request *r);
kelp_ns birth_tick(struct driver *d);
void birth_saved(struct driver *d);

#endif
