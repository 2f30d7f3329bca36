/* SPDX-License-Identifier: Apache-2.0 */
/* sessions.h - which commands were executed already, and with what result: exactly once. */
#ifndef RSM_SESSIONS_H
#define RSM_SESSIONS_H

#include "kelp/types.h"
#include "wire/entry.h"

/* All of it is decided by what stands in the log, so these are no settings: members that kept
 * different numbers would give one retry different answers. */
#define SESSIONS_MAX               10000u
#define SESSIONS_AGE_NS            (UINT64_C(3600) * 1000 * 1000 * 1000) /* of cluster time */
#define SESSIONS_ANSWERS_A_SESSION 256u
#define SESSIONS_ANSWERS_MAX       65536u /* of all sessions; as many again of keys */
#define SESSIONS_BYTES_MAX         (UINT64_C(32) * 1024 * 1024) /* likewise, with .. */
#define SESSIONS_ANSWER_COST       64u                          /* .. so much beside each */
#define SESSIONS_RESULT_MAX        32768u                       /* a longer result is not kept */

struct sessions;

struct sessions *sessions_new(void); /* NULL: out of memory */
void sessions_free(struct sessions *s);
/* sessions_free_part - free some of it, in less than a tenth of a millisecond; nothing else may be
 * done with it any more. true: all of it is gone. */
bool sessions_free_part(struct sessions *s);

enum sessions_verdict {
    SESSIONS_EXECUTE = 0, /* not executed before: execute it, then sessions_keep */
    SESSIONS_REPEATED,    /* executed before: *result */
    SESSIONS_UNKNOWN,     /* no such session: never execute it */
    SESSIONS_OVER,        /* executed or given up, and its result is not kept (any more) */
    SESSIONS_MISUSED,     /* that number or key was another command's */
    SESSIONS_NO_MEMORY,   /* nothing was decided: the machine must stop */
};

/* sessions_begin - the entry at index begins a session: its id is the index. time_ns: cluster
 * clock. EXECUTE or NO_MEMORY. */
enum sessions_verdict sessions_begin(struct sessions *s, kelp_index index, uint64_t time_ns);

/* sessions_end - it is over: its numbers are forgotten. Unknown: nothing to do. */
void sessions_end(struct sessions *s, uint64_t session);

/* sessions_ask - may the command of this entry, which is IN_SESSION, be executed? time_ns: cluster
 * clock there. result is borrowed until the next call. */
enum sessions_verdict sessions_ask(struct sessions *s, const struct wire_entry *e, uint64_t time_ns,
                                   struct kelp_bytes *result);

/* sessions_keep - the result of the command that was just to be executed. false: out of memory. */
bool sessions_keep(struct sessions *s, struct kelp_bytes result);

/* sessions_hash - of all of it; 0 while there is nothing. */
uint64_t sessions_hash(const struct sessions *s);

struct sessions_count {
    uint64_t sessions, answers, keys, bytes;
};
struct sessions_count sessions_count(const struct sessions *s);
/* sessions_ghosts - how many stand in a table for snapshots alone. */
uint64_t sessions_ghosts(const struct sessions *s);

/* The state as it is now as objects of a snapshot, while it goes on changing; one at a time.
 * read: one object into out, *len: room, at least SESSIONS_OBJECT_MIN, then its bytes, 0: none. */
#define SESSIONS_OBJECT_MIN (SESSIONS_RESULT_MAX + 64u)
void sessions_snapshot_begin(struct sessions *s, kelp_index applied);
enum kelp_error sessions_snapshot_read(struct sessions *s, uint8_t *out, size_t *len, bool *last);
/* sessions_snapshot_read_all - is there no object left to read? */
bool sessions_snapshot_read_all(const struct sessions *s);
void sessions_snapshot_end(struct sessions *s);

/* sessions_restore - put an object into an empty table, in the order in which they were read. */
enum kelp_error sessions_restore(struct sessions *s, struct kelp_bytes object);

#endif
