/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines of keys: by the cluster clock and nothing else, equal on every member. */
#include "base/endian.h"
#include "kv/snapshot.h"
#include "machine.h"

#define SECOND  UINT64_C(1000000000)
#define WALL_MS UINT64_C(1700000000000)

/* A command at a moment of the cluster clock, from a leader with this time of day. */
static void at_wall(struct kv *kv, uint64_t time_ns, uint64_t wall_ms, const char *line,
                    const char *wanted)
{
    struct kelp_bytes argv[WORDS_MAX];
    size_t argc = words_cut(line, argv);
    struct buf payload = payload_of(argv, argc);
    uint8_t beside[KELP_FSM_EXTEND_MAX];
    size_t len = kv_fsm_ops.extend(kv, 0, buf_bytes(&payload), wall_ms, beside);
    struct kelp_command command = {.pos = kelp_pos_of(1, 1),
                                   .time_ns = time_ns,
                                   .extension = bytes_of(beside, len),
                                   .payload = buf_bytes(&payload)};
    struct answer a = {0};
    buf_init(&a.text, 1 << 20);
    kv_fsm_ops.apply(kv, 0, &command, 1, answer_take, &a);
    (void)buf_append(&a.text, bytes_of("", 1));
    assert_string_equal((const char *)a.text.data, wanted);
    buf_close(&a.text);
    buf_close(&payload);
}

static void at(struct kv *kv, uint64_t time_ns, const char *line, const char *wanted)
{
    at_wall(kv, time_ns, WALL_MS + time_ns / 1000000, line, wanted);
}

static void a_key_is_absent_from_its_deadline_on_and_never_comes_back(void **state)
{
    struct kv *kv = *state;
    at(kv, SECOND, "SET k v PX 1500", "+OK\r\n");
    at(kv, SECOND, "SET other v", "+OK\r\n");
    kv_fsm_ops.pass(kv, 0, SECOND + 1499 * 1000000, 0);
    asks(kv, "GET k", "$1\r\nv\r\n");
    kv_fsm_ops.pass(kv, 0, SECOND + 1500 * 1000000, 0); /* no command: nothing is cleared away */
    assert_int_equal(kv->table->count, 2);
    asks(kv, "GET k", "$-1\r\n");
    asks(kv, "EXISTS k", ":0\r\n");
    asks(kv, "DBSIZE", ":1\r\n");
    asks(kv, "KEYS *", "*1\r\n$5\r\nother\r\n");
    asks(kv, "SCAN 0", "*2\r\n$1\r\n0\r\n*1\r\n$5\r\nother\r\n");
    kv_fsm_ops.pass(kv, 0, SECOND, 0); /* the clock does not go back */
    asks(kv, "GET k", "$-1\r\n");
    kv_fsm_ops.pass(kv, 0, 3 * SECOND, 1);
    assert_int_equal(kv->table->count, 1);
    assert_true(kv_fsm_ops.deadline(kv, 0) == KELP_FSM_NO_DEADLINE);
}

static void a_passed_key_is_as_absent_for_every_command_that_writes(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 9; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "SET k%u 5 PX 1000", i);
        at(kv, SECOND, line, "+OK\r\n");
    }
    kv_fsm_ops.pass(kv, 0, 2 * SECOND, 0);
    at(kv, 2 * SECOND, "INCR k0", ":1\r\n");
    at(kv, 2 * SECOND, "TTL k0", ":-1\r\n");
    at(kv, 2 * SECOND, "APPEND k8 x", ":1\r\n");
    at(kv, 2 * SECOND, "SET k7 v XX", "$-1\r\n");
    at(kv, 2 * SECOND, "PERSIST k6", ":0\r\n");
    at(kv, 2 * SECOND, "DEL k5 k4 k0", ":1\r\n");
    at(kv, 2 * SECOND, "DBSIZE", ":1\r\n");
}

