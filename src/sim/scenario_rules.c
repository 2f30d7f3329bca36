/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_rules.c - what must hold in every story, after every step. [fig 3.2]
 *
 * One leader a term; logs that agree at one position agree below it; what is committed never
 * differs, is held durably by a quorum, and is in the log of every later leader; nothing is
 * promised in a message before it is on disk; every answer is given once and is true. A story that
 * breaks one of these fails whatever its transcript says, and cannot be rewritten. */
#include "core/config.h"
#include "core/quorum.h"
#include "sim/scenario_room.h"

static unsigned long long u(uint64_t v)
{
    return (unsigned long long)v;
}

static bool entry_same(const struct entry *a, const struct entry *b)
{
    return a->term.v == b->term.v && a->name == b->name;
}

/* What a start would find: of a log that a snapshot took the place of, the snapshot. */
static const struct entries *disk_holds(const struct disk *disk)
{
    const struct entries *log = &disk->log, *shown = &disk->shown;
    size_t end = shown->count;
    if (end == 0 || end != disk->snapshot) return log;
    bool inside = end <= log->count && log->at[end - 1].term.v == shown->at[end - 1].term.v;
    return inside ? log : shown;
}

/* ---- what a node says of itself is what it was given ---- */

static void rule_log(struct scenario *s, const struct node *node, const struct kelp_view *view)
{
    if (view->last != node->log.count || !kelp_pos_equal(view->last_pos, entries_tail(&node->log)))
        scenario_stop(s, "INVARIANT node %llu does not know the end of its log", u(node->id));
    for (kelp_index index = node->log.base.index + 1; index <= node->log.count; index++) {
        uint64_t term = kelp_log_term(node->core, index).v;
        if (term != 0 && term != node->log.at[index - 1].term.v)
            scenario_stop(s, "INVARIANT node %llu has a wrong term for entry %llu", u(node->id),
                          u(index));
    }
    if (kelp_log_term(node->core, node->log.count + 1).v != 0)
        scenario_stop(s, "INVARIANT node %llu knows a term beyond its log", u(node->id));
    const struct entries *disk = disk_holds(&node->disk);
    if (view->durable > disk->count)
        scenario_stop(s, "INVARIANT node %llu calls %llu durable, its disk ends at %zu",
                      u(node->id), u(view->durable), disk->count);
    for (kelp_index index = node->log.base.index + 1; index <= view->durable; index++) {
        if (!entry_same(&disk->at[index - 1], &node->log.at[index - 1]))
            scenario_stop(s, "INVARIANT node %llu calls %llu durable, its disk has another entry",
                          u(node->id), u(index));
    }
}

/* ---- between nodes ---- */

static void rule_leader(struct scenario *s, const struct node *node, const struct kelp_view *view)
{
    if (view->role != KELP_LEADER) return;
    while (s->leader_count <= view->term.v) {
        if (view->term.v > 1u << 20) scenario_stop(s, "terms beyond 2^20 are not for stories");
        s->leaders =
            scenario_grow(s, s->leaders, s->leader_count, &s->leader_room, sizeof *s->leaders);
        s->leaders[s->leader_count++] = 0;
    }
    kelp_id *leader = &s->leaders[view->term.v];
    if (*leader != 0 && *leader != node->id)
        scenario_stop(s, "INVARIANT nodes %llu and %llu both lead term %llu", u(*leader),
                      u(node->id), u(view->term.v));
    *leader = node->id;
    for (size_t i = node->log.base.index; i < s->fact_count; i++) {
        const struct fact *fact = &s->facts[i];
        if (!fact->known || fact->when.v > view->term.v) continue;
        struct entry want = {.term = fact->term, .name = fact->name};
        const struct entry *have = entries_at(&node->log, i + 1);
        if (have == NULL || !entry_same(have, &want))
            scenario_stop(s, "INVARIANT node %llu leads term %llu without committed entry %zu@%llu",
                          u(node->id), u(view->term.v), i + 1, u(fact->term.v));
    }
}

/* Logs that agree somewhere agree below. */
static void rule_match(struct scenario *s, const struct node *a, const struct node *b)
{
    const struct entries *x = &a->log, *y = b->up ? &b->log : &b->disk.log;
    kelp_index floor = max_u64(x->base.index, y->base.index);
    kelp_index index = min_u64(x->count, y->count);
    while (index > floor && x->at[index - 1].term.v != y->at[index - 1].term.v)
        index--;
    for (; index > floor; index--) {
        if (!entry_same(&x->at[index - 1], &y->at[index - 1]))
            scenario_stop(s, "INVARIANT nodes %llu and %llu differ at %llu below a common position",
                          u(a->id), u(b->id), u(index));
    }
}

