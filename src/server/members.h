/* SPDX-License-Identifier: Apache-2.0 */
/* members.h - changes of the membership in the words of people, for RESP. */
#ifndef SERVER_MEMBERS_H
#define SERVER_MEMBERS_H

#include "driver/driver.h"

#define MEMBERS_WRONG_MAX 200u

/* members_parse - VERB and its words, "add 4 host:port voter if 7 nowait", as a change; "stop 2" is
 * for a plan only. false:
 * wrong says what is wrong with it and what would be right. */
bool members_parse(const struct kelp_bytes *words, size_t count, struct wire_change *out,
                   char wrong[MEMBERS_WRONG_MAX]);

/* members_role_name - voter, learner, .. none. */
const char *members_role_name(uint8_t role);

/* members_line - one member in a line of name:value pairs; returns its length. status as the node
 * has it; slot is of its newest configuration. */
size_t members_line(const struct driver_status *status, size_t slot, kelp_ns now, char *out,
                    size_t size);

/* members_knock - likewise one that waits to be added: knocks:ID, or knocks:auto. */
size_t members_knock(const struct driver_knock *knock, kelp_ns now, char *out, size_t size);

#endif
