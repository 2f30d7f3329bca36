/* SPDX-License-Identifier: Apache-2.0 */
/* reads.h - how a client says what its reads may miss; see reads.c. */
#ifndef SERVER_READS_H
#define SERVER_READS_H

#include "kelp/types.h"

#define READS_WRONG_MAX 160u

/* reads_parse - a level at the start of words; *used: how many words it took. false: wrong says
 * what is wrong and what would be right. */
bool reads_parse(const struct kelp_bytes *words, size_t count, size_t *used,
                 struct kelp_read_how *how, char *wrong);

/* reads_parse_text - the same from one text that holds nothing else, words separated by blanks. */
bool reads_parse_text(const char *text, struct kelp_read_how *how, char *wrong);

#endif
