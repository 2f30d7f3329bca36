/* SPDX-License-Identifier: Apache-2.0 */
/* handshake.c - the first frame each way, the refusal, the table of addresses, and the judgement.
 *
 *   hello                                      refusal
 *   offset  size  field                        offset  size  field
 *        0     2  length, 2..1024                   0     2  length, 2..512
 *        2     2  version_min, 1..                  2     1  reason     enum wire_refusal
 *        4     2  version_max                       3     8  node       the refuser, may be 0
 *        6     1  lane   enum kelp_lane            11    16  cluster    the refuser's: hi, lo
 *        7     1  flags  1 answer, 2 empty         27     8  incarnation  on record, 0: none
 *        8     8  features                         35     8  since      Unix ms, 0: not known
 *       16    16  cluster  hi, lo                  43     8  next_id    0: not known
 *       32     8  epoch, as in epoch.h             51   1+n  words      a text as in wire.c
 *       40     8  node, not 0                             8  epoch      the refuser's; if not 0
 *       48     8  to, 0: anybody               table of addresses
 *       56     8  incarnation                       0     2  count, rows
 *       64     8  connection                        2        the rows, each
 *       72     8  election_min, ns                        2  length of the row
 *       80     8  election_max, ns                        8  id, not 0, once in the table
 *       88     8  heartbeat, ns                           8  version
 *       96     4  drift, parts in a million             1+n  peer address   (a text as in wire.c)
 *      100   1+n  peer address                          1+n  client address
 *            1+n  client address                        1+n  HTTP address
 *            1+n  HTTP address
 *
 * Hello, refusal and row are self-sized: a newer node may append fields, so that two versions can
 * at least tell each other that they differ. Nothing follows hello, refusal and table.
 *
 * The judgement knows only what is *committed*: an uncommitted removal refuses nobody, and the
 * sender may hold the entry that adds it, so membership is never asked for. */
#include "wire/handshake.h"

#include "wire/epoch.h"
#include "wire/wire.h"

#define HELLO_ANSWER 1u
#define HELLO_EMPTY  2u

_Static_assert(100 + 3 * WIRE_ADDRESS_MAX <= WIRE_HELLO_MAX, "a hello fits");
_Static_assert(59 + sizeof((struct wire_refuse){0}.words) <= WIRE_REFUSE_MAX, "a refusal fits");
_Static_assert(2 + KELP_MEMBERS_MAX * (2 + 8 + 8 + 3 * WIRE_ADDRESS_MAX) <= WIRE_ADDRESSES_MAX,
               "the largest table fits");

/* NULL, or the rule that is broken. */
static const char *hello_wrong(const struct wire_hello *h)
{
    if (h->node == 0) return "a hello comes from nobody";
    if (h->version_min == 0 || h->version_max < h->version_min)
        return "the version range of a hello is empty";
    if (h->lane >= KELP_LANES) return "the lane of a hello is not known";
    return NULL;
}

size_t wire_hello_encode(const struct wire_hello *h, uint8_t *out)
{
    ASSERT(hello_wrong(h) == NULL);
    struct writer w = part_begin(out, WIRE_HELLO_MAX);
    write_u16(&w, h->version_min);
    write_u16(&w, h->version_max);
    write_u8(&w, h->lane);
    write_u8(&w, (uint8_t)((h->answer ? HELLO_ANSWER : 0) | (h->empty ? HELLO_EMPTY : 0)));
    write_u64(&w, h->features);
    write_cluster(&w, h->cluster);
    write_u64(&w, h->epoch);
    write_u64(&w, h->node);
    write_u64(&w, h->to);
    write_u64(&w, h->incarnation);
    write_u64(&w, h->connection);
    write_u64(&w, h->election_min_ns);
    write_u64(&w, h->election_max_ns);
    write_u64(&w, h->heartbeat_ns);
    write_u32(&w, h->drift_ppm);
    write_address(&w, &h->peer);
    write_address(&w, &h->client);
    write_address(&w, &h->http);
    return part_end(&w);
}

