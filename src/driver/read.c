/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - what a read may miss, and what is done so that it misses no more.     [§6.4, §6.4.1]
 *
 *   LINEARIZABLE  leader: a round of its core     others: ask the leader for its read index
 *   LEASE         leader: its lease, or a round   others: the same question, answered by lease
 *   LOG           leader: a barrier in the log    others: the leader appends it, and says where
 *   STALE, ANY    nobody is asked
 *
 * Whoever was asked, the answer is an index; the read waits until that is applied here and is then
 * answered by our own machine. Reads that are started together share one question, which leaves
 * after all of them came. A node whose machine must not be asked, a witness, or one far behind its
 * log, sends linearizable reads on with their questions, as WHOLE ones.
 *
 * Within a line time never runs backwards: reads that are open together are of one level and went
 * one way, so their answers come in order, and they are released in that order, whatever the
 * indexes; one that is told late takes those behind it along that were told before; an answer from
 * elsewhere that shows less than one before it is asked for again; and who waits for an index that
 * it named itself is open alone. Only a STALE or ANY read may show less
 * than an earlier request of its line did: a write elsewhere is not yet applied here.
 *
 * Two ages bound a STALE read. Contact: since a follower heard its leader, or a leader a quorum.
 * Applied: when all was last applied here that was known to be committed; or, if that is longer
 * ago, the leader's stamp of the first entry missing here against the cluster clock, as far as we
 * know it. Neither counts what a message took on its way, nor that a deposed leader may not know it
 * for an election timeout. What an answer waits for those before it on its line counts. */
#include "driver/room.h"

#define BEHIND_MAX 16384u /* entries to be applied above which reads are sent on whole */

/* A witness has no data, whatever it has applied. */
bool read_hollow(const struct driver *d)
{
    return d->hollow || strip_witness(d, d->options.core.self);
}

static bool mute(const struct driver *d)
{
    return d->options.reads_elsewhere || read_hollow(d);
}

bool read_local(const struct driver *d, const struct request *r)
{
    if (r->kind != REQUEST_READ || r->plan || mute(d)) return false;
    switch (r->how.level) {
    case KELP_READ_STALE:
    case KELP_READ_ANY: return true;
    case KELP_READ_LINEARIZABLE:
    case KELP_READ_LEASE:
    case KELP_READ_LOG: return false;
    }
    UNREACHABLE();
}

struct route read_route(const struct driver *d)
{
    return (struct route){.node = d->options.core.self}; /* term 0: no leader's */
}

/* Would it go to the leader with its question? */
static bool goes_whole(const struct driver *d, const struct request *r)
{
    if (r->bare || d->route.node == d->options.core.self || read_local(d, r)) return false;
    if (r->plan) return true;
    if (mute(d) || r->ask_whole) return true;
    return d->applied < d->replay_to || d->apply_to - d->applied > BEHIND_MAX;
}

static bool waits_alone(const struct driver *d, const struct request *r)
{
    return r->how.at_least > d->applied;
}

bool read_beside(const struct driver *d, const struct driver_line *line, const struct request *r)
{
    if (line->open_writes > 0 || line->read_alone || waits_alone(d, r)) return false;
    return line->read_level == r->how.level && line->read_whole == goes_whole(d, r);
}

void read_opened(const struct driver *d, struct driver_line *line, const struct request *r)
{
    line->read_level = r->how.level;
    line->read_whole = r->whole;
    line->read_alone = waits_alone(d, r);
    if (line->open_reads == 0) line->index_awaited = 0;
}

/* ---- when its index is known ---- */

/* What a removed node has not committed never comes to it. */
bool read_hopeless(struct driver *d, const struct request *r, kelp_index index)
{
    return d->removed && r->line != NULL && index > driver_look(d)->commit;
}

/* Those of a line are released in the order in which they were told, so none waits for less than
 * one before it: a leader may name a lower index later, and an index of its own may be the higher
 * one although all of it is applied. */
static void await(struct driver *d, struct request *r, kelp_index index)
{
    index = max_u64(index, r->how.at_least);
    if (r->line != NULL) index = max_u64(index, r->line->index_awaited);
    if (read_hopeless(d, r, index)) {
        r->state = REQUEST_READING; /* the state that owns nothing */
        request_removed(d, r);
        return;
    }
    if (r->line != NULL) r->line->index_awaited = index;
    r->state = REQUEST_AWAITING;
    r->pos = kelp_pos_of(index, 0);
    awaiting_add(d, r);
    timer_add(d, r);
}

static void release(struct driver *d, struct request *r)
{
    if (r->bare) {
        request_close(d, r, KELP_DONE, KELP_R_NONE);
        return;
    }
    r->state = REQUEST_QUERYING;
    query_add(d, r);
}

