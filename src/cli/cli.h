/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - the command line, as the program sees it: every verb but `server` and `sim scenario`. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/* cli_main - run one verb; argv[0] is the program, argv[1] the verb. Returns the exit status:
 * 0 done, 1 failed, 2 wrong usage or not in this version, 3 refused (a damaged directory). */
int cli_main(int argc, char **argv);

#endif
