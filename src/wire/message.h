/* SPDX-License-Identifier: Apache-2.0 */
/* message.h - Raft messages <-> the body of a WIRE_MESSAGE frame.
 *
 * Self-sized: a newer sender may append fields, an older receiver skips them. An append's entries
 * follow the fixed
 * part as encoded entries, back to back. */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H

#include "kelp/core.h"
#include "wire/config.h"

#define WIRE_MESSAGE_MAX 256u /* bytes of the fixed part */

/* wire_message_encode - the fixed part; returns its length. The encoded entries of an append follow
 * as further parts
 * of the frame's body. */
size_t wire_message_encode(const struct kelp_message *m, uint8_t *out);

/* wire_message_decode - read the fixed part and verify every entry of an append.
 * hashed   so much of in is verified already, by the hash in the frame's head: all of the fixed
 *          part and nothing behind it
 * infos    room for info_max entry infos; more entries than that are KELP_E_LIMIT
 * entries  the encoded entries, borrowed from in
 * configs  room for two: the newest configuration carried and the one before it; m->append.config*
 * point there
 * checks   types and flags known, ranges consistent (entries contiguous from prev+1, terms not
 * falling and not above
 *          the message's term, from != to, id != 0, reserved zero), no arithmetic overflow */
enum kelp_error wire_message_decode(struct kelp_bytes in, size_t hashed, struct kelp_message *m,
                                    struct kelp_entry_info *infos, size_t info_max,
                                    struct kelp_bytes *entries, struct wire_config configs[2],
                                    struct kelp_fault *fault);

#endif
