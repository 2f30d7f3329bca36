/* SPDX-License-Identifier: Apache-2.0 */
/* found_test.c - the birth of a cluster, as pure machines on a network of the test's own: loss,
 * copies, crashes at every step, emptied directories; never two clusters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/found.h"
#include "wire/entry.h"

#define NODES        3u
#define MS           UINT64_C(1000000)
#define FLYING_MAX   1024u
#define CLUSTERS_MAX 64u

struct directory { /* what survives a crash */
    uint64_t incarnation;
    struct kelp_cluster_id cluster;
    uint8_t entry1[8192];
    size_t entry1_len;
};

struct node {
    kelp_id id;
    bool up;
    struct directory disk;
    struct found f;
    struct found_todo doing; /* PLEDGE or SAVE, not durable yet */
    uint8_t saving[8192];
    kelp_ns done_at;
    struct driver_member listed[NODES];
    size_t listed_count;
};

struct flying {
    struct wire_found m;
    uint8_t entry[8192];
    size_t entry_len;
    kelp_ns at;
};

struct nursery {
    struct prng prng;
    kelp_ns now;
    struct node nodes[NODES];
    struct flying *flying;
    size_t flying_count;
    uint64_t loss, twice, delay_ms;
    struct kelp_cluster_id born[CLUSTERS_MAX]; /* clusters whose entry 1 became durable somewhere */
    size_t born_count;
    uint64_t events;
    uint64_t crash_at; /* event number; 0: never */
    size_t crash_slot;
    bool crashed;
};

static uint64_t nursery_random(void *ctx)
{
    struct nursery *w = ctx;
    return prng_next(&w->prng);
}

static void node_start(struct nursery *w, size_t slot)
{
    struct node *n = &w->nodes[slot];
    struct wire_config config;
    struct found_setup setup = {.self = n->id,
                                .incarnation = n->disk.incarnation,
                                .seed = n->id,
                                .cluster = n->disk.cluster,
                                .listed = n->listed,
                                .listed_count = n->listed_count,
                                .created_unix_ms = 1700000000000 + w->now / MS,
                                .random = nursery_random,
                                .random_ctx = w};
    if (n->disk.entry1_len > 0) {
        struct wire_entry e;
        size_t used;
        setup.entry1 = (struct kelp_bytes){n->disk.entry1, n->disk.entry1_len};
        assert_int_equal(wire_entry_decode(setup.entry1, &e, &used, NULL), KELP_OK);
        assert_int_equal(wire_config_decode(e.payload, 1, &config, NULL), KELP_OK);
        setup.config = &config;
    }
    assert_true(found_init(&n->f, &setup, w->now));
    if (setup.config != NULL) found_committed(&n->f, &config);
    n->doing.kind = FOUND_NOTHING;
    n->up = true;
    for (size_t other = 0; other < NODES; other++) { /* hands are shaken */
        struct node *o = &w->nodes[other];
        if (other == slot || !o->up) continue;
        found_connected(&o->f, w->now, n->id, n->disk.entry1_len == 0, n->disk.incarnation);
        found_connected(&n->f, w->now, o->id, o->disk.entry1_len == 0, o->disk.incarnation);
    }
}

static void node_crash(struct nursery *w, size_t slot)
{
    struct node *n = &w->nodes[slot];
    if (n->up) found_free(&n->f);
    n->up = false;
}

static void node_wipe(struct nursery *w, size_t slot)
{
    node_crash(w, slot);
    memset(&w->nodes[slot].disk, 0, sizeof w->nodes[slot].disk);
    w->nodes[slot].disk.incarnation = prng_next(&w->prng) | 1;
}

static struct nursery *nursery_new(uint64_t seed)
{
    struct nursery *w = calloc(1, sizeof *w);
    w->flying = calloc(FLYING_MAX, sizeof *w->flying);
    w->prng.state = seed;
    w->delay_ms = 5;
    for (size_t i = 0; i < NODES; i++) {
        struct node *n = &w->nodes[i];
        n->id = i + 1;
        n->listed_count = NODES;
        for (size_t k = 0; k < NODES; k++) {
            n->listed[k].id = k + 1;
            (void)snprintf(n->listed[k].peer.text, WIRE_ADDRESS_MAX, "node%zu:7101", k + 1);
        }
        node_wipe(w, i);
    }
    return w;
}

