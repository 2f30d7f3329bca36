/* SPDX-License-Identifier: Apache-2.0 */
/* rsm_test.c - envelopes opened, clock and chain kept, the unknown never skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "rsm/rsm.h"
#include "wire/entry.h"

struct sum { /* adds the first byte of every command */
    uint64_t total, commands, calls, time_ns, extension_bytes;
};

static bool closed;

static void sum_apply(void *fsm, uint32_t group, const struct kelp_command *commands, size_t count,
                      kelp_reply_fn reply, void *sink)
{
    struct sum *s = fsm;
    (void)group;
    s->calls++;
    for (size_t i = 0; i < count; i++) {
        assert_true(commands[i].time_ns >= s->time_ns);
        s->time_ns = commands[i].time_ns;
        s->total += commands[i].payload.data[0];
        s->commands++;
        s->extension_bytes += commands[i].extension.len;
        if (commands[i].payload.data[0] != 0) reply(sink, i, commands[i].payload);
    }
}

static void sum_query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                      void *sink)
{
    const struct sum *s = fsm;
    (void)group;
    (void)question;
    uint8_t out[8];
    put_u64(out, s->total);
    reply(sink, 0, bytes_of(out, 8));
}

static enum kelp_error sum_snapshot(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                    void **snapshot)
{
    const struct sum *s = fsm;
    (void)group;
    put_u64(own, s->total);
    *own_len = 8;
    *snapshot = NULL;
    return KELP_OK;
}

static enum kelp_error sum_restore(void *fsm, uint32_t group, struct kelp_pos pos, uint64_t time_ns,
                                   struct kelp_bytes own, void **restore)
{
    struct sum *s = fsm;
    (void)group;
    (void)pos;
    if (own.len != 8) return KELP_E_MALFORMED;
    s->total = load_u64(own.data);
    s->time_ns = time_ns;
    *restore = NULL;
    return KELP_OK;
}

static enum kelp_error sum_commit(void *fsm, void *restore)
{
    (void)fsm;
    (void)restore;
    return KELP_OK;
}

static uint64_t sum_hash(void *fsm, uint32_t group)
{
    const struct sum *s = fsm;
    (void)group;
    return s->total * 31;
}

static void sum_close(void *fsm)
{
    closed = true;
    free(fsm);
}

static const struct kelp_fsm_ops ops = {.size = sizeof(struct kelp_fsm_ops),
                                        .flags = KELP_FSM_IN_MEMORY | KELP_FSM_DISPOSABLE,
                                        .apply = sum_apply,
                                        .query = sum_query,
                                        .snapshot_begin = sum_snapshot,
                                        .restore_begin = sum_restore,
                                        .restore_commit = sum_commit,
                                        .hash = sum_hash,
                                        .close = sum_close};

struct replies {
    uint8_t first[1024];
    bool there[1024];
};

static void on_reply(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct replies *r = sink;
    assert_true(i < 1024 && !r->there[i]);
    r->there[i] = true;
    r->first[i] = bytes.data[0];
}

#define ENTRY_ROOM 256u

static struct kelp_bytes entry(uint8_t room[ENTRY_ROOM], kelp_index index, uint64_t term,
                               enum kelp_entry_type type, uint64_t time_ns, uint8_t value)
{
    struct wire_entry e = {
        .pos = kelp_pos_of(index, term), .type = (uint8_t)type, .time_ns = time_ns};
    if (type == KELP_ENTRY_COMMAND) e.payload = bytes_of(&value, 1);
    wire_entry_encode(&e, room);
    return bytes_of(room, wire_entry_size(&e));
}

static struct rsm *made(struct sum **sum)
{
    *sum = calloc(1, sizeof **sum);
    struct rsm *r = rsm_new(&ops, *sum, 0);
    assert_non_null(r);
    return r;
}

