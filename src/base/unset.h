/* SPDX-License-Identifier: Apache-2.0 */
/* unset.h - a local that is not filled with zeros first.
 *
 * Release builds zero every local (-ftrivial-auto-var-init=zero), so that a forgotten
 * initialisation leaks nothing and is the same everywhere. For an array of 16 KiB on a path that is
 * taken for every write to a socket or a file that costs more than the write's own preparation.
 * Only for arrays of which no element is read before it was written. */
#ifndef BASE_UNSET_H
#define BASE_UNSET_H

#define UNSET __attribute__((uninitialized))

#endif
