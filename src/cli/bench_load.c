/* SPDX-License-Identifier: Apache-2.0 */
/* bench_load.c - many connections, one thread, one epoll: see bench.h for the rules.
 *
 * A wake-up reads each ready connection once, judges all its answers, begins what may begin, and
 * sends once. Answers come in the order of the requests, so a connection's open requests are a
 * ring. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/min.h"
#include "base/prng.h"
#include "cli/bench.h"
#include "cli/client.h"

#define SECOND_NS     1000000000u
#define FILL_PIPELINE 64u
#define READ_BYTES    65536u
#define REST_NS       1000000u  /* after an error, so that a cluster without a leader may elect */
#define REDIAL_NS     20000000u /* after a lost connection */
#define SILENCE_NS    (15ull * SECOND_NS)
#define EVENTS_MAX    256
#define TIMER_EVENT   UINT64_MAX
#define UNSURE        (UINT64_C(1) << 63)
#define TICK_MS       10

enum phase { FILL, WARM_UP, WINDOW, DRAIN, CHECK, OVER };

struct request {
    uint64_t meant_ns, key, number; /* number: what a SET writes, what a GET must find */
    bool reads;
};

struct lane {
    int fd; /* -1: to be dialled at not_before */
    bool connected, writing, resting;
    uint64_t not_before_ns;
    struct buf out, in;
    size_t sent;
    struct request *open; /* a ring of pipeline_max */
    size_t first, count;
    uint64_t cursor; /* FILL, CHECK: how many of its keys it has done */
};

struct load {
    const struct bench_plan *plan;
    struct bench_report *report;
    struct bench_request set, fetch;
    struct lane *lanes;
    uint64_t *numbers; /* by key: the number of the last SET sent; 0: none; UNSURE */
    char (*addresses)[CLI_ADDRESS_MAX];
    size_t address_count, pipeline_max;
    int epoll, timer;
    enum phase phase;
    uint64_t phase_ns, last_done_ns, last_heard_ns; /* when it began; answers */
    uint64_t number, issued, open, resting, turn;
    struct prng prng;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* ---- what is asked ------------------------------------------------------------------------ */

/* Lane i owns the keys i, i + clients, i + 2 clients ... */
static uint64_t keys_of(const struct load *l, const struct lane *lane)
{
    ASSERT(l->plan->clients > 0);
    uint64_t place = (uint64_t)(lane - l->lanes);
    return (l->plan->keys - place + l->plan->clients - 1) / l->plan->clients;
}

static uint64_t key_of(const struct load *l, const struct lane *lane, uint64_t i)
{
    return (uint64_t)(lane - l->lanes) + i * l->plan->clients;
}

static bool ask(struct load *l, struct lane *lane, uint64_t key, bool reads, uint64_t meant_ns)
{
    const struct bench_request *r = reads ? &l->fetch : &l->set;
    if (buf_append(&lane->out, bytes_of(r->bytes, r->len)) != KELP_OK) return false;
    uint8_t *at = lane->out.data + lane->out.len - r->len;
    bench_digits(key, at + r->key_at, BENCH_DIGITS);
    if (!reads) {
        uint64_t number = l->number++;
        bench_digits(number, at + r->value_at, (size_t)min_u64(l->plan->value_bytes, BENCH_DIGITS));
        l->numbers[key] = number | (l->numbers[key] & UNSURE);
    }
    struct request *q = &lane->open[(lane->first + lane->count++) % l->pipeline_max];
    *q = (struct request){
        .meant_ns = meant_ns, .key = key, .number = l->numbers[key] & ~UNSURE, .reads = reads};
    l->open++;
    return true;
}

/* The next request of a lane in the phase; false: it has none. */
static bool ask_next(struct load *l, struct lane *lane, uint64_t meant_ns)
{
    uint64_t keys = keys_of(l, lane);
    switch (l->phase) {
    case FILL:
        return lane->cursor < keys &&
               ask(l, lane, key_of(l, lane, lane->cursor++), false, meant_ns);
    case CHECK:
        while (lane->cursor < keys) {
            uint64_t step = 1 + l->plan->keys / BENCH_SAMPLE_MAX;
            uint64_t key = key_of(l, lane, lane->cursor);
            lane->cursor += step;
            if (l->numbers[key] == 0 || (l->numbers[key] & UNSURE) != 0) continue;
            return ask(l, lane, key, true, meant_ns);
        }
        return false;
    case WARM_UP:
    case WINDOW: break;
    case DRAIN:
    case OVER: return false;
    }
    uint64_t key = key_of(l, lane, prng_below(&l->prng, keys));
    bool reads = l->plan->command == BENCH_GET ||
                 (l->plan->command == BENCH_MIXED && prng_chance(&l->prng, 1, 2));
    return ask(l, lane, key, reads, meant_ns);
}

static size_t window_of(const struct load *l)
{
    bool measured = l->phase == WARM_UP || l->phase == WINDOW;
    return measured ? (size_t)l->plan->pipeline : l->pipeline_max;
}

static bool may_ask(const struct load *l, const struct lane *lane)
{
    return lane->connected && !lane->resting && lane->count < window_of(l);
}

static bool scheduled(const struct load *l)
{
    return l->plan->rate > 0 && (l->phase == WARM_UP || l->phase == WINDOW);
}

/* ---- connections -------------------------------------------------------------------------- */

static void rest(struct load *l, struct lane *lane, uint64_t until)
{
    l->resting += !lane->resting;
    lane->resting = true;
    lane->not_before_ns = until;
}

static void lane_lost(struct load *l, struct lane *lane, uint64_t now)
{
    if (lane->fd >= 0) (void)close(lane->fd);
    lane->fd = -1;
    l->report->lost += lane->connected;
    l->report->unanswered += lane->count;
    for (; lane->count > 0; lane->count--, l->open--) {
        l->numbers[lane->open[lane->first].key] |= UNSURE;
        lane->first = (lane->first + 1) % l->pipeline_max;
    }
    lane->connected = lane->writing = false;
    lane->sent = 0;
    buf_clear(&lane->out);
    buf_clear(&lane->in);
    rest(l, lane, now + REDIAL_NS);
}

static bool watch(struct load *l, struct lane *lane, int how)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = (uint64_t)(lane - l->lanes)};
    if (lane->writing) wanted.events |= EPOLLOUT;
    return epoll_ctl(l->epoll, how, lane->fd, &wanted) == 0;
}

