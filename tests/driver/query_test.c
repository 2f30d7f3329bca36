/* SPDX-License-Identifier: Apache-2.0 */
/* query_test.c - reads take turns by lines, and answers are made as their clients take them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "driver/room.h"

#define MIB (UINT64_C(1) << 20)

static struct lab *three(uint64_t seed, uint64_t answer_bytes_max)
{
    struct lab *lab = lab_new(3, seed);
    lab->reads_elsewhere = true; /* forwarded with their questions */
    lab->answer_bytes_max = answer_bytes_max;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    return lab;
}

static kelp_id follower_of(struct lab *lab)
{
    return lab_leader(lab) == 1 ? 2 : 1;
}

/* Bytes the client was told and has not taken; those of the first `taken` answers it has. */
static uint64_t backlog_of(const struct lab_client *c, size_t taken)
{
    uint64_t bytes = 0;
    for (size_t i = taken; i < c->told_count; i++)
        bytes += c->told[i].result_len;
    return bytes;
}

static void tell_backlog(struct lab_client *c, size_t taken)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    (void)driver_line_backlog(d, c->line, backlog_of(c, taken));
}

static uint64_t made_on(struct lab *lab, kelp_id node)
{
    return lab_status(lab, node)->answer_bytes;
}

/* A client that never takes anything, told of by its owner after every answer. */
struct deaf {
    struct driver *driver;
    struct driver_line *line;
    uint64_t backlog, told, done, tokens;
};

static void deaf_told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct deaf *c = ctx;
    (void)token;
    c->told++;
    c->done += o->outcome == KELP_DONE;
    c->backlog += o->result.len;
    (void)driver_line_backlog(c->driver, c->line, c->backlog);
}

static void deaf_open(struct deaf *c, struct lab *lab, kelp_id node)
{
    *c = (struct deaf){.driver = lab_node(lab, node)->driver};
    c->line = driver_line_open(c->driver, deaf_told, c);
    assert_non_null(c->line);
}

static void deaf_read(struct deaf *c, struct lab *lab, uint64_t bytes, uint64_t timeout_ms)
{
    uint8_t question[8];
    put_u64(question, bytes);
    struct driver_question q = {.bytes = bytes_of(question, 8),
                                .deadline = lab->now + timeout_ms * LAB_MS,
                                .forward = true};
    assert_true(driver_read(c->driver, lab->now, c->line, ++c->tokens, &q));
}

static void a_small_read_waits_for_one_turn_of_each_busy_line(void **state)
{
    (void)state;
    struct lab *lab = three(1, 0);
    struct lab_client *busy[4], *quick = lab_client(lab, lab_leader(lab));
    for (size_t i = 0; i < 4; i++) {
        busy[i] = lab_client(lab, lab_leader(lab));
        for (int k = 0; k < 32; k++)
            (void)lab_read_of(busy[i], MIB, 20000);
    }
    (void)lab_read(quick, 20000);
    lab_await(quick, 1);
    assert_int_equal(quick->told[0].outcome, KELP_DONE);
    assert_true(quick->told[0].place <= 4);
    for (size_t i = 0; i < 4; i++) {
        lab_await(busy[i], 32);
        lab_client_free(busy[i]);
    }
    lab_client_free(quick);
    lab_free(lab);
}

static void reads_of_a_peer_take_turns_with_those_of_our_own_clients(void **state)
{
    (void)state;
    struct lab *lab = three(2, 0);
    struct lab_client *far = lab_client(lab, follower_of(lab));
    struct lab_client *near = lab_client(lab, lab_leader(lab));
    for (int k = 0; k < 8; k++)
        (void)lab_read_of(far, MIB, 20000);
    lab_run(lab, 1);
    for (int k = 0; k < 500; k++) /* a tick of the lab has 100 runs, so these take five */
        (void)lab_read_of(near, MIB, 20000);
    lab_await(near, 500);
    lab_await(far, 8);
    /* alternating: the last of the few is told long before the last of the many */
    assert_true(far->told[7].place < near->told[499].place);
    lab_client_free(far);
    lab_client_free(near);
    lab_free(lab);
}

