/* SPDX-License-Identifier: Apache-2.0 */
/* marks.c - the events that many simulated runs never hit.
 *
 * An event stands in a branch that exists for one reason (event.h), so one that never happens is a
 * branch that no run has seen: either it cannot happen in a simulated cluster, and this table says
 * why and which tests see to it instead, or the simulator is missing something. A row whose event
 * does happen is not looked at. */
#include <string.h>

#include "base/min.h"
#include "cli/sim.h"

static const struct {
    const char *name, *why;
} excused[] = {
    /* what needs more than the members of a small cluster */
    {"STRANGERS_FULL", "few come at once, in few runs; scenario limits"},
    {"CHANGE_WAITS", "a driver hands a change on when it may begin; scenario member"},
    {"CATCH_UP_UNWELL", "disks have room where members change, and few hang; scenario member"},
    {"SETTINGS_DIFFER", "all nodes of a run have the same settings; scenario lease"},
    {"SETTINGS_WRITTEN", "all nodes of a run have the same settings; scenario lease"},
    {"CAMPAIGN_HELD_HEARD", "only a founder is told to stand, before anybody leads; tests/core"},
    {"PROPOSE_TRANSFERRING", "a driver holds writes back meanwhile; scenario transfer"},
    {"SNAPSHOT_LOOKED_UP", "one ends four leaderships below its receiver's log; scenario snapshot"},
    /* what would be a bug: an invariant ends the run before, or nobody sends it */
    {"TWO_LEADERS", "ElectionSafety ends the run at the election; scenario elect"},
    {"COMMIT_CONFLICT", "a leader would have to contradict what is committed; scenario commit"},
    {"MATCH_BEYOND_LOG", "only a peer that lies claims it; scenario replicate"},
    {"MESSAGE_MALFORMED", "what a core sends makes sense; scenario replicate, tests/core"},
    {"TIMEOUT_NOW_BEHIND", "whom a leader tells to stand is level; scenario transfer"},
    {"MESSAGE_NOT_FOR_US", "a connection names both its ends; scenario replicate"},
    /* what comes with later parts */
    {"LOOKUP_FAILED", "a read that fails faults the node in its driver; scenario replicate"},
    {"PROPOSE_TOO_LARGE", "clients of a run ask for less than the limit; scenario limits"},
};

struct seen {
    size_t unexplained;
};

static const char *excuse(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(excused); i++) {
        if (strcmp(excused[i].name, name) == 0) return excused[i].why;
    }
    return NULL;
}

static void print_mark(void *ctx, const char *name)
{
    struct seen *seen = ctx;
    const char *why = excuse(name);
    if (why != NULL) {
        (void)printf("never hit: %-28s %s%s%s\n", name, print_colour(PRINT_DIM), why, print_end());
        return;
    }
    seen->unexplained++;
    (void)printf("never hit: %s%-28s UNEXPLAINED%s\n", print_colour(PRINT_RED), name, print_end());
}

size_t marks_print(const struct kelp_sim_total *total)
{
    struct seen seen = {0};
    (void)kelp_sim_unmarked(total, print_mark, &seen);
    return seen.unexplained;
}
