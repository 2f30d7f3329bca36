/* SPDX-License-Identifier: Apache-2.0 */
/* snapshots.c - RAFT SNAPSHOT NOW and LIST, and the same over HTTP: this node's own snapshots.
 *
 * NOW answers at once with the index that the snapshot will hold at least; that it is there says
 * LIST, where the one that is being taken stands first. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "proto/resp_reply.h"
#include "server/commands.h"
#include "server/http_room.h"
#include "server/server.h"

struct now {
    struct kelp_pos pos;
    bool unchanged;
    const char *wrong; /* NULL: nothing is */
};

static struct now snapshot_now(struct server *s)
{
    struct now now = {.wrong = NULL};
    enum kelp_error error = node_snapshot_now(s->node, &now.pos);
    now.unchanged = error == KELP_E_NOT_FOUND;
    if (error == KELP_E_NOT_SUPPORTED)
        now.wrong = "this state machine has no snapshots";
    else if (error != KELP_OK && !now.unchanged)
        now.wrong =
            "no snapshot is taken now: this node does not run, has no data, fetches one, or has "
            "a restore staged";
    else if (now.unchanged && now.pos.index == 0)
        now.wrong = "there is nothing to take a snapshot of";
    return now;
}

static void run_now(const struct call *call)
{
    char text[96];
    struct now now = snapshot_now(call->server);
    if (now.wrong != NULL) {
        (void)resp_error(call->reply, "ERR %s", now.wrong);
        return;
    }
    (void)snprintf(text, sizeof text, "OK index=%" PRIu64 " term=%" PRIu64 " %s", now.pos.index,
                   now.pos.term.v, now.unchanged ? "unchanged" : "started");
    (void)resp_simple(call->reply, text);
}

static void line_add(const struct call *call, struct kelp_pos pos, uint64_t bytes,
                     const char *state)
{
    char line[128];
    (void)snprintf(line, sizeof line,
                   "index:%" PRIu64 " term:%" PRIu64 " bytes:%" PRIu64 " state:%s", pos.index,
                   pos.term.v, bytes, state);
    (void)resp_bulk_text(call->reply, line);
}

static void run_list(const struct call *call)
{
    struct node_snapshot rows[NODE_SNAPSHOTS_MAX];
    struct driver_status *status = malloc(sizeof *status);
    if (status == NULL) {
        (void)resp_error(call->reply, "ERR out of memory");
        return;
    }
    driver_status(node_driver(call->server->node), status);
    const struct driver_snapshot_status *open = &status->snapshot;
    size_t count = node_snapshots(call->server->node, rows);
    (void)resp_array(call->reply, count + (open->open.index != 0));
    if (open->open.index != 0) line_add(call, open->open, open->open_bytes, "taking");
    for (size_t i = 0; i < count; i++)
        line_add(call, rows[i].pos, rows[i].bytes, rows[i].state);
    free(status);
}

void run_raft_snapshot(const struct call *call)
{
    struct kelp_bytes word = call->argv[2];
    bool now = word.len == 3 && strncasecmp((const char *)word.data, "now", 3) == 0;
    bool list = word.len == 4 && strncasecmp((const char *)word.data, "list", 4) == 0;
    if (now)
        run_now(call);
    else if (list)
        run_list(call);
    else
        (void)resp_error(call->reply,
                         "ERR BAD_REQUEST: it is RAFT SNAPSHOT NOW or RAFT SNAPSHOT LIST");
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

static json_t *row_json(struct kelp_pos pos, uint64_t bytes, const char *state)
{
    return json_pack("{s:I,s:I,s:I,s:s}", "index", (json_int_t)pos.index, "term",
                     (json_int_t)pos.term.v, "bytes", (json_int_t)bytes, "state", state);
}

enum MHD_Result http_page_snapshots(struct http_request *r)
{
    struct server *s = r->http->server;
    struct node_snapshot rows[NODE_SNAPSHOTS_MAX];
    struct driver_status *status = malloc(sizeof *status);
    if (status == NULL) return http_answer_error(r, 500, "NO_MEMORY", "out of memory", "");
    driver_status(node_driver(s->node), status);
    const struct driver_snapshot_status *open = &status->snapshot;
    size_t count = node_snapshots(s->node, rows);
    json_t *list = json_array();
    if (open->open.index != 0)
        (void)json_array_append_new(list, row_json(open->open, open->open_bytes, "taking"));
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, row_json(rows[i].pos, rows[i].bytes, rows[i].state));
    json_t *page = json_pack("{s:I,s:I,s:o}", "taken", (json_int_t)open->taken, "failed",
                             (json_int_t)open->failed, "snapshots", list);
    free(status);
    return http_answer_json(r, 200, page);
}

enum MHD_Result http_snapshot_now(struct http_request *r)
{
    struct now now = snapshot_now(r->http->server);
    if (now.wrong != NULL) return http_answer_error(r, 409, "NOT_NOW", now.wrong, "");
    return http_answer_json(r, now.unchanged ? 200 : 202,
                            json_pack("{s:I,s:I,s:b}", "index", (json_int_t)now.pos.index, "term",
                                      (json_int_t)now.pos.term.v, "unchanged", now.unchanged));
}
