/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - a snapshot that this node needs: fetched, made durable, restored, installed. [§5.1.3]
 *
 *  NONE --offered--> CLEARS --own one is over--> ASKS --all at disk--> NAMES --durable--> RESTORES
 *   ^  ^                                          |                                        |
 *   |  +----- DROPS <-- gone, damaged, no room ---+       nothing open, one object a run   |
 *   +--- INSTALLS <-- the core has taken it in, see core/snap.c <--------------------------+
 *        STARTS   <-- the same of a node that has no log yet: term and log saved first <---+
 *
 * The receiver leads: it asks for what comes next and how far the other may go on, so a connection
 * that is lost, or a leader that changes, costs what was on its way and nothing else. Whom it asks
 * need not lead: what a snapshot shows is committed. One that does not answer any more is left for
 * whoever offers another. Pieces arrive in order, each is verified, and they are written beside the
 * log like those of an own snapshot, in the same place: so there is one or the other. With the last
 * of them durable the head goes in front and the file gets its name.
 *
 * From then on it is this node's newest snapshot, whatever happens: a start that finds it beyond
 * the log begins behind it (store.c). The machine restores from the file, all or nothing, while
 * nothing is applied; then the core resets its log, or finds that it need not. A witness fetches
 * the head alone and keeps one that says so: it has no state.
 *
 * An offer that was overtaken, since the log caught up meanwhile, ends as an own snapshot.
 * Invariants: pieces are given to the store one at a time and in order; nothing is applied from
 * RESTORES on; the machine's restore ends in a commit or an abort, once. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/fault.h"
#include "driver/room.h"
#include "wire/fetch.h"

#define WINDOW_BYTES (4u * WIRE_SNAPCHUNK_BYTES_MAX) /* on their way, and waiting for the disk */
#define SILENT_MAX   2u                              /* asked so often in vain: whoever offers .. */
#define SLOW_MAX     (10000 * MILLISECOND) /* .. so many times a slow lane took, up to this .. */
#define BIRTH_MAX    3u                    /* .. and who has no log waits so much longer */
#define LENIENT_MAX  (60000 * MILLISECOND) /* for one piece, once fetches ended in silence */
#define AFTER_FAILED (1000 * MILLISECOND)  /* doubled each time .. */
#define FAILED_TWICE 2u                    /* .. so often */

/* Without an answer: ask again. Who may not send yet says so. */
static kelp_ns patience(const struct driver *d)
{
    return d->options.core.election_max;
}

/* .. and not before the last answer would have come: it stands in the same lane as the pieces. */
static kelp_ns again_at(const struct driver *d)
{
    const struct fetching *f = &d->fetching;
    kelp_ns after = max_u64(patience(d), min_u64(f->slowest, SLOW_MAX));
    return add_sat(max_u64(f->heard, f->asked_at), after);
}

/* How long nothing may come: on a lane that stands a piece may take its time, as those before it
 * did. A piece that is much larger than they were is taken for silence all the same; so who comes
 * behind a silence is given twice as long, and asked for one piece at a time, so that what is left
 * behind does not fill the lanes, until one fetch has ended well: else no snapshot would ever come
 * over a lane that is slower than the largest piece allows for. */
static kelp_ns silence_max(struct driver *d)
{
    const struct fetching *f = &d->fetching;
    const struct peer *p = peer_find(d, f->from);
    bool connected = p != NULL && p->connection[KELP_LANE_SNAPSHOT] != 0;
    kelp_ns most = SILENT_MAX * patience(d);
    kelp_ns slow = f->birth ? BIRTH_MAX * SLOW_MAX : min_u64(SILENT_MAX * f->slowest, SLOW_MAX);
    return connected ? max_u64(most, max_u64(slow, f->lenient)) : most;
}

static bool silent(struct driver *d)
{
    return d->now - d->fetching.heard > silence_max(d);
}

