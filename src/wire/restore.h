/* SPDX-License-Identifier: Apache-2.0 */
/* restore.h - the steps of a restore through the log <-> bytes: the payload of a RESTORE entry and
 * the command of a forward that asks for one. What they do stands in rsm/stage.h. */
#ifndef WIRE_RESTORE_H
#define WIRE_RESTORE_H

#include "kelp/restore.h"

#define WIRE_RESTORE_HEAD_MAX 64u /* of any of them, without the byte string behind it */

/* wire_restore_size - encoded bytes; 0: it has no form: id 0, more bytes than there may be, or
 * something that its kind does not have. */
size_t wire_restore_size(const struct kelp_restore_step *s);

/* wire_restore_encode - wire_restore_size(s) of them, which is not 0. */
void wire_restore_encode(const struct kelp_restore_step *s, uint8_t *out);

/* wire_restore_decode - KELP_E_VERSION: of a version, a kind or with a flag that is not known;
 * KELP_E_MALFORMED. The byte string borrows in. */
enum kelp_error wire_restore_decode(struct kelp_bytes in, struct kelp_restore_step *out,
                                    struct kelp_fault *fault);

#endif
