/* SPDX-License-Identifier: Apache-2.0 */
/* snaphead.h - the head of a snapshot <-> bytes: at most 64 KiB, whole in one checksum. */
#ifndef WIRE_SNAPHEAD_H
#define WIRE_SNAPHEAD_H

#include "kelp/fsm.h"
#include "wire/config.h"

#define WIRE_SNAPHEAD_VERSION   1u
#define WIRE_SNAPHEAD_BYTES_MAX 65536u

struct wire_snaphead {
    struct kelp_cluster_id cluster;
    uint64_t epoch;
    struct kelp_pos pos;
    uint64_t time_ns;      /* cluster clock at pos */
    uint64_t object_count; /* objects that follow the head; 0 for a disposable machine */
    uint64_t object_bytes; /* their bytes */
    uint64_t state_hash;
    uint64_t chain_hash; /* of every entry up to pos, see rsm */
    bool hollow;         /* of a witness: where its log begins, without any state */
    /* newest configuration at or below pos; config.config.index says where */
    struct wire_config config;
    /* the machine's own bytes, at most KELP_FSM_OWN_BYTES_MAX; decoded: borrows in */
    struct kelp_bytes own;
};

/* wire_snaphead_encode - write at most WIRE_SNAPHEAD_BYTES_MAX bytes; returns how many, 0 if it
 * does not fit. */
size_t wire_snaphead_encode(const struct wire_snaphead *h, uint8_t *out, size_t size);

/* wire_snaphead_decode - read and verify. *used: bytes of the head. Errors as wire_entry_decode. */
enum kelp_error wire_snaphead_decode(struct kelp_bytes in, struct wire_snaphead *out, size_t *used,
                                     struct kelp_fault *fault);

#endif
