/* SPDX-License-Identifier: Apache-2.0 */
/* adopt_test.c - a stopped node's directory is given another member's snapshot: what stays, what
 * goes, what is refused before a byte changes, and that a cut leaves the old state or the new. */
#include "store/adopt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/min.h"
#include "tests/store/storekit.h"
#include "wire/entry.h"
#include "wire/snapchunk.h"

#define LAST    12u
#define OWN     6u /* where its own snapshots end: here .. */
#define OWNER   9u /* .. and here */
#define WRONG   0xbadu
#define RIGHT   0x900du
#define OBJECTS 3u

static const struct kelp_cluster_id cluster = {.hi = 0xc1, .lo = 0xc2};

/* ---- a snapshot ------------------------------------------------------------------------------ */

struct shown {
    struct kelp_pos pos;
    uint64_t hash, epoch, incarnation;
    struct kelp_cluster_id cluster;
    bool hollow, removed;
    uint8_t role;
};

static struct shown right_one(kelp_index index, uint64_t term, uint64_t incarnation)
{
    return (struct shown){.pos = kelp_pos_of(index, term),
                          .hash = RIGHT,
                          .incarnation = incarnation,
                          .cluster = cluster,
                          .role = KELP_VOTER};
}

static size_t head_make(const struct shown *w, uint64_t object_bytes, uint8_t *out)
{
    struct wire_snaphead *head = calloc(1, sizeof *head);
    assert_non_null(head);
    *head = (struct wire_snaphead){.cluster = w->cluster,
                                   .epoch = w->epoch,
                                   .pos = w->pos,
                                   .object_count = w->hollow ? 0 : OBJECTS,
                                   .object_bytes = w->hollow ? 0 : object_bytes,
                                   .state_hash = w->hash,
                                   .hollow = w->hollow};
    struct kelp_config *c = &head->config.config;
    head->config.cluster = w->cluster;
    *c = (struct kelp_config){.index = 1, .id_highest = 3, .count = w->removed ? 2 : 3};
    for (unsigned i = 0; i < c->count; i++) {
        unsigned id = i + (w->removed ? 2 : 1);
        c->members[i] = (struct kelp_member){.id = id, .role = KELP_VOTER};
        if (id == KIT_NODE)
            c->members[i] =
                (struct kelp_member){.id = id, .incarnation = w->incarnation, .role = w->role};
        (void)snprintf(head->config.peer[i].text, WIRE_ADDRESS_MAX, "host:%u", 7100 + id);
    }
    size_t len = wire_snaphead_encode(head, out, WIRE_SNAPHEAD_BYTES_MAX);
    assert_int_not_equal(len, 0);
    free(head);
    return len;
}

static size_t chunk_make(struct kelp_pos pos, uint64_t offset, unsigned number, uint8_t *out)
{
    size_t len = WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD + 3000;
    wire_object_head(out + WIRE_SNAPCHUNK_HEAD, WIRE_OBJECT_MACHINE, 3000);
    memset(out + WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD, (int)number, 3000);
    wire_snapchunk_seal(out, len, 1, (struct wire_snapplace){.pos = pos, .offset = offset});
    return len;
}

/* The bytes of its file, freed by the caller. */
static struct kelp_bytes file_make(const struct shown *w)
{
    uint8_t *out = malloc(WIRE_SNAPHEAD_BYTES_MAX + (size_t)OBJECTS * WIRE_SNAPCHUNK_BYTES_MAX);
    assert_non_null(out);
    size_t head = head_make(w, 1, out), at = 0;
    if (w->hollow) return bytes_of(out, head);
    for (unsigned i = 0; i < OBJECTS; i++)
        at += chunk_make(w->pos, at, i, out + head + at);
    assert_int_equal(head_make(w, at, out), head);
    return bytes_of(out, head + at);
}

static void file_put(struct fakedisk *d, const char *name, const struct shown *w)
{
    struct kelp_bytes file = file_make(w);
    fakedisk_put(d, name, file.data, file.len);
    free((void *)(uintptr_t)file.data);
}

static void name_of(struct kelp_pos pos, char out[FILE_NAME_MAX])
{
    (void)snprintf(out, FILE_NAME_MAX, "snap/%020u-%020u.snap", (unsigned)pos.index,
                   (unsigned)pos.term.v);
}

