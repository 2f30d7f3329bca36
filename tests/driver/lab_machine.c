/* SPDX-License-Identifier: Apache-2.0 */
/* lab_machine.c - the state machine of the lab: counts its commands and keeps the first few; its
 * snapshots are own bytes, or objects that say the state again and again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "driver/lab.h"

static void fsm_apply(void *fsm, uint32_t group, const struct kelp_command *commands, size_t count,
                      kelp_reply_fn reply, void *sink)
{
    struct lab_machine *m = fsm;
    (void)group;
    for (size_t i = 0; i < count; i++) {
        assert_true(commands[i].payload.len >= 8);
        m->last = load_u64(commands[i].payload.data);
        m->now = commands[i].time_ns;
        if (m->last >= LAB_LASTS && m->last < LAB_FREES) {
            m->due = m->now + (m->last - LAB_LASTS) * UINT64_C(1000000);
            m->beside_len = commands[i].extension.len;
            m->beside = m->beside_len >= 8 ? load_u64(commands[i].extension.data) : 0;
        }
        if (m->count < LAB_VALUES) m->values[m->count] = m->last;
        m->count++;
        uint8_t out[8];
        put_u64(out, m->count);
        reply(sink, i, bytes_of(out, sizeof out));
    }
}

static void fsm_query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                      void *sink)
{
    struct lab_machine *m = fsm;
    (void)group;
    size_t len = question.len == 8 ? (size_t)load_u64(question.data) : 16;
    uint8_t *out = calloc(1, len);
    assert_true(out != NULL && len >= 16);
    m->due_when_asked = m->due;
    put_u64(out, m->count);
    put_u64(out + 8, m->last);
    reply(sink, 0, bytes_of(out, len));
    free(out);
}

static enum kelp_query fsm_query_part(void *fsm, uint32_t group, uint64_t token,
                                      struct kelp_bytes question, int may_begin,
                                      kelp_reply_fn reply, void *sink)
{
    struct lab_machine *m = fsm;
    if (question.len == 16 && m->walk_token != token) {
        if (may_begin == 0) return KELP_QUERY_BUSY;
        assert_int_equal(m->walk_token, 0); /* one at a time */
        m->walk_token = token;
        m->walk_pieces = load_u64(question.data);
        m->walk_count = m->count;
    }
    if (question.len == 16 && m->walk_pieces-- > 1) return KELP_QUERY_MORE;
    if (question.len == 16) {
        assert_int_equal(m->walk_count, m->count); /* one state from beginning to end */
        m->walk_token = 0;
    }
    fsm_query(fsm, group, question, reply, sink);
    return KELP_QUERY_DONE;
}

static void fsm_query_end(void *fsm, uint32_t group, uint64_t token)
{
    struct lab_machine *m = fsm;
    (void)group;
    assert_int_equal(m->walk_token, token);
    m->walk_token = 0;
    m->walks_ended++;
}

static enum kelp_error fsm_snapshot(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                    void **snapshot)
{
    struct lab_machine *m = fsm;
    (void)group;
    put_u64(own, m->count);
    put_u64(own + 8, m->last);
    *own_len = 16;
    *snapshot = NULL;
    return KELP_OK;
}

static enum kelp_error fsm_restore(void *fsm, uint32_t group, struct kelp_pos pos, uint64_t time_ns,
                                   struct kelp_bytes own, void **restore)
{
    struct lab_machine *m = fsm;
    (void)group;
    (void)pos;
    (void)time_ns;
    if (own.len != 16) return KELP_E_MALFORMED;
    assert_false(m->restoring);
    m->restoring = true;
    m->restored[0] = load_u64(own.data);
    m->restored[1] = load_u64(own.data + 8);
    *restore = m;
    return KELP_OK;
}

/* Own bytes and objects as those of a snapshot of the same state. */
static enum kelp_error fsm_stage(void *fsm, uint32_t group, const struct kelp_stage *from,
                                 void **restore)
{
    struct lab_machine *m = fsm;
    (void)group;
    if (from->own.len != 16) return KELP_E_MALFORMED;
    assert_false(m->stage.open);
    m->stage = (struct lab_stage){
        .open = true, .state = {load_u64(from->own.data), load_u64(from->own.data + 8)}};
    *restore = &m->stage;
    return KELP_OK;
}

static enum kelp_error stage_commit(struct lab_machine *m)
{
    assert_true(m->stage.open);
    if (m->stage.objects == 0) return KELP_E_CORRUPT;
    m->stage.open = false;
    m->count = m->stage.state[0];
    m->last = m->stage.state[1];
    return KELP_OK;
}

