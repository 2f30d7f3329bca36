/* SPDX-License-Identifier: Apache-2.0 */
/* birth.c - founding over the ports, and the start of Raft when there is something to start from.
 *
 * The rules are in found.c; here its messages become frames and its saves go to the store. The
 * save of entry 1 is the store's first; the core's own numbers follow it. Entry 1 counts as
 * committed: every member starts from the same.
 *
 * Who asks a node that waits to found a cluster of itself has a request in a line like any other;
 * the founding begins at once, and the request ends as DONE when entry 1 is durable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/room.h"

/* Room for the entries of a take's messages is made in message_decode; this is where it begins. */
#define INFOS_AT_FIRST 1024u

enum kelp_error raft_start(struct driver *d, const struct kelp_boot *boot, struct kelp_fault *fault)
{
    ASSERT(d->core == NULL && d->config_count > 0);
    d->core_memory = malloc(kelp_core_memory(&d->options.core.limits));
    d->infos = malloc(INFOS_AT_FIRST * sizeof *d->infos);
    if (d->core_memory == NULL || d->infos == NULL) {
        if (fault != NULL) fault->error = KELP_E_NO_MEMORY;
        return KELP_E_NO_MEMORY;
    }
    d->info_room = INFOS_AT_FIRST;
    struct kelp_boot whole = *boot;
    whole.config = &d->configs[d->config_count - 1].config;
    whole.config_before = d->config_count > 1 ? &d->configs[0].config : NULL;
    d->core = kelp_core_init(d->core_memory, &d->options.core, &whole, d->now, fault);
    if (d->core == NULL)
        return fault != NULL && fault->error != KELP_OK ? fault->error : KELP_E_ARGUMENT;
    d->state = DRIVER_RUNNING;
    d->view_stale = d->route_stale = d->untaken = true;
    d->applied = d->applied_reported = d->apply_to = boot->applied;
    d->apply_next = boot->applied + 1;
    d->replay_to = boot->commit;
    replay_begin(d);
    d->save_last = boot->last;
    config_sync(d);
    return KELP_OK;
}

/* A founder that knows a quorum to be ready need not wait for its timeout. (The only voter does not
 * either, but that is the core's own knowledge.) */
static void campaign_early(struct driver *d)
{
    if (d->campaigned || d->core == NULL || d->state != DRIVER_RUNNING || d->tail_due ||
        d->tail_open)
        return;
    const struct kelp_config *c = &d->configs[d->config_count - 1].config;
    bool alone = c->count == 1 && c->members[0].id == d->options.core.self;
    if (alone || !found_quorum_started(d->found)) return;
    d->campaigned = true;
    if (driver_look(d)->leader != 0 || driver_look(d)->role != KELP_FOLLOWER) return;
    struct kelp_input input = {.type = KELP_IN_CAMPAIGN};
    (void)driver_step(d, &input);
}

/* Who asked for it hears of it once entry 1 is durable. */
static void founding_told(struct driver *d)
{
    for (size_t i = 0; i < d->requests.chunk_count * REQUESTS_A_CHUNK; i++) {
        struct request *r = &d->requests.chunks[i / REQUESTS_A_CHUNK][i % REQUESTS_A_CHUNK];
        if (r->state == REQUEST_HANDING && r->founds) request_close(d, r, KELP_DONE, KELP_R_NONE);
    }
}

void birth_saved(struct driver *d)
{
    if (d->found->phase != FOUND_SAVE || d->save_given == 0) return;
    if (d->state == DRIVER_FAULTED) return; /* for good */
    found_saved(d->found, d->now);
    config_push(d, &d->found->config);
    struct kelp_run run = {.last = 1, .term = {1}};
    struct kelp_boot boot = {
        .term = {1}, .last = 1, .commit = 1, .runs = &run, .run_count = 1, .runs_from = 1};
    struct kelp_fault fault = {.error = KELP_OK};
    d->save_offset = d->save_given;
    if (raft_start(d, &boot, &fault) != KELP_OK) {
        driver_fail(d, &fault);
        return;
    }
    driver_note(d, KELP_INFO, "holds entry 1, Raft starts%s",
                d->found->founded ? ": founded the cluster" : "");
    founding_told(d);
}

static void entry_save(struct driver *d, struct kelp_bytes entry)
{
    uint8_t *room = cache_reserve(d->cache, entry.len);
    if (room == NULL) {
        struct kelp_fault fault = {.error = KELP_E_NO_MEMORY, .what = "no memory for entry 1"};
        driver_fail(d, &fault);
        return;
    }
    memcpy(room, entry.data, entry.len);
    cache_commit(d->cache, 1, entry.len);
    struct kelp_save save = {.number = ++d->save_given,
                             .flags = KELP_SAVE_VOTE | KELP_SAVE_APPEND,
                             .term = {1},
                             .first = 1,
                             .last = 1,
                             .commit = 1};
    d->ports.store->save(d->ports.store_ctx, d->options.group, &save, &entry, 1);
}

