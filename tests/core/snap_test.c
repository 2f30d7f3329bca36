/* SPDX-License-Identifier: Apache-2.0 */
/* snap_test.c - snapshots that travel, as the core of who gets them sees it: wanted or not needed,
 * and what becomes of a log when one is installed. [§5] */
#include "fixture.h"

#include <string.h>

static struct kelp_pos at(const char *text)
{
    return log_text(text, "").base;
}

static struct kelp_message offer_of(struct fixture *f, kelp_id from, uint64_t term, const char *pos)
{
    struct kelp_message m = heartbeat_of(f, from, term);
    m.type = KELP_MSG_SNAPSHOT;
    memset(&m.append, 0, sizeof m.append);
    m.snapshot.pos = at(pos);
    return m;
}

static void offer(struct fixture *f, kelp_id from, const char *pos)
{
    receive(f, offer_of(f, from, f->view.term.v, pos));
}

static void install_with(struct fixture *f, const char *pos, const struct kelp_config *config)
{
    struct kelp_input input = {.type = KELP_IN_INSTALLED};
    input.installed.pos = at(pos);
    input.installed.config = config;
    step(f, &input);
    if (f->view.applied == input.installed.pos.index && f->apply_last < f->view.applied)
        f->apply_last = f->view.applied; /* applied with the snapshot, by nobody else */
}

/* .. by a node that is in that term, or was offered it in it. */
static void install_in(struct fixture *f, const char *pos, uint64_t term)
{
    struct kelp_config config = voters(3);
    struct kelp_input input = {.type = KELP_IN_INSTALLED};
    input.installed.pos = at(pos);
    input.installed.term.v = term;
    input.installed.config = &config;
    step(f, &input);
}

static void install(struct fixture *f, const char *pos)
{
    struct kelp_config config = voters(3);
    install_with(f, pos, &config);
}

static const struct kelp_save *last_save(const struct fixture *f)
{
    assert_true(f->save_count > 0);
    return &f->saves[f->save_count - 1];
}

/* ---- a follower is offered one ---- */

static void below_the_commit_index_it_answers_where_it_is(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1 4@1", .commit = 3, .applied = 3);
    offer(f, 2, "2@1");
    take(f);
    MARK_HIT(f, SNAPSHOT_PASSED);
    assert_int_equal(f->fetch_count, 0);
    assert_int_equal(f->view.commit, 3);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 3); /* not 4: who knows that one? */
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->flags & KELP_MF_REJECT, 0);
    fixture_close(f);
}

/* What is compacted here is committed: its term need not be known. */
static void below_the_base_it_answers_where_it_is(void **state)
{
    (void)state;
    struct fixture *f = node(.base = "10@2", .log = "11@2", .commit = 11, .applied = 11);
    offer(f, 2, "5@1");
    take(f);
    MARK_HIT(f, SNAPSHOT_PASSED);
    assert_int_equal(f->fetch_count, 0);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 11);
    fixture_close(f);
}

static void in_the_log_with_the_same_term_it_is_committed_so_far(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1 4@1", .commit = 1);
    offer(f, 2, "3@1");
    assert_int_equal(f->view.commit, 3);
    take(f);
    MARK_HIT(f, SNAPSHOT_HELD);
    assert_int_equal(f->fetch_count, 0);
    assert_int_equal(f->apply_last, 3);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 3);
    assert_log(f, "1@1 2@1 3@1 4@1");
    fixture_close(f);
}

static void beyond_the_log_it_is_fetched(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1", .commit = 1);
    offer(f, 2, "9@1");
    take(f);
    MARK_HIT(f, SNAPSHOT_WANTED);
    assert_int_equal(f->fetch_count, 1);
    assert_pos(f->fetch, "9@1");
    assert_int_equal(f->fetch_from, 2);
    assert_int_equal(f->view.commit, 1);
    assert_log(f, "1@1 2@1");
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 0); /* verified nothing yet */
    take(f);
    assert_int_equal(f->fetch_count, 1); /* once an offer .. */
    offer(f, 2, "9@1");
    take(f);
    assert_int_equal(f->fetch_count, 2); /* .. and with each */
    fixture_close(f);
}

