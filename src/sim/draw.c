/* SPDX-License-Identifier: Apache-2.0 */
/* draw.c - streams of choices, and cases packed into bytes. */
#include "sim/draw.h"

#include <string.h>

#include "base/min.h"

#define HEAD_ZEROS 0x80u
#define ZEROS_UNIT 64u
#define DATA_MAX   255u

static void keep(struct draw *d, const uint8_t *bytes, size_t count)
{
    if (d->kept != NULL) (void)buf_append(d->kept, bytes_of(bytes, count)); /* sticks in error */
}

uint64_t draw_bytes_slow(struct draw *d, unsigned count)
{
    ASSERT(count >= 1 && count <= 8);
    uint64_t value = 0;
    if (!d->finite) {
        value = prng_next(&d->expand) >> (64 - 8 * count);
    } else {
        for (unsigned i = 0; i < count; i++) {
            if (d->at + i < d->len) value |= (uint64_t)d->bytes[d->at + i] << (8 * (count - 1 - i));
        }
    }
    d->at += count;
    if (d->kept != NULL) {
        uint8_t bytes[8];
        for (unsigned i = 0; i < count; i++)
            bytes[i] = (uint8_t)(value >> (8 * (count - 1 - i)));
        keep(d, bytes, count);
    }
    return value;
}

struct draw draw_record(struct draw *d, uint8_t room[DRAW_RECORD_BYTES])
{
    for (unsigned i = 0; i < DRAW_RECORD_BYTES; i += 8) {
        uint64_t value = draw_bytes(d, 8);
        for (unsigned k = 0; k < 8; k++)
            room[i + k] = (uint8_t)(value >> (8 * (7 - k)));
    }
    return (struct draw){.bytes = room, .len = DRAW_RECORD_BYTES, .finite = true};
}

/* ---- cases ---- */

static bool zeros_append(struct buf *to, size_t count)
{
    if (buf_reserve(to, count) != KELP_OK) return false;
    memset(to->data + to->len, 0, count);
    to->len += count;
    return true;
}

bool draw_case_read(struct draw_case *c, const uint8_t *bytes, size_t len)
{
    size_t total = 0;
    for (unsigned i = 0; i < STREAM_COUNT; i++)
        buf_init(&c->streams[i], CASE_BYTES_MAX);
    for (size_t at = 0; at + 2 <= len;) {
        struct buf *to = &c->streams[(bytes[at] & 7u) % STREAM_COUNT];
        bool zeros = (bytes[at] & HEAD_ZEROS) != 0;
        size_t count = bytes[at + 1];
        at += 2;
        count = zeros ? ZEROS_UNIT * (count + 1) : min_u64(count, len - at);
        total += count;
        bool fits = total <= CASE_BYTES_MAX &&
                    (zeros ? zeros_append(to, count)
                           : buf_append(to, bytes_of(bytes + at, count)) == KELP_OK);
        if (!fits) {
            draw_case_free(c);
            return false;
        }
        if (!zeros) at += count;
    }
    return true;
}

static size_t zeros_at(const struct buf *b, size_t at)
{
    size_t end = at;
    while (end < b->len && b->data[end] == 0)
        end++;
    return end - at;
}

static bool stream_write(const struct buf *b, uint8_t stream, struct buf *out)
{
    for (size_t at = 0; at < b->len;) {
        size_t zeros = zeros_at(b, at) / ZEROS_UNIT;
        uint8_t head[2] = {stream, 0};
        if (zeros > 0) {
            zeros = min_u64(zeros, 256);
            head[0] |= HEAD_ZEROS;
            head[1] = (uint8_t)(zeros - 1);
            if (buf_append(out, bytes_of(head, 2)) != KELP_OK) return false;
            at += zeros * ZEROS_UNIT;
            continue;
        }
        size_t end = at;
        while (end < b->len && end - at < DATA_MAX && zeros_at(b, end) < ZEROS_UNIT)
            end++;
        head[1] = (uint8_t)(end - at);
        if (buf_append(out, bytes_of(head, 2)) != KELP_OK ||
            buf_append(out, bytes_of(b->data + at, end - at)) != KELP_OK)
            return false;
        at = end;
    }
    return true;
}

/* The length of the stream of faults says when healing begins, so its zeros stay. */
bool draw_case_write(const struct draw_case *c, struct buf *out)
{
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        struct buf stream = c->streams[i];
        while (i != STREAM_FAULT && stream.len > 0 && stream.data[stream.len - 1] == 0)
            stream.len--;
        if (!stream_write(&stream, (uint8_t)i, out)) return false;
    }
    return true;
}

void draw_case_free(struct draw_case *c)
{
    for (unsigned i = 0; i < STREAM_COUNT; i++)
        buf_close(&c->streams[i]);
}
