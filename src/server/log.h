/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - lines for people and machines on standard error.
 *
 *   text   2025-03-01T10:00:00.123Z warn  lost the connection to node 3
 *   json   {"time":"2025-03-01T10:00:00.123Z","level":"warn","node":1,"message":"lost the .."}
 *
 * Under systemd each text line starts with its priority. A line is one write, so lines of several
 * threads never mix. */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include "kelp/event.h"

enum log_format { LOG_TEXT = 0, LOG_JSON = 1 };

/* log_change - while others log. */
void log_change(enum kelp_level level, enum log_format format);

/* log_setup - before any thread starts. */
void log_setup(enum kelp_level level, enum log_format format, kelp_id node);

/* log_node - whose lines they are, once that is known. */
void log_node(kelp_id node);

/* log_line - one line at a level, if that level is wanted; any thread. */
void log_line(enum kelp_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* log_format_line - the line as it would be written, with its newline; returns its length. unix_ms
 * is its time. */
size_t log_format_line(enum log_format format, enum kelp_level level, kelp_id node,
                       uint64_t unix_ms, const char *message, char *out, size_t size);

#endif
