/* SPDX-License-Identifier: Apache-2.0 */
/* forward_test.c - one forward, one outcome: copies, reordering, late answers, other
 * connections, lost leaders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "wire/forward.h"

struct spy { /* what went by, and what is to be withheld */
    struct lab_packet forwards[64], answers[64];
    size_t forward_count, answer_count;
    bool hold_forwards, hold_answers;
    kelp_id deaf; /* no Raft message to or from this node */
    size_t refusals;
};

static uint8_t kind_of(const struct lab_packet *p)
{
    struct wire_frame frame;
    size_t used;
    assert_int_equal(
        wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &frame, &used, NULL),
        KELP_OK);
    return frame.kind;
}

static struct lab_packet copy_packet(const struct lab_packet *p)
{
    struct lab_packet copy = *p;
    copy.data = malloc(p->len);
    memcpy(copy.data, p->data, p->len);
    return copy;
}

static bool watch(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    struct spy *spy = ctx;
    (void)lab;
    uint8_t kind = kind_of(p);
    if (kind == WIRE_MESSAGE && spy->deaf != 0 && (p->from == spy->deaf || p->to == spy->deaf))
        return false;
    if (kind == WIRE_FORWARD) {
        if (spy->forward_count < 64) spy->forwards[spy->forward_count++] = copy_packet(p);
        return !spy->hold_forwards;
    }
    if (kind == WIRE_FORWARD_ANSWER) {
        struct wire_forward_answer a;
        struct kelp_bytes body = bytes_of(p->data + WIRE_FRAME_HEAD, p->len - WIRE_FRAME_HEAD);
        assert_int_equal(wire_forward_answer_decode(body, &a, NULL), KELP_OK);
        spy->refusals += a.outcome == KELP_REFUSED && a.reason == KELP_R_NOT_LEADER;
        if (spy->answer_count < 64) spy->answers[spy->answer_count++] = copy_packet(p);
        return !spy->hold_answers;
    }
    return true;
}

struct scene {
    struct lab *lab;
    struct spy spy;
    kelp_id leader, follower;
    struct lab_client *client; /* of the follower */
};

static struct scene *scene_of(struct lab *lab)
{
    struct scene *s = calloc(1, sizeof *s);
    s->lab = lab;
    lab_start_all(s->lab);
    s->leader = lab_await_leader(s->lab);
    lab_run(s->lab, 300);
    s->follower = s->leader == 1 ? 2 : 1;
    s->client = lab_client(s->lab, s->follower);
    s->lab->watch = watch;
    s->lab->watch_ctx = &s->spy;
    return s;
}

static struct scene *scene_new(uint64_t seed)
{
    return scene_of(lab_new(3, seed));
}

static void scene_free(struct scene *s)
{
    lab_client_free(s->client);
    for (size_t i = 0; i < s->spy.forward_count; i++)
        free(s->spy.forwards[i].data);
    for (size_t i = 0; i < s->spy.answer_count; i++)
        free(s->spy.answers[i].data);
    lab_free(s->lab);
    free(s);
}

static uint64_t applied_count(struct scene *s)
{
    return lab_node(s->lab, s->leader)->machine->count;
}

/* The forward with other fields, as a packet on the connection that is there now. */
static struct lab_packet forge(struct scene *s, uint64_t term, uint64_t start, uint64_t number)
{
    static uint8_t data[4096];
    uint8_t fixed[WIRE_FORWARD_HEAD_MAX], command[8];
    put_u64(command, 999);
    struct wire_forward f = {.kind = WIRE_FORWARD_WRITE,
                             .term = {term},
                             .incarnation = lab_node(s->lab, s->follower)->incarnation,
                             .start_count = start,
                             .number = number,
                             .timeout_ns = 1000 * LAB_MS,
                             .command = bytes_of(command, 8)};
    struct kelp_bytes parts[2] = {bytes_of(fixed, wire_forward_encode(&f, fixed)), f.command};
    wire_frame_head(data, WIRE_FORWARD, 0, parts, 2);
    memcpy(data + WIRE_FRAME_HEAD, fixed, parts[0].len);
    memcpy(data + WIRE_FRAME_HEAD + parts[0].len, command, 8);
    struct lab_node *n = lab_node(s->lab, s->follower);
    return (struct lab_packet){.from = s->follower,
                               .to = s->leader,
                               .lane = KELP_LANE_ENTRIES,
                               .connection = n->links[s->leader - 1][KELP_LANE_ENTRIES].connection,
                               .data = data,
                               .len = WIRE_FRAME_HEAD + parts[0].len + 8};
}

