/* SPDX-License-Identifier: Apache-2.0 */
/* kv_test.c - every command of the machine, reply by reply; flushing; refusals. redis_oracle.py
 * compares the same replies with redis-server's. */
#include "kv/state.h"
#include "tests/kv/machine.h"

#define INTEGER_ERROR  "-ERR value is not an integer or out of range\r\n"
#define OVERFLOW_ERROR "-ERR increment or decrement would overflow\r\n"

static void get_gives_what_set_left(void **state)
{
    says(*state, "GET k", "$-1\r\n");
    says(*state, "SET k v", "+OK\r\n");
    says(*state, "GET k", "$1\r\nv\r\n");
    asks(*state, "get k", "$1\r\nv\r\n");
    says(*state, "SET \"\" \"\"", "+OK\r\n");
    says(*state, "GET \"\"", "$0\r\n\r\n");
}

static void set_nx_sets_only_what_is_not_there(void **state)
{
    says(*state, "SET k 1 nx", "+OK\r\n");
    says(*state, "SET k 2 NX", "$-1\r\n");
    says(*state, "GET k", "$1\r\n1\r\n");
}

static void set_xx_sets_only_what_is_there(void **state)
{
    says(*state, "SET k 1 XX", "$-1\r\n");
    says(*state, "EXISTS k", ":0\r\n");
    runs(*state, "SET k 1");
    says(*state, "SET k 2 Xx", "+OK\r\n");
    says(*state, "GET k", "$1\r\n2\r\n");
}

static void set_get_answers_with_the_old_value(void **state)
{
    says(*state, "SET k 1 GET", "$-1\r\n");
    says(*state, "SET k 2 GET", "$1\r\n1\r\n");
    says(*state, "SET k 3 NX GET", "$1\r\n2\r\n");
    says(*state, "SET k 4 GET XX", "$1\r\n2\r\n");
    says(*state, "GET k", "$1\r\n4\r\n");
    says(*state, "SET j 1 XX GET", "$-1\r\n");
    says(*state, "EXISTS j", ":0\r\n");
}

static void set_refuses_words_it_does_not_know(void **state)
{
    says(*state, "SET k v NX XX", "-ERR syntax error\r\n");
    says(*state, "SET k v what", "-ERR syntax error\r\n");
    says(*state, "SET k v EX", "-ERR syntax error\r\n");
    says(*state, "EXISTS k", ":0\r\n");
}

static void set_refuses_expiry_and_changes_nothing(void **state)
{
    const char *lines[] = {"SET k v EX 10", "SET k v px 10", "SET k v EXAT 1", "SET k v NX PXAT 1",
                           "SET k v KEEPTTL GET"};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        says(*state, lines[i],
             "-ERR expiry (EX, PX, EXAT, PXAT, KEEPTTL) is not in this version\r\n");
    says(*state, "EXISTS k", ":0\r\n");
}

static void setnx_says_whether_it_set(void **state)
{
    says(*state, "SETNX k 1", ":1\r\n");
    says(*state, "SETNX k 2", ":0\r\n");
    says(*state, "GET k", "$1\r\n1\r\n");
}

static void mset_and_mget_take_many_keys(void **state)
{
    says(*state, "MSET a 1 b 2 a 3", "+OK\r\n");
    says(*state, "MGET a x b a", "*4\r\n$1\r\n3\r\n$-1\r\n$1\r\n2\r\n$1\r\n3\r\n");
    says(*state, "MSET a 9 b", "-ERR wrong number of arguments for 'mset' command\r\n");
    says(*state, "GET a", "$1\r\n3\r\n");
}

static void msetnx_sets_all_or_nothing(void **state)
{
    says(*state, "MSETNX a 1 b 2", ":1\r\n");
    says(*state, "MSETNX c 1 b 3 d 1", ":0\r\n");
    says(*state, "MGET c b d", "*3\r\n$-1\r\n$1\r\n2\r\n$-1\r\n");
    says(*state, "MSETNX c 1 d", "-ERR wrong number of arguments for 'msetnx' command\r\n");
}

