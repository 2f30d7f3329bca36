/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - changes of the membership: what the core does not know of them.
 *
 *   CHANGING --its turn, new members have shown themselves--> PROPOSED --core--> CLOSED
 *
 * The core counts by ids and roles. Here are the addresses; and a new member's incarnation, which
 * must be learnt from itself before the entry that adds it, so that no other directory can take its
 * place. One change at a time is handed to the core, when the newest configuration is committed and
 * simple: what is said about addresses is then said of the configuration that it will be made of.
 *
 * Invariant: d->named are the addresses of the change that the core has, until the first entry made
 * of it carries them. */
#include <stdio.h>
#include <string.h>

#include "driver/room.h"

#define CHANGES_WAITING_MAX 16u

/* ---- the configuration with its addresses ---- */

static const struct wire_config *newest(const struct driver *d)
{
    ASSERT(d->config_count > 0);
    return &d->configs[d->config_count - 1];
}

/* The address of a member; NULL: it is none. */
static const struct wire_address *address_in(const struct wire_config *c, kelp_id id)
{
    for (size_t slot = 0; slot < c->config.count; slot++) {
        if (c->config.members[slot].id == id) return &c->peer[slot];
    }
    return NULL;
}

/* No member has this incarnation: whoever shows it has not been added. */
static bool incarnation_free(const struct wire_config *c, uint64_t incarnation)
{
    for (size_t slot = 0; slot < c->config.count; slot++) {
        if (c->config.members[slot].incarnation == incarnation) return false;
    }
    return true;
}

static const struct wire_edit *edit_of(const struct wire_change *change, kelp_id id)
{
    for (uint32_t i = 0; i < change->count; i++) {
        if (change->edits[i].id == id) return &change->edits[i];
    }
    return NULL;
}

const struct wire_address *address_after(const struct driver *d, const struct wire_change *named,
                                         kelp_id id)
{
    const struct wire_edit *edit = named != NULL ? edit_of(named, id) : NULL;
    if (edit != NULL && edit->address.text[0] != '\0') return &edit->address;
    return address_in(newest(d), id);
}

void config_made(struct driver *d, const struct kelp_made *made)
{
    struct wire_config next = *newest(d);
    bool first = made->change != 0 && made->change == d->change_open && d->named.count > 0;
    next.config = *made->config;
    for (size_t slot = 0; slot < next.config.count; slot++) {
        const struct wire_address *address =
            address_after(d, first ? &d->named : NULL, next.config.members[slot].id);
        ASSERT(address != NULL); /* who comes was named with an address */
        next.peer[slot] = *address;
    }
    if (first) d->named.count = 0; /* from here on they are in the newest configuration */
    struct wire_entry e = {.pos = made->pos, .type = KELP_ENTRY_CONFIG, .time_ns = clock_stamp(d)};
    e.payload = bytes_of(d->config_bytes, wire_config_encode(&next, d->config_bytes));
    size_t size = wire_entry_size(&e);
    uint8_t *room = cache_reserve(d->cache, size);
    ASSERT(room != NULL); /* ensured before the take */
    wire_entry_encode(&e, room);
    cache_commit(d->cache, made->pos.index, size);
    config_push(d, &next);
}

/* ---- may it be handed to the core? ---- */

/* It goes with this change: its address is free for who comes with it, most of all for the same
 * machine with an empty directory. While the new member catches up both stand there; whoever is
 * dialled says which of them it is. */
static bool leaves(const struct wire_change *change, kelp_id id)
{
    const struct wire_edit *edit = edit_of(change, id);
    return edit != NULL && edit->verb == KELP_EDIT_REMOVE;
}

/* Somebody else has this address, or will have it. */
static bool address_taken(const struct driver *d, const struct wire_change *change,
                          const struct wire_edit *edit)
{
    const struct wire_config *now = newest(d);
    for (size_t slot = 0; slot < now->config.count; slot++) {
        kelp_id other = now->config.members[slot].id;
        const struct wire_address *address = address_after(d, change, other);
        if (other == edit->id || leaves(change, other)) continue;
        if (strcmp(address->text, edit->address.text) == 0) return true;
    }
    for (uint32_t i = 0; i < change->count; i++) {
        const struct wire_edit *other = &change->edits[i];
        if (other->id != edit->id && strcmp(other->address.text, edit->address.text) == 0)
            return true;
    }
    return false;
}

/* The incarnation of a node that shows itself now; 0: it does not. Where two directories show
 * themselves under one id the address named says which is meant; otherwise it may be another
 * spelling of the one shown. */
