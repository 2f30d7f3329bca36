/* SPDX-License-Identifier: Apache-2.0 */
/* world.h - a simulated cluster: its clock, its nodes, what is on the way between them, its
 * clients.
 *
 * One thread, one heap of events, and for each node two moments that change too often for the heap:
 * when its driver wants to be called and when its disk job ends. world.c takes the earliest of all;
 * at one moment the heap comes before nodes and a lower node before a higher one. Each event
 * changes one node, which is then judged by the checker. Choices come from one stream of bytes a
 * concern (draw.h), so that a new draw in one place does not change what another one draws. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "driver/driver.h"
#include "rsm/rsm.h"
#include "sim/checker.h"
#include "sim/disk.h"
#include "sim/draw.h"
#include "sim/heap.h"
#include "sim/machine.h"
#include "sim/model.h"
#include "sim/swarm.h"
#include "store/store.h"

#define NODES_MAX    KELP_SIM_NODES_MAX
#define CLIENTS_MAX  8u
#define PIPELINE_MAX 16u
#define LINKS_MAX    (NODES_MAX * NODES_MAX * KELP_LANES)
#define REPLAYS_MAX  64u
#define WATCHED_MAX  4096u /* entries of one save */

enum event_kind {
    EVENT_FRAME = 1, /* a packet arrives; value: bytes of a first piece, 0: all; item: packet */
    EVENT_DIAL,      /* node dials; value: link */
    EVENT_DIAL_LATE, /* the hello was not answered; value: connection */
    EVENT_CLOSED,    /* node learns that a connection is gone; value: connection */
    EVENT_START,     /* node starts */
    EVENT_CLIENT,    /* value: client */
    EVENT_FAULT,     /* the next fault is due */
    EVENT_MEND,      /* something ends; value: number << MEND_BITS | enum mend */
    EVENT_FLAP,      /* value: which one */
    EVENT_HEAL,      /* the faults are over */
    EVENT_LOOK,      /* node: has its disk room again?; value: its life */
    EVENT_WAKE,      /* node: its driver is due (traced only) */
    EVENT_SAVED,     /* node: its disk job ends (traced only) */
    EVENT_APPLIED    /* node: its state machine is done with a batch (traced only) */
};

enum mend {
    MEND_PARTITION = 0,
    MEND_STORM,
    MEND_CLOCK,
    MEND_ROOM,
    MEND_POWER,
    MEND_RETIRED,
    MEND_DRAINED
};
#define MEND_BITS 3u

/* ---- network ---- */

struct packet {
    struct packet *next;
    uint32_t references, len, room;
    uint8_t from, to; /* slots */
    uint8_t lane, kind;
    bool damaged, replayed;
    uint64_t connection;
    uint64_t number; /* its name in the trace */
    kelp_ns sent_at;
    uint8_t data[];
};

enum link_state { LINK_IDLE = 0, LINK_HELLO, LINK_OPEN };

/* One node's dialled connection to another on one lane. Each end has its own idea of it. */
struct link {
    uint64_t connection; /* the newest one dialled */
    uint64_t accepted;   /* the one that the other end takes for open, 0: none */
    uint8_t dialler, acceptor, lane;
    uint8_t state; /* of the dialler's end */
    kelp_ns last_arrival[2];
    kelp_ns busy[2]; /* until then it carries pieces of snapshots that were sent before */
    uint32_t on_the_way[2];
};

#define NET_SILENT_MS 4000u /* at most: a connection that ended, and nobody was told */

struct net {
    struct link links[LINKS_MAX];
    uint64_t connections; /* made so far */
    uint64_t packets;     /* made so far */
    bool cut[NODES_MAX][NODES_MAX];
    struct clog { /* what leaves in this time arrives behind its end */
        kelp_ns from, until;
    } clogs[NODES_MAX][NODES_MAX];
    uint64_t partition; /* number of the last one; the only one that may be mended */
    uint64_t storm;     /* number of the last one */
    bool stormy;
    uint8_t flap_a, flap_b;
    kelp_ns flap_until;
    struct packet *spare, *spare_large;
    struct packet *replays[REPLAYS_MAX];
    uint32_t replay_next;
};

/* ---- nodes ---- */

enum node_state {
    NODE_DOWN = 0, /* not running; will be started */
    NODE_UP,
    NODE_FAULTED, /* runs, but its disk failed: counted out until it is started again */
    NODE_GONE,    /* will never run again, or only to refuse again */
};

