/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - snapshots and restores; see snapshot.h. */
#include "kv/snapshot.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"

#define OWN_VERSION  2u
#define OWN_TIMELESS 1u /* the version without deadlines */
#define OWN_BYTES    32u
#define OBJECT_PAIRS 1u
#define OBJECT_PIECE 2u
#define PAIR_HEAD    8u
#define DUE_BYTES    16u
#define DUE_MARK     ((uint32_t)1 << 31) /* in a key's length: a deadline follows */
#define PIECE_HEAD   13u
#define TIMED_MAX    200u  /* pairs with deadlines in one object, so that it is restored in 1 ms */
#define PASSED_MAX   4096u /* younger entries passed over in one read, so that a read stays short */

/* ---- reading ----------------------------------------------------------------------------- */

void snapshot_keep(struct snapshot *s, struct table_entry *e)
{
    ASSERT(e->epoch < s->epoch && e->hash >= s->hash);
    table_insert(s->saved, e);
}

enum kelp_error snapshot_begin(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                               void **snapshot)
{
    (void)group;
    struct kv *kv = fsm;
    if (kv->failed != KELP_OK) return kv->failed;
    if (kv->snapshot != NULL) return KELP_E_BUSY;
    struct snapshot *s = calloc(1, sizeof(*s));
    struct table *saved = table_new();
    if (s == NULL || saved == NULL) {
        free(s);
        table_close(saved);
        return KELP_E_NO_MEMORY;
    }
    *s = (struct snapshot){.base = kv->table, .saved = saved, .epoch = ++kv->epoch};
    struct writer w = writer_of(own, OWN_BYTES);
    write_u32(&w, OWN_VERSION);
    write_u32(&w, kv->seeded);
    write_u64(&w, kv->seed);
    write_u64(&w, kv->table->count);
    write_u64(&w, kv->table->sum);
    ASSERT(!w.failed && w.at == w.end);
    *own_len = OWN_BYTES;
    *snapshot = kv->snapshot = s;
    return KELP_OK;
}

void snapshot_end(void *fsm, void *snapshot)
{
    struct kv *kv = fsm;
    struct snapshot *s = snapshot;
    if (s == NULL) return;
    ASSERT(kv->snapshot == s);
    kv_condemn(kv, s->saved);
    if (s->owns_base) kv_condemn(kv, s->base);
    kv->snapshot = NULL;
    free(s);
}

/* The first entry of base from hash on, after `after`, that belongs to the snapshot. Stops at a
 * younger one when *passes is used up, but not at the hash of the position itself, so that every
 * read gets on. */
static const struct table_entry *base_next(const struct snapshot *s, uint64_t hash,
                                           const struct table_entry *after, size_t *passes)
{
    const struct table_entry *e = table_next(s->base, hash, after);
    while (e != NULL && e->epoch >= s->epoch && (*passes > 0 || e->hash == s->hash)) {
        if (*passes > 0) (*passes)--;
        e = table_next(s->base, e->hash, e);
    }
    return e;
}

static const struct table_entry *earlier(const struct table_entry *a, const struct table_entry *b)
{
    if (a == NULL || b == NULL) return a == NULL ? b : a;
    return entry_before(b, a) ? b : a;
}

/* The entry at the position, or NULL at the end. May be a younger one when *passes is used up. The
 * view does not change while the snapshot is open, so "number skip of those with this hash" names
 * the same entry every time. */
static const struct table_entry *view_at(const struct snapshot *s, size_t *passes)
{
    const struct table_entry *base = base_next(s, s->hash, NULL, passes);
    const struct table_entry *saved = table_next(s->saved, s->hash, NULL);
    for (size_t n = s->skip;; n--) {
        const struct table_entry *e = earlier(base, saved);
        if (n == 0 || e == NULL || e->hash != s->hash) return e;
        if (e == base)
            base = base_next(s, e->hash, e, passes);
        else
            saved = table_next(s->saved, e->hash, e);
    }
}

static void view_pass(struct snapshot *s, const struct table_entry *e)
{
    s->skip = e->hash == s->hash ? s->skip + 1 : 1;
    s->hash = e->hash;
    s->offset = 0;
}

static size_t due_bytes(const struct table_entry *e)
{
    return e->due != NULL ? DUE_BYTES : 0;
}

static void lengths_write(struct writer *w, const struct table_entry *e)
{
    write_u32(w, e->key_len | (e->due != NULL ? DUE_MARK : 0));
    write_u32(w, e->value_len);
    if (e->due == NULL) return;
    write_u64(w, e->due->at);
    write_u64(w, (uint64_t)e->due->unix_ms);
}

static size_t pair_bytes(const struct table_entry *e)
{
    return (size_t)e->key_len + e->value_len;
}

/* Key and value lie behind one another, so a piece is one run of bytes. */
static void piece_write(struct snapshot *s, const struct table_entry *e, struct writer *w)
{
    write_u8(w, OBJECT_PIECE);
    lengths_write(w, e);
    write_u32(w, s->offset);
    size_t len = min_u64(pair_bytes(e) - s->offset, (size_t)(w->end - w->at));
    write_bytes(w, bytes_of(e->bytes + s->offset, len));
    s->offset += (uint32_t)len;
    if (s->offset == pair_bytes(e)) view_pass(s, e);
}

