/* SPDX-License-Identifier: Apache-2.0 */
/* knock_test.c - joining, as pure machines: two nodes hold a cluster, a third knocks; loss,
 * copies, a crash at every step; an id is given once, by what is committed, and founding alone
 * happens once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/found.h"
#include "wire/entry.h"

#define MS         UINT64_C(1000000)
#define HOSTS      2u
#define NAME       (KELP_ID_WAITING | 77)
#define FLYING_MAX 256u

struct directory { /* what survives a crash */
    kelp_id node;
    uint64_t incarnation;
    struct kelp_cluster_id cluster;
    uint8_t entry1[8192];
    size_t entry1_len;
};

struct flying {
    struct wire_found m;
    uint8_t entry[8192];
    kelp_ns at;
};

struct porch {
    struct prng prng;
    kelp_ns now;
    struct found hosts[HOSTS]; /* nodes 1 and 2 */
    struct directory disk;     /* of the one that joins */
    struct found joiner;
    bool up;
    struct found_todo doing;
    uint8_t saving[8192];
    kelp_ns done_at;
    struct flying *flying;
    size_t flying_count;
    uint64_t loss, twice, events, crash_at;
    bool crashed;
    unsigned names; /* identities written with an id */
};

static uint64_t porch_random(void *ctx)
{
    struct porch *w = ctx;
    return prng_next(&w->prng);
}

/* Nodes 1 and 2, and whoever is named: at an index, with an id and an incarnation. */
static struct wire_config config_of(kelp_index index, kelp_id id, uint64_t incarnation)
{
    struct wire_config c;
    memset(&c, 0, sizeof c);
    c.config.index = index;
    c.cluster = (struct kelp_cluster_id){5, 6};
    c.created_unix_ms = 1700000000000;
    for (kelp_id i = 1; i <= 3; i++) {
        if (i == 3 && id == 0) break;
        kelp_id which = i < 3 ? i : id;
        c.config.members[c.config.count] = (struct kelp_member){
            .id = which, .incarnation = i < 3 ? 100 + i : incarnation, .role = KELP_VOTER};
        (void)snprintf(c.peer[c.config.count++].text, WIRE_ADDRESS_MAX, "node%d:7101", (int)which);
        c.config.id_highest = which;
    }
    return c;
}

static size_t entry_of(const struct wire_config *c, uint8_t *out)
{
    uint8_t payload[4096];
    struct wire_entry e = {.pos = kelp_pos_of(1, 1), .type = KELP_ENTRY_CONFIG};
    e.payload = (struct kelp_bytes){payload, wire_config_encode(c, payload)};
    wire_entry_encode(&e, out);
    return wire_entry_size(&e);
}

static void joiner_start(struct porch *w)
{
    struct found_setup setup = {.self = w->disk.node,
                                .incarnation = w->disk.incarnation,
                                .seed = 3,
                                .cluster = w->disk.cluster,
                                .random = porch_random,
                                .random_ctx = w};
    struct wire_config config;
    struct wire_entry e;
    size_t used;
    if (w->disk.entry1_len > 0) {
        setup.entry1 = (struct kelp_bytes){w->disk.entry1, w->disk.entry1_len};
        assert_int_equal(wire_entry_decode(setup.entry1, &e, &used, NULL), KELP_OK);
        assert_int_equal(wire_config_decode(e.payload, 1, &config, NULL), KELP_OK);
        setup.config = &config;
    }
    assert_true(found_init(&w->joiner, &setup, w->now));
    w->doing.kind = FOUND_NOTHING;
    w->up = true;
    found_connected(&w->joiner, w->now, 1, false, 101); /* --join named node 1 only */
}

static void joiner_crash(struct porch *w)
{
    if (w->up) found_free(&w->joiner);
    w->up = false;
}