bool reads_release(struct driver *d)
{
    struct request *r;
    bool any = false;
    while ((r = awaiting_first(d)) != NULL && r->pos.index <= d->applied) {
        awaiting_remove(d, r);
        release(d, r);
        any = true;
    }
    return any;
}

/* What was asked later may have been told earlier: an answer found no room on its way, a lease
 * answered while a round was open, an earlier one was asked again. Told then, it saw an older state
 * than this one will. Those that share a question are told in their order, by forward_answered. */
void read_told(struct driver *d, struct request *r)
{
    if (r->line == NULL) return; /* a peer orders its own */
    reads_behind_again(d, r);
    r->line->order_told = r->order;
}

void read_indexed(struct driver *d, struct request *r, kelp_index index)
{
    ASSERT(r->line != NULL);
    read_told(d, r);
    await(d, r, index);
}

void read_answered(struct driver *d, struct request *r, const struct kelp_answer *answer)
{
    ASSERT(answer->outcome == KELP_DONE);
    bool known = answer->pos.index <= d->applied && r->how.at_least <= d->applied;
    read_told(d, r);
    clock_mark(d, r, answer->pos.index);
    if (r->line == NULL && r->bare)
        request_close(d, r, KELP_DONE, KELP_R_NONE); /* who asked waits for it */
    else if (known && awaiting_first(d) == NULL)
        release(d, r); /* on a leader nearly always: nobody waits before it */
    else
        await(d, r, answer->pos.index);
}

/* ---- asking ---- */

void read_propose(struct driver *d, struct request *r)
{
    struct wire_entry e = {.type = KELP_ENTRY_BARRIER};
    uint8_t *room = cache_reserve(d->cache, wire_entry_size(&e));
    if (room == NULL) {
        r->state = REQUEST_READING; /* the state that owns nothing */
        line_opened(d, r);
        request_close(d, r, KELP_REFUSED, KELP_R_BUSY);
        return;
    }
    request_propose(d, r, &e, room);
}

void read_begin(struct driver *d, struct request *r)
{
    switch (r->how.level) {
    case KELP_READ_LEASE:
    case KELP_READ_LINEARIZABLE:
    case KELP_READ_STALE: /* the last two where the machine must not be asked: never by less */
    case KELP_READ_ANY: request_ask(d, r); return;
    case KELP_READ_LOG: read_propose(d, r); return;
    }
}

/* Nobody is asked; but what is replayed was seen whole by clients before this node started. */
static bool start_local(struct driver *d, struct driver_line *line, struct request *r)
{
    if (d->state == DRIVER_WAITING) {
        request_close(d, r, KELP_REFUSED, KELP_R_NOT_STARTED);
        return true;
    }
    if (d->applied < d->replay_to) {
        request_close(d, r, KELP_REFUSED, KELP_R_LOADING);
        return true;
    }
    if (!line_may_start(d, line, r)) return false;
    request_dequeue(d, r);
    r->state = REQUEST_READING;
    line_opened(d, r);
    if (r->how.at_least <= d->applied && awaiting_first(d) == NULL)
        release(d, r);
    else
        await(d, r, 0);
    return true;
}

/* How large the answer to a forwarded read will be is not known before it comes, so as many are
 * asked for as should fit. */
static bool read_may_go(struct driver *d, const struct driver_line *line)
{
    if (!answer_may_come(d, line)) {
        d->retry_at = min_u64(d->retry_at, d->now + RETRY_NS); /* others take theirs */
        return false;
    }
    return line->open_reads == 0 || (line->open_reads + 1) * line->answer_bytes <= LINE_READS;
}

/* A leader answers a whole read by what it has committed, which is no less than is known of it
 * here; so one that names more waits here, and what it names is applied where it is answered. */
static bool names_too_much(struct driver *d, const struct request *r)
{
    if (r->how.at_least <= max_u64(d->heard_commit, driver_look(d)->commit)) return false;
    d->retry_at = min_u64(d->retry_at, d->now + RETRY_NS);
    return true;
}

bool read_start(struct driver *d, struct driver_line *line, struct request *r)
{
    if (d->quarantine.apart && !r->bare && !r->plan) { /* of no level, and loudly */
        request_close(d, r, KELP_REFUSED, KELP_R_QUARANTINED);
        return true;
    }
    if (read_local(d, r)) return start_local(d, line, r);
    r->whole = goes_whole(d, r);
    if (d->route.node == d->options.core.self) {
        if (!core_has_room(d)) return false; /* takes come first, then the line is pumped again */
        request_dequeue(d, r);
        read_begin(d, r);
        return true;
    }
    if (r->whole && (names_too_much(d, r) || !read_may_go(d, line))) return false;
    if (!r->whole && forward_join(d, r)) return true;
    if (!forward_send(d, r)) return false;
    if (!r->whole) {
        d->gather_number = r->number;
        d->gather_level = (uint8_t)r->how.level;
        d->gather_may_round = r->how.may_round;
    }
    forward_opened(d, r);
    return true;
}

