/* SPDX-License-Identifier: Apache-2.0 */
/* handshake_test.c - hellos, refusals and tables survive their bytes; a hello is judged by what is
 * committed, in a fixed order. */
#include "golden.h"

#include "wire/epoch.h"
#include "wire/handshake.h"

static uint8_t encoded[WIRE_ADDRESSES_MAX + 1];
static uint8_t again[WIRE_ADDRESSES_MAX];

static const struct kelp_cluster_id ours = {.hi = 0x0102030405060708, .lo = 0x090a0b0c0d0e0f10};
static const struct kelp_cluster_id other = {.hi = 0x0102030405060708, .lo = 1};

static struct wire_hello sample_hello(void) /* from node 2 to node 1 of the sample configuration */
{
    struct wire_hello h;
    memset(&h, 0, sizeof h);
    h.version_min = h.version_max = WIRE_PROTOCOL_VERSION;
    h.features = 0x8000000000000001;
    h.cluster = ours;
    h.epoch = 4;
    h.node = 2;
    h.to = 1;
    h.incarnation = 0x22;
    h.lane = KELP_LANE_ENTRIES;
    h.connection = 77;
    h.empty = true;
    h.election_min_ns = 1000000000;
    h.election_max_ns = 2000000000;
    h.heartbeat_ns = 100000000;
    h.drift_ppm = 500;
    (void)snprintf(h.peer.text, sizeof h.peer.text, "b:7102");
    (void)snprintf(h.client.text, sizeof h.client.text, "[::1]:7002");
    return h;
}

static struct wire_refuse sample_refuse(void)
{
    struct wire_refuse r;
    memset(&r, 0, sizeof r);
    r.reason = WIRE_REFUSE_WIPED;
    r.cluster = ours;
    r.node = 1;
    r.incarnation = 0x22;
    r.since_unix_ms = 1700000000000;
    r.next_id = 4;
    (void)snprintf(r.words, sizeof r.words, "the directory is empty");
    return r;
}

static void sample_rows(struct wire_member_addresses rows[2])
{
    memset(rows, 0, 2 * sizeof rows[0]);
    rows[0].id = 1;
    rows[0].version = 9;
    (void)snprintf(rows[0].peer.text, sizeof rows[0].peer.text, "a:1");
    (void)snprintf(rows[0].client.text, sizeof rows[0].client.text, "a:2");
    (void)snprintf(rows[0].http.text, sizeof rows[0].http.text, "a:3");
    rows[1].id = 5;
}

static void each_has_its_golden_bytes(void **state)
{
    (void)state;
    struct wire_hello h = sample_hello();
    golden_check(encoded, wire_hello_encode(&h, encoded),
                 "7700 0100 0100 01 02 0100000000000080 0807060504030201100f0e0d0c0b0a09 "
                 "0400000000000000 0200000000000000 0100000000000000 2200000000000000 "
                 "4d00000000000000 00ca9a3b00000000 0094357700000000 00e1f50500000000 "
                 "f4010000 06 623a37313032 0a 5b3a3a315d3a37303032 00");
    struct wire_refuse r = sample_refuse();
    golden_check(encoded, wire_refuse_encode(&r, encoded),
                 "4a00 0a 0100000000000000 0807060504030201100f0e0d0c0b0a09 2200000000000000 "
                 "0068e5cf8b010000 0400000000000000 16 "
                 "746865206469726563746f727920697320656d707479");
    struct wire_member_addresses rows[2];
    sample_rows(rows);
    golden_check(encoded, wire_addresses_encode(rows, 2, encoded),
                 "0200 1e00 0100000000000000 0900000000000000 03 613a31 03 613a32 03 613a33 "
                 "1500 0500000000000000 0000000000000000 00 00 00");
}

