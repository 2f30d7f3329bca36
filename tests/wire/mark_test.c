/* SPDX-License-Identifier: Apache-2.0 */
/* mark_test.c - what states were survives its bytes; nothing else is taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/prng.h"
#include "wire/mark.h"
#include "wire/wire.h"

static uint8_t body[WIRE_MARKS_MAX + 8];

static size_t encode(size_t count, struct prng *p, struct wire_mark marks[WIRE_MARK_KEPT])
{
    kelp_index index = prng_below(p, 1000) * WIRE_MARK_EVERY;
    for (size_t i = 0; i < count; i++) {
        index += (1 + prng_below(p, 3)) * WIRE_MARK_EVERY;
        marks[i] = (struct wire_mark){index, prng_next(p), prng_next(p)};
    }
    return wire_marks_encode(marks, count, body);
}

static enum kelp_error decode(size_t len)
{
    struct wire_mark out[WIRE_MARK_KEPT];
    size_t count = 77;
    uint8_t *exact = malloc(len + 1);
    assert_non_null(exact);
    memcpy(exact, body, len);
    enum kelp_error error = wire_marks_decode(bytes_of(exact, len), out, &count, NULL);
    assert_true(error == KELP_OK ? count > 0 && count <= WIRE_MARK_KEPT : count == 0);
    free(exact);
    return error;
}

static void marks_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 5};
    for (int i = 0; i < 2000; i++) {
        struct wire_mark marks[WIRE_MARK_KEPT], out[WIRE_MARK_KEPT];
        size_t count = (size_t)prng_between(&p, 1, WIRE_MARK_KEPT), read = 0;
        size_t len = encode(count, &p, marks);
        assert_true(len <= WIRE_MARKS_MAX);
        assert_int_equal(wire_marks_decode(bytes_of(body, len), out, &read, NULL), KELP_OK);
        assert_int_equal(read, count);
        assert_memory_equal(out, marks, count * sizeof marks[0]);
    }
}

static void what_is_cut_or_longer_is_malformed(void **state)
{
    (void)state;
    struct prng p = {.state = 6};
    struct wire_mark marks[WIRE_MARK_KEPT];
    for (size_t count = 1; count <= WIRE_MARK_KEPT; count += 5) {
        size_t len = encode(count, &p, marks);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(decode(cut), KELP_E_MALFORMED);
        assert_int_equal(decode(len), KELP_OK);
        assert_int_equal(decode(len + 1), KELP_E_MALFORMED);
    }
}

static void only_marked_indexes_in_order_are_taken(void **state)
{
    (void)state;
    struct prng p = {.state = 7};
    struct wire_mark marks[WIRE_MARK_KEPT];
    size_t len = encode(3, &p, marks);
    static const uint64_t wrong[] = {0, 1, 255, 257, UINT64_MAX - 255};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        put_u64(body + 3 + 2 * 24, wrong[i]);
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
    put_u64(body + 3 + 2 * 24, marks[1].index); /* twice the same */
    assert_int_equal(decode(len), KELP_E_MALFORMED);
    put_u64(body + 3 + 2 * 24, marks[0].index);
    assert_int_equal(decode(len), KELP_E_MALFORMED);
    put_u64(body + 3 + 2 * 24, marks[2].index);
    assert_int_equal(decode(len), KELP_OK);
    body[2] = 0;
    assert_int_equal(decode(len), KELP_E_MALFORMED);
    body[2] = WIRE_MARK_KEPT + 1;
    assert_int_equal(decode(len), KELP_E_MALFORMED);
    body[2] = 4; /* more than there are */
    assert_int_equal(decode(len), KELP_E_MALFORMED);
}

static void no_bytes_are_too_strange(void **state)
{
    (void)state;
    struct prng p = {.state = 8};
    struct wire_mark marks[WIRE_MARK_KEPT];
    for (int i = 0; i < 20000; i++) {
        size_t len = encode((size_t)prng_between(&p, 1, WIRE_MARK_KEPT), &p, marks);
        for (uint64_t hits = prng_between(&p, 1, 4); hits > 0; hits--)
            body[prng_below(&p, len)] ^= (uint8_t)(1u << prng_below(&p, 8));
        (void)decode((size_t)prng_below(&p, len + 1));
        (void)decode(len); /* looks at its own count */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_survive_their_bytes),
        cmocka_unit_test(what_is_cut_or_longer_is_malformed),
        cmocka_unit_test(only_marked_indexes_in_order_are_taken),
        cmocka_unit_test(no_bytes_are_too_strange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
