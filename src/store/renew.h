/* SPDX-License-Identifier: Apache-2.0 */
/* renew.h - recovery by hand: a data directory goes on without the quorum that its cluster lost.
 *
 * For people who lost more voters than the cluster can do without, and for nobody else: what was
 * acknowledged by the lost ones alone is gone. renew.c says what is done and why nothing of the
 * past can come back. */
#ifndef STORE_RENEW_H
#define STORE_RENEW_H

#include "store/store.h"

#define RENEW_TOKEN_MAX 128u

/* Names one recovery to the other survivors of the same log. */
struct renew_token {
    uint64_t epoch;
    struct store_recovery recovery; /* unfinished is not part of it */
};

struct renew_member {
    kelp_id id;                  /* 0: whoever has the address in the directory's configuration */
    struct wire_address address; /* "": as in that configuration */
    uint8_t role;                /* KELP_VOTER or KELP_LEARNER */
};

struct renew_ask {
    const struct renew_member *members; /* all who are to be members from now on */
    size_t count;
    const struct renew_token *with; /* a recovery to take part in; NULL: this one is the first */
};

enum renew_step { RENEW_NEW, RENEW_UNFINISHED, RENEW_DONE };

/* What a directory holds, and what a recovery does to it. */
struct renew_report {
    enum renew_step step;        /* to be begun; begun and cut short; nothing is left to be done */
    struct store_identity found; /* before it */
    struct kelp_pos last, snapshot, base; /* base: the log holds what is above it */
    kelp_index commit; /* known to be committed here, at least; what is above it may be */
    kelp_term term;    /* of the vote file */
    uint64_t torn_bytes;
    bool hollow;               /* a witness: it holds no state */
    struct wire_config before; /* the newest configuration it knows; count 0: none */
    struct wire_config after;  /* of a recovery */
    struct renew_token token;  /* of a recovery */
};

/* renew_look - what the directory holds; writes to it as a start does, so through a ghost disk if
 * nothing may be changed. KELP_E_NOT_FOUND: no data directory; otherwise as store_open. */
enum kelp_error renew_look(struct disk disk, const struct store_options *options,
                           struct renew_report *out, struct kelp_fault *fault);

/* renew_run - look, judge, and do it: after KELP_OK the recovery is durable, or was before. Cut
 * short at any point the directory is as before or refuses to be started until the same was run
 * again. KELP_E_ARGUMENT: the members are wrong for it; KELP_E_WIPED: it holds nothing;
 * KELP_E_FOREIGN: it is not what the token is for, or another recovery is unfinished in it;
 * KELP_E_LIMIT: it was recovered 65535 times; else as store_open and store_save. */
enum kelp_error renew_run(struct disk disk, const struct store_options *options,
                          const struct renew_ask *ask, struct renew_report *out,
                          struct kelp_fault *fault);

/* renew_token_text, renew_token_parse - EPOCH-PARENT-INDEX@TERM-TERM-DIGEST. */
const char *renew_token_text(const struct renew_token *t, char out[RENEW_TOKEN_MAX]);
bool renew_token_parse(const char *text, struct renew_token *out);

#endif