static uint64_t shown(struct driver *d, const struct wire_edit *named)
{
    const struct peer *p = peer_find(d, named->id);
    bool two = p != NULL && p->swapped != 0 && d->now < p->swapped + KNOCK_NS;
    if (two && strcmp(p->address.text, named->address.text) != 0) return 0;
    for (size_t lane = 0; p != NULL && lane < KELP_LANES; lane++) {
        if (p->connection[lane] != 0) return p->incarnation;
    }
    return 0;
}

/* ---- who knocks ---- */

static bool knocks_now(const struct driver *d, const struct peer *p)
{
    bool heard = p->knocked != 0 && d->now < p->knocked + KNOCK_NS;
    bool there = p->connection[KELP_LANE_CONTROL] != 0 && p->address.text[0] != '\0';
    bool never =
        p->id > newest(d)->config.id_highest; /* a member, and no more once it is removed */
    return heard && there && never && incarnation_free(newest(d), p->incarnation);
}

size_t change_knocks(const struct driver *d, struct driver_knock out[KELP_MEMBERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; d->config_count > 0 && i < d->peer_count; i++) {
        const struct peer *p = d->peers[i];
        if (!knocks_now(d, p) || count == KELP_MEMBERS_MAX) continue;
        out[count++] = (struct driver_knock){
            .id = p->id, .incarnation = p->incarnation, .peer = p->address, .heard = p->knocked};
    }
    return count;
}

/* Who is meant by an edit that does not name id and address both: the only one that fits, or any
 * of several. */
static const struct peer *knock_meant(const struct driver *d, const struct wire_edit *edit,
                                      bool any)
{
    const struct peer *meant = NULL;
    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *p = d->peers[i];
        bool fits = edit->id != 0 ? p->id == edit->id : id_waits(p->id);
        if (edit->address.text[0] != '\0')
            fits = fits && strcmp(edit->address.text, p->address.text) == 0;
        if (!fits || !knocks_now(d, p)) continue;
        if (meant != NULL && !any) return NULL;
        meant = p;
    }
    return meant;
}

/* The member that an edit means which was carried out before, NULL: none. Who goes with the change
 * is not who came with it. */
static const struct kelp_member *member_meant(const struct wire_config *c,
                                              const struct wire_change *change,
                                              const struct wire_edit *edit)
{
    for (size_t slot = 0; slot < c->config.count; slot++) {
        const struct kelp_member *m = &c->config.members[slot];
        if (edit->id == 0 && leaves(change, m->id)) continue;
        if (edit->id != 0 ? m->id == edit->id : strcmp(c->peer[slot].text, edit->address.text) == 0)
            return m;
    }
    return NULL;
}

/* Fill in what was left to be found out. False: nobody fits. The id given is the next free one; of
 * a change made twice it is the one given before, unless another directory knocks at that address:
 * then the core is told what it shows, and refuses it. Above the highest id there may be none is
 * free: the edit names that one, and *spent says so. */
static bool name_all(struct driver *d, struct wire_change *change, uint64_t *incarnations,
                     bool *spent)
{
    kelp_id next = newest(d)->config.id_highest + 1;
    d->given = 0;
    for (uint32_t i = 0; i < change->count; i++) {
        if (change->edits[i].verb == KELP_EDIT_ADD) next = max_u64(next, change->edits[i].id + 1);
    }
    for (uint32_t i = 0; i < change->count; i++) {
        struct wire_edit *edit = &change->edits[i];
        bool open = edit->id == 0 || edit->address.text[0] == '\0';
        incarnations[i] = 0;
        if (edit->verb != KELP_EDIT_ADD || !open) continue;
        const struct kelp_member *before = member_meant(newest(d), change, edit);
        const struct peer *p = knock_meant(d, edit, before != NULL);
        if (before == NULL && p == NULL) return false;
        *spent = edit->id == 0 && before == NULL && next > WIRE_CHANGE_NUMBER_MAX;
        if (*spent) edit->id = WIRE_CHANGE_NUMBER_MAX;
        if (*spent) return true;
        if (edit->id == 0) d->given = edit->id = before != NULL ? before->id : next++;
        if (edit->address.text[0] == '\0')
            edit->address = before != NULL ? *address_in(newest(d), before->id) : p->address;
        if (p != NULL) incarnations[i] = p->incarnation;
    }
    return true;
}

