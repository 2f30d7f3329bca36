/* SPDX-License-Identifier: Apache-2.0 */
/* keys.c - get, set, del, transfer and call: one command, one answer, as text or as JSON. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/min.h"
#include "cli/client.h"

#define NESTING_MAX 8u
#define ONCE_WORDS  4u /* RAFT ONCE KEY text */

struct keys {
    const char *at;
    bool json;
    bool once;        /* what is sent is executed once */
    const char *read; /* get: a level with what belongs to it; NULL: linearizable */
};

#define READ_WORDS_MAX 4u /* stale MS after INDEX */

/* Parses the flags all these verbs have and the number of words they take. */
static bool begin(const struct verb *verb, struct keys *k, int *argc, char **argv, int low,
                  int high, enum flags_words where, int *status)
{
    *k = (struct keys){0};
    const struct flag flags[] = {
        client_flag(&k->at),
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &k->json, .words = "the answer as JSON"},
        {.name = "read",
         .kind = FLAG_TEXT,
         .to.text = &k->read,
         .words = "'linearizable', 'lease [round]', 'stale MS', 'any' or 'log', [after INDEX]"},
    };
    size_t count = COUNT_OF(flags) - (verb->run == get_verb ? 0u : 1u);
    return flags_parse(verb, flags, count, where, argc, argv, status) &&
           flags_words_check(verb, *argc, argv, low, high, status) &&
           client_check(verb, k->at, status);
}

