/* SPDX-License-Identifier: Apache-2.0 */
/* recover_compare.c - `kelp recover --compare DIR...`: what each surviving disk holds, and which
 * one to recover.
 *
 * The choice is that of an election [§3.6.1]: the highest last term, and in it the highest last
 * index, so whatever was committed with the help of any of these disks is in it. Of several epochs
 * only the latest counts; two of one number were recovered apart, and no rule chooses between
 * them.
 *
 * What could not be looked at may be the longer log, so nothing is chosen then; what is damaged
 * beyond use cannot be recovered from, and is only said. A witness holds nothing to recover, but
 * knows what there was: what it has seen above the chosen log stands on a disk that is not here. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/recover.h"
#include "wire/epoch.h"
#include "wire/wire.h"

struct survivor {
    const char *dir;
    enum kelp_error error;
    struct kelp_fault fault;
    struct renew_report r;
};

static void look(struct survivor *s)
{
    struct recover_view view;
    struct store_options options = recover_options();
    s->error = recover_view_open(s->dir, &view, &s->fault);
    if (s->error == KELP_OK) s->error = renew_look(view.ghost, &options, &s->r, &s->fault);
    recover_view_close(&view);
}

static bool holds(const struct survivor *s)
{
    return s->error == KELP_OK && s->r.last.index > 0 && !s->r.hollow;
}

/* It may hold a log, and nobody has seen it. */
static bool is_closed(const struct survivor *s)
{
    return s->error != KELP_OK && s->error != KELP_E_CORRUPT && s->error != KELP_E_FOREIGN &&
           s->error != KELP_E_WIPED;
}

/* Of all that hold something; NULL: none does, or *why says what is in the way. */
static const struct survivor *choose(const struct survivor *all, int count, const char **why)
{
    const struct survivor *best = NULL;
    *why = "not all of them could be looked at, and any of those may hold the longest log: stop "
           "what runs, make the rest readable, or leave out what is lost";
    for (int i = 0; i < count; i++) {
        if (is_closed(&all[i])) return NULL;
    }
    *why = "none of them holds a log to recover from";
    for (int i = 0; i < count; i++) {
        const struct survivor *s = &all[i];
        if (!holds(s)) continue;
        if (best == NULL) {
            best = s;
            continue;
        }
        uint64_t own = s->r.found.epoch, its = best->r.found.epoch;
        if (!wire_cluster_equal(s->r.found.cluster, best->r.found.cluster)) {
            *why = "they belong to different clusters";
            return NULL;
        }
        if (own != its && epoch_number(own) == epoch_number(its)) {
            *why = "two of them were recovered apart, and went different ways since: choose by "
                   "hand, and keep the other";
            return NULL;
        }
        bool later = epoch_number(own) > epoch_number(its);
        if (later || (own == its && kelp_pos_less(best->r.last, s->r.last))) best = s;
    }
    return best;
}

static const struct survivor *of_node(const struct survivor *all, int count, kelp_id id)
{
    for (int i = 0; i < count; i++) {
        if (all[i].error == KELP_OK && all[i].r.found.node == id) return &all[i];
    }
    return NULL;
}

static const char *kind(const struct survivor *s)
{
    if (s->error != KELP_OK) return s->error == KELP_E_LOCKED ? "runs" : "unusable";
    if (s->r.hollow) return "witness";
    if (s->r.last.index == 0) return "empty";
    return s->r.step == RENEW_UNFINISHED ? "half-recovered" : "log";
}

/* The witness that has seen most above the chosen log; NULL: none has. */
static const struct survivor *seen_beyond(const struct survivor *all, int count,
                                          const struct survivor *best)
{
    const struct survivor *most = NULL;
    for (int i = 0; i < count; i++) {
        const struct survivor *s = &all[i];
        if (s->error != KELP_OK || !s->r.hollow || s->r.found.epoch != best->r.found.epoch ||
            !wire_cluster_equal(s->r.found.cluster, best->r.found.cluster))
            continue;
        const struct kelp_pos than = most != NULL ? most->r.last : best->r.last;
        if (kelp_pos_less(than, s->r.last)) most = s;
    }
    return most;
}

