/* SPDX-License-Identifier: Apache-2.0 */
/* step.c - the conductor: the term rule, dispatch, settle, take. [fig 3.1]
 *
 * kelp_step: time -> timers -> one conversation -> settle. kelp_take: time -> timers -> settle ->
 * the leader's empty entry and the round of new reads -> one struct of things to do. settle() is
 * the only place where one conversation's result becomes another's beginning. */
#include <stddef.h>
#include <string.h>

#include "core/core.h"

#define SETTLE_ROUNDS_MAX 64

static bool take_bit(struct kelp_core *r, enum dirty bit)
{
    if ((r->dirty & (uint32_t)bit) == 0) return false;
    r->dirty &= ~(uint32_t)bit;
    return true;
}

void settle(struct kelp_core *r)
{
    for (int round = 0; r->dirty != 0; round++) {
        ASSERT(round < SETTLE_ROUNDS_MAX);
        if (take_bit(r, DIRTY_CONFIG)) {
            r->dirty |= DIRTY_MATCH | DIRTY_TALLY | DIRTY_SPACE; /* a smaller quorum may suffice */
            transfer_lead(r);
        }
        if (take_bit(r, DIRTY_STAND)) elect_stand(r);
        if (take_bit(r, DIRTY_TALLY)) elect_tally(r);
        if (take_bit(r, DIRTY_ROLE)) {
            r->dirty |= DIRTY_TRANSFER;
            space_forget(r);
            if (r->role == KELP_LEADER) {
                replicate_lead(r);
                change_lead(r);
                transfer_lead(r);
            }
        }
        if (take_bit(r, DIRTY_SPACE)) space_settle(r);
        if (take_bit(r, DIRTY_MATCH)) {
            r->dirty |= DIRTY_TRANSFER;
            commit_advance(r);
        }
        if (take_bit(r, DIRTY_TRANSFER)) transfer_settle(r);
        if (take_bit(r, DIRTY_COMMIT)) {
            commit_settle(r);
            if (change_settle(r)) {
                transfer_left(r);
                role_step_down(r);
            }
            r->dirty |= DIRTY_READ;
        }
        if (take_bit(r, DIRTY_READ)) {
            read_release(r);
            change_confirm(r);
        }
    }
}

/* ---- messages ---- */

static bool addressed(struct kelp_core *r, const struct kelp_message *m)
{
    bool vote = m->type == KELP_MSG_VOTE || m->type == KELP_MSG_VOTE_ANSWER;
    if (m->term.v > TERM_MAX || (vote && m->vote.term.v > TERM_MAX)) {
        EVENT(r, MESSAGE_MALFORMED, .peer = m->from, .value = m->term.v);
        return false;
    }
    if (m->to == r->options.self && m->from != 0 && m->from != m->to && m->id != 0) return true;
    EVENT(r, MESSAGE_NOT_FOR_US, .peer = m->from, .value = m->to);
    return false;
}

static bool from_leader(const struct kelp_message *m)
{
    return m->type == KELP_MSG_APPEND || m->type == KELP_MSG_HEARTBEAT ||
           m->type == KELP_MSG_SNAPSHOT;
}

/* A leader of a lower term, or a member that asks while we are ahead, learns our term. */
static void lower_term(struct kelp_core *r, const struct kelp_message *m)
{
    EVENT(r, MESSAGE_LOWER_TERM, .peer = m->from, .value = m->term.v);
    struct debt *debt = from_leader(m) ? debt_of(r, m->from) : NULL;
    if (debt == NULL) return;
    debt->answer = true;
    debt->id = m->id;
}

static struct kelp_taken step_message(struct kelp_core *r, const struct kelp_message *m)
{
    struct kelp_taken none = {.revision = r->log.revision};
    if (core_silent(r) || !addressed(r, m)) return none;
    if (m->type == KELP_MSG_VOTE) { /* has its own rule about terms */
        elect_asked(r, m);
        return none;
    }
    if (m->type == KELP_MSG_VOTE_ANSWER && (m->flags & KELP_MF_REMOVED) != 0)
        member_told_removed(r, m->from); /* whatever its term: it is final */
    bool pre_vote_answer = m->type == KELP_MSG_VOTE_ANSWER && (m->flags & KELP_MF_PRE_VOTE) != 0;
    if (m->term.v > r->term.v) {
        role_adopt(r, m->term);
    } else if (m->term.v < r->term.v && !pre_vote_answer) {
        lower_term(r, m);
        return none;
    }
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE: break;
    case KELP_MSG_VOTE_ANSWER: elect_answered(r, m); return none;
    case KELP_MSG_APPEND: return replicate_append(r, m);
    case KELP_MSG_HEARTBEAT: replicate_heartbeat(r, m); return none;
    case KELP_MSG_ANSWER: replicate_answer(r, m); return none;
    case KELP_MSG_TIMEOUT_NOW: transfer_told(r, m); return none;
    case KELP_MSG_SNAPSHOT: snap_offered(r, m); return none;
    }
    EVENT(r, MESSAGE_MALFORMED, .peer = m->from, .value = m->type);
    return none;
}

