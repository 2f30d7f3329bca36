/* SPDX-License-Identifier: Apache-2.0 */
/* fleet.h - a cluster of real `kelp server` processes on this machine, for dev and demo.
 *
 * The nodes are children of this process and run this very executable. They end when it ends,
 * however it ends, and get no signal of its terminal. Logs go to DIR/node-N.log, data to
 * DIR/node-N. Timers and segments are small: everything shares one machine. Those that are there
 * from the beginning found the cluster; one that comes later asks them to join. */
#ifndef CLI_FLEET_H
#define CLI_FLEET_H

#include <sys/types.h>

#include "cli/room.h"

#define FLEET_NODES_MAX 9u

struct fleet_node {
    pid_t pid; /* 0: not running */
    bool paused;
    int ended; /* the wait status of its last run */
    char client[32], peer[32], http[32];
};

struct fleet {
    unsigned count, founders;                     /* ids 1 to ..; who comes later joins */
    struct fleet_node nodes[FLEET_NODES_MAX + 1]; /* by id; place 0 is empty */
    char dir[CLI_PATH_MAX];
};

void fleet_init(struct fleet *f, unsigned count, const char *dir);

/* fleet_ports - node i at base+i, base+100+i, base+200+i. fleet_ports_free - wherever there is
 * room; false: errno. */
void fleet_ports(struct fleet *f, unsigned base);
bool fleet_ports_free(struct fleet *f);

bool fleet_start(struct fleet *f, unsigned id); /* false: errno */

/* fleet_grow - one more, with the next id and its ports from base on; fewer than the most. */
void fleet_grow(struct fleet *f, unsigned base);

/* fleet_kill - SIGKILL, and wait until it is gone. */
void fleet_kill(struct fleet *f, unsigned id);
bool fleet_pause(struct fleet *f, unsigned id);
bool fleet_resume(struct fleet *f, unsigned id);

/* fleet_reap - a node that ended by itself since the last call; 0: none. */
unsigned fleet_reap(struct fleet *f);

/* fleet_stop - end all, politely first; a few seconds at most. */
void fleet_stop(struct fleet *f);

/* fleet_ending - how a node ended, for people: "status 3" or "signal 9 (Killed)". */
const char *fleet_ending(int wait_status, char *out, size_t size);

/* fleet_last_words - the last line of a node's log; "" if there is none. */
const char *fleet_last_words(const struct fleet *f, unsigned id, char *out, size_t size);

/* fleet_forget - delete the nodes' data and logs, nothing else. false: errno. */
bool fleet_forget(const struct fleet *f);

#endif
