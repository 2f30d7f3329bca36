/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_setup.c - how a story begins: nodes, members, logs, terms, options.
 *
 *   nodes 3                      nodes 1, 2, 3; all are voters unless `members` says otherwise
 *   members 1,2: 1v,2v           the configuration of some nodes; `highest 4`: ids given out so far
 *   log 3: 1..4@1 5@2            their logs; `after 4@1` first: everything up to 4 is compacted
 *   term 2   vote 3: 1           saved term and vote; by default the last entry's term and none
 *   commit 3: 4   applied 3: 2   known committed, and applied (by default as much)
 *   snapshot 3: 2   everyone 3: 2
 *   option 1: window=1 off=pre-vote heartbeat=50ms saves=manual
 *
 * All nodes start at the first command that is none of these. */
#include <stdio.h>

#include "sim/scenario_room.h"

static void setup_nodes(struct scenario *s)
{
    uint64_t count = words_number(s);
    if (s->node_count > 0) scenario_stop(s, "nodes are given once");
    if (count == 0 || count > SCENARIO_NODES_MAX)
        scenario_stop(s, "1 to %u nodes", SCENARIO_NODES_MAX);
    struct kelp_config *config = scenario_memory(s, sizeof *config);
    for (kelp_id id = 1; id <= count; id++) {
        config->members[config->count++] = (struct kelp_member){.id = id, .role = KELP_VOTER};
        struct node *node = &s->nodes[s->node_count++];
        node->id = id;
        node->members = config;
        node->options = kelp_options_default(id, id);
        node->disk.applied = UINT64_MAX; /* as much as is committed */
    }
    config->id_highest = count;
    config->election_min = s->election_min;
    config->drift_ppm = s->drift_ppm;
}

/* settings 1s 1000: of every configuration named behind it */
static void setup_settings(struct scenario *s)
{
    s->election_min = words_span(s);
    s->drift_ppm = (uint32_t)min_u64(words_number(s), UINT32_MAX);
}

static void setup_members(struct scenario *s)
{
    uint32_t set = words_nodes(s);
    struct kelp_config *config = words_config(s, words_next(s));
    if (words_take(s, "highest")) config->id_highest = words_number(s);
    for (size_t slot = 0; slot < s->node_count; slot++) {
        if ((set >> slot & 1u) != 0) s->nodes[slot].members = config;
    }
}

static void setup_log(struct scenario *s)
{
    uint32_t set = words_nodes(s);
    struct entries log = {0};
    if (words_take(s, "after")) {
        log.base = words_pos(s);
        while (log.count < log.base.index)
            entries_push(s, &log, (struct entry){.term = log.base.term});
    }
    words_entries(s, &log);
    for (size_t slot = 0; slot < s->node_count; slot++) {
        if ((set >> slot & 1u) == 0) continue;
        struct disk *disk = &s->nodes[slot].disk;
        entries_copy(s, &disk->log, &log);
        disk->term.v = max_u64(disk->term.v, entries_tail(&log).term.v);
        disk->commit = max_u64(disk->commit, log.base.index);
    }
}

static const char *const numbers[] = {"term", "vote", "commit", "applied", "snapshot", "everyone"};

/* Words that give one number to each of some nodes. */
static bool setup_number(struct scenario *s, const char *word)
{
    size_t which = 0;
    while (which < COUNT_OF(numbers) && strcmp(word, numbers[which]) != 0)
        which++;
    if (which == COUNT_OF(numbers)) return false;
    uint32_t set = words_nodes(s);
    uint64_t value = words_number(s);
    for (size_t slot = 0; slot < s->node_count; slot++) {
        if ((set >> slot & 1u) == 0) continue;
        struct disk *disk = &s->nodes[slot].disk;
        uint64_t *fields[] = {&disk->term.v,  &disk->vote,     &disk->commit,
                              &disk->applied, &disk->snapshot, &disk->everyone};
        *fields[which] = value;
    }
    return true;
}

/* ---- options ---- */

static bool option_limit(struct scenario *s, struct kelp_limits *l, const char *key,
                         const char *value)
{
    struct {
        const char *key;
        uint32_t *small;
        uint64_t *large;
    } limits[] = {{"members", &l->members_max, NULL},
                  {"proposals", &l->proposals_max, NULL},
                  {"reads", &l->reads_max, NULL},
                  {"tail", &l->tail_entries_max, NULL},
                  {"runs", &l->runs_max, NULL},
                  {"window", &l->window_messages_max, NULL},
                  {"strangers", &l->strangers_max, NULL},
                  {"answers", &l->answers_max, NULL},
                  {"events", &l->events_max, NULL},
                  {"message-entries", &l->message_entries_max, NULL},
                  {"message-bytes", NULL, &l->message_bytes_max},
                  {"window-bytes", NULL, &l->window_bytes_max},
                  {"uncommitted", NULL, &l->uncommitted_bytes_max},
                  {"unapplied", NULL, &l->unapplied_bytes_max},
                  {"entry-bytes", NULL, &l->entry_bytes_max}};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        if (strcmp(key, limits[i].key) != 0) continue;
        uint64_t number = words_number_of(s, value);
        if (limits[i].small != NULL && number > UINT32_MAX)
            scenario_stop(s, "%s=%s is too large", key, value);
        if (limits[i].small != NULL)
            *limits[i].small = (uint32_t)number;
        else
            *limits[i].large = number;
        return true;
    }
    return false;
}

