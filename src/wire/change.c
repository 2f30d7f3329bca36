/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - a change of the membership as bytes: the command of a forward of its own kind.
 *
 *   offset  size  field
 *        0     2  length    of the fixed part, 18
 *        2     4  flags     enum kelp_change_flag
 *        6     8  if_index  0: whatever configuration is in force; at most 2^62
 *       14     4  count     edits, 1..32
 *       18        the edits, each
 *              8  id        not 0; ADD: 0 is the next free one
 *              1  verb      enum kelp_edit_verb; 7, a stop, only in a plan and alone
 *              1  role      1 voter, 2 learner, 3 witness where the verb names one; the priority
 *                           where the verb is PRIORITY; else 0
 *            1+n  address   a text as in wire.c; empty where the verb takes none; ADD: empty for
 *                           that of the node which knocks
 *
 * The fixed part is self-sized; nothing follows the edits. What must hold is asserted before the
 * bytes are written and demanded after they are read. */
#include "wire/change.h"

#include "wire/wire.h"

#define FLAGS_KNOWN    ((uint32_t)(KELP_CHANGE_NOWAIT | KELP_CHANGE_FORCE | KELP_CHANGE_WHOLE))
#define EDIT_BYTES_MIN 11u

/* NULL, or the rule that is broken. */
static const char *edit_wrong(const struct wire_edit *e)
{
    bool adds = e->verb == KELP_EDIT_ADD;
    if ((e->id == 0 && !adds) || e->id > WIRE_NUMBER_MAX) return "a member's id is out of range";
    if (e->verb < KELP_EDIT_ADD || e->verb > KELP_EDIT_PRIORITY) return "a verb is not known";
    bool comes = e->verb == KELP_EDIT_ADD || e->verb == KELP_EDIT_SET;
    bool addressed = comes || e->verb == KELP_EDIT_MOVE;
    if (comes ? e->role < KELP_VOTER || e->role > KELP_WITNESS : e->role != KELP_NONE)
        return "a role does not belong to its verb";
    bool there = e->address.text[0] != '\0';
    if (there ? !addressed : addressed && !adds) return "an address does not belong to its verb";
    return NULL;
}

static const char *change_wrong(const struct wire_change *c)
{
    if ((c->flags & ~FLAGS_KNOWN) != 0) return "a flag of a change is not known";
    if (c->if_index > WIRE_NUMBER_MAX) return "the index of a change is out of range";
    for (uint32_t i = 0; i < c->count; i++) {
        const char *wrong = edit_wrong(&c->edits[i]);
        if (wrong != NULL) return wrong;
        if (c->edits[i].verb == KELP_EDIT_STOP && c->count > 1) return "a stop is not alone";
    }
    return NULL;
}

bool wire_change_sound(const struct wire_change *c)
{
    if (c->count < 1 || c->count > KELP_MEMBERS_MAX) return false;
    for (uint32_t i = 0; i < c->count; i++) {
        const char *address = c->edits[i].address.text;
        if (address[0] != '\0' && !wire_address_check(address)) return false;
    }
    return change_wrong(c) == NULL;
}

size_t wire_change_encode(const struct wire_change *c, uint8_t *out)
{
    ASSERT(wire_change_sound(c));
    struct writer w = part_begin(out, WIRE_CHANGE_BYTES_MAX);
    write_u32(&w, c->flags);
    write_u64(&w, c->if_index);
    write_u32(&w, c->count);
    (void)part_end(&w);
    for (uint32_t i = 0; i < c->count; i++) {
        write_u64(&w, c->edits[i].id);
        write_u8(&w, c->edits[i].verb);
        bool priority = c->edits[i].verb == KELP_EDIT_PRIORITY;
        write_u8(&w, priority ? c->edits[i].priority : c->edits[i].role);
        write_address(&w, &c->edits[i].address);
    }
    ASSERT(!w.failed);
    return writer_len(&w);
}

enum kelp_error wire_change_decode(struct kelp_bytes in, struct wire_change *out,
                                   struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader head = part_open(in, &rest);
    memset(out, 0, sizeof *out);
    out->flags = read_u32(&head);
    out->if_index = read_u64(&head);
    uint32_t count = read_u32(&head);
    if (head.failed) return wire_malformed(fault, "a change is shorter than its head");
    if (count == 0 || count > KELP_MEMBERS_MAX || count > rest.len / EDIT_BYTES_MIN)
        return wire_malformed(fault, "a change names nobody, or more members than it carries");
    struct reader r = reader_of(rest);
    for (uint32_t i = 0; i < count; i++) {
        out->edits[i].id = read_u64(&r);
        out->edits[i].verb = read_u8(&r);
        bool priority = out->edits[i].verb == KELP_EDIT_PRIORITY;
        *(priority ? &out->edits[i].priority : &out->edits[i].role) = read_u8(&r);
        read_address(&r, &out->edits[i].address);
    }
    out->count = count;
    if (r.failed) return wire_malformed(fault, "a change is cut, or an address is wrong");
    if (reader_left(&r) != 0) return wire_malformed(fault, "bytes follow a change");
    const char *wrong = change_wrong(out);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}
