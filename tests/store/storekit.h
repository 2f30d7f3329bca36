/* SPDX-License-Identifier: Apache-2.0 */
/* storekit.h - what the tests of the store say again and again: open a store on a fake disk, append
 * entries whose bytes follow from their position, and a naive model of what must come back. */
#ifndef TESTS_STORE_STOREKIT_H
#define TESTS_STORE_STOREKIT_H

#include "store/store.h"
#include "tests/store/fakedisk.h"

#define KIT_NODE    1u
#define KIT_SEGMENT (8u * 4096) /* two blocks of heads, five of writes, one for the mark */

struct store_options kit_options(void);

/* kit_open - fails the test when the store does not open. */
struct store *kit_open(struct fakedisk *d);
/* kit_start - as kit_open; term 1 is saved, so that entries of it may be. */
struct store *kit_start(struct fakedisk *d);
/* kit_idle - housekeeping until there is no more. */
void kit_idle(struct store *s);
/* kit_try - the error of opening; the store is closed again if it opens. */
enum kelp_error kit_try(struct fakedisk *d, struct kelp_fault *fault);

/* kit_entry - the encoded entry at a position; same position, payload length: same bytes. Freed by
 * the caller. */
struct kelp_bytes kit_entry(struct kelp_pos pos, size_t payload);

/* One save each, which must succeed. Entries have 100 bytes of payload. number ascends by one a
 * save. */
void kit_append(struct store *s, uint64_t number, kelp_index first, kelp_index last, uint64_t term);
void kit_append_sized(struct store *s, uint64_t number, struct kelp_pos pos, size_t payload);
void kit_truncate(struct store *s, uint64_t number, struct kelp_pos end);
void kit_vote(struct store *s, uint64_t number, uint64_t term, kelp_id vote);
void kit_compact(struct store *s, uint64_t number, kelp_index keep);
void kit_snapshot(struct store *s, struct kelp_pos pos);
/* kit_head - the encoded head of a snapshot at pos. Freed by the caller. */
struct kelp_bytes kit_head(struct kelp_pos pos);

/* kit_expect - the log of s is base+1..last, all of term, with 100 bytes of payload. */
void kit_expect(struct store *s, kelp_index last, uint64_t term);
/* kit_read - the term of the entry read back at index, verified against kit_entry. */
uint64_t kit_read(struct store *s, kelp_index index, size_t payload);

#endif
