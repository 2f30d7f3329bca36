/* SPDX-License-Identifier: Apache-2.0 */
/* found.c - the messages of founding a cluster: the body of a WIRE_FOUND frame.
 *
 *   offset  size  field
 *        0     2  length       of the fixed part, at most 768
 *        2     1  type         enum wire_found_type
 *        3     1  flags        1 holds, 2 exists
 *        4     1  n            ids listed, 0..32
 *        5     8  from         not 0
 *       13     8  to           not from
 *       21     8  round
 *       29    16  cluster      hi, lo
 *       45     8  incarnation
 *       53     8  created      Unix ms
 *       61     8  next_id
 *       69    8n  ids          not 0, none twice
 *            1+w  words        a text as in wire.c
 *              8  given        at most 2^62; with the next two, only if any of what follows is
 *              8  leader       at most 2^62
 *            1+a  leader_peer  an address as in wire.c
 *             16  snapshot     index, term; WIRE_FOUND_SNAPSHOT only, and with the three before
 *              8  epoch        as in epoch.h; only if it is not 0, and with the three
 *                 entry 1, of type configuration, to the end of the body: WIRE_FOUND_ENTRY only
 *
 * The fixed part is self-sized. The entry is verified here, so that what a founder hands over is
 * known to be entry 1, whole. */
#include "wire/found.h"

#include "wire/entry.h"
#include "wire/wire.h"

#define FOUND_HOLDS  1u
#define FOUND_EXISTS 2u

#define FOUND_MORE 17u /* bytes of what was appended later, at least */

_Static_assert(69 + KELP_MEMBERS_MAX * 8 + sizeof((struct wire_found){0}.words) + 40 +
                       WIRE_ADDRESS_MAX <=
                   WIRE_FOUND_HEAD_MAX,
               "the largest message of founding fits");

static bool type_known(unsigned type)
{
    return type >= WIRE_FOUND_SHOW && type <= WIRE_FOUND_SNAPSHOT;
}

/* NULL, or the rule that is broken. */
static const char *found_wrong(const struct wire_found *f)
{
    if (f->from == 0 || f->from == f->to)
        return "a message of founding needs a sender and another receiver";
    if (f->id_count > KELP_MEMBERS_MAX) return "a message of founding lists more than 32 ids";
    if (!wire_ids_distinct(f->ids, f->id_count))
        return "a message of founding lists an id twice, or none";
    if (f->given > WIRE_NUMBER_MAX || f->leader > WIRE_NUMBER_MAX)
        return "a message of founding names a member by an id that none has";
    bool ends = f->snapshot.index != 0 && wire_pos_sound(f->snapshot);
    if (f->type == WIRE_FOUND_SNAPSHOT && !ends)
        return "a message of founding offers a snapshot without a position";
    return NULL;
}

size_t wire_found_encode(const struct wire_found *f, uint8_t *out)
{
    ASSERT(type_known(f->type));
    ASSERT(found_wrong(f) == NULL);
    struct writer w = part_begin(out, WIRE_FOUND_HEAD_MAX);
    write_u8(&w, f->type);
    write_u8(&w, (uint8_t)((f->holds ? FOUND_HOLDS : 0) | (f->exists ? FOUND_EXISTS : 0)));
    write_u8(&w, f->id_count);
    write_u64(&w, f->from);
    write_u64(&w, f->to);
    write_u64(&w, f->round);
    write_cluster(&w, f->cluster);
    write_u64(&w, f->incarnation);
    write_u64(&w, f->created_unix_ms);
    write_u64(&w, f->next_id);
    for (size_t i = 0; i < f->id_count; i++)
        write_u64(&w, f->ids[i]);
    write_text(&w, f->words, sizeof f->words);
    bool snapshot = f->type == WIRE_FOUND_SNAPSHOT;
    if (f->given == 0 && f->leader == 0 && f->epoch == 0 && !snapshot) return part_end(&w);
    write_u64(&w, f->given);
    write_u64(&w, f->leader);
    write_address(&w, &f->leader_peer);
    if (snapshot) write_pos(&w, f->snapshot);
    if (f->epoch != 0) write_u64(&w, f->epoch);
    return part_end(&w);
}

/* What follows the fixed part: entry 1, or nothing. */
static enum kelp_error found_entry(struct kelp_bytes rest, struct wire_found *out,
                                   struct kelp_fault *fault)
{
    if (out->type != WIRE_FOUND_ENTRY) {
        if (rest.len == 0) return KELP_OK;
        return wire_malformed(fault, "bytes follow a message of founding");
    }
    struct wire_entry entry;
    size_t used;
    enum kelp_error error = wire_entry_decode(rest, &entry, &used, fault);
    if (error == KELP_E_MORE) return wire_malformed(fault, "a founder's entry is cut");
    if (error != KELP_OK) return error;
    if (used != rest.len || entry.pos.index != 1 || entry.type != KELP_ENTRY_CONFIG)
        return wire_malformed(fault, "a founder's entry is not configuration 1 alone");
    out->entry = rest;
    return KELP_OK;
}

enum kelp_error wire_found_decode(struct kelp_bytes in, struct wire_found *out,
                                  struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader r = part_open(in, &rest);
    memset(out, 0, sizeof *out);
    out->type = read_u8(&r);
    unsigned flags = read_u8(&r);
    out->holds = (flags & FOUND_HOLDS) != 0;
    out->exists = (flags & FOUND_EXISTS) != 0;
    out->id_count = read_u8(&r);
    out->from = read_u64(&r);
    out->to = read_u64(&r);
    out->round = read_u64(&r);
    out->cluster = read_cluster(&r);
    out->incarnation = read_u64(&r);
    out->created_unix_ms = read_u64(&r);
    out->next_id = read_u64(&r);
    for (size_t i = 0; i < out->id_count && i < KELP_MEMBERS_MAX; i++)
        out->ids[i] = read_u64(&r);
    read_text(&r, out->words, sizeof out->words);
    if (!r.failed && reader_left(&r) >= FOUND_MORE) {
        out->given = read_u64(&r);
        out->leader = read_u64(&r);
        read_address(&r, &out->leader_peer);
    }
    if (out->type == WIRE_FOUND_SNAPSHOT) out->snapshot = read_pos(&r);
    if (!r.failed && reader_left(&r) >= 8) out->epoch = read_u64(&r);
    if (r.failed || in.len - rest.len > WIRE_FOUND_HEAD_MAX)
        return wire_malformed(fault, "the length of a message of founding is out of range");
    if (!type_known(out->type)) {
        return fault_set(fault, KELP_E_VERSION, NULL,
                         "a message of founding of type %u is not known", out->type);
    }
    if (flags > (FOUND_HOLDS | FOUND_EXISTS))
        return wire_malformed(fault, "a flag of a message of founding is not known");
    const char *wrong = found_wrong(out);
    if (wrong != NULL) return wire_malformed(fault, wrong);
    return found_entry(rest, out, fault);
}
