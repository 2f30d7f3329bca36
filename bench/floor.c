/* SPDX-License-Identifier: Apache-2.0 */
/* floor.c - the least a replicated log can cost on a machine: the measure for everything else.
 *
 *   leader    collect a batch -> send to all -> pwritev, fdatasync -> acks -> count -> collect ...
 *   follower  receive all there is -> checksums -> one pwritev, one fdatasync -> one ack
 *
 * One thread a process, blocking sends (a follower only ever answers eight bytes a batch, so nobody
 * waits for each other), everything queued in one sync. A batch counts when a majority, by their
 * synced numbers, has it. With --front the operations come from RESP clients (floor_front.c). With
 * --writers every process is a leader without followers: what the disk alone allows so many. */
#include "bench/floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/min.h"

#define BATCHES_MAX   8u
#define STOP_EVENT    999u
#define EVENTS_MAX    128
#define DIAL_MS       10
#define DIALS_MAX     1000
#define RECEIVE_BYTES (2u * FLOOR_BATCH_MAX)

struct floor_node { /* what leader and follower share */
    struct bench_run *run;
    struct floor_file file;
    struct floor_keys *keys; /* NULL: no front, operations are only counted */
    uint64_t synced, applied, state;
};

struct leader {
    struct floor_node node;
    int epoll, followers[BENCH_NODES_MAX];
    uint32_t follower_count;
    uint64_t acks[BENCH_NODES_MAX];
    uint8_t partial[BENCH_NODES_MAX][8]; /* of an ack that came in pieces */
    size_t partial_len[BENCH_NODES_MAX];
    struct floor_batch batches[BATCHES_MAX]; /* number n lies at n % BATCHES_MAX */
    uint64_t next, committed;                /* batch numbers: being collected; counted */
    uint64_t proposed, open;                 /* operations */
    struct floor_front *front;
    struct bench_clock clock;
    bool over; /* nothing new is begun */
};

/* ---- batches ------------------------------------------------------------------------------ */

static void batch_begin(struct floor_batch *b, uint64_t number)
{
    buf_clear(&b->bytes);
    b->number = number;
    b->count = 0;
    b->sum = 0;
    b->began_ns = 0;
    (void)buf_reserve(&b->bytes,
                      FLOOR_BATCH_HEAD); /* fails only where every append after it does */
    if (b->bytes.error == KELP_OK) b->bytes.len = FLOOR_BATCH_HEAD;
}

void floor_entry(struct floor_batch *b, struct kelp_bytes key, struct kelp_bytes value)
{
    size_t bytes = key.len + value.len;
    if (buf_reserve(&b->bytes, bytes + FLOOR_ENTRY_EXTRA) != KELP_OK) return;
    uint8_t *entry = b->bytes.data + b->bytes.len;
    put_u32(entry, (uint32_t)bytes);
    put_u32(entry + 4, (uint32_t)key.len);
    if (key.len > 0) memcpy(entry + 8, key.data, key.len);
    memcpy(entry + 8 + key.len, value.data, value.len);
    uint64_t check = hash_bytes(bytes_of(entry, 8 + bytes), b->number);
    put_u64(entry + 8 + bytes, check);
    b->sum = hash_mix(b->sum, check);
    b->bytes.len += bytes + FLOOR_ENTRY_EXTRA;
    b->count++;
}

static uint64_t head_check(uint64_t number, uint32_t count, uint32_t bytes, uint64_t sum)
{
    return hash_mix(hash_mix(hash_mix(sum, number), count), bytes);
}

static void batch_seal(struct floor_batch *b)
{
    uint8_t *head = b->bytes.data;
    uint32_t bytes = (uint32_t)(b->bytes.len - FLOOR_BATCH_HEAD);
    put_u64(head, head_check(b->number, b->count, bytes, b->sum));
    put_u64(head + 8, b->number);
    put_u32(head + 16, b->count);
    put_u32(head + 20, bytes);
}

/* One entry of left bytes; 0: it is damaged, else its size. */
static size_t entry_read(const uint8_t *at, size_t left, uint64_t number, uint64_t *sum)
{
    if (left < FLOOR_ENTRY_EXTRA) return 0;
    size_t bytes = load_u32(at);
    if (bytes > left - FLOOR_ENTRY_EXTRA || load_u32(at + 4) > bytes) return 0;
    uint64_t check = hash_bytes(bytes_of(at, 8 + bytes), number);
    if (check != load_u64(at + 8 + bytes)) return 0;
    *sum = hash_mix(*sum, check);
    return bytes + FLOOR_ENTRY_EXTRA;
}

