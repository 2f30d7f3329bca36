/* SPDX-License-Identifier: Apache-2.0 */
/* hostile_test.c - one core against peers that may say anything, and a disk and a state machine in
 * any order.
 *
 * A hundred thousand random inputs: messages that are decoded but whose numbers are chosen to
 * hurt, requests, reports, lookups answered right, late or never. After each the core must keep
 * its own rules (kelp_check), take must end, and in the end every request must have had exactly
 * one answer. What peers say may fault the node; it may not stop the process. */
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "fixture.h"

#define STEPS   100000u
#define LIFE    400u /* steps of one core; many short lives see more than one long one */
#define TOKENS  (LIFE + 1)
#define ENTRIES 64u

struct life {
    struct fixture *f;
    struct prng prng;
    uint64_t tokens; /* given out */
    uint64_t calm;   /* a higher term comes once in so many messages */
    uint8_t answered[TOKENS];
    uint64_t saved, installed;
    kelp_index applied;
    struct kelp_entry_info entries[ENTRIES];
    struct kelp_config config;
};

static uint64_t pick(struct life *l, uint64_t near)
{
    switch (prng_below(&l->prng, 12)) {
    case 0: return 0;
    case 1: return prng_below(&l->prng, 4);
    case 2: return UINT64_MAX;
    case 3: return UINT64_MAX - 1;
    case 4: return prng_next(&l->prng);
    case 5: return near + 1;
    case 6: return near > 0 ? near - 1 : 0;
    case 7: return near + prng_below(&l->prng, 20);
    default: return near;
    }
}

/* Mostly a term that is listened to. */
static uint64_t pick_term(struct life *l)
{
    uint64_t ours = l->f->view.term.v;
    if (prng_chance(&l->prng, 1, 200)) return pick(l, ours);
    return ours + (prng_chance(&l->prng, 1, l->calm) ? 1 : 0);
}

static uint64_t near_index(struct life *l)
{
    const struct kelp_view *v = &l->f->view;
    const kelp_index places[] = {v->last, v->commit, v->first, v->durable, v->last / 2};
    kelp_index index = places[prng_below(&l->prng, 5)];
    return prng_chance(&l->prng, 1, 30) ? pick(l, index) : index;
}

static struct kelp_pos near_pos(struct life *l)
{
    kelp_index index = near_index(l);
    uint64_t term = kelp_log_term(l->f->core, index).v;
    if (prng_chance(&l->prng, 1, 8)) term = pick(l, l->f->view.term.v);
    return kelp_pos_of(index, term);
}

static void random_append(struct life *l, struct kelp_message *m)
{
    m->append.prev = near_pos(l);
    uint64_t count = prng_chance(&l->prng, 1, 3) ? 0 : prng_below(&l->prng, 8);
    if (m->append.prev.index > UINT64_MAX - count) count = 0;
    m->append.last = m->append.prev.index + count; /* a decoder makes it so */
    uint64_t term = m->append.prev.term.v;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t held = kelp_log_term(l->f->core, m->append.prev.index + i + 1).v;
        if (held >= term && prng_chance(&l->prng, 7, 8))
            term = held;
        else if (prng_chance(&l->prng, 1, 2) && m->term.v > term)
            term = m->term.v;
        if (prng_chance(&l->prng, 1, 60)) term = pick(l, term);
        l->entries[i] = (struct kelp_entry_info){.term = {term},
                                                 .bytes = (uint32_t)prng_below(&l->prng, 3000),
                                                 .type = KELP_ENTRY_COMMAND};
    }
    m->append.entries = l->entries;
    m->append.commit = near_index(l);
    m->append.everyone = near_index(l);
    if (count == 0 || !prng_chance(&l->prng, 1, 40)) return;
    l->config = voters((uint32_t)prng_between(&l->prng, 1, 6));
    l->config.index = m->append.last;
    if (prng_chance(&l->prng, 1, 10)) l->config.members[0].id = prng_below(&l->prng, 9);
    m->append.config = &l->config;
}

