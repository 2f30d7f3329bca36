/* SPDX-License-Identifier: Apache-2.0 */
/* store_test.c - the store as its owner sees it: birth, refusals, saves, reads, snapshots,
 * segments. */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

/* ---- birth and refusals ---------------------------------------------------------------------- */

static void a_new_directory_is_empty_and_has_an_incarnation(void **state)
{
    struct store *s = kit_start(*state);
    const struct store_found *f = store_found(s);
    assert_true(f->created);
    assert_false(f->has_entries);
    assert_int_equal(f->identity.node, KIT_NODE);
    assert_int_not_equal(f->identity.incarnation, 0);
    assert_int_equal(f->last, 0);
    assert_int_equal(f->start_count, 1);
    store_close(s);
    assert_int_equal(fakedisk_open_files(*state), 0);
}

static void every_start_raises_the_start_count_and_keeps_the_incarnation(void **state)
{
    struct store *s = kit_start(*state);
    uint64_t incarnation = store_found(s)->identity.incarnation;
    store_close(s);
    for (uint64_t start = 2; start < 6; start++) {
        s = kit_open(*state);
        assert_false(store_found(s)->created);
        assert_int_equal(store_found(s)->start_count, start);
        assert_int_equal(store_found(s)->identity.incarnation, incarnation);
        store_close(s);
    }
}

static void a_second_opener_is_told_who_holds_the_directory(void **state)
{
    struct store *s = kit_start(*state);
    struct kelp_fault fault;
    assert_int_equal(kit_try(*state, &fault), KELP_E_LOCKED);
    assert_non_null(strstr(fault.what, "process"));
    store_close(s);
    assert_int_equal(kit_try(*state, &fault), KELP_OK);
}

static void another_node_id_is_refused_naming_both(void **state)
{
    store_close(kit_open(*state));
    struct store_options options = kit_options();
    options.node = 7;
    struct store *s = NULL;
    struct kelp_fault fault = {0};
    assert_int_equal(store_open(fakedisk_port(*state), &options, &s, &fault), KELP_E_FOREIGN);
    assert_non_null(strstr(fault.what, "node 1"));
    assert_non_null(strstr(fault.what, "node 7"));
    options.node = 0; /* a tool takes the one inside */
    assert_int_equal(store_open(fakedisk_port(*state), &options, &s, NULL), KELP_OK);
    store_close(s);
}

static void an_identity_without_a_vote_file_is_refused(void **state)
{
    store_close(kit_open(*state));
    fakedisk_drop(*state, "vote");
    struct kelp_fault fault;
    assert_int_equal(kit_try(*state, &fault), KELP_E_WIPED);
    assert_string_equal(fault.where, "vote");
}

static void an_identity_without_a_log_is_refused(void **state)
{
    store_close(kit_open(*state));
    fakedisk_drop(*state, "log/00000000000000000001.seg");
    struct kelp_fault fault;
    assert_int_equal(kit_try(*state, &fault), KELP_E_WIPED);
    fakedisk_drop(*state, "log");
    assert_int_equal(kit_try(*state, &fault), KELP_E_WIPED);
    assert_string_equal(fault.where, "log");
}

static void a_log_with_a_write_but_no_identity_is_refused(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 1, 1);
    store_close(s);
    fakedisk_drop(*state, "identity");
    struct kelp_fault fault;
    assert_int_equal(kit_try(*state, &fault), KELP_E_WIPED);
    assert_string_equal(fault.where, "identity");
    fakedisk_drop(*state, "vote"); /* the log alone is reason enough */
    assert_int_equal(kit_try(*state, &fault), KELP_E_WIPED);
    assert_string_equal(fault.where, "identity");
}

static void a_promised_vote_without_an_identity_is_refused(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 3, 2);
    store_close(s);
    fakedisk_drop(*state, "identity");
    struct kelp_fault fault;
    assert_int_equal(kit_try(*state, &fault), KELP_E_WIPED);
}

static void without_identity_and_without_writes_the_directory_is_new(void **state)
{
    struct store *s = kit_open(*state);
    uint64_t incarnation = store_found(s)->identity.incarnation;
    store_close(s);
    fakedisk_drop(*state, "identity");
    s = kit_open(*state);
    assert_true(store_found(s)->created);
    assert_int_not_equal(store_found(s)->identity.incarnation, incarnation);
    store_close(s);
}

