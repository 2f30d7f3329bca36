/* SPDX-License-Identifier: Apache-2.0 */
/* found.c - a cluster of one node written into an empty data directory, offline.
 *
 *   directory made --> identity pledged to a new cluster, synced --> term 1, entry 1@1, synced
 *
 * The rules are driver/found.c's: the same machine runs here against a store that blocks. Whoever
 * opens a node in the directory later finds what a founder leaves behind. Cut short, it holds
 * nothing but a pledge, and the next one goes on with it; one that others may have made, too, is to
 * be emptied by hand.
 * Invariant: a directory that holds a cluster, or is pledged to one of several nodes, is never
 * written to. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/fault.h"
#include "driver/found.h"
#include "node/room.h"

static enum kelp_error first_save(struct store *s, struct kelp_bytes entry,
                                  struct kelp_fault *fault)
{
    struct store_save_item item = {.save = {.number = 1,
                                            .flags = KELP_SAVE_VOTE | KELP_SAVE_APPEND,
                                            .term = {1},
                                            .first = 1,
                                            .last = 1,
                                            .commit = 1},
                                   .parts = &entry,
                                   .part_count = 1};
    return store_save(s, &item, 1, fault);
}

static enum kelp_error machine_run(struct found *f, struct store *s, struct kelp_fault *fault)
{
    enum kelp_error error = KELP_OK;
    struct found_todo todo;
    kelp_ns now = 0;
    while (error == KELP_OK && f->phase != FOUND_HOLDS) {
        bool some = false;
        for (int step = 0; step < 2 && !some; step++) { /* pledged already: one passes in silence */
            now += SECOND; /* its clock counts nothing here but its own steps */
            (void)found_tick(f, now);
            some = found_next(f, &todo);
        }
        if (!some) return fault_set(fault, KELP_E_NO_MEMORY, "found", "no memory");
        switch (todo.kind) {
        case FOUND_NOTHING:
        case FOUND_DO_SEND:
        case FOUND_DO_NAME:
        case FOUND_DO_FETCH: UNREACHABLE(); /* it is alone, and has its id */
        case FOUND_DO_PLEDGE:
            error = store_pledge(s, todo.cluster, 0, fault);
            if (error == KELP_OK) found_pledged(f, now);
            break;
        case FOUND_DO_SAVE:
            error = first_save(s, todo.entry, fault);
            if (error == KELP_OK) found_saved(f, now);
            break;
        }
    }
    return error;
}

/* A cluster that is there, or half there. KELP_OK with *holds: it may stay. */
static enum kelp_error there(const struct store *s, const struct node *n, bool if_empty,
                             bool *holds, struct kelp_fault *fault)
{
    const struct store_identity *i = &store_found(s)->identity;
    bool pledged = i->cluster.hi != 0 || i->cluster.lo != 0;
    *holds = store_found(s)->has_entries;
    if (*holds && if_empty) return KELP_OK;
    if (*holds)
        return fault_set(fault, KELP_E_FOREIGN, "found",
                         "the directory holds cluster %016" PRIx64 "%016" PRIx64 " as node %" PRIu64
                         "; node %" PRIu64 " founds no second one there",
                         i->cluster.hi, i->cluster.lo, i->node, n->options.id);
    if (store_found(s)->term.v > 1 || store_found(s)->vote != 0)
        return fault_set(fault, KELP_E_WIPED, "log",
                         "it holds nothing, but the vote file has term %" PRIu64
                         ": the log was lost",
                         store_found(s)->term.v);
    if (!pledged || found_alone_made(i->cluster, i->incarnation)) return KELP_OK;
    return fault_set(fault, KELP_E_FOREIGN, "found",
                     "the directory is pledged to cluster %016" PRIx64 "%016" PRIx64
                     " and holds no entry of it: empty it by hand first",
                     i->cluster.hi, i->cluster.lo);
}

static enum kelp_error write_first(struct node *n, struct store *s, struct kelp_fault *fault)
{
    struct timespec wall;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    struct driver_member alone = {.id = n->options.id, .peer = n->peer};
    struct found_setup setup = {
        .self = n->options.id,
        .incarnation = store_found(s)->identity.incarnation,
        .seed = n->options.raft.seed,
        .cluster = store_found(s)->identity.cluster,
        .listed = &alone,
        .listed_count = 1,
        .election_min_ns = n->options.raft.election_min,
        .created_unix_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / MILLISECOND,
        .drift_ppm = DRIFT_PPM,
        .random = node_random,
    };
    struct found *f = calloc(1, sizeof *f);
    if (f == NULL || !found_init(f, &setup, 0)) {
        free(f);
        return fault_set(fault, KELP_E_NO_MEMORY, "found", "out of memory");
    }
    enum kelp_error error = machine_run(f, s, fault);
    found_free(f);
    free(f);
    return error;
}

static enum kelp_error directory_found(struct node *n, const char *data, bool if_empty,
                                       struct kelp_cluster_id *cluster, struct kelp_fault *fault)
{
    struct disk disk = {.ops = NULL};
    struct store *s = NULL;
    bool holds = false;
    struct store_options options = {.node = n->options.id,
                                    .segment_bytes = n->options.segment_bytes,
                                    .zero_piece_bytes = 1024u * 1024,
                                    .random = node_random};
    enum kelp_error error = posix_disk(data, &disk, fault);
    if (error != KELP_OK) return error;
    error = store_open(disk, &options, &s, fault);
    if (error == KELP_OK) error = there(s, n, if_empty, &holds, fault);
    if (error == KELP_OK && !holds) error = write_first(n, s, fault);
    if (error == KELP_OK && cluster != NULL) *cluster = store_found(s)->identity.cluster;
    store_close(s);
    posix_disk_close(&disk);
    return error;
}

enum kelp_error kelp_found(const struct kelp_node_options *options, bool if_empty,
                           struct kelp_cluster_id *cluster, struct kelp_fault *fault)
{
    struct node *n = calloc(1, sizeof *n);
    if (n == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "found", "out of memory");
    enum kelp_error error = options_take(n, options, fault);
    if (error == KELP_OK && (n->bootstrap_count > 0 || n->join_count > 0))
        error = fault_set(fault, KELP_E_ARGUMENT, "found",
                          "a cluster of one is founded without join and bootstrap");
    if (error == KELP_OK && n->options.id == 0) n->options.id = 1;
    if (error == KELP_OK) error = directory_found(n, options->data, if_empty, cluster, fault);
    free(n);
    return error;
}
