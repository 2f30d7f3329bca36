/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_test.c - every story under tests/scenario and docs/learn is told as its file says, and
 * the interpreter notices when it is not: wrong transcripts, false expectations, broken invariants,
 * assertions. Told step by step, it is the same story.
 *
 * The events of the core are marks of its branches. One that no story reaches is named below, so
 * that a new one cannot be forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>

#include "sim/scenario.h"

#define FOLDER "tests/scenario"

static uint64_t marks[KELP_EVENT_COUNT];
static unsigned stories, failures;

static void tell(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    int status = scenario_file(path, SCENARIO_CHECK, NULL, out, marks);
    assert_int_equal(fclose(out), 0);
    stories++;
    if (status != 0) {
        failures++;
        (void)fprintf(stderr, "%s\n", text); /* print_error would cut it */
    }
    free(text);
}

static int shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void tell_topic(const char *topic)
{
    char path[1024];
    struct dirent **names;
    int count = scandir(topic, &names, shown, alphasort);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        size_t len = strlen(name);
        (void)snprintf(path, sizeof path, "%s/%s", topic, name);
        if (len > 4 && strcmp(name + len - 4, ".txt") == 0) tell(path);
        free(names[i]);
    }
    free(names);
}

static void every_story_is_told_as_its_file_says(void **state)
{
    static const char *const topics[] = {"elect",   "replicate", "commit", "read",     "propose",
                                         "save",    "member",    "limits", "transfer", "lease",
                                         "witness", "apart",     "drain",  "priority", "look",
                                         "start",   "snapshot"};
    char path[256];
    (void)state;
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        (void)snprintf(path, sizeof path, FOLDER "/%s", topics[i]);
        tell_topic(path);
    }
    tell_topic("docs/learn");
    assert_true(stories >= 50);
    assert_int_equal(failures, 0);
}

static void every_event_of_the_core_is_reached_by_some_story(void **state)
{
    static const uint16_t unreached[] = {
        KELP_EV_NONE,
    };
    (void)state;
    unsigned missing = 0;
    for (uint16_t type = 0; type < KELP_EVENT_COUNT; type++) {
        size_t i = 0, count = sizeof unreached / sizeof *unreached;
        while (i < count && unreached[i] != type)
            i++;
        if ((i < count) == (marks[type] == 0)) continue;
        missing++;
        print_error("%s is %s\n", kelp_event_name((enum kelp_event_type)type),
                    i < count ? "reached after all" : "reached by no story");
    }
    assert_int_equal(missing, 0);
}

/* ---- the interpreter ---- */

static struct scenario_report report;
static char told[65536];

static bool play(const char *text)
{
    struct buf out;
    buf_init(&out, sizeof told - 1);
    bool passed = scenario_play(bytes_of(text, strlen(text)), NULL, &out, &report);
    if (out.len > 0) memcpy(told, out.data, out.len);
    told[out.len] = '\0';
    buf_close(&out);
    return passed;
}