static void only_commands_reach_the_machine_and_replies_find_their_entry(void **state)
{
    (void)state;
    struct sum *sum;
    struct rsm *r = made(&sum);
    uint8_t room[5][ENTRY_ROOM];
    struct kelp_bytes entries[5] = {entry(room[0], 1, 1, KELP_ENTRY_CONFIG, 0, 0),
                                    entry(room[1], 2, 2, KELP_ENTRY_NOOP, 5, 0),
                                    entry(room[2], 3, 2, KELP_ENTRY_COMMAND, 6, 7),
                                    entry(room[3], 4, 2, KELP_ENTRY_BARRIER, 6, 0),
                                    entry(room[4], 5, 2, KELP_ENTRY_COMMAND, 7, 9)};
    struct replies replies = {0};
    assert_int_equal(rsm_apply(r, 1, entries, 5, on_reply, &replies, NULL), KELP_OK);
    assert_int_equal(sum->commands, 2);
    assert_int_equal(sum->calls, 1); /* one batch */
    assert_int_equal(replies.first[2], 7);
    assert_int_equal(replies.first[4], 9);
    assert_false(replies.there[0] || replies.there[1] || replies.there[3]);
    assert_int_equal(rsm_applied(r).index, 5);
    assert_int_equal(rsm_applied(r).term.v, 2);
    rsm_free(r);
}

static void cluster_time_never_goes_back(void **state)
{
    (void)state;
    struct sum *sum;
    struct rsm *r = made(&sum);
    uint8_t room[3][ENTRY_ROOM];
    struct kelp_bytes entries[3] = {entry(room[0], 1, 1, KELP_ENTRY_COMMAND, 100, 1),
                                    entry(room[1], 2, 1, KELP_ENTRY_COMMAND, 40, 1),
                                    entry(room[2], 3, 1, KELP_ENTRY_NOOP, 150, 1)};
    struct replies replies = {0};
    assert_int_equal(rsm_apply(r, 1, entries, 2, on_reply, &replies, NULL), KELP_OK);
    assert_int_equal(rsm_time_ns(r), 100);
    assert_int_equal(sum->time_ns, 100);
    assert_int_equal(rsm_apply(r, 3, entries + 2, 1, on_reply, &replies, NULL), KELP_OK);
    assert_int_equal(rsm_time_ns(r), 150);
    rsm_free(r);
}

static void the_chain_does_not_depend_on_batches_and_covers_every_entry(void **state)
{
    (void)state;
    static uint8_t room[600][ENTRY_ROOM];
    static struct kelp_bytes entries[600];
    struct sum *sum;
    for (size_t i = 0; i < 600; i++)
        entries[i] =
            entry(room[i], i + 1, 1, i % 5 == 0 ? KELP_ENTRY_NOOP : KELP_ENTRY_COMMAND, i, 1);
    struct rsm *whole = made(&sum), *pieces = made(&sum), *other = made(&sum);
    static struct replies replies;
    memset(&replies, 0, sizeof replies);
    assert_int_equal(rsm_apply(whole, 1, entries, 600, on_reply, &replies, NULL), KELP_OK);
    for (size_t i = 0; i < 600; i += 100) {
        memset(&replies, 0, sizeof replies);
        assert_int_equal(rsm_apply(pieces, i + 1, entries + i, 100, on_reply, &replies, NULL),
                         KELP_OK);
    }
    assert_int_equal(rsm_chain_hash(whole), rsm_chain_hash(pieces));
    assert_int_equal(rsm_state_hash(whole), rsm_state_hash(pieces));
    entries[300] = entry(room[300], 301, 1, KELP_ENTRY_NOOP, 999, 0); /* a no-op, but another one */
    memset(&replies, 0, sizeof replies);
    assert_int_equal(rsm_apply(other, 1, entries, 600, on_reply, &replies, NULL), KELP_OK);
    assert_int_not_equal(rsm_chain_hash(whole), rsm_chain_hash(other));
    rsm_free(whole);
    rsm_free(pieces);
    rsm_free(other);
}

