/* SPDX-License-Identifier: Apache-2.0 */
/* stage_test.c - a restore through the log: staged beside the state, in its place by one entry, on
 * every member alike, wherever batches are cut and from wherever it is replayed. */
#include "rsm/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "rsm/rsm.h"
#include "wire/restore.h"

#define LOG_MAX    32u
#define ENTRY_ROOM 192u
#define A          UINT64_C(0xaaaa)
#define B          UINT64_C(0xbbbb)

/* A pile of bytes: a command adds one, a restore brings others; own bytes say how many, and their
 * hash. An object that begins with 'X' is refused, with 'M' there is no memory for it. */
struct pile {
    uint64_t count, hash;
    unsigned staged; /* restores that are open */
    uint64_t then_ns, now_ns;
};

struct pile_restore {
    uint64_t count, hash, want_count, want_hash;
};

static uint64_t piled(uint64_t hash, uint8_t byte)
{
    return hash_mix(hash + 1, byte);
}

static void pile_apply(void *fsm, uint32_t group, const struct kelp_command *commands, size_t count,
                       kelp_reply_fn reply, void *sink)
{
    struct pile *p = fsm;
    (void)group;
    for (size_t i = 0; i < count; i++) {
        uint8_t out[8];
        p->hash = piled(p->hash, commands[i].payload.data[0]);
        put_u64(out, ++p->count);
        reply(sink, i, bytes_of(out, 8));
    }
}

static void pile_query(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                       void *sink)
{
    (void)fsm;
    (void)group;
    reply(sink, 0, question);
}

static enum kelp_error pile_snapshot(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                     void **snapshot)
{
    const struct pile *p = fsm;
    (void)group;
    put_u64(own, p->count);
    put_u64(own + 8, p->hash);
    *own_len = 16;
    *snapshot = NULL;
    return KELP_OK;
}

static enum kelp_error pile_snapshot_read(void *fsm, void *snapshot, uint8_t *out, size_t *len,
                                          bool *last)
{
    (void)fsm;
    (void)snapshot;
    (void)out;
    *len = 0;
    *last = true;
    return KELP_OK;
}

static enum kelp_error pile_open(struct pile *p, struct kelp_bytes own, bool whole, void **restore)
{
    if (own.len != 16) return KELP_E_MALFORMED;
    struct pile_restore *r = calloc(1, sizeof *r);
    if (r == NULL) return KELP_E_NO_MEMORY;
    r->want_count = load_u64(own.data);
    r->want_hash = load_u64(own.data + 8);
    if (whole) {
        r->count = r->want_count;
        r->hash = r->want_hash;
    }
    p->staged++;
    *restore = r;
    return KELP_OK;
}

static enum kelp_error pile_restore(void *fsm, uint32_t group, struct kelp_pos pos,
                                    uint64_t time_ns, struct kelp_bytes own, void **restore)
{
    (void)group;
    (void)pos;
    (void)time_ns;
    return pile_open(fsm, own, true, restore);
}

static enum kelp_error pile_stage(void *fsm, uint32_t group, const struct kelp_stage *from,
                                  void **restore)
{
    struct pile *p = fsm;
    (void)group;
    p->then_ns = from->then_ns;
    p->now_ns = from->now_ns;
    return pile_open(p, from->own, false, restore);
}

static enum kelp_error pile_object(void *fsm, void *restore, struct kelp_bytes object)
{
    struct pile_restore *r = restore;
    (void)fsm;
    if (object.data[0] == 'X') return KELP_E_MALFORMED;
    if (object.data[0] == 'M') return KELP_E_NO_MEMORY;
    for (size_t i = 0; i < object.len; i++, r->count++)
        r->hash = piled(r->hash, object.data[i]);
    return KELP_OK;
}

