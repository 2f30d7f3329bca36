/* SPDX-License-Identifier: Apache-2.0 */
/* floor_front.c - SET and GET for RESP clients, in front of the floor.
 *
 * The same parser, the same writer of replies and the same key table as the server, so that what
 * differs between the two is Raft and nothing else. Replies of one connection go out in order: what
 * comes behind an unanswered SET waits with it. One send a connection and wake-up. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/min.h"
#include "bench/floor.h"
#include "kv/table.h"
#include "proto/resp.h"
#include "proto/resp_reply.h"

#define ARGS_MAX      16u
#define CLIENTS_MAX   10000u
#define READ_BYTES    65536u
#define IN_BYTES_MAX  (4u << 20)
#define OUT_BYTES_MAX (64u << 20)
#define BACKLOG       1024

static const struct resp_limits limits = {.args_max = ARGS_MAX,
                                          .bulk_bytes_max = BENCH_VALUE_MAX,
                                          .inline_bytes_max = 4096,
                                          .request_bytes_max = 2 * BENCH_VALUE_MAX};

struct floor_keys {
    struct table *table;
};

struct client {
    int fd; /* -1: gone, kept for the answers still owed */
    uint64_t event;
    struct buf in, out;
    struct resp_parser parser;
    uint32_t owed;  /* answers in the line of those who wait */
    bool dirty;     /* in the list of those to be flushed */
    bool stuck;     /* its socket takes no more; epoll says when it does */
    bool full, bad; /* stopped at a full batch; to be closed when all is said */
};

struct waiting { /* an answer that comes with a batch */
    struct client *client;
    uint64_t number;
    struct kelp_bytes key; /* of a GET, owned; data NULL: a SET */
};

struct floor_front {
    int epoll, listener;
    struct client **clients; /* by place; NULL: free */
    size_t client_count;     /* places in use so far */
    struct waiting *line;    /* a ring */
    size_t line_first, line_count, line_room;
    struct client *dirty[CLIENTS_MAX];
    size_t dirty_count, full_count, gone_count;
    struct floor_keys *keys;
};

/* ---- keys --------------------------------------------------------------------------------- */

struct floor_keys *floor_keys_open(void)
{
    struct floor_keys *k = calloc(1, sizeof *k);
    if (k != NULL) k->table = table_new();
    if (k != NULL && k->table != NULL) return k;
    free(k);
    return NULL;
}

void floor_keys_close(struct floor_keys *k)
{
    if (k == NULL) return;
    table_close(k->table);
    free(k);
}

bool floor_keys_set(struct floor_keys *k, struct kelp_bytes key, struct kelp_bytes value)
{
    struct table_entry *e = entry_new(key.len, value.len);
    if (e == NULL) return false;
    e->hash = hash_bytes(key, 0);
    e->value_len = (uint32_t)value.len;
    if (key.len > 0) memcpy(e->bytes, key.data, key.len);
    if (value.len > 0) memcpy(e->bytes + key.len, value.data, value.len);
    struct table_entry **link = table_find(k->table, e->hash, key);
    if (link == NULL)
        table_insert(k->table, e);
    else
        free(table_replace(k->table, link, e));
    return true;
}

bool floor_keys_find(const struct floor_keys *k, struct kelp_bytes key, struct kelp_bytes *value)
{
    struct table_entry **link = table_find(k->table, hash_bytes(key, 0), key);
    if (link == NULL) return false;
    *value = entry_value(*link);
    return true;
}

struct floor_keys *floor_front_keys(struct floor_front *f)
{
    return f->keys;
}

/* ---- answers ------------------------------------------------------------------------------ */

static void dirty(struct floor_front *f, struct client *c)
{
    if (c->dirty) return;
    c->dirty = true;
    f->dirty[f->dirty_count++] = c;
}

static void answer_get(struct floor_front *f, struct client *c, struct kelp_bytes key)
{
    struct kelp_bytes value;
    if (floor_keys_find(f->keys, key, &value))
        (void)resp_bulk(&c->out, value); /* an error sticks; the flush looks at it */
    else
        (void)resp_nil(&c->out);
}

static bool line_grow(struct floor_front *f)
{
    size_t room = f->line_room * 2 + 1024;
    struct waiting *line = calloc(room, sizeof *line);
    if (line == NULL) return false;
    for (size_t i = 0; i < f->line_count; i++)
        line[i] = f->line[(f->line_first + i) % f->line_room];
    free(f->line);
    f->line = line;
    f->line_first = 0;
    f->line_room = room;
    return true;
}

