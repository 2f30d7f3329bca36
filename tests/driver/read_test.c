/* SPDX-License-Identifier: Apache-2.0 */
/* read_test.c - what a read of each level may miss, on each node. [§6.4] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "driver/room.h"

static const struct kelp_read_how LINEARIZABLE = {.level = KELP_READ_LINEARIZABLE};
static const struct kelp_read_how LOG = {.level = KELP_READ_LOG};
static const struct kelp_read_how ANY = {.level = KELP_READ_ANY};

static struct kelp_read_how stale(uint64_t ms)
{
    return (struct kelp_read_how){.level = KELP_READ_STALE, .stale_max = ms * LAB_MS};
}

struct scene {
    struct lab *lab;
    kelp_id leader, follower;
    struct lab_client *writer, *reader; /* on the leader, on the follower */
};

static struct scene scene_with(uint64_t seed, kelp_ns lease)
{
    struct scene s = {.lab = lab_new(3, seed)};
    s.lab->lease = lease;
    lab_start_all(s.lab);
    s.leader = lab_await_leader(s.lab);
    s.follower = s.leader == 1 ? 2 : 1;
    lab_run(s.lab, 300);
    s.writer = lab_client(s.lab, s.leader);
    s.reader = lab_client(s.lab, s.follower);
    return s;
}

static struct scene scene_of(uint64_t seed)
{
    return scene_with(seed, 0);
}

static void scene_free(struct scene *s)
{
    lab_client_free(s->writer);
    lab_client_free(s->reader);
    lab_free(s->lab);
}

static const struct lab_told *newest(const struct lab_client *c)
{
    return &c->told[c->told_count - 1];
}

/* Writes so many values; the result counts them. */
static void write_some(struct scene *s, size_t count)
{
    size_t told = s->writer->told_count;
    for (size_t i = 1; i <= count; i++)
        (void)lab_write(s->writer, i, 5000);
    lab_await(s->writer, told + count);
    assert_int_equal(newest(s->writer)->outcome, KELP_DONE);
}

static uint64_t last_on(struct scene *s, kelp_id node)
{
    return lab_status(s->lab, node)->view.last;
}

static uint64_t questions; /* frames that carry a forward */

static bool count_forwards(struct lab *lab, const struct lab_packet *packet, void *ctx)
{
    (void)lab;
    (void)ctx;
    struct wire_frame frame;
    size_t used;
    if (wire_frame_decode(bytes_of(packet->data, packet->len), SIZE_MAX, &frame, &used, NULL) ==
        KELP_OK)
        questions += frame.kind == WIRE_FORWARD;
    return true;
}

static void a_follower_asks_for_the_index_and_answers_by_its_own_machine(void **state)
{
    (void)state;
    struct scene s = scene_of(1);
    struct lab_node *f = lab_node(s.lab, s.follower);
    f->hold_apply = true;
    write_some(&s, 3);
    (void)lab_read_how(s.reader, LINEARIZABLE, 5000);
    lab_run(s.lab, 200);
    assert_int_equal(s.reader->told_count, 0); /* the leader has it; this node has not [R4] */
    lab_release_apply(f);
    lab_await(s.reader, 1);
    assert_int_equal(s.reader->told[0].outcome, KELP_DONE);
    assert_int_equal(s.reader->told[0].result[0], 3);
    assert_true(s.reader->told[0].pos.index >= newest(s.writer)->pos.index);
    scene_free(&s);
}

static void reads_that_start_together_share_one_question(void **state)
{
    (void)state;
    struct scene s = scene_of(2);
    struct lab_client *other = lab_client(s.lab, s.follower);
    write_some(&s, 2);
    lab_run(s.lab, 300);
    questions = 0;
    s.lab->watch = count_forwards;
    for (int i = 0; i < 50; i++) {
        (void)lab_read_how(s.reader, LINEARIZABLE, 5000);
        (void)lab_read_how(other, LINEARIZABLE, 5000);
    }
    lab_await(s.reader, 50);
    lab_await(other, 50);
    assert_int_equal(newest(s.reader)->result[0], 2);
    assert_int_equal(newest(other)->result[0], 2);
    assert_int_equal(questions, 1);
    lab_client_free(other);
    scene_free(&s);
}

