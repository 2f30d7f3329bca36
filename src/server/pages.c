/* SPDX-License-Identifier: Apache-2.0 */
/* pages.c - what HTTP clients are answered: health, status, metrics, keys, and errors as JSON. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/decimal.h"
#include "kv/commands.h"
#include "server/http_room.h"
#include "server/outcome.h"
#include "server/server.h"
#include "server/text.h"

#define PAGE_BYTES     (4u * 1024 * 1024)
#define JSON_EXACT_MAX (UINT64_C(1) << 53) /* beyond it browsers round numbers */

/* ---- sending
 * ---------------------------------------------------------------------------------- */

/* Takes a malloc'd body. NULL was out of memory: the connection is closed. */
static enum MHD_Result send_owned(struct http_request *r, unsigned status, const char *type,
                                  void *body, size_t len, const char *const *headers)
{
    if (body == NULL) return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(body);
        return MHD_NO;
    }
    enum MHD_Result fine = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    for (; fine == MHD_YES && headers != NULL && headers[0] != NULL; headers += 2)
        fine = MHD_add_response_header(response, headers[0], headers[1]);
    if (fine == MHD_YES) fine = MHD_queue_response(r->connection, status, response);
    MHD_destroy_response(response);
    return fine;
}

static enum MHD_Result send_json(struct http_request *r, unsigned status, json_t *object,
                                 const char *const *headers)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return send_owned(r, status, "application/json", text, text != NULL ? strlen(text) : 0,
                      headers);
}

static json_t *index_json(uint64_t index)
{
    char text[24];
    if (index < JSON_EXACT_MAX) return json_integer((json_int_t)index);
    (void)snprintf(text, sizeof text, "%" PRIu64, index);
    return json_string(text);
}

static json_t *error_json(const char *name, const char *words, const char *advice)
{
    return json_pack("{s:s,s:s,s:s}", "error", name, "message", words, "advice", advice);
}

enum MHD_Result http_answer_error(struct http_request *r, unsigned status, const char *name,
                                  const char *words, const char *advice)
{
    const char *const retry[] = {MHD_HTTP_HEADER_RETRY_AFTER, "1", NULL};
    return send_json(r, status, error_json(name, words, advice), status == 503 ? retry : NULL);
}

/* The header that names what the answer showed: whatever tells something of the state has it, or a
 * client that names it with its next read would go back in time. */
struct index_header {
    char text[24];
    const char *lines[3];
};

static const char *const *index_header(const struct http_request *r, struct index_header *h)
{
    (void)snprintf(h->text, sizeof h->text, "%" PRIu64, r->outcome.pos.index);
    h->lines[0] = "X-Kelp-Index";
    h->lines[1] = h->text;
    h->lines[2] = NULL;
    return h->lines;
}

enum MHD_Result http_answer_method(struct http_request *r, const char *allowed)
{
    const char *const headers[] = {MHD_HTTP_HEADER_ALLOW, allowed, NULL};
    return send_json(r, 405,
                     json_pack("{s:s,s:s,s:s}", "error", "METHOD", "message",
                               "that method is not served here", "advice", allowed),
                     headers);
}

enum MHD_Result http_answer_too_long(struct http_request *r)
{
    return http_answer_error(r, 413, kelp_reason_name(KELP_R_TOO_LARGE),
                             kelp_reason_words(KELP_R_TOO_LARGE),
                             kelp_reason_advice(KELP_R_TOO_LARGE));
}

/* ---- keys
 * ------------------------------------------------------------------------------------- */

/* The key as it stands in a path. */
static void key_escape(struct kelp_bytes key, struct buf *out)
{
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     c == '-' || c == '_' || c == '.' || c == '~' || c == '/';
        text_add(out, plain ? "%c" : "%%%02X", c);
    }
}

static json_t *age_json(kelp_ns age)
{
    return age == KELP_NEVER ? json_null() : json_integer((json_int_t)(age / 1000000));
}

struct query {
    struct buf *out;
    bool first;
};

/* As it came, but for blanks: of those a plus sign was made. */
static void argument_add(const char *text, struct buf *out)
{
    for (; *text != '\0'; text++)
        text_add(out, "%c", *text == ' ' ? '+' : *text);
}