static uint64_t term_of(struct scene *s)
{
    return lab_status(s->lab, s->leader)->view.term.v;
}

static void a_copy_is_executed_once_and_never_answered(void **state)
{
    (void)state;
    struct scene *s = scene_new(1);
    s->lab->twice = 1000;
    (void)lab_write(s->client, 7, 5000);
    lab_await(s->client, 1);
    lab_run(s->lab, 200);
    assert_int_equal(applied_count(s), 1);
    assert_int_equal(s->spy.answer_count, 1);
    assert_int_equal(lab_status(s->lab, s->leader)->forwards_dropped, 1);
    scene_free(s);
}

static void a_replay_on_another_connection_is_dropped(void **state)
{
    (void)state;
    struct scene *s = scene_new(2);
    (void)lab_write(s->client, 7, 5000);
    lab_await(s->client, 1);
    lab_disconnect(s->lab, s->leader, s->follower);
    lab_run(s->lab, 5);
    struct lab_packet replay = s->spy.forwards[0];
    replay.connection = forge(s, 1, 1, 1).connection;
    lab_inject(s->lab, &replay);
    lab_run(s->lab, 200);
    assert_int_equal(applied_count(s), 1);
    assert_int_equal(lab_status(s->lab, s->leader)->forwards_dropped, 1);
    scene_free(s);
}

static void what_is_overtaken_is_never_executed_and_its_outcome_is_unknown(void **state)
{
    (void)state;
    struct scene *s = scene_new(3);
    s->spy.hold_forwards = true;
    (void)lab_write(s->client, 1, 1000);
    (void)lab_write(s->client, 2, 1000);
    lab_run(s->lab, 2);
    assert_int_equal(s->spy.forward_count, 2);
    lab_inject(s->lab, &s->spy.forwards[1]);
    lab_run(s->lab, 5);
    lab_inject(s->lab, &s->spy.forwards[0]);
    lab_run(s->lab, 1100);
    assert_int_equal(s->client->told_count, 2);
    assert_int_equal(s->client->told[0].outcome, KELP_UNKNOWN); /* in the order of submission */
    assert_int_equal(s->client->told[0].reason, KELP_R_TIMEOUT);
    assert_int_equal(s->client->told[1].outcome, KELP_DONE);
    assert_int_equal(applied_count(s), 1);
    assert_int_equal(lab_node(s->lab, s->leader)->machine->last, 2);
    scene_free(s);
}

static void an_answer_after_the_deadline_counts_for_nothing(void **state)
{
    (void)state;
    struct scene *s = scene_new(4);
    s->spy.hold_answers = true;
    (void)lab_write(s->client, 1, 300);
    lab_run(s->lab, 310);
    assert_int_equal(s->client->told_count, 1);
    assert_int_equal(s->client->told[0].outcome, KELP_UNKNOWN);
    lab_inject(s->lab, &s->spy.answers[0]);
    s->spy.hold_answers = false;
    (void)lab_read(s->client, 1000);
    lab_await(s->client, 2);
    assert_int_equal(s->client->told[1].result[0], 1);
    assert_int_equal(s->client->told_count, 2);
    scene_free(s);
}

