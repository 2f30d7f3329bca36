/* SPDX-License-Identifier: Apache-2.0 */
/* flags_test.c - a verb's table of flags against what people type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/min.h"
#include "cli/room.h"

static const struct verb verb = {.name = "test", .usage = "WORD...", .words = "tests", .more = ""};

struct parsed {
    bool loud;
    const char *name;
    uint64_t count;
    int argc, status;
    bool went_on;
};

static struct parsed parse_at(enum flags_words where, int argc, char **argv)
{
    struct parsed p = {.name = "none", .count = 7, .argc = argc, .status = -1};
    const struct flag flags[] = {
        {.name = "loud", .kind = FLAG_SWITCH, .to.on = &p.loud},
        {.name = "name", .kind = FLAG_TEXT, .to.text = &p.name, .value = "NAME"},
        {.name = "count",
         .kind = FLAG_NUMBER,
         .to.number = &p.count,
         .low = 1,
         .high = 9,
         .value = "N"},
    };
    p.went_on = flags_parse(&verb, flags, COUNT_OF(flags), where, &p.argc, argv, &p.status);
    return p;
}

#define WORDS(...)                                                                                 \
    char *argv[] = {(char[]){"test"}, __VA_ARGS__, NULL};                                          \
    int argc = (int)COUNT_OF(argv) - 1
#define W(text) ((char[]){text})

static void flags_stand_anywhere_and_words_keep_their_order(void **state)
{
    (void)state;
    WORDS(W("one"), W("--loud"), W("two"), W("--name"), W("kelp"), W("three"), W("--count=3"));
    struct parsed p = parse_at(FLAGS_ANYWHERE, argc, argv);
    assert_true(p.went_on);
    assert_true(p.loud);
    assert_string_equal(p.name, "kelp");
    assert_int_equal(p.count, 3);
    assert_int_equal(p.argc, 4);
    assert_int_equal(p.status, -1); /* only who does not go on is told one */
    assert_string_equal(argv[1], "one");
    assert_string_equal(argv[2], "two");
    assert_string_equal(argv[3], "three");
}

static void after_two_dashes_everything_is_a_word(void **state)
{
    (void)state;
    WORDS(W("--loud"), W("--"), W("--name"), W("--"), W("--help"));
    struct parsed p = parse_at(FLAGS_ANYWHERE, argc, argv);
    assert_true(p.went_on);
    assert_true(p.loud);
    assert_int_equal(p.argc, 4);
    assert_string_equal(argv[1], "--name");
    assert_string_equal(argv[2], "--");
    assert_string_equal(argv[3], "--help");
    assert_string_equal(p.name, "none");
}

static void flags_before_words_end_at_the_first_word(void **state)
{
    (void)state;
    WORDS(W("--count"), W("4"), W("SET"), W("--loud"), W("--none"));
    struct parsed p = parse_at(FLAGS_BEFORE_WORDS, argc, argv);
    assert_true(p.went_on);
    assert_int_equal(p.count, 4);
    assert_false(p.loud);
    assert_int_equal(p.argc, 4);
    assert_string_equal(argv[2], "--loud");
}

static void a_mistake_has_status_2_and_changes_nothing_behind_it(void **state)
{
    (void)state;
    static const char *const wrong[] = {"--none",     "--count=0",    "--count=10", "--count=x",
                                        "--count=+3", "--count=",     "--loud=yes", "--name",
                                        "--nam=x",    "--names=kelp", "---loud"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char word[32];
        (void)snprintf(word, sizeof word, "%s", wrong[i]);
        char *argv[] = {(char[]){"test"}, word, NULL};
        struct parsed p = parse_at(FLAGS_ANYWHERE, 2, argv);
        assert_false(p.went_on);
        assert_int_equal(p.status, CLI_USAGE);
        assert_int_equal(p.count, 7);
        assert_string_equal(p.name, "none");
    }
}

static void too_few_and_too_many_words_are_refused(void **state)
{
    (void)state;
    WORDS(W("one"), W("two"));
    int status = -1;
    assert_true(flags_words_check(&verb, argc, argv, 2, 2, &status));
    assert_true(flags_words_check(&verb, argc, argv, 0, -1, &status));
    assert_int_equal(status, -1);
    assert_false(flags_words_check(&verb, argc, argv, 3, 4, &status));
    assert_int_equal(status, CLI_USAGE);
    status = -1;
    assert_false(flags_words_check(&verb, argc, argv, 0, 1, &status));
    assert_int_equal(status, CLI_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_stand_anywhere_and_words_keep_their_order),
        cmocka_unit_test(after_two_dashes_everything_is_a_word),
        cmocka_unit_test(flags_before_words_end_at_the_first_word),
        cmocka_unit_test(a_mistake_has_status_2_and_changes_nothing_behind_it),
        cmocka_unit_test(too_few_and_too_many_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
