/* SPDX-License-Identifier: Apache-2.0 */
/* hold_sync.c - a disk that hangs, for test_hung.py: preloaded into a node, it keeps every sync
 * of a file waiting while the one named by KELP_HOLD_SYNC exists, and then lets it through. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    const char *path = getenv("KELP_HOLD_SYNC");
    struct timespec moment = {.tv_nsec = 2000000};
    while (path != NULL && access(path, F_OK) == 0)
        (void)nanosleep(&moment, NULL);
    return (int)syscall(SYS_fdatasync, fd);
}
