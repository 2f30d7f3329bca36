/* SPDX-License-Identifier: Apache-2.0 */
/* segment.c - the bytes of a log segment: its head, the head of a write, a write's records.
 *
 * A segment is a file of whole 4 KiB blocks: two blocks of heads, then writes, each from a block of
 * its own on, one behind the other; what lies behind the last write is zeros or the rest of an
 * earlier use.
 *
 * Segment head, the same in block 0 and block 1 but for `copy`:
 *   offset  size  field
 *        0     4  magic         "KLSG"
 *        4     2  version       1
 *        6     2  copy          0 or 1
 *        8    16  cluster       high half, low half; zero: the directory was not pledged yet
 *       24     8  node
 *       32     8  incarnation   of the data directory
 *       40     8  epoch
 *       48     8  number        as in the file's name
 *       56     8  salt          64 random bits, new at every use of the file
 *       64     8  bytes         of the whole file, two blocks of heads included
 *       72     4  flags         1: the file has that size durably, a shorter one was cut; 2: it may
 *                               have holes. Of two good copies 1 counts if it is in either, 2 only
 *                               if it is in both
 *       76     4  groups        1
 *       80     8  first write   number of the first write in this segment
 *       88     8  content       content checksum of the write before that one
 *       96     8  save          the highest save number before this segment
 *   for each group, as of the start of this segment:
 *      104     4  group         0
 *      108     4  0
 *      112    16  start         index and term at which the log ended
 *      128     8  commit        floor of the commit index
 *      136     8  everyone      known to be on every member up to here
 *   then:
 *      144     8  checksum      XXH3-64, seed 0, of everything before it
 *
 * A write: head, records, entries, zeros up to the block's end. The head lies in one sector:
 *        0     4  magic         "KLWR"
 *        4     2  bytes of this head (136)
 *        6     2  groups        1
 *        8     8  number        ascends by one; of two writes of one number the later counts
 *       16    16  saves         first and last save number in it; first = last + 1: none
 *       32     8  bytes         head, records and entries
 *       40     4  records
 *       44     4  flags         1: an empty write at the segment's end; the next segment exists
 *       48     8  content       checksum of the records, the entries' checksums chained onto it one
 *                               by one
 *       56    16  before        number and content checksum of the write before this one
 *   for each group:
 *       72     4  group         0
 *       76     4  0
 *       80     8  commit        commit index of the last save in it, at most the log's last index
 *       88     8  everyone      likewise
 *       96     8  first         lowest index that the write before touched
 *      104    16  last          index and term at which the log ended after the write before
 *   then:
 *      120     8  records       XXH3-64 of the records, seed write number
 *      128     8  checksum      XXH3-64 of everything before it, seeded by segment number, salt and
 *                               the write's offset: bytes of an earlier use or of another place
 *                               never pass
 *
 * A record:
 *        0     4  type          1 append, 2 truncate, 3 reset
 *        4     4  group         0
 *        8     8  first         append: index of the first entry
 *       16    16  last          append: index of the last entry and 0; else index and term
 *       32     8  bytes         append: of its entries
 * The entries of all append records follow the last record, back to back.
 *
 * The content checksum is not seeded by the segment, so that a write copied by recovery keeps it;
 * it stands in the head, which is. A write without records is a mark: it proves the write before
 * it, and the next write takes its place and its number. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"
#include "base/unset.h"
#include "store/room.h"

#define SEGMENT_MAGIC     0x47534c4bu /* "KLSG" */
#define WRITE_MAGIC       0x52574c4bu /* "KLWR" */
#define WRITE_FLAGS_KNOWN ((uint32_t)WRITE_CONTINUES)

#define SEGMENT_FLAGS_KNOWN (SEGMENT_WHOLE | SEGMENT_HOLES)

_Static_assert(SEGMENT_HEAD_BYTES <= 512, "a segment's head lies in one sector");
_Static_assert(WRITE_HEAD_BYTES <= 512, "a write's head lies in one sector");
_Static_assert(WRITE_HEAD_BYTES % 8 == 0 && RECORD_BYTES % 8 == 0, "entries stay aligned");

void segment_name(char out[FILE_NAME_MAX], uint64_t number)
{
    static const char form[] = "log/00000000000000000000.seg"; /* as "%020" would, called often */
    memcpy(out, form, sizeof form);
    for (char *digit = out + sizeof form - sizeof ".seg"; number > 0; number /= 10)
        *--digit = (char)('0' + number % 10);
}

