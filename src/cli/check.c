/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - `kelp sim check FILE`: is a recorded history linearizable?
 *
 * Exit 0 yes, 1 no or not decided within the bound (never a pass), 2 no history at all. What is
 * wrong is shown as the few operations that prove it, in the order of their calls. */
#include <errno.h>
#include <string.h>

#include "cli/history.h"
#include "cli/room.h"

#define WORDS_MAX 1024u

static const char *judgement_words(enum kelp_sim_judgement judgement)
{
    switch (judgement) {
    case KELP_SIM_LINEARIZABLE: return "linearizable";
    case KELP_SIM_NOT_LINEARIZABLE: return "not linearizable";
    case KELP_SIM_UNDECIDED: return "undecided";
    case KELP_SIM_BAD_HISTORY: return "bad history";
    case KELP_SIM_NO_MEMORY: return "out of memory";
    }
    return "?";
}

static int check_json(const struct verb *verb, const struct history *h,
                      const struct kelp_sim_verdict *v)
{
    json_t *window = json_array();
    char words[WORDS_MAX];
    for (size_t i = 0; i < v->window_count; i++) {
        history_words(h, v->window[i], words, sizeof words);
        (void)json_array_append_new(
            window, json_pack("{sI so}", "line", (json_int_t)(v->window[i] + 1), "text",
                              print_json_bytes(
                                  (struct kelp_bytes){(const uint8_t *)words, strlen(words)})));
    }
    return print_json(verb, json_pack("{ss ss ss sI sI so}", "judgement",
                                      judgement_words(v->judgement), "checker", v->checker,
                                      "reason", v->reason, "operations", (json_int_t)h->count,
                                      "states", (json_int_t)v->states, "window", window));
}

static int check_text(const struct history *h, const struct kelp_sim_verdict *v)
{
    char words[WORDS_MAX];
    if (v->judgement == KELP_SIM_LINEARIZABLE) {
        (void)printf("linearizable: %zu operations\n", h->count);
        return CLI_DONE;
    }
    (void)printf("%s: %s (%s)\n", judgement_words(v->judgement), v->reason, v->checker);
    for (size_t i = 0; i < v->window_count; i++) {
        history_words(h, v->window[i], words, sizeof words);
        (void)printf("  %s\n", words);
    }
    return CLI_DONE;
}

static int check_history(const struct verb *verb, const char *name, const struct history *h,
                         bool json)
{
    struct kelp_sim_verdict v;
    switch (kelp_sim_check_history(h->operations, h->count, 0, &v)) {
    case KELP_SIM_LINEARIZABLE:
    case KELP_SIM_NOT_LINEARIZABLE:
    case KELP_SIM_UNDECIDED: break;
    case KELP_SIM_BAD_HISTORY:
        return cli_error(verb, CLI_USAGE, "%s:%zu: %s", name, v.window[0] + 1, v.reason);
    case KELP_SIM_NO_MEMORY: return cli_error(verb, CLI_FAILED, "%s: out of memory", name);
    }
    if ((json ? check_json(verb, h, &v) : check_text(h, &v)) != CLI_DONE) return CLI_FAILED;
    return v.judgement == KELP_SIM_LINEARIZABLE ? CLI_DONE : CLI_FAILED;
}

int sim_check(const struct verb *verb, const char *file, bool json)
{
    bool standard = strcmp(file, "-") == 0;
    FILE *in = standard ? stdin : fopen(file, "re");
    if (in == NULL) return cli_error(verb, CLI_USAGE, "%s: %s", file, strerror(errno));
    struct history h = {0};
    bool good = history_read(in, &h);
    if (!standard) (void)fclose(in);
    const char *name = standard ? "standard input" : file;
    int status = good ? check_history(verb, name, &h, json)
                      : cli_error(verb, CLI_USAGE, "%s:%zu: %s", name, h.wrong_line, h.wrong);
    history_free(&h);
    return status;
}
