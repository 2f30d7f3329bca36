/* SPDX-License-Identifier: Apache-2.0 */
/* cache_test.c - bytes that stay where they are while an index or a pin needs them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "driver/cache.h"

static uint8_t *put(struct cache *c, kelp_index index, size_t len, uint8_t fill)
{
    uint8_t *room = cache_reserve(c, len);
    assert_non_null(room);
    memset(room, fill, len);
    cache_commit(c, index, len);
    return room;
}

static void assert_filled(struct kelp_bytes bytes, size_t len, uint8_t fill)
{
    assert_int_equal(bytes.len, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(bytes.data[i], fill);
}

static void an_entry_is_where_it_was_built(void **state)
{
    (void)state;
    struct cache *c = cache_new(1 << 20);
    assert_int_equal(cache_first(c), 0);
    uint8_t *room = put(c, 7, 64, 1);
    assert_ptr_equal(cache_entry(c, 7).data, room);
    assert_int_equal((uintptr_t)room % 8, 0);
    (void)put(c, 8, 32, 2);
    assert_int_equal(cache_first(c), 7);
    assert_int_equal(cache_last(c), 8);
    assert_int_equal(cache_bytes(c), 96);
    assert_int_equal(cache_entry(c, 6).len, 0);
    assert_int_equal(cache_entry(c, 9).len, 0);
    cache_free(c);
}

static void a_second_reserve_replaces_the_first(void **state)
{
    (void)state;
    struct cache *c = cache_new(1 << 20);
    uint8_t *first = cache_reserve(c, 64);
    assert_ptr_equal(cache_reserve(c, 128), first);
    cache_abandon(c);
    assert_ptr_equal(put(c, 1, 16, 3), first);
    cache_free(c);
}

static void neighbours_are_one_part(void **state)
{
    (void)state;
    struct cache *c = cache_new(1 << 20); /* chunks of 64 KiB */
    for (kelp_index i = 1; i <= 3; i++)
        (void)put(c, i, 24 * 1024, (uint8_t)i);
    struct kelp_bytes parts[4];
    assert_int_equal(cache_parts(c, 1, 2, parts, 4), 1);
    assert_int_equal(parts[0].len, 48 * 1024);
    assert_int_equal(cache_parts(c, 1, 3, parts, 4), 2); /* the third has a chunk of its own */
    assert_int_equal(cache_parts(c, 1, 3, parts, 1), 0);
    assert_int_equal(cache_parts(c, 1, 4, parts, 4), 0);
    cache_free(c);
}

static void truncated_bytes_stay_while_a_save_needs_them(void **state)
{
    (void)state;
    struct cache *c = cache_new(1 << 20);
    (void)put(c, 1, 1024, 1);
    (void)put(c, 2, 2048, 2);
    struct kelp_bytes old = cache_entry(c, 2);
    cache_pin(c, 41, 1, 2);
    cache_truncate(c, 1);
    (void)put(c, 2, 2048, 9); /* new room, never theirs */
    for (kelp_index i = 3; i < 200; i++)
        (void)put(c, i, 4096, 7);
    cache_truncate(c, 0);
    assert_filled(old, 2048, 2);
    cache_unpin(c, 40);
    assert_filled(old, 2048, 2);
    cache_unpin(c, 41);
    assert_int_equal(cache_first(c), 0);
    cache_free(c);
}

static void eviction_forgets_the_oldest_down_to_the_limit_and_not_beyond_an_index(void **state)
{
    (void)state;
    struct cache *c = cache_new(1000);
    for (kelp_index i = 1; i <= 10; i++)
        (void)put(c, i, 200, (uint8_t)i);
    cache_evict(c, 3);
    assert_int_equal(cache_first(c), 4);
    cache_evict(c, 10);
    assert_int_equal(cache_first(c), 6);
    assert_int_equal(cache_bytes(c), 1000);
    assert_filled(cache_entry(c, 6), 200, 6);
    cache_free(c);
}

static void an_empty_cache_takes_any_index(void **state)
{
    (void)state;
    struct cache *c = cache_new(1000);
    (void)put(c, 500, 8, 1);
    cache_reset(c);
    (void)put(c, 3, 8, 2);
    assert_int_equal(cache_first(c), 3);
    assert_int_equal(cache_last(c), 3);
    cache_free(c);
}

