/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - turns what a node saves, sends, recovers and becomes into what the checker is told.
 *
 * The fixed part of messages is read here at the offsets that wire/message.c documents, not with
 * its decoder: a second reading of the same bytes, and it does not verify entries that the
 * receiver will verify anyway. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/min.h"
#include "base/unset.h"
#include "core/look.h"
#include "sim/trace.h"
#include "sim/world.h"
#include "wire/entry.h"

/* ---- saves ---- */

static void entry_describe(struct kelp_bytes encoded, const struct wire_entry *e,
                           struct checker_entry *out)
{
    struct machine_request request;
    *out = (struct checker_entry){
        .term = e->pos.term.v, .checksum = wire_entry_checksum(encoded), .time_ns = e->time_ns};
    out->position = e->type == KELP_ENTRY_POSITION;
    out->config = e->type == KELP_ENTRY_CONFIG;
    out->session = e->type == KELP_ENTRY_SESSION;
    out->once.is = (e->flags & WIRE_ENTRY_IN_SESSION) != 0;
    out->once.fields = (struct kelp_once){e->session, e->sequence, e->acknowledged};
    if (e->type == KELP_ENTRY_COMMAND && machine_decode(e->payload, &request)) {
        out->value = request.value;
        out->name = request.name;
        out->more = request.more;
    }
}

/* Entries first.. from bytes that hold them back to back; false: they do not. */
static bool entries_read(struct node *n, kelp_index first, const struct kelp_bytes *parts,
                         size_t part_count, struct checker_entry *out, size_t count)
{
    size_t seen = 0;
    UNSET struct kelp_fault fault;
    fault_none(&fault);
    for (size_t i = 0; i < part_count; i++) {
        struct kelp_bytes rest = parts[i];
        while (rest.len > 0 && seen < count) {
            struct wire_entry entry;
            size_t used;
            if (wire_entry_decode(rest, &entry, &used, &fault) != KELP_OK ||
                entry.pos.index != first + seen) {
                checker_fail(n->world->checker, RULE_N03,
                             "node %u: entry %llu is not encoded as it should be: %s", n->slot + 1u,
                             (unsigned long long)(first + seen), fault.what);
                return false;
            }
            entry_describe(bytes_of(rest.data, used), &entry, &out[seen++]);
            rest = bytes_of(rest.data + used, rest.len - used);
        }
    }
    if (seen == count) return true;
    checker_fail(n->world->checker, RULE_N03, "node %u saves %zu entries and says %zu",
                 n->slot + 1u, seen, count);
    return false;
}

void watch_save(struct node *n, const struct kelp_save *save, const struct kelp_bytes *parts,
                size_t part_count)
{
    struct checker_entry *entries = n->world->watched;
    size_t count = 0;
    if (n->world->renewal.on) return;
    if ((save->flags & KELP_SAVE_APPEND) != 0) {
        count = (size_t)(save->last - save->first + 1);
        if (count > WATCHED_MAX) {
            checker_fail(n->world->checker, RULE_I37, "node %u saves %zu entries at once",
                         n->slot + 1u, count);
            return;
        }
        if (!entries_read(n, save->first, parts, part_count, entries, count)) return;
    }
    checker_saves(n->world->checker, n->slot, save, entries);
}

/* ---- frames ---- */

#define BODY_TYPE      2u
#define BODY_FLAGS     3u
#define BODY_TERM      24u
#define BODY_ID        32u
#define BODY_ROUND     48u
#define BODY_VOTE_TERM 56u
#define BODY_MATCH     56u
#define BODY_FIXED_MIN 64u

void watch_frame(struct node *n, unsigned to, const struct packet *p)
{
    if (p->kind != WIRE_MESSAGE || n->world->renewal.on) return;
    if (p->len < WIRE_FRAME_HEAD + BODY_FIXED_MIN) {
        checker_fail(n->world->checker, RULE_N03, "node %u sends a message of %u bytes",
                     n->slot + 1u, p->len);
        return;
    }
    const uint8_t *body = p->data + WIRE_FRAME_HEAD;
    struct checker_sent sent = {
        .type = body[BODY_TYPE],
        .flags = body[BODY_FLAGS],
        .to = to,
        .term = load_u64(body + BODY_TERM),
        .round = load_u64(body + BODY_ROUND),
        .vote_term = load_u64(body + BODY_VOTE_TERM),
        .match = load_u64(body + BODY_MATCH),
    };
    bool parting = sent.type == KELP_MSG_TIMEOUT_NOW && (sent.flags & KELP_MF_FINAL) != 0;
    if (n->state == NODE_FAULTED && (!parting || n->parted == n->life))
        checker_fail(n->world->checker, RULE_N02, "node %u is faulted and sends", n->slot + 1u);
    if (parting) n->parted = n->life;
    checker_sends(n->world->checker, n->slot, &sent);
}

