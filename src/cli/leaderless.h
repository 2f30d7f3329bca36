/* SPDX-License-Identifier: Apache-2.0 */
/* leaderless.h - why does nobody lead? From what the nodes that answer say about themselves. */
#ifndef CLI_LEADERLESS_H
#define CLI_LEADERLESS_H

#include "cli/status.h"

#define LEADERLESS_WORDS_MAX 1600u /* 32 nodes by name, and more */

struct leaderless {
    bool so;                            /* there are voters, and nobody leads or is heard to lead */
    uint64_t voters, answer, needed;    /* voters, witnesses among them */
    uint64_t missing[STATUS_NODES_MAX]; /* voters that do not take part, ascending as listed */
    size_t missing_count;
    char words[LEADERLESS_WORDS_MAX]; /* one clause; "": nothing is known about voters */
};

/* leaderless_find - nodes whose fields are NULL do not answer. Of several clusters that of the
 * first node that answers is looked at. */
void leaderless_find(const struct status_node *nodes, size_t count, struct leaderless *out);

/* leaderless_json - the same as an object; the caller owns it. */
json_t *leaderless_json(const struct leaderless *l);

#endif
