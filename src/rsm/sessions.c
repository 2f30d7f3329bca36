/* SPDX-License-Identifier: Apache-2.0 */
/* sessions.c - exactly once: who asked for what, and what it was answered.           [§6.3]
 *
 *   sessions  [used longest ago] ... [used last]           at most 10,000, an hour of cluster time
 *                |                      |
 *                answers                answers            by sequence, at most 256 of each
 *   answers   [oldest] .................... [newest]       of all sessions, in order of execution
 *   keys      [oldest] .................... [newest]       answers under a key of the client's own
 *
 * A session's sequences that are not known here are new, unless they are at or below what its
 * client acknowledged, or below an answer that was let go for want of room (`forgotten`): those
 * were executed or given up. A session that is not known is never executed, since nobody can say
 * whether an earlier attempt was. A key needs no registration, so one that is forgotten is new.
 *
 * Everything is decided by the entries and their stamps alone: who is oldest, who goes. Each
 * entry costs O(1): what is too old goes a few at a time, and counts as gone before it is.
 *
 * A snapshot shows the state at its beginning. Lists are in the order of entries, so a cursor goes
 * along them; what changes or goes while it still lies ahead leaves a ghost in its place, which
 * the cursor takes with it. Ghosts that no cursor took, since their snapshot was given up, go a few
 * with each entry once they are the first, or with the next cursor.
 * Invariants: both kinds of list ascend by index; `oldest` is the first of its list that is no
 * ghost; hash is the sum over all that are none. */
#include "rsm/sessions.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/min.h"
#include "wire/wire.h"

#define SESSION_BUCKETS 16384u
#define ANSWER_BUCKETS  131072u
#define EXPIRED_A_TIME  4u /* an entry adds one at most, so this keeps up */
#define FREED_A_TIME    512u
#define RECORDS_A_TIME  256u /* of one object: about a tenth of a millisecond */
#define NOT_KEPT        UINT32_MAX
#define HASH_SEED       0x6f6e6365u /* equal numbers mixed with each other are 0 */

enum object_tag { OBJECT_SESSIONS = 1, OBJECT_ANSWERS = 2 };

struct answer {
    TAILQ_ENTRY(answer) link, session_link;
    struct answer *bucket_next;
    struct session *session; /* NULL: a key's */
    uint64_t owner;          /* the session's id, 0: a key */
    uint64_t number, more;   /* the sequence and 0, or both halves of the key */
    kelp_index index;        /* of the entry that executed it */
    uint64_t time_ns, command, hash;
    uint64_t ghost; /* of which snapshot, 0: it is none */
    uint32_t len;   /* of the result, which stands right behind; NOT_KEPT: it was too long */
};

TAILQ_HEAD(answer_list, answer);

struct session {
    TAILQ_ENTRY(session) link;
    struct session *bucket_next;
    struct answer_list answers; /* in order of execution */
    uint64_t count;
    uint64_t id, acknowledged, forgotten;
    kelp_index touched; /* the last entry that named it */
    uint64_t used_ns, hash;
    uint64_t ghost, spared; /* spared: in this snapshot its ghost stands for it */
};

TAILQ_HEAD(session_list, session);

struct queue {
    struct answer_list all;
    struct answer *oldest, *cursor;
    uint64_t count, bytes;
};

enum queue_of { OF_SESSIONS = 0, OF_KEYS = 1, QUEUES = 2 };

struct sessions {
    struct session_list all;
    struct session *oldest, *cursor;
    uint64_t count, hash, ghosts;
    struct queue queues[QUEUES];
    struct session **session_buckets; /* made with the first session */
    struct answer **answer_buckets;
    struct answer pending; /* what the command in execution will be kept as */
    bool open;             /* a snapshot is being read */
    uint64_t serial;       /* its number .. */
    kelp_index as_of;      /* .. and what it shows */
    enum kelp_error snapshot_error;
};

static uint8_t *result_of(struct answer *a)
{
    return (uint8_t *)(a + 1);
}

