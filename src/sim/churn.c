/* SPDX-License-Identifier: Apache-2.0 */
/* churn.c - somebody who asks for changes of the membership, and what must come of them.
 *
 * A change is drawn from what the asked node takes for the members: add, promote, demote, remove,
 * replace, move back and forth, a priority, or the whole list anew; of one voter and of several,
 * witnesses among them, now and then with the index of its configuration, without waiting or with
 * force; half of those who come are named by their id alone, since they knock. In some runs whoever
 * comes first is a witness. Every other start of a node finds that it was moved, and moves itself
 * back; half of those who replace somebody take its address. Ids are slots, so there are few, and
 * who was removed never comes back. What is told is judged: DONE means that the committed
 * configuration says so (M02). After the faults every change comes to its end (L12). */
#include <stdio.h>

#include "base/min.h"
#include "base/unset.h"
#include "core/config.h"
#include "core/look.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS ((kelp_ns)1000000)

/* ---- knowing ---- */

void churn_watch(struct node *n, const struct kelp_core *core, const struct kelp_view *view)
{
    struct world *w = n->world;
    struct core_configs configs = core_configs(core);
    checker_members(w->checker, n->slot, configs.latest, configs.committed);
    bool known = configs.committed->index <= view->commit;
    if (known && (w->churn.config.count == 0 || configs.committed->index > w->churn.config.index))
        w->churn.config = *configs.committed;
}

bool churn_member(const struct world *w, const struct node *n)
{
    const struct kelp_config *c = &w->churn.config;
    if (w->swarm.weights[FAULT_CHANGE] == 0) return true;
    return c->count == 0 || config_slot(c, n->id) != CONFIG_NO_SLOT;
}

bool churn_removed(const struct node *n)
{
    return config_removed(&n->world->churn.config, n->id);
}

/* Somebody it knows is still there: who was removed after all those had gone hears of it from
 * nobody. */
static bool knows_member(const struct kelp_core *core, const struct kelp_config *config)
{
    const struct kelp_config *own = core_configs(core).latest;
    for (uint32_t slot = 0; slot < own->count; slot++) {
        if (config_slot(config, own->members[slot].id) != CONFIG_NO_SLOT) return true;
    }
    return false;
}

static bool removal_known(const struct world *w, const struct kelp_config *config)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        const struct kelp_core *core = n->state == NODE_UP ? driver_core(n->driver) : NULL;
        UNSET struct kelp_view view; /* filled by kelp_view */
        if (core == NULL || !config_removed(config, n->id)) continue;
        if (!knows_member(core, config)) continue;
        kelp_view(core, &view);
        if (!view.removed) return false;
    }
    return true;
}

bool churn_settled(const struct world *w, const struct node *leader)
{
    const struct kelp_config *latest = core_configs(driver_core(leader->driver)).latest;
    UNSET struct kelp_view view; /* filled by kelp_view */
    kelp_view(driver_core(leader->driver), &view);
    if (latest->index > view.commit || latest->joint) return false;
    for (uint32_t slot = 0; slot < latest->count; slot++) {
        if (latest->members[slot].role == KELP_STAGING) return false;
    }
    return removal_known(w, latest);
}

/* ---- asking ---- */

static uint8_t role_draw(struct world *w)
{
    static const uint8_t roles[8] = {KELP_LEARNER, KELP_LEARNER, KELP_WITNESS, KELP_VOTER,
                                     KELP_VOTER,   KELP_VOTER,   KELP_VOTER,   KELP_VOTER};
    return roles[draw_below(nemesis_draw(w), 8)];
}

static struct wire_edit *edit_add(struct world *w, struct wire_change *change,
                                  enum kelp_edit_verb verb, kelp_id id)
{
    struct wire_edit *edit = &change->edits[change->count++];
    *edit = (struct wire_edit){.id = id, .verb = (uint8_t)verb};
    bool comes = verb == KELP_EDIT_ADD || verb == KELP_EDIT_SET;
    if (comes) edit->role = role_draw(w);
    if (comes || verb == KELP_EDIT_MOVE) edit->address = w->members[id - 1].peer;
    return edit;
}

