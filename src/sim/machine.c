/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c - registers 0..2047, each a number, 0 before it is written; and the newest lists.
 *
 * A request: name (4 bytes), a mark with the kind in its last byte (4), value (8), for a swap what
 * is expected (8), for several names the others (4 each), for one that is lent how long (4), then
 * filling that makes sizes differ. Lists have MACHINE_LISTS places; a list takes the place of the
 * older one that has its remainder, so that all of the state fits the own bytes of a snapshot: how
 * many registers (4 bytes), the registers up to the last one ever written (8 each), how many are
 * lent (4), name (4) and deadline (8) of each, then the lists: name, length (4 each), elements (8
 * each). In some runs it is given in objects instead, a few registers or one list each, as a
 * machine does whose state is large. The hash is a sum over registers, elements and deadlines, kept
 * up to date.
 *
 * What is due is absent for everybody from the entry on that says so; it is cleared away by the
 * next command or clock entry, all of it, since it is little. */
#include "sim/machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/min.h"

#define REQUEST_MARK 0x72656700u /* so that damaged bytes are not taken for a request */

struct list {
    uint32_t name, length; /* name 0: none yet */
    uint64_t elements[MACHINE_LIST_MAX];
};

struct lent {
    uint32_t name;
    uint64_t due; /* cluster clock */
};

struct machine {
    uint32_t used; /* registers below it may be set */
    bool wrong, taking;
    uint64_t hash;
    uint64_t now; /* cluster clock */
    uint32_t lent_count;
    struct lent lent[MACHINE_LENT_MAX];
    uint64_t values[MACHINE_REGISTERS];
    struct list lists[MACHINE_LISTS];
};

struct machine_restore {
    struct machine state;
};

#define LENT_BYTES 12u
_Static_assert(4 + MACHINE_REGISTERS * 8 + 4 + MACHINE_LENT_MAX * LENT_BYTES +
                       MACHINE_LISTS * (8 + 8 * MACHINE_LIST_MAX) <=
                   KELP_FSM_OWN_BYTES_MAX,
               "the whole state is own bytes");
_Static_assert(MACHINE_ANSWER_BYTES >= 8 * MACHINE_TOGETHER_MAX, "the largest answer is a list");

/* ---- requests ---- */

size_t machine_encode(const struct machine_request *request, uint8_t out[MACHINE_REQUEST_BYTES])
{
    const struct machine_more *more = &request->more;
    size_t len = 16;
    put_u32(out, request->name);
    put_u32(out + 4, REQUEST_MARK | (uint32_t)more->kind << 4 | more->others);
    put_u64(out + 8, request->value);
    if (more->kind == MACHINE_SWAP) {
        put_u64(out + len, more->expected);
        len += 8;
    }
    if (more->kind == MACHINE_LEND) {
        put_u32(out + len, more->lasts_ms);
        len += 4;
    }
    for (unsigned i = 0; i < more->others; i++, len += 4)
        put_u32(out + len, more->names[i]);
    return len;
}

static bool name_fits(uint32_t name, unsigned kind)
{
    if (kind == MACHINE_APPEND) return name >= MACHINE_REGISTERS && name < MACHINE_NAMES;
    return name < MACHINE_REGISTERS;
}

bool machine_decode(struct kelp_bytes in, struct machine_request *out)
{
    struct reader r = reader_of(in);
    uint32_t name = read_u32(&r), mark = read_u32(&r);
    unsigned kind = mark >> 4 & 15, others = mark & 15;
    *out = (struct machine_request){.name = name, .value = read_u64(&r)};
    if (r.failed || (mark & 0xffffff00u) != REQUEST_MARK || kind >= MACHINE_KINDS ||
        others >= MACHINE_TOGETHER_MAX || (others > 0 && kind != MACHINE_SEVERAL) ||
        !name_fits(name, kind))
        return false;
    out->more.kind = (uint8_t)kind;
    out->more.others = (uint8_t)others;
    if (kind == MACHINE_SWAP) out->more.expected = read_u64(&r);
    if (kind == MACHINE_LEND) out->more.lasts_ms = read_u32(&r);
    bool fit = true;
    for (unsigned i = 0; i < others; i++) {
        out->more.names[i] = read_u32(&r);
        fit = fit && name_fits(out->more.names[i], kind);
    }
    return !r.failed && fit;
}

/* ---- state ---- */

static uint64_t register_hash(uint32_t name, uint64_t value)
{
    return value != 0 ? hash_mix(name + 1, value) : 0;
}

