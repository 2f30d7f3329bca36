/* SPDX-License-Identifier: Apache-2.0 */
/* restorer.c - somebody who restores the cluster through its log while everything else goes on
 * (kelp_sim_options.restores).
 *
 * Its files are what machines of running nodes were some time ago. One step at a time, on a line of
 * its own, through any node: it begins, by force too, goes on where that node is, or elsewhere,
 * repeats itself, gives up, and in one of eight files a byte is another one. The built-in clients
 * judge every answer by what was written, so beside them it never commits; beside a workload it
 * does. What must hold: one answer, in time; a step that is done or refused says so for a reason
 * that fits; and all members have the same state, and the same staged, at every index (I28,
 * watch.c), whichever of them took part. When the cluster is healed it ends what is staged: logs
 * must get short again. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/min.h"
#include "sim/world.h"

#define MS          ((kelp_ns)1000000)
#define LATE_MAX    (250 * MS) /* an answer may come so long after its deadline */
#define OBJECT_ROOM 512u       /* small ones, so that a file has several */

struct file_object {
    uint8_t *data; /* owned */
    size_t len;
};

struct restore_file {
    uint8_t own[KELP_FSM_OWN_BYTES_MAX];
    size_t own_len, count, room;
    uint64_t bytes, time_ns;
    struct file_object *objects;
    bool damaged;
};

static void file_free(struct restore_file *f)
{
    for (size_t i = 0; f != NULL && i < f->count; i++)
        free(f->objects[i].data);
    if (f != NULL) free(f->objects);
    free(f);
}

static bool object_add(struct restore_file *f, const uint8_t *bytes, size_t len)
{
    if (f->count == f->room) {
        size_t room = max_u64(2 * f->room, 16);
        struct file_object *more = realloc(f->objects, room * sizeof *more);
        if (more == NULL) return false;
        f->objects = more;
        f->room = room;
    }
    uint8_t *data = malloc(len);
    if (data == NULL) return false;
    memcpy(data, bytes, len);
    f->objects[f->count++] = (struct file_object){data, len};
    f->bytes += len;
    return true;
}

static bool objects_read(struct restore_file *f, const struct kelp_fsm_ops *ops, void *machine,
                         void *snapshot)
{
    static uint8_t room[WIRE_OBJECT_BYTES_MAX];
    bool last = (ops->flags & KELP_FSM_DISPOSABLE) != 0, good = true;
    while (!last && good) {
        size_t len = OBJECT_ROOM;
        good = ops->snapshot_read(machine, snapshot, room, &len, &last) == KELP_OK &&
               (len == 0 || object_add(f, room, len));
    }
    return good;
}

/* What the machine of a node is now; NULL: there is none to be had. */
static struct restore_file *file_of(const struct node *n)
{
    const struct kelp_fsm_ops *ops = n->world->machine.ops;
    void *snapshot = NULL;
    struct driver_status status;
    driver_status(n->driver, &status);
    if (status.snapshot.open.index != 0 || ops->stage_begin == NULL) return NULL;
    struct restore_file *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    if (ops->snapshot_begin(n->machine, 0, f->own, &f->own_len, &snapshot) != KELP_OK) {
        free(f);
        return NULL;
    }
    bool good = objects_read(f, ops, n->machine, snapshot);
    if (ops->snapshot_end != NULL) ops->snapshot_end(n->machine, snapshot);
    f->time_ns = rsm_time_ns(n->rsm);
    if (good) return f;
    file_free(f);
    return NULL;
}

/* ---- steps ---- */

static bool fits(const struct restorer *r, const struct driver_outcome *o)
{
    if (o->outcome == KELP_LOST || o->outcome == KELP_UNKNOWN) return true;
    bool done = o->outcome == KELP_DONE, first = r->kind == KELP_RESTORE_BEGIN;
    if (done && r->kind == KELP_RESTORE_COMMIT) return !r->file->damaged;
    if (o->reason == KELP_R_STAGED) return first && !r->forced;
    if (o->reason == KELP_R_PART_MISSING)
        return r->kind == KELP_RESTORE_PART || r->kind == KELP_RESTORE_COMMIT;
    if (o->reason == KELP_R_NOT_STAGED) return !first;
    return true;
}

static void told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct world *w = ctx;
    struct restorer *r = &w->restorer;
    if (r->line == NULL || token != r->token) {
        checker_fail(w->checker, RULE_S01, "a step of a restore is answered twice");
        return;
    }
    if (!fits(r, o))
        checker_fail(w->checker, RULE_S05, "step %d of a restore is %s: %s", (int)r->kind,
                     kelp_outcome_name(o->outcome), kelp_reason_name(o->reason));
    w->report->restore_steps += o->outcome == KELP_DONE;
    if (o->outcome == KELP_DONE && r->kind == KELP_RESTORE_COMMIT) w->report->restored++;
    driver_line_close(w->nodes[r->node].driver, r->line);
    r->line = NULL;
}

static void forget_the_dead(struct world *w)
{
    struct restorer *r = &w->restorer;
    if (r->line == NULL) return;
    const struct node *n = &w->nodes[r->node];
    bool there = n->life == r->life && (n->state == NODE_UP || n->state == NODE_FAULTED);
    if (!there) r->line = NULL; /* it went with the driver */
}

