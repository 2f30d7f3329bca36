/* SPDX-License-Identifier: Apache-2.0 */
/* history.h - client histories as JSON lines, read into what kelp_sim_check_history takes.
 *
 * docs/histories.md has the form. The bytes are from outside: every line is checked whole, every
 * amount has a limit, and the first mistake is named with its line. Strings are numbered above all
 * numbers that can be written, so that 7 and "7" are different values. */
#ifndef CLI_HISTORY_H
#define CLI_HISTORY_H

#include <stdio.h>

#include "kelp/history.h"

#define HISTORY_OPERATIONS_MAX (1u << 20)
#define HISTORY_ITEMS_MAX      (1u << 23) /* elements of lists, keys of mset and mget */
#define HISTORY_TEXTS_MAX      (1u << 22) /* different strings */
#define HISTORY_TEXT_BYTES_MAX (64u << 20)
#define HISTORY_LINE_BYTES_MAX (1u << 20)

#define HISTORY_STRING (1ull << 63) /* values from here on are strings */

struct history {
    struct kelp_sim_operation *operations; /* operation n is line n + 1 */
    size_t count, room;
    struct kelp_sim_item *items;
    size_t *items_at; /* by operation: where its items begin */
    size_t item_count, item_room;
    char **texts; /* keys and strings by number */
    size_t text_count, text_room, text_bytes;
    uint32_t *text_table; /* number + 1 by hash, a power of two of them */
    size_t text_table_room;
    char wrong[256]; /* history_read failed: what, without the place */
    size_t wrong_line;
};

/* history_read - all lines of a file; false: wrong and wrong_line say why. Zero *h before; free it
 * after either outcome. */
bool history_read(FILE *in, struct history *h);
void history_free(struct history *h);

/* history_words - an operation as text for people, cut at size. */
void history_words(const struct history *h, size_t operation, char *out, size_t size);

#endif
