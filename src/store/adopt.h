/* SPDX-License-Identifier: Apache-2.0 */
/* adopt.h - a directory that no node runs on is given a snapshot of another member in place of its
 * own.
 *
 * For a node whose state is not that of the others (docs/raft.md, "Comparing states"), or whose own
 * snapshots are damaged. adopt.c says what it may be and why nothing that was acknowledged is lost.
 */
#ifndef STORE_ADOPT_H
#define STORE_ADOPT_H

#include "store/store.h"

#define ADOPT_WHY_MAX 160u

/* What a directory holds, and what it would with the other snapshot. */
struct adopt_report {
    struct store_identity found;
    struct kelp_pos base, last; /* of the log as it is */
    struct kelp_pos own;        /* the newest of its own that is whole; 0@0: none is */
    uint64_t own_hash;
    kelp_term term;
    bool opens; /* as it is; if not: why. Then only `found` of what stands above is known */
    char why[ADOPT_WHY_MAX];

    struct kelp_pos pos; /* of the one that it is given */
    uint64_t hash;
    kelp_index behind; /* so many entries of its own log stay and are applied behind that one */
    uint32_t removed;  /* so many of its own snapshots are gone */
};

/* adopt_look - what the directory holds. Writes as a start does: through a ghost disk. A damaged
 * one is no error here but for its identity. KELP_E_NOT_FOUND: no data directory; KELP_E_WIPED: it
 * holds nothing of a cluster, or a witness's positions; else as store_open. */
enum kelp_error adopt_look(struct disk ghost, const struct store_options *options,
                           struct adopt_report *out, struct kelp_fault *fault);

/* adopt_judge - may it be given a snapshot with that head? For what the head and the look tell; the
 * rest is found before anything is changed. KELP_E_ARGUMENT, KELP_E_FOREIGN: why not. */
enum kelp_error adopt_judge(const struct adopt_report *r, const struct wire_snaphead *head,
                            struct kelp_fault *fault);

/* The directory, locked as by a node that runs. Zeroed before adopt_begin. */
struct adopt {
    struct disk disk;
    struct file *lock;
};
enum kelp_error adopt_begin(struct adopt *a, struct disk disk, struct kelp_fault *fault);
void adopt_end(struct adopt *a);

/* adopt_copy - the bytes of a file, which may be anywhere, into the directory, synced, under a name
 * that a start removes. */
enum kelp_error adopt_copy(struct adopt *a, struct disk from, const char *name,
                           struct kelp_fault *fault);

/* adopt_bring - the same with a file that lies, whole and synced, under ADOPT_NAME in it. */
#define ADOPT_NAME "snap/new"
enum kelp_error adopt_bring(struct adopt *a, struct kelp_fault *fault);

/* adopt_run - what was brought takes the place of all snapshots of the directory: after
 * KELP_OK that is durable. Before, the directory is as it was, unless an error of the disk comes
 * between the last two steps: then a start finds the newest of both, and the same again goes on.
 * On any other error what was brought is removed. KELP_E_CORRUPT: the snapshot is damaged, or
 * the directory would not open with it; KELP_E_ARGUMENT, KELP_E_FOREIGN: it is not one for it. */
enum kelp_error adopt_run(struct adopt *a, const struct store_options *options,
                          struct adopt_report *out, struct kelp_fault *fault);

#endif
