/* SPDX-License-Identifier: Apache-2.0 */
/* exhaust.c - every interleaving in a small scope, each state once, the shortest way first.
 *
 * Breadth first: a state is expanded after all that need fewer actions, so the first rule that
 * breaks is reached by as few actions as can be. A state is a record of some fifty bytes: its key
 * (cells, packets, what the rules remember, budgets left) and how it was first reached. Records
 * are compared whole, so the number of states is exact, and no state is skipped because another
 * has its hash.
 *
 * One symmetry is used: all nodes begin alike, so the first action is node 1's. An action that
 * changes no node and sends nothing is not taken. What leaves the scope is counted, not followed.
 * The exploration is the same on every machine: it draws nothing and reads no clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "sim/exhaust.h"

#define WORDS_MAX  200u
#define RECORD_MAX (sizeof(struct world_state) + 2 * sizeof(uint32_t))

struct explorer {
    struct kelp_sim_scope scope;
    struct kelp_sim_scope_report *report;
    struct cells *cells;
    struct hoard states;
    size_t key_bytes;
    uint32_t at; /* the state being expanded */
    struct action doing;
    struct world_state was; /* it, unpacked */
    uint32_t depth;
    bool stopped;
};

static struct explorer *exploring; /* for the assertion hook; one at a time per process */

/* ---- records ---- */

static void copy_out(uint8_t **at, const void *from, size_t bytes)
{
    memcpy(*at, from, bytes);
    *at += bytes;
}

static void copy_in(const uint8_t **at, void *to, size_t bytes)
{
    memcpy(to, *at, bytes);
    *at += bytes;
}

static size_t budgets_offset(const struct kelp_sim_scope *scope)
{
    return (scope->nodes + scope->messages) * sizeof(uint32_t) + scope->terms + scope->entries +
           scope->terms;
}

static void record_make(const struct explorer *e, const struct world_state *w, uint32_t parent,
                        uint32_t action, uint8_t *record)
{
    const struct kelp_sim_scope *scope = &e->scope;
    uint8_t budgets[4] = {w->drops, w->crashes, w->beats, w->repeats};
    uint8_t *at = record;
    copy_out(&at, w->cells, scope->nodes * sizeof *w->cells);
    copy_out(&at, w->packets, scope->messages * sizeof *w->packets);
    copy_out(&at, w->led + 1, scope->terms);
    copy_out(&at, w->committed + 1, scope->entries + scope->terms);
    copy_out(&at, budgets, sizeof budgets);
    ASSERT((size_t)(at - record) == e->key_bytes);
    copy_out(&at, &parent, sizeof parent);
    copy_out(&at, &action, sizeof action);
}

static void record_read(const struct explorer *e, uint32_t state, struct world_state *w,
                        uint32_t *parent, uint32_t *action)
{
    const struct kelp_sim_scope *scope = &e->scope;
    const uint8_t *at = hoard_at(&e->states, state);
    uint8_t budgets[4];
    memset(w, 0, sizeof *w);
    copy_in(&at, w->cells, scope->nodes * sizeof *w->cells);
    copy_in(&at, w->packets, scope->messages * sizeof *w->packets);
    copy_in(&at, w->led + 1, scope->terms);
    copy_in(&at, w->committed + 1, scope->entries + scope->terms);
    copy_in(&at, budgets, sizeof budgets);
    copy_in(&at, parent, sizeof *parent);
    copy_in(&at, action, sizeof *action);
    w->drops = budgets[0];
    w->crashes = budgets[1];
    w->beats = budgets[2];
    w->repeats = budgets[3];
}

/* ---- the way to a state ---- */

static void say(struct kelp_sim_scope_report *report, const char *words)
{
    size_t used = strlen(report->path);
    (void)snprintf(report->path + used, sizeof report->path - used, "%s\n", words);
}

