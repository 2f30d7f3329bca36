/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - what clients are told, against what was committed.
 *
 * DONE means committed, with the result of that position. A definite error (REFUSED, LOST) means
 * that it never happened and never will. A read returns what was committed and not yet replaced at
 * the moment it was asked, and never less than its own line has seen; a quorum followed some leader
 * after that moment, or nobody could know it. A stale one may miss what is newer than its bound. A
 * read that names an index sees all up to it. Commands carry unique values
 * and the order of commits is known, so this file performs the commands itself, in a few lines of
 * its own, and remembers for every value of every register and list from where to where it stood;
 * every answer can be looked up, no history is searched. What ends by itself stands in lent.c. */
#include "base/endian.h"
#include "base/hash.h"
#include "base/min.h"
#include "sim/checker_room.h"

typedef unsigned long long ull;

#define VERSION_BIT (1ull << 63)

/* ---- the order of commits, performed ---- */

/* NULL: no memory. Values of clients stay below 2^63. */
struct write_record *checker_version(struct checker *c, uint32_t name, uint64_t value)
{
    return checker_write(c, VERSION_BIT | hash_mix(hash_mix(0x6e616d65, name + 1), value));
}

static void version_set(struct checker *c, uint32_t name, uint64_t value, kelp_index index)
{
    struct register_state *r = &c->registers[name];
    if (r->value != 0) {
        struct write_record *before = checker_version(c, name, r->value);
        if (before != NULL) before->next = index;
    }
    checker_lent_ends(c, name, index);
    if (r->first == 0) r->first = index;
    r->value = value;
    struct write_record *version = checker_version(c, name, value);
    if (version != NULL) version->at = index;
}

static uint64_t append_committed(struct checker *c, kelp_index index,
                                 const struct known_entry *entry)
{
    uint32_t *newest = &c->list_names[machine_list_place(entry->name)];
    uint64_t length = c->registers[entry->name].value;
    if (entry->name < *newest || length == MACHINE_LIST_MAX) return 0;
    *newest = entry->name;
    version_set(c, entry->name, length + 1, index);
    struct write_record *version = checker_version(c, entry->name, length + 1);
    if (version != NULL) version->before = entry->value;
    return length + 1;
}

/* Perform a command; its answer. */
static uint64_t command_committed(struct checker *c, kelp_index index,
                                  const struct known_entry *entry)
{
    uint64_t before = c->registers[entry->name].value;
    switch ((enum machine_kind)entry->more.kind) {
    case MACHINE_SET: version_set(c, entry->name, entry->value, index); return before;
    case MACHINE_SWAP:
        if (before == entry->more.expected) version_set(c, entry->name, entry->value, index);
        return before;
    case MACHINE_COUNT: version_set(c, entry->name, before + 1, index); return before + 1;
    case MACHINE_APPEND: return append_committed(c, index, entry);
    case MACHINE_SEVERAL:
        version_set(c, entry->name, entry->value, index);
        for (unsigned i = 0; i < entry->more.others; i++)
            version_set(c, entry->more.names[i], entry->value, index);
        return before;
    case MACHINE_LEND:
        version_set(c, entry->name, entry->value, index);
        checker_lend(c, entry->name, entry->more.lasts_ms);
        return before;
    case MACHINE_KINDS: break;
    }
    return before;
}

static bool names_reserve(struct checker *c, uint32_t name, const struct machine_more *more)
{
    bool room = checker_register_reserve(c, name);
    for (unsigned i = 0; room && i < more->others; i++)
        room = checker_register_reserve(c, more->names[i]);
    return room;
}

void checker_write_committed(struct checker *c, kelp_index index, const struct known_entry *entry)
{
    const struct write_record *asked = checker_write(c, entry->value);
    if (asked != NULL && entry->once.is && !checker_once_executes(c, &entry->once, asked->at))
        return;
    if (asked == NULL || !names_reserve(c, entry->name, &entry->more)) return;
    if (asked->refused)
        checker_fail(c, RULE_I25, "value %llx was refused and is committed at %llu",
                     (ull)entry->value, (ull)index);
    if (asked->at != 0)
        checker_fail(c, RULE_I25, "value %llx is committed at %llu and again at %llu",
                     (ull)entry->value, (ull)asked->at, (ull)index);
    uint64_t answer = command_committed(c, index, entry);
    struct write_record *write = checker_write(c, entry->value); /* the table may have moved */
    if (write == NULL) return;
    write->at = index;
    write->before = answer;
    c->client_commits++;
}

