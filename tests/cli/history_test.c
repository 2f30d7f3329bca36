/* SPDX-License-Identifier: Apache-2.0 */
/* history_test.c - recorded histories through `kelp sim check`: good, bad and malformed files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/min.h"
#include "cli/history.h"
#include "cli/room.h"

#define FOLDER "tests/sim/histories"

static const struct verb verb = {.name = "sim", .usage = "", .words = "", .more = ""};
static char out[16384]; /* what the last check printed, complaints too */

/* sim_check with its output caught. */
static int check(const char *file, bool json)
{
    FILE *caught = tmpfile();
    assert_non_null(caught);
    (void)fflush(stdout);
    int kept_out = dup(STDOUT_FILENO), kept_error = dup(STDERR_FILENO);
    assert_true(dup2(fileno(caught), STDOUT_FILENO) >= 0);
    assert_true(dup2(fileno(caught), STDERR_FILENO) >= 0);
    int status = sim_check(&verb, file, json);
    (void)fflush(stdout);
    assert_true(dup2(kept_out, STDOUT_FILENO) >= 0 && dup2(kept_error, STDERR_FILENO) >= 0);
    (void)close(kept_out);
    (void)close(kept_error);
    rewind(caught);
    size_t len = fread(out, 1, sizeof out - 1, caught);
    out[len] = '\0';
    (void)fclose(caught);
    return status;
}

static int check_named(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, FOLDER "/%s.jsonl", name);
    return check(path, false);
}

static void check_folder(const char *folder, int expected, const char *word, size_t at_least)
{
    char path[512];
    (void)snprintf(path, sizeof path, FOLDER "/%s", folder);
    DIR *files = opendir(path);
    assert_non_null(files);
    size_t count = 0;
    for (const struct dirent *file; (file = readdir(files)) != NULL;) {
        if (strstr(file->d_name, ".jsonl") == NULL) continue;
        (void)snprintf(path, sizeof path, FOLDER "/%s/%s", folder, file->d_name);
        int status = check(path, false);
        if (status != expected || strstr(out, word) == NULL)
            fail_msg("%s: exit %d: %s", path, status, out);
        count++;
    }
    (void)closedir(files);
    assert_true(count >= at_least);
}

static void good_histories_exit_0(void **state)
{
    (void)state;
    check_folder("good", CLI_DONE, "linearizable: ", 8);
}

static void bad_histories_exit_1(void **state)
{
    (void)state;
    check_folder("bad", CLI_FAILED, "not linearizable: ", 13);
}

static void malformed_histories_exit_2_and_name_the_line(void **state)
{
    (void)state;
    check_folder("broken", CLI_USAGE, ".jsonl:", 14);
}

static void the_reason_stands_above_the_operations_in_time_order(void **state)
{
    (void)state;
    assert_int_equal(check_named("bad/stale-read"), CLI_FAILED);
    assert_string_equal(out,
                        "not linearizable: two values were each seen before and after the other "
                        "(interval)\n"
                        "  #1     [10..20]  process 1  write x = 1\n"
                        "  #2     [30..40]  process 1  write x = 2\n"
                        "  #3     [50..60]  process 2  read x = 2\n"
                        "  #4     [70..80]  process 3  read x = 1\n");
    assert_int_equal(check_named("bad/append-lost-and-found"), CLI_FAILED);
    assert_string_equal(out,
                        "not linearizable: cycle of 2: #2 returned before the call of #3 does not "
                        "see #2 (cycles)\n"
                        "  #2     [30..40]  process 1  append l 2\n"
                        "  #3     [50..60]  process 2  read l = [1]\n");
    assert_int_equal(check_named("bad/refused-swap-seen"), CLI_FAILED);
    assert_string_equal(out, "not linearizable: #2 saw what was refused: #1 (search)\n"
                             "  #1     [10..20]  process 1  cas x from nothing to 1, refused\n"
                             "  #2     [30..40]  process 2  cas x from 1 to 2, swapped\n");
}

static size_t lines_of(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

static void one_wrong_answer_in_a_hundred_is_shown_with_few_others(void **state)
{
    (void)state;
    assert_int_equal(check_named("bad/one-stale-read-in-a-hundred"), CLI_FAILED);
    assert_in_range(lines_of(out), 3, 8);
}

static void a_mistake_is_named_with_file_and_line(void **state)
{
    (void)state;
    static const struct {
        const char *file, *words;
    } mistakes[] = {
        {"not-json", "kelp sim: " FOLDER "/broken/not-json.jsonl:2: column "},
        {"empty-line", ":2: is empty; every line is one operation"},
        {"no-return", ":2: return: is missing; null if there was none"},
        {"overlapping-process", ":2: #2 is of the same process and overlaps #1"},
        {"unknown-op", ":2: op: \"delete\" must be read, write, cas, incr, append, mset or mget"},
        {"key-is-a-number", ":2: key: a key must be a string"},
        {"real-number", ":2: value: a value must be a string, a number from 0 on, or null"},
        {"append-twice", ":2: #2 appends the same as #1"},
        {"mset-lengths-differ", ":1: value: must be an array of 2 values, one a key"},
    };
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "broken/%s", mistakes[i].file);
        assert_int_equal(check_named(name), CLI_USAGE);
        if (strstr(out, mistakes[i].words) == NULL) fail_msg("%s: %s", mistakes[i].file, out);
        assert_int_equal(lines_of(out), 1);
    }
    assert_int_equal(check(FOLDER "/nowhere.jsonl", false), CLI_USAGE);
}

