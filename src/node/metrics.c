/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - a node's figures as a Prometheus page.
 *
 * Names are kelp_*, units are in the name, each with its HELP and TYPE line. Times are kept in
 * nanoseconds and written in seconds, as the format wants. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "node/room.h"

static const uint64_t bounds_ns[] = {
    50000,    100000,   200000,    500000,    1000000,   2000000,    5000000,    10000000,
    20000000, 50000000, 100000000, 200000000, 500000000, 1000000000, 2000000000, 5000000000,
};

/* Errors stick in the buffer: they are looked at once, at the end. */
__attribute__((format(printf, 2, 3))) static void put(struct buf *out, const char *format, ...)
{
    char line[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    (void)buf_append_text(out, line);
}

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    put(out, "# HELP kelp_%s %s\n# TYPE kelp_%s %s\n", name, help, name, type);
}

static void gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "gauge", help);
    put(out, "kelp_%s %" PRIu64 "\n", name, value);
}

static void counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "counter", help);
    put(out, "kelp_%s %" PRIu64 "\n", name, value);
}

static void seconds(struct buf *out, uint64_t ns)
{
    put(out, "%" PRIu64 ".%09" PRIu64, ns / SECOND, ns % SECOND);
}

static void histogram(struct buf *out, const char *name, const char *help, const struct hist *h)
{
    head(out, name, "histogram", help);
    for (size_t i = 0; i < COUNT_OF(bounds_ns); i++) {
        put(out, "kelp_%s_bucket{le=\"", name);
        seconds(out, bounds_ns[i]);
        put(out, "\"} %" PRIu64 "\n", hist_at_most(h, bounds_ns[i]));
    }
    put(out, "kelp_%s_bucket{le=\"+Inf\"} %" PRIu64 "\nkelp_%s_sum ", name, h->count, name);
    seconds(out, h->sum);
    put(out, "\nkelp_%s_count %" PRIu64 "\n", name, h->count);
}

static void snapshot_metrics(struct buf *out, const struct driver_snapshot_status *s)
{
    gauge(out, "snapshot_index", "Index of the newest snapshot.", s->last.index);
    gauge(out, "snapshot_bytes", "Bytes of its file.", s->last_bytes);
    gauge(out, "snapshot_open_index", "Index of the one that is being taken, 0: none is.",
          s->open.index);
    gauge(out, "snapshot_open_bytes", "Bytes of it given to the disk.", s->open_bytes);
    counter(out, "snapshots_total", "Snapshots taken by this process.", s->taken);
    counter(out, "snapshots_failed_total", "Snapshots given up.", s->failed);
    head(out, "snapshot_last_seconds", "gauge", "How long the last one took.");
    put(out, "kelp_snapshot_last_seconds ");
    seconds(out, s->last_took);
    put(out, "\n");
}

static void fetch_metrics(struct buf *out, const struct driver_fetch_status *s)
{
    gauge(out, "snapshot_fetch_index", "Index of the one that is fetched from a peer, 0: none.",
          s->pos.index);
    gauge(out, "snapshot_fetch_from", "That peer.", s->from);
    gauge(out, "snapshot_fetch_bytes", "Bytes of it at the disk.", s->bytes);
    gauge(out, "snapshot_fetch_size", "Bytes of its file, 0: not known yet.", s->size);
    gauge(out, "snapshot_restored_bytes", "Bytes of it restored.", s->restored);
    counter(out, "snapshots_fetched_total", "Snapshots fetched by this process.", s->fetched);
    counter(out, "snapshot_fetches_failed_total", "Fetches given up.", s->failed);
    gauge(out, "snapshot_peers_fetching", "Peers that fetch one from here.", s->serving);
    counter(out, "snapshot_sent_bytes_total", "Bytes of snapshots sent to peers.", s->served_bytes);
}

