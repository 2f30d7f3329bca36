/* SPDX-License-Identifier: Apache-2.0 */
/* normal_test.c - a core in normal form acts as the one it was made from.
 *
 * Three nodes twice: one side is left alone, the other is normalised after every input. Both get
 * the same inputs in an order drawn from a seed: messages in order of each link, some lost;
 * timeouts, beats, commands, reported saves, crashes. What they send, save, apply and say of
 * themselves must be the same words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/min.h"
#include "base/prng.h"
#include "core/normal.h"

#define NODES     3u
#define ENTRIES   12u
#define QUEUE_MAX 64u
#define BEATS_MAX 4u /* then the time that passed would be an election timeout */

struct entry_terms {
    uint8_t last, terms[ENTRIES + 1];
};

struct letter {
    struct kelp_message message;
    struct kelp_entry_info entries[ENTRIES];
};

struct side {
    bool normal;
    struct kelp_core *core[NODES];
    kelp_ns now[NODES], deadline[NODES];
    uint64_t saves_emitted[NODES], saves_done[NODES];
    struct letter queue[NODES][NODES][QUEUE_MAX];
    uint32_t queued[NODES][NODES];
    struct entry_terms disk[NODES];
    kelp_term term[NODES]; /* saved */
    kelp_id vote[NODES];
    char words[16384];
};

struct open {
    struct kelp_save save;
    struct entry_terms log;
};

static struct side plain, twin;
static struct open opens[2][NODES][32];
static struct kelp_options options[NODES];
static size_t memory_bytes;

static void say(struct side *s, const char *words)
{
    size_t used = strlen(s->words);
    (void)snprintf(s->words + used, sizeof s->words - used, "%s\n", words);
}

static struct entry_terms log_of(const struct kelp_core *core)
{
    struct entry_terms log = {0};
    struct kelp_view view;
    kelp_view(core, &view);
    assert_true(view.last <= ENTRIES);
    log.last = (uint8_t)view.last;
    for (uint8_t i = 1; i <= log.last; i++)
        log.terms[i] = (uint8_t)kelp_log_term(core, i).v;
    return log;
}

static void send(struct side *s, const struct kelp_message *m, const struct entry_terms *log)
{
    char words[256];
    uint32_t *count = &s->queued[m->from - 1][m->to - 1];
    (void)kelp_describe_message(m, words, sizeof words);
    say(s, words);
    if (*count == QUEUE_MAX) return; /* lost on both sides */
    struct letter *letter = &s->queue[m->from - 1][m->to - 1][(*count)++];
    letter->message = *m;
    /* the ids the explorer gives: to both sides a heartbeat is newer than any append */
    if (m->type != KELP_MSG_ANSWER && m->type != KELP_MSG_VOTE_ANSWER) {
        uint64_t heartbeat = s->normal ? 2 : UINT64_C(1) << 40;
        letter->message.id = m->type == KELP_MSG_HEARTBEAT ? heartbeat : 1;
    }
    if (m->type != KELP_MSG_APPEND) return;
    for (kelp_index i = m->append.prev.index + 1; i <= m->append.last; i++)
        letter->entries[i - m->append.prev.index - 1] = (struct kelp_entry_info){
            .term = kelp_term_of(log->terms[i]), .bytes = 64, .type = KELP_ENTRY_COMMAND};
}

static struct open *open_at(const struct side *s, uint32_t node, uint64_t number)
{
    return &opens[s->normal][node][number % COUNT_OF(opens[0][0])];
}

static void look_up(struct side *s, uint32_t node, struct kelp_lookup lookup,
                    const struct entry_terms *log)
{
    kelp_index last = min_u64(log->last, lookup.index + lookup.entries_max);
    struct kelp_input input = {.type = KELP_IN_FOUND};
    input.found.revision = lookup.revision;
    input.found.pos = kelp_pos_of(lookup.index, log->terms[lookup.index]);
    input.found.last = kelp_pos_of(last, log->terms[last]);
    input.found.bytes = (last - lookup.index) * 64;
    (void)kelp_step(s->core[node], s->now[node], &input);
}

