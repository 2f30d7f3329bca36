/* SPDX-License-Identifier: Apache-2.0 */
/* http.c - libmicrohttpd inside our loop; see http.h.
 *
 * The daemon has no thread: its epoll descriptor is polled by libuv, its next timeout is a timer of
 * ours, and all of it happens on the loop, so nothing needs a lock. A request for a key is
 * suspended until the driver has its outcome:
 *
 *   READING --whole body--> WAITING (suspended) --outcome--> DONE (resumed, answered)
 *
 * Connections that do nothing must not keep out those that ask, so at http-connections-max the one
 * that did nothing for longest gives way to a new one.
 * Invariants: a suspended connection has an open request in its own line; it is resumed exactly
 * once. */
#include "server/http.h"

#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/decimal.h"
#include "kelp/session.h"
#include "kv/codec.h"
#include "server/http_room.h"
#include "server/log.h"
#include "server/reads.h"
#include "server/server.h"

#define IDEMPOTENCY_KEY "Idempotency-Key"
#define IDLE_SECONDS    10u
#define VISITORS_SPARE  16u /* connections on their way out when new ones come */

/* ---- visitors ------------------------------------------------------------------------------ */

static void visitor_moved(struct http *h, struct visitor *v)
{
    if (v == NULL) return;
    TAILQ_REMOVE(&h->visitors, v, link);
    TAILQ_INSERT_TAIL(&h->visitors, v, link);
}

/* Without a request rather than in the middle of one; nobody whose outcome is on its way. */
static struct visitor *visitor_idlest(struct http *h)
{
    struct visitor *v, *slow = NULL;
    TAILQ_FOREACH(v, &h->visitors, link)
    {
        if (v->sent_away || v->waiting) continue;
        if (!v->asks) return v;
        if (slow == NULL) slow = v;
    }
    return slow;
}

/* The library closes it when it sees the end. */
static void visitor_send_away(struct http *h, struct visitor *v)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(v->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL || shutdown(info->connect_fd, SHUT_RDWR) != 0) return; /* it has gone itself */
    v->sent_away = true;
    h->visitor_count--;
}

static void on_visit(void *ctx, struct MHD_Connection *connection, void **place,
                     enum MHD_ConnectionNotificationCode code)
{
    struct http *h = ctx;
    struct visitor *v = *place;
    switch (code) {
    case MHD_CONNECTION_NOTIFY_STARTED:
        if (h->visitor_count >= h->server->settings.http_connections_max) {
            struct visitor *idlest = visitor_idlest(h);
            if (idlest != NULL) visitor_send_away(h, idlest);
        }
        v = calloc(1, sizeof *v);
        *place = v;
        if (v == NULL) return; /* then it only cannot be sent away */
        v->connection = connection;
        TAILQ_INSERT_TAIL(&h->visitors, v, link);
        h->visitor_count++;
        return;
    case MHD_CONNECTION_NOTIFY_CLOSED:
        if (v == NULL) return;
        if (!v->sent_away) h->visitor_count--;
        TAILQ_REMOVE(&h->visitors, v, link);
        free(v);
        *place = NULL;
        return;
    }
}

static struct visitor *visitor_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/* ---- requests for a key
 * ----------------------------------------------------------------------- */

void http_resume(struct http_request *r)
{
    ASSERT(r->state == HTTP_WAITING);
    r->state = HTTP_DONE;
    r->http->open_requests--;
    if (r->visitor != NULL) r->visitor->waiting = false;
    MHD_resume_connection(r->connection);
    server_wake(r->http->server);
}

static void request_done(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct http_request *r = ctx;
    (void)token;
    r->outcome = *o;
    r->outcome.result = bytes_of(NULL, 0);
    buf_init(&r->result, KV_REPLY_BYTES_MAX + 64);
    if (o->outcome == KELP_DONE) (void)buf_append(&r->result, o->result);
    (void)driver_line_backlog(node_driver(r->http->server->node), r->line, r->result.len);
    http_resume(r);
}

