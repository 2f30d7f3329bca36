/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.h - reading the state as it was at one command, while it goes on changing; and putting
 * one in its place.
 *
 * Beginning costs O(1): nothing is copied. The snapshot walks the hashes upwards and remembers how
 * far it is. Whoever changes or removes an entry that is older than the snapshot (by its epoch) and
 * still ahead of it hands the old entry over instead of freeing it; the snapshot keeps those in a
 * table of its own and reads both tables together. Entries that are younger are passed over. When
 * the whole table is replaced, the snapshot keeps the old one.
 *
 * Own bytes, all numbers little-endian:
 *     u32 version (2; 1: without deadlines)   u32 seeded   u64 seed   u64 keys   u64 digest sum
 * Object, at most KV_OBJECT_BYTES_MAX, one of:
 *     u8 1   { u32 key length   u32 value length   [deadline]   key   value }
 *     u8 2   u32 key length   u32 value length   [deadline]   u32 offset   bytes
 * A deadline, u64 cluster clock in ns and i64 time of day in ms, is there if the top bit of the key
 * length is set.
 * The second is a piece, from offset on, of key and value of a pair that is too large for one
 * object; pieces follow one another in order. Objects are loaded in the order in which they were
 * read. */
#ifndef KV_SNAPSHOT_H
#define KV_SNAPSHOT_H

#include "kv/state.h"

struct snapshot {
    struct table *base; /* the table at the beginning; the machine's own until it was replaced */
    bool owns_base;
    struct table *saved; /* entries the snapshot was handed */
    uint32_t epoch;      /* entries of base below it belong to the snapshot */
    uint64_t hash;       /* all entries below this hash have been read .. */
    size_t skip;         /* .. and so many of those that have it */
    uint32_t offset;     /* bytes read of the pair at the position, when it is cut into pieces */
    bool done;
};

#define SNAPSHOT_ROOM_MIN 64u /* the least *len snapshot_read accepts */

/* snapshot_wants - must this entry of the machine's table be handed over when it changes? */
static inline bool snapshot_wants(const struct kv *kv, const struct table_entry *e)
{
    const struct snapshot *s = kv->snapshot;
    return s != NULL && !s->owns_base && !s->done && e->epoch < s->epoch && e->hash >= s->hash;
}

/* snapshot_keep - take over (own) an entry that snapshot_wants. */
void snapshot_keep(struct snapshot *s, struct table_entry *e);

/* The calls of struct kelp_fsm_ops. begin: KELP_E_BUSY while another is open. read: *len is the
 * room, then the bytes of the object; KELP_E_ARGUMENT below SNAPSHOT_ROOM_MIN. An object may be
 * without pairs, and the one that comes with *last set may be. commit: after an error the restore
 * is still open, to be aborted. */
enum kelp_error snapshot_begin(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                               void **snapshot);
enum kelp_error snapshot_read(void *fsm, void *snapshot, uint8_t *out, size_t *len, bool *last);
void snapshot_end(void *fsm, void *snapshot);
enum kelp_error restore_begin(void *fsm, uint32_t group, struct kelp_pos pos, uint64_t time_ns,
                              struct kelp_bytes own, void **restore);
enum kelp_error stage_begin(void *fsm, uint32_t group, const struct kelp_stage *from,
                            void **restore);
enum kelp_error restore_object(void *fsm, void *restore, struct kelp_bytes object);
enum kelp_error restore_commit(void *fsm, void *restore);
void restore_abort(void *fsm, void *restore);

#endif
