/* SPDX-License-Identifier: Apache-2.0 */
/* knock.c - joining: who lists nobody knocks at whoever it has a connection to, and waits.
 *
 *   joiner (listed by nobody)                      a node that holds a cluster
 *   --show: my incarnation, no list--------------> known to be waiting, for people and changes
 *   <--shown: the cluster, who leads there--------
 *     dials that one too, and knocks there
 *         ...                                      a change adds it; that is committed
 *   <--entry 1------------------------------------ to a member with this id and incarnation
 *   <--shown: you are node N---------------------- to a member with this incarnation, whose id it
 *   identity written: cluster and id, at once      does not know yet
 *
 * A node without an id goes by a name of its own from KELP_ID_WAITING on, kept in its identity; its
 * incarnation is what the change records, so what it is called is the same whenever it asks again,
 * whatever was lost and whoever crashed.
 * Invariants: who knocks is given an id by a committed configuration only, and once; a node without
 * an id takes no entry and makes no promise; an answer to a knock ends a node only if another
 * directory has its id, as a member, by what is committed. */
#include <stdio.h>
#include <string.h>

#include "driver/found.h"

/* ---- the joiner ---- */

void found_disconnected(struct found *f, kelp_id peer)
{
    for (size_t i = 0; i < f->knock_count; i++) {
        if (f->knocks[i] != peer) continue;
        f->knocks[i] = f->knocks[--f->knock_count];
        return;
    }
}

void knock_round(struct found *f)
{
    for (size_t i = 0; i < f->knock_count; i++)
        (void)found_say(f, WIRE_FOUND_SHOW, f->knocks[i], f->round);
}

static void name_begin(struct found *f, const struct wire_found *m)
{
    bool free_to = cluster_zero(f->setup.cluster) && cluster_zero(f->pledging);
    if (!id_waits(f->setup.self) || m->given == 0 || cluster_zero(m->cluster) || !free_to) return;
    f->pledging = m->cluster;
    f->pledging_epoch = m->epoch;
    f->naming = m->given;
    f->pledge_to = 0;
    f->name_due = true;
}

/* The next round is not hastened by what is heard: answers that differ, of two nodes of which one
 * is cut off, would each ask for another one at once. A new connection brings one forward. */
void knock_answered(struct found *f, const struct wire_found *m)
{
    if (f->phase != FOUND_WAIT || f->setup.listed_count > 0 || m->round != f->round) return;
    if (!m->holds) return;
    bool first = f->host == 0 || !cluster_equal(f->host_cluster, m->cluster);
    f->host = m->from;
    f->host_cluster = m->cluster;
    if (first || m->leader != 0) /* who knows none tells nothing new */
        f->leader = (struct driver_member){.id = m->leader, .peer = m->leader_peer};
    name_begin(f, m);
}

/* Of one that is pledged to a cluster and holds nothing of it. */
static void pledged_words(const struct found *f, char *out, size_t size)
{
    const char *next = "empty the directory if no node of it is left";
    if (found_cut(f)) next = "founding it alone was cut short: kelp bootstrap goes on";
    if (f->host != 0) next = "waits for its first entry";
    (void)snprintf(out, size, "pledged to cluster %016llx%016llx and holds nothing of it: %s",
                   (unsigned long long)f->setup.cluster.hi, (unsigned long long)f->setup.cluster.lo,
                   next);
}

void knock_words(const struct found *f, char *out, size_t size)
{
    if (!cluster_zero(f->setup.cluster)) {
        pledged_words(f, out, size);
        return;
    }
    char add[48] = "auto HOST:PORT", where[96] = "";
    if (!id_waits(f->setup.self))
        (void)snprintf(add, sizeof add, "%llu HOST:PORT", (unsigned long long)f->setup.self);
    if (f->host != 0)
        (void)snprintf(where, sizeof where, "knocks at node %llu of cluster %016llx%016llx, ",
                       (unsigned long long)f->host, (unsigned long long)f->host_cluster.hi,
                       (unsigned long long)f->host_cluster.lo);
    (void)snprintf(out, size, "%swaits to be added (kelp members add %s)", where, add);
}

/* ---- the holder ---- */

void found_leads(struct found *f, kelp_id leader, const struct wire_address *address)
{
    f->leader = (struct driver_member){.id = address != NULL ? leader : 0};
    if (address != NULL) f->leader.peer = *address;
}

static const struct kelp_member *member_by(const struct wire_config *c, kelp_id id,
                                           uint64_t incarnation)
{
    for (size_t i = 0; i < c->config.count; i++) {
        const struct kelp_member *m = &c->config.members[i];
        if (id != 0 ? m->id == id : m->incarnation == incarnation) return m;
    }
    return NULL;
}

bool knock_heard(struct found *f, const struct wire_found *m)
{
    bool waits = id_waits(m->from);
    if (m->id_count > 0) return false;
    const struct kelp_member *known =
        member_by(&f->committed, waits ? 0 : m->from, waits ? m->incarnation : 0);
    bool stays = !waits && known != NULL && member_by(&f->config, m->from, 0) != NULL;
    if (stays) return false; /* entry 1, or the news that it was wiped */
    struct wire_found *answer = found_say(f, WIRE_FOUND_SHOWN, m->from, m->round);
    if (waits && known != NULL && m->incarnation != 0) answer->given = known->id;
    answer->leader = f->leader.id;
    answer->leader_peer = f->leader.peer;
    return true;
}
