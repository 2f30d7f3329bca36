/* SPDX-License-Identifier: Apache-2.0 */
/* vote.c - the payload of the vote file: what a node promised and must never forget. [fig 3.1]
 *
 *   offset  size  field
 *        0     8  node         whose vote
 *        8     8  incarnation  of its data directory
 *       16     8  start count  raised at every start
 *       24     4  groups       1
 *       28     4  flags        1: its state is another than that of a majority, and stands in the
 *                              way of reads until it was replaced (driver/quarantine.c)
 *   then for each group:
 *       32     4  group        0
 *       36     4  0
 *       40     8  term
 *       48     8  vote         for whom in that term, 0: nobody
 * twin.c says how it becomes two copies. */
#include "base/assert.h"
#include "store/room.h"

#define VOTE_APART 1u

struct kelp_bytes vote_encode(const struct vote *v, uint8_t out[VOTE_BYTES])
{
    struct writer w = writer_of(out, VOTE_BYTES);
    write_u64(&w, v->node);
    write_u64(&w, v->incarnation);
    write_u64(&w, v->start_count);
    write_u32(&w, 1);
    write_u32(&w, v->apart ? VOTE_APART : 0);
    write_u32(&w, 0);
    write_u32(&w, 0);
    write_u64(&w, v->term.v);
    write_u64(&w, v->vote);
    ASSERT(!w.failed && writer_len(&w) == VOTE_BYTES);
    return bytes_of(out, VOTE_BYTES);
}

enum kelp_error vote_decode(struct kelp_bytes in, struct vote *out, struct kelp_fault *fault)
{
    struct reader r = reader_of(in);
    *out = (struct vote){.node = read_u64(&r)};
    out->incarnation = read_u64(&r);
    out->start_count = read_u64(&r);
    uint32_t groups = read_u32(&r), flags = read_u32(&r);
    uint32_t group = read_u32(&r);
    (void)read_u32(&r);
    out->term = kelp_term_of(read_u64(&r));
    out->vote = read_u64(&r);
    if (!r.failed && (groups != 1 || group != 0)) {
        return fault_set(fault, KELP_E_VERSION, VOTE_NAME, "it holds the votes of %u groups",
                         groups);
    }
    if (!r.failed && (flags & ~VOTE_APART) != 0) {
        return fault_set(fault, KELP_E_VERSION, VOTE_NAME,
                         "its flags are %x, of which this program knows %x", flags, VOTE_APART);
    }
    out->apart = (flags & VOTE_APART) != 0;
    if (r.failed || reader_left(&r) != 0 || out->node == 0 || out->term.v > STORE_INDEX_MAX ||
        out->start_count > STORE_INDEX_MAX) {
        return fault_set(fault, KELP_E_CORRUPT, VOTE_NAME, "its fields make no sense");
    }
    return KELP_OK;
}