static void append_and_strlen_count_bytes(void **state)
{
    says(*state, "APPEND k ab", ":2\r\n");
    says(*state, "APPEND k cde", ":5\r\n");
    says(*state, "APPEND k \"\"", ":5\r\n");
    says(*state, "GET k", "$5\r\nabcde\r\n");
    says(*state, "STRLEN k", ":5\r\n");
    says(*state, "STRLEN x", ":0\r\n");
    says(*state, "APPEND e \"\"", ":0\r\n");
    says(*state, "EXISTS e", ":1\r\n");
}

static void append_stops_at_the_largest_value(void **state)
{
    uint8_t *half = malloc(KV_VALUE_BYTES_MAX);
    assert_non_null(half);
    memset(half, 'x', KV_VALUE_BYTES_MAX);
    struct kelp_bytes argv[] = {text_bytes("append"), text_bytes("k"),
                                bytes_of(half, KV_VALUE_BYTES_MAX - 1)};
    struct buf reply = argv_reply(*state, argv, 3, BY_LOG);
    assert_string_equal((const char *)reply.data, ":8388607\r\n");
    buf_close(&reply);
    uint64_t before = hash_of(*state);
    says(*state, "APPEND k yz",
         "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    assert_true(hash_of(*state) == before);
    says(*state, "APPEND k y", ":8388608\r\n");
    says(*state, "APPEND k y", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    free(half);
}

static void counters_count(void **state)
{
    says(*state, "INCR k", ":1\r\n");
    says(*state, "INCRBY k 41", ":42\r\n");
    says(*state, "DECR k", ":41\r\n");
    says(*state, "DECRBY k -9", ":50\r\n");
    says(*state, "GET k", "$2\r\n50\r\n");
    says(*state, "DECR j", ":-1\r\n");
}

static void counters_refuse_what_is_no_number(void **state)
{
    const char *values[] = {"x", "1.0", "+1", "01", "-0", "\"\"", "9223372036854775808"};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        char line[64];
        runs(*state, "SET k %s", values[i]);
        says(*state, "INCR k", INTEGER_ERROR);
        (void)snprintf(line, sizeof(line), "INCRBY j %s", values[i]);
        says(*state, line, INTEGER_ERROR);
        (void)snprintf(line, sizeof(line), "DECRBY j %s", values[i]);
        says(*state, line, INTEGER_ERROR);
    }
    says(*state, "EXISTS j", ":0\r\n");
}

static void counters_do_not_overflow(void **state)
{
    runs(*state, "SET high 9223372036854775807");
    runs(*state, "SET low -9223372036854775808");
    says(*state, "INCR high", OVERFLOW_ERROR);
    says(*state, "DECR low", OVERFLOW_ERROR);
    says(*state, "INCRBY low -9223372036854775808", OVERFLOW_ERROR);
    says(*state, "DECRBY high -9223372036854775808", "-ERR decrement would overflow\r\n");
    says(*state, "INCRBY low 9223372036854775807", ":-1\r\n");
    says(*state, "GET high", "$19\r\n9223372036854775807\r\n");
}

static void removing_counts_each_key_once(void **state)
{
    runs(*state, "MSET a 1 b 2 c 3");
    says(*state, "EXISTS a a x b", ":3\r\n");
    says(*state, "DEL a a x", ":1\r\n");
    says(*state, "UNLINK b c a", ":2\r\n");
    says(*state, "DBSIZE", ":0\r\n");
}

static void type_is_string_or_none(void **state)
{
    runs(*state, "SET a 1");
    says(*state, "TYPE a", "+string\r\n");
    says(*state, "TYPE b", "+none\r\n");
}

static void keys_gives_what_matches(void **state)
{
    says(*state, "KEYS *", "*0\r\n");
    runs(*state, "MSET abc 1 xyz 2");
    says(*state, "KEYS a*", "*1\r\n$3\r\nabc\r\n");
    asks(*state, "KEYS ?y[z]", "*1\r\n$3\r\nxyz\r\n");
    says(*state, "KEYS b*", "*0\r\n");
}

static void flushall_leaves_nothing_and_takes_its_two_words(void **state)
{
    const char *lines[] = {"FLUSHALL", "FLUSHALL sync", "flushall ASYNC", "FLUSHDB"};
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        runs(*state, "MSET a 1 b 2");
        says(*state, lines[i], "+OK\r\n");
        says(*state, "DBSIZE", ":0\r\n");
        says(*state, "GET a", "$-1\r\n");
    }
    runs(*state, "SET a 1");
    says(*state, "FLUSHALL now", "-ERR syntax error\r\n");
    says(*state, "FLUSHALL SYNC ASYNC", "-ERR syntax error\r\n");
    says(*state, "DBSIZE", ":1\r\n");
}

