/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.h - what `kelp snapshot now` and `save` share. */
#ifndef CLI_SNAPSHOT_H
#define CLI_SNAPSHOT_H

#include "cli/client.h"

#define SNAPSHOT_ROWS_MAX 64u

struct snapshot_row {
    uint64_t index, term, bytes;
    char state[16];
};

/* snapshot_rows - what the node has, newest first; the one that is being taken stands before them.
 * -1: said what was wrong. */
int snapshot_rows(const struct verb *verb, struct client *c,
                  struct snapshot_row rows[SNAPSHOT_ROWS_MAX]);

/* snapshot_take - have the node take one, and wait until it is on disk; *unchanged: it had one and
 * nothing is new. shows: how far it is, on a terminal. false: said what was wrong. */
bool snapshot_take(const struct verb *verb, struct client *c, bool shows, struct snapshot_row *out,
                   bool *unchanged);

/* snapshot_path - a path as its directory and the name in it. false: said that it is too long. */
bool snapshot_path(const struct verb *verb, const char *path, char dir[CLI_PATH_MAX],
                   const char **name);

/* `kelp snapshot save`; save.c. */
struct save_options {
    bool newest;    /* the newest there is, instead of a new one */
    bool force;     /* also where such a file exists */
    bool json;      /* the answer */
    bool quiet;     /* none, where it went well */
    uint64_t limit; /* bytes a second; 0: as fast as the node gives them */
};
int snapshot_save(const struct verb *verb, struct client *c, const char *path,
                  const struct save_options *options);

#endif
