/* SPDX-License-Identifier: Apache-2.0 */
/* found.c - how a cluster is born.
 *
 *   founder (lowest id listed)                     the others
 *   SHOW  --show, in rounds----------------------> shown: empty, my list
 *     | all empty in one round, same list
 *   PLEDGE_SELF  own identity written
 *     |
 *   PLEDGE  --pledge-----------------------------> identity written, pledged: my incarnation
 *     | all pledged
 *   SAVE  term 1, entry 1@1
 *     |
 *   HOLDS  --entry-------------------------------> SAVE, HOLDS, started
 *
 * A node that lists nobody waits, and knocks where it can (knock.c). Whoever finds it in a later
 * configuration hands it entry 1, under the incarnation that it shows, as often as it shows itself
 * empty. Who has it no more, since its log was compacted and it started again since, offers its
 * snapshot instead: WAIT --snapshot offered--> FETCH, pledged first like for an entry, and back if
 * it could not be had.
 *
 * Every empty node asks the others to show themselves, so that what was lost is asked for again:
 * whoever holds entry 1 answers with it, or with the news that the cluster exists without the
 * asker.
 *
 * Why there is never a second cluster: entry 1 needs a durable pledge of every listed node, a node
 * pledges once in its directory's life and only while it holds nothing, and its incarnation is in
 * entry 1. A directory that was emptied shows another incarnation and is turned away by whoever
 * still holds the cluster; while such a node is down, the round that needs everybody empty at once
 * cannot end.
 * Who founds alone makes the cluster id so that its halves agree with each other and with its
 * incarnation. So a directory that is pledged and holds nothing knows whether anybody else may be
 * pledged to the same: if not, the founding that was cut short is gone on with when it is asked for
 * again. (One whose log was lost instead does not start: it has a vote.)
 * Invariants: a pledge is told only after it is durable, entry 1 is handed on only after it is
 * durable here. */
#include "driver/found.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/min.h"
#include "wire/entry.h"

#define MILLISECOND  UINT64_C(1000000)
#define INTERVAL_MIN (200 * MILLISECOND)
#define INTERVAL_MAX (1000 * MILLISECOND)

enum kelp_error found_check_list(const struct driver_member *listed, size_t count, kelp_id self,
                                 struct kelp_fault *fault)
{
    if (count == 0) return KELP_OK;
    if (count > KELP_MEMBERS_MAX)
        return fault_set(fault, KELP_E_ARGUMENT, "bootstrap", "lists %zu nodes; 32 are allowed",
                         count);
    bool there = false;
    for (size_t i = 0; i < count; i++) {
        if (listed[i].id == 0) return fault_set(fault, KELP_E_ARGUMENT, "bootstrap", "lists id 0");
        if (listed[i].id > WIRE_CHANGE_NUMBER_MAX)
            return fault_set(fault, KELP_E_ARGUMENT, "bootstrap", "lists id %llu, above 2^62",
                             (unsigned long long)listed[i].id);
        if (!wire_address_check(listed[i].peer.text)) {
            return fault_set(fault, KELP_E_ARGUMENT, "bootstrap", "\"%.100s\" is no HOST:PORT",
                             listed[i].peer.text);
        }
        for (size_t k = 0; k < i; k++) {
            if (listed[k].id == listed[i].id ||
                strcmp(listed[k].peer.text, listed[i].peer.text) == 0) {
                return fault_set(fault, KELP_E_ARGUMENT, "bootstrap", "lists %llu=%.100s twice",
                                 (unsigned long long)listed[i].id, listed[i].peer.text);
            }
        }
        if (listed[i].id == self) there = true;
    }
    if (there) return KELP_OK;
    return fault_set(fault, KELP_E_ARGUMENT, "bootstrap", "does not list this node, %llu",
                     (unsigned long long)self);
}

static kelp_id lowest_listed(const struct found *f)
{
    kelp_id lowest = 0;
    for (size_t i = 0; i < f->setup.listed_count; i++) {
        kelp_id id = f->setup.listed[i].id;
        if (lowest == 0 || id < lowest) lowest = id;
    }
    return lowest;
}

static bool is_empty(const struct found *f)
{
    return f->phase != FOUND_HOLDS && f->phase != FOUND_FOREIGN;
}

