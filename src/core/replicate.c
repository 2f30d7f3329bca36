/* SPDX-License-Identifier: Apache-2.0 */
/* replicate.c - entries from the leader to its followers, both sides. [§3.5, §3.6, §10.2.1]
 *
 * The follower. An append names the entry before its first one. Below our commit index, and up to
 * `verified` (what was compared with this leader in this term), our log equals the leader's, so
 * nothing there is compared again or cut. Entries that match are kept, the first that differs cuts
 * the tail, what is missing is appended. A refusal carries a hint: our last position whose term is
 * not above the refused one's, so that the leader needs one probe for each term in which the logs
 * differ. The answer's match is min(verified, durable): the only number that commits.
 *
 * The leader. A peer is probed until an append is accepted, then appends stream up to the window. A
 * window without progress is called lost and probed again from match; each time the wait doubles,
 * so that a slow link is not filled with repetitions. To a peer whose full disk takes nothing only
 * one append is under way. Refusals of a superseded attempt are ignored; match and round always
 * count, contact if something newer is answered than the last time.
 * What a peer needs and the log has not any more it gets as a snapshot: snap.c.
 *
 * Two leaders in one term, or an entry that differs at or below commit, cannot happen while disks
 * keep their promises: the node faults and says both positions. */
#include "core/core.h"

/* ---- the follower ---- */

void leader_owed(struct kelp_core *r, const struct kelp_message *m)
{
    struct debt *debt = debt_of(r, m->from);
    if (debt == NULL) return;
    debt->answer = true;
    debt->id = m->id;
}

static void owe_accepted(struct kelp_core *r, const struct kelp_message *m, bool now)
{
    struct debt *debt = debt_of(r, m->from);
    if (debt == NULL) return;
    if (debt->rejected && debt->attempt >= m->attempt) return; /* the refusal says more */
    debt->rejected = false;
    debt->attempt = m->attempt;
    debt->id = m->id;
    if (now) debt->answer = true; /* else when the entries are durable, see save_reported */
}

static void owe_rejected(struct kelp_core *r, const struct kelp_message *m, struct kelp_pos hint)
{
    struct debt *debt = debt_of(r, m->from);
    if (debt == NULL) return;
    if (debt->rejected && debt->attempt > m->attempt) return;
    debt->answer = true;
    debt->rejected = true;
    debt->attempt = m->attempt;
    debt->id = m->id;
    debt->hint = hint;
    debt->refused = m->append.prev;
}

/* A leader numbers what it sends. A message that comes again, or behind a newer one, says nothing
 * about now: whoever has lost its leader must not look fresh by what it heard long ago. */
static void contact_note(struct kelp_core *r, const struct kelp_message *m)
{
    if (m->term.v == r->heard_term.v && m->id <= r->heard_id) return;
    r->heard_term = m->term;
    r->heard_id = m->id;
    r->leader_contact = max_u64(1, r->now);
}

bool leader_heard(struct kelp_core *r, const struct kelp_message *m)
{
    if (r->role == KELP_LEADER || (r->leader != 0 && r->leader != m->from)) {
        EVENT(r, TWO_LEADERS, .peer = m->from, .value = r->leader);
        core_fault(r, KELP_E_CONFLICT, "two leaders in one term", log_tail(&r->log),
                   m->append.prev);
        return false;
    }
    role_follow(r, m->from);
    contact_note(r, m);
    return true;
}

enum check entry_check(const struct kelp_core *r, kelp_index index, kelp_term term)
{
    kelp_term ours = log_term(&r->log, index);
    bool known = ours.v != 0;
    if (index <= max_u64(r->commit, r->verified))
        return known && ours.v != term.v ? CHECK_CONTRADICTS : CHECK_SAME;
    if (!known) return CHECK_NOT_KNOWN;
    return ours.v == term.v ? CHECK_SAME : CHECK_DIFFERS;
}

void contradiction(struct kelp_core *r, kelp_id from, struct kelp_pos theirs)
{
    struct kelp_pos ours = {.term = log_term(&r->log, theirs.index), .index = theirs.index};
    EVENT(r, COMMIT_CONFLICT, .peer = from, .pos = ours, .value = theirs.term.v);
    core_fault(r, KELP_E_CONFLICT, "a leader contradicts what is committed", ours, theirs);
}

