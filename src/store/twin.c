/* SPDX-License-Identifier: Apache-2.0 */
/* twin.c - a small file kept as two checksummed copies in blocks of their own.
 *
 * A copy, at offset 0 and at offset 4096:
 *   offset  size  field
 *        0     4  magic       which file this is
 *        4     2  version     1
 *        6     2  slot        0 or 1: which of the two copies
 *        8     8  generation  raised by every write; both copies of one write have the same
 *       16     4  n           bytes of the payload, at most 256
 *       20     4  0
 *       24     n  payload     vote.c, identity.c
 *     24+n     8  checksum    XXH3-64, seed 0, of everything before it
 * The rest of the block is zeros.
 *
 * A write goes to one copy, is synced, then goes to the other and is synced again; only then is it
 * reported. So a power cut spoils at most one copy, and what was promised is in both: the newer of
 * two good copies is always right, and one good copy is enough. The slot tells a copy that the disk
 * put into the wrong block. It is damage where it stands: alone it proves nothing. But it was
 * written, so where it is newer than the good copy it is right: the second half of a write that
 * went over the place of the first, and left the older copy good. A new file gets its name only
 * when both copies are durable. At start the file is synced before it is believed, since the newer
 * copy may be in the page cache only, and the caller then writes both, the older or bad one
 * first.
 *
 * A copy that rots while the process runs must not be the only one when a cut spoils the other:
 * each write first reads what the disk has, past the page cache, and begins with the bad copy. */
#include "store/room.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"

#define TWIN_VERSION 1u
#define TWIN_HEAD    24u

void twin_encode(uint8_t out[STORE_BLOCK], uint32_t magic, unsigned slot, uint64_t generation,
                 struct kelp_bytes payload)
{
    ASSERT(slot < 2);
    ASSERT(payload.len <= TWIN_PAYLOAD_MAX);
    memset(out, 0, STORE_BLOCK);
    struct writer w = writer_of(out, STORE_BLOCK);
    write_u32(&w, magic);
    write_u16(&w, TWIN_VERSION);
    write_u16(&w, (uint16_t)slot);
    write_u64(&w, generation);
    write_u32(&w, (uint32_t)payload.len);
    write_u32(&w, 0);
    write_bytes(&w, payload);
    write_u64(&w, hash_bytes(bytes_of(out, writer_len(&w)), 0));
    ASSERT(!w.failed);
}

/* KELP_E_VERSION is only a guess when the checksum cannot be found; the caller believes two of
 * them. */
enum kelp_error twin_decode(struct kelp_bytes block, uint32_t magic, unsigned slot,
                            struct twin_copy *out)
{
    struct reader r = reader_of(block);
    uint32_t found_magic = read_u32(&r);
    uint16_t version = read_u16(&r), found_slot = read_u16(&r);
    *out = (struct twin_copy){.generation = read_u64(&r)};
    size_t len = read_u32(&r);
    (void)read_u32(&r);
    if (r.failed || found_magic != magic || found_slot > 1) return KELP_E_CORRUPT;
    if (version != TWIN_VERSION) return KELP_E_VERSION;
    if (len > TWIN_PAYLOAD_MAX) return KELP_E_CORRUPT;
    struct kelp_bytes payload = read_bytes(&r, len);
    uint64_t checksum = read_u64(&r);
    if (r.failed || checksum != hash_bytes(bytes_of(block.data, TWIN_HEAD + len), 0)) {
        return KELP_E_CORRUPT;
    }
    if (len > 0) memcpy(out->payload, payload.data, len);
    out->len = len;
    out->misplaced = found_slot != slot;
    return out->misplaced ? KELP_E_CORRUPT : KELP_OK;
}

static enum kelp_error write_copy(struct twin *t, unsigned slot, struct kelp_bytes payload,
                                  struct kelp_fault *fault)
{
    uint8_t block[STORE_BLOCK];
    twin_encode(block, t->magic, slot, t->generation, payload);
    struct kelp_bytes part = bytes_of(block, sizeof block);
    uint64_t offset = (uint64_t)slot * STORE_BLOCK;
    enum kelp_error error = t->disk.ops->write(t->disk.state, t->file, offset, &part, 1, fault);
    if (error != KELP_OK) return error;
    return t->disk.ops->sync(t->disk.state, t->file, fault);
}