static void lane_dial(struct load *l, struct lane *lane, uint64_t now)
{
    size_t place = (size_t)(lane - l->lanes);
    lane->fd = client_dial(l->addresses[place % l->address_count]);
    lane->writing = true;
    if (lane->fd < 0 || !watch(l, lane, EPOLL_CTL_ADD)) lane_lost(l, lane, now);
}

static void lane_send(struct load *l, struct lane *lane, uint64_t now)
{
    bool writing = false;
    if (!lane->connected || (lane->sent == lane->out.len && !lane->writing)) return;
    if (lane->sent < lane->out.len) {
        ssize_t sent = send(lane->fd, lane->out.data + lane->sent, lane->out.len - lane->sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            lane_lost(l, lane, now);
            return;
        }
        lane->sent += sent > 0 ? (size_t)sent : 0;
        writing = lane->sent < lane->out.len;
        if (!writing) {
            buf_clear(&lane->out);
            lane->sent = 0;
        }
    }
    bool changes = writing != lane->writing;
    lane->writing = writing;
    if (changes && !watch(l, lane, EPOLL_CTL_MOD)) lane_lost(l, lane, now);
}

static void lane_fill(struct load *l, struct lane *lane, uint64_t now)
{
    while (!scheduled(l) && may_ask(l, lane) && ask_next(l, lane, now)) {
    }
    lane_send(l, lane, now);
}

/* ---- what is answered --------------------------------------------------------------------- */

