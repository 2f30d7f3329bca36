/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c - registers 0..2047, each a number, 0 before it is written.
 *
 * A request: register (4 bytes), a mark (4), value (8), then filling that makes sizes differ.
 * Own bytes in a snapshot: the registers from the first to the last one ever written, 8 bytes each.
 * The hash is a sum over registers, kept up to date by each write. */
#include "sim/machine.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/min.h"

#define REQUEST_MARK 0x72656731u /* so that damaged bytes are not taken for a request */

struct machine {
    uint32_t used; /* registers below it may be set */
    bool wrong;
    uint64_t hash;
    uint64_t values[MACHINE_REGISTERS];
};

struct machine_restore {
    struct machine *machine;
    uint32_t used;
    uint64_t values[MACHINE_REGISTERS];
};

_Static_assert(MACHINE_REGISTERS * 8 <= KELP_FSM_OWN_BYTES_MAX, "the whole state is own bytes");

void machine_encode(const struct machine_request *request, uint8_t *out)
{
    put_u32(out, request->name);
    put_u32(out + 4, REQUEST_MARK);
    put_u64(out + 8, request->value);
}

bool machine_decode(struct kelp_bytes in, struct machine_request *out)
{
    struct reader r = reader_of(in);
    uint32_t name = read_u32(&r), mark = read_u32(&r);
    uint64_t value = read_u64(&r);
    *out = (struct machine_request){name, value};
    return !r.failed && mark == REQUEST_MARK && name < MACHINE_REGISTERS;
}

static uint64_t register_hash(uint32_t name, uint64_t value)
{
    return value != 0 ? hash_mix(name + 1, value) : 0;
}

static void machine_set(struct machine *m, uint32_t name, uint64_t value)
{
    m->hash += register_hash(name, value) - register_hash(name, m->values[name]);
    m->values[name] = value;
    m->used = (uint32_t)max_u64(m->used, name + 1);
}

static void machine_answer(kelp_reply_fn reply, void *sink, size_t i, uint64_t value)
{
    uint8_t out[8];
    put_u64(out, value);
    reply(sink, i, bytes_of(out, sizeof out));
}

static void machine_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                          size_t count, kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct machine *m = fsm;
    for (size_t i = 0; i < count; i++) {
        struct machine_request request;
        if (!machine_decode(commands[i].payload, &request)) continue; /* no answer: not ours */
        uint64_t before = m->values[request.name];
        machine_set(m, request.name, m->wrong ? request.value ^ 1 : request.value);
        machine_answer(reply, sink, i, before);
    }
}

static void machine_query(void *fsm, uint32_t group, struct kelp_bytes question,
                          kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct machine *m = fsm;
    struct machine_request request;
    if (machine_decode(question, &request)) machine_answer(reply, sink, 0, m->values[request.name]);
}

static enum kelp_error machine_snapshot_begin(void *fsm, uint32_t group, uint8_t *own,
                                              size_t *own_len, void **snapshot)
{
    (void)group;
    struct machine *m = fsm;
    for (uint32_t i = 0; i < m->used; i++)
        put_u64(own + 8 * i, m->values[i]);
    *own_len = 8u * m->used;
    *snapshot = m;
    return KELP_OK;
}

static enum kelp_error machine_snapshot_read(void *fsm, void *snapshot, uint8_t *out, size_t *len,
                                             bool *last)
{
    (void)fsm;
    (void)snapshot;
    (void)out;
    *len = 0;
    *last = true; /* no objects: all of it is in the own bytes */
    return KELP_OK;
}

static void machine_snapshot_end(void *fsm, void *snapshot)
{
    (void)fsm;
    (void)snapshot;
}

static enum kelp_error machine_restore_begin(void *fsm, uint32_t group, struct kelp_pos pos,
                                             uint64_t time_ns, struct kelp_bytes own,
                                             void **restore)
{
    (void)group;
    (void)pos;
    (void)time_ns;
    if (own.len % 8 != 0 || own.len / 8 > MACHINE_REGISTERS) return KELP_E_MALFORMED;
    struct machine_restore *r = calloc(1, sizeof *r);
    if (r == NULL) return KELP_E_NO_MEMORY;
    r->machine = fsm;
    r->used = (uint32_t)(own.len / 8);
    for (uint32_t i = 0; i < r->used; i++)
        r->values[i] = load_u64(own.data + 8 * i);
    *restore = r;
    return KELP_OK;
}

static enum kelp_error machine_restore_object(void *fsm, void *restore, struct kelp_bytes object)
{
    (void)fsm;
    (void)restore;
    (void)object;
    return KELP_E_MALFORMED; /* a disposable machine has none */
}

static enum kelp_error machine_restore_commit(void *fsm, void *restore)
{
    struct machine *m = fsm;
    struct machine_restore *r = restore;
    memset(m->values, 0, sizeof m->values);
    m->hash = 0;
    m->used = 0;
    for (uint32_t i = 0; i < r->used; i++)
        machine_set(m, i, r->values[i]);
    free(r);
    return KELP_OK;
}

static void machine_restore_abort(void *fsm, void *restore)
{
    (void)fsm;
    free(restore);
}

static uint64_t machine_hash(void *fsm, uint32_t group)
{
    (void)group;
    const struct machine *m = fsm;
    return m->hash;
}

static void machine_close(void *fsm)
{
    free(fsm);
}

const struct kelp_fsm_ops machine_ops = {
    .size = sizeof(struct kelp_fsm_ops),
    .flags = KELP_FSM_IN_MEMORY | KELP_FSM_DISPOSABLE,
    .apply = machine_apply,
    .query = machine_query,
    .snapshot_begin = machine_snapshot_begin,
    .snapshot_read = machine_snapshot_read,
    .snapshot_end = machine_snapshot_end,
    .restore_begin = machine_restore_begin,
    .restore_object = machine_restore_object,
    .restore_commit = machine_restore_commit,
    .restore_abort = machine_restore_abort,
    .hash = machine_hash,
    .close = machine_close,
};

void *machine_make(void *ctx, kelp_id node)
{
    struct machine *m = calloc(1, sizeof *m);
    const kelp_id *wrong = ctx;
    if (m != NULL) m->wrong = wrong != NULL && *wrong == node;
    return m;
}