static enum MHD_Result argument_escape(void *ctx, enum MHD_ValueKind kind, const char *name,
                                       const char *value)
{
    struct query *q = ctx;
    (void)kind;
    text_add(q->out, q->first ? "?" : "&");
    argument_add(name, q->out);
    if (value != NULL) text_add(q->out, "=");
    if (value != NULL) argument_add(value, q->out);
    q->first = false;
    return MHD_YES;
}

/* Where the same question would be answered: below http://leader. */
static void location_make(const struct http_request *r, const char *http, struct buf *out)
{
    struct query query = {.out = out, .first = true};
    text_add(out, "http://%s/v1/%s", http,
             r->transfer            ? "raft/transfer"
             : r->change || r->plan ? "raft/"
                                    : "kv/");
    key_escape(buf_bytes(&r->key), out); /* text_add puts a NUL behind it */
    if (r->plan)
        (void)MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, argument_escape,
                                        &query);
}

enum MHD_Result http_answer_outcome(struct http_request *r, const struct driver_outcome *outcome)
{
    struct server *s = r->http->server;
    const char *there = server_http_address(s, outcome->leader);
    const char *http = s->settings.on_follower == ON_FOLLOWER_MOVED ? there : NULL;
    enum outcome_code code = outcome_code(outcome->outcome, outcome->reason, http != NULL);
    unsigned status = outcome_http_status(code, outcome->reason);
    json_t *body =
        json_pack("{s:s,s:s,s:s,s:b}", "error", kelp_reason_name(outcome->reason), "message",
                  kelp_reason_words(outcome->reason), "advice", kelp_reason_advice(outcome->reason),
                  "uncertain", code == OUTCOME_UNCERTAIN);
    if (outcome->member != 0) (void)json_object_set_new(body, "node", index_json(outcome->member));
    if (outcome->reason == KELP_R_STALE_BEYOND) {
        (void)json_object_set_new(body, "contact_ms", age_json(outcome->ages.contact));
        (void)json_object_set_new(body, "applied_ms", age_json(outcome->ages.applied));
    }
    const char *const retry[] = {MHD_HTTP_HEADER_RETRY_AFTER, "1", NULL};
    bool removed = outcome->reason == KELP_R_REMOVED, later = status == 503 && !removed;
    if (removed && there != NULL) (void)json_object_set_new(body, "at", json_string(there));
    if (code != OUTCOME_MOVED) return send_json(r, status, body, later ? retry : NULL);
    char leader[24];
    struct buf location;
    (void)snprintf(leader, sizeof leader, "%" PRIu64, outcome->leader);
    buf_init(&location, PAGE_BYTES * 8);
    location_make(r, http, &location);
    if (location.error != KELP_OK) {
        buf_close(&location);
        json_decref(body);
        return MHD_NO;
    }
    const char *const headers[] = {MHD_HTTP_HEADER_LOCATION, (const char *)location.data,
                                   "X-Kelp-Leader", leader, NULL};
    enum MHD_Result result = send_json(r, status, body, headers);
    buf_close(&location);
    return result;
}

/* A bulk string's bytes out of the machine's reply; false: it is none. */
static bool bulk_of(struct kelp_bytes reply, struct kelp_bytes *out)
{
    const uint8_t *end =
        reply.len > 1 && reply.data[0] == '$' ? memchr(reply.data, '\r', reply.len) : NULL;
    int64_t len = -1;
    if (end == NULL ||
        !decimal_parse(bytes_of(reply.data + 1, (size_t)(end - reply.data) - 1), &len))
        return false;
    size_t head = (size_t)(end - reply.data) + 2;
    if (len < 0 || reply.len < head || (uint64_t)len > reply.len - head) return false;
    *out = bytes_of(reply.data + head, (size_t)len);
    return true;
}

static enum MHD_Result answer_value(struct http_request *r, struct kelp_bytes value)
{
    struct index_header index;
    char *copy = malloc(value.len + 1);
    if (copy != NULL && value.len > 0) memcpy(copy, value.data, value.len);
    return send_owned(r, 200, "application/octet-stream", copy, value.len, index_header(r, &index));
}