static void a_flushed_table_is_freed_in_slices(void **state)
{
    struct kv *kv = *state;
    for (int i = 0; i < 5000; i++)
        runs(kv, "SET key:%d value", i);
    assert_true(kv_memory_bytes(kv) > 5000u * 10);
    runs(kv, "FLUSHALL");
    assert_int_equal(kv_memory_bytes(kv), 0);
    assert_int_equal(kv_key_count(kv), 0);
    size_t slices = 0;
    while (kv_free_slice(kv, 100))
        slices++;
    assert_true(slices > 40); /* not all at once; and the leak checker sees whether all */
    assert_false(kv_free_slice(kv, 100));
    assert_null(kv->condemned);
}

static void a_query_never_writes(void **state)
{
    asks(*state, "SET k v", "-ERR a command that writes must go through the log\r\n");
    asks(*state, "FLUSHALL", "-ERR a command that writes must go through the log\r\n");
    says(*state, "EXISTS k", ":0\r\n");
}

static void unknown_bytes_in_the_log_are_answered_alike_everywhere(void **state)
{
    struct kv *kv = *state;
    static const uint8_t newer[] = {1, 200, 0}, format[] = {2, 1, 1, 1, 'k'}, torn[] = {1, 1, 1, 5};
    runs(kv, "SET k v");
    uint64_t before = hash_of(kv);
    struct buf a = payload_reply(kv, bytes_of(newer, sizeof(newer)), BY_LOG);
    struct buf b = payload_reply(kv, bytes_of(format, sizeof(format)), BY_LOG);
    struct buf c = payload_reply(kv, bytes_of(torn, sizeof(torn)), BY_LOG);
    struct buf d = payload_reply(kv, bytes_of(NULL, 0), BY_LOG);
    assert_string_equal((const char *)a.data,
                        "-ERR this version does not know the command in the log\r\n");
    assert_string_equal((const char *)b.data, (const char *)a.data);
    assert_string_equal((const char *)c.data, "-ERR malformed command in the log\r\n");
    assert_string_equal((const char *)d.data, (const char *)c.data);
    assert_true(hash_of(kv) == before);
    buf_close(&a);
    buf_close(&b);
    buf_close(&c);
    buf_close(&d);
}

static void a_machine_without_memory_freezes_and_says_so(void **state)
{
    struct kv *kv = *state;
    runs(kv, "SET k v");
    uint64_t before = hash_of(kv);
    kv->failed = KELP_E_NO_MEMORY; /* as kv_put leaves it */
    says(kv, "SET k w", "(lost)");
    says(kv, "FLUSHALL", "(lost)");
    asks(kv, "GET k", "-OOM this member had no memory to apply a command\r\n");
    assert_int_equal(kv_failed(kv), KELP_E_NO_MEMORY);
    assert_true(hash_of(kv) == before);
}

static void a_reply_too_large_is_an_error_not_a_part(void **state)
{
    struct kv *kv = *state;
    uint8_t *value = calloc(1, 4u << 20);
    assert_non_null(value);
    struct kelp_bytes set[] = {text_bytes("set"), text_bytes("k"), bytes_of(value, 4u << 20)};
    struct buf reply = argv_reply(kv, set, 3, BY_LOG);
    buf_close(&reply);
    asks(kv, "MGET k k k k", "-ERR the reply would exceed 16 MiB\r\n");
    struct kelp_bytes get[] = {text_bytes("mget"), text_bytes("k"), text_bytes("k"),
                               text_bytes("k")};
    reply = argv_reply(kv, get, 4, BY_QUERY);
    assert_int_equal(reply.len, 4 + 3 * (10 + (4u << 20) + 2));
    buf_close(&reply);
    assert_null(kv->reply.data); /* what a large reply took is not kept */
    free(value);
}

