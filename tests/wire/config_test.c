/* SPDX-License-Identifier: Apache-2.0 */
/* config_test.c - a configuration survives its bytes; what nobody could count by is refused. */
#include "golden.h"

static uint8_t encoded[WIRE_CONFIG_BYTES_MAX + 1];
static uint8_t again[WIRE_CONFIG_BYTES_MAX];

#define MEMBERS_AT   48u /* offset of the first member; the sample's are 25 bytes each */
#define MEMBER_BYTES 25u

static size_t encode_sample(void)
{
    struct wire_config c;
    sample_config(&c);
    return wire_config_encode(&c, encoded);
}

static enum kelp_error decode(size_t len)
{
    struct wire_config out;
    return wire_config_decode(bytes_of(encoded, len), 1, &out, NULL);
}

/* The sample, changed: joint or not, roles of its three members in both halves. */
static enum kelp_error decode_roles(uint8_t joint, const uint8_t roles[3], const uint8_t old[3])
{
    size_t len = encode_sample();
    encoded[2] = joint;
    for (size_t i = 0; i < 3; i++) {
        encoded[MEMBERS_AT + i * MEMBER_BYTES + 16] = roles[i];
        encoded[MEMBERS_AT + i * MEMBER_BYTES + 17] = old[i];
    }
    return decode(len);
}

static void a_configuration_has_its_golden_bytes(void **state)
{
    (void)state;
    size_t len = encode_sample();
    golden_check(encoded, len,
                 "0100 00 03 f4010000 0300000000000000 0807060504030201100f0e0d0c0b0a09 "
                 "0068e5cf8b010000 00ca9a3b00000000 0100000000000000 1100000000000000 01 00 "
                 "06 613a37313031 0200000000000000 2200000000000000 01 00 06 623a37313032 "
                 "0300000000000000 3300000000000000 01 00 06 633a37313033");
}

static void a_priority_makes_it_version_2(void **state)
{
    (void)state;
    struct wire_config c, out;
    sample_config(&c);
    c.config.members[0].preference = KELP_PREFERENCE_NEVER;
    c.config.members[2].preference = kelp_preference_of(9);
    size_t len = wire_config_encode(&c, encoded);
    golden_check(encoded, len,
                 "0200 00 03 f4010000 0300000000000000 0807060504030201100f0e0d0c0b0a09 "
                 "0068e5cf8b010000 00ca9a3b00000000 0100000000000000 1100000000000000 01 00 00 "
                 "06 613a37313031 0200000000000000 2200000000000000 01 00 01 06 623a37313032 "
                 "0300000000000000 3300000000000000 01 00 09 06 633a37313033");
    assert_int_equal(wire_config_decode(bytes_of(encoded, len), 1, &out, NULL), KELP_OK);
    assert_int_equal(kelp_priority_of(&out.config.members[0]), 0);
    assert_int_equal(kelp_priority_of(&out.config.members[1]), KELP_PRIORITY_USUAL);
    assert_int_equal(kelp_priority_of(&out.config.members[2]), 9);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(decode(cut), KELP_E_MALFORMED);
}

static void somebody_must_be_left_that_may_lead(void **state)
{
    (void)state;
    struct wire_config c;
    sample_config(&c);
    c.config.members[0].preference = KELP_PREFERENCE_NEVER;
    c.config.members[1].preference = KELP_PREFERENCE_NEVER;
    size_t len = wire_config_encode(&c, encoded);
    assert_int_equal(decode(len), KELP_OK);
    encoded[MEMBERS_AT + 2 * (MEMBER_BYTES + 1) + 18] = 0;
    assert_int_equal(decode(len), KELP_E_MALFORMED);
}

static void random_configurations_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 3};
    for (int i = 0; i < 2000; i++) {
        struct wire_config c, out;
        random_config(&p, &c);
        size_t len = wire_config_encode(&c, encoded);
        assert_int_equal(wire_config_decode(bytes_of(encoded, len), c.config.index, &out, NULL),
                         KELP_OK);
        assert_memory_equal(&c, &out, sizeof c);
        assert_int_equal(wire_config_encode(&out, again), len);
        assert_memory_equal(encoded, again, len);
    }
}

static void the_largest_configuration_survives_its_bytes(void **state)
{
    (void)state;
    struct wire_config c, out;
    memset(&c, 0, sizeof c);
    c.config.count = KELP_MEMBERS_MAX;
    c.config.id_highest = KELP_MEMBERS_MAX;
    for (size_t i = 0; i < KELP_MEMBERS_MAX; i++) {
        c.config.members[i].id = i + 1; /* field by field: what pads them stays zero */
        c.config.members[i].role = KELP_VOTER;
        memset(c.peer[i].text, 'h', 118);
        memcpy(c.peer[i].text + 118, ":65535", 7);
    }
    size_t len = wire_config_encode(&c, encoded);
    assert_int_equal(wire_config_decode(bytes_of(encoded, len), 0, &out, NULL), KELP_OK);
    assert_memory_equal(&c, &out, sizeof c);
}

static void every_cut_and_every_byte_more_is_malformed(void **state)
{
    (void)state;
    size_t len = encode_sample();
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(decode(cut), KELP_E_MALFORMED);
    encoded[len] = 0;
    assert_int_equal(decode(len + 1), KELP_E_MALFORMED);
}