static struct kelp_bytes result_bytes(const struct answer *a)
{
    return bytes_of(a + 1, a->len == NOT_KEPT ? 0 : a->len);
}

struct sessions *sessions_new(void)
{
    struct sessions *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    TAILQ_INIT(&s->all);
    for (unsigned q = 0; q < QUEUES; q++)
        TAILQ_INIT(&s->queues[q].all);
    return s;
}

/* Ghosts stand in the same lists. */
bool sessions_free_part(struct sessions *s)
{
    for (unsigned i = 0; i < FREED_A_TIME; i++) {
        struct session *x = TAILQ_FIRST(&s->all);
        struct queue *of = &s->queues[OF_SESSIONS], *keys = &s->queues[OF_KEYS];
        struct queue *q = TAILQ_EMPTY(&of->all) ? keys : of;
        struct answer *a = TAILQ_FIRST(&q->all);
        if (a != NULL) {
            TAILQ_REMOVE(&q->all, a, link);
            free(a);
        } else if (x != NULL) {
            TAILQ_REMOVE(&s->all, x, link);
            free(x);
        } else {
            free(s->session_buckets);
            free(s->answer_buckets);
            free(s);
            return true;
        }
    }
    return false;
}

void sessions_free(struct sessions *s)
{
    while (s != NULL && !sessions_free_part(s))
        continue;
}

/* Made at the first use: most machines never see a session. */
static bool buckets_make(struct sessions *s)
{
    if (s->session_buckets == NULL)
        s->session_buckets = calloc(SESSION_BUCKETS, sizeof(struct session *));
    if (s->answer_buckets == NULL)
        s->answer_buckets = calloc(ANSWER_BUCKETS, sizeof(struct answer *));
    return s->session_buckets != NULL && s->answer_buckets != NULL;
}

/* ---- finding ---- */

static struct session **session_bucket(const struct sessions *s, uint64_t id)
{
    return &s->session_buckets[hash_mix(0, id) % SESSION_BUCKETS];
}

static struct answer **answer_bucket(const struct sessions *s, uint64_t owner, uint64_t number,
                                     uint64_t more)
{
    uint64_t hash = hash_mix(hash_mix(hash_mix(0, owner), number), more);
    return &s->answer_buckets[hash % ANSWER_BUCKETS];
}

static struct session *session_find(const struct sessions *s, uint64_t id)
{
    struct session *x = s->session_buckets != NULL ? *session_bucket(s, id) : NULL;
    while (x != NULL && x->id != id)
        x = x->bucket_next;
    return x;
}

static struct answer *answer_find(const struct sessions *s, uint64_t owner, uint64_t number,
                                  uint64_t more)
{
    if (s->answer_buckets == NULL) return NULL;
    struct answer *a = *answer_bucket(s, owner, number, more);
    while (a != NULL && (a->owner != owner || a->number != number || a->more != more))
        a = a->bucket_next;
    return a;
}

/* ---- hashes ---- */

static uint64_t session_hash(const struct session *x)
{
    uint64_t hash = hash_mix(hash_mix(hash_mix(HASH_SEED, x->id), x->touched), x->used_ns);
    return hash_mix(hash_mix(hash, x->acknowledged), x->forgotten);
}

static uint64_t answer_hash(const struct answer *a)
{
    uint64_t hash = hash_mix(hash_mix(hash_mix(HASH_SEED, a->index), a->owner), a->number);
    hash = hash_mix(hash_mix(hash_mix(hash, a->more), a->time_ns), a->command);
    return hash_mix(hash_bytes(result_bytes(a), hash), a->len);
}

static void session_rehash(struct sessions *s, struct session *x)
{
    s->hash -= x->hash;
    x->hash = session_hash(x);
    s->hash += x->hash;
}

/* ---- ghosts ---- */

/* Does the snapshot that is being read still have to show it? */
static bool session_wanted(const struct sessions *s, const struct session *x)
{
    return s->open && s->cursor != NULL && s->cursor->touched <= x->touched &&
           x->touched <= s->as_of && x->spared != s->serial;
}

