/* SPDX-License-Identifier: Apache-2.0 */
/* leaderless.c - why nobody leads, in one clause; see leaderless.h.
 *
 * Counted is what an election counts: voters and witnesses of the newest configuration that a node
 * has, and of those the ones that take part. Where enough of them do, whoever may lead must also
 * have a log that enough others vote for: a witness, or somebody who never leads, may hold entries
 * that keep all others from it. Then only who is missing can help, as where too few are there. */
#include "cli/leaderless.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define HEARD_MS 5000u /* who does not stand for now goes on naming who led last */

static void say(struct leaderless *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct leaderless *l, const char *format, ...)
{
    size_t at = strlen(l->words);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(l->words + at, sizeof l->words - at, format, args);
    va_end(args);
}

/* ---- nodes --------------------------------------------------------------------------------- */

static bool is(const struct status_node *n, const char *name, const char *text)
{
    return strcmp(status_text(n, name), text) == 0;
}

/* Does it take part in elections? */
static bool takes_part(const struct status_node *n)
{
    if (n->fields == NULL || is(n, "health", "faulted") || is(n, "health", "quarantined"))
        return false;
    return !is(n, "role", "passive") && !is(n, "role", "removed") && !is(n, "role", "shutdown");
}

/* Who takes part under this id; NULL: nobody. */
static const struct status_node *voter_of(const struct status_node *nodes, size_t count,
                                          const char *cluster, uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (takes_part(&nodes[i]) && is(&nodes[i], "cluster_id", cluster) &&
            status_number(&nodes[i], "node_id") == id)
            return &nodes[i];
    }
    return NULL;
}

/* Is the log of a newer than that of b? As a voter judges it. [§3.6.1] */
static bool newer(const struct status_node *a, const struct status_node *b)
{
    uint64_t term = status_number(a, "last_term"), other = status_number(b, "last_term");
    if (term != other) return term > other;
    return status_number(a, "last_index") > status_number(b, "last_index");
}

/* Whose configuration is the newest; NULL: nobody answers. */
static const struct status_node *newest(const struct status_node *nodes, size_t count)
{
    const struct status_node *found = NULL;
    const char *cluster = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct status_node *n = &nodes[i];
        if (n->fields == NULL) continue;
        if (cluster == NULL) cluster = status_text(n, "cluster_id");
        if (!is(n, "cluster_id", cluster)) continue;
        bool later = found == NULL ||
                     status_number(n, "config_latest") > status_number(found, "config_latest");
        if (later) found = n;
    }
    return found;
}

/* ---- who votes ----------------------------------------------------------------------------- */

struct electors {
    const struct status_node *there[STATUS_NODES_MAX];
    size_t there_count;
};

/* The ids of a list like 1,2,5. */
static void electors_add(struct leaderless *l, struct electors *e, const struct status_node *nodes,
                         size_t count, const struct status_node *of, const char *list)
{
    const char *cluster = status_text(of, "cluster_id");
    for (const char *at = status_text(of, list); *at != '\0' && l->voters < STATUS_NODES_MAX;) {
        char *end = NULL;
        uint64_t id = strtoull(at, &end, 10);
        if (end == at) return;
        const struct status_node *n = voter_of(nodes, count, cluster, id);
        l->voters++;
        if (n != NULL)
            e->there[e->there_count++] = n;
        else
            l->missing[l->missing_count++] = id;
        at = end + (*end == ',');
    }
}

static bool may_lead(const struct status_node *n)
{
    return is(n, "member", "voter") && status_number(n, "priority") > 0;
}

/* How many of those who are there would vote for it. */
static uint64_t votes_for(const struct electors *e, const struct status_node *n)
{
    uint64_t votes = 0;
    for (size_t i = 0; i < e->there_count; i++)
        votes += !newer(e->there[i], n);
    return votes;
}

/* ---- in words ------------------------------------------------------------------------------ */