static void an_answer_counts_only_on_the_connection_of_its_forward(void **state)
{
    (void)state;
    struct scene *s = scene_new(5);
    s->spy.hold_answers = true;
    (void)lab_write(s->client, 1, 3000);
    lab_run(s->lab, 20);
    assert_int_equal(s->spy.answer_count, 1);
    struct lab_packet other = s->spy.answers[0];
    other.from = other.from == 3 ? 2 : 3; /* the same frame from somebody else */
    if (other.from == s->follower) other.from = 1;
    other.connection =
        lab_node(s->lab, s->follower)->links[other.from - 1][KELP_LANE_ENTRIES].connection;
    lab_inject(s->lab, &other);
    lab_run(s->lab, 5);
    assert_int_equal(s->client->told_count, 0);
    other = s->spy.answers[0]; /* on an older or newer connection of the leader */
    struct wire_frame frame;
    size_t used;
    assert_int_equal(wire_frame_decode(bytes_of(other.data, other.len), WIRE_FRAME_BODY_MAX, &frame,
                                       &used, NULL),
                     KELP_OK);
    struct driver *asked = lab_node(s->lab, s->follower)->driver;
    assert_int_equal(driver_frame(asked, s->lab->now, s->leader, KELP_LANE_ENTRIES,
                                  other.connection + 1000, &frame, NULL),
                     KELP_OK);
    lab_run(s->lab, 5);
    assert_int_equal(s->client->told_count, 0);
    /* and on another lane's connection */
    other.connection =
        lab_node(s->lab, s->follower)->links[s->leader - 1][KELP_LANE_SNAPSHOT].connection;
    assert_int_equal(driver_frame(asked, s->lab->now, s->leader, KELP_LANE_SNAPSHOT,
                                  other.connection, &frame, NULL),
                     KELP_E_MALFORMED);
    lab_inject(s->lab, &s->spy.answers[0]);
    lab_run(s->lab, 5);
    assert_int_equal(s->client->told_count, 1);
    assert_int_equal(s->client->told[0].outcome, KELP_DONE);
    scene_free(s);
}

static void a_lost_connection_makes_a_write_unknown_and_asks_a_read_anew(void **state)
{
    (void)state;
    struct scene *s = scene_new(6);
    struct lab_client *reader = lab_client(s->lab, s->follower);
    s->spy.hold_answers = true;
    (void)lab_write(s->client, 1, 3000);
    (void)lab_read(reader, 3000);
    lab_run(s->lab, 20);
    s->spy.hold_answers = false;
    lab_disconnect(s->lab, s->leader, s->follower);
    lab_await(s->client, 1);
    assert_int_equal(s->client->told[0].outcome, KELP_UNKNOWN);
    assert_int_equal(s->client->told[0].reason, KELP_R_CONNECTION_LOST);
    lab_await(reader, 1);
    assert_int_equal(reader->told[0].outcome, KELP_DONE);
    assert_int_equal(reader->told[0].result[0], 1); /* the write did happen */
    lab_client_free(reader);
    scene_free(s);
}

static void forwards_keep_to_one_connection_while_it_is_open(void **state)
{
    (void)state;
    struct scene *s = scene_new(12);
    (void)lab_write(s->client, 1, 3000);
    lab_await(s->client, 1);
    uint64_t older = s->spy.forwards[0].connection;
    lab_connect_newer(s->lab, s->follower, s->leader, KELP_LANE_ENTRIES);
    (void)lab_write(s->client, 2, 3000);
    lab_await(s->client, 2);
    assert_int_equal(s->spy.forwards[1].connection, older); /* else it could overtake others */
    lab_disconnect_older(s->lab, s->follower, s->leader, KELP_LANE_ENTRIES);
    (void)lab_write(s->client, 3, 3000);
    lab_await(s->client, 3);
    assert_int_not_equal(s->spy.forwards[2].connection, older);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(s->client->told[i].outcome, KELP_DONE);
    scene_free(s);
}

static void an_answer_waits_for_room_on_its_connection(void **state)
{
    (void)state;
    struct scene *s = scene_new(13);
    struct lab_client *reader = lab_client(s->lab, s->follower);
    struct lab_node *leader = lab_node(s->lab, s->leader);
    leader->no_room = true;
    (void)lab_write(s->client, 1, 5000);
    (void)lab_read(reader, 5000);
    lab_run(s->lab, 200);
    assert_int_equal(applied_count(s), 1);
    assert_int_equal(s->spy.answer_count, 0);
    leader->no_room = false;
    lab_run(s->lab, 20);
    assert_int_equal(s->client->told_count, 1);
    assert_int_equal(s->client->told[0].outcome, KELP_DONE);
    assert_int_equal(s->client->told[0].result[0], 1);
    assert_int_equal(reader->told_count, 1);
    assert_int_equal(reader->told[0].outcome, KELP_DONE);
    assert_int_equal(s->spy.answer_count, 2); /* each once */
    lab_client_free(reader);
    scene_free(s);
}

