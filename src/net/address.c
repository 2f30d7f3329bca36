/* SPDX-License-Identifier: Apache-2.0 */
/* address.c - "host:port" apart, and complaints about whoever sits at an address.
 *
 * A stranger who knocks a thousand times a second must not fill the log: each address is complained
 * about at most once in ten seconds, and the next line says how many were held back. The table is
 * small; when it is full the address that was quiet longest is forgotten. */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/room.h"

#define QUIET_NS (UINT64_C(10) * 1000 * MILLISECOND)

bool address_split(const char *text, char host[NET_HOST_MAX], char port[NET_PORT_MAX])
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text) return false;
    size_t host_len = (size_t)(colon - text), port_len = strlen(colon + 1);
    if (text[0] == '[') {
        if (text[host_len - 1] != ']') return false;
        text++;
        host_len -= 2;
    } else if (memchr(text, ':', host_len) != NULL) {
        return false; /* IPv6 without brackets: where does the port begin? */
    }
    if (host_len == 0 || host_len >= NET_HOST_MAX) return false;
    if (port_len == 0 || port_len >= NET_PORT_MAX) return false;
    if (strspn(colon + 1, "0123456789") != port_len || strtoul(colon + 1, NULL, 10) > 65535)
        return false;
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    memcpy(port, colon + 1, port_len + 1);
    return true;
}

bool address_numeric(const char *host, const char *port, struct sockaddr_storage *out)
{
    int number = (int)strtoul(port, NULL, 10);
    memset(out, 0, sizeof *out);
    if (uv_ip4_addr(host, number, (struct sockaddr_in *)out) == 0) return true;
    return uv_ip6_addr(host, number, (struct sockaddr_in6 *)out) == 0;
}

bool address_wildcard(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)address;
        return four->sin_addr.s_addr == htonl(INADDR_ANY);
    }
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    return IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
}

void address_text(const struct sockaddr *address, char host[NET_TEXT_MAX], char both[NET_TEXT_MAX])
{
    char name[48] = "?";
    (void)uv_ip_name(address, name, sizeof name); /* another family keeps the question mark */
    unsigned port = 0;
    bool six = address->sa_family == AF_INET6;
    if (six)
        port = ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
    else
        port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    (void)snprintf(host, NET_TEXT_MAX, "%s", name);
    (void)snprintf(both, NET_TEXT_MAX, six ? "[%s]:%u" : "%s:%u", name, port);
}

static struct complaint *complaint_of(struct net *n, const char *host)
{
    struct complaint *quietest = &n->complaints[0];
    for (size_t i = 0; i < COMPLAINTS_MAX; i++) {
        struct complaint *c = &n->complaints[i];
        if (c->at != 0 && strcmp(c->host, host) == 0) return c;
        if (c->at < quietest->at) quietest = c;
    }
    *quietest = (struct complaint){.at = 0};
    (void)snprintf(quietest->host, sizeof quietest->host, "%s", host);
    return quietest;
}

void complain(struct net *n, const char *host, const char *format, ...)
{
    uint64_t now = uv_hrtime();
    struct complaint *c = complaint_of(n, host);
    if (c->at != 0 && now - c->at < QUIET_NS) {
        c->held_back++;
        return;
    }
    char line[320];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (c->held_back == 0)
        net_note(n, KELP_WARN, "%s", line);
    else
        net_note(n, KELP_WARN, "%s (%llu more lines about %s were held back)", line,
                 (unsigned long long)c->held_back, host);
    c->at = now;
    c->held_back = 0;
}