static bool has(struct fakedisk *d, kelp_index index, uint64_t term)
{
    char name[FILE_NAME_MAX];
    size_t size;
    name_of(kelp_pos_of(index, term), name);
    return fakedisk_bytes(d, name, &size) != NULL;
}

/* ---- a directory ----------------------------------------------------------------------------- */

static uint64_t incarnation_of(struct fakedisk *d)
{
    struct store *s = kit_open(d);
    uint64_t incarnation = store_found(s)->identity.incarnation;
    store_close(s);
    return incarnation;
}

/* Entries 1..LAST, the first a configuration, the others of term 1, and a vote for node 2 in term
 * 3; two snapshots of a wrong state. */
static struct fakedisk *wrong_one(uint64_t seed, kelp_index commit)
{
    struct fakedisk *d = fakedisk_new(seed);
    struct store *s = kit_start(d);
    assert_int_equal(store_pledge(s, cluster, 0, NULL), KELP_OK);
    uint64_t incarnation = store_found(s)->identity.incarnation;
    for (kelp_index i = 1; i <= LAST; i++) {
        struct kelp_bytes part = kit_entry(kelp_pos_of(i, 1), 100);
        struct store_save_item item = {.save = {.number = i,
                                                .flags = KELP_SAVE_APPEND,
                                                .first = i,
                                                .last = i,
                                                .commit = min_u64(i, commit)},
                                       .parts = &part,
                                       .part_count = 1};
        assert_int_equal(store_save(s, &item, 1, NULL), KELP_OK);
        free((void *)(uintptr_t)part.data);
    }
    kit_vote(s, LAST + 1, 3, 2);
    assert_int_equal(store_apart(s, true, NULL), KELP_OK);
    store_close(s);
    for (unsigned i = 0; i < 2; i++) {
        struct shown own = right_one(i == 0 ? OWN : OWNER, 1, incarnation);
        char name[FILE_NAME_MAX];
        own.hash = WRONG;
        name_of(own.pos, name);
        file_put(d, name, &own);
    }
    s = kit_open(d);
    assert_int_equal(store_found(s)->snapshot.pos.index, OWNER);
    assert_int_equal(store_found(s)->snapshot.state_hash, WRONG);
    store_close(s);
    return d;
}

static enum kelp_error give(struct fakedisk *d, struct fakedisk *from, struct adopt_report *r,
                            struct kelp_fault *fault)
{
    struct store_options o = kit_options();
    struct adopt a = {.lock = NULL};
    *fault = (struct kelp_fault){.error = KELP_OK};
    *r = (struct adopt_report){.removed = 0};
    enum kelp_error error = adopt_begin(&a, fakedisk_port(d), fault);
    if (error == KELP_OK) error = adopt_copy(&a, fakedisk_port(from), "given", fault);
    if (error == KELP_OK) error = adopt_run(&a, &o, r, fault);
    adopt_end(&a);
    return error;
}

static enum kelp_error give_this(struct fakedisk *d, const struct shown *w, struct adopt_report *r,
                                 struct kelp_fault *fault)
{
    struct fakedisk *from = fakedisk_new(77);
    file_put(from, "given", w);
    enum kelp_error error = give(d, from, r, fault);
    assert_int_equal(fakedisk_open_files(from), 0);
    fakedisk_free(from);
    return error;
}

/* What a start finds; the vote is what it was. */
static void starts_from(struct fakedisk *d, struct kelp_pos pos, uint64_t hash, kelp_index last)
{
    struct store *s = kit_open(d);
    const struct store_found *f = store_found(s);
    assert_true(kelp_pos_equal(f->snapshot.pos, pos));
    assert_int_equal(f->snapshot.state_hash, hash);
    assert_int_equal(f->last, last);
    assert_int_equal(f->term.v, 3);
    assert_int_equal(f->vote, 2);
    assert_int_equal(f->apart, hash == WRONG);
    assert_true(f->commit >= pos.index);
    for (kelp_index i = pos.index + 1; i <= last; i++)
        assert_int_equal(kit_read(s, i, 100), 1);
    store_close(s);
}

/* ---- what it does ---------------------------------------------------------------------------- */

