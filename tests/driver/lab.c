/* SPDX-License-Identifier: Apache-2.0 */
/* lab.c - a few drivers in memory: see lab.h. */
#include "driver/lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "wire/entry.h"
#include "wire/snaphead.h"

struct lab_node *lab_node(struct lab *lab, kelp_id id)
{
    assert_true(id >= 1 && id <= lab->count);
    return &lab->nodes[id - 1];
}

/* ---- the store: memstore, an identity beside it, and what a boot needs ---- */

static void copy_of(uint8_t **out, size_t *out_len, struct kelp_bytes in)
{
    free(*out);
    *out = malloc(in.len + 1);
    memcpy(*out, in.data, in.len);
    *out_len = in.len;
}

/* Its configurations are what a recovery would find beside entry 1. */
static void configs_note(struct lab_node *n, const struct kelp_save *save,
                         const struct kelp_bytes *parts, size_t part_count)
{
    bool cut = (save->flags & (KELP_SAVE_TRUNCATE | KELP_SAVE_RESET)) != 0;
    while (cut && n->config_count > 0 &&
           n->configs[n->config_count - 1].config.index > save->end.index)
        n->config_count--;
    if ((save->flags & KELP_SAVE_APPEND) == 0) return;
    for (size_t i = 0; i < part_count; i++) {
        size_t used = 0;
        for (size_t at = 0; at < parts[i].len; at += used) {
            struct wire_entry e;
            struct kelp_bytes left = bytes_of(parts[i].data + at, parts[i].len - at);
            assert_int_equal(wire_entry_open(left, &e, &used, NULL), KELP_OK);
            if (e.type != KELP_ENTRY_CONFIG || e.pos.index == 1) continue;
            assert_true(n->config_count < LAB_CONFIGS);
            struct wire_config *config = &n->configs[n->config_count++];
            assert_int_equal(wire_config_decode(e.payload, e.pos.index, config, NULL), KELP_OK);
        }
    }
}

static void port_save(void *store, uint32_t group, const struct kelp_save *save,
                      const struct kelp_bytes *parts, size_t part_count)
{
    struct lab_node *n = store;
    configs_note(n, save, parts, part_count);
    if ((save->flags & KELP_SAVE_APPEND) != 0 && save->first == 1) {
        struct kelp_pos pos;
        uint8_t type;
        size_t bytes;
        assert_int_equal(wire_entry_peek(parts[0], &pos, &type, &bytes), KELP_OK);
        copy_of(&n->entry1, &n->entry1_len, bytes_of(parts[0].data, bytes));
    }
    memstore_ops.save(n->store, group, save, parts, part_count);
}

static void port_read(void *store, uint32_t group, uint64_t tag, kelp_index first,
                      uint32_t entries_max, uint64_t bytes_max)
{
    struct lab_node *n = store;
    memstore_ops.read(n->store, group, tag, first, entries_max, bytes_max);
}

static void port_snapshot(void *store, uint32_t group, struct kelp_pos pos, struct kelp_bytes head)
{
    struct lab_node *n = store;
    n->head_new_len = head.len;
    memstore_ops.snapshot(n->store, group, pos, head);
}

static void port_pledge(void *store, uint32_t group, struct kelp_cluster_id cluster, uint64_t epoch)
{
    struct lab_node *n = store;
    (void)group;
    assert_true(n->cluster.hi == 0 && n->cluster.lo == 0); /* once in a directory's life */
    n->pledging = cluster;
    n->pledging_epoch = epoch;
    n->pledge_queued = true;
}

static void port_piece(void *store, uint32_t group, uint64_t offset, struct kelp_bytes bytes,
                       bool last)
{
    struct lab_node *n = store;
    memstore_ops.piece(n->store, group, offset, bytes, last);
}

static void port_drop(void *store, uint32_t group)
{
    struct lab_node *n = store;
    memstore_ops.drop(n->store, group);
}

