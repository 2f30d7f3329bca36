/* SPDX-License-Identifier: Apache-2.0 */
/* version.h - what this build is: the program's version and the git commit it was made from. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

extern const char version_program[]; /* "0.1.0" */
/* twelve hex digits, perhaps "-dirty"; "unknown" without git */
extern const char version_commit[];

#endif
