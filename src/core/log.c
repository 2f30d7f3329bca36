/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - terms as runs, bytes as running totals.
 *
 *        base                runs_from                                    last
 *   ......|---- not known ----|--- run @3 ---|-- run @4 --|---- run @7 ----|
 *                                  totals_from |<----- sizes known ------->|
 *
 * Invariants: the newest run ends at last whenever the log is not empty (so the term of the last
 * entry is always known); runs ascend in index and term; runs_from > base.index or the log is
 * empty; totals ascend with the index. The term of an entry in the log never changes under one
 * revision. [§3.5] */
#include "core/log.h"

#include <string.h>

#include "base/assert.h"
#include "base/min.h"

static struct kelp_run *run_at(const struct log *log, uint32_t number)
{
    uint32_t at = log->runs_head + number;
    return &log->runs[at >= log->runs_max ? at - log->runs_max : at];
}

static void run_push(struct log *log, struct kelp_run run)
{
    if (log->runs_count == log->runs_max) { /* forget the oldest; it can be looked up */
        log->runs_from = log->runs[log->runs_head].last + 1;
        log->runs_head = log->runs_head + 1 == log->runs_max ? 0 : log->runs_head + 1;
        log->runs_count--;
    }
    log->runs_count++;
    *run_at(log, log->runs_count - 1) = run;
}

void log_init(struct log *log, struct kelp_run *runs, uint32_t runs_max, uint64_t *totals,
              uint64_t totals_max)
{
    ASSERT(runs_max >= 2);
    ASSERT(totals_max >= 2 && (totals_max & (totals_max - 1)) == 0);
    *log = (struct log){.runs = runs,
                        .runs_max = runs_max,
                        .runs_from = 1,
                        .totals = totals,
                        .totals_mask = totals_max - 1,
                        .revision = 1};
    totals[0] = 0;
}

void log_boot(struct log *log, struct kelp_pos base, kelp_index last, const struct kelp_run *runs,
              size_t run_count, kelp_index runs_from)
{
    ASSERT(base.index <= last);
    ASSERT(last == base.index || (run_count > 0 && runs[run_count - 1].last == last));
    log->base = base;
    log->last = last;
    log->runs_from = last > base.index ? runs_from : last + 1;
    for (size_t i = 0; i < run_count; i++)
        run_push(log, runs[i]);
    log->totals_from = last;
    log->totals[last & log->totals_mask] = 0;
}

kelp_term log_term(const struct log *log, kelp_index index)
{
    if (index == log->base.index) return log->base.term;
    if (index > log->last || index < log->base.index) return kelp_term_of(0);
    if (index < log->runs_from) {
        bool found = log->found_revision == log->revision && index >= log->found_first &&
                     index <= log->found.index;
        return found ? log->found.term : kelp_term_of(0);
    }
    uint32_t low = 0, high = log->runs_count - 1; /* the first run that ends at index or later */
    if (high > 0 && index > run_at(log, high - 1)->last) low = high;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (run_at(log, middle)->last < index)
            low = middle + 1;
        else
            high = middle;
    }
    return run_at(log, low)->term;
}

struct kelp_pos log_tail(const struct log *log)
{
    if (log->last == log->base.index) return log->base;
    return (struct kelp_pos){.term = run_at(log, log->runs_count - 1)->term, .index = log->last};
}

/* ---- marks ---- */

static uint32_t mark_place(const struct log *log, uint32_t number)
{
    return (log->marks_head + number) % LOG_MARKS;
}

static void mark_push(struct log *log, struct log_mark mark)
{
    uint32_t count = log->marks_count;
    const struct log_mark *newest = count > 0 ? &log->marks[mark_place(log, count - 1)] : NULL;
    if (newest != NULL && mark.total - newest->total < log->mark_step) return;
    if (count == LOG_MARKS) {
        log->marks_head = (log->marks_head + 1) % LOG_MARKS;
        log->marks_count--;
    }
    log->marks_count++;
    log->marks[mark_place(log, log->marks_count - 1)] = mark;
}

void log_marks(struct log *log, uint64_t step)
{
    log->mark_step = step;
    mark_push(log, (struct log_mark){.index = log->last,
                                     .total = log->totals[log->last & log->totals_mask]});
}

kelp_index log_floor(const struct log *log, uint64_t bytes)
{
    uint64_t total = log->totals[log->last & log->totals_mask];
    for (uint32_t number = log->marks_count; number > 0; number--) {
        const struct log_mark *mark = &log->marks[mark_place(log, number - 1)];
        if (total - mark->total >= bytes) return mark->index;
    }
    return 0;
}

/* ---- growing and cutting ---- */

