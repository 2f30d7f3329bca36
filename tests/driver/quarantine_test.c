/* SPDX-License-Identifier: Apache-2.0 */
/* quarantine_test.c - members tell each other what their states are, and one whose state is not
 * that of a majority answers nothing by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"
#include "wire/fetch.h"

struct seen {
    size_t frames; /* of kind MARKS */
    kelp_id tells; /* whose frames alone are lost, 0: nobody's */
    bool lost;     /* they are */
};

static bool watch(struct lab *lab, const struct lab_packet *packet, void *ctx)
{
    struct seen *seen = ctx;
    (void)lab;
    if (packet->len <= WIRE_FRAME_HEAD) return true;
    uint8_t kind = packet->data[10];
    if (kind == WIRE_MARKS) assert_int_equal(packet->lane, KELP_LANE_CONTROL);
    seen->frames += kind == WIRE_MARKS;
    return kind != WIRE_MARKS || !seen->lost || packet->from != seen->tells;
}

static struct lab *made(size_t count, uint64_t seed, struct seen *seen)
{
    struct lab *lab = lab_new(count, seed);
    lab->watch = watch;
    lab->watch_ctx = seen;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    return lab;
}

/* So many writes, all done. */
static void written(struct lab *lab, kelp_id at, size_t count)
{
    struct lab_client *c = lab_client(lab, at);
    for (uint64_t i = 1; i <= count; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 50 == 0) lab_run(lab, 5);
    }
    lab_await(c, count);
    lab_client_free(c);
    lab_run(lab, 1000);
}

/* What memory does that was hit. */
static void rots(struct lab *lab, kelp_id id)
{
    lab_node(lab, id)->machine->count ^= 1u << 20;
}

static enum compare_verdict verdict(struct lab *lab, kelp_id id)
{
    return lab_status(lab, id)->compared.verdict;
}

static kelp_id follower(struct lab *lab)
{
    return lab_leader(lab) == 1 ? 2 : 1;
}

static void members_that_are_equal_say_so_and_nothing_at_rest(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 71, &seen);
    assert_int_equal(seen.frames, 0);
    written(lab, lab_leader(lab), 600);
    for (kelp_id id = 1; id <= 3; id++) {
        assert_int_equal(verdict(lab, id), COMPARE_AGREED);
        assert_int_equal(lab_status(lab, id)->compared.index, 512);
        assert_int_equal(lab_status(lab, id)->compared.with_most, 3);
    }
    assert_true(seen.frames >= 6 && seen.frames <= 12); /* each to two, for each index at most */
    size_t frames = seen.frames;
    lab_run(lab, 20000);
    assert_int_equal(seen.frames, frames);
    lab_free(lab);
}

static void refused(struct lab *lab, kelp_id at, enum kelp_read_level level)
{
    struct lab_client *c = lab_client(lab, at);
    struct kelp_read_how how = {.level = level, .stale_max = KELP_NEVER};
    (void)lab_read_how(c, how, 5000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_REFUSED);
    assert_int_equal(c->told[0].reason, KELP_R_QUARANTINED);
    lab_client_free(c);
}

static void serves_nothing(struct lab *lab, kelp_id id)
{
    refused(lab, id, KELP_READ_LINEARIZABLE);
    refused(lab, id, KELP_READ_LEASE);
    refused(lab, id, KELP_READ_STALE);
    refused(lab, id, KELP_READ_ANY);
    refused(lab, id, KELP_READ_LOG);
}

