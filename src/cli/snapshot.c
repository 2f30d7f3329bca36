/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - `kelp snapshot`: now and list ask one node for its own; info and verify read a file
 * through the store's own eyes, with or without a node.
 *
 * now waits until the snapshot is on disk: the node answers at once, and its list says how far it
 * is. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/bytes.h"
#include "base/min.h"
#include "cli/snapshot.h"
#include "store/store.h"
#include "wire/epoch.h"

#define LOOK_MS  100u
#define GIVEN_UP 30u /* looks without a snapshot being taken, or there */

/* ---- of a node ----------------------------------------------------------------------------- */

static bool row_parse(const redisReply *line, struct snapshot_row *row)
{
    return line->type == REDIS_REPLY_STRING &&
           sscanf(line->str, "index:%" SCNu64 " term:%" SCNu64 " bytes:%" SCNu64 " state:%15s",
                  &row->index, &row->term, &row->bytes, row->state) == 4;
}

int snapshot_rows(const struct verb *verb, struct client *c,
                  struct snapshot_row rows[SNAPSHOT_ROWS_MAX])
{
    int count = 0;
    redisReply *reply = client_line(c, "RAFT SNAPSHOT LIST");
    bool right =
        reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements <= SNAPSHOT_ROWS_MAX;
    for (size_t i = 0; right && i < reply->elements; i++)
        right = row_parse(reply->element[i], &rows[count++]);
    if (!right) {
        bool error = reply != NULL && reply->type == REDIS_REPLY_ERROR;
        (void)cli_error(verb, CLI_FAILED, "%s",
                        reply == NULL ? c->error
                        : error       ? reply->str
                                      : "the answer makes no sense");
        count = -1;
    }
    if (reply != NULL) freeReplyObject(reply);
    return count;
}

static json_t *row_json(const struct snapshot_row *row)
{
    return json_pack("{sI,sI,sI,ss}", "index", (json_int_t)row->index, "term",
                     (json_int_t)row->term, "bytes", (json_int_t)row->bytes, "state", row->state);
}

static int list(const struct verb *verb, struct client *c, bool json)
{
    struct snapshot_row rows[SNAPSHOT_ROWS_MAX];
    int count = snapshot_rows(verb, c, rows);
    if (count < 0) return CLI_FAILED;
    if (json) {
        json_t *array = json_array();
        for (int i = 0; i < count; i++)
            (void)json_array_append_new(array, row_json(&rows[i]));
        return print_json(verb, json_pack("{so}", "snapshots", array));
    }
    if (count == 0) (void)puts("no snapshots");
    for (int i = 0; i < count; i++) {
        char bytes[PRINT_NUMBER_MAX];
        (void)printf("%" PRIu64 "@%" PRIu64 "  %s bytes  %s\n", rows[i].index, rows[i].term,
                     print_thousands(rows[i].bytes, bytes), rows[i].state);
    }
    return CLI_DONE;
}

static int now_say(const struct verb *verb, const struct snapshot_row *row, bool unchanged,
                   bool json)
{
    char bytes[PRINT_NUMBER_MAX];
    if (json)
        return print_json(verb, json_pack("{sI,sI,sI,sb}", "index", (json_int_t)row->index, "term",
                                          (json_int_t)row->term, "bytes", (json_int_t)row->bytes,
                                          "unchanged", (int)unchanged));
    (void)printf("snapshot at %" PRIu64 "@%" PRIu64 ", %s bytes%s\n", row->index, row->term,
                 print_thousands(row->bytes, bytes), unchanged ? ", unchanged" : "");
    return CLI_DONE;
}

/* Until one at or above index is there. */
static bool take_wait(const struct verb *verb, struct client *c, bool shows, uint64_t index,
                      struct snapshot_row *out)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    struct snapshot_row rows[SNAPSHOT_ROWS_MAX];
    for (unsigned idle = 0; idle < GIVEN_UP;) {
        int count = snapshot_rows(verb, c, rows);
        if (count < 0) return false;
        bool taking = count > 0 && strcmp(rows[0].state, "taking") == 0;
        for (int i = taking ? 1 : 0; i < count; i++) {
            if (strcmp(rows[i].state, "whole") != 0 || rows[i].index < index) continue;
            if (shows) (void)fputs("\r\033[K", stdout);
            *out = rows[i];
            return true;
        }
        char bytes[PRINT_NUMBER_MAX];
        if (taking && shows)
            (void)printf("\r\033[Kat %" PRIu64 ": %s bytes", rows[0].index,
                         print_thousands(rows[0].bytes, bytes));
        (void)fflush(stdout);
        idle = taking ? 0 : idle + 1;
        (void)nanosleep(&pause, NULL);
    }
    (void)cli_error(verb, CLI_FAILED,
                    "the snapshot at %" PRIu64 " is neither there nor being taken; the node's log "
                    "says why",
                    index);
    return false;
}

