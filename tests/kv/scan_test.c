/* SPDX-License-Identifier: Apache-2.0 */
/* scan_test.c - SCAN's promise: what is there the whole time is given, whatever comes, goes and
 * moves between the calls, and a cursor means the same on every replica. */
#include "kv/state.h"
#include "tests/kv/machine.h"

struct page {
    uint64_t cursor;
    size_t count;
    const uint8_t *body; /* of the reply, after its heads */
};

static const uint8_t *number_read(const uint8_t *at, uint64_t *number)
{
    for (*number = 0; *at >= '0' && *at <= '9'; at++)
        *number = *number * 10 + (uint64_t)(*at - '0');
    assert_memory_equal(at, "\r\n", 2);
    return at + 2;
}

static struct buf scan(struct kv *kv, uint64_t cursor, const char *options, struct page *page)
{
    char line[256];
    (void)snprintf(line, sizeof(line), "SCAN %llu%s", (unsigned long long)cursor, options);
    struct kelp_bytes argv[WORDS_MAX];
    struct buf reply = argv_reply(kv, argv, words_cut(line, argv), BY_QUERY);
    uint64_t number = 0;
    assert_memory_equal(reply.data, "*2\r\n$", 5);
    const uint8_t *at = number_read(reply.data + 5, &number);
    const uint8_t *digits = at;
    at = number_read(at, &page->cursor);
    assert_int_equal(at - digits, number + 2);
    assert_int_equal(*at, '*');
    page->body = number_read(at + 1, &number);
    page->count = number;
    return reply;
}

static const uint8_t *key_read(const uint8_t *at, struct kelp_bytes *key)
{
    uint64_t len = 0;
    assert_int_equal(*at, '$');
    at = number_read(at + 1, &len);
    *key = bytes_of(at, len);
    return at + len + 2;
}

/* Count the keys "stay:N" of a page. */
static size_t mark_seen(const struct page *page, unsigned *seen, size_t stay)
{
    const uint8_t *at = page->body;
    for (size_t i = 0; i < page->count; i++) {
        struct kelp_bytes key;
        at = key_read(at, &key);
        if (key.len < 6 || memcmp(key.data, "stay:", 5) != 0) continue;
        int64_t number = 0;
        assert_true(decimal_parse(bytes_of(key.data + 5, key.len - 5), &number));
        assert_true(number >= 0 && (size_t)number < stay);
        seen[number]++;
    }
    return page->count;
}

#define STAY 400u

/* Make the table large or small, or churn. */
static void disturb(struct kv *kv, struct prng *random, unsigned mode)
{
    for (int i = 0; i < 40; i++) {
        unsigned key = (unsigned)prng_below(random, 8000);
        bool add = mode == 0 || (mode == 2 && prng_chance(random, 1, 2));
        runs(kv, add ? "SET come:%u 1" : "DEL come:%u", key);
    }
}

static void what_stays_is_given_once_whatever_moves(void **state)
{
    struct kv *kv = *state;
    struct prng random = {1};
    for (unsigned i = 0; i < STAY; i++)
        runs(kv, "SET stay:%u 1", i);
    unsigned bits_low = 64, bits_high = 0;
    for (int round = 0; round < 9; round++) {
        unsigned seen[STAY] = {0};
        uint64_t cursor = 0;
        do {
            struct page page;
            struct buf reply = scan(kv, cursor, round % 2 ? " COUNT 1" : " COUNT 25", &page);
            assert_true(page.cursor == 0 || page.cursor > cursor); /* so it ends */
            (void)mark_seen(&page, seen, STAY);
            cursor = page.cursor;
            buf_close(&reply);
            disturb(kv, &random, (unsigned)round % 3);
            bits_low = (unsigned)min_u64(bits_low, kv->table->at.bits);
            bits_high = (unsigned)max_u64(bits_high, kv->table->at.bits);
        } while (cursor != 0);
        for (unsigned i = 0; i < STAY; i++)
            assert_int_equal(seen[i], 1);
    }
    assert_true(bits_high >= bits_low + 2); /* the table did move meanwhile */
}

