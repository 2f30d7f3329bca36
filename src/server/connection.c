/* SPDX-License-Identifier: Apache-2.0 */
/* connection.c - commands about the connection and the settings: PING to HELLO, CLIENT, CONFIG.
 *
 * Replies and errors are Redis 7.0's. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/decimal.h"
#include "kv/glob.h"
#include "proto/resp_reply.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/log.h"
#include "server/reload.h"
#include "server/rewrite.h"
#include "server/server.h"
#include "server/text.h"

#define VALUE_MAX  8192u /* of a setting in CONFIG */
#define LIST_BYTES (64u * 1024 * 1024)

void run_ok(const struct call *call)
{
    (void)resp_simple(call->reply, "OK");
}

void run_ping(const struct call *call)
{
    if (call->argc > 2)
        (void)resp_error(call->reply, "ERR wrong number of arguments for 'ping' command");
    else if (call->argc == 2)
        (void)resp_bulk(call->reply, call->argv[1]);
    else
        (void)resp_simple(call->reply, "PONG");
}

void run_echo(const struct call *call)
{
    (void)resp_bulk(call->reply, call->argv[1]);
}

void run_quit(const struct call *call)
{
    call->client->quitting = true;
    (void)resp_simple(call->reply, "OK");
}

void run_select(const struct call *call)
{
    int64_t number = 0;
    if (!decimal_parse(call->argv[1], &number) || number < INT32_MIN || number > INT32_MAX)
        (void)resp_error(call->reply, "ERR value is not an integer or out of range");
    else if (number != 0)
        (void)resp_error(call->reply, "ERR SELECT is not allowed in cluster mode");
    else
        (void)resp_simple(call->reply, "OK");
}

/* ---- names and users ----------------------------------------------------------------------- */

static bool name_fits(struct kelp_bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] < '!' || name.data[i] > '~') return false;
    }
    return true;
}

/* False: the error is in the reply. An empty name takes it away. */
static bool name_set(struct client *c, struct kelp_bytes name, struct buf *reply)
{
    if (!name_fits(name)) {
        (void)resp_error(reply, "ERR Client names cannot contain spaces, newlines or special "
                                "characters.");
        return false;
    }
    char *copy = name.len > 0 ? strndup((const char *)name.data, name.len) : NULL;
    if (name.len > 0 && copy == NULL) {
        (void)resp_error(reply, "ERR out of memory");
        return false;
    }
    free(c->name);
    c->name = copy;
    return true;
}