static enum kelp_error pile_commit(void *fsm, void *restore)
{
    struct pile *p = fsm;
    struct pile_restore *r = restore;
    if (r->count != r->want_count || r->hash != r->want_hash) return KELP_E_CORRUPT;
    p->count = r->count;
    p->hash = r->hash;
    p->staged--;
    free(r);
    return KELP_OK;
}

static void pile_abort(void *fsm, void *restore)
{
    struct pile *p = fsm;
    p->staged--;
    free(restore);
}

static uint64_t pile_hash(void *fsm, uint32_t group)
{
    const struct pile *p = fsm;
    (void)group;
    return hash_mix(p->hash, p->count);
}

static void pile_close(void *fsm)
{
    const struct pile *p = fsm;
    assert_int_equal(p->staged, 0); /* each begin has had its end */
    free(fsm);
}

static struct kelp_fsm_ops ops = {.size = sizeof(struct kelp_fsm_ops),
                                  .flags = KELP_FSM_IN_MEMORY,
                                  .apply = pile_apply,
                                  .query = pile_query,
                                  .snapshot_begin = pile_snapshot,
                                  .snapshot_read = pile_snapshot_read,
                                  .restore_begin = pile_restore,
                                  .restore_object = pile_object,
                                  .restore_commit = pile_commit,
                                  .restore_abort = pile_abort,
                                  .hash = pile_hash,
                                  .close = pile_close,
                                  .stage_begin = pile_stage};

/* ---- a log ---- */

static uint8_t rooms[LOG_MAX][ENTRY_ROOM];
static struct kelp_bytes entries[LOG_MAX]; /* by index */
static kelp_index log_last;
static uint64_t stamp; /* of the next ones */

static void log_begin(void)
{
    log_last = 0;
    stamp = 100;
}

static void put(enum kelp_entry_type type, uint64_t session, uint64_t sequence,
                struct kelp_bytes payload)
{
    struct wire_entry e = {.pos = kelp_pos_of(++log_last, 1),
                           .type = (uint8_t)type,
                           .time_ns = stamp,
                           .session = session,
                           .sequence = sequence,
                           .payload = payload};
    assert_true(log_last < LOG_MAX);
    if (session != 0) e.flags = WIRE_ENTRY_IN_SESSION;
    assert_true(wire_entry_size(&e) <= ENTRY_ROOM);
    wire_entry_encode(&e, rooms[log_last]);
    entries[log_last] = bytes_of(rooms[log_last], wire_entry_size(&e));
}

static void put_command(const char *byte)
{
    put(KELP_ENTRY_COMMAND, 0, 0, bytes_of(byte, 1));
}

static void put_step(const struct kelp_restore_step *step)
{
    uint8_t room[128];
    assert_in_range(wire_restore_size(step), 1, sizeof room);
    wire_restore_encode(step, room);
    put(KELP_ENTRY_RESTORE, 0, 0, bytes_of(room, wire_restore_size(step)));
}

/* A restore of these bytes, in so many objects. */
static void put_begin(uint64_t id, const char *text, uint64_t objects, uint32_t flags)
{
    uint8_t own[16];
    uint64_t hash = 0;
    for (const char *at = text; *at != '\0'; at++)
        hash = piled(hash, (uint8_t)*at);
    put_u64(own, strlen(text));
    put_u64(own + 8, hash);
    const struct kelp_restore_step step = {.kind = KELP_RESTORE_BEGIN,
                                           .flags = flags,
                                           .id = id,
                                           .objects = objects,
                                           .object_bytes = strlen(text),
                                           .time_ns = 7,
                                           .bytes = bytes_of(own, sizeof own)};
    put_step(&step);
}

static void put_part(uint64_t id, uint64_t number, const char *text)
{
    const struct kelp_restore_step step = {.kind = KELP_RESTORE_PART,
                                           .id = id,
                                           .number = number,
                                           .bytes = bytes_of(text, strlen(text))};
    put_step(&step);
}

static void put_end(enum kelp_restore_kind kind, uint64_t id)
{
    const struct kelp_restore_step step = {.kind = kind, .id = id};
    put_step(&step);
}

