/* SPDX-License-Identifier: Apache-2.0 */
/* floor.h - the parts of the floor: batches, a file that is synced, and a front for clients.
 *
 * The floor does what no replicated log can do without, and nothing else: it collects operations
 * into batches, puts a checksum on each, sends a batch to the followers before it writes it itself,
 * and counts it when a majority has it on disk. There are no terms, no elections, no recovery and
 * no member that may fail. A batch is the same bytes in memory, on the wire and on disk:
 *
 *   batch   check u64 | number u64 | count u32 | bytes u32 (entries) | entries
 *   entry   bytes u32 | key_bytes u32 | key, value | XXH3-64 over what stands before it u64
 *   check   XXH3-64 over number, count, bytes and the entries' checksums
 *   ack     number u64: all up to here is synced */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "base/buf.h"
#include "bench/bench.h"

#define FLOOR_BLOCK       4096u
#define FLOOR_FILE_BYTES  (64u << 20)
#define FLOOR_BATCH_BYTES (4u << 20) /* a batch is closed when it has reached this */
#define FLOOR_BATCH_MAX   (FLOOR_BATCH_BYTES + (2u << 20))
#define FLOOR_BATCH_HEAD  24u
#define FLOOR_ENTRY_EXTRA 16u /* sizes and checksum */

/* ---- floor.c ------------------------------------------------------------------------------ */

struct floor_batch {
    struct buf bytes;
    uint64_t number, began_ns, sum; /* sum: of the entries' checksums so far */
    uint32_t count;
};

/* floor_entry - append one operation to a batch. key may be empty. */
void floor_entry(struct floor_batch *b, struct kelp_bytes key, struct kelp_bytes value);

/* What reading a batch yields, entry by entry. */
typedef void (*floor_entry_fn)(void *ctx, struct kelp_bytes key, struct kelp_bytes value);

/* floor_read - the batch at the head of data, every checksum looked at. *used is its size. KELP_OK,
 * KELP_E_MORE, or KELP_E_MALFORMED; fn may be NULL, and is called only when all is well. */
enum kelp_error floor_read(struct kelp_bytes data, uint64_t number, size_t *used, uint32_t *count,
                           floor_entry_fn fn, void *ctx);

/* ---- floor_file.c: the log file ----------------------------------------------------------- */

struct floor_file {
    int fd;
    uint64_t at;         /* where the next write goes */
    uint64_t lap_number; /* the batch at the beginning of the file */
    uint8_t *stage;      /* owned, aligned, stage_room bytes */
    size_t stage_room;
};

bool floor_file_open(struct floor_file *f, const char *dir); /* zeroed and synced */

/* floor_file_append - one write, on blocks of its own, and one sync; the bytes are whole batches
 * that begin with this number. */
bool floor_file_append(struct floor_file *f, struct kelp_bytes batches, uint64_t number);

/* floor_file_check - do the batches since the last wrap read back, up to this number? */
bool floor_file_check(const struct floor_file *f, uint64_t last);
void floor_file_close(struct floor_file *f);

/* ---- floor_front.c: RESP clients ---------------------------------------------------------- */

struct floor_front;

/* floor_front_open - listen, and watch through epoll; events of the front carry ids from
 * FLOOR_FRONT_EVENT up. */
#define FLOOR_FRONT_EVENT 1000u
struct floor_front *floor_front_open(int epoll, uint16_t port);
void floor_front_close(struct floor_front *f);

/* floor_front_event - look after one event; requests go into the batch, which has this number. */
void floor_front_event(struct floor_front *f, uint64_t event, struct floor_batch *batch);

/* floor_front_committed - answer what waited for batches up to number, flush every connection. */
void floor_front_committed(struct floor_front *f, uint64_t number);

/* floor_front_take - requests that were read while the batch before was full; true: this one is
 * full again. */
bool floor_front_take(struct floor_front *f, struct floor_batch *batch);

/* The keys and values, on every node. */
struct floor_keys;
struct floor_keys *floor_keys_open(void);
void floor_keys_close(struct floor_keys *k);
bool floor_keys_set(struct floor_keys *k, struct kelp_bytes key, struct kelp_bytes value);
bool floor_keys_find(const struct floor_keys *k, struct kelp_bytes key, struct kelp_bytes *value);
struct floor_keys *floor_front_keys(struct floor_front *f);

#endif
