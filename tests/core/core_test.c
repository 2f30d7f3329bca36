/* SPDX-License-Identifier: Apache-2.0 */
/* core_test.c - what the core promises its caller: memory, no allocation, options, boot, time,
 * determinism. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "fixture.h"

/* ---- counting allocations: this program's own malloc, where no sanitizer owns it ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#if !defined(COUNTS_ALLOCATIONS) && defined(__GLIBC__)
#define COUNTS_ALLOCATIONS 1
#elif !defined(COUNTS_ALLOCATIONS)
#define COUNTS_ALLOCATIONS 0
#endif

static uint64_t allocations;

#if COUNTS_ALLOCATIONS
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    allocations++;
    return __libc_realloc(old, size);
}
#endif

/* ---- memory ---- */

static void the_memory_of_a_core_is_what_was_promised(void **state)
{
    (void)state;
    struct kelp_limits limits = kelp_options_default(1, 0).limits;
    assert_true(kelp_core_memory(&limits) <= 1024u * 1024);
    limits = kelp_limits_small();
    assert_true(kelp_core_memory(&limits) <= 20u * 1024);
}

static struct kelp_limits least(void)
{
    struct kelp_limits limits = kelp_limits_small();
    limits.members_max = 1;
    limits.proposals_max = limits.reads_max = 1;
    limits.tail_entries_max = 8;
    limits.runs_max = 4;
    limits.window_messages_max = 1;
    limits.strangers_max = 1;
    limits.answers_max = 1;
    limits.events_max = 16;
    limits.message_entries_max = 1;
    limits.message_bytes_max = limits.window_bytes_max = limits.entry_bytes_max = 1;
    limits.uncommitted_bytes_max = limits.unapplied_bytes_max = 0;
    return limits;
}

/* Everything a single node does, with room for one of everything; the bytes around it stay as
 * they were. */
static void the_smallest_limits_are_enough_to_work_within_the_memory_given(void **state)
{
    (void)state;
    enum { GUARD = 64 };
    struct kelp_options options = kelp_options_default(1, 1);
    options.limits = least();
    options.trailing_entries = 0;
    size_t bytes = kelp_core_memory(&options.limits);
    uint8_t *block = aligned_alloc(16, (bytes + 2 * GUARD + 15u) & ~(size_t)15u);
    assert_non_null(block);
    memset(block, 0xa5, bytes + 2 * GUARD);
    struct kelp_config config = voters(1);
    struct kelp_boot boot = {.term = {1}, .config = &config};
    struct kelp_core *core = kelp_core_init(block + GUARD, &options, &boot, 0, NULL);
    assert_non_null(core);
    uint32_t done = 0;
    for (uint64_t token = 1; token <= 300; token++) {
        struct kelp_input input = {.type = token % 3 == 0 ? KELP_IN_READ : KELP_IN_PROPOSE};
        if (input.type == KELP_IN_READ) {
            input.read.token = token;
            input.read.deadline = KELP_NEVER;
        } else {
            input.propose.token = token;
            input.propose.bytes = 1;
            input.propose.deadline = KELP_NEVER;
        }
        (void)kelp_step(core, token, &input);
        struct kelp_work work;
        while (kelp_take(core, token, &work)) {
            struct kelp_input done_input = {.type = KELP_IN_TICK};
            for (uint32_t i = 0; i < work.answer_count; i++)
                done += work.answers[i].outcome == KELP_DONE;
            if (work.save.number != 0) {
                done_input.type = KELP_IN_SAVED;
                done_input.number = work.save.number;
                (void)kelp_step(core, token, &done_input);
            }
            if (work.apply_last != 0) {
                done_input.type = KELP_IN_APPLIED;
                done_input.index = work.apply_last;
                (void)kelp_step(core, token, &done_input);
                done_input.type = KELP_IN_SNAPSHOT;
                done_input.pos = kelp_pos_of(work.apply_last, 1);
                (void)kelp_step(core, token, &done_input);
            }
            struct kelp_fault fault = {0};
            if (kelp_check(core, &fault) != KELP_OK) fail_msg("%s", fault.what);
        }
    }
    assert_true(done > 290);
    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(block[i], 0xa5);
        assert_int_equal(block[GUARD + bytes + i], 0xa5);
    }
    free(block);
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    if (!COUNTS_ALLOCATIONS) skip();
    struct fixture *f = leader(.voters = 3);
    struct kelp_work work;
    uint64_t before = allocations;
    for (uint64_t token = 1; token < 2000; token++) {
        struct kelp_input input = {.type = KELP_IN_PROPOSE};
        input.propose.token = token;
        input.propose.bytes = 100;
        input.propose.deadline = f->now + 1000 * MS;
        f->now += 1 * MS;
        (void)kelp_step(f->core, f->now, &input);
        uint64_t number = 0;
        while (kelp_take(f->core, f->now, &work))
            number = work.save.number != 0 ? work.save.number : number;
        input = (struct kelp_input){.type = KELP_IN_SAVED, .number = number};
        if (number != 0) (void)kelp_step(f->core, f->now, &input);
    }
    assert_int_equal(allocations, before);
    void *volatile one = malloc(1); /* the count is alive */
    assert_int_equal(allocations, before + 1);
    free(one);
    fixture_close(f);
}

