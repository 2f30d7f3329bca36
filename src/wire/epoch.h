/* SPDX-License-Identifier: Apache-2.0 */
/* epoch.h - the recovery epoch of a cluster: which forced recovery its members have in common.
 *
 *   63      48 47                                   0
 *   | number  |  check: random bits of that recovery |      0: never recovered
 *
 * The number says what came later. The check tells two recoveries of one number apart: survivors
 * that were recovered without knowing of each other are two clusters and never meet as one, so
 * epochs are only ever compared whole. */
#ifndef WIRE_EPOCH_H
#define WIRE_EPOCH_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#define EPOCH_CHECK_BITS 48
#define EPOCH_CHECK_MAX  ((UINT64_C(1) << EPOCH_CHECK_BITS) - 1)
#define EPOCH_NUMBER_MAX UINT64_C(0xffff)
#define EPOCH_TEXT_MAX   24u

static inline uint64_t epoch_number(uint64_t epoch)
{
    return epoch >> EPOCH_CHECK_BITS;
}

/* epoch_after - the one that a recovery makes of parent, whose number is below the highest. */
static inline uint64_t epoch_after(uint64_t parent, uint64_t random)
{
    uint64_t check = random & EPOCH_CHECK_MAX;
    return (epoch_number(parent) + 1) << EPOCH_CHECK_BITS | (check != 0 ? check : 1);
}

/* epoch_text - "2.00a1b2c3d4e5", or "0"; out has EPOCH_TEXT_MAX bytes and is returned. */
static inline const char *epoch_text(uint64_t epoch, char *out)
{
    if (epoch == 0)
        (void)snprintf(out, EPOCH_TEXT_MAX, "0");
    else
        (void)snprintf(out, EPOCH_TEXT_MAX, "%" PRIu64 ".%012" PRIx64, epoch_number(epoch),
                       epoch & EPOCH_CHECK_MAX);
    return out;
}

#endif