/* A directory that can be started, and counts where its node does. */
static bool starts(const struct survivor *s, const struct kelp_member *m,
                   const struct survivor *best)
{
    return s != NULL && s->r.last.index > 0 && s->r.found.epoch == best->r.found.epoch &&
           s->r.step != RENEW_UNFINISHED &&
           (m->incarnation == 0 || m->incarnation == s->r.found.incarnation);
}

/* Do the logs that are here make a majority of those who vote, of both halves of a joint
 * configuration? Then nothing is lost and nothing is to be recovered, unless a witness, whose vote
 * none of them would get, says otherwise. */
static bool majority(const struct survivor *all, int count, const struct survivor *best)
{
    const struct kelp_config *c = &best->r.before.config;
    unsigned votes[2] = {0}, here[2] = {0};
    for (size_t i = 0; i < c->count; i++) {
        const uint8_t roles[2] = {c->members[i].role, c->members[i].role_old};
        const struct survivor *s = of_node(all, count, c->members[i].id);
        bool there = starts(s, &c->members[i], best);
        for (size_t half = 0; half < 2; half++) {
            bool counts = roles[half] == KELP_VOTER || roles[half] == KELP_WITNESS;
            votes[half] += counts;
            here[half] += counts && there;
        }
    }
    return seen_beyond(all, count, best) == NULL && here[0] > votes[0] / 2 &&
           (c->joint == 0 || here[1] > votes[1] / 2);
}

static json_t *row_json(const struct survivor *s)
{
    const struct renew_report *r = &s->r;
    if (s->error != KELP_OK)
        return json_pack("{ss,ss,ss,ss}", "data", s->dir, "kind", kind(s), "error",
                         kelp_strerror(s->error), "words", s->fault.what);
    char cluster[40], incarnation[20], epoch[EPOCH_TEXT_MAX];
    (void)snprintf(cluster, sizeof cluster, "%016" PRIx64 "%016" PRIx64, r->found.cluster.hi,
                   r->found.cluster.lo);
    (void)snprintf(incarnation, sizeof incarnation, "%016" PRIx64, r->found.incarnation);
    return json_pack("{ss,ss,sI,ss,ss,ss,sI,sI,sI,sI,sI,so}", "data", s->dir, "kind", kind(s),
                     "node", (json_int_t)r->found.node, "incarnation", incarnation, "cluster_id",
                     cluster, "epoch", epoch_text(r->found.epoch, epoch), "last_index",
                     (json_int_t)r->last.index, "last_term", (json_int_t)r->last.term.v, "commit",
                     (json_int_t)r->commit, "snapshot_index", (json_int_t)r->snapshot.index,
                     "vote_term", (json_int_t)r->term.v, "members",
                     recover_members_json(&r->before));
}

static void row_print(const struct survivor *s)
{
    const struct renew_report *r = &s->r;
    char epoch[EPOCH_TEXT_MAX], ends[48];
    if (s->error != KELP_OK) {
        (void)printf("%s\n  %s: %s%s%s\n", s->dir, kind(s), s->fault.where,
                     s->fault.where[0] != '\0' ? ": " : "",
                     s->fault.what[0] != '\0' ? s->fault.what : kelp_strerror(s->error));
        return;
    }
    (void)snprintf(ends, sizeof ends, "%" PRIu64 "@%" PRIu64, r->last.index, r->last.term.v);
    (void)printf("%s\n  node %" PRIu64 ", %s, ends at %s, committed up to %" PRIu64
                 " at least, snapshot at %" PRIu64 ", epoch %s, incarnation %016" PRIx64 "\n",
                 s->dir, r->found.node, kind(s), ends, r->commit, r->snapshot.index,
                 epoch_text(r->found.epoch, epoch), r->found.incarnation);
}

/* Members of the chosen one's configuration that no directory here is of. */
static json_t *absent_json(const struct survivor *all, int count, const struct survivor *best)
{
    json_t *list = json_array();
    const struct wire_config *c = &best->r.before;
    for (size_t i = 0; i < c->config.count; i++) {
        if (of_node(all, count, c->config.members[i].id) == NULL)
            (void)json_array_append_new(list, json_integer((json_int_t)c->config.members[i].id));
    }
    return list;
}