bool snapshot_take(const struct verb *verb, struct client *c, bool shows, struct snapshot_row *out,
                   bool *unchanged)
{
    struct snapshot_row row = {.bytes = 0};
    redisReply *reply = client_line(c, "RAFT SNAPSHOT NOW");
    if (reply == NULL) {
        (void)cli_error(verb, CLI_FAILED, "%s", c->error);
        return false;
    }
    bool right = reply->type == REDIS_REPLY_STATUS &&
                 sscanf(reply->str, "OK index=%" SCNu64 " term=%" SCNu64 " %15s", &row.index,
                        &row.term, row.state) == 3;
    if (!right)
        (void)cli_error(verb, CLI_FAILED, "%s",
                        reply->type == REDIS_REPLY_ERROR ? reply->str
                                                         : "the answer makes no sense");
    freeReplyObject(reply);
    if (!right) return false;
    *unchanged = strcmp(row.state, "unchanged") == 0;
    return take_wait(verb, c, shows, row.index, out);
}

static int now(const struct verb *verb, struct client *c, bool json)
{
    struct snapshot_row row;
    bool unchanged;
    if (!snapshot_take(verb, c, !json && print_terminal(), &row, &unchanged)) return CLI_FAILED;
    return now_say(verb, &row, unchanged, json);
}

/* ---- of a file ----------------------------------------------------------------------------- */

bool snapshot_path(const struct verb *verb, const char *path, char dir[CLI_PATH_MAX],
                   const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash != NULL ? slash + 1 : path;
    int len = slash != NULL ? (int)(slash - path) : 0;
    if (strlen(path) >= CLI_PATH_MAX || strlen(*name) >= FILE_NAME_MAX) {
        (void)cli_error(verb, CLI_FAILED, "%.80s: the name is too long", path);
        return false;
    }
    (void)snprintf(dir, CLI_PATH_MAX, "%.*s", len, path);
    if (slash == NULL || len == 0)
        (void)snprintf(dir, CLI_PATH_MAX, "%s", len == 0 && slash != NULL ? "/" : ".");
    return true;
}

/* The directory of a file that must be there, and the name in it. */
static bool file_path(const struct verb *verb, const char *path, char dir[CLI_PATH_MAX],
                      const char **name)
{
    struct stat found;
    if (!snapshot_path(verb, path, dir, name)) return false;
    if (stat(path, &found) != 0) {
        (void)cli_error(verb, CLI_FAILED, "%s: %s", path, strerror(errno));
        return false;
    }
    if (S_ISREG(found.st_mode)) return true;
    (void)cli_error(verb, CLI_FAILED, "%s: must be a snapshot's file", path);
    return false;
}

static int info_say(const struct verb *verb, const struct wire_snaphead *h, bool json, bool whole)
{
    char cluster[33], hash[17], epoch[EPOCH_TEXT_MAX];
    (void)snprintf(cluster, sizeof cluster, "%016" PRIx64 "%016" PRIx64, h->cluster.hi,
                   h->cluster.lo);
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, h->state_hash);
    if (json)
        return print_json(
            verb,
            json_pack("{sI,sI,ss,ss,sI,sI,sI,sI,sI,ss,sb}", "index", (json_int_t)h->pos.index,
                      "term", (json_int_t)h->pos.term.v, "cluster", cluster, "epoch",
                      epoch_text(h->epoch, epoch), "members", (json_int_t)h->config.config.count,
                      "config_index", (json_int_t)h->config.config.index, "objects",
                      (json_int_t)h->object_count, "object_bytes", (json_int_t)h->object_bytes,
                      "own_bytes", (json_int_t)h->own.len, "state_hash", hash, "verified",
                      (int)whole));
    (void)printf("index:%" PRIu64 "\nterm:%" PRIu64 "\ncluster:%s\nepoch:%s"
                 "\nmembers:%" PRIu32 "\nconfig_index:%" PRIu64 "\nobjects:%" PRIu64
                 "\nobject_bytes:%" PRIu64 "\nown_bytes:%zu\nstate_hash:%s\nverified:%s\n",
                 h->pos.index, h->pos.term.v, cluster, epoch_text(h->epoch, epoch),
                 h->config.config.count, h->config.config.index, h->object_count, h->object_bytes,
                 h->own.len, hash, whole ? "yes" : "head");
    return CLI_DONE;
}

