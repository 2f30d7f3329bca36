/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - one node's data directory as a blocking object: identity, vote, log and snapshots.
 *
 * Everything here blocks and is called by one owner (whoever owns a node's log, or the simulator
 * through its virtual disk); the asynchronous port of kelp/store.h is put in front of it by the
 * node and by the simulator. All file access goes through struct disk. No clock, no randomness of
 * its own, no threads. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "kelp/store.h"
#include "sys/file.h"
#include "wire/config.h"
#include "wire/snapchunk.h"
#include "wire/snaphead.h"

#define STORE_LOG_VERSION 1u /* of a log segment; another one is refused */

struct store;

struct store_options {
    kelp_id node;              /* --id: must equal the one inside; 0: take the one inside (tools) */
    bool waits;                /* node 0: a new directory's node waits for its id: --id auto */
    bool recovers;             /* it goes on with a recovery that was cut short, or looks at one */
    uint64_t segment_bytes;    /* 64 MiB; a multiple of 4096, at least 4 blocks */
    uint32_t spares_max;       /* 4 */
    uint64_t zero_piece_bytes; /* 1 MiB: how much of a spare one store_idle_work call writes */
    /* 2: so many of the newest snapshots stay, and the log behind the oldest of them; 0: one */
    uint32_t snapshots_kept;
    uint64_t (*random)(void *ctx); /* 64 random bits: incarnation, segments */
    void *random_ctx;
    /* what the store notes while it works, one line for people (level: enum kelp_level); may be
     * NULL */
    void (*note)(void *ctx, int level, const char *line);
    void *note_ctx;
};

/* What a forced recovery of this directory did, or (unfinished) has yet to do: renew.c. */
struct store_recovery {
    uint64_t parent;      /* the epoch it came from */
    struct kelp_pos kept; /* where the log ended; 0@0: this directory was never recovered */
    kelp_term term;       /* of the entry behind it, which says who is a member now */
    uint64_t digest;      /* of that entry's bytes */
    bool unfinished;
};

struct store_identity {
    struct kelp_cluster_id cluster; /* zero until pledged */
    kelp_id node;                   /* from KELP_ID_WAITING on: it waits for one */
    uint64_t incarnation;
    uint64_t epoch; /* of the cluster: wire/epoch.h */
    struct store_recovery recovery;
};

/* What opening found. Belongs to the store until it is closed. */
struct store_found {
    struct store_identity identity;
    bool created;         /* the directory was new */
    bool has_entries;     /* an entry or a snapshot: Raft may start */
    uint64_t start_count; /* raised by this open */
    kelp_term term;
    kelp_id vote;
    bool apart; /* its state was found to be another than that of a majority: store_apart */
    struct kelp_pos base;
    kelp_index last;
    kelp_index commit; /* a floor: of the newest good write; at least the snapshot's index */
    kelp_index everyone;
    const struct kelp_run *runs; /* every run of base.index+1..last */
    size_t run_count;
    struct wire_config config;        /* newest configuration in log or snapshot; count 0: none */
    struct wire_config config_before; /* the one before it; count 0: none */
    struct wire_snaphead snapshot;    /* newest good snapshot head; pos 0@0: none */
    uint64_t snapshot_bytes;          /* of its file */
    uint64_t save_number; /* the highest in the log; the core's numbers go on from it: store_save */
    uint64_t torn_bytes;  /* cut from an unproved last write, 0: none */
    uint64_t rewritten_bytes; /* of an intact, unproved last write that was written again */
};

/* store_open - lock, probe, read or make identity and vote file, recover the log, raise the start
 * count. On KELP_OK the caller owns *out. Errors that a restart will not help (exit status 3):
 * KELP_E_CORRUPT (names file, offset, index), KELP_E_FOREIGN (another node id or cluster, names
 * both), KELP_E_LOCKED, KELP_E_WIPED, KELP_E_VERSION. */
enum kelp_error store_open(struct disk disk, const struct store_options *options,
                           struct store **out, struct kelp_fault *fault);

/* store_close - unlock and free; syncs nothing. NULL is fine. */
void store_close(struct store *s);

const struct store_found *store_found(const struct store *s);

/* store_failed - an error was final. */
bool store_failed(const struct store *s);

/* store_pledge - write the cluster id and the epoch it is in into the identity (both copies,
 * synced). Refuses to change one that is there. */
enum kelp_error store_pledge(struct store *s, struct kelp_cluster_id cluster, uint64_t epoch,
                             struct kelp_fault *fault);

/* store_name - the same, with the id given to a node that waits for one: all or nothing. Vote file
 * and segments learn it when they are written next; until then they show the name the node had. */
enum kelp_error store_name(struct store *s, kelp_id node, struct kelp_cluster_id cluster,
                           uint64_t epoch, struct kelp_fault *fault);

