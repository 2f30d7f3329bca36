/* SPDX-License-Identifier: Apache-2.0 */
/* found.h - the messages of founding a cluster: show, pledge, and handing entry 1 over. The rules
 * live in
 * driver/found.c; here are the bytes. */
#ifndef WIRE_FOUND_H
#define WIRE_FOUND_H

#include "wire/config.h"

enum wire_found_type {
    WIRE_FOUND_SHOW = 1,    /* who are you? ids: whom I list */
    WIRE_FOUND_SHOWN = 2,   /* cluster, incarnation, holds, ids: whom I list */
    WIRE_FOUND_PLEDGE = 3,  /* pledge yourself to this cluster */
    WIRE_FOUND_PLEDGED = 4, /* I did; incarnation */
    /* I will not; words say why; exists: my cluster lives since created_unix_ms */
    WIRE_FOUND_REFUSED = 5,
    WIRE_FOUND_ENTRY = 6,   /* entry 1, encoded, for an empty listed node */
    WIRE_FOUND_STARTED = 7, /* I hold entry 1 or a snapshot */
    /* entry 1 is not here any more: a snapshot, for an empty member to fetch */
    WIRE_FOUND_SNAPSHOT = 8,
};

struct wire_found {
    uint8_t type;
    kelp_id from, to;
    uint64_t round; /* the founder's attempt, echoed */
    struct kelp_cluster_id cluster;
    uint64_t incarnation;
    bool holds;  /* entry 1 or a snapshot */
    bool exists; /* REFUSED: a cluster exists and the receiver's directory is empty: wiped */
    uint64_t created_unix_ms;
    kelp_id next_id; /* REFUSED, exists: the next free id */
    uint8_t id_count;
    kelp_id ids[KELP_MEMBERS_MAX];
    char words[160];
    kelp_id given;  /* SHOWN: what the receiver is called from now on, 0: as before */
    kelp_id leader; /* SHOWN: who admits members, 0: not known */
    struct wire_address leader_peer;
    struct kelp_pos snapshot; /* SNAPSHOT: where it ends */
    uint64_t epoch;           /* of that cluster, as in epoch.h; 0: never recovered */
    struct kelp_bytes entry;  /* ENTRY: borrows in when decoded */
};

#define WIRE_FOUND_HEAD_MAX 768u

/* without entry, which follows as a part */
size_t wire_found_encode(const struct wire_found *f, uint8_t *out);
enum kelp_error wire_found_decode(struct kelp_bytes in, struct wire_found *out,
                                  struct kelp_fault *fault);

#endif
