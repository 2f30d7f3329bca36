/* SPDX-License-Identifier: Apache-2.0 */
/* swarm.h - what a seed decides before the first event: how large the cluster is, its timers and
 * limits, what its network, disks and clients are like, and which faults there are at all.
 *
 * Every run leaves out some faults wholly: a fault that always happens hides what only happens
 * without it. Source: Groce et al., "Swarm testing", ISSTA 2012. */
#ifndef SIM_SWARM_H
#define SIM_SWARM_H

#include "kelp/core.h"
#include "kelp/sim.h"
#include "sim/draw.h"
#include "sim/machine.h"

enum sim_fault {
    FAULT_NONE = 0,     /* what zero bytes mean */
    FAULT_KILL,         /* a process dies, the page cache stays */
    FAULT_POWER,        /* a node loses power */
    FAULT_POWER_ALL,    /* all of them at once */
    FAULT_PAUSE,        /* a process stands still while its clock runs on */
    FAULT_HALVES,       /* the network falls into two parts */
    FAULT_ISOLATE,      /* one node is cut off */
    FAULT_ONE_WAY,      /* one direction between two nodes, or out of one node */
    FAULT_BRIDGE,       /* two parts that both see one node */
    FAULT_FLAP,         /* a link goes up and down */
    FAULT_CUT,          /* connections are closed */
    FAULT_STALL,        /* a disk takes long for one job */
    FAULT_STORM,        /* for a while many frames are lost and late */
    FAULT_STRANGER,     /* a node of another cluster or directory knocks */
    FAULT_STOP,         /* a node is stopped in good order and started again */
    FAULT_THREE,        /* the network falls into three parts */
    FAULT_RING,         /* every node sees a majority, no two the same one */
    FAULT_CHAIN,        /* every node sees two others, the ends one */
    FAULT_STAR,         /* all see one node, and nobody else */
    FAULT_CLOG,         /* one direction stands still and then delivers all */
    FAULT_SWIZZLE,      /* nodes' links stand still one by one and go on in another order */
    FAULT_PAUSE_INSIDE, /* a process stands still in the middle of its work */
    FAULT_SUSPEND,      /* it stands still, and its clock is up to an hour ahead afterwards */
    FAULT_CLOCK_JUMP,   /* the same without the pause */
    FAULT_CLOCK_STOP,   /* a clock stands still for a while */
    FAULT_SLOW,         /* a disk is slow for a while */
    FAULT_HANG,         /* a sync never returns */
    FAULT_CRASH_INSIDE, /* a node dies in the middle of a save, perhaps again soon after */
    FAULT_TRANSFER,     /* no fault: somebody moves the leadership */
    FAULT_ROT_MILD,     /* rot where a node must not mind */
    FAULT_SYNC_FAILS,   /* from here on only what the atlas allows: see atlas.c */
    FAULT_WRITE_FAILS,
    FAULT_READ_FAILS,
    FAULT_FULL, /* a disk has no more room for a while: no node may stop for that */
    FAULT_ROT,
    FAULT_LOST_WRITE,  /* the disk said OK, and the bytes never arrived */
    FAULT_STRAY_WRITE, /* they arrived somewhere else */
    FAULT_STRAY_READ,  /* a read brings other bytes */
    FAULT_WIPE,        /* a directory is emptied: the node is lost for good */
    FAULT_CHANGE,      /* somebody changes the membership */
    FAULT_COUNT
};

struct swarm {
    uint32_t nodes;
    /* node */
    kelp_ns heartbeat, election_min, election_max;
    struct kelp_limits limits;
    uint64_t trailing_entries, snapshot_every;
    bool snapshot_objects;                       /* else all of the state is own bytes */
    uint64_t snapshot_log_bytes, snapshot_chunk; /* 0: no such trigger; of a piece */
    uint32_t snapshot_ratio, snapshots_kept;
    uint64_t snapshot_asked;   /* by hand, once in so many runs of a node; 0: never */
    kelp_ns snapshot_interval; /* 0: no such trigger */
    uint64_t hold_bytes;       /* of log kept for members that are behind */
    uint64_t send_rate;        /* of snapshots, bytes a second; 0: no limit */
    uint64_t segment_bytes, zero_piece_bytes;
    uint32_t spares;
    uint32_t clock_drift; /* at most so many thousandths */
    bool clock_split;     /* the first node's is the slowest, all others the fastest */
    kelp_ns lease;        /* 0: no leases; they know how far clocks drift apart */
    uint32_t drift_ppm;
    uint32_t off;            /* enum kelp_protection bits: what is safe without them must stay so */
    bool apply_durable_only; /* as for a machine that keeps its own data */
    kelp_ns apply_range; /* a batch takes up to so long to apply; 0: it is applied in the call */
    /* network: one-way delay, and how many frames in 65536 */
    kelp_ns delay_min, delay_range, delay_late;
    uint32_t lost, repeated, replayed, damaged, late;
    uint32_t capacity; /* frames on the way, one direction of a link */
    /* bytes a second of snapshots, the same, one piece behind the other; also when it is healed:
     * a slow path is no fault; 0: no limit */
    uint64_t lane_rate;
    bool ordered; /* frames of a connection do not overtake each other */
    bool pieces;  /* a frame may come in two of them */
    /* disk */
    kelp_ns save_min, save_range, stall_max;
    uint32_t tear_bytes;
    bool crash_in_recovery, garbled, names_loose;
    bool atlas;             /* false: any disk may be harmed, and nothing is demanded but honesty */
    uint32_t frail;         /* slots whose disks may be harmed: a minority of them */
    kelp_ns slow_start_max; /* 0: a start takes no time */
    /* clients */
    uint32_t clients, pipeline, registers, read_percent, local_percent, filling;
    uint32_t shares[MACHINE_KINDS]; /* of 100 requests, so many of each kind of name .. */
    uint32_t lent_share;            /* .. and so many more of what is lent */
    uint32_t level_percent;         /* of the reads that are not plainly linearizable */
    uint32_t elsewhere;             /* slots whose machines answer no reads */
    uint32_t readers; /* clients that only read: a write that cannot be answered keeps back reads */
    uint32_t once;    /* clients whose writes are in sessions, and asked for until they are done */
    kelp_ns think;    /* between two bursts, on average */
    kelp_ns deadline;
    /* faults */
    kelp_ns fault_every; /* on average */
    uint32_t weights[FAULT_COUNT], weight_sum;
    bool mild; /* one kind of fault only, and seldom: the cluster must make progress all the time */
    kelp_ns fault_long; /* the longest partition or pause */
    /* membership: these found the cluster, the others wait to be added. All nodes: it never
     * changes */
    uint32_t founders;
    kelp_ns remove_unseen, join_healthy; /* 0: off; as in struct kelp_options */
    uint32_t remove_voters_min;
    bool witness; /* the first who is added is a witness, and then the membership changes seldom */
};

/* swarm_draw - everything from one stream; nodes 0: drawn too. */
void swarm_draw(struct swarm *s, struct draw *draw, uint32_t nodes);

/* swarm_drift - clocks drift further apart than leases allow for: a canary. */
void swarm_drift(struct swarm *s);

/* swarm_together - sessions, deadlines and tiny snapshots, whatever was drawn. */
void swarm_together(struct swarm *s);

/* swarm_calm - the same cluster without faults, for healing. */
void swarm_calm(struct swarm *s);

const char *sim_fault_name(enum sim_fault fault);

#endif