static void answers_that_wait_are_bounded_and_go_without_their_results(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 14);
    lab->forward_bytes_max = 20;
    lab->reads_elsewhere = true; /* answers with results: of whole reads */
    struct scene *s = scene_of(lab);
    struct lab_client *reader = lab_client(lab, s->follower);
    struct lab_node *leader = lab_node(lab, s->leader);
    leader->no_room = true;
    (void)lab_read(reader, 5000); /* 16 bytes */
    lab_run(lab, 50);
    (void)lab_write(s->client, 1, 5000); /* 8 bytes */
    lab_run(lab, 50);
    leader->no_room = false;
    lab_run(lab, 20);
    assert_int_equal(reader->told_count, 1);
    assert_int_equal(reader->told[0].outcome, KELP_DONE);
    assert_int_equal(s->client->told_count, 1);
    assert_int_equal(s->client->told[0].outcome, KELP_UNKNOWN); /* it happened, with what result? */
    assert_int_equal(s->client->told[0].reason, KELP_R_BUSY);
    assert_int_equal(applied_count(s), 1);
    lab_client_free(reader);
    scene_free(s);
}

static void a_forward_of_another_term_is_refused_and_of_an_older_start_is_dropped(void **state)
{
    (void)state;
    struct scene *s = scene_new(7);
    uint64_t term = term_of(s);
    struct lab_packet p = forge(s, term + 1, 1, 1000);
    lab_inject(s->lab, &p);
    lab_run(s->lab, 20);
    assert_int_equal(s->spy.refusals, 1);
    p = forge(s, term - 1, 1, 1001); /* meant for the leadership before this one */
    lab_inject(s->lab, &p);
    lab_run(s->lab, 20);
    assert_int_equal(s->spy.refusals, 2);
    p = forge(s, term, 0, 2000);
    lab_inject(s->lab, &p);
    p = forge(s, term, 1, 1000); /* judged before, though refused */
    lab_inject(s->lab, &p);
    lab_run(s->lab, 200);
    assert_int_equal(applied_count(s), 0);
    assert_int_equal(s->spy.answer_count, 2);
    assert_int_equal(lab_status(s->lab, s->leader)->forwards_dropped, 2);
    p = forge(s, term, 1, 1002);
    lab_inject(s->lab, &p);
    lab_run(s->lab, 200);
    assert_int_equal(applied_count(s), 1);
    scene_free(s);
}

static void a_new_start_of_the_sender_begins_its_numbers_anew(void **state)
{
    (void)state;
    struct scene *s = scene_new(8);
    for (uint64_t i = 1; i <= 5; i++)
        (void)lab_write(s->client, i, 3000);
    lab_await(s->client, 5);
    free(s->client);
    lab_crash(s->lab, s->follower);
    lab_start(s->lab, s->follower);
    lab_run(s->lab, 500);
    s->client = lab_client(s->lab, s->follower);
    (void)lab_write(s->client, 6, 3000);
    lab_await(s->client, 1);
    assert_int_equal(s->client->told[0].outcome, KELP_DONE);
    scene_free(s);
}