static struct porch *porch_new(uint64_t seed, kelp_id name)
{
    struct porch *w = calloc(1, sizeof *w);
    w->flying = calloc(FLYING_MAX, sizeof *w->flying);
    w->prng.state = seed;
    w->disk.node = name;
    w->disk.incarnation = 4242;
    struct wire_config c = config_of(1, 0, 0);
    uint8_t entry[8192];
    for (size_t i = 0; i < HOSTS; i++) {
        struct found_setup setup = {.self = i + 1,
                                    .incarnation = 101 + i,
                                    .seed = i,
                                    .cluster = c.cluster,
                                    .random = porch_random,
                                    .random_ctx = w,
                                    .config = &c,
                                    .entry1 = {entry, entry_of(&c, entry)}};
        assert_true(found_init(&w->hosts[i], &setup, 0));
        found_committed(&w->hosts[i], &c);
        found_leads(&w->hosts[i], 2, &c.peer[1]);
    }
    joiner_start(w);
    return w;
}

static void porch_free(struct porch *w)
{
    joiner_crash(w);
    for (size_t i = 0; i < HOSTS; i++)
        found_free(&w->hosts[i]);
    free(w->flying);
    free(w);
}

static void event(struct porch *w)
{
    if (++w->events != w->crash_at) return;
    w->crashed = true;
    joiner_crash(w);
}

static void send(struct porch *w, const struct wire_found *m)
{
    uint64_t copies = prng_chance(&w->prng, w->loss, 1000) ? 0 : 1;
    if (prng_chance(&w->prng, w->twice, 1000)) copies *= 2;
    for (uint64_t i = 0; i < copies && w->flying_count < FLYING_MAX; i++) {
        struct flying *f = &w->flying[w->flying_count++];
        uint8_t bytes[WIRE_FOUND_HEAD_MAX + 8192];
        size_t len = wire_found_encode(m, bytes); /* as it travels */
        if (m->entry.len > 0) memcpy(bytes + len, m->entry.data, m->entry.len);
        struct kelp_bytes body = {bytes, len + m->entry.len};
        assert_int_equal(wire_found_decode(body, &f->m, NULL), KELP_OK);
        if (m->entry.len > 0) memcpy(f->entry, m->entry.data, m->entry.len);
        f->at = w->now + prng_between(&w->prng, 1, 20) * MS;
    }
}

static void perform(struct porch *w)
{
    struct found_todo todo;
    for (size_t i = 0; i < HOSTS; i++) {
        while (found_next(&w->hosts[i], &todo)) {
            assert_int_equal(todo.kind, FOUND_DO_SEND);
            if (w->up) send(w, &todo.message);
        }
    }
    while (w->up && found_next(&w->joiner, &todo)) {
        event(w);
        if (!w->up) return;
        if (todo.kind == FOUND_DO_SEND) {
            send(w, &todo.message);
            continue;
        }
        assert_int_equal(w->doing.kind, FOUND_NOTHING);
        w->doing = todo;
        w->done_at = w->now + 2 * MS;
        if (todo.kind == FOUND_DO_SAVE) memcpy(w->saving, todo.entry.data, todo.entry.len);
    }
}

static void complete(struct porch *w)
{
    if (!w->up || w->doing.kind == FOUND_NOTHING || w->now < w->done_at) return;
    struct found_todo did = w->doing;
    w->doing.kind = FOUND_NOTHING;
    if (did.kind == FOUND_DO_SAVE) {
        assert_true(w->disk.node < KELP_ID_WAITING);
        w->disk.entry1_len = did.entry.len;
        memcpy(w->disk.entry1, w->saving, did.entry.len);
    } else {
        assert_true(cluster_zero(w->disk.cluster)); /* once in a directory's life */
        w->disk.cluster = did.cluster;
        if (did.kind == FOUND_DO_NAME) {
            assert_true(w->disk.node >= KELP_ID_WAITING);
            w->disk.node = did.node;
            w->names++;
        }
    }
    event(w);
    if (!w->up) return; /* durable, and nobody was told */
    kelp_id before = w->joiner.setup.self;
    if (did.kind == FOUND_DO_SAVE)
        found_saved(&w->joiner, w->now);
    else
        found_pledged(&w->joiner, w->now);
    if (w->joiner.setup.self == before) return;
    found_connected(&w->joiner, w->now, 1, false, 101); /* a new hello, as the node with its id */
    for (size_t i = 0; i < HOSTS; i++)
        found_connected(&w->hosts[i], w->now, w->disk.node, true, w->disk.incarnation);
}

