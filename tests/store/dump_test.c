/* SPDX-License-Identifier: Apache-2.0 */
/* dump_test.c - the dump shows everything, goes on behind damage, and never writes. */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/store/fakedisk.h"
#include "tests/store/storekit.h"

static int setup(void **state)
{
    *state = fakedisk_new(1);
    return 0;
}

static int teardown(void **state)
{
    fakedisk_free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- dump ------------------------------------------------------------------------------------ */

struct lines {
    char text[64 * 1024];
    size_t len;
};

static void collect(void *ctx, const char *line)
{
    struct lines *l = ctx;
    int n = snprintf(l->text + l->len, sizeof l->text - l->len, "%s\n", line);
    l->len += (size_t)n;
    assert_true(l->len < sizeof l->text);
}

static void a_dump_shows_everything_and_writes_nothing(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 4, 2);
    kit_append(s, 2, 1, 3, 1);
    kit_truncate(s, 3, kelp_pos_of(2, 1));
    kit_snapshot(s, kelp_pos_of(2, 1));
    struct lines *l = calloc(1, sizeof *l);
    uint64_t writes = fakedisk_writes(*state); /* the store is open: no lock is taken */
    assert_int_equal(store_dump(fakedisk_port(*state), collect, l, NULL), KELP_OK);
    assert_int_equal(fakedisk_writes(*state), writes);
    assert_non_null(strstr(l->text, "identity copy 0: generation"));
    assert_non_null(strstr(l->text, "vote copy 1: generation"));
    assert_non_null(strstr(l->text, "term 4, vote 2"));
    assert_non_null(strstr(l->text, "append 1..3"));
    assert_non_null(strstr(l->text, "3@1 command, 100 bytes"));
    assert_non_null(strstr(l->text, "ends at 2@1"));
    assert_non_null(strstr(l->text, "snapshot at 2@1, 1 members"));
    store_close(s);
    free(l);
}

static void a_dump_goes_on_behind_damage(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 1, 1);
    kit_append(s, 2, 2, 2, 1);
    kit_append(s, 3, 3, 3, 1);
    store_close(s);
    memset(fakedisk_bytes(*state, "log/00000000000000000001.seg", NULL) + 3 * 4096, 0xff, 100);
    fakedisk_bytes(*state, "vote", NULL)[30] ^= 1;
    struct lines *l = calloc(1, sizeof *l);
    struct kelp_fault fault = {0};
    assert_int_equal(store_dump(fakedisk_port(*state), collect, l, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(l->text, "vote copy 0: damaged"));
    assert_non_null(strstr(l->text, "vote copy 1: generation"));
    assert_non_null(strstr(l->text, "nothing valid from 12288 to 16384, and writes behind it"));
    assert_non_null(strstr(l->text, "3@1 command"));
    free(l);
}

static void a_dump_of_an_empty_directory_is_damage(void **state)
{
    struct lines *l = calloc(1, sizeof *l);
    assert_int_equal(store_dump(fakedisk_port(*state), collect, l, NULL), KELP_E_CORRUPT);
    assert_non_null(strstr(l->text, "identity: cannot be read"));
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_dump_shows_everything_and_writes_nothing),
        TEST(a_dump_goes_on_behind_damage),
        TEST(a_dump_of_an_empty_directory_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
