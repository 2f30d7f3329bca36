/* SPDX-License-Identifier: Apache-2.0 */
/* introspect.c - COMMAND: what clients ask about commands, from the machine's table and the
 * server's own.
 *
 * The shapes are Redis 7.0's: ten fields a command in COMMAND and COMMAND INFO, maps as flat arrays
 * in DOCS. */
#include <stdio.h>

#include "kv/glob.h"
#include "proto/resp_reply.h"
#include "server/commands.h"

#define NAME_MAX_BYTES 64u

/* What only COMMAND INFO needs to know of the machine's commands. */
static const struct extra {
    const char *tips, *key_flags, *notes;
} extras[KV_CODES] = {
    [KV_GET] = {"", "RO access", NULL},
    [KV_SET] = {"", "RW access update variable_flags",
                "RW and ACCESS due to the optional `GET` argument"},
    [KV_SETNX] = {"", "OW insert", NULL},
    [KV_MGET] = {"request_policy:multi_shard", "RO access", NULL},
    [KV_MSET] = {"request_policy:multi_shard response_policy:all_succeeded", "OW update", NULL},
    [KV_MSETNX] = {"request_policy:multi_shard response_policy:agg_min", "OW insert", NULL},
    [KV_APPEND] = {"", "RW insert", NULL},
    [KV_STRLEN] = {"", "RO", NULL},
    [KV_INCR] = {"", "RW access update", NULL},
    [KV_DECR] = {"", "RW access update", NULL},
    [KV_INCRBY] = {"", "RW access update", NULL},
    [KV_DECRBY] = {"", "RW access update", NULL},
    [KV_DEL] = {"request_policy:multi_shard response_policy:agg_sum", "RM delete", NULL},
    [KV_UNLINK] = {"request_policy:multi_shard response_policy:agg_sum", "RM delete", NULL},
    [KV_EXISTS] = {"request_policy:multi_shard response_policy:agg_sum", "RO", NULL},
    [KV_TYPE] = {"", "RO", NULL},
    [KV_KEYS] = {"request_policy:all_shards nondeterministic_output_order", "", NULL},
    [KV_SCAN] = {"nondeterministic_output request_policy:special", "", NULL},
    [KV_DBSIZE] = {"request_policy:all_shards response_policy:agg_sum", "", NULL},
    [KV_FLUSHALL] = {"request_policy:all_shards response_policy:all_succeeded", "", NULL},
    [KV_FLUSHDB] = {"request_policy:all_shards response_policy:all_succeeded", "", NULL},
};

/* ---- words ----------------------------------------------------------------------------------- */

static size_t words_count(const char *words)
{
    size_t count = words[0] != '\0' ? 1 : 0;
    for (const char *at = words; *at != '\0'; at++)
        count += *at == ' ';
    return count;
}

enum word_shape { WORD_STATUS, WORD_CATEGORY, WORD_BULK };

/* "one two" as an array: status replies, categories with their mark, or bulk strings. */
static void words_reply(struct buf *b, const char *words, enum word_shape shape)
{
    char word[NAME_MAX_BYTES];
    (void)resp_array(b, words_count(words));
    for (const char *at = words; *at != '\0';) {
        int len = (int)strcspn(at, " ");
        (void)snprintf(word, sizeof word, "%s%.*s", shape == WORD_CATEGORY ? "@" : "", len, at);
        if (shape == WORD_BULK)
            (void)resp_bulk_text(b, word);
        else
            (void)resp_simple(b, word);
        at += len;
        at += *at == ' ';
    }
}

static bool word_among(const char *words, struct kelp_bytes wanted)
{
    for (const char *at = words; *at != '\0';) {
        size_t len = strcspn(at, " ");
        if (kv_word_is(wanted, at, len)) return true;
        at += len;
        at += *at == ' ';
    }
    return false;
}

static void machine_words(const struct kv_command *c, char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s%s", (c->flags & KV_FLAG_WRITE) != 0 ? "write" : "readonly",
                   (c->flags & KV_FLAG_DENYOOM) != 0 ? " denyoom" : "",
                   (c->flags & KV_FLAG_FAST) != 0 ? " fast" : "");
}

