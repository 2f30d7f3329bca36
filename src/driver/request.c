/* SPDX-License-Identifier: Apache-2.0 */
/* request.c - requests as things: a pool, two heaps that say who is due, by time or by index, and
 * two maps to find them by.
 *
 * A request's handle is its slot and a generation, so that a late report about an earlier one
 * finds nobody. Slots are made in chunks and never given back: a node that once had many requests
 * will have them again.
 * Invariants: a request is in the map of indexes exactly while APPLYING, in that of numbers
 * while FORWARDED, in the heap of indexes while AWAITING, and has a timer while QUEUED, FORWARDED,
 * AWAITING or CHANGING with a deadline. */
#include <stdlib.h>
#include <string.h>

#include "driver/room.h"

#define SLOT_BITS 32u

bool pool_init(struct request_pool *pool, uint32_t proposals_max)
{
    TAILQ_INIT(&pool->free);
    TAILQ_INIT(&pool->dead);
    pool->buckets = BUCKETS_MIN;
    while (pool->buckets < proposals_max && pool->buckets < BUCKETS_MAX)
        pool->buckets *= 2;
    pool->indexes = calloc(pool->buckets, sizeof(struct request *));
    pool->numbers = calloc(pool->buckets, sizeof(struct request *));
    return pool->indexes != NULL && pool->numbers != NULL;
}

void request_drop_bytes(struct request *r)
{
    if (r->bytes != r->bytes_inline) free(r->bytes);
    r->bytes = NULL;
}

static void buffers_free(struct request *r)
{
    request_drop_bytes(r);
    if (r->result != r->result_inline) free(r->result);
    r->result = NULL;
}

void pool_free(struct request_pool *pool)
{
    for (size_t i = 0; i < pool->chunk_count; i++) {
        for (size_t k = 0; k < REQUESTS_A_CHUNK; k++)
            buffers_free(&pool->chunks[i][k]);
        free(pool->chunks[i]);
    }
    free(pool->chunks);
    for (size_t i = 0; i < HEAPS; i++)
        free(pool->heaps[i].at);
    free(pool->indexes);
    free(pool->numbers);
}

static bool heaps_grow(struct request_pool *pool, size_t count)
{
    for (size_t i = 0; i < HEAPS; i++) {
        struct request_heap *heap = &pool->heaps[i];
        if (count < heap->room) continue;
        struct request **at = realloc(heap->at, (count + 1) * sizeof(struct request *));
        if (at == NULL) return false;
        heap->at = at;
        heap->room = count + 1;
    }
    return true;
}

bool request_reserve(struct driver *d)
{
    struct request_pool *pool = &d->requests;
    if (!TAILQ_EMPTY(&pool->free)) return true;
    size_t count = pool->chunk_count * REQUESTS_A_CHUNK;
    if (!heaps_grow(pool, count + REQUESTS_A_CHUNK)) return false;
    if (pool->chunk_count == pool->chunk_room) {
        size_t room = pool->chunk_room > 0 ? pool->chunk_room * 2 : 16;
        struct request **chunks = realloc(pool->chunks, room * sizeof(struct request *));
        if (chunks == NULL) return false;
        pool->chunks = chunks;
        pool->chunk_room = room;
    }
    struct request *chunk = calloc(REQUESTS_A_CHUNK, sizeof *chunk);
    if (chunk == NULL) return false;
    for (size_t i = 0; i < REQUESTS_A_CHUNK; i++) {
        chunk[i].handle = count + i + 1;
        TAILQ_INSERT_TAIL(&pool->free, &chunk[i], link);
    }
    pool->chunks[pool->chunk_count++] = chunk;
    return true;
}

struct request *request_take(struct driver *d, struct driver_line *line, enum request_kind kind)
{
    struct request *r = TAILQ_FIRST(&d->requests.free);
    ASSERT(r != NULL);
    ASSERT(r->state == REQUEST_FREE && r->places[HEAP_TIMERS] == 0);
    TAILQ_REMOVE(&d->requests.free, r, link);
    uint64_t handle = r->handle;
    memset(r, 0,
           offsetof(struct request, result_inline)); /* the rest is written before it is read */
    r->handle = handle;
    r->line = line;
    r->kind = kind;
    r->since = d->now;
    return r;
}

void request_recycle(struct driver *d, struct request *r)
{
    ASSERT(r->state == REQUEST_CLOSED && r->places[HEAP_TIMERS] == 0);
    TAILQ_INSERT_TAIL(&d->requests.dead, r, link);
}

void request_rename(struct request *r)
{
    ASSERT(r->places[HEAP_TIMERS] == 0 && r->places[HEAP_AWAITING] == 0); /* ordered by it */
    r->handle += UINT64_C(1) << SLOT_BITS; /* the next generation of this slot */
}