static void nursery_free(struct nursery *w)
{
    for (size_t i = 0; i < NODES; i++)
        node_crash(w, i);
    free(w->flying);
    free(w);
}

static void send(struct nursery *w, const struct wire_found *m)
{
    uint64_t copies = 1;
    if (prng_chance(&w->prng, w->loss, 1000))
        copies = 0;
    else if (prng_chance(&w->prng, w->twice, 1000))
        copies = 2;
    for (uint64_t i = 0; i < copies && w->flying_count < FLYING_MAX; i++) {
        struct flying *f = &w->flying[w->flying_count++];
        uint8_t bytes[WIRE_FOUND_HEAD_MAX + 8192];
        size_t len = wire_found_encode(m, bytes); /* as it travels */
        if (m->entry.len > 0) memcpy(bytes + len, m->entry.data, m->entry.len);
        struct kelp_bytes body = {bytes, len + m->entry.len};
        assert_int_equal(wire_found_decode(body, &f->m, NULL), KELP_OK);
        f->entry_len = m->entry.len;
        if (m->entry.len > 0) memcpy(f->entry, m->entry.data, m->entry.len);
        f->at = w->now + prng_between(&w->prng, 1, w->delay_ms) * MS;
    }
}

/* One thing happened; is this where somebody is to crash? */
static void event(struct nursery *w)
{
    w->events++;
    if (w->events != w->crash_at) return;
    w->crashed = true;
    node_crash(w, w->crash_slot);
}

static void born(struct nursery *w, struct kelp_cluster_id cluster)
{
    for (size_t i = 0; i < w->born_count; i++) {
        if (cluster_equal(w->born[i], cluster)) return;
    }
    assert_true(w->born_count < CLUSTERS_MAX);
    w->born[w->born_count++] = cluster;
}

/* A pledge is told, and entry 1 handed on, only when it is durable here. */
static void assert_promised(const struct node *n, const struct wire_found *m)
{
    if (m->type == WIRE_FOUND_PLEDGED) assert_true(cluster_equal(n->disk.cluster, m->cluster));
    if (m->type == WIRE_FOUND_ENTRY) assert_true(n->disk.entry1_len > 0);
}

static void perform(struct nursery *w, struct node *n)
{
    struct found_todo todo;
    while (n->up && found_next(&n->f, &todo)) { /* sends go on while the disk works */
        if (todo.kind == FOUND_DO_SEND) {
            assert_promised(n, &todo.message);
            send(w, &todo.message);
        } else {
            assert_int_equal(n->doing.kind, FOUND_NOTHING);
            n->doing = todo;
            n->done_at = w->now + prng_between(&w->prng, 1, 3) * MS;
            if (todo.kind == FOUND_DO_SAVE) {
                assert_true(todo.entry.len <= sizeof n->saving);
                memcpy(n->saving, todo.entry.data, todo.entry.len);
            }
        }
        event(w);
    }
}

static void complete(struct nursery *w, struct node *n)
{
    if (n->doing.kind == FOUND_NOTHING || w->now < n->done_at) return;
    enum found_kind kind = n->doing.kind;
    n->doing.kind = FOUND_NOTHING;
    if (kind == FOUND_DO_PLEDGE) {
        assert_true(cluster_zero(n->disk.cluster)); /* once in a directory's life */
        n->disk.cluster = n->doing.cluster;
    } else {
        n->disk.entry1_len = n->doing.entry.len;
        memcpy(n->disk.entry1, n->saving, n->disk.entry1_len);
        born(w, n->disk.cluster);
    }
    event(w);
    if (!n->up) return; /* durable, but nobody was told */
    if (kind == FOUND_DO_PLEDGE)
        found_pledged(&n->f, w->now);
    else
        found_saved(&n->f, w->now);
}

