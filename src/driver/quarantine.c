/* SPDX-License-Identifier: Apache-2.0 */
/* quarantine.c - members tell each other what their states are; one whose state is not that of a
 * majority answers nothing by it any more.
 *
 *   applied past a multiple of 256 --> own marks --told--> every other member that keeps the state
 *   told by them ----------------------------------------> judged (compare.c), each about itself
 *
 *   HEALTHY --APART--> QUARANTINE --its whole state is replaced--> HEALTHY
 *                          '--a start reads it anew, and a majority has the same--^
 *
 * The newest few are told again with each, so that one message that is lost costs nothing, and all
 * that are kept on each new connection, so that who was away is compared as well. Nothing is sent
 * by a cluster at rest.
 *
 * In quarantine the log is as good as before, since entries carry their own checksums: it is
 * stored, acknowledged and voted for. What comes of the state is not trusted: no read of any level
 * is served, no result of a write is told, which then is UNKNOWN though it is committed, no
 * snapshot is taken or given. The core is told, hands leadership over and does not stand
 * (core/transfer.c); until that is done, writes wait. If it must stand after all, because nobody
 * else can win, it brings the others' logs forward and hands over.
 *
 * The verdict is saved, in the vote file: the newest snapshot may show the wrong state, so a start
 * goes on in quarantine until what it read was compared, or replaced. After a crash before that is
 * durable the next index that is compared tells it again. A verdict that cannot be decided is told
 * to people alone.
 *
 * Invariants: what is told is what rsm noted of the state that is here; judged before anything is
 * served in the same round. */
#include "driver/quarantine.h"

#include <inttypes.h>

#include "driver/room.h"

#define TELL_AGAIN_NS (5 * MILLISECOND) /* a queue to a peer was full */
#define TOLD_AGAIN    3u                /* so many older ones are told with new ones */

static const struct kelp_config *newest_config(const struct driver *d)
{
    return d->config_count > 0 ? &d->configs[d->config_count - 1].config : NULL;
}

static bool is_member(const struct kelp_config *config, const struct peer *p)
{
    for (size_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *m = &config->members[slot];
        if (m->id == p->id) return m->incarnation == p->incarnation;
    }
    return false;
}

/* ---- what was found ---- */

static void snapshots_stop(struct driver *d)
{
    (void)snapshot_gives_way(d); /* one that is being taken shows this state */
    for (size_t i = 0; i < d->peer_count; i++) {
        struct serving *s = &d->peers[i]->serving;
        s->gone = s->gone || s->wanted;
        d->serve_told = d->serve_told || s->gone;
    }
}

static void remember(struct driver *d, bool apart)
{
    if (d->ports.store->apart != NULL)
        d->ports.store->apart(d->ports.store_ctx, d->options.group, apart);
}

static void begins(struct driver *d, const struct compare_result *r)
{
    d->quarantine.apart = true;
    remember(d, true);
    d->space_due = d->route_stale = true; /* the core hears of it; writes wait where it leads */
    driver_note(d, KELP_ERROR,
                "QUARANTINED: at index %" PRIu64 " its state is not that of %zu of %zu members%s; "
                "it serves no reads and gives no snapshots, its log goes on",
                r->index, r->with_most, r->members,
                r->log_differs ? ", and neither are the entries it applied" : "");
    snapshots_stop(d);
}

static void ends(struct driver *d)
{
    d->quarantine.apart = false;
    remember(d, false);
    rejoin_forgets(d); /* snapshots that were taken of it before that was known */
    d->space_due = d->route_stale = true;
    if (d->quarantine.result.verdict == COMPARE_AGREED)
        driver_note(d, KELP_INFO,
                    "is in quarantine no more: at index %" PRIu64
                    " a majority has the state that its start read",
                    d->quarantine.result.index);
    else
        driver_note(d, KELP_INFO, "is in quarantine no more: its state was replaced");
}

static void tell_people(struct driver *d, const struct compare_result *was,
                        const struct compare_result *is)
{
    if (is->verdict == COMPARE_SPLIT && was->verdict != COMPARE_SPLIT)
        driver_note(d, KELP_ERROR,
                    "DIVERGED: at index %" PRIu64 " members have different states, and no more "
                    "than %zu of %zu the same: nobody can tell which one is right",
                    is->index, is->with_most, is->members);
    if (is->verdict == COMPARE_AGREED && was->verdict == COMPARE_SPLIT)
        driver_note(d, KELP_WARN, "a majority has the same state again, at index %" PRIu64,
                    is->index);
}

void quarantine_judge(struct driver *d)
{
    struct quarantine *q = &d->quarantine;
    const struct kelp_config *config = newest_config(d);
    if (!q->judge_due || config == NULL || d->state != DRIVER_RUNNING || d->closing) return;
    q->judge_due = false;
    struct compare_result was = q->result;
    compare_judge(&q->compare, config, &q->result);
    bool apart = q->result.verdict == COMPARE_APART;
    if (apart && !q->apart) begins(d, &q->result);
    if (!apart && q->apart) ends(d);
    tell_people(d, &was, &q->result);
}

/* ---- the own state ---- */

static void self_known(struct driver *d)
{
    kelp_id self = d->options.core.self; /* it may be given while the node waits */
    if (d->quarantine.compare.self != self) compare_init(&d->quarantine.compare, self);
}