static void perform(struct side *s, uint32_t node, const struct kelp_work *work)
{
    char words[256];
    struct entry_terms log = log_of(s->core[node]);
    struct kelp_lookup lookups[NODES + 1];
    uint32_t lookup_count = work->lookup_count;
    memcpy(lookups, work->lookups, lookup_count * sizeof *lookups);
    for (uint32_t i = 0; i < work->message_count; i++)
        send(s, &work->messages[i], &log);
    for (uint32_t i = 0; i < work->answer_count; i++) {
        (void)kelp_describe_answer(&work->answers[i], words, sizeof words);
        say(s, words);
    }
    if (work->save.number != 0) {
        struct kelp_save save = work->save;
        struct open *open = open_at(s, node, s->saves_emitted[node]++);
        *open = (struct open){.save = save, .log = log};
        save.number = 0; /* the numbers differ, and may */
        (void)kelp_describe_save(&save, words, sizeof words);
        say(s, words);
    }
    for (uint32_t i = 0; i < lookup_count; i++)
        look_up(s, node, lookups[i], &log);
    if (work->apply_last == 0) return;
    (void)snprintf(words, sizeof words, "apply %llu..%llu", (unsigned long long)work->apply_first,
                   (unsigned long long)work->apply_last);
    say(s, words);
    (void)kelp_step(s->core[node], s->now[node],
                    &(struct kelp_input){.type = KELP_IN_APPLIED, .index = work->apply_last});
}

static void drain(struct side *s, uint32_t node)
{
    char words[512];
    struct kelp_work work;
    while (kelp_take(s->core[node], s->now[node], &work))
        perform(s, node, &work);
    s->deadline[node] = work.deadline;
    (void)kelp_describe(s->core[node], words, sizeof words);
    say(s, words);
    if (!s->normal) return;
    core_normalise(s->core[node]);
    s->now[node] = NORMAL_NOW;
}

static void give(struct side *s, uint32_t node, const struct kelp_input *input)
{
    (void)kelp_step(s->core[node], s->now[node], input);
    drain(s, node);
}

static void start(struct side *s, uint32_t node)
{
    static struct kelp_config config = {.count = NODES, .id_highest = NODES};
    for (uint32_t i = 0; i < NODES; i++)
        config.members[i] = (struct kelp_member){.id = i + 1, .role = KELP_VOTER};
    struct kelp_run runs[ENTRIES];
    const struct entry_terms *disk = &s->disk[node];
    for (uint32_t i = 0; i < disk->last; i++)
        runs[i] = (struct kelp_run){.last = i + 1, .term = kelp_term_of(disk->terms[i + 1])};
    struct kelp_boot boot = {.term = s->term[node],
                             .vote = s->vote[node],
                             .last = disk->last,
                             .runs = runs,
                             .run_count = disk->last,
                             .runs_from = 1,
                             .config = &config};
    s->now[node] = NORMAL_NOW;
    s->saves_emitted[node] = s->saves_done[node] = 0;
    assert_non_null(kelp_core_init(s->core[node], &options[node], &boot, NORMAL_NOW, NULL));
    drain(s, node);
}

static void set_up(struct side *s, bool normal)
{
    memset(s, 0, sizeof *s);
    s->normal = normal;
    for (uint32_t node = 0; node < NODES; node++) {
        options[node] = kelp_options_default(node + 1, node + 1);
        options[node].off = KELP_PRE_VOTE | KELP_CHECK_QUORUM | KELP_STICKINESS;
        options[node].stall_limit = UINT64_MAX / 64;
        options[node].limits = kelp_limits_small();
        options[node].limits.message_entries_max = 2;
        options[node].limits.window_messages_max = 2;
        memory_bytes = kelp_core_memory(&options[node].limits);
        s->core[node] = calloc(1, memory_bytes);
        assert_non_null(s->core[node]);
        start(s, node);
    }
}

static void tear_down(struct side *s)
{
    for (uint32_t node = 0; node < NODES; node++)
        free(s->core[node]);
}

static void save_done(struct side *s, uint32_t node)
{
    const struct open *open = open_at(s, node, s->saves_done[node]++);
    const struct kelp_save *save = &open->save;
    if ((save->flags & KELP_SAVE_VOTE) != 0) {
        s->term[node] = save->term;
        s->vote[node] = save->vote;
    }
    if ((save->flags & KELP_SAVE_TRUNCATE) != 0) s->disk[node].last = (uint8_t)save->end.index;
    if ((save->flags & KELP_SAVE_APPEND) != 0) {
        memcpy(&s->disk[node].terms[save->first], &open->log.terms[save->first],
               save->last - save->first + 1);
        s->disk[node].last = (uint8_t)save->last;
    }
    /* a normal core's open saves are numbered from 1 on */
    give(s, node,
         &(struct kelp_input){.type = KELP_IN_SAVED, .number = s->normal ? 1 : save->number});
}

static void deliver(struct side *s, uint32_t from, uint32_t to, bool lost)
{
    struct letter letter = s->queue[from][to][0];
    s->queued[from][to]--;
    memmove(&s->queue[from][to][0], &s->queue[from][to][1],
            s->queued[from][to] * sizeof(struct letter));
    if (lost) return;
    if (letter.message.type == KELP_MSG_APPEND) letter.message.append.entries = letter.entries;
    give(s, to, &(struct kelp_input){.type = KELP_IN_MESSAGE, .message = &letter.message});
}

