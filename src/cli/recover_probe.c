/* SPDX-License-Identifier: Apache-2.0 */
/* recover_probe.c - does anybody of the past still run? Asked before a recovery, because a member
 * that lives may still be part of a quorum, and two of them with the same clients would be worse
 * than none.
 *
 * A handshake as the directory's own node, whose answer says who is there. Nobody there, nobody
 * answers: fine. Another cluster there: fine. Something that takes the connection and says nothing
 * may be a process that was stopped and goes on later. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/recover.h"
#include "wire/epoch.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/wire.h"

#define CONNECT_MS 1000
#define ANSWER_MS  2000u

/* What an address says of itself. */
struct heard {
    enum { HEARD_NOBODY, HEARD_OTHERS, HEARD_SILENCE, HEARD_MEMBER } what;
    kelp_id node;
    uint64_t epoch;
};

static bool connected(int fd, const struct addrinfo *to)
{
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0) return true;
    if (errno != EINPROGRESS) return false;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    return poll(&wait, 1, CONNECT_MS) == 1 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

/* -1: nobody takes the connection. */
static int dial(const char *address)
{
    char host[WIRE_ADDRESS_MAX];
    (void)snprintf(host, sizeof host, "%s", address);
    char *port = strrchr(host, ':'), *name = host;
    if (port == NULL) return -1;
    *port++ = '\0';
    size_t len = strlen(host);
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') { /* IPv6 */
        host[len - 1] = '\0';
        name++;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(name, port, &hints, &found) != 0) return -1;
    int fd = -1;
    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && !connected(fd, a)) {
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static bool hello_send(int fd, const struct renew_report *r, kelp_id to)
{
    struct wire_hello hello = {.version_min = WIRE_PROTOCOL_VERSION,
                               .version_max = WIRE_PROTOCOL_VERSION,
                               .cluster = r->found.cluster,
                               .epoch = r->found.epoch,
                               .node = r->found.node,
                               .to = to,
                               .incarnation = r->found.incarnation,
                               .lane = KELP_LANE_CONTROL,
                               .connection = recover_random(NULL)};
    uint8_t out[WIRE_FRAME_HEAD + WIRE_HELLO_MAX];
    struct kelp_bytes body =
        bytes_of(out + WIRE_FRAME_HEAD, wire_hello_encode(&hello, out + WIRE_FRAME_HEAD));
    wire_frame_head(out, WIRE_HELLO, 0, &body, 1);
    size_t len = WIRE_FRAME_HEAD + body.len; /* a fresh socket takes so little at once */
    return send(fd, out, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* The answer is a hello or a refusal; either says which cluster speaks. */
static void judge(const struct renew_report *r, const struct wire_frame *frame, struct heard *out)
{
    struct kelp_fault fault = {.error = KELP_OK};
    struct wire_hello hello;
    struct wire_refuse refuse;
    struct kelp_cluster_id its = {.hi = 0};
    if (frame->kind == WIRE_HELLO && wire_hello_decode(frame->body, &hello, &fault) == KELP_OK) {
        its = hello.cluster;
        out->node = hello.node;
        out->epoch = hello.epoch;
    }
    if (frame->kind == WIRE_REFUSE && wire_refuse_decode(frame->body, &refuse, &fault) == KELP_OK) {
        its = refuse.cluster;
        out->node = refuse.node;
        out->epoch = refuse.reason == WIRE_REFUSE_EPOCH ? refuse.epoch : r->found.epoch;
    }
    out->what = wire_cluster_equal(its, r->found.cluster) ? HEARD_MEMBER : HEARD_OTHERS;
}

static void listen_to(int fd, const struct renew_report *r, struct heard *out)
{
    uint8_t in[WIRE_FRAME_HEAD + WIRE_HELLO_MAX];
    size_t have = 0;
    uint64_t end = print_now_ms() + ANSWER_MS;
    out->what = HEARD_SILENCE;
    for (uint64_t now = print_now_ms(); now < end; now = print_now_ms()) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, (int)(end - now)) != 1) continue;
        ssize_t got = recv(fd, in + have, sizeof in - have, 0);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        out->what = HEARD_OTHERS; /* whoever hangs up at a hello is none of ours */
        if (got <= 0) return;
        have += (size_t)got;
        struct wire_frame frame;
        struct kelp_fault fault = {.error = KELP_OK};
        size_t used;
        enum kelp_error error = wire_frame_decode(bytes_of(in, have), sizeof in - WIRE_FRAME_HEAD,
                                                  &frame, &used, &fault);
        if (error == KELP_OK) judge(r, &frame, out);
        if (error != KELP_E_MORE) return;
        out->what = HEARD_SILENCE;
    }
}

static bool say(const struct verb *verb, const struct renew_report *r, const char *address,
                kelp_id member, const struct heard *h)
{
    unsigned long long id = h->node != 0 ? h->node : member;
    switch (h->what) {
    case HEARD_NOBODY:
    case HEARD_OTHERS: return false;
    case HEARD_SILENCE:
        (void)cli_error(verb, CLI_FAILED,
                        "%s, node %llu's, takes connections and says nothing: perhaps a process "
                        "that was stopped",
                        address, id);
        return true;
    case HEARD_MEMBER: break;
    }
    if (epoch_number(h->epoch) > epoch_number(r->found.epoch))
        (void)cli_error(
            verb, CLI_FAILED,
            "node %llu runs at %s and was recovered already (recovery %llu): empty this "
            "directory and add it there as a new member",
            id, address, (unsigned long long)epoch_number(h->epoch));
    else
        (void)cli_error(verb, CLI_FAILED, "node %llu of this cluster still runs at %s", id,
                        address);
    return true;
}

unsigned recover_probe(const struct verb *verb, const struct renew_report *r)
{
    unsigned alive = 0;
    for (size_t i = 0; i < r->before.config.count; i++) {
        kelp_id member = r->before.config.members[i].id;
        if (member == r->found.node) continue;
        struct heard heard = {.what = HEARD_NOBODY};
        int fd = dial(r->before.peer[i].text);
        if (fd >= 0) {
            heard.what = HEARD_OTHERS;
            if (hello_send(fd, r, member)) listen_to(fd, r, &heard);
            (void)close(fd);
        }
        alive += say(verb, r, r->before.peer[i].text, member, &heard);
    }
    return alive;
}
