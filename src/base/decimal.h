/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.h - signed 64-bit numbers <-> decimal text, in exactly one spelling.
 *
 * The parser takes what the writer makes and nothing else: no blanks, no plus sign, no leading
 * zero, no "-0". This is the strictness of Redis wherever it reads an integer, so a value that is a
 * number reads back as it was. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include "kelp/types.h"

#define DECIMAL_BYTES_MAX 20u /* "-9223372036854775808" */

/* decimal_write - write a number to out, which has DECIMAL_BYTES_MAX bytes; returns how many were
 * used. */
size_t decimal_write(int64_t number, uint8_t *out);

/* decimal_parse - read a number that fills text from end to end; false: it is none, *out is
 * untouched. */
bool decimal_parse(struct kelp_bytes text, int64_t *out);

#endif
