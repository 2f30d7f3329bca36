/* SPDX-License-Identifier: Apache-2.0 */
/* forward_test.c - forwards and their answers survive their bytes. */
#include "golden.h"

#include "wire/entry.h"
#include "wire/forward.h"

static uint8_t body[4096];
static uint8_t again[WIRE_FORWARD_HEAD_MAX];

static size_t put(size_t at, struct kelp_bytes part)
{
    if (part.len > 0) memcpy(body + at, part.data, part.len);
    return at + part.len;
}

static size_t encode(const struct wire_forward *f)
{
    size_t at = wire_forward_encode(f, body);
    return put(put(put(at, f->user), f->extension), f->command);
}

static size_t encode_answer(const struct wire_forward_answer *a)
{
    return put(wire_forward_answer_encode(a, body), a->result);
}

static struct wire_forward sample(void)
{
    return (struct wire_forward){.kind = WIRE_FORWARD_WRITE,
                                 .term = {4},
                                 .incarnation = 0x22,
                                 .start_count = 3,
                                 .number = 17,
                                 .timeout_ns = 5000000000,
                                 .user = BYTES_LITERAL("ann"),
                                 .extension = BYTES_LITERAL("ext"),
                                 .command = BYTES_LITERAL("SET k v")};
}

static struct wire_forward_answer sample_answer(void)
{
    return (struct wire_forward_answer){.number = 17,
                                        .outcome = KELP_DONE,
                                        .reason = KELP_R_NOT_LEADER,
                                        .leader = 3,
                                        .pos = kelp_pos_of(9, 4),
                                        .result = BYTES_LITERAL("+OK\r\n")};
}

static enum kelp_error decode(size_t len)
{
    struct wire_forward out;
    return wire_forward_decode(bytes_of(body, len), &out, NULL);
}

static enum kelp_error decode_answer(size_t len)
{
    struct wire_forward_answer out;
    return wire_forward_answer_decode(bytes_of(body, len), &out, NULL);
}

static void each_has_its_golden_bytes(void **state)
{
    (void)state;
    struct wire_forward f = sample();
    golden_check(body, encode(&f),
                 "3000 01 03 03000000 0400000000000000 2200000000000000 0300000000000000 "
                 "1100000000000000 00f2052a01000000 616e6e 657874 534554206b2076");
    struct wire_forward_answer a = sample_answer();
    golden_check(body, encode_answer(&a),
                 "2800 01 00 0100 0000 1100000000000000 0300000000000000 0900000000000000 "
                 "0400000000000000 2b4f4b0d0a");
}

static void random_forwards_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 10};
    uint8_t bytes[1000];
    for (int i = 0; i < 3000; i++) {
        struct wire_forward f, out;
        memset(&f, 0, sizeof f);
        f.kind = (uint8_t)prng_between(&p, WIRE_FORWARD_WRITE, WIRE_FORWARD_TRANSFER);
        f.term = kelp_term_of(random_number(&p));
        f.incarnation = random_u64(&p);
        f.start_count = random_u64(&p);
        f.number = random_number(&p);
        f.timeout_ns = random_u64(&p);
        random_fill(&p, bytes, sizeof bytes);
        f.user = bytes_of(bytes, prng_below(&p, 256));
        f.extension = bytes_of(bytes + 256, prng_below(&p, 300));
        bool transfer = f.kind == WIRE_FORWARD_TRANSFER;
        f.command = bytes_of(bytes + 600, transfer ? 8 : prng_below(&p, 400));
        size_t len = encode(&f), head = wire_forward_encode(&f, again);
        assert_int_equal(wire_forward_decode(bytes_of(body, len), &out, NULL), KELP_OK);
        assert_true(bytes_equal(f.user, out.user));
        assert_true(bytes_equal(f.extension, out.extension));
        assert_true(bytes_equal(f.command, out.command));
        assert_int_equal(wire_forward_encode(&out, again), head);
        assert_memory_equal(body, again, head);
        out.user = f.user;
        out.extension = f.extension;
        out.command = f.command;
        assert_memory_equal(&f, &out, sizeof f);
    }
}

static void random_answers_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 11};
    uint8_t bytes[1000];
    for (int i = 0; i < 3000; i++) {
        struct wire_forward_answer a, out;
        memset(&a, 0, sizeof a);
        a.number = random_number(&p);
        a.outcome = (uint8_t)prng_between(&p, KELP_DONE, KELP_UNKNOWN);
        a.reason = (uint16_t)random_u64(&p);
        a.leader = random_u64(&p);
        a.pos = kelp_pos_of(random_number(&p), random_number(&p));
        random_fill(&p, bytes, sizeof bytes);
        a.result = bytes_of(bytes, prng_below(&p, sizeof bytes));
        size_t len = encode_answer(&a);
        assert_int_equal(wire_forward_answer_decode(bytes_of(body, len), &out, NULL), KELP_OK);
        assert_true(bytes_equal(a.result, out.result));
        out.result = a.result;
        assert_memory_equal(&a, &out, sizeof a);
    }
}

