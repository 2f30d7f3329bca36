/* SPDX-License-Identifier: Apache-2.0 */
/* config_test.c - the settings table: every default is legal, every rule has its error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "server/config.h"

static const struct setting *row_of(const char *key)
{
    const struct setting *row = settings_find(bytes_of(key, strlen(key)));
    assert_non_null(row);
    return row;
}

static void set(struct settings *s, const char *key, const char *value)
{
    char error[SETTINGS_ERROR_MAX];
    assert_true(settings_set(s, row_of(key), value, error));
}

/* Settings a server starts with. */
static struct settings sound(void)
{
    struct settings s;
    assert_true(settings_init(&s));
    set(&s, "id", "1");
    set(&s, "data", "somewhere");
    return s;
}

/* With this value the settings are refused, and the error says both words. */
static void refused(const char *key, const char *value, const char *word, const char *other)
{
    struct settings s = sound();
    char error[SETTINGS_ERROR_MAX] = "";
    set(&s, key, value);
    assert_false(settings_check(&s, error));
    if (strstr(error, word) == NULL) fail_msg("\"%s\" does not say %s", error, word);
    if (strstr(error, other) == NULL) fail_msg("\"%s\" does not say %s", error, other);
    settings_close(&s);
}

static void defaults_are_in_range_and_agree(void **state)
{
    (void)state;
    struct settings s = sound();
    char error[SETTINGS_ERROR_MAX];
    assert_true(settings_check(&s, error));
    assert_int_equal(s.heartbeat_ms, 100);
    assert_int_equal(s.election_ms, 1000);
    assert_int_equal(s.on_follower, ON_FOLLOWER_FORWARD);
    assert_int_equal(s.snapshot_log_bytes, 64 << 20);
    assert_int_equal(s.log_hold_bytes, 1 << 30);
    assert_int_equal(s.snapshot_send_bytes, 0); /* no limit */
    settings_close(&s);
}

static void every_value_is_written_as_it_can_be_read(void **state)
{
    (void)state;
    struct settings s = sound();
    for (size_t i = 0; i < settings_count; i++) {
        char text[4096], again[4096], error[SETTINGS_ERROR_MAX];
        (void)settings_value(&s, &settings_table[i], text, sizeof text);
        assert_true(settings_set(&s, &settings_table[i], text, error));
        (void)settings_value(&s, &settings_table[i], again, sizeof again);
        assert_string_equal(text, again);
    }
    settings_close(&s);
}

static void every_number_keeps_to_its_range(void **state)
{
    (void)state;
    struct settings s = sound();
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        char text[32], error[SETTINGS_ERROR_MAX];
        if (row->type != SETTING_NUMBER) continue;
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)row->low);
        assert_true(settings_set(&s, row, text, error));
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)row->high + 1);
        assert_false(settings_set(&s, row, text, error));
        assert_non_null(strstr(error, row->key));
        assert_non_null(strstr(error, text));
        if (row->low == 0) continue;
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)row->low - 1);
        assert_false(settings_set(&s, row, text, error));
    }
    settings_close(&s);
}

static void a_voter_is_not_removed_sooner_than_ten_elections(void **state)
{
    (void)state;
    struct settings s = sound();
    char error[SETTINGS_ERROR_MAX];
    set(&s, "election-ms", "1000");
    set(&s, "remove-unseen-s", "19");
    assert_false(settings_check(&s, error));
    assert_non_null(strstr(error, "remove-unseen-s"));
    assert_non_null(strstr(error, "19000"));
    set(&s, "remove-unseen-s", "20");
    assert_true(settings_check(&s, error));
    set(&s, "remove-unseen-s", "0");
    assert_true(settings_check(&s, error));
    settings_close(&s);
}

static void a_refused_value_leaves_the_old_one(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "-1", "1.5", "007", " 5", "99999999999999999999"};
    struct settings s = sound();
    char error[SETTINGS_ERROR_MAX];
    set(&s, "heartbeat-ms", "77");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(settings_set(&s, row_of("heartbeat-ms"), bad[i], error));
    assert_int_equal(s.heartbeat_ms, 77);
    set(&s, "on-follower", "moved");
    assert_false(settings_set(&s, row_of("on-follower"), "move", error));
    assert_non_null(strstr(error, "forward|moved"));
    assert_int_equal(s.on_follower, ON_FOLLOWER_MOVED);
    settings_close(&s);
}

