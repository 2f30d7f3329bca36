/* SPDX-License-Identifier: Apache-2.0 */
/* flags.c - one table of flags a verb: parsed from it, and explained from it. */
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"
#include "base/decimal.h"
#include "cli/room.h"

int cli_error(const struct verb *verb, enum cli_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "kelp%s%s: ", verb->name[0] != '\0' ? " " : "", verb->name);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return (int)status;
}

static void print_help(const struct verb *verb, const struct flag *flags, size_t count)
{
    (void)printf("kelp %s %s\n    %s\n", verb->name, verb->usage, verb->words);
    if (count > 0) (void)putchar('\n');
    for (size_t i = 0; i < count; i++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s%s", flags[i].name,
                       flags[i].value != NULL ? " " : "",
                       flags[i].value != NULL ? flags[i].value : "");
        (void)printf("  %-24s %s\n", left, flags[i].words);
    }
    (void)fputs(verb->more, stdout);
}

static const struct flag *find_flag(const struct flag *flags, size_t count, const char *word,
                                    size_t len)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, word, len) == 0) return &flags[i];
    }
    return NULL;
}

static bool take_value(const struct verb *verb, const struct flag *flag, const char *value)
{
    int64_t number;
    switch (flag->kind) {
    case FLAG_SWITCH: *flag->to.on = true; return true;
    case FLAG_TEXT: *flag->to.text = value; return true;
    case FLAG_NUMBER:
        if (!decimal_parse(bytes_of(value, strlen(value)), &number) || number < 0 ||
            (uint64_t)number < flag->low || (uint64_t)number > flag->high) {
            (void)cli_error(verb, CLI_USAGE, "--%s %s: must be a number from %llu to %llu",
                            flag->name, value, (unsigned long long)flag->low,
                            (unsigned long long)flag->high);
            return false;
        }
        *flag->to.number = (uint64_t)number;
        return true;
    }
    return false;
}

/* One argument that starts with two dashes, and the next one if it is its value; returns how many
 * were used, 0 after a complaint. */
static int take_flag(const struct verb *verb, const struct flag *flags, size_t count, int left,
                     char **at)
{
    const char *name = at[0] + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct flag *flag = find_flag(flags, count, name, len);
    if (flag == NULL) {
        (void)cli_error(verb, CLI_USAGE, "%s: no such flag; `kelp %s --help` lists them", at[0],
                        verb->name);
        return 0;
    }
    if (flag->kind == FLAG_SWITCH && equals != NULL) {
        (void)cli_error(verb, CLI_USAGE, "%s: takes no value", at[0]);
        return 0;
    }
    if (flag->kind == FLAG_SWITCH || equals != NULL)
        return take_value(verb, flag, equals != NULL ? equals + 1 : "") ? 1 : 0;
    if (left < 2) {
        (void)cli_error(verb, CLI_USAGE, "--%s: needs a value, %s", flag->name, flag->value);
        return 0;
    }
    return take_value(verb, flag, at[1]) ? 2 : 0;
}

bool flags_parse(const struct verb *verb, const struct flag *flags, size_t count,
                 enum flags_words where, int *argc, char **argv, int *status)
{
    int words = 1;
    bool only_words = false;
    for (int i = 1; i < *argc;) {
        if (only_words || strncmp(argv[i], "--", 2) != 0) {
            only_words = only_words || where == FLAGS_BEFORE_WORDS;
            argv[words++] = argv[i++];
        } else if (argv[i][2] == '\0') {
            only_words = true;
            i++;
        } else if (strcmp(argv[i], "--help") == 0) {
            print_help(verb, flags, count);
            *status = CLI_DONE;
            return false;
        } else {
            int used = take_flag(verb, flags, count, *argc - i, argv + i);
            if (used == 0) {
                *status = CLI_USAGE;
                return false;
            }
            i += used;
        }
    }
    *argc = words;
    return true;
}

bool flags_words_check(const struct verb *verb, int argc, char **argv, int low, int high,
                       int *status)
{
    int words = argc - 1;
    if (words >= low && (high < 0 || words <= high)) return true;
    if (words < low)
        *status = cli_error(verb, CLI_USAGE, "too few words: kelp %s %s", verb->name, verb->usage);
    else
        *status = cli_error(verb, CLI_USAGE, "%s: one word too many: kelp %s %s", argv[high + 1],
                            verb->name, verb->usage);
    return false;
}
