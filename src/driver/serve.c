/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c - snapshots for others: pieces of one that is durable here go to whoever asks.
 *
 *   asked from an offset on --> WANTED --read--> piece sent --> .. as far as the window reaches
 *                                 ^                               |
 *                                 '------ asked further on -------'
 *
 * Who asks says what comes next, so nothing is remembered of what was lost on the way: a question
 * of a higher number begins again where it says, on another connection, of this node or of another
 * one that has the same snapshot. The same number once more sends nothing twice, since what was
 * sent may be on its way still: it lets the window go on, and is answered with how far that was.
 * The answer comes behind the pieces, so who then lacks one knows that it is lost.
 *
 * One piece is read at a time, peers take turns, and all of them together share one bucket of
 * tokens, so that the log and its entries keep their disk and their wire.
 *
 * A piece is verified when it is read. A snapshot that turns out damaged, or cannot be read for
 * another reason, is told to be gone, and a new one is taken (snapshot.c). Invariant: at most one
 * read of a piece is open, of serve.c, copy.c or fetch.c. */
#include <inttypes.h>
#include <stdlib.h>

#include "driver/room.h"
#include "wire/fetch.h"

#define SECOND       (1000 * MILLISECOND)
#define MICROSECONDS 1000000u
#define BURST_BYTES  WIRE_SNAPCHUNK_BYTES_MAX /* tokens that gather at most, if they are few */
#define BURST_PART   16u                      /* .. or this part of a second's */
#define AGAIN_NS     (5 * MILLISECOND)        /* a queue to a peer was full */
#define ASKED_MAX    (30 * SECOND)            /* who fetches asks more often than that */

/* ---- pieces, for serve.c, copy.c and fetch.c ---- */

bool piece_read(struct driver *d, enum piece_purpose purpose, kelp_id peer, struct kelp_pos pos,
                uint64_t offset)
{
    struct piece_read *piece = &d->piece;
    if (piece->purpose != PIECE_NONE) return false;
    *piece = (struct piece_read){.purpose = purpose, .peer = peer, .pos = pos, .offset = offset};
    d->snapshots_open = purpose != PIECE_CLOSE;
    d->ports.store->fetch(d->ports.store_ctx, d->options.group, pos, offset);
    return true;
}

void driver_fetched(struct driver *d, enum kelp_error error, uint64_t size, struct kelp_bytes bytes)
{
    struct piece_read *piece = &d->piece;
    ASSERT(piece->purpose != PIECE_NONE && !piece->done);
    piece->done = true;
    piece->error = error;
    piece->size = size;
    if (error != KELP_OK) return;
    piece->data = malloc(max_u64(bytes.len, 1));
    if (piece->data == NULL) {
        piece->error = KELP_E_NO_MEMORY;
        return;
    }
    memcpy(piece->data, bytes.data, bytes.len);
    piece->len = bytes.len;
}

void piece_over(struct driver *d)
{
    free(d->piece.data);
    d->piece = (struct piece_read){.purpose = PIECE_NONE};
}

/* ---- tokens ---- */

static void tokens_refill(struct driver *d)
{
    uint64_t rate = d->options.snapshots.send_rate;
    int64_t most = (int64_t)max_u64(rate / BURST_PART, BURST_BYTES);
    kelp_ns passed = min_u64(d->now - d->tokens_at, SECOND);
    uint64_t grown = rate / MICROSECONDS * (passed / 1000) +
                     rate % MICROSECONDS * (passed / 1000) / MICROSECONDS;
    if (grown == 0) return;
    d->tokens_at = d->now;
    d->tokens += (int64_t)grown;
    if (d->tokens > most) d->tokens = most;
}

/* Until then there are none; 0: there are some now. */
static kelp_ns tokens_wait(struct driver *d)
{
    uint64_t rate = d->options.snapshots.send_rate;
    if (rate == 0) return 0;
    tokens_refill(d);
    if (d->tokens > 0) return 0;
    uint64_t lacking = (uint64_t)(1 - d->tokens);
    return d->now + max_u64(1, lacking * MICROSECONDS / rate * 1000);
}

/* ---- sending ---- */

enum kelp_error serve_send(struct driver *d, const struct peer *p, uint64_t connection,
                           const struct wire_piece *piece)
{
    struct kelp_bytes *parts = scratch_take(d, 3 * sizeof *parts);
    uint8_t *head = scratch_take(d, WIRE_FRAME_HEAD + WIRE_PIECE_HEAD_MAX);
    uint8_t *bytes = scratch_take(d, max_u64(piece->bytes.len, 1));
    if (parts == NULL || head == NULL || bytes == NULL) return KELP_E_LIMIT;
    uint8_t *fixed = head + WIRE_FRAME_HEAD;
    size_t count = 2;
    parts[0] = bytes_of(head, WIRE_FRAME_HEAD);
    parts[1] = bytes_of(fixed, wire_piece_encode(piece, fixed));
    if (piece->bytes.len > 0) {
        memcpy(bytes, piece->bytes.data, piece->bytes.len);
        parts[count++] = bytes_of(bytes, piece->bytes.len);
    }
    wire_frame_head(head, WIRE_PIECE, d->options.group, parts + 1, count - 1);
    return d->ports.peers->send(d->ports.peers_ctx, d->options.group, p->id, KELP_LANE_SNAPSHOT,
                                connection, parts, count);
}

