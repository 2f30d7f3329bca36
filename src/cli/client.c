/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - addresses, connections and calls; see client.h. */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/min.h"

#define WORDS_MAX   16u
#define HOPS_MAX    5u
#define REQUEST_MAX (64u << 20)
#define CONNECT_MS  2000u
#define ROUNDS      3u /* of a list, for a command that is executed once */

struct flag client_flag(const char **list)
{
    const char *given = getenv("KELP_AT");
    *list = given != NULL && given[0] != '\0' ? given : "127.0.0.1:7001";
    return (struct flag){.name = "at",
                         .kind = FLAG_TEXT,
                         .to.text = list,
                         .value = "HOST:PORT,...",
                         .words = "client ports of the cluster; or KELP_AT; 127.0.0.1:7001"};
}

void client_init(struct client *c, unsigned timeout_ms)
{
    *c = (struct client){.fd = -1, .timeout_ms = timeout_ms};
}

void client_close(struct client *c)
{
    if (c->fd >= 0) (void)close(c->fd);
    c->fd = -1;
    if (c->reader != NULL) redisReaderFree(c->reader);
    c->reader = NULL;
}

/* Closes, because after half an exchange nobody knows whose answer comes next. */
static void lost(struct client *c, const char *what, const char *why)
{
    (void)snprintf(c->error, sizeof c->error, "%s: %s%s%s", c->at, what, why[0] != '\0' ? ": " : "",
                   why);
    client_close(c);
}

/* Where the colon before the port is; NULL: that is no HOST:PORT. */
static const char *port_colon(const char *address)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || colon[1] == '\0') return NULL;
    if (colon - address >= (ptrdiff_t)CLI_ADDRESS_MAX) return NULL;
    if (strspn(colon + 1, "0123456789") != strlen(colon + 1)) return NULL;
    unsigned long port = strtoul(colon + 1, NULL, 10);
    return port > 0 && port <= 65535 ? colon : NULL; /* else the library takes its low 16 bits */
}

bool client_check(const struct verb *verb, const char *list, int *status)
{
    for (const char *at = list;;) {
        char address[CLI_ADDRESS_MAX];
        size_t len = strcspn(at, ",");
        bool fits = len < sizeof address;
        (void)snprintf(address, sizeof address, "%.*s", (int)len, at);
        if (!fits || port_colon(address) == NULL) {
            *status = cli_error(verb, CLI_USAGE, "--at %.200s: must be HOST:PORT,...", list);
            return false;
        }
        if (at[len] == '\0') return true;
        at += len + 1;
    }
}

/* "host:port" or "[v6]:port" into addresses to try; the caller frees them. */
static int resolve(const char *address, int flags, struct addrinfo **out)
{
    char host[CLI_ADDRESS_MAX];
    const char *colon = port_colon(address);
    if (colon == NULL) return EAI_NONAME;
    size_t len = (size_t)(colon - address);
    if (address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    memcpy(host, address, len);
    host[len] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    return getaddrinfo(host, colon + 1, &hints, out);
}

static int dial_one(const struct addrinfo *to)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS) return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

int client_dial(const char *address)
{
    struct addrinfo *found = NULL;
    if (resolve(address, AI_NUMERICHOST, &found) != 0) {
        errno = EINVAL;
        return -1;
    }
    int fd = dial_one(found);
    int error = errno;
    freeaddrinfo(found);
    errno = error;
    return fd;
}

/* Waits until a dialled socket is connected; then it blocks, with a limit. */
static bool connected(int fd, unsigned timeout_ms)
{
    unsigned wait = timeout_ms < CONNECT_MS ? timeout_ms : CONNECT_MS;
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    int count;
    do
        count = poll(&ready, 1, (int)wait);
    while (count < 0 && errno == EINTR);
    if (count == 0) errno = ETIMEDOUT;
    if (count <= 0) return false;
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) return false;
    errno = error;
    return error == 0;
}

static bool ready_to_call(struct client *c, int fd)
{
    struct timeval limit = {.tv_sec = (time_t)(c->timeout_ms / 1000),
                            .tv_usec = (suseconds_t)(c->timeout_ms % 1000) * 1000};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0)
        return false;
    c->reader = redisReaderCreate();
    return c->reader != NULL;
}

