/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_post.c - messages between the nodes of a story: a pool that keeps them.
 *
 *   deliver 1->2 append +2     drop, dup, hold ... as NAME: the same selectors; * is any node
 *   replay NAME                deliver a held message, again and again
 *   cut 1->2, cut 1-2, cut 3   a link one way, both ways, all links of a node; heal, heal 1-2
 *   forge 2->1 append t3 prev 3@2 entries 4@3 commit 3    deliver what nobody sent; *->1: from
 *                              nobody;  prev 3@2 claims 1: an end that no entries can have
 *
 * In the transcript `1 -> 2` is sent, `2 <- 1` arrives, `1 -x 2` is lost. */
#include <stdio.h>

#include "sim/scenario_room.h"

static unsigned long long u(uint64_t v)
{
    return (unsigned long long)v;
}

/* ---- a message as text ---- */

static const char *type_word(const struct kelp_message *m)
{
    bool pre = (m->flags & KELP_MF_PRE_VOTE) != 0;
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE: return pre ? "pre-vote?" : "vote?";
    case KELP_MSG_VOTE_ANSWER: return pre ? "pre-vote" : "vote";
    case KELP_MSG_APPEND: return "append";
    case KELP_MSG_HEARTBEAT: return "heartbeat";
    case KELP_MSG_ANSWER: return "answer";
    case KELP_MSG_TIMEOUT_NOW: return "timeout-now";
    case KELP_MSG_SNAPSHOT: return "snapshot";
    }
    return "?";
}

/* The description without its "1 -> 2 ", which has a column of its own. */
void post_text(const struct kelp_message *message, char *out, size_t size)
{
    char text[SCENARIO_LINE_MAX];
    (void)kelp_describe_message(message, text, sizeof text);
    const char *at = text;
    for (int words = 0; words < 3; words++)
        at += strcspn(at, " ") + (strchr(at, ' ') != NULL);
    if (*at != '\0')
        (void)snprintf(out, size, "%s", at);
    else
        (void)snprintf(out, size, "type %u", message->type);
}

static void show(struct scenario *s, const struct node *node, const struct kelp_message *m,
                 const char *arrow)
{
    char text[SCENARIO_LINE_MAX], who[56];
    post_text(m, text, sizeof text);
    bool arrives = arrow[0] == '<';
    (void)snprintf(who, sizeof who, "%llu %s %llu", u(arrives ? m->to : m->from), arrow,
                   u(arrives ? m->from : m->to));
    scenario_say(s, node, who, "%s", text);
}

/* ---- sending and delivering ---- */

static struct letter *letter_of(struct scenario *s, const struct kelp_message *m,
                                const struct entry *entries)
{
    struct letter *letter = scenario_memory(s, sizeof *letter);
    letter->message = *m;
    if (m->type != KELP_MSG_APPEND) return letter;
    size_t count = entries != NULL ? m->append.last - m->append.prev.index : 0;
    letter->entries = scenario_memory(s, (count + 1) * sizeof *letter->entries);
    letter->infos = scenario_memory(s, (count + 1) * sizeof *letter->infos);
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &entries[i];
        letter->entries[i] = *entry;
        letter->infos[i] = (struct kelp_entry_info){
            .term = entry->term, .bytes = entry->bytes, .type = entry->type};
    }
    world_newest_configs(letter->entries, count, &letter->config, &letter->config_before);
    return letter;
}

static bool is_cut(const struct scenario *s, const struct kelp_message *m)
{
    if (m->to == 0 || m->to > s->node_count || m->from > SCENARIO_NODES_MAX) return true;
    return s->cut[m->from][m->to];
}

void post_send(struct scenario *s, struct node *from, const struct kelp_message *message)
{
    const struct entry *entries = NULL;
    if (message->type == KELP_MSG_APPEND && message->append.last > message->append.prev.index) {
        if (message->append.last > from->log.count ||
            message->append.prev.index < from->log.base.index)
            scenario_stop(s, "node %llu sends entries it does not have", u(from->id));
        entries = &from->log.at[message->append.prev.index];
    }
    const struct letter *letter = letter_of(s, message, entries);
    rules_message(s, from, letter);
    bool lost = is_cut(s, message);
    show(s, from, message, lost ? "-x" : "->");
    if (lost) return;
    s->post = scenario_grow(s, s->post, s->post_count, &s->post_room, sizeof *s->post);
    s->post[s->post_count++] = letter;
}

