/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h - what the formats of this room share: fields that many of them have, and the self-sized
 * part.
 *
 * All numbers are little-endian. A self-sized part begins with its own length (u16, these two bytes
 * included): a newer writer appends fields, an older reader skips them, and a part that ends before
 * the fields this version needs is malformed. KELP_E_MORE is no failure and leaves the fault record
 * alone, so that one record serves a whole stream; its `where` is left empty, since this room knows
 * neither file nor peer.
 * Invariant: an index or a term that passed a decoder is at most WIRE_NUMBER_MAX, so that counting
 * on from it cannot overflow anywhere. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "wire/config.h"

#define WIRE_NUMBER_MAX  (UINT64_C(1) << 62)
#define WIRE_TIME_MAX    (UINT64_C(1) << 63) /* of the cluster clock, ns: 292 years */
#define WIRE_PART_LENGTH 2u                  /* bytes of the length in front of a self-sized part */

/* wire_malformed - KELP_E_MALFORMED with its words. */
static inline enum kelp_error wire_malformed(struct kelp_fault *fault, const char *words)
{
    return fault_set(fault, KELP_E_MALFORMED, NULL, "%s", words);
}

/* wire_pos_sound - 0@0, or an index and a term that are both there. */
static inline bool wire_pos_sound(struct kelp_pos pos)
{
    if (pos.index > WIRE_NUMBER_MAX || pos.term.v > WIRE_NUMBER_MAX) return false;
    return (pos.index == 0) == (pos.term.v == 0);
}

static inline bool wire_cluster_zero(struct kelp_cluster_id id)
{
    return id.hi == 0 && id.lo == 0;
}

static inline bool wire_cluster_equal(struct kelp_cluster_id a, struct kelp_cluster_id b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

static inline void write_pos(struct writer *w, struct kelp_pos pos)
{
    write_u64(w, pos.index);
    write_u64(w, pos.term.v);
}

static inline struct kelp_pos read_pos(struct reader *r)
{
    struct kelp_pos pos = {.index = read_u64(r)};
    pos.term = kelp_term_of(read_u64(r));
    return pos;
}

static inline void write_cluster(struct writer *w, struct kelp_cluster_id id)
{
    write_u64(w, id.hi);
    write_u64(w, id.lo);
}

static inline struct kelp_cluster_id read_cluster(struct reader *r)
{
    struct kelp_cluster_id id = {.hi = read_u64(r)};
    id.lo = read_u64(r);
    return id;
}

/* part_open - a reader of the self-sized part at the start of in, behind its length. *rest: what
 * follows the part. A length that is not there or too large is seen as failed. */
static inline struct reader part_open(struct kelp_bytes in, struct kelp_bytes *rest)
{
    struct reader r = reader_of(in);
    size_t len = read_u16(&r);
    *rest = bytes_of(NULL, 0);
    if (r.failed || len < WIRE_PART_LENGTH || len > in.len) {
        r.failed = true;
        return r;
    }
    r.end = in.data + len;
    *rest = bytes_of(r.end, in.len - len);
    return r;
}

/* part_begin - a writer with room for the length; part_end puts it there and returns it. */
static inline struct writer part_begin(uint8_t *out, size_t size)
{
    struct writer w = writer_of(out, size);
    write_u16(&w, 0);
    return w;
}

static inline size_t part_end(struct writer *w)
{
    ASSERT(!w->failed);
    ASSERT(writer_len(w) <= UINT16_MAX);
    put_u16(w->begin, (uint16_t)writer_len(w));
    return writer_len(w);
}

/* write_text, read_text - printable ASCII behind a length of one byte; size is that of the array,
 * final NUL included. Peers' words end up in logs and on terminals: what is not printable is
 * written as '?' and refused when read. */
void write_text(struct writer *w, const char *text, size_t size);
void read_text(struct reader *r, char *out, size_t size);

/* write_address, read_address - a text that is empty or passes wire_address_check. */
void write_address(struct writer *w, const struct wire_address *address);
void read_address(struct reader *r, struct wire_address *out);

/* write_config - wire_config_encode into the middle of something larger. */
void write_config(struct writer *w, const struct wire_config *c);

/* wire_ids_distinct - no id is 0 or there twice. */
bool wire_ids_distinct(const kelp_id *ids, size_t count);

#endif
