/* SPDX-License-Identifier: Apache-2.0 */
/* replicate_test.c - a leader and its peers: probe, stream, window, refusals, heartbeats, lookups.
 * [§3.5, §10.2.1] */
#include "fixture.h"

/* A leader of term 2 whose peer 2 streams: the empty entry is acknowledged. */
static struct fixture *streaming(const struct spec *spec)
{
    struct fixture *f = fixture_leader(spec);
    pass(f, 100 * MS); /* the probe that went out on the way to leadership is repeated */
    save_all(f);
    look_up(f);
    save_all(f);
    ack(f, 2, f->view.last);
    save_all(f);
    assert_int_equal(peer_view(f, 2)->flow, KELP_STREAM);
    fixture_forget(f);
    return f;
}
#define stream(...) streaming(&(struct spec){.dull = 0, __VA_ARGS__})

static void write_some(struct fixture *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        assert_true(client_writes(f, 1000 + f->view.last, 100, KELP_NEVER));
}

/* A refusal of the newest append to 2. */
static void refuse_newest(struct fixture *f, kelp_index hint, uint64_t hint_term)
{
    const struct kelp_message *append = sent(f, KELP_MSG_APPEND, 2);
    struct kelp_message m = answer_of(f, 2, 0);
    m.flags = KELP_MF_REJECT;
    m.attempt = append->attempt;
    m.answer.refused = append->append.prev;
    m.answer.hint = kelp_pos_of(hint, hint_term);
    receive(f, m);
}

/* ---- probing ---- */

/* HM RequestVote response */
static void a_new_leader_probes_behind_the_end_of_its_log(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1 2@1", .off = KELP_PRE_VOTE);
    campaign(f);
    save_all(f);
    receive(f, granted_of(f, 2));
    save_all(f);
    const struct kelp_message *m = sent(f, KELP_MSG_APPEND, 3);
    assert_pos(m->append.prev, "2@1");
    assert_int_equal(m->append.last, 3); /* the empty entry rides along */
    assert_int_equal(peer_view(f, 3)->flow, KELP_PROBE);
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 3), 1); /* one at a time */
    fixture_close(f);
}

static void an_unanswered_probe_is_repeated_each_heartbeat(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1");
    for (int i = 1; i <= 5; i++) {
        pass(f, 100 * MS);
        receive(f, answer_of(f, 3, 0)); /* contact */
        save_all(f);
        assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), i);
    }
    MARK_HIT(f, PROBE_REPEATED);
    fixture_close(f);
}

/* HM AppendEntries response */
static void an_accepted_probe_starts_the_stream(void **state)
{
    (void)state;
    struct fixture *f = stream(.log = "1@1");
    assert_int_equal(peer_view(f, 2)->next, f->view.last + 1);
    assert_int_equal(peer_view(f, 2)->match, f->view.last);
    write_some(f, 3);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), 1); /* three proposals, one message */
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.last, f->view.last);
    fixture_close(f);
}

/* the answer to the first copy says nothing about what only the second carried */
static void a_lost_repetition_of_a_probe_is_sent_again(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1");
    pass(f, 100 * MS);
    save_all(f);
    kelp_index first_last = sent(f, KELP_MSG_APPEND, 2)->append.last;
    write_some(f, 1);
    pass(f, 100 * MS);
    save_all(f);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.last, first_last + 1); /* and is lost */
    ack(f, 2, first_last);                                                      /* of the first */
    fixture_forget(f);
    for (int i = 0; i < 40; i++) {
        pass(f, 100 * MS);
        receive(f, answer_of(f, 3, 0));
        receive(f, answer_of(f, 2, first_last));
        save_all(f);
    }
    assert_non_null(sent(f, KELP_MSG_APPEND, 2));
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.prev.index, first_last);
    fixture_close(f);
}

/* ---- the window ---- */

/* HC net AppendEntriesPipeline_MaxRPCsInFlight */
static void the_stream_stops_at_the_window_and_goes_on_with_it(void **state)
{
    (void)state;
    struct fixture *f = stream(.window = 2, .message_entries = 2);
    kelp_index start = f->view.last;
    write_some(f, 7);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), 2);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.last, start + 4);
    assert_int_equal(peer_view(f, 2)->inflight_messages, 2);
    MARK_HIT(f, WINDOW_FULL);
    ack(f, 2, start + 2);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), 3);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.prev.index, start + 4);
    fixture_close(f);
}