static void tell_step(struct explorer *e, uint32_t number, uint32_t state, struct action action)
{
    char words[WORDS_MAX], line[WORDS_MAX + 16];
    (void)snprintf(words, sizeof words, "start: all nodes are empty followers in term 0");
    if (number > 0) tell_action(e->cells, action, words, sizeof words);
    (void)snprintf(line, sizeof line, "%3u  %s", number, words);
    say(e->report, line);
    if (number == 0 || state == 0 || action.act == ACT_DROP) return;
    struct world_state w;
    uint32_t parent, packed;
    record_read(e, state, &w, &parent, &packed);
    cells_describe(e->cells, w.cells[action.node], words, sizeof words);
    (void)snprintf(line, sizeof line, "       %s", words);
    say(e->report, line);
}

/* The actions from the beginning to a state, then one more. */
static void tell_path(struct explorer *e, uint32_t state, struct action last)
{
    uint32_t states[KELP_SIM_SCOPE_DEPTH_MAX + 1];
    uint32_t count = 0;
    struct world_state w;
    uint32_t parent, action;
    e->report->path[0] = '\0';
    for (uint32_t at = state; at != 0; at = parent) {
        ASSERT(count < COUNT_OF(states));
        states[count++] = at;
        record_read(e, at, &w, &parent, &action);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = states[count - 1 - i];
        record_read(e, at, &w, &parent, &action);
        tell_step(e, i, at, action_unpack(action));
    }
    tell_step(e, count, 0, last);
    e->report->path_count = count;
}

static void asserted(const char *expression, const char *file, int line)
{
    struct explorer *e = exploring;
    exploring = NULL;
    if (e != NULL) {
        tell_path(e, e->at, e->doing);
        (void)fputs(e->report->path, stderr);
    }
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
}

static void fail(struct explorer *e, const char *invariant, const char *message)
{
    e->stopped = true;
    e->report->passed = false;
    (void)snprintf(e->report->invariant, sizeof e->report->invariant, "%s", invariant);
    (void)snprintf(e->report->message, sizeof e->report->message, "%s", message);
}

static void break_rule(struct explorer *e, const struct verdict *verdict)
{
    fail(e, rules_name(verdict->rule), verdict->words);
    tell_path(e, e->at, e->doing);
}

/* ---- the network ---- */

static void packet_remove(struct world_state *w, uint32_t packet)
{
    uint32_t at = 0;
    while (w->packets[at] != packet)
        at++;
    memmove(&w->packets[at], &w->packets[at + 1], (PACKETS_MAX - at - 1) * sizeof *w->packets);
    w->packets[PACKETS_MAX - 1] = 0;
}

/* false: lost, since its equal is on the way or the network is full. */
static bool packet_add(const struct explorer *e, struct world_state *w, uint32_t packet)
{
    uint32_t at = 0, max = e->scope.messages;
    while (at < max && w->packets[at] != 0 && w->packets[at] < packet)
        at++;
    if (at == max || w->packets[at] == packet || w->packets[max - 1] != 0) return false;
    memmove(&w->packets[at + 1], &w->packets[at], (max - at - 1) * sizeof *w->packets);
    w->packets[at] = packet;
    return true;
}

/* ---- one action ---- */

static void arrive(struct explorer *e, const struct world_state *next, struct action action)
{
    uint8_t record[RECORD_MAX];
    bool fresh;
    record_make(e, next, e->at, action_pack(action), record);
    e->report->steps++;
    if (hoard_put(&e->states, record, &fresh) == 0) {
        fail(e, "memory", "out of memory");
    } else if (fresh && e->states.count >= e->scope.states_max) {
        e->report->full = true;
        e->stopped = true;
    }
}

