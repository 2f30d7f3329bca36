/* SPDX-License-Identifier: Apache-2.0 */
/* reckon.c - after the demo's storm: is everything there that was promised, and do all agree? */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/min.h"
#include "cli/client.h"
#include "cli/demo.h"

#define BATCH         100u /* keys of one MGET */
#define CALL_TRIES_MS 50u

static void pause_ms(unsigned ms)
{
    struct timespec pause = {.tv_nsec = (long)ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* Asks until it is no error: a node may be loading, or between two leaders. Only for reads. */
static redisReply *ask(struct client *c, const char *address, size_t count,
                       const struct kelp_bytes *words, uint64_t deadline_ms, char *error,
                       size_t error_size)
{
    for (;;) {
        redisReply *reply = NULL;
        if (c->fd >= 0 || client_connect(c, address)) reply = client_follow(c, count, words);
        if (reply != NULL && reply->type != REDIS_REPLY_ERROR) return reply;
        (void)snprintf(error, error_size, "%s", reply != NULL ? reply->str : c->error);
        if (reply != NULL) freeReplyObject(reply);
        if (print_now_ms() >= deadline_ms) return NULL;
        pause_ms(CALL_TRIES_MS);
    }
}

enum sight { SIGHT_NONE, SIGHT_ABSENT, SIGHT_THERE, SIGHT_WRONG };

static enum sight look(const redisReply *value, unsigned key)
{
    char expected[LOAD_TEXT_BYTES];
    if (value->type == REDIS_REPLY_NIL) return SIGHT_ABSENT;
    load_value(key, expected);
    bool same = value->type == REDIS_REPLY_STRING && value->len == strlen(expected) &&
                memcmp(value->str, expected, value->len) == 0;
    return same ? SIGHT_THERE : SIGHT_WRONG;
}

static redisReply *ask_batch(struct client *c, const char *address, unsigned first, unsigned count,
                             uint64_t deadline_ms, struct reckoning *out)
{
    static char names[BATCH][LOAD_TEXT_BYTES];
    struct kelp_bytes words[BATCH + 1] = {BYTES_LITERAL("MGET")};
    for (unsigned i = 0; i < count; i++) {
        load_key(first + i, names[i]);
        words[i + 1] = bytes_of(names[i], strlen(names[i]));
    }
    redisReply *reply =
        ask(c, address, count + 1, words, deadline_ms, out->error, sizeof out->error);
    if (reply == NULL || (reply->type == REDIS_REPLY_ARRAY && reply->elements == count))
        return reply;
    (void)snprintf(out->error, sizeof out->error, "%s answered MGET with something else", address);
    freeReplyObject(reply);
    return NULL;
}

/* What one node shows of every key; false: out->error. */
static bool look_through(const struct load *l, unsigned node, uint64_t deadline_ms, uint8_t *sights,
                         struct reckoning *out)
{
    struct client c;
    client_init(&c, CLIENT_TIMEOUT_MS);
    const char *address = l->fleet->nodes[node].client;
    bool all = true;
    for (unsigned first = 0; first < l->key_count && all; first += BATCH) {
        unsigned count = (unsigned)min_u64(BATCH, l->key_count - first);
        redisReply *reply = ask_batch(&c, address, first, count, deadline_ms, out);
        all = reply != NULL;
        for (unsigned i = 0; i < count && all; i++)
            sights[first + i] = (uint8_t)look(reply->element[i], first + i);
        if (all) freeReplyObject(reply);
    }
    client_close(&c);
    return all;
}

/* first: the sights of node 1, with which the others are compared. */
static void judge(const struct load *l, unsigned node, const uint8_t *sights, const uint8_t *first,
                  struct reckoning *out)
{
    for (unsigned key = 0; key < l->key_count; key++) {
        bool promised = l->state[key] == LOAD_OK;
        if (promised && sights[key] == SIGHT_THERE)
            out->found[node]++;
        else if (promised || sights[key] == SIGHT_WRONG)
            out->lost++;
        if (promised) continue;
        if (node == 1 && sights[key] == SIGHT_THERE) out->happened++;
        if (sights[key] != first[key]) out->split++;
    }
}

/* RAFT HASH is "index hash". Asked until all name the same index: the log is quiet by now. */
static void compare_hashes(const struct load *l, uint64_t deadline_ms, struct reckoning *out)
{
    static const struct kelp_bytes words[] = {{(const uint8_t *)"RAFT", 4},
                                              {(const uint8_t *)"HASH", 4}};
    for (;;) {
        unsigned long long index[DEMO_NODES + 1] = {0};
        bool level = true;
        for (unsigned id = 1; id <= l->fleet->count; id++) {
            struct client c;
            client_init(&c, CLIENT_TIMEOUT_MS);
            redisReply *reply = ask(&c, l->fleet->nodes[id].client, COUNT_OF(words), words,
                                    deadline_ms, out->error, sizeof out->error);
            client_close(&c);
            if (reply == NULL) return;
            bool good = reply->str != NULL &&
                        sscanf(reply->str, "%llu %31s", &index[id], out->hash[id]) == 2;
            freeReplyObject(reply);
            if (!good) {
                (void)snprintf(out->error, sizeof out->error, "node %u gives no state hash", id);
                return;
            }
            level = level && index[id] == index[1];
        }
        out->index = index[1];
        if (level || print_now_ms() >= deadline_ms) break;
        pause_ms(CALL_TRIES_MS);
    }
    out->equal = true;
    for (unsigned id = 2; id <= l->fleet->count; id++)
        out->equal = out->equal && strcmp(out->hash[id], out->hash[1]) == 0;
}

void reckon(const struct load *l, uint64_t deadline_ms, struct reckoning *out)
{
    static uint8_t first[LOAD_KEYS_MAX], sights[LOAD_KEYS_MAX];
    *out = (struct reckoning){0};
    for (unsigned id = 1; id <= l->fleet->count; id++) {
        uint8_t *at = id == 1 ? first : sights;
        if (!look_through(l, id, deadline_ms, at, out)) return;
        judge(l, id, at, first, out);
    }
    compare_hashes(l, deadline_ms, out);
    if (out->equal) out->error[0] = '\0'; /* what was tried again is no complaint */
}
