/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c - the payload of the identity file: whose data directory this is.
 *
 *   offset  size  field
 *        0    16  cluster      high half, low half; zero until pledged
 *       16     8  node         never 0; from 2^63 on: it waits to be given an id
 *       24     8  incarnation  64 random bits made with the directory
 *       32     8  epoch        raised by a forced recovery
 * twin.c says how it becomes two copies. It is the last file that a new directory gets: a directory
 * without it is new, unless its log holds a write. */
#include "base/assert.h"
#include "store/room.h"

struct kelp_bytes identity_encode(const struct store_identity *i, uint8_t out[IDENTITY_BYTES])
{
    struct writer w = writer_of(out, IDENTITY_BYTES);
    write_u64(&w, i->cluster.hi);
    write_u64(&w, i->cluster.lo);
    write_u64(&w, i->node);
    write_u64(&w, i->incarnation);
    write_u64(&w, i->epoch);
    ASSERT(!w.failed && writer_len(&w) == IDENTITY_BYTES);
    return bytes_of(out, IDENTITY_BYTES);
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
    if (r.failed || reader_left(&r) != 0 || out->node == 0) {
        return fault_set(fault, KELP_E_CORRUPT, IDENTITY_NAME, "its fields make no sense");
    }
    return KELP_OK;
}
