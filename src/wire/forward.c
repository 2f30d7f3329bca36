/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - a request sent on to the leader, and its answer: bodies of frames of their own kinds.
 *
 *   forward                                    answer
 *   offset  size  field                        offset  size  field
 *        0     2  length of the fixed part          0     2  length of the fixed part
 *        2     1  kind  enum wire_forward_kind      2     1  outcome  enum kelp_outcome
 *        3     1  u     bytes of user               3     1  reserved, 0
 *        4     4  x     bytes of extension          4     2  reason   enum kelp_reason
 *        8     8  term, 1..2^62                     6     2  reserved, 0
 *       16     8  incarnation                       8     8  number, 1..
 *       24     8  start count                      16     8  leader, 0: not known
 *       32     8  number, 1..                      24     8  index, at most 2^62
 *       40     8  timeout, ns                      32     8  term, at most 2^62
 *       48     1  read level, and                  40     8  member, only if there is one
 *       49     1  1: a lease may be a round        48        result, to the end of the body
 *                 .. both only if not linearizable,
 *                 or of kind ONCE; that one only:
 *       50     1  once  enum wire_once
 *       51     8  session
 *       59     8  sequence
 *       67     8  acknowledged
 *   then, behind the fixed part:
 *              u  user
 *              x  extension, at most 65536
 *                 command, to the end of the
 *                 body, at most 8 MiB; a transfer's: the target's id; an index's: none
 *
 * The fixed parts are self-sized; what follows them is borrowed from the frame. A reason that this
 * version does not know is passed on as its number: the outcome alone decides what a client may
 * do next, and dropping the answer would turn a definite outcome into an unknown one. */
#include "wire/forward.h"

#include "wire/entry.h"
#include "wire/wire.h"

static bool kind_known(unsigned kind)
{
    return kind >= WIRE_FORWARD_WRITE && kind <= WIRE_FORWARD_RESTORE;
}

/* What only the node that is asked can answer is not sent on. */
static bool level_fits(const struct wire_forward *f)
{
    bool reads = f->kind == WIRE_FORWARD_READ || f->kind == WIRE_FORWARD_INDEX;
    switch ((enum kelp_read_level)f->level) {
    case KELP_READ_LINEARIZABLE: return !f->may_round;
    case KELP_READ_LEASE: return reads;
    case KELP_READ_LOG: return reads && !f->may_round;
    case KELP_READ_STALE:
    case KELP_READ_ANY: return false;
    }
    return false;
}

/* A session begins without a name and ends without more than that; a key has no session. */
static bool once_fits(const struct wire_forward *f)
{
    bool none = f->session == 0 && f->sequence == 0 && f->acknowledged == 0;
    if (f->kind != WIRE_FORWARD_ONCE) return f->once == 0 && none;
    switch ((enum wire_once)f->once) {
    case WIRE_ONCE_COMMAND: return true;
    case WIRE_ONCE_SESSION: return none && f->command.len == 0;
    case WIRE_ONCE_END: return f->session != 0 && f->command.len == 0;
    }
    return false;
}

/* NULL, or the rule that is broken. */
static const char *forward_wrong(const struct wire_forward *f)
{
    if (f->term.v == 0 || f->term.v > WIRE_NUMBER_MAX) return "a forward's term is out of range";
    if (f->number == 0) return "a forward's number is 0";
    if (f->extension.len > WIRE_EXTENSION_MAX) return "a forward's extension is too long";
    if (f->command.len > WIRE_ENTRY_PAYLOAD_MAX) return "a forward's command is too long";
    if (f->kind == WIRE_FORWARD_TRANSFER && f->command.len != WIRE_FORWARD_TRANSFER_BYTES)
        return "a transfer's target is not 8 bytes";
    if (f->kind == WIRE_FORWARD_INDEX && f->command.len > 0)
        return "a question for an index has a command";
    if (f->kind == WIRE_FORWARD_RESTORE && f->command.len == 0)
        return "a step of a restore has no command";
    if (!once_fits(f)) return "what a forward is executed once by makes no sense";
    if (!level_fits(f)) return "the read level of a forward is out of range";
    return NULL;
}