static void where_another_entry_stands_it_is_fetched_and_nothing_is_cut(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@2 4@2", .term = 4, .commit = 1);
    offer(f, 2, "3@3");
    save_all(f);
    MARK_HIT(f, SNAPSHOT_WANTED);
    assert_pos(f->fetch, "3@3");
    assert_int_equal(f->view.commit, 1);
    assert_log(f, "1@1 2@1 3@2 4@2");
    assert_int_equal(f->save_count, 0);
    fixture_close(f);
}

static void an_unknown_term_is_looked_up_first(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@2 3@3 4@4 5@5 6@6", .runs = 4, .commit = 1);
    offer(f, 2, "2@2");
    take(f);
    MARK_HIT(f, SNAPSHOT_LOOKED_UP);
    assert_int_equal(f->fetch_count, 0);
    assert_int_equal(f->view.commit, 1);
    assert_int_equal(f->lookup_count, 1);
    look_up(f);
    offer(f, 2, "2@2");
    take(f);
    MARK_HIT(f, SNAPSHOT_HELD);
    assert_int_equal(f->fetch_count, 0);
    assert_int_equal(f->view.commit, 2);
    fixture_close(f);
}

static void a_term_that_was_looked_up_and_differs_is_fetched(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@2 3@4 4@5 5@6 6@7", .runs = 4, .commit = 1);
    offer(f, 2, "2@3");
    take(f);
    look_up(f);
    assert_int_equal(f->fetch_count, 0);
    offer(f, 2, "2@3");
    take(f);
    MARK_HIT(f, SNAPSHOT_WANTED);
    assert_pos(f->fetch, "2@3");
    fixture_close(f);
}

static void what_makes_no_sense_is_ignored(void **state)
{
    (void)state;
    static const struct kelp_pos bad[] = {{.index = 0, .term = {1}},
                                          {.index = 9, .term = {0}},
                                          {.index = 9, .term = {2}}}; /* above its own term */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fixture *f = node(.log = "1@1");
        struct kelp_message m = offer_of(f, 2, 1, "9@1");
        m.snapshot.pos = bad[i];
        receive(f, m);
        take(f);
        MARK_HIT(f, MESSAGE_MALFORMED);
        assert_int_equal(f->fetch_count, 0);
        assert_int_equal(f->view.leader, 0);
        assert_null(sent(f, KELP_MSG_ANSWER, 2));
        fixture_close(f);
    }
}

static void an_offer_of_a_lower_term_is_told_ours(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .term = 3);
    receive(f, offer_of(f, 2, 2, "9@1"));
    take(f);
    assert_int_equal(f->fetch_count, 0);
    assert_int_equal(f->view.leader, 0);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->term.v, 3);
    fixture_close(f);
}

static void an_offer_of_a_higher_term_ends_a_leadership(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1", .commit = 1);
    receive(f, offer_of(f, 3, 7, "9@5"));
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.term.v, 7);
    assert_int_equal(f->view.leader, 3);
    take(f);
    assert_pos(f->fetch, "9@5");
    assert_int_equal(f->fetch_from, 3);
    fixture_close(f);
}

static void two_leaders_of_a_term_are_a_fault_here_too(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1", .commit = 1);
    offer(f, 3, "9@1");
    MARK_HIT(f, TWO_LEADERS);
    assert_true(f->faulted);
    fixture_close(f);
}

static void one_that_contradicts_what_is_committed_is_a_fault(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1", .term = 4, .commit = 2);
    offer(f, 2, "2@2");
    MARK_HIT(f, COMMIT_CONFLICT);
    assert_true(f->faulted);
    take(f);
    assert_int_equal(f->fetch_count, 0);
    fixture_close(f);
}

static void who_is_offered_one_hears_its_leader(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    for (int i = 0; i < 60; i++) {
        offer(f, 2, "9@1");
        pass(f, 100 * MS);
        take(f);
    }
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.leader, 2);
    assert_int_equal(f->fetch_count, 60);
    fixture_close(f);
}

/* A read's round is confirmed by whoever answers, a snapshot or not. */
static void an_offer_answers_the_round_it_carries(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    struct kelp_message m = offer_of(f, 2, 1, "9@1");
    m.round = 6;
    receive(f, m);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->round, 6);
    fixture_close(f);
}

/* ---- one is here ---- */

