/* SPDX-License-Identifier: Apache-2.0 */
/* story.c - what a person needs to see of a failed run: every node in a line, and its last
 * events. */
#include <stdarg.h>
#include <stdio.h>

#include "base/min.h"
#include "sim/world.h"

#define EVENTS_TOLD 10u
#define EVENTS_KEPT 64u

struct teller {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void tell(struct teller *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    size_t used = len > 0 ? min_u64((uint64_t)len, t->left - 1) : 0;
    t->at += used;
    t->left -= used;
}

static const char *state_name(const struct node *n)
{
    switch (n->state) {
    case NODE_DOWN: return "down";
    case NODE_UP: return node_paused(n) ? "paused" : "up";
    case NODE_FAULTED: return "faulted";
    case NODE_GONE: return "gone";
    }
    return "?";
}

static void tell_events(struct teller *t, const struct kelp_core *core)
{
    struct kelp_event events[EVENTS_KEPT];
    char text[160];
    size_t count = kelp_recent(core, events, EVENTS_KEPT);
    for (size_t i = count > EVENTS_TOLD ? count - EVENTS_TOLD : 0; i < count; i++) {
        (void)kelp_describe_event(&events[i], text, sizeof text);
        tell(t, "      %s\n", text);
    }
}

static void tell_node(struct teller *t, const struct node *n)
{
    char text[200] = "";
    const struct kelp_core *core = n->driver != NULL ? driver_core(n->driver) : NULL;
    if (core != NULL) (void)kelp_describe(core, text, sizeof text);
    tell(t, "  node %u %s, life %llu, applied %llu: %s\n", n->slot + 1u, state_name(n),
         (unsigned long long)n->life,
         (unsigned long long)(n->rsm != NULL ? rsm_applied(n->rsm).index : 0), text);
    if (n->note[0] != '\0') tell(t, "      said: %s\n", n->note);
    if (core != NULL) tell_events(t, core);
}

void story_tell(struct world *w)
{
    struct kelp_sim_report *r = w->report;
    struct teller t = {r->story, sizeof r->story};
    r->story[0] = '\0';
    if (!r->stopped) {
        (void)snprintf(r->invariant, sizeof r->invariant, "%s", checker_invariant(w->checker));
        (void)snprintf(r->message, sizeof r->message, "%s", checker_message(w->checker));
    }
    tell(&t, "seed %llu, event %llu, %llu.%06llu ms, %s; committed %llu\n",
         (unsigned long long)w->seed, (unsigned long long)r->events,
         (unsigned long long)(w->now / 1000000), (unsigned long long)(w->now % 1000000),
         w->healing ? "healing" : "under faults", (unsigned long long)checker_commit(w->checker));
    if (!r->stopped) tell(&t, "%s: %s\n", r->invariant, r->message);
    for (unsigned i = 0; i < w->node_count; i++)
        tell_node(&t, &w->nodes[i]);
    if (w->options.machine != NULL) /* only its own program has that machine */
        tell(&t, "again: kelp_sim_run with seed %llu, machine and workload the same\n",
             (unsigned long long)w->seed);
}