enum kelp_error wire_hello_decode(struct kelp_bytes in, struct wire_hello *out,
                                  struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader r = part_open(in, &rest);
    memset(out, 0, sizeof *out);
    out->version_min = read_u16(&r);
    out->version_max = read_u16(&r);
    out->lane = read_u8(&r);
    unsigned flags = read_u8(&r);
    out->answer = (flags & HELLO_ANSWER) != 0;
    out->empty = (flags & HELLO_EMPTY) != 0;
    out->features = read_u64(&r);
    out->cluster = read_cluster(&r);
    out->epoch = read_u64(&r);
    out->node = read_u64(&r);
    out->to = read_u64(&r);
    out->incarnation = read_u64(&r);
    out->connection = read_u64(&r);
    out->election_min_ns = read_u64(&r);
    out->election_max_ns = read_u64(&r);
    out->heartbeat_ns = read_u64(&r);
    out->drift_ppm = read_u32(&r);
    read_address(&r, &out->peer);
    read_address(&r, &out->client);
    read_address(&r, &out->http);
    if (r.failed) return wire_malformed(fault, "a hello is cut, or an address is wrong");
    if (rest.len != 0 || in.len > WIRE_HELLO_MAX)
        return wire_malformed(fault, "a hello is too long");
    if (flags > (HELLO_ANSWER | HELLO_EMPTY))
        return wire_malformed(fault, "a flag of a hello is not known");
    const char *wrong = hello_wrong(out);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}

size_t wire_refuse_encode(const struct wire_refuse *r, uint8_t *out)
{
    ASSERT(r->reason >= WIRE_REFUSE_VERSION && r->reason <= WIRE_REFUSE_WIPED);
    struct writer w = part_begin(out, WIRE_REFUSE_MAX);
    write_u8(&w, r->reason);
    write_u64(&w, r->node);
    write_cluster(&w, r->cluster);
    write_u64(&w, r->incarnation);
    write_u64(&w, r->since_unix_ms);
    write_u64(&w, r->next_id);
    write_text(&w, r->words, sizeof r->words);
    if (r->epoch != 0) write_u64(&w, r->epoch);
    return part_end(&w);
}

enum kelp_error wire_refuse_decode(struct kelp_bytes in, struct wire_refuse *out,
                                   struct kelp_fault *fault)
{
    struct kelp_bytes rest;
    struct reader r = part_open(in, &rest);
    memset(out, 0, sizeof *out);
    out->reason = read_u8(&r);
    out->node = read_u64(&r);
    out->cluster = read_cluster(&r);
    out->incarnation = read_u64(&r);
    out->since_unix_ms = read_u64(&r);
    out->next_id = read_u64(&r);
    read_text(&r, out->words, sizeof out->words);
    if (!r.failed && reader_left(&r) >= 8) out->epoch = read_u64(&r);
    if (r.failed) return wire_malformed(fault, "a refusal is cut, or its words are not text");
    if (rest.len != 0 || in.len > WIRE_REFUSE_MAX)
        return wire_malformed(fault, "a refusal is too long");
    if (out->reason < WIRE_REFUSE_VERSION) return wire_malformed(fault, "a refusal has no reason");
    if (out->reason > WIRE_REFUSE_WIPED) { /* a newer node's words are all we can pass on */
        return fault_set(fault, KELP_E_VERSION, NULL, "refused for reason %u: %.100s", out->reason,
                         out->words);
    }
    return KELP_OK;
}

size_t wire_addresses_encode(const struct wire_member_addresses *rows, size_t count, uint8_t *out)
{
    ASSERT(count <= KELP_MEMBERS_MAX);
    struct writer w = writer_of(out, WIRE_ADDRESSES_MAX);
    write_u16(&w, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        ASSERT(rows[i].id != 0);
        struct writer row = part_begin(w.at, (size_t)(w.end - w.at));
        write_u64(&row, rows[i].id);
        write_u64(&row, rows[i].version);
        write_address(&row, &rows[i].peer);
        write_address(&row, &rows[i].client);
        write_address(&row, &rows[i].http);
        (void)writer_skip(&w, part_end(&row));
    }
    ASSERT(!w.failed);
    return writer_len(&w);
}