static void port_fetch(void *store, uint32_t group, struct kelp_pos pos, uint64_t offset)
{
    struct lab_node *n = store;
    n->fetches_closed += pos.index == 0;
    if (!n->hold_fetch) {
        memstore_ops.fetch(n->store, group, pos, offset);
        return;
    }
    assert_int_equal(n->fetch_pos.index, 0); /* one at a time */
    n->fetch_pos = pos;
    n->fetch_offset = offset;
}

static void port_forget(void *store, uint32_t group, struct kelp_pos pos)
{
    struct lab_node *n = store;
    (void)group;
    n->forgotten = pos; /* there is but one in memory */
}

static void port_apart(void *store, uint32_t group, bool apart)
{
    struct lab_node *n = store;
    (void)group;
    n->apart = apart;
}

static void port_idle(void *store, uint32_t group)
{
    struct lab_node *n = store;
    memstore_ops.idle(n->store, group);
}

static const struct kelp_store_ops store_ops = {.size = sizeof(struct kelp_store_ops),
                                                .save = port_save,
                                                .read = port_read,
                                                .snapshot = port_snapshot,
                                                .pledge = port_pledge,
                                                .idle = port_idle,
                                                .piece = port_piece,
                                                .drop = port_drop,
                                                .fetch = port_fetch,
                                                .forget = port_forget,
                                                .apart = port_apart};

static void done_saved(void *ctx, uint32_t group, uint64_t number)
{
    struct lab_node *n = ctx;
    (void)group;
    if (n->save_ms == 0 && n->late_count == 0) {
        driver_saved(n->driver, number);
        return;
    }
    assert_true(n->late_count < LAB_LATE);
    n->late[(n->late_first + n->late_count++) % LAB_LATE] =
        (struct lab_late){.number = number, .at = n->lab->now + n->save_ms * LAB_MS};
}

static void done_read(void *ctx, uint32_t group, uint64_t tag, enum kelp_error error,
                      struct kelp_pos before, kelp_index first, kelp_index last,
                      struct kelp_bytes entries)
{
    struct lab_node *n = ctx;
    (void)group;
    driver_read_done(n->driver, tag, error, before, first, last, entries);
}

static void done_snapshot(void *ctx, uint32_t group, kelp_index index, enum kelp_error error)
{
    struct lab_node *n = ctx;
    (void)group;
    if (n->head_error != KELP_OK) error = n->head_error;
    if (error == KELP_OK) n->head_len = n->head_new_len;
    driver_snapshot_done(n->driver, index, error);
}

static void done_piece(void *ctx, uint32_t group, enum kelp_error error)
{
    struct lab_node *n = ctx;
    (void)group;
    if (n->piece_error != KELP_OK) error = n->piece_error;
    driver_piece_done(n->driver, error);
}

static void done_fetched(void *ctx, uint32_t group, enum kelp_error error, uint64_t size,
                         struct kelp_bytes bytes)
{
    struct lab_node *n = ctx;
    (void)group;
    if (n->fetch_error != KELP_OK) error = n->fetch_error;
    driver_fetched(n->driver, error, size, bytes);
}

static void done_fault(void *ctx, uint32_t group, const struct kelp_fault *fault)
{
    struct lab_node *n = ctx;
    (void)group;
    driver_store_fault(n->driver, fault);
}

static void late_tell(struct lab_node *n)
{
    while (n->late_count > 0 && n->late[n->late_first].at <= n->lab->now) {
        driver_saved(n->driver, n->late[n->late_first].number);
        n->late_first = (n->late_first + 1) % LAB_LATE;
        n->late_count--;
    }
}

static void store_run(struct lab_node *n)
{
    late_tell(n);
    if (n->hold_disk) return;
    if (!n->hold_fetch && n->fetch_pos.index > 0) {
        memstore_ops.fetch(n->store, 0, n->fetch_pos, n->fetch_offset);
        n->fetch_pos = kelp_pos_of(0, 0);
    }
    if (n->pledge_queued) {
        n->pledge_queued = false;
        n->cluster = n->pledging;
        n->epoch = n->pledging_epoch;
        driver_pledged(n->driver);
    }
    (void)memstore_run(n->store);
}