/* ---- options ---- */

struct option_row {
    const char *names; /* the field the fault must name */
    size_t offset, size;
    uint64_t bad;
};

#define OPTION(field, bad)                                                                         \
    {                                                                                              \
#field, offsetof(struct kelp_options, field), sizeof(((struct kelp_options *)0)->field),   \
            bad                                                                                    \
    }
#define LIMIT(field, bad)                                                                          \
    {                                                                                              \
#field, offsetof(struct kelp_options, limits.field),                                       \
            sizeof(((struct kelp_options *)0)->limits.field), bad                                  \
    }

/* HC TestRaft_ReloadConfigValidates */
static void each_option_out_of_range_is_named(void **state)
{
    (void)state;
    static const struct option_row rows[] = {
        OPTION(size, 0),
        OPTION(size, sizeof(struct kelp_options) - 1),
        OPTION(self, 0),
        OPTION(heartbeat, 0),
        {"heartbeat", offsetof(struct kelp_options, heartbeat), 8, 1ull << 63},
        {"election_min", offsetof(struct kelp_options, election_min), 8, 199999999},
        {"election_max", offsetof(struct kelp_options, election_max), 8, 1000000000},
        OPTION(election_max, UINT64_MAX),
        OPTION(stall_limit, 999999999),
        OPTION(stall_limit, UINT64_MAX),
        OPTION(off, 8),
        OPTION(off, UINT32_MAX),
        LIMIT(members_max, 0),
        LIMIT(members_max, KELP_MEMBERS_MAX + 1),
        LIMIT(proposals_max, 0),
        LIMIT(proposals_max, (1u << 20) + 1),
        LIMIT(reads_max, 0),
        LIMIT(reads_max, UINT32_MAX),
        LIMIT(tail_entries_max, 7),
        LIMIT(tail_entries_max, (1u << 24) + 1),
        LIMIT(runs_max, 3),
        LIMIT(runs_max, (1u << 16) + 1),
        LIMIT(window_messages_max, 0),
        LIMIT(window_messages_max, 4097),
        LIMIT(strangers_max, 0),
        LIMIT(strangers_max, 65),
        LIMIT(answers_max, 0),
        LIMIT(answers_max, (1u << 16) + 1),
        LIMIT(events_max, 15),
        LIMIT(events_max, (1u << 16) + 1),
        LIMIT(message_entries_max, 0),
        LIMIT(message_entries_max, (1u << 16) + 1),
        LIMIT(message_bytes_max, 0),
        LIMIT(window_bytes_max, 0),
        LIMIT(entry_bytes_max, 0),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kelp_options options = kelp_options_default(1, 1);
        struct kelp_fault fault = {0};
        memcpy((char *)&options + rows[i].offset, &rows[i].bad, rows[i].size); /* little-endian */
        if (kelp_options_check(&options, &fault) != KELP_E_ARGUMENT)
            fail_msg("%s = %llu is accepted", rows[i].names, (unsigned long long)rows[i].bad);
        if (strstr(fault.what, rows[i].names) == NULL)
            fail_msg("%s is not named in: %s", rows[i].names, fault.what);
        assert_int_equal(kelp_options_check(&options, NULL), KELP_E_ARGUMENT);
        struct kelp_config config = voters(1);
        struct kelp_boot boot = {.config = &config};
        assert_null(kelp_core_init(NULL, &options, &boot, 0, NULL));
    }
}

static void the_edges_of_every_range_are_accepted(void **state)
{
    (void)state;
    struct kelp_options options = kelp_options_default(1, 1);
    assert_int_equal(kelp_options_check(&options, NULL), KELP_OK);
    options.limits = least();
    assert_int_equal(kelp_options_check(&options, NULL), KELP_OK);
    options.limits = kelp_limits_small();
    assert_int_equal(kelp_options_check(&options, NULL), KELP_OK);
    options.election_min = 2 * options.heartbeat;
    options.election_max = options.election_min + 1;
    options.off = KELP_PRE_VOTE | KELP_CHECK_QUORUM | KELP_STICKINESS;
    assert_int_equal(kelp_options_check(&options, NULL), KELP_OK);
}

