/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c - the bytes of the log's tail, in chunks that are only ever appended to.
 *
 *   slots   first ........ last        a ring by index: where each entry's bytes are
 *              |   \    |
 *   chunks  [oldest] -> [..] -> [current: used | reserved | free]
 *
 * A chunk is needed while an entry lives in it (live > 0) or a save that names its bytes is not
 * reported (pinned_by > unpinned). Saves are reported in order, so one number a chunk replaces a
 * list of pins and pinning cannot fail. The current chunk stays even when nothing in it is needed.
 * Invariants: slots hold consecutive indexes; entries of one chunk lie in it in the order they
 * were committed. */
#include "driver/cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/assert.h"
#include "base/min.h"

#define CHUNK_BYTES_MIN (64u * 1024)
#define CHUNK_BYTES_MAX (1024u * 1024)
#define CHUNKS_A_CACHE  16u
/* kept for the next need: a chunk is large enough for the allocator to ask the system */
#define SPARES_MAX 2u

struct chunk {
    TAILQ_ENTRY(chunk) link;
    size_t size, used;
    uint64_t live;      /* entries in slots that lie here */
    uint64_t pinned_by; /* the highest save number that names bytes here, 0: none */
    _Alignas(8) uint8_t data[];
};

struct slot {
    struct chunk *chunk;
    size_t at, len;
};

TAILQ_HEAD(chunk_list, chunk);

struct cache {
    uint64_t bytes_max, bytes;
    size_t chunk_bytes;
    struct chunk_list chunks; /* oldest first; the last one is current */
    struct chunk_list spares;
    size_t spare_count;
    struct slot *slots; /* by index & (slot_count - 1) */
    size_t slot_count;
    kelp_index first, last; /* first > last: empty */
    size_t reserved;
    uint64_t unpinned; /* saves up to this number are reported */
};

struct cache *cache_new(uint64_t bytes_max)
{
    struct cache *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->bytes_max = bytes_max;
    uint64_t share = max_u64(bytes_max / CHUNKS_A_CACHE, CHUNK_BYTES_MIN);
    c->chunk_bytes = (size_t)min_u64(share, CHUNK_BYTES_MAX);
    c->first = 1;
    TAILQ_INIT(&c->chunks);
    TAILQ_INIT(&c->spares);
    return c;
}

static void chunks_free(struct chunk_list *list)
{
    struct chunk *chunk;
    while ((chunk = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, chunk, link);
        free(chunk);
    }
}

void cache_free(struct cache *c)
{
    if (c == NULL) return;
    chunks_free(&c->chunks);
    chunks_free(&c->spares);
    free(c->slots);
    free(c);
}

static bool is_empty(const struct cache *c)
{
    return c->first > c->last;
}

static struct slot *slot_at(const struct cache *c, kelp_index index)
{
    ASSERT(index >= c->first && index <= c->last);
    return &c->slots[index & (c->slot_count - 1)];
}

/* ---- chunks ---- */

static void chunk_drop_if_dead(struct cache *c, struct chunk *chunk)
{
    if (chunk->live > 0 || chunk->pinned_by > c->unpinned) return;
    if (chunk == TAILQ_LAST(&c->chunks, chunk_list)) return; /* still written to */
    TAILQ_REMOVE(&c->chunks, chunk, link);
    if (chunk->size == c->chunk_bytes && c->spare_count < SPARES_MAX) {
        TAILQ_INSERT_TAIL(&c->spares, chunk, link);
        c->spare_count++;
    } else {
        free(chunk);
    }
}

static bool chunk_add(struct cache *c, size_t len)
{
    struct chunk *chunk = NULL;
    size_t size = len > c->chunk_bytes ? len : c->chunk_bytes;
    if (size == c->chunk_bytes && (chunk = TAILQ_FIRST(&c->spares)) != NULL) {
        TAILQ_REMOVE(&c->spares, chunk, link);
        c->spare_count--;
    } else {
        if (size > SIZE_MAX - sizeof *chunk) return false;
        chunk = malloc(sizeof *chunk + size);
    }
    if (chunk == NULL) return false;
    chunk->size = size;
    chunk->used = 0;
    chunk->live = 0;
    chunk->pinned_by = 0;
    struct chunk *before = TAILQ_LAST(&c->chunks, chunk_list);
    TAILQ_INSERT_TAIL(&c->chunks, chunk, link);
    if (before != NULL) chunk_drop_if_dead(c, before);
    return true;
}

static bool slots_grow(struct cache *c, uint64_t count)
{
    if (count <= c->slot_count) return true;
    size_t size = c->slot_count > 0 ? c->slot_count : 64;
    while (size < count) {
        if (size > SIZE_MAX / sizeof(struct slot) / 2) return false;
        size *= 2;
    }
    struct slot *slots = calloc(size, sizeof *slots);
    if (slots == NULL) return false;
    for (kelp_index i = c->first; i <= c->last; i++)
        slots[i & (size - 1)] = *slot_at(c, i);
    free(c->slots);
    c->slots = slots;
    c->slot_count = size;
    return true;
}

