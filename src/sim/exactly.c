/* SPDX-License-Identifier: Apache-2.0 */
/* exactly.c - which committed commands of sessions take effect, by a few lines of our own. [§6.3]
 *
 * A command in a session, or under a key, stands in the log as often as it was asked for: the first
 * time it is executed, if its session is known then and its number was not given up. What else is
 * right follows in answer.c: every attempt is answered with the result of that one execution, and
 * no state shows a second one. Runs are too short and sessions too few for any limit but that of
 * age, which a clock that jumps may meet: whoever is told otherwise that its session or its result
 * is gone was told wrong. A key that is let go for its age is new and would be executed again, so
 * clients have keys only where no clock jumps. */
#include <stdlib.h>

#include "base/min.h"
#include "rsm/sessions.h"
#include "sim/checker_room.h"

typedef unsigned long long ull;

static struct checked_session *session_find(const struct checker *c, uint64_t id)
{
    for (size_t i = c->session_count; i > 0; i--) { /* the newest are asked for most */
        if (c->sessions[i - 1].id == id) return &c->sessions[i - 1];
    }
    return NULL;
}

void checker_session_committed(struct checker *c, kelp_index index)
{
    if (c->session_count == c->session_room) {
        size_t room = max_u64(2 * c->session_room, 32);
        struct checked_session *sessions = realloc(c->sessions, room * sizeof *sessions);
        if (sessions == NULL) {
            checker_fail(c, RULE_W02, "no memory for sessions");
            return;
        }
        c->sessions = sessions;
        c->session_room = room;
    }
    c->sessions[c->session_count++] =
        (struct checked_session){.id = index, .used_ns = c->commit_time};
}

bool checker_once_executes(struct checker *c, const struct checker_once *once, kelp_index before)
{
    if (once->fields.session != 0) {
        struct checked_session *s = session_find(c, once->fields.session);
        if (s == NULL) return false;
        if (c->commit_time - s->used_ns >= SESSIONS_AGE_NS) {
            *s = c->sessions[--c->session_count];
            return false;
        }
        s->used_ns = c->commit_time;
        s->acknowledged = max_u64(s->acknowledged, once->fields.acknowledged);
        if (once->fields.sequence <= s->acknowledged) return false;
    }
    return before == 0;
}

void checker_once_refused(struct checker *c, const struct checker_once *once, uint64_t value,
                          enum kelp_reason reason)
{
    const struct checked_session *s = session_find(c, once->fields.session);
    bool unknown = once->fields.session != 0 && s == NULL;
    bool over = s != NULL && once->fields.sequence <= s->acknowledged;
    bool wrong = (reason == KELP_R_UNKNOWN_SESSION && !unknown) ||
                 (reason == KELP_R_SEQUENCE_OVER && !over) || reason == KELP_R_ONCE_MISUSED;
    if (wrong)
        checker_fail(c, RULE_S05, "value %llx, number %llu of session %llu, is refused: %s",
                     (ull)value, (ull)once->fields.sequence, (ull)once->fields.session,
                     kelp_reason_name(reason));
}