static void a_batch_is_answered_in_order(void **state)
{
    struct kv *kv = *state;
    struct kelp_bytes incr[] = {text_bytes("incr"), text_bytes("k")};
    struct buf payload = payload_of(incr, 2);
    for (int i = 1; i <= 3; i++) {
        struct kelp_command one = {.pos = kelp_pos_of((uint64_t)i, 1),
                                   .payload = buf_bytes(&payload)};
        kv_fsm_ops.apply(kv, 0, &one, 1, NULL, NULL); /* replaying: nobody wants the answer */
    }
    says(kv, "GET k", "$1\r\n3\r\n");
    buf_close(&payload);
}

static void different_clusters_hash_differently(void **state)
{
    struct kv *other = kv_new();
    assert_non_null(other);
    runs(*state, "SET a 1");
    runs(other, "SET b 1"); /* the first command seeds the machine */
    runs(*state, "SET b 1");
    runs(other, "SET a 1");
    struct kv *a = *state;
    assert_true(a->seed != other->seed);
    kv_fsm_ops.close(other);
}

/* What goes on while writes are refused for want of disk room. */
static void only_what_cannot_make_the_table_larger_frees_room(void **state)
{
    struct kv *kv = *state;
    static const struct {
        const char *words[3];
        bool frees;
    } rows[] = {{{"SET", "a", "1"}, false},      {{"APPEND", "a", "1"}, false},
                {{"INCRBY", "a", "1"}, false},   {{"DEL", "a", "b"}, true},
                {{"UNLINK", "a", "b"}, true},    {{"FLUSHALL", NULL, NULL}, true},
                {{"FLUSHDB", NULL, NULL}, true}, {{"STRLEN", "a", NULL}, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kelp_bytes argv[3];
        size_t argc = 0;
        while (argc < 3 && rows[i].words[argc] != NULL) {
            argv[argc] = text_bytes(rows[i].words[argc]);
            argc++;
        }
        struct buf payload = payload_of(argv, argc);
        bool frees = kv_fsm_ops.frees(kv, 0, bytes_of(payload.data, payload.len));
        if (frees != rows[i].frees) fail_msg("%s", rows[i].words[0]);
        buf_close(&payload);
    }
    assert_false(kv_fsm_ops.frees(kv, 0, bytes_of("x", 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(only_what_cannot_make_the_table_larger_frees_room),
        MACHINE_TEST(get_gives_what_set_left),
        MACHINE_TEST(set_nx_sets_only_what_is_not_there),
        MACHINE_TEST(set_xx_sets_only_what_is_there),
        MACHINE_TEST(set_get_answers_with_the_old_value),
        MACHINE_TEST(set_refuses_words_it_does_not_know),
        MACHINE_TEST(set_refuses_expiry_and_changes_nothing),
        MACHINE_TEST(setnx_says_whether_it_set),
        MACHINE_TEST(mset_and_mget_take_many_keys),
        MACHINE_TEST(msetnx_sets_all_or_nothing),
        MACHINE_TEST(append_and_strlen_count_bytes),
        MACHINE_TEST(append_stops_at_the_largest_value),
        MACHINE_TEST(counters_count),
        MACHINE_TEST(counters_refuse_what_is_no_number),
        MACHINE_TEST(counters_do_not_overflow),
        MACHINE_TEST(removing_counts_each_key_once),
        MACHINE_TEST(type_is_string_or_none),
        MACHINE_TEST(keys_gives_what_matches),
        MACHINE_TEST(flushall_leaves_nothing_and_takes_its_two_words),
        MACHINE_TEST(a_flushed_table_is_freed_in_slices),
        MACHINE_TEST(a_query_never_writes),
        MACHINE_TEST(unknown_bytes_in_the_log_are_answered_alike_everywhere),
        MACHINE_TEST(a_machine_without_memory_freezes_and_says_so),
        MACHINE_TEST(a_reply_too_large_is_an_error_not_a_part),
        MACHINE_TEST(a_batch_is_answered_in_order),
        MACHINE_TEST(different_clusters_hash_differently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