static uint64_t element_hash(const struct list *l, uint32_t place)
{
    return hash_mix(hash_mix(l->name, place + 1), l->elements[place]);
}

static uint64_t lent_hash(const struct lent *l)
{
    return hash_mix(hash_mix(0x6c656e74, l->name + 1), l->due);
}

/* NULL: it is not lent. */
static struct lent *lent_find(struct machine *m, uint32_t name)
{
    for (uint32_t i = 0; i < m->lent_count; i++) {
        if (m->lent[i].name == name) return &m->lent[i];
    }
    return NULL;
}

static void lent_end(struct machine *m, struct lent *l)
{
    if (l == NULL) return;
    m->hash -= lent_hash(l);
    *l = m->lent[--m->lent_count];
}

static void lent_add(struct machine *m, uint32_t name, uint64_t due)
{
    if (m->lent_count == MACHINE_LENT_MAX) return;
    struct lent *l = &m->lent[m->lent_count++];
    *l = (struct lent){name, due};
    m->hash += lent_hash(l);
}

static uint64_t register_put(struct machine *m, uint32_t name, uint64_t value)
{
    uint64_t before = m->values[name];
    m->hash += register_hash(name, value) - register_hash(name, before);
    m->values[name] = value;
    m->used = (uint32_t)max_u64(m->used, name + 1);
    return before;
}

static uint64_t machine_set(struct machine *m, uint32_t name, uint64_t value)
{
    lent_end(m, lent_find(m, name));
    return register_put(m, name, value);
}

static void machine_clear(struct machine *m)
{
    for (uint32_t i = 0; i < m->lent_count;) {
        if (m->lent[i].due > m->now)
            i++;
        else
            (void)machine_set(m, m->lent[i].name, 0); /* another one takes its place here */
    }
}

/* What everybody sees there. */
static uint64_t machine_standing(struct machine *m, uint32_t name)
{
    const struct lent *l = lent_find(m, name);
    return l != NULL && l->due <= m->now ? 0 : m->values[name];
}

static uint64_t machine_append(struct machine *m, uint32_t name, uint64_t value)
{
    struct list *l = &m->lists[machine_list_place(name)];
    if (name < l->name || (name == l->name && l->length == MACHINE_LIST_MAX)) return 0;
    if (name > l->name) {
        for (uint32_t i = 0; i < l->length; i++)
            m->hash -= element_hash(l, i);
        l->name = name;
        l->length = 0;
    }
    l->elements[l->length] = value;
    m->hash += element_hash(l, l->length);
    return ++l->length;
}

static void machine_answer(kelp_reply_fn reply, void *sink, size_t i, uint64_t value)
{
    uint8_t out[8];
    put_u64(out, value);
    reply(sink, i, bytes_of(out, sizeof out));
}

static uint64_t machine_command(struct machine *m, const struct machine_request *request)
{
    uint32_t name = request->name;
    uint64_t value = m->wrong ? request->value ^ 1 : request->value;
    switch ((enum machine_kind)request->more.kind) {
    case MACHINE_SET: return machine_set(m, name, value);
    case MACHINE_SWAP:
        if (m->values[name] != request->more.expected) return m->values[name];
        return machine_set(m, name, value);
    case MACHINE_COUNT:
        (void)machine_set(m, name, m->values[name] + (m->wrong ? 2 : 1));
        return m->values[name];
    case MACHINE_APPEND: return machine_append(m, name, value);
    case MACHINE_SEVERAL:
        for (unsigned i = 0; i < request->more.others; i++)
            (void)machine_set(m, request->more.names[i], value);
        return machine_set(m, name, value);
    case MACHINE_LEND: {
        uint64_t before = machine_set(m, name, value);
        lent_add(m, name, m->now + request->more.lasts_ms * UINT64_C(1000000));
        return before;
    }
    case MACHINE_KINDS: break;
    }
    return 0;
}

static void machine_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                          size_t count, kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct machine *m = fsm;
    for (size_t i = 0; i < count; i++) {
        struct machine_request request;
        m->now = max_u64(m->now, commands[i].time_ns);
        machine_clear(m);
        if (!machine_decode(commands[i].payload, &request)) continue; /* no answer: not ours */
        machine_answer(reply, sink, i, machine_command(m, &request));
    }
}

static uint64_t machine_deadline(void *fsm, uint32_t group)
{
    (void)group;
    const struct machine *m = fsm;
    uint64_t earliest = KELP_FSM_NO_DEADLINE;
    for (uint32_t i = 0; i < m->lent_count; i++)
        earliest = min_u64(earliest, m->lent[i].due);
    return earliest;
}

