/* SPDX-License-Identifier: Apache-2.0 */
/* strings.c - the string commands, with the replies of Redis 7.0. */
#include "kv/reply.h"
#include "kv/state.h"

#define NOT_AN_INTEGER "-ERR value is not an integer or out of range"

static void value_reply(const struct kv *kv, struct kelp_bytes key, struct buf *reply)
{
    struct kv_place place = kv_find(kv, key);
    if (place.link == NULL) {
        reply_nil(reply);
        return;
    }
    reply_bulk(reply, entry_value(*place.link));
}

void run_get(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    value_reply(kv, kv_args_next(args), reply);
}

void run_mget(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    reply_array(reply, args->left);
    while (args->left > 0 && reply->error == KELP_OK)
        value_reply(kv, kv_args_next(args), reply);
}

void run_strlen(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct kv_place place = kv_find(kv, kv_args_next(args));
    reply_integer(reply, place.link != NULL ? (*place.link)->value_len : 0);
}

/* ---- SET --------------------------------------------------------------------------------- */

enum set_option {
    SET_NX = 1,  /* only if the key is not there */
    SET_XX = 2,  /* only if it is */
    SET_GET = 4, /* answer with the old value */
    SET_KEEPTTL = 8,
    SET_EX = 16, /* a deadline follows */
    SET_PX = 32,
    SET_EXAT = 64,
    SET_PXAT = 128,
    SET_WRONG = 256
};

#define SET_TIMED   (SET_EX | SET_PX | SET_EXAT | SET_PXAT)
#define SET_OF_TIME (SET_KEEPTTL | SET_TIMED) /* at most one of them, which may come again */

static const struct set_word {
    const char *name;
    uint8_t len;
    uint16_t option;
    uint16_t excludes;
    struct expiry expiry;
} set_words[] = {
    {"nx", 2, SET_NX, SET_XX, {0}},
    {"xx", 2, SET_XX, SET_NX, {0}},
    {"get", 3, SET_GET, 0, {0}},
    {"keepttl", 7, SET_KEEPTTL, SET_TIMED, {0}},
    {"ex", 2, SET_EX, SET_OF_TIME & ~SET_EX, {.seconds = true}},
    {"px", 2, SET_PX, SET_OF_TIME & ~SET_PX, {.seconds = false}},
    {"exat", 4, SET_EXAT, SET_OF_TIME & ~SET_EXAT, {.seconds = true, .absolute = true}},
    {"pxat", 4, SET_PXAT, SET_OF_TIME & ~SET_PXAT, {.absolute = true}},
};

static const struct set_word *set_word_find(struct kelp_bytes word)
{
    for (size_t i = 0; i < sizeof(set_words) / sizeof(set_words[0]); i++) {
        if (kv_word_is(word, set_words[i].name, set_words[i].len)) return &set_words[i];
    }
    return NULL;
}

static unsigned set_options(struct kv_args *args, struct expiry *expiry, struct kelp_bytes *when)
{
    unsigned options = 0;
    while (args->left > 0) {
        const struct set_word *word = set_word_find(kv_args_next(args));
        bool timed = word != NULL && (word->option & SET_TIMED) != 0;
        if (word == NULL || (options & word->excludes) != 0 || (timed && args->left == 0))
            return SET_WRONG;
        options |= word->option;
        if (!timed) continue;
        *expiry = word->expiry;
        *when = kv_args_next(args);
    }
    return options;
}

void run_set(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct kelp_bytes key = kv_args_next(args);
    struct kelp_bytes value = kv_args_next(args), when = bytes_of(NULL, 0);
    struct expiry expiry = {.at = 0};
    unsigned options = args->left > 0 ? set_options(args, &expiry, &when) : 0;
    if ((options & SET_WRONG) != 0) {
        reply_simple(reply, "-ERR syntax error");
        return;
    }
    if ((options & SET_TIMED) != 0 && !expiry_read(kv, when, "set", &expiry, reply)) return;
    struct kv_place place = kv_find(kv, key);
    bool found = place.link != NULL;
    bool refused = ((options & SET_NX) != 0 && found) || ((options & SET_XX) != 0 && !found);
    if ((options & SET_GET) != 0) {
        if (found)
            reply_bulk(reply, entry_value(*place.link)); /* before it is overwritten */
        else
            reply_nil(reply);
    } else if (refused) {
        reply_nil(reply);
    } else {
        reply_simple(reply, "+OK");
    }
    if (refused) return;
    kv_put(kv, place, value, (options & SET_KEEPTTL) != 0 ? KV_KEEP_DEADLINE : KV_FORGET_DEADLINE);
    if ((options & SET_TIMED) == 0 || kv->failed != KELP_OK) return;
    kv_expire(kv, kv_find(kv, key), expiry.at, expiry.unix_ms);
}

