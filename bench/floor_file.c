/* SPDX-License-Identifier: Apache-2.0 */
/* floor_file.c - a file written full of zeros once, then over and over again from its beginning.
 *
 * As Kelp's log does: a write begins on a block of its own, and it lies in space whose blocks are
 * allocated and written already, so that a sync has no metadata to store. And past the page cache,
 * from aligned memory, where the file system lets it: that is the cheaper way (src/sys/file.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/floor.h"

#define ZEROS_BYTES (1u << 20)

static uint64_t padded(uint64_t bytes)
{
    return (bytes + FLOOR_BLOCK - 1) / FLOOR_BLOCK * FLOOR_BLOCK;
}

static bool write_whole(int fd, const uint8_t *bytes, size_t wanted, uint64_t at)
{
    ssize_t written;
    do
        written = pwrite(fd, bytes, wanted, (off_t)at);
    while (written < 0 && errno == EINTR);
    if (written >= 0 && (size_t)written == wanted) return true;
    (void)fprintf(stderr, "bench-floor: a write of %zu bytes: %s\n", wanted,
                  written < 0 ? strerror(errno) : "short");
    return false;
}

static bool stage_reserve(struct floor_file *f, size_t bytes)
{
    if (bytes <= f->stage_room) return true;
    free(f->stage);
    f->stage = aligned_alloc(FLOOR_BLOCK, bytes);
    f->stage_room = f->stage != NULL ? bytes : 0;
    return f->stage != NULL;
}

bool floor_file_open(struct floor_file *f, const char *dir)
{
    char path[BENCH_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/log", dir);
    int flags = O_RDWR | O_CREAT | O_CLOEXEC;
    *f = (struct floor_file){.fd = open(path, flags | O_EXCL | O_DIRECT, 0600)};
    if (f->fd < 0 && errno == EINVAL) f->fd = open(path, flags, 0600); /* not on this one */
    bool good = f->fd >= 0 && stage_reserve(f, ZEROS_BYTES);
    if (good) memset(f->stage, 0, ZEROS_BYTES);
    for (uint64_t at = 0; good && at < FLOOR_FILE_BYTES; at += ZEROS_BYTES)
        good = write_whole(f->fd, f->stage, ZEROS_BYTES, at);
    good = good && fsync(f->fd) == 0;
    if (!good) (void)fprintf(stderr, "bench-floor: %s: %s\n", path, strerror(errno));
    return good;
}

bool floor_file_append(struct floor_file *f, struct kelp_bytes batches, uint64_t number)
{
    uint64_t bytes = padded(batches.len);
    if (f->at + bytes > FLOOR_FILE_BYTES) f->at = 0;
    if (f->at == 0) f->lap_number = number;
    if (!stage_reserve(f, bytes)) {
        (void)fprintf(stderr, "bench-floor: out of memory\n");
        return false;
    }
    memcpy(f->stage, batches.data, batches.len);
    memset(f->stage + batches.len, 0, bytes - batches.len);
    if (!write_whole(f->fd, f->stage, bytes, f->at)) return false;
    f->at += bytes;
    if (fdatasync(f->fd) == 0) return true;
    (void)fprintf(stderr, "bench-floor: fdatasync: %s\n", strerror(errno));
    return false;
}

bool floor_file_check(const struct floor_file *f, uint64_t last)
{
    uint8_t *bytes = aligned_alloc(FLOOR_BLOCK, FLOOR_FILE_BYTES);
    ssize_t got = bytes != NULL ? pread(f->fd, bytes, FLOOR_FILE_BYTES, 0) : -1;
    uint64_t number = f->lap_number, at = 0;
    bool good = got == (ssize_t)FLOOR_FILE_BYTES;
    while (good && number <= last && at < f->at) {
        size_t used = 0;
        uint32_t count;
        enum kelp_error error = floor_read(bytes_of(bytes + at, (size_t)(f->at - at)), number,
                                           &used, &count, NULL, NULL);
        if (error == KELP_OK) {
            at += used;
            number++;
        } else {
            good = at != padded(at); /* else: the padding at the end of a write */
            at = padded(at);
        }
    }
    free(bytes);
    return good && number == last + 1;
}

void floor_file_close(struct floor_file *f)
{
    if (f->fd >= 0) (void)close(f->fd);
    f->fd = -1;
    free(f->stage);
    f->stage = NULL;
}
