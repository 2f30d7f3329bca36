/* SPDX-License-Identifier: Apache-2.0 */
/* hoard.c - items in chunks that never move, found through a table of numbers.
 *
 * The table is at most two thirds full and doubles by walking the items again, so it holds nothing
 * but the numbers: six bytes an item on average. Keys are compared whole. */
#include "sim/hoard.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

#define CHUNK_ITEMS 0x4000u

struct hoard hoard_open(size_t item_bytes, size_t key_bytes)
{
    ASSERT(key_bytes > 0 && key_bytes <= item_bytes);
    size_t stride = (item_bytes + 7u) & ~(size_t)7u;
    return (struct hoard){.item_bytes = item_bytes, .key_bytes = key_bytes, .stride = stride};
}

void hoard_close(struct hoard *h)
{
    for (uint32_t i = 0; i < h->chunk_count; i++)
        free(h->chunks[i]);
    free(h->chunks);
    free(h->slots);
    *h = hoard_open(h->item_bytes, h->key_bytes);
}

static uint32_t slot_of(const struct hoard *h, const void *key)
{
    return (uint32_t)hash_bytes(bytes_of(key, h->key_bytes), 0) & (h->slot_count - 1);
}

/* Where the key is, or where it belongs. */
static uint32_t *seek(const struct hoard *h, const void *key)
{
    for (uint32_t at = slot_of(h, key);; at = (at + 1) & (h->slot_count - 1)) {
        uint32_t number = h->slots[at];
        if (number == 0 || memcmp(hoard_at(h, number), key, h->key_bytes) == 0)
            return &h->slots[at];
    }
}

static bool table_grow(struct hoard *h)
{
    uint32_t wanted = h->slot_count == 0 ? 1024 : h->slot_count * 2;
    if (h->slot_count > UINT32_MAX / 2) return false;
    uint32_t *slots = calloc(wanted, sizeof *slots);
    if (slots == NULL) return false;
    free(h->slots);
    h->bytes += (uint64_t)(wanted - h->slot_count) * sizeof *slots;
    h->slots = slots;
    h->slot_count = wanted;
    for (uint32_t number = 1; number <= h->count; number++)
        *seek(h, hoard_at(h, number)) = number;
    return true;
}

static bool chunk_add(struct hoard *h)
{
    if (h->chunk_count == h->chunk_room) {
        uint32_t room = h->chunk_room == 0 ? 16 : h->chunk_room * 2;
        uint8_t **chunks = realloc(h->chunks, room * sizeof *chunks);
        if (chunks == NULL) return false;
        h->bytes += (uint64_t)(room - h->chunk_room) * sizeof *chunks;
        h->chunks = chunks;
        h->chunk_room = room;
    }
    uint8_t *chunk = malloc(CHUNK_ITEMS * h->stride);
    if (chunk == NULL) return false;
    h->bytes += CHUNK_ITEMS * h->stride;
    h->chunks[h->chunk_count++] = chunk;
    return true;
}

uint32_t hoard_find(const struct hoard *h, const void *key)
{
    return h->slot_count == 0 ? 0 : *seek(h, key);
}

uint32_t hoard_put(struct hoard *h, const void *item, bool *fresh)
{
    *fresh = false;
    if (h->count >= h->slot_count / 3 * 2 && !table_grow(h)) return 0;
    uint32_t *slot = seek(h, item);
    if (*slot != 0) return *slot;
    if (h->count == h->chunk_count * CHUNK_ITEMS && !chunk_add(h)) return 0;
    memcpy(hoard_at(h, h->count + 1), item, h->item_bytes);
    *slot = ++h->count;
    *fresh = true;
    return h->count;
}