static void another_version_is_not_read(void **state)
{
    (void)state;
    size_t len = encode_sample();
    put_u16(encoded, 3);
    assert_int_equal(decode(len), KELP_E_VERSION);
}

static void a_count_out_of_range_is_malformed(void **state)
{
    (void)state;
    const uint8_t counts[] = {0, 2, 4, 33, 255};
    for (size_t i = 0; i < sizeof counts; i++) {
        size_t len = encode_sample();
        encoded[3] = counts[i];
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

static void ids_must_ascend_and_stay_below_the_highest(void **state)
{
    (void)state;
    const uint64_t second[] = {0, 1, 3, 4}; /* between 1 and 3 */
    for (size_t i = 0; i < sizeof second / sizeof second[0]; i++) {
        size_t len = encode_sample();
        put_u64(encoded + MEMBERS_AT + MEMBER_BYTES, second[i]);
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
    const uint64_t highest[] = {0, 2, UINT64_MAX};
    for (size_t i = 0; i < sizeof highest / sizeof highest[0]; i++) {
        size_t len = encode_sample();
        put_u64(encoded + 8, highest[i]);
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

static void each_half_needs_a_voter(void **state)
{
    (void)state;
    const uint8_t learners[3] = {KELP_LEARNER, KELP_LEARNER, KELP_LEARNER}, none[3] = {0, 0, 0};
    const uint8_t one[3] = {KELP_LEARNER, KELP_VOTER, KELP_LEARNER};
    assert_int_equal(decode_roles(0, learners, none), KELP_E_MALFORMED);
    assert_int_equal(decode_roles(0, one, none), KELP_OK);
    assert_int_equal(decode_roles(1, one, none), KELP_E_MALFORMED);
    assert_int_equal(decode_roles(1, learners, one), KELP_E_MALFORMED);
    assert_int_equal(decode_roles(1, one, one), KELP_OK);
}

static void roles_must_be_known_and_belong_to_their_half(void **state)
{
    (void)state;
    const uint8_t voters[3] = {1, 1, 1}, none[3] = {0, 0, 0};
    const uint8_t unknown[3] = {1, 5, 1}, leaving[3] = {1, 0, 1}, staging[3] = {1, 4, 1};
    assert_int_equal(decode_roles(0, staging, none), KELP_OK);
    assert_int_equal(decode_roles(1, voters, staging), KELP_E_MALFORMED); /* it did not vote */
    assert_int_equal(decode_roles(0, unknown, none), KELP_E_MALFORMED);
    assert_int_equal(decode_roles(1, voters, unknown), KELP_E_MALFORMED);
    assert_int_equal(decode_roles(0, leaving, none), KELP_E_MALFORMED);
    assert_int_equal(decode_roles(0, voters, leaving), KELP_E_MALFORMED);
    assert_int_equal(decode_roles(1, leaving, voters), KELP_OK);
    assert_int_equal(decode_roles(2, voters, voters), KELP_E_MALFORMED);
}

static void an_address_that_is_none_is_malformed(void **state)
{
    (void)state;
    const char *const bad[] = {"a:0000", "a 7101", "a\n:710", "a:65x6", "a\0:711"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = encode_sample();
        assert_int_equal(encoded[MEMBERS_AT + 18], 6);
        memcpy(encoded + MEMBERS_AT + 19, bad[i], 6);
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

static void addresses_are_host_and_port(void **state)
{
    (void)state;
    const char *const good[] = {"a:1", "127.0.0.1:7101", "[::1]:65535", "n-1.example.org:80",
                                "[fe80::1%eth0]:9"};
    const char *const bad[] = {"",        "a",        ":1",       "a:",         "a:0",
                               "a:65536", "a:007",    "::1:7101", "[]:1",       "[::1]",
                               "a b:1",   "a\t:1",    "a:1 ",     "a:+1",       "[a:1",
                               "a]:1",    "a:111111", "\x7f:1",   "h\xc3\xa9:1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(wire_address_check(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(wire_address_check(bad[i]));
}

static void a_host_has_at_most_118_bytes(void **state)
{
    (void)state;
    char text[256];
    memset(text, 'h', sizeof text);
    memcpy(text + 118, ":65535", 7);
    assert_true(wire_address_check(text));
    memset(text, 'h', sizeof text);
    memcpy(text + 119, ":1", 3);
    assert_false(wire_address_check(text));
    memset(text, 'h', sizeof text);
    memcpy(text + 200, ":1", 3);
    assert_false(wire_address_check(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_has_its_golden_bytes),
        cmocka_unit_test(a_priority_makes_it_version_2),
        cmocka_unit_test(somebody_must_be_left_that_may_lead),
        cmocka_unit_test(random_configurations_survive_their_bytes),
        cmocka_unit_test(the_largest_configuration_survives_its_bytes),
        cmocka_unit_test(every_cut_and_every_byte_more_is_malformed),
        cmocka_unit_test(another_version_is_not_read),
        cmocka_unit_test(a_count_out_of_range_is_malformed),
        cmocka_unit_test(ids_must_ascend_and_stay_below_the_highest),
        cmocka_unit_test(each_half_needs_a_voter),
        cmocka_unit_test(roles_must_be_known_and_belong_to_their_half),
        cmocka_unit_test(an_address_that_is_none_is_malformed),
        cmocka_unit_test(addresses_are_host_and_port),
        cmocka_unit_test(a_host_has_at_most_118_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