/* ---- the network ---- */

static void packet_push(struct lab *lab, struct lab_packet packet)
{
    if (lab->packet_count == lab->packet_room) {
        lab->packet_room = lab->packet_room * 2 + 64;
        lab->packets = realloc(lab->packets, lab->packet_room * sizeof packet);
    }
    lab->packets[lab->packet_count++] = packet;
}

void lab_inject(struct lab *lab, const struct lab_packet *packet)
{
    struct lab_packet copy = *packet;
    copy.data = malloc(packet->len);
    memcpy(copy.data, packet->data, packet->len);
    packet_push(lab, copy);
}

/* Behind what waits there already: a lane is a queue. */
static kelp_ns lane_due(struct lab_node *n, kelp_id to, enum kelp_lane lane, size_t len)
{
    uint64_t rate = n->lab->snapshot_rate;
    if (lane != KELP_LANE_SNAPSHOT || rate == 0) return 0;
    struct lab_link *link = &n->links[to - 1][lane];
    if (link->busy < n->lab->now) link->busy = n->lab->now;
    link->busy += len * 1000 * LAB_MS / rate;
    return link->busy;
}

void lab_stall(struct lab *lab, kelp_id a, kelp_id b, uint64_t ms)
{
    for (size_t i = 0; i < lab->packet_count; i++) {
        struct lab_packet *p = &lab->packets[i];
        if (p->from == a && p->to == b && p->lane == KELP_LANE_SNAPSHOT) p->due += ms * LAB_MS;
    }
    lab_node(lab, a)->links[b - 1][KELP_LANE_SNAPSHOT].busy += ms * LAB_MS;
}

static enum kelp_error port_send(void *peers, uint32_t group, kelp_id to, enum kelp_lane lane,
                                 uint64_t connection, const struct kelp_bytes *parts,
                                 size_t part_count)
{
    struct lab_node *n = peers;
    (void)group;
    if (to > n->lab->count) return KELP_E_CLOSED; /* it waits for its id: no such node is here */
    const struct lab_link *link = &n->links[to - 1][lane];
    uint64_t now = link->newer != 0 ? link->newer : link->connection;
    if (connection != 0 && connection == link->connection) now = connection;
    if (now == 0 || (connection != 0 && connection != now)) return KELP_E_CLOSED;
    if (connection != 0 && n->no_room) return KELP_E_LIMIT;
    struct lab_packet p = {.from = n->id, .to = to, .lane = (uint8_t)lane, .connection = now};
    for (size_t i = 0; i < part_count; i++)
        p.len += parts[i].len;
    p.data = malloc(p.len);
    size_t at = 0;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0) memcpy(p.data + at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    p.due = lane_due(n, to, lane, p.len);
    struct lab *lab = n->lab;
    bool drop = prng_chance(&lab->prng, lab->loss, 1000);
    if (lab->watch != NULL && !lab->watch(lab, &p, lab->watch_ctx)) drop = true;
    if (!drop && prng_chance(&lab->prng, lab->twice, 1000)) lab_inject(lab, &p);
    if (drop)
        free(p.data);
    else
        packet_push(lab, p);
    return KELP_OK;
}

static void port_flush(void *peers)
{
    (void)peers; /* parts were copied when they were sent */
}

static uint64_t port_connection(void *peers, kelp_id to, enum kelp_lane lane)
{
    struct lab_node *n = peers;
    if (to < 1 || to > n->lab->count) return 0;
    const struct lab_link *link = &n->links[to - 1][lane];
    return link->newer != 0 ? link->newer : link->connection;
}

static const struct kelp_peers_ops peers_ops = {.size = sizeof(struct kelp_peers_ops),
                                                .send = port_send,
                                                .flush = port_flush,
                                                .connection = port_connection};

