/* SPDX-License-Identifier: Apache-2.0 */
/* cli.c - the table of verbs, and who runs one.
 *
 * Verbs that a later version will have stand in the table without code, so that their name is an
 * honest "not in this version" and never taken for a typing mistake. */
#include "cli/cli.h"

#include <string.h>

#include "base/min.h"
#include "base/version.h"
#include "cli/room.h"
#include "store/store.h"
#include "wire/frame.h"

static const struct verb verbs[] = {
    {"server", "--id N --data DIR --bootstrap ID=HOST:PORT,...", "run one member of a cluster", "",
     NULL},
    {"dev", "[--nodes 3] [--dir ./kelp-dev] [--fresh] [--base-port 7000]",
     "run a whole cluster on this machine",
     "\nOn its terminal, or from another one as `kelp dev WORDS`:\n"
     "  kill N     end node N with SIGKILL\n"
     "  start N    start it again; the number after the last: one more, which asks to join\n"
     "  pause N    stop it where it is (SIGSTOP)\n"
     "  resume N   let it go on (SIGCONT)\n"
     "  status     all nodes in a table\n"
     "  quit       end all nodes\n"
     "\nTimers are shorter than those of a server: --set heartbeat-ms=50 --set election-ms=300.\n",
     dev_verb},
    {"demo", "[--explain]", "three nodes, 10,000 writes, the leader killed, nothing lost",
     "\nExits 0 only if every acknowledged write is there, through every node, afterwards.\n",
     demo_verb},
    {"status", "[--watch] [--json]", "how the cluster is",
     "\nA row a node; above them who leads, or why nobody does and who must come back.\n",
     status_verb},
    {"get", "KEY [--read LEVEL]", "read a key",
     "\nExits 1 if there is no such key. LEVEL is one argument: what the answer may miss, and\n"
     "with 'after INDEX' what it must not. Without it: linearizable.\n",
     get_verb},
    {"set", "KEY VALUE", "write a key", "", set_verb},
    {"del", "KEY...", "delete keys", "\nPrints how many there were.\n", del_verb},
    {"transfer", "[ID]", "move the leadership to node ID, or to the best",
     "\nPrints who leads now. Clients see no error: their writes wait and go to the new leader.\n",
     transfer_verb},
    {"drain", "[ID]", "move the leadership away from a node, and keep it away",
     "\nOf the node that --at names, or of node ID; before it is stopped, say. It goes on voting "
     "and\n"
     "serving. Ends with `kelp undrain`, or when the node is started again.\n",
     drain_verb},
    {"undrain", "[ID]", "let a drained node lead again", "\nThe end of `kelp drain`.\n",
     drain_verb},
    {"rejoin", "[--from ID] [--force]", "a node in quarantine takes the state of a healthy member",
     "\nOf the node that --at names: its vote and its log stay, its state is replaced by a newer\n"
     "snapshot of a member that is known to be healthy. Waits until it has happened. --force is\n"
     "for members that differ where no majority tells which is right: name the right one with\n"
     "--from, and with --at the one that is to take its state.\n",
     rejoin_verb},
    {"reload", "", "have a node read its settings file again",
     "\nOf the node that --at names: the file of its --config, under the flags it was started "
     "with.\n"
     "All of it or nothing: exits 2 if a value is wrong, or a setting changed that needs a "
     "restart.\n"
     "Prints what is another value now. What CONFIG SET changed ends with it.\n",
     settings_verb},
    {"config", "", "the settings in force on a node, and where each was said",
     "\nOf the node that --at names. `kelp server --settings` says what each is for.\n",
     settings_verb},
    {"call", "COMMAND [ARGUMENT]...", "send any command and print the answer",
     "\nFlags stand before COMMAND: all that follows it is sent as it is.\n", call_verb},
    {"members", "[list] | add|promote|demote|remove|move|replace|set|priority ... | plan ...",
     "who is in the cluster, and changing it",
     "\n  list                                 the leader's view: how the others do, who knocks\n"
     "  add ID|auto [HOST:PORT] [voter|learner|witness]\n"
     "                                       the node waits there, started without --bootstrap;\n"
     "                                       auto: it has no id and is given the next free one;\n"
     "                                       no address: it knocks, started with --join\n"
     "  promote ID, demote ID                a learner gets the vote, a voter loses it\n"
     "  remove ID                            for good: its id is never given again\n"
     "  replace OLD NEW|auto [HOST:PORT]     one goes, another comes, in one change\n"
     "  move ID HOST:PORT                    its peer address is another one now\n"
     "  set ID=HOST:PORT[/role] ...          the whole list; whoever is not in it leaves\n"
     "  priority ID N                        the highest leads if it can; usually 1, 0 never "
     "leads\n"
     "  plan VERB ...                        what that would do; nothing is changed\n"
     "  plan stop ID                         may that node be stopped now? Exits 1 if not\n"
     "\nBehind each change: `if INDEX` (made of that configuration or not at all), `nowait` (not\n"
     "after another one), `force` (even if too few voters would answer). Waits until the new "
     "roles\n"
     "are committed; a new voter must first catch up.\n",
     members_verb},
    {"bootstrap", "[--if-empty] [--data DIR --peer HOST:PORT [--id N]]",
     "found a cluster of one node",
     "\nWithout --data: the node that is asked, which runs, is empty, and was started with "
     "neither\n"
     "--bootstrap nor --join. With it: the empty directory DIR of a node that does not run, which\n"
     "others will dial at HOST:PORT. All other nodes join: `kelp server --join`, `kelp members "
     "add`."
     "\nA cluster that is there is never touched; with --if-empty that is no error.\n",
     bootstrap_verb},
    {"bench", "[--clients N] [--pipeline N] [--value BYTES] [--command set|get|mixed] ...",
     "how fast is this server, and does it keep what it says",
     "\nFor any server that speaks RESP. Every answer is judged; a sample of the keys is read "
     "back.\n"
     "Exits 1 if one is wrong or nothing was done.\n",
     bench_verb},
    {"snapshot", "now|list | save FILE|- | info|verify FILE | fetch ...",
     "snapshots of a node, or in a file",
     "\nnow: take one of what the node has applied, and wait until it is on disk; unchanged if\n"
     "nothing is new since the last. list: newest first. save: take one, and keep a copy of it in\n"
     "FILE, whole or not at all; - is standard output. info: the head of a file. verify: all of\n"
     "it; exits 1 if it is damaged. Every node has its own; --at names one.\n"
     "fetch: another member's for a node that does not run; `kelp snapshot fetch --help` says "
     "more.\n",
     snapshot_verb},
    {"log", "dump DIR", "a data directory as text, however damaged",
     "\nNever writes, takes no lock. Exits 1 if something is damaged.\n", log_verb},
    {"recover", "--data DIR --members ID[=HOST:PORT],... [--yes] | --compare DIR...",
     "go on from one disk after the quorum was lost",
     "\nFor a cluster that lost more voters than it can do without, and for nothing else: what "
     "only\n"
     "the lost ones held is gone. --compare first: it says which disk to choose. Without --yes it\n"
     "is only told what would be done, and no byte changes. The log is kept whole, the members "
     "are\n"
     "those that are named, and a new recovery epoch keeps all others out. docs/recovery.md is "
     "the\n"
     "walk through it. Exits 1 if a member of the past still runs, 3 if the directory is damaged,\n"
     "in use, empty, a witness's, or not what the token is for.\n",
     recover_verb},
    {"sim",
     "run|shrink|soak [FLAGS] | explore [--depth N] ... | check FILE | "
     "scenario FILE [--rewrite | --step]",
     "simulate a whole cluster under faults",
     "\nrun: 60 simulated seconds of faults for each seed from S on, then healing; the same seed\n"
     "gives the same events everywhere. A single seed that fails is shrunk.\n"
     "shrink: the smallest schedule that fails like this one. soak: seeds until Ctrl-C.\n"
     "explore: every interleaving in a small scope; `kelp sim explore --help` says more.\n"
     "scenario: play one story and compare its transcript, or tell it --step by step;\n"
     "`kelp sim scenario --help` says more. check: is a recorded client history linearizable?\n"
     "Exits 0 yes, 1 no or undecided, 2 malformed; docs/histories.md has the form, - is standard\n"
     "input.\n",
     sim_verb},
};