void requests_bury(struct driver *d)
{
    struct request *r;
    while ((r = TAILQ_FIRST(&d->requests.dead)) != NULL) {
        TAILQ_REMOVE(&d->requests.dead, r, link);
        buffers_free(r);
        r->state = REQUEST_FREE;
        request_rename(r);
        TAILQ_INSERT_HEAD(&d->requests.free, r, link);
    }
}

struct request *request_of(struct driver *d, uint64_t handle)
{
    uint64_t slot = (handle & UINT32_MAX) - 1;
    if (slot / REQUESTS_A_CHUNK >= d->requests.chunk_count) return NULL;
    struct request *r = &d->requests.chunks[slot / REQUESTS_A_CHUNK][slot % REQUESTS_A_CHUNK];
    return r->handle == handle && r->state != REQUEST_FREE ? r : NULL;
}

bool request_keep(struct driver *d, struct request *r, struct kelp_bytes user,
                  struct kelp_bytes command)
{
    ASSERT(r->bytes == NULL);
    ASSERT(user.len <= (r->line != NULL ? UINT8_MAX : WIRE_EXTENSION_MAX));
    ASSERT(command.len <= WIRE_ENTRY_PAYLOAD_MAX);
    size_t len = user.len + command.len;
    r->bytes = len <= BYTES_INLINE ? r->bytes_inline : malloc(len);
    if (r->bytes == NULL) return false;
    if (user.len > 0) memcpy(r->bytes, user.data, user.len);
    if (command.len > 0) memcpy(r->bytes + user.len, command.data, command.len);
    r->user_len = user.len;
    r->len = command.len;
    r->held = true;
    *(r->line != NULL ? &d->held_bytes : &d->guest_bytes) += len;
    return true;
}

/* The bytes themselves may still be borrowed by a send: they go when the request is buried. */
void request_let_go(struct driver *d, struct request *r)
{
    if (!r->held) return;
    uint64_t *bytes = r->line != NULL ? &d->held_bytes : &d->guest_bytes;
    ASSERT(*bytes >= r->user_len + r->len);
    *bytes -= r->user_len + r->len;
    r->held = false;
}

void request_hold_again(struct driver *d, struct request *r)
{
    ASSERT(!r->held && r->line != NULL && r->bytes != NULL);
    d->held_bytes += r->user_len + r->len;
    r->held = true;
}

void request_result_drop(struct driver *d, struct request *r)
{
    if (r->line != NULL) {
        ASSERT(r->line->made >= r->result_len && d->made_bytes >= r->result_len);
        r->line->made -= r->result_len;
        d->made_bytes -= r->result_len;
    }
    if (r->result != r->result_inline) free(r->result);
    r->result = NULL;
    r->result_len = 0;
    r->result_lost = false;
}

void request_result(struct driver *d, struct request *r, struct kelp_bytes result)
{
    if (r->result != NULL || r->result_lost) return; /* one reply a request: the first holds */
    bool lost = kelp_reply_is_lost(result);
    r->result = result.len <= RESULT_INLINE ? r->result_inline : lost ? NULL : malloc(result.len);
    r->result_lost = r->result == NULL;
    if (r->result_lost) return;
    if (result.len > 0) memcpy(r->result, result.data, result.len);
    r->result_len = result.len;
    if (r->line == NULL) return;
    r->line->made += result.len;
    d->made_bytes += result.len;
}

/* ---- two binary heaps; ties by place in the line and by handle, so that the order is the same
 * everywhere - */

static bool heap_before(enum heap_of which, const struct request *a, const struct request *b)
{
    uint64_t x = which == HEAP_TIMERS ? a->deadline : a->pos.index;
    uint64_t y = which == HEAP_TIMERS ? b->deadline : b->pos.index;
    if (x != y) return x < y;
    if (which == HEAP_AWAITING && a->order != b->order) return a->order < b->order;
    return a->handle < b->handle;
}

static void heap_put(struct request_heap *heap, enum heap_of which, size_t at, struct request *r)
{
    heap->at[at] = r;
    r->places[which] = at;
}

static void heap_up(struct request_heap *heap, enum heap_of which, size_t at, struct request *r)
{
    while (at > 1 && heap_before(which, r, heap->at[at / 2])) {
        heap_put(heap, which, at, heap->at[at / 2]);
        at /= 2;
    }
    heap_put(heap, which, at, r);
}