static void machine_categories(const struct kv_command *c, char *out, size_t size)
{
    bool string = strcmp(c->group, "string") == 0;
    (void)snprintf(out, size, "%s%s%s %s%s", string ? "" : "keyspace ",
                   (c->flags & KV_FLAG_WRITE) != 0 ? "write" : "read", string ? " string" : "",
                   (c->flags & KV_FLAG_FAST) != 0 ? "fast" : "slow",
                   (c->flags & KV_FLAG_DANGEROUS) != 0 ? " dangerous" : "");
}

/* ---- COMMAND, COMMAND INFO ------------------------------------------------------------------- */

static void key_specs(struct buf *b, const struct kv_command *c)
{
    const struct extra *extra = &extras[c->code];
    (void)resp_array(b, c->key_first > 0 ? 1 : 0);
    if (c->key_first == 0) return;
    (void)resp_array(b, extra->notes != NULL ? 8 : 6);
    if (extra->notes != NULL) {
        (void)resp_bulk_text(b, "notes");
        (void)resp_bulk_text(b, extra->notes);
    }
    (void)resp_bulk_text(b, "flags");
    words_reply(b, extra->key_flags, WORD_STATUS);
    (void)resp_bulk_text(b, "begin_search");
    (void)resp_array(b, 4);
    (void)resp_bulk_text(b, "type");
    (void)resp_bulk_text(b, "index");
    (void)resp_bulk_text(b, "spec");
    (void)resp_array(b, 2);
    (void)resp_bulk_text(b, "index");
    (void)resp_integer(b, c->key_first);
    (void)resp_bulk_text(b, "find_keys");
    (void)resp_array(b, 4);
    (void)resp_bulk_text(b, "type");
    (void)resp_bulk_text(b, "range");
    (void)resp_bulk_text(b, "spec");
    (void)resp_array(b, 6);
    (void)resp_bulk_text(b, "lastkey");
    (void)resp_integer(b, c->key_last < 0 ? c->key_last : c->key_last - c->key_first);
    (void)resp_bulk_text(b, "keystep");
    (void)resp_integer(b, c->key_step);
    (void)resp_bulk_text(b, "limit");
    (void)resp_integer(b, 0);
}

/* The first eight fields, alike for both tables. */
static void fields(struct buf *b, const char *name, const struct kv_command *row, const char *words,
                   const char *categories, const char *tips)
{
    (void)resp_array(b, 10);
    (void)resp_bulk_text(b, name);
    (void)resp_integer(b, row->arity);
    words_reply(b, words, WORD_STATUS);
    (void)resp_integer(b, row->key_first);
    (void)resp_integer(b, row->key_last);
    (void)resp_integer(b, row->key_step);
    words_reply(b, categories, WORD_CATEGORY);
    words_reply(b, tips, WORD_BULK);
}

static void machine_reply(struct buf *b, const struct kv_command *c)
{
    char words[NAME_MAX_BYTES], categories[NAME_MAX_BYTES];
    machine_words(c, words, sizeof words);
    machine_categories(c, categories, sizeof categories);
    fields(b, c->name, c, words, categories, extras[c->code].tips);
    key_specs(b, c);
    (void)resp_array(b, 0);
}

static bool is_sub_of(const struct server_command *s, const struct server_command *group)
{
    return s->parent != NULL && s->run != NULL && strcmp(s->parent, group->row.name) == 0;
}

static size_t subs_count(const struct server_command *group)
{
    size_t count = 0;
    for (size_t i = 0; i < server_commands_count; i++)
        count += is_sub_of(&server_commands[i], group);
    return count;
}

static void full_name(const struct server_command *s, char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s%s", s->parent != NULL ? s->parent : "",
                   s->parent != NULL ? "|" : "", s->row.name);
}

static void own_fields(struct buf *b, const struct server_command *s)
{
    char name[NAME_MAX_BYTES];
    full_name(s, name, sizeof name);
    fields(b, name, &s->row, s->words, s->categories, s->tips);
    (void)resp_array(b, 0); /* no keys */
}

