/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - linearizable reads without writing to the log. [§6.4, §6.4.1]
 *
 * A read asks whether our commit index is still the newest. It is stamped with a round and the
 * commit index; the round goes to every voter in the same take (a heartbeat carries it again only
 * if that was lost), and the read is released once a quorum has answered that round or a later one
 * and the index is applied. Reads that arrive together share a round. Invariants: rounds are
 * released in order; none is given out before an entry of our own term has committed, since only
 * then is our commit index known to be the newest. */
#include "core/core.h"

static bool own_term_committed(const struct kelp_core *r)
{
    return r->own_first != 0 && r->commit >= r->own_first;
}

void read_asked(struct kelp_core *r, uint64_t token, kelp_ns deadline)
{
    ASSERT(token != 0);
    enum kelp_reason reason = KELP_R_NONE;
    if (r->faulted)
        reason = KELP_R_FAULTED;
    else if (r->shutdown)
        reason = KELP_R_SHUTDOWN;
    else if (r->role != KELP_LEADER)
        reason = KELP_R_NOT_LEADER;
    else if (requests_full(&r->reads))
        reason = KELP_R_BUSY;
    if (reason != KELP_R_NONE) {
        EVENT(r, READ_REFUSED, .value = token);
        refuse(r, token, reason);
        return;
    }
    requests_push(&r->reads, (struct request){.token = token, .deadline = deadline});
    r->reads_fresh = true;
    r->dirty |= DIRTY_READ;
    if (!own_term_committed(r)) EVENT(r, READ_WAITS_OWN_TERM, .value = token);
}

void read_stamp(struct kelp_core *r)
{
    if (!r->reads_fresh || !own_term_committed(r)) return;
    ASSERT(r->role == KELP_LEADER); /* nobody else has an entry of its own term */
    r->round++;
    EVENT(r, READ_ROUND, .value = r->round);
    for (uint32_t number = r->reads.count; number > 0; number--) {
        struct request *request = requests_at(&r->reads, number - 1);
        if (request->round != 0) break;
        request->round = r->round;
        request->pos.index = r->commit;
    }
    r->reads_fresh = false;
    r->dirty |= DIRTY_READ;
}

uint64_t read_confirmed(const struct kelp_core *r)
{
    UNSET uint64_t values[KELP_MEMBERS_MAX]; /* by slot, below config.count */
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        values[slot] = slot == r->self_slot ? r->round : r->peers[slot].round_answered;
    return quorum_value(&r->config, values);
}

void read_release(struct kelp_core *r)
{
    if (r->role != KELP_LEADER || r->reads.open == 0) return;
    r->round_confirmed = max_u64(r->round_confirmed, read_confirmed(r));
    for (uint32_t number = 0; number < r->reads.count; number++) {
        struct request *request = requests_at(&r->reads, number);
        if (request->outcome != 0) continue;
        if (request->round == 0 || request->round > r->round_confirmed) break;
        if (request->pos.index > r->applied) break;
        EVENT(r, READ_RELEASED, .pos = request->pos, .value = request->token);
        requests_resolve(&r->reads, request, KELP_DONE, KELP_R_NONE);
    }
}

void read_end(struct kelp_core *r)
{
    requests_resolve_all(&r->reads, KELP_REFUSED, KELP_R_NOT_LEADER);
    r->reads_fresh = false;
}