static void silence_ends(struct driver *d)
{
    struct fetching *f = &d->fetching;
    const struct peer *p = peer_find(d, f->from);
    if (p == NULL || p->connection[KELP_LANE_SNAPSHOT] == 0) return; /* a slow lane is none */
    f->lenient = min_u64(2 * silence_max(d), LENIENT_MAX);
}

/* ---- beginnings and ends ---- */

static void arrived_free(struct fetching *f)
{
    struct arrived *piece;
    while ((piece = STAILQ_FIRST(&f->arrived)) != NULL) {
        STAILQ_REMOVE_HEAD(&f->arrived, link);
        free(piece);
    }
}

static void machine_abort(struct driver *d)
{
    if (!d->fetching.restoring) return;
    d->fetching.restoring = false;
    d->ports.machine->restore_abort(d->ports.machine_ctx);
}

/* What is not of one fetch stays. */
static void over(struct driver *d)
{
    struct fetching *f = &d->fetching;
    machine_abort(d);
    arrived_free(f);
    free(f->written_piece);
    free(f->head);
    free(f->shown);
    *f = (struct fetching){.ask = f->ask,
                           .after = f->after,
                           .failed_in_a_row = f->failed_in_a_row,
                           .lenient = f->lenient,
                           .offer = f->offer,
                           .offer_from = f->offer_from,
                           .offered_at = f->offered_at,
                           .again = f->again,
                           .fetched = f->fetched,
                           .failed = f->failed};
    STAILQ_INIT(&f->arrived);
}

/* The file that was begun goes; then NONE. */
static void drop(struct driver *d)
{
    struct fetching *f = &d->fetching;
    if (f->birth) found_not_fetched(d->found);
    if (!f->given) {
        over(d);
        return;
    }
    f->phase = FETCH_DROPS;
    f->answers_open++;
    d->ports.store->drop(d->ports.store_ctx, d->options.group);
}

static void give_up(struct driver *d, const char *why)
{
    struct fetching *f = &d->fetching;
    kelp_ns wait = AFTER_FAILED << f->failed_in_a_row;
    if (f->failed_in_a_row < FAILED_TWICE) f->failed_in_a_row++;
    f->failed++;
    f->after = d->now + wait;
    driver_note(d, KELP_WARN,
                "the snapshot at %" PRIu64 " of node %" PRIu64 " was given up, for %" PRIu64
                " s: %s",
                f->pos.index, f->from, wait / (1000 * MILLISECOND), why);
    drop(d);
}

static void ask(struct driver *d)
{
    struct fetching *f = &d->fetching;
    const struct peer *p = peer_find(d, f->from);
    uint8_t *head = scratch_take(d, WIRE_FRAME_HEAD + WIRE_FETCH_MAX);
    struct kelp_bytes *parts = scratch_take(d, 2 * sizeof *parts);
    f->asked_at = d->now;
    if (p == NULL || head == NULL || parts == NULL) return; /* asked again */
    f->connection = p->connection[KELP_LANE_SNAPSHOT];
    if (f->connection == 0) return;
    /* what waits for the disk counts: asked again once that is further on */
    struct wire_fetch m = {.pos = f->pos,
                           .offset = f->next,
                           .ask = f->ask,
                           .window = sub_sat(f->at + WINDOW_BYTES, f->next)};
    if (m.window == 0) return;
    if (f->lenient > 0) m.window = 1; /* one piece */
    f->asked_to = f->next + m.window;
    uint8_t *fixed = head + WIRE_FRAME_HEAD;
    parts[0] = bytes_of(head, WIRE_FRAME_HEAD);
    parts[1] = bytes_of(fixed, wire_fetch_encode(&m, fixed));
    wire_frame_head(head, WIRE_FETCH, d->options.group, parts + 1, 1);
    (void)d->ports.peers->send(d->ports.peers_ctx, d->options.group, f->from, KELP_LANE_SNAPSHOT,
                               f->connection, parts, 2);
}

/* Something is missing of what was sent: from there on once more. */
static void ask_anew(struct driver *d)
{
    d->fetching.ask++;
    d->fetching.gap = false;
    ask(d);
}

