/* SPDX-License-Identifier: Apache-2.0 */
/* rejoin.c - `kelp rejoin`: a node in quarantine takes the state of a healthy member.
 *
 * The node answers at once, and this waits until it says that it has rejoined. It stops waiting,
 * not the node, if nothing moves any more: then the node's own words say why. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/min.h"
#include "cli/client.h"

#define LOOK_MS   100u
#define GIVEN_UP  300u /* looks in which nothing moved */
#define WORDS_MAX 160u

struct look {
    uint64_t rejoined, index, bytes, restored;
    char rejoin[WORDS_MAX], health[32];
};

/* The value of a line "name:value"; false: there is none. */
static bool line_of(const char *text, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, "\r\n");
        if (len > name_len && at[name_len] == ':' && strncmp(at, name, name_len) == 0) {
            (void)snprintf(out, size, "%.*s", (int)(len - name_len - 1), at + name_len + 1);
            return true;
        }
        at += len;
        at += strspn(at, "\r\n");
    }
    return false;
}

static bool number_of(const char *text, const char *name, uint64_t *out)
{
    char value[32];
    if (!line_of(text, name, value, sizeof value)) return false;
    *out = strtoull(value, NULL, 10);
    return true;
}

/* False: said why. */
static bool look_at(const struct verb *verb, struct client *c, struct look *look)
{
    redisReply *reply = client_line(c, "RAFT STATUS");
    bool right = reply != NULL && reply->type == REDIS_REPLY_STRING;
    right = right && number_of(reply->str, "rejoined", &look->rejoined) &&
            number_of(reply->str, "applied_index", &look->index) &&
            number_of(reply->str, "fetch_bytes", &look->bytes) &&
            number_of(reply->str, "fetch_restored", &look->restored) &&
            line_of(reply->str, "rejoin", look->rejoin, sizeof look->rejoin) &&
            line_of(reply->str, "health", look->health, sizeof look->health);
    if (!right)
        (void)cli_error(verb, CLI_FAILED, "%s",
                        reply == NULL                      ? c->error
                        : reply->type == REDIS_REPLY_ERROR ? reply->str
                                                           : "it knows of no RAFT REJOIN");
    if (reply != NULL) freeReplyObject(reply);
    return right;
}

static int say(const struct verb *verb, const struct look *look, bool json)
{
    if (json)
        return print_json(
            verb, json_pack("{sIss}", "index", (json_int_t)look->index, "health", look->health));
    (void)printf("rejoined: its state is that of a healthy member, at %" PRIu64 "; health:%s\n",
                 look->index, look->health);
    return CLI_DONE;
}

static bool moved(const struct look *was, const struct look *is)
{
    return was->bytes != is->bytes || was->restored != is->restored ||
           strcmp(was->rejoin, is->rejoin) != 0;
}

static int wait_for_it(const struct verb *verb, struct client *c, uint64_t before, bool json)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    struct look look = {.rejoin = ""}, next;
    for (unsigned idle = 0; idle < GIVEN_UP;) {
        if (!look_at(verb, c, &next)) return CLI_FAILED;
        if (next.rejoined > before) return say(verb, &next, json);
        if (strcmp(next.rejoin, "no") == 0) {
            /* by a snapshot that the leader gave it anyway, or it was started again */
            if (strcmp(next.health, "ok") == 0) return say(verb, &next, json);
            return cli_error(verb, CLI_FAILED, "it has ended without another state; health:%s",
                             next.health);
        }
        idle = moved(&look, &next) ? 0 : idle + 1;
        look = next;
        (void)nanosleep(&pause, NULL);
    }
    return cli_error(verb, CLI_FAILED, "it goes on, and nothing has moved for %u s: it %s",
                     GIVEN_UP * LOOK_MS / 1000, look.rejoin);
}

static int rejoin(const struct verb *verb, struct client *c, uint64_t from, bool force, bool json)
{
    char line[96], named[32] = "";
    struct look before;
    if (!look_at(verb, c, &before)) return CLI_FAILED;
    if (from != 0) (void)snprintf(named, sizeof named, " FROM %" PRIu64, from);
    (void)snprintf(line, sizeof line, "RAFT REJOIN%s%s", named, force ? " FORCE" : "");
    redisReply *reply = client_line(c, line);
    int status = CLI_DONE;
    if (reply == NULL)
        status = cli_error(verb, CLI_FAILED, "%s", c->error);
    else if (reply->type == REDIS_REPLY_ERROR)
        status = cli_error(verb, client_failure(reply->str), "%s: %s", c->at, reply->str);
    if (reply != NULL) freeReplyObject(reply);
    return status != CLI_DONE ? status : wait_for_it(verb, c, before.rejoined, json);
}

int rejoin_verb(const struct verb *verb, int argc, char **argv)
{
    const char *at = NULL;
    bool json = false, force = false;
    uint64_t from = 0;
    int status = CLI_DONE;
    const struct flag flags[] = {
        client_flag(&at),
        {.name = "from",
         .value = "ID",
         .kind = FLAG_NUMBER,
         .to.number = &from,
         .low = 1,
         .high = INT64_MAX,
         .words = "the state of this member, and of no other"},
        {.name = "force",
         .kind = FLAG_SWITCH,
         .to.on = &force,
         .words = "whatever is known of the states: you know which one is right"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &json, .words = "the answer as JSON"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, 0, &status) || !client_check(verb, at, &status))
        return status;
    struct client c;
    client_init(&c, CLIENT_TIMEOUT_MS);
    c.harmless = true; /* asked twice it goes on as it is */
    if (!client_connect_any(&c, at))
        status = cli_error(verb, CLI_FAILED, "%s", c.error);
    else
        status = rejoin(verb, &c, from, force, json);
    client_close(&c);
    return status;
}
