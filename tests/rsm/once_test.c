/* SPDX-License-Identifier: Apache-2.0 */
/* once_test.c - commands in sessions through the state machine's surroundings: executed once,
 * answered alike on every member, wherever batches are cut and whatever snapshots lie between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "rsm/rsm.h"
#include "wire/entry.h"

#define ENTRIES    6u
#define ENTRY_ROOM 128u

struct tally { /* counts commands; 'x' has no memory for its reply */
    uint64_t count;
};

static void tally_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                        size_t count, kelp_reply_fn reply, void *sink)
{
    struct tally *t = fsm;
    (void)group;
    for (size_t i = 0; i < count; i++) {
        uint8_t out[8];
        put_u64(out, ++t->count);
        bool lost = commands[i].payload.data[0] == 'x';
        reply(sink, i, lost ? KELP_REPLY_LOST : bytes_of(out, 8));
    }
}

static enum kelp_error tally_snapshot(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                      void **snapshot)
{
    const struct tally *t = fsm;
    (void)group;
    put_u64(own, t->count);
    *own_len = 8;
    *snapshot = NULL;
    return KELP_OK;
}

static enum kelp_error tally_restore(void *fsm, uint32_t group, struct kelp_pos pos,
                                     uint64_t time_ns, struct kelp_bytes own, void **restore)
{
    struct tally *t = fsm;
    (void)group;
    (void)pos;
    (void)time_ns;
    t->count = load_u64(own.data);
    *restore = NULL;
    return KELP_OK;
}

static enum kelp_error tally_commit(void *fsm, void *restore)
{
    (void)fsm;
    (void)restore;
    return KELP_OK;
}

static uint64_t tally_hash(void *fsm, uint32_t group)
{
    const struct tally *t = fsm;
    (void)group;
    return t->count;
}

static const struct kelp_fsm_ops ops = {.size = sizeof(struct kelp_fsm_ops),
                                        .flags = KELP_FSM_IN_MEMORY | KELP_FSM_DISPOSABLE,
                                        .apply = tally_apply,
                                        .snapshot_begin = tally_snapshot,
                                        .restore_begin = tally_restore,
                                        .restore_commit = tally_commit,
                                        .hash = tally_hash,
                                        .close = free};

struct told {
    struct rsm *rsm;
    kelp_index first;
    uint64_t answer[64]; /* by index */
    enum kelp_reason refused[64];
};

static void on_reply(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct told *t = sink;
    t->refused[t->first + i] = rsm_refused(t->rsm);
    t->answer[t->first + i] = bytes.len == 8 ? load_u64(bytes.data) : 0;
}

static uint8_t rooms[64][ENTRY_ROOM];
static struct kelp_bytes entries[64]; /* by index */

static void put(kelp_index index, enum kelp_entry_type type, struct wire_entry fields,
                const char *command)
{
    fields.pos = kelp_pos_of(index, 1);
    fields.type = (uint8_t)type;
    fields.payload = bytes_of(command, strlen(command));
    if (fields.session != 0 || fields.sequence != 0) fields.flags = WIRE_ENTRY_IN_SESSION;
    wire_entry_encode(&fields, rooms[index]);
    entries[index] = bytes_of(rooms[index], wire_entry_size(&fields));
}

static struct rsm *made(void)
{
    return rsm_new(&ops, calloc(1, sizeof(struct tally)), 0);
}

static enum kelp_error applied(struct rsm *r, struct told *told, kelp_index first, size_t count)
{
    struct kelp_fault fault = {.error = KELP_OK};
    told->rsm = r;
    told->first = first;
    return rsm_apply(r, first, entries + first, count, on_reply, told, &fault);
}

#define IN(session_, sequence_, acknowledged_)                                                     \
    (struct wire_entry)                                                                            \
    {                                                                                              \
        .session = (session_), .sequence = (sequence_), .acknowledged = (acknowledged_)            \
    }