static enum kelp_error fsm_commit(void *fsm, void *restore)
{
    struct lab_machine *m = fsm;
    if (restore == &m->stage) return stage_commit(m);
    assert_true(m->restoring);
    assert_int_equal(m->walk_token, 0); /* it would see two states */
    m->restoring = false;
    m->restores++;
    m->count = m->restored[0];
    m->last = m->restored[1];
    return KELP_OK;
}

static void fsm_abort(void *fsm, void *restore)
{
    struct lab_machine *m = fsm;
    if (restore == &m->stage) {
        assert_true(m->stage.open);
        m->stage.open = false;
        return;
    }
    assert_true(m->restoring);
    m->restoring = false;
}

/* The same in objects: the state as it was, said again in each. */
static enum kelp_error fsm_objects_begin(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                         void **snapshot)
{
    struct lab_machine *m = fsm;
    if (m->begin_error != KELP_OK) return m->begin_error;
    assert_int_equal(m->snapshots_begun, m->snapshots_ended);
    m->snapshots_begun++;
    m->reads_left = m->objects;
    m->copy[0] = m->count;
    m->copy[1] = m->last;
    return fsm_snapshot(fsm, group, own, own_len, snapshot);
}

static enum kelp_error fsm_objects_read(void *fsm, void *snapshot, uint8_t *out, size_t *len,
                                        bool *last)
{
    struct lab_machine *m = fsm;
    (void)snapshot;
    size_t bytes = m->object_bytes > 16 ? m->object_bytes : 16;
    assert_true(*len >= bytes && m->reads_left > 0);
    if (m->read_error != KELP_OK) return m->read_error;
    memset(out, 0, bytes);
    put_u64(out, m->copy[0]);
    put_u64(out + 8, m->copy[1]);
    *len = m->reads_left % 3 == 2 ? 0 : bytes; /* now and then nothing */
    *last = --m->reads_left == 0;
    return KELP_OK;
}

static void fsm_objects_end(void *fsm, void *snapshot)
{
    struct lab_machine *m = fsm;
    (void)snapshot;
    m->snapshots_ended++;
    assert_int_equal(m->snapshots_begun, m->snapshots_ended);
}

static enum kelp_error fsm_restore_object(void *fsm, void *restore, struct kelp_bytes object)
{
    struct lab_machine *m = fsm;
    if (restore == &m->stage) {
        bool same = object.len == 16 && load_u64(object.data) == m->stage.state[0];
        if (same) m->stage.objects++;
        return same ? KELP_OK : KELP_E_MALFORMED;
    }
    assert_true(m->restoring);
    assert_int_equal(object.len, m->object_bytes > 16 ? m->object_bytes : 16);
    assert_int_equal(load_u64(object.data), m->restored[0]);
    assert_int_equal(load_u64(object.data + 8), m->restored[1]);
    m->objects_restored++;
    m->objects_run++;
    m->objects_run_most =
        m->objects_run > m->objects_run_most ? m->objects_run : m->objects_run_most;
    return KELP_OK;
}

static uint64_t fsm_hash(void *fsm, uint32_t group)
{
    const struct lab_machine *m = fsm;
    (void)group;
    return hash_mix(m->count, m->last);
}

/* One thing may have a deadline. */
static uint64_t fsm_deadline(void *fsm, uint32_t group)
{
    const struct lab_machine *m = fsm;
    (void)group;
    return m->due != 0 ? m->due : KELP_FSM_NO_DEADLINE;
}

static void fsm_pass(void *fsm, uint32_t group, uint64_t time_ns, int alone)
{
    struct lab_machine *m = fsm;
    (void)group;
    assert_true(time_ns >= m->now);
    m->now = time_ns;
    m->ticks += alone != 0;
    if (m->due != 0 && m->due <= m->now) m->due = 0;
}

static bool fsm_lapses(void *fsm, uint32_t group, struct kelp_bytes question, uint64_t time_ns)
{
    const struct lab_machine *m = fsm;
    (void)group;
    (void)question;
    return m->due != 0 && m->due <= time_ns;
}

static size_t fsm_extend(void *fsm, uint32_t group, struct kelp_bytes command,
                         uint64_t wall_unix_ms, uint8_t *out)
{
    (void)fsm;
    (void)group;
    uint64_t value = command.len >= 8 ? load_u64(command.data) : 0;
    if (value < LAB_LASTS || value >= LAB_FREES) return 0;
    put_u64(out, wall_unix_ms);
    return 8;
}

