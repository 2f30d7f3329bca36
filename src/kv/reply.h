/* SPDX-License-Identifier: Apache-2.0 */
/* reply.h - the few shapes of RESP2 reply that the machine makes.
 *
 * The room proto has the server's writer; this one stands on base alone, so that a state machine
 * needs nothing of the server's. An error sticks in the buffer, and the machine looks once, after
 * the command. A reply whose head is known only after its body (KEYS, SCAN) starts with a gap,
 * which the head fills from the right; struct kv.reply_skip says where the reply then begins. */
#ifndef KV_REPLY_H
#define KV_REPLY_H

#include "base/buf.h"

#define REPLY_GAP 80u

static inline void reply_simple(struct buf *b,
                                const char *line) /* with its mark: "+OK" or "-ERR .." */
{
    (void)buf_append_text(b, line);
    (void)buf_append(b, BYTES_LITERAL("\r\n"));
}

static inline void reply_integer(struct buf *b, int64_t number)
{
    (void)buf_append_line(b, ':', number);
}

static inline void reply_bulk(struct buf *b, struct kelp_bytes bytes)
{
    if (buf_reserve(b, bytes.len + DECIMAL_BYTES_MAX + 5) != KELP_OK) return;
    (void)buf_append_line(b, '$', (int64_t)bytes.len);
    (void)buf_append(b, bytes);
    (void)buf_append(b, BYTES_LITERAL("\r\n"));
}

static inline void reply_nil(struct buf *b)
{
    (void)buf_append(b, BYTES_LITERAL("$-1\r\n"));
}

static inline void reply_array(struct buf *b, uint64_t count)
{
    (void)buf_append_line(b, '*', (int64_t)count);
}

#endif
