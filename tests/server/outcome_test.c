/* SPDX-License-Identifier: Apache-2.0 */
/* outcome_test.c - what clients are told: only an unknown outcome is uncertain, and every refusal
 * has its word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/outcome.h"

#define REASONS 52

/* The reply begins with these words. */
static void begins(enum kelp_outcome outcome, enum kelp_reason reason,
                   const struct outcome_place *place, const char *words)
{
    struct buf reply;
    buf_init(&reply, 4096);
    outcome_reply(&reply, outcome, reason, place);
    assert_int_equal(reply.error, KELP_OK);
    assert_true(reply.len >= strlen(words) + 2);
    assert_memory_equal(reply.data, words, strlen(words));
    assert_memory_equal(reply.data + reply.len - 2, "\r\n", 2);
    assert_null(memchr(reply.data, '\n', reply.len - 1));
    buf_close(&reply);
}

static void only_unknown_is_uncertain(void **state)
{
    (void)state;
    for (int reason = 0; reason < REASONS; reason++) {
        enum kelp_reason r = (enum kelp_reason)reason;
        assert_int_equal(outcome_code(KELP_UNKNOWN, r, true), OUTCOME_UNCERTAIN);
        assert_int_equal(outcome_http_status(OUTCOME_UNCERTAIN, r), 504);
        assert_int_not_equal(outcome_code(KELP_REFUSED, r, true), OUTCOME_UNCERTAIN);
        assert_int_equal(outcome_code(KELP_LOST, r, false), OUTCOME_TRYAGAIN);
    }
}

static void refusals_have_their_words(void **state)
{
    (void)state;
    const struct outcome_place nowhere = {0};
    begins(KELP_REFUSED, KELP_R_NO_LEADER, &nowhere, "-CLUSTERDOWN NO_LEADER");
    begins(KELP_REFUSED, KELP_R_NOT_STARTED, &nowhere, "-CLUSTERDOWN NOT_STARTED");
    begins(KELP_REFUSED, KELP_R_FAULTED, &nowhere, "-CLUSTERDOWN FAULTED");
    begins(KELP_REFUSED, KELP_R_BUSY, &nowhere, "-TRYAGAIN BUSY");
    begins(KELP_REFUSED, KELP_R_TRANSFERRING, &nowhere, "-TRYAGAIN TRANSFERRING");
    begins(KELP_REFUSED, KELP_R_PENDING, &nowhere, "-TRYAGAIN PENDING");
    begins(KELP_REFUSED, KELP_R_TIMEOUT, &nowhere, "-TRYAGAIN TIMEOUT");
    begins(KELP_REFUSED, KELP_R_SHUTDOWN, &nowhere, "-TRYAGAIN SHUTDOWN");
    begins(KELP_REFUSED, KELP_R_NO_SPACE, &nowhere, "-NOSPACE NO_SPACE");
    begins(KELP_REFUSED, KELP_R_TOO_LARGE, &nowhere, "-ERR TOO_LARGE");
    begins(KELP_LOST, KELP_R_OVERWRITTEN, &nowhere, "-TRYAGAIN OVERWRITTEN");
    begins(KELP_UNKNOWN, KELP_R_LEADERSHIP_LOST, &nowhere, "-UNCERTAIN LEADERSHIP_LOST");
    begins(KELP_UNKNOWN, KELP_R_TIMEOUT, &nowhere, "-UNCERTAIN TIMEOUT");
}

static void a_named_leader_is_told_with_the_slot(void **state)
{
    (void)state;
    const struct outcome_place place = {.slot = 12182, .leader = "node2.example:7001"};
    begins(KELP_REFUSED, KELP_R_NOT_LEADER, &place, "-MOVED 12182 node2.example:7001");
}

static void a_removed_node_says_so_and_where_to_go(void **state)
{
    (void)state;
    const struct outcome_place nowhere = {.slot = 12182};
    const struct outcome_place there = {.other = "node2.example:7001"};
    const struct outcome_place moved = {.slot = 12182, .leader = "node2.example:7001"};
    begins(KELP_REFUSED, KELP_R_REMOVED, &nowhere, "-CLUSTERDOWN REMOVED: this node was removed");
    begins(KELP_REFUSED, KELP_R_REMOVED, &there,
           "-CLUSTERDOWN REMOVED at=node2.example:7001: this node was removed");
    begins(KELP_REFUSED, KELP_R_REMOVED, &moved, "-MOVED 12182 node2.example:7001");
    assert_int_equal(outcome_http_status(OUTCOME_CLUSTERDOWN, KELP_R_REMOVED), 503);
}

static void a_leader_without_an_address_is_no_redirection(void **state)
{
    (void)state;
    const struct outcome_place nowhere = {.slot = 12182};
    begins(KELP_REFUSED, KELP_R_NOT_LEADER, &nowhere, "-TRYAGAIN NOT_LEADER");
}

static void loading_says_how_far(void **state)
{
    (void)state;
    struct outcome_place place = {.loaded_percent = 42};
    begins(KELP_REFUSED, KELP_R_LOADING, &place, "-LOADING 42%");
    struct buf reply; /* nothing more where it is not known how long it takes */
    buf_init(&reply, 4096);
    outcome_reply(&reply, KELP_REFUSED, KELP_R_LOADING, &place);
    assert_int_equal(reply.len, strlen("-LOADING 42%\r\n"));
    buf_close(&reply);
    place.loaded_left_ms = 2001;
    begins(KELP_REFUSED, KELP_R_LOADING, &place, "-LOADING 42%, 3 s left");
}

static void a_reason_of_a_newer_version_is_not_definite_about_why(void **state)
{
    (void)state;
    enum kelp_reason newer = (enum kelp_reason)1000;
    assert_int_equal(outcome_code(KELP_REFUSED, newer, false), OUTCOME_TRYAGAIN);
    assert_int_equal(outcome_code(KELP_UNKNOWN, newer, false), OUTCOME_UNCERTAIN);
}

static void http_statuses_follow_the_same_codes(void **state)
{
    (void)state;
    assert_int_equal(outcome_http_status(OUTCOME_MOVED, KELP_R_NOT_LEADER), 307);
    assert_int_equal(outcome_http_status(OUTCOME_CLUSTERDOWN, KELP_R_NO_LEADER), 503);
    assert_int_equal(outcome_http_status(OUTCOME_TRYAGAIN, KELP_R_BUSY), 503);
    assert_int_equal(outcome_http_status(OUTCOME_LOADING, KELP_R_LOADING), 503);
    assert_int_equal(outcome_http_status(OUTCOME_NOSPACE, KELP_R_NO_SPACE), 507);
    assert_int_equal(outcome_http_status(OUTCOME_ERR, KELP_R_TOO_LARGE), 413);
    assert_int_equal(outcome_http_status(OUTCOME_ERR, KELP_R_SELF), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_unknown_is_uncertain),
        cmocka_unit_test(refusals_have_their_words),
        cmocka_unit_test(a_named_leader_is_told_with_the_slot),
        cmocka_unit_test(a_removed_node_says_so_and_where_to_go),
        cmocka_unit_test(a_leader_without_an_address_is_no_redirection),
        cmocka_unit_test(loading_says_how_far),
        cmocka_unit_test(a_reason_of_a_newer_version_is_not_definite_about_why),
        cmocka_unit_test(http_statuses_follow_the_same_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