void bench_error_add(struct bench_report *r, struct kelp_bytes words)
{
    char name[BENCH_CLASS_BYTES] = "";
    const uint8_t *blank = words.len > 0 ? memchr(words.data, ' ', words.len) : NULL;
    size_t len = blank != NULL ? (size_t)(blank - words.data) : words.len;
    for (size_t i = 0; i < len && i + 1 < sizeof name; i++) {
        bool plain = words.data[i] > ' ' && words.data[i] < 127;
        name[i] = plain ? (char)words.data[i] : '?';
    }
    size_t i = 0;
    while (i < r->class_count && strcmp(r->classes[i].name, name) != 0)
        i++;
    r->errors++;
    if (i == BENCH_CLASSES_MAX) {
        i--; /* the last class is for all that have none */
        (void)snprintf(r->classes[i].name, sizeof r->classes[i].name, "other");
    } else if (i == r->class_count) {
        memcpy(r->classes[r->class_count++].name, name, sizeof name);
    }
    r->classes[i].count++;
}

static bool answer_is_right(const struct load *l, const struct request *q,
                            const struct bench_reply *reply)
{
    if (!q->reads)
        return reply->kind == BENCH_STATUS && bytes_equal(reply->bytes, BYTES_LITERAL("OK"));
    if ((l->numbers[q->key] & UNSURE) != 0)
        return reply->kind == BENCH_BULK || reply->kind == BENCH_NIL;
    return reply->kind == BENCH_BULK && bench_value_is(&l->set, reply->bytes, q->number);
}

static void answered(struct load *l, struct lane *lane, const struct bench_reply *reply,
                     uint64_t now)
{
    struct bench_report *r = l->report;
    const struct request *q = &lane->open[lane->first];
    if (reply->kind == BENCH_ERROR) {
        bench_error_add(r, reply->bytes);
        if (!q->reads) l->numbers[q->key] |= UNSURE;
        rest(l, lane, now + REST_NS);
    } else if (!answer_is_right(l, q, reply)) {
        r->wrong++;
    } else if (l->phase == WINDOW) {
        r->operations++;
        r->longest_gap_ns = max_u64(r->longest_gap_ns, now - l->last_done_ns);
        l->last_done_ns = now;
        hist_add(&r->latency, sub_sat(now, q->meant_ns));
    } else if (l->phase == CHECK) {
        r->read_back++;
    }
    lane->first = (lane->first + 1) % l->pipeline_max;
    lane->count--;
    l->open--;
}

static void lane_receive(struct load *l, struct lane *lane, uint64_t now)
{
    if (buf_reserve(&lane->in, READ_BYTES) != KELP_OK) {
        lane_lost(l, lane, now);
        return;
    }
    ssize_t got =
        recv(lane->fd, lane->in.data + lane->in.len, lane->in.room - lane->in.len, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        lane_lost(l, lane, now);
        return;
    }
    lane->in.len += (size_t)got;
    l->last_heard_ns = now;
    size_t at = 0;
    enum kelp_error error = KELP_OK;
    while (at < lane->in.len) {
        struct bench_reply reply = {.used = 0};
        struct kelp_bytes left = bytes_of(lane->in.data + at, lane->in.len - at);
        error = bench_reply_read(left, BENCH_VALUE_MAX, &reply);
        if (error == KELP_OK && lane->count == 0) error = KELP_E_MALFORMED; /* nobody asked */
        if (error != KELP_OK) break;
        answered(l, lane, &reply, now);
        at += reply.used;
    }
    buf_drop(&lane->in, at);
    if (error != KELP_E_MALFORMED) return;
    l->report->wrong++;
    lane_lost(l, lane, now);
}