static void the_window_is_bounded_in_bytes_too(void **state)
{
    (void)state;
    struct fixture *f = stream(.message_bytes = 150, .window_bytes = 250);
    write_some(f, 9); /* of 100 bytes */
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), 3);
    assert_int_equal(peer_view(f, 2)->inflight_bytes, 300); /* the last one began below the limit */
    fixture_close(f);
}

static void one_entry_always_goes_however_large(void **state)
{
    (void)state;
    struct fixture *f = stream(.message_bytes = 10, .window_bytes = 10, .window = 1);
    kelp_index start = f->view.last;
    write_some(f, 2);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.last, start + 1);
    ack(f, 2, start + 1);
    take(f);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.last, start + 2);
    fixture_close(f);
}

static void tell_space(struct fixture *f, kelp_id from, kelp_index match, enum kelp_space space)
{
    struct kelp_message m = answer_of(f, from, match);
    m.answer.health = (uint32_t)space;
    receive(f, m);
}

/* It drops the first of them, and would refuse those behind it, to be sent again at once. */
static void a_follower_whose_disk_is_full_is_sent_one_append_at_a_time(void **state)
{
    (void)state;
    struct fixture *f = stream();
    kelp_index start = f->view.last;
    tell_space(f, 2, start, KELP_SPACE_NONE);
    for (unsigned i = 1; i <= 4; i++) {
        write_some(f, 1);
        take(f);
        assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), 1);
        assert_int_equal(peer_view(f, 2)->inflight_messages, 1);
    }
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.last, start + 1);
    tell_space(f, 2, start, KELP_SPACE_LAST);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_APPEND, 2), 2); /* now all that is left */
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.last, start + 4);
    fixture_close(f);
}

static void a_window_that_is_wholly_lost_is_probed_again_from_match(void **state)
{
    (void)state;
    struct fixture *f = stream();
    kelp_index start = f->view.last;
    write_some(f, 3);
    take(f);
    fixture_forget(f);
    for (int i = 0; i < 12; i++) { /* contact goes on, match does not grow */
        pass(f, 100 * MS);
        receive(f, answer_of(f, 2, start));
        save_all(f);
    }
    MARK_HIT(f, WINDOW_LOST);
    assert_int_equal(peer_view(f, 2)->flow, KELP_PROBE);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.prev.index, start);
    fixture_close(f);
}

static void progress_keeps_a_window_from_being_called_lost(void **state)
{
    (void)state;
    struct fixture *f = stream();
    kelp_index start = f->view.last;
    write_some(f, 10);
    take(f);
    for (uint32_t i = 1; i <= 10; i++) {
        pass(f, 900 * MS);
        receive(f, answer_of(f, 2, start + i));
        save_all(f);
    }
    MARK_MISS(f, WINDOW_LOST);
    fixture_close(f);
}

static void a_new_connection_is_probed_from_match(void **state)
{
    (void)state;
    struct fixture *f = stream();
    kelp_index start = f->view.last;
    write_some(f, 2);
    take(f);
    link_new(f, 2);
    take(f);
    assert_int_equal(peer_view(f, 2)->flow, KELP_PROBE);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.prev.index, start);
    fixture_close(f);
}

/* match is 0 then, and that says nothing about the peer's log */
static void a_new_connection_before_the_first_answer_does_not_start_at_the_beginning(void **state)
{
    (void)state;
    struct fixture *f = leader(.base = "10@1", .log = "11@1 12@1", .commit = 12, .applied = 12);
    link_new(f, 2);
    take(f);
    assert_int_equal(peer_view(f, 2)->flow, KELP_PROBE);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.prev.index, 12);
    MARK_MISS(f, PEER_NEEDS_SNAPSHOT);
    fixture_close(f);
}

/* ---- refusals ---- */

