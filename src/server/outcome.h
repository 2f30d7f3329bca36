/* SPDX-License-Identifier: Apache-2.0 */
/* outcome.h - what a client is told about a request that was not DONE: one table for RESP and HTTP.
 *
 * An error that is not UNCERTAIN says that the request never took effect and never will; so
 * UNKNOWN, and only it, becomes UNCERTAIN. */
#ifndef SERVER_OUTCOME_H
#define SERVER_OUTCOME_H

#include "base/buf.h"

enum outcome_code {
    OUTCOME_MOVED,       /* ask the leader; of a node that was removed: a member */
    OUTCOME_CLUSTERDOWN, /* no leader, or this node cannot work, or was removed */
    OUTCOME_TRYAGAIN,
    OUTCOME_LOADING,
    OUTCOME_NOSPACE,
    OUTCOME_ERR,       /* the request itself is at fault */
    OUTCOME_UNCERTAIN, /* it may have happened */
};

/* outcome_code - outcome is not KELP_DONE. leader_named: the leader's address is known and may be
 * told. */
enum outcome_code outcome_code(enum kelp_outcome outcome, enum kelp_reason reason,
                               bool leader_named);

const char *outcome_word(enum outcome_code code); /* MOVED, CLUSTERDOWN .. */
unsigned outcome_http_status(enum outcome_code code, enum kelp_reason reason);

/* What a RESP error needs beside the outcome. */
struct outcome_place {
    uint16_t slot;
    const char *leader; /* HOST:PORT to be redirected to, the leader's; NULL: none */
    const char *other;  /* REMOVED: HOST:PORT of a member to ask instead; NULL: not known */
    unsigned loaded_percent;
    uint64_t loaded_left_ms;    /* until that is 100, 0: not known */
    uint64_t member;            /* a change refused for a member: which, 0: for none */
    struct kelp_read_ages ages; /* STALE_BEYOND */
    uint64_t index; /* PENDING, CONFIG_CHANGED: the configuration in force, 0: not known */
};

/* outcome_reply - the error line. */
void outcome_reply(struct buf *reply, enum kelp_outcome outcome, enum kelp_reason reason,
                   const struct outcome_place *place);

/* outcome_age_text - milliseconds, or "never". */
size_t outcome_age_text(kelp_ns age, char *out, size_t size);

/* outcome_transferred - leadership was handed over: "+OK leader=3". */
void outcome_transferred(struct buf *reply, kelp_id leader);

/* outcome_changed - a change of the membership is done: "+OK index=9", and " id=4" if that id was
 * given to who came; given 0: it had one. */
void outcome_changed(struct buf *reply, kelp_index index, kelp_id given);

#endif