/* Submit GET, SET or DEL for the key. false: nothing was submitted, reason says why. */
static bool key_submit(struct http_request *r, const struct kv_command *command,
                       enum kelp_reason *reason)
{
    struct server *s = r->http->server;
    struct driver *d = node_driver(s->node);
    struct kelp_bytes argv[3] = {bytes_of(command->name, command->name_len), buf_bytes(&r->key),
                                 buf_bytes(&r->body)};
    struct kelp_bytes nobody = {0};
    size_t argc = command->code == KV_SET ? 3 : 2, len = kv_command_size(argv, argc);
    bool forward = s->settings.on_follower == ON_FOLLOWER_FORWARD;
    kelp_ns now = node_now(s->node), deadline = now + s->settings.request_timeout_ms * 1000000u;
    *reason = s->stage == SERVER_RUNNING ? KELP_R_BUSY : KELP_R_SHUTDOWN;
    if (s->stage != SERVER_RUNNING) return false;
    if (r->line == NULL) r->line = driver_line_open(d, request_done, r);
    if (r->line == NULL) return false;
    bool write = (command->flags & KV_FLAG_WRITE) != 0;
    if (write && r->once.kind == DRIVER_ONCE_NOT) {
        uint8_t *room = driver_reserve(d, len, reason);
        if (room == NULL) return false;
        kv_command_encode(command, argv, argc, room);
        driver_write(d, now, r->line, 1, len, nobody, deadline, forward);
    } else {
        struct buf question;
        buf_init(&question, len);
        bool asked = buf_reserve(&question, len) == KELP_OK;
        if (asked) {
            kv_command_encode(command, argv, argc, question.data);
            struct driver_question q = {.bytes = bytes_of(question.data, len),
                                        .how = r->read,
                                        .deadline = deadline,
                                        .forward = forward};
            asked = write ? driver_once(d, now, r->line, 1, &r->once, q.bytes, nobody, deadline,
                                        forward)
                          : driver_read(d, now, r->line, 1, &q);
        }
        buf_close(&question);
        if (!asked) return false;
    }
    node_poke(s->node);
    return true;
}

static bool transfer_submit(struct http_request *r, kelp_id target, enum kelp_reason *reason)
{
    struct server *s = r->http->server;
    struct driver *d = node_driver(s->node);
    struct kelp_bytes nobody = {0};
    bool forward = s->settings.on_follower == ON_FOLLOWER_FORWARD;
    kelp_ns now = node_now(s->node), deadline = now + s->settings.request_timeout_ms * 1000000u;
    *reason = s->stage == SERVER_RUNNING ? KELP_R_BUSY : KELP_R_SHUTDOWN;
    if (s->stage != SERVER_RUNNING) return false;
    r->line = driver_line_open(d, request_done, r);
    if (r->line == NULL || !driver_transfer(d, now, r->line, 1, target, nobody, deadline, forward))
        return false;
    node_poke(s->node);
    return true;
}

static enum MHD_Result refused(struct http_request *r, enum kelp_reason reason)
{
    struct driver_outcome outcome = {.outcome = KELP_REFUSED, .reason = reason};
    return http_answer_outcome(r, &outcome);
}

enum MHD_Result http_wait(struct http_request *r)
{
    r->state = HTTP_WAITING;
    r->http->open_requests++;
    if (r->visitor != NULL) r->visitor->waiting = true;
    MHD_suspend_connection(r->connection);
    return MHD_YES;
}

