/* SPDX-License-Identifier: Apache-2.0 */
/* instructions_core.c - three cores in one process: a proposal from the leader's step to its
 * answer, with all that the two others do for it.
 *
 * What a take names is done at once: messages go to the others in order, a save is reported, an
 * apply is reported. The clock moves a tenth of a millisecond a round, so that heartbeats and late
 * commit messages have their usual share. An entry's bytes are nobody's business here. */
#include <stdlib.h>
#include <string.h>

#include "base/min.h"
#include "bench/instructions.h"
#include "kelp/core.h"

#define NODES       3u
#define POST_MAX    1024u
#define INFOS_MAX   4096u
#define ENTRY_BYTES 320u /* of a SET of 256 bytes */
#define ROUND_NS    UINT64_C(100000)
#define TURNS_MAX   100000u

struct trio {
    struct kelp_core *cores[NODES];
    void *memory[NODES];
    kelp_ns now, deadline[NODES];
    struct kelp_message post[POST_MAX]; /* on their way, oldest first, a ring */
    size_t post_first, post_count;
    struct kelp_entry_info infos[INFOS_MAX];
    kelp_index noop; /* the leader's empty entry */
    kelp_id leader;
    uint64_t tokens, done;
};

static kelp_id other_than(kelp_id leader)
{
    return leader % NODES + 1;
}

static void boot(struct trio *t, kelp_id id)
{
    struct kelp_options options = kelp_options_default(id, id);
    struct kelp_config config = {.index = 1, .id_highest = NODES, .count = NODES};
    for (kelp_id i = 1; i <= NODES; i++)
        config.members[i - 1] = (struct kelp_member){.id = i, .role = KELP_VOTER};
    struct kelp_run run = {.last = 1, .term = {1}};
    struct kelp_boot from = {.term = {1},
                             .last = 1,
                             .commit = 1,
                             .applied = 1,
                             .runs = &run,
                             .run_count = 1,
                             .runs_from = 1,
                             .config = &config};
    t->memory[id - 1] = malloc(kelp_core_memory(&options.limits));
    must(t->memory[id - 1] != NULL, "no memory");
    t->cores[id - 1] = kelp_core_init(t->memory[id - 1], &options, &from, t->now, NULL);
    must(t->cores[id - 1] != NULL, "a core does not start");
}

static struct kelp_taken step(struct trio *t, kelp_id id, const struct kelp_input *input)
{
    return kelp_step(t->cores[id - 1], t->now, input);
}

static void post(struct trio *t, const struct kelp_message *m)
{
    must(t->post_count < POST_MAX, "too many messages");
    t->post[(t->post_first + t->post_count++) % POST_MAX] = *m;
}

static void deliver(struct trio *t)
{
    struct kelp_message *m = &t->post[t->post_first];
    t->post_first = (t->post_first + 1) % POST_MAX;
    t->post_count--;
    if (m->type == KELP_MSG_APPEND) {
        size_t count = m->append.last - m->append.prev.index;
        must(count <= INFOS_MAX, "too many entries");
        for (size_t i = 0; i < count; i++)
            t->infos[i] = (struct kelp_entry_info){.term = m->term,
                                                   .bytes = ENTRY_BYTES,
                                                   .type = m->append.prev.index + 1 + i == t->noop
                                                               ? KELP_ENTRY_NOOP
                                                               : KELP_ENTRY_COMMAND};
        m->append.entries = t->infos;
    }
    (void)step(t, m->to, &(struct kelp_input){.type = KELP_IN_MESSAGE, .message = m});
}

/* One take and what it asks for. */
static bool take(struct trio *t, kelp_id id)
{
    struct kelp_work work;
    bool any = kelp_take(t->cores[id - 1], t->now, &work);
    t->deadline[id - 1] = work.deadline;
    if (!any) return false;
    must(work.lookup_count == 0 && !work.faulted, "a core asks for what it should have");
    for (uint32_t i = 0; i < work.made_count; i++)
        t->noop = work.made[i].pos.index;
    for (uint32_t i = 0; i < work.message_count; i++)
        post(t, &work.messages[i]);
    for (uint32_t i = 0; i < work.answer_count; i++)
        t->done += work.answers[i].outcome == KELP_DONE;
    uint64_t saved = work.save.number;
    kelp_index applied = work.apply_last;
    if (saved != 0) (void)step(t, id, &(struct kelp_input){.type = KELP_IN_SAVED, .number = saved});
    if (applied != 0)
        (void)step(t, id, &(struct kelp_input){.type = KELP_IN_APPLIED, .index = applied});
    return true;
}