static void random_hellos_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 8};
    for (int i = 0; i < 2000; i++) {
        struct wire_hello h, out;
        memset(&h, 0, sizeof h);
        h.version_min = (uint16_t)prng_between(&p, 1, 100);
        h.version_max = (uint16_t)(h.version_min + prng_below(&p, 100));
        h.features = prng_next(&p);
        h.cluster = random_cluster(&p);
        h.epoch = random_u64(&p);
        h.node = random_number(&p);
        h.to = random_u64(&p);
        h.incarnation = random_u64(&p);
        h.lane = (uint8_t)prng_below(&p, KELP_LANES);
        h.connection = random_u64(&p);
        h.answer = prng_chance(&p, 1, 2);
        h.empty = prng_chance(&p, 1, 2);
        h.election_min_ns = random_u64(&p);
        h.election_max_ns = random_u64(&p);
        h.heartbeat_ns = random_u64(&p);
        h.drift_ppm = (uint32_t)random_u64(&p);
        random_address(&p, &h.peer);
        random_address(&p, &h.client);
        random_address(&p, &h.http);
        size_t len = wire_hello_encode(&h, encoded);
        assert_int_equal(wire_hello_decode(bytes_of(encoded, len), &out, NULL), KELP_OK);
        assert_memory_equal(&h, &out, sizeof h);
        assert_int_equal(wire_hello_encode(&out, again), len);
        assert_memory_equal(encoded, again, len);
    }
}

static void random_tables_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 9};
    for (int i = 0; i < 500; i++) {
        static struct wire_member_addresses rows[KELP_MEMBERS_MAX], out[KELP_MEMBERS_MAX];
        size_t count = prng_below(&p, KELP_MEMBERS_MAX + 1), count_out;
        memset(rows, 0, sizeof rows);
        memset(out, 0, sizeof out);
        for (size_t k = 0; k < count; k++) {
            rows[k].id = 1000 - k;
            rows[k].version = random_u64(&p);
            random_address(&p, &rows[k].peer);
            random_address(&p, &rows[k].client);
            random_address(&p, &rows[k].http);
        }
        size_t len = wire_addresses_encode(rows, count, encoded);
        assert_int_equal(
            wire_addresses_decode(bytes_of(encoded, len), out, KELP_MEMBERS_MAX, &count_out, NULL),
            KELP_OK);
        assert_int_equal(count_out, count);
        assert_memory_equal(rows, out, sizeof rows);
    }
}

static void every_refusal_survives_its_bytes(void **state)
{
    (void)state;
    for (uint8_t reason = WIRE_REFUSE_VERSION; reason <= WIRE_REFUSE_WIPED; reason++) {
        struct wire_refuse r = sample_refuse(), out;
        r.reason = reason;
        memset(r.words, 'w', sizeof r.words - 1);
        size_t len = wire_refuse_encode(&r, encoded);
        assert_int_equal(wire_refuse_decode(bytes_of(encoded, len), &out, NULL), KELP_OK);
        assert_memory_equal(&r, &out, sizeof r);
    }
}

static enum kelp_error decode_hello(const uint8_t *bytes, size_t len)
{
    struct wire_hello out;
    return wire_hello_decode(bytes_of(bytes, len), &out, NULL);
}

static enum kelp_error decode_refuse(const uint8_t *bytes, size_t len)
{
    struct wire_refuse out;
    return wire_refuse_decode(bytes_of(bytes, len), &out, NULL);
}

static enum kelp_error decode_addresses(const uint8_t *bytes, size_t len)
{
    struct wire_member_addresses rows[4];
    size_t count;
    return wire_addresses_decode(bytes_of(bytes, len), rows, 4, &count, NULL);
}

static size_t encode_hello(void)
{
    struct wire_hello h = sample_hello();
    return wire_hello_encode(&h, encoded);
}

static size_t encode_refuse(void)
{
    struct wire_refuse r = sample_refuse();
    return wire_refuse_encode(&r, encoded);
}

static size_t encode_addresses(void)
{
    struct wire_member_addresses rows[2];
    sample_rows(rows);
    return wire_addresses_encode(rows, 2, encoded);
}