/* The one who asked has a short deadline; it is not that of those who joined. */
static void who_joined_a_question_does_not_end_with_it(void **state)
{
    (void)state;
    struct scene s = scene_of(3);
    struct lab_client *patient = lab_client(s.lab, s.follower);
    for (kelp_id id = 1; id <= 3; id++) { /* no quorum answers the leader's round */
        if (id != s.leader && id != s.follower) lab_node(s.lab, id)->cut = true;
    }
    lab_disconnect(s.lab, s.leader, s.follower);
    lab_run(s.lab, 20);
    (void)lab_read_how(s.reader, LINEARIZABLE, 30);
    (void)lab_read_how(patient, LINEARIZABLE, 8000);
    lab_await(s.reader, 1);
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(s.lab, id)->cut = false;
    lab_await(patient, 1);
    assert_int_equal(patient->told[0].outcome, KELP_DONE);
    lab_client_free(patient);
    scene_free(&s);
}

static void a_read_through_the_log_appends_one_barrier_and_sees_what_is_before_it(void **state)
{
    (void)state;
    struct scene s = scene_of(4);
    write_some(&s, 2);
    kelp_index last = last_on(&s, s.leader);
    (void)lab_read_how(s.reader, LOG, 5000);
    lab_await(s.reader, 1);
    assert_int_equal(s.reader->told[0].outcome, KELP_DONE);
    assert_int_equal(s.reader->told[0].result[0], 2);
    assert_int_equal(last_on(&s, s.leader), last + 1);
    assert_true(s.reader->told[0].pos.index >= last + 1);
    (void)lab_read_how(s.writer, LOG, 5000); /* on the leader itself */
    lab_await(s.writer, 3);
    assert_int_equal(newest(s.writer)->result[0], 2);
    assert_int_equal(last_on(&s, s.leader), last + 2);
    scene_free(&s);
}

/* It was released, and another read's answer ended the run; meanwhile this node learns that it is a
 * witness. What its machine holds is nobody's state, and has no age. */
static void who_learns_that_it_has_no_data_answers_nothing_that_waits_for_its_turn(void **state)
{
    (void)state;
    struct scene s = scene_of(24);
    struct driver *d = lab_node(s.lab, s.follower)->driver;
    struct lab_client *other = lab_client(s.lab, s.follower);
    for (int i = 0; i < 3; i++) {
        uint8_t question[8];
        put_u64(question, QUERY_BYTES_RUN);
        struct driver_question q = {.bytes = bytes_of(question, sizeof question),
                                    .how = ANY,
                                    .deadline = s.lab->now + 5000 * LAB_MS};
        struct lab_client *c = i == 0 ? other : s.reader;
        q.how = i == 0 ? ANY : stale(5000);
        assert_true(driver_read(d, s.lab->now, c->line, ++c->tokens, &q));
    }
    (void)driver_run(d, s.lab->now);
    assert_int_equal(other->told_count, 1);
    assert_int_equal(s.reader->told_count, 0);
    assert_int_equal(TAILQ_FIRST(&s.reader->line->requests)->state, REQUEST_QUERYING);
    d->hollow = true;
    lab_await(s.reader, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(s.reader->told[i].outcome, KELP_REFUSED);
        assert_int_equal(s.reader->told[i].reason, KELP_R_LOADING);
    }
    lab_client_free(other);
    scene_free(&s);
}

static void any_is_answered_without_a_leader_and_linearizable_is_not(void **state)
{
    (void)state;
    struct scene s = scene_of(5);
    write_some(&s, 4);
    lab_run(s.lab, 300);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id != s.follower) lab_crash(s.lab, id);
    }
    lab_run(s.lab, 3000);
    (void)lab_read_how(s.reader, ANY, 5000);
    lab_run(s.lab, 5);
    assert_int_equal(s.reader->told_count, 1);
    assert_int_equal(s.reader->told[0].outcome, KELP_DONE);
    assert_int_equal(s.reader->told[0].result[0], 4);
    (void)lab_read_how(s.reader, LINEARIZABLE, 9000);
    lab_await(s.reader, 2);
    assert_int_equal(s.reader->told[1].outcome, KELP_REFUSED);
    assert_int_equal(s.reader->told[1].reason, KELP_R_NO_LEADER);
    scene_free(&s);
}

/* redisraft#18, redisraft#30, etcd#3879. All were killed, and one of them is back alone: what was
 * seen before is replayed before anybody reads, and nobody finds an empty machine. */
