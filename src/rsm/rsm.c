/* SPDX-License-Identifier: Apache-2.0 */
/* rsm.c - what surrounds every state machine.
 *
 * Entries are opened one after the other; commands are gathered and reach the machine together,
 * with the cluster clock held monotone. Everything that is not a command is counted and hashed
 * only, but that time passes with it. What this version does not know stops it at that entry: the
 * ones before it are applied, the ones behind it never will be by this program. Invariant: chain
 * and state are those of exactly the entries up to `applied`. */
#include "rsm/rsm.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/min.h"
#include "rsm/stage.h"
#include "wire/entry.h"

#define BATCH_MAX 256u

/* A snapshot that is being taken. */
struct open_snapshot {
    void *handle;              /* the machine's */
    struct sessions *sessions; /* as they were; replaced since: they are freed with it */
    struct wire_snaphead head;
    uint8_t own[KELP_FSM_OWN_BYTES_MAX], room[WIRE_SNAPHEAD_BYTES_MAX];
};

struct rsm {
    struct sessions *sessions, *restored; /* restored: of the snapshot, until it is committed */
    struct sessions *replaced;            /* freed a part at a time: others wait for this thread */
    enum kelp_reason refused;             /* during a reply */
    bool in_session;                      /* the one command of the batch: its result is kept */
    enum kelp_error kept;                 /* .. KELP_OK: it was */
    bool machine_read;                    /* a snapshot's objects: the sessions' are next */
    const struct kelp_fsm_ops *ops;
    void *fsm;
    uint32_t group;
    struct kelp_pos applied;
    uint64_t time_ns, chain;
    enum kelp_error stopped;    /* KELP_OK: it goes on */
    struct open_snapshot *open; /* NULL: none is */
    struct stage stage;
    void *restore;          /* the machine's, while restoring */
    bool restoring, hollow; /* hollow: the machine does not hear of it */
    struct wire_mark marks[WIRE_MARK_KEPT];
    struct kelp_command commands[BATCH_MAX];
    size_t places[BATCH_MAX]; /* of each command among the entries of this call */
    size_t count;
};

/* The machine counts commands, the caller entries. */
struct reply_to {
    struct rsm *rsm;
    kelp_reply_fn reply;
    void *sink;
};

static void reply_on(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_to *to = sink;
    ASSERT(i < to->rsm->count);
    to->reply(to->sink, to->rsm->places[i], bytes);
}

/* The result of a command that must never be executed again: without memory for it this machine
 * cannot go on, or it would tell the others' clients something else. */
static void reply_kept(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_to *to = sink;
    struct rsm *r = to->rsm;
    bool kept = !kelp_reply_is_lost(bytes) && sessions_keep(r->sessions, bytes);
    r->kept = kept ? KELP_OK : KELP_E_NO_MEMORY;
    if (kept) reply_on(sink, i, bytes);
}

struct rsm *rsm_new(const struct kelp_fsm_ops *ops, void *fsm, uint32_t group)
{
    struct rsm *r = calloc(1, sizeof *r);
    struct sessions *sessions = sessions_new();
    if (r == NULL || sessions == NULL) {
        sessions_free(sessions);
        free(r);
        return NULL;
    }
    r->sessions = sessions;
    r->ops = ops;
    r->fsm = fsm;
    r->group = group;
    stage_init(&r->stage, ops, fsm, group);
    return r;
}

/* ---- time ---- */

/* Does the machine have this optional operation? */
#define HAS(r, op)                                                                                 \
    ((r)->ops->size >= offsetof(struct kelp_fsm_ops, op) + sizeof(r)->ops->op &&                   \
     (r)->ops->op != NULL)

uint64_t rsm_deadline(const struct rsm *r)
{
    if (!HAS(r, deadline) || !HAS(r, pass)) return KELP_FSM_NO_DEADLINE;
    return r->ops->deadline(r->fsm, r->group);
}

bool rsm_lapses(const struct rsm *r, struct kelp_bytes question, uint64_t time_ns)
{
    return HAS(r, lapses) && time_ns > r->time_ns &&
           r->ops->lapses(r->fsm, r->group, question, time_ns);
}

void rsm_tell_time(struct rsm *r, uint64_t time_ns)
{
    if (HAS(r, tell_time)) r->ops->tell_time(r->fsm, r->group, max_u64(time_ns, r->time_ns));
}

