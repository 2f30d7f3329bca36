/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint_test.c - HOST:PORT and member lists as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/endpoint.h"

static void hosts_are_names_and_numbers(void **state)
{
    (void)state;
    struct endpoint at;
    assert_true(endpoint_split("node1.example:7001", &at));
    assert_string_equal(at.host, "node1.example");
    assert_int_equal(at.port, 7001);
    assert_true(endpoint_split("127.0.0.1:1", &at));
    assert_true(endpoint_split("[::1]:65535", &at));
    assert_string_equal(at.host, "::1");
    assert_int_equal(at.port, 65535);
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "host",    ":1",         "host:",  "host:0",
                                      "host:x",  "host:01", "host:65536", "::1:80", "[::1]",
                                      "ho st:1", "a,b:1",   "[]:1",       "a/b:1",  "host:-1"};
    struct endpoint at;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (endpoint_split(bad[i], &at)) fail_msg("%s was taken", bad[i]);
        assert_string_equal(at.host, "");
        assert_int_equal(at.port, 0);
    }
    assert_false(endpoint_split(NULL, &at));
}

static void a_host_has_a_longest_length(void **state)
{
    (void)state;
    char text[ENDPOINT_TEXT_MAX + 8];
    struct endpoint at;
    memset(text, 'h', sizeof text);
    (void)snprintf(text + 119, 8, ":7001");
    assert_true(endpoint_split(text, &at));
    memset(text, 'h', sizeof text);
    (void)snprintf(text + 120, 8, ":7001");
    assert_false(endpoint_split(text, &at));
}

static void wildcards_are_known(void **state)
{
    (void)state;
    struct endpoint at;
    assert_true(endpoint_split("0.0.0.0:1", &at) && endpoint_any(&at));
    assert_true(endpoint_split("[::]:1", &at) && endpoint_any(&at));
    assert_true(endpoint_split("[::1]:1", &at) && !endpoint_any(&at));
}

static void a_list_says_whether_it_names_us(void **state)
{
    (void)state;
    char words[128];
    bool self = false;
    assert_null(endpoint_list_check("1=a:1,2=b:1,9=[::1]:7", 9, &self, words, sizeof words));
    assert_true(self);
    assert_null(endpoint_list_check("1=a:1", 2, &self, words, sizeof words));
    assert_false(self);
}

static void a_list_has_at_most_32_members(void **state)
{
    (void)state;
    char list[1024] = "", words[128];
    size_t len = 0;
    bool self = false;
    for (int id = 1; id <= 32; id++)
        len +=
            (size_t)snprintf(list + len, sizeof list - len, "%s%d=h:%d", id > 1 ? "," : "", id, id);
    assert_null(endpoint_list_check(list, 1, &self, words, sizeof words));
    (void)snprintf(list + len, sizeof list - len, ",33=h:33");
    assert_non_null(endpoint_list_check(list, 1, &self, words, sizeof words));
}

static void a_bad_item_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"1=a:1,", "1=a:1,x", "=a:1", "-1=a:1", "1=a:1,2=", "1:a:1"};
    char words[128];
    bool self = false;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (endpoint_list_check(bad[i], 1, &self, words, sizeof words) == NULL)
            fail_msg("%s was taken", bad[i]);
    }
    (void)endpoint_list_check("1=a:1,two=b:2", 1, &self, words, sizeof words);
    assert_non_null(strstr(words, "two=b:2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_names_and_numbers),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_host_has_a_longest_length),
        cmocka_unit_test(wildcards_are_known),
        cmocka_unit_test(a_list_says_whether_it_names_us),
        cmocka_unit_test(a_list_has_at_most_32_members),
        cmocka_unit_test(a_bad_item_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