static enum MHD_Result key_start(struct http_request *r)
{
    enum kelp_reason reason = KELP_R_NONE;
    char wrong[READS_WRONG_MAX];
    const char *level = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "X-Kelp-Read");
    if (level != NULL && !reads_parse_text(level, &r->read, wrong))
        return http_answer_error(r, 400, "ERR", "X-Kelp-Read is no read level", wrong);
    const char *key = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, IDEMPOTENCY_KEY);
    if (key != NULL && key[0] == '\0')
        return http_answer_error(r, 400, "ERR", IDEMPOTENCY_KEY " is empty", "");
    if (key != NULL)
        r->once = (struct driver_once){.kind = DRIVER_ONCE_COMMAND,
                                       .once = kelp_once_key(bytes_of(key, strlen(key)))};
    bool submitted = key_submit(r, kv_command_of_code(r->code), &reason);
    return submitted ? http_wait(r) : refused(r, reason);
}

enum MHD_Result http_change_start(struct http_request *r, const char *verb,
                                  const struct wire_change *change)
{
    struct server *s = r->http->server;
    struct driver *d = node_driver(s->node);
    struct kelp_bytes nobody = {0};
    bool forward = s->settings.on_follower == ON_FOLLOWER_FORWARD;
    kelp_ns now = node_now(s->node), deadline = now + s->settings.change_timeout_ms * 1000000u;
    r->plan = strcmp(verb, "plan") == 0;
    r->change = !r->plan;
    buf_init(&r->key, KV_KEY_BYTES_MAX);
    if (buf_append(&r->key, bytes_of(verb, strlen(verb))) != KELP_OK) return MHD_NO;
    if (s->stage != SERVER_RUNNING) return refused(r, KELP_R_SHUTDOWN);
    if (r->line == NULL) r->line = driver_line_open(d, request_done, r);
    bool asked = r->line != NULL &&
                 (r->plan ? driver_plan(d, now, r->line, 1, change, nobody, deadline, forward)
                          : driver_change(d, now, r->line, 1, change, nobody, deadline, forward));
    if (!asked) return refused(r, KELP_R_BUSY);
    node_poke(s->node);
    return http_wait(r);
}

enum MHD_Result http_found_start(struct http_request *r, bool if_empty)
{
    struct server *s = r->http->server;
    struct driver *d = node_driver(s->node);
    kelp_ns now = node_now(s->node), deadline = now + s->settings.request_timeout_ms * 1000000u;
    const char *why = NULL;
    if (s->stage != SERVER_RUNNING) return refused(r, KELP_R_SHUTDOWN);
    r->found = true;
    r->line = driver_line_open(d, request_done, r);
    bool asked = r->line != NULL && driver_found(d, now, r->line, 1, if_empty, deadline, &why);
    if (why != NULL) return http_answer_error(r, 400, "HAS_CLUSTER", why, "");
    if (!asked) return refused(r, KELP_R_BUSY);
    node_poke(s->node);
    return http_wait(r);
}

/* A web page may make its reader's browser post here; browsers say where the page is from. */
static bool is_foreign_page(const struct http_request *r)
{
    const char *origin = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Origin");
    const char *host = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Host");
    if (origin == NULL) return false;
    return host == NULL || strncmp(origin, "http://", 7) != 0 || strcmp(origin + 7, host) != 0;
}

/* A GET names no origin; browsers say all the same whether a page elsewhere made it. It matters for
 * one that has this node dial the address it names. */
static bool is_foreign_fetch(const struct http_request *r)
{
    const char *site =
        MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Sec-Fetch-Site");
    return site != NULL && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
}

static enum MHD_Result route_transfer(struct http_request *r, const char *method)
{
    kelp_id target;
    enum kelp_reason reason = KELP_R_NONE;
    if (strcmp(method, "POST") != 0) return http_answer_method(r, "POST");
    if (is_foreign_page(r))
        return http_answer_error(r, 403, "FORBIDDEN", "a page of another origin posted this", "");
    if (!http_target(r, &target))
        return http_answer_error(r, 400, "ERR", "the body is not {\"id\": N}",
                                 "no body: the best voter");
    r->transfer = true;
    return transfer_submit(r, target, &reason) ? http_wait(r) : refused(r, reason);
}

