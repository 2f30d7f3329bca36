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
    uint64_t size, room; /* bytes from size to room are zero */
};

struct image {
    struct image *next;
    uint32_t references; /* the disk's: names, open files, open changes */
    struct image_side seen, durable;
    uint64_t *marks; /* one bit a sector */
    size_t mark_words;
    uint64_t first_marked, end_marked; /* sectors: no mark lies outside */
};

struct image_cut {
    uint64_t kept, dropped, torn;
};

struct image *image_new(void); /* NULL: out of memory */
void image_free(struct image *image);

bool image_write(struct image *image, uint64_t offset, struct kelp_bytes bytes); /* false: memory */
bool image_resize(struct image *image, uint64_t size);                           /* false: memory */
bool image_sync(struct image *image);                                            /* false: memory */

/* image_forget_marks - what differs now will never be written: a failed sync. */
void image_forget_marks(struct image *image);

/* image_power_cut - keep, drop or tear every marked unit; both sides are equal afterwards. */
struct image_cut image_power_cut(struct image *image, struct prng *prng, uint32_t tear_bytes);

#endif
