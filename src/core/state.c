/* SPDX-License-Identifier: Apache-2.0 */
/* state.c - the core's memory, its birth from options and boot values, and what many files use:
 * peers, debts, events.
 *
 * Memory is one block from the caller, cut into the struct and its tables by carve(), once with no
 * block to learn the size and once for real, so that the two cannot differ. */
#include <string.h>

#include "base/fault.h"
#include "core/core.h"
#include "core/edit.h"
#include "core/look.h"

#define MS            1000000u /* ns */
#define DRIFT_PPM     1000u    /* generous for a crystal */
#define DRIFT_PPM_MAX 1000000u

/* ---- options ---- */

struct kelp_options kelp_options_default(kelp_id self, uint64_t seed)
{
    return (struct kelp_options){
        .size = sizeof(struct kelp_options),
        .self = self,
        .seed = seed,
        .heartbeat = 100u * MS,
        .election_min = 1000u * MS,
        .election_max = 2000u * MS,
        .drift_ppm = DRIFT_PPM,
        .trailing_entries = 4096,
        .hold_bytes = 1024u * 1024 * 1024,
        .limits = {.members_max = KELP_MEMBERS_MAX,
                   .proposals_max = 8192,
                   .reads_max = 4096,
                   .tail_entries_max = 16384,
                   .runs_max = 512,
                   .window_messages_max = 256,
                   .strangers_max = 16,
                   .answers_max = 512,
                   .events_max = 256,
                   .message_entries_max = 4096,
                   .message_bytes_max = 1024u * 1024,
                   .window_bytes_max = 16u * 1024 * 1024,
                   .uncommitted_bytes_max = 64u * 1024 * 1024,
                   .unapplied_bytes_max = 32u * 1024 * 1024,
                   .entry_bytes_max = (8u * 1024 + 128) * 1024},
    };
}

struct kelp_limits kelp_limits_small(void)
{
    struct kelp_limits limits = kelp_options_default(1, 0).limits;
    limits.members_max = 5;
    limits.proposals_max = 16;
    limits.reads_max = 16;
    limits.tail_entries_max = 32;
    limits.runs_max = 16;
    limits.window_messages_max = 8;
    limits.strangers_max = 2;
    limits.answers_max = 8;
    limits.events_max = 16;
    limits.message_entries_max = 64;
    limits.message_bytes_max = 64u * 1024;
    limits.window_bytes_max = 256u * 1024;
    limits.uncommitted_bytes_max = 1024u * 1024;
    limits.unapplied_bytes_max = 1024u * 1024;
    return limits;
}

static bool in_range(uint64_t value, uint64_t low, uint64_t high)
{
    return value >= low && value <= high;
}

/* The limit that is out of range, NULL when none is. */
static const char *limits_wrong(const struct kelp_limits *l)
{
    if (!in_range(l->members_max, 1, KELP_MEMBERS_MAX)) return "members_max is not in 1..32";
    if (!in_range(l->proposals_max, 1, 1u << 20)) return "proposals_max is not in 1..1048576";
    if (!in_range(l->reads_max, 1, 1u << 20)) return "reads_max is not in 1..1048576";
    if (!in_range(l->tail_entries_max, 8, 1u << 24))
        return "tail_entries_max is not in 8..16777216";
    if (!in_range(l->runs_max, 4, 1u << 16)) return "runs_max is not in 4..65536";
    if (!in_range(l->window_messages_max, 1, 4096)) return "window_messages_max is not in 1..4096";
    if (!in_range(l->strangers_max, 1, 64)) return "strangers_max is not in 1..64";
    if (!in_range(l->answers_max, 1, 1u << 16)) return "answers_max is not in 1..65536";
    if (!in_range(l->events_max, 16, 1u << 16)) return "events_max is not in 16..65536";
    if (!in_range(l->message_entries_max, 1, 1u << 16))
        return "message_entries_max is not in 1..65536";
    if (l->message_bytes_max == 0) return "message_bytes_max is 0";
    if (l->window_bytes_max == 0) return "window_bytes_max is 0";
    if (l->entry_bytes_max == 0) return "entry_bytes_max is 0";
    return NULL;
}

