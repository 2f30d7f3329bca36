/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - a configuration with its addresses and cluster settings <-> bytes (the payload of a
 * KELP_ENTRY_CONFIG).
 * The core sees struct kelp_config only; addresses and settings are for the driver and the
 * transport. */
#ifndef WIRE_CONFIG_H
#define WIRE_CONFIG_H

#include "kelp/types.h"

/* "host:port", final NUL included; host up to 118 bytes, IPv6 in brackets */
#define WIRE_ADDRESS_MAX 128u

struct wire_address {
    char text[WIRE_ADDRESS_MAX]; /* "" : none */
};

/* wire_address_check - host:port with a port in 1..65535 and a host without spaces or control
 * bytes. */
bool wire_address_check(const char *text);

struct wire_config {
    struct kelp_config config;
    struct wire_address peer[KELP_MEMBERS_MAX]; /* by slot of config.members */
    uint64_t created_unix_ms;                   /* wall clock of the founder, for people only */
    struct kelp_cluster_id cluster;
};

#define WIRE_CONFIG_BYTES_MAX (64u * 1024)

/* wire_config_encode - write at most WIRE_CONFIG_BYTES_MAX bytes; returns how many. config.index is
 * not written:
 * the entry says where it stands. */
size_t wire_config_encode(const struct wire_config *c, uint8_t *out);

/* wire_config_decode - read and check: count in range, ids ascending and not 0, roles known,
 * highest id, addresses
 * printable, at least one voter in each half. index becomes out->config.index. */
enum kelp_error wire_config_decode(struct kelp_bytes in, kelp_index index, struct wire_config *out,
                                   struct kelp_fault *fault);

#endif
