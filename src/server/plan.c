/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - a plan in the words of people and of programs; see plan.h.
 *
 * Nothing is judged here: what a plan holds was found by the leader (core/plan.c), and is only
 * said. */
#include "server/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/driver.h"
#include "proto/resp_reply.h"
#include "server/members.h"

struct text {
    char *out;
    size_t size, len;
};

static void say(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *t, const char *format, ...)
{
    va_list args;
    size_t left = t->len < t->size ? t->size - t->len : 0;
    va_start(args, format);
    int wrote = vsnprintf(left > 0 ? t->out + t->len : NULL, left, format, args);
    va_end(args);
    if (wrote > 0) t->len += (size_t)wrote;
    if (t->len >= t->size) t->len = t->size > 0 ? t->size - 1 : 0;
}

static const char *yes(bool is_so)
{
    return is_so ? "yes" : "no";
}

/* ---- for programs ---- */

static void warnings_say(struct text *t, uint32_t warnings)
{
    const char *before = " warnings:";
    for (uint32_t bit = 1; bit != 0 && bit <= warnings; bit *= 2) {
        if ((warnings & bit) == 0) continue;
        say(t, "%s%s", before, kelp_plan_warning_name((enum kelp_plan_warning)bit));
        before = ",";
    }
}

static void side_say(struct text *t, const char *when, const struct kelp_plan_side *side)
{
    say(t, " voters_%s:%u quorum_%s:%u live_%s:%u spare_%s:%u tolerates_%s:%u works_%s:%s", when,
        (unsigned)side->voters, when, (unsigned)side->quorum, when, (unsigned)side->live, when,
        (unsigned)side->spare, when, (unsigned)side->tolerates, when, yes(side->works));
}

size_t plan_line(const struct kelp_plan *plan, char *out, size_t size)
{
    struct text t = {.out = out, .size = size};
    say(&t, "may:%s reason:%s forcible:%s", yes(!plan->refused), kelp_reason_name(plan->reason),
        yes(plan->forcible));
    if (plan->member != 0) say(&t, " node:%" PRIu64, plan->member);
    say(&t, " index:%" PRIu64 " way:%s entries:%u leader:%" PRIu64 " leader_next:%" PRIu64,
        plan->index, kelp_plan_way_name((enum kelp_plan_way)plan->way), (unsigned)plan->entries,
        plan->leader, plan->leader_next);
    side_say(&t, "before", &plan->before);
    side_say(&t, "after", &plan->after);
    warnings_say(&t, plan->warnings);
    return t.len;
}

size_t plan_member_line(const struct kelp_plan_member *row, char *out, size_t size)
{
    struct text t = {.out = out, .size = size};
    say(&t,
        "id:%" PRIu64 " before:%s after:%s answers:%s catches_up:%s leads:%s will_lead:%s stops:%s",
        row->id, members_role_name(row->before), members_role_name(row->after),
        yes((row->flags & KELP_PLAN_ANSWERS) != 0), yes((row->flags & KELP_PLAN_CATCHES_UP) != 0),
        yes((row->flags & KELP_PLAN_LEADS) != 0), yes((row->flags & KELP_PLAN_WILL_LEAD) != 0),
        yes((row->flags & KELP_PLAN_STOPS) != 0));
    return t.len;
}

/* ---- for people ---- */

/* The ids of some members, with a space before each; returns how many. */
typedef bool (*row_is)(const struct kelp_plan_member *row);

static uint32_t ids_say(struct text *t, const struct kelp_plan *plan, row_is wanted)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (!wanted(&plan->members[i])) continue;
        say(t, " %" PRIu64, plan->members[i].id);
        count++;
    }
    return count;
}

/* A witness votes like any voter: it only never leads, and holds no data. */
static bool votes(uint8_t role)
{
    return role == KELP_VOTER || role == KELP_WITNESS;
}

static bool voted(const struct kelp_plan_member *row)
{
    return votes(row->before);
}

static bool will_vote(const struct kelp_plan_member *row)
{
    return votes(row->after) && (row->flags & KELP_PLAN_STOPS) == 0;
}

static bool catches_up(const struct kelp_plan_member *row)
{
    return (row->flags & KELP_PLAN_CATCHES_UP) != 0;
}

static bool is_silent(const struct kelp_plan_member *row)
{
    bool stays = will_vote(row) && voted(row);
    return stays && (row->flags & KELP_PLAN_ANSWERS) == 0;
}

static bool leaves(const struct kelp_plan_member *row)
{
    return row->after == KELP_NONE;
}

static uint32_t rows_count(const struct kelp_plan *plan, row_is wanted)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->count; i++)
        count += wanted(&plan->members[i]);
    return count;
}

static const struct kelp_plan_member *stopping(const struct kelp_plan *plan)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        if ((plan->members[i].flags & KELP_PLAN_STOPS) != 0) return &plan->members[i];
    }
    return NULL;
}

static void verdict_say(struct text *t, const struct kelp_plan *plan)
{
    if (plan->reason == KELP_R_NONE) {
        bool nothing = plan->way == KELP_PLAN_NOTHING;
        say(t, nothing ? "yes: it is so already, nothing is written\n"
                       : "yes: nothing speaks against it\n");
        return;
    }
    say(t, "%s: %s", plan->refused ? "no" : "yes, by force", kelp_reason_name(plan->reason));
    if (plan->member != 0) say(t, " node=%" PRIu64, plan->member);
    say(t, ": %s; %s\n", kelp_reason_words(plan->reason), kelp_reason_advice(plan->reason));
}

