/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h - driving a state machine in tests: commands as text, replies as text. */
#ifndef TESTS_KV_MACHINE_H
#define TESTS_KV_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/min.h"
#include "base/prng.h"
#include "kv/codec.h"
#include "kv/kv.h"

#define WORDS_MAX 64u

struct answer {
    struct buf text;
    size_t calls;
};

static inline void answer_take(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct answer *a = sink;
    assert_int_equal(i, 0);
    a->calls++;
    (void)buf_append(&a->text, kelp_reply_is_lost(bytes) ? bytes_of("(lost)", 6) : bytes);
}

static inline struct kelp_bytes text_bytes(const char *text)
{
    return bytes_of(text, strlen(text));
}

enum way { BY_LOG, BY_QUERY };

/* The reply to a payload; the caller frees it. A zero byte follows its end. */
static inline struct buf payload_reply(struct kv *kv, struct kelp_bytes payload, enum way way)
{
    struct answer a = {0};
    buf_init(&a.text, 64u << 20);
    struct kelp_command command = {.pos = kelp_pos_of(1, 1), .payload = payload};
    if (way == BY_LOG)
        kv_fsm_ops.apply(kv, 0, &command, 1, answer_take, &a);
    else
        kv_fsm_ops.query(kv, 0, payload, answer_take, &a);
    assert_int_equal(a.calls, 1);
    (void)buf_append(&a.text, bytes_of("", 1));
    assert_int_equal(a.text.error, KELP_OK);
    a.text.len--;
    return a.text;
}

/* The encoded command; the caller closes it. */
static inline struct buf payload_of(const struct kelp_bytes *argv, size_t argc)
{
    const struct kv_command *command = kv_command_find(argv[0]);
    assert_non_null(command);
    struct buf payload;
    size_t size = kv_command_size(argv, argc);
    buf_init(&payload, size);
    assert_int_equal(buf_reserve(&payload, size), KELP_OK);
    kv_command_encode(command, argv, argc, payload.data);
    payload.len = size;
    return payload;
}

static inline struct buf argv_reply(struct kv *kv, const struct kelp_bytes *argv, size_t argc,
                                    enum way way)
{
    struct buf payload = payload_of(argv, argc);
    struct buf reply = payload_reply(kv, buf_bytes(&payload), way);
    buf_close(&payload);
    return reply;
}

/* Words apart by one blank; "" is an empty word. */
static inline size_t words_cut(const char *line, struct kelp_bytes *argv)
{
    size_t argc = 0;
    for (;;) {
        size_t len = strcspn(line, " ");
        assert_true(argc < WORDS_MAX);
        argv[argc++] =
            len == 2 && memcmp(line, "\"\"", 2) == 0 ? bytes_of(line, 0) : bytes_of(line, len);
        if (line[len] == 0) return argc;
        line += len + 1;
    }
}

/* The command goes through the log; its reply must be exactly this. */
static inline void says(struct kv *kv, const char *line, const char *wanted)
{
    struct kelp_bytes argv[WORDS_MAX];
    size_t argc = words_cut(line, argv);
    struct buf reply = argv_reply(kv, argv, argc, BY_LOG);
    assert_string_equal((const char *)reply.data, wanted);
    assert_int_equal(reply.len, strlen(wanted));
    buf_close(&reply);
}

/* The same as a query. */
static inline void asks(struct kv *kv, const char *line, const char *wanted)
{
    struct kelp_bytes argv[WORDS_MAX];
    size_t argc = words_cut(line, argv);
    struct buf reply = argv_reply(kv, argv, argc, BY_QUERY);
    assert_string_equal((const char *)reply.data, wanted);
    buf_close(&reply);
}

/* The command, whatever it answers. */
static inline void runs(struct kv *kv, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void runs(struct kv *kv, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    assert_in_range(vsnprintf(line, sizeof(line), format, args), 1, sizeof(line) - 1);
    va_end(args);
    struct kelp_bytes argv[WORDS_MAX];
    size_t argc = words_cut(line, argv);
    struct buf reply = argv_reply(kv, argv, argc, BY_LOG);
    assert_true(reply.len > 0 && reply.data[0] != '-');
    buf_close(&reply);
}

static inline uint64_t hash_of(struct kv *kv)
{
    return kv_fsm_ops.hash(kv, 0);
}

static inline int machine_open(void **state)
{
    *state = kv_new();
    return *state == NULL;
}

static inline int machine_close(void **state)
{
    kv_fsm_ops.close(*state);
    return 0;
}

#define MACHINE_TEST(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, machine_open, machine_close)

#endif
