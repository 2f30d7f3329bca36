/* SPDX-License-Identifier: Apache-2.0 */
/* disk.h - a virtual disk behind the file port, which forgets what was not synced.
 *
 * Every file has two images: what the process sees (the page cache) and what a power cut leaves. A
 * write changes the first and marks its sectors; a sync copies the marked ones to the second. What
 * was done to a directory is durable once that directory is synced. A power cut keeps, drops or
 * tears each unsynced sector by itself, lets a grown file keep part of its growth as zeros, and
 * keeps some first part of the open directory changes. A killed process loses none of it, but
 * it stays unsynced and can be lost by the next power cut. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "base/prng.h"
#include "sys/file.h"

struct sim_disk;

enum sim_disk_crash { SIM_CRASH_PROCESS = 0, SIM_CRASH_POWER = 1 };

struct sim_disk_stats {
    uint64_t operations, syncs, failed_syncs;
    uint64_t sectors_kept, sectors_dropped, sectors_torn, names_undone;
};

/* sim_disk_new - an empty disk. seed: of what a power cut leaves. tear_bytes: what is written whole
 * or not at all is at most this, 512 or 4096. NULL: out of memory. */
struct sim_disk *sim_disk_new(uint64_t seed, uint64_t capacity, uint32_t tear_bytes);
void sim_disk_free(struct sim_disk *d);

/* sim_disk_port - the file port of this disk; valid as long as the disk. */
struct disk sim_disk_port(struct sim_disk *d);

/* sim_disk_budget - after so many more changing operations every call fails with KELP_E_IO: the
 * node died in the middle. UINT64_MAX: no limit. */
void sim_disk_budget(struct sim_disk *d, uint64_t operations);
/* sim_disk_dead - the budget was used up. */
bool sim_disk_dead(const struct sim_disk *d);

/* sim_disk_crash - the process or the power is gone: open files and locks are gone, the budget is
 * lifted. Files of the node must have been closed or forgotten. */
void sim_disk_crash(struct sim_disk *d, enum sim_disk_crash crash);

/* sim_disk_fail_sync - the next sync of a file fails: its pages are marked clean all the same, so
 * that only the first image is right. */
void sim_disk_fail_sync(struct sim_disk *d);
/* sim_disk_fail_sync_not - it will not fail after all. */
void sim_disk_fail_sync_not(struct sim_disk *d);

/* sim_disk_lie - syncs of files whose path starts with prefix say OK and do nothing; NULL: no
 * more. */
void sim_disk_lie(struct sim_disk *d, const char *prefix);

void sim_disk_stats(const struct sim_disk *d, struct sim_disk_stats *out);

#endif