static void lane_event(struct load *l, struct lane *lane, uint32_t events, uint64_t now)
{
    if (lane->fd < 0) return;
    if (!lane->connected && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        int error = 0;
        socklen_t len = sizeof error;
        if (getsockopt(lane->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
            lane_lost(l, lane, now);
            return;
        }
        lane->connected = true;
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) lane_receive(l, lane, now);
    if (lane->fd >= 0) lane_fill(l, lane, now);
}

static void wake_resting(struct load *l, uint64_t now)
{
    for (size_t i = 0; l->resting > 0 && i < l->plan->clients; i++) {
        struct lane *lane = &l->lanes[i];
        if (!lane->resting || lane->not_before_ns > now) continue;
        lane->resting = false;
        l->resting--;
        if (lane->fd < 0)
            lane_dial(l, lane, now);
        else
            lane_fill(l, lane, now);
    }
}

/* ---- the schedule of an open loop ---------------------------------------------------------- */

static uint64_t meant_ns(const struct load *l, uint64_t i)
{
    __extension__ typedef unsigned __int128 wide;
    return l->phase_ns + (uint64_t)((wide)i * SECOND_NS / l->plan->rate);
}

/* Asks what is due, wherever there is room, in turn. What finds none is asked later and keeps its
 * place in the schedule. */
static void ask_due(struct load *l, uint64_t now)
{
    while (meant_ns(l, l->issued) <= now) {
        size_t tried = 0;
        struct lane *lane = NULL;
        for (; tried < l->plan->clients && lane == NULL; tried++) {
            struct lane *next = &l->lanes[l->turn++ % l->plan->clients];
            if (may_ask(l, next)) lane = next;
        }
        if (lane == NULL || !ask_next(l, lane, meant_ns(l, l->issued))) return;
        l->issued++;
    }
}

static void run_schedule(struct load *l, uint64_t now)
{
    ask_due(l, now);
    for (size_t i = 0; i < l->plan->clients; i++)
        if (l->lanes[i].fd >= 0 && l->lanes[i].sent < l->lanes[i].out.len && !l->lanes[i].writing)
            lane_send(l, &l->lanes[i], now);
    uint64_t next = max_u64(meant_ns(l, l->issued), now + 1);
    struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(next / SECOND_NS), .tv_nsec = (long)(next % SECOND_NS)}};
    (void)timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &at, NULL); /* else the tick does it */
}

/* ---- phases ------------------------------------------------------------------------------- */

/* stderr has no buffer: whoever reads it knows at once. */
static void mark(const struct load *l, const char *word)
{
    if (l->plan->marks) (void)fprintf(stderr, "%s\n", word);
}

static void phase_begin(struct load *l, enum phase phase, uint64_t now)
{
    l->phase = phase;
    l->phase_ns = l->last_done_ns = l->last_heard_ns = now;
    l->issued = 0;
    if (phase == WINDOW) mark(l, "begin");
    for (size_t i = 0; i < l->plan->clients; i++) {
        l->lanes[i].cursor = 0;
        lane_fill(l, &l->lanes[i], now);
    }
}

static bool all_asked(const struct load *l)
{
    for (size_t i = 0; i < l->plan->clients; i++)
        if (l->lanes[i].cursor < keys_of(l, &l->lanes[i])) return false;
    return true;
}

static void window_end(struct load *l, uint64_t now)
{
    struct bench_report *r = l->report;
    mark(l, "end");
    r->window_ns = now - l->phase_ns;
    r->longest_gap_ns = max_u64(r->longest_gap_ns, now - l->last_done_ns);
    if (l->plan->rate == 0) return;
    ask_due(l, now);
    while (meant_ns(l, l->issued + r->unsent) <= now)
        r->unsent++;
}

static void phase_next(struct load *l, uint64_t now)
{
    uint64_t since = now - l->phase_ns;
    bool silent = now - l->last_heard_ns > SILENCE_NS;
    switch (l->phase) {
    case FILL:
        if (all_asked(l) && l->open == 0) phase_begin(l, WARM_UP, now);
        if (silent) phase_begin(l, OVER, now);
        break;
    case WARM_UP:
        if (since >= l->plan->warm_up_ms * 1000000) phase_begin(l, WINDOW, now);
        break;
    case WINDOW:
        if (since < l->plan->window_ms * 1000000) break;
        window_end(l, now);
        phase_begin(l, DRAIN, now);
        break;
    case DRAIN:
        if (l->open == 0 || silent) phase_begin(l, CHECK, now);
        break;
    case CHECK:
        if ((all_asked(l) && l->open == 0) || silent) phase_begin(l, OVER, now);
        break;
    case OVER: break;
    }
}

static void loop(struct load *l)
{
    uint64_t now = now_ns();
    for (size_t i = 0; i < l->plan->clients; i++)
        lane_dial(l, &l->lanes[i], now);
    phase_begin(l, l->plan->fill ? FILL : WARM_UP, now);
    while (l->phase != OVER) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(l->epoll, events, EVENTS_MAX, l->resting > 0 ? 1 : TICK_MS);
        now = now_ns();
        for (int i = 0; i < count; i++) {
            uint64_t place = events[i].data.u64, times;
            if (place != TIMER_EVENT)
                lane_event(l, &l->lanes[place], events[i].events, now);
            else if (read(l->timer, &times, sizeof times) < 0)
                continue; /* it was set anew since */
        }
        if (l->resting > 0) wake_resting(l, now);
        if (scheduled(l)) run_schedule(l, now);
        phase_next(l, now);
    }
    for (size_t i = 0; i < l->plan->clients; i++)
        l->report->unanswered += l->lanes[i].count;
}

