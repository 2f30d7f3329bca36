/* SPDX-License-Identifier: Apache-2.0 */
/* snaphead.c - the head of a snapshot, whole in one checksum.
 *
 *   offset  size  field
 *        0     8  magic         "KELPSNAP"
 *        8     4  length        of the whole head, a multiple of 8, at most 65536
 *       12     2  version       1
 *       14     2  flags         1: hollow, no object and no own bytes
 *       16    16  cluster       hi, lo
 *       32     8  epoch
 *       40     8  index         the last entry the snapshot holds, 1..2^62
 *       48     8  term          of that entry, 1..2^62
 *       56     8  time          cluster clock at that entry, ns
 *       64     8  object_count  objects behind the head
 *       72     8  object_bytes  their bytes; 0 where object_count is 0
 *       80     8  state_hash
 *       88     8  chain_hash
 *       96     8  config_index  where the configuration stands, at most index
 *      104     4  c             bytes of the configuration
 *      108     4  o             bytes of the machine's own, at most 32768
 *      112     c  configuration as in config.c
 *              o  own           the machine's own bytes
 *           0..7  zeros         up to a multiple of 8
 *              8  checksum      XXH3-64, seed 0, of everything before it
 *
 * Magic, length and checksum stay where they are in every version, so that a newer head is told
 * apart from a damaged one. */
#include "wire/snaphead.h"

#include "base/hash.h"
#include "base/min.h"
#include "wire/wire.h"

#define MAGIC_BYTES      8u
#define MEASURE_BYTES    12u /* magic and length */
#define FIXED_BYTES      112u
#define CHECKSUM_BYTES   8u
#define LENGTH_AT        8u
#define CONFIG_LENGTH_AT 104u
#define FLAG_HOLLOW      1u

static const uint8_t magic[MAGIC_BYTES] = {'K', 'E', 'L', 'P', 'S', 'N', 'A', 'P'};

/* NULL, or the rule that is broken. */
static const char *snaphead_wrong(const struct wire_snaphead *h)
{
    if (h->pos.index == 0 || !wire_pos_sound(h->pos))
        return "a snapshot's index or term is out of range";
    if (h->time_ns > WIRE_TIME_MAX) return "a snapshot's time is out of range";
    if (h->config.config.index > h->pos.index)
        return "a snapshot's configuration stands above its last entry";
    if (h->object_count == 0 && h->object_bytes != 0)
        return "a snapshot has bytes of objects but no object";
    if (h->hollow && (h->object_count != 0 || h->own.len != 0))
        return "a snapshot without state has some";
    return NULL;
}

size_t wire_snaphead_encode(const struct wire_snaphead *h, uint8_t *out, size_t size)
{
    ASSERT(snaphead_wrong(h) == NULL);
    if (h->own.len > KELP_FSM_OWN_BYTES_MAX) return 0;
    struct writer w = writer_of(out, min_u64(size, WIRE_SNAPHEAD_BYTES_MAX));
    write_bytes(&w, bytes_of(magic, MAGIC_BYTES));
    write_u32(&w, 0); /* the length, once it is known */
    write_u16(&w, WIRE_SNAPHEAD_VERSION);
    write_u16(&w, h->hollow ? FLAG_HOLLOW : 0);
    write_cluster(&w, h->cluster);
    write_u64(&w, h->epoch);
    write_pos(&w, h->pos);
    write_u64(&w, h->time_ns);
    write_u64(&w, h->object_count);
    write_u64(&w, h->object_bytes);
    write_u64(&w, h->state_hash);
    write_u64(&w, h->chain_hash);
    write_u64(&w, h->config.config.index);
    write_u32(&w, 0); /* bytes of the configuration, once they are known */
    write_u32(&w, (uint32_t)h->own.len);
    write_config(&w, &h->config);
    size_t config_bytes = w.failed ? 0 : writer_len(&w) - FIXED_BYTES;
    write_bytes(&w, h->own);
    size_t padding = (8 - writer_len(&w) % 8) % 8;
    for (size_t i = 0; i < padding; i++)
        write_u8(&w, 0);
    size_t summed = writer_len(&w);
    write_u64(&w, 0);
    if (w.failed) return 0;
    put_u32(out + LENGTH_AT, (uint32_t)writer_len(&w));
    put_u32(out + CONFIG_LENGTH_AT, (uint32_t)config_bytes);
    put_u64(out + summed, hash_bytes(bytes_of(out, summed), 0));
    return writer_len(&w);
}

