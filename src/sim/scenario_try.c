/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_try.c - what a node must not start with: nonsense in its options or from its store.
 *
 *   try 3 window=0                    node 3 with this option: the transcript says what is wrong
 *   try 3 found commit=9 last=2       with its own options, and what its store would not find
 *
 * Behind `found`: term=4 base=3@2 last=7 commit=9 applied=2 config=none, =1v,2v or =1v@9 (it says
 * it stands at 9), before=..., joint=0 (of config), highest=2, runs=none or 3@1 5@2 (as many as
 * there are), from=1. The node itself, up or down, notices nothing; a core that would start is
 * forgotten at once. */
#include <stdio.h>

#include "sim/scenario_room.h"

#define TRY_RUNS_MAX 16u

struct attempt {
    struct kelp_boot boot;
    struct kelp_run runs[TRY_RUNS_MAX];
    struct kelp_config config; /* boot.config, if it is changed */
};

static const struct kelp_config *config_of(struct scenario *s, const char *value)
{
    return strcmp(value, "none") == 0 ? NULL : words_config(s, value);
}

static struct kelp_config *own_config(struct scenario *s, struct attempt *a)
{
    if (a->boot.config == NULL) scenario_stop(s, "there is no configuration to change");
    if (a->boot.config != &a->config) a->config = *a->boot.config;
    a->boot.config = &a->config;
    return &a->config;
}

static void try_runs(struct scenario *s, struct attempt *a, const char *value)
{
    a->boot.runs = a->runs;
    a->boot.run_count = 0;
    if (strcmp(value, "none") == 0) return;
    for (;;) {
        if (a->boot.run_count == TRY_RUNS_MAX) scenario_stop(s, "too many runs");
        struct kelp_pos end = words_pos_of(s, value);
        a->runs[a->boot.run_count++] = (struct kelp_run){.last = end.index, .term = end.term};
        if (strchr(words_peek(s), '@') == NULL || strchr(words_peek(s), '=') != NULL) return;
        value = words_next(s);
    }
}

static void try_found(struct scenario *s, struct attempt *a, const char *word)
{
    struct kelp_boot *b = &a->boot;
    const char *value = strchr(word, '=');
    if (value == NULL) scenario_stop(s, "\"%s\" is not name=value", word);
    size_t len = (size_t)(value++ - word);
    const struct {
        const char *name;
        uint64_t *at;
    } numbers[] = {{"term", &b->term.v},     {"last", &b->last},      {"commit", &b->commit},
                   {"applied", &b->applied}, {"from", &b->runs_from}, {"vote", &b->vote}};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (strlen(numbers[i].name) != len || memcmp(numbers[i].name, word, len) != 0) continue;
        *numbers[i].at = words_number_of(s, value);
        return;
    }
    if (len == 4 && memcmp(word, "base", len) == 0)
        b->base = words_pos_of(s, value);
    else if (len == 4 && memcmp(word, "runs", len) == 0)
        try_runs(s, a, value);
    else if (len == 6 && memcmp(word, "config", len) == 0)
        b->config = config_of(s, value);
    else if (len == 6 && memcmp(word, "before", len) == 0)
        b->config_before = config_of(s, value);
    else if (len == 5 && memcmp(word, "joint", len) == 0)
        own_config(s, a)->joint = words_number_of(s, value) != 0;
    else if (len == 7 && memcmp(word, "highest", len) == 0)
        own_config(s, a)->id_highest = words_number_of(s, value);
    else
        scenario_stop(s, "a store finds no %s", word);
}

void try_command(struct scenario *s)
{
    struct node node = *words_node(s); /* a copy: it may be changed */
    struct attempt *a = scenario_memory(s, sizeof *a);
    world_boot(s, &node, &a->boot);
    while (words_left(s) && !words_take(s, "found"))
        setup_option(s, &node, words_next(s));
    while (words_left(s))
        try_found(s, a, words_next(s));
    struct kelp_fault fault = {0};
    void *memory = NULL;
    if (kelp_options_check(&node.options, &fault) == KELP_OK)
        memory = scenario_memory(s, kelp_core_memory(&node.options.limits));
    bool starts = kelp_core_init(memory, &node.options, &a->boot, node.now, &fault) != NULL;
    scenario_note(s, "%llu %s%s", (unsigned long long)node.id,
                  starts ? "would start" : "does not start: ", starts ? "" : fault.what);
}