static void heap_down(struct request_heap *heap, enum heap_of which, size_t at, struct request *r)
{
    for (;;) {
        size_t child = at * 2;
        if (child > heap->count) break;
        if (child < heap->count && heap_before(which, heap->at[child + 1], heap->at[child]))
            child++;
        if (!heap_before(which, heap->at[child], r)) break;
        heap_put(heap, which, at, heap->at[child]);
        at = child;
    }
    heap_put(heap, which, at, r);
}

static void heap_add(struct driver *d, enum heap_of which, struct request *r)
{
    struct request_heap *heap = &d->requests.heaps[which];
    ASSERT(r->places[which] == 0);
    ASSERT(heap->count + 1 < heap->room); /* there is a place for every slot */
    heap->count++;
    heap_up(heap, which, heap->count, r);
}

static void heap_remove(struct driver *d, enum heap_of which, struct request *r)
{
    struct request_heap *heap = &d->requests.heaps[which];
    size_t at = r->places[which];
    if (at == 0) return;
    struct request *last = heap->at[heap->count--];
    r->places[which] = 0;
    if (last == r) return;
    if (at > 1 && heap_before(which, last, heap->at[at / 2]))
        heap_up(heap, which, at, last);
    else
        heap_down(heap, which, at, last);
}

static struct request *heap_first(const struct driver *d, enum heap_of which)
{
    const struct request_heap *heap = &d->requests.heaps[which];
    return heap->count > 0 ? heap->at[1] : NULL;
}

void timer_add(struct driver *d, struct request *r)
{
    if (r->places[HEAP_TIMERS] != 0 || r->deadline == KELP_NEVER) return;
    heap_add(d, HEAP_TIMERS, r);
}

void timer_remove(struct driver *d, struct request *r)
{
    heap_remove(d, HEAP_TIMERS, r);
}

struct request *timer_first(struct driver *d)
{
    return heap_first(d, HEAP_TIMERS);
}

void awaiting_add(struct driver *d, struct request *r)
{
    heap_add(d, HEAP_AWAITING, r);
}

void awaiting_remove(struct driver *d, struct request *r)
{
    heap_remove(d, HEAP_AWAITING, r);
}

struct request *awaiting_first(const struct driver *d)
{
    return heap_first(d, HEAP_AWAITING);
}

/* ---- maps ---- */

static struct request **bucket_of(struct driver *d, struct request **map, uint64_t key)
{
    return &map[key & (d->requests.buckets - 1)];
}

static void bucket_add(struct request **bucket, struct request *r)
{
    r->bucket_next = *bucket;
    *bucket = r;
}

static void bucket_remove(struct request **bucket, struct request *r)
{
    while (*bucket != r) {
        ASSERT(*bucket != NULL);
        bucket = &(*bucket)->bucket_next;
    }
    *bucket = r->bucket_next;
    r->bucket_next = NULL;
}

void index_add(struct driver *d, struct request *r)
{
    d->requests.index_count++;
    bucket_add(bucket_of(d, d->requests.indexes, r->pos.index), r);
}

void applying_timers(struct driver *d)
{
    uint64_t left = d->requests.index_count;
    for (size_t i = 1; i <= d->requests.buckets && left > 0; i++) { /* most stand right there */
        struct request *r = *bucket_of(d, d->requests.indexes, d->applied + i);
        for (; r != NULL; r = r->bucket_next, left--)
            timer_add(d, r);
    }
}

void index_remove(struct driver *d, struct request *r)
{
    ASSERT(d->requests.index_count > 0);
    d->requests.index_count--;
    bucket_remove(bucket_of(d, d->requests.indexes, r->pos.index), r);
}

struct request *index_find(struct driver *d, kelp_index index)
{
    if (d->requests.index_count == 0) return NULL;
    struct request *r = *bucket_of(d, d->requests.indexes, index);
    while (r != NULL && r->pos.index != index)
        r = r->bucket_next;
    return r;
}

/* Those that share a number are found in the order in which they were added. */
void number_add(struct driver *d, struct request *r)
{
    struct request *last = d->gather_last;
    if (last != NULL && last->number == r->number)
        bucket_add(&last->bucket_next, r);
    else
        bucket_add(bucket_of(d, d->requests.numbers, r->number), r);
    if (r->number == d->gather_number) d->gather_last = r;
}

void number_remove(struct driver *d, struct request *r)
{
    if (d->gather_last == r) { /* whoever comes now could not be added behind the others */
        d->gather_last = NULL;
        d->gather_number = 0;
    }
    bucket_remove(bucket_of(d, d->requests.numbers, r->number), r);
}

struct request *number_find(struct driver *d, uint64_t number)
{
    struct request *r = *bucket_of(d, d->requests.numbers, number);
    while (r != NULL && r->number != number)
        r = r->bucket_next;
    return r;
}