static void log_make(void)
{
    put(1, KELP_ENTRY_SESSION, IN(0, 0, 0), "");
    put(2, KELP_ENTRY_COMMAND, IN(0, 0, 0), "plain");
    put(3, KELP_ENTRY_COMMAND, IN(1, 1, 0), "a");
    put(4, KELP_ENTRY_COMMAND, IN(1, 1, 0), "a"); /* again */
    put(5, KELP_ENTRY_COMMAND, IN(0, 0, 0), "plain");
    put(6, KELP_ENTRY_COMMAND, IN(1, 1, 0), "b"); /* misused */
    put(7, KELP_ENTRY_COMMAND, IN(9, 1, 0), "a"); /* unknown */
    put(8, KELP_ENTRY_COMMAND, IN(1, 2, 1), "a");
    put(9, KELP_ENTRY_COMMAND, IN(1, 1, 0), "a");  /* acknowledged */
    put(10, KELP_ENTRY_COMMAND, IN(0, 5, 6), "k"); /* under a key */
    put(11, KELP_ENTRY_COMMAND, IN(0, 5, 6), "k");
    put(12, KELP_ENTRY_SESSION, IN(1, 0, 0), "");
    put(13, KELP_ENTRY_COMMAND, IN(1, 3, 0), "a"); /* ended */
}

static void expect(const struct told *t, kelp_index from)
{
    static const uint64_t answers[14] = {0, 0, 1, 2, 2, 3, 0, 0, 4, 0, 5, 5, 0, 0};
    static const enum kelp_reason reasons[14] = {[6] = KELP_R_ONCE_MISUSED,
                                                 [7] = KELP_R_UNKNOWN_SESSION,
                                                 [9] = KELP_R_SEQUENCE_OVER,
                                                 [13] = KELP_R_UNKNOWN_SESSION};
    for (kelp_index i = from; i < 14; i++) {
        assert_int_equal(t->answer[i], answers[i]);
        assert_int_equal(t->refused[i], reasons[i]);
    }
}

static void a_command_takes_effect_once_wherever_batches_are_cut(void **state) /* [§6.3] */
{
    (void)state;
    log_make();
    uint64_t hash = 0;
    for (size_t step = 1; step <= 13; step++) {
        struct rsm *r = made();
        struct told told = {0};
        for (kelp_index at = 1; at <= 13; at += step)
            assert_int_equal(applied(r, &told, at, at + step <= 14 ? step : 14 - at), KELP_OK);
        expect(&told, 1);
        if (hash == 0) hash = rsm_state_hash(r);
        assert_int_equal(rsm_state_hash(r), hash);
        rsm_free(r);
    }
}

static struct wire_config config_of_one(void)
{
    struct wire_config c = {.cluster = {1, 2}, .config = {.index = 1, .id_highest = 1, .count = 1}};
    c.config.members[0] = (struct kelp_member){.id = 1, .incarnation = 5, .role = KELP_VOTER};
    memcpy(c.peer[0].text, "a:1", 4);
    return c;
}

/* A snapshot after each entry, restored elsewhere, knows all that was executed. */
static void sessions_are_part_of_snapshots(void **state)
{
    (void)state;
    static uint8_t head_bytes[WIRE_SNAPHEAD_BYTES_MAX], object[RSM_OBJECT_BYTES_MAX];
    log_make();
    struct wire_config config = config_of_one();
    for (size_t upto = 1; upto < 13; upto++) {
        struct rsm *r = made(), *other = made();
        struct told told = {0};
        struct kelp_pos pos;
        size_t len = 0, used, said;
        uint64_t objects = 0, bytes = 0;
        bool last = false;
        struct wire_snaphead head;
        assert_int_equal(applied(r, &told, 1, upto), KELP_OK);
        assert_int_equal(rsm_snapshot_begin(r, &config, config.cluster, 7, &pos, &said), KELP_OK);
        len = rsm_snapshot_head(r, 1, 1, head_bytes);
        assert_int_equal(wire_snaphead_decode(bytes_of(head_bytes, len), &head, &used, NULL),
                         KELP_OK);
        assert_int_equal(rsm_restore_begin(other, &head, NULL), KELP_OK);
        while (!last) {
            assert_int_equal(rsm_snapshot_read(r, object, &len, &last), KELP_OK);
            if (len == 0) continue;
            objects++;
            bytes += len;
            assert_int_equal(object[4], WIRE_OBJECT_SESSION);
            struct wire_object o = {WIRE_OBJECT_SESSION,
                                    bytes_of(object + WIRE_OBJECT_HEAD, len - WIRE_OBJECT_HEAD)};
            assert_int_equal(rsm_restore_object(other, &o, NULL), KELP_OK);
        }
        assert_true(objects > 0 && bytes > 0);
        assert_int_equal(rsm_restore_commit(other, &head, NULL), KELP_OK);
        rsm_snapshot_end(r);
        assert_int_equal(rsm_state_hash(other), rsm_state_hash(r));
        assert_int_equal(rsm_sessions(other).answers, rsm_sessions(r).answers);
        assert_int_equal(applied(other, &told, upto + 1, 13 - upto), KELP_OK);
        expect(&told, 1);
        rsm_free(r);
        rsm_free(other);
    }
}