/* Pairs until the object is full, the snapshot at its end or the passes are used up. */
static void pairs_write(struct snapshot *s, const struct table_entry *e, struct writer *w,
                        size_t *passes)
{
    write_u8(w, OBJECT_PAIRS);
    for (size_t timed = 0; e != NULL;) {
        if (e->epoch >= s->epoch) { /* the passes are used up; everything before e was read */
            ASSERT(e->hash > s->hash);
            s->hash = e->hash;
            s->skip = 0;
            return;
        }
        if ((size_t)(w->end - w->at) < PAIR_HEAD + due_bytes(e) + pair_bytes(e)) return;
        if (e->due != NULL && timed++ == TIMED_MAX) return;
        lengths_write(w, e);
        write_bytes(w, bytes_of(e->bytes, pair_bytes(e)));
        view_pass(s, e);
        e = view_at(s, passes);
    }
    s->done = true;
}

enum kelp_error snapshot_read(void *fsm, void *snapshot, uint8_t *out, size_t *len, bool *last)
{
    (void)fsm;
    struct snapshot *s = snapshot;
    if (*len < SNAPSHOT_ROOM_MIN) return KELP_E_ARGUMENT;
    struct writer w = writer_of(out, min_u64(*len, KV_OBJECT_BYTES_MAX));
    size_t passes = PASSED_MAX;
    const struct table_entry *e = view_at(s, &passes);
    bool ours = e != NULL && e->epoch < s->epoch;
    size_t room = (size_t)(w.end - w.at);
    if (ours && (s->offset > 0 || 1 + PAIR_HEAD + due_bytes(e) + pair_bytes(e) > room)) {
        piece_write(s, e, &w);
    } else {
        pairs_write(s, e, &w, &passes);
    }
    ASSERT(!w.failed);
    *len = writer_len(&w);
    *last = s->done;
    return KELP_OK;
}

/* ---- restoring --------------------------------------------------------------------------- */

/* Deadlines of another time's clock: what was left of them then is left of them now. */
struct rebase {
    uint64_t then_ns, now_ns; /* then 0: not known, they stay */
    uint64_t wall_unix_ms;    /* now as a time of day; 0: not known, what is told stays */
};

struct restore {
    struct table *table;
    bool seeded, timeless;
    uint64_t time_ns, seed, count, sum;
    uint64_t taken;              /* the sum of digests, as the file has them */
    struct rebase rebase;        /* all 0 but through the log */
    struct table_entry *partial; /* a pair that comes in pieces */
    size_t filled;               /* bytes of it that are there */
};

static enum kelp_error begin(uint64_t time_ns, struct kelp_bytes own, const struct rebase *rebase,
                             void **restore)
{
    struct reader r = reader_of(own);
    uint32_t version = read_u32(&r);
    if (version != OWN_VERSION && version != OWN_TIMELESS)
        return r.failed ? KELP_E_MALFORMED : KELP_E_VERSION;
    uint32_t seeded = read_u32(&r);
    struct restore head = {.seeded = seeded != 0,
                           .timeless = version == OWN_TIMELESS,
                           .time_ns = time_ns,
                           .rebase = *rebase};
    head.seed = read_u64(&r);
    head.count = read_u64(&r);
    head.sum = read_u64(&r);
    if (r.failed || reader_left(&r) != 0 || seeded > 1) return KELP_E_MALFORMED;
    struct restore *made = malloc(sizeof(*made));
    head.table = table_new();
    if (made == NULL || head.table == NULL) {
        free(made);
        table_close(head.table);
        return KELP_E_NO_MEMORY;
    }
    *made = head;
    *restore = made;
    return KELP_OK;
}

enum kelp_error restore_begin(void *fsm, uint32_t group, struct kelp_pos pos, uint64_t time_ns,
                              struct kelp_bytes own, void **restore)
{
    static const struct rebase none = {.then_ns = 0};
    (void)fsm;
    (void)group;
    (void)pos;
    return begin(time_ns, own, &none, restore);
}

/* The clock is the cluster's and stays so: the file's is known for its deadlines only. */
enum kelp_error stage_begin(void *fsm, uint32_t group, const struct kelp_stage *from,
                            void **restore)
{
    const struct rebase rebase = {
        .then_ns = from->then_ns, .now_ns = from->now_ns, .wall_unix_ms = from->wall_unix_ms};
    (void)fsm;
    (void)group;
    return begin(0, from->own, &rebase, restore);
}

/* One that had passed then has passed now, by as much as the clock goes back; 0 is none. */
static void rebase_due(const struct rebase *b, struct due *due)
{
    if (b->then_ns == 0) return;
    bool ahead = due->at >= b->then_ns;
    uint64_t left = ahead ? due->at - b->then_ns : b->then_ns - due->at;
    due->at = ahead ? add_sat(b->now_ns, left) : max_u64(1, sub_sat(b->now_ns, left));
    if (b->wall_unix_ms == 0) return;
    int64_t ms = (int64_t)(left / 1000000);
    due->unix_ms = (int64_t)b->wall_unix_ms + (ahead ? ms : -ms);
}

