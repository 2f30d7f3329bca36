/* SPDX-License-Identifier: Apache-2.0 */
/* memstore.h - the log port of kelp/store.h kept in memory: for tests, benchmarks and examples.
 * Durable is what was saved and "synced" by memstore_sync; memstore_crash drops the rest. Same
 * calls, same order, same reports. */
#ifndef STORE_MEMSTORE_H
#define STORE_MEMSTORE_H

#include "kelp/store.h"

struct memstore;

extern const struct kelp_store_ops memstore_ops;

/* memstore_new - an empty store; done is copied. NULL: out of memory. */
struct memstore *memstore_new(const struct kelp_store_done *done);
void memstore_free(struct memstore *m);

/* memstore_run - perform what is queued and report it; returns how many things were reported. */
size_t memstore_run(struct memstore *m);

/* memstore_pieces - the pieces of a snapshot that is not durable yet, as they would lie in its
 * file: the room for its head, then what stands behind it. Empty if none were written or they were
 * dropped. */
struct kelp_bytes memstore_pieces(const struct memstore *m);

/* memstore_file - the durable snapshot: its head, then its chunks; empty: there is none. */
struct kelp_bytes memstore_file(const struct memstore *m, size_t *head_len);

/* memstore_crash - forget what was queued and not run. */
void memstore_crash(struct memstore *m);

/* memstore_boot - what a core starts from now; runs points into the store. The configuration
 * entries are the caller's business (config, config_before are left NULL). */
void memstore_boot(struct memstore *m, struct kelp_boot *out);

#endif