bool found_init(struct found *f, const struct found_setup *setup, kelp_ns now)
{
    memset(f, 0, sizeof *f);
    f->setup = *setup;
    f->prng.state = setup->seed ^ setup->incarnation;
    f->round = setup->random(setup->random_ctx) >> 1;
    f->next = now;
    f->interval = INTERVAL_MIN;
    for (size_t i = 0; i < setup->listed_count; i++)
        f->peers[i].id = setup->listed[i].id;
    if (setup->config != NULL) {
        f->phase = FOUND_HOLDS;
        f->config = *setup->config;
    } else if (setup->listed_count > 0 && lowest_listed(f) == setup->self) {
        f->phase = FOUND_SHOW;
    }
    f->setup.config = NULL;
    f->setup.entry1 = (struct kelp_bytes){NULL, 0};
    if (setup->entry1.len == 0) return true;
    f->entry1 = malloc(setup->entry1.len);
    if (f->entry1 == NULL) return false;
    memcpy(f->entry1, setup->entry1.data, setup->entry1.len);
    f->entry1_len = setup->entry1.len;
    return true;
}

void found_free(struct found *f)
{
    free(f->entry1);
    f->entry1 = NULL;
    f->entry1_len = 0;
}

/* ---- saying ---- */

struct wire_found *found_say(struct found *f, enum wire_found_type type, kelp_id to, uint64_t round)
{
    struct wire_found *m = &f->dropped;
    if (f->out_count < FOUND_TODO_MAX) {
        m = &f->out[(f->out_first + f->out_count) % FOUND_TODO_MAX];
        f->out_count++;
    }
    memset(m, 0, sizeof *m);
    m->type = (uint8_t)type;
    m->from = f->setup.self;
    m->to = to;
    m->round = round;
    m->cluster = f->setup.cluster;
    m->epoch = f->setup.epoch;
    m->incarnation = f->setup.incarnation;
    m->holds = f->phase == FOUND_HOLDS;
    m->id_count = (uint8_t)f->setup.listed_count;
    for (size_t i = 0; i < f->setup.listed_count; i++)
        m->ids[i] = f->setup.listed[i].id;
    return m;
}

static void say_refused(struct found *f, const struct wire_found *m, const char *words)
{
    struct wire_found *answer = found_say(f, WIRE_FOUND_REFUSED, m->from, m->round);
    (void)snprintf(answer->words, sizeof answer->words, "%s", words);
}

/* Entry 1, or what takes its place. */
static void say_entry(struct found *f, kelp_id to, uint64_t round)
{
    if (f->entry1_len == 0) {
        struct wire_found *offer = found_say(f, WIRE_FOUND_SNAPSHOT, to, round);
        offer->snapshot = f->snapshot;
        return;
    }
    struct wire_found *m = found_say(f, WIRE_FOUND_ENTRY, to, round);
    m->entry = (struct kelp_bytes){f->entry1, f->entry1_len};
}

/* ---- words ---- */

static void date_words(uint64_t unix_ms, char *out, size_t size)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm date;
    out[0] = '\0';
    if (gmtime_r(&seconds, &date) != NULL)
        (void)strftime(out, size, "%Y-%m-%d %H:%M:%S UTC", &date);
}

void found_refused(struct found *f, uint64_t since_unix_ms, kelp_id next_id, const char *words)
{
    if (!is_empty(f)) return;
    f->phase = FOUND_FOREIGN;
    f->out_count = 0;
    f->pledge_due = f->name_due = f->save_due = f->fetch_due = false;
    if (words[0] != '\0') {
        (void)snprintf(f->words, sizeof f->words, "%s", words);
        return;
    }
    char since[48] = "a time that is not known", next[48] = "";
    unsigned long long self = f->setup.self;
    if (since_unix_ms != 0) date_words(since_unix_ms, since, sizeof since);
    if (f->setup.listed_count == 0) { /* it joins: perhaps it never was that node */
        if (next_id != 0)
            (void)snprintf(next, sizeof next, " or %llu", (unsigned long long)next_id);
        (void)snprintf(f->words, sizeof f->words,
                       "node %llu of this cluster (of %s) is another directory: start this one "
                       "with another id (--id auto%s); if it was node %llu (wiped disk), remove "
                       "that one, too (kelp members replace)",
                       self, since, next, self);
        return;
    }
    if (next_id != 0)
        (void)snprintf(next, sizeof next, " (it will be node %llu)", (unsigned long long)next_id);
    (void)snprintf(f->words, sizeof f->words,
                   "this cluster exists since %s, this directory is empty (wiped disk): remove all "
                   "in it, start with --id auto --join instead of --bootstrap, then kelp members "
                   "replace %llu auto%s",
                   since, self, next);
}

