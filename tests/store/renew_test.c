/* SPDX-License-Identifier: Apache-2.0 */
/* renew_test.c - recovery by hand: what it keeps, whom it refuses, and that it is whole or not at
 * all wherever the power goes. [DESIGN §4, epoch] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "store/renew.h"
#include "tests/store/storekit.h"
#include "wire/entry.h"
#include "wire/epoch.h"

#define LAST 6u

static const struct kelp_cluster_id cluster = {.hi = 0xc1, .lo = 0xc2};

static struct wire_config members_of(uint64_t self_incarnation, uint8_t self_role)
{
    struct wire_config c = {.created_unix_ms = 1700000000000, .cluster = cluster};
    c.config = (struct kelp_config){.id_highest = 5, .count = 3, .election_min = 1000};
    for (unsigned i = 0; i < 3; i++) {
        c.config.members[i] = (struct kelp_member){
            .id = i + 1, .incarnation = i == 0 ? self_incarnation : i + 1, .role = KELP_VOTER};
        (void)snprintf(c.peer[i].text, sizeof c.peer[i].text, "host:%u", 7101 + i);
    }
    c.config.members[0].role = self_role;
    return c;
}

/* Entries 1..LAST of term 1, the first one a configuration of nodes 1, 2 and 3. */
static struct fakedisk *survivor(uint64_t seed, uint8_t self_role)
{
    struct fakedisk *d = fakedisk_new(seed);
    struct store *s = kit_start(d);
    assert_int_equal(store_pledge(s, cluster, 0, NULL), KELP_OK);
    struct wire_config c = members_of(store_found(s)->identity.incarnation, self_role);
    uint8_t payload[WIRE_CONFIG_BYTES_MAX], entry[WIRE_CONFIG_BYTES_MAX];
    struct wire_entry e = {.pos = kelp_pos_of(1, 1), .type = KELP_ENTRY_CONFIG, .time_ns = 5};
    e.payload = bytes_of(payload, wire_config_encode(&c, payload));
    wire_entry_encode(&e, entry);
    struct kelp_bytes part = bytes_of(entry, wire_entry_size(&e));
    struct store_save_item item = {
        .save = {.number = 2, .flags = KELP_SAVE_APPEND, .first = 1, .last = 1, .commit = 1},
        .parts = &part,
        .part_count = 1};
    assert_int_equal(store_save(s, &item, 1, NULL), KELP_OK);
    for (uint64_t i = 2; i <= LAST; i++)
        kit_append(s, i + 1, i, i, 1);
    assert_int_equal(store_apart(s, true, NULL), KELP_OK);
    store_close(s);
    return d;
}

static const struct renew_member one[] = {{.id = 1, .role = KELP_VOTER}};
static const struct renew_member two[] = {{.id = 1, .role = KELP_VOTER},
                                          {.id = 2, .role = KELP_VOTER}};
static const struct renew_ask alone = {.members = one, .count = 1};

static enum kelp_error run(struct fakedisk *d, const struct renew_ask *ask,
                           struct renew_report *out, struct kelp_fault *fault)
{
    struct store_options o = kit_options();
    *fault = (struct kelp_fault){.error = KELP_OK};
    return renew_run(fakedisk_port(d), &o, ask, out, fault);
}

static void is_recovered(struct fakedisk *d, uint64_t epoch_of_it)
{
    struct store *s = kit_open(d);
    const struct store_found *f = store_found(s);
    assert_true(f->identity.epoch == epoch_of_it);
    assert_int_equal(f->last, LAST + 1);
    assert_int_equal(f->runs[f->run_count - 1].term.v, 2);
    assert_int_equal(f->term.v, 2);
    assert_false(f->apart);
    assert_int_equal(f->vote, 1); /* nobody else leads in it and writes another entry there */
    assert_int_equal(f->config.config.count, 1);
    assert_int_equal(f->config.config.members[0].id, 1);
    assert_int_equal(f->config.config.id_highest, 5);
    assert_string_equal(f->config.peer[0].text, "host:7101");
    assert_true(f->commit <= LAST); /* by the usual rule only */
    for (kelp_index i = 2; i <= LAST; i++)
        assert_int_equal(kit_read(s, i, 100), 1);
    store_close(s);
}