static void a_log_that_ends_before_it_is_reset(void **state)
{
    (void)state;
    struct kelp_config config = voters(5), latest, committed;
    config.index = 4;
    struct fixture *f = node(.log = "1@1 2@1", .commit = 1, .applied = 1);
    offer(f, 2, "9@1");
    take(f);
    fixture_forget(f);
    install_with(f, "9@1", &config);
    MARK_HIT(f, SNAPSHOT_INSTALLED);
    MARK_HIT(f, CONFIG_ADOPTED);
    assert_int_equal(f->view.first, 10);
    assert_int_equal(f->view.last, 9);
    assert_pos(f->view.last_pos, "9@1");
    assert_int_equal(f->view.commit, 9);
    assert_int_equal(f->view.applied, 9);
    assert_int_equal(f->view.durable, 9); /* at once: the file is */
    assert_pos(f->view.snapshot, "9@1");
    assert_int_equal(f->view.peer_count, 5);
    kelp_core_config(f->core, &latest, &committed);
    assert_int_equal(latest.index, 4);
    assert_int_equal(committed.count, 5);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 9); /* unasked */
    assert_int_equal(last_save(f)->flags, KELP_SAVE_RESET);
    assert_pos(last_save(f)->end, "9@1");
    assert_int_equal(last_save(f)->first, 0);
    assert_int_equal(last_save(f)->commit, 9);
    append(f, .prev = "9@1", .entries = "10@1", .commit = 10);
    save_all(f);
    assert_int_equal(f->apply_last, 10);
    assert_log(f, "10@1");
    fixture_close(f);
}

static void a_log_with_another_entry_there_is_reset(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@2 4@2 5@2", .term = 4, .commit = 1, .applied = 1);
    offer(f, 2, "3@3");
    install(f, "3@3");
    MARK_HIT(f, SNAPSHOT_INSTALLED);
    assert_int_equal(f->view.first, 4);
    assert_pos(f->view.last_pos, "3@3");
    assert_int_equal(f->view.durable, 3); /* 4 and 5 were never committed */
    assert_int_equal(f->view.commit, 3);
    save_all(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 3);
    fixture_close(f);
}

static void a_log_with_the_same_entry_there_stays_with_all_that_follows(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1 4@1 5@1 6@1", .commit = 2, .applied = 2);
    take(f);
    install(f, "4@1");
    MARK_HIT(f, SNAPSHOT_KEPT_LOG);
    MARK_MISS(f, SNAPSHOT_INSTALLED);
    assert_log(f, "1@1 2@1 3@1 4@1 5@1 6@1");
    assert_int_equal(f->view.durable, 6);
    assert_int_equal(f->view.commit, 4);
    assert_int_equal(f->view.applied, 4);
    assert_pos(f->view.snapshot, "4@1");
    save_all(f);
    for (size_t i = 0; i < f->save_count; i++)
        assert_int_equal(f->saves[i].flags & (KELP_SAVE_RESET | KELP_SAVE_TRUNCATE), 0);
    append(f, .prev = "6@1", .commit = 6);
    take(f);
    assert_int_equal(f->apply_last, 6);
    fixture_close(f);
}

static void its_configuration_is_not_adopted_by_a_log_that_stays(void **state)
{
    (void)state;
    struct kelp_config config = voters(5);
    struct fixture *f = node(.log = "1@1 2@1 3@1", .commit = 1, .applied = 1);
    install_with(f, "2@1", &config);
    MARK_HIT(f, SNAPSHOT_KEPT_LOG);
    assert_int_equal(f->view.peer_count, 3);
    fixture_close(f);
}

static void an_unknown_term_is_looked_up_before_the_log_is_judged(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        struct fixture *f =
            node(.log = "1@1 2@2 3@4 4@5 5@6 6@7", .runs = 4, .commit = 1, .applied = 1);
        const char *pos = same ? "2@2" : "2@3";
        install(f, pos);
        take(f);
        MARK_HIT(f, SNAPSHOT_LOOKED_UP);
        assert_int_equal(f->view.applied, 1); /* it is told again */
        assert_int_equal(f->view.last, 6);
        assert_int_equal(f->lookup_count, 1);
        install(f, pos);
        take(f);
        assert_int_equal(f->lookup_count, 1); /* asked once */
        look_up(f);
        install(f, pos);
        assert_int_equal(f->view.applied, 2);
        assert_int_equal(f->view.last, same ? 6 : 2);
        assert_int_equal(hits(f, KELP_EV_SNAPSHOT_KEPT_LOG), same);
        assert_int_equal(hits(f, KELP_EV_SNAPSHOT_INSTALLED), !same);
        fixture_close(f);
    }
}