/* ---- commands ---- */

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
    if (q->once.is && (write->at == 0 || write->at > pos.index))
        checker_fail(c, RULE_S05, "value %llx is answered DONE at %llu; it was executed at %llu",
                     (ull)q->value, (ull)pos.index, (ull)write->at);
    if (result.len != 8 || load_u64(result.data) != write->before)
        checker_fail(c, RULE_I25, "value %llx at %llu is answered with %llx; right is %llx",
                     (ull)q->value, (ull)pos.index,
                     (ull)(result.len == 8 ? load_u64(result.data) : 0), (ull)write->before);
    if (pos.index <= *q->floor)
        checker_fail(c, RULE_S01, "value %llx at %llu; its line has seen %llu before",
                     (ull)q->value, (ull)pos.index, (ull)*q->floor);
    *q->floor = max_u64(*q->floor, pos.index);
}

void checker_never(struct checker *c, uint64_t value)
{
    struct write_record *write = checker_write(c, value);
    if (write == NULL) return;
    write->refused = true;
    if (write->at != 0)
        checker_fail(c, RULE_S05, "value %llx was always refused and is executed at %llu",
                     (ull)value, (ull)write->at);
}

static void write_refused(struct checker *c, const struct checker_request *q,
                          struct write_record *write, enum kelp_outcome outcome,
                          struct kelp_pos pos)
{
    if (q->once.is) {
        checker_once_refused(c, &q->once, q->value, q->reason);
        return;
    }
    write->refused = true;
    if (write->at != 0)
        checker_fail(c, RULE_I25, "value %llx is answered %s and is committed at %llu",
                     (ull)q->value, kelp_outcome_name(outcome), (ull)write->at);
    bool decided = pos.index <= c->commit_max || c->commits[c->commit_max].term > pos.term.v;
    if (outcome == KELP_LOST && (pos.index == 0 || !decided))
        checker_fail(c, RULE_I25,
                     "value %llx is answered LOST at %llu, where nothing is committed, nor of a "
                     "later term before it",
                     (ull)q->value, (ull)pos.index);
}

/* ---- reads ---- */

/* What this read must have seen at least. */
static kelp_index seen_at_least(const struct checker_request *q)
{
    kelp_index seen =
        q->stale ? max_u64(q->must_see, *q->stale_floor) : max_u64(q->commit_at_call, *q->floor);
    return max_u64(seen, q->at_least);
}

/* Narrow a span by one name's value; false: nobody ever wrote that. */
static bool span_narrow(struct checker *c, const struct checker_request *q, uint32_t name,
                        uint64_t value, struct span *span)
{
    struct span stood;
    if (value != 0) {
        const struct write_record *version = checker_version(c, name, value);
        if (version == NULL || version->at == 0) return version == NULL;
        stood = (struct span){version->at, version->next};
    } else {
        stood = checker_absence(c, name, seen_at_least(q));
    }
    span->at = max_u64(span->at, stood.at);
    if (stood.next != 0)
        span->next = span->next == 0 ? stood.next : min_u64(span->next, stood.next);
    return true;
}

static bool dirty(struct checker *c, uint32_t name, uint64_t value)
{
    checker_fail(c, RULE_I24, "a read of %u returns %llx, which is not committed", name,
                 (ull)value);
    return false;
}

/* A list: its elements are those that were appended, in that order; then its length is a value. */
static bool list_span(struct checker *c, const struct checker_request *q, struct kelp_bytes result,
                      struct span *span)
{
    uint64_t length = load_u64(result.data);
    if (length == MACHINE_GONE) {
        if (c->list_names[machine_list_place(q->name)] <= q->name)
            checker_fail(c, RULE_I24, "a read of list %u says that a newer one is there", q->name);
        return false; /* it is the newest of its place that stands there, whenever that came */
    }
    if (length > MACHINE_LIST_MAX || result.len != 8 + 8 * length) {
        checker_fail(c, RULE_I24, "a read of list %u returns %zu bytes and says %llu elements",
                     q->name, result.len, (ull)length);
        return false;
    }
    for (uint64_t i = 1; i <= length; i++) {
        const struct write_record *version = checker_version(c, q->name, i);
        uint64_t element = load_u64(result.data + 8 * i);
        if (version == NULL) return false;
        if (version->at == 0 || version->before != element) return dirty(c, q->name, element);
    }
    return span_narrow(c, q, q->name, length, span);
}

