/* SPDX-License-Identifier: Apache-2.0 */
/* plan_test.c - a plan in words, for people and for programs. */
#include "server/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "driver/driver.h"

static char text[PLAN_TEXT_MAX];

/* 1 leads 2 and 3; 3 does not answer. */
static struct kelp_plan sample(void)
{
    struct kelp_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.index = 7;
    plan.leader = plan.leader_next = 1;
    plan.before = (struct kelp_plan_side){3, 2, 2, 0, 1, true};
    plan.count = 3;
    for (uint8_t i = 0; i < 3; i++)
        plan.members[i] = (struct kelp_plan_member){
            .id = i + 1u, KELP_VOTER, KELP_VOTER, i < 2 ? KELP_PLAN_ANSWERS : 0};
    plan.members[0].flags |= KELP_PLAN_LEADS | KELP_PLAN_WILL_LEAD;
    return plan;
}

static void a_refused_stop_says_what_to_do_instead(void **state)
{
    struct kelp_plan plan = sample();
    (void)state;
    plan.way = KELP_PLAN_STOP;
    plan.reason = KELP_R_QUORUM_AT_RISK;
    plan.member = 2;
    plan.refused = plan.forcible = true;
    plan.after = (struct kelp_plan_side){3, 2, 1, 0, 1, false};
    plan.members[1].flags |= KELP_PLAN_STOPS;
    plan.warnings = KELP_PLAN_W_SILENT;
    (void)plan_words(&plan, text, sizeof text);
    assert_string_equal(
        text, "no: QUORUM_AT_RISK node=2: fewer voters would answer than a quorum; bring nodes "
              "back first, or use FORCE\n"
              "voters now: 1 2 3 (2 decide, 2 answer; 0 more may fail, 1 of all)\n"
              "voters left: 1 3 (2 decide, 1 answers; too few: nothing is written or read)\n"
              "what it does: node 2 votes no more until it is back\n"
              "leader: 1, as now\n"
              "instead: start what does not answer, then ask again: 3\n"
              "warning: a voter that stays does not answer: 3\n");
    plan.refused = false;
    (void)plan_words(&plan, text, sizeof text);
    assert_int_equal(strncmp(text, "yes, by force: QUORUM_AT_RISK", 29), 0);
    for (int i = 0; i < 3; i++)
        plan.members[i].flags |= KELP_PLAN_ANSWERS;
    (void)plan_words(&plan, text, sizeof text);
    assert_non_null(strstr(text, "instead: add a voter first, so that 3 are not all that is"));
}

/* A witness is a vote like any other, and is started like any other. */
static void a_witness_is_counted_where_votes_are(void **state)
{
    struct kelp_plan plan = sample();
    (void)state;
    plan.way = KELP_PLAN_STOP;
    plan.after = (struct kelp_plan_side){3, 2, 2, 0, 1, true};
    for (int i = 0; i < 3; i++)
        plan.members[i].flags |= KELP_PLAN_ANSWERS;
    plan.members[2].before = plan.members[2].after = KELP_WITNESS;
    plan.members[2].flags |= KELP_PLAN_STOPS;
    (void)plan_words(&plan, text, sizeof text);
    assert_string_equal(text, "yes: nothing speaks against it\n"
                              "voters now: 1 2 3 (2 decide, 2 answer; 0 more may fail, 1 of all)\n"
                              "voters left: 1 2 (2 decide, 2 answer; 0 more may fail, 1 of all)\n"
                              "what it does: node 3 votes no more until it is back\n"
                              "leader: 1, as now\n");
    plan.reason = KELP_R_QUORUM_AT_RISK;
    plan.member = 2;
    plan.refused = plan.forcible = true;
    plan.members[2].flags = 0; /* the witness is silent, 2 is to stop */
    plan.members[1].flags |= KELP_PLAN_STOPS;
    plan.warnings = KELP_PLAN_W_SILENT;
    (void)plan_words(&plan, text, sizeof text);
    assert_non_null(strstr(text, "instead: start what does not answer, then ask again: 3\n"));
    assert_non_null(strstr(text, "warning: a voter that stays does not answer: 3\n"));
}

