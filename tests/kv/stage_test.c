/* SPDX-License-Identifier: Apache-2.0 */
/* stage_test.c - a restore through the log: what is put aside and what goes on being served do not
 * see each other; deadlines keep the time that they had left. */
#include "kv/snapshot.h"
#include "tests/kv/machine.h"

#define SECOND  UINT64_C(1000000000)
#define WALL_MS UINT64_C(1700000000000)
#define OBJECTS 64u

/* A file: own bytes and objects. */
struct file {
    uint8_t own[KELP_FSM_OWN_BYTES_MAX];
    size_t own_len, count;
    struct buf objects[OBJECTS];
};

static struct file *file_of(struct kv *kv, size_t room)
{
    struct file *f = calloc(1, sizeof *f);
    void *snapshot = NULL;
    bool last = false;
    assert_non_null(f);
    assert_int_equal(kv_fsm_ops.snapshot_begin(kv, 0, f->own, &f->own_len, &snapshot), KELP_OK);
    while (!last) {
        assert_true(f->count < OBJECTS);
        struct buf *b = &f->objects[f->count++];
        size_t len = room;
        buf_init(b, room);
        assert_int_equal(buf_reserve(b, room), KELP_OK);
        assert_int_equal(kv_fsm_ops.snapshot_read(kv, snapshot, b->data, &len, &last), KELP_OK);
        b->len = len;
    }
    kv_fsm_ops.snapshot_end(kv, snapshot);
    return f;
}

static void file_close(struct file *f)
{
    for (size_t i = 0; i < f->count; i++)
        buf_close(&f->objects[i]);
    free(f);
}

static void *staged(struct kv *kv, const struct file *f, uint64_t then_ns, uint64_t now_ns)
{
    void *restore = NULL;
    const struct kelp_stage from = {.size = sizeof from,
                                    .then_ns = then_ns,
                                    .now_ns = now_ns,
                                    .wall_unix_ms = WALL_MS,
                                    .own = bytes_of(f->own, f->own_len)};
    assert_int_equal(kv_fsm_ops.stage_begin(kv, 0, &from, &restore), KELP_OK);
    return restore;
}

static void give(struct kv *kv, void *restore, const struct file *f)
{
    for (size_t i = 0; i < f->count; i++)
        assert_int_equal(kv_fsm_ops.restore_object(kv, restore, buf_bytes(&f->objects[i])),
                         KELP_OK);
}