static void arrive(struct nursery *w, struct flying *f)
{
    struct node *to = &w->nodes[f->m.to - 1];
    if (!to->up) return;
    f->m.entry = (struct kelp_bytes){f->entry, f->entry_len};
    found_message(&to->f, w->now, &f->m);
    event(w);
}

static void assert_one_cluster(const struct nursery *w)
{
    const struct directory *held = NULL;
    for (size_t i = 0; i < NODES; i++) {
        const struct directory *disk = &w->nodes[i].disk;
        if (disk->entry1_len == 0) continue;
        if (held != NULL) {
            assert_true(cluster_equal(held->cluster, disk->cluster));
            assert_int_equal(held->entry1_len, disk->entry1_len);
            assert_memory_equal(held->entry1, disk->entry1, disk->entry1_len);
        }
        held = disk;
    }
}

static void run(struct nursery *w, uint64_t ms)
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
        for (size_t i = 0; i < NODES; i++) {
            struct node *n = &w->nodes[i];
            if (n->up) complete(w, n);
            if (n->up) (void)found_tick(&n->f, w->now);
            perform(w, n);
        }
        assert_one_cluster(w);
    }
}

static bool all_hold(const struct nursery *w)
{
    for (size_t i = 0; i < NODES; i++) {
        if (!w->nodes[i].up || w->nodes[i].f.phase != FOUND_HOLDS) return false;
    }
    return true;
}

static void run_until_all_hold(struct nursery *w)
{
    for (int i = 0; i < 600 && !all_hold(w); i++)
        run(w, 100);
    assert_true(all_hold(w));
    assert_int_equal(w->born_count, 1);
}

static const char *words(struct nursery *w, kelp_id id)
{
    static char text[256];
    found_words(&w->nodes[id - 1].f, text, sizeof text);
    return text;
}

/* ---- tests ---- */

static void the_lowest_id_founds_and_everybody_holds_the_same_entry(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(1);
    for (size_t i = NODES; i-- > 0;)
        node_start(w, i);
    run_until_all_hold(w);
    assert_true(w->nodes[0].f.founded);
    for (size_t i = 0; i < NODES; i++) {
        assert_memory_equal(w->nodes[i].disk.entry1, w->nodes[0].disk.entry1,
                            w->nodes[0].disk.entry1_len);
        const struct kelp_member *m = &w->nodes[0].f.config.config.members[i];
        assert_int_equal(m->id, i + 1);
        assert_int_equal(m->incarnation, w->nodes[i].disk.incarnation);
        assert_int_equal(m->role, KELP_VOTER);
    }
    assert_int_equal(w->nodes[0].f.config.config.id_highest, NODES);
    run(w, 100);
    assert_true(found_quorum_started(&w->nodes[0].f));
    nursery_free(w);
}

static void nothing_is_founded_while_a_listed_node_is_missing(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(2);
    node_start(w, 0);
    node_start(w, 1);
    run(w, 10000);
    assert_true(cluster_zero(w->nodes[0].disk.cluster) && cluster_zero(w->nodes[1].disk.cluster));
    assert_string_equal(words(w, 1), "founds the cluster, waits for node 3 (no answer yet)");
    assert_string_equal(words(w, 2), "waits for node 1 to found the cluster");
    node_crash(w, 0);
    run(w, 3000);
    assert_string_equal(words(w, 2), "waits for node 1 to found the cluster");
    node_start(w, 0);
    node_start(w, 2);
    run_until_all_hold(w);
    nursery_free(w);
}

static void different_lists_found_nothing_and_say_so(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(3);
    w->nodes[2].listed_count = 2;
    w->nodes[2].listed[1] = w->nodes[2].listed[2];
    for (size_t i = 0; i < NODES; i++)
        node_start(w, i);
    run(w, 5000);
    assert_int_equal(w->born_count, 0);
    assert_string_equal(words(w, 1), "founds the cluster, waits for node 3 (it lists other nodes)");
    nursery_free(w);
}

