/* SPDX-License-Identifier: Apache-2.0 */
/* disk_test.c - what the virtual disk keeps and forgets.  [reliability of file systems: ALICE] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/min.h"
#include "sim/disk.h"

static struct kelp_fault fault;

static struct sim_disk *disk_of(uint64_t seed, uint32_t tear)
{
    struct sim_disk *d = sim_disk_new(seed, 1 << 20, tear);
    assert_non_null(d);
    return d;
}

static struct file *opened(struct disk p, const char *path, enum file_mode mode)
{
    struct file *f;
    fault = (struct kelp_fault){0};
    assert_int_equal(p.ops->open(p.state, path, mode, &f, &fault), KELP_OK);
    return f;
}

static void written(struct disk p, struct file *f, uint64_t offset, int byte, size_t len)
{
    uint8_t bytes[16384];
    assert_true(len <= sizeof bytes);
    memset(bytes, byte, len);
    struct kelp_bytes part = {bytes, len};
    assert_int_equal(p.ops->write(p.state, f, offset, &part, 1, &fault), KELP_OK);
}

static void synced(struct disk p, struct file *f)
{
    assert_int_equal(p.ops->sync(p.state, f, &fault), KELP_OK);
}

static void directory_synced(struct disk p, const char *path)
{
    assert_int_equal(p.ops->sync_dir(p.state, path, &fault), KELP_OK);
}

/* The bytes of a file, or -1 when there is no such file. */
static long content(struct disk p, const char *path, uint8_t *out, size_t size)
{
    struct file *f;
    size_t got;
    fault = (struct kelp_fault){0};
    if (p.ops->open(p.state, path, FILE_READ, &f, &fault) != KELP_OK) return -1;
    assert_int_equal(p.ops->read(p.state, f, 0, out, size, &got, &fault), KELP_OK);
    p.ops->close(p.state, f);
    return (long)got;
}

static void what_was_synced_survives_a_power_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_disk *d = disk_of(seed, 512);
        struct disk p = sim_disk_port(d);
        struct file *f = opened(p, "a", FILE_CREATE);
        written(p, f, 0, 'x', 3000);
        synced(p, f);
        directory_synced(p, "");
        written(p, f, 1000, 'y', 500);
        sim_disk_crash(d, SIM_CRASH_POWER);
        uint8_t bytes[4096];
        assert_int_equal(content(p, "a", bytes, sizeof bytes), 3000);
        for (size_t i = 0; i < 3000; i++) {
            /* Only sectors that were written again may differ, and only where they were. */
            if (i < 1000 || i >= 1500) assert_int_equal(bytes[i], 'x');
        }
        sim_disk_free(d);
    }
}

static void unsynced_sectors_are_each_kept_dropped_or_torn(void **state)
{
    (void)state;
    unsigned kept = 0, dropped = 0, torn = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_disk *d = disk_of(seed, 512);
        struct disk p = sim_disk_port(d);
        struct file *f = opened(p, "a", FILE_CREATE);
        written(p, f, 0, 'x', 4096);
        synced(p, f);
        directory_synced(p, "");
        written(p, f, 0, 'y', 4096);
        sim_disk_crash(d, SIM_CRASH_POWER);
        uint8_t bytes[4096];
        assert_int_equal(content(p, "a", bytes, sizeof bytes), 4096);
        for (size_t s = 0; s < 4096; s += 512) {
            size_t new = 0;
            for (size_t i = s; i < s + 512; i++)
                new += bytes[i] == 'y';
            kept += new == 512;
            dropped += new == 0;
            torn += new > 0 && new < 512;
        }
        sim_disk_free(d);
    }
    assert_true(kept > 50 && dropped > 50 && torn > 20);
}