static void a_protection_that_is_off_is_announced(void **state)
{
    (void)state;
    struct fixture *f = node(.off = KELP_PRE_VOTE | KELP_STICKINESS);
    assert_int_equal(hits(f, KELP_EV_PROTECTION_OFF), 2);
    fixture_close(f);
    f = node(.term = 1);
    MARK_MISS(f, PROTECTION_OFF);
    fixture_close(f);
}

/* ---- boot ---- */

/* DG TestNewRaft */
static void a_new_core_is_a_silent_follower(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 1);
    take(f);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.term.v, 1);
    assert_int_equal(f->view.leader, 0);
    assert_int_equal(f->view.last, 0);
    assert_int_equal(f->view.commit, 0);
    assert_int_equal(f->message_count + f->save_count + f->answer_count, 0);
    fixture_close(f);
}

static void boot_values_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    struct kelp_config config = voters(3), none = {0}, beyond = voters(3);
    beyond.index = 6;
    static const struct kelp_run runs[] = {{2, {1}}, {5, {3}}}, falls[] = {{2, {3}}, {5, {1}}},
                                 backs[] = {{3, {1}}, {3, {2}}, {5, {3}}};
    const struct kelp_boot good = {.term = {3},
                                   .last = 5,
                                   .commit = 3,
                                   .applied = 2,
                                   .runs = runs,
                                   .run_count = 2,
                                   .runs_from = 1,
                                   .config = &config};
    struct kelp_boot bad[13];
    for (size_t i = 0; i < 13; i++)
        bad[i] = good;
    bad[0].base = kelp_pos_of(6, 1); /* ends before it begins */
    bad[1].commit = 6;               /* beyond the log */
    bad[2].applied = 4;              /* above commit */
    bad[3].config = NULL;
    bad[4].config = &none;
    bad[5].config_before = &none;
    bad[6].config = &beyond;
    bad[7].run_count = 0;
    bad[8].runs = falls;
    bad[9].runs = backs;
    bad[9].run_count = 3;
    bad[10].term.v = 2; /* an entry of a term that was never saved */
    bad[11].runs_from = 6;
    bad[12] = (struct kelp_boot){.term = {1},
                                 .base = kelp_pos_of(10, 5),
                                 .last = 10,
                                 .commit = 10,
                                 .applied = 10,
                                 .config = &config}; /* the same, of the base */
    struct fixture *f = node(.term = 1);
    assert_non_null(kelp_core_init(f->memory, &f->options, &good, 0, NULL));
    for (size_t i = 0; i < 13; i++) {
        struct kelp_fault fault = {0};
        if (kelp_core_init(f->memory, &f->options, &bad[i], 0, &fault) != NULL)
            fail_msg("boot %u is accepted", (unsigned)i);
        assert_int_equal(fault.error, KELP_E_CORRUPT);
    }
    fixture_close(f);
}

/* ---- time ---- */

static void a_clock_that_goes_back_stands_still(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 1);
    take(f);
    kelp_ns due = f->deadline;
    f->now = due - 1;
    step(f, &(struct kelp_input){.type = KELP_IN_TICK});
    f->now = 0;
    for (int i = 0; i < 10; i++)
        step(f, &(struct kelp_input){.type = KELP_IN_TICK});
    take(f);
    assert_int_equal(f->deadline, due);
    f->now = due;
    step(f, &(struct kelp_input){.type = KELP_IN_TICK});
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    fixture_close(f);
}

/* what waited in its sockets while it slept proves nothing about now */
static void a_paused_leader_looks_at_the_clock_before_it_believes_an_answer(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    f->now += 60000 * MS;
    receive(f, answer_of(f, 2, 1));
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.commit, 0);
    fixture_close(f);
}

/* A node that is called at its deadlines only, and hears nobody, never spins and never sleeps
 * for good. */
static void following_the_deadlines_alone_keeps_every_role_alive(void **state)
{
    (void)state;
    for (uint32_t off = 0; off < 8; off++) {
        struct fixture *f = off % 2 == 0 ? leader(.off = off) : node(.off = off);
        kelp_ns end = f->now + 60000 * MS;
        for (uint32_t calls = 0; f->now < end; calls++) {
            if (calls > 60000) fail_msg("it spins");
            take(f);
            assert_true(f->deadline > f->now && f->deadline < f->now + 10000 * MS);
            pass(f, f->deadline - f->now);
            save_all(f);
            f->message_count = 0;
            fixture_forget(f);
        }
        fixture_close(f);
    }
}

/* ---- determinism ---- */

struct transcript {
    char *text;
    size_t len, room;
};

static void say(struct transcript *t, const char *line)
{
    size_t len = strlen(line) + 1;
    if (t->len + len > t->room) {
        t->room = 2 * t->room + len + 4096;
        t->text = realloc(t->text, t->room);
        assert_non_null(t->text);
    }
    memcpy(t->text + t->len, line, len);
    t->len += len;
}

