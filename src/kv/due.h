/* SPDX-License-Identifier: Apache-2.0 */
/* due.h - which keys have a deadline, and which of them comes first.
 *
 * A tree in the order of (deadline, hash, key), which is the same on every member whatever its
 * history, balanced by weights that come from the keys' hashes. It is made of nodes that belong to
 * their entries, so that it grows without ever copying itself, and every node counts what is
 * beneath it, so that it can be told how many have passed without looking at them. */
#ifndef KV_DUE_H
#define KV_DUE_H

#include "kelp/types.h"

struct table_entry;

struct due {
    uint64_t at;     /* cluster clock, ns: from then on the key is absent */
    int64_t unix_ms; /* the same as a time of day, as it was given: told, never decided by */
    struct table_entry *entry;
    struct due *up, *left, *right;
    uint64_t count, weight; /* of this node and all beneath; no child weighs more than its parent */
};

#define DUE_SUMMED_MS (UINT64_C(1) << 40) /* 34 years: sixteen million keys do not overflow it */

struct due_tree {
    struct due *root, *first; /* first: the earliest; NULL: none */
    uint64_t sum_ms;          /* of all deadlines, each at most DUE_SUMMED_MS */
};

/* due_insert, due_remove - link a node whose at and entry are set; unlink it. O(log n). */
void due_insert(struct due_tree *t, struct due *n);
void due_remove(struct due_tree *t, struct due *n);

/* due_passed - how many are due at this time or before it. O(log n). */
uint64_t due_passed(const struct due_tree *t, uint64_t at);

#endif