/* A node knows by their numbers what comes again, or behind what is newer. What it never heard, or
 * not since it started, is news to it however long ago it left. Only a replay can be on its way for
 * longer than must_see() allows for. */
void watch_heard(struct node *n, const struct packet *p)
{
    if (p->kind != WIRE_MESSAGE || p->len < WIRE_FRAME_HEAD + BODY_FIXED_MIN) return;
    const uint8_t *body = p->data + WIRE_FRAME_HEAD;
    uint64_t term = load_u64(body + BODY_TERM), id = load_u64(body + BODY_ID);
    uint64_t *last_term = &n->heard[p->from].term, *last = &n->heard[p->from].id;
    bool new = false;
    if (body[BODY_TYPE] == KELP_MSG_ANSWER) {
        last = &n->heard[p->from].answered;
        new = id > *last;
    } else if (body[BODY_TYPE] == KELP_MSG_APPEND || body[BODY_TYPE] == KELP_MSG_HEARTBEAT) {
        new = term > *last_term || (term == *last_term && id > *last);
        if (new) *last_term = term;
    }
    if (!new) return;
    *last = id;
    const struct world *w = n->world;
    kelp_ns usual = w->swarm.fault_long + w->swarm.delay_late;
    if (p->replayed && w->now - p->sent_at > usual) n->misled_last = w->now;
}

/* What of a frame goes into the trace. Entry 1 and refusals tell the founder's wall clock, which
 * must not matter, so of frames that may carry it only the length counts. */
uint64_t watch_frame_hash(const struct packet *p)
{
    uint64_t hash = hash_mix(p->connection, (uint64_t)p->kind << 32 | p->len);
    if (p->kind == WIRE_MESSAGE && p->len > WIRE_FRAME_HEAD + 2) {
        const uint8_t *body = p->data + WIRE_FRAME_HEAD;
        size_t fixed = min_u64(load_u16(body), p->len - WIRE_FRAME_HEAD);
        return hash_mix(hash, hash_bytes(bytes_of(body, fixed), 0));
    }
    if (p->kind == WIRE_FORWARD || p->kind == WIRE_FORWARD_ANSWER || p->kind == WIRE_HELLO)
        return hash_mix(hash, hash_bytes(bytes_of(p->data, p->len), 0));
    return hash;
}

/* ---- recovery ---- */

static size_t run_term(const struct store_found *found, size_t run, kelp_index index)
{
    while (run < found->run_count && found->runs[run].last < index)
        run++;
    return run;
}

static bool recovery_entries(struct node *n, const struct store_found *found,
                             struct checker_entry *entries, struct kelp_fault *fault)
{
    size_t run = 0;
    for (kelp_index i = found->base.index + 1; i <= found->last;) {
        size_t len;
        struct kelp_pos before;
        kelp_index last;
        enum kelp_error error = store_read(n->store, i, 256, 256 * 1024, &n->read_buffer,
                                           &n->read_room, &len, &before, &last, fault);
        if (error != KELP_OK) return false;
        struct kelp_bytes part = bytes_of(n->read_buffer, len);
        if (last < i || last > found->last ||
            !entries_read(n, i, &part, 1, entries + (i - found->base.index - 1), last - i + 1))
            return false;
        i = last + 1;
    }
    for (kelp_index i = found->base.index + 1; i <= found->last; i++) {
        run = run_term(found, run, i);
        if (run < found->run_count &&
            found->runs[run].term.v == entries[i - found->base.index - 1].term)
            continue;
        checker_fail(n->world->checker, RULE_I31, "node %u recovers %llu with another term",
                     n->slot + 1u, (unsigned long long)i);
        return false;
    }
    return true;
}