static void every_cut_of_a_head_is_malformed(void **state)
{
    (void)state;
    struct wire_forward f = sample();
    encode(&f);
    for (size_t cut = 0; cut < 48 + 3 + 3; cut++) { /* what is left behind these is the command */
        uint8_t *exact = test_malloc(cut + 1);
        memcpy(exact, body, cut);
        struct wire_forward out;
        assert_int_equal(wire_forward_decode(bytes_of(exact, cut), &out, NULL), KELP_E_MALFORMED);
        test_free(exact);
    }
    struct wire_forward_answer a = sample_answer();
    encode_answer(&a);
    for (size_t cut = 0; cut < 40; cut++) {
        uint8_t *exact = test_malloc(cut + 1);
        memcpy(exact, body, cut);
        struct wire_forward_answer out;
        assert_int_equal(wire_forward_answer_decode(bytes_of(exact, cut), &out, NULL),
                         KELP_E_MALFORMED);
        test_free(exact);
    }
}

static void fields_of_a_newer_sender_are_skipped(void **state)
{
    (void)state;
    struct wire_forward f = sample(), out;
    size_t len = encode(&f);
    memmove(body + 58, body + 48, len - 48);
    memset(body + 48, 0, 2); /* the level, which this version knows */
    memset(body + 50, 0xab, 8);
    put_u16(body, 58);
    assert_int_equal(wire_forward_decode(bytes_of(body, len + 10), &out, NULL), KELP_OK);
    assert_true(bytes_equal(out.user, f.user));
    assert_true(bytes_equal(out.command, f.command));
}