static void asks_begin(struct driver *d)
{
    struct fetching *f = &d->fetching;
    f->phase = FETCH_ASKS;
    f->heard = d->now;
    driver_note(d, KELP_INFO, "fetches the snapshot at %" PRIu64 "@%" PRIu64 " of node %" PRIu64,
                f->pos.index, f->pos.term.v, f->from);
    ask_anew(d);
}

static void begin(struct driver *d, kelp_id from, struct kelp_pos pos)
{
    struct fetching *f = &d->fetching;
    ASSERT(f->phase == FETCH_NONE);
    f->again = false;
    f->head = malloc(WIRE_SNAPHEAD_BYTES_MAX);
    f->shown = malloc(sizeof *f->shown);
    if (f->head == NULL || f->shown == NULL) {
        over(d);
        f->after = d->now + AFTER_FAILED;
        return;
    }
    f->pos = pos;
    f->from = from;
    f->phase = FETCH_CLEARS;
    if (snapshot_gives_way(d)) asks_begin(d);
}

static bool takes_snapshots(const struct driver *d)
{
    const struct driver_machine_ops *m = d->ports.machine;
    return d->ports.store->fetch != NULL && m->restore_begin != NULL;
}

/* The core needs it; told again as long as it does. */
void fetch_offered(struct driver *d, kelp_id from, struct kelp_pos pos)
{
    struct fetching *f = &d->fetching;
    if (d->state != DRIVER_RUNNING || d->closing || d->fault_due) return;
    if (!takes_snapshots(d)) {
        if (!f->told)
            driver_note(d, KELP_ERROR,
                        "needs the snapshot of node %" PRIu64
                        ": this state machine cannot be restored from one",
                        from);
        f->told = true;
        return;
    }
    if (f->again && f->offer.index > pos.index) return; /* it told so before that was gone */
    f->offer = pos;
    f->offer_from = from;
    f->offered_at = d->now;
}

/* ---- pieces ---- */

static bool cluster_fits(const struct driver *d, struct kelp_cluster_id cluster)
{
    return cluster_zero(cluster) || cluster_equal(cluster, d->found->setup.cluster);
}

/* A witness has no state: it keeps the head alone, and one that says so. */
static bool head_strip(struct fetching *f)
{
    f->shown->hollow = true;
    f->shown->object_count = f->shown->object_bytes = 0;
    f->shown->own = bytes_of(NULL, 0);
    f->head_len = wire_snaphead_encode(f->shown, f->head, WIRE_SNAPHEAD_BYTES_MAX);
    f->size = f->next = f->at = f->head_len;
    return f->head_len > 0;
}

/* A node without a log takes the cluster that has it as a member, or may have added it since. */
static const char *birth_fits(struct driver *d, bool *witness)
{
    const struct wire_config *c = &d->fetching.shown->config;
    kelp_id self = d->options.core.self;
    for (size_t slot = 0; slot < c->config.count; slot++) {
        const struct kelp_member *member = &c->config.members[slot];
        if (member->id != self) continue;
        *witness = member->role == KELP_WITNESS || member->role_old == KELP_WITNESS;
        if (member->incarnation == d->options.incarnation) return NULL;
        found_refused(d->found, c->created_unix_ms, c->config.id_highest + 1, "");
        return "another directory has this node's id there";
    }
    return self > c->config.id_highest ? NULL : "this node was removed there";
}

