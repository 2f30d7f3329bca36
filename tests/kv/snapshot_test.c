/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_test.c - a snapshot is the state at its beginning, whatever happens while it is read; a
 * restore is that state or nothing. */
#include "kv/snapshot.h"

#include "tests/kv/machine.h"

#define OBJECTS_MAX 4096u

/* A snapshot in memory. */
struct image {
    uint8_t own[KELP_FSM_OWN_BYTES_MAX];
    size_t own_len;
    size_t count;
    struct buf objects[OBJECTS_MAX];
};

static void image_begin(struct kv *kv, struct image *image, void **snapshot)
{
    *image = (struct image){0};
    assert_int_equal(kv_fsm_ops.snapshot_begin(kv, 0, image->own, &image->own_len, snapshot),
                     KELP_OK);
    assert_true(image->own_len > 0 && image->own_len <= KELP_FSM_OWN_BYTES_MAX);
}

/* One object more; true: it was the last. */
static bool image_read(struct kv *kv, struct image *image, void *snapshot, size_t room)
{
    assert_true(image->count < OBJECTS_MAX);
    struct buf *b = &image->objects[image->count++];
    buf_init(b, room);
    assert_int_equal(buf_reserve(b, room), KELP_OK);
    bool last = false;
    size_t len = room;
    assert_int_equal(kv_fsm_ops.snapshot_read(kv, snapshot, b->data, &len, &last), KELP_OK);
    assert_true(len > 0 && len <= room && len <= KV_OBJECT_BYTES_MAX);
    b->len = len;
    return last;
}

static void image_close(struct image *image)
{
    for (size_t i = 0; i < image->count; i++)
        buf_close(&image->objects[i]);
    free(image);
}

static struct image *image_of(struct kv *kv, size_t room)
{
    struct image *image = malloc(sizeof(*image));
    void *snapshot = NULL;
    assert_non_null(image);
    image_begin(kv, image, &snapshot);
    while (!image_read(kv, image, snapshot, room)) {
    }
    kv_fsm_ops.snapshot_end(kv, snapshot);
    return image;
}

static enum kelp_error image_load(struct kv *kv, const struct image *image)
{
    void *restore = NULL;
    enum kelp_error error = kv_fsm_ops.restore_begin(
        kv, 0, kelp_pos_of(9, 1), 0, bytes_of(image->own, image->own_len), &restore);
    if (error != KELP_OK) return error;
    for (size_t i = 0; i < image->count && error == KELP_OK; i++)
        error = kv_fsm_ops.restore_object(kv, restore, buf_bytes(&image->objects[i]));
    if (error == KELP_OK) error = kv_fsm_ops.restore_commit(kv, restore);
    if (error != KELP_OK) kv_fsm_ops.restore_abort(kv, restore);
    return error;
}

static void value_set(struct kv *kv, const char *key, size_t len, uint8_t fill)
{
    uint8_t *value = malloc(len + 1);
    assert_non_null(value);
    memset(value, fill, len);
    struct kelp_bytes argv[] = {text_bytes("set"), text_bytes(key), bytes_of(value, len)};
    struct buf reply = argv_reply(kv, argv, 3, BY_LOG);
    assert_string_equal((const char *)reply.data, "+OK\r\n");
    buf_close(&reply);
    free(value);
}

static void fill(struct kv *kv, unsigned keys)
{
    for (unsigned i = 0; i < keys; i++)
        runs(kv, "SET key:%u value:%u", i, i);
}

static void a_loaded_snapshot_is_the_same_state(void **state)
{
    const unsigned sizes[] = {0, 1, 5000};
    const size_t rooms[] = {SNAPSHOT_ROOM_MIN, 1000, 1 << 20};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        fill(*state, sizes[i]);
        for (size_t r = i == 2 ? 1 : 0; r < COUNT_OF(rooms); r++) {
            struct image *image = image_of(*state, rooms[r]);
            struct kv *other = kv_new();
            assert_non_null(other);
            runs(other, "SET old state");
            assert_int_equal(image_load(other, image), KELP_OK);
            assert_true(hash_of(other) == hash_of(*state));
            assert_int_equal(kv_key_count(other), kv_key_count(*state));
            runs(*state, "SET later %u", (unsigned)r); /* and it goes on the same */
            runs(other, "SET later %u", (unsigned)r);
            assert_true(hash_of(other) == hash_of(*state));
            kv_fsm_ops.close(other);
            image_close(image);
        }
    }
}

static void large_pairs_travel_in_pieces(void **state)
{
    value_set(*state, "large", 300000, 'a');
    value_set(*state, "exact", KV_OBJECT_BYTES_MAX - 9 - 5, 'b'); /* just fills an object */
    value_set(*state, "over", KV_OBJECT_BYTES_MAX - 9 - 4 + 1, 'c');
    value_set(*state, "small", 10, 'd');
    struct image *image = image_of(*state, 1 << 20);
    assert_true(image->count >= 8);
    struct kv *other = kv_new();
    assert_non_null(other);
    assert_int_equal(image_load(other, image), KELP_OK);
    assert_true(hash_of(other) == hash_of(*state));
    kv_fsm_ops.close(other);
    image_close(image);
}

