/* SPDX-License-Identifier: Apache-2.0 */
/* glob.h - Redis's patterns for KEYS and SCAN: * ? [abc] [^abc] [a-z] and \ before a literal.
 *
 * The matcher neither recurses nor allocates. Going back to the last * is enough, since every other
 * item takes exactly one byte, but can cost length times length; the work a key may take is
 * therefore bounded. Matching is as Redis 7.0 does it in its odd corners too: a class that is not
 * closed ends with the pattern, "[a-]" is a range up to the bracket, and no pattern but the empty
 * one matches the empty key (callers treat "*" alone as no pattern). */
#ifndef KV_GLOB_H
#define KV_GLOB_H

#include "kelp/types.h"

enum glob_result { GLOB_NO, GLOB_YES, GLOB_TOO_LONG };

/* glob_match - does the pattern match all of text? GLOB_TOO_LONG: given up after 4096 steps and 64
 * for every byte of both, the same on every machine. */
enum glob_result glob_match(struct kelp_bytes pattern, struct kelp_bytes text);

#endif