static void founding_survives_loss_and_copies(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct nursery *w = nursery_new(seed);
        w->loss = 300;
        w->twice = 300;
        w->delay_ms = 80;
        for (size_t i = 0; i < NODES; i++)
            node_start(w, i);
        run_until_all_hold(w);
        nursery_free(w);
    }
}

static void founding_survives_a_crash_of_anyone_at_every_step(void **state)
{
    (void)state;
    for (size_t slot = 0; slot < NODES; slot++) {
        bool crashed = true;
        for (uint64_t at = 1; crashed; at++) {
            struct nursery *w = nursery_new(7);
            w->crash_at = at;
            w->crash_slot = slot;
            for (size_t i = 0; i < NODES; i++)
                node_start(w, i);
            for (int i = 0; i < 100 && !w->crashed && !all_hold(w); i++)
                run(w, 50);
            crashed = w->crashed;
            run(w, 700);
            if (crashed) node_start(w, slot);
            run_until_all_hold(w);
            if (!crashed) assert_true(at > 20); /* there were that many steps to crash at */
            nursery_free(w);
        }
    }
}

static void
a_directory_wiped_at_any_step_never_joins_in_silence_or_makes_a_second_cluster(void **state)
{
    (void)state;
    size_t foreign = 0, waiting = 0, whole = 0;
    for (size_t slot = 0; slot < NODES; slot++) {
        bool crashed = true;
        for (uint64_t at = 1; crashed; at++) {
            struct nursery *w = nursery_new(8);
            w->crash_at = at;
            w->crash_slot = slot;
            for (size_t i = 0; i < NODES; i++)
                node_start(w, i);
            for (int i = 0; i < 100 && !w->crashed && !all_hold(w); i++)
                run(w, 50);
            crashed = w->crashed;
            if (crashed) {
                node_wipe(w, slot);
                node_start(w, slot);
            }
            run(w, 20000);
            assert_true(w->born_count <= 1 || !crashed);
            struct node *n = &w->nodes[slot];
            if (all_hold(w))
                whole++;
            else if (n->f.phase == FOUND_FOREIGN)
                foreign++;
            else
                waiting++; /* the founder's disk was lost after pledges: by hand */
            if (n->f.phase == FOUND_HOLDS && crashed) {
                const struct kelp_member *m = &n->f.config.config.members[slot];
                assert_int_equal(m->incarnation, n->disk.incarnation);
            }
            nursery_free(w);
        }
    }
    assert_true(foreign > 0 && waiting > 0 && whole > 0);
}

static void a_founder_that_lost_its_disk_asks_for_hands(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(9);
    for (size_t i = 0; i < NODES; i++)
        node_start(w, i);
    for (int i = 0; i < 2000 && cluster_zero(w->nodes[2].disk.cluster); i++)
        run(w, 1);
    assert_false(cluster_zero(w->nodes[2].disk.cluster));
    assert_int_equal(w->nodes[0].disk.entry1_len, 0);
    node_wipe(w, 0);
    node_start(w, 0);
    run(w, 5000);
    assert_int_equal(w->born_count, 0);
    assert_non_null(strstr(words(w, 1), "empty the listed directories by hand"));
    nursery_free(w);
}

static void
two_wiped_nodes_found_nothing_while_the_third_is_away_and_learn_of_it_when_it_is_back(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(10);
    for (size_t i = 0; i < NODES; i++)
        node_start(w, i);
    run_until_all_hold(w);
    node_crash(w, 2);
    node_wipe(w, 0);
    node_wipe(w, 1);
    node_start(w, 0);
    node_start(w, 1);
    run(w, 30000);
    assert_true(cluster_zero(w->nodes[0].disk.cluster) && cluster_zero(w->nodes[1].disk.cluster));
    node_start(w, 2);
    run(w, 5000);
    for (kelp_id id = 1; id <= 2; id++) {
        assert_int_equal(w->nodes[id - 1].f.phase, FOUND_FOREIGN);
        assert_non_null(strstr(words(w, id), "this cluster exists since 2023-11-14 22:13:20 UTC"));
    }
    assert_int_equal(w->born_count, 1);
    nursery_free(w);
}