/* [§3.5] */
static void a_refusal_moves_the_probe_to_the_hint(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@1 3@4 4@4 5@5 6@5");
    pass(f, 100 * MS);
    save_all(f);
    refuse_newest(f, 4, 4);
    take(f);
    look_up(f); /* sizes from before the boot */
    take(f);
    assert_pos(sent(f, KELP_MSG_APPEND, 2)->append.prev, "4@4");
    refuse_newest(f, 3, 3); /* it has other entries at 3 and 4, of term 3 and below */
    take(f);
    look_up(f);
    take(f);
    assert_pos(sent(f, KELP_MSG_APPEND, 2)->append.prev, "2@1");
    fixture_close(f);
}

static void the_refusal_of_a_superseded_attempt_is_ignored(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@1 3@1");
    pass(f, 100 * MS);
    save_all(f);
    struct kelp_message old = answer_of(f, 2, 0);
    const struct kelp_message *append = sent(f, KELP_MSG_APPEND, 2);
    old.flags = KELP_MF_REJECT;
    old.attempt = append->attempt;
    old.answer.refused = append->append.prev;
    old.answer.hint = kelp_pos_of(1, 1);
    link_new(f, 2); /* a new attempt */
    receive(f, old);
    MARK_HIT(f, REJECT_SUPERSEDED);
    assert_int_equal(peer_view(f, 2)->next, 4);
    fixture_close(f);
}

static void a_refusal_below_what_is_matched_is_ignored(void **state)
{
    (void)state;
    struct fixture *f = stream(.log = "1@1 2@1");
    write_some(f, 1);
    take(f);
    struct kelp_message m = answer_of(f, 2, 0);
    m.flags = KELP_MF_REJECT;
    m.attempt = sent(f, KELP_MSG_APPEND, 2)->attempt;
    m.answer.refused = kelp_pos_of(2, 1);
    m.answer.hint = kelp_pos_of(1, 1);
    receive(f, m);
    MARK_HIT(f, REJECT_BELOW_MATCH);
    assert_int_equal(peer_view(f, 2)->flow, KELP_STREAM);
    fixture_close(f);
}

/* DG TestNewMemberSubmit */
static void a_follower_that_matches_nowhere_gets_the_log_from_the_start(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@1 3@1");
    pass(f, 100 * MS);
    save_all(f);
    refuse_newest(f, 0, 0); /* an empty log */
    take(f);
    assert_pos(sent(f, KELP_MSG_APPEND, 2)->append.prev, "0@0");
    ack(f, 2, 0);
    take(f);
    look_up(f); /* their sizes are not told at boot */
    take(f);
    assert_pos(sent(f, KELP_MSG_APPEND, 2)->append.prev, "0@0");
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.last, 4);
    fixture_close(f);
}

static void absurd_refusals_leave_next_within_the_log(void **state)
{
    (void)state;
    static const uint64_t odd[] = {0, 1, 3, 4, 5, 1000, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < 512; i++) {
        struct fixture *f = leader(.log = "1@1 2@1 3@1");
        pass(f, 100 * MS);
        save_all(f);
        struct kelp_message m = answer_of(f, 2, 0);
        m.flags = KELP_MF_REJECT;
        m.attempt = sent(f, KELP_MSG_APPEND, 2)->attempt;
        m.answer.refused = kelp_pos_of(odd[i % 8], 1);
        m.answer.hint = kelp_pos_of(odd[i / 8 % 8], odd[i / 64]);
        receive(f, m); /* kelp_check looks at next */
        take(f);
        for (size_t n = 0; n < f->lookup_count; n++)
            assert_true(f->lookups[n].index <= f->view.last);
        fixture_close(f);
    }
}

/* ---- what answers say besides ---- */

static void a_match_beyond_the_log_is_ignored(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1");
    receive(f, answer_of(f, 2, 99));
    receive(f, answer_of(f, 2, UINT64_MAX));
    assert_int_equal(peer_view(f, 2)->match, 0);
    assert_int_equal(f->view.commit, 0);
    MARK_HIT(f, MATCH_BEYOND_LOG);
    fixture_close(f);
}

/* HC TestCommitment_match_nonVoting */
static void an_answer_from_a_stranger_counts_for_nothing(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1");
    receive(f, answer_of(f, 8, 2));
    receive(f, answer_of(f, 9, 2));
    assert_int_equal(f->view.commit, 0);
    MARK_HIT(f, MESSAGE_UNKNOWN_SENDER);
    fixture_close(f);
}

