/* SPDX-License-Identifier: Apache-2.0 */
/* bootstrap.c - `kelp bootstrap`: a cluster of one node, of a node that runs or in a directory. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/min.h"
#include "cli/client.h"
#include "kelp/node.h"

/* Of a node that runs: RAFT BOOTSTRAP. */
static int found_running(const struct verb *verb, const char *at, bool if_empty, bool json)
{
    struct client c;
    int status = CLI_FAILED;
    client_init(&c, CLIENT_TIMEOUT_MS);
    redisReply *reply = NULL;
    if (client_connect_any(&c, at))
        reply = client_line(&c, if_empty ? "RAFT BOOTSTRAP IFEMPTY" : "RAFT BOOTSTRAP");
    if (reply == NULL)
        status = cli_error(verb, CLI_FAILED, "%s", c.error);
    else if (reply->type == REDIS_REPLY_ERROR)
        status = cli_error(verb, client_failure(reply->str), "%s", reply->str);
    else
        status = CLI_DONE;
    if (status == CLI_DONE && json)
        status = print_json(verb, json_pack("{s:s}", "at", c.at));
    else if (status == CLI_DONE)
        (void)printf("OK at=%s\n", c.at);
    if (reply != NULL) freeReplyObject(reply);
    client_close(&c);
    return status;
}

/* In a directory that nobody uses. */
static int found_directory(const struct verb *verb, const struct kelp_node_options *options,
                           bool if_empty, bool json)
{
    struct kelp_fault fault = {.error = KELP_OK};
    struct kelp_cluster_id cluster;
    char text[40];
    enum kelp_error error = kelp_found(options, if_empty, &cluster, &fault);
    if (error != KELP_OK) {
        bool usage = error == KELP_E_ARGUMENT;
        return cli_error(verb, usage ? CLI_USAGE : CLI_FAILED, "%s: %s: %s", options->data,
                         fault.where, fault.what);
    }
    (void)snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, cluster.hi, cluster.lo);
    if (json) return print_json(verb, json_pack("{s:s}", "cluster_id", text));
    (void)printf("OK cluster_id=%s\n", text);
    return CLI_DONE;
}

int bootstrap_verb(const struct verb *verb, int argc, char **argv)
{
    const char *at = NULL, *data = NULL, *peer = NULL;
    uint64_t id = 1;
    bool json = false, if_empty = false;
    int status = CLI_DONE;
    const struct flag flags[] = {
        client_flag(&at),
        {.name = "if-empty",
         .kind = FLAG_SWITCH,
         .to.on = &if_empty,
         .words = "a cluster that is there already is fine"},
        {.name = "data",
         .kind = FLAG_TEXT,
         .to.text = &data,
         .value = "DIR",
         .words = "write it into this empty directory"},
        {.name = "peer",
         .kind = FLAG_TEXT,
         .to.text = &peer,
         .value = "HOST:PORT",
         .words = "with --data: where other members will dial it"},
        {.name = "id",
         .kind = FLAG_NUMBER,
         .to.number = &id,
         .low = 1,
         .high = INT64_MAX,
         .value = "N",
         .words = "with --data: the node's id"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &json, .words = "the answer as JSON"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, 0, &status))
        return status;
    if (data == NULL) {
        if (peer != NULL)
            return cli_error(verb, CLI_USAGE, "--peer %s: only with --data DIR", peer);
        return client_check(verb, at, &status) ? found_running(verb, at, if_empty, json) : status;
    }
    if (peer == NULL)
        return cli_error(verb, CLI_USAGE, "--data %s: needs --peer HOST:PORT beside it", data);
    struct kelp_node_options options = kelp_node_options_default(id, data);
    options.peer = peer;
    return found_directory(verb, &options, if_empty, json);
}
