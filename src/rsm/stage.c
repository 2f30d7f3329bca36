/* SPDX-License-Identifier: Apache-2.0 */
/* stage.c - a restore through the log: see stage.h and kelp/restore.h.
 *
 *   EMPTY --BEGIN--> STAGED --COMMIT, all there: the machine's commit--> EMPTY, another state
 *     ^               |  |
 *     |               |  `-- PART: the next one is staged; one that is there changes nothing
 *     `-- ABORT, BEGIN with FORCE, quiet for too long, not taken, a snapshot installed
 *
 * Every member has what the log says, so whatever is decided here is decided by entries and their
 * stamps alone: which part is the next, when it has been quiet for too long, and that a machine
 * refuses what was staged (its own check of it is a function of the bytes). So all switch at the
 * entry of COMMIT, or none. What only one member lacks, memory, stops that one.
 *
 * What is staged is no part of a snapshot: none is begun while it is there, and a restart stages it
 * anew from the log. One that was begun before BEGIN and ends after COMMIT shows what was before.
 * Invariants: between two calls the machine's live state is that of the commands and COMMITs up to
 * here; status.next parts were given to the machine, in order, each once. */
#include "rsm/stage.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/min.h"
#include "wire/restore.h"

void stage_init(struct stage *s, const struct kelp_fsm_ops *ops, void *fsm, uint32_t group)
{
    *s = (struct stage){.ops = ops, .fsm = fsm, .group = group};
}

bool stage_takes(const struct stage *s)
{
    const struct kelp_fsm_ops *ops = s->ops;
    size_t known = offsetof(struct kelp_fsm_ops, stage_begin) + sizeof ops->stage_begin;
    return ops->size >= known && ops->stage_begin != NULL && ops->restore_commit != NULL &&
           ops->restore_abort != NULL;
}

static void ended(struct stage *s, enum kelp_restore_end end, kelp_index index)
{
    s->status =
        (struct kelp_restore_status){.ended_id = s->status.id, .end = end, .ended_at = index};
    s->restore = NULL;
}

void stage_drop(struct stage *s, enum kelp_restore_end end, kelp_index index)
{
    if (!stage_open(s)) return;
    s->ops->restore_abort(s->fsm, s->restore);
    ended(s, end, index);
}

void stage_lapse(struct stage *s, kelp_index index, uint64_t time_ns)
{
    if (!stage_open(s)) return;
    if (index - s->touched < KELP_RESTORE_ENTRIES_MAX &&
        sub_sat(time_ns, s->touched_ns) < KELP_RESTORE_QUIET_MAX_NS)
        return;
    stage_drop(s, KELP_RESTORE_LAPSED, index);
}

/* The machine said no. NO_MEMORY is this member's alone: it has not decided what the others have,
 * and stops. Anything else it says of the bytes, as the others do. */
static enum kelp_error untaken(struct stage *s, enum kelp_error error, kelp_index index,
                               struct stage_verdict *out)
{
    if (error == KELP_E_NO_MEMORY) return error;
    stage_drop(s, KELP_RESTORE_UNTAKEN, index);
    out->refused = KELP_R_NOT_TAKEN;
    return KELP_OK;
}

static void touch(struct stage *s, kelp_index index, uint64_t time_ns)
{
    s->touched = index;
    s->touched_ns = time_ns;
}

static bool is_begun(const struct stage *s, const struct kelp_restore_step *step)
{
    const struct kelp_restore_step *b = &s->begun;
    return stage_open(s) && step->id == s->status.id && step->objects == b->objects &&
           step->object_bytes == b->object_bytes && step->time_ns == b->time_ns &&
           hash_bytes(step->bytes, 0) == s->own_hash;
}