/* ---- members ---- */

struct told {
    struct rsm *rsm;
    kelp_index first;
    enum kelp_reason refused[LOG_MAX];
};

static void on_reply(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct told *t = sink;
    (void)bytes;
    t->refused[t->first + i] = rsm_refused(t->rsm);
}

static struct rsm *made(void)
{
    return rsm_new(&ops, calloc(1, sizeof(struct pile)), 0);
}

static enum kelp_error applied(struct rsm *r, struct told *t, size_t count)
{
    struct kelp_fault fault = {.error = KELP_OK};
    t->rsm = r;
    t->first = rsm_applied(r).index + 1;
    return rsm_apply(r, t->first, entries + t->first, count, on_reply, t, &fault);
}

static void all_applied(struct rsm *r, struct told *t)
{
    size_t count = (size_t)(log_last - rsm_applied(r).index);
    if (count > 0) assert_int_equal(applied(r, t, count), KELP_OK);
}

/* What a machine has that was given these bytes and nothing else. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0;
    for (const char *at = text; *at != '\0'; at++)
        hash = piled(hash, (uint8_t)*at);
    return hash_mix(hash, strlen(text));
}

static struct kelp_restore_status status_of(const struct rsm *r)
{
    struct kelp_restore_status status;
    bool is = rsm_staged(r, &status);
    assert_int_equal(is, status.id != 0);
    return status;
}

/* Both phases among commands. */
static void log_of_one(void)
{
    log_begin();
    put_command("a");
    put_begin(A, "xyz", 2, 0); /* 2 */
    put_command("b");
    put_part(A, 0, "xy"); /* 4 */
    put_command("c");
    put_part(A, 1, "z"); /* 6 */
    put_command("d");
    put_end(KELP_RESTORE_COMMIT, A); /* 8 */
    put_command("e");
}

static void it_takes_effect_at_one_entry_wherever_batches_are_cut(void **state)
{
    (void)state;
    static const char *const states[] = {"",    "a",   "a",    "ab",  "ab",
                                         "abc", "abc", "abcd", "xyz", "xyze"};
    log_of_one();
    for (size_t step = 1; step <= 9; step++) {
        struct rsm *r = made();
        struct told told = {0};
        for (kelp_index at = 0; at < 9;) {
            size_t count = at + step <= 9 ? step : (size_t)(9 - at);
            assert_int_equal(applied(r, &told, count), KELP_OK);
            at += count;
            assert_int_equal(rsm_state_hash(r), hash_of(states[at]));
            assert_int_equal(status_of(r).id, at >= 2 && at < 8 ? A : 0);
        }
        for (kelp_index i = 1; i <= 9; i++)
            assert_int_equal(told.refused[i], KELP_R_NONE);
        assert_int_equal(status_of(r).ended_id, A);
        assert_int_equal(status_of(r).end, KELP_RESTORE_COMMITTED);
        assert_int_equal(status_of(r).ended_at, 8);
        rsm_free(r);
    }
}

/* Cluster clock and chain are the log's, whatever the file says. */
static void position_clock_and_chain_go_on(void **state)
{
    (void)state;
    log_of_one();
    struct rsm *r = made(), *other = made();
    struct told told = {0};
    all_applied(r, &told);
    assert_int_equal(rsm_applied(r).index, 9);
    assert_int_equal(rsm_time_ns(r), 100);
    assert_int_equal(applied(other, &told, 1), KELP_OK);
    assert_int_not_equal(rsm_chain_hash(r), rsm_chain_hash(other));
    all_applied(other, &told);
    assert_int_equal(rsm_chain_hash(r), rsm_chain_hash(other));
    rsm_free(r);
    rsm_free(other);
}

static struct wire_config config_of_one(void)
{
    struct wire_config c = {.cluster = {1, 2}, .config = {.index = 1, .id_highest = 1, .count = 1}};
    c.config.members[0] = (struct kelp_member){.id = 1, .incarnation = 5, .role = KELP_VOTER};
    memcpy(c.peer[0].text, "a:1", 4);
    return c;
}