/* store_apart - note in the vote file that the state that snapshots and log make here is known to
 * be another than that of a majority, or (false) that it was replaced; durable when it returns. The
 * next start finds it. Cost: as a vote's, nothing where it says so already. */
enum kelp_error store_apart(struct store *s, bool apart, struct kelp_fault *fault);

/* store_renew - perform a forced recovery, or the rest of one that was cut short: epoch and
 * recovery into the identity as unfinished, a term and a vote for itself into the vote file, the
 * entry behind the log, then the identity as finished; each durable before the next. A start in
 * between is refused, unless it recovers. KELP_E_NO_SPACE: as store_save; the rest is yet to be
 * done. */
enum kelp_error store_renew(struct store *s, uint64_t epoch, const struct store_recovery *recovery,
                            struct kelp_bytes entry, struct kelp_fault *fault);

struct store_save_item {
    struct kelp_save save;
    const struct kelp_bytes *parts; /* encoded entries first..last, back to back; whole in a part */
    size_t part_count;
};

/* store_save - perform saves in order as one write and one sync (a newer term or vote first: both
 * copies of the vote file, a sync after each; a write larger than a segment gets one of its own
 * size; saves that touch no entry need none). When it returns KELP_OK all are durable.
 * KELP_E_NO_SPACE without store_failed: the log has no room for them and is as it was (a term and a
 * vote among them are durable); the same saves may be given again, and no others before them. Any
 * other error is final: the store refuses every later call. Save numbers given are the core's own,
 * counted from 1 at each start; on disk they follow those of the start before. Compaction takes
 * effect in memory at once, on disk a whole segment at a time in store_idle_work; it never goes
 * above the oldest snapshot that is kept, so the store may hold more than it was asked to keep. A
 * reset needs its snapshot to be stored before it; entries and truncations of saves before it,
 * which it makes void, are not written. */
enum kelp_error store_save(struct store *s, const struct store_save_item *items, size_t count,
                           struct kelp_fault *fault);

/* store_compact - a save's compaction alone, of a save that may still wait for room: what it lets
 * go is room. keep: as in a save, nothing below it is needed any more. */
void store_compact(struct store *s, kelp_index keep);

/* store_read - encoded entries from first on, as many as fit both limits but at least one; out is
 * grown with realloc, the caller owns it. *last < first when entries_max is 0. before: the position
 * in front of first. Every entry's checksum is verified. KELP_E_GONE: compacted; KELP_E_NOT_FOUND:
 * beyond the log; KELP_E_IO, KELP_E_CORRUPT: final. */
enum kelp_error store_read(struct store *s, kelp_index first, uint32_t entries_max,
                           uint64_t bytes_max, uint8_t **out, size_t *out_size, size_t *out_len,
                           struct kelp_pos *before, kelp_index *last, struct kelp_fault *fault);

/* store_snapshot - write a head to a temporary name, or in front of the objects that a snapwriter
 * put there, sync, rename, sync the directory, drop the oldest beyond those kept. The position of
 * the newest one again: nothing to do. KELP_E_ARGUMENT (not such a head, or older), KELP_E_NO_SPACE
 * and KELP_E_NO_MEMORY leave the store as it was; others are final. */
enum kelp_error store_snapshot(struct store *s, struct kelp_pos pos, struct kelp_bytes head,
                               struct kelp_fault *fault);

/* What a snapshot's objects are given to, in order; an error ends the reading and is its result. */
typedef enum kelp_error (*store_object_fn)(void *ctx, const struct wire_object *object,
                                           struct kelp_fault *fault);

/* store_forget - durable snapshots that end below pos are removed; the one at pos is good. What
 * cannot be removed is said. */
void store_forget(struct store *s, struct kelp_pos pos);

/* store_snapshot_objects - the objects of the newest good snapshot, verified. Nothing the disk says
 * is final here: a node that cannot read its snapshot does not start. */
enum kelp_error store_snapshot_objects(struct store *s, store_object_fn give, void *ctx,
                                       struct kelp_fault *fault);

/* snapwriter - the objects of the snapshot that is being taken, under its temporary name; zeroed
 * but for the disk. It may have another owner than the store, with a disk of its own for the same
 * directory. write: bytes at an offset of the file; the first one makes it anew, with the last one
 * all of it is durable. After an error nothing is open. drop: it is given up, its file goes. close:
 * nothing more is written, the next start removes it. */
struct snapwriter {
    struct disk disk;
    struct file *file;
    uint64_t unsynced;
};
enum kelp_error snapwriter_write(struct snapwriter *w, uint64_t offset, struct kelp_bytes bytes,
                                 bool last, struct kelp_fault *fault);
enum kelp_error snapwriter_drop(struct snapwriter *w, struct kelp_fault *fault);
void snapwriter_close(struct snapwriter *w);