static void a_vote_file_of_another_directory_is_refused(void **state)
{
    store_close(kit_open(*state));
    struct fakedisk *other = fakedisk_new(2);
    store_close(kit_open(other));
    size_t size;
    uint8_t *bytes = fakedisk_bytes(other, "vote", &size);
    fakedisk_put(*state, "vote", bytes, size);
    struct kelp_fault fault;
    assert_int_equal(kit_try(*state, &fault), KELP_E_FOREIGN);
    fakedisk_free(other);
}

static void a_segment_of_another_directory_is_refused(void **state)
{
    store_close(kit_open(*state));
    struct fakedisk *other = fakedisk_new(2);
    store_close(kit_open(other));
    size_t size;
    uint8_t *bytes = fakedisk_bytes(other, "log/00000000000000000001.seg", &size);
    fakedisk_put(*state, "log/00000000000000000001.seg", bytes, size);
    struct kelp_fault fault;
    assert_int_equal(kit_try(*state, &fault), KELP_E_FOREIGN);
    fakedisk_free(other);
}

static void a_pledge_is_kept_and_never_changed(void **state)
{
    struct store *s = kit_start(*state);
    struct kelp_cluster_id cluster = {.hi = 3, .lo = 4}, other = {.hi = 3, .lo = 5};
    assert_int_equal(store_pledge(s, cluster, 0, NULL), KELP_OK);
    assert_int_equal(store_pledge(s, cluster, 0, NULL), KELP_OK);
    struct kelp_fault fault = {0};
    assert_int_equal(store_pledge(s, other, 0, &fault), KELP_E_FOREIGN);
    kit_append(s, 1, 1, 2, 1); /* a refused pledge is no failure of the disk */
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->identity.cluster.lo, 4);
    store_close(s);
}

static void the_probe_names_the_step_that_fails(void **state)
{
    store_close(kit_open(*state));
    static const char *const steps[] = {
        "create", "write", "sync a file", "rename", "sync the directory", "remove"};
    for (uint64_t i = 0; i < 6; i++) { /* the lock is the first call */
        fakedisk_fail_at(*state, fakedisk_calls(*state) + 2 + i, KELP_E_IO);
        struct kelp_fault fault;
        assert_int_equal(kit_try(*state, &fault), KELP_E_IO);
        assert_non_null(strstr(fault.what, steps[i]));
    }
}

static void a_segment_size_that_makes_no_sense_is_refused(void **state)
{
    static const uint64_t sizes[] = {0, 4096, 3 * 4096, 5 * 4096 + 1};
    for (size_t i = 0; i < 4; i++) {
        struct store_options options = kit_options();
        options.segment_bytes = sizes[i];
        struct store *s = NULL;
        assert_int_equal(store_open(fakedisk_port(*state), &options, &s, NULL), KELP_E_ARGUMENT);
    }
}

/* ---- saves and reads ------------------------------------------------------------------------- */

static void a_batch_is_one_write_and_one_sync(void **state)
{
    struct store *s = kit_start(*state);
    kit_idle(s); /* no hole is left to be filled */
    kit_append(s, 1, 1, 3, 1);
    uint64_t calls = fakedisk_calls(*state), syncs = fakedisk_syncs(*state),
             writes = fakedisk_writes(*state);
    kit_append(s, 2, 4, 9, 1);
    assert_int_equal(fakedisk_calls(*state) - calls, 2);
    assert_int_equal(fakedisk_writes(*state) - writes, 1);
    assert_int_equal(fakedisk_syncs(*state) - syncs, 1);
    store_close(s);
}