static enum kelp_error snapshot_begin(struct rsm *r)
{
    struct wire_config config = config_of_one();
    struct kelp_pos pos;
    size_t len;
    return rsm_snapshot_begin(r, &config, config.cluster, 7, &pos, &len);
}

static uint8_t object[RSM_OBJECT_BYTES_MAX], head_bytes[WIRE_SNAPHEAD_BYTES_MAX];

/* An open snapshot of one, into another member. */
static enum kelp_error snapshot_move(struct rsm *from, struct rsm *to)
{
    struct wire_snaphead head;
    size_t used, len = rsm_snapshot_head(from, 0, 0, head_bytes);
    bool last = false;
    assert_int_equal(wire_snaphead_decode(bytes_of(head_bytes, len), &head, &used, NULL), KELP_OK);
    assert_int_equal(rsm_restore_begin(to, &head, NULL), KELP_OK);
    while (!last) {
        assert_int_equal(rsm_snapshot_read(from, object, &len, &last), KELP_OK);
        if (len == 0) continue;
        struct wire_object o = {.kind = object[4],
                                .bytes =
                                    bytes_of(object + WIRE_OBJECT_HEAD, len - WIRE_OBJECT_HEAD)};
        assert_int_equal(rsm_restore_object(to, &o, NULL), KELP_OK);
    }
    return rsm_restore_commit(to, &head, NULL);
}

/* A restart replays from the newest snapshot: one is taken where nothing is staged, and only
 * there, so from any of them all members come to the same. */
static void a_restart_at_every_point_comes_to_the_same_state(void **state)
{
    (void)state;
    log_of_one();
    struct rsm *whole = made();
    struct told told = {0};
    all_applied(whole, &told);
    for (size_t upto = 1; upto <= 9; upto++) {
        struct rsm *r = made(), *started = made();
        struct told again = {0};
        assert_int_equal(applied(r, &told, upto), KELP_OK);
        enum kelp_error error = snapshot_begin(r);
        assert_int_equal(error, upto >= 2 && upto < 8 ? KELP_E_BUSY : KELP_OK);
        if (error == KELP_OK) {
            assert_int_equal(snapshot_move(r, started), KELP_OK);
            rsm_snapshot_end(r);
        }
        all_applied(started, &again);
        for (kelp_index i = 1; i <= 9; i++)
            assert_int_equal(again.refused[i], KELP_R_NONE);
        assert_int_equal(rsm_state_hash(started), rsm_state_hash(whole));
        assert_int_equal(rsm_chain_hash(started), rsm_chain_hash(whole));
        rsm_free(r);
        rsm_free(started);
    }
    rsm_free(whole);
}

static void what_is_asked_again_is_done_and_what_is_missing_is_refused(void **state)
{
    (void)state;
    log_begin();
    put_part(A, 0, "x");             /* 1: nothing is staged */
    put_begin(A, "xyz", 3, 0);       /* 2 */
    put_begin(A, "xyz", 3, 0);       /* 3: again */
    put_part(A, 1, "y");             /* 4: the first is missing */
    put_part(A, 0, "x");             /* 5 */
    put_part(A, 0, "x");             /* 6: again */
    put_part(A, 1, "y");             /* 7 */
    put_end(KELP_RESTORE_COMMIT, A); /* 8: the last is missing */
    put_part(A, 0, "q");             /* 9: it is there, whatever this says */
    put_part(A, 2, "z");             /* 10 */
    put_end(KELP_RESTORE_COMMIT, B); /* 11: another's */
    put_end(KELP_RESTORE_COMMIT, A); /* 12 */
    put_end(KELP_RESTORE_COMMIT, A); /* 13: it is over */
    put_end(KELP_RESTORE_ABORT, A);  /* 14 */
    static const enum kelp_reason want[LOG_MAX] = {
        [1] = KELP_R_NOT_STAGED,  [4] = KELP_R_PART_MISSING, [8] = KELP_R_PART_MISSING,
        [11] = KELP_R_NOT_STAGED, [13] = KELP_R_NOT_STAGED,  [14] = KELP_R_NOT_STAGED};
    struct rsm *r = made();
    struct told told = {0};
    all_applied(r, &told);
    for (kelp_index i = 1; i <= log_last; i++)
        assert_int_equal(told.refused[i], want[i]);
    assert_int_equal(rsm_state_hash(r), hash_of("xyz"));
    rsm_free(r);
}