static void own_reply(struct buf *b, const struct server_command *s)
{
    own_fields(b, s);
    (void)resp_array(b, subs_count(s));
    for (size_t i = 0; i < server_commands_count; i++) {
        const struct server_command *sub = &server_commands[i];
        if (!is_sub_of(sub, s)) continue;
        own_fields(b, sub);
        (void)resp_array(b, 0);
    }
}

static const struct server_command *own_find(struct kelp_bytes name)
{
    for (size_t i = 0; i < server_commands_count; i++) {
        char full[NAME_MAX_BYTES];
        const struct server_command *s = &server_commands[i];
        if (s->parent != NULL && s->run == NULL) continue;
        full_name(s, full, sizeof full);
        if (word_is(name, full)) return s;
    }
    return NULL;
}

static size_t commands_count(void)
{
    size_t count = KV_CODES - 1;
    for (size_t i = 0; i < server_commands_count; i++)
        count += server_commands[i].parent == NULL;
    return count;
}

void run_command(const struct call *call)
{
    (void)resp_array(call->reply, commands_count());
    for (size_t i = 1; i < KV_CODES; i++)
        machine_reply(call->reply, &kv_commands[i]);
    for (size_t i = 0; i < server_commands_count; i++) {
        if (server_commands[i].parent == NULL) own_reply(call->reply, &server_commands[i]);
    }
}

void run_command_count(const struct call *call)
{
    (void)resp_integer(call->reply, (int64_t)commands_count());
}

void run_command_info(const struct call *call)
{
    if (call->argc == 2) {
        run_command(call);
        return;
    }
    (void)resp_array(call->reply, call->argc - 2);
    for (size_t i = 2; i < call->argc; i++) {
        const struct kv_command *machine = kv_command_find(call->argv[i]);
        const struct server_command *own = machine == NULL ? own_find(call->argv[i]) : NULL;
        if (machine != NULL)
            machine_reply(call->reply, machine);
        else if (own != NULL)
            own_reply(call->reply, own);
        else
            (void)resp_nil_array(call->reply);
    }
}

/* ---- COMMAND DOCS ---------------------------------------------------------------------------- */

static void docs_fields(struct buf *b, const char *name, const struct kv_command *row, bool more)
{
    (void)resp_bulk_text(b, name);
    (void)resp_array(b, more ? 10 : 8);
    (void)resp_bulk_text(b, "summary");
    (void)resp_bulk_text(b, row->summary);
    (void)resp_bulk_text(b, "since");
    (void)resp_bulk_text(b, row->since);
    (void)resp_bulk_text(b, "group");
    (void)resp_bulk_text(b, row->group);
    (void)resp_bulk_text(b, "complexity");
    (void)resp_bulk_text(b, row->complexity);
}

static void own_docs(struct buf *b, const struct server_command *s)
{
    char name[NAME_MAX_BYTES];
    size_t subs = subs_count(s);
    full_name(s, name, sizeof name);
    docs_fields(b, name, &s->row, subs > 0);
    if (subs == 0) return;
    (void)resp_bulk_text(b, "subcommands");
    (void)resp_array(b, 2 * subs);
    for (size_t i = 0; i < server_commands_count; i++) {
        if (!is_sub_of(&server_commands[i], s)) continue;
        full_name(&server_commands[i], name, sizeof name);
        docs_fields(b, name, &server_commands[i].row, false);
    }
}

void run_command_docs(const struct call *call)
{
    struct buf *b = call->reply;
    if (call->argc == 2) {
        (void)resp_array(b, 2 * commands_count());
        for (size_t i = 1; i < KV_CODES; i++)
            docs_fields(b, kv_commands[i].name, &kv_commands[i], false);
        for (size_t i = 0; i < server_commands_count; i++) {
            if (server_commands[i].parent == NULL) own_docs(b, &server_commands[i]);
        }
        return;
    }
    size_t found = 0;
    for (size_t i = 2; i < call->argc; i++)
        found += kv_command_find(call->argv[i]) != NULL || own_find(call->argv[i]) != NULL;
    (void)resp_array(b, 2 * found);
    for (size_t i = 2; i < call->argc; i++) {
        const struct kv_command *machine = kv_command_find(call->argv[i]);
        const struct server_command *own = machine == NULL ? own_find(call->argv[i]) : NULL;
        if (machine != NULL)
            docs_fields(b, machine->name, machine, false);
        else if (own != NULL)
            own_docs(b, own);
    }
}