static kelp_id member_draw(struct world *w, const struct kelp_config *config)
{
    return config->members[draw_below(nemesis_draw(w), config->count)].id;
}

static void change_whole(struct world *w, const struct kelp_config *config,
                         struct wire_change *change)
{
    change->flags |= KELP_CHANGE_WHOLE;
    for (kelp_id id = 1; id <= w->node_count; id++) {
        bool there = config_slot(config, id) != CONFIG_NO_SLOT;
        bool wanted = draw_chance(nemesis_draw(w), there ? 3 : 2, 4);
        if (wanted && (there || id > config->id_highest))
            (void)edit_add(w, change, KELP_EDIT_SET, id);
    }
}

static void change_draw(struct world *w, const struct kelp_config *config,
                        struct wire_change *change)
{
    kelp_id next = config->id_highest + 1, some = member_draw(w, config);
    uint64_t kind = draw_below(nemesis_draw(w), 10);
    bool room = next <= w->node_count;
    if (w->swarm.witness && room && next == w->swarm.founders + 1) {
        struct wire_edit *edit = edit_add(w, change, KELP_EDIT_ADD, next);
        if (draw_chance(nemesis_draw(w), 3, 4))
            edit->role = KELP_WITNESS; /* or has data after all */
        return;
    }
    if (kind <= 1 && room) {
        struct wire_edit *edit = edit_add(w, change, KELP_EDIT_ADD, next);
        if (kind == 1) edit->address.text[0] = '\0'; /* whoever knocks by that id */
    } else if (kind == 2) {
        (void)edit_add(w, change, KELP_EDIT_REMOVE, some);
    } else if (kind == 3 && room) {
        (void)edit_add(w, change, KELP_EDIT_REMOVE, some);
        struct wire_edit *comes = edit_add(w, change, KELP_EDIT_ADD, next);
        comes->role = KELP_VOTER;
        if (next % 2 == 0) comes->address = w->members[some - 1].peer; /* of whom it replaces */
    } else if (kind == 4) {
        change_whole(w, config, change);
    } else if (kind == 5) {
        (void)edit_add(w, change, KELP_EDIT_MOVE, some);
        if (draw_chance(nemesis_draw(w), 1, 2))
            (void)snprintf(change->edits[0].address.text, WIRE_ADDRESS_MAX, "node-%u:7102",
                           (unsigned)some);
    } else if (kind >= 8) {
        static const uint8_t priorities[] = {0, 0, 1, 1, 2, 3, 9, 255};
        edit_add(w, change, KELP_EDIT_PRIORITY, some)->priority =
            priorities[draw_below(nemesis_draw(w), sizeof priorities)];
    } else {
        uint8_t role = config->members[config_slot(config, some)].role;
        (void)edit_add(w, change, role == KELP_VOTER ? KELP_EDIT_DEMOTE : KELP_EDIT_PROMOTE, some);
        kelp_id other = member_draw(w, config);
        if (other != some && draw_chance(nemesis_draw(w), 1, 2))
            (void)edit_add(w, change, KELP_EDIT_PROMOTE, other);
    }
}

static bool plan_votes(uint8_t role)
{
    return role == KELP_VOTER || role == KELP_WITNESS;
}

/* Counted once more, by hand. */
static void plan_judge(struct world *w, const struct churn_ask *ask, struct kelp_bytes result)
{
    struct kelp_plan plan;
    uint32_t voters = 0, before = 0;
    if (!driver_plan_read(result, &plan)) {
        checker_fail(w->checker, RULE_M02, "a plan cannot be read");
        return;
    }
    w->report->plans++;
    for (uint32_t i = 0; i < plan.count; i++) {
        voters += plan_votes(plan.members[i].after);
        before += plan_votes(plan.members[i].before);
    }
    bool force = (ask->change.flags & KELP_CHANGE_FORCE) != 0;
    bool counted = voters == plan.after.voters && before == plan.before.voters &&
                   plan.after.quorum == voters / 2 + 1;
    bool safe =
        plan.refused || force || plan.way == KELP_PLAN_NOTHING || plan.after.live > voters / 2;
    if (!counted || !safe || voters == 0)
        checker_fail(w->checker, RULE_M02, "a plan of %u voters, %u live, is %s", voters,
                     (unsigned)plan.after.live, counted ? "allowed" : "miscounted");
}

