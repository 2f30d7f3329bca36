/* SPDX-License-Identifier: Apache-2.0 */
/* history.h - is what clients were told linearizable?
 *
 * A history is a list of operations: who asked what, when, and what was answered. It is
 * linearizable if all operations fit into one order in which each takes effect at one moment
 * between its call and its return, and in which every answer is the right one. The simulator judges
 * its own runs with this; the same judge takes histories recorded anywhere (docs/histories.md has
 * the form that `kelp sim check` reads).
 *
 * Every object is judged by the fastest exact test that fits what was done to it:
 *
 *   interval   reads and writes of one key, each value written once
 *   ledger     INCR and reads of one key: every number once, in order, gaps explained
 *   cycles     APPEND and reads of one list: an order of dependencies and of time without a cycle
 *   search     anything else: compare-and-set, several keys at once, values written twice
 *
 * Only the search may take long; it gives up at a bound, which is "undecided" and never a pass.
 * Keys that no operation names together are objects of their own: a history is linearizable if each
 * of its objects is. Source: Herlihy and Wing, "Linearizability", 1990. */
#ifndef KELP_HISTORY_H
#define KELP_HISTORY_H

#include "kelp/types.h"

#define KELP_SIM_NOTHING UINT64_MAX /* the value of a key that was never written */

enum kelp_sim_action {
    KELP_SIM_READ = 0,
    KELP_SIM_WRITE = 1,
    KELP_SIM_CAS = 2,    /* writes value if expected stands there */
    KELP_SIM_INCR = 3,   /* adds one; nothing counts as 0; answers with the new number */
    KELP_SIM_APPEND = 4, /* adds value at the end of a list */
    KELP_SIM_LIST = 5,   /* reads a whole list */
    KELP_SIM_MSET = 6,
    KELP_SIM_MGET = 7,
};
#define KELP_SIM_ACTION_COUNT 8u

enum kelp_sim_said {
    KELP_SIM_OK = 0,      /* done, with the answer in the operation */
    KELP_SIM_UNKNOWN = 1, /* nobody told: it may take effect at any time after its call, or never */
    KELP_SIM_REFUSED = 2, /* it did not happen and never will */
};
#define KELP_SIM_SAID_COUNT 3u

struct kelp_sim_item {
    uint32_t key; /* MSET, MGET */
    uint64_t value;
};

/* One operation. Values are numbers that the caller gives: what is counted is the number itself,
 * anything else may be numbered at will, below KELP_SIM_NOTHING. */
struct kelp_sim_operation {
    uint64_t process; /* asks one thing at a time */
    enum kelp_sim_action action;
    enum kelp_sim_said said;
    kelp_ns call;
    kelp_ns back;   /* UNKNOWN: when its process gave up on it, KELP_NEVER: it asks nothing more */
    uint32_t key;   /* all but MSET, MGET */
    uint64_t value; /* WRITE, CAS, APPEND: what to write; READ: what was read */
    uint64_t expected; /* CAS */
    bool swapped;      /* CAS */
    uint64_t seen;     /* CAS: what stood there before, KELP_SIM_UNTOLD if that was not told */
    uint64_t number;   /* INCR: the new number; APPEND: the new length, 0 if that was not told */
    const struct kelp_sim_item *items; /* MSET, MGET, LIST; borrowed */
    size_t item_count;
};
#define KELP_SIM_UNTOLD (UINT64_MAX - 1)

enum kelp_sim_judgement {
    KELP_SIM_LINEARIZABLE = 0,
    KELP_SIM_NOT_LINEARIZABLE = 1,
    KELP_SIM_UNDECIDED = 2,   /* the search came to its bound: not a pass */
    KELP_SIM_BAD_HISTORY = 3, /* the recorder is broken, or the history is of no kind known here */
    KELP_SIM_NO_MEMORY = 4,
};

#define KELP_SIM_WINDOW_MAX   32u
#define KELP_SIM_STATES_MAX   (1u << 21) /* with 16 bytes each: 64 MiB at most */
#define KELP_SIM_SEARCH_MAX   65536u     /* operations of one object that is searched */
#define KELP_SIM_TOGETHER_MAX 16u        /* keys of one object */

struct kelp_sim_verdict {
    enum kelp_sim_judgement judgement;
    const char *checker; /* "interval", "ledger", "cycles", "search" or "recorder" */
    char reason[384];    /* one clause; #n is operation n, counted from 1 */
    /* The operations that show it, by call, counted from 0; of a bad history the culprit first. */
    size_t window[KELP_SIM_WINDOW_MAX];
    size_t window_count;
    uint64_t states; /* visited by searches */
};

/* kelp_sim_check_history - judge a whole history; every object starts from nothing.
 * takes    operations  borrowed, in any order
 *          count       how many
 *          states_max  the bound of a search in (done, state) pairs; 0: KELP_SIM_STATES_MAX
 *          verdict     filled whole: the first object that is wrong, and why
 * returns  verdict->judgement
 * errors   KELP_SIM_NO_MEMORY; what is malformed is KELP_SIM_BAD_HISTORY, never an assertion
 * thread   any   cost  O(n log n), searches apart   source  - */
KELP_API enum kelp_sim_judgement kelp_sim_check_history(const struct kelp_sim_operation *operations,
                                                        size_t count, uint64_t states_max,
                                                        struct kelp_sim_verdict *verdict);

/* kelp_sim_action_name - "read", "write", "cas", "incr", "append", "read" (of a list), "mset",
 * "mget"; "?" for anything else.
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_sim_action_name(enum kelp_sim_action action);

#endif
