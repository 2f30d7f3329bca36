/* SPDX-License-Identifier: Apache-2.0 */
/* port.c - what comes in: frames and connections from peers, completions from the store and the
 * machine.
 *
 * A completion may be reported from inside a port's own call, in the middle of a take. So it is
 * only noted here, and ports_settle turns it into inputs of the core when none is being
 * performed. */
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "driver/room.h"
#include "wire/epoch.h"

/* ---- configurations with their addresses, beside the core's ---- */

void config_push(struct driver *d, const struct wire_config *config)
{
    ASSERT(config->config.count > 0);
    if (d->config_count == CONFIGS_MAX) { /* the core uses the newest and the committed one only */
        memmove(&d->configs[1], &d->configs[2], (CONFIGS_MAX - 2) * sizeof d->configs[0]);
        d->config_count--;
    }
    d->configs[d->config_count++] = *config;
    found_adopt(d->found, config);
    d->shown_due = true; /* of who is a member now; the core forgets the others' */
    d->quarantine.tell_due = d->quarantine.judge_due = true; /* of them alone */
    d->hand_on_at = d->now; /* it may have members that still wait for entry 1 */
}

/* Forget those at or above an index: the log was cut there. */
static void config_cut(struct driver *d, kelp_index index)
{
    size_t before = d->config_count;
    while (d->config_count > 1 && d->configs[d->config_count - 1].config.index >= index)
        d->config_count--;
    if (d->config_count < before) found_adopt(d->found, &d->configs[d->config_count - 1]);
}

void config_sync(struct driver *d)
{
    struct kelp_config latest, committed;
    kelp_core_config(d->core, &latest, &committed);
    config_cut(d, latest.index + 1);
    size_t drop = 0;
    while (drop + 1 < d->config_count && d->configs[drop + 1].config.index <= committed.index)
        drop++;
    memmove(&d->configs[0], &d->configs[drop], (d->config_count - drop) * sizeof d->configs[0]);
    d->config_count -= drop;
    d->config_committed =
        d->config_count > 0 && committed.count > 0 && d->configs[0].config.index == committed.index;
    if (d->config_committed) found_committed(d->found, &d->configs[0]);
}

/* ---- frames ---- */

/* The core took entries of a message into its log: keep their bytes. Room was ensured before the
 * step. */
static void entries_keep(struct driver *d, struct kelp_bytes entries, const struct kelp_message *m,
                         const struct kelp_taken *taken)
{
    ASSERT(taken->first > m->append.prev.index && taken->last <= m->append.last);
    cache_truncate(d->cache, taken->first - 1);
    config_cut(d, taken->first);
    struct kelp_bytes encoded = {NULL, 0};
    size_t at = 0;
    for (kelp_index i = m->append.prev.index + 1; i <= taken->last; i++) {
        size_t bytes = m->append.entries[i - m->append.prev.index - 1].bytes;
        encoded = bytes_of(entries.data + at, bytes);
        at += bytes;
        if (i < taken->first) continue;
        uint8_t *room = cache_reserve(d->cache, bytes);
        ASSERT(room != NULL);
        memcpy(room, encoded.data, bytes);
        cache_commit(d->cache, i, bytes);
    }
    clock_adopt(d, encoded);
    for (size_t i = 2; i-- > 0;) { /* the older one first */
        const struct kelp_config *there = i == 0 ? m->append.config : m->append.config_before;
        if (there != NULL && there->index >= taken->first && there->index <= taken->last)
            config_push(d, &d->decoded[i]);
    }
}

static enum kelp_error message_decode(struct driver *d, const struct wire_frame *frame,
                                      struct kelp_message *m, struct kelp_bytes *entries,
                                      struct kelp_fault *fault)
{
    for (;;) {
        struct kelp_fault seen = {.error = KELP_OK};
        enum kelp_error error = wire_message_decode(frame->body, frame->hashed, m, d->infos,
                                                    d->info_room, entries, d->decoded, &seen);
        size_t room = d->info_room * 4;
        struct kelp_entry_info *infos = NULL;
        if (error == KELP_E_LIMIT && room <= 256 * 1024) /* a sender with larger limits than ours */
            infos = realloc(d->infos, room * sizeof *infos);
        if (infos == NULL) {
            if (fault != NULL && error != KELP_OK) *fault = seen;
            return error;
        }
        d->infos = infos;
        d->info_room = room;
    }
}