static bool durable_on_quorum(struct scenario *s, const struct node *leader, kelp_index index)
{
    struct kelp_config config;
    slot_set holders = 0;
    kelp_core_config(leader->core, &config, NULL);
    for (uint32_t slot = 0; slot < config.count; slot++) {
        const struct node *node = world_node(s, config.members[slot].id);
        if (node == NULL) continue;
        const struct entries *disk = disk_holds(&node->disk);
        const struct entry *have = entries_at(disk, index);
        bool compacted = index <= disk->base.index;
        if (compacted || (have != NULL && entry_same(have, &leader->log.at[index - 1])))
            holders |= 1u << slot;
    }
    return quorum_has(&config, holders);
}

static void rule_commit(struct scenario *s, struct node *node, const struct kelp_view *view)
{
    while (node->commit_seen < view->commit) {
        kelp_index index = ++node->commit_seen;
        const struct entry *entry = entries_at(&node->log, index);
        while (s->fact_count < index) {
            s->facts = scenario_grow(s, s->facts, s->fact_count, &s->fact_room, sizeof *s->facts);
            s->facts[s->fact_count++] = (struct fact){0};
        }
        struct fact *fact = &s->facts[index - 1];
        if (entry == NULL) continue;
        if (fact->known && (fact->term.v != entry->term.v || fact->name != entry->name))
            scenario_stop(s, "INVARIANT node %llu commits %llu@%llu, committed is %llu@%llu",
                          u(node->id), u(index), u(entry->term.v), u(index), u(fact->term.v));
        if (fact->known) continue;
        *fact = (struct fact){
            .known = true, .term = entry->term, .name = entry->name, .when = view->term};
        if (view->role == KELP_LEADER && !s->wiped && !durable_on_quorum(s, node, index))
            scenario_stop(s, "INVARIANT node %llu commits %llu, no quorum has it on disk",
                          u(node->id), u(index));
    }
}

void rules_check(struct scenario *s, struct node *node)
{
    struct kelp_fault fault = {0};
    struct kelp_view view;
    if (kelp_check(node->core, &fault) != KELP_OK)
        scenario_stop(s, "INVARIANT node %llu: %s", u(node->id), fault.what);
    kelp_view(node->core, &view);
    rule_log(s, node, &view);
    rule_leader(s, node, &view);
    for (size_t slot = 0; slot < s->node_count; slot++) {
        const struct node *other = &s->nodes[slot];
        if (other != node) rule_match(s, node, other);
    }
    rule_commit(s, node, &view);
}

kelp_index rules_committed(const struct scenario *s)
{
    kelp_index index = s->fact_count;
    while (index > 0 && !s->facts[index - 1].known)
        index--;
    return index;
}

/* ---- what is promised is on disk ---- */

void rules_message(struct scenario *s, const struct node *from, const struct letter *letter)
{
    const struct kelp_message *m = &letter->message;
    const struct disk *disk = &from->disk;
    struct kelp_view view;
    kelp_view(from->core, &view);
    bool parting = m->type == KELP_MSG_TIMEOUT_NOW && (m->flags & KELP_MF_FINAL) != 0;
    if (view.faulted && !parting)
        scenario_stop(s, "INVARIANT faulted node %llu sends", u(from->id));
    if (disk->term.v != m->term.v)
        scenario_stop(s, "INVARIANT node %llu sends in term %llu, on its disk is %llu", u(from->id),
                      u(m->term.v), u(disk->term.v));
    bool granted = m->type == KELP_MSG_VOTE_ANSWER && (m->flags & KELP_MF_GRANTED) != 0;
    if (granted && (m->flags & KELP_MF_PRE_VOTE) == 0) {
        if (disk->vote != m->to || m->vote.term.v != disk->term.v)
            scenario_stop(s, "INVARIANT node %llu grants a vote that is not on its disk",
                          u(from->id));
    }
    if (m->type == KELP_MSG_ANSWER && m->answer.match > from->log.base.index) {
        const struct entry *saved = entries_at(&disk->log, m->answer.match);
        if (saved == NULL || !entry_same(saved, &from->log.at[m->answer.match - 1]))
            scenario_stop(s, "INVARIANT node %llu acknowledges %llu, not on its disk", u(from->id),
                          u(m->answer.match));
    }
    if (m->type != KELP_MSG_APPEND || m->append.prev.index == 0) return;
    if (m->append.prev.index > from->log.count || m->append.prev.index < from->log.base.index)
        scenario_stop(s, "INVARIANT node %llu names a position it does not hold", u(from->id));
    kelp_term ours = from->log.at[m->append.prev.index - 1].term;
    if (m->append.prev.term.v == 0 || m->append.prev.term.v != ours.v)
        scenario_stop(s, "INVARIANT node %llu names a wrong term before its entries", u(from->id));
}

