/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - what clients are told, against what was committed.
 *
 * DONE means committed, with the result of that position. A definite error (REFUSED, LOST) means
 * that it never happened and never will. A read returns what was committed and not yet replaced at
 * the moment it was asked, and never less than its own line has seen. Values are unique, so every
 * answer can be looked up in the order of commits; no history is searched. */
#include "base/endian.h"
#include "base/min.h"
#include "sim/checker_room.h"

typedef unsigned long long ull;

void checker_write_committed(struct checker *c, kelp_index index, const struct known_entry *entry)
{
    struct write_record *write = checker_write(c, entry->value);
    if (write == NULL || !checker_register_reserve(c, entry->name)) return;
    if (write->refused)
        checker_fail(c, RULE_I25, "value %llx was refused and is committed at %llu",
                     (ull)entry->value, (ull)index);
    if (write->at != 0)
        checker_fail(c, RULE_I25, "value %llx is committed at %llu and again at %llu",
                     (ull)entry->value, (ull)write->at, (ull)index);
    struct register_state *r = &c->registers[entry->name];
    write->at = index;
    write->before = r->value;
    if (r->value != 0) {
        struct write_record *before = checker_write(c, r->value);
        if (before != NULL) before->next = index;
    }
    if (r->first == 0) r->first = index;
    r->value = entry->value;
    c->client_commits++;
}

static void write_done(struct checker *c, const struct checker_request *q,
                       const struct write_record *write, struct kelp_pos pos,
                       struct kelp_bytes result)
{
    if (pos.index == 0 || pos.index > c->commit_max || c->commits[pos.index].value != q->value ||
        c->commits[pos.index].term != pos.term.v) {
        checker_fail(c, RULE_I25, "value %llx is answered DONE at %llu@%llu; committed at %llu",
                     (ull)q->value, (ull)pos.index, (ull)pos.term.v, (ull)write->at);
        return;
    }
    if (result.len != 8 || load_u64(result.data) != write->before)
        checker_fail(c, RULE_I25, "value %llx at %llu is answered with %llx; it replaced %llx",
                     (ull)q->value, (ull)pos.index,
                     (ull)(result.len == 8 ? load_u64(result.data) : 0), (ull)write->before);
    if (pos.index <= *q->floor)
        checker_fail(c, RULE_S01, "value %llx at %llu; its line has seen %llu before",
                     (ull)q->value, (ull)pos.index, (ull)*q->floor);
    *q->floor = max_u64(*q->floor, pos.index);
}

static void write_refused(struct checker *c, const struct checker_request *q,
                          struct write_record *write, enum kelp_outcome outcome,
                          struct kelp_pos pos)
{
    write->refused = true;
    if (write->at != 0)
        checker_fail(c, RULE_I25, "value %llx is answered %s and is committed at %llu",
                     (ull)q->value, kelp_outcome_name(outcome), (ull)write->at);
    if (outcome == KELP_LOST && (pos.index == 0 || pos.index > c->commit_max))
        checker_fail(c, RULE_I25, "value %llx is answered LOST at %llu, where nothing is committed",
                     (ull)q->value, (ull)pos.index);
}

static void read_done(struct checker *c, const struct checker_request *q, struct kelp_bytes result)
{
    if (result.len != 8) {
        checker_fail(c, RULE_I24, "a read of register %u returns %zu bytes", q->name, result.len);
        return;
    }
    uint64_t value = load_u64(result.data);
    kelp_index at = 0, next = 0;
    if (value != 0) {
        const struct write_record *write = checker_write(c, value);
        if (write == NULL) return;
        at = write->at;
        next = write->next;
        if (at == 0) {
            checker_fail(c, RULE_I24, "a read of register %u returns %llx, which is not committed",
                         q->name, (ull)value);
            return;
        }
    } else {
        if (!checker_register_reserve(c, q->name)) return;
        next = c->registers[q->name].first;
    }
    if (next != 0 && next <= q->commit_at_call)
        checker_fail(c, RULE_I22,
                     "a read of register %u returns %llx of index %llu, replaced at %llu; %llu was "
                     "committed when it was asked",
                     q->name, (ull)value, (ull)at, (ull)next, (ull)q->commit_at_call);
    if (next != 0 && next <= *q->floor)
        checker_fail(c, RULE_S01,
                     "a read of register %u returns %llx, replaced at %llu; its line has seen %llu",
                     q->name, (ull)value, (ull)next, (ull)*q->floor);
    *q->floor = max_u64(*q->floor, at);
}

void checker_answered(struct checker *c, const struct checker_request *q, enum kelp_outcome outcome,
                      struct kelp_pos pos, struct kelp_bytes result)
{
    if (q->read) {
        if (outcome == KELP_DONE) read_done(c, q, result);
        return;
    }
    struct write_record *write = checker_write(c, q->value);
    if (write == NULL) return;
    switch (outcome) {
    case KELP_DONE: write_done(c, q, write, pos, result); return;
    case KELP_REFUSED:
    case KELP_LOST: write_refused(c, q, write, outcome, pos); return;
    case KELP_UNKNOWN: return;
    }
    checker_fail(c, RULE_I25, "value %llx is answered with outcome %d", (ull)q->value,
                 (int)outcome);
}