/* Entries that were damaged on the way are noticed here, so a message is read even when it is not
 * wanted any more: the connection they came on is not to be trusted. */
static enum kelp_error message_arrived(struct driver *d, kelp_id from, enum kelp_lane lane,
                                       uint64_t connection, const struct wire_frame *frame,
                                       struct kelp_fault *fault)
{
    if (d->core == NULL) return KELP_OK;
    struct kelp_message m;
    struct kelp_bytes entries;
    enum kelp_error error = message_decode(d, frame, &m, &entries, fault);
    if (error != KELP_OK) return error;
    if (d->state != DRIVER_RUNNING || d->closing) return KELP_OK;
    if (m.from != from) {
        return fault_set(fault, KELP_E_MALFORMED, NULL,
                         "a message from node %llu came from node %llu", (unsigned long long)m.from,
                         (unsigned long long)from);
    }
    struct peer *p = peer_find(d, from);
    if (p != NULL) {
        p->empty = false;
        if (m.type == KELP_MSG_APPEND || m.type == KELP_MSG_HEARTBEAT) {
            p->asks_lane = lane;
            p->asks_on = connection;
        }
    }
    size_t count = m.type == KELP_MSG_APPEND ? (size_t)(m.append.last - m.append.prev.index) : 0;
    if (count > 0 && !cache_ensure(d->cache, count, entries.len)) {
        d->messages_dropped++;
        return KELP_OK; /* no memory to keep them: as if lost on the way */
    }
    struct kelp_input input = {.type = KELP_IN_MESSAGE, .message = &m};
    struct kelp_taken taken = driver_step(d, &input);
    heard_leader(d, &m);
    if (taken.first != 0) entries_keep(d, entries, &m, &taken);
    d->route_stale = true;
    return KELP_OK;
}

/* Somebody waits to be added: shown to people and found by changes, and told who leads. */
static void knock_noted(struct driver *d, kelp_id from)
{
    struct peer *p = peer_find(d, from);
    if (p == NULL || d->core == NULL) return;
    kelp_id leader = driver_look(d)->leader;
    const struct wire_config *c = &d->configs[d->config_count - 1];
    const struct wire_address *address = NULL;
    for (size_t slot = 0; slot < c->config.count; slot++) {
        if (c->config.members[slot].id == leader) address = &c->peer[slot];
    }
    p->knocked = d->now;
    found_leads(d->found, leader, address);
}

static enum kelp_error found_arrived(struct driver *d, kelp_id from, struct kelp_bytes body,
                                     struct kelp_fault *fault)
{
    if (d->state == DRIVER_FAULTED || d->closing) return KELP_OK;
    struct wire_found m;
    enum kelp_error error = wire_found_decode(body, &m, fault);
    if (error != KELP_OK) return error;
    if (m.from != from)
        return fault_set(fault, KELP_E_MALFORMED, NULL, "a message of founding has another sender");
    if (m.type == WIRE_FOUND_SHOW && m.id_count == 0) knock_noted(d, from);
    struct peer *p = peer_find(d, from);
    if (p != NULL && cluster_equal(m.cluster, d->found->setup.cluster)) {
        p->pledged = !cluster_zero(m.cluster); /* perhaps since its hello */
        p->epoch = m.epoch;
    }
    if (m.type == WIRE_FOUND_STARTED && p != NULL && p->incarnation == m.incarnation)
        p->empty = false;
    kelp_id leader = d->found->leader.id, host = d->found->host;
    found_message(d->found, d->now, &m);
    bool news =
        d->core == NULL && d->found->host != 0 && (host == 0 || leader != d->found->leader.id);
    if (news) /* whoever hears it looks whom to dial */
        driver_note(d, KELP_INFO, "knocks at node %llu; node %llu leads there",
                    (unsigned long long)d->found->host, (unsigned long long)d->found->leader.id);
    return KELP_OK;
}

/* A connection outlives what its two hellos said: either end may have been pledged since, and to
 * another epoch than the other's. Who is of another one, or said nothing about it where it matters,
 * is heard again when it has shaken hands anew: the connection ends here. */
static bool epoch_fits(struct driver *d, kelp_id from)
{
    const struct found_setup *own = &d->found->setup;
    const struct peer *p = peer_find(d, from);
    if (p == NULL || cluster_zero(own->cluster)) return true;
    return p->pledged ? p->epoch == own->epoch : own->epoch == 0;
}