static void a_started_node_answers_no_read_before_its_replay(void **state)
{
    (void)state;
    struct scene s = scene_of(12);
    for (int i = 0; i < 4; i++)
        write_some(&s, 1);
    lab_run(s.lab, 300);
    lab_client_free(s.reader);
    for (kelp_id id = 1; id <= 3; id++)
        if (id != s.leader) lab_crash(s.lab, id);
    lab_client_free(s.writer);
    lab_crash(s.lab, s.leader);
    struct lab_node *f = lab_node(s.lab, s.follower);
    f->hold_apply = true;
    lab_start(s.lab, s.follower);
    s.writer = lab_client(s.lab, s.follower);
    s.reader = lab_client(s.lab, s.follower);
    lab_run(s.lab, 10);
    (void)lab_read_how(s.writer, ANY, 5000);
    (void)lab_read_how(s.writer, stale(60000), 5000);
    lab_await(s.writer, 2);
    assert_int_equal(s.writer->told[0].outcome, KELP_REFUSED);
    assert_int_equal(s.writer->told[0].reason, KELP_R_LOADING);
    assert_int_equal(s.writer->told[1].outcome, KELP_REFUSED);
    lab_release_apply(f);
    lab_run(s.lab, 10);
    (void)lab_read_how(s.reader, ANY, 5000);
    (void)lab_read_how(s.reader, LINEARIZABLE, 9000);
    lab_await(s.reader, 2);
    assert_int_equal(s.reader->told[0].outcome, KELP_DONE);
    assert_in_range(s.reader->told[0].result[0], 3, 4); /* what its disk knew to be committed */
    assert_int_equal(s.reader->told[1].outcome, KELP_REFUSED);
    assert_int_equal(s.reader->told[1].reason, KELP_R_NO_LEADER);
    scene_free(&s);
}

static void a_stale_read_is_refused_beyond_its_bound_and_both_ages_are_said(void **state)
{
    (void)state;
    struct scene s = scene_of(6);
    write_some(&s, 1);
    lab_run(s.lab, 300);
    (void)lab_read_how(s.reader, stale(500), 5000);
    lab_await(s.reader, 1);
    assert_int_equal(s.reader->told[0].outcome, KELP_DONE);
    assert_int_equal(s.reader->told[0].result[0], 1);
    lab_node(s.lab, s.follower)->cut = true; /* it hears nobody any more */
    lab_run(s.lab, 700);
    (void)lab_read_how(s.reader, stale(500), 5000);
    (void)lab_read_how(s.reader, stale(60000), 5000);
    lab_await(s.reader, 3);
    assert_int_equal(s.reader->told[1].outcome, KELP_REFUSED);
    assert_int_equal(s.reader->told[1].reason, KELP_R_STALE_BEYOND);
    assert_true(s.reader->told[1].ages.contact > 500 * LAB_MS);
    assert_int_equal(s.reader->told[1].ages.applied, 0); /* all it heard of is applied */
    assert_int_equal(s.reader->told[2].outcome, KELP_DONE);
    scene_free(&s);
}

static void what_is_committed_and_not_applied_here_makes_a_stale_read_older(void **state)
{
    (void)state;
    struct scene s = scene_of(7);
    struct lab_node *f = lab_node(s.lab, s.follower);
    write_some(&s, 1);
    lab_run(s.lab, 300);
    f->hold_apply = true;
    write_some(&s, 1);
    lab_run(s.lab, 700); /* contact is fresh, the machine is not */
    (void)lab_read_how(s.reader, stale(500), 5000);
    lab_await(s.reader, 1);
    assert_int_equal(s.reader->told[0].reason, KELP_R_STALE_BEYOND);
    assert_true(s.reader->told[0].ages.contact <= 500 * LAB_MS);
    assert_true(s.reader->told[0].ages.applied > 500 * LAB_MS);
    lab_release_apply(f);
    lab_run(s.lab, 5);
    (void)lab_read_how(s.reader, stale(500), 5000);
    lab_await(s.reader, 2);
    assert_int_equal(s.reader->told[1].result[0], 2);
    scene_free(&s);
}

static bool first_answer_lost(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    bool *lost = ctx;
    struct wire_frame f;
    size_t used;
    (void)lab;
    assert_int_equal(
        wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &f, &used, NULL),
        KELP_OK);
    if (*lost || f.kind != WIRE_FORWARD_ANSWER) return true;
    *lost = true;
    return false;
}

