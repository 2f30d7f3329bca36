/* SPDX-License-Identifier: Apache-2.0 */
/* name_test.c - a directory whose node waits for an id, and is given one: both halves or neither,
 * whatever dies when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/store/storekit.h"

static const struct kelp_cluster_id cluster = {.hi = 3, .lo = 4};

/* The error of opening as --id auto (0) or another one; *out is open on KELP_OK. */
static enum kelp_error open_as(struct fakedisk *d, kelp_id node, struct store **out,
                               struct kelp_fault *fault)
{
    struct store_options options = kit_options();
    options.node = node;
    options.waits = node == 0;
    *fault = (struct kelp_fault){0};
    return store_open(fakedisk_port(d), &options, out, fault);
}

static struct store *opened(struct fakedisk *d, kelp_id node)
{
    struct store *s = NULL;
    struct kelp_fault fault;
    enum kelp_error error = open_as(d, node, &s, &fault);
    if (error != KELP_OK) fail_msg("%s: %s", fault.where, fault.what);
    return s;
}

static void a_name_is_kept_and_becomes_an_id_once(void **state)
{
    (void)state;
    struct fakedisk *d = fakedisk_new(1);
    struct kelp_fault fault;
    struct store *s = opened(d, 0);
    struct store_identity before = store_found(s)->identity;
    assert_true(before.node >= KELP_ID_WAITING);
    store_close(s);
    s = opened(d, 0);
    assert_int_equal(store_found(s)->identity.node, before.node);
    assert_int_equal(store_found(s)->identity.incarnation, before.incarnation);
    assert_int_equal(store_name(s, 4, cluster, 0, NULL), KELP_OK);
    assert_int_equal(store_name(s, 5, cluster, 0, &fault), KELP_E_FOREIGN);
    kit_vote(s, 1, 1, 0);
    kit_append(s, 2, 1, 3, 1);
    store_close(s);
    s = opened(d, 0);
    assert_int_equal(store_found(s)->identity.node, 4);
    assert_int_equal(store_found(s)->identity.cluster.lo, 4);
    assert_int_equal(store_found(s)->identity.incarnation, before.incarnation);
    kit_expect(s, 3, 1);
    store_close(s);
    assert_int_equal(open_as(d, 5, &s, &fault), KELP_E_FOREIGN);
    assert_non_null(strstr(fault.what, "node 4, not to node 5"));
    s = opened(d, 4);
    store_close(s);
    fakedisk_free(d);
}

static void a_node_with_an_id_is_given_no_other(void **state)
{
    (void)state;
    struct fakedisk *d = fakedisk_new(2);
    struct kelp_fault fault;
    struct store *s = opened(d, 7);
    assert_int_equal(store_name(s, 8, cluster, 0, &fault), KELP_E_FOREIGN);
    assert_int_equal(store_found(s)->identity.node, 7);
    store_close(s);
    fakedisk_free(d);
}

/* The disk dies at every single call from the naming on; what is there then opens again. */
static void a_cut_at_any_call_leaves_both_halves_or_neither(void **state)
{
    (void)state;
    bool reached = true;
    unsigned neither = 0, both = 0;
    for (uint64_t at = 1; reached; at++) {
        struct fakedisk *d = fakedisk_new(100 + at);
        struct store *s = opened(d, 0);
        uint64_t incarnation = store_found(s)->identity.incarnation;
        fakedisk_die_at(d, fakedisk_calls(d) + at);
        bool named = store_name(s, 4, cluster, 0, NULL) == KELP_OK;
        reached = !named || at < 40;
        store_close(s);
        fakedisk_cut(d, CUT_RANDOM);
        s = opened(d, 0);
        const struct store_identity *i = &store_found(s)->identity;
        bool has = i->node == 4;
        assert_true(has || i->node >= KELP_ID_WAITING);
        assert_int_equal(i->cluster.lo, has ? 4 : 0);
        assert_int_equal(i->incarnation, incarnation);
        assert_true(has || !named);
        neither += !has;
        both += has;
        if (!has) assert_int_equal(store_name(s, 4, cluster, 0, NULL), KELP_OK);
        kit_vote(s, 1, 1, 0);
        kit_append(s, 2, 1, 3, 1);
        store_close(s);
        s = opened(d, 4);
        kit_expect(s, 3, 1);
        store_close(s);
        fakedisk_free(d);
    }
    assert_true(neither > 0 && both > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_kept_and_becomes_an_id_once),
        cmocka_unit_test(a_node_with_an_id_is_given_no_other),
        cmocka_unit_test(a_cut_at_any_call_leaves_both_halves_or_neither),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
