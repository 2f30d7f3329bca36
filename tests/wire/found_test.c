/* SPDX-License-Identifier: Apache-2.0 */
/* found_test.c - the messages of founding survive their bytes; entry 1 is handed over verified. */
#include "golden.h"

#include "wire/entry.h"
#include "wire/found.h"

static uint8_t body[8192];
static uint8_t again[WIRE_FOUND_HEAD_MAX];

static struct wire_found sample(enum wire_found_type type)
{
    struct wire_found f;
    memset(&f, 0, sizeof f);
    f.type = (uint8_t)type;
    f.from = 1;
    f.to = 2;
    f.round = 6;
    f.cluster = (struct kelp_cluster_id){.hi = 0x0102030405060708, .lo = 0x090a0b0c0d0e0f10};
    f.incarnation = 0x11;
    f.holds = true;
    f.created_unix_ms = 1700000000000;
    f.next_id = 4;
    f.id_count = 3;
    for (size_t i = 0; i < 3; i++)
        f.ids[i] = i + 1;
    (void)snprintf(f.words, sizeof f.words, "so be it");
    return f;
}

/* A message of type ENTRY with a configuration entry at this index. */
static size_t encode_entry(kelp_index index, uint8_t type)
{
    struct wire_found f = sample(WIRE_FOUND_ENTRY);
    struct wire_config c;
    uint8_t payload[1024];
    sample_config(&c);
    struct wire_entry e = {.pos = kelp_pos_of(index, 1), .type = type};
    e.payload = bytes_of(payload, wire_config_encode(&c, payload));
    size_t at = wire_found_encode(&f, body);
    wire_entry_encode(&e, body + at);
    return at + wire_entry_size(&e);
}

static enum kelp_error decode(size_t len)
{
    struct wire_found out;
    return wire_found_decode(bytes_of(body, len), &out, NULL);
}

static void a_message_has_its_golden_bytes(void **state)
{
    (void)state;
    struct wire_found f = sample(WIRE_FOUND_SHOWN);
    golden_check(body, wire_found_encode(&f, body),
                 "6600 02 01 03 0100000000000000 0200000000000000 0600000000000000 "
                 "0807060504030201100f0e0d0c0b0a09 1100000000000000 0068e5cf8b010000 "
                 "0400000000000000 0100000000000000 0200000000000000 0300000000000000 08 "
                 "736f206265206974");
}

static void random_messages_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 12};
    for (int i = 0; i < 2000; i++) {
        struct wire_found f, out;
        memset(&f, 0, sizeof f);
        do {
            f.type = (uint8_t)prng_between(&p, WIRE_FOUND_SHOW, WIRE_FOUND_SNAPSHOT);
        } while (f.type == WIRE_FOUND_ENTRY);
        f.from = random_number(&p);
        f.to = f.from + 1;
        f.round = random_u64(&p);
        f.cluster = random_cluster(&p);
        f.incarnation = random_u64(&p);
        f.holds = prng_chance(&p, 1, 2);
        f.exists = prng_chance(&p, 1, 2);
        f.created_unix_ms = random_u64(&p);
        f.next_id = random_u64(&p);
        f.id_count = (uint8_t)prng_below(&p, KELP_MEMBERS_MAX + 1);
        for (size_t k = 0; k < f.id_count; k++)
            f.ids[k] = k + 1 + random_number(&p) * 64;
        memset(f.words, 'w', prng_below(&p, sizeof f.words));
        if (prng_chance(&p, 1, 2)) f.given = random_number(&p);
        if (prng_chance(&p, 1, 2)) f.epoch = random_u64(&p);
        if (f.type == WIRE_FOUND_SNAPSHOT)
            f.snapshot = kelp_pos_of(random_number(&p), random_number(&p));
        size_t len = wire_found_encode(&f, body);
        enum kelp_error error = wire_found_decode(bytes_of(body, len), &out, NULL);
        assert_int_equal(error, KELP_OK);
        assert_memory_equal(&f, &out, sizeof f);
        assert_int_equal(wire_found_encode(&out, again), len);
        assert_memory_equal(body, again, len);
    }
}