static void arrive(struct scenario *s, const struct letter *letter, kelp_id at)
{
    struct node *node = world_node(s, at);
    if (node == NULL) scenario_stop(s, "there is no node %llu", u(at));
    if (!node->up || is_cut(s, &letter->message)) {
        show(s, node, &letter->message, "-x");
        return;
    }
    show(s, node, &letter->message, "<-");
    struct kelp_message m = letter->message;
    if (m.type == KELP_MSG_APPEND) {
        m.append.revision = m.append.bytes = 0; /* the sender's business */
        m.append.entries = letter->infos;
        m.append.config = letter->config;
        m.append.config_before = letter->config_before;
    }
    world_step(s, node, &(struct kelp_input){.type = KELP_IN_MESSAGE, .message = &m}, letter);
    world_pump(s, node);
}

static const struct letter *take_out(struct scenario *s, size_t number)
{
    const struct letter *letter = s->post[number];
    s->post_count--;
    memmove(s->post + number, s->post + number + 1, (s->post_count - number) * sizeof *s->post);
    return letter;
}

bool post_deliver_next(struct scenario *s)
{
    if (s->post_count == 0) return false;
    const struct letter *letter = take_out(s, 0);
    arrive(s, letter, letter->message.to);
    return true;
}

/* ---- selecting ---- */

struct selector {
    kelp_id from, to; /* 0: any */
    const char *type; /* NULL: any */
    uint64_t number;  /* of those that match, from 1; 0: all, UINT64_MAX: the last */
};

static struct selector selector_of(struct scenario *s)
{
    static const char *const types[] = {"append", "heartbeat", "answer",   "vote?",
                                        "vote",   "pre-vote?", "pre-vote", "timeout-now"};
    struct selector sel = {0};
    if (!words_link(s, "->", &sel.from, &sel.to)) (void)words_take(s, "*");
    for (size_t i = 0; i < COUNT_OF(types) && sel.type == NULL; i++) {
        if (words_take(s, types[i])) sel.type = types[i];
    }
    if (words_take(s, "last"))
        sel.number = UINT64_MAX;
    else if (words_peek(s)[0] == '+')
        sel.number = words_prefixed(s, '+');
    return sel;
}

static bool selects(const struct selector *sel, const struct kelp_message *m)
{
    return (sel->from == 0 || sel->from == m->from) && (sel->to == 0 || sel->to == m->to) &&
           (sel->type == NULL || strcmp(sel->type, type_word(m)) == 0);
}

static size_t count_of(const struct scenario *s, const struct selector *sel)
{
    size_t count = 0;
    for (size_t i = 0; i < s->post_count; i++)
        count += selects(sel, &s->post[i]->message);
    return count;
}

size_t post_matching(struct scenario *s)
{
    struct selector sel = selector_of(s);
    return count_of(s, &sel);
}

/* Take what matches out of the pool; at least one letter. */
static const struct letter **select_out(struct scenario *s, size_t *count)
{
    struct selector sel = selector_of(s);
    size_t matching = count_of(s, &sel), seen = 0, want = sel.number;
    if (sel.number == UINT64_MAX) want = matching;
    if (matching == 0 || want > matching) scenario_stop(s, "no such message is in flight");
    const struct letter **out = scenario_memory(s, matching * sizeof *out);
    *count = 0;
    for (size_t i = 0; i < s->post_count;) {
        bool taken = selects(&sel, &s->post[i]->message) && (++seen == want || want == 0);
        if (taken)
            out[(*count)++] = take_out(s, i);
        else
            i++;
    }
    return out;
}

static void post_back(struct scenario *s, const struct letter *letter)
{
    s->post = scenario_grow(s, s->post, s->post_count, &s->post_room, sizeof *s->post);
    s->post[s->post_count++] = letter;
}

/* ---- commands ---- */

static void deliver(struct scenario *s)
{
    size_t count;
    const struct letter **letters = select_out(s, &count);
    words_end(s);
    for (size_t i = 0; i < count; i++)
        arrive(s, letters[i], letters[i]->message.to);
}

