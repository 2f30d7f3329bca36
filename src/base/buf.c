/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - the parts of a growable buffer that are not worth inlining: growth, moving, giving
 * back. */
#include "base/buf.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/min.h"

#define BUF_ROOM_MIN 256u

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_close(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max);
}

enum kelp_error buf_grow(struct buf *b, size_t bytes)
{
    ASSERT(b->len <= b->room);
    if (b->error != KELP_OK) return b->error;
    if (b->len > b->max || bytes > b->max - b->len) return b->error = KELP_E_LIMIT;
    size_t wanted = b->len + bytes;
    if (wanted <= b->room) return KELP_OK;
    size_t doubled = b->room > b->max / 2 ? b->max : b->room * 2;
    size_t room = max_u64(max_u64(wanted, doubled), min_u64(BUF_ROOM_MIN, b->max));
    uint8_t *data = realloc(b->data, room);
    if (data == NULL) return b->error = KELP_E_NO_MEMORY;
    b->data = data;
    b->room = room;
    return KELP_OK;
}

void buf_drop(struct buf *b, size_t bytes)
{
    ASSERT(bytes <= b->len);
    if (bytes == 0) return;
    memmove(b->data, b->data + bytes, b->len - bytes);
    b->len -= bytes;
}

void buf_trim(struct buf *b, size_t room_max)
{
    if (b->room <= room_max || b->len > room_max) return;
    if (b->len == 0) {
        free(b->data);
        b->data = NULL;
        b->room = 0;
        return;
    }
    uint8_t *data = realloc(b->data, room_max);
    if (data == NULL)
        return; /* the larger block is still ours: only a chance to save memory is lost */
    b->data = data;
    b->room = room_max;
}
