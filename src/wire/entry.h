/* SPDX-License-Identifier: Apache-2.0 */
/* entry.h - a log entry <-> bytes; the same bytes in the log cache, in the log file and on the
 * wire. */
#ifndef WIRE_ENTRY_H
#define WIRE_ENTRY_H

#include "kelp/core.h"
#include "kelp/types.h"

enum wire_entry_flag {
    WIRE_ENTRY_IN_SESSION = 1, /* session, sequence, acknowledged follow the head */
    WIRE_ENTRY_EXTENDED = 2,   /* an extension of up to WIRE_EXTENSION_MAX opaque bytes follows */
};
#define WIRE_EXTENSION_MAX     65536u
#define WIRE_ENTRY_PAYLOAD_MAX (8u * 1024 * 1024) /* a command */
#define WIRE_ENTRY_MAX         (WIRE_ENTRY_PAYLOAD_MAX + 128u * 1024)

struct wire_entry {
    struct kelp_pos pos;
    uint8_t type;     /* enum kelp_entry_type */
    uint32_t flags;   /* enum wire_entry_flag */
    uint64_t time_ns; /* cluster time */
    uint64_t session, sequence, acknowledged;
    struct kelp_bytes extension, payload;
};

/* wire_entry_size - encoded bytes of an entry: a multiple of 8. Only flags, extension.len and
 * payload.len count. */
size_t wire_entry_size(const struct wire_entry *e);

/* wire_entry_payload - where the payload goes, to build a command in place before the entry has its
 * position.
 * out has wire_entry_size(e) bytes; e->payload.data is not looked at. */
uint8_t *wire_entry_payload(const struct wire_entry *e, uint8_t *out);

/* wire_entry_encode - write head, fields, extension, payload, padding and checksum. When
 * e->payload.data already is
 * wire_entry_payload(e, out), the payload is not copied. */
void wire_entry_encode(const struct wire_entry *e, uint8_t *out);

/* wire_entry_decode - read and verify the entry at the start of in.
 * *used: its bytes. KELP_E_MORE: in is too short to hold it (nothing else is wrong so far);
 * KELP_E_MALFORMED: lengths
 * or padding make no sense; KELP_E_CORRUPT: checksum; KELP_E_VERSION: unknown type or flag (the
 * checksum is good). */
enum kelp_error wire_entry_decode(struct kelp_bytes in, struct wire_entry *out, size_t *used,
                                  struct kelp_fault *fault);

/* wire_entry_open - wire_entry_decode without the checksum, for bytes that this process verified or
 * made and has kept since. Same errors save KELP_E_CORRUPT. */
enum kelp_error wire_entry_open(struct kelp_bytes in, struct wire_entry *out, size_t *used,
                                struct kelp_fault *fault);

/* wire_entry_peek - length, position and type of the entry at the start of in without verifying the
 * checksum; for
 * walking bytes that were verified before. Same errors as decode save KELP_E_CORRUPT. */
enum kelp_error wire_entry_peek(struct kelp_bytes in, struct kelp_pos *pos, uint8_t *type,
                                size_t *bytes);

/* wire_entry_type - of an entry that was opened or peeked at before. */
uint16_t wire_entry_type(struct kelp_bytes encoded);

/* wire_entry_checksum - the stored checksum of an encoded entry. */
uint64_t wire_entry_checksum(struct kelp_bytes encoded);

#endif
