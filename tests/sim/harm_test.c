/* SPDX-License-Identifier: Apache-2.0 */
/* harm_test.c - what the virtual disk does wrong on purpose, and where it may not.  [harm.c] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sim/disk.h"

#define PAGE    4096u
#define PAGES   8u
#define SEGMENT "log/00000000000000000001.seg"

static struct sim_disk *d;
static struct disk p;
static struct file *f;
static struct kelp_fault fault;
static uint8_t all[PAGES * PAGE];

static int set_up(void **state)
{
    (void)state;
    d = sim_disk_new(7, 1 << 20, 4096);
    if (d == NULL) return -1;
    p = sim_disk_port(d);
    fault = (struct kelp_fault){0};
    return p.ops->make_dir(p.state, "log", &fault) == KELP_OK &&
                   p.ops->sync_dir(p.state, "", &fault) == KELP_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    sim_disk_free(d);
    return 0;
}

static void made(const char *path)
{
    assert_int_equal(p.ops->open(p.state, path, FILE_CREATE, &f, &fault), KELP_OK);
    assert_int_equal(p.ops->sync_dir(p.state, "", &fault), KELP_OK);
    assert_int_equal(p.ops->sync_dir(p.state, "log", &fault), KELP_OK);
}

static enum kelp_error write_page(unsigned page, int byte)
{
    static uint8_t bytes[PAGE];
    memset(bytes, byte, sizeof bytes);
    struct kelp_bytes part = {bytes, sizeof bytes};
    return p.ops->write(p.state, f, page * PAGE, &part, 1, &fault);
}

static void written(unsigned page, int byte)
{
    assert_int_equal(write_page(page, byte), KELP_OK);
}

static void synced(void)
{
    assert_int_equal(p.ops->sync(p.state, f, &fault), KELP_OK);
}

/* What a process that starts now reads; how many pages. */
static size_t pages(const char *path)
{
    size_t got;
    struct file *g;
    assert_int_equal(p.ops->open(p.state, path, FILE_READ, &g, &fault), KELP_OK);
    assert_int_equal(p.ops->read(p.state, g, 0, all, sizeof all, &got, &fault), KELP_OK);
    p.ops->close(p.state, g);
    return got / PAGE;
}

static void page_is(unsigned page, int byte)
{
    for (unsigned i = 0; i < PAGE; i++)
        assert_int_equal(all[page * PAGE + i], byte);
}

static unsigned bits_unlike(unsigned page, int byte)
{
    unsigned count = 0;
    for (unsigned i = 0; i < PAGE; i++)
        count += (unsigned)__builtin_popcount((unsigned)(all[page * PAGE + i] ^ byte));
    return count;
}

/* ---- rot ---- */

static void rot_turns_one_bit_over(void **state)
{
    (void)state;
    made("vote");
    written(0, 'a');
    written(1, 'b');
    synced();
    struct sim_disk_aim aim = {.part = SIM_PART_VOTE, .place = 1, .bit = 77};
    struct sim_disk_hit hit;
    assert_true(sim_disk_rot(d, &aim, &hit));
    assert_string_equal(hit.path, "vote");
    assert_int_equal(hit.offset / PAGE, 1);
    assert_int_equal(pages("vote"), 2);
    page_is(0, 'a');
    assert_int_equal(bits_unlike(1, 'b'), 1);
}

static void rot_behind_the_page_cache_shows_after_a_power_cut(void **state)
{
    (void)state;
    made("vote");
    written(0, 'a');
    synced();
    struct sim_disk_aim aim = {.part = SIM_PART_VOTE, .cached = true};
    struct sim_disk_hit hit;
    assert_true(sim_disk_rot(d, &aim, &hit));
    (void)pages("vote");
    page_is(0, 'a');
    sim_disk_crash(d, SIM_CRASH_POWER);
    (void)pages("vote");
    assert_int_equal(bits_unlike(0, 'a'), 1);
}

/* Nothing behind it proves the last write of a log, so its loss could be a torn tail. */
static void rot_spares_the_last_write_of_a_log(void **state)
{
    (void)state;
    made(SEGMENT);
    for (unsigned page = 0; page < 4; page++) {
        written(page, 'a');
        synced();
    }
    for (uint32_t place = 0; place < 64; place++) {
        struct sim_disk_aim aim = {.part = SIM_PART_LOG, .place = place, .bit = place * 5};
        struct sim_disk_hit hit;
        assert_true(sim_disk_rot(d, &aim, &hit));
        assert_true(hit.offset < 3 * PAGE);
    }
}

/* A log file in use, in which what is synced behind its last write proves nothing about it. */
static void in_use(void)
{
    made("log/spare-1.seg");
    assert_int_equal(p.ops->rename(p.state, "log/spare-1.seg", SEGMENT, &fault), KELP_OK);
    assert_int_equal(p.ops->sync_dir(p.state, "log", &fault), KELP_OK);
    for (unsigned page = 0; page < 4; page++) {
        written(page, 'a');
        synced();
    }
}