static enum MHD_Result route_own(struct http_request *r, const char *method,
                                 enum MHD_Result (*run)(struct http_request *r))
{
    if (strcmp(method, "POST") != 0) return http_answer_method(r, "POST");
    if (is_foreign_page(r))
        return http_answer_error(r, 403, "FORBIDDEN", "a page of another origin posted this", "");
    return run(r);
}

static enum MHD_Result route_drain(struct http_request *r, const char *method,
                                   enum driver_drain_wish wish)
{
    struct server *s = r->http->server;
    struct driver *d = node_driver(s->node);
    kelp_ns now = node_now(s->node), deadline = now + s->settings.request_timeout_ms * 1000000u;
    if (strcmp(method, "POST") != 0) return http_answer_method(r, "POST");
    if (is_foreign_page(r))
        return http_answer_error(r, 403, "FORBIDDEN", "a page of another origin posted this", "");
    if (s->stage != SERVER_RUNNING) return refused(r, KELP_R_SHUTDOWN);
    r->transfer = true;
    r->line = driver_line_open(d, request_done, r);
    if (r->line == NULL || !driver_drain(d, now, r->line, 1, wish, deadline))
        return refused(r, KELP_R_BUSY);
    node_poke(s->node);
    return http_wait(r);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %41 and the like; a stray % stands for itself. */
bool http_decode(const char *text, struct buf *out)
{
    for (const char *at = text; *at != '\0'; at++) {
        uint8_t byte = (uint8_t)*at;
        if (byte == '%' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
            byte = (uint8_t)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
            at += 2;
        }
        if (buf_append(out, bytes_of(&byte, 1)) != KELP_OK) return false;
    }
    return true;
}

static enum MHD_Result route_key(struct http_request *r, const char *method, const char *key)
{
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        r->code = KV_GET;
    else if (strcmp(method, "PUT") == 0)
        r->code = KV_SET;
    else if (strcmp(method, "DELETE") == 0)
        r->code = KV_DEL;
    else
        return http_answer_method(r, "GET, PUT, DELETE");
    buf_init(&r->key, KV_KEY_BYTES_MAX);
    if (!http_decode(key, &r->key))
        return http_answer_error(r, 500, "NO_MEMORY", "out of memory", "try again");
    return key_start(r);
}

/* ---- requests
 * --------------------------------------------------------------------------------- */

static enum MHD_Result route(struct http_request *r, const char *url, const char *method)
{
    static const char keys[] = "/v1/kv/";
    static const char raft[] = "/v1/raft/";
    static const char *const later[] = {"/v1/events", "/v1/raft", "/v1/snapshot/"};
    static const char *const verbs[] = {"add",     "promote", "demote",   "remove",   "move",
                                        "replace", "set",     "priority", "bootstrap"};
    if (strncmp(url, keys, sizeof keys - 1) == 0)
        return route_key(r, method, url + sizeof keys - 1);
    if (strcmp(url, "/v1/raft/transfer") == 0) return route_transfer(r, method);
    if (strcmp(url, "/v1/raft/drain") == 0) return route_drain(r, method, DRIVER_DRAIN);
    if (strcmp(url, "/v1/raft/undrain") == 0) return route_drain(r, method, DRIVER_UNDRAIN);
    if (strcmp(url, "/v1/raft/plan") == 0) {
        if (is_foreign_page(r) || is_foreign_fetch(r))
            return http_answer_error(r, 403, "FORBIDDEN", "a page of another origin asked this",
                                     "");
        return http_plan(r, method);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strncmp(url, raft, sizeof raft - 1) != 0 ||
            strcmp(url + sizeof raft - 1, verbs[i]) != 0)
            continue;
        if (strcmp(method, "POST") != 0) return http_answer_method(r, "POST");
        if (is_foreign_page(r))
            return http_answer_error(r, 403, "FORBIDDEN", "a page of another origin posted this",
                                     "");
        if (strcmp(verbs[i], "bootstrap") == 0) return http_bootstrap(r);
        return http_change(r, verbs[i]);
    }
    if (strcmp(url, "/v1/raft/snapshot") == 0 && strcmp(method, "POST") == 0) {
        if (is_foreign_page(r))
            return http_answer_error(r, 403, "FORBIDDEN", "a page of another origin posted this",
                                     "");
        return http_snapshot_now(r);
    }
    if (strcmp(url, "/v1/raft/reload") == 0) return route_own(r, method, http_reload);
    if (strcmp(url, "/v1/raft/rejoin") == 0) return route_own(r, method, http_rejoin);
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (strcmp(url, "/v1/snapshot") == 0)
        return get ? http_copy_start(r) : http_answer_method(r, "GET");
    http_page_fn page = http_page(url);
    if (page != NULL) return get ? page(r) : http_answer_method(r, "GET");
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (strncmp(url, later[i], strlen(later[i])) == 0)
            return http_answer_error(r, 501, "NOT_SUPPORTED", "not in this version", "");
    }
    if (strcmp(url, "/") == 0)
        return http_answer_error(r, 501, "NOT_SUPPORTED", "the dashboard is not in this version",
                                 "/v1/status and /metrics are there");
    return http_answer_error(r, 404, "NOT_FOUND", "there is no such page", "");
}