/* The append is dropped; the leader's next probe finds the answer. */
void entry_look_up(struct kelp_core *r, kelp_index index)
{
    if (r->own_look.state == LOOK_WANTED || r->own_look.state == LOOK_ASKED) {
        if (r->own_look.revision == r->log.revision) return;
    }
    r->own_look = (struct look){
        .state = LOOK_WANTED, .revision = r->log.revision, .pos = kelp_pos_of(index, 0)};
}

/* The entry before the first one: may the append go on? */
static bool prev_accepted(struct kelp_core *r, const struct kelp_message *m)
{
    struct kelp_pos prev = m->append.prev;
    if (prev.index > r->log.last) {
        EVENT(r, APPEND_REFUSED_GAP, .peer = m->from, .pos = prev);
        owe_rejected(r, m, log_tail(&r->log));
        return false;
    }
    if (prev.index < r->log.base.index || prev.index == 0) return true;
    enum check check = entry_check(r, prev.index, prev.term);
    if (check == CHECK_CONTRADICTS) contradiction(r, m->from, prev);
    if (check == CHECK_NOT_KNOWN) entry_look_up(r, prev.index);
    if (check != CHECK_DIFFERS) return check == CHECK_SAME;
    struct kelp_pos limit = {.term = prev.term, .index = prev.index - 1};
    EVENT(r, APPEND_REFUSED_CONFLICT, .peer = m->from, .pos = prev);
    owe_rejected(r, m, log_below(&r->log, limit, max_u64(r->commit, r->verified)));
    return false;
}

static void cut(struct kelp_core *r, const struct kelp_message *m, kelp_index last, kelp_term term)
{
    struct kelp_pos end = {.term = term, .index = last};
    ASSERT(last >= r->commit);
    ASSERT(last >= r->verified);
    EVENT(r, LOG_TRUNCATED, .peer = m->from, .pos = end, .value = r->log.last - last);
    log_truncate(&r->log, end);
    save_truncated(r, end);
    member_truncated(r, last);
}

static void append_rest(struct kelp_core *r, const struct kelp_message *m, kelp_index first,
                        struct kelp_taken *taken)
{
    kelp_index prev = m->append.prev.index;
    for (kelp_index index = first; index <= m->append.last; index++) {
        const struct kelp_entry_info *info = &m->append.entries[index - prev - 1];
        log_append(&r->log, info->term, info->bytes);
    }
    taken->first = first;
    taken->last = m->append.last;
    taken->revision = r->log.revision;
    EVENT(r, APPEND_ACCEPTED, .peer = m->from, .pos = log_tail(&r->log));
    if (m->append.config_before != NULL && m->append.config_before->index >= first)
        member_appended(r, m->append.config_before);
    if (m->append.config != NULL && m->append.config->index >= first)
        member_appended(r, m->append.config);
}

/* Who keeps data must never take an entry for its position. */
static bool position_sound(const struct kelp_core *r, const struct kelp_entry_info *entry)
{
    if (entry->type != KELP_ENTRY_POSITION || r->self_slot == CONFIG_NO_SLOT) return true;
    return config_witness(&r->config, r->self_slot);
}

static bool append_sound(const struct kelp_core *r, const struct kelp_message *m)
{
    kelp_index prev = m->append.prev.index;
    uint64_t term = m->append.prev.term.v;
    if (m->append.last < prev || m->append.last - prev > UINT32_MAX) return false;
    if (m->append.config != NULL && m->append.config->index > m->append.last) return false;
    if (term > r->term.v || (prev == 0 && term != 0)) return false;
    for (kelp_index i = 0; i < m->append.last - prev; i++) {
        uint64_t next = m->append.entries[i].term.v;
        if (next < term || next == 0 || next > r->term.v) return false;
        if (!position_sound(r, &m->append.entries[i])) return false;
        term = next;
    }
    return true;
}