static void fsm_close(void *fsm)
{
    free(fsm);
}

static bool fsm_frees(void *fsm, uint32_t group, struct kelp_bytes command)
{
    (void)fsm;
    (void)group;
    return command.len >= 8 && load_u64(command.data) >= LAB_FREES;
}

static const struct kelp_fsm_ops fsm_ops = {
    .size = sizeof(struct kelp_fsm_ops),
    .flags = KELP_FSM_IN_MEMORY | KELP_FSM_DISPOSABLE,
    .apply = fsm_apply,
    .query = fsm_query,
    .query_part = fsm_query_part,
    .query_end = fsm_query_end,
    .snapshot_begin = fsm_snapshot,
    .restore_begin = fsm_restore,
    .restore_object = fsm_restore_object,
    .restore_commit = fsm_commit,
    .restore_abort = fsm_abort,
    .hash = fsm_hash,
    .close = fsm_close,
    .frees = fsm_frees,
    .stage_begin = fsm_stage,
    .deadline = fsm_deadline,
    .pass = fsm_pass,
    .lapses = fsm_lapses,
    .extend = fsm_extend,
};

static bool fsm_wants(void *fsm, uint32_t group)
{
    const struct lab_machine *m = fsm;
    (void)group;
    return m->wants;
}

static const struct kelp_fsm_ops fsm_objects_ops = {
    .size = sizeof(struct kelp_fsm_ops),
    .flags = KELP_FSM_IN_MEMORY,
    .apply = fsm_apply,
    .query = fsm_query,
    .query_part = fsm_query_part,
    .query_end = fsm_query_end,
    .snapshot_begin = fsm_objects_begin,
    .snapshot_read = fsm_objects_read,
    .snapshot_end = fsm_objects_end,
    .restore_object = fsm_restore_object,
    .restore_begin = fsm_restore,
    .restore_commit = fsm_commit,
    .restore_abort = fsm_abort,
    .hash = fsm_hash,
    .close = fsm_close,
    .frees = fsm_frees,
    .wants_snapshot = fsm_wants,
    .stage_begin = fsm_stage,
};

const struct kelp_fsm_ops *lab_machine_ops(const struct lab_machine *m)
{
    return m->objects > 0 ? &fsm_objects_ops : &fsm_ops;
}

/* ---- as a driver sees it ---- */

struct reply_sink {
    struct lab_node *node;
    kelp_index first;
    uint64_t token;
};

static void result_reply(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_sink *s = sink;
    enum kelp_reason reason = rsm_refused(s->node->rsm);
    if (reason != KELP_R_NONE)
        driver_result_refused(s->node->driver, s->first + i, reason);
    else
        driver_result(s->node->driver, s->first + i, bytes);
}

static void query_reply(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_sink *s = sink;
    (void)i;
    driver_query_result(s->node->driver, s->token, bytes);
}

static void apply_now(struct lab_node *n, kelp_index first, const struct kelp_bytes *entries,
                      size_t count)
{
    struct reply_sink sink = {.node = n, .first = first};
    struct kelp_fault fault = {.error = KELP_OK};
    enum kelp_error error = rsm_apply(n->rsm, first, entries, count, result_reply, &sink, &fault);
    assert_int_equal(error, KELP_OK);
    driver_applied(n->driver, first + count - 1);
}

static void port_apply(void *machine, kelp_index first, const struct kelp_bytes *entries,
                       size_t count)
{
    struct lab_node *n = machine;
    if (!n->hold_apply) {
        apply_now(n, first, entries, count);
        return;
    }
    assert_int_equal(n->held_count, 0); /* one batch is open at a time */
    n->held_first = first;
    n->held_count = count;
    for (size_t i = 0; i < count; i++) {
        n->held[i] = malloc(entries[i].len);
        n->held_len[i] = entries[i].len;
        memcpy(n->held[i], entries[i].data, entries[i].len);
    }
}

void lab_release_apply(struct lab_node *n)
{
    n->hold_apply = false;
    struct kelp_bytes entries[1024];
    size_t count = n->held_count;
    n->held_count = 0;
    for (size_t i = 0; i < count; i++)
        entries[i] = bytes_of(n->held[i], n->held_len[i]);
    if (count > 0) apply_now(n, n->held_first, entries, count);
    for (size_t i = 0; i < count; i++)
        free(n->held[i]);
}

