/* SPDX-License-Identifier: Apache-2.0 */
/* http_members.c - GET /v1/members, POST /v1/raft/VERB and /v1/raft/plan: the membership over HTTP.
 *
 * The arguments of a verb come as JSON and become the words that RESP takes, so that there is one
 * reader of them:
 *
 *   {"id": 4, "address": "host:port", "role": "voter", "if": 7, "force": true, "nowait": true}
 *   plan: {"verb": "remove", "id": 3}, or {"verb": "stop", ..}, also as GET /v1/raft/plan?verb=..
 *   priority: {"id": 2, "priority": 5}
 *   add: "id" may be "auto", and "address" left out where the node knocks
 *   replace: {"old": 3, "new": 4, "address": ..}   set: {"members": ["4=host:port/learner"]}
 *   bootstrap: {"if_empty": true}                  of this node alone */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "server/http_room.h"
#include "server/members.h"
#include "server/plan.h"
#include "server/server.h"

#define WORDS_MAX (KELP_MEMBERS_MAX + 8u)
#define WORD_MAX  192u

#define ARGUMENT_MAX (WORDS_MAX * WORD_MAX)

/* ---- GET /v1/members ----------------------------------------------------------------------- */

/* A number where it is one and a browser keeps it exact, else text. */
static json_t *value_json(const char *name, const char *text, size_t len)
{
    int64_t number = 0;
    bool exact = decimal_parse(bytes_of(text, len), &number) && number >= 0 &&
                 number < (INT64_C(1) << 53) && strncmp(name, "incarnation", 11) != 0;
    return exact ? json_integer(number) : json_stringn(text, len);
}

/* "id:2 role:voter ..." as an object. */
static json_t *line_json(const char *line)
{
    json_t *object = json_object();
    for (const char *at = line; *at != '\0';) {
        size_t len = strcspn(at, " ");
        const char *split = memchr(at, ':', len);
        char name[32];
        if (split != NULL) {
            size_t rest = len - (size_t)(split + 1 - at);
            (void)snprintf(name, sizeof name, "%.*s", (int)(split - at), at);
            (void)json_object_set_new(object, name, value_json(name, split + 1, rest));
        }
        at += len;
        at += strspn(at, " ");
    }
    return object;
}

enum MHD_Result http_page_members(struct http_request *r)
{
    struct server *s = r->http->server;
    struct driver_status *status = malloc(sizeof *status);
    if (status == NULL) return http_answer_error(r, 500, "NO_MEMORY", "out of memory", "");
    driver_status(node_driver(s->node), status);
    json_t *members = json_array();
    for (size_t slot = 0; slot < status->latest.config.count; slot++) {
        char line[512];
        (void)members_line(status, slot, node_now(s->node), line, sizeof line);
        (void)json_array_append_new(members, line_json(line));
    }
    json_t *knocking = json_array();
    for (size_t i = 0; i < status->knock_count; i++) {
        char line[512];
        (void)members_knock(&status->knocks[i], node_now(s->node), line, sizeof line);
        (void)json_array_append_new(knocking, line_json(line));
    }
    json_t *page =
        json_pack("{s:I,s:I,s:b,s:o,s:o}", "committed", (json_int_t)status->committed.config.index,
                  "latest", (json_int_t)status->latest.config.index, "joint",
                  (int)status->latest.config.joint, "members", members, "knocking", knocking);
    free(status);
    return http_answer_json(r, 200, page);
}

/* ---- POST /v1/raft/VERB -------------------------------------------------------------------- */

struct words {
    char text[WORDS_MAX][WORD_MAX];
    size_t count;
    bool wrong;
};

static void word_add(struct words *w, const char *text)
{
    if (w->count == WORDS_MAX || strlen(text) >= WORD_MAX) {
        w->wrong = true;
        return;
    }
    (void)snprintf(w->text[w->count++], WORD_MAX, "%s", text);
}

