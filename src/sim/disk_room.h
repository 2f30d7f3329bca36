/* SPDX-License-Identifier: Apache-2.0 */
/* disk_room.h - the inside of the virtual disk; shared by disk.c and harm.c. */
#ifndef SIM_DISK_ROOM_H
#define SIM_DISK_ROOM_H

#include "sim/disk.h"
#include "sim/image.h"

#define DISK_PAGE 4096u

struct name {
    uint64_t hash; /* of path: most comparisons end there */
    char path[FILE_NAME_MAX];
    struct image *image; /* NULL: a directory */
};

enum change_kind { CHANGE_PUT, CHANGE_DROP, CHANGE_MOVE };

struct change {
    uint8_t kind;
    char path[FILE_NAME_MAX], to[FILE_NAME_MAX];
    struct image *image;
};

struct table {
    struct name *names;
    size_t count, room;
};

struct sim_disk {
    struct prng prng;
    uint64_t capacity, budget;
    uint64_t dies_at_sync; /* counted down; it dies when none is left; 0: at none */
    uint32_t tear_bytes;
    bool garbled, names_loose; /* what a power cut may do beyond tearing and keeping order */
    bool fail_sync, fail_write, fail_read, misread;
    enum image_failure failure;
    const char *lie;
    struct stray {
        struct image *from, *to; /* held; NULL: no write goes astray */
        bool log;                /* it goes into a log, whose last write is left alone */
        uint64_t begin, offset;  /* where it should have gone; where it goes */
    } stray;
    struct table seen, durable;
    struct change *changes;
    size_t change_count, change_room;
    struct file *open_files;
    struct image *images;
    uint64_t used; /* by all of them together; image.c keeps it */
    struct sim_disk_stats stats;
};

struct file {
    struct file *next;
    struct image *image;
    bool lies, lock;
    char path[FILE_NAME_MAX];
};

/* disk.c */
void disk_image_hold(struct image *image);
void disk_image_release(struct sim_disk *d, struct image *image);
struct name *disk_table_find(struct table *t, const char *path);

/* harm.c */
/* A read that the disk takes from another place: fills out like a read, false: not this one. */
bool disk_reads_elsewhere(const struct file *file, uint64_t offset, uint8_t *out, size_t len);
/* A file was synced: what it wrote before may turn out to have gone somewhere else. */
void disk_stray_lands(struct sim_disk *d, const struct image *image);
void disk_stray_ends(struct sim_disk *d);

#endif