/* ---- every answer once, and true ---- */

static bool committed_name(const struct scenario *s, kelp_index index, uint64_t *name)
{
    if (index == 0 || index > s->fact_count || !s->facts[index - 1].known) return false;
    *name = s->facts[index - 1].name;
    return true;
}

static void rule_read(struct scenario *s, const struct node *node, const struct token *token)
{
    const struct kelp_answer *answer = &token->answer;
    if (answer->outcome != KELP_DONE) return;
    if (answer->pos.index < token->committed)
        scenario_stop(s, "INVARIANT read %llu sees index %llu, %llu was committed before it",
                      u(token->number), u(answer->pos.index), u(token->committed));
    if (node->applied < answer->pos.index)
        scenario_stop(s, "INVARIANT read %llu is released before %llu is applied", u(token->number),
                      u(answer->pos.index));
}

/* Is an entry of a later term committed below this one? Then it never will be. */
bool rules_passed(const struct scenario *s, struct kelp_pos pos)
{
    for (size_t i = 0; i < s->fact_count && i < pos.index; i++)
        if (s->facts[i].known && s->facts[i].term.v > pos.term.v) return true;
    return false;
}

static bool rule_lost(const struct scenario *s, const struct token *token)
{
    uint64_t name = 0;
    if (token->name == 0) return false;
    if (committed_name(s, token->answer.pos.index, &name)) return name != token->name;
    return rules_passed(s, token->answer.pos);
}

static void rule_proposal(struct scenario *s, const struct token *token)
{
    const struct kelp_answer *answer = &token->answer;
    uint64_t name = 0;
    bool known = committed_name(s, answer->pos.index, &name);
    bool true_answer = true;
    switch (answer->outcome) {
    case KELP_DONE: true_answer = known && name == token->name; break;
    case KELP_REFUSED: true_answer = token->name == 0; break;
    case KELP_LOST: true_answer = rule_lost(s, token); break;
    case KELP_UNKNOWN: true_answer = token->name != 0; break;
    }
    if (!true_answer)
        scenario_stop(s, "INVARIANT proposal %llu: %s is not true", u(token->number),
                      kelp_outcome_name(answer->outcome));
}

/* Done means that somebody leads a later term, and that its node knows whom. */
static void rule_transfer(struct scenario *s, const struct node *node, const struct token *token)
{
    const struct kelp_answer *answer = &token->answer;
    struct kelp_view view;
    kelp_view(node->core, &view);
    bool leads = view.term.v < s->leader_count && s->leaders[view.term.v] == answer->leader;
    bool moved = answer->leader != 0 && answer->leader != node->id && leads;
    if (answer->outcome == KELP_LOST ||
        (answer->outcome == KELP_DONE && (!moved || view.term.v <= token->term.v)))
        scenario_stop(s, "INVARIANT transfer %llu: %s is not true", u(token->number),
                      kelp_outcome_name(answer->outcome));
}

/* Done means that it does not lead and stays so, or that it may lead again. */
static void rule_drain(struct scenario *s, const struct node *node, const struct token *token)
{
    struct kelp_view view;
    kelp_view(node->core, &view);
    bool so = token->on ? view.drained && view.role != KELP_LEADER : !view.drained;
    enum kelp_outcome outcome = token->answer.outcome;
    if (outcome == KELP_LOST || (outcome == KELP_DONE && !so))
        scenario_stop(s, "INVARIANT drain %llu: %s is not true", u(token->number),
                      kelp_outcome_name(outcome));
}

void rules_answer(struct scenario *s, const struct node *node, const struct kelp_answer *answer)
{
    struct token *token = expect_token(s, answer->token);
    if (token == NULL || token->node != node)
        scenario_stop(s, "INVARIANT node %llu answers %llu, which it was not asked", u(node->id),
                      u(answer->token));
    if (token->answered) scenario_stop(s, "INVARIANT %llu is answered twice", u(answer->token));
    token->answered = true;
    token->answer = *answer;
    switch (token->kind) {
    case TOKEN_PROPOSAL: rule_proposal(s, token); break;
    case TOKEN_READ: rule_read(s, node, token); break;
    case TOKEN_CHANGE: change_rule(s, node, token); break;
    case TOKEN_TRANSFER: rule_transfer(s, node, token); break;
    case TOKEN_DRAIN: rule_drain(s, node, token); break;
    }
}
