/* SPDX-License-Identifier: Apache-2.0 */
/* whole_test.c - what a log makes, and what a snapshot and the rest of that log make, are one state
 * with the same answers: keys, deadlines, sessions and keys of single commands, the clock.
 * [§5.1, T41] */
#include "tests/kv/machine.h"

#include "base/bytes.h"
#include "base/endian.h"
#include "base/hash.h"
#include "rsm/rsm.h"
#include "wire/entry.h"

#define ENTRIES   3000u
#define SNAPSHOTS 200u
#define SECOND    UINT64_C(1000000000)
#define WALL_MS   UINT64_C(1700000000000)
#define BATCH     40u
#define SESSIONS  64u

/* ---- a log ---- */

struct log {
    struct kelp_bytes entries[ENTRIES + 1]; /* by index; owned */
    uint8_t types[ENTRIES + 1];
    uint64_t states[ENTRIES + 1], chains[ENTRIES + 1], answers[ENTRIES + 1];
    enum kelp_reason refused[ENTRIES + 1];
    struct kv *kv; /* only to be asked what stands beside a command */
    struct prng random;
    uint64_t time_ns;
    kelp_index sessions[SESSIONS];
    uint64_t sequences[SESSIONS];
    size_t session_count;
};

static void line_make(struct prng *random, char line[128])
{
    unsigned key = (unsigned)prng_below(random, 60), n = (unsigned)prng_below(random, 1000);
    switch (prng_below(random, 14)) {
    case 0: (void)snprintf(line, 128, "SET k%u %u", key, n); break;
    case 1: (void)snprintf(line, 128, "SET k%u v%u PX %u", key, n, 1 + n * 5); break;
    case 2: (void)snprintf(line, 128, "SETEX k%u %u v%u", key, 1 + n % 5, n); break;
    case 3: (void)snprintf(line, 128, "INCR n%u", key); break;
    case 4: (void)snprintf(line, 128, "INCRBY n%u %u", key, n); break;
    case 5: (void)snprintf(line, 128, "APPEND k%u text%u", key, n); break;
    case 6: (void)snprintf(line, 128, "DEL k%u n%u", key, key / 2); break;
    case 7: (void)snprintf(line, 128, "PEXPIRE k%u %u", key, 1 + n * 7); break;
    case 8: (void)snprintf(line, 128, "PERSIST k%u", key); break;
    case 9: (void)snprintf(line, 128, "GETEX k%u PX %u", key, 1 + n); break;
    case 10: (void)snprintf(line, 128, "MSET k%u a k%u b n%u 7", key, key / 2, key); break;
    case 11: (void)snprintf(line, 128, "MSETNX k%u a k%u b", key, key / 3); break;
    case 12: (void)snprintf(line, 128, "SET k%u w KEEPTTL GET", key); break;
    default:
        if (n < 4)
            (void)snprintf(line, 128, "FLUSHALL");
        else
            (void)snprintf(line, 128, "EXPIREAT k%u %u", key,
                           (unsigned)(WALL_MS / 1000) + 70 + n / 10);
    }
}

static void entry_add(struct log *log, kelp_index index, struct wire_entry e)
{
    e.pos = kelp_pos_of(index, 1 + index / 500);
    e.time_ns = log->time_ns;
    uint8_t *out = malloc(wire_entry_size(&e));
    assert_non_null(out);
    wire_entry_encode(&e, out);
    log->entries[index] = bytes_of(out, wire_entry_size(&e));
    log->types[index] = e.type;
}

static void command_add(struct log *log, kelp_index index, struct wire_entry e)
{
    char line[128];
    struct kelp_bytes argv[WORDS_MAX];
    uint8_t beside[KELP_FSM_EXTEND_MAX];
    struct prng again = {e.session * 1000003 + e.sequence}; /* the same number, the same command */
    bool misused = prng_chance(&log->random, 1, 30);
    line_make(e.sequence == 0 || misused ? &log->random : &again, line);
    size_t argc = words_cut(line, argv);
    struct buf payload = payload_of(argv, argc);
    uint64_t wall_ms = WALL_MS + log->time_ns / 1000000;
    size_t len = kv_fsm_ops.extend(log->kv, 0, buf_bytes(&payload), wall_ms, beside);
    e.type = KELP_ENTRY_COMMAND;
    e.payload = buf_bytes(&payload);
    e.extension = bytes_of(beside, len);
    if (len > 0) e.flags |= WIRE_ENTRY_EXTENDED;
    entry_add(log, index, e);
    buf_close(&payload);
}

/* The next number of a session, one that was before, or one of no session. */
static void in_session(struct log *log, struct wire_entry *e)
{
    size_t i = (size_t)prng_below(&log->random, log->session_count);
    e->flags |= WIRE_ENTRY_IN_SESSION;
    e->session = prng_chance(&log->random, 1, 40) ? 999999 : log->sessions[i];
    if (prng_chance(&log->random, 1, 4) && log->sequences[i] > 0)
        e->sequence = prng_between(&log->random, 1, log->sequences[i]);
    else
        e->sequence = ++log->sequences[i];
    e->acknowledged = log->sequences[i] > 6 ? log->sequences[i] - 6 : 0;
    if (e->acknowledged >= e->sequence) e->acknowledged = e->sequence - 1;
}

