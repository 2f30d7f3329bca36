/* SPDX-License-Identifier: Apache-2.0 */
/* recover_probe.c - does anybody of the past still run? Asked before a recovery, because a member
 * that lives may still be part of a quorum, and two of them with the same clients would be worse
 * than none.
 *
 *   every member --thread--> name --> connection --> hello --> what is heard
 *   all of them, at most 3 seconds
 *
 * A handshake as the directory's own node, whose answer says who is there. Nobody there, nobody
 * answers: fine. Another cluster there: fine, and so is who takes part in this very recovery. What
 * takes the connection and says nothing may be a process that was stopped and goes on later; what
 * hangs up at once, a node that has too many connections. Of a name that cannot be looked up
 * nothing is known. The own address is asked too: the directory may be a copy of one in use.
 *
 * Threads, since looking up a name cannot be bounded otherwise. Each has a row of a table that
 * lives as long as the process, so who comes too late writes where nobody looks any more. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/min.h"
#include "cli/recover.h"
#include "wire/epoch.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/wire.h"

#define CONNECT_MS 1000u
#define PROBE_MS   3000u

enum hearing { HEARD_UNKNOWN, HEARD_NOBODY, HEARD_OTHERS, HEARD_SILENCE, HEARD_END, HEARD_MEMBER };

/* What an address says of itself. */
struct heard {
    enum hearing what;
    kelp_id node;
    uint64_t epoch;
    bool epoch_known;
};

struct row {
    struct wire_address address;
    kelp_id member;
    struct store_identity own;
    uint64_t end_ms;
    struct heard heard;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned open;
    struct row rows[KELP_MEMBERS_MAX];
} probe = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool connected(int fd, const struct addrinfo *to, uint64_t end_ms)
{
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0) return true;
    if (errno != EINPROGRESS) return false;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    return poll(&wait, 1, (int)min_u64(CONNECT_MS, sub_sat(end_ms, print_now_ms()))) == 1 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

/* -1: nobody takes the connection, or it is not known whether somebody would. */
static int dial(const struct row *row, struct heard *out)
{
    char host[WIRE_ADDRESS_MAX];
    (void)snprintf(host, sizeof host, "%s", row->address.text);
    char *port = strrchr(host, ':'), *name = host;
    out->what = HEARD_NOBODY;
    if (port == NULL) return -1;
    *port++ = '\0';
    size_t len = strlen(host);
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') { /* IPv6 */
        host[len - 1] = '\0';
        name++;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int status = getaddrinfo(name, port, &hints, &found);
    if (status != 0) { /* that there is no such name is an answer */
        if (status != EAI_NONAME) out->what = HEARD_UNKNOWN;
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && !connected(fd, a, row->end_ms)) {
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static bool hello_send(int fd, const struct row *row)
{
    struct wire_hello hello = {.version_min = WIRE_PROTOCOL_VERSION,
                               .version_max = WIRE_PROTOCOL_VERSION,
                               .cluster = row->own.cluster,
                               .epoch = row->own.epoch,
                               .node = row->own.node,
                               .to = row->member,
                               .incarnation = row->own.incarnation,
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
static void judge(const struct row *row, const struct wire_frame *frame, struct heard *out)
{
    struct kelp_fault fault = {.error = KELP_OK};
    struct wire_hello hello;
    struct wire_refuse refuse;
    struct kelp_cluster_id its = {.hi = 0};
    if (frame->kind == WIRE_HELLO && wire_hello_decode(frame->body, &hello, &fault) == KELP_OK) {
        its = hello.cluster;
        out->node = hello.node;
        out->epoch = hello.epoch;
        out->epoch_known = true;
    }
    enum kelp_error refused =
        frame->kind == WIRE_REFUSE ? wire_refuse_decode(frame->body, &refuse, &fault) : KELP_E_MORE;
    if (refused == KELP_OK || refused == KELP_E_VERSION) { /* for a reason of a newer version */
        its = refuse.cluster;
        out->node = refuse.node;
        out->epoch = refuse.epoch;
        out->epoch_known = refuse.reason == WIRE_REFUSE_EPOCH;
    }
    out->what = wire_cluster_equal(its, row->own.cluster) ? HEARD_MEMBER : HEARD_OTHERS;
}

static void listen_to(int fd, const struct row *row, struct heard *out)
{
    uint8_t in[WIRE_FRAME_HEAD + WIRE_HELLO_MAX];
    size_t have = 0;
    out->what = HEARD_SILENCE;
    for (uint64_t now = print_now_ms(); now < row->end_ms; now = print_now_ms()) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, (int)(row->end_ms - now)) != 1) continue;
        ssize_t got = recv(fd, in + have, sizeof in - have, 0);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        out->what = have > 0 ? HEARD_OTHERS : HEARD_END;
        if (got <= 0) return;
        have += (size_t)got;
        struct wire_frame frame;
        struct kelp_fault fault = {.error = KELP_OK};
        size_t used;
        enum kelp_error error = wire_frame_decode(bytes_of(in, have), sizeof in - WIRE_FRAME_HEAD,
                                                  &frame, &used, &fault);
        out->what = HEARD_OTHERS; /* no frame of ours */
        if (error == KELP_OK) judge(row, &frame, out);
        if (error != KELP_E_MORE) return;
        out->what = HEARD_SILENCE;
    }
}

/* ---- all of them at once --------------------------------------------------------------------- */

static void *ask(void *at)
{
    struct row *row = at; /* the lock guards what is heard alone */
    struct heard heard = {.what = HEARD_NOBODY};
    int fd = dial(row, &heard);
    if (fd >= 0) {
        heard.what = HEARD_END;
        if (hello_send(fd, row)) listen_to(fd, row, &heard);
        (void)close(fd);
    }
    (void)pthread_mutex_lock(&probe.lock);
    row->heard = heard;
    probe.open--;
    (void)pthread_cond_signal(&probe.changed);
    (void)pthread_mutex_unlock(&probe.lock);
    return NULL;
}

/* Whose thread cannot be made is asked here, after the others have begun. */
static void all_ask(size_t count)
{
    pthread_attr_t detached;
    pthread_condattr_t monotonic;
    bool here[KELP_MEMBERS_MAX] = {false};
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&probe.changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_attr_init(&detached);
    (void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    probe.open = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        pthread_t thread;
        here[i] = pthread_create(&thread, &detached, ask, &probe.rows[i]) != 0;
    }
    (void)pthread_attr_destroy(&detached);
    for (size_t i = 0; i < count; i++) {
        if (here[i]) (void)ask(&probe.rows[i]);
    }
}

static void all_wait(struct heard *out, size_t count)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec +=
        PROBE_MS / 1000 + 1; /* they end by themselves, save for the looking up of names */
    (void)pthread_mutex_lock(&probe.lock);
    int status = 0;
    while (probe.open > 0 && status == 0)
        status = pthread_cond_timedwait(&probe.changed, &probe.lock, &end);
    for (size_t i = 0; i < count; i++)
        out[i] = probe.rows[i].heard;
    (void)pthread_mutex_unlock(&probe.lock);
}