static void a_newer_term_is_in_the_vote_file_before_the_log_is_written(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 1, 1);
    struct kelp_bytes part = kit_entry(kelp_pos_of(2, 9), 100);
    struct store_save_item item = {
        .save = {.number = 2,
                 .flags = KELP_SAVE_VOTE | KELP_SAVE_APPEND,
                 .term = {9},
                 .vote = 1,
                 .first = 2,
                 .last = 2},
        .parts = &part,
        .part_count = 1,
    };
    fakedisk_die_at(*state, fakedisk_calls(*state) + 5); /* 4: both copies; 5: the log's write */
    struct kelp_fault fault = {0};
    assert_int_equal(store_save(s, &item, 1, &fault), KELP_E_IO);
    store_close(s);
    fakedisk_cut(*state, CUT_LOSES_ALL);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->term.v, 9);
    assert_int_equal(store_found(s)->vote, 1);
    kit_expect(s, 1, 1);
    store_close(s);
    free((void *)(uintptr_t)part.data);
}

static void what_was_saved_is_found_again(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 2, 3);
    kit_append(s, 2, 1, 5, 1);
    kit_append(s, 3, 6, 9, 2);
    assert_int_equal(kit_read(s, 7, 100), 2);
    store_close(s);
    s = kit_open(*state);
    const struct store_found *f = store_found(s);
    assert_true(f->has_entries);
    assert_int_equal(f->term.v, 2);
    assert_int_equal(f->vote, 3);
    assert_int_equal(f->last, 9);
    assert_int_equal(f->run_count, 2);
    assert_int_equal(f->runs[0].last, 5);
    assert_int_equal(f->runs[0].term.v, 1);
    assert_int_equal(f->runs[1].last, 9);
    assert_int_equal(f->runs[1].term.v, 2);
    for (kelp_index i = 1; i <= 9; i++)
        assert_int_equal(kit_read(s, i, 100), i <= 5 ? 1 : 2);
    store_close(s);
}

static void save_numbers_go_on_over_starts(void **state)
{
    for (uint64_t start = 0; start < 4; start++) {
        struct store *s = kit_start(*state);
        assert_int_equal(store_found(s)->save_number, start * 2);
        kit_append(s, 1, start * 2 + 1, start * 2 + 1, 1);
        kit_append(s, 2, start * 2 + 2, start * 2 + 2, 1);
        store_close(s);
    }
}

static void the_commit_index_comes_back_clamped_to_the_log(void **state)
{
    struct store *s = kit_start(*state);
    struct kelp_bytes part = kit_entry(kelp_pos_of(1, 1), 100);
    struct store_save_item item = {
        .save = {.number = 1,
                 .flags = KELP_SAVE_APPEND,
                 .first = 1,
                 .last = 1,
                 .commit = 40,
                 .everyone = 30},
        .parts = &part,
        .part_count = 1,
    };
    assert_int_equal(store_save(s, &item, 1, NULL), KELP_OK);
    store_close(s);
    s = kit_open(*state);
    assert_int_equal(store_found(s)->commit, 1);
    assert_int_equal(store_found(s)->everyone, 1);
    store_close(s);
    free((void *)(uintptr_t)part.data);
}

/* What is void is not written, so the reset needs no room for it. */
static void a_reset_is_all_that_is_left_of_a_batch_before_it(void **state)
{
    struct store *s = kit_start(*state);
    struct store_stats before, after;
    struct kelp_bytes large = kit_entry(kelp_pos_of(4, 1), 100000);
    struct kelp_bytes next = kit_entry(kelp_pos_of(51, 7), 100);
    kit_append(s, 1, 1, 3, 1);
    kit_snapshot(s, kelp_pos_of(50, 7));
    const struct store_save_item items[] = {
        {.save = {.number = 2, .flags = KELP_SAVE_APPEND, .first = 4, .last = 4},
         .parts = &large,
         .part_count = 1},
        {.save = {.number = 3, .flags = KELP_SAVE_TRUNCATE, .end = kelp_pos_of(2, 1)}},
        {.save = {.number = 4,
                  .flags = KELP_SAVE_VOTE | KELP_SAVE_RESET,
                  .term = {7},
                  .end = kelp_pos_of(50, 7),
                  .commit = 50}},
        {.save = {.number = 5, .flags = KELP_SAVE_APPEND, .first = 51, .last = 51},
         .parts = &next,
         .part_count = 1},
    };
    store_stats(s, &before);
    assert_int_equal(store_save(s, items, 4, NULL), KELP_OK);
    store_stats(s, &after);
    assert_int_equal(after.writes - before.writes, 1);
    assert_true(after.entry_bytes - before.entry_bytes < 1000);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(store_found(s)->save_number, again == 0 ? 0 : 5);
        assert_int_equal(kit_read(s, 51, 100), 7);
        store_close(s);
        s = kit_open(*state);
        assert_int_equal(store_found(s)->base.index, 50);
        assert_int_equal(store_found(s)->last, 51);
        assert_int_equal(store_found(s)->commit, 50);
        assert_int_equal(store_found(s)->term.v, 7);
    }
    store_close(s);
    free((void *)(uintptr_t)large.data);
    free((void *)(uintptr_t)next.data);
}

