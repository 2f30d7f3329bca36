/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c - the state machine's port: entries are applied and questions answered on the loop's
 * thread.
 *
 * A state machine that lives in memory costs less than waking another thread for it; the driver
 * gives one batch at a time, so that the sockets have their turns in between. */
#include "base/assert.h"
#include "node/room.h"

struct reply_to {
    struct node *node;
    kelp_index first;
};

static void reply_of_command(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_to *to = sink;
    driver_result(to->node->driver, to->first + i, bytes);
}

static void machine_apply(void *machine, kelp_index first, const struct kelp_bytes *entries,
                          size_t count)
{
    struct node *n = machine;
    struct reply_to to = {n, first};
    struct kelp_fault fault = {.error = KELP_OK};
    uint64_t begun = uv_hrtime();
    enum kelp_error error = rsm_apply(n->rsm, first, entries, count, reply_of_command, &to, &fault);
    hist_add(&n->histograms.apply_ns, uv_hrtime() - begun);
    if (error == KELP_OK)
        driver_applied(n->driver, first + count - 1);
    else
        driver_machine_fault(n->driver, &fault);
}

struct query_to {
    struct node *node;
    uint64_t token;
    bool answered;
};

static void reply_of_query(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct query_to *to = sink;
    ASSERT(i == 0 && !to->answered);
    to->answered = true;
    driver_query_result(to->node->driver, to->token, bytes);
}

static enum kelp_query machine_query(void *machine, uint64_t token, struct kelp_bytes question,
                                     int may_begin)
{
    struct node *n = machine;
    struct query_to to = {n, token, false};
    enum kelp_query state = rsm_query_part(n->rsm, token, question, may_begin, reply_of_query, &to);
    if (state == KELP_QUERY_DONE && !to.answered)
        driver_query_result(n->driver, token, bytes_of(NULL, 0));
    return state;
}

static void machine_query_end(void *machine, uint64_t token)
{
    struct node *n = machine;
    rsm_query_end(n->rsm, token);
}

static size_t machine_snapshot(void *machine, const struct wire_config *config, uint8_t *out,
                               struct kelp_pos *pos)
{
    struct node *n = machine;
    struct wire_judge
        own; /* the driver knows the cluster id, which may be younger than this process */
    driver_judge(n->driver, &own);
    size_t len = rsm_snapshot(n->rsm, config, own.cluster, own.epoch, out, pos);
    n->snapshot_open = *pos;
    return len;
}

static bool machine_frees(void *machine, struct kelp_bytes command)
{
    const struct node *n = machine;
    return rsm_frees(n->rsm, command);
}

const struct driver_machine_ops node_machine_ops = {
    .size = sizeof(struct driver_machine_ops),
    .apply = machine_apply,
    .query = machine_query,
    .query_end = machine_query_end,
    .snapshot = machine_snapshot,
    .frees = machine_frees,
};
