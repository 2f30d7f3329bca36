/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - the file port: every call the store makes to an operating system, as a table of
 * functions.
 *
 * The POSIX implementation (file.c) is the only code of Kelp that touches files; the simulator
 * supplies a virtual disk behind the same table. All calls block and are made by one thread per
 * disk. Paths are NUL-terminated, relative to the disk's root directory, components separated by
 * '/'; names are chosen by the store and always short. Every call returns KELP_OK or an error with
 * *fault filled (file, errno, offset); fault is never NULL. A short write is completed or reported
 * as an error, EINTR is retried, a short read is completed up to the end of file. */
#ifndef SYS_FILE_H
#define SYS_FILE_H

#include "kelp/types.h"

#define FILE_NAME_MAX 96u /* of one path, final NUL included */

enum file_mode {
    FILE_READ = 0,       /* must exist, else KELP_E_NOT_FOUND */
    FILE_WRITE = 1,      /* likewise; read and write */
    FILE_CREATE = 2,     /* must not exist; created 0600; read and write */
    FILE_CREATE_ANY = 3, /* created if it does not exist; read and write */
};

struct file; /* an open file; one disk's implementation knows what it is */

struct file_entry {
    char name[FILE_NAME_MAX]; /* without directory */
    uint64_t size;
    bool directory;
};

struct file_ops {
    enum kelp_error (*open)(void *disk, const char *path, enum file_mode mode, struct file **out,
                            struct kelp_fault *fault);
    void (*close)(void *disk, struct file *file); /* NULL is fine; closes without syncing */
    enum kelp_error (*size)(void *disk, struct file *file, uint64_t *out, struct kelp_fault *fault);
    enum kelp_error (*read)(void *disk, struct file *file, uint64_t offset, uint8_t *out,
                            size_t len, size_t *got,
                            struct kelp_fault *fault); /* *got < len: end of file */
    /* What the page cache holds of the file and the disk has too is forgotten: the next read asks
     * the disk itself. A hint: it changes nothing, and an operating system may pass it over. */
    void (*forget)(void *disk, struct file *file);
    enum kelp_error (*write)(void *disk, struct file *file, uint64_t offset,
                             const struct kelp_bytes *parts, size_t count,
                             struct kelp_fault *fault); /* one gathered write */
    /* fdatasync */
    enum kelp_error (*sync)(void *disk, struct file *file, struct kelp_fault *fault);
    enum kelp_error (*truncate)(void *disk, struct file *file, uint64_t size,
                                struct kelp_fault *fault);
    enum kelp_error (*rename)(void *disk, const char *from, const char *to,
                              struct kelp_fault *fault); /* replaces `to` */
    enum kelp_error (*remove)(void *disk, const char *path,
                              struct kelp_fault *fault); /* KELP_E_NOT_FOUND if it is not there */
    /* 0700; fine if it is there; "" is the root */
    enum kelp_error (*make_dir)(void *disk, const char *path, struct kelp_fault *fault);
    /* "" is the root */
    enum kelp_error (*sync_dir)(void *disk, const char *path, struct kelp_fault *fault);
    /* Up to max entries of a directory, ascending by name, *count the number there are. */
    enum kelp_error (*list)(void *disk, const char *path, struct file_entry *out, size_t max,
                            size_t *count, struct kelp_fault *fault);
    /* Held until the file is closed. KELP_E_LOCKED names the holder if it can. */
    enum kelp_error (*lock)(void *disk, const char *path, struct file **out,
                            struct kelp_fault *fault);
    enum kelp_error (*space)(void *disk, uint64_t *free_bytes, struct kelp_fault *fault);
};

/* A disk: the table and what it works on. Passed by value. */
struct disk {
    const struct file_ops *ops;
    void *state;
};

/* posix_disk - files below a directory of the operating system. root is copied; made with its
 * parents, 0700. On success the caller owns *out until posix_disk_close. */
enum kelp_error posix_disk(const char *root, struct disk *out, struct kelp_fault *fault);
void posix_disk_close(struct disk *disk);

/* posix_disk_mode - who may do what in the root, as chmod has it: only new roots are made 0700. */
unsigned posix_disk_mode(const struct disk *disk);

/* posix_disk_detours - how many writes past the page cache failed and went through it instead, but
 * for want of room or because there are no such writes; any thread. *os_error: errno of the first.
 */
uint64_t posix_disk_detours(const struct disk *disk, int *os_error);

#endif
