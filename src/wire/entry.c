/* SPDX-License-Identifier: Apache-2.0 */
/* entry.c - one log entry, the same bytes in the log cache, in the log file and on the wire.
 *
 *   offset  size  field
 *        0     4  content   bytes from offset 0 to the end of the payload; the whole entry is that,
 *                           rounded up to 8, and 8 more, so its length is known from here
 *        4     2  type      enum kelp_entry_type
 *        6     2  flags     enum wire_entry_flag
 *        8     8  index     1..2^62
 *       16     8  term      1..2^62
 *       24     8  time      cluster clock, ns, at most 2^63
 *   with WIRE_ENTRY_IN_SESSION:
 *              8  session
 *              8  sequence      of the request in its session
 *              8  acknowledged  the sequence up to which the client has its answers
 *   with WIRE_ENTRY_EXTENDED:
 *              4  x         bytes of the extension, at most 65536
 *              x  extension
 *   then:
 *              p  payload   what is left of content, at most 8 MiB
 *           0..7  zeros     up to a multiple of 8
 *              8  checksum  XXH3-64, seed 0, of everything before it
 *
 * The leader that first accepts an entry computes the checksum; everybody else verifies it and
 * copies bytes. So a type or a flag that this version does not know is reported only after the
 * checksum held: then it was really written by a newer one, and the node must stop rather than skip
 * what others will apply. */
#include "wire/entry.h"

#include "base/hash.h"
#include "wire/wire.h"

#define MEASURE_BYTES          8u /* enough to know the length */
#define HEAD_BYTES             32u
#define SESSION_BYTES          24u
#define EXTENSION_LENGTH_BYTES 4u
#define CHECKSUM_BYTES         8u
#define FLAGS_KNOWN            ((uint32_t)(WIRE_ENTRY_IN_SESSION | WIRE_ENTRY_EXTENDED))

_Static_assert(HEAD_BYTES + SESSION_BYTES + EXTENSION_LENGTH_BYTES + WIRE_EXTENSION_MAX +
                       WIRE_ENTRY_PAYLOAD_MAX + 7 + CHECKSUM_BYTES <=
                   WIRE_ENTRY_MAX,
               "the largest payload with the largest extension is an entry");
_Static_assert(WIRE_ENTRY_MAX % 8 == 0, "entries are multiples of 8");

static bool type_known(unsigned type)
{
    return type >= KELP_ENTRY_COMMAND && type <= KELP_ENTRY_POSITION;
}

static size_t content_bytes(const struct wire_entry *e)
{
    ASSERT((e->flags & ~FLAGS_KNOWN) == 0);
    ASSERT(e->payload.len <= WIRE_ENTRY_PAYLOAD_MAX);
    ASSERT(e->extension.len <= WIRE_EXTENSION_MAX);
    size_t bytes = HEAD_BYTES + e->payload.len;
    if ((e->flags & WIRE_ENTRY_IN_SESSION) != 0) bytes += SESSION_BYTES;
    if ((e->flags & WIRE_ENTRY_EXTENDED) != 0) bytes += EXTENSION_LENGTH_BYTES + e->extension.len;
    return bytes;
}

static size_t whole_bytes(size_t content)
{
    return ((content + 7) & ~(size_t)7) + CHECKSUM_BYTES;
}

size_t wire_entry_size(const struct wire_entry *e)
{
    return whole_bytes(content_bytes(e));
}

uint8_t *wire_entry_payload(const struct wire_entry *e, uint8_t *out)
{
    return out + (content_bytes(e) - e->payload.len);
}

void wire_entry_encode(const struct wire_entry *e, uint8_t *out)
{
    ASSERT(type_known(e->type));
    ASSERT(e->pos.index != 0 && wire_pos_sound(e->pos));
    ASSERT(e->time_ns <= WIRE_TIME_MAX);
    ASSERT(e->extension.len == 0 || (e->flags & WIRE_ENTRY_EXTENDED) != 0);
    size_t content = content_bytes(e), summed = whole_bytes(content) - CHECKSUM_BYTES;
    put_u32(out, (uint32_t)content);
    put_u16(out + 4, e->type);
    put_u16(out + 6, (uint16_t)e->flags);
    put_u64(out + 8, e->pos.index);
    put_u64(out + 16, e->pos.term.v);
    put_u64(out + 24, e->time_ns);
    uint8_t *at = out + HEAD_BYTES;
    if ((e->flags & WIRE_ENTRY_IN_SESSION) != 0) {
        put_u64(at, e->session);
        put_u64(at + 8, e->sequence);
        put_u64(at + 16, e->acknowledged);
        at += SESSION_BYTES;
    }
    if ((e->flags & WIRE_ENTRY_EXTENDED) != 0) {
        put_u32(at, (uint32_t)e->extension.len);
        at += EXTENSION_LENGTH_BYTES;
        if (e->extension.len > 0) memcpy(at, e->extension.data, e->extension.len);
        at += e->extension.len;
    }
    if (e->payload.len > 0 && e->payload.data != at) memcpy(at, e->payload.data, e->payload.len);
    memset(out + content, 0, summed - content);
    put_u64(out + summed, hash_bytes(bytes_of(out, summed), 0));
}

