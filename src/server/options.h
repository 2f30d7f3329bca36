/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - the command line and the settings file of `kelp server`, made from the settings
 * table. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "server/config.h"

enum options_result { OPTIONS_RUN, OPTIONS_CHECKED, OPTIONS_WRONG };

/* options_read - defaults, then --config, then flags and --set in their order; all checked
 * together. Says on standard error what is wrong. argv[0] is the verb. Exits for --help. *out is to
 * be closed in any case. */
enum options_result options_read(int argc, char **argv, struct settings *out);

#endif