/* A member came, or is behind again: a start must not compact what it needs. */
static void what_everyone_has_may_fall(void **state)
{
    static const kelp_index known[] = {3, 1, 2};
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 3, 1);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct kelp_bytes part = kit_entry(kelp_pos_of(4 + i, 1), 100);
        struct store_save_item item = {.save = {.number = i == 0 ? 2 : 1,
                                                .flags = KELP_SAVE_APPEND,
                                                .first = 4 + i,
                                                .last = 4 + i,
                                                .everyone = known[i]},
                                       .parts = &part,
                                       .part_count = 1};
        assert_int_equal(store_save(s, &item, 1, NULL), KELP_OK);
        free((void *)(uintptr_t)part.data);
        store_close(s);
        s = kit_open(*state);
        assert_int_equal(store_found(s)->everyone, known[i]);
    }
    store_close(s);
}

static void a_truncation_is_a_record_and_the_later_entry_counts(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 9, 0);
    kit_append(s, 2, 1, 8, 1);
    kit_truncate(s, 3, kelp_pos_of(3, 1));
    kit_append(s, 4, 4, 6, 9);
    for (int round = 0; round < 2; round++) {
        for (kelp_index i = 1; i <= 6; i++)
            assert_int_equal(kit_read(s, i, 100), i <= 3 ? 1 : 9);
        store_close(s);
        s = kit_open(*state);
        assert_int_equal(store_found(s)->last, 6);
    }
    store_close(s);
}

/* Save 41 holds 5..7@1, truncated, save 42 holds 5@2, all in one batch. */
static void appends_and_truncations_of_one_batch_happen_in_order(void **state)
{
    struct store *s = kit_start(*state);
    kit_vote(s, 1, 2, 0);
    struct kelp_bytes parts[4];
    for (uint64_t i = 0; i < 3; i++)
        parts[i] = kit_entry(kelp_pos_of(i + 1, 1), 100);
    parts[3] = kit_entry(kelp_pos_of(2, 2), 100);
    struct store_save_item items[2] = {
        {.save = {.number = 2, .flags = KELP_SAVE_APPEND, .first = 1, .last = 3},
         .parts = parts,
         .part_count = 3},
        {.save = {.number = 3,
                  .flags = KELP_SAVE_TRUNCATE | KELP_SAVE_APPEND,
                  .end = kelp_pos_of(1, 1),
                  .first = 2,
                  .last = 2},
         .parts = parts + 3,
         .part_count = 1},
    };
    assert_int_equal(store_save(s, items, 2, NULL), KELP_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(kit_read(s, 1, 100), 1);
        assert_int_equal(kit_read(s, 2, 100), 2);
        store_close(s);
        s = kit_open(*state);
        assert_int_equal(store_found(s)->last, 2);
    }
    store_close(s);
    for (size_t i = 0; i < 4; i++)
        free((void *)(uintptr_t)parts[i].data);
}

static void a_write_larger_than_a_segment_gets_its_own(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 2, 1);
    kit_append_sized(s, 2, kelp_pos_of(3, 1), 300000);
    kit_append(s, 3, 4, 5, 1);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(kit_read(s, 3, 300000), 1);
        assert_int_equal(kit_read(s, 2, 100), 1);
        assert_int_equal(kit_read(s, 5, 100), 1);
        store_close(s);
        s = kit_open(*state);
        assert_int_equal(store_found(s)->last, 5);
    }
    store_close(s);
}