/* Append "node 3 (no answer yet)" for everybody who is waited for. */
static void waits_words(const struct found *f, bool pledge, char *out, size_t size)
{
    size_t at = strlen(out);
    const char *between = "";
    for (size_t i = 0; i < f->setup.listed_count && at < size; i++) {
        const struct found_peer *p = &f->peers[i];
        if (p->id == f->setup.self || (pledge ? p->pledged : p->shown)) continue;
        const char *why = p->words[0] != '\0' ? p->words : "no answer yet";
        int len = snprintf(out + at, size - at, "%snode %llu (%s)", between,
                           (unsigned long long)p->id, why);
        at += len > 0 ? (size_t)len : 0;
        between = ", ";
    }
}

void found_words(const struct found *f, char *out, size_t size)
{
    const struct found_peer *founder = NULL;
    for (size_t i = 0; i < f->setup.listed_count; i++) {
        if (f->peers[i].id == lowest_listed(f)) founder = &f->peers[i];
    }
    switch (f->phase) {
    case FOUND_HOLDS: (void)snprintf(out, size, "holds the cluster's first entry"); return;
    case FOUND_FOREIGN: (void)snprintf(out, size, "%s", f->words); return;
    case FOUND_SAVE: (void)snprintf(out, size, "saves the cluster's first entry"); return;
    case FOUND_FETCH:
        (void)snprintf(out, size, "fetches the snapshot of node %llu",
                       (unsigned long long)f->entry_from);
        return;
    case FOUND_PLEDGE_SELF: (void)snprintf(out, size, "writes the new cluster id"); return;
    case FOUND_SHOW:
    case FOUND_PLEDGE:
        (void)snprintf(out, size, "founds the cluster, waits for ");
        waits_words(f, f->phase == FOUND_PLEDGE, out, size);
        return;
    case FOUND_WAIT: break;
    }
    if (founder == NULL) {
        knock_words(f, out, size);
    } else if (founder->words[0] != '\0' || founder->round == 0) {
        (void)snprintf(out, size, "waits for node %llu to found the cluster (%s)",
                       (unsigned long long)founder->id,
                       founder->words[0] != '\0' ? founder->words : "no answer yet");
    } else {
        (void)snprintf(out, size, "waits for node %llu to found the cluster",
                       (unsigned long long)founder->id);
    }
}

/* ---- the founder ---- */

static bool all_peers(const struct found *f, bool pledged)
{
    for (size_t i = 0; i < f->setup.listed_count; i++) {
        const struct found_peer *p = &f->peers[i];
        if (p->id != f->setup.self && !(pledged ? p->pledged : p->shown)) return false;
    }
    return true;
}

static void member_put(struct wire_config *c, const struct driver_member *listed,
                       uint64_t incarnation)
{
    size_t slot = c->config.count++;
    while (slot > 0 && c->config.members[slot - 1].id > listed->id) {
        c->config.members[slot] = c->config.members[slot - 1];
        c->peer[slot] = c->peer[slot - 1];
        slot--;
    }
    c->config.members[slot] =
        (struct kelp_member){.id = listed->id, .incarnation = incarnation, .role = KELP_VOTER};
    c->peer[slot] = listed->peer;
    c->config.id_highest = max_u64(c->config.id_highest, listed->id);
}

/* Entry 1 as bytes, into f->entry1. */
static bool entry_build(struct found *f)
{
    uint8_t *payload = malloc(WIRE_CONFIG_BYTES_MAX);
    if (payload == NULL) return false;
    struct wire_entry e = {.pos = kelp_pos_of(1, 1), .type = KELP_ENTRY_CONFIG};
    e.payload = (struct kelp_bytes){payload, wire_config_encode(&f->config, payload)};
    size_t len = wire_entry_size(&e);
    free(f->entry1);
    f->entry1 = malloc(len);
    if (f->entry1 != NULL) {
        wire_entry_encode(&e, f->entry1);
        f->entry1_len = len;
    }
    free(payload);
    return f->entry1 != NULL;
}