static const char *options_wrong(const struct kelp_options *o)
{
    if (o->size != sizeof *o) return "size is not sizeof(struct kelp_options)";
    if (o->self == 0) return "self is 0";
    if (o->heartbeat == 0) return "heartbeat is 0";
    if (o->heartbeat > o->election_min / 2) return "election_min is below 2 x heartbeat";
    if (o->election_max <= o->election_min) return "election_max is not above election_min";
    if (o->election_max > UINT64_MAX / 64) return "election_max is absurd";
    if (o->stall_limit != 0 && o->stall_limit < o->election_min)
        return "stall_limit is below election_min";
    if (o->stall_limit > UINT64_MAX / 64) return "stall_limit is absurd";
    if (o->drift_ppm > DRIFT_PPM_MAX) return "drift_ppm is above 1000000";
    if (o->lease != 0 && (o->off & KELP_STICKINESS) != 0)
        return "a lease relies on the stickiness that is switched off";
    if (o->catch_up_idle > UINT64_MAX / 64) return "catch_up_idle is absurd";
    if (o->remove_unseen != 0 && o->remove_unseen < 2 * o->election_max)
        return "remove_unseen is below 2 x election_max";
    if (o->remove_unseen > UINT64_MAX / 64) return "remove_unseen is absurd";
    if (o->join_healthy > UINT64_MAX / 64) return "join_healthy is absurd";
    if ((o->off & ~(uint32_t)(KELP_PRE_VOTE | KELP_CHECK_QUORUM | KELP_STICKINESS)) != 0)
        return "off has an unknown bit";
    return limits_wrong(&o->limits);
}

/* The arithmetic is shown: which of the three numbers is wrong only their owner knows. */
static enum kelp_error lease_check(const struct kelp_options *o, struct kelp_fault *fault)
{
    kelp_ns max = kelp_lease_max(o->election_min, o->drift_ppm);
    if (o->lease <= max) return KELP_OK;
    return fault_set(
        fault, KELP_E_ARGUMENT, "options",
        "lease of %llu ns is above election_min / (1 + drift) = %llu / (1 + %u/1000000) "
        "= %llu ns",
        (unsigned long long)o->lease, (unsigned long long)o->election_min, (unsigned)o->drift_ppm,
        (unsigned long long)max);
}

enum kelp_error kelp_options_check(const struct kelp_options *options, struct kelp_fault *fault)
{
    const char *wrong = options_wrong(options);
    if (wrong == NULL) return lease_check(options, fault);
    return fault_set(fault, KELP_E_ARGUMENT, "options", "%s", wrong);
}

/* ---- memory ---- */

static uint64_t power_of_two(uint64_t at_least)
{
    uint64_t power = 2;
    while (power < at_least)
        power *= 2;
    return power;
}

static void *carve(uint8_t *block, size_t *used, size_t count, size_t size)
{
    size_t at = (*used + 15u) & ~(size_t)15u;
    *used = at + count * size;
    return block != NULL ? block + at : NULL;
}

struct tables {
    struct kelp_run *runs;
    uint64_t *totals;
    struct request *proposals, *reads;
};