static struct kelp_message random_message(struct life *l)
{
    const struct kelp_view *v = &l->f->view;
    struct kelp_message m = {.from = v->leader != 0 && v->leader != v->self &&
                                             prng_chance(&l->prng, 3, 4)
                                         ? v->leader
                                         : 2 + prng_below(&l->prng, 4),
                             .to = v->self,
                             .term = {pick_term(l)},
                             .id = prng_next(&l->prng)};
    static const uint8_t types[] = {
        KELP_MSG_VOTE,   KELP_MSG_VOTE_ANSWER, KELP_MSG_VOTE_ANSWER, KELP_MSG_APPEND,
        KELP_MSG_APPEND, KELP_MSG_HEARTBEAT,   KELP_MSG_ANSWER,      KELP_MSG_ANSWER,
        KELP_MSG_ANSWER, KELP_MSG_TIMEOUT_NOW, KELP_MSG_SNAPSHOT};
    m.type = types[prng_below(&l->prng, sizeof types)];
    if (v->role == KELP_LEADER && prng_chance(&l->prng, 9, 10)) m.type = KELP_MSG_ANSWER;
    bool leads =
        m.type == KELP_MSG_APPEND || m.type == KELP_MSG_HEARTBEAT || m.type == KELP_MSG_SNAPSHOT;
    if (leads && v->role == KELP_LEADER && prng_chance(&l->prng, 29, 30)) m.term.v = v->term.v + 1;
    if (leads && v->leader == 0) m.from = 2 + v->term.v % 3; /* mostly one leader a term */
    if (prng_chance(&l->prng, 1, 500)) m.type = (uint8_t)prng_next(&l->prng);
    if (prng_chance(&l->prng, 1, 500)) m.from = pick(l, 1);
    m.flags =
        (uint8_t)(prng_chance(&l->prng, 1, 50) ? prng_next(&l->prng) : prng_below(&l->prng, 32));
    m.attempt = pick(l, prng_below(&l->prng, 40));
    m.round = pick(l, 3);
    if (m.type == KELP_MSG_VOTE || m.type == KELP_MSG_VOTE_ANSWER) {
        m.vote.term.v = m.term.v + ((m.flags & KELP_MF_PRE_VOTE) != 0 ? 1 : 0);
        if (prng_chance(&l->prng, 1, 20)) m.vote.term.v = pick(l, m.term.v);
        m.vote.last = near_pos(l);
    } else if (m.type == KELP_MSG_ANSWER) {
        const struct kelp_message *append = sent(l->f, KELP_MSG_APPEND, m.from);
        if (append != NULL && prng_chance(&l->prng, 7, 8)) {
            m.attempt = append->attempt;
            m.round = append->round;
        }
        m.answer.match = near_index(l);
        m.answer.hint = near_pos(l);
        m.answer.refused =
            append != NULL && prng_chance(&l->prng, 1, 2) ? append->append.prev : near_pos(l);
        m.answer.durable = pick(l, v->last);
        m.answer.applied = pick(l, v->last);
        m.answer.health = (uint32_t)(prng_chance(&l->prng, 1, 8) ? prng_below(&l->prng, 8) : 0);
    } else if (m.type == KELP_MSG_TIMEOUT_NOW) {
        m.timeout_now.required = near_index(l);
    } else if (m.type == KELP_MSG_SNAPSHOT) {
        m.snapshot.pos =
            prng_chance(&l->prng, 1, 2) ? near_pos(l) : kelp_pos_of(pick(l, v->last), m.term.v);
    } else {
        random_append(l, &m);
    }
    return m;
}

/* ---- the core's own world: honest, but in its own time ---- */

static void answer_lookup(struct life *l)
{
    struct fixture *f = l->f;
    if (f->looked_up == f->lookup_count) return;
    struct kelp_lookup lookup = f->lookups[f->looked_up++];
    kelp_index last = lookup.index + prng_below(&l->prng, 4);
    if (lookup.index > f->view.last) return; /* of a log that was cut since */
    if (last > f->view.last) last = f->view.last;
    uint64_t term = kelp_log_term(f->core, lookup.index).v;
    if (term == 0 && lookup.index != 0) term = 1; /* forgotten here as well; any old one will do */
    uint64_t fate = prng_below(&l->prng, 40);
    looked_up(f,
              fate == 0   ? KELP_IN_GONE
              : fate == 1 ? KELP_IN_FAILED
                          : KELP_IN_FOUND,
              &lookup, kelp_pos_of(lookup.index, term), kelp_pos_of(last, term));
}

static void some_transfer(struct life *l)
{
    struct kelp_input in = {.type = KELP_IN_TRANSFER};
    in.transfer.token = ++l->tokens;
    in.transfer.target = prng_below(&l->prng, 7);
    in.transfer.deadline =
        prng_chance(&l->prng, 1, 2) ? KELP_NEVER : l->f->now + prng_below(&l->prng, 1500 * MS);
    step(l->f, &in);
}