static void what_keeps_and_what_forgets_a_deadline(void **state)
{
    struct kv *kv = *state;
    at(kv, 0, "SET k 5 EX 100", "+OK\r\n");
    at(kv, 0, "INCR k", ":6\r\n");
    at(kv, 0, "APPEND k 0", ":2\r\n");
    at(kv, 0, "SET k 7 KEEPTTL", "+OK\r\n");
    at(kv, 10 * SECOND, "TTL k", ":90\r\n");
    at(kv, 10 * SECOND, "PTTL k", ":90000\r\n");
    at(kv, 10 * SECOND, "EXPIRETIME k", ":1700000100\r\n");
    at(kv, 10 * SECOND, "SET k 7", "+OK\r\n");
    at(kv, 10 * SECOND, "TTL k", ":-1\r\n");
    at(kv, 10 * SECOND, "GETEX k EX 5", "$1\r\n7\r\n");
    at(kv, 10 * SECOND, "MSET k 8", "+OK\r\n");
    at(kv, 10 * SECOND, "EXPIRETIME k", ":-1\r\n");
    at(kv, 10 * SECOND, "EXPIRE k -1", ":1\r\n");
    at(kv, 10 * SECOND, "TTL k", ":-2\r\n");
}

static void a_time_of_day_is_told_as_given_and_decides_nothing(void **state)
{
    struct kv *kv = *state;
    at_wall(kv, 5 * SECOND, 1000000, "SET k v", "+OK\r\n");
    at_wall(kv, 5 * SECOND, 1000000, "EXPIREAT k 1010", ":1\r\n"); /* in ten seconds */
    at_wall(kv, 6 * SECOND, 9000000000, "PTTL k",
            ":9000\r\n"); /* another leader's clock is wrong */
    at_wall(kv, 6 * SECOND, 9000000000, "EXPIRETIME k", ":1010\r\n");
    at_wall(kv, 14 * SECOND, 0, "EXISTS k", ":1\r\n");
    at_wall(kv, 15 * SECOND, 0, "EXISTS k", ":0\r\n");
}

/* As Redis 7.0 takes them. */
static void the_same_option_may_come_again(void **state)
{
    struct kv *kv = *state;
    at(kv, SECOND, "SET k v EX 5 EX 600", "+OK\r\n");
    at(kv, SECOND, "TTL k", ":600\r\n");
    at(kv, SECOND, "SET k v KEEPTTL KEEPTTL", "+OK\r\n");
    at(kv, SECOND, "TTL k", ":600\r\n");
    at(kv, SECOND, "GETEX k EX 5 EX 700", "$1\r\nv\r\n");
    at(kv, SECOND, "TTL k", ":700\r\n");
    at(kv, SECOND, "GETEX k PERSIST PERSIST", "$1\r\nv\r\n");
    at(kv, SECOND, "TTL k", ":-1\r\n");
    at(kv, SECOND, "SET k v EX 5 PX 600", "-ERR syntax error\r\n");
    at(kv, SECOND, "SET k v EX 5 KEEPTTL", "-ERR syntax error\r\n");
    at(kv, SECOND, "GETEX k EX 5 PX 600", "-ERR syntax error\r\n");
    at(kv, SECOND, "GETEX k EX 5 PERSIST", "-ERR syntax error\r\n");
    at(kv, SECOND, "GETEX k PERSIST EX 5", "-ERR syntax error\r\n");
}

/* Two leaders whose clocks are an hour apart. */
static void what_is_later_is_a_question_of_the_cluster_clock(void **state)
{
    struct kv *kv = *state;
    at_wall(kv, SECOND, WALL_MS + 3600000, "SET k v EX 100", "+OK\r\n");
    at_wall(kv, SECOND, WALL_MS, "EXPIRE k 3000 LT", ":0\r\n");
    at_wall(kv, SECOND, WALL_MS, "EXPIRE k 200 GT", ":1\r\n");
    at_wall(kv, SECOND, WALL_MS, "TTL k", ":200\r\n");
    at_wall(kv, SECOND, WALL_MS, "EXPIREAT k 1700000300", ":1\r\n");
    at_wall(kv, 2 * SECOND, WALL_MS, "EXPIREAT k 1700000300 GT", ":0\r\n"); /* the same */
    at_wall(kv, 2 * SECOND, WALL_MS, "PEXPIREAT k -9223372036854775808", ":1\r\n");
    at_wall(kv, 2 * SECOND, WALL_MS, "EXISTS k", ":0\r\n");
}

/* What a question told a member must not be in what a command answers: members ask differently. */
static void a_command_that_tells_a_time_answers_by_its_stamp(void **state)
{
    struct kv *kv = *state;
    at(kv, SECOND, "SET k v PX 9000", "+OK\r\n");
    kv_fsm_ops.tell_time(kv, 0, 4 * SECOND);
    asks(kv, "PTTL k", ":6000\r\n");
    at(kv, 2 * SECOND, "PTTL k", ":8000\r\n");
}

