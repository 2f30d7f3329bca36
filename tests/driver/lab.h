/* SPDX-License-Identifier: Apache-2.0 */
/* lab.h - a few drivers with stores, machines and a network in memory, on a clock that the test
 * turns.
 *
 * What a crash keeps is what the store had run: identity, log, snapshot. Frames may be cut, lost
 * or sent twice; a seed decides. The machine under every driver is a list of 64-bit numbers: a
 * command appends its number and is answered with the new count, a question is answered with count
 * and last number. */
#ifndef TESTS_DRIVER_LAB_H
#define TESTS_DRIVER_LAB_H

#include "base/prng.h"
#include "driver/driver.h"
#include "rsm/rsm.h"
#include "store/memstore.h"

#define LAB_NODES  5u
#define LAB_VALUES 8192u
#define LAB_FREES  1000000u /* a value from here on passes for a deletion */
#define LAB_LASTS  500000u  /* .. from here on: something that is there so many ms more */
#define LAB_MS     UINT64_C(1000000)
/* node n's time of day is n of these ahead, ms */
#define LAB_WALL_HOURS UINT64_C(1000000000000)
#define LAB_LATE       1024u
#define LAB_CONFIGS    16u

struct lab;

struct lab_machine {
    uint64_t values[LAB_VALUES];
    uint64_t count, last;
    uint64_t walk_token, walk_pieces, walk_count; /* a long question that goes on; 0: none does */
    uint64_t walks_ended;                         /* without an answer */
    uint64_t objects;                             /* in each snapshot; 0: it is disposable */
    uint64_t object_bytes;                        /* 0: the state alone */
    uint64_t snapshots_begun, snapshots_ended, reads_left, copy[2];
    uint64_t restored[2], restores, objects_restored;
    uint64_t objects_run, objects_run_most; /* restored in this run of its driver; in any */
    uint64_t now, due, ticks; /* due: of what passes by itself, 0: nothing; ticks: clock entries */
    uint64_t due_when_asked;  /* .. at the last question */
    uint64_t beside, beside_len; /* what stood beside the last command that lasts */
    bool restoring;
    bool wants;        /* a snapshot */
    struct lab_stage { /* a restore through the log; objects: as snapshots' */
        bool open;
        uint64_t state[2], objects;
    } stage;
    enum kelp_error begin_error, read_error; /* what begin, and the next read, of a snapshot say */
    bool no_snapshots;
};

struct lab_link {
    uint64_t connection; /* 0: down */
    uint64_t newer;      /* a second one, on which sends go that may choose; 0: none */
    kelp_ns busy;        /* until then it carries what was sent before; see snapshot_rate */
};

struct lab_node {
    struct lab *lab;
    kelp_id id;
    bool up, cut;                /* cut: no frame goes in or out, its connections stay */
    bool hold_disk;              /* the store does not run */
    bool hold_apply;             /* the machine keeps its batches until released */
    enum kelp_error piece_error; /* what the store says of every piece of a snapshot */
    enum kelp_error fetch_error; /* .. of every piece that is read */
    enum kelp_error head_error;  /* .. and of every head */
    bool hold_fetch;             /* pieces are not read */
    bool older;                  /* its hello does not say that it knows restores */
    struct kelp_pos fetch_pos;   /* .. and which one waits for that; 0@0: none */
    uint64_t fetch_offset;
    bool apart;                /* its directory says that its state is known to be wrong */
    struct kelp_pos forgotten; /* older ones than this were to go */
    uint64_t fetches_closed;   /* so often it was said that nobody reads on */
    uint64_t save_ms;          /* saves are reported so much later */
    struct lab_late {
        uint64_t number;
        kelp_ns at;
    } late[LAB_LATE];
    size_t late_first, late_count;
    bool hold_query;             /* the machine keeps the next question and never answers it */
    bool joins, moves;           /* as in driver_options */
    struct wire_address address; /* what it advertises; "": nothing */
    bool no_room; /* what names its connection (forwards, their answers) finds it full */
    struct kelp_cluster_id cluster, pledging;
    bool pledge_queued;
    uint64_t epoch, pledging_epoch; /* of the cluster, as the directory says */
    uint64_t incarnation, start_count;
    struct memstore *store;
    uint8_t *entry1;
    size_t entry1_len, head_len, head_new_len;
    struct wire_config configs[LAB_CONFIGS]; /* of its log, but for entry 1 */
    size_t config_count;
    struct kelp_bytes snapshot;
    struct driver *driver;
    struct rsm *rsm;
    struct lab_machine *machine;
    kelp_index held_first;
    size_t held_count;
    uint8_t *held[1024];
    size_t held_len[1024];
    struct lab_link links[LAB_NODES][KELP_LANES]; /* by slot of the peer */
    char note[400];
    bool refused; /* by a peer's handshake */
};

struct lab_packet {
    kelp_id from, to;
    uint8_t lane;
    uint64_t connection;
    uint8_t *data;
    size_t len;
    kelp_ns due;
};

