/* SPDX-License-Identifier: Apache-2.0 */
/* commands.c - the rows of the command table; see commands.h. */
#include "kv/commands.h"

#include "kv/state.h"

#define WRITE     KV_FLAG_WRITE
#define READ      KV_FLAG_READONLY
#define OOM       KV_FLAG_DENYOOM
#define FAST      KV_FLAG_FAST
#define DANGEROUS KV_FLAG_DANGEROUS

/* code, name, arity, flags, first key, last, step, group, since, complexity, function, summary */
#define ROW(code_, name_, arity_, flags_, first_, last_, step_, group_, since_, complexity_, run_, \
            summary_)                                                                              \
    [code_] = {.code = (code_),                                                                    \
               .name = (name_),                                                                    \
               .name_len = sizeof(name_) - 1,                                                      \
               .arity = (arity_),                                                                  \
               .flags = (flags_),                                                                  \
               .key_first = (first_),                                                              \
               .key_last = (last_),                                                                \
               .key_step = (step_),                                                                \
               .group = (group_),                                                                  \
               .since = (since_),                                                                  \
               .complexity = (complexity_),                                                        \
               .run = (run_),                                                                      \
               .summary = (summary_)}

/* clang-format off */
const struct kv_command kv_commands[KV_CODES] = {
    ROW(KV_GET, "get", 2, READ | FAST, 1, 1, 1, "string", "1.0.0", "O(1)", run_get,
        "The value of a key"),
    ROW(KV_SET, "set", -3, WRITE | OOM, 1, 1, 1, "string", "1.0.0", "O(1)", run_set,
        "Give a key a value"),
    ROW(KV_SETNX, "setnx", 3, WRITE | OOM | FAST, 1, 1, 1, "string", "1.0.0", "O(1)", run_setnx,
        "Give a key a value if it has none"),
    ROW(KV_MGET, "mget", -2, READ | FAST, 1, -1, 1, "string", "1.0.0", "O(N) for N keys", run_mget,
        "The values of several keys"),
    ROW(KV_MSET, "mset", -3, WRITE | OOM, 1, -1, 2, "string", "1.0.1", "O(N) for N keys", run_mset,
        "Give several keys their values at once"),
    ROW(KV_MSETNX, "msetnx", -3, WRITE | OOM, 1, -1, 2, "string", "1.0.1", "O(N) for N keys",
        run_msetnx, "Give several keys their values at once if none of them has one"),
    ROW(KV_APPEND, "append", 3, WRITE | OOM | FAST, 1, 1, 1, "string", "2.0.0",
        "O(N) for N bytes appended", run_append, "Put bytes behind a value"),
    ROW(KV_STRLEN, "strlen", 2, READ | FAST, 1, 1, 1, "string", "2.2.0", "O(1)", run_strlen,
        "How many bytes a value has"),
    ROW(KV_INCR, "incr", 2, WRITE | OOM | FAST, 1, 1, 1, "string", "1.0.0", "O(1)", run_incr,
        "Add one to a number"),
    ROW(KV_DECR, "decr", 2, WRITE | OOM | FAST, 1, 1, 1, "string", "1.0.0", "O(1)", run_decr,
        "Take one from a number"),
    ROW(KV_INCRBY, "incrby", 3, WRITE | OOM | FAST, 1, 1, 1, "string", "1.0.0", "O(1)", run_incrby,
        "Add to a number"),
    ROW(KV_DECRBY, "decrby", 3, WRITE | OOM | FAST, 1, 1, 1, "string", "1.0.0", "O(1)", run_decrby,
        "Take from a number"),
    ROW(KV_DEL, "del", -2, WRITE, 1, -1, 1, "generic", "1.0.0", "O(N) for N keys", run_del,
        "Remove keys"),
    ROW(KV_UNLINK, "unlink", -2, WRITE | FAST, 1, -1, 1, "generic", "4.0.0", "O(N) for N keys",
        run_del, "Remove keys; here the same as DEL"),
    ROW(KV_EXISTS, "exists", -2, READ | FAST, 1, -1, 1, "generic", "1.0.0", "O(N) for N keys",
        run_exists, "How many of the named keys are there"),
    ROW(KV_TYPE, "type", 2, READ | FAST, 1, 1, 1, "generic", "1.0.0", "O(1)", run_type,
        "The type of a key's value"),
    ROW(KV_KEYS, "keys", 2, READ | DANGEROUS, 0, 0, 0, "generic", "1.0.0", "O(N) for all N keys",
        run_keys, "All keys that match a pattern, at once"),
    ROW(KV_SCAN, "scan", -2, READ, 0, 0, 0, "generic", "2.8.0",
        "O(COUNT) a call, O(N) for a whole scan of N keys", run_scan,
        "Some keys from a cursor on, and the next cursor"),
    ROW(KV_DBSIZE, "dbsize", 1, READ | FAST, 0, 0, 0, "server", "1.0.0", "O(1)", run_dbsize,
        "How many keys there are"),
    ROW(KV_FLUSHALL, "flushall", -1, WRITE | DANGEROUS, 0, 0, 0, "server", "1.0.0",
        "O(1); memory is freed little by little", run_flushall, "Remove all keys"),
    ROW(KV_FLUSHDB, "flushdb", -1, WRITE | DANGEROUS, 0, 0, 0, "server", "1.0.0",
        "O(1); memory is freed little by little", run_flushall,
        "Remove all keys; there is one database"),
    ROW(KV_EXPIRE, "expire", -3, WRITE | FAST, 1, 1, 1, "generic", "1.0.0", "O(log N)",
        run_expire, "Let a key go after so many seconds"),
    ROW(KV_PEXPIRE, "pexpire", -3, WRITE | FAST, 1, 1, 1, "generic", "2.6.0", "O(log N)",
        run_pexpire, "Let a key go after so many milliseconds"),
    ROW(KV_EXPIREAT, "expireat", -3, WRITE | FAST, 1, 1, 1, "generic", "1.2.0", "O(log N)",
        run_expireat, "Let a key go at a Unix time in seconds"),
    ROW(KV_PEXPIREAT, "pexpireat", -3, WRITE | FAST, 1, 1, 1, "generic", "2.6.0", "O(log N)",
        run_pexpireat, "Let a key go at a Unix time in milliseconds"),
    ROW(KV_TTL, "ttl", 2, READ | FAST, 1, 1, 1, "generic", "1.0.0", "O(log N)",
        run_ttl, "In how many seconds a key will go"),
    ROW(KV_PTTL, "pttl", 2, READ | FAST, 1, 1, 1, "generic", "2.6.0", "O(log N)",
        run_pttl, "In how many milliseconds a key will go"),
    ROW(KV_EXPIRETIME, "expiretime", 2, READ | FAST, 1, 1, 1, "generic", "7.0.0", "O(log N)",
        run_expiretime, "The Unix time in seconds at which a key will go"),
    ROW(KV_PEXPIRETIME, "pexpiretime", 2, READ | FAST, 1, 1, 1, "generic", "7.0.0", "O(log N)",
        run_pexpiretime, "The Unix time in milliseconds at which a key will go"),
    ROW(KV_PERSIST, "persist", 2, WRITE | FAST, 1, 1, 1, "generic", "2.2.0", "O(log N)",
        run_persist, "Take a key's deadline away"),
    ROW(KV_GETEX, "getex", -2, WRITE | FAST, 1, 1, 1, "string", "6.2.0", "O(log N)",
        run_getex, "The value of a key, and set or take away its deadline"),
    ROW(KV_SETEX, "setex", 4, WRITE | OOM, 1, 1, 1, "string", "2.0.0", "O(log N)",
        run_setex, "Give a key a value for so many seconds"),
    ROW(KV_PSETEX, "psetex", 4, WRITE | OOM, 1, 1, 1, "string", "2.6.0", "O(log N)",
        run_psetex, "Give a key a value for so many milliseconds"),
};
/* clang-format on */

bool kv_word_is(struct kelp_bytes word, const char *text, size_t text_len)
{
    if (word.len != text_len) return false;
    for (size_t i = 0; i < text_len; i++) {
        uint8_t c = word.data[i];
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        if (c != (uint8_t)text[i]) return false;
    }
    return true;
}

const struct kv_command *kv_command_find(struct kelp_bytes name)
{
    for (size_t code = 1; code < KV_CODES; code++) {
        const struct kv_command *c = &kv_commands[code];
        if (kv_word_is(name, c->name, c->name_len)) return c;
    }
    return NULL;
}

const struct kv_command *kv_command_of_code(uint8_t code)
{
    return code != KV_NOT_LOGGED && code < KV_CODES ? &kv_commands[code] : NULL;
}

bool kv_arity_fits(const struct kv_command *command, size_t argc)
{
    size_t words = (size_t)(command->arity < 0 ? -command->arity : command->arity);
    return command->arity < 0 ? argc >= words : argc == words;
}