static size_t carve_all(uint8_t *block, const struct kelp_limits *l, struct kelp_core *r,
                        struct tables *t)
{
    size_t used = 0;
    size_t messages = (size_t)l->members_max * MESSAGES_PER_PEER + l->strangers_max * 3u + 1u;
    (void)carve(block, &used, 1, sizeof(struct kelp_core));
    r->peers = carve(block, &used, l->members_max, sizeof *r->peers);
    r->windows =
        carve(block, &used, (size_t)l->members_max * l->window_messages_max, sizeof *r->windows);
    r->strangers = carve(block, &used, l->strangers_max, sizeof *r->strangers);
    r->refusals = carve(block, &used, l->answers_max, sizeof *r->refusals);
    r->answers = carve(block, &used, l->answers_max, sizeof *r->answers);
    r->events = carve(block, &used, l->events_max, sizeof *r->events);
    r->messages = carve(block, &used, messages, sizeof *r->messages);
    r->lookups = carve(block, &used, l->members_max + 1u, sizeof *r->lookups);
    t->runs = carve(block, &used, l->runs_max, sizeof *t->runs);
    t->totals = carve(block, &used, power_of_two(l->tail_entries_max), sizeof *t->totals);
    t->proposals = carve(block, &used, l->proposals_max, sizeof *t->proposals);
    t->reads = carve(block, &used, l->reads_max, sizeof *t->reads);
    for (uint32_t i = 0; i < CHANGES_MAX; i++)
        r->changes[i].edits = carve(block, &used, l->members_max, sizeof *r->changes[i].edits);
    return used;
}

size_t kelp_core_memory(const struct kelp_limits *limits)
{
    struct kelp_core unused = {0};
    struct tables tables;
    return carve_all(NULL, limits, &unused, &tables);
}

/* ---- birth ---- */

static const char *boot_wrong(const struct kelp_options *o, const struct kelp_boot *b)
{
    if (b->last < b->base.index) return "the log ends before it begins";
    if (!in_range(b->commit, b->base.index, b->last)) return "the commit index is outside the log";
    if (!in_range(b->applied, b->base.index, b->commit)) return "the applied index is above commit";
    if (b->config == NULL) return "there is no configuration";
    if (!config_valid(b->config, o->limits.members_max)) return "the configuration is invalid";
    if (b->config_before != NULL && !config_valid(b->config_before, o->limits.members_max))
        return "the configuration before is invalid";
    if (b->config->index > b->last) return "the configuration is beyond the log";
    if (b->config_before != NULL && b->config_before->index >= b->config->index)
        return "the configuration before is not before";
    if (b->base.term.v > b->term.v) return "the base's term is above the saved term";
    if (b->term.v > TERM_MAX) return "the saved term is absurd";
    if (b->last > b->base.index) {
        if (b->run_count == 0 || b->runs[b->run_count - 1].last != b->last)
            return "the terms do not reach the end of the log";
        if (!in_range(b->runs_from, b->base.index + 1, b->last))
            return "the terms begin outside the log";
        kelp_index before = b->runs_from - 1;
        uint64_t term = b->base.term.v;
        for (size_t i = 0; i < b->run_count; i++) {
            if (b->runs[i].last <= before || b->runs[i].term.v < term)
                return "the terms of the log do not ascend";
            before = b->runs[i].last;
            term = b->runs[i].term.v;
        }
        if (term > b->term.v) return "an entry's term is above the saved term";
    }
    return NULL;
}

static void boot_log(struct kelp_core *r, const struct kelp_boot *b)
{
    /* runs of one term may be given in pieces; only the newest that fit are kept */
    log_boot(&r->log, b->base, b->last, b->runs, b->last > b->base.index ? b->run_count : 0,
             b->runs_from);
    log_marks(&r->log, r->options.hold_bytes / (LOG_MARKS / 2));
    r->durable = b->last;
    r->emitted_last = b->last;
    r->commit = b->commit;
    r->applied = b->applied;
    r->apply_given = b->applied;
    if (b->snapshot.index <= b->applied) r->snapshot = b->snapshot;
    r->everyone = min_u64(b->everyone, b->last);
}

static bool votes_alone(const struct kelp_core *r, const struct kelp_config *config)
{
    return config_votes(config, config_slot(config, r->options.self)) &&
           config_voter_count(config) == 1;
}

