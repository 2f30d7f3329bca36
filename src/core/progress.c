/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c - the only writer of a peer's flow, match, next and window. See progress.h. */
#include "core/progress.h"

#include "base/assert.h"
#include "base/min.h"

static void window_clear(struct progress *p)
{
    p->window_head = 0;
    p->window_count = 0;
    p->window_bytes = 0;
}

void progress_init(struct progress *p, struct inflight *window, uint32_t window_max)
{
    ASSERT(window_max >= 1);
    *p = (struct progress){.window = window, .window_max = window_max, .next = 1, .attempt = 1};
}

void progress_reset(struct progress *p, kelp_index next)
{
    ASSERT(next >= 1);
    p->match = 0;
    progress_probe(p, next);
}

void progress_probe(struct progress *p, kelp_index next)
{
    p->flow = KELP_PROBE;
    p->next = max_u64(next, p->match + 1);
    p->attempt++;
    p->probe_out = false;
    window_clear(p);
}

void progress_accepted(struct progress *p)
{
    ASSERT(p->flow == KELP_PROBE);
    p->flow = KELP_STREAM;
    p->probe_out = false;
    ASSERT(p->window_count == 0);
}

bool progress_matched(struct progress *p, kelp_index match)
{
    if (match <= p->match) return false;
    p->match = match;
    p->next = max_u64(p->next, match + 1);
    while (p->window_count > 0 && p->window[p->window_head].last <= match) {
        p->window_bytes -= p->window[p->window_head].bytes;
        p->window_head = p->window_head + 1 == p->window_max ? 0 : p->window_head + 1;
        p->window_count--;
    }
    return true;
}

void progress_gone(struct progress *p)
{
    progress_probe(p, p->next);
    p->flow = KELP_NEEDS_SNAPSHOT;
}

bool progress_room(const struct progress *p, uint64_t bytes_max)
{
    if (p->window_count == 0) return true;
    return p->window_count < p->window_max && p->window_bytes < bytes_max;
}

void progress_sent(struct progress *p, kelp_index last, uint64_t bytes)
{
    ASSERT(p->flow != KELP_NEEDS_SNAPSHOT);
    if (p->flow == KELP_PROBE) {
        p->probe_out =
            true; /* next moves with match: a repetition may carry more than the answer means */
        return;
    }
    ASSERT(last >= p->next);
    ASSERT(p->window_count < p->window_max);
    uint32_t at = p->window_head + p->window_count;
    p->window[at >= p->window_max ? at - p->window_max : at] = (struct inflight){last, bytes};
    p->window_count++;
    p->window_bytes += bytes;
    p->next = last + 1;
}