/* NULL, or what is wrong with it. */
static const char *head_take(struct driver *d, const struct wire_piece *m)
{
    struct fetching *f = &d->fetching;
    size_t used = 0;
    struct kelp_fault fault = {.error = KELP_OK};
    if (m->bytes.len > WIRE_SNAPHEAD_BYTES_MAX) return "its head is too long";
    memcpy(f->head, m->bytes.data, m->bytes.len);
    f->head_len = m->bytes.len;
    if (wire_snaphead_decode(bytes_of(f->head, f->head_len), f->shown, &used, &fault) != KELP_OK ||
        used != f->head_len)
        return "its head is damaged, or of another version";
    if (!kelp_pos_equal(f->shown->pos, f->pos)) return "it ends elsewhere";
    if (!cluster_fits(d, f->shown->cluster)) return "it is of another cluster";
    if (f->shown->hollow) return "it holds positions alone";
    if (m->size != f->head_len + f->shown->object_bytes) return "its head says another size";
    f->size = m->size;
    f->next = f->at = f->head_len;
    bool witness = false;
    const char *wrong = f->birth ? birth_fits(d, &witness) : NULL;
    if (wrong != NULL) return wrong;
    kelp_id self = d->options.core.self;
    if (!f->birth) { /* its log may end before the entry that made it one */
        bool shown = strip_witness_in(&f->shown->config.config, self, &witness);
        witness = (shown && witness) || strip_wanted(d, self);
    }
    return witness && !head_strip(f) ? "its head does not fit" : NULL;
}

static const char *chunk_take(struct fetching *f, const struct wire_piece *m)
{
    if (f->next - f->at >= WINDOW_BYTES) { /* nobody asked for so much */
        f->gap = true;
        return NULL;
    }
    struct wire_snapchunk chunk;
    struct kelp_fault fault = {.error = KELP_OK};
    struct wire_snapplace place = {.pos = f->pos, .offset = m->offset - f->head_len};
    size_t used = 0;
    if (m->size != f->size) return "it changed its size";
    if (wire_snapchunk_open(m->bytes, place, &chunk, &used, &fault) != KELP_OK ||
        used != m->bytes.len)
        return "a piece is damaged";
    struct arrived *piece = malloc(sizeof *piece + m->bytes.len);
    if (piece == NULL) return NULL; /* as if it had been lost */
    piece->len = m->bytes.len;
    memcpy(piece->data, m->bytes.data, m->bytes.len);
    STAILQ_INSERT_TAIL(&f->arrived, piece, link);
    f->next += m->bytes.len;
    return NULL;
}

/* What comes is wanted whichever question it answers: a slow lane brings what was asked for long
 * ago, and asking for it anew would only make it wait behind itself. Only what was sent for the
 * last question shows that something before it is lost: all of it was sent in order. */
enum kelp_error fetch_arrived(struct driver *d, kelp_id from, uint64_t connection,
                              struct kelp_bytes body, struct kelp_fault *fault)
{
    struct fetching *f = &d->fetching;
    struct wire_piece m;
    enum kelp_error error = wire_piece_decode(body, &m, fault);
    if (error != KELP_OK || rejoin_answered(d, from, connection, &m)) return error;
    bool ours = f->phase == FETCH_ASKS && from == f->from && connection == f->connection &&
                kelp_pos_equal(m.pos, f->pos);
    if (!ours) return KELP_OK; /* of an earlier fetch */
    f->slowest = max_u64(f->slowest, d->now - f->heard);
    f->heard = d->now;
    f->term.v = max_u64(f->term.v, m.term.v);
    bool last_asked = m.ask == f->ask;
    if (m.offset != f->next) {
        f->gap = f->gap || (last_asked && m.offset > f->next);
        return KELP_OK;
    }
    if (m.state == WIRE_PIECE_WAITS) return KELP_OK;
    if (m.state == WIRE_PIECE_GONE) {
        if (!last_asked) return KELP_OK;
        bool other = m.newest.index > f->pos.index;
        if (other) { /* kept there while this one was fetched: begin with that */
            f->offer = m.newest;
            f->offer_from = from;
            f->offered_at = d->now;
            f->again = true;
        }
        f->gone = true;
        return KELP_OK;
    }
    const char *wrong = f->next == 0 ? head_take(d, &m) : chunk_take(f, &m);
    if (wrong != NULL) f->wrong = wrong;
    return KELP_OK;
}

/* One piece at a time goes to the disk; the last one, or none if there is none, makes them durable
 * together. */
