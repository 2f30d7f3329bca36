/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - messages out, and reads of the log on behalf of peers.
 *
 * Appends travel on the entries lane, everything else on control. The entries of an append come
 * from the cache; a peer that is further behind gets them through the store, and what is sent to
 * it meanwhile queues behind that read, because an append that overtakes another is refused. A
 * message whose revision, term or leadership has passed by the time its bytes are there is
 * dropped: the core sees it as lost. So is what does not fit into the queue. */
#include <stdlib.h>
#include <string.h>

#include "driver/room.h"

/* ---- rows ---- */

struct peer *peer_find(struct driver *d, kelp_id id)
{
    for (size_t i = 0; i < d->peer_count; i++) {
        if (d->peers[i]->id == id) return d->peers[i];
    }
    return NULL;
}

/* Of the log's configuration or the committed one, a founder, or the leader, whom this node's log
 * may not know yet. */
static bool is_member(struct driver *d, kelp_id id)
{
    for (size_t i = 0; i < d->config_count; i++) {
        const struct kelp_config *config = &d->configs[i].config;
        for (size_t k = 0; k < config->count; k++) {
            if (config->members[k].id == id) return true;
        }
    }
    for (size_t i = 0; i < d->options.bootstrap_count; i++) {
        if (d->listed[i].id == id) return true;
    }
    return d->core != NULL && driver_look(d)->leader == id;
}

static bool is_connected(const struct peer *p)
{
    for (size_t i = 0; i < KELP_LANES; i++) {
        if (p->connection[i] != 0) return true;
    }
    return false;
}

/* The place of the stranger whose row is missed least: without a connection rather than with one,
 * then the longest not used. peer_count: there is none. */
static size_t stranger_find(struct driver *d, bool connected_too)
{
    size_t found = d->peer_count;
    bool found_connected = false;
    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *p = d->peers[i];
        bool connected = is_connected(p);
        bool busy = p->reading || p->waiting_count > 0 || !TAILQ_EMPTY(&p->asker.queue);
        if (busy || (connected && !connected_too) || is_member(d, p->id)) continue;
        bool better = found == d->peer_count || (found_connected && !connected) ||
                      (found_connected == connected && p->used < d->peers[found]->used);
        if (!better) continue;
        found = i;
        found_connected = connected;
    }
    return found;
}

/* A row that is given up forgets which forwards were judged. Those of a connection that is gone do
 * not arrive any more; those of one that is there are dropped until it is made anew. So none is
 * executed twice. */
struct peer *peer_make(struct driver *d, kelp_id id)
{
    struct peer *p = peer_find(d, id);
    if (p == NULL) {
        size_t at = d->peer_count;
        if (at == PEERS_MAX) at = stranger_find(d, is_member(d, id));
        if (at == PEERS_MAX) return NULL;
        p = calloc(1, sizeof *p);
        struct peer **peers =
            at < d->peer_count ? d->peers : realloc(d->peers, (at + 1) * sizeof(struct peer *));
        if (p == NULL || peers == NULL) {
            free(p);
            if (peers != NULL) d->peers = peers;
            return NULL;
        }
        d->peers = peers;
        if (at < d->peer_count)
            peer_free(peers[at]);
        else
            d->peer_count++;
        peers[at] = p;
        p->id = id;
        asker_init(&p->asker, NULL, p);
    }
    p->used = ++d->peer_uses;
    return p;
}

void peer_free(struct peer *p)
{
    peer_forget_waiting(p);
    free(p);
}

void peer_forget_waiting(struct peer *p)
{
    free(p->waiting);
    p->waiting = NULL;
    p->waiting_first = p->waiting_count = 0;
}

/* ---- reads of the log ---- */

struct log_read *read_new(struct driver *d, enum read_purpose purpose)
{
    struct log_read *read = calloc(1, sizeof *read);
    if (read == NULL) return NULL;
    read->tag = ++d->read_tag;
    read->purpose = purpose;
    TAILQ_INSERT_TAIL(&d->reads, read, link);
    return read;
}

