/* SPDX-License-Identifier: Apache-2.0 */
/* machine_test.c - the simulator's own state machine: its answers, and what a snapshot keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "sim/machine.h"

struct answer {
    uint64_t numbers[1 + MACHINE_LIST_MAX];
    size_t count;
};

static void answer_take(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct answer *a = sink;
    assert_int_equal(i, 0);
    a->count = bytes.len / 8;
    for (size_t k = 0; k < a->count; k++)
        a->numbers[k] = load_u64(bytes.data + 8 * k);
}

#define REQUEST(n, v, ...)                                                                         \
    ((struct machine_request){.name = (n), .value = (v), .more = {__VA_ARGS__}})

static struct answer answer_to(void *machine, struct machine_request request, bool question)
{
    uint8_t bytes[MACHINE_REQUEST_BYTES];
    struct answer answer = {.count = SIZE_MAX};
    struct kelp_command command = {
        .payload = {bytes, machine_encode(&request, bytes)},
    };
    if (question)
        machine_ops.query(machine, 0, command.payload, answer_take, &answer);
    else
        machine_ops.apply(machine, 0, &command, 1, answer_take, &answer);
    assert_true(answer.count <= 1 + MACHINE_LIST_MAX);
    return answer;
}

static uint64_t told(void *machine, struct machine_request request)
{
    struct answer answer = answer_to(machine, request, false);
    assert_int_equal(answer.count, 1);
    return answer.numbers[0];
}

static uint64_t asked(void *machine, struct machine_request request)
{
    return answer_to(machine, request, true).numbers[0];
}

static void commands_answer_with_what_the_checker_expects(void **state)
{
    (void)state;
    void *m = machine_make(NULL, 1);
    assert_int_equal(told(m, REQUEST(7, 100, .kind = MACHINE_SET)), 0);
    assert_int_equal(told(m, REQUEST(7, 101, .kind = MACHINE_SWAP, .expected = 99)), 100);
    assert_int_equal(asked(m, REQUEST(7, 0, .kind = MACHINE_SWAP)), 100);
    assert_int_equal(told(m, REQUEST(7, 102, .kind = MACHINE_SWAP, .expected = 100)), 100);
    assert_int_equal(asked(m, REQUEST(7, 0, .kind = MACHINE_SET)), 102);
    assert_int_equal(told(m, REQUEST(8, 103, .kind = MACHINE_COUNT)), 1);
    assert_int_equal(told(m, REQUEST(8, 104, .kind = MACHINE_COUNT)), 2);
    struct machine_request several =
        REQUEST(7, 105, .kind = MACHINE_SEVERAL, .others = 2, .names = {9, 10});
    assert_int_equal(told(m, several), 102);
    struct answer all = answer_to(m, several, true);
    assert_int_equal(all.count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(all.numbers[i], 105);
    machine_ops.close(m);
}

static void a_list_is_full_at_its_limit_and_gone_when_its_place_is_taken(void **state)
{
    (void)state;
    void *m = machine_make(NULL, 1);
    uint32_t name = MACHINE_REGISTERS + 5;
    struct machine_request question = REQUEST(name, 0, .kind = MACHINE_APPEND);
    assert_int_equal(asked(m, question), 0);
    for (uint64_t i = 1; i <= MACHINE_LIST_MAX; i++)
        assert_int_equal(told(m, REQUEST(name, i, .kind = MACHINE_APPEND)), i);
    assert_int_equal(told(m, REQUEST(name, 99, .kind = MACHINE_APPEND)), 0);
    struct answer all = answer_to(m, question, true);
    assert_int_equal(all.count, 1 + MACHINE_LIST_MAX);
    assert_int_equal(all.numbers[MACHINE_LIST_MAX], MACHINE_LIST_MAX);
    assert_int_equal(told(m, REQUEST(name + MACHINE_LISTS, 100, .kind = MACHINE_APPEND)), 1);
    assert_int_equal(told(m, REQUEST(name, 101, .kind = MACHINE_APPEND)), 0);
    assert_int_equal(asked(m, question), MACHINE_GONE);
    machine_ops.close(m);
}

static void lend(void *m, uint64_t time_ms, struct machine_request request, uint64_t stood)
{
    uint8_t bytes[MACHINE_REQUEST_BYTES];
    struct answer answer = {.count = SIZE_MAX};
    struct kelp_command command = {.time_ns = time_ms * 1000000,
                                   .payload = {bytes, machine_encode(&request, bytes)}};
    machine_ops.apply(m, 0, &command, 1, answer_take, &answer);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.numbers[0], stood);
}

#define LEND(n, v, ms) REQUEST(n, v, .kind = MACHINE_LEND, .lasts_ms = (ms))
#define MS             UINT64_C(1000000)

static bool lapses(void *m, uint32_t name, uint64_t time_ms)
{
    uint8_t bytes[MACHINE_REQUEST_BYTES];
    struct machine_request request = LEND(name, 0, 0);
    return machine_ops.lapses(m, 0, (struct kelp_bytes){bytes, machine_encode(&request, bytes)},
                              time_ms * MS);
}

static void what_is_lent_is_absent_by_the_clock_and_cleared_away_by_an_entry(void **state)
{
    (void)state;
    void *m = machine_make(NULL, 1), *never = machine_make(NULL, 2);
    assert_true(machine_ops.deadline(m, 0) == KELP_FSM_NO_DEADLINE);
    lend(m, 10, LEND(7, 100, 50), 0);
    lend(m, 10, LEND(8, 101, 500), 0);
    assert_int_equal(machine_ops.deadline(m, 0), 60 * MS);
    assert_false(lapses(m, 7, 59));
    assert_true(lapses(m, 7, 60));
    assert_false(lapses(m, 8, 60));
    machine_ops.pass(m, 0, 59 * MS, 0);
    assert_int_equal(asked(m, LEND(7, 0, 0)), 100);
    uint64_t hash = machine_ops.hash(m, 0);
    machine_ops.pass(m, 0, 60 * MS, 0);
    assert_int_equal(asked(m, LEND(7, 0, 0)), 0);
    assert_false(lapses(m, 7, 60)); /* it is so already */
    assert_true(machine_ops.hash(m, 0) == hash);
    machine_ops.pass(m, 0, 60 * MS, 1);
    assert_true(machine_ops.hash(m, 0) != hash);
    assert_int_equal(machine_ops.deadline(m, 0), 510 * MS);
    lend(m, 600, REQUEST(9, 5, .kind = MACHINE_SET), 0);
    lend(never, 0, REQUEST(9, 5, .kind = MACHINE_SET), 0);
    assert_true(machine_ops.hash(m, 0) == machine_ops.hash(never, 0));
    machine_ops.close(m);
    machine_ops.close(never);
}