static void answers_are_made_as_they_are_taken(void **state)
{
    (void)state;
    struct lab *lab = three(3, 0);
    kelp_id leader = lab_leader(lab);
    struct deaf c;
    deaf_open(&c, lab, leader);
    for (int k = 0; k < 32; k++)
        deaf_read(&c, lab, 4 * MIB, 2000);
    lab_run(lab, 5000); /* beyond their deadline: that time is the client's own */
    assert_int_equal(c.told, 1);
    assert_int_equal(made_on(lab, leader), 4 * MIB);
    while (c.told < 32) {
        uint64_t told = c.told;
        c.backlog = 0; /* it takes them */
        assert_true(driver_line_backlog(c.driver, c.line, 0));
        lab_run(lab, 10);
        assert_int_equal(c.told, told + 1);
    }
    assert_int_equal(c.done, 32);
    driver_line_close(c.driver, c.line);
    lab_run(lab, 10);
    assert_int_equal(made_on(lab, leader), 0);
    lab_free(lab);
}

static void what_stood_still_keeps_its_deadline_afterwards(void **state)
{
    (void)state;
    struct lab *lab = three(4, 0);
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    (void)lab_read_of(c, 2 * MIB, 1000);
    lab_await(c, 1);
    tell_backlog(c, 0);
    (void)lab_read(c, 1000);
    lab_run(lab, 3000);
    assert_int_equal(c->told_count, 1);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id != c->node) lab_node(lab, id)->cut = true; /* no quorum answers it now */
    }
    tell_backlog(c, 1);
    lab_run(lab, 900);
    assert_int_equal(c->told_count, 1);
    lab_run(lab, 200);
    assert_int_equal(c->told_count, 2);
    assert_int_equal(c->told[1].outcome, KELP_REFUSED);
    lab_client_free(c);
    lab_free(lab);
}

static void all_lines_together_are_bounded_and_those_with_nothing_waiting_come_first(void **state)
{
    (void)state;
    struct lab *lab = three(5, 8 * MIB);
    kelp_id leader = lab_leader(lab);
    struct deaf c[40];
    for (size_t i = 0; i < 40; i++) {
        deaf_open(&c[i], lab, leader);
        for (int k = 0; k < 4; k++)
            deaf_read(&c[i], lab, MIB / 2, 60000);
    }
    lab_run(lab, 1000);
    uint64_t told = 0, empty = 0;
    for (size_t i = 0; i < 40; i++) {
        told += c[i].told;
        empty += c[i].told == 0;
    }
    assert_true(made_on(lab, leader) >= 16 * MIB); /* twice the bound, for one answer each .. */
    assert_true(made_on(lab, leader) < 17 * MIB);
    assert_int_equal(told * MIB / 2, made_on(lab, leader));
    assert_true(empty <= 40 - 16); /* .. once the first ones had filled it */
    for (size_t i = 0; i < 40; i++)
        driver_line_close(c[i].driver, c[i].line); /* their answers go with them */
    lab_run(lab, 100);
    assert_int_equal(made_on(lab, leader), 0);
    lab_free(lab);
}

static void relief_of_one_line_lets_others_go_on(void **state)
{
    (void)state;
    struct lab *lab = three(6, MIB);
    struct deaf a, b;
    deaf_open(&a, lab, lab_leader(lab));
    deaf_open(&b, lab, lab_leader(lab));
    deaf_read(&a, lab, 900 * 1024, 60000);
    deaf_read(&b, lab, 200 * 1024, 60000);
    lab_run(lab, 20);
    deaf_read(&b, lab, 200 * 1024, 60000); /* has something waiting, and the bound is reached */
    lab_run(lab, 50);
    assert_int_equal(a.told + b.told, 2);
    a.backlog = 0;
    assert_true(driver_line_backlog(a.driver, a.line, 0));
    lab_run(lab, 1);
    assert_int_equal(b.told, 2);
    driver_line_close(a.driver, a.line);
    driver_line_close(b.driver, b.line);
    lab_run(lab, 10);
    lab_free(lab);
}

