/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_words.c - a command line as words; words as numbers, positions, members, entries.
 *
 * Every reader takes the next word and either returns its value or stops the run with the line and
 * the word that was wrong, so that no command has to look at errors. */
#include <stdio.h>

#include "sim/scenario_room.h"

void words_split(struct scenario *s, char *line)
{
    struct words *w = &s->words;
    w->count = w->next = 0;
    for (char *at = line; *at != '\0';) {
        at += strspn(at, " \t");
        if (*at == '\0' || *at == '#') return;
        if (w->count == SCENARIO_WORDS_MAX) scenario_stop(s, "too many words in a line");
        w->at[w->count++] = at;
        at += strcspn(at, " \t");
        if (*at != '\0') *at++ = '\0';
    }
}

bool words_left(const struct scenario *s)
{
    return s->words.next < s->words.count;
}

const char *words_peek(const struct scenario *s)
{
    return words_left(s) ? s->words.at[s->words.next] : "";
}

const char *words_next(struct scenario *s)
{
    if (!words_left(s)) scenario_stop(s, "a word is missing");
    return s->words.at[s->words.next++];
}

bool words_take(struct scenario *s, const char *word)
{
    if (!words_left(s) || strcmp(words_peek(s), word) != 0) return false;
    s->words.next++;
    return true;
}

void words_end(struct scenario *s)
{
    if (words_left(s)) scenario_stop(s, "\"%s\" makes no sense here", words_peek(s));
}

/* ---- numbers ---- */

/* A number at the front of a text; *end is behind it. */
static uint64_t number_at(struct scenario *s, const char *text, const char **end)
{
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10) scenario_stop(s, "\"%s\" is too large", text);
        value = value * 10 + digit;
    }
    if (at == text) scenario_stop(s, "\"%s\" is no number", text);
    *end = at;
    return value;
}

uint64_t words_number_of(struct scenario *s, const char *word)
{
    const char *end;
    uint64_t value = number_at(s, word, &end);
    if (*end != '\0') scenario_stop(s, "\"%s\" is no number", word);
    return value;
}

uint64_t words_number(struct scenario *s)
{
    return words_number_of(s, words_next(s));
}

uint64_t words_prefixed(struct scenario *s, char prefix)
{
    const char *word = words_next(s);
    if (word[0] != prefix) scenario_stop(s, "\"%s\" does not begin with %c", word, prefix);
    return words_number_of(s, word + 1);
}

kelp_ns words_span_of(struct scenario *s, const char *word)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {{"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};
    const char *end;
    uint64_t value = number_at(s, word, &end);
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (strcmp(end, units[i].unit) == 0 && value < UINT64_MAX / 4 / units[i].ns)
            return value * units[i].ns;
    }
    scenario_stop(s, "\"%s\" is no span of time such as 150ms", word);
}

kelp_ns words_span(struct scenario *s)
{
    return words_span_of(s, words_next(s));
}

static struct kelp_pos pos_of(struct scenario *s, const char *word, const char **end)
{
    uint64_t index = number_at(s, word, end);
    if (**end != '@') scenario_stop(s, "\"%s\" is no position such as 3@2", word);
    return kelp_pos_of(index, number_at(s, *end + 1, end));
}

struct kelp_pos words_pos_of(struct scenario *s, const char *word)
{
    const char *end;
    struct kelp_pos pos = pos_of(s, word, &end);
    if (*end != '\0') scenario_stop(s, "\"%s\" is no position such as 3@2", word);
    return pos;
}

struct kelp_pos words_pos(struct scenario *s)
{
    return words_pos_of(s, words_next(s));
}

/* ---- nodes and links ---- */

struct node *words_node(struct scenario *s)
{
    uint64_t id = words_number(s);
    struct node *node = world_node(s, id);
    if (node == NULL) scenario_stop(s, "there is no node %llu", (unsigned long long)id);
    return node;
}

struct node *words_node_up(struct scenario *s)
{
    struct node *node = words_node(s);
    if (!node->up) scenario_stop(s, "node %llu is down", (unsigned long long)node->id);
    return node;
}

uint32_t words_nodes(struct scenario *s)
{
    const char *word = words_peek(s);
    uint32_t all = (1u << s->node_count) - 1, set = 0;
    if (words_take(s, "*") || words_take(s, "*:")) return all;
    if (word[0] < '0' || word[0] > '9' || word[strspn(word, "0123456789,:")] != '\0') return all;
    if (strchr(word, ':') == NULL && strchr(word, ',') == NULL) return all;
    (void)words_next(s);
    while (*word != '\0' && *word != ':') {
        uint64_t id = number_at(s, word, &word);
        if (world_node(s, id) == NULL)
            scenario_stop(s, "there is no node %llu", (unsigned long long)id);
        set |= 1u << (id - 1);
        word += *word == ',';
    }
    return set;
}

static kelp_id link_end(struct scenario *s, const char *text, const char **end)
{
    if (*text == '*') {
        *end = text + 1;
        return 0;
    }
    kelp_id id = number_at(s, text, end);
    if (id == 0 || id > SCENARIO_NODES_MAX)
        scenario_stop(s, "there is no node %llu", (unsigned long long)id);
    return id;
}

