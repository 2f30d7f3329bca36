/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h - XXH3-64, the one checksum of Kelp's formats (xxHash, compiled in through its header). */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "kelp/types.h"

/* hash_bytes - XXH3-64 of bytes under a seed. */
uint64_t hash_bytes(struct kelp_bytes bytes, uint64_t seed);

#if defined(__x86_64__)
/* hash_bytes_avx2 - the same; only for hash_bytes, which knows whether the processor can. */
uint64_t hash_bytes_avx2(struct kelp_bytes bytes, uint64_t seed);
#endif

/* hash_parts - the same hash of bytes that lie in several places, as if they were one piece. */
uint64_t hash_parts(const struct kelp_bytes *parts, size_t count, uint64_t seed);

/* hash_mix - chain one number onto a hash; for chain hashes and hash tables. */
static inline uint64_t hash_mix(uint64_t hash, uint64_t v)
{
    uint64_t z = (hash ^ v) * 0x9e3779b97f4a7c15u;
    z ^= z >> 32;
    z *= 0xd6e8feb86659fd93u;
    return z ^ (z >> 29);
}

#endif
