/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - what a node says about itself: RAFT STATUS as lines and as JSON.
 *
 * Both are written from one list of fields, so that a name exists in both or in neither. Numbers
 * above 2^53 are strings in JSON, because many readers there know only doubles. */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/version.h"
#include "core/config.h"
#include "node/room.h"
#include "wire/epoch.h"

#define FIELDS_MAX     64u
#define TEXT_MAX       288u
#define JSON_EXACT_MAX (UINT64_C(1) << 53)

struct field {
    const char *name;
    bool is_text;
    uint64_t number;
    char text[TEXT_MAX];
};

struct fields {
    struct field at[FIELDS_MAX];
    size_t count;
};

static void number_field(struct fields *f, const char *name, uint64_t number)
{
    ASSERT(f->count < FIELDS_MAX);
    f->at[f->count].name = name;
    f->at[f->count].is_text = false;
    f->at[f->count++].number = number;
}

__attribute__((format(printf, 3, 4))) static void text_field(struct fields *f, const char *name,
                                                             const char *format, ...)
{
    ASSERT(f->count < FIELDS_MAX);
    struct field *field = &f->at[f->count++];
    field->name = name;
    field->is_text = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(field->text, sizeof field->text, format, args);
    va_end(args);
    for (char *c = field->text; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\r') *c = ' '; /* one field is one line */
    }
}

/* ---- the whole as a value -------------------------------------------------------------------- */

static const struct kelp_member *own_member(const struct node_status *s)
{
    const struct kelp_config *c = &s->driver.latest.config;
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id == s->id) return &c->members[i];
    }
    return NULL;
}

static const char *member_role_name(uint8_t role)
{
    switch ((enum kelp_member_role)role) {
    case KELP_NONE: return "leaving";
    case KELP_VOTER: return "voter";
    case KELP_LEARNER: return "learner";
    case KELP_WITNESS: return "witness";
    case KELP_STAGING: return "staging";
    }
    return "unknown";
}

static const char *role_of(const struct node *n, const struct node_status *s)
{
    if (n->phase >= NODE_DRAINS || n->leaves) return "shutdown";
    if (s->driver.state == DRIVER_WAITING || s->driver.latest.config.count == 0) return "passive";
    if (s->driver.view.removed) return "removed";
    if (own_member(s) == NULL)
        return s->id <= s->driver.latest.config.id_highest ? "removed" : "passive";
    return kelp_role_name(s->driver.view.role);
}

static const char *health_of(const struct node_status *s)
{
    switch (s->driver.state) {
    case DRIVER_FAULTED:
    case DRIVER_FOREIGN: return "faulted";
    case DRIVER_WAITING: return "ok";
    case DRIVER_RUNNING: break;
    }
    if (s->driver.compared.verdict == COMPARE_APART) return "quarantined";
    return s->driver.replaying ? "loading" : "ok";
}

/* False: there is nothing that people must look at. */
static bool compared_words(const struct driver_status *d, char *out, size_t size)
{
    const struct compare_result *c = &d->compared;
    if (d->state != DRIVER_RUNNING) return false;
    bool apart = c->verdict == COMPARE_APART;
    if (!apart && c->verdict != COMPARE_SPLIT) return false;
    const char *rejoins = d->rejoin != NULL ? "it rejoins: " : "kelp rejoin";
    if (apart && c->index == 0)
        (void)snprintf(out, size,
                       "its state was not that of the others before it was started: it serves no "
                       "reads; %s%s",
                       rejoins, d->rejoin != NULL ? d->rejoin : "");
    else if (apart)
        (void)snprintf(out, size,
                       "at index %" PRIu64 " its state%s is not that of %zu of %zu members: it "
                       "serves no reads; %s%s",
                       c->index, c->log_differs ? ", and what it applied," : "", c->with_most,
                       c->members, rejoins, d->rejoin != NULL ? d->rejoin : "");
    else
        (void)snprintf(out, size,
                       "at index %" PRIu64 " members have different states, at most %zu of %zu the "
                       "same: compare RAFT HASH, nobody can tell which is right",
                       c->index, c->with_most, c->members);
    return true;
}