static bool wait_in_line(struct floor_front *f, struct waiting w)
{
    if (f->line_count == f->line_room && !line_grow(f)) return false;
    f->line[(f->line_first + f->line_count++) % f->line_room] = w;
    w.client->owed++;
    dirty(f, w.client);
    return true;
}

/* ---- requests ----------------------------------------------------------------------------- */

static bool named(struct kelp_bytes word, const char *name)
{
    return word.len == strlen(name) && strncasecmp((const char *)word.data, name, word.len) == 0;
}

static bool request_get(struct floor_front *f, struct client *c, struct kelp_bytes key,
                        uint64_t number)
{
    if (c->owed == 0) {
        answer_get(f, c, key);
        return true;
    }
    uint8_t *copy = malloc(key.len + 1); /* not NULL for an empty key */
    if (copy == NULL) return false;
    memcpy(copy, key.data, key.len);
    struct waiting w = {.client = c, .number = number, .key = bytes_of(copy, key.len)};
    if (wait_in_line(f, w)) return true;
    free(copy);
    return false;
}

static bool request_set(struct floor_front *f, struct client *c, const struct kelp_bytes *argv,
                        struct floor_batch *batch)
{
    if (!wait_in_line(f, (struct waiting){.client = c, .number = batch->number})) return false;
    floor_entry(batch, argv[1], argv[2]);
    return true;
}

/* False: no memory, or nothing this front knows. */
static bool request(struct floor_front *f, struct client *c, const struct kelp_bytes *argv,
                    size_t argc, struct floor_batch *batch)
{
    if (argc == 3 && named(argv[0], "SET")) return request_set(f, c, argv, batch);
    /* With an empty batch the last one sent is what is still open. */
    uint64_t number = batch->count > 0 ? batch->number : batch->number - 1;
    if (argc == 2 && named(argv[0], "GET")) return request_get(f, c, argv[1], number);
    if (c->owed > 0) return false; /* what follows is asked before a load, never within one */
    (void)resp_error(&c->out, "ERR the floor knows SET key value and GET key");
    return true;
}

static void client_full(struct floor_front *f, struct client *c, bool full)
{
    f->full_count += full && !c->full;
    f->full_count -= !full && c->full;
    c->full = full;
}

static void client_parse(struct floor_front *f, struct client *c, struct floor_batch *batch)
{
    struct kelp_bytes argv[ARGS_MAX];
    size_t at = 0;
    enum resp_result result = RESP_REQUEST;
    client_full(f, c, false);
    while (at < c->in.len && result == RESP_REQUEST && !c->bad) {
        if (batch->bytes.len >= FLOOR_BATCH_BYTES) {
            client_full(f, c, true);
            break;
        }
        struct resp_request r;
        result = resp_parse(&c->parser, &limits, c->in.data + at, c->in.len - at, argv, &r);
        if (result == RESP_REQUEST) {
            if (r.argc > 0 && !request(f, c, argv, r.argc, batch)) c->bad = true;
            at += r.used;
        } else if (result == RESP_ERROR) {
            (void)resp_error(&c->out, "ERR %s", r.error);
            c->bad = true;
        }
    }
    buf_drop(&c->in, at);
    dirty(f, c);
}

/* ---- connections -------------------------------------------------------------------------- */

static void client_gone(struct floor_front *f, struct client *c)
{
    if (c->fd < 0) return;
    (void)close(c->fd);
    c->fd = -1;
    f->gone_count++;
    client_full(f, c, false);
    buf_clear(&c->in);
    dirty(f, c);
}

static void client_read(struct floor_front *f, struct client *c, struct floor_batch *batch)
{
    if (c->full || c->bad || buf_reserve(&c->in, READ_BYTES) != KELP_OK) return;
    ssize_t got = recv(c->fd, c->in.data + c->in.len, c->in.room - c->in.len, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        client_gone(f, c);
        return;
    }
    c->in.len += (size_t)got;
    client_parse(f, c, batch);
}

/* One send; what does not fit waits for the socket. */
static void client_flush(struct floor_front *f, struct client *c)
{
    if (c->fd < 0) return;
    if (c->out.error != KELP_OK) {
        client_gone(f, c);
        return;
    }
    if (c->out.len > 0) {
        ssize_t sent = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            client_gone(f, c);
            return;
        }
        if (sent > 0) buf_drop(&c->out, (size_t)sent);
    }
    if (c->stuck != (c->out.len > 0)) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = c->event};
        c->stuck = c->out.len > 0;
        if (c->stuck) wanted.events |= EPOLLOUT;
        (void)epoll_ctl(f->epoll, EPOLL_CTL_MOD, c->fd, &wanted); /* fails for no open socket */
    }
    if (c->bad && c->owed == 0 && c->out.len == 0) client_gone(f, c);
}