static void a_time_of_day_of_another_version_stops_the_machine(void **state)
{
    struct kv *kv = *state;
    struct kelp_bytes argv[WORDS_MAX];
    struct buf payload = payload_of(argv, words_cut("SET k v PX 9000", argv));
    uint8_t beside[KELP_FSM_EXTEND_MAX];
    size_t len = kv_fsm_ops.extend(kv, 0, buf_bytes(&payload), WALL_MS, beside);
    beside[0]++;
    struct kelp_command command = {.pos = kelp_pos_of(1, 1),
                                   .time_ns = SECOND,
                                   .extension = bytes_of(beside, len),
                                   .payload = buf_bytes(&payload)};
    kv_fsm_ops.apply(kv, 0, &command, 1, NULL, NULL);
    assert_int_equal(kv_failed(kv), KELP_E_VERSION);
    assert_int_equal(kv->table->count, 0);
    buf_close(&payload);
}

/* One second, or for good. */
static void set_large(struct kv *kv, uint64_t time_ns, bool timed, unsigned number, size_t bytes)
{
    char *line = malloc(64 + bytes);
    assert_non_null(line);
    int head = snprintf(line, 64, "SET%s k%u %s", timed ? "EX" : "", number, timed ? "1 " : "");
    memset(line + head, 'x', bytes);
    line[(size_t)head + bytes] = '\0';
    at(kv, time_ns, line, "+OK\r\n");
    free(line);
}

/* Large values go back to the system, which takes its time. */
static void clearing_is_bounded_in_bytes_too(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 8; i++)
        set_large(kv, SECOND, true, i, 2000 * 1024);
    kv_fsm_ops.pass(kv, 0, 3 * SECOND, 1);
    assert_int_equal(kv->table->count, 6);
    kv_fsm_ops.pass(kv, 0, 3 * SECOND, 1);
    assert_int_equal(kv->table->count, 4);
    asks(kv, "DBSIZE", ":0\r\n");
}

/* A thousand of them may be applied in one turn: what they clear is bounded by their own bytes. */
static void a_command_clears_no_more_than_twice_what_it_brings(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 6; i++)
        set_large(kv, SECOND + i, true, i, 100 * 1024);
    set_large(kv, SECOND + 6, true, 6, 5 * 1024 * 1024);
    at(kv, SECOND + 7, "SETEX k7 1 v", "+OK\r\n");
    at(kv, 3 * SECOND, "SET x v", "+OK\r\n");
    assert_int_equal(kv->table->count, 9); /* none: the first one due is large */
    set_large(kv, 3 * SECOND, false, 99, 100 * 1024);
    assert_int_equal(kv->table->count, 8); /* two gone */
    kv_fsm_ops.pass(kv, 0, 3 * SECOND, 1);
    assert_int_equal(kv->table->count, 4); /* the other four */
    kv_fsm_ops.pass(kv, 0, 3 * SECOND, 1);
    assert_int_equal(kv->table->count, 3); /* a larger one than may go, alone */
    at(kv, 3 * SECOND, "SET x v", "+OK\r\n");
    assert_int_equal(kv->table->count, 2); /* a small one in passing */
    asks(kv, "DBSIZE", ":2\r\n");
}

static void clearing_is_bounded_and_in_the_order_of_deadlines(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 3000; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "SET k%u v PX %u", i, 1 + i * 7 % 3000);
        at(kv, 0, line, "+OK\r\n");
    }
    assert_int_equal(kv_fsm_ops.deadline(kv, 0), 1000000);
    kv_fsm_ops.pass(kv, 0, 2 * SECOND, 0);
    assert_int_equal(kv_key_count(kv), 1000);
    assert_int_equal(kv->table->count, 3000);
    kv_fsm_ops.pass(kv, 0, 2 * SECOND, 1);
    assert_int_equal(kv->table->count, 2000);
    assert_int_equal(kv_fsm_ops.deadline(kv, 0), UINT64_C(1001) * 1000000);
    at(kv, 2 * SECOND, "EXISTS k1", ":0\r\n");
    assert_int_equal(kv->table->count, 1998); /* a command clears two */
    kv_fsm_ops.pass(kv, 0, 2 * SECOND, 1);
    assert_int_equal(kv->table->count, 1000);
    assert_int_equal(kv_key_count(kv), 1000);
}

