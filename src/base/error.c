/* SPDX-License-Identifier: Apache-2.0 */
/* error.c - words for the codes of types.h and event.h, each from its one table there, and the
 * fault record. */
#include <stdarg.h>
#include <stdio.h>

#include "base/fault.h"
#include "kelp/event.h"
#include "kelp/plan.h"
#include "kelp/restore.h"
#include "kelp/types.h"

const char *kelp_strerror(enum kelp_error error)
{
    switch (error) {
#define X(number, name, words)                                                                     \
    case KELP_##name: return words;
        KELP_ERRORS(X)
#undef X
    }
    return "unknown error";
}

const char *kelp_reason_name(enum kelp_reason reason)
{
    switch (reason) {
#define X(number, name, words, advice)                                                             \
    case KELP_R_##name: return #name;
        KELP_REASONS(X)
#undef X
    }
    return "UNKNOWN_REASON";
}

const char *kelp_reason_words(enum kelp_reason reason)
{
    switch (reason) {
#define X(number, name, words, advice)                                                             \
    case KELP_R_##name: return words;
        KELP_REASONS(X)
#undef X
    }
    return "unknown reason";
}

const char *kelp_reason_advice(enum kelp_reason reason)
{
    switch (reason) {
#define X(number, name, words, advice)                                                             \
    case KELP_R_##name: return advice;
        KELP_REASONS(X)
#undef X
    }
    return "read the documentation";
}

const char *kelp_role_name(enum kelp_role role)
{
    switch (role) {
    case KELP_FOLLOWER: return "follower";
    case KELP_PRE_CANDIDATE: return "pre-candidate";
    case KELP_CANDIDATE: return "candidate";
    case KELP_LEADER: return "leader";
    }
    return "unknown";
}

const char *kelp_restore_end_name(enum kelp_restore_end end)
{
    switch (end) {
    case KELP_RESTORE_NONE: return "none";
    case KELP_RESTORE_COMMITTED: return "committed";
    case KELP_RESTORE_ABORTED: return "aborted";
    case KELP_RESTORE_LAPSED: return "lapsed";
    case KELP_RESTORE_UNTAKEN: return "not-taken";
    case KELP_RESTORE_REPLACED: return "replaced";
    }
    return "unknown";
}

const char *kelp_space_name(enum kelp_space space)
{
    switch (space) {
    case KELP_SPACE_OK: return "ok";
    case KELP_SPACE_LOW: return "low";
    case KELP_SPACE_LAST: return "last";
    case KELP_SPACE_NONE: return "none";
    }
    return "unknown";
}

const char *kelp_read_level_name(enum kelp_read_level level)
{
    switch (level) {
    case KELP_READ_LINEARIZABLE: return "linearizable";
    case KELP_READ_LEASE: return "lease";
    case KELP_READ_STALE: return "stale";
    case KELP_READ_ANY: return "any";
    case KELP_READ_LOG: return "log";
    }
    return "unknown";
}

const char *kelp_outcome_name(enum kelp_outcome outcome)
{
    switch (outcome) {
    case KELP_DONE: return "DONE";
    case KELP_REFUSED: return "REFUSED";
    case KELP_LOST: return "LOST";
    case KELP_UNKNOWN: return "UNKNOWN";
    }
    return "?";
}

const char *kelp_plan_way_name(enum kelp_plan_way way)
{
    switch (way) {
    case KELP_PLAN_NOTHING: return "nothing";
    case KELP_PLAN_STEP: return "step";
    case KELP_PLAN_JOINT: return "joint";
    case KELP_PLAN_STOP: return "stop";
    }
    return "unknown";
}

const char *kelp_plan_warning_name(enum kelp_plan_warning warning)
{
    switch (warning) {
#define X(bit, name, words)                                                                        \
    case KELP_PLAN_W_##name: return #name;
        KELP_PLAN_WARNINGS(X)
#undef X
    }
    return "UNKNOWN_WARNING";
}

const char *kelp_plan_warning_words(enum kelp_plan_warning warning)
{
    switch (warning) {
#define X(bit, name, words)                                                                        \
    case KELP_PLAN_W_##name: return words;
        KELP_PLAN_WARNINGS(X)
#undef X
    }
    return "unknown warning";
}

struct event_row {
    const char *name, *words;
    enum kelp_level level;
};

static const struct event_row event_rows[KELP_EVENT_COUNT] = {
#define X(event, loud, clause)                                                                     \
    [KELP_EV_##event] = {.name = #event, .words = (clause), .level = KELP_##loud},
    KELP_EVENTS(X)
#undef X
};

const char *kelp_event_name(enum kelp_event_type type)
{
    return (unsigned)type < KELP_EVENT_COUNT ? event_rows[type].name : "UNKNOWN_EVENT";
}

const char *kelp_event_words(enum kelp_event_type type)
{
    return (unsigned)type < KELP_EVENT_COUNT ? event_rows[type].words : "unknown event";
}

enum kelp_level kelp_event_level(enum kelp_event_type type)
{
    return (unsigned)type < KELP_EVENT_COUNT ? event_rows[type].level : KELP_DEBUG;
}

enum kelp_error fault_set(struct kelp_fault *fault, enum kelp_error error, const char *where,
                          const char *format, ...)
{
    if (fault == NULL || fault->error != KELP_OK) return error;
    fault->error = error;
    (void)snprintf(fault->where, sizeof fault->where, "%s", where != NULL ? where : "");
    va_list args;
    va_start(args, format);
    (void)vsnprintf(fault->what, sizeof fault->what, format, args);
    va_end(args);
    return error;
}