static void entry_1_is_handed_over_whole(void **state)
{
    (void)state;
    struct wire_found out;
    size_t len = encode_entry(1, KELP_ENTRY_CONFIG);
    assert_int_equal(wire_found_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_ptr_equal(out.entry.data + out.entry.len, body + len);
    struct wire_entry entry;
    size_t used;
    assert_int_equal(wire_entry_decode(out.entry, &entry, &used, NULL), KELP_OK);
    assert_int_equal(used, out.entry.len);
}

static void what_is_not_entry_1_is_malformed(void **state)
{
    (void)state;
    assert_int_equal(decode(encode_entry(2, KELP_ENTRY_CONFIG)), KELP_E_MALFORMED);
    assert_int_equal(decode(encode_entry(1, KELP_ENTRY_NOOP)), KELP_E_MALFORMED);
    size_t len = encode_entry(1, KELP_ENTRY_CONFIG);
    body[len] = 0;
    assert_int_equal(decode(len + 1), KELP_E_MALFORMED);
    body[len - 1] ^= 1;
    assert_int_equal(decode(len), KELP_E_CORRUPT);
    struct wire_found f = sample(WIRE_FOUND_ENTRY);
    assert_int_equal(decode(wire_found_encode(&f, body)), KELP_E_MALFORMED); /* none at all */
}

static void every_cut_is_malformed(void **state)
{
    (void)state;
    size_t len = encode_entry(1, KELP_ENTRY_CONFIG);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = test_malloc(cut + 1);
        memcpy(exact, body, cut);
        struct wire_found out;
        assert_int_equal(wire_found_decode(bytes_of(exact, cut), &out, NULL), KELP_E_MALFORMED);
        test_free(exact);
    }
}

static void bytes_behind_another_message_are_malformed(void **state)
{
    (void)state;
    struct wire_found f = sample(WIRE_FOUND_SHOW);
    size_t len = wire_found_encode(&f, body);
    body[len] = 0;
    assert_int_equal(decode(len), KELP_OK);
    assert_int_equal(decode(len + 1), KELP_E_MALFORMED);
}

static void fields_of_a_newer_node_are_skipped_within_the_limit(void **state)
{
    (void)state;
    struct wire_found f = sample(WIRE_FOUND_PLEDGE);
    size_t len = wire_found_encode(&f, body);
    memset(body + len, 0xab, sizeof body - len);
    put_u16(body, (uint16_t)(len + 9));
    assert_int_equal(decode(len + 9), KELP_OK);
    put_u16(body, WIRE_FOUND_HEAD_MAX + 1);
    assert_int_equal(decode(WIRE_FOUND_HEAD_MAX + 1), KELP_E_MALFORMED);
}

