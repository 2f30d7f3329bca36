/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.h - HOST:PORT as people write it, and lists of members made of it.
 *
 * A host is a name, an IPv4 address, or an IPv6 address in brackets. Nothing is resolved here. */
#ifndef SERVER_ENDPOINT_H
#define SERVER_ENDPOINT_H

#include "kelp/types.h"

#define ENDPOINT_TEXT_MAX 128u /* final NUL included */

struct endpoint {
    char host[ENDPOINT_TEXT_MAX]; /* without brackets; "" : none */
    uint16_t port;
};

/* endpoint_split - false: not HOST:PORT with a port in 1..65535, *out is empty then. text may be
 * NULL. */
bool endpoint_split(const char *text, struct endpoint *out);

/* endpoint_any - does it stand for every address of the machine (0.0.0.0 or ::), so that nobody can
 * dial it? */
bool endpoint_any(const struct endpoint *address);

/* endpoint_list_check - "ID=HOST:PORT,...": NULL if every item is right, no id is 0 or twice, no
 * address twice and there are at most KELP_MEMBERS_MAX; else what is wrong with it, written to
 * words. *has_self: self is one of them. */
const char *endpoint_list_check(const char *list, kelp_id self, bool *has_self, char *words,
                                size_t size);

#endif