/* its log is complete, but it verified nothing against us since */
static void a_restarted_peer_is_shown_where_it_stands(void **state)
{
    (void)state;
    struct fixture *f = stream(.log = "1@1");
    for (int i = 0; i < 3; i++) {
        pass(f, 100 * MS);
        save_all(f);
        struct kelp_message m = answer_of(f, 2, 0);
        m.id = sent(f, KELP_MSG_HEARTBEAT, 2)->id;
        receive(f, m);
        take(f);
    }
    const struct kelp_message *m = sent(f, KELP_MSG_APPEND, 2);
    assert_non_null(m);
    assert_int_equal(m->append.prev.index, f->view.last);
    fixture_close(f);
}

/* ---- heartbeats ---- */

/* HM heartbeat timeout */
static void a_leader_sends_heartbeats_and_nobody_else_does(void **state)
{
    (void)state;
    struct fixture *f = stream();
    take(f);
    size_t before = sent_count(f, KELP_MSG_HEARTBEAT, 2);
    kelp_ns due = f->deadline;
    pass(f, due - f->now - 1);
    take(f);
    assert_int_equal(sent_count(f, KELP_MSG_HEARTBEAT, 2), before);
    for (int i = 0; i < 10; i++) {
        pass(f, 100 * MS);
        receive(f, answer_of(f, 2, f->view.last));
        save_all(f);
    }
    size_t beats = sent_count(f, KELP_MSG_HEARTBEAT, 2) - before;
    assert_in_range(beats, 9, 11);
    const struct kelp_message *m = sent(f, KELP_MSG_HEARTBEAT, 2);
    assert_int_equal(m->append.commit, f->view.commit);
    fixture_close(f);
    f = node();
    pass(f, 500 * MS);
    take(f);
    assert_int_equal(f->message_count, 0);
    fixture_close(f);
}

/* HC TestRaft_LeaderLeaseExpire [§6.2] */
static void a_leader_without_a_quorum_steps_down(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3);
    pass(f, 900 * MS);
    receive(f, answer_of(f, 2, 0));
    pass(f, 1000 * MS);
    assert_int_equal(f->view.role, KELP_LEADER);
    pass(f, 1 * MS);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    assert_int_equal(f->view.leader, 0);
    assert_int_equal(f->view.term.v, 2);
    MARK_HIT(f, QUORUM_LOST);
    fixture_close(f);
}

static void without_check_quorum_a_leader_stays(void **state)
{
    (void)state;
    struct fixture *f = leader(.off = KELP_CHECK_QUORUM);
    pass(f, 60000 * MS);
    assert_int_equal(f->view.role, KELP_LEADER);
    fixture_close(f);
}

static void a_learners_contact_keeps_no_leader(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 3, .learners = 3);
    for (int i = 0; i < 11; i++) {
        pass(f, 100 * MS);
        for (kelp_id id = 4; id <= 6; id++)
            receive(f, answer_of(f, id, 0));
    }
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    fixture_close(f);
}

/* Whoever has only the benefit of the doubt is not told of as one that answers. */
static void what_may_still_be_lost_is_of_those_that_answered_this_leader(void **state)
{
    (void)state;
    struct fixture *f = leader(.voters = 5);
    assert_int_equal(f->view.spare, 0);
    for (kelp_id id = 2; id <= 5; id++) {
        assert_int_equal(f->view.peers[id - 1].contact, 0);
        pass(f, 10 * MS);
        receive(f, answer_of(f, id, 0));
        assert_int_equal(f->view.peers[id - 1].contact, f->now);
        assert_int_equal(f->view.spare, id < 3 ? 0 : id - 3); /* itself is heard, three decide */
    }
    pass(f, 980 * MS);
    receive(f, answer_of(f, 5, 0));
    assert_int_equal(f->view.spare, 1); /* 2 is silent for longer than one election timeout */
    fixture_close(f);
    f = node(.voters = 5);
    assert_int_equal(f->view.spare, 2); /* who does not lead knows only what there is */
    fixture_close(f);
}