static void count_say(struct text *t, const struct kelp_plan_side *side)
{
    say(t, " (%u decide, %u answer%s; ", (unsigned)side->quorum, (unsigned)side->live,
        side->live == 1 ? "s" : "");
    if (!side->works)
        say(t, "too few: nothing is written or read)\n");
    else
        say(t, "%u more may fail, %u of all)\n", (unsigned)side->spare, (unsigned)side->tolerates);
}

static void way_say(struct text *t, const struct kelp_plan *plan)
{
    if (plan->way == KELP_PLAN_JOINT)
        say(t, "how: both sets of voters decide together for a moment, %u entries of the log\n",
            (unsigned)plan->entries);
    else if (plan->way == KELP_PLAN_STEP)
        say(t, "how: one step, %u entr%s of the log\n", (unsigned)plan->entries,
            plan->entries == 1 ? "y" : "ies");
    if (rows_count(plan, catches_up) > 0) {
        say(t, "first these catch up, then they vote:");
        (void)ids_say(t, plan, catches_up);
        say(t, "\n");
    }
    if (rows_count(plan, leaves) > 0) {
        say(t, "these leave, and their ids are never given again:");
        (void)ids_say(t, plan, leaves);
        say(t, "\n");
    }
}

static void leader_say(struct text *t, const struct kelp_plan *plan)
{
    if (plan->leader_next == plan->leader)
        say(t, "leader: %" PRIu64 ", as now\n", plan->leader);
    else if (plan->leader_next != 0)
        say(t, "leader: %" PRIu64 " now, then probably %" PRIu64 "\n", plan->leader,
            plan->leader_next);
    else
        say(t, "leader: %" PRIu64 " now; who could be next cannot be told\n", plan->leader);
}

/* What stopping a node does. */
static void stop_say(struct text *t, const struct kelp_plan_member *row)
{
    if ((row->flags & KELP_PLAN_ANSWERS) == 0)
        say(t, "what it does: nothing, node %" PRIu64 " does not answer as it is\n", row->id);
    else if ((row->flags & KELP_PLAN_LEADS) != 0)
        say(t, "what it does: node %" PRIu64 " hands leadership over before it stops\n", row->id);
    else if (voted(row))
        say(t, "what it does: node %" PRIu64 " votes no more until it is back\n", row->id);
    else
        say(t, "what it does: node %" PRIu64 " has no vote, the others go on as they are\n",
            row->id);
}

/* Where it ought not to be done. */
static void instead_say(struct text *t, const struct kelp_plan *plan)
{
    if (plan->reason == KELP_R_NO_CANDIDATE) {
        say(t, "instead: wait until another voter has caught up and has room on its disk\n");
        return;
    }
    if (plan->reason != KELP_R_QUORUM_AT_RISK) return;
    if (rows_count(plan, is_silent) > 0) {
        say(t, "instead: start what does not answer, then ask again:");
        (void)ids_say(t, plan, is_silent);
        say(t, "\n");
    } else {
        say(t, "instead: add a voter first, so that %u are not all that is needed\n",
            (unsigned)plan->before.voters);
    }
}

static void warnings_tell(struct text *t, const struct kelp_plan *plan)
{
    for (uint32_t bit = 1; bit != 0 && bit <= plan->warnings; bit *= 2) {
        if ((plan->warnings & bit) == 0) continue;
        say(t, "warning: %s", kelp_plan_warning_words((enum kelp_plan_warning)bit));
        if (bit == KELP_PLAN_W_SILENT) {
            say(t, ":");
            (void)ids_say(t, plan, is_silent);
        }
        say(t, "\n");
    }
}

size_t plan_words(const struct kelp_plan *plan, char *out, size_t size)
{
    struct text t = {.out = out, .size = size};
    const struct kelp_plan_member *stop = stopping(plan);
    verdict_say(&t, plan);
    say(&t, "voters now:");
    (void)ids_say(&t, plan, voted);
    count_say(&t, &plan->before);
    if (plan->way != KELP_PLAN_NOTHING) {
        say(&t, "voters %s:", stop != NULL ? "left" : "then");
        (void)ids_say(&t, plan, will_vote);
        count_say(&t, &plan->after);
    }
    way_say(&t, plan);
    if (stop != NULL) stop_say(&t, stop);
    leader_say(&t, plan);
    instead_say(&t, plan);
    warnings_tell(&t, plan);
    if (plan->way == KELP_PLAN_STEP || plan->way == KELP_PLAN_JOINT)
        say(&t,
            "made of the configuration at %" PRIu64 ": with IF %" PRIu64
            " the change is made of no other\n",
            plan->index, plan->index);
    return t.len;
}

/* ---- RESP ---- */

static size_t lines_count(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

void plan_reply(struct buf *reply, struct kelp_bytes bytes)
{
    struct kelp_plan plan;
    char line[PLAN_LINE_MAX];
    char *text = malloc(PLAN_TEXT_MAX);
    if (text == NULL || !driver_plan_read(bytes, &plan)) {
        (void)resp_error(reply, text == NULL ? "ERR out of memory"
                                             : "ERR the leader's plan cannot be read");
        free(text);
        return;
    }
    (void)plan_words(&plan, text, PLAN_TEXT_MAX);
    (void)resp_array(reply, 1 + plan.count + lines_count(text));
    (void)plan_line(&plan, line, sizeof line);
    (void)resp_bulk_text(reply, line);
    for (uint32_t i = 0; i < plan.count; i++) {
        (void)plan_member_line(&plan.members[i], line, sizeof line);
        (void)resp_bulk_text(reply, line);
    }
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        (void)resp_bulk(reply, (struct kelp_bytes){(const uint8_t *)at, len});
        at += len + 1;
    }
    free(text);
}