static void a_node_that_is_no_member_is_told_to_be_added(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(11);
    for (size_t i = 0; i < 2; i++)
        w->nodes[i].listed_count = 2;
    node_start(w, 0);
    node_start(w, 1);
    run(w, 3000);
    assert_int_equal(w->born_count, 1);
    node_start(w, 2); /* lists 1, 2 and itself */
    run(w, 3000);
    assert_int_equal(w->nodes[2].f.phase, FOUND_FOREIGN);
    assert_non_null(strstr(words(w, 3), "kelp members add"));
    nursery_free(w);
}

static void a_node_pledges_to_the_lowest_of_its_own_list_and_to_one_cluster(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(12);
    node_start(w, 1);
    struct found *f = &w->nodes[1].f;
    struct wire_found m = {.type = WIRE_FOUND_PLEDGE,
                           .from = 3,
                           .to = 2,
                           .round = 5,
                           .id_count = 3,
                           .cluster = {1, 1},
                           .ids = {1, 2, 3}};
    struct found_todo todo;
    while (found_next(f, &todo))
        continue;
    found_message(f, w->now, &m);
    assert_true(found_next(f, &todo));
    assert_int_equal(todo.message.type, WIRE_FOUND_REFUSED);
    m.from = 1;
    found_message(f, w->now, &m);
    assert_true(found_next(f, &todo));
    assert_int_equal(todo.kind, FOUND_DO_PLEDGE);
    assert_false(found_next(f, &todo)); /* told only when it is durable */
    found_pledged(f, w->now);
    assert_true(found_next(f, &todo));
    assert_int_equal(todo.message.type, WIRE_FOUND_PLEDGED);
    assert_int_equal(todo.message.incarnation, w->nodes[1].disk.incarnation);
    m.cluster.lo = 2;
    found_message(f, w->now, &m);
    assert_true(found_next(f, &todo));
    assert_int_equal(todo.message.type, WIRE_FOUND_REFUSED);
    nursery_free(w);
}

/* Epoch 1 of a cluster has this node; another one of before, or of elsewhere, founds nothing here.
 */
static void who_is_of_another_epoch_hands_nothing_on(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(14);
    w->nodes[2].listed_count = 0;
    node_start(w, 2);
    struct found *f = &w->nodes[2].f;
    struct wire_found m = {.type = WIRE_FOUND_SNAPSHOT,
                           .from = 1,
                           .to = 3,
                           .cluster = {1, 1},
                           .epoch = 7,
                           .holds = true,
                           .snapshot = {.term = {4}, .index = 9}};
    struct found_todo todo;
    found_message(f, w->now, &m);
    while (found_next(f, &todo) && todo.kind != FOUND_DO_PLEDGE)
        continue;
    assert_int_equal(todo.kind, FOUND_DO_PLEDGE);
    assert_int_equal(todo.epoch, 7);
    found_pledged(f, w->now);
    assert_int_equal(f->setup.epoch, 7);
    found_not_fetched(f);
    assert_int_equal(f->phase, FOUND_WAIT);
    for (uint64_t other = 0; other <= 8; other += 8) {
        m.epoch = other;
        found_message(f, w->now, &m);
        assert_int_equal(f->phase, FOUND_WAIT);
    }
    m.epoch = 7;
    found_message(f, w->now, &m);
    assert_int_equal(f->phase, FOUND_FETCH);
    nursery_free(w);
}

