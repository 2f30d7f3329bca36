/* SPDX-License-Identifier: Apache-2.0 */
/* describe_test.c - every struct as one line, exactly; cut to any size without harm. */
#include <string.h>

#include "fixture.h"

#define SAYS(describe, value, text)                                                                \
    do {                                                                                           \
        char line[256];                                                                            \
        assert_int_equal(describe((value), line, sizeof line), strlen(text));                      \
        assert_string_equal(line, text);                                                           \
    } while (0)

static void a_core_in_one_line(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1", .commit = 1, .term = 3);
    SAYS(kelp_describe, f->core, "1 FOLLOWER t3 commit 1 applied 0 last 2@1");
    receive(f, vote_of(f, 2, 4, "2@1"));
    SAYS(kelp_describe, f->core, "1 FOLLOWER t4 (saved t3) vote 2 commit 1 applied 0 last 2@1");
    append(f, .from = 2, .prev = "2@1", .entries = "3@4");
    SAYS(kelp_describe, f->core,
         "1 FOLLOWER t4 (saved t3) vote 2 leader 2 commit 1 applied 0 last 3@4 durable 2");
    fixture_close(f);
    f = leader(.base = "10@2", .log = "11@3", .commit = 11, .applied = 11);
    SAYS(kelp_describe, f->core, "1 LEADER t4 vote 1 commit 11 applied 11 last 12@4 first 11");
    fixture_close(f);
}

static void a_faulted_core_says_why(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .commit = 1);
    append(f, .term = 2, .entries = "1@2");
    SAYS(kelp_describe, f->core,
         "1 FOLLOWER t2 (saved t1) leader 2 commit 1 applied 0 last 1@1 FAULTED: a leader "
         "contradicts what is committed: ours 1@1, theirs 1@2");
    fixture_close(f);
}

static void a_message_in_one_line(void **state)
{
    (void)state;
    struct kelp_message m = {.from = 1, .to = 3, .term = {4}, .id = 17, .type = KELP_MSG_VOTE};
    m.vote.term.v = 4;
    m.vote.last = kelp_pos_of(6, 3);
    SAYS(kelp_describe_message, &m, "1 -> 3 vote? t4 for t4 last 6@3");
    m.flags = KELP_MF_PRE_VOTE | KELP_MF_TRANSFER;
    m.vote.term.v = 5;
    SAYS(kelp_describe_message, &m, "1 -> 3 pre-vote? t4 for t5 last 6@3 transfer");
    m.type = KELP_MSG_VOTE_ANSWER;
    m.flags = KELP_MF_PRE_VOTE | KELP_MF_GRANTED;
    SAYS(kelp_describe_message, &m, "1 -> 3 pre-vote t4 for t5 granted");
    m.flags = 0;
    SAYS(kelp_describe_message, &m, "1 -> 3 vote t4 for t5 refused");
    m = (struct kelp_message){.from = 1, .to = 3, .term = {4}, .type = KELP_MSG_APPEND, .round = 9};
    m.append.prev = kelp_pos_of(6, 4);
    m.append.last = 9;
    m.append.commit = 6;
    SAYS(kelp_describe_message, &m, "1 -> 3 append t4 prev 6@4 entries 7..9 commit 6 round 9");
    m.append.last = 6;
    m.round = 0;
    SAYS(kelp_describe_message, &m, "1 -> 3 append t4 prev 6@4 commit 6");
    m.type = KELP_MSG_HEARTBEAT;
    SAYS(kelp_describe_message, &m, "1 -> 3 heartbeat t4 commit 6");
    m = (struct kelp_message){.from = 3, .to = 1, .term = {4}, .type = KELP_MSG_ANSWER, .round = 2};
    m.answer.match = 5;
    SAYS(kelp_describe_message, &m, "3 -> 1 answer t4 match 5 round 2");
    m.flags = KELP_MF_REJECT;
    m.answer.refused = kelp_pos_of(6, 4);
    m.answer.hint = kelp_pos_of(2, 1);
    SAYS(kelp_describe_message, &m, "3 -> 1 answer t4 match 5 refused 6@4 hint 2@1 round 2");
    m = (struct kelp_message){.from = 1, .to = 3, .term = {4}, .type = KELP_MSG_TIMEOUT_NOW};
    m.timeout_now.required = 7;
    SAYS(kelp_describe_message, &m, "1 -> 3 timeout-now t4 required 7");
    m.flags = KELP_MF_FINAL;
    SAYS(kelp_describe_message, &m, "1 -> 3 timeout-now t4 required 7 final");
    m = (struct kelp_message){.from = 1, .to = 3, .term = {4}, .type = KELP_MSG_SNAPSHOT};
    m.snapshot.pos = kelp_pos_of(7, 3);
    m.round = 2;
    SAYS(kelp_describe_message, &m, "1 -> 3 snapshot t4 at 7@3 round 2");
}

