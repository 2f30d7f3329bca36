/* SPDX-License-Identifier: Apache-2.0 */
/* commands.c - the table of the server's own commands, and dispatch; see commands.h. */
#include "server/commands.h"

#include <ctype.h>
#include <stdio.h>

#include "proto/resp_reply.h"
#include "server/client.h"
#include "server/server.h"

#define UNKNOWN_TEXT_MAX 128u /* of an unknown command's name, and of its arguments together */

#define LOCAL    "loading stale"
#define FREELY   "loading stale fast"
#define UNAUTHED "noscript loading stale fast no_auth allow_busy"
#define ADMIN    "admin noscript loading stale"
#define ANY      "nondeterministic_output"
#define ORDER    "nondeterministic_output_order"

#define COMMAND(name_, parent_, arity_, flags_, group_, since_, words_, categories_, tips_, run_,  \
                summary_)                                                                          \
    {                                                                                              \
        .row = {.name = (name_),                                                                   \
                .name_len = sizeof(name_) - 1,                                                     \
                .arity = (arity_),                                                                 \
                .group = (group_),                                                                 \
                .since = (since_),                                                                 \
                .complexity = "O(1)",                                                              \
                .summary = (summary_)},                                                            \
        .parent = (parent_), .flags = (flags_), .words = (words_), .categories = (categories_),    \
        .tips = (tips_), .run = (run_)                                                             \
    }