static void an_answer_to_an_earlier_start_fits_no_forward_of_a_later_one(void **state)
{
    (void)state;
    struct scene *s = scene_new(8);
    s->spy.hold_answers = true;
    (void)lab_write(s->client, 1, 3000);
    lab_run(s->lab, 20);
    assert_int_equal(s->spy.answer_count, 1);
    free(s->client);
    lab_crash(s->lab, s->follower);
    lab_start(s->lab, s->follower);
    lab_run(s->lab, 500);
    s->client = lab_client(s->lab, s->follower);
    (void)lab_write(s->client, 2, 3000);
    lab_run(s->lab, 20);
    assert_int_equal(s->spy.answer_count, 2);
    struct lab_packet late = s->spy.answers[0];
    late.connection = s->spy.answers[1].connection;
    lab_inject(s->lab, &late);
    lab_run(s->lab, 5);
    assert_int_equal(s->client->told_count, 0);
    lab_inject(s->lab, &s->spy.answers[1]);
    lab_run(s->lab, 5);
    assert_int_equal(s->client->told_count, 1);
    assert_int_equal(s->client->told[0].result[0], 2);
    scene_free(s);
}

static void what_a_deposed_leader_refuses_goes_to_the_next_one_in_order(void **state)
{
    (void)state;
    struct scene *s = scene_new(9);
    s->spy.deaf = s->leader; /* it loses its quorum, but forwards still reach it */
    uint64_t value = 0;
    for (int i = 0; i < 800; i++) {
        (void)lab_write(s->client, ++value, 20000);
        lab_run(s->lab, 10);
    }
    lab_await(s->client, value);
    assert_true(s->spy.refusals > 0);
    size_t done = 0;
    const struct lab_machine *m = lab_node(s->lab, s->follower)->machine;
    for (uint64_t i = 1; i < m->count; i++)
        assert_true(m->values[i] > m->values[i - 1]);
    for (size_t i = 0; i < value; i++) {
        assert_int_equal(s->client->told[i].token, i + 1);
        done += s->client->told[i].outcome == KELP_DONE;
    }
    assert_true(done >= 400);
    assert_true(lab_leader(s->lab) != s->leader);
    s->spy.deaf = 0;
    scene_free(s);
}

static void a_leader_at_its_limit_answers_busy(void **state)
{
    (void)state;
    struct scene *s = scene_new(10);
    s->lab->forward_bytes_max = 100;
    free(s->client);
    lab_crash(s->lab, s->follower);
    lab_start(s->lab, s->follower);
    lab_run(s->lab, 500);
    s->client = lab_client(s->lab, s->follower);
    s->spy.hold_answers = true;
    for (uint64_t i = 1; i <= 13; i++)
        (void)lab_write(s->client, i, 1000);
    lab_run(s->lab, 1100);
    assert_int_equal(s->client->told_count, 13);
    assert_int_equal(s->client->told[12].outcome, KELP_REFUSED); /* 13 x 8 bytes do not fit */
    assert_int_equal(s->client->told[12].reason, KELP_R_BUSY);
    assert_int_equal(s->client->told[11].outcome, KELP_UNKNOWN);
    assert_int_equal(lab_status(s->lab, s->follower)->forward_bytes, 0);
    scene_free(s);
}

/* Which command frees room is asked where it is proposed, so a forwarded one needs no mark. */
static void what_frees_room_goes_on_from_anywhere_while_writes_are_refused(void **state)
{
    (void)state;
    struct scene *s = scene_new(15);
    struct driver *leader = lab_node(s->lab, s->leader)->driver;
    driver_space(leader, 100, KELP_SPACE_LOW);
    lab_run(s->lab, 1);
    assert_int_equal(lab_status(s->lab, s->leader)->view.own_space, KELP_SPACE_LOW);
    struct lab_client *here = lab_client(s->lab, s->leader);
    lab_write(here, 5, 1000);
    lab_write(here, LAB_FREES, 1000);
    lab_write(s->client, 6, 1000);
    lab_write(s->client, LAB_FREES + 1, 1000);
    lab_read(s->client, 1000);
    lab_await(here, 2);
    lab_await(s->client, 3);
    for (size_t i = 0; i < 2; i++) {
        const struct lab_told *told = i == 0 ? here->told : s->client->told;
        assert_int_equal(told[0].outcome, KELP_REFUSED);
        assert_int_equal(told[0].reason, KELP_R_NO_SPACE);
        assert_int_equal(told[1].outcome, KELP_DONE);
    }
    assert_int_equal(s->client->told[2].outcome, KELP_DONE);
    assert_int_equal(applied_count(s), 2);
    driver_space(leader, 100, KELP_SPACE_LAST);
    lab_write(s->client, LAB_FREES + 2, 1000);
    lab_await(s->client, 4);
    assert_int_equal(s->client->told[3].reason, KELP_R_NO_SPACE);
    driver_space(leader, 1000, KELP_SPACE_OK);
    lab_write(s->client, 7, 1000);
    lab_await(s->client, 5);
    assert_int_equal(s->client->told[4].outcome, KELP_DONE);
    assert_int_equal(lab_status(s->lab, s->leader)->state, DRIVER_RUNNING);
    lab_client_free(here);
    scene_free(s);
}