static void any_other_write_ends_a_loan(void **state)
{
    (void)state;
    void *m = machine_make(NULL, 1);
    lend(m, 0, LEND(7, 100, 50), 0);
    lend(m, 1, REQUEST(7, 101, .kind = MACHINE_SET), 100);
    assert_true(machine_ops.deadline(m, 0) == KELP_FSM_NO_DEADLINE);
    lend(m, 2, LEND(7, 102, 50), 101);
    lend(m, 3, LEND(7, 103, 500), 102);
    assert_int_equal(machine_ops.deadline(m, 0), 503 * MS);
    lend(m, 503, LEND(7, 104, 50), 0);
    machine_ops.close(m);
}

/* All it can hold: every register, every place full. */
static void *machine_full(void)
{
    void *m = machine_make(NULL, 1);
    for (uint32_t i = 0; i < MACHINE_REGISTERS; i++)
        (void)told(m, REQUEST(i, i + 1, .kind = MACHINE_SET));
    for (uint32_t i = 0; i < MACHINE_LISTS; i++) {
        for (uint64_t k = 1; k <= MACHINE_LIST_MAX; k++)
            (void)told(m, REQUEST(MACHINE_REGISTERS + 1 + i, k, .kind = MACHINE_APPEND));
    }
    for (uint32_t i = 0; i <= MACHINE_LENT_MAX; i++) /* one of them for good */
        lend(m, 0, LEND(1000 + i, 7, 60000 + i), 1001 + i);
    assert_int_equal(machine_ops.deadline(m, 0), 60000 * MS);
    return m;
}