static void json_has_the_same_verdict(void **state)
{
    (void)state;
    assert_int_equal(check(FOLDER "/bad/lost-write.jsonl", true), CLI_FAILED);
    json_t *said = json_loads(out, 0, NULL);
    assert_non_null(said);
    assert_string_equal(json_string_value(json_object_get(said, "judgement")), "not linearizable");
    assert_string_equal(json_string_value(json_object_get(said, "checker")), "interval");
    assert_int_equal(json_array_size(json_object_get(said, "window")), 2);
    json_decref(said);
    assert_int_equal(check(FOLDER "/good/cas.jsonl", true), CLI_DONE);
    assert_non_null(strstr(out, "\"judgement\":\"linearizable\""));
}

/* ---- hostile bytes ---- */

static bool read_text(const char *text, size_t len, struct history *h)
{
    FILE *in = fmemopen((void *)(uintptr_t)text, len, "r");
    assert_non_null(in);
    *h = (struct history){0};
    bool good = history_read(in, h);
    (void)fclose(in);
    return good;
}

static void a_line_without_an_end_is_refused_before_it_is_kept(void **state)
{
    (void)state;
    size_t len = 2 * HISTORY_LINE_BYTES_MAX;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, '[', len);
    struct history h;
    assert_false(read_text(text, len, &h));
    assert_non_null(strstr(h.wrong, "is longer than"));
    history_free(&h);
    assert_false(read_text(text, 100000, &h)); /* deep, not long */
    history_free(&h);
    free(text);
}

static void every_cut_and_every_flipped_byte_is_survived(void **state)
{
    (void)state;
    static const char text[] =
        "{\"process\":1,\"op\":\"mset\",\"key\":[\"x\",\"y\"],\"value\":[1,\"b\"],\"call\":1,"
        "\"return\":2,\"outcome\":\"ok\"}\n"
        "{\"process\":1,\"op\":\"read\",\"key\":\"l\",\"result\":[1,2],\"call\":3,\"return\":4,"
        "\"outcome\":\"ok\"}\n";
    struct history h;
    struct kelp_sim_verdict v;
    char words[256], damaged[sizeof text];
    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (int flip = -1; flip < 8; flip++) {
            memcpy(damaged, text, sizeof text);
            size_t len = flip < 0 ? i + 1 : sizeof text - 1;
            if (flip >= 0) damaged[i] = (char)(damaged[i] ^ (1 << flip));
            if (read_text(damaged, len, &h)) {
                (void)kelp_sim_check_history(h.operations, h.count, 0, &v);
                for (size_t k = 0; k < h.count; k++)
                    history_words(&h, k, words, sizeof words);
            } else {
                assert_true(h.wrong_line >= 1 && h.wrong[0] != '\0');
            }
            history_free(&h);
        }
    }
}

static void strings_are_shown_without_what_moves_a_cursor(void **state)
{
    (void)state;
    static const char text[] =
        "{\"process\":\"p\",\"op\":\"write\",\"key\":\"a\\u001b[2J\","
        "\"value\":\"\\n\\u007f\",\"call\":1,\"return\":2,\"outcome\":\"ok\"}";
    struct history h;
    char words[256];
    assert_true(read_text(text, sizeof text - 1, &h));
    history_words(&h, 0, words, sizeof words);
    assert_string_equal(words, "#1     [1..2]  process p  write a?[2J = ??");
    history_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_histories_exit_0),
        cmocka_unit_test(bad_histories_exit_1),
        cmocka_unit_test(malformed_histories_exit_2_and_name_the_line),
        cmocka_unit_test(the_reason_stands_above_the_operations_in_time_order),
        cmocka_unit_test(one_wrong_answer_in_a_hundred_is_shown_with_few_others),
        cmocka_unit_test(a_mistake_is_named_with_file_and_line),
        cmocka_unit_test(json_has_the_same_verdict),
        cmocka_unit_test(a_line_without_an_end_is_refused_before_it_is_kept),
        cmocka_unit_test(every_cut_and_every_flipped_byte_is_survived),
        cmocka_unit_test(strings_are_shown_without_what_moves_a_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
