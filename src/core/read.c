/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - linearizable reads without writing to the log. [§6.4, §6.4.1]
 *
 * A read asks whether our commit index is still the newest. It is stamped with a round and the
 * commit index; the round goes to every voter in the same take (a heartbeat carries it again only
 * if that was lost), and the read is released once a quorum has answered that round or a later one
 * and the index is applied. Reads that arrive together share a round. Who holds a lease (lease.c)
 * knows the answer already. Invariants: rounds are released in order; none is given out before an
 * entry of our own term has committed, since only then is our commit index known to be the newest;
 * the same holds for a lease. */
#include "core/core.h"

static bool own_term_committed(const struct kelp_core *r)
{
    return r->own_first != 0 && r->commit >= r->own_first;
}

static enum kelp_reason refusal(const struct kelp_core *r)
{
    if (r->faulted) return KELP_R_FAULTED;
    if (r->shutdown) return KELP_R_SHUTDOWN;
    if (r->role != KELP_LEADER) return KELP_R_NOT_LEADER;
    return requests_full(&r->reads) ? KELP_R_BUSY : KELP_R_NONE;
}

/* By the lease: our commit index was the newest at a moment after the read was asked for. */
static void by_lease(struct kelp_core *r, uint64_t token, kelp_ns deadline)
{
    struct request request = {.token = token, .deadline = deadline, .leased = true};
    ASSERT(own_term_committed(r));
    request.pos.index = r->commit;
    requests_push(&r->reads, request);
    r->lease_waits = true; /* until it has been released it may stand behind one that waits */
    r->lease_reads++;
    r->dirty |= DIRTY_READ;
    EVENT(r, READ_LEASED, .pos = request.pos, .value = token);
}

void read_asked(struct kelp_core *r, const struct kelp_input *input)
{
    uint64_t token = input->read.token;
    ASSERT(token != 0);
    enum kelp_reason reason = refusal(r);
    enum kelp_lease lease = KELP_LEASE_OFF;
    kelp_ns until;
    if (reason == KELP_R_NONE && input->read.proof != KELP_PROOF_ROUND) {
        lease = lease_state(r, &until);
        if (lease == KELP_LEASE_HELD) {
            by_lease(r, token, input->read.deadline);
            return;
        }
        r->lease_refused++;
        if (input->read.proof == KELP_PROOF_LEASE) {
            EVENT(r, READ_NO_LEASE, .value = (uint64_t)lease);
            refuse(r, token, KELP_R_NO_LEASE);
            return;
        }
        EVENT(r, READ_LEASE_TO_ROUND, .value = (uint64_t)lease);
    }
    if (reason != KELP_R_NONE) {
        EVENT(r, READ_REFUSED, .value = token);
        refuse(r, token, reason);
        return;
    }
    requests_push(&r->reads, (struct request){.token = token, .deadline = input->read.deadline});
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
        if (request->leased) continue;
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
    bool passes = r->lease_waits; /* a lease behind reads that wait for a round */
    r->lease_waits = false;
    r->round_confirmed = max_u64(r->round_confirmed, read_confirmed(r));
    for (uint32_t number = 0; number < r->reads.count; number++) {
        struct request *request = requests_at(&r->reads, number);
        if (request->outcome != 0) continue;
        bool confirmed = request->round != 0 && request->round <= r->round_confirmed;
        if (!request->leased && !confirmed && !passes) break;
        if (!request->leased && !confirmed) continue;
        if (request->pos.index > r->applied) {
            r->lease_waits = passes;
            break;
        }
        EVENT(r, READ_RELEASED, .pos = request->pos, .value = request->token);
        requests_resolve(&r->reads, request, KELP_DONE, KELP_R_NONE);
    }
}

void read_end(struct kelp_core *r)
{
    requests_resolve_all(&r->reads, KELP_REFUSED, KELP_R_NOT_LEADER);
    r->reads_fresh = r->lease_waits = false;
}