struct kelp_core *kelp_core_init(void *memory, const struct kelp_options *options,
                                 const struct kelp_boot *boot, kelp_ns now,
                                 struct kelp_fault *fault)
{
    if (kelp_options_check(options, fault) != KELP_OK) return NULL;
    const char *wrong = boot_wrong(options, boot);
    if (wrong != NULL) {
        (void)fault_set(fault, KELP_E_CORRUPT, "boot", "%s", wrong);
        return NULL;
    }
    ASSERT(((uintptr_t)memory & 15u) == 0);
    struct kelp_core *r = memory;
    const struct kelp_limits *l = &options->limits;
    memset(memory, 0, kelp_core_memory(l));
    struct tables t;
    (void)carve_all(memory, l, r, &t);
    log_init(&r->log, t.runs, l->runs_max, t.totals, power_of_two(l->tail_entries_max));
    requests_init(&r->proposals, t.proposals, l->proposals_max);
    requests_init(&r->reads, t.reads, l->reads_max);
    r->options = *options;
    if (r->options.stall_limit == 0)
        r->options.stall_limit = max_u64(options->election_min, STALL_MIN);
    r->now = now;
    r->prng.state = options->seed;
    struct prng ids = {.state = ~options->seed};
    r->message_id = prng_next(&ids) >> 1; /* no answer to a former life names one of ours */
    r->term = r->saved_term = r->emitted_term = boot->term;
    r->vote = r->saved_vote = r->emitted_vote = boot->vote;
    boot_log(r, boot);
    r->config = *boot->config;
    r->config_has_before = boot->config_before != NULL;
    if (boot->config_before != NULL) r->config_before = *boot->config_before;
    for (uint32_t i = 0; i < l->members_max; i++)
        progress_init(&r->peers[i].progress, &r->windows[(size_t)i * l->window_messages_max],
                      l->window_messages_max);
    peers_rebuild(r);
    r->role_since = now;
    role_timer_reset(r);
    transfer_lead(r);
    bool alone = votes_alone(r, &r->config) && votes_alone(r, member_committed(r));
    if (alone)
        r->election_at = now;                      /* nobody to wait for */
    else if (boot->ran_before && boot->term.v > 0) /* in term 0 nobody leads */
        lease_stick(r);
    for (uint32_t bit = 1; bit <= KELP_STICKINESS; bit *= 2) {
        if ((options->off & bit) != 0) EVENT(r, PROTECTION_OFF, .value = bit);
    }
    return r;
}

/* ---- peers and debts ---- */

/* A stranger that becomes a member keeps what we owe it. */
static struct debt stranger_debt(struct kelp_core *r, kelp_id id)
{
    for (uint32_t i = 0; i < r->stranger_count; i++) {
        if (r->strangers[i].id != id) continue;
        struct debt debt = r->strangers[i].debt;
        r->strangers[i] = r->strangers[--r->stranger_count];
        return debt;
    }
    return (struct debt){.answer = false};
}

static void peer_reset(struct kelp_core *r, struct peer *peer, kelp_id id)
{
    struct progress progress = peer->progress;
    *peer = (struct peer){
        .id = id, .debt = stranger_debt(r, id), .progress = progress, .commit_at = KELP_NEVER};
    progress_reset(&peer->progress, 1);
}