/* ---- beginning and end -------------------------------------------------------------------- */

static bool problem(struct load *l, const char *what, const char *why)
{
    (void)snprintf(l->report->problem, sizeof l->report->problem, "%.150s: %.90s", what, why);
    return false;
}

static bool addresses_read(struct load *l)
{
    for (const char *at = l->plan->at; *at != '\0'; l->address_count++)
        at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',');
    l->addresses = calloc(l->address_count + 1, sizeof *l->addresses);
    if (l->addresses == NULL) return problem(l, "addresses", "out of memory");
    const char *at = l->plan->at;
    for (size_t i = 0; i < l->address_count; i++) {
        size_t len = strcspn(at, ",");
        (void)snprintf(l->addresses[i], sizeof l->addresses[i], "%.*s", (int)len, at);
        at += len + (at[len] == ',');
        int fd = client_dial(l->addresses[i]);
        if (fd < 0) return problem(l, l->addresses[i], strerror(errno));
        (void)close(fd);
    }
    return true;
}

/* Somebody must be there before anything is measured. */
static bool server_answers(struct load *l)
{
    struct client c;
    client_init(&c, CLIENT_TIMEOUT_MS);
    redisReply *reply = client_connect_any(&c, l->plan->at) ? client_line(&c, "PING") : NULL;
    bool good = reply != NULL;
    if (good) freeReplyObject(reply);
    client_close(&c);
    return good || problem(l, l->plan->at, c.error);
}

static bool load_open(struct load *l)
{
    const struct bench_plan *p = l->plan;
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = TIMER_EVENT};
    l->pipeline_max = (size_t)max_u64(p->pipeline, FILL_PIPELINE);
    l->lanes = calloc(p->clients, sizeof *l->lanes);
    l->numbers = calloc(p->keys, sizeof *l->numbers);
    bool good = l->lanes != NULL && l->numbers != NULL && bench_request_get(&l->fetch) &&
                bench_request_set(&l->set, p->value_bytes);
    for (size_t i = 0; good && i < p->clients; i++) {
        struct lane *lane = &l->lanes[i];
        lane->fd = -1;
        buf_init(&lane->in, BENCH_VALUE_MAX + 2 * READ_BYTES);
        buf_init(&lane->out, l->pipeline_max * l->set.len);
        lane->open = calloc(l->pipeline_max, sizeof *lane->open);
        good = lane->open != NULL;
    }
    if (!good) return problem(l, "connections", "out of memory");
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (l->epoll < 0 || l->timer < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->timer, &wanted) != 0)
        return problem(l, "epoll", strerror(errno));
    return addresses_read(l) && server_answers(l);
}

static void load_close(struct load *l)
{
    for (size_t i = 0; l->lanes != NULL && i < l->plan->clients; i++) {
        struct lane *lane = &l->lanes[i];
        if (lane->open == NULL) continue; /* never made: its fd is not -1 either */
        if (lane->fd >= 0) (void)close(lane->fd);
        buf_close(&lane->in);
        buf_close(&lane->out);
        free(lane->open);
    }
    if (l->epoll >= 0) (void)close(l->epoll);
    if (l->timer >= 0) (void)close(l->timer);
    bench_request_close(&l->set);
    bench_request_close(&l->fetch);
    free(l->addresses);
    free(l->numbers);
    free(l->lanes);
}

bool bench_load(const struct bench_plan *plan, struct bench_report *out)
{
    ASSERT(plan->clients > 0 && plan->keys >= plan->clients);
    struct load l = {.plan = plan,
                     .report = out,
                     .epoll = -1,
                     .timer = -1,
                     .number = plan->first,
                     .prng = {.state = plan->seed}};
    bool good = load_open(&l);
    if (good) loop(&l);
    load_close(&l);
    return good;
}
