/* SPDX-License-Identifier: Apache-2.0 */
/* seats_test.c - two threads that share a loop and a log: who has which, and that nothing is lost
 * or told twice when they change places. */
#include "node/seats.h"

/* ---- saves on the loop ----------------------------------------------------------------------- */

static void the_owner_of_the_loop_saves_and_tells_without_a_hop(void **state)
{
    (void)state;
    start_at_home();
    for (unsigned i = 1; i <= 50; i++) {
        save_and_wait();
        assert_true(pthread_equal(look().syncer, look().looper));
        assert_int_equal(look().turns_at_saved, look().turns_at_sync);
        assert_int_equal(look().saved_calls, i);
    }
    assert_int_equal(measured.append_ns.count, 50);
}

static void a_sync_that_hangs_leaves_the_loop_to_the_other_thread(void **state)
{
    (void)state;
    start_at_home();
    pthread_t late = hang();
    relieve(late);
    give(5);
    assert_int_equal(look().saved, 0);
    assert_int_equal(figures().queued_jobs, 6);
    set(&gate, false);
    WAIT(seen.saved == 6);
    assert_null(wrong);
    assert_int_equal(look().saved_calls, 6);
    assert_false(pthread_equal(look().looper, late)); /* they stay where they are */
    WAIT(figures().queued_jobs == 0);
}

static void the_roles_change_back_when_it_hangs_again(void **state)
{
    (void)state;
    pthread_t late[4];
    start_at_home();
    for (size_t i = 0; i < 4; i++) {
        late[i] = hang();
        relieve(late[i]);
        give(3);
        set(&gate, false);
        WAIT(seen.saved == seen.given);
        for (unsigned quick = 0; quick <= QUICK; quick++)
            save_and_wait();
    }
    assert_false(pthread_equal(late[0], late[1]));
    assert_true(pthread_equal(late[0], late[2]));
    assert_true(pthread_equal(late[1], late[3]));
}

static void a_thread_that_sleeps_deeply_notices_that_the_other_is_late(void **state)
{
    (void)state;
    start_at_home();
    WAIT((pass(QUIET), dozes())); /* there is nothing to do for it, and nothing to wait for */
    pthread_t late = hang();
    relieve(late);
    set(&gate, false);
    WAIT(seen.saved == 1);
}

static void a_slow_disk_keeps_a_thread_of_its_own_until_it_is_quick_again(void **state)
{
    (void)state;
    start_at_home();
    atomic_store(&slow_ns, 2 * LEND);
    save_and_wait();
    save_and_wait(); /* twice is no accident */
    pthread_t looper = look().looper;
    for (unsigned i = 0; i < 20; i++) {
        save_and_wait();
        assert_false(pthread_equal(look().syncer, looper));
        assert_true(pthread_equal(look().looper, looper)); /* no more changes */
    }
    atomic_store(&slow_ns, 0);
    unsigned quick = 0;
    do {
        save_and_wait();
        quick++;
    } while (!pthread_equal(look().syncer, looper) && quick < 10 * QUICK);
    /* So many below the limit, one more, and perhaps one that was given just before. */
    assert_in_range(quick, QUICK - SAVER_SLOW + 2, QUICK - SAVER_SLOW + 3);
    save_and_wait();
    assert_true(pthread_equal(look().syncer, looper));
}

/* ---- order ----------------------------------------------------------------------------------- */

static void everything_is_told_in_the_order_it_was_given(void **state)
{
    (void)state;
    char expected[TOLD_MAX + 1] = "s", kinds[9] = "";
    size_t len = 1;
    start_at_home();
    save_and_wait(); /* reads want something to find */
    for (unsigned round = 0; round < 60; round++) {
        size_t count = round % 3 == 0 ? 1 : 8; /* one at a time, too */
        for (size_t i = 0; i < count; i++)
            kinds[i] = "ssssrpns"[bits(NULL) >> 61];
        kinds[count] = '\0';
        memcpy(expected + len, kinds, count);
        len += count;
        give_kind(kinds);
    }
    WAIT(strlen(seen.told) == len);
    assert_string_equal(look().told, expected);
    assert_int_equal(look().faults, 0);
    assert_int_equal(look().read_error, KELP_OK);
}

/* A read is done by the other thread and the log is back before the loop has told the read. */
static void give_read_then_save(void)
{
    read_one();
    while (apart())
        (void)sched_yield();
    save_one();
}

static void a_save_on_the_loop_does_not_overtake_what_the_other_thread_did(void **state)
{
    (void)state;
    start_at_home();
    save_and_wait();
    on_loop(give_read_then_save);
    WAIT(seen.saved == 2 && seen.reads == 1);
    assert_string_equal(look().told, "srs");
}