static void what_is_not_known_stops_it_there_for_good(void **state)
{
    (void)state;
    struct sum *sum;
    struct rsm *r = made(&sum);
    uint8_t room[3][ENTRY_ROOM];
    struct kelp_bytes entries[3] = {entry(room[0], 1, 1, KELP_ENTRY_COMMAND, 1, 3),
                                    entry(room[1], 2, 1, KELP_ENTRY_VERSION, 1, 0),
                                    entry(room[2], 3, 1, KELP_ENTRY_COMMAND, 1, 5)};
    struct replies replies = {0};
    struct kelp_fault fault = {.error = KELP_OK};
    assert_int_equal(rsm_apply(r, 1, entries, 3, on_reply, &replies, &fault), KELP_E_VERSION);
    assert_int_equal(fault.index, 2);
    assert_true(fault.what[0] != '\0');
    /* the one before it is applied, the one behind it is not */
    assert_int_equal(sum->total, 3);
    assert_true(replies.there[0]);
    assert_int_equal(rsm_applied(r).index, 1);
    entries[1] = entry(room[1], 2, 1, KELP_ENTRY_COMMAND, 1, 4);
    struct kelp_fault again = {.error = KELP_OK};
    assert_int_equal(rsm_apply(r, 2, entries + 1, 2, on_reply, &replies, &again), KELP_E_VERSION);
    assert_int_equal(sum->total, 3);
    rsm_free(r);
}

static void an_extension_reaches_the_machine(void **state)
{
    (void)state;
    struct sum *sum;
    struct rsm *r = made(&sum);
    uint8_t room[ENTRY_ROOM], value = 1;
    struct wire_entry e = {.pos = kelp_pos_of(1, 1),
                           .type = KELP_ENTRY_COMMAND,
                           .flags = WIRE_ENTRY_EXTENDED,
                           .extension = bytes_of("beside", 6),
                           .payload = bytes_of(&value, 1)};
    wire_entry_encode(&e, room);
    struct kelp_bytes encoded = bytes_of(room, wire_entry_size(&e));
    struct replies replies = {0};
    assert_int_equal(rsm_apply(r, 1, &encoded, 1, on_reply, &replies, NULL), KELP_OK);
    assert_int_equal(sum->extension_bytes, 6);
    rsm_free(r);
}