/* A command at a moment of the cluster clock. */
static void at(struct kv *kv, uint64_t time_ns, const char *line, const char *wanted)
{
    struct kelp_bytes argv[WORDS_MAX];
    size_t argc = words_cut(line, argv);
    struct buf payload = payload_of(argv, argc);
    uint8_t beside[KELP_FSM_EXTEND_MAX];
    size_t len = kv_fsm_ops.extend(kv, 0, buf_bytes(&payload), WALL_MS, beside);
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

static void commands_between_see_and_change_the_old_state_only(void **state)
{
    struct kv *kv = *state, *source = kv_new();
    for (unsigned i = 0; i < 200; i++)
        runs(source, "SET key:%u of-the-file", i);
    struct file *f = file_of(source, 1000);
    assert_in_range(f->count, 4, OBJECTS);
    runs(kv, "SET key:5 live");
    runs(kv, "SET mine live");
    void *restore = staged(kv, f, 0, 0);
    for (size_t i = 0; i < f->count; i++) {
        runs(kv, "SET key:%u changed", (unsigned)i);
        if (i == 2) runs(kv, "FLUSHALL");
        assert_int_equal(kv_fsm_ops.restore_object(kv, restore, buf_bytes(&f->objects[i])),
                         KELP_OK);
        asks(kv, "GET key:199", "$-1\r\n");
        if (i == 1) asks(kv, "GET mine", "$4\r\nlive\r\n");
    }
    uint64_t before = hash_of(kv);
    asks(kv, "GET key:3", "$7\r\nchanged\r\n");
    assert_int_equal(hash_of(kv), before);
    assert_int_equal(kv_fsm_ops.restore_commit(kv, restore), KELP_OK);
    assert_int_equal(hash_of(kv), hash_of(source));
    asks(kv, "GET key:3", "$11\r\nof-the-file\r\n");
    asks(kv, "DBSIZE", ":200\r\n");
    runs(kv, "SET later 1"); /* and it goes on the same */
    runs(source, "SET later 1");
    assert_int_equal(hash_of(kv), hash_of(source));
    kv_fsm_ops.close(source);
    file_close(f);
}

static void what_is_given_up_leaves_the_state_as_it_is(void **state)
{
    struct kv *kv = *state, *source = kv_new();
    runs(source, "SET a 1");
    struct file *f = file_of(source, 1000);
    runs(kv, "SET b 2");
    uint64_t before = hash_of(kv);
    void *one = staged(kv, f, 0, 0), *two = staged(kv, f, 0, 0); /* an installed one may be open */
    give(kv, one, f);
    give(kv, two, f);
    kv_fsm_ops.restore_abort(kv, one);
    assert_int_equal(hash_of(kv), before);
    asks(kv, "GET b", "$1\r\n2\r\n");
    assert_int_equal(kv_fsm_ops.restore_commit(kv, two), KELP_OK);
    assert_int_equal(hash_of(kv), hash_of(source));
    kv_fsm_ops.close(source);
    file_close(f);
}

/* Its own bytes say how many keys there are and the sum of their digests. */
static void what_is_not_whole_is_not_taken(void **state)
{
    struct kv *kv = *state, *source = kv_new();
    for (unsigned i = 0; i < 100; i++)
        runs(source, "SET key:%u value", i);
    at(source, SECOND, "SET timed v EX 100", "+OK\r\n");
    struct file *f = file_of(source, 1000);
    runs(kv, "SET b 2");
    uint64_t before = hash_of(kv);
    for (unsigned which = 0; which < 2; which++) {
        void *restore = staged(kv, f, SECOND, 9 * SECOND);
        f->objects[0].data[12] ^= which == 0 ? 1 : 0; /* of a key or a value */
        for (size_t i = which; i < f->count; i++)     /* the second time without the first */
            assert_int_equal(kv_fsm_ops.restore_object(kv, restore, buf_bytes(&f->objects[i])),
                             KELP_OK);
        f->objects[0].data[12] ^= which == 0 ? 1 : 0;
        assert_int_equal(kv_fsm_ops.restore_commit(kv, restore), KELP_E_CORRUPT);
        kv_fsm_ops.restore_abort(kv, restore);
        assert_int_equal(hash_of(kv), before);
        asks(kv, "GET b", "$1\r\n2\r\n");
    }
    kv_fsm_ops.close(source);
    file_close(f);
}

/* The file's clock is years ahead of the cluster's, or behind: what counts is what was left. */
static void deadlines_keep_the_time_that_they_had_left(void **state)
{
    (void)state;
    const struct {
        uint64_t then, now;
    } clocks[] = {{1000000 * SECOND, 50 * SECOND},
                  {50 * SECOND, 1000000 * SECOND},
                  {50 * SECOND, 50 * SECOND}};
    for (size_t i = 0; i < COUNT_OF(clocks); i++) {
        uint64_t then = clocks[i].then, now = clocks[i].now;
        struct kv *kv = kv_new(), *source = kv_new(), *other = kv_new();
        at(source, then - 40 * SECOND, "SET gone v EX 30", "+OK\r\n"); /* not cleared away */
        at(source, then - 40 * SECOND, "SET soon v EX 45", "+OK\r\n");
        at(source, then - 40 * SECOND, "SET late v EX 140", "+OK\r\n");
        at(source, then - 40 * SECOND, "SET ever v", "+OK\r\n");
        struct file *f = file_of(source, 1000);
        at(kv, now, "SET old v", "+OK\r\n");
        void *restore = staged(kv, f, then, now), *again = staged(other, f, then, now);
        give(kv, restore, f);
        at(kv, now + SECOND, "SET beside v", "+OK\r\n");
        assert_int_equal(kv_fsm_ops.restore_commit(kv, restore), KELP_OK);
        assert_int_equal(kv->now, now + SECOND); /* and not the file's */
        asks(kv, "EXISTS gone", ":0\r\n");
        asks(kv, "DBSIZE", ":3\r\n");
        asks(kv, "PTTL soon", ":4000\r\n"); /* counted from BEGIN on */
        asks(kv, "PTTL late", ":99000\r\n");
        asks(kv, "PTTL ever", ":-1\r\n");
        asks(kv, "EXPIRETIME late", ":1700000100\r\n"); /* by the time of day of BEGIN */
        kv_fsm_ops.pass(kv, 0, now + 4 * SECOND + 999999999, 1);
        asks(kv, "EXISTS soon", ":1\r\n");
        kv_fsm_ops.pass(kv, 0, now + 5 * SECOND, 1);
        asks(kv, "EXISTS soon", ":0\r\n");
        give(other, again, f); /* a member that started later comes to the same */
        at(other, now + SECOND, "SET beside v", "+OK\r\n");
        assert_int_equal(kv_fsm_ops.restore_commit(other, again), KELP_OK);
        kv_fsm_ops.pass(other, 0, now + 5 * SECOND, 1);
        assert_int_equal(hash_of(other), hash_of(kv));
        assert_true(kv_fsm_ops.deadline(kv, 0) == now + 100 * SECOND);
        kv_fsm_ops.close(kv);
        kv_fsm_ops.close(source);
        kv_fsm_ops.close(other);
        file_close(f);
    }
}

/* A file without a clock: nothing is known of what was left. */
static void without_the_files_clock_deadlines_stay(void **state)
{
    struct kv *kv = *state, *source = kv_new();
    at(source, 10 * SECOND, "SET k v EX 30", "+OK\r\n");
    struct file *f = file_of(source, 1000);
    void *restore = staged(kv, f, 0, 20 * SECOND);
    give(kv, restore, f);
    at(kv, 20 * SECOND, "SET old v", "+OK\r\n");
    assert_int_equal(kv_fsm_ops.restore_commit(kv, restore), KELP_OK);
    asks(kv, "PTTL k", ":20000\r\n");
    kv_fsm_ops.close(source);
    file_close(f);
}

static void an_open_snapshot_shows_what_was_before(void **state)
{
    struct kv *kv = *state, *source = kv_new();
    void *snapshot = NULL;
    uint8_t own[KELP_FSM_OWN_BYTES_MAX], object[1000];
    size_t own_len = 0;
    bool last = false;
    runs(source, "SET a 1");
    for (unsigned i = 0; i < 200; i++)
        runs(kv, "SET key:%u old", i);
    uint64_t before = hash_of(kv);
    struct file *f = file_of(source, 1000);
    assert_int_equal(kv_fsm_ops.snapshot_begin(kv, 0, own, &own_len, &snapshot), KELP_OK);
    struct kv *other = kv_new();
    void *restore = staged(kv, f, 0, 0), *into = NULL;
    assert_int_equal(
        kv_fsm_ops.restore_begin(other, 0, kelp_pos_of(9, 1), 0, bytes_of(own, own_len), &into),
        KELP_OK);
    give(kv, restore, f);
    for (unsigned i = 0; !last; i++) {
        size_t len = sizeof object;
        if (i == 2) assert_int_equal(kv_fsm_ops.restore_commit(kv, restore), KELP_OK);
        if (i == 3) runs(kv, "SET key:7 new");
        assert_int_equal(kv_fsm_ops.snapshot_read(kv, snapshot, object, &len, &last), KELP_OK);
        assert_int_equal(kv_fsm_ops.restore_object(other, into, bytes_of(object, len)), KELP_OK);
        assert_true(i >= 3 || !last);
    }
    kv_fsm_ops.snapshot_end(kv, snapshot);
    assert_int_equal(kv_fsm_ops.restore_commit(other, into), KELP_OK);
    assert_int_equal(hash_of(other), before);
    asks(kv, "DBSIZE", ":2\r\n");
    kv_fsm_ops.close(source);
    kv_fsm_ops.close(other);
    file_close(f);
}

/* Closed with one open: nothing is lost track of (the sanitizers look). */
static void a_machine_that_is_closed_has_let_go_of_all(void **state)
{
    (void)state;
    struct kv *kv = kv_new();
    runs(kv, "SET a 1");
    struct file *f = file_of(kv, 1000);
    void *restore = staged(kv, f, 0, 0);
    give(kv, restore, f);
    kv_fsm_ops.restore_abort(kv, restore);
    kv_fsm_ops.close(kv);
    file_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(commands_between_see_and_change_the_old_state_only),
        MACHINE_TEST(what_is_given_up_leaves_the_state_as_it_is),
        MACHINE_TEST(what_is_not_whole_is_not_taken),
        MACHINE_TEST(deadlines_keep_the_time_that_they_had_left),
        MACHINE_TEST(without_the_files_clock_deadlines_stay),
        MACHINE_TEST(an_open_snapshot_shows_what_was_before),
        MACHINE_TEST(a_machine_that_is_closed_has_let_go_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
