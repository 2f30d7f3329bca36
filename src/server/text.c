/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - see text.h. */
#include "server/text.h"

#include <stdarg.h>
#include <stdio.h>

void text_add(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need <= 0 || buf_reserve(b, (size_t)need + 1) != KELP_OK) return; /* and a NUL behind it */
    va_start(args, format);
    (void)vsnprintf((char *)b->data + b->len, (size_t)need + 1, format, args);
    va_end(args);
    b->len += (size_t)need;
}
