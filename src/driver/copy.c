/* SPDX-License-Identifier: Apache-2.0 */
/* copy.c - snapshots for clients: who keeps one elsewhere reads it piece by piece.
 *
 *   QUEUED --its turn in its line--> COPYING --read--> CLOSED   DONE: the size, then the piece
 *                                       `---gone, damaged, deadline, shutdown--> CLOSED, REFUSED
 *
 * It is a request of this node alone: no leader is needed, and it goes nowhere else. One piece of a
 * line is under way at a time. Lines take turns with each other, all of them with the peers that
 * fetch (serve.c), and behind a machine that is being restored; the bucket of tokens is the same.
 *
 * A piece has no name but where it begins, so who names another place than a piece's beginning
 * looks like damage. Only where somebody goes on behind the piece that was read last, or reads the
 * head, is it certain; then the snapshot is given up as for a peer.
 *
 * Files stay open for a while behind the last question, so that the next one finds them, also when
 * a newer snapshot has removed them meanwhile; see serve.c's closes.
 * Invariant: a request is in `waiting` exactly while it is COPYING. */
#include <inttypes.h>

#include "base/endian.h"
#include "driver/room.h"

#define COMMAND_BYTES 24u
#define ASKED_MAX     (10000 * MILLISECOND) /* between two questions of one reader */

/* ---- asked ---- */

bool driver_copy(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                 struct kelp_pos pos, uint64_t offset, kelp_ns deadline)
{
    uint8_t command[COMMAND_BYTES];
    put_u64(command, pos.index);
    put_u64(command + 8, pos.term.v);
    put_u64(command + 16, offset);
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    if (!request_reserve(d)) return false;
    struct request *r = line_append(d, line, REQUEST_TRANSFER, token, deadline);
    r->copies = true;
    request_hold(d, r, bytes_of(NULL, 0), bytes_of(command, sizeof command));
    return true;
}

bool driver_copy_read(struct kelp_bytes result, uint64_t *size, struct kelp_bytes *piece)
{
    if (result.len < 8) return false;
    *size = load_u64(result.data);
    *piece = bytes_of(result.data + 8, result.len - 8);
    return true;
}

static struct kelp_pos pos_asked(const struct request *r)
{
    const uint8_t *at = r->bytes + r->user_len;
    return kelp_pos_of(load_u64(at), load_u64(at + 8));
}

static uint64_t offset_asked(const struct request *r)
{
    return load_u64(r->bytes + r->user_len + 16);
}

/* What a witness takes is of an empty machine, and a state that is not the others' goes nowhere. */
static enum kelp_reason copy_judge(const struct driver *d)
{
    if (d->core == NULL) return KELP_R_NOT_STARTED;
    if (d->quarantine.apart) return KELP_R_QUARANTINED;
    if (d->ports.store->fetch == NULL || read_hollow(d)) return KELP_R_SNAPSHOT_GONE;
    return KELP_R_NONE;
}

bool copy_start(struct driver *d, struct request *r)
{
    ASSERT(r->len == COMMAND_BYTES);
    if (r->line->open_writes + r->line->open_reads > 0) return false; /* their way is the line's */
    enum kelp_reason reason = copy_judge(d);
    if (reason != KELP_R_NONE) {
        request_close(d, r, KELP_REFUSED, reason);
        return true;
    }
    request_start_here(d, r);
    r->state = REQUEST_COPYING;
    TAILQ_INSERT_TAIL(&d->copying.waiting, r, change_link);
    timer_add(d, r);
    d->copying.asked_at = max_u64(1, d->now);
    return true;
}

void copy_leave(struct driver *d, struct request *r)
{
    TAILQ_REMOVE(&d->copying.waiting, r, change_link);
}

/* ---- read ---- */

bool copy_waits(const struct driver *d)
{
    return !TAILQ_EMPTY(&d->copying.waiting);
}

void copy_read(struct driver *d)
{
    struct request *r = TAILQ_FIRST(&d->copying.waiting);
    d->copying.reads = r->handle;
    if (!piece_read(d, PIECE_COPY, 0, pos_asked(r), offset_asked(r))) UNREACHABLE();
}

static enum kelp_reason reason_of(struct driver *d, const struct piece_read *piece)
{
    struct copying *c = &d->copying;
    bool begins =
        piece->offset == 0 || (kelp_pos_equal(c->last, piece->pos) && c->next == piece->offset);
    if (piece->error == KELP_OK) return KELP_R_NONE;
    if (piece->error == KELP_E_NO_MEMORY) return KELP_R_BUSY;
    if (piece->error == KELP_E_ARGUMENT) return KELP_R_NO_PIECE;
    if (piece->error == KELP_E_CORRUPT && !begins) return KELP_R_NO_PIECE;
    piece_unreadable(d, piece->pos, piece->error);
    return KELP_R_SNAPSHOT_GONE;
}

void copy_came(struct driver *d)
{
    struct copying *c = &d->copying;
    struct piece_read *piece = &d->piece;
    enum kelp_reason reason = reason_of(d, piece);
    struct request *r = request_of(d, c->reads);
    c->reads = 0;
    if (reason == KELP_R_NONE) {
        c->last = piece->pos;
        c->next = piece->offset + piece->len;
        d->served_bytes += piece->len;
        if (d->options.snapshots.send_rate > 0) d->tokens -= (int64_t)piece->len;
    }
    if (r == NULL || r->state != REQUEST_COPYING) return; /* it has ended meanwhile */
    if (reason == KELP_R_NONE && d->quarantine.apart) reason = KELP_R_QUARANTINED;
    if (reason == KELP_R_NONE) {
        uint8_t *answer = scratch_take(d, 8 + piece->len);
        if (answer != NULL) {
            put_u64(answer, piece->size);
            memcpy(answer + 8, piece->data, piece->len);
            request_result(d, r, bytes_of(answer, 8 + piece->len));
        } else {
            reason = KELP_R_BUSY;
        }
    }
    request_close(d, r, reason == KELP_R_NONE ? KELP_DONE : KELP_REFUSED, reason);
}

kelp_ns copy_files_until(const struct driver *d)
{
    return d->copying.asked_at != 0 ? d->copying.asked_at + ASKED_MAX : 0;
}