/* A command under a key of its own, which may come once more. */
static void under_a_key(struct log *log, struct wire_entry *e)
{
    e->flags |= WIRE_ENTRY_IN_SESSION;
    e->sequence = prng_between(&log->random, 1, 300);
    e->acknowledged = e->sequence * 3;
}

static void other_add(struct log *log, kelp_index index)
{
    static const enum kelp_entry_type types[] = {KELP_ENTRY_NOOP, KELP_ENTRY_BARRIER,
                                                 KELP_ENTRY_CLOCK, KELP_ENTRY_CONFIG};
    struct wire_entry e = {.type = (uint8_t)types[prng_below(&log->random, 4)]};
    if (index == 1 || prng_chance(&log->random, 1, 5)) {
        bool ends = log->session_count > 4 && prng_chance(&log->random, 1, 3);
        e.type = KELP_ENTRY_SESSION;
        if (ends) {
            e.flags = WIRE_ENTRY_IN_SESSION;
            e.session = log->sessions[prng_below(&log->random, log->session_count)];
        } else if (log->session_count < SESSIONS) {
            log->sequences[log->session_count] = 0;
            log->sessions[log->session_count++] = index;
        }
    }
    entry_add(log, index, e);
}

static struct log *log_new(uint64_t seed)
{
    struct log *log = calloc(1, sizeof *log);
    assert_non_null(log);
    log->random = (struct prng){seed};
    log->kv = kv_new();
    assert_non_null(log->kv);
    log->time_ns = 77 * SECOND;
    for (kelp_index index = 1; index <= ENTRIES; index++) {
        struct wire_entry e = {.flags = 0};
        log->time_ns += prng_below(&log->random, SECOND / 20);
        uint64_t kind = index == 1 ? 0 : prng_below(&log->random, 10);
        if (kind == 0) {
            other_add(log, index);
            continue;
        }
        if (kind < 4) in_session(log, &e);
        if (kind == 4) under_a_key(log, &e);
        command_add(log, index, e);
    }
    return log;
}

static void log_free(struct log *log)
{
    for (kelp_index index = 1; index <= ENTRIES; index++)
        free((void *)(uintptr_t)log->entries[index].data);
    kv_fsm_ops.close(log->kv);
    free(log);
}

/* ---- machines ---- */

struct told {
    struct rsm *rsm;
    kelp_index first;
    uint64_t *answers;
    enum kelp_reason *refused;
};

static void on_reply(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct told *t = sink;
    assert_false(kelp_reply_is_lost(bytes));
    t->answers[t->first + i] = hash_bytes(bytes, 1);
    t->refused[t->first + i] = rsm_refused(t->rsm);
}

static struct rsm *made(void)
{
    struct kv *kv = kv_new();
    assert_non_null(kv);
    struct rsm *r = rsm_new(&kv_fsm_ops, kv, 0);
    assert_non_null(r);
    return r;
}

/* A batch as drivers cut them: a clock entry is the last one. Returns its length. */
static size_t apply_some(struct rsm *r, const struct log *log, kelp_index first, size_t most,
                         uint64_t *answers, enum kelp_reason *refused)
{
    struct told told = {r, first, answers, refused};
    struct kelp_fault fault = {.error = KELP_OK};
    size_t count = 0;
    while (count < most && first + count <= ENTRIES) {
        count++;
        if (log->types[first + count - 1] == KELP_ENTRY_CLOCK) break;
    }
    if (rsm_apply(r, first, log->entries + first, count, on_reply, &told, &fault) != KELP_OK)
        fail_msg("%s", fault.what);
    return count;
}

static void play(struct log *log)
{
    struct rsm *r = made();
    for (kelp_index index = 1; index <= ENTRIES; index++) {
        (void)apply_some(r, log, index, 1, log->answers, log->refused);
        log->states[index] = rsm_state_hash(r);
        log->chains[index] = rsm_chain_hash(r);
    }
    rsm_free(r);
}

static void assert_as(const struct log *log, const struct rsm *r, kelp_index index)
{
    assert_int_equal(rsm_applied(r).index, index);
    assert_true(rsm_state_hash(r) == log->states[index]);
    assert_true(rsm_chain_hash(r) == log->chains[index]);
}

/* From behind the snapshot to the end, in other batches. */
static void goes_on_alike(struct log *log, struct rsm *r, kelp_index from)
{
    static uint64_t answers[ENTRIES + 1];
    static enum kelp_reason refused[ENTRIES + 1];
    for (kelp_index index = from + 1; index <= ENTRIES;) {
        size_t most = (size_t)prng_between(&log->random, 1, BATCH);
        size_t count = apply_some(r, log, index, most, answers, refused);
        for (kelp_index i = index; i < index + count; i++) {
            if (log->types[i] != KELP_ENTRY_COMMAND) continue;
            assert_true(answers[i] == log->answers[i]);
            assert_int_equal(refused[i], log->refused[i]);
        }
        index += count;
        assert_as(log, r, index - 1);
    }
}

