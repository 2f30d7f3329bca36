/* SPDX-License-Identifier: Apache-2.0 */
/* drain.c - `kelp drain` and `kelp undrain`: may a node lead?
 *
 * A drain is the node's own, so it is asked of that node: without an ID of the one that --at names,
 * with one of the address that the members' list has for it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/min.h"
#include "cli/client.h"

/* The value of a pair in "id:2 role:voter client:host:port"; false: there is none. */
static bool pair_of(const char *line, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    for (const char *at = line; *at != '\0';) {
        size_t len = strcspn(at, " ");
        if (len > name_len && at[name_len] == ':' && strncmp(at, name, name_len) == 0) {
            int wrote = snprintf(out, size, "%.*s", (int)(len - name_len - 1), at + name_len + 1);
            return wrote > 0 && (size_t)wrote < size;
        }
        at += len;
        at += strspn(at, " ");
    }
    return false;
}

/* Where the clients of a member connect, as the first node that answers knows it. */
static bool address_of(const struct verb *verb, struct client *c, const char *id, char *out,
                       int *status)
{
    redisReply *list = client_line(c, "RAFT MEMBERS");
    bool known = false, member = false;
    for (size_t i = 1; list != NULL && list->type == REDIS_REPLY_ARRAY && i < list->elements; i++) {
        char found[CLI_ADDRESS_MAX];
        const redisReply *line = list->element[i];
        if (line->type != REDIS_REPLY_STRING || !pair_of(line->str, "id", found, sizeof found))
            continue;
        if (strcmp(found, id) != 0) continue;
        member = true;
        known = pair_of(line->str, "client", out, CLI_ADDRESS_MAX);
    }
    if (list == NULL)
        *status = cli_error(verb, CLI_FAILED, "%s", c->error);
    else if (!member)
        *status = cli_error(verb, CLI_FAILED, "node %s is no member that %s knows", id, c->at);
    else if (!known)
        *status = cli_error(verb, CLI_FAILED,
                            "%s does not know where node %s serves clients; name it with --at",
                            c->at, id);
    if (list != NULL) freeReplyObject(list);
    return known;
}

static redisReply *ask(const struct verb *verb, const char *at, const char *id, int *status)
{
    struct client c;
    char address[CLI_ADDRESS_MAX];
    const struct kelp_bytes words[] = {bytes_of("RAFT", 4),
                                       bytes_of(verb->name, strlen(verb->name))};
    redisReply *reply = NULL;
    client_init(&c, CLIENT_TIMEOUT_MS);
    *status = CLI_FAILED;
    bool connected = client_connect_any(&c, at);
    if (connected && id != NULL) {
        c.harmless = true;
        if (!address_of(verb, &c, id, address, status)) {
            client_close(&c);
            return NULL;
        }
        client_close(&c);
        c.harmless = false;
        connected = client_connect(&c, address);
    }
    if (connected) reply = client_call(&c, 2, words);
    if (reply == NULL)
        (void)cli_error(verb, CLI_FAILED, "%s", c.error);
    else if (reply->type == REDIS_REPLY_ERROR)
        *status = cli_error(verb, client_failure(reply->str), "%s: %s", c.at, reply->str);
    client_close(&c);
    if (reply == NULL || reply->type == REDIS_REPLY_STATUS) return reply;
    freeReplyObject(reply);
    return NULL;
}

int drain_verb(const struct verb *verb, int argc, char **argv)
{
    const char *at = NULL;
    bool json = false, drains = strcmp(verb->name, "drain") == 0;
    int status = CLI_DONE;
    uint64_t leader = 0;
    const struct flag flags[] = {
        client_flag(&at),
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &json, .words = "the answer as JSON"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, 1, &status) || !client_check(verb, at, &status))
        return status;
    if (argc > 1 && (argv[1][0] == '0' || argv[1][strspn(argv[1], "0123456789")] != '\0'))
        return cli_error(verb, CLI_USAGE, "%s: must be the id of a node, a number above 0",
                         argv[1]);
    redisReply *reply = ask(verb, at, argc > 1 ? argv[1] : NULL, &status);
    if (reply == NULL) return status;
    const char *text = strstr(reply->str, "leader=");
    if (text != NULL) leader = strtoull(text + 7, NULL, 10);
    freeReplyObject(reply);
    if (json)
        return print_json(
            verb, json_pack("{sbsI}", "drained", (int)drains, "leader", (json_int_t)leader));
    if (drains)
        (void)printf("drained: it does not lead until it is undrained or started again; ");
    else
        (void)printf("undrained: it may lead; ");
    if (leader != 0)
        (void)printf("node %" PRIu64 " leads now\n", leader);
    else
        (void)printf("nobody leads now\n");
    return CLI_DONE;
}
