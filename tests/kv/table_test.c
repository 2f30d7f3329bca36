/* SPDX-License-Identifier: Apache-2.0 */
/* table_test.c - the hash table against a plain array: finding, order, moving, colliding hashes,
 * freeing. */
#include "kv/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/min.h"
#include "base/prng.h"

#define KEYS 3000u

static struct table_entry *entry(uint64_t hash, uint32_t key, uint32_t value)
{
    struct table_entry *e = entry_new(4, 4);
    assert_non_null(e);
    put_u32(e->bytes, key);
    put_u32(e->bytes + 4, value);
    e->value_len = 4;
    e->hash = hash;
    e->digest = entry_digest(e);
    return e;
}

static struct table_entry **find(const struct table *t, uint64_t hash, uint32_t key)
{
    uint8_t bytes[4];
    put_u32(bytes, key);
    return table_find(t, hash, bytes_of(bytes, 4));
}

/* Hashes that are good, that crowd together, and that are all the same in turn. */
static uint64_t hash_of_key(uint32_t key, unsigned kind)
{
    uint64_t good = hash_mix(key, 12345);
    return kind == 0 ? good : kind == 1 ? good >> 20 : key % 7 == 0 ? UINT64_MAX : good % 5;
}

static void check_order(const struct table *t, const bool *there, unsigned kind)
{
    size_t seen = 0, count = 0;
    const struct table_entry *e = table_next(t, 0, NULL);
    for (; e != NULL; seen++) {
        uint32_t key = load_u32(e->bytes);
        assert_true(key < KEYS && there[key] && e->hash == hash_of_key(key, kind));
        const struct table_entry *next = table_next(t, e->hash, e);
        if (next != NULL) assert_true(entry_before(e, next) && !entry_before(next, e));
        e = next;
    }
    for (uint32_t key = 0; key < KEYS; key++)
        count += there[key];
    assert_int_equal(seen, count);
    assert_int_equal(t->count, count);
}

static void a_table_holds_what_was_put_and_not_removed(void **state)
{
    (void)state;
    static bool there[KEYS];
    for (unsigned kind = 0; kind < 3; kind++) {
        struct table *t = table_new();
        struct prng random = {kind};
        uint64_t sum = 0;
        assert_non_null(t);
        memset(there, 0, sizeof(there));
        unsigned moves = 0;
        uint32_t rounds = kind == 2 ? 6000 : 40000; /* one long chain is slow */
        for (uint32_t round = 0; round < rounds; round++) {
            uint32_t key = (uint32_t)prng_below(&random, KEYS);
            bool growing = round % (rounds / 2) < rounds / 4; /* up, down, up, down */
            uint64_t hash = hash_of_key(key, kind);
            struct table_entry **link = find(t, hash, key);
            assert_true((link != NULL) == there[key]);
            if (link == NULL && (growing || prng_chance(&random, 1, 8))) {
                struct table_entry *e = entry(hash, key, round);
                sum += e->digest;
                table_insert(t, e);
                there[key] = true;
            } else if (link != NULL && (!growing || prng_chance(&random, 1, 8))) {
                struct table_entry *e = table_remove(t, link);
                sum -= e->digest;
                free(e);
                there[key] = false;
            }
            moves += t->moving;
            assert_true(t->sum == sum);
            if (round % (rounds / 40) == 0) check_order(t, there, kind);
        }
        assert_true(moves > 100); /* order and finding were checked in the middle of moves */
        check_order(t, there, kind);
        table_close(t);
    }
}

static void the_order_does_not_know_the_size_of_the_table(void **state)
{
    (void)state;
    struct table *small = table_new(), *grown = table_new();
    assert_true(small != NULL && grown != NULL);
    for (uint32_t key = 0; key < 100; key++)
        table_insert(small, entry(hash_of_key(key, 0), key, 0));
    for (uint32_t key = 20000; key > 0; key--)
        table_insert(grown, entry(hash_of_key(key - 1, 0), key - 1, 0));
    for (uint32_t key = 100; key < 20000; key++)
        free(table_remove(grown, find(grown, hash_of_key(key, 0), key)));
    assert_int_not_equal(small->at.bits, grown->at.bits + grown->moving);
    const struct table_entry *a = table_next(small, 0, NULL), *b = table_next(grown, 0, NULL);
    for (; a != NULL && b != NULL;
         a = table_next(small, a->hash, a), b = table_next(grown, b->hash, b))
        assert_int_equal(load_u32(a->bytes), load_u32(b->bytes));
    assert_true(a == NULL && b == NULL);
    assert_true(small->sum == grown->sum && small->bytes == grown->bytes);
    table_close(small);
    table_close(grown);
}

static void moving_ends_before_the_next_one_is_due(void **state)
{
    (void)state;
    struct table *t = table_new();
    assert_non_null(t);
    for (uint32_t key = 0; key < 70000; key++) {
        table_insert(t, entry(hash_of_key(key, 0), key, 0));
        assert_true(t->count <= (uint64_t)2 << t->at.bits); /* chains stay short */
    }
    for (uint32_t key = 0; key < 70000; key++) {
        free(table_remove(t, find(t, hash_of_key(key, 0), key)));
        assert_true(t->at.bits <= 4 || t->count >= ((uint64_t)1 << t->at.bits) / 17);
    }
    assert_int_equal(t->count, 0);
    assert_true(t->at.bits <= 6);
    table_close(t);
}

static void slices_free_about_what_they_were_told(void **state)
{
    (void)state;
    for (uint32_t keys = 0; keys < 6000; keys += 499) { /* some of the tables are moving */
        struct table *t = table_new();
        assert_non_null(t);
        for (uint32_t key = 0; key < keys; key++)
            table_insert(t, entry(hash_of_key(key, 0), key, 0));
        size_t slices = 1;
        while (table_free_slice(t, 10))
            slices++;
        assert_true(slices >= keys / 11 && slices <= keys / 2 + 8);
        table_close(t);
    }
}

static void a_digest_extended_is_the_digest_of_the_whole(void **state)
{
    (void)state;
    struct prng random = {3};
    struct table_entry *e = entry_new(4, 40000);
    assert_non_null(e);
    for (size_t i = 0; i < 40004; i++)
        e->bytes[i] = (uint8_t)prng_next(&random);
    e->hash = 77;
    e->digest = entry_digest(e);
    uint64_t empty = e->digest;
    while (e->value_len < e->room) {
        uint32_t before = e->value_len;
        uint32_t step = (uint32_t)prng_between(&random, 1, prng_chance(&random, 1, 2) ? 10 : 9000);
        e->value_len = (uint32_t)min_u64(e->room, before + step);
        e->digest = entry_digest_extend(e, e->digest, before);
        assert_true(e->digest == entry_digest(e));
        assert_true(e->digest != empty);
    }
    uint64_t whole = e->digest;
    e->bytes[20000] ^= 1;
    assert_true(entry_digest(e) != whole);
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_holds_what_was_put_and_not_removed),
        cmocka_unit_test(the_order_does_not_know_the_size_of_the_table),
        cmocka_unit_test(moving_ends_before_the_next_one_is_due),
        cmocka_unit_test(slices_free_about_what_they_were_told),
        cmocka_unit_test(a_digest_extended_is_the_digest_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
