/* SPDX-License-Identifier: Apache-2.0 */
/* keys.c - the commands about keys: DEL EXISTS TYPE KEYS SCAN DBSIZE FLUSHALL, with the replies of
 * Redis 7.0.
 *
 * SCAN walks the hashes upwards. Its cursor is the top 53 bits of the next hash (every client's
 * number type holds that), so it means the same on every replica and at every size of the table.
 * Keys that share those bits are given in one call; a key that is there the whole time has one hash
 * and is passed exactly once. */
#include <stdlib.h>

#include "base/min.h"
#include "kv/glob.h"
#include "kv/reply.h"
#include "kv/state.h"

#define CURSOR_BITS        53u
#define SCAN_COUNT_DEFAULT 10
#define SCAN_KEYS_MAX      4096u /* looked at in one call, whatever COUNT says: under 1 ms */
#define SCAN_STEPS_MAX     (GLOB_STEPS_MAX / 2) /* of matching, before the call ends */
#define SCAN_BYTES_MAX     (1024u * 1024)       /* of reply, before the call ends */

void run_del(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    int64_t count = 0;
    while (args->left > 0) {
        struct kv_place place = kv_find(kv, kv_args_next(args));
        if (place.link == NULL) continue;
        kv_remove(kv, place);
        count++;
    }
    reply_integer(reply, count);
}

void run_exists(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    int64_t count = 0;
    while (args->left > 0)
        count += kv_find(kv, kv_args_next(args)).link != NULL;
    reply_integer(reply, count);
}

void run_type(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    bool found = kv_find(kv, kv_args_next(args)).link != NULL;
    reply_simple(reply, found ? "+string" : "+none");
}

void run_dbsize(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    (void)args;
    reply_integer(reply, (int64_t)kv_key_count(kv));
}

void run_flushall(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    if (args->left > 0) {
        struct kelp_bytes mode = kv_args_next(args);
        bool known = kv_word_is(mode, "async", 5) || kv_word_is(mode, "sync", 4);
        if (!known || args->left > 0) {
            reply_simple(reply, "-ERR syntax error");
            return;
        }
    }
    reply_simple(reply, "+OK");
    struct table *fresh = table_new();
    if (fresh == NULL) {
        kv->failed = KELP_E_NO_MEMORY;
        return;
    }
    kv_replace_all(kv, fresh);
}

/* ---- KEYS and SCAN ----------------------------------------------------------------------- */

struct filter {
    struct kelp_bytes pattern;
    bool all;      /* no pattern, or "*" */
    bool none;     /* a type that no key has */
    uint64_t work; /* steps of matching so far */
};

static struct filter filter_of(struct kelp_bytes pattern)
{
    return (struct filter){.pattern = pattern, .all = bytes_equal(pattern, BYTES_LITERAL("*"))};
}

/* Append the key if the filter lets it through; false: the pattern takes too long. */
static bool key_filter(struct filter *f, const struct table_entry *e, struct buf *reply,
                       uint64_t *count)
{
    if (f->none) return true;
    enum glob_result held =
        f->all ? GLOB_YES : glob_match_counted(f->pattern, entry_key(e), &f->work);
    if (held == GLOB_TOO_LONG) return false;
    if (held == GLOB_YES) {
        reply_bulk(reply, entry_key(e));
        (*count)++;
    }
    return true;
}

static void too_long(struct buf *reply)
{
    buf_clear(reply);
    reply_simple(reply, "-ERR the pattern takes too long to match");
}

static bool gap_open(struct buf *reply)
{
    if (buf_reserve(reply, REPLY_GAP) != KELP_OK) return false;
    reply->len += REPLY_GAP;
    return true;
}

/* Write the head right in front of the body that follows the gap. */
static void gap_close(struct kv *kv, struct buf *reply, const struct buf *head)
{
    if (reply->error != KELP_OK) return;
    kv->reply_skip = REPLY_GAP - head->len;
    memcpy(reply->data + kv->reply_skip, head->data, head->len);
}

void keys_begin(struct kv *kv)
{
    struct keys_walk *w = &kv->walk;
    w->count = 0;
    w->next = table_next(kv->table, 0, NULL);
    buf_init(&w->reply, KV_REPLY_BYTES_MAX);
    (void)gap_open(&w->reply); /* the error sticks */
}

bool keys_piece(struct kv *kv, struct kv_args *args, const struct keys_most *most)
{
    struct keys_walk *w = &kv->walk;
    struct filter filter = filter_of(kv_args_next(args));
    kv->reply_skip = 0;
    for (uint64_t keys = 0; w->next != NULL && w->reply.error == KELP_OK; keys++) {
        if (keys == most->keys || filter.work >= most->steps) return true;
        if (!kv_lapsed(kv, w->next) && !key_filter(&filter, w->next, &w->reply, &w->count)) {
            too_long(&w->reply);
            return false;
        }
        w->next = table_next(kv->table, w->next->hash, w->next);
    }
    uint8_t room[REPLY_GAP];
    struct buf head = {.data = room, .room = sizeof(room), .max = sizeof(room)};
    reply_array(&head, w->count);
    gap_close(kv, &w->reply, &head);
    return false;
}

