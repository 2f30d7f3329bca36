/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - the one place where xxHash is compiled. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(struct kelp_bytes bytes, uint64_t seed)
{
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
