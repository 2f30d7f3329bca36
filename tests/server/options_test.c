/* SPDX-License-Identifier: Apache-2.0 */
/* options_test.c - the command line over the file over the defaults, at a start and again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "server/options.h"

static char path[64];

static void file_write(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int file_new(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/kelp-options-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int file_gone(void **state)
{
    (void)state;
    return unlink(path);
}

static const struct setting *row_of(const char *key)
{
    const struct setting *row = settings_find(bytes_of(key, strlen(key)));
    assert_non_null(row);
    return row;
}

static struct options started(const char *text, struct settings *out)
{
    static char verb[] = "server", id_flag[] = "--id", id[] = "1", data_flag[] = "--data",
                data[] = "d", config[] = "--config", set[] = "--set",
                pair[] = "request-timeout-ms=700";
    char *argv[] = {verb, id_flag, id, data_flag, data, config, path, set, pair, NULL};
    struct options kept;
    file_write(text);
    assert_int_equal(options_read(9, argv, &kept, out), OPTIONS_RUN);
    return kept;
}

static void from(const struct settings *s, const char *key, enum setting_origin origin,
                 unsigned line)
{
    struct setting_source source = settings_source(s, row_of(key));
    assert_int_equal(source.origin, origin);
    assert_int_equal(source.line, line);
}

static void every_value_knows_where_it_was_said(void **state)
{
    (void)state;
    struct settings s;
    struct options kept =
        started("# a comment\nclient-stall-ms: 2000\nrequest-timeout-ms: 900\n", &s);
    assert_int_equal(s.request_timeout_ms, 700);
    from(&s, "request-timeout-ms", ORIGIN_FLAG, 0);
    from(&s, "client-stall-ms", ORIGIN_FILE, 2);
    from(&s, "heartbeat-ms", ORIGIN_DEFAULT, 0);
    settings_close(&s);
    options_close(&kept);
}

static void the_file_is_read_again_and_flags_stay_above_it(void **state)
{
    (void)state;
    struct settings s, next;
    struct setting_change changes[SETTINGS_MAX];
    char error[SETTINGS_ERROR_MAX];
    size_t count;
    struct options kept = started("client-stall-ms: 2000\n", &s);
    file_write("request-timeout-ms: 900\n\nclient-stall-ms: 3000\n");
    assert_true(options_again(&kept, &next, error));
    assert_int_equal(next.request_timeout_ms, 700);
    assert_int_equal(next.client_stall_ms, 3000);
    from(&next, "client-stall-ms", ORIGIN_FILE, 3);
    assert_true(settings_changes(&s, &next, changes, &count, error));
    assert_int_equal(count, 1);
    assert_string_equal(changes[0].row->key, "client-stall-ms");
    assert_string_equal(changes[0].old, "2000");
    assert_string_equal(changes[0].now, "3000");
    settings_close(&next);
    settings_close(&s);
    options_close(&kept);
}

static void wrong(struct options *kept, const char *text, const char *word, const char *other)
{
    struct settings next;
    char error[SETTINGS_ERROR_MAX] = "";
    file_write(text);
    assert_false(options_again(kept, &next, error));
    if (strstr(error, word) == NULL) fail_msg("\"%s\" does not say %s", error, word);
    if (strstr(error, other) == NULL) fail_msg("\"%s\" does not say %s", error, other);
}

/* HC TestRaft_ReloadConfigValidates */
static void what_is_wrong_in_the_file_is_said_with_its_place(void **state)
{
    (void)state;
    struct settings s;
    struct options kept = started("client-stall-ms: 2000\n", &s);
    char place[96];
    (void)snprintf(place, sizeof place, "%s:2: client-stall-ms 5", path);
    wrong(&kept, "on-follower: moved\nclient-stall-ms: 5\n", place, "1000..3600000");
    wrong(&kept, "on-follower: moved\nclient-stahl-ms: 5000\n", ":2: client-stahl-ms: there is no",
          "such setting");
    wrong(&kept, "requests-max: 10\n", "client-requests-max 1024", "requests-max, which is 10");
    assert_int_equal(unlink(path), 0);
    struct settings next;
    char error[SETTINGS_ERROR_MAX];
    assert_false(options_again(&kept, &next, error));
    assert_non_null(strstr(error, "No such file"));
    file_write("");
    settings_close(&s);
    options_close(&kept);
}