/* The machine's own error, "-CODE words": of the request, not of the cluster. */
static enum MHD_Result answer_machine_error(struct http_request *r, struct kelp_bytes reply)
{
    struct index_header index;
    char line[256];
    size_t len = reply.len - 1 < sizeof line - 1 ? reply.len - 1 : sizeof line - 1;
    memcpy(line, reply.data + 1, len);
    line[len] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    char *words = strchr(line, ' ');
    if (words != NULL) *words++ = '\0';
    return send_json(r, strcmp(line, "UNCERTAIN") == 0 ? 504 : 400,
                     error_json(line, words != NULL ? words : "", ""), index_header(r, &index));
}

static enum MHD_Result answer_change(struct http_request *r)
{
    json_t *page = json_pack("{s:o}", "index", index_json(r->outcome.pos.index));
    if (r->outcome.member != 0) /* it was given its id */
        (void)json_object_set_new(page, "id", index_json(r->outcome.member));
    return send_json(r, 200, page, NULL);
}

enum MHD_Result http_answer_json(struct http_request *r, unsigned status, json_t *object)
{
    return send_json(r, status, object, NULL);
}

enum MHD_Result http_answer_done(struct http_request *r)
{
    struct kelp_bytes reply = buf_bytes(&r->result), value;
    if (r->outcome.outcome != KELP_DONE) return http_answer_outcome(r, &r->outcome);
    if (r->plan) return http_answer_plan(r);
    if (r->change) return answer_change(r);
    if (r->result.error != KELP_OK || reply.len == 0)
        return http_answer_error(r, 500, "NO_MEMORY", "out of memory for the answer", "");
    if (reply.data[0] == '-') return answer_machine_error(r, reply);
    if (r->code == KV_GET) {
        struct index_header index;
        if (bulk_of(reply, &value)) return answer_value(r, value);
        return send_json(r, 404, error_json("NOT_FOUND", "there is no such key", ""),
                         index_header(r, &index));
    }
    if (r->code == KV_DEL)
        return send_json(r, 200,
                         json_pack("{s:i,s:o}", "deleted", reply.len > 1 && reply.data[1] == '1',
                                   "index", index_json(r->outcome.pos.index)),
                         NULL);
    return send_json(r, 200, json_pack("{s:o}", "index", index_json(r->outcome.pos.index)), NULL);
}

bool http_target(const struct http_request *r, kelp_id *target)
{
    *target = 0;
    if (r->body.len == 0) return true;
    json_t *body = json_loadb((const char *)r->body.data, r->body.len, 0, NULL);
    const json_t *id = json_object_get(body, "id");
    bool named = json_object_size(body) == 1 && json_is_integer(id) && json_integer_value(id) > 0;
    bool empty = json_is_object(body) && json_object_size(body) == 0;
    if (named) *target = (kelp_id)json_integer_value(id);
    json_decref(body);
    return named || empty;
}

enum MHD_Result http_answer_transfer(struct http_request *r)
{
    if (r->outcome.outcome != KELP_DONE) return http_answer_outcome(r, &r->outcome);
    return send_json(r, 200, json_pack("{s:o}", "leader", index_json(r->outcome.leader)), NULL);
}

/* ---- pages
 * ------------------------------------------------------------------------------------ */

static enum MHD_Result page_health(struct http_request *r)
{
    struct node_status status;
    node_status(r->http->server->node, &status);
    if (status.driver.state == DRIVER_FAULTED)
        return http_answer_error(r, 503, "FAULTED", status.reason,
                                 kelp_reason_advice(KELP_R_FAULTED));
    return send_json(r, 200, json_pack("{s:s}", "health", status.health), NULL);
}

