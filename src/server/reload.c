/* SPDX-License-Identifier: Apache-2.0 */
/* reload.c - settings that change while the server runs; see reload.h. Also RAFT CONFIG: those in
 * force, and where each was said.
 *
 * What the server itself uses it reads from s->settings when it needs it, so to replace that is the
 * whole change, but for what the node and the log keep a copy of, and for connections that were
 * paused at a limit that may be higher now. It happens on the loop, between two requests. */
#include "server/reload.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/bytes.h"
#include "proto/resp_reply.h"
#include "server/commands.h"
#include "server/http_room.h"
#include "server/log.h"
#include "server/server.h"

#define VALUE_MAX  8192u
#define SOURCE_MAX 4200u /* a path and a line */

void reload_apply(struct server *s, const struct settings *next)
{
    settings_close(&s->settings);
    s->settings = *next;
    struct kelp_node_options options = server_node_options(&s->settings);
    node_snapshots_change(s->node, &options);
    log_change((enum kelp_level)next->log_level, (enum log_format)next->log_format);
    server_wake(s);
}

bool reload_run(struct server *s, const char *who, struct reload *result)
{
    struct settings next;
    result->count = 0;
    bool fine = options_again(&s->options, &next, result->error);
    if (fine &&
        !settings_changes(&s->settings, &next, result->changes, &result->count, result->error)) {
        settings_close(&next);
        fine = false;
    }
    if (!fine) {
        log_line(KELP_ERROR, "reload (%s) refused, nothing is changed: %s", who, result->error);
        return false;
    }
    next.id = s->settings.id; /* the same, or it was given one */
    next.requests_room = s->settings.requests_room;
    reload_apply(s, &next);
    for (size_t i = 0; i < result->count; i++)
        log_line(KELP_INFO, "%s: %s -> %s (%s)", result->changes[i].row->key,
                 result->changes[i].old, result->changes[i].now, who);
    log_line(KELP_INFO, "reloaded (%s): %zu settings changed", who, result->count);
    return true;
}

static void source_text(const struct server *s, const struct setting *row, char *out, size_t size)
{
    struct setting_source source = settings_source(&s->settings, row);
    switch (source.origin) {
    case ORIGIN_DEFAULT: (void)snprintf(out, size, "default"); break;
    case ORIGIN_FILE:
        if (source.line > 0)
            (void)snprintf(out, size, "%s:%u", s->options.file, source.line);
        else
            (void)snprintf(out, size, "%s", s->options.file);
        break;
    case ORIGIN_FLAG: (void)snprintf(out, size, "command line"); break;
    case ORIGIN_CLIENT: (void)snprintf(out, size, "CONFIG SET"); break;
    }
}

static const char *when(const struct setting *row)
{
    return (row->flags & SETTING_LIVE) != 0 ? "live" : "restart";
}

/* ---- RESP ---------------------------------------------------------------------------------- */

void run_raft_reload(const struct call *call)
{
    struct reload result;
    if (!reload_run(call->server, call->client->remote, &result)) {
        (void)resp_error(call->reply, "ERR nothing is changed: %s", result.error);
        return;
    }
    (void)resp_array(call->reply, result.count);
    for (size_t i = 0; i < result.count; i++) {
        (void)resp_array(call->reply, 3);
        (void)resp_bulk_text(call->reply, result.changes[i].row->key);
        (void)resp_bulk_text(call->reply, result.changes[i].old);
        (void)resp_bulk_text(call->reply, result.changes[i].now);
    }
}

void run_raft_config(const struct call *call)
{
    char value[VALUE_MAX], source[SOURCE_MAX];
    (void)resp_array(call->reply, settings_count);
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        size_t len = settings_value(&call->server->settings, row, value, sizeof value);
        source_text(call->server, row, source, sizeof source);
        (void)resp_array(call->reply, 4);
        (void)resp_bulk_text(call->reply, row->key);
        (void)resp_bulk(call->reply, bytes_of(value, len));
        (void)resp_bulk_text(call->reply, source);
        (void)resp_bulk_text(call->reply, when(row));
    }
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

enum MHD_Result http_reload(struct http_request *r)
{
    struct reload result;
    if (!reload_run(r->http->server, "HTTP", &result))
        return http_answer_error(r, 409, "BAD_SETTINGS", result.error, "nothing is changed");
    json_t *list = json_array();
    for (size_t i = 0; i < result.count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s,s:s,s:s}", "key", result.changes[i].row->key, "old",
                            result.changes[i].old, "new", result.changes[i].now));
    return http_answer_json(r, 200, json_pack("{s:o}", "changed", list));
}

enum MHD_Result http_page_config(struct http_request *r)
{
    struct server *s = r->http->server;
    char value[VALUE_MAX], source[SOURCE_MAX];
    json_t *list = json_array();
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        (void)settings_value(&s->settings, row, value, sizeof value);
        source_text(s, row, source, sizeof source);
        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:b}", "key", row->key, "value",
                                                    value, "source", source, "live",
                                                    (int)((row->flags & SETTING_LIVE) != 0)));
    }
    return http_answer_json(r, 200, json_pack("{s:o}", "settings", list));
}