static void a_snapshot_of_a_full_machine_fits_and_restores_the_same_hash(void **state)
{
    (void)state;
    static uint8_t own[KELP_FSM_OWN_BYTES_MAX];
    size_t len;
    void *snapshot, *restore, *m = machine_full(), *other = machine_make(NULL, 2);
    assert_int_equal(machine_ops.snapshot_begin(m, 0, own, &len, &snapshot), KELP_OK);
    assert_true(len <= sizeof own);
    struct kelp_bytes bytes = {own, len};
    struct kelp_pos pos = {{1}, 1};
    (void)told(other, REQUEST(3, 77, .kind = MACHINE_SET)); /* is replaced */
    assert_int_equal(machine_ops.restore_begin(other, 0, pos, 0, bytes, &restore), KELP_OK);
    assert_int_equal(machine_ops.restore_commit(other, restore), KELP_OK);
    assert_true(machine_ops.hash(other, 0) == machine_ops.hash(m, 0));
    assert_int_equal(told(other, REQUEST(MACHINE_REGISTERS + 1, 9, .kind = MACHINE_APPEND)), 0);
    assert_int_equal(asked(other, REQUEST(4, 0, .kind = MACHINE_SET)), 5);
    assert_int_equal(machine_ops.deadline(other, 0), 60000 * MS);
    machine_ops.close(m);
    machine_ops.close(other);
}

static void a_snapshot_cut_anywhere_is_refused_or_is_smaller(void **state)
{
    (void)state;
    static uint8_t own[KELP_FSM_OWN_BYTES_MAX];
    size_t len;
    void *snapshot, *restore, *m = machine_make(NULL, 1);
    (void)told(m, REQUEST(2, 5, .kind = MACHINE_SET));
    (void)told(m, REQUEST(MACHINE_REGISTERS + 1, 6, .kind = MACHINE_APPEND));
    (void)told(m, REQUEST(MACHINE_REGISTERS + 1, 7, .kind = MACHINE_APPEND));
    assert_int_equal(machine_ops.snapshot_begin(m, 0, own, &len, &snapshot), KELP_OK);
    struct kelp_pos pos = {{1}, 1};
    size_t refused = 0;
    for (size_t cut = 0; cut < len; cut++) {
        enum kelp_error error =
            machine_ops.restore_begin(m, 0, pos, 0, (struct kelp_bytes){own, cut}, &restore);
        refused += error == KELP_E_MALFORMED;
        if (error == KELP_OK) machine_ops.restore_abort(m, restore);
    }
    assert_int_equal(refused, len - 1); /* only a cut in front of the lists is one */
    put_u32(own, MACHINE_REGISTERS + 1);
    assert_int_equal(
        machine_ops.restore_begin(m, 0, pos, 0, (struct kelp_bytes){own, len}, &restore),
        KELP_E_MALFORMED);
    machine_ops.close(m);
}

/* Objects of m into other, but for the one with number left_out. */
static enum kelp_error objects_carried(void *m, void *other, unsigned left_out,
                                       bool commands_between)
{
    static uint8_t own[KELP_FSM_OWN_BYTES_MAX], object[65536];
    const struct kelp_fsm_ops *ops = &machine_objects_ops;
    void *snapshot, *restore;
    size_t own_len, len;
    bool last = false;
    struct kelp_pos pos = {{1}, 1};
    assert_int_equal(ops->snapshot_begin(m, 0, own, &own_len, &snapshot), KELP_OK);
    assert_int_equal(
        ops->restore_begin(other, 0, pos, 0, (struct kelp_bytes){own, own_len}, &restore), KELP_OK);
    enum kelp_error error = KELP_OK;
    for (unsigned number = 0; !last; number++) {
        len = sizeof object;
        assert_int_equal(ops->snapshot_read(m, snapshot, object, &len, &last), KELP_OK);
        if (commands_between) (void)told(m, REQUEST(number, 999, .kind = MACHINE_SET));
        if (len == 0 || number == left_out || error != KELP_OK) continue;
        error = ops->restore_object(other, restore, (struct kelp_bytes){object, len});
    }
    ops->snapshot_end(m, snapshot);
    if (error == KELP_OK) error = ops->restore_commit(other, restore);
    if (error != KELP_OK) ops->restore_abort(other, restore);
    return error;
}

