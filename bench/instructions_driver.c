/* SPDX-License-Identifier: Apache-2.0 */
/* instructions_driver.c - three drivers with Kelp's own state machine in one process: a command
 * from the moment it is encoded to its outcome.
 *
 * The ports cost next to nothing: a save is done when the driver has said all it has to say, a
 * frame is copied once to where its receiver finds it in one piece, as a socket would. So what is
 * counted is the driver, the core, the frames and the machine of all three nodes. The log before
 * the first command is a number given at boot; of its entries only the last is ever read. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/min.h"
#include "base/prng.h"
#include "bench/instructions.h"
#include "driver/driver.h"
#include "kv/codec.h"
#include "kv/kv.h"
#include "rsm/rsm.h"
#include "wire/entry.h"

#define NODES       3u
#define ROUND_NS    UINT64_C(100000)
#define TURNS_MAX   100000u
#define ARENA_BYTES (4u << 20)
#define PACKETS_MAX 4096u
#define KEYS        1000u
#define TIMEOUT_NS  UINT64_C(5000000000)

struct packet {
    kelp_id from, to;
    enum kelp_lane lane;
    size_t at, len; /* in the arena */
};

struct trio;

struct member {
    struct trio *trio;
    kelp_id id;
    struct driver *driver;
    struct rsm *rsm;
    uint64_t save_given, save_told;
    uint64_t read_tag; /* of the tail at boot; 0: none is open */
    kelp_index read_first;
};

struct trio {
    struct member members[NODES];
    kelp_ns now;
    struct prng prng;
    kelp_index log; /* entries before the first command */
    uint8_t *arena;
    size_t arena_used;
    struct packet packets[PACKETS_MAX];
    size_t packet_first, packet_count;
    struct driver_line *line;
    kelp_id leader;
    uint64_t tokens, done, result_bytes;
};

/* ---- the ports ----------------------------------------------------------------------------- */

static void port_save(void *store, uint32_t group, const struct kelp_save *save,
                      const struct kelp_bytes *parts, size_t part_count)
{
    struct member *m = store;
    (void)group, (void)parts, (void)part_count;
    m->save_given = save->number;
}

static void port_read(void *store, uint32_t group, uint64_t tag, kelp_index first,
                      uint32_t entries_max, uint64_t bytes_max)
{
    struct member *m = store;
    (void)group, (void)entries_max, (void)bytes_max;
    must(m->read_first == 0, "the log is read more than once");
    m->read_tag = tag;
    m->read_first = first;
}

static void port_snapshot(void *store, uint32_t group, struct kelp_pos pos, struct kelp_bytes head)
{
    (void)store, (void)group, (void)pos, (void)head;
    must(false, "nobody asked for a snapshot");
}

static void port_pledge(void *store, uint32_t group, struct kelp_cluster_id cluster, uint64_t epoch)
{
    (void)store, (void)group, (void)cluster, (void)epoch;
    must(false, "the cluster is founded already");
}

static void port_idle(void *store, uint32_t group)
{
    (void)store, (void)group;
}

static const struct kelp_store_ops store_ops = {.size = sizeof(struct kelp_store_ops),
                                                .save = port_save,
                                                .read = port_read,
                                                .snapshot = port_snapshot,
                                                .pledge = port_pledge,
                                                .idle = port_idle};

static enum kelp_error port_send(void *peers, uint32_t group, kelp_id to, enum kelp_lane lane,
                                 uint64_t connection, const struct kelp_bytes *parts,
                                 size_t part_count)
{
    const struct member *m = peers;
    struct trio *t = m->trio;
    (void)group, (void)connection;
    must(t->packet_count < PACKETS_MAX, "too many frames");
    if (t->packet_count == 0) t->packet_first = t->arena_used = 0;
    struct packet *p = &t->packets[t->packet_first + t->packet_count++];
    must(p < t->packets + PACKETS_MAX, "too many frames");
    *p = (struct packet){.from = m->id, .to = to, .lane = lane, .at = t->arena_used};
    for (size_t i = 0; i < part_count; i++) {
        must(parts[i].len <= ARENA_BYTES - t->arena_used, "too many bytes");
        if (parts[i].len > 0) memcpy(t->arena + t->arena_used, parts[i].data, parts[i].len);
        t->arena_used += parts[i].len;
    }
    p->len = t->arena_used - p->at;
    t->arena_used = (t->arena_used + 7) & ~(size_t)7;
    return KELP_OK;
}