static void act(struct explorer *e, struct action action)
{
    struct world_state next = e->was;
    if (e->stopped) return;
    e->doing = action;
    const struct move *move = cells_move(e->cells, e->was.cells[action.node], action);
    if (move == NULL) {
        fail(e, "memory", "out of memory");
        return;
    }
    if ((move->flags & MOVE_BROKEN) != 0) {
        break_rule(e, cells_verdict(e->cells));
        return;
    }
    if ((move->flags & MOVE_OUTSIDE) != 0) {
        e->report->outside++;
        return;
    }
    bool arrives = action.act == ACT_DELIVER || action.act == ACT_REPEAT;
    if (move->next == move->cell && move->sent_count == 0 && !arrives) return;
    next.cells[action.node] = move->next;
    switch (action.act) {
    case ACT_DELIVER: packet_remove(&next, action.argument); break;
    case ACT_REPEAT: next.repeats--; break;
    case ACT_CRASH: next.crashes--; break;
    case ACT_BEAT: next.beats--; break;
    case ACT_TIMEOUT:
        if (cells_at(e->cells, move->cell)->role == KELP_LEADER) next.beats--;
        break;
    case ACT_START:
    case ACT_DROP:
    case ACT_LAPSE:
    case ACT_PROPOSE:
    case ACT_SAVED: break;
    }
    for (uint8_t i = 0; i < move->sent_count; i++) {
        if (!packet_add(e, &next, move->sent[i])) e->report->lost++;
    }
    struct verdict verdict;
    if (!rules_judge(e->cells, &e->scope, action, move, &e->was, &next, &verdict))
        break_rule(e, &verdict);
    else
        arrive(e, &next, action);
}

static void drop(struct explorer *e, uint32_t packet)
{
    struct world_state next = e->was;
    if (e->stopped || next.drops == 0) return;
    next.drops--;
    packet_remove(&next, packet);
    arrive(e, &next, (struct action){.act = ACT_DROP, .argument = packet});
}

static void expand_node(struct explorer *e, uint32_t node)
{
    const struct cell *cell = cells_at(e->cells, e->was.cells[node]);
    bool leads = cell->role == KELP_LEADER, follows = cell->role == KELP_FOLLOWER;
    struct action a = {.node = node};
    a.act = ACT_TIMEOUT;
    if (leads ? e->was.beats > 0 : true) act(e, a);
    a.act = ACT_BEAT;
    if (!follows && e->was.beats > 0) act(e, a);
    a.act = ACT_LAPSE;
    if (cell->contact) act(e, a);
    a.act = ACT_PROPOSE;
    if (leads && cell->log.last < e->scope.entries) act(e, a);
    a.act = ACT_SAVED;
    for (a.argument = 1; a.argument <= cell->disk.open_count; a.argument++) {
        if (a.argument == 1 || a.argument == cell->disk.open_count) act(e, a);
    }
    a.act = ACT_CRASH;
    uint32_t parts = cells_parts(cell);
    for (a.argument = 0; e->was.crashes > 0 && a.argument <= parts; a.argument++)
        act(e, a);
}

static void expand(struct explorer *e)
{
    uint32_t parent, action;
    record_read(e, e->at, &e->was, &parent, &action);
    for (uint32_t i = 0; i < e->scope.messages && e->was.packets[i] != 0; i++) {
        uint32_t packet = e->was.packets[i];
        struct action a = {.act = ACT_DELIVER, .argument = packet};
        a.node = cells_packet(e->cells, packet)->to - 1u;
        act(e, a);
        a.act = ACT_REPEAT;
        if (e->was.repeats > 0) act(e, a);
        drop(e, packet);
    }
    uint32_t nodes = e->at == 1 ? 1 : e->scope.nodes; /* at first all are alike */
    for (uint32_t node = 0; node < nodes; node++)
        expand_node(e, node);
}

/* ---- all of it ---- */

static void explore(struct explorer *e)
{
    struct kelp_sim_scope_report *report = e->report;
    report->fresh[0] = 1;
    uint32_t end = 1; /* the last state of this depth */
    while (!e->stopped && e->depth < e->scope.depth) {
        uint32_t known = e->states.count;
        for (e->at = report->depth == 0 ? 1 : e->at; e->at <= end && !e->stopped; e->at++)
            expand(e);
        e->depth++;
        report->fresh[e->depth] = e->states.count - known;
        if (e->stopped) return;
        report->depth = e->depth;
        if (e->scope.progress != NULL)
            e->scope.progress(e->scope.progress_ctx, e->depth, report->fresh[e->depth],
                              report->steps);
        report->whole = report->fresh[e->depth] == 0;
        if (report->whole) return;
        end = e->states.count;
    }
}

