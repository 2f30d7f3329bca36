/* SPDX-License-Identifier: Apache-2.0 */
/* draw_test.c - choices from bytes: zeros are mild, any bytes are a case, and what a seed expanded
 * to gives the same run when it is played again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sim/draw.h"
#include "sim/run.h"

#define SECOND ((kelp_ns)1000000000)

static struct kelp_sim_report report, again;

static struct draw finite(const uint8_t *bytes, size_t len)
{
    return (struct draw){.bytes = bytes, .len = len, .finite = true};
}

static void case_begin(struct draw_case *c)
{
    assert_true(draw_case_read(c, NULL, 0));
}

static void zeros_are_the_mildest_choice(void **state)
{
    (void)state;
    struct draw d = finite(NULL, 0);
    assert_int_equal(draw_below(&d, 7), 0);
    assert_int_equal(draw_below(&d, 70000), 0);
    assert_int_equal(draw_below(&d, (uint64_t)1 << 40), 0);
    assert_int_equal(draw_between(&d, 3, 9), 3);
    assert_false(draw_chance(&d, 1, 2));
    assert_false(draw_chance(&d, 15, 16));
    assert_true(draw_chance(&d, 3, 3)); /* what is certain stays so */
    assert_false(draw_more(&d));
}

static void a_draw_stays_in_its_range_and_reaches_both_ends(void **state)
{
    (void)state;
    struct draw d = {.expand = {11}};
    const uint64_t bounds[] = {2, 3, 256, 257, 65537};
    for (unsigned b = 0; b < 5; b++) {
        uint64_t low = UINT64_MAX, high = 0, n = bounds[b];
        for (unsigned i = 0; i < 40000; i++) {
            uint64_t value = draw_below(&d, n);
            assert_true(value < n);
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        assert_true(low < 1 + n / 100 && high >= n - 1 - n / 100);
    }
}

static void a_record_ends_where_the_next_one_begins(void **state)
{
    (void)state;
    uint8_t bytes[3 * DRAW_RECORD_BYTES], room[DRAW_RECORD_BYTES];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    struct draw d = finite(bytes, sizeof bytes);
    for (unsigned i = 0; i < 3; i++) {
        struct draw record = draw_record(&d, room);
        assert_int_equal(draw_bytes(&record, 1), i * DRAW_RECORD_BYTES);
        for (unsigned k = 0; k < 40; k++)
            (void)draw_bytes(&record, 1);
        assert_int_equal(draw_bytes(&record, 4), 0);
    }
    assert_false(draw_more(&d));
}

static void any_bytes_are_a_case_and_packing_loses_nothing(void **state)
{
    (void)state;
    struct prng prng = {3};
    for (unsigned round = 0; round < 300; round++) {
        uint8_t bytes[600];
        size_t len = (size_t)prng_below(&prng, sizeof bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = prng_chance(&prng, 1, 3) ? (uint8_t)prng_next(&prng) : 0;
        struct draw_case c, back;
        struct buf packed;
        buf_init(&packed, CASE_BYTES_MAX);
        assert_true(draw_case_read(&c, bytes, len));
        assert_true(draw_case_write(&c, &packed));
        assert_true(draw_case_read(&back, packed.data, packed.len));
        for (unsigned s = 0; s < STREAM_COUNT; s++) {
            size_t both =
                c.streams[s].len < back.streams[s].len ? c.streams[s].len : back.streams[s].len;
            if (both > 0) assert_memory_equal(c.streams[s].data, back.streams[s].data, both);
            for (size_t i = both; i < c.streams[s].len; i++)
                assert_int_equal(c.streams[s].data[i], 0); /* only zeros may be left out */
            if (s == STREAM_FAULT) assert_int_equal(c.streams[s].len, back.streams[s].len);
        }
        draw_case_free(&c);
        draw_case_free(&back);
        buf_close(&packed);
    }
}

static void a_case_that_unpacks_to_too_much_is_refused(void **state)
{
    (void)state;
    static uint8_t bytes[16 * 1024];
    memset(bytes, 0xff, sizeof bytes);
    struct draw_case c;
    assert_false(draw_case_read(&c, bytes, sizeof bytes));
    struct kelp_sim_options o = kelp_sim_options_default();
    o.choices = bytes_of(bytes, sizeof bytes);
    assert_false(kelp_sim_run(0, &o, &report));
    assert_string_equal(report.invariant, "options");
}

static void what_a_seed_expands_to_is_the_same_run_when_played_again(void **state)
{
    (void)state;
    struct kelp_sim_options o = kelp_sim_options_default();
    o.hurt = 10 * SECOND;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct draw_case kept;
        case_begin(&kept);
        assert_true(sim_run(seed, &o, &(struct sim_play){.keep = &kept}, &report));
        assert_true(kelp_sim_run(seed, &o, &again));
        assert_int_equal(report.hash, again.hash);
        struct buf packed;
        buf_init(&packed, CASE_BYTES_MAX);
        assert_true(draw_case_write(&kept, &packed));
        struct kelp_sim_options play = o;
        play.choices = buf_bytes(&packed);
        assert_true(kelp_sim_run(seed + 1000, &play, &again));
        assert_int_equal(report.hash, again.hash);
        assert_int_equal(report.events, again.events);
        buf_close(&packed);
        draw_case_free(&kept);
    }
}

static void no_bytes_are_a_run_without_faults_that_heals_at_once(void **state)
{
    (void)state;
    struct kelp_sim_options o = kelp_sim_options_default();
    o.choices = BYTES_LITERAL("");
    if (!kelp_sim_run(0, &o, &report)) print_message("%s%s\n", report.story, report.message);
    assert_true(report.passed);
    assert_int_equal(report.faults, 0);
    assert_true(report.done > 0 && report.simulated < 30 * SECOND);
}

static void a_prefix_of_a_case_is_a_smaller_run(void **state)
{
    (void)state;
    struct kelp_sim_options o = kelp_sim_options_default();
    struct draw_case kept;
    case_begin(&kept);
    assert_true(sim_run(7, &o, &(struct sim_play){.keep = &kept}, &report));
    kelp_ns before = report.simulated;
    size_t records = kept.streams[STREAM_FAULT].len / DRAW_RECORD_BYTES;
    assert_true(records > 20);
    for (size_t left = records / 2; left > 0; left /= 2) {
        kept.streams[STREAM_FAULT].len = left * DRAW_RECORD_BYTES;
        assert_true(sim_run(7, &o, &(struct sim_play){.choices = &kept}, &again));
        if (again.renewals > 0)
            continue; /* a recovery by hand comes behind all that, and is long */
        assert_true(again.simulated <= before + 10 * SECOND); /* healing takes its own time */
        before = again.simulated;
    }
    assert_true(before < 20 * SECOND);
    draw_case_free(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeros_are_the_mildest_choice),
        cmocka_unit_test(a_draw_stays_in_its_range_and_reaches_both_ends),
        cmocka_unit_test(a_record_ends_where_the_next_one_begins),
        cmocka_unit_test(any_bytes_are_a_case_and_packing_loses_nothing),
        cmocka_unit_test(a_case_that_unpacks_to_too_much_is_refused),
        cmocka_unit_test(what_a_seed_expands_to_is_the_same_run_when_played_again),
        cmocka_unit_test(no_bytes_are_a_run_without_faults_that_heals_at_once),
        cmocka_unit_test(a_prefix_of_a_case_is_a_smaller_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
