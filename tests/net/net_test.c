/* SPDX-License-Identifier: Apache-2.0 */
/* net_test.c - two transports on one loop over loopback, and strangers that are plain sockets.
 *
 * Nothing sleeps: every test runs the loop until what it waits for has happened, and fails after a
 * while. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/min.h"
#include "net/room.h"

#define LATE_NS    (UINT64_C(20) * 1000 * 1000 * 1000)
#define FRAMES_MAX 4096u

struct side {
    struct net *net;
    struct wire_judge judge;
    char listen[32];
    unsigned ups, downs, refusals, notes;
    struct wire_refuse refuse;
    struct wire_hello hello;
    uint64_t accepted; /* number of the last accepted connection */
    kelp_id from;
    char note[512];
    size_t lengths[FRAMES_MAX];
    size_t frames, bytes;
    uint64_t connection; /* the last frame came on it */
    bool wrong, refuse_frames, closed;
    uint64_t next; /* for random */
};

static uv_loop_t loop;
static uv_timer_t tick;
static struct side a, b;
static uint8_t *pattern;
#define PATTERN_BYTES (21u * 1024 * 1024)

/* ---- the owner ------------------------------------------------------------------------------- */

static void own_hello(void *ctx, struct wire_hello *out)
{
    const struct side *s = ctx;
    out->version_min = out->version_max = WIRE_PROTOCOL_VERSION;
    out->cluster = s->judge.cluster;
    out->node = s->judge.self;
    out->incarnation = s->judge.incarnation;
    (void)snprintf(out->peer.text, sizeof out->peer.text, "%s", s->listen);
}

static enum wire_refusal own_judge(void *ctx, const struct wire_hello *theirs, kelp_id expected,
                                   struct wire_refuse *out)
{
    struct side *s = ctx;
    struct wire_judge judge = s->judge;
    judge.expected = expected;
    return wire_hello_judge(&judge, theirs, out);
}

static void own_refused(void *ctx, kelp_id peer, const struct wire_refuse *refuse)
{
    struct side *s = ctx;
    s->refusals++;
    s->from = peer;
    s->refuse = *refuse;
}

static void own_up(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection, bool dialled,
                   const struct wire_hello *hello)
{
    struct side *s = ctx;
    (void)lane;
    s->ups++;
    s->from = peer;
    s->hello = *hello;
    if (!dialled && lane == KELP_LANE_ENTRIES) s->accepted = connection;
}

static void own_down(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection,
                     bool dialled)
{
    struct side *s = ctx;
    (void)peer, (void)lane, (void)connection, (void)dialled;
    s->downs++;
}

static enum kelp_error own_frame(void *ctx, kelp_id peer, enum kelp_lane lane, uint64_t connection,
                                 const struct wire_frame *frame, struct kelp_fault *fault)
{
    struct side *s = ctx;
    (void)peer, (void)lane;
    if (s->refuse_frames)
        return fault_set(fault, KELP_E_MALFORMED, NULL, "the owner dislikes this frame");
    if (frame->body.len > 0 && memcmp(frame->body.data, pattern, frame->body.len) != 0)
        s->wrong = true;
    if (s->frames < FRAMES_MAX) s->lengths[s->frames] = frame->body.len;
    s->frames++;
    s->bytes += frame->body.len;
    s->connection = connection;
    return KELP_OK;
}

static void own_note(void *ctx, enum kelp_level level, const char *line)
{
    struct side *s = ctx;
    if (level > KELP_WARN) return;
    s->notes++;
    (void)snprintf(s->note, sizeof s->note, "%s", line);
}

static uint64_t own_random(void *ctx)
{
    struct side *s = ctx;
    s->next += 0x9e3779b97f4a7c15u;
    return s->next * 0xd6e8feb86659fd93u;
}

/* ---- the stage ------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* wakes the loop so that a wait can look at its clock */
}