/* What the disk has of both copies, decoded; not a byte of it comes from the page cache. */
static enum kelp_error read_copies(struct twin *t, struct twin_copy copies[2],
                                   enum kelp_error state[2], struct kelp_fault *fault)
{
    uint8_t bytes[TWIN_FILE_BYTES];
    size_t got = 0;
    t->disk.ops->forget(t->disk.state, t->file);
    enum kelp_error error =
        t->disk.ops->read(t->disk.state, t->file, 0, bytes, sizeof bytes, &got, fault);
    for (unsigned i = 0; error == KELP_OK && i < 2; i++) {
        size_t from = (size_t)min_u64(got, (uint64_t)i * STORE_BLOCK);
        size_t len = (size_t)min_u64(got - from, STORE_BLOCK);
        state[i] = twin_decode(bytes_of(bytes + from, len), t->magic, i, &copies[i]);
    }
    return error;
}

/* Which copy a write begins with: the bad one, if just one is. A read that fails tells nothing, and
 * the write goes on: whether the disk still works is for the write to find out. */
static unsigned first_copy(struct twin *t)
{
    struct twin_copy copies[2];
    enum kelp_error state[2];
    struct kelp_fault ignored;
    if (t->generation == 0 || read_copies(t, copies, state, &ignored) != KELP_OK)
        return (unsigned)t->first;
    bool good[2];
    for (unsigned i = 0; i < 2; i++)
        good[i] = state[i] == KELP_OK && copies[i].generation == t->generation;
    return good[0] == good[1] ? (unsigned)t->first : good[0];
}

enum kelp_error twin_write(struct twin *t, struct kelp_bytes payload, struct kelp_fault *fault)
{
    ASSERT(t->file != NULL);
    unsigned first = first_copy(t);
    t->generation++;
    enum kelp_error error = write_copy(t, first, payload, fault);
    if (error != KELP_OK) return error;
    error = write_copy(t, 1 - first, payload, fault);
    t->first = 0;
    return error;
}

enum kelp_error twin_create(struct disk disk, const char *name, uint32_t magic,
                            struct kelp_bytes payload, struct kelp_fault *fault)
{
    char temporary[FILE_NAME_MAX];
    (void)snprintf(temporary, sizeof temporary, "%s.new", name);
    struct twin t = {.disk = disk, .name = name, .magic = magic};
    enum kelp_error error = disk.ops->open(disk.state, temporary, FILE_CREATE_ANY, &t.file, fault);
    if (error != KELP_OK) return error;
    error = twin_write(&t, payload, fault);
    twin_close(&t);
    if (error == KELP_OK) error = disk.ops->rename(disk.state, temporary, name, fault);
    if (error == KELP_OK) error = disk.ops->sync_dir(disk.state, "", fault);
    return error;
}

static enum kelp_error judge(struct twin *t, const enum kelp_error state[2],
                             const struct twin_copy copies[2], struct twin_copy *out,
                             struct kelp_fault *fault)
{
    if (state[0] != KELP_OK && state[1] != KELP_OK) {
        if (state[0] == KELP_E_VERSION && state[1] == KELP_E_VERSION) {
            return fault_set(fault, KELP_E_VERSION, t->name, "written by a newer version");
        }
        return fault_set(fault, KELP_E_CORRUPT, t->name, "both copies are damaged");
    }
    unsigned best = state[0] == KELP_OK ? 0 : 1;
    if (state[0] == KELP_OK && state[1] == KELP_OK) {
        if (copies[1].generation > copies[0].generation) best = 1;
        if (copies[1].generation == copies[0].generation &&
            !bytes_equal(bytes_of(copies[0].payload, copies[0].len),
                         bytes_of(copies[1].payload, copies[1].len))) {
            return fault_set(fault, KELP_E_CORRUPT, t->name,
                             "its two copies contradict each other under one generation");
        }
    }
    const struct twin_copy *other = &copies[1 - best];
    if (other->misplaced && other->generation > copies[best].generation) best = 1 - best;
    *out = copies[best];
    t->generation = copies[best].generation;
    t->first = 1 - (int)best;
    return KELP_OK;
}

enum kelp_error twin_open(struct twin *t, struct disk disk, const char *name, uint32_t magic,
                          struct twin_copy *out, struct kelp_fault *fault)
{
    *t = (struct twin){.disk = disk, .name = name, .magic = magic};
    enum kelp_error error = disk.ops->open(disk.state, name, FILE_WRITE, &t->file, fault);
    if (error != KELP_OK) return error;
    error = disk.ops->sync(disk.state, t->file, fault);
    struct twin_copy copies[2];
    enum kelp_error state[2] = {KELP_OK, KELP_OK};
    if (error == KELP_OK) error = read_copies(t, copies, state, fault);
    if (error == KELP_OK) error = judge(t, state, copies, out, fault);
    if (error != KELP_OK) twin_close(t);
    return error;
}

void twin_close(struct twin *t)
{
    if (t->disk.ops != NULL) t->disk.ops->close(t->disk.state, t->file);
    t->file = NULL;
}