static void every_change_that_needs_a_restart_is_named(void **state)
{
    (void)state;
    struct settings s, next;
    struct setting_change changes[SETTINGS_MAX];
    char error[SETTINGS_ERROR_MAX];
    size_t count = 7;
    struct options kept = started("client-stall-ms: 2000\n", &s);
    file_write("election-ms: 3000\nclient-stall-ms: 3000\npeer: 127.0.0.1:9\n");
    assert_true(options_again(&kept, &next, error));
    assert_false(settings_changes(&s, &next, changes, &count, error));
    assert_int_equal(count, 0);
    assert_non_null(strstr(error, "election-ms (\"1000\" -> \"3000\")"));
    assert_non_null(strstr(error, "peer (\"127.0.0.1:7101\" -> \"127.0.0.1:9\")"));
    assert_null(strstr(error, "client-stall-ms"));
    settings_close(&next);
    settings_close(&s);
    options_close(&kept);
}

/* The tables of the core are made once, for the requests-max of the start. */
static void no_more_requests_than_at_the_start(void **state)
{
    (void)state;
    char error[SETTINGS_ERROR_MAX];
    struct settings s, next;
    struct setting_change changes[SETTINGS_MAX];
    size_t count;
    assert_true(settings_init(&s));
    assert_true(settings_set(&s, row_of("requests-max"), "3000", error));
    s.requests_room = 3000;
    assert_true(settings_copy(&s, &next));
    assert_int_equal(next.requests_room, 3000);
    assert_true(settings_set(&s, row_of("requests-max"), "2000", error)); /* it was lowered */
    assert_true(settings_changes(&s, &next, changes, &count, error));     /* and back up */
    assert_int_equal(count, 1);
    assert_true(settings_set(&next, row_of("requests-max"), "3001", error));
    assert_true(settings_set(&next, row_of("lease-ms"), "100", error));
    assert_false(settings_changes(&s, &next, changes, &count, error));
    assert_int_equal(count, 0);
    assert_string_equal(error, "a restart is needed to change lease-ms (\"0\" -> \"100\"), "
                               "requests-max (\"2000\" -> \"3001\", above the 3000 it was "
                               "started with)");
    s.requests_room = 0; /* nothing runs with them */
    assert_true(settings_set(&next, row_of("lease-ms"), "0", error));
    assert_true(settings_changes(&s, &next, changes, &count, error));
    settings_close(&next);
    settings_close(&s);
}

static void an_id_that_was_given_is_no_change(void **state)
{
    (void)state;
    char error[SETTINGS_ERROR_MAX];
    struct settings s, next;
    struct setting_change changes[SETTINGS_MAX];
    size_t count;
    assert_true(settings_init(&s) && settings_init(&next));
    assert_true(settings_set(&s, row_of("id"), "4", error));
    assert_true(settings_set(&next, row_of("id"), "auto", error));
    assert_true(settings_changes(&s, &next, changes, &count, error));
    assert_true(settings_set(&next, row_of("id"), "5", error));
    assert_false(settings_changes(&s, &next, changes, &count, error));
    settings_close(&next);
    settings_close(&s);
}

static void only_a_file_is_read_again(void **state)
{
    (void)state;
    struct settings next;
    char error[SETTINGS_ERROR_MAX];
    struct options kept = {.file = "/dev/null"};
    assert_false(options_again(&kept, &next, error));
    assert_non_null(strstr(error, "/dev/null: not a file that can be read again"));
}

static void no_live_setting_is_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_count; i++) {
        if ((settings_table[i].flags & SETTING_LIVE) != 0)
            assert_int_not_equal(settings_table[i].type, SETTING_TEXT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_value_knows_where_it_was_said, file_new, file_gone),
        cmocka_unit_test_setup_teardown(the_file_is_read_again_and_flags_stay_above_it, file_new,
                                        file_gone),
        cmocka_unit_test_setup_teardown(what_is_wrong_in_the_file_is_said_with_its_place, file_new,
                                        file_gone),
        cmocka_unit_test_setup_teardown(every_change_that_needs_a_restart_is_named, file_new,
                                        file_gone),
        cmocka_unit_test(no_more_requests_than_at_the_start),
        cmocka_unit_test(an_id_that_was_given_is_no_change),
        cmocka_unit_test(only_a_file_is_read_again),
        cmocka_unit_test(no_live_setting_is_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
