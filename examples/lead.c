/* SPDX-License-Identifier: Apache-2.0 */
/* lead.c - one of three does the work: whoever leads and is ready. The leadership moves, a member
 * goes, and the work goes on. All three run in this process, to keep the example in one file. */
#include <kelp/kelp.h>
#include <stdio.h>

#define NODES  3
#define SECOND UINT64_C(1000000000)

static void apply(void *fsm, uint32_t group, const struct kelp_command *commands, size_t count,
                  kelp_reply_fn reply, void *sink)
{
    (void)fsm, (void)group, (void)commands;
    for (size_t i = 0; i < count; i++)
        reply(sink, i, (struct kelp_bytes){NULL, 0});
}
static void query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                  void *sink)
{
    (void)fsm, (void)group, (void)question;
    reply(sink, 0, (struct kelp_bytes){NULL, 0});
}
static uint64_t hash(void *fsm, uint32_t group)
{
    return (void)fsm, (void)group, 0;
}

/* READY is where work that only the leader does begins, OVER where it must have ended. */
static void on_lead(void *ctx, enum kelp_lead_event event, const struct kelp_leadership *now)
{
    static const char *const words[] = {"", "is elected", "begins to work", "ends its work", ""};
    (void)now;
    if (event != KELP_LEAD_OTHER) printf("node %d %s\n", *(const int *)ctx, words[event]);
}

static struct kelp_node *nodes[NODES + 1]; /* by id */
static int ids[NODES + 1] = {0, 1, 2, 3};

static int wrong(const char *what, enum kelp_reason reason)
{
    return printf("%s: %s\n", what, kelp_reason_words(reason)), 1;
}

static enum kelp_error open_all(char *argv[], struct kelp_fault *fault)
{
    static struct kelp_fsm_ops machine = {.size = sizeof machine, .flags = KELP_FSM_IN_MEMORY};
    machine.apply = apply, machine.query = query, machine.hash = hash;
    char all[400], data[32];
    (void)snprintf(all, sizeof all, "1=%s,2=%s,3=%s", argv[1], argv[2], argv[3]);
    for (int id = 1; id <= NODES; id++) {
        (void)snprintf(data, sizeof data, "kelp-lead-%d", id);
        struct kelp_node_options options = kelp_node_options_default((kelp_id)id, data);
        options.peer = argv[id];
        options.bootstrap = all;
        options.lead = on_lead;
        options.lead_ctx = &ids[id];
        enum kelp_error error = kelp_node_open(&options, &machine, NULL, &nodes[id], fault);
        if (error != KELP_OK) return error;
    }
    return KELP_OK;
}

/* The node that leads once it may work; NULL: none does in time. */
static struct kelp_node *worker(struct kelp_leadership *now)
{
    if (kelp_await_call(nodes[1], KELP_AWAIT_LEADER, 0, 30 * SECOND, now)) return NULL;
    struct kelp_node *node = nodes[now->leader];
    return kelp_await_call(node, KELP_AWAIT_READY, 0, 30 * SECOND, now) ? NULL : node;
}

static int work(void)
{
    struct kelp_leadership now;
    struct kelp_result result;
    struct kelp_node *first = worker(&now);
    if (first == NULL) return wrong("nobody leads", KELP_R_NO_LEADER);
    kelp_id old = now.leader;
    if (kelp_transfer_call(first, 0, &result)) return wrong("not moved", result.reason);
    struct kelp_node *second = nodes[result.leader];
    if (kelp_await_call(second, KELP_AWAIT_READY, 0, 30 * SECOND, &now))
        return wrong("never ready", KELP_R_TIMEOUT);
    printf("moved from node %d to node %d\n", (int)old, (int)now.leader);
    /* It is told to demote itself: it hands over first, and its successor does it. */
    struct kelp_member_edit edit = {.id = now.leader, .verb = KELP_EDIT_DEMOTE};
    struct kelp_member_change change = {.count = 1, .edits = &edit, .timeout = 30 * SECOND};
    if (kelp_node_change_call(second, &change, &result)) return wrong("stays", result.reason);
    kelp_leadership(second, &now);
    printf("node %d is a learner now, and %s\n", (int)edit.id, now.leads ? "leads" : "follows");
    return now.leads;
}

int main(int argc, char *argv[])
{
    struct kelp_fault fault = {.error = KELP_OK};
    if (argc != NODES + 1) return puts("lead HOST:PORT HOST:PORT HOST:PORT"), 2;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    int status = open_all(argv, &fault) == KELP_OK ? work() : (puts(fault.what), 1);
    for (int id = 1; id <= NODES; id++)
        kelp_node_close(nodes[id]);
    return status;
}