void quarantine_goes_on(struct driver *d)
{
    struct quarantine *q = &d->quarantine;
    self_known(d);
    compare_goes_on(&q->compare);
    q->result = (struct compare_result){.verdict = COMPARE_APART};
    q->apart = d->space_due = d->route_stale = true;
    driver_note(d, KELP_ERROR,
                "QUARANTINED: its state was not that of the others before it was started, and what "
                "it read may not be either; until that is compared it serves no reads and gives no "
                "snapshots, its log goes on");
}

void quarantine_applied(struct driver *d, kelp_index upto)
{
    struct quarantine *q = &d->quarantine;
    struct wire_mark marks[WIRE_MARK_KEPT];
    const struct kelp_config *config = newest_config(d);
    kelp_index due = upto - upto % WIRE_MARK_EVERY;
    if (due <= q->looked || d->ports.machine->marks == NULL || config == NULL) return;
    size_t count = d->ports.machine->marks(d->ports.machine_ctx, q->looked, marks);
    q->looked = due;
    if (count == 0 || read_hollow(d)) return;
    self_known(d);
    for (size_t i = 0; i < count; i++)
        (void)compare_said(&q->compare, config, q->compare.self, marks[i]);
    q->newest = marks[count - 1].index;
    q->judge_due = q->tell_due = true;
}

void quarantine_restored(struct driver *d)
{
    struct quarantine *q = &d->quarantine;
    self_known(d);
    compare_restored(&q->compare);
    q->newest = 0;
    q->judge_due = true;
}

/* ---- telling ---- */

static enum kelp_error send(struct driver *d, const struct peer *p, kelp_index after)
{
    struct wire_mark marks[WIRE_MARK_KEPT];
    size_t count = d->ports.machine->marks(d->ports.machine_ctx, after, marks);
    uint8_t *head = scratch_take(d, WIRE_FRAME_HEAD + WIRE_MARKS_MAX);
    struct kelp_bytes *parts = scratch_take(d, 2 * sizeof *parts);
    if (count == 0) return KELP_OK;
    if (head == NULL || parts == NULL) return KELP_E_LIMIT;
    uint8_t *fixed = head + WIRE_FRAME_HEAD;
    parts[0] = bytes_of(head, WIRE_FRAME_HEAD);
    parts[1] = bytes_of(fixed, wire_marks_encode(marks, count, fixed));
    wire_frame_head(head, WIRE_MARKS, d->options.group, parts + 1, 1);
    return d->ports.peers->send(d->ports.peers_ctx, d->options.group, p->id, KELP_LANE_CONTROL,
                                p->connection[KELP_LANE_CONTROL], parts, 2);
}

/* False: later. */
static bool peer_tell(struct driver *d, const struct kelp_config *config, struct peer *p)
{
    uint64_t connection = p->connection[KELP_LANE_CONTROL];
    kelp_index newest = d->quarantine.newest;
    if (connection == 0 || !p->marks.takes) return true;
    if (p->marks.connection != connection) p->marks.upto = 0;
    p->marks.connection = connection;
    if (p->marks.upto >= newest || !is_member(config, p) || strip_witness(d, p->id)) return true;
    kelp_index after = sub_sat(p->marks.upto, TOLD_AGAIN * WIRE_MARK_EVERY);
    if (send(d, p, after) == KELP_E_LIMIT) return false;
    p->marks.upto = newest; /* a connection that is gone is followed by another one */
    return true;
}

void quarantine_tell(struct driver *d)
{
    struct quarantine *q = &d->quarantine;
    const struct kelp_config *config = newest_config(d);
    if (!q->tell_due || q->newest == 0 || config == NULL) return;
    if (d->closing || d->state != DRIVER_RUNNING || d->now < q->tell_at) return;
    bool all = true;
    for (size_t i = 0; i < d->peer_count; i++)
        all = peer_tell(d, config, d->peers[i]) && all;
    q->tell_due = !all;
    q->tell_at = all ? 0 : d->now + TELL_AGAIN_NS;
}

kelp_ns quarantine_next(const struct driver *d)
{
    const struct quarantine *q = &d->quarantine;
    bool later = q->tell_due && q->tell_at > d->now && d->state == DRIVER_RUNNING;
    return later ? q->tell_at : KELP_NEVER;
}

/* ---- told ---- */

enum kelp_error quarantine_arrived(struct driver *d, kelp_id from, struct kelp_bytes body,
                                   struct kelp_fault *fault)
{
    struct wire_mark marks[WIRE_MARK_KEPT];
    size_t count = 0;
    enum kelp_error error = wire_marks_decode(body, marks, &count, fault);
    if (error != KELP_OK) return error;
    const struct kelp_config *config = newest_config(d);
    const struct peer *p = peer_find(d, from);
    if (d->state != DRIVER_RUNNING || d->closing || config == NULL || p == NULL) return KELP_OK;
    if (!is_member(config, p)) return KELP_OK;
    self_known(d);
    for (size_t i = 0; i < count; i++) {
        bool kept = compare_said(&d->quarantine.compare, config, from, marks[i]);
        d->quarantine.judge_due = d->quarantine.judge_due || kept;
    }
    return KELP_OK;
}