struct kelp_taken replicate_append(struct kelp_core *r, const struct kelp_message *m)
{
    struct kelp_taken taken = {.revision = r->log.revision, .term = r->term};
    if (!append_sound(r, m)) {
        EVENT(r, MESSAGE_MALFORMED, .peer = m->from);
        return taken;
    }
    if (!leader_heard(r, m)) return taken;
    r->round_seen = max_u64(r->round_seen, m->round);
    if (!prev_accepted(r, m)) return taken;
    kelp_index index = m->append.prev.index + 1;
    kelp_term term = m->append.prev.term; /* of the entry before index */
    bool full = r->own_space == KELP_SPACE_NONE;
    if (m->append.last < r->commit) EVENT(r, APPEND_BELOW_COMMIT, .peer = m->from);
    for (; index <= m->append.last && index <= r->log.last; index++) {
        kelp_term theirs = m->append.entries[index - m->append.prev.index - 1].term;
        enum check check = index < r->log.base.index ? CHECK_SAME : entry_check(r, index, theirs);
        if (check == CHECK_CONTRADICTS) {
            contradiction(r, m->from, (struct kelp_pos){.term = theirs, .index = index});
            return taken;
        }
        if (check == CHECK_DIFFERS && full) break;
        if (check == CHECK_DIFFERS) {
            if (!member_outlasts(r, index - 1)) return taken;
            cut(r, m, index - 1, term);
        }
        if (check == CHECK_NOT_KNOWN) entry_look_up(r, index);
        if (check != CHECK_SAME) break;
        term = theirs;
    }
    bool complete = index > m->append.last || index > r->log.last;
    if (full && index <= m->append.last) { /* as if it had been lost: it comes again */
        EVENT(r, APPEND_REFUSED_NO_SPACE, .peer = m->from, .pos = log_tail(&r->log));
        complete = false;
    }
    if (complete && index <= m->append.last)
        append_rest(r, m, index, &taken);
    else if (complete)
        EVENT(r, APPEND_KNOWN, .peer = m->from);
    r->verified = max_u64(r->verified, complete ? m->append.last : index - 1);
    ASSERT(r->verified <= r->log.last || r->verified <= r->commit);
    bool waits = r->verified > r->durable && m->append.last > m->append.prev.index;
    if (complete)
        owe_accepted(r, m, !waits);
    else
        leader_owed(r, m);
    commit_follow(r, m->append.commit, m->append.everyone);
    return taken;
}

void replicate_heartbeat(struct kelp_core *r, const struct kelp_message *m)
{
    if (!leader_heard(r, m)) return;
    r->round_seen = max_u64(r->round_seen, m->round);
    commit_follow(r, m->append.commit, m->append.everyone);
    leader_owed(r, m);
}

/* ---- the leader ---- */

void replicate_lead(struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        struct peer *peer = &r->peers[slot];
        progress_reset(&peer->progress, r->log.last + 1);
        peer->look = (struct look){.state = LOOK_NONE};
        peer->contact = r->now;
        peer->heard = false;
        peer->progress_at = r->now;
        peer->probe_at = 0;
        peer->resend_after = r->options.election_min;
        peer->heartbeat_at = r->now;
        peer->commit_at = KELP_NEVER;
        peer->offered = kelp_pos_of(0, 0);
        peer->offer_at = r->now;
        peer->round_sent = peer->round_answered = 0;
        peer->rtt = 0;
        peer->saved_at = peer->level_at = 0;
        peer->silent = peer->stalled = peer->leaving = false;
        peer->drained = peer->apart = false;
    }
    r->round = r->round_confirmed = 0;
    lease_lead(r);
    r->noop_due = true;
}

void replicate_noop(struct kelp_core *r)
{
    ASSERT(r->role == KELP_LEADER && r->noop_due);
    log_append(&r->log, r->term, NOOP_BYTES);
    r->noop_due = false;
    r->own_first = r->log.last;
    EVENT(r, NOOP_APPENDED, .pos = log_tail(&r->log));
}

static void probe(struct kelp_core *r, struct peer *peer, kelp_index next)
{
    progress_probe(&peer->progress, next);
    peer->look = (struct look){.state = LOOK_NONE};
    EVENT(r, PEER_PROBE, .peer = peer->id, .pos = kelp_pos_of(peer->progress.next - 1, 0));
}

static void refused(struct kelp_core *r, struct peer *peer, const struct kelp_message *m)
{
    struct progress *p = &peer->progress;
    if (m->attempt != p->attempt || p->flow == KELP_NEEDS_SNAPSHOT) {
        EVENT(r, REJECT_SUPERSEDED, .peer = peer->id, .value = m->attempt);
        return;
    }
    if (m->answer.refused.index <= p->match) {
        EVENT(r, REJECT_BELOW_MATCH, .peer = peer->id, .pos = m->answer.refused);
        return;
    }
    kelp_index below = min_u64(m->answer.refused.index - 1, r->log.last);
    struct kelp_pos limit = {.term = m->answer.hint.term,
                             .index = min_u64(m->answer.hint.index, below)};
    struct kelp_pos at = limit; /* term 0: the follower does not know it, ask just there */
    if (limit.term.v != 0) at = log_below(&r->log, limit, max_u64(p->match, r->log.base.index));
    if (limit.index < r->log.base.index) at = limit; /* compacted here, found out when it is sent */
    probe(r, peer, at.index + 1);
}