static bool answer_wanted(const struct sessions *s, const struct queue *q, const struct answer *a)
{
    return s->open && q->cursor != NULL && q->cursor->index <= a->index && a->index <= s->as_of;
}

/* Before it changes or goes: what it is now stays for the snapshot. Without memory the snapshot
 * fails, nothing else. */
static void session_spare(struct sessions *s, struct session *x)
{
    if (!session_wanted(s, x)) return;
    struct session *ghost = malloc(sizeof *ghost);
    if (ghost == NULL) {
        s->snapshot_error = KELP_E_NO_MEMORY;
        return;
    }
    *ghost = *x;
    ghost->ghost = x->spared = s->serial;
    s->ghosts++;
    TAILQ_INSERT_BEFORE(x, ghost, link);
    if (s->cursor == x) s->cursor = ghost;
}

static void session_unlist(struct sessions *s, struct session *x)
{
    if (s->cursor == x) s->cursor = TAILQ_NEXT(x, link);
    if (s->oldest == x) {
        s->oldest = TAILQ_NEXT(x, link);
        while (s->oldest != NULL && s->oldest->ghost != 0)
            s->oldest = TAILQ_NEXT(s->oldest, link);
    }
    TAILQ_REMOVE(&s->all, x, link);
}

static void session_list(struct sessions *s, struct session *x)
{
    TAILQ_INSERT_TAIL(&s->all, x, link);
    if (s->oldest == NULL) s->oldest = x;
}

static uint64_t answer_bytes(const struct answer *a)
{
    return SESSIONS_ANSWER_COST + result_bytes(a).len;
}

static void answer_leaves(struct sessions *s, struct answer *a)
{
    struct queue *q = &s->queues[a->session != NULL ? OF_SESSIONS : OF_KEYS];
    struct answer **at = answer_bucket(s, a->owner, a->number, a->more);
    while (*at != a)
        at = &(*at)->bucket_next;
    *at = a->bucket_next;
    if (a->session != NULL) {
        TAILQ_REMOVE(&a->session->answers, a, session_link);
        a->session->count--;
        a->session = NULL;
    }
    ASSERT(q->count > 0 && q->bytes >= answer_bytes(a));
    q->count--;
    q->bytes -= answer_bytes(a);
    s->hash -= a->hash;
    if (q->oldest == a) {
        q->oldest = TAILQ_NEXT(a, link);
        while (q->oldest != NULL && q->oldest->ghost != 0)
            q->oldest = TAILQ_NEXT(q->oldest, link);
    }
    if (answer_wanted(s, q, a)) {
        a->ghost = s->serial;
        s->ghosts++;
        return;
    }
    if (q->cursor == a) /* then it is younger than the snapshot */
        q->cursor = TAILQ_NEXT(a, link);
    TAILQ_REMOVE(&q->all, a, link);
    free(a);
}

static void answer_joins(struct sessions *s, struct answer *a)
{
    struct queue *q = &s->queues[a->session != NULL ? OF_SESSIONS : OF_KEYS];
    struct answer **at = answer_bucket(s, a->owner, a->number, a->more);
    a->bucket_next = *at;
    *at = a;
    if (a->session != NULL) {
        TAILQ_INSERT_TAIL(&a->session->answers, a, session_link);
        a->session->count++;
    }
    TAILQ_INSERT_TAIL(&q->all, a, link);
    if (q->oldest == NULL) q->oldest = a;
    q->count++;
    q->bytes += answer_bytes(a);
    a->hash = answer_hash(a);
    s->hash += a->hash;
}

/* ---- who goes ---- */

static void session_ghost_leaves(struct sessions *s, struct session *x)
{
    if (s->cursor == x) s->cursor = TAILQ_NEXT(x, link);
    TAILQ_REMOVE(&s->all, x, link);
    s->ghosts--;
    free(x);
}