/* All at once, for whoever asks without pieces; one that goes on is not disturbed. */
void run_keys(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct keys_walk other = kv->walk;
    keys_begin(kv);
    (void)keys_piece(kv, args, &(struct keys_most){UINT64_MAX, UINT64_MAX});
    buf_close(reply);
    *reply = kv->walk.reply;
    kv->walk = other;
}

/* As strtoul would read it, which is how Redis does: a sign is allowed, nothing at all is 0. */
static bool cursor_parse(struct kelp_bytes text, uint64_t *cursor)
{
    const uint8_t *zero = text.len > 0 ? memchr(text.data, 0, text.len) : NULL;
    size_t len = zero != NULL ? (size_t)(zero - text.data) : text.len;
    *cursor = 0;
    if (len == 0) return true;
    bool negative = text.data[0] == '-';
    size_t at = negative || text.data[0] == '+' ? 1 : 0;
    if (at == len) return false;
    uint64_t value = 0;
    for (; at < len; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') return false;
        uint64_t digit = (uint64_t)(text.data[at] - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *cursor = negative ? 0 - value : value;
    return true;
}

/* The words after the cursor; false: replied with an error. */
static bool scan_options(struct kv_args *args, struct filter *filter, int64_t *count,
                         struct buf *reply)
{
    *filter = (struct filter){.all = true};
    *count = SCAN_COUNT_DEFAULT;
    bool none = false;
    while (args->left > 0) {
        struct kelp_bytes word = kv_args_next(args);
        if (args->left == 0) break;
        struct kelp_bytes value = kv_args_next(args);
        if (kv_word_is(word, "count", 5)) {
            if (!decimal_parse(value, count)) {
                reply_simple(reply, "-ERR value is not an integer or out of range");
                return false;
            }
            if (*count < 1) break;
        } else if (kv_word_is(word, "match", 5)) {
            *filter = filter_of(value);
        } else if (kv_word_is(word, "type", 4)) {
            none = !kv_word_is(value, "string", 6);
        } else {
            break;
        }
        if (args->left == 0) {
            filter->none = none;
            return true;
        }
    }
    reply_simple(reply, "-ERR syntax error");
    return false;
}

static uint64_t place_of(const struct table_entry *e)
{
    return e->hash >> (64 - CURSOR_BITS);
}

/* Would a key be left out that is looked at, or a few more that are not? */
bool scan_lapses(const struct kv *kv, struct kv_args *args, uint64_t time_ns)
{
    uint64_t cursor = 0, looked = 0;
    struct filter filter;
    struct buf nobody;
    int64_t wanted = SCAN_COUNT_DEFAULT;
    buf_init(&nobody, 0);
    if (!cursor_parse(kv_args_next(args), &cursor) || cursor >> CURSOR_BITS != 0) return false;
    if (args->left > 0 && !scan_options(args, &filter, &wanted, &nobody)) return false;
    uint64_t looked_max = min_u64((uint64_t)wanted, SCAN_KEYS_MAX), place = 0;
    const struct table_entry *e = table_next(kv->table, cursor << (64 - CURSOR_BITS), NULL);
    for (; e != NULL && (looked < looked_max || place_of(e) == place); looked++) {
        if (!kv_lapsed(kv, e) && e->due != NULL && e->due->at <= time_ns) return true;
        place = place_of(e);
        e = table_next(kv->table, e->hash, e);
    }
    return false;
}

void run_scan(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    uint64_t cursor = 0;
    if (!cursor_parse(kv_args_next(args), &cursor)) {
        reply_simple(reply, "-ERR invalid cursor");
        return;
    }
    struct filter filter = {.all = true};
    int64_t wanted = SCAN_COUNT_DEFAULT;
    if (args->left > 0 && !scan_options(args, &filter, &wanted, reply)) return;
    if (!gap_open(reply)) return;
    uint64_t looked = 0, count = 0, looked_max = min_u64((uint64_t)wanted, SCAN_KEYS_MAX);
    const struct table_entry *e = NULL;
    if (cursor >> CURSOR_BITS == 0) e = table_next(kv->table, cursor << (64 - CURSOR_BITS), NULL);
    cursor = 0; /* unless keys are left */
    while (e != NULL && reply->error == KELP_OK) {
        if (!kv_lapsed(kv, e) && !key_filter(&filter, e, reply, &count)) {
            too_long(reply);
            return;
        }
        const struct table_entry *next = table_next(kv->table, e->hash, e);
        bool enough =
            ++looked >= looked_max || reply->len >= SCAN_BYTES_MAX || filter.work >= SCAN_STEPS_MAX;
        if (enough && next != NULL && place_of(next) != place_of(e)) {
            cursor = place_of(next);
            break;
        }
        e = next;
    }
    uint8_t room[REPLY_GAP], digits[DECIMAL_BYTES_MAX];
    struct buf head = {.data = room, .room = sizeof(room), .max = sizeof(room)};
    reply_array(&head, 2);
    reply_bulk(&head, bytes_of(digits, decimal_write((int64_t)cursor, digits)));
    reply_array(&head, count);
    gap_close(kv, reply, &head);
}
