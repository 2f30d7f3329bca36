/* SPDX-License-Identifier: Apache-2.0 */
/* leaderless_test.c - why nobody leads, in the words of `kelp status`. */
#include "cli/leaderless.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

#define NODES_MAX 5u

/* Nodes by id; "" does not answer. */
static struct leaderless why(const char *const lines[NODES_MAX])
{
    struct status_node nodes[NODES_MAX] = {0};
    struct leaderless found;
    for (size_t i = 0; i < NODES_MAX && lines[i] != NULL; i++) {
        if (lines[i][0] == '\0') continue;
        nodes[i].fields = status_parse(bytes_of(lines[i], strlen(lines[i])));
        assert_non_null(nodes[i].fields);
    }
    leaderless_find(nodes, NODES_MAX, &found);
    for (size_t i = 0; i < NODES_MAX; i++)
        status_forget(&nodes[i]);
    return found;
}

#define NODE(id, role, member, priority, log, more)                                                \
    "cluster_id:aa\nnode_id:" id "\nrole:" role "\nmember:" member "\npriority:" priority          \
    "\nhealth:ok\nlast_term:4\nlast_index:" log "\n" more
#define THREE     "voters:1,2,3\nwitnesses:\nconfig_latest:1\nleader_id:0\n"
#define A_WITNESS "voters:1,2\nwitnesses:3\nconfig_latest:1\nleader_id:0\n"

static void too_few_answer_and_who_is_missing_is_named(void **state)
{
    (void)state;
    const char *const one[NODES_MAX] = {NODE("1", "pre-candidate", "voter", "1", "9", THREE), "",
                                        ""};
    struct leaderless l = why(one);
    assert_true(l.so);
    assert_string_equal(l.words, "1 of 3 voters answers, 2 are needed; 1 of these must come back: "
                                 "node 2, node 3");
    assert_int_equal(l.voters, 3);
    assert_int_equal(l.answer, 1);
    assert_int_equal(l.needed, 2);
    assert_int_equal(l.missing_count, 2);
    json_t *json = leaderless_json(&l);
    assert_string_equal(json_string_value(json_object_get(json, "words")), l.words);
    assert_int_equal(json_integer_value(json_object_get(json, "needed")), 2);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(json, "missing"), 1)), 3);
    json_decref(json);
    const char *const two[NODES_MAX] = {
        NODE("1", "follower", "voter", "1", "9",
             "voters:1,2\nwitnesses:\nconfig_latest:1\nleader_id:0\n")};
    assert_string_equal(why(two).words,
                        "1 of 2 voters answers, 2 are needed; node 2 must come back");
    const char *const five[NODES_MAX] = {
        "", "",
        NODE("3", "follower", "voter", "1", "9",
             "voters:1,2,3,4\nwitnesses:\nconfig_latest:1\nleader_id:0\n")};
    assert_string_equal(why(five).words, "1 of 4 voters answers, 3 are needed; 2 of these must "
                                         "come back: node 1, node 2, node 4");
}

/* It is there, and takes no part. */
static void who_cannot_vote_does_not_count(void **state)
{
    (void)state;
    const char *const lines[NODES_MAX] = {
        NODE("1", "follower", "voter", "1", "9", THREE),
        NODE("2", "shutdown", "voter", "1", "9", THREE),
        "cluster_id:aa\nnode_id:3\nrole:follower\nmember:voter\nhealth:faulted\n"};
    assert_string_equal(why(lines).words, "1 of 3 voters answers, 2 are needed; 1 of these must "
                                          "come back: node 2, node 3");
    const char *const other[NODES_MAX] = {
        NODE("1", "follower", "voter", "1", "9", THREE), "",
        "cluster_id:bb\nnode_id:3\nrole:leader\nmember:voter\nhealth:ok\n"};
    assert_int_equal(why(other).answer, 1); /* founded anew, it is another cluster's leader */
}

static void the_newest_configuration_says_who_votes(void **state)
{
    (void)state;
    const char *const lines[NODES_MAX] = {
        NODE("1", "follower", "voter", "1", "9", "voters:1\nconfig_latest:1\nleader_id:0\n"),
        NODE("2", "follower", "voter", "1", "9", "voters:1,2,3\nconfig_latest:4\nleader_id:0\n"),
        ""};
    struct leaderless l = why(lines);
    assert_int_equal(l.voters, 3);
    assert_string_equal(l.words, "2 of 3 voters answer, 2 are needed; one of them should lead "
                                 "soon, if they reach each other");
}

static void a_witness_that_knows_of_newer_entries_lets_nobody_win(void **state)
{
    (void)state;
    const char *const behind[NODES_MAX] = {NODE("1", "follower", "voter", "1", "9", A_WITNESS), "",
                                           NODE("3", "follower", "witness", "1", "12", A_WITNESS)};
    assert_string_equal(why(behind).words,
                        "2 of 3 voters answer, 2 are needed, but none of them can win: node 3, a "
                        "witness, knows of newer entries than node 1; node 2 must come back");
    const char *const level[NODES_MAX] = {NODE("1", "follower", "voter", "1", "12", A_WITNESS), "",
                                          NODE("3", "follower", "witness", "1", "12", A_WITNESS)};
    assert_non_null(strstr(why(level).words, "should lead soon"));
}

static void where_nobody_may_lead_who_may_must_come_back(void **state)
{
    (void)state;
    const char *const lines[NODES_MAX] = {"", NODE("2", "follower", "voter", "0", "9", THREE),
                                          NODE("3", "follower", "voter", "0", "9", THREE)};
    assert_string_equal(why(lines).words,
                        "2 of 3 voters answer, 2 are needed, but none of them may lead (a witness, "
                        "or priority 0); node 1 must come back");
}

static void who_leads_or_is_heard_to_lead_is_no_riddle(void **state)
{
    (void)state;
    const char *const led[NODES_MAX] = {NODE("1", "leader", "voter", "1", "9", THREE), "", ""};
    assert_false(why(led).so);
    assert_string_equal(why(led).words, "");
    const char *const hears[NODES_MAX] = {
        NODE("1", "follower", "voter", "1", "9", "voters:1,2,3\nleader_id:2\n"), "", ""};
    assert_false(why(hears).so);
    assert_string_equal(why(hears).words, "node 1 hears node 2 lead, which does not answer here");
    const char *const heard_once[NODES_MAX] = {
        NODE("1", "follower", "voter", "1", "9", "voters:1,2\nwitnesses:3\nleader_id:0\n"), "",
        NODE("3", "follower", "witness", "1", "9",
             "voters:1,2\nwitnesses:3\nleader_id:2\nlast_contact_ms:7000\n")};
    assert_true(why(heard_once).so); /* it does not forget who led, yet */
    const char *const nobody[NODES_MAX] = {"", "", ""};
    assert_false(why(nobody).so);
    const char *const empty[NODES_MAX] = {"cluster_id:00\nnode_id:1\nrole:passive\nvoters:\n"};
    assert_string_equal(why(empty).words, ""); /* no cluster yet: it says so itself */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_few_answer_and_who_is_missing_is_named),
        cmocka_unit_test(who_cannot_vote_does_not_count),
        cmocka_unit_test(the_newest_configuration_says_who_votes),
        cmocka_unit_test(a_witness_that_knows_of_newer_entries_lets_nobody_win),
        cmocka_unit_test(where_nobody_may_lead_who_may_must_come_back),
        cmocka_unit_test(who_leads_or_is_heard_to_lead_is_no_riddle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
