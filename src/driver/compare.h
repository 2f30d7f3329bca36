/* SPDX-License-Identifier: Apache-2.0 */
/* compare.h - does this node's state still equal the others'? See compare.c. */
#ifndef DRIVER_COMPARE_H
#define DRIVER_COMPARE_H

#include "wire/mark.h"

enum compare_verdict {
    COMPARE_NOTHING = 0, /* nobody said anything at an index that is known here */
    COMPARE_AGREED = 1,  /* a majority has this node's state at the newest index that tells */
    COMPARE_SPLIT = 2,   /* members differ, and no majority has one state: nobody is judged */
    COMPARE_APART = 3,   /* a majority has one state and this node another; stays */
};

struct compare_result {
    enum compare_verdict verdict;
    kelp_index index; /* AGREED: the newest; SPLIT, APART: the first that is known to differ */
    size_t members;   /* that keep the state */
    size_t with_most; /* of them: how many have the state that most have at index */
    size_t silent;    /* of them: nothing known at index */
    bool log_differs; /* APART: the entries applied were others, not only what came of them */
};

struct compare_row {
    kelp_id id; /* 0: free */
    struct wire_mark marks[WIRE_MARK_KEPT];
};

struct compare {
    kelp_id self;
    struct compare_row rows[KELP_MEMBERS_MAX];
    struct compare_result apart; /* verdict APART, or NOTHING */
    bool suspect;                /* since before the start: see compare_goes_on */
};

void compare_init(struct compare *c, kelp_id self);

/* compare_said - a node, also this one, has that state there. What it says last counts. False: not
 * kept, because no state can be marked there or the node keeps none in this configuration. */
bool compare_said(struct compare *c, const struct kelp_config *config, kelp_id id,
                  struct wire_mark mark);

/* compare_restored - the whole state of this node was replaced: what it said and what was found
 * about it speak of a state that is gone. */
void compare_restored(struct compare *c);

/* compare_goes_on - this node was found APART before its start, so what it reads is not trusted
 * before it was compared: APART at index 0 until then. */
void compare_goes_on(struct compare *c);

/* compare_judge - by all that is known now. */
void compare_judge(struct compare *c, const struct kelp_config *config, struct compare_result *out);

/* compare_agrees - a member has, at some index that is known, the state of a majority, and nowhere
 * another one. */
bool compare_agrees(const struct compare *c, const struct kelp_config *config, kelp_id id);

#endif
