/* SPDX-License-Identifier: Apache-2.0 */
/* state.h - what the files of this room share: the machine, its one way to change keys, its
 * commands.
 *
 * Replicated are the seed and the keys with their values and deadlines, nothing else. Every change
 * of a key goes through kv_put, kv_extend, kv_expire, kv_remove, kv_lapse or kv_replace_all, which
 * keep the state hash and the view of a running snapshot right. */
#ifndef KV_STATE_H
#define KV_STATE_H

#include "kv/codec.h"
#include "kv/commands.h"
#include "kv/kv.h"
#include "kv/table.h"

struct snapshot;

/* A KEYS that goes on in pieces; the table does not change meanwhile. */
struct keys_walk {
    uint64_t token; /* 0: none */
    const struct table_entry *next;
    uint64_t count;
    struct buf reply;
};

struct kv {
    struct table *table;
    struct table *condemned;   /* tables to be freed in slices, linked by next */
    struct snapshot *snapshot; /* the one being read, or NULL */
    uint64_t seed;             /* of every key's hash; made from the first command */
    bool seeded;
    uint64_t now;  /* cluster clock: the stamp of the last applied entry; decides what is absent */
    uint64_t told; /* .. as it runs on; for answers that tell a time, decides nothing */
    int64_t wall_ms; /* the leader's time of day when it proposed the command that runs .. */
    bool walled;     /* .. is known */
    uint32_t epoch;  /* snapshots begun so far */
    enum kelp_error failed;
    struct buf reply;  /* of the command that runs */
    size_t reply_skip; /* unused bytes at its start, see reply.h */
    struct keys_walk walk;
};

/* A key and where it stands. link: see table_find; NULL: the key is not there, as also when its
 * deadline has passed; lapsed: its entry still is. */
struct kv_place {
    struct kelp_bytes key;
    uint64_t hash;
    struct table_entry **link;
    bool lapsed;
};

struct kv_place kv_find(const struct kv *kv, struct kelp_bytes key);

/* kv_lapsed - is the entry of a key that is absent by now? */
static inline bool kv_lapsed(const struct kv *kv, const struct table_entry *e)
{
    return e->due != NULL && e->due->at <= kv->now;
}

/* kv_put - the key has this value from now on. value may not point into the table.
 * kv_expire - the key is there and has this deadline; at 0: none; one that has passed, or
 *   KV_LONG_AGO, removes it.
 * kv_extend - the same for what it has with a suffix; the key is there.
 * kv_remove - the key is there and goes.
 * All use up the place. Without memory they change nothing and set kv->failed. */
#define KV_LONG_AGO UINT64_C(1)
enum kv_deadline { KV_FORGET_DEADLINE, KV_KEEP_DEADLINE };
void kv_put(struct kv *kv, struct kv_place place, struct kelp_bytes value, enum kv_deadline what);
void kv_expire(struct kv *kv, struct kv_place place, uint64_t at, int64_t unix_ms);
void kv_extend(struct kv *kv, struct kv_place place, struct kelp_bytes suffix);
void kv_remove(struct kv *kv, struct kv_place place);

/* kv_lapse - let go of keys whose deadline has passed, earliest first: so many, and so many bytes
 * of keys and values; one: a single one goes however large it is. */
struct lapsing {
    size_t keys;
    uint64_t bytes;
    bool one;
};
void kv_lapse(struct kv *kv, const struct lapsing *most);

/* kv_replace_all - put a table (owned) in the place of the present one. */
void kv_replace_all(struct kv *kv, struct table *fresh);

/* kv_condemn - hand a table over to be freed in slices; NULL is fine. */
void kv_condemn(struct kv *kv, struct table *t);

/* strings.c */
void run_get(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_set(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_setnx(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_mget(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_mset(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_msetnx(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_append(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_strlen(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_incr(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_decr(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_incrby(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_decrby(struct kv *kv, struct kv_args *args, struct buf *reply);

/* expiry.c */
void run_expire(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_pexpire(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_expireat(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_pexpireat(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_ttl(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_pttl(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_expiretime(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_pexpiretime(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_persist(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_getex(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_setex(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_psetex(struct kv *kv, struct kv_args *args, struct buf *reply);

/* When a key is to go: in units of the command's word. */
struct expiry {
    bool seconds, absolute;
    int64_t unix_ms; /* filled by expiry_read .. */
    uint64_t at;     /* .. and the same by the cluster clock */
};

/* expiry_read - the deadline that a word names, for SET and its kin, which take positive ones only;
 * name: the command's. false: replied with an error. */
bool expiry_read(const struct kv *kv, struct kelp_bytes word, const char *name, struct expiry *e,
                 struct buf *reply);

/* keys.c */
void run_del(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_exists(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_type(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_keys(struct kv *kv, struct kv_args *args, struct buf *reply);
struct keys_most {
    uint64_t keys, steps; /* to look at, and of matching */
};

/* keys_begin, keys_piece - KEYS in pieces, in kv->walk; keys_piece is false once the reply is
 * whole, from kv->reply_skip on. */
void keys_begin(struct kv *kv);
bool keys_piece(struct kv *kv, struct kv_args *args, const struct keys_most *most);
void run_scan(struct kv *kv, struct kv_args *args, struct buf *reply);
bool scan_lapses(const struct kv *kv, struct kv_args *args, uint64_t time_ns); /* see fsm.h */
void run_dbsize(struct kv *kv, struct kv_args *args, struct buf *reply);
void run_flushall(struct kv *kv, struct kv_args *args, struct buf *reply);

#endif