static void answer_ghost_leaves(struct sessions *s, struct queue *q, struct answer *a)
{
    if (q->cursor == a) q->cursor = TAILQ_NEXT(a, link);
    TAILQ_REMOVE(&q->all, a, link);
    s->ghosts--;
    free(a);
}

/* A ghost that no snapshot shows any more. */
static bool is_left_over(const struct sessions *s, uint64_t ghost)
{
    return ghost != 0 && (!s->open || ghost != s->serial);
}

/* Snapshots may be given up one after the other, on a full disk say. What they left behind comes
 * to the front when all that was older has gone; an entry makes one at most, so this keeps up. */
static void ghosts_leave(struct sessions *s)
{
    for (unsigned i = 0; i < EXPIRED_A_TIME; i++) {
        struct session *x = TAILQ_FIRST(&s->all);
        if (x != NULL && is_left_over(s, x->ghost)) session_ghost_leaves(s, x);
        for (unsigned q = 0; q < QUEUES; q++) {
            struct answer *a = TAILQ_FIRST(&s->queues[q].all);
            if (a != NULL && is_left_over(s, a->ghost)) answer_ghost_leaves(s, &s->queues[q], a);
        }
    }
}

static void session_leaves(struct sessions *s, struct session *x)
{
    struct answer *a;
    while ((a = TAILQ_FIRST(&x->answers)) != NULL)
        answer_leaves(s, a);
    struct session **at = session_bucket(s, x->id);
    while (*at != x)
        at = &(*at)->bucket_next;
    *at = x->bucket_next;
    session_spare(s, x);
    session_unlist(s, x);
    s->hash -= x->hash;
    s->count--;
    free(x);
}

/* For want of room: nobody can tell any more whether what stands below it was executed. */
static void answer_forget(struct sessions *s, struct answer *a)
{
    struct session *x = a->session;
    if (x != NULL && a->number > x->forgotten) {
        session_spare(s, x);
        x->forgotten = a->number;
        session_rehash(s, x);
    }
    answer_leaves(s, a);
}

static bool is_old(uint64_t since_ns, uint64_t time_ns)
{
    return time_ns >= since_ns && time_ns - since_ns >= SESSIONS_AGE_NS;
}

static void old_leave(struct sessions *s, uint64_t time_ns)
{
    struct queue *keys = &s->queues[OF_KEYS];
    ghosts_leave(s);
    for (unsigned i = 0; i < EXPIRED_A_TIME; i++) {
        if (s->oldest != NULL && is_old(s->oldest->used_ns, time_ns)) session_leaves(s, s->oldest);
        if (keys->oldest != NULL && is_old(keys->oldest->time_ns, time_ns))
            answer_leaves(s, keys->oldest);
    }
}

/* ---- entries ---- */

static struct session *session_make(struct sessions *s, uint64_t id)
{
    struct session *x = calloc(1, sizeof *x);
    if (x == NULL) return NULL;
    TAILQ_INIT(&x->answers);
    x->id = id;
    struct session **at = session_bucket(s, id);
    x->bucket_next = *at;
    *at = x;
    s->count++;
    return x;
}

enum sessions_verdict sessions_begin(struct sessions *s, kelp_index index, uint64_t time_ns)
{
    if (!buckets_make(s)) return SESSIONS_NO_MEMORY;
    old_leave(s, time_ns);
    struct session *x = session_make(s, index);
    if (x == NULL) return SESSIONS_NO_MEMORY;
    x->touched = index;
    x->used_ns = time_ns;
    session_list(s, x);
    session_rehash(s, x);
    if (s->count > SESSIONS_MAX) session_leaves(s, s->oldest);
    ASSERT(s->count <= SESSIONS_MAX);
    return SESSIONS_EXECUTE;
}

void sessions_end(struct sessions *s, uint64_t session)
{
    struct session *x = session_find(s, session);
    if (x != NULL) session_leaves(s, x);
}

