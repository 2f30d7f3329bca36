/* SPDX-License-Identifier: Apache-2.0 */
/* restore.h - `kelp snapshot restore FILE`: see restore.c */
#ifndef CLI_RESTORE_H
#define CLI_RESTORE_H

#include "cli/room.h"
#include "store/store.h"

struct restore_ask {
    const char *at, *path, *name; /* name: of the file, in the directory that disk is of */
    struct disk disk;
    bool yes, force, json;
};

int snapshot_restore(const struct verb *verb, const struct restore_ask *ask);

#endif
