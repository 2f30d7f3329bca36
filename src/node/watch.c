/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - what happens, as log lines and counters.
 *
 * Every event is counted; those of level INFO and louder become one line, DEBUG ones only when
 * asked for. A node without a quorum repeats itself every election timeout, so the same event about
 * the same peer and term is said once in ten seconds. The time from a proposal to its commit is
 * read off two events with the same token. */
#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h"
#include "node/room.h"

#define QUIET_NS (10 * SECOND)

void node_log(struct node *n, enum kelp_level level, const char *format, ...)
{
    if (level > n->options.log_level) return;
    char line[480];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n->options.log != NULL)
        n->options.log(n->options.log_ctx, level, line);
    else if (level <= KELP_WARN)
        (void)fprintf(stderr, "kelp node %llu: %s\n", (unsigned long long)n->options.id, line);
}

static struct commit_watch *commit_slot(struct node *n, uint64_t token)
{
    return &n->commits[hash_mix(0, token) % COMMITS_WATCHED];
}

static void commit_measure(struct node *n, const struct kelp_event *event)
{
    struct commit_watch *watch = commit_slot(n, event->value);
    if (event->type == KELP_EV_PROPOSE_ACCEPTED) {
        *watch = (struct commit_watch){.token = event->value, .at = event->at};
    } else if (event->type == KELP_EV_PROPOSAL_DONE && watch->token == event->value &&
               event->at >= watch->at) {
        hist_add(&n->histograms.commit_ns, event->at - watch->at);
        watch->token = 0;
    }
}

static bool said_lately(struct node *n, const struct kelp_event *event)
{
    struct event_said *said = &n->said[event->type];
    bool same = said->said && said->peer == event->peer && said->term == event->term.v &&
                sub_sat(event->at, said->at) < QUIET_NS;
    if (!same)
        *said = (struct event_said){
            .peer = event->peer, .term = event->term.v, .at = event->at, .said = true};
    return same;
}

static void event_line(struct node *n, enum kelp_level level, const struct kelp_event *event)
{
    char peer[40] = "", pos[64] = "";
    if (event->peer != 0)
        (void)snprintf(peer, sizeof peer, ", node %llu", (unsigned long long)event->peer);
    if (event->pos.index != 0 && event->pos.term.v != 0)
        (void)snprintf(pos, sizeof pos, ", %llu@%llu", (unsigned long long)event->pos.index,
                       (unsigned long long)event->pos.term.v);
    else if (event->pos.index != 0)
        (void)snprintf(pos, sizeof pos, ", index %llu", (unsigned long long)event->pos.index);
    node_log(
        n, level, "%s (%s, term %llu%s%s)", kelp_event_words((enum kelp_event_type)event->type),
        kelp_role_name((enum kelp_role)event->role), (unsigned long long)event->term.v, peer, pos);
}

void watch_event(void *ctx, const struct kelp_event *event)
{
    struct node *n = ctx;
    if (event->type >= KELP_EVENT_COUNT) return;
    n->events[event->type]++;
    commit_measure(n, event);
    enum kelp_level level = kelp_event_level((enum kelp_event_type)event->type);
    if (level < KELP_DEBUG) n->look_due = true;
    if (level > n->options.log_level) return;
    if (level == KELP_DEBUG || !said_lately(n, event)) event_line(n, level, event);
}

void watch_note(void *ctx, int level, const char *line)
{
    struct node *n = ctx;
    n->look_due = true;
    node_log(n, (enum kelp_level)level, "%s", line);
}

void watch_store_note(void *ctx, int level, const char *line)
{
    node_log(ctx, (enum kelp_level)level, "%s", line);
}