static void replicas_agree_however_their_tables_grew(void **state)
{
    struct kv *a = *state, *b = kv_new();
    assert_non_null(b);
    runs(a, "SET first 0"); /* the same first command: the same seed */
    runs(b, "SET first 0");
    for (unsigned i = 0; i < 5000; i++)
        runs(a, "SET key:%u %u", i, i * 3);
    for (unsigned i = 20000; i-- > 0;)
        runs(b, "SET key:%u other", i); /* grew far, then shrank */
    for (unsigned i = 20000; i-- > 5000;)
        runs(b, "DEL key:%u", i);
    assert_true(hash_of(a) != hash_of(b));
    for (unsigned i = 5000; i-- > 0;)
        runs(b, "SET key:%u %u", i, i * 3);
    assert_int_not_equal(a->table->at.bits, b->table->at.bits);
    assert_true(hash_of(a) == hash_of(b));
    uint64_t cursor = 0;
    size_t keys = 0;
    do {
        struct page pa, pb;
        struct buf ra = scan(a, cursor, " MATCH *[0-4] COUNT 37", &pa);
        struct buf rb = scan(b, cursor, " MATCH *[0-4] COUNT 37", &pb);
        assert_true(bytes_equal(buf_bytes(&ra), buf_bytes(&rb)));
        cursor = pa.cursor;
        keys += pa.count;
        buf_close(&ra);
        buf_close(&rb);
    } while (cursor != 0);
    assert_int_equal(keys, 2500);
    kv_fsm_ops.close(b);
}

struct piece { /* what one call of query_part did */
    enum kelp_query state;
    struct answer answer;
};

static struct piece piece_of(struct kv *kv, uint64_t token, const char *line, int may_begin)
{
    struct piece p = {0};
    struct kelp_bytes argv[WORDS_MAX];
    size_t argc = words_cut(line, argv);
    struct buf payload = payload_of(argv, argc);
    buf_init(&p.answer.text, 1u << 20);
    p.state =
        kv_fsm_ops.query_part(kv, 0, token, buf_bytes(&payload), may_begin, answer_take, &p.answer);
    assert_int_equal(p.answer.calls, p.state == KELP_QUERY_DONE);
    buf_close(&payload);
    return p;
}

static enum kelp_query state_of(struct kv *kv, uint64_t token, const char *line, int may_begin)
{
    struct piece p = piece_of(kv, token, line, may_begin);
    buf_close(&p.answer.text);
    return p.state;
}

static void keys_goes_on_in_pieces_and_says_the_same(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 9000; i++)
        runs(kv, "SET key:%u 1", i);
    struct kelp_bytes argv[WORDS_MAX];
    size_t argc = words_cut("KEYS *[0-4]", argv);
    struct buf whole = argv_reply(kv, argv, argc, BY_QUERY);
    assert_int_equal(state_of(kv, 7, "KEYS *[0-4]", 0), KELP_QUERY_BUSY); /* may not begin */
    size_t calls = 1;
    struct piece p;
    while ((p = piece_of(kv, 7, "KEYS *[0-4]", calls == 1)).state == KELP_QUERY_MORE) {
        buf_close(&p.answer.text);
        calls++;
        assert_int_equal(state_of(kv, 8, "KEYS *", 1), KELP_QUERY_BUSY); /* one at a time */
        assert_int_equal(state_of(kv, 9, "GET key:1", 0), KELP_QUERY_DONE);
        asks(kv, "DBSIZE", ":9000\r\n");
        struct buf again = argv_reply(kv, argv, argc, BY_QUERY); /* all at once, beside it */
        assert_true(bytes_equal(buf_bytes(&whole), buf_bytes(&again)));
        buf_close(&again);
    }
    assert_int_equal(p.state, KELP_QUERY_DONE);
    assert_int_equal(calls, 9);
    assert_true(bytes_equal(buf_bytes(&whole), buf_bytes(&p.answer.text)));
    buf_close(&p.answer.text);
    buf_close(&whole);
    runs(kv, "SET another 1"); /* it is over */
}

/* One class of so many bytes, looked at for every byte of every key. */
static const char *slow_pattern(const char *before)
{
    static char line[32768];
    int len = snprintf(line, sizeof line, "%s*[%020000d]", before, 0);
    assert_true(len > 20000 && (size_t)len < sizeof line);
    return line;
}

static void keys_of_a_slow_pattern_goes_on_in_smaller_pieces(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 100; i++)
        runs(kv, "SET key:%u: 1", i); /* no byte of the class at the end */
    const char *line = slow_pattern("KEYS ");
    assert_int_equal(state_of(kv, 7, line, 0), KELP_QUERY_BUSY); /* few keys, but it takes long */
    assert_int_equal(state_of(kv, 8, "KEYS *", 0), KELP_QUERY_DONE);
    size_t calls = 1;
    enum kelp_query at;
    while ((at = state_of(kv, 7, line, calls == 1)) == KELP_QUERY_MORE)
        calls++;
    assert_int_equal(at, KELP_QUERY_DONE);
    assert_in_range(calls, 50, 101); /* 100 keys, 6 or 7 bytes each, 20,000 steps a byte */
}

