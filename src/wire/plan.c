/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - a plan as bytes: the result of a forward of its own kind.
 *
 *   offset  size  field
 *        0     2  length    of the fixed part, 58
 *        2     8  index     of the configuration it was made of; at most 2^62
 *       10     8  leader    now
 *       18     8  leader    then; 0: cannot be told
 *       26     8  member    whom the reason is about; 0: nobody
 *       34     2  reason    enum kelp_reason
 *       36     1  bits      1 forcible, 2 refused
 *       37     1  way       enum kelp_plan_way
 *       38     1  entries
 *       39     4  warnings  enum kelp_plan_warning
 *       43     6  before    voters, quorum, live, spare, tolerates, works (0 or 1)
 *       49     6  after     the same
 *       55     2  count     rows, 1..32
 *       57     1  0
 *       58        the rows, ascending by id, each
 *              8  id        not 0
 *              1  role before   1  role after   1  flags  enum kelp_plan_member_flag
 *
 * The fixed part is self-sized; nothing follows the rows. */
#include "wire/plan.h"

#include "wire/wire.h"

#define ROW_BYTES    11u
#define BIT_FORCIBLE 1u
#define BIT_REFUSED  2u

static void write_side(struct writer *w, const struct kelp_plan_side *side)
{
    write_u8(w, side->voters);
    write_u8(w, side->quorum);
    write_u8(w, side->live);
    write_u8(w, side->spare);
    write_u8(w, side->tolerates);
    write_u8(w, side->works ? 1 : 0);
}

static void read_side(struct reader *r, struct kelp_plan_side *side)
{
    side->voters = read_u8(r);
    side->quorum = read_u8(r);
    side->live = read_u8(r);
    side->spare = read_u8(r);
    side->tolerates = read_u8(r);
    side->works = read_u8(r) != 0;
}

/* NULL, or the rule that is broken. */
static const char *plan_wrong(const struct kelp_plan *plan)
{
    kelp_id before = 0;
    if (plan->index > WIRE_NUMBER_MAX) return "the index of a plan is out of range";
    if (plan->way > KELP_PLAN_STOP) return "the way of a plan is not known";
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct kelp_plan_member *row = &plan->members[i];
        if (row->id <= before) return "the members of a plan do not ascend";
        if (row->before > KELP_STAGING || row->after > KELP_STAGING)
            return "a role in a plan is not known";
        before = row->id;
    }
    return NULL;
}

size_t wire_plan_encode(const struct kelp_plan *plan, uint8_t *out)
{
    ASSERT(plan->count >= 1 && plan->count <= KELP_MEMBERS_MAX);
    ASSERT(plan_wrong(plan) == NULL);
    struct writer w = part_begin(out, WIRE_PLAN_BYTES_MAX);
    write_u64(&w, plan->index);
    write_u64(&w, plan->leader);
    write_u64(&w, plan->leader_next);
    write_u64(&w, plan->member);
    write_u16(&w, (uint16_t)plan->reason);
    write_u8(&w,
             (uint8_t)((plan->forcible ? BIT_FORCIBLE : 0) | (plan->refused ? BIT_REFUSED : 0)));
    write_u8(&w, plan->way);
    write_u8(&w, plan->entries);
    write_u32(&w, plan->warnings);
    write_side(&w, &plan->before);
    write_side(&w, &plan->after);
    write_u16(&w, (uint16_t)plan->count);
    write_u8(&w, 0);
    (void)part_end(&w);
    for (uint32_t i = 0; i < plan->count; i++) {
        write_u64(&w, plan->members[i].id);
        write_u8(&w, plan->members[i].before);
        write_u8(&w, plan->members[i].after);
        write_u8(&w, plan->members[i].flags);
    }
    ASSERT(!w.failed);
    return writer_len(&w);
}

enum kelp_error wire_plan_decode(struct kelp_bytes in, struct kelp_plan *out,
                                 struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader head = part_open(in, &rest);
    memset(out, 0, sizeof *out);
    out->index = read_u64(&head);
    out->leader = read_u64(&head);
    out->leader_next = read_u64(&head);
    out->member = read_u64(&head);
    out->reason = (enum kelp_reason)read_u16(&head);
    uint8_t bits = read_u8(&head);
    out->forcible = (bits & BIT_FORCIBLE) != 0;
    out->refused = (bits & BIT_REFUSED) != 0;
    out->way = read_u8(&head);
    out->entries = read_u8(&head);
    out->warnings = read_u32(&head);
    read_side(&head, &out->before);
    read_side(&head, &out->after);
    uint32_t count = read_u16(&head);
    (void)read_u8(&head);
    if (head.failed) return wire_malformed(fault, "a plan is shorter than its head");
    if (count == 0 || count > KELP_MEMBERS_MAX || rest.len != count * ROW_BYTES)
        return wire_malformed(fault, "a plan has other members than it carries");
    struct reader r = reader_of(rest);
    for (uint32_t i = 0; i < count; i++) {
        out->members[i].id = read_u64(&r);
        out->members[i].before = read_u8(&r);
        out->members[i].after = read_u8(&r);
        out->members[i].flags = read_u8(&r);
    }
    ASSERT(!r.failed);
    out->count = count;
    const char *wrong = plan_wrong(out);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}