static void deliver(struct lab *lab, struct lab_packet *p)
{
    struct lab_node *to = lab_node(lab, p->to), *from = lab_node(lab, p->from);
    const struct lab_link *link = &to->links[p->from - 1][p->lane];
    bool open = to->up && (link->connection == p->connection || link->newer == p->connection);
    if (open && !to->cut && !from->cut) {
        struct wire_frame frame;
        size_t used;
        struct kelp_fault fault = {.error = KELP_OK};
        assert_int_equal(wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &frame,
                                           &used, &fault),
                         KELP_OK);
        enum kelp_error error =
            driver_frame(to->driver, lab->now, p->from, p->lane, p->connection, &frame, &fault);
        if (error == KELP_E_FOREIGN) /* of another epoch: they shake hands anew */
            lab_disconnect(lab, p->from, p->to);
        else if (error != KELP_OK)
            fail_msg("frame refused: %s", fault.what);
    }
    free(p->data);
}

static bool judge(struct lab_node *on, struct lab_node *other, struct wire_hello *hello)
{
    memset(hello, 0, sizeof *hello);
    driver_hello(other->driver, hello);
    hello->to = on->id;
    hello->peer = other->address;
    if (other->older) hello->features &= ~(uint64_t)WIRE_FEATURE_RESTORE;
    struct wire_judge rules;
    struct wire_refuse refuse;
    driver_judge(on->driver, &rules);
    memset(&refuse, 0, sizeof refuse);
    if (wire_hello_judge(&rules, hello, &refuse) == 0) return true;
    other->refused = true;
    driver_refused(other->driver, on->id, &refuse);
    return false;
}

static void connect_pair(struct lab *lab, struct lab_node *a, struct lab_node *b)
{
    if (!a->up || !b->up || a->cut || b->cut || a->links[b->id - 1][0].connection != 0) return;
    struct wire_hello of_a, of_b;
    if (!judge(a, b, &of_b) || !judge(b, a, &of_a)) return;
    for (uint8_t lane = 0; lane < KELP_LANES; lane++) {
        uint64_t connection = ++lab->connections;
        a->links[b->id - 1][lane].connection = b->links[a->id - 1][lane].connection = connection;
        a->links[b->id - 1][lane].busy = b->links[a->id - 1][lane].busy = 0;
        driver_connected(a->driver, lab->now, b->id, lane, connection, &of_b);
        driver_connected(b->driver, lab->now, a->id, lane, connection, &of_a);
    }
}

void lab_connect_newer(struct lab *lab, kelp_id first, kelp_id second, enum kelp_lane lane)
{
    struct lab_node *a = lab_node(lab, first), *b = lab_node(lab, second);
    struct wire_hello of_a, of_b;
    assert_true(judge(a, b, &of_b) && judge(b, a, &of_a));
    uint64_t connection = ++lab->connections;
    a->links[second - 1][lane].newer = b->links[first - 1][lane].newer = connection;
    driver_connected(a->driver, lab->now, second, lane, connection, &of_b);
    driver_connected(b->driver, lab->now, first, lane, connection, &of_a);
}

void lab_disconnect_older(struct lab *lab, kelp_id first, kelp_id second, enum kelp_lane lane)
{
    struct lab_node *a = lab_node(lab, first), *b = lab_node(lab, second);
    uint64_t older = a->links[second - 1][lane].connection;
    a->links[second - 1][lane] = b->links[first - 1][lane] =
        (struct lab_link){.connection = a->links[second - 1][lane].newer};
    driver_disconnected(a->driver, lab->now, second, lane, older);
    driver_disconnected(b->driver, lab->now, first, lane, older);
}

void lab_disconnect(struct lab *lab, kelp_id first, kelp_id second)
{
    struct lab_node *a = lab_node(lab, first), *b = lab_node(lab, second);
    for (uint8_t lane = 0; lane < KELP_LANES; lane++) {
        uint64_t connection = a->links[second - 1][lane].connection;
        a->links[second - 1][lane].connection = b->links[first - 1][lane].connection = 0;
        if (connection == 0) continue;
        if (a->up) driver_disconnected(a->driver, lab->now, second, lane, connection);
        if (b->up) driver_disconnected(b->driver, lab->now, first, lane, connection);
    }
}