static void raft_metrics(struct buf *out, const struct node *n, const struct node_status *s)
{
    const struct kelp_view *view = &s->driver.view;
    gauge(out, "term", "Current term.", view->term.v);
    head(out, "role", "gauge", "1 for the role this node has.");
    put(out, "kelp_role{role=\"%s\"} 1\n", s->role);
    head(out, "health", "gauge", "1 for the health this node has.");
    put(out, "kelp_health{health=\"%s\"} 1\n", s->health);
    gauge(out, "is_leader", "1 on the leader.", view->role == KELP_LEADER);
    gauge(out, "drained", "1 while this node is not to lead.", view->drained);
    const struct compare_result *c = &s->driver.compared;
    gauge(out, "quarantined", "1 while its state is known not to be that of a majority.",
          c->verdict == COMPARE_APART);
    gauge(out, "state_split", "1 while states differ and no majority has one of them.",
          c->verdict == COMPARE_SPLIT);
    gauge(out, "compared_index", "Where states were compared last, or found to differ first.",
          c->index);
    gauge(out, "leader_id", "The leader this node knows, 0 without one.", view->leader);
    gauge(out, "first_index", "First entry of the log.", view->first);
    gauge(out, "last_index", "Last entry of the log.", view->last);
    gauge(out, "durable_index", "Last entry that is durable here.", view->durable);
    gauge(out, "commit_index", "Last entry known to be committed.", view->commit);
    gauge(out, "applied_index", "Last entry applied.", s->rsm.applied.index);
    snapshot_metrics(out, &s->driver.snapshot);
    fetch_metrics(out, &s->driver.fetch);
    gauge(out, "disk_room_level", "Own disk: 0 ok, 1 low, 2 last file, 3 none.", view->own_space);
    gauge(out, "refuses_by_room_level",
          "On the leader, with a quorum's disks: 1 refuses writes, 2 all.", view->space);
    counter(out, "proposals_no_space_total", "Proposals refused for want of disk room.",
            n->events[KELP_EV_PROPOSE_NO_SPACE]);
    head(out, "uptime_seconds", "gauge", "Since the node was opened.");
    put(out, "kelp_uptime_seconds ");
    seconds(out, s->uptime_ms * (SECOND / 1000));
    put(out, "\n");
    counter(out, "elections_total", "Elections this node stood for.",
            n->events[KELP_EV_ROLE_CANDIDATE]);
    counter(out, "pre_votes_total", "Times this node asked whether it could win.",
            n->events[KELP_EV_ROLE_PRE_CANDIDATE]);
    counter(out, "elections_won_total", "Elections this node won.", n->events[KELP_EV_ROLE_LEADER]);
    counter(out, "leader_changes_total", "Times this node learnt of a leader.",
            n->events[KELP_EV_LEADER_KNOWN]);
    counter(out, "disk_stalls_total", "Saves that took longer than the limit.",
            n->events[KELP_EV_DISK_STALLED]);
    counter(out, "log_truncations_total", "Conflicting tails that were cut.",
            n->events[KELP_EV_LOG_TRUNCATED]);
}

typedef void (*peer_value_fn)(struct buf *out, const struct kelp_view *view,
                              const struct kelp_peer_view *peer);

static void peer_lag(struct buf *out, const struct kelp_view *view,
                     const struct kelp_peer_view *peer)
{
    put(out, "%" PRIu64, sub_sat(view->last, peer->match));
}

static void peer_rtt(struct buf *out, const struct kelp_view *view,
                     const struct kelp_peer_view *peer)
{
    (void)view;
    seconds(out, peer->rtt);
}

static void peer_match(struct buf *out, const struct kelp_view *view,
                       const struct kelp_peer_view *peer)
{
    (void)view;
    put(out, "%" PRIu64, peer->match);
}

static void peer_inflight(struct buf *out, const struct kelp_view *view,
                          const struct kelp_peer_view *peer)
{
    (void)view;
    put(out, "%" PRIu64, peer->inflight_bytes);
}

static void peer_metrics(struct buf *out, const struct node *n, const struct kelp_view *view)
{
    static const struct {
        const char *name, *help;
        peer_value_fn value;
    } rows[] = {
        {"peer_lag_entries", "Entries of the leader that the peer has not acknowledged.", peer_lag},
        {"peer_round_trip_seconds", "Last measured round trip, 0 before the first.", peer_rtt},
        {"peer_match_index", "Last entry the peer acknowledged.", peer_match},
        {"peer_inflight_bytes", "Entry bytes sent and not acknowledged.", peer_inflight},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        head(out, rows[i].name, "gauge", rows[i].help);
        for (uint32_t p = 0; view->role == KELP_LEADER && p < view->peer_count; p++) {
            if (view->peers[p].id == n->options.id) continue;
            put(out, "kelp_%s{peer=\"%" PRIu64 "\"} ", rows[i].name, view->peers[p].id);
            rows[i].value(out, view, &view->peers[p]);
            put(out, "\n");
        }
    }
}

