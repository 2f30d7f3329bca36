/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - what must hold in every state, and what may have changed since the last look. [fig 3.2]
 *
 * Runs after every step and take in debug, simulator and fuzz builds. Each rule is one row: the
 * condition and its words. Rules between nodes (one leader a term, logs that match) are the
 * simulator's. */
#include <string.h>

#include "base/fault.h"
#include "core/core.h"

struct verdict {
    struct kelp_fault *fault;
    enum kelp_error error;
};

static void rule(struct verdict *v, bool holds, const char *words)
{
    if (holds || v->error != KELP_OK) return;
    v->error = fault_set(v->fault, KELP_E_CORRUPT, "core", "%s", words);
}

static void check_order(const struct kelp_core *r, struct verdict *v)
{
    rule(v, r->log.base.index <= r->applied, "applied is below the log");
    rule(v, r->applied <= r->apply_given, "applied is above what was given to be applied");
    rule(v, r->apply_given <= r->commit, "more was given to be applied than is committed");
    rule(v, r->commit <= r->log.last, "commit is above the last entry");
    rule(v, r->durable <= r->log.last, "durable is above the last entry");
    rule(v, r->emitted_last <= r->log.last, "saves reach beyond the log");
    rule(v, r->durable <= r->emitted_last, "durable is above what was saved");
    rule(v, r->everyone <= r->log.last, "known everywhere is above the last entry");
    rule(v, r->snapshot.index <= r->applied, "a snapshot shows what is not applied");
    rule(v, !r->reset_due || (!r->truncate_due && r->emitted_last == r->reset_to.index),
         "saves reach beyond a reset that was not saved");
    rule(v, r->saved_term.v <= r->term.v, "the saved term is above the term");
    rule(v, log_tail(&r->log).term.v <= r->term.v, "the last entry's term is above the term");
    rule(v, r->config.index <= r->log.last, "the configuration is beyond the log");
    const struct shadow *was = &r->shadow; /* one configuration an index and a revision */
    bool known = was->valid && was->error == KELP_OK && was->revision == r->log.revision &&
                 was->config_index == r->config.index;
    rule(v, known || config_valid(&r->config, r->options.limits.members_max),
         "the configuration is invalid");
}

static void check_role(const struct kelp_core *r, struct verdict *v)
{
    switch (r->role) {
    case KELP_FOLLOWER:
        rule(v, r->leader != r->options.self, "a follower follows itself");
        rule(v, r->own_first == 0 && !r->noop_due, "a follower keeps a leader's state");
        rule(v, r->reads.open == 0, "a follower has open reads");
        break;
    case KELP_PRE_CANDIDATE:
        rule(v, r->leader == 0, "a pre-candidate knows a leader");
        rule(v, member_may_stand(r), "a pre-candidate does not vote");
        break;
    case KELP_CANDIDATE:
        rule(v, r->leader == 0, "a candidate knows a leader");
        rule(v, !config_witness(&r->config, r->self_slot), "a witness stands for election");
        rule(v, r->vote == r->options.self, "a candidate did not vote for itself");
        break;
    case KELP_LEADER:
        rule(v, r->leader == r->options.self, "a leader does not know itself");
        rule(v, !config_witness(&r->config, r->self_slot), "a witness leads");
        rule(v, r->vote == r->options.self, "a leader did not vote for itself");
        rule(v, term_saved(r) && r->saved_vote == r->vote, "a leader's vote is not durable");
        rule(v, r->noop_due || r->own_first != 0, "a leader has no entry of its own");
        rule(v, r->own_first == 0 || r->own_first <= r->log.last, "a leader's own entry is gone");
        break;
    }
    rule(v, r->role == KELP_LEADER || r->election_at != KELP_NEVER, "nobody will ever stand");
    kelp_ns until = 0;
    if (r->role != KELP_LEADER || r->told_term.v >= r->term.v) (void)lease_state(r, &until);
    rule(v, until == 0, "a lease where none may be");
    rule(v, !r->by_transfer || r->role == KELP_CANDIDATE, "stands by transfer and does not stand");
    rule(v, r->enquires != ENQUIRE_EVERYBODY || r->role == KELP_FOLLOWER,
         "asks everybody after itself and stands");
    rule(v, r->enquires == ENQUIRE_NOBODY || r->role <= KELP_PRE_CANDIDATE,
         "enquires after itself and stands or leads");
}

/* A leader hands over, or led when it began to and waits for its outcome. */
static bool handing_over(const struct kelp_core *r)
{
    return r->transfer.state == TRANSFER_LEVEL || r->transfer.state == TRANSFER_TOLD;
}

static void check_transfer(const struct kelp_core *r, struct verdict *v)
{
    const struct transfer *t = &r->transfer;
    bool leads = r->role == KELP_LEADER && r->term.v == t->term.v;
    if (handing_over(r)) {
        rule(v, !core_silent(r), "a silent node hands over");
        rule(v, t->until <= add_sat(r->now, r->options.election_min),
             "a transfer outlasts an election timeout");
        rule(v, t->target != r->options.self, "a leader hands over to itself");
    }
    rule(v, t->state != TRANSFER_LEVEL || leads, "hands over what it does not lead");
    rule(v, t->state != TRANSFER_TOLD || t->target != 0, "nobody was told to stand");
    rule(v, t->state != TRANSFER_TOLD || !leads || t->required == r->log.last,
         "the log grew after somebody was told to stand");
    rule(v, t->state != TRANSFER_TOLD || r->told_term.v >= t->term.v,
         "leases could still be given in a term that is handed over");
    rule(v, t->state != TRANSFER_OVER || t->token == 0 || t->answer.outcome != 0,
         "a transfer ended without an outcome");
}