/* snapreader - pieces of snapshots, for peers and to restore from; zeroed but for the disk. Like a
 * snapwriter it may have another owner than the store. It keeps the last files it read open, so
 * that one that a newer snapshot took the place of is still there for whoever is in the middle.
 * read: at offset 0 the head, else the whole chunk that begins there, into out, which has room for
 * WIRE_SNAPCHUNK_BYTES_MAX; *size: of the file. KELP_E_NOT_FOUND: it is not there, as nothing is at
 * 0@0, which closes all of them; KELP_E_ARGUMENT: nothing begins at offset, KELP_E_CORRUPT,
 * KELP_E_VERSION, KELP_E_IO. */
#define SNAPREADER_FILES 2u
struct snapreader {
    struct disk disk;
    struct {
        struct kelp_pos pos; /* 0@0: none is open */
        struct file *file;
        uint64_t head_len, size, used;
    } files[SNAPREADER_FILES];
    uint64_t uses;
};
enum kelp_error snapreader_read(struct snapreader *r, struct kelp_pos pos, uint64_t offset,
                                uint8_t *out, size_t *len, uint64_t *size,
                                struct kelp_fault *fault);
void snapreader_close(struct snapreader *r);

/* store_snapshot_read - the newest good head, encoded; out as in store_read. KELP_E_NOT_FOUND if
 * there is none. */
enum kelp_error store_snapshot_read(struct store *s, uint8_t **out, size_t *out_size,
                                    size_t *out_len, struct kelp_fault *fault);

/* store_mark_idle - the log goes idle: put an empty, unsynced write behind the last one, if it is
 * not proved yet. */
enum kelp_error store_mark_idle(struct store *s, struct kelp_fault *fault);

struct store_space {
    enum kelp_space level;
    uint64_t bytes; /* that the log may still grow by: what it has, and what is free */
};

/* store_space - how much room is there? Asks the disk; one that cannot say has room until a file
 * could not be made. */
void store_space(struct store *s, struct store_space *out);

/* store_idle_work - one piece of housekeeping: zero one piece of a spare, recycle or remove a
 * compacted segment. *more: there is more to do now. Never called between a request and its sync. A
 * lack of room is counted and noted, not reported: *more is false then, store_stats says that it is
 * short, and a later call tries again. */
enum kelp_error store_idle_work(struct store *s, bool *more, struct kelp_fault *fault);

struct store_snapshot_row {
    struct kelp_pos pos;
    uint64_t bytes;
    bool damaged; /* the start passed it over */
    bool unread;  /* the start found a newer good one and did not look at it */
};

#define STORE_SNAPSHOTS_MAX 16u /* of which one is told */

struct store_stats {
    uint64_t writes, syncs, bytes_written, entry_bytes, segments, spares, spares_ready;
    uint64_t log_bytes; /* of the segments in use */
    uint64_t no_room;   /* times that a file could not be made or filled, or a save was refused */
    bool short_of_room; /* the last such piece of work failed: it is to be tried again */
    uint32_t snapshot_count;
    struct store_snapshot_row snapshots[STORE_SNAPSHOTS_MAX]; /* newest first */
};
void store_stats(const struct store *s, struct store_stats *out);

/* store_files - of that, what a save may change; it is asked after every one. */
struct store_files {
    uint64_t segments, spares;
    bool short_of_room;
};
struct store_files store_files(const struct store *s);

/* store_snapshot_check - a snapshot's file, which may have any name below FILE_NAME_MAX: *head is
 * decoded into, and borrows from, *bytes, which the caller frees; whole: its objects are read too.
 * Never writes. KELP_E_CORRUPT, KELP_E_VERSION, KELP_E_NOT_FOUND, KELP_E_IO. */
enum kelp_error store_snapshot_check(struct disk disk, const char *name, bool whole,
                                     struct wire_snaphead *head, uint8_t **bytes,
                                     struct kelp_fault *fault);

/* store_snapshot_each - its objects in their order, each verified before it is given; an error of
 * give ends it and is its result. */
enum kelp_error store_snapshot_each(struct disk disk, const char *name, store_object_fn give,
                                    void *ctx, struct kelp_fault *fault);

/* ghost_disk - a disk that reads the one below and keeps to itself all that is written: whatever is
 * done through it leaves no trace. The one below is borrowed, and must stand still, until
 * ghost_disk_close. */
enum kelp_error ghost_disk(struct disk below, struct disk *out, struct kelp_fault *fault);
void ghost_disk_close(struct disk *disk);

/* store_dump - a data directory as text, one line a thing, however damaged; never writes, takes no
 * lock. print gets whole lines without newline. Returns KELP_OK when nothing was damaged, else
 * KELP_E_CORRUPT. */
enum kelp_error store_dump(struct disk disk, void (*print)(void *ctx, const char *line), void *ctx,
                           struct kelp_fault *fault);

#endif
