/* SPDX-License-Identifier: Apache-2.0 */
/* resp_reply.h - RESP2 replies into a buffer.
 *
 * Every function appends one reply, or the head of one, and returns the buffer's error, which also
 * sticks in the buffer: a caller may write a whole nested reply and look once. An array or map head
 * is followed by its elements, written with these same functions. */
#ifndef PROTO_RESP_REPLY_H
#define PROTO_RESP_REPLY_H

#include "base/buf.h"

/* resp_simple - a status line such as OK; the text must hold no CR or LF. */
enum kelp_error resp_simple(struct buf *b, const char *text);

/* resp_error - an error line from a format, code first ("ERR syntax error"). Line ends in it become
 * blanks, at its end they are dropped; it is cut at 1023 bytes. */
enum kelp_error resp_error(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum kelp_error resp_integer(struct buf *b, int64_t number);
enum kelp_error resp_bulk(struct buf *b, struct kelp_bytes bytes);
enum kelp_error resp_bulk_text(struct buf *b, const char *text);
enum kelp_error resp_nil(struct buf *b);       /* a bulk string that is not there */
enum kelp_error resp_nil_array(struct buf *b); /* an array that is not there */
enum kelp_error resp_array(struct buf *b, size_t count);

#endif
