/* SPDX-License-Identifier: Apache-2.0 */
/* history_random_test.c - the judges against trying every order.
 *
 * Histories are made by an atomic object whose answers travel for a random time, so they are
 * linearizable; then one answer, time or outcome is damaged. Small ones must be judged exactly as
 * trying every order judges them, in both directions; large ones as they were made must pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/min.h"
#include "base/prng.h"
#include "sim/brute.h"
#include "sim/history.h"

#define OPERATIONS_MAX 600

enum kind {
    KIND_REGISTER,
    KIND_COUNTER,
    KIND_LIST,
    KIND_LIST_LENGTHS,
    KIND_CAS,
    KIND_MULTI,
    KIND_COUNT
};

struct made {
    struct kelp_sim_operation operations[OPERATIONS_MAX];
    struct kelp_sim_item items[OPERATIONS_MAX][BRUTE_LIST];
    kelp_ns moments[OPERATIONS_MAX];
    size_t count;
};

static struct made made;

static enum kelp_sim_action action_of(enum kind kind, struct prng *p)
{
    static const enum kelp_sim_action choice[KIND_COUNT][6] = {
        [KIND_REGISTER] = {KELP_SIM_READ, KELP_SIM_WRITE, KELP_SIM_READ, KELP_SIM_WRITE,
                           KELP_SIM_READ, KELP_SIM_READ},
        [KIND_COUNTER] = {KELP_SIM_READ, KELP_SIM_INCR, KELP_SIM_INCR, KELP_SIM_INCR, KELP_SIM_READ,
                          KELP_SIM_INCR},
        [KIND_LIST] = {KELP_SIM_LIST, KELP_SIM_APPEND, KELP_SIM_LIST, KELP_SIM_APPEND,
                       KELP_SIM_APPEND, KELP_SIM_LIST},
        [KIND_LIST_LENGTHS] = {KELP_SIM_LIST, KELP_SIM_APPEND, KELP_SIM_APPEND, KELP_SIM_APPEND,
                               KELP_SIM_APPEND, KELP_SIM_LIST},
        [KIND_CAS] = {KELP_SIM_READ, KELP_SIM_WRITE, KELP_SIM_CAS, KELP_SIM_CAS, KELP_SIM_CAS,
                      KELP_SIM_READ},
        [KIND_MULTI] = {KELP_SIM_READ, KELP_SIM_WRITE, KELP_SIM_MSET, KELP_SIM_MGET, KELP_SIM_MGET,
                        KELP_SIM_CAS},
    };
    return choice[kind][prng_below(p, 6)];
}

static int by_moment(const void *a, const void *b)
{
    kelp_ns x = made.moments[*(const size_t *)a], y = made.moments[*(const size_t *)b];
    return x < y ? -1 : x > y;
}

/* What each answers, in the order of their moments. */
static void answers_make(enum kind kind, struct prng *p, const size_t *order)
{
    struct brute_state state = brute_start();
    bool tells = prng_chance(p, 1, 2);
    for (size_t k = 0; k < made.count; k++) {
        struct kelp_sim_operation *o = &made.operations[order[k]];
        struct kelp_sim_item *items = made.items[order[k]];
        if (o->said == KELP_SIM_REFUSED || (o->said == KELP_SIM_UNKNOWN && prng_chance(p, 1, 2)))
            continue;
        uint64_t before = state.value[o->key];
        if (o->action == KELP_SIM_READ) o->value = before;
        if (o->action == KELP_SIM_CAS) {
            if (prng_chance(p, 2, 3)) o->expected = before;
            o->swapped = before == o->expected;
            o->seen = tells ? before : KELP_SIM_UNTOLD;
        }
        if (o->action == KELP_SIM_INCR) o->number = before == KELP_SIM_NOTHING ? 1 : before + 1;
        if (o->action == KELP_SIM_APPEND)
            o->number = kind == KIND_LIST_LENGTHS ? state.length[o->key] + 1 : 0;
        if (o->action == KELP_SIM_LIST) {
            o->item_count = state.length[o->key];
            for (size_t i = 0; i < o->item_count; i++)
                items[i].value = state.list[o->key][i];
        }
        for (size_t i = 0; o->action == KELP_SIM_MGET && i < o->item_count; i++)
            items[i].value = state.value[items[i].key];
        (void)brute_perform(&state, o);
    }
}