static void piece_give(struct driver *d)
{
    struct fetching *f = &d->fetching;
    struct arrived *piece = STAILQ_FIRST(&f->arrived);
    STAILQ_REMOVE_HEAD(&f->arrived, link);
    f->written_piece = piece;
    f->given = true;
    f->answers_open++;
    uint64_t offset = f->at;
    f->at += piece->len;
    d->ports.store->piece(d->ports.store_ctx, d->options.group, offset,
                          bytes_of(piece->data, piece->len), f->at == f->size);
}

static void head_give(struct driver *d)
{
    struct fetching *f = &d->fetching;
    f->phase = FETCH_NAMES;
    d->ports.store->snapshot(d->ports.store_ctx, d->options.group, f->pos,
                             bytes_of(f->head, f->head_len));
}

/* Nothing comes any more. */
static void waits(struct driver *d)
{
    struct fetching *f = &d->fetching;
    bool elsewhere = f->offer.index > 0 && f->offered_at > f->heard &&
                     (f->offer_from != f->from || f->offer.index > f->pos.index);
    bool held = d->core != NULL && driver_look(d)->commit >= f->pos.index;
    if (silent(d) && (held || f->birth || elsewhere)) {
        silence_ends(d);
        if (f->birth && !held) { /* whoever finds us empty offers its own */
            give_up(d, "nothing comes any more");
            return;
        }
        if (!held) { /* else the log caught up, and nobody offers another one */
            driver_note(d, KELP_WARN,
                        "node %" PRIu64 " sends nothing of its snapshot at %" PRIu64
                        ": takes the one of node %" PRIu64,
                        f->from, f->pos.index, f->offer_from);
            f->failed++;
            f->again = true;
        }
        drop(d);
        return;
    }
    const struct peer *p = peer_find(d, f->from);
    bool another = p != NULL && p->connection[KELP_LANE_SNAPSHOT] != 0 &&
                   p->connection[KELP_LANE_SNAPSHOT] != f->connection;
    bool came = f->lenient > 0 && f->next > 0 && f->next < f->size && f->next >= f->asked_to;
    if (another || f->gap)
        ask_anew(d);
    else if (came || d->now >= again_at(d))
        ask(d); /* the same question: what is on its way is not sent twice */
}

static void asks_run(struct driver *d)
{
    struct fetching *f = &d->fetching;
    if (f->wrong != NULL) {
        give_up(d, f->wrong);
        return;
    }
    if (f->gone) {
        if (f->again)
            drop(d);
        else
            give_up(d, "it is not there any more");
        return;
    }
    if (f->answers_open > 0) {
        waits(d);
        return;
    }
    if (!STAILQ_EMPTY(&f->arrived))
        piece_give(d);
    else if (f->next > 0 && f->at == f->size)
        head_give(d);
    else
        waits(d);
}

/* ---- what the store says ---- */

static void piece_settle(struct driver *d)
{
    struct fetching *f = &d->fetching;
    struct taking *t = &d->taking; /* the store has one door for both */
    enum kelp_error error = t->piece_error;
    ASSERT(t->answered <= f->answers_open);
    f->answers_open -= t->answered;
    t->answered = 0;
    t->piece_error = KELP_OK;
    if (f->answers_open > 0) return;
    free(f->written_piece);
    f->written_piece = NULL;
    if (f->phase == FETCH_DROPS) {
        over(d);
        return;
    }
    if (error != KELP_OK) {
        give_up(d, kelp_strerror(error));
        return;
    }
    if (f->phase == FETCH_ASKS && f->next < f->size) ask(d); /* so much further on */
}

static void name_settle(struct driver *d)
{
    struct fetching *f = &d->fetching;
    struct taking *t = &d->taking;
    t->done = false;
    if (f->phase != FETCH_NAMES) return;
    if (t->done_error != KELP_OK) {
        give_up(d, kelp_strerror(t->done_error));
        return;
    }
    f->fetched++;
    f->failed_in_a_row = 0;
    f->lenient = 0;
    f->given = false;
    t->last = f->pos;
    if (!f->shown->hollow && !read_hollow(d)) found_snapshot(d->found, f->pos);
    t->last_at = d->now;
    t->last_bytes = f->size;
    t->grown_last = t->grown;
    f->phase = FETCH_RESTORES;
}

