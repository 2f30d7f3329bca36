/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - the hash table; see table.h.
 *
 * Invariants: between steps every bucket that table_array_of can name has its page; bits of the two
 * arrays differ by one; the sweep finishes before the table can be due to move again (GROW_STEP and
 * SHRINK_STEP see to that: a table of n buckets is due to grow after n more inserts, to shrink
 * after n / 16 removes). */
#include "kv/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/min.h"

#define BITS_MIN     4u
#define BITS_MAX     40u
#define PAGE_BITS    12u /* 32 KiB a page */
#define GROW_STEP    4u  /* buckets moved a command when growing: up to as many entries each */
#define SHRINK_STEP  16u /* when shrinking: nearly all of them are empty */
#define SPARSE       8u  /* shrink below one entry for so many buckets */
#define DIGEST_BLOCK 4096u

/* ---- entries ----------------------------------------------------------------------------- */

struct table_entry *entry_new(size_t key_len, size_t room)
{
    ASSERT(key_len <= UINT32_MAX / 4 && room <= UINT32_MAX / 4);
    struct table_entry *e = malloc(sizeof(*e) + key_len + room);
    if (e == NULL) return NULL;
    *e = (struct table_entry){.key_len = (uint32_t)key_len, .room = (uint32_t)room};
    return e;
}

void entry_free(struct table_entry *e)
{
    if (e == NULL) return;
    free(e->due);
    free(e);
}

bool entry_due(struct table_entry *e, uint64_t at, int64_t unix_ms)
{
    ASSERT(e->due == NULL);
    struct due *due = malloc(sizeof(*due));
    if (due == NULL) return false;
    *due = (struct due){.at = at, .unix_ms = unix_ms, .entry = e};
    e->due = due;
    return true;
}

static uint64_t due_digest(const struct table_entry *e)
{
    if (e->due == NULL) return 0;
    return hash_mix(hash_mix(e->hash, e->due->at), (uint64_t)e->due->unix_ms);
}

static uint64_t digest_blocks(const struct table_entry *e, size_t value_len, size_t from_block)
{
    struct kelp_bytes value = entry_value(e);
    uint64_t digest = 0;
    for (size_t at = from_block * DIGEST_BLOCK; at < value_len; at += DIGEST_BLOCK) {
        struct kelp_bytes block = bytes_of(value.data + at, min_u64(value_len - at, DIGEST_BLOCK));
        digest += hash_bytes(block, hash_mix(e->hash, at));
    }
    return digest;
}

uint64_t entry_digest(const struct table_entry *e)
{
    return hash_mix(e->hash, e->value_len) + due_digest(e) + digest_blocks(e, e->value_len, 0);
}

uint64_t entry_digest_extend(const struct table_entry *e, uint64_t digest, size_t value_len_before)
{
    ASSERT(value_len_before <= e->value_len);
    size_t block = value_len_before / DIGEST_BLOCK; /* the first one that is not as it was */
    digest -= hash_mix(e->hash, value_len_before) + digest_blocks(e, value_len_before, block);
    return digest + hash_mix(e->hash, e->value_len) + digest_blocks(e, e->value_len, block);
}

bool entry_before(const struct table_entry *a, const struct table_entry *b)
{
    if (a->hash != b->hash) return a->hash < b->hash;
    int order = memcmp(a->bytes, b->bytes, min_u64(a->key_len, b->key_len));
    return order != 0 ? order < 0 : a->key_len < b->key_len;
}

static uint64_t entry_bytes(const struct table_entry *e)
{
    return sizeof(*e) + e->key_len + e->room + (e->due != NULL ? sizeof(*e->due) : 0);
}

/* ---- arrays ------------------------------------------------------------------------------ */

static uint64_t page_slots(const struct table_array *a)
{
    return (uint64_t)1 << min_u64(a->bits, PAGE_BITS);
}

static uint64_t page_count(const struct table_array *a)
{
    return (uint64_t)1 << (a->bits > PAGE_BITS ? a->bits - PAGE_BITS : 0);
}

static uint64_t bucket_of(const struct table_array *a, uint64_t hash)
{
    return hash >> (64 - a->bits);
}