static const char *divergence_of(const struct driver_status *d)
{
    switch (d->compared.verdict) {
    case COMPARE_NOTHING: return "unknown";
    case COMPARE_AGREED: return "none";
    case COMPARE_SPLIT: return "split";
    case COMPARE_APART: return "quarantined";
    }
    UNREACHABLE();
}

static void replay_words(const struct driver_replay *r, char *out, size_t size)
{
    int at = snprintf(out, size, "replaying the log from %" PRIu64 " to %" PRIu64 ": %u %%",
                      r->from, r->to, r->percent);
    ASSERT(at > 0 && (size_t)at < size);
    if (r->left_ms > 0)
        (void)snprintf(out + at, size - (size_t)at,
                       ", %" PRIu64 " entries a second, %" PRIu64 " s left", r->entries_per_s,
                       (r->left_ms + 999) / 1000);
}

void node_status(struct node *n, struct node_status *out)
{
    struct saver_figures figures = {.disk_free_bytes = 0};
    memset(out, 0, sizeof *out);
    driver_status(n->driver, &out->driver);
    if (n->net != NULL) net_stats(n->net, &out->net);
    if (n->saver != NULL) saver_figures(n->saver, &figures);
    out->rsm.applied = rsm_applied(n->rsm);
    out->rsm.chain_hash = rsm_chain_hash(n->rsm);
    out->rsm.state_hash = rsm_state_hash(n->rsm);
    out->id = n->options.id;
    out->incarnation = n->incarnation;
    const struct kelp_member *member = own_member(out);
    out->role = role_of(n, out);
    out->member = member != NULL ? member_role_name(member->role) : "none";
    out->priority = member != NULL ? kelp_priority_of(member) : 0;
    out->health = health_of(out);
    if (compared_words(&out->driver, out->reason, sizeof out->reason))
        ; /* nothing is more urgent */
    else if (out->driver.replaying)
        replay_words(&out->driver.replay, out->reason, sizeof out->reason);
    else if (out->driver.state == DRIVER_RUNNING && out->driver.view.space != KELP_SPACE_OK)
        (void)snprintf(out->reason, sizeof out->reason, "disk room: %s%s",
                       kelp_space_name(out->driver.view.space),
                       out->driver.view.role == KELP_LEADER ? ", writes are refused" : "");
    else if (out->driver.words[0] != '\0' || !contacts_claim(n, out->reason, sizeof out->reason))
        (void)snprintf(out->reason, sizeof out->reason, "%s", out->driver.words);
    out->disk_free_bytes = figures.disk_free_bytes;
    out->uptime_ms = (node_now(n) - n->started_at) / MILLISECOND;
}

int node_exit_status(const struct node *n, const char **words)
{
    if (words != NULL) *words = n->exit_status != 0 ? n->status.words : "";
    return n->exit_status;
}

_Static_assert(NODE_SNAPSHOTS_MAX == STORE_SNAPSHOTS_MAX, "all that are told are told on");

size_t node_snapshots(struct node *n, struct node_snapshot out[NODE_SNAPSHOTS_MAX])
{
    struct saver_figures figures;
    if (n->saver == NULL) return 0;
    saver_figures(n->saver, &figures);
    for (size_t i = 0; i < figures.store.snapshot_count; i++) {
        const struct store_snapshot_row *row = &figures.store.snapshots[i];
        const char *state = row->damaged ? "damaged" : row->unread ? "unread" : "whole";
        out[i] = (struct node_snapshot){row->pos, row->bytes, state};
    }
    return figures.store.snapshot_count;
}

enum kelp_error node_snapshot_now(struct node *n, struct kelp_pos *pos)
{
    enum kelp_error error = driver_snapshot_now(n->driver, pos);
    node_poke(n);
    return error;
}

enum kelp_reason node_rejoin(struct node *n, kelp_id from, bool force)
{
    enum kelp_reason reason = driver_rejoin(n->driver, node_now(n), from, force);
    node_poke(n);
    return reason;
}

