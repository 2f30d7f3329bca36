/* SPDX-License-Identifier: Apache-2.0 */
/* commands.h - the commands the server answers itself, and the way of every command to whoever runs
 * it.
 *
 * Commands on keys stand in the machine's table (kv/commands.h); these here look at the connection,
 * the settings or the node. A row without run is known and not in this version, and says so. */
#ifndef SERVER_COMMANDS_H
#define SERVER_COMMANDS_H

#include "kv/commands.h"

struct client;
struct server;

struct call {
    struct client *client;
    struct server *server;
    const struct kelp_bytes *argv;
    size_t argc;
    struct buf *reply;
};

enum server_command_flag {
    COMMAND_GROUP = 1,   /* has subcommands */
    COMMAND_IN_TURN = 2, /* runs when every earlier request of its connection is answered */
};

struct server_command {
    struct kv_command row; /* code 0, no run */
    const char *parent;    /* a subcommand's group; NULL: none */
    unsigned flags;        /* enum server_command_flag */
    const char *words;     /* Redis's command flags, as COMMAND INFO says them */
    const char *categories;
    const char *tips;
    void (*run)(const struct call *call);
};

extern const struct server_command server_commands[];
extern const size_t server_commands_count;

/* command_dispatch - look a command up, check its words, and run it, submit it or park it. */
void command_dispatch(struct client *c, const struct kelp_bytes *argv, size_t argc,
                      struct buf *reply);

/* command_run - run one of ours now. */
void command_run(struct client *c, const struct server_command *command,
                 const struct kelp_bytes *argv, size_t argc, struct buf *reply);

/* word_is - is the argument this lower-case word, in any case? */
bool word_is(struct kelp_bytes argument, const char *word);

/* one family of commands each; see their files */
void run_command(const struct call *call); /* introspect.c */
void run_command_count(const struct call *call);
void run_command_info(const struct call *call);
void run_command_docs(const struct call *call);
void run_command_list(const struct call *call);
void run_command_getkeys(const struct call *call);
void run_info(const struct call *call); /* info.c */
void run_role(const struct call *call); /* cluster.c */
void run_cluster_slots(const struct call *call);
void run_cluster_shards(const struct call *call);
void run_cluster_nodes(const struct call *call);
void run_cluster_info(const struct call *call);
void run_cluster_myid(const struct call *call);
void run_cluster_keyslot(const struct call *call);
void run_raft_status(const struct call *call);
void run_raft_hash(const struct call *call);
void run_raft_snapshot(const struct call *call); /* snapshots.c */
void run_raft_rejoin(const struct call *call);   /* rejoin.c */
void run_raft_restore(const struct call *call);  /* restores.c */
void run_raft_reload(const struct call *call);   /* reload.c */
void run_raft_config(const struct call *call);
void run_raft_members(const struct call *call);
void run_raft_bootstrap(const struct call *call); /* members.c */
void run_raft_change(const struct call *call);
void run_raft_plan(const struct call *call);
void run_raft_drain(const struct call *call);
void run_raft_transfer(const struct call *call);
void run_raft_read(const struct call *call); /* reads.c */
void run_raft_with(const struct call *call);
void run_raft_index(const struct call *call);
void run_raft_session(const struct call *call); /* once.c */
void run_raft_once(const struct call *call);
void run_config_get(const struct call *call); /* connection.c */
void run_config_set(const struct call *call);
void run_config_resetstat(const struct call *call);
void run_config_rewrite(const struct call *call);
void run_ping(const struct call *call);
void run_echo(const struct call *call);
void run_quit(const struct call *call);
void run_select(const struct call *call);
void run_hello(const struct call *call);
void run_auth(const struct call *call);
void run_ok(const struct call *call);
void run_client_setname(const struct call *call);
void run_client_getname(const struct call *call);
void run_client_id(const struct call *call);
void run_client_info(const struct call *call);
void run_client_list(const struct call *call);

#endif
