/* SPDX-License-Identifier: Apache-2.0 */
/* assert.h - a broken invariant stops the process, in every build.
 *
 * ASSERT is for bugs only; what disks, peers and clients do is never asserted about. CHECK_SLOW may
 * walk the log and
 * exists in debug, simulator and fuzz builds (KELP_CHECK_SLOW). The hook prints what it knows (the
 * node's state, the
 * flight recorder) before the trap; it is the only global of this room, set once before any thread
 * starts. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

typedef void (*assert_hook_fn)(const char *expression, const char *file, int line);

/* assert_hook_set - replace what runs before the trap; NULL restores the default (print to stderr).
 * */
void assert_hook_set(assert_hook_fn hook);

/* assert_failed - run the hook, then trap. */
_Noreturn void assert_failed(const char *expression, const char *file, int line);

#define ASSERT(x) ((x) ? (void)0 : assert_failed(#x, __FILE__, __LINE__))

#ifdef KELP_CHECK_SLOW
#define CHECK_SLOW(x) ASSERT(x)
#else
#define CHECK_SLOW(x) ((void)sizeof(x))
#endif

#define UNREACHABLE() assert_failed("unreachable", __FILE__, __LINE__)

#endif