static struct table_entry **slot_at(const struct table_array *a, uint64_t bucket)
{
    struct table_entry **page = a->pages[bucket >> PAGE_BITS];
    ASSERT(page != NULL);
    return &page[bucket & (page_slots(a) - 1)];
}

static bool array_open(struct table_array *a, uint32_t bits)
{
    *a = (struct table_array){.bits = bits};
    a->pages = calloc(page_count(a), sizeof(a->pages[0]));
    return a->pages != NULL;
}

static bool page_ensure(struct table_array *a, uint64_t bucket)
{
    struct table_entry ***page = &a->pages[bucket >> PAGE_BITS];
    if (*page == NULL) *page = calloc(page_slots(a), sizeof(**page));
    return *page != NULL;
}

/* Give back the page that ends with this bucket, whose buckets are all empty. */
static void page_leave(struct table_array *a, uint64_t bucket)
{
    if ((bucket & (page_slots(a) - 1)) != page_slots(a) - 1) return;
    free(a->pages[bucket >> PAGE_BITS]);
    a->pages[bucket >> PAGE_BITS] = NULL;
}

static uint32_t swept_bits(const struct table *t)
{
    return t->at.bits < t->to.bits ? t->at.bits : t->to.bits;
}

static const struct table_array *array_of(const struct table *t, uint64_t hash)
{
    return t->moving && hash >> (64 - swept_bits(t)) < t->swept ? &t->to : &t->at;
}

/* ---- moving ------------------------------------------------------------------------------ */

static void move_begin(struct table *t)
{
    uint64_t buckets = (uint64_t)1 << t->at.bits;
    uint32_t bits = t->at.bits;
    if (t->count > buckets && bits < BITS_MAX) bits++;
    if (t->count < buckets / SPARSE && bits > BITS_MIN) bits--;
    if (bits == t->at.bits) return;
    if (!array_open(&t->to, bits)) return; /* no memory: tried again at the next command */
    t->moving = true;
    t->swept = 0;
}

static void bucket_move(struct table *t, uint64_t bucket)
{
    struct table_entry *e = *slot_at(&t->at, bucket);
    while (e != NULL) {
        struct table_entry *next = e->next;
        struct table_entry **to = slot_at(&t->to, bucket_of(&t->to, e->hash));
        e->next = *to;
        *to = e;
        e = next;
    }
    *slot_at(&t->at, bucket) = NULL;
    page_leave(&t->at, bucket);
}

/* Move one bucket of the smaller array: the two of the larger one that it stands for go with it. */
static bool sweep_one(struct table *t)
{
    bool grows = t->to.bits > t->at.bits;
    uint64_t small = t->swept;
    if (!page_ensure(&t->to, grows ? 2 * small : small)) return false;
    bucket_move(t, grows ? small : 2 * small);
    if (!grows) bucket_move(t, 2 * small + 1);
    t->swept++;
    if (t->swept >> swept_bits(t) == 0) return true;
    free(t->at.pages);
    t->at = t->to;
    t->to = (struct table_array){0};
    t->moving = false;
    return false;
}

static void table_step(struct table *t)
{
    if (!t->moving) move_begin(t);
    if (!t->moving) return;
    uint32_t steps = t->to.bits > t->at.bits ? GROW_STEP : SHRINK_STEP;
    while (steps-- > 0 && sweep_one(t)) {
    }
}

/* ---- the table --------------------------------------------------------------------------- */

struct table *table_new(void)
{
    struct table *t = calloc(1, sizeof(*t));
    if (t == NULL) return NULL;
    if (!array_open(&t->at, BITS_MIN) || !page_ensure(&t->at, 0)) {
        free(t->at.pages);
        free(t);
        return NULL;
    }
    return t;
}

void table_close(struct table *t)
{
    if (t == NULL) return;
    while (table_free_slice(t, SIZE_MAX / 64)) {
    }
    for (uint64_t page = 0; page < page_count(&t->at); page++)
        free(t->at.pages[page]);
    free(t->at.pages);
    if (t->moving) {
        for (uint64_t page = 0; page < page_count(&t->to); page++)
            free(t->to.pages[page]);
        free(t->to.pages);
    }
    free(t);
}