static void the_log_stays_whole_behind_it_stand_the_members_of_a_new_epoch(void **state)
{
    (void)state;
    struct fakedisk *d = survivor(1, KELP_VOTER);
    struct renew_report r;
    struct kelp_fault fault;
    assert_int_equal(run(d, &alone, &r, &fault), KELP_OK);
    assert_int_equal(r.step, RENEW_NEW);
    assert_int_equal(r.last.index, LAST);
    assert_int_equal(r.before.config.count, 3);
    assert_int_equal(epoch_number(r.token.epoch), 1);
    assert_int_equal(r.token.recovery.parent, 0);
    is_recovered(d, r.token.epoch);
    struct renew_report again;
    assert_int_equal(run(d, &alone, &again, &fault), KELP_OK);
    assert_int_equal(again.step, RENEW_DONE); /* asked twice, done once */
    is_recovered(d, r.token.epoch);
    fakedisk_free(d);
}

static void a_recovered_cluster_can_be_recovered_again(void **state)
{
    (void)state;
    struct fakedisk *d = survivor(2, KELP_VOTER);
    struct renew_report r, next;
    struct kelp_fault fault;
    assert_int_equal(run(d, &alone, &r, &fault), KELP_OK);
    struct store *s = kit_open(d);
    kit_append(s, 1, LAST + 2, LAST + 2, 2);
    store_close(s);
    assert_int_equal(run(d, &alone, &next, &fault), KELP_OK);
    assert_int_equal(next.step, RENEW_NEW);
    assert_int_equal(epoch_number(next.token.epoch), 2);
    assert_true(next.token.recovery.parent == r.token.epoch);
    assert_int_equal(next.token.recovery.kept.index, LAST + 2);
    fakedisk_free(d);
}

/* Before, or refused until the same was run again: never a directory that starts half done. */
static void a_cut_at_every_single_call_is_before_or_after(void **state)
{
    (void)state;
    unsigned refused = 0, old = 0;
    for (uint64_t how = 0; how < 3; how++) {
        bool finished = false;
        for (uint64_t die = 1; !finished; die++) {
            struct fakedisk *d = survivor(3, KELP_VOTER);
            struct renew_report r;
            struct kelp_fault fault;
            fakedisk_die_at(d, fakedisk_calls(d) + die);
            finished = run(d, &alone, &r, &fault) == KELP_OK;
            fakedisk_cut(d, (enum fakedisk_cut)how);
            enum kelp_error error = kit_try(d, &fault);
            if (error != KELP_OK) {
                assert_false(finished);
                assert_int_equal(error, KELP_E_WIPED);
                assert_non_null(strstr(fault.what, "kelp recover"));
                refused++;
            } else if (!finished) {
                struct store *s = kit_open(d);
                bool before = store_found(s)->identity.epoch == 0;
                assert_int_equal(store_found(s)->last, before ? LAST : LAST + 1);
                old += before;
                store_close(s);
            }
            assert_int_equal(run(d, &alone, &r, &fault), KELP_OK);
            is_recovered(d, r.token.epoch);
            fakedisk_free(d);
        }
        assert_true(finished);
    }
    assert_true(refused > 6);
    assert_true(old > 20);
}

static void a_failure_of_every_single_call_is_before_or_after(void **state)
{
    (void)state;
    bool reached = true;
    for (uint64_t at = 1; reached; at++) {
        struct fakedisk *d = survivor(4, KELP_VOTER);
        struct renew_report r;
        struct kelp_fault fault;
        uint64_t call = fakedisk_calls(d) + at;
        fakedisk_fail_at(d, call, at % 2 == 0 ? KELP_E_IO : KELP_E_NO_SPACE);
        (void)run(d, &alone, &r, &fault);
        reached = fakedisk_calls(d) >= call;
        fakedisk_fail_at(d, 0, KELP_OK);
        fakedisk_cut(d, CUT_RANDOM);
        assert_int_equal(run(d, &alone, &r, &fault), KELP_OK);
        is_recovered(d, r.token.epoch);
        fakedisk_free(d);
    }
}

static void what_was_cut_short_goes_on_with_the_same_members_only(void **state)
{
    (void)state;
    static const struct renew_ask both = {.members = two, .count = 2};
    bool finished = false;
    unsigned refused = 0;
    for (uint64_t die = 1; !finished; die++) {
        struct fakedisk *d = survivor(5, KELP_VOTER);
        struct renew_report r;
        struct kelp_fault fault;
        fakedisk_die_at(d, fakedisk_calls(d) + die);
        finished = run(d, &both, &r, &fault) == KELP_OK;
        fakedisk_cut(d, CUT_KEEPS_ALL);
        if (!finished && kit_try(d, &fault) == KELP_E_WIPED) {
            assert_int_equal(run(d, &alone, &r, &fault), KELP_E_FOREIGN);
            assert_non_null(strstr(fault.what, "exactly the same"));
            assert_int_equal(run(d, &both, &r, &fault), KELP_OK);
            assert_int_equal(r.step, RENEW_UNFINISHED);
            assert_int_equal(kit_try(d, &fault), KELP_OK);
            refused++;
        }
        fakedisk_free(d);
    }
    assert_true(refused > 3);
}

