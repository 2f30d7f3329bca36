/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - many connections in one poll loop; see load.h. */
#include "cli/load.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/min.h"
#include "cli/client.h"
#include "cli/status.h"

#define DIAL_AGAIN_MS 50u
#define ASK_AGAIN_MS  10u
#define WAIT_MS       25u /* after a refusal */
#define OUT_BYTES_MAX (1u << 20)

void load_key(unsigned key, char *out)
{
    (void)snprintf(out, LOAD_TEXT_BYTES, "demo:%05u", key);
}

void load_value(unsigned key, char *out)
{
    unsigned long long mark = hash_mix(0x6b656c70u, key);
    (void)snprintf(out, LOAD_TEXT_BYTES, "value %u %016llx%016llx", key, mark, mark ^ key);
}

void load_open(struct load *l, const struct fleet *fleet, unsigned key_count)
{
    *l = (struct load){.fleet = fleet, .key_count = key_count, .waiting_count = key_count};
    for (unsigned i = 0; i < key_count; i++)
        l->waiting[i] = (uint16_t)i;
    l->lane_count = LOAD_WRITERS + fleet->count;
    for (unsigned i = 0; i < l->lane_count; i++) {
        struct load_lane *lane = &l->lanes[i];
        lane->watch = i >= LOAD_WRITERS;
        lane->home = lane->watch ? i - LOAD_WRITERS + 1 : i % fleet->count + 1;
        lane->fd = -1;
        buf_init(&lane->out, OUT_BYTES_MAX);
    }
}

void load_begin(struct load *l, unsigned per_second)
{
    l->per_second = per_second;
    l->began_ms = l->ok_ms = print_now_ms();
}

unsigned load_leader(const struct load *l)
{
    unsigned leader = 0;
    uint64_t term = 0;
    for (unsigned id = 1; id <= l->fleet->count; id++) {
        const struct load_view *v = &l->views[id];
        if (!v->known || v->term < term) continue;
        if (v->term > term) leader = 0; /* whoever led before does not count any more */
        term = v->term;
        if (strcmp(v->role, "leader") == 0) leader = id;
    }
    return leader;
}

/* ---- keys -------------------------------------------------------------------------------- */

static void key_wait(struct load *l, unsigned key)
{
    l->state[key] = LOAD_WAITING;
    l->waiting[(l->waiting_first + l->waiting_count++) % l->key_count] = (uint16_t)key;
}

static void key_answered(struct load *l, struct load_lane *lane, const redisReply *reply,
                         uint64_t now)
{
    unsigned key = lane->open[lane->first];
    lane->first = (lane->first + 1) % LOAD_WINDOW;
    lane->count--;
    l->open--;
    if (reply->type == REDIS_REPLY_STATUS) {
        l->state[key] = LOAD_OK;
        l->ok++;
        l->gap_ms = max_u64(l->gap_ms, now - l->ok_ms);
        l->ok_ms = now;
    } else if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "UNCERTAIN", 9) == 0) {
        l->state[key] = LOAD_UNCERTAIN;
        l->uncertain++;
    } else {
        (void)snprintf(l->refusal, sizeof l->refusal, "%s",
                       reply->str != NULL ? reply->str : "no status line");
        l->refused++;
        lane->not_before_ms = now + WAIT_MS;
        key_wait(l, key);
    }
}

/* ---- lanes ------------------------------------------------------------------------------- */

static void lane_drop(struct load *l, struct load_lane *lane, uint64_t now)
{
    for (; lane->count > 0 && !lane->watch; lane->count--) {
        l->state[lane->open[lane->first]] = LOAD_UNCERTAIN; /* it may have been written */
        lane->first = (lane->first + 1) % LOAD_WINDOW;
        l->uncertain++;
        l->open--;
    }
    if (lane->watch) l->views[lane->node].known = false;
    lane->count = 0;
    if (lane->fd >= 0) (void)close(lane->fd);
    lane->fd = -1;
    lane->connected = false;
    if (lane->reader != NULL) redisReaderFree(lane->reader);
    lane->reader = NULL;
    buf_clear(&lane->out);
    lane->sent = 0;
    lane->not_before_ms = now + DIAL_AGAIN_MS;
    if (!lane->watch) lane->home = lane->node % l->fleet->count + 1; /* try the next one */
}

void load_close(struct load *l)
{
    for (unsigned i = 0; i < l->lane_count; i++) {
        lane_drop(l, &l->lanes[i], 0);
        buf_close(&l->lanes[i].out);
    }
}

static void lane_dial(struct load *l, struct load_lane *lane, uint64_t now)
{
    lane->node = lane->home;
    const struct fleet_node *n = &l->fleet->nodes[lane->node];
    lane->fd = n->pid != 0 ? client_dial(n->client) : -1;
    lane->reader = lane->fd >= 0 ? redisReaderCreate() : NULL;
    if (lane->reader == NULL) lane_drop(l, lane, now);
}

