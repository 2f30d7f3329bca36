/* SPDX-License-Identifier: Apache-2.0 */
/* room.h - what the files of the store share among themselves.
 *
 *   store.c     the object of store.h: opens in the right order, poisons itself after a failure
 *   probe.c     does this directory do what a log needs?
 *   twin.c      a small file of two checksummed copies: how vote and identity survive a cut
 *   vote.c      term, vote and start count        identity.c  whose directory this is
 *   segment.c   the bytes of a segment's head, of a write's head and of its records
 *   places.c    where each entry lies and which term it has, in memory
 *   wal.c       appends writes, takes segments into use, marks an idle log
 *   spares.c    housekeeping: recycles compacted segments, zeroes spares ahead of use
 *   readlog.c   verified reads
 *   recover.c   from the segments back to places: what is durable, torn or rotten
 *   snapfile.c  snapshot files            snapobjects.c  what stands behind their heads
 *   dump.c      any directory as text       ghost.c     a disk that is looked at and not changed
 *   renew.c     recovery by hand, without the quorum that was lost
 *   adopt.c     a snapshot of another member in place of the own ones, while no node runs
 *   memstore.c  the log port in memory    room.c      faults with a place, growing arrays, notes
 */
#ifndef STORE_ROOM_H
#define STORE_ROOM_H

#include "base/bytes.h"
#include "base/fault.h"
#include "store/store.h"
#include "wire/snapchunk.h"

#define STORE_BLOCK     4096u
#define STORE_INDEX_MAX (UINT64_C(1) << 62) /* beyond this no stored number is believed */

#define SEGMENT_DATA       (2u * STORE_BLOCK) /* the first write starts here */
#define SEGMENT_BLOCKS_MIN 4u                 /* two of heads, one of a write, one for the mark */