#define WAIT(condition)                                                                            \
    do {                                                                                           \
        uint64_t since = uv_hrtime();                                                              \
        while (!(condition)) {                                                                     \
            (void)uv_run(&loop, UV_RUN_ONCE);                                                      \
            if (uv_hrtime() - since > LATE_NS) fail_msg("never: %s", #condition);                  \
        }                                                                                          \
    } while (0)

static unsigned free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static struct net_options options_of(const struct side *s)
{
    return (struct net_options){
        .loop = &loop,
        .listen = s->listen,
        .source = "127.0.0.1",
        .dial_min = 5000000,
        .dial_max = 50000000,
        .user_timeout = UINT64_C(4000000000),
        .lane_bytes_max = {1 << 20, 48 << 20, 32 << 20},
        .accepted_max = 16,
    };
}

static void side_open_with(struct side *s, const struct net_options *options)
{
    struct net_owner owner = {s,        own_hello, own_judge, own_refused, own_up,
                              own_down, own_frame, own_note,  own_random};
    struct kelp_fault fault = {.error = KELP_OK};
    if (net_open(options, &owner, &s->net, &fault) != KELP_OK) fail_msg("%s", fault.what);
    s->closed = false;
}

static void side_open(struct side *s)
{
    struct net_options options = options_of(s);
    side_open_with(s, &options);
}

static void on_side_closed(void *ctx)
{
    struct side *s = ctx;
    s->closed = true;
}

static void side_close(struct side *s)
{
    if (s->net == NULL) return;
    net_close(s->net, on_side_closed, s);
    WAIT(s->closed);
    s->net = NULL;
}

static void side_make(struct side *s, kelp_id id)
{
    memset(s, 0, sizeof *s);
    s->judge = (struct wire_judge){.cluster = {1, 2}, .self = id, .incarnation = id * 100};
    s->next = id << 32;
    (void)snprintf(s->listen, sizeof s->listen, "127.0.0.1:%u", free_port());
}

static int stage_make(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 20, 20);
    side_make(&a, 1);
    side_make(&b, 2);
    side_open(&a);
    side_open(&b);
    return 0;
}

static int stage_unmake(void **state)
{
    (void)state;
    side_close(&a);
    side_close(&b);
    uv_close((uv_handle_t *)&tick, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0); /* nothing of ours is left on it */
    return 0;
}

static void meet(void)
{
    net_dial(a.net, 2, b.listen);
    WAIT(a.ups == 3 && b.ups == 3);
}

static enum kelp_error send_on(struct side *s, kelp_id to, enum kelp_lane lane, uint64_t connection,
                               size_t len, size_t pieces)
{
    uint8_t head[WIRE_FRAME_HEAD];
    struct kelp_bytes *parts = calloc(pieces + 1, sizeof *parts);
    size_t at = 0;
    for (size_t i = 0; i < pieces; i++) {
        size_t piece = i + 1 < pieces ? len / pieces : len - at;
        parts[i + 1] = bytes_of(pattern + at, piece);
        at += piece;
    }
    wire_frame_head(head, WIRE_MESSAGE, 0, parts + 1, pieces);
    parts[0] = bytes_of(head, sizeof head);
    enum kelp_error error = net_peers_ops.send(s->net, 0, to, lane, connection, parts, pieces + 1);
    net_peers_ops.flush(s->net); /* head and parts are borrowed until now */
    free(parts);
    return error;
}

/* A stranger: a blocking socket that talks to a's port. */
static int knock(const void *bytes, size_t len)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(a.listen, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    return fd;
}