size_t rsm_extend(const struct rsm *r, struct kelp_bytes command, uint64_t wall_unix_ms,
                  uint8_t *out)
{
    if (!HAS(r, extend)) return 0;
    size_t len = r->ops->extend(r->fsm, r->group, command, wall_unix_ms, out);
    ASSERT(len <= KELP_FSM_EXTEND_MAX);
    return len;
}

bool rsm_frees(const struct rsm *r, struct kelp_bytes command)
{
    size_t known = offsetof(struct kelp_fsm_ops, frees) + sizeof r->ops->frees;
    if (r->ops->size < known || r->ops->frees == NULL) return false;
    return r->ops->frees(r->fsm, r->group, command);
}

void rsm_free(struct rsm *r)
{
    if (r == NULL) return;
    rsm_snapshot_end(r);
    rsm_restore_abort(r);
    stage_drop(&r->stage, KELP_RESTORE_NONE, 0);
    if (r->ops->close != NULL) r->ops->close(r->fsm);
    sessions_free(r->sessions);
    sessions_free(r->replaced);
    free(r);
}

static void commands_flush(struct rsm *r, kelp_reply_fn reply, void *sink)
{
    struct reply_to to = {.rsm = r, .reply = reply, .sink = sink};
    kelp_reply_fn on = r->in_session ? reply_kept : reply_on;
    if (r->count > 0) r->ops->apply(r->fsm, r->group, r->commands, r->count, on, &to);
    r->count = 0;
}

/* An entry that is no command: what is gathered was before it. */
static void time_pass(struct rsm *r, const struct wire_entry *e, kelp_reply_fn reply, void *sink)
{
    if (!HAS(r, pass)) return;
    commands_flush(r, reply, sink);
    r->ops->pass(r->fsm, r->group, r->time_ns, e->type == KELP_ENTRY_CLOCK);
}

/* Does this version know what to do with an entry of this type and these flags? */
static bool entry_known(const struct wire_entry *e)
{
    if ((e->flags & ~(uint32_t)(WIRE_ENTRY_EXTENDED | WIRE_ENTRY_IN_SESSION)) != 0) return false;
    switch ((enum kelp_entry_type)e->type) {
    case KELP_ENTRY_COMMAND:
    case KELP_ENTRY_NOOP:
    case KELP_ENTRY_CONFIG:
    case KELP_ENTRY_BARRIER:
    case KELP_ENTRY_SESSION:
    case KELP_ENTRY_CLOCK:
    case KELP_ENTRY_RESTORE:
    case KELP_ENTRY_POSITION: return true; /* a witness has no state, and never leads */
    case KELP_ENTRY_VERSION: return false;
    }
    return false;
}

/* Its checksum is not computed again: the entry was verified when it came in, from a peer or from
 * disk, or made here, and it is verified once more in front of the save that makes it durable. */
static enum kelp_error entry_open(const struct rsm *r, struct kelp_bytes encoded,
                                  struct wire_entry *e, struct kelp_fault *fault)
{
    size_t used;
    enum kelp_error error = wire_entry_open(encoded, e, &used, fault);
    if (error == KELP_E_VERSION) return error;
    if (error != KELP_OK || used != encoded.len)
        return fault_set(fault, KELP_E_CORRUPT, "state machine", "a committed entry is damaged");
    if (e->pos.index != r->applied.index + 1 || e->pos.term.v < r->applied.term.v) {
        return fault_set(
            fault, KELP_E_CORRUPT, "state machine", "entry %llu@%llu cannot follow %llu@%llu",
            (unsigned long long)e->pos.index, (unsigned long long)e->pos.term.v,
            (unsigned long long)r->applied.index, (unsigned long long)r->applied.term.v);
    }
    if (entry_known(e)) return KELP_OK;
    return fault_set(fault, KELP_E_VERSION, "state machine",
                     "entry %llu@%llu of type %u, flags 0x%x needs a newer version",
                     (unsigned long long)e->pos.index, (unsigned long long)e->pos.term.v, e->type,
                     e->flags);
}

/* Nothing waits: the state is the one right behind this entry. Where only positions are kept there
 * is no state to speak of. */