static void a_read_gives_as_many_entries_as_fit(void **state)
{
    struct store *s = kit_start(*state);
    for (uint64_t i = 0; i < 30; i++)
        kit_append(s, i + 1, i * 2 + 1, i * 2 + 2, 1);
    struct kelp_bytes one = kit_entry(kelp_pos_of(1, 1), 100);
    uint8_t *out = NULL;
    size_t size = 0, len;
    struct kelp_pos before;
    kelp_index last;
    assert_int_equal(store_read(s, 5, 1000, UINT64_MAX, &out, &size, &len, &before, &last, NULL),
                     KELP_OK);
    assert_int_equal(last, 60);
    assert_int_equal(len, 56 * one.len);
    assert_int_equal(before.index, 4);
    assert_int_equal(before.term.v, 1);
    assert_int_equal(store_read(s, 5, 7, UINT64_MAX, &out, &size, &len, &before, &last, NULL),
                     KELP_OK);
    assert_int_equal(last, 11);
    assert_int_equal(store_read(s, 5, 1000, one.len * 3, &out, &size, &len, &before, &last, NULL),
                     KELP_OK);
    assert_int_equal(last, 7);
    assert_int_equal(store_read(s, 5, 1000, 1, &out, &size, &len, &before, &last, NULL), KELP_OK);
    assert_int_equal(last, 5); /* one always goes */
    assert_int_equal(store_read(s, 61, 0, 0, &out, &size, &len, &before, &last, NULL), KELP_OK);
    assert_int_equal(before.index, 60);
    assert_int_equal(last, 60);
    assert_int_equal(store_read(s, 61, 1, 0, &out, &size, &len, &before, &last, NULL),
                     KELP_E_NOT_FOUND);
    assert_int_equal(store_read(s, 0, 1, 0, &out, &size, &len, &before, &last, NULL), KELP_E_GONE);
    kit_append(s, 31, 61, 61, 1); /* none of these refusals was final */
    free(out);
    free((void *)(uintptr_t)one.data);
    store_close(s);
}

static void rot_under_a_read_is_final_and_named(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 3, 1);
    size_t size;
    uint8_t *bytes = fakedisk_bytes(*state, "log/00000000000000000001.seg", &size);
    bytes[8192 + 136 + 40 + 20] ^= 1;
    uint8_t *out = NULL;
    size_t out_size = 0, len;
    struct kelp_pos before;
    kelp_index last;
    struct kelp_fault fault = {0};
    assert_int_equal(store_read(s, 1, 1, 0, &out, &out_size, &len, &before, &last, &fault),
                     KELP_E_CORRUPT);
    assert_int_equal(fault.index, 1);
    assert_int_equal(fault.offset, 8192 + 136 + 40);
    assert_string_equal(fault.where, "log/00000000000000000001.seg");
    struct kelp_fault again = {0};
    assert_int_equal(store_mark_idle(s, &again), KELP_E_CORRUPT);
    assert_string_equal(again.what, fault.what);
    free(out);
    store_close(s);
}

static void after_a_failed_sync_everything_is_refused(void **state)
{
    struct store *s = kit_start(*state);
    kit_append(s, 1, 1, 1, 1);
    struct kelp_bytes part = kit_entry(kelp_pos_of(2, 1), 100);
    struct store_save_item item = {
        .save = {.number = 2, .flags = KELP_SAVE_APPEND, .first = 2, .last = 2},
        .parts = &part,
        .part_count = 1};
    fakedisk_fail_at(*state, fakedisk_calls(*state) + 2, KELP_E_IO);
    assert_int_equal(store_save(s, &item, 1, NULL), KELP_E_IO);
    uint64_t calls = fakedisk_calls(*state);
    bool more;
    struct kelp_bytes head = kit_head(kelp_pos_of(1, 1));
    uint8_t *out = NULL;
    size_t size = 0, len;
    struct kelp_pos before;
    kelp_index last;
    assert_int_equal(store_save(s, &item, 1, NULL), KELP_E_IO);
    assert_int_equal(store_mark_idle(s, NULL), KELP_E_IO);
    assert_int_equal(store_idle_work(s, &more, NULL), KELP_E_IO);
    assert_int_equal(store_snapshot(s, kelp_pos_of(1, 1), head, NULL), KELP_E_IO);
    assert_int_equal(store_read(s, 1, 1, 0, &out, &size, &len, &before, &last, NULL), KELP_E_IO);
    assert_int_equal(store_pledge(s, (struct kelp_cluster_id){1, 1}, 0, NULL), KELP_E_IO);
    assert_int_equal(fakedisk_calls(*state), calls); /* nothing was tried again */
    store_close(s);
    free((void *)(uintptr_t)part.data);
    free((void *)(uintptr_t)head.data);
}