/* What is answered in order waits for what was asked before it, and grows older meanwhile. */
static void a_stale_answer_that_waits_for_its_turn_grows_older(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 6);
    lab->reads_elsewhere = true; /* sent on with their questions */
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 300);
    struct lab_client *reader = lab_client(lab, leader == 1 ? 2 : 1);
    bool lost = false;
    lab->watch = first_answer_lost;
    lab->watch_ctx = &lost;
    (void)lab_read_how(reader, stale(1000), 3000); /* never answered */
    (void)lab_read_how(reader, stale(1000), 9000);
    (void)lab_read_how(reader, stale(60000), 9000);
    lab_await(reader, 3);
    assert_true(lost);
    assert_int_equal(reader->told[0].reason, KELP_R_TIMEOUT);
    assert_int_equal(reader->told[1].outcome, KELP_REFUSED);
    assert_int_equal(reader->told[1].reason, KELP_R_STALE_BEYOND);
    assert_true(reader->told[1].ages.applied > 1000 * LAB_MS);
    assert_int_equal(reader->told[2].outcome, KELP_DONE);
    assert_true(reader->told[2].ages.applied > 1000 * LAB_MS);
    lab_client_free(reader);
    lab_free(lab);
}

/* A leader that nobody hears does not call its own state fresh. */
static void a_leader_without_a_quorum_is_stale_too(void **state)
{
    (void)state;
    struct scene s = scene_of(8);
    write_some(&s, 1);
    lab_node(s.lab, s.leader)->cut = true;
    lab_run(s.lab, 700);
    (void)lab_read_how(s.writer, stale(300), 5000);
    lab_await(s.writer, 2);
    assert_int_equal(newest(s.writer)->reason, KELP_R_STALE_BEYOND);
    assert_true(newest(s.writer)->ages.contact > 300 * LAB_MS);
    scene_free(&s);
}

static bool no_entries(struct lab *lab, const struct lab_packet *packet, void *ctx)
{
    (void)lab;
    (void)ctx;
    return packet->lane != KELP_LANE_ENTRIES;
}

struct replayer {
    kelp_id from, to;
    struct lab_packet old[8];
    size_t count;
};

/* Keeps what a follower heard of its leader last, and lets nothing more through. */
static bool old_ones_alone(struct lab *lab, const struct lab_packet *packet, void *ctx)
{
    (void)lab;
    struct replayer *r = ctx;
    if (packet->from != r->from || packet->to != r->to) return true;
    if (r->count == 8) return false;
    struct lab_packet *kept = &r->old[r->count++];
    *kept = *packet;
    kept->data = malloc(packet->len);
    assert_non_null(kept->data);
    memcpy(kept->data, packet->data, packet->len);
    return true;
}

/* What a network delivers twice, or behind what left later, is no news of the leader. */
static void an_old_message_makes_no_stale_read_fresh(void **state)
{
    (void)state;
    struct scene s = scene_of(12);
    write_some(&s, 1);
    struct replayer r = {.from = s.leader, .to = s.follower};
    s.lab->watch_ctx = &r;
    s.lab->watch = old_ones_alone;
    lab_run(s.lab, 2000);
    assert_int_equal(r.count, 8);
    for (size_t i = 0; i < r.count; i++)
        lab_inject(s.lab, &r.old[i]);
    lab_run(s.lab, 5);
    (void)lab_read_how(s.reader, stale(400), 5000);
    lab_await(s.reader, 1);
    assert_int_equal(s.reader->told[0].reason, KELP_R_STALE_BEYOND);
    assert_true(s.reader->told[0].ages.contact > 400 * LAB_MS);
    for (size_t i = 0; i < r.count; i++)
        free(r.old[i].data);
    lab_node(s.lab, s.follower)->hold_apply = true;
    write_some(&s, 1);
    s.lab->watch = NULL;
    while (last_on(&s, s.follower) < last_on(&s, s.leader))
        lab_run(s.lab, 1);
    lab_run(s.lab,
            100); /* what is missing is new, but it was level when it heard its leader last */
    (void)lab_read_how(s.reader, stale(1500), 5000);
    lab_await(s.reader, 2);
    assert_int_equal(s.reader->told[1].reason, KELP_R_STALE_BEYOND);
    assert_true(s.reader->told[1].ages.contact <= 200 * LAB_MS);
    assert_true(s.reader->told[1].ages.applied > 1900 * LAB_MS);
    lab_release_apply(lab_node(s.lab, s.follower));
    scene_free(&s);
}