static void forwarded_reads_of_a_client_that_takes_nothing_are_bounded(void **state)
{
    (void)state;
    struct lab *lab = three(7, 0);
    kelp_id node = follower_of(lab);
    struct deaf c;
    deaf_open(&c, lab, node);
    for (int k = 0; k < 32; k++)
        deaf_read(&c, lab, 3 * MIB, 20000);
    lab_run(lab, 3000);
    assert_true(c.told > 0 && made_on(lab, node) <= LINE_ANSWERS_MAX);
    assert_true(lab_status(lab, node)->reads_again > 0); /* more came than there was room for */
    uint64_t again = lab_status(lab, node)->reads_again;
    for (int k = 0; k < 32 && c.told < 32; k++) {
        c.backlog = 0;
        (void)driver_line_backlog(c.driver, c.line, 0);
        lab_run(lab, 20);
        assert_true(made_on(lab, node) <= LINE_ANSWERS_MAX);
    }
    assert_int_equal(c.told, 32);
    assert_int_equal(c.done, 32);
    /* once their size is known, no more are asked for than fit */
    assert_int_equal(lab_status(lab, node)->reads_again, again);
    driver_line_close(c.driver, c.line);
    lab_run(lab, 10);
    lab_free(lab);
}

static void a_forwarded_read_without_room_for_its_answer_is_not_asked_again_and_again(void **state)
{
    (void)state;
    struct lab *lab = three(9, MIB);
    kelp_id node = follower_of(lab);
    struct deaf c;
    deaf_open(&c, lab, node);
    for (int k = 0; k < 3; k++)
        deaf_read(&c, lab, 700 * 1024, 60000);
    lab_run(lab, 500);
    assert_int_equal(c.told, 1);
    uint64_t again = lab_status(lab, node)->reads_again;
    lab_run(lab, 2000);
    assert_int_equal(c.told, 1);
    assert_int_equal(lab_status(lab, node)->reads_again, again);
    for (uint64_t told = 2; told <= 3; told++) {
        c.backlog = 0;
        (void)driver_line_backlog(c.driver, c.line, 0);
        lab_run(lab, 200);
        assert_int_equal(c.told, told);
    }
    assert_int_equal(c.done, 3);
    driver_line_close(c.driver, c.line);
    lab_run(lab, 10);
    lab_free(lab);
}

static void forwarded_reads_that_are_asked_anew_never_show_time_running_backwards(void **state)
{
    (void)state;
    struct lab *lab = three(8, 0);
    kelp_id node = follower_of(lab);
    struct lab_client *writer = lab_client(lab, lab_leader(lab));
    for (uint64_t round = 1; round <= 10; round++) {
        struct lab_client *c = lab_client(lab, node);
        for (int i = 0; i < 8; i++) /* the third finds no room, the small ones behind it would */
            (void)lab_read_of(c, i < 3 ? 7 * MIB : 64, 60000);
        while (c->told_count < 8) {
            (void)lab_write(writer, round, 20000);
            lab_run(lab, 1);
            tell_backlog(c, c->told_count >= 2 ? c->told_count : 0);
        }
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal(c->told[i].token, i + 1);
            assert_int_equal(c->told[i].outcome, KELP_DONE);
            if (i > 0) assert_true(c->told[i].result[0] >= c->told[i - 1].result[0]);
        }
        assert_true(lab_status(lab, node)->reads_again >= round * 6); /* with all behind it */
        lab_client_free(c);
    }
    lab_client_free(writer);
    lab_free(lab);
}