void run_setnx(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct kv_place place = kv_find(kv, kv_args_next(args));
    reply_integer(reply, place.link == NULL);
    if (place.link == NULL) kv_put(kv, place, kv_args_next(args), KV_FORGET_DEADLINE);
}

/* ---- MSET -------------------------------------------------------------------------------- */

static bool pairs_are_whole(const struct kv_args *args, const char *name, struct buf *reply)
{
    if (args->left % 2 == 0) return true;
    (void)buf_append_text(reply, "-ERR wrong number of arguments for '");
    (void)buf_append_text(reply, name);
    reply_simple(reply, "' command");
    return false;
}

static void pairs_put(struct kv *kv, struct kv_args *args)
{
    while (args->left > 0 && kv->failed == KELP_OK) {
        struct kv_place place = kv_find(kv, kv_args_next(args));
        kv_put(kv, place, kv_args_next(args), KV_FORGET_DEADLINE);
    }
}

void run_mset(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    if (!pairs_are_whole(args, "mset", reply)) return;
    pairs_put(kv, args);
    reply_simple(reply, "+OK");
}

void run_msetnx(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    if (!pairs_are_whole(args, "msetnx", reply)) return;
    bool found = false;
    for (struct kv_args look = *args; look.left > 0 && !found; (void)kv_args_next(&look))
        found = kv_find(kv, kv_args_next(&look)).link != NULL;
    if (!found) pairs_put(kv, args);
    reply_integer(reply, !found);
}

/* ---- APPEND and numbers ------------------------------------------------------------------ */

void run_append(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct kv_place place = kv_find(kv, kv_args_next(args));
    struct kelp_bytes suffix = kv_args_next(args);
    size_t len = place.link != NULL ? (*place.link)->value_len : 0;
    if (suffix.len > KV_VALUE_BYTES_MAX - len) {
        reply_simple(reply, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    reply_integer(reply, (int64_t)(len + suffix.len));
    if (place.link == NULL)
        kv_put(kv, place, suffix, KV_FORGET_DEADLINE);
    else
        kv_extend(kv, place, suffix);
}

static void number_add(struct kv *kv, struct kelp_bytes key, int64_t delta, struct buf *reply)
{
    struct kv_place place = kv_find(kv, key);
    int64_t number = 0;
    if (place.link != NULL && !decimal_parse(entry_value(*place.link), &number)) {
        reply_simple(reply, NOT_AN_INTEGER);
        return;
    }
    if (delta < 0 ? number < INT64_MIN - delta : number > INT64_MAX - delta) {
        reply_simple(reply, "-ERR increment or decrement would overflow");
        return;
    }
    number += delta;
    uint8_t text[DECIMAL_BYTES_MAX];
    kv_put(kv, place, bytes_of(text, decimal_write(number, text)), KV_KEEP_DEADLINE);
    reply_integer(reply, number);
}

void run_incr(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    number_add(kv, kv_args_next(args), 1, reply);
}

void run_decr(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    number_add(kv, kv_args_next(args), -1, reply);
}

void run_incrby(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct kelp_bytes key = kv_args_next(args);
    int64_t delta = 0;
    if (!decimal_parse(kv_args_next(args), &delta)) {
        reply_simple(reply, NOT_AN_INTEGER);
        return;
    }
    number_add(kv, key, delta, reply);
}

void run_decrby(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct kelp_bytes key = kv_args_next(args);
    int64_t delta = 0;
    if (!decimal_parse(kv_args_next(args), &delta)) {
        reply_simple(reply, NOT_AN_INTEGER);
        return;
    }
    if (delta == INT64_MIN) {
        reply_simple(reply, "-ERR decrement would overflow");
        return;
    }
    number_add(kv, key, -delta, reply);
}