static bool user_fits(struct kelp_bytes user, struct buf *reply)
{
    if (bytes_equal(user, BYTES_LITERAL("default"))) return true;
    (void)resp_error(reply, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

void run_auth(const struct call *call)
{
    if (call->argc > 3)
        (void)resp_error(call->reply, "ERR syntax error");
    else if (call->argc == 2)
        (void)resp_error(call->reply,
                         "ERR AUTH <password> called without any password configured for the "
                         "default user. Are you sure your configuration is correct?");
    else if (user_fits(call->argv[1], call->reply))
        (void)resp_simple(call->reply, "OK");
}

static bool leads(struct server *s)
{
    const struct kelp_core *core = driver_core(node_driver(s->node));
    if (core == NULL) return false;
    struct kelp_view view;
    kelp_view(core, &view);
    return view.role == KELP_LEADER;
}

static void hello_reply(const struct call *call)
{
    struct buf *b = call->reply;
    (void)resp_array(b, 14);
    (void)resp_bulk_text(b, "server");
    (void)resp_bulk_text(b, "redis");
    (void)resp_bulk_text(b, "version");
    (void)resp_bulk_text(b, "7.0.15");
    (void)resp_bulk_text(b, "proto");
    (void)resp_integer(b, 2);
    (void)resp_bulk_text(b, "id");
    (void)resp_integer(b, (int64_t)call->client->id);
    (void)resp_bulk_text(b, "mode");
    (void)resp_bulk_text(b, "cluster");
    (void)resp_bulk_text(b, "role");
    (void)resp_bulk_text(b, leads(call->server) ? "master" : "replica");
    (void)resp_bulk_text(b, "modules");
    (void)resp_array(b, 0);
}

void run_hello(const struct call *call)
{
    int64_t version = 2;
    if (call->argc > 1 && !decimal_parse(call->argv[1], &version)) {
        (void)resp_error(call->reply, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != 2) {
        (void)resp_error(call->reply, "NOPROTO unsupported protocol version");
        return;
    }
    for (size_t i = 2; i < call->argc; i++) {
        size_t more = call->argc - 1 - i;
        struct kelp_bytes option = call->argv[i];
        if (word_is(option, "auth") && more >= 2) {
            if (!user_fits(call->argv[i + 1], call->reply)) return;
            i += 2;
        } else if (word_is(option, "setname") && more >= 1) {
            if (!name_set(call->client, call->argv[i + 1], call->reply)) return;
            i++;
        } else {
            (void)resp_error(call->reply, "ERR Syntax error in HELLO option '%.*s'",
                             (int)(option.len < 128 ? option.len : 128), (const char *)option.data);
            return;
        }
    }
    hello_reply(call);
}

/* ---- CLIENT -------------------------------------------------------------------------------- */

void run_client_setname(const struct call *call)
{
    if (name_set(call->client, call->argv[2], call->reply)) (void)resp_simple(call->reply, "OK");
}

void run_client_getname(const struct call *call)
{
    if (call->client->name == NULL)
        (void)resp_nil(call->reply);
    else
        (void)resp_bulk_text(call->reply, call->client->name);
}

void run_client_id(const struct call *call)
{
    (void)resp_integer(call->reply, (int64_t)call->client->id);
}

static void client_describe(struct client *c, const char *last, struct buf *out)
{
    uint64_t now = uv_now(&c->server->loop);
    uv_os_fd_t fd = -1;
    (void)uv_fileno((const uv_handle_t *)&c->tcp, &fd);
    size_t waiting = c->out.len + c->sending.len + c->held.len;
    size_t memory = sizeof *c + c->in.room + c->out.room + c->sending.room + c->held.room +
                    c->open_room * sizeof *c->open;
    text_add(out,
             "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=N db=0 sub=0 psub=0 "
             "ssub=0 multi=-1 qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=%zu rbp=%zu "
             "obl=%zu oll=%u omem=%zu tot-mem=%zu events=%s cmd=%s user=default redir=-1 resp=2\n",
             (unsigned long long)c->id, c->remote, c->local, fd, c->name != NULL ? c->name : "",
             (unsigned long long)((now - c->since_ms) / 1000),
             (unsigned long long)((now - c->active_ms) / 1000), c->in.len, c->in.room - c->in.len,
             c->out.room, c->out.room, waiting, c->open_count, c->sending.len, memory,
             c->reading ? "r" : "", last);
}

void run_client_info(const struct call *call)
{
    struct buf text;
    buf_init(&text, LIST_BYTES);
    client_describe(call->client, "client|info", &text);
    (void)resp_bulk(call->reply, buf_bytes(&text));
    buf_close(&text);
}

static struct client *client_find(struct server *s, uint64_t id)
{
    struct client *c;
    TAILQ_FOREACH(c, &s->clients.all, link)
    {
        if (c->id == id) return c;
    }
    return NULL;
}

static const char *last_of(const struct call *call, const struct client *c)
{
    return c == call->client ? "client|list" : c->last_command;
}

/* CLIENT LIST ID a b ..; false: the error is in the reply. */
static bool list_by_id(const struct call *call, struct buf *text)
{
    for (size_t i = 3; i < call->argc; i++) {
        int64_t id = 0;
        if (!decimal_parse(call->argv[i], &id) || id <= 0) {
            (void)resp_error(call->reply, "ERR Invalid client ID");
            return false;
        }
        struct client *c = client_find(call->server, (uint64_t)id);
        if (c != NULL) client_describe(c, last_of(call, c), text);
    }
    return true;
}

void run_client_list(const struct call *call)
{
    struct buf text;
    buf_init(&text, LIST_BYTES);
    bool fine = true, all = call->argc == 2;
    if (call->argc == 4 && word_is(call->argv[2], "type")) {
        static const char *const types[] = {"normal", "master", "replica", "slave", "pubsub"};
        size_t type = 0;
        while (type < 5 && !word_is(call->argv[3], types[type]))
            type++;
        all = type == 0;
        fine = type < 5;
        if (!fine)
            (void)resp_error(call->reply, "ERR Unknown client type '%.*s'",
                             (int)(call->argv[3].len < 128 ? call->argv[3].len : 128),
                             (const char *)call->argv[3].data);
    } else if (call->argc > 3 && word_is(call->argv[2], "id")) {
        fine = list_by_id(call, &text);
    } else if (!all) {
        fine = false;
        (void)resp_error(call->reply, "ERR syntax error");
    }
    struct client *c;
    if (all) {
        TAILQ_FOREACH(c, &call->server->clients.all, link)
        client_describe(c, last_of(call, c), &text);
    }
    if (fine) (void)resp_bulk(call->reply, buf_bytes(&text));
    buf_close(&text);
}

/* ---- CONFIG -------------------------------------------------------------------------------- */

/* What Redis clients ask for and what is true of Kelp; not to be changed. */
static const struct fixed {
    const char *key, *value;
} fixed_settings[] = {
    {"appendfsync", "always"},
    {"appendonly", "yes"},
    {"databases", "1"},
    {"maxmemory", "0"},
    {"maxmemory-policy", "noeviction"},
    {"save", ""},
    {"timeout", "0"},
};

static bool wanted(const struct call *call, const char *key)
{
    struct kelp_bytes text = bytes_of(key, strlen(key));
    for (size_t i = 2; i < call->argc; i++) {
        char pattern[128];
        if (call->argv[i].len >= sizeof pattern) continue;
        for (size_t k = 0; k < call->argv[i].len; k++) {
            char c = (char)call->argv[i].data[k];
            pattern[k] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        }
        if (glob_match(bytes_of(pattern, call->argv[i].len), text) == GLOB_YES) return true;
    }
    return false;
}

void run_config_get(const struct call *call)
{
    size_t rows = 0;
    char value[VALUE_MAX];
    for (size_t i = 0; i < settings_count; i++)
        rows += wanted(call, settings_table[i].key);
    for (size_t i = 0; i < sizeof fixed_settings / sizeof *fixed_settings; i++)
        rows += wanted(call, fixed_settings[i].key);
    (void)resp_array(call->reply, 2 * rows);
    for (size_t i = 0; i < settings_count; i++) {
        if (!wanted(call, settings_table[i].key)) continue;
        size_t len =
            settings_value(&call->server->settings, &settings_table[i], value, sizeof value);
        (void)resp_bulk_text(call->reply, settings_table[i].key);
        (void)resp_bulk(call->reply, bytes_of(value, len));
    }
    for (size_t i = 0; i < sizeof fixed_settings / sizeof *fixed_settings; i++) {
        if (!wanted(call, fixed_settings[i].key)) continue;
        (void)resp_bulk_text(call->reply, fixed_settings[i].key);
        (void)resp_bulk_text(call->reply, fixed_settings[i].value);
    }
}

static void set_failed(const struct call *call, size_t at, const char *why)
{
    (void)resp_error(call->reply,
                     "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                     (int)(call->argv[at].len < 64 ? call->argv[at].len : 64),
                     (const char *)call->argv[at].data, why);
}

static bool is_fixed(struct kelp_bytes key)
{
    for (size_t i = 0; i < sizeof fixed_settings / sizeof *fixed_settings; i++) {
        if (word_is(key, fixed_settings[i].key)) return true;
    }
    return false;
}

/* Pair `at` into the copy; false: the error is in the reply. */
static bool set_one(const struct call *call, size_t at, struct settings *copy)
{
    char error[SETTINGS_ERROR_MAX], value[VALUE_MAX];
    struct kelp_bytes key = call->argv[at], text = call->argv[at + 1];
    const struct setting *row = settings_find(key);
    if (row == NULL && !is_fixed(key)) {
        (void)resp_error(call->reply,
                         "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                         (int)(key.len < 64 ? key.len : 64), (const char *)key.data);
        return false;
    }
    if (row == NULL || (row->flags & SETTING_LIVE) == 0) {
        set_failed(call, at, "can't set immutable config");
        return false;
    }
    for (size_t i = 2; i < at; i += 2) {
        if (settings_find(call->argv[i]) == row) {
            set_failed(call, at, "duplicate parameter");
            return false;
        }
    }
    if (text.len >= sizeof value || (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)) {
        set_failed(call, at, "the value is too long or holds a zero byte");
        return false;
    }
    if (text.len > 0) memcpy(value, text.data, text.len);
    value[text.len] = '\0';
    if (settings_set(copy, row, value, error)) {
        settings_say(copy, row, (struct setting_source){.origin = ORIGIN_CLIENT});
        return true;
    }
    set_failed(call, at, error);
    return false;
}

void run_config_set(const struct call *call)
{
    struct server *s = call->server;
    struct settings copy;
    struct setting_change changes[SETTINGS_MAX];
    size_t count;
    char error[SETTINGS_ERROR_MAX];
    if (call->argc % 2 != 0) {
        (void)resp_error(call->reply, "ERR wrong number of arguments for 'config|set' command");
        return;
    }
    if (!settings_copy(&s->settings, &copy)) {
        (void)resp_error(call->reply, "ERR out of memory");
        return;
    }
    bool fine = true;
    for (size_t at = 2; at < call->argc && fine; at += 2)
        fine = set_one(call, at, &copy);
    if (fine && (!settings_check(&copy, error) ||
                 !settings_changes(&s->settings, &copy, changes, &count, error))) {
        set_failed(call, 2, error);
        fine = false;
    }
    if (!fine) {
        settings_close(&copy);
        return;
    }
    reload_apply(s, &copy);
    for (size_t at = 2; at < call->argc; at += 2)
        log_line(KELP_INFO, "%s is now %.*s (client %s)", settings_find(call->argv[at])->key,
                 (int)call->argv[at + 1].len, (const char *)call->argv[at + 1].data,
                 call->client->remote);
    (void)resp_simple(call->reply, "OK");
}

void run_config_rewrite(const struct call *call)
{
    struct server *s = call->server;
    size_t count = 0;
    char error[SETTINGS_ERROR_MAX];
    if (s->options.file == NULL) {
        (void)resp_error(call->reply, "ERR The server is running without a config file");
        return;
    }
    if (!rewrite_file(&s->options, &s->settings, &count, error)) {
        log_line(KELP_ERROR, "CONFIG REWRITE failed (client %s): %s", call->client->remote, error);
        (void)resp_error(call->reply, "ERR Rewriting config file: %s", error);
        return;
    }
    log_line(KELP_INFO, "%zu settings were written into %s (client %s)", count, s->options.file,
             call->client->remote);
    (void)resp_simple(call->reply, "OK");
}

void run_config_resetstat(const struct call *call)
{
    struct clients *all = &call->server->clients;
    all->accepted = all->rejected = all->closed_slow = all->protocol_errors = 0;
    all->commands = all->commands_before = all->bytes_in = all->bytes_out = 0;
    (void)resp_simple(call->reply, "OK");
}
