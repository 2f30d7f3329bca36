/* SPDX-License-Identifier: Apache-2.0 */
/* file_test.c - the file port on a real directory: each call does what the table promises. */
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"

struct fixture {
    char root[64];
    struct disk disk;
    struct kelp_fault fault;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return 1;
    (void)snprintf(f->root, sizeof f->root, "/tmp/kelp-file-test-XXXXXX");
    if (mkdtemp(f->root) == NULL) return 1;
    *state = f;
    return posix_disk(f->root, &f->disk, &f->fault) == KELP_OK ? 0 : 1;
}

static void remove_all(const struct disk *disk, const char *dir)
{
    static struct file_entry rows[64];
    size_t count = 0;
    struct kelp_fault fault = {0};
    if (disk->ops->list(disk->state, dir, rows, 64, &count, &fault) != KELP_OK) return;
    for (size_t i = 0; i < count && i < 64; i++) {
        char path[2 * FILE_NAME_MAX];
        const char *slash = dir[0] != '\0' ? "/" : "";
        (void)snprintf(path, sizeof path, "%s%s%.95s", dir, slash, rows[i].name);
        if (!rows[i].directory) (void)disk->ops->remove(disk->state, path, &fault);
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    remove_all(&f->disk, "sub");
    remove_all(&f->disk, "");
    char path[128];
    (void)snprintf(path, sizeof path, "%s/sub", f->root);
    (void)rmdir(path);
    posix_disk_close(&f->disk);
    int left = rmdir(f->root);
    free(f);
    return left;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static struct file *open_file(struct fixture *f, const char *path, enum file_mode mode)
{
    struct file *file = NULL;
    enum kelp_error error = f->disk.ops->open(f->disk.state, path, mode, &file, &f->fault);
    if (error != KELP_OK) fail_msg("%s: %s", f->fault.where, f->fault.what);
    return file;
}

static void what_is_written_is_read_back(void **state)
{
    struct fixture *f = *state;
    struct file *file = open_file(f, "a", FILE_CREATE);
    struct kelp_bytes parts[] = {BYTES_LITERAL("one "), BYTES_LITERAL(""), BYTES_LITERAL("two"),
                                 BYTES_LITERAL("")};
    assert_int_equal(f->disk.ops->write(f->disk.state, file, 10, parts, 4, &f->fault), KELP_OK);
    assert_int_equal(f->disk.ops->sync(f->disk.state, file, &f->fault), KELP_OK);
    uint64_t size;
    assert_int_equal(f->disk.ops->size(f->disk.state, file, &size, &f->fault), KELP_OK);
    assert_int_equal(size, 17);
    uint8_t out[32];
    size_t got;
    assert_int_equal(f->disk.ops->read(f->disk.state, file, 8, out, sizeof out, &got, &f->fault),
                     KELP_OK);
    assert_int_equal(got, 9); /* the end of the file */
    assert_memory_equal(out, "\0\0one two", 9);
    assert_int_equal(f->disk.ops->truncate(f->disk.state, file, 12, &f->fault), KELP_OK);
    assert_int_equal(f->disk.ops->read(f->disk.state, file, 10, out, 32, &got, &f->fault), KELP_OK);
    assert_int_equal(got, 2);
    f->disk.ops->close(f->disk.state, file);
    f->disk.ops->close(f->disk.state, NULL);
}

static void more_parts_than_the_system_takes_at_once_are_written(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 5000 };
    static struct kelp_bytes parts[COUNT];
    static uint8_t bytes[COUNT * 3], out[COUNT * 3 + 1];
    size_t len = 0;
    for (size_t i = 0; i < COUNT; i++) {
        parts[i] = bytes_of(bytes + len, i % 4); /* some are empty */
        for (size_t k = 0; k < i % 4; k++)
            bytes[len++] = (uint8_t)(i * 31 + k);
    }
    struct file *file = open_file(f, "a", FILE_CREATE_ANY);
    assert_int_equal(f->disk.ops->write(f->disk.state, file, 0, parts, COUNT, &f->fault), KELP_OK);
    size_t got;
    assert_int_equal(f->disk.ops->read(f->disk.state, file, 0, out, sizeof out, &got, &f->fault),
                     KELP_OK);
    assert_int_equal(got, len);
    assert_memory_equal(out, bytes, len);
    f->disk.ops->close(f->disk.state, file);
}

/* Whole blocks go past the page cache where that can be, and what is read must not show it. */
static void whole_blocks_and_other_bytes_mix_in_one_file(void **state)
{
    struct fixture *f = *state;
    const struct file_ops *ops = f->disk.ops;
    enum { BLOCK = 4096, BLOCKS = 160 };
    struct file *file = NULL;
    assert_int_equal(ops->open(f->disk.state, "mixed", FILE_CREATE, &file, &f->fault), KELP_OK);
    uint8_t *bytes = malloc(BLOCKS * BLOCK), *wanted = calloc(BLOCKS, BLOCK), *back = NULL;
    back = malloc(BLOCKS * BLOCK);
    assert_true(bytes != NULL && wanted != NULL && back != NULL);
    uint32_t random = 7;
    for (int round = 0; round < 300; round++) {
        random = random * 1664525 + 1013904223;
        size_t first = (random >> 8) % BLOCKS, blocks = 1 + (random >> 20) % 4;
        if (round % 50 == 49) first = 0, blocks = BLOCKS; /* more than one piece */
        if (first + blocks > BLOCKS) blocks = BLOCKS - first;
        size_t from = first * BLOCK, len = blocks * BLOCK;
        if (round % 3 == 2) from += 17, len -= 100; /* through the cache */
        memset(bytes, round + 1, len);
        size_t cut = len / 3 + 1;
        struct kelp_bytes parts[] = {{bytes, cut}, {bytes, 0}, {bytes + cut, len - cut}, {NULL, 0}};
        assert_int_equal(ops->write(f->disk.state, file, from, parts, 4, &f->fault), KELP_OK);
        memset(wanted + from, round + 1, len);
        if (round % 7 == 0) assert_int_equal(ops->sync(f->disk.state, file, &f->fault), KELP_OK);
        size_t got = 0, look = (size_t)(round % BLOCKS) * BLOCK;
        if (round < 50) continue; /* the file has its whole length from the 50th write on */
        assert_int_equal(
            ops->read(f->disk.state, file, look, back, BLOCKS * BLOCK - look, &got, &f->fault),
            KELP_OK);
        assert_int_equal(got, BLOCKS * BLOCK - look);
        assert_memory_equal(back, wanted + look, got);
    }
    ops->close(f->disk.state, file);
    free(bytes);
    free(wanted);
    free(back);
}

static void the_modes_of_opening_differ_as_they_say(void **state)
{
    struct fixture *f = *state;
    struct file *file = NULL;
    struct kelp_fault fault = {0};
    assert_int_equal(f->disk.ops->open(f->disk.state, "a", FILE_READ, &file, &fault),
                     KELP_E_NOT_FOUND);
    assert_int_equal(fault.os_error, ENOENT);
    assert_string_equal(fault.where, "a");
    assert_int_equal(f->disk.ops->open(f->disk.state, "a", FILE_WRITE, &file, &fault),
                     KELP_E_NOT_FOUND);
    f->disk.ops->close(f->disk.state, open_file(f, "a", FILE_CREATE));
    fault = (struct kelp_fault){0};
    assert_int_equal(f->disk.ops->open(f->disk.state, "a", FILE_CREATE, &file, &fault), KELP_E_IO);
    assert_int_equal(fault.os_error, EEXIST);
    f->disk.ops->close(f->disk.state, open_file(f, "a", FILE_CREATE_ANY));
    f->disk.ops->close(f->disk.state, open_file(f, "b", FILE_CREATE_ANY));
    struct stat st;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/a", f->root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_symbolic_link_is_not_followed(void **state)
{
    struct fixture *f = *state;
    f->disk.ops->close(f->disk.state, open_file(f, "real", FILE_CREATE));
    char path[128];
    (void)snprintf(path, sizeof path, "%s/link", f->root);
    assert_int_equal(symlink("real", path), 0);
    struct file *file = NULL;
    struct kelp_fault fault = {0};
    assert_int_equal(f->disk.ops->open(f->disk.state, "link", FILE_WRITE, &file, &fault),
                     KELP_E_IO);
    assert_int_equal(fault.os_error, ELOOP);
}

static void a_write_that_is_refused_says_why(void **state)
{
    struct fixture *f = *state;
    f->disk.ops->close(f->disk.state, open_file(f, "a", FILE_CREATE));
    struct file *file = open_file(f, "a", FILE_READ);
    struct kelp_bytes part = BYTES_LITERAL("x");
    assert_int_equal(f->disk.ops->write(f->disk.state, file, 7, &part, 1, &f->fault), KELP_E_IO);
    assert_int_equal(f->fault.os_error, EBADF);
    assert_int_equal(f->fault.offset, 7);
    assert_string_equal(f->fault.where, "a");
    assert_non_null(strstr(f->fault.what, "write"));
    f->disk.ops->close(f->disk.state, file);
}

/* Can this directory be written to past the page cache? */
static bool goes_direct(const char *path)
{
    uint8_t *block = aligned_alloc(4096, 4096);
    int fd = open(path, O_WRONLY | O_CREAT | O_DIRECT, 0600);
    assert_non_null(block);
    memset(block, 0, 4096);
    bool can = fd >= 0 && pwrite(fd, block, 4096, 0) == 4096;
    if (fd >= 0) (void)close(fd);
    (void)unlink(path);
    free(block);
    return can;
}

static void a_write_that_fails_past_the_cache_is_counted(void **state)
{
    struct fixture *f = *state;
    struct rlimit all, small = {8192, RLIM_INFINITY};
    struct kelp_fault fault = {0};
    char path[200];
    static uint8_t block[8192] = {1};
    struct kelp_bytes whole = {block, sizeof block};
    int number = 0;
    (void)snprintf(path, sizeof path, "%s/probe", f->root);
    uint64_t expected = goes_direct(path);
    struct file *file = open_file(f, "f", FILE_CREATE);
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
    small.rlim_max = all.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum kelp_error fits = f->disk.ops->write(f->disk.state, file, 0, &whole, 1, &fault);
    uint64_t none = posix_disk_detours(&f->disk, &number);
    enum kelp_error fails = f->disk.ops->write(f->disk.state, file, 8192, &whole, 1, &fault);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    (void)signal(SIGXFSZ, before);
    assert_int_equal(fits, KELP_OK);
    assert_int_equal(none, 0);
    assert_int_equal(fails, KELP_E_IO);
    assert_int_equal(posix_disk_detours(&f->disk, &number), expected);
    assert_int_equal(number, expected ? EFBIG : 0);
    f->disk.ops->close(f->disk.state, file);
}

static void a_full_device_is_no_space(void **state)
{
    (void)state;
    struct disk dev;
    struct kelp_fault fault = {0};
    assert_int_equal(posix_disk("/dev", &dev, &fault), KELP_OK);
    struct file *file = NULL;
    assert_int_equal(dev.ops->open(dev.state, "full", FILE_WRITE, &file, &fault), KELP_OK);
    struct kelp_bytes part = BYTES_LITERAL("x");
    assert_int_equal(dev.ops->write(dev.state, file, 0, &part, 1, &fault), KELP_E_NO_SPACE);
    assert_int_equal(fault.os_error, ENOSPC);
    dev.ops->close(dev.state, file);
    posix_disk_close(&dev);
}

static void directories_are_made_listed_and_synced(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->disk.ops->make_dir(f->disk.state, "sub", &f->fault), KELP_OK);
    assert_int_equal(f->disk.ops->make_dir(f->disk.state, "sub", &f->fault), KELP_OK);
    assert_int_equal(f->disk.ops->make_dir(f->disk.state, "", &f->fault), KELP_OK);
    f->disk.ops->close(f->disk.state, open_file(f, "sub/c", FILE_CREATE));
    f->disk.ops->close(f->disk.state, open_file(f, "sub/a", FILE_CREATE));
    assert_int_equal(f->disk.ops->rename(f->disk.state, "sub/c", "sub/b", &f->fault), KELP_OK);
    assert_int_equal(f->disk.ops->sync_dir(f->disk.state, "sub", &f->fault), KELP_OK);
    assert_int_equal(f->disk.ops->sync_dir(f->disk.state, "", &f->fault), KELP_OK);
    struct file_entry rows[4];
    size_t count;
    assert_int_equal(f->disk.ops->list(f->disk.state, "sub", rows, 4, &count, &f->fault), KELP_OK);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].name, "a");
    assert_string_equal(rows[1].name, "b");
    assert_false(rows[0].directory);
    assert_int_equal(f->disk.ops->list(f->disk.state, "sub", rows, 1, &count, &f->fault), KELP_OK);
    assert_int_equal(count, 2); /* of which one was given */
    assert_string_equal(rows[0].name, "a");
    assert_int_equal(f->disk.ops->list(f->disk.state, "", rows, 4, &count, &f->fault), KELP_OK);
    assert_int_equal(count, 1);
    assert_true(rows[0].directory);
    struct kelp_fault fault = {0};
    assert_int_equal(f->disk.ops->list(f->disk.state, "none", rows, 4, &count, &fault),
                     KELP_E_NOT_FOUND);
    assert_int_equal(f->disk.ops->remove(f->disk.state, "sub/a", &f->fault), KELP_OK);
    assert_int_equal(f->disk.ops->remove(f->disk.state, "sub/a", &f->fault), KELP_E_NOT_FOUND);
    uint64_t space = 0;
    assert_int_equal(f->disk.ops->space(f->disk.state, &space, &f->fault), KELP_OK);
    assert_int_not_equal(space, 0);
}