/* Until nobody has anything to do at this moment. */
static void settle(struct trio *t)
{
    bool any = true;
    while (any) {
        any = t->post_count > 0;
        while (t->post_count > 0)
            deliver(t);
        for (kelp_id id = 1; id <= NODES; id++) {
            if (t->deadline[id - 1] <= t->now)
                (void)step(t, id, &(struct kelp_input){.type = KELP_IN_TICK});
            while (take(t, id))
                any = true;
        }
    }
}

static void rounds(struct trio *t, enum kelp_input_type type, uint64_t count, uint64_t in_flight)
{
    uint64_t before = t->done;
    for (uint64_t i = 0; i < count; i++) {
        for (uint64_t k = 0; k < in_flight; k++) {
            struct kelp_input input = {.type = type};
            t->tokens++;
            if (type == KELP_IN_PROPOSE) {
                input.propose.token = t->tokens;
                input.propose.deadline = KELP_NEVER;
                input.propose.bytes = ENTRY_BYTES;
            } else {
                input.read.token = t->tokens;
                input.read.deadline = KELP_NEVER;
            }
            (void)step(t, t->leader, &input);
        }
        settle(t);
        t->now += ROUND_NS;
    }
    must(t->done - before == count * in_flight, "an operation was not done");
}

static struct trio *trio_new(void)
{
    struct trio *t = calloc(1, sizeof *t);
    must(t != NULL, "no memory");
    t->now = UINT64_C(1000000000);
    for (kelp_id id = 1; id <= NODES; id++)
        boot(t, id);
    t->leader = 1;
    (void)step(t, 1, &(struct kelp_input){.type = KELP_IN_CAMPAIGN});
    struct kelp_view view = {.committed_own_term = false};
    for (uint32_t turn = 0; turn < TURNS_MAX && !view.committed_own_term; turn++) {
        settle(t);
        t->now += ROUND_NS;
        kelp_view(t->cores[0], &view);
    }
    must(view.role == KELP_LEADER && view.committed_own_term, "the campaign was not won");
    return t;
}

static void trio_free(struct trio *t)
{
    for (size_t i = 0; i < NODES; i++)
        free(t->memory[i]);
    free(t);
}

/* After so many rounds everything that fills once is full. */
#define WARM_UP 200u
#define FEW     200u
#define MANY    50u

void count_core(void)
{
    struct trio *t = trio_new();
    rounds(t, KELP_IN_PROPOSE, WARM_UP, 1);
    rounds(t, KELP_IN_READ, WARM_UP, 1);
    count_begin();
    rounds(t, KELP_IN_PROPOSE, FEW, 1);
    count_part("core/set-1", FEW);
    rounds(t, KELP_IN_PROPOSE, MANY, 64);
    count_part("core/set-64", MANY * 64);
    rounds(t, KELP_IN_READ, FEW, 1);
    count_part("core/get-1", FEW);
    rounds(t, KELP_IN_READ, MANY, 64);
    count_end("core/get-64", MANY * 64);
    struct kelp_view view;
    kelp_view(t->cores[other_than(t->leader) - 1], &view);
    must(view.durable > WARM_UP + FEW + MANY * 64, "a follower does not follow");
    trio_free(t);
}

/* The same work behind a log of a thousand entries and of a million, all of them appended here. */
void count_core_long(void)
{
    struct trio *t = trio_new();
    rounds(t, KELP_IN_PROPOSE, 1000, 1);
    count_begin();
    rounds(t, KELP_IN_PROPOSE, FEW, 1);
    count_part("core/set-1 log=1000", FEW);
    rounds(t, KELP_IN_PROPOSE, MANY, 64);
    count_end("core/set-64 log=1000", MANY * 64);
    rounds(t, KELP_IN_PROPOSE, 4000, 250);
    count_begin();
    rounds(t, KELP_IN_PROPOSE, FEW, 1);
    count_part("core/set-1 log=1000000", FEW);
    rounds(t, KELP_IN_PROPOSE, MANY, 64);
    count_end("core/set-64 log=1000000", MANY * 64);
    trio_free(t);
}