/* ---- nodes ---- */

static uint64_t lab_wall(void *ctx)
{
    const struct lab_node *n = ctx;
    return n->id * LAB_WALL_HOURS + n->lab->now / LAB_MS;
}

static uint64_t lab_random(void *ctx)
{
    struct lab_node *n = ctx;
    return prng_next(&n->lab->prng);
}

static void lab_note(void *ctx, int level, const char *line)
{
    struct lab_node *n = ctx;
    (void)level;
    (void)snprintf(n->note, sizeof n->note, "%s", line);
}

static void directory_new(struct lab_node *n)
{
    struct kelp_store_done done = {.size = sizeof done,
                                   .ctx = n,
                                   .saved = done_saved,
                                   .read = done_read,
                                   .snapshot = done_snapshot,
                                   .fault = done_fault,
                                   .piece = done_piece,
                                   .fetched = done_fetched};
    memstore_free(n->store);
    free(n->entry1);
    n->entry1 = NULL;
    n->entry1_len = n->head_len = n->head_new_len = n->config_count = 0;
    n->cluster = (struct kelp_cluster_id){0, 0};
    n->epoch = 0;
    n->apart = false;
    n->incarnation = prng_next(&n->lab->prng) | 1;
    n->start_count = 0;
    n->store = memstore_new(&done);
}

struct lab *lab_new(size_t count, uint64_t seed)
{
    assert_true(count >= 1 && count <= LAB_NODES);
    struct lab *lab = calloc(1, sizeof *lab);
    lab->count = lab->founders = count;
    lab->prng.state = seed;
    lab->now = 1000 * LAB_MS;
    lab->cache_bytes_max = lab->forward_bytes_max = 64u << 20;
    lab->line_requests_max = 16384;
    lab->limits = kelp_options_default(1, 1).limits;
    for (size_t i = 0; i < count; i++) {
        struct lab_node *n = &lab->nodes[i];
        n->lab = lab;
        n->id = i + 1;
        lab->listed[i].id = n->id;
        (void)snprintf(lab->listed[i].peer.text, WIRE_ADDRESS_MAX, "node%zu:7101", i + 1);
        directory_new(n);
    }
    return lab;
}

/* The newest two in log and snapshot; the newest is the first. */
static void boot_configs(struct lab_node *n, struct driver_boot *boot, struct wire_config config[2])
{
    if (boot->snapshot_config != NULL) config[0] = *boot->snapshot_config;
    for (size_t i = 0; i < n->config_count; i++) {
        kelp_index index = n->configs[i].config.index;
        if (index <= config[0].config.index || index > boot->core.last) continue;
        config[1] = config[0];
        config[0] = n->configs[i];
        boot->config_before = &config[1];
    }
}

/* What recovery would find: the newest snapshot, and configurations. */
static bool boot_make(struct lab_node *n, struct driver_boot *boot, struct wire_config config[2],
                      struct wire_snaphead *head)
{
    memset(boot, 0, sizeof *boot);
    memstore_boot(n->store, &boot->core);
    if (boot->core.last == 0 && boot->core.base.index == 0) return false;
    struct wire_entry e;
    size_t used;
    if (n->entry1_len > 0) { /* it was there once: who began with a snapshot never had it */
        assert_int_equal(wire_entry_decode(bytes_of(n->entry1, n->entry1_len), &e, &used, NULL), 0);
        assert_int_equal(wire_config_decode(e.payload, 1, &config[0], NULL), KELP_OK);
    }
    boot->config = &config[0];
    boot->apart = n->apart;
    if (boot->core.base.index == 0) boot->entry1 = bytes_of(n->entry1, n->entry1_len);
    head->pos.index = 0;
    struct kelp_bytes file = memstore_file(n->store, &n->head_len);
    if (file.len == 0) {
        boot_configs(n, boot, config);
        return true;
    }
    assert_int_equal(wire_snaphead_decode(bytes_of(file.data, n->head_len), head, &used, NULL), 0);
    boot->core.applied = head->pos.index;
    boot->core.snapshot = head->pos;
    if (boot->core.commit < head->pos.index) boot->core.commit = head->pos.index;
    boot->time_ns = head->time_ns;
    boot->snapshot = head->pos;
    boot->snapshot_config = &head->config;
    boot_configs(n, boot, config);
    return true;
}

