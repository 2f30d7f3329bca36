/* SPDX-License-Identifier: Apache-2.0 */
/* propose.c - commands into the leader's log. [§3.5]
 *
 * Refused means never appended: not the leader, or about to hand over, too large, short of disk
 * room, or a limit on open work. Once appended a proposal stays open through a loss of leadership,
 * since another holder of the entry may still win and commit it; commit.c gives it its outcome,
 * requests.c its deadline. A leader that has just won refuses until its empty entry is logged. */
#include "core/core.h"

void refuse(struct kelp_core *r, uint64_t token, enum kelp_reason reason)
{
    /* the caller takes at least once every answers_max inputs */
    ASSERT(r->refusal_count < r->options.limits.answers_max);
    r->refusals[r->refusal_count++] = (struct kelp_answer){
        .token = token, .outcome = KELP_REFUSED, .reason = reason, .leader = r->leader};
}

static bool busy(const struct kelp_core *r, uint32_t bytes)
{
    const struct kelp_limits *limits = &r->options.limits;
    uint64_t uncommitted = log_bytes(&r->log, r->commit + 1, r->log.last);
    uint64_t unapplied = log_bytes(&r->log, r->applied + 1, r->commit);
    if (requests_full(&r->proposals)) return true;
    if (uncommitted > 0 && uncommitted + bytes > limits->uncommitted_bytes_max) return true;
    return unapplied > limits->unapplied_bytes_max;
}

struct kelp_taken propose(struct kelp_core *r, const struct kelp_input *input)
{
    struct kelp_taken none = {.revision = r->log.revision};
    uint64_t token = input->propose.token;
    uint32_t bytes = input->propose.bytes;
    ASSERT(token != 0);
    if (r->faulted || r->shutdown) {
        refuse(r, token, r->faulted ? KELP_R_FAULTED : KELP_R_SHUTDOWN);
        return none;
    }
    if (r->role != KELP_LEADER || r->noop_due) {
        EVENT(r, PROPOSE_NOT_LEADER, .value = token);
        refuse(r, token, r->noop_due ? KELP_R_NO_COMMIT_YET : KELP_R_NOT_LEADER);
        return none;
    }
    if (transfer_open(r) || change_leaves(r)) {
        EVENT(r, PROPOSE_TRANSFERRING, .value = token);
        refuse(r, token, KELP_R_TRANSFERRING);
        return none;
    }
    if (bytes > r->options.limits.entry_bytes_max) {
        EVENT(r, PROPOSE_TOO_LARGE, .value = bytes);
        refuse(r, token, KELP_R_TOO_LARGE);
        return none;
    }
    if (space_refuses(r, input->propose.flags)) {
        EVENT(r, PROPOSE_NO_SPACE, .value = token);
        refuse(r, token, KELP_R_NO_SPACE);
        return none;
    }
    if (busy(r, bytes)) {
        EVENT(r, PROPOSE_BUSY, .value = token);
        refuse(r, token, KELP_R_BUSY);
        return none;
    }
    log_append(&r->log, r->term, bytes);
    struct kelp_pos pos = log_tail(&r->log);
    requests_push(
        &r->proposals,
        (struct request){.token = token, .deadline = input->propose.deadline, .pos = pos});
    EVENT(r, PROPOSE_ACCEPTED, .pos = pos, .value = token);
    return (struct kelp_taken){
        .first = pos.index, .last = pos.index, .term = pos.term, .revision = r->log.revision};
}