enum job_kind {
    JOB_SAVE = 1,
    JOB_READ,
    JOB_SNAPSHOT,
    JOB_PLEDGE,
    JOB_IDLE,
    JOB_FORGET,
    JOB_APART,
    JOB_PIECE,
    JOB_DROP,
    JOB_FETCH
};

#define JOB_PARTS 6u

struct job {
    uint8_t kind;
    struct kelp_save save;
    struct kelp_bytes parts[JOB_PARTS];
    struct kelp_bytes *more_parts; /* owned; all of them when there are more than JOB_PARTS */
    size_t part_count;
    uint64_t tag, bytes_max;
    kelp_index first;
    uint32_t entries_max;
    struct kelp_pos pos;
    struct kelp_bytes piece; /* of a snapshot, borrowed; tag is its offset */
    bool last_piece;
    bool fetched;  /* a snapshot of another node */
    uint8_t *head; /* owned: an encoded snapshot head */
    size_t head_len;
    struct kelp_cluster_id cluster;
    uint64_t epoch; /* PLEDGE */
    kelp_id name;   /* PLEDGE: the id it was given; 0: it has one */
};

/* A batch that the state machine is busy with: a copy, since entries are borrowed. */
struct batch {
    kelp_index first;
    size_t count, room, bytes_room;
    struct kelp_bytes *entries;
    uint8_t *bytes;
};

struct world;

/* How a node dies in the middle of a save. */
struct death {
    bool wanted;
    bool power;        /* and what its disk was told and did not keep is lost */
    bool voting;       /* only a save of a term or a vote will do */
    kelp_ns back;      /* so long is it down */
    kelp_ns cut_after; /* its next start: so long later the power goes; 0: it does not */
    uint32_t again;    /* at this sync of its next start the power goes; 0: it does not */
};

/* What was done to a node that explains a fault or a refusal. */
struct harm {
    bool rotten;  /* its disk holds other bytes than it wrote: it may stop at any time for good */
    bool failing; /* a call of the disk failed or will: it may stop until it is started again */
    bool full;    /* its disk has no room */
};

struct node {
    struct world *world;
    uint8_t slot;
    kelp_id id;
    enum node_state state;
    uint64_t life;               /* starts so far */
    uint64_t wall_ms;            /* its time of day when its clock began */
    kelp_ns handing_since;       /* its clock, 0: it does not hand over */
    struct kelp_leadership told; /* of who leads, in this life */
    kelp_term elected_told;
    uint64_t retires; /* the last life in which it was told to hand over and end */
    uint64_t parted;  /* the last life in which it told a voter to stand because it faulted */
    bool outside;     /* of the core that must live after healing: stays as broken as it is */
    bool closed;      /* no client comes to it any more */
    bool apart;       /* its state is another than the others': apart.c */
    bool opening;     /* its store is open, the rest of it not yet: down for everybody else */
    struct harm harm;
    /* time */
    kelp_ns clock_offset, clock_from; /* local = offset + (now - from) x rate / 1000 */
    uint64_t clock_rate, clock_goes;  /* thousandths: now, 0 while it stands still; else */
    kelp_ns wake, job_end, apply_end, started, opens_at;
    kelp_ns paused_from, paused_until;
    kelp_ns pause_inside; /* it will stand still so long in the middle of its next run */
    kelp_ns frozen_until; /* its clock; 0: it goes */
    kelp_ns frozen_last;  /* when it last went on after that */
    struct {
        uint64_t term, id, answered;
    } heard[NODES_MAX];  /* by slot of the sender: the newest as a leader; of our own, answered */
    kelp_ns misled_last; /* when it was last told of long ago, and could not know it */
    struct death death;
    /* parts */
    struct sim_disk *disk;
    struct store *store;
    struct snapwriter writer; /* of the snapshot that is being taken, or fetched */
    struct snapreader reader; /* of finished ones */
    uint8_t *piece;           /* what it read last */
    struct driver *driver;
    struct rsm *rsm;
    void *machine;
    struct batch batch;
    struct prng random;
    struct wire_hello hello; /* the part that does not change in one life */
    /* log owner */
    struct job *jobs; /* a ring */
    size_t job_first, job_count, job_room;
    size_t job_batch;            /* how many the running one takes */
    bool job_work;               /* housekeeping runs */
    bool work_due;               /* there is housekeeping */
    bool looks;                  /* it will look at the room of its disk */
    uint64_t segments, spares;   /* when last looked at */
    kelp_ns stall;               /* added to the next job */
    kelp_ns slow_until, slow_by; /* added to every job until then */
    uint8_t *read_buffer;
    size_t read_room;
    bool wiped;
    char note[160]; /* the last line it said */
};

