/* SPDX-License-Identifier: Apache-2.0 */
/* members.c - `kelp members`: the words of RAFT MEMBERS, ADD, PROMOTE ... as a verb.
 *
 * A list is asked of the leader, because only it knows how the others are doing; a change may be
 * asked of any node. Words are sent as they are: what is wrong with them the server says. */
#include <stdlib.h>
#include <string.h>

#include "base/min.h"
#include "cli/client.h"

#define WORDS_MAX         64
#define CHANGE_TIMEOUT_MS (24u * 3600 * 1000) /* the server's own deadline ends it */

/* "id:2 role:voter ..." as an object of strings. */
static json_t *pairs_json(const char *line)
{
    json_t *object = json_object();
    for (const char *at = line; *at != '\0';) {
        size_t len = strcspn(at, " ");
        const char *split = memchr(at, ':', len);
        if (split == NULL) split = memchr(at, '=', len);
        char name[32];
        if (split != NULL) {
            (void)snprintf(name, sizeof name, "%.*s", (int)(split - at), at);
            (void)json_object_set_new(object, name,
                                      json_stringn(split + 1, len - (size_t)(split + 1 - at)));
        }
        at += len;
        at += strspn(at, " ");
    }
    return object;
}

static int list_show(const struct verb *verb, const redisReply *reply, bool json)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return cli_error(verb, CLI_FAILED, "the answer makes no sense");
    for (size_t i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_STRING)
            return cli_error(verb, CLI_FAILED, "the answer makes no sense");
        if (!json) (void)puts(reply->element[i]->str);
    }
    if (!json) return CLI_DONE;
    json_t *object = pairs_json(reply->element[0]->str), *members = json_array();
    json_t *knocking = json_array();
    for (size_t i = 1; i < reply->elements; i++) {
        const char *line = reply->element[i]->str;
        bool knocks = strncmp(line, "knocks:", 7) == 0;
        json_t *pairs = pairs_json(line);
        const char *role = json_string_value(json_object_get(pairs, "role"));
        if (!knocks &&
            role != NULL) /* so that `kelp recover --members-file` reads it, as others do */
            (void)json_object_set_new(pairs, "non_voter", json_boolean(strcmp(role, "voter") != 0));
        (void)json_array_append_new(knocks ? knocking : members, pairs);
    }
    (void)json_object_set_new(object, "members", members);
    (void)json_object_set_new(object, "knocking", knocking);
    return print_json(verb, object);
}

/* The line, the members' lines and the sentences of a plan; the exit status says the verdict. */
static int plan_show(const struct verb *verb, const redisReply *reply, bool json)
{
    bool sound = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0;
    for (size_t i = 0; sound && i < reply->elements; i++)
        sound = reply->element[i]->type == REDIS_REPLY_STRING;
    if (!sound) return cli_error(verb, CLI_FAILED, "the answer makes no sense");
    json_t *object = pairs_json(reply->element[0]->str);
    json_t *members = json_array(), *words = json_array();
    const char *may = json_string_value(json_object_get(object, "may"));
    int status = may != NULL && strcmp(may, "yes") == 0 ? CLI_DONE : CLI_FAILED;
    for (size_t i = 1; i < reply->elements; i++) {
        const char *line = reply->element[i]->str;
        bool member = strncmp(line, "id:", 3) == 0;
        if (member)
            (void)json_array_append_new(members, pairs_json(line));
        else
            (void)json_array_append_new(words, json_string(line));
        if (!member && !json) (void)puts(line);
    }
    (void)json_object_set_new(object, "members", members);
    (void)json_object_set_new(object, "words", words);
    if (!json) {
        json_decref(object);
        return status;
    }
    int printed = print_json(verb, object);
    return printed != CLI_DONE ? printed : status;
}

/* True: the node that is asked leads; else leader is where it says that one is, "": it knows none.
 */
