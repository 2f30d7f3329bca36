/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line, one write; see log.h. */
#include "server/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048u

static struct {
    atomic_int level, format; /* changed by CONFIG SET while the log's thread reads them */
    atomic_ullong node;       /* 0: it has no id yet */
    bool journal;             /* standard error is the journal: say the priority */
} settings = {.level = KELP_INFO};

void log_change(enum kelp_level level, enum log_format format)
{
    atomic_store(&settings.level, (int)level);
    atomic_store(&settings.format, (int)format);
}

void log_setup(enum kelp_level level, enum log_format format, kelp_id node)
{
    log_change(level, format);
    log_node(node);
    settings.journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_node(kelp_id node)
{
    atomic_store(&settings.node, node < KELP_ID_WAITING ? node : 0);
}

static const char *level_name(enum kelp_level level)
{
    switch (level) {
    case KELP_ERROR: return "error";
    case KELP_WARN: return "warn";
    case KELP_INFO: return "info";
    case KELP_DEBUG: return "debug";
    }
    return "info";
}

static int level_priority(enum kelp_level level) /* of syslog */
{
    switch (level) {
    case KELP_ERROR: return 3;
    case KELP_WARN: return 4;
    case KELP_INFO: return 6;
    case KELP_DEBUG: return 7;
    }
    return 6;
}

static size_t time_write(uint64_t unix_ms, char *out, size_t size)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL) return 0;
    size_t len = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &parts);
    int more = snprintf(out + len, size - len, ".%03uZ", (unsigned)(unix_ms % 1000));
    return len + (size_t)more;
}

/* The message inside a JSON string; cut to what fits. */
static size_t escape(const char *message, char *out, size_t size)
{
    size_t len = 0;
    for (const char *at = message; *at != '\0' && len + 7 < size; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '"' || c == '\\')
            len += (size_t)snprintf(out + len, size - len, "\\%c", c);
        else if (c < ' ' || c >= 127)
            len += (size_t)snprintf(out + len, size - len, "\\u%04x", c);
        else
            out[len++] = (char)c;
    }
    out[len] = '\0';
    return len;
}

size_t log_format_line(enum log_format format, enum kelp_level level, kelp_id node,
                       uint64_t unix_ms, const char *message, char *out, size_t size)
{
    char at[40] = "";
    (void)time_write(unix_ms, at, sizeof at);
    char escaped[LINE_MAX_BYTES - 200];
    int len = 0;
    switch (format) {
    case LOG_TEXT: len = snprintf(out, size, "%s %-5s %s\n", at, level_name(level), message); break;
    case LOG_JSON:
        (void)escape(message, escaped, sizeof escaped);
        len = snprintf(out, size,
                       "{\"time\":\"%s\",\"level\":\"%s\",\"node\":%llu,\"message\":\"%s\"}\n", at,
                       level_name(level), (unsigned long long)node, escaped);
        break;
    }
    size_t written = (size_t)len;
    if (written < size) return written;
    out[size - 2] = '\n'; /* it was cut */
    return size - 1;
}

void log_line(enum kelp_level level, const char *format, ...)
{
    if ((int)level > atomic_load(&settings.level)) return;
    char message[LINE_MAX_BYTES / 2], line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t unix_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    enum log_format shape = (enum log_format)atomic_load(&settings.format);
    size_t head = 0;
    if (settings.journal && shape == LOG_TEXT)
        head = (size_t)snprintf(line, sizeof line, "<%d>", level_priority(level));
    size_t len = log_format_line(shape, level, atomic_load(&settings.node), unix_ms, message,
                                 line + head, sizeof line - head);
    /* Nobody is left to be told when standard error cannot be written. */
    ssize_t written = write(STDERR_FILENO, line, head + len);
    (void)written;
}