void read_ask(struct driver *d, struct log_read *read, kelp_index first, uint64_t entries_max,
              uint64_t bytes_max)
{
    uint32_t count = (uint32_t)min_u64(entries_max, UINT32_MAX);
    d->ports.store->read(d->ports.store_ctx, d->options.group, read->tag, first, count, bytes_max);
}

void read_free(struct driver *d, struct log_read *read)
{
    TAILQ_REMOVE(&d->reads, read, link);
    free(read->data);
    free(read);
}

/* A read that failed for a reason other than compaction or memory: the log cannot be trusted to
 * be readable. */
static bool read_failed(enum kelp_error error)
{
    return error != KELP_OK && error != KELP_E_GONE && error != KELP_E_NOT_FOUND &&
           error != KELP_E_NO_MEMORY;
}

/* ---- sending ---- */

static void message_dropped(struct driver *d)
{
    d->messages_dropped++;
}

/* On the connection that the leader asked on; false: it is gone, or its queue is full. */
static bool answer_back(struct driver *d, kelp_id to, const struct kelp_bytes *parts)
{
    struct peer *p = peer_find(d, to);
    if (p == NULL || p->asks_on == 0) return false;
    enum kelp_error error = d->ports.peers->send(d->ports.peers_ctx, d->options.group, to,
                                                 p->asks_lane, p->asks_on, parts, 2);
    if (error == KELP_E_CLOSED) p->asks_on = 0;
    return error == KELP_OK;
}

/* It was pledged on this very connection, to another epoch than this node. */
static bool is_elsewhere(struct driver *d, kelp_id to)
{
    const struct peer *p = peer_find(d, to);
    return p != NULL && p->pledged && p->epoch != d->found->setup.epoch;
}

static void message_put(struct driver *d, const struct kelp_message *m,
                        const struct kelp_bytes *entries, size_t count)
{
    if (is_elsewhere(d, m->to)) {
        message_dropped(d);
        return;
    }
    struct kelp_bytes stripped;
    if (count > 0 && strip_wanted(d, m->to)) {
        if (!strip_entries(d, entries, count, &stripped)) {
            message_dropped(d);
            return;
        }
        entries = &stripped;
        count = 1;
    }
    struct kelp_bytes *parts = scratch_take(d, (count + 2) * sizeof *parts);
    uint8_t *head = scratch_take(d, WIRE_FRAME_HEAD + WIRE_MESSAGE_MAX);
    if (parts == NULL || head == NULL) {
        message_dropped(d);
        return;
    }
    uint8_t *fixed = head + WIRE_FRAME_HEAD;
    parts[0] = bytes_of(head, WIRE_FRAME_HEAD);
    parts[1] = bytes_of(fixed, wire_message_encode(m, fixed));
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        parts[i + 2] = entries[i];
        bytes += entries[i].len;
    }
    wire_frame_head_entries(head, d->options.group, parts[1], bytes);
    if (m->type == KELP_MSG_ANSWER && answer_back(d, m->to, parts)) return;
    /* an empty probe is small and urgent: it finds out where a peer stands while its entries lane
     * is full */
    enum kelp_lane lane = count > 0 ? KELP_LANE_ENTRIES : KELP_LANE_CONTROL;
    (void)d->ports.peers->send(d->ports.peers_ctx, d->options.group, m->to, lane, 0, parts,
                               count + 2);
}

#define PARTS_A_MESSAGE 64u

/* Send an append from the cache; false: not all of it is there. */
static bool append_from_cache(struct driver *d, const struct kelp_message *m)
{
    UNSET struct kelp_bytes parts[PARTS_A_MESSAGE];
    size_t count = 0;
    if (m->append.last > m->append.prev.index) {
        count =
            cache_parts(d->cache, m->append.prev.index + 1, m->append.last, parts, PARTS_A_MESSAGE);
        if (count == 0) return false;
    }
    message_put(d, m, parts, count);
    return true;
}