/* clang-format off */
const struct server_command server_commands[] = {
    COMMAND("ping", NULL, -1, 0, "connection", "1.0.0", "fast", "fast connection",
            "request_policy:all_shards response_policy:all_succeeded", run_ping,
            "PONG, or the message given"),
    COMMAND("echo", NULL, 2, 0, "connection", "1.0.0", FREELY, "fast connection", "", run_echo,
            "The message given"),
    COMMAND("quit", NULL, -1, 0, "connection", "1.0.0", UNAUTHED, "fast connection", "", run_quit,
            "Close the connection once everything is answered"),
    COMMAND("select", NULL, 2, 0, "connection", "1.0.0", FREELY, "fast connection", "", run_select,
            "Choose database 0, the only one"),
    COMMAND("hello", NULL, -1, 0, "connection", "6.0.0", UNAUTHED, "fast connection", "", run_hello,
            "Agree on the protocol; RESP2 is spoken"),
    COMMAND("auth", NULL, -2, 0, "connection", "1.0.0", UNAUTHED, "fast connection", "", run_auth,
            "Say who one is; no password is set"),
    COMMAND("command", NULL, -1, COMMAND_GROUP, "server", "2.8.13", LOCAL, "slow connection", ORDER,
            run_command, "Every command and what is known of it"),
    COMMAND("count", "command", 2, 0, "server", "2.8.13", LOCAL, "slow connection", "",
            run_command_count, "How many commands there are"),
    COMMAND("info", "command", -2, 0, "server", "2.8.13", LOCAL, "slow connection", ORDER,
            run_command_info, "What is known of some commands"),
    COMMAND("docs", "command", -2, 0, "server", "7.0.0", LOCAL, "slow connection", ORDER,
            run_command_docs, "Documentation of some commands"),
    COMMAND("list", "command", -2, 0, "server", "7.0.0", LOCAL, "slow connection", ORDER,
            run_command_list, "The names of all commands"),
    COMMAND("getkeys", "command", -4, 0, "server", "2.8.13", LOCAL, "slow connection", "",
            run_command_getkeys, "The keys in a whole command"),
    COMMAND("client", NULL, -2, COMMAND_GROUP, "connection", "2.4.0", "", "slow", "", NULL,
            "About connections"),
    COMMAND("setname", "client", 3, 0, "connection", "2.6.9", "noscript loading stale",
            "slow connection", "", run_client_setname, "Name this connection"),
    COMMAND("getname", "client", 2, 0, "connection", "2.6.9", "noscript loading stale",
            "slow connection", "", run_client_getname, "The name of this connection"),
    COMMAND("id", "client", 2, 0, "connection", "5.0.0", "noscript loading stale",
            "slow connection", "", run_client_id, "The number of this connection"),
    COMMAND("info", "client", 2, 0, "connection", "6.2.0", "noscript loading stale",
            "slow connection", ANY, run_client_info, "This connection in a line"),
    COMMAND("list", "client", -2, 0, "connection", "2.4.0", ADMIN,
            "admin slow dangerous connection", ANY, run_client_list, "Every connection in a line"),
    COMMAND("kill", "client", -3, 0, "connection", "2.4.0", "", "", "", NULL, ""),
    COMMAND("no-evict", "client", 3, 0, "connection", "7.0.0", "", "", "", NULL, ""),
    COMMAND("pause", "client", -3, 0, "connection", "3.0.0", "", "", "", NULL, ""),
    COMMAND("unpause", "client", 2, 0, "connection", "6.2.0", "", "", "", NULL, ""),
    COMMAND("reply", "client", 3, 0, "connection", "3.2.0", "", "", "", NULL, ""),
    COMMAND("tracking", "client", -3, 0, "connection", "6.0.0", "", "", "", NULL, ""),
    COMMAND("unblock", "client", -3, 0, "connection", "5.0.0", "", "", "", NULL, ""),
    COMMAND("config", NULL, -2, COMMAND_GROUP, "server", "2.0.0", "", "slow", "", NULL,
            "About settings"),
    COMMAND("get", "config", -3, 0, "server", "2.0.0", ADMIN, "admin slow dangerous", "",
            run_config_get, "Settings whose names match patterns"),
    COMMAND("set", "config", -4, 0, "server", "2.0.0", ADMIN, "admin slow dangerous",
            "request_policy:all_nodes response_policy:all_succeeded", run_config_set,
            "Change settings of this node until it stops or reloads"),
    COMMAND("resetstat", "config", 2, 0, "server", "2.0.0", ADMIN, "admin slow dangerous", "",
            run_config_resetstat, "Set the counters of INFO to zero"),
    COMMAND("rewrite", "config", 2, 0, "server", "2.8.0", ADMIN, "admin slow dangerous", "",
            run_config_rewrite, "Write what CONFIG SET changed into the settings file"),
    COMMAND("info", NULL, -1, COMMAND_IN_TURN, "server", "1.0.0", LOCAL, "slow dangerous",
            "nondeterministic_output request_policy:all_shards response_policy:special", run_info,
            "What this node does, for people and monitors"),
    COMMAND("role", NULL, 1, COMMAND_IN_TURN, "server", "2.8.12", "noscript loading stale fast",
            "admin fast dangerous", "", run_role, "Does this node lead, and whom does it follow"),
    COMMAND("cluster", NULL, -2, COMMAND_GROUP, "cluster", "3.0.0", "", "slow", "", NULL,
            "About the cluster, as cluster clients ask"),
    COMMAND("slots", "cluster", 2, 0, "cluster", "3.0.0", "stale", "slow", ANY, run_cluster_slots,
            "Who serves which slots"),
    COMMAND("shards", "cluster", 2, 0, "cluster", "7.0.0", "stale", "slow", ANY,
            run_cluster_shards, "The one shard and its nodes"),
    COMMAND("nodes", "cluster", 2, 0, "cluster", "3.0.0", "stale", "slow", ANY, run_cluster_nodes,
            "Every node in a line"),
    COMMAND("info", "cluster", 2, 0, "cluster", "3.0.0", "stale", "slow", ANY, run_cluster_info,
            "How the cluster is"),
    COMMAND("myid", "cluster", 2, 0, "cluster", "3.0.0", "stale", "slow", "", run_cluster_myid,
            "The name of this node"),
    COMMAND("keyslot", "cluster", 3, 0, "cluster", "3.0.0", "stale", "slow", "",
            run_cluster_keyslot, "The slot of a key"),
    COMMAND("raft", NULL, -2, COMMAND_GROUP, "cluster", "7.0.0", "", "slow", "", NULL,
            "About consensus"),
    COMMAND("status", "raft", 2, COMMAND_IN_TURN, "cluster", "7.0.0", LOCAL, "slow", ANY,
            run_raft_status, "This node in name:value lines"),
    COMMAND("hash", "raft", 2, COMMAND_IN_TURN, "cluster", "7.0.0", LOCAL, "slow", ANY,
            run_raft_hash, "This node's applied index and the hash of its state there"),
    COMMAND("members", "raft", 2, COMMAND_IN_TURN, "cluster", "7.0.0", LOCAL, "slow", ANY,
            run_raft_members, "The members as this node's log has them"),
    COMMAND("bootstrap", "raft", -2, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_bootstrap, "Have an empty node found a cluster of itself alone: [ifempty]"),
    COMMAND("add", "raft", -3, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_change, "Add a member: id|auto [host:port] [voter|learner|witness]"),
    COMMAND("promote", "raft", -3, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_change, "Make a learner a voter, once it has caught up"),
    COMMAND("demote", "raft", -3, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_change, "Make a voter a learner"),
    COMMAND("remove", "raft", -3, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_change, "Remove a member; its id is never given again"),
    COMMAND("replace", "raft", -4, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_change, "Replace a member: old new|auto [host:port]"),
    COMMAND("move", "raft", -4, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_change, "Another peer address for a member: id host:port"),
    COMMAND("set", "raft", -3, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_change, "The whole list anew: id=host:port[/role] ..."),
    COMMAND("priority", "raft", -4, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_change, "Who is preferred as leader: id 0..255, 0 never leads, usually 1"),
    COMMAND("plan", "raft", -3, 0, "cluster", "7.0.0", "noscript", "admin slow", ANY, run_raft_plan,
            "What a change would do: verb ..., or stop id"),
    COMMAND("transfer", "raft", -2, 0, "cluster", "7.0.0", "admin noscript", "slow", "",
            run_raft_transfer, "Hand leadership over to a node, or to the best: [id]"),
    COMMAND("drain", "raft", 2, 0, "cluster", "7.0.0", "admin noscript", "slow", ANY,
            run_raft_drain, "Move leadership away from this node, and keep it away"),
    COMMAND("undrain", "raft", 2, 0, "cluster", "7.0.0", "admin noscript", "slow", ANY,
            run_raft_drain, "Let this node lead again"),
    COMMAND("snapshot", "raft", -3, COMMAND_IN_TURN, "cluster", "7.0.0", ADMIN,
            "admin slow dangerous", ANY, run_raft_snapshot,
            "Take a snapshot of this node now, list those it has, or read one piece by piece: "
            "now|list|read index term offset"),
    COMMAND("rejoin", "raft", -2, COMMAND_IN_TURN, "cluster", "7.0.0", ADMIN,
            "admin slow dangerous", ANY, run_raft_rejoin,
            "Give up this node's state for that of a healthy member: [FROM id] [FORCE]"),
    COMMAND("restore", "raft", -3, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_restore,
            "A step of a restore of the whole cluster: begin id objects bytes time own [FORCE], "
            "part id number object, commit id, abort id; or status"),
    COMMAND("reload", "raft", 2, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_reload, "Read the settings file of this node again: all of it or nothing"),
    COMMAND("config", "raft", 2, 0, "cluster", "7.0.0", ADMIN, "admin slow dangerous", "",
            run_raft_config, "The settings in force, where each was said, and if it is live"),
    COMMAND("why", "raft", -2, 0, "cluster", "7.0.0", "", "", "", NULL, ""),
    COMMAND("read", "raft", -3, 0, "cluster", "7.0.0", FREELY, "fast connection", "",
            run_raft_read, "How reads of this connection are answered: level [AFTER index]"),
    COMMAND("with", "raft", -4, 0, "cluster", "7.0.0", LOCAL, "slow", "", run_raft_with,
            "One command at a read level: level [AFTER index] command ..."),
    COMMAND("index", "raft", 2, COMMAND_IN_TURN, "cluster", "7.0.0", FREELY, "fast connection",
            ANY, run_raft_index, "Nothing above this index was shown to this connection yet"),
    COMMAND("session", "raft", -3, 0, "cluster", "7.0.0", "write noscript", "write slow", ANY,
            run_raft_session, "Open a session and say its number, or end one: new|end number"),
    COMMAND("once", "raft", -5, 0, "cluster", "7.0.0", "write noscript", "write slow", "",
            run_raft_once,
            "A command that is executed once however often it is sent: "
            "session sequence [ACK sequence] command ..., or key text command ..."),
    COMMAND("readonly", NULL, 1, 0, "cluster", "3.0.0", FREELY, "fast connection", "", run_ok,
            "Accepted; reads stay linearizable on every node"),
    COMMAND("readwrite", NULL, 1, 0, "cluster", "3.0.0", FREELY, "fast connection", "", run_ok,
            "Accepted; see READONLY"),
};
/* clang-format on */

