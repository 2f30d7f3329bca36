/* SPDX-License-Identifier: Apache-2.0 */
/* places_test.c - places against a plain array, on long random lives. [ring of term runs: F16] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/min.h"
#include "base/prng.h"
#include "store/room.h"

#define ENTRIES_MAX 3000u

struct plain {
    struct kelp_pos base;
    kelp_index last;
    struct {
        uint64_t term, segment, offset;
        bool config;
    } entries[ENTRIES_MAX];
};

static void same(const struct places *p, const struct plain *m)
{
    assert_int_equal(p->base.index, m->base.index);
    assert_int_equal(p->base.term.v, m->base.term.v);
    assert_int_equal(p->last.index, m->last);
    size_t configs = 0;
    for (kelp_index i = m->base.index + 1; i <= m->last; i++) {
        assert_int_equal(places_term(p, i).v, m->entries[i].term);
        const struct extent *e = places_find(p, i);
        assert_true(e->first <= i);
        assert_int_equal(e->segment, m->entries[i].segment);
        uint64_t at = e->offset; /* entries of an extent lie back to back, ten bytes each */
        assert_int_equal(at + (i - e->first) * 10, m->entries[i].offset);
        assert_true(m->entries[i].offset + 10 <= e->offset + e->bytes);
        if (m->entries[i].config) assert_int_equal(p->configs[configs++], i);
    }
    assert_int_equal(configs, p->config_count);
}

static void places_answer_like_a_plain_array(void **state)
{
    (void)state;
    struct plain *m = malloc(sizeof *m);
    assert_non_null(m);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct prng r = {.state = seed};
        struct places p = {0};
        *m = (struct plain){.last = 0};
        uint64_t term = 1, segment = 1, offset = 8192;
        for (int step = 0; step < 300; step++) {
            uint64_t what = prng_below(&r, 20);
            if (what == 0) term++;
            if (what == 1) segment++, offset = 8192;
            if (what == 2) offset += 4096;
            if (what == 3 && m->last > m->base.index) {
                kelp_index end = prng_between(&r, m->base.index, m->last);
                uint64_t at = end == m->base.index ? m->base.term.v : m->entries[end].term;
                assert_int_equal(places_truncate(&p, kelp_pos_of(end, at)), KELP_OK);
                m->last = end;
                term++;
            }
            if (what == 4) {
                kelp_index keep = prng_between(&r, m->base.index + 1, m->last + 1);
                places_compact(&p, keep);
                if (keep - 1 > m->base.index) {
                    m->base = kelp_pos_of(keep - 1, m->entries[keep - 1].term);
                }
            }
            if (what == 5 && prng_chance(&r, 1, 4)) {
                m->base = kelp_pos_of(m->last + prng_below(&r, 4), ++term);
                m->last = m->base.index;
                places_reset(&p, m->base);
            }
            for (uint64_t n = what > 5 ? prng_below(&r, 8) : 0; n > 0 && m->last + 1 < ENTRIES_MAX;
                 n--) {
                m->last++;
                m->entries[m->last].term = term;
                m->entries[m->last].segment = segment;
                m->entries[m->last].offset = offset;
                m->entries[m->last].config = prng_chance(&r, 1, 9);
                uint8_t type = m->entries[m->last].config ? KELP_ENTRY_CONFIG : KELP_ENTRY_COMMAND;
                assert_int_equal(
                    places_append(&p, kelp_pos_of(m->last, term), type, segment, offset, 10),
                    KELP_OK);
                offset += 10;
            }
            same(&p, m);
        }
        places_free(&p);
    }
    free(m);
}

static void what_does_not_follow_is_refused(void **state)
{
    (void)state;
    struct places p = {0};
    assert_int_equal(places_append(&p, kelp_pos_of(1, 2), 1, 1, 0, 8), KELP_OK);
    assert_int_equal(places_append(&p, kelp_pos_of(1, 2), 1, 1, 8, 8), KELP_E_CORRUPT);
    assert_int_equal(places_append(&p, kelp_pos_of(3, 2), 1, 1, 8, 8), KELP_E_CORRUPT);
    assert_int_equal(places_append(&p, kelp_pos_of(2, 1), 1, 1, 8, 8), KELP_E_CORRUPT);
    assert_int_equal(places_truncate(&p, kelp_pos_of(2, 2)), KELP_E_CORRUPT);
    assert_int_equal(places_truncate(&p, kelp_pos_of(1, 1)), KELP_E_CORRUPT);
    assert_int_equal(p.last.index, 1);
    places_free(&p);
}

static void a_truncation_below_what_is_held_empties_the_log_there(void **state)
{
    (void)state;
    struct places p = {0};
    places_reset(&p, kelp_pos_of(10, 3));
    assert_int_equal(places_append(&p, kelp_pos_of(11, 3), 1, 1, 0, 8), KELP_OK);
    assert_int_equal(places_truncate(&p, kelp_pos_of(4, 2)), KELP_OK);
    assert_int_equal(p.base.index, 4);
    assert_int_equal(p.last.index, 4);
    assert_int_equal(places_append(&p, kelp_pos_of(5, 9), 1, 1, 8, 8), KELP_OK);
    assert_int_equal(places_term(&p, 5).v, 9);
    assert_int_equal(places_term(&p, 4).v, 2);
    places_free(&p);
}

static void a_long_run_of_entries_is_cut_into_extents(void **state)
{
    (void)state;
    struct places p = {0};
    for (kelp_index i = 1; i <= 1000; i++) {
        assert_int_equal(places_append(&p, kelp_pos_of(i, 1), 1, 1, i * 1000, 1000), KELP_OK);
    }
    assert_in_range(p.extent_count, 10, 20);
    for (size_t i = 0; i < p.extent_count; i++)
        assert_true(p.extents[i].bytes < EXTENT_BYTES + 1000);
    places_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_answer_like_a_plain_array),
        cmocka_unit_test(what_does_not_follow_is_refused),
        cmocka_unit_test(a_truncation_below_what_is_held_empties_the_log_there),
        cmocka_unit_test(a_long_run_of_entries_is_cut_into_extents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