static void machine_pass(void *fsm, uint32_t group, uint64_t time_ns, int alone)
{
    (void)group;
    struct machine *m = fsm;
    m->now = max_u64(m->now, time_ns);
    if (alone != 0) machine_clear(m);
}

static bool machine_lapses(void *fsm, uint32_t group, struct kelp_bytes question, uint64_t time_ns)
{
    (void)group;
    struct machine *m = fsm;
    struct machine_request request;
    if (m->lent_count == 0 || !machine_decode(question, &request) ||
        request.more.kind == MACHINE_APPEND)
        return false;
    for (unsigned i = 0; i <= request.more.others; i++) {
        const struct lent *l = lent_find(m, i == 0 ? request.name : request.more.names[i - 1]);
        if (l != NULL && l->due > m->now && l->due <= time_ns) return true;
    }
    return false;
}

static void machine_query(void *fsm, uint32_t group, struct kelp_bytes question,
                          kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct machine *m = fsm; /* nothing changes */
    struct machine_request request;
    uint8_t out[MACHINE_ANSWER_BYTES];
    size_t len = 8;
    if (!machine_decode(question, &request)) return;
    if (request.more.kind == MACHINE_APPEND) {
        const struct list *l = &m->lists[machine_list_place(request.name)];
        uint32_t length = l->name == request.name ? l->length : 0;
        put_u64(out, l->name > request.name ? MACHINE_GONE : length);
        for (uint32_t i = 0; i < length; i++, len += 8)
            put_u64(out + len, l->elements[i]);
        reply(sink, 0, bytes_of(out, len));
        return;
    }
    put_u64(out, machine_standing(m, request.name));
    for (unsigned i = 0; i < request.more.others; i++, len += 8)
        put_u64(out + len, machine_standing(m, request.more.names[i]));
    reply(sink, 0, bytes_of(out, len));
}

/* ---- snapshots ---- */

static enum kelp_error machine_snapshot_begin(void *fsm, uint32_t group, uint8_t *own,
                                              size_t *own_len, void **snapshot)
{
    (void)group;
    struct machine *m = fsm;
    size_t len = 4;
    put_u32(own, m->used);
    for (uint32_t i = 0; i < m->used; i++, len += 8)
        put_u64(own + len, m->values[i]);
    put_u32(own + len, m->lent_count);
    len += 4;
    for (uint32_t i = 0; i < m->lent_count; i++, len += LENT_BYTES) {
        put_u32(own + len, m->lent[i].name);
        put_u64(own + len + 4, m->lent[i].due);
    }
    for (uint32_t i = 0; i < MACHINE_LISTS; i++) {
        const struct list *l = &m->lists[i];
        if (l->name == 0) continue;
        put_u32(own + len, l->name);
        put_u32(own + len + 4, l->length);
        len += 8;
        for (uint32_t k = 0; k < l->length; k++, len += 8)
            put_u64(own + len, l->elements[k]);
    }
    *own_len = len;
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

static bool list_restore(struct machine *m, struct reader *r)
{
    uint32_t name = read_u32(r), length = read_u32(r);
    if (r->failed || !name_fits(name, MACHINE_APPEND) || length == 0 || length > MACHINE_LIST_MAX)
        return false;
    if (m->lists[machine_list_place(name)].name != 0) return false;
    for (uint32_t i = 0; i < length; i++)
        (void)machine_append(m, name, read_u64(r));
    return !r->failed;
}

/* How many, and each; its register stands there already. */
static bool lent_restore(struct machine *m, struct reader *r)
{
    uint32_t count = read_u32(r);
    if (r->failed || count > MACHINE_LENT_MAX) return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t name = read_u32(r);
        uint64_t due = read_u64(r);
        if (r->failed || !name_fits(name, MACHINE_LEND) || lent_find(m, name) != NULL) return false;
        lent_add(m, name, due);
    }
    return true;
}

static enum kelp_error machine_restore_begin(void *fsm, uint32_t group, struct kelp_pos pos,
                                             uint64_t time_ns, struct kelp_bytes own,
                                             void **restore)
{
    (void)group;
    (void)pos;
    const struct machine *m = fsm;
    struct reader in = reader_of(own);
    uint32_t used = read_u32(&in);
    if (in.failed || used > MACHINE_REGISTERS || own.len < 4 + 8u * used) return KELP_E_MALFORMED;
    struct machine_restore *r = calloc(1, sizeof *r);
    if (r == NULL) return KELP_E_NO_MEMORY;
    r->state.wrong = m->wrong;
    r->state.now = max_u64(m->now, time_ns);
    for (uint32_t i = 0; i < used; i++)
        (void)machine_set(&r->state, i, read_u64(&in));
    bool good = lent_restore(&r->state, &in);
    while (good && reader_left(&in) > 0)
        good = list_restore(&r->state, &in);
    if (!good) {
        free(r);
        return KELP_E_MALFORMED;
    }
    *restore = r;
    return KELP_OK;
}