/* How long is the entry at the start of in? *bytes stays 0 until that is known. */
static enum kelp_error entry_measure(struct kelp_bytes in, size_t *content, size_t *bytes,
                                     struct kelp_fault *fault)
{
    *bytes = 0;
    if (in.len < MEASURE_BYTES) return KELP_E_MORE;
    *content = load_u32(in.data);
    if (*content < HEAD_BYTES) return wire_malformed(fault, "an entry is shorter than its head");
    if (*content > WIRE_ENTRY_MAX - CHECKSUM_BYTES)
        return wire_malformed(fault, "an entry is longer than any entry may be");
    *bytes = whole_bytes(*content);
    return in.len < *bytes ? KELP_E_MORE : KELP_OK;
}

/* Session and extension, which few entries have; *r stands behind the head. */
static enum kelp_error flagged_fields(struct reader *r, struct wire_entry *out,
                                      struct kelp_fault *fault)
{
    if ((out->flags & WIRE_ENTRY_IN_SESSION) != 0) {
        out->session = read_u64(r);
        out->sequence = read_u64(r);
        out->acknowledged = read_u64(r);
    }
    if ((out->flags & WIRE_ENTRY_EXTENDED) != 0) {
        size_t len = read_u32(r);
        if (len > WIRE_EXTENSION_MAX)
            return wire_malformed(fault, "an entry's extension is too long");
        out->extension = read_bytes(r, len);
    }
    if (r->failed) return wire_malformed(fault, "an entry's fields do not fit into its length");
    return KELP_OK;
}

/* Everything between length and checksum. entry_measure has seen that the head and the padding are
 * there, so only what the flags announce is read with a look at the end before each field. The
 * fields are set one by one: every entry passes here several times on every node, and clearing the
 * whole record first is a third of the work. */
static enum kelp_error entry_fields(const uint8_t *data, size_t content, struct wire_entry *out,
                                    struct kelp_fault *fault)
{
    ASSERT(content >= HEAD_BYTES);
    unsigned type = load_u16(data + 4), flags = load_u16(data + 6);
    out->pos = kelp_pos_of(load_u64(data + 8), load_u64(data + 16));
    out->type = 0;
    out->flags = flags;
    out->time_ns = load_u64(data + 24);
    out->session = out->sequence = out->acknowledged = 0;
    out->extension = bytes_of(NULL, 0);
    out->payload = bytes_of(data + HEAD_BYTES, content - HEAD_BYTES);
    if (!type_known(type) || (flags & ~FLAGS_KNOWN) != 0) {
        return fault_set(fault, KELP_E_VERSION, NULL,
                         "entry %llu@%llu has type %u and flags 0x%x: written by a newer version",
                         (unsigned long long)out->pos.index, (unsigned long long)out->pos.term.v,
                         type, flags);
    }
    out->type = (uint8_t)type;
    if (flags != 0) {
        struct reader r = reader_of(out->payload);
        enum kelp_error error = flagged_fields(&r, out, fault);
        if (error != KELP_OK) return error;
        out->payload = read_bytes(&r, reader_left(&r));
    }
    if (out->payload.len > WIRE_ENTRY_PAYLOAD_MAX)
        return wire_malformed(fault, "an entry's payload is too long");
    if (out->pos.index == 0 || !wire_pos_sound(out->pos))
        return wire_malformed(fault, "an entry's index or term is out of range");
    if (out->time_ns > WIRE_TIME_MAX) /* a clock that took it over could hardly go on */
        return wire_malformed(fault, "an entry's stamp is out of range");
    size_t tail = content % 8; /* of the last 8 bytes in front of the checksum, the first `tail` */
    if (tail != 0 && load_u64(data + content - tail) >> 8 * tail != 0)
        return wire_malformed(fault, "an entry's padding is not zero");
    return KELP_OK;
}

enum kelp_error wire_entry_decode(struct kelp_bytes in, struct wire_entry *out, size_t *used,
                                  struct kelp_fault *fault)
{
    size_t content;
    enum kelp_error error = entry_measure(in, &content, used, fault);
    if (error != KELP_OK) return error;
    size_t summed = *used - CHECKSUM_BYTES;
    if (hash_bytes(bytes_of(in.data, summed), 0) != load_u64(in.data + summed))
        return fault_set(fault, KELP_E_CORRUPT, NULL, "an entry's checksum does not match");
    return entry_fields(in.data, content, out, fault);
}

enum kelp_error wire_entry_open(struct kelp_bytes in, struct wire_entry *out, size_t *used,
                                struct kelp_fault *fault)
{
    size_t content;
    enum kelp_error error = entry_measure(in, &content, used, fault);
    return error == KELP_OK ? entry_fields(in.data, content, out, fault) : error;
}

enum kelp_error wire_entry_peek(struct kelp_bytes in, struct kelp_pos *pos, uint8_t *type,
                                size_t *bytes)
{
    size_t content;
    enum kelp_error error = entry_measure(in, &content, bytes, NULL);
    if (error != KELP_OK) return error;
    struct wire_entry entry;
    error = entry_fields(in.data, content, &entry, NULL);
    *pos = entry.pos;
    *type = entry.type;
    return error;
}

uint16_t wire_entry_type(struct kelp_bytes encoded)
{
    ASSERT(encoded.len >= HEAD_BYTES);
    return load_u16(encoded.data + 4);
}

uint64_t wire_entry_checksum(struct kelp_bytes encoded)
{
    ASSERT(encoded.len >= MEASURE_BYTES);
    size_t bytes = whole_bytes(load_u32(encoded.data));
    ASSERT(encoded.len >= bytes);
    return load_u64(encoded.data + bytes - CHECKSUM_BYTES);
}
