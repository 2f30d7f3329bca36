/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - the hash table: keys in hash order, rehashed a few buckets at a time.
 *
 * A bucket is named by the top bits of the hash, so walking the buckets is walking the hashes
 * upwards, at every size of the table. That is what makes a SCAN cursor (a hash) good on every
 * replica and across every rehash.
 *
 * While the table moves from one array to the next it does so upwards too: hashes below the swept
 * part live in the new array, the others in the old one, so that a lookup looks into one bucket
 * only. Arrays are made of pages, taken as the sweep reaches them and given back as it leaves them.
 * A page that cannot be had only stalls the sweep.
 *
 * Why not uthash: adding 2,000,000 keys of 8 bytes to one (gcc -O2, processor time of the thread,
 * two shared cores) stops the caller for 70 to 83 ms when it expands at a million; here the longest
 * stop was 0.15 to 0.34 ms. A lookup among them takes 0.2 us with either. Its handle alone is 56
 * bytes, the head of an entry here 48; and its order depends on its history, as SCAN's may not. */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include "kv/due.h"

/* One key and its value in one allocation: bytes holds the key, then the value, then room to
 * grow. */
struct table_entry {
    struct table_entry *next;
    struct due *due; /* its deadline, owned; in the table's tree while the entry is; NULL: none */
    uint64_t hash;   /* of the key, under the machine's seed */
    uint64_t digest; /* of key, value and deadline: what the entry adds to the state hash */
    uint32_t key_len, value_len;
    uint32_t room;  /* bytes after the key; value_len <= room */
    uint32_t epoch; /* of the machine when the entry was made; see snapshot.h */
    uint8_t bytes[];
};

struct table_array {
    uint32_t bits; /* 2^bits buckets */
    struct table_entry ***pages;
};

struct table {
    struct table *next;        /* in the list of tables to be freed */
    struct table_array at, to; /* to: only while moving */
    bool moving;
    uint64_t swept;             /* buckets of the smaller array that have moved */
    uint64_t count, bytes, sum; /* entries, their size, the sum of their digests */
    struct due_tree due;
    uint64_t freed; /* buckets of both arrays that table_free_slice emptied */
};

static inline struct kelp_bytes entry_key(const struct table_entry *e)
{
    return (struct kelp_bytes){.data = e->bytes, .len = e->key_len};
}

static inline struct kelp_bytes entry_value(const struct table_entry *e)
{
    return (struct kelp_bytes){.data = e->bytes + e->key_len, .len = e->value_len};
}

/* entry_new - an unlinked entry with room for a key and a value, to be filled; owns nothing else.
 * NULL: no memory. */
struct table_entry *entry_new(size_t key_len, size_t room);

/* entry_free - an unlinked entry, with its deadline; NULL is fine. */
void entry_free(struct table_entry *e);

/* entry_due - give an unlinked entry a deadline; it has none. false: no memory. */
bool entry_due(struct table_entry *e, uint64_t at, int64_t unix_ms);

/* entry_digest - what the entry adds to the state hash. Long values are hashed in blocks, so that
 * entry_digest_extend, for a value that grew from value_len_before, costs what was added only. */
uint64_t entry_digest(const struct table_entry *e);
uint64_t entry_digest_extend(const struct table_entry *e, uint64_t digest, size_t value_len_before);

/* entry_before - the one order of entries: by hash, then by key. */
bool entry_before(const struct table_entry *a, const struct table_entry *b);

/* table_new, table_close - an empty table; NULL: no memory. Close frees the entries as well. */
struct table *table_new(void);
void table_close(struct table *t);

/* table_find - the link that holds the entry of a key, or NULL. Good until the next insert or
 * remove. */
struct table_entry **table_find(const struct table *t, uint64_t hash, struct kelp_bytes key);

/* table_insert - take an entry (owns it) whose key is not there. */
void table_insert(struct table *t, struct table_entry *e);

/* table_remove - take the entry out of its link and hand it to the caller. */
struct table_entry *table_remove(struct table *t, struct table_entry **link);

/* table_replace - put an entry of the same key in the place of another, which is handed to the
 * caller. */
struct table_entry *table_replace(struct table *t, struct table_entry **link,
                                  struct table_entry *e);

/* table_debit, table_credit - around every change of a linked entry's value: keep sum and bytes
 * right. */
void table_debit(struct table *t, const struct table_entry *e);
void table_credit(struct table *t, const struct table_entry *e);

/* table_due - a linked entry has this deadline (owns) from now on; NULL: none. What it had is
 * freed. */
void table_due(struct table *t, struct table_entry *e, struct due *due);

/* table_next - the first entry, in order, whose hash is at least hash and that comes after `after`
 * (NULL: any). */
struct table_entry *table_next(const struct table *t, uint64_t hash,
                               const struct table_entry *after);

/* table_free_slice - free about entries entries; true: the table still holds some. For nothing else
 * any more. */
bool table_free_slice(struct table *t, size_t entries);

#endif