/* room_fault - as fault_set, with a file, an offset and an index. */
enum kelp_error room_fault(struct kelp_fault *fault, enum kelp_error error, const char *file,
                           uint64_t offset, kelp_index index, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* room_grow - make *data hold count items of size bytes; doubles. False: out of memory, nothing
 * changed. */
bool room_grow(void **data, size_t *room, size_t count, size_t size);

/* room_list - every entry of a directory, freed by the caller. A directory that is not there has
 * none. */
enum kelp_error room_list(struct disk disk, const char *path, struct file_entry **out,
                          size_t *count, struct kelp_fault *fault);

/* room_remove - remove a file that may be missing. */
enum kelp_error room_remove(struct disk disk, const char *path, struct kelp_fault *fault);

/* room_note - one line for people, if anybody listens. */
void room_note(const struct store_options *options, enum kelp_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline uint64_t
room_blocks(uint64_t bytes) /* rounded up to whole blocks; bytes is far below 2^63 */
{
    return (bytes + STORE_BLOCK - 1) / STORE_BLOCK * STORE_BLOCK;
}

/* ---- probe.c --------------------------------------------------------------------------------- */

/* KELP_E_NO_SPACE is only noted. */
enum kelp_error probe_directory(struct disk disk, const struct store_options *options,
                                struct kelp_fault *fault);

/* ---- twin.c ---------------------------------------------------------------------------------- */

#define TWIN_PAYLOAD_MAX 256u
#define TWIN_FILE_BYTES  (2u * STORE_BLOCK)

struct twin {
    struct disk disk;
    const char *name; /* static text, the file's path */
    uint32_t magic;
    struct file *file;
    uint64_t generation;
};

struct twin_copy {
    uint64_t generation;
    uint8_t payload[TWIN_PAYLOAD_MAX];
    size_t len;
    bool misplaced; /* whole, and in the place of the other one */
};

/* twin_create - make the file under a temporary name, both copies synced, then give it its name. */
enum kelp_error twin_create(struct disk disk, const char *name, uint32_t magic,
                            struct kelp_bytes payload, struct kelp_fault *fault);

/* twin_open - sync the file, then read it: the newer of two good copies. KELP_E_CORRUPT: none is
 * good. */
enum kelp_error twin_open(struct twin *t, struct disk disk, const char *name, uint32_t magic,
                          struct twin_copy *out, struct kelp_fault *fault);

/* twin_write - both copies, one after the other, a sync after each. */
enum kelp_error twin_write(struct twin *t, struct kelp_bytes payload, struct kelp_fault *fault);
void twin_close(struct twin *t);

void twin_encode(uint8_t out[STORE_BLOCK], uint32_t magic, unsigned slot, uint64_t generation,
                 struct kelp_bytes payload);
enum kelp_error twin_decode(struct kelp_bytes block, uint32_t magic, unsigned slot,
                            struct twin_copy *out);

/* ---- vote.c, identity.c ---------------------------------------------------------------------- */

#define VOTE_NAME      "vote"
#define VOTE_MAGIC     0x54564c4bu /* "KLVT" */
#define IDENTITY_NAME  "identity"
#define IDENTITY_MAGIC 0x44494c4bu /* "KLID" */

struct vote {
    kelp_id node; /* whose vote: a file that strayed here from another directory is refused */
    uint64_t incarnation;
    uint64_t start_count;
    kelp_term term;
    kelp_id vote;
    bool apart; /* no vote: what stands here is not the state of the others, as they all know */
};

#define VOTE_BYTES     56u
#define IDENTITY_BYTES 88u /* at most; 40 if the directory was never recovered */

struct kelp_bytes vote_encode(const struct vote *v, uint8_t out[VOTE_BYTES]);
enum kelp_error vote_decode(struct kelp_bytes in, struct vote *out, struct kelp_fault *fault);
struct kelp_bytes identity_encode(const struct store_identity *i, uint8_t out[IDENTITY_BYTES]);
enum kelp_error identity_decode(struct kelp_bytes in, struct store_identity *out,
                                struct kelp_fault *fault);

/* ---- segment.c ------------------------------------------------------------------------------- */

#define SEGMENT_WHOLE 1u /* the file has its full size, durably: a shorter one was cut */
#define SEGMENT_HOLES 2u /* it may have holes: not all of it was ever written */

struct segment_head {
    struct store_identity identity;
    uint64_t number;
    uint64_t salt;  /* 64 random bits, new at every use */
    uint64_t bytes; /* of the whole file when it is complete */
    uint32_t flags;
    uint64_t first_write;  /* number of the first write in this segment */
    uint64_t prev_content; /* content checksum of the write before it */
    uint64_t save_number;
    struct kelp_pos start; /* where the log ended when the segment was taken into use */
    kelp_index commit, everyone;
};

#define SEGMENT_HEAD_BYTES 152u

void segment_name(char out[FILE_NAME_MAX], uint64_t number); /* with "log/" */
void segment_encode(uint8_t out[STORE_BLOCK], const struct segment_head *h, unsigned copy);
enum kelp_error segment_decode(struct kelp_bytes block, unsigned copy, struct segment_head *out);

/* segment_read_head - either good copy of the head of an open file. *copies: how many are good
 * (bits). */
enum kelp_error segment_read_head(struct disk disk, struct file *file, const char *name,
                                  uint64_t number, struct segment_head *out, unsigned *copies,
                                  struct kelp_fault *fault);

enum write_flag {
    WRITE_CONTINUES = 1, /* an empty write at a segment's end: the next segment exists */
};

struct write_head {
    uint64_t number;
    uint64_t save_first, save_last; /* save_first above save_last: none */
    uint64_t bytes; /* head, records and entries; the rest of the last block is zeros */
    uint32_t record_count;
    uint32_t flags;
    uint64_t records;                   /* checksum of the records */
    uint64_t content;                   /* the same with the entries' checksums added to it */
    uint64_t prev_number, prev_content; /* of the write before */
    kelp_index commit, everyone;
    kelp_index prev_first;     /* the lowest index that the write before touched */
    struct kelp_pos prev_last; /* where the log ended after it */
};

#define WRITE_HEAD_BYTES 136u

/* write_seed - what every write's head in one segment is checksummed under; differs for every
 * place. */
uint64_t write_seed(uint64_t segment, uint64_t salt, uint64_t offset);
void write_head_encode(uint8_t out[WRITE_HEAD_BYTES], const struct write_head *h, uint64_t seed);
bool write_head_decode(struct kelp_bytes in, uint64_t seed, struct write_head *out);

enum record_type {
    RECORD_APPEND = 1,   /* entries first..last.index follow, bytes of them */
    RECORD_TRUNCATE = 2, /* the log ends at last */
    RECORD_RESET = 3,    /* the log is empty and starts after last */
};

struct record {
    uint32_t type;
    kelp_index first;     /* APPEND */
    struct kelp_pos last; /* APPEND: term not used */
    uint64_t bytes;       /* APPEND */
};

#define RECORD_BYTES 40u

void record_encode(uint8_t out[RECORD_BYTES], const struct record *r);
bool record_decode(const uint8_t in[RECORD_BYTES], struct record *out); /* false: makes no sense */

/* content_start, content_add - the content checksum of a write: its records, then each entry's own
 * checksum. */
uint64_t content_start(struct kelp_bytes records, uint64_t number);
uint64_t content_add(uint64_t content, uint64_t entry_checksum);

/* ---- places.c -------------------------------------------------------------------------------- */

/* Entries that lie back to back in one segment, from first up to the next extent's first. */
struct extent {
    kelp_index first;
    uint64_t segment;
    uint64_t offset, bytes; /* bytes may cover truncated entries at the end */
};

#define EXTENT_BYTES 65536u /* an extent this long is closed, so that a read never walks far */

struct places {
    struct kelp_pos base, last;
    struct kelp_run *runs;
    size_t run_count, run_room;
    struct extent *extents;
    size_t extent_count, extent_room;
    kelp_index *configs; /* of the configuration entries held, ascending */
    size_t config_count, config_room;
    bool closed; /* the last extent takes no more entries */
};

/* places_append - one entry behind the last. KELP_E_CORRUPT: index or term does not follow;
 * KELP_E_NO_MEMORY. */
enum kelp_error places_append(struct places *p, struct kelp_pos pos, uint8_t type, uint64_t segment,
                              uint64_t offset, uint64_t bytes);
/* places_truncate - the log ends at end; below the base it is empty there. KELP_E_CORRUPT: it
 * never held end. */
enum kelp_error places_truncate(struct places *p, struct kelp_pos end);
void places_reset(struct places *p, struct kelp_pos end);
void places_compact(struct places *p, kelp_index keep);          /* at most last + 1 */
kelp_term places_term(const struct places *p, kelp_index index); /* base.index..last.index */
const struct extent *places_find(const struct places *p, kelp_index index); /* above the base */
void places_free(struct places *p);

/* ---- wal.c ----------------------------------------------------------------------------------- */

struct wal_segment {
    uint64_t number, salt;
    uint64_t bytes;   /* its full size */
    uint64_t written; /* from here on nothing was ever written, the last block excepted */
    uint32_t flags;   /* as in its head */
};

struct spare {
    unsigned number;
    uint64_t written; /* of segment_bytes */
};

#define SPARES_ROOM 8u

/* What the next write's head says about the last one. */
struct written {
    uint64_t number, records, content;
    kelp_index first;
    struct kelp_pos last;
};

struct wal {
    struct disk disk;
    const struct store_options *options;
    const struct store_identity *identity;
    struct places places;
    struct wal_segment *segments; /* in use, oldest first; never empty once open */
    size_t segment_count, segment_room;
    struct spare spares[SPARES_ROOM];
    size_t spare_count;
    struct file *tail;      /* the last segment */
    uint64_t tail_offset;   /* the next write goes here */
    struct file *read_file; /* the segment read last, if it is not the tail */
    uint64_t read_number;
    struct written last;
    uint64_t save_number; /* the highest in the log */
    kelp_index commit, everyone;
    bool unproved; /* nothing behind the last write proves it */
    bool no_room;  /* the last try to make or fill a file failed for want of room */
    bool refused;  /* the last save found no room, and changed nothing */
    struct kelp_bytes *parts;
    size_t parts_room;
    struct record *records;
    size_t record_count, records_room;
    uint8_t *head; /* head and records of the write being made */
    size_t head_room;
    uint8_t *extent; /* what the last read brought */
    size_t extent_room;
    struct store_stats stats;
};

/* wal_create - log directory and segment 1, synced. */
enum kelp_error wal_create(struct wal *w, struct kelp_fault *fault);

/* wal_save - the log's part of a batch: one write and one sync. offset is added to the save
 * numbers. KELP_E_NO_SPACE with w->refused: nothing was changed, the same batch may come again. */
enum kelp_error wal_save(struct wal *w, const struct store_save_item *items, size_t count,
                         uint64_t offset, struct kelp_fault *fault);

/* wal_repeat - write bytes (records and entries) of an unproved write again behind itself, under
 * its number. */
enum kelp_error wal_repeat(struct wal *w, const struct write_head *h, struct kelp_bytes body,
                           struct kelp_fault *fault);

/* wal_apply - bring places up to date with a write: its records, encoded, and its entries in parts,
 * lying at offset. Every entry is verified. *out: what the next write's head will say about it. */
enum kelp_error wal_apply(struct wal *w, uint64_t number, struct kelp_bytes records,
                          const struct kelp_bytes *parts, size_t part_count, uint64_t offset,
                          uint64_t segment, struct written *out, struct kelp_fault *fault);

/* wal_zeros - write zeros from..to of a file, unsynced; KELP_E_NO_SPACE: some of them. */
enum kelp_error wal_zeros(struct wal *w, struct file *file, uint64_t from, uint64_t to,
                          struct kelp_fault *fault);

/* wal_whole - the tail has its full size and no holes: its head says so from now on. */
enum kelp_error wal_whole(struct wal *w, struct kelp_fault *fault);

/* wal_mark - put an empty, unsynced write behind the last one, if nothing proves it yet. */
enum kelp_error wal_mark(struct wal *w, struct kelp_fault *fault);
void wal_close(struct wal *w);

/* ---- spares.c -------------------------------------------------------------------------------- */

void spare_name(char out[FILE_NAME_MAX], unsigned number); /* with "log/" */
bool spare_parse(const char *name, unsigned *number);      /* without directory */
bool segment_parse(const char *name, uint64_t *number);    /* without directory */

/* spare_take - the spare that is best used now, removed from the list; false: there is none. */
bool spare_take(struct wal *w, struct spare *out);
unsigned spare_number_free(const struct wal *w);

/* wal_no_room, wal_has_room - a try failed for want of room, or did not: counted, told once. */
void wal_no_room(struct wal *w, const char *what);
void wal_has_room(struct wal *w);
void wal_space(struct wal *w, struct store_space *out);

/* spare_work - one piece of housekeeping. KELP_E_NO_SPACE is not reported: it is noted and tried
 * again later. */
enum kelp_error spare_work(struct wal *w, bool *more, struct kelp_fault *fault);
/* wal_let_go - segments that nothing is left of are removed, and spares: for a few blocks. */
enum kelp_error wal_let_go(struct wal *w, struct kelp_fault *fault);

/* ---- readlog.c ------------------------------------------------------------------------------- */

enum kelp_error wal_read(struct wal *w, kelp_index first, uint32_t entries_max, uint64_t bytes_max,
                         uint8_t **out, size_t *out_size, size_t *out_len, struct kelp_pos *before,
                         kelp_index *last, struct kelp_fault *fault);

/* ---- recover.c ------------------------------------------------------------------------------- */

struct recovered {
    uint64_t torn_bytes, rewritten_bytes;
};

/* wal_recover - scan the log; w->tail is open and ready for the next write afterwards. */
enum kelp_error wal_recover(struct wal *w, struct recovered *out, struct kelp_fault *fault);

/* log_holds_write - is there a valid head of a write in any numbered segment, or a segment that
 * cannot be judged? */
enum kelp_error log_holds_write(struct disk disk, bool *holds, struct kelp_fault *fault);

/* write_verify - judge records and entries behind a good head. body: h->bytes minus the head.
 * KELP_E_CORRUPT: damaged, fault->offset is within body, fault->index the entry at risk if
 * known. */
enum kelp_error write_verify(const struct write_head *h, struct kelp_bytes body,
                             struct kelp_fault *fault);

/* ---- snapfile.c ------------------------------------------------------------------------------ */

#define SNAP_TEMPORARY "snap/new.tmp"

struct snapfile {
    struct wire_snaphead head; /* pos 0@0: none; head.own lies in bytes */
    uint8_t *bytes;
    size_t len;
    char name[FILE_NAME_MAX];
};

/* snapfile_open - the newest snapshot that is good from beginning to end; *damaged is the newest
 * that is not, if that one ends above it, else 0@0. */
enum kelp_error snapfile_open(struct disk disk, const struct store_options *options,
                              const struct store_identity *identity, struct snapfile *out,
                              struct kelp_pos *damaged, struct kelp_fault *fault);
/* snapfile_remove_below - all that end before pos, which is good. */
enum kelp_error snapfile_remove_below(struct disk disk, struct kelp_pos pos,
                                      struct kelp_fault *fault);
enum kelp_error snapfile_write(struct disk disk, const struct store_options *options,
                               struct snapfile *current, struct kelp_pos pos,
                               struct kelp_bytes head, struct kelp_fault *fault);
enum kelp_error snapfile_read(struct disk disk, const char *name, uint8_t **out, size_t *out_size,
                              size_t *out_len, struct kelp_fault *fault);
bool snapfile_parse(const char *name, struct kelp_pos *pos); /* without directory */
void snapfile_name(char out[FILE_NAME_MAX], struct kelp_pos pos);
void snapfile_free(struct snapfile *s);
/* snapfile_list - what is there into the rows of out; those above the newest good one are damaged,
 * those below the one that was that at the start were not read. */
void snapfile_list(struct disk disk, struct kelp_pos newest, kelp_index opened,
                   struct store_stats *out);

/* snapobjects_walk - read and verify what stands behind the head, in order. give NULL: verify only,
 * and all damage is KELP_E_CORRUPT. */
enum kelp_error snapobjects_walk(struct disk disk, const struct snapfile *s, store_object_fn give,
                                 void *ctx, struct kelp_fault *fault);

#endif
