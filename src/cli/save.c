/* SPDX-License-Identifier: Apache-2.0 */
/* save.c - `kelp snapshot save`: a node's snapshot as a file elsewhere, byte for byte.
 *
 *   take (or the newest) --> head --> chunk --> .. --> all is there --> verified --> named
 *                              ^                  |
 *                              '--gone: the newest, from its beginning, unless bytes went to -
 *
 * Whatever comes is judged before it is written: the head by its checksum and by the position that
 * was asked for, each chunk by a checksum that knows its snapshot and its place, the sum of them by
 * what the head promises. The file is written beside FILE under its name with .tmp, locked, read
 * back whole and synced before it gets its name, so FILE is there whole or not at all. A lost
 * connection is made again, to the same node, and the next piece asked for: pieces are read, never
 * executed, so asking twice is harmless. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/min.h"
#include "cli/snapshot.h"
#include "store/store.h"
#include "wire/snapchunk.h"
#include "wire/snaphead.h"

#define TRIES_MAX 10u  /* in a row without a piece */
#define AGAIN_MS  300u /* between them */
#define GONE_MAX  5u   /* snapshots that went while they were read */
#define NEWER_MAX 100u /* looks, until there is another one */
#define SHOW_MS   200u
#define SUFFIX    ".tmp"

struct saving {
    const struct verb *verb;
    struct client *c;
    const struct save_options *options;
    int fd;
    bool piped; /* to standard output: what was written stays written */
    struct snapshot_row of;
    struct wire_snaphead head; /* its own bytes are not kept */
    uint64_t head_len, offset, size, objects;
    uint64_t began_ms, shown_ms; /* .. of this snapshot */
    char said[CLIENT_ERROR_MAX];
};

enum step { STEP_ON, STEP_AGAIN, STEP_GONE, STEP_FAILED };

static enum step failed(struct saving *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum step failed(struct saving *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(s->said, sizeof s->said, format, args);
    va_end(args);
    return STEP_FAILED;
}

static void pause_ms(uint64_t ms)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000L};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

/* ---- a piece -------------------------------------------------------------------------------- */

static enum step head_judge(struct saving *s, struct kelp_bytes piece)
{
    size_t used = 0;
    struct kelp_fault fault = {0};
    enum kelp_error error = wire_snaphead_decode(piece, &s->head, &used, &fault);
    if (error == KELP_E_VERSION)
        return failed(s, "the snapshot is of a version that this program does not know");
    struct kelp_pos pos = kelp_pos_of(s->of.index, s->of.term);
    bool right = error == KELP_OK && used == piece.len && kelp_pos_equal(s->head.pos, pos) &&
                 s->size >= used && (s->head.object_count > 0) == (s->size > used);
    s->head.own = bytes_of(NULL, 0);
    if (!right) return failed(s, "what the node sends as the head of its snapshot is damaged");
    s->head_len = used;
    return STEP_ON;
}

static enum step chunk_judge(struct saving *s, struct kelp_bytes piece)
{
    struct wire_snapchunk chunk;
    size_t used = 0;
    struct kelp_fault fault = {0};
    struct wire_snapplace place = {.pos = s->head.pos, .offset = s->offset - s->head_len};
    enum kelp_error error = wire_snapchunk_open(piece, place, &chunk, &used, &fault);
    if (error != KELP_OK || used != piece.len || chunk.objects == 0)
        return failed(s, "what the node sends is damaged at byte %" PRIu64 " of the snapshot",
                      s->offset);
    s->objects += chunk.objects;
    return STEP_ON;
}