static enum kelp_error begin(struct stage *s, const struct kelp_restore_step *step,
                             kelp_index index, uint64_t time_ns, struct stage_verdict *out)
{
    if (is_begun(s, step)) { /* asked again */
        touch(s, index, time_ns);
        return KELP_OK;
    }
    bool forced = (step->flags & KELP_RESTORE_FORCE) != 0 && step->id != s->status.id;
    if (stage_open(s) && !forced) {
        out->refused = KELP_R_STAGED;
        return KELP_OK;
    }
    if (!stage_takes(s)) {
        out->refused = KELP_R_NOT_TAKEN;
        return KELP_OK;
    }
    stage_drop(s, KELP_RESTORE_ABORTED, index);
    const struct kelp_stage from = {.size = sizeof from,
                                    .then_ns = step->time_ns,
                                    .now_ns = time_ns,
                                    .wall_unix_ms = step->wall_unix_ms,
                                    .own = step->bytes};
    void *restore = NULL;
    enum kelp_error error = s->ops->stage_begin(s->fsm, s->group, &from, &restore);
    if (error == KELP_E_NO_MEMORY) return error;
    if (error != KELP_OK) {
        out->refused = KELP_R_NOT_TAKEN;
        return KELP_OK;
    }
    s->restore = restore;
    s->begun = *step;
    s->begun.bytes = bytes_of(NULL, 0);
    s->own_hash = hash_bytes(step->bytes, 0);
    s->status.id = step->id;
    s->status.objects = step->objects;
    s->status.object_bytes = step->object_bytes;
    s->status.next = s->status.bytes = 0;
    s->status.index = index;
    touch(s, index, time_ns);
    return KELP_OK;
}

static enum kelp_error part(struct stage *s, const struct kelp_restore_step *step, kelp_index index,
                            uint64_t time_ns, struct stage_verdict *out)
{
    struct kelp_restore_status *status = &s->status;
    if (step->number < status->next) return KELP_OK; /* asked again: it is there */
    if (step->number > status->next) {
        out->refused = KELP_R_PART_MISSING;
        return KELP_OK;
    }
    bool promised =
        status->next < status->objects && step->bytes.len <= status->object_bytes - status->bytes;
    if (!promised || s->ops->restore_object == NULL)
        return untaken(s, KELP_E_MALFORMED, index, out);
    enum kelp_error error = s->ops->restore_object(s->fsm, s->restore, step->bytes);
    if (error != KELP_OK) return untaken(s, error, index, out);
    status->next++;
    status->bytes += step->bytes.len;
    touch(s, index, time_ns);
    return KELP_OK;
}

static enum kelp_error commit(struct stage *s, kelp_index index, struct stage_verdict *out)
{
    struct kelp_restore_status *status = &s->status;
    if (status->next != status->objects) {
        out->refused = KELP_R_PART_MISSING;
        return KELP_OK;
    }
    if (status->bytes != status->object_bytes) return untaken(s, KELP_E_CORRUPT, index, out);
    enum kelp_error error = s->ops->restore_commit(s->fsm, s->restore);
    if (error != KELP_OK) return untaken(s, error, index, out);
    ended(s, KELP_RESTORE_COMMITTED, index);
    out->switched = true;
    return KELP_OK;
}

enum kelp_error stage_apply(struct stage *s, const struct wire_entry *e, uint64_t time_ns,
                            struct stage_verdict *out, struct kelp_fault *fault)
{
    struct kelp_restore_step step;
    kelp_index index = e->pos.index;
    *out = (struct stage_verdict){.refused = KELP_R_NONE};
    enum kelp_error error = wire_restore_decode(e->payload, &step, fault);
    if (error == KELP_E_VERSION) return error;
    if (error != KELP_OK) { /* the same everywhere: it never was a step of one */
        out->refused = KELP_R_NOT_TAKEN;
        return KELP_OK;
    }
    if (step.kind != KELP_RESTORE_BEGIN && step.id != s->status.id) {
        out->refused = KELP_R_NOT_STAGED;
        return KELP_OK;
    }
    switch (step.kind) {
    case KELP_RESTORE_BEGIN: error = begin(s, &step, index, time_ns, out); break;
    case KELP_RESTORE_PART: error = part(s, &step, index, time_ns, out); break;
    case KELP_RESTORE_COMMIT: error = commit(s, index, out); break;
    case KELP_RESTORE_ABORT: stage_drop(s, KELP_RESTORE_ABORTED, index); break;
    }
    if (error == KELP_OK) return KELP_OK;
    return fault_set(fault, error, "state machine", "no memory to stage a restore");
}
