/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c - `kelp reload` and `kelp config`: the settings of one node.
 *
 * Settings are a node's own, so it is asked of the node that --at names. Both answers are rows of
 * texts: key, old, new; and key, value, source, when. */
#include <stdio.h>
#include <string.h>

#include "base/min.h"
#include "cli/client.h"

#define COLUMNS_MAX 4u

struct form {
    const char *name, *request;
    size_t columns;
    const char *keys[COLUMNS_MAX]; /* in JSON */
};

static const struct form forms[] = {
    {"reload", "RAFT RELOAD", 3, {"key", "old", "new"}},
    {"config", "RAFT CONFIG", 4, {"key", "value", "source", "when"}},
};

static bool well_formed(const redisReply *reply, const struct form *form)
{
    if (reply->type != REDIS_REPLY_ARRAY) return false;
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *row = reply->element[i];
        if (row->type != REDIS_REPLY_ARRAY || row->elements != form->columns) return false;
        for (size_t k = 0; k < row->elements; k++)
            if (row->element[k]->type != REDIS_REPLY_STRING) return false;
    }
    return true;
}

static int json_rows(const struct verb *verb, const struct form *form, const redisReply *reply)
{
    json_t *list = json_array();
    for (size_t i = 0; i < reply->elements; i++) {
        json_t *row = json_object();
        for (size_t k = 0; k < form->columns; k++) {
            const redisReply *cell = reply->element[i]->element[k];
            struct kelp_bytes text = bytes_of(cell->str, cell->len);
            (void)json_object_set_new(row, form->keys[k], print_json_bytes(text));
        }
        (void)json_array_append_new(list, row);
    }
    return print_json(verb, list);
}

static void text_rows(const struct form *form, const redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++) {
        redisReply **cell = reply->element[i]->element;
        if (form->columns == 3)
            (void)printf("%s: %s -> %s\n", cell[0]->str, cell[1]->str, cell[2]->str);
        else
            (void)printf("%-22s %-22s %-8s %s\n", cell[0]->str,
                         cell[1]->len > 0 ? cell[1]->str : "\"\"", cell[3]->str, cell[2]->str);
    }
    if (form->columns == 3 && reply->elements == 0) (void)printf("nothing is changed\n");
}

int settings_verb(const struct verb *verb, int argc, char **argv)
{
    const char *at = NULL;
    bool json = false;
    int status = CLI_DONE;
    struct client c;
    const struct form *form = &forms[strcmp(verb->name, forms[0].name) == 0 ? 0 : 1];
    const struct flag flags[] = {
        client_flag(&at),
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &json, .words = "the answer as JSON"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, 0, &status) || !client_check(verb, at, &status))
        return status;
    client_init(&c, CLIENT_TIMEOUT_MS);
    redisReply *reply = NULL;
    c.harmless = form->columns != 3;
    if (client_connect_any(&c, at)) reply = client_line(&c, form->request);
    if (reply == NULL)
        status = cli_error(verb, CLI_FAILED, "%s", c.error);
    else if (reply->type == REDIS_REPLY_ERROR)
        status = cli_error(verb, CLI_USAGE, "%s: %s", c.at, reply->str);
    else if (!well_formed(reply, form))
        status =
            cli_error(verb, CLI_FAILED, "%s: an answer that is none to %s", c.at, form->request);
    else if (json)
        status = json_rows(verb, form, reply);
    else
        text_rows(form, reply);
    if (reply != NULL) freeReplyObject(reply);
    client_close(&c);
    return status;
}