static void it_takes_the_place_of_older_and_newer_ones_and_the_log_goes_on_behind_it(void **state)
{
    (void)state;
    for (kelp_index at = 1; at <= LAST; at++) {
        struct fakedisk *d = wrong_one(1, LAST - 2);
        struct shown w = right_one(at, 1, incarnation_of(d));
        struct adopt_report r;
        struct kelp_fault fault;
        assert_int_equal(give_this(d, &w, &r, &fault), KELP_OK);
        assert_int_equal(r.behind, LAST - at);
        assert_int_equal(r.removed, 2 - (at == OWN || at == OWNER));
        assert_int_equal(r.hash, RIGHT);
        assert_int_equal(fakedisk_open_files(d), 0);
        fakedisk_cut(d, CUT_LOSES_ALL); /* durable */
        assert_int_equal(has(d, OWN, 1), at == OWN);
        assert_int_equal(has(d, OWNER, 1), at == OWNER);
        starts_from(d, kelp_pos_of(at, 1), RIGHT, LAST);
        fakedisk_free(d);
    }
}

static void one_beyond_the_log_resets_it_and_keeps_the_vote(void **state)
{
    (void)state;
    struct fakedisk *d = wrong_one(2, LAST);
    struct shown w = right_one(LAST + 8, 2, incarnation_of(d));
    struct adopt_report r;
    struct kelp_fault fault;
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_OK);
    assert_int_equal(r.behind, 0);
    fakedisk_cut(d, CUT_LOSES_ALL);
    starts_from(d, kelp_pos_of(LAST + 8, 2), RIGHT, LAST + 8);
    fakedisk_free(d);
}

/* An entry that could still be anything gives way to what was committed in its place; one that is
 * known to be committed does not. */
static void a_log_that_contradicts_it_gives_way_unless_it_knows_better(void **state)
{
    (void)state;
    struct fakedisk *d = wrong_one(3, 9);
    struct shown w = right_one(10, 2, incarnation_of(d));
    struct adopt_report r;
    struct kelp_fault fault;
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_OK);
    assert_int_equal(r.behind, 0);
    starts_from(d, kelp_pos_of(10, 2), RIGHT, 10);
    fakedisk_free(d);

    d = wrong_one(4, 11);
    w.incarnation = incarnation_of(d);
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_E_CORRUPT);
    assert_non_null(strstr(fault.what, "does not open with this snapshot"));
    starts_from(d, kelp_pos_of(OWNER, 1), WRONG, LAST);
    fakedisk_free(d);
}

static void compact(struct fakedisk *d)
{
    struct store *s = kit_open(d);
    for (uint64_t i = 1; i <= 12; i++)
        kit_append(s, i, LAST + i, LAST + i, 1);
    kit_compact(s, 13, OWNER + 1);
    kit_idle(s);
    store_close(s);
}

static void a_log_that_begins_above_it_is_not_left_with_a_gap(void **state)
{
    (void)state;
    struct fakedisk *d = wrong_one(5, LAST);
    char name[FILE_NAME_MAX];
    name_of(kelp_pos_of(OWN, 1), name);
    fakedisk_drop(d, name);
    compact(d);
    struct store *s = kit_open(d);
    kelp_index base = store_found(s)->base.index;
    assert_true(base > 3 && base <= OWNER);
    store_close(s);
    struct shown w = right_one(base - 1, 1, incarnation_of(d));
    struct adopt_report r;
    struct kelp_fault fault;
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_E_CORRUPT);
    starts_from(d, kelp_pos_of(OWNER, 1), WRONG, LAST + 12);
    w.pos = kelp_pos_of(base, 1);
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_OK);
    starts_from(d, w.pos, RIGHT, LAST + 12);
    fakedisk_free(d);
}

