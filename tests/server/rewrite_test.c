/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite_test.c - what clients changed goes into the settings file, and nothing else moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "server/rewrite.h"

static char directory[64], path[96];

static int begin(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/kelp-rewrite-XXXXXX");
    if (mkdtemp(directory) == NULL) return -1;
    (void)snprintf(path, sizeof path, "%s/kelp.yaml", directory);
    return 0;
}

/* Nothing but the file may be left. */
static int gone(void **state)
{
    (void)state;
    return unlink(path) == 0 && rmdir(directory) == 0 ? 0 : -1;
}

static void put(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void holds(const char *text)
{
    char got[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(got, 1, sizeof got - 1, file);
    got[len] = '\0';
    assert_int_equal(fclose(file), 0);
    assert_string_equal(got, text);
}

static const struct setting *row_of(const char *key)
{
    const struct setting *row = settings_find(bytes_of(key, strlen(key)));
    assert_non_null(row);
    return row;
}

/* As CONFIG SET does. */
static void client_sets(struct settings *s, const char *key, const char *value)
{
    char error[SETTINGS_ERROR_MAX];
    assert_true(settings_set(s, row_of(key), value, error));
    settings_say(s, row_of(key), (struct setting_source){.origin = ORIGIN_CLIENT});
}

/* Two keys are changed by clients; what the file is afterwards. */
static void rewritten(const char *before, const char *after)
{
    struct options kept = {.file = path};
    struct settings force;
    char error[SETTINGS_ERROR_MAX] = "";
    size_t count;
    put(before);
    assert_true(options_texts(&kept, &force, error));
    client_sets(&force, "request-timeout-ms", "700");
    client_sets(&force, "snapshot-send-bytes", "4096");
    bool fine = rewrite_file(&kept, &force, &count, error);
    assert_string_equal(error, "");
    assert_true(fine);
    assert_int_equal(count, 2);
    holds(after);
    struct settings again;
    assert_true(options_texts(&kept, &again, error));
    assert_int_equal(again.request_timeout_ms, 700);
    assert_int_equal(again.snapshot_send_bytes, 4096);
    for (size_t i = 0; i < settings_count; i++) /* it says of each where it stands now */
        assert_int_equal(settings_source(&force, &settings_table[i]).line,
                         settings_source(&again, &settings_table[i]).line);
    assert_true(rewrite_file(&kept, &force, &count, error)); /* nothing is left to do */
    assert_int_equal(count, 0);
    settings_close(&again);
    settings_close(&force);
}

static void lines_change_in_place_or_come_at_the_end(void **state)
{
    (void)state;
    rewritten("", "request-timeout-ms: 700\nsnapshot-send-bytes: 4096\n");
    rewritten("# ours\nrequest-timeout-ms: 5000 # five seconds\n\nheartbeat-ms: 50\n",
              "# ours\nrequest-timeout-ms: 700 # five seconds\n\nheartbeat-ms: 50\n"
              "snapshot-send-bytes: 4096\n");
    rewritten("snapshot-send-bytes:   1\n\"request-timeout-ms\" : \"9000\"\n",
              "snapshot-send-bytes:   4096\n\"request-timeout-ms\" : 700\n");
    rewritten("heartbeat-ms: 50", "heartbeat-ms: 50\nrequest-timeout-ms: 700\n"
                                  "snapshot-send-bytes: 4096\n");
    rewritten("request-timeout-ms: 5000\r\nheartbeat-ms: 50\r\n",
              "request-timeout-ms: 700\r\nheartbeat-ms: 50\r\nsnapshot-send-bytes: 4096\n");
    /* it is not about the key */
    rewritten("# request-timeout-ms: 1\nheartbeat-ms: 50 # snapshot-send-bytes: 2\n",
              "# request-timeout-ms: 1\nheartbeat-ms: 50 # snapshot-send-bytes: 2\n"
              "request-timeout-ms: 700\nsnapshot-send-bytes: 4096\n");
}

static void refused(const char *text, const char *words)
{
    struct options kept = {.file = path};
    struct settings force;
    char error[SETTINGS_ERROR_MAX] = "";
    size_t count;
    put(text);
    assert_true(settings_init(&force));
    client_sets(&force, "request-timeout-ms", "700");
    assert_false(rewrite_file(&kept, &force, &count, error));
    if (strstr(error, words) == NULL) assert_string_equal(error, words);
    assert_int_equal(settings_source(&force, row_of("request-timeout-ms")).origin, ORIGIN_CLIENT);
    holds(text);
    settings_close(&force);
}

static void a_file_that_cannot_be_changed_line_by_line_is_left_alone(void **state)
{
    (void)state;
    refused("{heartbeat-ms: 50}\n", "do it by hand");
    refused("{request-timeout-ms: 50}\n", "do it by hand");
    refused("request-timeout-ms:\n  5000\n", "by hand");
    refused("request-timeout-ms: >-\n  5000\n", "by hand");
    refused("heartbeat-ms: 50\n...\n", "by hand");
    refused("heartbeat-mss: 50\n", "heartbeat-mss"); /* a start would not take it either */
}

static void the_file_itself_is_replaced_and_keeps_its_mode(void **state)
{
    (void)state;
    char link[96], error[SETTINGS_ERROR_MAX] = "";
    struct stat what;
    size_t count;
    (void)snprintf(link, sizeof link, "%s/link.yaml", directory);
    put("heartbeat-ms: 50\n");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("kelp.yaml", link), 0);
    struct options kept = {.file = link};
    struct settings force;
    assert_true(settings_init(&force));
    client_sets(&force, "request-timeout-ms", "700");
    assert_true(rewrite_file(&kept, &force, &count, error));
    assert_int_equal(lstat(link, &what), 0);
    assert_true(S_ISLNK(what.st_mode));
    assert_int_equal(stat(path, &what), 0);
    assert_int_equal(what.st_mode & 07777, 0640);
    holds("heartbeat-ms: 50\nrequest-timeout-ms: 700\n");
    settings_close(&force);
    assert_int_equal(unlink(link), 0);
}

/* What another one left that was cut short is in nobody's way; a file that is not there is none. */
static void what_is_in_the_way_is_named(void **state)
{
    (void)state;
    char rest[128], error[SETTINGS_ERROR_MAX] = "";
    size_t count;
    (void)snprintf(rest, sizeof rest, "%s.rewrite", path);
    put("");
    FILE *file = fopen(rest, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    rewritten("", "request-timeout-ms: 700\nsnapshot-send-bytes: 4096\n");
    assert_int_equal(mkdir(rest, 0700), 0);
    refused("heartbeat-ms: 50\n", "kelp.yaml.rewrite: ");
    assert_int_equal(rmdir(rest), 0);
    struct options kept = {.file = rest};
    struct settings force;
    assert_true(settings_init(&force));
    client_sets(&force, "request-timeout-ms", "700");
    assert_false(rewrite_file(&kept, &force, &count, error));
    assert_non_null(strstr(error, "No such file"));
    settings_close(&force);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_change_in_place_or_come_at_the_end, begin, gone),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_changed_line_by_line_is_left_alone,
                                        begin, gone),
        cmocka_unit_test_setup_teardown(the_file_itself_is_replaced_and_keeps_its_mode, begin,
                                        gone),
        cmocka_unit_test_setup_teardown(what_is_in_the_way_is_named, begin, gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