/* How long is the head at the start of in, and is it whole and undamaged? */
static enum kelp_error snaphead_verify(struct kelp_bytes in, size_t *used, struct kelp_fault *fault)
{
    *used = 0;
    if (in.len > 0 && memcmp(in.data, magic, min_u64(in.len, MAGIC_BYTES)) != 0)
        return wire_malformed(fault, "this is not the head of a snapshot");
    if (in.len < MEASURE_BYTES) return KELP_E_MORE;
    size_t length = load_u32(in.data + LENGTH_AT);
    if (length < FIXED_BYTES + CHECKSUM_BYTES || length > WIRE_SNAPHEAD_BYTES_MAX ||
        length % 8 != 0)
        return wire_malformed(fault, "the length of a snapshot's head is out of range");
    *used = length;
    if (in.len < length) return KELP_E_MORE;
    size_t summed = length - CHECKSUM_BYTES;
    if (hash_bytes(bytes_of(in.data, summed), 0) != load_u64(in.data + summed)) {
        return fault_set(fault, KELP_E_CORRUPT, NULL,
                         "the checksum of a snapshot's head does not match");
    }
    return KELP_OK;
}

enum kelp_error wire_snaphead_decode(struct kelp_bytes in, struct wire_snaphead *out, size_t *used,
                                     struct kelp_fault *fault)
{
    enum kelp_error error = snaphead_verify(in, used, fault);
    if (error != KELP_OK) return error;
    struct reader r = reader_of(bytes_of(in.data, *used - CHECKSUM_BYTES));
    (void)reader_skip(&r, MEASURE_BYTES);
    unsigned version = read_u16(&r), flags = read_u16(&r);
    if (version != WIRE_SNAPHEAD_VERSION || (flags & ~FLAG_HOLLOW) != 0) {
        return fault_set(fault, KELP_E_VERSION, NULL,
                         "a snapshot of version %u, flags 0x%x; this program knows version %u",
                         version, flags, WIRE_SNAPHEAD_VERSION);
    }
    memset(out, 0, sizeof *out);
    out->hollow = (flags & FLAG_HOLLOW) != 0;
    out->cluster = read_cluster(&r);
    out->epoch = read_u64(&r);
    out->pos = read_pos(&r);
    out->time_ns = read_u64(&r);
    out->object_count = read_u64(&r);
    out->object_bytes = read_u64(&r);
    out->state_hash = read_u64(&r);
    out->chain_hash = read_u64(&r);
    kelp_index config_index = read_u64(&r);
    size_t config_bytes = read_u32(&r), own_bytes = read_u32(&r);
    if (own_bytes > KELP_FSM_OWN_BYTES_MAX)
        return wire_malformed(fault, "a snapshot's own bytes are too many");
    struct kelp_bytes config = read_bytes(&r, config_bytes);
    out->own = read_bytes(&r, own_bytes);
    if (r.failed || reader_left(&r) >= 8)
        return wire_malformed(fault, "the lengths in a snapshot's head contradict each other");
    while (reader_left(&r) > 0) {
        if (read_u8(&r) != 0)
            return wire_malformed(fault, "the padding of a snapshot's head is not zero");
    }
    error = wire_config_decode(config, config_index, &out->config, fault);
    if (error != KELP_OK) return error;
    const char *wrong = snaphead_wrong(out);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}