struct lab {
    kelp_ns now;
    struct prng prng;
    size_t count;
    struct lab_node nodes[LAB_NODES];
    struct driver_member listed[LAB_NODES];
    size_t founders;            /* nodes 1..founders list each other, the others wait to be added */
    struct lab_packet *packets; /* in flight, oldest first */
    size_t packet_count, packet_room;
    uint64_t connections;
    uint64_t loss, twice;              /* of 1000 frames */
    uint64_t snapshot_rate;            /* bytes a second on each snapshot lane, 0: no limit */
    struct driver_snapshots snapshots; /* but for the entries, which are snapshot_every */
    uint64_t snapshot_objects;         /* so many in each, 0: the machine is disposable */
    uint64_t snapshot_every, told_count;
    uint64_t trailing; /* entries kept, and a quarter of it what a witness may lack; 0: as usual */
    bool forgets;      /* no log is kept for members that are behind */
    bool reads_elsewhere; /* machines of followers answer no reads */
    kelp_ns lease;        /* of nodes that are started from here on; 0: none */
    kelp_ns election_min; /* the same; 0: the usual one */
    bool durable_only;    /* machines are fed what is durable on their node */
    uint64_t cache_bytes_max, forward_bytes_max, line_requests_max, answer_bytes_max;
    struct kelp_limits limits;
    /* sees every frame before it is queued; false drops it; may be NULL */
    bool (*watch)(struct lab *lab, const struct lab_packet *packet, void *ctx);
    void *watch_ctx;
};

const struct kelp_fsm_ops *lab_machine_ops(const struct lab_machine *m);
extern const struct driver_machine_ops lab_ports; /* of struct lab_node */

/* lab_new - nodes 1..count, all down and empty, each listing all. */
struct lab *lab_new(size_t count, uint64_t seed);
void lab_free(struct lab *lab);
struct lab_node *lab_node(struct lab *lab, kelp_id id);
void lab_start(struct lab *lab, kelp_id id); /* from what its store holds */
void lab_start_all(struct lab *lab);
void lab_crash(struct lab *lab, kelp_id id); /* what was not run by the store is gone */
void lab_wipe(struct lab *lab, kelp_id id);  /* crash, then an empty directory */
void lab_disconnect(struct lab *lab, kelp_id a, kelp_id b);
/* what is on its way on the snapshot lane from a to b, and what follows, comes so much later */
void lab_stall(struct lab *lab, kelp_id a, kelp_id b, uint64_t ms);
/* a second connection beside the one that is there; then the older one goes */
void lab_connect_newer(struct lab *lab, kelp_id a, kelp_id b, enum kelp_lane lane);
void lab_disconnect_older(struct lab *lab, kelp_id a, kelp_id b, enum kelp_lane lane);
void lab_run(struct lab *lab, uint64_t ms);
kelp_id lab_leader(struct lab *lab); /* the one that leads in the highest term, 0: none */
/* runs until there is one that can serve; fails after 30 s */
kelp_id lab_await_leader(struct lab *lab);
struct driver_status *lab_status(struct lab *lab, kelp_id id); /* valid until the next call */
void lab_release_apply(struct lab_node *node);                 /* the held batch is applied now */
void lab_inject(struct lab *lab, const struct lab_packet *packet); /* a copy of it is queued */

/* ---- a client: remembers what it was told, in order ---- */

struct lab_told {
    uint64_t token;
    uint64_t place; /* in the order of all that clients of the lab were told */
    enum kelp_outcome outcome;
    enum kelp_reason reason;
    struct kelp_pos pos;
    kelp_id leader;
    uint64_t result[2];
    size_t result_len;
    kelp_id member;
    struct kelp_read_ages ages;
};

struct lab_client {
    struct lab *lab;
    kelp_id node;
    struct driver_line *line;
    uint64_t tokens;
    struct lab_told told[LAB_VALUES];
    size_t told_count;
    uint8_t last[512]; /* the result of the last DONE, if it fits */
    size_t last_len;
};

struct lab_client *lab_client(struct lab *lab, kelp_id node);
void lab_client_free(struct lab_client *c);
uint64_t lab_write(struct lab_client *c, uint64_t value, uint64_t timeout_ms);
/* not forwarded */
uint64_t lab_write_here(struct lab_client *c, uint64_t value, uint64_t timeout_ms);
struct kelp_restore_step;
uint64_t lab_restore(struct lab_client *c, const struct kelp_restore_step *step,
                     uint64_t timeout_ms);
uint64_t lab_change(struct lab_client *c, const struct wire_change *change, uint64_t timeout_ms);
uint64_t lab_drain(struct lab_client *c, enum driver_drain_wish wish, uint64_t timeout_ms);
uint64_t lab_plan(struct lab_client *c, const struct wire_change *change, uint64_t timeout_ms);
uint64_t lab_read(struct lab_client *c, uint64_t timeout_ms);
uint64_t lab_read_how(struct lab_client *c, struct kelp_read_how how, uint64_t timeout_ms);
/* without a question; not forwarded: does its node lead? */
uint64_t lab_ask_bare(struct lab_client *c, struct kelp_read_how how, bool forward,
                      uint64_t timeout_ms);
/* a question that is answered after so many pieces, with the state it began with */
uint64_t lab_read_long(struct lab_client *c, uint64_t pieces, uint64_t timeout_ms);
/* a question whose answer has so many bytes, 16 or more */
uint64_t lab_read_of(struct lab_client *c, uint64_t bytes, uint64_t timeout_ms);
uint64_t lab_transfer(struct lab_client *c, kelp_id target, uint64_t timeout_ms);
void lab_await(struct lab_client *c, size_t told_count); /* fails after 30 s */

/* lab_knock - somebody who is no node of the lab shakes hands with one and says that it waits */
void lab_knock(struct lab *lab, kelp_id at, kelp_id id, uint64_t incarnation, const char *address);

#endif
