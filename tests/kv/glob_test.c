/* SPDX-License-Identifier: Apache-2.0 */
/* glob_test.c - patterns, in the table and against a matcher that is plainly recursive. */
#include "kv/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/min.h"
#include "base/prng.h"

static struct kelp_bytes text(const char *s)
{
    return bytes_of(s, strlen(s));
}

static void patterns_match_as_the_table_says(void **state) /* answers of redis-server 7.0.15 */
{
    (void)state;
    static const struct row {
        const char *pattern, *yes, *no; /* texts apart by commas; NULL: none */
    } rows[] = {
        {"*", "a,abc", NULL},
        {"**", "a", NULL},
        {"", "", "a"},
        {"a", "a", "b,aa,"},
        {"?", "a,*", "aa"},
        {"a*", "a,ab,abc", "b,ba"},
        {"*a", "a,ba,aa,aba", "ab,b"},
        {"*a*", "a,bab", "b"},
        {"a*c", "ac,abc,acc,abcabc", "ab,acb"},
        {"a**c", "ac,abc", "a"},
        {"*?", "a,ab", NULL},
        {"[abc]", "a,b,c", "d,ab"},
        {"[^abc]", "d,^", "a,b"},
        {"[a-c]", "a,b,c", "d,-"},
        {"[c-a]", "a,b,c", "d,-"},
        {"[a-]", "],a,^", "-,b"},
        {"[a-", "a,-", "b"},
        {"[", NULL, "[,a"},
        {"[^", "a,[", "aa"},
        {"[^]", "a,]", NULL},
        {"[]a]", NULL, "a,],]a],a]"},
        {"[\\]]", "]", "a,\\"},
        {"[\\", "\\", "a,["},
        {"\\", "\\", "a"},
        {"a\\", "a\\", "a"},
        {"\\*", "*", "a,\\*"},
        {"a\\?c", "a?c", "abc"},
        {"[a-c", "a,b", "d"},
        {"*[bc]*", "b,abd", "a"},
        {"a[", NULL, "a,a["},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (int wanted = 0; wanted < 2; wanted++) {
            const char *list = wanted ? rows[i].yes : rows[i].no;
            if (list == NULL) continue;
            for (;;) {
                size_t len = strcspn(list, ",");
                enum glob_result got = glob_match(text(rows[i].pattern), bytes_of(list, len));
                assert_int_equal(got, wanted ? GLOB_YES : GLOB_NO);
                if (list[len] == 0) break;
                list += len + 1;
            }
        }
    }
}

/* Stars, question marks and literals only, the plain way. */
static bool naive(const char *p, const char *t)
{
    if (*p == 0) return *t == 0;
    if (*p == '*') return naive(p + 1, t) || (*t != 0 && naive(p, t + 1));
    return *t != 0 && (*p == '?' || *p == *t) && naive(p + 1, t + 1);
}

static void stars_match_as_a_recursive_matcher_does(void **state)
{
    (void)state;
    struct prng random = {5};
    size_t matched = 0;
    for (int round = 0; round < 200000; round++) {
        char pattern[9], string[11];
        size_t plen = prng_below(&random, 8), slen = prng_between(&random, 1, 10);
        for (size_t i = 0; i < plen; i++)
            pattern[i] = "ab*?*"[prng_below(&random, 5)];
        for (size_t i = 0; i < slen; i++)
            string[i] = "ab"[prng_below(&random, 2)];
        pattern[plen] = string[slen] = 0;
        bool wanted = naive(pattern, string);
        matched += wanted;
        assert_int_equal(glob_match(text(pattern), text(string)), wanted ? GLOB_YES : GLOB_NO);
    }
    assert_true(matched > 10000 && matched < 190000);
}

static void random_bytes_are_never_read_past(void **state)
{
    (void)state;
    struct prng random = {6};
    for (int round = 0; round < 100000; round++) {
        size_t plen = prng_below(&random, 10), slen = prng_below(&random, 6);
        uint8_t *pattern = malloc(plen + (plen == 0)), *string = malloc(slen + (slen == 0));
        for (size_t i = 0; i < plen; i++)
            pattern[i] = (uint8_t) "[]^-\\*?ab"[prng_below(&random, 9)];
        for (size_t i = 0; i < slen; i++)
            string[i] = (uint8_t) "[]^-\\*?ab"[prng_below(&random, 9)];
        assert_int_not_equal(glob_match(bytes_of(pattern, plen), bytes_of(string, slen)),
                             GLOB_TOO_LONG);
        free(pattern);
        free(string);
    }
}

static void work_is_bounded(void **state)
{
    (void)state;
    size_t len = 60000;
    char *pattern = malloc(len / 2 + 2), *string = malloc(len);
    assert_true(pattern != NULL && string != NULL);
    memset(pattern, 'a', len / 2 + 1);
    pattern[0] = '*';
    pattern[len / 2 + 1] = 'b';
    memset(string, 'a', len);
    assert_int_equal(glob_match(bytes_of(pattern, len / 2 + 2), bytes_of(string, len)),
                     GLOB_TOO_LONG);
    assert_int_equal(glob_match(bytes_of("*a", 2), bytes_of(string, len)), GLOB_YES);
    free(pattern);
    free(string);
}

static void a_huge_class_is_given_up_at_once(void **state)
{
    (void)state;
    size_t len = 8u << 20;
    char *pattern = malloc(len);
    assert_non_null(pattern);
    memset(pattern, 'a', len);
    pattern[0] = '*';
    pattern[1] = '[';
    uint64_t work = 0;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(glob_match_counted(bytes_of(pattern, len), text("zzzz"), &work),
                         GLOB_TOO_LONG);
    assert_int_equal(work, 1000);
    assert_int_equal(glob_match_counted(bytes_of(pattern, 100000), text("zzzzzzzz"), &work),
                     GLOB_TOO_LONG);
    assert_in_range(work - 1000, GLOB_STEPS_MAX - 100001, GLOB_STEPS_MAX + 1);
    free(pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_the_table_says),
        cmocka_unit_test(stars_match_as_a_recursive_matcher_does),
        cmocka_unit_test(random_bytes_are_never_read_past),
        cmocka_unit_test(work_is_bounded),
        cmocka_unit_test(a_huge_class_is_given_up_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
