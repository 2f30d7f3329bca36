/* SPDX-License-Identifier: Apache-2.0 */
/* kv.c - the machine itself: running commands, changing keys, freeing what is gone.
 *
 * A committed command must be executed. If memory for it cannot be had the machine freezes: it
 * answers that the outcome here is uncertain, changes nothing any more, and says so by
 * kv_failed. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"
#include "kv/glob.h"
#include "kv/reply.h"
#include "kv/snapshot.h"

#define REPLY_KEPT_MAX  (256u * 1024) /* room of the reply buffer that is kept between commands */
#define KEYS_A_PIECE    1000u         /* that KEYS looks at before others have their turn: 0.5 ms */
#define KEYS_STEPS      (GLOB_STEPS_MAX / 2) /* .. and in matching them */
#define FREED_A_COMMAND 8u                   /* entries of condemned tables */

/* ---- changing keys ----------------------------------------------------------------------- */

struct kv_place kv_find(const struct kv *kv, struct kelp_bytes key)
{
    uint64_t hash = hash_bytes(key, kv->seed);
    return (struct kv_place){key, hash, table_find(kv->table, hash, key)};
}

/* An entry for the place with a value made of two parts; NULL: the machine has failed. */
static struct table_entry *entry_make(struct kv *kv, const struct kv_place *place,
                                      struct kelp_bytes head, struct kelp_bytes tail, size_t room)
{
    struct table_entry *e = entry_new(place->key.len, room);
    if (e == NULL) {
        kv->failed = KELP_E_NO_MEMORY;
        return NULL;
    }
    e->hash = place->hash;
    e->epoch = kv->epoch;
    e->value_len = (uint32_t)(head.len + tail.len);
    uint8_t *value = e->bytes + e->key_len;
    if (place->key.len > 0) memcpy(e->bytes, place->key.data, place->key.len);
    if (head.len > 0) memcpy(value, head.data, head.len);
    if (tail.len > 0) memcpy(value + head.len, tail.data, tail.len);
    e->digest = entry_digest(e);
    return e;
}

static void entry_release(struct kv *kv, struct table_entry *e)
{
    if (snapshot_wants(kv, e))
        snapshot_keep(kv->snapshot, e);
    else
        free(e);
}

void kv_put(struct kv *kv, struct kv_place place, struct kelp_bytes value)
{
    struct table_entry *e = place.link != NULL ? *place.link : NULL;
    bool fits = e != NULL && value.len <= e->room && e->room / 2 <= value.len + 32;
    if (fits && !snapshot_wants(kv, e)) {
        table_debit(kv->table, e);
        e->value_len = (uint32_t)value.len;
        if (value.len > 0) memcpy(e->bytes + e->key_len, value.data, value.len);
        e->digest = entry_digest(e);
        table_credit(kv->table, e);
        return;
    }
    struct table_entry *fresh = entry_make(kv, &place, value, bytes_of(NULL, 0), value.len);
    if (fresh == NULL) return;
    if (e != NULL)
        entry_release(kv, table_replace(kv->table, place.link, fresh));
    else
        table_insert(kv->table, fresh);
}

void kv_extend(struct kv *kv, struct kv_place place, struct kelp_bytes suffix)
{
    struct table_entry *e = *place.link;
    size_t before = e->value_len, len = before + suffix.len;
    ASSERT(len <= KV_VALUE_BYTES_MAX);
    if (suffix.len == 0) return;
    size_t room = len <= e->room ? e->room : min_u64(len * 2, KV_VALUE_BYTES_MAX);
    if (snapshot_wants(kv, e)) {
        struct table_entry *fresh = entry_make(kv, &place, entry_value(e), suffix, room);
        if (fresh != NULL) entry_release(kv, table_replace(kv->table, place.link, fresh));
        return;
    }
    if (room > e->room) {
        struct table_entry *grown = realloc(e, sizeof(*e) + e->key_len + room);
        if (grown == NULL) {
            kv->failed = KELP_E_NO_MEMORY;
            return;
        }
        *place.link = e = grown;
    }
    table_debit(kv->table, e);
    e->room = (uint32_t)room;
    memcpy(e->bytes + e->key_len + before, suffix.data, suffix.len);
    e->value_len = (uint32_t)len;
    e->digest = entry_digest_extend(e, e->digest, before);
    table_credit(kv->table, e);
}

void kv_remove(struct kv *kv, struct kv_place place)
{
    entry_release(kv, table_remove(kv->table, place.link));
}