enum kelp_error wire_addresses_decode(struct kelp_bytes in, struct wire_member_addresses *rows,
                                      size_t max, size_t *count, struct kelp_fault *fault)
{
    struct reader head = reader_of(in);
    size_t rows_there = read_u16(&head);
    kelp_id ids[KELP_MEMBERS_MAX];
    *count = 0;
    if (head.failed) return wire_malformed(fault, "a table of addresses is cut");
    if (rows_there > max || rows_there > KELP_MEMBERS_MAX) {
        return fault_set(fault, KELP_E_LIMIT, NULL, "a table of %zu addresses; %zu are accepted",
                         rows_there, max);
    }
    struct kelp_bytes rest = bytes_of(head.at, reader_left(&head));
    for (size_t i = 0; i < rows_there; i++) {
        struct wire_member_addresses *row = &rows[i];
        struct reader r = part_open(rest, &rest);
        memset(row, 0, sizeof *row);
        ids[i] = row->id = read_u64(&r);
        row->version = read_u64(&r);
        read_address(&r, &row->peer);
        read_address(&r, &row->client);
        read_address(&r, &row->http);
        if (r.failed)
            return wire_malformed(fault, "a row of addresses is cut, or an address is wrong");
    }
    if (rest.len != 0) return wire_malformed(fault, "bytes follow a table of addresses");
    if (!wire_ids_distinct(ids, rows_there))
        return wire_malformed(fault, "a table of addresses has an id twice, or none");
    *count = rows_there;
    return KELP_OK;
}

static const struct kelp_member *member_find(const struct kelp_config *c, kelp_id id)
{
    for (size_t slot = 0; slot < c->count; slot++) {
        if (c->members[slot].id == id) return &c->members[slot];
    }
    return NULL;
}

/* The one reason that stands first in the order of checks, or 0. */
static enum wire_refusal hello_fault(const struct wire_judge *judge, const struct wire_hello *h)
{
    if (h->version_min > WIRE_PROTOCOL_VERSION || h->version_max < WIRE_PROTOCOL_VERSION)
        return WIRE_REFUSE_VERSION;
    if (h->node == judge->self) return WIRE_REFUSE_SELF;
    if (judge->expected != 0 && h->node != judge->expected) return WIRE_REFUSE_WRONG_NODE;
    if (h->to != 0 && h->to != judge->self) return WIRE_REFUSE_WRONG_NODE;
    if (!wire_cluster_zero(h->cluster) && !wire_cluster_zero(judge->cluster)) {
        if (!wire_cluster_equal(h->cluster, judge->cluster)) return WIRE_REFUSE_CLUSTER;
        /* Who is in no cluster yet is in no epoch of it either. */
        if (h->epoch != judge->epoch) return WIRE_REFUSE_EPOCH;
    }
    if (judge->committed == NULL) return (enum wire_refusal)0;
    const struct kelp_config *config = &judge->committed->config;
    const struct kelp_member *member = member_find(config, h->node);
    if (member == NULL)
        return h->node <= config->id_highest ? WIRE_REFUSE_REMOVED : (enum wire_refusal)0;
    if (member->incarnation == 0 || member->incarnation == h->incarnation)
        return (enum wire_refusal)0;
    return h->empty ? WIRE_REFUSE_WIPED : WIRE_REFUSE_INCARNATION;
}

/* Whose directory is of the past, and what to do with it. Two epochs of one number were made apart:
 * nothing tells which is right. */
static void epoch_words(const struct wire_judge *judge, const struct wire_hello *h,
                        struct kelp_fault *f)
{
    unsigned long long node = h->node, self = judge->self, own = epoch_number(judge->epoch);
    unsigned long long its = epoch_number(h->epoch);
    if (own == its)
        (void)fault_set(
            f, KELP_E_FOREIGN, NULL,
            "nodes %llu and %llu were recovered apart (recovery %llu): choose one; keep "
            "the other's directory, join with an empty one",
            self, node, own);
    else
        (void)fault_set(f, KELP_E_FOREIGN, NULL,
                        "node %llu is of before recovery %llu, which node %llu knows: keep its "
                        "directory, join with an empty one",
                        own > its ? node : self, own > its ? own : its, own > its ? self : node);
}