static void every_cut_and_every_byte_more_is_malformed(void **state)
{
    (void)state;
    const struct {
        size_t (*encode)(void);
        enum kelp_error (*decode)(const uint8_t *bytes, size_t len);
    } rows[] = {{encode_hello, decode_hello},
                {encode_refuse, decode_refuse},
                {encode_addresses, decode_addresses}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = rows[i].encode();
        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *exact = test_malloc(cut + 1);
            memcpy(exact, encoded, cut);
            assert_int_equal(rows[i].decode(exact, cut), KELP_E_MALFORMED);
            test_free(exact);
        }
        encoded[len] = 0;
        assert_int_equal(rows[i].decode(encoded, len), KELP_OK);
        assert_int_equal(rows[i].decode(encoded, len + 1), KELP_E_MALFORMED);
    }
}

static void fields_of_a_newer_node_are_skipped(void **state)
{
    (void)state;
    size_t len = encode_hello();
    memset(encoded + len, 0xab, 20);
    put_u16(encoded, (uint16_t)(len + 20));
    assert_int_equal(decode_hello(encoded, len + 20), KELP_OK);
    len = encode_refuse();
    memset(encoded + len, 0xab, 20);
    put_u16(encoded, (uint16_t)(len + 20));
    assert_int_equal(decode_refuse(encoded, len + 20), KELP_OK);
    len = encode_addresses(); /* its second and last row, without addresses, has 21 bytes */
    memset(encoded + len, 0xab, 20);
    put_u16(encoded + len - 21, 41);
    assert_int_equal(decode_addresses(encoded, len + 20), KELP_OK);
}

static void a_hello_that_makes_no_sense_is_malformed(void **state)
{
    (void)state;
    const struct {
        size_t at;
        uint8_t value;
    } bad[] = {
        {2, 0},   /* version_min */
        {2, 2},   /* above version_max */
        {6, 3},   /* lane */
        {7, 4},   /* flags */
        {40, 0},  /* node */
        {100, 5}, /* the first address cut: b:710, and a second one of 0x32 bytes */
        {101, ' '},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = encode_hello();
        encoded[bad[i].at] = bad[i].value;
        assert_int_equal(decode_hello(encoded, len), KELP_E_MALFORMED);
    }
}

static void an_unknown_reason_passes_its_words_on(void **state)
{
    (void)state;
    struct wire_refuse out;
    struct kelp_fault fault = {.error = KELP_OK};
    size_t len = encode_refuse();
    encoded[2] = 0;
    assert_int_equal(decode_refuse(encoded, len), KELP_E_MALFORMED);
    encoded[2] = 11;
    assert_int_equal(wire_refuse_decode(bytes_of(encoded, len), &out, &fault), KELP_E_VERSION);
    assert_string_equal(fault.what, "refused for reason 11: the directory is empty");
}

static void words_that_could_steer_a_terminal_are_never_passed_on(void **state)
{
    (void)state;
    struct wire_refuse r = sample_refuse(), out;
    (void)snprintf(r.words, sizeof r.words, "a\033[2Jb\nc\xff");
    size_t len = wire_refuse_encode(&r, encoded);
    assert_int_equal(wire_refuse_decode(bytes_of(encoded, len), &out, NULL), KELP_OK);
    assert_string_equal(out.words, "a?[2Jb?c?");
    encoded[len - 1] = 0x1b;
    assert_int_equal(decode_refuse(encoded, len), KELP_E_MALFORMED);
    encoded[len - 1] = 0;
    assert_int_equal(decode_refuse(encoded, len), KELP_E_MALFORMED);
}

static void a_table_with_too_many_rows_or_an_id_twice_is_refused(void **state)
{
    (void)state;
    struct wire_member_addresses rows[2];
    size_t len = encode_addresses(), count = 99;
    assert_int_equal(wire_addresses_decode(bytes_of(encoded, len), rows, 1, &count, NULL),
                     KELP_E_LIMIT);
    assert_int_equal(count, 0);
    put_u16(encoded, 65535);
    assert_int_equal(decode_addresses(encoded, len), KELP_E_LIMIT);
    for (uint64_t id = 0; id < 2; id++) { /* the second row's: nobody, and the first row's */
        len = encode_addresses();
        put_u64(encoded + len - 19, id);
        assert_int_equal(decode_addresses(encoded, len), KELP_E_MALFORMED);
    }
}

