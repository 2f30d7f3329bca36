/* SPDX-License-Identifier: Apache-2.0 */
/* adversary_test.c - several things go wrong in a row: a crash, then crashes and failed syncs while
 * recovering from it, again and again; and a disk that changes what lies on it.
 *
 * The first must lose nothing that was reported. The second must be seen: a directory with one
 * damaged place opens with everything that it held, or is refused; it never opens with less.
 * [reliability 2.3, 4 D] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/min.h"
#include "tests/store/owner.h"
#include "tests/store/storekit.h"

#define BLOCK 4096u

/* ---- crash after crash ----------------------------------------------------------------------- */

/* One of the next calls kills the disk, or fails alone (and a failed sync makes the cache lie). */
static void trouble(struct world *w, uint64_t within)
{
    uint64_t at = fakedisk_calls(w->disk) + 1 + world_below(w, within);
    uint64_t how = world_below(w, 5);
    if (how < 2) fakedisk_die_at(w->disk, at);
    if (how == 2) fakedisk_fail_at(w->disk, at, KELP_E_NO_SPACE);
    if (how == 3) fakedisk_fail_at(w->disk, at, KELP_E_IO);
}

static void crash(struct world *w)
{
    static const enum fakedisk_cut cuts[] = {CUT_LOSES_ALL, CUT_KEEPS_ALL, CUT_RANDOM, CUT_RANDOM};
    uint64_t how = world_below(w, 6);
    if (how >= 4)
        fakedisk_kill(w->disk);
    else
        fakedisk_cut(w->disk, cuts[how]);
}

/* A start that may be cut short; whatever it says, it must not call the directory damaged. */
static void start_in_trouble(struct world *w)
{
    struct kelp_fault fault;
    trouble(w, 60);
    enum kelp_error error = kit_try(w->disk, &fault);
    if (error != KELP_OK && error != KELP_E_IO && error != KELP_E_NO_SPACE) {
        fail_msg("refused: %s: %s", fault.where, fault.what);
    }
    crash(w);
}

static void crashes_within_recoveries_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world *w = world_new(seed);
        w->store = kit_open(w->disk);
        world_term_one(w);
        for (uint64_t life = 0; life < 20; life++) {
            trouble(w, 1 + world_below(w, 120));
            (void)world_run(w, 1 + world_below(w, 40));
            world_stop(w);
            crash(w);
            uint64_t starts = world_below(w, 5);
            for (uint64_t i = 0; i < starts; i++)
                start_in_trouble(w);
            world_reopen(w);
        }
        world_free(w);
    }
}

/* ---- rot ------------------------------------------------------------------------------------- */

/* A file that holds something: any segment in use, the vote file or the identity. */
static void file_pick(struct world *w, struct fakedisk *d, char out[FILE_NAME_MAX])
{
    struct file_entry rows[64];
    size_t count = 0, used = 0;
    struct kelp_fault fault = {0};
    struct disk port = fakedisk_port(d);
    assert_int_equal(port.ops->list(port.state, "log", rows, 64, &count, &fault), KELP_OK);
    count = (size_t)min_u64(count, 64);
    while (used < count && rows[used].name[0] != 's')
        used++; /* numbers stand before spares */
    uint64_t slot = world_below(w, used + 2);
    if (slot < used)
        (void)snprintf(out, FILE_NAME_MAX, "log/%.60s", rows[slot].name);
    else
        (void)snprintf(out, FILE_NAME_MAX, "%s", slot == used ? "vote" : "identity");
}

/* One place changes: a bit, a lost sector or block, a block from elsewhere, a write of before that
 * never arrived. */
static void damage(struct world *w, struct fakedisk *d, struct fakedisk *old, char text[128])
{
    char name[FILE_NAME_MAX], other[FILE_NAME_MAX];
    size_t size = 0, other_size = 0;
    file_pick(w, d, name);
    file_pick(w, d, other);
    uint8_t *bytes = fakedisk_bytes(d, name, &size);
    uint64_t offset = world_below(w, size / BLOCK) * BLOCK;
    uint64_t how = world_below(w, 5);
    (void)snprintf(text, 128, "%s, block %d, how %d", name, (int)(offset / BLOCK), (int)how);
    const uint8_t *from = fakedisk_bytes(how == 3 ? d : old, how == 3 ? other : name, &other_size);
    uint64_t from_offset = how == 3 ? world_below(w, other_size / BLOCK) * BLOCK : offset;
    switch (how) {
    case 0: bytes[offset + world_below(w, BLOCK)] ^= (uint8_t)(1u << world_below(w, 8)); break;
    case 1: memset(bytes + offset + world_below(w, 8) * 512, 0, 512); break;
    case 2: memset(bytes + offset, 0xff, BLOCK); break;
    default:
        if (from != NULL && from_offset + BLOCK <= other_size)
            memcpy(bytes + offset, from + from_offset, BLOCK);
    }
}

/* True: it was refused. */
static bool judge_damaged(struct world *w, struct fakedisk *d, const char *text)
{
    struct store_options options = kit_options();
    struct store *s = NULL;
    struct kelp_fault fault = {0};
    if (store_open(fakedisk_port(d), &options, &s, &fault) != KELP_OK) return true;
    const char *words = world_differs(s, w->sure);
    if (words != NULL) fail_msg("%s: accepted, but %s", text, words);
    assert_int_equal(store_found(s)->term.v, w->sure->term);
    assert_int_equal(store_found(s)->vote, w->sure->vote);
    world_read_back(s, w->sure);
    store_close(s);
    return false;
}

static void one_damaged_place_is_harmless_or_refused(void **state)
{
    (void)state;
    unsigned refused = 0, harmless = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world *w = world_new(seed);
        struct fakedisk *old = fakedisk_copy(w->disk);
        w->store = kit_open(w->disk);
        world_term_one(w);
        for (uint64_t life = 0; life < 4; life++) {
            assert_true(world_run(w, 1 + world_below(w, 30)));
            assert_int_equal(store_mark_idle(w->store, NULL), KELP_OK); /* all is proved */
            world_stop(w);
            fakedisk_cut(w->disk, CUT_KEEPS_ALL);
            for (int i = 0; i < 30; i++) {
                char text[128];
                struct fakedisk *d = fakedisk_copy(w->disk);
                damage(w, d, old, text);
                if (judge_damaged(w, d, text))
                    refused++;
                else
                    harmless++;
                fakedisk_free(d);
            }
            fakedisk_free(old);
            old = fakedisk_copy(w->disk);
            world_reopen(w);
        }
        fakedisk_free(old);
        world_free(w);
    }
    assert_true(refused > 500); /* most blocks hold something */
    assert_true(harmless > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crashes_within_recoveries_lose_nothing),
        cmocka_unit_test(one_damaged_place_is_harmless_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