/* A change as the core sees it. *missing: a new member that has not shown itself, 0: none. */
static enum kelp_reason edits_make(struct driver *d, struct wire_change *change,
                                   struct kelp_edit *edits, kelp_id *member, kelp_id *missing)
{
    uint64_t incarnations[KELP_MEMBERS_MAX];
    enum kelp_reason reason = KELP_R_NONE;
    *missing = *member = 0;
    bool spent = false, known = name_all(d, change, incarnations, &spent) && !spent;
    if (spent) reason = KELP_R_ID_USED;
    if (spent) *member = WIRE_CHANGE_NUMBER_MAX;
    if (!known && !spent) *missing = KELP_ID_WAITING;
    for (uint32_t i = 0; i < change->count; i++) {
        const struct wire_edit *named = &change->edits[i];
        const struct wire_address *now = address_in(newest(d), named->id);
        edits[i] = (struct kelp_edit){
            .id = named->id, .verb = named->verb, .role = named->role, .priority = named->priority};
        if (!known) continue;
        if (named->address.text[0] == '\0') continue;
        if (reason == KELP_R_NONE && address_taken(d, change, named)) {
            reason = KELP_R_ADDRESS_USED;
            *member = named->id;
        }
        if (now != NULL) {
            edits[i].moved = strcmp(now->text, named->address.text) != 0;
            edits[i].incarnation = incarnations[i];
            continue;
        }
        bool comes = named->verb != KELP_EDIT_MOVE &&
                     named->id > newest(d)->config.id_highest; /* else the core refuses it */
        edits[i].incarnation = incarnations[i];
        if (comes && incarnations[i] == 0) edits[i].incarnation = shown(d, named);
        if (comes && edits[i].incarnation == 0 && *missing == 0) *missing = named->id;
    }
    return reason;
}

/* ---- its way ---- */

void change_refuse(struct driver *d, struct request *r, enum kelp_reason reason, kelp_id member)
{
    r->member = member;
    r->pos.index = newest(d)->config.index;
    request_close(d, r, KELP_REFUSED, reason);
}

/* Why it would end now, if its deadline passed. */
enum kelp_reason change_waits_for(struct driver *d, struct request *r)
{
    if (d->core == NULL || TAILQ_FIRST(&d->changes) != r) return KELP_R_PENDING;
    enum kelp_reason gate = driver_look(d)->change_gate;
    if (gate == KELP_R_NONE && d->missing != 0) {
        if (id_waits(d->missing)) return KELP_R_NOT_KNOCKING;
        r->member = d->missing;
        return KELP_R_NOT_REACHED;
    }
    return gate == KELP_R_NONE ? KELP_R_TIMEOUT : gate;
}

void change_start(struct driver *d, struct request *r)
{
    struct wire_change named;
    if (!r->plan) {
        change_wait(d, r);
        return;
    }
    enum kelp_error error =
        wire_change_decode(bytes_of(r->bytes + r->user_len, r->len), &named, NULL);
    ASSERT(error == KELP_OK); /* looked at when it came */
    plan_start(d, r, &named);
}

void change_wait(struct driver *d, struct request *r)
{
    struct request *first = TAILQ_FIRST(&d->changes);
    /* a plan stands there only where nothing waited: what is to happen does not wait for a question
     */
    if (first != NULL && first->plan) change_refuse(d, first, KELP_R_PENDING, 0);
    r->state = REQUEST_CHANGING;
    r->reach_until = 0;
    TAILQ_INSERT_TAIL(&d->changes, r, change_link);
    timer_add(d, r);
    if (++d->change_count > CHANGES_WAITING_MAX) request_close(d, r, KELP_REFUSED, KELP_R_BUSY);
}

void change_leave(struct driver *d, struct request *r)
{
    if (TAILQ_FIRST(&d->changes) == r) {
        if (d->missing != 0 && !id_waits(d->missing))
            driver_note(d, KELP_INFO, "no change waits for node %llu any more",
                        (unsigned long long)d->missing);
        d->missing = 0;
        d->reach_at = KELP_NEVER;
    }
    TAILQ_REMOVE(&d->changes, r, change_link);
    d->change_count--;
}

static void hand_over(struct driver *d, struct request *r, const struct wire_change *change,
                      const struct kelp_edit *edits)
{
    struct kelp_change what = {.flags = change->flags,
                               .count = change->count,
                               .if_index = change->if_index,
                               .edits = edits};
    struct kelp_input input = {.type = KELP_IN_CHANGE};
    input.change.token = r->handle;
    input.change.deadline = r->deadline;
    input.change.what = &what;
    change_leave(d, r);
    timer_remove(d, r); /* the core has the deadline */
    r->state = REQUEST_PROPOSED;
    r->member = d->given;
    d->change_open = r->handle;
    d->named = *change;
    d->unanswered++; /* it may be refused at once, like a read */
    (void)driver_step(d, &input);
}