static void zeros_and_a_new_head_do_not_prove_the_last_write_of_a_log(void **state)
{
    (void)state;
    in_use();
    written(5, 0);
    synced();
    written(0, 'h');
    synced();
    for (uint32_t place = 0; place < 64; place++) {
        struct sim_disk_aim aim = {.part = SIM_PART_LOG, .place = place, .bit = place * 5};
        struct sim_disk_hit hit;
        assert_true(sim_disk_rot(d, &aim, &hit));
        assert_true(hit.offset < 3 * PAGE);
    }
}

static void a_lost_write_of_a_log_shows_with_the_next_write_not_with_zeros(void **state)
{
    (void)state;
    in_use();
    struct sim_disk_aim aim = {.part = SIM_PART_LOG};
    struct sim_disk_hit hit;
    assert_true(sim_disk_lose(d, &aim, &hit));
    written(4, 'b');
    synced();
    written(6, 0);
    synced();
    sim_disk_behave(d);
    (void)pages(SEGMENT);
    page_is(4, 'b');
    written(5, 'c');
    synced();
    sim_disk_crash(d, SIM_CRASH_POWER);
    assert_int_equal(pages(SEGMENT), 7);
    page_is(4, 0);
    page_is(5, 'c');
}

static void mild_rot_hits_only_the_first_copy_and_what_was_never_written(void **state)
{
    (void)state;
    made(SEGMENT);
    for (unsigned page = 0; page < 4; page++)
        written(page, 'a');
    for (unsigned page = 4; page < PAGES; page++)
        written(page, 0);
    synced();
    for (uint32_t place = 0; place < 64; place++) {
        struct sim_disk_aim aim = {.part = SIM_PART_LOG, .mild = true, .place = place % 5};
        struct sim_disk_hit hit;
        assert_true(sim_disk_rot(d, &aim, &hit));
        assert_true(hit.offset < PAGE || hit.offset >= 4 * PAGE);
    }
}

static void there_is_no_rot_without_a_file(void **state)
{
    (void)state;
    struct sim_disk_aim aim = {.part = SIM_PART_SNAPSHOT};
    struct sim_disk_hit hits[2];
    assert_false(sim_disk_rot(d, &aim, &hits[0]));
    assert_false(sim_disk_lose(d, &aim, &hits[0]));
    assert_false(sim_disk_stray(d, &aim, &aim, hits));
}

/* ---- writes ---- */

static void a_lost_write_is_lost_once_a_later_one_has_arrived(void **state)
{
    (void)state;
    made(SEGMENT);
    written(0, 'a');
    synced();
    struct sim_disk_aim aim = {.part = SIM_PART_LOG};
    struct sim_disk_hit hit;
    assert_true(sim_disk_lose(d, &aim, &hit));
    assert_string_equal(hit.path, SEGMENT);
    written(1, 'b');
    synced();
    written(2, 'c');
    synced();
    sim_disk_crash(d, SIM_CRASH_POWER);
    assert_int_equal(pages(SEGMENT), 3);
    page_is(0, 'a');
    page_is(1, 0);
    page_is(2, 'c');
}

static void a_lost_write_with_nothing_behind_it_arrives(void **state)
{
    (void)state;
    made(SEGMENT);
    struct sim_disk_aim aim = {.part = SIM_PART_LOG};
    struct sim_disk_hit hit;
    assert_true(sim_disk_lose(d, &aim, &hit));
    written(0, 'a');
    synced();
    sim_disk_crash(d, SIM_CRASH_POWER);
    assert_int_equal(pages(SEGMENT), 1);
    page_is(0, 'a');
}

static void a_stray_write_stands_at_the_other_place(void **state)
{
    (void)state;
    made("vote");
    written(0, 'v');
    synced();
    p.ops->close(p.state, f);
    made(SEGMENT);
    written(0, 'a');
    synced();
    struct sim_disk_aim from = {.part = SIM_PART_LOG}, to = {.part = SIM_PART_VOTE};
    struct sim_disk_hit hits[2];
    assert_true(sim_disk_stray(d, &from, &to, hits));
    assert_string_equal(hits[1].path, "vote");
    written(1, 'b');
    synced();
    (void)pages("vote");
    page_is(0, 'v'); /* nobody can know yet */
    written(2, 'c');
    synced();
    (void)pages("vote");
    page_is(0, 'b');
    sim_disk_crash(d, SIM_CRASH_POWER);
    (void)pages(SEGMENT);
    page_is(1, 0);
}

static void a_failed_write_leaves_some_first_part(void **state)
{
    (void)state;
    made("vote");
    written(0, 'a');
    sim_disk_fail_write(d);
    assert_int_equal(write_page(0, 'b'), KELP_E_IO);
    (void)pages("vote");
    unsigned last = PAGE;
    while (last > 0 && all[last - 1] == 'a')
        last--;
    for (unsigned i = 0; i < last; i++)
        assert_int_equal(all[i], 'b');
    written(0, 'c'); /* only that one failed */
}

