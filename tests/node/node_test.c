/* SPDX-License-Identifier: Apache-2.0 */
/* node_test.c - a node on the test's own loop, as the server has it: lines, metrics, JSON,
 * stopping. */
#include "node/stage.h"

#include <jansson.h>

#include "base/buf.h"
#include "node/node.h"

#define LATE_NS (UINT64_C(20) * 1000 * 1000 * 1000)

static char directory[64], peer[32], bootstrap[64];
static uv_loop_t loop;
static uv_timer_t tick;
static struct node *node;
static bool stopped;
static unsigned done, ended;

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

#define WAIT(condition)                                                                            \
    do {                                                                                           \
        uint64_t since = uv_hrtime();                                                              \
        while (!(condition)) {                                                                     \
            (void)uv_run(&loop, UV_RUN_ONCE);                                                      \
            if (uv_hrtime() - since > LATE_NS) fail_msg("never: %s", #condition);                  \
        }                                                                                          \
    } while (0)

static void on_stopped(void *ctx)
{
    (void)ctx;
    stopped = true;
}

static int stage_make(void **state)
{
    (void)state;
    stage_directory(directory);
    (void)snprintf(peer, sizeof peer, "127.0.0.1:%u", stage_port());
    (void)snprintf(bootstrap, sizeof bootstrap, "1=%s", peer);
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 20, 20);
    struct kelp_node_options o = stage_options(1, directory);
    struct kelp_fault fault = {.error = KELP_OK};
    o.peer = peer;
    o.bootstrap = bootstrap;
    stopped = false;
    done = ended = 0;
    if (node_open(&loop, &o, &adder_ops, calloc(1, sizeof(struct adder)), &node, &fault) != KELP_OK)
        fail_msg("%s", fault.what);
    return 0;
}

static int stage_unmake(void **state)
{
    (void)state;
    if (!stopped) {
        node_stop(node, on_stopped, NULL);
        WAIT(stopped);
    }
    node_free(node);
    uv_close((uv_handle_t *)&tick, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0); /* the node left nothing on it */
    stage_remove(directory);
    return 0;
}

static void on_outcome(void *ctx, uint64_t token, const struct driver_outcome *outcome)
{
    (void)ctx, (void)token;
    ended++;
    done += outcome->outcome == KELP_DONE;
}

static void submit(struct driver_line *line, uint64_t token)
{
    enum kelp_reason reason;
    uint8_t *room = driver_reserve(node_driver(node), 8, &reason);
    assert_non_null(room);
    put_u64(room, token);
    kelp_ns now = node_now(node);
    driver_write(node_driver(node), now, line, token, 8, bytes_of(NULL, 0),
                 now + UINT64_C(5000000000), true);
    node_poke(node);
}

static bool leads(void)
{
    struct driver_status status;
    driver_status(node_driver(node), &status);
    return status.view.role == KELP_LEADER && status.view.committed_own_term;
}

static bool page_has(const struct buf *page, const char *line)
{
    return memmem(page->data, page->len, line, strlen(line)) != NULL;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void metrics_count_what_happened(void **state)
{
    (void)state;
    struct driver_line *line = driver_line_open(node_driver(node), on_outcome, NULL);
    struct buf page;
    buf_init(&page, 1 << 20);
    WAIT(leads());
    for (uint64_t token = 1; token <= 20; token++)
        submit(line, token);
    WAIT(done == 20);
    assert_int_equal(node_metrics(node, &page), KELP_OK);
    assert_true(page_has(&page, "\nkelp_role{role=\"leader\"} 1\n"));
    assert_true(page_has(&page, "\nkelp_requests_total{outcome=\"done\"} 20\n"));
    assert_true(page_has(&page, "\n# TYPE kelp_log_sync_seconds histogram\n"));
    assert_true(page_has(&page, "\nkelp_commit_seconds_count 20\n"));
    assert_true(page_has(&page, "\nkelp_elections_won_total 1\n"));
    assert_true(page_has(&page, "kelp_commit_seconds_bucket{le=\"+Inf\"} 20\n"));
    const struct node_histograms *h = node_histograms(node);
    assert_true(h->sync_ns.count > 0 && h->append_ns.count > 0 && h->apply_ns.count > 0);
    buf_close(&page);
}

static void every_line_of_the_metrics_has_a_type_before_it(void **state)
{
    (void)state;
    struct buf page;
    char last[64] = "";
    buf_init(&page, 1 << 20);
    assert_int_equal(node_metrics(node, &page), KELP_OK);
    assert_int_equal(buf_append(&page, bytes_of("", 1)), KELP_OK);
    char *rest = NULL;
    for (char *line = strtok_r((char *)page.data, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "# TYPE ", 7) == 0)
            (void)sscanf(line, "# TYPE %63s", last);
        else if (line[0] != '#')
            assert_int_equal(strncmp(line, last, strlen(last)), 0);
    }
    buf_close(&page);
}

static void status_is_the_same_in_json(void **state)
{
    (void)state;
    WAIT(leads());
    char *text = node_status_json(node);
    assert_non_null(text);
    json_t *whole = json_loads(text, 0, NULL);
    assert_non_null(whole);
    assert_string_equal(json_string_value(json_object_get(whole, "role")), "leader");
    assert_string_equal(json_string_value(json_object_get(whole, "voters")), "1");
    assert_int_equal(json_integer_value(json_object_get(whole, "node_id")), 1);
    assert_true(json_is_array(json_object_get(whole, "peers")));
    char lines[8192], *rest = NULL;
    (void)node_status_lines(node, lines, sizeof lines);
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        line[strcspn(line, ":")] = '\0';
        if (json_object_get(whole, line) == NULL) fail_msg("no %s in %s", line, text);
    }
    json_decref(whole);
    free(text);
    const char *words = NULL;
    assert_int_equal(node_exit_status(node, &words), 0);
    assert_string_equal(words, "");
}

static void stopping_lets_what_is_open_end_well(void **state)
{
    (void)state;
    struct driver_line *line = driver_line_open(node_driver(node), on_outcome, NULL);
    WAIT(leads());
    for (uint64_t token = 1; token <= 100; token++)
        submit(line, token);
    node_stop(node, on_stopped, NULL);
    WAIT(stopped);
    assert_int_equal(ended, 100);
    assert_int_equal(done, 100);
}

static void an_idle_node_lets_the_loop_sleep(void **state)
{
    (void)state;
    WAIT(leads());
    uint64_t begun = uv_hrtime();
    unsigned turns = 0;
    while (uv_hrtime() - begun < UINT64_C(500000000)) {
        (void)uv_run(&loop, UV_RUN_ONCE);
        turns++;
    }
    /* The test's own tick wakes it 25 times, heartbeats and spares as often again, a spin a million
     * times. */
    assert_true(turns < 400);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_make, stage_unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(metrics_count_what_happened),
        TEST(every_line_of_the_metrics_has_a_type_before_it),
        TEST(status_is_the_same_in_json),
        TEST(stopping_lets_what_is_open_end_well),
        TEST(an_idle_node_lets_the_loop_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
