/* SPDX-License-Identifier: Apache-2.0 */
/* lost_test.c - a snapshot that cannot be read when somebody asks for it: another one takes its
 * place, also where nobody writes. [§5.1.3] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"

/* One of three is away while the others write and compact. */
struct scene {
    struct lab *lab;
    struct lab_client *c; /* at the leader */
    kelp_id leader, behind;
    uint64_t written;
};

static void write_more(struct scene *s, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)lab_write(s->c, ++s->written, 20000);
        lab_run(s->lab, 2);
    }
    lab_await(s->c, s->c->tokens);
}

static void scene_begin(struct scene *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->lab = lab_new(3, seed);
    s->lab->snapshot_every = 50;
    s->lab->snapshot_objects = 300;
    s->lab->forgets = true;
    lab_start_all(s->lab);
    s->leader = lab_await_leader(s->lab);
    s->behind = s->leader % 3 + 1;
    s->c = lab_client(s->lab, s->leader);
    write_more(s, 20);
    lab_run(s->lab, 300);
    kelp_index had = lab_status(s->lab, s->behind)->view.last;
    lab_crash(s->lab, s->behind);
    write_more(s, 300);
    lab_run(s->lab, 500);
    assert_true(lab_status(s->lab, s->leader)->view.first > had + 1);
}

static void scene_free(struct scene *s)
{
    lab_client_free(s->c);
    lab_free(s->lab);
}

static struct driver_fetch_status fetch_of(struct scene *s)
{
    return lab_status(s->lab, s->behind)->fetch;
}

static struct driver_snapshot_status snapshot_of(struct scene *s)
{
    return lab_status(s->lab, s->leader)->snapshot;
}

static void await_level(struct scene *s, uint64_t ms)
{
    const struct lab_node *n = lab_node(s->lab, s->behind);
    for (uint64_t i = 0; i < ms && n->machine->count < s->written; i++)
        lab_run(s->lab, 1);
    assert_int_equal(n->machine->count, s->written);
    assert_int_equal(n->machine->last, s->written);
}

/* Nothing is written any more, and the only snapshot shows all that was. */
static void a_lost_snapshot_is_replaced_although_nobody_writes(void **state)
{
    (void)state;
    static const enum kelp_error errors[] = {KELP_E_CORRUPT, KELP_E_IO, KELP_E_NOT_FOUND,
                                             KELP_E_VERSION};
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        struct scene s;
        struct kelp_pos pos;
        scene_begin(&s, 495 + i);
        struct lab_node *source = lab_node(s.lab, s.leader);
        (void)driver_snapshot_now(source->driver, &pos);
        lab_run(s.lab, 500);
        struct driver_status *status = lab_status(s.lab, s.leader);
        uint64_t taken = status->snapshot.taken;
        assert_int_equal(status->snapshot.last.index, status->view.applied);
        assert_int_equal(driver_snapshot_now(source->driver, &pos), KELP_E_NOT_FOUND);
        source->fetch_error = errors[i];
        lab_start(s.lab, s.behind);
        for (int ms = 0; ms < 10000 && fetch_of(&s).failed == 0; ms++)
            lab_run(s.lab, 1);
        assert_int_equal(fetch_of(&s).failed, 1);
        source->fetch_error = KELP_OK;
        await_level(&s, 20000);
        assert_int_equal(snapshot_of(&s).taken, taken + 1);
        assert_int_equal(fetch_of(&s).fetched, 1);
        lab_run(s.lab, 30000);
        assert_int_equal(snapshot_of(&s).taken, taken + 1);
        scene_free(&s);
    }
}

/* Each costs a barrier and all objects. */
static void a_disk_that_reads_nothing_back_is_tried_less_and_less_often(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, 499);
    uint64_t taken = snapshot_of(&s).taken;
    lab_node(s.lab, s.leader)->fetch_error = KELP_E_IO;
    lab_start(s.lab, s.behind);
    lab_run(s.lab, 120000);
    taken = snapshot_of(&s).taken - taken;
    assert_in_range(taken, 3, 9);
    lab_node(s.lab, s.leader)->fetch_error = KELP_OK;
    await_level(&s, 120000);
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_snapshot_is_replaced_although_nobody_writes),
        cmocka_unit_test(a_disk_that_reads_nothing_back_is_tried_less_and_less_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
