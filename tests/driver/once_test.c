/* SPDX-License-Identifier: Apache-2.0 */
/* once_test.c - what is executed once, on its way: through forwards, new leaders, restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "wire/entry.h"

static void once(struct lab_client *c, enum driver_once_kind kind, struct kelp_once fields,
                 uint64_t value)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    struct driver_once o = {kind, fields};
    uint8_t command[8];
    put_u64(command, value);
    assert_true(driver_once(d, c->lab->now, c->line, ++c->tokens, &o,
                            bytes_of(command, kind == DRIVER_ONCE_COMMAND ? 8 : 0),
                            bytes_of(NULL, 0), c->lab->now + 5000 * LAB_MS, true));
}

/* Asked and answered. */
static struct lab_told asked(struct lab_client *c, enum driver_once_kind kind,
                             struct kelp_once fields, uint64_t value)
{
    once(c, kind, fields, value);
    lab_await(c, c->told_count + 1);
    return c->told[c->told_count - 1];
}

static uint64_t opened(struct lab_client *c)
{
    struct lab_told told = asked(c, DRIVER_ONCE_SESSION, (struct kelp_once){0}, 0);
    assert_int_equal(told.outcome, KELP_DONE);
    return told.pos.index;
}

static void expect(struct lab_client *c, struct kelp_once fields, uint64_t value,
                   enum kelp_outcome outcome, enum kelp_reason reason)
{
    struct lab_told told = asked(c, DRIVER_ONCE_COMMAND, fields, value);
    assert_int_equal(told.outcome, outcome);
    assert_int_equal(told.reason, reason);
}

struct scene {
    struct lab *lab;
    kelp_id leader, follower;
    struct lab_client *client;
};

static struct scene scene_of(uint64_t seed)
{
    struct scene s = {.lab = lab_new(3, seed)};
    lab_start_all(s.lab);
    s.leader = lab_await_leader(s.lab);
    lab_run(s.lab, 300);
    s.follower = s.leader == 1 ? 2 : 1;
    s.client = lab_client(s.lab, s.follower);
    return s;
}

static void scene_end(struct scene *s)
{
    lab_client_free(s->client);
    lab_free(s->lab);
}

static struct sessions_count counted(const struct scene *s, kelp_id id)
{
    return rsm_sessions(lab_node(s->lab, id)->rsm);
}

static void a_forward_carries_the_session(void **state) /* [§6.3] */
{
    (void)state;
    struct scene s = scene_of(1);
    uint64_t id = opened(s.client);
    struct kelp_once first = {id, 1, 0}, unknown = {id + 1, 1, 0}, later = {id, 3, 2};
    struct lab_told told = asked(s.client, DRIVER_ONCE_COMMAND, first, 41);
    struct lab_told again = asked(s.client, DRIVER_ONCE_COMMAND, first, 41);
    assert_int_equal(told.outcome, KELP_DONE);
    assert_int_equal(again.outcome, KELP_DONE);
    assert_int_equal(again.result[0], told.result[0]);
    assert_int_equal(again.result[1], told.result[1]);
    assert_true(again.pos.index > told.pos.index);
    expect(s.client, unknown, 41, KELP_REFUSED, KELP_R_UNKNOWN_SESSION);
    expect(s.client, first, 42, KELP_REFUSED, KELP_R_ONCE_MISUSED);
    expect(s.client, later, 43, KELP_DONE, KELP_R_NONE);
    expect(s.client, first, 41, KELP_REFUSED, KELP_R_SEQUENCE_OVER);
    lab_run(s.lab, 500);
    for (kelp_id node = 1; node <= 3; node++) {
        assert_int_equal(counted(&s, node).sessions, 1);
        assert_int_equal(counted(&s, node).answers, 1);
    }
    told = asked(s.client, DRIVER_ONCE_END, (struct kelp_once){.session = id}, 0);
    assert_int_equal(told.outcome, KELP_DONE);
    expect(s.client, later, 43, KELP_REFUSED, KELP_R_UNKNOWN_SESSION);
    scene_end(&s);
}