static void check_peers(const struct kelp_core *r, struct verdict *v)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        const struct peer *peer = &r->peers[slot];
        const struct progress *p = &peer->progress;
        rule(v, peer->id == r->config.members[slot].id, "peers and members differ");
        if (r->role != KELP_LEADER || slot == r->self_slot) continue;
        rule(v, p->match < p->next, "next is not above match");
        rule(v, p->match <= r->log.last, "a match is beyond the log");
        rule(v, p->next <= r->log.last + 1, "next is beyond the log");
        rule(v, p->flow == KELP_STREAM || p->window_count == 0, "a window without a stream");
        rule(v, p->window_count > 0 || p->window_bytes == 0, "an empty window has bytes");
        rule(v, p->window_count <= p->window_max, "a window overflows");
        rule(v, peer->round_answered <= r->round, "a round was answered before it was asked");
    }
}

static void check_members(const struct kelp_core *r, struct verdict *v)
{
    uint32_t begun = 0;
    bool leads = r->role == KELP_LEADER;
    rule(v, !leads || config_votes(&r->config, r->self_slot) || r->config.index > r->commit,
         "a leader without a vote in a committed configuration goes on");
    rule(v,
         !leads || !r->config_has_before || r->own_first == 0 || r->config.index < r->own_first ||
             r->config_before.index <= r->commit,
         "a leader made a configuration before the last one was committed");
    rule(v,
         !leads || r->own_first == 0 || r->config.index <= r->own_first ||
             r->commit >= r->own_first,
         "a leader made a configuration before an entry of its term was committed");
    for (uint32_t i = 0; i < r->change_count; i++) {
        const struct change *change = &r->changes[i];
        rule(v, leads || change->outcome != 0 || change->stage == CHANGE_DECIDED,
             "a change waits where nobody leads");
        begun += change->stage == CHANGE_STAGED;
    }
    rule(v, begun <= 1, "two changes are under way");
}

static void check_saves(const struct kelp_core *r, struct verdict *v)
{
    uint64_t number = r->save_number - r->saves_count;
    for (uint32_t i = 0; i < r->saves_count; i++) {
        const struct open_save *save = &r->saves[(r->saves_head + i) % SAVES_OPEN_MAX];
        rule(v, save->number == ++number, "saves are not numbered without gaps");
        rule(v, save->vouches <= r->emitted_last, "a save vouches for what was cut");
        rule(v, save->vouches >= r->durable || i == 0 || save->vouches <= r->log.last,
             "a save vouches for less than is durable");
    }
    rule(v, r->proposals.open + r->proposals.resolved <= r->proposals.count,
         "proposals miscounted");
    rule(v, r->reads.open + r->reads.resolved <= r->reads.count, "reads miscounted");
}

static void check_change(const struct kelp_core *r, struct verdict *v)
{
    const struct shadow *was = &r->shadow;
    if (!was->valid) return;
    rule(v, r->term.v >= was->term.v, "the term fell");
    rule(v, r->saved_term.v >= was->saved_term.v, "the saved term fell");
    rule(v, r->commit >= was->commit, "commit fell");
    rule(v, r->applied >= was->applied, "applied fell");
    rule(v, r->log.base.index >= was->base, "the log grew at its beginning");
    rule(v, r->log.revision >= was->revision, "the revision fell");
    rule(v, r->term.v != was->term.v || was->vote == 0 || r->vote == was->vote,
         "a vote changed within a term");
    rule(v, r->log.last >= was->last || r->log.revision > was->revision,
         "the log shrank without a new revision");
    rule(v, r->durable >= was->durable || r->log.revision > was->revision, "durable fell");
    rule(v,
         was->role != KELP_LEADER || r->role != KELP_LEADER || r->term.v != was->term.v ||
             r->log.revision == was->revision,
         "a leader cut its own log");
    rule(v,
         !was->handing_over || !handing_over(r) || was->handing_until != r->transfer.until ||
             was->noop_due || r->role != KELP_LEADER || r->term.v != was->term.v ||
             r->log.last == was->last,
         "a leader that hands over took an entry");
    rule(v,
         !was->leaving || !change_leaves(r) || was->noop_due || r->term.v != was->term.v ||
             r->config.index != was->config_index || r->log.last == was->last,
         "a leader whose vote goes took an entry");
    rule(v, was->role == KELP_LEADER || r->role != KELP_LEADER || r->term.v >= was->term.v,
         "became leader in a lower term");
}

enum kelp_error kelp_check(struct kelp_core *r, struct kelp_fault *fault)
{
    struct verdict v = {.fault = fault, .error = KELP_OK};
    check_order(r, &v);
    check_role(r, &v);
    check_peers(r, &v);
    check_members(r, &v);
    check_saves(r, &v);
    check_transfer(r, &v);
    check_change(r, &v);
    r->shadow = (struct shadow){.valid = true,
                                .error = v.error,
                                .term = r->term,
                                .saved_term = r->saved_term,
                                .vote = r->vote,
                                .commit = r->commit,
                                .applied = r->applied,
                                .last = r->log.last,
                                .base = r->log.base.index,
                                .durable = r->durable,
                                .revision = r->log.revision,
                                .role = r->role,
                                .config_index = r->config.index,
                                .handing_over = handing_over(r),
                                .handing_until = r->transfer.until,
                                .leaving = change_leaves(r),
                                .noop_due = r->noop_due};
    return v.error;
}
