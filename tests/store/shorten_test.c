/* SPDX-License-Identifier: Apache-2.0 */
/* shorten_test.c - any file of a data directory is cut short behind the owner's back: by a file
 * system that was repaired, a copy that broke off, a hand.
 *
 * A directory that was cut opens with everything that was acknowledged, or it is refused. No
 * opening is left: every segment has its full size before it has its number, and says so. Only one
 * that an earlier version left growing may be cut unseen, until the housekeeping has filled it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/min.h"
#include "tests/store/owner.h"
#include "tests/store/storekit.h"

#define FILES_MAX 128u

struct files {
    char names[FILES_MAX][FILE_NAME_MAX];
    size_t count;
};

static void files_of(struct fakedisk *d, const char *folder, struct files *out)
{
    struct file_entry rows[FILES_MAX];
    size_t count;
    struct kelp_fault fault = {0};
    struct disk port = fakedisk_port(d);
    assert_int_equal(port.ops->list(port.state, folder, rows, FILES_MAX, &count, &fault), KELP_OK);
    for (size_t i = 0; i < min_u64(count, FILES_MAX); i++) {
        if (rows[i].directory || out->count == FILES_MAX) continue;
        (void)snprintf(out->names[out->count++], FILE_NAME_MAX, "%s%s%.60s", folder,
                       folder[0] != '\0' ? "/" : "", rows[i].name);
    }
}

/* True: it was refused. */
static bool judge(struct world *w, struct fakedisk *d, const char *name, size_t size)
{
    struct store_options options = kit_options();
    struct store *s = NULL;
    struct kelp_fault fault = {0};
    if (store_open(fakedisk_port(d), &options, &s, &fault) != KELP_OK) {
        assert_true(fault.error == KELP_E_CORRUPT || fault.error == KELP_E_WIPED);
        return true;
    }
    const char *words = world_differs(s, w->sure);
    if (words != NULL) fail_msg("%s cut to %zu: accepted, but %s", name, size, words);
    assert_int_equal(store_found(s)->term.v, w->sure->term);
    assert_int_equal(store_found(s)->vote, w->sure->vote);
    world_read_back(s, w->sure);
    store_close(s);
    return false;
}

static void a_file_cut_short_is_refused_or_nothing_is_lost(void **state)
{
    (void)state;
    unsigned refused = 0, harmless = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *w = world_new(seed);
        w->store = kit_open(w->disk);
        world_term_one(w);
        for (uint64_t life = 0; life < 4; life++) {
            assert_true(world_run(w, 1 + world_below(w, 30)));
            world_stop(w); /* with a mark behind the last write, or without */
            fakedisk_cut(w->disk, CUT_KEEPS_ALL);
            struct files files = {.count = 0};
            files_of(w->disk, "", &files);
            files_of(w->disk, "log", &files);
            files_of(w->disk, "snap", &files);
            for (int i = 0; i < 20; i++) {
                struct fakedisk *d = fakedisk_copy(w->disk);
                const char *name = files.names[world_below(w, files.count)];
                size_t size = 0;
                (void)fakedisk_bytes(d, name, &size);
                size = (size_t)world_below(w, max_u64(size, 1));
                fakedisk_resize(d, name, size);
                if (judge(w, d, name, size))
                    refused++;
                else
                    harmless++;
                fakedisk_free(d);
            }
            world_reopen(w);
        }
        world_free(w);
    }
    assert_true(refused > 1000);
    assert_true(harmless > 1000); /* spares, votes, the lock, snapshots the log can do without */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_cut_short_is_refused_or_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