static void assert_fails(const char *text, const char *words)
{
    if (play(text)) fail_msg("passed, although: %s", words);
    if (strstr(report.failure, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", report.failure, words);
}

static void a_transcript_stands_below_its_commands(void **state)
{
    (void)state;
    assert_true(play("# A comment stays.\nnodes 2\n\nstate 1\n----\nold and wrong\n\nlog 2\n"));
    assert_string_equal(told, "# A comment stays.\nnodes 2\n----\nok\n\n"
                              "state 1\n----\n1 FOLLOWER t0 commit 0 applied 0 last 0@0\n\n"
                              "log 2\n----\n2 log empty\n");
}

static void a_played_text_plays_to_itself(void **state)
{
    static char before[sizeof told];
    (void)state;
    assert_true(play("nodes 3\nlog 1: 1..3@1 4@2\n\ntimeout 1\nrun 1s\n\nstate\n"));
    memcpy(before, told, sizeof told);
    assert_true(play(before));
    assert_string_equal(told, before);
}

static void a_different_transcript_is_a_failure(void **state)
{
    (void)state;
    char path[] = "/tmp/kelp-scenario-XXXXXX", line[256] = "";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    FILE *file = fdopen(descriptor, "wb");
    assert_non_null(file);
    fputs("nodes 1\n----\nok\n\nlog 1\n----\n1 log empty\n", file);
    assert_int_equal(fclose(file), 0);
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_int_equal(scenario_file(path, SCENARIO_CHECK, NULL, out, NULL), 1);
    rewind(out);
    bool minus = false, plus = false;
    while (fgets(line, sizeof line, out) != NULL) {
        minus = minus || strcmp(line, "-1 log empty\n") == 0;
        plus = plus || strcmp(line, "+1 log 1@1\n") == 0;
    }
    assert_true(minus && plus);
    assert_int_equal(scenario_file(path, SCENARIO_REWRITE, NULL, out, NULL), 0);
    assert_int_equal(scenario_file(path, SCENARIO_CHECK, NULL, out, NULL), 0);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(remove(path), 0);
}

static void a_file_that_is_not_there_is_wrong_usage(void **state)
{
    (void)state;
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_int_equal(scenario_file(FOLDER "/no such story.txt", SCENARIO_CHECK, NULL, out, NULL),
                     2);
    assert_int_equal(fclose(out), 0);
}

static void a_false_expectation_fails_and_the_story_goes_on(void **state)
{
    (void)state;
    assert_fails("nodes 3\nexpect 1 leader\nexpect 1 term 4\n", "line 2: node 1 is follower");
    assert_non_null(strstr(report.failure, "line 3: term is 0, not 4"));
    assert_fails("nodes 3\nexpect 1 saw ROLE_LEADER\n", "did not see ROLE_LEADER");
    assert_fails("nodes 3\ncampaign 1\nexpect 1 no ROLE_PRE_CANDIDATE\n", "saw ROLE_PRE_CANDIDATE");
    assert_fails("nodes 3\nlead 1\npropose 1 7\nexpect token 7 DONE\n", "token 7 is open");
    assert_fails("nodes 3\nlead 1\nexpect peer 1 2 match 9\n", "match is 1, not 9");
    assert_fails("nodes 3\ncampaign 1\nexpect inflight 0 1->2\n", "1 such messages");
    assert_fails("nodes 3\nexpect disk 1 last 3@1\n", "0@0, not 3@1");
    assert_fails("nodes 3\nlead 1\nexpect committed 2@1\n", "1@1, not 2@1");
}

static void words_that_make_no_sense_are_named_with_their_line(void **state)
{
    (void)state;
    assert_fails("nodes 3\n\nelect 1\n", "line 3: there is no command \"elect\"");
    assert_fails("nodes 0\n", "1 to 9 nodes");
    assert_fails("nodes 18446744073709551616\n", "too large");
    assert_fails("timeout 1\n", "no nodes");
    assert_fails("nodes 3\nlog 1: 2@1\n", "does not follow");
    assert_fails("nodes 3\nlog 1: 1@1x\n", "is no entry");
    assert_fails("nodes 3\noption 1: window=0\nstate\n", "window_messages_max");
    assert_fails("nodes 3\nstate 4\n", "there is no node 4");
    assert_fails("nodes 3\ndeliver 1->2\n", "no such message");
    assert_fails("nodes 3\ntick 1 5\n", "no span of time");
    assert_fails("nodes 3\nstate 1 2\n", "\"2\" makes no sense here");
    assert_fails("nodes 3\nforge 1->2 append t1 match 3\n", "\"match\" makes no sense here");
    assert_fails("nodes 3\nforge 1->2 append t1 prev 3@1 claims 4\n", "no entries can end with");
    assert_fails("nodes 3\ntry 1 found memory=1\n", "a store finds no memory=1");
    assert_fails("nodes 3\ntry 1 found config=none joint=0\n", "no configuration to change");
    assert_fails("nodes 3\ntry 1 members=x\n", "is no number");
    assert_fails("nodes 3\ninputs 1 loud\n", "shown or hidden?");
    assert_fails("nodes 3\ncrash 1\ntake 1\n", "node 1 is down");
    assert_fails("nodes 3\nfound 1 3@1 to 4@1\n", "node 1 looks nothing up");
    assert_fails("----\nok\n", "a transcript without commands");
}

static void two_leaders_of_one_term_break_an_invariant(void **state)
{
    (void)state;
    assert_fails("nodes 3\noption *: off=pre-vote\nquietly campaign 1\nquietly campaign 2\n"
                 "forge 3->1 vote t1 for t1 granted\nforge 3->2 vote t1 for t1 granted\n",
                 "line 6: INVARIANT nodes 1 and 2 both lead term 1");
}

static void a_commit_without_a_quorum_breaks_an_invariant(void **state)
{
    (void)state;
    assert_fails("nodes 3\nlead 1\npropose 1 7\nforge 3->1 answer t1 match 2\n",
                 "INVARIANT node 1 commits 2, no quorum has it on disk");
}

static void a_leader_without_a_committed_entry_breaks_an_invariant(void **state)
{
    (void)state;
    assert_fails("nodes 3\nlog 1,2: 1..2@1\nlog 3: 1@1\ncommit 1,2: 2\noption *: off=pre-vote\n"
                 "quietly campaign 3\nforge 1->3 vote t2 for t2 granted\n",
                 "INVARIANT node 3 leads term 2 without committed entry 2@1");
}

static void an_assertion_ends_the_story_and_not_the_process(void **state)
{
    (void)state;
    assert_fails("nodes 1\noption 1: answers=1\nquietly state\nshutdown 1\npropose 1 7 8 9\n",
                 "ASSERTION");
    assert_true(play("nodes 1\nstate\n"));
}

/* ---- one step at a time ---- */

/* What --step tells of a story; typed: what somebody types, NULL: nobody is there. */
static bool step_through(const char *text, char *typed)
{
    struct buf out;
    struct scenario_step step = {.out = fmemopen(told, sizeof told, "w")};
    assert_non_null(step.out);
    if (typed != NULL) step.in = fmemopen(typed, strlen(typed), "r");
    buf_init(&out, sizeof told - 1);
    bool passed = scenario_play(bytes_of(text, strlen(text)), &step, &out, &report);
    buf_close(&out);
    if (step.in != NULL) assert_int_equal(fclose(step.in), 0);
    assert_int_equal(fclose(step.out), 0);
    return passed;
}

static void steps_are_numbered_and_tell_what_changed(void **state)
{
    (void)state;
    assert_true(step_through("# A comment.\nnodes 2\n\ncampaign 1\nexpect 2 follower\n", NULL));
    assert_string_equal(told, "# A comment.\n[1] nodes 2\n\n[2] campaign 1\n"
                              "   0.000  1       ELECTION_TIMEOUT\n"
                              "   0.000  1       ROLE_PRE_CANDIDATE\n"
                              "   0.000  1 -> 2  pre-vote? t0 for t1 last 0@0\n"
                              "       =  1 PRE_CANDIDATE t0 commit 0 applied 0 last 0@0\n"
                              "[3] expect 2 follower\n       =  holds\n");
}

static void a_step_tells_what_does_not_hold(void **state)
{
    (void)state;
    assert_false(step_through("nodes 2\nexpect 1 leader\nstate 9\nstate 1\n", NULL));
    assert_string_equal(told, "[1] nodes 2\n[2] expect 1 leader\n"
                              "       !  line 2: node 1 is follower, not leader\n"
                              "[3] state 9\n       !  line 3: there is no node 9\n");
}

static void whoever_reads_along_sees_a_step_before_it_happens(void **state)
{
    (void)state;
    const char *story = "nodes 2\nstate 1\ncrash 1\nexpect 1 down\ncrash 2\n";
    char typed[] = "\ns\n\nq\n"; /* where he types, the terminal shows the end of a line */
    assert_true(step_through(story, typed));
    assert_string_equal(told, "Enter does the step you see, s shows all nodes, q ends.\n\n"
                              "[1] nodes 2\n"
                              "[2] state 1 1 FOLLOWER t0 commit 0 applied 0 last 0@0\n"
                              "[3] crash 1        =  1 FOLLOWER t0 commit 0 applied 0 last 0@0\n"
                              "       =  2 FOLLOWER t0 commit 0 applied 0 last 0@0\n"
                              "[3] crash 1        =  1 down\n"
                              "[4] expect 1 down\n       =  holds\n[5] crash 2 ");
    char closed[] = "\n\n";
    assert_true(step_through(story, closed));
    assert_non_null(strstr(told, "[5] crash 2 \n")); /* the input ended there */
    assert_null(strstr(told, "2 down"));
}

static int verb_status(const char *line)
{
    char copy[128], *words[8], *rest = NULL;
    int count = 0;
    (void)snprintf(copy, sizeof copy, "%s", line);
    for (char *at = strtok_r(copy, " ", &rest); at != NULL; at = strtok_r(NULL, " ", &rest))
        words[count++] = at;
    return scenario_verb(count, words, NULL);
}

static void wrong_words_are_usage_and_help_is_not(void **state)
{
    (void)state;
    assert_int_equal(verb_status("--help"), 0);
    assert_int_equal(verb_status(""), 2);
    assert_int_equal(verb_status("a.txt b.txt"), 2);
    assert_int_equal(verb_status("--fast a.txt"), 2);
    assert_int_equal(verb_status("--step --rewrite a.txt"), 2);
    assert_int_equal(verb_status("no-such-story.txt"), 2);
    assert_int_equal(verb_status(FOLDER), 2); /* a folder opens and cannot be read */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_story_is_told_as_its_file_says),
        cmocka_unit_test(every_event_of_the_core_is_reached_by_some_story),
        cmocka_unit_test(a_transcript_stands_below_its_commands),
        cmocka_unit_test(a_played_text_plays_to_itself),
        cmocka_unit_test(a_different_transcript_is_a_failure),
        cmocka_unit_test(a_file_that_is_not_there_is_wrong_usage),
        cmocka_unit_test(a_false_expectation_fails_and_the_story_goes_on),
        cmocka_unit_test(words_that_make_no_sense_are_named_with_their_line),
        cmocka_unit_test(two_leaders_of_one_term_break_an_invariant),
        cmocka_unit_test(a_commit_without_a_quorum_breaks_an_invariant),
        cmocka_unit_test(a_leader_without_a_committed_entry_breaks_an_invariant),
        cmocka_unit_test(an_assertion_ends_the_story_and_not_the_process),
        cmocka_unit_test(steps_are_numbered_and_tell_what_changed),
        cmocka_unit_test(a_step_tells_what_does_not_hold),
        cmocka_unit_test(whoever_reads_along_sees_a_step_before_it_happens),
        cmocka_unit_test(wrong_words_are_usage_and_help_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