/* ---- the judgement ---------------------------------------------------------------------- */

static struct wire_config committed;

/* Node 1 of the sample configuration, dialled by somebody. */
static struct wire_judge judge_sample(void)
{
    sample_config(&committed);
    committed.config.id_highest = 5; /* 4 and 5 were removed */
    return (struct wire_judge){
        .cluster = ours, .epoch = 4, .self = 1, .incarnation = 0x11, .committed = &committed};
}

static struct wire_hello hello_sample(void)
{
    struct wire_hello h = sample_hello();
    h.empty = false;
    return h;
}

static enum wire_refusal judged(const struct wire_judge *judge, const struct wire_hello *h,
                                struct wire_refuse *out)
{
    enum wire_refusal reason = wire_hello_judge(judge, h, out);
    assert_int_equal(out->reason, reason);
    if (reason == (enum wire_refusal)0) {
        assert_string_equal(out->words, "");
        return reason;
    }
    assert_true(strlen(out->words) > 10);
    assert_int_equal(out->node, judge->self);
    assert_memory_equal(&out->cluster, &judge->cluster, sizeof out->cluster);
    size_t len = wire_refuse_encode(out, encoded); /* what is refused can be said */
    assert_int_equal(decode_refuse(encoded, len), KELP_OK);
    return reason;
}

static enum wire_refusal reason_of(struct wire_judge judge, struct wire_hello h)
{
    struct wire_refuse out;
    return judged(&judge, &h, &out);
}

static void a_member_with_its_own_directory_is_let_in(void **state)
{
    (void)state;
    assert_int_equal(reason_of(judge_sample(), hello_sample()), 0);
}

static void versions_must_overlap(void **state)
{
    (void)state;
    struct wire_hello h = hello_sample();
    h.version_min = WIRE_PROTOCOL_VERSION + 1;
    h.version_max = WIRE_PROTOCOL_VERSION + 4;
    assert_int_equal(reason_of(judge_sample(), h), WIRE_REFUSE_VERSION);
    h.version_min = WIRE_PROTOCOL_VERSION;
    assert_int_equal(reason_of(judge_sample(), h), 0);
}

static void the_node_itself_is_refused(void **state)
{
    (void)state;
    struct wire_hello h = hello_sample();
    h.node = 1;
    assert_int_equal(reason_of(judge_sample(), h), WIRE_REFUSE_SELF);
}

static void another_node_than_was_dialled_is_refused(void **state)
{
    (void)state;
    struct wire_judge judge = judge_sample();
    judge.expected = 3;
    assert_int_equal(reason_of(judge, hello_sample()), WIRE_REFUSE_WRONG_NODE);
    judge.expected = 2;
    assert_int_equal(reason_of(judge, hello_sample()), 0);
    struct wire_hello h = hello_sample();
    h.to = 3; /* the dialler meant node 3, this is node 1 */
    assert_int_equal(reason_of(judge_sample(), h), WIRE_REFUSE_WRONG_NODE);
    h.to = 0;
    assert_int_equal(reason_of(judge_sample(), h), 0);
}

static void another_cluster_is_refused_and_zero_never_mismatches(void **state)
{
    (void)state;
    const struct kelp_cluster_id zero = {.hi = 0, .lo = 0};
    struct wire_judge judge = judge_sample();
    struct wire_hello h = hello_sample();
    h.cluster = other;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_CLUSTER);
    judge.cluster = zero;
    assert_int_equal(reason_of(judge, h), 0);
    judge.cluster = ours;
    h.cluster = zero;
    h.epoch = 0; /* not in the cluster yet, so in no epoch of it */
    assert_int_equal(reason_of(judge, h), 0);
}

static void another_epoch_is_refused(void **state)
{
    (void)state;
    struct wire_hello h = hello_sample();
    h.epoch = 3;
    assert_int_equal(reason_of(judge_sample(), h), WIRE_REFUSE_EPOCH);
}

