/* SPDX-License-Identifier: Apache-2.0 */
/* output.c - frames out of one connection.
 *
 *   send: parts, borrowed --flush: one gathered write--> socket
 *                            `- what it did not take, copied --> queue --one write each--> socket
 *
 * Almost always the socket takes everything and nothing is copied. libuv finishes one queued write
 * a turn of the loop, so what is left over goes into one buffer and one write, never into many
 * small ones.
 * Invariant: parts is empty outside of a driver's run; a frame is queued whole or not at all. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "base/unset.h"
#include "net/room.h"

#define GATHER_MAX 1024u         /* Linux takes no more buffers in one call */
#define IDLE_BYTES (256u * 1024) /* a buffer above this size is given back when it is empty */

static void output_broken(struct connection *c);

uint64_t output_bytes(const struct connection *c)
{
    return c->part_bytes + c->queue.len + c->flight.len;
}

void output_close(struct connection *c)
{
    free(c->parts);
    buf_close(&c->queue);
    buf_close(&c->flight);
}

/* ---- what the socket did not take ---------------------------------------------------------- */

static void write_next(struct connection *c);

static void on_written(uv_write_t *request, int status)
{
    struct connection *c = request->data;
    c->in_flight = false;
    if (c->state == CONNECTION_CLOSED) return;
    if (status < 0) {
        connection_fail(c, uv_strerror(status));
        return;
    }
    c->net->stats.bytes_out += c->flight.len;
    buf_clear(&c->flight);
    buf_trim(&c->flight, IDLE_BYTES);
    write_next(c);
}

static void write_next(struct connection *c)
{
    if (c->in_flight || c->broken || c->queue.len == 0) return;
    struct buf empty = c->flight;
    c->flight = c->queue;
    c->queue = empty;
    /* libuv counts bytes of one buffer in an unsigned int; a lane's limit is far below that. */
    uv_buf_t whole = uv_buf_init((char *)c->flight.data, (unsigned)c->flight.len);
    c->writing.data = c;
    if (uv_write(&c->writing, (uv_stream_t *)&c->tcp, &whole, 1, on_written) == 0)
        c->in_flight = true;
    else
        output_broken(c);
}

static void on_broken(uv_timer_t *timer)
{
    connection_fail(timer->data, "writing failed");
}

static void output_broken(struct connection *c)
{
    c->broken = true;
    (void)uv_timer_start(&c->timer, on_broken, 0, 0); /* fails only on a handle that is closing */
}

/* ---- borrowed parts -------------------------------------------------------------------------- */

static bool parts_reserve(struct connection *c, size_t count)
{
    if (c->part_room - c->part_count >= count) return true;
    size_t room = max_u64(c->part_room * 2, c->part_count + count);
    room = max_u64(room, 64);
    struct kelp_bytes *parts = realloc(c->parts, room * sizeof *parts);
    if (parts == NULL) return false;
    c->parts = parts;
    c->part_room = room;
    return true;
}

enum kelp_error output_queue(struct connection *c, const struct kelp_bytes *parts, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += parts[i].len;
    if (c->broken) return KELP_E_CLOSED;
    if (bytes > sub_sat(c->net->options.lane_bytes_max[c->lane], output_bytes(c)))
        return KELP_E_LIMIT;
    if (!parts_reserve(c, count)) return KELP_E_LIMIT;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) c->parts[c->part_count++] = parts[i];
    }
    c->part_bytes += bytes;
    return KELP_OK;
}

/* Write parts until the socket is full; returns how many bytes it took. */
static uint64_t gather_write(struct connection *c)
{
    uint64_t taken = 0;
    for (size_t at = 0; at < c->part_count;) {
        UNSET uv_buf_t buffers[GATHER_MAX];
        unsigned count = 0;
        uint64_t bytes = 0;
        for (; at < c->part_count && count < GATHER_MAX; at++) {
            char *data = (char *)(uintptr_t)c->parts[at].data; /* libuv has no const here */
            buffers[count++] = uv_buf_init(data, (unsigned)c->parts[at].len);
            bytes += c->parts[at].len;
        }
        int wrote = uv_try_write((uv_stream_t *)&c->tcp, buffers, count);
        if (wrote < 0) {
            if (wrote != UV_EAGAIN) output_broken(c);
            return taken;
        }
        taken += (uint64_t)wrote;
        if ((uint64_t)wrote < bytes) return taken;
    }
    return taken;
}

/* Copy the parts behind the first skip bytes. False: out of memory, and part of a frame may be
 * gone. */
static bool keep_rest(struct connection *c, uint64_t skip)
{
    if (c->part_bytes == skip) return true;
    if (buf_reserve(&c->queue, (size_t)(c->part_bytes - skip)) != KELP_OK) return false;
    for (size_t i = 0; i < c->part_count; i++) {
        struct kelp_bytes part = c->parts[i];
        size_t gone = (size_t)min_u64(skip, part.len);
        skip -= gone;
        (void)buf_append(&c->queue, bytes_of(part.data + gone, part.len - gone)); /* reserved */
    }
    return true;
}

void output_flush(struct connection *c)
{
    uint64_t taken = 0;
    if (!c->in_flight && c->queue.len == 0 && !c->broken) taken = gather_write(c);
    c->net->stats.bytes_out += taken;
    if (!c->broken && !keep_rest(c, taken)) output_broken(c);
    c->part_count = 0;
    c->part_bytes = 0;
    write_next(c);
}

void output_frame(struct connection *c, enum wire_kind kind, struct kelp_bytes body)
{
    uint8_t head[WIRE_FRAME_HEAD];
    wire_frame_head(head, kind, 0, &body, 1);
    c->net->stats.frames_out++;
    ASSERT(c->part_count == 0); /* the handshake comes before everything else */
    struct kelp_bytes parts[2] = {bytes_of(head, sizeof head), body};
    if (output_queue(c, parts, 2) == KELP_OK)
        output_flush(c);
    else
        output_broken(c); /* a handshake cannot be left out */
}