static void whose_state_rotted_serves_no_reads_and_goes_on_with_its_log(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 72, &seen);
    written(lab, lab_leader(lab), 300);
    kelp_id rotten = follower(lab);
    rots(lab, rotten);
    written(lab, lab_leader(lab), 300);
    struct driver_status *s = lab_status(lab, rotten);
    assert_int_equal(s->compared.verdict, COMPARE_APART);
    assert_int_equal(s->compared.index, 512); /* the first behind it */
    assert_int_equal(s->compared.with_most, 2);
    assert_false(s->compared.log_differs);
    serves_nothing(lab, rotten);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id == rotten) continue;
        assert_int_equal(verdict(lab, id), COMPARE_AGREED);
        struct lab_client *c = lab_client(lab, id);
        (void)lab_read(c, 5000);
        lab_await(c, 1);
        assert_int_equal(c->told[0].outcome, KELP_DONE);
        assert_int_equal(c->told[0].result[0], 600);
        lab_client_free(c);
    }
    /* its log counts: with another one down it is half of the quorum */
    kelp_id down = 6 - rotten - lab_leader(lab);
    lab_crash(lab, down);
    written(lab, lab_leader(lab), 10);
    written(lab, rotten, 10); /* what is written through it is answered by the leader */
    struct kelp_view *view = &lab_status(lab, rotten)->view;
    assert_int_equal(view->durable, view->last);
    assert_int_equal(lab_status(lab, rotten)->compared.verdict, COMPARE_APART);
    lab_free(lab);
}

static void a_leader_whose_state_rotted_hands_over_and_tells_no_results(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 73, &seen);
    kelp_id rotten = lab_leader(lab);
    rots(lab, rotten);
    struct lab_client *c = lab_client(lab, rotten);
    for (uint64_t i = 1; i <= 900; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 20 == 0) lab_run(lab, 10);
    }
    lab_await(c, 900);
    lab_run(lab, 2000);
    assert_int_equal(verdict(lab, rotten), COMPARE_APART);
    assert_int_not_equal(lab_leader(lab), 0);
    assert_int_not_equal(lab_leader(lab), rotten);
    size_t wrong_last = 0, right_first = 0, uncertain = 0;
    for (size_t i = 0; i < c->told_count; i++) {
        const struct lab_told *t = &c->told[i];
        if (t->outcome == KELP_UNKNOWN) {
            assert_int_equal(t->reason, KELP_R_QUARANTINED);
            uncertain++;
            continue;
        }
        assert_int_equal(t->outcome, KELP_DONE);
        bool wrong = t->result[0] > 1u << 19;
        if (wrong) wrong_last = i;
        if (!wrong && right_first == 0) right_first = i;
    }
    assert_true(wrong_last > 200 && wrong_last < 400); /* until it was found out, at 256 */
    assert_true(right_first > wrong_last);             /* and no more of them behind that */
    assert_true(uncertain > 0 && uncertain <= 20);     /* what it had led: the rest waited */
    assert_int_equal(lab_node(lab, lab_leader(lab))->machine->count, 900);
    lab_client_free(c);
    /* leadership is not brought back */
    c = lab_client(lab, lab_leader(lab));
    (void)lab_transfer(c, rotten, 2000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_REFUSED);
    assert_int_equal(c->told[0].reason, KELP_R_QUARANTINED);
    lab_client_free(c);
    /* nor by the leader's end */
    kelp_id down = lab_leader(lab);
    lab_crash(lab, down);
    assert_int_equal(lab_await_leader(lab), 6 - rotten - down);
    lab_free(lab);
}

static void what_was_asked_before_is_not_answered_either(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 79, &seen);
    kelp_id rotten = follower(lab);
    rots(lab, rotten);
    struct lab_client *c = lab_client(lab, rotten);
    struct kelp_read_how how = {.level = KELP_READ_ANY, .at_least = 400};
    (void)lab_read_how(c, how, 60000);
    written(lab, lab_leader(lab), 200);
    assert_int_equal(c->told_count, 0);
    written(lab, lab_leader(lab), 300);
    lab_await(c, 1);
    assert_int_equal(c->told[0].outcome, KELP_REFUSED);
    assert_int_equal(c->told[0].reason, KELP_R_QUARANTINED);
    lab_client_free(c);
    lab_free(lab);
}

struct asked {
    size_t gone, pieces;
    kelp_index newest;
};