static void objects_hold_the_state_as_it_was_at_begin(void **state)
{
    (void)state;
    void *m = machine_full(), *other = machine_make(NULL, 2);
    uint64_t hash = machine_ops.hash(m, 0);
    assert_int_equal(objects_carried(m, other, UINT32_MAX, true), KELP_OK);
    assert_true(machine_ops.hash(m, 0) != hash);
    assert_true(machine_ops.hash(other, 0) == hash);
    assert_int_equal(machine_ops.deadline(other, 0), 60000 * MS);
    assert_int_equal(told(other, REQUEST(MACHINE_REGISTERS + 1, 9, .kind = MACHINE_APPEND)), 0);
    machine_ops.close(m);
    machine_ops.close(other);
}

static void a_missing_object_is_found_out_and_nothing_changes(void **state)
{
    (void)state;
    void *m = machine_full(), *other = machine_make(NULL, 2);
    (void)told(other, REQUEST(3, 77, .kind = MACHINE_SET));
    uint64_t hash = machine_ops.hash(other, 0);
    for (unsigned left_out = 0; left_out < 40; left_out++) {
        assert_int_not_equal(objects_carried(m, other, left_out, false), KELP_OK);
        assert_true(machine_ops.hash(other, 0) == hash);
    }
    machine_ops.close(m);
    machine_ops.close(other);
}

static void an_empty_machine_has_an_empty_snapshot(void **state)
{
    (void)state;
    void *m = machine_make(NULL, 1), *other = machine_full();
    assert_int_equal(objects_carried(m, other, UINT32_MAX, false), KELP_OK);
    assert_true(machine_ops.hash(other, 0) == machine_ops.hash(m, 0));
    machine_ops.close(m);
    machine_ops.close(other);
}

static void other_bytes_are_no_request(void **state)
{
    (void)state;
    uint8_t bytes[MACHINE_REQUEST_BYTES];
    struct machine_request out,
        request = REQUEST(7, 1, .kind = MACHINE_SEVERAL, .others = 3, .names = {1, 2, 3});
    size_t len = machine_encode(&request, bytes);
    assert_true(machine_decode((struct kelp_bytes){bytes, len}, &out));
    assert_int_equal(out.name, request.name);
    assert_int_equal(out.value, request.value);
    assert_int_equal(out.more.kind, request.more.kind);
    assert_int_equal(out.more.others, request.more.others);
    assert_int_equal(out.more.expected, request.more.expected);
    assert_memory_equal(out.more.names, request.more.names, sizeof out.more.names);
    for (size_t cut = 0; cut < len; cut++)
        assert_false(machine_decode((struct kelp_bytes){bytes, cut}, &out));
    put_u32(bytes + 16, MACHINE_REGISTERS); /* a list among several registers */
    assert_false(machine_decode((struct kelp_bytes){bytes, len}, &out));
    request = REQUEST(MACHINE_REGISTERS, 1, .kind = MACHINE_SET);
    assert_false(machine_decode((struct kelp_bytes){bytes, machine_encode(&request, bytes)}, &out));
    bytes[7] ^= 0xff;
    assert_false(machine_decode((struct kelp_bytes){bytes, len}, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_answer_with_what_the_checker_expects),
        cmocka_unit_test(a_list_is_full_at_its_limit_and_gone_when_its_place_is_taken),
        cmocka_unit_test(what_is_lent_is_absent_by_the_clock_and_cleared_away_by_an_entry),
        cmocka_unit_test(any_other_write_ends_a_loan),
        cmocka_unit_test(a_snapshot_of_a_full_machine_fits_and_restores_the_same_hash),
        cmocka_unit_test(a_snapshot_cut_anywhere_is_refused_or_is_smaller),
        cmocka_unit_test(objects_hold_the_state_as_it_was_at_begin),
        cmocka_unit_test(a_missing_object_is_found_out_and_nothing_changes),
        cmocka_unit_test(an_empty_machine_has_an_empty_snapshot),
        cmocka_unit_test(other_bytes_are_no_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