static void request_metrics(struct buf *out, const struct driver_status *d)
{
    head(out, "requests_total", "counter", "Requests of this node's clients by outcome.");
    put(out, "kelp_requests_total{outcome=\"done\"} %" PRIu64 "\n", d->done);
    put(out, "kelp_requests_total{outcome=\"refused\"} %" PRIu64 "\n", d->refused);
    put(out, "kelp_requests_total{outcome=\"lost\"} %" PRIu64 "\n", d->lost);
    put(out, "kelp_requests_total{outcome=\"unknown\"} %" PRIu64 "\n", d->unknown);
    head(out, "requests_reason_total", "counter", "The same by reason.");
    for (unsigned i = 0; i < COUNT_OF(d->by_reason); i++) {
        if (d->by_reason[i] > 0)
            put(out, "kelp_requests_reason_total{reason=\"%s\"} %" PRIu64 "\n",
                kelp_reason_name((enum kelp_reason)i), d->by_reason[i]);
    }
    gauge(out, "requests_waiting", "Requests that wait for a leader or for their turn.",
          d->waiting_requests);
    gauge(out, "requests_forwarded", "Requests that are with the leader.", d->forwarded_requests);
    gauge(out, "request_bytes", "Bytes of requests waiting or forwarded.", d->forward_bytes);
    gauge(out, "proposals_open", "Proposals whose outcome is not known yet.",
          d->view.proposals_open);
    gauge(out, "reads_open", "Reads that wait for a quorum.", d->view.reads_open);
    gauge(out, "lease_valid", "1 while this node could serve reads by its lease.",
          d->view.lease == KELP_LEASE_HELD);
    counter(out, "lease_reads_total", "Reads served by lease.", d->view.lease_reads);
    counter(out, "lease_refused_total", "Reads that asked for the lease while there was none.",
            d->view.lease_refused);
    gauge(out, "uncommitted_bytes", "Appended here and not committed.", d->view.uncommitted_bytes);
    gauge(out, "unapplied_bytes", "Committed and not applied.", d->view.unapplied_bytes);
    gauge(out, "apply_queue_entries", "Committed and not given to the state machine.",
          d->apply_queue);
    gauge(out, "replay_percent", "Of the log that a start replays; 100 once it is done.",
          d->replay.percent);
    gauge(out, "replay_entries_per_second", "Pace of that replay, 0 while it is not known.",
          d->replay.entries_per_s);
    head(out, "replay_left_seconds", "gauge",
         "Of that replay at that pace, 0 if not known or done.");
    put(out, "kelp_replay_left_seconds ");
    seconds(out, d->replay.left_ms * 1000000);
    put(out, "\n");
    gauge(out, "cache_bytes", "Entries kept in memory.", d->cache_bytes);
    counter(out, "forwards_dropped_total", "Forwarded requests dropped without an answer.",
            d->forwards_dropped);
    counter(out, "messages_dropped_total", "Messages not sent for lack of memory or bytes.",
            d->messages_dropped);
}

static void session_metrics(struct buf *out, const struct node *n)
{
    struct sessions_count s = rsm_sessions(n->rsm);
    gauge(out, "sessions", "Sessions of clients, whose commands are executed once.", s.sessions);
    gauge(out, "session_answers", "Results kept for them.", s.answers);
    gauge(out, "session_keys", "Results kept under keys of clients.", s.keys);
    gauge(out, "session_bytes", "Bytes of both, with what each takes beside its result.", s.bytes);
}