static void port_flush(void *peers)
{
    (void)peers; /* parts were copied when they were sent */
}

static uint64_t connection_of(kelp_id a, kelp_id b, enum kelp_lane lane)
{
    return (min_u64(a, b) * 16 + max_u64(a, b)) * 16 + lane + 1;
}

static uint64_t port_connection(void *peers, kelp_id to, enum kelp_lane lane)
{
    const struct member *m = peers;
    return to >= 1 && to <= NODES && to != m->id ? connection_of(m->id, to, lane) : 0;
}

static const struct kelp_peers_ops peers_ops = {.size = sizeof(struct kelp_peers_ops),
                                                .send = port_send,
                                                .flush = port_flush,
                                                .connection = port_connection};

struct reply_to {
    struct member *member;
    uint64_t first; /* index, or a query's token */
};

static void reply_of_command(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_to *to = sink;
    driver_result(to->member->driver, to->first + i, bytes);
}

static void reply_of_query(void *sink, size_t i, struct kelp_bytes bytes)
{
    const struct reply_to *to = sink;
    (void)i;
    driver_query_result(to->member->driver, to->first, bytes);
}

static void port_apply(void *machine, kelp_index first, const struct kelp_bytes *entries,
                       size_t count)
{
    struct member *m = machine;
    struct reply_to to = {m, first};
    must(rsm_apply(m->rsm, first, entries, count, reply_of_command, &to, NULL) == KELP_OK,
         "an entry was not applied");
    driver_applied(m->driver, first + count - 1);
}

static enum kelp_query port_query(void *machine, uint64_t token, struct kelp_bytes question,
                                  int may_begin)
{
    struct member *m = machine;
    struct reply_to to = {m, token};
    return rsm_query_part(m->rsm, token, question, may_begin, reply_of_query, &to);
}

static void port_query_end(void *machine, uint64_t token)
{
    struct member *m = machine;
    rsm_query_end(m->rsm, token);
}

static const struct driver_machine_ops machine_ops = {.size = sizeof(struct driver_machine_ops),
                                                      .apply = port_apply,
                                                      .query = port_query,
                                                      .query_end = port_query_end};

/* ---- one moment of all three --------------------------------------------------------------- */

static void deliver(struct trio *t)
{
    struct packet p = t->packets[t->packet_first++];
    struct wire_frame frame;
    size_t used;
    t->packet_count--;
    must(wire_frame_decode(bytes_of(t->arena + p.at, p.len), WIRE_FRAME_BODY_MAX, &frame, &used,
                           NULL) == KELP_OK,
         "a frame is not one");
    must(driver_frame(t->members[p.to - 1].driver, t->now, p.from, p.lane,
                      connection_of(p.from, p.to, p.lane), &frame, NULL) == KELP_OK,
         "a frame was refused");
}

static void tail_answer(struct member *m)
{
    uint8_t bytes[256];
    struct wire_entry e = {
        .pos = kelp_pos_of(m->read_first, 1), .type = KELP_ENTRY_NOOP, .time_ns = m->read_first};
    size_t size = wire_entry_size(&e);
    must(size <= sizeof bytes, "the entry is too large");
    wire_entry_encode(&e, bytes);
    uint64_t tag = m->read_tag;
    m->read_tag = 0;
    driver_read_done(m->driver, tag, KELP_OK, kelp_pos_of(m->read_first - 1, 1), m->read_first,
                     m->read_first, bytes_of(bytes, size));
}

static bool member_run(struct member *m)
{
    bool any = m->save_told < m->save_given;
    if (any) driver_saved(m->driver, m->save_told = m->save_given);
    if (m->read_tag != 0) tail_answer(m);
    return driver_run(m->driver, m->trio->now) <= m->trio->now || any;
}

static void settle(struct trio *t)
{
    bool any = true;
    while (any) {
        any = false;
        /* what is sent meanwhile is delivered in the next turn, from a fresh arena */
        for (size_t left = t->packet_count; left > 0; left--)
            deliver(t);
        for (size_t i = 0; i < NODES; i++)
            any = member_run(&t->members[i]) || any;
        any = any || t->packet_count > 0;
    }
}

