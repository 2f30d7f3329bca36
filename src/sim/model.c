/* SPDX-License-Identifier: Apache-2.0 */
/* model.c - every answer of every node's state machine against the model's.
 *
 * The model is one more state machine, written to be plain instead of fast. It is not replicated:
 * commands come to it in the order of the log, each when the first node applies it, and what it
 * answered is kept by index. So a node that applies a command later, or once more after a restart,
 * is compared too, whether a client waits for the answer or not. A question is put to both where
 * the node has applied as much as the model, and the cluster clock stands where the model's does;
 * elsewhere the model has no past to ask.
 * Invariant: answers[i] is the model's to the command at index i + 1, for all i below applied. */
#include "sim/model.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"
#include "sim/checker.h"

#define BYTES_TOLD 24u  /* of an answer, in a message */
#define BATCH_MAX  256u /* commands that come at once; more are fed in parts */

typedef unsigned long long ull;

/* Does the machine have this optional operation? */
#define HAS(ops, op)                                                                               \
    ((ops)->size >= offsetof(struct kelp_fsm_ops, op) + sizeof(ops)->op && (ops)->op != NULL)

struct answer {
    uint64_t hash;
    size_t len;
    uint8_t begin[BYTES_TOLD];
};

struct model {
    struct kelp_sim_machine model, tested;
    struct checker *checker;
    struct kelp_fsm_ops ops; /* of the machines that are watched */
    void *machine;
    kelp_index applied;
    uint64_t time_ns; /* of the newest entry that it was told of */
    struct answer *answers;
    size_t room;
};

struct watched {
    struct model *model;
    kelp_id node;
    void *machine;
    kelp_index applied; /* an entry that is no command may lie beyond */
    uint64_t time_ns;
};

/* ---- answers ---- */

static struct answer answer_of(struct kelp_bytes bytes)
{
    struct answer a = {.hash = hash_bytes(bytes, 0), .len = bytes.len};
    if (bytes.len > 0) memcpy(a.begin, bytes.data, min_u64(bytes.len, sizeof a.begin));
    return a;
}

static bool answers_equal(const struct answer *a, const struct answer *b)
{
    return a->len == b->len && a->hash == b->hash;
}

/* As text where it is text, else as hex digits. */
static const char *answer_text(const struct answer *a, char *out, size_t size)
{
    size_t shown = min_u64(a->len, sizeof a->begin), used = 0;
    bool text = true;
    for (size_t i = 0; i < shown; i++)
        text = text && a->begin[i] >= ' ' && a->begin[i] <= '~';
    if (text) {
        (void)snprintf(out, size, "\"%.*s\"%s", (int)shown, (const char *)a->begin,
                       shown < a->len ? "..." : "");
        return out;
    }
    for (size_t i = 0; i < shown; i++)
        used += (size_t)snprintf(out + used, size - used, "%02x", a->begin[i]);
    if (shown < a->len) (void)snprintf(out + used, size - used, "...");
    return out;
}

static void compare(const struct watched *w, const char *what, kelp_index index,
                    const struct answer *have, const struct answer *want)
{
    char given[2 * BYTES_TOLD + 8], right[2 * BYTES_TOLD + 8];
    if (answers_equal(have, want)) return;
    checker_fail(w->model->checker, RULE_W03,
                 "node %llu answers %s %llu with %s, the model with %s", (ull)w->node, what,
                 (ull)index, answer_text(have, given, sizeof given),
                 answer_text(want, right, sizeof right));
}

/* ---- the model ---- */

static void model_answers(void *sink, size_t i, struct kelp_bytes bytes)
{
    ASSERT(i == 0);
    *(struct answer *)sink = answer_of(bytes);
}

static bool model_feed(struct model *m, const struct kelp_command *command)
{
    kelp_index index = command->pos.index;
    if (index <= m->applied) return true;
    if (index > m->room) {
        size_t room = max_u64(2 * m->room, index + 1023);
        struct answer *more = realloc(m->answers, room * sizeof *more);
        if (more == NULL) {
            checker_fail(m->checker, RULE_W02, "no memory for the model's answers");
            return false;
        }
        m->answers = more;
        m->room = room;
    }
    struct answer *answer = &m->answers[index - 1];
    *answer = answer_of((struct kelp_bytes){0});
    m->model.ops->apply(m->machine, 0, command, 1, model_answers, answer);
    m->applied = index;
    m->time_ns = max_u64(m->time_ns, command->time_ns);
    return true;
}