bool watch_recovery(struct node *n, struct kelp_fault *fault)
{
    const struct store_found *found = store_found(n->store);
    if (n->world->renewal.on) return true;
    if (n->wiped) return true; /* it must be refused; nothing it lost is a promise of its disk */
    size_t count = (size_t)(found->last - found->base.index);
    struct checker_entry *entries = calloc(count + 1, sizeof *entries);
    if (entries == NULL) {
        checker_fail(n->world->checker, RULE_W02, "no memory to look at a recovered log");
        return false;
    }
    bool read = recovery_entries(n, found, entries, fault);
    if (read) {
        struct checker_recovered recovered = {
            .term = found->term.v,
            .vote = found->vote,
            .base = found->base,
            .last = found->last,
            .commit = found->commit,
            .everyone = found->everyone,
            .snapshot = found->snapshot.pos.index,
            .start_count = found->start_count,
            .entries = entries,
            .rotten = n->harm.rotten || n->harm.failing,
        };
        checker_recovers(n->world->checker, n->slot, &recovered);
    }
    free(entries);
    return read;
}

/* ---- events and state ---- */

void sim_watch_event(struct node *n, const struct kelp_event *event)
{
    struct world *w = n->world;
    if (event->type < KELP_SIM_MARKS_MAX) w->report->marks[event->type]++;
    if (w->renewal.on) {
        trace_event(n, event);
        return;
    }
    if (event->type == KELP_EV_ROLE_LEADER) {
        w->report->elections++;
        checker_leads(w->checker, n->slot, event->term.v);
    }
    /* told late, by a node that stood still meanwhile, it says nothing about now */
    if (event->type == KELP_EV_READ_LEASED && event->at == node_clock(n))
        checker_leased(w->checker, n->slot, event->term.v, event->pos.index);
    if (event->type == KELP_EV_VOTE_OWN_COUNTED)
        checker_own_vote(w->checker, n->slot, event->term.v);
    trace_event(n, event);
}

/* When many saves are open the core holds entries back that it has: they are read from the driver's
 * cache, from the end of the log down to where it agrees with what was saved. */
static void watch_ahead(struct node *n, const struct kelp_view *view)
{
    struct checker *c = n->world->checker;
    struct checker_entry *entries = n->world->watched;
    size_t count = 0;
    kelp_index index = view->last;
    for (; index >= view->first && count < WATCHED_MAX; index--) {
        struct kelp_bytes bytes = driver_entry(n->driver, index);
        struct wire_entry entry;
        struct kelp_fault fault = {0};
        size_t used;
        if (wire_entry_decode(bytes, &entry, &used, &fault) != KELP_OK) break;
        if (checker_saved_term(c, n->slot, index) == entry.pos.term.v) break;
        entry_describe(bytes, &entry, &entries[WATCHED_MAX - ++count]);
    }
    checker_ahead(c, n->slot, index + 1, entries + WATCHED_MAX - count, count);
}

void watch_node(struct node *n)
{
    struct world *w = n->world;
    const struct kelp_core *core = driver_core(n->driver);
    if (core == NULL) return;
    UNSET struct kelp_fault fault;
    fault_none(&fault);
    if (driver_check(n->driver, &fault) != KELP_OK)
        checker_fail(w->checker, RULE_N01, "node %u: %s (%s)", n->slot + 1u, fault.what,
                     fault.where);
    UNSET struct kelp_view view; /* filled here; only of a leader's peers anything is judged */
    if (core_led_term(core, false) != 0)
        core_look(core, &view);
    else
        kelp_glance(core, &view);
    if (view.faulted && n->state == NODE_UP) {
        node_watch_status(n);
        if (n->state == NODE_UP)
            checker_fail(w->checker, RULE_N02, "node %u: its core is faulted", n->slot + 1u);
        return;
    }
    if (w->renewal.on) return;
    if (n->wiped)
        checker_fail(w->checker, RULE_I33, "node %u runs Raft from an emptied directory",
                     n->slot + 1u);
    checker_resets(w->checker, n->slot, core_reset_waits(core));
    if (!kelp_pos_equal(checker_log_end(w->checker, n->slot), view.last_pos))
        watch_ahead(n, &view);
    else
        checker_ahead(w->checker, n->slot, 0, NULL, 0);
    churn_watch(n, core, &view);
    herald_look(n, &view);
    checker_views(w->checker, n->slot, &view);
    if (!view.transferring)
        n->handing_since = 0;
    else if (n->handing_since == 0)
        n->handing_since = max_u64(1, node_clock(n));
    if (checker_failed(w->checker)) return;
    if (w->swarm.apply_durable_only) checker_keeps(w->checker, n->slot, view.applied);
    if (checker_witness(w->checker, n->slot)) return; /* it applies nothing */
    if (n->apart) return;                             /* it is another, and must be found out */
    checker_applied(w->checker, n->slot, rsm_applied(n->rsm).index, rsm_chain_hash(n->rsm),
                    rsm_state_hash(n->rsm) + restorer_hash(n));
}