/* Its own is damaged, and what is below it is gone: no start, but with another one's. */
static void a_directory_that_opens_no_more_is_mended_by_it(void **state)
{
    (void)state;
    struct fakedisk *d = wrong_one(6, LAST);
    uint64_t incarnation = incarnation_of(d);
    char name[FILE_NAME_MAX];
    size_t size;
    name_of(kelp_pos_of(OWN, 1), name);
    fakedisk_drop(d, name);
    compact(d);
    name_of(kelp_pos_of(OWNER, 1), name);
    fakedisk_bytes(d, name, &size)[size - 9] ^= 1;
    struct adopt_report r;
    struct kelp_fault fault;
    struct store_options o = kit_options();
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    struct disk ghost;
    fault = (struct kelp_fault){.error = KELP_OK};
    assert_int_equal(ghost_disk(fakedisk_port(d), &ghost, &fault), KELP_OK);
    assert_int_equal(adopt_look(ghost, &o, &r, &fault), KELP_OK);
    ghost_disk_close(&ghost);
    assert_false(r.opens);
    assert_non_null(strstr(r.why, "the log starts after"));
    assert_int_equal(r.found.incarnation, incarnation);
    struct shown w = right_one(LAST + 4, 1, incarnation);
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_OK);
    assert_false(has(d, OWNER, 1));
    starts_from(d, w.pos, RIGHT, LAST + 12);
    fakedisk_free(d);
}

/* A snapshot that came from the leader is durable, and acknowledged, before the log is reset to it:
 * whole or damaged, what it showed is not given up for less. */
static void what_its_own_showed_beyond_the_log_is_never_given_up_for_less(void **state)
{
    (void)state;
    static const struct kelp_pos fetched[] = {{.index = LAST + 6, .term = {1}}, /* beyond it */
                                              {.index = 11, .term = {2}}};      /* contradicts it */
    for (unsigned i = 0; i < 4; i++) {
        struct fakedisk *d = wrong_one(90, 8);
        uint64_t incarnation = incarnation_of(d);
        struct shown own = right_one(fetched[i % 2].index, fetched[i % 2].term.v, incarnation);
        struct shown less = right_one(10, 1, incarnation);
        struct shown more = right_one(LAST + 7, 2, incarnation);
        struct adopt_report r;
        struct kelp_fault fault;
        char name[FILE_NAME_MAX];
        size_t size;
        name_of(own.pos, name);
        file_put(d, name, &own);
        if (i >= 2) fakedisk_bytes(d, name, &size)[5000] ^= 1;
        assert_int_equal(give_this(d, &less, &r, &fault), KELP_E_ARGUMENT);
        assert_non_null(strstr(fault.what, "which the log does not reach"));
        assert_non_null(fakedisk_bytes(d, name, &size));
        assert_int_equal(give_this(d, &more, &r, &fault), KELP_OK);
        starts_from(d, more.pos, RIGHT, LAST + 7);
        fakedisk_free(d);
    }
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void refused(const struct shown *w, enum kelp_error error, const char *words)
{
    struct fakedisk *d = wrong_one(7, LAST - 2);
    struct shown given = *w;
    struct adopt_report r;
    struct kelp_fault fault;
    given.incarnation ^= incarnation_of(d);
    assert_int_equal(give_this(d, &given, &r, &fault), error);
    if (strstr(fault.what, words) == NULL) fail_msg("%s", fault.what);
    size_t size;
    assert_null(fakedisk_bytes(d, "snap/new.tmp", &size));
    assert_true(has(d, OWN, 1) && has(d, OWNER, 1));
    assert_int_equal(fakedisk_open_files(d), 0);
    starts_from(d, kelp_pos_of(OWNER, 1), WRONG, LAST);
    fakedisk_free(d);
}

static void what_is_not_for_this_directory_changes_nothing(void **state)
{
    (void)state;
    struct shown w = right_one(10, 1, 0);
    w.cluster.lo++;
    refused(&w, KELP_E_FOREIGN, "cluster");
    w = right_one(10, 1, 0);
    w.cluster = (struct kelp_cluster_id){.hi = 0};
    refused(&w, KELP_E_FOREIGN, "cluster");
    w = right_one(10, 1, 0);
    w.epoch = 1;
    refused(&w, KELP_E_FOREIGN, "a recovery lies between");
    w = right_one(10, 1, 0);
    w.hollow = true;
    refused(&w, KELP_E_ARGUMENT, "a witness's");
    w = right_one(10, 1, 0);
    w.removed = true;
    refused(&w, KELP_E_ARGUMENT, "no member there any more");
    w = right_one(10, 1, 1);
    refused(&w, KELP_E_FOREIGN, "another directory is node 1 there");
    w = right_one(10, 1, 0);
    w.role = KELP_WITNESS;
    refused(&w, KELP_E_ARGUMENT, "a witness there");
}

static void one_that_is_damaged_anywhere_changes_nothing(void **state)
{
    (void)state;
    struct fakedisk *d = wrong_one(8, LAST), *from = fakedisk_new(9);
    struct shown w = right_one(10, 1, incarnation_of(d));
    struct adopt_report r;
    struct kelp_fault fault;
    file_put(from, "given", &w);
    size_t size;
    assert_non_null(fakedisk_bytes(from, "given", &size));
    for (size_t at = 0; at < size; at += 97) {
        fakedisk_bytes(from, "given", &size)[at] ^= 0x10;
        enum kelp_error error = give(d, from, &r, &fault);
        assert_true(error == KELP_E_CORRUPT || error == KELP_E_VERSION);
        fakedisk_bytes(from, "given", &size)[at] ^= 0x10;
        assert_true(has(d, OWN, 1) && has(d, OWNER, 1) && !has(d, 10, 1));
    }
    fakedisk_resize(from, "given", size - 1);
    assert_int_equal(give(d, from, &r, &fault), KELP_E_CORRUPT);
    fakedisk_resize(from, "given", 0);
    assert_int_equal(give(d, from, &r, &fault), KELP_E_CORRUPT);
    fakedisk_drop(from, "given");
    assert_int_equal(give(d, from, &r, &fault), KELP_E_NOT_FOUND);
    starts_from(d, kelp_pos_of(OWNER, 1), WRONG, LAST);
    fakedisk_free(from);
    fakedisk_free(d);
}

static void a_directory_in_use_or_of_nobody_is_left_alone(void **state)
{
    (void)state;
    struct fakedisk *d = wrong_one(10, LAST);
    struct shown w = right_one(10, 1, incarnation_of(d));
    struct adopt_report r;
    struct kelp_fault fault;
    struct store *s = kit_open(d);
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_E_LOCKED);
    store_close(s);
    assert_true(has(d, OWNER, 1) && !has(d, 10, 1));
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_OK);
    fakedisk_free(d);
    d = fakedisk_new(11);
    assert_int_equal(give_this(d, &w, &r, &fault), KELP_E_NOT_FOUND);
    size_t size;
    assert_null(fakedisk_bytes(d, "lock", &size));
    fakedisk_free(d);
}

