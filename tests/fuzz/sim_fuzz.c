/* SPDX-License-Identifier: Apache-2.0 */
/* sim_fuzz.c - any bytes as the choices of a simulated cluster: its shape, what is lost and late,
 * which faults come when, what clients ask. Every invariant holds for all of them, and what was
 * hurt heals. An input that fails is a case: `kelp sim run --case FILE` plays it again. */
#include <stdio.h>
#include <stdlib.h>

#include "kelp/sim.h"

#define INPUT_MAX (64u * 1024)
#define SECOND    ((kelp_ns)1000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kelp_sim_report report; /* large */
    if (size > INPUT_MAX) return 0;
    struct kelp_sim_options options = kelp_sim_options_default();
    options.hurt = 20 * SECOND;
    options.choices = (struct kelp_bytes){data, size};
    if (size == 0) options.choices.data = (const uint8_t *)"";
    if (!kelp_sim_run(0, &options, &report)) {
        (void)fprintf(stderr, "%s\n%s: %s\n", report.story, report.invariant, report.message);
        abort();
    }
    return 0;
}