/* A tick that makes the election timer fire, or a beat. */
static void pass(struct side *s, uint32_t node, kelp_ns span)
{
    kelp_ns election = s->normal ? NORMAL_NOW + options[node].election_max : s->deadline[node];
    s->now[node] = span == 0 ? election : s->now[node] + span;
    give(s, node, &(struct kelp_input){.type = KELP_IN_TICK});
}

static uint32_t beats[NODES]; /* since the node's role changed */
static enum kelp_role roles[NODES];
static uint64_t elections, commits, truncations, restarts; /* that the walks came to see */

static bool time_passes(struct prng *prng, uint32_t node, const struct kelp_view *view)
{
    if (view->role != roles[node]) beats[node] = 0;
    roles[node] = view->role;
    bool beat = view->role != KELP_FOLLOWER && prng_chance(prng, 2, 3);
    if (beat && beats[node] >= BEATS_MAX) return false;
    if (!beat && view->role == KELP_LEADER) return false;
    kelp_ns span = (view->role == KELP_LEADER ? 1 : 2) * options[node].heartbeat;
    if (beat) beats[node]++;
    /* a follower's deadline is its election; a candidate's may be the next request */
    if (!beat && view->role != KELP_FOLLOWER) return false;
    elections += beat ? 0 : 1;
    pass(&plain, node, beat ? span : 0);
    pass(&twin, node, beat ? span : 0);
    return true;
}

static void command(uint32_t node, const struct kelp_view *view)
{
    struct kelp_input input = {.type = KELP_IN_PROPOSE};
    input.propose.token = view->term.v << 8 | (view->last + 1);
    input.propose.deadline = KELP_NEVER;
    input.propose.bytes = 64;
    give(&plain, node, &input);
    give(&twin, node, &input);
}

static void walk_on(struct prng *prng)
{
    struct kelp_view view;
    uint32_t node = (uint32_t)prng_below(prng, NODES), from = (uint32_t)prng_below(prng, NODES);
    uint64_t choice = prng_below(prng, 100);
    kelp_view(plain.core[node], &view);
    if (choice < 55) {
        if (plain.queued[from][node] == 0) return;
        bool lost = prng_chance(prng, 1, 12);
        deliver(&plain, from, node, lost);
        deliver(&twin, from, node, lost);
    } else if (choice < 83) {
        if (plain.saves_done[node] == plain.saves_emitted[node]) return;
        save_done(&plain, node);
        save_done(&twin, node);
    } else if (choice < 87) {
        (void)time_passes(prng, node, &view);
    } else if (choice < 98) {
        if (view.role == KELP_LEADER && view.last < ENTRIES - 4) command(node, &view);
    } else if (prng_chance(prng, 1, 4)) {
        restarts++;
        start(&plain, node);
        start(&twin, node);
    }
    struct kelp_view after;
    kelp_view(plain.core[node], &after);
    commits += after.commit > view.commit;
    truncations += after.last < view.last;
}

static void a_normal_core_acts_as_the_plain_one_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct prng prng = {.state = seed};
        set_up(&plain, false);
        set_up(&twin, true);
        for (uint32_t i = 0; i < 400; i++) {
            struct kelp_view view;
            plain.words[0] = twin.words[0] = '\0';
            walk_on(&prng);
            assert_string_equal(plain.words, twin.words);
            kelp_view(plain.core[i % NODES], &view);
            if (view.last >= ENTRIES - 2) break; /* the walk is over when a log is full */
        }
        tear_down(&plain);
        tear_down(&twin);
    }
    /* the walks are worth nothing unless all of it happened */
    assert_true(elections > 300 && commits > 300 && truncations > 10 && restarts > 100);
}

static void a_normal_core_is_its_own_normal_form(void **state)
{
    (void)state;
    struct prng prng = {.state = 7};
    set_up(&plain, false);
    set_up(&twin, true);
    uint8_t *before = malloc(memory_bytes);
    assert_non_null(before);
    for (uint32_t i = 0; i < 200; i++) {
        walk_on(&prng);
        memcpy(before, twin.core[i % NODES], memory_bytes);
        core_normalise(twin.core[i % NODES]);
        assert_memory_equal(before, twin.core[i % NODES], memory_bytes);
    }
    free(before);
    tear_down(&plain);
    tear_down(&twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_normal_core_acts_as_the_plain_one_does),
        cmocka_unit_test(a_normal_core_is_its_own_normal_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