/* Leadership went before it had begun: it goes where requests go now. */
void change_elsewhere(struct driver *d, struct request *r)
{
    if (r->line != NULL)
        request_requeue(d, r);
    else
        request_close(d, r, KELP_REFUSED, KELP_R_NOT_LEADER);
}

/* A new member that has not shown itself is dialled, for a while. True: it goes on waiting. */
static bool reach(struct driver *d, struct request *r, kelp_id missing)
{
    d->missing = missing;
    if (r->reach_until == 0) {
        kelp_ns patience = 2 * d->options.core.election_max;
        r->reach_until = min_u64(add_sat(d->now, patience), r->deadline);
        if (!id_waits(missing))
            driver_note(d, KELP_INFO,
                        "a change waits for node %llu to show itself at the address named",
                        (unsigned long long)missing); /* whoever hears it looks whom to dial */
    }
    d->reach_at = r->reach_until;
    return d->now < r->reach_until;
}

static bool leads(struct driver *d)
{
    if (d->state != DRIVER_RUNNING || d->fault_due || d->closing) return false;
    const struct kelp_view *view = driver_look(d);
    return view->role == KELP_LEADER && view->term.v == d->led_term;
}

bool changes_run(struct driver *d)
{
    struct request *r = TAILQ_FIRST(&d->changes);
    d->reach_at = KELP_NEVER; /* who waits for more than that is not woken by it, see reach */
    if (r == NULL || d->change_open != 0 || d->closing || d->fault_due) return false;
    if (d->core == NULL || d->state != DRIVER_RUNNING) return false;
    if (!leads(d)) {
        change_elsewhere(d, r);
        return true;
    }
    if (!core_has_room(d)) return false;
    struct wire_change *change = &d->named; /* it is nobody's now */
    struct kelp_edit edits[KELP_MEMBERS_MAX];
    enum kelp_error error =
        wire_change_decode(bytes_of(r->bytes + r->user_len, r->len), change, NULL);
    ASSERT(error == KELP_OK); /* looked at when it came */
    bool waits = !r->plan && (change->flags & KELP_CHANGE_NOWAIT) == 0;
    if (waits && driver_look(d)->change_gate != KELP_R_NONE) return false;
    kelp_id member = 0, missing = 0;
    enum kelp_reason reason = edits_make(d, change, edits, &member, &missing);
    if (reason == KELP_R_NONE && missing != 0) {
        if (reach(d, r, missing)) return false;
        reason = id_waits(missing) ? KELP_R_NOT_KNOCKING : KELP_R_NOT_REACHED;
        member = id_waits(missing) ? 0 : missing;
    }
    if (r->plan) {
        struct wire_change planned = *change;
        change->count = 0;
        plan_answer(d, r, &planned, edits, reason, member);
    } else if (reason != KELP_R_NONE) {
        change_refuse(d, r, reason, member);
    } else {
        struct wire_change handed = *change;
        hand_over(d, r, &handed, edits);
    }
    return true;
}

void change_answered(struct driver *d, const struct kelp_answer *answer)
{
    if (answer->token != d->change_open) return;
    d->change_open = 0;
    d->named.count = 0;
}

/* ---- submission ---- */

bool driver_change(struct driver *d, kelp_ns now, struct driver_line *line, uint64_t token,
                   const struct wire_change *change, struct kelp_bytes user, kelp_ns deadline,
                   bool forward)
{
    uint8_t bytes[WIRE_CHANGE_BYTES_MAX];
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    if (!request_reserve(d)) return false;
    struct request *r = line_append(d, line, REQUEST_WRITE, token, deadline);
    r->forward = forward;
    r->change = true;
    request_hold(d, r, user, bytes_of(bytes, wire_change_encode(change, bytes)));
    return true;
}

size_t change_candidates(const struct driver *d, struct driver_member out[KELP_MEMBERS_MAX])
{
    const struct request *r = TAILQ_FIRST(&d->changes);
    struct wire_change change;
    size_t count = 0;
    if (d->core == NULL && d->found->leader.id != 0 && d->found->leader.peer.text[0] != '\0')
        out[count++] = d->found->leader; /* it waits, and knocks there */
    if (r == NULL || d->missing == 0 || d->config_count == 0) return count;
    if (wire_change_decode(bytes_of(r->bytes + r->user_len, r->len), &change, NULL) != KELP_OK)
        return 0;
    for (uint32_t i = 0; i < change.count; i++) {
        const struct wire_edit *edit = &change.edits[i];
        if (edit->id == 0 || edit->address.text[0] == '\0' ||
            address_in(newest(d), edit->id) != NULL)
            continue;
        out[count++] = (struct driver_member){.id = edit->id, .peer = edit->address};
    }
    return count;
}