static void mark_take(struct rsm *r, const struct wire_entry *e)
{
    if (!wire_mark_due(e->pos.index) || e->type == KELP_ENTRY_POSITION || r->hollow) return;
    ASSERT(r->count == 0);
    r->marks[wire_mark_slot(e->pos.index)] =
        (struct wire_mark){.index = e->pos.index, .chain = r->chain, .state = rsm_state_hash(r)};
}

/* ---- exactly once ---- */

static enum kelp_reason reason_of(enum sessions_verdict verdict)
{
    switch (verdict) {
    case SESSIONS_UNKNOWN: return KELP_R_UNKNOWN_SESSION;
    case SESSIONS_OVER: return KELP_R_SEQUENCE_OVER;
    case SESSIONS_MISUSED: return KELP_R_ONCE_MISUSED;
    case SESSIONS_EXECUTE:
    case SESSIONS_REPEATED:
    case SESSIONS_NO_MEMORY: return KELP_R_NONE;
    }
    UNREACHABLE();
}

/* The machine's part of it: alone in its batch, so that what is kept, and so what is let go for
 * it, does not depend on where batches are cut. A machine that does not reply has said so. */
static enum kelp_error once_execute(struct rsm *r, const struct wire_entry *e, size_t place,
                                    kelp_reply_fn reply, void *sink)
{
    r->places[0] = place;
    r->commands[0] = (struct kelp_command){
        .pos = e->pos, .time_ns = r->time_ns, .extension = e->extension, .payload = e->payload};
    r->count = 1;
    r->in_session = true;
    r->kept = KELP_E_MORE;
    commands_flush(r, reply, sink);
    r->in_session = false;
    if (r->kept != KELP_E_MORE) return r->kept;
    return sessions_keep(r->sessions, bytes_of(NULL, 0)) ? KELP_OK : KELP_E_NO_MEMORY;
}

/* A command that is executed once however often it stands in the log. */
static enum kelp_error once_apply(struct rsm *r, const struct wire_entry *e, size_t place,
                                  kelp_reply_fn reply, void *sink)
{
    struct kelp_bytes result;
    commands_flush(r, reply, sink); /* answers go in order */
    enum sessions_verdict verdict = sessions_ask(r->sessions, e, r->time_ns, &result);
    if (verdict == SESSIONS_EXECUTE) return once_execute(r, e, place, reply, sink);
    if (verdict == SESSIONS_NO_MEMORY) return KELP_E_NO_MEMORY;
    r->refused = reason_of(verdict);
    reply(sink, place, result);
    r->refused = KELP_R_NONE;
    return KELP_OK;
}

/* One begins under the entry's index, or the one that it names ends. */
static enum kelp_error session_apply(struct rsm *r, const struct wire_entry *e)
{
    if ((e->flags & WIRE_ENTRY_IN_SESSION) != 0) {
        sessions_end(r->sessions, e->session);
        return KELP_OK;
    }
    enum sessions_verdict begun = sessions_begin(r->sessions, e->pos.index, r->time_ns);
    return begun == SESSIONS_NO_MEMORY ? KELP_E_NO_MEMORY : KELP_OK;
}

enum kelp_reason rsm_refused(const struct rsm *r)
{
    return r->refused;
}

struct sessions_count rsm_sessions(const struct rsm *r)
{
    return sessions_count(r->sessions);
}

/* ---- a restore through the log ---- */

/* Freed a part at a time, but not before a snapshot that shows them is over. */
static void sessions_replace(struct rsm *r, struct sessions *fresh)
{
    struct sessions *old = r->sessions;
    r->sessions = fresh;
    if (r->open != NULL && r->open->sessions == old) return;
    sessions_free(r->replaced); /* of the one before, if that was soon ago */
    r->replaced = old;
}

/* The cluster's sessions end where the state becomes another one: what they were told of is gone,
 * and those of the file were another time's. */
static enum kelp_error restore_apply(struct rsm *r, const struct wire_entry *e, size_t place,
                                     kelp_reply_fn reply, void *sink, struct kelp_fault *fault)
{
    struct stage_verdict verdict;
    commands_flush(r, reply, sink); /* they came before it */
    struct sessions *none = sessions_new();
    if (none == NULL)
        return fault_set(fault, KELP_E_NO_MEMORY, "state machine", "no memory for a restore");
    enum kelp_error error = stage_apply(&r->stage, e, r->time_ns, &verdict, fault);
    if (error == KELP_OK && verdict.switched)
        sessions_replace(r, none);
    else
        sessions_free(none);
    if (error != KELP_OK || verdict.refused == KELP_R_NONE) return error;
    r->refused = verdict.refused;
    reply(sink, place, bytes_of(NULL, 0));
    r->refused = KELP_R_NONE;
    return KELP_OK;
}

