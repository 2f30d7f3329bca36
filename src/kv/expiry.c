/* SPDX-License-Identifier: Apache-2.0 */
/* expiry.c - deadlines of keys: EXPIRE and its kin, TTL, PERSIST, GETEX, SETEX, with the replies of
 * Redis 7.0.
 *
 * A deadline is a moment of the cluster clock, and nothing but the stamp of the last applied entry
 * decides whether it has passed. Clients speak of times of day as well: beside a command that sets
 * a deadline stands the time of day of the leader that proposed it, and the stamp of its entry is
 * the same moment of the cluster clock, so every member converts it to the same deadline, however
 * wrong that time of day may be. What a client is told (EXPIRETIME) is what was given. */
#include "kv/reply.h"
#include "kv/state.h"

#define NS_A_MS 1000000u

static void invalid_time(const char *name, struct buf *reply)
{
    (void)buf_append_text(reply, "-ERR invalid expire time in '");
    (void)buf_append_text(reply, name);
    reply_simple(reply, "' command");
}

/* The moment of the cluster clock that is so many milliseconds from now; not 0. Further than the
 * clock can count is its end: 584 years from its beginning. What EXPIRETIME tells is not cut. */
static uint64_t moment(const struct kv *kv, int64_t from_now_ms)
{
    if (from_now_ms <= 0) {
        uint64_t ago = 0 - (uint64_t)from_now_ms;
        return ago < kv->now / NS_A_MS ? kv->now - ago * NS_A_MS : KV_LONG_AGO;
    }
    uint64_t ahead = (uint64_t)from_now_ms;
    uint64_t most = (UINT64_MAX - 1 - kv->now) / NS_A_MS;
    return kv->now + (ahead < most ? ahead : most) * NS_A_MS;
}

/* The number in milliseconds since 1970; false: it does not fit. */
static bool expiry_convert(const struct kv *kv, int64_t number, struct expiry *e)
{
    if (e->seconds && (number > INT64_MAX / 1000 || number < INT64_MIN / 1000)) return false;
    int64_t ms = e->seconds ? number * 1000 : number;
    int64_t from_now = ms;
    if (e->absolute) {
        from_now = ms < INT64_MIN + kv->wall_ms ? INT64_MIN : ms - kv->wall_ms;
    } else {
        if (ms > INT64_MAX - kv->wall_ms) return false;
        ms += kv->wall_ms;
    }
    e->unix_ms = ms;
    e->at = moment(kv, from_now);
    return true;
}

static bool number_read(const struct kv *kv, struct kelp_bytes word, int64_t *number,
                        struct buf *reply)
{
    if (!decimal_parse(word, number)) {
        reply_simple(reply, "-ERR value is not an integer or out of range");
        return false;
    }
    if (kv->walled && kv->wall_ms >= 0) return true;
    reply_simple(reply, "-ERR the command came without a time of day");
    return false;
}

bool expiry_read(const struct kv *kv, struct kelp_bytes word, const char *name, struct expiry *e,
                 struct buf *reply)
{
    int64_t number = 0;
    if (!number_read(kv, word, &number, reply)) return false;
    if (number > 0 && expiry_convert(kv, number, e)) return true;
    invalid_time(name, reply);
    return false;
}

/* ---- EXPIRE ------------------------------------------------------------------------------ */

enum expire_option { EXPIRE_NX = 1, EXPIRE_XX = 2, EXPIRE_GT = 4, EXPIRE_LT = 8 };

