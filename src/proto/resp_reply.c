/* SPDX-License-Identifier: Apache-2.0 */
/* resp_reply.c - the reply writer; see resp_reply.h. */
#include "proto/resp_reply.h"

#include <stdarg.h>
#include <stdio.h>

enum kelp_error resp_simple(struct buf *b, const char *text)
{
    size_t len = strlen(text);
    enum kelp_error error = buf_reserve(b, len + 3);
    if (error != KELP_OK) return error;
    (void)buf_append(b, BYTES_LITERAL("+"));
    (void)buf_append(b, bytes_of(text, len));
    return buf_append(b, BYTES_LITERAL("\r\n"));
}

enum kelp_error resp_error(struct buf *b, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int printed = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    size_t len = printed < 0 ? 0 : strlen(line);
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\r' || line[i] == '\n') line[i] = ' ';
    }
    enum kelp_error error = buf_reserve(b, len + 3);
    if (error != KELP_OK) return error;
    (void)buf_append(b, BYTES_LITERAL("-"));
    (void)buf_append(b, bytes_of(line, len));
    return buf_append(b, BYTES_LITERAL("\r\n"));
}

enum kelp_error resp_integer(struct buf *b, int64_t number)
{
    return buf_append_line(b, ':', number);
}

enum kelp_error resp_bulk(struct buf *b, struct kelp_bytes bytes)
{
    if (bytes.len > SIZE_MAX - DECIMAL_BYTES_MAX - 5) return b->error = KELP_E_LIMIT;
    enum kelp_error error = buf_reserve(b, bytes.len + DECIMAL_BYTES_MAX + 5);
    if (error != KELP_OK) return error;
    (void)buf_append_line(b, '$', (int64_t)bytes.len);
    (void)buf_append(b, bytes);
    return buf_append(b, BYTES_LITERAL("\r\n"));
}

enum kelp_error resp_bulk_text(struct buf *b, const char *text)
{
    return resp_bulk(b, bytes_of(text, strlen(text)));
}

enum kelp_error resp_nil(struct buf *b)
{
    return buf_append(b, BYTES_LITERAL("$-1\r\n"));
}

enum kelp_error resp_nil_array(struct buf *b)
{
    return buf_append(b, BYTES_LITERAL("*-1\r\n"));
}

enum kelp_error resp_array(struct buf *b, size_t count)
{
    return buf_append_line(b, '*', (int64_t)count);
}
