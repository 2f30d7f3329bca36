/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_expect.c - the point of a story as a condition, which no rewritten transcript can lose.
 *
 *   expect 3 reset-waits 8               a snapshot took its log's place, and no save says so yet
 *   expect 3 leader                      follower, pre-candidate, candidate, faulted, healthy,
 *                                        removed, down
 *   expect 3 term 2                      vote, knows (the leader), commit, applied, durable, first
 *   expect 1 lease held [until 950]      off, not-leading, no-commit, handed-over, differs, lapsed
 *   expect 3 last 7@2                    expect disk 3 last 7@2, term 2, vote 1, commit 7
 *   expect 3 saw VOTE_GRANTED [2]        in this block, at least once or exactly so often
 *   expect 3 no VOTE_GRANTED             not in this block;  never: not in the whole story
 *   expect token 7 DONE [@3]             REFUSED NOT_LEADER, LOST, UNKNOWN TIMEOUT, open; where
 *   expect peer 1 2 match 4              next 5, flow stream, inflight 1
 *   expect inflight 0 1->2 append        how many such messages are on their way
 *   expect config 3 1v,2v,4L             its newest;  config committed 3 1v,2v: the committed
 *   expect committed 7@2                 the last position committed anywhere */
#include "core/look.h"
#include "sim/scenario_room.h"

static unsigned long long u(uint64_t v)
{
    return (unsigned long long)v;
}

struct token *expect_token(struct scenario *s, uint64_t number)
{
    for (size_t i = 0; i < s->token_count; i++) {
        if (s->tokens[i].number == number) return &s->tokens[i];
    }
    return NULL;
}

static void expect_number(struct scenario *s, const char *what, uint64_t have)
{
    uint64_t want = words_number(s);
    if (want != have) scenario_failed(s, "%s is %llu, not %llu", what, u(have), u(want));
}

static void expect_pos(struct scenario *s, const char *what, struct kelp_pos have)
{
    struct kelp_pos want = words_pos(s);
    if (!kelp_pos_equal(have, want))
        scenario_failed(s, "%s is %llu@%llu, not %llu@%llu", what, u(have.index), u(have.term.v),
                        u(want.index), u(want.term.v));
}

static void expect_disk(struct scenario *s)
{
    const struct disk *disk = &words_node(s)->disk;
    if (words_take(s, "term"))
        expect_number(s, "the saved term", disk->term.v);
    else if (words_take(s, "vote"))
        expect_number(s, "the saved vote", disk->vote);
    else if (words_take(s, "commit"))
        expect_number(s, "the saved commit", disk->commit);
    else if (words_take(s, "last"))
        expect_pos(s, "the last saved", entries_tail(&disk->log));
    else
        words_end(s);
}

static void expect_at(struct scenario *s, const struct token *token)
{
    char have[24];
    (void)snprintf(have, sizeof have, "@%llu", u(token->answer.pos.index));
    if (strcmp(words_next(s), have) != 0)
        scenario_failed(s, "token %llu is answered with %s", u(token->number), have);
}

static void expect_answer(struct scenario *s)
{
    uint64_t number = words_number(s);
    const struct token *token = expect_token(s, number);
    if (token == NULL) scenario_stop(s, "there is no token %llu", u(number));
    const char *outcome = words_next(s);
    const char *have = token->answered ? kelp_outcome_name(token->answer.outcome) : "open";
    if (strcmp(have, outcome) != 0)
        scenario_failed(s, "token %llu is %s, not %s", u(number), have, outcome);
    if (!words_left(s)) return;
    if (words_peek(s)[0] == '@') {
        expect_at(s, token);
        return;
    }
    const char *reason = words_next(s), *given = kelp_reason_name(token->answer.reason);
    if (strcmp(reason, given) != 0)
        scenario_failed(s, "the reason of token %llu is %s, not %s", u(number), given, reason);
}

static void expect_peer(struct scenario *s)
{
    static const char *const flows[] = {"probe", "stream", "snapshot"};
    const struct node *node = words_node_up(s);
    kelp_id id = words_number(s);
    struct kelp_view view;
    kelp_view(node->core, &view);
    const struct kelp_peer_view *peer = NULL;
    for (uint32_t slot = 0; slot < view.peer_count; slot++) {
        if (view.peers[slot].id == id) peer = &view.peers[slot];
    }
    if (peer == NULL) scenario_stop(s, "%llu is no member", u(id));
    if (words_take(s, "match")) {
        expect_number(s, "match", peer->match);
    } else if (words_take(s, "next")) {
        expect_number(s, "next", peer->next);
    } else if (words_take(s, "inflight")) {
        expect_number(s, "inflight", peer->inflight_messages);
    } else if (words_take(s, "flow")) {
        const char *want = words_next(s), *have = flows[peer->flow % COUNT_OF(flows)];
        if (strcmp(want, have) != 0) scenario_failed(s, "flow is %s, not %s", have, want);
    } else {
        words_end(s);
    }
}