static void write_start(struct found *f)
{
    ASSERT(f->phase == FOUND_PLEDGE && !cluster_zero(f->setup.cluster));
    struct wire_config *c = &f->config;
    memset(c, 0, sizeof *c);
    c->config.index = 1;
    c->created_unix_ms = f->setup.created_unix_ms;
    c->config.election_min = f->setup.election_min_ns;
    c->config.drift_ppm = f->setup.drift_ppm;
    c->cluster = f->setup.cluster;
    for (size_t i = 0; i < f->setup.listed_count; i++) {
        bool self = f->setup.listed[i].id == f->setup.self;
        uint64_t incarnation = self ? f->setup.incarnation : f->peers[i].incarnation;
        member_put(c, &f->setup.listed[i], incarnation);
    }
    if (!entry_build(f)) {
        c->config.count = 0; /* out of memory: the next tick tries again */
        return;
    }
    f->entry_from = 0;
    f->phase = FOUND_SAVE;
    f->save_due = true;
}

/* What the higher half of a cluster id is, if one node founded it alone. */
static uint64_t alone_half(uint64_t incarnation, uint64_t lower)
{
    struct prng mix = {.state = incarnation ^ lower};
    return prng_next(&mix);
}

bool found_alone_made(struct kelp_cluster_id cluster, uint64_t incarnation)
{
    return !cluster_zero(cluster) && cluster.hi == alone_half(incarnation, cluster.lo);
}

bool found_cut(const struct found *f)
{
    return is_empty(f) && found_alone_made(f->setup.cluster, f->setup.incarnation);
}

/* Everybody is empty and names the same nodes. */
static void pledge_start(struct found *f, kelp_ns now)
{
    ASSERT(f->phase == FOUND_SHOW);
    f->next = now;
    f->interval = INTERVAL_MIN;
    if (!cluster_zero(f->setup.cluster)) {
        f->phase = FOUND_PLEDGE;
        return;
    }
    f->phase = FOUND_PLEDGE_SELF;
    do {
        f->pledging.hi = f->setup.random(f->setup.random_ctx);
        f->pledging.lo = f->setup.random(f->setup.random_ctx);
        if (f->setup.listed_count == 1)
            f->pledging.hi = alone_half(f->setup.incarnation, f->pledging.lo);
    } while (cluster_zero(f->pledging));
    f->pledging_epoch = 0; /* a new cluster was never recovered */
    f->pledge_to = 0;
    f->naming = id_waits(f->setup.self) ? f->setup.listed[0].id : 0;
    f->name_due = f->naming != 0;
    f->pledge_due = !f->name_due;
}

const char *found_alone_refused(const struct found *f)
{
    if (f->phase == FOUND_HOLDS) return "it holds a cluster";
    if (f->phase == FOUND_FOREIGN) return "a cluster refuses its directory";
    if (f->founds_alone) return "it founds one just now";
    if (f->phase != FOUND_WAIT || f->setup.listed_count > 0)
        return "it founds one with --bootstrap";
    bool pledged = !cluster_zero(f->setup.cluster) && !found_cut(f);
    if (pledged || !cluster_zero(f->pledging))
        return "its directory is pledged to a cluster whose first entry it does not hold";
    return f->host != 0 ? "it knocks at a cluster" : NULL;
}

const char *found_alone(struct found *f, kelp_ns now, const struct driver_member *self)
{
    const char *why = found_alone_refused(f);
    if (why != NULL) return why;
    f->setup.listed = self;
    f->setup.listed_count = 1;
    f->peers[0] = (struct found_peer){.id = self->id};
    f->founds_alone = true;
    f->phase = FOUND_SHOW;
    pledge_start(f, now);
    return NULL;
}

static struct found_peer *peer_of(struct found *f, kelp_id id)
{
    for (size_t i = 0; i < f->setup.listed_count; i++) {
        if (f->peers[i].id == id) return &f->peers[i];
    }
    return NULL;
}

static bool same_list(const struct found *f, const struct wire_found *m)
{
    if (m->id_count != f->setup.listed_count) return false;
    size_t found = 0;
    for (size_t i = 0; i < m->id_count; i++) {
        for (size_t k = 0; k < f->setup.listed_count; k++) {
            if (f->setup.listed[k].id == m->ids[i]) found++;
        }
    }
    return found == m->id_count; /* neither list names an id twice */
}