bool client_connect(struct client *c, const char *address)
{
    client_close(c);
    (void)snprintf(c->at, sizeof c->at, "%s", address);
    struct addrinfo *found = NULL;
    int wrong = resolve(address, 0, &found);
    if (wrong != 0) {
        lost(c, wrong == EAI_NONAME ? "no such host, or not HOST:PORT" : gai_strerror(wrong), "");
        return false;
    }
    int error = 0;
    for (const struct addrinfo *to = found; to != NULL && c->fd < 0; to = to->ai_next) {
        int fd = dial_one(to);
        if (fd >= 0 && connected(fd, c->timeout_ms) && ready_to_call(c, fd)) {
            c->fd = fd;
            break;
        }
        error = errno;
        if (fd >= 0) (void)close(fd);
    }
    freeaddrinfo(found);
    if (c->fd < 0) lost(c, strerror(error), "");
    return c->fd >= 0;
}

bool client_next(const char **list, char address[CLI_ADDRESS_MAX])
{
    const char *at = *list;
    size_t len = strcspn(at, ",");
    if (*at == '\0') return false;
    (void)snprintf(address, CLI_ADDRESS_MAX, "%.*s", (int)len, at);
    *list = at + len + (at[len] == ',');
    return true;
}

/* What went wrong with one address after the other. */
struct skipped {
    char words[CLIENT_ERROR_MAX];
    size_t used, count;
};

static void skip(struct skipped *s, const char *at, const char *why)
{
    size_t room = sizeof s->words - s->used;
    int more = snprintf(s->words + s->used, room, "%s%s%s%s", s->count > 0 ? "; " : "", at,
                        at[0] != '\0' ? ": " : "", why);
    s->used += (size_t)more < room ? (size_t)more : room - 1;
    s->count++;
}

static void skipped_say(struct client *c, const char *what, const struct skipped *s)
{
    (void)snprintf(c->error, sizeof c->error, "%s: %.*s", what, (int)(CLIENT_ERROR_MAX - 48),
                   s->words);
}

bool client_connect_any(struct client *c, const char *list)
{
    struct skipped skipped = {.used = 0};
    char address[CLI_ADDRESS_MAX];
    while (client_next(&list, address)) {
        if (client_connect(c, address)) return true;
        skip(&skipped, "", c->error); /* which begins with the address */
    }
    skipped_say(c, "no node answers", &skipped);
    return false;
}

void client_encode(struct buf *out, size_t count, const struct kelp_bytes *words)
{
    (void)buf_append_line(out, '*', (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        (void)buf_append_line(out, '$', (int64_t)words[i].len);
        (void)buf_append(out, words[i]);
        (void)buf_append_text(out, "\r\n");
    }
}

bool client_send(struct client *c, struct kelp_bytes bytes)
{
    c->written = true;
    while (bytes.len > 0) {
        ssize_t sent = send(c->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) {
            lost(c, "sending", strerror(errno));
            return false;
        }
        bytes = bytes_of(bytes.data + sent, bytes.len - (size_t)sent);
    }
    return true;
}

redisReply *client_receive(struct client *c)
{
    static char chunk[65536];
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
            lost(c, "what it answers is no RESP", c->reader->errstr);
            return NULL;
        }
        if (reply != NULL) return reply;
        ssize_t got = recv(c->fd, chunk, sizeof chunk, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            char late[32];
            bool timed_out = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
            (void)snprintf(late, sizeof late, "not within %u ms", c->timeout_ms);
            const char *why = got == 0 ? "closed by the node" : timed_out ? late : strerror(errno);
            lost(c, c->harmless ? "no answer" : "no answer, the outcome is unknown", why);
            return NULL;
        }
        if (redisReaderFeed(c->reader, chunk, (size_t)got) != REDIS_OK) {
            lost(c, "receiving", c->reader->errstr);
            return NULL;
        }
    }
}

redisReply *client_call(struct client *c, size_t count, const struct kelp_bytes *words)
{
    struct buf request;
    buf_init(&request, REQUEST_MAX);
    client_encode(&request, count, words);
    bool sent = request.error == KELP_OK;
    c->written = false;
    if (!sent)
        lost(c, kelp_strerror(request.error), "");
    else
        sent = client_send(c, buf_bytes(&request));
    buf_close(&request);
    return sent ? client_receive(c) : NULL;
}