static void another_takes_its_place_only_by_force(void **state)
{
    (void)state;
    log_begin();
    put_command("a");
    put_begin(A, "xy", 1, 0);
    put_begin(B, "uv", 1, 0);  /* 3: refused */
    put_begin(A, "xyz", 1, 0); /* 4: another file under the same number */
    put_part(B, 0, "uv");      /* 5: refused */
    put_begin(B, "uv", 1, KELP_RESTORE_FORCE);
    put_part(A, 0, "xy"); /* 7: ended */
    put_part(B, 0, "uv");
    put_end(KELP_RESTORE_COMMIT, A); /* 9: ended */
    put_end(KELP_RESTORE_COMMIT, B);
    static const enum kelp_reason want[LOG_MAX] = {
        [3] = KELP_R_STAGED,     [4] = KELP_R_STAGED,     [5] = KELP_R_NOT_STAGED,
        [7] = KELP_R_NOT_STAGED, [9] = KELP_R_NOT_STAGED,
    };
    struct rsm *r = made();
    struct told told = {0};
    assert_int_equal(applied(r, &told, 6), KELP_OK);
    assert_int_equal(status_of(r).id, B);
    assert_int_equal(status_of(r).ended_id, A);
    assert_int_equal(status_of(r).end, KELP_RESTORE_ABORTED);
    all_applied(r, &told);
    for (kelp_index i = 1; i <= log_last; i++)
        assert_int_equal(told.refused[i], want[i]);
    assert_int_equal(rsm_state_hash(r), hash_of("uv"));
    rsm_free(r);
}

static void what_is_aborted_leaves_the_state_as_it_is(void **state)
{
    (void)state;
    log_begin();
    put_command("a");
    put_begin(A, "xy", 1, 0);
    put_part(A, 0, "xy");
    put_end(KELP_RESTORE_ABORT, A);
    put_end(KELP_RESTORE_COMMIT, A);
    put_command("b");
    struct rsm *r = made();
    struct told told = {0};
    all_applied(r, &told);
    assert_int_equal(told.refused[4], KELP_R_NONE);
    assert_int_equal(told.refused[5], KELP_R_NOT_STAGED);
    assert_int_equal(rsm_state_hash(r), hash_of("ab"));
    assert_int_equal(status_of(r).end, KELP_RESTORE_ABORTED);
    assert_int_equal(snapshot_begin(r), KELP_OK);
    rsm_free(r);
}

/* A part that the machine refuses, one too many, more bytes than promised, fewer, and others than
 * promised: the old state stays and nothing is staged any more. */
