/* SPDX-License-Identifier: Apache-2.0 */
/* kv_stdio.c - the state machine behind the request parser, on standard input and output, without
 * Raft.
 *
 * A test-only program for redis_oracle.py: what it answers is what a client of kelp would see, as
 * far as parser and machine decide it. Writes are applied at made-up positions, reads are
 * queries. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "kv/codec.h"
#include "kv/kv.h"
#include "proto/resp.h"
#include "proto/resp_reply.h"

#define ARGS_MAX (1024u * 1024)

static const struct resp_limits limits = {.args_max = ARGS_MAX,
                                          .bulk_bytes_max = 512u * 1024 * 1024,
                                          .inline_bytes_max = 65536,
                                          .request_bytes_max = 512u * 1024 * 1024};

static void answer(void *sink, size_t i, struct kelp_bytes bytes)
{
    (void)i;
    (void)buf_append(sink, kelp_reply_is_lost(bytes) ? bytes_of("(lost)", 6) : bytes);
}

static void execute(struct kv *kv, const struct kelp_bytes *argv, size_t argc, struct buf *out)
{
    static uint64_t index;
    const struct kv_command *command = kv_command_find(argv[0]);
    if (command == NULL) {
        (void)resp_error(out, "ERR unknown command '%.*s'", (int)argv[0].len,
                         (const char *)argv[0].data);
        return;
    }
    if (!kv_arity_fits(command, argc)) {
        (void)resp_error(out, "ERR wrong number of arguments for '%s' command", command->name);
        return;
    }
    size_t size = kv_command_size(argv, argc);
    uint8_t *payload = malloc(size);
    ASSERT(payload != NULL);
    kv_command_encode(command, argv, argc, payload);
    struct kelp_command c = {.pos = kelp_pos_of(++index, 1), .payload = bytes_of(payload, size)};
    if ((command->flags & KV_FLAG_WRITE) != 0)
        kv_fsm_ops.apply(kv, 0, &c, 1, answer, out);
    else
        kv_fsm_ops.query(kv, 0, c.payload, answer, out);
    free(payload);
}

static void flush(struct buf *out)
{
    for (size_t at = 0; at < out->len;) {
        ssize_t written = write(STDOUT_FILENO, out->data + at, out->len - at);
        if (written <= 0) exit(1);
        at += (size_t)written;
    }
    buf_clear(out);
}

int main(void)
{
    struct kv *kv = kv_new();
    struct kelp_bytes *argv = malloc(ARGS_MAX * sizeof(*argv));
    struct resp_parser parser = {0};
    struct resp_request request;
    struct buf in, out;
    buf_init(&in, (size_t)1 << 30);
    buf_init(&out, (size_t)1 << 30);
    ASSERT(kv != NULL && argv != NULL);
    bool open = true;
    while (open) {
        if (buf_reserve(&in, 65536) != KELP_OK) break;
        ssize_t got = read(STDIN_FILENO, in.data + in.len, 65536);
        if (got <= 0) break;
        in.len += (size_t)got;
        size_t used = 0;
        enum resp_result result = RESP_REQUEST;
        while (open && result == RESP_REQUEST) {
            result = resp_parse(&parser, &limits, in.data + used, in.len - used, argv, &request);
            if (result == RESP_ERROR) {
                (void)resp_error(&out, "ERR %s", request.error);
                open = false;
            } else if (result == RESP_REQUEST) {
                if (request.argc > 0) execute(kv, argv, request.argc, &out);
                used += request.used;
            }
        }
        buf_drop(&in, used);
        flush(&out);
    }
    kv_fsm_ops.close(kv);
    free(argv);
    buf_close(&in);
    buf_close(&out);
    return 0;
}