/* ---- what is said ---------------------------------------------------------------------------- */

static const char *unclear(enum hearing what)
{
    switch (what) {
    case HEARD_UNKNOWN: return "cannot be looked up, so nobody knows whether it runs";
    case HEARD_SILENCE:
        return "takes connections and says nothing: perhaps a process that was stopped";
    case HEARD_END:
        return "takes connections and hangs up: perhaps a node that is starting, stopping or full";
    case HEARD_NOBODY:
    case HEARD_OTHERS:
    case HEARD_MEMBER: break;
    }
    return NULL;
}

static bool say(const struct verb *verb, const struct renew_report *r, const struct row *row,
                const struct heard *h)
{
    unsigned long long id = h->node != 0 ? h->node : row->member;
    unsigned long long number = epoch_number(h->epoch);
    const char *at = row->address.text, *words = unclear(h->what);
    bool fellow = h->epoch_known && h->epoch == r->token.epoch; /* of this very recovery */
    if (words != NULL)
        (void)cli_error(verb, CLI_FAILED, "%s, node %llu's, %s", at, id, words);
    else if (h->what != HEARD_MEMBER || fellow)
        return false;
    else if (row->member == r->found.node)
        (void)cli_error(verb, CLI_FAILED,
                        "node %llu runs at %s, this node's own address: is this directory a copy?",
                        id, at);
    else if (h->epoch_known && number > epoch_number(r->found.epoch))
        (void)cli_error(verb, CLI_FAILED,
                        "node %llu runs at %s and was recovered already (recovery %llu): keep this "
                        "directory, and join there with an empty one",
                        id, at, number);
    else
        (void)cli_error(verb, CLI_FAILED, "node %llu of this cluster still runs at %s", id, at);
    return true;
}

unsigned recover_probe(const struct verb *verb, const struct renew_report *r)
{
    const struct wire_config *c = &r->before;
    struct heard heard[KELP_MEMBERS_MAX];
    unsigned alive = 0;
    ASSERT(probe.open == 0); /* once in a process: rows are never used again */
    for (size_t i = 0; i < c->config.count; i++)
        probe.rows[i] = (struct row){.address = c->peer[i],
                                     .member = c->config.members[i].id,
                                     .own = r->found,
                                     .end_ms = print_now_ms() + PROBE_MS,
                                     .heard.what = HEARD_UNKNOWN};
    all_ask(c->config.count);
    all_wait(heard, c->config.count);
    for (size_t i = 0; i < c->config.count; i++)
        alive += say(verb, r, &probe.rows[i], &heard[i]);
    return alive;
}
