/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - asking for a snapshot, and its pieces: the bodies of WIRE_FETCH and WIRE_PIECE frames.
 *
 *   fetch                                  piece
 *   offset  size  field                    offset  size  field
 *        0     2  length                        0     2  length    of the fixed part
 *        2     8  index   not 0                 2     1  state     enum wire_piece_state
 *       10     8  term    not 0                 3     8  index     not 0
 *       18     8  offset                       11     8  term      not 0
 *       26     8  ask     not 0                19     8  offset
 *       34     8  window                       27     8  ask       not 0
 *                                              35     8  size
 *                                              43     8  newest index
 *                                              51     8  newest term
 *                                              59     8  sender's term  not 0
 *                                                        the bytes, BYTES only
 *
 * Both are self-sized. The bytes are covered by the frame's hash, and by the snapshot's own once
 * they are there. */
#include "wire/fetch.h"

#include "wire/wire.h"

static bool pos_there(struct kelp_pos pos)
{
    return wire_pos_sound(pos) && pos.index != 0;
}

/* NULL, or the rule that is broken. */
static const char *fetch_wrong(const struct wire_fetch *f)
{
    if (!pos_there(f->pos)) return "a snapshot that is asked for has no position";
    if (f->offset > WIRE_NUMBER_MAX) return "a place in a snapshot is out of range";
    if (f->ask == 0) return "a snapshot is asked for without a number";
    return NULL;
}

static const char *piece_wrong(const struct wire_piece *p)
{
    if (!pos_there(p->pos) || !wire_pos_sound(p->newest))
        return "the position of a snapshot's piece is out of range";
    if (p->ask == 0) return "a snapshot's piece names no question";
    if (p->term.v == 0 || p->term.v > WIRE_NUMBER_MAX)
        return "the sender's term in a snapshot's piece is out of range";
    switch ((enum wire_piece_state)p->state) {
    case WIRE_PIECE_GONE:
    case WIRE_PIECE_WAITS:
        return p->bytes.len == 0 ? NULL : "bytes follow a snapshot that is gone, or waits";
    case WIRE_PIECE_BYTES:
        if (p->bytes.len == 0 || p->bytes.len > WIRE_SNAPCHUNK_BYTES_MAX)
            return "the length of a snapshot's piece is out of range";
        if (p->term.v < p->pos.term.v) return "a snapshot's piece is of a term before its own";
        if (p->size > WIRE_NUMBER_MAX || p->offset > p->size || p->bytes.len > p->size - p->offset)
            return "a snapshot's piece reaches beyond its end";
        return NULL;
    }
    return "the state of a snapshot's piece is not known";
}

size_t wire_fetch_encode(const struct wire_fetch *f, uint8_t *out)
{
    ASSERT(fetch_wrong(f) == NULL);
    struct writer w = part_begin(out, WIRE_FETCH_MAX);
    write_pos(&w, f->pos);
    write_u64(&w, f->offset);
    write_u64(&w, f->ask);
    write_u64(&w, f->window);
    return part_end(&w);
}

enum kelp_error wire_fetch_decode(struct kelp_bytes in, struct wire_fetch *out,
                                  struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader r = part_open(in, &rest);
    *out = (struct wire_fetch){.pos = read_pos(&r)};
    out->offset = read_u64(&r);
    out->ask = read_u64(&r);
    out->window = read_u64(&r);
    if (r.failed || rest.len != 0)
        return wire_malformed(fault, "the length of a question for a snapshot is out of range");
    const char *wrong = fetch_wrong(out);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}

size_t wire_piece_encode(const struct wire_piece *p, uint8_t *out)
{
    ASSERT(piece_wrong(p) == NULL);
    struct writer w = part_begin(out, WIRE_PIECE_HEAD_MAX);
    write_u8(&w, p->state);
    write_pos(&w, p->pos);
    write_u64(&w, p->offset);
    write_u64(&w, p->ask);
    write_u64(&w, p->size);
    write_pos(&w, p->newest);
    write_u64(&w, p->term.v);
    return part_end(&w);
}

enum kelp_error wire_piece_decode(struct kelp_bytes in, struct wire_piece *out,
                                  struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader r = part_open(in, &rest);
    *out = (struct wire_piece){.state = read_u8(&r)};
    out->pos = read_pos(&r);
    out->offset = read_u64(&r);
    out->ask = read_u64(&r);
    out->size = read_u64(&r);
    out->newest = read_pos(&r);
    out->term.v = read_u64(&r);
    out->bytes = rest;
    if (r.failed || in.len - rest.len > WIRE_PIECE_HEAD_MAX)
        return wire_malformed(fault, "the length of a snapshot's piece is out of range");
    const char *wrong = piece_wrong(out);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}