static void ask_told(void *ctx, uint64_t token, const struct driver_outcome *told)
{
    struct world *w = ctx;
    for (unsigned i = 0; i < ASKS_MAX; i++) {
        struct churn_ask *ask = &w->churn.asks[i];
        if (ask->token != token) continue;
        if (ask->told) checker_fail(w->checker, RULE_M02, "a change is answered twice");
        ask->told = w->churn.told = true;
        ask->outcome = told->outcome;
        ask->reason = told->reason;
        ask->pos = told->pos;
        if (ask->plan && told->outcome == KELP_DONE) plan_judge(w, ask, told->result);
        if (ask->plan && (told->outcome == KELP_UNKNOWN || told->outcome == KELP_LOST))
            checker_fail(w->checker, RULE_M02, "a plan is %s", kelp_outcome_name(told->outcome));
        return;
    }
    checker_fail(w->checker, RULE_M02, "an answer to a change that nobody asked for");
}

static struct churn_ask *ask_free(struct world *w)
{
    struct churn_ask *ask = NULL;
    for (unsigned i = 0; i < ASKS_MAX; i++) {
        if (w->churn.asks[i].token == 0) ask = &w->churn.asks[i];
    }
    return ask;
}

static void ask_send(struct node *n, struct churn_ask *ask, kelp_ns deadline)
{
    struct world *w = n->world;
    ask->line = driver_line_open(n->driver, ask_told, w);
    if (ask->line == NULL) return;
    ask->token = ++w->churn.tokens;
    if (!(ask->plan ? driver_plan : driver_change)(n->driver, node_clock(n), ask->line, ask->token,
                                                   &ask->change, (struct kelp_bytes){NULL, 0},
                                                   deadline, true)) {
        driver_line_close(n->driver, ask->line);
        ask->token = 0;
        return;
    }
    w->report->changes += !ask->plan;
    node_run(n);
}

void churn_adds_witness(struct node *n, kelp_id id)
{
    struct world *w = n->world;
    struct churn_ask *ask = ask_free(w);
    if (ask == NULL || driver_core(n->driver) == NULL) return;
    *ask = (struct churn_ask){.node = n->slot, .life = n->life};
    struct wire_edit *edit = &ask->change.edits[ask->change.count++];
    *edit = (struct wire_edit){.id = id, .verb = KELP_EDIT_ADD, .role = KELP_WITNESS};
    edit->address = w->members[id - 1].peer;
    ask_send(n, ask, node_clock(n) + 5000 * MS);
}

void churn_happens(struct world *w)
{
    struct node *n = nemesis_node(w);
    struct draw *draw = nemesis_draw(w);
    struct churn_ask *ask = ask_free(w);
    if (n->state != NODE_UP || driver_core(n->driver) == NULL || ask == NULL || node_paused(n))
        return;
    struct kelp_config config;
    kelp_core_config(driver_core(n->driver), &config, NULL);
    *ask = (struct churn_ask){.node = n->slot, .life = n->life};
    change_draw(w, &config, &ask->change);
    if (draw_chance(draw, 1, 6)) ask->change.flags |= KELP_CHANGE_NOWAIT;
    if (draw_chance(draw, 1, 6)) ask->change.flags |= KELP_CHANGE_FORCE;
    if (draw_chance(draw, 1, 6)) ask->change.if_index = config.index;
    kelp_ns deadline = node_clock(n) + draw_between(draw, 100, 20000) * MS;
    ask->plan = draw_chance(draw, 1, 5);
    if (ask->change.count == 0) return;
    ask_send(n, ask, deadline);
}