static void a_look_changes_nothing_and_tells_what_does_not_fit(void **state)
{
    (void)state;
    struct fakedisk *d = wrong_one(12, LAST);
    struct store_options o = kit_options();
    struct adopt_report r;
    struct kelp_fault fault = {.error = KELP_OK};
    struct disk ghost;
    uint64_t writes = fakedisk_writes(d);
    assert_int_equal(ghost_disk(fakedisk_port(d), &ghost, &fault), KELP_OK);
    assert_int_equal(adopt_look(ghost, &o, &r, &fault), KELP_OK);
    ghost_disk_close(&ghost);
    assert_int_equal(fakedisk_writes(d), writes);
    assert_true(r.opens);
    assert_int_equal(r.own.index, OWNER);
    assert_int_equal(r.own_hash, WRONG);
    assert_int_equal(r.last.index, LAST);
    assert_int_equal(r.term.v, 3);
    struct wire_snaphead *head = calloc(1, sizeof *head);
    assert_non_null(head);
    head->cluster = cluster;
    head->pos = kelp_pos_of(4, 1);
    assert_int_equal(adopt_judge(&r, head, &fault), KELP_OK);
    r.base = kelp_pos_of(5, 1);
    assert_int_equal(adopt_judge(&r, head, &fault), KELP_E_ARGUMENT);
    assert_non_null(strstr(fault.what, "have a newer one taken"));
    free(head);
    fakedisk_free(d);

    d = fakedisk_new(13);
    struct store *s = kit_start(d);
    store_close(s);
    fault = (struct kelp_fault){.error = KELP_OK};
    assert_int_equal(ghost_disk(fakedisk_port(d), &ghost, &fault), KELP_OK);
    assert_int_equal(adopt_look(ghost, &o, &r, &fault), KELP_E_WIPED);
    ghost_disk_close(&ghost);
    fakedisk_free(d);
}

/* ---- cuts ------------------------------------------------------------------------------------ */

/* Below its own, between them, and beyond the log. */
static const struct kelp_pos places[] = {
    {.index = 4, .term = {1}}, {.index = 10, .term = {1}}, {.index = LAST + 5, .term = {2}}};

