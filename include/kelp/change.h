/* SPDX-License-Identifier: Apache-2.0 */
/* change.h - what a change of the membership asks for.
 *
 * A change names members and what each shall become. Votes change all at once, through joint
 * consensus when more than one voter changes [§4.3], by a single step otherwise [§4.1]. A new voter
 * is staging first: it receives the log, and gets its vote by itself once it has caught up
 * [§4.2.1]. If leadership is lost before that, it becomes a voter all the same, in time; if it is
 * given up on, it stays as a learner. Either way the rest is not done and the outcome is UNKNOWN:
 * the configuration says what became of it, and what is left can be asked for. Addresses are not
 * here: the core counts by ids and roles, and whoever builds the bytes of a configuration entry
 * knows the addresses. */
#ifndef KELP_CHANGE_H
#define KELP_CHANGE_H

#include "kelp/types.h"

enum kelp_edit_verb {
    KELP_EDIT_ADD = 1,      /* a new member with this role; the same one again is nothing new */
    KELP_EDIT_PROMOTE = 2,  /* a learner becomes a voter */
    KELP_EDIT_DEMOTE = 3,   /* a voter becomes a learner */
    KELP_EDIT_REMOVE = 4,   /* it leaves; its id is never given again */
    KELP_EDIT_MOVE = 5,     /* its address changes */
    KELP_EDIT_SET = 6,      /* this role, whatever it is now: new, another or the same */
    KELP_EDIT_STOP = 7,     /* in a plan, and alone: its process stops, it stays a member */
    KELP_EDIT_PRIORITY = 8, /* how it is preferred as leader */
};

struct kelp_edit {
    kelp_id id;
    uint64_t incarnation; /* of a new member; 0: not known */
    uint8_t verb;         /* enum kelp_edit_verb */
    uint8_t role;         /* ADD, SET: KELP_VOTER, KELP_LEARNER or KELP_WITNESS */
    bool moved;           /* ADD, SET, MOVE: its address is another one than before */
    uint8_t priority;     /* PRIORITY: 0 never leads, the highest is preferred; usually 1 */
};

enum kelp_change_flag {
    KELP_CHANGE_NOWAIT = 1, /* refused at once if it may not begin now */
    KELP_CHANGE_FORCE = 2,  /* even if fewer voters would answer than a quorum; see plan.h */
    KELP_CHANGE_WHOLE = 4, /* the edits name the whole configuration: whoever is not named leaves */
};

struct kelp_change {
    uint32_t flags;      /* enum kelp_change_flag */
    uint32_t count;      /* edits, 1..members_max, each id once */
    kelp_index if_index; /* refused unless the configuration stands there; 0: wherever it stands */
    const struct kelp_edit *edits;
};

#endif