bool rsm_staged(const struct rsm *r, struct kelp_restore_status *out)
{
    *out = r->stage.status;
    return stage_open(&r->stage);
}

/* What is no ordinary command. KELP_OK: the next entry. */
static enum kelp_error special_apply(struct rsm *r, const struct wire_entry *e, size_t place,
                                     kelp_reply_fn reply, void *sink, struct kelp_fault *fault)
{
    enum kelp_error error = KELP_OK;
    if (e->type == KELP_ENTRY_RESTORE) return restore_apply(r, e, place, reply, sink, fault);
    if (e->type == KELP_ENTRY_COMMAND)
        error = once_apply(r, e, place, reply, sink);
    else if (e->type == KELP_ENTRY_SESSION)
        error = session_apply(r, e);
    if (error == KELP_OK) return KELP_OK;
    return fault_set(fault, error, "state machine",
                     "no memory to keep the result of a command that is executed once");
}

enum kelp_error rsm_apply(struct rsm *r, kelp_index first, const struct kelp_bytes *entries,
                          size_t count, kelp_reply_fn reply, void *sink, struct kelp_fault *fault)
{
    ASSERT(first == r->applied.index + 1);
    ASSERT(r->count == 0);
    struct wire_entry e; /* outside: it is cleared where it is declared */
    if (r->replaced != NULL && sessions_free_part(r->replaced)) r->replaced = NULL;
    for (size_t i = 0; i < count && r->stopped == KELP_OK; i++) {
        r->stopped = entry_open(r, entries[i], &e, fault);
        if (r->stopped != KELP_OK) break;
        r->time_ns = max_u64(r->time_ns, e.time_ns);
        r->chain = hash_mix(r->chain, wire_entry_checksum(entries[i]));
        r->applied = e.pos;
        if (stage_open(&r->stage)) stage_lapse(&r->stage, e.pos.index, r->time_ns);
        bool ordinary = e.type == KELP_ENTRY_COMMAND && (e.flags & WIRE_ENTRY_IN_SESSION) == 0;
        if (ordinary) {
            r->places[r->count] = i;
            r->commands[r->count++] = (struct kelp_command){.pos = e.pos,
                                                            .time_ns = r->time_ns,
                                                            .extension = e.extension,
                                                            .payload = e.payload};
        } else {
            time_pass(r, &e, reply, sink); /* also by a command that is not executed again */
            r->stopped = special_apply(r, &e, i, reply, sink, fault);
            if (r->stopped != KELP_OK) break;
        }
        if (r->count == BATCH_MAX || wire_mark_due(e.pos.index)) commands_flush(r, reply, sink);
        mark_take(r, &e);
    }
    commands_flush(r, reply, sink);
    if (r->stopped != KELP_OK && fault != NULL) {
        (void)fault_set(fault, r->stopped, "state machine", "stopped at an earlier entry");
        fault->index = r->applied.index + 1;
    }
    return r->stopped;
}

void rsm_query(struct rsm *r, struct kelp_bytes question, kelp_reply_fn reply, void *sink)
{
    r->ops->query(r->fsm, r->group, question, reply, sink);
}

static bool has_parts(const struct rsm *r)
{
    size_t need = offsetof(struct kelp_fsm_ops, query_end) + sizeof r->ops->query_end;
    return r->ops->size >= need && r->ops->query_part != NULL && r->ops->query_end != NULL;
}

enum kelp_query rsm_query_part(struct rsm *r, uint64_t token, struct kelp_bytes question,
                               int may_begin, kelp_reply_fn reply, void *sink)
{
    if (has_parts(r))
        return r->ops->query_part(r->fsm, r->group, token, question, may_begin, reply, sink);
    r->ops->query(r->fsm, r->group, question, reply, sink);
    return KELP_QUERY_DONE;
}

void rsm_query_end(struct rsm *r, uint64_t token)
{
    if (has_parts(r)) r->ops->query_end(r->fsm, r->group, token);
}

/* ---- snapshots ---- */