static void found_send(struct driver *d, const struct wire_found *m)
{
    struct kelp_bytes *parts = scratch_take(d, 3 * sizeof *parts);
    uint8_t *head = scratch_take(d, WIRE_FRAME_HEAD + WIRE_FOUND_HEAD_MAX);
    uint8_t *entry = m->entry.len > 0 ? scratch_take(d, m->entry.len) : NULL;
    if (parts == NULL || head == NULL || (m->entry.len > 0 && entry == NULL))
        return; /* asked again */
    uint8_t *fixed = head + WIRE_FRAME_HEAD;
    size_t count = 2;
    parts[0] = bytes_of(head, WIRE_FRAME_HEAD);
    parts[1] = bytes_of(fixed, wire_found_encode(m, fixed));
    if (entry != NULL) {
        memcpy(entry, m->entry.data, m->entry.len);
        parts[count++] = bytes_of(entry, m->entry.len);
    }
    wire_frame_head(head, WIRE_FOUND, d->options.group, parts + 1, count - 1);
    enum kelp_lane lane = entry != NULL ? KELP_LANE_ENTRIES : KELP_LANE_CONTROL;
    (void)d->ports.peers->send(d->ports.peers_ctx, d->options.group, m->to, lane, 0, parts, count);
}

bool birth_run(struct driver *d)
{
    if (d->closing || d->state == DRIVER_FAULTED || d->fault_due) return false;
    bool any = false;
    UNSET struct found_todo todo; /* of its kind only */
    while (found_next(d->found, &todo)) {
        any = true;
        switch (todo.kind) {
        case FOUND_NOTHING: break;
        case FOUND_DO_SEND: found_send(d, &todo.message); break;
        case FOUND_DO_PLEDGE:
            d->ports.store->pledge(d->ports.store_ctx, d->options.group, todo.cluster, todo.epoch);
            break;
        case FOUND_DO_NAME:
            ASSERT(d->ports.store->name != NULL); /* or it would not have begun without an id */
            d->ports.store->name(d->ports.store_ctx, d->options.group, todo.node, todo.cluster,
                                 todo.epoch);
            break;
        case FOUND_DO_SAVE: entry_save(d, todo.entry); break;
        case FOUND_DO_FETCH: fetch_birth(d, todo.node, todo.snapshot); break;
        }
    }
    if (d->found->phase == FOUND_FOREIGN && d->state == DRIVER_WAITING) {
        d->state = DRIVER_FOREIGN;
        d->route_stale = true;
        driver_note(d, KELP_ERROR, "%s", d->found->words);
        lines_end(d, KELP_R_NOT_STARTED);
        any = true;
    }
    campaign_early(d);
    return any;
}

/* A member that was added later waits for entry 1, and what it is sent may be lost. */
static void hand_on(struct driver *d)
{
    if (d->now < d->hand_on_at) return;
    d->hand_on_at = KELP_NEVER;
    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *p = d->peers[i];
        if (p->empty && found_hand_on(d->found, p->id, p->incarnation))
            d->hand_on_at = add_sat(d->now, HAND_ON_NS);
    }
}

/* NULL: it may found a cluster of itself, or does, or is to hold one and does. */
static const char *founding_refused(struct driver *d, bool if_empty)
{
    if (d->closing || d->state == DRIVER_FAULTED) return "it is faulted, or stops";
    if (if_empty && d->found->phase == FOUND_HOLDS) return NULL;
    bool founds = d->found->founds_alone && d->found->phase != FOUND_HOLDS;
    if (if_empty && founds) return NULL; /* asked twice */
    if (d->options.joins) return "it was started with --join";
    if (d->options.peer.text[0] == '\0') return "it has no address that others could dial";
    if (d->found->phase == FOUND_HOLDS) {
        const struct kelp_cluster_id c = d->found->setup.cluster;
        (void)snprintf(d->refusal, sizeof d->refusal,
                       "it holds cluster %016llx%016llx as node %llu and founds no second one",
                       (unsigned long long)c.hi, (unsigned long long)c.lo,
                       (unsigned long long)d->options.core.self);
        return d->refusal;
    }
    return found_alone_refused(d->found);
}

bool driver_found(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                  bool if_empty, kelp_ns deadline, const char **why)
{
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    *why = founding_refused(d, if_empty);
    if (*why != NULL || !request_reserve(d)) return false;
    struct request *r = line_append(d, line, REQUEST_TRANSFER, token, deadline);
    request_hold(d, r, bytes_of(NULL, 0), bytes_of(NULL, 0));
    if (r->state != REQUEST_QUEUED) return true; /* the line is full: it is told so */
    r->founds = true;
    if (d->found->phase == FOUND_HOLDS || d->found->founds_alone) return true;
    kelp_id self = d->options.core.self;
    struct driver_member alone = {.id = id_waits(self) ? 1 : self, .peer = d->options.peer};
    if (d->options.bootstrap_count == 0) d->listed[0] = alone;
    if (found_alone(d->found, d->now, &d->listed[0]) != NULL) UNREACHABLE(); /* looked at above */
    driver_note(d, KELP_INFO, "founds a cluster of itself alone, node %llu",
                (unsigned long long)alone.id);
    return true;
}

bool founding_start(struct driver *d, struct request *r)
{
    if (r->line->open_writes + r->line->open_reads > 0) return false; /* their way is the line's */
    request_start_here(d, r);
    r->state = REQUEST_HANDING;
    if (d->core != NULL)
        request_close(d, r, KELP_DONE, KELP_R_NONE);
    else
        timer_add(d, r);
    return true;
}

kelp_ns birth_tick(struct driver *d)
{
    if (d->closing || d->state == DRIVER_FAULTED) return KELP_NEVER;
    hand_on(d);
    return min_u64(d->hand_on_at, found_tick(d->found, d->now));
}