static void log_put(struct fakedisk *to, struct fakedisk *from)
{
    for (unsigned number = 1; number <= 3; number++) {
        char name[64];
        size_t size = 0;
        (void)snprintf(name, sizeof name, "log/%020u.seg", number);
        const uint8_t *bytes = fakedisk_bytes(from, name, &size), *was;
        was = fakedisk_bytes(to, name, &(size_t){0});
        if (bytes != NULL)
            fakedisk_put(to, name, bytes, size);
        else if (was != NULL)
            fakedisk_drop(to, name);
    }
}

/* Somebody put another log under the identity of a recovery that is under way. */
static void what_was_cut_short_goes_on_with_the_same_log_only(void **state)
{
    (void)state;
    unsigned refused = 0;
    bool finished = false;
    for (uint64_t die = 1; !finished; die++) {
        struct fakedisk *d = survivor(5, KELP_VOTER), *other = fakedisk_copy(d);
        struct renew_report r;
        struct kelp_fault fault;
        struct store *s = kit_open(other);
        for (uint64_t i = 1; i <= 2; i++)
            kit_append(s, i, LAST + i, LAST + i, 1);
        store_close(s);
        fakedisk_die_at(d, fakedisk_calls(d) + die);
        finished = run(d, &alone, &r, &fault) == KELP_OK;
        fakedisk_cut(d, CUT_KEEPS_ALL);
        if (!finished && kit_try(d, &fault) == KELP_E_WIPED) {
            log_put(d, other);
            assert_int_equal(run(d, &alone, &r, &fault), KELP_E_FOREIGN);
            assert_non_null(strstr(fault.what, "put back from a copy"));
            assert_int_equal(kit_try(d, &fault), KELP_E_WIPED); /* nor is it started */
            refused++;
        }
        fakedisk_free(d);
        fakedisk_free(other);
    }
    assert_true(refused > 3);
}

static size_t names_in(struct fakedisk *d, const char *path)
{
    struct disk disk = fakedisk_port(d);
    struct kelp_fault fault = {.error = KELP_OK};
    struct file_entry rows[16];
    size_t count = 0;
    assert_int_equal(disk.ops->list(disk.state, path, rows, 16, &count, &fault), KELP_OK);
    return count;
}

/* With it the node would be one of before the recovery, with the members of after it. */
static void an_identity_of_before_a_log_that_was_recovered_is_refused(void **state)
{
    (void)state;
    struct fakedisk *d = survivor(12, KELP_VOTER);
    struct fakedisk *was = fakedisk_copy(d);
    struct renew_report r;
    struct kelp_fault fault;
    assert_int_equal(run(d, &alone, &r, &fault), KELP_OK);
    struct store *s = kit_open(d);
    for (uint64_t i = 1; i <= 12; i++) /* into another segment */
        kit_append(s, i, LAST + 1 + i, LAST + 1 + i, 2);
    store_close(s);
    assert_int_equal(kit_try(d, &fault), KELP_OK);
    size_t size;
    const uint8_t *old = fakedisk_bytes(was, "identity", &size);
    fakedisk_put(d, "identity", old, size);
    assert_int_equal(kit_try(d, &fault), KELP_E_FOREIGN);
    assert_non_null(strstr(fault.what, "begun after recovery 1"));
    fakedisk_free(was);
    fakedisk_free(d);
}