const struct node_histograms *node_histograms(const struct node *n)
{
    return &n->histograms;
}

/* ---- as fields ------------------------------------------------------------------------------- */

static const char *flow_name(uint8_t flow)
{
    switch ((enum kelp_flow)flow) {
    case KELP_PROBE: return "probe";
    case KELP_STREAM: return "replicate";
    case KELP_NEEDS_SNAPSHOT: return "snapshot";
    }
    return "unknown";
}

static void identity_fields(struct fields *f, const struct node_status *s)
{
    text_field(f, "version", "%s", version_program);
    text_field(f, "cluster_id", "%016" PRIx64 "%016" PRIx64, s->driver.cluster.hi,
               s->driver.cluster.lo);
    text_field(f, "epoch", "%s",
               epoch_text(s->driver.epoch, (char[EPOCH_TEXT_MAX]){0})); /* 0: never recovered */
    number_field(f, "node_id", s->id < KELP_ID_WAITING ? s->id : 0);    /* 0: none is given yet */
    text_field(f, "incarnation", "%016" PRIx64, s->incarnation);
    text_field(f, "role", "%s", s->role);
    text_field(f, "member", "%s", s->member);
    number_field(f, "priority", s->priority);
    text_field(f, "health", "%s", s->health);
    text_field(f, "reason", "%s", s->reason);
    text_field(f, "drained", "%s", s->driver.view.drained ? "yes" : "no");
}

static void leader_fields(struct fields *f, struct node *n, const struct node_status *s)
{
    const struct kelp_view *view = &s->driver.view;
    const struct wire_member_addresses *row = node_addresses(n, view->leader);
    kelp_ns now = node_now(n);
    uint64_t contact_ms = s->uptime_ms;
    if (view->leader == s->id)
        contact_ms = 0;
    else if (view->leader_contact != 0)
        contact_ms = sub_sat(now, view->leader_contact) / MILLISECOND;
    number_field(f, "term", view->term.v);
    number_field(f, "voted_for", view->vote);
    number_field(f, "leader_id", view->leader);
    text_field(f, "leader_client", "%s", row != NULL ? row->client.text : "");
    number_field(f, "leader_since_ms",
                 n->leader_since != 0 ? sub_sat(now, n->leader_since) / MILLISECOND : 0);
    number_field(f, "last_contact_ms", contact_ms);
}

static void lease_fields(struct fields *f, struct node *n, const struct node_status *s)
{
    const struct kelp_view *view = &s->driver.view;
    text_field(f, "lease", "%s", kelp_lease_name(view->lease));
    number_field(f, "lease_left_ms", sub_sat(view->lease_until, node_now(n)) / MILLISECOND);
    number_field(f, "lease_reads", view->lease_reads);
    number_field(f, "lease_refused", view->lease_refused);
}

/* 0, 0, 100, 0, 0 once it is done; a rate and a time of 0 before that are not known. */
static void replay_fields(struct fields *f, const struct driver_replay *r)
{
    number_field(f, "replay_from", r->from);
    number_field(f, "replay_to", r->to);
    number_field(f, "replay_percent", r->percent);
    number_field(f, "replay_entries_per_s", r->entries_per_s);
    number_field(f, "replay_left_ms", r->left_ms);
}

static void log_fields(struct fields *f, const struct node_status *s)
{
    const struct kelp_view *view = &s->driver.view;
    number_field(f, "first_index", view->first);
    number_field(f, "last_index", view->last);
    number_field(f, "last_term", view->last_pos.term.v);
    number_field(f, "durable_index", view->durable);
    number_field(f, "commit_index", view->commit);
    number_field(f, "applied_index", s->rsm.applied.index);
    number_field(f, "apply_queue", s->driver.apply_queue);
    number_field(f, "snapshot_index", s->driver.snapshot.last.index);
    number_field(f, "snapshot_term", s->driver.snapshot.last.term.v);
    number_field(f, "fetch_index", s->driver.fetch.pos.index);
    number_field(f, "fetch_from", s->driver.fetch.from);
    number_field(f, "fetch_bytes", s->driver.fetch.bytes);
    number_field(f, "fetch_size", s->driver.fetch.size);
    number_field(f, "fetch_restored", s->driver.fetch.restored);
    replay_fields(f, &s->driver.replay);
    text_field(f, "divergence", "%s", divergence_of(&s->driver));
    number_field(f, "compared_index", s->driver.compared.index); /* 0: nothing is known */
    text_field(f, "rejoin", "%s", s->driver.rejoin != NULL ? s->driver.rejoin : "no");
    number_field(f, "rejoin_from", s->driver.rejoin_from);
    number_field(f, "rejoined", s->driver.rejoined);
}

