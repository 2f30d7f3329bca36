/* SPDX-License-Identifier: Apache-2.0 */
/* slot.c - CRC16-XMODEM (polynomial 0x1021, start 0) and hash tags; see slot.h.
 *
 * Slots are computed for redirections only, so eight steps a byte are fast enough and a table is
 * not needed. */
#include "server/slot.h"

#include <string.h>

static uint16_t crc16(const uint8_t *data, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc << 1) ^ ((crc & 0x8000u) != 0 ? 0x1021u : 0u);
        crc &= 0xffffu;
    }
    return (uint16_t)crc;
}

uint16_t slot_of(struct kelp_bytes key)
{
    if (key.len == 0) return 0;
    const uint8_t *open = memchr(key.data, '{', key.len);
    if (open != NULL) {
        size_t left = key.len - (size_t)(open + 1 - key.data);
        const uint8_t *close = left > 0 ? memchr(open + 1, '}', left) : NULL;
        if (close != NULL && close > open + 1)
            return crc16(open + 1, (size_t)(close - open - 1)) % SLOTS;
    }
    return crc16(key.data, key.len) % SLOTS;
}
