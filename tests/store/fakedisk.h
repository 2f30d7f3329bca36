/* SPDX-License-Identifier: Apache-2.0 */
/* fakedisk.h - a disk in memory that loses, tears and fails on demand, for the tests of the store.
 *
 * Every file has what is durable and what is only in the cache, sector by sector (512 bytes); a
 * sync moves sectors over. Names are durable once their directory was synced. A kill closes all
 * files and keeps the cache; a power cut keeps, of everything that was not synced, nothing, all, or
 * a random part. A sync that is told to fail brings some sectors over and forgets which others
 * were new, as Linux does: the cache shows them, the disk never gets them. */
#ifndef TESTS_STORE_FAKEDISK_H
#define TESTS_STORE_FAKEDISK_H

#include "sys/file.h"

struct fakedisk;

enum fakedisk_cut { CUT_LOSES_ALL, CUT_KEEPS_ALL, CUT_RANDOM };

struct fakedisk *fakedisk_new(uint64_t seed);
void fakedisk_free(struct fakedisk *d);
struct disk fakedisk_port(struct fakedisk *d);

/* fakedisk_calls - calls of the port so far, counted from 1. */
uint64_t fakedisk_calls(const struct fakedisk *d);
uint64_t fakedisk_writes(const struct fakedisk *d);
uint64_t fakedisk_syncs(const struct fakedisk *d); /* of files */

/* fakedisk_fail_at - call number `call` (0: none) returns error; a write is done in part. */
void fakedisk_fail_at(struct fakedisk *d, uint64_t call, enum kelp_error error);

/* fakedisk_die_at - call number `call` is done in part, and it and every later one fails, until
 * kill or cut. */
void fakedisk_die_at(struct fakedisk *d, uint64_t call);

/* fakedisk_capacity - writes that would make the files hold more bytes get KELP_E_NO_SPACE. Holes
 * are free. */
void fakedisk_capacity(struct fakedisk *d, uint64_t bytes);

void fakedisk_kill(struct fakedisk *d);
void fakedisk_cut(struct fakedisk *d, enum fakedisk_cut how);

/* fakedisk_copy - the same disk again, nothing open, failures forgotten. */
struct fakedisk *fakedisk_copy(const struct fakedisk *d);

/* The hand of rot: what is changed here is changed in cache and on disk. */
uint8_t *fakedisk_bytes(struct fakedisk *d, const char *path,
                        size_t *size); /* NULL: no such file */
/* The disk's own bytes, to be changed behind the cache's back: a reader sees it once the cache was
 * forgotten or the power cut. */
uint8_t *fakedisk_hidden(struct fakedisk *d, const char *path);
void fakedisk_resize(struct fakedisk *d, const char *path, size_t size);
void fakedisk_put(struct fakedisk *d, const char *path, const void *bytes, size_t size);
void fakedisk_drop(struct fakedisk *d, const char *path);
void fakedisk_move(struct fakedisk *d, const char *from, const char *to);
size_t fakedisk_open_files(const struct fakedisk *d);

#endif