static bool watch_answers(struct lab *lab, const struct lab_packet *packet, void *ctx)
{
    struct asked *asked = ctx;
    struct wire_frame frame;
    struct wire_piece m;
    size_t used;
    (void)lab;
    struct kelp_bytes in = bytes_of(packet->data, packet->len);
    if (wire_frame_decode(in, UINT32_MAX, &frame, &used, NULL) != KELP_OK) return true;
    if (frame.kind != WIRE_PIECE) return true;
    assert_int_equal(wire_piece_decode(frame.body, &m, NULL), KELP_OK);
    asked->gone += m.state == WIRE_PIECE_GONE;
    asked->pieces += m.state == WIRE_PIECE_BYTES;
    asked->newest = m.newest.index;
    return true;
}

static void its_snapshots_are_given_to_nobody(void **state)
{
    (void)state;
    struct asked asked = {0};
    struct lab *lab = lab_new(3, 80);
    lab->watch = watch_answers;
    lab->watch_ctx = &asked;
    lab->snapshot_every = 100;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    kelp_id rotten = follower(lab), asks = 6 - rotten - lab_leader(lab);
    uint8_t data[WIRE_FRAME_HEAD + WIRE_FETCH_MAX];
    for (uint64_t round = 1; round <= 3; round++) {
        if (round == 2) rots(lab, rotten);
        written(lab, lab_leader(lab), 300);
        assert_int_equal(verdict(lab, rotten), round == 1 ? COMPARE_AGREED : COMPARE_APART);
        struct wire_fetch ask = {
            .pos = lab_status(lab, rotten)->snapshot.last, .ask = round, .window = 1u << 20};
        assert_true(ask.pos.index > 0);
        if (round == 3) ask.pos.index--; /* it does not name the one that it has either */
        struct kelp_bytes body =
            bytes_of(data + WIRE_FRAME_HEAD, wire_fetch_encode(&ask, data + WIRE_FRAME_HEAD));
        wire_frame_head(data, WIRE_FETCH, 0, &body, 1);
        struct lab_packet p = {.from = asks,
                               .to = rotten,
                               .lane = KELP_LANE_SNAPSHOT,
                               .data = data,
                               .len = WIRE_FRAME_HEAD + body.len};
        p.connection = lab_node(lab, asks)->links[rotten - 1][KELP_LANE_SNAPSHOT].connection;
        lab_inject(lab, &p);
        lab_run(lab, 200);
        assert_int_equal(asked.pieces, 1);
        assert_int_equal(asked.gone, round - 1);
        assert_int_equal(asked.newest, 0);
    }
    lab_free(lab);
}

static void a_leader_that_can_hand_over_to_nobody_takes_no_writes(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 81, &seen);
    kelp_id rotten = lab_leader(lab);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id == rotten) continue;
        struct lab_client *c = lab_client(lab, id);
        (void)lab_drain(c, DRIVER_DRAIN, 5000);
        lab_await(c, 1);
        lab_client_free(c);
    }
    rots(lab, rotten);
    written(lab, rotten, 300);
    assert_int_equal(verdict(lab, rotten), COMPARE_APART);
    assert_int_equal(lab_leader(lab), rotten);
    for (kelp_id id = 1; id <= 3; id++) {
        struct lab_client *c = lab_client(lab, id);
        (void)lab_write(c, 7, 500);
        lab_await(c, 1);
        assert_int_equal(c->told[0].outcome, id == rotten ? KELP_REFUSED : KELP_UNKNOWN);
        lab_client_free(c);
    }
    assert_int_equal(lab_node(lab, 6 - rotten - follower(lab))->machine->count, 300);
    lab_free(lab);
}

static void a_restart_reads_the_state_anew(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 74, &seen);
    kelp_id rotten = follower(lab);
    rots(lab, rotten);
    written(lab, lab_leader(lab), 300);
    assert_int_equal(verdict(lab, rotten), COMPARE_APART);
    lab_crash(lab, rotten);
    assert_true(lab_node(lab, rotten)->apart);
    lab_node(lab, rotten)->cut = true;
    lab_start(lab, rotten);
    lab_run(lab, 1000);
    assert_int_equal(verdict(lab, rotten), COMPARE_APART); /* it is not known yet */
    assert_int_equal(lab_status(lab, rotten)->compared.index, 0);
    refused(lab, rotten, KELP_READ_ANY);
    lab_node(lab, rotten)->cut = false;
    lab_run(lab, 5000);
    assert_int_equal(verdict(lab, rotten), COMPARE_AGREED); /* by what was told it again */
    assert_false(lab_node(lab, rotten)->apart);
    assert_int_equal(lab_status(lab, rotten)->compared.index, 256);
    struct lab_client *c = lab_client(lab, rotten);
    (void)lab_read(c, 5000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].result[0], 300);
    lab_client_free(c);
    lab_free(lab);
}

