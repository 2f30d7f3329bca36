/* SPDX-License-Identifier: Apache-2.0 */
/* change_test.c - a change of the membership as bytes: golden, back again, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "wire/change.h"

static uint8_t body[WIRE_CHANGE_BYTES_MAX + 8];

static struct wire_change sample(void)
{
    struct wire_change c = {
        .flags = KELP_CHANGE_NOWAIT | KELP_CHANGE_FORCE, .count = 3, .if_index = 5};
    c.edits[0] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER};
    (void)snprintf(c.edits[0].address.text, WIRE_ADDRESS_MAX, "d:7101");
    c.edits[1] = (struct wire_edit){.id = 2, .verb = KELP_EDIT_REMOVE};
    c.edits[2] = (struct wire_edit){.id = 3, .verb = KELP_EDIT_MOVE};
    (void)snprintf(c.edits[2].address.text, WIRE_ADDRESS_MAX, "e:1");
    return c;
}

static enum kelp_error decode(size_t len)
{
    struct wire_change out;
    return wire_change_decode(bytes_of(body, len), &out, NULL);
}

static void it_has_its_golden_bytes_and_comes_back(void **state)
{
    (void)state;
    static const uint8_t golden[] = {
        18, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0, 0,   0,   0,   3,   0,   0,   0, /* the fixed part */
        4,  0, 0, 0, 0, 0, 0, 0, 1, 2, 6, 'd', ':', '7', '1', '0', '1',    /* add 4 */
        2,  0, 0, 0, 0, 0, 0, 0, 4, 0, 0,                                  /* remove 2 */
        3,  0, 0, 0, 0, 0, 0, 0, 5, 0, 3, 'e', ':', '1'};                  /* move 3 */
    struct wire_change c = sample(), out;
    assert_int_equal(wire_change_encode(&c, body), sizeof golden);
    assert_memory_equal(body, golden, sizeof golden);
    assert_int_equal(wire_change_decode(bytes_of(body, sizeof golden), &out, NULL), KELP_OK);
    assert_int_equal(out.flags, c.flags);
    assert_int_equal(out.if_index, 5);
    assert_int_equal(out.count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(out.edits[i].id, c.edits[i].id);
        assert_int_equal(out.edits[i].verb, c.edits[i].verb);
        assert_int_equal(out.edits[i].role, c.edits[i].role);
        assert_string_equal(out.edits[i].address.text, c.edits[i].address.text);
    }
}

static void what_is_cut_or_followed_by_bytes_is_malformed(void **state)
{
    (void)state;
    struct wire_change c = sample();
    size_t len = wire_change_encode(&c, body);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(decode(cut), KELP_E_MALFORMED);
    assert_int_equal(decode(len + 1), KELP_E_MALFORMED);
}

/* a count is measured before it is believed */
static void a_count_that_cannot_be_is_malformed(void **state)
{
    (void)state;
    const uint32_t counts[] = {0, 4, 33, UINT32_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct wire_change c = sample();
        size_t len = wire_change_encode(&c, body);
        put_u32(body + 14, counts[i]);
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

static void a_field_out_of_its_range_is_malformed(void **state)
{
    (void)state;
    const struct {
        size_t at;
        uint8_t value;
    } rows[] = {{2, 8},                       /* a flag of nobody */
                {13, 0x80},                   /* an index beyond all */
                {35, 0},                      /* a removal of node 0 */
                {26, 0},    {26, 9},          /* verbs */
                {26, 4},                      /* a removal with a role and an address */
                {27, 0},    {27, 4}, {27, 5}, /* roles */
                {29, ' '},                    /* no address */
                {43, 1},                      /* a removal as an addition, without an address */
                {44, 1}};                     /* a removal with a role */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wire_change c = sample();
        size_t len = wire_change_encode(&c, body);
        body[rows[i].at] = rows[i].value;
        assert_int_equal(decode(len), KELP_E_MALFORMED);
    }
}

static void an_addition_may_leave_out_what_the_leader_knows(void **state)
{
    (void)state;
    struct wire_change c = {.count = 2}, out;
    c.edits[0] = (struct wire_edit){.verb = KELP_EDIT_ADD, .role = KELP_VOTER}; /* the next id */
    c.edits[1] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_LEARNER};
    size_t len = wire_change_encode(&c, body);
    assert_int_equal(wire_change_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_int_equal(out.edits[0].id, 0);
    assert_string_equal(out.edits[1].address.text, "");
    body[26] = KELP_EDIT_SET; /* the whole list has both */
    assert_int_equal(decode(len), KELP_E_MALFORMED);
}

static void fields_of_a_newer_sender_are_skipped(void **state)
{
    (void)state;
    struct wire_change c = sample(), out;
    size_t len = wire_change_encode(&c, body);
    memmove(body + 26, body + 18, len - 18);
    put_u16(body, 26);
    assert_int_equal(wire_change_decode(bytes_of(body, len + 8), &out, NULL), KELP_OK);
    assert_int_equal(out.edits[2].id, 3);
}

static void the_largest_fits(void **state)
{
    (void)state;
    struct wire_change c = {.count = KELP_MEMBERS_MAX}, out;
    for (uint32_t i = 0; i < c.count; i++) {
        struct wire_edit *e = &c.edits[i];
        *e = (struct wire_edit){.id = i + 1, .verb = KELP_EDIT_SET, .role = KELP_VOTER};
        memset(e->address.text, 'a', WIRE_ADDRESS_MAX - 4);
        memcpy(e->address.text + WIRE_ADDRESS_MAX - 10, ":65535", 7);
    }
    size_t len = wire_change_encode(&c, body);
    assert_true(len <= WIRE_CHANGE_BYTES_MAX);
    assert_int_equal(wire_change_decode(bytes_of(body, len), &out, NULL), KELP_OK);
    assert_string_equal(out.edits[31].address.text, c.edits[31].address.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_its_golden_bytes_and_comes_back),
        cmocka_unit_test(what_is_cut_or_followed_by_bytes_is_malformed),
        cmocka_unit_test(a_count_that_cannot_be_is_malformed),
        cmocka_unit_test(a_field_out_of_its_range_is_malformed),
        cmocka_unit_test(an_addition_may_leave_out_what_the_leader_knows),
        cmocka_unit_test(fields_of_a_newer_sender_are_skipped),
        cmocka_unit_test(the_largest_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
