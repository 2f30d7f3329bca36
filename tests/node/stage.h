/* SPDX-License-Identifier: Apache-2.0 */
/* stage.h - what the tests of the node share: directories that vanish, free ports, and a small
 * state machine.
 *
 * The machine adds: a command is a number of 8 bytes, the reply and the answer to any question are
 * the sum. Its whole state fits into a snapshot's head, so it may be declared disposable. */
#ifndef TESTS_NODE_STAGE_H
#define TESTS_NODE_STAGE_H

#include <arpa/inet.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "kelp/node.h"

#ifdef __SANITIZE_THREAD__
/* libuv closes descriptors by a bare system call, which the sanitizer does not see: it takes the
 * next file that gets the same number for the old socket. Its library must find this: hence the
 * visibility. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:^posix_";
}
#endif

static inline int stage_remove_one(const char *path, const struct stat *st, int flag,
                                   struct FTW *where)
{
    (void)st, (void)flag, (void)where;
    return remove(path);
}

static inline void stage_remove(const char *path)
{
    (void)nftw(path, stage_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void stage_directory(char out[64])
{
    (void)snprintf(out, 64, "/tmp/kelp-test-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static inline unsigned stage_port_free(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)close(fd);
    return ntohs(at.sin_port);
}

/* Free, and none of the last ones that were given: the system may name one twice. */
static inline unsigned stage_port(void)
{
    static unsigned given[16], count;
    unsigned port = 0, i = 0;
    while (i < 16) {
        port = stage_port_free();
        for (i = 0; i < 16 && given[i] != port; i++) {
        }
    }
    given[count++ % 16] = port;
    return port;
}

struct adder {
    uint64_t sum, count;
};

static inline void adder_say(const struct adder *a, kelp_reply_fn reply, void *sink, size_t i)
{
    uint8_t out[8];
    put_u64(out, a->sum);
    reply(sink, i, bytes_of(out, sizeof out));
}

static inline void adder_apply(void *fsm, uint32_t group, const struct kelp_command *commands,
                               size_t count, kelp_reply_fn reply, void *sink)
{
    struct adder *a = fsm;
    (void)group;
    for (size_t i = 0; i < count; i++) {
        if (commands[i].payload.len >= 8) a->sum += load_u64(commands[i].payload.data);
        a->count++;
        adder_say(a, reply, sink, i);
    }
}

static inline void adder_query(void *fsm, uint32_t group, struct kelp_bytes question,
                               kelp_reply_fn reply, void *sink)
{
    (void)group, (void)question;
    adder_say(fsm, reply, sink, 0);
}

static inline enum kelp_error adder_begin(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                          void **snapshot)
{
    (void)group, (void)snapshot;
    memcpy(own, fsm, sizeof(struct adder));
    *own_len = sizeof(struct adder);
    return KELP_OK;
}

static inline void adder_end(void *fsm, void *snapshot)
{
    (void)fsm, (void)snapshot;
}

static inline enum kelp_error adder_restore(void *fsm, uint32_t group, struct kelp_pos pos,
                                            uint64_t time_ns, struct kelp_bytes own, void **restore)
{
    (void)group, (void)pos, (void)time_ns, (void)restore;
    if (own.len != sizeof(struct adder)) return KELP_E_MALFORMED;
    memcpy(fsm, own.data, own.len);
    return KELP_OK;
}

static inline enum kelp_error adder_commit(void *fsm, void *restore)
{
    (void)fsm, (void)restore;
    return KELP_OK;
}

static inline uint64_t adder_hash(void *fsm, uint32_t group)
{
    (void)group;
    const struct adder *a = fsm;
    return a->sum * 31 + a->count;
}

static const struct kelp_fsm_ops adder_ops = {
    .size = sizeof(struct kelp_fsm_ops),
    .flags = KELP_FSM_IN_MEMORY | KELP_FSM_DISPOSABLE,
    .apply = adder_apply,
    .query = adder_query,
    .snapshot_begin = adder_begin,
    .snapshot_end = adder_end,
    .restore_begin = adder_restore,
    .restore_commit = adder_commit,
    .restore_abort = adder_end,
    .hash = adder_hash,
    .close = free,
};

static inline void stage_silent(void *ctx, enum kelp_level level, const char *line)
{
    if (getenv("KELP_TEST_LOG") != NULL)
        fprintf(stderr, "%s %d %s\n", (const char *)ctx, level, line);
}

/* Small files and fast timers; a request has time on the slowest machine. */
static inline struct kelp_node_options stage_options(kelp_id id, const char *data)
{
    struct kelp_node_options o = kelp_node_options_default(id, data);
    o.raft.heartbeat = 20000000;
    o.raft.election_min = 150000000;
    o.raft.election_max = 300000000;
    o.segment_bytes = 1024 * 1024;
    o.request_timeout = UINT64_C(20000000000);
    o.log = stage_silent;
    static const char *const names[] = {"?", "n1", "n2", "n3", "n4"};
    o.log_ctx = (void *)(uintptr_t)names[id < 5 ? id : 0];
    return o;
}

#endif