const size_t server_commands_count = sizeof server_commands / sizeof server_commands[0];

bool word_is(struct kelp_bytes argument, const char *word)
{
    return kv_word_is(argument, word, strlen(word));
}

static const struct server_command *find(struct kelp_bytes name, const char *parent)
{
    for (size_t i = 0; i < server_commands_count; i++) {
        const struct server_command *s = &server_commands[i];
        bool same = s->parent == parent ||
                    (parent != NULL && s->parent != NULL && strcmp(parent, s->parent) == 0);
        if (same && kv_word_is(name, s->row.name, s->row.name_len)) return s;
    }
    return NULL;
}

/* ---- errors, in Redis's words ------------------------------------------------------------- */

static int shown(struct kelp_bytes word, size_t max)
{
    const void *end = word.len > 0 ? memchr(word.data, '\0', word.len) : NULL;
    size_t len = end != NULL ? (size_t)((const uint8_t *)end - word.data) : word.len;
    return (int)(len < max ? len : max);
}

static void unknown_command(const struct kelp_bytes *argv, size_t argc, struct buf *reply)
{
    char args[UNKNOWN_TEXT_MAX + 8] = "";
    size_t len = 0;
    for (size_t i = 1; i < argc && len < UNKNOWN_TEXT_MAX; i++) {
        int width = shown(argv[i], UNKNOWN_TEXT_MAX - len);
        len += (size_t)snprintf(args + len, sizeof args - len, "'%.*s' ", width,
                                (const char *)argv[i].data);
    }
    (void)resp_error(reply, "ERR unknown command '%.*s', with args beginning with: %s",
                     shown(argv[0], UNKNOWN_TEXT_MAX), (const char *)argv[0].data, args);
}