static void some_request(struct life *l)
{
    kelp_ns deadline =
        prng_chance(&l->prng, 1, 2) ? KELP_NEVER : l->f->now + prng_below(&l->prng, 500 * MS);
    uint64_t token = ++l->tokens;
    if (prng_chance(&l->prng, 1, 2)) {
        (void)client_writes(l->f, token, (uint32_t)prng_below(&l->prng, 4000), deadline);
    } else {
        client_reads(l->f, token, deadline);
    }
}

/* One that is durable here, of whatever was offered; what it holds is another matter. */
static void some_snapshot(struct life *l)
{
    struct fixture *f = l->f;
    kelp_index index = f->view.applied + 1 + prng_below(&l->prng, 12);
    if (f->view.role == KELP_LEADER && prng_chance(&l->prng, 9, 10)) return;
    if (index > f->view.last + 8) index = f->view.last + 8; /* the fixture's log is short */
    if (index <= f->view.applied) return;
    uint64_t term = kelp_log_term(f->core, index).v;
    if (term == 0 || prng_chance(&l->prng, 1, 4)) term = f->view.term.v + prng_below(&l->prng, 2);
    struct kelp_config config = voters((uint32_t)prng_between(&l->prng, 3, 6));
    struct kelp_input in = {.type = KELP_IN_INSTALLED};
    config.index = prng_chance(&l->prng, 1, 40) ? index + 1 : prng_below(&l->prng, index + 1);
    in.installed.pos = kelp_pos_of(index, term);
    in.installed.term.v = prng_below(&l->prng, f->view.term.v + 2);
    in.installed.config = &config;
    step(f, &in);
    if (f->view.applied != index) return;
    l->installed++;
    l->applied = index;
    if (f->apply_last < index) f->apply_last = index;
}

static void take_some(struct life *l)
{
    struct fixture *f = l->f;
    take(f);
    for (size_t i = 0; i < f->answer_count; i++) {
        uint64_t token = f->answers[i].token;
        assert_in_range(token, 1, l->tokens);
        assert_int_equal(l->answered[token]++, 0); /* once */
        assert_int_not_equal(f->answers[i].outcome, 0);
    }
    f->answer_count = 0;
    f->message_count = f->message_count > 200 ? 0 : f->message_count;
    if (f->save_count > 100) {
        f->saves[0] = f->saves[f->save_count - 1];
        f->save_count = 1;
    }
}

static void one_step(struct life *l)
{
    struct fixture *f = l->f;
    uint64_t emitted = f->save_count > 0 ? f->saves[f->save_count - 1].number : 0;
    uint64_t what = prng_below(&l->prng, 100);
    if (prng_chance(&l->prng, 1, 4)) f->now += prng_below(&l->prng, 150 * MS);
    if (prng_chance(&l->prng, 1, 300)) f->now += prng_below(&l->prng, 5000 * MS); /* a pause */
    if (what < 60) {
        receive(f, random_message(l));
    } else if (what < 72) {
        if (l->saved < emitted) l->saved += 1 + prng_below(&l->prng, emitted - l->saved);
        saved_up_to(f, l->saved);
    } else if (what < 80) {
        if (l->applied < f->apply_last)
            l->applied += 1 + prng_below(&l->prng, f->apply_last - l->applied);
        if (l->applied > 0) applied(f, l->applied);
    } else if (what < 90) {
        some_request(l);
    } else if (what < 93) {
        answer_lookup(l);
    } else if (what < 95) {
        link_new(f, pick(l, 2));
    } else if (what < 96) {
        step(f, &(struct kelp_input){.type = KELP_IN_SNAPSHOT,
                                     .pos = kelp_pos_of(pick(l, f->view.applied), 1)});
        step(f, &(struct kelp_input){.type = KELP_IN_SENDING, .peer = pick(l, 2)});
    } else if (what < 97) {
        some_snapshot(l);
    } else if (what < 98) {
        step(f,
             &(struct kelp_input){.type = KELP_IN_CANCEL, .token = 1 + prng_below(&l->prng, LIFE)});
    } else if (what < 99) {
        some_transfer(l);
    } else {
        campaign(f);
    }
    if (prng_chance(&l->prng, 1, 2) || f->options.limits.answers_max < 3) take_some(l);
}

