/* SPDX-License-Identifier: Apache-2.0 */
/* counts.c - a library to be preloaded that counts what a process asks of the system.
 *
 *     KELP_COUNTS=DIR LD_PRELOAD=libcounts.so PROGRAM ...
 *
 * Counts do not depend on the machine as times do, so a test may fail on them. Calls made through
 * libc are seen, which are all of ours and of libuv's; each does what libc's would, by the bare
 * system call. The counts lie in DIR/PID, a mapped file of one 64-bit number each in the order of
 * the enum, so that they can be read at any moment without asking the process; what it forks counts
 * into the same. Wake-ups are writes
 * to an eventfd, which is how libuv wakes a loop. libc's own futex calls pass by no name that could
 * be taken; what stands for them is how often a condition is signalled and how often a thread lies
 * down to wait for one. Copies are what memcpy and memmove were called for; those that the compiler
 * made into moves of a few registers are not in it. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum count {
    SYNCS,
    FILE_WRITES,
    SOCKET_WRITES,
    READS,
    POLLS,
    WAKES,
    SIGNALS,
    SLEEPS,
    ALLOCATIONS,
    COPIED_BYTES,
    COUNTS,
};

static const char *const names[COUNTS] = {
    [SYNCS] = "syncs",
    [FILE_WRITES] = "file_writes",
    [SOCKET_WRITES] = "socket_writes",
    [READS] = "reads",
    [POLLS] = "polls",
    [WAKES] = "wakes",
    [SIGNALS] = "signals",
    [SLEEPS] = "sleeps",
    [ALLOCATIONS] = "allocations",
    [COPIED_BYTES] = "copied_bytes",
};

#define WAKE_FDS_MAX 1024

static _Atomic uint64_t before_start[COUNTS]; /* what is counted until the file is there */
static _Atomic uint64_t *counts = before_start;
static atomic_bool wakes[WAKE_FDS_MAX]; /* is this descriptor an eventfd? */

static void add(enum count which, uint64_t by)
{
    atomic_fetch_add_explicit(&counts[which], by, memory_order_relaxed);
}

/* For a program that looks at what it and the processes it forked have done so far: a bench finds
 * it by its name. */
size_t counts_look(const char *const **name, uint64_t *out, size_t room);

size_t counts_look(const char *const **name, uint64_t *out, size_t room)
{
    *name = names;
    for (size_t i = 0; i < COUNTS && i < room; i++)
        out[i] = atomic_load(&counts[i]);
    return COUNTS;
}

__attribute__((constructor)) static void open_file(void)
{
    char path[4096];
    const char *folder = getenv("KELP_COUNTS");
    if (folder == NULL) return;
    (void)snprintf(path, sizeof path, "%s/%ld", folder, (long)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t bytes = COUNTS * sizeof counts[0];
    void *at = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
        at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) (void)close(fd);
    if (at == MAP_FAILED)
        perror(path); /* no file: whoever reads it will say so */
    else
        counts = at;
}

/* ---- files and sockets -------------------------------------------------------------------- */