static void keys_and_choices_may_be_in_any_case(void **state)
{
    (void)state;
    struct settings s = sound();
    set(&s, "ON-Follower", "MOVED");
    assert_int_equal(s.on_follower, ON_FOLLOWER_MOVED);
    assert_null(settings_find(BYTES_LITERAL("on-followers")));
    assert_null(settings_find(BYTES_LITERAL("")));
    settings_close(&s);
}

static void a_copy_is_independent(void **state)
{
    (void)state;
    struct settings s = sound(), copy;
    assert_true(settings_copy(&s, &copy));
    set(&copy, "data", "elsewhere");
    assert_string_equal(s.data, "somewhere");
    settings_close(&copy);
    settings_close(&s);
}

static void accepted(const char *key, const char *value, const char *more, const char *its_value)
{
    struct settings s = sound();
    char error[SETTINGS_ERROR_MAX];
    set(&s, key, value);
    set(&s, more, its_value);
    assert_true(settings_check(&s, error));
    settings_close(&s);
}

static void a_server_needs_an_id_and_a_directory(void **state)
{
    (void)state;
    struct settings s;
    char error[SETTINGS_ERROR_MAX], same[SETTINGS_ERROR_MAX];
    assert_true(settings_init(&s));
    set(&s, "data", "somewhere");
    assert_false(settings_check(&s, error)); /* not given */
    assert_non_null(strstr(error, "--id"));
    assert_false(settings_set(&s, row_of("id"), "0", same)); /* the same range either way */
    assert_non_null(strstr(same, "id 0: must be 1..9223372036854775807"));
    assert_memory_equal(error, same, strlen(same));
    settings_close(&s);
    refused("data", "", "data", "--data");
}

static void two_heartbeats_fit_an_election_timeout(void **state)
{
    (void)state;
    refused("heartbeat-ms", "501", "heartbeat-ms 501", "election-ms, which is 1000");
    accepted("heartbeat-ms", "500", "election-ms", "1000");
}

static void the_longest_election_timeout_is_above_the_shortest(void **state)
{
    (void)state;
    refused("election-max-ms", "1000", "election-ms 1000", "election-max-ms, which is 1000");
    accepted("election-max-ms", "1001", "election-ms", "1000");
}

/* A person must see which of the three numbers is the wrong one. */
static void a_lease_is_over_before_the_fastest_clock_lets_anybody_vote(void **state)
{
    (void)state;
    refused("lease-ms", "1000", "lease-ms 1000", "1000 / (1 + 1000 / 1000000) = 999");
    accepted("lease-ms", "999", "election-ms", "1000");
    refused("lease-ms", "1000", "election-ms / (1 + drift-ppm / 1000000)", "= 999");
}

static void an_entry_fits_every_buffer_it_goes_through(void **state)
{
    (void)state;
    refused("uncommitted-bytes", "10000000", "entry-bytes-max", "uncommitted-bytes");
    refused("cache-bytes", "10000000", "entry-bytes-max", "cache-bytes");
    refused("forward-bytes", "2000000", "entry-bytes-max", "forward-bytes");
    refused("unapplied-bytes", "2000000", "entry-bytes-max", "unapplied-bytes");
}

static void one_client_may_not_have_more_open_than_all(void **state)
{
    (void)state;
    refused("requests-max", "100", "client-requests-max 1024", "requests-max, which is 100");
}

static void a_wildcard_address_needs_an_advertised_one(void **state)
{
    (void)state;
    refused("client", "0.0.0.0:7001", "client 0.0.0.0:7001", "advertise-client");
    refused("peer", "[::]:7101", "peer [::]:7101", "advertise-peer");
    refused("advertise-http", "0.0.0.0:1", "advertise-http 0.0.0.0:1", "HOST:PORT");
    accepted("client", "0.0.0.0:7001", "advertise-client", "node1.example:7001");
}

static void an_address_is_host_and_port(void **state)
{
    (void)state;
    refused("client", "localhost", "client localhost", "HOST:PORT");
    refused("peer", "localhost:0", "peer localhost:0", "1..65535");
    refused("http", "localhost:65536", "http localhost:65536", "1..65535");
}

