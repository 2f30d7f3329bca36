/* SPDX-License-Identifier: Apache-2.0 */
/* run.h - one run of a world, from a seed or from a case, its choices kept if wanted: what the
 * public door, the minimiser and the fuzzer share. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "kelp/sim.h"
#include "sim/draw.h"

struct sim_play {
    const struct draw_case *choices; /* borrowed; NULL: what the seed expands to */
    struct draw_case *keep;          /* NULL, or initialised: what was drawn is appended */
    size_t *used;                    /* NULL, or room for STREAM_COUNT: bytes drawn of each */
};

/* sim_run - as kelp_sim_run; with kept choices played again it does the same events. */
bool sim_run(uint64_t seed, const struct kelp_sim_options *options, const struct sim_play *play,
             struct kelp_sim_report *report);

#endif
