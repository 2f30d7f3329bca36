/* SPDX-License-Identifier: Apache-2.0 */
/* party.h - one to three whole nodes in one process, through the public API: opening and closing
 * them, adding to their sums, and what must hold of those. */
#ifndef TESTS_NODE_PARTY_H
#define TESTS_NODE_PARTY_H

#include <stdatomic.h>
#include <time.h>

#include "node/stage.h"

#define NODES  3u
#define LATE_S 30

struct member {
    struct kelp_node *node;
    char directory[64], peer[32], client[32];
};

static struct member members[NODES + 1]; /* by id */
static char bootstrap[2048];
static uint64_t added, uncertain; /* by add_surely: certainly there; perhaps there too */

static inline bool late(time_t since)
{
    return time(NULL) - since > LATE_S;
}

/* Between two looks at another thread's state: long enough not to burn a core. */
static inline void breathe(void)
{
    struct timespec t = {.tv_nsec = 5000000};
    (void)nanosleep(&t, NULL);
}

#define WAIT(condition)                                                                            \
    do {                                                                                           \
        time_t since = time(NULL);                                                                 \
        while (!(condition)) {                                                                     \
            if (late(since)) fail_msg("never: %s", #condition);                                    \
            breathe();                                                                             \
        }                                                                                          \
    } while (0)

static inline enum kelp_error open_with(struct member *m, const struct kelp_node_options *options,
                                        struct kelp_fault *fault)
{
    m->node = NULL;
    *fault = (struct kelp_fault){.error = KELP_OK};
    return kelp_node_open(options, &adder_ops, calloc(1, sizeof(struct adder)), &m->node, fault);
}

static inline struct kelp_node_options options_of(unsigned id)
{
    struct kelp_node_options o = stage_options(id, members[id].directory);
    o.peer = members[id].peer;
    o.advertise_client = members[id].client;
    o.bootstrap = bootstrap;
    return o;
}

static inline void member_open(unsigned id)
{
    struct kelp_node_options o = options_of(id);
    struct kelp_fault fault;
    if (open_with(&members[id], &o, &fault) != KELP_OK) fail_msg("%s: %s", fault.where, fault.what);
}

static inline void member_close(unsigned id)
{
    kelp_node_close(members[id].node);
    members[id].node = NULL;
}

static inline void stage_of(unsigned count)
{
    size_t at = 0;
    added = uncertain = 0;
    for (unsigned id = 1; id <= count; id++) {
        struct member *m = &members[id];
        stage_directory(m->directory);
        (void)snprintf(m->peer, sizeof m->peer, "127.0.0.1:%u", stage_port());
        (void)snprintf(m->client, sizeof m->client, "client-%u:%u", id, 7000 + id);
        at += (size_t)snprintf(bootstrap + at, sizeof bootstrap - at, "%s%u=%s", id > 1 ? "," : "",
                               id, m->peer);
    }
}

static inline int stage_one(void **state)
{
    (void)state;
    stage_of(1);
    return 0;
}

static inline int stage_three(void **state)
{
    (void)state;
    stage_of(NODES);
    return 0;
}

static inline int stage_unmake(void **state)
{
    (void)state;
    for (unsigned id = 1; id <= NODES; id++) {
        member_close(id);
        if (members[id].directory[0] != '\0') stage_remove(members[id].directory);
        members[id].directory[0] = '\0';
    }
    return 0;
}

static inline enum kelp_error add(unsigned id, uint64_t number, struct kelp_result *result,
                                  uint64_t *sum)
{
    uint8_t command[8], reply[8] = {0};
    put_u64(command, number);
    enum kelp_error error =
        kelp_call(members[id].node, bytes_of(command, sizeof command), reply, sizeof reply, result);
    *sum = load_u64(reply);
    return error;
}

/* The sum at this node, linearizable; UINT64_MAX if it cannot say. */
static inline uint64_t ask(unsigned id)
{
    uint8_t reply[8];
    struct kelp_result result;
    if (kelp_ask(members[id].node, bytes_of("?", 1), reply, sizeof reply, &result) != KELP_OK)
        return UINT64_MAX;
    return load_u64(reply);
}

/* Add until it is DONE. Refused and lost are definite; unknown may have happened, and is tried
 * again all the same. Returns the sum it made. */
static inline uint64_t add_surely(unsigned id, uint64_t number)
{
    struct kelp_result result;
    uint64_t sum = 0;
    time_t since = time(NULL);
    while (add(id, number, &result, &sum) != KELP_OK) {
        if (result.outcome == KELP_UNKNOWN) uncertain += number;
        if (late(since)) fail_msg("never done: %s", kelp_reason_name(result.reason));
    }
    added += number;
    return sum;
}

/* Nothing acknowledged is missing and nothing refused is there. */
static inline bool ledger_holds(uint64_t sum)
{
    return sum >= added && sum <= added + uncertain;
}

static inline bool status_says(unsigned id, const char *line)
{
    char text[8192];
    (void)kelp_node_status(members[id].node, text, sizeof text);
    return strstr(text, line) != NULL;
}

static inline uint64_t status_number(unsigned id, const char *name)
{
    char text[8192], key[64];
    (void)kelp_node_status(members[id].node, text, sizeof text);
    (void)snprintf(key, sizeof key, "\n%s:", name);
    const char *at = strstr(text, key);
    return at != NULL ? strtoull(at + strlen(key), NULL, 10) : UINT64_MAX;
}

static inline unsigned leader_of(unsigned id)
{
    return (unsigned)status_number(id, "leader_id");
}

struct tally {
    atomic_uint ended, done;
};

static inline void on_done(void *ctx, uint64_t token, const struct kelp_result *result)
{
    struct tally *t = ctx;
    assert_true(token > 0);
    atomic_fetch_add(&t->done, result->outcome == KELP_DONE);
    atomic_fetch_add(&t->ended, 1);
}

static struct tally tally;

#define ONE(name)   cmocka_unit_test_setup_teardown(name, stage_one, stage_unmake)
#define THREE(name) cmocka_unit_test_setup_teardown(name, stage_three, stage_unmake)

#endif
