/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - a plan in the words of people and of programs. */
#ifndef SERVER_PLAN_H
#define SERVER_PLAN_H

#include "base/buf.h"
#include "kelp/plan.h"

#define PLAN_TEXT_MAX 8192u /* of any plan's words */
#define PLAN_LINE_MAX 1024u

/* plan_line - the verdict as "may:no reason:QUORUM_AT_RISK ..." in one line of name:value pairs;
 * plan_member_line - the same of one member. Both return the length. */
size_t plan_line(const struct kelp_plan *plan, char *out, size_t size);
size_t plan_member_line(const struct kelp_plan_member *row, char *out, size_t size);

/* plan_words - sentences for people, one a line; PLAN_TEXT_MAX is enough. Returns the length. */
size_t plan_words(const struct kelp_plan *plan, char *out, size_t size);

/* plan_reply - the answer to RAFT PLAN, of the driver's result: an array of the line, the members'
 * lines and the sentences. */
void plan_reply(struct buf *reply, struct kelp_bytes bytes);

#endif
