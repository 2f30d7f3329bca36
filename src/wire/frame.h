/* SPDX-License-Identifier: Apache-2.0 */
/* frame.h - frames: what travels on a connection between nodes, and the incremental cutter for the
 * receiving side.
 *
 * A frame is a fixed head (magic, version, kind, group, body length, how much of it is hashed, body
 * checksum, head checksum) and a body. The head is verified before its length is believed, the body
 * before anyone reads it, the entries of a message excepted: they carry their own checksums, and
 * wire_message_decode verifies those. */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "kelp/transport.h"
#include "kelp/types.h"

enum wire_kind {
    WIRE_HELLO = 1,   /* handshake.h */
    WIRE_REFUSE = 2,  /* handshake.h: the reason, then the connection is closed */
    WIRE_MESSAGE = 3, /* message.h */
    WIRE_FORWARD = 4, /* forward.h */
    WIRE_FORWARD_ANSWER = 5,
    WIRE_FOUND = 6,     /* found.h */
    WIRE_ADDRESSES = 7, /* handshake.h: the table of advertised addresses */
    WIRE_FETCH = 8,     /* fetch.h: asks for a snapshot */
    WIRE_PIECE = 9,     /* fetch.h: a piece of it */
    WIRE_MARKS = 10,    /* mark.h: what the sender's state was */
};

#define WIRE_FRAME_HEAD 40u
/* one message of entries; a PIECE: WIRE_PIECE_MAX; kinds other than MESSAGE, FORWARD*: 256 KiB */
#define WIRE_FRAME_BODY_MAX   (24u * 1024 * 1024)
#define WIRE_PROTOCOL_VERSION 1u

struct wire_frame {
    uint8_t kind;
    uint32_t group;
    struct kelp_bytes body;
    size_t hashed; /* bytes of the body that are verified; all of it, unless kind is WIRE_MESSAGE */
};

/* wire_frame_head - write the WIRE_FRAME_HEAD bytes in front of a body given as parts (hashes
 * them). */
void wire_frame_head(uint8_t *out, enum wire_kind kind, uint32_t group,
                     const struct kelp_bytes *parts, size_t part_count);

/* wire_frame_head_entries - the same in front of a WIRE_MESSAGE that carries entries: its hash
 * covers the message's fixed part, which is read here, and leaves out the entry_bytes behind it. */
void wire_frame_head_entries(uint8_t *out, uint32_t group, struct kelp_bytes message,
                             size_t entry_bytes);

/* wire_frame_decode - look at the start of in. KELP_OK: *out borrows in, *used bytes belong to it.
 * KELP_E_MORE: wait;
 * *used is how many bytes the whole frame will have once the head is there, else 0. Anything else:
 * close the
 * connection. body_max: what this connection accepts now (small before the handshake is through).
 * */
enum kelp_error wire_frame_decode(struct kelp_bytes in, size_t body_max, struct wire_frame *out,
                                  size_t *used, struct kelp_fault *fault);

#endif