static bool values_span(struct checker *c, const struct checker_request *q,
                        struct kelp_bytes result, struct span *span)
{
    size_t names = 1u + q->more.others;
    if (result.len != 8 * names) {
        checker_fail(c, RULE_I24, "a read of register %u returns %zu bytes", q->name, result.len);
        return false;
    }
    for (size_t i = 0; i < names; i++) {
        uint32_t name = i == 0 ? q->name : q->more.names[i - 1];
        uint64_t value = load_u64(result.data + 8 * i);
        if (!span_narrow(c, q, name, value, span)) return dirty(c, name, value);
    }
    if (span->next == 0 || span->at < span->next) return true;
    checker_fail(c, RULE_I24, "a read of registers %u ... returns values that never stood together",
                 q->name);
    return false;
}

/* What a read names it sees, and what it says of itself in its index holds for the next one. */
static void token_kept(struct checker *c, const struct checker_request *q, struct span span,
                       struct kelp_pos pos)
{
    if (span.next != 0 && span.next <= q->at_least)
        checker_fail(c, RULE_S04, "a read of %u after %llu returns what was replaced at %llu",
                     q->name, (ull)q->at_least, (ull)span.next);
    if (pos.index != 0 && span.at > pos.index)
        checker_fail(c, RULE_S04,
                     "a read of %u shows %llu and says that it shows nothing above "
                     "%llu",
                     q->name, (ull)span.at, (ull)pos.index);
}

/* It may miss what is new, but not more than its bound says, nor what its like have seen before. */
static void stale_done(struct checker *c, const struct checker_request *q, struct span span)
{
    if (span.next != 0 && span.next <= q->must_see)
        checker_fail(c, RULE_I23,
                     "a stale read of %u returns what was replaced at %llu; %llu was committed "
                     "longer ago than it may miss",
                     q->name, (ull)span.next, (ull)q->must_see);
    if (span.next != 0 && span.next <= *q->stale_floor)
        checker_fail(c, RULE_S01,
                     "a stale read of %u returns what was replaced at %llu; one before it on its "
                     "line has seen %llu",
                     q->name, (ull)span.next, (ull)*q->stale_floor);
    *q->stale_floor = max_u64(*q->stale_floor, span.at);
}

/* Whoever led when it was asked leads still, and its clock had passed the deadline. */
static void lapsed_unread(struct checker *c, const struct checker_request *q, uint64_t value)
{
    const struct write_record *version = value != 0 ? checker_version(c, q->name, value) : NULL;
    if (version == NULL || version->due == 0 || version->due > q->cluster_clock) return;
    checker_fail(c, RULE_N12,
                 "a read of %u returns %llx, which was lent until %llu; the cluster clock was %llu "
                 "when it was asked",
                 q->name, (ull)value, (ull)version->due, (ull)q->cluster_clock);
}

static void read_done(struct checker *c, const struct checker_request *q, struct kelp_pos pos,
                      struct kelp_bytes result)
{
    struct span span = {0, 0};
    if (!names_reserve(c, q->name, &q->more)) return;
    bool list = q->more.kind == MACHINE_APPEND && result.len >= 8;
    if (!(list ? list_span(c, q, result, &span) : values_span(c, q, result, &span))) return;
    uint64_t value = load_u64(result.data);
    token_kept(c, q, span, pos);
    if (q->stale) {
        stale_done(c, q, span);
        return;
    }
    if (span.next != 0 && span.next <= q->commit_at_call)
        checker_fail(c, RULE_I22,
                     "a read of %u returns %llx of index %llu, replaced at %llu; %llu was "
                     "committed when it was asked",
                     q->name, (ull)value, (ull)span.at, (ull)span.next, (ull)q->commit_at_call);
    if (span.next != 0 && span.next <= *q->floor)
        checker_fail(c, RULE_S01,
                     "a read of %u returns %llx, replaced at %llu; its line has seen %llu", q->name,
                     (ull)value, (ull)span.next, (ull)*q->floor);
    *q->floor = max_u64(*q->floor, span.at);
    if (q->cluster_clock != 0) lapsed_unread(c, q, value);
}

/* Somebody must have led after the read was asked: a quorum, itself included, answered it in a term
 * of its own since then. It need not be one and the same term, since it may have been elected anew
 * before the answer came here. [§6.4] */
static void read_confirmed(struct checker *c, const struct checker_request *q)
{
    for (unsigned leader = 0; leader < c->node_count; leader++) {
        if (checker_confirmed(c, leader, q->answers_at_call)) return;
    }
    checker_fail(c, RULE_N07,
                 "a read of %u is answered; no leader was confirmed since it was asked", q->name);
}

void checker_answered(struct checker *c, const struct checker_request *q, enum kelp_outcome outcome,
                      struct kelp_pos pos, struct kelp_bytes result)
{
    if (q->read) {
        if (outcome == KELP_DONE) read_done(c, q, pos, result);
        if (outcome == KELP_DONE && !q->unled && !q->stale) read_confirmed(c, q);
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
