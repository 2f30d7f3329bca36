/* SPDX-License-Identifier: Apache-2.0 */
/* floor_file.c - a file written full of zeros once, then over and over again from its beginning.
 *
 * As Kelp's log does: a write begins on a block of its own, and it lies in space whose blocks are
 * allocated and written already, so that a sync has no metadata to store. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/floor.h"

#define ZEROS_BYTES (1u << 20)

static uint64_t padded(uint64_t bytes)
{
    return (bytes + FLOOR_BLOCK - 1) / FLOOR_BLOCK * FLOOR_BLOCK;
}

static bool write_whole(int fd, const struct iovec *parts, int count, uint64_t at)
{
    size_t wanted = 0;
    for (int i = 0; i < count; i++)
        wanted += parts[i].iov_len;
    ssize_t written;
    do
        written = pwritev(fd, parts, count, (off_t)at);
    while (written < 0 && errno == EINTR);
    if (written >= 0 && (size_t)written == wanted) return true;
    (void)fprintf(stderr, "bench-floor: a write of %zu bytes: %s\n", wanted,
                  written < 0 ? strerror(errno) : "short");
    return false;
}

bool floor_file_open(struct floor_file *f, const char *dir)
{
    char path[BENCH_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/log", dir);
    *f = (struct floor_file){.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    uint8_t *zeros = calloc(1, ZEROS_BYTES);
    bool good = f->fd >= 0 && zeros != NULL;
    struct iovec part = {.iov_base = zeros, .iov_len = ZEROS_BYTES};
    for (uint64_t at = 0; good && at < FLOOR_FILE_BYTES; at += ZEROS_BYTES)
        good = write_whole(f->fd, &part, 1, at);
    good = good && fsync(f->fd) == 0;
    if (!good) (void)fprintf(stderr, "bench-floor: %s: %s\n", path, strerror(errno));
    free(zeros);
    return good;
}

bool floor_file_append(struct floor_file *f, struct kelp_bytes batches, uint64_t number)
{
    static uint8_t zeros[FLOOR_BLOCK];
    uint64_t bytes = padded(batches.len);
    if (f->at + bytes > FLOOR_FILE_BYTES) f->at = 0;
    if (f->at == 0) f->lap_number = number;
    const struct iovec parts[] = {
        {.iov_base = (void *)(uintptr_t)batches.data, .iov_len = batches.len}, /* only read */
        {.iov_base = zeros, .iov_len = bytes - batches.len}};
    if (!write_whole(f->fd, parts, 2, f->at)) return false;
    f->at += bytes;
    if (fdatasync(f->fd) == 0) return true;
    (void)fprintf(stderr, "bench-floor: fdatasync: %s\n", strerror(errno));
    return false;
}

bool floor_file_check(const struct floor_file *f, uint64_t last)
{
    uint8_t *bytes = malloc(FLOOR_FILE_BYTES);
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
}