/* It was taken of the wrong state, before anybody knew. */
static void a_start_from_a_wrong_snapshot_serves_nothing_until_it_is_replaced(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = lab_new(3, 81);
    lab->watch = watch;
    lab->watch_ctx = &seen;
    lab->snapshot_every = 100;
    lab->trailing = 8;
    lab->forgets = true;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    kelp_id rotten = follower(lab);
    rots(lab, rotten);
    written(lab, lab_leader(lab), 270);
    assert_int_equal(verdict(lab, rotten), COMPARE_APART);
    assert_true(lab_status(lab, rotten)->snapshot.last.index >= 100);
    for (unsigned again = 0; again < 2; again++) {
        lab_crash(lab, rotten);
        lab_start(lab, rotten);
        lab_run(lab, 1000);
        assert_true((lab_node(lab, rotten)->machine->count >> 20 & 1u) != 0);
        assert_int_equal(verdict(lab, rotten), COMPARE_APART);
        serves_nothing(lab, rotten);
        written(lab, lab_leader(lab), 270);
        assert_int_equal(verdict(lab, rotten), COMPARE_APART);
        assert_true(lab_status(lab, rotten)->compared.index > 0); /* it was compared, and is */
    }
    assert_int_equal(driver_rejoin(lab_node(lab, rotten)->driver, lab->now, 0, false), KELP_R_NONE);
    lab_run(lab, 5000);
    assert_int_not_equal(verdict(lab, rotten), COMPARE_APART);
    assert_false(lab_node(lab, rotten)->apart);
    lab_crash(lab, rotten);
    lab_start(lab, rotten);
    lab_run(lab, 1000);
    assert_int_not_equal(verdict(lab, rotten), COMPARE_APART);
    assert_int_equal(lab_node(lab, rotten)->machine->count, 810);
    lab_free(lab);
}

static void without_a_majority_nobody_is_quarantined_and_both_say_so(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(2, 75, &seen);
    kelp_id rotten = follower(lab);
    rots(lab, rotten);
    written(lab, lab_leader(lab), 300);
    for (kelp_id id = 1; id <= 2; id++) {
        assert_int_equal(verdict(lab, id), COMPARE_SPLIT);
        assert_int_equal(lab_status(lab, id)->compared.index, 256);
        assert_non_null(strstr(lab_node(lab, id)->note, "DIVERGED"));
        struct lab_client *c = lab_client(lab, id);
        (void)lab_read(c, 5000);
        lab_await(c, 1);
        assert_int_equal(c->told[0].outcome, KELP_DONE);
        lab_client_free(c);
    }
    lab_free(lab);
}

static void who_was_told_nothing_is_told_on_a_new_connection(void **state)
{
    (void)state;
    struct seen seen = {.tells = 1, .lost = true};
    struct lab *lab = made(3, 76, &seen);
    rots(lab, 3);
    written(lab, lab_leader(lab), 300);
    assert_int_equal(verdict(lab, 3), COMPARE_SPLIT); /* 2 alone was heard */
    seen.lost = false;
    lab_run(lab, 2000);
    assert_int_equal(verdict(lab, 3), COMPARE_SPLIT); /* at rest nothing is told again */
    lab_disconnect(lab, 1, 3);
    lab_run(lab, 2000);
    assert_int_equal(verdict(lab, 3), COMPARE_APART);
    lab_free(lab);
}