static uint32_t option_off(struct scenario *s, const char *value)
{
    if (strcmp(value, "pre-vote") == 0) return KELP_PRE_VOTE;
    if (strcmp(value, "check-quorum") == 0) return KELP_CHECK_QUORUM;
    if (strcmp(value, "stickiness") == 0) return KELP_STICKINESS;
    if (value[0] >= '0' && value[0] <= '9') return (uint32_t)words_number_of(s, value);
    scenario_stop(s, "\"%s\" cannot be switched off", value);
}

void setup_option(struct scenario *s, struct node *node, const char *word)
{
    struct kelp_options *o = &node->options;
    char key[32];
    const char *equals = strchr(word, '=');
    if (equals == NULL || (size_t)(equals - word) >= sizeof key)
        scenario_stop(s, "\"%s\" is not option=value", word);
    (void)snprintf(key, sizeof key, "%.*s", (int)(equals - word), word);
    const char *value = equals + 1;
    if (strcmp(key, "heartbeat") == 0) {
        o->heartbeat = words_span_of(s, value);
    } else if (strcmp(key, "election") == 0) {
        o->election_min = words_span_of(s, value);
        o->election_max = 2 * o->election_min;
    } else if (strcmp(key, "election-max") == 0) {
        o->election_max = words_span_of(s, value);
    } else if (strcmp(key, "stall") == 0) {
        o->stall_limit = words_span_of(s, value);
    } else if (strcmp(key, "lease") == 0) {
        o->lease = words_span_of(s, value);
    } else if (strcmp(key, "drift") == 0) {
        o->drift_ppm = (uint32_t)min_u64(words_number_of(s, value), UINT32_MAX);
    } else if (strcmp(key, "rounds") == 0) {
        o->catch_up_rounds = (uint32_t)min_u64(words_number_of(s, value), UINT32_MAX);
    } else if (strcmp(key, "idle") == 0) {
        o->catch_up_idle = words_span_of(s, value);
    } else if (strcmp(key, "unseen") == 0) {
        o->remove_unseen = words_span_of(s, value);
    } else if (strcmp(key, "voters-min") == 0) {
        o->remove_voters_min = (uint32_t)min_u64(words_number_of(s, value), UINT32_MAX);
    } else if (strcmp(key, "healthy") == 0) {
        o->join_healthy = words_span_of(s, value);
    } else if (strcmp(key, "off") == 0) {
        o->off |= option_off(s, value);
    } else if (strcmp(key, "trailing") == 0) {
        o->trailing_entries = words_number_of(s, value);
    } else if (strcmp(key, "hold") == 0) {
        o->hold_bytes = words_number_of(s, value);
    } else if (strcmp(key, "seed") == 0) {
        o->seed = words_number_of(s, value);
    } else if (strcmp(key, "self") == 0) {
        o->self = words_number_of(s, value);
    } else if (strcmp(key, "size") == 0) {
        o->size = words_number_of(s, value);
    } else if (strcmp(key, "saves") == 0 && strcmp(value, "manual") == 0) {
        node->manual[MANUAL_SAVES] = true; /* from the very first one */
    } else if (strcmp(key, "apply") == 0 && strcmp(value, "durable") == 0) {
        o->apply_durable_only = true;
    } else if (!option_limit(s, &o->limits, key, value)) {
        scenario_stop(s, "there is no option %s", word);
    }
}

static void setup_options(struct scenario *s)
{
    uint32_t set = words_nodes(s);
    while (words_left(s)) {
        const char *word = words_next(s);
        for (size_t slot = 0; slot < s->node_count; slot++) {
            if ((set >> slot & 1u) != 0) setup_option(s, &s->nodes[slot], word);
        }
    }
}

static const struct {
    const char *word;
    void (*run)(struct scenario *);
} commands[] = {{"nodes", setup_nodes},
                {"members", setup_members},
                {"option", setup_options},
                {"settings", setup_settings}};

bool setup_is(const struct scenario *s, const char *line)
{
    line += strspn(line, " \t");
    size_t len = strcspn(line, " \t");
    if (len == 3 && memcmp(line, "log", len) == 0) return strchr(line, ':') != NULL;
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strlen(commands[i].word) == len && memcmp(line, commands[i].word, len) == 0)
            return true;
    }
    for (size_t i = 0; !s->started && i < COUNT_OF(numbers); i++) {
        if (strlen(numbers[i]) == len && memcmp(line, numbers[i], len) == 0) return true;
    }
    return false;
}

bool setup_command(struct scenario *s, const char *word)
{
    if (strcmp(word, "log") == 0 && strchr(words_peek(s), ':') != NULL) { /* `log 2` shows one */
        if (s->started) scenario_stop(s, "a log is given before the nodes start");
        setup_log(s);
        return true;
    }
    if (!s->started && setup_number(s, word)) return true;
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(word, commands[i].word) != 0) continue;
        if (s->started) scenario_stop(s, "\"%s\" comes before everything else", word);
        commands[i].run(s);
        return true;
    }
    return false;
}

void setup_start(struct scenario *s)
{
    if (s->started) return;
    if (s->node_count == 0) scenario_stop(s, "the story has no nodes");
    s->started = true;
    for (size_t slot = 0; slot < s->node_count; slot++) {
        struct disk *disk = &s->nodes[slot].disk;
        disk->applied = min_u64(disk->applied, disk->commit);
        world_start(s, &s->nodes[slot]);
        disk->applied = 0; /* the state machine lives in memory: a crash forgets it */
    }
    if (s->step != NULL) step_started(s);
}