static struct http_request *request_new(struct http *h, struct MHD_Connection *connection)
{
    struct http_request *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->http = h;
    r->connection = connection;
    r->visitor = visitor_of(connection);
    if (r->visitor != NULL) r->visitor->asks = true;
    r->state = HTTP_READING;
    buf_init(&r->body, (size_t)h->server->settings.http_body_bytes_max);
    return r;
}

/* Is the body that is announced too long? Then it is refused before it comes. */
static bool too_long(const struct http_request *r)
{
    int64_t len = 0;
    const char *text =
        MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return text != NULL && decimal_parse(bytes_of(text, strlen(text)), &len) &&
           (len < 0 || (uint64_t)len > r->body.max);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **place)
{
    struct http_request *r = *place;
    (void)version;
    if (r == NULL) {
        r = request_new(ctx, connection);
        *place = r;
        if (r == NULL) return MHD_NO;
        return too_long(r) ? http_answer_too_long(r) : MHD_YES;
    }
    visitor_moved(r->http, r->visitor);
    if (*upload_len > 0) {
        (void)buf_append(&r->body, bytes_of(upload, *upload_len)); /* the error sticks */
        *upload_len = 0;
        return MHD_YES;
    }
    switch (r->state) {
    case HTTP_READING:
        if (r->body.error != KELP_OK) return http_answer_too_long(r);
        return route(r, url, method);
    case HTTP_WAITING: return MHD_YES;
    case HTTP_DONE:
        if (r->copy != NULL) return http_answer_copy(r);
        if (r->found) return http_answer_found(r);
        return r->transfer ? http_answer_transfer(r) : http_answer_done(r);
    }
    return MHD_NO;
}

static void on_end(void *ctx, struct MHD_Connection *connection, void **place,
                   enum MHD_RequestTerminationCode code)
{
    struct http *h = ctx;
    struct http_request *r = *place;
    (void)connection;
    (void)code;
    if (r == NULL) return;
    if (r->state == HTTP_WAITING) h->open_requests--;
    if (r->visitor != NULL) r->visitor->asks = r->visitor->waiting = false;
    visitor_moved(h, r->visitor);
    if (r->line != NULL) driver_line_close(node_driver(h->server->node), r->line);
    buf_close(&r->body);
    buf_close(&r->key);
    buf_close(&r->result);
    http_copy_end(r);
    free(r);
    *place = NULL;
}