static void keys_that_is_not_wanted_any_more_leaves_nothing(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 9000; i++)
        runs(kv, "SET key:%u 1", i);
    assert_int_equal(state_of(kv, 7, "KEYS *", 1), KELP_QUERY_MORE);
    kv_fsm_ops.query_end(kv, 0, 8); /* another's */
    assert_int_equal(state_of(kv, 8, "KEYS *", 1), KELP_QUERY_BUSY);
    kv_fsm_ops.query_end(kv, 0, 7);
    runs(kv, "SET another 1");
    assert_int_equal(state_of(kv, 8, "KEYS *", 1), KELP_QUERY_MORE); /* freed with the machine */
}

static void a_long_scan_is_cut_into_short_calls(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 9000; i++)
        runs(kv, "SET key:%u 1", i);
    uint64_t cursor = 0;
    size_t calls = 0, keys = 0;
    do {
        struct page page;
        struct buf reply = scan(kv, cursor, " COUNT 1000000", &page);
        assert_true(page.count <= 4096);
        cursor = page.cursor;
        keys += page.count;
        calls++;
        buf_close(&reply);
    } while (cursor != 0);
    assert_int_equal(keys, 9000);
    assert_int_equal(calls, 3);
}

static void keys_with_one_place_come_in_one_call(void **state)
{
    struct kv *kv = *state;
    for (uint32_t i = 0; i < 50; i++) { /* put in by hand: real collisions cannot be had */
        struct table_entry *e = entry_new(4, 0);
        assert_non_null(e);
        put_u32(e->bytes, i);
        e->hash = ((uint64_t)(i / 25 * 5 + 1) << 60) + i % 3; /* two places of 25 keys, 6 hashes */
        table_insert(kv->table, e);
    }
    struct page page;
    struct buf reply = scan(kv, 0, " COUNT 1", &page);
    assert_int_equal(page.count, 25);
    assert_true(page.cursor == (uint64_t)6 << 49);
    buf_close(&reply);
    reply = scan(kv, page.cursor, " COUNT 1", &page);
    assert_int_equal(page.count, 25);
    assert_int_equal(page.cursor, 0);
    buf_close(&reply);
}

static void filters_pass_keys_over_but_the_scan_goes_on(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 1000; i++)
        runs(kv, "SET key:%u 1", i);
    uint64_t cursor = 0;
    size_t keys = 0, calls = 0;
    do {
        struct page page;
        struct buf reply = scan(kv, cursor, " MATCH key:77? COUNT 100", &page);
        cursor = page.cursor;
        keys += page.count;
        calls++;
        buf_close(&reply);
    } while (cursor != 0);
    assert_int_equal(keys, 10);
    assert_int_equal(calls, 10);
    says(kv, "SCAN 0 TYPE list COUNT 5000", "*2\r\n$1\r\n0\r\n*0\r\n");
    struct page page;
    struct buf reply = scan(kv, 0, " TYPE STRING COUNT 5000 MATCH *", &page);
    assert_int_equal(page.count, 1000);
    buf_close(&reply);
}

static void wrong_words_are_refused_as_redis_does(void **state)
{
    says(*state, "SCAN x", "-ERR invalid cursor\r\n");
    says(*state, "SCAN 18446744073709551616", "-ERR invalid cursor\r\n");
    says(*state, "SCAN 0 MATCH", "-ERR syntax error\r\n");
    says(*state, "SCAN 0 COUNT 0", "-ERR syntax error\r\n");
    says(*state, "SCAN 0 COUNT x", "-ERR value is not an integer or out of range\r\n");
    says(*state, "SCAN 0 WHAT x", "-ERR syntax error\r\n");
    says(*state, "SCAN 18446744073709551615", "*2\r\n$1\r\n0\r\n*0\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(what_stays_is_given_once_whatever_moves),
        MACHINE_TEST(replicas_agree_however_their_tables_grew),
        MACHINE_TEST(a_long_scan_is_cut_into_short_calls),
        MACHINE_TEST(keys_goes_on_in_pieces_and_says_the_same),
        MACHINE_TEST(keys_of_a_slow_pattern_goes_on_in_smaller_pieces),
        MACHINE_TEST(keys_that_is_not_wanted_any_more_leaves_nothing),
        MACHINE_TEST(keys_with_one_place_come_in_one_call),
        MACHINE_TEST(filters_pass_keys_over_but_the_scan_goes_on),
        MACHINE_TEST(wrong_words_are_refused_as_redis_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
