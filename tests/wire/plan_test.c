/* SPDX-License-Identifier: Apache-2.0 */
/* plan_test.c - a plan as bytes: golden, back again, and what is refused. */
#include "wire/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

#define FIXED 58u
#define ROW   11u

static uint8_t body[WIRE_PLAN_BYTES_MAX + 8];

static struct kelp_plan sample(void)
{
    struct kelp_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.index = 7;
    plan.leader = 1;
    plan.leader_next = 2;
    plan.member = 3;
    plan.reason = KELP_R_QUORUM_AT_RISK;
    plan.forcible = plan.refused = true;
    plan.way = KELP_PLAN_JOINT;
    plan.entries = 3;
    plan.warnings = KELP_PLAN_W_EVEN | KELP_PLAN_W_SILENT;
    plan.before = (struct kelp_plan_side){3, 2, 2, 0, 1, true};
    plan.after = (struct kelp_plan_side){2, 2, 1, 0, 0, false};
    plan.count = 2;
    plan.members[0] = (struct kelp_plan_member){1, KELP_VOTER, KELP_VOTER, KELP_PLAN_LEADS};
    plan.members[1] = (struct kelp_plan_member){9, KELP_NONE, KELP_VOTER, KELP_PLAN_CATCHES_UP};
    return plan;
}

static enum kelp_error decode(size_t len)
{
    struct kelp_plan out;
    return wire_plan_decode(bytes_of(body, len), &out, NULL);
}

static void it_has_its_golden_bytes_and_comes_back(void **state)
{
    static const uint8_t golden[] = {58, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,  0, 0, 0, 2, 0,
                                     0,  0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 34, 0, 3, 2, 3, 68,
                                     0,  0, 0, 3, 2, 2, 0, 1, 1, 2, 2, 1, 0, 0, 0,  2, 0, 0, 1, 0,
                                     0,  0, 0, 0, 0, 0, 1, 1, 4, 9, 0, 0, 0, 0, 0,  0, 0, 0, 1, 2};
    struct kelp_plan plan = sample(), out;
    (void)state;
    assert_int_equal(wire_plan_encode(&plan, body), sizeof golden);
    assert_memory_equal(body, golden, sizeof golden);
    assert_int_equal(wire_plan_decode(bytes_of(body, sizeof golden), &out, NULL), KELP_OK);
    memset(body, 0xff, sizeof body);
    assert_int_equal(wire_plan_encode(&out, body), sizeof golden); /* its padding may be anything */
    assert_memory_equal(body, golden, sizeof golden);
}

static void what_is_cut_or_followed_by_bytes_is_malformed(void **state)
{
    struct kelp_plan plan = sample();
    size_t len = wire_plan_encode(&plan, body);
    (void)state;
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(decode(cut), KELP_E_MALFORMED);
    assert_int_equal(decode(len + 1), KELP_E_MALFORMED);
}

static void a_field_out_of_its_range_is_malformed(void **state)
{
    const struct {
        size_t at;
        uint8_t value;
    } rows[] = {{9, 0x80},                /* an index beyond all */
                {37, KELP_PLAN_STOP + 1}, /* a way that nobody knows */
                {55, 0},                  /* nobody */
                {55, 1},
                {55, 33},   /* other members than are carried */
                {56, 1},    /* far more */
                {FIXED, 0}, /* node 0 */
                {FIXED, 9}, /* the same twice */
                {FIXED + 8, KELP_STAGING + 1},
                {FIXED + ROW + 9, 9}}; /* roles */
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kelp_plan plan = sample();
        size_t len = wire_plan_encode(&plan, body);
        body[rows[i].at] = rows[i].value;
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

static void what_a_newer_leader_says_is_kept(void **state)
{
    struct kelp_plan plan = sample(), out;
    (void)state;
    size_t len = wire_plan_encode(&plan, body);
    put_u16(body + 34, 999);        /* a reason */
    put_u32(body + 39, 0x80000044); /* a warning */
    memmove(body + FIXED + 4, body + FIXED, len - FIXED);
    put_u16(body, FIXED + 4); /* and a longer fixed part */
    assert_int_equal(wire_plan_decode(bytes_of(body, len + 4), &out, NULL), KELP_OK);
    assert_int_equal((int)out.reason, 999);
    assert_int_equal(out.warnings, 0x80000044);
    assert_int_equal(out.members[1].id, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_its_golden_bytes_and_comes_back),
        cmocka_unit_test(what_is_cut_or_followed_by_bytes_is_malformed),
        cmocka_unit_test(a_field_out_of_its_range_is_malformed),
        cmocka_unit_test(what_a_newer_leader_says_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
