/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite.c - CONFIG REWRITE: what clients changed goes into the settings file.
 *
 *   file --read--> text, a line for each changed key --written beside it--> FILE.rewrite
 *        --read again as a start would: the keys as they are in force, all others as before-->
 *        synced, renamed, directory synced
 *
 * Comments, order and every line that is not about such a key stay. We do not know YAML well enough
 * to change any text of it (a mapping in braces, a value over several lines), but we know whether
 * it came out right, since the library reads it back before it gets its name. So a file that cannot
 * be changed line by line is left alone, and the error says which key.
 *
 * It is the file itself that is replaced, and not a link to it; mode and owner are kept. Somebody
 * may edit it meanwhile: what was read is compared with what is there once more before the rename.
 * All of it blocks, on the loop, as a reload does: it is asked for by an administrator, and a file
 * of a few kilobytes is what a system writes at once or hardly ever. */
#include "server/rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

#define FILE_BYTES_MAX (1u << 20)
#define SUFFIX         ".rewrite"
#define PATH_ROOM      (PATH_MAX + sizeof SUFFIX)

/* ---- text ---------------------------------------------------------------------------------- */

/* The value of the key in this line: where it begins and ends; false: the line is not its. */
static bool value_find(const char *line, size_t len, const char *key, size_t *begin, size_t *end)
{
    size_t at = 0, key_len = strlen(key);
    char quote = len > 0 && (line[0] == '"' || line[0] == '\'') ? line[at++] : '\0';
    if (len - at < key_len || memcmp(line + at, key, key_len) != 0) return false;
    at += key_len;
    if (quote != '\0' && (at == len || line[at++] != quote)) return false;
    while (at < len && line[at] == ' ')
        at++;
    if (at == len || line[at++] != ':') return false;
    while (at < len && line[at] == ' ')
        at++;
    *begin = at;
    while (at < len && line[at] != '\r' && !(line[at] == '#' && line[at - 1] == ' '))
        at++;
    while (at > *begin && line[at - 1] == ' ')
        at--;
    *end = at;
    return true;
}

bool rewrite_text(struct kelp_bytes text, const char *key, const char *value, struct buf *out)
{
    const char *all = (const char *)text.data;
    struct kelp_bytes now = bytes_of(value, strlen(value));
    size_t begin = 0, end = 0;
    for (size_t at = 0; at < text.len;) {
        const char *newline = memchr(all + at, '\n', text.len - at);
        size_t len = newline != NULL ? (size_t)(newline - all) - at : text.len - at;
        if (!value_find(all + at, len, key, &begin, &end)) {
            at += len + 1;
            continue;
        }
        if (begin == end) return false;
        (void)buf_append(out, bytes_of(all, at + begin));
        (void)buf_append(out, now);
        (void)buf_append(out, bytes_of(all + at + end, text.len - at - end));
        return out->error == KELP_OK;
    }
    (void)buf_append(out, text);
    if (text.len > 0 && all[text.len - 1] != '\n') (void)buf_append(out, bytes_of("\n", 1));
    (void)buf_append(out, bytes_of(key, strlen(key)));
    (void)buf_append(out, bytes_of(": ", 2));
    (void)buf_append(out, now);
    (void)buf_append(out, bytes_of("\n", 1));
    return out->error == KELP_OK;
}

/* ---- files --------------------------------------------------------------------------------- */

static bool failed(char *error, const char *file, const char *why)
{
    (void)snprintf(error, SETTINGS_ERROR_MAX, "%.200s: %.200s", file, why);
    return false;
}

static bool file_read(const char *file, struct buf *out, struct stat *what, char *error)
{
    uint8_t piece[4096];
    ssize_t got = 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return failed(error, file, strerror(errno));
    bool fine = fstat(fd, what) == 0 && S_ISREG(what->st_mode);
    while (fine && (got = read(fd, piece, sizeof piece)) > 0)
        fine = buf_append(out, bytes_of(piece, (size_t)got)) == KELP_OK;
    (void)close(fd);
    if (fine && got == 0) return true;
    return failed(error, file, "cannot be read whole: it must be a file of at most 1 MiB");
}

static bool file_write(const char *file, struct kelp_bytes text, const struct stat *as, char *error)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST) {
        (void)unlink(file); /* of one that was cut short: nobody else gives this name */
        fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    if (fd < 0) return failed(error, file, strerror(errno));
    bool fine = fchown(fd, as->st_uid, as->st_gid) == 0 && fchmod(fd, as->st_mode & 07777) == 0;
    for (size_t at = 0; fine && at < text.len;) {
        ssize_t put = write(fd, text.data + at, text.len - at);
        fine = put > 0 || (put < 0 && errno == EINTR);
        at += put > 0 ? (size_t)put : 0;
    }
    fine = fine && fsync(fd) == 0;
    if (!fine) (void)failed(error, file, strerror(errno));
    (void)close(fd);
    return fine;
}

