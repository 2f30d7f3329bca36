/* SPDX-License-Identifier: Apache-2.0 */
/* outcome.c - outcomes and reasons into the words of clients; see outcome.h. */
#include "server/outcome.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "proto/resp_reply.h"

#define ABOUT_MAX 192u /* an address and a few words */

static enum outcome_code refused(enum kelp_reason reason, bool leader_named)
{
    switch (reason) {
    case KELP_R_NOT_LEADER: return leader_named ? OUTCOME_MOVED : OUTCOME_TRYAGAIN;
    case KELP_R_REMOVED: return leader_named ? OUTCOME_MOVED : OUTCOME_CLUSTERDOWN;
    case KELP_R_NO_LEADER:
    case KELP_R_NOT_STARTED:
    case KELP_R_QUARANTINED:
    case KELP_R_FAULTED: return OUTCOME_CLUSTERDOWN;
    case KELP_R_LOADING: return OUTCOME_LOADING;
    case KELP_R_NO_SPACE: return OUTCOME_NOSPACE;
    case KELP_R_TOO_LARGE:
    case KELP_R_SELF:
    case KELP_R_UNKNOWN_MEMBER:
    case KELP_R_NOT_VOTER:
    case KELP_R_NOTHING_NEW:
    case KELP_R_CONFIG_CHANGED:
    case KELP_R_MEMBER_DIFFERS:
    case KELP_R_ID_USED:
    case KELP_R_LAST_VOTER:
    case KELP_R_NEVER_LEADS:
    case KELP_R_NOBODY_LEADS:
    case KELP_R_TOO_MANY_MEMBERS:
    case KELP_R_QUORUM_AT_RISK:
    case KELP_R_VOTER_SILENT:
    case KELP_R_DRAINED:
    case KELP_R_ADDRESS_USED:
    case KELP_R_BAD_CHANGE:
    case KELP_R_BAD_LEVEL:
    case KELP_R_WITNESS_STAYS:
    case KELP_R_WITNESS_ALONE:
    case KELP_R_WITNESSES_MANY:
    case KELP_R_IS_LEARNER:
    case KELP_R_IS_VOTER:
    case KELP_R_IS_ELSEWHERE:
    case KELP_R_UNKNOWN_SESSION:
    case KELP_R_SEQUENCE_OVER:
    case KELP_R_ONCE_MISUSED:
    case KELP_R_SNAPSHOT_GONE:
    case KELP_R_NO_PIECE:
    case KELP_R_LEADS:
    case KELP_R_NOT_STAGED:
    case KELP_R_STAGED:
    case KELP_R_PART_MISSING:
    case KELP_R_NOT_TAKEN:
    case KELP_R_NOT_KNOWN_YET:
    case KELP_R_HAS_CLUSTER: return OUTCOME_ERR;
    case KELP_R_NONE:
    case KELP_R_BUSY:
    case KELP_R_PENDING:
    case KELP_R_NO_COMMIT_YET:
    case KELP_R_TRANSFERRING:
    case KELP_R_TIMEOUT:
    case KELP_R_SHUTDOWN:
    case KELP_R_NO_LEASE:
    case KELP_R_TOO_OLD:
    case KELP_R_STALE_BEYOND:
    case KELP_R_NO_CANDIDATE:
    case KELP_R_NO_HEALTHY:
    case KELP_R_BEHIND:
    case KELP_R_NOT_REACHED:
    case KELP_R_NOT_KNOCKING:
    case KELP_R_LEADERSHIP_LOST:
    case KELP_R_OVERWRITTEN:
    case KELP_R_CONNECTION_LOST:
    case KELP_R_SNAPSHOT_PASSED:
    case KELP_R_DUPLICATE:
    case KELP_R_CANCELLED: return OUTCOME_TRYAGAIN;
    }
    return OUTCOME_TRYAGAIN; /* a number of a newer version, from a newer leader */
}

enum outcome_code outcome_code(enum kelp_outcome outcome, enum kelp_reason reason,
                               bool leader_named)
{
    ASSERT(outcome != KELP_DONE);
    switch (outcome) {
    case KELP_DONE:
    case KELP_REFUSED: return refused(reason, leader_named);
    case KELP_LOST: return OUTCOME_TRYAGAIN;
    case KELP_UNKNOWN: return OUTCOME_UNCERTAIN;
    }
    return OUTCOME_UNCERTAIN;
}