/* A new leader tells what it had heard itself. Until an entry of its own is committed that may be
 * less than its predecessor committed, however often it is heard. */
static void who_hears_a_leader_that_does_not_know_what_is_committed_grows_stale(void **state)
{
    (void)state;
    struct scene s = scene_of(10);
    write_some(&s, 1);
    lab_run(s.lab, 300);
    lab_crash(s.lab, s.leader);
    s.lab->watch = no_entries;
    kelp_id leader = 0;
    for (int i = 0; i < 200 && leader == 0; i++) {
        lab_run(s.lab, 50);
        for (kelp_id id = 1; id <= 3; id++)
            if (id != s.leader && lab_status(s.lab, id)->view.role == KELP_LEADER) leader = id;
    }
    assert_int_not_equal(leader, 0);
    lab_run(s.lab, 400); /* heartbeats go on */
    kelp_id other = 6 - s.leader - leader;
    struct lab_client *reader = lab_client(s.lab, other);
    (void)lab_read_how(reader, stale(400), 5000);
    lab_await(reader, 1);
    assert_int_equal(reader->told[0].reason, KELP_R_STALE_BEYOND);
    assert_true(reader->told[0].ages.contact <= 400 * LAB_MS);
    assert_true(reader->told[0].ages.applied > 400 * LAB_MS);
    s.lab->watch = NULL;
    lab_run(s.lab, 3000);
    (void)lab_read_how(reader, stale(400), 5000);
    lab_await(reader, 2);
    assert_int_equal(reader->told[1].outcome, KELP_DONE);
    lab_client_free(reader);
    scene_free(&s);
}

static void a_read_that_names_an_index_waits_for_it_or_for_its_deadline(void **state)
{
    (void)state;
    struct scene s = scene_of(9);
    struct lab_node *f = lab_node(s.lab, s.follower);
    write_some(&s, 1);
    lab_run(s.lab, 300);
    f->hold_apply = true;
    write_some(&s, 1);
    struct kelp_read_how own = {.level = KELP_READ_ANY, .at_least = newest(s.writer)->pos.index};
    (void)lab_read_how(s.reader, own, 5000);
    lab_run(s.lab, 200);
    assert_int_equal(s.reader->told_count, 0);
    lab_release_apply(f);
    lab_await(s.reader, 1);
    assert_int_equal(s.reader->told[0].result[0], 2); /* reads its writes */
    own.at_least += 1000;
    (void)lab_read_how(s.reader, own, 100);
    (void)lab_read_how(s.reader, ANY, 5000); /* behind it: never older than what is before it */
    lab_run(s.lab, 50);
    assert_int_equal(s.reader->told_count, 1);
    lab_await(s.reader, 3);
    assert_int_equal(s.reader->told[1].outcome, KELP_REFUSED);
    assert_int_equal(s.reader->told[1].reason, KELP_R_TIMEOUT);
    assert_int_equal(s.reader->told[2].outcome, KELP_DONE);
    scene_free(&s);
}

/* Where the machine must not be asked the leader answers, and not before it applied as much. */
static void what_names_an_index_waits_for_it_where_it_is_sent_on_whole_too(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 23);
    lab->reads_elsewhere = true;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 300);
    struct lab_client *writer = lab_client(lab, leader);
    struct lab_client *reader = lab_client(lab, leader == 1 ? 2 : 1);
    struct kelp_read_how later = {.level = KELP_READ_ANY};
    later.at_least = lab_status(lab, leader)->view.last + 1;
    (void)lab_read_how(reader, later, 5000);
    lab_run(lab, 200);
    assert_int_equal(reader->told_count, 0);
    (void)lab_write(writer, 1, 5000);
    lab_await(reader, 1);
    assert_int_equal(reader->told[0].outcome, KELP_DONE);
    assert_int_equal(reader->told[0].result[0], 1);
    later.at_least += 1000;
    (void)lab_read_how(reader, later, 100);
    (void)lab_read_how(reader, ANY, 5000);
    lab_await(reader, 2);
    assert_int_equal(reader->told[1].outcome, KELP_REFUSED);
    assert_int_equal(reader->told[1].reason, KELP_R_TIMEOUT);
    lab_await(reader, 3);
    assert_int_equal(reader->told[2].outcome, KELP_DONE);
    lab_client_free(writer);
    lab_client_free(reader);
    lab_free(lab);
}