static void an_answer_to_a_former_life_counts_for_nothing(void **state)
{
    (void)state;
    struct nursery *w = nursery_new(13);
    node_start(w, 0);
    run(w, 300);
    struct found *f = &w->nodes[0].f;
    struct wire_found m = {.type = WIRE_FOUND_REFUSED,
                           .from = 3,
                           .to = 1,
                           .round = f->round + 77,
                           .exists = true,
                           .created_unix_ms = 1};
    found_message(f, w->now, &m);
    assert_int_equal(f->phase, FOUND_SHOW);
    m.round = f->round;
    found_message(f, w->now, &m);
    assert_int_equal(f->phase, FOUND_FOREIGN);
    nursery_free(w);
}

static void random_crashes_and_wipes_never_make_two_clusters(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1100; seed++) {
        struct nursery *w = nursery_new(seed);
        w->loss = 100;
        w->twice = 100;
        w->delay_ms = 40;
        for (size_t i = 0; i < NODES; i++)
            node_start(w, i);
        for (int round = 0; round < 25; round++) {
            size_t slot = prng_below(&w->prng, NODES);
            size_t holders = 0, others = 0;
            for (size_t i = 0; i < NODES; i++) {
                holders += w->nodes[i].disk.entry1_len > 0;
                others += i != slot && w->nodes[i].disk.entry1_len > 0;
            }
            if (!w->nodes[slot].up) {
                node_start(w, slot);
            } else if (prng_chance(&w->prng, 1, 3) && (holders == 0 || others > 0)) {
                node_wipe(w, slot); /* any number short of all that hold it */
            } else {
                node_crash(w, slot);
            }
            run(w, prng_between(&w->prng, 1, 400));
            assert_true(w->born_count <= 1);
        }
        nursery_free(w);
    }
}

static void a_list_is_validated(void **state)
{
    (void)state;
    struct driver_member good[2] = {{.id = 1, .peer = {"a:1"}}, {.id = 2, .peer = {"b:1"}}};
    struct driver_member list[2];
    struct kelp_fault fault = {.error = KELP_OK};
    assert_int_equal(found_check_list(good, 2, 2, &fault), KELP_OK);
    assert_int_equal(found_check_list(good, 2, 3, NULL), KELP_E_ARGUMENT);
    memcpy(list, good, sizeof list);
    list[1].id = 1;
    assert_int_equal(found_check_list(list, 2, 1, NULL), KELP_E_ARGUMENT);
    memcpy(list, good, sizeof list);
    list[1].peer = list[0].peer;
    assert_int_equal(found_check_list(list, 2, 1, NULL), KELP_E_ARGUMENT);
    memcpy(list, good, sizeof list);
    list[0].id = 0;
    assert_int_equal(found_check_list(list, 2, 2, NULL), KELP_E_ARGUMENT);
    memcpy(list, good, sizeof list);
    (void)snprintf(list[0].peer.text, WIRE_ADDRESS_MAX, "nowhere");
    assert_int_equal(found_check_list(list, 2, 1, NULL), KELP_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_id_founds_and_everybody_holds_the_same_entry),
        cmocka_unit_test(nothing_is_founded_while_a_listed_node_is_missing),
        cmocka_unit_test(different_lists_found_nothing_and_say_so),
        cmocka_unit_test(founding_survives_loss_and_copies),
        cmocka_unit_test(founding_survives_a_crash_of_anyone_at_every_step),
        cmocka_unit_test(
            a_directory_wiped_at_any_step_never_joins_in_silence_or_makes_a_second_cluster),
        cmocka_unit_test(a_founder_that_lost_its_disk_asks_for_hands),
        cmocka_unit_test(
            two_wiped_nodes_found_nothing_while_the_third_is_away_and_learn_of_it_when_it_is_back),
        cmocka_unit_test(a_node_that_is_no_member_is_told_to_be_added),
        cmocka_unit_test(a_node_pledges_to_the_lowest_of_its_own_list_and_to_one_cluster),
        cmocka_unit_test(who_is_of_another_epoch_hands_nothing_on),
        cmocka_unit_test(an_answer_to_a_former_life_counts_for_nothing),
        cmocka_unit_test(random_crashes_and_wipes_never_make_two_clusters),
        cmocka_unit_test(a_list_is_validated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