static void upper(const char *name, char *out, size_t size)
{
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < size; i++)
        out[i] = (char)toupper((unsigned char)name[i]);
    out[i] = '\0';
}

static void unknown_subcommand(const struct server_command *group, struct kelp_bytes name,
                               struct buf *reply)
{
    char parent[32];
    upper(group->row.name, parent, sizeof parent);
    (void)resp_error(reply, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                     shown(name, UNKNOWN_TEXT_MAX), (const char *)name.data, parent);
}

static void wrong_arity(const struct server_command *s, const char *name, struct buf *reply)
{
    (void)resp_error(reply, "ERR wrong number of arguments for '%s%s%s' command",
                     s != NULL && s->parent != NULL ? s->parent : "",
                     s != NULL && s->parent != NULL ? "|" : "", name);
}

static void absent(const struct server_command *s, struct buf *reply)
{
    char parent[32], name[32];
    upper(s->parent, parent, sizeof parent);
    upper(s->row.name, name, sizeof name);
    (void)resp_error(reply, "ERR %s %s is not in this version", parent, name);
}

/* GROUP HELP, from the table. */
static void help(const struct server_command *group, struct buf *reply)
{
    size_t rows = 0;
    char parent[32], name[32], line[160];
    for (size_t i = 0; i < server_commands_count; i++) {
        const struct server_command *s = &server_commands[i];
        if (s->parent != NULL && s->run != NULL && strcmp(s->parent, group->row.name) == 0) rows++;
    }
    upper(group->row.name, parent, sizeof parent);
    (void)resp_array(reply, 1 + 2 * rows + 2);
    (void)snprintf(line, sizeof line,
                   "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", parent);
    (void)resp_simple(reply, line);
    for (size_t i = 0; i < server_commands_count; i++) {
        const struct server_command *s = &server_commands[i];
        if (s->parent == NULL || s->run == NULL || strcmp(s->parent, group->row.name) != 0)
            continue;
        upper(s->row.name, name, sizeof name);
        (void)resp_simple(reply, name);
        (void)snprintf(line, sizeof line, "    %s.", s->row.summary);
        (void)resp_simple(reply, line);
    }
    (void)resp_simple(reply, "HELP");
    (void)resp_simple(reply, "    Print this help.");
}

/* ---- dispatch ----------------------------------------------------------------------------- */

void command_run(struct client *c, const struct server_command *command,
                 const struct kelp_bytes *argv, size_t argc, struct buf *reply)
{
    struct call call = {
        .client = c, .server = c->server, .argv = argv, .argc = argc, .reply = reply};
    command->run(&call);
}

static void own_command(struct client *c, const struct server_command *command,
                        const struct kelp_bytes *argv, size_t argc, struct buf *reply)
{
    if (!kv_arity_fits(&command->row, argc)) {
        wrong_arity(command, command->row.name, reply);
        return;
    }
    c->last_command = command->row.name;
    if ((command->flags & COMMAND_GROUP) != 0 && argc > 1) {
        const struct server_command *sub = find(argv[1], command->row.name);
        if (sub == NULL && argc == 2 && word_is(argv[1], "help"))
            help(command, reply);
        else if (sub == NULL)
            unknown_subcommand(command, argv[1], reply);
        else
            own_command(c, sub, argv, argc, reply);
    } else if (command->run == NULL) {
        absent(command, reply);
    } else if ((command->flags & COMMAND_IN_TURN) != 0 && c->open_count > 0) {
        if (!client_park(c, command, argv, argc)) (void)resp_error(reply, "ERR out of memory");
    } else {
        command_run(c, command, argv, argc, reply);
    }
}

void command_dispatch(struct client *c, const struct kelp_bytes *argv, size_t argc,
                      struct buf *reply)
{
    const struct kv_command *machine = kv_command_find(argv[0]);
    if (machine == NULL) {
        if (word_is(argv[0], "post") || word_is(argv[0], "host:")) {
            client_is_browser(c);
            return;
        }
        const struct server_command *own = find(argv[0], NULL);
        if (own != NULL)
            own_command(c, own, argv, argc, reply);
        else
            unknown_command(argv, argc, reply);
        return;
    }
    c->last_command = machine->name;
    if (kv_arity_fits(machine, argc))
        client_submit(c, machine, argv, argc, reply);
    else
        wrong_arity(NULL, machine->name, reply);
}