const char *outcome_word(enum outcome_code code)
{
    switch (code) {
    case OUTCOME_MOVED: return "MOVED";
    case OUTCOME_CLUSTERDOWN: return "CLUSTERDOWN";
    case OUTCOME_TRYAGAIN: return "TRYAGAIN";
    case OUTCOME_LOADING: return "LOADING";
    case OUTCOME_NOSPACE: return "NOSPACE";
    case OUTCOME_ERR: return "ERR";
    case OUTCOME_UNCERTAIN: return "UNCERTAIN";
    }
    UNREACHABLE();
}

unsigned outcome_http_status(enum outcome_code code, enum kelp_reason reason)
{
    switch (code) {
    case OUTCOME_MOVED: return 307;
    case OUTCOME_CLUSTERDOWN:
    case OUTCOME_TRYAGAIN:
    case OUTCOME_LOADING: return 503;
    case OUTCOME_NOSPACE: return 507;
    case OUTCOME_ERR:
        if (reason == KELP_R_ONCE_MISUSED) return 422;
        if (reason == KELP_R_SEQUENCE_OVER) return 409;
        return reason == KELP_R_TOO_LARGE ? 413 : 400;
    case OUTCOME_UNCERTAIN: return 504;
    }
    UNREACHABLE();
}

void outcome_transferred(struct buf *reply, kelp_id leader)
{
    char text[40];
    (void)snprintf(text, sizeof text, "OK leader=%" PRIu64, leader);
    (void)resp_simple(reply, text);
}

void outcome_changed(struct buf *reply, kelp_index index, kelp_id given)
{
    char text[64];
    int at = snprintf(text, sizeof text, "OK index=%" PRIu64, index);
    if (given != 0) (void)snprintf(text + at, sizeof text - (size_t)at, " id=%" PRIu64, given);
    (void)resp_simple(reply, text);
}

size_t outcome_age_text(kelp_ns age, char *out, size_t size)
{
    if (age == KELP_NEVER) return (size_t)snprintf(out, size, "never");
    return (size_t)snprintf(out, size, "%" PRIu64, age / 1000000);
}

static void about_ages(const struct kelp_read_ages *ages, char *out, size_t size)
{
    char contact[24], applied[24];
    (void)outcome_age_text(ages->contact, contact, sizeof contact);
    (void)outcome_age_text(ages->applied, applied, sizeof applied);
    (void)snprintf(out, size, " contact_ms=%s applied_ms=%s", contact, applied);
}

static void reply_loading(struct buf *reply, const struct outcome_place *place)
{
    if (place->loaded_left_ms == 0)
        (void)resp_error(reply, "LOADING %u%%", place->loaded_percent);
    else
        (void)resp_error(reply, "LOADING %u%%, %" PRIu64 " s left", place->loaded_percent,
                         (place->loaded_left_ms + 999) / 1000);
}

void outcome_reply(struct buf *reply, enum kelp_outcome outcome, enum kelp_reason reason,
                   const struct outcome_place *place)
{
    enum outcome_code code = outcome_code(outcome, reason, place->leader != NULL);
    switch (code) {
    case OUTCOME_MOVED:
        (void)resp_error(reply, "MOVED %u %s", (unsigned)place->slot, place->leader);
        return;
    case OUTCOME_LOADING: reply_loading(reply, place); return;
    case OUTCOME_CLUSTERDOWN:
    case OUTCOME_TRYAGAIN:
    case OUTCOME_NOSPACE:
    case OUTCOME_ERR:
    case OUTCOME_UNCERTAIN: break;
    }
    char about[ABOUT_MAX] = "";
    bool config = reason == KELP_R_PENDING || reason == KELP_R_CONFIG_CHANGED;
    if (place->member != 0)
        (void)snprintf(about, sizeof about, " node=%" PRIu64, place->member);
    else if (reason == KELP_R_REMOVED && place->other != NULL)
        (void)snprintf(about, sizeof about, " at=%s", place->other);
    else if (reason == KELP_R_STALE_BEYOND)
        about_ages(&place->ages, about, sizeof about);
    else if (config && place->index != 0)
        (void)snprintf(about, sizeof about, " index=%" PRIu64, place->index);
    (void)resp_error(reply, "%s %s%s: %s; %s", outcome_word(code), kelp_reason_name(reason), about,
                     kelp_reason_words(reason), kelp_reason_advice(reason));
}
