/* SPDX-License-Identifier: Apache-2.0 */
/* fault.h - filling a kelp_fault at the place that saw the failure. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include "kelp/types.h"

/* fault_set - fill a fault record; the first one set stays. Returns error, so that a caller can
 * return it.
 * fault may be NULL. where and format are copied, cut to fit. */
enum kelp_error fault_set(struct kelp_fault *fault, enum kelp_error error, const char *where,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* fault_none - a record in which nothing is set yet: as `= {0}` says it, without a walk over the
 * room for its words. For an UNSET one where every event passes. */
static inline void fault_none(struct kelp_fault *fault)
{
    fault->error = KELP_OK;
    fault->os_error = 0;
    fault->offset = fault->index = 0;
    fault->where[0] = fault->what[0] = '\0';
}

#endif
