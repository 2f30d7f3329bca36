/* SPDX-License-Identifier: Apache-2.0 */
/* message_test.c - Raft messages survive their bytes; an append is believed entry by entry. */
#include "golden.h"

#include "base/hash.h"
#include "wire/entry.h"
#include "wire/message.h"

#define INFO_MAX 8u

static uint8_t body[64 * 1024];
static uint8_t again[WIRE_MESSAGE_MAX];
static struct kelp_entry_info infos[INFO_MAX];
static struct wire_config configs[2];
static struct kelp_message out;
static struct kelp_bytes entries;

/* What a frame's hash should have covered: the fixed part, if its length is there. */
static size_t fixed_bytes(const uint8_t *bytes, size_t len)
{
    return len < 2 ? 0 : load_u16(bytes);
}

static enum kelp_error decode_hashed(size_t len, size_t hashed)
{
    return wire_message_decode(bytes_of(body, len), hashed, &out, infos, INFO_MAX, &entries,
                               configs, NULL);
}

static enum kelp_error decode(size_t len)
{
    return decode_hashed(len, fixed_bytes(body, len));
}

static size_t add_entry(size_t at, kelp_index index, uint64_t term, uint8_t type,
                        struct kelp_bytes payload)
{
    struct wire_entry e = {.pos = kelp_pos_of(index, term), .type = type, .payload = payload};
    wire_entry_encode(&e, body + at);
    return at + wire_entry_size(&e);
}

static size_t add_config(size_t at, kelp_index index, uint64_t term, uint64_t incarnation)
{
    struct wire_config c;
    uint8_t payload[WIRE_CONFIG_BYTES_MAX];
    sample_config(&c);
    c.config.members[0].incarnation = incarnation;
    return add_entry(at, index, term, KELP_ENTRY_CONFIG,
                     bytes_of(payload, wire_config_encode(&c, payload)));
}

static struct kelp_message message(enum kelp_message_type type)
{
    struct kelp_message m;
    memset(&m, 0, sizeof m);
    m.type = (uint8_t)type;
    m.from = 1;
    m.to = 3;
    m.term = kelp_term_of(4);
    m.id = 17;
    m.attempt = 2;
    m.round = 9;
    return m;
}

static struct kelp_message append(kelp_index prev, uint64_t prev_term, kelp_index last)
{
    struct kelp_message m = message(KELP_MSG_APPEND);
    m.append.prev = kelp_pos_of(prev, prev_term);
    m.append.last = last;
    m.append.commit = 6;
    m.append.everyone = 5;
    return m;
}

static size_t encode_vote(void)
{
    struct kelp_message m = message(KELP_MSG_VOTE);
    m.flags = KELP_MF_PRE_VOTE;
    m.vote.term = kelp_term_of(5);
    m.vote.last = kelp_pos_of(6, 4);
    return wire_message_encode(&m, body);
}

static size_t encode_answer(void)
{
    struct kelp_message m = message(KELP_MSG_ANSWER);
    m.flags = KELP_MF_REJECT;
    m.answer.match = 3;
    m.answer.hint = kelp_pos_of(4, 2);
    m.answer.refused = kelp_pos_of(6, 4);
    m.answer.durable = 5;
    m.answer.applied = 2;
    m.answer.room = 1024;
    m.answer.health = 1;
    return wire_message_encode(&m, body);
}

static size_t encode_heartbeat(void)
{
    struct kelp_message m = message(KELP_MSG_HEARTBEAT);
    m.append.commit = 6;
    m.append.everyone = 5;
    return wire_message_encode(&m, body);
}

static size_t encode_timeout_now(void)
{
    struct kelp_message m = message(KELP_MSG_TIMEOUT_NOW);
    m.flags = KELP_MF_FINAL;
    m.attempt = m.round = 0;
    m.timeout_now.required = 6;
    return wire_message_encode(&m, body);
}

static size_t encode_snapshot(void)
{
    struct kelp_message m = message(KELP_MSG_SNAPSHOT);
    m.attempt = 0;
    m.snapshot.pos = kelp_pos_of(6, 3);
    return wire_message_encode(&m, body);
}