/* A peer that started anew has verified nothing against us yet, although its log may be complete:
 * an empty append shows it where it stands. The answer to something newer than our last append is
 * no old one. Asked when an answer vouches for less than is matched. */
static void forgot_us(struct kelp_core *r, struct peer *peer, const struct kelp_message *m)
{
    const struct progress *p = &peer->progress;
    if (p->flow != KELP_STREAM || p->window_count > 0 || m->id <= peer->append_id) return;
    probe(r, peer, p->match + 1);
}

static void answered(struct kelp_core *r, struct peer *peer, const struct kelp_message *m)
{
    if (m->id > peer->answered_id && m->id <= r->message_id) { /* else it came before, or late */
        peer->answered_id = m->id;
        peer->contact = r->now;
        peer->heard = true;
    }
    lease_answered(r, peer, m->id);
    if (m->answer.durable > peer->durable) peer->saved_at = r->now;
    bool stalled = (m->answer.health & KELP_HEALTH_STALL) != 0;
    if (stalled != peer->stalled && r->witnessed) r->dirty |= DIRTY_MATCH; /* who counts now? */
    peer->stalled = stalled;
    peer->leaving = (m->answer.health & KELP_HEALTH_LEAVING) != 0;
    peer->drained = (m->answer.health & KELP_HEALTH_DRAINED) != 0;
    peer->apart = (m->answer.health & KELP_HEALTH_APART) != 0;
    peer->unsteady = (m->answer.health & KELP_HEALTH_UNSTEADY) != 0;
    peer->durable = m->answer.durable;
    peer->applied = m->answer.applied;
    space_answered(r, peer, m);
    if (peer->silent) {
        peer->silent = false;
        EVENT(r, PEER_BACK, .peer = peer->id);
    }
    if (m->id == peer->heartbeat_id && peer->heartbeat_sent != 0) {
        peer->rtt = max_u64(1, r->now - peer->heartbeat_sent);
        peer->heartbeat_sent = 0;
    }
    if (m->round > peer->round_answered && m->round <= r->round) {
        peer->round_answered = m->round;
        r->dirty |= DIRTY_READ;
    }
}

void replicate_answer(struct kelp_core *r, const struct kelp_message *m)
{
    struct peer *peer = peer_of(r, m->from);
    if (r->role != KELP_LEADER) {
        EVENT(r, ANSWER_NOT_LEADING, .peer = m->from);
        return;
    }
    if (peer == NULL) {
        EVENT(r, MESSAGE_UNKNOWN_SENDER, .peer = m->from);
        return;
    }
    answered(r, peer, m);
    struct progress *p = &peer->progress;
    if (m->answer.match > r->log.last) {
        EVENT(r, MATCH_BEYOND_LOG, .peer = m->from, .value = m->answer.match);
        return;
    }
    if (progress_matched(p, m->answer.match)) {
        /* what one step took here, the next may take too: the wait follows the link */
        kelp_ns took = r->now - peer->progress_at;
        peer->resend_after = max_u64(r->options.election_min, min_u64(4 * took, RESEND_MAX));
        peer->progress_at = r->now;
        if (p->match >= peer->offered.index) peer->offered = kelp_pos_of(0, 0);
        r->dirty |= DIRTY_MATCH;
    } else if (m->answer.match < p->match) {
        EVENT(r, MATCH_STALE, .peer = m->from, .value = m->answer.match);
        forgot_us(r, peer, m);
    }
    if ((m->flags & KELP_MF_REJECT) != 0) {
        refused(r, peer, m);
    } else if (m->attempt == p->attempt && p->flow == KELP_PROBE && p->probe_out) {
        progress_accepted(p);
        peer->progress_at = r->now;
        EVENT(r, PEER_STREAM, .peer = peer->id, .pos = kelp_pos_of(p->next - 1, 0));
    } else if (p->flow == KELP_NEEDS_SNAPSHOT && p->match >= r->log.base.index) {
        probe(r, peer, p->match + 1);
    }
}

/* Where to begin anew: a stream from what is matched, a probe where it stood, else at the end of
 * the log: what is compacted here may well be there. */
static kelp_index probe_again_at(const struct kelp_core *r, const struct peer *peer)
{
    if (peer->progress.flow == KELP_STREAM) return peer->progress.match + 1;
    return peer->progress.flow == KELP_PROBE ? peer->progress.next : r->log.last + 1;
}