/* The ids of those with a role, with commas between them. */
static void ids_field(struct fields *f, const char *name, const struct kelp_config *c,
                      enum kelp_member_role role)
{
    char ids[TEXT_MAX] = "";
    size_t at = 0;
    uint64_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].role != role) continue;
        if (at < sizeof ids)
            at += (size_t)snprintf(ids + at, sizeof ids - at, "%s%" PRIu64, count > 0 ? "," : "",
                                   c->members[i].id);
        count++;
    }
    text_field(f, name, "%s", ids);
}

static void config_fields(struct fields *f, const struct node_status *s)
{
    const struct kelp_config *c = &s->driver.latest.config;
    number_field(f, "config_committed", s->driver.committed.config.index);
    number_field(f, "config_latest", c->index);
    ids_field(f, "voters", c, KELP_VOTER);
    ids_field(f, "witnesses", c, KELP_WITNESS);
    number_field(f, "tolerates", s->driver.view.spare);
}

static void fields_fill(struct node *n, const struct node_status *s, struct fields *f)
{
    f->count = 0;
    identity_fields(f, s);
    leader_fields(f, n, s);
    lease_fields(f, n, s);
    log_fields(f, s);
    config_fields(f, s);
    number_field(f, "disk_free_bytes", s->disk_free_bytes);
    number_field(f, "sync_p99_us", hist_percentile(&n->histograms.sync_ns, 990000) / 1000);
    number_field(f, "uptime_ms", s->uptime_ms);
}

static void peer_fields(const struct kelp_view *view, const struct kelp_peer_view *p,
                        struct fields *f)
{
    f->count = 0;
    number_field(f, "id", p->id);
    text_field(f, "role", "%s", member_role_name(p->role));
    text_field(f, "state", "%s", flow_name(p->flow));
    number_field(f, "match", p->match);
    number_field(f, "next", p->next);
    number_field(f, "inflight", p->inflight_messages);
    number_field(f, "lag", sub_sat(view->last, p->match));
    number_field(f, "rtt_us", p->rtt / 1000);
}

static const char *id_text(char out[24], kelp_id id)
{
    (void)snprintf(out, 24, "%" PRIu64, id);
    return out;
}

/* Who asks to join, here, and is no member yet. False: it is one. */
static bool knock_fields(struct node *n, const struct driver_status *s, size_t i, struct fields *f)
{
    const struct driver_knock *k = &s->knocks[i];
    bool named = k->id < KELP_ID_WAITING; /* else it waits for an id, too */
    f->count = 0;
    if (named && config_slot(&s->latest.config, k->id) != CONFIG_NO_SLOT) return false;
    text_field(f, "id", "%s", named ? id_text((char[24]){0}, k->id) : "auto");
    text_field(f, "address", "%s", k->peer.text);
    number_field(f, "heard_ms", sub_sat(node_now(n), k->heard) / MILLISECOND);
    return true;
}

/* ---- as text --------------------------------------------------------------------------------- */