static size_t encode_append(void) /* entries 7@4 and 8@4 behind 6@4 */
{
    struct kelp_message m = append(6, 4, 8);
    size_t at = wire_message_encode(&m, body);
    at = add_entry(at, 7, 4, KELP_ENTRY_COMMAND, BYTES_LITERAL("one"));
    return add_entry(at, 8, 4, KELP_ENTRY_NOOP, bytes_of(NULL, 0));
}

static void each_message_has_its_golden_bytes(void **state)
{
    (void)state;
    golden_check(body, encode_vote(),
                 "5000 01 01 00000000 0100000000000000 0300000000000000 0400000000000000 "
                 "1100000000000000 0200000000000000 0900000000000000 0500000000000000 "
                 "0600000000000000 0400000000000000");
    struct kelp_message granted = message(KELP_MSG_VOTE_ANSWER);
    granted.flags = KELP_MF_GRANTED;
    granted.vote.term = kelp_term_of(4);
    golden_check(body, wire_message_encode(&granted, body),
                 "5000 02 04 00000000 0100000000000000 0300000000000000 0400000000000000 "
                 "1100000000000000 0200000000000000 0900000000000000 0400000000000000 "
                 "0000000000000000 0000000000000000");
    golden_check(body, encode_heartbeat(),
                 "4800 04 00 00000000 0100000000000000 0300000000000000 0400000000000000 "
                 "1100000000000000 0200000000000000 0900000000000000 0600000000000000 "
                 "0500000000000000");
    golden_check(body, encode_answer(),
                 "7800 05 08 00000000 0100000000000000 0300000000000000 0400000000000000 "
                 "1100000000000000 0200000000000000 0900000000000000 0300000000000000 "
                 "0400000000000000 0200000000000000 0600000000000000 0400000000000000 "
                 "0500000000000000 0200000000000000 00040000 01000000");
    golden_check(body, encode_timeout_now(),
                 "4000 06 10 00000000 0100000000000000 0300000000000000 0400000000000000 "
                 "1100000000000000 0000000000000000 0000000000000000 0600000000000000");
    golden_check(body, encode_snapshot(),
                 "4800 07 00 00000000 0100000000000000 0300000000000000 0400000000000000 "
                 "1100000000000000 0000000000000000 0900000000000000 0600000000000000 "
                 "0300000000000000");
    golden_check(body, encode_append(),
                 "6000 03 00 00000000 0100000000000000 0300000000000000 0400000000000000 "
                 "1100000000000000 0200000000000000 0900000000000000 0600000000000000 "
                 "0400000000000000 0800000000000000 0600000000000000 0500000000000000 "
                 "23000000 0100 0000 0700000000000000 0400000000000000 0000000000000000 "
                 "6f6e65 0000000000 4ce6599205959831 20000000 0200 0000 0800000000000000 "
                 "0400000000000000 0000000000000000 da7687563b6d6151");
}