static void arrive(struct porch *w, struct flying *f)
{
    if (f->m.entry.len > 0) f->m.entry.data = f->entry;
    if (f->m.to <= HOSTS)
        found_message(&w->hosts[f->m.to - 1], w->now, &f->m);
    else if (w->up)
        found_message(&w->joiner, w->now, &f->m);
}

static void run(struct porch *w, uint64_t ms)
{
    for (uint64_t t = 0; t < ms; t++) {
        w->now += MS;
        for (size_t i = 0; i < w->flying_count;) {
            if (w->flying[i].at > w->now) {
                i++;
                continue;
            }
            struct flying f = w->flying[i];
            w->flying[i] = w->flying[--w->flying_count];
            arrive(w, &f);
        }
        complete(w);
        if (w->up) (void)found_tick(&w->joiner, w->now);
        perform(w);
    }
}

static void adopt(struct porch *w, const struct wire_config *c, bool committed)
{
    for (size_t i = 0; i < HOSTS; i++) {
        found_adopt(&w->hosts[i], c);
        if (committed) found_committed(&w->hosts[i], c);
    }
}

static const char *words(struct porch *w)
{
    static char text[256];
    found_words(&w->joiner, text, sizeof text);
    return text;
}

/* ---- tests ---- */

static void who_knocks_learns_the_cluster_and_who_leads_there(void **state)
{
    (void)state;
    struct porch *w = porch_new(1, NAME);
    assert_string_equal(words(w), "waits to be added (kelp members add auto HOST:PORT)");
    run(w, 1000);
    assert_string_equal(words(w), "knocks at node 1 of cluster 00000000000000050000000000000006, "
                                  "waits to be added (kelp members add auto HOST:PORT)");
    assert_int_equal(w->joiner.leader.id, 2); /* to be dialled */
    assert_string_equal(w->joiner.leader.peer.text, "node2:7101");
    assert_true(cluster_zero(w->disk.cluster)); /* learnt, not promised */
    porch_free(w);
}

/* One of them is cut off from the others, or was not told yet. */
static void hosts_that_know_different_leaders_are_not_asked_more_often(void **state)
{
    (void)state;
    struct porch *w = porch_new(3, NAME);
    struct wire_address first = {.text = "node1:7101"};
    uint64_t begin = w->joiner.round;
    found_connected(&w->joiner, w->now, 2, false, 102);
    found_leads(&w->hosts[1], 0, NULL);
    run(w, 10000);
    assert_true(w->joiner.round - begin <= 15); /* once a second in the end */
    assert_int_equal(w->joiner.leader.id, 2);
    found_leads(&w->hosts[1], 1, &first);
    run(w, 10000);
    assert_true(w->joiner.round - begin <= 28);
    found_leads(&w->hosts[0], 1, &first);
    run(w, 2000);
    assert_int_equal(w->joiner.leader.id, 1);
    assert_string_equal(w->joiner.leader.peer.text, "node1:7101");
    porch_free(w);
}

static void a_node_with_an_id_that_is_no_member_waits_and_is_not_ended(void **state)
{
    (void)state;
    struct porch *w = porch_new(2, 9);
    run(w, 3000);
    assert_int_equal(w->joiner.phase, FOUND_WAIT);
    assert_non_null(strstr(words(w), "kelp members add 9 HOST:PORT"));
    struct wire_config c = config_of(2, 9, w->disk.incarnation), gone = config_of(3, 0, 0);
    adopt(w, &c, true);
    adopt(w, &gone, false); /* its removal is not committed: it refuses nobody */
    run(w, 3000);
    assert_int_equal(w->joiner.phase, FOUND_WAIT);
    adopt(w, &c, false); /* and is taken back */
    run(w, 3000);
    assert_int_equal(w->joiner.phase, FOUND_HOLDS);
    porch_free(w);
}