/* ---- restoring ---- */

static void broken(struct driver *d, enum kelp_error error, const struct kelp_fault *cause)
{
    struct kelp_fault fault = *cause;
    machine_abort(d);
    if (fault.what[0] == '\0') { /* the disk's words stay with who read */
        fault = (struct kelp_fault){.error = KELP_OK};
        (void)fault_set(&fault, error, "snap", "the snapshot at %" PRIu64 " could not be restored",
                        d->fetching.pos.index);
    }
    fault.error = error;
    fault.index = d->fetching.pos.index;
    driver_fail(d, &fault);
}

static bool still(const struct driver *d)
{
    return d->apply_open == 0 && !d->apply_reading && d->walk == NULL && d->walk_ended == 0 &&
           d->piece.purpose == PIECE_NONE;
}

/* A node without a log: the term and where the log begins, in one save, its first. */
static void start_give(struct driver *d)
{
    struct fetching *f = &d->fetching;
    f->phase = FETCH_STARTS;
    struct kelp_save save = {.number = ++d->save_given,
                             .flags = KELP_SAVE_VOTE | KELP_SAVE_RESET,
                             .term = f->term,
                             .end = f->pos,
                             .commit = f->pos.index};
    d->ports.store->save(d->ports.store_ctx, d->options.group, &save, NULL, 0);
}

void fetch_saved(struct driver *d)
{
    struct fetching *f = &d->fetching;
    struct kelp_fault fault = {.error = KELP_OK};
    if (f->phase != FETCH_STARTS || d->state == DRIVER_FAULTED) return;
    if (d->found->phase != FOUND_FETCH) return; /* the cluster refused it meanwhile */
    found_fetched(d->found, &f->shown->config);
    if (!f->shown->hollow) found_snapshot(d->found, f->pos);
    config_push(d, &f->shown->config);
    struct kelp_boot boot = {.term = f->term,
                             .base = f->pos,
                             .last = f->pos.index,
                             .commit = f->pos.index,
                             .applied = f->pos.index,
                             .snapshot = f->pos,
                             .runs_from = f->pos.index + 1};
    d->save_offset = d->save_given;
    if (raft_start(d, &boot, &fault) != KELP_OK) {
        driver_fail(d, &fault);
        return;
    }
    driver_note(d, KELP_INFO, "holds the snapshot at %" PRIu64 "@%" PRIu64 ", Raft starts",
                f->pos.index, f->pos.term.v);
    f->birth = false;
    over(d);
}

static void restored(struct driver *d)
{
    struct fetching *f = &d->fetching;
    struct kelp_fault fault = {.error = KELP_OK};
    enum kelp_error error =
        d->ports.machine->restore_commit(d->ports.machine_ctx, f->shown, &fault);
    f->restoring = false; /* a commit that failed has aborted */
    if (error != KELP_OK) {
        broken(d, error, &fault);
        return;
    }
    clock_at_least(d, f->shown->time_ns);
    quarantine_restored(d);
    d->hollow = f->shown->hollow;
    f->phase = FETCH_INSTALLS;
    if (f->birth) start_give(d);
}

static void restore_begin(struct driver *d)
{
    struct fetching *f = &d->fetching;
    struct kelp_fault fault = {.error = KELP_OK};
    if (d->core != NULL && d->applied >= f->pos.index) { /* the log was faster */
        struct kelp_input input = {.type = KELP_IN_SNAPSHOT, .pos = f->pos};
        (void)driver_step(d, &input);
        over(d);
        return;
    }
    enum kelp_error error = d->ports.machine->restore_begin(d->ports.machine_ctx, f->shown, &fault);
    if (error == KELP_E_NO_MEMORY) {
        f->after = d->now + AFTER_FAILED;
        return;
    }
    if (error != KELP_OK) {
        broken(d, error, &fault);
        return;
    }
    f->restoring = true;
    f->restored = f->head_len;
    if (f->shown->object_count == 0) restored(d);
}

