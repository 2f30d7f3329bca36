/* SPDX-License-Identifier: Apache-2.0 */
/* memstore_test.c - the log port in memory keeps the port's promises: order, reports, what a crash
 * drops. */
#include "store/memstore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/store/storekit.h"

/* What was reported, as text: "saved 1; read 7 OK 1..2 before 0@0 288 bytes; ". */
struct log {
    char text[1024];
    struct memstore *m;
    bool asks_again;
};

static void say(struct log *l, const char *text)
{
    size_t len = strlen(l->text);
    assert_true(len + strlen(text) < sizeof l->text);
    (void)snprintf(l->text + len, sizeof l->text - len, "%s", text);
}

static void saved(void *ctx, uint32_t group, uint64_t number)
{
    char text[64];
    (void)snprintf(text, sizeof text, "saved %d; ", (int)number);
    say(ctx, text);
    struct log *l = ctx;
    assert_int_equal(group, 0);
    if (l->asks_again) memstore_ops.read(l->m, 0, 99, 1, 1, 0);
}

static void read_done(void *ctx, uint32_t group, uint64_t tag, enum kelp_error error,
                      struct kelp_pos before, kelp_index first, kelp_index last,
                      struct kelp_bytes entries)
{
    char text[128];
    (void)snprintf(text, sizeof text, "read %d %d %d..%d before %d@%d %d bytes; ", (int)tag,
                   (int)error, (int)first, (int)last, (int)before.index, (int)before.term.v,
                   (int)entries.len);
    say(ctx, text);
    assert_int_equal(group, 0);
    if (error == KELP_OK && last >= first) {
        struct kelp_bytes expected = kit_entry(kelp_pos_of(first, 1), 100);
        assert_memory_equal(entries.data, expected.data, expected.len);
        free((void *)(uintptr_t)expected.data);
    }
}

static void snapshot_done(void *ctx, uint32_t group, kelp_index index, enum kelp_error error)
{
    char text[64];
    (void)snprintf(text, sizeof text, "snapshot %d %d; ", (int)index, (int)error);
    say(ctx, text);
    assert_int_equal(group, 0);
}

static void faulted(void *ctx, uint32_t group, const struct kelp_fault *fault)
{
    (void)ctx;
    (void)group;
    fail_msg("%s", fault->what);
}

static struct memstore *store_of(struct log *l)
{
    struct kelp_store_done done = {.size = sizeof done,
                                   .ctx = l,
                                   .saved = saved,
                                   .read = read_done,
                                   .snapshot = snapshot_done,
                                   .fault = faulted};
    *l = (struct log){.text = ""};
    l->m = memstore_new(&done);
    assert_non_null(l->m);
    return l->m;
}

struct kept { /* the bytes of saves live until they are reported */
    struct kelp_bytes parts[32];
    size_t count;
};

static void append(struct memstore *m, struct kept *k, uint64_t number, kelp_index first,
                   kelp_index last, uint64_t term)
{
    struct kelp_save save = {
        .number = number, .flags = KELP_SAVE_APPEND, .first = first, .last = last, .commit = first};
    struct kelp_bytes *parts = k->parts + k->count;
    for (kelp_index i = first; i <= last; i++)
        k->parts[k->count++] = kit_entry(kelp_pos_of(i, term), 100);
    memstore_ops.save(m, 0, &save, parts, (size_t)(last - first + 1));
}

static void forget(struct kept *k)
{
    for (size_t i = 0; i < k->count; i++)
        free((void *)(uintptr_t)k->parts[i].data);
}

static void nothing_is_durable_before_it_was_run_and_all_after(void **state)
{
    (void)state;
    struct log l;
    struct kept k = {.count = 0};
    struct memstore *m = store_of(&l);
    struct kelp_boot boot;
    append(m, &k, 1, 1, 3, 1);
    memstore_boot(m, &boot);
    assert_int_equal(boot.last, 0);
    assert_string_equal(l.text, "");
    append(m, &k, 2, 4, 4, 2);
    assert_int_equal(memstore_run(m), 2);
    assert_string_equal(l.text, "saved 1; saved 2; ");
    memstore_boot(m, &boot);
    assert_int_equal(boot.last, 4);
    assert_int_equal(boot.commit, 4);
    assert_int_equal(boot.run_count, 2);
    assert_int_equal(boot.runs[0].last, 3);
    assert_int_equal(boot.runs[1].term.v, 2);
    memstore_free(m);
    forget(&k);
}

