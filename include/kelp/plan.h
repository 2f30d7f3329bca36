/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - what a change of the membership, or stopping a node, would do: before it is done.
 *
 * A plan is made of the configuration in force and of who answers the leader at this moment. The
 * same judgement refuses the change itself, so a plan and a refusal differ only if something
 * happened in between: name the plan's index with the change (if_index), and the members at least
 * are the same. */
#ifndef KELP_PLAN_H
#define KELP_PLAN_H

#include "kelp/change.h"
#include "kelp/types.h"

/* How it would be done. */
enum kelp_plan_way {
    KELP_PLAN_NOTHING = 0, /* it is so already */
    KELP_PLAN_STEP = 1,    /* one step: at most one vote changes [§4.1] */
    KELP_PLAN_JOINT = 2,   /* through a joint configuration [§4.3] */
    KELP_PLAN_STOP = 3,    /* the configuration stays: a node stops */
};

enum kelp_plan_member_flag {
    KELP_PLAN_ANSWERS = 1,    /* the leader, or heard by it within an election timeout */
    KELP_PLAN_CATCHES_UP = 2, /* gets its vote once it has caught up */
    KELP_PLAN_LEADS = 4,      /* now */
    KELP_PLAN_WILL_LEAD = 8,  /* as far as it can be told */
    KELP_PLAN_STOPS = 16,
};

/* What to think of even where nothing is refused: bit, name, words for people. */
#define KELP_PLAN_WARNINGS(X)                                                                      \
    X(1, NO_SPARE, "the next voter that fails stops the cluster")                                  \
    X(2, LESS_SPARE, "fewer voters may fail than before")                                          \
    X(4, EVEN, "an even number of voters tolerates no more failures than one fewer")               \
    X(8, FEW_LEADERS, "failures that leave a quorum may leave nobody who can lead")                \
    X(16, ONE_HOST, "all voters have addresses of one host")                                       \
    X(32, LEADER_GOES, "the leader goes: somebody else has to lead")                               \
    X(64, SILENT, "a voter that stays does not answer")                                            \
    X(128, PREFERRED,                                                                              \
      "a voter with a higher priority than the leader's leads once it was level for a while")

enum kelp_plan_warning {
#define KELP_PLAN_WARNING_ENUM(bit, name, words) KELP_PLAN_W_##name = bit,
    KELP_PLAN_WARNINGS(KELP_PLAN_WARNING_ENUM)
#undef KELP_PLAN_WARNING_ENUM
};

struct kelp_plan_side {
    uint8_t voters;
    uint8_t quorum;    /* how many of them decide; of a joint configuration, in its larger half */
    uint8_t live;      /* voters that answer, or will before they get the vote */
    uint8_t spare;     /* how many of these may fail and a quorum is left; 0 if there is none */
    uint8_t tolerates; /* the same if all answered */
    bool works;        /* a quorum answers */
};

struct kelp_plan_member {
    kelp_id id;
    uint8_t before, after; /* enum kelp_member_role; KELP_NONE: is not there */
    uint8_t flags;         /* enum kelp_plan_member_flag */
};

struct kelp_plan {
    kelp_index index;    /* of the configuration it was made of */
    kelp_id leader;      /* who leads now */
    kelp_id leader_next; /* who does in the end, as far as it can be told; 0: it cannot be */
    /* why it would be refused, or ought not to be done; KELP_R_NONE: nothing is against it */
    enum kelp_reason reason;
    kelp_id member;    /* whom that is about, 0: nobody */
    bool forcible;     /* FORCE would do it all the same */
    bool refused;      /* with the flags that were given */
    uint8_t way;       /* enum kelp_plan_way */
    uint8_t entries;   /* of the log, that it takes */
    uint32_t warnings; /* enum kelp_plan_warning */
    struct kelp_plan_side before, after;
    uint32_t count;
    struct kelp_plan_member members[KELP_MEMBERS_MAX]; /* of either side, ascending by id */
};

/* kelp_plan_way_name - nothing, step, joint or stop.
 * takes    way     any value; an unknown one gets "unknown"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_plan_way_name(enum kelp_plan_way way);

/* kelp_plan_warning_name - the stable upper-case name of one bit of a plan's warnings.
 * takes    warning any value; an unknown one gets "UNKNOWN_WARNING"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_plan_warning_name(enum kelp_plan_warning warning);

/* kelp_plan_warning_words - the same bit as a clause for people.
 * takes    warning any value
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_plan_warning_words(enum kelp_plan_warning warning);

#endif