static void append_read(struct driver *d, struct peer *p, const struct kelp_message *m)
{
    struct log_read *read = read_new(d, READ_APPEND);
    if (read == NULL) {
        peer_forget_waiting(p);
        message_dropped(d);
        return;
    }
    read->peer = p->id;
    p->reading = true;
    read_ask(d, read, m->append.prev.index + 1, m->append.last - m->append.prev.index,
             m->append.bytes);
}

static bool append_wait(struct peer *p, const struct kelp_message *m)
{
    if (p->waiting_count == APPENDS_WAITING_MAX) return false;
    if (p->waiting == NULL) p->waiting = calloc(APPENDS_WAITING_MAX, sizeof *p->waiting);
    if (p->waiting == NULL) return false;
    p->waiting[(p->waiting_first + p->waiting_count) % APPENDS_WAITING_MAX] = *m;
    p->waiting_count++;
    return true;
}

void peer_send(struct driver *d, const struct kelp_message *m)
{
    if (m->type != KELP_MSG_APPEND) {
        message_put(d, m, NULL, 0);
        return;
    }
    struct peer *p = peer_make(d, m->to);
    if (p == NULL) {
        message_dropped(d);
        return;
    }
    if (p->waiting_count == 0 && append_from_cache(d, m)) return;
    bool wait = append_wait(p, m);
    if (!wait)
        message_dropped(d);
    else if (p->waiting_count == 1 && !p->reading)
        append_read(d, p, &p->waiting[p->waiting_first]);
}

/* ---- when the bytes are there ---- */

static bool append_current(struct driver *d, const struct kelp_message *m)
{
    const struct kelp_view *view = driver_look(d);
    return d->state == DRIVER_RUNNING && view->role == KELP_LEADER && view->term.v == m->term.v &&
           view->revision == m->append.revision;
}

/* The head of the queue, with the bytes that were read for it. They stay with the scratch until
 * flush. */
static void append_with(struct driver *d, const struct kelp_message *m, const struct log_read *read)
{
    bool whole = read->error == KELP_OK && read->first == m->append.prev.index + 1 &&
                 read->last == m->append.last && append_current(d, m);
    uint8_t *bytes = whole ? scratch_take(d, read->len) : NULL;
    if (bytes == NULL) {
        message_dropped(d);
        return;
    }
    memcpy(bytes, read->data, read->len);
    struct kelp_bytes part = bytes_of(bytes, read->len);
    message_put(d, m, &part, 1);
}

void peer_read_ended(struct driver *d, struct log_read *read)
{
    struct peer *p = peer_find(d, read->peer);
    ASSERT(p != NULL);
    p->reading = false;
    if (read_failed(read->error)) {
        struct kelp_fault fault = {.error = read->error,
                                   .index = read->first,
                                   .what = "entries for a peer could not be read from the log"};
        driver_fail(d, &fault);
        return;
    }
    bool first = true;
    while (p->waiting_count > 0) {
        const struct kelp_message *m = &p->waiting[p->waiting_first];
        if (first)
            append_with(d, m, read);
        else if (!append_current(d, m))
            message_dropped(d);
        else if (!append_from_cache(d, m))
            break;
        first = false;
        p->waiting_first = (p->waiting_first + 1) % APPENDS_WAITING_MAX;
        p->waiting_count--;
    }
    if (p->waiting_count > 0) append_read(d, p, &p->waiting[p->waiting_first]);
}

/* ---- lookups ---- */

static void lookup_answer(struct driver *d, enum kelp_input_type type, uint64_t revision,
                          struct kelp_pos pos, struct kelp_pos last, uint64_t bytes)
{
    struct kelp_input input = {.type = type};
    input.found.revision = revision;
    input.found.pos = pos;
    input.found.last = last;
    input.found.bytes = bytes;
    (void)driver_step(d, &input);
}

