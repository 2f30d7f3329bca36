/* SPDX-License-Identifier: Apache-2.0 */
/* assert.c - the trap at the end of a broken invariant. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

static void print_failure(const char *expression, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
}

static assert_hook_fn assert_hook = print_failure;

void assert_hook_set(assert_hook_fn hook)
{
    assert_hook = hook != NULL ? hook : print_failure;
}

_Noreturn void assert_failed(const char *expression, const char *file, int line)
{
    assert_hook_fn hook = assert_hook;
    assert_hook = print_failure; /* a failure inside the hook must not call it again */
    hook(expression, file, line);
    abort();
}