struct table_entry **table_find(const struct table *t, uint64_t hash, struct kelp_bytes key)
{
    const struct table_array *a = array_of(t, hash);
    struct table_entry **link = slot_at(a, bucket_of(a, hash));
    for (; *link != NULL; link = &(*link)->next) {
        if ((*link)->hash == hash && bytes_equal(entry_key(*link), key)) return link;
    }
    return NULL;
}

void table_debit(struct table *t, const struct table_entry *e)
{
    t->sum -= e->digest;
    t->bytes -= entry_bytes(e);
}

void table_credit(struct table *t, const struct table_entry *e)
{
    t->sum += e->digest;
    t->bytes += entry_bytes(e);
}

void table_insert(struct table *t, struct table_entry *e)
{
    const struct table_array *a = array_of(t, e->hash);
    struct table_entry **slot = slot_at(a, bucket_of(a, e->hash));
    e->next = *slot;
    *slot = e;
    t->count++;
    if (e->due != NULL) due_insert(&t->due, e->due);
    table_credit(t, e);
    table_step(t);
}

struct table_entry *table_remove(struct table *t, struct table_entry **link)
{
    struct table_entry *e = *link;
    *link = e->next;
    t->count--;
    if (e->due != NULL) due_remove(&t->due, e->due);
    table_debit(t, e);
    table_step(t);
    return e;
}

struct table_entry *table_replace(struct table *t, struct table_entry **link, struct table_entry *e)
{
    struct table_entry *old = *link;
    ASSERT(old->hash == e->hash);
    e->next = old->next;
    *link = e;
    if (old->due != NULL) due_remove(&t->due, old->due);
    if (e->due != NULL) due_insert(&t->due, e->due);
    table_debit(t, old);
    table_credit(t, e);
    return old;
}

void table_due(struct table *t, struct table_entry *e, struct due *due)
{
    table_debit(t, e);
    e->digest -= due_digest(e);
    if (e->due != NULL) due_remove(&t->due, e->due);
    free(e->due);
    e->due = due;
    if (due != NULL) {
        due->entry = e;
        due_insert(&t->due, due);
    }
    e->digest += due_digest(e);
    table_credit(t, e);
}

struct table_entry *table_next(const struct table *t, uint64_t hash,
                               const struct table_entry *after)
{
    for (;;) {
        const struct table_array *a = array_of(t, hash);
        uint64_t bucket = bucket_of(a, hash);
        struct table_entry *best = NULL;
        for (struct table_entry *e = *slot_at(a, bucket); e != NULL; e = e->next) {
            if (e->hash < hash || (after != NULL && !entry_before(after, e))) continue;
            if (best == NULL || entry_before(e, best)) best = e;
        }
        if (best != NULL) return best;
        if (bucket == (((uint64_t)1 << a->bits) - 1)) return NULL;
        hash = (bucket + 1) << (64 - a->bits);
    }
}

/* freed counts buckets of `at`, then of `to`. Pages the sweep has left or not reached are skipped
 * bucket by bucket. */
bool table_free_slice(struct table *t, size_t entries)
{
    uint64_t budget = (uint64_t)entries * 16; /* a bucket costs 1, an entry 16 */
    uint64_t spent = 0;
    struct table_array *a = t->moving && t->freed >> t->at.bits != 0 ? &t->to : &t->at;
    uint64_t base = a == &t->to ? (uint64_t)1 << t->at.bits : 0;
    while (spent < budget) {
        uint64_t bucket = t->freed - base;
        if (bucket >> a->bits != 0) {
            if (a == &t->to || !t->moving) return false;
            a = &t->to;
            base = t->freed;
            continue;
        }
        if (a->pages[bucket >> PAGE_BITS] != NULL) {
            struct table_entry **slot = slot_at(a, bucket);
            for (; *slot != NULL && spent < budget; spent += 16) {
                struct table_entry *e = *slot;
                *slot = e->next;
                entry_free(e);
            }
            if (*slot != NULL) return true;
            page_leave(a, bucket);
        }
        t->freed++;
        spent++;
    }
    return true;
}