enum kelp_error driver_frame(struct driver *d, kelp_ns now, kelp_id from, enum kelp_lane lane,
                             uint64_t connection, const struct wire_frame *frame,
                             struct kelp_fault *fault)
{
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    if (frame->kind != WIRE_FOUND && !epoch_fits(d, from)) {
        return fault_set(fault, KELP_E_FOREIGN, NULL,
                         "node %llu began this connection in another recovery epoch, or in none",
                         (unsigned long long)from);
    }
    switch ((enum wire_kind)frame->kind) {
    case WIRE_MESSAGE: return message_arrived(d, from, lane, connection, frame, fault);
    case WIRE_FORWARD:
        if (lane != KELP_LANE_ENTRIES) break;
        return forward_arrived(d, from, connection, frame->body, fault);
    case WIRE_FORWARD_ANSWER:
        if (lane != KELP_LANE_ENTRIES) break;
        return forward_answered(d, from, connection, frame->body, fault);
    case WIRE_FOUND: return found_arrived(d, from, frame->body, fault);
    case WIRE_FETCH:
        if (lane != KELP_LANE_SNAPSHOT) break;
        return serve_arrived(d, from, connection, frame->body, fault);
    case WIRE_PIECE:
        if (lane != KELP_LANE_SNAPSHOT) break;
        return fetch_arrived(d, from, connection, frame->body, fault);
    case WIRE_MARKS:
        if (lane != KELP_LANE_CONTROL) break;
        return quarantine_arrived(d, from, frame->body, fault);
    case WIRE_HELLO:
    case WIRE_REFUSE:
    case WIRE_ADDRESSES: break;
    }
    return fault_set(fault, KELP_E_MALFORMED, NULL, "a frame of kind %u does not belong on lane %d",
                     frame->kind, (int)lane);
}

/* ---- connections ---- */

void driver_connected(struct driver *d, kelp_ns now, kelp_id peer, enum kelp_lane lane,
                      uint64_t connection, const struct wire_hello *hello)
{
    d->now = max_u64(d->now, now);
    d->route_stale = true;
    struct peer *p = peer_make(d, peer);
    if (p == NULL) return; /* its forwards are dropped, everything else works */
    p->connection[lane] = connection;
    if (p->incarnation != 0 && p->incarnation != hello->incarnation) {
        p->swapped = max_u64(1, d->now);
        p->knocked = 0; /* that was another directory */
    }
    p->incarnation = hello->incarnation;
    p->pledged = !cluster_zero(hello->cluster);
    p->epoch = hello->epoch;
    p->election_min_ns = hello->election_min_ns;
    p->drift_ppm = hello->drift_ppm;
    p->features = hello->features;
    p->empty = hello->empty;
    p->marks.takes = (hello->features & WIRE_FEATURE_MARKS) != 0;
    d->shown_due = d->quarantine.tell_due = true;
    p->address = hello->peer;
    if (p->empty) d->hand_on_at = min_u64(d->hand_on_at, add_sat(d->now, HAND_ON_NS));
    if (lane == KELP_LANE_SNAPSHOT) return;
    found_connected(d->found, d->now, peer, hello->empty, hello->incarnation);
    if (d->core == NULL) return;
    struct kelp_input input = {.type = KELP_IN_LINK, .peer = peer};
    (void)driver_step(d, &input);
}

void driver_disconnected(struct driver *d, kelp_ns now, kelp_id peer, enum kelp_lane lane,
                         uint64_t connection)
{
    d->now = max_u64(d->now, now);
    d->route_stale = true;
    struct peer *p = peer_find(d, peer);
    if (lane == KELP_LANE_ENTRIES) forward_lost(d, peer, connection);
    if (p != NULL && p->forward_connection == connection) p->forward_connection = 0;
    if (p == NULL || p->connection[lane] != connection) return;
    p->connection[lane] = 0;
    if (lane == KELP_LANE_SNAPSHOT) serve_lost(p);
    if (p->connection[KELP_LANE_CONTROL] == 0 && p->connection[KELP_LANE_ENTRIES] == 0)
        found_disconnected(d->found, peer);
    if (lane == KELP_LANE_ENTRIES && !p->reading) peer_forget_waiting(p);
}

/* A member knows of a recovery that this node was not part of: what it holds is of the past, and
 * nothing that it could still do with others of that past may be taken for the cluster's doing. */