static void drop(struct scenario *s)
{
    size_t count;
    const struct letter **letters = select_out(s, &count);
    for (size_t i = 0; i < count; i++) {
        const struct kelp_message *m = &letters[i]->message;
        show(s, world_node(s, m->from), m, "-x");
    }
}

static void dup_letters(struct scenario *s)
{
    size_t count;
    const struct letter **letters = select_out(s, &count);
    for (size_t i = 0; i < count; i++) {
        post_back(s, letters[i]);
        post_back(s, letters[i]);
    }
}

static void hold(struct scenario *s)
{
    size_t count;
    const struct letter **letters = select_out(s, &count);
    if (count != 1) scenario_stop(s, "%zu messages match, one can be held", count);
    if (!words_take(s, "as")) scenario_stop(s, "hold ... as NAME");
    const char *word = words_next(s);
    char *name = scenario_memory(s, strlen(word) + 1);
    memcpy(name, word, strlen(word));
    s->held = scenario_grow(s, s->held, s->held_count, &s->held_room, sizeof *s->held);
    s->held[s->held_count++] = (struct held){.name = name, .letter = letters[0]};
}

static void replay(struct scenario *s)
{
    const char *name = words_next(s);
    for (size_t i = s->held_count; i > 0; i--) {
        if (strcmp(s->held[i - 1].name, name) != 0) continue;
        arrive(s, s->held[i - 1].letter, s->held[i - 1].letter->message.to);
        return;
    }
    scenario_stop(s, "no message is held as %s", name);
}

static void show_flight(struct scenario *s)
{
    for (size_t i = 0; i < s->post_count; i++) {
        const struct kelp_message *m = &s->post[i]->message;
        char text[SCENARIO_LINE_MAX];
        post_text(m, text, sizeof text);
        scenario_note(s, "%llu -> %llu  %s", u(m->from), u(m->to), text);
    }
}

/* ---- cutting ---- */

void post_cut(struct scenario *s)
{
    for (size_t i = 0; i < s->post_count;) {
        const struct kelp_message *m = &s->post[i]->message;
        if (!is_cut(s, m)) {
            i++;
            continue;
        }
        show(s, world_node(s, m->from), m, "-x");
        (void)take_out(s, i);
    }
}

static void set_cut(struct scenario *s, bool cut)
{
    kelp_id from, to;
    if (!cut && !words_left(s)) {
        memset(s->cut, 0, sizeof s->cut);
        return;
    }
    while (words_left(s)) {
        if (words_link(s, "->", &from, &to)) {
            s->cut[from][to] = cut;
        } else if (words_link(s, "-", &from, &to)) {
            s->cut[from][to] = s->cut[to][from] = cut;
        } else {
            const struct node *node = words_node(s);
            for (kelp_id id = 1; id <= s->node_count; id++)
                s->cut[id][node->id] = s->cut[node->id][id] = cut;
        }
    }
    if (cut) post_cut(s);
}

static void cut_links(struct scenario *s)
{
    set_cut(s, true);
}

static void heal(struct scenario *s)
{
    set_cut(s, false);
}

/* ---- forging: the words of a described message, and those that are not shown ---- */

static void forge_type(struct scenario *s, struct kelp_message *m)
{
    static const struct {
        const char *word;
        uint8_t type, flags;
    } types[] = {{"append", KELP_MSG_APPEND, 0},
                 {"heartbeat", KELP_MSG_HEARTBEAT, 0},
                 {"answer", KELP_MSG_ANSWER, 0},
                 {"timeout-now", KELP_MSG_TIMEOUT_NOW, 0},
                 {"snapshot", KELP_MSG_SNAPSHOT, 0},
                 {"vote?", KELP_MSG_VOTE, 0},
                 {"vote", KELP_MSG_VOTE_ANSWER, 0},
                 {"pre-vote?", KELP_MSG_VOTE, KELP_MF_PRE_VOTE},
                 {"pre-vote", KELP_MSG_VOTE_ANSWER, KELP_MF_PRE_VOTE}};
    if (words_take(s, "type")) {
        m->type = (uint8_t)words_number(s);
        return;
    }
    const char *word = words_next(s);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (strcmp(types[i].word, word) != 0) continue;
        m->type = types[i].type;
        m->flags = types[i].flags;
        return;
    }
    scenario_stop(s, "there is no message \"%s\"", word);
}

