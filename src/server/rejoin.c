/* SPDX-License-Identifier: Apache-2.0 */
/* rejoin.c - RAFT REJOIN and POST /v1/raft/rejoin: this node gives up its state for that of a
 * healthy member; see driver/rejoin.c.
 *
 * Answered at once: that it has ended says RAFT STATUS, where rejoin is "no" again and rejoined one
 * more. */
#include <jansson.h>

#include "base/decimal.h"
#include "proto/resp_reply.h"
#include "server/commands.h"
#include "server/http_room.h"
#include "server/outcome.h"
#include "server/server.h"

struct wish {
    kelp_id from; /* 0: any */
    bool force;
};

/* [FROM id] [FORCE], in any order. */
static bool wish_read(const struct call *call, struct wish *wish)
{
    *wish = (struct wish){.from = 0};
    for (size_t i = 2; i < call->argc; i++) {
        int64_t id = 0;
        if (word_is(call->argv[i], "force") && !wish->force) {
            wish->force = true;
            continue;
        }
        bool named = word_is(call->argv[i], "from") && wish->from == 0 && i + 1 < call->argc &&
                     decimal_parse(call->argv[i + 1], &id) && id > 0;
        if (!named) return false;
        wish->from = (kelp_id)id;
        i++;
    }
    return true;
}

void run_raft_rejoin(const struct call *call)
{
    struct wish wish;
    if (!wish_read(call, &wish)) {
        (void)resp_error(call->reply, "ERR BAD_REQUEST: it is RAFT REJOIN [FROM id] [FORCE]");
        return;
    }
    enum kelp_reason reason = node_rejoin(call->server->node, wish.from, wish.force);
    if (reason != KELP_R_NONE) {
        (void)resp_error(
            call->reply, "%s %s: %s; %s", outcome_word(outcome_code(KELP_REFUSED, reason, false)),
            kelp_reason_name(reason), kelp_reason_words(reason), kelp_reason_advice(reason));
        return;
    }
    (void)resp_simple(call->reply, "OK started");
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

/* {"from": 2, "force": true}, each of them or none. */
static bool body_read(const struct http_request *r, struct wish *wish)
{
    *wish = (struct wish){.from = 0};
    if (r->body.len == 0) return true;
    json_t *body = json_loadb((const char *)r->body.data, r->body.len, 0, NULL);
    const json_t *from = json_object_get(body, "from"), *force = json_object_get(body, "force");
    size_t known = (from != NULL ? 1u : 0u) + (force != NULL ? 1u : 0u);
    bool right = json_is_object(body) && json_object_size(body) == known &&
                 (from == NULL || (json_is_integer(from) && json_integer_value(from) > 0)) &&
                 (force == NULL || json_is_boolean(force));
    if (right && from != NULL) wish->from = (kelp_id)json_integer_value(from);
    if (right) wish->force = json_is_true(force);
    json_decref(body);
    return right;
}

enum MHD_Result http_rejoin(struct http_request *r)
{
    struct wish wish;
    if (!body_read(r, &wish))
        return http_answer_error(r, 400, "BAD_REQUEST",
                                 "the body must be {\"from\": ID, \"force\": true}, or less", "");
    enum kelp_reason reason = node_rejoin(r->http->server->node, wish.from, wish.force);
    if (reason == KELP_R_NONE) return http_answer_json(r, 202, json_pack("{s:b}", "started", 1));
    enum outcome_code code = outcome_code(KELP_REFUSED, reason, false);
    return http_answer_error(r, outcome_http_status(code, reason), kelp_reason_name(reason),
                             kelp_reason_words(reason), kelp_reason_advice(reason));
}