static void random_message(struct prng *p, struct kelp_message *m)
{
    memset(m, 0, sizeof *m);
    m->type = (uint8_t)prng_between(p, KELP_MSG_VOTE, KELP_MSG_SNAPSHOT);
    m->from = random_number(p);
    m->to = m->from + 1;
    m->term = kelp_term_of(random_number(p));
    m->id = random_number(p);
    m->attempt = random_u64(p);
    m->round = random_u64(p);
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE:
        m->flags = (uint8_t)prng_below(p, 4);
        m->vote.term = kelp_term_of(m->term.v + prng_below(p, 2));
        m->vote.last = kelp_pos_of(random_number(p), m->term.v);
        break;
    case KELP_MSG_VOTE_ANSWER:
        m->flags = (uint8_t)(KELP_MF_GRANTED * prng_below(p, 2) | prng_below(p, 2));
        m->vote.term = kelp_term_of(random_number(p));
        break;
    case KELP_MSG_APPEND:
        if (prng_chance(p, 3, 4)) m->append.prev = kelp_pos_of(random_number(p), m->term.v);
        m->append.last = m->append.prev.index;
        m->append.commit = random_number(p);
        m->append.everyone = random_number(p);
        break;
    case KELP_MSG_HEARTBEAT:
        m->append.commit = random_number(p);
        m->append.everyone = random_number(p);
        break;
    case KELP_MSG_ANSWER:
        m->flags = (uint8_t)(KELP_MF_REJECT * prng_below(p, 2));
        m->answer.match = random_number(p);
        m->answer.hint = kelp_pos_of(random_number(p), random_number(p) * prng_below(p, 2));
        m->answer.refused = kelp_pos_of(random_number(p), random_number(p));
        m->answer.durable = random_number(p);
        m->answer.applied = random_number(p);
        m->answer.room = (uint32_t)random_u64(p);
        m->answer.health = (uint32_t)random_u64(p);
        break;
    case KELP_MSG_TIMEOUT_NOW:
        m->flags = (uint8_t)(KELP_MF_FINAL * prng_below(p, 2));
        m->timeout_now.required = random_number(p);
        break;
    case KELP_MSG_SNAPSHOT: m->snapshot.pos = kelp_pos_of(random_number(p), m->term.v); break;
    }
}

static void random_messages_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 7};
    for (int i = 0; i < 5000; i++) {
        struct kelp_message m;
        random_message(&p, &m);
        size_t len = wire_message_encode(&m, body);
        assert_true(len <= WIRE_MESSAGE_MAX && len % 8 == 0);
        assert_int_equal(decode(len), KELP_OK);
        assert_memory_equal(&m, &out, sizeof m);
        assert_int_equal(wire_message_encode(&out, again), len);
        assert_memory_equal(body, again, len);
    }
}

static void an_append_gives_its_entries(void **state)
{
    (void)state;
    size_t len = encode_append();
    assert_int_equal(decode(len), KELP_OK);
    assert_ptr_equal(out.append.entries, infos);
    assert_int_equal(infos[0].term.v, 4);
    assert_int_equal(infos[0].bytes, 48);
    assert_int_equal(infos[0].type, KELP_ENTRY_COMMAND);
    assert_int_equal(infos[1].bytes, 40);
    assert_int_equal(infos[1].type, KELP_ENTRY_NOOP);
    assert_int_equal(out.append.bytes, 88);
    assert_ptr_equal(entries.data, body + len - 88);
    assert_int_equal(entries.len, 88);
    assert_null(out.append.config);
    assert_null(out.append.config_before);
}

static void the_last_two_configurations_are_kept(void **state)
{
    (void)state;
    struct kelp_message m = append(0, 0, 4);
    size_t at = wire_message_encode(&m, body);
    at = add_config(at, 1, 1, 101);
    assert_int_not_equal(at, 0);
    at = add_config(at, 2, 1, 102);
    at = add_entry(at, 3, 2, KELP_ENTRY_NOOP, bytes_of(NULL, 0));
    at = add_config(at, 4, 3, 104);
    assert_int_equal(decode(at), KELP_OK);
    assert_ptr_equal(out.append.config, &configs[0].config);
    assert_ptr_equal(out.append.config_before, &configs[1].config);
    assert_int_equal(configs[0].config.index, 4);
    assert_int_equal(configs[0].config.members[0].incarnation, 104);
    assert_int_equal(configs[1].config.index, 2);
    assert_int_equal(configs[1].config.members[0].incarnation, 102);
}

static void one_configuration_has_none_before_it(void **state)
{
    (void)state;
    struct kelp_message m = append(0, 0, 1);
    size_t at = add_config(wire_message_encode(&m, body), 1, 1, 101);
    assert_int_equal(decode(at), KELP_OK);
    assert_ptr_equal(out.append.config, &configs[0].config);
    assert_null(out.append.config_before);
}