static void history_make(enum kind kind, struct prng *p, size_t count, uint64_t processes)
{
    kelp_ns clocks[8] = {0};
    size_t order[OPERATIONS_MAX];
    uint64_t next_process = processes, names[8];
    size_t appends = 0;
    made.count = count;
    for (uint64_t i = 0; i < processes; i++)
        names[i] = i;
    for (size_t i = 0; i < count; i++) {
        struct kelp_sim_operation *o = &made.operations[i];
        uint64_t who = prng_below(p, processes);
        *o = (struct kelp_sim_operation){.process = names[who], .action = action_of(kind, p)};
        if (o->action == KELP_SIM_APPEND && ++appends == BRUTE_LIST)
            o->action = KELP_SIM_LIST, appends--;
        o->items = made.items[i];
        o->call = clocks[who] + prng_below(p, 4);
        made.moments[i] = o->call + prng_below(p, 6);
        o->back = made.moments[i] + prng_below(p, 6);
        clocks[who] = o->back;
        o->value =
            o->action == KELP_SIM_WRITE || o->action == KELP_SIM_CAS || o->action == KELP_SIM_APPEND
                ? i + 1
                : KELP_SIM_NOTHING;
        o->seen = KELP_SIM_UNTOLD;
        o->expected = 1 + prng_below(p, count);
        if (kind == KIND_MULTI) o->key = (uint32_t)prng_below(p, 3);
        if (o->action == KELP_SIM_MSET || o->action == KELP_SIM_MGET) {
            o->item_count = 1 + prng_below(p, 3);
            for (size_t k = 0; k < o->item_count; k++)
                made.items[i][k] =
                    (struct kelp_sim_item){(uint32_t)((o->key + k) % 3),
                                           o->action == KELP_SIM_MSET ? i + 1 : KELP_SIM_NOTHING};
        }
        if (prng_chance(p, 1, 8)) {
            o->said = prng_chance(p, 1, 4) ? KELP_SIM_REFUSED : KELP_SIM_UNKNOWN;
            if (o->said == KELP_SIM_UNKNOWN) {
                o->back = KELP_NEVER;
                names[who] = next_process++;
                if (prng_chance(p, 1, 2)) made.moments[i] += prng_below(p, 40);
            }
        }
        order[i] = i;
    }
    qsort(order, count, sizeof *order, by_moment);
    answers_make(kind, p, order);
}

/* One thing is told otherwise, or moved. */
static void history_damage(struct prng *p)
{
    struct kelp_sim_operation *o = &made.operations[prng_below(p, made.count)];
    size_t which = (size_t)(o - made.operations);
    uint64_t other = 1 + prng_below(p, made.count);
    switch (o->action) {
    case KELP_SIM_READ: o->value = other; return;
    case KELP_SIM_CAS:
        o->swapped = !o->swapped;
        o->seen = o->swapped ? KELP_SIM_UNTOLD : o->seen;
        return;
    case KELP_SIM_INCR:
        if (o->said == KELP_SIM_OK) o->number = other;
        return;
    case KELP_SIM_LIST:
    case KELP_SIM_MGET:
        if (o->item_count == 0) return;
        if (o->action == KELP_SIM_LIST && prng_chance(p, 1, 2))
            o->item_count--;
        else
            made.items[which][prng_below(p, o->item_count)].value = other;
        return;
    case KELP_SIM_APPEND:
        if (o->said == KELP_SIM_OK && o->number != 0 && prng_chance(p, 1, 2)) {
            o->number = other;
            return;
        }
        break;
    case KELP_SIM_WRITE:
    case KELP_SIM_MSET: break;
    }
    if (o->said == KELP_SIM_OK && prng_chance(p, 1, 4)) {
        o->said = KELP_SIM_REFUSED;
    } else if (o->said == KELP_SIM_OK) { /* it seems to have been much later, or much earlier */
        o->process = 1000 + which;
        if (prng_chance(p, 1, 2)) {
            o->call += 12;
            o->back += 12;
        } else {
            o->call -= min_u64(o->call, 12);
            o->back = o->call + 1;
        }
    }
}

static const char *const kind_names[] = {"register",          "counter", "list",
                                         "list with lengths", "cas",     "multi"};

static void history_print(void)
{
    for (size_t i = 0; i < made.count; i++) {
        const struct kelp_sim_operation *o = &made.operations[i];
        print_message("#%zu p%llu %s said %d [%lld %lld] k%u v%lld e%lld s%d seen %lld n%llu:",
                      i + 1, (unsigned long long)o->process, kelp_sim_action_name(o->action),
                      (int)o->said, (long long)o->call, (long long)o->back, o->key,
                      (long long)o->value, (long long)o->expected, (int)o->swapped,
                      (long long)o->seen, (unsigned long long)o->number);
        for (size_t k = 0; k < o->item_count; k++)
            print_message(" %u=%lld", o->items[k].key, (long long)o->items[k].value);
        print_message("\n");
    }
}