/* ---- life ---------------------------------------------------------------------------------- */

static uint64_t random_of(void *ctx)
{
    struct member *m = ctx;
    return prng_next(&m->trio->prng);
}

static void machine_boot(struct member *m, kelp_index applied)
{
    static struct wire_snaphead head;
    uint8_t own[KELP_FSM_OWN_BYTES_MAX];
    size_t own_len = 0;
    void *snapshot = NULL;
    struct kv *kv = kv_new();
    must(kv != NULL, "no memory");
    must(kv_fsm_ops.snapshot_begin(kv, 0, own, &own_len, &snapshot) == KELP_OK, "no snapshot");
    kv_fsm_ops.snapshot_end(kv, snapshot);
    m->rsm = rsm_new(&kv_fsm_ops, kv, 0);
    must(m->rsm != NULL, "no memory");
    head.pos = kelp_pos_of(applied, 1);
    head.state_hash = kv_fsm_ops.hash(kv, 0);
    head.own = bytes_of(own, own_len);
    must(rsm_restore_begin(m->rsm, &head, NULL) == KELP_OK &&
             rsm_restore_commit(m->rsm, &head, NULL) == KELP_OK,
         "the machine does not start there");
}

static void boot(struct trio *t, kelp_id id, const struct wire_config *config)
{
    struct member *m = &t->members[id - 1];
    *m = (struct member){.trio = t, .id = id};
    machine_boot(m, t->log);
    struct driver_options options = {.core = kelp_options_default(id, id),
                                     .cluster = config->cluster,
                                     .start_count = 1,
                                     .cache_bytes_max = 4u << 20,
                                     .forward_bytes_max = 4u << 20,
                                     .line_requests_max = 16384,
                                     .random = random_of,
                                     .random_ctx = m};
    struct driver_ports ports = {.store = &store_ops,
                                 .store_ctx = m,
                                 .peers = &peers_ops,
                                 .peers_ctx = m,
                                 .machine = &machine_ops,
                                 .machine_ctx = m};
    struct kelp_run run = {.last = t->log, .term = {1}};
    struct driver_boot from = {.config = config};
    from.core = (struct kelp_boot){.term = {1},
                                   .last = t->log,
                                   .commit = t->log,
                                   .applied = t->log,
                                   .runs = &run,
                                   .run_count = 1,
                                   .runs_from = 1};
    m->driver = driver_new(&options, &ports, &from, t->now, NULL);
    must(m->driver != NULL, "a driver does not start");
}

static void connect_all(struct trio *t)
{
    for (kelp_id a = 1; a <= NODES; a++) {
        for (kelp_id b = 1; b <= NODES; b++) {
            if (a == b) continue;
            struct wire_hello hello;
            memset(&hello, 0, sizeof hello);
            driver_hello(t->members[b - 1].driver, &hello);
            for (uint32_t lane = 0; lane < KELP_LANES; lane++)
                driver_connected(t->members[a - 1].driver, t->now, b, (enum kelp_lane)lane,
                                 connection_of(a, b, (enum kelp_lane)lane), &hello);
        }
    }
}

static void done(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct trio *t = ctx;
    (void)token;
    must(o->outcome == KELP_DONE, "an operation was not done");
    t->done++;
    t->result_bytes += o->result.len;
}

static kelp_id leader_of(struct trio *t)
{
    struct driver_status status;
    for (size_t i = 0; i < NODES; i++) {
        driver_status(t->members[i].driver, &status);
        if (status.view.role == KELP_LEADER && status.view.committed_own_term) return i + 1;
    }
    return 0;
}

static struct trio *trio_new(kelp_index log)
{
    static struct wire_config config;
    struct trio *t = calloc(1, sizeof *t);
    must(t != NULL, "no memory");
    *t = (struct trio){.now = 1000000000, .prng = {.state = 1}, .log = log};
    t->arena = malloc(ARENA_BYTES);
    must(t->arena != NULL, "no memory");
    config.config = (struct kelp_config){.index = 1, .id_highest = NODES, .count = NODES};
    config.cluster = (struct kelp_cluster_id){1, 1};
    for (kelp_id id = 1; id <= NODES; id++)
        config.config.members[id - 1] = (struct kelp_member){.id = id, .role = KELP_VOTER};
    for (kelp_id id = 1; id <= NODES; id++)
        boot(t, id, &config);
    connect_all(t);
    for (uint32_t turn = 0; turn < TURNS_MAX && t->leader == 0; turn++) {
        settle(t);
        t->now += ROUND_NS;
        t->leader = leader_of(t);
    }
    must(t->leader != 0, "nobody leads");
    t->line = driver_line_open(t->members[t->leader - 1].driver, done, t);
    must(t->line != NULL, "no memory");
    return t;
}