redisReply *client_follow(struct client *c, size_t count, const struct kelp_bytes *words)
{
    for (unsigned hop = 0;; hop++) {
        redisReply *reply = client_call(c, count, words);
        if (reply == NULL || reply->type != REDIS_REPLY_ERROR ||
            strncmp(reply->str, "MOVED ", 6) != 0 || hop == HOPS_MAX)
            return reply;
        char leader[CLI_ADDRESS_MAX];
        const char *space = strchr(reply->str + 6, ' ');
        (void)snprintf(leader, sizeof leader, "%s", space != NULL ? space + 1 : "");
        freeReplyObject(reply);
        c->written = false; /* who said so did nothing */
        if (!client_connect(c, leader)) return NULL;
    }
}

/* Does an error begin with one of these? */
static bool begins_with(const redisReply *reply, const char *const *words, size_t count)
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ERROR && i < count; i++) {
        if (strncmp(reply->str, words[i], strlen(words[i])) == 0) return true;
    }
    return false;
}

/* Does it refuse because of what it is, so that another node may serve? Each of these says that
 * nothing happened; an outcome that is not known is UNCERTAIN. */
static bool serves_not(const redisReply *reply)
{
    static const char *const refusals[] = {"CLUSTERDOWN ", "LOADING ", "TRYAGAIN SHUTDOWN"};
    return begins_with(reply, refusals, COUNT_OF(refusals));
}

/* Does it say nothing of an earlier attempt of the same command? */
static bool of_this_attempt(const redisReply *reply)
{
    static const char *const words[] = {"CLUSTERDOWN ", "LOADING ", "TRYAGAIN ",
                                        "NOSPACE ",     "OOM ",     "UNCERTAIN "};
    return begins_with(reply, words, COUNT_OF(words));
}

static bool attempt_unknown(const struct client *c, const redisReply *reply)
{
    static const char *const word = "UNCERTAIN ";
    return reply == NULL ? c->written : begins_with(reply, &word, 1);
}

/* Is that what the caller is told? */
static bool is_final(const struct client *c, const redisReply *reply, bool only)
{
    if (attempt_unknown(c, reply)) return !c->once;
    if (reply == NULL) return false;
    if (c->uncertain) return !of_this_attempt(reply);
    return only || !serves_not(reply);
}

redisReply *client_ask(struct client *c, const char *list, size_t count,
                       const struct kelp_bytes *words)
{
    struct skipped skipped = {.used = 0};
    char address[CLI_ADDRESS_MAX];
    bool only = strchr(list, ',') == NULL, answered = false;
    c->uncertain = false;
    for (unsigned round = 0; round == 0 || (c->uncertain && round < ROUNDS); round++) {
        for (const char *left = list; client_next(&left, address);) {
            redisReply *reply = NULL;
            c->written = false;
            if (client_connect(c, address)) reply = client_follow(c, count, words);
            if (is_final(c, reply, only)) return reply;
            c->uncertain = c->uncertain || attempt_unknown(c, reply);
            skip(&skipped, reply != NULL ? c->at : "", reply != NULL ? reply->str : c->error);
            answered = answered || reply != NULL;
            if (reply != NULL) freeReplyObject(reply);
        }
    }
    const char *what = answered ? "no node serves this" : "no node answers";
    skipped_say(c, c->uncertain ? "the outcome is unknown" : what, &skipped);
    return NULL;
}

enum cli_status client_failure(const char *error)
{
    static const char *const usage[] = {
        "ERR BAD_REQUEST",     "ERR BAD_CHANGE",         "ERR BAD_LEVEL",    "ERR wrong number of ",
        "ERR unknown command", "ERR unknown subcommand", "ERR syntax error",
    };
    for (size_t i = 0; i < COUNT_OF(usage); i++) {
        if (strncmp(error, usage[i], strlen(usage[i])) == 0) return CLI_USAGE;
    }
    bool absent = strncmp(error, "ERR RAFT ", 9) == 0 && strstr(error, "not in this version");
    return absent ? CLI_USAGE : CLI_FAILED;
}

redisReply *client_line(struct client *c, const char *line)
{
    struct kelp_bytes words[WORDS_MAX];
    size_t count = 0;
    for (const char *at = line; *at != '\0' && count < WORDS_MAX;) {
        size_t len = strcspn(at, " ");
        words[count++] = bytes_of(at, len);
        at += len + strspn(at + len, " ");
    }
    return client_call(c, count, words);
}