/* What comes again was true once. */
static void an_answer_that_comes_again_is_no_contact(void **state)
{
    (void)state;
    struct fixture *f = leader();
    struct kelp_message first = answer_of(f, 2, 0), second = answer_of(f, 2, 0);
    pass(f, 300 * MS);
    receive(f, second);
    kelp_ns heard = kelp_contact(f->core);
    assert_int_equal(heard, f->now);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(f->view.role, KELP_LEADER);
        pass(f, 100 * MS);
        receive(f, first);
        receive(f, second);
        assert_int_equal(kelp_contact(f->core), heard);
    }
    pass(f, 1 * MS);
    assert_int_equal(f->view.role, KELP_FOLLOWER);
    fixture_close(f);
}

static void a_message_that_comes_again_is_no_contact(void **state)
{
    (void)state;
    struct fixture *f = node(.log = "1@1");
    struct kelp_message first = heartbeat_of(f, 2, 3), second = heartbeat_of(f, 2, 3);
    receive(f, second);
    kelp_ns heard = kelp_contact(f->core);
    assert_int_equal(heard, f->now);
    pass(f, 300 * MS);
    receive(f, first);
    receive(f, second);
    assert_int_equal(kelp_contact(f->core), heard);
    assert_int_equal(f->view.leader, 2);
    receive(f, heartbeat_of(f, 2, 3));
    assert_int_equal(kelp_contact(f->core), f->now);
    pass(f, 300 * MS);
    struct kelp_message next = heartbeat_of(f, 3, 4); /* who leads next has numbers of its own */
    next.id = 1;
    receive(f, next);
    assert_int_equal(kelp_contact(f->core), f->now);
    fixture_close(f);
}

static void a_silent_peer_is_noticed_and_welcomed_back(void **state)
{
    (void)state;
    struct fixture *f = leader();
    for (int i = 0; i < 11; i++) {
        pass(f, 100 * MS);
        receive(f, answer_of(f, 3, 0));
    }
    MARK_HIT(f, PEER_SILENT);
    receive(f, answer_of(f, 2, 0));
    MARK_HIT(f, PEER_BACK);
    fixture_close(f);
}

/* ---- lookups: what is older than the tables ---- */

static void entries_older_than_the_tables_are_looked_up_and_sent(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@2 3@3 4@4 5@5 6@6", .runs = 4, .tail = 8);
    pass(f, 100 * MS);
    save_all(f);
    refuse_newest(f, 1, 1);
    take(f);
    assert_int_equal(f->lookup_count, 1); /* below the runs: the place itself is asked for */
    look_up(f);
    take(f);
    const struct kelp_message *m = sent(f, KELP_MSG_APPEND, 2);
    assert_pos(m->append.prev, "1@1");
    fixture_close(f);
}

static void a_lookup_of_another_revision_is_ignored(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@2 3@3 4@4 5@5 6@6", .runs = 4);
    pass(f, 100 * MS);
    save_all(f);
    refuse_newest(f, 1, 1);
    take(f);
    struct kelp_lookup lookup = f->lookups[0];
    lookup.revision += 7;
    looked_up(f, KELP_IN_FOUND, &lookup, kelp_pos_of(1, 1), kelp_pos_of(3, 3));
    MARK_HIT(f, LOOKUP_STALE);
    fixture_forget(f);
    take(f);
    assert_null(sent(f, KELP_MSG_APPEND, 2));
    fixture_close(f);
}

static void a_peer_whose_entries_are_gone_needs_a_snapshot(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@2 3@3 4@4 5@5 6@6", .runs = 4);
    pass(f, 100 * MS);
    save_all(f);
    refuse_newest(f, 1, 1);
    take(f);
    looked_up(f, KELP_IN_GONE, &f->lookups[0], kelp_pos_of(1, 0), kelp_pos_of(1, 0));
    assert_int_equal(peer_view(f, 2)->flow, KELP_NEEDS_SNAPSHOT);
    MARK_HIT(f, PEER_NEEDS_SNAPSHOT);
    assert_false(f->faulted);
    fixture_close(f);
}

static void a_peer_that_seemed_to_need_a_snapshot_is_looked_at_again(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@2 3@3 4@4 5@5 6@6", .runs = 4);
    pass(f, 100 * MS);
    save_all(f);
    refuse_newest(f, 1, 1);
    take(f);
    looked_up(f, KELP_IN_GONE, &f->lookups[0], kelp_pos_of(1, 0), kelp_pos_of(1, 0));
    fixture_forget(f);
    for (int i = 0; i < 21; i++) {
        pass(f, 100 * MS);
        receive(f, answer_of(f, 3, 0));
        save_all(f);
    }
    assert_int_equal(peer_view(f, 2)->flow, KELP_PROBE);
    assert_int_equal(sent(f, KELP_MSG_APPEND, 2)->append.prev.index, f->view.last);
    fixture_close(f);
}