/* The members and their roles; where it stands does not matter. */
static void expect_config(struct scenario *s)
{
    bool committed = words_take(s, "committed");
    const struct node *node = words_node_up(s);
    struct kelp_config have, want = *words_config(s, words_next(s));
    char is[SCENARIO_LINE_MAX], wanted[SCENARIO_LINE_MAX];
    kelp_core_config(node->core, committed ? NULL : &have, committed ? &have : NULL);
    want.index = have.index;
    (void)kelp_describe_config(&have, is, sizeof is);
    (void)kelp_describe_config(&want, wanted, sizeof wanted);
    if (strcmp(is, wanted) != 0)
        scenario_failed(s, "the configuration of %llu is %s, not %s", u(node->id), is, wanted);
}

static void expect_committed(struct scenario *s)
{
    kelp_index index = rules_committed(s);
    struct kelp_pos have = {.index = index};
    if (index > 0) have.term = s->facts[index - 1].term;
    expect_pos(s, "the last committed anywhere", have);
}

static void expect_flight(struct scenario *s)
{
    uint64_t want = words_number(s);
    size_t have = post_matching(s);
    if (have != want)
        scenario_failed(s, "%zu such messages are in flight, not %llu", have, u(want));
}

/* ---- of one node ---- */

static bool expect_event(struct scenario *s, const struct node *node)
{
    bool saw = words_take(s, "saw"), never = !saw && words_take(s, "never");
    if (!saw && !never && !words_take(s, "no")) return false;
    enum kelp_event_type type = words_event(s);
    const uint32_t *seen = never ? node->seen_ever : node->seen_block;
    const char *name = kelp_event_name(type);
    if (!saw) {
        if (seen[type] > 0)
            scenario_failed(s, "node %llu saw %s %u times", u(node->id), name, seen[type]);
    } else if (words_left(s)) {
        uint64_t want = words_number(s);
        if (seen[type] != want)
            scenario_failed(s, "node %llu saw %s %u times, not %llu", u(node->id), name, seen[type],
                            u(want));
    } else if (seen[type] == 0) {
        scenario_failed(s, "node %llu did not see %s", u(node->id), name);
    }
    return true;
}

static void expect_role(struct scenario *s, const struct node *node, const struct kelp_view *view)
{
    const char *want = words_next(s), *have = kelp_role_name(view->role);
    if (strcmp(want, "faulted") == 0 || strcmp(want, "healthy") == 0) {
        if (view->faulted != (want[0] == 'f'))
            scenario_failed(s, "node %llu is not %s", u(node->id), want);
        return;
    }
    if (strcmp(want, "removed") == 0) {
        if (!view->removed) scenario_failed(s, "node %llu is not removed", u(node->id));
        return;
    }
    if (strcmp(want, "drained") == 0 || strcmp(want, "undrained") == 0) {
        if (view->drained != (want[0] == 'd'))
            scenario_failed(s, "node %llu is not %s", u(node->id), want);
        return;
    }
    bool known = strcmp(want, "down") == 0;
    for (int role = KELP_FOLLOWER; role <= KELP_LEADER; role++)
        known = known || strcmp(want, kelp_role_name((enum kelp_role)role)) == 0;
    if (!known) scenario_stop(s, "\"%s\" is nothing to expect", want);
    if (strcmp(want, have) != 0)
        scenario_failed(s, "node %llu is %s, not %s", u(node->id), have, want);
}

static void expect_lease(struct scenario *s, const struct node *node, const struct kelp_view *view)
{
    const char *want = words_next(s), *have = kelp_lease_name(view->lease);
    if (strcmp(want, have) != 0)
        scenario_failed(s, "the lease of %llu is %s, not %s", u(node->id), have, want);
    if (words_take(s, "until")) expect_number(s, "its end in ms", view->lease_until / 1000000u);
}

static void expect_node(struct scenario *s)
{
    const struct node *node = words_node(s);
    struct kelp_view view = {0};
    if (expect_event(s, node)) return;
    if (!node->up) {
        if (!words_take(s, "down")) scenario_failed(s, "node %llu is down", u(node->id));
        s->words.next = s->words.count;
        return;
    }
    kelp_view(node->core, &view);
    const struct {
        const char *word;
        uint64_t value;
    } numbers[] = {{"term", view.term.v},
                   {"vote", view.vote},
                   {"knows", view.leader},
                   {"commit", view.commit},
                   {"applied", view.applied},
                   {"durable", view.durable},
                   {"first", view.first},
                   {"everyone", view.everyone},
                   {"uncommitted", view.uncommitted_bytes},
                   {"proposals", view.proposals_open},
                   {"reads", view.reads_open},
                   {"transfer-to", view.transfer_to},
                   {"reset-waits", core_reset_waits(node->core).index}};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (!words_take(s, numbers[i].word)) continue;
        expect_number(s, numbers[i].word, numbers[i].value);
        return;
    }
    if (words_take(s, "last"))
        expect_pos(s, "the last entry", view.last_pos);
    else if (words_take(s, "lease"))
        expect_lease(s, node, &view);
    else
        expect_role(s, node, &view);
}

void expect_command(struct scenario *s)
{
    if (words_take(s, "disk"))
        expect_disk(s);
    else if (words_take(s, "token"))
        expect_answer(s);
    else if (words_take(s, "peer"))
        expect_peer(s);
    else if (words_take(s, "inflight"))
        expect_flight(s);
    else if (words_take(s, "config"))
        expect_config(s);
    else if (words_take(s, "committed"))
        expect_committed(s);
    else
        expect_node(s);
}
