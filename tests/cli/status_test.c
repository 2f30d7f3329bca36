/* SPDX-License-Identifier: Apache-2.0 */
/* status_test.c - the lines of RAFT STATUS, and numbers and bytes as people and programs get
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "cli/status.h"

static struct status_node node_of(const char *lines)
{
    struct status_node node = {.fields = status_parse(bytes_of(lines, strlen(lines)))};
    assert_non_null(node.fields);
    return node;
}

static void a_line_is_a_name_and_everything_behind_its_first_colon(void **state)
{
    (void)state;
    struct status_node n = node_of("term:12\r\nleader_client:127.0.0.1:7001\nreason:\nno colon\n"
                                   "last:1");
    assert_int_equal(status_number(&n, "term"), 12);
    assert_string_equal(status_text(&n, "leader_client"), "127.0.0.1:7001");
    assert_string_equal(status_text(&n, "reason"), "");
    assert_int_equal(status_number(&n, "last"), 1);
    assert_string_equal(status_text(&n, "nowhere"), "");
    assert_int_equal(status_number(&n, "leader_client"), 0);
    assert_int_equal(json_object_size(n.fields), 4);
    status_forget(&n);
}

static void lines_of_peers_become_a_list(void **state)
{
    (void)state;
    struct status_node n = node_of("role:leader\npeer_2:role=voter,match=7,rtt_us=120\n"
                                   "peer_10:role=learner,match=3\n");
    json_t *peers = json_object_get(n.fields, "peers");
    assert_int_equal(json_array_size(peers), 2);
    json_t *first = json_array_get(peers, 0), *second = json_array_get(peers, 1);
    assert_string_equal(json_string_value(json_object_get(first, "id")), "2");
    assert_string_equal(json_string_value(json_object_get(first, "match")), "7");
    assert_string_equal(json_string_value(json_object_get(first, "rtt_us")), "120");
    assert_string_equal(json_string_value(json_object_get(second, "id")), "10");
    assert_string_equal(json_string_value(json_object_get(second, "role")), "learner");
    status_forget(&n);
}

static void json_has_numbers_where_they_are_exact_and_text_where_it_only_looks_so(void **state)
{
    (void)state;
    struct status_node nodes[2] = {0};
    (void)snprintf(nodes[0].client, sizeof nodes[0].client, "a:1");
    (void)snprintf(nodes[0].error, sizeof nodes[0].error, "Connection refused");
    nodes[1] = node_of("incarnation:1234567812345678\nterm:3\ncommit_index:9007199254740993\n"
                       "role:leader\nfirst_index:007\n");
    (void)snprintf(nodes[1].client, sizeof nodes[1].client, "b:2");
    json_t *top = status_json(nodes, 2);
    assert_string_equal(json_string_value(json_object_get(top, "incarnation")), "1234567812345678");
    assert_int_equal(json_integer_value(json_object_get(top, "term")), 3);
    assert_string_equal(json_string_value(json_object_get(top, "commit_index")),
                        "9007199254740993");
    assert_string_equal(json_string_value(json_object_get(top, "first_index")), "007");
    json_t *list = json_object_get(top, "nodes");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "error")),
                        "Connection refused");
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "client")),
                        "b:2");
    json_decref(top);
    status_forget(&nodes[1]);
}

static void who_asks_to_join_is_named_once_with_the_words_to_let_it_in(void **state)
{
    (void)state;
    struct status_node nodes[2] = {
        node_of("node_id:1\nrole:leader\nhealth:ok\ncluster_id:aa\n"
                "knock_4:address=h:7104,heard_ms=3\n"),
        node_of("node_id:4\nrole:passive\nhealth:ok\ncluster_id:0000\n"
                "knock_4:address=h:7104,heard_ms=900\nknock_auto:address=h:7105,heard_ms=1\n")};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    status_print(out, nodes, 2);
    assert_int_equal(fclose(out), 0);
    assert_null(strstr(text, "of another cluster")); /* it is of none */
    const char *behind = strstr(text, "node 4 at ");
    assert_non_null(behind);
    assert_string_equal(behind, "node 4 at h:7104 asks to join: kelp members add 4\n"
                                "a node at h:7105 asks to join: kelp members add auto h:7105\n");
    free(text);
    json_t *top = status_json(nodes, 2);
    json_t *knock = json_array_get(json_object_get(top, "knocking"), 0);
    assert_int_equal(json_integer_value(json_object_get(knock, "id")), 4);
    assert_string_equal(json_string_value(json_object_get(knock, "address")), "h:7104");
    json_decref(top);
    status_forget(&nodes[0]);
    status_forget(&nodes[1]);
}