static void machine_restore(struct lab_node *n, const struct wire_snaphead *head)
{
    struct kelp_bytes in = memstore_file(n->store, &n->head_len);
    assert_int_equal(rsm_restore_begin(n->rsm, head, NULL), KELP_OK);
    for (uint64_t at = 0; at < head->object_bytes;) {
        struct wire_snapplace place = {.pos = head->pos, .offset = at};
        struct kelp_bytes rest = bytes_of(in.data + n->head_len + at, in.len - n->head_len - at);
        struct wire_snapchunk chunk;
        struct wire_object object;
        size_t used;
        assert_int_equal(wire_snapchunk_open(rest, place, &chunk, &used, NULL), KELP_OK);
        while (wire_object_next(&chunk, &object, NULL) == KELP_OK)
            assert_int_equal(rsm_restore_object(n->rsm, &object, NULL), KELP_OK);
        at += used;
    }
    assert_int_equal(rsm_restore_commit(n->rsm, head, NULL), KELP_OK);
}

void lab_start(struct lab *lab, kelp_id id)
{
    struct lab_node *n = lab_node(lab, id);
    assert_false(n->up);
    n->start_count++;
    n->refused = false;
    n->machine = calloc(1, sizeof *n->machine);
    n->machine->objects = lab->snapshot_objects;
    n->rsm = rsm_new(lab_machine_ops(n->machine), n->machine, 0);
    struct driver_boot boot;
    struct wire_config config[2];
    struct wire_snaphead head;
    if (boot_make(n, &boot, config, &head) && head.pos.index != 0) machine_restore(n, &head);
    struct driver_options o = {
        .core = kelp_options_default(id, prng_next(&lab->prng)),
        .cluster = n->cluster,
        .epoch = n->epoch,
        .incarnation = n->incarnation,
        .start_count = n->start_count,
        .bootstrap = lab->listed,
        .bootstrap_count = id <= lab->founders ? lab->founders : 0,
        .cache_bytes_max = lab->cache_bytes_max,
        .forward_bytes_max = lab->forward_bytes_max,
        .answer_bytes_max = lab->answer_bytes_max,
        .reads_elsewhere = lab->reads_elsewhere,
        .line_requests_max = lab->line_requests_max,
        .snapshots = lab->snapshots,
        .peer = n->address,
        .joins = n->joins,
        .moves = n->moves,
        .wall_unix_ms = 1700000000000,
        .random = lab_random,
        .wall = lab_wall,
        .random_ctx = n,
        .note = lab_note,
        .watch_ctx = n,
    };
    o.core.lease = lab->lease;
    if (lab->election_min != 0) o.core.election_min = lab->election_min;
    o.snapshots.entries = lab->snapshot_every;
    o.snapshots.chunk_bytes = 1;
    o.core.limits = lab->limits;
    o.core.apply_durable_only = lab->durable_only;
    if (lab->snapshot_every > 0) o.core.trailing_entries = 8;
    if (lab->forgets) o.core.hold_bytes = 0;
    if (lab->trailing > 0) o.core.trailing_entries = lab->trailing;
    struct driver_ports ports = {.store = &store_ops,
                                 .store_ctx = n,
                                 .peers = &peers_ops,
                                 .peers_ctx = n,
                                 .machine = &lab_ports,
                                 .machine_ctx = n};
    struct kelp_fault fault = {.error = KELP_OK};
    n->driver = driver_new(&o, &ports, &boot, lab->now, &fault);
    if (n->driver == NULL) fail_msg("node %d: %s", (int)id, fault.what);
    n->up = true;
}

