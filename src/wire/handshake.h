/* SPDX-License-Identifier: Apache-2.0 */
/* handshake.h - the first frame each way on a connection, the refusal, and the table of advertised
 * addresses. */
#ifndef WIRE_HANDSHAKE_H
#define WIRE_HANDSHAKE_H

#include "kelp/transport.h"
#include "wire/config.h"
#include "wire/frame.h"

/* feature bits this version has; unknown ones of a peer are ignored */
#define WIRE_FEATURE_MARKS   1u /* takes WIRE_MARKS */
#define WIRE_FEATURE_RESTORE 2u /* knows entries and forwards of restores */
#define WIRE_FEATURES_KNOWN  (WIRE_FEATURE_MARKS | WIRE_FEATURE_RESTORE)

struct wire_hello {
    uint16_t version_min, version_max; /* protocol versions spoken */
    uint64_t features;
    struct kelp_cluster_id cluster; /* zero: not pledged yet; zero never mismatches */
    uint64_t epoch;                 /* epoch.h */
    kelp_id node;
    kelp_id to; /* whom the dialler expects here, 0: anybody (join) */
    uint64_t incarnation;
    uint8_t lane;        /* enum kelp_lane */
    uint64_t connection; /* the dialler's number for this connection, echoed in the answer */
    bool answer;         /* false: from the dialler */
    bool empty;          /* holds no entry and no snapshot */
    uint64_t election_min_ns, election_max_ns, heartbeat_ns;
    uint32_t drift_ppm;
    struct wire_address peer, client, http; /* advertised */
};

enum wire_refusal {
    WIRE_REFUSE_VERSION = 1,
    WIRE_REFUSE_CLUSTER = 2, /* another cluster */
    WIRE_REFUSE_EPOCH = 3,
    WIRE_REFUSE_WRONG_NODE = 4, /* another id was expected at this address */
    /* the committed configuration knows another data directory for this id: wiped? */
    WIRE_REFUSE_INCARNATION = 5,
    WIRE_REFUSE_REMOVED = 6, /* removed by a committed configuration */
    WIRE_REFUSE_SELF = 7,    /* it is the same node */
    WIRE_REFUSE_MALFORMED = 8,
    WIRE_REFUSE_BUSY = 9,   /* too many connections */
    WIRE_REFUSE_WIPED = 10, /* the cluster exists since `since`; this directory is empty */
};

struct wire_refuse {
    uint8_t reason;                 /* enum wire_refusal */
    struct kelp_cluster_id cluster; /* the refuser's */
    kelp_id node;                   /* the refuser's */
    uint64_t incarnation;           /* INCARNATION, WIPED: the one on record */
    /* WIPED, INCARNATION: when the cluster was founded, 0: not known */
    uint64_t since_unix_ms;
    kelp_id next_id; /* REMOVED, WIPED: the next free id, 0: not known */
    char words[160]; /* one sentence for people */
    uint64_t epoch;  /* EPOCH: the refuser's, see epoch.h; 0: never recovered, or not said */
};

/* A table of what members advertise; the leader passes it on when it changes. */
struct wire_member_addresses {
    kelp_id id;
    uint64_t version; /* grows with every change made by that node: its start count */
    struct wire_address peer, client, http;
};

#define WIRE_HELLO_MAX     1024u
#define WIRE_REFUSE_MAX    512u
#define WIRE_ADDRESSES_MAX (32u * 1024)

size_t wire_hello_encode(const struct wire_hello *h, uint8_t *out); /* at most WIRE_HELLO_MAX */
enum kelp_error wire_hello_decode(struct kelp_bytes in, struct wire_hello *out,
                                  struct kelp_fault *fault);
size_t wire_refuse_encode(const struct wire_refuse *r, uint8_t *out); /* at most WIRE_REFUSE_MAX */
enum kelp_error wire_refuse_decode(struct kelp_bytes in, struct wire_refuse *out,
                                   struct kelp_fault *fault);
size_t wire_addresses_encode(const struct wire_member_addresses *rows, size_t count, uint8_t *out);
enum kelp_error wire_addresses_decode(struct kelp_bytes in, struct wire_member_addresses *rows,
                                      size_t max, size_t *count, struct kelp_fault *fault);

/* What a node knows when it judges a hello. */
struct wire_judge {
    struct kelp_cluster_id cluster;
    uint64_t epoch;
    kelp_id self;
    uint64_t incarnation;
    /* the committed configuration, or NULL: nothing is judged by it */
    const struct wire_config *committed;
    kelp_id expected; /* the id dialled, 0 on the accepting side */
};

/* wire_hello_judge - may this connection be used? Returns 0, or why not; *out is what to send back
 * then. Checks, in
 * this order: version, own id (SELF), id expected, cluster (zero on either side never mismatches),
 * epoch, removal,
 * incarnation (both by the committed configuration only). Never membership: the sender may hold the
 * entry that adds
 * it. A hello with incarnation other than the committed one from an empty node is WIPED. */
enum wire_refusal wire_hello_judge(const struct wire_judge *judge, const struct wire_hello *hello,
                                   struct wire_refuse *out);

#endif