/* Two followers of three say in their answers that their disks are nearly full. */
static void a_quorum_short_of_room_is_known_from_its_answers(void **state)
{
    (void)state;
    struct scene *s = scene_new(16);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id != s->leader) driver_space(lab_node(s->lab, id)->driver, 3, KELP_SPACE_LOW);
    }
    lab_run(s->lab, 500);
    assert_int_equal(lab_status(s->lab, s->leader)->view.own_space, KELP_SPACE_OK);
    assert_int_equal(lab_status(s->lab, s->leader)->view.space, KELP_SPACE_LOW);
    lab_write(s->client, 6, 1000);
    lab_await(s->client, 1);
    assert_int_equal(s->client->told[0].reason, KELP_R_NO_SPACE);
    driver_space(lab_node(s->lab, s->follower)->driver, 300, KELP_SPACE_OK);
    lab_run(s->lab, 500);
    lab_write(s->client, 7, 1000);
    lab_await(s->client, 2);
    assert_int_equal(s->client->told[1].outcome, KELP_DONE);
    scene_free(s);
}

/* A forward that no version of today sends: a command of 8 bytes behind an extension. */
static void inject_extended(struct scene *s, uint64_t number, size_t extension_len)
{
    struct lab_node *n = lab_node(s->lab, s->follower);
    size_t len = WIRE_FRAME_HEAD + WIRE_FORWARD_HEAD_MAX + extension_len + 8;
    uint8_t *data = calloc(1, len), *extension = calloc(1, extension_len);
    uint8_t fixed[WIRE_FORWARD_HEAD_MAX], command[8];
    put_u64(command, 999);
    struct wire_forward f = {.kind = WIRE_FORWARD_WRITE,
                             .term = {term_of(s)},
                             .incarnation = n->incarnation,
                             .start_count = n->start_count,
                             .number = (n->start_count << 40) + number,
                             .timeout_ns = 5000 * LAB_MS,
                             .extension = bytes_of(extension, extension_len),
                             .command = bytes_of(command, 8)};
    struct kelp_bytes parts[3] = {bytes_of(fixed, wire_forward_encode(&f, fixed)), f.extension,
                                  f.command};
    wire_frame_head(data, WIRE_FORWARD, 0, parts, 3);
    struct lab_packet p = {.from = s->follower, .to = s->leader, .lane = KELP_LANE_ENTRIES};
    p.connection = n->links[s->leader - 1][KELP_LANE_ENTRIES].connection;
    p.data = data;
    p.len = WIRE_FRAME_HEAD;
    for (size_t i = 0; i < 3; i++) {
        memcpy(data + p.len, parts[i].data, parts[i].len);
        p.len += parts[i].len;
    }
    lab_inject(s->lab, &p);
    free(extension);
    free(data);
}

/* longer than what a user's name may be, which stands in the same place */
static void a_forward_with_a_long_extension_waits_while_leadership_is_handed_over(void **state)
{
    (void)state;
    struct scene *s = scene_new(16);
    kelp_id target = 6 - s->leader - s->follower;
    struct lab_client *admin = lab_client(s->lab, s->leader);
    lab_node(s->lab, target)->hold_disk = true;
    (void)lab_write(s->client, 1, 5000);
    lab_await(s->client, 1);
    (void)lab_transfer(admin, target, 5000);
    lab_run(s->lab, 10);
    assert_true(lab_status(s->lab, s->leader)->view.transferring);
    inject_extended(s, 1000, 300);
    lab_run(s->lab, 10);
    assert_int_equal(applied_count(s), 1);
    lab_await(admin, 1);
    assert_int_equal(admin->told[0].reason, KELP_R_BEHIND);
    lab_run(s->lab, 50);
    assert_int_equal(applied_count(s), 2);
    assert_int_equal(lab_node(s->lab, s->leader)->machine->last, 999);
    lab_client_free(admin);
    scene_free(s);
}