/* ---- a snapshot that is taken while the machine goes on ---- */

struct image {
    kelp_index at;
    uint64_t objects, bytes;
    struct buf all; /* objects with their heads */
};

static void image_begin(struct rsm *r, struct image *image)
{
    struct wire_config c = {.cluster = {1, 2}, .config = {.index = 1, .id_highest = 1, .count = 1}};
    struct kelp_pos pos;
    size_t len = 0;
    c.config.members[0] = (struct kelp_member){.id = 1, .incarnation = 5, .role = KELP_VOTER};
    memcpy(c.peer[0].text, "a:1", 4);
    assert_int_equal(rsm_snapshot_begin(r, &c, c.cluster, 7, &pos, &len), KELP_OK);
    *image = (struct image){.at = pos.index};
    buf_init(&image->all, 64u << 20);
}

static bool image_read(struct rsm *r, struct image *image)
{
    bool last = false;
    size_t len = 0;
    assert_int_equal(buf_reserve(&image->all, RSM_OBJECT_BYTES_MAX), KELP_OK);
    uint8_t *out = image->all.data + image->all.len;
    assert_int_equal(rsm_snapshot_read(r, out, &len, &last), KELP_OK);
    image->all.len += len;
    image->objects += len > 0;
    return last;
}

/* Ends it, and restores it elsewhere. */
static struct rsm *image_restore(struct rsm *r, struct image *image)
{
    static uint8_t bytes[WIRE_SNAPHEAD_BYTES_MAX];
    struct rsm *other = made();
    struct wire_snaphead head;
    size_t used = 0;
    size_t len = rsm_snapshot_head(r, image->objects, image->all.len, bytes);
    rsm_snapshot_end(r);
    assert_int_equal(wire_snaphead_decode(bytes_of(bytes, len), &head, &used, NULL), KELP_OK);
    assert_int_equal(rsm_restore_begin(other, &head, NULL), KELP_OK);
    for (size_t at = 0; at < image->all.len;) {
        const uint8_t *object = image->all.data + at;
        struct wire_object o = {(enum wire_object_kind)object[4],
                                bytes_of(object + WIRE_OBJECT_HEAD, load_u32(object))};
        assert_int_equal(rsm_restore_object(other, &o, NULL), KELP_OK);
        at += WIRE_OBJECT_HEAD + o.bytes.len;
    }
    assert_int_equal(rsm_restore_commit(other, &head, NULL), KELP_OK);
    buf_close(&image->all);
    return other;
}

/* The log must hold what it is about: refusals of each kind, and keys that pass by. */
static void assert_rich(const struct log *log)
{
    unsigned kinds[KELP_ENTRY_POSITION + 1] = {0}, over = 0, unknown = 0, misused = 0;
    for (kelp_index i = 1; i <= ENTRIES; i++) {
        kinds[log->types[i]]++;
        over += log->refused[i] == KELP_R_SEQUENCE_OVER;
        unknown += log->refused[i] == KELP_R_UNKNOWN_SESSION;
        misused += log->refused[i] == KELP_R_ONCE_MISUSED;
    }
    assert_true(kinds[KELP_ENTRY_COMMAND] > 2000 && kinds[KELP_ENTRY_SESSION] > 20);
    assert_true(kinds[KELP_ENTRY_CLOCK] > 20 && kinds[KELP_ENTRY_CONFIG] > 20);
    assert_true(over > 5 && unknown > 5 && misused > 5);
}

static void a_snapshot_and_the_rest_of_the_log_make_what_the_log_makes(void **state)
{
    (void)state;
    struct log *log = log_new(41);
    play(log);
    assert_rich(log);
    struct rsm *r = made();
    struct image image = {.at = 0};
    unsigned taken = 0, with_deadlines = 0, with_sessions = 0, later = 0;
    bool open = false, whole = false;
    for (kelp_index index = 1; index <= ENTRIES; index++) {
        (void)apply_some(r, log, index, 1, log->answers, log->refused);
        assert_as(log, r, index);
        if (!open && prng_chance(&log->random, SNAPSHOTS + 100, ENTRIES)) {
            image_begin(r, &image);
            assert_int_equal(image.at, index);
            with_deadlines += rsm_deadline(r) != KELP_FSM_NO_DEADLINE;
            with_sessions += rsm_sessions(r).answers > 0;
            open = true;
            continue;
        }
        if (open) whole = image_read(r, &image);
        if (!open || !whole) continue;
        struct rsm *other = image_restore(r, &image);
        assert_as(log, other, image.at);
        goes_on_alike(log, other, image.at);
        rsm_free(other);
        taken++;
        later += index > image.at + 1;
        open = whole = false;
    }
    assert_true(taken >= SNAPSHOTS);
    assert_true(with_deadlines > SNAPSHOTS / 2 && with_sessions > SNAPSHOTS / 2);
    assert_true(later > SNAPSHOTS / 2);
    if (open) buf_close(&image.all);
    rsm_free(r);
    log_free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_and_the_rest_of_the_log_make_what_the_log_makes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