bool words_link(struct scenario *s, const char *arrow, kelp_id *from, kelp_id *to)
{
    const char *word = words_peek(s), *at = strstr(word, arrow);
    if (at == NULL || at == word) return false;
    (void)words_next(s);
    const char *end;
    *from = link_end(s, word, &end);
    if (end != at) scenario_stop(s, "\"%s\" is no link", word);
    *to = link_end(s, at + strlen(arrow), &end);
    if (*end != '\0') scenario_stop(s, "\"%s\" is no link", word);
    return true;
}

/* ---- members, events, entries ---- */

static uint8_t role_of(struct scenario *s, char letter, const char *word)
{
    switch (letter) {
    case 'v': return KELP_VOTER;
    case 'L': return KELP_LEARNER;
    case '-': return KELP_NONE;
    case 'W': return KELP_WITNESS;
    case 'S': return KELP_STAGING;
    case '?': return UINT8_MAX;
    }
    scenario_stop(s, "\"%s\": a member is 1v, 1L, 1S, 1W or 1-, with /v if it was a voter before",
                  word);
}

/* 1v,2v,3L: voters and learners; W: a witness, + if it is in; ! behind a voter that is absent; ?:
 * no role at all; /v: was a voter before; 4vp9i7: of priority 9 and incarnation 7. @9 behind the
 * last: it says that it stands at 9. */
struct kelp_config *words_config(struct scenario *s, const char *word)
{
    struct kelp_config *config = scenario_memory(s, sizeof *config);
    config->election_min = s->election_min;
    config->drift_ppm = s->drift_ppm;
    for (const char *at = word; *at != '\0'; at += *at == ',') {
        if (config->count == KELP_MEMBERS_MAX) scenario_stop(s, "too many members");
        struct kelp_member *member = &config->members[config->count++];
        member->id = number_at(s, at, &at);
        member->role = role_of(s, *at++, word);
        if (*at == 'p') {
            uint64_t priority = number_at(s, at + 1, &at);
            if (priority > KELP_PRIORITY_MAX) scenario_stop(s, "a priority is above 255");
            member->preference = kelp_preference_of((uint8_t)priority);
        }
        if (*at == 'i') member->incarnation = number_at(s, at + 1, &at);
        if (at[0] == '/') {
            member->role_old = role_of(s, at[1], word);
            config->joint = 1;
            at += 2;
        }
        if (*at == '+' || *at == '!')
            member->marks = *at++ == '+' ? KELP_MARK_IN : KELP_MARK_ABSENT;
        config->id_highest = max_u64(config->id_highest, member->id);
        if (*at == '@') {
            config->index = number_at(s, at + 1, &at);
            config->id_highest = max_u64(config->id_highest, s->node_count);
        }
        if (*at != ',' && *at != '\0') scenario_stop(s, "\"%s\" is no list of members", word);
    }
    return config;
}

enum kelp_event_type words_event(struct scenario *s)
{
    const char *word = words_next(s);
    for (int type = 0; type < KELP_EVENT_COUNT; type++) {
        if (strcmp(kelp_event_name((enum kelp_event_type)type), word) == 0)
            return (enum kelp_event_type)type;
    }
    scenario_stop(s, "there is no event %s", word);
}

#define ENTRY_BYTES 100u /* of an entry whose size a story does not care about */

void words_entries(struct scenario *s, struct entries *log)
{
    while (strchr(words_peek(s), '@') != NULL) {
        const char *word = words_next(s), *at = word;
        uint64_t first = number_at(s, at, &at), last = first;
        if (at[0] == '.' && at[1] == '.') last = number_at(s, at + 2, &at);
        if (*at != '@') scenario_stop(s, "\"%s\" is no entry such as 3@2 or 3..5@2", word);
        struct entry entry = {.type = KELP_ENTRY_COMMAND, .bytes = ENTRY_BYTES};
        entry.term = kelp_term_of(number_at(s, at + 1, &at));
        if (*at == ':') {
            uint64_t bytes = number_at(s, at + 1, &at);
            if (bytes > UINT32_MAX) scenario_stop(s, "\"%s\" is too large", word);
            entry.bytes = (uint32_t)bytes;
        } else if (strcmp(at, "=position") == 0) { /* as a witness keeps it */
            entry.type = KELP_ENTRY_POSITION;
            at += strlen(at);
        } else if (*at == '=') {
            struct kelp_config *config = words_config(s, at + 1);
            if (config->index == 0) config->index = first;
            config->id_highest = max_u64(config->id_highest, s->node_count);
            entry.config = config;
            entry.type = KELP_ENTRY_CONFIG;
            at += strlen(at);
        }
        if (*at != '\0' || last < first) scenario_stop(s, "\"%s\" is no entry", word);
        if (first != log->count + 1)
            scenario_stop(s, "\"%s\" does not follow entry %zu", word, log->count);
        for (; first <= last; first++)
            entries_push(s, log, entry);
    }
}
