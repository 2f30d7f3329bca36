/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - looking at a driver: status, what it says about itself, what it judges others by.
 * Changes nothing. */
#include <stdio.h>
#include <string.h>

#include "driver/room.h"

static void fetch_status(const struct driver *d, struct driver_fetch_status *out)
{
    const struct fetching *f = &d->fetching;
    *out = (struct driver_fetch_status){.pos = f->pos,
                                        .from = f->from,
                                        .bytes = f->phase == FETCH_ASKS ? f->at : f->size,
                                        .size = f->size,
                                        .restored = f->restored,
                                        .fetched = f->fetched,
                                        .failed = f->failed,
                                        .serving = serve_count(d),
                                        .served_bytes = d->served_bytes};
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    memset(out, 0, sizeof *out);
    out->self = d->options.core.self;
    out->state = d->state;
    out->fault = d->fault;
    if (d->core != NULL) kelp_view(d->core, &out->view);
    out->cluster = d->found->setup.cluster;
    out->epoch = d->found->setup.epoch;
    if (d->config_count > 0) out->latest = d->configs[d->config_count - 1];
    if (d->config_committed) out->committed = d->configs[0];
    if (d->found->phase == FOUND_HOLDS)
        out->entry1 = bytes_of(d->found->entry1, d->found->entry1_len);
    out->empty = d->found->phase != FOUND_HOLDS;
    out->replaying = d->core != NULL && d->applied < d->replay_to;
    out->replay_to = d->replay_to;
    replay_status(d, &out->replay);
    out->cache_bytes = cache_bytes(d->cache);
    out->waiting_requests = d->queued_count;
    out->forwarded_requests = d->forwarded_count;
    out->forward_bytes = d->held_bytes;
    out->apply_queue = d->apply_to + 1 - min_u64(d->apply_next, d->apply_to + 1);
    snapshot_status(d, &out->snapshot);
    fetch_status(d, &out->fetch);
    out->compared = d->quarantine.result;
    out->rejoin = rejoin_words(d);
    out->rejoin_from = d->rejoin.phase >= REJOIN_ASKS ? d->rejoin.asked : 0;
    out->rejoined = d->rejoin.done;
    out->done = d->done;
    out->refused = d->refused_count;
    out->lost = d->lost;
    out->unknown = d->unknown;
    memcpy(out->by_reason, d->by_reason, sizeof out->by_reason);
    out->forwards_dropped = d->forwards_dropped;
    out->messages_dropped = d->messages_dropped;
    out->reads_again = d->reads_again;
    out->answer_bytes = d->made_bytes;
    out->candidate_count = change_candidates(d, out->candidates);
    out->knock_count = change_knocks(d, out->knocks);
    switch (d->state) {
    case DRIVER_RUNNING: break;
    case DRIVER_FAULTED:
        (void)snprintf(out->words, sizeof out->words, "%s: %.60s%s%.120s",
                       kelp_strerror(d->fault.error), d->fault.where,
                       d->fault.where[0] != '\0' ? ": " : "", d->fault.what);
        break;
    case DRIVER_WAITING:
    case DRIVER_FOREIGN: found_words(d->found, out->words, sizeof out->words); break;
    }
}

enum driver_state driver_state(const struct driver *d)
{
    return d->state;
}

const struct kelp_core *driver_core(const struct driver *d)
{
    return d->core;
}

enum kelp_error driver_check(struct driver *d, struct kelp_fault *fault)
{
    return d->core != NULL ? kelp_check(d->core, fault) : KELP_OK;
}

void driver_hello(const struct driver *d, struct wire_hello *out)
{
    out->version_min = out->version_max = WIRE_PROTOCOL_VERSION;
    out->features = WIRE_FEATURES_KNOWN;
    out->cluster = d->found->setup.cluster;
    out->epoch = d->found->setup.epoch;
    out->node = d->options.core.self;
    out->incarnation = d->options.incarnation;
    out->empty = d->found->phase != FOUND_HOLDS;
    out->election_min_ns = d->options.core.election_min;
    out->election_max_ns = d->options.core.election_max;
    out->heartbeat_ns = d->options.core.heartbeat;
    out->drift_ppm = d->options.core.drift_ppm;
}

void driver_judge(const struct driver *d, struct wire_judge *out)
{
    *out = (struct wire_judge){.cluster = d->found->setup.cluster,
                               .epoch = d->found->setup.epoch,
                               .self = d->options.core.self,
                               .incarnation = d->options.incarnation,
                               .committed = d->config_committed ? &d->configs[0] : NULL};
}

struct kelp_bytes driver_entry(const struct driver *d, kelp_index index)
{
    return cache_entry(d->cache, index);
}