static void the_level_of_a_read_travels_and_must_make_sense(void **state)
{
    (void)state;
    struct wire_forward f = sample(), out;
    f.kind = WIRE_FORWARD_INDEX;
    f.command = bytes_of(NULL, 0);
    f.level = KELP_READ_LEASE;
    f.may_round = true;
    size_t len = encode(&f);
    assert_int_equal(wire_forward_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_int_equal(out.level, KELP_READ_LEASE);
    assert_true(out.may_round);
    assert_true(bytes_equal(out.user, f.user));
    body[48] = KELP_READ_LOG; /* nothing but a lease may be a round */
    assert_int_equal(decode(len), KELP_E_MALFORMED);
    body[49] = 0;
    assert_int_equal(decode(len), KELP_OK);
    for (uint8_t level = KELP_READ_STALE; level < 8; level++) {
        body[48] = level; /* what only the node itself can answer, or nobody knows */
        assert_int_equal(decode(len), level == KELP_READ_LOG ? KELP_OK : KELP_E_MALFORMED);
    }
    body[48] = KELP_READ_LOG;
    body[2] = WIRE_FORWARD_WRITE; /* a write has no level */
    assert_int_equal(decode(len), KELP_E_MALFORMED);
}

static void an_unknown_kind_or_outcome_is_a_newer_version(void **state)
{
    (void)state;
    struct wire_forward f = sample();
    size_t len = encode(&f);
    body[2] = WIRE_FORWARD_RESTORE + 1;
    assert_int_equal(decode(len), KELP_E_VERSION);
    struct wire_forward_answer a = sample_answer();
    len = encode_answer(&a);
    body[2] = 5;
    assert_int_equal(decode_answer(len), KELP_E_VERSION);
    body[2] = 0;
    assert_int_equal(decode_answer(len), KELP_E_VERSION);
}

static void what_is_executed_once_travels_and_must_make_sense(void **state) /* [§6.3] */
{
    (void)state;
    struct wire_forward f = sample();
    f.kind = WIRE_FORWARD_ONCE;
    f.level = 0;
    f.may_round = false;
    f.once = WIRE_ONCE_COMMAND;
    f.session = 7;
    f.sequence = 8;
    f.acknowledged = UINT64_MAX;
    size_t len = encode(&f);
    struct wire_forward out;
    assert_int_equal(wire_forward_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_int_equal(out.once, WIRE_ONCE_COMMAND);
    assert_int_equal(out.session, 7);
    assert_int_equal(out.sequence, 8);
    assert_int_equal(out.acknowledged, UINT64_MAX);
    for (uint8_t once = 0; once < 5; once++) {
        body[50] = once; /* all but this one have no command, or are none */
        assert_int_equal(decode(len), once == WIRE_ONCE_COMMAND ? KELP_OK : KELP_E_MALFORMED);
    }
    f.command.len = 0;
    f.once = WIRE_ONCE_END;
    len = encode(&f);
    assert_int_equal(decode(len), KELP_OK);
    body[50] = WIRE_ONCE_SESSION; /* one that begins has no name yet */
    assert_int_equal(decode(len), KELP_E_MALFORMED);
    memset(body + 51, 0, 24);
    assert_int_equal(decode(len), KELP_OK);
    body[50] = WIRE_ONCE_END;
    assert_int_equal(decode(len), KELP_E_MALFORMED);
}

static void a_transfer_names_its_target_in_eight_bytes(void **state)
{
    (void)state;
    struct wire_forward f = sample();
    for (size_t len = 7; len <= 9; len++) {
        f.command = bytes_of("123456789", len);
        size_t size = encode(&f);
        body[2] = WIRE_FORWARD_TRANSFER;
        assert_int_equal(decode(size), len == 8 ? KELP_OK : KELP_E_MALFORMED);
    }
}

static void numbers_out_of_range_are_malformed(void **state)
{
    (void)state;
    const struct {
        size_t at;
        uint64_t value;
    } forwards[] = {{8, 0}, {8, UINT64_MAX}, {32, 0}};
    for (size_t i = 0; i < sizeof forwards / sizeof forwards[0]; i++) {
        struct wire_forward f = sample();
        size_t len = encode(&f);
        put_u64(body + forwards[i].at, forwards[i].value);
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
    const struct {
        size_t at;
        uint64_t value;
    } answers[] = {{8, 0}, {24, UINT64_MAX}, {32, UINT64_MAX}};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct wire_forward_answer a = sample_answer();
        size_t len = encode_answer(&a);
        put_u64(body + answers[i].at, answers[i].value);
        assert_int_equal(decode_answer(len), KELP_E_MALFORMED);
    }
}

static void an_answer_names_the_member_it_is_about(void **state)
{
    (void)state;
    struct wire_forward_answer a = sample_answer(), out;
    size_t without = encode_answer(&a);
    a.member = 4;
    size_t len = encode_answer(&a);
    assert_int_equal(len, without + 8);
    assert_int_equal(wire_forward_answer_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_int_equal(out.member, 4);
    assert_true(bytes_equal(out.result, a.result));
}

static void a_reserved_byte_of_an_answer_is_malformed(void **state)
{
    (void)state;
    const size_t reserved[] = {3, 6, 7};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        struct wire_forward_answer a = sample_answer();
        size_t len = encode_answer(&a);
        body[reserved[i]] = 1;
        assert_int_equal(decode_answer(len), KELP_E_MALFORMED);
    }
}

static void an_extension_or_command_above_its_limit_is_malformed(void **state)
{
    (void)state;
    struct wire_forward f = sample(), out;
    static uint8_t large[48 + 6 + WIRE_ENTRY_PAYLOAD_MAX + 1];
    encode(&f);
    memcpy(large, body, 54);
    assert_int_equal(wire_forward_decode(bytes_of(large, sizeof large - 1), &out, NULL), KELP_OK);
    assert_int_equal(out.command.len, WIRE_ENTRY_PAYLOAD_MAX);
    assert_int_equal(wire_forward_decode(bytes_of(large, sizeof large), &out, NULL),
                     KELP_E_MALFORMED);
    put_u32(large + 4, WIRE_EXTENSION_MAX);
    assert_int_equal(wire_forward_decode(bytes_of(large, sizeof large), &out, NULL), KELP_OK);
    put_u32(large + 4, WIRE_EXTENSION_MAX + 1);
    assert_int_equal(wire_forward_decode(bytes_of(large, sizeof large), &out, NULL),
                     KELP_E_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_golden_bytes),
        cmocka_unit_test(random_forwards_survive_their_bytes),
        cmocka_unit_test(random_answers_survive_their_bytes),
        cmocka_unit_test(every_cut_of_a_head_is_malformed),
        cmocka_unit_test(fields_of_a_newer_sender_are_skipped),
        cmocka_unit_test(the_level_of_a_read_travels_and_must_make_sense),
        cmocka_unit_test(an_unknown_kind_or_outcome_is_a_newer_version),
        cmocka_unit_test(what_is_executed_once_travels_and_must_make_sense),
        cmocka_unit_test(a_transfer_names_its_target_in_eight_bytes),
        cmocka_unit_test(numbers_out_of_range_are_malformed),
        cmocka_unit_test(an_answer_names_the_member_it_is_about),
        cmocka_unit_test(a_reserved_byte_of_an_answer_is_malformed),
        cmocka_unit_test(an_extension_or_command_above_its_limit_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