static void stop_ticking(void)
{
    uv_timer_stop(&tick);
}

/* The loop sleeps, nothing else would wake it, and the log comes back with a save in the queue. */
static void the_loop_wakes_when_the_log_comes_back_with_work(void **state)
{
    (void)state;
    start_at_home();
    on_loop(stop_ticking);
    set(&gate, true);
    give_kind("p");
    WAIT(seen.held == 1);
    set(&look_held, true);
    pass(2 * SECOND); /* after the pledge it looks at the room, too */
    give(1);
    set(&gate, false);
    WAIT(seen.saved == 1);
    assert_string_equal(look().told, "ps");
}

/* ---- housekeeping ---------------------------------------------------------------------------- */

static void housekeeping_is_done_beside_the_loop_in_quiet(void **state)
{
    (void)state;
    start_at_home();
    WAIT((pass(QUIET), figures().store.spares_ready == 2));
    WAIT(home());
    for (unsigned i = 0; i < SEGMENT / 4096 + 8; i++)
        save_and_wait(); /* more than a segment: a spare is used up */
    assert_int_equal(figures().store.spares_ready, 1);
    assert_true(pthread_equal(look().syncer, look().looper));
    WAIT((pass(QUIET), figures().store.spares_ready == 2));
    assert_int_equal(look().zeros_by_looper, 0);
}

static void housekeeping_is_done_under_load_too(void **state)
{
    (void)state;
    start_at_home();
    WAIT((pass(QUIET), figures().store.spares_ready == 2));
    WAIT(home());
    uint64_t zeros = look().zeros;
    for (unsigned i = 0; i < 200; i++)
        save_and_wait();
    assert_int_equal(look().zeros, zeros);
    for (unsigned i = 0; i < 100; i++) /* a mebibyte is written, and there was no quiet */
        save_and_wait();
    WAIT(seen.zeros > zeros);
    assert_int_equal(look().zeros_by_looper, 0);
    WAIT(home());
}

static void housekeeping_that_hangs_does_not_hold_the_loop(void **state)
{
    (void)state;
    start_at_home();
    save_and_wait();
    set(&gate, true);
    WAIT((pass(QUIET), seen.held > 0));
    assert_false(pthread_equal(look().syncer, look().looper));
    give(3);
    uint64_t ticks = look().ticks;
    WAIT(seen.ticks >= ticks + 3);
    assert_int_equal(look().saved, 1);
    set(&gate, false);
    WAIT(seen.saved == 4);
}

/* It was quiet for just so long when a save is given. */
static void give_and_pause(void)
{
    save_one();
    slow_to_go_on = true;
}

static void the_log_is_not_tidied_while_the_loop_takes_it(void **state)
{
    (void)state;
    start_at_home();
    save_and_wait();
    WAIT(home());
    set(&gate, true);
    on_loop(give_and_pause);
    WAIT(seen.held > 0);
    set(&gate, false);
    WAIT(seen.saved == 2);
}

/* ---- a full and a failing disk --------------------------------------------------------------- */

static void a_full_disk_holds_saves_and_not_the_loop(void **state)
{
    (void)state;
    set(&full, true);
    start_at_home();
    give(1);
    WAIT(seen.space == KELP_SPACE_NONE && figures().store.no_room >= 2);
    uint64_t ticks = look().ticks;
    give(2);
    WAIT(seen.ticks >= ticks + 3);
    assert_int_equal(look().saved_calls, 0);
    assert_int_equal(look().faults, 0);
    set(&full, false);
    WAIT(seen.saved == 3);
    WAIT((pass(SECOND), seen.space == KELP_SPACE_OK));
    unsigned others = 0; /* the housekeeping that was held up comes first, perhaps */
    do {
        save_and_wait();
        others++;
    } while (!pthread_equal(look().syncer, look().looper) && others < 100);
    assert_in_range(others, 1, 99);
}

static void stopping_gives_up_saves_of_the_loop_that_found_no_room(void **state)
{
    (void)state;
    set(&full, true);
    start_at_home();
    give(1);
    WAIT(seen.space == KELP_SPACE_NONE);
    end();
    assert_int_equal(look().saved_calls, 0);
    assert_int_equal(look().faults, 0);
}

static void a_sync_that_fails_on_the_loop_faults_once_and_ends_the_log(void **state)
{
    (void)state;
    start_at_home();
    save_and_wait();
    set(&sync_fails, true);
    give(1);
    WAIT(seen.faults == 1);
    assert_true(pthread_equal(look().syncer, look().looper));
    assert_non_null(strstr(look().fault.what, "this sync fails"));
    set(&sync_fails, false); /* a later success clears nothing */
    uint64_t syncs = look().syncs;
    give_kind("srsn");
    WAIT(seen.snapshots == 1);
    assert_int_equal(look().read_error, KELP_E_IO);
    end();
    assert_int_equal(look().saved_calls, 1);
    assert_int_equal(look().faults, 1);
    assert_int_equal(look().syncs, syncs);
}