/* ---- what was told ---- */

static uint8_t role_in(const struct kelp_config *config, kelp_id id)
{
    uint32_t slot = config_slot(config, id);
    return slot == CONFIG_NO_SLOT ? (uint8_t)KELP_NONE : config->members[slot].role;
}

static bool priority_in(const struct kelp_config *config, kelp_id id, uint8_t priority)
{
    uint32_t slot = config_slot(config, id);
    return slot != CONFIG_NO_SLOT && kelp_priority_of(&config->members[slot]) == priority;
}

static bool edit_holds(const struct wire_edit *edit, const struct kelp_config *config)
{
    switch ((enum kelp_edit_verb)edit->verb) {
    case KELP_EDIT_ADD:
    case KELP_EDIT_SET: return role_in(config, edit->id) == edit->role;
    case KELP_EDIT_PROMOTE: return role_in(config, edit->id) == KELP_VOTER;
    case KELP_EDIT_DEMOTE: return role_in(config, edit->id) == KELP_LEARNER;
    case KELP_EDIT_REMOVE: return role_in(config, edit->id) == KELP_NONE;
    case KELP_EDIT_MOVE:
    case KELP_EDIT_STOP: return role_in(config, edit->id) != KELP_NONE;
    case KELP_EDIT_PRIORITY: return priority_in(config, edit->id, edit->priority);
    }
    return false;
}

static void done_judge(struct world *w, const struct churn_ask *ask)
{
    const struct kelp_config *config = &w->churn.config;
    if (config->index < ask->pos.index) {
        checker_fail(w->checker, RULE_M02, "a change is done at %llu, which is not committed",
                     (unsigned long long)ask->pos.index);
        return;
    }
    if (config->index > ask->pos.index) return; /* something else has changed since */
    bool whole = (ask->change.flags & KELP_CHANGE_WHOLE) != 0;
    bool holds = !config->joint && (!whole || config->count == ask->change.count);
    for (uint32_t i = 0; i < ask->change.count; i++)
        holds = holds && edit_holds(&ask->change.edits[i], config);
    if (!holds)
        checker_fail(w->checker, RULE_M02, "a change is done at %llu, which says something else",
                     (unsigned long long)ask->pos.index);
}

static void ask_ends(struct world *w, struct churn_ask *ask)
{
    struct node *n = &w->nodes[ask->node];
    char words[96];
    w->report->changes_done += ask->outcome == KELP_DONE && !ask->plan;
    (void)snprintf(words, sizeof words, "%s %s %s", ask->plan ? "plan" : "change",
                   kelp_outcome_name(ask->outcome), kelp_reason_name(ask->reason));
    trace_words(w, KELP_SIM_NOTE, ask->node, words);
    if (ask->outcome == KELP_DONE && !ask->plan) done_judge(w, ask);
    if (n->life == ask->life && n->driver != NULL) driver_line_close(n->driver, ask->line);
    ask->token = 0;
}

void churn_judge(struct world *w)
{
    if (!w->churn.told) return; /* it is asked after every event */
    w->churn.told = false;
    for (unsigned i = 0; i < ASKS_MAX; i++) {
        struct churn_ask *ask = &w->churn.asks[i];
        if (ask->token != 0 && ask->told) ask_ends(w, ask);
    }
}

void churn_node_dies(struct node *n)
{
    struct world *w = n->world;
    churn_judge(w);
    for (unsigned i = 0; i < ASKS_MAX; i++) {
        struct churn_ask *ask = &w->churn.asks[i];
        if (ask->node == n->slot) ask->token = 0;
    }
}

bool churn_idle(const struct world *w)
{
    for (unsigned i = 0; i < ASKS_MAX; i++) {
        if (w->churn.asks[i].token != 0) return false;
    }
    return true;
}