static bool expire_options(struct kv_args *args, unsigned *options, struct buf *reply)
{
    static const char *const words[] = {"nx", "xx", "gt", "lt"};
    *options = 0;
    while (args->left > 0) {
        struct kelp_bytes word = kv_args_next(args);
        unsigned option = 0;
        for (unsigned i = 0; i < 4; i++)
            option |= kv_word_is(word, words[i], 2) ? 1u << i : 0;
        if (option == 0) {
            (void)buf_append_text(reply, "-ERR Unsupported option ");
            for (size_t i = 0; i < word.len && i < 128; i++) { /* a reply line is one line */
                uint8_t c = word.data[i] == '\r' || word.data[i] == '\n' ? ' ' : word.data[i];
                (void)buf_append(reply, bytes_of(&c, 1));
            }
            reply_simple(reply, "");
            return false;
        }
        *options |= option;
    }
    if ((*options & EXPIRE_NX) != 0 && *options != EXPIRE_NX) {
        reply_simple(reply, "-ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*options & EXPIRE_GT) != 0 && (*options & EXPIRE_LT) != 0) {
        reply_simple(reply, "-ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* No deadline is later than any. Times of day may be of two leaders whose clocks differ, so what is
 * later is a question of the cluster clock; but the same time of day is the same deadline. */
static bool expire_fits(const struct due *has, const struct expiry *e, unsigned options)
{
    bool same = has != NULL && has->unix_ms == e->unix_ms;
    if ((options & EXPIRE_NX) != 0 && has != NULL) return false;
    if ((options & EXPIRE_XX) != 0 && has == NULL) return false;
    if ((options & EXPIRE_GT) != 0 && (has == NULL || same || e->at <= has->at)) return false;
    if ((options & EXPIRE_LT) != 0 && has != NULL && (same || e->at >= has->at)) return false;
    return true;
}

static void expire(struct kv *kv, struct kv_args *args, const char *name, struct expiry e,
                   struct buf *reply)
{
    struct kelp_bytes key = kv_args_next(args), word = kv_args_next(args);
    unsigned options;
    int64_t number = 0;
    if (!expire_options(args, &options, reply) || !number_read(kv, word, &number, reply)) return;
    if (!expiry_convert(kv, number, &e)) {
        invalid_time(name, reply);
        return;
    }
    struct kv_place place = kv_find(kv, key);
    bool set = place.link != NULL && expire_fits((*place.link)->due, &e, options);
    reply_integer(reply, set);
    if (set) kv_expire(kv, place, e.at, e.unix_ms);
}

void run_expire(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    expire(kv, args, "expire", (struct expiry){.seconds = true}, reply);
}

void run_pexpire(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    expire(kv, args, "pexpire", (struct expiry){.seconds = false}, reply);
}

void run_expireat(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    expire(kv, args, "expireat", (struct expiry){.seconds = true, .absolute = true}, reply);
}

void run_pexpireat(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    expire(kv, args, "pexpireat", (struct expiry){.absolute = true}, reply);
}

void run_persist(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct kv_place place = kv_find(kv, kv_args_next(args));
    bool had = place.link != NULL && (*place.link)->due != NULL;
    reply_integer(reply, had);
    if (had) kv_expire(kv, place, 0, 0);
}

/* ---- TTL --------------------------------------------------------------------------------- */

enum tell { TELL_LEFT, TELL_MOMENT };

/* milliseconds: in how large a unit. Seconds are rounded, as in Redis. */
static void time_reply(const struct kv *kv, struct kv_args *args, enum tell what, int64_t unit_ms,
                       struct buf *reply)
{
    struct kv_place place = kv_find(kv, kv_args_next(args));
    const struct due *due = place.link != NULL ? (*place.link)->due : NULL;
    if (due == NULL) {
        reply_integer(reply, place.link != NULL ? -1 : -2);
        return;
    }
    uint64_t left = due->at > kv->told ? due->at - kv->told : 0;
    int64_t ms = what == TELL_LEFT ? (int64_t)(left / NS_A_MS) : due->unix_ms;
    reply_integer(reply, ms / unit_ms + (ms % unit_ms >= (unit_ms + 1) / 2 && unit_ms > 1));
}

void run_ttl(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    time_reply(kv, args, TELL_LEFT, 1000, reply);
}

void run_pttl(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    time_reply(kv, args, TELL_LEFT, 1, reply);
}

void run_expiretime(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    time_reply(kv, args, TELL_MOMENT, 1000, reply);
}

void run_pexpiretime(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    time_reply(kv, args, TELL_MOMENT, 1, reply);
}

/* ---- values with deadlines --------------------------------------------------------------- */

/* The same word may come again, another one may not; as in Redis. */
static bool getex_word(struct kelp_bytes word, bool again, struct expiry *e)
{
    bool ex = kv_word_is(word, "ex", 2), exat = kv_word_is(word, "exat", 4);
    struct expiry is = {.seconds = ex || exat, .absolute = exat || kv_word_is(word, "pxat", 4)};
    if (!is.seconds && !is.absolute && !kv_word_is(word, "px", 2)) return false;
    if (again && (is.seconds != e->seconds || is.absolute != e->absolute)) return false;
    *e = is;
    return true;
}

void run_getex(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    struct kelp_bytes key = kv_args_next(args), when = bytes_of(NULL, 0);
    bool timed = false, persist = false;
    struct expiry e = {.at = 0};
    while (args->left > 0) {
        struct kelp_bytes word = kv_args_next(args);
        if (!timed && kv_word_is(word, "persist", 7)) {
            persist = true;
        } else if (!persist && args->left > 0 && getex_word(word, timed, &e)) {
            timed = true;
            when = kv_args_next(args);
        } else {
            reply_simple(reply, "-ERR syntax error");
            return;
        }
    }
    struct kv_place place = kv_find(kv, key);
    if (place.link == NULL) {
        reply_nil(reply);
        return;
    }
    if (timed && !expiry_read(kv, when, "getex", &e, reply)) return;
    reply_bulk(reply, entry_value(*place.link));
    if (timed) kv_expire(kv, place, e.at, e.unix_ms);
    if (persist && (*place.link)->due != NULL) kv_expire(kv, place, 0, 0);
}

static void set_for(struct kv *kv, struct kv_args *args, const char *name, struct expiry e,
                    struct buf *reply)
{
    struct kelp_bytes key = kv_args_next(args), when = kv_args_next(args);
    if (!expiry_read(kv, when, name, &e, reply)) return;
    kv_put(kv, kv_find(kv, key), kv_args_next(args), KV_FORGET_DEADLINE);
    if (kv->failed == KELP_OK) kv_expire(kv, kv_find(kv, key), e.at, e.unix_ms);
    reply_simple(reply, "+OK");
}

void run_setex(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    set_for(kv, args, "setex", (struct expiry){.seconds = true}, reply);
}

void run_psetex(struct kv *kv, struct kv_args *args, struct buf *reply)
{
    set_for(kv, args, "psetex", (struct expiry){.seconds = false}, reply);
}
