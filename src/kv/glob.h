/* SPDX-License-Identifier: Apache-2.0 */
/* glob.h - Redis's patterns for KEYS and SCAN: * ? [abc] [^abc] [a-z] and \ before a literal.
 *
 * The matcher neither recurses nor allocates. Going back to the last * is enough, since every other
 * item takes exactly one byte, but can cost length times length; the work a key may take is
 * therefore bounded, and what was done is told, so that whoever matches many keys can do it in
 * pieces. Matching is as Redis 7.0 does it in its odd corners too: a class that is not closed ends
 * with the pattern, "[a-]" is a range up to the bracket, and no pattern but the empty one matches
 * the empty key (callers treat "*" alone as no pattern). */
#ifndef KV_GLOB_H
#define KV_GLOB_H

#include "kelp/types.h"

enum glob_result { GLOB_NO, GLOB_YES, GLOB_TOO_LONG };

#define GLOB_STEPS_MAX (1024u * 256) /* of one match, whatever the lengths: about a millisecond */

/* glob_match - does the pattern match all of text? GLOB_TOO_LONG: given up after 4096 steps and 64
 * for every byte of both, or after GLOB_STEPS_MAX; the same on every machine. */
enum glob_result glob_match(struct kelp_bytes pattern, struct kelp_bytes text);

/* glob_match_counted - the same; adds the steps it took to *work. */
enum glob_result glob_match_counted(struct kelp_bytes pattern, struct kelp_bytes text,
                                    uint64_t *work);

#endif