/* Compared whole: two recoveries of one number are two clusters. Both sides say whose directory is
 * of the past, and what to do. */
static void epochs_are_compared_whole_and_said_which_is_later(void **state)
{
    (void)state;
    struct wire_judge judge = judge_sample();
    struct wire_hello h = hello_sample();
    struct wire_refuse out, read;
    h.epoch = 0;
    judge.epoch = epoch_after(0, 77);
    assert_int_equal(judged(&judge, &h, &out), WIRE_REFUSE_EPOCH);
    assert_non_null(strstr(out.words, "node 2 is of before recovery 1, which node 1 knows: keep"));
    assert_true(out.epoch == judge.epoch);
    size_t len = wire_refuse_encode(&out, encoded);
    assert_int_equal(wire_refuse_decode(bytes_of(encoded, len), &read, NULL), KELP_OK);
    assert_true(read.epoch == judge.epoch);
    h.epoch = epoch_after(0, 78);
    assert_int_equal(judged(&judge, &h, &out), WIRE_REFUSE_EPOCH);
    assert_non_null(strstr(out.words, "were recovered apart (recovery 1)"));
    h.epoch = epoch_after(judge.epoch, 79);
    assert_int_equal(judged(&judge, &h, &out), WIRE_REFUSE_EPOCH);
    assert_non_null(strstr(out.words, "node 1 is of before recovery 2, which node 2 knows"));
    h.epoch = judge.epoch;
    assert_int_equal(judged(&judge, &h, &out), 0);
}

static void an_epoch_is_a_number_and_a_check(void **state)
{
    (void)state;
    char text[EPOCH_TEXT_MAX];
    assert_string_equal(epoch_text(0, text), "0");
    uint64_t first = epoch_after(0, UINT64_C(0xffff00a1b2c3d4e5));
    assert_string_equal(epoch_text(first, text), "1.00a1b2c3d4e5");
    assert_string_equal(epoch_text(epoch_after(first, 0), text), "2.000000000001");
    assert_true(epoch_number(epoch_after(first, UINT64_MAX)) == 2);
}

static void who_was_removed_is_refused_and_told_the_next_id(void **state)
{
    (void)state;
    struct wire_judge judge = judge_sample();
    struct wire_hello h = hello_sample();
    struct wire_refuse out;
    h.node = 5;
    assert_int_equal(judged(&judge, &h, &out), WIRE_REFUSE_REMOVED);
    assert_int_equal(out.next_id, 6);
}

static void membership_is_never_asked_for(void **state) /* [§4.1] */
{
    (void)state;
    struct wire_hello h = hello_sample();
    h.node = 6; /* above the highest id: it may hold the entry that adds it */
    h.incarnation = 0x66;
    assert_int_equal(reason_of(judge_sample(), h), 0);
}

static void who_is_leaving_in_a_joint_configuration_is_let_in(void **state)
{
    (void)state;
    struct wire_judge judge = judge_sample();
    committed.config.joint = 1;
    for (size_t i = 0; i < 3; i++)
        committed.config.members[i].role_old = KELP_VOTER;
    committed.config.members[1].role = KELP_NONE;
    assert_int_equal(reason_of(judge, hello_sample()), 0);
}

static void another_directory_is_refused_with_the_one_on_record(void **state)
{
    (void)state;
    struct wire_judge judge = judge_sample();
    struct wire_hello h = hello_sample();
    struct wire_refuse out;
    h.incarnation = 0x99;
    assert_int_equal(judged(&judge, &h, &out), WIRE_REFUSE_INCARNATION);
    assert_int_equal(out.incarnation, 0x22);
    assert_int_equal(out.since_unix_ms, committed.created_unix_ms);
    assert_int_equal(out.next_id, 0);
    committed.config.members[1].incarnation = 0; /* not on record: nothing to compare with */
    assert_int_equal(reason_of(judge, h), 0);
}

