/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_change.c - changes of the membership: asking for one, and what must hold of them.
 *
 *   change 1 7 add 4v             node 1 is asked, under token 7;  add 4L, promote 4, demote 4,
 *                                 remove 4, move 4, priority 4=9, and several of them
 *   change 1 7 set 1v,4v,5L       the whole configuration
 *   ... moved                     those named have another address;  verb 4=9: nothing known
 *   ... if 5 nowait force within 2s
 *   plan 1 remove 2 force         what it would do, in a line; plan 1 stop 2: what a stop would
 *   ... is may                    and what must come of it: may, or the reason
 *
 * A configuration that a leader makes shares a node in every decision with the one before it, and
 * that one is committed; a change that is called done is what the committed configuration says. */
#include <stdio.h>
#include <string.h>

#include "core/config.h"
#include "sim/quorums.h"
#include "sim/scenario_room.h"

static unsigned long long u(uint64_t v)
{
    return (unsigned long long)v;
}

/* 4v,5L: the members named, as edits. */
static void edits_add(struct scenario *s, struct token *token, enum kelp_edit_verb verb,
                      const char *word)
{
    bool roles = verb == KELP_EDIT_ADD || verb == KELP_EDIT_SET;
    const struct kelp_config *named = roles ? words_config(s, word) : NULL;
    for (uint32_t i = 0; i < (roles ? named->count : 1u); i++) {
        if (token->edit_count == KELP_MEMBERS_MAX) scenario_stop(s, "too many edits");
        token->edits[token->edit_count++] =
            (struct kelp_edit){.id = roles ? named->members[i].id : words_number_of(s, word),
                               .role = roles ? named->members[i].role : (uint8_t)KELP_NONE,
                               .incarnation = roles ? named->members[i].incarnation : 0,
                               .verb = (uint8_t)verb,
                               .moved = verb == KELP_EDIT_MOVE};
    }
}

/* 4=9: a member and its priority, or the number of what is to become of it, which may be none. */
static void number_add(struct scenario *s, struct token *token, bool priority)
{
    char id[24] = "";
    const char *word = words_next(s), *equals = strchr(word, '=');
    if (equals == NULL || (size_t)(equals - word) >= sizeof id)
        scenario_stop(s, "a priority is written 4=9, and a verb");
    memcpy(id, word, (size_t)(equals - word));
    uint64_t number = words_number_of(s, equals + 1);
    if (number > KELP_PRIORITY_MAX || token->edit_count == KELP_MEMBERS_MAX)
        scenario_stop(s, "a priority or verb is above 255, or there are too many edits");
    token->edits[token->edit_count++] =
        (struct kelp_edit){.id = words_number_of(s, id),
                           .verb = priority ? (uint8_t)KELP_EDIT_PRIORITY : (uint8_t)number,
                           .priority = priority ? (uint8_t)number : 0};
}

/* What was named so far has moved to another address. */
static bool moved_word(struct scenario *s, struct token *token)
{
    if (!words_take(s, "moved")) return false;
    for (uint32_t i = 0; i < token->edit_count; i++)
        token->edits[i].moved = true;
    return true;
}

static bool edit_word(struct scenario *s, struct token *token)
{
    static const struct {
        const char *word;
        enum kelp_edit_verb verb;
    } verbs[] = {{"add", KELP_EDIT_ADD},       {"promote", KELP_EDIT_PROMOTE},
                 {"demote", KELP_EDIT_DEMOTE}, {"remove", KELP_EDIT_REMOVE},
                 {"move", KELP_EDIT_MOVE},     {"set", KELP_EDIT_SET},
                 {"stop", KELP_EDIT_STOP}};
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (!words_take(s, verbs[i].word)) continue;
        edits_add(s, token, verbs[i].verb, words_next(s));
        token->whole = token->whole || verbs[i].verb == KELP_EDIT_SET;
        return true;
    }
    bool priority = words_take(s, "priority");
    if (!priority && !words_take(s, "verb")) return moved_word(s, token);
    number_add(s, token, priority);
    return true;
}

void change_command(struct scenario *s)
{
    struct node *node = words_node_up(s);
    struct token *token = act_token(s, node, words_number(s), TOKEN_CHANGE);
    struct kelp_change what = {.edits = token->edits};
    kelp_ns deadline = KELP_NEVER;
    while (words_left(s)) {
        if (edit_word(s, token)) continue;
        if (words_take(s, "if"))
            what.if_index = words_number(s);
        else if (words_take(s, "nowait"))
            what.flags |= KELP_CHANGE_NOWAIT;
        else if (words_take(s, "force"))
            what.flags |= KELP_CHANGE_FORCE;
        else if (words_take(s, "within"))
            deadline = node->now + words_span(s);
        else
            words_end(s);
    }
    if (token->whole) what.flags |= KELP_CHANGE_WHOLE;
    what.count = token->edit_count;
    struct kelp_input in = {.type = KELP_IN_CHANGE};
    in.change.token = token->number;
    in.change.deadline = deadline;
    in.change.what = &what;
    world_step(s, node, &in, NULL);
    world_pump(s, node);
}