/* ---- a machine that is watched ---- */

struct compare_to {
    const struct watched *watched;
    const struct kelp_command *commands;
    kelp_reply_fn reply;
    void *sink;
    size_t base; /* of this part within the batch */
    bool answered[BATCH_MAX];
};

static void watched_answers(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct compare_to *to = sink;
    kelp_index index = to->commands[i].pos.index;
    struct answer have = answer_of(bytes);
    to->answered[i] = true;
    compare(to->watched, "the command at", index, &have, &to->watched->model->answers[index - 1]);
    to->reply(to->sink, to->base + i, bytes);
}

static void apply_part(struct watched *w, const struct kelp_command *commands, size_t count,
                       struct compare_to *to)
{
    struct model *m = w->model;
    const struct answer silence = answer_of((struct kelp_bytes){0});
    for (size_t i = 0; i < count; i++) {
        if (!model_feed(m, &commands[i])) return;
    }
    memset(to->answered, 0, sizeof to->answered);
    to->commands = commands;
    m->tested.ops->apply(w->machine, 0, commands, count, watched_answers, to);
    for (size_t i = 0; i < count; i++) {
        kelp_index index = commands[i].pos.index;
        if (!to->answered[i]) compare(w, "the command at", index, &silence, &m->answers[index - 1]);
        w->applied = index;
        w->time_ns = max_u64(w->time_ns, commands[i].time_ns);
    }
}

static void watched_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                          size_t count, kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct compare_to to = {.watched = fsm, .reply = reply, .sink = sink};
    for (; to.base < count; to.base += BATCH_MAX)
        apply_part(fsm, commands + to.base, min_u64(count - to.base, BATCH_MAX), &to);
}

struct query_to {
    kelp_reply_fn reply;
    void *sink;
    struct answer have;
};

static void watched_is_asked(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct query_to *to = sink;
    to->have = answer_of(bytes);
    to->reply(to->sink, i, bytes);
}

static void watched_query(void *fsm, uint32_t group, struct kelp_bytes question,
                          kelp_reply_fn reply, void *sink)
{
    struct watched *w = fsm;
    struct model *m = w->model;
    struct query_to to = {reply, sink, answer_of((struct kelp_bytes){0})};
    struct answer want = to.have;
    m->tested.ops->query(w->machine, group, question, watched_is_asked, &to);
    if (w->applied < m->applied || w->time_ns < m->time_ns) return;
    m->model.ops->query(m->machine, group, question, model_answers, &want);
    compare(w, "a question after", w->applied, &to.have, &want);
}

/* The first node at an entry passes it on: the model hears of none twice, and of none late. */
static void watched_pass(void *fsm, uint32_t group, uint64_t time_ns, int alone)
{
    struct watched *w = fsm;
    struct model *m = w->model;
    m->tested.ops->pass(w->machine, group, time_ns, alone);
    w->time_ns = max_u64(w->time_ns, time_ns);
    if (w->applied < m->applied || time_ns < m->time_ns) return;
    m->time_ns = time_ns;
    if (HAS(m->model.ops, pass)) m->model.ops->pass(m->machine, group, time_ns, alone);
}

static uint64_t watched_deadline(void *fsm, uint32_t group)
{
    const struct watched *w = fsm;
    return w->model->tested.ops->deadline(w->machine, group);
}

static bool watched_lapses(void *fsm, uint32_t group, struct kelp_bytes question, uint64_t time_ns)
{
    const struct watched *w = fsm;
    return w->model->tested.ops->lapses(w->machine, group, question, time_ns);
}

static size_t watched_extend(void *fsm, uint32_t group, struct kelp_bytes command,
                             uint64_t wall_unix_ms, uint8_t *out)
{
    const struct watched *w = fsm;
    return w->model->tested.ops->extend(w->machine, group, command, wall_unix_ms, out);
}