static void a_change_says_how_it_is_made_and_who_catches_up(void **state)
{
    struct kelp_plan plan = sample();
    (void)state;
    plan.way = KELP_PLAN_JOINT;
    plan.entries = 3;
    plan.leader_next = 3;
    plan.after = (struct kelp_plan_side){2, 2, 2, 0, 0, true};
    plan.members[0].after = KELP_NONE;
    plan.members[1].before = KELP_LEARNER;
    plan.members[1].flags |= KELP_PLAN_CATCHES_UP;
    plan.warnings = KELP_PLAN_W_EVEN;
    (void)plan_words(&plan, text, sizeof text);
    assert_string_equal(
        text, "yes: nothing speaks against it\n"
              "voters now: 1 3 (2 decide, 2 answer; 0 more may fail, 1 of all)\n"
              "voters then: 2 3 (2 decide, 2 answer; 0 more may fail, 0 of all)\n"
              "how: both sets of voters decide together for a moment, 3 entries of the log\n"
              "first these catch up, then they vote: 2\n"
              "these leave, and their ids are never given again: 1\n"
              "leader: 1 now, then probably 3\n"
              "warning: an even number of voters tolerates no more failures than one fewer\n"
              "made of the configuration at 7: with IF 7 the change is made of no other\n");
}

static void a_program_reads_pairs(void **state)
{
    struct kelp_plan plan = sample();
    char line[PLAN_LINE_MAX];
    (void)state;
    plan.warnings = KELP_PLAN_W_NO_SPARE | KELP_PLAN_W_EVEN;
    plan.after = plan.before;
    (void)plan_line(&plan, line, sizeof line);
    assert_string_equal(line,
                        "may:yes reason:NONE forcible:no index:7 way:nothing entries:0 leader:1 "
                        "leader_next:1 voters_before:3 quorum_before:2 live_before:2 "
                        "spare_before:0 tolerates_before:1 works_before:yes voters_after:3 "
                        "quorum_after:2 live_after:2 spare_after:0 tolerates_after:1 "
                        "works_after:yes warnings:NO_SPARE,EVEN");
    (void)plan_member_line(&plan.members[0], line, sizeof line);
    assert_string_equal(line, "id:1 before:voter after:voter answers:yes catches_up:no leads:yes "
                              "will_lead:yes stops:no");
}

/* The longest that can come, also from a leader that makes no sense. */
static void the_longest_plan_fits(void **state)
{
    struct kelp_plan plan;
    char line[PLAN_LINE_MAX];
    (void)state;
    memset(&plan, 0xff, sizeof plan);
    plan.reason = KELP_R_QUORUM_AT_RISK;
    plan.forcible = plan.refused = plan.before.works = plan.after.works = true;
    plan.way = KELP_PLAN_JOINT;
    plan.count = KELP_MEMBERS_MAX;
    for (uint32_t i = 0; i < plan.count; i++)
        plan.members[i] = (struct kelp_plan_member){
            .id = UINT64_MAX - plan.count + i, KELP_VOTER, KELP_VOTER, KELP_PLAN_CATCHES_UP};
    assert_true(plan_line(&plan, line, sizeof line) < sizeof line - 1);
    assert_true(plan_member_line(&plan.members[0], line, sizeof line) < sizeof line - 1);
    assert_true(plan_words(&plan, text, sizeof text) < sizeof text - 1);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void what_is_no_plan_is_answered_with_an_error(void **state)
{
    struct buf reply;
    (void)state;
    buf_init(&reply, PLAN_TEXT_MAX);
    plan_reply(&reply, (struct kelp_bytes){(const uint8_t *)"nonsense", 8});
    assert_true(reply.len > 4);
    assert_memory_equal(reply.data, "-ERR", 4);
    buf_close(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_stop_says_what_to_do_instead),
        cmocka_unit_test(a_witness_is_counted_where_votes_are),
        cmocka_unit_test(a_change_says_how_it_is_made_and_who_catches_up),
        cmocka_unit_test(a_program_reads_pairs),
        cmocka_unit_test(the_longest_plan_fits),
        cmocka_unit_test(what_is_no_plan_is_answered_with_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