/* What was executed and cannot be told must not be executed by the next attempt, nor told as
 * something else: this member stops, and applies it again when it starts. */
static void without_memory_for_the_result_it_stops(void **state)
{
    (void)state;
    struct rsm *r = made();
    struct told told = {0};
    put(1, KELP_ENTRY_SESSION, IN(0, 0, 0), "");
    put(2, KELP_ENTRY_COMMAND, IN(1, 1, 0), "x");
    put(3, KELP_ENTRY_COMMAND, IN(1, 2, 0), "a");
    assert_int_equal(applied(r, &told, 1, 3), KELP_E_NO_MEMORY);
    assert_int_equal(told.answer[3], 0);
    assert_int_equal(rsm_sessions(r).answers, 0);
    rsm_free(r);
}

/* Or a member that forgot what was executed would be level with the others. */
static void the_state_hash_covers_sessions(void **state)
{
    (void)state;
    log_make();
    struct rsm *r = made();
    struct told told = {0};
    uint64_t before = rsm_state_hash(r);
    assert_int_equal(applied(r, &told, 1, 1),
                     KELP_OK); /* a session begins, the machine is as it was */
    assert_int_not_equal(rsm_state_hash(r), before);
    before = rsm_state_hash(r);
    assert_int_equal(applied(r, &told, 2, 2), KELP_OK);
    assert_int_not_equal(rsm_state_hash(r), before);
    before = rsm_state_hash(r);
    assert_int_equal(applied(r, &told, 4, 1), KELP_OK); /* asked again: it was used */
    assert_int_not_equal(rsm_state_hash(r), before);
    rsm_free(r);
}

/* Sessions are compared between members too: whose are lost executes a command twice. */
static void a_mark_is_taken_whatever_stands_there_and_covers_sessions(void **state)
{
    (void)state;
    static const enum kelp_entry_type kinds[] = {KELP_ENTRY_NOOP, KELP_ENTRY_COMMAND,
                                                 KELP_ENTRY_SESSION, KELP_ENTRY_CONFIG,
                                                 KELP_ENTRY_BARRIER};
    struct told told = {0};
    for (size_t k = 0; k < 2 * (sizeof kinds / sizeof kinds[0]); k++) {
        struct wire_mark marks[WIRE_MARK_KEPT];
        struct rsm *r = made();
        kelp_index last = WIRE_MARK_EVERY;
        for (kelp_index i = 1; i <= last; i++) {
            bool in_session = i == last && k % 2 == 1; /* of none: refused, or nothing ends */
            struct wire_entry e = {.pos = kelp_pos_of(i, 1), .type = KELP_ENTRY_SESSION};
            if (i > 1) e.type = i < last ? KELP_ENTRY_NOOP : (uint8_t)kinds[k / 2];
            if (e.type == KELP_ENTRY_COMMAND) e.payload = bytes_of("a", 1);
            bool may = e.type == KELP_ENTRY_COMMAND || e.type == KELP_ENTRY_SESSION;
            if (in_session && may) {
                e.flags = WIRE_ENTRY_IN_SESSION;
                e.session = 1;
                e.sequence = e.type == KELP_ENTRY_COMMAND ? 1 : 0;
            }
            wire_entry_encode(&e, rooms[0]);
            struct kelp_bytes one = bytes_of(rooms[0], wire_entry_size(&e));
            told.rsm = r;
            told.first = 0;
            assert_int_equal(rsm_apply(r, i, &one, 1, on_reply, &told, NULL), KELP_OK);
        }
        assert_int_equal(rsm_marks(r, 0, marks), 1);
        assert_int_equal(marks[0].index, last);
        assert_int_equal(marks[0].state, rsm_state_hash(r));
        rsm_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_takes_effect_once_wherever_batches_are_cut),
        cmocka_unit_test(sessions_are_part_of_snapshots),
        cmocka_unit_test(the_state_hash_covers_sessions),
        cmocka_unit_test(a_mark_is_taken_whatever_stands_there_and_covers_sessions),
        cmocka_unit_test(without_memory_for_the_result_it_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
