/* SPDX-License-Identifier: Apache-2.0 */
/* order_test.c - time never runs backwards for the reads of a line, however late one of them is
 * told what it may see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "driver/room.h"
#include "wire/forward.h"

static const struct kelp_read_how LINEARIZABLE = {.level = KELP_READ_LINEARIZABLE};
static const struct kelp_read_how ANY = {.level = KELP_READ_ANY};

/* ---- what goes by ---- */

#define KEPT_MAX 256u

struct spy {
    kelp_id leader, follower;
    bool keep_answers;   /* of Raft, from the follower to the leader: kept, not delivered */
    bool leader_unheard; /* the leader's Raft messages are lost */
    bool keep_told;      /* answers to what was forwarded: kept, not delivered */
    struct lab_packet kept[KEPT_MAX];
    size_t count;
};

static bool watch(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    struct spy *spy = ctx;
    (void)lab;
    struct wire_frame frame;
    size_t used;
    assert_int_equal(
        wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &frame, &used, NULL),
        KELP_OK);
    bool answer = frame.kind == WIRE_MESSAGE && p->from == spy->follower && p->to == spy->leader;
    bool told = frame.kind == WIRE_FORWARD_ANSWER && p->to == spy->follower;
    if ((answer && spy->keep_answers) || (told && spy->keep_told)) {
        assert_true(spy->count < KEPT_MAX);
        struct lab_packet *kept = &spy->kept[spy->count++];
        *kept = *p;
        kept->data = malloc(p->len);
        memcpy(kept->data, p->data, p->len);
        return false;
    }
    return frame.kind != WIRE_MESSAGE || p->from != spy->leader || !spy->leader_unheard;
}

struct scene {
    struct lab *lab;
    struct spy spy;
    kelp_id leader, follower, third;
    struct lab_client *writer, *reader; /* on the leader, on the follower */
};

static struct scene *scene_of(struct lab *lab)
{
    struct scene *s = calloc(1, sizeof *s);
    s->lab = lab;
    lab_start_all(lab);
    s->leader = lab_await_leader(lab);
    s->follower = s->leader == 1 ? 2 : 1;
    s->third = 6 - s->leader - s->follower;
    lab_run(lab, 300);
    s->writer = lab_client(lab, s->leader);
    s->reader = lab_client(lab, s->follower);
    s->spy.leader = s->leader;
    s->spy.follower = s->follower;
    lab->watch = watch;
    lab->watch_ctx = &s->spy;
    return s;
}

static void inject(struct scene *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        lab_inject(s->lab, &s->spy.kept[i]);
}

static void scene_free(struct scene *s)
{
    for (size_t i = 0; i < s->spy.count; i++)
        free(s->spy.kept[i].data);
    lab_client_free(s->writer);
    lab_client_free(s->reader);
    lab_free(s->lab);
    free(s);
}

static struct request *first_of(const struct lab_client *c)
{
    return TAILQ_FIRST(&c->line->requests);
}

static struct request *last_of(const struct lab_client *c)
{
    return TAILQ_LAST(&c->line->requests, request_list);
}

static void assert_in_order(const struct lab_client *c)
{
    for (size_t i = 0; i < c->told_count; i++) {
        assert_int_equal(c->told[i].outcome, KELP_DONE);
        if (i > 0) assert_true(c->told[i].result[0] >= c->told[i - 1].result[0]);
    }
}

/* A read whose answer has so many bytes. */
static void read_of(struct lab_client *c, struct kelp_read_how how, uint64_t bytes)
{
    uint8_t question[8];
    put_u64(question, bytes);
    struct driver_question q = {.bytes = bytes_of(question, sizeof question),
                                .how = how,
                                .deadline = c->lab->now + 5000 * LAB_MS,
                                .forward = true};
    assert_true(
        driver_read(lab_node(c->lab, c->node)->driver, c->lab->now, c->line, ++c->tokens, &q));
}

/* ---- lease and round side by side ---- */

/* The lease lapses, and comes back by an answer that came late; the round of the read before is
 * still open then. On the leader the core answers the two out of order, elsewhere their answers
 * come so. */
