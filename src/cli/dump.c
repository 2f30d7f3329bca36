/* SPDX-License-Identifier: Apache-2.0 */
/* dump.c - `kelp log dump`: what a data directory holds, through the store's own eyes.
 *
 * The store's disk would make a directory that is not there, so that is looked at first: a dump
 * never changes anything. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/min.h"
#include "cli/room.h"
#include "store/store.h"

struct dump_out {
    const struct verb *verb;
    bool json;
};

static void print_line(void *ctx, const char *line)
{
    const struct dump_out *out = ctx;
    if (out->json)
        (void)print_json(out->verb,
                         json_pack("{so}", "line", print_json_bytes(bytes_of(line, strlen(line)))));
    else
        (void)puts(line);
}

/* One of them is enough: the others may be what was lost. */
static bool is_data_directory(const char *path)
{
    static const char *const names[] = {"identity", "vote", "log"};
    struct stat found;
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return true; /* opening it says why not */
    bool any = false;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        any = any || fstatat(root, names[i], &found, 0) == 0;
    (void)close(root);
    return any;
}

int log_verb(const struct verb *verb, int argc, char **argv)
{
    struct dump_out out = {.verb = verb};
    const struct flag flags[] = {
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &out.json, .words = "a JSON object a line"},
    };
    int status;
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 1, 2, &status))
        return status;
    if (strcmp(argv[1], "verify") == 0 || strcmp(argv[1], "repair") == 0)
        return cli_error(verb, CLI_USAGE, "%s: not in this version", argv[1]);
    if (strcmp(argv[1], "dump") != 0)
        return cli_error(verb, CLI_USAGE, "%s: must be dump DIR", argv[1]);
    if (argc != 3) return cli_error(verb, CLI_USAGE, "dump: needs a data directory");
    struct stat found;
    if (stat(argv[2], &found) != 0)
        return cli_error(verb, CLI_FAILED, "%s: %s", argv[2], strerror(errno));
    if (!S_ISDIR(found.st_mode))
        return cli_error(verb, CLI_FAILED, "%s: must be a data directory", argv[2]);
    if (!is_data_directory(argv[2]))
        return cli_error(verb, CLI_FAILED,
                         "%s: no data directory: it holds neither identity, vote nor log", argv[2]);
    struct disk disk;
    struct kelp_fault fault = {0};
    if (posix_disk(argv[2], &disk, &fault) != KELP_OK)
        return cli_error(verb, CLI_FAILED, "%s: %s", argv[2], fault.what);
    enum kelp_error error = store_dump(disk, print_line, &out, &fault);
    posix_disk_close(&disk);
    (void)fflush(stdout);
    if (error == KELP_OK) return CLI_DONE;
    return cli_error(verb, CLI_FAILED, "%s: %s", argv[2], fault.what);
}