static void a_ghost_leaves_no_trace(void **state)
{
    (void)state;
    struct fakedisk *d = survivor(6, KELP_VOTER);
    struct fakedisk *was = fakedisk_copy(d);
    struct disk ghost;
    struct renew_report r;
    struct kelp_fault fault = {.error = KELP_OK};
    struct store_options o = kit_options();
    uint64_t writes = fakedisk_writes(d), syncs = fakedisk_syncs(d);
    assert_int_equal(ghost_disk(fakedisk_port(d), &ghost, &fault), KELP_OK);
    assert_int_equal(renew_run(ghost, &o, &alone, &r, &fault), KELP_OK);
    struct renew_report seen; /* through the same ghost it is done */
    assert_int_equal(renew_look(ghost, &o, &seen, &fault), KELP_OK);
    assert_int_equal(seen.last.index, LAST + 1);
    assert_true(seen.found.epoch == r.token.epoch);
    ghost_disk_close(&ghost);
    assert_int_equal(fakedisk_writes(d), writes);
    assert_int_equal(fakedisk_syncs(d), syncs);
    assert_int_equal(fakedisk_open_files(d), 0);
    static const char *const files[] = {"identity", "vote", "log/00000000000000000001.seg"};
    for (size_t i = 0; i < 3; i++) {
        size_t size = 0, size_was = 0;
        const uint8_t *bytes = fakedisk_bytes(d, files[i], &size);
        const uint8_t *bytes_was = fakedisk_bytes(was, files[i], &size_was);
        if (bytes == NULL) fail_msg("%s is not there", files[i]);
        assert_int_equal(size, size_was);
        assert_memory_equal(bytes, bytes_was, size);
    }
    assert_int_equal(names_in(d, ""), names_in(was, ""));
    assert_int_equal(names_in(d, "log"), names_in(was, "log"));
    assert_int_equal(names_in(d, "snap"), names_in(was, "snap"));
    fakedisk_free(was);
    fakedisk_free(d);
}

static void refused(struct fakedisk *d, const struct renew_ask *ask, enum kelp_error error,
                    const char *words)
{
    struct renew_report r;
    struct kelp_fault fault;
    assert_int_equal(run(d, ask, &r, &fault), error);
    if (strstr(fault.what, words) == NULL) fail_msg("%s", fault.what);
}

static void members_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct fakedisk *d = survivor(7, KELP_VOTER);
    struct renew_member m[2] = {{.id = 1, .role = KELP_VOTER}, {.id = 4, .role = KELP_VOTER}};
    struct renew_ask ask = {.members = m, .count = 2};
    refused(d, &ask, KELP_E_ARGUMENT, "node 4 is no member of the configuration at 1");
    m[1].id = 1;
    refused(d, &ask, KELP_E_ARGUMENT, "node 1 is named twice");
    m[1].id = 2;
    m[1].role = KELP_WITNESS;
    refused(d, &ask, KELP_E_ARGUMENT, "voter or learner");
    m[1] = (struct renew_member){.id = 2, .role = KELP_VOTER, .address = {"host:7101"}};
    refused(d, &ask, KELP_E_ARGUMENT, "the same address host:7101");
    m[0].id = 3;
    m[1].address.text[0] = '\0';
    refused(d, &ask, KELP_E_ARGUMENT, "node 1, whose directory this is, must be a voter");
    m[0] = (struct renew_member){.id = 1, .role = KELP_LEARNER};
    refused(d, &ask, KELP_E_ARGUMENT, "node 1, whose directory this is, must be a voter");
    m[0] = (struct renew_member){.role = KELP_VOTER, .address = {"elsewhere:1"}};
    refused(d, &ask, KELP_E_ARGUMENT, "elsewhere:1 is no member's address");
    m[0].address = (struct wire_address){"host:7101"};
    ask.count = 1;
    struct renew_report r;
    struct kelp_fault fault;
    assert_int_equal(run(d, &ask, &r, &fault), KELP_OK);
    is_recovered(d, r.token.epoch);
    fakedisk_free(d);
}

static void a_directory_without_a_log_has_nothing_to_recover(void **state)
{
    (void)state;
    struct fakedisk *d = fakedisk_new(8);
    refused(d, &alone, KELP_E_NOT_FOUND, "no data directory");
    struct store *s = kit_start(d);
    store_close(s);
    refused(d, &alone, KELP_E_WIPED, "holds nothing");
    fakedisk_free(d);
    d = survivor(9, KELP_WITNESS);
    refused(d, &alone, KELP_E_WIPED, "a witness");
    fakedisk_free(d);
}