static bool begin(struct explorer *e)
{
    const struct kelp_sim_scope *scope = &e->scope;
    struct world_state first = {.drops = (uint8_t)scope->drops,
                                .crashes = (uint8_t)scope->crashes,
                                .beats = (uint8_t)scope->beats,
                                .repeats = (uint8_t)scope->repeats};
    uint8_t record[RECORD_MAX];
    bool fresh;
    e->key_bytes = budgets_offset(scope) + 4;
    e->states = hoard_open(e->key_bytes + 2 * sizeof(uint32_t), e->key_bytes);
    e->cells = cells_open(&e->scope);
    if (e->cells == NULL) return false;
    for (uint32_t node = 0; node < scope->nodes; node++) {
        first.cells[node] = cells_first(e->cells, node);
        if (first.cells[node] == 0) return false;
    }
    record_make(e, &first, 0, 0, record);
    return hoard_put(&e->states, record, &fresh) != 0;
}

static const char *scope_wrong(const struct kelp_sim_scope *s)
{
    if (s->size != sizeof *s) return "size is not sizeof(struct kelp_sim_scope)";
    if (s->nodes < 2 || s->nodes > NODES_MAX) return "nodes is not in 2..5";
    if (s->terms < 1 || s->terms > TERMS_MAX) return "terms is not in 1..7";
    if (s->entries < 1 || s->entries > KELP_SIM_SCOPE_ENTRIES_MAX) return "entries is not in 1..7";
    if (s->depth < 1 || s->depth > KELP_SIM_SCOPE_DEPTH_MAX) return "depth is not in 1..127";
    if (s->messages < 1 || s->messages > PACKETS_MAX) return "messages is not in 1..12";
    if (s->batch < 1 || s->batch > 7) return "batch is not in 1..7";
    if (s->drops > 255 || s->crashes > 255 || s->beats > 255 || s->repeats > 255)
        return "drops, crashes, beats and repeats must be at most 255";
    if (s->states_max < 1 || s->states_max > UINT32_MAX / 2)
        return "states_max is not in 1..2147483647";
    if ((unsigned)s->broken >= KELP_SIM_SCOPE_BREAK_COUNT)
        return "broken is not a rule that can be broken";
    return NULL;
}

struct kelp_sim_scope kelp_sim_scope_default(void)
{
    return (struct kelp_sim_scope){.size = sizeof(struct kelp_sim_scope),
                                   .nodes = 3,
                                   .terms = 2,
                                   .entries = 3,
                                   .depth = 12,
                                   .drops = 1,
                                   .crashes = 1,
                                   .beats = 1,
                                   .messages = 6,
                                   .batch = 1,
                                   .states_max = 20u * 1000 * 1000,
                                   .rules = UINT32_MAX};
}

bool kelp_sim_explore(const struct kelp_sim_scope *scope, struct kelp_sim_scope_report *report)
{
    struct explorer e = {.scope = scope != NULL ? *scope : kelp_sim_scope_default()};
    memset(report, 0, sizeof *report);
    report->passed = true;
    e.report = report;
    const char *wrong = scope_wrong(&e.scope);
    if (wrong != NULL) {
        fail(&e, "options", wrong);
        return false;
    }
    exploring = &e;
    assert_hook_set(asserted);
    if (begin(&e))
        explore(&e);
    else
        fail(&e, "memory", "out of memory");
    assert_hook_set(NULL);
    exploring = NULL;
    report->states = e.states.count;
    report->bytes = e.states.bytes;
    if (e.cells != NULL) {
        report->bytes += cells_bytes(e.cells);
        report->cells = cells_count(e.cells);
        report->moves = cells_moves(e.cells);
    }
    hoard_close(&e.states);
    cells_close(e.cells);
    return report->passed;
}