static void a_failed_sync_may_go_back_to_the_old_bytes(void **state)
{
    (void)state;
    made("vote");
    written(0, 'a');
    synced();
    written(0, 'b');
    written(1, 'b');
    sim_disk_fail_sync(d, SIM_FAILS_GOING_BACK);
    assert_int_equal(p.ops->sync(p.state, f, &fault), KELP_E_IO);
    (void)pages("vote");
    page_is(0, 'a');
    page_is(1, 0);
}

static void a_failed_sync_may_drop_pages_one_by_one(void **state)
{
    (void)state;
    unsigned old = 0;
    made("vote");
    for (unsigned page = 0; page < PAGES; page++)
        written(page, 'a');
    synced();
    for (unsigned page = 0; page < PAGES; page++)
        written(page, 'b');
    sim_disk_fail_sync(d, SIM_FAILS_DROPPING);
    assert_int_equal(p.ops->sync(p.state, f, &fault), KELP_E_IO);
    (void)pages("vote");
    for (unsigned page = 0; page < PAGES; page++) {
        old += all[page * PAGE] == 'a';
        page_is(page, all[page * PAGE] == 'a' ? 'a' : 'b');
    }
    assert_true(old > 0 && old < PAGES);
}

/* ---- reads ---- */

static void a_failed_read_fails_once(void **state)
{
    (void)state;
    made("vote");
    written(0, 'a');
    sim_disk_fail_read(d);
    size_t got;
    assert_int_equal(p.ops->read(p.state, f, 0, all, PAGE, &got, &fault), KELP_E_IO);
    fault = (struct kelp_fault){0};
    assert_int_equal(p.ops->read(p.state, f, 0, all, PAGE, &got, &fault), KELP_OK);
}

static void a_stray_read_brings_another_page_once(void **state)
{
    (void)state;
    made(SEGMENT);
    for (unsigned page = 0; page < 3; page++) {
        written(page, 'a' + (int)page);
        synced();
    }
    sim_disk_misread(d);
    assert_int_equal(pages(SEGMENT), 3);
    page_is(0, 'b');
    page_is(1, 'b');
    (void)pages(SEGMENT);
    page_is(0, 'a');
}

/* ---- power cuts ---- */

static void without_order_a_later_name_may_outlive_an_earlier_one(void **state)
{
    (void)state;
    unsigned later_only = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim_disk *e = sim_disk_new(seed, 1 << 20, 4096);
        struct disk q = sim_disk_port(e);
        struct file *g;
        sim_disk_habits(e, false, true);
        assert_int_equal(q.ops->open(q.state, "first", FILE_CREATE, &g, &fault), KELP_OK);
        assert_int_equal(q.ops->open(q.state, "later", FILE_CREATE, &g, &fault), KELP_OK);
        sim_disk_crash(e, SIM_CRASH_POWER);
        bool first = q.ops->open(q.state, "first", FILE_READ, &g, &fault) == KELP_OK;
        bool later = q.ops->open(q.state, "later", FILE_READ, &g, &fault) == KELP_OK;
        later_only += later && !first;
        fault = (struct kelp_fault){0};
        sim_disk_free(e);
    }
    assert_true(later_only > 0);
}

static void a_garbled_sector_may_hold_anything(void **state)
{
    (void)state;
    unsigned strange = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        sim_disk_free(d);
        d = sim_disk_new(seed, 1 << 20, 4096);
        p = sim_disk_port(d);
        sim_disk_habits(d, true, false);
        made("vote");
        written(0, 'a');
        synced();
        written(0, 'b');
        sim_disk_crash(d, SIM_CRASH_POWER);
        (void)pages("vote");
        for (unsigned i = 0; i < PAGE; i++)
            strange += all[i] != 'a' && all[i] != 'b';
    }
    assert_true(strange > 100);
}

#define HARM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HARM_TEST(rot_turns_one_bit_over),
        HARM_TEST(rot_behind_the_page_cache_shows_after_a_power_cut),
        HARM_TEST(rot_spares_the_last_write_of_a_log),
        HARM_TEST(zeros_and_a_new_head_do_not_prove_the_last_write_of_a_log),
        HARM_TEST(a_lost_write_of_a_log_shows_with_the_next_write_not_with_zeros),
        HARM_TEST(mild_rot_hits_only_the_first_copy_and_what_was_never_written),
        HARM_TEST(there_is_no_rot_without_a_file),
        HARM_TEST(a_lost_write_is_lost_once_a_later_one_has_arrived),
        HARM_TEST(a_lost_write_with_nothing_behind_it_arrives),
        HARM_TEST(a_stray_write_stands_at_the_other_place),
        HARM_TEST(a_failed_write_leaves_some_first_part),
        HARM_TEST(a_failed_sync_may_go_back_to_the_old_bytes),
        HARM_TEST(a_failed_sync_may_drop_pages_one_by_one),
        HARM_TEST(a_failed_read_fails_once),
        HARM_TEST(a_stray_read_brings_another_page_once),
        HARM_TEST(without_order_a_later_name_may_outlive_an_earlier_one),
        HARM_TEST(a_garbled_sector_may_hold_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
