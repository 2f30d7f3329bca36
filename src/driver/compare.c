/* SPDX-License-Identifier: Apache-2.0 */
/* compare.c - does this node's state still equal the others'?
 *
 * Members that applied the same entries have the same state. If they have not, memory rotted, a
 * machine is not deterministic or a program is wrong, and one of them answers what never was. So
 * each says what its state is at indexes that follow from the log (wire/mark.h), and each judges
 * itself alone by what all said; nobody is told by another what it is.
 *
 * Who counts: the members that keep the state in the configuration given, voters and learners. A
 * witness keeps none. A majority is one of all of them, not of those that spoke: with three
 * members, two that agree are enough, and a cluster that is cut in half finds nobody guilty.
 *
 *   NOTHING ---> AGREED <---> SPLIT         the newest index that tells
 *      |            |           |
 *      `------------+-----------'---> APART   at any index; ends with the state [compare_restored]
 *
 * APART stays although a later index may be equal: a key that was overwritten hides what rotted
 * beside it, and rot that was seen once may be in what is not hashed. A start reads the state anew,
 * and what memory did is gone then; but the snapshot that it reads may have been taken of that
 * state. So the node is SUSPECT, which is APART to everybody, until a majority has what it read.
 *
 * Without a majority for one state nobody can tell who is wrong, and taking any one out of service
 * would be a guess: SPLIT is for people. It ends when a silent member decides it, or at a newer
 * index at which a majority is equal again.
 *
 * Memory is bounded: the newest WIRE_MARK_KEPT indexes of each member. Who lags further than that
 * is compared once it has caught up. A row belongs to a member; one that is no member any more is
 * given up for one that is. Invariants: at most one row for an id; a verdict rests on marks of
 * members alone. */
#include "driver/compare.h"

#include <string.h>

#include "base/assert.h"

static bool keeps_state(const struct kelp_config *config, kelp_id id)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct kelp_member *m = &config->members[i];
        if (m->id == id) return m->role != KELP_WITNESS && m->role_old != KELP_WITNESS;
    }
    return false;
}

void compare_init(struct compare *c, kelp_id self)
{
    ASSERT(self != 0);
    memset(c, 0, sizeof *c);
    c->self = self;
}

static struct compare_row *row_of(struct compare *c, kelp_id id)
{
    for (size_t i = 0; i < KELP_MEMBERS_MAX; i++) {
        if (c->rows[i].id == id) return &c->rows[i];
    }
    return NULL;
}

/* There is always one: a configuration names no more members than there are rows. */
static struct compare_row *row_for(struct compare *c, const struct kelp_config *config, kelp_id id)
{
    struct compare_row *row = row_of(c, id);
    for (size_t i = 0; row == NULL && i < KELP_MEMBERS_MAX; i++) {
        if (keeps_state(config, c->rows[i].id)) continue;
        row = &c->rows[i];
        *row = (struct compare_row){.id = id};
    }
    ASSERT(row != NULL);
    return row;
}

bool compare_said(struct compare *c, const struct kelp_config *config, kelp_id id,
                  struct wire_mark mark)
{
    ASSERT(config->count <= KELP_MEMBERS_MAX);
    if (!wire_mark_due(mark.index) || !keeps_state(config, id)) return false;
    row_for(c, config, id)->marks[wire_mark_slot(mark.index)] = mark;
    return true;
}

void compare_restored(struct compare *c)
{
    struct compare_row *own = row_of(c, c->self);
    if (own != NULL) *own = (struct compare_row){.id = c->self};
    c->apart = (struct compare_result){.verdict = COMPARE_NOTHING};
    c->suspect = false;
}

void compare_goes_on(struct compare *c)
{
    c->suspect = true;
}

/* NULL: not known. */
static const struct wire_mark *mark_at(const struct compare_row *row, kelp_index index)
{
    const struct wire_mark *m = &row->marks[wire_mark_slot(index)];
    return m->index == index ? m : NULL;
}

static bool same(const struct wire_mark *a, const struct wire_mark *b)
{
    return a->chain == b->chain && a->state == b->state;
}

/* How many members have, at its index, what this mark says; and how many said anything there. */
static size_t with_it(const struct compare *c, const struct kelp_config *config,
                      const struct wire_mark *mark, size_t *spoke)
{
    size_t equal = 0;
    *spoke = 0;
    for (size_t i = 0; i < KELP_MEMBERS_MAX; i++) {
        const struct wire_mark *m = mark_at(&c->rows[i], mark->index);
        if (m == NULL || !keeps_state(config, c->rows[i].id)) continue;
        (*spoke)++;
        if (same(m, mark)) equal++;
    }
    return equal;
}