static void a_row_says_who_is_drained_or_of_another_cluster(void **state)
{
    (void)state;
    struct status_node nodes[3] = {node_of("node_id:1\nrole:leader\nhealth:ok\ncluster_id:aa\n"),
                                   node_of("node_id:2\nrole:follower\nhealth:ok\ncluster_id:aa\n"
                                           "drained:yes\n"),
                                   node_of("node_id:3\nrole:leader\nhealth:ok\ncluster_id:bb\n")};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    status_print(out, nodes, 3);
    assert_int_equal(fclose(out), 0);
    const char *second = strstr(text, "2 follower"), *third = strstr(text, "3 leader");
    assert_non_null(second);
    assert_non_null(third);
    const char *drained = strstr(text, "drained:yes"), *other = strstr(text, "another cluster: bb");
    assert_true(drained > second && drained < third);
    assert_true(other > third);
    assert_null(strstr(other + 1, "another"));
    free(text);
    for (size_t i = 0; i < 3; i++)
        status_forget(&nodes[i]);
}

static void who_follows_without_being_a_voter_is_called_by_what_it_is(void **state)
{
    (void)state;
    struct status_node nodes[] = {node_of("node_id:1\nrole:leader\nmember:voter\nhealth:ok\n"),
                                  node_of("node_id:2\nrole:follower\nmember:voter\nhealth:ok\n"),
                                  node_of("node_id:3\nrole:follower\nmember:witness\nhealth:ok\n"),
                                  node_of("node_id:4\nrole:follower\nmember:learner\nhealth:ok\n"),
                                  node_of("node_id:5\nrole:follower\nmember:staging\nhealth:ok\n"),
                                  node_of("node_id:6\nrole:removed\nmember:none\nhealth:ok\n"),
                                  node_of("node_id:7\nrole:candidate\nmember:voter\nhealth:ok\n")};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    status_print(out, nodes, 7);
    assert_int_equal(fclose(out), 0);
    static const char *const rows[] = {" 1 leader ",  " 2 follower ", " 3 witness ",  " 4 learner ",
                                       " 5 staging ", " 6 removed ",  " 7 candidate "};
    for (size_t i = 0; i < 7; i++) {
        assert_non_null(strstr(text, rows[i]));
        status_forget(&nodes[i]);
    }
    free(text);
}

static void large_numbers_are_grouped(void **state)
{
    (void)state;
    char out[PRINT_NUMBER_MAX];
    assert_string_equal(print_thousands(0, out), "0");
    assert_string_equal(print_thousands(999, out), "999");
    assert_string_equal(print_thousands(1000, out), "1,000");
    assert_string_equal(print_thousands(10000, out), "10,000");
    assert_string_equal(print_thousands(UINT64_MAX, out), "18,446,744,073,709,551,615");
}

static void bytes_that_are_no_text_are_hex_in_json(void **state)
{
    (void)state;
    json_t *empty = print_json_bytes(bytes_of(NULL, 0));
    json_t *text = print_json_bytes(BYTES_LITERAL("a\0b"));
    json_t *bytes = print_json_bytes(BYTES_LITERAL("\xff\x01"));
    assert_string_equal(json_string_value(empty), "");
    assert_int_equal(json_string_length(text), 3);
    assert_string_equal(json_string_value(json_object_get(bytes, "hex")), "ff01");
    json_decref(empty);
    json_decref(text);
    json_decref(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_a_name_and_everything_behind_its_first_colon),
        cmocka_unit_test(lines_of_peers_become_a_list),
        cmocka_unit_test(json_has_numbers_where_they_are_exact_and_text_where_it_only_looks_so),
        cmocka_unit_test(who_asks_to_join_is_named_once_with_the_words_to_let_it_in),
        cmocka_unit_test(a_row_says_who_is_drained_or_of_another_cluster),
        cmocka_unit_test(who_follows_without_being_a_voter_is_called_by_what_it_is),
        cmocka_unit_test(large_numbers_are_grouped),
        cmocka_unit_test(bytes_that_are_no_text_are_hex_in_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