static void a_peer_without_room_on_its_connection_is_passed_over(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 9);
    lab->reads_elsewhere = true;
    lab->forward_bytes_max = 8 * MIB; /* of answers that may wait for room */
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 300);
    struct lab_client *far = lab_client(lab, follower_of(lab));
    struct lab_client *near = lab_client(lab, leader);
    lab_node(lab, leader)->no_room = true;
    for (int k = 0; k < 24; k++)
        (void)lab_read_of(far, 4 * MIB, 20000);
    lab_run(lab, 100);
    (void)lab_read(near, 1000);
    lab_run(lab, 20);
    assert_int_equal(near->told_count, 1);
    assert_int_equal(far->told_count, 0);
    lab_node(lab, leader)->no_room = false;
    lab_await(far, 24);
    for (size_t i = 0; i < 24; i++)
        assert_int_equal(far->told[i].outcome, KELP_DONE);
    lab_client_free(far);
    lab_client_free(near);
    lab_free(lab);
}

static void a_read_that_the_machine_keeps_ends_at_its_deadline_and_harms_no_other(void **state)
{
    (void)state;
    struct lab *lab = three(10, 0);
    kelp_id leader = lab_leader(lab);
    struct lab_client *kept = lab_client(lab, leader), *other = lab_client(lab, leader);
    lab_node(lab, leader)->hold_query = true;
    (void)lab_read(kept, 300);
    (void)lab_read(kept, 5000); /* stands in the same queue behind it */
    (void)lab_read(other, 5000);
    lab_run(lab, 100);
    assert_int_equal(kept->told_count, 0);
    assert_int_equal(other->told_count, 1);
    for (int i = 0; i < 20; i++)
        (void)lab_read(other, 5000);
    lab_run(lab, 300);
    assert_int_equal(kept->told_count, 2);
    assert_int_equal(kept->told[0].outcome, KELP_REFUSED);
    assert_int_equal(kept->told[0].reason, KELP_R_TIMEOUT);
    assert_int_equal(kept->told[1].outcome, KELP_DONE);
    assert_int_equal(other->told_count, 21);
    lab_client_free(kept);
    lab_client_free(other);
    lab_free(lab);
}

/* ---- reads that take long ---- */

static void a_long_read_sees_one_state_while_others_are_served(void **state)
{
    (void)state;
    struct lab *lab = three(11, 0);
    kelp_id leader = lab_leader(lab);
    struct lab_client *slow = lab_client(lab, leader), *quick = lab_client(lab, leader);
    struct lab_client *writer = lab_client(lab, leader);
    (void)lab_write(writer, 1, 5000);
    lab_await(writer, 1);
    (void)lab_read_long(slow, 1000, 5000); /* a tick has 100 runs, a run one piece */
    lab_run(lab, 5);
    (void)lab_read(quick, 5000);
    (void)lab_write(writer, 2, 5000);
    lab_run(lab, 4);
    assert_int_equal(slow->told_count, 0);
    assert_int_equal(quick->told_count, 1);
    assert_int_equal(writer->told_count, 1); /* committed, and not applied yet */
    lab_await(slow, 1);
    assert_int_equal(slow->told[0].outcome, KELP_DONE);
    assert_int_equal(slow->told[0].result[0], 1);
    lab_await(writer, 2);
    assert_int_equal(writer->told[1].outcome, KELP_DONE);
    assert_true(writer->told[1].place > slow->told[0].place);
    lab_client_free(slow);
    lab_client_free(quick);
    lab_client_free(writer);
    lab_free(lab);
}

static void long_reads_one_after_the_other_do_not_starve_writes(void **state)
{
    (void)state;
    struct lab *lab = three(12, 0);
    kelp_id leader = lab_leader(lab);
    struct lab_client *slow[3], *writer = lab_client(lab, leader);
    for (size_t i = 0; i < 3; i++) {
        slow[i] = lab_client(lab, leader);
        for (int k = 0; k < 4; k++)
            (void)lab_read_long(slow[i], 500, 20000);
    }
    lab_run(lab, 4);
    (void)lab_write(writer, 1, 5000);
    lab_await(writer, 1);
    assert_int_equal(writer->told[0].outcome, KELP_DONE);
    assert_true(writer->told[0].place <= 3); /* behind the one that went on, not behind all */
    for (size_t i = 0; i < 3; i++) {
        lab_await(slow[i], 4);
        assert_int_equal(slow[i]->told[3].outcome, KELP_DONE);
        lab_client_free(slow[i]);
    }
    lab_client_free(writer);
    lab_free(lab);
}