/* The value of a field as a word; numbers may be written as strings. */
static void field_add(struct words *w, const json_t *arguments, const char *name)
{
    const json_t *value = json_object_get(arguments, name);
    char number[24];
    if (value == NULL) return;
    if (json_is_string(value)) {
        word_add(w, json_string_value(value));
    } else if (json_is_integer(value)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        word_add(w, number);
    } else {
        w->wrong = true;
    }
}

static void flag_add(struct words *w, const json_t *arguments, const char *name)
{
    const json_t *value = json_object_get(arguments, name);
    if (value != NULL && !json_is_boolean(value)) w->wrong = true;
    if (json_is_true(value)) word_add(w, name);
}

static void words_make(struct words *w, const char *verb, const json_t *arguments)
{
    static const char *const known[] = {"old", "new", "id", "address", "role", "priority"};
    const json_t *members = json_object_get(arguments, "members"), *member;
    size_t i;
    word_add(w, verb);
    for (size_t name = 0; name < sizeof known / sizeof known[0]; name++)
        field_add(w, arguments, known[name]);
    if (members != NULL && !json_is_array(members)) w->wrong = true;
    for (i = 0; i < json_array_size(members); i++) {
        member = json_array_get(members, i);
        if (json_is_string(member))
            word_add(w, json_string_value(member));
        else
            w->wrong = true;
    }
    if (json_object_get(arguments, "if") != NULL) word_add(w, "if");
    field_add(w, arguments, "if");
    flag_add(w, arguments, "force");
    flag_add(w, arguments, "nowait");
}

static bool body_parse(const struct http_request *r, const char *verb, struct words *w)
{
    json_error_t error;
    json_t *arguments = r->body.len > 0 ? json_loadb((const char *)r->body.data, r->body.len,
                                                     JSON_REJECT_DUPLICATES, &error)
                                        : json_object();
    bool right = json_is_object(arguments);
    if (right) words_make(w, verb, arguments);
    json_decref(arguments);
    return right && !w->wrong;
}

/* owns w. way: the verb, or plan: what the verb would do. */
static enum MHD_Result words_start(struct http_request *r, const char *way, struct words *w)
{
    struct kelp_bytes words[WORDS_MAX];
    struct wire_change change;
    char wrong[MEMBERS_WRONG_MAX];
    for (size_t i = 0; i < w->count; i++)
        words[i] = bytes_of(w->text[i], strlen(w->text[i]));
    bool right = members_parse(words, w->count, &change, wrong);
    free(w);
    if (!right) return http_answer_error(r, 400, "BAD_REQUEST", wrong, "");
    return http_change_start(r, way, &change);
}

enum MHD_Result http_change(struct http_request *r, const char *verb)
{
    struct words *w = calloc(1, sizeof *w);
    if (w == NULL) return http_answer_error(r, 500, "NO_MEMORY", "out of memory", "");
    if (!body_parse(r, verb, w)) {
        free(w);
        return http_answer_error(r, 400, "BAD_REQUEST", "the body is no JSON object of arguments",
                                 "such as {\"id\": 4, \"address\": \"host:port\"}");
    }
    return words_start(r, verb, w);
}

/* ---- /v1/raft/plan -------------------------------------------------------------------------- */

struct query {
    json_t *object;
    bool wrong;
};

static json_t *list_json(const char *value, bool *sound)
{
    json_t *list = json_array();
    for (const char *at = value; *at != '\0';) {
        size_t len = strcspn(at, ",");
        if (json_array_append_new(list, json_stringn(at, len)) != 0) *sound = false;
        at += len;
        at += *at == ',';
    }
    return list;
}

/* ?verb=remove&id=3&force=true as the object that a body would be; ids stay text. A name twice, or
 * bytes that are no text, would be wrong in a body too. */