static void outdated(struct driver *d, kelp_id peer, const struct wire_refuse *refuse)
{
    const struct found_setup *own = &d->found->setup;
    bool later = epoch_number(refuse->epoch) > epoch_number(own->epoch);
    if (!later || cluster_zero(own->cluster) || !cluster_equal(refuse->cluster, own->cluster))
        return;
    if (d->state == DRIVER_WAITING) found_refused(d->found, 0, 0, refuse->words);
    if (d->core == NULL) return;
    struct kelp_fault fault = {.error = KELP_OK};
    (void)fault_set(&fault, KELP_E_FOREIGN, "recovery",
                    "node %llu is of recovery %llu of this cluster, this directory of before it: "
                    "keep it, compare it (kelp recover --compare), join with an empty one",
                    (unsigned long long)peer, (unsigned long long)epoch_number(refuse->epoch));
    driver_fail(d, &fault);
}

void driver_refused(struct driver *d, kelp_id peer, const struct wire_refuse *refuse)
{
    switch ((enum wire_refusal)refuse->reason) {
    case WIRE_REFUSE_INCARNATION:
    case WIRE_REFUSE_WIPED:
        if (d->state == DRIVER_WAITING)
            found_refused(d->found, refuse->since_unix_ms, refuse->next_id, "");
        break;
    case WIRE_REFUSE_REMOVED:
        if (d->state == DRIVER_WAITING)
            found_refused(d->found, refuse->since_unix_ms, refuse->next_id, refuse->words);
        if (d->core != NULL) {
            struct kelp_input input = {.type = KELP_IN_REMOVED, .peer = refuse->node};
            (void)driver_step(d, &input);
        }
        break;
    case WIRE_REFUSE_EPOCH: outdated(d, peer, refuse); break;
    case WIRE_REFUSE_VERSION:
    case WIRE_REFUSE_CLUSTER:
    case WIRE_REFUSE_WRONG_NODE:
    case WIRE_REFUSE_SELF:
    case WIRE_REFUSE_MALFORMED:
    case WIRE_REFUSE_BUSY: break;
    }
    driver_note(d, KELP_WARN, "node %llu refuses a connection: %s", (unsigned long long)peer,
                refuse->words);
}

/* ---- completions ---- */

void driver_saved(struct driver *d, uint64_t number)
{
    d->save_reported = max_u64(d->save_reported, number);
}

void driver_read_done(struct driver *d, uint64_t tag, enum kelp_error error, struct kelp_pos before,
                      kelp_index first, kelp_index last, struct kelp_bytes entries)
{
    struct log_read *read;
    TAILQ_FOREACH(read, &d->reads, link)
    {
        if (read->tag == tag && !read->done) break;
    }
    if (read == NULL) return;
    read->done = true;
    read->error = error;
    read->before = before;
    read->first = first;
    read->last = last;
    if (error != KELP_OK || entries.len == 0) return;
    read->data = malloc(entries.len);
    if (read->data == NULL) {
        read->error = KELP_E_NO_MEMORY;
        return;
    }
    memcpy(read->data, entries.data, entries.len);
    read->len = entries.len;
}

void driver_pledged(struct driver *d)
{
    d->pledged_reported = true;
}

void driver_space(struct driver *d, uint32_t room_mib, enum kelp_space space)
{
    d->space_due = d->space_due || d->room_mib != room_mib || d->space != space;
    d->room_mib = room_mib;
    d->space = space;
}

void driver_store_fault(struct driver *d, const struct kelp_fault *fault)
{
    driver_fail(d, fault);
}

void driver_machine_fault(struct driver *d, const struct kelp_fault *fault)
{
    driver_fail(d, fault);
}

void driver_result(struct driver *d, kelp_index index, struct kelp_bytes result)
{
    struct request *r = index_find(d, index);
    if (r != NULL) request_result(d, r, result);
}

void driver_applied(struct driver *d, kelp_index last)
{
    d->applied_reported = max_u64(d->applied_reported, last);
}

void driver_query_result(struct driver *d, uint64_t token, struct kelp_bytes result)
{
    struct request *r = request_of(d, token);
    if (r == NULL || r->state != REQUEST_QUERYING) return;
    if (d->quarantine.apart) { /* it was asked before that was known */
        request_close(d, r, KELP_REFUSED, KELP_R_QUARANTINED);
        return;
    }
    request_result(d, r, result);
    r->pos = kelp_pos_of(read_seen(d), 0);
    request_close(d, r, KELP_DONE, KELP_R_NONE);
}

/* ---- what they cause ---- */

