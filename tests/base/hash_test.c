/* SPDX-License-Identifier: Apache-2.0 */
/* hash_test.c - the hash is XXH3-64 as this file compiles it, whichever processor computes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/prng.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BYTES_MAX (1024u * 1024)

static uint8_t bytes[BYTES_MAX + 64];
static const uint64_t seeds[] = {0, 1, 7, UINT64_C(0x9e3779b97f4a7c15), UINT64_MAX};

static int fill(void **state)
{
    (void)state;
    struct prng p = {.state = 3};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)prng_next(&p);
    return 0;
}

static void check(size_t at, size_t len)
{
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        struct kelp_bytes in = bytes_of(bytes + at, len);
        uint64_t wanted = XXH3_64bits_withSeed(bytes + at, len, seeds[i]);
        assert_int_equal(hash_bytes(in, seeds[i]), wanted);
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2")) assert_int_equal(hash_bytes_avx2(in, seeds[i]), wanted);
#endif
    }
}

static void every_length_and_alignment_gives_the_number_of_xxh3(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 2048; len++) {
        check(0, len);
        check(1 + len % 63, len);
    }
    for (size_t len = 4096; len <= BYTES_MAX; len *= 4) {
        check(0, len - 1);
        check(8, len);
        check(3, len + 1);
    }
}

static void known_numbers_stay(void **state) /* what is on disks and what other machines compute */
{
    (void)state;
    static uint8_t zeros[304];
    assert_int_equal(hash_bytes(bytes_of(NULL, 0), 0), UINT64_C(0x2d06800538d394c2));
    assert_int_equal(hash_bytes(BYTES_LITERAL("twelve bytes"), 0), UINT64_C(0x23a2e78170911342));
    assert_int_equal(hash_bytes(bytes_of(zeros, sizeof zeros), 0), UINT64_C(0x454e82b2017fd376));
}

static void parts_give_the_number_of_the_whole(void **state)
{
    (void)state;
    struct prng p = {.state = 4};
    for (size_t len = 0; len <= 2048; len++) {
        size_t a = prng_below(&p, len + 1), b = a + prng_below(&p, len - a + 1);
        const struct kelp_bytes parts[] = {bytes_of(bytes, a), bytes_of(NULL, 0),
                                           bytes_of(bytes + a, b - a),
                                           bytes_of(bytes + b, len - b)};
        for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
            uint64_t whole = hash_bytes(bytes_of(bytes, len), seeds[i]);
            assert_int_equal(hash_parts(parts, 4, seeds[i]), whole);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_and_alignment_gives_the_number_of_xxh3),
        cmocka_unit_test(known_numbers_stay),
        cmocka_unit_test(parts_give_the_number_of_the_whole),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