static void a_leader_resets_nothing(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@1", .commit = 1, .applied = 1);
    install(f, "9@1");
    assert_true(f->faulted);
    MARK_HIT(f, COMMIT_CONFLICT);
    assert_int_equal(f->view.last, 3);
    fixture_close(f);
}

static void one_that_differs_from_what_is_committed_is_a_fault(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1", .term = 4, .commit = 2, .applied = 1);
    install(f, "2@2");
    assert_true(f->faulted);
    MARK_HIT(f, COMMIT_CONFLICT);
    assert_int_equal(f->view.last, 3);
    fixture_close(f);
}

static void a_configuration_that_cannot_be_used_is_a_fault(void **state)
{
    (void)state;
    struct kelp_config bad[3] = {voters(3), voters(3), voters(10)}; /* the limit here is 9 */
    bad[0].count = 0;
    bad[1].index = 10; /* above the snapshot's own end */
    for (size_t i = 0; i < 3; i++) {
        struct fixture *f = node(.log = "1@1 2@1");
        install_with(f, "9@1", &bad[i]);
        assert_true(f->faulted);
        assert_int_equal(f->view.last, 2);
        assert_int_equal(f->view.applied, 0);
        MARK_MISS(f, SNAPSHOT_INSTALLED);
        fixture_close(f);
    }
}

static void a_snapshot_of_a_higher_term_brings_that_term(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1", .vote = 3);
    install(f, "9@5");
    assert_int_equal(f->view.term.v, 5);
    assert_int_equal(f->view.vote, 0); /* nobody got one in that term */
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    take(f);
    assert_int_equal(last_save(f)->flags, KELP_SAVE_RESET | KELP_SAVE_VOTE);
    assert_int_equal(last_save(f)->term.v, 5);
    fixture_close(f);
}

/* A leader of term 4 committed 5@2 beneath its own first entry. The leader of term 3, deposed, has
 * another 5 and does not know better: its late append is none of a leader's. */
static void one_committed_in_a_higher_term_brings_that_term(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .term = 3, .commit = 1, .applied = 1);
    struct kelp_message late = heartbeat_of(f, 2, 3);
    struct kelp_entry_info entry = {.term = {3}, .bytes = 10, .type = KELP_ENTRY_COMMAND};
    late.type = KELP_MSG_APPEND;
    late.append.prev = at("4@2");
    late.append.last = 5;
    late.append.entries = &entry;
    install_in(f, "5@2", 4);
    assert_int_equal(f->view.term.v, 4);
    assert_int_equal(f->view.commit, 5);
    receive(f, late);
    save_all(f);
    assert_false(f->faulted);
    assert_pos(f->view.last_pos, "5@2");
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->term.v, 4);
    fixture_close(f);
}

static void one_committed_in_a_higher_term_ends_a_leadership(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@1", .commit = 1, .applied = 1); /* of term 2 */
    install_in(f, "9@1", 3);
    assert_false(f->faulted);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.term.v, 3);
    assert_pos(f->view.last_pos, "9@1");
    MARK_HIT(f, SNAPSHOT_INSTALLED);
    fixture_close(f);
}

static void one_committed_in_a_lower_term_changes_no_term(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1", .term = 7, .vote = 3);
    install_in(f, "9@5", 6);
    assert_int_equal(f->view.term.v, 7);
    assert_int_equal(f->view.vote, 3);
    assert_int_equal(f->view.applied, 9);
    fixture_close(f);
}

static void what_is_told_of_one_is_ignored_after_a_fault(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1");
    step(f, &(struct kelp_input){.type = KELP_IN_FAULT});
    install(f, "9@1");
    assert_int_equal(f->view.last, 2);
    assert_int_equal(f->view.applied, 0);
    fixture_close(f);
}

static void proposals_whose_place_it_covers_are_uncertain(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1", .commit = 1, .applied = 1);
    assert_true(client_writes(f, 7, 10, KELP_NEVER)); /* 3@2 */
    assert_true(client_writes(f, 8, 10, KELP_NEVER)); /* 4@2 */
    save_all(f);
    receive(f, offer_of(f, 3, 3, "4@3"));
    save_all(f);
    assert_int_equal(answers_to(f, 7) + answers_to(f, 8), 0);
    install(f, "4@3");
    save_all(f);
    assert_int_equal(answer_to(f, 7).outcome, KELP_UNKNOWN);
    assert_int_equal(answer_to(f, 7).reason, KELP_R_SNAPSHOT_PASSED);
    assert_int_equal(answer_to(f, 8).outcome, KELP_LOST); /* another entry is known to be there */
    assert_int_equal(answer_to(f, 8).reason, KELP_R_OVERWRITTEN);
    fixture_close(f);
}

