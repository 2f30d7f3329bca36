/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - `kelp VERB`: one program, and who runs each verb. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "server/server.h"
#include "sim/scenario.h"

/* Where a person types: stdin, if he also sees what we print. */
static FILE *typing(void)
{
    return isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 ? stdin : NULL;
}

static int verb_run(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "server") == 0) return server_main(argc - 1, argv + 1);
    if (argc > 2 && strcmp(argv[1], "sim") == 0 && strcmp(argv[2], "scenario") == 0)
        return scenario_verb(argc - 3, argv + 3, typing());
    return cli_main(argc, argv); /* and --version, --help, everything else */
}

/* A verdict that nobody could read is no success. */
int main(int argc, char **argv)
{
    int status = verb_run(argc, argv);
    if (status != 0 || (fflush(stdout) == 0 && ferror(stdout) == 0)) return status;
    (void)fputs("kelp: standard output: not written whole\n", stderr);
    return 1;
}