/* ---- clients ---- */

struct request {
    uint64_t token;
    bool read, late_judged;
    uint32_t name;
    struct machine_more more;
    uint64_t value;
    uint8_t place; /* in the pipeline */
    uint64_t process;
    kelp_ns call, deadline;
    kelp_index commit_at_call;
    uint64_t answers_at_call;
    struct kelp_read_how how;
    struct driver_once once; /* of a write */
    bool uncertain;          /* .. an earlier attempt may have been executed */
    uint64_t cluster_clock, clock_term, rooms_refused; /* lapse.c: when a read was asked */
    size_t filling; /* so many bytes behind it, the same in every attempt */
};

struct retrying {               /* a client in a session: retry.c */
    uint64_t session, sequence; /* 0: none yet; the last one given */
    bool opening;
    struct request waits[2 * PIPELINE_MAX]; /* to be asked again */
    uint32_t count;
};

struct client {
    uint32_t number;
    uint8_t node;
    uint64_t life;                     /* of the node when the line was opened */
    struct driver_line *line;          /* NULL: none */
    kelp_index floor;                  /* what its line has seen .. */
    kelp_index stale_floor;            /* .. by reads that may miss something */
    kelp_index token;                  /* what it has seen anywhere */
    uint32_t tries;                    /* to find a node */
    struct request open[PIPELINE_MAX]; /* a ring, oldest first */
    uint32_t first, count;
    uint64_t processes[PIPELINE_MAX]; /* whom the history takes each place for */
    struct retrying once;
};

struct outcome { /* told during a driver's run, judged after the node was */
    uint32_t client;
    struct request request;
    enum kelp_outcome outcome;
    enum kelp_reason reason;
    struct kelp_pos pos;
    uint8_t result[MACHINE_ANSWER_BYTES];
    size_t result_len;
};

#define NAME_SLOTS_MAX 32u

struct name_slot { /* a name that is asked for now; it rotates, so that no history gets long */
    uint32_t name, uses;
    uint64_t last; /* what was last seen there */
};

/* record.c: what clients were told; operation n has its items at items_at[n]. */
struct record {
    struct kelp_sim_operation *operations;
    size_t *items_at;
    size_t count, room;
    struct kelp_sim_item *items;
    size_t item_count, item_room;
};

struct commit_mark { /* so much was committed then */
    kelp_ns at;
    kelp_index commit;
};

struct clients {
    struct client clients[CLIENTS_MAX];
    uint64_t tokens;
    bool stopped;
    kelp_ns still_longest; /* that a node stood still at a stretch: pauses may follow each other */
    kelp_ns put_off; /* the last turn that waits for the end of a pause, its node's life apart */
    struct name_slot names[MACHINE_KINDS][NAME_SLOTS_MAX];
    uint32_t registers_used, lists_used; /* names given out so far */
    uint64_t processes;
    struct outcome *outcomes;
    size_t outcome_count, outcome_room;
    struct record record;
    uint64_t done_after_heal;
    struct commit_mark *marks; /* ascending */
    size_t mark_count, mark_room;
};

/* What is demanded of the core, and when it was seen. KELP_NEVER: not yet. */
struct demand {
    kelp_ns at;      /* when the faults ended */
    kelp_ns timeout; /* the longest election timeout of any node, in the world's time */
    kelp_ns leader_at, write_at, equal_at, term_at; /* term_at: when the last term began */
    kelp_ns write_late;    /* a write committed later than this is too late */
    kelp_ns leader_late;   /* .. and its leader, before it has committed anything */
    kelp_ns slow_at;       /* a node of the core was last bringing a snapshot over a slow path */
    kelp_index quorum_end; /* how far a quorum of the core had the log at the last look */
    uint64_t term_before, term; /* the highest one when the faults ended, and in the core now */
    uint64_t handed_before;     /* how often leadership was handed over for a change by then */
    uint64_t due_term;          /* lapse.c: whoever led so has had something due .. */
    kelp_ns due_since;          /* .. since then; 0: nothing */
    unsigned core;              /* how many nodes are in it */
    bool hopeless;              /* no quorum is left that the atlas protects: nothing is demanded */
};

