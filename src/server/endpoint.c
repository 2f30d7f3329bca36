/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.c - taking addresses and member lists apart; see endpoint.h. */
#include "server/endpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/decimal.h"

static bool host_fits(const char *host, size_t len)
{
    if (len == 0 || len >= ENDPOINT_TEXT_MAX - 8) return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)host[i];
        if (c <= ' ' || c >= 127 || strchr("[]=,/", c) != NULL) return false;
    }
    return true;
}

bool endpoint_split(const char *text, struct endpoint *out)
{
    *out = (struct endpoint){0};
    const char *colon = text != NULL ? strrchr(text, ':') : NULL;
    if (colon == NULL) return false;
    int64_t port = 0;
    if (!decimal_parse(bytes_of(colon + 1, strlen(colon + 1)), &port)) return false;
    if (port < 1 || port > UINT16_MAX) return false;
    size_t len = (size_t)(colon - text);
    bool bracketed = len >= 2 && text[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        text++;
        len -= 2;
    }
    if (!host_fits(text, len) || (!bracketed && memchr(text, ':', len) != NULL)) return false;
    memcpy(out->host, text, len);
    out->port = (uint16_t)port;
    return true;
}

bool endpoint_any(const struct endpoint *address)
{
    return strcmp(address->host, "0.0.0.0") == 0 || strcmp(address->host, "::") == 0;
}

static const char *complain(char *words, size_t size, const char *what, const char *item,
                            size_t len)
{
    (void)snprintf(words, size, "%s: %.*s", what, (int)(len < 160 ? len : 160), item);
    return words;
}

const char *endpoint_list_check(const char *list, kelp_id self, bool *has_self, char *words,
                                size_t size)
{
    kelp_id ids[KELP_MEMBERS_MAX];
    struct endpoint addresses[KELP_MEMBERS_MAX];
    size_t count = 0;
    *has_self = false;
    for (const char *item = list; item != NULL;) {
        const char *end = strchr(item, ',');
        size_t len = end != NULL ? (size_t)(end - item) : strlen(item);
        const char *equals = memchr(item, '=', len);
        char text[ENDPOINT_TEXT_MAX] = "";
        int64_t id = 0;
        bool right = equals != NULL && len - (size_t)(equals - item) <= sizeof text;
        if (right) memcpy(text, equals + 1, len - (size_t)(equals - item) - 1);
        if (!right || !decimal_parse(bytes_of(item, (size_t)(equals - item)), &id) || id <= 0)
            return complain(words, size, "not ID=HOST:PORT with an id of 1 or more", item, len);
        if (count == KELP_MEMBERS_MAX)
            return complain(words, size, "more than 32 members", item, len);
        if (!endpoint_split(text, &addresses[count]))
            return complain(words, size, "not ID=HOST:PORT", item, len);
        for (size_t i = 0; i < count; i++) {
            if (ids[i] == (kelp_id)id) return complain(words, size, "an id twice", item, len);
            if (addresses[i].port == addresses[count].port &&
                strcmp(addresses[i].host, addresses[count].host) == 0)
                return complain(words, size, "an address twice", item, len);
        }
        ids[count++] = (kelp_id)id;
        if ((kelp_id)id == self) *has_self = true;
        item = end != NULL ? end + 1 : NULL;
    }
    return NULL;
}