/* Two copies of a few bytes each, far apart: what a tear may spoil, and zeros around it. */
static void a_tear_shows_and_may_spoil_two_places_at_once(void **state)
{
    (void)state;
    unsigned spoilt[3] = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *d = disk_of(seed, 4096);
        struct disk p = sim_disk_port(d);
        struct file *f = opened(p, "a", FILE_CREATE);
        written(p, f, 0, 0, 8192);
        synced(p, f);
        directory_synced(p, "");
        written(p, f, 100, 'x', 10);
        written(p, f, 4196, 'x', 10);
        sim_disk_crash(d, SIM_CRASH_POWER);
        uint8_t bytes[8192];
        assert_int_equal(content(p, "a", bytes, sizeof bytes), 8192);
        unsigned torn = 0;
        for (size_t copy = 0; copy < 8192; copy += 4096) {
            unsigned new = 0;
            for (size_t i = copy + 100; i < copy + 110; i++)
                new += bytes[i] == 'x';
            torn += new > 0 && new < 10;
        }
        spoilt[torn]++;
        sim_disk_free(d);
    }
    assert_true(spoilt[0] > 50 && spoilt[1] > 20 && spoilt[2] > 20);
}

static void with_large_units_a_block_is_kept_or_dropped_whole_or_cut_once(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_disk *d = disk_of(seed, 4096);
        struct disk p = sim_disk_port(d);
        struct file *f = opened(p, "a", FILE_CREATE);
        written(p, f, 0, 'x', 8192);
        synced(p, f);
        directory_synced(p, "");
        written(p, f, 0, 'y', 8192);
        sim_disk_crash(d, SIM_CRASH_POWER);
        uint8_t bytes[8192];
        assert_int_equal(content(p, "a", bytes, sizeof bytes), 8192);
        for (size_t block = 0; block < 8192; block += 4096) {
            unsigned changes = 0;
            for (size_t i = block + 1; i < block + 4096; i++)
                changes += bytes[i] != bytes[i - 1];
            assert_true(changes <= 1);
        }
        sim_disk_free(d);
    }
}

static void growth_that_was_not_synced_is_zeros_or_gone(void **state)
{
    (void)state;
    bool grew = false, stayed = false, zeros = false;
    for (uint64_t seed = 0; seed < 80; seed++) {
        struct sim_disk *d = disk_of(seed, 512);
        struct disk p = sim_disk_port(d);
        struct file *f = opened(p, "a", FILE_CREATE);
        written(p, f, 0, 'x', 512);
        synced(p, f);
        directory_synced(p, "");
        written(p, f, 512, 'y', 4096);
        sim_disk_crash(d, SIM_CRASH_POWER);
        uint8_t bytes[8192];
        long len = content(p, "a", bytes, sizeof bytes);
        assert_true(len >= 512 && len <= 4608);
        grew = grew || len == 4608;
        stayed = stayed || len == 512;
        for (long i = 512; i < len; i++) {
            assert_true(bytes[i] == 'y' || bytes[i] == 0);
            zeros = zeros || bytes[i] == 0;
        }
        sim_disk_free(d);
    }
    assert_true(grew && stayed && zeros);
}

static void a_killed_process_loses_nothing_yet_but_a_later_power_cut_may(void **state)
{
    (void)state;
    bool lost = false;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct sim_disk *d = disk_of(seed, 512);
        struct disk p = sim_disk_port(d);
        struct file *f = opened(p, "a", FILE_CREATE);
        directory_synced(p, "");
        written(p, f, 0, 'x', 512);
        sim_disk_crash(d, SIM_CRASH_PROCESS);
        uint8_t bytes[512];
        assert_int_equal(content(p, "a", bytes, sizeof bytes), 512);
        assert_int_equal(bytes[100], 'x');
        sim_disk_crash(d, SIM_CRASH_POWER);
        lost = lost || content(p, "a", bytes, sizeof bytes) < 512 || bytes[511] != 'x';
        sim_disk_free(d);
    }
    assert_true(lost);
}