static const char *const later[] = {
    "top", "cli", "watch", "doctor", "why", "replay", "certs",
};

static void print_overview(FILE *out)
{
    (void)fputs("kelp: a replicated key-value store that any Redis client can talk to\n\n", out);
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        (void)fprintf(out, "  kelp %-8s %s\n", verbs[i].name, verbs[i].words);
    (void)fputs("\n  kelp VERB --help says more; kelp --version says what this is.\n", out);
}

/* The formats' numbers stand in their files' heads too; a log or snapshot of another is refused. */
static void print_version(void)
{
    (void)printf("kelp %s, commit %s, protocol %u, log %u, snapshot %u\n", version_program,
                 version_commit, WIRE_PROTOCOL_VERSION, STORE_LOG_VERSION, WIRE_SNAPHEAD_VERSION);
}

int cli_main(int argc, char **argv)
{
    static const struct verb none = {.name = ""};
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        print_overview(stdout);
        return CLI_DONE;
    }
    if (strcmp(name, "--version") == 0) {
        print_version();
        return CLI_DONE;
    }
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (strcmp(name, verbs[i].name) == 0 && verbs[i].run != NULL)
            return verbs[i].run(&verbs[i], argc - 1, argv + 1);
    }
    for (size_t i = 0; i < COUNT_OF(later); i++) {
        if (strcmp(name, later[i]) == 0)
            return cli_error(&none, CLI_USAGE, "%s: not in this version (%s)", name,
                             version_program);
    }
    return cli_error(&none, CLI_USAGE, "%s: no such verb; `kelp --help` lists them", name);
}
