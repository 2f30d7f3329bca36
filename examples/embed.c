/* SPDX-License-Identifier: Apache-2.0 */
/* embed.c - a replicated counter: run it again and it goes on where it was. */
#include <kelp/node.h>
#include <stdio.h>

static int64_t sum; /* the state: equal on every member, since all apply the same commands */

static void apply(void *fsm, uint32_t group, const struct kelp_command *commands, size_t count,
                  kelp_reply_fn reply, void *sink)
{
    (void)fsm, (void)group;
    for (size_t i = 0; i < count; i++) {
        sum += commands[i].payload.data[0];
        reply(sink, i, (struct kelp_bytes){(const uint8_t *)&sum, sizeof sum});
    }
}
static void query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                  void *sink)
{
    (void)fsm, (void)group, (void)question;
    reply(sink, 0, (struct kelp_bytes){(const uint8_t *)&sum, sizeof sum});
}
static uint64_t hash(void *fsm, uint32_t group)
{
    return (void)fsm, (void)group, (uint64_t)sum;
}
int main(int argc, char **argv)
{
    struct kelp_fsm_ops counter = {.size = sizeof counter, .flags = KELP_FSM_IN_MEMORY};
    counter.apply = apply, counter.query = query, counter.hash = hash;
    struct kelp_node_options options = kelp_node_options_default(1, "kelp-counter");
    options.bootstrap = argc > 1 ? argv[1] : "1=127.0.0.1:7101"; /* or "1=a:7101,2=b:7101,..." */
    struct kelp_node *node;
    struct kelp_fault fault = {.error = KELP_OK};
    if (kelp_node_open(&options, &counter, NULL, &node, &fault)) return puts(fault.what), 1;
    int64_t after = 0, seen = 0;
    struct kelp_result result;
    struct kelp_bytes five = {(const uint8_t *)"\5", 1}, question = {NULL, 0};
    enum kelp_error error = kelp_call(node, five, (uint8_t *)&after, sizeof after, &result);
    if (error == KELP_OK) error = kelp_ask(node, question, (uint8_t *)&seen, sizeof seen, &result);
    printf("%s: plus 5 is %ld, read %ld\n", kelp_outcome_name(result.outcome), after, seen);
    kelp_node_close(node); /* sums that were answered are on the disk */
    return error == KELP_OK && seen == after ? 0 : 1;
}
