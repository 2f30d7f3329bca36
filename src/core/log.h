/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - what the core knows of its log: where it begins and ends, its terms as runs, its bytes as
 * running totals.
 *
 * Both tables are rings of fixed size that forget their oldest when full; what is forgotten is
 * looked up on disk.
 * The entries themselves are elsewhere. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "kelp/core.h"

#define LOG_MARKS 32u

struct log_mark {
    kelp_index index;
    uint64_t total;
};

struct log {
    /* the position before the first entry held; its term 0: not known any more */
    struct kelp_pos base;
    kelp_index last;   /* base.index when empty */
    uint64_t revision; /* raised by every truncation and reset */

    struct kelp_run *runs; /* ring, ascending; the newest run ends at last */
    uint32_t runs_max, runs_head, runs_count;
    kelp_index runs_from; /* the first index whose term the runs tell; last + 1 if none */

    uint64_t *totals; /* ring by index: entry bytes appended up to and including it */
    uint64_t totals_mask;
    /* the first index whose total is known; base.index <= totals_from <= last */
    kelp_index totals_from;

    /* ring of entries and their totals, each mark_step bytes or more behind the one before */
    struct log_mark marks[LOG_MARKS];
    uint32_t marks_head, marks_count;
    uint64_t mark_step;

    /* a looked-up stretch of one term: found_first..found.index, all of found.term */
    struct kelp_pos found;
    kelp_index found_first;
    uint64_t found_revision;
};

/* log_init - runs and totals are caller's memory for runs_max runs and totals_max (a power of two)
 * totals. */
void log_init(struct log *log, struct kelp_run *runs, uint32_t runs_max, uint64_t *totals,
              uint64_t totals_max);

/* log_boot - the log as the store found it; older runs that do not fit are forgotten. */
void log_boot(struct log *log, struct kelp_pos base, kelp_index last, const struct kelp_run *runs,
              size_t run_count, kelp_index runs_from);

/* log_term - the term of an entry; 0 when it is not known here or not in the log. base has one too.
 * */
kelp_term log_term(const struct log *log, kelp_index index);

struct kelp_pos log_tail(const struct log *log); /* the last position; base when empty */

/* log_append - one more entry; its term is not below the last one's. */
void log_append(struct log *log, kelp_term term, uint64_t bytes);

/* log_truncate - keep entries up to end, whose term the caller knows; end.index < last. */
void log_truncate(struct log *log, struct kelp_pos end);

/* log_reset - forget everything: the log is empty and begins behind pos. */
void log_reset(struct log *log, struct kelp_pos pos);

/* log_marks - so often, in bytes of entries, a place in the log is remembered for log_floor. */
void log_marks(struct log *log, uint64_t step);

/* log_floor - the newest remembered index that has at least so many bytes of entries behind it; 0:
 * none, as far as is known since the start. */
kelp_index log_floor(const struct log *log, uint64_t bytes);

/* log_compact - forget entries below keep; base becomes keep - 1. */
void log_compact(struct log *log, kelp_index keep);

/* log_bytes - entry bytes of first..last as far as totals are known: an underestimate below
 * totals_from. */
uint64_t log_bytes(const struct log *log, kelp_index first, kelp_index last);

/* log_sized - the bytes of every entry from first on are known. */
bool log_sized(const struct log *log, kelp_index first);

/* log_fit - the last index such that first..it fits entries_max and bytes_max, at least first;
 * needs log_sized. */
kelp_index log_fit(const struct log *log, kelp_index first, uint32_t entries_max,
                   uint64_t bytes_max);

/* log_below - where could another log that has term `term` before `index` agree with ours? The last
 * position of ours
 * with index <= limit.index and term <= limit.term; not below floor. Term 0 in the result: not
 * known, that is, the
 * position lies below the runs. */
struct kelp_pos log_below(const struct log *log, struct kelp_pos limit, kelp_index floor);

#endif