/* ---- COMMAND LIST, COMMAND GETKEYS ----------------------------------------------------------- */

#define PATTERN_MAX 128u /* longer than any name; matched with all of them at once */

enum filter { FILTER_NONE, FILTER_PATTERN, FILTER_CATEGORY, FILTER_MODULE };

static bool passes(enum filter filter, struct kelp_bytes wanted, const char *name,
                   const char *categories)
{
    switch (filter) {
    case FILTER_NONE: return true;
    case FILTER_PATTERN:
        return wanted.len < PATTERN_MAX &&
               glob_match(wanted, bytes_of(name, strlen(name))) == GLOB_YES;
    case FILTER_CATEGORY: return word_among(categories, wanted);
    case FILTER_MODULE: return false; /* there are none */
    }
    return false;
}

/* Names that pass; b NULL: only count them. */
static size_t names(struct buf *b, enum filter filter, struct kelp_bytes wanted)
{
    size_t count = 0;
    for (size_t i = 1; i < KV_CODES; i++) {
        char categories[NAME_MAX_BYTES];
        machine_categories(&kv_commands[i], categories, sizeof categories);
        if (!passes(filter, wanted, kv_commands[i].name, categories)) continue;
        count++;
        if (b != NULL) (void)resp_bulk_text(b, kv_commands[i].name);
    }
    for (size_t i = 0; i < server_commands_count; i++) {
        char name[NAME_MAX_BYTES];
        const struct server_command *s = &server_commands[i];
        full_name(s, name, sizeof name);
        bool listed = s->parent == NULL || (filter != FILTER_NONE && s->run != NULL);
        if (!listed || !passes(filter, wanted, name, s->categories)) continue;
        count++;
        if (b != NULL) (void)resp_bulk_text(b, name);
    }
    return count;
}

void run_command_list(const struct call *call)
{
    enum filter filter = FILTER_NONE;
    struct kelp_bytes wanted = {0};
    if (call->argc == 5 && word_is(call->argv[2], "filterby")) {
        wanted = call->argv[4];
        if (word_is(call->argv[3], "pattern"))
            filter = FILTER_PATTERN;
        else if (word_is(call->argv[3], "aclcat"))
            filter = FILTER_CATEGORY;
        else if (word_is(call->argv[3], "module"))
            filter = FILTER_MODULE;
    }
    if (call->argc > 2 && filter == FILTER_NONE) {
        (void)resp_error(call->reply, "ERR syntax error");
        return;
    }
    (void)resp_array(call->reply, names(NULL, filter, wanted));
    (void)names(call->reply, filter, wanted);
}

void run_command_getkeys(const struct call *call)
{
    const struct kelp_bytes *argv = call->argv + 2;
    size_t argc = call->argc - 2;
    const struct kv_command *c = kv_command_find(argv[0]);
    if (c == NULL && own_find(argv[0]) == NULL) {
        (void)resp_error(call->reply, "ERR Invalid command specified");
        return;
    }
    if (c == NULL || c->key_first == 0) {
        (void)resp_error(call->reply, "ERR The command has no key arguments");
        return;
    }
    if (!kv_arity_fits(c, argc)) {
        (void)resp_error(call->reply, "ERR Invalid number of arguments specified for command");
        return;
    }
    size_t last = c->key_last < 0 ? argc - 1 : (size_t)c->key_last, step = (size_t)c->key_step;
    (void)resp_array(call->reply, (last - (size_t)c->key_first) / step + 1);
    for (size_t i = (size_t)c->key_first; i <= last; i += step)
        (void)resp_bulk(call->reply, argv[i]);
}