static void a_node_whose_id_another_directory_has_is_told_that_it_was_wiped(void **state)
{
    (void)state;
    struct porch *w = porch_new(3, 9);
    struct wire_config c = config_of(2, 9, 1);
    adopt(w, &c, false);
    run(w, 3000);
    assert_int_equal(w->joiner.phase, FOUND_WAIT); /* that may still be taken back */
    adopt(w, &c, true);
    run(w, 3000);
    assert_int_equal(w->joiner.phase, FOUND_FOREIGN);
    /* it cannot know which of the two it is */
    assert_non_null(strstr(words(w), "start this one with another id (--id auto or 10)"));
    assert_non_null(strstr(words(w), "if it was node 9 (wiped disk)"));
    porch_free(w);
}

static void an_id_is_given_by_a_committed_configuration_only(void **state)
{
    (void)state;
    struct porch *w = porch_new(4, NAME);
    struct wire_config c = config_of(2, 3, w->disk.incarnation);
    adopt(w, &c, false);
    run(w, 3000);
    assert_int_equal(w->names, 0);
    struct wire_config other = config_of(2, 3, 1), later = config_of(4, 4, w->disk.incarnation);
    adopt(w, &other, true); /* the entry was overwritten: 3 is somebody else */
    run(w, 3000);
    assert_int_equal(w->names, 0);
    adopt(w, &later, true);
    run(w, 3000);
    assert_int_equal(w->names, 1);
    assert_int_equal(w->disk.node, 4);
    assert_int_equal(w->joiner.phase, FOUND_HOLDS);
    porch_free(w);
}

static void joining_survives_loss_and_copies(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct porch *w = porch_new(seed, NAME);
        w->loss = 400;
        w->twice = 300;
        run(w, 500);
        struct wire_config c = config_of(2, 3, w->disk.incarnation);
        adopt(w, &c, true);
        run(w, 60000);
        assert_int_equal(w->joiner.phase, FOUND_HOLDS);
        assert_int_equal(w->disk.node, 3);
        porch_free(w);
    }
}

static void joining_survives_a_crash_at_every_step(void **state)
{
    (void)state;
    bool crashed = true;
    for (uint64_t at = 1; crashed; at++) {
        struct porch *w = porch_new(6, NAME);
        w->crash_at = at;
        run(w, 300);
        struct wire_config c = config_of(2, 3, w->disk.incarnation);
        adopt(w, &c, true);
        run(w, 3000);
        crashed = w->crashed;
        if (crashed) joiner_start(w); /* the old hellos are gone; its name may be another one */
        run(w, 3000);
        assert_int_equal(w->joiner.phase, FOUND_HOLDS);
        assert_int_equal(w->disk.node, 3);
        assert_int_equal(w->names, 1);
        if (!crashed) assert_true(at > 4); /* there were that many steps to crash at */
        porch_free(w);
    }
}

static void a_node_without_an_id_takes_no_entry(void **state)
{
    (void)state;
    struct porch *w = porch_new(7, NAME);
    struct wire_config c = config_of(1, 0, 0);
    uint8_t entry[8192];
    struct wire_found m = {.type = WIRE_FOUND_ENTRY, .from = 1, .to = NAME, .cluster = c.cluster};
    m.entry = (struct kelp_bytes){entry, entry_of(&c, entry)};
    found_message(&w->joiner, w->now, &m);
    run(w, 100);
    assert_int_equal(w->disk.entry1_len, 0);
    assert_true(cluster_zero(w->disk.cluster));
    porch_free(w);
}

static void a_waiting_node_founds_alone_once_and_becomes_node_1(void **state)
{
    (void)state;
    struct porch *w = porch_new(8, NAME);
    struct driver_member self = {.id = 1, .peer = {"here:7101"}};
    assert_null(found_alone(&w->joiner, w->now, &self));
    assert_non_null(found_alone(&w->joiner, w->now, &self)); /* it does so already */
    run(w, 2000);
    assert_int_equal(w->joiner.phase, FOUND_HOLDS);
    assert_int_equal(w->disk.node, 1);
    assert_int_equal(w->joiner.config.config.count, 1);
    assert_string_equal(w->joiner.config.peer[0].text, "here:7101");
    assert_string_equal(found_alone(&w->joiner, w->now, &self), "it holds a cluster");
    porch_free(w);
}

