/* SPDX-License-Identifier: Apache-2.0 */
/* instructions.h - what the cases of bench/instructions.c share.
 *
 * A case prepares, says count_begin, does so many operations and says count_end; between the two,
 * and nowhere else, callgrind counts. Without it the case runs all the same, and is as right or
 * wrong. Nothing in a case depends on time, on addresses or on a random number that has no seed. */
#ifndef BENCH_INSTRUCTIONS_H
#define BENCH_INSTRUCTIONS_H

#include "kelp/types.h"

#define COUNT_VALUE_BYTES 256u

/* count_begin - from here on instructions are counted. */
void count_begin(void);

/* count_pause, count_resume - around what the case needs and nobody asked about. */
void count_pause(void);
void count_resume(void);

/* count_part - what was counted since the last call belongs to this measurement: a line of its own
 * in callgrind's file, "NAME OPERATIONS". Counting goes on from nothing. */
void count_part(const char *name, uint64_t operations);

/* count_end - count_part, and nothing is counted any more. */
void count_end(const char *name, uint64_t operations);

/* must - a case that did not do what it says ends the program. */
void must(bool good, const char *what);

/* The cases, by the room they measure. dir: an empty directory in memory, for files. */
void count_core(void);
void count_core_long(void);
void count_driver(void);
void count_kv(void);
void count_kv_many(void);
void count_kv_growth(void);
void count_proto(void);
void count_wire(void);
void count_store(const char *dir);
void count_store_long(const char *dir);

#endif