static void trio_free(struct trio *t)
{
    driver_line_close(t->members[t->leader - 1].driver, t->line);
    for (size_t i = 0; i < NODES; i++) {
        driver_free(t->members[i].driver);
        rsm_free(t->members[i].rsm);
    }
    free(t->arena);
    free(t);
}

/* ---- the operations ------------------------------------------------------------------------ */

static void submit(struct trio *t, const char *verb)
{
    static uint8_t value[COUNT_VALUE_BYTES];
    char key[8] = "key:000";
    uint8_t question[64];
    uint64_t number = prng_below(&t->prng, KEYS);
    for (size_t i = 0; i < 3; i++, number /= 10)
        key[6 - i] = (char)('0' + number % 10);
    struct kelp_bytes argv[3] = {bytes_of(verb, 3), bytes_of(key, 7),
                                 bytes_of(value, sizeof value)};
    struct driver *d = t->members[t->leader - 1].driver;
    const struct kv_command *command = kv_command_find(argv[0]);
    bool set = (command->flags & KV_FLAG_WRITE) != 0;
    size_t argc = set ? 3 : 2, len = kv_command_size(argv, argc);
    enum kelp_reason reason;
    uint8_t *room = set ? driver_reserve(d, len, &reason) : question;
    must(room != NULL && (set || len <= sizeof question), "no room for a command");
    kv_command_encode(command, argv, argc, room);
    struct driver_question q = {.bytes = bytes_of(room, len), .deadline = t->now + TIMEOUT_NS};
    if (set)
        driver_write(d, t->now, t->line, ++t->tokens, len, bytes_of(NULL, 0), t->now + TIMEOUT_NS,
                     false);
    else
        must(driver_read(d, t->now, t->line, ++t->tokens, &q), "no memory");
}

static void rounds(struct trio *t, const char *verb, uint64_t count, uint64_t in_flight)
{
    uint64_t before = t->done;
    for (uint64_t i = 0; i < count; i++) {
        for (uint64_t k = 0; k < in_flight; k++)
            submit(t, verb);
        settle(t);
        t->now += ROUND_NS;
    }
    must(t->done - before == count * in_flight, "an operation has no outcome");
}

/* After so many the cache has turned over, so that every new entry takes the room of an old one,
 * and every key has its value. */
#define WARM_UP 400u
#define FEW     200u
#define MANY    50u

void count_driver(void)
{
    static const struct {
        kelp_index log;
        const char *set_1, *set_64, *get_1, *get_64;
    } runs[] = {
        {1000, "driver/set-1 log=1000", "driver/set-64 log=1000", "driver/get-1", "driver/get-64"},
        {1000000, "driver/set-1 log=1000000", "driver/set-64 log=1000000", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct trio *t = trio_new(runs[i].log);
        rounds(t, "SET", WARM_UP, 64);
        uint64_t bytes = t->result_bytes;
        count_begin();
        rounds(t, "SET", FEW, 1);
        count_part(runs[i].set_1, FEW);
        rounds(t, "SET", MANY, 64);
        count_end(runs[i].set_64, MANY * 64);
        must(t->result_bytes - bytes == 5 * (FEW + MANY * 64), "SET does not answer +OK");
        if (runs[i].get_1 != NULL) {
            rounds(t, "GET", FEW, 1);
            bytes = t->result_bytes;
            count_begin();
            rounds(t, "GET", FEW, 1);
            count_part(runs[i].get_1, FEW);
            rounds(t, "GET", MANY, 64);
            count_end(runs[i].get_64, MANY * 64);
            must(t->result_bytes - bytes > COUNT_VALUE_BYTES * (FEW + MANY * 64),
                 "GET does not answer the value");
        }
        trio_free(t);
    }
}