/* Ready: would a request sent here now be served? */
static enum MHD_Result page_ready(struct http_request *r)
{
    struct server *s = r->http->server;
    struct node_status status;
    node_status(s->node, &status);
    enum kelp_reason reason = KELP_R_NONE;
    if (s->stage != SERVER_RUNNING)
        reason = KELP_R_SHUTDOWN;
    else if (status.driver.state == DRIVER_FAULTED)
        reason = KELP_R_FAULTED;
    else if (status.driver.state != DRIVER_RUNNING)
        reason = KELP_R_NOT_STARTED;
    else if (status.driver.compared.verdict == COMPARE_APART)
        reason = KELP_R_QUARANTINED;
    else if (status.driver.replaying)
        reason = KELP_R_LOADING;
    else if (status.driver.view.leader == 0)
        reason = status.driver.view.removed ? KELP_R_REMOVED : KELP_R_NO_LEADER;
    else if (status.driver.view.drained)
        reason = KELP_R_DRAINED;
    if (reason == KELP_R_NONE)
        return send_json(
            r, 200,
            json_pack("{s:b,s:s,s:s}", "ready", 1, "role", status.role, "member", status.member),
            NULL);
    const char *words = status.reason[0] != '\0' ? status.reason : kelp_reason_words(reason);
    return http_answer_error(r, 503, kelp_reason_name(reason), words, kelp_reason_advice(reason));
}

static enum MHD_Result page_status(struct http_request *r)
{
    char *text = node_status_json(r->http->server->node);
    return send_owned(r, 200, "application/json", text, text != NULL ? strlen(text) : 0, NULL);
}

static void metric(struct buf *b, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    text_add(b, "# HELP kelp_%s %s.\n# TYPE kelp_%s %s\nkelp_%s %" PRIu64 "\n", name, help, name,
             type, name, value);
}

static enum MHD_Result page_metrics(struct http_request *r)
{
    struct server *s = r->http->server;
    const struct clients *all = &s->clients;
    struct buf page;
    struct driver_status driver;
    driver_status(node_driver(s->node), &driver);
    buf_init(&page, PAGE_BYTES);
    enum kelp_error error = node_metrics(s->node, &page);
    metric(&page, "client_connections", "gauge", "Redis clients connected", all->count);
    metric(&page, "client_connections_total", "counter", "Redis clients accepted", all->accepted);
    metric(&page, "client_connections_rejected_total", "counter", "Refused: too many",
           all->rejected);
    metric(&page, "client_disconnected_slow_total", "counter", "Did not take their answers",
           all->closed_slow);
    metric(&page, "client_protocol_errors_total", "counter", "Malformed requests",
           all->protocol_errors);
    metric(&page, "client_commands_total", "counter", "Commands received", all->commands);
    metric(&page, "client_bytes_in_total", "counter", "Bytes received from clients", all->bytes_in);
    metric(&page, "client_bytes_out_total", "counter", "Bytes sent to clients", all->bytes_out);
    metric(&page, "answer_bytes", "gauge", "Answers that clients have not taken",
           driver.answer_bytes);
    metric(&page, "client_open_requests", "gauge", "Requests of Redis clients under way",
           all->open_count);
    metric(&page, "client_open_request_bytes", "gauge", "Bytes of those", all->open_bytes);
    metric(&page, "http_open_requests", "gauge", "Requests of HTTP clients under way",
           r->http->open_requests);
    metric(&page, "keys", "gauge", "Keys in the table", kv_key_count(s->kv));
    metric(&page, "keys_bytes", "gauge", "Bytes of keys and values", kv_memory_bytes(s->kv));
    if (error != KELP_OK || page.error != KELP_OK) {
        buf_close(&page);
        return http_answer_error(r, 500, "NO_MEMORY", "out of memory for the page", "");
    }
    return send_owned(r, 200, "text/plain; version=0.0.4", page.data, page.len, NULL); /* owns */
}

http_page_fn http_page(const char *path)
{
    static const struct page {
        const char *path;
        http_page_fn page;
    } pages[] = {{"/healthz", page_health},
                 {"/readyz", page_ready},
                 {"/metrics", page_metrics},
                 {"/v1/status", page_status},
                 {"/v1/raft/status", page_status},
                 {"/v1/members", http_page_members},
                 {"/v1/raft/members", http_page_members},
                 {"/v1/raft/config", http_page_config},
                 {"/v1/raft/snapshot", http_page_snapshots}};
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(path, pages[i].path) == 0) return pages[i].page;
    }
    return NULL;
}