static void a_name_is_durable_only_with_its_directory(void **state)
{
    (void)state;
    bool lost = false, kept = false;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct sim_disk *d = disk_of(seed, 512);
        struct disk p = sim_disk_port(d);
        struct file *f = opened(p, "a", FILE_CREATE);
        written(p, f, 0, 'x', 512);
        synced(p, f);
        sim_disk_crash(d, SIM_CRASH_POWER);
        uint8_t bytes[512];
        if (content(p, "a", bytes, sizeof bytes) == 512)
            kept = true;
        else
            lost = true;
        sim_disk_free(d);
    }
    assert_true(lost && kept);
}

static void renames_are_kept_or_undone_in_order(void **state)
{
    (void)state;
    unsigned seen[3] = {0};
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct sim_disk *d = disk_of(seed, 512);
        struct disk p = sim_disk_port(d);
        p.ops->close(p.state, opened(p, "a", FILE_CREATE));
        directory_synced(p, "");
        assert_int_equal(p.ops->rename(p.state, "a", "b", &fault), KELP_OK);
        assert_int_equal(p.ops->rename(p.state, "b", "c", &fault), KELP_OK);
        sim_disk_crash(d, SIM_CRASH_POWER);
        struct file_entry entries[4];
        size_t count;
        assert_int_equal(p.ops->list(p.state, "", entries, 4, &count, &fault), KELP_OK);
        assert_int_equal(count, 1);
        seen[entries[0].name[0] - 'a']++;
        sim_disk_free(d);
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
}

static void a_removed_file_may_come_back_until_its_directory_is_synced(void **state)
{
    (void)state;
    bool back = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_disk *d = disk_of(seed, 512);
        struct disk p = sim_disk_port(d);
        p.ops->close(p.state, opened(p, "a", FILE_CREATE));
        p.ops->close(p.state, opened(p, "b", FILE_CREATE));
        directory_synced(p, "");
        assert_int_equal(p.ops->remove(p.state, "a", &fault), KELP_OK);
        sim_disk_crash(d, SIM_CRASH_POWER);
        uint8_t bytes[8];
        back = back || content(p, "a", bytes, 8) == 0;
        fault = (struct kelp_fault){0};
        (void)p.ops->remove(p.state, "a", &fault);
        directory_synced(p, "");
        sim_disk_crash(d, SIM_CRASH_POWER);
        assert_int_equal(content(p, "a", bytes, 8), -1);
        assert_int_equal(content(p, "b", bytes, 8), 0);
        sim_disk_free(d);
    }
    assert_true(back);
}

static void a_failed_sync_leaves_the_page_cache_lying(void **state)
{
    (void)state;
    struct sim_disk *d = disk_of(1, 512);
    struct disk p = sim_disk_port(d);
    struct file *f = opened(p, "a", FILE_CREATE);
    written(p, f, 0, 'x', 512);
    synced(p, f);
    directory_synced(p, "");
    written(p, f, 0, 'y', 512);
    sim_disk_fail_sync(d, SIM_FAILS_KEEPING);
    assert_int_equal(p.ops->sync(p.state, f, &fault), KELP_E_IO);
    fault = (struct kelp_fault){0};
    synced(p, f); /* says OK, and has nothing left to write */
    uint8_t bytes[512];
    assert_int_equal(content(p, "a", bytes, sizeof bytes), 512);
    assert_int_equal(bytes[0], 'y');
    sim_disk_crash(d, SIM_CRASH_POWER);
    assert_int_equal(content(p, "a", bytes, sizeof bytes), 512);
    assert_int_equal(bytes[0], 'x');
    sim_disk_free(d);
}

static void a_used_up_budget_fails_every_later_call(void **state)
{
    (void)state;
    struct sim_disk *d = disk_of(1, 512);
    struct disk p = sim_disk_port(d);
    struct file *f = opened(p, "a", FILE_CREATE);
    sim_disk_budget(d, 1);
    written(p, f, 0, 'x', 512);
    assert_true(sim_disk_dead(d));
    assert_int_equal(p.ops->sync(p.state, f, &fault), KELP_E_IO);
    size_t got;
    uint8_t byte;
    assert_int_equal(p.ops->read(p.state, f, 0, &byte, 1, &got, &fault), KELP_E_IO);
    sim_disk_crash(d, SIM_CRASH_PROCESS);
    assert_false(sim_disk_dead(d));
    assert_int_equal(content(p, "a", &byte, 1), 1);
    sim_disk_free(d);
}

