/* SPDX-License-Identifier: Apache-2.0 */
/* scene.h - drivers of which one lacks what the others have compacted: where tests of snapshots
 * that travel begin. */
#ifndef TESTS_DRIVER_SCENE_H
#define TESTS_DRIVER_SCENE_H

#include "driver/lab.h"

#define SLOW 4000u /* bytes a second: a snapshot of MANY objects takes seconds */
#define MANY 300u

/* Somebody lacks what the others have compacted. */
struct scene {
    struct lab *lab;
    struct lab_client *c; /* at the leader */
    kelp_id leader, behind, other;
    uint64_t written;
    uint64_t pieces, piece_bytes; /* sent to whoever is behind */
    kelp_id only; /* nobody else says anything about founding to whoever is behind; 0: all may */
};

void scene_write(struct scene *s, uint64_t count);
void scene_free(struct scene *s);
/* The leader's client is told of every write: none fails while somebody is behind. */
void scene_all_done(const struct scene *s);
void scene_start(struct scene *s, size_t nodes, uint64_t seed, uint64_t objects, uint64_t rate);
/* One of three is away while the others write and compact. */
void scene_begin(struct scene *s, uint64_t seed, uint64_t objects, uint64_t rate);
struct driver_fetch_status scene_fetch(struct scene *s);
void scene_await_level(struct scene *s, uint64_t ms);
/* Until it has fetched so much of it. */
void scene_await_bytes(struct scene *s, uint64_t part, uint64_t of);
void scene_assert_same(struct scene *s, kelp_id a, kelp_id b);
void scene_add(struct scene *s, kelp_id id, uint8_t role);
/* Nodes 1 to 3 have compacted, and were started since: nobody holds entry 1. */
void scene_without_entry1(struct scene *s, size_t nodes, uint64_t seed, uint64_t rate);

#endif
