/* SPDX-License-Identifier: Apache-2.0 */
/* snapchunk.c - the chunks that stand behind a snapshot's head.
 *
 *   offset  size  field
 *        0     4  length    of the whole chunk, 30..262144
 *        4     4  objects   how many, at least 1
 *        8     1  packing   0: as they are
 *        9     7  zeros
 *       16     8  checksum  XXH3-64 of offsets 0..15 and 24..length, seed: see below
 *       24        objects, back to back:
 *                   0  4  length of the bytes, at most 65536
 *                   4  1  kind, enum wire_object_kind
 *                   5     the bytes
 *
 * The seed is made of the snapshot's position and of the chunk's own place, so that a chunk of
 * another snapshot, or one that slipped to another place, is damage like a flipped bit. */
#include "wire/snapchunk.h"

#include "base/hash.h"
#include "wire/wire.h"

#define LENGTH_BYTES 4u
#define SUMMED_FIRST 16u

static uint64_t chunk_sum(struct kelp_bytes chunk, struct wire_snapplace place)
{
    uint64_t seed = hash_mix(hash_mix(place.pos.index, place.pos.term.v), place.offset);
    uint64_t head = hash_bytes(bytes_of(chunk.data, SUMMED_FIRST), seed);
    return hash_bytes(bytes_of(chunk.data + WIRE_SNAPCHUNK_HEAD, chunk.len - WIRE_SNAPCHUNK_HEAD),
                      head);
}

void wire_object_head(uint8_t out[WIRE_OBJECT_HEAD], enum wire_object_kind kind, size_t len)
{
    ASSERT(len <= WIRE_OBJECT_BYTES_MAX);
    put_u32(out, (uint32_t)len);
    out[4] = (uint8_t)kind;
}

void wire_snapchunk_seal(uint8_t *chunk, size_t len, uint32_t objects, struct wire_snapplace place)
{
    ASSERT(objects > 0);
    ASSERT(len > WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD && len <= WIRE_SNAPCHUNK_BYTES_MAX);
    struct writer w = writer_of(chunk, WIRE_SNAPCHUNK_HEAD);
    write_u32(&w, (uint32_t)len);
    write_u32(&w, objects);
    write_u64(&w, 0); /* packing, and what is kept free */
    write_u64(&w, chunk_sum(bytes_of(chunk, len), place));
    ASSERT(!w.failed && w.at == w.end);
}

enum kelp_error wire_snapchunk_open(struct kelp_bytes in, struct wire_snapplace place,
                                    struct wire_snapchunk *out, size_t *used,
                                    struct kelp_fault *fault)
{
    *used = 0;
    if (in.len < LENGTH_BYTES) return KELP_E_MORE;
    size_t length = load_u32(in.data);
    if (length <= WIRE_SNAPCHUNK_HEAD + WIRE_OBJECT_HEAD || length > WIRE_SNAPCHUNK_BYTES_MAX)
        return wire_malformed(fault, "the length of a snapshot's chunk is out of range");
    *used = length;
    if (in.len < length) return KELP_E_MORE;
    if (chunk_sum(bytes_of(in.data, length), place) != load_u64(in.data + SUMMED_FIRST)) {
        return fault_set(fault, KELP_E_CORRUPT, NULL,
                         "the checksum of a snapshot's chunk does not match");
    }
    if (load_u64(in.data + 8) != 0) {
        return fault_set(fault, KELP_E_VERSION, NULL,
                         "a snapshot's chunk is packed in a way this version does not know");
    }
    *out = (struct wire_snapchunk){
        .objects = load_u32(in.data + 4),
        .rest = bytes_of(in.data + WIRE_SNAPCHUNK_HEAD, length - WIRE_SNAPCHUNK_HEAD)};
    return KELP_OK;
}

enum kelp_error wire_object_next(struct wire_snapchunk *c, struct wire_object *out,
                                 struct kelp_fault *fault)
{
    struct reader r = reader_of(c->rest);
    if (c->objects == 0 && reader_left(&r) == 0) return KELP_E_NOT_FOUND;
    size_t len = read_u32(&r);
    uint8_t kind = read_u8(&r);
    if (c->objects == 0 || len > WIRE_OBJECT_BYTES_MAX)
        return wire_malformed(fault, "a snapshot's chunk does not hold what it says");
    out->bytes = read_bytes(&r, len);
    if (r.failed) return wire_malformed(fault, "an object of a snapshot is cut");
    if (kind != WIRE_OBJECT_MACHINE && kind != WIRE_OBJECT_SESSION) {
        return fault_set(fault, KELP_E_VERSION, NULL,
                         "an object of kind %u in a snapshot; this version does not know it", kind);
    }
    out->kind = (enum wire_object_kind)kind;
    c->rest = bytes_of(r.at, reader_left(&r));
    c->objects--;
    return KELP_OK;
}