static json_t *beyond_json(const struct survivor *witness)
{
    if (witness == NULL) return json_null();
    const struct renew_report *r = &witness->r;
    return json_pack("{sI,sI,sI}", "witness", (json_int_t)r->found.node, "last_index",
                     (json_int_t)r->last.index, "last_term", (json_int_t)r->last.term.v);
}

static int json_say(const struct verb *verb, const struct survivor *all, int count,
                    const struct survivor *best, const char *why)
{
    json_t *rows = json_array(), *out = json_object();
    for (int i = 0; i < count; i++)
        (void)json_array_append_new(rows, row_json(&all[i]));
    (void)json_object_set_new(out, "survivors", rows);
    if (best != NULL) {
        (void)json_object_set_new(out, "choose", json_string(best->dir));
        (void)json_object_set_new(out, "absent", absent_json(all, count, best));
        (void)json_object_set_new(out, "quorum", json_boolean(majority(all, count, best)));
        (void)json_object_set_new(out, "beyond", beyond_json(seen_beyond(all, count, best)));
    } else {
        (void)json_object_set_new(out, "choose", json_null());
        (void)json_object_set_new(out, "why", json_string(why));
    }
    int status = print_json(verb, out);
    return status != CLI_DONE ? status : best != NULL ? CLI_DONE : CLI_FAILED;
}

static void advise(const struct survivor *all, int count, const struct survivor *best)
{
    const struct wire_config *c = &best->r.before;
    if (majority(all, count, best)) {
        (void)printf("these are a majority: start them as they are, nothing needs to be "
                     "recovered\n");
        return;
    }
    (void)printf("choose %s (node %" PRIu64 "): the highest last term, and in it the highest last "
                 "index\n",
                 best->dir, best->r.found.node);
    for (int i = 0; i < count; i++) {
        if (&all[i] == best || !holds(&all[i])) continue;
        bool same = kelp_pos_equal(all[i].r.last, best->r.last) &&
                    all[i].r.found.epoch == best->r.found.epoch;
        (void)printf("  %s: %s\n", all[i].dir,
                     same ? "the same log; it can take part with the token that the first prints"
                          : "behind it; keep it until the chosen one serves, then join with an "
                            "empty one");
    }
    for (int i = 0; i < count; i++) {
        if (all[i].error != KELP_OK)
            (void)printf("  %s cannot be used: what only it holds would be lost; keep it\n",
                         all[i].dir);
    }
    const struct survivor *witness = seen_beyond(all, count, best);
    if (witness != NULL)
        (void)printf("  node %" PRIu64 ", a witness, has seen entries up to %" PRIu64 "@%" PRIu64
                     ": they stand on a disk that is not among these, and were perhaps "
                     "acknowledged\n",
                     witness->r.found.node, witness->r.last.index, witness->r.last.term.v);
    unsigned absent = 0;
    for (size_t i = 0; i < c->config.count; i++) {
        if (of_node(all, count, c->config.members[i].id) != NULL) continue;
        (void)printf("  node %" PRIu64 " (%s) is in none of these directories\n",
                     c->config.members[i].id, c->peer[i].text);
        absent++;
    }
    if (absent > 0)
        (void)printf("what only those acknowledged, above %" PRIu64
                     ", would be lost: look for their disks first\n",
                     best->r.last.index);
}

int recover_compare(const struct verb *verb, int count, char **dirs, bool json)
{
    struct survivor *all = calloc((size_t)count, sizeof *all);
    if (all == NULL) return cli_error(verb, CLI_FAILED, "out of memory");
    for (int i = 0; i < count; i++) {
        all[i].dir = dirs[i];
        look(&all[i]);
    }
    const char *why;
    const struct survivor *best = choose(all, count, &why);
    int status = CLI_DONE;
    if (json) {
        status = json_say(verb, all, count, best, why);
    } else {
        for (int i = 0; i < count; i++)
            row_print(&all[i]);
        if (best != NULL)
            advise(all, count, best);
        else
            status = cli_error(verb, CLI_FAILED, "%s", why);
    }
    free(all);
    return status;
}