/* A connection is open to whoever knows the cluster; the state is for its members. */
bool serve_member(const struct driver *d, const struct peer *p)
{
    for (size_t i = 0; i < d->config_count; i++) {
        const struct kelp_config *c = &d->configs[i].config;
        for (size_t slot = 0; slot < c->count; slot++) {
            const struct kelp_member *m = &c->members[slot];
            if (m->id == p->id && m->incarnation == p->incarnation) return true;
        }
    }
    return false;
}

static void say(struct driver *d, const struct peer *p, enum wire_piece_state state)
{
    struct wire_piece m = {.state = (uint8_t)state,
                           .pos = p->serving.pos,
                           .offset = p->serving.next,
                           .ask = p->serving.ask,
                           .term = driver_look(d)->term};
    bool same = kelp_pos_equal(d->taking.last, p->serving.pos) || d->quarantine.apart;
    if (!same && !snapshot_lost(d) && serve_member(d, p)) m.newest = d->taking.last;
    (void)serve_send(d, p, p->serving.connection, &m); /* lost: it is asked again */
}

static void say_gone(struct driver *d, struct peer *p)
{
    say(d, p, WIRE_PIECE_GONE);
    p->serving = (struct serving){.ask = 0}; /* the same question once more is told so again */
}

/* Whatever the reason: who needs it would ask for it again and again. */
void piece_unreadable(struct driver *d, struct kelp_pos pos, enum kelp_error error)
{
    bool newest = kelp_pos_equal(d->taking.last, pos);
    bool known = snapshot_lost(d);
    if (error == KELP_E_ARGUMENT || (newest && known)) return; /* asked for what is no piece */
    if (!newest && error == KELP_E_NOT_FOUND) return;          /* removed behind a newer one */
    driver_note(d, KELP_ERROR, "the snapshot at %" PRIu64 "@%" PRIu64 " cannot be read: %s%s",
                pos.index, pos.term.v, kelp_strerror(error),
                newest ? "; another one is taken" : "");
    if (newest) snapshot_unreadable(d);
}

/* A piece came from the disk: is it still wanted? */
static void piece_came(struct driver *d)
{
    const struct piece_read *piece = &d->piece;
    struct peer *p = peer_find(d, piece->peer);
    struct serving *s = p != NULL ? &p->serving : NULL;
    bool wanted =
        s != NULL && s->wanted && kelp_pos_equal(s->pos, piece->pos) && s->next == piece->offset;
    if (!wanted) return;
    if (piece->error == KELP_E_NO_MEMORY) {
        d->serve_at = d->now + AGAIN_NS;
        return;
    }
    if (piece->error != KELP_OK) {
        piece_unreadable(d, piece->pos, piece->error);
        say_gone(d, p);
        return;
    }
    struct wire_piece m = {.state = WIRE_PIECE_BYTES,
                           .pos = s->pos,
                           .offset = s->next,
                           .ask = s->ask,
                           .size = piece->size,
                           .term = driver_look(d)->term,
                           .bytes = bytes_of(piece->data, piece->len)};
    enum kelp_error error = serve_send(d, p, p->serving.connection, &m);
    if (error == KELP_E_LIMIT) {
        d->serve_at = d->now + AGAIN_NS;
        return;
    }
    s->next += piece->len;
    s->wanted = error == KELP_OK && s->next < piece->size;
    if (d->options.snapshots.send_rate > 0) d->tokens -= (int64_t)piece->len;
    d->served_bytes += piece->len;
}

/* Peers take turns; waiting for tokens is none. */
static struct peer *next_wanting(const struct driver *d, size_t *turn)
{
    for (size_t i = 0; i < d->peer_count; i++) {
        struct peer *p = d->peers[(d->serve_turn + i) % d->peer_count];
        if (!p->serving.wanted || p->serving.next >= p->serving.limit) continue;
        *turn = (d->serve_turn + i + 1) % d->peer_count;
        return p;
    }
    return NULL;
}

static bool sends_at_once(struct driver *d, const struct serving *s)
{
    return s->wanted && s->next < s->limit && !fetch_holds_apply(d) && tokens_wait(d) == 0;
}

/* Who asked and gets nothing at once. */
static void asked_tell(struct driver *d)
{
    d->serve_told = false;
    for (size_t i = 0; i < d->peer_count; i++) {
        struct serving *s = &d->peers[i]->serving;
        if (s->gone)
            say_gone(d, d->peers[i]);
        else if (s->waits && !sends_at_once(d, s))
            say(d, d->peers[i], WIRE_PIECE_WAITS);
        s->gone = s->waits = false;
    }
}

/* ---- who asks no more ---- */