/* What was appended to the format later: an older sender leaves it out, it costs nothing then. */
static void who_leads_and_the_id_given_are_appended(void **state)
{
    (void)state;
    struct wire_found f = sample(WIRE_FOUND_SHOWN), out;
    size_t before = wire_found_encode(&f, body);
    f.given = 4;
    f.leader = 2;
    (void)snprintf(f.leader_peer.text, WIRE_ADDRESS_MAX, "host:7101");
    size_t len = wire_found_encode(&f, body);
    assert_int_equal(len, before + 8 + 8 + 1 + 9);
    assert_int_equal(wire_found_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_int_equal(out.given, 4);
    assert_int_equal(out.leader, 2);
    assert_string_equal(out.leader_peer.text, "host:7101");
    body[before + 7] = 0x80; /* the id of no member */
    assert_int_equal(decode(len), KELP_E_MALFORMED);
    body[before + 7] = 0;
    body[len - 1] = ' '; /* no address */
    assert_int_equal(decode(len), KELP_E_MALFORMED);
}

/* .. and what takes the place of entry 1 behind them, whether they are there or not. */
static void a_snapshot_is_offered_with_its_end(void **state)
{
    (void)state;
    struct wire_found f = sample(WIRE_FOUND_SNAPSHOT), out;
    f.snapshot = kelp_pos_of(9, 4);
    size_t len = wire_found_encode(&f, body);
    golden_check(body, len,
                 "8700 08 01 03 0100000000000000 0200000000000000 0600000000000000 "
                 "0807060504030201100f0e0d0c0b0a09 1100000000000000 0068e5cf8b010000 "
                 "0400000000000000 0100000000000000 0200000000000000 0300000000000000 08 "
                 "736f206265206974 0000000000000000 0000000000000000 00 0900000000000000 "
                 "0400000000000000");
    assert_int_equal(wire_found_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_true(kelp_pos_equal(out.snapshot, f.snapshot));
    for (size_t cut = 2; cut < len; cut++) { /* whatever of it is missing */
        put_u16(body, (uint16_t)cut);
        assert_int_equal(decode(cut), KELP_E_MALFORMED);
    }
    static const struct kelp_pos bad[] = {
        {.index = 0}, {.index = 9}, {.index = UINT64_MAX, .term = {4}}, {.index = 0, .term = {4}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        len = wire_found_encode(&f, body);
        put_u64(body + len - 16, bad[i].index);
        put_u64(body + len - 8, bad[i].term.v);
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

/* Another type has nothing there: what a newer node puts there is skipped. */
static void a_snapshot_is_read_of_an_offer_alone(void **state)
{
    (void)state;
    struct wire_found f = sample(WIRE_FOUND_SNAPSHOT), out;
    f.snapshot = kelp_pos_of(9, 4);
    size_t len = wire_found_encode(&f, body);
    body[2] = WIRE_FOUND_SHOWN;
    assert_int_equal(wire_found_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_int_equal(out.snapshot.index, 0);
}

static void an_unknown_type_is_a_newer_version(void **state)
{
    (void)state;
    struct wire_found f = sample(WIRE_FOUND_SHOW);
    size_t len = wire_found_encode(&f, body);
    body[2] = 9;
    assert_int_equal(decode(len), KELP_E_VERSION);
    body[2] = 0;
    assert_int_equal(decode(len), KELP_E_VERSION);
}

static void fields_out_of_range_are_malformed(void **state)
{
    (void)state;
    const struct {
        size_t at;
        uint8_t value;
    } bad[] = {
        {3, 4},    /* flags */
        {4, 33},   /* more ids than a cluster has members */
        {4, 255},  /* and more than there are bytes */
        {5, 0},    /* from nobody */
        {5, 2},    /* to itself */
        {69, 0},   /* an id 0 */
        {69, 2},   /* an id twice */
        {93, 9},   /* words that are longer than the message */
        {94, 0x7}, /* words that ring */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct wire_found f = sample(WIRE_FOUND_SHOW);
        size_t len = wire_found_encode(&f, body);
        assert_int_equal(decode(len), KELP_OK);
        body[bad[i].at] = bad[i].value;
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_has_its_golden_bytes),
        cmocka_unit_test(random_messages_survive_their_bytes),
        cmocka_unit_test(entry_1_is_handed_over_whole),
        cmocka_unit_test(what_is_not_entry_1_is_malformed),
        cmocka_unit_test(every_cut_is_malformed),
        cmocka_unit_test(bytes_behind_another_message_are_malformed),
        cmocka_unit_test(fields_of_a_newer_node_are_skipped_within_the_limit),
        cmocka_unit_test(who_leads_and_the_id_given_are_appended),
        cmocka_unit_test(a_snapshot_is_offered_with_its_end),
        cmocka_unit_test(a_snapshot_is_read_of_an_offer_alone),
        cmocka_unit_test(an_unknown_type_is_a_newer_version),
        cmocka_unit_test(fields_out_of_range_are_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
