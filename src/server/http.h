/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - the HTTP side of a server, on the same loop as everything else. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "kelp/types.h"

struct server;

/* http_open - listen. false: error says why. */
bool http_open(struct server *s, char *error, size_t size);

void http_run(struct server *s);   /* outcomes have arrived: go on with their connections */
void http_drain(struct server *s); /* accept nothing any more */
uint64_t http_open_requests(const struct server *s);
void http_close(struct server *s); /* after the node has answered everything */
void http_free(struct server *s);  /* after the loop has ended */

#endif
