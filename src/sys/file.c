/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - the file port on POSIX: the only code of Kelp that touches files.
 *
 * A disk is one directory, held open; every path is resolved below it with openat, and a symbolic
 * link as the last component is refused, so nobody can point a log file at something else. Calls
 * that a signal interrupts are repeated, short reads and writes are continued, and a gathered write
 * of more parts than the system takes at once is cut into several calls: nothing above relies on a
 * write being whole. A failed sync is reported once and never repeated here. Invariant: every error
 * leaves a filled fault with file, errno and offset.
 *
 * A write of whole blocks goes past the page cache if the file system lets it, through a second
 * descriptor and memory of its own that is aligned. What the log writes is read again by nobody
 * but a follower far behind; zeros ahead of use would stay in the cache as large folios, and on
 * Linux 6.18 with ext4 the later write and sync of one block each visit every block of its folio.
 * Measured there, one block into zeros, written and synced: 84 us and 26 us of processor time
 * through the cache, 65 and 15 past it. It costs copying the bytes once, as the cache does. Reads
 * and other writes may mix with it: the kernel keeps both views the same. */
#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/min.h"
#include "base/unset.h"

#define PARTS_AT_ONCE 1024 /* Linux's IOV_MAX */
#define BLOCK         4096u
#define STAGE_MAX     (64u * BLOCK) /* so much is written past the page cache at once */

struct file {
    int fd;
    int direct;     /* the same file past the page cache; -1: cannot be had */
    uint8_t *stage; /* owned: aligned memory for it, stage_room bytes */
    size_t stage_room;
    char name[FILE_NAME_MAX];
};

struct posix {
    int root;
    _Atomic int detour_errno; /* of the first detour */
    _Atomic uint64_t detours; /* writes past the page cache that failed, and went through it */
};

static enum kelp_error failed(struct kelp_fault *fault, const char *path, uint64_t offset,
                              const char *verb)
{
    int number = errno;
    enum kelp_error error = KELP_E_IO;
    if (number == ENOSPC || number == EDQUOT) error = KELP_E_NO_SPACE;
    if (number == ENOMEM) error = KELP_E_NO_MEMORY;
    if (number == ENOENT) error = KELP_E_NOT_FOUND;
    fault->os_error = number;
    fault->offset = offset;
    return fault_set(fault, error, path[0] != '\0' ? path : ".", "%s: %s", verb, strerror(number));
}

static int root_of(void *disk)
{
    const struct posix *p = disk;
    return p->root;
}

/* An empty path is the root itself, for calls that take a directory. */
static int open_dir(void *disk, const char *path)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    return openat(root_of(disk), path[0] != '\0' ? path : ".", flags);
}

static enum kelp_error wrap(int fd, const char *path, struct file **out, struct kelp_fault *fault)
{
    struct file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        (void)close(fd);
        return fault_set(fault, KELP_E_NO_MEMORY, path, "open: out of memory");
    }
    file->fd = fd;
    file->direct = -1;
    (void)snprintf(file->name, sizeof file->name, "%s", path);
    *out = file;
    return KELP_OK;
}

static void direct_close(struct file *file)
{
    if (file->direct >= 0) (void)close(file->direct);
    file->direct = -1;
    free(file->stage);
    file->stage = NULL;
    file->stage_room = 0;
}

/* Everything works without it. */
static void direct_open(void *disk, struct file *file)
{
    int flags = O_WRONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC;
    file->direct = openat(root_of(disk), file->name, flags);
    struct stat one, other;
    if (file->direct < 0) return;
    bool same = fstat(file->fd, &one) == 0 && fstat(file->direct, &other) == 0 &&
                one.st_dev == other.st_dev && one.st_ino == other.st_ino;
    if (!same) direct_close(file);
}