void replicate_link(struct kelp_core *r, kelp_id id)
{
    struct peer *peer = peer_of(r, id);
    if (peer == NULL || peer->id == r->options.self) return;
    EVENT(r, LINK_RESET, .peer = id);
    peer->asked_at = 0; /* a candidate asks again at once */
    if (r->role != KELP_LEADER) return;
    probe(r, peer, probe_again_at(r, peer));
    peer->heartbeat_at = r->now;
}

/* ---- lookups: entries older than the tables ---- */

static bool look_matches(const struct kelp_core *r, const struct look *look, kelp_index index,
                         uint64_t revision)
{
    return look->state == LOOK_ASKED && look->revision == revision && revision == r->log.revision &&
           look->pos.index == index;
}

static void found(struct kelp_core *r, const struct kelp_input *input, bool *used)
{
    struct kelp_pos pos = input->found.pos, last = input->found.last;
    if (pos.term.v == 0 && pos.index != 0) return;
    if (last.index < pos.index || last.index > r->log.last) return;
    if (look_matches(r, &r->own_look, pos.index, input->found.revision)) {
        bool one_term = last.term.v == pos.term.v;
        r->log.found_first = pos.index;
        r->log.found = one_term ? last : pos;
        r->log.found_revision = r->log.revision;
        r->own_look.state = LOOK_NONE;
        *used = true;
    }
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        struct look *look = &r->peers[slot].look;
        if (!look_matches(r, look, pos.index, input->found.revision)) continue;
        look->state = LOOK_FOUND;
        look->pos = pos;
        look->last = last;
        look->bytes = input->found.bytes;
        *used = true;
    }
}

static void gone(struct kelp_core *r, struct peer *peer, kelp_index index)
{
    progress_gone(&peer->progress);
    peer->probe_at = r->now;
    EVENT(r, PEER_NEEDS_SNAPSHOT, .peer = peer->id, .pos = kelp_pos_of(index, 0));
}

void replicate_found(struct kelp_core *r, const struct kelp_input *input)
{
    bool used = false;
    kelp_index index = input->found.pos.index;
    if (input->type == KELP_IN_FOUND) found(r, input, &used);
    if (input->type != KELP_IN_FOUND) {
        if (look_matches(r, &r->own_look, index, input->found.revision)) {
            r->own_look.state = LOOK_NONE;
            used = true;
        }
        for (uint32_t slot = 0; slot < r->config.count; slot++) {
            struct peer *peer = &r->peers[slot];
            if (!look_matches(r, &peer->look, index, input->found.revision)) continue;
            peer->look.state = LOOK_NONE;
            used = true;
            if (input->type != KELP_IN_GONE || r->role != KELP_LEADER) continue;
            gone(r, peer, index);
        }
    }
    if (!used) {
        EVENT(r, LOOKUP_STALE, .value = index);
    } else if (input->type == KELP_IN_FAILED) {
        EVENT(r, LOOKUP_FAILED, .pos = kelp_pos_of(index, 0));
        core_fault(r, KELP_E_IO, "could not read the log", kelp_pos_of(index, 0),
                   kelp_pos_of(0, 0));
    }
}

/* ---- what a peer is owed: asked once per peer and take ---- */

/* The position before next, if it can be named now; else a lookup is wanted, or the peer needs a
 * snapshot. */
static bool position_before(struct kelp_core *r, struct peer *peer, struct kelp_pos *prev)
{
    kelp_index index = peer->progress.next - 1;
    struct look *look = &peer->look;
    if (index < r->log.base.index) {
        gone(r, peer, index);
        return false;
    }
    *prev = (struct kelp_pos){.term = log_term(&r->log, index), .index = index};
    bool sized = index >= r->log.last || log_sized(&r->log, index + 1);
    if (peer->progress.flow == KELP_PROBE) sized = true; /* a probe needs no entries */
    if ((prev->term.v != 0 || index == 0) && sized) return true;
    bool fresh = look->revision == r->log.revision && look->pos.index == index;
    if (fresh && look->state == LOOK_FOUND) {
        *prev = look->pos;
        return true;
    }
    if (!fresh || look->state == LOOK_NONE)
        *look = (struct look){
            .state = LOOK_WANTED, .revision = r->log.revision, .pos = kelp_pos_of(index, 0)};
    return false;
}

