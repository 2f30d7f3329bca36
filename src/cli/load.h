/* SPDX-License-Identifier: Apache-2.0 */
/* load.h - the demo's clients: unique keys written over a few pipelined connections, every answer
 * counted, and each node's own view of the cluster asked for all the while.
 *
 * A key is sent again only after a definite refusal. One whose answer is lost or says that the
 * outcome is unknown stays uncertain for ever. Nothing here waits longer than it is told to. */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "cli/fleet.h"

#define LOAD_KEYS_MAX   10000u
#define LOAD_WRITERS    6u
#define LOAD_WINDOW     16u /* unanswered writes of one connection */
#define LOAD_TEXT_BYTES 80u /* of a key or a value, NUL included */

enum load_state { LOAD_WAITING, LOAD_OPEN, LOAD_OK, LOAD_UNCERTAIN };

/* One connection: a writer, or the one that asks its node for RAFT STATUS. */
struct load_lane {
    bool watch, connected;
    unsigned home, node; /* where it would like to be, and is */
    int fd;              /* -1: none */
    redisReader *reader;
    struct buf out;
    size_t sent;                /* of out */
    uint16_t open[LOAD_WINDOW]; /* keys in the order of their answers; of a watch: no meaning */
    unsigned first, count;      /* of open */
    uint64_t not_before_ms;     /* dial, ask or write again */
};

/* What a node last said about itself. */
struct load_view {
    bool known;
    char role[16];
    uint64_t term, leader, commit, applied;
};

struct load {
    const struct fleet *fleet;
    unsigned key_count;
    uint8_t state[LOAD_KEYS_MAX];    /* enum load_state */
    uint16_t waiting[LOAD_KEYS_MAX]; /* a ring of keys to send */
    unsigned waiting_first, waiting_count;
    unsigned ok, refused, uncertain, open; /* refused counts answers, the others keys */
    unsigned per_second;                   /* 0: nothing is written yet */
    uint64_t began_ms, sent_count;
    uint64_t ok_ms, gap_ms; /* the last OK; the longest time without one since gap_ms was cleared */
    char refusal[100];      /* the last refusal, for people */
    struct load_lane lanes[LOAD_WRITERS + FLEET_NODES_MAX];
    unsigned lane_count;
    struct load_view views[FLEET_NODES_MAX + 1]; /* by node */
};

void load_open(struct load *l, const struct fleet *fleet, unsigned key_count);
void load_close(struct load *l);

/* load_begin - start writing, at most so many keys a second. */
void load_begin(struct load *l, unsigned per_second);

/* load_step - one turn: send what may be sent, wait at most wait_ms, take the answers. */
void load_step(struct load *l, unsigned wait_ms);

/* load_leader - the node that leads the highest term anybody knows of; 0: none. */
unsigned load_leader(const struct load *l);

void load_key(unsigned key, char *out);   /* LOAD_TEXT_BYTES */
void load_value(unsigned key, char *out); /* LOAD_TEXT_BYTES */

#endif