static void submit(struct world *w, struct node *n, const struct kelp_restore_step *step)
{
    struct restorer *r = &w->restorer;
    r->line = driver_line_open(n->driver, told, w);
    if (r->line == NULL) return;
    r->node = n->slot;
    r->life = n->life;
    r->token++;
    r->kind = step->kind;
    r->forced = (step->flags & KELP_RESTORE_FORCE) != 0;
    r->deadline = node_clock(n) + 1000 * MS;
    r->until = w->now + 5000 * MS;
    if (!driver_restore(n->driver, node_clock(n), r->line, r->token, step,
                        (struct kelp_bytes){NULL, 0}, r->deadline, true)) {
        checker_fail(w->checker, RULE_W02, "no memory for a restore");
        return;
    }
    node_run(n);
}

static void begin(struct world *w, struct node *n, bool again)
{
    struct restorer *r = &w->restorer;
    struct draw *draw = stream(w, STREAM_CLIENT);
    if (!again || r->file == NULL) {
        file_free(r->file);
        r->file = file_of(n);
        if (r->file == NULL) return;
        r->id++;
        if (r->file->count > 0 && draw_chance(draw, 1, 8)) {
            struct file_object *o = &r->file->objects[draw_below(draw, r->file->count)];
            o->data[draw_below(draw, o->len)] ^= 1;
            r->file->damaged = true;
        }
    }
    const struct kelp_restore_step step = {
        .kind = KELP_RESTORE_BEGIN,
        .flags = draw_chance(draw, 1, 2) ? KELP_RESTORE_FORCE : 0,
        .id = r->id,
        .objects = r->file->count,
        .object_bytes = r->file->bytes,
        .time_ns = r->file->time_ns,
        .wall_unix_ms = 1,
        .bytes = {r->file->own, r->file->own_len},
    };
    submit(w, n, &step);
}

static void part(struct world *w, struct node *n, uint64_t number)
{
    const struct restore_file *f = w->restorer.file;
    if (number >= f->count) return;
    const struct kelp_restore_step step = {
        .kind = KELP_RESTORE_PART,
        .id = w->restorer.id,
        .number = number,
        .bytes = {f->objects[number].data, f->objects[number].len}};
    submit(w, n, &step);
}

static void end(struct world *w, struct node *n, enum kelp_restore_kind kind, uint64_t id)
{
    const struct kelp_restore_step step = {.kind = kind, .id = id};
    submit(w, n, &step);
}

/* By chance, but mostly what comes next. */
static void act(struct world *w, struct node *n)
{
    struct restorer *r = &w->restorer;
    struct draw *draw = stream(w, STREAM_CLIENT);
    struct kelp_restore_status staged;
    driver_staged(n->driver, &staged);
    bool ours = r->file != NULL && staged.id == r->id;
    uint64_t chance = draw_below(draw, 64);
    bool commits = w->options.workload != NULL;
    if (w->healing) {
        if (staged.id != 0) end(w, n, KELP_RESTORE_ABORT, staged.id);
    } else if (!ours && chance < 32) {
        begin(w, n, chance < 8);
    } else if (ours && chance == 0) {
        end(w, n, KELP_RESTORE_ABORT, staged.id);
    } else if (ours && chance == 1) {
        begin(w, n, chance % 2 == 0);
    } else if (r->file != NULL && chance < 6) {
        part(w, n, draw_below(draw, r->file->count + 1)); /* whatever stands there */
    } else if (r->file != NULL && chance < 8 && commits) {
        end(w, n, KELP_RESTORE_COMMIT, r->id);
    } else if (ours && staged.next < staged.objects) {
        part(w, n, staged.next);
    } else if (ours && commits) {
        end(w, n, KELP_RESTORE_COMMIT, r->id);
    } else if (ours) {
        end(w, n, KELP_RESTORE_ABORT, r->id);
    }
}

void restorer_acts(struct world *w)
{
    struct restorer *r = &w->restorer;
    if (!w->options.restores) return;
    forget_the_dead(w);
    struct node *n = &w->nodes[draw_below(stream(w, STREAM_CLIENT), w->node_count)];
    if (r->line != NULL || n->state != NODE_UP || n->closed || node_paused(n)) return;
    if (n->apart || checker_witness(w->checker, n->slot)) return;
    act(w, n);
}

/* Where a clock stands still, nobody is answered. */
static void gives_up_waiting(struct world *w)
{
    struct restorer *r = &w->restorer;
    if (r->line == NULL || w->now < r->until) return;
    driver_line_close(w->nodes[r->node].driver, r->line);
    r->line = NULL;
}

bool restorer_over(const struct node *n)
{
    struct kelp_restore_status staged;
    return !n->world->options.restores || !rsm_staged(n->rsm, &staged);
}

void restorer_look(struct world *w)
{
    const struct restorer *r = &w->restorer;
    forget_the_dead(w);
    if (w->healing) gives_up_waiting(w);
    if (r->line == NULL && w->healing && w->clients.stopped) {
        restorer_acts(w); /* no client wakes any more */
        return;
    }
    if (r->line == NULL) return;
    const struct node *n = &w->nodes[r->node];
    if (n->state != NODE_UP || node_paused(n)) return;
    if (min_u64(n->wake, n->apply_end) <= w->now) return;
    if (node_clock(n) > r->deadline + LATE_MAX)
        checker_fail(w->checker, RULE_L04, "node %u has not answered a step of a restore in time",
                     r->node + 1u);
}

uint64_t restorer_hash(const struct node *n)
{
    struct kelp_restore_status s;
    if (!rsm_staged(n->rsm, &s)) return 0;
    return hash_mix(hash_mix(hash_mix(s.id, s.next), s.bytes), s.index);
}

void restorer_free(struct world *w)
{
    file_free(w->restorer.file);
    w->restorer.file = NULL;
}
