/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c - the state machine's port: entries are applied, questions answered and snapshots read
 * on the loop's thread.
 *
 * A state machine that lives in memory costs less than waking another thread for it; the driver
 * gives one batch at a time, so that the sockets have their turns in between. */
#include <inttypes.h>

#include "base/assert.h"
#include "node/room.h"

struct reply_to {
    struct node *node;
    kelp_index first;
};

static void reply_of_command(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_to *to = sink;
    enum kelp_reason reason = rsm_refused(to->node->rsm);
    if (reason != KELP_R_NONE)
        driver_result_refused(to->node->driver, to->first + i, reason);
    else
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

static enum kelp_error machine_snapshot_begin(void *machine, const struct wire_config *config,
                                              struct kelp_pos *pos, size_t *head_len)
{
    struct node *n = machine;
    struct wire_judge
        own; /* the driver knows the cluster id, which may be younger than this process */
    driver_judge(n->driver, &own);
    return rsm_snapshot_begin(n->rsm, config, own.cluster, own.epoch, pos, head_len);
}

static enum kelp_error machine_snapshot_read(void *machine, uint8_t *out, size_t *len, bool *last)
{
    struct node *n = machine;
    uint64_t begun = uv_hrtime();
    enum kelp_error error = rsm_snapshot_read(n->rsm, out, len, last);
    hist_add(&n->histograms.object_ns, uv_hrtime() - begun);
    return error;
}

static size_t machine_snapshot_head(void *machine, uint64_t objects, uint64_t bytes, uint8_t *out)
{
    struct node *n = machine;
    return rsm_snapshot_head(n->rsm, objects, bytes, out);
}

static void machine_snapshot_end(void *machine)
{
    struct node *n = machine;
    rsm_snapshot_end(n->rsm);
}

static bool machine_has_snapshots(void *machine)
{
    const struct node *n = machine;
    return rsm_has_snapshots(n->rsm);
}

static bool machine_wants_snapshot(void *machine)
{
    const struct node *n = machine;
    return rsm_wants_snapshot(n->rsm);
}

/* ---- starting from one ---- */

#define SAY_NS (2 * SECOND)

struct restoring {
    struct node *node;
    uint64_t bytes, began, said;
    const struct wire_snaphead *head;
};

static enum kelp_error object_restore(void *ctx, const struct wire_object *object,
                                      struct kelp_fault *fault)
{
    struct restoring *r = ctx;
    enum kelp_error error = rsm_restore_object(r->node->rsm, object, fault);
    r->bytes += object->bytes.len;
    uint64_t now = uv_hrtime();
    if (now - r->said < SAY_NS) return error;
    r->said = now;
    uint64_t took_ms = (now - r->began) / MILLISECOND;
    node_log(r->node, KELP_INFO,
             "restoring the snapshot at %" PRIu64 ": %" PRIu64 " %%, %" PRIu64 " MiB/s, %" PRIu64
             " s left",
             r->head->pos.index, min_u64(100, r->bytes * 100 / (r->head->object_bytes + 1)),
             r->bytes * 1000 / (took_ms + 1) >> 20,
             sub_sat(r->head->object_bytes, r->bytes) / (r->bytes / (took_ms + 1) + 1) / 1000);
    return error;
}

enum kelp_error machine_restore(struct node *n, struct kelp_fault *fault)
{
    const struct wire_snaphead *head = &store_found(n->store)->snapshot;
    if (head->pos.index == 0) return KELP_OK;
    uint64_t now = uv_hrtime();
    struct restoring r = {.node = n, .began = now, .said = now, .head = head};
    enum kelp_error error = rsm_restore_begin(n->rsm, head, fault);
    if (error != KELP_OK) return error;
    if (head->object_count > 0) error = store_snapshot_objects(n->store, object_restore, &r, fault);
    if (error == KELP_OK) return rsm_restore_commit(n->rsm, head, fault);
    rsm_restore_abort(n->rsm);
    return error;
}

/* ---- one that came from elsewhere, while it runs ---- */

static enum kelp_error machine_restore_begin(void *machine, const struct wire_snaphead *head,
                                             struct kelp_fault *fault)
{
    struct node *n = machine;
    return rsm_restore_begin(n->rsm, head, fault);
}

static enum kelp_error machine_restore_object(void *machine, const struct wire_object *object,
                                              struct kelp_fault *fault)
{
    struct node *n = machine;
    return rsm_restore_object(n->rsm, object, fault);
}

static enum kelp_error machine_restore_commit(void *machine, const struct wire_snaphead *head,
                                              struct kelp_fault *fault)
{
    struct node *n = machine;
    return rsm_restore_commit(n->rsm, head, fault);
}

static void machine_restore_abort(void *machine)
{
    struct node *n = machine;
    rsm_restore_abort(n->rsm);
}

static bool machine_frees(void *machine, struct kelp_bytes command)
{
    const struct node *n = machine;
    return rsm_frees(n->rsm, command);
}

static uint64_t machine_deadline(void *machine)
{
    const struct node *n = machine;
    return rsm_deadline(n->rsm);
}

static bool machine_lapses(void *machine, struct kelp_bytes question, uint64_t time_ns)
{
    const struct node *n = machine;
    return rsm_lapses(n->rsm, question, time_ns);
}

static void machine_tell_time(void *machine, uint64_t time_ns)
{
    const struct node *n = machine;
    rsm_tell_time(n->rsm, time_ns);
}

static size_t machine_extend(void *machine, struct kelp_bytes command, uint64_t wall_unix_ms,
                             uint8_t *out)
{
    const struct node *n = machine;
    return rsm_extend(n->rsm, command, wall_unix_ms, out);
}

static size_t machine_marks(void *machine, kelp_index after, struct wire_mark out[WIRE_MARK_KEPT])
{
    const struct node *n = machine;
    return rsm_marks(n->rsm, after, out);
}

static bool machine_staged(void *machine, struct kelp_restore_status *out)
{
    const struct node *n = machine;
    return rsm_staged(n->rsm, out);
}

const struct driver_machine_ops node_machine_ops = {
    .size = sizeof(struct driver_machine_ops),
    .apply = machine_apply,
    .query = machine_query,
    .query_end = machine_query_end,
    .snapshot_begin = machine_snapshot_begin,
    .snapshot_read = machine_snapshot_read,
    .snapshot_head = machine_snapshot_head,
    .snapshot_end = machine_snapshot_end,
    .has_snapshots = machine_has_snapshots,
    .wants_snapshot = machine_wants_snapshot,
    .marks = machine_marks,
    .restore_begin = machine_restore_begin,
    .restore_object = machine_restore_object,
    .restore_commit = machine_restore_commit,
    .restore_abort = machine_restore_abort,
    .frees = machine_frees,
    .deadline = machine_deadline,
    .lapses = machine_lapses,
    .tell_time = machine_tell_time,
    .extend = machine_extend,
    .staged = machine_staged,
};