/* ---- how old is what is here? ---- */

void heard_leader(struct driver *d, const struct kelp_message *m)
{
    if (m->type != KELP_MSG_APPEND && m->type != KELP_MSG_HEARTBEAT) return;
    /* of an earlier term too: what a leader called committed is committed for ever */
    d->heard_commit = max_u64(d->heard_commit, m->append.commit);
    if (m->term.v < d->heard_term) return; /* it may have been long on its way */
    if (m->term.v == d->heard_term && m->id <= d->heard_id) return; /* it comes again, or late */
    d->heard_term = m->term.v;
    d->heard_id = m->id;
    d->heard_at = max_u64(1, d->now);
    level_note(d);
}

/* The stamp of the first entry that is missing here; without its bytes that of the last one which
 * is not missing, which is older. 0: neither is at hand. */
static uint64_t missing_since(const struct driver *d)
{
    struct wire_entry e;
    size_t used;
    struct kelp_bytes entry = cache_entry(d->cache, d->applied + 1);
    if (entry.len == 0) entry = cache_entry(d->cache, d->applied);
    if (entry.len == 0 || wire_entry_open(entry, &e, &used, NULL) != KELP_OK) return 0;
    return e.time_ns;
}

/* Did who told us the commit index know it? A new leader does not before an entry of its own term
 * is committed; until then it tells what it had heard itself, perhaps long ago. [§6.4] */
static bool told_all(const struct driver *d)
{
    return kelp_log_term(d->core, d->heard_commit).v == d->heard_term;
}

/* Is all applied here that was known to be committed when we last heard? */
static bool is_level(struct driver *d)
{
    const struct kelp_view *view = driver_look(d);
    if (view->role == KELP_LEADER) return view->committed_own_term && d->applied >= view->commit;
    return told_all(d) && d->applied >= max_u64(view->commit, d->heard_commit);
}

void level_note(struct driver *d)
{
    bool level =
        d->heard_at != 0 && told_all(d) && d->applied >= max_u64(d->heard_commit, d->replay_to);
    if (level) d->level_at = max_u64(d->level_at, d->heard_at);
}

static kelp_ns applied_age(struct driver *d)
{
    const struct kelp_view *view = driver_look(d);
    bool leads = view->role == KELP_LEADER;
    if (is_level(d)) {
        if (leads) d->level_at = d->now;
        return 0;
    }
    bool stamps = leads && d->led_term == view->term.v;
    uint64_t since = missing_since(d);
    uint64_t clock =
        stamps ? clock_running(d) : add_sat(d->clock_last, sub_sat(d->now, d->clock_heard));
    if (since == 0 || d->level_at == 0) return KELP_NEVER;
    /* What comes late was stamped long ago; what we only heard of has no stamp here. */
    return max_u64(sub_sat(clock, since), sub_sat(d->now, d->level_at));
}

bool read_fresh(struct driver *d, struct request *r)
{
    if (r->how.level != KELP_READ_STALE || !read_local(d, r)) return true;
    kelp_ns contact = kelp_contact(d->core);
    r->ages.contact = contact == 0 ? KELP_NEVER : sub_sat(d->now, contact);
    r->ages.applied = applied_age(d);
    r->aged_at = d->now;
    return r->ages.contact <= r->how.stale_max && r->ages.applied <= r->how.stale_max;
}

void read_held(struct driver *d, struct request *r)
{
    if (r->outcome != KELP_DONE || r->aged_at == 0) return;
    kelp_ns held = sub_sat(d->now, r->aged_at);
    r->ages.contact = add_sat(r->ages.contact, held);
    r->ages.applied = add_sat(r->ages.applied, held);
    if (r->ages.contact <= r->how.stale_max && r->ages.applied <= r->how.stale_max) return;
    r->outcome = KELP_REFUSED;
    r->reason = KELP_R_STALE_BEYOND;
}

kelp_index read_seen(const struct driver *d)
{
    return max_u64(d->applied, d->apply_open);
}

/* ---- submission ---- */

bool driver_read(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                 const struct driver_question *question)
{
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    if (!request_reserve(d)) return false;
    struct request *r = line_append(d, line, REQUEST_READ, token, question->deadline);
    r->forward = question->forward;
    r->how = question->how;
    r->bare = question->bare;
    request_hold(d, r, question->user, question->bytes);
    return true;
}
