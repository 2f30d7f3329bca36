/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - how far a start is: of what is committed on its disk behind the snapshot that it was
 * restored from, how much is applied, how fast that goes and how long the rest takes.
 *
 *   0 ......... from ............ applied ............ replay_to
 *     snapshot       percent of what stands between the two
 *
 * It only looks on; what is refused meanwhile is read.c's and query.c's own. */
#include <inttypes.h>

#include "driver/replay.h"
#include "driver/room.h"

void replay_begin(struct driver *d)
{
    struct replay *r = &d->replay;
    *r = (struct replay){.from = d->applied, .open = d->applied < d->replay_to, .began = d->now};
    r->marks[0] = r->marks[1] = (struct replay_mark){d->applied, d->now};
}

void replay_status(const struct driver *d, struct driver_replay *out)
{
    const struct replay *r = &d->replay;
    *out = (struct driver_replay){.percent = 100};
    if (d->core == NULL || d->applied >= d->replay_to) return;
    ASSERT(r->from <= d->applied);
    uint64_t all = d->replay_to - r->from, left = d->replay_to - d->applied;
    uint64_t applied = d->applied - r->marks[0].applied;
    uint64_t took_ms = sub_sat(d->now, r->marks[0].at) / MILLISECOND;
    out->from = r->from;
    out->to = d->replay_to;
    out->percent = (unsigned)((all - left) * 100 / all);
    if (took_ms == 0 || applied == 0) return; /* how fast it is is not known */
    out->entries_per_s = applied * 1000 / took_ms;
    out->left_ms = max_u64(1, left * took_ms / applied); /* 0 says that it is not known */
}

void replay_applied(struct driver *d)
{
    struct replay *r = &d->replay;
    if (!r->open) return;
    uint64_t took_ms = sub_sat(d->now, r->began) / MILLISECOND;
    if (d->applied >= d->replay_to) {
        r->open = false;
        if (r->marks[1].at != r->began) /* something was said of it */
            driver_note(d, KELP_INFO, "replayed the log to %" PRIu64 " in %" PRIu64 " ms",
                        d->replay_to, took_ms);
        return;
    }
    if (sub_sat(d->now, r->marks[1].at) < REPLAY_MARK_NS) return;
    r->marks[0] = r->marks[1];
    r->marks[1] = (struct replay_mark){d->applied, d->now};
    struct driver_replay s;
    replay_status(d, &s);
    driver_note(d, KELP_INFO,
                "replaying the log from %" PRIu64 " to %" PRIu64 ": %u %%, %" PRIu64
                " entries a second, %" PRIu64 " s left",
                s.from, s.to, s.percent, s.entries_per_s, (s.left_ms + 999) / 1000);
}