static void lease_passes_a_round(struct scene *s, struct lab_client *reader)
{
    const struct kelp_read_how lease = {.level = KELP_READ_LEASE, .may_round = true};
    struct spy *spy = &s->spy;
    lab_node(s->lab, s->third)->cut = true;
    spy->keep_answers = true;
    lab_run(s->lab, 350);
    size_t newest = spy->count - 1; /* to a heartbeat; what it answers left 100 ms ago at most */
    (void)lab_write(s->writer, 1, 9000);
    lab_run(s->lab, 60);
    assert_int_equal(lab_status(s->lab, s->leader)->view.lease, KELP_LEASE_LAPSED);
    size_t written = spy->count;
    spy->leader_unheard = true; /* the round is lost */
    (void)lab_read_how(reader, lease, 9000);
    lab_run(s->lab, 5);
    inject(s, newest, newest + 1);
    lab_run(s->lab, 5);
    assert_int_equal(lab_status(s->lab, s->leader)->view.lease, KELP_LEASE_HELD);
    (void)lab_read_how(reader, lease, 9000);
    lab_run(s->lab, 5);
    assert_int_equal(last_of(reader)->state, REQUEST_CLOSED); /* by the lease .. */
    assert_int_not_equal(first_of(reader)->state, REQUEST_CLOSED);
    inject(s, newest + 1, written);
    lab_await(s->writer, 1);
    assert_int_equal(reader->told_count, 0); /* .. before the write, and the round after it */
    spy->keep_answers = spy->leader_unheard = false;
    lab_await(reader, 2);
    assert_in_order(reader);
    assert_int_equal(reader->told[0].result[0], 1);
}

static struct scene *scene_with_lease(uint64_t seed, bool elsewhere)
{
    struct lab *lab = lab_new(3, seed);
    lab->lease = 400 * LAB_MS;
    lab->reads_elsewhere = elsewhere;
    return scene_of(lab);
}

static void a_read_by_lease_that_passed_a_round_is_asked_again_on_the_leader(void **state)
{
    (void)state;
    struct scene *s = scene_with_lease(1, false);
    struct lab_client *reader = lab_client(s->lab, s->leader);
    lease_passes_a_round(s, reader);
    lab_client_free(reader);
    scene_free(s);
}

static void
a_read_by_lease_that_passed_a_round_is_asked_again_by_who_sends_it_on_whole(void **state)
{
    (void)state;
    struct scene *s = scene_with_lease(2, true);
    lease_passes_a_round(s, s->reader);
    scene_free(s);
}

/* ---- asked again ---- */

/* The first read of the line joins a question with a short deadline, the second has its own. The
 * short one ends, so the first is to be asked again when the second is closed. */