static void shown(struct found *f, kelp_ns now, const struct wire_found *m)
{
    struct found_peer *p = peer_of(f, m->from);
    if (p == NULL || m->round != f->round || !is_empty(f)) return;
    p->round = m->round;
    p->shown = false;
    p->words[0] = '\0';
    if (m->holds) {
        (void)snprintf(p->words, sizeof p->words, "it holds a cluster already");
    } else if (!same_list(f, m)) {
        (void)snprintf(p->words, sizeof p->words, "it lists other nodes");
    } else if (!cluster_zero(m->cluster) && !cluster_equal(m->cluster, f->setup.cluster) &&
               f->phase == FOUND_SHOW) {
        (void)snprintf(p->words, sizeof p->words,
                       "pledged to a cluster that was lost: empty the listed directories by hand");
    } else {
        p->shown = true;
    }
    if (f->phase == FOUND_SHOW && all_peers(f, false)) pledge_start(f, now);
}

static void pledge_told(struct found *f, const struct wire_found *m)
{
    struct found_peer *p = peer_of(f, m->from);
    if (p == NULL || f->phase != FOUND_PLEDGE || m->round != f->round) return;
    if (!cluster_equal(m->cluster, f->setup.cluster) || m->incarnation == 0) return;
    p->pledged = true;
    p->incarnation = m->incarnation;
    p->words[0] = '\0';
    if (all_peers(f, true)) write_start(f);
}

static void refused(struct found *f, const struct wire_found *m)
{
    struct found_peer *p = peer_of(f, m->from);
    if (m->round != f->round || !is_empty(f)) return; /* an answer to a former life */
    if (m->exists) {
        found_refused(f, m->created_unix_ms, m->next_id, m->words);
        return;
    }
    if (p == NULL) return;
    p->round = m->round;
    p->shown = false;
    (void)snprintf(p->words, sizeof p->words, "%.90s", m->words);
}

/* ---- the others ---- */

/* Does what is committed speak against it? A removal that may still be cut refuses nobody. */
static bool found_refuses(const struct found *f, kelp_id node, uint64_t incarnation)
{
    const struct kelp_config *c = &f->committed.config;
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id == node) return c->members[i].incarnation != incarnation;
    }
    return c->count > 0;
}

/* An empty node asks one that holds the cluster. */
static void answer_as_holder(struct found *f, const struct wire_found *m)
{
    const struct kelp_config *c = &f->config.config;
    const struct kelp_member *member = NULL;
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id == m->from) member = &c->members[i];
    }
    if (member != NULL && member->incarnation == m->incarnation) {
        if (f->entry1_len > 0 || f->snapshot.index > 0)
            say_entry(f, m->from, m->round);
        else
            (void)found_say(f, WIRE_FOUND_SHOWN, m->from, m->round);
        return;
    }
    if (!found_refuses(f, m->from, m->incarnation)) {
        (void)found_say(f, WIRE_FOUND_SHOWN, m->from, m->round);
        return;
    }
    struct wire_found *answer = found_say(f, WIRE_FOUND_REFUSED, m->from, m->round);
    answer->exists = true;
    answer->created_unix_ms = f->config.created_unix_ms;
    answer->next_id = c->id_highest + 1;
    if (member == NULL) {
        char since[48];
        date_words(f->config.created_unix_ms, since, sizeof since);
        (void)snprintf(
            answer->words, sizeof answer->words,
            "this cluster exists since %s, node %llu is no member: add it (kelp members add)",
            since, (unsigned long long)m->from);
    }
}

static void pledge_asked(struct found *f, const struct wire_found *m)
{
    if (f->setup.listed_count == 0) {
        say_refused(f, m, "it was started without --bootstrap");
    } else if (m->from != lowest_listed(f)) {
        say_refused(f, m, "its own list has another founder");
    } else if (!same_list(f, m)) {
        say_refused(f, m, "it lists other nodes");
    } else if (cluster_equal(f->setup.cluster, m->cluster)) {
        (void)found_say(f, WIRE_FOUND_PLEDGED, m->from, m->round);
    } else if (!cluster_zero(f->setup.cluster)) {
        say_refused(f, m, "pledged to another cluster: empty the listed directories by hand");
    } else if (cluster_zero(f->pledging)) {
        f->pledging = m->cluster;
        f->pledging_epoch = m->epoch;
        f->pledge_to = m->from;
        f->pledge_round = m->round;
        f->pledge_due = true;
    } else if (cluster_equal(f->pledging, m->cluster)) {
        f->pledge_round = m->round; /* being written; the answer follows */
    } else {
        say_refused(f, m, "pledging to another cluster");
    }
}