static void another_survivor_takes_part_with_the_token_of_the_same_log_only(void **state)
{
    (void)state;
    static const struct renew_ask both = {.members = two, .count = 2};
    struct fakedisk *a = survivor(10, KELP_VOTER);
    struct fakedisk *b = fakedisk_copy(a); /* stands for the other's: the same log, to a bit */
    struct fakedisk *longer = fakedisk_copy(a), *ahead = fakedisk_copy(a);
    struct renew_report r, other;
    struct kelp_fault fault;
    assert_int_equal(run(a, &both, &r, &fault), KELP_OK);
    char text[RENEW_TOKEN_MAX];
    struct renew_token token;
    assert_true(renew_token_parse(renew_token_text(&r.token, text), &token));
    struct renew_ask with = {.members = two, .count = 2, .with = &token};
    struct store *s = kit_open(longer);
    kit_append(s, 1, LAST + 1, LAST + 1, 1);
    store_close(s);
    refused(longer, &with, KELP_E_FOREIGN, "not known to agree");
    s = kit_open(ahead);
    kit_vote(s, 1, 2, 3);
    store_close(s);
    refused(ahead, &with, KELP_E_FOREIGN, "has promised in term 2");
    with.count = 1;
    refused(b, &with, KELP_E_FOREIGN, "exactly the same");
    with.count = 2;
    assert_int_equal(run(b, &with, &other, &fault), KELP_OK);
    assert_true(other.token.epoch == r.token.epoch);
    assert_true(other.token.recovery.digest == r.token.recovery.digest);
    refused(b,
            &(struct renew_ask){.members = two,
                                .count = 2,
                                .with = &(struct renew_token){.epoch = epoch_after(0, 77),
                                                              .recovery = token.recovery}},
            KELP_E_FOREIGN, "the token was made of epoch 0");
    fakedisk_free(a);
    fakedisk_free(b);
    fakedisk_free(longer);
    fakedisk_free(ahead);
}

/* Each with a check of its own: they are two clusters, whatever their numbers. */
static void two_recoveries_apart_have_nothing_in_common(void **state)
{
    (void)state;
    struct fakedisk *a = survivor(11, KELP_VOTER);
    struct fakedisk *b = fakedisk_copy(a);
    struct renew_report of_a, of_b;
    struct kelp_fault fault;
    struct store *s = kit_open(b); /* another place in the row of random numbers */
    store_close(s);
    assert_int_equal(run(a, &alone, &of_a, &fault), KELP_OK);
    struct store_options o = kit_options();
    (void)o.random(o.random_ctx);
    assert_int_equal(run(b, &alone, &of_b, &fault), KELP_OK);
    assert_int_equal(epoch_number(of_a.token.epoch), epoch_number(of_b.token.epoch));
    assert_true(of_a.token.epoch != of_b.token.epoch);
    fakedisk_free(a);
    fakedisk_free(b);
}

static void a_token_that_is_none_is_not_taken_for_one(void **state)
{
    (void)state;
    static const char *const none[] = {
        "",
        "0-0-6@1-2-1",
        "1.1-0-6@1-2",
        "1.1-0-6@1-2-",
        "1.1-0-6@1-2-1x",
        "1.1-0-6@1-1-1",
        "1.1-0-0@1-2-1",
        "2.1-0-6@1-2-1",
        "1.0-0-6@1-2-1",
        "65536.1-65535.1-6@1-2-1",
        "1.1000000000000-0-6@1-2-1",
        "1.1-0-99999999999999999999@1-2-1",
    };
    struct renew_token t;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        if (renew_token_parse(none[i], &t)) fail_msg("%s", none[i]);
    }
    assert_true(renew_token_parse("2.00000000000a-1.00000000000b-6@1-2-00000000000000ff", &t));
    assert_int_equal(epoch_number(t.epoch), 2);
    assert_int_equal(t.recovery.kept.index, 6);
    assert_int_equal(t.recovery.digest, 255);
    char text[RENEW_TOKEN_MAX];
    assert_string_equal(renew_token_text(&t, text),
                        "2.00000000000a-1.00000000000b-6@1-2-00000000000000ff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_stays_whole_behind_it_stand_the_members_of_a_new_epoch),
        cmocka_unit_test(a_recovered_cluster_can_be_recovered_again),
        cmocka_unit_test(a_cut_at_every_single_call_is_before_or_after),
        cmocka_unit_test(a_failure_of_every_single_call_is_before_or_after),
        cmocka_unit_test(what_was_cut_short_goes_on_with_the_same_members_only),
        cmocka_unit_test(what_was_cut_short_goes_on_with_the_same_log_only),
        cmocka_unit_test(an_identity_of_before_a_log_that_was_recovered_is_refused),
        cmocka_unit_test(a_ghost_leaves_no_trace),
        cmocka_unit_test(members_that_cannot_be_are_refused),
        cmocka_unit_test(a_directory_without_a_log_has_nothing_to_recover),
        cmocka_unit_test(another_survivor_takes_part_with_the_token_of_the_same_log_only),
        cmocka_unit_test(two_recoveries_apart_have_nothing_in_common),
        cmocka_unit_test(a_token_that_is_none_is_not_taken_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
