/* SPDX-License-Identifier: Apache-2.0 */
/* http_room.h - what the two files of the HTTP side share: http.c (connections) and pages.c (what
 * is answered). */
#ifndef SERVER_HTTP_ROOM_H
#define SERVER_HTTP_ROOM_H

#include <microhttpd.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/buf.h"
#include "driver/driver.h"

/* One connection, whatever it is doing. */
struct visitor {
    TAILQ_ENTRY(visitor) link;
    struct MHD_Connection *connection;
    bool asks;    /* a request has begun and is not answered */
    bool waiting; /* .. for its outcome: suspended */
    bool sent_away;
};

TAILQ_HEAD(visitor_list, visitor);

struct http {
    struct server *server;
    struct MHD_Daemon *daemon; /* NULL: closed */
    uv_poll_t poll;
    uv_timer_t timer;
    uint64_t open_requests;       /* suspended */
    struct visitor_list visitors; /* the one that moved last is last */
    uint64_t visitor_count;       /* without those sent away */
};

enum http_state { HTTP_READING, HTTP_WAITING, HTTP_DONE };

struct http_request {
    struct http *http;
    struct MHD_Connection *connection;
    struct visitor *visitor; /* NULL: there was no memory for it */
    struct driver_line *line;
    enum http_state state;
    bool found;                /* POST /v1/raft/bootstrap */
    bool transfer;             /* POST /v1/raft/transfer; else about a key */
    uint8_t code;              /* of the machine's command */
    bool change;               /* of the membership; key is its verb then */
    bool plan;                 /* of a change */
    struct kelp_read_how read; /* X-Kelp-Read */
    struct driver_once once;   /* Idempotency-Key */
    struct http_copy *copy;    /* GET /v1/snapshot; owned */
    struct buf key, body, result;
    struct driver_outcome outcome; /* its result is in `result` */
};

typedef enum MHD_Result (*http_page_fn)(struct http_request *r);

/* http_page - the page of a path, for GET; NULL: there is none. */
http_page_fn http_page(const char *path);

enum MHD_Result http_answer_error(struct http_request *r, unsigned status, const char *name,
                                  const char *words, const char *advice);
enum MHD_Result http_answer_method(struct http_request *r, const char *allowed);
enum MHD_Result http_answer_too_long(struct http_request *r);
enum MHD_Result http_answer_outcome(struct http_request *r, const struct driver_outcome *outcome);
enum MHD_Result http_answer_json(struct http_request *r, unsigned status, struct json_t *object);
enum MHD_Result http_answer_done(struct http_request *r); /* HTTP_DONE */

enum MHD_Result http_page_members(struct http_request *r);   /* http_members.c */
enum MHD_Result http_page_snapshots(struct http_request *r); /* snapshots.c */
enum MHD_Result http_snapshot_now(struct http_request *r);
enum MHD_Result http_rejoin(struct http_request *r); /* rejoin.c: POST /v1/raft/rejoin */
enum MHD_Result http_reload(struct http_request *r); /* reload.c: POST /v1/raft/reload */
enum MHD_Result http_page_config(struct http_request *r);
/* http_wait - suspended until http_resume, with one open request in r's line. */
enum MHD_Result http_wait(struct http_request *r);
void http_resume(struct http_request *r);
enum MHD_Result http_copy_start(struct http_request *r);  /* http_copy.c: GET /v1/snapshot */
enum MHD_Result http_answer_copy(struct http_request *r); /* HTTP_DONE */
void http_copy_end(struct http_request *r);
/* http_decode - a part of an address as the bytes that were meant; false: out of memory, or past
 * what out may hold. The library leaves escapes alone, because bytes that are meant may be NUL. */
bool http_decode(const char *text, struct buf *out);
/* http_change - POST /v1/raft/VERB, a change of the membership. */
enum MHD_Result http_change(struct http_request *r, const char *verb);
/* http_plan - GET or POST /v1/raft/plan; http_answer_plan - its answer. */
enum MHD_Result http_plan(struct http_request *r, const char *method);
enum MHD_Result http_answer_plan(struct http_request *r);
/* http_change_start - hand it, or the question what it would do (verb "plan"), to the driver;
 * answered when that is done. */
enum MHD_Result http_change_start(struct http_request *r, const char *verb,
                                  const struct wire_change *change);
enum MHD_Result http_bootstrap(struct http_request *r); /* POST /v1/raft/bootstrap */
enum MHD_Result http_found_start(struct http_request *r, bool if_empty);
enum MHD_Result http_answer_found(struct http_request *r);    /* HTTP_DONE */
enum MHD_Result http_answer_transfer(struct http_request *r); /* HTTP_DONE */
/* http_target - the member that the body names, 0: none. false: it is not {"id": N}. */
bool http_target(const struct http_request *r, kelp_id *target);

#endif