/* What was not asked for again will not be: it was given up, or all of it is there. */
static void asked_forget(struct driver *d)
{
    for (size_t i = 0; i < d->peer_count; i++) {
        struct serving *s = &d->peers[i]->serving;
        if (s->connection != 0 && d->now - s->asked_at >= ASKED_MAX)
            *s = (struct serving){.connection = 0};
    }
}

/* Files that nobody reads, removed ones perhaps, which take their room as long as they are open. */
static bool closes(const struct driver *d)
{
    if (!d->snapshots_open || d->fetching.phase == FETCH_RESTORES) return false;
    if (d->now < copy_files_until(d) || copy_waits(d)) return false;
    for (size_t i = 0; i < d->peer_count; i++) {
        if (d->peers[i]->serving.connection != 0) return false;
    }
    return d->piece.purpose == PIECE_NONE && !d->closing && d->state == DRIVER_RUNNING;
}

void serve_run(struct driver *d)
{
    asked_forget(d);
    if (d->serve_told && !d->closing) asked_tell(d);
    if (d->piece.purpose == PIECE_CLOSE && d->piece.done) piece_over(d);
    if (d->piece.purpose == PIECE_SERVE && d->piece.done) {
        piece_came(d);
        piece_over(d);
    }
    if (d->piece.purpose == PIECE_COPY && d->piece.done) {
        copy_came(d);
        piece_over(d);
    }
    if (closes(d)) (void)piece_read(d, PIECE_CLOSE, 0, kelp_pos_of(0, 0), 0);
    if (d->closing || d->state != DRIVER_RUNNING || d->piece.purpose != PIECE_NONE) return;
    if (d->now < d->serve_at || fetch_holds_apply(d)) return; /* restoring goes first */
    d->serve_at = 0;
    size_t turn = 0;
    struct peer *p = next_wanting(d, &turn);
    bool copies = copy_waits(d) && (p == NULL || !d->copying.had_turn);
    if (p == NULL && !copies) return;
    kelp_ns wait = tokens_wait(d);
    if (wait != 0) {
        d->serve_at = wait;
        return;
    }
    d->copying.had_turn = copies;
    if (copies) {
        copy_read(d);
        return;
    }
    d->serve_turn = turn;
    (void)piece_read(d, PIECE_SERVE, p->id, p->serving.pos, p->serving.next);
}

kelp_ns serve_next(const struct driver *d)
{
    if (d->state != DRIVER_RUNNING) return KELP_NEVER;
    if (closes(d)) return d->now;
    kelp_ns next = d->serve_at > d->now ? d->serve_at : KELP_NEVER;
    if (d->snapshots_open && copy_files_until(d) > d->now)
        next = min_u64(next, copy_files_until(d));
    for (size_t i = 0; i < d->peer_count; i++) {
        const struct serving *s = &d->peers[i]->serving;
        if (s->connection != 0) next = min_u64(next, s->asked_at + ASKED_MAX);
    }
    return next;
}

/* ---- asked ---- */

enum kelp_error serve_arrived(struct driver *d, kelp_id from, uint64_t connection,
                              struct kelp_bytes body, struct kelp_fault *fault)
{
    struct wire_fetch ask;
    enum kelp_error error = wire_fetch_decode(body, &ask, fault);
    if (error != KELP_OK) return error;
    struct peer *p = peer_find(d, from);
    if (p == NULL || d->closing || d->state != DRIVER_RUNNING) return KELP_OK;
    if (ask.window == 0 && ask.ask == WIRE_FETCH_NEWER) {
        rejoin_asked(d, p, connection, &ask);
        return KELP_OK;
    }
    if (ask.window == 0) { /* how far it is; see headway.c */
        struct kelp_input input = {.type = KELP_IN_SENDING, .peer = from};
        (void)driver_step(d, &input);
        return KELP_OK;
    }
    struct serving *s = &p->serving;
    bool goes_on = s->connection == connection && kelp_pos_equal(s->pos, ask.pos);
    if (goes_on && ask.ask < s->ask) return KELP_OK; /* overtaken by another question */
    goes_on = goes_on && ask.ask == s->ask;
    if (!goes_on)
        *s = (struct serving){
            .pos = ask.pos, .next = ask.offset, .ask = ask.ask, .connection = connection};
    s->asked_at = d->now;
    s->limit = max_u64(s->limit, add_sat(ask.offset, ask.window));
    s->wanted = !goes_on || s->wanted;
    /* what a witness takes is of an empty machine, whatever its head says */
    s->gone = d->ports.store->fetch == NULL || read_hollow(d) || !serve_member(d, p);
    s->gone = s->gone || d->quarantine.apart; /* that state is not given on */
    s->waits = true;                          /* told so, if it has to */
    d->serve_told = true;
    return KELP_OK;
}

void serve_lost(struct peer *p)
{
    p->serving.wanted = false;
}

size_t serve_count(const struct driver *d)
{
    size_t count = 0;
    for (size_t i = 0; i < d->peer_count; i++)
        count += d->peers[i]->serving.wanted;
    return count;
}