size_t wire_forward_encode(const struct wire_forward *f, uint8_t *out)
{
    ASSERT(kind_known(f->kind));
    ASSERT(f->user.len <= UINT8_MAX);
    ASSERT(forward_wrong(f) == NULL);
    struct writer w = part_begin(out, WIRE_FORWARD_HEAD_MAX);
    write_u8(&w, f->kind);
    write_u8(&w, (uint8_t)f->user.len);
    write_u32(&w, (uint32_t)f->extension.len);
    write_u64(&w, f->term.v);
    write_u64(&w, f->incarnation);
    write_u64(&w, f->start_count);
    write_u64(&w, f->number);
    write_u64(&w, f->timeout_ns);
    bool once = f->kind == WIRE_FORWARD_ONCE;
    if (f->level != 0 || once) {
        write_u8(&w, f->level);
        write_u8(&w, f->may_round ? 1 : 0);
    }
    if (once) {
        write_u8(&w, f->once);
        write_u64(&w, f->session);
        write_u64(&w, f->sequence);
        write_u64(&w, f->acknowledged);
    }
    return part_end(&w);
}

enum kelp_error wire_forward_decode(struct kelp_bytes in, struct wire_forward *out,
                                    struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader r = part_open(in, &rest);
    memset(out, 0, sizeof *out);
    out->kind = read_u8(&r);
    size_t user_len = read_u8(&r), extension_len = read_u32(&r);
    out->term = kelp_term_of(read_u64(&r));
    out->incarnation = read_u64(&r);
    out->start_count = read_u64(&r);
    out->number = read_u64(&r);
    out->timeout_ns = read_u64(&r);
    if (reader_left(&r) >= 2) { /* only if it is not linearizable */
        out->level = read_u8(&r);
        out->may_round = read_u8(&r) != 0;
    }
    if (out->kind == WIRE_FORWARD_ONCE) {
        out->once = read_u8(&r);
        out->session = read_u64(&r);
        out->sequence = read_u64(&r);
        out->acknowledged = read_u64(&r);
    }
    if (r.failed) return wire_malformed(fault, "a forward is shorter than its head");
    if (!kind_known(out->kind)) {
        return fault_set(fault, KELP_E_VERSION, NULL, "a forward of kind %u is not known",
                         out->kind);
    }
    struct reader parts = reader_of(rest);
    out->user = read_bytes(&parts, user_len);
    out->extension = read_bytes(&parts, extension_len);
    out->command = read_bytes(&parts, reader_left(&parts));
    if (parts.failed) return wire_malformed(fault, "the lengths of a forward exceed its body");
    const char *wrong = forward_wrong(out);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}

static bool outcome_known(unsigned outcome)
{
    return outcome >= KELP_DONE && outcome <= KELP_UNKNOWN;
}

/* NULL, or the rule that is broken. */
static const char *answer_wrong(const struct wire_forward_answer *a)
{
    if (a->number == 0) return "the number of a forward's answer is 0";
    if (a->pos.index > WIRE_NUMBER_MAX || a->pos.term.v > WIRE_NUMBER_MAX)
        return "the position in a forward's answer is out of range";
    return NULL;
}

size_t wire_forward_answer_encode(const struct wire_forward_answer *a, uint8_t *out)
{
    ASSERT(outcome_known(a->outcome));
    ASSERT(answer_wrong(a) == NULL);
    struct writer w = part_begin(out, WIRE_FORWARD_HEAD_MAX);
    write_u8(&w, a->outcome);
    write_u8(&w, 0);
    write_u16(&w, a->reason);
    write_u16(&w, 0);
    write_u64(&w, a->number);
    write_u64(&w, a->leader);
    write_pos(&w, a->pos);
    if (a->member != 0) write_u64(&w, a->member);
    return part_end(&w);
}

enum kelp_error wire_forward_answer_decode(struct kelp_bytes in, struct wire_forward_answer *out,
                                           struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader r = part_open(in, &rest);
    memset(out, 0, sizeof *out);
    out->outcome = read_u8(&r);
    unsigned reserved = read_u8(&r);
    out->reason = read_u16(&r);
    reserved |= read_u16(&r);
    out->number = read_u64(&r);
    out->leader = read_u64(&r);
    out->pos = read_pos(&r);
    if (reader_left(&r) >= 8) out->member = read_u64(&r); /* only if there is one */
    if (r.failed) return wire_malformed(fault, "a forward's answer is shorter than its head");
    if (!outcome_known(out->outcome)) {
        return fault_set(fault, KELP_E_VERSION, NULL, "outcome %u of a forward is not known",
                         out->outcome);
    }
    if (reserved != 0) return wire_malformed(fault, "a reserved field of an answer is not 0");
    if (rest.len > 0) out->result = rest;
    const char *wrong = answer_wrong(out);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}