/* Entries whose checksums are known to be right. */
static void entries_walk(struct kelp_bytes entries, floor_entry_fn fn, void *ctx)
{
    for (size_t at = 0; at < entries.len;) {
        const uint8_t *e = entries.data + at;
        size_t size = load_u32(e), key = load_u32(e + 4);
        fn(ctx, bytes_of(e + 8, key), bytes_of(e + 8 + key, size - key));
        at += size + FLOOR_ENTRY_EXTRA;
    }
}

enum kelp_error floor_read(struct kelp_bytes data, uint64_t number, size_t *used, uint32_t *count,
                           floor_entry_fn fn, void *ctx)
{
    if (data.len < FLOOR_BATCH_HEAD) return KELP_E_MORE;
    uint32_t bytes = load_u32(data.data + 20);
    if (load_u64(data.data + 8) != number || bytes > FLOOR_BATCH_MAX) return KELP_E_MALFORMED;
    if (data.len - FLOOR_BATCH_HEAD < bytes) return KELP_E_MORE;
    const uint8_t *entries = data.data + FLOOR_BATCH_HEAD;
    uint32_t found = 0;
    uint64_t sum = 0;
    for (size_t at = 0; at < bytes; found++) {
        size_t size = entry_read(entries + at, bytes - at, number, &sum);
        if (size == 0) return KELP_E_MALFORMED;
        at += size;
    }
    *count = load_u32(data.data + 16);
    if (found != *count || load_u64(data.data) != head_check(number, found, bytes, sum))
        return KELP_E_MALFORMED;
    if (fn != NULL) entries_walk(bytes_of(entries, bytes), fn, ctx);
    *used = FLOOR_BATCH_HEAD + bytes;
    return KELP_OK;
}

/* ---- both kinds of node ------------------------------------------------------------------- */

static void entry_apply(void *ctx, struct kelp_bytes key, struct kelp_bytes value)
{
    struct floor_node *n = ctx;
    n->applied++;
    if (n->keys == NULL) {
        n->state = bench_state(n->state, value);
        return;
    }
    n->state = hash_mix(n->state, hash_bytes(value, key.len));
    if (!floor_keys_set(n->keys, key, value)) atomic_store(&n->run->shared->failed, true);
}

static void node_publish(struct floor_node *n)
{
    struct bench_node *out = &n->run->shared->nodes[n->run->id];
    atomic_store_explicit(&out->applied, n->applied, memory_order_relaxed);
    atomic_store_explicit(&out->state, n->state, memory_order_relaxed);
}

static bool send_whole(int fd, struct kelp_bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        bytes = bytes_of(bytes.data + sent, bytes.len - (size_t)sent);
    }
    return true;
}

static struct sockaddr_in address_of(const struct bench_run *run, uint32_t id)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(run->shared->ports[id]),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int no_delay(int fd)
{
    int on = 1;
    if (fd >= 0) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* ---- the follower ------------------------------------------------------------------------- */

static int follower_accept(const struct bench_run *run)
{
    struct sockaddr_in at = address_of(run, run->id);
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 1) != 0)
        return -1;
    int fd = accept(listener, NULL, NULL);
    (void)close(listener);
    return no_delay(fd);
}

/* Everything whole of what was received: applied, written, synced, answered. Returns its size, or
 * -1. */
static ssize_t follower_take(struct floor_node *n, int fd, struct kelp_bytes received)
{
    uint64_t first = n->synced + 1, number = first;
    size_t whole = 0, used;
    uint32_t count;
    enum kelp_error error;
    do {
        error = floor_read(bytes_of(received.data + whole, received.len - whole), number, &used,
                           &count, entry_apply, n);
        if (error == KELP_OK) {
            whole += used;
            number++;
        }
    } while (error == KELP_OK && whole < received.len);
    if (error == KELP_E_MALFORMED) {
        (void)fprintf(stderr, "bench-floor: node %u: batch %llu is damaged\n", n->run->id,
                      (unsigned long long)number);
        return -1;
    }
    if (whole == 0) return 0;
    if (!floor_file_append(&n->file, bytes_of(received.data, whole), first)) return -1;
    n->synced = number - 1;
    node_publish(n);
    uint8_t ack[8];
    put_u64(ack, n->synced);
    return send_whole(fd, bytes_of(ack, sizeof ack)) ? (ssize_t)whole : -1;
}

static bool follower_follow(struct floor_node *n, int fd)
{
    uint8_t *data = malloc(RECEIVE_BYTES);
    size_t len = 0;
    bool good = data != NULL;
    while (good) {
        ssize_t got = recv(fd, data + len, RECEIVE_BYTES - len, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            good = got == 0 && len == 0;
            break;
        }
        len += (size_t)got;
        ssize_t taken = follower_take(n, fd, bytes_of(data, len));
        good = taken >= 0;
        if (taken <= 0) continue;
        len -= (size_t)taken;
        memmove(data, data + taken, len);
    }
    free(data);
    return good;
}

