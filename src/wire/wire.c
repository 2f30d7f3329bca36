/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c - texts, addresses and lists of ids, which several formats contain.
 *
 *   offset  size  field
 *        0     1  n, bytes of the text
 *        1     n  the text: ASCII 0x20..0x7e, no final NUL
 *
 * An address is such a text of at most 127 bytes: empty, or host:port (an IPv6 host in brackets).
 * Invariant: an array filled here holds a final NUL and zeros up to its end. */
#include "wire/wire.h"

#define TEXT_MAX        255u /* what the length can say */
#define HOST_MAX        118u
#define PORT_DIGITS_MAX 5u

static bool printable(char c)
{
    return c >= 0x20 && c <= 0x7e;
}

void write_text(struct writer *w, const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    ASSERT(len < size);
    ASSERT(len <= TEXT_MAX);
    write_u8(w, (uint8_t)len);
    for (size_t i = 0; i < len; i++)
        write_u8(w, (uint8_t)(printable(text[i]) ? text[i] : '?'));
}

void read_text(struct reader *r, char *out, size_t size)
{
    ASSERT(size > 0);
    memset(out, 0, size);
    size_t len = read_u8(r);
    if (len >= size) r->failed = true;
    const uint8_t *at = reader_skip(r, len);
    if (at == NULL) return;
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)at[i];
        if (!printable(out[i])) r->failed = true;
    }
}

static bool port_sound(const char *text)
{
    size_t len = strnlen(text, PORT_DIGITS_MAX + 1);
    if (len == 0 || len > PORT_DIGITS_MAX || text[0] == '0') return false;
    uint32_t port = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    return port <= UINT16_MAX;
}

bool wire_address_check(const char *text)
{
    size_t len = strnlen(text, WIRE_ADDRESS_MAX);
    if (len == WIRE_ADDRESS_MAX) return false;
    const char *colon = memrchr(text, ':', len);
    if (colon == NULL || !port_sound(colon + 1)) return false;
    const char *host = text;
    size_t host_len = (size_t)(colon - text);
    if (host_len > HOST_MAX) return false;
    bool bracketed = host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']';
    if (bracketed) {
        host++;
        host_len -= 2;
    }
    if (host_len == 0) return false;
    for (size_t i = 0; i < host_len; i++) {
        if (!printable(host[i]) || host[i] == ' ') return false;
        if (host[i] == '[' || host[i] == ']') return false;
        if (host[i] == ':' && !bracketed) return false; /* where would its port begin? */
    }
    return true;
}

void write_address(struct writer *w, const struct wire_address *address)
{
    ASSERT(address->text[0] == '\0' || wire_address_check(address->text));
    write_text(w, address->text, sizeof address->text);
}

void read_address(struct reader *r, struct wire_address *out)
{
    read_text(r, out->text, sizeof out->text);
    if (out->text[0] != '\0' && !wire_address_check(out->text)) r->failed = true;
}

bool wire_ids_distinct(const kelp_id *ids, size_t count)
{
    ASSERT(count <= KELP_MEMBERS_MAX); /* few enough to compare each with each */
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == 0) return false;
        for (size_t k = 0; k < i; k++) {
            if (ids[k] == ids[i]) return false;
        }
    }
    return true;
}