static void a_node_may_die_at_a_sync_with_all_before_it_written(void **state)
{
    (void)state;
    struct sim_disk *d = disk_of(3, 512);
    struct disk p = sim_disk_port(d);
    struct file *f = opened(p, "a", FILE_CREATE);
    sim_disk_dies_at_sync(d, 2);
    written(p, f, 0, 'x', 10);
    synced(p, f);
    written(p, f, 10, 'y', 10);
    assert_false(sim_disk_dead(d));
    assert_int_equal(p.ops->sync_dir(p.state, "", &fault), KELP_E_IO);
    assert_true(sim_disk_dead(d));
    assert_int_equal(p.ops->sync(p.state, f, &fault), KELP_E_IO);
    sim_disk_crash(d, SIM_CRASH_PROCESS);
    uint8_t bytes[64];
    assert_int_equal(content(p, "a", bytes, sizeof bytes), 20);
    directory_synced(p, ""); /* and it is over */
    directory_synced(p, "");
    sim_disk_free(d);
}

static void a_full_disk_refuses_growth_only(void **state)
{
    (void)state;
    struct sim_disk *d = sim_disk_new(1, 8192, 512);
    struct disk p = sim_disk_port(d);
    struct file *f = opened(p, "a", FILE_CREATE);
    written(p, f, 0, 'x', 8192);
    struct kelp_bytes part = {(const uint8_t *)"y", 1};
    assert_int_equal(p.ops->write(p.state, f, 8192, &part, 1, &fault), KELP_E_NO_SPACE);
    assert_int_equal(p.ops->write(p.state, f, 10, &part, 1, &fault), KELP_OK);
    uint64_t room = 1;
    assert_int_equal(p.ops->space(p.state, &room, &fault), KELP_OK);
    assert_int_equal(room, 0);
    sim_disk_free(d);
}

static void a_lock_is_held_until_the_process_dies(void **state)
{
    (void)state;
    struct sim_disk *d = disk_of(1, 512);
    struct disk p = sim_disk_port(d);
    struct file *lock, *again;
    assert_int_equal(p.ops->lock(p.state, "lock", &lock, &fault), KELP_OK);
    assert_int_equal(p.ops->lock(p.state, "lock", &again, &fault), KELP_E_LOCKED);
    sim_disk_crash(d, SIM_CRASH_PROCESS);
    fault = (struct kelp_fault){0};
    assert_int_equal(p.ops->lock(p.state, "lock", &again, &fault), KELP_OK);
    sim_disk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_survives_a_power_cut),
        cmocka_unit_test(unsynced_sectors_are_each_kept_dropped_or_torn),
        cmocka_unit_test(a_tear_shows_and_may_spoil_two_places_at_once),
        cmocka_unit_test(with_large_units_a_block_is_kept_or_dropped_whole_or_cut_once),
        cmocka_unit_test(growth_that_was_not_synced_is_zeros_or_gone),
        cmocka_unit_test(a_killed_process_loses_nothing_yet_but_a_later_power_cut_may),
        cmocka_unit_test(a_name_is_durable_only_with_its_directory),
        cmocka_unit_test(renames_are_kept_or_undone_in_order),
        cmocka_unit_test(a_removed_file_may_come_back_until_its_directory_is_synced),
        cmocka_unit_test(a_failed_sync_leaves_the_page_cache_lying),
        cmocka_unit_test(a_used_up_budget_fails_every_later_call),
        cmocka_unit_test(a_node_may_die_at_a_sync_with_all_before_it_written),
        cmocka_unit_test(a_full_disk_refuses_growth_only),
        cmocka_unit_test(a_lock_is_held_until_the_process_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
