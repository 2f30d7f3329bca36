/* SPDX-License-Identifier: Apache-2.0 */
/* conflict_test.c - a leader and a follower whose logs differ find where they part. [§3.5]
 *
 * A leader and a follower core, joined by hand, on every pair of logs of up to four entries of
 * three terms that Raft can produce (entries of one index and term have the same past). The
 * exchange must end with equal logs, cost at most one refusal for each term in which they differ,
 * and never more than walking back one entry at a time. */
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "fixture.h"

struct terms {
    uint32_t count;
    uint64_t at[LOG_MAX]; /* [0] is entry 1 */
};

static const char *text_of(const struct terms *t, char out[LOG_MAX * 8])
{
    size_t len = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < t->count; i++)
        len += (size_t)snprintf(out + len, LOG_MAX * 8 - len, "%s%u@%u", i > 0 ? " " : "", i + 1,
                                (unsigned)t->at[i]);
    return out;
}

/* How many first entries are the same; false: Raft cannot produce this pair. */
static bool common(const struct terms *a, const struct terms *b, uint32_t *same)
{
    *same = 0;
    while (*same < a->count && *same < b->count && a->at[*same] == b->at[*same])
        ++*same;
    for (uint32_t i = *same; i < a->count && i < b->count; i++) {
        if (a->at[i] == b->at[i]) return false;
    }
    return true;
}

static uint32_t terms_after(const struct terms *t, uint32_t same)
{
    uint32_t count = 0;
    for (uint32_t i = same; i < t->count; i++)
        count += i == same || t->at[i] != t->at[i - 1];
    return count;
}

struct meeting {
    struct fixture *leader, *follower;
    uint32_t refusals, rounds;
};

/* Carry messages both ways once; lookups and saves end at once. */
static void carry(struct meeting *m)
{
    struct fixture *ends[2] = {m->leader, m->follower};
    for (int side = 0; side < 2; side++) {
        struct fixture *from = ends[side], *to = ends[1 - side];
        save_all(from);
        look_up(from);
        save_all(from);
        for (size_t i = 0; i < from->message_count; i++) {
            const struct kelp_message *message = &from->messages[i];
            if (message->to != to->options.self) continue;
            m->refusals +=
                (message->flags & KELP_MF_REJECT) != 0 && message->type == KELP_MSG_ANSWER;
            deliver(from, to, message);
        }
        fixture_forget(from);
    }
    m->rounds++;
}

static bool agreed(const struct meeting *m)
{
    return peer_view(m->leader, 2)->match == m->leader->view.last;
}

static void meeting_close(struct meeting *m)
{
    assert_int_equal(m->follower->view.last, m->leader->view.last);
    for (kelp_index index = 1; index <= m->leader->view.last; index++)
        assert_int_equal(m->follower->terms[index].v, m->leader->terms[index].v);
    fixture_close(m->leader);
    fixture_close(m->follower);
}

static void check_pair(const struct terms *ours, const struct terms *theirs)
{
    uint32_t same;
    char ours_text[LOG_MAX * 8], theirs_text[LOG_MAX * 8];
    if (!common(ours, theirs, &same)) return;
    struct meeting m = {
        .leader = leader(.term = 3, .log = text_of(ours, ours_text), .voters = 2),
        .follower = node(.self = 2, .term = 4, .log = text_of(theirs, theirs_text), .voters = 2),
    };
    link_new(m.leader, 2); /* what was sent on the way to leadership is lost */
    while (!agreed(&m)) {
        if (m.rounds > 20) fail_msg("%s | %s never agree", ours_text, theirs_text);
        carry(&m);
    }
    uint32_t walk = ours->count - same; /* refusals when walking back one entry at a time */
    uint32_t ours_after = terms_after(ours, same), theirs_after = terms_after(theirs, same);
    uint32_t differ = ours_after < theirs_after ? ours_after : theirs_after;
    if (m.refusals > walk) fail_msg("%s | %s: %u refusals", ours_text, theirs_text, m.refusals);
    if (m.refusals > differ + 1)
        fail_msg("%s | %s: %u refusals for %u terms", ours_text, theirs_text, m.refusals, differ);
    meeting_close(&m);
}

static uint32_t small_logs(struct terms out[64])
{
    uint32_t count = 0;
    for (uint32_t length = 0; length <= 4; length++) {
        uint32_t numbers = 1;
        for (uint32_t i = 0; i < length; i++)
            numbers *= 3;
        for (uint32_t number = 0; number < numbers; number++) {
            struct terms t = {.count = length};
            uint32_t rest = number;
            bool ascends = true;
            for (uint32_t i = 0; i < length; i++, rest /= 3) {
                t.at[i] = 1 + rest % 3;
                ascends = ascends && (i == 0 || t.at[i] >= t.at[i - 1]);
            }
            if (ascends) out[count++] = t;
        }
    }
    return count;
}

/* [§3.5] */
static void every_pair_of_small_logs_agrees_after_one_probe_a_term(void **state)
{
    (void)state;
    struct terms all[64];
    uint32_t count = small_logs(all);
    for (uint32_t a = 0; a < count; a++) {
        for (uint32_t b = 0; b < count; b++)
            check_pair(&all[a], &all[b]);
    }
}

/* ---- longer logs whose terms are mostly forgotten: every answer may cost a lookup ---- */

static struct terms grown(struct prng *prng, const struct terms *from, uint32_t keep, uint64_t term)
{
    struct terms t = {.count = keep};
    memcpy(t.at, from->at, keep * sizeof *t.at);
    uint32_t more = (uint32_t)prng_between(prng, 0, 20);
    for (uint32_t i = 0; i < more; i++) {
        t.at[t.count++] = term;
        if (prng_chance(prng, 1, 2)) term += 2; /* the two logs never share a later term */
    }
    return t;
}

static void logs_longer_than_what_is_remembered_agree_too(void **state)
{
    (void)state;
    char ours_text[LOG_MAX * 8], theirs_text[LOG_MAX * 8];
    for (uint64_t seed = 0; seed < 150; seed++) {
        struct prng prng = {.state = seed};
        struct terms none = {0}, shared = grown(&prng, &none, 0, 1);
        uint32_t keep = (uint32_t)prng_below(&prng, shared.count + 1);
        struct terms ours = grown(&prng, &shared, shared.count, 100);
        struct terms theirs = grown(&prng, &shared, keep, 101);
        struct meeting m = {
            .leader = leader(.term = 200, .log = text_of(&ours, ours_text), .voters = 2, .tail = 8,
                             .runs = 4),
            .follower = node(.self = 2, .term = 201, .log = text_of(&theirs, theirs_text),
                             .voters = 2, .tail = 8, .runs = 4, .seed = 9),
        };
        link_new(m.leader, 2);
        while (!agreed(&m)) {
            if (m.rounds > 400) fail_msg("seed %u never ends", (unsigned)seed);
            carry(&m);
            pass(m.leader, 100 * MS);
            pass(m.follower, 100 * MS);
        }
        meeting_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_small_logs_agrees_after_one_probe_a_term),
        cmocka_unit_test(logs_longer_than_what_is_remembered_agree_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