static void a_change_in_what_was_reset_is_no_more(void **state)
{
    (void)state;
    struct kelp_config four = voters(4), config = voters(3), latest, committed;
    four.index = 2;
    config.index = 1;
    struct fixture *f = node(.log = "1@1 2@1", .term = 2, .commit = 1, .applied = 1,
                             .config = &four, .config_before = &config);
    assert_int_equal(f->view.peer_count, 4);
    offer(f, 2, "2@2");
    install_with(f, "2@2", &config);
    assert_int_equal(f->view.peer_count, 3);
    kelp_core_config(f->core, &latest, &committed);
    assert_int_equal(latest.count, 3);
    assert_int_equal(committed.count, 3);
    assert_int_equal(latest.index, 1);
    fixture_close(f);
}

/* It was counting ballots for the log that is gone, under the configuration that is gone. */
static void who_stands_does_not_go_on_with_another_log(void **state)
{
    (void)state;
    for (int real = 0; real < 2; real++) {
        struct kelp_config config = voters(3);
        struct fixture *f =
            node(.log = "1@1 2@1", .commit = 1, .applied = 1, .off = real ? KELP_PRE_VOTE : 0);
        enum kelp_role stands = real ? KELP_CANDIDATE : KELP_PRE_CANDIDATE;
        campaign(f);
        save_all(f);
        assert_int_equal(f->view.role, stands);
        config.members[0].role = KELP_LEARNER; /* this node */
        config.index = 5;
        install_with(f, "9@1", &config);
        assert_int_equal(f->view.role, KELP_FOLLOWER);
        MARK_HIT(f, SNAPSHOT_INSTALLED);
        receive(f, granted_of(f, 2));
        receive(f, granted_of(f, 3));
        save_all(f);
        assert_int_equal(f->view.role, KELP_FOLLOWER);
        fixture_close(f);
    }
}

/* The log stays, and in it what takes its vote away: now it is known to be committed. */
static void who_stands_by_what_might_be_taken_back_stands_no_more_once_it_is_committed(void **state)
{
    (void)state;
    struct kelp_config learner = voters(3), before = voters(3);
    before.index = 1;
    learner.index = 3;
    learner.members[0].role = KELP_LEARNER;
    struct fixture *f = node(.log = "1@1 2@1 3@1 4@1", .commit = 1, .applied = 1,
                             .config = &learner, .config_before = &before);
    campaign(f);
    save_all(f);
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    install_with(f, "2@1", &before); /* below it: nothing is decided */
    assert_int_equal(f->view.role, KELP_PRE_CANDIDATE);
    install_with(f, "4@1", &learner);
    MARK_HIT(f, SNAPSHOT_KEPT_LOG);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    fixture_close(f);
}

/* ---- what is saved ---- */

/* A save resets behind its entries, so those that follow wait for the next one. */
static void a_reset_is_saved_alone_and_before_what_follows(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1", .commit = 1, .applied = 1);
    offer(f, 2, "9@1");
    install(f, "9@1");
    append(f, .prev = "9@1", .entries = "10@1 11@1");
    assert_int_equal(f->view.last, 11);
    take(f);
    assert_int_equal(f->save_count, 2);
    assert_int_equal(f->saves[0].flags, KELP_SAVE_RESET);
    assert_pos(f->saves[0].end, "9@1");
    assert_int_equal(f->saves[1].flags, KELP_SAVE_APPEND);
    assert_int_equal(f->saves[1].first, 10);
    assert_int_equal(f->saves[1].last, 11);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 2)->answer.match, 9);
    saved_up_to(f, 1);
    assert_int_equal(f->view.durable, 9);
    saved_up_to(f, 2);
    assert_int_equal(f->view.durable, 11);
    fixture_close(f);
}