static void tail_ended(struct driver *d, struct log_read *read)
{
    d->tail_open = false;
    if (read->error == KELP_E_NO_MEMORY) {
        d->tail_due = true;
    } else if (read->error == KELP_OK && read->len > 0) {
        clock_adopt(d, bytes_of(read->data, read->len));
    } else {
        struct kelp_fault fault = {.error = read->error != KELP_OK ? read->error : KELP_E_CORRUPT,
                                   .what = "the last entry could not be read from the log"};
        driver_fail(d, &fault);
    }
}

static void reads_settle(struct driver *d)
{
    struct log_read *read = TAILQ_FIRST(&d->reads), *next;
    for (; read != NULL; read = next) {
        if (!read->done) {
            next = TAILQ_NEXT(read, link);
            continue;
        }
        switch (read->purpose) {
        case READ_TAIL: tail_ended(d, read); break;
        case READ_APPLY: apply_read_ended(d, read); break;
        case READ_LOOKUP: lookup_ended(d, read); break;
        case READ_APPEND: peer_read_ended(d, read); break;
        }
        next = TAILQ_NEXT(read, link); /* what ended may have asked anew */
        read_free(d, read);
    }
}

static void saves_settle(struct driver *d)
{
    d->save_done = d->save_reported;
    cache_unpin(d->cache, d->save_done);
    if (d->core == NULL) {
        birth_saved(d);
        fetch_saved(d);
    } else if (d->save_done > d->save_offset) {
        struct kelp_input input = {.type = KELP_IN_SAVED, .number = d->save_done - d->save_offset};
        (void)driver_step(d, &input);
    }
    if (d->save_done == d->save_given) d->idle_at = add_sat(d->now, d->options.core.heartbeat);
}

static void fault_settle(struct driver *d)
{
    d->fault_due = false;
    d->state = DRIVER_FAULTED;
    d->route_stale = true;
    driver_note(d, KELP_ERROR, "faulted: %s: %s%s%s", kelp_strerror(d->fault.error), d->fault.where,
                d->fault.where[0] != '\0' ? ": " : "", d->fault.what);
    if (d->core != NULL) {
        struct kelp_input input = {.type = KELP_IN_FAULT};
        (void)driver_step(d, &input);
        d->tail_due = d->tail_open = false; /* nothing is appended any more */
        (void)perform_takes(d);             /* the core's own outcomes are better than ours */
    }
    lines_end(d, KELP_R_FAULTED);
}

/* What peers showed in their handshakes is told to the core. */
static void shown_settle(struct driver *d)
{
    d->shown_due = false;
    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *p = d->peers[i];
        if (p->election_min_ns == 0) continue;
        struct kelp_input input = {.type = KELP_IN_SHOWN};
        input.shown.peer = p->id;
        input.shown.election_min = p->election_min_ns;
        input.shown.drift_ppm = p->drift_ppm;
        (void)driver_step(d, &input);
    }
}

bool ports_due(const struct driver *d)
{
    const struct log_read *read;
    TAILQ_FOREACH(read, &d->reads, link)
    {
        if (read->done) return true;
    }
    return d->save_reported > d->save_done || d->applied_reported > d->applied ||
           d->pledged_reported || (d->fault_due && d->state != DRIVER_FAULTED) ||
           ((d->space_due || d->shown_due) && d->core != NULL);
}

void ports_settle(struct driver *d)
{
    reads_settle(d);
    if (d->save_reported > d->save_done) saves_settle(d);
    if (d->space_due && d->core != NULL) {
        struct kelp_input input = {.type = KELP_IN_HEALTH};
        d->space_due = false;
        input.health.room = d->room_mib;
        input.health.health = (uint32_t)d->space;
        if (d->retiring != RETIRING_NO) input.health.health |= KELP_HEALTH_LEAVING;
        if (d->quarantine.apart) input.health.health |= KELP_HEALTH_APART;
        (void)driver_step(d, &input);
    }
    if (d->shown_due && d->core != NULL) shown_settle(d);
    if (d->pledged_reported) {
        d->pledged_reported = false;
        found_pledged(d->found, d->now);
        if (d->options.core.self != d->found->setup.self) {
            d->options.core.self = d->found->setup.self;
            driver_note(d, KELP_INFO, "is node %llu from now on",
                        (unsigned long long)d->options.core.self);
        }
    }
    if (d->applied_reported > d->applied) apply_settle(d);
    if (d->fault_due && d->state != DRIVER_FAULTED) fault_settle(d);
}