/* ---- other inputs ---- */

static void applied(struct kelp_core *r, kelp_index index)
{
    ASSERT(index <= r->apply_given);
    if (index <= r->applied) return;
    r->applied = index;
    r->dirty |= DIRTY_READ;
    EVENT(r, APPLIED, .value = index);
}

static void cancel(struct kelp_core *r, uint64_t token)
{
    ASSERT(token != 0); /* nobody's: as of what the core does by itself */
    struct request *proposal = requests_find(&r->proposals, token);
    if (proposal != NULL) requests_resolve(&r->proposals, proposal, KELP_UNKNOWN, KELP_R_TIMEOUT);
    struct request *read = requests_find(&r->reads, token);
    if (read != NULL) requests_resolve(&r->reads, read, KELP_REFUSED, KELP_R_TIMEOUT);
    change_cancel(r, token);
    transfer_cancel(r, token);
}

static void shut_down(struct kelp_core *r)
{
    if (r->shutdown) return;
    EVENT(r, SHUTDOWN);
    requests_resolve_all(&r->proposals, KELP_UNKNOWN, KELP_R_SHUTDOWN);
    requests_resolve_all(&r->reads, KELP_REFUSED, KELP_R_SHUTDOWN);
    change_end_all(r, KELP_R_SHUTDOWN);
    transfer_stop(r, KELP_R_SHUTDOWN);
    r->reads_fresh = false;
    r->shutdown = true;
}

static struct kelp_taken dispatch(struct kelp_core *r, const struct kelp_input *input)
{
    struct kelp_taken none = {.revision = r->log.revision};
    switch (input->type) {
    case KELP_IN_TICK: break;
    case KELP_IN_MESSAGE: return step_message(r, input->message);
    case KELP_IN_PROPOSE: return propose(r, input);
    case KELP_IN_READ: read_asked(r, input); break;
    case KELP_IN_SAVED: save_reported(r, input->number); break;
    case KELP_IN_APPLIED: applied(r, input->index); break;
    case KELP_IN_FOUND:
    case KELP_IN_GONE:
    case KELP_IN_FAILED: replicate_found(r, input); break;
    case KELP_IN_LINK: replicate_link(r, input->peer); break;
    case KELP_IN_SNAPSHOT: snap_taken(r, input->pos); break;
    case KELP_IN_INSTALLED:
        snap_installed(r, input->installed.pos, input->installed.term, input->installed.config);
        break;
    case KELP_IN_SENDING: snap_sending(r, input->peer); break;
    case KELP_IN_HEALTH:
        transfer_leaves(r, input->health.health);
        transfer_apart(r, input->health.health);
        space_own(r, input->health.room, input->health.health);
        break;
    case KELP_IN_FAULT:
        core_fault(r, KELP_E_IO, "the disk failed", log_tail(&r->log), kelp_pos_of(r->durable, 0));
        break;
    case KELP_IN_CANCEL: cancel(r, input->token); break;
    case KELP_IN_SHUTDOWN: shut_down(r); break;
    case KELP_IN_CAMPAIGN:
        if (!core_silent(r) && r->role == KELP_FOLLOWER) elect_ordered(r);
        break;
    case KELP_IN_CHANGE: change_asked(r, input); break;
    case KELP_IN_REMOVED: member_told_removed(r, input->peer); break;
    case KELP_IN_TRANSFER: transfer_asked(r, input); break;
    case KELP_IN_SHOWN: lease_shown(r, input); break;
    case KELP_IN_DRAIN: drain_asked(r, input); break;
    }
    return none;
}

static void self_check(struct kelp_core *r)
{
#ifdef KELP_CHECK_SLOW
    struct kelp_fault fault = {0};
    ASSERT(kelp_check(r, &fault) == KELP_OK);
#else
    (void)r;
#endif
}

struct kelp_taken kelp_step(struct kelp_core *r, kelp_ns now, const struct kelp_input *input)
{
    r->now = max_u64(r->now, now);
    /* a paused node looks at what has passed before it believes what arrives */
    timer_expire(r);
    if (r->dirty != 0) settle(r);
    struct kelp_taken taken = dispatch(r, input);
    if (r->dirty != 0) settle(r);
    self_check(r);
    return taken;
}

/* ---- take ---- */

