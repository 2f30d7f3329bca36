/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h - what the words of `kelp sim` share: one set of flags, and how a run is made from it. */
#ifndef CLI_SIM_H
#define CLI_SIM_H

#include <stdatomic.h>

#include "cli/room.h"
#include "kelp/sim.h"

#define SIM_JOBS_MAX    64u
#define SIM_MARKS_SEEDS 100u /* from so many seeds on, events that none hit are listed */

struct sim_flags {
    uint64_t first, count, jobs;      /* seeds first..first + count - 1 */
    uint64_t from, until;             /* events; until 0: the end */
    uint64_t hurt_s, seconds, soak_s; /* seconds; soak_s 0: for ever */
    uint64_t kills;                   /* 0: not that run */
    const char *seed, *nodes, *case_path, *trace_json, *out, *broken, *hours;
    bool json, trace, all, no_shrink, strict_marks, together, restores;
    struct kelp_bytes choices; /* of the case; owned, data NULL: none */
    uint32_t shown;            /* --nodes: bit i is node i + 1 */
    enum kelp_sim_break breaks;
    const _Atomic bool *stop; /* NULL, or: end early when it is so */
};

/* ---- seeds.c ---- */

/* sim_options - what the flags ask for; borrows the case's bytes from f. */
struct kelp_sim_options sim_options(const struct sim_flags *f);

/* sim_again - the command line that plays a run again; case_path NULL: that of the flags, if any;
 * until 0: to its end. */
void sim_again(const struct sim_flags *f, uint64_t seed, const char *case_path, kelp_ns hurt,
               uint64_t until, char *out, size_t size);

uint64_t sim_now_ns(void); /* a clock that only grows */
void sim_add_total(struct kelp_sim_total *sum, const struct kelp_sim_total *part);

/* ---- shrinking.c ---- */

/* sim_shrink - shrink a failing seed for as long as the flags say and write the case to path.
 * false: it could not be done, which was said. words: whether to print the summary. */
enum sim_shrink_words { SIM_SHRINK_TOLD, SIM_SHRINK_QUIET };
bool sim_shrink(const struct verb *verb, const struct sim_flags *f, uint64_t seed, const char *path,
                enum sim_shrink_words told, FILE *to);
int sim_shrink_verb(const struct verb *verb, const struct sim_flags *f);

/* ---- columns.c: the trace as text ---- */

struct columns;
struct columns *columns_new(FILE *out, uint64_t from, uint32_t shown, bool all); /* NULL: memory */
void columns_record(void *ctx, const struct kelp_sim_event *event);
void columns_free(struct columns *c);

/* ---- marks.c ---- */

/* marks_print - the events that no seed hit, with the reason where there is one; returns how many
 * have none. */
size_t marks_print(const struct kelp_sim_total *total);

/* ---- soak.c ---- */

int sim_soak_verb(const struct verb *verb, const struct sim_flags *f);

#endif
