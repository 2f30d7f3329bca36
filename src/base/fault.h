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

#endif