void lab_start_all(struct lab *lab)
{
    for (kelp_id id = 1; id <= lab->count; id++)
        lab_start(lab, id);
}

static void node_drop(struct lab_node *n)
{
    driver_free(n->driver);
    n->driver = NULL;
    rsm_free(n->rsm);
    n->rsm = NULL;
    n->machine = NULL;
    for (size_t i = 0; i < n->held_count; i++)
        free(n->held[i]);
    n->held_count = 0;
    n->hold_apply = n->hold_disk = n->hold_fetch = n->pledge_queued = false;
    n->fetch_pos = kelp_pos_of(0, 0);
    n->late_count = 0;
}

void lab_crash(struct lab *lab, kelp_id id)
{
    struct lab_node *n = lab_node(lab, id);
    if (!n->up) return;
    n->up = false;
    memstore_crash(n->store);
    node_drop(n);
    for (kelp_id other = 1; other <= lab->count; other++) {
        if (other != id) lab_disconnect(lab, id, other);
    }
}

void lab_wipe(struct lab *lab, kelp_id id)
{
    lab_crash(lab, id);
    directory_new(lab_node(lab, id));
}

void lab_free(struct lab *lab)
{
    for (size_t i = 0; i < lab->count; i++) {
        struct lab_node *n = &lab->nodes[i];
        node_drop(n);
        memstore_free(n->store);
        free(n->entry1);
    }
    for (size_t i = 0; i < lab->packet_count; i++)
        free(lab->packets[i].data);
    free(lab->packets);
    free(lab);
}

/* ---- time ---- */

static kelp_ns run_once(struct lab_node *n)
{
    n->machine->objects_run = 0;
    return driver_run(n->driver, n->lab->now);
}

static void tick(struct lab *lab)
{
    lab->now += LAB_MS;
    for (size_t a = 0; a < lab->count; a++) {
        for (size_t b = a + 1; b < lab->count; b++)
            connect_pair(lab, &lab->nodes[a], &lab->nodes[b]);
    }
    struct lab_packet *due = lab->packets;
    size_t count = lab->packet_count;
    lab->packets = NULL;
    lab->packet_count = lab->packet_room = 0;
    for (size_t i = 0; i < count; i++) {
        if (due[i].due > lab->now)
            packet_push(lab, due[i]);
        else
            deliver(lab, &due[i]);
    }
    free(due);
    for (size_t i = 0; i < lab->count; i++) {
        struct lab_node *n = &lab->nodes[i];
        if (!n->up) continue;
        store_run(n);
        for (int turn = 0; turn < 100 && run_once(n) <= lab->now; turn++)
            store_run(n);
        struct kelp_fault fault = {.error = KELP_OK};
        if (driver_check(n->driver, &fault) != KELP_OK) fail_msg("node %zu: %s", i + 1, fault.what);
    }
}

void lab_run(struct lab *lab, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++)
        tick(lab);
}

static struct driver_status shared_status;

struct driver_status *lab_status(struct lab *lab, kelp_id id)
{
    driver_status(lab_node(lab, id)->driver, &shared_status);
    return &shared_status;
}

kelp_id lab_leader(struct lab *lab)
{
    kelp_id leader = 0;
    uint64_t term = 0;
    for (kelp_id id = 1; id <= lab->count; id++) {
        if (!lab_node(lab, id)->up) continue;
        const struct kelp_view *v = &lab_status(lab, id)->view;
        if (v->role != KELP_LEADER || v->term.v <= term || !v->committed_own_term) continue;
        leader = id;
        term = v->term.v;
    }
    return leader;
}

kelp_id lab_await_leader(struct lab *lab)
{
    for (int i = 0; i < 30000; i++) {
        kelp_id leader = lab_leader(lab);
        if (leader != 0) return leader;
        tick(lab);
    }
    fail_msg("no leader within 30 s");
    return 0;
}