static void a_crash_drops_what_was_not_run(void **state)
{
    (void)state;
    struct log l;
    struct kept k = {.count = 0};
    struct memstore *m = store_of(&l);
    append(m, &k, 1, 1, 3, 1);
    assert_int_equal(memstore_run(m), 1);
    append(m, &k, 2, 4, 4, 2);
    memstore_crash(m);
    assert_int_equal(memstore_run(m), 0);
    struct kelp_boot boot;
    memstore_boot(m, &boot);
    assert_int_equal(boot.last, 3);
    memstore_free(m);
    forget(&k);
}

static void a_read_sees_every_save_given_before_it(void **state)
{
    (void)state;
    struct log l;
    struct kept k = {.count = 0};
    struct memstore *m = store_of(&l);
    append(m, &k, 1, 1, 3, 1);
    memstore_ops.read(m, 0, 7, 2, 9, UINT64_MAX);
    memstore_ops.read(m, 0, 8, 1, 9, 1); /* one always goes */
    memstore_ops.read(m, 0, 9, 4, 0, 0);
    memstore_ops.read(m, 0, 10, 4, 1, 0);
    assert_int_equal(memstore_run(m), 5);
    assert_string_equal(
        l.text, "saved 1; read 7 0 2..3 before 1@1 288 bytes; read 8 0 1..1 before 0@0 144 bytes; "
                "read 9 0 4..3 before 3@1 0 bytes; read 10 12 4..3 before 0@0 0 bytes; ");
    memstore_free(m);
    forget(&k);
}

static void truncation_compaction_and_reset_happen_in_order(void **state)
{
    (void)state;
    struct log l;
    struct kept k = {.count = 0};
    struct memstore *m = store_of(&l);
    append(m, &k, 1, 1, 5, 1);
    struct kelp_save save = {.number = 2,
                             .flags = KELP_SAVE_TRUNCATE | KELP_SAVE_VOTE,
                             .end = kelp_pos_of(3, 1),
                             .term = {6},
                             .vote = 2};
    memstore_ops.save(m, 0, &save, NULL, 0);
    save = (struct kelp_save){.number = 3, .flags = KELP_SAVE_COMPACT, .keep = 3};
    memstore_ops.save(m, 0, &save, NULL, 0);
    memstore_ops.read(m, 0, 1, 2, 1, 0);
    memstore_ops.read(m, 0, 2, 3, 9, UINT64_MAX);
    assert_int_equal(memstore_run(m), 5);
    assert_string_equal(l.text, "saved 1; saved 2; saved 3; read 1 13 2..1 before 0@0 0 bytes; "
                                "read 2 0 3..3 before 2@1 144 bytes; ");
    struct kelp_boot boot;
    memstore_boot(m, &boot);
    assert_int_equal(boot.base.index, 2);
    assert_int_equal(boot.runs_from, 3);
    assert_int_equal(boot.term.v, 6);
    assert_int_equal(boot.vote, 2);
    save = (struct kelp_save){
        .number = 4, .flags = KELP_SAVE_RESET, .end = kelp_pos_of(40, 6), .commit = 40};
    memstore_ops.save(m, 0, &save, NULL, 0);
    memstore_ops.snapshot(m, 0, kelp_pos_of(40, 6), BYTES_LITERAL("head"));
    assert_int_equal(memstore_run(m), 2);
    memstore_boot(m, &boot);
    assert_int_equal(boot.base.index, 40);
    assert_int_equal(boot.last, 40);
    assert_int_equal(boot.commit, 40);
    assert_int_equal(boot.snapshot.index, 40);
    memstore_free(m);
    forget(&k);
}

static void what_a_report_asks_for_waits_for_the_next_run(void **state)
{
    (void)state;
    struct log l;
    struct kept k = {.count = 0};
    struct memstore *m = store_of(&l);
    l.asks_again = true;
    append(m, &k, 1, 1, 1, 1);
    assert_int_equal(memstore_run(m), 1);
    assert_string_equal(l.text, "saved 1; ");
    assert_int_equal(memstore_run(m), 1);
    assert_string_equal(l.text, "saved 1; read 99 0 1..1 before 0@0 144 bytes; ");
    memstore_free(m);
    forget(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_durable_before_it_was_run_and_all_after),
        cmocka_unit_test(a_crash_drops_what_was_not_run),
        cmocka_unit_test(a_read_sees_every_save_given_before_it),
        cmocka_unit_test(truncation_compaction_and_reset_happen_in_order),
        cmocka_unit_test(what_a_report_asks_for_waits_for_the_next_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