/* Its client is alive, and has its answers so far. */
static void session_touch(struct sessions *s, struct session *x, const struct wire_entry *e,
                          uint64_t time_ns)
{
    session_spare(s, x);
    session_unlist(s, x);
    x->touched = e->pos.index;
    x->used_ns = time_ns;
    x->acknowledged = max_u64(x->acknowledged, e->acknowledged);
    session_list(s, x);
    session_rehash(s, x);
    struct answer *a;
    while ((a = TAILQ_FIRST(&x->answers)) != NULL && a->number <= x->acknowledged)
        answer_leaves(s, a);
}

static enum sessions_verdict answered(const struct answer *a, struct kelp_bytes *result)
{
    if (a->len == NOT_KEPT) return SESSIONS_OVER;
    *result = result_bytes(a);
    return SESSIONS_REPEATED;
}

/* In the key's space; a session's acknowledgements have no place there. */
static enum sessions_verdict key_ask(struct sessions *s, uint64_t time_ns,
                                     struct kelp_bytes *result)
{
    struct answer *p = &s->pending;
    struct answer *a = answer_find(s, 0, p->number, p->more);
    if (a != NULL && is_old(a->time_ns, time_ns)) {
        answer_leaves(s, a);
        a = NULL;
    }
    if (a == NULL) return SESSIONS_EXECUTE;
    return a->command == p->command ? answered(a, result) : SESSIONS_MISUSED;
}

static enum sessions_verdict session_ask(struct sessions *s, const struct wire_entry *e,
                                         uint64_t time_ns, struct kelp_bytes *result)
{
    struct session *x = session_find(s, e->session);
    if (x != NULL && is_old(x->used_ns, time_ns)) {
        session_leaves(s, x);
        x = NULL;
    }
    if (x == NULL) return SESSIONS_UNKNOWN;
    session_touch(s, x, e, time_ns);
    s->pending.session = x;
    if (e->sequence <= x->acknowledged) return SESSIONS_OVER;
    struct answer *a = answer_find(s, e->session, e->sequence, 0);
    if (a == NULL) return e->sequence <= x->forgotten ? SESSIONS_OVER : SESSIONS_EXECUTE;
    return a->command == s->pending.command ? answered(a, result) : SESSIONS_MISUSED;
}

enum sessions_verdict sessions_ask(struct sessions *s, const struct wire_entry *e, uint64_t time_ns,
                                   struct kelp_bytes *result)
{
    ASSERT((e->flags & WIRE_ENTRY_IN_SESSION) != 0);
    *result = bytes_of(NULL, 0);
    if (!buckets_make(s)) return SESSIONS_NO_MEMORY;
    old_leave(s, time_ns);
    s->pending = (struct answer){
        .owner = e->session,
        .number = e->sequence,
        .more = e->session == 0 ? e->acknowledged : 0,
        .index = e->pos.index,
        .time_ns = time_ns,
        .command = hash_bytes(e->payload, 0), /* what stands beside it may be its leader's */
    };
    if (e->session == 0) return key_ask(s, time_ns, result);
    return session_ask(s, e, time_ns, result);
}

bool sessions_keep(struct sessions *s, struct kelp_bytes result)
{
    ASSERT(s->pending.index != 0);
    bool kept = result.len <= SESSIONS_RESULT_MAX;
    struct answer *a = malloc(sizeof *a + (kept ? result.len : 0));
    if (a == NULL) return false;
    *a = s->pending;
    s->pending.index = 0;
    a->len = kept ? (uint32_t)result.len : NOT_KEPT;
    if (kept && result.len > 0) memcpy(result_of(a), result.data, result.len);
    answer_joins(s, a);
    struct session *x = a->session;
    struct queue *q = &s->queues[x != NULL ? OF_SESSIONS : OF_KEYS];
    if (x != NULL && x->count > SESSIONS_ANSWERS_A_SESSION)
        answer_forget(s, TAILQ_FIRST(&x->answers));
    while (q->count > SESSIONS_ANSWERS_MAX || q->bytes > SESSIONS_BYTES_MAX)
        answer_forget(s, q->oldest);
    return true;
}

