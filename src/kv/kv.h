/* SPDX-License-Identifier: Apache-2.0 */
/* kv.h - Kelp's own state machine: a table of string keys behind struct kelp_fsm_ops.
 *
 * It is what kelp serves to Redis clients and the example of a state machine for people who write
 * their own. A command is an encoded argv (codec.h), a reply is RESP2 bytes. The same commands at
 * the same positions give the same replies, the same hash and the same SCAN cursors on every
 * member, however their tables grew.
 *
 * Work is done in small steps: the table grows and shrinks a few buckets a command; a flush swaps
 * the table and its entries are freed a few a command and by kv_free_slice. KEYS goes on in pieces
 * while nothing is applied. Commands that name very many keys take as long as what they touch: of
 * 100,000 keys among a million DEL took 52 ms, MGET 49 ms, EXISTS 29 ms. They are bounded by the
 * size of a command; in pieces a write would need an apply that stops inside an entry. */
#ifndef KV_KV_H
#define KV_KV_H

#include "kelp/fsm.h"

struct kv;

#define KV_KEY_BYTES_MAX   (8u * 1024 * 1024) /* a command is not larger either */
#define KV_VALUE_BYTES_MAX (8u * 1024 * 1024) /* where APPEND stops */
#define KV_REPLY_BYTES_MAX                                                                         \
    (16u * 1024 * 1024)            /* so that an answer fits one frame between two nodes */
#define KV_OBJECT_BYTES_MAX 65536u /* one object of a snapshot */

extern const struct kelp_fsm_ops kv_fsm_ops;

/* kv_new - an empty state machine, to be closed with kv_fsm_ops.close; NULL: no memory. */
struct kv *kv_new(void);

/* kv_free_slice - free at most entries entries of tables that were flushed or replaced; true: some
 * are left. Meant for idle moments; commands do a little of it too. */
bool kv_free_slice(struct kv *kv, size_t entries);

/* kv_key_count - keys in the table now. */
uint64_t kv_key_count(const struct kv *kv);

/* kv_timed - keys that have a deadline, and how long they have on average, in milliseconds. */
struct kv_timed {
    uint64_t keys, ttl_ms;
};
struct kv_timed kv_timed(const struct kv *kv);

/* kv_memory_bytes - bytes that keys and values of the table take, without the allocator's own. */
uint64_t kv_memory_bytes(const struct kv *kv);

/* kv_failed - KELP_E_NO_MEMORY once a committed command could not be executed for want of memory.
 * From then on the state is frozen, since going on would make it differ from the other members';
 * the node is to be faulted. */
enum kelp_error kv_failed(const struct kv *kv);

#endif