static bool leads(struct client *c, char leader[CLI_ADDRESS_MAX])
{
    redisReply *role = client_line(c, "ROLE");
    bool said = role != NULL && role->type == REDIS_REPLY_ARRAY && role->elements >= 3;
    bool master = said && role->element[0]->type == REDIS_REPLY_STRING &&
                  strcmp(role->element[0]->str, "master") == 0;
    bool follows = said && role->element[1]->type == REDIS_REPLY_STRING &&
                   role->element[1]->len > 0 && role->element[2]->type == REDIS_REPLY_INTEGER;
    leader[0] = '\0';
    if (follows)
        (void)snprintf(leader, CLI_ADDRESS_MAX, "%s:%lld", role->element[1]->str,
                       role->element[2]->integer);
    if (role != NULL) freeReplyObject(role);
    return master;
}

/* Connect to whoever leads; to the first that answers if nobody says who does: it may have been
 * removed, or wait to be founded. */
static bool connect_leader(struct client *c, const char *at)
{
    char address[CLI_ADDRESS_MAX], leader[CLI_ADDRESS_MAX];
    for (const char *rest = at; client_next(&rest, address);) {
        if (!client_connect(c, address)) continue;
        if (leads(c, leader)) return true;
        if (leader[0] != '\0' && client_connect(c, leader)) return true;
    }
    return client_connect_any(c, at);
}

static bool plans(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "plan") == 0;
}

/* NULL: *status is what to exit with, and it was said why. */
static redisReply *ask(const struct verb *verb, const char *at, int argc, char **argv, bool list,
                       int *status)
{
    struct kelp_bytes words[WORDS_MAX + 1] = {bytes_of("RAFT", 4)};
    struct client c;
    client_init(&c, list ? CLIENT_TIMEOUT_MS : CHANGE_TIMEOUT_MS);
    c.harmless = list || plans(argc, argv); /* it changes nothing */
    redisReply *reply = NULL;
    size_t count = 1;
    for (int i = 1; i < argc; i++)
        words[count++] = bytes_of(argv[i], strlen(argv[i]));
    if (list) words[1] = bytes_of("MEMBERS", 7);
    if (!list)
        reply = client_ask(&c, at, count, words);
    else if (connect_leader(&c, at))
        reply = client_call(&c, 2, words);
    if (reply == NULL) *status = cli_error(verb, CLI_FAILED, "%s", c.error);
    client_close(&c);
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) return reply;
    *status = cli_error(verb, client_failure(reply->str), "%s", reply->str);
    freeReplyObject(reply);
    return NULL;
}

int members_verb(const struct verb *verb, int argc, char **argv)
{
    static const char *const verbs[] = {"list", "add",     "promote", "demote",   "remove",
                                        "move", "replace", "set",     "priority", "plan"};
    const char *at = NULL;
    bool json = false, known = argc < 2;
    int status = CLI_DONE;
    const struct flag flags[] = {
        client_flag(&at),
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &json, .words = "the answer as JSON"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, WORDS_MAX - 1, &status) ||
        !client_check(verb, at, &status))
        return status;
    for (size_t i = 0; argc > 1 && i < COUNT_OF(verbs); i++)
        known = known || strcmp(argv[1], verbs[i]) == 0;
    bool list = argc < 2 || strcmp(argv[1], "list") == 0;
    if (!known && argc > 1)
        return cli_error(
            verb, CLI_USAGE,
            "\"%s\" is none of list, add, promote, demote, remove, move, replace, set, priority, "
            "plan",
            argv[1]);
    redisReply *reply = ask(verb, at, argc, argv, list, &status);
    if (reply == NULL) return status;
    if (plans(argc, argv))
        status = plan_show(verb, reply, json);
    else if (list)
        status = list_show(verb, reply, json);
    else if (json)
        status = print_json(verb, pairs_json(reply->str));
    else
        (void)puts(reply->str);
    freeReplyObject(reply);
    return status;
}