/* Sends words and returns the answer; NULL: *status is what to exit with and it was said why. */
static redisReply *ask(const struct verb *verb, const struct keys *k, size_t count, char **words,
                       int *status)
{
    struct kelp_bytes *bytes = calloc(count, sizeof *bytes);
    struct client c;
    client_init(&c, CLIENT_TIMEOUT_MS);
    c.once = k->once;
    redisReply *reply = NULL;
    *status = CLI_FAILED;
    if (bytes == NULL) {
        (void)cli_error(verb, CLI_FAILED, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        bytes[i] = bytes_of(words[i], strlen(words[i]));
    reply = client_ask(&c, k->at, count, bytes);
    free(bytes);
    if (reply == NULL) (void)cli_error(verb, CLI_FAILED, "%s", c.error);
    client_close(&c);
    return reply;
}

/* The same for verbs whose answer is never an error unless something went wrong. */
static redisReply *ask_well(const struct verb *verb, const struct keys *k, size_t count,
                            char **words, int *status)
{
    redisReply *reply = ask(verb, k, count, words, status);
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) return reply;
    *status = cli_error(verb, client_failure(reply->str), "%s", reply->str);
    freeReplyObject(reply);
    return NULL;
}

#define KEY_BYTES 16u

/* The same for what writes, under a key of its own: however often it is sent, to however many
 * nodes, it is executed once. */
static redisReply *ask_once(const struct verb *verb, struct keys *k, size_t count, char **words,
                            int *status)
{
    char raft[] = "RAFT", once[] = "ONCE", key[] = "KEY", text[2 * KEY_BYTES + 1];
    uint8_t random[KEY_BYTES];
    char **all = calloc(count + ONCE_WORDS, sizeof *all);
    if (all == NULL || getentropy(random, sizeof random) != 0) {
        free(all);
        *status = cli_error(verb, CLI_FAILED, "no memory, or no random bytes for a key");
        return NULL;
    }
    for (size_t i = 0; i < KEY_BYTES; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", random[i]);
    char *head[ONCE_WORDS] = {raft, once, key, text};
    memcpy(all, head, sizeof head);
    memcpy(all + ONCE_WORDS, words, count * sizeof *words);
    k->once = true;
    redisReply *reply = ask_well(verb, k, count + ONCE_WORDS, all, status);
    free(all);
    return reply;
}

static bool is_number(const char *word)
{
    return word[0] != '\0' && word[strspn(word, "0123456789")] == '\0';
}

/* A level and what belongs to it, and nothing else: behind a level the server takes a command. */
static bool is_level(char **words, size_t count)
{
    static const char *const alone[] = {"linearizable", "lease", "stale", "any", "log"};
    size_t used = 0;
    for (size_t i = 0; i < COUNT_OF(alone) && count > 0; i++)
        used |= strcasecmp(words[0], alone[i]) == 0;
    if (used == 0) return false;
    if (strcasecmp(words[0], "stale") == 0) {
        if (count < 2 || !is_number(words[1])) return false;
        used = 2;
    }
    if (strcasecmp(words[0], "lease") == 0 && count > 1 && strcasecmp(words[1], "round") == 0)
        used = 2;
    if (used == count) return true;
    return used + 2 == count && strcasecmp(words[used], "after") == 0 && is_number(words[used + 1]);
}

/* The words of a level, of which text becomes the bytes; false: it is none. */
static bool level_split(char *text, char **words, size_t *count)
{
    char *rest = NULL;
    *count = 0;
    for (char *at = strtok_r(text, " ", &rest); at != NULL; at = strtok_r(NULL, " ", &rest)) {
        if (*count == READ_WORDS_MAX) return false;
        words[(*count)++] = at;
    }
    return is_level(words, *count);
}

int get_verb(const struct verb *verb, int argc, char **argv)
{
    struct keys k;
    int status;
    if (!begin(verb, &k, &argc, argv, 1, 1, FLAGS_ANYWHERE, &status)) return status;
    char raft[] = "RAFT", with[] = "WITH", command[] = "GET";
    char *words[READ_WORDS_MAX + 4] = {raft, with};
    char *level = strdup(k.read != NULL ? k.read : "");
    size_t count = 0;
    if (level == NULL) return cli_error(verb, CLI_FAILED, "out of memory");
    if (k.read != NULL && !level_split(level, words + 2, &count)) {
        free(level);
        return cli_error(verb, CLI_USAGE,
                         "--read '%s': linearizable, lease [round], stale MS, any or log, then "
                         "[after INDEX]",
                         k.read);
    }
    if (k.read != NULL) count += 2;
    words[count++] = command;
    words[count++] = argv[1];
    redisReply *reply = ask_well(verb, &k, count, words, &status);
    free(level);
    if (reply == NULL) return status;
    bool there = reply->type == REDIS_REPLY_STRING;
    struct kelp_bytes value = there ? bytes_of(reply->str, reply->len) : bytes_of(NULL, 0);
    status = there ? CLI_DONE : CLI_FAILED;
    if (k.json) {
        json_t *key = print_json_bytes(bytes_of(argv[1], strlen(argv[1])));
        json_t *shown = there ? print_json_bytes(value) : json_null();
        int printed = print_json(verb, json_pack("{so so}", "key", key, "value", shown));
        if (printed != CLI_DONE) status = printed;
    } else if (there) {
        (void)fwrite(value.data, 1, value.len, stdout);
        (void)putchar('\n');
    } else {
        (void)cli_error(verb, CLI_FAILED, "%s: no such key", argv[1]);
    }
    freeReplyObject(reply);
    return status;
}

int set_verb(const struct verb *verb, int argc, char **argv)
{
    struct keys k;
    int status;
    if (!begin(verb, &k, &argc, argv, 2, 2, FLAGS_ANYWHERE, &status)) return status;
    char command[] = "SET";
    char *words[] = {command, argv[1], argv[2]};
    redisReply *reply = ask_once(verb, &k, 3, words, &status);
    if (reply == NULL) return status;
    freeReplyObject(reply);
    if (k.json) return print_json(verb, json_pack("{sb}", "ok", 1));
    (void)puts("OK");
    return CLI_DONE;
}

int del_verb(const struct verb *verb, int argc, char **argv)
{
    struct keys k;
    int status;
    if (!begin(verb, &k, &argc, argv, 1, -1, FLAGS_ANYWHERE, &status)) return status;
    char command[] = "DEL";
    argv[0] = command;
    redisReply *reply = ask_once(verb, &k, (size_t)argc, argv, &status);
    if (reply == NULL) return status;
    long long deleted = reply->integer;
    freeReplyObject(reply);
    if (k.json) return print_json(verb, json_pack("{sI}", "deleted", (json_int_t)deleted));
    (void)printf("%lld\n", deleted);
    return CLI_DONE;
}

/* The number behind "leader=" in the answer. */
static uint64_t leader_named(const redisReply *reply)
{
    const char *at = reply->str != NULL ? strstr(reply->str, "leader=") : NULL;
    return at != NULL ? strtoull(at + strlen("leader="), NULL, 10) : 0;
}

int transfer_verb(const struct verb *verb, int argc, char **argv)
{
    struct keys k;
    int status;
    if (!begin(verb, &k, &argc, argv, 0, 1, FLAGS_ANYWHERE, &status)) return status;
    char command[] = "RAFT", sub[] = "TRANSFER";
    char *words[] = {command, sub, argc > 1 ? argv[1] : NULL};
    redisReply *reply = ask_well(verb, &k, argc > 1 ? 3 : 2, words, &status);
    if (reply == NULL) return status;
    uint64_t leader = leader_named(reply);
    freeReplyObject(reply);
    if (k.json) return print_json(verb, json_pack("{sI}", "leader", (json_int_t)leader));
    (void)printf("node %" PRIu64 " leads now\n", leader);
    return CLI_DONE;
}

/* ---- call -------------------------------------------------------------------------------- */

static void show(const redisReply *reply, unsigned depth)
{
    switch (reply->type) {
    case REDIS_REPLY_NIL: (void)puts("(nil)"); return;
    case REDIS_REPLY_INTEGER: (void)printf("%lld\n", reply->integer); return;
    case REDIS_REPLY_ARRAY: break;
    default: /* strings, status lines and errors are all text */
        (void)fwrite(reply->str, 1, reply->len, stdout);
        (void)putchar('\n');
        return;
    }
    if (reply->elements == 0) (void)puts("(empty)");
    for (size_t i = 0; i < reply->elements; i++) {
        (void)printf("%s%zu) ", i > 0 && depth > 0 ? "   " : "", i + 1);
        if (depth < NESTING_MAX) show(reply->element[i], depth + 1);
    }
}

static json_t *value_of(const redisReply *reply, unsigned depth)
{
    switch (reply->type) {
    case REDIS_REPLY_NIL: return json_null();
    case REDIS_REPLY_INTEGER: return json_integer(reply->integer);
    case REDIS_REPLY_ERROR: return json_pack("{ss}", "error", reply->str);
    case REDIS_REPLY_ARRAY: break;
    default: return print_json_bytes(bytes_of(reply->str, reply->len));
    }
    json_t *list = json_array();
    for (size_t i = 0; i < reply->elements && depth < NESTING_MAX; i++)
        (void)json_array_append_new(list, value_of(reply->element[i], depth + 1));
    return list;
}

int call_verb(const struct verb *verb, int argc, char **argv)
{
    struct keys k;
    int status;
    if (!begin(verb, &k, &argc, argv, 1, -1, FLAGS_BEFORE_WORDS, &status)) return status;
    redisReply *reply = ask(verb, &k, (size_t)argc - 1, argv + 1, &status);
    if (reply == NULL) return status;
    bool error = reply->type == REDIS_REPLY_ERROR;
    status = error ? (int)client_failure(reply->str) : CLI_DONE;
    if (k.json) {
        int printed = print_json(verb, json_pack("{so}", "answer", value_of(reply, 0)));
        if (printed != CLI_DONE) status = printed;
    } else if (error) {
        (void)cli_error(verb, CLI_FAILED, "%s", reply->str);
    } else {
        show(reply, 0);
    }
    freeReplyObject(reply);
    return status;
}