uint64_t sessions_hash(const struct sessions *s)
{
    return s->hash;
}

struct sessions_count sessions_count(const struct sessions *s)
{
    const struct queue *of = &s->queues[OF_SESSIONS], *keys = &s->queues[OF_KEYS];
    return (struct sessions_count){.sessions = s->count,
                                   .answers = of->count,
                                   .keys = keys->count,
                                   .bytes = of->bytes + keys->bytes};
}

uint64_t sessions_ghosts(const struct sessions *s)
{
    return s->ghosts;
}

/* ---- snapshots ----
 *
 *   tag (1 byte), then records to the end of the object:
 *   1  session  id, entry that named it last, cluster time then, acknowledged, forgotten; 8 each
 *   2  answer   entry, session or 0, sequence and 0 or both halves of the key, cluster time,
 *               hash of the command; 8 each; length of the result (4; all ones: it is not kept),
 *               the result */

#define SESSION_RECORD 40u
#define ANSWER_RECORD  52u

void sessions_snapshot_begin(struct sessions *s, kelp_index applied)
{
    ASSERT(!s->open);
    s->open = true;
    s->serial++;
    s->as_of = applied;
    s->snapshot_error = KELP_OK;
    s->cursor = TAILQ_FIRST(&s->all);
    for (unsigned q = 0; q < QUEUES; q++)
        s->queues[q].cursor = TAILQ_FIRST(&s->queues[q].all);
}

static size_t room_left(const struct writer *w)
{
    return (size_t)(w->end - w->at);
}

/* false: the object has no room for one more. */
static bool session_write(struct writer *w, const struct session *x)
{
    if (room_left(w) < SESSION_RECORD) return false;
    write_u64(w, x->id);
    write_u64(w, x->touched);
    write_u64(w, x->used_ns);
    write_u64(w, x->acknowledged);
    write_u64(w, x->forgotten);
    return true;
}

static bool answer_write(struct writer *w, const struct answer *a)
{
    if (room_left(w) < ANSWER_RECORD + result_bytes(a).len) return false;
    write_u64(w, a->index);
    write_u64(w, a->owner);
    write_u64(w, a->number);
    write_u64(w, a->more);
    write_u64(w, a->time_ns);
    write_u64(w, a->command);
    write_u32(w, a->len);
    write_bytes(w, result_bytes(a));
    return true;
}

/* Returns how many records it wrote; s->cursor is NULL when all are. */
static unsigned sessions_write(struct sessions *s, struct writer *w)
{
    unsigned written = 0;
    for (unsigned i = 0; s->cursor != NULL && i < RECORDS_A_TIME; i++) {
        struct session *x = s->cursor;
        if (x->touched > s->as_of) {
            s->cursor = NULL;
            break;
        }
        bool shown = x->ghost != 0 ? x->ghost == s->serial : x->spared != s->serial;
        if (shown && !session_write(w, x)) break;
        written += shown;
        if (x->ghost != 0)
            session_ghost_leaves(s, x);
        else
            s->cursor = TAILQ_NEXT(x, link);
    }
    return written;
}

static unsigned answers_write(struct sessions *s, struct queue *q, struct writer *w)
{
    unsigned written = 0;
    for (unsigned i = 0; q->cursor != NULL && i < RECORDS_A_TIME; i++) {
        struct answer *a = q->cursor;
        if (a->index > s->as_of) {
            q->cursor = NULL;
            break;
        }
        bool shown = a->ghost == 0 || a->ghost == s->serial;
        if (shown && !answer_write(w, a)) break;
        written += shown;
        if (a->ghost != 0)
            answer_ghost_leaves(s, q, a);
        else
            q->cursor = TAILQ_NEXT(a, link);
    }
    return written;
}

bool sessions_snapshot_read_all(const struct sessions *s)
{
    return s->cursor == NULL && s->queues[OF_SESSIONS].cursor == NULL &&
           s->queues[OF_KEYS].cursor == NULL;
}

