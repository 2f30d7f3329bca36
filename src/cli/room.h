/* SPDX-License-Identifier: Apache-2.0 */
/* room.h - what the verbs of the command line share: how they are described, how they read flags,
 * how they complain, and how they print for people and for programs.
 *
 * A verb is a row of the table in cli.c. Its flags are a table too, from which both the parsing and
 * --help are made. Complaints are one line on stderr; what a person reads on stdout has a twin in
 * JSON. */
#ifndef CLI_ROOM_H
#define CLI_ROOM_H

#include <jansson.h>
#include <stdio.h>

#include "kelp/types.h"

enum cli_status { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_REFUSED = 3 };

#define CLI_PATH_MAX    3072u
#define CLI_ADDRESS_MAX 300u

/* ---- flags.c: verbs and their flags ------------------------------------------------------ */

enum flag_kind { FLAG_SWITCH, FLAG_TEXT, FLAG_NUMBER };

struct flag {
    const char *name; /* without the dashes */
    enum flag_kind kind;
    union {
        bool *on;
        const char **text;
        uint64_t *number;
    } to;
    uint64_t low, high; /* of a number */
    const char *value;  /* what stands for the value in --help; NULL for a switch */
    const char *words;  /* one clause for --help */
};

struct verb {
    const char *name;
    const char *usage; /* what follows the name */
    const char *words; /* one clause */
    const char *more;  /* further lines of --help, "" if none */
    int (*run)(const struct verb *verb, int argc, char **argv); /* argv[0] is the verb's name */
};

enum flags_words { FLAGS_ANYWHERE, FLAGS_BEFORE_WORDS }; /* where flags may stand among words */

/* flags_parse - take the flags out of argv, so that argv[1..*argc-1] are the words left. "--" ends
 * the flags. Returns true to go on; false: --help was printed or a mistake was named, and *status
 * is what to exit with. */
bool flags_parse(const struct verb *verb, const struct flag *flags, size_t count,
                 enum flags_words where, int *argc, char **argv, int *status);

/* flags_words_check - complains unless there are low..high words (high < 0: any number). */
bool flags_words_check(const struct verb *verb, int argc, char **argv, int low, int high,
                       int *status);

/* cli_error - one line on stderr, "kelp VERB: ...". Returns status. */
int cli_error(const struct verb *verb, enum cli_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- print.c: for people and for programs ------------------------------------------------ */

enum print_colour { PRINT_PLAIN, PRINT_BOLD, PRINT_DIM, PRINT_RED, PRINT_GREEN, PRINT_YELLOW };

/* print_colour, print_end - what to write before and after a coloured piece of stdout: nothing,
 * unless stdout is a terminal and NO_COLOR is not set. */
const char *print_colour(enum print_colour colour);
const char *print_end(void);
bool print_terminal(void); /* stdout is a terminal that can move its cursor */

/* print_json - one line of JSON on stdout; owns value. NULL (no memory) is said. */
int print_json(const struct verb *verb, json_t *value);

/* print_json_bytes - a JSON string of any bytes; those that are not UTF-8 become {"hex":"..."}. */
json_t *print_json_bytes(struct kelp_bytes bytes);

/* print_thousands - 10000 as 10,000; out has PRINT_NUMBER_MAX bytes and is returned. */
#define PRINT_NUMBER_MAX 27u
const char *print_thousands(uint64_t number, char *out);

uint64_t print_now_ms(void); /* a clock that only grows */

/* ---- the verbs --------------------------------------------------------------------------- */

int status_verb(const struct verb *verb, int argc, char **argv); /* status.c */
int get_verb(const struct verb *verb, int argc, char **argv);    /* keys.c */
int set_verb(const struct verb *verb, int argc, char **argv);
int transfer_verb(const struct verb *verb, int argc, char **argv);
int settings_verb(const struct verb *verb, int argc, char **argv); /* reload and config */
int drain_verb(const struct verb *verb, int argc, char **argv);    /* drain.c: drain and undrain */
int rejoin_verb(const struct verb *verb, int argc, char **argv);   /* rejoin.c */
int del_verb(const struct verb *verb, int argc, char **argv);
int call_verb(const struct verb *verb, int argc, char **argv);
int members_verb(const struct verb *verb, int argc, char **argv);    /* members.c */
int bootstrap_verb(const struct verb *verb, int argc, char **argv);  /* bootstrap.c */
int log_verb(const struct verb *verb, int argc, char **argv);        /* dump.c */
int recover_verb(const struct verb *verb, int argc, char **argv);    /* recover.c */
int snapshot_verb(const struct verb *verb, int argc, char **argv);   /* snapshot.c */
int sim_verb(const struct verb *verb, int argc, char **argv);        /* seeds.c */
int sim_check(const struct verb *verb, const char *file, bool json); /* check.c */
int explore_verb(int argc, char **argv);                        /* explore.c; argv[0] is its name */
int fetch_verb(int argc, char **argv);                          /* fetch.c; likewise */
int dev_verb(const struct verb *verb, int argc, char **argv);   /* dev.c */
int demo_verb(const struct verb *verb, int argc, char **argv);  /* demo.c */
int bench_verb(const struct verb *verb, int argc, char **argv); /* bench.c */

#endif