/* ---- real files ------------------------------------------------------------------------------ */

static void the_same_holds_on_real_files(void **state)
{
    (void)state;
    char root[] = "/tmp/kelp-store-test-XXXXXX";
    assert_non_null(mkdtemp(root));
    struct disk disk, other;
    struct kelp_fault fault = {0};
    assert_int_equal(posix_disk(root, &disk, &fault), KELP_OK);
    assert_int_equal(posix_disk(root, &other, &fault), KELP_OK);
    struct store_options options = kit_options();
    for (uint64_t start = 0; start < 3; start++) {
        struct store *s = NULL, *second = NULL;
        assert_int_equal(store_open(disk, &options, &s, &fault), KELP_OK);
        assert_int_equal(store_found(s)->last, start * 10);
        kit_vote(s, 0, start + 1, 1);
        for (uint64_t i = 1; i <= 10; i++)
            kit_append(s, i, start * 10 + i, start * 10 + i, start + 1);
        for (uint64_t i = 1; i <= start * 10 + 10; i++) {
            assert_int_equal(kit_read(s, i, 100), (i - 1) / 10 + 1);
        }
        bool more = true;
        while (more)
            assert_int_equal(store_idle_work(s, &more, &fault), KELP_OK);
        struct kelp_fault held = {0};
        assert_int_equal(store_open(other, &options, &second, &held), KELP_E_LOCKED);
        store_close(s);
    }
    static const char *const dirs[] = {"log", "snap", ""};
    for (size_t i = 0; i < 3; i++) {
        struct file_entry rows[32];
        size_t count = 0;
        assert_int_equal(disk.ops->list(disk.state, dirs[i], rows, 32, &count, &fault), KELP_OK);
        for (size_t k = 0; k < count; k++) {
            char path[300];
            (void)snprintf(path, sizeof path, "%s/%s/%.95s", root, dirs[i], rows[k].name);
            assert_int_equal(remove(path), 0);
        }
    }
    posix_disk_close(&disk);
    posix_disk_close(&other);
    assert_int_equal(remove(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_directory_is_empty_and_has_an_incarnation),
        TEST(every_start_raises_the_start_count_and_keeps_the_incarnation),
        TEST(a_second_opener_is_told_who_holds_the_directory),
        TEST(another_node_id_is_refused_naming_both),
        TEST(an_identity_without_a_vote_file_is_refused),
        TEST(an_identity_without_a_log_is_refused),
        TEST(a_log_with_a_write_but_no_identity_is_refused),
        TEST(a_promised_vote_without_an_identity_is_refused),
        TEST(without_identity_and_without_writes_the_directory_is_new),
        TEST(a_vote_file_of_another_directory_is_refused),
        TEST(a_segment_of_another_directory_is_refused),
        TEST(a_pledge_is_kept_and_never_changed),
        TEST(the_probe_names_the_step_that_fails),
        TEST(a_segment_size_that_makes_no_sense_is_refused),
        TEST(a_batch_is_one_write_and_one_sync),
        TEST(a_newer_term_is_in_the_vote_file_before_the_log_is_written),
        TEST(what_was_saved_is_found_again),
        TEST(save_numbers_go_on_over_starts),
        TEST(the_commit_index_comes_back_clamped_to_the_log),
        TEST(what_everyone_has_may_fall),
        TEST(a_reset_is_all_that_is_left_of_a_batch_before_it),
        TEST(a_truncation_is_a_record_and_the_later_entry_counts),
        TEST(appends_and_truncations_of_one_batch_happen_in_order),
        TEST(a_write_larger_than_a_segment_gets_its_own),
        TEST(a_read_gives_as_many_entries_as_fit),
        TEST(rot_under_a_read_is_final_and_named),
        TEST(after_a_failed_sync_everything_is_refused),
        TEST(the_same_holds_on_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
