/* SPDX-License-Identifier: Apache-2.0 */
/* snapshots.c - RAFT SNAPSHOT NOW, LIST and READ, and the same over HTTP: this node's own
 * snapshots.
 *
 * NOW answers at once with the index that the snapshot will hold at least; that it is there says
 * LIST, where the one that is being taken stands first. READ gives the piece of one that begins at
 * an offset, and how large the file is: the head at 0, then what is behind the piece before. All of
 * them together are the file as it lies in DIR/snap. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/decimal.h"
#include "proto/resp_reply.h"
#include "server/client.h"
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
        now.wrong = "no snapshot is taken now: this node does not run, has no data, or fetches one";
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

/* READ index term offset */
static void run_read(const struct call *call)
{
    int64_t numbers[3];
    for (size_t i = 0; i < 3; i++) {
        if (decimal_parse(call->argv[3 + i], &numbers[i]) && numbers[i] >= 0) continue;
        (void)resp_error(call->reply, "ERR BAD_REQUEST: index, term and offset are numbers");
        return;
    }
    client_copy(call->client, kelp_pos_of((kelp_index)numbers[0], (uint64_t)numbers[1]),
                (uint64_t)numbers[2], call->reply);
}

void run_raft_snapshot(const struct call *call)
{
    struct kelp_bytes word = call->argv[2];
    if (call->argc == 3 && word_is(word, "now"))
        run_now(call);
    else if (call->argc == 3 && word_is(word, "list"))
        run_list(call);
    else if (call->argc == 6 && word_is(word, "read"))
        run_read(call);
    else
        (void)resp_error(call->reply, "ERR BAD_REQUEST: it is RAFT SNAPSHOT NOW, LIST, or READ "
                                      "index term offset");
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
