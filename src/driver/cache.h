/* SPDX-License-Identifier: Apache-2.0 */
/* cache.h - the bytes of the log's tail: encoded entries by index, in chunks that are only ever
 * appended to.
 *
 * Bytes never move and are never overwritten: a truncation only forgets which index they belong to,
 * new entries of the
 * same index get new room. A chunk is freed when no index points into it and no pin holds it. Pins
 * are taken for a
 * save until it is reported; sends and applies borrow within one run. */
#ifndef DRIVER_CACHE_H
#define DRIVER_CACHE_H

#include "kelp/types.h"

struct cache;

struct cache *cache_new(uint64_t bytes_max); /* NULL: out of memory */
void cache_free(struct cache *c);

/* cache_reserve - len contiguous bytes at the end of the current chunk, 8-aligned; NULL: out of
 * memory. A second
 * reserve without a commit replaces the first. */
uint8_t *cache_reserve(struct cache *c, size_t len);
/* cache_ensure - make room for so many entries of so many bytes together: the reserves and commits
 * that use it up
 * cannot fail. false: out of memory, nothing changed. Drops a reservation. */
bool cache_ensure(struct cache *c, size_t entries, size_t bytes);
/* cache_commit - the reserved bytes become the entry at index, which is last + 1, or anything in an
 * empty cache. */
void cache_commit(struct cache *c, kelp_index index, size_t len);
/* cache_abandon - the reserved bytes are not needed. */
void cache_abandon(struct cache *c);
/* cache_truncate - forget entries above last; bytes under a pin stay. */
void cache_truncate(struct cache *c, kelp_index last);
/* cache_reset - forget everything; the next commit may have any index. */
void cache_reset(struct cache *c);
/* cache_evict - forget oldest entries up to and including index while the cache holds more than
 * bytes_max. */
void cache_evict(struct cache *c, kelp_index upto);

struct kelp_bytes cache_entry(const struct cache *c, kelp_index index); /* empty: not here */
kelp_index cache_first(const struct cache *c);                          /* 0: empty */
kelp_index cache_last(const struct cache *c);
uint64_t cache_bytes(const struct cache *c);

/* cache_parts - the bytes of first..last as few contiguous parts; returns how many, 0 if one of
 * them is not here or
 * there would be more than max. */
size_t cache_parts(const struct cache *c, kelp_index first, kelp_index last, struct kelp_bytes *out,
                   size_t max);

/* cache_pin, cache_unpin - keep the bytes of first..last (as they are now) until unpinned, in the
 * order pinned. */
void cache_pin(struct cache *c, uint64_t number, kelp_index first, kelp_index last);
void cache_unpin(struct cache *c, uint64_t number); /* every pin up to and including number */

#endif