static bool follower_run(struct floor_node *n)
{
    int fd = follower_accept(n->run);
    bool good = fd >= 0 && follower_follow(n, fd);
    if (!good) (void)fprintf(stderr, "bench-floor: node %u: %s\n", n->run->id, strerror(errno));
    if (fd >= 0) (void)close(fd);
    return good;
}

/* ---- the leader --------------------------------------------------------------------------- */

/* The follower listens after it has zeroed its file, which takes as long as the disk wants. */
static int leader_dial(const struct bench_run *run, uint32_t id)
{
    struct sockaddr_in to = address_of(run, id);
    for (int i = 0; i < DIALS_MAX; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return -1;
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return no_delay(fd);
        (void)close(fd);
        (void)poll(NULL, 0, DIAL_MS);
    }
    return -1;
}

static bool watch(int epoll, int fd, uint64_t event)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = event};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted) == 0;
}

static bool leader_open(struct leader *l)
{
    const struct bench_run *run = l->node.run;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0 || !watch(l->epoll, run->stopped, STOP_EVENT)) return false;
    for (uint32_t id = 2; id <= run->options->nodes && !run->options->alone; id++) {
        int fd = leader_dial(run, id);
        if (fd < 0 || !watch(l->epoll, fd, l->follower_count)) return false;
        l->followers[l->follower_count++] = fd;
    }
    for (size_t i = 0; i < BATCHES_MAX; i++)
        buf_init(&l->batches[i].bytes, FLOOR_BATCH_MAX + FLOOR_BATCH_HEAD);
    l->next = 1;
    batch_begin(&l->batches[1], 1);
    if (run->options->front == 0) return true;
    l->front = floor_front_open(l->epoll, (uint16_t)run->options->front);
    if (l->front == NULL) return false;
    l->node.keys = floor_front_keys(l->front);
    return true;
}

static struct floor_batch *batch_at(struct leader *l, uint64_t number)
{
    return &l->batches[number % BATCHES_MAX];
}

/* The closed loop: whatever is free is begun again. */
static void load_fill(struct leader *l, struct floor_batch *b)
{
    const struct bench_options *o = l->node.run->options;
    uint8_t value[4096], *bytes = value, *owned = NULL;
    if (o->value_bytes > sizeof value) bytes = owned = malloc(o->value_bytes);
    if (bytes == NULL) return;
    bench_value(l->proposed, bytes, o->value_bytes);
    while (l->open < o->in_flight && b->bytes.len < FLOOR_BATCH_BYTES) {
        put_u64(bytes, ++l->proposed);
        floor_entry(b, bytes_of(NULL, 0), bytes_of(bytes, o->value_bytes));
        l->open++;
    }
    free(owned);
}

/* Send first, then write: the followers' syncs and ours go on at the same time. */
static bool leader_send(struct leader *l)
{
    struct floor_batch *b = batch_at(l, l->next);
    if (b->bytes.error != KELP_OK) return false;
    if (b->count == 0 || l->next - l->committed >= BATCHES_MAX) return true;
    b->began_ns = bench_now_ns();
    batch_seal(b);
    for (uint32_t i = 0; i < l->follower_count; i++)
        if (!send_whole(l->followers[i], buf_bytes(&b->bytes))) return false;
    if (!floor_file_append(&l->node.file, buf_bytes(&b->bytes), b->number)) return false;
    l->node.synced = b->number;
    l->next++;
    batch_begin(batch_at(l, l->next), l->next);
    return true;
}

static bool leader_receive(struct leader *l, uint32_t i)
{
    uint8_t bytes[4096];
    memcpy(bytes, l->partial[i], l->partial_len[i]);
    ssize_t got = recv(l->followers[i], bytes + l->partial_len[i], sizeof bytes - 8, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    size_t len = l->partial_len[i] + (size_t)got, whole = len / 8 * 8;
    if (whole > 0) l->acks[i] = load_u64(bytes + whole - 8);
    l->partial_len[i] = len - whole;
    memcpy(l->partial[i], bytes + whole, len - whole);
    return l->acks[i] < l->next;
}

/* The highest number that a majority has synced. */
static uint64_t majority(const struct leader *l)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i <= l->follower_count; i++) {
        uint64_t number = i == 0 ? l->node.synced : l->acks[i - 1];
        uint32_t have = l->node.synced >= number;
        for (uint32_t k = 0; k < l->follower_count; k++)
            have += l->acks[k] >= number;
        if (2 * have > l->follower_count + 1) best = max_u64(best, number);
    }
    return best;
}