void peers_rebuild(struct kelp_core *r)
{
    uint32_t max = r->options.limits.members_max;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        kelp_id id = r->config.members[slot].id;
        uint32_t found = max, free_slot = max;
        for (uint32_t at = slot; at < max && found == max; at++) {
            if (r->peers[at].id == id)
                found = at;
            else if (free_slot == max && config_slot(&r->config, r->peers[at].id) == CONFIG_NO_SLOT)
                free_slot = at;
        }
        uint32_t from = found < max ? found : free_slot;
        ASSERT(from < max); /* there are at least as many structs as members */
        struct peer moved = r->peers[from];
        r->peers[from] = r->peers[slot];
        r->peers[slot] = moved;
        if (found == max) {
            peer_reset(r, &r->peers[slot], id);
            if (r->role == KELP_LEADER) {
                progress_reset(&r->peers[slot].progress, r->log.last + 1);
                r->peers[slot].contact = r->now;
                r->peers[slot].resend_after = r->options.election_min;
            }
        }
    }
    for (uint32_t at = r->config.count; at < max; at++)
        r->peers[at].id = 0;
    r->self_slot = config_slot(&r->config, r->options.self);
    witness_seek(r);
    r->staging = edit_staging(&r->config);
}

struct peer *peer_of(struct kelp_core *r, kelp_id id)
{
    uint32_t slot = config_slot(&r->config, id);
    return slot == CONFIG_NO_SLOT ? NULL : &r->peers[slot];
}

struct debt *debt_of(struct kelp_core *r, kelp_id id)
{
    struct peer *peer = peer_of(r, id);
    if (peer != NULL) return &peer->debt;
    for (uint32_t i = 0; i < r->stranger_count; i++) {
        if (r->strangers[i].id == id) return &r->strangers[i].debt;
    }
    if (r->stranger_count == r->options.limits.strangers_max) {
        EVENT(r, STRANGERS_FULL, .peer = id);
        return NULL;
    }
    r->strangers[r->stranger_count] = (struct stranger){.id = id};
    return &r->strangers[r->stranger_count++].debt;
}

/* ---- events and faults ---- */

void event_emit(struct kelp_core *r, struct kelp_event event)
{
    event.at = r->now;
    event.node = r->options.self;
    event.role = (uint8_t)r->role;
    event.term = r->term;
    r->events[r->event_count % r->options.limits.events_max] = event;
    r->event_count++;
}

void core_fault(struct kelp_core *r, enum kelp_error error, const char *words, struct kelp_pos ours,
                struct kelp_pos theirs)
{
    if (r->faulted) return;
    if (r->role == KELP_LEADER) transfer_part(r);
    r->faulted = true;
    r->fault.index = ours.index;
    (void)fault_set(&r->fault, error, "raft", "%s: ours %llu@%llu, theirs %llu@%llu", words,
                    (unsigned long long)ours.index, (unsigned long long)ours.term.v,
                    (unsigned long long)theirs.index, (unsigned long long)theirs.term.v);
    EVENT(r, FAULTED, .pos = ours);
    requests_resolve_all(&r->proposals, KELP_UNKNOWN, KELP_R_FAULTED);
    requests_resolve_all(&r->reads, KELP_REFUSED, KELP_R_FAULTED);
    change_end_all(r, KELP_R_FAULTED);
    transfer_stop(r, KELP_R_FAULTED);
    if (r->role != KELP_FOLLOWER) role_step_down(r);
}

size_t kelp_recent(const struct kelp_core *r, struct kelp_event *out, size_t max)
{
    uint64_t held = min_u64(r->event_count, r->options.limits.events_max);
    uint64_t count = min_u64(held, max);
    for (uint64_t i = 0; i < count; i++)
        out[i] = r->events[(r->event_count - count + i) % r->options.limits.events_max];
    return count;
}

/* ---- looking at it ---- */

kelp_term kelp_log_term(const struct kelp_core *r, kelp_index index)
{
    return log_term(&r->log, index);
}

void kelp_core_config(const struct kelp_core *r, struct kelp_config *latest,
                      struct kelp_config *committed)
{
    if (latest != NULL) *latest = r->config;
    if (committed != NULL) *committed = *member_committed(r);
}

struct core_configs core_configs(const struct kelp_core *r)
{
    return (struct core_configs){&r->config, member_committed(r)};
}

static bool leads_committed(const struct kelp_core *r)
{
    return r->role == KELP_LEADER && r->own_first != 0 && r->commit >= r->own_first;
}