static enum kelp_error posix_open(void *disk, const char *path, enum file_mode mode,
                                  struct file **out, struct kelp_fault *fault)
{
    int flags = O_NOFOLLOW | O_CLOEXEC;
    switch (mode) {
    case FILE_READ: flags |= O_RDONLY; break;
    case FILE_WRITE: flags |= O_RDWR; break;
    case FILE_CREATE: flags |= O_RDWR | O_CREAT | O_EXCL; break;
    case FILE_CREATE_ANY: flags |= O_RDWR | O_CREAT; break;
    }
    int fd;
    do {
        fd = openat(root_of(disk), path, flags, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return failed(fault, path, 0, "open");
    enum kelp_error error = wrap(fd, path, out, fault);
    if (error == KELP_OK && mode != FILE_READ) direct_open(disk, *out);
    return error;
}

static void posix_close(void *disk, struct file *file)
{
    (void)disk;
    if (file == NULL) return;
    direct_close(file);
    (void)close(file->fd); /* what had to be durable was synced before */
    free(file);
}

static enum kelp_error posix_size(void *disk, struct file *file, uint64_t *out,
                                  struct kelp_fault *fault)
{
    (void)disk;
    struct stat st;
    if (fstat(file->fd, &st) != 0) return failed(fault, file->name, 0, "stat");
    *out = (uint64_t)st.st_size;
    return KELP_OK;
}

static enum kelp_error posix_read(void *disk, struct file *file, uint64_t offset, uint8_t *out,
                                  size_t len, size_t *got, struct kelp_fault *fault)
{
    (void)disk;
    *got = 0;
    while (*got < len) {
        ssize_t n = pread(file->fd, out + *got, len - *got, (off_t)(offset + *got));
        if (n == 0) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(fault, file->name, offset + *got, "read");
        *got += (size_t)n;
    }
    return KELP_OK;
}

static void posix_forget(void *disk, struct file *file)
{
    (void)disk;
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED); /* advice; may be passed over */
}

/* What is still to be written: from part on, of which skip bytes are. */
struct rest {
    const struct kelp_bytes *parts;
    size_t count, part, skip;
};

static void rest_advance(struct rest *rest, size_t bytes)
{
    while (bytes > 0) {
        size_t step = (size_t)min_u64(bytes, rest->parts[rest->part].len - rest->skip);
        bytes -= step;
        rest->skip += step;
        if (rest->skip == rest->parts[rest->part].len) rest->part++, rest->skip = 0;
    }
}

static uint64_t rest_bytes(const struct rest *rest)
{
    uint64_t bytes = 0;
    for (size_t i = rest->part; i < rest->count; i++)
        bytes += rest->parts[i].len;
    return bytes - rest->skip;
}

static bool stage_reserve(struct file *file, size_t bytes)
{
    if (bytes <= file->stage_room) return true;
    void *stage = aligned_alloc(BLOCK, bytes);
    if (stage == NULL) return false;
    free(file->stage);
    file->stage = stage;
    file->stage_room = bytes;
    return true;
}

/* The next bytes, which stay what is next. */
static void stage_fill(struct file *file, const struct rest *rest, size_t bytes)
{
    size_t part = rest->part, skip = rest->skip;
    for (size_t filled = 0; filled < bytes; part++, skip = 0) {
        size_t step = (size_t)min_u64(bytes - filled, rest->parts[part].len - skip);
        if (step > 0) memcpy(file->stage + filled, rest->parts[part].data + skip, step);
        filled += step;
    }
}

/* Parts that are whole aligned blocks already, as zeros are: they need no copy. */
static int vector_aligned(const struct rest *rest, struct iovec *vector, size_t *bytes)
{
    int used = 0;
    *bytes = 0;
    if (rest->skip != 0) return 0;
    for (size_t i = rest->part; i < rest->count && used < PARTS_AT_ONCE; i++) {
        uintptr_t at = (uintptr_t)rest->parts[i].data; /* iovec has no const */
        if (at % BLOCK != 0 || rest->parts[i].len % BLOCK != 0) break;
        vector[used++] = (struct iovec){.iov_base = (void *)at, .iov_len = rest->parts[i].len};
        *bytes += rest->parts[i].len;
    }
    return used;
}

static ssize_t direct_call(struct file *file, uint64_t offset, const struct rest *rest,
                           uint64_t left, size_t *bytes)
{
    UNSET struct iovec vector[PARTS_AT_ONCE];
    int used = vector_aligned(rest, vector, bytes);
    if (used > 0) return pwritev(file->direct, vector, used, (off_t)offset);
    *bytes = (size_t)min_u64(left, STAGE_MAX);
    if (!stage_reserve(file, *bytes)) return 0;
    stage_fill(file, rest, *bytes);
    return pwrite(file->direct, file->stage, *bytes, (off_t)offset);
}

/* A disk that begins to fail may do so here only: the page cache takes anything. A full one says so
 * there too, and a file system that has no such writes is none that fails. */
static void detour_note(struct posix *p, int number)
{
    if (number == EINVAL || number == ENOSPC || number == EDQUOT) return;
    int none = 0;
    (void)atomic_compare_exchange_strong(&p->detour_errno, &none, number);
    (void)atomic_fetch_add(&p->detours, 1); /* counted when it can be named */
}

/* Writes whole blocks until a call does not do as it was told; what is left then goes through the
 * page cache, which finds out for itself what is wrong. */
static void write_direct(struct posix *p, struct file *file, uint64_t *offset, struct rest *rest,
                         uint64_t left)
{
    while (left > 0) {
        size_t bytes;
        ssize_t n;
        do {
            n = direct_call(file, *offset, rest, left, &bytes);
        } while (n < 0 && errno == EINTR);
        if (n < 0) detour_note(p, errno);
        if (n < 0 && errno == EINVAL) direct_close(file); /* larger blocks, or not at all */
        if (n <= 0) return;
        rest_advance(rest, (size_t)n);
        *offset += (uint64_t)n;
        if ((size_t)n < bytes) return;
        left -= bytes;
    }
}

static enum kelp_error posix_write(void *disk, struct file *file, uint64_t offset,
                                   const struct kelp_bytes *parts, size_t count,
                                   struct kelp_fault *fault)
{
    struct rest rest = {.parts = parts, .count = count};
    uint64_t bytes = rest_bytes(&rest);
    if (file->direct >= 0 && offset % BLOCK == 0 && bytes % BLOCK == 0)
        write_direct(disk, file, &offset, &rest, bytes);
    while (rest.part < count) {
        UNSET struct iovec vector[PARTS_AT_ONCE];
        int used = 0;
        for (size_t i = rest.part; i < count && used < PARTS_AT_ONCE; i++) {
            size_t from = i == rest.part ? rest.skip : 0;
            if (parts[i].len == from) continue;
            uintptr_t at = (uintptr_t)(parts[i].data + from); /* iovec has no const */
            vector[used++] = (struct iovec){.iov_base = (void *)at, .iov_len = parts[i].len - from};
        }
        if (used == 0) break; /* only empty parts are left */
        ssize_t n = pwritev(file->fd, vector, used, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = EIO; /* never for a regular file; do not spin on it */
        if (n <= 0) return failed(fault, file->name, offset, "write");
        offset += (uint64_t)n;
        rest_advance(&rest, (size_t)n);
    }
    return KELP_OK;
}

static enum kelp_error posix_sync(void *disk, struct file *file, struct kelp_fault *fault)
{
    (void)disk;
    int done;
    do {
        done = fdatasync(file->fd);
    } while (done != 0 && errno == EINTR);
    return done == 0 ? KELP_OK : failed(fault, file->name, 0, "sync");
}

static enum kelp_error posix_truncate(void *disk, struct file *file, uint64_t size,
                                      struct kelp_fault *fault)
{
    (void)disk;
    int done;
    do {
        done = ftruncate(file->fd, (off_t)size);
    } while (done != 0 && errno == EINTR);
    return done == 0 ? KELP_OK : failed(fault, file->name, size, "truncate");
}

static enum kelp_error posix_rename(void *disk, const char *from, const char *to,
                                    struct kelp_fault *fault)
{
    int root = root_of(disk);
    return renameat(root, from, root, to) == 0 ? KELP_OK : failed(fault, from, 0, "rename");
}

static enum kelp_error posix_remove(void *disk, const char *path, struct kelp_fault *fault)
{
    return unlinkat(root_of(disk), path, 0) == 0 ? KELP_OK : failed(fault, path, 0, "remove");
}

static enum kelp_error posix_make_dir(void *disk, const char *path, struct kelp_fault *fault)
{
    if (path[0] == '\0') return KELP_OK; /* the root is there as long as the disk is open */
    if (mkdirat(root_of(disk), path, 0700) == 0 || errno == EEXIST) return KELP_OK;
    return failed(fault, path, 0, "make directory");
}

static enum kelp_error posix_sync_dir(void *disk, const char *path, struct kelp_fault *fault)
{
    int fd = open_dir(disk, path);
    if (fd < 0) return failed(fault, path, 0, "open directory");
    int done = fsync(fd); /* not interruptible in practice; a failure of any kind is final */
    enum kelp_error error = done == 0 ? KELP_OK : failed(fault, path, 0, "sync directory");
    (void)close(fd);
    return error;
}

static int by_name(const void *a, const void *b)
{
    const struct file_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* All names are collected before any is cut off, so that the first max are the first by name. */
static enum kelp_error collect(DIR *dir, const char *path, struct file_entry **all, size_t *count,
                               struct kelp_fault *fault)
{
    size_t room = 0;
    for (;;) {
        errno = 0;
        const struct dirent *row = readdir(dir);
        if (row == NULL && errno != 0) return failed(fault, path, 0, "list");
        if (row == NULL) return KELP_OK;
        if (strcmp(row->d_name, ".") == 0 || strcmp(row->d_name, "..") == 0) continue;
        if (strlen(row->d_name) >= FILE_NAME_MAX) continue; /* none of ours is that long */
        if (*count == room) {
            room = room == 0 ? 32 : room * 2;
            struct file_entry *grown = realloc(*all, room * sizeof **all);
            if (grown == NULL) return fault_set(fault, KELP_E_NO_MEMORY, path, "list");
            *all = grown;
        }
        struct stat st;
        if (fstatat(dirfd(dir), row->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT) continue; /* removed since; lists are taken by tools too */
            return failed(fault, path, 0, "stat");
        }
        struct file_entry *entry = &(*all)[(*count)++];
        *entry =
            (struct file_entry){.size = (uint64_t)st.st_size, .directory = S_ISDIR(st.st_mode)};
        memcpy(entry->name, row->d_name, strlen(row->d_name) + 1);
    }
}

static enum kelp_error posix_list(void *disk, const char *path, struct file_entry *out, size_t max,
                                  size_t *count, struct kelp_fault *fault)
{
    *count = 0;
    int fd = open_dir(disk, path);
    if (fd < 0) return failed(fault, path, 0, "open directory");
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        enum kelp_error error = failed(fault, path, 0, "open directory");
        (void)close(fd);
        return error;
    }
    struct file_entry *all = NULL;
    enum kelp_error error = collect(dir, path, &all, count, fault);
    if (error == KELP_OK && *count > 0) {
        qsort(all, *count, sizeof *all, by_name);
        memcpy(out, all, (size_t)min_u64(max, *count) * sizeof *out);
    }
    free(all);
    (void)closedir(dir); /* closes fd */
    return error;
}

/* The holder writes its process number into the file, for the message of whoever comes second. */
static enum kelp_error locked_by(const struct file *file, struct kelp_fault *fault)
{
    char text[24] = {0};
    ssize_t n = pread(file->fd, text, sizeof text - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    fault->os_error = EWOULDBLOCK;
    if (pid <= 0) return fault_set(fault, KELP_E_LOCKED, file->name, "another process holds it");
    return fault_set(fault, KELP_E_LOCKED, file->name, "process %ld holds it", pid);
}

static enum kelp_error posix_lock(void *disk, const char *path, struct file **out,
                                  struct kelp_fault *fault)
{
    struct file *file = NULL;
    enum kelp_error error = posix_open(disk, path, FILE_CREATE_ANY, &file, fault);
    if (error != KELP_OK) return error;
    int done;
    do {
        done = flock(file->fd, LOCK_EX | LOCK_NB);
    } while (done != 0 && errno == EINTR);
    char text[24];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    struct kelp_bytes line = {.data = (const uint8_t *)text, .len = (size_t)len};
    if (done != 0) {
        error = errno == EWOULDBLOCK ? locked_by(file, fault) : failed(fault, path, 0, "lock");
    } else {
        error = posix_truncate(disk, file, 0, fault);
        if (error == KELP_OK) error = posix_write(disk, file, 0, &line, 1, fault);
    }
    if (error != KELP_OK) {
        posix_close(disk, file);
        return error;
    }
    *out = file;
    return KELP_OK;
}

static enum kelp_error posix_space(void *disk, uint64_t *free_bytes, struct kelp_fault *fault)
{
    struct statvfs st;
    if (fstatvfs(root_of(disk), &st) != 0) return failed(fault, "", 0, "statvfs");
    *free_bytes = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize;
    return KELP_OK;
}

static const struct file_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .size = posix_size,
    .read = posix_read,
    .forget = posix_forget,
    .write = posix_write,
    .sync = posix_sync,
    .truncate = posix_truncate,
    .rename = posix_rename,
    .remove = posix_remove,
    .make_dir = posix_make_dir,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .lock = posix_lock,
    .space = posix_space,
};

/* Make one directory of the way to the root and make its name durable. One that is there may be in
 * the cache only, left by a process that was killed, so the last one is made durable at every
 * start. A parent that we may not read is somebody else's, and so is the directory's name. */
static enum kelp_error make_step(const char *path, bool last, struct kelp_fault *fault)
{
    bool there = mkdir(path, 0700) != 0;
    if (there && errno != EEXIST) return failed(fault, path, 0, "mkdir");
    if (there && !last) return KELP_OK;
    char parent[4096];
    int len = snprintf(parent, sizeof parent, "%s/..", path);
    if (len < 0 || (size_t)len >= sizeof parent) {
        errno = ENAMETOOLONG;
        return failed(fault, path, 0, "mkdir");
    }
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && there && errno == EACCES) return KELP_OK;
    if (fd < 0) return failed(fault, parent, 0, "open directory");
    enum kelp_error error = fsync(fd) == 0 ? KELP_OK : failed(fault, parent, 0, "sync directory");
    (void)close(fd);
    return error;
}

static enum kelp_error make_path(const char *root, struct kelp_fault *fault)
{
    char path[4096];
    size_t len = strlen(root);
    if (len == 0 || len >= sizeof path) {
        return fault_set(fault, KELP_E_ARGUMENT, root, "not a usable directory name");
    }
    memcpy(path, root, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (path[i] != '/' || path[i - 1] == '/') continue;
        path[i] = '\0';
        enum kelp_error error = make_step(path, false, fault);
        path[i] = '/';
        if (error != KELP_OK) return error;
    }
    return make_step(path, true, fault);
}

enum kelp_error posix_disk(const char *root, struct disk *out, struct kelp_fault *fault)
{
    enum kelp_error error = make_path(root, fault);
    if (error != KELP_OK) return error;
    struct posix *p = calloc(1, sizeof *p);
    if (p == NULL) return fault_set(fault, KELP_E_NO_MEMORY, root, "open: out of memory");
    p->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->root < 0) {
        error = failed(fault, root, 0, "open directory");
        free(p);
        return error;
    }
    *out = (struct disk){.ops = &posix_ops, .state = p};
    return KELP_OK;
}

unsigned posix_disk_mode(const struct disk *disk)
{
    const struct posix *p = disk->state;
    struct stat root;
    return fstat(p->root, &root) == 0 ? root.st_mode & 07777u : 0700u;
}

uint64_t posix_disk_detours(const struct disk *disk, int *os_error)
{
    struct posix *p = disk->state;
    uint64_t count = atomic_load(&p->detours);
    *os_error = atomic_load(&p->detour_errno); /* 0 for a moment after the first */
    return count;
}

void posix_disk_close(struct disk *disk)
{
    struct posix *p = disk->state;
    if (p == NULL) return;
    (void)close(p->root);
    free(p);
    *disk = (struct disk){.ops = NULL, .state = NULL};
}