static void a_long_read_that_nobody_wants_any_more_is_ended(void **state)
{
    (void)state;
    struct lab *lab = three(13, 0);
    kelp_id leader = lab_leader(lab);
    struct lab_machine *m = lab_node(lab, leader)->machine;
    struct lab_client *late = lab_client(lab, leader), *gone = lab_client(lab, leader);
    struct lab_client *writer = lab_client(lab, leader);
    (void)lab_read_long(late, 1u << 30, 50); /* its deadline ends it */
    lab_run(lab, 60);
    assert_int_equal(late->told_count, 1);
    assert_int_equal(late->told[0].reason, KELP_R_TIMEOUT);
    assert_int_equal(m->walks_ended, 1);
    (void)lab_read_long(gone, 1u << 30, 5000);
    lab_run(lab, 5);
    driver_line_close(lab_node(lab, leader)->driver, gone->line); /* its client leaves */
    (void)lab_write(writer, 1, 5000);
    lab_run(lab, 20);
    assert_int_equal(m->walks_ended, 2);
    assert_int_equal(writer->told_count, 1);
    (void)lab_read_long(late, 1u << 30, 5000);
    lab_run(lab, 5);
    driver_shutdown(lab_node(lab, leader)->driver, lab->now);
    assert_int_equal(m->walks_ended, 3);
    assert_int_equal(late->told_count, 2);
    free(gone);
    lab_client_free(late);
    lab_client_free(writer);
    lab_free(lab);
}

static void a_long_read_begins_when_the_one_before_it_has_been_ended(void **state)
{
    (void)state;
    struct lab *lab = three(14, 0);
    kelp_id leader = lab_leader(lab);
    struct lab_machine *m = lab_node(lab, leader)->machine;
    struct lab_client *gone = lab_client(lab, leader), *other = lab_client(lab, leader);
    (void)lab_read_long(gone, 1u << 30, 5000);
    lab_run(lab, 5);
    (void)lab_read_long(other, 1u << 30, 5000);
    lab_run(lab, 5);
    uint64_t token = m->walk_token;
    driver_line_close(lab_node(lab, leader)->driver, gone->line); /* its client leaves */
    lab_run(lab, 5);
    assert_int_equal(m->walks_ended, 1); /* the machine saw them one at a time */
    assert_true(m->walk_token != 0 && m->walk_token != token);
    free(gone);
    lab_client_free(other);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_read_waits_for_one_turn_of_each_busy_line),
        cmocka_unit_test(reads_of_a_peer_take_turns_with_those_of_our_own_clients),
        cmocka_unit_test(answers_are_made_as_they_are_taken),
        cmocka_unit_test(what_stood_still_keeps_its_deadline_afterwards),
        cmocka_unit_test(all_lines_together_are_bounded_and_those_with_nothing_waiting_come_first),
        cmocka_unit_test(relief_of_one_line_lets_others_go_on),
        cmocka_unit_test(forwarded_reads_of_a_client_that_takes_nothing_are_bounded),
        cmocka_unit_test(a_forwarded_read_without_room_for_its_answer_is_not_asked_again_and_again),
        cmocka_unit_test(forwarded_reads_that_are_asked_anew_never_show_time_running_backwards),
        cmocka_unit_test(a_peer_without_room_on_its_connection_is_passed_over),
        cmocka_unit_test(a_read_that_the_machine_keeps_ends_at_its_deadline_and_harms_no_other),
        cmocka_unit_test(a_long_read_sees_one_state_while_others_are_served),
        cmocka_unit_test(long_reads_one_after_the_other_do_not_starve_writes),
        cmocka_unit_test(a_long_read_that_nobody_wants_any_more_is_ended),
        cmocka_unit_test(a_long_read_begins_when_the_one_before_it_has_been_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
