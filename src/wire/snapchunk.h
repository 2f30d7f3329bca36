/* SPDX-License-Identifier: Apache-2.0 */
/* snapchunk.h - the objects of a snapshot <-> bytes: chunks behind the head, each with a checksum
 * that knows which snapshot and which place it belongs to. */
#ifndef WIRE_SNAPCHUNK_H
#define WIRE_SNAPCHUNK_H

#include "kelp/types.h"

#define WIRE_SNAPCHUNK_HEAD      24u
#define WIRE_SNAPCHUNK_BYTES_MAX (256u * 1024) /* of a whole chunk */
#define WIRE_OBJECT_HEAD         5u
#define WIRE_OBJECT_BYTES_MAX    (64u * 1024) /* without its head */

enum wire_object_kind {
    WIRE_OBJECT_MACHINE = 1, /* the state machine's own */
    WIRE_OBJECT_SESSION = 2, /* of what is executed once: rsm/sessions.c */
};

struct wire_object {
    enum wire_object_kind kind;
    struct kelp_bytes bytes;
};

/* Which chunk: that of the snapshot at pos that begins offset bytes behind the head. */
struct wire_snapplace {
    struct kelp_pos pos;
    uint64_t offset;
};

/* wire_object_head - write the head of an object of len bytes that stand right behind it. */
void wire_object_head(uint8_t out[WIRE_OBJECT_HEAD], enum wire_object_kind kind, size_t len);

/* wire_snapchunk_seal - complete a chunk of len bytes whose objects stand behind its head. */
void wire_snapchunk_seal(uint8_t *chunk, size_t len, uint32_t objects, struct wire_snapplace place);

struct wire_snapchunk {
    uint32_t objects;
    struct kelp_bytes rest; /* what wire_object_next has not given; borrows in */
};

/* wire_snapchunk_open - read and verify. *used: the chunk's length, as soon as it is known.
 * KELP_E_MORE: in is a beginning of a chunk; KELP_E_VERSION: packed in a way that this version does
 * not know; KELP_E_CORRUPT, KELP_E_MALFORMED: damaged. */
enum kelp_error wire_snapchunk_open(struct kelp_bytes in, struct wire_snapplace place,
                                    struct wire_snapchunk *out, size_t *used,
                                    struct kelp_fault *fault);

/* wire_object_next - the next object of an open chunk; KELP_E_NOT_FOUND: there is none left. */
enum kelp_error wire_object_next(struct wire_snapchunk *c, struct wire_object *out,
                                 struct kelp_fault *fault);

#endif