static void a_second_lock_names_the_holder(void **state)
{
    struct fixture *f = *state;
    struct file *lock = NULL, *other = NULL;
    assert_int_equal(f->disk.ops->lock(f->disk.state, "lock", &lock, &f->fault), KELP_OK);
    struct kelp_fault fault = {0};
    assert_int_equal(f->disk.ops->lock(f->disk.state, "lock", &other, &fault), KELP_E_LOCKED);
    char words[64];
    (void)snprintf(words, sizeof words, "process %ld", (long)getpid());
    assert_non_null(strstr(fault.what, words));
    f->disk.ops->close(f->disk.state, lock);
    assert_int_equal(f->disk.ops->lock(f->disk.state, "lock", &lock, &f->fault), KELP_OK);
    f->disk.ops->close(f->disk.state, lock);
}

static void the_root_is_made_with_its_parents(void **state)
{
    struct fixture *f = *state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/x//y/z/", f->root);
    struct disk deep;
    assert_int_equal(posix_disk(path, &deep, &f->fault), KELP_OK);
    posix_disk_close(&deep);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (const char *part = "x/y/z"; part[0] != '\0';) {
        (void)snprintf(path, sizeof path, "%s/%s", f->root, part);
        assert_int_equal(rmdir(path), 0);
        part = strcmp(part, "x/y/z") == 0 ? "x/y" : strcmp(part, "x/y") == 0 ? "x" : "";
    }
    struct kelp_fault fault = {0};
    f->disk.ops->close(f->disk.state, open_file(f, "plain", FILE_CREATE));
    (void)snprintf(path, sizeof path, "%s/plain/below", f->root);
    assert_int_equal(posix_disk(path, &deep, &fault), KELP_E_IO);
    assert_int_equal(fault.os_error, ENOTDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read_back),
        TEST(more_parts_than_the_system_takes_at_once_are_written),
        TEST(whole_blocks_and_other_bytes_mix_in_one_file),
        TEST(the_modes_of_opening_differ_as_they_say),
        TEST(a_symbolic_link_is_not_followed),
        TEST(a_write_that_is_refused_says_why),
        TEST(a_write_that_fails_past_the_cache_is_counted),
        TEST(a_full_device_is_no_space),
        TEST(directories_are_made_listed_and_synced),
        TEST(a_second_lock_names_the_holder),
        TEST(the_root_is_made_with_its_parents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