/* The other end has closed: bytes may come before, then the end or a reset. */
static bool ended(int fd)
{
    uint8_t bytes[4096];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

static size_t hello_frame(uint8_t *out, struct wire_hello hello)
{
    hello.version_min = hello.version_max = WIRE_PROTOCOL_VERSION;
    struct kelp_bytes body = {out + WIRE_FRAME_HEAD, 0};
    body.len = wire_hello_encode(&hello, out + WIRE_FRAME_HEAD);
    wire_frame_head(out, WIRE_HELLO, 0, &body, 1);
    return WIRE_FRAME_HEAD + body.len;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void two_nodes_meet_on_three_lanes_and_learn_each_other(void **state)
{
    (void)state;
    meet();
    assert_int_equal(a.from, 2);
    assert_int_equal(b.from, 1);
    assert_string_equal(b.hello.peer.text, a.listen);
    assert_true(net_connected(a.net, 2, KELP_LANE_CONTROL));
    assert_true(net_connected(b.net, 1, KELP_LANE_SNAPSHOT));
    struct net_stats stats;
    net_stats(a.net, &stats);
    assert_int_equal(stats.dials, 3);
}

static void frames_of_every_size_arrive_as_they_were(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 39, 4000, 65536, 100000, 1 << 20, 20u << 20, 7};
    meet();
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        assert_int_equal(send_on(&a, 2, KELP_LANE_ENTRIES, 0, sizes[i], 1), KELP_OK);
    WAIT(b.frames == COUNT_OF(sizes));
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        assert_int_equal(b.lengths[i], sizes[i]);
    assert_false(b.wrong);
}

static void a_frame_of_thousands_of_parts_is_one_frame(void **state)
{
    (void)state;
    meet();
    assert_int_equal(send_on(&a, 2, KELP_LANE_ENTRIES, 0, 300000, 5000), KELP_OK);
    WAIT(b.frames == 1);
    assert_int_equal(b.lengths[0], 300000);
    assert_false(b.wrong);
}

static void an_answer_goes_back_on_the_connection_of_its_question(void **state)
{
    (void)state;
    meet();
    uint64_t number = net_peers_ops.connection(a.net, 2, KELP_LANE_ENTRIES);
    assert_int_equal(number, b.accepted);
    assert_int_equal(send_on(&b, 1, KELP_LANE_ENTRIES, number, 10, 1), KELP_OK);
    WAIT(a.frames == 1);
    assert_int_equal(a.connection, number);
    assert_int_equal(send_on(&b, 1, KELP_LANE_ENTRIES, number + 1, 10, 1), KELP_E_CLOSED);
    assert_int_equal(send_on(&b, 1, KELP_LANE_CONTROL, number, 10, 1), KELP_E_CLOSED);
}

static void a_full_queue_refuses_and_what_it_took_arrives_in_order(void **state)
{
    (void)state;
    struct net_options options = options_of(&a);
    options.lane_bytes_max[KELP_LANE_ENTRIES] = 3u << 20;
    side_close(&a);
    side_open_with(&a, &options);
    meet();
    size_t taken = 0;
    enum kelp_error error = KELP_OK;
    while (error == KELP_OK && taken < 2000) { /* the loop does not run: nobody reads */
        error = send_on(&a, 2, KELP_LANE_ENTRIES, 0, 100000 + taken, 1);
        taken += error == KELP_OK;
    }
    assert_int_equal(error, KELP_E_LIMIT);
    struct net_stats stats;
    net_stats(a.net, &stats);
    assert_int_equal(stats.dropped_full, 1);
    assert_true(net_queued(a.net, 2, KELP_LANE_ENTRIES) <= 3u << 20);
    assert_true(net_queued(a.net, 2, KELP_LANE_ENTRIES) > 2u << 20);
    WAIT(b.frames == taken);
    for (size_t i = 0; i < taken; i++)
        assert_int_equal(b.lengths[i], 100000 + i);
    assert_false(b.wrong);
    WAIT(net_queued(a.net, 2, KELP_LANE_ENTRIES) == 0);
}

static void a_foreign_cluster_is_refused_and_both_sides_say_why(void **state)
{
    (void)state;
    a.judge.cluster.lo = 3;
    net_dial(a.net, 2, b.listen);
    WAIT(a.refusals > 0);
    assert_int_equal(a.refuse.reason, WIRE_REFUSE_CLUSTER);
    assert_int_equal(a.from, 2);
    assert_int_equal(a.ups + b.ups, 0);
    assert_int_equal(a.notes, 1);
    assert_int_equal(b.notes, 1);
    assert_non_null(strstr(b.note, "refused node 1"));
    assert_non_null(strstr(a.note, "refuses us"));
    struct net_stats stats;
    net_stats(b.net, &stats);
    assert_true(stats.refused_hellos >= 1);
}

static void another_node_at_the_address_is_refused(void **state)
{
    (void)state;
    net_dial(a.net, 7, b.listen);
    WAIT(a.refusals > 0);
    assert_int_equal(a.refuse.reason, WIRE_REFUSE_WRONG_NODE);
    assert_int_equal(a.ups, 0);
}

static void bytes_of_a_stranger_cost_one_line_however_often_they_come(void **state)
{
    (void)state;
    struct net_stats stats = {.bad_frames = 0};
    for (unsigned i = 1; i <= 5; i++) {
        int fd = knock("GET / HTTP/1.0\r\n\r\n", 18);
        WAIT(ended(fd));
        close(fd);
        net_stats(a.net, &stats);
        assert_int_equal(stats.bad_frames, i);
    }
    assert_int_equal(a.notes, 1);
    assert_non_null(strstr(a.note, "127.0.0.1"));
}

static void a_large_frame_before_the_hello_is_not_waited_for(void **state)
{
    (void)state;
    uint8_t frame[WIRE_FRAME_HEAD];
    struct kelp_bytes body = {pattern, 100000};
    wire_frame_head(frame, WIRE_MESSAGE, 0, &body, 1);
    int fd = knock(frame, sizeof frame);
    WAIT(ended(fd));
    close(fd);
    assert_non_null(strstr(a.note, "100000 bytes"));
}

static void a_damaged_frame_closes_the_connection(void **state)
{
    (void)state;
    uint8_t bytes[2048], rest[64];
    struct wire_hello hello = {.node = 9, .connection = 5, .lane = KELP_LANE_ENTRIES};
    int fd = knock(bytes, hello_frame(bytes, hello));
    WAIT(a.ups == 1);
    struct kelp_bytes body = {pattern, 20};
    wire_frame_head(rest, WIRE_MESSAGE, 0, &body, 1);
    memcpy(rest + WIRE_FRAME_HEAD, pattern, 20);
    rest[WIRE_FRAME_HEAD + 3] ^= 1;
    assert_int_equal(send(fd, rest, WIRE_FRAME_HEAD + 20, 0), WIRE_FRAME_HEAD + 20);
    WAIT(ended(fd));
    close(fd);
    assert_int_equal(a.downs, 1);
    assert_int_equal(a.frames, 0);
    assert_non_null(strstr(a.note, "node 9"));
}

static void a_frame_the_owner_refuses_closes_the_connection(void **state)
{
    (void)state;
    meet();
    b.refuse_frames = true;
    assert_int_equal(send_on(&a, 2, KELP_LANE_CONTROL, 0, 10, 1), KELP_OK);
    WAIT(b.downs == 1 && a.downs == 1);
    assert_non_null(strstr(b.note, "dislikes"));
    WAIT(a.ups == 4); /* and it is dialled again */
}

static void a_silent_stranger_is_shown_the_door_after_five_seconds(void **state)
{
    (void)state;
    uint64_t begun = uv_hrtime();
    int fd = knock("KELP", 4);
    WAIT(ended(fd));
    close(fd);
    assert_true(uv_hrtime() - begun > UINT64_C(4900000000));
    assert_non_null(strstr(a.note, "no hello"));
}

static void a_peer_that_comes_back_is_met_again(void **state)
{
    (void)state;
    meet();
    side_close(&b);
    WAIT(a.downs == 3);
    assert_int_equal(send_on(&a, 2, KELP_LANE_CONTROL, 0, 10, 1), KELP_E_CLOSED);
    side_open(&b);
    WAIT(a.ups == 6);
    assert_int_equal(send_on(&a, 2, KELP_LANE_CONTROL, 0, 10, 1), KELP_OK);
    WAIT(b.frames == 1);
}

static kelp_ns back_off_longest(const struct net *n)
{
    const struct net_peer *p = net_peer_find(n, 2);
    kelp_ns longest = 0;
    assert_non_null(p);
    for (unsigned i = 0; i < KELP_LANES; i++)
        longest = max_u64(longest, p->lanes[i].back_off);
    return longest;
}

/* Who is down for long is dialled as often as the limit says, and the first time that it answers
 * all of that is forgotten. */
static void a_peer_that_was_down_for_long_is_not_waited_for_longer(void **state)
{
    (void)state;
    const struct net_options options = options_of(&a);
    struct net_stats stats = {.dials = 0};
    side_close(&b);
    net_dial(a.net, 2, b.listen);
    while (stats.dials < 30) {
        uint64_t before = stats.dials;
        WAIT((net_stats(a.net, &stats), stats.dials > before));
        assert_true(back_off_longest(a.net) <= options.dial_max);
    }
    assert_int_equal(back_off_longest(a.net), options.dial_max);
    for (unsigned times = 1; times <= 2; times++) {
        side_open(&b);
        WAIT(a.ups == 3 * times);
        assert_int_equal(back_off_longest(a.net), options.dial_min);
        side_close(&b);
        WAIT(a.downs == 3 * times);
    }
}

/* A peer whose machine is gone says nothing, not even that: the system ends the connection. */
static void every_connection_has_a_limit_for_what_is_not_acknowledged(void **state)
{
    (void)state;
    meet();
    for (const struct side *s = &a; s != NULL; s = s == &a ? &b : NULL) {
        const struct connection *c;
        unsigned count = 0;
        TAILQ_FOREACH(c, &s->net->connections, link)
        {
            int fd = -1, keeps = 0;
            unsigned ms = 0;
            socklen_t len = sizeof ms, keeps_len = sizeof keeps;
            assert_int_equal(uv_fileno((const uv_handle_t *)&c->tcp, &fd), 0);
            assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &len), 0);
            assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keeps, &keeps_len), 0);
            assert_int_equal(ms, 4000);
            assert_int_equal(keeps, 1); /* also where nothing is sent */
            count++;
        }
        assert_int_equal(count, 3);
    }
}

