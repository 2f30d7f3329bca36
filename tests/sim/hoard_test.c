/* SPDX-License-Identifier: Apache-2.0 */
/* hoard_test.c - items are kept once each, numbered as they came, and stay where they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sim/hoard.h"

#define ITEMS 100000u /* several chunks, many growths of the table */

struct item {
    uint64_t key;
    uint32_t value;
};

static struct item item_of(uint64_t n)
{
    return (struct item){.key = n * 0x9e3779b97f4a7c15u, .value = (uint32_t)n};
}

static void an_item_is_found_by_its_key_alone(void **state)
{
    (void)state;
    struct hoard h = hoard_open(sizeof(struct item), sizeof(uint64_t));
    struct item item = item_of(7);
    bool fresh;
    assert_int_equal(hoard_find(&h, &item.key), 0);
    assert_int_equal(hoard_put(&h, &item, &fresh), 1);
    assert_true(fresh);
    item.value = 99;
    assert_int_equal(hoard_put(&h, &item, &fresh), 1);
    assert_false(fresh);
    assert_int_equal(((struct item *)hoard_at(&h, 1))->value, 7);
    hoard_close(&h);
    hoard_close(&h);
}

static void many_items_keep_their_numbers_and_places(void **state)
{
    (void)state;
    struct hoard h = hoard_open(sizeof(struct item), sizeof(uint64_t));
    const struct item *first = NULL;
    bool fresh;
    for (uint64_t n = 1; n <= ITEMS; n++) {
        struct item item = item_of(n);
        assert_int_equal(hoard_put(&h, &item, &fresh), n);
        if (n == 1) first = hoard_at(&h, 1);
    }
    assert_ptr_equal(first, hoard_at(&h, 1));
    assert_int_equal(h.count, ITEMS);
    for (uint64_t n = 1; n <= ITEMS; n++) {
        struct item item = item_of(n);
        assert_int_equal(hoard_find(&h, &item.key), n);
        assert_int_equal(((struct item *)hoard_at(&h, (uint32_t)n))->value, n);
    }
    struct item other = item_of(ITEMS + 1);
    assert_int_equal(hoard_find(&h, &other.key), 0);
    assert_true(h.bytes >= ITEMS * (h.stride + sizeof(uint32_t)));
    hoard_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_is_found_by_its_key_alone),
        cmocka_unit_test(many_items_keep_their_numbers_and_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
