/* SPDX-License-Identifier: Apache-2.0 */
/* due.c - the tree of deadlines; see due.h. */
#include "kv/due.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"
#include "kv/table.h"

static bool before(const struct due *a, const struct due *b)
{
    if (a->at != b->at) return a->at < b->at;
    return entry_before(a->entry, b->entry);
}

static uint64_t summed(const struct due *n)
{
    return min_u64(n->at / 1000000, DUE_SUMMED_MS);
}

static uint64_t count_of(const struct due *n)
{
    return n != NULL ? n->count : 0;
}

/* What points at n points at other from now on. */
static void relink(struct due_tree *t, const struct due *n, struct due *other)
{
    struct due *up = n->up;
    if (up == NULL)
        t->root = other;
    else if (up->left == n)
        up->left = other;
    else
        up->right = other;
    if (other != NULL) other->up = up;
}

/* n takes the place of its parent, which becomes its child. */
static void rise(struct due_tree *t, struct due *n)
{
    struct due *up = n->up;
    relink(t, up, n);
    struct due *inner;
    if (up->left == n) {
        inner = up->left = n->right;
        n->right = up;
    } else {
        inner = up->right = n->left;
        n->left = up;
    }
    if (inner != NULL) inner->up = up;
    up->up = n;
    up->count = 1 + count_of(up->left) + count_of(up->right);
    n->count = 1 + count_of(n->left) + count_of(n->right);
}

void due_insert(struct due_tree *t, struct due *n)
{
    struct due *up = NULL, **link = &t->root;
    while (*link != NULL) {
        up = *link;
        up->count++;
        link = before(n, up) ? &up->left : &up->right;
    }
    *link = n;
    n->up = up;
    n->left = n->right = NULL;
    n->count = 1;
    n->weight = hash_mix(n->entry->hash, n->at);
    t->sum_ms += summed(n);
    if (t->first == NULL || before(n, t->first)) t->first = n;
    while (n->up != NULL && n->up->weight < n->weight)
        rise(t, n);
}

static struct due *successor(const struct due *n)
{
    if (n->right != NULL) {
        struct due *next = n->right;
        while (next->left != NULL)
            next = next->left;
        return next;
    }
    while (n->up != NULL && n->up->right == n)
        n = n->up;
    return n->up;
}

void due_remove(struct due_tree *t, struct due *n)
{
    if (t->first == n) t->first = successor(n);
    t->sum_ms -= summed(n);
    while (n->left != NULL && n->right != NULL)
        rise(t, n->left->weight > n->right->weight ? n->left : n->right);
    struct due *child = n->left != NULL ? n->left : n->right;
    relink(t, n, child);
    for (struct due *up = n->up; up != NULL; up = up->up)
        up->count--;
    n->up = n->left = n->right = NULL;
    ASSERT((t->root == NULL) == (t->first == NULL));
}

uint64_t due_passed(const struct due_tree *t, uint64_t at)
{
    uint64_t passed = 0;
    for (const struct due *n = t->root; n != NULL;) {
        if (n->at <= at) {
            passed += 1 + count_of(n->left);
            n = n->right;
        } else {
            n = n->left;
        }
    }
    return passed;
}
