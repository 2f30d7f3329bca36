/* SPDX-License-Identifier: Apache-2.0 */
/* restore_test.c - steps of a restore survive their bytes; what is not known is told from what is
 * damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "kelp/fsm.h"
#include "wire/restore.h"

static uint8_t body[KELP_RESTORE_OBJECT_MAX + WIRE_RESTORE_HEAD_MAX];
static const uint8_t bytes[KELP_RESTORE_OBJECT_MAX + 1];

static struct kelp_restore_step step_of(enum kelp_restore_kind kind, struct prng *p)
{
    struct kelp_restore_step s = {.kind = kind, .id = 1 + prng_below(p, UINT64_MAX - 1)};
    if (kind == KELP_RESTORE_BEGIN) {
        s.flags = (uint32_t)prng_below(p, 2);
        s.objects = prng_next(p);
        s.object_bytes = prng_next(p);
        s.time_ns = prng_next(p);
        s.wall_unix_ms = prng_next(p);
        s.bytes = bytes_of(bytes, prng_below(p, KELP_FSM_OWN_BYTES_MAX + 1));
    } else if (kind == KELP_RESTORE_PART) {
        s.number = prng_next(p);
        s.bytes = bytes_of(bytes, 1 + prng_below(p, KELP_RESTORE_OBJECT_MAX));
    }
    return s;
}

static void steps_survive_their_bytes(void **state)
{
    (void)state;
    struct prng p = {.state = 3};
    for (int i = 0; i < 400; i++) {
        struct kelp_restore_step out, s = step_of(1 + (unsigned)i % 4, &p);
        size_t size = wire_restore_size(&s);
        assert_in_range(size, 1, sizeof body);
        wire_restore_encode(&s, body);
        assert_int_equal(wire_restore_decode(bytes_of(body, size), &out, NULL), KELP_OK);
        assert_int_equal(out.kind, s.kind);
        assert_int_equal(out.flags, s.flags);
        assert_int_equal(out.id, s.id);
        assert_int_equal(out.number, s.number);
        assert_int_equal(out.objects, s.objects);
        assert_int_equal(out.object_bytes, s.object_bytes);
        assert_int_equal(out.time_ns, s.time_ns);
        assert_int_equal(out.wall_unix_ms, s.wall_unix_ms);
        assert_true(bytes_equal(out.bytes, s.bytes));
        for (size_t cut = 0; cut < size && cut < 48; cut++) { /* in front of its byte string */
            uint8_t *exact = malloc(cut + 1);
            assert_non_null(exact);
            memcpy(exact, body, cut);
            enum kelp_error error = wire_restore_decode(bytes_of(exact, cut), &out, NULL);
            size_t head = s.kind == KELP_RESTORE_BEGIN ? 44 : 21;
            assert_int_equal(error, cut >= head ? KELP_OK : KELP_E_MALFORMED);
            free(exact);
        }
    }
}

static void what_has_no_form_is_not_written(void **state)
{
    (void)state;
    struct prng p = {.state = 4};
    const struct kelp_restore_step good = step_of(KELP_RESTORE_PART, &p);
    struct kelp_restore_step s = good;
    assert_true(wire_restore_size(&s) > 0);
    s.id = 0;
    assert_int_equal(wire_restore_size(&s), 0);
    s = good;
    s.bytes = bytes_of(bytes, 0);
    assert_int_equal(wire_restore_size(&s), 0);
    s.bytes = bytes_of(bytes, KELP_RESTORE_OBJECT_MAX + 1);
    assert_int_equal(wire_restore_size(&s), 0);
    s = good;
    s.objects = 1;
    assert_int_equal(wire_restore_size(&s), 0);
    s = good;
    s.kind = KELP_RESTORE_COMMIT; /* with an object */
    assert_int_equal(wire_restore_size(&s), 0);
    s = step_of(KELP_RESTORE_COMMIT, &p);
    s.flags = KELP_RESTORE_FORCE;
    assert_int_equal(wire_restore_size(&s), 0);
    s = step_of(KELP_RESTORE_BEGIN, &p);
    s.bytes = bytes_of(bytes, KELP_FSM_OWN_BYTES_MAX + 1);
    assert_int_equal(wire_restore_size(&s), 0);
    s = step_of(KELP_RESTORE_BEGIN, &p);
    s.number = 1;
    assert_int_equal(wire_restore_size(&s), 0);
}

/* Replicated: who skips what it does not know differs from who does not. */
static void what_a_newer_version_says_is_no_damage(void **state)
{
    (void)state;
    struct prng p = {.state = 5};
    struct kelp_restore_step out, s = step_of(KELP_RESTORE_COMMIT, &p);
    size_t size = wire_restore_size(&s);
    static const struct {
        size_t at;
        uint8_t value;
        enum kelp_error error;
    } turned[] = {
        {0, 2, KELP_E_VERSION},   {0, 0, KELP_E_VERSION}, {1, 0, KELP_E_VERSION},
        {1, 5, KELP_E_VERSION},   {2, 2, KELP_E_VERSION}, {3, 1, KELP_E_VERSION},
        {2, 1, KELP_E_MALFORMED}, /* FORCE, which COMMIT does not have */
    };
    for (size_t i = 0; i < sizeof turned / sizeof turned[0]; i++) {
        wire_restore_encode(&s, body);
        body[turned[i].at] = turned[i].value;
        assert_int_equal(wire_restore_decode(bytes_of(body, size), &out, NULL), turned[i].error);
    }
    wire_restore_encode(&s, body);
    assert_int_equal(wire_restore_decode(bytes_of(body, size + 1), &out, NULL), KELP_E_MALFORMED);
    memset(body + 4, 0, 8); /* no id */
    assert_int_equal(wire_restore_decode(bytes_of(body, size), &out, NULL), KELP_E_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_survive_their_bytes),
        cmocka_unit_test(what_has_no_form_is_not_written),
        cmocka_unit_test(what_a_newer_version_says_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
