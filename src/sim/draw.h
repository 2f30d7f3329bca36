/* SPDX-License-Identifier: Apache-2.0 */
/* draw.h - where a world's choices come from: streams of bytes, one a concern.
 *
 * A seed expands every stream without end; a case gives each stream finite bytes, and behind them
 * only zeros come. Every draw is made so that zero is the mildest choice (nothing lost, no fault,
 * the least delay), so fewer and smaller bytes are a smaller case: the simulator, the fuzzer and
 * the minimiser are one harness. What a seed expands to can be kept, and played again as a case
 * with the same events. When the bytes of the faults end, the cluster is healed.
 *
 * A case as bytes, so that any bytes are one and a prefix of one is a smaller one:
 *
 *   chunk   = head:u8 length:u8 data
 *   head    bits 0..2 stream, modulo STREAM_COUNT; bit 7: no data follow, the chunk is zeros
 *   length  data: so many bytes, at most what is left; zeros: 64 x (length + 1) of them
 *
 * Source: the bytes as choices: MacIver, Donaldson, "Test-case reduction via test-case generation:
 * insights from the Hypothesis reducer", ECOOP 2020. */
#ifndef SIM_DRAW_H
#define SIM_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/prng.h"

enum stream {
    STREAM_SWARM, /* the shape of the world */
    STREAM_FAULT, /* which faults, when; in records */
    STREAM_CLIENT,
    STREAM_NET,
    STREAM_DISK,
    STREAM_NODE,
    STREAM_COUNT
};

#define DRAW_RECORD_BYTES 32u
#define CASE_BYTES_MAX    (64u * 1024 * 1024) /* of all streams together, unpacked */

struct draw {
    struct prng expand;   /* bytes == NULL: they come from here */
    const uint8_t *bytes; /* borrowed; of a case */
    size_t len, at;       /* at: also counts what a seed was asked for */
    struct buf *kept;     /* NULL: what is drawn is not kept */
    bool finite;
};

/* draw_more - false: the bytes of a case are used up. */
static inline bool draw_more(const struct draw *d)
{
    return !d->finite || d->at < d->len;
}

/* draw_bytes - the next 1..8 bytes as a number, the first one on top; zeros behind the end. */
uint64_t draw_bytes_slow(struct draw *d, unsigned count);
static inline uint64_t draw_bytes(struct draw *d, unsigned count)
{
    if (d->finite || d->kept != NULL) return draw_bytes_slow(d, count);
    d->at += count;
    return prng_next(&d->expand) >> (64 - 8 * count);
}

/* draw_record - the next record of a stream as a stream of its own, so that a record can be zeroed
 * or left out without moving those behind it. The draws of one record are at most
 * DRAW_RECORD_BYTES; what is asked for beyond is zero. The record is valid until the next one.
 * Takes room for the bytes. */
struct draw draw_record(struct draw *d, uint8_t room[DRAW_RECORD_BYTES]);

/* draw_below - in 0..n-1, n > 0; nearly uniform, and it grows with the bytes for n < 2^32. */
static inline uint64_t draw_below(struct draw *d, uint64_t n)
{
    ASSERT(n > 0);
    if (n == 1) return 0;
    if (n <= 1u << 8) return draw_bytes(d, 2) * n >> 16;
    if (n <= UINT32_MAX) return draw_bytes(d, 4) * n >> 32;
    return draw_bytes(d, 8) % n;
}

/* draw_between - in low..high, both included. */
static inline uint64_t draw_between(struct draw *d, uint64_t low, uint64_t high)
{
    return low + draw_below(d, high - low + 1);
}

/* draw_chance - true once in `in` times `times`; zero bytes mean false. */
static inline bool draw_chance(struct draw *d, uint64_t times, uint64_t in)
{
    return draw_below(d, in) >= in - times;
}

/* What a case holds for each stream; the bytes are owned. */
struct draw_case {
    struct buf streams[STREAM_COUNT];
};

/* draw_case_read - unpack; false: no memory, or above CASE_BYTES_MAX. Any bytes are a case. */
bool draw_case_read(struct draw_case *c, const uint8_t *bytes, size_t len);
/* draw_case_write - append the packed case to out; trailing zeros of a stream are left out. */
bool draw_case_write(const struct draw_case *c, struct buf *out);
void draw_case_free(struct draw_case *c);

#endif