/* One core from birth to shutdown; returns how many steps it took until a fault or its end. */
static uint32_t live(uint64_t seed, uint32_t roles[4], uint64_t *installed)
{
    struct life *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->prng.state = seed;
    bool small = prng_chance(&l->prng, 1, 2);
    bool leads = prng_chance(&l->prng, 1, 2);
    l->calm = leads ? 400 : 12;
    struct spec spec = {
        .seed = seed,
        .voters = (uint32_t)prng_between(&l->prng, 1, 5),
        .learners = 1,
        .log = small ? "1@1 2@1 3@2" : "",
        .term = 2,
        .tail = 8,
        .runs = 4,
        .window = (uint32_t)prng_between(&l->prng, 1, 3),
        .message_entries = 3,
        .message_bytes = 2000,
        .window_bytes = 5000,
        .proposals = small ? 2 : 16,
        .reads = 4,
        .answers = 64,
        .trailing_none = small,
        .entry_bytes = 3900,
        .apply_durable_only = prng_chance(&l->prng, 1, 2),
        .off = prng_chance(&l->prng, 1, 4) ? (uint32_t)prng_below(&l->prng, 8) : 0,
    };
    l->f = leads ? fixture_leader(&spec) : fixture_node(&spec);
    l->saved = l->f->saved;
    uint32_t steps = 0;
    while (steps < LIFE && !l->f->faulted && l->f->view.last < LOG_MAX - ENTRIES / 4) {
        one_step(l);
        steps++;
        roles[l->f->view.role]++;
    }
    step(l->f, &(struct kelp_input){.type = KELP_IN_SHUTDOWN});
    take_some(l);
    for (uint64_t token = 1; token <= l->tokens; token++)
        assert_int_equal(l->answered[token], 1);
    *installed += l->installed;
    fixture_close(l->f);
    free(l);
    return steps;
}

static void nothing_a_peer_says_breaks_a_rule_or_loses_an_answer(void **state)
{
    (void)state;
    uint32_t steps = 0, roles[4] = {0};
    uint64_t installed = 0;
    for (uint64_t seed = 1; steps < STEPS; seed++)
        steps += live(seed, roles, &installed);
    for (int role = 0; role < 4; role++)
        assert_true(roles[role] > STEPS / 100); /* all were seen */
    assert_true(installed > 100);
}

/* the last term could never be left again */
static void absurd_terms_are_not_adopted(void **state)
{
    (void)state;
    struct fixture *f = node(.voters = 1);
    receive(f, heartbeat_of(f, 2, UINT64_MAX));
    receive(f, vote_of(f, 2, UINT64_MAX, "9@9"));
    assert_int_not_equal(f->view.term.v, UINT64_MAX);
    save_all(f);
    pass(f, 3000 * MS);
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    fixture_close(f);
}

/* nobody was asked yet */
static void votes_before_the_own_vote_is_durable_make_no_leader(void **state)
{
    (void)state;
    struct fixture *f = node(.off = KELP_PRE_VOTE);
    campaign(f);
    receive(f, granted_of(f, 2));
    receive(f, granted_of(f, 3));
    assert_int_equal(f->view.role, KELP_CANDIDATE);
    fixture_close(f);
}

static void messages_for_others_and_from_nobody_are_ignored(void **state)
{
    (void)state;
    struct fixture *f = node();
    struct kelp_message m = heartbeat_of(f, 2, 9);
    m.to = 3;
    receive(f, m);
    m = heartbeat_of(f, 0, 9);
    receive(f, m);
    m = heartbeat_of(f, 1, 9); /* from itself */
    receive(f, m);
    m = heartbeat_of(f, 2, 9);
    m.id = 0;
    receive(f, m);
    assert_int_equal(f->view.term.v, 1);
    MARK_HIT(f, MESSAGE_NOT_FOR_US);
    fixture_close(f);
}

static void answers_to_more_strangers_than_fit_are_dropped(void **state)
{
    (void)state;
    struct fixture *f = node(.term = 5);
    for (kelp_id id = 100; id < 120; id++)
        receive(f, vote_of(f, id, 3, "0@0"));
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_VOTE_ANSWER, 0), f->options.limits.strangers_max);
    MARK_HIT(f, STRANGERS_FULL);
    receive(f, vote_of(f, 200, 3, "0@0")); /* and there is room again */
    take(f);
    assert_non_null(sent(f, KELP_MSG_VOTE_ANSWER, 200));
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_a_peer_says_breaks_a_rule_or_loses_an_answer),
        cmocka_unit_test(absurd_terms_are_not_adopted),
        cmocka_unit_test(votes_before_the_own_vote_is_durable_make_no_leader),
        cmocka_unit_test(messages_for_others_and_from_nobody_are_ignored),
        cmocka_unit_test(answers_to_more_strangers_than_fit_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
