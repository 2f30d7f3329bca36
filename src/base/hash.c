/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - where xxHash is compiled, for whatever processor the build is for.
 *
 * On x86-64 that is any of them, with vectors of 16 bytes; hash_avx2.c is the same code compiled
 * for 32, and which one hashes is asked at each call, a load and a branch: there is no pointer to
 * set, and a call before anything is initialised takes the slower way to the same number. Up to
 * 240 bytes XXH3 uses no vectors. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(struct kelp_bytes bytes, uint64_t seed)
{
#if defined(__x86_64__)
    if (bytes.len > XXH3_MIDSIZE_MAX && __builtin_cpu_supports("avx2"))
        return hash_bytes_avx2(bytes, seed);
#endif
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}

uint64_t hash_parts(const struct kelp_bytes *parts, size_t count, uint64_t seed)
{
    if (count == 1) return hash_bytes(parts[0], seed);
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) (void)XXH3_64bits_update(&state, parts[i].data, parts[i].len);
    }
    return XXH3_64bits_digest(&state);
}
