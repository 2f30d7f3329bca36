/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c - the payload of the identity file: whose data directory this is.
 *
 *   offset  size  field
 *        0    16  cluster      high half, low half; zero until pledged
 *       16     8  node         never 0; from 2^63 on: it waits to be given an id
 *       24     8  incarnation  64 random bits made with the directory
 *       32     8  epoch        of the cluster, raised by a forced recovery: wire/epoch.h
 *   then, in a directory that was recovered itself:
 *       40     8  parent       the epoch before that recovery
 *       48    16  kept         where the log ended: index, term
 *       64     8  term         of the entry behind it
 *       72     8  digest       of that entry's bytes
 *       80     8  flags        1: the recovery is unfinished
 * twin.c says how it becomes two copies. It is the last file that a new directory gets: a directory
 * without it is new, unless its log holds a write. */
#include "base/assert.h"
#include "store/room.h"

#define IDENTITY_PLAIN 40u
#define UNFINISHED     1u

static bool recovered(const struct store_identity *i)
{
    return i->recovery.kept.index != 0;
}

struct kelp_bytes identity_encode(const struct store_identity *i, uint8_t out[IDENTITY_BYTES])
{
    struct writer w = writer_of(out, IDENTITY_BYTES);
    write_u64(&w, i->cluster.hi);
    write_u64(&w, i->cluster.lo);
    write_u64(&w, i->node);
    write_u64(&w, i->incarnation);
    write_u64(&w, i->epoch);
    if (recovered(i)) {
        write_u64(&w, i->recovery.parent);
        write_u64(&w, i->recovery.kept.index);
        write_u64(&w, i->recovery.kept.term.v);
        write_u64(&w, i->recovery.term.v);
        write_u64(&w, i->recovery.digest);
        write_u64(&w, i->recovery.unfinished ? UNFINISHED : 0);
    }
    ASSERT(!w.failed && writer_len(&w) == (recovered(i) ? IDENTITY_BYTES : IDENTITY_PLAIN));
    return bytes_of(out, writer_len(&w));
}

/* False: it makes no sense. */
static bool recovery_decode(struct reader *r, struct store_identity *out)
{
    struct store_recovery *recovery = &out->recovery;
    recovery->parent = read_u64(r);
    recovery->kept.index = read_u64(r);
    recovery->kept.term = kelp_term_of(read_u64(r));
    recovery->term = kelp_term_of(read_u64(r));
    recovery->digest = read_u64(r);
    uint64_t flags = read_u64(r);
    recovery->unfinished = (flags & UNFINISHED) != 0;
    return recovered(out) && recovery->kept.index < STORE_INDEX_MAX && flags <= UNFINISHED &&
           recovery->term.v > recovery->kept.term.v && recovery->term.v < STORE_INDEX_MAX &&
           out->epoch != 0;
}

enum kelp_error identity_decode(struct kelp_bytes in, struct store_identity *out,
                                struct kelp_fault *fault)
{
    struct reader r = reader_of(in);
    *out = (struct store_identity){.cluster.hi = read_u64(&r)};
    out->cluster.lo = read_u64(&r);
    out->node = read_u64(&r);
    out->incarnation = read_u64(&r);
    out->epoch = read_u64(&r);
    bool sound = !r.failed && out->node != 0;
    if (sound && reader_left(&r) > 0) sound = recovery_decode(&r, out);
    if (!sound || r.failed || reader_left(&r) != 0) {
        return fault_set(fault, KELP_E_CORRUPT, IDENTITY_NAME, "its fields make no sense");
    }
    return KELP_OK;
}
