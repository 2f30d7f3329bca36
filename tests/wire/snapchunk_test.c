/* SPDX-License-Identifier: Apache-2.0 */
/* snapchunk_test.c - objects survive their chunk, and a chunk that is damaged, cut or somewhere
 * else is seen. */
#include "golden.h"

#include "wire/snapchunk.h"

static uint8_t chunk[WIRE_SNAPCHUNK_BYTES_MAX];
static const struct wire_snapplace place = {.pos = {.term = {3}, .index = 9}, .offset = 64};

static size_t object_add(size_t at, enum wire_object_kind kind, const char *text)
{
    wire_object_head(chunk + at, kind, strlen(text));
    memcpy(chunk + at + WIRE_OBJECT_HEAD, text, strlen(text));
    return at + WIRE_OBJECT_HEAD + strlen(text);
}

static size_t sample(void)
{
    size_t len = object_add(WIRE_SNAPCHUNK_HEAD, WIRE_OBJECT_MACHINE, "one");
    len = object_add(len, WIRE_OBJECT_MACHINE, "three");
    wire_snapchunk_seal(chunk, len, 2, place);
    return len;
}

static enum kelp_error opened(size_t len, struct wire_snapplace at)
{
    struct wire_snapchunk out;
    size_t used;
    return wire_snapchunk_open(bytes_of(chunk, len), at, &out, &used, NULL);
}

static void a_chunk_has_its_golden_bytes(void **state)
{
    (void)state;
    size_t len = sample();
    golden_check(chunk, 16, "2a000000 02000000 00 00000000000000");
    golden_check(chunk + WIRE_SNAPCHUNK_HEAD, len - WIRE_SNAPCHUNK_HEAD,
                 "03000000 01 6f6e65 05000000 01 7468726565");
}

static void the_objects_of_a_chunk_come_in_order(void **state)
{
    (void)state;
    size_t len = sample(), used;
    struct wire_snapchunk c;
    struct wire_object o;
    assert_int_equal(wire_snapchunk_open(bytes_of(chunk, len + 7), place, &c, &used, NULL), 0);
    assert_int_equal(used, len); /* what follows is another's */
    assert_int_equal(c.objects, 2);
    assert_int_equal(wire_object_next(&c, &o, NULL), KELP_OK);
    assert_true(bytes_equal(o.bytes, BYTES_LITERAL("one")));
    assert_int_equal(wire_object_next(&c, &o, NULL), KELP_OK);
    assert_true(bytes_equal(o.bytes, BYTES_LITERAL("three")));
    assert_int_equal(wire_object_next(&c, &o, NULL), KELP_E_NOT_FOUND);
}

static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    size_t len = sample();
    for (size_t bit = 0; bit < len * 8; bit++) {
        chunk[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(opened(len, place), KELP_OK);
        chunk[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(opened(len, place), KELP_OK);
}

static void a_cut_chunk_is_not_a_chunk(void **state)
{
    (void)state;
    size_t len = sample();
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(opened(cut, place), KELP_E_MORE);
}

static void a_chunk_of_another_snapshot_or_place_is_damage(void **state)
{
    (void)state;
    size_t len = sample();
    struct wire_snapplace other = place;
    other.offset = 0;
    assert_int_equal(opened(len, other), KELP_E_CORRUPT);
    other = place;
    other.pos.index++;
    assert_int_equal(opened(len, other), KELP_E_CORRUPT);
    other = place;
    other.pos.term.v++;
    assert_int_equal(opened(len, other), KELP_E_CORRUPT);
}

static enum kelp_error walked(size_t len)
{
    struct wire_snapchunk c;
    struct wire_object o;
    size_t used;
    enum kelp_error error = wire_snapchunk_open(bytes_of(chunk, len), place, &c, &used, NULL);
    while (error == KELP_OK)
        error = wire_object_next(&c, &o, NULL);
    return error;
}

static void objects_that_do_not_add_up_are_refused(void **state)
{
    (void)state;
    size_t len = sample();
    assert_int_equal(walked(len), KELP_E_NOT_FOUND); /* to the end */
    wire_snapchunk_seal(chunk, len, 1, place);
    assert_int_equal(walked(len), KELP_E_MALFORMED);
    wire_snapchunk_seal(chunk, len, 3, place);
    assert_int_equal(walked(len), KELP_E_MALFORMED);
    wire_snapchunk_seal(chunk, len - 1, 2, place);
    assert_int_equal(walked(len - 1), KELP_E_MALFORMED);
    (void)object_add(WIRE_SNAPCHUNK_HEAD, WIRE_OBJECT_SESSION, "one");
    wire_snapchunk_seal(chunk, len, 2, place);
    assert_int_equal(walked(len), KELP_E_NOT_FOUND);
    (void)object_add(WIRE_SNAPCHUNK_HEAD, (enum wire_object_kind)3, "one");
    wire_snapchunk_seal(chunk, len, 2, place);
    assert_int_equal(walked(len), KELP_E_VERSION);
    put_u32(chunk + WIRE_SNAPCHUNK_HEAD, WIRE_OBJECT_BYTES_MAX + 1);
    wire_snapchunk_seal(chunk, len, 2, place);
    assert_int_equal(walked(len), KELP_E_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_has_its_golden_bytes),
        cmocka_unit_test(the_objects_of_a_chunk_come_in_order),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(a_cut_chunk_is_not_a_chunk),
        cmocka_unit_test(a_chunk_of_another_snapshot_or_place_is_damage),
        cmocka_unit_test(objects_that_do_not_add_up_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
