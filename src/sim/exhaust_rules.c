/* SPDX-License-Identifier: Apache-2.0 */
/* exhaust_rules.c - what must hold between the nodes of an explored world, over all its past.
 *
 * A world remembers two things that no node needs to remember: who became leader of each term, and
 * what was committed at each index, by whoever said so first. The rules are looked at where they
 * can break: I01 and I08 when somebody becomes leader, I09 and I12 when a commit index grows, I07
 * when a log has other entries than before, I14 when an acknowledgement leaves, I16 when entries
 * go. Those of one node alone are judged by exhaust_cell.c. [fig 3.2] */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/min.h"
#include "sim/exhaust.h"

struct judge {
    const struct cells *s;
    const struct kelp_sim_scope *scope;
    struct action action;
    const struct move *move;
    const struct world_state *was;
    struct world_state *next;
    const struct cell *from, *to;
    struct verdict *verdict;
};

static const struct {
    unsigned rule;
    const char *name;
} names[] = {
    {0, "I00 CoreRules"},         {1, "I01 ElectionSafety"},     {2, "I02 OneVote"},
    {3, "I03 VoteDurable"},       {4, "I04 TermMonotonic"},      {5, "I05 TermBeforeLog"},
    {7, "I07 LogMatching"},       {8, "I08 LeaderCompleteness"}, {9, "I09 StateMachineSafety"},
    {12, "I12 CommitRule"},       {14, "I14 AckDurable"},        {15, "I15 AckKept"},
    {16, "I16 NoTruncCommitted"}, {25, "I25 OKHonest"},
};

const char *rules_name(unsigned rule)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (names[i].rule == rule) return names[i].name;
    }
    return "unknown rule";
}

bool rules_apply(const struct kelp_sim_scope *scope, unsigned rule)
{
    return (scope->rules >> rule & 1u) != 0;
}

