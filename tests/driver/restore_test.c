/* SPDX-License-Identifier: Apache-2.0 */
/* restore_test.c - steps of a restore on their way: through forwards, new leaders and restarts; who
 * refuses them; and what waits until it is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "driver/room.h"

#define ID    UINT64_C(0x5eed)
#define COUNT 1000u /* of the state that is restored */
#define LAST  77u

static const uint8_t *state_bytes(void)
{
    static uint8_t bytes[16];
    put_u64(bytes, COUNT);
    put_u64(bytes + 8, LAST);
    return bytes;
}

static struct kelp_restore_step begin_of(uint64_t objects, uint32_t flags)
{
    return (struct kelp_restore_step){.kind = KELP_RESTORE_BEGIN,
                                      .flags = flags,
                                      .id = ID,
                                      .objects = objects,
                                      .object_bytes = 16 * objects,
                                      .bytes = bytes_of(state_bytes(), 16)};
}

static struct kelp_restore_step part_of(uint64_t number)
{
    return (struct kelp_restore_step){.kind = KELP_RESTORE_PART,
                                      .id = ID,
                                      .number = number,
                                      .bytes = bytes_of(state_bytes(), 16)};
}

static struct kelp_restore_step end_of(enum kelp_restore_kind kind)
{
    return (struct kelp_restore_step){.kind = kind, .id = ID};
}

/* Asked and answered. */
static struct lab_told asked(struct lab_client *c, struct kelp_restore_step step)
{
    (void)lab_restore(c, &step, 5000);
    lab_await(c, c->told_count + 1);
    return c->told[c->told_count - 1];
}

static void expect(struct lab_client *c, struct kelp_restore_step step, enum kelp_reason reason)
{
    struct lab_told told = asked(c, step);
    assert_int_equal(told.reason, reason);
    assert_int_equal(told.outcome, reason == KELP_R_NONE ? KELP_DONE : KELP_REFUSED);
}

static struct kelp_restore_status staged_at(struct lab *lab, kelp_id id)
{
    struct kelp_restore_status status;
    driver_staged(lab_node(lab, id)->driver, &status);
    return status;
}

struct scene {
    struct lab *lab;
    kelp_id leader, follower;
    struct lab_client *here, *there; /* at the leader, at a follower */
};

static struct scene scene_of(uint64_t seed)
{
    struct scene s = {.lab = lab_new(3, seed)};
    lab_start_all(s.lab);
    s.leader = lab_await_leader(s.lab);
    lab_run(s.lab, 300);
    s.follower = s.leader % 3 + 1;
    s.here = lab_client(s.lab, s.leader);
    s.there = lab_client(s.lab, s.follower);
    return s;
}

static void scene_end(struct scene *s)
{
    lab_client_free(s->here);
    lab_client_free(s->there);
    lab_free(s->lab);
}

static void assert_all(struct scene *s, uint64_t count, uint64_t last)
{
    lab_run(s->lab, 500);
    for (kelp_id id = 1; id <= 3; id++) {
        const struct lab_node *n = lab_node(s->lab, id);
        assert_int_equal(n->machine->count, count);
        assert_int_equal(n->machine->last, last);
        assert_false(n->machine->stage.open);
        assert_int_equal(rsm_state_hash(n->rsm), rsm_state_hash(lab_node(s->lab, 1)->rsm));
        assert_int_equal(rsm_chain_hash(n->rsm), rsm_chain_hash(lab_node(s->lab, 1)->rsm));
    }
}