static void an_input_in_one_line(void **state)
{
    (void)state;
    struct kelp_input in = {.type = KELP_IN_TICK};
    SAYS(kelp_describe_input, &in, "tick");
    struct kelp_message m = {.from = 1, .to = 3, .type = KELP_MSG_HEARTBEAT};
    in = (struct kelp_input){.type = KELP_IN_MESSAGE, .message = &m};
    SAYS(kelp_describe_input, &in, "1 -> 3 heartbeat t0 commit 0");
    in = (struct kelp_input){.type = KELP_IN_PROPOSE};
    in.propose.token = 9;
    in.propose.bytes = 300;
    SAYS(kelp_describe_input, &in, "propose token 9 300 bytes");
    in = (struct kelp_input){.type = KELP_IN_READ};
    in.read.token = 8;
    SAYS(kelp_describe_input, &in, "read token 8");
    in = (struct kelp_input){.type = KELP_IN_SAVED, .number = 41};
    SAYS(kelp_describe_input, &in, "saved 41");
    in = (struct kelp_input){.type = KELP_IN_APPLIED, .index = 7};
    SAYS(kelp_describe_input, &in, "applied 7");
    in = (struct kelp_input){.type = KELP_IN_FOUND};
    in.found.pos = kelp_pos_of(3, 2);
    in.found.last = kelp_pos_of(5, 2);
    in.found.bytes = 200;
    in.found.revision = 6;
    SAYS(kelp_describe_input, &in, "found 3@2 to 5@2 200 bytes revision 6");
    in.type = KELP_IN_GONE;
    SAYS(kelp_describe_input, &in, "gone 3@2 revision 6");
    in.type = KELP_IN_FAILED;
    SAYS(kelp_describe_input, &in, "failed 3@2 revision 6");
    in = (struct kelp_input){.type = KELP_IN_LINK, .peer = 2};
    SAYS(kelp_describe_input, &in, "link 2");
    in = (struct kelp_input){.type = KELP_IN_SNAPSHOT, .pos = kelp_pos_of(12, 1)};
    SAYS(kelp_describe_input, &in, "snapshot 12@1");
    in = (struct kelp_input){.type = KELP_IN_INSTALLED};
    in.installed.pos = kelp_pos_of(12, 4);
    SAYS(kelp_describe_input, &in, "installed 12@4");
    in.installed.term = (kelp_term){6};
    SAYS(kelp_describe_input, &in, "installed 12@4 committed in term 6");
    in = (struct kelp_input){.type = KELP_IN_SENDING, .peer = 3};
    SAYS(kelp_describe_input, &in, "3 fetches");
    in = (struct kelp_input){.type = KELP_IN_HEALTH};
    in.health.room = 100;
    in.health.health = 1;
    SAYS(kelp_describe_input, &in, "health 1 room 100 MiB");
    in = (struct kelp_input){.type = KELP_IN_CANCEL, .token = 5};
    SAYS(kelp_describe_input, &in, "cancel token 5");
    in.type = KELP_IN_FAULT;
    SAYS(kelp_describe_input, &in, "fault");
    in.type = KELP_IN_SHUTDOWN;
    SAYS(kelp_describe_input, &in, "shutdown");
    in.type = KELP_IN_CAMPAIGN;
    SAYS(kelp_describe_input, &in, "campaign");
    in = (struct kelp_input){.type = KELP_IN_TRANSFER};
    in.transfer.token = 9;
    SAYS(kelp_describe_input, &in, "transfer token 9");
    in.transfer.target = 3;
    SAYS(kelp_describe_input, &in, "transfer token 9 to 3");
}

static void a_save_in_one_line(void **state)
{
    (void)state;
    struct kelp_save save = {.number = 41, .flags = KELP_SAVE_VOTE, .term = {4}, .vote = 3};
    SAYS(kelp_describe_save, &save, "save 41: term 4 vote 3");
    save.flags = KELP_SAVE_TRUNCATE | KELP_SAVE_APPEND | KELP_SAVE_COMPACT;
    save.end = kelp_pos_of(6, 4);
    save.first = 7;
    save.last = 9;
    save.keep = 3;
    SAYS(kelp_describe_save, &save, "save 41: ends at 6@4 append 7..9 keep from 3");
    save.flags = KELP_SAVE_RESET;
    SAYS(kelp_describe_save, &save, "save 41: reset to 6@4");
}

