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
    uint64_t operations, syncs, failed_syncs, failed_writes, failed_reads, full;
    uint64_t sectors_kept, sectors_dropped, sectors_torn, names_undone;
    uint64_t rotten, lost, misdirected;
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
/* sim_disk_dies_at_sync - the node dies when it asks for its n-th sync from now: what it wrote
 * before is in the page cache only. 0: it does not. */
void sim_disk_dies_at_sync(struct sim_disk *d, uint64_t n);
/* sim_disk_dead - the node died: the budget was used up, or that sync came. */
bool sim_disk_dead(const struct sim_disk *d);

/* sim_disk_crash - the process or the power is gone: open files and locks are gone, the budget is
 * lifted. Files of the node must have been closed or forgotten. */
void sim_disk_crash(struct sim_disk *d, enum sim_disk_crash crash);

/* sim_disk_habits - what a power cut may do besides: fill torn sectors with anything; keep open
 * directory changes without regard to their order. */
void sim_disk_habits(struct sim_disk *d, bool garbled, bool names_loose);

/* sim_disk_room - how many bytes its files may have together from now on. */
void sim_disk_room(struct sim_disk *d, uint64_t capacity);
uint64_t sim_disk_used(const struct sim_disk *d);

/* ---- what a disk may do wrong: harm.c ---- */

enum sim_disk_failure { SIM_FAILS_KEEPING = 0, SIM_FAILS_GOING_BACK, SIM_FAILS_DROPPING };

/* sim_disk_fail_sync - the next sync of a file fails. None of its pages arrives; the page cache
 * keeps the new bytes and takes them for written, or goes back to the old ones, or does one or the
 * other page by page. */
void sim_disk_fail_sync(struct sim_disk *d, enum sim_disk_failure how);
/* The next write fails half-way; the next read fails; the next read that can comes from
 * elsewhere. */
void sim_disk_fail_write(struct sim_disk *d);
void sim_disk_fail_read(struct sim_disk *d);
void sim_disk_misread(struct sim_disk *d);
/* sim_disk_behave - whatever was to fail next will not. What was harmed stays so. */
void sim_disk_behave(struct sim_disk *d);

enum sim_disk_part { SIM_PART_LOG = 0, SIM_PART_SNAPSHOT, SIM_PART_VOTE, SIM_PART_IDENTITY };
#define SIM_PART_COUNT 4u

/* Where harm is done. The numbers are taken modulo what there is. mild: only where a node must not
 * mind: in one of two copies, or behind the end of what was written. Else anywhere but in what no
 * later write proves: that cannot be told from a torn tail by one node alone. */
struct sim_disk_aim {
    enum sim_disk_part part;
    bool mild;
    bool cached; /* the page cache hides it until the power is cut */
    uint32_t file, place, bit;
};

struct sim_disk_hit {
    char path[FILE_NAME_MAX];
    uint64_t offset;
};

/* sim_disk_rot - one bit of what the disk holds turns over. False: there is no such place. */
bool sim_disk_rot(struct sim_disk *d, const struct sim_disk_aim *aim, struct sim_disk_hit *hit);
/* sim_disk_lose - of two syncs that follow, the first one's bytes will turn out not to have arrived
 * (image_lose). hit: the file. */
bool sim_disk_lose(struct sim_disk *d, const struct sim_disk_aim *aim, struct sim_disk_hit *hit);
/* sim_disk_stray - as sim_disk_lose, and what was lost stands at another place instead. */
bool sim_disk_stray(struct sim_disk *d, const struct sim_disk_aim *from,
                    const struct sim_disk_aim *to, struct sim_disk_hit hits[2]);
/* sim_disk_cut_off - a log ends here: zeros from offset on, and no later files of its directory. A
 * repair that nobody should make (KELP_SIM_BREAK_ROT). */
void sim_disk_cut_off(struct sim_disk *d, const char *path, uint64_t offset);

/* sim_disk_lie - syncs of files whose path starts with prefix say OK and do nothing; NULL: no
 * more. */
void sim_disk_lie(struct sim_disk *d, const char *prefix);

void sim_disk_stats(const struct sim_disk *d, struct sim_disk_stats *out);

#endif