static enum step write_all(struct saving *s, struct kelp_bytes bytes)
{
    for (size_t done = 0; done < bytes.len;) {
        ssize_t count = write(s->fd, bytes.data + done, bytes.len - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failed(s, "cannot be written: %s", strerror(errno));
        done += (size_t)count;
    }
    return STEP_ON;
}

static enum step piece_take(struct saving *s, uint64_t size, struct kelp_bytes piece)
{
    bool first = s->offset == 0;
    if (first) s->size = size;
    if (size != s->size || piece.len == 0 || piece.len > s->size - s->offset)
        return failed(s, "the node's answer makes no sense");
    enum step step = first ? head_judge(s, piece) : chunk_judge(s, piece);
    if (step == STEP_ON) step = write_all(s, piece);
    if (step == STEP_ON) s->offset += piece.len;
    if (step != STEP_ON || s->offset < s->size || s->objects == s->head.object_count) return step;
    return failed(s, "%" PRIu64 " objects came, the head says %" PRIu64, s->objects,
                  s->head.object_count);
}

static enum step error_judge(struct saving *s, const char *error)
{
    (void)failed(s, "%s", error);
    if (strncmp(error, "ERR SNAPSHOT_GONE", 17) == 0) return STEP_GONE;
    return strncmp(error, "TRYAGAIN ", 9) == 0 ? STEP_AGAIN : STEP_FAILED;
}

static enum step piece_ask(struct saving *s)
{
    char line[128];
    (void)snprintf(line, sizeof line, "RAFT SNAPSHOT READ %" PRIu64 " %" PRIu64 " %" PRIu64,
                   s->of.index, s->of.term, s->offset);
    if (s->c->fd < 0) {
        char address[CLI_ADDRESS_MAX]; /* the same node: another one has not this snapshot */
        (void)snprintf(address, sizeof address, "%s", s->c->at);
        if (!client_connect(s->c, address)) {
            (void)failed(s, "%s", s->c->error);
            return STEP_AGAIN;
        }
    }
    redisReply *reply = client_line(s->c, line);
    if (reply == NULL) {
        (void)failed(s, "%s", s->c->error);
        return STEP_AGAIN;
    }
    enum step step;
    bool right = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                 reply->element[0]->type == REDIS_REPLY_INTEGER && reply->element[0]->integer > 0 &&
                 reply->element[1]->type == REDIS_REPLY_STRING;
    if (reply->type == REDIS_REPLY_ERROR)
        step = error_judge(s, reply->str);
    else if (!right)
        step = failed(s, "the node's answer makes no sense");
    else
        step = piece_take(s, (uint64_t)reply->element[0]->integer,
                          bytes_of(reply->element[1]->str, reply->element[1]->len));
    freeReplyObject(reply);
    return step;
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void bar_show(struct saving *s, bool last)
{
    uint64_t now = print_now_ms();
    if (s->options->json || isatty(STDERR_FILENO) != 1 || (!last && now - s->shown_ms < SHOW_MS))
        return;
    s->shown_ms = now;
    if (last) {
        (void)fputs("\r\033[K", stderr);
        return;
    }
    uint64_t rate = s->offset * 1000 / max_u64(1, now - s->began_ms);
    uint64_t left = s->size > 0 && rate > 0 ? (s->size - s->offset) / rate : 0;
    char at[PRINT_NUMBER_MAX], of[PRINT_NUMBER_MAX], pace[PRINT_NUMBER_MAX];
    (void)fprintf(stderr, "\r\033[K%3u %%  %s of %s bytes, %s a second, %" PRIu64 " s left",
                  (unsigned)(s->offset * 100 / max_u64(1, s->size)), print_thousands(s->offset, at),
                  print_thousands(s->size, of), print_thousands(rate, pace), left);
}

/* A bucket without room: so many bytes need so long. */
static void limit_keep(const struct saving *s)
{
    if (s->options->limit == 0) return;
    uint64_t due = s->offset * 1000 / s->options->limit, gone = print_now_ms() - s->began_ms;
    if (due > gone) pause_ms(due - gone);
}

static enum step pieces_read(struct saving *s)
{
    unsigned tries = 0;
    s->began_ms = print_now_ms();
    while (s->offset == 0 || s->offset < s->size) {
        enum step step = piece_ask(s);
        if (step == STEP_AGAIN && ++tries < TRIES_MAX) {
            pause_ms(AGAIN_MS);
            continue;
        }
        if (step != STEP_ON) return step == STEP_AGAIN ? STEP_FAILED : step;
        tries = 0;
        bar_show(s, false);
        limit_keep(s);
    }
    return STEP_ON;
}

static bool newest_find(struct saving *s)
{
    struct snapshot_row rows[SNAPSHOT_ROWS_MAX];
    int count = snapshot_rows(s->verb, s->c, rows);
    for (int i = 0; i < count; i++) {
        if (strcmp(rows[i].state, "whole") != 0) continue;
        s->of = rows[i];
        return true;
    }
    if (count >= 0) (void)cli_error(s->verb, CLI_FAILED, "the node has no snapshot");
    return false;
}

static bool rewound(struct saving *s)
{
    s->offset = s->size = s->objects = 0;
    if (s->piped || (lseek(s->fd, 0, SEEK_SET) == 0 && ftruncate(s->fd, 0) == 0)) return true;
    (void)failed(s, "cannot be written: %s", strerror(errno));
    return false;
}

/* One that turned out damaged is the newest until another one was taken in its place. */
static bool newer_find(struct saving *s)
{
    struct snapshot_row was = s->of;
    for (unsigned looks = 0; newest_find(s); looks++) {
        if (s->of.index != was.index || s->of.term != was.term || looks == NEWER_MAX) return true;
        pause_ms(AGAIN_MS);
    }
    return false;
}

/* Everything is in fd, and was judged; false: it was said why not. */
static bool all_read(struct saving *s)
{
    bool unchanged, shows = !s->piped && !s->options->json && print_terminal();
    bool found = s->options->newest ? newest_find(s)
                                    : snapshot_take(s->verb, s->c, shows, &s->of, &unchanged);
    if (!found) return false;
    for (unsigned gone = 0; rewound(s); gone++) {
        enum step step = pieces_read(s);
        bar_show(s, true);
        if (step == STEP_ON) return true;
        bool again = step == STEP_GONE && gone < GONE_MAX && !(s->piped && s->offset > 0);
        if (!again) break;
        if (!newer_find(s)) return false;
    }
    (void)cli_error(s->verb, CLI_FAILED, "at byte %" PRIu64 " of the snapshot at %" PRIu64 ": %s",
                    s->offset, s->of.index, s->said);
    return false;
}

static int saved_say(const struct saving *s, const char *path)
{
    char bytes[PRINT_NUMBER_MAX], hash[17];
    if (s->options->quiet) return CLI_DONE;
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, s->head.state_hash);
    if (s->options->json && !s->piped)
        return print_json(s->verb,
                          json_pack("{ss,sI,sI,sI,sI,ss}", "file", path, "index",
                                    (json_int_t)s->of.index, "term", (json_int_t)s->of.term,
                                    "bytes", (json_int_t)s->size, "objects",
                                    (json_int_t)s->head.object_count, "state_hash", hash));
    (void)fprintf(s->piped ? stderr : stdout,
                  "%s: snapshot at %" PRIu64 "@%" PRIu64 ", %s bytes, state hash %s, verified\n",
                  path, s->of.index, s->of.term, print_thousands(s->size, bytes), hash);
    return CLI_DONE;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* What is on disk is looked at once more, as a start would. */
static bool read_back(const struct saving *s, const char *dir, const char *name)
{
    struct disk disk;
    struct kelp_fault fault = {0};
    uint8_t *bytes = NULL;
    struct wire_snaphead *head = malloc(sizeof *head);
    enum kelp_error error = head != NULL ? posix_disk(dir, &disk, &fault) : KELP_E_NO_MEMORY;
    if (error == KELP_OK) {
        error = store_snapshot_check(disk, name, true, head, &bytes, &fault);
        posix_disk_close(&disk);
    }
    free(bytes);
    free(head);
    if (error == KELP_OK) return true;
    (void)cli_error(s->verb, CLI_FAILED, "%s/%s: %s", dir, name,
                    fault.what[0] != '\0' ? fault.what : kelp_strerror(error));
    return false;
}

static bool dir_sync(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) (void)close(fd);
    return synced;
}

/* Nobody else writes it: two saves to one name do not mix. -1: said why. */
static int temporary_open(const struct verb *verb, const char *temporary)
{
    int fd = open(temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    (void)cli_error(verb, CLI_FAILED, "%s: %s", temporary,
                    fd >= 0 ? "another save writes it" : strerror(errno));
    if (fd >= 0) (void)close(fd);
    return -1;
}

static int file_save(struct saving *s, const char *path)
{
    char dir[CLI_PATH_MAX], temporary[CLI_PATH_MAX + sizeof SUFFIX];
    const char *name;
    struct stat found;
    if (!snapshot_path(s->verb, path, dir, &name)) return CLI_FAILED;
    if (name[0] == '\0' || strlen(name) + sizeof SUFFIX > FILE_NAME_MAX)
        return cli_error(s->verb, CLI_FAILED, "%.80s: must be the name of a file, of %u bytes",
                         path, (unsigned)(FILE_NAME_MAX - sizeof SUFFIX));
    if (lstat(path, &found) == 0 && !(s->options->force && S_ISREG(found.st_mode)))
        return cli_error(s->verb, CLI_FAILED, "%s: %s", path,
                         S_ISREG(found.st_mode) ? "it exists; --force replaces it"
                                                : "it exists, and is no file");
    (void)snprintf(temporary, sizeof temporary, "%s" SUFFIX, path);
    s->fd = temporary_open(s->verb, temporary);
    if (s->fd < 0) return CLI_FAILED;
    bool good = all_read(s);
    if (good && fsync(s->fd) != 0) {
        (void)cli_error(s->verb, CLI_FAILED, "%s: %s", temporary, strerror(errno));
        good = false;
    }
    good = good && read_back(s, dir, temporary + strlen(path) - strlen(name));
    if (good && (rename(temporary, path) != 0 || !dir_sync(dir))) {
        (void)cli_error(s->verb, CLI_FAILED, "%s: %s", path, strerror(errno));
        good = false;
    }
    if (!good) (void)unlink(temporary); /* while it is locked: it is ours */
    (void)close(s->fd);
    return good ? saved_say(s, path) : CLI_FAILED;
}

int snapshot_save(const struct verb *verb, struct client *c, const char *path,
                  const struct save_options *options)
{
    struct saving *s = calloc(1, sizeof *s);
    if (s == NULL) return cli_error(verb, CLI_FAILED, "out of memory");
    *s = (struct saving){.verb = verb, .c = c, .options = options, .fd = STDOUT_FILENO};
    s->piped = strcmp(path, "-") == 0;
    int status;
    if (s->piped && isatty(STDOUT_FILENO) == 1)
        status = cli_error(verb, CLI_USAGE, "-: standard output is a terminal");
    else if (s->piped)
        status = all_read(s) ? saved_say(s, "standard output") : CLI_FAILED;
    else
        status = file_save(s, path);
    free(s);
    return status;
}
