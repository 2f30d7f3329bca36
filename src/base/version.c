/* SPDX-License-Identifier: Apache-2.0 */
/* version.c - the two strings, in a file of their own: the commit changes without any source
 * changing, and then only this file is compiled again. Both come from the build, which writes the
 * header named here; a build by hand does without. */
#include "base/version.h"

#ifdef KELP_COMMIT_HEADER
#include KELP_COMMIT_HEADER
#else
#define KELP_COMMIT  "unknown"
#define KELP_VERSION "unknown"
#endif

const char version_program[] = KELP_VERSION;
const char version_commit[] = KELP_COMMIT;
