/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.h - what travels on the snapshot lane: whoever needs a snapshot asks for it from some place
 * of its file on, and is sent pieces: the head, then one chunk after the other, each whole. */
#ifndef WIRE_FETCH_H
#define WIRE_FETCH_H

#include "kelp/types.h"
#include "wire/snapchunk.h"

struct wire_fetch {
    struct kelp_pos pos; /* where the snapshot ends */
    uint64_t offset;     /* in its file; what is before it is here */
    uint64_t ask;        /* not 0; a higher one when something that was sent is lost */
    /* a piece is sent if it begins so close behind offset, in bytes. 0: none is asked for, this
     * says how far the sender is with a snapshot, wherever that comes from; or it is NEWER */
    uint64_t window;
};

/* As `ask`, without a window: is there a snapshot that ends above pos? The answer, of the same
 * number, is WAITS: there will be, or GONE: it is `newest`, 0@0: there is none for who asks. Who
 * does not know the question takes it for what says how far the sender is, and is silent. */
#define WIRE_FETCH_NEWER UINT64_MAX

enum wire_piece_state {
    WIRE_PIECE_BYTES = 1, /* bytes: of the file, at offset; verified by who sends them */
    WIRE_PIECE_GONE = 2,  /* it is not here, for who asks; newest: what is, 0@0: none */
    WIRE_PIECE_WAITS = 3, /* it is here, all before offset was sent, and nothing may be yet */
};

struct wire_piece {
    uint8_t state;
    struct kelp_pos pos, newest;
    uint64_t offset, ask;    /* as asked */
    uint64_t size;           /* of the whole file */
    kelp_term term;          /* of the sender: what it has is committed in it */
    struct kelp_bytes bytes; /* borrows in when decoded */
};

#define WIRE_FETCH_MAX      64u
#define WIRE_PIECE_HEAD_MAX 96u
/* head and bytes */
#define WIRE_PIECE_MAX (WIRE_PIECE_HEAD_MAX + WIRE_SNAPCHUNK_BYTES_MAX)

size_t wire_fetch_encode(const struct wire_fetch *f, uint8_t *out);
enum kelp_error wire_fetch_decode(struct kelp_bytes in, struct wire_fetch *out,
                                  struct kelp_fault *fault);

/* without bytes, which follow as a part */
size_t wire_piece_encode(const struct wire_piece *p, uint8_t *out);
enum kelp_error wire_piece_decode(struct kelp_bytes in, struct wire_piece *out,
                                  struct kelp_fault *fault);

#endif