/* How far one append from next reaches, of what the log holds. */
static kelp_index reach_log(const struct kelp_core *r, const struct peer *peer,
                            struct kelp_pos prev, uint64_t bytes_max, uint64_t *bytes)
{
    kelp_index first = prev.index + 1;
    *bytes = 0;
    if (first > r->log.last) return prev.index;
    if (!log_sized(&r->log, first)) { /* looked up, or a probe, which goes without */
        if (peer->progress.flow == KELP_PROBE) return prev.index;
        *bytes = peer->look.bytes;
        return peer->look.last.index;
    }
    kelp_index last = log_fit(&r->log, first, r->options.limits.message_entries_max, bytes_max);
    *bytes = log_bytes(&r->log, first, last);
    if (*bytes <= bytes_max || peer->progress.flow != KELP_PROBE) return last;
    *bytes = 0; /* a probe stays small; in STREAM one entry always goes */
    return prev.index;
}

/* .. of what this peer is to have. */
static kelp_index reach(const struct kelp_core *r, const struct peer *peer, struct kelp_pos prev,
                        uint64_t bytes_max, uint64_t *bytes)
{
    kelp_index last = reach_log(r, peer, prev, bytes_max, bytes);
    kelp_index limit = max_u64(prev.index, witness_reach(r, peer));
    if (last <= limit) return last;
    if (log_sized(&r->log, prev.index + 1)) *bytes = log_bytes(&r->log, prev.index + 1, limit);
    return limit;
}

bool replicate_owed(struct kelp_core *r, struct peer *peer, struct kelp_message *out)
{
    struct progress *p = &peer->progress;
    const struct kelp_limits *limits = &r->options.limits;
    if (p->flow == KELP_NEEDS_SNAPSHOT) return snap_owed(r, peer, out);
    if (p->flow == KELP_STREAM) {
        if (p->next > witness_reach(r, peer)) return false;
        if (!progress_room(p, limits->window_bytes_max)) return false;
        /* it drops the first, refuses those behind it, and all would go again at once */
        if (peer->space == KELP_SPACE_NONE && p->window_count > 0) return false;
    } else if (p->probe_out && r->now < peer->probe_at + r->options.heartbeat) {
        return false;
    }
    struct kelp_pos prev;
    if (!position_before(r, peer, &prev)) return false;
    uint64_t bytes = 0;
    uint64_t bytes_max = p->flow == KELP_PROBE ? PROBE_BYTES_MAX : limits->message_bytes_max;
    kelp_index last = reach(r, peer, prev, bytes_max, &bytes);
    if (p->flow == KELP_STREAM &&
        last == prev.index) { /* a lookup found no entry that may go now */
        peer->look.state = LOOK_NONE;
        return false;
    }
    if (p->flow == KELP_PROBE && p->probe_out)
        EVENT(r, PROBE_REPEATED, .peer = peer->id, .pos = prev);
    *out = (struct kelp_message){.type = KELP_MSG_APPEND, .attempt = p->attempt, .round = r->round};
    out->append.prev = prev;
    out->append.last = last;
    out->append.commit = r->commit;
    out->append.everyone = r->everyone;
    out->append.revision = r->log.revision;
    out->append.bytes = bytes;
    if (p->window_count == 0) peer->progress_at = r->now;
    if (p->flow == KELP_PROBE) peer->probe_at = r->now;
    progress_sent(p, last, bytes);
    if (p->flow == KELP_STREAM) {
        peer->look.state = LOOK_NONE;
        if (!progress_room(p, limits->window_bytes_max)) EVENT(r, WINDOW_FULL, .peer = peer->id);
    }
    peer->commit_at = KELP_NEVER;
    return true;
}

/* ---- time passes for a leader ---- */

void replicate_timers(struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        struct peer *peer = &r->peers[slot];
        if (slot == r->self_slot) continue;
        if (!peer->silent && r->now > peer->contact + r->options.election_min) {
            peer->silent = true;
            EVENT(r, PEER_SILENT, .peer = peer->id);
            witness_silent(r, slot);
        }
        if (peer->progress.flow == KELP_NEEDS_SNAPSHOT &&
            r->now >= add_sat(peer->probe_at, r->options.election_max)) {
            peer->probe_at = r->now; /* its answers may have misled us: look again */
            probe(r, peer, r->log.last + 1);
        }
        if (peer->progress.window_count == 0) continue;
        if (r->now < peer->progress_at + peer->resend_after) continue;
        EVENT(r, WINDOW_LOST, .peer = peer->id, .value = peer->progress.window_count);
        peer->resend_after = min_u64(2 * peer->resend_after, RESEND_MAX);
        probe(r, peer, peer->progress.match + 1);
    }
}