static void a_cut_at_every_single_call_leaves_the_old_state_or_the_new(void **state)
{
    (void)state;
    unsigned old = 0, new = 0;
    for (size_t place = 0; place < 3; place++) {
        for (unsigned how = 0; how < 3; how++) {
            bool finished = false;
            for (uint64_t die = 1; !finished; die++) {
                struct fakedisk *d = wrong_one(14 + die, LAST - 2);
                struct shown w =
                    right_one(places[place].index, places[place].term.v, incarnation_of(d));
                struct adopt_report r;
                struct kelp_fault fault;
                fakedisk_die_at(d, fakedisk_calls(d) + die);
                finished = give_this(d, &w, &r, &fault) == KELP_OK;
                fakedisk_cut(d, (enum fakedisk_cut)how);
                struct fakedisk *then = fakedisk_copy(d);
                struct store *s = kit_open(d);
                const struct store_found *f = store_found(s);
                bool is_new = f->snapshot.state_hash == RIGHT;
                assert_true(is_new || !finished);
                assert_true(is_new || f->apart);
                assert_true(
                    kelp_pos_equal(f->snapshot.pos, is_new ? w.pos : kelp_pos_of(OWNER, 1)));
                assert_int_equal(f->vote, 2);
                store_close(s);
                old += !is_new;
                new += is_new && !finished;
                /* the same again goes on, whatever the cut left, and whether or not it started */
                for (unsigned started = 0; started < 2; started++) {
                    struct fakedisk *on = started == 1 ? d : then;
                    assert_int_equal(give_this(on, &w, &r, &fault), KELP_OK);
                    fakedisk_cut(on, CUT_LOSES_ALL);
                    starts_from(on, w.pos, RIGHT, w.pos.index > LAST ? w.pos.index : LAST);
                    assert_false(has(on, OWN, 1) || has(on, OWNER, 1));
                    fakedisk_free(on);
                }
            }
        }
    }
    assert_true(old > 60);
    assert_true(new > 6);
}

static void a_failure_of_every_single_call_leaves_the_old_state_or_the_new(void **state)
{
    (void)state;
    bool reached = true;
    for (uint64_t at = 1; reached; at++) {
        struct fakedisk *d = wrong_one(60 + at, LAST);
        struct shown w = right_one(10, 1, incarnation_of(d));
        struct adopt_report r;
        struct kelp_fault fault;
        uint64_t call = fakedisk_calls(d) + at;
        fakedisk_fail_at(d, call, at % 2 == 0 ? KELP_E_IO : KELP_E_NO_SPACE);
        (void)give_this(d, &w, &r, &fault);
        reached = fakedisk_calls(d) >= call;
        fakedisk_fail_at(d, 0, KELP_OK);
        assert_int_equal(fakedisk_open_files(d), 0);
        fakedisk_cut(d, CUT_RANDOM);
        assert_int_equal(kit_try(d, &fault), KELP_OK);
        assert_int_equal(give_this(d, &w, &r, &fault), KELP_OK);
        starts_from(d, w.pos, RIGHT, LAST);
        fakedisk_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_the_place_of_older_and_newer_ones_and_the_log_goes_on_behind_it),
        cmocka_unit_test(one_beyond_the_log_resets_it_and_keeps_the_vote),
        cmocka_unit_test(a_log_that_contradicts_it_gives_way_unless_it_knows_better),
        cmocka_unit_test(a_log_that_begins_above_it_is_not_left_with_a_gap),
        cmocka_unit_test(a_directory_that_opens_no_more_is_mended_by_it),
        cmocka_unit_test(what_its_own_showed_beyond_the_log_is_never_given_up_for_less),
        cmocka_unit_test(what_is_not_for_this_directory_changes_nothing),
        cmocka_unit_test(one_that_is_damaged_anywhere_changes_nothing),
        cmocka_unit_test(a_directory_in_use_or_of_nobody_is_left_alone),
        cmocka_unit_test(a_look_changes_nothing_and_tells_what_does_not_fit),
        cmocka_unit_test(a_cut_at_every_single_call_leaves_the_old_state_or_the_new),
        cmocka_unit_test(a_failure_of_every_single_call_leaves_the_old_state_or_the_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