/* Into a state of its own, as a restore is: nothing else is needed. */
static enum kelp_error machine_stage_begin(void *fsm, uint32_t group, const struct kelp_stage *from,
                                           void **restore)
{
    return machine_restore_begin(fsm, group, kelp_pos_of(0, 0), from->now_ns, from->own, restore);
}

static enum kelp_error machine_restore_object(void *fsm, void *restore, struct kelp_bytes object)
{
    (void)fsm;
    (void)restore;
    (void)object;
    return KELP_E_MALFORMED; /* a disposable machine has none */
}

/* A snapshot that is open goes on, and belongs to the machine, not to its state. */
static void machine_becomes(struct machine *m, const struct machine *state)
{
    bool taking = m->taking;
    *m = *state;
    m->taking = taking;
}

static enum kelp_error machine_restore_commit(void *fsm, void *restore)
{
    struct machine_restore *r = restore;
    machine_becomes(fsm, &r->state);
    free(r);
    return KELP_OK;
}

static void machine_restore_abort(void *fsm, void *restore)
{
    (void)fsm;
    free(restore);
}

/* ---- the same in objects ---- */

/* The state as it was at begin; registers in slices, then the lists one by one. */
struct machine_copy {
    struct machine state;
    uint32_t next, list, slice;
    bool lent; /* given */
};

#define OBJECT_REGISTERS 1u
#define OBJECT_LIST      2u
#define OBJECT_LENT      3u /* behind the registers */

static enum kelp_error objects_begin(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                     void **snapshot)
{
    (void)group;
    struct machine *m = fsm;
    struct machine_copy *c = malloc(sizeof *c);
    if (c == NULL) return KELP_E_NO_MEMORY;
    ASSERT(!m->taking);
    m->taking = true;
    c->state.used = m->used; /* what lies behind it is not read */
    memcpy(c->state.values, m->values, m->used * sizeof m->values[0]);
    memcpy(c->state.lists, m->lists, sizeof m->lists);
    memcpy(c->state.lent, m->lent, sizeof m->lent);
    c->state.lent_count = m->lent_count;
    c->lent = m->lent_count == 0;
    c->next = c->list = 0;
    c->slice = 1 + (uint32_t)(m->hash % 61);
    put_u32(own, m->used);
    put_u64(own + 4, m->hash);
    *own_len = 12;
    *snapshot = c;
    return KELP_OK;
}

static enum kelp_error objects_read(void *fsm, void *snapshot, uint8_t *out, size_t *len,
                                    bool *last)
{
    (void)fsm;
    struct machine_copy *c = snapshot;
    const struct machine *m = &c->state;
    struct writer w = writer_of(out, *len);
    if (c->next < m->used) {
        uint32_t end = (uint32_t)min_u64(m->used, c->next + c->slice);
        write_u8(&w, OBJECT_REGISTERS);
        write_u32(&w, c->next);
        for (; c->next < end; c->next++)
            write_u64(&w, m->values[c->next]);
    } else if (!c->lent) {
        write_u8(&w, OBJECT_LENT);
        write_u32(&w, m->lent_count);
        for (uint32_t i = 0; i < m->lent_count; i++) {
            write_u32(&w, m->lent[i].name);
            write_u64(&w, m->lent[i].due);
        }
        c->lent = true;
    } else if (c->list < MACHINE_LISTS && m->lists[c->list].name != 0) {
        const struct list *l = &m->lists[c->list];
        write_u8(&w, OBJECT_LIST);
        write_u32(&w, l->name);
        write_u32(&w, l->length);
        for (uint32_t k = 0; k < l->length; k++)
            write_u64(&w, l->elements[k]);
        c->list++;
    }
    while (c->next == m->used && c->list < MACHINE_LISTS && m->lists[c->list].name == 0)
        c->list++;
    ASSERT(!w.failed);
    *len = writer_len(&w);
    *last = c->next == m->used && c->lent && c->list == MACHINE_LISTS;
    return KELP_OK;
}