/* ---- whole tables ------------------------------------------------------------------------ */

void kv_condemn(struct kv *kv, struct table *t)
{
    if (t == NULL) return;
    t->next = kv->condemned;
    kv->condemned = t;
}

void kv_replace_all(struct kv *kv, struct table *fresh)
{
    struct snapshot *s = kv->snapshot;
    if (s != NULL && s->base == kv->table)
        s->owns_base = true;
    else
        kv_condemn(kv, kv->table);
    kv->table = fresh;
}

bool kv_free_slice(struct kv *kv, size_t entries)
{
    struct table *t = kv->condemned;
    if (t == NULL) return false;
    if (!table_free_slice(t, entries)) {
        kv->condemned = t->next;
        table_close(t);
    }
    return kv->condemned != NULL;
}

uint64_t kv_key_count(const struct kv *kv)
{
    return kv->table->count;
}

uint64_t kv_memory_bytes(const struct kv *kv)
{
    return kv->table->bytes;
}

enum kelp_error kv_failed(const struct kv *kv)
{
    return kv->failed;
}

/* ---- commands ---------------------------------------------------------------------------- */

enum source { FROM_LOG, FROM_QUERY };

static const char *payload_words(enum kelp_error error)
{
    return error == KELP_E_VERSION ? "-ERR this version does not know the command in the log"
                                   : "-ERR malformed command in the log";
}

/* What is left to say when the reply could not be written, or the command not be executed. */
static struct kelp_bytes failure_words(enum kelp_error failed, bool writes, enum kelp_error reply)
{
    if (writes && (failed != KELP_OK || reply != KELP_E_LIMIT)) return KELP_REPLY_LOST;
    if (failed != KELP_OK)
        return BYTES_LITERAL("-OOM this member had no memory to apply a command\r\n");
    if (reply == KELP_E_LIMIT) return BYTES_LITERAL("-ERR the reply would exceed 16 MiB\r\n");
    return BYTES_LITERAL("-OOM no memory for the reply\r\n");
}

static struct kelp_bytes run(struct kv *kv, struct kelp_bytes payload, enum source source)
{
    const struct kv_command *command = NULL;
    struct kv_args args;
    uint8_t code = 0;
    bool writes = false;
    buf_clear(&kv->reply);
    kv->reply_skip = 0;
    enum kelp_error error = kv_command_decode(payload, &command, &args, &code);
    if (error != KELP_OK) {
        reply_simple(&kv->reply, payload_words(error));
    } else {
        writes = (command->flags & KV_FLAG_WRITE) != 0;
        if (writes && source == FROM_QUERY)
            reply_simple(&kv->reply, "-ERR a command that writes must go through the log");
        else if (kv->failed == KELP_OK)
            command->run(kv, &args, &kv->reply);
    }
    if (kv->failed != KELP_OK || kv->reply.error != KELP_OK)
        return failure_words(kv->failed, writes, kv->reply.error);
    return bytes_of(kv->reply.data + kv->reply_skip, kv->reply.len - kv->reply_skip);
}

/* The seed of the key hashes is the same on every member and not the same for every cluster. */
static void seed_make(struct kv *kv, const struct kelp_command *first)
{
    uint64_t seed = hash_mix(first->pos.index, first->pos.term.v);
    kv->seed = hash_bytes(first->payload, hash_mix(seed, first->time_ns));
    kv->seeded = true;
}

static void apply(void *fsm, uint32_t group, const struct kelp_command *commands, size_t count,
                  kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct kv *kv = fsm;
    ASSERT(kv->walk.token == 0 || count == 0); /* see fsm.h */
    for (size_t i = 0; i < count; i++) {
        if (!kv->seeded) seed_make(kv, &commands[i]);
        struct kelp_bytes answer = run(kv, commands[i].payload, FROM_LOG);
        if (reply != NULL) reply(sink, i, answer);
        if (kv->condemned != NULL) (void)kv_free_slice(kv, FREED_A_COMMAND);
    }
    buf_clear(&kv->reply);
    buf_trim(&kv->reply, REPLY_KEPT_MAX);
}

static void query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                  void *sink)
{
    (void)group;
    struct kv *kv = fsm;
    reply(sink, 0, run(kv, question, FROM_QUERY));
    buf_clear(&kv->reply);
    buf_trim(&kv->reply, REPLY_KEPT_MAX);
}

static const struct keys_most piece = {.keys = KEYS_A_PIECE, .steps = KEYS_STEPS};