/* Of this cluster, but of before or after a recovery that only one of the two went through. */
static bool of_another_epoch(const struct found *f, const struct wire_found *m)
{
    return !cluster_zero(m->cluster) && cluster_equal(m->cluster, f->setup.cluster) &&
           m->epoch != f->setup.epoch;
}

void found_message(struct found *f, kelp_ns now, const struct wire_found *m)
{
    if (m->to != f->setup.self || m->from == f->setup.self || f->phase == FOUND_FOREIGN) return;
    if (of_another_epoch(f, m)) return;
    switch ((enum wire_found_type)m->type) {
    case WIRE_FOUND_SHOW:
        if (f->phase == FOUND_HOLDS && knock_heard(f, m)) break;
        if (f->phase == FOUND_HOLDS)
            answer_as_holder(f, m);
        else
            (void)found_say(f, WIRE_FOUND_SHOWN, m->from, m->round);
        break;
    case WIRE_FOUND_PLEDGE:
        if (cluster_zero(m->cluster)) break;
        if (f->phase == FOUND_HOLDS)
            answer_as_holder(f, m);
        else
            pledge_asked(f, m);
        break;
    case WIRE_FOUND_SHOWN:
        shown(f, now, m);
        knock_answered(f, m);
        break;
    case WIRE_FOUND_PLEDGED: pledge_told(f, m); break;
    case WIRE_FOUND_REFUSED: refused(f, m); break;
    case WIRE_FOUND_ENTRY: found_entry_given(f, m); break;
    case WIRE_FOUND_SNAPSHOT: found_snapshot_offered(f, m); break;
    case WIRE_FOUND_STARTED: {
        struct found_peer *p = peer_of(f, m->from);
        if (p != NULL && cluster_equal(m->cluster, f->setup.cluster)) p->started = true;
        break;
    }
    }
}

/* ---- completions and time ---- */

void found_connected(struct found *f, kelp_ns now, kelp_id peer, bool empty, uint64_t incarnation)
{
    if (f->phase != FOUND_HOLDS) { /* somebody new to ask: do not wait for the interval */
        size_t at = 0;
        while (at < f->knock_count && f->knocks[at] != peer)
            at++;
        if (at == f->knock_count && at < FOUND_KNOCKS_MAX) f->knocks[f->knock_count++] = peer;
        f->interval = INTERVAL_MIN;
        f->next = min_u64(f->next, now + INTERVAL_MIN / 10);
        return;
    }
    if (empty) (void)found_hand_on(f, peer, incarnation);
}

bool found_hand_on(struct found *f, kelp_id peer, uint64_t incarnation)
{
    if (f->phase != FOUND_HOLDS) return false;
    if (f->entry1_len == 0 && f->snapshot.index == 0) return false;
    for (size_t i = 0; i < f->config.config.count; i++) {
        const struct kelp_member *m = &f->config.config.members[i];
        if (m->id != peer || m->incarnation != incarnation) continue;
        say_entry(f, peer, 0);
        return true;
    }
    return false;
}

void found_pledged(struct found *f, kelp_ns now)
{
    if (cluster_zero(f->pledging)) return;
    f->setup.cluster = f->pledging;
    f->setup.epoch = f->pledging_epoch;
    f->pledging = (struct kelp_cluster_id){0, 0};
    if (f->naming != 0) {
        f->setup.self = f->naming;
        f->knock_count = 0; /* it introduces itself anew, to everybody */
    }
    f->naming = 0;
    if (f->phase == FOUND_PLEDGE_SELF) {
        f->phase = FOUND_PLEDGE;
        f->next = now;
    } else if (f->phase == FOUND_SAVE) {
        f->save_due = true;
    } else if (f->phase == FOUND_FETCH) {
        f->fetch_due = true;
    }
    if (f->pledge_to != 0) (void)found_say(f, WIRE_FOUND_PLEDGED, f->pledge_to, f->pledge_round);
    f->pledge_to = 0;
}

