/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - formatted text into a growing buffer: INFO, CLUSTER NODES, metrics. */
#ifndef SERVER_TEXT_H
#define SERVER_TEXT_H

#include "base/buf.h"

/* text_add - append formatted text; a failure sticks in the buffer. */
void text_add(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
