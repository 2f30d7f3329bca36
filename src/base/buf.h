/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - a growable byte buffer with a ceiling, for replies going out and requests coming in.
 *
 * Reserve, then write: after a reservation the bytes are there and nothing fails. A failure (no
 * memory, or the ceiling) sticks in error until buf_clear, and every later write is a no-op, so
 * that a caller may write a whole reply and look once. Room doubles; it is given back by buf_trim
 * only. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/bytes.h"
#include "base/decimal.h"

struct buf {
    uint8_t *data;
    size_t len;  /* bytes written */
    size_t room; /* bytes allocated */
    size_t max;  /* len never passes it */
    enum kelp_error error;
};

/* buf_init - an empty buffer that may grow to max bytes; allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* buf_close - give the memory back; the buffer is empty and usable again. */
void buf_close(struct buf *b);

/* buf_grow - the slow half of buf_reserve. */
enum kelp_error buf_grow(struct buf *b, size_t bytes);

/* buf_drop - forget the first bytes, moving the rest to the front. */
void buf_drop(struct buf *b, size_t bytes);

/* buf_trim - give memory back when more than room_max is held and the content fits into
 * room_max. */
void buf_trim(struct buf *b, size_t room_max);

/* buf_clear - forget content and error, keep the memory. */
static inline void buf_clear(struct buf *b)
{
    b->len = 0;
    b->error = KELP_OK;
}

static inline struct kelp_bytes buf_bytes(const struct buf *b)
{
    return bytes_of(b->data, b->len);
}

/* buf_reserve - make room for bytes more. KELP_E_LIMIT past max, KELP_E_NO_MEMORY, or the error
 * that stuck. */
static inline enum kelp_error buf_reserve(struct buf *b, size_t bytes)
{
    if (b->error == KELP_OK && b->room - b->len >= bytes) return KELP_OK;
    return buf_grow(b, bytes);
}

/* buf_append - reserve and copy; nothing is written on failure. */
static inline enum kelp_error buf_append(struct buf *b, struct kelp_bytes bytes)
{
    enum kelp_error error = buf_reserve(b, bytes.len);
    if (error != KELP_OK || bytes.len == 0) return error;
    memcpy(b->data + b->len, bytes.data, bytes.len);
    b->len += bytes.len;
    return KELP_OK;
}

/* buf_append_text - the same for a C string. */
static inline enum kelp_error buf_append_text(struct buf *b, const char *text)
{
    return buf_append(b, bytes_of(text, strlen(text)));
}

/* buf_append_line - a mark, a decimal number and CR LF: the head of nearly every RESP reply, in one
 * reservation. */
static inline enum kelp_error buf_append_line(struct buf *b, char mark, int64_t number)
{
    enum kelp_error error = buf_reserve(b, DECIMAL_BYTES_MAX + 3);
    if (error != KELP_OK) return error;
    uint8_t *at = b->data + b->len;
    *at++ = (uint8_t)mark;
    at += decimal_write(number, at);
    *at++ = '\r';
    *at++ = '\n';
    b->len = (size_t)(at - b->data);
    return KELP_OK;
}

#endif