void found_saved(struct found *f, kelp_ns now)
{
    (void)now;
    if (f->phase != FOUND_SAVE) return;
    f->phase = FOUND_HOLDS;
    f->committed = f->config; /* entry 1 is, from the first */
    f->founded = f->entry_from == 0;
    if (!f->founded) {
        (void)found_say(f, WIRE_FOUND_STARTED, f->entry_from, 0);
        return;
    }
    for (size_t i = 0; i < f->setup.listed_count; i++) {
        if (f->setup.listed[i].id != f->setup.self) say_entry(f, f->setup.listed[i].id, 0);
    }
}

void found_adopt(struct found *f, const struct wire_config *config)
{
    if (config != NULL && config->config.count > 0) f->config = *config;
}

void found_committed(struct found *f, const struct wire_config *config)
{
    if (config->config.index != f->committed.config.index) f->committed = *config;
}

static void ask_all(struct found *f, enum wire_found_type type)
{
    for (size_t i = 0; i < f->setup.listed_count; i++) {
        struct found_peer *p = &f->peers[i];
        if (p->id == f->setup.self) continue;
        if (type == WIRE_FOUND_PLEDGE && p->pledged) continue;
        (void)found_say(f, type, p->id, f->round);
    }
}

static void round_start(struct found *f)
{
    f->round++;
    for (size_t i = 0; i < f->setup.listed_count; i++) {
        struct found_peer *p = &f->peers[i];
        if (p->round + 1 != f->round) p->words[0] = '\0'; /* did not answer the round before */
        p->shown = false;
    }
    ask_all(f, WIRE_FOUND_SHOW);
}

kelp_ns found_tick(struct found *f, kelp_ns now)
{
    if (!is_empty(f) || f->setup.listed_count + f->knock_count == 0) return KELP_NEVER;
    if (now < f->next) return f->next;
    switch (f->phase) {
    case FOUND_SHOW:
        round_start(f);
        if (all_peers(f, false)) pledge_start(f, now); /* listed alone */
        break;
    case FOUND_WAIT:
        round_start(f);
        if (f->setup.listed_count == 0) knock_round(f);
        break;
    case FOUND_PLEDGE:
        ask_all(f, WIRE_FOUND_PLEDGE);
        if (all_peers(f, true)) write_start(f);
        break;
    case FOUND_PLEDGE_SELF:
    case FOUND_SAVE:
    case FOUND_FETCH:
    case FOUND_HOLDS:
    case FOUND_FOREIGN: break;
    }
    f->next = now + f->interval + prng_below(&f->prng, f->interval / 4);
    f->interval = min_u64(f->interval * 2, INTERVAL_MAX);
    return f->next;
}

bool found_next(struct found *f, struct found_todo *out)
{
    if (f->pledge_due) {
        f->pledge_due = false;
        out->kind = FOUND_DO_PLEDGE;
        out->cluster = f->pledging;
        out->epoch = f->pledging_epoch;
        return true;
    }
    if (f->name_due) {
        f->name_due = false;
        out->kind = FOUND_DO_NAME;
        out->cluster = f->pledging;
        out->epoch = f->pledging_epoch;
        out->node = f->naming;
        return true;
    }
    if (f->save_due) {
        f->save_due = false;
        out->kind = FOUND_DO_SAVE;
        out->entry = (struct kelp_bytes){f->entry1, f->entry1_len};
        return true;
    }
    if (f->fetch_due) {
        f->fetch_due = false;
        out->kind = FOUND_DO_FETCH;
        out->node = f->entry_from;
        out->snapshot = f->snapshot;
        return true;
    }
    if (f->out_count == 0) return false;
    out->kind = FOUND_DO_SEND;
    out->message = f->out[f->out_first];
    f->out_first = (f->out_first + 1) % FOUND_TODO_MAX;
    f->out_count--;
    return true;
}

bool found_quorum_started(const struct found *f)
{
    if (!f->founded) return false;
    size_t started = 1;
    for (size_t i = 0; i < f->setup.listed_count; i++)
        started += f->peers[i].started ? 1 : 0;
    return started > f->setup.listed_count / 2;
}