static struct kelp_pos entry_pos(struct kelp_bytes entry)
{
    struct kelp_pos pos;
    uint8_t type;
    size_t bytes;
    enum kelp_error error = wire_entry_peek(entry, &pos, &type, &bytes);
    ASSERT(error == KELP_OK && bytes == entry.len); /* verified before it came into the cache */
    return pos;
}

/* The answer, if the entry itself is in the cache: at least one entry behind it, if there is
 * one, as the store does. */
static bool lookup_in_cache(struct driver *d, struct log_read *read)
{
    const struct kelp_lookup *lookup = &read->lookup;
    struct kelp_bytes entry = cache_entry(d->cache, lookup->index);
    if (entry.len == 0) return false;
    read->from_cache = read->done = true;
    read->before = read->last_pos = entry_pos(entry);
    for (kelp_index i = lookup->index + 1; i - lookup->index <= lookup->entries_max; i++) {
        entry = cache_entry(d->cache, i);
        if (entry.len == 0 || (read->bytes > 0 && read->bytes + entry.len > lookup->bytes_max))
            break;
        read->bytes += entry.len;
        read->last_pos = entry_pos(entry);
    }
    return true;
}

static void lookup_later(struct driver *d, const struct kelp_lookup *lookup)
{
    d->retry_at = d->now + RETRY_NS;
    if (d->lookup_waiting_count ==
        COUNT_OF(d->lookups_waiting)) { /* older ones are of a passed revision */
        memmove(&d->lookups_waiting[0], &d->lookups_waiting[1],
                (COUNT_OF(d->lookups_waiting) - 1) * sizeof *lookup);
        d->lookup_waiting_count--;
    }
    d->lookups_waiting[d->lookup_waiting_count++] = *lookup;
}

void lookups_again(struct driver *d)
{
    size_t count = d->lookup_waiting_count;
    struct kelp_lookup waiting[COUNT_OF(d->lookups_waiting)];
    memcpy(waiting, d->lookups_waiting, sizeof waiting);
    d->lookup_waiting_count = 0;
    for (size_t i = 0; i < count; i++)
        lookup_start(d, &waiting[i]);
}

/* A take is being performed: the answer is given by lookup_ended, when the core may be stepped. */
void lookup_start(struct driver *d, const struct kelp_lookup *lookup)
{
    struct log_read *read = read_new(d, READ_LOOKUP);
    if (read == NULL) {
        lookup_later(d, lookup);
        return;
    }
    read->lookup = *lookup;
    if (lookup_in_cache(d, read)) return;
    bool last = lookup->index >= driver_look(d)->last;
    read_ask(d, read, lookup->index + 1, last ? 0 : max_u64(lookup->entries_max, 1),
             lookup->bytes_max);
}

void lookup_ended(struct driver *d, struct log_read *read)
{
    const struct kelp_lookup *lookup = &read->lookup;
    struct kelp_pos asked = {.index = lookup->index};
    if (read->from_cache) {
        lookup_answer(d, KELP_IN_FOUND, lookup->revision, read->before, read->last_pos,
                      read->bytes);
    } else if (read->error == KELP_E_NO_MEMORY) {
        lookup_later(d, lookup);
    } else if (read->error == KELP_E_GONE) {
        lookup_answer(d, KELP_IN_GONE, lookup->revision, asked, asked, 0);
    } else if (read->error != KELP_OK || read->before.index != lookup->index) {
        lookup_answer(d, KELP_IN_FAILED, lookup->revision, asked, asked, 0);
    } else {
        struct kelp_pos last = read->before;
        size_t at = 0;
        while (at < read->len) {
            uint8_t type;
            size_t bytes;
            struct kelp_bytes left = bytes_of(read->data + at, read->len - at);
            if (wire_entry_peek(left, &last, &type, &bytes) != KELP_OK) break;
            at += bytes;
        }
        lookup_answer(d, KELP_IN_FOUND, lookup->revision, read->before, last, at);
    }
}
