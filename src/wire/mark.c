/* SPDX-License-Identifier: Apache-2.0 */
/* mark.c - the body of WIRE_MARKS frames: what a node's state was at its newest marked indexes.
 *
 *   offset  size  field
 *        0     2  length
 *        2     1  count   1..16
 *        3        count times, ascending:
 *                   0  8  index  a multiple of 256, not 0
 *                   8  8  chain  of all entries up to it
 *                  16  8  state  right behind it
 *
 * Self-sized, so that a later version may say more. Sent only to who has WIRE_FEATURE_MARKS: an
 * older version takes a frame of a kind that it does not know for damage. */
#include "wire/mark.h"

#include "wire/wire.h"

size_t wire_marks_encode(const struct wire_mark *marks, size_t count, uint8_t *out)
{
    ASSERT(count > 0 && count <= WIRE_MARK_KEPT);
    struct writer w = part_begin(out, WIRE_MARKS_MAX);
    write_u8(&w, (uint8_t)count);
    for (size_t i = 0; i < count; i++) {
        ASSERT(wire_mark_due(marks[i].index));
        write_u64(&w, marks[i].index);
        write_u64(&w, marks[i].chain);
        write_u64(&w, marks[i].state);
    }
    return part_end(&w);
}

enum kelp_error wire_marks_decode(struct kelp_bytes in, struct wire_mark out[WIRE_MARK_KEPT],
                                  size_t *count, struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader r = part_open(in, &rest);
    size_t said = read_u8(&r);
    *count = 0;
    if (r.failed || rest.len != 0 || said == 0 || said > WIRE_MARK_KEPT)
        return wire_malformed(fault, "the length of what a state was is out of range");
    kelp_index before = 0;
    for (size_t i = 0; i < said; i++) {
        out[i].index = read_u64(&r);
        out[i].chain = read_u64(&r);
        out[i].state = read_u64(&r);
        bool there = wire_mark_due(out[i].index) && out[i].index <= WIRE_NUMBER_MAX;
        if (r.failed || !there || out[i].index <= before)
            return wire_malformed(fault, "what a state was is said of an index that is not marked");
        before = out[i].index;
    }
    *count = said;
    return KELP_OK;
}