/* One sentence for people, cut to the size of words as a fault's is. */
static void refusal_words(const struct wire_judge *judge, const struct wire_hello *h,
                          struct wire_refuse *out)
{
    unsigned long long node = h->node, self = judge->self, next = out->next_id;
    unsigned long long wanted = judge->expected != 0 ? judge->expected : h->to;
    unsigned long long there = judge->expected != 0 ? node : self;
    struct kelp_fault f = {.error = KELP_OK};
    switch ((enum wire_refusal)out->reason) {
    case WIRE_REFUSE_VERSION:
        (void)fault_set(&f, KELP_E_VERSION, NULL,
                        "node %llu speaks protocol version %u, node %llu versions %u to %u", self,
                        WIRE_PROTOCOL_VERSION, node, h->version_min, h->version_max);
        break;
    case WIRE_REFUSE_CLUSTER:
        (void)fault_set(&f, KELP_E_FOREIGN, NULL,
                        "node %llu is of cluster %016llx%016llx, node %llu of %016llx%016llx", self,
                        (unsigned long long)judge->cluster.hi,
                        (unsigned long long)judge->cluster.lo, node,
                        (unsigned long long)h->cluster.hi, (unsigned long long)h->cluster.lo);
        break;
    case WIRE_REFUSE_EPOCH: epoch_words(judge, h, &f); break;
    case WIRE_REFUSE_WRONG_NODE:
        if (there >= KELP_ID_WAITING)
            (void)fault_set(&f, KELP_E_FOREIGN, NULL,
                            "node %llu was expected at the address of one that waits for its id",
                            wanted);
        else
            (void)fault_set(&f, KELP_E_FOREIGN, NULL,
                            "node %llu was expected at the address of %llu", wanted, there);
        break;
    case WIRE_REFUSE_INCARNATION:
        (void)fault_set(&f, KELP_E_FOREIGN, NULL,
                        "the cluster knows another data directory for node %llu", node);
        break;
    case WIRE_REFUSE_REMOVED:
        (void)fault_set(&f, KELP_E_FOREIGN, NULL, "node %llu was removed; the next free id is %llu",
                        node, next);
        break;
    case WIRE_REFUSE_SELF:
        (void)fault_set(&f, KELP_E_FOREIGN, NULL, "both ends are node %llu", self);
        break;
    case WIRE_REFUSE_WIPED:
        (void)fault_set(&f, KELP_E_WIPED, NULL,
                        "node %llu of the cluster is another directory than this empty one: start "
                        "it with another id, %llu is free; if it was wiped, remove that node",
                        node, next);
        break;
    case WIRE_REFUSE_MALFORMED:
    case WIRE_REFUSE_BUSY: UNREACHABLE(); /* not found by looking at a hello */
    }
    _Static_assert(sizeof f.what == sizeof out->words, "a fault's words are a refusal's");
    memcpy(out->words, f.what, sizeof out->words);
}

enum wire_refusal wire_hello_judge(const struct wire_judge *judge, const struct wire_hello *hello,
                                   struct wire_refuse *out)
{
    ASSERT(judge->self != 0);
    ASSERT(hello->node != 0);
    memset(out, 0, sizeof *out);
    enum wire_refusal reason = hello_fault(judge, hello);
    if (reason == (enum wire_refusal)0) return reason;
    out->reason = (uint8_t)reason;
    out->cluster = judge->cluster;
    out->node = judge->self;
    bool wiped = reason == WIRE_REFUSE_WIPED, other = reason == WIRE_REFUSE_INCARNATION;
    if (wiped || other) {
        out->incarnation = member_find(&judge->committed->config, hello->node)->incarnation;
        out->since_unix_ms = judge->committed->created_unix_ms;
    }
    if (reason == WIRE_REFUSE_EPOCH) out->epoch = judge->epoch;
    if (wiped || reason == WIRE_REFUSE_REMOVED)
        out->next_id = judge->committed->config.id_highest + 1;
    refusal_words(judge, hello, out);
    return reason;
}