static void a_snapshot_of_another_ends_it(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = lab_new(3, 77);
    lab->watch = watch;
    lab->watch_ctx = &seen;
    lab->snapshot_every = 100;
    lab->trailing = 8;
    lab->forgets = true;
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    kelp_id rotten = follower(lab);
    rots(lab, rotten);
    written(lab, lab_leader(lab), 300);
    assert_int_equal(verdict(lab, rotten), COMPARE_APART);
    struct kelp_pos last = lab_status(lab, rotten)->snapshot.last;
    written(lab, lab_leader(lab), 300);
    /* it took none of that state */
    assert_true(kelp_pos_equal(lab_status(lab, rotten)->snapshot.last, last));
    struct kelp_pos pos;
    assert_int_equal(driver_snapshot_now(lab_node(lab, rotten)->driver, &pos), KELP_E_BUSY);
    lab_node(lab, rotten)->cut = true;
    written(lab, lab_leader(lab), 300);
    lab_node(lab, rotten)->cut = false;
    lab_run(lab, 5000);
    assert_true(lab_node(lab, rotten)->machine->restores > 0);
    assert_int_not_equal(verdict(lab, rotten), COMPARE_APART);
    written(lab, lab_leader(lab), 300);
    assert_int_equal(verdict(lab, rotten), COMPARE_AGREED);
    struct lab_client *c = lab_client(lab, rotten);
    (void)lab_read(c, 5000);
    lab_await(c, 1);
    assert_int_equal(c->told[0].result[0], 1200);
    lab_client_free(c);
    lab_free(lab);
}

static void damaged_or_foreign_marks_change_nothing(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lab *lab = made(3, 78, &seen);
    written(lab, lab_leader(lab), 300);
    struct driver *d = lab_node(lab, 1)->driver;
    uint8_t bytes[WIRE_MARKS_MAX];
    struct wire_mark lie = {.index = 256, .chain = 1, .state = 1};
    struct wire_frame frame = {.kind = WIRE_MARKS,
                               .body = bytes_of(bytes, wire_marks_encode(&lie, 1, bytes))};
    /* of nobody that is a member */
    assert_int_equal(driver_frame(d, lab->now, 9, KELP_LANE_CONTROL, 5, &frame, NULL), KELP_OK);
    lab_run(lab, 100);
    assert_int_equal(verdict(lab, 1), COMPARE_AGREED);
    assert_int_equal(lab_status(lab, 1)->compared.with_most, 3);
    /* of another directory in a member's place */
    peer_find(d, 2)->incarnation ^= 2;
    assert_int_equal(driver_frame(d, lab->now, 2, KELP_LANE_CONTROL, 5, &frame, NULL), KELP_OK);
    lab_run(lab, 100);
    assert_int_equal(lab_status(lab, 1)->compared.with_most, 3);
    peer_find(d, 2)->incarnation ^= 2;
    /* on another lane, and cut */
    assert_int_equal(driver_frame(d, lab->now, 2, KELP_LANE_ENTRIES, 5, &frame, NULL),
                     KELP_E_MALFORMED);
    frame.body.len--;
    assert_int_equal(driver_frame(d, lab->now, 2, KELP_LANE_CONTROL, 5, &frame, NULL),
                     KELP_E_MALFORMED);
    lab_run(lab, 100);
    assert_int_equal(lab_status(lab, 1)->compared.with_most, 3);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_that_are_equal_say_so_and_nothing_at_rest),
        cmocka_unit_test(whose_state_rotted_serves_no_reads_and_goes_on_with_its_log),
        cmocka_unit_test(a_leader_whose_state_rotted_hands_over_and_tells_no_results),
        cmocka_unit_test(what_was_asked_before_is_not_answered_either),
        cmocka_unit_test(its_snapshots_are_given_to_nobody),
        cmocka_unit_test(a_leader_that_can_hand_over_to_nobody_takes_no_writes),
        cmocka_unit_test(a_restart_reads_the_state_anew),
        cmocka_unit_test(a_start_from_a_wrong_snapshot_serves_nothing_until_it_is_replaced),
        cmocka_unit_test(without_a_majority_nobody_is_quarantined_and_both_say_so),
        cmocka_unit_test(who_was_told_nothing_is_told_on_a_new_connection),
        cmocka_unit_test(a_snapshot_of_another_ends_it),
        cmocka_unit_test(damaged_or_foreign_marks_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
