/* SPDX-License-Identifier: Apache-2.0 */
/* slot.h - the hash slot of a key, by the rule that cluster clients follow. */
#ifndef SERVER_SLOT_H
#define SERVER_SLOT_H

#include "kelp/types.h"

#define SLOTS 16384u

/* slot_of - CRC16 of the key modulo SLOTS; of what stands in the first {...} alone, if that is not
 * empty. */
uint16_t slot_of(struct kelp_bytes key);

#endif
