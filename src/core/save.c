/* SPDX-License-Identifier: Apache-2.0 */
/* save.c - durability as a number: what was emitted, what is reported, and what a report proves.
 * [§3.8, §10.2.1]
 *
 * Every save vouches for the log up to an index. A truncation to k lowers what all open saves vouch
 * for, and the durable index itself, to k: the report of a save emitted before it then proves
 * nothing about the entries that take their place. Example: save 41 holds 5..7@1, the tail is cut
 * to 4, save 42 holds 5@2. SAVED 41 makes 4 durable. Invariants: saves are numbered without gaps
 * and reported in order; durable <= last; what an open save vouches for is at most emitted_last;
 * term and vote are "saved" only by a report. */
#include "core/core.h"
#include "core/look.h"

static struct open_save *save_at(struct kelp_core *r, uint32_t number)
{
    ASSERT(number < r->saves_count);
    return &r->saves[(r->saves_head + number) % SAVES_OPEN_MAX];
}

void save_truncated(struct kelp_core *r, struct kelp_pos end)
{
    for (uint32_t i = 0; i < r->saves_count; i++) {
        struct open_save *save = save_at(r, i);
        if (save->vouches <= end.index) continue;
        save->vouches = end.index;
        EVENT(r, SAVE_LOWERED, .pos = end, .value = save->number);
    }
    r->durable = min_u64(r->durable, end.index);
    if (r->emitted_last <= end.index) return; /* the disk never heard of what was cut */
    r->emitted_last = end.index;
    ASSERT(!r->truncate_due || r->truncate_to.index > end.index);
    r->truncate_due = true;
    r->truncate_to = end;
}

static void stall_over(struct kelp_core *r)
{
    if (!r->stalled) return;
    if (r->saves_count > 0 && r->now - save_at(r, 0)->emitted_at > r->options.stall_limit) return;
    EVENT(r, DISK_RECOVERED);
    if (r->stall_long) r->campaign_after = r->now + r->options.stall_limit;
    r->steady_at = r->now + STEADY_LIMITS * r->options.stall_limit;
    r->stalled = false;
    r->stall_long = false;
}

void save_reported(struct kelp_core *r, uint64_t number)
{
    ASSERT(number <= r->save_number);
    kelp_index durable = r->durable;
    bool had_term = term_saved(r) && r->saved_vote == r->vote;
    while (r->saves_count > 0 && save_at(r, 0)->number <= number) {
        struct open_save *save = save_at(r, 0);
        r->durable = max_u64(r->durable, save->vouches);
        if (save->has_vote) {
            r->saved_term = save->term;
            r->saved_vote = save->vote;
        }
        EVENT(r, SAVED, .value = save->number);
        r->saves_head = (r->saves_head + 1) % SAVES_OPEN_MAX;
        r->saves_count--;
    }
    ASSERT(r->durable <= r->log.last);
    stall_over(r);
    if (r->durable > durable) {
        r->dirty |= DIRTY_MATCH;
        struct debt *debt = r->leader != 0 && r->role == KELP_FOLLOWER && r->verified > durable
                                ? debt_of(r, r->leader)
                                : NULL;
        if (debt != NULL) debt->answer = true; /* the leader waits for this match */
    }
    if (r->role == KELP_CANDIDATE && term_saved(r) && !had_term) {
        ASSERT(r->saved_vote == r->options.self);
        EVENT(r, VOTE_OWN_COUNTED);
        r->own_ballot = BALLOT_GRANTED;
        r->dirty |= DIRTY_TALLY;
    }
}

/* The snapshot at pos is durable, and a start that finds it beyond the log begins behind it: so is
 * all up to pos, from here on. What open saves hold is in the log no more. */