static void all_members_have_another_state_from_one_index_on(void **state)
{
    (void)state;
    for (unsigned where = 0; where < 2; where++) { /* at a follower, at the leader */
        struct scene s = scene_of(1 + where);
        struct lab_client *c = where == 0 ? s.there : s.here;
        (void)lab_write(c, 5, 5000);
        lab_await(c, 1);
        expect(c, begin_of(2, 0), KELP_R_NONE);
        (void)lab_write(c, 6, 5000);
        struct kelp_restore_step steps[] = {part_of(0), part_of(1)};
        (void)lab_restore(c, &steps[0], 5000); /* several under way, in order */
        (void)lab_restore(c, &steps[1], 5000);
        (void)lab_write(c, 7, 5000);
        lab_await(c, 6);
        lab_run(s.lab, 300);
        for (kelp_id id = 1; id <= 3; id++) {
            assert_int_equal(lab_node(s.lab, id)->machine->count, 3);
            assert_int_equal(staged_at(s.lab, id).next, 2);
        }
        struct lab_told told = asked(c, end_of(KELP_RESTORE_COMMIT));
        assert_int_equal(told.outcome, KELP_DONE);
        assert_all(&s, COUNT, LAST);
        assert_int_equal(staged_at(s.lab, c->node).ended_at, told.pos.index);
        (void)lab_write(c, 8, 5000);
        lab_await(c, 8);
        assert_int_equal(c->told[7].result[0], COUNT + 1);
        assert_all(&s, COUNT + 1, 8);
        scene_end(&s);
    }
}

/* What a step is refused for where it is applied comes back the whole way. */
static void what_is_refused_is_told(void **state)
{
    (void)state;
    struct scene s = scene_of(3);
    expect(s.there, part_of(0), KELP_R_NOT_STAGED);
    expect(s.there, begin_of(2, 0), KELP_R_NONE);
    expect(s.there, begin_of(2, 0), KELP_R_NONE);
    expect(s.here, part_of(1), KELP_R_PART_MISSING);
    expect(s.there, part_of(0), KELP_R_NONE);
    expect(s.here, part_of(0), KELP_R_NONE);
    expect(s.there, end_of(KELP_RESTORE_COMMIT), KELP_R_PART_MISSING);
    struct kelp_restore_step other = begin_of(2, 0);
    other.id++;
    expect(s.there, other, KELP_R_STAGED);
    expect(s.there, end_of(KELP_RESTORE_ABORT), KELP_R_NONE);
    expect(s.here, end_of(KELP_RESTORE_COMMIT), KELP_R_NOT_STAGED);
    assert_all(&s, 0, 0);
    scene_end(&s);
}

/* It would not show what is staged, and the log behind it would be gone. */
static void no_snapshot_is_begun_while_something_is_staged(void **state)
{
    (void)state;
    struct scene s = {.lab = lab_new(3, 4)};
    s.lab->snapshot_every = 20;
    s.lab->snapshot_objects = 3;
    lab_start_all(s.lab);
    s.leader = lab_await_leader(s.lab);
    s.follower = s.leader % 3 + 1;
    lab_run(s.lab, 300);
    s.here = lab_client(s.lab, s.leader);
    s.there = lab_client(s.lab, s.follower);
    expect(s.there, begin_of(1, 0), KELP_R_NONE);
    lab_run(s.lab, 300);
    uint64_t begun[4] = {0};
    for (kelp_id id = 1; id <= 3; id++)
        begun[id] = lab_node(s.lab, id)->machine->snapshots_begun;
    for (uint64_t i = 1; i <= 100; i++)
        (void)lab_write(s.there, i, 5000);
    lab_await(s.there, 101);
    lab_run(s.lab, 1000);
    for (kelp_id id = 1; id <= 3; id++) {
        struct kelp_pos pos;
        struct lab_node *n = lab_node(s.lab, id);
        assert_int_equal(n->machine->count, 100);
        assert_int_equal(n->machine->snapshots_begun, begun[id]);
        assert_int_equal(lab_status(s.lab, id)->snapshot.failed, 0); /* nor tried */
        assert_int_equal(driver_snapshot_now(n->driver, &pos), KELP_E_BUSY);
    }
    expect(s.there, end_of(KELP_RESTORE_ABORT), KELP_R_NONE);
    lab_run(s.lab, 1000);
    for (kelp_id id = 1; id <= 3; id++)
        assert_true(lab_node(s.lab, id)->machine->snapshots_begun > begun[id]);
    scene_end(&s);
}