static void missing_say(struct leaderless *l, uint64_t needed)
{
    if (l->missing_count == 0) return;
    if (l->missing_count == 1)
        say(l, "; node %" PRIu64 " must come back", l->missing[0]);
    else if (needed == l->missing_count)
        say(l, "; these must come back:");
    else
        say(l, "; %" PRIu64 " of these must come back:", needed);
    for (size_t i = 0; l->missing_count > 1 && i < l->missing_count; i++)
        say(l, "%s node %" PRIu64, i > 0 ? "," : "", l->missing[i]);
}

/* Enough take part; can one of them win? */
static void judge(struct leaderless *l, const struct electors *e)
{
    const struct status_node *best = NULL, *ahead = NULL;
    for (size_t i = 0; i < e->there_count; i++) {
        const struct status_node *n = e->there[i];
        if (ahead == NULL || newer(n, ahead)) ahead = n;
        if (may_lead(n) && (best == NULL || newer(n, best))) best = n;
    }
    if (best == NULL) {
        say(l, ", but none of them may lead (a witness, or priority 0)");
    } else if (votes_for(e, best) < l->needed && is(ahead, "member", "witness")) {
        say(l,
            ", but none of them can win: node %s, a witness, knows of newer entries than node %s",
            status_text(ahead, "node_id"), status_text(best, "node_id"));
    } else { /* who never leads does so for a moment, where its log is needed */
        say(l, "; one of them should lead soon, if they reach each other");
        return;
    }
    missing_say(l, 1);
}

/* Somebody hears a leader that does not answer here; false: nobody does. */
static bool heard(const struct status_node *nodes, size_t count, struct leaderless *l,
                  const char *cluster)
{
    for (size_t i = 0; i < count; i++) {
        const struct status_node *n = &nodes[i];
        if (!takes_part(n) || !is(n, "cluster_id", cluster)) continue;
        bool lately = status_number(n, "last_contact_ms") < HEARD_MS;
        if (status_number(n, "leader_id") == 0 || !lately) continue;
        say(l, "node %s hears node %s lead, which does not answer here", status_text(n, "node_id"),
            status_text(n, "leader_id"));
        return true;
    }
    return false;
}

void leaderless_find(const struct status_node *nodes, size_t count, struct leaderless *out)
{
    struct electors e = {.there_count = 0};
    const struct status_node *of = newest(nodes, count);
    memset(out, 0, sizeof *out);
    if (of == NULL) return;
    const char *cluster = status_text(of, "cluster_id");
    for (size_t i = 0; i < count; i++) {
        if (takes_part(&nodes[i]) && is(&nodes[i], "cluster_id", cluster) &&
            is(&nodes[i], "role", "leader"))
            return;
    }
    if (heard(nodes, count, out, cluster)) return;
    electors_add(out, &e, nodes, count, of, "voters");
    electors_add(out, &e, nodes, count, of, "witnesses");
    if (out->voters == 0) return;
    out->so = true;
    out->answer = e.there_count;
    out->needed = out->voters / 2 + 1;
    say(out, "%" PRIu64 " of %" PRIu64 " voters answer%s, %" PRIu64 " %s needed", out->answer,
        out->voters, out->answer == 1 ? "s" : "", out->needed, out->needed == 1 ? "is" : "are");
    if (out->answer >= out->needed)
        judge(out, &e);
    else
        missing_say(out, out->needed - out->answer);
}

json_t *leaderless_json(const struct leaderless *l)
{
    json_t *missing = json_array();
    for (size_t i = 0; i < l->missing_count; i++)
        (void)json_array_append_new(missing, status_id_json(l->missing[i]));
    return json_pack("{s:s,s:I,s:I,s:I,s:o}", "words", l->words, "voters", (json_int_t)l->voters,
                     "answer", (json_int_t)l->answer, "needed", (json_int_t)l->needed, "missing",
                     missing);
}