static void first_is_asked_again(struct scene *s)
{
    struct lab_client *hasty = lab_client(s->lab, s->follower);
    lab_node(s->lab, s->third)->cut = true;
    s->spy.keep_answers = true; /* no round is answered */
    lab_run(s->lab, 5);
    (void)lab_read_how(hasty, LINEARIZABLE, 50);
    (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
    lab_run(s->lab, 5);
    assert_int_equal(first_of(s->reader)->number, first_of(hasty)->number);
    (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
    lab_run(s->lab, 80);
    assert_int_equal(hasty->told_count, 1);
    assert_int_equal(first_of(s->reader)->state, REQUEST_QUEUED);
    assert_int_equal(last_of(s->reader)->state, REQUEST_FORWARDED);
    lab_client_free(hasty);
}

static void a_read_that_is_asked_again_of_its_own_node_takes_those_behind_it_along(void **state)
{
    (void)state;
    struct scene *s = scene_of(lab_new(3, 3));
    lab_node(s->lab, s->third)->cut = true; /* it misses the write, so it will not lead */
    lab_node(s->lab, s->follower)->hold_apply = true;
    (void)lab_write(s->writer, 1, 9000);
    lab_await(s->writer, 1);
    lab_run(s->lab, 100);
    first_is_asked_again(s);
    s->spy.keep_answers = false;
    lab_run(s->lab, 150);
    assert_int_equal(last_of(s->reader)->state, REQUEST_AWAITING);
    lab_crash(s->lab, s->leader);
    lab_node(s->lab, s->third)->cut = false;
    assert_int_equal(lab_await_leader(s->lab), s->follower);
    struct lab_client *writer = lab_client(s->lab, s->follower);
    (void)lab_write(writer, 2, 9000);
    lab_run(s->lab, 50);
    assert_int_equal(s->reader->told_count, 0);
    lab_release_apply(lab_node(s->lab, s->follower));
    lab_await(s->reader, 2);
    assert_in_order(s->reader);
    assert_int_equal(s->reader->told[0].result[0], 2);
    lab_client_free(writer);
    scene_free(s);
}

/* The third read of the line joins the first one's new question; the second, between them, was
 * answered by an older one. */
static void who_is_told_with_others_takes_along_what_another_question_answered(void **state)
{
    (void)state;
    struct scene *s = scene_of(lab_new(3, 4));
    first_is_asked_again(s);
    (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
    s->spy.keep_answers = false;
    for (int i = 0; i < 300 && last_of(s->reader)->state == REQUEST_QUEUED; i++)
        lab_run(s->lab, 1);
    assert_int_equal(first_of(s->reader)->number, last_of(s->reader)->number);
    s->spy.keep_told = true;
    (void)lab_write(s->writer, 1, 9000);
    lab_await(s->writer, 1);
    lab_run(s->lab, 200);
    assert_int_equal(s->reader->told_count, 0);
    s->spy.keep_told = false;
    inject(s, s->spy.count - 1, s->spy.count);
    lab_await(s->reader, 3);
    assert_in_order(s->reader);
    assert_int_equal(s->reader->told[0].result[0], 1);
    scene_free(s);
}

/* Two reads of a follower; the answers to their questions are kept. The second is told first. */
static void second_is_told(struct scene *s, bool takes_long)
{
    s->spy.keep_told = true;
    (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
    lab_run(s->lab, 100);
    if (takes_long)
        (void)lab_read_long(s->reader, 1u << 30, 9000);
    else
        (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
    lab_run(s->lab, 100);
    assert_int_equal(s->spy.count, 2);
    inject(s, 1, 2);
    lab_run(s->lab, 5);
    assert_int_equal(last_of(s->reader)->state, REQUEST_QUERYING);
}

/* A kept answer comes in, without a run. */
static void frame_in(struct scene *s, size_t number)
{
    const struct lab_packet *p = &s->spy.kept[number];
    struct wire_frame frame;
    size_t used;
    assert_int_equal(wire_frame_decode(bytes_of(p->data, p->len), SIZE_MAX, &frame, &used, NULL),
                     KELP_OK);
    assert_int_equal(driver_frame(lab_node(s->lab, p->to)->driver, s->lab->now, p->from, p->lane,
                                  p->connection, &frame, NULL),
                     KELP_OK);
}

static void a_long_read_that_is_asked_again_is_ended_by_the_next_run_not_by_the_frame(void **state)
{
    (void)state;
    struct scene *s = scene_of(lab_new(3, 8));
    const struct lab_node *f = lab_node(s->lab, s->follower);
    second_is_told(s, true);
    assert_ptr_equal(f->driver->walk, last_of(s->reader));
    frame_in(s, 0);
    assert_int_equal(last_of(s->reader)->state, REQUEST_QUEUED);
    assert_int_equal(f->machine->walks_ended, 0);
    (void)driver_run(f->driver, s->lab->now);
    assert_int_equal(f->machine->walks_ended, 1);
    lab_run(s->lab, 5);
    assert_int_equal(s->reader->told_count, 1);
    scene_free(s);
}

static void an_answer_to_what_is_asked_anew_is_not_heard(void **state)
{
    (void)state;
    struct scene *s = scene_of(lab_new(3, 9));
    struct lab_node *f = lab_node(s->lab, s->follower);
    f->hold_query = true;
    second_is_told(s, false);
    uint64_t token = last_of(s->reader)->handle;
    frame_in(s, 0);
    lab_run(s->lab, 100);
    assert_int_equal(s->reader->told_count, 1);
    assert_int_equal(s->spy.count, 3); /* the second, asked anew */
    f->hold_query = true;
    frame_in(s, 2);
    lab_run(s->lab, 5);
    assert_int_equal(last_of(s->reader)->state, REQUEST_QUERYING);
    uint8_t result[16] = {0};
    put_u64(result, 7);
    driver_query_result(f->driver, token, bytes_of(result, sizeof result));
    assert_int_equal(last_of(s->reader)->state, REQUEST_QUERYING);
    put_u64(result, 9);
    driver_query_result(f->driver, last_of(s->reader)->handle, bytes_of(result, sizeof result));
    lab_await(s->reader, 2);
    assert_int_equal(s->reader->told[1].result[0], 9);
    scene_free(s);
}

/* ---- released in order ---- */

static void what_names_an_index_that_is_applied_is_not_served_behind_a_later_read(void **state)
{
    (void)state;
    struct scene *s = scene_of(lab_new(3, 5));
    struct lab_node *f = lab_node(s->lab, s->follower);
    struct lab_client *patient = lab_client(s->lab, s->follower);
    (void)lab_write(s->writer, 1, 5000);
    lab_await(s->writer, 1);
    lab_run(s->lab, 200);
    f->hold_apply = true;
    (void)lab_write(s->writer, 2, 5000);
    lab_await(s->writer, 2);
    lab_run(s->lab, 200);
    kelp_index applied = f->driver->applied;
    (void)lab_read_how(
        patient, (struct kelp_read_how){.level = KELP_READ_ANY, .at_least = applied + 100}, 9000);
    (void)driver_run(f->driver, s->lab->now);
    read_of(s->reader, (struct kelp_read_how){.level = KELP_READ_ANY, .at_least = applied}, 16);
    read_of(s->reader, ANY, QUERY_BYTES_RUN); /* ends the run that serves it */
    (void)driver_run(f->driver, s->lab->now);
    lab_release_apply(f);
    lab_await(s->reader, 2);
    assert_in_order(s->reader);
    assert_int_equal(s->reader->told[0].result[0], 1);
    lab_client_free(patient);
    scene_free(s);
}

/* An answer with another index, as a leader gives it that stamps a round later than a lease. */
static void inject_index(struct scene *s, size_t number, kelp_index index)
{
    struct lab_packet p = s->spy.kept[number];
    struct wire_forward_answer a;
    struct kelp_bytes body = bytes_of(p.data + WIRE_FRAME_HEAD, p.len - WIRE_FRAME_HEAD);
    assert_int_equal(wire_forward_answer_decode(body, &a, NULL), KELP_OK);
    a.pos.index = index;
    uint8_t fixed[WIRE_FORWARD_HEAD_MAX], data[WIRE_FRAME_HEAD + WIRE_FORWARD_HEAD_MAX];
    struct kelp_bytes part = bytes_of(fixed, wire_forward_answer_encode(&a, fixed));
    wire_frame_head(data, WIRE_FORWARD_ANSWER, 0, &part, 1);
    memcpy(data + WIRE_FRAME_HEAD, fixed, part.len);
    p.data = data;
    p.len = WIRE_FRAME_HEAD + part.len;
    lab_inject(s->lab, &p);
}

static void who_is_told_a_lower_index_waits_as_long_as_those_before_it(void **state)
{
    (void)state;
    struct scene *s = scene_of(lab_new(3, 6));
    struct lab_node *f = lab_node(s->lab, s->follower);
    lab_run(s->lab, 200);
    f->hold_apply = true;
    (void)lab_write(s->writer, 1, 5000);
    lab_await(s->writer, 1);
    lab_run(s->lab, 200);
    (void)lab_write(s->writer, 2, 5000);
    lab_await(s->writer, 2);
    kelp_index index = s->writer->told[1].pos.index;
    s->spy.keep_told = true;
    for (int i = 0; i < 2; i++) {
        (void)lab_read_how(s->reader, LINEARIZABLE, 5000);
        lab_run(s->lab, 100);
    }
    assert_int_equal(s->spy.count, 2);
    inject_index(s, 0, index);
    inject_index(s, 1, index - 1);
    lab_run(s->lab, 5);
    assert_int_equal(last_of(s->reader)->state, REQUEST_AWAITING);
    lab_release_apply(f); /* the first write alone was given to the machine */
    f->hold_apply = true;
    lab_run(s->lab, 5);
    assert_int_equal(f->machine->count, 1);
    assert_int_equal(last_of(s->reader)->state, REQUEST_AWAITING);
    lab_release_apply(f);
    lab_await(s->reader, 2);
    assert_in_order(s->reader);
    scene_free(s);
}

/* The first one waited for an entry where it was asked, and was answered behind the second; its
 * answer overtook that one's on a way that keeps no order. */
static void what_was_answered_before_one_in_front_of_it_is_asked_again(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 11);
    lab->reads_elsewhere = true;
    struct scene *s = scene_of(lab);
    struct driver *d = lab_node(lab, s->follower)->driver;
    s->spy.keep_told = true;
    (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
    (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
    lab_run(lab, 100);
    assert_int_equal(s->spy.count, 2);
    (void)lab_write(s->writer, 1, 9000);
    lab_await(s->writer, 1);
    uint8_t body[WIRE_FORWARD_HEAD_MAX + 16], result[16] = {0};
    put_u64(result, 1); /* writes that it shows */
    const struct request *first = first_of(s->reader);
    struct wire_forward_answer a = {.number = first->number,
                                    .outcome = KELP_DONE,
                                    .pos = s->writer->told[0].pos,
                                    .result = bytes_of(result, sizeof result)};
    size_t fixed = wire_forward_answer_encode(&a, body);
    memcpy(body + fixed, result, sizeof result);
    struct wire_frame frame = {.kind = WIRE_FORWARD_ANSWER,
                               .body = bytes_of(body, fixed + sizeof result)};
    assert_int_equal(driver_frame(d, lab->now, s->leader, KELP_LANE_ENTRIES,
                                  first->route.connection, &frame, NULL),
                     KELP_OK);
    s->spy.keep_told = false;
    inject(s, 1, 2);
    lab_await(s->reader, 2);
    assert_int_equal(s->reader->told[0].result[0], 1);
    assert_in_order(s->reader);
    scene_free(s);
}

/* ---- what it costs ---- */

#define MANY 2000u

/* All of a line's reads go on their own; the last one is answered, the others lose their
 * connection. */
static void a_line_is_walked_once_however_many_are_asked_again(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 7);
    lab->reads_elsewhere = true;
    struct scene *s = scene_of(lab);
    struct driver *d = lab_node(lab, s->follower)->driver;
    s->reader->line->answer_bytes = 1; /* so that as many may go */
    s->spy.keep_told = true;
    for (unsigned i = 0; i < 200; i++)
        (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
    lab_run(lab, 100);
    assert_int_equal(s->spy.count, 200);
    for (size_t i = 200; i > 0; i--) /* each behind those that come after it */
        lab_inject(lab, &s->spy.kept[i - 1]);
    lab_run(lab, 1);
    assert_true(d->behind_steps <= 200);
    s->spy.keep_told = false;
    lab_await(s->reader, 200);
    uint64_t before = d->behind_steps;
    s->spy.keep_answers = true; /* no round: none is answered but the last, by hand */
    lab_node(lab, s->third)->cut = true;
    for (unsigned i = 0; i < MANY; i++) {
        (void)lab_read_how(s->reader, LINEARIZABLE, 9000);
        if (i % 250 == 249) lab_run(lab, 3); /* not more than a leader takes at once */
    }
    struct request *last = last_of(s->reader);
    assert_int_equal(last->state, REQUEST_FORWARDED);
    assert_int_equal(d->forwarded_count, MANY);
    size_t newest = s->spy.count;
    struct wire_forward_answer a = {.number = last->number, .outcome = KELP_DONE};
    a.pos.index = d->applied;
    uint8_t fixed[WIRE_FORWARD_HEAD_MAX];
    struct wire_frame frame = {.kind = WIRE_FORWARD_ANSWER};
    frame.body = bytes_of(fixed, wire_forward_answer_encode(&a, fixed));
    assert_int_equal(driver_frame(d, lab->now, s->leader, KELP_LANE_ENTRIES, last->route.connection,
                                  &frame, NULL),
                     KELP_OK);
    assert_int_equal(last->state, REQUEST_CLOSED);
    assert_int_equal(newest, s->spy.count);
    lab_disconnect(lab, s->leader, s->follower);
    assert_int_equal(last->state, REQUEST_QUEUED);
    assert_int_equal(d->forwarded_count, 0);
    assert_true(d->behind_steps - before < MANY);
    s->spy.keep_answers = false;
    lab_node(lab, s->third)->cut = false;
    lab_await(s->reader, 200 + MANY);
    assert_in_order(s->reader);
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_by_lease_that_passed_a_round_is_asked_again_on_the_leader),
        cmocka_unit_test(
            a_read_by_lease_that_passed_a_round_is_asked_again_by_who_sends_it_on_whole),
        cmocka_unit_test(a_read_that_is_asked_again_of_its_own_node_takes_those_behind_it_along),
        cmocka_unit_test(who_is_told_with_others_takes_along_what_another_question_answered),
        cmocka_unit_test(a_long_read_that_is_asked_again_is_ended_by_the_next_run_not_by_the_frame),
        cmocka_unit_test(an_answer_to_what_is_asked_anew_is_not_heard),
        cmocka_unit_test(what_names_an_index_that_is_applied_is_not_served_behind_a_later_read),
        cmocka_unit_test(who_is_told_a_lower_index_waits_as_long_as_those_before_it),
        cmocka_unit_test(what_was_answered_before_one_in_front_of_it_is_asked_again),
        cmocka_unit_test(a_line_is_walked_once_however_many_are_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