static void count_batch(struct leader *l, const struct floor_batch *b)
{
    struct bench_shared *s = l->node.run->shared;
    entries_walk(bytes_of(b->bytes.data + FLOOR_BATCH_HEAD, b->bytes.len - FLOOR_BATCH_HEAD),
                 entry_apply, &l->node);
    atomic_fetch_add(&s->acknowledged, b->count);
    if (l->front == NULL) l->open -= b->count;
    if (l->front != NULL) {
        atomic_fetch_add(&s->operations, b->count);
        return;
    }
    if (l->node.run->options->alone && atomic_load(&s->counting))
        atomic_fetch_add(&s->nodes[l->node.run->id].counted, b->count);
    if (l->node.run->id != 1) return;
    uint64_t now = bench_now_ns();
    if (l->clock.phase == BENCH_WINDOW) {
        if (!l->node.run->options->alone) atomic_fetch_add(&s->operations, b->count);
        for (uint32_t i = 0; i < b->count; i++)
            hist_add(&s->latency, now - b->began_ns);
    }
    l->over = bench_clock_tick(&l->clock, l->node.run, now) == BENCH_OVER;
    atomic_store(&s->counting, l->clock.phase == BENCH_WINDOW);
}

static void leader_commit(struct leader *l)
{
    uint64_t number = majority(l);
    while (l->committed < number)
        count_batch(l, batch_at(l, ++l->committed));
    node_publish(&l->node);
    if (l->front != NULL) floor_front_committed(l->front, l->committed);
}

static bool leader_wait(struct leader *l, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(l->epoll, events, EVENTS_MAX, timeout_ms);
    if (count < 0) return errno == EINTR;
    for (int i = 0; i < count; i++) {
        uint64_t event = events[i].data.u64;
        if (event == STOP_EVENT)
            l->over = true;
        else if (event >= FLOOR_FRONT_EVENT)
            floor_front_event(l->front, event, batch_at(l, l->next));
        else if (!leader_receive(l, (uint32_t)event))
            return false;
    }
    return true;
}

static bool all_level(const struct leader *l)
{
    bool level = l->committed + 1 == l->next && l->batches[l->next % BATCHES_MAX].count == 0;
    for (uint32_t i = 0; i < l->follower_count; i++)
        level = level && l->acks[i] == l->committed;
    return level;
}

static bool leader_run(struct leader *l)
{
    bool good = leader_open(l);
    if (l->node.run->id == 1) (void)bench_clock_tick(&l->clock, l->node.run, bench_now_ns());
    while (good && !(l->over && all_level(l))) {
        struct floor_batch *b = batch_at(l, l->next);
        bool more = l->front != NULL && floor_front_take(l->front, b);
        if (l->front == NULL && !l->over) load_fill(l, b);
        good = leader_send(l);
        leader_commit(l);
        if (l->over && all_level(l)) break; /* nobody else would wake a leader without followers */
        if (l->front == NULL) more = !l->over && l->open < l->node.run->options->in_flight;
        bool room = l->next - l->committed < BATCHES_MAX;
        good = good && leader_wait(l, more && room ? 0 : -1);
        leader_commit(l);
    }
    if (!good) (void)fprintf(stderr, "bench-floor: the leader ends: %s\n", strerror(errno));
    if (l->node.run->id == 1) bench_mark(l->node.run, 'D');
    for (uint32_t i = 0; i < l->follower_count; i++)
        (void)close(l->followers[i]); /* so they know that it is over */
    return good;
}

/* ---- a process ---------------------------------------------------------------------------- */

static int node_run(struct bench_run *run)
{
    static struct leader leader; /* large */
    bool leads = run->id == 1 || run->options->alone;
    struct floor_node follower = {.run = run}, *n = leads ? &leader.node : &follower;
    n->run = run;
    if (!floor_file_open(&n->file, run->dir)) return 1;
    if (!leads && run->options->front != 0 && (n->keys = floor_keys_open()) == NULL) return 1;
    bool good = leads ? leader_run(&leader) : follower_run(n);
    good = good && floor_file_check(&n->file, n->synced);
    atomic_store(&run->shared->nodes[run->id].intact, good);
    floor_file_close(&n->file);
    if (leads) {
        floor_front_close(leader.front); /* owns the keys */
        for (size_t i = 0; i < BATCHES_MAX; i++)
            buf_close(&leader.batches[i].bytes);
    } else {
        floor_keys_close(n->keys);
    }
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct bench_program program = {
        .system = "floor", .version = "1", .has_front = true, .node = node_run};
    return bench_main(&program, argc, argv);
}
