/* SPDX-License-Identifier: Apache-2.0 */
/* http_copy.c - GET /v1/snapshot: the newest snapshot of this node, byte for byte.
 *
 *   asked --its head is read--> length known, answered --piece--> sent --> the next .. --> all
 *                 |                                        |
 *                 '--refused: an error as JSON             '--refused: closed before the length
 *
 * A piece is read when the one before it was taken, verified where it is read, and all of them
 * together keep to snapshot-send-bytes (driver/copy.c). So a client that takes its time costs one
 * piece of memory and nothing of the disk, and a snapshot that goes or rots in the middle is an
 * answer that is too short. While a piece is read the connection is suspended. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "server/http_room.h"
#include "server/server.h"

#define BLOCK     (64u * 1024)  /* given to the library at once, at most */
#define PIECE_MAX (256u * 1024) /* of driver_copy */

struct http_copy {
    struct kelp_pos pos;
    uint64_t size;    /* of the file; 0: not known yet */
    uint64_t at;      /* where the piece begins */
    struct buf piece; /* not taken whole yet */
    bool failed;
};

static void piece_told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct http_request *r = ctx;
    struct http_copy *c = r->copy;
    uint64_t size = 0;
    struct kelp_bytes piece = bytes_of(NULL, 0);
    (void)token;
    r->outcome = *o;
    r->outcome.result = bytes_of(NULL, 0);
    c->failed = o->outcome != KELP_DONE || !driver_copy_read(o->result, &size, &piece) ||
                piece.len == 0 || (c->size != 0 && size != c->size) ||
                buf_append(&c->piece, piece) != KELP_OK;
    c->size = size;
    (void)driver_line_backlog(node_driver(r->http->server->node), r->line, c->piece.len);
    http_resume(r);
}

static bool piece_ask(struct http_request *r)
{
    struct server *s = r->http->server;
    kelp_ns now = node_now(s->node), deadline = now + s->settings.request_timeout_ms * 1000000u;
    const struct http_copy *c = r->copy;
    if (s->stage != SERVER_RUNNING ||
        !driver_copy(node_driver(s->node), now, r->line, 1, c->pos, c->at, deadline))
        return false;
    node_poke(s->node);
    return true;
}

enum MHD_Result http_copy_start(struct http_request *r)
{
    struct server *s = r->http->server;
    struct driver_status *status = malloc(sizeof *status);
    r->copy = calloc(1, sizeof *r->copy);
    if (status == NULL || r->copy == NULL) {
        free(status);
        return http_answer_error(r, 500, "NO_MEMORY", "out of memory", "try again");
    }
    driver_status(node_driver(s->node), status);
    r->copy->pos = status->snapshot.last;
    free(status);
    buf_init(&r->copy->piece, PIECE_MAX);
    if (r->copy->pos.index == 0)
        return http_answer_error(r, 404, "NOT_FOUND", "this node has no snapshot",
                                 "POST /v1/raft/snapshot takes one");
    r->line = driver_line_open(node_driver(s->node), piece_told, r);
    if (r->line != NULL && piece_ask(r)) return http_wait(r);
    return http_answer_error(r, 503, "BUSY", "no snapshot is read now", "try again");
}

/* ---- the body ------------------------------------------------------------------------------ */

static ssize_t body_read(void *ctx, uint64_t pos, char *out, size_t room)
{
    struct http_request *r = ctx;
    struct http_copy *c = r->copy;
    ASSERT(c->failed || (pos >= c->at && pos - c->at <= c->piece.len));
    if (c->failed) return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t used = (size_t)(pos - c->at), left = c->piece.len - used;
    if (left > 0) {
        size_t count = (size_t)min_u64(left, room);
        memcpy(out, c->piece.data + used, count);
        return (ssize_t)count;
    }
    c->at = pos;
    buf_clear(&c->piece);
    (void)driver_line_backlog(node_driver(r->http->server->node), r->line, 0);
    if (!piece_ask(r)) return MHD_CONTENT_READER_END_WITH_ERROR;
    (void)http_wait(r);
    return 0;
}

enum MHD_Result http_answer_copy(struct http_request *r)
{
    const struct http_copy *c = r->copy;
    char index[24], name[80];
    if (r->outcome.outcome != KELP_DONE) return http_answer_outcome(r, &r->outcome);
    if (c->failed) return http_answer_error(r, 500, "NO_MEMORY", "out of memory", "try again");
    struct MHD_Response *response =
        MHD_create_response_from_callback(c->size, BLOCK, body_read, r, NULL);
    if (response == NULL) return MHD_NO;
    (void)snprintf(index, sizeof index, "%" PRIu64, c->pos.index);
    (void)snprintf(name, sizeof name, "attachment; filename=\"%020" PRIu64 "-%020" PRIu64 ".snap\"",
                   c->pos.index, c->pos.term.v);
    enum MHD_Result fine =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
    if (fine == MHD_YES) fine = MHD_add_response_header(response, "X-Kelp-Index", index);
    if (fine == MHD_YES)
        fine = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_DISPOSITION, name);
    if (fine == MHD_YES) fine = MHD_queue_response(r->connection, 200, response);
    MHD_destroy_response(response);
    return fine;
}

void http_copy_end(struct http_request *r)
{
    if (r->copy == NULL) return;
    buf_close(&r->copy->piece);
    free(r->copy);
    r->copy = NULL;
}