static void a_log_that_cannot_be_read_faults_the_node(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1 2@2 3@3 4@4 5@5 6@6", .runs = 4);
    pass(f, 100 * MS);
    save_all(f);
    refuse_newest(f, 1, 1);
    take(f);
    looked_up(f, KELP_IN_FAILED, &f->lookups[0], kelp_pos_of(1, 0), kelp_pos_of(1, 0));
    assert_true(f->faulted);
    MARK_HIT(f, LOOKUP_FAILED);
    fixture_close(f);
}

/* a caller that sleeps until the deadline must not spin */
static void a_waiting_lookup_asks_for_no_wake_up_in_the_past(void **state)
{
    (void)state;
    struct fixture *f = leader(.log = "1@1", .tail = 8, .voters = 2);
    for (int i = 0; i < 12; i++) {
        write_some(f, 1);
        save_all(f);
    }
    for (int i = 0; i < 8; i++) {
        pass(f, 50 * MS);
        save_all(f); /* lookups stay unanswered */
        assert_true(f->deadline > f->now);
    }
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_leader_probes_behind_the_end_of_its_log),
        cmocka_unit_test(an_unanswered_probe_is_repeated_each_heartbeat),
        cmocka_unit_test(an_accepted_probe_starts_the_stream),
        cmocka_unit_test(a_lost_repetition_of_a_probe_is_sent_again),
        cmocka_unit_test(the_stream_stops_at_the_window_and_goes_on_with_it),
        cmocka_unit_test(the_window_is_bounded_in_bytes_too),
        cmocka_unit_test(one_entry_always_goes_however_large),
        cmocka_unit_test(a_follower_whose_disk_is_full_is_sent_one_append_at_a_time),
        cmocka_unit_test(a_window_that_is_wholly_lost_is_probed_again_from_match),
        cmocka_unit_test(progress_keeps_a_window_from_being_called_lost),
        cmocka_unit_test(a_new_connection_is_probed_from_match),
        cmocka_unit_test(a_new_connection_before_the_first_answer_does_not_start_at_the_beginning),
        cmocka_unit_test(a_refusal_moves_the_probe_to_the_hint),
        cmocka_unit_test(the_refusal_of_a_superseded_attempt_is_ignored),
        cmocka_unit_test(a_refusal_below_what_is_matched_is_ignored),
        cmocka_unit_test(a_follower_that_matches_nowhere_gets_the_log_from_the_start),
        cmocka_unit_test(absurd_refusals_leave_next_within_the_log),
        cmocka_unit_test(a_match_beyond_the_log_is_ignored),
        cmocka_unit_test(an_answer_from_a_stranger_counts_for_nothing),
        cmocka_unit_test(a_restarted_peer_is_shown_where_it_stands),
        cmocka_unit_test(a_leader_sends_heartbeats_and_nobody_else_does),
        cmocka_unit_test(a_leader_without_a_quorum_steps_down),
        cmocka_unit_test(without_check_quorum_a_leader_stays),
        cmocka_unit_test(a_learners_contact_keeps_no_leader),
        cmocka_unit_test(what_may_still_be_lost_is_of_those_that_answered_this_leader),
        cmocka_unit_test(an_answer_that_comes_again_is_no_contact),
        cmocka_unit_test(a_message_that_comes_again_is_no_contact),
        cmocka_unit_test(a_silent_peer_is_noticed_and_welcomed_back),
        cmocka_unit_test(entries_older_than_the_tables_are_looked_up_and_sent),
        cmocka_unit_test(a_lookup_of_another_revision_is_ignored),
        cmocka_unit_test(a_peer_whose_entries_are_gone_needs_a_snapshot),
        cmocka_unit_test(a_peer_that_seemed_to_need_a_snapshot_is_looked_at_again),
        cmocka_unit_test(a_log_that_cannot_be_read_faults_the_node),
        cmocka_unit_test(a_waiting_lookup_asks_for_no_wake_up_in_the_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