/* ---- on the loop
 * ------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

static void daemon_run(struct http *h)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    (void)MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &wait_ms) == MHD_YES)
        (void)uv_timer_start(&h->timer, on_timer, wait_ms, 0);
    else
        (void)uv_timer_stop(&h->timer);
}

static void on_timer(uv_timer_t *timer)
{
    daemon_run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status; /* MHD_run finds out by itself */
    (void)events;
    daemon_run(poll->data);
}

void http_run(struct server *s)
{
    if (s->http != NULL && s->http->daemon != NULL) daemon_run(s->http);
}

uint64_t http_open_requests(const struct server *s)
{
    return s->http != NULL ? s->http->open_requests : 0;
}

/* ---- beginning and end
 * ------------------------------------------------------------------------ */

static int socket_open(struct server *s, int *out)
{
    struct sockaddr_storage address;
    int status = server_listen_address(&s->loop, s->settings.http, &address), one = 1;
    if (status != 0) return status;
    socklen_t len =
        address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (const struct sockaddr *)&address, len) != 0 || listen(fd, 256) != 0) {
        status = -errno;
        (void)close(fd);
        return status;
    }
    *out = fd;
    return 0;
}

static size_t keep_escaped(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx; /* keys may hold any byte, so they are unescaped where their length is known */
    (void)connection;
    return strlen(text);
}

static void __attribute__((format(printf, 2, 0)))
on_complaint(void *ctx, const char *format, va_list args)
{
    char line[256];
    (void)ctx;
    (void)vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    log_line(KELP_DEBUG, "http: %s", line);
}

static bool daemon_open(struct http *h, int fd)
{
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
        MHD_OPTION_EXTERNAL_LOGGER, on_complaint, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_NOTIFY_COMPLETED, on_end, h, MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_visit, h, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)h->server->settings.http_connections_max + VISITORS_SPARE,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
    if (h->daemon == NULL) return false;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    bool polled = info != NULL && uv_poll_init(&h->server->loop, &h->poll, info->epoll_fd) == 0;
    if (!polled) {
        MHD_stop_daemon(h->daemon);
        h->daemon = NULL;
        return false;
    }
    (void)uv_timer_init(&h->server->loop, &h->timer);
    h->poll.data = h->timer.data = h;
    if (uv_poll_start(&h->poll, UV_READABLE, on_poll) == 0) return true;
    http_close(h->server);
    return false;
}

bool http_open(struct server *s, char *error, size_t size)
{
    int fd = -1, status = socket_open(s, &fd);
    if (status != 0) {
        (void)snprintf(error, size, "http %s: cannot listen there: %s", s->settings.http,
                       uv_strerror(status));
        return false;
    }
    struct http *h = calloc(1, sizeof *h);
    s->http = h;
    if (h != NULL) {
        h->server = s;
        TAILQ_INIT(&h->visitors);
    }
    if (h != NULL && daemon_open(h, fd)) return true;
    if (h == NULL) (void)close(fd);
    (void)snprintf(error, size, "http %s: the HTTP server does not start", s->settings.http);
    return false;
}

void http_drain(struct server *s)
{
    if (s->http == NULL || s->http->daemon == NULL) return;
    int fd = MHD_quiesce_daemon(s->http->daemon);
    if (fd >= 0) (void)close(fd);
}

void http_close(struct server *s)
{
    struct http *h = s->http;
    if (h == NULL || h->daemon == NULL) return;
    ASSERT(h->open_requests == 0); /* the node has answered everything, so nothing is suspended */
    (void)MHD_run(h->daemon);      /* what was answered last goes out */
    (void)uv_poll_stop(&h->poll);
    uv_close((uv_handle_t *)&h->poll, NULL);
    uv_close((uv_handle_t *)&h->timer, NULL);
    MHD_stop_daemon(h->daemon);
    h->daemon = NULL;
}

void http_free(struct server *s)
{
    free(s->http);
    s->http = NULL;
}