static enum kelp_error watched_snapshot_begin(void *fsm, uint32_t group, uint8_t *own,
                                              size_t *own_len, void **snapshot)
{
    struct watched *w = fsm;
    return w->model->tested.ops->snapshot_begin(w->machine, group, own, own_len, snapshot);
}

static enum kelp_error watched_snapshot_read(void *fsm, void *snapshot, uint8_t *out, size_t *len,
                                             bool *last)
{
    struct watched *w = fsm;
    return w->model->tested.ops->snapshot_read(w->machine, snapshot, out, len, last);
}

static void watched_snapshot_end(void *fsm, void *snapshot)
{
    struct watched *w = fsm;
    w->model->tested.ops->snapshot_end(w->machine, snapshot);
}

static enum kelp_error watched_restore_begin(void *fsm, uint32_t group, struct kelp_pos pos,
                                             uint64_t time_ns, struct kelp_bytes own,
                                             void **restore)
{
    struct watched *w = fsm;
    w->applied = pos.index;
    w->time_ns = max_u64(w->time_ns, time_ns);
    return w->model->tested.ops->restore_begin(w->machine, group, pos, time_ns, own, restore);
}

static enum kelp_error watched_restore_object(void *fsm, void *restore, struct kelp_bytes object)
{
    struct watched *w = fsm;
    return w->model->tested.ops->restore_object(w->machine, restore, object);
}

static enum kelp_error watched_restore_commit(void *fsm, void *restore)
{
    struct watched *w = fsm;
    return w->model->tested.ops->restore_commit(w->machine, restore);
}

static void watched_restore_abort(void *fsm, void *restore)
{
    struct watched *w = fsm;
    w->model->tested.ops->restore_abort(w->machine, restore);
}

static uint64_t watched_hash(void *fsm, uint32_t group)
{
    struct watched *w = fsm;
    return w->model->tested.ops->hash(w->machine, group);
}

static void watched_close(void *fsm)
{
    struct watched *w = fsm;
    if (w->model->tested.ops->close != NULL) w->model->tested.ops->close(w->machine);
    free(w);
}

static struct kelp_fsm_ops watched_ops(const struct kelp_fsm_ops *tested)
{
    bool begins = tested->snapshot_begin != NULL; /* who has none is not asked for any */
    return (struct kelp_fsm_ops){
        .size = sizeof(struct kelp_fsm_ops),
        .flags = tested->flags,
        .apply = watched_apply,
        .query = watched_query,
        .snapshot_begin = begins ? watched_snapshot_begin : NULL,
        .snapshot_read = tested->snapshot_read != NULL ? watched_snapshot_read : NULL,
        .snapshot_end = tested->snapshot_end != NULL ? watched_snapshot_end : NULL,
        .restore_begin = watched_restore_begin,
        .restore_object = tested->restore_object != NULL ? watched_restore_object : NULL,
        .restore_commit = watched_restore_commit,
        .restore_abort = tested->restore_abort != NULL ? watched_restore_abort : NULL,
        .hash = watched_hash,
        .close = watched_close,
        .deadline = HAS(tested, deadline) ? watched_deadline : NULL,
        .pass = HAS(tested, pass) ? watched_pass : NULL,
        .lapses = HAS(tested, lapses) ? watched_lapses : NULL,
        .extend = HAS(tested, extend) ? watched_extend : NULL,
    };
}

/* ---- making ---- */

struct model *model_new(const struct kelp_sim_machine *model, const struct kelp_sim_machine *tested,
                        struct checker *checker)
{
    struct model *m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    *m = (struct model){.model = *model, .tested = *tested, .checker = checker};
    m->ops = watched_ops(tested->ops);
    m->machine = model->make(model->ctx, 0);
    if (m->machine != NULL) return m;
    free(m);
    return NULL;
}

void model_free(struct model *m)
{
    if (m == NULL) return;
    if (m->model.ops->close != NULL) m->model.ops->close(m->machine);
    free(m->answers);
    free(m);
}

void *model_watch(struct model *m, kelp_id node, void *machine)
{
    struct watched *w = calloc(1, sizeof *w);
    if (w != NULL) *w = (struct watched){.model = m, .node = node, .machine = machine};
    return w;
}

const struct kelp_fsm_ops *model_ops(const struct model *m)
{
    return &m->ops;
}