static bool forge_append(struct scenario *s, struct kelp_message *m, struct entries *log)
{
    if (words_take(s, "prev")) {
        m->append.prev = words_pos(s);
        if (m->append.prev.index > 1u << 20) scenario_stop(s, "that is too far");
        while (log->count < m->append.prev.index)
            entries_push(s, log, (struct entry){0});
        m->append.last = m->append.prev.index;
    } else if (words_take(s, "claims")) {
        kelp_index prev = m->append.prev.index;
        m->append.last = words_number(s);
        if (m->append.last >= prev && m->append.last - prev <= UINT32_MAX)
            scenario_stop(s, "claimed is what no entries can end with");
    } else if (words_take(s, "entries")) {
        words_entries(s, log);
        m->append.last = log->count;
    } else {
        return false;
    }
    return true;
}

static bool forge_answer(struct scenario *s, struct kelp_message *m)
{
    if (words_take(s, "match")) {
        m->answer.match = m->answer.durable = words_number(s);
    } else if (words_take(s, "refused")) {
        m->answer.refused = words_pos(s);
        m->flags |= KELP_MF_REJECT;
    } else if (words_take(s, "hint")) {
        m->answer.hint = words_pos(s);
    } else {
        return false;
    }
    return true;
}

static bool forge_vote(struct scenario *s, struct kelp_message *m)
{
    if (words_take(s, "for"))
        m->vote.term = kelp_term_of(words_prefixed(s, 't'));
    else if (words_take(s, "last"))
        m->vote.last = words_pos(s);
    else if (words_take(s, "transfer"))
        m->flags |= KELP_MF_TRANSFER;
    else if (words_take(s, "granted"))
        m->flags |= KELP_MF_GRANTED;
    else
        return words_take(s, "refused");
    return true;
}

static bool forge_order(struct scenario *s, struct kelp_message *m)
{
    if (words_take(s, "required"))
        m->timeout_now.required = words_number(s);
    else if (words_take(s, "final"))
        m->flags |= KELP_MF_FINAL;
    else
        return false;
    return true;
}

static void forge(struct scenario *s)
{
    struct kelp_message m = {0};
    struct entries log = {0};
    kelp_id at = 0;
    if (!words_link(s, "->", &m.from, &m.to)) scenario_stop(s, "forge 1->2 ...");
    if (words_take(s, "at")) at = words_number(s);
    forge_type(s, &m);
    m.term = kelp_term_of(words_prefixed(s, 't'));
    m.id = 1000000 + ++s->forged;
    bool leads = m.type == KELP_MSG_APPEND || m.type == KELP_MSG_HEARTBEAT;
    bool votes = m.type == KELP_MSG_VOTE || m.type == KELP_MSG_VOTE_ANSWER;
    while (words_left(s)) {
        if (words_take(s, "round"))
            m.round = words_number(s);
        else if (words_take(s, "attempt"))
            m.attempt = words_number(s);
        else if (words_take(s, "id"))
            m.id = words_number(s);
        else if (leads && words_take(s, "commit"))
            m.append.commit = words_number(s);
        else if (m.type == KELP_MSG_APPEND && forge_append(s, &m, &log))
            continue;
        else if (m.type == KELP_MSG_ANSWER && forge_answer(s, &m))
            continue;
        else if (votes && forge_vote(s, &m))
            continue;
        else if (m.type == KELP_MSG_TIMEOUT_NOW && forge_order(s, &m))
            continue;
        else if (m.type == KELP_MSG_SNAPSHOT && words_take(s, "at"))
            m.snapshot.pos = words_pos(s);
        else
            words_end(s);
    }
    bool carries = log.count > m.append.prev.index && m.append.last == log.count;
    const struct entry *entries = carries ? &log.at[m.append.prev.index] : NULL;
    arrive(s, letter_of(s, &m, entries), at != 0 ? at : m.to);
}

bool post_command(struct scenario *s, const char *word)
{
    static const struct {
        const char *word;
        void (*run)(struct scenario *);
    } commands[] = {{"deliver", deliver}, {"drop", drop},     {"dup", dup_letters},
                    {"hold", hold},       {"replay", replay}, {"inflight", show_flight},
                    {"cut", cut_links},   {"heal", heal},     {"forge", forge}};
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(word, commands[i].word) != 0) continue;
        commands[i].run(s);
        return true;
    }
    return false;
}