static void change_at_random(struct kv *kv, struct prng *random, unsigned keys)
{
    unsigned key = (unsigned)prng_below(random, keys);
    switch (prng_below(random, 7)) {
    case 0: runs(kv, "SET key:%u %llu", key, (unsigned long long)prng_next(random)); break;
    case 1: runs(kv, "DEL key:%u", key); break;
    case 2: runs(kv, "APPEND key:%u more", key); break;
    case 3: runs(kv, "MSET key:%u 5 new:%u 6", key, key); break;
    case 4: runs(kv, "SET key:%u %llu", key, (unsigned long long)prng_below(random, 10)); break;
    case 5: runs(kv, "SETNX key:%u again", key); break;
    default: runs(kv, "DEL new:%u key:%u", key, key); break;
    }
}

static void changes_while_it_is_read_do_not_show(void **state)
{
    struct kv *kv = *state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct prng random = {seed};
        unsigned keys = (unsigned)prng_between(&random, 1, 600);
        runs(kv, "FLUSHALL");
        for (unsigned i = 0; i < keys; i++)
            change_at_random(kv, &random, keys);
        uint64_t wanted = hash_of(kv);
        struct image *image = malloc(sizeof(*image));
        void *snapshot = NULL;
        assert_non_null(image);
        image_begin(kv, image, &snapshot);
        do {
            for (uint64_t n = prng_below(&random, 60); n > 0; n--)
                change_at_random(kv, &random, keys);
            if (seed % 4 == 3 && prng_chance(&random, 1, 20)) runs(kv, "FLUSHALL");
        } while (!image_read(kv, image, snapshot, prng_between(&random, 64, 600)));
        uint64_t now = hash_of(kv);
        kv_fsm_ops.snapshot_end(kv, snapshot);
        struct kv *other = kv_new();
        assert_non_null(other);
        assert_int_equal(image_load(other, image), KELP_OK);
        assert_true(hash_of(other) == wanted);
        assert_true(hash_of(kv) == now);
        kv_fsm_ops.close(other);
        image_close(image);
    }
    while (kv_free_slice(kv, 1000)) {
    }
    assert_null(kv->condemned);
}

static void a_pair_changed_between_its_pieces_comes_whole(void **state)
{
    struct kv *kv = *state;
    value_set(kv, "large", 200000, 'a');
    uint64_t wanted = hash_of(kv);
    struct image *image = malloc(sizeof(*image));
    void *snapshot = NULL;
    assert_non_null(image);
    image_begin(kv, image, &snapshot);
    assert_false(image_read(kv, image, snapshot, 65536));
    runs(kv, "APPEND large x");
    assert_false(image_read(kv, image, snapshot, 65536));
    runs(kv, "DEL large");
    while (!image_read(kv, image, snapshot, 65536)) {
    }
    kv_fsm_ops.snapshot_end(kv, snapshot);
    runs(kv, "SET other 1");
    assert_int_equal(image_load(kv, image), KELP_OK);
    assert_true(hash_of(kv) == wanted);
    image_close(image);
}

static void many_younger_keys_do_not_make_a_read_long(void **state)
{
    struct kv *kv = *state;
    struct image *image = malloc(sizeof(*image));
    void *snapshot = NULL;
    assert_non_null(image);
    fill(kv, 3);
    uint64_t wanted = hash_of(kv);
    image_begin(kv, image, &snapshot);
    for (unsigned i = 0; i < 20000; i++)
        runs(kv, "SET young:%u 1", i);
    while (!image_read(kv, image, snapshot, 65536)) {
    }
    assert_true(image->count >= 4); /* 4096 are passed over in one read */
    kv_fsm_ops.snapshot_end(kv, snapshot);
    assert_int_equal(image_load(kv, image), KELP_OK);
    assert_true(hash_of(kv) == wanted);
    image_close(image);
}

