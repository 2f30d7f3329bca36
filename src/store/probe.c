/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - does this directory do what a log needs? Asked at every start, so that a read-only
 * mount, a full disk or a file system without directory syncs is reported as such and by the step
 * that failed, and not later as a failed save. A full disk is no reason to stay away: what was
 * written before can be read, votes have their place, and the log has files in hand. */
#include "store/room.h"

#include <stdio.h>

#define PROBE_NAME    "probe"
#define PROBE_RENAMED "probe.renamed"

static enum kelp_error probe_file(struct disk disk, const char **step, struct kelp_fault *fault)
{
    struct file *file = NULL;
    *step = "create a file";
    enum kelp_error error = disk.ops->open(disk.state, PROBE_NAME, FILE_CREATE_ANY, &file, fault);
    if (error != KELP_OK) return error;
    struct kelp_bytes words = BYTES_LITERAL("this file can be removed\n");
    *step = "write to a file";
    error = disk.ops->write(disk.state, file, 0, &words, 1, fault);
    if (error == KELP_OK) {
        *step = "sync a file";
        error = disk.ops->sync(disk.state, file, fault);
    }
    disk.ops->close(disk.state, file);
    return error;
}

static enum kelp_error probe_steps(struct disk disk, const char **step, struct kelp_fault *fault)
{
    enum kelp_error error = probe_file(disk, step, fault);
    if (error != KELP_OK) return error;
    *step = "rename a file";
    error = disk.ops->rename(disk.state, PROBE_NAME, PROBE_RENAMED, fault);
    if (error != KELP_OK) return error;
    *step = "sync the directory";
    error = disk.ops->sync_dir(disk.state, "", fault);
    if (error != KELP_OK) return error;
    *step = "remove a file";
    return disk.ops->remove(disk.state, PROBE_RENAMED, fault);
}

enum kelp_error probe_directory(struct disk disk, const struct store_options *options,
                                struct kelp_fault *fault)
{
    const char *step = "";
    struct kelp_fault cause = {0};
    enum kelp_error error = probe_steps(disk, &step, &cause);
    if (error == KELP_OK) return KELP_OK;
    if (error == KELP_E_NO_SPACE) {
        room_note(options, KELP_WARN, "the disk is full: cannot %s", step);
        return room_remove(disk, PROBE_NAME, fault);
    }
    fault->os_error = cause.os_error;
    return fault_set(fault, error, cause.where,
                     "the data directory is not usable: cannot %s (%.80s)", step, cause.what);
}
