/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - the log port: what Kelp asks of whatever keeps saves durable.
 *
 * The calls are made by one thread and return at once; what they cause is reported later, in order,
 * through the
 * done functions, on that same thread. Saves are performed in the order given; a read sees every
 * save given before
 * it. The store that comes with Kelp (files, write-ahead log) and the one in memory both stand
 * behind this table. */
#ifndef KELP_STORE_H
#define KELP_STORE_H

#include "kelp/core.h"
#include "kelp/types.h"

/* What a store reports; given to it when it is opened. */
struct kelp_store_done {
    size_t size; /* sizeof(struct kelp_store_done) */
    void *ctx;
    void (*saved)(void *ctx, uint32_t group, uint64_t number); /* saves up to number are durable */
    /* A read ended. error KELP_OK: entries are the encoded entries first..last, borrowed during the
     * call;
     * KELP_E_GONE: compacted; anything else: the disk failed. before: the position in front of
     * first. */
    void (*read)(void *ctx, uint32_t group, uint64_t tag, enum kelp_error error,
                 struct kelp_pos before, kelp_index first, kelp_index last,
                 struct kelp_bytes entries);
    /* An own snapshot is durable, or (error) is not. */
    void (*snapshot)(void *ctx, uint32_t group, kelp_index index, enum kelp_error error);
    void (*pledged)(void *ctx, uint32_t group); /* the cluster id is durable in the identity */
    /* the disk failed: final */
    void (*fault)(void *ctx, uint32_t group, const struct kelp_fault *fault);
    /* How much more the log can take, in MiB (0: not known), and what that means; at any time, when
     * it changes. A store that knows no bound never calls it. */
    void (*space)(void *ctx, uint32_t group, uint32_t room_mib, enum kelp_space space);
    /* A piece of a snapshot is written, or the snapshot is dropped, or (error) not. */
    void (*piece)(void *ctx, uint32_t group, enum kelp_error error);
    /* A piece of a snapshot was read: bytes, borrowed during the call; size: of its whole file. Or
     * KELP_E_NOT_FOUND: it is not here, KELP_E_CORRUPT: it is damaged, KELP_E_IO, KELP_E_NO_MEMORY.
     */
    void (*fetched)(void *ctx, uint32_t group, enum kelp_error error, uint64_t size,
                    struct kelp_bytes bytes);
};

struct kelp_store_ops {
    size_t size; /* sizeof(struct kelp_store_ops), so that it may grow */

    /* Perform a save. parts are the encoded entries save->first..save->last, back to back; the
     * descriptors are
     * borrowed during the call, the bytes until done->saved(save->number) or done->fault. */
    void (*save)(void *store, uint32_t group, const struct kelp_save *save,
                 const struct kelp_bytes *parts, size_t part_count);

    /* Read encoded entries from first on, as many as fit both limits but at least one; entries_max
     * 0 asks for
     * `before` alone. Answered by done->read with the same tag. */
    void (*read)(void *store, uint32_t group, uint64_t tag, kelp_index first, uint32_t entries_max,
                 uint64_t bytes_max);

    /* Write a snapshot head (encoded, borrowed during the call), alone or in front of the pieces
     * given before it, sync it under its name, drop older ones. Answered by done->snapshot. */
    void (*snapshot)(void *store, uint32_t group, struct kelp_pos pos, struct kelp_bytes head);

    /* Write the cluster id into this node's identity, once in its life, with the recovery epoch
     * that the cluster is in. Answered by done->pledged. */
    void (*pledge)(void *store, uint32_t group, struct kelp_cluster_id cluster, uint64_t epoch);

    /* Nothing more will be asked for a while: the log may put an unsynced mark behind its last
     * write. */
    void (*idle)(void *store, uint32_t group);

    /* Likewise, with the id that this node was given, where there is none yet: all at once, or
     * nothing. Answered by done->pledged. NULL: such a node cannot be given an id. */
    void (*name)(void *store, uint32_t group, kelp_id node, struct kelp_cluster_id cluster,
                 uint64_t epoch);

    /* Write what stands in the snapshot that is being taken at an offset of its file, behind the
     * room for its head; the first piece begins it, with the last one all of them are durable. The
     * bytes are borrowed until done->piece answers; one at a time. It may be done beside saves and
     * in any order with them. */
    void (*piece)(void *store, uint32_t group, uint64_t offset, struct kelp_bytes bytes, bool last);

    /* The snapshot that is being taken is given up. Answered by done->piece; a piece that is open
     * is answered first. */
    void (*drop)(void *store, uint32_t group);

    /* Read a piece of the durable snapshot that ends at pos: its head at offset 0, else the whole
     * chunk that begins there, verified. Answered by done->fetched; one at a time, in any order
     * with everything else. What was read from goes on being readable for a while after a newer one
     * took its place. At 0@0: nobody reads on, what is kept for that goes; answered with
     * KELP_E_NOT_FOUND. NULL: snapshots neither leave nor enter this node. */
    void (*fetch)(void *store, uint32_t group, struct kelp_pos pos, uint64_t offset);

    /* Durable snapshots that end below pos, which is durable and good, may show a state that was
     * wrong: they go, so that no start falls back on them. Not answered. NULL: none is kept. */
    void (*forget)(void *store, uint32_t group, struct kelp_pos pos);

    /* What snapshots and log make here is known to be another state than that of a majority, or
     * (false) was replaced by that of another member: the next start is to know it, see
     * kelp_node_status. In order with what is asked for before and behind it; not answered, a
     * failure is a fault. NULL: a start forgets it. */
    void (*apart)(void *store, uint32_t group, bool apart);
};

#endif