static uint32_t take_answers(struct kelp_core *r)
{
    uint32_t max = r->options.limits.answers_max;
    uint32_t count = r->refusal_count;
    memcpy(r->answers, r->refusals, count * sizeof *r->answers);
    r->refusal_count = 0;
    if (r->proposals.count > 0)
        count += requests_take(&r->proposals, &r->answers[count], max - count);
    if (r->reads.count > 0) count += requests_take(&r->reads, &r->answers[count], max - count);
    count += change_take(r, &r->answers[count], max - count);
    count += transfer_take(r, &r->answers[count], max - count);
    return count;
}

static void take_apply(struct kelp_core *r, struct kelp_work *work)
{
    kelp_index limit = r->commit;
    if (r->options.apply_durable_only) limit = min_u64(limit, r->durable);
    if (r->faulted || limit <= r->apply_given) return;
    if (r->proposals.resolved > 0) return; /* their answers come first, in the next take */
    work->apply_first = r->apply_given + 1;
    work->apply_last = limit;
    r->apply_given = limit;
}

/* Events since the last take, as far as they lie together in the ring. */
static void take_events(struct kelp_core *r, struct kelp_work *work)
{
    uint64_t max = r->options.limits.events_max;
    uint64_t held = min_u64(r->event_count - r->events_taken, max);
    uint64_t from = r->event_count - held;
    uint64_t count = min_u64(held, max - from % max);
    work->events = &r->events[from % max];
    work->event_count = (uint32_t)count;
    r->events_taken = from + count;
}

/* Every peer has what is in the log. */
static bool all_sent(const struct kelp_core *r)
{
    for (uint32_t slot = 0; r->role == KELP_LEADER && slot < r->config.count; slot++) {
        const struct progress *p = &r->peers[slot].progress;
        if (slot == r->self_slot) continue;
        if (p->flow != KELP_STREAM || p->next <= r->log.last) return false;
    }
    return true;
}

/* What a take leaves for another one: whatever is handed out in turns, or waits for what was. It
 * may say so too often; only what happens all the time is looked at closely. looked: a look at the
 * log was given up. */
static bool more_may_follow(const struct kelp_core *r, const struct kelp_work *work, bool looked)
{
    bool calm = r->role == KELP_FOLLOWER || r->role == KELP_LEADER;
    ASSERT(r->dirty == 0); /* what is handed out decides nothing */
    if (!calm || core_silent(r) || r->event_count != r->events_taken) return true;
    if (work->deadline <= r->now) return true;
    /* What a leader may do about its members depends on much: on any news it looks again. */
    bool settled = !r->staging && !r->witnessed && !r->config.joint;
    if (r->role == KELP_LEADER && work->event_count > 0 && !settled) return true;
    if (r->change_count > 0 || r->staging || r->config.joint) return true;
    if (r->transfer.state != TRANSFER_NONE || r->parting != 0) return true;
    if (work->made_count + work->lookup_count > 0 || looked || r->stranger_count > 0) return true;
    if (r->proposals.resolved + r->reads.resolved + r->refusal_count > 0) return true;
    if ((work->save.flags & KELP_SAVE_COMPACT) != 0 || r->lease_waits) return true;
    if (save_waits(r)) return true; /* what follows a reset is for the next save */
    return !all_sent(r);
}

bool kelp_take(struct kelp_core *r, kelp_ns now, struct kelp_work *work)
{
    memset(work, 0, offsetof(struct kelp_work, fault)); /* nearly all of it is room for a fault */
    r->now = max_u64(r->now, now);
    timer_expire(r);
    if (r->dirty != 0) settle(r);
    if (r->role == KELP_LEADER && r->noop_due && !core_silent(r)) {
        replicate_noop(r);
        r->made = (struct kelp_made){.pos = log_tail(&r->log), .type = KELP_ENTRY_NOOP};
        work->made = &r->made;
        work->made_count = 1;
    }
    bool changed = change_drive(r);
    if (r->leave_due && !transfer_leave(r)) changed = change_drive(r);
    if (changed) {
        ASSERT(work->made_count == 0); /* not before the empty entry is committed */
        work->made = &r->made;
        work->made_count = 1;
    }
    read_stamp(r);
    if (r->dirty != 0) settle(r);
    work->messages = r->messages;
    work->message_count = output_messages(r);
    work->lookups = r->lookups;
    bool looked = false;
    work->lookup_count = output_lookups(r, &looked);
    (void)save_compose(r, &work->save);
    work->answers = r->answers;
    work->answer_count = take_answers(r);
    take_apply(r, work);
    work->fetch = r->fetch;
    work->fetch_from = r->fetch_from;
    r->fetch = kelp_pos_of(0, 0);
    take_events(r, work);
    work->faulted = r->faulted;
    if (r->faulted) work->fault = r->fault;
    work->deadline = timer_deadline(r);
    work->more = more_may_follow(r, work, looked);
    self_check(r);
    return work->made_count + work->message_count + work->lookup_count + work->answer_count +
               work->event_count + (work->save.number != 0) + (work->apply_last != 0) +
               (work->fetch.index != 0) >
           0;
}