void segment_encode(uint8_t out[STORE_BLOCK], const struct segment_head *h, unsigned copy)
{
    ASSERT(copy < 2);
    memset(out, 0, STORE_BLOCK);
    struct writer w = writer_of(out, STORE_BLOCK);
    write_u32(&w, SEGMENT_MAGIC);
    write_u16(&w, STORE_LOG_VERSION);
    write_u16(&w, (uint16_t)copy);
    write_u64(&w, h->identity.cluster.hi);
    write_u64(&w, h->identity.cluster.lo);
    write_u64(&w, h->identity.node);
    write_u64(&w, h->identity.incarnation);
    write_u64(&w, h->identity.epoch);
    write_u64(&w, h->number);
    write_u64(&w, h->salt);
    write_u64(&w, h->bytes);
    write_u32(&w, h->flags);
    write_u32(&w, 1);
    write_u64(&w, h->first_write);
    write_u64(&w, h->prev_content);
    write_u64(&w, h->save_number);
    write_u32(&w, 0);
    write_u32(&w, 0);
    write_u64(&w, h->start.index);
    write_u64(&w, h->start.term.v);
    write_u64(&w, h->commit);
    write_u64(&w, h->everyone);
    write_u64(&w, hash_bytes(bytes_of(out, writer_len(&w)), 0));
    ASSERT(!w.failed && writer_len(&w) == SEGMENT_HEAD_BYTES);
}

static bool segment_head_sound(const struct segment_head *h)
{
    if (h->bytes % STORE_BLOCK != 0 || h->bytes < SEGMENT_BLOCKS_MIN * STORE_BLOCK) return false;
    if (h->bytes > STORE_INDEX_MAX || h->identity.node == 0) return false;
    if (h->number == 0 || h->number > STORE_INDEX_MAX) return false;
    if (h->first_write == 0 || h->first_write > STORE_INDEX_MAX) return false;
    return h->start.index <= STORE_INDEX_MAX && h->start.term.v <= STORE_INDEX_MAX &&
           h->save_number <= STORE_INDEX_MAX;
}

/* KELP_E_VERSION is a guess, since a newer head may be longer; the caller believes two of them. */
enum kelp_error segment_decode(struct kelp_bytes block, unsigned copy, struct segment_head *out)
{
    struct reader r = reader_of(block);
    *out = (struct segment_head){0};
    uint32_t magic = read_u32(&r);
    uint16_t version = read_u16(&r), found_copy = read_u16(&r);
    if (r.failed || magic != SEGMENT_MAGIC || found_copy != copy) return KELP_E_CORRUPT;
    if (version != STORE_LOG_VERSION) return KELP_E_VERSION;
    out->identity.cluster.hi = read_u64(&r);
    out->identity.cluster.lo = read_u64(&r);
    out->identity.node = read_u64(&r);
    out->identity.incarnation = read_u64(&r);
    out->identity.epoch = read_u64(&r);
    out->number = read_u64(&r);
    out->salt = read_u64(&r);
    out->bytes = read_u64(&r);
    out->flags = read_u32(&r);
    uint32_t groups = read_u32(&r);
    out->first_write = read_u64(&r);
    out->prev_content = read_u64(&r);
    out->save_number = read_u64(&r);
    uint32_t group = read_u32(&r);
    (void)read_u32(&r);
    out->start.index = read_u64(&r);
    out->start.term = kelp_term_of(read_u64(&r));
    out->commit = read_u64(&r);
    out->everyone = read_u64(&r);
    uint64_t checksum = read_u64(&r);
    if (r.failed || checksum != hash_bytes(bytes_of(block.data, SEGMENT_HEAD_BYTES - 8), 0)) {
        return KELP_E_CORRUPT;
    }
    if (groups != 1 || group != 0 || (out->flags & ~SEGMENT_FLAGS_KNOWN) != 0)
        return KELP_E_VERSION;
    return segment_head_sound(out) ? KELP_OK : KELP_E_CORRUPT;
}

enum kelp_error segment_read_head(struct disk disk, struct file *file, const char *name,
                                  uint64_t number, struct segment_head *out, unsigned *copies,
                                  struct kelp_fault *fault)
{
    UNSET uint8_t bytes[SEGMENT_DATA]; /* `got` of it */
    size_t got = 0;
    enum kelp_error error = disk.ops->read(disk.state, file, 0, bytes, sizeof bytes, &got, fault);
    if (error != KELP_OK) return error;
    unsigned versions = 0;
    *copies = 0;
    for (unsigned i = 0; i < 2; i++) {
        size_t from = (size_t)min_u64(got, (uint64_t)i * STORE_BLOCK);
        struct segment_head head;
        error = segment_decode(bytes_of(bytes + from, got - from), i, &head);
        if (error == KELP_E_VERSION) versions++;
        if (error != KELP_OK) continue;
        if (*copies != 0) { /* the flags are the only thing that changes, one copy at a time */
            head.flags = ((head.flags | out->flags) & SEGMENT_WHOLE) |
                         (head.flags & out->flags & SEGMENT_HOLES);
        }
        *copies |= 1u << i;
        *out = head;
    }
    if (*copies == 0 && versions == 2) {
        return fault_set(fault, KELP_E_VERSION, name, "written by a newer version");
    }
    if (*copies == 0) {
        return room_fault(fault, KELP_E_CORRUPT, name, 0, 0,
                          "a numbered segment without a good head: both copies are damaged");
    }
    if (out->number != number) {
        return room_fault(fault, KELP_E_CORRUPT, name, 0, 0, "its head says segment %" PRIu64,
                          out->number);
    }
    return KELP_OK;
}