/* churn.c: somebody who asks for changes of the membership. */
#define ASKS_MAX 4u
struct churn {
    struct kelp_config config; /* the newest that is committed anywhere; count 0: none yet */
    struct churn_ask {
        uint64_t token; /* 0: free */
        uint8_t node;
        uint64_t life;
        struct driver_line *line;
        struct wire_change change;
        bool told, plan;
        enum kelp_outcome outcome;
        enum kelp_reason reason;
        struct kelp_pos pos;
    } asks[ASKS_MAX];
    uint64_t tokens;
    bool told; /* of one of them; not judged yet */
};

struct tracer; /* trace.c */

/* One who moves the leadership, one request at a time. */
struct mover {
    struct driver_line *line; /* NULL: nothing is open */
    unsigned node;
    uint64_t life, token;
    kelp_ns deadline; /* of the node's clock */
    bool drains;      /* and not a transfer */
};

/* restorer.c: one who restores the cluster through its log, one step at a time. */
struct restore_file;
struct restorer {
    struct driver_line *line; /* NULL: nothing is open */
    unsigned node;
    uint64_t life, token, id;
    kelp_ns deadline; /* of the node's clock */
    kelp_ns until;    /* of the world's: so long it waits when all is healed */
    enum kelp_restore_kind kind;
    bool forced;
    struct restore_file *file; /* owned; NULL: none yet */
};

/* apart.c: one node's state is another than the others'. */
struct apart {
    enum { APART_NOT = 0, APART_WRITES, APART_READS, APART_STARTS, APART_REJOINS } state;
    unsigned node, by, open, told; /* by: whose line carries the barriers */
    uint64_t life, by_life, token, fetched;
    kelp_index target; /* so far barriers go */
    kelp_index back_at;
    kelp_ns at, passed_at, rejoin_at, started_at; /* the last: 0: not again */
    struct kelp_view held;                        /* as it was told to rejoin */
    struct driver_line *line;
};

/* heir.c: the leader of two nodes and a witness is killed again and again. */
struct heir {
    kelp_ns kill_at;   /* 0: not yet */
    kelp_ns killed_at; /* 0: somebody leads */
    uint64_t term;     /* that the last one led */
};

/* renewal.c: one disk is recovered by hand, and some of the others come back. */
struct renewal {
    bool on; /* the checker is told nothing any more */
    unsigned node;
    struct prng random;
    kelp_index commit, from; /* what it knew to be committed; the first of sums */
    struct kelp_pos kept;
    uint64_t *sums;
    kelp_ns until;
};

struct world {
    struct kelp_sim_options options;
    struct tracer *tracer; /* NULL: nobody reads the trace */
    struct kelp_sim_report *report;
    struct checker *checker;
    struct swarm swarm;
    uint64_t seed;
    struct draw streams[STREAM_COUNT];
    struct draw fault; /* the record of the fault that comes next or happens now */
    uint8_t fault_record[DRAW_RECORD_BYTES];
    struct sim_heap heap;
    kelp_ns now;
    uint64_t hash;
    unsigned node_count;
    struct node nodes[NODES_MAX];
    struct net net;
    struct clients clients;
    struct mover mover;
    struct restorer restorer;
    struct kelp_sim_machine machine;
    struct model *model; /* NULL: none */
    kelp_id wrong_node;  /* KELP_SIM_BREAK_APPLY */
    bool healing;
    struct demand demand;
    struct churn churn;
    struct heir heir;
    struct apart apart;
    struct renewal renewal;
    kelp_index fed_commit; /* starvation: the last one seen, when, and the requests made by then */
    kelp_ns fed_at;
    uint64_t fed_requests;
    bool ended;
    uint64_t same_moment; /* events since time moved: NoSpin */
    struct driver_member members[NODES_MAX];
    struct checker_entry watched[WATCHED_MAX]; /* watch.c: room to read a save's entries */
};

static inline struct draw *stream(struct world *w, enum stream s)
{
    return &w->streams[s];
}

/* world.c */
bool world_run(struct world *w);
void world_push(struct world *w, kelp_ns at, enum event_kind kind, unsigned node, uint64_t value,
                void *item);
bool world_failed(const struct world *w);
void world_trace(struct world *w, enum event_kind kind, unsigned node, uint64_t what);