/* Whoever leads next has it staged as well; who was away stages it from the log. */
static void a_new_leader_goes_on_where_the_old_one_was(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 3; at++) { /* behind BEGIN, a PART, the last one */
        struct scene s = scene_of(10 + at);
        kelp_id old = s.leader;
        expect(s.there, begin_of(2, 0), KELP_R_NONE);
        for (uint64_t i = 0; i < at; i++)
            expect(s.there, part_of(i), KELP_R_NONE);
        lab_client_free(s.here);
        lab_crash(s.lab, old);
        s.leader = lab_await_leader(s.lab);
        assert_int_not_equal(s.leader, old);
        s.here = lab_client(s.lab, s.leader);
        for (uint64_t i = 0; i < 2; i++) /* those that are there already too */
            expect(s.there, part_of(i), KELP_R_NONE);
        (void)lab_write(s.there, 9, 5000);
        lab_await(s.there, s.there->told_count + 1);
        lab_start(s.lab, old);
        lab_run(s.lab, 1000);
        assert_int_equal(staged_at(s.lab, old).next, 2);
        expect(s.there, end_of(KELP_RESTORE_COMMIT), KELP_R_NONE);
        assert_all(&s, COUNT, LAST);
        scene_end(&s);
    }
}

static void a_member_that_does_not_know_restores_refuses_them_for_all(void **state)
{
    (void)state;
    struct scene s = scene_of(20);
    kelp_id third = 6 - s.leader - s.follower;
    expect(s.there, begin_of(1, 0), KELP_R_NONE);
    lab_node(s.lab, third)->older = true;
    lab_crash(s.lab, third);
    lab_start(s.lab, third);
    lab_run(s.lab, 500);
    struct lab_told told = asked(s.there, part_of(0)); /* it would stop there as it does at BEGIN */
    assert_int_equal(told.reason, KELP_R_NOT_KNOWN_YET);
    assert_int_equal(told.member, third);
    expect(s.here, begin_of(1, KELP_RESTORE_FORCE), KELP_R_NOT_KNOWN_YET);
    lab_client_free(s.here);
    lab_node(s.lab, s.leader)->older = true; /* a leader that does not is not even asked */
    lab_disconnect(s.lab, s.leader, s.follower);
    s.here = lab_client(s.lab, s.leader);
    lab_run(s.lab, 500);
    if (lab_leader(s.lab) == s.leader) {
        told = asked(s.there, part_of(0));
        assert_int_equal(told.reason, KELP_R_NOT_KNOWN_YET);
        assert_int_equal(told.member, s.leader);
    }
    assert_int_equal(lab_leader(s.lab), s.leader);
    scene_end(&s);
}

/* It may be of an older version, which stops at the first step. */
static void a_member_that_was_not_seen_needs_force(void **state)
{
    (void)state;
    struct scene s = {.lab = lab_new(3, 21)};
    lab_start_all(s.lab);
    (void)lab_await_leader(s.lab);
    lab_run(s.lab, 300);
    for (kelp_id id = 1; id <= 3; id++)
        lab_crash(s.lab, id);
    lab_start(s.lab, 1);
    lab_start(s.lab, 2); /* 3 stays away */
    s.leader = lab_await_leader(s.lab);
    s.follower = 3 - s.leader;
    s.here = lab_client(s.lab, s.leader);
    s.there = lab_client(s.lab, s.follower);
    struct lab_told told = asked(s.there, begin_of(1, 0));
    assert_int_equal(told.reason, KELP_R_NOT_KNOWN_YET);
    assert_int_equal(told.member, 3);
    expect(s.there, begin_of(1, KELP_RESTORE_FORCE), KELP_R_NONE);
    expect(s.there, part_of(0), KELP_R_NONE); /* what was begun goes on */
    expect(s.there, end_of(KELP_RESTORE_COMMIT), KELP_R_NONE);
    lab_start(s.lab, 3);
    lab_run(s.lab, 1000);
    assert_all(&s, COUNT, LAST);
    scene_end(&s);
}