static void a_late_sync_that_fails_faults_once_and_ends_the_log(void **state)
{
    (void)state;
    start_at_home();
    save_and_wait();
    pthread_t late = hang();
    relieve(late);
    give(3);
    set(&sync_fails, true);
    set(&gate, false);
    WAIT(seen.faults == 1);
    give(1);
    end();
    assert_int_equal(look().saved_calls, 1);
    assert_int_equal(look().faults, 1);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void stopping_waits_for_a_sync_that_hangs(void **state)
{
    (void)state;
    start_at_home();
    pthread_t late = hang();
    relieve(late);
    give(4);
    on_loop(stop_it);
    uint64_t ticks = look().ticks;
    WAIT(seen.ticks >= ticks + 3);
    assert_int_equal(look().stopped, 0);
    end();
    assert_int_equal(look().saved_calls, 5);
}

static void give_and_stop(void)
{
    give_saves();
    stop_it();
}

static void what_is_given_in_the_turn_that_stops_is_saved(void **state)
{
    (void)state;
    start_at_home();
    give_count = 7;
    on_loop(give_and_stop);
    end();
    assert_int_equal(look().saved_calls, 7);
}

static void it_can_be_stopped_at_once(void **state)
{
    (void)state;
    start();
    end();
    assert_int_equal(look().saved_calls, 0);
}

static void a_saver_that_finds_no_thread_works_as_before(void **state)
{
    (void)state;
    struct kelp_fault fault = {.error = KELP_OK};
    begin();
    threads_left = 0;
    assert_int_equal(saver_run(saver, &fault), KELP_E_NO_MEMORY);
    assert_string_equal(fault.where, "node");
    give_count = 3;
    give_saves();
    while (look().saved < 3) /* on this thread */
        (void)uv_run(&loop, UV_RUN_ONCE);
    assert_false(is_self(look().syncer));
    threads_left = 1;
    assert_int_equal(saver_run(saver, &fault), KELP_OK); /* and it may be tried again */
    WAIT(home());
    save_and_wait();
    assert_true(pthread_equal(look().syncer, look().looper));
}

static void a_node_that_finds_no_thread_is_refused_and_leaves_nothing_behind(void **state)
{
    (void)state;
    char place[64], peer[32];
    stage_directory(place);
    for (int threads = 0; threads < 2; threads++) { /* the log's; then the loop's */
        (void)snprintf(peer, sizeof peer, "127.0.0.1:%u", stage_port());
        struct kelp_node_options o = stage_options(1, place);
        struct kelp_node *node = NULL;
        struct kelp_fault fault = {.error = KELP_OK};
        o.peer = peer;
        threads_left = threads;
        assert_int_not_equal(
            kelp_node_open(&o, &adder_ops, calloc(1, sizeof(struct adder)), &node, &fault),
            KELP_OK);
        assert_null(node);
        assert_non_null(strstr(fault.what, "no thread"));
    }
    stage_remove(place);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_make, stage_unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_owner_of_the_loop_saves_and_tells_without_a_hop),
        TEST(a_sync_that_hangs_leaves_the_loop_to_the_other_thread),
        TEST(the_roles_change_back_when_it_hangs_again),
        TEST(a_thread_that_sleeps_deeply_notices_that_the_other_is_late),
        TEST(a_slow_disk_keeps_a_thread_of_its_own_until_it_is_quick_again),
        TEST(everything_is_told_in_the_order_it_was_given),
        TEST(a_save_on_the_loop_does_not_overtake_what_the_other_thread_did),
        TEST(the_loop_wakes_when_the_log_comes_back_with_work),
        TEST(housekeeping_is_done_beside_the_loop_in_quiet),
        TEST(housekeeping_is_done_under_load_too),
        TEST(housekeeping_that_hangs_does_not_hold_the_loop),
        TEST(the_log_is_not_tidied_while_the_loop_takes_it),
        TEST(a_full_disk_holds_saves_and_not_the_loop),
        TEST(stopping_gives_up_saves_of_the_loop_that_found_no_room),
        TEST(a_sync_that_fails_on_the_loop_faults_once_and_ends_the_log),
        TEST(a_late_sync_that_fails_faults_once_and_ends_the_log),
        TEST(stopping_waits_for_a_sync_that_hangs),
        TEST(what_is_given_in_the_turn_that_stops_is_saved),
        TEST(it_can_be_stopped_at_once),
        TEST(a_saver_that_finds_no_thread_works_as_before),
        cmocka_unit_test(a_node_that_finds_no_thread_is_refused_and_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