static void what_is_not_what_begin_promised_is_not_taken(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        bool third;
        kelp_index bad; /* the entry that is refused for it */
    } wrong[] = {
        {"X", "yz", false, 3}, {"x", "yz", true, 5},  {"xyzz", "", false, 3},
        {"x", "y", false, 5},  {"q", "yz", false, 5},
    };
    for (size_t w = 0; w < sizeof wrong / sizeof wrong[0]; w++) {
        log_begin();
        put_command("a");
        put_begin(A, "xyz", 2, 0);
        put_part(A, 0, wrong[w].first); /* 3 */
        put_part(A, 1, wrong[w].second[0] != '\0' ? wrong[w].second : "z");
        if (wrong[w].third) put_part(A, 2, "z");
        put_end(KELP_RESTORE_COMMIT, A);
        kelp_index commit = log_last;
        put_command("b");
        struct rsm *r = made();
        struct told told = {0};
        all_applied(r, &told);
        assert_int_equal(told.refused[wrong[w].bad], KELP_R_NOT_TAKEN);
        if (commit != wrong[w].bad) assert_int_equal(told.refused[commit], KELP_R_NOT_STAGED);
        assert_int_equal(rsm_state_hash(r), hash_of("ab"));
        assert_int_equal(status_of(r).end, KELP_RESTORE_UNTAKEN);
        assert_int_equal(status_of(r).ended_at, wrong[w].bad);
        rsm_free(r);
    }
}

/* The others have it staged: who has not stops, and stages it when it starts again. */
static void without_memory_for_a_part_it_stops(void **state)
{
    (void)state;
    log_begin();
    put_begin(A, "Mx", 1, 0);
    put_part(A, 0, "Mx");
    put_command("a");
    struct rsm *r = made();
    struct told told = {0};
    assert_int_equal(applied(r, &told, 3), KELP_E_NO_MEMORY);
    assert_int_equal(rsm_state_hash(r), hash_of(""));
    rsm_free(r);
}

static void a_step_that_this_version_does_not_know_stops_it(void **state)
{
    (void)state;
    log_begin();
    put(KELP_ENTRY_RESTORE, 0, 0, bytes_of("ab", 2)); /* too short: of no effect, anywhere */
    put_begin(A, "x", 1, 0);
    put(KELP_ENTRY_RESTORE, 0, 0, bytes_of("\2\1\0\0\1\0\0\0\0\0\0\0", 12)); /* version 2 */
    struct rsm *r = made();
    struct told told = {0};
    assert_int_equal(applied(r, &told, 2), KELP_OK);
    assert_int_equal(told.refused[1], KELP_R_NOT_TAKEN);
    assert_int_equal(told.refused[2], KELP_R_NONE);
    assert_int_equal(applied(r, &told, 1), KELP_E_VERSION);
    rsm_free(r);
}

static void a_machine_that_cannot_stage_refuses(void **state)
{
    (void)state;
    const struct kelp_fsm_ops before = ops;
    for (unsigned old = 0; old < 2; old++) {
        ops.stage_begin = NULL;
        if (old == 1) { /* compiled before there was one */
            ops = before;
            ops.size = offsetof(struct kelp_fsm_ops, stage_begin);
        }
        log_begin();
        put_begin(A, "x", 1, 0);
        put_part(A, 0, "x");
        struct rsm *r = made();
        struct told told = {0};
        all_applied(r, &told);
        assert_int_equal(told.refused[1], KELP_R_NOT_TAKEN);
        assert_int_equal(told.refused[2], KELP_R_NOT_STAGED);
        rsm_free(r);
        ops = before;
    }
}

/* ---- time ---- */

/* By the stamps of entries alone, whoever leads: quiet for ten minutes of cluster time. */
static void what_is_quiet_for_too_long_ends(void **state)
{
    (void)state;
    for (uint64_t less = 0; less < 2; less++) {
        log_begin();
        put_begin(A, "xyz", 2, 0);
        stamp += KELP_RESTORE_QUIET_MAX_NS - 1;
        put_part(A, 0, "xy"); /* 2: in time, and it counts anew */
        stamp += KELP_RESTORE_QUIET_MAX_NS - less;
        put_part(A, 1, "z"); /* 3 */
        put_end(KELP_RESTORE_COMMIT, A);
        struct rsm *r = made();
        struct told told = {0};
        all_applied(r, &told);
        assert_int_equal(told.refused[2], KELP_R_NONE);
        assert_int_equal(told.refused[3], less == 1 ? KELP_R_NONE : KELP_R_NOT_STAGED);
        assert_int_equal(rsm_state_hash(r), less == 1 ? hash_of("xyz") : hash_of(""));
        if (less == 0) assert_int_equal(status_of(r).end, KELP_RESTORE_LAPSED);
        if (less == 0) assert_int_equal(status_of(r).ended_at, 3);
        rsm_free(r);
    }
}

