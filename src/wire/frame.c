/* SPDX-License-Identifier: Apache-2.0 */
/* frame.c - what travels on a connection between nodes: a head of 40 bytes and a body.
 *
 *   offset  size  field
 *        0     8  magic      "KELPWIRE"
 *        8     2  version    1
 *       10     1  kind       enum wire_kind
 *       11     1  flags      0
 *       12     4  group      which Raft group; 0 today
 *       16     4  length     of the body, bytes
 *       20     4  hashed     how many of them, from the first, the body hash covers
 *       24     8  body hash  XXH3-64, seed 0, of these
 *       32     8  head hash  XXH3-64, seed 0, of offsets 0..31
 *       40        the body
 *
 * A byte is believed only once the hash over it held: the head's before its length decides how much
 * is waited for, the body's before anybody parses it. What the body's hash leaves out are the
 * entries of a message, which carry checksums of their own: those are verified when the message is
 * decoded, and hashing the same bytes twice on each side would cost more than all the rest of a
 * frame. Every other kind is covered whole. Only the magic is looked at before the hashes, so that
 * a stranger (a browser, a client on the wrong port) is turned away at his first byte. Frames of
 * the handshake keep version 1 for ever; the versions it negotiates are in the hello. */
#include "wire/frame.h"

#include "base/hash.h"
#include "base/min.h"
#include "wire/fetch.h"
#include "wire/wire.h"

#define MAGIC_BYTES    8u
#define HEAD_SUMMED    32u
#define SMALL_BODY_MAX (256u * 1024)

_Static_assert(HEAD_SUMMED + 8 == WIRE_FRAME_HEAD, "the head's hash is its last field");

static const uint8_t magic[MAGIC_BYTES] = {'K', 'E', 'L', 'P', 'W', 'I', 'R', 'E'};

/* The longest body of a kind; 0: no such kind. */
static size_t kind_body_max(unsigned kind)
{
    switch ((enum wire_kind)kind) {
    case WIRE_MESSAGE:
    case WIRE_FORWARD:
    case WIRE_FORWARD_ANSWER: return WIRE_FRAME_BODY_MAX;
    case WIRE_PIECE: return WIRE_PIECE_MAX;
    case WIRE_FETCH:
    case WIRE_HELLO:
    case WIRE_REFUSE:
    case WIRE_FOUND:
    case WIRE_MARKS:
    case WIRE_ADDRESSES: return SMALL_BODY_MAX;
    }
    return 0;
}

struct head {
    enum wire_kind kind;
    uint32_t group;
    size_t length, hashed;
    uint64_t body_hash;
};

static void head_write(uint8_t *out, const struct head *h)
{
    ASSERT(h->length <= kind_body_max(h->kind));
    ASSERT(h->hashed <= h->length);
    memcpy(out, magic, MAGIC_BYTES);
    put_u16(out + 8, WIRE_PROTOCOL_VERSION);
    out[10] = (uint8_t)h->kind;
    out[11] = 0;
    put_u32(out + 12, h->group);
    put_u32(out + 16, (uint32_t)h->length);
    put_u32(out + 20, (uint32_t)h->hashed);
    put_u64(out + 24, h->body_hash);
    put_u64(out + HEAD_SUMMED, hash_bytes(bytes_of(out, HEAD_SUMMED), 0));
}

void wire_frame_head(uint8_t *out, enum wire_kind kind, uint32_t group,
                     const struct kelp_bytes *parts, size_t part_count)
{
    size_t length = 0;
    for (size_t i = 0; i < part_count; i++) {
        ASSERT(parts[i].len <= WIRE_FRAME_BODY_MAX); /* no sum of these wraps */
        length += parts[i].len;
        ASSERT(length <= kind_body_max(kind));
    }
    head_write(out, &(struct head){.kind = kind,
                                   .group = group,
                                   .length = length,
                                   .hashed = length,
                                   .body_hash = hash_parts(parts, part_count, 0)});
}

void wire_frame_head_entries(uint8_t *out, uint32_t group, struct kelp_bytes message,
                             size_t entry_bytes)
{
    ASSERT(message.len <= WIRE_FRAME_BODY_MAX && entry_bytes <= WIRE_FRAME_BODY_MAX);
    head_write(out, &(struct head){.kind = WIRE_MESSAGE,
                                   .group = group,
                                   .length = message.len + entry_bytes,
                                   .hashed = message.len,
                                   .body_hash = hash_bytes(message, 0)});
}

/* Read a whole head; *length and out->hashed are believed afterwards. */
static enum kelp_error frame_head_read(const uint8_t *head, size_t body_max, struct wire_frame *out,
                                       size_t *length, struct kelp_fault *fault)
{
    if (hash_bytes(bytes_of(head, HEAD_SUMMED), 0) != load_u64(head + HEAD_SUMMED)) {
        return fault_set(fault, KELP_E_CORRUPT, NULL,
                         "the checksum of a frame's head does not match");
    }
    unsigned version = load_u16(head + 8), kind = head[10], flags = head[11];
    size_t kind_max = kind_body_max(kind);
    if (version != WIRE_PROTOCOL_VERSION || flags != 0 || kind_max == 0) {
        return fault_set(fault, KELP_E_VERSION, NULL,
                         "a frame of version %u, kind %u, flags 0x%x; this program knows version "
                         "%u, kinds %d to %d",
                         version, kind, flags, WIRE_PROTOCOL_VERSION, WIRE_HELLO, WIRE_MARKS);
    }
    uint64_t wanted = load_u32(head + 16), allowed = min_u64(body_max, kind_max);
    if (wanted > allowed) {
        return fault_set(fault, KELP_E_LIMIT, NULL,
                         "a frame of kind %u with a body of %llu bytes; %llu are accepted here",
                         kind, (unsigned long long)wanted, (unsigned long long)allowed);
    }
    size_t hashed = load_u32(head + 20);
    if (hashed > wanted || (hashed < wanted && kind != WIRE_MESSAGE))
        return wire_malformed(fault, "the hash of a frame's body covers another length");
    *out =
        (struct wire_frame){.kind = (uint8_t)kind, .group = load_u32(head + 12), .hashed = hashed};
    *length = (size_t)wanted;
    return KELP_OK;
}

enum kelp_error wire_frame_decode(struct kelp_bytes in, size_t body_max, struct wire_frame *out,
                                  size_t *used, struct kelp_fault *fault)
{
    *used = 0;
    if (in.len > 0 && memcmp(in.data, magic, min_u64(in.len, MAGIC_BYTES)) != 0)
        return wire_malformed(fault, "this is not a frame of Kelp's peer protocol");
    if (in.len < WIRE_FRAME_HEAD) return KELP_E_MORE;
    size_t length = 0;
    enum kelp_error error = frame_head_read(in.data, body_max, out, &length, fault);
    if (error != KELP_OK) return error;
    *used = WIRE_FRAME_HEAD + length;
    if (in.len < *used) return KELP_E_MORE;
    out->body = bytes_of(in.data + WIRE_FRAME_HEAD, length);
    if (hash_bytes(bytes_of(out->body.data, out->hashed), 0) != load_u64(in.data + 24)) {
        return fault_set(fault, KELP_E_CORRUPT, NULL,
                         "the checksum of a frame's body does not match");
    }
    return KELP_OK;
}
