/* SPDX-License-Identifier: Apache-2.0 */
/* slot_test.c - hash slots against values that a Redis server gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "server/slot.h"

static void slots_are_redis_s(void **state)
{
    (void)state;
    assert_int_equal(slot_of(BYTES_LITERAL("")), 0);
    assert_int_equal(slot_of(BYTES_LITERAL("a")), 15495);
    assert_int_equal(slot_of(BYTES_LITERAL("foo")), 12182);
    assert_int_equal(slot_of(BYTES_LITERAL("123456789")), 0x31c3);
    assert_int_equal(slot_of(BYTES_LITERAL("somekey")), 11058);
}

static void the_first_tag_that_is_not_empty_counts(void **state)
{
    (void)state;
    assert_int_equal(slot_of(BYTES_LITERAL("{a}b")), 15495);
    assert_int_equal(slot_of(BYTES_LITERAL("x{a}{b}")), 15495);
    assert_int_equal(slot_of(BYTES_LITERAL("foo{{a}}")), slot_of(BYTES_LITERAL("{a")));
}

static void an_empty_or_open_tag_is_part_of_the_key(void **state)
{
    (void)state;
    assert_int_equal(slot_of(BYTES_LITERAL("foo{}{bar}")), 8363);
    assert_int_not_equal(slot_of(BYTES_LITERAL("{a")), 15495);
    assert_int_not_equal(slot_of(BYTES_LITERAL("a}")), 15495);
    assert_int_equal(slot_of(BYTES_LITERAL("{")), slot_of(bytes_of("{}", 1)));
}

static void a_key_may_hold_any_byte(void **state)
{
    (void)state;
    assert_int_not_equal(slot_of(BYTES_LITERAL("\0a")), slot_of(BYTES_LITERAL("\0b")));
    assert_int_equal(slot_of(BYTES_LITERAL("\xff{\0}x")), slot_of(BYTES_LITERAL("\0")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_redis_s),
        cmocka_unit_test(the_first_tag_that_is_not_empty_counts),
        cmocka_unit_test(an_empty_or_open_tag_is_part_of_the_key),
        cmocka_unit_test(a_key_may_hold_any_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
