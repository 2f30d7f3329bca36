/* SPDX-License-Identifier: Apache-2.0 */
/* line_test.c - a line is a sequence: order of effects, order of answers, limits, and clients
 * that leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "driver/room.h"

static struct lab *three(uint64_t seed)
{
    struct lab *lab = lab_new(3, seed);
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    return lab;
}

static void a_later_request_is_never_answered_before_an_earlier_one(void **state)
{
    (void)state;
    struct lab *lab = three(1);
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    struct lab_node *n = lab_node(lab, lab_leader(lab));
    n->hold_apply = true;
    (void)lab_write(c, 1, 5000);
    (void)lab_read(c, 100); /* its deadline passes while it waits for the write */
    lab_run(lab, 200);
    assert_int_equal(c->told_count, 0);
    lab_release_apply(n);
    lab_await(c, 2);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    assert_int_equal(c->told[1].outcome, KELP_REFUSED);
    assert_int_equal(c->told[1].reason, KELP_R_TIMEOUT);
    lab_client_free(c);
    lab_free(lab);
}

static void a_write_waits_for_the_reads_before_it(void **state)
{
    (void)state;
    struct lab *lab = three(2);
    kelp_id leader = lab_leader(lab);
    struct lab_client *c = lab_client(lab, leader);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id != leader) lab_node(lab, id)->cut = true; /* no quorum answers the read */
    }
    kelp_index last = lab_status(lab, leader)->view.last;
    (void)lab_read(c, 5000);
    (void)lab_write(c, 9, 5000);
    lab_run(lab, 50);
    assert_int_equal(lab_status(lab, leader)->view.last, last); /* not proposed */
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(lab, id)->cut = false;
    lab_await(c, 2);
    assert_int_equal(c->told[0].outcome, KELP_DONE);
    assert_int_equal(c->told[0].result[0], 0); /* saw nothing of the write behind it */
    assert_int_equal(c->told[1].outcome, KELP_DONE);
    lab_client_free(c);
    lab_free(lab);
}

static void writes_that_follow_each_other_are_proposed_together(void **state)
{
    (void)state;
    struct lab *lab = three(3);
    kelp_id leader = lab_leader(lab);
    struct lab_client *c = lab_client(lab, leader);
    kelp_index last = lab_status(lab, leader)->view.last;
    for (uint64_t i = 1; i <= 100; i++)
        (void)lab_write(c, i, 5000);
    assert_int_equal(lab_status(lab, leader)->view.last, last + 100);
    /* built in the cache, not copied */
    assert_int_equal(lab_status(lab, leader)->forward_bytes, 0);
    lab_await(c, 100);
    lab_client_free(c);
    lab_free(lab);
}

static void a_line_at_its_limit_refuses_in_order(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 4);
    lab->line_requests_max = 8;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 300);
    struct lab_client *c = lab_client(lab, leader);
    lab_node(lab, leader)->hold_apply = true;
    for (uint64_t i = 1; i <= 10; i++)
        (void)lab_write(c, i, 5000);
    lab_run(lab, 50);
    assert_int_equal(c->told_count, 0);
    lab_release_apply(lab_node(lab, leader));
    lab_await(c, 10);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(c->told[i].token, i + 1);
        assert_int_equal(c->told[i].outcome, i < 8 ? KELP_DONE : KELP_REFUSED);
    }
    assert_int_equal(c->told[9].reason, KELP_R_BUSY);
    lab_client_free(c);
    lab_free(lab);
}

static void more_refusals_than_the_core_holds_are_all_given(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 5);
    lab->limits.proposals_max = 4;
    lab->limits.answers_max = 8;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 300);
    struct lab_client *c = lab_client(lab, leader);
    for (uint64_t i = 1; i <= 300; i++)
        (void)lab_write(c, i, 5000);
    lab_await(c, 300);
    size_t busy = 0, done = 0;
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(c->told[i].token, i + 1);
        done += c->told[i].outcome == KELP_DONE;
        busy += c->told[i].outcome == KELP_REFUSED && c->told[i].reason == KELP_R_BUSY;
    }
    assert_true(done >= 4 && busy > 0);
    assert_int_equal(done + busy, 300);
    assert_int_equal(lab_node(lab, leader)->machine->count, done);
    lab_client_free(c);
    lab_free(lab);
}