static void a_change_of_the_members_and_a_restore_do_not_meet(void **state)
{
    (void)state;
    struct scene s = scene_of(22);
    struct wire_change change = {.count = 1};
    struct lab_client *other = lab_client(s.lab, s.leader);
    change.edits[0] = (struct wire_edit){.id = 4, .verb = KELP_EDIT_ADD, .role = KELP_VOTER};
    (void)snprintf(change.edits[0].address.text, WIRE_ADDRESS_MAX, "node4:7101");
    expect(s.there, begin_of(1, 0), KELP_R_NONE);
    (void)lab_change(other, &change, 20000); /* waits for 4 to show itself */
    lab_run(s.lab, 100);
    expect(s.there, begin_of(1, 0), KELP_R_PENDING);
    expect(s.there, part_of(0), KELP_R_NONE);
    expect(s.there, end_of(KELP_RESTORE_COMMIT), KELP_R_PENDING);
    expect(s.there, end_of(KELP_RESTORE_ABORT), KELP_R_NONE);
    lab_client_free(other);
    scene_end(&s);
}

/* The file, and the snapshot that lets the log be shortened. */
static void a_file_that_the_leaders_disk_has_no_room_for_is_refused(void **state)
{
    (void)state;
    struct scene s = scene_of(23);
    struct kelp_restore_step begin = begin_of(1, 0);
    begin.object_bytes = 6u << 20;
    driver_space(lab_node(s.lab, s.leader)->driver, 11, KELP_SPACE_OK);
    expect(s.there, begin, KELP_R_NO_SPACE);
    driver_space(lab_node(s.lab, s.leader)->driver, 12, KELP_SPACE_OK);
    expect(s.there, begin, KELP_R_NONE);
    scene_end(&s);
}

/* Nothing shortens the log while it is staged, so it must not fill the disk. */
static void what_is_staged_is_given_up_when_the_disk_is_nearly_full(void **state)
{
    (void)state;
    struct scene s = scene_of(24);
    expect(s.there, begin_of(2, 0), KELP_R_NONE);
    expect(s.there, part_of(0), KELP_R_NONE);
    driver_space(lab_node(s.lab, s.leader)->driver, 100, KELP_SPACE_LOW);
    (void)lab_write(s.there, 1, 5000);
    lab_await(s.there, 3);
    assert_int_equal(s.there->told[2].reason, KELP_R_NO_SPACE);
    lab_run(s.lab, 1000);
    for (kelp_id id = 1; id <= 3; id++) {
        assert_int_equal(staged_at(s.lab, id).id, 0);
        assert_int_equal(staged_at(s.lab, id).end, KELP_RESTORE_ABORTED);
    }
    scene_end(&s);
}

/* .. and what ends it passes, as a deletion does. */
static void commit_passes_where_writes_are_refused_for_want_of_room(void **state)
{
    (void)state;
    struct scene s = scene_of(25);
    expect(s.here, begin_of(1, 0), KELP_R_NONE);
    expect(s.here, part_of(0), KELP_R_NONE);
    struct kelp_restore_step commit = end_of(KELP_RESTORE_COMMIT), part = part_of(1);
    driver_space(lab_node(s.lab, s.leader)->driver, 100, KELP_SPACE_LOW);
    lab_node(s.lab, s.leader)->driver->restoring.at = KELP_NEVER; /* it does not give it up here */
    (void)lab_restore(s.here, &part, 5000);
    (void)lab_restore(s.here, &commit, 5000);
    lab_await(s.here, 4);
    assert_int_equal(s.here->told[2].reason, KELP_R_NO_SPACE);
    assert_int_equal(s.here->told[3].outcome, KELP_DONE);
    assert_all(&s, COUNT, LAST);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_members_have_another_state_from_one_index_on),
        cmocka_unit_test(what_is_refused_is_told),
        cmocka_unit_test(no_snapshot_is_begun_while_something_is_staged),
        cmocka_unit_test(a_new_leader_goes_on_where_the_old_one_was),
        cmocka_unit_test(a_member_that_does_not_know_restores_refuses_them_for_all),
        cmocka_unit_test(a_member_that_was_not_seen_needs_force),
        cmocka_unit_test(a_change_of_the_members_and_a_restore_do_not_meet),
        cmocka_unit_test(a_file_that_the_leaders_disk_has_no_room_for_is_refused),
        cmocka_unit_test(what_is_staged_is_given_up_when_the_disk_is_nearly_full),
        cmocka_unit_test(commit_passes_where_writes_are_refused_for_want_of_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