struct page { /* as snprintf: what does not fit is counted only */
    char *out;
    size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void page_print(struct page *p, const char *format,
                                                             ...)
{
    char *at = p->len < p->size ? p->out + p->len : NULL;
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(at, at != NULL ? p->size - p->len : 0, format, args);
    va_end(args);
    if (wrote > 0) p->len += (size_t)wrote;
}

static void page_field(struct page *p, const struct field *f, char between, const char *behind)
{
    if (f->is_text)
        page_print(p, "%s%c%s%s", f->name, between, f->text, behind);
    else
        page_print(p, "%s%c%" PRIu64 "%s", f->name, between, f->number, behind);
}

/* Status and fields are large: on the heap, like everything that is made for people now and
 * then. */
struct both {
    struct node_status status;
    struct fields fields;
};

size_t node_status_lines(struct node *n, char *out, size_t size)
{
    struct page page = {.out = out, .size = size};
    if (size > 0) out[0] = '\0';
    struct both *b = malloc(sizeof *b);
    if (b == NULL) {
        page_print(&page, "health:unknown\nreason:out of memory\n");
        return page.len;
    }
    node_status(n, &b->status);
    fields_fill(n, &b->status, &b->fields);
    for (size_t i = 0; i < b->fields.count; i++)
        page_field(&page, &b->fields.at[i], ':', "\n");
    const struct kelp_view *view = &b->status.driver.view;
    bool leads = view->role == KELP_LEADER;
    for (uint32_t peer = 0; leads && peer < view->peer_count; peer++) {
        if (view->peers[peer].id == n->options.id) continue;
        peer_fields(view, &view->peers[peer], &b->fields);
        page_print(&page, "peer_%" PRIu64 ":", view->peers[peer].id);
        for (size_t i = 1; i < b->fields.count; i++)
            page_field(&page, &b->fields.at[i], '=', i + 1 < b->fields.count ? "," : "\n");
    }
    for (size_t i = 0; i < b->status.driver.knock_count; i++) {
        if (!knock_fields(n, &b->status.driver, i, &b->fields)) continue;
        page_print(&page, "knock_%s:", b->fields.at[0].text);
        for (size_t k = 1; k < b->fields.count; k++)
            page_field(&page, &b->fields.at[k], '=', k + 1 < b->fields.count ? "," : "\n");
    }
    free(b);
    return page.len;
}

static json_t *field_json(const struct field *f)
{
    char text[24];
    if (f->is_text) return json_string(f->text);
    if (f->number <= JSON_EXACT_MAX) return json_integer((json_int_t)f->number);
    (void)snprintf(text, sizeof text, "%" PRIu64, f->number);
    return json_string(text);
}

/* jansson passes NULLs on: a failed part makes the whole fail. */
static json_t *fields_json(const struct fields *f)
{
    json_t *object = json_object();
    for (size_t i = 0; i < f->count; i++) {
        if (json_object_set_new(object, f->at[i].name, field_json(&f->at[i])) == 0) continue;
        json_decref(object);
        return NULL;
    }
    return object;
}

char *node_status_json(struct node *n)
{
    struct both *b = malloc(sizeof *b);
    if (b == NULL) return NULL;
    node_status(n, &b->status);
    fields_fill(n, &b->status, &b->fields);
    json_t *whole = fields_json(&b->fields), *peers = json_array(), *knocking = json_array();
    const struct kelp_view *view = &b->status.driver.view;
    bool leads = view->role == KELP_LEADER,
         good = whole != NULL && peers != NULL && knocking != NULL;
    for (uint32_t i = 0; good && leads && i < view->peer_count; i++) {
        if (view->peers[i].id == n->options.id) continue;
        peer_fields(view, &view->peers[i], &b->fields);
        good = json_array_append_new(peers, fields_json(&b->fields)) == 0;
    }
    for (size_t i = 0; good && i < b->status.driver.knock_count; i++) {
        if (!knock_fields(n, &b->status.driver, i, &b->fields)) continue;
        good = json_array_append_new(knocking, fields_json(&b->fields)) == 0;
    }
    good = json_object_set(whole, "peers", peers) == 0 && good;
    good = json_object_set(whole, "knocking", knocking) == 0 && good;
    char *text = good ? json_dumps(whole, JSON_COMPACT) : NULL;
    json_decref(peers);
    json_decref(knocking);
    json_decref(whole);
    free(b);
    return text;
}