enum kelp_error sessions_snapshot_read(struct sessions *s, uint8_t *out, size_t *len, bool *last)
{
    ASSERT(s->open && *len >= SESSIONS_OBJECT_MIN);
    struct writer w = writer_of(out, *len);
    struct queue *answers = &s->queues[OF_SESSIONS], *keys = &s->queues[OF_KEYS];
    unsigned written = 0;
    if (s->cursor != NULL) {
        write_u8(&w, OBJECT_SESSIONS);
        written = sessions_write(s, &w);
    } else if (answers->cursor != NULL || keys->cursor != NULL) {
        write_u8(&w, OBJECT_ANSWERS);
        written = answers_write(s, answers->cursor != NULL ? answers : keys, &w);
    }
    ASSERT(!w.failed);
    *len = written > 0 ? writer_len(&w) : 0;
    *last = sessions_snapshot_read_all(s);
    return s->snapshot_error;
}

void sessions_snapshot_end(struct sessions *s)
{
    s->open = false;
    s->cursor = NULL;
    for (unsigned q = 0; q < QUEUES; q++)
        s->queues[q].cursor = NULL;
}

static enum kelp_error session_restore(struct sessions *s, struct reader *r)
{
    uint64_t id = read_u64(r);
    const struct session *last = TAILQ_LAST(&s->all, session_list);
    kelp_index touched = read_u64(r);
    bool fits = !r->failed && id != 0 && touched >= id && s->count < SESSIONS_MAX &&
                (last == NULL || last->touched < touched) && session_find(s, id) == NULL;
    if (!fits) return KELP_E_MALFORMED;
    struct session *x = session_make(s, id);
    if (x == NULL) return KELP_E_NO_MEMORY;
    x->touched = touched;
    x->used_ns = read_u64(r);
    x->acknowledged = read_u64(r);
    x->forgotten = read_u64(r);
    session_list(s, x);
    session_rehash(s, x);
    return r->failed ? KELP_E_MALFORMED : KELP_OK;
}

static enum kelp_error answer_restore(struct sessions *s, struct reader *r)
{
    struct answer head = {.index = read_u64(r)};
    head.owner = read_u64(r);
    head.number = read_u64(r);
    head.more = read_u64(r);
    head.time_ns = read_u64(r);
    head.command = read_u64(r);
    head.len = read_u32(r);
    size_t kept = head.len == NOT_KEPT ? 0 : head.len;
    if (r->failed || kept > SESSIONS_RESULT_MAX) return KELP_E_MALFORMED;
    struct kelp_bytes result = read_bytes(r, kept);
    if (head.owner != 0) head.session = session_find(s, head.owner);
    struct queue *q = &s->queues[head.owner != 0 ? OF_SESSIONS : OF_KEYS];
    const struct answer *last = TAILQ_LAST(&q->all, answer_list);
    bool fits = !r->failed && (head.owner == 0 || (head.session != NULL && head.more == 0)) &&
                (last == NULL || last->index < head.index) && q->count < SESSIONS_ANSWERS_MAX &&
                answer_find(s, head.owner, head.number, head.more) == NULL;
    if (!fits) return KELP_E_MALFORMED;
    struct answer *a = malloc(sizeof *a + kept);
    if (a == NULL) return KELP_E_NO_MEMORY;
    *a = head;
    if (kept > 0) memcpy(result_of(a), result.data, kept);
    answer_joins(s, a);
    return KELP_OK;
}

enum kelp_error sessions_restore(struct sessions *s, struct kelp_bytes object)
{
    struct reader r = reader_of(object);
    uint8_t tag = read_u8(&r);
    enum kelp_error error = KELP_OK;
    if (!buckets_make(s)) return KELP_E_NO_MEMORY;
    if (r.failed || (tag != OBJECT_SESSIONS && tag != OBJECT_ANSWERS)) return KELP_E_MALFORMED;
    while (error == KELP_OK && reader_left(&r) > 0)
        error = tag == OBJECT_SESSIONS ? session_restore(s, &r) : answer_restore(s, &r);
    return error;
}