static void a_snapshot_carries_deadlines_and_what_has_passed(void **state)
{
    struct kv *kv = *state, *other = kv_new();
    at(kv, 0, "SET gone v PX 1", "+OK\r\n");
    at(kv, 0, "SET later v PX 5000", "+OK\r\n");
    at(kv, 0, "SET never v", "+OK\r\n");
    kv_fsm_ops.pass(kv, 0, SECOND, 0);
    uint64_t hash = hash_of(kv);
    uint8_t own[KELP_FSM_OWN_BYTES_MAX], object[KV_OBJECT_BYTES_MAX];
    size_t own_len = 0;
    void *snapshot = NULL, *restore = NULL;
    assert_int_equal(kv_fsm_ops.snapshot_begin(kv, 0, own, &own_len, &snapshot), KELP_OK);
    at(kv, SECOND, "PERSIST later", ":1\r\n"); /* and this must not show in it */
    assert_int_equal(kv_fsm_ops.restore_begin(other, 0, kelp_pos_of(1, 1), SECOND,
                                              bytes_of(own, own_len), &restore),
                     KELP_OK);
    for (bool last = false; !last;) {
        size_t len = sizeof object;
        assert_int_equal(kv_fsm_ops.snapshot_read(kv, snapshot, object, &len, &last), KELP_OK);
        assert_int_equal(kv_fsm_ops.restore_object(other, restore, bytes_of(object, len)), KELP_OK);
    }
    kv_fsm_ops.snapshot_end(kv, snapshot);
    assert_int_equal(kv_fsm_ops.restore_commit(other, restore), KELP_OK);
    assert_true(hash_of(other) == hash && hash_of(kv) != hash);
    asks(other, "GET gone", "$-1\r\n");
    asks(other, "PTTL later", ":4000\r\n");
    asks(other, "DBSIZE", ":2\r\n");
    kv_fsm_ops.close(other);
}

static void only_questions_about_what_passes_meanwhile_wait(void **state)
{
    struct kv *kv = *state;
    const char *lines[] = {"GET k", "EXISTS x k", "DBSIZE", "GET x", "STRLEN x"};
    const bool waits[] = {true, true, true, false, false};
    at(kv, 0, "SET k v PX 1000", "+OK\r\n");
    at(kv, 0, "SET x v", "+OK\r\n");
    for (size_t i = 0; i < 5; i++) {
        struct kelp_bytes argv[WORDS_MAX];
        size_t argc = words_cut(lines[i], argv);
        struct buf question = payload_of(argv, argc);
        assert_false(kv_fsm_ops.lapses(kv, 0, buf_bytes(&question), SECOND - 1));
        assert_int_equal(kv_fsm_ops.lapses(kv, 0, buf_bytes(&question), SECOND), waits[i]);
        buf_close(&question);
    }
}

/* Only a key that it would look at; it ends at that place and is asked again from there. */
static void a_scan_waits_for_what_it_looks_at_only(void **state)
{
    struct kv *kv = *state;
    for (unsigned i = 0; i < 400; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, i == 123 ? "SET k%u v PX 1000" : "SET k%u v", i);
        at(kv, 0, line, "+OK\r\n");
    }
    unsigned waited = 0, turns = 0;
    char cursor[24] = "0";
    do {
        char line[64];
        struct kelp_bytes argv[WORDS_MAX];
        (void)snprintf(line, sizeof line, "SCAN %s COUNT 7", cursor);
        struct buf question = payload_of(argv, words_cut(line, argv));
        assert_false(kv_fsm_ops.lapses(kv, 0, buf_bytes(&question), SECOND - 1));
        bool waits = kv_fsm_ops.lapses(kv, 0, buf_bytes(&question), SECOND);
        struct buf reply = payload_reply(kv, buf_bytes(&question), BY_QUERY);
        const char *text = (const char *)reply.data;
        bool there = strstr(text, "$4\r\nk123\r\n") != NULL;
        assert_true(waits || !there);
        waited += waits;
        turns++;
        assert_int_equal(sscanf(text, "*2\r\n$%*u\r\n%23[0-9]", cursor), 1);
        buf_close(&reply);
        buf_close(&question);
    } while (strcmp(cursor, "0") != 0);
    assert_true(turns > 50 && waited == 1);
    struct kelp_bytes argv[WORDS_MAX];
    struct buf wrong = payload_of(argv, words_cut("SCAN 0 COUNT x", argv));
    assert_false(kv_fsm_ops.lapses(kv, 0, buf_bytes(&wrong), SECOND));
    buf_close(&wrong);
}