static void a_broken_configuration_spoils_the_append(void **state)
{
    (void)state;
    struct kelp_message m = append(0, 0, 1);
    size_t at = wire_message_encode(&m, body);
    at = add_entry(at, 1, 1, KELP_ENTRY_CONFIG, BYTES_LITERAL("\1\0nonsense"));
    assert_int_equal(decode(at), KELP_E_MALFORMED);
}

static void every_cut_is_malformed(void **state)
{
    (void)state;
    size_t (*const encoders[])(void) = {encode_vote,        encode_heartbeat, encode_answer,
                                        encode_timeout_now, encode_snapshot,  encode_append};
    for (size_t i = 0; i < sizeof encoders / sizeof encoders[0]; i++) {
        size_t len = encoders[i]();
        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *exact = test_malloc(cut + 1);
            memcpy(exact, body, cut);
            assert_int_equal(wire_message_decode(bytes_of(exact, cut), fixed_bytes(exact, cut),
                                                 &out, infos, INFO_MAX, &entries, configs, NULL),
                             KELP_E_MALFORMED);
            test_free(exact);
        }
    }
}

static void fields_of_a_newer_sender_are_skipped(void **state)
{
    (void)state;
    size_t len = encode_append(), fixed = 96;
    memmove(body + fixed + 16, body + fixed, len - fixed);
    memset(body + fixed, 0xab, 16);
    put_u16(body, (uint16_t)(fixed + 16));
    assert_int_equal(decode(len + 16), KELP_OK);
    assert_int_equal(infos[1].type, KELP_ENTRY_NOOP);
    assert_int_equal(entries.len, 88);
}

static void a_fixed_part_below_the_minimum_is_malformed(void **state)
{
    (void)state;
    size_t (*const encoders[])(void) = {encode_vote, encode_heartbeat, encode_answer,
                                        encode_timeout_now, encode_snapshot};
    for (size_t i = 0; i < sizeof encoders / sizeof encoders[0]; i++) {
        size_t len = encoders[i]();
        for (size_t shorter = 0; shorter < len; shorter++) {
            put_u16(body, (uint16_t)shorter);
            assert_int_equal(decode(shorter), KELP_E_MALFORMED);
            assert_int_equal(decode(len), KELP_E_MALFORMED);
        }
    }
}

static void a_fixed_part_that_breaks_alignment_or_its_limit_is_malformed(void **state)
{
    (void)state;
    size_t len = encode_vote();
    memset(body + len, 0, 512);
    put_u16(body, (uint16_t)(len + 1));
    assert_int_equal(decode(len + 1), KELP_E_MALFORMED);
    put_u16(body, WIRE_MESSAGE_MAX);
    assert_int_equal(decode(WIRE_MESSAGE_MAX), KELP_OK);
    put_u16(body, WIRE_MESSAGE_MAX + 8);
    assert_int_equal(decode(WIRE_MESSAGE_MAX + 8), KELP_E_MALFORMED);
}

static void an_unknown_type_is_a_newer_version(void **state)
{
    (void)state;
    const uint8_t types[] = {0, 8, 255};
    for (size_t i = 0; i < sizeof types; i++) {
        size_t len = encode_vote();
        body[2] = types[i];
        assert_int_equal(decode(len), KELP_E_VERSION);
    }
}

static void a_flag_of_another_type_is_malformed(void **state)
{
    (void)state;
    const struct {
        size_t (*encode)(void);
        uint8_t allowed;
    } rows[] = {
        {encode_vote, KELP_MF_PRE_VOTE | KELP_MF_TRANSFER},
        {encode_answer, KELP_MF_REJECT},
        {encode_heartbeat, 0},
        {encode_append, 0},
        {encode_timeout_now, KELP_MF_FINAL},
        {encode_snapshot, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            size_t len = rows[i].encode();
            body[3] = (uint8_t)(1u << bit);
            assert_int_equal(decode(len),
                             (body[3] & rows[i].allowed) != 0 ? KELP_OK : KELP_E_MALFORMED);
        }
    }
}