static void a_lease_read_is_refused_without_one_unless_a_round_may_stand_in(void **state)
{
    (void)state;
    struct scene s = scene_of(10);
    struct kelp_read_how lease = {.level = KELP_READ_LEASE};
    struct lab_client *all[2] = {s.writer, s.reader};
    for (size_t i = 0; i < 2; i++) {
        lease.may_round = false;
        (void)lab_read_how(all[i], lease, 5000);
        lab_await(all[i], 1);
        assert_int_equal(all[i]->told[0].outcome, KELP_REFUSED);
        assert_int_equal(all[i]->told[0].reason, KELP_R_NO_LEASE);
        lease.may_round = true;
        (void)lab_read_how(all[i], lease, 5000);
        lab_await(all[i], 2);
        assert_int_equal(all[i]->told[1].outcome, KELP_DONE);
    }
    scene_free(&s);
}

static enum kelp_lease lease_of(struct lab *lab, kelp_id node)
{
    return lab_status(lab, node)->view.lease;
}

/* The settings come with the handshakes; a read that was forwarded is answered by lease too. */
static void a_lease_answers_reads_on_every_node(void **state)
{
    (void)state;
    struct scene s = scene_with(21, 900 * LAB_MS);
    const struct kelp_read_how lease = {.level = KELP_READ_LEASE};
    assert_int_equal(lease_of(s.lab, s.leader), KELP_LEASE_HELD);
    assert_int_equal(lease_of(s.lab, s.follower), KELP_LEASE_NOT_LEADER);
    write_some(&s, 2);
    uint64_t round = lab_status(s.lab, s.leader)->view.lease_reads;
    (void)lab_read_how(s.writer, lease, 5000);
    (void)lab_read_how(s.reader, lease, 5000);
    lab_await(s.reader, 1);
    assert_int_equal(newest(s.writer)->outcome, KELP_DONE);
    assert_int_equal(newest(s.reader)->outcome, KELP_DONE);
    assert_int_equal(newest(s.reader)->result[0], 2);
    assert_int_equal(lab_status(s.lab, s.leader)->view.lease_reads, round + 2);
    scene_free(&s);
}

/* A leader that hears nobody for longer than the lease asks the clock at each read. */
static void a_leader_out_of_reach_refuses_reads_by_lease_once_it_has_lapsed(void **state)
{
    (void)state;
    struct scene s = scene_with(22, 400 * LAB_MS);
    const struct kelp_read_how lease = {.level = KELP_READ_LEASE};
    lab_client_free(s.reader);
    s.reader = NULL;
    for (kelp_id id = 1; id <= 3; id++) {
        if (id != s.leader) lab_crash(s.lab, id);
    }
    (void)lab_read_how(s.writer, lease, 5000);
    lab_await(s.writer, 1);
    assert_int_equal(newest(s.writer)->outcome, KELP_DONE);
    lab_run(s.lab, 450);
    (void)lab_read_how(s.writer, lease, 5000);
    lab_await(s.writer, 2);
    assert_int_equal(newest(s.writer)->reason, KELP_R_NO_LEASE);
    s.reader = lab_client(s.lab, s.leader);
    scene_free(&s);
}

static void who_leads_can_have_it_confirmed_and_others_name_the_leader(void **state)
{
    (void)state;
    struct scene s = scene_of(11);
    (void)lab_ask_bare(s.writer, LINEARIZABLE, false, 5000);
    (void)lab_ask_bare(s.reader, LINEARIZABLE, false, 5000);
    lab_await(s.writer, 1);
    lab_await(s.reader, 1);
    assert_int_equal(s.writer->told[0].outcome, KELP_DONE);
    assert_int_equal(s.reader->told[0].reason, KELP_R_NOT_LEADER);
    assert_int_equal(s.reader->told[0].leader, s.leader);
    lab_node(s.lab, s.leader)->cut = true; /* it still believes to lead, for a while */
    (void)lab_ask_bare(s.writer, LINEARIZABLE, false, 200);
    lab_await(s.writer, 2);
    assert_int_equal(s.writer->told[1].outcome, KELP_REFUSED);
    scene_free(&s);
}