static enum MHD_Result argument_add(void *ctx, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    struct query *q = ctx;
    struct buf text;
    (void)kind;
    buf_init(&text, ARGUMENT_MAX + 1);
    bool sound = http_decode(value != NULL ? value : "", &text) &&
                 (text.len == 0 || memchr(text.data, '\0', text.len) == NULL) &&
                 buf_append(&text, bytes_of("", 1)) == KELP_OK;
    const char *meant = sound ? (const char *)text.data : "";
    json_t *as = strcmp(name, "members") == 0 ? list_json(meant, &sound)
                 : strcmp(meant, "true") == 0 ? json_true()
                                              : json_string(meant);
    bool twice = json_object_get(q->object, name) != NULL;
    if (json_object_set_new(q->object, name, as) != 0 || !sound || twice) q->wrong = true;
    buf_close(&text);
    return MHD_YES;
}

static bool plan_parse(const struct http_request *r, bool get, struct words *w)
{
    json_error_t error;
    json_t *arguments = json_object();
    struct query query = {.object = arguments};
    if (get) {
        (void)MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, argument_add, &query);
    } else {
        json_decref(arguments);
        arguments =
            json_loadb((const char *)r->body.data, r->body.len, JSON_REJECT_DUPLICATES, &error);
    }
    const char *verb = json_string_value(json_object_get(arguments, "verb"));
    bool right = verb != NULL;
    if (right) words_make(w, verb, arguments);
    json_decref(arguments);
    return right && !w->wrong && !query.wrong;
}

enum MHD_Result http_plan(struct http_request *r, const char *method)
{
    bool get = strcmp(method, "GET") == 0;
    if (!get && strcmp(method, "POST") != 0) return http_answer_method(r, "GET, POST");
    struct words *w = calloc(1, sizeof *w);
    if (w == NULL) return http_answer_error(r, 500, "NO_MEMORY", "out of memory", "");
    if (!plan_parse(r, get, w)) {
        free(w);
        return http_answer_error(r, 400, "BAD_REQUEST", "the arguments of a plan are wrong",
                                 "such as {\"verb\": \"remove\", \"id\": 3}, or ?verb=stop&id=2");
    }
    return words_start(r, "plan", w);
}

static json_t *plan_json(const struct kelp_plan *plan, char *text)
{
    char line[PLAN_LINE_MAX];
    (void)plan_line(plan, line, sizeof line);
    json_t *object = line_json(line), *members = json_array(), *words = json_array();
    for (uint32_t i = 0; i < plan->count; i++) {
        (void)plan_member_line(&plan->members[i], line, sizeof line);
        (void)json_array_append_new(members, line_json(line));
    }
    (void)plan_words(plan, text, PLAN_TEXT_MAX);
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        (void)json_array_append_new(words, json_stringn(at, len));
        at += len + 1;
    }
    (void)json_object_set_new(object, "members", members);
    (void)json_object_set_new(object, "words", words);
    return object;
}

enum MHD_Result http_answer_plan(struct http_request *r)
{
    struct kelp_plan plan;
    char *text = malloc(PLAN_TEXT_MAX);
    if (text == NULL || r->result.error != KELP_OK ||
        !driver_plan_read(buf_bytes(&r->result), &plan)) {
        free(text);
        return http_answer_error(r, 500, "NO_PLAN", "the leader's plan cannot be read", "");
    }
    json_t *object = plan_json(&plan, text);
    free(text);
    return http_answer_json(r, 200, object);
}

enum MHD_Result http_bootstrap(struct http_request *r)
{
    json_t *arguments = r->body.len > 0
                            ? json_loadb((const char *)r->body.data, r->body.len, 0, NULL)
                            : json_object();
    const json_t *if_empty = json_object_get(arguments, "if_empty");
    bool empty = json_is_true(if_empty);
    bool right = json_is_object(arguments) && (if_empty == NULL || json_is_boolean(if_empty)) &&
                 json_object_size(arguments) == (if_empty != NULL);
    json_decref(arguments);
    if (!right)
        return http_answer_error(r, 400, "BAD_REQUEST", "the body is not {\"if_empty\": true}", "");
    return http_found_start(r, empty);
}

enum MHD_Result http_answer_found(struct http_request *r)
{
    if (r->outcome.outcome != KELP_DONE) return http_answer_outcome(r, &r->outcome);
    return http_answer_json(r, 200, json_pack("{s:b}", "founded", 1));
}