int fsync(int fd)
{
    add(SYNCS, 1);
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    add(SYNCS, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    add(FILE_WRITES, 1);
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    add(FILE_WRITES, 1);
    return syscall(SYS_pwritev, fd, parts, (long)count, (long)at, 0L);
}

/* The names that programs with large offsets asked for on narrow machines call on all of them. */
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    return pwrite(fd, bytes, len, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    return pwritev(fd, parts, count, at);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    bool wake = fd >= 0 && fd < WAKE_FDS_MAX && atomic_load(&wakes[fd]);
    add(wake ? WAKES : SOCKET_WRITES, 1);
    return syscall(SYS_write, fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    add(SOCKET_WRITES, 1);
    return syscall(SYS_writev, fd, parts, (long)count);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    add(SOCKET_WRITES, 1);
    return syscall(SYS_sendto, fd, bytes, len, (long)flags, NULL, 0L);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    add(SOCKET_WRITES, 1);
    return syscall(SYS_sendmsg, fd, message, (long)flags);
}

ssize_t read(int fd, void *out, size_t len)
{
    add(READS, 1);
    return syscall(SYS_read, fd, out, len);
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    add(READS, 1);
    return syscall(SYS_readv, fd, parts, (long)count);
}

ssize_t recv(int fd, void *out, size_t len, int flags)
{
    add(READS, 1);
    return syscall(SYS_recvfrom, fd, out, len, (long)flags, NULL, NULL);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    add(READS, 1);
    return syscall(SYS_recvmsg, fd, message, (long)flags);
}

/* ---- waiting and waking ------------------------------------------------------------------- */

#define KERNEL_SIGSET_BYTES 8L

int epoll_pwait(int fd, struct epoll_event *out, int max, int timeout_ms, const sigset_t *mask)
{
    add(POLLS, 1);
    return (int)syscall(SYS_epoll_pwait, fd, out, (long)max, (long)timeout_ms, mask,
                        KERNEL_SIGSET_BYTES);
}

int epoll_wait(int fd, struct epoll_event *out, int max, int timeout_ms)
{
    return epoll_pwait(fd, out, max, timeout_ms, NULL);
}

int eventfd(unsigned value, int flags)
{
    int fd = (int)syscall(SYS_eventfd2, value, (long)flags);
    if (fd >= 0 && fd < WAKE_FDS_MAX) atomic_store(&wakes[fd], true);
    return fd;
}

int close(int fd)
{
    if (fd >= 0 && fd < WAKE_FDS_MAX) atomic_store(&wakes[fd], false);
    return (int)syscall(SYS_close, fd);
}

/* ---- conditions --------------------------------------------------------------------------- */

/* libc's own; there is an older kind under the same name, for programs of long ago. */
static void *original(_Atomic(void *) *known, const char *name)
{
    void *at = atomic_load(known);
    if (at != NULL) return at;
    at = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2"); /* on machines that ever had two */
    if (at == NULL) at = dlsym(RTLD_NEXT, name);
    if (at == NULL) abort();
    atomic_store(known, at);
    return at;
}

int pthread_cond_signal(pthread_cond_t *condition)
{
    static _Atomic(void *) known;
    int (*real)(pthread_cond_t *);
    *(void **)&real = original(&known, "pthread_cond_signal");
    add(SIGNALS, 1);
    return real(condition);
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
    static _Atomic(void *) known;
    int (*real)(pthread_cond_t *);
    *(void **)&real = original(&known, "pthread_cond_broadcast");
    add(SIGNALS, 1);
    return real(condition);
}

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    static _Atomic(void *) known;
    int (*real)(pthread_cond_t *, pthread_mutex_t *);
    *(void **)&real = original(&known, "pthread_cond_wait");
    add(SLEEPS, 1);
    return real(condition, lock);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *lock,
                           const struct timespec *until)
{
    static _Atomic(void *) known;
    int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    *(void **)&real = original(&known, "pthread_cond_timedwait");
    add(SLEEPS, 1);
    return real(condition, lock, until);
}

/* ---- memory ------------------------------------------------------------------------------- */

/* glibc's own, under the names it keeps for this purpose. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

void *malloc(size_t bytes)
{
    add(ALLOCATIONS, 1);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    add(ALLOCATIONS, 1);
    return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    add(ALLOCATIONS, 1);
    return __libc_realloc(old, bytes);
}

/* Byte by byte and volatile, so that no compiler makes a call of memmove out of it. */
void *memmove(void *to, const void *from, size_t len)
{
    volatile uint8_t *out = to;
    const volatile uint8_t *in = from;
    add(COPIED_BYTES, len);
    if ((uintptr_t)to <= (uintptr_t)from) {
        for (size_t i = 0; i < len; i++)
            out[i] = in[i];
    } else {
        for (size_t i = len; i > 0; i--)
            out[i - 1] = in[i - 1];
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
    return memmove(to, from, len);
}

/* What fortified code calls; the check has been made where the size was known to the compiler, and
 * is made here for the rest. */
void *__memmove_chk(void *to, const void *from, size_t len, size_t room);
void *__memcpy_chk(void *restrict to, const void *restrict from, size_t len, size_t room);
ssize_t __read_chk(int fd, void *out, size_t len, size_t room);
ssize_t __recv_chk(int fd, void *out, size_t len, size_t room, int flags);

void *__memmove_chk(void *to, const void *from, size_t len, size_t room)
{
    if (len > room) abort();
    return memmove(to, from, len);
}

void *__memcpy_chk(void *restrict to, const void *restrict from, size_t len, size_t room)
{
    if (len > room) abort();
    return memmove(to, from, len);
}

ssize_t __read_chk(int fd, void *out, size_t len, size_t room)
{
    if (len > room) abort();
    return read(fd, out, len);
}

ssize_t __recv_chk(int fd, void *out, size_t len, size_t room, int flags)
{
    if (len > room) abort();
    return recv(fd, out, len, flags);
}