static void a_wiped_directory_is_told_since_when_the_cluster_exists(void **state)
{
    (void)state;
    struct wire_judge judge = judge_sample();
    struct wire_hello h = hello_sample();
    struct wire_refuse out;
    h.cluster = (struct kelp_cluster_id){.hi = 0, .lo = 0};
    h.epoch = 0;
    h.incarnation = 0x99;
    h.empty = true;
    assert_int_equal(judged(&judge, &h, &out), WIRE_REFUSE_WIPED);
    assert_int_equal(out.incarnation, 0x22);
    assert_int_equal(out.since_unix_ms, committed.created_unix_ms);
    assert_int_equal(out.next_id, 6);
    h.incarnation = 0x22; /* listed, empty and its own directory: it waits for entry 1 */
    assert_int_equal(reason_of(judge, h), 0);
}

static void without_a_committed_configuration_nothing_is_judged_by_one(void **state)
{
    (void)state;
    struct wire_judge judge = judge_sample();
    struct wire_hello h = hello_sample();
    judge.committed = NULL;
    h.incarnation = 0x99;
    assert_int_equal(reason_of(judge, h), 0);
    h.node = 5;
    assert_int_equal(reason_of(judge, h), 0);
}

/* Everything is wrong at once; what is mended, in order, shows what is checked next. */
static void the_checks_have_an_order(void **state)
{
    (void)state;
    struct wire_judge judge = judge_sample();
    struct wire_hello h = hello_sample();
    judge.expected = 2;
    h.version_min = h.version_max = 2;
    h.node = 1;
    h.to = 9;
    h.cluster = other;
    h.epoch = 9;
    h.incarnation = 0x99;
    h.empty = true;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_VERSION);
    h.version_min = 1;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_SELF);
    h.node = 5;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_WRONG_NODE);
    judge.expected = 5;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_WRONG_NODE);
    h.to = 1;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_CLUSTER);
    h.cluster = ours;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_EPOCH);
    h.epoch = 4;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_REMOVED);
    judge.expected = h.node = 2;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_WIPED);
    h.empty = false;
    assert_int_equal(reason_of(judge, h), WIRE_REFUSE_INCARNATION);
    h.incarnation = 0x22;
    assert_int_equal(reason_of(judge, h), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_golden_bytes),
        cmocka_unit_test(random_hellos_survive_their_bytes),
        cmocka_unit_test(random_tables_survive_their_bytes),
        cmocka_unit_test(every_refusal_survives_its_bytes),
        cmocka_unit_test(every_cut_and_every_byte_more_is_malformed),
        cmocka_unit_test(fields_of_a_newer_node_are_skipped),
        cmocka_unit_test(a_hello_that_makes_no_sense_is_malformed),
        cmocka_unit_test(an_unknown_reason_passes_its_words_on),
        cmocka_unit_test(words_that_could_steer_a_terminal_are_never_passed_on),
        cmocka_unit_test(a_table_with_too_many_rows_or_an_id_twice_is_refused),
        cmocka_unit_test(a_member_with_its_own_directory_is_let_in),
        cmocka_unit_test(versions_must_overlap),
        cmocka_unit_test(the_node_itself_is_refused),
        cmocka_unit_test(another_node_than_was_dialled_is_refused),
        cmocka_unit_test(another_cluster_is_refused_and_zero_never_mismatches),
        cmocka_unit_test(another_epoch_is_refused),
        cmocka_unit_test(epochs_are_compared_whole_and_said_which_is_later),
        cmocka_unit_test(an_epoch_is_a_number_and_a_check),
        cmocka_unit_test(who_was_removed_is_refused_and_told_the_next_id),
        cmocka_unit_test(membership_is_never_asked_for),
        cmocka_unit_test(who_is_leaving_in_a_joint_configuration_is_let_in),
        cmocka_unit_test(another_directory_is_refused_with_the_one_on_record),
        cmocka_unit_test(a_wiped_directory_is_told_since_when_the_cluster_exists),
        cmocka_unit_test(without_a_committed_configuration_nothing_is_judged_by_one),
        cmocka_unit_test(the_checks_have_an_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