/* node.c */
bool node_make(struct world *w, unsigned slot);
void node_unmake(struct node *n);
void node_start(struct node *n);
void node_crash(struct node *n, enum sim_disk_crash crash, kelp_ns back_after);
void sim_node_stop(struct node *n, kelp_ns back_after); /* in good order */
void node_lose(struct node *n);                         /* its directory is emptied, then started */
#define NODE_DISK_BYTES ((uint64_t)64 * 1024 * 1024)
void node_apply_ends(struct node *n);
void node_run(struct node *n); /* the driver, then the checker */
void node_fault(struct node *n, const struct kelp_fault *fault);
void node_pause(struct node *n, kelp_ns span); /* it stands still for at least so long */
void node_watch_status(struct node *n);        /* slow: has it given up without a cause? */
kelp_ns node_clock(const struct node *n);
/* Its clock jumps ahead and goes on at so many thousandths; 0: it stands still. */
void node_clock_set(struct node *n, kelp_ns ahead, uint64_t rate);
kelp_ns node_world_time(const struct node *n, kelp_ns local);
static inline bool node_paused(const struct node *n)
{
    return n->paused_until > n->world->now;
}

/* saver.c: the node's log owner */
extern const struct kelp_store_ops saver_ops;
void saver_job_ends(struct node *n);
uint64_t saver_doing(const struct node *n);
void saver_work(struct node *n); /* it starts: there may be housekeeping */
void saver_looks(struct node *n, uint64_t life);
void saver_die(struct node *n, enum sim_disk_crash crash);

/* watch.c: turning what nodes save and send into what the checker wants to know */
void watch_save(struct node *n, const struct kelp_save *save, const struct kelp_bytes *parts,
                size_t part_count);
void watch_frame(struct node *n, unsigned to, const struct packet *p);
void watch_heard(struct node *n, const struct packet *p); /* it arrives whole */
bool watch_recovery(struct node *n, struct kelp_fault *fault);
void sim_watch_event(struct node *n, const struct kelp_event *event);
void watch_node(struct node *n);
uint64_t watch_frame_hash(const struct packet *p);

/* net.c */
extern const struct kelp_peers_ops sim_net_peers_ops;
void net_make(struct world *w);
void net_unmake(struct world *w);
/* piece: so many of its first bytes; 0: all that are left */
void net_frame_arrives(struct world *w, struct packet *p, uint64_t piece);
void net_node_starts(struct node *n);
void net_node_dies(struct node *n);
void sim_net_dial(struct world *w, struct link *l);
void net_dial_late(struct world *w, uint64_t connection);
void net_closed(struct node *n, uint64_t connection);
void net_cut_connections(struct world *w, unsigned node);
struct packet *net_packet(struct world *w, size_t len); /* one reference */
void net_packet_drop(struct world *w, struct packet *p);
/* Hand a packet to the network; takes the reference. */
void net_send(struct world *w, struct link *l, struct packet *p);
struct link *net_link(struct world *w, uint64_t connection);

/* knock.c: handshakes, and strangers who try one */
void knock_hello(struct world *w, struct link *l);
void knock_arrives(struct world *w, struct packet *p, const struct wire_frame *frame);
void knock_stranger(struct world *w);

/* nemesis.c */
void nemesis_start(struct world *w);
void nemesis_next(struct world *w);
void nemesis_mend(struct world *w, uint64_t what, unsigned node);
struct draw *nemesis_draw(struct world *w);
kelp_ns nemesis_while(struct world *w); /* a drawn time */
struct node *nemesis_node(struct world *w);
void nemesis_mend_later(struct world *w, kelp_ns at, enum mend what, unsigned node,
                        uint64_t number);

/* What a node that has just started still has before it. */
void nemesis_node_started(struct node *n);
/* Its save would be done now: it dies in the middle of it instead. */
void nemesis_dies_inside(struct node *n);

/* restorer.c: who restores the cluster; nothing unless options.restores */
void restorer_acts(struct world *w);
void restorer_look(struct world *w);          /* is an answer overdue? */
bool restorer_over(const struct node *n);     /* nothing is staged there */
uint64_t restorer_hash(const struct node *n); /* of what is staged there; 0: nothing */
void restorer_free(struct world *w);

/* mover.c: who moves the leadership */
void mover_asks(struct world *w);
void mover_undrains(struct node *n);
/* apart.c */
bool apart_begins(struct world *w); /* at the end of a run; false: it does not */
bool apart_over(struct world *w);
void mover_heals(struct world *w);                   /* nobody is drained any more */
void mover_retires(struct world *w, struct node *n); /* hands over, then stops in good order */
void mover_look(struct world *w); /* is an answer overdue, does a leader hand over for ever? */
bool mover_idle(struct world *w); /* nothing is open, and no leader hands over */