static bool directory_sync(const char *file)
{
    char path[PATH_ROOM];
    (void)snprintf(path, sizeof path, "%s", file);
    int fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool fine = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) (void)close(fd);
    return fine;
}

/* ---- together ------------------------------------------------------------------------------ */

static bool is_said(const struct settings *s, size_t i)
{
    return settings_source(s, &settings_table[i]).origin == ORIGIN_CLIENT;
}

static bool all_keys(const struct settings *force, struct kelp_bytes was, struct buf *out,
                     char *error)
{
    (void)buf_append(out, was);
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        char value[SETTING_TEXT_MAX];
        if (!is_said(force, i)) continue;
        (void)settings_value(force, row, value, sizeof value);
        struct buf next;
        buf_init(&next, FILE_BYTES_MAX);
        bool fine = rewrite_text(buf_bytes(out), row->key, value, &next);
        buf_close(out);
        *out = next;
        if (fine) continue;
        return failed(error, row->key,
                      "its value is not in the line of its name; change the file by hand");
    }
    return out->error == KELP_OK || failed(error, "the file", "it would be larger than 1 MiB");
}

/* Would a start read from it what is in force, and all else as from the file that is there? Of the
 * command line nothing is asked: it goes before the file in both. */
static bool judge(const char *file, const char *temporary, const struct settings *force,
                  char *error)
{
    struct settings old, new;
    struct options before = {.file = file}, after = {.file = temporary};
    if (!options_texts(&before, &old, error)) return false;
    if (!options_texts(&after, &new, error)) {
        settings_close(&old);
        return failed(error, file, "its form is not one that can be changed; do it by hand");
    }
    bool fine = true;
    for (size_t i = 0; fine && i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        char now[8192], want[8192];
        (void)settings_value(&new, row, now, sizeof now);
        (void)settings_value(is_said(force, i) ? force : &old, row, want, sizeof want);
        fine = strcmp(now, want) == 0;
        if (!fine)
            (void)failed(error, row->key,
                         "the file's form is not one that can be changed; do it by hand");
    }
    settings_close(&old);
    settings_close(&new);
    return fine;
}

static bool untouched(const char *file, const struct stat *then)
{
    struct stat now;
    return stat(file, &now) == 0 && now.st_ino == then->st_ino && now.st_dev == then->st_dev &&
           now.st_size == then->st_size && now.st_mtim.tv_sec == then->st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == then->st_mtim.tv_nsec;
}

static void sources_say(const struct options *kept, struct settings *force)
{
    struct settings again;
    char ignored[SETTINGS_ERROR_MAX];
    bool known = options_texts(&(struct options){.file = kept->file}, &again, ignored);
    for (size_t i = 0; i < settings_count; i++) {
        struct setting_source source = {.origin = ORIGIN_FILE};
        if (!is_said(force, i)) continue;
        if (known) source = settings_source(&again, &settings_table[i]);
        settings_say(force, &settings_table[i], source);
    }
    if (known) settings_close(&again);
}

static bool replace(const char *file, const struct settings *force, char *error)
{
    char temporary[PATH_ROOM];
    struct buf was, text;
    struct stat what;
    (void)snprintf(temporary, sizeof temporary, "%s" SUFFIX, file);
    buf_init(&was, FILE_BYTES_MAX);
    buf_init(&text, FILE_BYTES_MAX);
    bool fine =
        file_read(file, &was, &what, error) && all_keys(force, buf_bytes(&was), &text, error);
    bool begun = fine && file_write(temporary, buf_bytes(&text), &what, error);
    fine = begun && judge(file, temporary, force, error);
    if (fine && !untouched(file, &what))
        fine = failed(error, file, "it was changed meanwhile; try again");
    if (fine && rename(temporary, file) != 0) fine = failed(error, file, strerror(errno));
    if (fine && !directory_sync(file)) /* it is there, perhaps not after a power cut */
        fine = failed(error, file, "it is changed, and its directory could not be synced");
    else if (!fine && begun)
        (void)unlink(temporary);
    buf_close(&was);
    buf_close(&text);
    return fine;
}

bool rewrite_file(const struct options *kept, struct settings *force, size_t *count, char *error)
{
    *count = 0;
    for (size_t i = 0; i < settings_count; i++)
        *count += is_said(force, i) ? 1 : 0;
    if (*count == 0) return true;
    char *file = realpath(kept->file, NULL);
    if (file == NULL) return failed(error, kept->file, strerror(errno));
    bool fine = strlen(file) < PATH_MAX && replace(file, force, error);
    free(file);
    if (fine) sources_say(kept, force);
    return fine;
}