uint64_t core_led_term(const struct kelp_core *r, bool committed)
{
    bool leads = committed ? leads_committed(r) : r->role == KELP_LEADER;
    return leads ? r->term.v : 0;
}

/* A leader gives whoever did not answer it yet some time, but nobody is told that it did. */
static bool peer_heard(const struct kelp_core *r, uint32_t slot)
{
    return r->role == KELP_LEADER && (slot == r->self_slot || r->peers[slot].heard);
}

static void view_peer(const struct kelp_core *r, uint32_t slot, struct kelp_peer_view *out)
{
    const struct peer *peer = &r->peers[slot];
    *out = (struct kelp_peer_view){.id = peer->id,
                                   .space = peer->space,
                                   .role = r->config.members[slot].role,
                                   .priority = kelp_priority_of(&r->config.members[slot]),
                                   .flow = (uint8_t)peer->progress.flow,
                                   .match = peer->progress.match,
                                   .next = peer->progress.next,
                                   .applied = peer->applied,
                                   .durable = peer->durable,
                                   .inflight_messages = peer->progress.window_count,
                                   .inflight_bytes = peer->progress.window_bytes,
                                   .contact = peer_heard(r, slot) ? peer->contact : 0,
                                   .drained = peer->drained,
                                   .apart = peer->apart,
                                   .snapshot = peer->offered,
                                   .rounds = peer->catch_up.rounds,
                                   .alike = slot == r->self_slot || peer->alike,
                                   .rtt = peer->rtt};
}

void kelp_glance(const struct kelp_core *r, struct kelp_view *view)
{
    /* Field by field: most of it is room for peers that a cluster of this size has not. */
    view->space = r->space;
    view->own_space = r->own_space;
    view->self = r->options.self;
    view->leader = r->leader;
    view->vote = r->vote;
    view->role = r->role;
    view->term = r->term;
    view->term_saved = r->saved_term;
    view->first = r->log.base.index + 1;
    view->last = r->log.last;
    view->durable = r->durable;
    view->commit = r->commit;
    view->applied = r->applied;
    view->everyone = r->everyone;
    view->last_pos = log_tail(&r->log);
    view->snapshot = r->snapshot;
    view->revision = r->log.revision;
    view->role_since = r->role_since;
    view->leader_contact = r->leader_contact;
    view->proposals_open = r->proposals.open;
    view->reads_open = r->reads.open;
    view->uncommitted_bytes = view->unapplied_bytes = 0;
    view->faulted = r->faulted;
    view->stalled = r->stalled;
    view->drained = r->drained;
    view->may_lead = false;
    view->committed_own_term = leads_committed(r);
    view->elected = r->elected;
    view->removed = member_removed(r);
    view->change_gate = change_gate(r);
    view->changes_open = r->change_count;
    view->transferring = transfer_open(r);
    view->leaving = change_leaves(r);
    view->transfer_to = view->transferring ? r->transfer.target : 0;
    view->transfer_until = view->transferring ? r->transfer.until : 0;
    view->lease = KELP_LEASE_OFF;
    view->lease_until = 0;
    view->lease_reads = r->lease_reads;
    view->lease_refused = r->lease_refused;
    view->peer_count = view->spare = 0;
}

void core_look(const struct kelp_core *r, struct kelp_view *view)
{
    kelp_glance(r, view);
    view->peer_count = r->config.count;
    view->spare = change_spare(r);
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        view_peer(r, slot, &view->peers[slot]);
}

void kelp_view(const struct kelp_core *r, struct kelp_view *view)
{
    core_look(r, view);
    view->uncommitted_bytes = log_bytes(&r->log, r->commit + 1, r->log.last);
    view->unapplied_bytes = log_bytes(&r->log, r->applied + 1, r->commit);
    view->may_lead = member_may_stand(r);
    view->lease = lease_state(r, &view->lease_until);
}