/* The saves that were open hold entries that are in the log no more. */
static void older_reports_prove_nothing_beyond_it(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1", .commit = 1, .applied = 1);
    append(f, .prev = "1@1", .entries = "2@1 3@1 4@1");
    take(f);
    append(f, .prev = "4@1", .entries = "5@1 6@1 7@1");
    take(f);
    assert_int_equal(f->save_count, 2);
    receive(f, offer_of(f, 3, 2, "5@2"));
    take(f);
    assert_int_equal(f->save_count, 3); /* the term */
    install(f, "5@2");
    append(f, .from = 3, .prev = "5@2", .entries = "6@2 7@2");
    take(f);
    assert_int_equal(f->save_count, 5);
    assert_int_equal(f->view.durable, 5);
    for (uint64_t number = 1; number <= 4; number++) {
        saved_up_to(f, number);
        assert_int_equal(f->view.durable, 5);
        take(f);
        const struct kelp_message *answer = sent(f, KELP_MSG_ANSWER, 3);
        if (answer != NULL) assert_true(answer->answer.match <= 5);
    }
    saved_up_to(f, 5);
    assert_int_equal(f->view.durable, 7);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_ANSWER, 3)->answer.match, 7);
    fixture_close(f);
}

/* The save of a cut would come behind the reset, and cut what is not there. */
static void a_cut_that_was_not_saved_yet_is_saved_no_more(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1 3@1 4@1", .term = 2, .commit = 1, .applied = 1);
    append(f, .prev = "1@1", .entries = "2@2");
    MARK_HIT(f, LOG_TRUNCATED);
    install(f, "9@2");
    take(f);
    assert_int_equal(f->save_count, 1);
    assert_int_equal(f->saves[0].flags, KELP_SAVE_RESET);
    assert_pos(f->saves[0].end, "9@2");
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(below_the_commit_index_it_answers_where_it_is),
        cmocka_unit_test(below_the_base_it_answers_where_it_is),
        cmocka_unit_test(in_the_log_with_the_same_term_it_is_committed_so_far),
        cmocka_unit_test(beyond_the_log_it_is_fetched),
        cmocka_unit_test(where_another_entry_stands_it_is_fetched_and_nothing_is_cut),
        cmocka_unit_test(an_unknown_term_is_looked_up_first),
        cmocka_unit_test(a_term_that_was_looked_up_and_differs_is_fetched),
        cmocka_unit_test(what_makes_no_sense_is_ignored),
        cmocka_unit_test(an_offer_of_a_lower_term_is_told_ours),
        cmocka_unit_test(an_offer_of_a_higher_term_ends_a_leadership),
        cmocka_unit_test(two_leaders_of_a_term_are_a_fault_here_too),
        cmocka_unit_test(one_that_contradicts_what_is_committed_is_a_fault),
        cmocka_unit_test(who_is_offered_one_hears_its_leader),
        cmocka_unit_test(an_offer_answers_the_round_it_carries),
        cmocka_unit_test(a_log_that_ends_before_it_is_reset),
        cmocka_unit_test(a_log_with_another_entry_there_is_reset),
        cmocka_unit_test(a_log_with_the_same_entry_there_stays_with_all_that_follows),
        cmocka_unit_test(its_configuration_is_not_adopted_by_a_log_that_stays),
        cmocka_unit_test(an_unknown_term_is_looked_up_before_the_log_is_judged),
        cmocka_unit_test(a_leader_resets_nothing),
        cmocka_unit_test(one_that_differs_from_what_is_committed_is_a_fault),
        cmocka_unit_test(a_configuration_that_cannot_be_used_is_a_fault),
        cmocka_unit_test(a_snapshot_of_a_higher_term_brings_that_term),
        cmocka_unit_test(one_committed_in_a_higher_term_brings_that_term),
        cmocka_unit_test(one_committed_in_a_higher_term_ends_a_leadership),
        cmocka_unit_test(one_committed_in_a_lower_term_changes_no_term),
        cmocka_unit_test(what_is_told_of_one_is_ignored_after_a_fault),
        cmocka_unit_test(proposals_whose_place_it_covers_are_uncertain),
        cmocka_unit_test(a_change_in_what_was_reset_is_no_more),
        cmocka_unit_test(who_stands_does_not_go_on_with_another_log),
        cmocka_unit_test(
            who_stands_by_what_might_be_taken_back_stands_no_more_once_it_is_committed),
        cmocka_unit_test(a_reset_is_saved_alone_and_before_what_follows),
        cmocka_unit_test(older_reports_prove_nothing_beyond_it),
        cmocka_unit_test(a_cut_that_was_not_saved_yet_is_saved_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