static enum kelp_query port_query(void *machine, uint64_t token, struct kelp_bytes question,
                                  int may_begin)
{
    struct lab_node *n = machine;
    struct reply_sink sink = {.node = n, .token = token};
    if (n->hold_query) {
        n->hold_query = false;
        return KELP_QUERY_DONE;
    }
    return rsm_query_part(n->rsm, token, question, may_begin, query_reply, &sink);
}

static void port_query_end(void *machine, uint64_t token)
{
    struct lab_node *n = machine;
    rsm_query_end(n->rsm, token);
}

static enum kelp_error port_snapshot_begin(void *machine, const struct wire_config *config,
                                           struct kelp_pos *pos, size_t *head_len)
{
    struct lab_node *n = machine;
    return rsm_snapshot_begin(n->rsm, config, config->cluster, 0, pos, head_len);
}

static enum kelp_error port_snapshot_read(void *machine, uint8_t *out, size_t *len, bool *last)
{
    struct lab_node *n = machine;
    return rsm_snapshot_read(n->rsm, out, len, last);
}

static size_t port_snapshot_head(void *machine, uint64_t objects, uint64_t bytes, uint8_t *out)
{
    struct lab_node *n = machine;
    return rsm_snapshot_head(n->rsm, objects, bytes, out);
}

static void port_snapshot_end(void *machine)
{
    struct lab_node *n = machine;
    rsm_snapshot_end(n->rsm);
}

static bool port_has_snapshots(void *machine)
{
    const struct lab_node *n = machine;
    return !n->machine->no_snapshots && rsm_has_snapshots(n->rsm);
}

static bool port_wants_snapshot(void *machine)
{
    const struct lab_node *n = machine;
    return rsm_wants_snapshot(n->rsm);
}

static bool port_frees(void *machine, struct kelp_bytes command)
{
    const struct lab_node *n = machine;
    return rsm_frees(n->rsm, command);
}

static uint64_t port_deadline(void *machine)
{
    const struct lab_node *n = machine;
    return rsm_deadline(n->rsm);
}

static bool port_lapses(void *machine, struct kelp_bytes question, uint64_t time_ns)
{
    const struct lab_node *n = machine;
    return rsm_lapses(n->rsm, question, time_ns);
}

static size_t port_extend(void *machine, struct kelp_bytes command, uint64_t wall_unix_ms,
                          uint8_t *out)
{
    const struct lab_node *n = machine;
    return rsm_extend(n->rsm, command, wall_unix_ms, out);
}

static enum kelp_error port_restore_begin(void *machine, const struct wire_snaphead *head,
                                          struct kelp_fault *fault)
{
    struct lab_node *n = machine;
    return rsm_restore_begin(n->rsm, head, fault);
}

static enum kelp_error port_restore_object(void *machine, const struct wire_object *object,
                                           struct kelp_fault *fault)
{
    struct lab_node *n = machine;
    return rsm_restore_object(n->rsm, object, fault);
}

static enum kelp_error port_restore_commit(void *machine, const struct wire_snaphead *head,
                                           struct kelp_fault *fault)
{
    struct lab_node *n = machine;
    return rsm_restore_commit(n->rsm, head, fault);
}

static void port_restore_abort(void *machine)
{
    struct lab_node *n = machine;
    rsm_restore_abort(n->rsm);
}

static size_t port_marks(void *machine, kelp_index after, struct wire_mark out[WIRE_MARK_KEPT])
{
    const struct lab_node *n = machine;
    return rsm_marks(n->rsm, after, out);
}

static bool port_staged(void *machine, struct kelp_restore_status *out)
{
    const struct lab_node *n = machine;
    return rsm_staged(n->rsm, out);
}

const struct driver_machine_ops lab_ports = {.size = sizeof(struct driver_machine_ops),
                                             .apply = port_apply,
                                             .query = port_query,
                                             .query_end = port_query_end,
                                             .snapshot_begin = port_snapshot_begin,
                                             .restore_begin = port_restore_begin,
                                             .restore_object = port_restore_object,
                                             .restore_commit = port_restore_commit,
                                             .restore_abort = port_restore_abort,
                                             .snapshot_read = port_snapshot_read,
                                             .snapshot_head = port_snapshot_head,
                                             .snapshot_end = port_snapshot_end,
                                             .has_snapshots = port_has_snapshots,
                                             .wants_snapshot = port_wants_snapshot,
                                             .marks = port_marks,
                                             .deadline = port_deadline,
                                             .lapses = port_lapses,
                                             .extend = port_extend,
                                             .frees = port_frees,
                                             .staged = port_staged};