static void an_extension_counts_like_the_command_behind_it(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 17);
    lab->forward_bytes_max = 100;
    struct scene *s = scene_of(lab);
    inject_extended(s, 1000, 90);
    lab_run(s->lab, 50);
    assert_int_equal(applied_count(s), 1);
    inject_extended(s, 1001, 93);
    lab_run(s->lab, 50);
    assert_int_equal(applied_count(s), 1);
    assert_int_equal(s->spy.answer_count, 2);
    struct wire_forward_answer a;
    const struct lab_packet *p = &s->spy.answers[1];
    struct kelp_bytes body = bytes_of(p->data + WIRE_FRAME_HEAD, p->len - WIRE_FRAME_HEAD);
    assert_int_equal(wire_forward_answer_decode(body, &a, NULL), KELP_OK);
    assert_int_equal(a.outcome, KELP_REFUSED);
    assert_int_equal(a.reason, KELP_R_BUSY);
    scene_free(s);
}

static void a_malformed_forward_closes_the_connection(void **state)
{
    (void)state;
    struct scene *s = scene_new(11);
    uint8_t junk[16] = {4, 0, 9, 9};
    struct wire_frame frame = {.kind = WIRE_FORWARD, .body = bytes_of(junk, sizeof junk)};
    struct kelp_fault fault = {.error = KELP_OK};
    assert_int_not_equal(driver_frame(lab_node(s->lab, s->leader)->driver, s->lab->now, s->follower,
                                      KELP_LANE_ENTRIES, 1, &frame, &fault),
                         KELP_OK);
    assert_true(fault.what[0] != '\0');
    frame.kind = WIRE_HELLO;
    assert_int_equal(driver_frame(lab_node(s->lab, s->leader)->driver, s->lab->now, s->follower,
                                  KELP_LANE_ENTRIES, 1, &frame, NULL),
                     KELP_E_MALFORMED);
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_executed_once_and_never_answered),
        cmocka_unit_test(a_replay_on_another_connection_is_dropped),
        cmocka_unit_test(what_is_overtaken_is_never_executed_and_its_outcome_is_unknown),
        cmocka_unit_test(an_answer_after_the_deadline_counts_for_nothing),
        cmocka_unit_test(an_answer_counts_only_on_the_connection_of_its_forward),
        cmocka_unit_test(a_lost_connection_makes_a_write_unknown_and_asks_a_read_anew),
        cmocka_unit_test(forwards_keep_to_one_connection_while_it_is_open),
        cmocka_unit_test(an_answer_waits_for_room_on_its_connection),
        cmocka_unit_test(answers_that_wait_are_bounded_and_go_without_their_results),
        cmocka_unit_test(a_forward_of_another_term_is_refused_and_of_an_older_start_is_dropped),
        cmocka_unit_test(a_new_start_of_the_sender_begins_its_numbers_anew),
        cmocka_unit_test(an_answer_to_an_earlier_start_fits_no_forward_of_a_later_one),
        cmocka_unit_test(what_a_deposed_leader_refuses_goes_to_the_next_one_in_order),
        cmocka_unit_test(a_leader_at_its_limit_answers_busy),
        cmocka_unit_test(what_frees_room_goes_on_from_anywhere_while_writes_are_refused),
        cmocka_unit_test(a_quorum_short_of_room_is_known_from_its_answers),
        cmocka_unit_test(a_forward_with_a_long_extension_waits_while_leadership_is_handed_over),
        cmocka_unit_test(an_extension_counts_like_the_command_behind_it),
        cmocka_unit_test(a_malformed_forward_closes_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
