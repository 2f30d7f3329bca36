/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - until when nobody else can lead: reads without a round. [§6.4.1]
 *
 *   leader   sends at S -------------------- lease, on its own clock ------> S + lease
 *   voter       hears it at H >= S --- gives no vote, on its own clock --------> H + election_min
 *
 * Who answers a leader gives no vote, not even to itself, for one minimum election timeout from
 * that moment on. The leader does not know the moment, only that it is not before it sent what was
 * answered; so a lease counts from the *send time* of what a quorum of voters (in a joint
 * configuration: of each half) has answered, never from when the answers came. It is over on the
 * slowest clock before a promise ends on the fastest: lease * (1 + drift) <= election_min.
 *
 * Where the promise would not be kept there is no lease:
 * - Who is told to stand (transfer.c) asks for votes that no promise holds back. So none from the
 *   moment leadership is being handed over, and none in a term in which an order has left.
 * - A restart forgets the promise: a node that ran before (boot.ran_before) gives no vote for as
 *   long.
 * - Both numbers are settings of the cluster, in the configuration; each node shows its own in the
 *   handshake. A voter counts only if it shows those of the configuration and is known to hold it,
 *   and a leader whose own differ has no lease at all.
 * - Shortening the timeout takes two steps. First every voter is started with the shorter one: all
 *   keep the longer one of the configuration, and there are no leases. When every voter shows the
 *   same, the leader writes it into the configuration; it counts once that is committed, since
 *   until then whoever leads next may know the longer one only.
 *
 * Answers name the newest message they answer. When it left is looked up in a short ring of (id,
 * time), one entry a quarter of a heartbeat; in between the earlier time counts.
 * Invariants: ids and times of the ring ascend; heard_sent only grows within a term. */
#include "core/core.h"

#define MILLION 1000000u

kelp_ns kelp_lease_max(kelp_ns election_min, uint32_t drift_ppm)
{
    uint64_t whole = (uint64_t)MILLION + drift_ppm; /* twice, so that nothing overflows */
    return election_min / whole * MILLION + election_min % whole * MILLION / whole;
}

const char *kelp_lease_name(enum kelp_lease lease)
{
    switch (lease) {
    case KELP_LEASE_HELD: return "held";
    case KELP_LEASE_OFF: return "off";
    case KELP_LEASE_NOT_LEADER: return "not-leading";
    case KELP_LEASE_NO_COMMIT: return "no-commit";
    case KELP_LEASE_HANDED: return "handed-over";
    case KELP_LEASE_DIFFERS: return "differs";
    case KELP_LEASE_LAPSED: return "lapsed";
    }
    return "unknown";
}

/* ---- the voter's promise ---- */

/* Whoever counts on this node knows the configuration that it holds, or the one before while the
 * newest may still be taken back. */
kelp_ns lease_election_min(const struct kelp_core *r)
{
    kelp_ns longest = max_u64(r->options.election_min, r->config.election_min);
    return max_u64(longest, member_committed(r)->election_min);
}

void lease_stick(struct kelp_core *r)
{
    r->sticks_from = max_u64(1, r->now);
}

bool lease_sticks(const struct kelp_core *r)
{
    if ((r->options.off & KELP_STICKINESS) != 0 || r->sticks_from == 0) return false;
    return r->now < r->sticks_from + lease_election_min(r);
}

/* ---- the leader's books ---- */

void lease_lead(struct kelp_core *r)
{
    r->sendings_head = r->sendings_count = 0;
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        r->peers[slot].heard_sent = 0;
}

static struct sending *sending_at(struct kelp_core *r, uint32_t number)
{
    ASSERT(number < r->sendings_count);
    return &r->sendings[(r->sendings_head + number) % SENDINGS_MAX];
}