static void a_client_that_left_is_told_nothing_and_its_writes_run_to_their_end(void **state)
{
    (void)state;
    struct lab *lab = three(6);
    kelp_id node = lab_leader(lab) == 1 ? 2 : 1;
    struct lab_client *c = lab_client(lab, node);
    for (uint64_t i = 1; i <= 20; i++)
        (void)lab_write(c, i, 5000);
    driver_line_close(lab_node(lab, node)->driver, c->line);
    lab_run(lab, 500);
    assert_int_equal(c->told_count, 0);
    assert_int_equal(lab_node(lab, node)->machine->count, 20);
    assert_int_equal(lab_status(lab, node)->done, 20);
    free(c);
    lab_free(lab);
}

/* ---- callbacks that use the driver ---- */

struct echo {
    struct lab *lab;
    struct driver *driver;
    struct driver_line *line;
    uint64_t left, told;
};

static void echo_write(struct echo *e)
{
    enum kelp_reason reason;
    uint8_t *room = driver_reserve(e->driver, 8, &reason);
    assert_non_null(room);
    put_u64(room, e->left);
    driver_write(e->driver, e->lab->now, e->line, e->left, 8, bytes_of(NULL, 0), KELP_NEVER, true);
}

static void echo_told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct echo *e = ctx;
    assert_int_equal(token, e->left);
    assert_int_equal(o->outcome, KELP_DONE);
    e->told++;
    e->left--;
    if (e->left > 0)
        echo_write(e);
    else
        driver_line_close(e->driver, e->line); /* from inside its own callback */
}

static void a_callback_may_submit_and_close(void **state)
{
    (void)state;
    struct lab *lab = three(7);
    for (kelp_id id = 1; id <= 3; id++) {
        struct echo e = {.lab = lab, .driver = lab_node(lab, id)->driver, .left = 50};
        e.line = driver_line_open(e.driver, echo_told, &e);
        echo_write(&e);
        lab_run(lab, 2000);
        assert_int_equal(e.told, 50);
    }
    lab_free(lab);
}

static void too_large_is_refused_before_it_is_built(void **state)
{
    (void)state;
    struct lab *lab = three(8);
    struct driver *d = lab_node(lab, 1)->driver;
    enum kelp_reason reason;
    assert_null(driver_reserve(d, 9u << 20, &reason));
    assert_int_equal(reason, KELP_R_TOO_LARGE);
    assert_null(driver_reserve(d, 0, &reason));
    assert_non_null(driver_reserve(d, 1u << 20, &reason));
    assert_int_equal(reason, KELP_R_NONE);
    lab_free(lab);
}

static void many_lines_share_a_node(void **state)
{
    (void)state;
    struct lab *lab = three(9);
    struct lab_client *clients[30];
    for (size_t i = 0; i < 30; i++)
        clients[i] = lab_client(lab, 1 + i % 3);
    for (uint64_t i = 1; i <= 20; i++) {
        for (size_t k = 0; k < 30; k++) {
            if ((i + k) % 3 == 0)
                (void)lab_read(clients[k], 9000);
            else
                (void)lab_write(clients[k], i, 9000);
        }
        lab_run(lab, 1);
    }
    for (size_t k = 0; k < 30; k++) {
        lab_await(clients[k], 20);
        for (size_t i = 0; i < 20; i++) {
            assert_int_equal(clients[k]->told[i].token, i + 1);
            assert_int_equal(clients[k]->told[i].outcome, KELP_DONE);
            if (i > 0)
                assert_true(clients[k]->told[i].result[0] >= clients[k]->told[i - 1].result[0]);
        }
        lab_client_free(clients[k]);
    }
    lab_run(lab, 10);
    lab_free(lab);
}