static void a_name_is_resolved_and_a_new_address_replaces_the_old(void **state)
{
    (void)state;
    char name[64];
    (void)snprintf(name, sizeof name, "localhost:%s", strrchr(b.listen, ':') + 1);
    net_dial(a.net, 2, "127.0.0.1:1"); /* nobody is there */
    net_dial(a.net, 2, name);
    WAIT(a.ups == 3);
    net_forget(a.net, 2);
    assert_int_equal(a.downs, 3);
    assert_false(net_connected(a.net, 2, KELP_LANE_ENTRIES));
    WAIT(b.downs == 3);
}

static void without_a_place_a_connection_waits_for_one(void **state)
{
    (void)state;
    struct net_options options = options_of(&a);
    options.accepted_max = 2;
    side_close(&a);
    side_open_with(&a, &options);
    uint8_t bytes[2048];
    struct wire_hello hello = {.node = 9, .connection = 1};
    int first = knock(bytes, hello_frame(bytes, hello));
    hello = (struct wire_hello){.node = 10, .connection = 1};
    int second = knock(bytes, hello_frame(bytes, hello));
    WAIT(a.ups == 2);
    hello = (struct wire_hello){.node = 11, .connection = 1};
    int third = knock(bytes, hello_frame(bytes, hello));
    WAIT(a.notes == 1);
    assert_non_null(strstr(a.note, "all 2 places"));
    assert_int_equal(a.ups, 2);
    close(first);
    WAIT(a.ups == 3);
    assert_int_equal(a.from, 11);
    close(second);
    close(third);
}