/* One chunk came from the own disk. */
static void chunk_restore(struct driver *d)
{
    struct fetching *f = &d->fetching;
    struct kelp_fault fault = {.error = KELP_OK};
    bool all = false;
    enum kelp_error error = piece_object(d, &all, &fault);
    if (error == KELP_OK && !all) return;
    size_t len = d->piece.len;
    piece_over(d);
    if (error == KELP_E_NO_MEMORY) { /* all of it again, later */
        machine_abort(d);
        f->after = d->now + AFTER_FAILED;
        return;
    }
    if (error != KELP_OK) {
        broken(d, error, &fault);
        return;
    }
    f->restored += len;
    if (f->restored == f->size) restored(d);
}

static void restore_run(struct driver *d)
{
    struct fetching *f = &d->fetching;
    if (d->piece.purpose == PIECE_RESTORE && d->piece.done) chunk_restore(d);
    if (f->phase != FETCH_RESTORES || d->fault_due || d->now < f->after) return;
    if (!f->restoring && still(d)) restore_begin(d);
    if (f->phase == FETCH_RESTORES && f->restoring && !d->fault_due)
        (void)piece_read(d, PIECE_RESTORE, 0, f->pos, f->restored);
}

/* ---- installing ---- */

/* What was to be applied is passed over: nobody learns its result here. */
static void results_lost(struct driver *d, kelp_index upto)
{
    for (size_t i = 0; i < d->requests.chunk_count * REQUESTS_A_CHUNK; i++) {
        struct request *r = &d->requests.chunks[i / REQUESTS_A_CHUNK][i % REQUESTS_A_CHUNK];
        if (r->state == REQUEST_APPLYING && r->pos.index <= upto)
            request_close(d, r, KELP_UNKNOWN, KELP_R_SNAPSHOT_PASSED);
    }
}

static void log_begins_behind(struct driver *d)
{
    struct fetching *f = &d->fetching;
    cache_reset(d->cache);
    d->save_last = f->pos.index;
    d->led_term = 0;
    d->config_count = 0;
    d->config_committed = false;
    config_push(d, &f->shown->config);
}

static void install_run(struct driver *d)
{
    struct fetching *f = &d->fetching;
    uint64_t revision = driver_look(d)->revision;
    struct kelp_input input = {.type = KELP_IN_INSTALLED};
    input.installed.pos = f->pos;
    input.installed.term = f->term;
    input.installed.config = &f->shown->config.config;
    (void)driver_step(d, &input);
    if (driver_look(d)->applied < f->pos.index) return; /* something is looked up, or it faults */
    d->applied = d->applied_reported = f->pos.index;
    d->apply_next = f->pos.index + 1;
    d->apply_to = max_u64(d->apply_to, f->pos.index);
    if (driver_look(d)->revision != revision) log_begins_behind(d);
    config_sync(d);
    results_lost(d, f->pos.index);
    driver_note(d, KELP_INFO, "stands at %" PRIu64 "@%" PRIu64 " by the snapshot of node %" PRIu64,
                f->pos.index, f->pos.term.v, f->from);
    over(d);
    level_note(d);
    d->query_more = d->asker_count > 0;
}

/* ---- the driver's part ---- */

/* A node that is faulted, or stops, fetches nothing. */
static bool works(const struct driver *d)
{
    bool waits_for_it = d->state == DRIVER_WAITING && d->fetching.birth;
    return (d->state == DRIVER_RUNNING || waits_for_it) && !d->closing && !d->fault_due;
}