void save_reset(struct kelp_core *r, struct kelp_pos pos)
{
    for (uint32_t i = 0; i < r->saves_count; i++) {
        struct open_save *save = save_at(r, i);
        save->vouches = min_u64(save->vouches, pos.index);
    }
    r->durable = pos.index;
    r->emitted_last = pos.index;
    r->truncate_due = false;
    r->reset_due = true;
    r->reset_to = pos;
}

struct kelp_pos core_reset_waits(const struct kelp_core *r)
{
    return r->reset_due ? r->reset_to : kelp_pos_of(0, 0);
}

bool save_waits(const struct kelp_core *r)
{
    bool due = r->reset_due || r->truncate_due || r->log.last > r->emitted_last;
    return due && r->saves_count < SAVES_OPEN_MAX;
}

bool save_compose(struct kelp_core *r, struct kelp_save *save)
{
    *save = (struct kelp_save){0};
    if (r->saves_count == SAVES_OPEN_MAX || core_silent(r)) return false;
    bool vote = r->emitted_term.v != r->term.v || r->emitted_vote != r->vote;
    /* a save resets behind its entries: what follows is for the next one */
    bool append = r->log.last > r->emitted_last && !r->reset_due;
    if (vote) save->flags |= KELP_SAVE_VOTE;
    if (r->truncate_due) save->flags |= KELP_SAVE_TRUNCATE;
    if (r->reset_due) save->flags |= KELP_SAVE_RESET;
    if (append) save->flags |= KELP_SAVE_APPEND;
    commit_compact(r, save);
    if (save->flags == 0) return false;
    save->number = ++r->save_number;
    save->term = r->term;
    save->vote = r->vote;
    save->end = r->reset_due ? r->reset_to : r->truncate_to;
    if (append) {
        save->first = r->emitted_last + 1;
        save->last = r->log.last;
    }
    save->revision = r->log.revision;
    save->everyone = r->everyone;
    save->commit = r->commit;
    ASSERT(!r->truncate_due || (!r->reset_due && r->truncate_to.index == r->emitted_last));
    if (append) r->emitted_last = r->log.last;
    r->emitted_term = r->term;
    r->emitted_vote = r->vote;
    r->truncate_due = r->reset_due = false;
    r->saves_count++;
    *save_at(r, r->saves_count - 1) = (struct open_save){.number = save->number,
                                                         .emitted_at = r->now,
                                                         .vouches = r->emitted_last,
                                                         .has_vote = vote,
                                                         .term = r->term,
                                                         .vote = r->vote};
    return true;
}

/* Nobody else could lead, whatever becomes of this disk. */
static bool irreplaceable(const struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        if (slot == r->self_slot || !config_leads(&r->config, slot)) continue;
        if (kelp_priority_of(&r->config.members[slot]) > 0) return false;
    }
    return true;
}

/* A disk that does not come back: past one limit it is called stalled, past two a leader lets go,
 * so that a node with a working disk can lead. Where there is none it stays: with the disks of
 * others it may still commit. */
void save_stall_check(struct kelp_core *r)
{
    ASSERT(r->saves_count > 0);
    kelp_ns age = r->now - save_at(r, 0)->emitted_at;
    if (!r->stalled && age > r->options.stall_limit) {
        r->stalled = true;
        EVENT(r, DISK_STALLED, .value = save_at(r, 0)->number);
    }
    if (r->stall_long || age <= 2 * r->options.stall_limit) return;
    if (irreplaceable(r)) return;
    r->stall_long = true;
    if (r->role == KELP_LEADER) EVENT(r, DISK_STEP_DOWN, .value = save_at(r, 0)->number);
    if (r->role != KELP_FOLLOWER) role_step_down(r);
}

kelp_ns save_deadline(const struct kelp_core *r)
{
    if (r->saves_count == 0 || r->stall_long) return KELP_NEVER;
    if (r->stalled && irreplaceable(r)) return KELP_NEVER;
    kelp_ns since = r->saves[r->saves_head].emitted_at;
    return since + (r->stalled ? 2 : 1) * r->options.stall_limit + 1;
}
