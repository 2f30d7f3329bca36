/* SPDX-License-Identifier: Apache-2.0 */
/* hoard.h - many items of one size, each kept once and numbered from 1 on.
 *
 * An item begins with its key. Items are never moved nor forgotten, so pointers to them stay
 * good. The numbers are given in the order of arrival. */
#ifndef SIM_HOARD_H
#define SIM_HOARD_H

#include "kelp/types.h"

struct hoard {
    uint8_t **chunks;
    uint32_t *slots; /* open addressing; a power of two; 0: free */
    size_t item_bytes, key_bytes, stride;
    uint64_t bytes; /* all the memory it uses */
    uint32_t chunk_count, chunk_room, slot_count, count;
};

/* hoard_open - nothing is allocated yet. */
struct hoard hoard_open(size_t item_bytes, size_t key_bytes);
void hoard_close(struct hoard *h);

/* hoard_at - the item of a number that was given out. */
static inline void *hoard_at(const struct hoard *h, uint32_t number)
{
    uint32_t at = number - 1;
    return h->chunks[at >> 14] + (size_t)(at & 0x3fffu) * h->stride;
}

/* hoard_find - the number of the item with this key, 0 if there is none. */
uint32_t hoard_find(const struct hoard *h, const void *key);

/* hoard_put - the number of the item with item's key; a new one if there is none, which *fresh
 * tells. 0: no memory. */
uint32_t hoard_put(struct hoard *h, const void *item, bool *fresh);

#endif