void fetch_birth(struct driver *d, kelp_id from, struct kelp_pos pos)
{
    struct fetching *f = &d->fetching;
    if (!takes_snapshots(d)) {
        found_not_fetched(d->found);
        return;
    }
    ASSERT(d->core == NULL);
    /* not so soon after one that failed, nor while the rest of that is being removed */
    if (f->phase == FETCH_NONE && d->now >= f->after) begin(d, from, pos);
    f->birth = f->phase == FETCH_CLEARS || f->phase == FETCH_ASKS;
    if (!f->birth) found_not_fetched(d->found);
}

bool fetch_take(struct driver *d, kelp_id from, struct kelp_pos pos)
{
    struct fetching *f = &d->fetching;
    ASSERT(pos.index > d->applied);
    if (f->phase == FETCH_NONE && d->now >= f->after) begin(d, from, pos);
    return f->phase != FETCH_NONE;
}

kelp_ns fetch_next(const struct driver *d)
{
    const struct fetching *f = &d->fetching;
    if (!works(d)) return KELP_NEVER;
    if (f->phase == FETCH_ASKS) return max_u64(again_at(d), d->now + 1);
    return f->phase == FETCH_RESTORES && f->after > d->now ? f->after : KELP_NEVER;
}

bool fetch_at_once(const struct driver *d)
{
    const struct fetching *f = &d->fetching;
    if (d->piece.done) return true;
    if (!works(d)) return false;
    switch (f->phase) {
    case FETCH_NONE: return f->again;
    case FETCH_CLEARS:
    case FETCH_NAMES:
    case FETCH_DROPS:
    case FETCH_STARTS:
    case FETCH_INSTALLS: return false;
    case FETCH_ASKS:
        if (f->wrong != NULL || f->gone || f->gap) return true;
        return f->answers_open == 0 &&
               (!STAILQ_EMPTY(&f->arrived) || (f->next > 0 && f->at == f->size));
    case FETCH_RESTORES: return d->now >= f->after && !f->restoring && still(d);
    }
    return false;
}

void fetch_free(struct driver *d)
{
    over(d);
    piece_over(d);
}

bool fetch_owns_disk(const struct driver *d)
{
    return d->fetching.phase > FETCH_CLEARS;
}

bool driver_fetches(const struct driver *d)
{
    return d->fetching.phase != FETCH_NONE;
}

bool fetch_holds_apply(const struct driver *d)
{
    return d->fetching.phase >= FETCH_RESTORES;
}

bool fetch_stands_apart(const struct driver *d)
{
    return d->fetching.phase == FETCH_INSTALLS;
}

void fetch_init(struct driver *d)
{
    STAILQ_INIT(&d->fetching.arrived);
    d->fetching.ask = d->options.start_count << 32;
}

void fetch_run(struct driver *d)
{
    struct fetching *f = &d->fetching;
    struct taking *t = &d->taking;
    if (fetch_owns_disk(d) && t->answered > 0) piece_settle(d);
    if (fetch_owns_disk(d) && t->done) name_settle(d);
    if (!works(d)) {
        if (d->piece.purpose == PIECE_RESTORE && d->piece.done) piece_over(d); /* for nobody */
        return;
    }
    bool begins = f->offer.index > 0 && f->phase == FETCH_NONE && f->offer_from != 0 &&
                  (d->now >= f->after || f->again);
    if (begins && (d->core == NULL || f->offer.index > driver_look(d)->commit))
        begin(d, f->offer_from, f->offer);
    if (f->phase == FETCH_NONE) {
        f->offer = kelp_pos_of(0, 0);
        f->again = false;
    }
    switch (f->phase) {
    case FETCH_NONE:
    case FETCH_NAMES:
    case FETCH_DROPS: break;
    case FETCH_CLEARS:
        if (snapshot_gives_way(d)) asks_begin(d);
        break;
    case FETCH_ASKS: asks_run(d); break;
    case FETCH_RESTORES: restore_run(d); break;
    case FETCH_STARTS:
    case FETCH_INSTALLS: break;
    }
    if (f->phase == FETCH_INSTALLS && !d->fault_due) install_run(d);
}
