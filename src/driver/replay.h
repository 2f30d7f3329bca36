/* SPDX-License-Identifier: Apache-2.0 */
/* replay.h - how far a started node is with what its disk knew to be committed: replay.c. */
#ifndef DRIVER_REPLAY_H
#define DRIVER_REPLAY_H

#include "driver/driver.h"

#define REPLAY_MARK_NS (2000 * UINT64_C(1000000)) /* between two marks */

struct driver;

struct replay {
    kelp_index from; /* of the snapshot that was restored: what follows is replayed; 0: none */
    bool open;
    kelp_ns began;
    /* The older and the newer: the rate is what was applied since the older, so it speaks of the
     * last two to four seconds, and falls while nothing moves. */
    struct replay_mark {
        kelp_index applied;
        kelp_ns at;
    } marks[2];
};

/* replay_begin - Raft starts: from d->applied to d->replay_to. */
void replay_begin(struct driver *d);

/* replay_applied - d->applied has moved. */
void replay_applied(struct driver *d);

void replay_status(const struct driver *d, struct driver_replay *out);

#endif
