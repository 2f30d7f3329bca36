/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - the command line and the settings file of `kelp server`, made from the settings
 * table. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "server/config.h"

/* What the command line said, kept for a reload: the strings are argv's and live as long. */
struct options {
    const char *file; /* --config; NULL: none */
    size_t count;
    struct assignment { /* flags and --set, in their order */
        const struct setting *row;
        const char *value;
    } * assignments;
};

enum options_result { OPTIONS_RUN, OPTIONS_CHECKED, OPTIONS_WRONG };

/* options_read - defaults, then --config, then flags and --set in their order; all checked
 * together. Says on standard error what is wrong. argv[0] is the verb. Exits for --help. *out is to
 * be closed in any case, and *kept with options_close. */
enum options_result options_read(int argc, char **argv, struct options *kept, struct settings *out);
void options_close(struct options *kept);

/* options_again - what a start with the same command line would have now: the file is read again.
 * false: error says what is wrong and where; *out is not to be closed. */
bool options_again(const struct options *kept, struct settings *out, char *error);

/* options_texts - the same of the file alone, each value by itself: what must hold between them is
 * not asked, since the command line may be needed for that. */
bool options_texts(const struct options *kept, struct settings *out, char *error);

#endif
