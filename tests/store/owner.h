/* SPDX-License-Identifier: Apache-2.0 */
/* owner.h - a random owner of a store on a fake disk, and a naive model of what it was promised.
 *
 * The owner saves, truncates, compacts, takes and installs snapshots, goes idle and does
 * housekeeping. `sure` is what was reported durable, `maybe` the same with the call under way.
 * After a crash the store must hold one of the two, whole. */
#ifndef TESTS_STORE_OWNER_H
#define TESTS_STORE_OWNER_H

#include "base/prng.h"
#include "store/store.h"
#include "tests/store/fakedisk.h"

#define ENTRIES_MAX 2048u

/* What a node that remembers everything would hold. */
struct model {
    uint64_t term, vote;
    struct kelp_pos base, snapshot; /* base: compaction or reset */
    kelp_index last, commit;
    struct {
        uint64_t term;
        size_t payload;
    } entries[ENTRIES_MAX]; /* by index; compacted ones stay */
};

struct world {
    struct fakedisk *disk;
    struct prng prng;
    struct store *store;
    struct model *sure, *maybe; /* reported durable; with the call under way */
    uint64_t number;
    uint64_t steps;
};

struct world *world_new(uint64_t seed); /* an empty disk; the caller opens w->store */
void world_free(struct world *w);
uint64_t world_below(struct world *w, uint64_t n);

/* world_term_one - save term 1, so that entries of it may be. */
void world_term_one(struct world *w);

/* world_step, world_batch - one random call, or one random batch of saves; in `maybe` alone. */
enum kelp_error world_step(struct world *w);
enum kelp_error world_batch(struct world *w);
void world_done(struct world *w); /* it was reported: `sure` is `maybe` */

/* world_run - up to steps steps; false: one failed, as it should when the disk died. */
bool world_run(struct world *w, uint64_t steps);
void world_stop(struct world *w); /* close the store */

/* world_reopen - open again and judge: the test fails unless everything reported is there, and of
 * the call under way all or nothing. The models then say what was found. */
void world_reopen(struct world *w);

/* world_differs - NULL: the store holds exactly the log of `wanted`; otherwise what differs. */
const char *world_differs(struct store *s, const struct model *wanted);

/* world_read_back - every entry the store holds is that of m, byte for byte. */
void world_read_back(struct store *s, const struct model *m);

#endif