static void a_damaged_or_misplaced_entry_stops_it(void **state)
{
    (void)state;
    for (int what = 0; what < 4; what++) {
        struct sum *sum;
        struct rsm *r = made(&sum);
        uint8_t room[2][ENTRY_ROOM];
        struct kelp_bytes entries[2] = {
            entry(room[0], 1, 5, KELP_ENTRY_COMMAND, 1, 3),
            entry(room[1], what == 1 ? 3 : 2, what == 2 ? 4 : 5, KELP_ENTRY_COMMAND, 1, 4)};
        if (what == 0) room[1][0] ^= 0x40; /* longer than it is */
        if (what == 3) room[1][35] ^= 1;   /* in the zeros behind the payload */
        struct replies replies = {0};
        struct kelp_fault fault = {.error = KELP_OK};
        assert_int_equal(rsm_apply(r, 1, entries, 2, on_reply, &replies, &fault), KELP_E_CORRUPT);
        assert_int_equal(fault.index, 2);
        assert_int_equal(sum->total, 3);
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

static enum kelp_error restored(struct rsm *r, const struct wire_snaphead *head)
{
    enum kelp_error error = rsm_restore_begin(r, head, NULL);
    return error == KELP_OK ? rsm_restore_commit(r, head, NULL) : error;
}

/* The next start would find a snapshot that it cannot take. */
static void a_machine_that_cannot_be_restored_has_no_snapshots(void **state)
{
    (void)state;
    struct kelp_fsm_ops partly = ops;
    struct sum *sum;
    struct rsm *r = made(&sum);
    assert_true(rsm_has_snapshots(r));
    rsm_free(r);
    for (int missing = 0; missing < 3; missing++) {
        partly = ops;
        if (missing == 0) partly.snapshot_begin = NULL;
        if (missing == 1) partly.restore_begin = NULL;
        if (missing == 2) partly.restore_commit = NULL;
        r = rsm_new(&partly, calloc(1, sizeof *sum), 0);
        assert_false(rsm_has_snapshots(r));
        rsm_free(r);
    }
}

static void a_snapshot_restores_state_clock_and_chain(void **state)
{
    (void)state;
    struct sum *sum;
    struct rsm *r = made(&sum), *fresh;
    uint8_t room[2][ENTRY_ROOM];
    struct kelp_bytes entries[2] = {entry(room[0], 1, 1, KELP_ENTRY_COMMAND, 50, 3),
                                    entry(room[1], 2, 1, KELP_ENTRY_COMMAND, 60, 4)};
    static uint8_t head_bytes[WIRE_SNAPHEAD_BYTES_MAX];
    struct wire_config config = config_of_one();
    struct kelp_pos pos = {.index = 0};
    /* nothing yet */
    size_t len = 0, said = 0;
    assert_int_equal(rsm_snapshot_begin(r, &config, config.cluster, 7, &pos, &said),
                     KELP_E_NOT_SUPPORTED);
    struct replies replies = {0};
    assert_int_equal(rsm_apply(r, 1, entries, 2, on_reply, &replies, NULL), KELP_OK);
    assert_int_equal(rsm_snapshot_begin(r, &config, config.cluster, 7, &pos, &said), KELP_OK);
    bool last = false;
    uint8_t none[1];
    assert_int_equal(rsm_snapshot_read(r, none, &len, &last), KELP_OK);
    assert_true(last && len == 0); /* it is disposable */
    len = rsm_snapshot_head(r, 0, 0, head_bytes);
    rsm_snapshot_end(r);
    assert_int_equal(len, said);
    assert_int_equal(pos.index, 2);
    struct wire_snaphead head;
    size_t used;
    assert_int_equal(wire_snaphead_decode(bytes_of(head_bytes, len), &head, &used, NULL), KELP_OK);
    assert_int_equal(head.epoch, 7);
    fresh = made(&sum);
    assert_int_equal(restored(fresh, &head), KELP_OK);
    assert_int_equal(rsm_applied(fresh).index, 2);
    assert_int_equal(rsm_time_ns(fresh), 60);
    assert_int_equal(rsm_chain_hash(fresh), rsm_chain_hash(r));
    assert_int_equal(rsm_state_hash(fresh), rsm_state_hash(r));
    head.state_hash++;
    assert_int_equal(restored(fresh, &head), KELP_E_CORRUPT);
    rsm_free(r);
    rsm_free(fresh);
}

static void states_are_marked_at_the_same_indexes_however_they_are_batched(void **state)
{
    (void)state;
    static uint8_t room[600][ENTRY_ROOM];
    static struct kelp_bytes entries[600];
    static struct replies replies;
    struct wire_mark by[2][WIRE_MARK_KEPT];
    struct sum *sum;
    for (size_t i = 0; i < 600; i++) /* one mark is behind a no-op, one behind a command */
        entries[i] =
            entry(room[i], i + 1, 1, i == 255 ? KELP_ENTRY_NOOP : KELP_ENTRY_COMMAND, i, 1);
    struct rsm *r[2] = {made(&sum), made(&sum)};
    for (size_t k = 0; k < 2; k++) {
        size_t batch = k == 0 ? 600 : 40;
        for (size_t i = 0; i < 600; i += batch) {
            memset(&replies, 0, sizeof replies);
            assert_int_equal(rsm_apply(r[k], i + 1, entries + i, batch, on_reply, &replies, NULL),
                             KELP_OK);
        }
        assert_int_equal(rsm_marks(r[k], 0, by[k]), 2);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(by[0][i].index, 256 * (i + 1));
        assert_int_equal(by[0][i].state, (i == 0 ? 255 : 511) * 31); /* and not a command more */
        assert_int_equal(by[0][i].state, by[1][i].state);
        assert_int_equal(by[0][i].chain, by[1][i].chain);
    }
    assert_int_equal(rsm_marks(r[0], 256, by[0]), 1);
    assert_int_equal(by[0][0].index, 512);
    assert_int_equal(rsm_marks(r[0], 512, by[0]), 0);
    rsm_free(r[0]);
    rsm_free(r[1]);
}

static void only_the_newest_marks_are_kept_and_none_of_a_state_that_was_replaced(void **state)
{
    (void)state;
    uint8_t room[ENTRY_ROOM];
    struct wire_mark marks[WIRE_MARK_KEPT];
    struct sum *sum;
    struct rsm *r = made(&sum);
    struct replies replies;
    kelp_index last = WIRE_MARK_EVERY * (WIRE_MARK_KEPT + 3);
    for (kelp_index i = 1; i <= last; i++) {
        struct kelp_bytes one = entry(room, i, 1, KELP_ENTRY_COMMAND, i, 1);
        memset(&replies, 0, sizeof replies);
        assert_int_equal(rsm_apply(r, i, &one, 1, on_reply, &replies, NULL), KELP_OK);
    }
    assert_int_equal(rsm_marks(r, 0, marks), WIRE_MARK_KEPT);
    assert_int_equal(marks[0].index, 4 * WIRE_MARK_EVERY);
    assert_int_equal(marks[WIRE_MARK_KEPT - 1].index, last);
    uint8_t own[8];
    put_u64(own, 5);
    struct wire_snaphead head = {.pos = kelp_pos_of(last + 1, 1),
                                 .state_hash = 5 * 31,
                                 .config = config_of_one(),
                                 .own = bytes_of(own, 8)};
    assert_int_equal(restored(r, &head), KELP_OK);
    assert_int_equal(rsm_marks(r, 0, marks), 0);
    rsm_free(r);
}

static void positions_alone_have_no_state_to_mark(void **state)
{
    (void)state;
    uint8_t room[ENTRY_ROOM];
    struct wire_mark marks[WIRE_MARK_KEPT];
    struct sum *sum;
    struct rsm *r = made(&sum);
    struct replies replies = {0};
    for (kelp_index i = 1; i <= WIRE_MARK_EVERY; i++) {
        struct kelp_bytes one = entry(room, i, 1, KELP_ENTRY_POSITION, i, 0);
        assert_int_equal(rsm_apply(r, i, &one, 1, on_reply, &replies, NULL), KELP_OK);
    }
    assert_int_equal(rsm_marks(r, 0, marks), 0);
    rsm_free(r);
}

static void a_query_is_answered_at_the_state_as_it_is(void **state)
{
    (void)state;
    struct sum *sum;
    struct rsm *r = made(&sum);
    sum->total = 77;
    struct replies replies = {0};
    rsm_query(r, bytes_of("?", 1), on_reply, &replies);
    assert_true(replies.there[0]);
    assert_int_equal(replies.first[0], 77);
    closed = false;
    rsm_free(r);
    assert_true(closed);
    rsm_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_commands_reach_the_machine_and_replies_find_their_entry),
        cmocka_unit_test(cluster_time_never_goes_back),
        cmocka_unit_test(the_chain_does_not_depend_on_batches_and_covers_every_entry),
        cmocka_unit_test(what_is_not_known_stops_it_there_for_good),
        cmocka_unit_test(an_extension_reaches_the_machine),
        cmocka_unit_test(a_damaged_or_misplaced_entry_stops_it),
        cmocka_unit_test(a_machine_that_cannot_be_restored_has_no_snapshots),
        cmocka_unit_test(a_snapshot_restores_state_clock_and_chain),
        cmocka_unit_test(states_are_marked_at_the_same_indexes_however_they_are_batched),
        cmocka_unit_test(only_the_newest_marks_are_kept_and_none_of_a_state_that_was_replaced),
        cmocka_unit_test(positions_alone_have_no_state_to_mark),
        cmocka_unit_test(a_query_is_answered_at_the_state_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