static void log_metrics(struct buf *out, const struct node *n, const struct saver_figures *f)
{
    int number;
    counter(out, "log_writes_total", "Writes to the log.", f->store.writes);
    counter(out, "log_detours_total", "Writes past the page cache that failed and went through it.",
            posix_disk_detours(&n->disk, &number));
    counter(out, "log_syncs_total", "Syncs of log, vote and identity files.", f->store.syncs);
    counter(out, "log_written_bytes_total", "Bytes written.", f->store.bytes_written);
    counter(out, "log_entry_bytes_total", "Entry bytes among them.", f->store.entry_bytes);
    gauge(out, "log_segments", "Log files in use.", f->store.segments);
    gauge(out, "log_spares", "Log files ready or being made ready.", f->store.spares);
    gauge(out, "log_bytes", "Size of the log files in use.", f->store.log_bytes);
    gauge(out, "log_queue_jobs", "Work given to the log and not reported.", f->queued_jobs);
    gauge(out, "log_queue_bytes", "Entry bytes among it.", f->queued_bytes);
    counter(out, "log_no_room_total", "Times the log found no room for a file, or for a write.",
            f->store.no_room);
    gauge(out, "disk_free_bytes", "Free bytes of the data directory's file system.",
          f->disk_free_bytes);
}

static void net_metrics(struct buf *out, const struct node *n, const struct net_stats *s)
{
    static const char *const lanes[KELP_LANES] = {"control", "entries", "snapshot"};
    counter(out, "peer_received_bytes_total", "Bytes from other members.", s->bytes_in);
    counter(out, "peer_sent_bytes_total", "Bytes to other members.", s->bytes_out);
    counter(out, "peer_received_frames_total", "Frames from other members.", s->frames_in);
    counter(out, "peer_sent_frames_total", "Frames to other members.", s->frames_out);
    counter(out, "peer_dropped_full_total", "Frames dropped because a queue was full.",
            s->dropped_full);
    counter(out, "peer_dropped_closed_total", "Frames dropped for lack of a connection.",
            s->dropped_closed);
    counter(out, "peer_refused_hellos_total", "Handshakes refused here.", s->refused_hellos);
    counter(out, "peer_bad_frames_total", "Connections closed because of what came on them.",
            s->bad_frames);
    counter(out, "peer_dials_total", "Attempts to connect.", s->dials);
    counter(out, "peer_accepts_total", "Connections accepted.", s->accepts);
    head(out, "peer_queue_bytes", "gauge", "Bytes that wait to be sent, by lane.");
    for (unsigned i = 0; i < KELP_LANES; i++)
        put(out, "kelp_peer_queue_bytes{lane=\"%s\"} %" PRIu64 "\n", lanes[i], s->queued[i]);
    head(out, "peer_connected", "gauge", "1 if there is a connection, by peer and lane.");
    for (size_t p = 0; n->net != NULL && p < n->contact_count; p++) {
        for (unsigned i = 0; i < KELP_LANES; i++)
            put(out, "kelp_peer_connected{peer=\"%" PRIu64 "\",lane=\"%s\"} %d\n",
                n->contacts[p].id, lanes[i],
                net_connected(n->net, n->contacts[p].id, (enum kelp_lane)i));
    }
}

enum kelp_error node_metrics(struct node *n, struct buf *out)
{
    struct node_status *s = malloc(sizeof *s);
    struct saver_figures figures = {.disk_free_bytes = 0};
    if (s == NULL) return KELP_E_NO_MEMORY;
    node_status(n, s);
    if (n->saver != NULL) saver_figures(n->saver, &figures);
    raft_metrics(out, n, s);
    peer_metrics(out, n, &s->driver.view);
    request_metrics(out, &s->driver);
    log_metrics(out, n, &figures);
    session_metrics(out, n);
    net_metrics(out, n, &s->net);
    histogram(out, "log_sync_seconds", "One write and sync of the log.", &n->histograms.sync_ns);
    histogram(out, "log_append_seconds", "One save, its time in the queue included.",
              &n->histograms.append_ns);
    histogram(out, "apply_seconds", "One batch in the state machine.", &n->histograms.apply_ns);
    histogram(out, "snapshot_object_seconds", "One object of a snapshot, read on the loop.",
              &n->histograms.object_ns);
    histogram(out, "commit_seconds", "From a proposal to its commit.", &n->histograms.commit_ns);
    free(s);
    return out->error;
}