bool rsm_has_snapshots(const struct rsm *r)
{
    const struct kelp_fsm_ops *ops = r->ops;
    /* one that could not be restored is none: the next start would find it */
    if (ops->snapshot_begin == NULL || ops->restore_begin == NULL || ops->restore_commit == NULL)
        return false;
    return (ops->flags & KELP_FSM_DISPOSABLE) != 0 ||
           (ops->snapshot_read != NULL && ops->restore_object != NULL);
}

enum kelp_error rsm_snapshot_begin(struct rsm *r, const struct wire_config *config,
                                   struct kelp_cluster_id cluster, uint64_t epoch,
                                   struct kelp_pos *pos, size_t *head_len)
{
    ASSERT(r->open == NULL);
    if (!rsm_has_snapshots(r) || r->applied.index == 0) return KELP_E_NOT_SUPPORTED;
    if (r->stopped != KELP_OK) return r->stopped;
    if (stage_open(&r->stage)) return KELP_E_BUSY;
    struct open_snapshot *o = malloc(sizeof *o);
    if (o == NULL) return KELP_E_NO_MEMORY;
    size_t own_len = 0;
    o->handle = NULL;
    o->sessions = r->sessions;
    enum kelp_error error = r->ops->snapshot_begin(r->fsm, r->group, o->own, &own_len, &o->handle);
    if (error != KELP_OK) {
        free(o);
        return error;
    }
    ASSERT(own_len <= KELP_FSM_OWN_BYTES_MAX);
    o->head = (struct wire_snaphead){.cluster = cluster,
                                     .epoch = epoch,
                                     .pos = r->applied,
                                     .time_ns = r->time_ns,
                                     .state_hash = rsm_state_hash(r),
                                     .chain_hash = r->chain,
                                     .config = *config,
                                     .own = bytes_of(o->own, own_len)};
    r->open = o;
    r->machine_read = (r->ops->flags & KELP_FSM_DISPOSABLE) != 0; /* it has no objects */
    sessions_snapshot_begin(r->sessions, r->applied.index);
    *pos = r->applied;
    *head_len = wire_snaphead_encode(&o->head, o->room, sizeof o->room);
    if (*head_len > 0) return KELP_OK;
    rsm_snapshot_end(r);
    return KELP_E_LIMIT;
}

enum kelp_error rsm_snapshot_read(struct rsm *r, uint8_t *out, size_t *len, bool *last)
{
    ASSERT(r->open != NULL);
    *len = 0;
    size_t object = WIRE_OBJECT_BYTES_MAX;
    uint8_t *at = out + WIRE_OBJECT_HEAD;
    bool machine = !r->machine_read;
    enum kelp_error error =
        machine ? r->ops->snapshot_read(r->fsm, r->open->handle, at, &object, &r->machine_read)
                : sessions_snapshot_read(r->open->sessions, at, &object, last);
    if (machine) *last = r->machine_read && sessions_snapshot_read_all(r->open->sessions);
    if (error != KELP_OK || object == 0) return error;
    ASSERT(object <= WIRE_OBJECT_BYTES_MAX);
    wire_object_head(out, machine ? WIRE_OBJECT_MACHINE : WIRE_OBJECT_SESSION, object);
    *len = WIRE_OBJECT_HEAD + object;
    return KELP_OK;
}

size_t rsm_snapshot_head(struct rsm *r, uint64_t objects, uint64_t object_bytes, uint8_t *out)
{
    ASSERT(r->open != NULL);
    r->open->head.object_count = objects;
    r->open->head.object_bytes = object_bytes;
    return wire_snaphead_encode(&r->open->head, out, WIRE_SNAPHEAD_BYTES_MAX);
}

void rsm_snapshot_end(struct rsm *r)
{
    struct open_snapshot *o = r->open;
    if (o == NULL) return;
    r->open = NULL;
    sessions_snapshot_end(o->sessions);
    if (o->sessions != r->sessions) { /* a restore came between */
        sessions_free(r->replaced);
        r->replaced = o->sessions;
    }
    if (r->ops->snapshot_end != NULL) r->ops->snapshot_end(r->fsm, o->handle);
    free(o);
}

bool rsm_wants_snapshot(const struct rsm *r)
{
    size_t known = offsetof(struct kelp_fsm_ops, wants_snapshot) + sizeof r->ops->wants_snapshot;
    if (r->ops->size < known || r->ops->wants_snapshot == NULL) return false;
    return r->ops->wants_snapshot(r->fsm, r->group);
}

