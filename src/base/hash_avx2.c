/* SPDX-License-Identifier: Apache-2.0 */
/* hash_avx2.c - xxHash once more, compiled for x86-64 processors with AVX2 (CMakeLists.txt gives
 * this file -mavx2); hash.c decides when it is called.
 *
 * xxHash can choose by itself, but only in its shared library and in a source file that the package
 * does not install; this project compiles its header only. Why at all: every entry is hashed six
 * times on three nodes, and for a command of 256 bytes that takes 40 % less this way, for a full
 * message 60 % less. Elsewhere this file is empty. Invariant: the number does not depend on which
 * of the two made it (tests/base/hash_test.c). */
#include "base/hash.h"

#if defined(__x86_64__)

#define XXH_INLINE_ALL
#include <xxhash.h>

#if !defined(__AVX2__)
#error "hash_avx2.c is compiled without -mavx2"
#endif

uint64_t hash_bytes_avx2(struct kelp_bytes bytes, uint64_t seed)
{
    uint64_t hash = XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
    /* gcc 12 leaves the upper halves of the vector registers in use here, and whatever uses the
     * lower ones next waits for them: decoding an entry took 270 ns instead of 80. */
    _mm256_zeroupper();
    return hash;
}

#endif