static bool lengths_fit(uint32_t key_len, uint32_t value_len)
{
    return key_len <= KV_KEY_BYTES_MAX && value_len <= KV_VALUE_BYTES_MAX;
}

/* Take (own) an entry whose bytes are complete. */
static enum kelp_error pair_take(struct restore *r, struct table_entry *e)
{
    e->value_len = e->room;
    e->hash = hash_bytes(entry_key(e), r->seed);
    if (table_find(r->table, e->hash, entry_key(e)) != NULL) {
        entry_free(e);
        return KELP_E_MALFORMED;
    }
    e->digest = entry_digest(e);
    r->taken += e->digest;
    if (e->due != NULL) {
        rebase_due(&r->rebase, e->due);
        e->digest = entry_digest(e);
    }
    table_insert(r->table, e);
    return KELP_OK;
}

/* Key and value, and the deadline if there is one. */
struct lengths {
    uint32_t key_len, value_len;
    bool timed;
    uint64_t at;
    int64_t unix_ms;
};

static bool lengths_read(const struct restore *r, struct reader *in, struct lengths *l)
{
    *l = (struct lengths){.key_len = read_u32(in)};
    l->value_len = read_u32(in);
    if ((l->key_len & DUE_MARK) != 0) {
        if (r->timeless) return false;
        l->key_len &= ~DUE_MARK;
        l->timed = true;
        l->at = read_u64(in);
        l->unix_ms = (int64_t)read_u64(in);
        if (l->at == 0) return false;
    }
    return !in->failed && lengths_fit(l->key_len, l->value_len);
}

static struct table_entry *lengths_entry(const struct lengths *l)
{
    struct table_entry *e = entry_new(l->key_len, l->value_len);
    if (e == NULL || !l->timed || entry_due(e, l->at, l->unix_ms)) return e;
    entry_free(e);
    return NULL;
}

static enum kelp_error pairs_load(struct restore *r, struct reader *in)
{
    while (reader_left(in) > 0) {
        struct lengths l;
        if (!lengths_read(r, in, &l)) return KELP_E_MALFORMED;
        size_t len = (size_t)l.key_len + l.value_len;
        const uint8_t *bytes = reader_skip(in, len);
        if (in->failed) return KELP_E_MALFORMED;
        struct table_entry *e = lengths_entry(&l);
        if (e == NULL) return KELP_E_NO_MEMORY;
        memcpy(e->bytes, bytes, len);
        enum kelp_error error = pair_take(r, e);
        if (error != KELP_OK) return error;
    }
    return KELP_OK;
}

static enum kelp_error piece_load(struct restore *r, struct reader *in)
{
    struct lengths l;
    if (!lengths_read(r, in, &l)) return KELP_E_MALFORMED;
    uint32_t offset = read_u32(in);
    if (in->failed) return KELP_E_MALFORMED;
    if (r->partial == NULL) {
        if (offset != 0) return KELP_E_MALFORMED;
        r->partial = lengths_entry(&l);
        if (r->partial == NULL) return KELP_E_NO_MEMORY;
        r->filled = 0;
    }
    struct table_entry *e = r->partial;
    size_t total = (size_t)e->key_len + e->room, len = reader_left(in);
    if (e->key_len != l.key_len || e->room != l.value_len || offset != r->filled || len == 0 ||
        len > total - r->filled)
        return KELP_E_MALFORMED;
    memcpy(e->bytes + r->filled, in->at, len);
    r->filled += len;
    if (r->filled < total) return KELP_OK;
    r->partial = NULL;
    return pair_take(r, e);
}

enum kelp_error restore_object(void *fsm, void *restore, struct kelp_bytes object)
{
    (void)fsm;
    struct restore *r = restore;
    struct reader in = reader_of(object);
    uint8_t kind = read_u8(&in);
    if (in.failed) return KELP_E_MALFORMED;
    if (kind == OBJECT_PIECE) return piece_load(r, &in);
    if (kind != OBJECT_PAIRS) return KELP_E_VERSION;
    if (r->partial != NULL) return KELP_E_MALFORMED;
    return pairs_load(r, &in);
}

enum kelp_error restore_commit(void *fsm, void *restore)
{
    struct kv *kv = fsm;
    struct restore *r = restore;
    if (r->partial != NULL || r->table->count != r->count || r->taken != r->sum)
        return KELP_E_CORRUPT;
    kv_replace_all(kv, r->table);
    kv->seed = r->seed;
    kv->seeded = r->seeded;
    kv->now = max_u64(kv->now, r->time_ns);
    kv->told = max_u64(kv->told, kv->now);
    kv->failed = KELP_OK; /* the whole state is another one */
    free(r);
    return KELP_OK;
}

void restore_abort(void *fsm, void *restore)
{
    struct restore *r = restore;
    if (r == NULL) return;
    kv_condemn(fsm, r->table);
    entry_free(r->partial);
    free(r);
}