static enum kelp_error not_taken(enum kelp_error error, struct kelp_fault *fault)
{
    return fault_set(fault, error, "snapshot", "the state machine does not take it");
}

static void restored_drop(struct rsm *r)
{
    sessions_free(r->restored);
    r->restored = NULL;
}

enum kelp_error rsm_restore_begin(struct rsm *r, const struct wire_snaphead *head,
                                  struct kelp_fault *fault)
{
    ASSERT(!r->restoring && r->open == NULL);
    r->restored = sessions_new();
    if (r->restored == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "snapshot", "out of memory");
    r->restore = NULL;
    r->hollow = head->hollow;
    if (r->hollow) {
        r->restoring = true;
        return KELP_OK;
    }
    enum kelp_error error =
        r->ops->restore_begin(r->fsm, r->group, head->pos, head->time_ns, head->own, &r->restore);
    r->restoring = error == KELP_OK;
    if (!r->restoring) restored_drop(r);
    return error == KELP_OK ? KELP_OK : not_taken(error, fault);
}

enum kelp_error rsm_restore_object(struct rsm *r, const struct wire_object *object,
                                   struct kelp_fault *fault)
{
    ASSERT(r->restoring && !r->hollow);
    if (object->kind == WIRE_OBJECT_SESSION) {
        enum kelp_error error = sessions_restore(r->restored, object->bytes);
        if (error == KELP_OK) return KELP_OK;
        return fault_set(fault, error, "snapshot", "its sessions cannot be restored");
    }
    if (r->ops->restore_object == NULL)
        return fault_set(fault, KELP_E_NOT_SUPPORTED, "snapshot",
                         "it has objects; the state machine takes none");
    enum kelp_error error = r->ops->restore_object(r->fsm, r->restore, object->bytes);
    return error == KELP_OK ? KELP_OK : not_taken(error, fault);
}

enum kelp_error rsm_restore_commit(struct rsm *r, const struct wire_snaphead *head,
                                   struct kelp_fault *fault)
{
    ASSERT(r->restoring);
    enum kelp_error error = r->hollow ? KELP_OK : r->ops->restore_commit(r->fsm, r->restore);
    if (error != KELP_OK) {
        rsm_restore_abort(r);
        return not_taken(error, fault);
    }
    r->restoring = false;
    memset(r->marks, 0, sizeof r->marks); /* they speak of the state that is gone */
    sessions_replace(r, r->restored);
    r->restored = NULL;
    stage_drop(&r->stage, KELP_RESTORE_REPLACED, head->pos.index);
    if (!r->hollow && rsm_state_hash(r) != head->state_hash)
        return fault_set(fault, KELP_E_CORRUPT, "snapshot",
                         "the state hash differs from the one in its head");
    r->applied = head->pos;
    r->time_ns = max_u64(r->time_ns, head->time_ns); /* it never goes back */
    r->chain = head->chain_hash;
    return KELP_OK;
}

void rsm_restore_abort(struct rsm *r)
{
    if (!r->restoring) return;
    r->restoring = false;
    restored_drop(r);
    if (!r->hollow && r->ops->restore_abort != NULL) r->ops->restore_abort(r->fsm, r->restore);
}

struct kelp_pos rsm_applied(const struct rsm *r)
{
    return r->applied;
}

uint64_t rsm_time_ns(const struct rsm *r)
{
    return r->time_ns;
}

uint64_t rsm_chain_hash(const struct rsm *r)
{
    return r->chain;
}

uint64_t rsm_state_hash(const struct rsm *r)
{
    return r->ops->hash(r->fsm, r->group) + sessions_hash(r->sessions);
}

size_t rsm_marks(const struct rsm *r, kelp_index after, struct wire_mark out[WIRE_MARK_KEPT])
{
    size_t count = 0;
    kelp_index newest = r->applied.index - r->applied.index % WIRE_MARK_EVERY;
    for (size_t i = WIRE_MARK_KEPT; i-- > 0;) {
        if (newest <= i * WIRE_MARK_EVERY) continue;
        kelp_index index = newest - i * WIRE_MARK_EVERY;
        const struct wire_mark *m = &r->marks[wire_mark_slot(index)];
        if (index > after && m->index == index) out[count++] = *m;
    }
    return count;
}