static void an_answer_in_one_line(void **state)
{
    (void)state;
    struct kelp_answer answer = {.token = 9, .outcome = KELP_DONE, .pos = kelp_pos_of(7, 4)};
    SAYS(kelp_describe_answer, &answer, "token 9 DONE 7@4");
    answer = (struct kelp_answer){
        .token = 9, .outcome = KELP_REFUSED, .reason = KELP_R_NOT_LEADER, .leader = 2};
    SAYS(kelp_describe_answer, &answer, "token 9 REFUSED NOT_LEADER leader 2");
}

static void a_configuration_in_one_line(void **state)
{
    (void)state;
    struct kelp_config c = voters(3);
    c.members[2].role = KELP_LEARNER;
    c.index = 5;
    SAYS(kelp_describe_config, &c, "1v 2v 3L @5");
    c.joint = 1;
    c.members[0].role_old = KELP_VOTER;
    c.members[1].role = KELP_NONE;
    c.members[1].role_old = KELP_VOTER;
    SAYS(kelp_describe_config, &c, "1v/v 2-/v 3L @5");
    c = (struct kelp_config){0};
    SAYS(kelp_describe_config, &c, " @0");
}

static void an_event_in_one_line(void **state)
{
    (void)state;
    struct kelp_event event = {.type = KELP_EV_ROLE_LEADER, .pos = kelp_pos_of(2, 2)};
    SAYS(kelp_describe_event, &event, "ROLE_LEADER 2@2");
    event = (struct kelp_event){.type = KELP_EV_VOTE_REFUSED_VOTED, .peer = 3, .value = 2};
    SAYS(kelp_describe_event, &event, "VOTE_REFUSED_VOTED peer 3 2");
}

static void a_plan_in_one_line(void **state)
{
    (void)state;
    struct kelp_plan plan = {.index = 5, .leader = 1, .leader_next = 2, .way = KELP_PLAN_JOINT};
    plan.before = (struct kelp_plan_side){3, 2, 3, 1, 1, true};
    plan.after = (struct kelp_plan_side){4, 3, 2, 0, 1, false};
    SAYS(kelp_describe_plan, &plan,
         "joint @5 voters 3 live 3 spare 1 -> 4 live 2! spare 0, 1 leads, then 2");
    plan.warnings = KELP_PLAN_W_EVEN | KELP_PLAN_W_SILENT;
    plan.reason = KELP_R_QUORUM_AT_RISK;
    plan.member = 3;
    SAYS(kelp_describe_plan, &plan,
         "joint @5 voters 3 live 3 spare 1 -> 4 live 2! spare 0, 1 leads, then 2 EVEN SILENT, "
         "forced QUORUM_AT_RISK 3");
}

static void a_line_that_does_not_fit_is_cut_and_says_how_long_it_is(void **state)
{
    (void)state;
    struct kelp_message m = {.from = 1, .to = 3, .term = {4}, .type = KELP_MSG_VOTE};
    char whole[128], part[128];
    size_t need = kelp_describe_message(&m, whole, sizeof whole);
    assert_int_equal(kelp_describe_message(&m, NULL, 0), need);
    for (size_t size = 1; size <= need + 1; size++) {
        memset(part, 'x', sizeof part);
        assert_int_equal(kelp_describe_message(&m, part, size), need);
        assert_int_equal(strlen(part), size - 1);
        assert_memory_equal(part, whole, size - 1);
        assert_int_equal(part[size], 'x');
    }
}

static void unknown_values_are_described_without_harm(void **state)
{
    (void)state;
    char line[256];
    struct kelp_message m = {.type = 200, .flags = 0xff, .term = {UINT64_MAX}};
    assert_true(kelp_describe_message(&m, line, sizeof line) > 0);
    struct kelp_event event = {.type = 60000};
    assert_true(kelp_describe_event(&event, line, sizeof line) > 0);
    struct kelp_answer answer = {.outcome = (enum kelp_outcome)99, .reason = (enum kelp_reason)99};
    assert_true(kelp_describe_answer(&answer, line, sizeof line) > 0);
    struct kelp_config c = voters(2);
    c.members[0].role = 255;
    assert_true(kelp_describe_config(&c, line, sizeof line) > 0);
    struct kelp_plan plan = {.way = 99, .warnings = UINT32_MAX};
    assert_true(kelp_describe_plan(&plan, line, sizeof line) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_core_in_one_line),
        cmocka_unit_test(a_faulted_core_says_why),
        cmocka_unit_test(a_message_in_one_line),
        cmocka_unit_test(an_input_in_one_line),
        cmocka_unit_test(a_save_in_one_line),
        cmocka_unit_test(an_answer_in_one_line),
        cmocka_unit_test(a_configuration_in_one_line),
        cmocka_unit_test(an_event_in_one_line),
        cmocka_unit_test(a_plan_in_one_line),
        cmocka_unit_test(a_line_that_does_not_fit_is_cut_and_says_how_long_it_is),
        cmocka_unit_test(unknown_values_are_described_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