static void founding_alone_goes_on_after_a_crash_at_every_step(void **state)
{
    (void)state;
    bool crashed = true;
    uint64_t cut = 0;
    struct driver_member self = {.id = 9, .peer = {"here:7101"}};
    for (uint64_t at = 1; crashed; at++) {
        struct porch *w = porch_new(11, 9);
        w->crash_at = at;
        assert_null(found_alone(&w->joiner, w->now, &self));
        run(w, 2000);
        crashed = w->crashed;
        struct kelp_cluster_id pledged = w->disk.cluster;
        if (crashed) {
            joiner_start(w);
            bool half = !cluster_zero(pledged) && w->disk.entry1_len == 0;
            assert_true((strstr(words(w), "kelp bootstrap goes on") != NULL) == half);
            cut += half;
            if (w->disk.entry1_len == 0) assert_null(found_alone(&w->joiner, w->now, &self));
            run(w, 2000);
        }
        assert_int_equal(w->joiner.phase, FOUND_HOLDS);
        assert_int_equal(w->joiner.config.config.members[0].incarnation, w->disk.incarnation);
        if (!cluster_zero(pledged)) assert_true(cluster_equal(pledged, w->disk.cluster));
        porch_free(w);
    }
    assert_true(cut > 0);
}

static void who_knocks_or_is_pledged_founds_nothing(void **state)
{
    (void)state;
    struct porch *w = porch_new(9, 9);
    struct driver_member self = {.id = 9, .peer = {"here:7101"}};
    run(w, 1000);
    assert_string_equal(found_alone(&w->joiner, w->now, &self), "it knocks at a cluster");
    joiner_crash(w);
    w->disk.cluster = (struct kelp_cluster_id){1, 2};
    joiner_start(w);
    assert_non_null(strstr(found_alone(&w->joiner, w->now, &self), "pledged"));
    assert_non_null(strstr(words(w),
                           "pledged to cluster 00000000000000010000000000000002 and holds "
                           "nothing of it: empty the directory"));
    run(w, 2000);
    assert_int_equal(w->disk.entry1_len, 0);
    porch_free(w);
}

/* One that was listed when the cluster was founded, and has missed entry 1 so far. */
static void a_removal_that_is_not_committed_ends_no_founder(void **state)
{
    (void)state;
    struct porch *w = porch_new(10, 9);
    struct wire_config c = config_of(2, 9, w->disk.incarnation), gone = config_of(3, 0, 0);
    struct wire_found m = {.type = WIRE_FOUND_SHOW, .from = 9, .to = 1, .id_count = 1, .ids = {9}};
    struct found_todo todo = {.kind = FOUND_NOTHING};
    m.incarnation = w->disk.incarnation;
    adopt(w, &c, true);
    adopt(w, &gone, false);
    found_message(&w->hosts[0], w->now, &m);
    assert_true(found_next(&w->hosts[0], &todo));
    assert_int_equal(todo.message.type, WIRE_FOUND_SHOWN);
    adopt(w, &gone, true);
    found_message(&w->hosts[0], w->now, &m);
    assert_true(found_next(&w->hosts[0], &todo));
    assert_int_equal(todo.message.type, WIRE_FOUND_REFUSED);
    assert_true(todo.message.exists);
    porch_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_knocks_learns_the_cluster_and_who_leads_there),
        cmocka_unit_test(hosts_that_know_different_leaders_are_not_asked_more_often),
        cmocka_unit_test(a_node_with_an_id_that_is_no_member_waits_and_is_not_ended),
        cmocka_unit_test(a_node_whose_id_another_directory_has_is_told_that_it_was_wiped),
        cmocka_unit_test(an_id_is_given_by_a_committed_configuration_only),
        cmocka_unit_test(joining_survives_loss_and_copies),
        cmocka_unit_test(joining_survives_a_crash_at_every_step),
        cmocka_unit_test(a_node_without_an_id_takes_no_entry),
        cmocka_unit_test(a_waiting_node_founds_alone_once_and_becomes_node_1),
        cmocka_unit_test(founding_alone_goes_on_after_a_crash_at_every_step),
        cmocka_unit_test(who_knocks_or_is_pledged_founds_nothing),
        cmocka_unit_test(a_removal_that_is_not_committed_ends_no_founder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
