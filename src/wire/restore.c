/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - a step of a restore, as bytes: the payload of an entry of type RESTORE.
 *
 *   offset  size  field
 *        0     1  version, 1
 *        1     1  kind   enum kelp_restore_kind
 *        2     2  flags  enum kelp_restore_flag; only BEGIN has any
 *        4     8  id, not 0
 *   BEGIN
 *       12     8  objects
 *       20     8  bytes of them
 *       28     8  cluster clock of the file, ns; 0: not known
 *       36     8  time of day at BEGIN, ms since 1970; told only
 *       44        the state machine's own bytes, at most 32768, to the end
 *   PART
 *       12     8  number
 *       20        the object, 1..65536 bytes, to the end
 *   COMMIT, ABORT: nothing more
 *
 * It is replicated, so nothing may be skipped that a newer version means something by: what is
 * not known is an error of its own, and whoever applies it stops. */
#include "wire/restore.h"

#include "kelp/fsm.h"
#include "wire/wire.h"

#define VERSION     1u
#define COMMON      12u
#define BEGIN_BYTES 44u
#define PART_BYTES  20u

static bool begins(const struct kelp_restore_step *s)
{
    return s->kind == KELP_RESTORE_BEGIN;
}

/* Has it only what its kind has? */
static bool fits(const struct kelp_restore_step *s)
{
    bool promised = s->objects == 0 && s->object_bytes == 0 && s->time_ns == 0 &&
                    s->wall_unix_ms == 0 && s->flags == 0;
    if (s->id == 0 || (s->flags & ~(uint32_t)KELP_RESTORE_FORCE) != 0) return false;
    switch (s->kind) {
    case KELP_RESTORE_BEGIN: return s->number == 0 && s->bytes.len <= KELP_FSM_OWN_BYTES_MAX;
    case KELP_RESTORE_PART:
        return promised && s->bytes.len > 0 && s->bytes.len <= KELP_RESTORE_OBJECT_MAX;
    case KELP_RESTORE_COMMIT:
    case KELP_RESTORE_ABORT: return promised && s->number == 0 && s->bytes.len == 0;
    }
    return false;
}

static size_t head_bytes(const struct kelp_restore_step *s)
{
    if (begins(s)) return BEGIN_BYTES;
    return s->kind == KELP_RESTORE_PART ? PART_BYTES : COMMON;
}

_Static_assert(BEGIN_BYTES <= WIRE_RESTORE_HEAD_MAX, "the longest of the heads");

size_t wire_restore_size(const struct kelp_restore_step *s)
{
    return fits(s) ? head_bytes(s) + s->bytes.len : 0;
}

void wire_restore_encode(const struct kelp_restore_step *s, uint8_t *out)
{
    size_t size = wire_restore_size(s);
    ASSERT(size != 0);
    struct writer w = writer_of(out, size);
    write_u8(&w, VERSION);
    write_u8(&w, (uint8_t)s->kind);
    write_u16(&w, (uint16_t)s->flags);
    write_u64(&w, s->id);
    if (begins(s)) {
        write_u64(&w, s->objects);
        write_u64(&w, s->object_bytes);
        write_u64(&w, s->time_ns);
        write_u64(&w, s->wall_unix_ms);
    } else if (s->kind == KELP_RESTORE_PART) {
        write_u64(&w, s->number);
    }
    write_bytes(&w, s->bytes);
    ASSERT(!w.failed && writer_len(&w) == size);
}

static enum kelp_error unknown(struct kelp_fault *fault, const char *what, unsigned value)
{
    return fault_set(fault, KELP_E_VERSION, NULL, "a step of a restore of %s %u is not known", what,
                     value);
}

enum kelp_error wire_restore_decode(struct kelp_bytes in, struct kelp_restore_step *out,
                                    struct kelp_fault *fault)
{
    struct reader r = reader_of(in);
    *out = (struct kelp_restore_step){.id = 0};
    unsigned version = read_u8(&r), kind = read_u8(&r);
    out->flags = read_u16(&r);
    out->id = read_u64(&r);
    if (r.failed) return wire_malformed(fault, "a step of a restore is shorter than its head");
    if (version != VERSION) return unknown(fault, "version", version);
    if (kind < KELP_RESTORE_BEGIN || kind > KELP_RESTORE_ABORT) return unknown(fault, "kind", kind);
    if ((out->flags & ~(uint32_t)KELP_RESTORE_FORCE) != 0)
        return unknown(fault, "flags", (unsigned)out->flags);
    out->kind = (enum kelp_restore_kind)kind;
    if (begins(out)) {
        out->objects = read_u64(&r);
        out->object_bytes = read_u64(&r);
        out->time_ns = read_u64(&r);
        out->wall_unix_ms = read_u64(&r);
    } else if (out->kind == KELP_RESTORE_PART) {
        out->number = read_u64(&r);
    }
    out->bytes = read_bytes(&r, reader_left(&r));
    if (r.failed || !fits(out))
        return wire_malformed(fault, "a step of a restore has what its kind does not have");
    return KELP_OK;
}