/* .. or for so many entries, of any kind. */
static void what_lies_too_far_back_in_the_log_ends(void **state)
{
    (void)state;
    struct pile *pile = calloc(1, sizeof *pile);
    struct stage s;
    struct stage_verdict verdict;
    struct wire_entry e;
    size_t used;
    log_begin();
    put_begin(A, "xyz", 2, 0);
    stage_init(&s, &ops, pile, 0);
    assert_int_equal(wire_entry_open(entries[1], &e, &used, NULL), KELP_OK);
    assert_int_equal(stage_apply(&s, &e, 1, &verdict, NULL), KELP_OK);
    assert_int_equal(verdict.refused, KELP_R_NONE);
    stage_lapse(&s, KELP_RESTORE_ENTRIES_MAX, 1);
    assert_true(stage_open(&s));
    stage_lapse(&s, 1 + KELP_RESTORE_ENTRIES_MAX, 1);
    assert_false(stage_open(&s));
    assert_int_equal(s.status.end, KELP_RESTORE_LAPSED);
    pile_close(pile);
}

/* The machine is told both clocks, of the file and of the entry that begins. */
static void the_machine_is_told_the_clocks(void **state)
{
    (void)state;
    struct pile *pile = calloc(1, sizeof *pile);
    struct rsm *r = rsm_new(&ops, pile, 0);
    struct told told = {0};
    log_begin();
    put_begin(A, "xyz", 2, 0);
    all_applied(r, &told);
    assert_int_equal(pile->then_ns, 7);
    assert_int_equal(pile->now_ns, 100);
    rsm_free(r);
}

/* ---- sessions ---- */

static void sessions_end_where_the_state_becomes_another(void **state)
{
    (void)state;
    log_begin();
    put(KELP_ENTRY_SESSION, 0, 0, bytes_of("", 0)); /* 1 */
    put(KELP_ENTRY_COMMAND, 1, 1, bytes_of("a", 1));
    put_begin(A, "x", 1, 0);
    put_part(A, 0, "x");
    put(KELP_ENTRY_COMMAND, 1, 2, bytes_of("b", 1)); /* 5: still there */
    put_end(KELP_RESTORE_COMMIT, A);
    put(KELP_ENTRY_COMMAND, 1, 2, bytes_of("b", 1)); /* 7: asked again */
    put(KELP_ENTRY_COMMAND, 1, 3, bytes_of("c", 1));
    put(KELP_ENTRY_SESSION, 0, 0, bytes_of("", 0)); /* 9: a new one */
    put(KELP_ENTRY_COMMAND, 9, 1, bytes_of("d", 1));
    struct rsm *r = made();
    struct told told = {0};
    all_applied(r, &told);
    assert_int_equal(told.refused[5], KELP_R_NONE);
    assert_int_equal(told.refused[7], KELP_R_UNKNOWN_SESSION);
    assert_int_equal(told.refused[8], KELP_R_UNKNOWN_SESSION);
    assert_int_equal(told.refused[10], KELP_R_NONE);
    assert_int_equal(rsm_sessions(r).sessions, 1);
    rsm_free(r);
}