static void walk_close(struct kv *kv)
{
    kv->walk.token = 0;
    buf_close(&kv->walk.reply);
}

static void walk_reply(struct kv *kv, kelp_reply_fn reply, void *sink)
{
    const struct keys_walk *w = &kv->walk;
    bool fine = w->reply.error == KELP_OK;
    reply(sink, 0,
          fine ? bytes_of(w->reply.data + kv->reply_skip, w->reply.len - kv->reply_skip)
               : failure_words(kv->failed, false, w->reply.error));
}

/* Few keys are one piece, beside one that goes on, unless matching them takes long. */
static enum kelp_query keys_beside(struct kv *kv, struct kv_args *args, kelp_reply_fn reply,
                                   void *sink)
{
    if (kv->table->count > KEYS_A_PIECE) return KELP_QUERY_BUSY;
    struct keys_walk other = kv->walk;
    keys_begin(kv);
    bool more = keys_piece(kv, args, &piece);
    if (!more) walk_reply(kv, reply, sink);
    buf_close(&kv->walk.reply);
    kv->walk = other;
    return more ? KELP_QUERY_BUSY : KELP_QUERY_DONE;
}

static enum kelp_query query_part(void *fsm, uint32_t group, uint64_t token,
                                  struct kelp_bytes question, int may_begin, kelp_reply_fn reply,
                                  void *sink)
{
    struct kv *kv = fsm;
    struct keys_walk *w = &kv->walk;
    const struct kv_command *command = NULL;
    struct kv_args args;
    uint8_t code = 0;
    bool keys = kv_command_decode(question, &command, &args, &code) == KELP_OK && code == KV_KEYS &&
                kv->failed == KELP_OK;
    if (!keys) {
        query(fsm, group, question, reply, sink);
        return KELP_QUERY_DONE;
    }
    if (w->token != token) {
        if (may_begin == 0 || w->token != 0) return keys_beside(kv, &args, reply, sink);
        w->token = token;
        keys_begin(kv);
    }
    if (keys_piece(kv, &args, &piece)) return KELP_QUERY_MORE;
    walk_reply(kv, reply, sink);
    walk_close(kv);
    return KELP_QUERY_DONE;
}

static void query_end(void *fsm, uint32_t group, uint64_t token)
{
    struct kv *kv = fsm;
    (void)group;
    if (kv->walk.token == token) walk_close(kv);
}

static uint64_t hash(void *fsm, uint32_t group)
{
    (void)group;
    const struct kv *kv = fsm;
    return hash_mix(hash_mix(kv->table->sum, kv->table->count), kv->seed);
}

struct kv *kv_new(void)
{
    struct kv *kv = calloc(1, sizeof(*kv));
    if (kv == NULL) return NULL;
    kv->table = table_new();
    if (kv->table == NULL) {
        free(kv);
        return NULL;
    }
    buf_init(&kv->reply, KV_REPLY_BYTES_MAX);
    return kv;
}

static void close_machine(void *fsm)
{
    struct kv *kv = fsm;
    if (kv == NULL) return;
    snapshot_end(kv, kv->snapshot);
    while (kv_free_slice(kv, 65536)) {
    }
    table_close(kv->table);
    buf_close(&kv->walk.reply);
    buf_close(&kv->reply);
    free(kv);
}

/* What is refused when memory is short is what may make the table larger; all else may go on. */
static bool frees(void *fsm, uint32_t group, struct kelp_bytes payload)
{
    const struct kv_command *command = NULL;
    struct kv_args args;
    uint8_t code;
    (void)fsm;
    (void)group;
    if (kv_command_decode(payload, &command, &args, &code) != KELP_OK) return false;
    return (command->flags & KV_FLAG_WRITE) != 0 && (command->flags & KV_FLAG_DENYOOM) == 0;
}

const struct kelp_fsm_ops kv_fsm_ops = {
    .size = sizeof(struct kelp_fsm_ops),
    .flags = KELP_FSM_IN_MEMORY,
    .apply = apply,
    .query = query,
    .snapshot_begin = snapshot_begin,
    .snapshot_read = snapshot_read,
    .snapshot_end = snapshot_end,
    .restore_begin = restore_begin,
    .restore_object = restore_object,
    .restore_commit = restore_commit,
    .restore_abort = restore_abort,
    .hash = hash,
    .close = close_machine,
    .frees = frees,
    .query_part = query_part,
    .query_end = query_end,
};