/* partition.c */
void partition_happens(struct world *w, enum sim_fault fault);
void partition_flap(struct world *w, uint64_t number);
void partition_mend(struct world *w);
void partition_cut(struct world *w, unsigned from, unsigned to);

/* atlas.c: which disks may be harmed, and what a harmed node may do */
void atlas_happens(struct world *w, enum sim_fault fault);
void atlas_room_back(struct node *n);
bool atlas_harmless(const struct node *n);
/* A node refuses to start; false: it had no reason to. */
bool atlas_refuses(struct node *n, const struct kelp_fault *fault);
/* A running node stops with a fault. */
void atlas_faults(struct node *n, const struct kelp_fault *fault);

/* lapse.c. asked, known - what the cluster clock was when a read was asked; 0: it is not known, or
 * says nothing of the answer. look - of an idle healed cluster; true: nothing ends soon */
void lapse_asked(const struct world *w, struct request *q);
uint64_t lapse_known(const struct world *w, const struct request *q);
bool lapse_look(struct world *w);

/* demand.c */
void demand_begin(struct world *w);
void demand_look(struct world *w);
void demand_starve(struct world *w);

/* client.c */
bool clients_make(struct world *w);
void clients_unmake(struct world *w);
/* The node a client is connected to, NULL: none. */
/* retry.c. next - the request is one that waits. draw - what is new may be in a session. waits -
 * true: it was told what the history must not hear, and is asked again or given up. done: judged */
bool retry_next(struct world *w, struct client *c, struct request *q);
void retry_draw(struct world *w, struct client *c, struct request *q);
bool retry_waits(struct world *w, struct client *c, struct request *q, enum kelp_outcome outcome,
                 enum kelp_reason reason);
void retry_done(struct client *c, const struct request *q, struct kelp_pos pos);
void retry_end(struct world *w, struct client *c);

struct node *client_node(struct world *w, uint32_t number);
void client_wakes(struct world *w, uint32_t number);
void clients_node_dies(struct node *n); /* its lines are gone, without an answer */
void clients_leave(struct node *n);     /* nobody asks this node any more */
void clients_end(struct world *w);      /* the run is over, and some were not answered */
void clients_judge(struct world *w);    /* what was told during the last run */
void clients_judge_late(struct world *w);
bool clients_idle(const struct world *w);

/* record.c */
void record_answer(struct world *w, const struct request *q, enum kelp_outcome outcome,
                   struct kelp_bytes result);
bool record_judge(struct world *w); /* at the end: is the history linearizable? */
void record_free(struct record *r);

/* herald.c: what nodes tell of who leads */
void herald_begins(struct node *n); /* a new life */
void herald_told(void *ctx, enum kelp_lead_event event, const struct kelp_leadership *now);
void herald_look(struct node *n, const struct kelp_view *view); /* after each of its runs */

/* churn.c */
void churn_happens(struct world *w);                 /* somebody asks for a change */
void churn_adds_witness(struct node *n, kelp_id id); /* it is asked for one */
/* after each of its runs */
void churn_watch(struct node *n, const struct kelp_core *core, const struct kelp_view *view);
void churn_node_dies(struct node *n);
void churn_judge(struct world *w); /* what was told during the last run */
bool churn_idle(const struct world *w);
/* Is it a member of the newest committed configuration? All are, where nothing is ever changed. */
bool churn_member(const struct world *w, const struct node *n);
bool churn_removed(const struct node *n); /* by the newest committed configuration */
/* The leader's configuration is committed and simple, nobody is staging, and whoever was removed
 * knows it. */
bool churn_settled(const struct world *w, const struct node *leader);

/* heir.c: options.kills */
void heir_swarm(struct world *w); /* two nodes, a witness, and nothing else that is wrong */
void heir_look(struct world *w);

/* renewal.c */
bool renewal_begins(struct world *w); /* a run has passed; false: nothing more happens */
void renewal_judge(struct world *w);  /* at its end */
void renewal_passed(struct world *w, unsigned from, unsigned to, uint8_t kind); /* a frame */
void renewal_faults(struct node *n, const struct kelp_fault *fault);

/* story.c */
void story_tell(struct world *w);

#endif