void lease_sending(struct kelp_core *r)
{
    if (r->options.lease == 0 || r->role != KELP_LEADER) return;
    if (r->sendings_count > 0) {
        const struct sending *last = sending_at(r, r->sendings_count - 1);
        if (r->now - last->at < r->options.heartbeat / 4) return; /* that one will do */
        if (last->id == r->message_id + 1) r->sendings_count--;   /* nothing has left since */
    }
    if (r->sendings_count == SENDINGS_MAX) {
        r->sendings_head = (r->sendings_head + 1) % SENDINGS_MAX;
        r->sendings_count--;
    }
    r->sendings_count++;
    *sending_at(r, r->sendings_count - 1) =
        (struct sending){.id = r->message_id + 1, .at = max_u64(1, r->now)};
}

void lease_answered(struct kelp_core *r, struct peer *peer, uint64_t id)
{
    if (id > r->message_id) return; /* never sent */
    for (uint32_t number = r->sendings_count; number > 0; number--) {
        const struct sending *sending = sending_at(r, number - 1);
        if (sending->id > id) continue;
        peer->heard_sent = max_u64(peer->heard_sent, sending->at);
        return;
    }
}

/* ---- settings ---- */

static bool own_settings(const struct kelp_core *r, const struct kelp_config *config)
{
    return config->election_min == r->options.election_min &&
           config->drift_ppm == r->options.drift_ppm;
}

void lease_shown(struct kelp_core *r, const struct kelp_input *input)
{
    struct peer *peer = peer_of(r, input->shown.peer);
    if (peer == NULL) return;
    peer->alike = input->shown.election_min == r->options.election_min &&
                  input->shown.drift_ppm == r->options.drift_ppm;
    if (peer->alike || r->options.lease == 0) return;
    EVENT(r, SETTINGS_DIFFER, .peer = peer->id, .value = input->shown.election_min);
}

bool lease_settings_new(const struct kelp_core *r)
{
    if (r->config.election_min == 0 || own_settings(r, &r->config)) return false;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        bool others = slot != r->self_slot && config_votes(&r->config, slot);
        if (others && !r->peers[slot].alike) return false;
    }
    return true;
}

/* ---- the lease ---- */

/* Whoever holds this entry knows the settings of the configuration in force. */
static kelp_index settings_index(const struct kelp_core *r)
{
    bool older = r->config_has_before && r->config_before.election_min == r->config.election_min &&
                 r->config_before.drift_ppm == r->config.drift_ppm;
    return older ? r->config_before.index : r->config.index;
}

/* When the newest message left that a quorum has answered. */
static kelp_ns quorum_heard(const struct kelp_core *r)
{
    UNSET uint64_t values[KELP_MEMBERS_MAX]; /* by slot, below config.count */
    kelp_index needed = settings_index(r);
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        const struct peer *peer = &r->peers[slot];
        bool holds = peer->progress.match >= needed; /* and so keeps what it says */
        values[slot] = holds && peer->alike ? peer->heard_sent : 0;
        if (slot == r->self_slot) values[slot] = r->now; /* a leader gives no vote */
    }
    return quorum_value(&r->config, values);
}

static enum kelp_lease hindrance(const struct kelp_core *r)
{
    if (r->options.lease == 0) return KELP_LEASE_OFF;
    if (r->role != KELP_LEADER || core_silent(r)) return KELP_LEASE_NOT_LEADER;
    if (r->own_first == 0 || r->commit < r->own_first) return KELP_LEASE_NO_COMMIT;
    if (transfer_open(r) || r->told_term.v == r->term.v) return KELP_LEASE_HANDED;
    return own_settings(r, &r->config) ? KELP_LEASE_HELD : KELP_LEASE_DIFFERS;
}

static kelp_ns held_until(const struct kelp_core *r)
{
    kelp_ns heard = quorum_heard(r);
    return heard != 0 ? heard + r->options.lease : 0;
}

enum kelp_lease lease_state(const struct kelp_core *r, kelp_ns *until)
{
    *until = 0;
    enum kelp_lease hinders = hindrance(r);
    if (hinders != KELP_LEASE_HELD) return hinders;
    *until = held_until(r);
    return r->now < *until ? KELP_LEASE_HELD : KELP_LEASE_LAPSED;
}