static void a_barrier_is_done_when_everything_before_it_is_applied_here(void **state)
{
    (void)state;
    struct scene s = scene_of(12);
    struct lab_node *f = lab_node(s.lab, s.follower);
    f->hold_apply = true;
    write_some(&s, 3);
    (void)lab_ask_bare(s.reader, LOG, true, 5000);
    lab_run(s.lab, 300);
    assert_int_equal(s.reader->told_count, 0);
    lab_release_apply(f);
    lab_await(s.reader, 1);
    assert_int_equal(s.reader->told[0].outcome, KELP_DONE);
    assert_true(s.reader->told[0].pos.index > newest(s.writer)->pos.index);
    assert_true(f->driver->applied >= s.reader->told[0].pos.index);
    scene_free(&s);
}

/* Levels mixed in one pipeline, on a follower: what each shows never falls. */
static void a_line_never_sees_time_run_backwards_whatever_the_levels(void **state)
{
    (void)state;
    struct scene s = scene_of(13);
    const struct kelp_read_how lease = {.level = KELP_READ_LEASE, .may_round = true};
    const struct kelp_read_how all[5] = {LINEARIZABLE, ANY, LOG, stale(5000), lease};
    for (uint64_t i = 0; i < 300; i++) {
        (void)lab_write(s.writer, i + 1, 9000);
        (void)lab_read_how(s.reader, all[i * 7 % 5], 9000);
        if (i % 3 == 0) lab_run(s.lab, 1);
    }
    lab_await(s.reader, 300);
    lab_await(s.writer, 300);
    uint64_t seen = 0;
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(s.reader->told[i].outcome, KELP_DONE);
        assert_true(s.reader->told[i].result[0] >= seen);
        seen = s.reader->told[i].result[0];
    }
    assert_true(seen > 0);
    scene_free(&s);
}

static void reads_through_the_log_wait_while_leadership_is_handed_over(void **state)
{
    (void)state;
    struct scene s = scene_of(14);
    struct lab_client *mover = lab_client(s.lab, s.leader);
    (void)lab_transfer(mover, s.follower, 5000);
    for (int i = 0; i < 20; i++) {
        (void)lab_read_how(s.writer, LOG, 9000);
        (void)lab_read_how(s.reader, LOG, 9000);
        lab_run(s.lab, 2);
    }
    lab_await(mover, 1);
    lab_await(s.writer, 20);
    lab_await(s.reader, 20);
    assert_int_equal(mover->told[0].outcome, KELP_DONE);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(s.writer->told[i].outcome, KELP_DONE);
        assert_int_equal(s.reader->told[i].outcome, KELP_DONE);
    }
    lab_client_free(mover);
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_asks_for_the_index_and_answers_by_its_own_machine),
        cmocka_unit_test(reads_that_start_together_share_one_question),
        cmocka_unit_test(who_joined_a_question_does_not_end_with_it),
        cmocka_unit_test(a_read_through_the_log_appends_one_barrier_and_sees_what_is_before_it),
        cmocka_unit_test(who_learns_that_it_has_no_data_answers_nothing_that_waits_for_its_turn),
        cmocka_unit_test(any_is_answered_without_a_leader_and_linearizable_is_not),
        cmocka_unit_test(a_started_node_answers_no_read_before_its_replay),
        cmocka_unit_test(a_stale_read_is_refused_beyond_its_bound_and_both_ages_are_said),
        cmocka_unit_test(what_is_committed_and_not_applied_here_makes_a_stale_read_older),
        cmocka_unit_test(a_stale_answer_that_waits_for_its_turn_grows_older),
        cmocka_unit_test(a_leader_without_a_quorum_is_stale_too),
        cmocka_unit_test(an_old_message_makes_no_stale_read_fresh),
        cmocka_unit_test(who_hears_a_leader_that_does_not_know_what_is_committed_grows_stale),
        cmocka_unit_test(a_read_that_names_an_index_waits_for_it_or_for_its_deadline),
        cmocka_unit_test(what_names_an_index_waits_for_it_where_it_is_sent_on_whole_too),
        cmocka_unit_test(a_lease_read_is_refused_without_one_unless_a_round_may_stand_in),
        cmocka_unit_test(a_lease_answers_reads_on_every_node),
        cmocka_unit_test(a_leader_out_of_reach_refuses_reads_by_lease_once_it_has_lapsed),
        cmocka_unit_test(who_leads_can_have_it_confirmed_and_others_name_the_leader),
        cmocka_unit_test(a_barrier_is_done_when_everything_before_it_is_applied_here),
        cmocka_unit_test(a_line_never_sees_time_run_backwards_whatever_the_levels),
        cmocka_unit_test(reads_through_the_log_wait_while_leadership_is_handed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
