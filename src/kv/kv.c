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
#define WALL_VERSION    1u

/* What is cleared away by one entry of what has passed: a command in passing, which may be one of a
 * thousand that are applied together; an entry that does nothing else, alone in its turn (1000 keys
 * 0.7 ms, 4 MiB 0.3 ms). Large values go back to the system, which takes its time, so a command
 * clears of them no more than twice what it brings itself: a turn is bounded by the bytes of its
 * entries, and clearing keeps up with whoever writes. */
static const struct lapsing by_command = {.keys = 2, .bytes = 4096};
static const struct lapsing by_clock = {.keys = 1000, .bytes = 4 * 1024 * 1024, .one = true};
#define LAPSED_SHARE 2u

/* ---- changing keys ----------------------------------------------------------------------- */

struct kv_place kv_find(const struct kv *kv, struct kelp_bytes key)
{
    uint64_t hash = hash_bytes(key, kv->seed);
    struct table_entry **link = table_find(kv->table, hash, key);
    bool lapsed = link != NULL && kv_lapsed(kv, *link);
    return (struct kv_place){key, hash, lapsed ? NULL : link, lapsed};
}

/* An entry for the place with a value made of two parts; NULL: the machine has failed. */
static struct table_entry *entry_make(struct kv *kv, const struct kv_place *place,
                                      struct kelp_bytes head, struct kelp_bytes tail, size_t room,
                                      const struct due *due)
{
    struct table_entry *e = entry_new(place->key.len, room);
    if (e == NULL || (due != NULL && !entry_due(e, due->at, due->unix_ms))) {
        entry_free(e);
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
        entry_free(e);
}

/* The entry of a key that is absent by its deadline: a key has one entry. */
static void lapsed_release(struct kv *kv, const struct kv_place *place)
{
    struct table_entry **link = table_find(kv->table, place->hash, place->key);
    ASSERT(link != NULL && kv_lapsed(kv, *link));
    entry_release(kv, table_remove(kv->table, link));
}

void kv_put(struct kv *kv, struct kv_place place, struct kelp_bytes value, enum kv_deadline what)
{
    struct table_entry *e = place.link != NULL ? *place.link : NULL;
    bool fits = e != NULL && value.len <= e->room && e->room / 2 <= value.len + 32;
    if (fits && !snapshot_wants(kv, e)) {
        if (what == KV_FORGET_DEADLINE && e->due != NULL) table_due(kv->table, e, NULL);
        table_debit(kv->table, e);
        e->value_len = (uint32_t)value.len;
        if (value.len > 0) memcpy(e->bytes + e->key_len, value.data, value.len);
        e->digest = entry_digest(e);
        table_credit(kv->table, e);
        return;
    }
    const struct due *due = e != NULL && what == KV_KEEP_DEADLINE ? e->due : NULL;
    struct table_entry *fresh = entry_make(kv, &place, value, bytes_of(NULL, 0), value.len, due);
    if (fresh == NULL) return;
    if (place.lapsed) lapsed_release(kv, &place);
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
        struct table_entry *fresh = entry_make(kv, &place, entry_value(e), suffix, room, e->due);
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
        if (e->due != NULL) e->due->entry = e;
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

void kv_expire(struct kv *kv, struct kv_place place, uint64_t at, int64_t unix_ms)
{
    struct table_entry *e = *place.link;
    struct due wanted = {.at = at, .unix_ms = unix_ms};
    const struct due *due = at != 0 ? &wanted : NULL;
    if (due != NULL && at <= max_u64(kv->now, KV_LONG_AGO)) {
        kv_remove(kv, place);
        return;
    }
    if (snapshot_wants(kv, e)) {
        struct table_entry *fresh =
            entry_make(kv, &place, entry_value(e), bytes_of(NULL, 0), e->value_len, due);
        if (fresh != NULL) entry_release(kv, table_replace(kv->table, place.link, fresh));
        return;
    }
    struct due *made = due != NULL ? malloc(sizeof(*made)) : NULL;
    if (due != NULL && made == NULL) {
        kv->failed = KELP_E_NO_MEMORY;
        return;
    }
    if (made != NULL) *made = wanted;
    table_due(kv->table, e, made);
}

void kv_lapse(struct kv *kv, const struct lapsing *most)
{
    uint64_t bytes = 0; /* as told to the table: what an entry takes depends on its history */
    for (size_t i = 0; i < most->keys; i++) {
        const struct due *first = kv->table->due.first;
        if (first == NULL || first->at > kv->now) return;
        const struct table_entry *e = first->entry;
        bytes += (uint64_t)e->key_len + e->value_len;
        if (bytes > most->bytes && !(most->one && i == 0)) return;
        struct table_entry **link = table_find(kv->table, e->hash, entry_key(e));
        ASSERT(link != NULL && *link == e);
        entry_release(kv, table_remove(kv->table, link));
    }
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
    return kv->table->count - due_passed(&kv->table->due, kv->now);
}

struct kv_timed kv_timed(const struct kv *kv)
{
    const struct due_tree *due = &kv->table->due;
    uint64_t count = due->root != NULL ? due->root->count : 0;
    if (count == 0) return (struct kv_timed){0};
    return (struct kv_timed){.keys = count - due_passed(due, kv->now),
                             .ttl_ms = sub_sat(due->sum_ms / count, kv->told / 1000000)};
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

static void time_passes(struct kv *kv, uint64_t time_ns)
{
    kv->now = max_u64(kv->now, time_ns);
    kv->told = kv->now; /* equal everywhere, as what a command answers must be */
}

/* Beside a command that sets deadlines the leader puts its time of day:
 *   version (1), milliseconds since 1970 (8)
 * What this version does not know stops the machine: others may set another deadline by it. */
static void wall_read(struct kv *kv, struct kelp_bytes extension)
{
    struct reader r = reader_of(extension);
    kv->walled = false;
    if (extension.len == 0) return;
    uint8_t version = read_u8(&r);
    kv->wall_ms = (int64_t)read_u64(&r);
    if (r.failed || version != WALL_VERSION || reader_left(&r) != 0)
        kv->failed = KELP_E_VERSION;
    else
        kv->walled = true;
}

static void apply(void *fsm, uint32_t group, const struct kelp_command *commands, size_t count,
                  kelp_reply_fn reply, void *sink)
{
    (void)group;
    struct kv *kv = fsm;
    ASSERT(kv->walk.token == 0 || count == 0); /* see fsm.h */
    for (size_t i = 0; i < count; i++) {
        if (!kv->seeded) seed_make(kv, &commands[i]);
        time_passes(kv, commands[i].time_ns);
        wall_read(kv, commands[i].extension);
        struct kelp_bytes answer = run(kv, commands[i].payload, FROM_LOG);
        if (reply != NULL) reply(sink, i, answer);
        if (kv->condemned != NULL) (void)kv_free_slice(kv, FREED_A_COMMAND);
        if (kv->table->due.first != NULL && kv->failed == KELP_OK) {
            struct lapsing most = by_command;
            most.bytes += LAPSED_SHARE * commands[i].payload.len;
            kv_lapse(kv, &most);
        }
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

/* An EXPIRE makes the table larger before it makes it smaller. */
static bool frees(void *fsm, uint32_t group, struct kelp_bytes payload)
{
    const struct kv_command *command = NULL;
    struct kv_args args;
    uint8_t code;
    (void)fsm;
    (void)group;
    if (kv_command_decode(payload, &command, &args, &code) != KELP_OK) return false;
    return code == KV_DEL || code == KV_UNLINK || code == KV_FLUSHALL || code == KV_FLUSHDB;
}

/* ---- time -------------------------------------------------------------------------------- */

static uint64_t deadline(void *fsm, uint32_t group)
{
    const struct kv *kv = fsm;
    (void)group;
    if (kv->table->due.first == NULL || kv->failed != KELP_OK) return KELP_FSM_NO_DEADLINE;
    return kv->table->due.first->at;
}

static void pass(void *fsm, uint32_t group, uint64_t time_ns, int alone)
{
    struct kv *kv = fsm;
    (void)group;
    ASSERT(kv->walk.token == 0);
    time_passes(kv, time_ns);
    if (alone != 0 && kv->failed == KELP_OK) kv_lapse(kv, &by_clock);
}

static void tell_time(void *fsm, uint32_t group, uint64_t time_ns)
{
    struct kv *kv = fsm;
    (void)group;
    kv->told = max_u64(kv->now, time_ns);
}

static bool lapses(void *fsm, uint32_t group, struct kelp_bytes question, uint64_t time_ns)
{
    const struct kv *kv = fsm;
    const struct kv_command *command = NULL;
    struct kv_args args;
    uint8_t code;
    (void)group;
    /* those that were due by now are absent already */
    if (due_passed(&kv->table->due, time_ns) == due_passed(&kv->table->due, kv->now)) return false;
    if (kv_command_decode(question, &command, &args, &code) != KELP_OK) return false;
    if (code == KV_SCAN) return scan_lapses(kv, &args, time_ns);
    if (command->key_first == 0) return true; /* it may be about every key */
    while (args.left > 0) {
        struct kv_place place = kv_find(kv, kv_args_next(&args));
        if (place.link != NULL && (*place.link)->due != NULL && (*place.link)->due->at <= time_ns)
            return true;
        if (command->key_last == command->key_first) return false;
    }
    return false;
}

static size_t extend(void *fsm, uint32_t group, struct kelp_bytes payload, uint64_t wall_unix_ms,
                     uint8_t *out)
{
    const struct kv_command *command = NULL;
    struct kv_args args;
    uint8_t code;
    (void)fsm;
    (void)group;
    if (payload.len < 2 || (payload.data[1] != KV_SET && payload.data[1] < KV_EXPIRE)) return 0;
    if (kv_command_decode(payload, &command, &args, &code) != KELP_OK) return 0;
    if ((command->flags & KV_FLAG_WRITE) == 0 || code == KV_PERSIST) return 0;
    if (code == KV_SET && args.left <= 2) return 0;
    struct writer w = writer_of(out, KELP_FSM_EXTEND_MAX);
    write_u8(&w, WALL_VERSION);
    write_u64(&w, wall_unix_ms);
    return writer_len(&w);
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
    .deadline = deadline,
    .pass = pass,
    .tell_time = tell_time,
    .lapses = lapses,
    .extend = extend,
    .stage_begin = stage_begin,
};