static void a_silent_stranger_gives_its_place_to_the_next(void **state)
{
    (void)state;
    struct net_options options = options_of(&a);
    options.accepted_max = 2;
    side_close(&a);
    side_open_with(&a, &options);
    uint8_t bytes[2048];
    int first = knock(bytes, 0);
    int second = knock(bytes, 0);
    struct wire_hello hello = {.node = 9, .connection = 1};
    int third = knock(bytes, hello_frame(bytes, hello));
    WAIT(a.ups == 1); /* long before the five seconds of the silent ones are over */
    assert_int_equal(a.from, 9);
    assert_non_null(strstr(a.note, "all 2 places"));
    hello = (struct wire_hello){.node = 10, .connection = 1};
    int fourth = knock(bytes, hello_frame(bytes, hello));
    WAIT(a.ups == 2);
    assert_int_equal(a.from, 10);
    assert_int_equal(a.downs, 0); /* who has said hello stays */
    close(first);
    close(second);
    close(third);
    close(fourth);
}

static void an_address_in_use_is_an_error_that_names_it(void **state)
{
    (void)state;
    struct net_options options = options_of(&a);
    struct net_owner owner = {.ctx = &b};
    struct net *third = NULL;
    struct kelp_fault fault = {.error = KELP_OK};
    assert_int_equal(net_open(&options, &owner, &third, &fault), KELP_E_IO);
    assert_non_null(strstr(fault.what, a.listen));
    options.listen = "no-port";
    fault = (struct kelp_fault){.error = KELP_OK};
    assert_int_equal(net_open(&options, &owner, &third, &fault), KELP_E_ARGUMENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_make, stage_unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_nodes_meet_on_three_lanes_and_learn_each_other),
        TEST(frames_of_every_size_arrive_as_they_were),
        TEST(a_frame_of_thousands_of_parts_is_one_frame),
        TEST(an_answer_goes_back_on_the_connection_of_its_question),
        TEST(a_full_queue_refuses_and_what_it_took_arrives_in_order),
        TEST(a_foreign_cluster_is_refused_and_both_sides_say_why),
        TEST(another_node_at_the_address_is_refused),
        TEST(bytes_of_a_stranger_cost_one_line_however_often_they_come),
        TEST(a_large_frame_before_the_hello_is_not_waited_for),
        TEST(a_damaged_frame_closes_the_connection),
        TEST(a_frame_the_owner_refuses_closes_the_connection),
        TEST(a_silent_stranger_is_shown_the_door_after_five_seconds),
        TEST(a_peer_that_comes_back_is_met_again),
        TEST(a_peer_that_was_down_for_long_is_not_waited_for_longer),
        TEST(every_connection_has_a_limit_for_what_is_not_acknowledged),
        TEST(a_name_is_resolved_and_a_new_address_replaces_the_old),
        TEST(without_a_place_a_connection_waits_for_one),
        TEST(a_silent_stranger_gives_its_place_to_the_next),
        TEST(an_address_in_use_is_an_error_that_names_it),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    pattern = malloc(PATTERN_BYTES);
    if (pattern == NULL) return 1;
    for (size_t i = 0; i < PATTERN_BYTES; i++)
        pattern[i] = (uint8_t)(i * 31 + (i >> 8) * 7);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(pattern);
    return failed;
}