void plan_command(struct scenario *s)
{
    const struct node *node = words_node_up(s);
    struct token *named = scenario_memory(s, sizeof *named);
    struct kelp_change what = {.edits = named->edits};
    struct kelp_plan plan;
    char line[SCENARIO_LINE_MAX];
    const char *wanted = NULL;
    while (words_left(s)) {
        if (edit_word(s, named)) continue;
        if (words_take(s, "if"))
            what.if_index = words_number(s);
        else if (words_take(s, "force"))
            what.flags |= KELP_CHANGE_FORCE;
        else if (words_take(s, "is"))
            wanted = words_next(s);
        else
            words_end(s);
    }
    if (named->whole) what.flags |= KELP_CHANGE_WHOLE;
    what.count = named->edit_count;
    enum kelp_reason gate = kelp_core_plan(node->core, &what, &plan);
    if (gate == KELP_R_NONE)
        (void)kelp_describe_plan(&plan, line, sizeof line);
    else
        (void)snprintf(line, sizeof line, "nothing: %s", kelp_reason_name(gate));
    scenario_note(s, "%llu plan %s", u(node->id), line);
    bool may = gate == KELP_R_NONE && !plan.refused;
    const char *have = kelp_reason_name(gate != KELP_R_NONE ? gate : plan.reason);
    if (may) have = "may";
    if (wanted != NULL && strcmp(wanted, have) != 0)
        scenario_failed(s, "the plan says %s, not %s", have, wanted);
}

/* ---- what must hold ---- */

void change_made(struct scenario *s, const struct node *node, const struct kelp_made *made,
                 struct entry *entry)
{
    const struct kelp_config *before = node->members;
    struct kelp_config *config = scenario_memory(s, sizeof *config);
    struct kelp_view view;
    kelp_view(node->core, &view);
    *config = *made->config;
    entry->config = config;
    for (kelp_index index = node->log.count; index > 0; index--) { /* compacted: still known */
        if (node->log.at[index - 1].config == NULL) continue;
        before = node->log.at[index - 1].config;
        break;
    }
    if (before->index > view.commit)
        scenario_stop(s, "INVARIANT node %llu makes a configuration, %llu is not committed",
                      u(node->id), u(before->index));
    if (!quorums_meet(before, config))
        scenario_stop(s,
                      "INVARIANT node %llu makes a configuration whose quorums need not meet "
                      "those of the one before",
                      u(node->id));
    struct token *token = made->change != 0 ? expect_token(s, made->change) : NULL;
    if (token != NULL) token->name = entry->name;
}

static uint8_t role_wanted(const struct kelp_edit *edit, uint8_t role)
{
    switch ((enum kelp_edit_verb)edit->verb) {
    case KELP_EDIT_ADD:
    case KELP_EDIT_SET: return edit->role;
    case KELP_EDIT_PROMOTE: return KELP_VOTER;
    case KELP_EDIT_DEMOTE: return KELP_LEARNER;
    case KELP_EDIT_REMOVE: return KELP_NONE;
    case KELP_EDIT_MOVE:
    case KELP_EDIT_STOP:
    case KELP_EDIT_PRIORITY: return role;
    }
    return role;
}

static bool so_in(const struct token *token, const struct kelp_config *config)
{
    if (config->joint || (token->whole && config->count != token->edit_count)) return false;
    for (size_t i = 0; i < token->edit_count; i++) {
        const struct kelp_edit *edit = &token->edits[i];
        uint32_t slot = config_slot(config, edit->id);
        uint8_t role = slot == CONFIG_NO_SLOT ? (uint8_t)KELP_NONE : config->members[slot].role;
        if (role != role_wanted(edit, role)) return false;
        if (edit->verb == KELP_EDIT_PRIORITY &&
            kelp_priority_of(&config->members[slot]) != edit->priority)
            return false;
    }
    return true;
}

void change_rule(struct scenario *s, const struct node *node, const struct token *token)
{
    const struct kelp_answer *answer = &token->answer;
    struct kelp_config committed;
    kelp_core_config(node->core, NULL, &committed);
    bool told = true;
    switch (answer->outcome) {
    case KELP_DONE:
        told = committed.index >= answer->pos.index && rules_committed(s) >= answer->pos.index;
        if (committed.index == answer->pos.index) told = told && so_in(token, &committed);
        break;
    case KELP_REFUSED: told = token->name == 0 || answer->reason == KELP_R_BEHIND; break;
    case KELP_LOST:
        told = token->name != 0 &&
               (rules_committed(s) >= answer->pos.index || rules_passed(s, answer->pos));
        break;
    case KELP_UNKNOWN: told = token->name != 0; break;
    }
    if (!told)
        scenario_stop(s, "INVARIANT change %llu: %s is not true", u(token->number),
                      kelp_outcome_name(answer->outcome));
}
