/* SPDX-License-Identifier: Apache-2.0 */
/* answer_test.c - answers of the built-in machine, fed to the checker with lies among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/min.h"
#include "sim/checker.h"

static struct checker *c;
static kelp_index last;
static uint64_t now_ms, clock_ms; /* of the entries; when reads are asked, 0: nobody knows */

/* One node that commits whatever it saves. */
static int set_up(void **state)
{
    (void)state;
    last = now_ms = clock_ms = 0;
    c = checker_new(1);
    if (c == NULL) return -1;
    struct kelp_save vote = {.flags = KELP_SAVE_VOTE, .number = 1, .term = {1}, .vote = 1};
    checker_saves(c, 0, &vote, NULL);
    checker_saved(c, 0, 1);
    checker_own_vote(c, 0, 1);
    checker_leads(c, 0, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    checker_free(c);
    return 0;
}

#define FIRES(id)      assert_string_equal(checker_invariant(c), id)
#define SILENT()       assert_string_equal(checker_message(c), "")
#define ASK(n, v, ...) ((struct machine_request){.name = (n), .value = (v), .more = {__VA_ARGS__}})
#define NUMBERS(...)   (const uint64_t[]){__VA_ARGS__}, COUNT_OF(((const uint64_t[]){__VA_ARGS__}))

static kelp_index commits(struct machine_request request)
{
    kelp_index index = ++last;
    struct checker_entry entry = {.term = 1,
                                  .checksum = index * 77,
                                  .time_ns = now_ms * 1000000,
                                  .value = request.value,
                                  .name = request.name,
                                  .more = request.more};
    struct kelp_save save = {
        .flags = KELP_SAVE_APPEND, .number = index + 1, .first = index, .last = index};
    checker_saves(c, 0, &save, &entry);
    checker_saved(c, 0, index + 1);
    struct kelp_view view = {.self = 1,
                             .role = KELP_LEADER,
                             .term = {1},
                             .term_saved = {1},
                             .first = 1,
                             .last = index,
                             .last_pos = kelp_pos_of(index, 1),
                             .commit = index};
    checker_views(c, 0, &view);
    return index;
}

static void told(struct machine_request request, bool read, kelp_index at, kelp_index commit,
                 const uint64_t *numbers, size_t count)
{
    uint8_t bytes[MACHINE_ANSWER_BYTES];
    kelp_index floor = 0;
    for (size_t i = 0; i < count; i++)
        put_u64(bytes + 8 * i, numbers[i]);
    struct checker_request q = {.name = request.name,
                                .more = request.more,
                                .value = request.value,
                                .read = read,
                                .commit_at_call = commit,
                                .cluster_clock = clock_ms * 1000000,
                                .floor = &floor};
    checker_answered(c, &q, KELP_DONE, kelp_pos_of(at, 1), (struct kelp_bytes){bytes, 8 * count});
}

/* Committed and answered with this number. */
static void done(struct machine_request request, uint64_t number)
{
    kelp_index at = commits(request);
    told(request, false, at, 0, NUMBERS(number));
}

/* Asked when `commit` was committed. */
static void reads(struct machine_request request, kelp_index commit, const uint64_t *numbers,
                  size_t count)
{
    told(request, true, 0, commit, numbers, count);
}

#define SWAP(v, e) ASK(7, v, .kind = MACHINE_SWAP, .expected = (e))
#define COUNT(v)   ASK(8, v, .kind = MACHINE_COUNT)
#define LIST       (MACHINE_REGISTERS + 1)
#define APPEND(v)  ASK(LIST, v, .kind = MACHINE_APPEND)
#define BOTH(v)    ASK(1, v, .kind = MACHINE_SEVERAL, .others = 1, .names = {2})

static void a_swap_answers_with_what_stood_there(void **state)
{
    (void)state;
    done(SWAP(100, 0), 0);
    done(SWAP(101, 99), 100);
    reads(SWAP(0, 0), last, NUMBERS(100));
    done(SWAP(102, 100), 100);
    SILENT();
    done(SWAP(103, 102), 100);
    FIRES("I25 OKHonest");
}

static void a_swap_that_found_something_else_wrote_nothing(void **state)
{
    (void)state;
    done(SWAP(100, 0), 0);
    done(SWAP(101, 99), 100);
    reads(SWAP(0, 0), last, NUMBERS(101));
    FIRES("I24 NoDirtyRead");
}

static void a_counter_counts(void **state)
{
    (void)state;
    done(COUNT(100), 1);
    done(COUNT(101), 2);
    reads(COUNT(0), 1, NUMBERS(1)); /* when it was asked, only the first one was committed */
    SILENT();
    reads(COUNT(0), 2, NUMBERS(1));
    FIRES("I22 ReadFresh");
}

static void a_number_that_was_not_reached_is_dirty(void **state)
{
    (void)state;
    done(COUNT(100), 1);
    reads(COUNT(0), 1, NUMBERS(2));
    FIRES("I24 NoDirtyRead");
}

static void a_list_is_read_in_the_order_of_commits(void **state)
{
    (void)state;
    reads(APPEND(0), 0, NUMBERS(0));
    done(APPEND(100), 1);
    done(APPEND(101), 2);
    reads(APPEND(0), 2, NUMBERS(2, 100, 101));
    reads(APPEND(0), 1, NUMBERS(1, 100));
    SILENT();
    reads(APPEND(0), 2, NUMBERS(2, 101, 100));
    FIRES("I24 NoDirtyRead");
}

static void a_list_without_its_newest_element_is_stale(void **state)
{
    (void)state;
    done(APPEND(100), 1);
    done(APPEND(101), 2);
    reads(APPEND(0), 2, NUMBERS(1, 100));
    FIRES("I22 ReadFresh");
}

static void a_list_of_another_length_than_it_says_is_dirty(void **state)
{
    (void)state;
    done(APPEND(100), 1);
    reads(APPEND(0), 1, NUMBERS(2, 100));
    FIRES("I24 NoDirtyRead");
}

static void only_a_list_whose_place_was_taken_is_gone(void **state)
{
    (void)state;
    done(APPEND(100), 1);
    done(ASK(LIST + MACHINE_LISTS, 101, .kind = MACHINE_APPEND), 1);
    done(APPEND(102), 0);
    reads(APPEND(0), 2, NUMBERS(MACHINE_GONE));
    SILENT();
    reads(ASK(LIST + MACHINE_LISTS, 0, .kind = MACHINE_APPEND), 2, NUMBERS(MACHINE_GONE));
    FIRES("I24 NoDirtyRead");
}

static void several_registers_are_read_as_they_stood_together(void **state)
{
    (void)state;
    done(BOTH(100), 0);
    done(BOTH(101), 100);
    reads(BOTH(0), 1, NUMBERS(100, 100));
    reads(BOTH(0), 2, NUMBERS(101, 101));
    SILENT();
    reads(BOTH(0), 1, NUMBERS(100, 101));
    FIRES("I24 NoDirtyRead");
}

static void a_read_of_several_that_is_too_short_is_dirty(void **state)
{
    (void)state;
    done(BOTH(100), 0);
    reads(BOTH(0), 1, NUMBERS(100));
    FIRES("I24 NoDirtyRead");
}

/* ---- reads that may miss what is new --------------------------------------------------------- */

static kelp_index stale_floor;

/* 101, 102 and 103 stand in register 1 one after the other. */
static void three_commits(void)
{
    stale_floor = 0;
    for (uint64_t value = 101; value <= 103; value++)
        (void)commits(ASK(1, value, .kind = MACHINE_SET));
}

/* What it must see, what it names, above what it says that it shows nothing. */
static void stale_told(kelp_index must_see, kelp_index at_least, kelp_index said, uint64_t value)
{
    uint8_t bytes[8];
    kelp_index floor = 0;
    put_u64(bytes, value);
    struct checker_request q = {.name = 1,
                                .read = true,
                                .commit_at_call = last,
                                .floor = &floor,
                                .stale = true,
                                .must_see = must_see,
                                .stale_floor = &stale_floor,
                                .at_least = at_least};
    checker_answered(c, &q, KELP_DONE, kelp_pos_of(said, 0), (struct kelp_bytes){bytes, 8});
}

static void a_stale_read_within_its_bound_is_silent(void **state)
{
    (void)state;
    three_commits();
    stale_told(0, 0, 1, 101);
    stale_told(2, 2, 2, 102);
    SILENT();
}

static void a_stale_read_beyond_its_bound_fires_I23(void **state)
{
    (void)state;
    three_commits();
    stale_told(2, 0, 1, 101);
    FIRES("I23 StaleBounded");
}

static void stale_reads_that_go_back_fire_S01(void **state)
{
    (void)state;
    three_commits();
    stale_told(0, 0, 2, 102);
    stale_told(0, 0, 2, 101);
    FIRES("S01 LineOrder");
}

static void a_read_without_what_it_names_fires_S04(void **state)
{
    (void)state;
    three_commits();
    stale_told(0, 2, 1, 101);
    FIRES("S04 TokenSeen");
}

static void a_read_that_shows_more_than_it_says_fires_S04(void **state)
{
    (void)state;
    three_commits();
    stale_told(0, 0, 1, 102);
    FIRES("S04 TokenSeen");
}

#define LEND(v, ms) ASK(9, v, .kind = MACHINE_LEND, .lasts_ms = (ms))
#define NOOP        ((struct machine_request){0})

static void what_is_lent_is_gone_with_the_first_entry_that_is_so_late(void **state)
{
    (void)state;
    done(LEND(100, 50), 0); /* at 0 ms */
    now_ms = 49;
    kelp_index before = commits(NOOP);
    reads(LEND(0, 0), before, NUMBERS(100));
    now_ms = 50;
    kelp_index gone = commits(NOOP);
    reads(LEND(0, 0), before, NUMBERS(100)); /* asked before that */
    reads(LEND(0, 0), gone, NUMBERS(0));
    done(LEND(101, 50), 0);
    reads(LEND(0, 0), gone, NUMBERS(0)); /* the absence between the two */
    assert_int_equal(checker_lapsed(c), 1);
    SILENT();
    reads(LEND(0, 0), gone, NUMBERS(100));
    FIRES("I22 ReadFresh");
}

static void what_is_there_is_not_absent_before_its_time(void **state)
{
    (void)state;
    done(LEND(100, 50), 0);
    now_ms = 49;
    kelp_index before = commits(NOOP);
    reads(LEND(0, 0), before, NUMBERS(0));
    FIRES("I22 ReadFresh");
}

static void another_write_ends_a_loan(void **state)
{
    (void)state;
    done(LEND(100, 50), 0);
    done(ASK(9, 101, .kind = MACHINE_SET), 100);
    now_ms = 500;
    (void)commits(NOOP);
    reads(LEND(0, 0), last, NUMBERS(101));
    done(LEND(102, 50), 101);
    done(LEND(103, 5000), 102); /* and so does a longer one */
    now_ms = 1000;
    done(LEND(104, 1), 103);
    now_ms = 1001;
    done(LEND(105, 1), 0); /* gone by the stamp of this one */
    SILENT();
    done(LEND(106, 1), 104);
    FIRES("I25 OKHonest");
}

static void an_absence_that_is_over_is_not_read_again(void **state)
{
    (void)state;
    done(LEND(100, 50), 0);
    now_ms = 60;
    (void)commits(NOOP);
    done(LEND(101, 5000), 0);
    reads(LEND(0, 0), last, NUMBERS(101));
    SILENT();
    reads(LEND(0, 0), last, NUMBERS(0));
    FIRES("I22 ReadFresh");
}

/* No entry has said so yet; who led then knew it. */
static void what_the_clock_has_passed_is_not_read(void **state)
{
    (void)state;
    done(LEND(100, 50), 0);
    clock_ms = 49;
    reads(LEND(0, 0), last, NUMBERS(100));
    SILENT();
    clock_ms = 50;
    reads(LEND(0, 0), last, NUMBERS(100));
    FIRES("N12 LapsedUnread");
}

static void of_what_is_lent_only_so_much_ends(void **state)
{
    (void)state;
    for (uint32_t i = 0; i <= MACHINE_LENT_MAX; i++)
        done(ASK(100 + i, 1000 + i, .kind = MACHINE_LEND, .lasts_ms = 10), 0);
    now_ms = 20;
    (void)commits(NOOP);
    assert_int_equal(checker_lapsed(c), MACHINE_LENT_MAX);
    reads(ASK(100, 0, .kind = MACHINE_LEND), last, NUMBERS(0));
    reads(ASK(100 + MACHINE_LENT_MAX, 0, .kind = MACHINE_LEND), last,
          NUMBERS(1000 + MACHINE_LENT_MAX));
    SILENT();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_swap_answers_with_what_stood_there),
        TEST(a_swap_that_found_something_else_wrote_nothing),
        TEST(a_counter_counts),
        TEST(a_number_that_was_not_reached_is_dirty),
        TEST(a_list_is_read_in_the_order_of_commits),
        TEST(a_list_without_its_newest_element_is_stale),
        TEST(a_list_of_another_length_than_it_says_is_dirty),
        TEST(only_a_list_whose_place_was_taken_is_gone),
        TEST(several_registers_are_read_as_they_stood_together),
        TEST(a_read_of_several_that_is_too_short_is_dirty),
        TEST(a_stale_read_within_its_bound_is_silent),
        TEST(a_stale_read_beyond_its_bound_fires_I23),
        TEST(stale_reads_that_go_back_fire_S01),
        TEST(a_read_without_what_it_names_fires_S04),
        TEST(a_read_that_shows_more_than_it_says_fires_S04),
        TEST(what_is_lent_is_gone_with_the_first_entry_that_is_so_late),
        TEST(what_is_there_is_not_absent_before_its_time),
        TEST(another_write_ends_a_loan),
        TEST(an_absence_that_is_over_is_not_read_again),
        TEST(what_the_clock_has_passed_is_not_read),
        TEST(of_what_is_lent_only_so_much_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
