/* SPDX-License-Identifier: Apache-2.0 */
/* retell.c - a small run as sentences: its faults with times and nodes, what they did, and how it
 * ended. Frames that were lost or hurt are told too while there are few of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "sim/shrink.h"

#define WORDS_BYTES_MAX (1024u * 1024)
#define FRAMES_TOLD     12u

typedef unsigned long long ull;

struct retell {
    struct buf words;
    uint64_t faults, frames;
};

struct retell *retell_new(void)
{
    struct retell *r = calloc(1, sizeof *r);
    if (r != NULL) buf_init(&r->words, WORDS_BYTES_MAX);
    return r;
}

void retell_free(struct retell *r)
{
    if (r == NULL) return;
    buf_close(&r->words);
    free(r);
}

static void say(struct retell *r, const struct kelp_sim_event *e, const char *before,
                const char *words)
{
    char line[800];
    (void)snprintf(line, sizeof line, "%6llu.%06llu s  %s%s\n", (ull)(e->at / 1000000000),
                   (ull)(e->at / 1000 % 1000000), before, words);
    (void)buf_append_text(&r->words, line); /* an error sticks, and is seen at the end */
}

static void say_node(struct retell *r, const struct kelp_sim_event *e)
{
    char before[32];
    (void)snprintf(before, sizeof before, "    node %llu ", (ull)e->node);
    say(r, e, before, e->words);
}

static void say_frame(struct retell *r, const struct kelp_sim_event *e, const char *what)
{
    char before[64];
    if (++r->frames > FRAMES_TOLD) return;
    (void)snprintf(before, sizeof before, "a frame of node %llu to node %llu is %s: ", (ull)e->from,
                   (ull)e->to, what);
    say(r, e, before, e->words);
}

static void say_event(struct retell *r, const struct kelp_sim_event *e)
{
    char words[64];
    if (e->event->type != KELP_EV_ROLE_LEADER) return;
    (void)snprintf(words, sizeof words, "    node %llu leads term %llu", (ull)e->node,
                   (ull)e->event->term.v);
    say(r, e, "", words);
}

void retell_record(void *ctx, const struct kelp_sim_event *e)
{
    struct retell *r = ctx;
    switch (e->kind) {
    case KELP_SIM_BEGAN: say(r, e, "", e->words); return;
    case KELP_SIM_FAULT:
        r->faults++;
        say(r, e, "fault: ", e->words);
        return;
    case KELP_SIM_UP:
    case KELP_SIM_DOWN:
    case KELP_SIM_PAUSED:
    case KELP_SIM_FAULTED:
    case KELP_SIM_GONE:
    case KELP_SIM_STALLED: say_node(r, e); return;
    case KELP_SIM_LINKS:
    case KELP_SIM_STORM:
    case KELP_SIM_CALM: say(r, e, "    ", e->words); return;
    case KELP_SIM_HEALED:
    case KELP_SIM_PASSED:
    case KELP_SIM_STOPPED:
    case KELP_SIM_FAILED: say(r, e, "", e->words); return;
    case KELP_SIM_EVENT: say_event(r, e); return;
    case KELP_SIM_LOST:
        if (strstr(e->words, ", cut") == NULL) say_frame(r, e, "lost");
        return;
    case KELP_SIM_SENT:
        if (e->damaged)
            say_frame(r, e, "damaged");
        else if (e->again)
            say_frame(r, e, "sent again");
        return;
    case KELP_SIM_STARTS:
    case KELP_SIM_WOKE:
    case KELP_SIM_DISK:
    case KELP_SIM_APPLIED:
    case KELP_SIM_DIALS:
    case KELP_SIM_UNANSWERED:
    case KELP_SIM_CLOSED:
    case KELP_SIM_CLIENT:
    case KELP_SIM_RECEIVED:
    case KELP_SIM_DROPPED:
    case KELP_SIM_NOTE:
    case KELP_SIM_ASKED:
    case KELP_SIM_ANSWERED:
    case KELP_SIM_RESUMED:
    case KELP_SIM_KIND_COUNT: return;
    }
}

uint64_t retell_faults(const struct retell *r)
{
    return r->faults;
}

char *retell_words(const struct retell *r)
{
    if (r->words.error != KELP_OK) return NULL;
    char *out = calloc(1, r->words.len + 1);
    if (out != NULL && r->words.len > 0) memcpy(out, r->words.data, r->words.len);
    return out;
}