static void objects_end(void *fsm, void *snapshot)
{
    struct machine *m = fsm;
    ASSERT(m->taking); /* once after every begin */
    m->taking = false;
    free(snapshot);
}

struct objects_restore {
    struct machine state;
    uint32_t used, next;
    uint64_t hash;
};

static enum kelp_error objects_restore_begin(void *fsm, uint32_t group, struct kelp_pos pos,
                                             uint64_t time_ns, struct kelp_bytes own,
                                             void **restore)
{
    (void)group;
    (void)pos;
    const struct machine *m = fsm;
    struct reader in = reader_of(own);
    uint32_t used = read_u32(&in);
    uint64_t hash = read_u64(&in);
    if (in.failed || reader_left(&in) > 0 || used > MACHINE_REGISTERS) return KELP_E_MALFORMED;
    struct objects_restore *r = calloc(1, sizeof *r);
    if (r == NULL) return KELP_E_NO_MEMORY;
    r->state.wrong = m->wrong;
    r->state.now = max_u64(m->now, time_ns);
    r->used = used;
    r->hash = hash;
    *restore = r;
    return KELP_OK;
}

static enum kelp_error objects_restore_object(void *fsm, void *restore, struct kelp_bytes object)
{
    (void)fsm;
    struct objects_restore *r = restore;
    struct reader in = reader_of(object);
    uint8_t kind = read_u8(&in);
    if (kind == OBJECT_LIST)
        return list_restore(&r->state, &in) && reader_left(&in) == 0 ? KELP_OK : KELP_E_MALFORMED;
    if (kind == OBJECT_LENT) {
        bool good = r->next == r->used && lent_restore(&r->state, &in);
        return good && reader_left(&in) == 0 ? KELP_OK : KELP_E_MALFORMED;
    }
    if (kind != OBJECT_REGISTERS || read_u32(&in) != r->next) return KELP_E_MALFORMED;
    while (reader_left(&in) >= 8 && r->next < r->used)
        (void)machine_set(&r->state, r->next++, read_u64(&in));
    return in.failed || reader_left(&in) > 0 ? KELP_E_MALFORMED : KELP_OK;
}

static enum kelp_error objects_stage_begin(void *fsm, uint32_t group, const struct kelp_stage *from,
                                           void **restore)
{
    return objects_restore_begin(fsm, group, kelp_pos_of(0, 0), from->now_ns, from->own, restore);
}

static enum kelp_error objects_restore_commit(void *fsm, void *restore)
{
    struct objects_restore *r = restore;
    if (r->next != r->used || r->state.hash != r->hash) return KELP_E_CORRUPT;
    machine_becomes(fsm, &r->state);
    free(r);
    return KELP_OK;
}

/* Now and then, alike on every node. */
static bool machine_wants_snapshot(void *fsm, uint32_t group)
{
    (void)group;
    const struct machine *m = fsm;
    return m->hash % 499 == 1;
}

static uint64_t machine_hash(void *fsm, uint32_t group)
{
    (void)group;
    const struct machine *m = fsm;
    return m->hash;
}

static void machine_close(void *fsm)
{
    const struct machine *m = fsm;
    ASSERT(!m->taking); /* an open snapshot is ended before its machine */
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
    .deadline = machine_deadline,
    .pass = machine_pass,
    .lapses = machine_lapses,
    .stage_begin = machine_stage_begin,
};

const struct kelp_fsm_ops machine_objects_ops = {
    .size = sizeof(struct kelp_fsm_ops),
    .flags = KELP_FSM_IN_MEMORY,
    .apply = machine_apply,
    .query = machine_query,
    .snapshot_begin = objects_begin,
    .snapshot_read = objects_read,
    .snapshot_end = objects_end,
    .restore_begin = objects_restore_begin,
    .restore_object = objects_restore_object,
    .restore_commit = objects_restore_commit,
    .restore_abort = machine_restore_abort,
    .hash = machine_hash,
    .close = machine_close,
    .deadline = machine_deadline,
    .pass = machine_pass,
    .lapses = machine_lapses,
    .wants_snapshot = machine_wants_snapshot,
    .stage_begin = objects_stage_begin,
};

void *machine_make(void *ctx, kelp_id node)
{
    struct machine *m = calloc(1, sizeof *m);
    const kelp_id *wrong = ctx;
    if (m != NULL) m->wrong = wrong != NULL && *wrong == node;
    return m;
}

void machine_turn(void *fsm, uint32_t name, unsigned bit)
{
    struct machine *m = fsm;
    (void)register_put(m, name, m->values[name] ^ (UINT64_C(1) << bit));
}