static bool broken(struct judge *j, unsigned rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Returns false, the verdict, so that a rule can end with it; true if the rule is not judged. */
static bool broken(struct judge *j, unsigned rule, const char *format, ...)
{
    if (!rules_apply(j->scope, rule)) return true;
    j->verdict->rule = rule;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(j->verdict->words, sizeof j->verdict->words, format, args);
    va_end(args);
    return false;
}

/* Entries 1..last of two logs are the same. */
static bool same_up_to(const struct log_terms *a, const struct log_terms *b, uint8_t last)
{
    return a->last >= last && b->last >= last && memcmp(a->terms, b->terms, last + 1u) == 0;
}

/* The same node twice counts as two: it made its entries of that term anew. */
static bool judge_leader(struct judge *j)
{
    uint8_t term = j->to->term, self = (uint8_t)(j->to->node + 1);
    uint8_t before = j->was->led[term];
    j->next->led[term] = self;
    if (before != 0 &&
        !broken(j, 1, "node %u and node %u became leader of term %u", before, self, term))
        return false;
    for (uint8_t i = 1; i <= LOG_MAX; i++) {
        uint8_t committed = committed_term(j->was, i);
        /* a leader elected late, when a later term has begun, can commit nothing any more */
        if (j->was->committed[i] >> COMMITTED_IN >= term) continue;
        if (committed == 0 || (i <= j->to->log.last && j->to->log.terms[i] == committed)) continue;
        if (!broken(j, 8, "node %u leads term %u without entry %u of term %u, which is committed",
                    self, term, i, committed))
            return false;
    }
    return true;
}

/* Of the nodes, as they are after the move, how many hold 1..last on disk as this one does? */
static uint32_t holders(const struct judge *j, uint8_t last)
{
    uint32_t count = 0;
    for (uint32_t node = 0; node < j->scope->nodes; node++) {
        const struct cell *cell = cells_at(j->s, j->next->cells[node]);
        if (same_up_to(&cell->disk.log, &j->to->log, last)) count++;
    }
    return count;
}

static bool judge_commit(struct judge *j)
{
    const struct cell *to = j->to;
    for (uint8_t i = (uint8_t)(j->move->commit_from + 1); i <= to->commit; i++) {
        uint8_t known = committed_term(j->next, i);
        /* whoever says so first is its leader, and of the term it is committed in */
        if (known == 0)
            j->next->committed[i] = (uint8_t)(to->term << COMMITTED_IN | to->log.terms[i]);
        if (known == 0 || known == to->log.terms[i]) continue;
        if (!broken(j, 9, "node %u commits entry %u of term %u, committed is that of term %u",
                    to->node + 1u, i, to->log.terms[i], known))
            return false;
    }
    if (to->role != KELP_LEADER) return true;
    if (to->log.terms[to->commit] != to->term &&
        !broken(j, 12, "leader %u of term %u commits up to entry %u of term %u", to->node + 1u,
                to->term, to->commit, to->log.terms[to->commit]))
        return false;
    uint32_t held = holders(j, to->commit);
    return held > j->scope->nodes / 2 ||
           broken(j, 12, "leader %u of term %u commits entry %u, which %u of %u disks hold",
                  to->node + 1u, to->term, to->commit, held, j->scope->nodes);
}

/* Two logs that agree about the term of an entry agree about everything before it. */
static bool judge_logs(struct judge *j)
{
    const struct log_terms *ours = &j->to->log;
    for (uint32_t node = 0; node < j->scope->nodes; node++) {
        const struct log_terms *theirs = &cells_at(j->s, j->next->cells[node])->log;
        uint8_t last = (uint8_t)min_u64(ours->last, theirs->last);
        while (last > 0 && ours->terms[last] != theirs->terms[last])
            last--;
        if (same_up_to(ours, theirs, last)) continue;
        if (!broken(j, 7, "nodes %u and %u have entry %u of term %u, and differ before it",
                    j->to->node + 1u, node + 1, last, ours->terms[last]))
            return false;
    }
    return true;
}

/* What an acknowledgement vouches for is what the leader it goes to has. */
static bool judge_sent(struct judge *j)
{
    for (uint8_t i = 0; i < j->move->sent_count; i++) {
        const struct packet *p = cells_packet(j->s, j->move->sent[i]);
        if (p->type != KELP_MSG_ANSWER || p->match == 0) continue;
        const struct cell *leader = cells_at(j->s, j->next->cells[p->to - 1]);
        if (leader->role != KELP_LEADER || leader->term != p->term) continue;
        if (same_up_to(&leader->log, &j->to->disk.log, p->match)) continue;
        if (!broken(j, 14, "node %u acknowledges 1..%u to leader %u, which has other entries",
                    p->from, p->match, p->to))
            return false;
    }
    return true;
}

static bool judge_cut(struct judge *j)
{
    bool crash = j->action.act == ACT_CRASH;
    const struct log_terms *log = crash ? &j->from->disk.log : &j->from->log;
    for (uint8_t i = (uint8_t)(j->move->cut_to + 1); i <= log->last; i++) {
        uint8_t committed = committed_term(j->was, i);
        if (committed == 0 || committed != log->terms[i]) continue;
        if (!broken(j, 16, "node %u %s entry %u of term %u, which is committed", j->to->node + 1u,
                    crash ? "lost" : "cuts", i, log->terms[i]))
            return false;
    }
    return true;
}

bool rules_judge(const struct cells *s, const struct kelp_sim_scope *scope, struct action action,
                 const struct move *move, const struct world_state *was, struct world_state *next,
                 struct verdict *verdict)
{
    struct judge j = {.s = s,
                      .scope = scope,
                      .action = action,
                      .move = move,
                      .was = was,
                      .next = next,
                      .from = cells_at(s, move->cell),
                      .to = cells_at(s, move->next),
                      .verdict = verdict};
    if ((move->flags & MOVE_LED) != 0 && !judge_leader(&j)) return false;
    if ((move->flags & MOVE_COMMIT) != 0 && !judge_commit(&j)) return false;
    if ((move->flags & MOVE_GREW) != 0 && !judge_logs(&j)) return false;
    if ((move->flags & MOVE_CUT) != 0 && !judge_cut(&j)) return false;
    return judge_sent(&j);
}
