/* SPDX-License-Identifier: Apache-2.0 */
/* explore.c - `kelp sim explore`: every interleaving in a small scope, and what came of it.
 *
 * A line a depth while it goes on, one line at the end; a broken rule comes with the shortest way
 * to it, an action a line. */
#include <string.h>
#include <time.h>

#include "base/min.h"
#include "cli/room.h"
#include "kelp/sim.h"

static const struct verb verb = {
    .name = "sim explore",
    .usage = "[--nodes 3] [--terms 2] [--entries 3] [--depth N] [--drops D] [--crashes C] ...",
    .words = "every order of every message, loss, crash and timeout in a small scope",
    .more = "\nThe real cores, breadth first, each state once: a broken rule is shown with the\n"
            "shortest way to it, and the exit status is 1. Numbers that are budgets (drops,\n"
            "repeats, crashes, beats) are for one path, not for all.\n",
};

struct asked {
    uint64_t nodes, terms, entries, depth, drops, repeats, crashes, beats, messages, batch,
        states_max;
    bool instant, protections, json;
    const char *broken;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool broken_of(const char *name, enum kelp_sim_scope_break *out)
{
    static const char *const names[KELP_SIM_SCOPE_BREAK_COUNT] = {"nothing", "early-saved",
                                                                  "forget-vote", "lose-tail"};
    for (unsigned i = 0; i < KELP_SIM_SCOPE_BREAK_COUNT; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *out = (enum kelp_sim_scope_break)i;
        return true;
    }
    return false;
}

static void print_depth(void *ctx, uint32_t depth, uint64_t fresh, uint64_t steps)
{
    const uint64_t *began = ctx;
    char states[PRINT_NUMBER_MAX], taken[PRINT_NUMBER_MAX];
    uint64_t ms = now_ms() - *began;
    (void)printf("depth %3u  %15s new states  %15s steps so far  %4llu.%01llu s\n", depth,
                 print_thousands(fresh, states), print_thousands(steps, taken),
                 (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000 / 100));
    (void)fflush(stdout);
}

/* What ended it, and what is therefore known. */
static const char *extent(const struct kelp_sim_scope_report *report)
{
    if (!report->passed) return "stopped there";
    if (report->whole) return "nothing is left: the scope is explored whole";
    if (report->full) return "stopped by --states-max: that depth is whole, the next is not";
    return "all that can happen in so many actions";
}

static void print_report(const struct asked *asked, const struct kelp_sim_scope_report *report,
                         uint64_t ms)
{
    char states[PRINT_NUMBER_MAX], steps[PRINT_NUMBER_MAX], rate[PRINT_NUMBER_MAX];
    char cells[PRINT_NUMBER_MAX], moves[PRINT_NUMBER_MAX], outside[PRINT_NUMBER_MAX];
    if (!report->passed)
        (void)printf("\n%s: %s\n\n%s\n", report->invariant, report->message, report->path);
    uint64_t ways = report->states > 0 ? report->steps * 10 / report->states : 0;
    (void)printf("%s states, %s steps (%llu.%llu ways to a state), %s left the scope, "
                 "%s nodes and %s moves of one\n",
                 print_thousands(report->states, states), print_thousands(report->steps, steps),
                 (unsigned long long)(ways / 10), (unsigned long long)(ways % 10),
                 print_thousands(report->outside, outside), print_thousands(report->cells, cells),
                 print_thousands(report->moves, moves));
    (void)printf("%llu nodes, %llu terms, %llu entries, depth %u, %s; %llu.%01llu s, %s states/s, "
                 "%llu MiB; %s\n",
                 (unsigned long long)asked->nodes, (unsigned long long)asked->terms,
                 (unsigned long long)asked->entries, report->depth,
                 report->passed ? "PASS" : "FAIL", (unsigned long long)(ms / 1000),
                 (unsigned long long)(ms % 1000 / 100),
                 print_thousands(report->states * 1000 / max_u64(ms, 1), rate),
                 (unsigned long long)(report->bytes >> 20), extent(report));
}

static json_t *lines_of(const char *text)
{
    json_t *lines = json_array();
    while (lines != NULL && *text != '\0') {
        size_t len = strcspn(text, "\n");
        (void)json_array_append_new(lines, json_stringn(text, len));
        text += text[len] == '\n' ? len + 1 : len;
    }
    return lines;
}

static int print_object(const struct kelp_sim_scope_report *report, uint64_t ms)
{
    json_t *fresh = json_array();
    for (uint32_t i = 0; fresh != NULL && i <= KELP_SIM_SCOPE_DEPTH_MAX; i++) {
        if (report->fresh[i] > 0)
            (void)json_array_append_new(fresh, json_integer((json_int_t)report->fresh[i]));
    }
    return print_json(
        &verb,
        json_pack("{sb sb sb sI sI sI so sI sI sI sI sI sI ss ss so}", "passed", report->passed,
                  "whole", report->whole, "full", report->full, "depth", (json_int_t)report->depth,
                  "states", (json_int_t)report->states, "steps", (json_int_t)report->steps,
                  "new_states", fresh, "outside", (json_int_t)report->outside, "lost",
                  (json_int_t)report->lost, "single_nodes", (json_int_t)report->cells, "moves",
                  (json_int_t)report->moves, "bytes", (json_int_t)report->bytes, "ms",
                  (json_int_t)ms, "invariant", report->invariant, "message", report->message,
                  "path", lines_of(report->path)));
}

#define NUMBER(NAME, FIELD, LOW, HIGH, WORDS)                                                      \
    {                                                                                              \
        .name = NAME, .kind = FLAG_NUMBER, .to.number = &asked->FIELD, .low = LOW, .high = HIGH,   \
        .value = "N", .words = WORDS                                                               \
    }

static bool parse(struct asked *asked, int *argc, char **argv, int *status)
{
    const struct flag flags[] = {
        NUMBER("nodes", nodes, 2, KELP_SIM_SCOPE_NODES_MAX, "voters; 3"),
        NUMBER("terms", terms, 1, KELP_SIM_SCOPE_TERMS_MAX, "terms that anybody stands for; 2"),
        NUMBER("entries", entries, 1, KELP_SIM_SCOPE_ENTRIES_MAX,
               "commands are given to shorter logs only; 3"),
        NUMBER("depth", depth, 1, KELP_SIM_SCOPE_DEPTH_MAX, "actions one after the other; 12"),
        NUMBER("drops", drops, 0, 255, "messages lost; 1"),
        NUMBER("repeats", repeats, 0, 255, "messages delivered twice; 0"),
        NUMBER("crashes", crashes, 0, 255, "crashes, each with a restart; 1"),
        NUMBER("beats", beats, 0, 255, "heartbeats and repeated requests; 1"),
        NUMBER("messages", messages, 1, KELP_SIM_SCOPE_MESSAGES_MAX, "on their way at once; 6"),
        NUMBER("batch", batch, 1, 7, "entries in one append; 1"),
        NUMBER("states-max", states_max, 1, INT32_MAX, "stop there, 70 bytes each; 20000000"),
        {.name = "instant",
         .kind = FLAG_SWITCH,
         .to.on = &asked->instant,
         .words = "saves take no time: goes deeper"},
        {.name = "protections",
         .kind = FLAG_SWITCH,
         .to.on = &asked->protections,
         .words = "pre-vote, check-quorum, stickiness on; off, more can happen"},
        {.name = "broken",
         .kind = FLAG_TEXT,
         .to.text = &asked->broken,
         .value = "WHAT",
         .words = "a disk that breaks its promise, to see it caught: "
                  "early-saved, forget-vote, lose-tail"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &asked->json, .words = "one JSON object"},
    };
    return flags_parse(&verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, argc, argv, status) &&
           flags_words_check(&verb, *argc, argv, 0, 0, status);
}

int explore_verb(int argc, char **argv)
{
    struct kelp_sim_scope scope = kelp_sim_scope_default();
    struct asked asked = {.nodes = scope.nodes,
                          .terms = scope.terms,
                          .entries = scope.entries,
                          .depth = scope.depth,
                          .drops = scope.drops,
                          .repeats = scope.repeats,
                          .crashes = scope.crashes,
                          .beats = scope.beats,
                          .messages = scope.messages,
                          .batch = scope.batch,
                          .states_max = scope.states_max,
                          .broken = "nothing"};
    int status;
    if (!parse(&asked, &argc, argv, &status)) return status;
    if (!broken_of(asked.broken, &scope.broken))
        return cli_error(&verb, CLI_USAGE,
                         "--broken %s: must be early-saved, forget-vote or lose-tail",
                         asked.broken);
    scope.nodes = (uint32_t)asked.nodes;
    scope.terms = (uint32_t)asked.terms;
    scope.entries = (uint32_t)asked.entries;
    scope.depth = (uint32_t)asked.depth;
    scope.drops = (uint32_t)asked.drops;
    scope.repeats = (uint32_t)asked.repeats;
    scope.crashes = (uint32_t)asked.crashes;
    scope.beats = (uint32_t)asked.beats;
    scope.messages = (uint32_t)asked.messages;
    scope.batch = (uint32_t)asked.batch;
    scope.states_max = asked.states_max;
    scope.instant = asked.instant;
    scope.protections = asked.protections;
    uint64_t began = now_ms();
    scope.progress = asked.json ? NULL : print_depth;
    scope.progress_ctx = &began;
    static struct kelp_sim_scope_report report; /* large, and one exploration at a time */
    bool passed = kelp_sim_explore(&scope, &report);
    uint64_t ms = now_ms() - began;
    if (!asked.json)
        print_report(&asked, &report, ms);
    else if (print_object(&report, ms) != CLI_DONE)
        return CLI_FAILED;
    return passed ? CLI_DONE : CLI_FAILED;
}