static void lane_write(struct load *l, struct load_lane *lane, uint64_t now)
{
    uint64_t allowed = (now - l->began_ms) * l->per_second / 1000u;
    while (lane->count < LOAD_WINDOW && l->waiting_count > 0 && l->sent_count < allowed) {
        unsigned key = l->waiting[l->waiting_first];
        char name[LOAD_TEXT_BYTES], value[LOAD_TEXT_BYTES];
        load_key(key, name);
        load_value(key, value);
        const struct kelp_bytes words[] = {BYTES_LITERAL("SET"), bytes_of(name, strlen(name)),
                                           bytes_of(value, strlen(value))};
        client_encode(&lane->out, COUNT_OF(words), words);
        if (lane->out.error != KELP_OK) return;
        l->waiting_first = (l->waiting_first + 1) % l->key_count;
        l->waiting_count--;
        l->state[key] = LOAD_OPEN;
        lane->open[(lane->first + lane->count++) % LOAD_WINDOW] = (uint16_t)key;
        l->open++;
        l->sent_count++;
    }
}

static void lane_ask(struct load_lane *lane)
{
    static const struct kelp_bytes words[] = {{(const uint8_t *)"RAFT", 4},
                                              {(const uint8_t *)"STATUS", 6}};
    if (lane->count > 0) return;
    client_encode(&lane->out, COUNT_OF(words), words);
    lane->count = 1;
}

static void watch_answered(struct load *l, struct load_lane *lane, const redisReply *reply,
                           uint64_t now)
{
    lane->count = 0;
    lane->not_before_ms = now + ASK_AGAIN_MS;
    if (reply->type != REDIS_REPLY_STRING) return;
    struct status_node said = {.fields = status_parse(bytes_of(reply->str, reply->len))};
    struct load_view *v = &l->views[lane->node];
    if (said.fields == NULL) return;
    *v = (struct load_view){.known = true,
                            .term = status_number(&said, "term"),
                            .leader = status_number(&said, "leader_id"),
                            .commit = status_number(&said, "commit_index"),
                            .applied = status_number(&said, "applied_index")};
    (void)snprintf(v->role, sizeof v->role, "%s", status_text(&said, "role"));
    status_forget(&said);
}

/* False: the connection is lost, or what comes is no RESP. */
static bool lane_receive(struct load *l, struct load_lane *lane, uint64_t now)
{
    char chunk[16384];
    ssize_t got = recv(lane->fd, chunk, sizeof chunk, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0 || redisReaderFeed(lane->reader, chunk, (size_t)got) != REDIS_OK) return false;
    for (;;) {
        void *found = NULL;
        if (redisReaderGetReply(lane->reader, &found) != REDIS_OK) return false;
        if (found == NULL) return true;
        redisReply *reply = found;
        bool asked = lane->count > 0;
        if (asked && lane->watch)
            watch_answered(l, lane, reply, now);
        else if (asked)
            key_answered(l, lane, reply, now);
        freeReplyObject(reply);
        if (!asked) return false; /* an answer nobody asked for: "too many clients" and the like */
    }
}

static bool lane_send(struct load_lane *lane)
{
    if (!lane->connected) {
        int error = 0;
        socklen_t len = sizeof error;
        if (getsockopt(lane->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
            return false;
        lane->connected = true;
    }
    if (lane->sent == lane->out.len) return true;
    ssize_t sent =
        send(lane->fd, lane->out.data + lane->sent, lane->out.len - lane->sent, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    lane->sent += (size_t)sent;
    if (lane->sent < lane->out.len) return true;
    buf_clear(&lane->out);
    lane->sent = 0;
    return true;
}

void load_step(struct load *l, unsigned wait_ms)
{
    struct pollfd wait[COUNT_OF(l->lanes)];
    uint64_t now = print_now_ms();
    for (unsigned i = 0; i < l->lane_count; i++) {
        struct load_lane *lane = &l->lanes[i];
        bool due = now >= lane->not_before_ms;
        if (lane->fd < 0 && due) lane_dial(l, lane, now);
        if (lane->connected && due && lane->watch) lane_ask(lane);
        if (lane->connected && due && !lane->watch && l->per_second > 0) lane_write(l, lane, now);
        bool sends = !lane->connected || lane->sent < lane->out.len;
        wait[i] =
            (struct pollfd){.fd = lane->fd, .events = (short)(sends ? POLLIN | POLLOUT : POLLIN)};
    }
    if (poll(wait, l->lane_count, (int)wait_ms) <= 0) return;
    now = print_now_ms();
    for (unsigned i = 0; i < l->lane_count; i++) {
        struct load_lane *lane = &l->lanes[i];
        if (wait[i].revents == 0) continue;
        bool good = (wait[i].revents & POLLOUT) == 0 || lane_send(lane);
        if (good && (wait[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            good = lane_receive(l, lane, now);
        if (!good) lane_drop(l, lane, now);
    }
}