void log_append(struct log *log, kelp_term term, uint64_t bytes)
{
    struct kelp_run *newest = log->runs_count > 0 ? run_at(log, log->runs_count - 1) : NULL;
    ASSERT(term.v >= log_tail(log).term.v);
    uint64_t total = log->totals[log->last & log->totals_mask];
    log->last++;
    if (newest != NULL && newest->term.v == term.v)
        newest->last = log->last;
    else
        run_push(log, (struct kelp_run){.last = log->last, .term = term});
    if (log->last - log->totals_from > log->totals_mask) log->totals_from++;
    log->totals[log->last & log->totals_mask] = total + bytes;
    mark_push(log, (struct log_mark){.index = log->last, .total = total + bytes});
}

void log_truncate(struct log *log, struct kelp_pos end)
{
    ASSERT(end.index >= log->base.index);
    ASSERT(end.index < log->last);
    while (log->runs_count > 0) {
        struct kelp_run *newest = run_at(log, log->runs_count - 1);
        kelp_index first =
            log->runs_count > 1 ? run_at(log, log->runs_count - 2)->last + 1 : log->runs_from;
        if (first <= end.index) {
            newest->last = end.index;
            break;
        }
        log->runs_count--;
    }
    log->last = end.index;
    log->revision++;
    if (log->runs_count == 0) {
        log->runs_from = end.index + 1;
        if (end.index >
            log->base.index) { /* all runs were above: the caller knows this one's term */
            log->runs_from = end.index;
            run_push(log, (struct kelp_run){.last = end.index, .term = end.term});
        }
    }
    while (log->marks_count > 0 &&
           log->marks[mark_place(log, log->marks_count - 1)].index > log->last)
        log->marks_count--;
    if (log->totals_from > log->last) {
        log->totals_from = log->last;
        log->totals[log->last & log->totals_mask] = 0;
        log->marks_count = 0; /* counted from another beginning */
    }
    ASSERT(log_tail(log).index == end.index);
    ASSERT(log_tail(log).term.v == end.term.v || end.index == log->base.index);
}

void log_reset(struct log *log, struct kelp_pos pos)
{
    log->base = pos;
    log->last = pos.index;
    log->revision++;
    log->runs_count = 0;
    log->runs_from = pos.index + 1;
    log->totals_from = pos.index;
    log->totals[pos.index & log->totals_mask] = 0;
    log->marks_count = 0;
}

void log_compact(struct log *log, kelp_index keep)
{
    ASSERT(keep > log->base.index);
    ASSERT(keep <= log->last + 1);
    log->base = (struct kelp_pos){.term = log_term(log, keep - 1), .index = keep - 1};
    while (log->runs_count > 0 && run_at(log, 0)->last < keep) {
        log->runs_from = run_at(log, 0)->last + 1;
        log->runs_head = log->runs_head + 1 == log->runs_max ? 0 : log->runs_head + 1;
        log->runs_count--;
    }
    log->runs_from = max_u64(log->runs_from, keep);
    log->totals_from = max_u64(log->totals_from, keep - 1);
}

uint64_t log_bytes(const struct log *log, kelp_index first, kelp_index last)
{
    if (first > last) return 0;
    ASSERT(last <= log->last);
    kelp_index before = max_u64(first - 1, log->totals_from);
    if (before >= last) return 0;
    return log->totals[last & log->totals_mask] - log->totals[before & log->totals_mask];
}

bool log_sized(const struct log *log, kelp_index first)
{
    return first > log->totals_from;
}

kelp_index log_fit(const struct log *log, kelp_index first, uint32_t entries_max,
                   uint64_t bytes_max)
{
    ASSERT(log_sized(log, first));
    ASSERT(first <= log->last);
    kelp_index low = first, high = min_u64(log->last, add_sat(first, entries_max) - 1);
    if (high <= low) return low;
    while (low < high) { /* the last index that still fits */
        kelp_index middle = low + (high - low + 1) / 2;
        if (log_bytes(log, first, middle) <= bytes_max)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

struct kelp_pos log_below(const struct log *log, struct kelp_pos limit, kelp_index floor)
{
    kelp_index index = min_u64(limit.index, log->last);
    if (index <= floor) return (struct kelp_pos){.index = floor, .term = log_term(log, floor)};
    ASSERT(log->runs_count > 0); /* something is above floor */
    for (uint32_t number = log->runs_count; number > 0; number--) {
        struct kelp_run *run = run_at(log, number - 1);
        kelp_index first = number > 1 ? run_at(log, number - 2)->last + 1 : log->runs_from;
        if (first > index || run->term.v > limit.term.v) continue;
        kelp_index at = min_u64(run->last, index);
        if (at <= floor) break;
        return (struct kelp_pos){.index = at, .term = run->term};
    }
    if (log->runs_from > floor + 1) { /* below the runs: look it up */
        kelp_index at = min_u64(index, log->runs_from - 1);
        return (struct kelp_pos){.index = at, .term = log_term(log, at)};
    }
    return (struct kelp_pos){.index = floor, .term = log_term(log, floor)};
}