/* One that was begun before, and goes on: it shows what was, sessions too. */
static void an_open_snapshot_shows_what_was_before(void **state)
{
    (void)state;
    log_begin();
    put(KELP_ENTRY_SESSION, 0, 0, bytes_of("", 0));
    put(KELP_ENTRY_COMMAND, 1, 1, bytes_of("a", 1)); /* 2 */
    for (unsigned times = 0; times < 2; times++) {
        put_begin(A, "x", 1, 0);
        put_part(A, 0, "x");
        put_end(KELP_RESTORE_COMMIT, A);
        put(KELP_ENTRY_SESSION, 0, 0, bytes_of("", 0));
    }
    struct rsm *r = made(), *other = made();
    struct told told = {0};
    assert_int_equal(applied(r, &told, 2), KELP_OK);
    uint64_t hash = rsm_state_hash(r);
    assert_int_equal(snapshot_begin(r), KELP_OK);
    all_applied(r, &told);
    assert_int_equal(rsm_sessions(r).sessions, 1);
    assert_int_not_equal(rsm_state_hash(r), hash);
    assert_int_equal(snapshot_move(r, other), KELP_OK);
    rsm_snapshot_end(r);
    assert_int_equal(rsm_state_hash(other), hash);
    assert_int_equal(rsm_sessions(other).answers, 1);
    all_applied(other, &told);
    assert_int_equal(rsm_state_hash(other), rsm_state_hash(r));
    rsm_free(r);
    rsm_free(other);
}

/* It is of a later state: the entries between, which end what was staged, never come. */
static void an_installed_snapshot_ends_what_is_staged(void **state)
{
    (void)state;
    log_of_one();
    struct rsm *r = made(), *late = made();
    struct told told = {0};
    all_applied(r, &told);
    assert_int_equal(applied(late, &told, 5), KELP_OK);
    assert_int_equal(status_of(late).next, 1);
    assert_int_equal(snapshot_begin(r), KELP_OK);
    assert_int_equal(snapshot_move(r, late), KELP_OK);
    rsm_snapshot_end(r);
    assert_int_equal(status_of(late).id, 0);
    assert_int_equal(status_of(late).end, KELP_RESTORE_REPLACED);
    assert_int_equal(rsm_state_hash(late), rsm_state_hash(r));
    rsm_free(r);
    rsm_free(late);
}

/* .. one that turns out damaged does not: this member goes on from its log. */
static void a_snapshot_that_is_not_taken_leaves_it_staged(void **state)
{
    (void)state;
    log_of_one();
    struct rsm *r = made();
    struct told told = {0};
    struct wire_config config = config_of_one();
    const struct wire_snaphead head = {
        .pos = kelp_pos_of(20, 1), .config = config, .own = bytes_of("0123456789abcdef", 16)};
    assert_int_equal(applied(r, &told, 5), KELP_OK);
    assert_int_equal(rsm_restore_begin(r, &head, NULL), KELP_OK);
    rsm_restore_abort(r);
    assert_int_equal(status_of(r).next, 1);
    all_applied(r, &told);
    assert_int_equal(rsm_state_hash(r), hash_of("xyze"));
    rsm_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_effect_at_one_entry_wherever_batches_are_cut),
        cmocka_unit_test(position_clock_and_chain_go_on),
        cmocka_unit_test(a_restart_at_every_point_comes_to_the_same_state),
        cmocka_unit_test(what_is_asked_again_is_done_and_what_is_missing_is_refused),
        cmocka_unit_test(another_takes_its_place_only_by_force),
        cmocka_unit_test(what_is_aborted_leaves_the_state_as_it_is),
        cmocka_unit_test(what_is_not_what_begin_promised_is_not_taken),
        cmocka_unit_test(without_memory_for_a_part_it_stops),
        cmocka_unit_test(a_step_that_this_version_does_not_know_stops_it),
        cmocka_unit_test(a_machine_that_cannot_stage_refuses),
        cmocka_unit_test(what_is_quiet_for_too_long_ends),
        cmocka_unit_test(what_lies_too_far_back_in_the_log_ends),
        cmocka_unit_test(the_machine_is_told_the_clocks),
        cmocka_unit_test(sessions_end_where_the_state_becomes_another),
        cmocka_unit_test(an_open_snapshot_shows_what_was_before),
        cmocka_unit_test(an_installed_snapshot_ends_what_is_staged),
        cmocka_unit_test(a_snapshot_that_is_not_taken_leaves_it_staged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
