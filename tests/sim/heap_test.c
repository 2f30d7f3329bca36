/* SPDX-License-Identifier: Apache-2.0 */
/* heap_test.c - events come out by time, and those of one moment in the order they went in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "sim/heap.h"

static void events_come_out_by_time(void **state)
{
    (void)state;
    struct sim_heap h = {0};
    struct prng prng = {7};
    for (unsigned i = 0; i < 5000; i++)
        assert_true(heap_push(&h, (struct sim_event){.at = prng_below(&prng, 1000)}));
    kelp_ns last = 0;
    for (unsigned i = 0; i < 5000; i++) {
        assert_int_equal(heap_next(&h), h.events[0].at);
        struct sim_event e = heap_pop(&h);
        assert_true(e.at >= last);
        last = e.at;
    }
    assert_int_equal(heap_next(&h), KELP_NEVER);
    heap_free(&h);
}

static void events_of_one_moment_keep_their_order(void **state)
{
    (void)state;
    struct sim_heap h = {0};
    for (uint64_t i = 0; i < 300; i++)
        assert_true(heap_push(&h, (struct sim_event){.at = i % 3, .value = i}));
    for (uint64_t i = 0; i < 300; i++) {
        struct sim_event e = heap_pop(&h);
        assert_int_equal(e.at, i / 100);
        assert_int_equal(e.value, i % 100 * 3 + e.at);
    }
    heap_free(&h);
}

static void a_deferred_event_keeps_its_place_among_those_deferred_with_it(void **state)
{
    (void)state;
    struct sim_heap h = {0};
    for (uint64_t i = 0; i < 10; i++)
        assert_true(heap_push(&h, (struct sim_event){.at = i, .value = i}));
    for (uint64_t i = 0; i < 10; i++) {
        struct sim_event e = heap_pop(&h);
        e.at = 100;
        heap_push_again(&h, e);
    }
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(heap_pop(&h).value, i);
    heap_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_out_by_time),
        cmocka_unit_test(events_of_one_moment_keep_their_order),
        cmocka_unit_test(a_deferred_event_keeps_its_place_among_those_deferred_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