static struct compare_result judge_at(const struct compare *c, const struct kelp_config *config,
                                      size_t members, const struct wire_mark *own)
{
    struct compare_result result = {.index = own->index, .members = members};
    const struct wire_mark *most = own;
    size_t spoke = 0;
    result.with_most = with_it(c, config, own, &spoke);
    for (size_t i = 0; i < KELP_MEMBERS_MAX; i++) {
        const struct wire_mark *m = mark_at(&c->rows[i], own->index);
        if (m == NULL || !keeps_state(config, c->rows[i].id)) continue;
        size_t equal = with_it(c, config, m, &spoke);
        if (equal <= result.with_most) continue;
        result.with_most = equal;
        most = m;
    }
    ASSERT(result.with_most <= spoke && spoke <= members);
    result.silent = members - spoke;
    if (result.with_most > members / 2) {
        result.verdict = same(most, own) ? COMPARE_AGREED : COMPARE_APART;
        result.log_differs = most->chain != own->chain;
    } else if (result.with_most < spoke) {
        result.verdict = COMPARE_SPLIT;
    }
    return result;
}

bool compare_agrees(const struct compare *c, const struct kelp_config *config, kelp_id id)
{
    size_t members = 0, spoke = 0, own = KELP_MEMBERS_MAX;
    for (size_t i = 0; i < config->count; i++)
        members += keeps_state(config, config->members[i].id) ? 1 : 0;
    for (size_t i = 0; i < KELP_MEMBERS_MAX; i++)
        if (c->rows[i].id == id) own = i;
    if (own == KELP_MEMBERS_MAX || !keeps_state(config, id)) return false;
    bool agrees = false;
    for (size_t m = 0; m < WIRE_MARK_KEPT; m++) {
        const struct wire_mark *mark = &c->rows[own].marks[m];
        if (mark->index == 0) continue;
        if (with_it(c, config, mark, &spoke) > members / 2) agrees = true;
        for (size_t i = 0; i < KELP_MEMBERS_MAX; i++) {
            const struct wire_mark *other = mark_at(&c->rows[i], mark->index);
            if (other == NULL || same(other, mark) || !keeps_state(config, c->rows[i].id)) continue;
            if (with_it(c, config, other, &spoke) > members / 2) return false;
        }
    }
    return agrees;
}

static void stays_apart(struct compare *c, struct compare_result *out)
{
    c->suspect = c->suspect && out->verdict != COMPARE_AGREED;
    if (c->apart.verdict == COMPARE_APART)
        *out = c->apart;
    else if (c->suspect)
        *out = (struct compare_result){.verdict = COMPARE_APART};
}

/* Newer indexes first: what they tell replaces what older ones did, but for APART. SPLIT goes on
 * downwards as long as older ones are, to name the first. */
void compare_judge(struct compare *c, const struct kelp_config *config, struct compare_result *out)
{
    *out = (struct compare_result){.verdict = COMPARE_NOTHING};
    struct compare_row *own = row_of(c, c->self);
    if (own == NULL || !keeps_state(config, c->self)) {
        stays_apart(c, out); /* also of one that was removed */
        return;
    }
    size_t members = 0;
    for (size_t i = 0; i < config->count; i++)
        members += keeps_state(config, config->members[i].id) ? 1 : 0;
    kelp_index newest = 0;
    for (size_t i = 0; i < WIRE_MARK_KEPT; i++)
        newest = own->marks[i].index > newest ? own->marks[i].index : newest;
    bool more = true; /* older ones may still say more about what newer ones told */
    for (size_t i = 0; i < WIRE_MARK_KEPT && newest > i * WIRE_MARK_EVERY; i++) {
        const struct wire_mark *mark = mark_at(own, newest - i * WIRE_MARK_EVERY);
        if (mark == NULL) continue;
        struct compare_result here = judge_at(c, config, members, mark);
        bool first = c->apart.verdict == COMPARE_NOTHING || here.index < c->apart.index;
        if (here.verdict == COMPARE_APART && first) c->apart = here;
        if (here.verdict == COMPARE_NOTHING) continue;
        bool goes_on = out->verdict == COMPARE_NOTHING || here.verdict == COMPARE_SPLIT;
        more = more && goes_on;
        if (more) *out = here;
        more = more && here.verdict == COMPARE_SPLIT;
    }
    stays_apart(c, out);
}
