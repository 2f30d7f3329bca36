/* SPDX-License-Identifier: Apache-2.0 */
/* commands.h - the one table of the machine's commands.
 *
 * A row is all there is to know of a command: the server looks names up here, checks arity, decides
 * between log and query by the flags, and answers COMMAND and COMMAND DOCS from it; the machine
 * executes run. The row type also serves the server's own commands, which have no code and no
 * run. */
#ifndef KV_COMMANDS_H
#define KV_COMMANDS_H

#include "base/buf.h"

struct kv;
struct kv_args;

/* The numbers stand in logs: never change one, never give one again. */
enum kv_code {
    KV_NOT_LOGGED = 0,
    KV_GET = 1,
    KV_SET = 2,
    KV_SETNX = 3,
    KV_MGET = 4,
    KV_MSET = 5,
    KV_MSETNX = 6,
    KV_APPEND = 7,
    KV_STRLEN = 8,
    KV_INCR = 9,
    KV_DECR = 10,
    KV_INCRBY = 11,
    KV_DECRBY = 12,
    KV_DEL = 13,
    KV_UNLINK = 14,
    KV_EXISTS = 15,
    KV_TYPE = 16,
    KV_KEYS = 17,
    KV_SCAN = 18,
    KV_DBSIZE = 19,
    KV_FLUSHALL = 20,
    KV_FLUSHDB = 21,
    KV_EXPIRE = 22, /* from here on those about deadlines */
    KV_PEXPIRE = 23,
    KV_EXPIREAT = 24,
    KV_PEXPIREAT = 25,
    KV_TTL = 26,
    KV_PTTL = 27,
    KV_EXPIRETIME = 28,
    KV_PEXPIRETIME = 29,
    KV_PERSIST = 30,
    KV_GETEX = 31,
    KV_SETEX = 32,
    KV_PSETEX = 33,
    KV_CODES = 34 /* one past the last */
};

enum kv_command_flag { /* the words are Redis's */
                       KV_FLAG_WRITE = 1,
                       KV_FLAG_READONLY = 2,
                       KV_FLAG_DENYOOM = 4,   /* refused when memory is short */
                       KV_FLAG_FAST = 8,      /* O(1) or O(log n) */
                       KV_FLAG_DANGEROUS = 16 /* category @dangerous */
};

typedef void (*kv_run_fn)(struct kv *kv, struct kv_args *args, struct buf *reply);

struct kv_command {
    uint8_t code; /* enum kv_code */
    uint8_t name_len;
    int8_t arity;  /* words, name included; negative: at least so many */
    uint8_t flags; /* enum kv_command_flag */
    int8_t key_first, key_last,
        key_step;     /* places in argv; last -1: to the end; first 0: no keys */
    const char *name; /* lower case */
    const char *group, *since, *complexity, *summary;
    kv_run_fn run;
};

extern const struct kv_command kv_commands[KV_CODES]; /* by code; place 0 is empty */

/* kv_command_find - a command by its name in any case; NULL: not one of the machine's. */
const struct kv_command *kv_command_find(struct kelp_bytes name);

/* kv_command_of_code - a command by its number in the log; NULL: unknown. */
const struct kv_command *kv_command_of_code(uint8_t code);

/* kv_arity_fits - may the command have argc words, name included? */
bool kv_arity_fits(const struct kv_command *command, size_t argc);

/* kv_word_is - is the word this lower-case text, in any case? */
bool kv_word_is(struct kelp_bytes word, const char *text, size_t text_len);

#endif