static void it_is_known_how_many_have_a_deadline_and_how_far_it_is(void **state)
{
    struct kv *kv = *state;
    assert_int_equal(kv_timed(kv).keys, 0);
    at(kv, SECOND, "SET a v PX 3000", "+OK\r\n");
    at(kv, SECOND, "SET b v PX 1000", "+OK\r\n");
    at(kv, SECOND, "SET c v", "+OK\r\n");
    assert_int_equal(kv_timed(kv).keys, 2);
    assert_int_equal(kv_timed(kv).ttl_ms, 2000);
    at(kv, SECOND, "PERSIST b", ":1\r\n");
    assert_int_equal(kv_timed(kv).keys, 1);
    assert_int_equal(kv_timed(kv).ttl_ms, 3000);
    kv_fsm_ops.tell_time(kv, 0, 2 * SECOND);
    assert_int_equal(kv_timed(kv).ttl_ms, 2000);
    kv_fsm_ops.pass(kv, 0, 5 * SECOND, 0);
    assert_int_equal(kv_timed(kv).keys, 0);
    assert_int_equal(kv_timed(kv).ttl_ms, 0);
}

/* When nothing has been stamped yet, too. */
static void a_deadline_in_the_past_removes_at_the_beginning_of_time(void **state)
{
    struct kv *kv = *state;
    const char *lines[] = {"EXPIRE k 0", "EXPIRE k -1", "EXPIREAT k 5", "PEXPIREAT k 0"};
    for (size_t i = 0; i < 4; i++) {
        at(kv, 0, "SET k v", "+OK\r\n");
        at(kv, 0, lines[i], ":1\r\n");
        asks(kv, "EXISTS k", ":0\r\n");
    }
    at(kv, 0, "SET k v PX 1", "+OK\r\n");
    asks(kv, "EXISTS k", ":1\r\n");
}

static void an_expire_frees_nothing_where_room_is_short(void **state)
{
    const char *lines[] = {"DEL k", "EXPIRE k 1", "PERSIST k", "GETEX k", "FLUSHALL"};
    const bool frees[] = {true, false, false, false, true};
    for (size_t i = 0; i < 5; i++) {
        struct kelp_bytes argv[WORDS_MAX];
        size_t argc = words_cut(lines[i], argv);
        struct buf command = payload_of(argv, argc);
        assert_int_equal(kv_fsm_ops.frees(*state, 0, buf_bytes(&command)), frees[i]);
        buf_close(&command);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(a_key_is_absent_from_its_deadline_on_and_never_comes_back),
        MACHINE_TEST(a_passed_key_is_as_absent_for_every_command_that_writes),
        MACHINE_TEST(what_keeps_and_what_forgets_a_deadline),
        MACHINE_TEST(a_time_of_day_is_told_as_given_and_decides_nothing),
        MACHINE_TEST(the_same_option_may_come_again),
        MACHINE_TEST(what_is_later_is_a_question_of_the_cluster_clock),
        MACHINE_TEST(a_command_that_tells_a_time_answers_by_its_stamp),
        MACHINE_TEST(a_time_of_day_of_another_version_stops_the_machine),
        MACHINE_TEST(clearing_is_bounded_in_bytes_too),
        MACHINE_TEST(clearing_is_bounded_and_in_the_order_of_deadlines),
        MACHINE_TEST(a_snapshot_carries_deadlines_and_what_has_passed),
        MACHINE_TEST(only_questions_about_what_passes_meanwhile_wait),
        MACHINE_TEST(a_command_clears_no_more_than_twice_what_it_brings),
        MACHINE_TEST(a_scan_waits_for_what_it_looks_at_only),
        MACHINE_TEST(it_is_known_how_many_have_a_deadline_and_how_far_it_is),
        MACHINE_TEST(a_deadline_in_the_past_removes_at_the_beginning_of_time),
        MACHINE_TEST(an_expire_frees_nothing_where_room_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