static void judged_as_by_every_order(enum kind kind, uint64_t rounds)
{
    struct prng p = {0x5eed + (uint64_t)kind};
    size_t good = 0, bad = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        history_make(kind, &p, 3 + prng_below(&p, 6), 2 + prng_below(&p, 3));
        for (uint64_t damage = prng_below(&p, 3); damage > 0; damage--)
            history_damage(&p);
        struct kelp_sim_verdict v;
        enum kelp_sim_judgement judgement =
            kelp_sim_check_history(made.operations, made.count, 0, &v);
        bool expected = brute_linearizable(made.operations, made.count);
        if (judgement != (expected ? KELP_SIM_LINEARIZABLE : KELP_SIM_NOT_LINEARIZABLE)) {
            history_print();
            fail_msg("%s, round %llu: judged %d (%s), by every order %d", kind_names[kind],
                     (unsigned long long)round, (int)judgement, v.reason, expected);
        }
        good += expected;
        bad += !expected;
        if (expected) continue;
        assert_true(v.window_count > 0);
        assert_true(v.reason[0] == '#' || v.reason[0] != '\0');
    }
    assert_true(good > rounds / 8); /* both ways were tried, not one of them only */
    assert_true(bad > rounds / 8);
}

static void registers_are_judged_as_by_every_order(void **state)
{
    (void)state;
    judged_as_by_every_order(KIND_REGISTER, 8000);
}

static void counters_are_judged_as_by_every_order(void **state)
{
    (void)state;
    judged_as_by_every_order(KIND_COUNTER, 8000);
}

static void lists_are_judged_as_by_every_order(void **state)
{
    (void)state;
    judged_as_by_every_order(KIND_LIST, 8000);
}

static void lists_with_lengths_are_judged_as_by_every_order(void **state)
{
    (void)state;
    judged_as_by_every_order(KIND_LIST_LENGTHS, 8000);
}

static void compare_and_set_is_judged_as_by_every_order(void **state)
{
    (void)state;
    judged_as_by_every_order(KIND_CAS, 8000);
}

static void several_keys_are_judged_as_by_every_order(void **state)
{
    (void)state;
    judged_as_by_every_order(KIND_MULTI, 8000);
}

static void long_histories_of_an_atomic_object_pass(void **state)
{
    (void)state;
    struct prng p = {77};
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        for (uint64_t round = 0; round < 40; round++) {
            struct kelp_sim_verdict v;
            history_make((enum kind)kind, &p, 150 + prng_below(&p, 100), 5);
            (void)kelp_sim_check_history(made.operations, made.count, 0, &v);
            if (v.judgement != KELP_SIM_LINEARIZABLE)
                fail_msg("%s, round %llu: %s", kind_names[kind], (unsigned long long)round,
                         v.reason);
        }
    }
}

/* The window of a search is a proof by itself: with the returns of everything else forgotten and
 * all other looks left out, every order fails. */
static void the_window_of_a_search_is_impossible_by_itself(void **state)
{
    (void)state;
    struct prng p = {4711};
    size_t looked_at = 0;
    for (uint64_t round = 0; round < 3000 && looked_at < 300; round++) {
        struct kelp_sim_operation small[9];
        size_t count = 0;
        history_make(KIND_CAS, &p, 9, 3);
        history_damage(&p);
        struct kelp_sim_verdict v;
        if (kelp_sim_check_history(made.operations, made.count, 0, &v) != KELP_SIM_NOT_LINEARIZABLE)
            continue;
        for (size_t i = 0; i < made.count; i++) {
            const struct kelp_sim_operation *o = &made.operations[i];
            bool shown = false;
            for (size_t k = 0; k < v.window_count; k++)
                shown = shown || v.window[k] == i;
            if (!shown && operation_looks(o)) continue;
            small[count] = *o;
            if (!shown && o->said == KELP_SIM_OK) small[count].said = KELP_SIM_UNKNOWN;
            count++;
        }
        looked_at++;
        if (brute_linearizable(small, count)) {
            history_print();
            for (size_t k = 0; k < v.window_count; k++)
                print_message("shown #%zu\n", v.window[k] + 1);
            fail_msg("round %llu: %s", (unsigned long long)round, v.reason);
        }
    }
    assert_true(looked_at >= 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_are_judged_as_by_every_order),
        cmocka_unit_test(counters_are_judged_as_by_every_order),
        cmocka_unit_test(lists_are_judged_as_by_every_order),
        cmocka_unit_test(lists_with_lengths_are_judged_as_by_every_order),
        cmocka_unit_test(compare_and_set_is_judged_as_by_every_order),
        cmocka_unit_test(several_keys_are_judged_as_by_every_order),
        cmocka_unit_test(long_histories_of_an_atomic_object_pass),
        cmocka_unit_test(the_window_of_a_search_is_impossible_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
