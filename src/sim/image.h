/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - the bytes of one simulated file: as the process sees them, and as a power cut leaves
 * them, with a mark on every sector in which the two may differ. */
#ifndef SIM_IMAGE_H
#define SIM_IMAGE_H

#include "base/prng.h"
#include "kelp/types.h"

#define IMAGE_SECTOR 512u

struct image_side {
    uint8_t *data;
    uint64_t size, room;
    uint64_t held; /* bytes in data, at most size; those from here to size are zeros */
};

struct image {
    struct image *next;
    uint32_t references; /* the disk's: names, open files, open changes */
    struct image_side seen, durable;
    bool apart;      /* they may differ unmarked: a failed sync, rot, a lost write, a hole */
    uint64_t *used;  /* the disk's: the sum of what its files are seen to have */
    uint64_t *marks; /* one bit a sector */
    size_t mark_words;
    uint64_t first_marked, end_marked; /* sectors: no mark lies outside */
    /* What the last sync copied, in bytes: nothing proves yet that it was ever there. A stream is
     * written from front to back: only what goes on behind its end proves that, neither zeros for
     * later nor a new head. */
    uint64_t fresh_begin, fresh_end;
    bool stream;
    struct image_loss {
        bool wanted;
        uint64_t begin, end; /* of what will turn out to be lost; 0, 0: nothing yet */
        uint8_t *old;        /* owned: what the disk held there */
    } loss;
};

struct image_cut {
    uint64_t kept, dropped, torn;
};

/* used: where the sizes of one disk's images are added up. NULL: out of memory */
struct image *image_new(uint64_t *used);
void image_free(struct image *image);

bool image_write(struct image *image, uint64_t offset, struct kelp_bytes bytes); /* false: memory */
bool image_resize(struct image *image, uint64_t size);                           /* false: memory */
bool image_sync(struct image *image);                                            /* false: memory */

/* What a side has at a place; zeros behind its end. */
uint8_t image_side_byte(const struct image_side *side, uint64_t at);
void image_side_read(const struct image_side *side, uint64_t offset, uint8_t *out, size_t len);

/* image_begins - the file has a new use, as a stream or not; what was in it proves nothing. */
void image_begins(struct image *image, bool stream);

/* image_forget_marks - what differs now will never be written: a failed sync. */
void image_forget_marks(struct image *image);

/* image_forget_cache - what does not wait to be written is seen as the disk has it. */
void image_forget_cache(struct image *image);

/* What a failed sync leaves in the page cache: the new bytes, marked clean; the old ones; or for
 * each page by itself one or the other. In no case are they on the disk. */
enum image_failure { IMAGE_KEEPS = 0, IMAGE_GOES_BACK, IMAGE_DROPS, IMAGE_FAILURES };
void image_sync_fails(struct image *image, enum image_failure how, struct prng *prng);

/* image_lose - what the next sync writes will turn out not to have arrived, once a later sync of
 * the same file wrote something else: the disk said OK for both. Until then nothing could prove the
 * loss. Calls it off for `wanted` false. */
void image_lose(struct image *image, bool wanted);

/* image_harm - the disk's bytes at offset become others; the page cache's too, unless `cached` or
 * they wait to be written. What lies behind the end of the file is left out. */
void image_harm(struct image *image, uint64_t offset, struct kelp_bytes bytes, bool cached);

/* image_open_at - do these bytes wait to be written, or were they in the last sync? */
bool image_open_at(const struct image *image, uint64_t offset, uint64_t len);

/* image_power_cut - keep, drop or tear every marked unit; both sides are equal afterwards. Garbled:
 * a unit that is torn may hold anything. */
struct image_cut image_power_cut(struct image *image, struct prng *prng, uint32_t tear_bytes,
                                 bool garbled);

#endif