uint64_t write_seed(uint64_t segment, uint64_t salt, uint64_t offset)
{
    return hash_mix(hash_mix(salt, segment), offset);
}

void write_head_encode(uint8_t out[WRITE_HEAD_BYTES], const struct write_head *h, uint64_t seed)
{
    struct writer w = writer_of(out, WRITE_HEAD_BYTES);
    write_u32(&w, WRITE_MAGIC);
    write_u16(&w, WRITE_HEAD_BYTES);
    write_u16(&w, 1);
    write_u64(&w, h->number);
    write_u64(&w, h->save_first);
    write_u64(&w, h->save_last);
    write_u64(&w, h->bytes);
    write_u32(&w, h->record_count);
    write_u32(&w, h->flags);
    write_u64(&w, h->content);
    write_u64(&w, h->prev_number);
    write_u64(&w, h->prev_content);
    write_u32(&w, 0);
    write_u32(&w, 0);
    write_u64(&w, h->commit);
    write_u64(&w, h->everyone);
    write_u64(&w, h->prev_first);
    write_u64(&w, h->prev_last.index);
    write_u64(&w, h->prev_last.term.v);
    write_u64(&w, h->records);
    write_u64(&w, hash_bytes(bytes_of(out, writer_len(&w)), seed));
    ASSERT(!w.failed && writer_len(&w) == WRITE_HEAD_BYTES);
}

/* A head of a later version has another segment version in front of it: none is met here. */
bool write_head_decode(struct kelp_bytes in, uint64_t seed, struct write_head *out)
{
    if (in.len < WRITE_HEAD_BYTES || load_u32(in.data) != WRITE_MAGIC) return false;
    struct reader r = reader_of(bytes_of(in.data, WRITE_HEAD_BYTES));
    (void)read_u32(&r);
    uint16_t head_bytes = read_u16(&r), groups = read_u16(&r);
    *out = (struct write_head){.number = read_u64(&r)};
    out->save_first = read_u64(&r);
    out->save_last = read_u64(&r);
    out->bytes = read_u64(&r);
    out->record_count = read_u32(&r);
    out->flags = read_u32(&r);
    out->content = read_u64(&r);
    out->prev_number = read_u64(&r);
    out->prev_content = read_u64(&r);
    uint32_t group = read_u32(&r);
    (void)read_u32(&r);
    out->commit = read_u64(&r);
    out->everyone = read_u64(&r);
    out->prev_first = read_u64(&r);
    out->prev_last.index = read_u64(&r);
    out->prev_last.term = kelp_term_of(read_u64(&r));
    out->records = read_u64(&r);
    uint64_t checksum = read_u64(&r);
    if (checksum != hash_bytes(bytes_of(in.data, WRITE_HEAD_BYTES - 8), seed)) return false;
    if (head_bytes != WRITE_HEAD_BYTES || groups != 1 || group != 0) return false;
    if ((out->flags & ~WRITE_FLAGS_KNOWN) != 0 || out->number == 0) return false;
    if (out->number > STORE_INDEX_MAX || out->save_last > STORE_INDEX_MAX) return false;
    return out->bytes <= STORE_INDEX_MAX &&
           out->bytes >= WRITE_HEAD_BYTES + (uint64_t)out->record_count * RECORD_BYTES;
}

void record_encode(uint8_t out[RECORD_BYTES], const struct record *r)
{
    struct writer w = writer_of(out, RECORD_BYTES);
    write_u32(&w, r->type);
    write_u32(&w, 0);
    write_u64(&w, r->first);
    write_u64(&w, r->last.index);
    write_u64(&w, r->last.term.v);
    write_u64(&w, r->bytes);
    ASSERT(!w.failed && writer_len(&w) == RECORD_BYTES);
}

bool record_decode(const uint8_t in[RECORD_BYTES], struct record *out)
{
    struct reader r = reader_of(bytes_of(in, RECORD_BYTES));
    *out = (struct record){.type = read_u32(&r)};
    uint32_t group = read_u32(&r);
    out->first = read_u64(&r);
    out->last.index = read_u64(&r);
    out->last.term = kelp_term_of(read_u64(&r));
    out->bytes = read_u64(&r);
    if (group != 0 || out->last.index > STORE_INDEX_MAX || out->last.term.v > STORE_INDEX_MAX) {
        return false;
    }
    bool append = out->type == RECORD_APPEND;
    if (append && (out->first == 0 || out->first > out->last.index || out->bytes == 0))
        return false;
    return append ||
           ((out->type == RECORD_TRUNCATE || out->type == RECORD_RESET) && out->bytes == 0);
}

uint64_t content_start(struct kelp_bytes records, uint64_t number)
{
    return hash_bytes(records, number);
}

uint64_t content_add(uint64_t content, uint64_t entry_checksum)
{
    return hash_mix(content, entry_checksum);
}