static void a_late_refusal_of_an_earlier_term_does_not_close_the_way_of_this_one(void **state)
{
    (void)state;
    struct lab *lab = lab_new(1, 10);
    lab_start_all(lab);
    assert_int_equal(lab_await_leader(lab), 1);
    lab_run(lab, 300);
    struct lab_client *c = lab_client(lab, 1);
    struct driver *d = lab_node(lab, 1)->driver;
    lab_node(lab, 1)->hold_apply = true;
    (void)lab_write(c, 1, 5000); /* a read behind it waits, with its question kept */
    (void)lab_read(c, 5000);
    lab_run(lab, 5);
    struct request *r = TAILQ_LAST(&c->line->requests, request_list);
    uint64_t term = lab_status(lab, 1)->view.term.v;
    lab_release_apply(lab_node(lab, 1));
    lab_node(lab, 1)->hold_query = true;
    lab_run(lab, 5);
    assert_int_equal(r->state, REQUEST_QUERYING);
    /* as if it had been asked in the term before, whose refusal comes only now */
    r->state = REQUEST_READING;
    c->line->route.term = term - 1;
    struct kelp_answer late = {
        .token = r->handle, .outcome = KELP_REFUSED, .reason = KELP_R_NOT_LEADER};
    request_answered(d, &late);
    lab_run(lab, 50);
    assert_int_equal(lab_status(lab, 1)->view.term.v, term); /* it still leads .. */
    assert_int_equal(c->told_count, 2);                      /* .. and serves what was refused */
    assert_int_equal(c->told[1].outcome, KELP_DONE);
    lab_client_free(c);
    lab_free(lab);
}

struct stubborn {
    struct driver *driver;
    struct driver_line *line;
    kelp_ns now;
    unsigned told;
};

/* Asks again whatever it is told, from within; not for ever, so that a test of it ends. */
static void ask_again(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct stubborn *s = ctx;
    enum kelp_reason reason;
    assert_int_equal(o->reason, KELP_R_BUSY);
    if (++s->told == 1000) return;
    put_u64(driver_reserve(s->driver, 8, &reason), token + 1);
    driver_write(s->driver, s->now, s->line, token + 1, 8, bytes_of(NULL, 0), KELP_NEVER, true);
}

static void who_answers_a_refusal_with_the_next_request_does_not_hold_up_the_node(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 12);
    lab->forward_bytes_max = 4; /* on a follower nothing can wait */
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    struct stubborn s = {.now = lab->now};
    s.driver = lab_node(lab, leader == 1 ? 2 : 1)->driver;
    s.line = driver_line_open(s.driver, ask_again, &s);
    const struct driver_outcome first = {.reason = KELP_R_BUSY};
    ask_again(&s, 1, &first);
    for (unsigned run = 1; run <= 5; run++) {
        assert_int_equal(driver_run(s.driver, lab->now), lab->now); /* more is to be told */
        assert_int_equal(s.told, 1 + run);
    }
    driver_line_close(s.driver, s.line);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_request_is_never_answered_before_an_earlier_one),
        cmocka_unit_test(a_write_waits_for_the_reads_before_it),
        cmocka_unit_test(writes_that_follow_each_other_are_proposed_together),
        cmocka_unit_test(a_line_at_its_limit_refuses_in_order),
        cmocka_unit_test(more_refusals_than_the_core_holds_are_all_given),
        cmocka_unit_test(a_client_that_left_is_told_nothing_and_its_writes_run_to_their_end),
        cmocka_unit_test(a_callback_may_submit_and_close),
        cmocka_unit_test(too_large_is_refused_before_it_is_built),
        cmocka_unit_test(many_lines_share_a_node),
        cmocka_unit_test(who_answers_a_refusal_with_the_next_request_does_not_hold_up_the_node),
        cmocka_unit_test(a_late_refusal_of_an_earlier_term_does_not_close_the_way_of_this_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