static void say_work(struct transcript *t, const struct fixture *f, const struct kelp_work *w)
{
    char line[512];
    for (uint32_t i = 0; i < w->message_count; i++) {
        (void)kelp_describe_message(&w->messages[i], line, sizeof line);
        say(t, line);
    }
    for (uint32_t i = 0; i < w->answer_count; i++) {
        (void)kelp_describe_answer(&w->answers[i], line, sizeof line);
        say(t, line);
    }
    for (uint32_t i = 0; i < w->event_count; i++) {
        (void)kelp_describe_event(&w->events[i], line, sizeof line);
        say(t, line);
    }
    (void)kelp_describe_save(&w->save, line, sizeof line);
    say(t, line);
    (void)snprintf(line, sizeof line, "apply %llu..%llu deadline %llu",
                   (unsigned long long)w->apply_first, (unsigned long long)w->apply_last,
                   (unsigned long long)w->deadline);
    say(t, line);
    (void)kelp_describe(f->core, line, sizeof line);
    say(t, line);
}

/* A random but repeatable life: what happens is chosen from what the core gave before. */
static struct transcript live(uint64_t seed)
{
    struct transcript t = {0};
    struct prng prng = {.state = 5}; /* the world is the same; only the core's seed differs */
    struct fixture *f = node(.seed = seed, .log = "1@1 2@1", .proposals = 64);
    uint64_t number = 0;
    kelp_index given = 0;
    for (uint64_t round = 1; round <= 600; round++) {
        pass(f, prng_below(&prng, 120 * MS));
        kelp_id peer = 2 + prng_below(&prng, 2);
        if (f->view.role != KELP_LEADER && prng_chance(&prng, 1, 2))
            receive(f, granted_of(f, peer));
        if (f->view.role == KELP_LEADER) receive(f, answer_of(f, peer, f->view.durable));
        if (prng_chance(&prng, 1, 20)) receive(f, heartbeat_of(f, peer, f->view.term.v + 1));
        if (f->view.last < 100)
            (void)client_writes(f, round, 10, f->now + prng_below(&prng, 900 * MS));
        client_reads(f, 1000000 + round, f->now + 300 * MS);
        struct kelp_work work;
        while (kelp_take(f->core, f->now, &work)) {
            say_work(&t, f, &work);
            number = work.save.number != 0 ? work.save.number : number;
            given = work.apply_last != 0 ? work.apply_last : given;
        }
        saved_up_to(f, number);
        if (given != 0) applied(f, given);
    }
    fixture_close(f);
    return t;
}

static void the_same_inputs_give_the_same_outputs(void **state)
{
    (void)state;
    struct transcript a = live(1), b = live(1), other = live(2);
    assert_true(a.len > 10000);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.text, b.text, a.len);
    assert_true(other.len != a.len || memcmp(other.text, a.text, a.len) != 0);
    free(a.text);
    free(b.text);
    free(other.text);
}

static void the_flight_recorder_holds_the_newest_events_oldest_first(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 1);
    for (int i = 0; i < 40; i++)
        receive(f, heartbeat_of(f, 2, 1));
    receive(f, heartbeat_of(f, 3, 7));
    struct kelp_event events[3];
    assert_int_equal(kelp_recent(f->core, events, 3), 3);
    assert_int_equal(events[0].type, KELP_EV_TERM_ADOPTED);
    assert_int_equal(events[1].type, KELP_EV_LEADER_UNKNOWN);
    assert_int_equal(events[2].type, KELP_EV_LEADER_KNOWN);
    assert_int_equal(events[2].peer, 3);
    assert_int_equal(events[2].term.v, 7);
    assert_int_equal(events[2].node, 1);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_memory_of_a_core_is_what_was_promised),
        cmocka_unit_test(the_smallest_limits_are_enough_to_work_within_the_memory_given),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(each_option_out_of_range_is_named),
        cmocka_unit_test(the_edges_of_every_range_are_accepted),
        cmocka_unit_test(a_protection_that_is_off_is_announced),
        cmocka_unit_test(a_new_core_is_a_silent_follower),
        cmocka_unit_test(boot_values_that_contradict_each_other_are_refused),
        cmocka_unit_test(a_clock_that_goes_back_stands_still),
        cmocka_unit_test(a_paused_leader_looks_at_the_clock_before_it_believes_an_answer),
        cmocka_unit_test(following_the_deadlines_alone_keeps_every_role_alive),
        cmocka_unit_test(the_same_inputs_give_the_same_outputs),
        cmocka_unit_test(the_flight_recorder_holds_the_newest_events_oldest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