static void after_ensure_reserves_stay_in_one_chunk(void **state)
{
    (void)state;
    struct cache *c = cache_new(1 << 20);
    (void)put(c, 1, 40 * 1024, 1);
    assert_true(cache_ensure(c, 3, 3 * 16 * 1024)); /* more than the chunk has left */
    for (kelp_index i = 2; i <= 4; i++)
        (void)put(c, i, 16 * 1024, (uint8_t)i);
    struct kelp_bytes parts[2];
    assert_int_equal(cache_parts(c, 2, 4, parts, 2), 1);
    cache_free(c);
}

/* ---- against a model: a list of entries, and copies of what is pinned ---- */

#define MODEL_MAX 512

struct model {
    kelp_index first, last;
    size_t len[MODEL_MAX];
    uint8_t fill[MODEL_MAX];
};

struct model_pin {
    uint64_t number;
    struct kelp_bytes bytes;
    uint8_t fill;
};

static void model_append(struct cache *c, struct model *m, struct prng *p)
{
    if (m->last + 1 - m->first >= MODEL_MAX) return;
    kelp_index index = m->last + 1;
    size_t len = prng_between(p, 1, prng_chance(p, 1, 20) ? 20000 : 40) * 8;
    m->len[index % MODEL_MAX] = len;
    m->fill[index % MODEL_MAX] = (uint8_t)prng_next(p);
    if (prng_chance(p, 1, 4)) (void)cache_reserve(c, len + 64); /* a change of mind */
    (void)put(c, index, len, m->fill[index % MODEL_MAX]);
    m->last = index;
}

static uint64_t model_bytes(const struct model *m)
{
    uint64_t bytes = 0;
    for (kelp_index i = m->first; i <= m->last; i++)
        bytes += m->len[i % MODEL_MAX];
    return bytes;
}

static void it_behaves_as_a_list_with_copies(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct prng p = {.state = seed};
        struct cache *c = cache_new(100000);
        struct model m = {.first = 1, .last = 0};
        struct model_pin pins[64];
        size_t pin_count = 0;
        uint64_t number = 0;
        for (int step = 0; step < 3000; step++) {
            uint64_t what = prng_below(&p, 100);
            bool some = m.last >= m.first;
            if (what < 60) {
                model_append(c, &m, &p);
            } else if (what < 75 && some && pin_count < 64) {
                kelp_index i = prng_between(&p, m.first, m.last);
                cache_pin(c, ++number, i, i);
                pins[pin_count++] = (struct model_pin){
                    .number = number, .bytes = cache_entry(c, i), .fill = m.fill[i % MODEL_MAX]};
            } else if (what < 85 && pin_count > 0) {
                size_t gone = prng_between(&p, 1, pin_count);
                cache_unpin(c, pins[gone - 1].number);
                memmove(pins, pins + gone, (pin_count - gone) * sizeof *pins);
                pin_count -= gone;
            } else if (what < 92 && some) {
                kelp_index last = prng_between(&p, m.first, m.last) - 1;
                cache_truncate(c, last);
                m.last = last;
            } else if (some) {
                kelp_index upto = prng_between(&p, m.first, m.last);
                cache_evict(c, upto);
                while (m.first <= m.last && m.first <= upto && model_bytes(&m) > 100000)
                    m.first++;
            }
            assert_int_equal(cache_bytes(c), model_bytes(&m));
            if (m.last >= m.first) {
                assert_int_equal(cache_first(c), m.first);
                assert_int_equal(cache_last(c), m.last);
                kelp_index i = prng_between(&p, m.first, m.last);
                assert_filled(cache_entry(c, i), m.len[i % MODEL_MAX], m.fill[i % MODEL_MAX]);
            } else {
                assert_int_equal(cache_first(c), 0);
                m.first = m.last + 1;
            }
            for (size_t i = 0; i < pin_count; i++)
                assert_filled(pins[i].bytes, pins[i].bytes.len, pins[i].fill);
        }
        cache_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_where_it_was_built),
        cmocka_unit_test(a_second_reserve_replaces_the_first),
        cmocka_unit_test(neighbours_are_one_part),
        cmocka_unit_test(truncated_bytes_stay_while_a_save_needs_them),
        cmocka_unit_test(eviction_forgets_the_oldest_down_to_the_limit_and_not_beyond_an_index),
        cmocka_unit_test(an_empty_cache_takes_any_index),
        cmocka_unit_test(after_ensure_reserves_stay_in_one_chunk),
        cmocka_unit_test(it_behaves_as_a_list_with_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