static void accept_all(struct floor_front *f)
{
    int fd;
    while ((fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        size_t place = 0;
        while (place < f->client_count && f->clients[place] != NULL)
            place++;
        struct client *c = place < CLIENTS_MAX ? calloc(1, sizeof *c) : NULL;
        struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = FLOOR_FRONT_EVENT + 1 + place};
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (c == NULL || epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &wanted) != 0) {
            free(c);
            (void)close(fd);
            return;
        }
        c->fd = fd;
        c->event = wanted.data.u64;
        buf_init(&c->in, IN_BYTES_MAX);
        buf_init(&c->out, OUT_BYTES_MAX);
        f->clients[place] = c;
        f->client_count = max_u64(f->client_count, place + 1);
    }
}

static void client_free(struct client *c)
{
    if (c->fd >= 0) (void)close(c->fd);
    buf_close(&c->in);
    buf_close(&c->out);
    free(c);
}

/* ---- what the floor calls ----------------------------------------------------------------- */

struct floor_front *floor_front_open(int epoll, uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = FLOOR_FRONT_EVENT};
    struct floor_front *f = calloc(1, sizeof *f);
    int on = 1;
    if (f == NULL) return NULL;
    f->epoll = epoll;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    f->clients = calloc(CLIENTS_MAX, sizeof(struct client *));
    f->keys = floor_keys_open();
    if (f->clients != NULL && f->keys != NULL && f->listener >= 0 &&
        setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(f->listener, (struct sockaddr *)&at, sizeof at) == 0 &&
        listen(f->listener, BACKLOG) == 0 &&
        epoll_ctl(epoll, EPOLL_CTL_ADD, f->listener, &wanted) == 0)
        return f;
    floor_front_close(f);
    return NULL;
}

void floor_front_close(struct floor_front *f)
{
    if (f == NULL) return;
    for (size_t i = 0; i < f->client_count; i++)
        if (f->clients[i] != NULL) client_free(f->clients[i]);
    for (size_t i = 0; i < f->line_count; i++)
        free((void *)(uintptr_t)f->line[(f->line_first + i) % f->line_room].key.data);
    free(f->line);
    free(f->clients);
    if (f->listener >= 0) (void)close(f->listener);
    floor_keys_close(f->keys);
    free(f);
}

void floor_front_event(struct floor_front *f, uint64_t event, struct floor_batch *batch)
{
    if (event == FLOOR_FRONT_EVENT) {
        accept_all(f);
        return;
    }
    size_t place = event - FLOOR_FRONT_EVENT - 1;
    struct client *c = place < f->client_count ? f->clients[place] : NULL;
    if (c == NULL || c->fd < 0) return;
    if (c->stuck) dirty(f, c);
    client_read(f, c, batch);
}

bool floor_front_take(struct floor_front *f, struct floor_batch *batch)
{
    for (size_t i = 0; f->full_count > 0 && i < f->client_count; i++)
        if (f->clients[i] != NULL && f->clients[i]->full) client_parse(f, f->clients[i], batch);
    return f->full_count > 0;
}

void floor_front_committed(struct floor_front *f, uint64_t number)
{
    while (f->line_count > 0 && f->line[f->line_first].number <= number) {
        struct waiting w = f->line[f->line_first];
        f->line_first = (f->line_first + 1) % f->line_room;
        f->line_count--;
        w.client->owed--;
        if (w.key.data != NULL)
            answer_get(f, w.client, w.key);
        else
            (void)resp_simple(&w.client->out, "OK");
        free((void *)(uintptr_t)w.key.data);
        dirty(f, w.client);
    }
    size_t count = f->dirty_count;
    f->dirty_count = 0;
    for (size_t i = 0; i < count; i++) {
        f->dirty[i]->dirty = false;
        client_flush(f, f->dirty[i]);
    }
    for (size_t i = 0; f->gone_count > 0 && i < f->client_count; i++) {
        struct client *c = f->clients[i];
        if (c == NULL || c->fd >= 0 || c->owed > 0 || c->dirty) continue;
        client_free(c);
        f->clients[i] = NULL;
        f->gone_count--;
    }
}