static void numbers_out_of_range_are_malformed(void **state)
{
    (void)state;
    const uint64_t huge = (UINT64_C(1) << 62) + 1;
    const struct {
        size_t (*encode)(void);
        size_t at;
        uint64_t value;
    } rows[] = {
        {encode_vote, 4, 1},     /* reserved */
        {encode_vote, 8, 0},     /* from nobody */
        {encode_vote, 8, 3},     /* from the receiver */
        {encode_vote, 16, 0},    /* to nobody */
        {encode_vote, 24, huge}, /* term */
        {encode_vote, 32, 0},    /* id */
        {encode_vote, 56, 0},    /* the election's term */
        {encode_vote, 56, 3},    /* below the candidate's own */
        {encode_vote, 56, huge},
        {encode_vote, 64, 0}, /* an index 0 with a term */
        {encode_vote, 64, huge},
        {encode_vote, 72, 6}, /* a log of a later term than the election */
        {encode_heartbeat, 24, 0},
        {encode_heartbeat, 56, huge},
        {encode_heartbeat, 64, UINT64_MAX},
        {encode_answer, 56, huge},
        {encode_answer, 64, huge},
        {encode_answer, 64, 0},
        {encode_answer, 72, huge},
        {encode_answer, 80, 0},
        {encode_answer, 88, huge},
        {encode_answer, 96, huge},
        {encode_answer, 104, huge},
        {encode_timeout_now, 24, 0}, /* a leader of term 0 */
        {encode_timeout_now, 56, huge},
        {encode_snapshot, 24, 0}, /* a leader of term 0 */
        {encode_snapshot, 24, 2}, /* the snapshot's term above the leader's */
        {encode_snapshot, 56, 0}, /* a term without an index */
        {encode_snapshot, 56, huge},
        {encode_snapshot, 64, 0},
        {encode_snapshot, 64, 5},
        {encode_snapshot, 64, huge},
        {encode_append, 24, 0}, /* a leader of term 0 */
        {encode_append, 56, 0}, /* prev */
        {encode_append, 64, 5}, /* prev's term above the leader's */
        {encode_append, 72, 5}, /* ends before it begins */
        {encode_append, 72, 7}, /* names one entry, carries two */
        {encode_append, 72, 9}, /* names three, carries two */
        {encode_append, 72, huge},
        {encode_append, 72, UINT64_MAX},
        {encode_append, 80, huge},
        {encode_append, 88, huge},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = rows[i].encode();
        assert_int_equal(decode(len), KELP_OK);
        if (rows[i].at == 4)
            put_u32(body + 4, (uint32_t)rows[i].value);
        else
            put_u64(body + rows[i].at, rows[i].value);
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

static void bytes_behind_a_message_are_malformed(void **state)
{
    (void)state;
    size_t (*const encoders[])(void) = {encode_vote,        encode_heartbeat, encode_answer,
                                        encode_timeout_now, encode_snapshot,  encode_append};
    for (size_t i = 0; i < sizeof encoders / sizeof encoders[0]; i++) {
        size_t len = encoders[i]();
        body[len] = 0;
        assert_int_equal(decode(len + 1), KELP_E_MALFORMED);
    }
}

static void a_hash_over_more_or_less_than_the_fixed_part_is_malformed(void **state)
{
    (void)state;
    size_t (*const encoders[])(void) = {encode_vote, encode_heartbeat, encode_answer,
                                        encode_append};
    for (size_t i = 0; i < sizeof encoders / sizeof encoders[0]; i++) {
        size_t len = encoders[i](), fixed = load_u16(body);
        for (size_t hashed = 0; hashed <= len + 8; hashed++)
            assert_int_equal(decode_hashed(len, hashed),
                             hashed == fixed ? KELP_OK : KELP_E_MALFORMED);
    }
}

/* Two entries at the given positions behind prev 6@2, in an append of term 4 that names 7..8. */
static enum kelp_error decode_pair(kelp_index first, uint64_t first_term, kelp_index second,
                                   uint64_t second_term)
{
    struct kelp_message m = append(6, 2, 8);
    size_t at = wire_message_encode(&m, body);
    at = add_entry(at, first, first_term, KELP_ENTRY_NOOP, bytes_of(NULL, 0));
    at = add_entry(at, second, second_term, KELP_ENTRY_NOOP, bytes_of(NULL, 0));
    return decode(at);
}

static void entries_follow_each_other_and_their_terms_never_fall(void **state) /* [§3.5] */
{
    (void)state;
    assert_int_equal(decode_pair(7, 2, 8, 4), KELP_OK);
    assert_int_equal(decode_pair(7, 2, 8, 2), KELP_OK);
    assert_int_equal(decode_pair(6, 2, 7, 2), KELP_E_MALFORMED); /* begins at prev */
    assert_int_equal(decode_pair(8, 2, 9, 2), KELP_E_MALFORMED); /* a gap behind prev */
    assert_int_equal(decode_pair(7, 2, 9, 2), KELP_E_MALFORMED); /* a gap inside */
    assert_int_equal(decode_pair(7, 2, 7, 2), KELP_E_MALFORMED); /* twice */
    assert_int_equal(decode_pair(7, 1, 8, 2), KELP_E_MALFORMED); /* below prev's term */
    assert_int_equal(decode_pair(7, 4, 8, 3), KELP_E_MALFORMED); /* falls */
    assert_int_equal(decode_pair(7, 2, 8, 5), KELP_E_MALFORMED); /* above the leader's */
}

static void a_damaged_entry_is_refused(void **state)
{
    (void)state;
    size_t len = encode_append();
    for (size_t at = 96 + 4; at < 96 + 48; at++) {
        body[at] ^= 0x10;
        assert_int_equal(decode(len), KELP_E_CORRUPT);
        body[at] ^= 0x10;
    }
}

static void an_entry_of_a_newer_version_is_reported_as_such(void **state)
{
    (void)state;
    size_t len = encode_append();
    put_u16(body + 96 + 4, 99);
    put_u64(body + 96 + 40, hash_bytes(bytes_of(body + 96, 40), 0));
    assert_int_equal(decode(len), KELP_E_VERSION);
}

static void more_entries_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    for (kelp_index count = INFO_MAX; count <= INFO_MAX + 1; count++) {
        struct kelp_message m = append(6, 2, 6 + count);
        size_t at = wire_message_encode(&m, body);
        for (kelp_index i = 7; i <= 6 + count; i++)
            at = add_entry(at, i, 4, KELP_ENTRY_NOOP, bytes_of(NULL, 0));
        assert_int_equal(decode(at), count <= INFO_MAX ? KELP_OK : KELP_E_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_has_its_golden_bytes),
        cmocka_unit_test(random_messages_survive_their_bytes),
        cmocka_unit_test(an_append_gives_its_entries),
        cmocka_unit_test(the_last_two_configurations_are_kept),
        cmocka_unit_test(one_configuration_has_none_before_it),
        cmocka_unit_test(a_broken_configuration_spoils_the_append),
        cmocka_unit_test(every_cut_is_malformed),
        cmocka_unit_test(fields_of_a_newer_sender_are_skipped),
        cmocka_unit_test(a_fixed_part_below_the_minimum_is_malformed),
        cmocka_unit_test(a_fixed_part_that_breaks_alignment_or_its_limit_is_malformed),
        cmocka_unit_test(an_unknown_type_is_a_newer_version),
        cmocka_unit_test(a_flag_of_another_type_is_malformed),
        cmocka_unit_test(numbers_out_of_range_are_malformed),
        cmocka_unit_test(bytes_behind_a_message_are_malformed),
        cmocka_unit_test(a_hash_over_more_or_less_than_the_fixed_part_is_malformed),
        cmocka_unit_test(entries_follow_each_other_and_their_terms_never_fall),
        cmocka_unit_test(a_damaged_entry_is_refused),
        cmocka_unit_test(an_entry_of_a_newer_version_is_reported_as_such),
        cmocka_unit_test(more_entries_than_there_is_room_for_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