static void a_bootstrap_list_names_every_member_once_and_this_one(void **state)
{
    (void)state;
    refused("bootstrap", "2=a:1,3=b:1", "bootstrap 2=a:1,3=b:1", "id 1");
    refused("bootstrap", "1=a:1,1=b:1", "bootstrap", "1=b:1");
    refused("bootstrap", "1=a:1,2=a:1", "bootstrap", "2=a:1");
    refused("bootstrap", "0=a:1", "bootstrap", "0=a:1");
    refused("bootstrap", "1=a", "bootstrap", "1=a");
    refused("peer-at", "2=,", "peer-at", "2=");
}

static void clients_leave_descriptors_to_the_log_and_to_peers(void **state)
{
    (void)state;
    struct settings s;
    assert_true(settings_init(&s));
    s.connections_max = 10000;
    s.http_connections_max = 256;
    assert_int_equal(settings_clients_room(&s, UINT64_MAX), 10000);
    assert_int_equal(settings_clients_room(&s, 10640), 10000);
    assert_int_equal(settings_clients_room(&s, 10639), 9999);
    assert_int_equal(settings_clients_room(&s, 1024), 1024 - 640);
    for (uint64_t n = 0; n < 3000; n++) { /* somebody can always look, and never takes all */
        uint64_t room = settings_clients_room(&s, n);
        assert_true(room >= 1);
        if (n > 8) assert_true(room <= n / 8 || room + 640 <= n);
    }
    s.connections_max = 100;
    assert_int_equal(settings_clients_room(&s, 1024), 100);
    settings_close(&s);
}

static void a_join_list_has_addresses_and_no_bootstrap_beside_it(void **state)
{
    (void)state;
    refused("join", "a", "join a", "HOST:PORT");
    refused("join", "a:1,,b:2", "join ", "HOST:PORT");
    refused("join", "a:1,b:0", "join b:0", "HOST:PORT");
    char error[SETTINGS_ERROR_MAX];
    struct settings s;
    assert_true(settings_init(&s));
    assert_true(settings_set(&s, settings_find((struct kelp_bytes){(const uint8_t *)"data", 4}),
                             "d", error));
    assert_true(settings_set(&s, settings_find((struct kelp_bytes){(const uint8_t *)"join", 4}),
                             "a:1,[::1]:2", error));
    assert_false(settings_check(&s, error)); /* it has no id */
    const struct setting *id = settings_find((struct kelp_bytes){(const uint8_t *)"id", 2});
    char text[24];
    assert_true(settings_set(&s, id, "AUTO", error));
    assert_true(settings_check(&s, error));
    assert_int_equal(settings_value(&s, id, text, sizeof text), 4);
    assert_string_equal(text, "auto");
    assert_true(settings_set(&s, id, "4", error));
    assert_true(settings_set(
        &s, settings_find((struct kelp_bytes){(const uint8_t *)"bootstrap", 9}), "4=a:1", error));
    assert_false(settings_check(&s, error));
    assert_non_null(strstr(error, "without bootstrap"));
    settings_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_in_range_and_agree),
        cmocka_unit_test(every_value_is_written_as_it_can_be_read),
        cmocka_unit_test(every_number_keeps_to_its_range),
        cmocka_unit_test(a_voter_is_not_removed_sooner_than_ten_elections),
        cmocka_unit_test(a_refused_value_leaves_the_old_one),
        cmocka_unit_test(keys_and_choices_may_be_in_any_case),
        cmocka_unit_test(a_copy_is_independent),
        cmocka_unit_test(a_server_needs_an_id_and_a_directory),
        cmocka_unit_test(two_heartbeats_fit_an_election_timeout),
        cmocka_unit_test(the_longest_election_timeout_is_above_the_shortest),
        cmocka_unit_test(a_lease_is_over_before_the_fastest_clock_lets_anybody_vote),
        cmocka_unit_test(an_entry_fits_every_buffer_it_goes_through),
        cmocka_unit_test(one_client_may_not_have_more_open_than_all),
        cmocka_unit_test(a_wildcard_address_needs_an_advertised_one),
        cmocka_unit_test(an_address_is_host_and_port),
        cmocka_unit_test(a_bootstrap_list_names_every_member_once_and_this_one),
        cmocka_unit_test(clients_leave_descriptors_to_the_log_and_to_peers),
        cmocka_unit_test(a_join_list_has_addresses_and_no_bootstrap_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