static int file_look(const struct verb *verb, const char *path, bool whole, bool json)
{
    char dir[CLI_PATH_MAX];
    const char *name;
    if (!file_path(verb, path, dir, &name)) return CLI_FAILED;
    struct disk disk;
    struct kelp_fault fault = {0};
    if (posix_disk(dir, &disk, &fault) != KELP_OK)
        return cli_error(verb, CLI_FAILED, "%s: %s", dir, fault.what);
    struct wire_snaphead *head = malloc(sizeof *head);
    uint8_t *bytes = NULL;
    enum kelp_error error = head != NULL
                                ? store_snapshot_check(disk, name, whole, head, &bytes, &fault)
                                : KELP_E_NO_MEMORY;
    posix_disk_close(&disk);
    int status;
    if (error == KELP_OK)
        status = info_say(verb, head, json, whole);
    else if (error == KELP_E_CORRUPT)
        status = cli_error(verb, CLI_FAILED, "%s is damaged at byte %" PRIu64 ": %s", path,
                           fault.offset, fault.what);
    else
        status = cli_error(verb, CLI_FAILED, "%s: %s", path,
                           fault.what[0] != '\0' ? fault.what : kelp_strerror(error));
    free(bytes);
    free(head);
    return status;
}

static int node_ask(const struct verb *verb, const char *at, const char *what, const char *path,
                    const struct save_options *options)
{
    struct client c;
    int status;
    client_init(&c, CLIENT_TIMEOUT_MS);
    c.harmless = true; /* one snapshot more changes nothing that is kept */
    if (!client_connect_any(&c, at))
        status = cli_error(verb, CLI_FAILED, "%s", c.error);
    else if (strcmp(what, "save") == 0)
        status = snapshot_save(verb, &c, path, options);
    else if (strcmp(what, "now") == 0)
        status = now(verb, &c, options->json);
    else
        status = list(verb, &c, options->json);
    client_close(&c);
    return status;
}

int snapshot_verb(const struct verb *verb, int argc, char **argv)
{
    const char *at = NULL;
    struct save_options options = {.limit = 0};
    int status = CLI_DONE;
    if (argc > 1 && strcmp(argv[1], "fetch") == 0) return fetch_verb(argc - 1, argv + 1);
    const struct flag flags[] = {
        client_flag(&at),
        {.name = "newest",
         .kind = FLAG_SWITCH,
         .to.on = &options.newest,
         .words = "save: the newest there is; none is taken"},
        {.name = "limit",
         .kind = FLAG_NUMBER,
         .to.number = &options.limit,
         .high = UINT64_C(1) << 40,
         .value = "BYTES",
         .words = "save: at most so many a second"},
        {.name = "force",
         .kind = FLAG_SWITCH,
         .to.on = &options.force,
         .words = "save: replace FILE if it exists"},
        {.name = "json",
         .kind = FLAG_SWITCH,
         .to.on = &options.json,
         .words = "the answer as JSON"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 1, 2, &status) || !client_check(verb, at, &status))
        return status;
    const char *what = argv[1];
    bool save = strcmp(what, "save") == 0;
    bool file = strcmp(what, "info") == 0 || strcmp(what, "verify") == 0;
    bool node = strcmp(what, "now") == 0 || strcmp(what, "list") == 0;
    if (strcmp(what, "restore") == 0)
        return cli_error(verb, CLI_USAGE, "%s: not in this version", what);
    if (!file && !node && !save)
        return cli_error(verb, CLI_USAGE, "\"%s\" is none of now, list, save, info, verify", what);
    if ((file || save) != (argc == 3))
        return cli_error(verb, CLI_USAGE, "%s: %s", what,
                         save   ? "needs the name of a file, or - for standard output"
                         : file ? "needs a snapshot's file"
                                : "takes no more words");
    if (!save && (options.newest || options.force || options.limit != 0))
        return cli_error(verb, CLI_USAGE, "--newest, --limit and --force are of save");
    if (file) return file_look(verb, argv[2], strcmp(what, "verify") == 0, options.json);
    return node_ask(verb, at, what, save ? argv[2] : "", &options);
}
