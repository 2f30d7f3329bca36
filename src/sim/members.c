/* SPDX-License-Identifier: Apache-2.0 */
/* members.c - the checker's part about configurations: who elects, who commits, what may follow
 * what. [§4.1, §4.3]
 *
 * Of each node the checker knows the newest configuration of its log and the one before that may
 * still be in force. A leader was elected by a quorum of its newest one, all of whom gave their
 * vote in its term; neighbouring ones share a node in every decision. A witness keeps little data,
 * and whoever has entries without theirs never leads, nor is it anything but a witness (M03). A
 * checker that was never told a configuration takes all nodes for voters. Priority 0 does not lead,
 * unless its log keeps from leading who may: then it has refused such a one its vote (N11). */
#include "base/min.h"
#include "core/config.h"
#include "sim/checker_room.h"
#include "sim/quorums.h"

typedef unsigned long long ull;

void checker_members(struct checker *c, unsigned node, const struct kelp_config *latest,
                     const struct kelp_config *committed)
{
    struct checked_node *n = &c->nodes[node];
    bool news = n->latest.count == 0 || n->latest.index != latest->index ||
                n->committed.index != committed->index;
    if (!news) return;
    if (n->latest.count > 0) n->members_at = c->answers;
    n->latest = *latest;
    n->committed = *committed;
    uint32_t slot = config_slot(committed, node + 1);
    if (n->positions && slot != CONFIG_NO_SLOT && !config_witness(committed, slot))
        checker_fail(c, RULE_M03, "node %u is to have the data, and has entries without", node + 1);
    if (latest->index != committed->index && !quorums_meet(committed, latest))
        checker_fail(c, RULE_M01,
                     "node %u holds configurations %llu and %llu, whose quorums need not meet",
                     node + 1, (ull)committed->index, (ull)latest->index);
}

/* By the configuration that a node has, or as a majority of all. */
static bool decide(const struct checker *c, const struct kelp_config *config, const kelp_id ids[],
                   uint32_t count)
{
    if (config->count == 0) return count > c->node_count / 2;
    return quorums_decide(config, ids, count);
}

bool checker_knows_witness(const struct checker *c, unsigned node)
{
    const struct kelp_config *config = &c->nodes[node].committed;
    return config_witness(config, config_slot(config, node + 1));
}

bool checker_witness(const struct checker *c, unsigned node)
{
    return c->nodes[node].positions;
}

void checker_refuses(struct checker *c, unsigned node, unsigned to)
{
    struct checked_node *n = &c->nodes[node];
    uint32_t slot = config_slot(&n->latest, to + 1);
    if (config_leads(&n->latest, slot) && kelp_priority_of(&n->latest.members[slot]) > 0)
        n->refused = true;
}

static void priority_judge(struct checker *c, unsigned node, uint64_t term)
{
    const struct checked_node *n = &c->nodes[node];
    uint32_t slot = config_slot(&n->latest, node + 1);
    if (n->refused || slot == CONFIG_NO_SLOT) return;
    if (kelp_priority_of(&n->latest.members[slot]) == 0)
        checker_fail(c, RULE_N11, "node %u leads term %llu with priority 0, and refused nobody",
                     node + 1, (ull)term);
}

/* Whatever the candidate counted: a quorum must have sent it this very vote, in this very term. */
void checker_elected(struct checker *c, unsigned node, uint64_t term)
{
    kelp_id ids[CHECKER_NODES_MAX];
    uint32_t count = 0;
    if (c->nodes[node].positions)
        checker_fail(c, RULE_M03, "node %u leads term %llu and has entries without their data",
                     node + 1, (ull)term);
    for (unsigned i = 0; i < c->node_count; i++) {
        const struct checked_node *voter = &c->nodes[i];
        if (term < voter->vote_room && voter->votes[term] == node + 1) ids[count++] = i + 1;
    }
    if (!decide(c, &c->nodes[node].latest, ids, count))
        checker_fail(c, RULE_N06, "node %u leads term %llu with %u votes of %u", node + 1,
                     (ull)term, count, c->node_count);
    priority_judge(c, node, term);
}

/* Did a quorum follow it, itself included, in answers sent after so many? Where its configuration
 * has changed since, nobody knows by which one it counted. */
bool checker_confirmed(const struct checker *c, unsigned leader, uint64_t answers)
{
    kelp_id ids[CHECKER_NODES_MAX];
    uint32_t count = 0;
    const struct checked_node *n = &c->nodes[leader];
    for (unsigned i = 0; i < c->node_count; i++) {
        if (i == leader || c->nodes[i].followed[leader] > answers) ids[count++] = i + 1;
    }
    bool changed = n->latest.count > 0 && n->members_at >= answers;
    return changed || decide(c, &n->latest, ids, count);
}

/* Within one run of a node the next configuration may follow what the one before committed. */
bool checker_quorum_holds(const struct checker *c, unsigned node, kelp_index index, uint64_t chain)
{
    kelp_id ids[CHECKER_NODES_MAX];
    uint32_t count = 0;
    const struct checked_node *n = &c->nodes[node];
    for (unsigned i = 0; i < c->node_count; i++) {
        const struct checked_node *other = &c->nodes[i];
        bool there = checker_durable_last(c, other) >= index;
        if (there && checker_durable(c, other, index).chain == chain) ids[count++] = i + 1;
    }
    return decide(c, &n->latest, ids, count) || decide(c, &n->committed, ids, count);
}