static void the_leader_itself_asks_alike(void **state)
{
    (void)state;
    struct scene s = scene_of(2);
    struct lab_client *here = lab_client(s.lab, s.leader);
    uint64_t id = opened(here);
    struct lab_told told = asked(here, DRIVER_ONCE_COMMAND, (struct kelp_once){id, 1, 0}, 9);
    struct lab_told there = asked(s.client, DRIVER_ONCE_COMMAND, (struct kelp_once){id, 1, 0}, 9);
    assert_int_equal(there.result[0], told.result[0]);
    assert_int_equal(there.result[1], told.result[1]);
    expect(here, (struct kelp_once){0, 5, 6}, 9, KELP_DONE, KELP_R_NONE);
    expect(s.client, (struct kelp_once){0, 5, 6}, 8, KELP_REFUSED, KELP_R_ONCE_MISUSED);
    lab_client_free(here);
    scene_end(&s);
}

/* Several at once, in one line and in any order of numbers: each is executed once. */
static void numbers_of_a_session_may_be_open_together(void **state)
{
    (void)state;
    struct scene s = scene_of(3);
    uint64_t id = opened(s.client);
    for (uint64_t n = 20; n > 0; n--)
        once(s.client, DRIVER_ONCE_COMMAND, (struct kelp_once){id, n, 0}, n);
    lab_await(s.client, 21);
    for (uint64_t n = 1; n <= 20; n++)
        once(s.client, DRIVER_ONCE_COMMAND, (struct kelp_once){id, n, 0}, n);
    lab_await(s.client, 41);
    for (size_t i = 1; i <= 20; i++) {
        assert_int_equal(s.client->told[i].outcome, KELP_DONE);
        assert_int_equal(s.client->told[i].result[0], s.client->told[41 - i].result[0]);
        assert_int_equal(s.client->told[i].result[1], s.client->told[41 - i].result[1]);
    }
    scene_end(&s);
}

/* A write that must wait for leadership to be handed over keeps its session. */
static void what_waits_for_another_leader_keeps_its_session(void **state)
{
    (void)state;
    for (uint64_t seed = 4; seed < 12; seed++) {
        struct scene s = scene_of(seed);
        uint64_t id = opened(s.client);
        struct lab_client *other = lab_client(s.lab, s.leader);
        (void)lab_transfer(other, s.follower, 3000);
        for (uint64_t n = 1; n <= 10; n++) {
            once(s.client, DRIVER_ONCE_COMMAND, (struct kelp_once){id, n, 0}, n);
            lab_run(s.lab, 3);
        }
        lab_await(s.client, 11);
        for (uint64_t n = 1; n <= 10; n++)
            expect(s.client, (struct kelp_once){id, n, 0}, n + 1, KELP_REFUSED,
                   KELP_R_ONCE_MISUSED);
        assert_int_equal(counted(&s, s.follower).answers, 10);
        lab_client_free(other);
        scene_end(&s);
    }
}

static void a_new_leader_knows_what_was_executed(void **state)
{
    (void)state;
    struct scene s = scene_of(20);
    uint64_t id = opened(s.client);
    struct lab_told told = asked(s.client, DRIVER_ONCE_COMMAND, (struct kelp_once){id, 1, 0}, 7);
    lab_crash(s.lab, s.leader);
    struct lab_told again = asked(s.client, DRIVER_ONCE_COMMAND, (struct kelp_once){id, 1, 0}, 7);
    assert_int_equal(again.outcome, KELP_DONE);
    assert_int_equal(again.result[0], told.result[0]);
    assert_int_equal(again.result[1], told.result[1]);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forward_carries_the_session),
        cmocka_unit_test(the_leader_itself_asks_alike),
        cmocka_unit_test(numbers_of_a_session_may_be_open_together),
        cmocka_unit_test(what_waits_for_another_leader_keeps_its_session),
        cmocka_unit_test(a_new_leader_knows_what_was_executed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