static void keys_with_one_hash_are_all_in_the_snapshot(void **state)
{
    struct kv *kv = *state;
    runs(kv, "SET seed 1");
    for (uint32_t i = 0; i < 60; i++) { /* put in by hand: real collisions cannot be had */
        struct table_entry *e = entry_new(4, 0);
        assert_non_null(e);
        put_u32(e->bytes, i * 0x01010101u);
        e->hash = (uint64_t)(i % 2) << 63;
        table_insert(kv->table, e);
    }
    struct image *image = malloc(sizeof(*image));
    void *snapshot = NULL;
    assert_non_null(image);
    image_begin(kv, image, &snapshot);
    for (uint32_t i = 0; !image_read(kv, image, snapshot, 64); i++) { /* five pairs an object */
        struct table_entry *e = table_next(kv->table, (uint64_t)1 << 63, NULL);
        if (i % 2 != 0 || e == NULL || e->key_len != 4) continue;
        struct kv_place place = {entry_key(e), e->hash,
                                 table_find(kv->table, e->hash, entry_key(e)), false};
        kv_remove(kv, place);
    }
    kv_fsm_ops.snapshot_end(kv, snapshot);
    size_t pairs = 0;
    for (size_t i = 0; i < image->count; i++)
        for (size_t at = 1; at < image->objects[i].len; pairs++)
            at += 8 + load_u32(image->objects[i].data + at) +
                  load_u32(image->objects[i].data + at + 4);
    assert_int_equal(pairs, 61);
    image_close(image);
}

static void one_snapshot_is_open_at_a_time(void **state)
{
    uint8_t own[64];
    size_t own_len = 0;
    void *first = NULL, *second = NULL;
    assert_int_equal(kv_fsm_ops.snapshot_begin(*state, 0, own, &own_len, &first), KELP_OK);
    assert_int_equal(kv_fsm_ops.snapshot_begin(*state, 0, own, &own_len, &second), KELP_E_BUSY);
    size_t len = SNAPSHOT_ROOM_MIN - 1;
    bool last = false;
    assert_int_equal(kv_fsm_ops.snapshot_read(*state, first, own, &len, &last), KELP_E_ARGUMENT);
    kv_fsm_ops.snapshot_end(*state, first);
    assert_int_equal(kv_fsm_ops.snapshot_begin(*state, 0, own, &own_len, &second), KELP_OK);
    /* left open: closing the machine ends it */
}

static void a_restore_that_fails_or_is_aborted_changes_nothing(void **state)
{
    struct kv *kv = *state;
    fill(kv, 300);
    struct image *image = image_of(kv, 1000);
    runs(kv, "SET other 1");
    uint64_t before = hash_of(kv);
    for (size_t i = 0; i < image->count; i++) { /* any object missing, or there twice */
        struct buf held = image->objects[i];
        image->objects[i].len = 1;
        enum kelp_error error = image_load(kv, image);
        assert_int_equal(error, held.len == 1 ? KELP_OK : KELP_E_CORRUPT);
        image->objects[i] = image->objects[(i + 1) % image->count];
        assert_int_not_equal(image_load(kv, image), KELP_OK);
        image->objects[i] = held;
        assert_true(hash_of(kv) == before);
    }
    void *restore = NULL;
    assert_int_equal(kv_fsm_ops.restore_begin(kv, 0, kelp_pos_of(9, 1), 0,
                                              bytes_of(image->own, image->own_len), &restore),
                     KELP_OK);
    kv_fsm_ops.restore_abort(kv, restore);
    assert_true(hash_of(kv) == before);
    image_close(image);
}

static void damaged_objects_are_refused_and_never_believed(void **state)
{
    struct kv *kv = *state;
    struct prng random = {4};
    fill(kv, 20);
    value_set(kv, "large", 500, 'a');
    struct image *image = image_of(kv, 200);
    uint64_t before = hash_of(kv);
    for (int round = 0; round < 3000; round++) {
        struct buf *object = &image->objects[prng_below(&random, image->count)];
        size_t at = prng_below(&random, object->len), len = object->len;
        uint8_t held = object->data[at];
        if (prng_chance(&random, 1, 2))
            object->data[at] ^= (uint8_t)prng_between(&random, 1, 255);
        else
            object->len = at;
        if (object->len != len || object->data[at] != held)
            assert_int_not_equal(image_load(kv, image), KELP_OK);
        object->len = len;
        object->data[at] = held;
    }
    for (size_t len = 0; len < image->own_len; len++) {
        size_t held = image->own_len;
        image->own_len = len;
        assert_int_equal(image_load(kv, image), KELP_E_MALFORMED);
        image->own_len = held;
    }
    image->own[0] = 3;
    assert_int_equal(image_load(kv, image), KELP_E_VERSION);
    assert_true(hash_of(kv) == before);
    image_close(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(a_loaded_snapshot_is_the_same_state),
        MACHINE_TEST(large_pairs_travel_in_pieces),
        MACHINE_TEST(changes_while_it_is_read_do_not_show),
        MACHINE_TEST(a_pair_changed_between_its_pieces_comes_whole),
        MACHINE_TEST(many_younger_keys_do_not_make_a_read_long),
        MACHINE_TEST(keys_with_one_hash_are_all_in_the_snapshot),
        MACHINE_TEST(one_snapshot_is_open_at_a_time),
        MACHINE_TEST(a_restore_that_fails_or_is_aborted_changes_nothing),
        MACHINE_TEST(damaged_objects_are_refused_and_never_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