/* ---- adding ---- */

bool cache_ensure(struct cache *c, size_t entries, size_t bytes)
{
    c->reserved = 0;
    if (!slots_grow(c, c->last + 1 - c->first + entries)) return false;
    struct chunk *current = TAILQ_LAST(&c->chunks, chunk_list);
    if (current != NULL && current->size - current->used >= bytes) return true;
    return chunk_add(c, bytes);
}

uint8_t *cache_reserve(struct cache *c, size_t len)
{
    ASSERT(len > 0 && len % 8 == 0);
    if (!cache_ensure(c, 1, len)) return NULL;
    c->reserved = len;
    struct chunk *current = TAILQ_LAST(&c->chunks, chunk_list);
    return current->data + current->used;
}

void cache_commit(struct cache *c, kelp_index index, size_t len)
{
    ASSERT(len > 0 && len % 8 == 0);
    ASSERT(len <= c->reserved);
    ASSERT(index != 0);
    if (is_empty(c)) {
        c->first = index;
        c->last = index - 1;
    }
    ASSERT(index == c->last + 1);
    ASSERT(c->last + 1 - c->first < c->slot_count);
    struct chunk *current = TAILQ_LAST(&c->chunks, chunk_list);
    c->last = index;
    *slot_at(c, index) = (struct slot){.chunk = current, .at = current->used, .len = len};
    current->used += len;
    current->live++;
    c->bytes += len;
    c->reserved = 0;
}

void cache_abandon(struct cache *c)
{
    c->reserved = 0;
}

/* ---- forgetting ---- */

static void forget(struct cache *c, kelp_index index)
{
    struct slot *slot = slot_at(c, index);
    struct chunk *chunk = slot->chunk;
    ASSERT(chunk->live > 0 && c->bytes >= slot->len);
    c->bytes -= slot->len;
    slot->chunk = NULL;
    chunk->live--;
    chunk_drop_if_dead(c, chunk);
}

void cache_truncate(struct cache *c, kelp_index last)
{
    c->reserved = 0;
    while (!is_empty(c) && c->last > last) {
        forget(c, c->last);
        c->last--;
    }
}

void cache_reset(struct cache *c)
{
    cache_truncate(c, 0);
}

void cache_evict(struct cache *c, kelp_index upto)
{
    while (!is_empty(c) && c->first <= upto && c->bytes > c->bytes_max) {
        forget(c, c->first);
        c->first++;
    }
}

/* ---- looking ---- */

struct kelp_bytes cache_entry(const struct cache *c, kelp_index index)
{
    if (index < c->first || index > c->last) return (struct kelp_bytes){NULL, 0};
    const struct slot *slot = slot_at(c, index);
    return (struct kelp_bytes){.data = slot->chunk->data + slot->at, .len = slot->len};
}

kelp_index cache_first(const struct cache *c)
{
    return is_empty(c) ? 0 : c->first;
}

kelp_index cache_last(const struct cache *c)
{
    return is_empty(c) ? 0 : c->last;
}

uint64_t cache_bytes(const struct cache *c)
{
    return c->bytes;
}

size_t cache_parts(const struct cache *c, kelp_index first, kelp_index last, struct kelp_bytes *out,
                   size_t max)
{
    ASSERT(first > 0 && first <= last);
    if (first < c->first || last > c->last) return 0;
    size_t count = 0;
    for (kelp_index i = first; i <= last; i++) {
        struct kelp_bytes entry = cache_entry(c, i);
        if (count > 0 && out[count - 1].data + out[count - 1].len == entry.data) {
            out[count - 1].len += entry.len;
            continue;
        }
        if (count == max) return 0;
        out[count++] = entry;
    }
    return count;
}

/* ---- pins ---- */

void cache_pin(struct cache *c, uint64_t number, kelp_index first, kelp_index last)
{
    ASSERT(number > c->unpinned);
    struct chunk *chunk = NULL;
    for (kelp_index i = first; i <= last; i++) {
        if (slot_at(c, i)->chunk == chunk) continue;
        chunk = slot_at(c, i)->chunk;
        ASSERT(chunk->pinned_by <= number);
        chunk->pinned_by = number;
    }
}

void cache_unpin(struct cache *c, uint64_t number)
{
    if (number <= c->unpinned) return;
    c->unpinned = number;
    struct chunk *chunk = TAILQ_FIRST(&c->chunks);
    while (chunk != NULL) {
        struct chunk *next = TAILQ_NEXT(chunk, link);
        chunk_drop_if_dead(c, chunk);
        chunk = next;
    }
}
